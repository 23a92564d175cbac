//! What a socket does in a generated scenario: things that end nothing, ways to end, and what is done
//! when it has come to that.

use super::maker::Maker;

/// A socket of the loop, as far as the generator has to know.
pub struct Socket {
    pub name: &'static str,
    /// The raw peer at its other end, if that is one.
    pub peer: Option<&'static str>,
    pub half_open: bool,
    /// Whether it does not read yet.
    pub paused: bool,
    /// Whether its other end is a socket of the loop, too.
    pub in_pair: bool,
    pub is_path: bool,
    /// Whether the peer has ended already.
    pub peer_is_over: bool,
    /// Whether it has closed or reset: then it takes nothing any more.
    pub peer_is_gone: bool,
    /// Bytes that have been sent to it, and by it to its pair.
    pub received: usize,
    pub sent: usize,
}

/// What can be asked of a socket at any time.
const PROPERTIES: [&str; 18] = [
    "ready_state",
    "destroyed",
    "closed",
    "connecting",
    "pending",
    "readable",
    "writable",
    "readable_ended",
    "writable_ended",
    "writable_finished",
    "errored",
    "paused",
    "flowing",
    "allow_half_open",
    "need_drain",
    "timeout",
    "corked",
    "writable_mark",
];

impl Socket {
    pub fn new(name: &'static str) -> Socket {
        Socket {
            name,
            peer: None,
            half_open: false,
            paused: false,
            in_pair: false,
            is_path: false,
            peer_is_over: false,
            peer_is_gone: false,
            received: 0,
            sent: 0,
        }
    }

    /// Whether it may write there. To a peer that is gone one write succeeds and the next fails; gathered
    /// they are one.
    fn may_write(&self, maker: &Maker, on: &str) -> bool {
        let writes = |word: &str| maker.document.has(on, &format!("{}.{word}", self.name));
        !self.peer_is_gone || !(writes("write") || writes("end"))
    }

    /// Perhaps a completion.
    pub fn then(&self, maker: &mut Maker) -> String {
        if maker.random.percent(65) {
            return String::new();
        }
        let name = maker.name("w");
        if maker.random.percent(25) {
            let on = format!("on {name}:done");
            probe(maker, self, &on);
        }
        format!(" then={name}")
    }
}

/// An immediate; gives when it fires.
pub fn later(maker: &mut Maker, on: &str) -> String {
    let name = maker.name("i");
    maker.document.add(on, format!("immediate {name}"));
    format!("on {name}:fire")
}

fn probe(maker: &mut Maker, socket: &Socket, on: &str) {
    let mut line = format!("probe {}", socket.name);
    for _ in 0..maker.random.between(1, 4) {
        line += " ";
        line += match (maker.random.below(12), socket.in_pair) {
            (0, false) => "bytes_read",
            (1, false) => "readable_length",
            (2, false) => "writable_length",
            _ => maker.random.pick(&PROPERTIES),
        };
    }
    maker.document.add(on, line);
}

/// Does so many things that end nothing and let the conversation go on.
pub fn gentle(maker: &mut Maker, socket: &mut Socket, on: &str, times: usize) {
    for _ in 0..times {
        one_gentle(maker, socket, on, 0);
    }
}

fn one_gentle(maker: &mut Maker, socket: &mut Socket, on: &str, depth: usize) {
    let name = socket.name;
    match maker.random.below(13) {
        0..=2 => probe(maker, socket, on),
        3 | 4 => {
            let later = maker.name("k");
            maker.document.add(on, format!("tick {later}"));
            if depth < 2 {
                one_gentle(maker, socket, &format!("on {later}:fire"), depth + 1);
            }
        }
        5 | 6 => {
            let on = later(maker, on);
            if depth < 2 {
                one_gentle(maker, socket, &on, depth + 1);
            }
        }
        7 => {
            let label = maker.name("l");
            let event = maker
                .random
                .pick(&["data", "end", "drain", "finish", "close", "error", "resume"]);
            let verb = maker.random.pick(&["on", "once"]);
            // Between two sockets of the loop the chunks are the kernel's, and gathering's.
            let event = match socket.in_pair && event == "data" {
                true => "end",
                false => event,
            };
            maker
                .document
                .add(on, format!("{name}.{verb} {event} as={label}"));
            if maker.random.percent(25) {
                let on = later(maker, on);
                maker.document.add(&on, format!("{name}.off {label}"));
            }
        }
        // In which turn the other's words come gathering decides, too: so no pause at a turn of its own.
        8 if !(socket.in_pair && depth > 0) => {
            maker.document.add(on, format!("{name}.pause"));
            let on = later(maker, on);
            maker.document.add(&on, format!("{name}.resume"));
        }
        9 if !socket.in_pair && socket.may_write(maker, on) => {
            let (text, _) = maker.text();
            let then = socket.then(maker);
            maker.document.add(on, format!("{name}.write {text}{then}"));
        }
        // With both of a pair the process may end between two chunks, which gathering makes others.
        10 if name != "s1" || !socket.in_pair => {
            maker.document.add(on, format!("{name}.unref"));
        }
        11 => maker.document.add(on, format!("{name}.ref")),
        _ if !socket.is_path => {
            let verb =
                maker
                    .random
                    .pick(&["set_no_delay", "set_no_delay off", "set_keep_alive 1000"]);
            maker.document.add(on, format!("{name}.{verb}"));
        }
        _ => maker.document.add(on, format!("{name}.set_timeout 3000")),
    }
}

