//! Scenarios of servers, clients and peers, over TCP and at paths.
//!
//! What makes them the same each time: a peer's orders are done within the handler that gives them
//! (`wait`), so what it has sent is in place; two sockets of the loop take turns, and only who has the
//! turn ends the conversation, in an immediate, behind what the turn's other events do. A guard that
//! does not keep the process alive ends what does.

use super::maker::Maker;
use super::socket::{Socket, ending, gentle, later, reactions};

/// How the two ends meet.
struct Place {
    /// At a path, not a port.
    path: Option<&'static str>,
    host: &'static str,
}

impl Place {
    fn new(maker: &mut Maker) -> Place {
        let path = maker.random.percent(25);
        let path = path.then(|| maker.random.pick(&["sock", "@sock"]));
        let v6 = path.is_none() && maker.random.percent(8);
        if v6 {
            maker.document.head("needs = ipv6");
        }
        if path.is_some() {
            maker.document.head("needs = linux");
        }
        let host = if v6 { "::1" } else { "127.0.0.1" };
        Place { path, host }
    }

    fn listen(&self) -> String {
        match self.path {
            Some(path) => format!("s.listen path={path}"),
            None => format!("s.listen host={}", self.host),
        }
    }

    /// How `who` connects to a server or a listening peer.
    fn connect(&self, who: &str, target: &str) -> String {
        match self.path {
            Some(path) => format!("{who}.connect_path {path}"),
            None => format!("{who}.connect {target}"),
        }
    }
}

/// Makes the server `s`; what its sockets are like.
fn server(maker: &mut Maker, place: &Place) -> Socket {
    let mut socket = Socket::new("s1");
    let mut line = String::from("server s");
    if maker.random.percent(30) {
        line += " half_open";
        socket.half_open = true;
    }
    if maker.random.percent(12) {
        line += " pause_on_connect";
        socket.paused = true;
    }
    if maker.random.percent(12) {
        let mark = maker.random.pick(&["1", "10", "1000", "100000"]);
        line += &format!(" mark={mark}");
    }
    if maker.random.percent(10) && place.path.is_none() {
        line += " no_delay";
    }
    maker.document.add("start", line);
    maker.document.add("start", "s.keep");
    let callback = match maker.random.percent(15) {
        true => " then=listens",
        false => "",
    };
    let listen = place.listen() + callback;
    maker.document.add("start", listen);
    if maker.random.percent(10) {
        maker.document.add("start", "s.unref");
    }
    socket
}

fn client(maker: &mut Maker) -> Socket {
    let mut socket = Socket::new("c");
    let mut line = String::from("client c");
    if maker.random.percent(30) {
        line += " half_open";
        socket.half_open = true;
    }
    if maker.random.percent(12) {
        let mark = maker.random.pick(&["1", "10", "1000", "100000"]);
        line += &format!(" mark={mark}");
    }
    maker.document.add("start", line);
    maker.document.add("start", "c.keep");
    socket
}

/// A server with one connection of a peer's.
pub fn peer_and_server(maker: &mut Maker) {
    maker.document.head("peer p");
    let place = Place::new(maker);
    if maker.random.percent(60) {
        maker.document.head("order = global");
    }
    let mut socket = server(maker, &place);
    socket.peer = Some("p");
    if place.path.is_some() {
        socket.is_path = true;
    }
    maker.guard(&["s.close_all".into(), "p.read_all".into()]);
    maker
        .document
        .add("on s:listening", place.connect("p", "s"));
    // What has come before the connection is noticed.
    if maker.random.percent(35) {
        peer_sends(maker, "on s:listening", &mut socket);
        if maker.random.percent(20) {
            let order = maker.random.pick(&["p.end", "p.close", "p.reset"]);
            let order = if place.path.is_some() { "p.end" } else { order };
            maker.document.add("on s:listening", order);
            socket.peer_is_over = true;
            socket.peer_is_gone = order != "p.end";
        }
    }
    maker.document.add("on s:listening", "wait p");
    maker.document.add("on s:connection", "s1.keep");
    if maker.random.percent(25) {
        let times = maker
            .random
            .pick(&["s.close", "s.close then=closed", "s.unref"]);
        maker.document.add("on s:connection", times);
    }
    talk_with_peer(maker, &mut socket, "on s:connection");
    if maker.random.percent(75) {
        maker.document.add("on s1:close", "s.close");
    }
}

