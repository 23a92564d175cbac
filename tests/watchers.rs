//! Idle, prepare and check watchers: libuv's hooks into the turn (I1–I4), as a program meets them.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;

use nodeloop::{Loop, LoopHandle, Watcher};
use support::*;

/// The three calls that make a watcher.
const MAKES: [fn(LoopHandle, Box<dyn FnMut(Watcher)>) -> Watcher; 3] =
    [LoopHandle::idle, LoopHandle::prepare, LoopHandle::check];

/// Makes a watcher of each kind that notes its name, the earliest phase last.
fn one_of_each(lp: &Loop, log: &Recorder) {
    lp.check(log.noting("check"));
    lp.prepare(log.noting("prepare"));
    lp.idle(log.noting("idle"));
}

#[test]
fn each_kind_runs_in_its_phase_and_in_every_turn() {
    let lp = Loop::new().unwrap();
    let log = Recorder::new();
    one_of_each(&lp, &log);
    lp.set_immediate(log.noting("immediate"));
    lp.set_timeout_once(1, log.noting("timer"));
    turn_until(&lp, || log.has("timer"));
    let events = log.take();
    let turn = ["idle", "prepare", "immediate", "check"];
    assert_eq!(events[..4], turn);
    let others = &events[4..events.len() - 1];
    assert_eq!(others.len() % 3, 0, "{others:?}");
    for turn in others.chunks(3) {
        assert_eq!(turn, ["idle", "prepare", "check"]);
    }
}

#[test]
fn a_watcher_is_a_loop_callback_with_ticks_behind_it() {
    let lp = Loop::new().unwrap();
    let log = Recorder::new();
    let inner = log.clone();
    lp.prepare(move |watcher| {
        inner.note("prepare");
        watcher.event_loop().next_tick(inner.noting("tick"));
    });
    let inner = log.clone();
    lp.prepare(move |watcher| {
        inner.note("prepare made later");
        watcher.event_loop().next_tick(inner.noting("tick"));
    });
    lp.run_nowait().unwrap();
    log.expect(&["prepare made later", "tick", "prepare", "tick"]);
}

#[test]
fn i1_the_one_that_was_started_last_goes_first_and_the_order_stays() {
    // I1
    for make in MAKES {
        let lp = Loop::new().unwrap();
        let log = Recorder::new();
        for name in ["first", "second", "third"] {
            make(*lp, Box::new(log.noting(name)));
        }
        lp.run_nowait().unwrap();
        log.expect(&["third", "second", "first"]);
        lp.run_nowait().unwrap();
        log.expect(&["third", "second", "first"]);
    }
}

#[test]
fn i2_one_that_is_started_in_its_phase_runs_in_the_next_turn() {
    // I2
    for make in MAKES {
        let lp = Loop::new().unwrap();
        let log = Recorder::new();
        let inner = log.clone();
        let mut made = false;
        let first = move |watcher: Watcher| {
            inner.note("first");
            if !std::mem::replace(&mut made, true) {
                make(watcher.event_loop(), Box::new(inner.noting("second")));
            }
        };
        make(*lp, Box::new(first));
        lp.run_nowait().unwrap();
        log.expect(&["first"]);
        lp.run_nowait().unwrap();
        log.expect(&["second", "first"]);
    }
}

#[test]
fn i2_one_that_is_stopped_in_its_phase_does_not_run() {
    // I2
    for make in MAKES {
        for close in [false, true] {
            let lp = Loop::new().unwrap();
            let log = Recorder::new();
            let other = make(*lp, Box::new(log.noting("other")));
            let inner = log.clone();
            let stopping = move |_: Watcher| {
                inner.note("stops the other");
                if close { other.close() } else { other.stop() }
            };
            make(*lp, Box::new(stopping));
            lp.run_nowait().unwrap();
            log.expect(&["stops the other"]);
            assert!(!other.is_active());
            // A stopped one can be started again, in front; a closed one is gone.
            other.start();
            lp.run_nowait().unwrap();
            match close {
                true => log.expect(&["stops the other"]),
                false => log.expect(&["other", "stops the other"]),
            }
        }
    }
}

#[test]
fn i3_starting_a_started_watcher_changes_nothing() {
    // I3
    for make in MAKES {
        let lp = Loop::new().unwrap();
        let log = Recorder::new();
        let first = make(*lp, Box::new(log.noting("first")));
        make(*lp, Box::new(log.noting("second")));
        first.start();
        lp.run_nowait().unwrap();
        log.expect(&["second", "first"]);
        // Neither is it counted twice.
        first.stop();
        assert!(!first.is_active());
        lp.run_nowait().unwrap();
        log.expect(&["second"]);
    }
}

