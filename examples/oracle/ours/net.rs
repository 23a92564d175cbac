//! Servers and sockets.

use std::rc::Rc;

use nodeloop::net::{ListenOptions, Server, ServerOptions, Socket};

#[cfg(unix)]
use super::paths;
use super::{Handle, Object, World, fail, flow, names, say, show};
use crate::oracle::data::bytes_of;
use crate::oracle::scenario::Action;

/// What a socket is listened to unless an option says `off`: the option and the event.
pub(super) const UNLESS_OFF: [(&str, &str); 3] =
    [("drain", "drain"), ("errors", "error"), ("data", "data")];

impl World {
    pub(super) fn make_server(self: &Rc<World>, name: &str, action: &Action) {
        let mut options = ServerOptions::new()
            .allow_half_open(action.options.contains_key("half_open"))
            .pause_on_connect(action.options.contains_key("pause_on_connect"));
        if let Some(mark) = action.options.get("mark") {
            options = options.high_water_mark(mark.parse().unwrap_or(0));
        }
        let block_list = action.options.get("block").map(|it| names::block_list(it));
        if let Some(list) = &block_list {
            options = options.block_list(list);
        }
        let server = Server::new(&self.lp, flow::server_options(action, options));
        let object = Rc::new(Object {
            options: action.options.clone(),
            block_list,
            ..Object::plain(name, Handle::Server(server))
        });
        self.add(&object);
        for event in ["listening", "connection", "drop", "close"] {
            self.listen_to_server(&object, server, event, None, false);
        }
        if !action.options.contains_key("errors") {
            self.listen_to_server(&object, server, "error", None, false);
        }
    }

    /// Tells what the server's port is called, and remembers it for when the server is closed.
    fn announce(&self, object: &Object, server: Server) {
        if let Some(address) = server.address() {
            object.last_address.set(Some(address));
            say(&format!("@{}\t{}", object.name, address.port()));
        }
    }

    pub(super) fn server_verb(
        self: &Rc<World>,
        action: &Action,
        object: &Rc<Object>,
        server: Server,
        it: &Rc<Object>,
    ) {
        let then = action.options.get("then");
        match action.verb.as_str() {
            "listen" => self.listen(action, object, server, it),
            "close" => match then {
                Some(name) => server.close_then(self.completion(object, name)),
                None => server.close(),
            },
            "close_all" => server.close_all(),
            "ref" => server.set_ref(),
            "unref" => server.unref(),
            "keep" => server.keep(),
            "release" => server.release(),
            "on" | "once" => {
                let once = action.verb == "once";
                let label = label_of(action);
                self.listen_to_server(object, server, &action.words[0], Some(label), once);
            }
            "off" => match object.labels.borrow().get(&action.words[0]) {
                Some(id) => server.off(*id),
                None => fail(action, "no listener is called so"),
            },
            "block" => names::block(action, object, server),
            _ => flow::server_verb(action, server),
        }
    }

    fn listen(
        self: &Rc<World>,
        action: &Action,
        object: &Rc<Object>,
        server: Server,
        it: &Rc<Object>,
    ) {
        let mut options = ListenOptions::new();
        if let Some(port) = action.options.get("port") {
            let number = port.parse();
            options =
                options.port(number.unwrap_or_else(|_| self.address_of(action, port, it).port()));
        }
        if let Some(host) = action.options.get("host") {
            options = options.host(host);
        }
        if let Some(backlog) = action.options.get("backlog") {
            options = options.backlog(backlog.parse().unwrap_or(0));
        }
        let options = flow::listen_options(action, options);
        #[cfg(unix)]
        let options = self.listen_at_path(action, object).unwrap_or(options);
        let listened = match action.options.get("then") {
            Some(name) => {
                let done = self.completion(object, name);
                server.listen_then(options, move |_| done(Ok(())))
            }
            None => server.listen(options),
        };
        match listened {
            Ok(()) => self.announce(object, server),
            Err(error) => self.trace(object, &format!("listen throws {}", show::error(&error))),
        }
    }

