//! libuv's rules of the turn (L) that no scenario shows: the ways to run a loop, the order of the phases,
//! `stop`, what is referenced, and what is pending.

mod support;

use std::io::Write;

use nodeloop::Loop;
use support::*;

/// The three ways to run a loop; of `run` no more than a turn is wanted, so it has to be stopped.
const MODES: [(&str, fn(&Loop)); 3] = [
    ("run", |lp| lp.run().unwrap()),
    ("run_once", |lp| assert!(lp.run_once().is_ok())),
    ("run_nowait", |lp| assert!(lp.run_nowait().is_ok())),
];

#[test]
fn l2_l3_only_run_itself_runs_timers_before_the_first_turn() {
    // L2, L3
    for (name, run) in MODES {
        let lp = Loop::new().unwrap();
        let _watched = watched(10);
        let log = Recorder::new();
        let inner = log.clone();
        lp.prepare(move |watcher| {
            inner.note("prepare");
            watcher.close();
        });
        lp.set_timeout_once(1, log.noting("timer"));
        block(3);
        run(&lp);
        match name {
            "run" => log.expect(&["timer", "prepare"]),
            _ => log.expect(&["prepare", "timer"]),
        }
    }
}

#[test]
fn l2_timers_of_a_loop_that_is_not_alive_do_not_run() {
    // L1, L2
    let _watched = watched(20);
    for (_, run) in MODES {
        let lp = Loop::new().unwrap();
        let log = Recorder::new();
        lp.set_timeout_once(1, log.noting("timer")).unref();
        block(3);
        run(&lp);
        log.expect(&[]);
        assert_eq!(lp.turns(), 0);
    }
}

#[test]
fn l6_whether_something_is_alive_is_what_the_last_turn_has_left() {
    // L6
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    assert!(!lp.run_once().unwrap());
    assert!(!lp.run_nowait().unwrap());
    assert_eq!(lp.turns(), 0, "no turn has begun");
    let (server, _) = listening(&lp, |_| {});
    assert!(lp.run_nowait().unwrap());
    // Nothing but its own end is left of it, which is in this turn.
    server.close();
    assert!(!lp.run_once().unwrap());
    // `run` leaves something alive only if it was stopped.
    listening(&lp, |_| {});
    lp.set_immediate(|immediate| immediate.event_loop().stop());
    lp.run().unwrap();
    assert!(lp.is_alive());
}

#[test]
fn l8_every_mode_has_the_phases_in_the_same_order() {
    // L8
    for (name, run) in MODES {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let log = Recorder::new();
        let (ended_before, _peer) = pair(&lp);
        let (ended_in_poll, _peer) = pair(&lp);
        let (reading, mut peer) = pair(&lp);
        let (closing, _peer) = pair(&lp);
        lp.run_nowait().unwrap();

        ended_before.on_finish(log.noting("pending"));
        ended_before.end();
        let inner = log.clone();
        lp.idle(move |watcher| {
            inner.note("idle");
            let lp = watcher.event_loop();
            // Not before, or `run` had it in front of the turn.
            lp.set_timeout_once(1, inner.noting("timer"));
            lp.set_immediate(inner.noting("immediate"));
            lp.stop();
        });
        lp.prepare(log.noting("prepare"));
        let inner = log.clone();
        reading.on_data(move |_, _| {
            inner.note("poll");
            ended_in_poll.end();
        });
        ended_in_poll.on_finish(log.noting("pending again"));
        let inner = log.clone();
        lp.check(move |_| {
            inner.note("check");
            closing.destroy();
            block(3);
        });
        closing.on_close(move |_, _| {});
        let inner = log.clone();
        closing.on_close(move |_, _| inner.note("closing"));

        peer.write_all(b"x").unwrap();
        let before = lp.turns();
        run(&lp);
        assert_eq!(lp.turns() - before, 1, "{name}");
        log.expect(&[
            "pending",
            "idle",
            "prepare",
            "poll",
            "pending again",
            "immediate",
            "check",
            "closing",
            "timer",
        ]);
    }
}

