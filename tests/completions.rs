//! Completions are called exactly once, in every ending that a socket can come to, with what
//! Node's callbacks get and in Node's order. Only where Node forgets a callback ours differs.

mod support;

use std::io::Read;
use std::net::TcpStream;
use std::rc::Rc;
use std::thread::JoinHandle;

use nodeloop::Loop;
use nodeloop::net::{self, ServerOptions, Socket};
use support::*;

/// More than any socket buffer takes: part of it stays in flight.
const LARGE: usize = 8 << 20;

/// What the peer does.
#[derive(Clone, Copy, PartialEq)]
enum Peer {
    /// Takes everything, and ends when it has seen the end.
    Reads,
    /// Nothing.
    Waits,
    /// It has closed, and the socket has seen its end.
    Gone,
}

/// What happens a turn later.
enum Then {
    /// Nothing.
    Nothing,
    /// This side acts.
    Act(fn(Socket, &Recorder)),
    /// The peer resets the connection.
    Reset,
}

/// A connection that `first` and `then` happen to, and everything that it reports.
struct Ending {
    peer: Peer,
    first: fn(Socket, &Recorder),
    then: Then,
    trace: &'static [&'static str],
}

/// One write of each kind: taken at once, in flight, waiting behind it; and an end.
fn write_all_kinds(socket: Socket, log: &Recorder) {
    socket.write_then("small", log.done("small"));
    socket.write_then(vec![0; LARGE], log.done("flight"));
    socket.write_then("queued", log.done("queued"));
    socket.end_with_then("last", log.done("end"));
}

/// Runs an ending with `first` called outside `run` and inside, on ordinary and odd loops.
fn check(ending: &Ending) {
    for inside in [false, true] {
        for spurious in [false, true] {
            let lp = Loop::builder().spurious_events(spurious).build().unwrap();
            let _deadline = deadline(&lp, 20);
            let log = Recorder::new();
            let half_open = ending.peer == Peer::Gone;
            let options = ServerOptions::new().allow_half_open(half_open);
            let (socket, peer) = pair_with(&lp, options, |to| connect_narrow(to, 4096));
            log.follow_but_data(socket);
            socket.resume();
            lp.run_nowait().unwrap();
            let mut peer = Some(peer);
            let mut reader = None::<JoinHandle<()>>;
            match ending.peer {
                Peer::Reads => {
                    let peer: TcpStream = peer.take().expect("it is there");
                    reader = Some(std::thread::spawn(move || drop(support::ending(&peer))));
                }
                Peer::Waits => {}
                Peer::Gone => {
                    drop(peer.take());
                    turn_until(&lp, || log.has("end"));
                    log.take();
                }
            }
            let first = ending.first;
            match inside {
                false => first(socket, &log),
                true => {
                    let log = log.clone();
                    lp.set_immediate(move |_| first(socket, &log));
                }
            }
            lp.run_nowait().unwrap();
            match ending.then {
                Then::Nothing => {}
                Then::Act(act) => act(socket, &log),
                Then::Reset => reset(peer.take().expect("it is there")),
            }
            lp.run().unwrap();
            if let Some(reader) = reader {
                join(reader);
            }
            assert_eq!(log.take(), ending.trace, "inside: {inside}");
            // Nobody was forgotten who would come later.
            drop(lp);
            log.expect(&[]);
        }
    }
}

#[test]
fn n120_n184_finish() {
    check(&Ending {
        peer: Peer::Reads,
        first: write_all_kinds,
        then: Then::Nothing,
        trace: &[
            "small ok",
            "flight ok",
            "queued ok",
            "end ok",
            "finish",
            "end",
            "close false",
        ],
    });
}

#[test]
fn n192_destroy() {
    let trace = &[
        "small ok",
        "flight ECANCELED",
        "queued ECANCELED",
        "end ECANCELED",
        "close false",
    ];
    check(&Ending {
        peer: Peer::Waits,
        first: |socket, log| {
            write_all_kinds(socket, log);
            socket.destroy();
        },
        then: Then::Nothing,
        trace,
    });
    check(&Ending {
        peer: Peer::Waits,
        first: write_all_kinds,
        then: Then::Act(|socket, _| socket.destroy()),
        trace,
    });
}

#[test]
fn n193_destroy_with() {
    let trace = &[
        "small ok",
        "error reason",
        "flight ECANCELED",
        "queued reason",
        "end reason",
        "close true",
    ];
    check(&Ending {
        peer: Peer::Waits,
        first: |socket, log| {
            write_all_kinds(socket, log);
            socket.destroy_with("reason");
        },
        then: Then::Nothing,
        trace,
    });
    check(&Ending {
        peer: Peer::Waits,
        first: write_all_kinds,
        then: Then::Act(|socket, _| socket.destroy_with("reason")),
        trace,
    });
}