/// A client of a peer that listens.
pub fn client_and_peer(maker: &mut Maker) {
    maker.document.head("peer p");
    let place = Place::new(maker);
    if maker.random.percent(60) {
        maker.document.head("order = global");
    }
    match place.path {
        Some(path) => {
            maker.document.add("start", format!("p.listen_path {path}"));
            maker.document.add("start", "wait p");
        }
        None => maker
            .document
            .add("start", format!("p.listen host={}", place.host)),
    }
    let mut socket = client(maker);
    socket.is_path = place.path.is_some();
    socket.peer = Some("p");
    maker.guard(&["c.destroy".into(), "p.read_all".into()]);
    let on = match maker.random.percent(30) {
        true => {
            maker.document.add("start", "immediate go");
            "on go:fire"
        }
        false => "start",
    };
    let callback = match maker.random.percent(20) {
        true => " then=up",
        false => "",
    };
    let connect = place.connect("c", "p") + callback;
    maker.document.add(on, connect);
    if maker.random.percent(25) {
        // It waits for the connection.
        let (text, _) = maker.text();
        let callback = socket.then(maker);
        maker.document.add(on, format!("c.write {text}{callback}"));
    }
    // The attempt is made on a tick.
    maker.document.add(on, "tick attempted");
    let on = "on attempted:fire";
    maker.document.add(on, "p.accept");
    if maker.random.percent(30) {
        peer_sends(maker, on, &mut socket);
    }
    maker.document.add(on, "wait p");
    talk_with_peer(maker, &mut socket, "on c:connect");
}

/// A client and a server in one loop.
pub fn client_and_server(maker: &mut Maker) {
    let place = Place::new(maker);
    maker.document.head("merge = all");
    let mut accepted = server(maker, &place);
    let mut own = client(maker);
    (accepted.is_path, own.is_path) = (place.path.is_some(), place.path.is_some());
    (accepted.in_pair, own.in_pair) = (true, true);
    maker.guard(&["s.close_all".into(), "c.destroy".into()]);
    maker
        .document
        .add("on s:listening", place.connect("c", "s"));
    maker.document.add("on s:connection", "s1.keep");
    if maker.random.percent(40) {
        maker.document.add("on s:connection", "s.close");
    }
    // The client has the first word, once both are there: behind an immediate made in 'connection'.
    maker.document.add("on s:connection", "immediate go");
    for socket in [&mut own, &mut accepted] {
        let on = match socket.name {
            "c" => "on c:connect",
            _ => "on s:connection",
        };
        if maker.random.percent(40) {
            gentle(maker, socket, on, 1);
        }
    }
    let mut on = String::from("on go:fire");
    let turns = maker.random.below(5);
    for turn in 0..turns {
        let (speaker, listener) = match turn % 2 {
            0 => (&mut own, &mut accepted),
            _ => (&mut accepted, &mut own),
        };
        if maker.random.percent(50) {
            gentle(maker, speaker, &on, 2);
        }
        speaker.sent += say(maker, speaker, &on);
        if listener.paused {
            listener.paused = false;
            maker.document.add(&on, format!("{}.resume", listener.name));
        }
        on = format!("on {}:data >={}", listener.name, speaker.sent);
    }
    let last = match turns % 2 {
        0 => &mut own,
        _ => &mut accepted,
    };
    let on = later(maker, &on);
    ending(maker, last, &on);
    reactions(maker, &mut own);
    reactions(maker, &mut accepted);
    if maker.random.percent(70) {
        maker.document.add("on s1:close", "s.close");
    }
}

