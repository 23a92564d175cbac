//! Flow: corks, timeouts, options of sockets, limits of servers. The other half of
//! `tests/oracle/flow.cjs`.

use std::rc::Rc;

use nodeloop::net::{DropInfo, ListenOptions, Server, ServerOptions, Socket};

use super::{Object, World, fail, show};
use crate::oracle::scenario::Action;

/// The options of a server that are about flow.
pub fn server_options(action: &Action, options: ServerOptions) -> ServerOptions {
    let options = options.no_delay(action.options.contains_key("no_delay"));
    match action.options.get("keep_alive") {
        Some(delay) => options.keep_alive(true, delay.parse().unwrap_or(0)),
        None => options,
    }
}

/// The options of `listen` that are about sharing a port.
pub fn listen_options(action: &Action, options: ListenOptions) -> ListenOptions {
    options
        .ipv6_only(action.options.contains_key("ipv6_only"))
        .reuse_port(action.options.contains_key("reuse_port"))
}

/// The verbs of sockets that are about flow.
pub fn socket_verb(action: &Action, socket: Socket) {
    let number = action.words.first().and_then(|word| word.parse().ok());
    let number: u64 = number.unwrap_or(0);
    let on = !action.options.contains_key("off");
    match action.verb.as_str() {
        "cork" => socket.cork(),
        "uncork" => socket.uncork(),
        "set_timeout" => socket.set_timeout(number),
        "set_no_delay" => socket.set_no_delay(on),
        "set_keep_alive" => socket.set_keep_alive(on, number),
        "set_type_of_service" => {
            let set = socket.set_type_of_service(u8::try_from(number).unwrap_or(0));
            if let Err(error) = set {
                fail(action, &error.to_string());
            }
        }
        _ => fail(action, "this interpreter does not know the verb"),
    }
}

/// The verbs of servers that are about limits.
pub fn server_verb(action: &Action, server: Server) {
    match action.verb.as_str() {
        "max_connections" => server.set_max_connections(action.words[0].parse().ok()),
        _ => fail(action, "this interpreter does not know the verb"),
    }
}

/// The properties of sockets that are about flow.
pub fn socket_property(socket: Socket, key: &str) -> Option<String> {
    Some(match key {
        "timeout" => or_none(socket.timeout()),
        "encoding" => or_none(socket.encoding()),
        "corked" => socket.writable_corked().to_string(),
        "writable_mark" => socket.writable_high_water_mark().to_string(),
        "readable_mark" => socket.readable_high_water_mark().to_string(),
        "type_of_service" => match socket.type_of_service() {
            Ok(value) => value.to_string(),
            Err(error) => error.code().unwrap_or("error").into(),
        },
        _ => return None,
    })
}

/// The properties of servers that are about limits.
pub fn server_property(server: Server, key: &str) -> Option<String> {
    match key {
        "max_connections" => Some(or_none(server.max_connections())),
        _ => None,
    }
}

impl World {
    /// Has a client read into a buffer of its own.
    pub(super) fn read_into(self: &Rc<World>, object: &Rc<Object>, socket: Socket, room: usize) {
        let (world, own) = (self.clone(), object.clone());
        let stops = object.options.contains_key("own_stops");
        let fresh = object.options.contains_key("own_fresh");
        socket.read_into(vec![0; room], move |_, size, buffer| {
            let bytes = match fresh {
                true => std::mem::replace(buffer, vec![0; room]),
                false => buffer.clone(),
            };
            world.data(&own, "own", None, &bytes[..size]);
            !stops
        });
    }

    /// Who listened to 'data' gets text from now on.
    pub(super) fn set_encoding(
        self: &Rc<World>,
        action: &Action,
        object: &Rc<Object>,
        socket: Socket,
    ) {
        let is_first = socket.encoding().is_none();
        match action.words[0].parse() {
            Ok(encoding) => socket.set_encoding(encoding),
            Err(_) => fail(action, "no such encoding"),
        }
        let listens = match &object.server {
            Some(server) => !self.objects.borrow()[server].options.contains_key("data"),
            None => !object.options.contains_key("data"),
        };
        if is_first && listens {
            self.listen_to_socket(object, socket, "text", None, false);
        }
    }

    pub(super) fn listen_to_drop(
        self: &Rc<World>,
        object: &Rc<Object>,
        server: Server,
        label: Option<&str>,
    ) -> nodeloop::ListenerId {
        let world = self.clone();
        let own = object.clone();
        let label = label.map(str::to_string);
        server.on_drop(move |_, info: &DropInfo| {
            let local = show::address(info.local_address);
            let remote = show::address(info.remote_address);
            let text = format!("local={local} remote={remote}");
            world.plain(&own, "drop", label.as_deref(), Some(&text));
        })
    }
}

fn or_none<T: ToString>(value: Option<T>) -> String {
    value.map_or("none".into(), |value| value.to_string())
}
