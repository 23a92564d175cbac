//! libuv's rules of the wait and of the clock (L, T) that no scenario shows: what has the poll wait and for how
//! long, what ends it, and when timers run.

mod support;

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nodeloop::net::{self, Server, ServerOptions};
use nodeloop::null::{self, NullOptions};
use nodeloop::{Loop, LoopHandle, Watcher};
use support::*;

#[test]
fn l13_what_was_there_when_the_turn_began_has_run_once_not_wait() {
    // L13: also if it is over before the wait.
    let (lp, _server, _deadline) = waiting_loop();
    let log = Recorder::new();
    let inner = log.clone();
    lp.idle(move |watcher| {
        inner.note("idle");
        watcher.close();
    });
    assert!(lp.run_once().unwrap());
    log.expect(&["idle"]);

    let (socket, _peer) = pair(&lp);
    lp.run_nowait().unwrap();
    socket.on_finish(log.noting("finish"));
    socket.end();
    // The peer is silent, so nothing but the pending half-close ends this turn.
    assert!(lp.run_once().unwrap());
    log.expect(&["finish"]);
}

#[test]
fn l14_what_has_the_poll_not_wait() {
    // L14: it comes up in the turn itself, so that the mode has no say in it.
    let reasons: [(&str, fn(&Loop, Server)); 6] = [
        ("it was stopped", |lp, _| {
            let lp = lp.handle();
            lp.prepare(move |_| lp.stop());
        }),
        ("nothing is alive", |lp, server| {
            lp.prepare(move |watcher| {
                server.unref();
                watcher.close();
            });
        }),
        ("something is pending", |lp, _| {
            let (socket, peer) = pair(lp);
            lp.run_nowait().unwrap();
            lp.prepare(move |_| {
                let _alive = &peer;
                socket.end();
            });
        }),
        ("an unreferenced idle watcher", |lp, _| {
            lp.prepare(|watcher| watcher.event_loop().idle(|_| {}).unref());
        }),
        ("something closes", |lp, _| {
            let (socket, peer) = pair(lp);
            lp.run_nowait().unwrap();
            lp.prepare(move |_| {
                let _alive = &peer;
                socket.destroy();
            });
        }),
        ("an immediate", |lp, _| {
            lp.prepare(|watcher| watcher.event_loop().set_immediate(|_| {}).set_ref());
        }),
    ];
    for (name, begin) in reasons {
        println!("{name}");
        let (lp, server, _deadline) = waiting_loop();
        begin(&lp, server);
        let before = lp.turns();
        lp.run_once().unwrap();
        assert_eq!(lp.turns() - before, 1);
    }
}

#[test]
fn l17_prepare_and_check_watchers_do_not_bound_the_wait() {
    // L17
    let (lp, _server, _deadline) = waiting_loop();
    let count = Rc::new(Cell::new(0));
    for make in [LoopHandle::prepare, LoopHandle::check] {
        let count = count.clone();
        make(*lp, move |_| count.set(count.get() + 1));
    }
    let fired = Rc::new(Cell::new(false));
    let inner = fired.clone();
    lp.set_timeout_once(30, move |_| inner.set(true));
    let before = lp.turns();
    lp.run_once().unwrap();
    // The one turn has slept until the timer was due.
    assert!(fired.get());
    assert_eq!((lp.turns() - before, count.get()), (1, 2));
}

#[test]
fn l19_full_batches_are_followed_by_further_waits_of_the_same_turn() {
    // L19: 1024 events fill a batch, and 48 batches are the most.
    let _watched = watched(20);
    let waits = |connections: u32| {
        let options = NullOptions {
            connections,
            events_per_wait: connections,
            waits: 1_000,
            ..NullOptions::default()
        };
        let lp = Loop::builder().null(options).build().unwrap();
        let accepted = Rc::new(Cell::new(0));
        let inner = accepted.clone();
        let server = net::create_server(&lp, move |socket| {
            inner.set(inner.get() + 1);
            socket.on_data(|_, _| {});
        });
        server.listen(null::ADDRESS).unwrap();
        turn_until(&lp, || accepted.get() == connections);
        server.close();
        lp.run_nowait().unwrap();
        let before = (lp.turns(), lp.counts().waits);
        lp.run_nowait().unwrap();
        assert_eq!(lp.turns() - before.0, 1);
        lp.counts().waits - before.1
    };
    assert_eq!(waits(1023), 1);
    assert_eq!(waits(1024), 48);
}

