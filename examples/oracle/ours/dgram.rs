//! UDP sockets: the other half of `tests/oracle/dgram.cjs`.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use nodeloop::dgram::{self, BindOptions, Destination, Payload, Socket, SocketOptions, SocketType};
use nodeloop::{Error, Result};

use super::net::label_of;
use super::{Handle, Object, World, ask, bracketed, fail, say, show};
use crate::oracle::data::{Piece, bytes_of};
use crate::oracle::scenario::Action;

impl World {
    pub(super) fn make_udp(self: &Rc<World>, name: &str, action: &Action) {
        let has = |flag: &str| action.options.contains_key(flag);
        let number = |key: &str| action.options.get(key).and_then(|it| it.parse().ok());
        let family = match has("ipv6") {
            true => SocketType::Udp6,
            false => SocketType::Udp4,
        };
        let mut options = SocketOptions::new(family)
            .reuse_addr(has("reuse_addr"))
            .reuse_port(has("reuse_port"))
            .ipv6_only(has("ipv6_only"));
        if let Some(bytes) = number("recv_buffer") {
            options = options.recv_buffer_size(bytes);
        }
        if let Some(rules) = action.options.get("receive_block") {
            options = options.receive_block_list(&super::names::block_list(rules));
        }
        if let Some(rules) = action.options.get("send_block") {
            options = options.send_block_list(&super::names::block_list(rules));
        }
        if let Some(bytes) = number("send_buffer") {
            options = options.send_buffer_size(bytes);
        }
        let udp = dgram::create_socket(&self.lp, options);
        let object = Object::new(name, Handle::Udp(udp));
        self.add(&object);
        for event in ["listening", "connect", "close"] {
            self.listen_to_udp(&object, udp, event, None, false);
        }
        if !has("messages") {
            self.listen_to_udp(&object, udp, "message", None, false);
        }
        if !has("errors") {
            self.listen_to_udp(&object, udp, "error", None, false);
        }
    }

    fn listen_to_udp(
        self: &Rc<World>,
        object: &Rc<Object>,
        udp: Socket,
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
        let own = object.clone();
        let announcing = move |plain: &dyn Fn(&'static str, Option<String>), udp: Socket| {
            if let Ok(address) = udp.address() {
                announce(&own, address);
            }
            plain("listening", None);
        };
        let world = self.clone();
        let own = object.clone();
        let name = bracketed("message", label);
        let message = move |bytes: &[u8], from: dgram::RemoteInfo| {
            own.last_from.set(Some(from));
            let piece = Piece {
                length: from.size() as u64,
                ..Piece::of(bytes)
            };
            let sender = show::address(Some(from.socket_addr()));
            world.plain(
                &own,
                &name,
                None,
                Some(&format!("{} from {sender}", piece.show())),
            );
        };
        let id = match (event, once) {
            ("listening", true) => udp.once_listening(move |udp| announcing(&plain, udp)),
            ("listening", false) => udp.on_listening(move |udp| announcing(&plain, udp)),
            ("message", true) => udp.once_message(move |_, bytes, from| message(bytes, from)),
            ("message", false) => udp.on_message(move |_, bytes, from| message(bytes, from)),
            ("connect", true) => udp.once_connect(move |_| plain("connect", None)),
            ("connect", false) => udp.on_connect(move |_| plain("connect", None)),
            ("close", true) => udp.once_close(move |_| plain("close", None)),
            ("close", false) => udp.on_close(move |_| plain("close", None)),
            (_, true) => udp.once_error(move |_, error| plain("error", Some(show::error(error)))),
            (_, false) => udp.on_error(move |_, error| plain("error", Some(show::error(error)))),
        };
        if let Some(label) = label {
            object.labels.borrow_mut().insert(label.into(), id);
        }
    }

