//! How a connection ends, seen from a client whose raw peer sends FIN or RST, closes, sends urgent
//! data and then FIN, or nothing, at each point of a connection (N118–N150, N161, N194, S1–S6, D4).
//!
//! `clients_ending.traces` was printed by Node 26, whose client did the same against such a peer.
//! `tests/support/traced.rs` tells how to read a line; the addresses are left out, since Node forgets
//! the remote one if nobody asks in time.

mod support;

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use nodeloop::net::{self, Socket, SocketOptions};
use nodeloop::{Builder, Loop};
use support::traced::{raw_listener, state};
use support::*;

/// What Node printed.
const TRACES: &str = include_str!("clients_ending.traces");

/// What the peer does.
const ACTS: [&str; 5] = ["fin", "close", "rst", "urgent", "nothing"];

/// More than the socket buffers of both ends.
const MUCH: usize = 16 << 20;

/// The socket's state without its addresses.
fn short_state(socket: Socket) -> String {
    let state = state(socket);
    let (state, _) = state.rsplit_once(' ').unwrap();
    format!("{state}]")
}

fn note(log: &Recorder, word: &str, socket: Socket) {
    log.note(format!("{word} {}", short_state(socket)));
}

fn note_data(log: &Recorder, socket: Socket) {
    let log = log.clone();
    socket.on_data(move |_, chunk| {
        log.note(format!("data {}", String::from_utf8_lossy(chunk)));
    });
}

fn note_the_rest(log: &Recorder, socket: Socket) {
    let inner = log.clone();
    socket.on_end(move |socket| note(&inner, "end", socket));
    let inner = log.clone();
    socket.on_finish(move |socket| note(&inner, "finish", socket));
    socket.on_drain(log.noting("drain"));
    let inner = log.clone();
    socket.on_error(move |socket, error| {
        let (code, syscall) = (code_of(error), error.syscall().unwrap_or(""));
        let word = format!("error {code} {syscall} {}", error.message());
        note(&inner, &word, socket);
    });
    let inner = log.clone();
    socket.on_close(move |socket, had_error| {
        note(&inner, &format!("close {had_error}"), socket);
    });
}

/// Has the loop do everything that there is to do by now. On loop-back what a peer has done has
/// arrived when its call returns.
fn settle(lp: &Loop) {
    for _ in 0..20 {
        lp.run_nowait().unwrap();
    }
}

/// Does one of [`ACTS`].
fn act(mut peer: TcpStream, what: &str) -> Option<TcpStream> {
    match what {
        "fin" => peer.shutdown(Shutdown::Write).unwrap(),
        "close" => return None,
        "rst" => {
            reset(peer);
            return None;
        }
        "urgent" => {
            let socket = socket2::SockRef::from(&peer);
            assert_eq!(socket.send_out_of_band(b"!").unwrap(), 1);
            peer.shutdown(Shutdown::Write).unwrap();
        }
        _ => peer.flush().unwrap(),
    }
    Some(peer)
}

