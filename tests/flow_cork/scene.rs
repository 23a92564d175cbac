//! What a scene is made of.

use std::cell::RefCell;
use std::net::TcpStream;
use std::rc::Rc;
use std::thread::JoinHandle;

use nodeloop::net::Socket;
use nodeloop::{Builder, Loop};

use super::support::*;

pub const MARK: u32 = 10;

/// What is large on a loop that writes one byte at a time: it takes seven turns, of 32 writes each,
/// and ends in the midst of one, so that what waits behind it leaves in the same turn. Over Unix
/// sockets the kernel takes about 278 such writes and no more: with a greater number it would
/// depend on the reader whether they do.
const FEW: usize = 200;

/// What a scene's listeners share.
#[derive(Clone)]
pub struct Scene(pub Rc<Shared>);

pub struct Shared {
    pub log: Recorder,
    pub large: usize,
    pub peer: RefCell<Option<TcpStream>>,
    pub reader: RefCell<Option<JoinHandle<()>>>,
}

impl Scene {
    pub fn new(large: usize, peer: Option<TcpStream>) -> Scene {
        Scene(Rc::new(Shared {
            log: Recorder::new(),
            large,
            peer: RefCell::new(peer),
            reader: RefCell::new(None),
        }))
    }

    /// Writes so many bytes, and notes what `write` returns and later the completion.
    pub fn write_size(&self, socket: Socket, name: &'static str, bytes: usize) {
        let returned = socket.write_then(vec![b'x'; bytes], self.0.log.done(name));
        self.note(format!("{name} {returned}"));
    }

    /// The same with a text, which is its name too.
    pub fn write(&self, socket: Socket, text: &'static str) {
        let returned = socket.write_then(text, self.0.log.done(text));
        self.note(format!("{text} {returned}"));
    }

    pub fn write_large(&self, socket: Socket) {
        self.write_size(socket, "large", self.0.large);
    }

    pub fn note(&self, text: impl std::fmt::Display) {
        self.0.log.note(text);
    }

    /// Notes what waits, and whether a 'drain' is owed. What is large counts as an `L`.
    pub fn state(&self, socket: Socket) {
        let length = socket.writable_length();
        let length = match length.checked_sub(self.0.large) {
            Some(rest) => format!("L+{rest}"),
            None => length.to_string(),
        };
        let corked = socket.writable_corked();
        let drain = socket.writable_need_drain();
        self.note(format!("corked {corked} length {length} owes {drain}"));
    }

    /// Does something in the next check phase.
    pub fn later(&self, socket: Socket, act: impl FnOnce(&Scene) + 'static) {
        let scene = self.clone();
        socket.event_loop().set_immediate(move |_| act(&scene));
    }

    /// Ends the socket in the check phase after that.
    pub fn end_later(&self, socket: Socket) {
        self.later(socket, move |_| socket.end());
    }

    /// Has the peer read everything, and end when it has seen the end.
    pub fn read(&self) {
        if let Some(peer) = self.0.peer.take() {
            let reader = std::thread::spawn(move || drop(ending(&peer)));
            self.0.reader.replace(Some(reader));
        }
    }
}

/// Loops with rare paths forced, and what is large there.
pub fn on_every_loop_with_large(test: impl Fn(&Loop, usize)) {
    let builders: [(&str, fn(Builder) -> Builder, usize); 6] = [
        ("usual", |builder| builder, (8 << 20) + 1234),
        (
            "no gathering",
            |builder| builder.gather(false),
            (8 << 20) + 1234,
        ),
        (
            "one-byte reads",
            |builder| builder.limit_reads(1),
            (8 << 20) + 1234,
        ),
        // Not gathered: a large write is one that is not.
        (
            "one-byte writes",
            |builder| builder.limit_writes(1).gather(false),
            FEW,
        ),
        (
            "spurious events",
            |it| it.spurious_events(true),
            (8 << 20) + 1234,
        ),
        (
            "all of it",
            |builder| {
                let builder = builder.limit_reads(1).limit_writes(1);
                builder.read_budget(1).spurious_events(true).gather(false)
            },
            FEW,
        ),
    ];
    for (name, build, large) in builders {
        println!("on a loop with {name}");
        let lp = build(Loop::builder()).build().unwrap();
        let _deadline = deadline(&lp, 20);
        test(&lp, large);
    }
}