/// The child's wait is interrupted again and again: a process that was stopped and continued finds its
/// `epoll_wait` ended by `EINTR`.
#[cfg(target_os = "linux")]
#[test]
fn l20_l21_an_interrupted_wait_goes_on_for_what_is_left_of_its_time() {
    use rustix::process::{Signal, kill_process};
    use std::sync::mpsc::{self, TryRecvError};
    // L20, L21
    let name = "l20_l21_an_interrupted_wait_goes_on_for_what_is_left_of_its_time";
    in_own_process(name, "", body, |output| {
        let process = printed(output, "waits as ");
        let process = rustix::process::Pid::from_raw(process.parse().unwrap()).unwrap();
        let (over, is_over) = mpsc::channel::<()>();
        let signals = std::thread::spawn(move || {
            // The process is not waited for before this ends, so the number is still its own.
            while is_over.try_recv() == Err(TryRecvError::Empty) {
                kill_process(process, Signal::STOP).unwrap();
                kill_process(process, Signal::CONT).unwrap();
                std::thread::yield_now();
            }
        });
        assert_eq!(printed(output, "the timer "), "fired");
        drop(over);
        join(signals);
    });

    fn body() {
        const MS: u64 = 200;
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        println!("waits as {}", std::process::id());
        // On a busy machine the signals may miss a wait or two.
        for round in 1.. {
            lp.update_time();
            let begun = lp.now();
            lp.set_timeout_once(MS, |_| {});
            // The turn does not end for an interruption.
            assert!(!lp.run_once().unwrap(), "the timer has fired");
            assert_eq!(lp.turns(), round);
            // L20: what is left of the time is by a clock that is read after each of them.
            let passed = lp.now() - begun;
            assert!((MS..10_000).contains(&passed), "{passed} ms");
            if lp.counts().waits > 2 * round + 2 {
                break;
            }
        }
        println!("the timer fired");
    }
}

#[test]
fn l20_a_wait_that_does_not_block_refreshes_the_clock_too() {
    // L20
    let _watched = watched(20);
    let lp = Loop::new().unwrap();
    let times = Rc::new(Cell::new([0; 3]));
    let note = |at: usize, blocks: bool| {
        let times = times.clone();
        move |watcher: Watcher| {
            let lp = watcher.event_loop();
            let mut now = times.get();
            now[at] = lp.now();
            if blocks {
                block(5);
                // It stands still.
                now[at + 1] = lp.now();
            }
            times.set(now);
        }
    };
    lp.prepare(note(0, true));
    lp.check(note(2, false));
    lp.run_nowait().unwrap();
    let [before, blocked, after] = times.get();
    assert_eq!(before, blocked);
    assert!(after >= before + 4, "{before} {after}");
}

#[test]
fn l24_an_event_that_concerns_nobody_does_not_end_the_wait() {
    // L24
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (_socket, mut peer) = pair_with(&lp, ServerOptions::new().pause_on_connect(true), connect);
    lp.run_nowait().unwrap();
    let log = Recorder::new();
    lp.set_timeout_once(50, log.noting("timer"));
    // It wakes the loop, and nobody reads it.
    peer.write_all(b"unread").unwrap();
    let before = (lp.turns(), lp.counts());
    lp.run_once().unwrap();
    log.expect(&["timer"]);
    let waits = lp.counts().waits - before.1.waits;
    assert_eq!(lp.turns() - before.0, 1);
    assert!(waits >= 2, "{waits}");
    assert_eq!(lp.counts().reads, before.1.reads);
}

#[test]
fn l27_l29_a_turn_is_one_wait_and_ends_with_what_that_brought() {
    if tcp_only("a Unix socket is read until it would block, so it would have both in a turn") {
        return;
    }
    // L27, L29
    let (lp, _server, _deadline) = waiting_loop();
    let log = Recorder::new();
    let (socket, mut peer) = pair(&lp);
    lp.run_nowait().unwrap();
    peer.write_all(b"first").unwrap();
    let inner = log.clone();
    socket.on_data(move |_, chunk| {
        inner.note(String::from_utf8_lossy(chunk));
        if chunk == b"first" {
            // It is there when the listener returns, and waits for the next turn.
            peer.write_all(b"second").unwrap();
        }
    });
    // They ended a wait that went on behind the first batch.
    lp.set_timeout_once(5_000, log.noting("timer"));
    for expected in ["first", "second"] {
        let before = (lp.turns(), lp.counts().waits);
        lp.run_once().unwrap();
        log.expect(&[expected]);
        let (turns, waits) = (lp.turns() - before.0, lp.counts().waits - before.1);
        assert_eq!((turns, waits), (1, 1));
    }
}