/// One cell of the table.
fn play(lp: &Loop, log: &Recorder, point: &str, what: &str, half_open: bool) {
    let (listener, address) = raw_listener();
    let options = SocketOptions::new().allow_half_open(half_open);
    let socket = net::connect(lp, target(address).socket(options));
    turn_until(lp, || !socket.connecting());
    let (mut peer, _) = listener.accept().unwrap();
    if point != "unread" {
        note_data(log, socket);
    }
    note_the_rest(log, socket);
    match point {
        "amid" => peer.write_all(b"amid").unwrap(),
        "unread" => peer.write_all(b"unread").unwrap(),
        "paused" => {
            socket.pause();
            peer.write_all(b"unread").unwrap();
        }
        "waiting" => {
            socket.write_then(vec![0; MUCH], log.done("w1"));
            socket.write_then("more", log.done("w2"));
        }
        "behind-ours" | "unread-behind-ours" => {
            socket.end_then(log.done("e"));
            turn_until(lp, || socket.writable_finished());
        }
        _ => {}
    }
    settle(lp);
    if point == "unread-behind-ours" {
        socket.pause();
        peer.write_all(b"late").unwrap();
        settle(lp);
    }
    let _peer = act(peer, what);
    settle(lp);
    // A closed socket is gone, as the garbage collector would have it in Node.
    let shown = match log.last() {
        Some(close) if close.starts_with("close") => {
            format!("{} rl *", close.split_once(" [").unwrap().1)
        }
        _ => format!(
            "{} rl {}",
            &short_state(socket)[1..],
            socket.readable_length()
        ),
    };
    log.note(format!("-- [{shown}"));
    if point == "unread" {
        note_data(log, socket);
    }
    if point.starts_with("unread") || point == "paused" {
        socket.resume();
    }
    settle(lp);
    if !socket.destroyed() {
        note(log, "-- then write", socket);
        for name in ["w", "x"] {
            if !socket.destroyed() {
                log.note(socket.write_then(name, log.done(name)));
                settle(lp);
            }
        }
        if !socket.destroyed() {
            note(log, "-- then end", socket);
            socket.end_then(log.done("end"));
            settle(lp);
        }
    }
    if !socket.destroyed() {
        note(log, "-- then destroy", socket);
        socket.destroy();
    }
    lp.run().unwrap();
    assert_eq!(lp.handles().len(), 0, "{:?}", lp.handles());
}

/// What Node printed for a cell.
fn expected(cell: &str) -> Vec<String> {
    let mut lines = TRACES.lines();
    let head = format!("== {cell}");
    assert!(lines.any(|line| line == head), "no cell {cell}");
    let lines = lines.take_while(|line| !line.starts_with("== "));
    lines.map(str::to_string).collect()
}

/// A row of the table.
fn row(point: &str) {
    let builders: [fn(Builder) -> Builder; 3] = [
        |builder| builder,
        |builder| builder.read_budget(1),
        |builder| builder.spurious_events(true),
    ];
    let mut wrong = Vec::new();
    for (number, build) in builders.into_iter().enumerate() {
        for half_open in [false, true] {
            for what in ACTS {
                if over_unix() && ["rst", "urgent"].contains(&what) {
                    // There are no resets, nor urgent data everywhere.
                    continue;
                }
                if over_unix() && half_open && what == "close" {
                    // The first write tells already that the peer is gone: see tests/paths_flowing.rs.
                    continue;
                }
                let lp = build(Loop::builder()).build().unwrap();
                let _deadline = deadline(&lp, 20);
                let log = Recorder::new();
                play(&lp, &log, point, what, half_open);
                let suffix = if half_open { " half-open" } else { "" };
                let cell = format!("{point} {what}{suffix}");
                // What a destroyed socket still buffered can be asked in Node only.
                let mut expected = expected(&cell);
                for line in &mut expected {
                    if let Some((destroyed, _)) = line.split_once("] rl ")
                        && destroyed.contains("pdC")
                    {
                        *line = format!("{destroyed}] rl *");
                    }
                }
                let noted = log.take();
                if noted != expected {
                    wrong.push(format!(
                        "{cell} on loop {number}: noted\n{}\nexpected\n{}",
                        noted.join("\n"),
                        expected.join("\n")
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn n118_n130_n134_before_any_byte() {
    row("before");
}

#[test]
fn n118_n149_amid_data() {
    row("amid");
}

#[test]
fn n122_n161_behind_data_that_nobody_reads() {
    row("unread");
}

#[test]
fn n161_n162_behind_data_of_a_paused_socket() {
    row("paused");
}

#[test]
fn n124_n192_n194_while_our_writes_wait() {
    row("waiting");
}

#[test]
fn n126_s6_behind_our_own_end() {
    row("behind-ours");
}

#[test]
fn n126_n135_behind_our_own_end_and_unread_data() {
    row("unread-behind-ours");
}
