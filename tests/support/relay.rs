//! One connection piped into another, on a loop that splices and on one that does not.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::thread::{self, JoinHandle};

use nodeloop::net::{ServerOptions, Socket};
use nodeloop::{Counts, Loop};

use super::on_and_off::{BULK, bytes, on_both_built, on_both_saving, receiving, when};
use super::{Recorder, code_of, connect, join, over_unix, pair_with};

/// What is large enough for a pipe to divert its source.
pub const LARGE: usize = 32 * 1024;

/// Whether what comes from a socket can pass within the kernel here: a Unix socket is read, since descriptors
/// may come with its bytes.
pub fn splices() -> bool {
    cfg!(all(target_os = "linux", feature = "splice")) && !over_unix()
}

/// One connection piped into another.
#[derive(Clone)]
pub struct Relay {
    pub from: Socket,
    pub to: Socket,
    pub log: Recorder,
}

/// The other ends of its connections.
pub struct Peers {
    pub sender: TcpStream,
    pub receiver: TcpStream,
}

pub fn relay(lp: &Loop) -> (Relay, Peers) {
    relay_with(lp, ServerOptions::new().allow_half_open(true))
}

pub fn relay_with(lp: &Loop, options: ServerOptions) -> (Relay, Peers) {
    let (from, sender) = pair_with(lp, options.clone(), connect);
    let (to, receiver) = pair_with(lp, options, connect);
    let log = Recorder::new();
    for (name, socket) in [("from", from), ("to", to)] {
        follow(&log, name, socket);
    }
    (Relay { from, to, log }, Peers { sender, receiver })
}

/// Notes what a socket emits, but for what depends on the pace of others.
pub fn follow(log: &Recorder, name: &'static str, socket: Socket) {
    let it = log.clone();
    socket.on_end(move |_| it.note(format!("{name} end")));
    let it = log.clone();
    socket.on_finish(move |_| it.note(format!("{name} finish")));
    let it = log.clone();
    socket.on_error(move |_, error| it.note(format!("{name} error {}", code_of(error))));
    let it = log.clone();
    socket.on_close(move |socket, had_error| {
        let (read, written) = (socket.bytes_read(), socket.bytes_written());
        it.note(format!("{name} close {had_error} {read} {written}"));
    });
}

pub fn on_both(script: impl Fn(&Loop) -> Vec<String>) -> [Counts; 2] {
    on_both_built(|builder| builder, script)
}

/// The same for a script of which much passes within the kernel.
#[track_caller]
pub fn on_both_fast(script: impl Fn(&Loop) -> Vec<String>) {
    on_both_saving(splices(), |counts| counts.reads, script);
}

/// Sends everything and ends.
pub fn sending(mut stream: TcpStream) -> JoinHandle<()> {
    thread::spawn(move || {
        stream.write_all(bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // Whoever drops it with something unread resets.
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    })
}

/// Sends as much as the peer takes, and does not mind if it is gone.
pub fn sending_in_vain(mut stream: TcpStream) -> JoinHandle<()> {
    thread::spawn(move || {
        let _ = stream.write_all(bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

/// Does something when about a half has passed, while nobody waits for 'drain', which would have the source
/// flow.
pub fn midway(lp: &Loop, relay: &Relay, act: impl FnOnce(Relay) + 'static) {
    let (looked_at, given) = (relay.clone(), relay.clone());
    let half = (BULK / 2) as u64;
    when(
        lp,
        move || {
            let half_read = looked_at.from.bytes_read() >= half;
            half_read && !looked_at.to.writable_need_drain() || looked_at.from.destroyed()
        },
        move || act(given),
    );
}

/// Pipes everything, with something that happens on the way. All of it arrives.
pub fn all_arrives(lp: &Loop, act: impl Fn(&Loop, &Relay)) -> Vec<String> {
    let (relay, peers) = relay(lp);
    relay.from.pipe(relay.to);
    relay.to.on_finish(move |_| relay.from.end());
    act(lp, &relay);
    let threads = (sending(peers.sender), receiving(peers.receiver));
    lp.run().unwrap();
    join(threads.0);
    assert!(join(threads.1) == bytes());
    relay.log.take()
}

/// What the one socket tells, then the other: which of them is the first depends on the pace of others.
pub fn by_socket(mut trace: Vec<String>) -> Vec<String> {
    trace.sort_by_key(|event| event.split(' ').next().map(str::to_string));
    trace
}