    pub(super) fn udp_verb(
        self: &Rc<World>,
        action: &Action,
        object: &Rc<Object>,
        udp: Socket,
        it: &Rc<Object>,
    ) {
        let then = action.options.get("then");
        let on = !action.options.contains_key("off");
        let words: Vec<&str> = action.words.iter().map(String::as_str).collect();
        let number = || words[0].parse().unwrap_or(0);
        let interface = action.options.get("interface").map(String::as_str);
        let done = match action.verb.as_str() {
            "bind" => {
                let at = self.where_to_bind(action, it);
                match then.map(|name| self.sent(object, name)) {
                    Some(done) => udp.bind_then(at, |_| done(Ok(None))),
                    None => udp.bind(at),
                }
            }
            "bind_sync" => udp
                .bind_sync(self.where_to_bind(action, it))
                .map(|address| {
                    announce(object, address);
                    let address = show::address(Some(address));
                    self.trace(object, &format!("bind_sync returns {address}"));
                }),
            "send" => return self.send(action, object, udp, it),
            "connect" => {
                let to = self.destination(action, object, udp, it, words[0]);
                match then.map(|name| self.sent(object, name)) {
                    Some(done) => udp.connect_then(to, |result| done(result.map(|()| None))),
                    None => udp.connect(to),
                }
            }
            "connect_sync" => udp.connect_sync(self.destination(action, object, udp, it, words[0])),
            "disconnect" => udp.disconnect(),
            "close" => match then.map(|name| self.sent(object, name)) {
                Some(done) => udp.close_then(|_| done(Ok(None))),
                None => udp.close(),
            },
            "set_broadcast" => udp.set_broadcast(on),
            "set_ttl" => udp.set_ttl(number()),
            "set_multicast_ttl" => udp.set_multicast_ttl(number()),
            "set_multicast_loopback" => udp.set_multicast_loopback(on),
            "set_multicast_interface" => udp.set_multicast_interface(words[0]),
            "add_membership" => udp.add_membership(words[0], interface),
            "drop_membership" => udp.drop_membership(words[0], interface),
            "add_source_membership" => {
                udp.add_source_specific_membership(words[0], words[1], interface)
            }
            "drop_source_membership" => {
                udp.drop_source_specific_membership(words[0], words[1], interface)
            }
            "set_recv_buffer" => udp.set_recv_buffer_size(number()),
            "set_send_buffer" => udp.set_send_buffer_size(number()),
            verb => {
                match verb {
                    "ref" => udp.set_ref(),
                    "unref" => udp.unref(),
                    "keep" => udp.keep(),
                    "release" => udp.release(),
                    "on" | "once" => {
                        let (label, once) = (label_of(action), verb == "once");
                        self.listen_to_udp(object, udp, words[0], Some(label), once);
                    }
                    "off" => match object.labels.borrow().get(words[0]) {
                        Some(id) => udp.off(*id),
                        None => fail(action, "no listener is called so"),
                    },
                    _ => fail(action, "this interpreter does not know the verb"),
                }
                Ok(())
            }
        };
        self.show_thrown(action, object, done);
    }

    fn send(self: &Rc<World>, action: &Action, object: &Rc<Object>, udp: Socket, it: &Rc<Object>) {
        let option = |key: &str| action.options.get(key);
        let number = |key: &str| option(key).and_then(|it| it.parse::<usize>().ok());
        let to = option("to").map(|to| self.destination(action, object, udp, it, to));
        let parts: Vec<Vec<u8>> = match option("text") {
            Some(_) => action
                .words
                .iter()
                .map(|it| it.as_bytes().to_vec())
                .collect(),
            None => action.words.iter().map(|word| bytes_of(word)).collect(),
        };
        let parts = match number("pieces") {
            Some(count) => vec![parts[0].clone(); count],
            None => parts,
        };
        let times = number("times").unwrap_or(1);
        for _ in 0..times {
            let payload = match (number("offset"), parts.as_slice()) {
                (Some(offset), [part]) => {
                    Payload::part(part, offset, number("length").unwrap_or(0))
                }
                (None, [part]) if option("list").is_none() => Ok(Payload::from(part)),
                (_, parts) => Ok(Payload::list(parts.iter().map(Vec::as_slice))),
            };
            let done = option("then").map(|name| self.sent(object, name));
            let sent = payload.and_then(|payload| match (to.clone(), done) {
                (Some(to), Some(done)) => {
                    udp.send_to_then(payload, to, |result| done(result.map(Some)))
                }
                (Some(to), None) => udp.send_to(payload, to),
                (None, Some(done)) => udp.send_then(payload, |result| done(result.map(Some))),
                (None, None) => udp.send(payload),
            });
            self.show_thrown(action, object, sent);
        }
    }

    fn show_thrown(&self, action: &Action, object: &Object, done: Result<()>) {
        if let Err(error) = done {
            let error = show::error(&error);
            self.trace(object, &format!("{} throws {error}", action.verb));
        }
    }