#[test]
fn n194_reset_by_the_peer() {
    check(&Ending {
        peer: Peer::Waits,
        first: write_all_kinds,
        then: Then::Reset,
        trace: &[
            "small ok",
            "error ECONNRESET",
            "flight ECANCELED",
            "queued ECONNRESET",
            "end ECONNRESET",
            "close true",
        ],
    });
}

#[test]
fn n136_write_after_end() {
    check(&Ending {
        peer: Peer::Reads,
        first: |socket, log| {
            socket.write_then("small", log.done("small"));
            socket.end_with_then("last", log.done("end"));
            assert!(!socket.write_then("more", log.done("more")));
        },
        then: Then::Nothing,
        trace: &[
            "small ok",
            "end ERR_STREAM_WRITE_AFTER_END",
            "more ERR_STREAM_WRITE_AFTER_END",
            "error ERR_STREAM_WRITE_AFTER_END",
            "close true",
        ],
    });
    check(&Ending {
        peer: Peer::Waits,
        first: |socket, log| {
            write_all_kinds(socket, log);
            assert!(!socket.write_then("more", log.done("more")));
        },
        then: Then::Nothing,
        trace: &[
            "small ok",
            "more ERR_STREAM_WRITE_AFTER_END",
            "error ERR_STREAM_WRITE_AFTER_END",
            "flight ECANCELED",
            "queued ERR_STREAM_WRITE_AFTER_END",
            "end ERR_STREAM_WRITE_AFTER_END",
            "close true",
        ],
    });
}

#[test]
fn n138_after_destroy() {
    check(&Ending {
        peer: Peer::Waits,
        first: |socket, log| {
            socket.destroy();
            assert!(!socket.write_then("more", log.done("more")));
            socket.end_with_then("last", log.done("end"));
            // Node never calls this one.
            socket.end_then(log.done("end again"));
        },
        then: Then::Nothing,
        trace: &[
            "more ERR_STREAM_DESTROYED",
            "end ERR_STREAM_DESTROYED",
            "end again ERR_STREAM_DESTROYED",
            "close false",
        ],
    });
}

#[test]
fn n137_end_twice() {
    check(&Ending {
        peer: Peer::Reads,
        first: |socket, log| {
            socket.end_then(log.done("one"));
            socket.end_then(log.done("two"));
            socket.end();
        },
        then: Then::Nothing,
        trace: &["one ok", "two ok", "finish", "end", "close false"],
    });
    check(&Ending {
        peer: Peer::Reads,
        first: |socket, log| {
            socket.end_then(log.done("one"));
            socket.end_then(log.done("two"));
            socket.end_with_then("x", log.done("three"));
        },
        then: Then::Nothing,
        trace: &[
            "one ERR_STREAM_WRITE_AFTER_END",
            "two ERR_STREAM_WRITE_AFTER_END",
            "error ERR_STREAM_WRITE_AFTER_END",
            "three ERR_STREAM_WRITE_AFTER_END",
            "close true",
        ],
    });
    check(&Ending {
        peer: Peer::Reads,
        first: |socket, log| {
            socket.end_then(log.done("one"));
            let log = log.clone();
            socket.on_finish(move |socket| socket.end_then(log.done("two")));
        },
        then: Then::Nothing,
        trace: &[
            "one ok",
            "finish",
            "two ERR_STREAM_ALREADY_FINISHED",
            "end",
            "close false",
        ],
    });
}

#[test]
fn n146_n195_the_peer_is_gone() {
    if tcp_only("the first write tells already that the peer is gone: see tests/paths_flowing.rs") {
        return;
    }
    check(&Ending {
        peer: Peer::Gone,
        // The peer answers the first with a reset.
        first: |socket, log| {
            socket.write_then("1", log.done("1"));
        },
        then: Then::Act(|socket, log| {
            assert!(!socket.write_then("2", log.done("2")));
            assert!(!socket.write_then("3", log.done("3")));
            socket.end_then(log.done("end"));
        }),
        trace: &[
            "1 ok",
            "2 EPIPE",
            "3 EPIPE",
            "end EPIPE",
            "error EPIPE",
            "close true",
        ],
    });
}

#[test]
fn destroy_in_the_completion_of_a_write() {
    check(&Ending {
        peer: Peer::Waits,
        first: |socket, log| {
            let done = log.done("a");
            socket.write_then("a", move |result| {
                done(result);
                socket.destroy();
            });
            socket.write_then("b", log.done("b"));
            socket.end_then(log.done("end"));
        },
        then: Then::Nothing,
        trace: &["a ok", "end ERR_STREAM_DESTROYED", "b ok", "close false"],
    });
}

#[test]
fn n141_destroy_in_finish() {
    check(&Ending {
        peer: Peer::Waits,
        first: |socket, log| {
            socket.end_then(log.done("end"));
            let log = log.clone();
            socket.on_finish(move |socket| {
                socket.destroy();
                socket.write_then("x", log.done("x"));
            });
        },
        then: Then::Nothing,
        trace: &[
            "end ok",
            "finish",
            "x ERR_STREAM_WRITE_AFTER_END",
            "close false",
        ],
    });
}

