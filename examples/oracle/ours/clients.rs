//! Client sockets: what they do beyond what they share with accepted ones.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use nodeloop::net::{ConnectOptions, Socket, SocketOptions};

use super::net::UNLESS_OFF;
use super::{Handle, Object, World, ask, bracketed, fail, paths, say, show};
use crate::oracle::scenario::Action;

impl World {
    pub(super) fn make_client(self: &Rc<World>, name: &str, action: &Action) {
        let has = |flag: &str| action.options.contains_key(flag);
        let number = |key: &str| action.options.get(key).and_then(|it| it.parse().ok());
        let mut options = SocketOptions::new()
            .allow_half_open(has("half_open"))
            .no_delay(has("no_delay"));
        if let Some(mark) = number("mark") {
            options = options.high_water_mark(mark);
        }
        if let Some(mark) = number("read_mark") {
            options = options.readable_high_water_mark(mark);
        }
        if let Some(mark) = number("write_mark") {
            options = options.writable_high_water_mark(mark);
        }
        self.add_client(name, Socket::new(&self.lp, options), action);
    }

    /// Has a client's events told.
    pub(super) fn add_client(self: &Rc<World>, name: &str, socket: Socket, action: &Action) {
        let has = |flag: &str| action.options.contains_key(flag);
        let object = Rc::new(Object {
            options: action.options.clone(),
            ..Object::plain(name, Handle::Socket(socket))
        });
        self.add(&object);
        let attempt = [
            "lookup",
            "connection_attempt",
            "connection_attempt_failed",
            "connection_attempt_timeout",
        ];
        let rest = ["connect", "ready", "end", "finish", "resume", "close"];
        for event in attempt.into_iter().chain(rest) {
            self.listen_to_socket(&object, socket, event, None, false);
        }
        for (key, event) in UNLESS_OFF {
            if !has(key) {
                self.listen_to_socket(&object, socket, event, None, false);
            }
        }
        if let Some(size) = action.options.get("own") {
            self.read_into(&object, socket, size.parse().unwrap_or(0));
        }
    }

    pub(super) fn connect(
        self: &Rc<World>,
        action: &Action,
        object: &Rc<Object>,
        socket: Socket,
        it: &Rc<Object>,
    ) {
        let target = &action.words[0];
        #[cfg(unix)]
        if paths::over_unix() && target.parse::<u16>().is_err() {
            return self.connect_to_path(action, object, socket, &paths::stand_in(target));
        }
        let mut address = match target.parse() {
            Ok(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            Err(_) => self.address_of(action, target, it),
        };
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let mut options = match action.options.get("host") {
            Some(host) => ConnectOptions::new(host, address.port()),
            None => ConnectOptions::from(address),
        };
        if let Some(local) = action.options.get("local_address") {
            let local: Result<IpAddr, _> = local.parse();
            options = options.local_address(local.expect("the parser has looked at it"));
        }
        if let Some(port) = action.options.get("local_port") {
            let number = port.parse();
            let port = number.unwrap_or_else(|_| self.address_of(action, port, it).port());
            options = options.local_port(port);
        }
        let options = self.connect_to_name(action, object, options);
        let result = match action.options.get("then") {
            Some(name) => {
                let done = self.completion(object, name);
                socket.connect_then(options, move |_| done(Ok(())))
            }
            None => socket.connect(options),
        };
        if let Err(error) = result {
            self.trace(object, &format!("connect throws {}", show::error(&error)));
        }
    }

    /// Listens to an event that only clients have; false if it is another one.
    pub(super) fn listen_to_client(
        self: &Rc<World>,
        object: &Rc<Object>,
        socket: Socket,
        event: &str,
        label: Option<&str>,
        once: bool,
    ) -> bool {
        if let Some(id) = self.listen_to_names(object, socket, event, label) {
            if let Some(label) = label {
                object.labels.borrow_mut().insert(label.into(), id);
            }
            return true;
        }
        let world = self.clone();
        let own = object.clone();
        let name = bracketed(event, label);
        let plain = move |text: Option<String>| {
            // The label is in the name already.
            world.plain(&own, &name, None, text.as_deref());
        };
        let announce = {
            let name = object.name.clone();
            move |socket: Socket| {
                if let Some(local) = socket.local_address() {
                    say(&format!("@{name}\t{}", local.port()));
                }
            }
        };
        let id = match (event, once) {
            ("connection_attempt", _) => socket
                .on_connection_attempt(move |_, address| plain(Some(show::address(Some(address))))),
            ("connection_attempt_failed", _) => {
                socket.on_connection_attempt_failed(move |_, address, error| {
                    let address = show::address(Some(address));
                    plain(Some(format!("{address} {}", show::error(error))));
                })
            }
            ("connect", _) => {
                let listener = move |socket| {
                    announce(socket);
                    plain(None);
                };
                match once {
                    true => socket.once_connect(listener),
                    false => socket.on_connect(listener),
                }
            }
            ("ready", true) => socket.once_ready(move |_| plain(None)),
            ("ready", false) => socket.on_ready(move |_| plain(None)),
            _ => return false,
        };
        if let Some(label) = label {
            object.labels.borrow_mut().insert(label.into(), id);
        }
        true
    }

    /// Has a peer bind a port, or listen at one, and remembers the port.
    pub(super) fn bind_peer(&self, action: &Action, it: &Rc<Object>) {
        let option = |key: &str| action.options.get(key).map(String::as_str);
        let host = option("host").unwrap_or("127.0.0.1");
        let receive_buffer = option("rcvbuf").unwrap_or_default();
        let backlog = option("backlog").unwrap_or("128");
        if paths::over_unix() {
            let path = paths::stand_in(&action.object);
            let verb = format!("{}_path", action.verb);
            let order = [
                action.object.as_str(),
                &verb,
                &path.to_string_lossy(),
                backlog,
            ];
            say(&format!(">{}", order.join("\t")));
            ask(&action.object);
            return self.add(&Object::new(&action.object, Handle::None));
        }
        let port = option("port").map_or(0, |word| {
            let number = word.parse();
            number.unwrap_or_else(|_| self.address_of(action, word, it).port())
        });
        let port = port.to_string();
        let order = [
            &action.object,
            &action.verb,
            host,
            receive_buffer,
            backlog,
            &port,
        ];
        say(&format!(">{}", order.join("\t")));
        let Ok(port) = ask(&action.object).parse::<u16>() else {
            fail(action, "the peer has no port");
        };
        let ip: Result<IpAddr, _> = host.parse();
        let ip = ip.unwrap_or_else(|_| fail(action, "the host is no IP address"));
        let peer = Object::new(&action.object, Handle::None);
        peer.last_address.set(Some(SocketAddr::new(ip, port)));
        self.add(&peer);
    }
}