#[test]
fn i4_an_idle_watcher_starves_neither_timers_nor_io() {
    // I4
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let log = Recorder::new();
        let (socket, mut peer) = pair(lp);
        socket.on_data(|socket, chunk| {
            socket.write(chunk);
        });
        let inner = log.clone();
        socket.on_close(move |_, _| inner.note("close"));
        let turns = Rc::new(Cell::new(0));
        let inner = turns.clone();
        let idle = lp.idle(move |_| inner.set(inner.get() + 1));
        lp.set_timeout_once(20, log.noting("timer"));
        peer.write_all(b"hello").unwrap();
        turn_until(lp, || log.has("timer"));
        // The wait never blocked: while 20 ms passed there were many turns.
        assert!(turns.get() > 20, "{}", turns.get());
        let mut answer = [0; 5];
        turn_until(lp, || socket.bytes_written() == 5);
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
        drop(peer);
        turn_until(lp, || log.has("close"));
        idle.close();
        lp.run().unwrap();
    });
}

#[test]
fn i4_the_wait_does_not_block_for_an_unreferenced_idle_watcher_either() {
    // I4
    let lp = Loop::new().unwrap();
    let _watched = watched(20);
    lp.idle(|_| {}).unref();
    let log = Recorder::new();
    lp.set_timeout_once(10_000, log.noting("timer"));
    assert_eq!(lp.poll_timeout(), Some(std::time::Duration::ZERO));
    // It returns at once, and the timer is not due.
    lp.run_once().unwrap();
    log.expect(&[]);
}

#[test]
fn a_panic_in_a_watcher_leaves_it_started() {
    let lp = Loop::new().unwrap();
    let log = Recorder::new();
    let inner = log.clone();
    let mut panics = true;
    lp.check(move |_| {
        inner.note("check");
        assert!(!std::mem::replace(&mut panics, false), "once");
    });
    assert!(caught(|| lp.run_nowait()).contains("once"));
    // The rest of the turn that was cut short, and another one.
    lp.run_nowait().unwrap();
    log.expect(&["check"]);
    lp.run_nowait().unwrap();
    log.expect(&["check"]);
}

#[test]
fn what_is_left_of_a_phase_comes_first_in_the_next_run() {
    for make in MAKES {
        let lp = Loop::new().unwrap();
        let log = Recorder::new();
        make(*lp, Box::new(log.noting("first")));
        let inner = log.clone();
        let mut fails = true;
        let second = move |watcher: Watcher| {
            inner.note("second");
            if std::mem::replace(&mut fails, false) {
                watcher.event_loop().fail("enough");
            }
        };
        make(*lp, Box::new(second));
        assert!(lp.run_nowait().is_err());
        log.expect(&["second"]);
        lp.run_nowait().unwrap();
        log.expect(&["first"]);
        lp.run_nowait().unwrap();
        log.expect(&["second", "first"]);
    }
}

#[test]
fn what_is_left_of_a_phase_comes_also_if_it_is_alone_by_then() {
    for make in MAKES {
        let lp = Loop::new().unwrap();
        let log = Recorder::new();
        make(*lp, Box::new(log.noting("first")));
        let inner = log.clone();
        let second = move |watcher: Watcher| {
            inner.note("second");
            watcher.close();
            watcher.event_loop().fail("enough");
        };
        make(*lp, Box::new(second));
        assert!(lp.run_nowait().is_err());
        log.expect(&["second"]);
        for _ in 0..2 {
            lp.run_nowait().unwrap();
            log.expect(&["first"]);
        }
    }
}

#[test]
fn what_a_closed_watcher_held_is_dropped_before_the_next_runs() {
    for make in MAKES {
        let lp = Loop::new().unwrap();
        let log = Recorder::new();
        make(*lp, Box::new(log.noting("first")));
        let inner = log.clone();
        let held = on_drop(move || inner.note("dropped"));
        let inner = log.clone();
        let second = move |watcher: Watcher| {
            held.hold();
            inner.note("second");
            watcher.close();
        };
        make(*lp, Box::new(second));
        lp.run_nowait().unwrap();
        log.expect(&["second", "dropped", "first"]);
    }
}