    fn listen_to_server(
        self: &Rc<World>,
        object: &Rc<Object>,
        server: Server,
        event: &str,
        label: Option<&str>,
        once: bool,
    ) {
        let world = self.clone();
        let own = object.clone();
        let named = label.map(str::to_string);
        let plain = move |event: &'static str, text: Option<String>| {
            world.plain(&own, event, named.as_deref(), text.as_deref());
        };
        let world = self.clone();
        let own = object.clone();
        let named = label.map(str::to_string);
        let id = match (event, once) {
            ("listening", _) => {
                let listener = move |server| {
                    world.announce(&own, server);
                    plain("listening", None);
                };
                match once {
                    true => server.once_listening(listener),
                    false => server.on_listening(listener),
                }
            }
            ("connection", _) => {
                let listener = move |_, socket| world.connection(&own, socket, named.as_deref());
                match once {
                    true => server.once_connection(listener),
                    false => server.on_connection(listener),
                }
            }
            ("drop", _) => self.listen_to_drop(object, server, label),
            ("close", true) => server.once_close(move |_| plain("close", None)),
            ("close", false) => server.on_close(move |_| plain("close", None)),
            (_, true) => {
                server.once_error(move |_, error| plain("error", Some(show::error(error))))
            }
            (_, false) => server.on_error(move |_, error| plain("error", Some(show::error(error)))),
        };
        if let Some(label) = label {
            object.labels.borrow_mut().insert(label.into(), id);
        }
    }

    fn connection(self: &Rc<World>, server: &Rc<Object>, socket: Socket, label: Option<&str>) {
        let is_it =
            |other: &&Rc<Object>| matches!(other.handle, Handle::Socket(known) if known == socket);
        let known = server.sockets.borrow().iter().find(is_it).cloned();
        let object = known.unwrap_or_else(|| self.accepted(server, socket));
        let event = super::bracketed("connection", label);
        self.trace(server, &format!("{event} {}", object.name));
        self.happen(server, &event, &object, 0);
    }

    fn accepted(self: &Rc<World>, server: &Rc<Object>, socket: Socket) -> Rc<Object> {
        let mut sockets = server.sockets.borrow_mut();
        let name = format!("{}{}", server.name, sockets.len() + 1);
        let object = Rc::new(Object {
            server: Some(server.name.clone()),
            ..Object::plain(&name, Handle::Socket(socket))
        });
        sockets.push(object.clone());
        drop(sockets);
        self.add(&object);
        for event in ["end", "finish", "resume", "timeout", "close"] {
            self.listen_to_socket(&object, socket, event, None, false);
        }
        for (key, event) in UNLESS_OFF {
            if !server.options.contains_key(key) {
                self.listen_to_socket(&object, socket, event, None, false);
            }
        }
        object
    }

    pub(super) fn listen_to_socket(
        self: &Rc<World>,
        object: &Rc<Object>,
        socket: Socket,
        event: &str,
        label: Option<&str>,
        once: bool,
    ) {
        if self.listen_to_client(object, socket, event, label, once)
            || self.listen_to_pipes(object, socket, event, label)
        {
            return;
        }
        let world = self.clone();
        let own = object.clone();
        let named = label.map(str::to_string);
        let plain = move |event: &'static str, text: Option<String>| {
            world.plain(&own, event, named.as_deref(), text.as_deref());
        };
        let world = self.clone();
        let own = object.clone();
        let named = label.map(str::to_string);
        let data = move |event: &str, bytes: &[u8]| {
            world.data(&own, event, named.as_deref(), bytes);
        };
        // In Node text is what 'data' tells once there is an encoding.
        let event = match (event, socket.encoding()) {
            ("data", Some(_)) => "text",
            _ => event,
        };
        let id = match (event, once) {
            ("text", true) => socket.once_text(move |_, text| data("text", text.as_bytes())),
            ("text", false) => socket.on_text(move |_, text| data("text", text.as_bytes())),
            ("data", true) => socket.once_data(move |_, bytes| data("data", bytes)),
            ("data", false) => socket.on_data(move |socket, bytes| {
                if socket.encoding().is_none() {
                    data("data", bytes);
                }
            }),
            ("end", true) => socket.once_end(move |_| plain("end", None)),
            ("end", false) => socket.on_end(move |_| plain("end", None)),
            ("drain", true) => socket.once_drain(move |_| plain("drain", None)),
            ("drain", false) => socket.on_drain(move |_| plain("drain", None)),
            ("finish", true) => socket.once_finish(move |_| plain("finish", None)),
            ("finish", false) => socket.on_finish(move |_| plain("finish", None)),
            ("timeout", true) => socket.once_timeout(move |_| plain("timeout", None)),
            ("timeout", false) => socket.on_timeout(move |_| plain("timeout", None)),
            ("pause", true) => socket.once_pause(move |_| plain("pause", None)),
            ("pause", false) => socket.on_pause(move |_| plain("pause", None)),
            ("resume", true) => socket.once_resume(move |_| plain("resume", None)),
            ("resume", false) => socket.on_resume(move |_| plain("resume", None)),
            ("close", true) => {
                socket.once_close(move |_, bad| plain("close", Some(bad.to_string())))
            }
            ("close", false) => {
                socket.on_close(move |_, bad| plain("close", Some(bad.to_string())))
            }
            (_, true) => {
                socket.once_error(move |_, error| plain("error", Some(show::error(error))))
            }
            (_, false) => socket.on_error(move |_, error| plain("error", Some(show::error(error)))),
        };
        if let Some(label) = label {
            object.labels.borrow_mut().insert(label.into(), id);
        }
    }

    pub(super) fn socket_verb(
        self: &Rc<World>,
        action: &Action,
        object: &Rc<Object>,
        socket: Socket,
        it: &Rc<Object>,
    ) {
        #[cfg(unix)]
        if action.verb == "connect_path" {
            let path = paths::path_of(&action.words[0]);
            return self.connect_to_path(action, object, socket, &path);
        }
        if self.piping_verb(action, object, it) {
            return;
        }
        if action.verb == "connect" {
            return self.connect(action, object, socket, it);
        }
        let then = action.options.get("then");
        let done = then.map(|name| self.completion(object, name));
        let data = action.words.first().map(|word| bytes_of(word));
        match (action.verb.as_str(), data) {
            ("write", data) => {
                let data = data.unwrap_or_default();
                let more = match done {
                    Some(done) => socket.write_then(&data, done),
                    None => socket.write(&data),
                };
                self.trace(object, &format!("write returns {more}"));
            }
            ("end", None) => match done {
                Some(done) => socket.end_then(done),
                None => socket.end(),
            },
            ("end", Some(data)) => match done {
                Some(done) => socket.end_with_then(&data, done),
                None => socket.end_with(&data),
            },
            ("destroy", None) => socket.destroy(),
            ("destroy", Some(_)) => socket.destroy_with(action.words[0].as_str()),
            ("destroy_soon", _) => socket.destroy_soon(),
            ("reset_and_destroy", _) => socket.reset_and_destroy(),
            ("pause", _) => socket.pause(),
            ("resume", _) => socket.resume(),
            ("ref", _) => socket.set_ref(),
            ("unref", _) => socket.unref(),
            ("keep", _) => socket.keep(),
            ("release", _) => socket.release(),
            ("on" | "once", _) => {
                let once = action.verb == "once";
                let label = label_of(action);
                self.listen_to_socket(object, socket, &action.words[0], Some(label), once);
            }
            ("off", _) => match object.labels.borrow().get(&action.words[0]) {
                Some(id) => socket.off(*id),
                None => fail(action, "no listener is called so"),
            },
            ("set_encoding", _) => self.set_encoding(action, object, socket),
            _ => flow::socket_verb(action, socket),
        }
    }

    /// A property's value, as `probe` shows it.
    pub(super) fn property(&self, object: &Object, key: &str) -> String {
        match object.handle {
            Handle::Server(server) => match key {
                "listening" => server.listening().to_string(),
                "address" => show::address(server.address()),
                #[cfg(unix)]
                "path" => paths::server_path(server),
                "connections" => server.connections().to_string(),
                key => flow::server_property(server, key).unwrap_or_default(),
            },
            Handle::Socket(socket) => flow::socket_property(socket, key)
                .unwrap_or_else(|| self.socket_property(socket, key)),
            Handle::Udp(udp) => super::dgram::property(object, udp, key),
            Handle::Stream(stream) => super::streams::property(stream, key),
            Handle::ReadFile(_) | Handle::WriteFile(_) => {
                super::files::property(object.handle, key).unwrap_or_default()
            }
            Handle::Timer(timer) => timer.has_ref().to_string(),
            Handle::Immediate(immediate) => immediate.has_ref().to_string(),
            Handle::None => "none".into(),
        }
    }

    fn socket_property(&self, socket: Socket, key: &str) -> String {
        match key {
            "attempted" => names::attempted(socket),
            "connecting" => socket.connecting().to_string(),
            "pending" => socket.pending().to_string(),
            "closed" => socket.closed().to_string(),
            "ready_state" => socket.ready_state().as_str().into(),
            "destroyed" => socket.destroyed().to_string(),
            "bytes_read" => socket.bytes_read().to_string(),
            "bytes_written" => socket.bytes_written().to_string(),
            "readable" => socket.readable().to_string(),
            "writable" => socket.writable().to_string(),
            "readable_length" => socket.readable_length().to_string(),
            "writable_length" => socket.writable_length().to_string(),
            "need_drain" => socket.writable_need_drain().to_string(),
            "readable_ended" => socket.readable_ended().to_string(),
            "writable_ended" => socket.writable_ended().to_string(),
            "writable_finished" => socket.writable_finished().to_string(),
            "errored" => match socket.errored() {
                Some(error) => error.code().unwrap_or("error").into(),
                None => "none".into(),
            },
            "allow_half_open" => socket.allow_half_open().to_string(),
            "paused" => socket.is_paused().to_string(),
            "flowing" => match socket.readable_flowing() {
                Some(flowing) => flowing.to_string(),
                None => "null".into(),
            },
            "local_address" => show::address(socket.local_address()),
            "remote_address" => show::address(socket.remote_address()),
            _ => {
                let objects = self.objects.borrow();
                let is_its = |object: &&Rc<Object>| matches!(object.handle, Handle::Server(server) if Some(server) == socket.server());
                let server = objects.values().find(is_its);
                server.map_or("none".into(), |server| server.name.clone())
            }
        }
    }
}

/// What a listener that was added by `on` or `once` is called.
pub(super) fn label_of(action: &Action) -> &str {
    action.options.get("as").map_or("2", String::as_str)
}