/// Several connections at once: each object's own order counts.
pub fn several(maker: &mut Maker) {
    let place = Place {
        path: None,
        host: "127.0.0.1",
    };
    let count = maker.random.between(2, 4);
    let peers = &["p", "q", "r", "t"][..count];
    for peer in peers {
        maker.document.head(format!("peer {peer}"));
    }
    server(maker, &place);
    let mut ends = vec![String::from("s.close_all")];
    ends.extend(peers.iter().map(|peer| format!("{peer}.read_all")));
    maker.guard(&ends);
    // With a limit nobody ends: whether a place becomes free before the next connection is accepted is
    // the kernel's.
    let limited = maker.random.percent(40);
    if limited {
        let limit = maker.random.below(count + 1);
        maker
            .document
            .add("start", format!("s.max_connections {limit}"));
    }
    for peer in peers {
        maker
            .document
            .add("on s:listening", format!("{peer}.connect s"));
        if maker.random.percent(60) {
            let (text, _) = maker.text();
            maker
                .document
                .add("on s:listening", format!("{peer}.send {text}"));
        }
        if !limited && maker.random.percent(50) {
            maker.document.add("on s:listening", format!("{peer}.end"));
        }
        maker.document.add("on s:listening", format!("wait {peer}"));
    }
    maker.document.add("on s:connection", "it.keep");
    if !limited && maker.random.percent(40) {
        let verb = maker
            .random
            .pick(&["it.pause", "it.end", "it.destroy", "it.set_no_delay"]);
        let nth = maker.random.between(1, count);
        maker.document.add(&format!("on s:connection #{nth}"), verb);
    }
    if maker.random.percent(50) {
        let (text, _) = maker.text();
        let verb = match limited {
            true => "write",
            false => maker.random.pick(&["write", "end"]),
        };
        maker
            .document
            .add("on s*:data #1", format!("it.{verb} {text}"));
    }
    if maker.random.percent(40) {
        let verb = maker
            .random
            .pick(&["it.end", "it.destroy", "it.destroy_soon"]);
        maker.document.add("on s*:end", verb);
    }
    maker.document.add("on s*:close", "probe it bytes_read");
    let nth = maker.random.between(1, count);
    if maker.random.percent(60) {
        maker
            .document
            .add(&format!("on s:connection #{nth}"), "s.close then=closed");
    }
}

/// A conversation with a peer, up to its end.
fn talk_with_peer(maker: &mut Maker, socket: &mut Socket, on: &str) {
    let mut on = on.to_string();
    if socket.paused {
        let fire = later(maker, &on);
        maker.document.add(&fire, format!("{}.resume", socket.name));
        socket.paused = false;
    }
    for _ in 0..maker.random.below(4) {
        let count = maker.random.between(0, 2);
        if socket.peer_is_over {
            gentle(maker, socket, &on, count);
            break;
        }
        if socket.is_path && on.contains(":data") {
            // A Unix socket is read until it would block: what comes while its listeners run is read
            // in the same turn, where Node waits for the next.
            on = later(maker, &on);
        }
        // First what the peer does: gathered writes leave at the end of the callback.
        peer_sends(maker, &on, socket);
        maker.document.add(&on, "wait p");
        gentle(maker, socket, &on, count);
        if maker.random.percent(50) && !socket.peer_is_gone {
            say(maker, socket, &on);
        }
        on = format!("on {}:data >={}", socket.name, socket.received);
    }
    match maker.random.below(4) {
        0 if !socket.is_path => ending(maker, socket, &on),
        0..=2 => {
            let on = later(maker, &on);
            ending(maker, socket, &on);
        }
        _ => {
            // When it has been silent for a while.
            maker
                .document
                .add(&on, format!("{}.set_timeout 60", socket.name));
            let on = format!("on {}:timeout #1", socket.name);
            // An inactivity timeout comes once for each silence.
            maker
                .document
                .add(&on, format!("{}.set_timeout 0", socket.name));
            ending(maker, socket, &on);
        }
    }
    reactions(maker, socket);
    maker
        .document
        .add(&format!("on {}:close", socket.name), "p.read_all");
}

/// The peer sends something.
fn peer_sends(maker: &mut Maker, on: &str, socket: &mut Socket) {
    for _ in 0..maker.random.between(1, 2) {
        let (data, length) = match maker.random.below(5) {
            0 => {
                let length = [1, 100, 20_000, 66_000][maker.random.below(4)];
                (format!("bytes:{length}"), length)
            }
            _ => maker.text(),
        };
        maker.document.add(on, format!("p.send {data}"));
        socket.received += length;
    }
}

/// Writes what lets the other side go on; gives its length.
fn say(maker: &mut Maker, socket: &Socket, on: &str) -> usize {
    let mut sent = 0;
    let corked = maker.random.percent(15);
    if corked {
        maker.document.add(on, format!("{}.cork", socket.name));
    }
    for _ in 0..maker.random.between(1, 3) {
        let (data, length) = match maker.random.below(6) {
            0 => {
                let length = [1, 1_000, 16_384, 40_000, 70_000][maker.random.below(5)];
                (format!("bytes:{length}"), length)
            }
            _ => maker.text(),
        };
        let then = socket.then(maker);
        maker
            .document
            .add(on, format!("{}.write {data}{then}", socket.name));
        sent += length;
    }
    if corked {
        maker.document.add(on, format!("{}.uncork", socket.name));
    }
    sent
}
