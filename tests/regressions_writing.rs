//! What users of event loops have suffered from, each with a test of its own: writing, connecting
//! and timers.

mod support;

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nodeloop::net::{self, ServerOptions, Socket, SocketOptions};
use nodeloop::{Loop, LoopHandle};
use support::*;

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

#[test]
fn n181_n182_drain_comes_once_before_the_completions_and_when_nothing_waits() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, peer) = pair_with(&lp, ServerOptions::new(), |to| connect_narrow(to, 4096));
    let log = Recorder::new();
    let inner = log.clone();
    socket.on_drain(move |socket| {
        inner.note(format!("drain {}", socket.writable_length()));
        assert!(!socket.writable_need_drain());
    });
    let sent = pattern(8 << 20);
    assert!(!socket.write_then(sent.clone(), log.done("large")));
    assert!(!socket.write_then("behind it", log.done("small")));
    assert!(socket.writable_need_drain());
    let reader = std::thread::spawn(move || read_to_end(&peer));
    turn_until(&lp, || log.has("small ok"));
    // The one behind is handed down, and taken, before the first is reported (N185).
    log.expect(&["drain 0", "large ok", "small ok"]);
    // A write that returned true causes none.
    assert!(socket.write_then("true", log.done("true")));
    socket.end();
    lp.run().unwrap();
    log.expect(&["true ok"]);
    assert!(join(reader) == [&sent[..], b"behind it", b"true"].concat());
}

#[test]
fn n181_no_drain_while_bytes_wait() {
    // The tick of a write that was taken whole finds another that was not.
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, peer) = pair_with(&lp, ServerOptions::new(), |to| connect_narrow(to, 4096));
    let log = Recorder::new();
    socket.on_drain(log.noting("drain"));
    assert!(socket.write_then("small", log.done("small")));
    assert!(!socket.write_then(pattern(8 << 20), log.done("large")));
    for _ in 0..3 {
        lp.run_nowait().unwrap();
    }
    log.expect(&["small ok"]);
    assert!(socket.writable_need_drain());
    let reader = std::thread::spawn(move || read_to_end(&peer).len());
    turn_until(&lp, || log.has("large ok"));
    log.expect(&["drain", "large ok"]);
    socket.end();
    lp.run().unwrap();
    assert_eq!(join(reader), 5 + (8 << 20));
}

#[test]
fn n183_no_drain_after_end() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, peer) = pair_with(&lp, ServerOptions::new(), |to| connect_narrow(to, 4096));
    let log = Recorder::new();
    log.follow(socket);
    assert!(!socket.write_then(pattern(8 << 20), log.done("large")));
    socket.end();
    assert!(!socket.writable_need_drain());
    let reader = std::thread::spawn(move || read_to_end(&peer).len());
    lp.run().unwrap();
    log.expect(&["large ok", "finish", "end", "close false"]);
    assert_eq!(join(reader), 8 << 20);
}

/// Writes `bytes` in pieces: until `write` returns false, and on at 'drain'.
fn pump(socket: Socket, bytes: Rc<Vec<u8>>, piece: usize) {
    fn go_on(socket: Socket, bytes: &[u8], at: &Cell<usize>, piece: usize) {
        loop {
            let begin = at.get();
            if begin == bytes.len() {
                return socket.end();
            }
            let end = (begin + piece).min(bytes.len());
            at.set(end);
            if !socket.write(&bytes[begin..end]) {
                return;
            }
        }
    }
    let at = Rc::new(Cell::new(0));
    let (rest, position) = (bytes.clone(), at.clone());
    socket.on_drain(move |socket| {
        assert_eq!(socket.writable_length(), 0, "'drain' while bytes wait");
        go_on(socket, &rest, &position, piece);
    });
    go_on(socket, &bytes, &at, piece);
}

#[test]
fn no_drain_is_missed() {
    // Whoever misses one stands still.
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let options = ServerOptions::new().high_water_mark(16);
        let (socket, peer) = pair_with(lp, options, connect);
        let sent = Rc::new(pattern(700));
        pump(socket, sent.clone(), 5);
        let reader = std::thread::spawn(move || read_to_end(&peer));
        socket.resume();
        lp.run().unwrap();
        assert_eq!(join(reader), **sent);
    });
}