#[test]
fn writes_inside_the_last_close() {
    check(&Ending {
        peer: Peer::Waits,
        first: |socket, log| {
            let log = log.clone();
            socket.on_close(move |socket, _| {
                socket.write_then("x", log.done("x"));
                socket.end_then(log.done("end"));
            });
            socket.destroy();
        },
        then: Then::Nothing,
        // Node forgets the second.
        trace: &[
            "close false",
            "x ERR_STREAM_DESTROYED",
            "end ERR_STREAM_DESTROYED",
        ],
    });
}

#[test]
fn n124_after_the_peers_end_was_answered() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let log = Recorder::new();
    log.follow_but_data(socket);
    let inner = log.clone();
    // Kept, so that the late write finds the socket and not a handle without one.
    socket.keep();
    socket.on_end(move |socket| {
        socket.write_then("in time", inner.done("in time"));
        let inner = inner.clone();
        socket.event_loop().set_immediate(move |_| {
            socket.write_then("late", inner.done("late"));
        });
    });
    socket.resume();
    send_and_end(&peer, b"x");
    lp.run().unwrap();
    log.expect(&["end", "in time ok", "finish", "late EPIPE", "close false"]);
    assert_eq!(read_to_end(&peer), b"in time");
}

#[test]
fn a_handle_that_is_gone_has_its_completions_called_with_that() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, _peer) = pair(&lp);
    let server = net::create_server(&lp, |_| {});
    socket.destroy();
    server.close();
    lp.run().unwrap();
    let log = Recorder::new();
    let hand_in = move |log: &Recorder| {
        socket.write_then("x", log.done("write"));
        socket.end_then(log.done("end"));
        socket.end_with_then("x", log.done("end_with"));
        server.close_then(log.done("close"));
        // None of them before the call returns.
        log.expect(&[]);
    };
    let expected = [
        "write ERR_HANDLE_GONE",
        "end ERR_HANDLE_GONE",
        "end_with ERR_HANDLE_GONE",
        "close ERR_HANDLE_GONE",
    ];
    hand_in(&log);
    lp.run().unwrap();
    log.expect(&expected);
    let inner = log.clone();
    lp.set_immediate(move |_| hand_in(&inner));
    lp.run().unwrap();
    log.expect(&expected);
    // With its loop gone there is nobody to call them.
    hand_in(&log);
    drop(lp);
    hand_in(&log);
    log.expect(&[]);
}

#[test]
fn n81_n82_completions_of_a_servers_close() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (server, address) = listening(&lp, |_| {});
    server.keep();
    server.on_close(log.noting("close"));
    server.close_then(log.done("first"));
    server.close_then(log.done("second"));
    lp.run().unwrap();
    // Both are listeners of 'close', which comes twice; each is called once.
    log.expect(&[
        "close",
        "first ok",
        "second ERR_SERVER_NOT_RUNNING",
        "close",
    ]);
    // A host is looked up first: it does not listen yet.
    server.listen(("127.0.0.1", 0)).unwrap();
    server.close_then(log.done("looked up"));
    lp.run().unwrap();
    log.expect(&["close", "looked up ERR_SERVER_NOT_RUNNING"]);
    server.listen(at(address)).unwrap();
    server.close_then(log.done("listened"));
    lp.run().unwrap();
    log.expect(&["close", "listened ok"]);
}

/// What a tick has left behind comes before the next tick, as behind every loop callback.
#[test]
fn a_tick_is_a_loop_callback() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, mut peer) = pair(&lp);
    peer.set_nonblocking(true).unwrap();

    // What it discards is dropped; a small write goes out; a completion is a tick itself.
    let held = Rc::new(());
    let timer = lp.set_timeout_once(60_000, {
        let held = held.clone();
        move |_| drop(held)
    });
    lp.next_tick(move |_| timer.clear());
    lp.next_tick(move |_| assert_eq!(Rc::strong_count(&held), 1));
    let written = log.clone();
    lp.next_tick(move |_| {
        socket.write_then("written", written.done("completion"));
    });
    let noted = log.clone();
    lp.next_tick(move |_| {
        let mut text = [0; 10];
        let size = peer.read(&mut text).unwrap();
        noted.note(std::str::from_utf8(&text[..size]).unwrap());
    });
    lp.next_tick(log.noting("last"));
    lp.run_nowait().unwrap();
    log.expect(&["written", "last", "completion ok"]);

    // An error ends `run` at once.
    let noted = log.clone();
    lp.next_tick(move |lp| {
        noted.note("fails");
        lp.fail("it fails");
    });
    lp.next_tick(log.noting("goes on"));
    assert!(lp.run_nowait().is_err());
    log.expect(&["fails"]);
    lp.run_nowait().unwrap();
    log.expect(&["goes on"]);
}
