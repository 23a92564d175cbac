//! Corking: what is written waits, goes out in one go, and every completion comes once, in the
//! order that Node 26 printed for the same scene (N187).
//!
//! The mark is 10 bytes, so that short writes can reach it. What is called large stays in flight:
//! 8 MiB and a bit (the kernel takes whole pages) that nobody reads, or on a loop that writes one byte at a time more bytes than it writes
//! in a turn.

mod connecting;
mod scene;
#[path = "../support/mod.rs"]
mod support;

use std::cell::Cell;
use std::rc::Rc;

use nodeloop::Loop;
use nodeloop::net::{ServerOptions, Socket};
use scene::{MARK, Scene, on_every_loop_with_large};
use support::*;

/// Plays a scene on an accepted socket and compares what was noted. `reads` says whether the peer
/// reads from the beginning.
#[track_caller]
fn check(reads: bool, trace: &[&str], play: fn(Socket, &Scene)) {
    on_every_loop_with_large(|lp, large| {
        for inside in [false, true] {
            let options = ServerOptions::new().high_water_mark(MARK);
            let (socket, peer) = pair_with(lp, options, |to| connect_narrow(to, 4096));
            let scene = Scene::new(large, Some(peer));
            scene.0.log.follow_but_data(socket);
            socket.resume();
            lp.run_nowait().unwrap();
            if reads {
                scene.read();
            }
            match inside {
                false => play(socket, &scene),
                true => scene.later(socket, move |scene| play(socket, scene)),
            }
            lp.run().unwrap();
            if let Some(reader) = scene.0.reader.take() {
                join(reader);
            }
            assert_eq!(scene.0.log.take(), trace, "inside: {inside}");
        }
    });
}

#[test]
fn n187_only_the_last_uncork_sends() {
    let trace = &[
        "a true",
        "b true",
        "corked 1 length 2 owes false",
        "later",
        "corked 0 length 0 owes false",
        "a ok",
        "b ok",
        "finish",
        "end",
        "close false",
    ];
    check(true, trace, |socket, scene| {
        socket.cork();
        socket.cork();
        scene.write(socket, "a");
        scene.write(socket, "b");
        socket.uncork();
        scene.state(socket);
        assert_eq!(socket.bytes_written(), 2);
        scene.later(socket, move |scene| {
            scene.note("later");
            socket.uncork();
            scene.state(socket);
            socket.uncork();
            scene.end_later(socket);
        });
    });
}

#[test]
fn n187_end_opens_every_cork() {
    let trace = &[
        "a true",
        "b true",
        "corked 0 length 0 owes false",
        "a ok",
        "b ok",
        "end ok",
        "finish",
        "end",
        "close false",
    ];
    check(true, trace, |socket, scene| {
        socket.cork();
        socket.cork();
        scene.write(socket, "a");
        scene.write(socket, "b");
        socket.end_with_then("c", scene.0.log.done("end"));
        scene.state(socket);
    });
    let trace = &[
        "a true",
        "corked 0 length 0 owes false",
        "a ok",
        "end ok",
        "finish",
        "end",
        "close false",
    ];
    check(true, trace, |socket, scene| {
        socket.cork();
        scene.write(socket, "a");
        socket.end_then(scene.0.log.done("end"));
        scene.state(socket);
    });
}

#[test]
fn n187_cork_and_uncork_while_a_write_is_in_flight() {
    let trace = &[
        "large false",
        "b false",
        "c false",
        "corked 0 length L+2 owes true",
        "drain",
        "large ok",
        "b ok",
        "c ok",
        "finish",
        "end",
        "close false",
    ];
    check(false, trace, |socket, scene| {
        scene.write_large(socket);
        socket.cork();
        scene.write(socket, "b");
        scene.write(socket, "c");
        socket.uncork();
        scene.state(socket);
        scene.later(socket, |scene| scene.read());
        let scene = scene.clone();
        socket.on_drain(move |socket| scene.end_later(socket));
    });
}