#[test]
fn no_drain_is_missed_when_the_kernel_refuses() {
    for spurious in [false, true] {
        let lp = Loop::builder().spurious_events(spurious).build().unwrap();
        let _deadline = deadline(&lp, 20);
        let (socket, peer) = pair_with(&lp, ServerOptions::new(), |to| connect_narrow(to, 4096));
        let sent = Rc::new(pattern(12 << 20));
        pump(socket, sent.clone(), 50_000);
        assert!(socket.writable_need_drain(), "taken whole");
        let reader = std::thread::spawn(move || read_to_end(&peer));
        socket.resume();
        lp.run().unwrap();
        assert!(join(reader) == **sent, "lost or disordered");
    }
}

#[test]
fn no_drain_is_missed_by_a_write_in_the_completion_that_emptied_the_queue() {
    const SIZE: usize = 8 << 20;
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, mut peer) = pair_with(&lp, ServerOptions::new(), |to| connect_narrow(to, 4096));
    // The reader goes on when something was written: a reader at work makes room while the kernel takes it,
    // and it may take all.
    let (go, gone_on) = mpsc::channel();
    let write = move |socket: Socket| {
        assert!(!socket.write(pattern(SIZE)), "taken whole");
        go.send(()).unwrap();
    };
    let log = Recorder::new();
    let inner = log.clone();
    let mut rounds = 3;
    let write_again = write.clone();
    socket.on_drain(move |socket| {
        inner.note("drain");
        rounds -= 1;
        match rounds {
            0 => socket.end(),
            // Neither of these may swallow the next 'drain'.
            _ => {
                let again = inner.clone();
                let write = write_again.clone();
                socket.write_then("", move |_| {
                    again.note("empty");
                    write(socket);
                });
            }
        }
    });
    write(socket);
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; SIZE];
        for _ in 0..3 {
            gone_on.recv().unwrap();
            peer.read_exact(&mut buffer).unwrap();
        }
        read_to_end(&peer).len()
    });
    socket.resume();
    lp.run().unwrap();
    assert_eq!(join(reader), 0, "more than was written");
    log.expect(&["drain", "empty", "drain", "empty", "drain"]);
}

#[test]
fn a_write_and_an_end_before_the_connection_stands_let_the_loop_end() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = net::connect(&lp, listener.local_addr().unwrap());
    let log = Recorder::new();
    log.follow(socket);
    socket.write_then("one", log.done("one"));
    socket.end_with_then("two", log.done("end"));
    let peer = std::thread::spawn(move || read_to_end(&listener.accept().unwrap().0));
    // The half-close was counted twice, so this went on for ever.
    lp.run().unwrap();
    log.expect(&["one ok", "end ok", "finish", "end", "close false"]);
    assert_eq!(join(peer), b"onetwo");
}

/// What starves the I/O if anything does: `again` is called back and called anew until a message is read that its
/// first call sends. Tells how many calls it took.
fn calls_until_read(lp: &Loop, again: impl FnOnce(&Loop, Rc<dyn Fn() -> bool>)) -> u32 {
    let (socket, peer) = pair(lp);
    let calls = Rc::new(Cell::new(0));
    let taken = Rc::new(Cell::new(None));
    let (counted, noted) = (calls.clone(), taken.clone());
    socket.on_data(move |_, _| noted.set(Some(counted.get())));
    let noted = taken.clone();
    let call = move || {
        if calls.replace(calls.get() + 1) == 0 {
            send_and_end(&peer, b"x");
        }
        // Long enough for the next timer to be due at once.
        block(2);
        noted.get().is_none()
    };
    again(lp, Rc::new(call));
    lp.run().unwrap();
    assert!(socket.destroyed());
    taken.get().expect("it was read")
}

#[test]
fn a_zero_timer_started_inside_a_timer_does_not_starve_the_io() {
    // N23, L11
    fn again(lp: LoopHandle, goes_on: Rc<dyn Fn() -> bool>) {
        lp.set_timeout_once(0, move |timer| {
            if goes_on() {
                again(timer.event_loop(), goes_on);
            }
        });
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let calls = calls_until_read(&lp, |lp, goes_on| {
        for _ in 0..3 {
            again(lp.handle(), goes_on.clone());
        }
    });
    // Those that were due together, at most.
    assert!((1..=3).contains(&calls), "{calls}");
}

#[test]
fn an_interval_of_zero_does_not_starve_the_io() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let calls = calls_until_read(&lp, |lp, goes_on| {
        lp.set_interval(0, move |interval| {
            if !goes_on() {
                interval.clear();
            }
        });
    });
    assert_eq!(calls, 1);
}