/// One of the ways to end, or none.
pub fn ending(maker: &mut Maker, socket: &mut Socket, on: &str) {
    if maker.random.percent(12) {
        pause_over(maker, socket, on);
    }
    let peers_turn = socket.peer.is_some() && !socket.peer_is_over;
    if peers_turn && maker.random.percent(60) {
        peer_ends(maker, socket, on);
        // Often that is all.
        if maker.random.percent(60) {
            return;
        }
    }
    end_locally(maker, socket, on);
    if maker.random.percent(15) {
        end_locally(maker, socket, on);
    }
}

/// Does not read while the end comes.
fn pause_over(maker: &mut Maker, socket: &Socket, on: &str) {
    let name = socket.name;
    maker.document.add(on, format!("{name}.pause"));
    let mut fire = later(maker, on);
    if maker.random.percent(50) {
        fire = later(maker, &fire);
    }
    maker.document.add(&fire, format!("{name}.resume"));
}

fn peer_ends(maker: &mut Maker, socket: &mut Socket, on: &str) {
    let orders: &[&str] = match on.contains(":fire") && !socket.is_path {
        // What is unread at the peer is decided there.
        true => &["end", "end", "close", "reset"],
        false => &["end"],
    };
    let peer = socket.peer.unwrap_or_default();
    let order = maker.random.pick(orders);
    if maker.random.percent(25) {
        let (text, length) = maker.text();
        maker.document.add(on, format!("{peer}.send {text}"));
        socket.received += length;
    }
    maker.document.add(on, format!("{peer}.{order}"));
    maker.document.add(on, format!("wait {peer}"));
    socket.peer_is_over = true;
    socket.peer_is_gone = order != "end";
}

fn end_locally(maker: &mut Maker, socket: &Socket, on: &str) {
    let name = socket.name;
    let then = match maker.random.percent(25) {
        true => format!(" then={}", maker.name("e")),
        false => String::new(),
    };
    let may_write = socket.may_write(maker, on);
    match maker.random.below(12) {
        0..=4 | 10 if !may_write => maker.document.add(on, format!("{name}.destroy_soon")),
        0..=2 => maker.document.add(on, format!("{name}.end{then}")),
        3 => {
            let (text, _) = maker.text();
            maker.document.add(on, format!("{name}.end {text}{then}"));
        }
        4 => {
            let (text, _) = maker.text();
            maker.document.add(on, format!("{name}.write {text}{then}"));
            maker.document.add(on, format!("{name}.destroy_soon"));
        }
        5 | 6 => maker.document.add(on, format!("{name}.destroy")),
        7 => maker
            .document
            .add(on, format!("{name}.destroy \"on purpose\"")),
        8 => maker.document.add(on, format!("{name}.destroy_soon")),
        9 if !socket.is_path => maker.document.add(on, format!("{name}.reset_and_destroy")),
        10 => {
            let (text, _) = maker.text();
            maker.document.add(on, format!("{name}.write {text}{then}"));
            maker.document.add(on, format!("{name}.destroy"));
        }
        _ => {}
    }
}

/// What is done in the events of the end.
pub fn reactions(maker: &mut Maker, socket: &mut Socket) {
    let name = socket.name;
    for event in ["end", "finish", "error", "close", "drain"] {
        if maker.random.percent(60) {
            continue;
        }
        let on = format!("on {name}:{event} #1");
        for _ in 0..maker.random.between(1, 2) {
            match maker.random.below(10) {
                0..=3 => probe(maker, socket, &on),
                4..=6 => one_gentle(maker, socket, &on, 0),
                7 if socket.may_write(maker, &on) => {
                    let (text, _) = maker.text();
                    let then = socket.then(maker);
                    maker
                        .document
                        .add(&on, format!("{name}.write {text}{then}"));
                }
                // Where the other end is still speaking, which of its writes fails is gathering's.
                _ if socket.in_pair && event == "drain" => probe(maker, socket, &on),
                _ => end_locally(maker, socket, &on),
            }
        }
    }
    // A side that stays half-open ends at last, or the guard comes.
    if socket.half_open && maker.random.percent(60) {
        let on = format!("on {name}:end");
        maker.document.add(&on, format!("{name}.end"));
    }
}