#[test]
fn n181_n187_what_is_corked_holds_back_the_drain() {
    let trace = &[
        "large false",
        "b false",
        "large ok",
        "corked 1 length 1 owes true",
        "drain",
        "b ok",
        "finish",
        "end",
        "close false",
    ];
    check(false, trace, |socket, scene| {
        let inner = scene.clone();
        let done = scene.0.log.done("large");
        let returned = socket.write_then(vec![b'x'; scene.0.large], move |result| {
            done(result);
            inner.later(socket, move |scene| {
                scene.state(socket);
                socket.uncork();
                scene.end_later(socket);
            });
        });
        scene.note(format!("large {returned}"));
        socket.cork();
        scene.write(socket, "b");
        scene.later(socket, |scene| scene.read());
    });
}

#[test]
fn n187_uncork_with_small_and_large_writes() {
    // In Node nothing is told before all of it is gone; here writes progress one by one.
    let trace = &[
        "a true",
        "large false",
        "b false",
        "a ok",
        "later",
        "drain",
        "large ok",
        "b ok",
        "finish",
        "end",
        "close false",
    ];
    check(false, trace, |socket, scene| {
        socket.cork();
        scene.write(socket, "a");
        scene.write_large(socket);
        scene.write(socket, "b");
        socket.uncork();
        scene.later(socket, |scene| {
            scene.note("later");
            scene.read();
        });
        let scene = scene.clone();
        socket.on_drain(move |socket| scene.end_later(socket));
    });
}

#[test]
fn n179_n182_the_mark_counts_while_corked() {
    let trace = &[
        "a true",
        "b false",
        "corked 1 length 10 owes true",
        "corked 0 length 0 owes true",
        "drain",
        "a ok",
        "b ok",
        "finish",
        "end",
        "close false",
    ];
    check(true, trace, |socket, scene| {
        socket.cork();
        scene.write_size(socket, "a", MARK as usize - 1);
        scene.write_size(socket, "b", 1);
        scene.state(socket);
        socket.uncork();
        scene.state(socket);
        scene.end_later(socket);
    });
}

#[test]
fn n180_n187_empty_writes_while_corked() {
    let trace = &[
        "e true",
        "f true",
        "g true",
        "h true",
        "corked 1 length 1 owes false",
        "e ok",
        "f ok",
        "g ok",
        "h ok",
        "later",
        "finish",
        "end",
        "close false",
    ];
    check(true, trace, |socket, scene| {
        scene.write_size(socket, "e", 0);
        socket.cork();
        scene.write_size(socket, "f", 0);
        scene.write_size(socket, "g", 1);
        scene.write_size(socket, "h", 0);
        scene.state(socket);
        socket.uncork();
        scene.later(socket, move |scene| {
            scene.note("later");
            scene.end_later(socket);
        });
    });
    let trace = &[
        "e true",
        "corked 1 length 0 owes false",
        "e ok",
        "later",
        "finish",
        "end",
        "close false",
    ];
    check(true, trace, |socket, scene| {
        socket.cork();
        scene.write_size(socket, "e", 0);
        scene.state(socket);
        socket.uncork();
        scene.later(socket, move |scene| {
            scene.note("later");
            scene.end_later(socket);
        });
    });
}

#[test]
fn n187_one_uncork_too_many_is_nothing() {
    let trace = &["a true", "a ok", "finish", "end", "close false"];
    check(true, trace, |socket, scene| {
        socket.cork();
        socket.uncork();
        socket.uncork();
        assert_eq!(socket.writable_corked(), 0);
        scene.write(socket, "a");
        scene.end_later(socket);
    });
}

#[test]
fn n186_n187_cork_in_a_completion_and_in_drain() {
    let trace = &[
        "a true",
        "a ok",
        "b true",
        "tick",
        "c true",
        "b ok",
        "c ok",
        "finish",
        "end",
        "close false",
    ];
    check(true, trace, |socket, scene| {
        let inner = scene.clone();
        let done = scene.0.log.done("a");
        let returned = socket.write_then("a", move |result| {
            done(result);
            socket.cork();
            inner.write(socket, "b");
            socket.event_loop().next_tick(move |_| {
                inner.note("tick");
                socket.uncork();
                inner.write(socket, "c");
            });
        });
        scene.note(format!("a {returned}"));
        scene.later(socket, move |scene| scene.end_later(socket));
    });
    let trace = &[
        "large false",
        "drain",
        "b true",
        "c true",
        "large ok",
        "later",
        "b ok",
        "c ok",
        "finish",
        "end",
        "close false",
    ];
    check(false, trace, |socket, scene| {
        scene.write_large(socket);
        let inner = scene.clone();
        socket.once_drain(move |socket| {
            socket.cork();
            inner.write(socket, "b");
            inner.write(socket, "c");
            inner.later(socket, move |scene| {
                scene.note("later");
                socket.uncork();
                scene.end_later(socket);
            });
        });
        scene.later(socket, |scene| scene.read());
    });
}