#[test]
fn n7_immediates_do_not_starve_the_io() {
    fn again(lp: LoopHandle, goes_on: Rc<dyn Fn() -> bool>) {
        lp.set_immediate(move |immediate| {
            if goes_on() {
                again(immediate.event_loop(), goes_on);
            }
        });
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let calls = calls_until_read(&lp, |lp, goes_on| again(lp.handle(), goes_on));
    assert_eq!(calls, 1);
}

#[test]
fn n19_timers_never_fire_early() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let late = Rc::new(RefCell::new(Vec::new()));
    for delay_ms in 1..=30_u64 {
        let started = Instant::now();
        lp.update_time();
        let started_ms = lp.now();
        let late = late.clone();
        lp.set_timeout_once(delay_ms, move |timer| {
            let passed = started.elapsed();
            let passed_ms = timer.event_loop().now() - started_ms;
            assert!(
                passed_ms >= delay_ms,
                "{passed_ms} of {delay_ms} ms by the loop"
            );
            // L66: the clock's millisecond is cut off at both ends.
            let least = Duration::from_millis(delay_ms - 1);
            assert!(passed > least, "{passed:?} of {delay_ms} ms");
            late.borrow_mut().push(delay_ms);
        });
    }
    lp.run().unwrap();
    assert_eq!(late.borrow().len(), 30);
}

#[test]
fn n20_a_timer_set_after_long_work_does_not_fire_early() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let inner = log.clone();
    lp.set_immediate(move |immediate| {
        // Asked for, it stands still for the rest of the turn.
        immediate.event_loop().now();
        let until = Instant::now() + Duration::from_millis(30);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let started = Instant::now();
        immediate.event_loop().set_timeout_once(20, move |_| {
            inner.note("fired");
            assert!(started.elapsed() > Duration::from_millis(19));
        });
    });
    lp.run().unwrap();
    log.expect(&["fired"]);
}

#[test]
fn waiting_for_a_timer_does_not_spin() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    lp.set_timeout_once(50, |_| {});
    lp.run().unwrap();
    let waits = lp.counts().waits;
    assert!(waits <= 3, "{waits} waits for one timer");
}

// N16, N99: where something was written before the connection stood, 'connect' is emitted in two halves, around
// that. A listener that was added in the first was called in the second.
#[test]
fn n16_a_listener_added_by_one_of_connect_waits_for_the_next() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let socket = Socket::new(&lp, net::SocketOptions::new());
    let noted = log.clone();
    socket.on_connect(move |socket| {
        noted.note("first");
        socket.on_connect(noted.noting("added"));
    });
    socket.connect(listener.local_addr().unwrap()).unwrap();
    let noted = log.clone();
    socket.write_then("x", move |_| {
        noted.note("written");
        socket.destroy();
    });
    socket.on_connect(log.noting("second"));
    lp.run().unwrap();
    log.expect(&["first", "written", "second"]);
}

/// It was not called: the emission of 'connect' is in two parts, with what was written before in between, and
/// the second looked anew who was there.
#[test]
fn n16_a_listener_removed_in_front_of_an_early_write_is_still_called() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let socket = Socket::new(&lp, net::SocketOptions::new());
    let later = Rc::new(RefCell::new(Vec::new()));
    let (noted, removed) = (log.clone(), later.clone());
    socket.on_connect(move |socket| {
        noted.note("first");
        for id in removed.take() {
            socket.off(id);
        }
    });
    socket.connect(listener.local_addr().unwrap()).unwrap();
    let noted = log.clone();
    socket.write_then("x", move |_| {
        noted.note("written");
        socket.destroy();
    });
    later.borrow_mut().extend([
        socket.on_connect(log.noting("removed")),
        socket.once_connect(log.noting("removed, for once")),
    ]);
    socket.once_connect(log.noting("for once"));
    socket.on_connect(log.noting("last"));
    // To the same place again: the one for once and the removed ones are gone.
    let mut again = false;
    socket.on_close(move |socket, _| {
        if !std::mem::replace(&mut again, true) {
            socket.connect(listener.local_addr().unwrap()).unwrap();
            socket.on_ready(|socket| socket.destroy());
        }
    });
    lp.run().unwrap();
    let once = [
        "first",
        "written",
        "removed",
        "removed, for once",
        "for once",
        "last",
    ];
    log.expect(&[&once[..], &["first", "last"]].concat());
}

/// The reset waited until all listeners of 'connect' were called and everything was sent.
#[test]
fn n107_a_reset_that_waits_for_the_connection_comes_before_what_is_written_later() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let socket = Socket::new(&lp, net::SocketOptions::new());
    let noting = |name: &'static str| {
        let log = log.clone();
        move |socket: Socket| log.note(format!("{name} {}", socket.destroyed()))
    };
    socket.on_connect(noting("before"));
    socket.connect(listener.local_addr().unwrap()).unwrap();
    socket.reset_and_destroy();
    socket.on_connect(noting("behind"));
    socket.write_then("x", log.done("write"));
    socket.on_connect(noting("last"));
    socket.on_ready(noting("ready"));
    lp.run().unwrap();
    let write = "write ERR_SOCKET_CLOSED";
    log.expect(&[
        "before false",
        "behind true",
        write,
        "last true",
        "ready true",
    ]);
    assert_eq!(ending(&listener.accept().unwrap().0), "reset");
}