/// One of every kind that can hold a loop: a call that makes it, active, and its three calls.
macro_rules! kinds {
    ($($name:literal: $make:expr),+ $(,)?) => {
        [$(($name, |lp: &Loop| {
            let it = $make(lp);
            let calls: Handle = (
                Box::new(move || it.set_ref()),
                Box::new(move || it.unref()),
                Box::new(move || it.has_ref()),
            );
            calls
        })),+]
    };
}

type Handle = (Box<dyn Fn()>, Box<dyn Fn()>, Box<dyn Fn() -> bool>);

#[test]
fn l31_every_handle_begins_referenced_and_is_counted_once() {
    // L31
    let _watched = watched(20);
    let kinds: [(&str, fn(&Loop) -> Handle); 9] = kinds! {
        "a timeout": |lp: &Loop| lp.set_timeout(60_000, |_| {}),
        "an interval": |lp: &Loop| lp.set_interval(60_000, |_| {}),
        "an immediate": |lp: &Loop| lp.set_immediate(|_| {}),
        "an idle watcher": |lp: &Loop| lp.idle(|_| {}),
        "a prepare watcher": |lp: &Loop| lp.prepare(|_| {}),
        "a check watcher": |lp: &Loop| lp.check(|_| {}),
        "a server": |lp: &Loop| listening(lp, |_| {}).0,
        "a socket": |lp: &Loop| {
            let (socket, peer) = pair(lp);
            // Its end would be an event.
            socket.on_close(move |_, _| drop(peer.peer_addr()));
            socket
        },
        "a UDP socket": |lp: &Loop| udp::bound(lp).0,
    };
    for (name, make) in kinds {
        println!("{name}");
        let lp = Loop::new().unwrap();
        let (set_ref, unref, has_ref) = make(&lp);
        // What making it has queued is over; an immediate would be, too.
        if name != "an immediate" {
            lp.run_nowait().unwrap();
        }
        assert!(has_ref() && lp.is_alive());
        unref();
        unref();
        assert!(!has_ref() && !lp.is_alive());
        set_ref();
        set_ref();
        assert!(has_ref() && lp.is_alive());
        unref();
        assert!(!has_ref() && !lp.is_alive());
    }
}

#[test]
fn l31_what_is_not_active_keeps_the_word_and_counts_for_nothing() {
    // L31
    let _watched = watched(20);
    let lp = Loop::new().unwrap();
    let watcher = lp.prepare(|_| {});
    watcher.stop();
    assert!(!lp.is_alive());
    watcher.unref();
    watcher.set_ref();
    watcher.unref();
    assert!(!watcher.has_ref() && !lp.is_alive());
    watcher.start();
    assert!(!watcher.has_ref() && !lp.is_alive());
    watcher.stop();
    watcher.set_ref();
    assert!(watcher.has_ref() && !lp.is_alive());
    watcher.start();
    assert!(lp.is_alive());
    // What closes holds the loop whatever it says.
    let (socket, _peer) = pair(&lp);
    watcher.close();
    lp.run_nowait().unwrap();
    socket.destroy();
    socket.unref();
    assert!(lp.is_alive());
    socket.set_ref();
    socket.unref();
    lp.run().unwrap();
    assert!(!lp.is_alive());
}

#[test]
fn l5_l39_a_turn_that_is_stopped_is_completed_without_a_wait() {
    // L5, L39
    let (lp, _server, _deadline) = waiting_loop();
    let log = Recorder::new();
    let (socket, _peer) = pair(&lp);
    lp.run_nowait().unwrap();
    let inner = log.clone();
    let mut first = true;
    lp.prepare(move |watcher| {
        inner.note("prepare");
        watcher.event_loop().stop();
        if std::mem::take(&mut first) {
            socket.destroy();
            let timer = inner.noting("timer");
            watcher.event_loop().set_timeout_once(1, timer);
            block(3);
        }
    });
    lp.prepare(log.noting("behind it"));
    lp.check(log.noting("check"));
    let inner = log.clone();
    socket.on_close(move |_, _| inner.note("close"));
    let before = lp.turns();
    lp.run().unwrap();
    log.expect(&["behind it", "prepare", "check", "close", "timer"]);
    assert_eq!(lp.turns() - before, 1);
    // The word is used up, so there is a turn again; in this one only the word prevents the wait.
    lp.run().unwrap();
    log.expect(&["behind it", "prepare", "check"]);
    assert_eq!(lp.turns() - before, 2);
}