#[test]
fn n187_n192_destroy_while_corked() {
    let trace = &[
        "a true",
        "b true",
        "corked 1 length 2 owes false",
        "corked 0 length 2 owes false",
        "a ERR_STREAM_DESTROYED",
        "b ERR_STREAM_DESTROYED",
        "close false",
    ];
    check(false, trace, |socket, scene| {
        socket.cork();
        scene.write(socket, "a");
        scene.write(socket, "b");
        socket.destroy();
        scene.state(socket);
        socket.uncork();
        scene.state(socket);
    });
    let trace = &["a true", "a reason", "error reason", "close true"];
    check(false, trace, |socket, scene| {
        socket.cork();
        scene.write(socket, "a");
        socket.destroy_with("reason");
    });
    let trace = &[
        "large false",
        "b false",
        "large ECANCELED",
        "b ECANCELED",
        "close false",
    ];
    check(false, trace, |socket, scene| {
        scene.write_large(socket);
        socket.cork();
        scene.write(socket, "b");
        socket.destroy();
    });
    let trace = &[
        "large false",
        "large ECANCELED",
        "end ECANCELED",
        "close false",
    ];
    check(false, trace, |socket, scene| {
        socket.cork();
        scene.write_large(socket);
        socket.end_then(scene.0.log.done("end"));
        socket.destroy();
    });
}

#[test]
fn n136_n187_writes_after_end_while_corked() {
    let trace = &[
        "a false",
        "a ERR_STREAM_WRITE_AFTER_END",
        "error ERR_STREAM_WRITE_AFTER_END",
        "close true",
    ];
    check(true, trace, |socket, scene| {
        socket.end();
        socket.cork();
        scene.write(socket, "a");
    });
    let trace = &[
        "a false",
        "a ERR_STREAM_WRITE_AFTER_END",
        "end ERR_STREAM_WRITE_AFTER_END",
        "error ERR_STREAM_WRITE_AFTER_END",
        "close true",
    ];
    check(true, trace, |socket, scene| {
        socket.cork();
        socket.end_then(scene.0.log.done("end"));
        scene.write(socket, "a");
        socket.uncork();
    });
}

#[test]
fn n194_a_reset_while_corked() {
    if tcp_only("there are no resets") {
        return;
    }
    let trace = &["a true", "a ECONNRESET", "error ECONNRESET", "close true"];
    check(false, trace, |socket, scene| {
        socket.cork();
        scene.write(socket, "a");
        scene.later(socket, |scene| {
            reset(scene.0.peer.take().expect("it is there"));
        });
    });
}

#[test]
fn n123_n187_the_peers_end_opens_the_cork() {
    let trace = &["a true", "end", "a ok", "finish", "close false"];
    check(false, trace, |socket, scene| {
        socket.cork();
        scene.write(socket, "a");
        scene.later(socket, |scene| {
            let peer = scene.0.peer.borrow();
            let peer = peer.as_ref().expect("it is there");
            peer.shutdown(std::net::Shutdown::Write).unwrap();
        });
    });
}

#[test]
fn n187_uncork_makes_one_system_call() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let writes = lp.counts().writes;
    socket.cork();
    for _ in 0..50 {
        socket.write("piece ");
    }
    assert_eq!(lp.counts().writes, writes);
    socket.uncork();
    assert_eq!(lp.counts().writes, writes + 1);
    socket.end();
    lp.run_nowait().unwrap();
    assert_eq!(read_to_end(&peer), b"piece ".repeat(50));
    let over = Rc::new(Cell::new(false));
    let inner = over.clone();
    socket.on_close(move |_, _| inner.set(true));
    socket.resume();
    drop(peer);
    turn_until(&lp, || over.get());
}