    /// A completion; of a send it is told the size too.
    fn sent(
        self: &Rc<World>,
        owner: &Rc<Object>,
        name: &str,
    ) -> impl FnOnce(Result<Option<usize>>) + 'static {
        let world = self.clone();
        let owner = owner.clone();
        let object = Object::new(name, Handle::None);
        self.add(&object);
        move |result| {
            let text = match &result {
                Ok(None) => "ok".into(),
                Ok(Some(size)) => format!("ok {size}"),
                Err(error) => show::error(error),
            };
            world.trace(&owner, &format!("{}:done {text}", object.name));
            world.happen(&object, "done", &object, 0);
        }
    }

    fn where_to_bind(&self, action: &Action, it: &Rc<Object>) -> BindOptions {
        let mut at = BindOptions::new();
        #[cfg(unix)]
        if action.options.contains_key("descriptor") {
            return at.fd(super::paths::inherited());
        }
        if let Some(port) = action.options.get("port") {
            let number = port.parse();
            at = at.port(number.unwrap_or_else(|_| self.address_of(action, port, it).port()));
        }
        match action.options.get("host") {
            Some(host) => at.host(host),
            None => at,
        }
    }

    fn destination(
        &self,
        action: &Action,
        object: &Object,
        udp: Socket,
        it: &Rc<Object>,
        target: &str,
    ) -> Destination {
        let (address, port) = match (target, target.parse::<u16>()) {
            ("sender", _) => match object.last_from.get() {
                Some(from) => (Some(from.socket_addr()), from.port()),
                None => fail(action, "nothing has come yet"),
            },
            (_, Ok(port)) => (None, port),
            _ => {
                let address = self.address_of(action, target, it);
                (Some(address), address.port())
            }
        };
        if action.options.contains_key("here") {
            return port.into();
        }
        if let Some(host) = action.options.get("host") {
            return (host, port).into();
        }
        let this_machine = match udp.socket_type() {
            SocketType::Udp4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketType::Udp6 => Ipv6Addr::LOCALHOST.into(),
        };
        match address.filter(|address| !address.ip().is_unspecified()) {
            Some(address) => address.into(),
            None => (this_machine, port).into(),
        }
    }

    /// Has a peer bind a UDP port, and remembers the port.
    pub(super) fn bind_udp_peer(&self, action: &Action) {
        let option = |key: &str| action.options.get(key).map(String::as_str);
        let host = option("host").unwrap_or("127.0.0.1");
        let deaf = option("deaf").map_or("", |_| "deaf");
        let receive_buffer = option("rcvbuf").unwrap_or_default();
        say(&format!(
            ">{}\tudp\t{host}\t{deaf}\t{receive_buffer}",
            action.object
        ));
        let Ok(port) = ask(&action.object).parse::<u16>() else {
            fail(action, "the peer has no port");
        };
        let ip: std::result::Result<IpAddr, _> = host.parse();
        let ip = ip.unwrap_or_else(|_| fail(action, "the host is no IP address"));
        let peer = Object::new(&action.object, Handle::None);
        peer.last_address.set(Some(SocketAddr::new(ip, port)));
        self.add(&peer);
    }

    /// What a peer is told behind `send_to`.
    pub(super) fn words_of_send_to(&self, action: &Action, it: &Rc<Object>) -> Vec<String> {
        let address = self.address_of(action, &action.words[0], it);
        let host = match (action.options.get("host"), address.ip()) {
            (Some(host), _) => host.clone(),
            (None, ip) if !ip.is_unspecified() => ip.to_string(),
            (None, IpAddr::V4(_)) => Ipv4Addr::LOCALHOST.to_string(),
            (None, IpAddr::V6(_)) => Ipv6Addr::LOCALHOST.to_string(),
        };
        let times = action.options.get("times").map_or("1", String::as_str);
        let mut words = vec![host, address.port().to_string(), times.into()];
        words.extend(
            action.words[1..]
                .iter()
                .map(|word| word.replace('\n', "\\n")),
        );
        words
    }
}

/// Tells what a socket's port is called, and remembers it for when it is closed.
fn announce(object: &Object, address: SocketAddr) {
    object.last_address.set(Some(address));
    say(&format!("@{}\t{}", object.name, address.port()));
}

/// A property's value, as `probe` shows it.
pub fn property(object: &Object, udp: Socket, key: &str) -> String {
    match key {
        "address" => asked(udp.address().map(|address| show::address(Some(address)))),
        "remote_address" => asked(
            udp.remote_address()
                .map(|address| show::address(Some(address))),
        ),
        "queue_size" => udp.send_queue_size().to_string(),
        "queue_count" => udp.send_queue_count().to_string(),
        "recv_buffer" => asked(udp.recv_buffer_size()),
        "send_buffer" => asked(udp.send_buffer_size()),
        "type" => udp.socket_type().to_string(),
        _ => match object.last_from.get() {
            Some(from) => from.family().into(),
            None => "none".into(),
        },
    }
}

/// A value, or the code of what asking for it has failed with.
fn asked<T: Display>(answer: Result<T>) -> String {
    let code = |error: &Error| format!("throws:{}", error.code().unwrap_or("error"));
    answer.map_or_else(|error| code(&error), |value| value.to_string())
}