#[test]
fn l40_stopped_before_it_runs_it_runs_nothing_once() {
    // L40
    for (name, run) in MODES {
        let lp = Loop::new().unwrap();
        let _watched = watched(10);
        let log = Recorder::new();
        lp.set_timeout_once(1, log.noting("timer"));
        let inner = log.clone();
        lp.prepare(move |watcher| {
            inner.note("prepare");
            watcher.close();
        });
        block(3);
        lp.stop();
        run(&lp);
        log.expect(&[]);
        assert!(lp.turns() == 0 && lp.is_alive());
        run(&lp);
        match name {
            "run" => log.expect(&["timer", "prepare"]),
            _ => log.expect(&["prepare", "timer"]),
        }
    }
}

#[test]
fn l41_stopped_by_a_timer_in_front_of_the_first_turn_it_has_none() {
    // L41
    let lp = Loop::new().unwrap();
    let _watched = watched(10);
    let log = Recorder::new();
    let inner = log.clone();
    lp.set_timeout_once(1, move |timer| {
        inner.note("stops");
        timer.event_loop().stop();
    });
    // The phase itself goes on.
    lp.set_timeout_once(1, log.noting("also due"));
    let inner = log.clone();
    lp.prepare(move |watcher| {
        inner.note("prepare");
        watcher.close();
    });
    block(3);
    lp.run().unwrap();
    log.expect(&["stops", "also due"]);
    assert_eq!(lp.turns(), 0);
    lp.run().unwrap();
    log.expect(&["prepare"]);
}

#[test]
fn l42_half_closes_are_pending_in_the_order_in_which_they_were_asked_for() {
    // L42: of what libuv defers so, half-closes; completions of writes are ticks, as in Node.
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let ((one, _peer), (two, _other_peer)) = (pair(&lp), pair(&lp));
    lp.run_nowait().unwrap();
    one.on_finish(log.noting("one"));
    two.on_finish(log.noting("two"));
    let inner = log.clone();
    lp.set_immediate(move |_| {
        two.end();
        one.end();
        // It is in the queue already.
        two.end();
        inner.note("asked for");
    });
    let inner = log.clone();
    lp.idle(move |watcher| {
        inner.note("idle");
        watcher.event_loop().stop();
    });
    lp.run().unwrap();
    log.expect(&["idle", "asked for"]);
    assert_eq!(lp.counts().shutdowns, 0);
    lp.run().unwrap();
    log.expect(&["two", "one", "idle"]);
    assert_eq!(lp.counts().shutdowns, 2);
}

#[test]
fn l43_what_is_added_during_a_pass_belongs_to_the_next_of_which_there_are_eight() {
    // L43, L45
    const SOCKETS: usize = 12;
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let pairs: Vec<_> = (0..SOCKETS).map(|_| pair(&lp)).collect();
    lp.run_nowait().unwrap();
    // Each ends the next.
    for at in 0..SOCKETS {
        let next = pairs.get(at + 1).map(|(next, _)| *next);
        let inner = log.clone();
        pairs[at].0.on_finish(move |_| {
            inner.note("finish");
            if let Some(next) = next {
                next.end();
            }
        });
    }
    let (first, peer) = &pairs[0];
    let first = *first;
    first.on_data(move |_, _| first.end());
    let inner = log.clone();
    lp.check(move |_| inner.note("check"));
    let mut peer = peer;
    peer.write_all(b"x").unwrap();
    lp.run_once().unwrap();
    let mut expected = vec!["finish"; 8];
    expected.push("check");
    log.expect(&expected);
    // The ninth is alone in the first pass of the next turn, and the rest in those behind its poll.
    lp.run_once().unwrap();
    log.expect(&["finish", "finish", "finish", "finish", "check"]);
}