#[test]
fn l63_the_clock_is_whole_milliseconds_rounded_down() {
    // L63
    let before = Instant::now();
    let lp = Loop::new().unwrap();
    let after = Instant::now();
    let mut last = 0;
    while before.elapsed() < Duration::from_millis(50) {
        let at_least = after.elapsed().as_millis() as u64;
        lp.update_time();
        let at_most = before.elapsed().as_millis() as u64;
        let now = lp.now();
        assert!((at_least..=at_most).contains(&now), "{now}");
        assert!(now >= last, "it went back");
        last = now;
    }
}

#[test]
fn l64_when_the_clock_is_refreshed() {
    // L64
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let read = Rc::new(Cell::new(0));
    let grown = |what: &str| {
        let now = lp.now();
        assert!(now >= read.replace(now) + 4, "{what}");
    };
    block(5);
    lp.update_time();
    grown("on request");
    block(5);
    assert_eq!(lp.now(), read.get(), "it stands still");
    // The deadline does not hold it.
    assert!(!lp.is_alive());
    lp.run().unwrap();
    grown("by a run that finds nothing alive");
    block(5);
    let seen = read.clone();
    lp.set_immediate(move |immediate| {
        let lp = immediate.event_loop();
        seen.set(lp.now());
        block(5);
        assert_eq!(lp.now(), seen.get(), "it stands still during a turn");
        let (turn, started) = (lp.turns(), lp.now());
        lp.set_timeout_once(1, move |timer| {
            let lp = timer.event_loop();
            // Else it was not due yet in this turn.
            assert_eq!(lp.turns(), turn, "before the timers");
            assert!(lp.now() >= started + 2, "before the timers");
        });
        block(3);
    });
    let before = read.get();
    lp.run().unwrap();
    assert!(read.get() >= before + 4, "at the beginning of a run");
}

#[test]
fn t11_a_timer_of_a_check_watcher_fires_in_its_turn_only_if_it_is_due() {
    // T11
    let _watched = watched(20);
    for (is_due, expected) in [(false, &["check"][..]), (true, &["check", "timer"])] {
        let lp = Loop::new().unwrap();
        let log = Recorder::new();
        let inner = log.clone();
        lp.check(move |watcher| {
            inner.note("check");
            let ms = if is_due { 1 } else { 60_000 };
            watcher
                .event_loop()
                .set_timeout_once(ms, inner.noting("timer"));
            block(3);
        });
        lp.run_nowait().unwrap();
        log.expect(expected);
    }
}

#[test]
fn t12_run_once_waits_for_a_timer_and_runs_it() {
    // T12
    let lp = Loop::new().unwrap();
    let _watched = watched(10);
    let log = Recorder::new();
    lp.update_time();
    let begun = lp.now();
    lp.set_timeout_once(20, log.noting("timer"));
    assert!(!lp.run_once().unwrap());
    log.expect(&["timer"]);
    assert!(lp.now() - begun >= 20);
    assert_eq!(lp.turns(), 1);
}

#[test]
fn t13_run_nowait_leaves_a_timer_that_is_not_due() {
    // T13
    let lp = Loop::new().unwrap();
    let _watched = watched(10);
    lp.set_timeout_once(60_000, |_| panic!("it is not due"));
    for turns in 1..=3 {
        assert!(lp.run_nowait().unwrap());
        assert_eq!(lp.turns(), turns);
    }
}

#[test]
fn t14_starting_clearing_and_refreshing_cost_no_system_call() {
    // T14
    let lp = Loop::new().unwrap();
    let before = lp.counts();
    for ms in 1..=1_000 {
        let timer = lp.set_timeout(ms, |_| {});
        timer.refresh();
        timer.clear();
        lp.set_interval(ms, |_| {}).clear();
    }
    // The clock is no system call where it matters; it is counted all the same.
    let mut after = lp.counts();
    assert!(after.clock_reads > before.clock_reads);
    after.clock_reads = before.clock_reads;
    assert_eq!(after, before);
}