#[test]
fn n183_no_drain_follows_what_uncork_has_taken_whole_if_it_is_destroyed() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, _peer) = pair(&lp);
    socket.on_drain(log.noting("drain"));
    let inner = log.clone();
    socket.on_close(move |_, _| inner.note("close"));
    socket.cork();
    assert!(!socket.write_then(vec![0; 64 << 10], log.done("write")));
    socket.uncork();
    socket.destroy();
    turn_until(&lp, || log.has("close"));
    log.expect(&["write ok", "close"]);
}

#[test]
fn n181_n187_what_uncork_has_taken_whole_drains_unheard() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, _peer) = pair(&lp);
    socket.on_drain(log.noting("drain"));
    socket.cork();
    assert!(!socket.write(vec![0; 64 << 10]));
    socket.uncork();
    turn_until(&lp, || log.has("drain"));
}

#[test]
fn n123_a_listener_of_end_may_write_behind_what_is_in_flight() {
    const SIZE: usize = 8 << 20;
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let (socket, peer) = pair_with(&lp, ServerOptions::new(), |to| connect_narrow(to, 4096));
    assert!(!socket.write(vec![0; SIZE]));
    let inner = log.clone();
    socket.on_end(move |socket| {
        socket.write_then("tail", inner.done("tail"));
        inner.note("end");
    });
    socket.on_error(|_, error| panic!("{error}"));
    socket.resume();
    send_and_end(&peer, b"");
    turn_until(&lp, || log.has("end"));
    let reader = std::thread::spawn(move || read_to_end(&peer).len());
    turn_until(&lp, || log.has("tail ok"));
    lp.run().unwrap();
    assert_eq!(join(reader), SIZE + 4);
}

#[test]
fn n180_an_empty_write_is_no_system_call() {
    if tcp_only("a Unix socket is asked, since it knows if its peer is gone") {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, _peer) = pair(&lp);
    let before = lp.counts().writes;
    assert!(socket.write_then("", log.done("empty")));
    turn_until(&lp, || log.has("empty ok"));
    assert_eq!(lp.counts().writes, before);
}

#[test]
fn end_says_that_it_is_finished_also_if_it_is_destroyed() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, _peer) = pair(&lp);
    let inner = log.clone();
    socket.on_finish(move |socket| {
        socket.destroy();
        socket.end_then(inner.done("end"));
    });
    socket.end();
    lp.run_nowait().unwrap();
    turn_until(&lp, || log.last().is_some());
    log.expect(&["end ERR_STREAM_ALREADY_FINISHED"]);
}

#[test]
fn end_is_noted_behind_a_destroy_without_an_error() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    for error in [None, Some("broken")] {
        let socket = Socket::new(&lp, SocketOptions::new());
        socket.on_error(|_, _| {});
        match error {
            None => socket.destroy(),
            Some(error) => socket.destroy_with(error),
        }
        socket.end();
        assert_eq!(socket.writable_ended(), error.is_none());
    }
    lp.run().unwrap();
}

#[test]
fn n187_what_uncork_hands_down_behind_a_failure_fails_by_itself() {
    let uncork = |socket: Socket, log: &Recorder| {
        assert!(!socket.write_then("two", log.done("two")));
        socket.uncork();
    };
    // The kernel tells of the reset once.
    expect_behind_a_reset(uncork, "two EPIPE");
}

#[test]
fn n187_a_cork_that_end_opens_behind_a_failure_changes_no_error() {
    let end = |socket: Socket, log: &Recorder| socket.end_with_then("two", log.done("end"));
    expect_behind_a_reset(end, "end ECONNRESET");
}

/// What is told of a write that meets a reset, and of what a corked socket does behind it.
fn expect_behind_a_reset(act: impl FnOnce(Socket, &Recorder), told: &str) {
    if tcp_only("there is no reset") {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, peer) = pair(&lp);
    log.follow(socket);
    reset(peer);
    assert!(!socket.write_then("one", log.done("one")));
    socket.cork();
    act(socket, &log);
    turn_until(&lp, || log.has("close true"));
    log.expect(&["one ECONNRESET", told, "error ECONNRESET", "close true"]);
}
