//! An 'error' that nobody listens to: it ends `run` after the present loop callback and before its
//! ticks, and nothing is lost; or it goes to `on_uncaught_error`, and everything goes on.

mod support;

use std::io::Write;
use std::net::TcpStream;

use nodeloop::net::{self, Socket};
use nodeloop::{Error, Loop};
use support::*;

/// Two connections whose data comes in one batch. Either, at its data, does what `act` says and
/// queues a tick behind it. Their peers live as long as they are held.
fn stage(lp: &Loop, act: fn(Socket)) -> (Recorder, [TcpStream; 2]) {
    let log = Recorder::new();
    let pairs = [pair(lp), pair(lp)];
    for (socket, _) in pairs.iter() {
        let inner = log.clone();
        socket.on_data(move |socket, _| {
            inner.note("data");
            act(socket);
            socket.event_loop().next_tick(inner.noting("tick"));
        });
        let inner = log.clone();
        socket.on_close(move |_, had_error| inner.note(format!("close {had_error}")));
    }
    lp.run_nowait().unwrap();
    for (_, peer) in &pairs {
        (&*peer).write_all(b"x").unwrap();
    }
    (log, pairs.map(|(_, peer)| peer))
}

#[test]
fn ends_run_before_the_ticks_and_the_next_run_goes_on() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (log, _peers) = stage(&lp, |socket| socket.destroy_with("reason"));
    let ended = |lp: &Loop| lp.run().unwrap_err().to_string();
    // The 'error' itself comes on a tick; the one queued behind it waits.
    assert_eq!(ended(&lp), "reason");
    log.expect(&["data"]);
    // The rest of the batch, which ends `run` again.
    assert_eq!(ended(&lp), "reason");
    log.expect(&["tick", "data"]);
    // The rest of the ticks, and the closings, the last first.
    lp.run().unwrap();
    log.expect(&["tick", "close true", "close true"]);
    assert!(!lp.is_alive());
}

#[test]
fn the_error_is_the_one_that_was_given() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, _peer) = pair(&lp);
    let reason = "tea".parse::<u8>().unwrap_err();
    socket.destroy_with(reason.clone());
    let error = lp.run().unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&reason));
    // The socket was closed with it all the same.
    assert!(socket.destroyed());
    lp.run().unwrap();
}

#[test]
fn goes_to_on_uncaught_error_and_everything_goes_on() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (log, _peers) = stage(&lp, |socket| socket.destroy_with("reason"));
    for number in 1..=2 {
        let log = log.clone();
        lp.on_uncaught_error(move |_, error: &Error| log.note(format!("{number}: {error}")));
    }
    lp.run().unwrap();
    let once = ["data", "1: reason", "2: reason", "tick"];
    let mut expected = [once, once].concat();
    expected.extend(["close true", "close true"]);
    log.expect(&expected);
}

#[test]
fn a_panic_in_on_uncaught_error_loses_nothing() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (log, _peers) = stage(&lp, |socket| socket.destroy_with("reason"));
    lp.on_uncaught_error(|_, error| panic!("fatal: {error}"));
    assert_eq!(caught(|| lp.run()), "fatal: reason");
    assert_eq!(caught(|| lp.run()), "fatal: reason");
    lp.run().unwrap();
    log.expect(&["data", "tick", "data", "tick", "close true", "close true"]);
}

#[test]
fn an_error_listener_added_behind_the_call_is_in_time() {
    // N308
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (log, _peers) = stage(&lp, |socket| {
        socket.destroy_with("reason");
        socket.once_error(|_, error| assert_eq!(error.to_string(), "reason"));
    });
    lp.run().unwrap();
    log.expect(&["data", "tick", "data", "tick", "close true", "close true"]);
}

#[test]
fn loses_neither_timers_nor_immediates() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let sockets: Vec<_> = (0..4).map(|_| pair(&lp)).collect();
    for (number, (socket, _)) in sockets.iter().enumerate() {
        let (socket, log) = (*socket, log.clone());
        let fail = move |log: &Recorder, kind: &str| {
            log.note(format!("{kind} {number}"));
            socket.destroy_with(format!("{number}"));
        };
        match number {
            0 | 1 => drop(lp.set_immediate(move |_| fail(&log, "immediate"))),
            _ => drop(lp.set_timeout_once(1, move |_| fail(&log, "timer"))),
        }
    }
    let mut errors = Vec::new();
    while let Err(error) = lp.run() {
        errors.push(error.to_string());
        assert!(errors.len() <= 4);
    }
    errors.sort();
    assert_eq!(errors, ["0", "1", "2", "3"]);
    let mut seen = log.take();
    seen.sort();
    assert_eq!(seen, ["immediate 0", "immediate 1", "timer 2", "timer 3"]);
}

#[test]
fn of_a_server_leaves_it_ready_to_listen_again() {
    // N73
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (other, taken) = listening(&lp, |_| {});
    let server = net::create_server(&lp, |_| {});
    server
        .listen_then(at(taken), log.noting("listening"))
        .unwrap();
    other.close();
    assert_eq!(code(lp.run()), "EADDRINUSE");
    log.expect(&[]);
    // N74: the listener of the first attempt has waited.
    server.listen(at(taken)).unwrap();
    server.on_listening(|server| server.close());
    lp.run().unwrap();
    log.expect(&["listening"]);
}

#[test]
fn is_reported_by_every_mode_of_run() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    for run in [
        (|lp: &Loop| lp.run().unwrap_err()) as fn(&Loop) -> Error,
        |lp| lp.run_once().unwrap_err(),
        |lp| lp.run_nowait().unwrap_err(),
    ] {
        let (socket, _peer) = pair(&lp);
        socket.destroy_with("reason");
        assert_eq!(run(&lp).to_string(), "reason");
        lp.run().unwrap();
    }
}

#[test]
fn several_at_once_end_run_one_after_the_other() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let pairs = [pair(&lp), pair(&lp), pair(&lp)];
    for (number, (socket, _)) in pairs.iter().enumerate() {
        socket.destroy_with(number.to_string());
        let log = log.clone();
        socket.on_close(move |_, _| log.note("close"));
    }
    for number in 0..3 {
        assert_eq!(lp.run().unwrap_err().to_string(), number.to_string());
        log.expect(&[]);
    }
    lp.run().unwrap();
    log.expect(&["close", "close", "close"]);
}

#[test]
fn fail_ends_run_before_the_ticks_and_the_next_run_goes_on() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (log, peers) = stage(&lp, |socket| socket.event_loop().fail("enough"));
    // It is no error that nobody has handled.
    lp.on_uncaught_error(|_, _| panic!("it was not asked"));
    for _ in 0..2 {
        assert_eq!(lp.run().unwrap_err().to_string(), "enough");
        // What is left of the turn before: the ticks, then the rest of the batch.
    }
    log.expect(&["data", "tick", "data"]);
    drop(peers);
    lp.run().unwrap();
    log.expect(&["tick", "close false", "close false"]);
}

#[test]
fn fail_may_be_called_from_anywhere_and_keeps_the_error() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let handle = lp.handle();
    let fails = |begin: &dyn Fn()| {
        begin();
        assert!(lp.is_alive());
        lp.run().unwrap_err()
    };
    // Outside `run` it waits for it, and is an error of this crate's as it is.
    let refused = Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
    let error = fails(&|| handle.fail(refused.clone()));
    assert_eq!(error.code(), refused.code());
    // Another's can be taken out.
    let number = "tea".parse::<u8>().unwrap_err();
    let error = fails(&|| handle.fail(number.clone()));
    assert_eq!(error.downcast_ref(), Some(&number));
    type Begin<'a> = &'a dyn Fn();
    let phases: [Begin<'_>; 4] = [
        &|| handle.next_tick(|lp| lp.fail("phase")),
        &|| {
            handle.set_immediate(|immediate| immediate.event_loop().fail("phase"));
        },
        &|| {
            handle.set_timeout(1, |timer| timer.event_loop().fail("phase"));
        },
        &|| {
            let done = |lp: nodeloop::LoopHandle, _| lp.fail("phase");
            handle.spawn_blocking(|| (), done);
        },
    ];
    for begin in phases {
        assert_eq!(fails(begin).to_string(), "phase");
    }
    assert!(!lp.is_alive());
    lp.run().unwrap();
    drop(lp);
    handle.fail("nobody hears it");
}

/// Runs until no error ends it.
fn run_through(lp: &Loop, log: &Recorder) {
    while let Err(error) = lp.run() {
        log.note(error);
    }
}

#[test]
fn the_rest_of_the_immediates_came_behind_timers_that_were_due() {
    // The next run began as every run does, with the timers.
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let inner = log.clone();
    lp.set_immediate(move |immediate| {
        let lp = immediate.event_loop();
        lp.set_timeout(1, inner.noting("timer"));
        lp.set_immediate(inner.noting("next turn"));
        block(5);
        lp.fail("error");
    });
    lp.set_immediate(log.noting("rest"));
    run_through(&lp, &log);
    log.expect(&["error", "rest", "timer", "next turn"]);
}

#[test]
fn the_rest_of_a_batch_came_behind_the_timers_and_watchers_of_another_turn() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (log, _peers) = stage(&lp, |socket| {
        socket.destroy();
        socket.event_loop().set_timeout(1, |_| {});
        block(5);
        socket.event_loop().fail("error");
    });
    let inner = log.clone();
    lp.prepare(move |watcher| {
        // Due when the first of the batch has blocked, and not before.
        if !inner.has("prepare") {
            watcher.event_loop().set_timeout(1, inner.noting("timer"));
        }
        inner.note("prepare");
        watcher.unref();
    });
    run_through(&lp, &log);
    let served = ["prepare", "data", "error", "tick", "data", "error", "tick"];
    log.expect(&[&served[..], &["close false", "close false", "timer"]].concat());
}

#[test]
fn n13_an_error_does_not_bring_the_end_into_the_turn_of_the_data() {
    for gathers in [true, false] {
        let lp = Loop::builder().gather(gathers).build().unwrap();
        let _deadline = deadline(&lp, 10);
        let (socket, mut peer) = pair(&lp);
        peer.write_all(b"x").unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let log = Recorder::new();
        let inner = log.clone();
        socket.on_data(move |socket, _| {
            socket.event_loop().set_immediate(inner.noting("immediate"));
            socket.event_loop().fail("error");
        });
        let inner = log.clone();
        socket.on_end(move |_| inner.note("end"));
        run_through(&lp, &log);
        log.expect(&["error", "immediate", "end"]);
    }
}

#[test]
fn the_rest_of_the_closings_came_behind_the_immediates_of_another_turn() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let pairs = [pair(&lp), pair(&lp)];
    for (socket, _) in &pairs {
        let log = log.clone();
        socket.on_close(move |socket, _| {
            log.note("close");
            socket.event_loop().set_immediate(log.noting("immediate"));
            socket.event_loop().fail("error");
        });
        socket.destroy();
    }
    run_through(&lp, &log);
    let closings = ["close", "error", "close", "error"];
    log.expect(&[&closings[..], &["immediate", "immediate"]].concat());
}

#[test]
fn watchers_ran_twice_in_a_turn_that_was_cut_short() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    lp.idle(log.noting("idle")).unref();
    let inner = log.clone();
    for name in ["last", "first"] {
        let log = inner.clone();
        lp.prepare(move |watcher| {
            log.note(name);
            watcher.close();
            watcher.event_loop().fail("error");
        });
    }
    lp.check(log.noting("check")).unref();
    for _ in 0..2 {
        assert!(lp.run_once().is_err());
    }
    lp.run_once().unwrap();
    log.expect(&["idle", "first", "last", "check"]);
}

#[test]
fn what_is_unreferenced_never_ran_behind_an_error() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let fails = |immediate: nodeloop::Immediate| immediate.event_loop().fail("error");
    // In the same phase, and in that of the next turn.
    lp.set_immediate(fails);
    lp.set_immediate(log.noting("same phase")).unref();
    run_through(&lp, &log);
    log.expect(&["error", "same phase"]);
    let inner = log.clone();
    lp.set_immediate(move |immediate| {
        let lp = immediate.event_loop();
        lp.set_immediate(inner.noting("next phase")).unref();
        lp.fail("error");
    });
    run_through(&lp, &log);
    log.expect(&["error", "next phase"]);
    // Outside of all turns.
    lp.next_tick(|lp| lp.fail("error"));
    lp.set_immediate(log.noting("first turn")).unref();
    run_through(&lp, &log);
    log.expect(&["error", "first turn"]);
    // Of the timers only those that are due by then.
    lp.set_timeout(1, |timer| timer.event_loop().fail("error"));
    lp.set_timeout(1, log.noting("due")).unref();
    lp.set_timeout(60_000, log.noting("not due")).unref();
    // Both, also if a millisecond has begun between them.
    block(5);
    run_through(&lp, &log);
    log.expect(&["error", "due"]);
}

#[test]
fn what_is_unreferenced_never_ran_behind_an_error_that_was_heard_of() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let inner = log.clone();
    lp.on_uncaught_error(move |_, error| inner.note(error));
    let fails = |lp: nodeloop::LoopHandle, log: &Recorder| {
        lp.set_immediate(log.noting("unreferenced")).unref();
        Socket::new(&lp, net::SocketOptions::new()).destroy_with("reason");
    };
    // Outside of all turns, and behind the check phase of the last.
    fails(lp.handle(), &log);
    lp.run().unwrap();
    log.expect(&["reason", "unreferenced"]);
    let inner = log.clone();
    lp.set_timeout(1, move |timer| fails(timer.event_loop(), &inner));
    lp.run().unwrap();
    log.expect(&["reason", "unreferenced"]);
    assert!(!lp.is_alive());
}

#[test]
fn a_panic_leaves_the_rest_of_the_turn_to_the_next_run() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let inner = log.clone();
    lp.set_immediate(move |immediate| {
        immediate.event_loop().set_timeout(1, inner.noting("timer"));
        block(5);
        panic!("a bug");
    });
    lp.set_immediate(log.noting("rest"));
    assert_eq!(caught(|| lp.run()), "a bug");
    lp.run().unwrap();
    log.expect(&["rest", "timer"]);
}

#[test]
fn who_is_stopped_keeps_the_rest_of_the_turn() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    lp.set_immediate(|immediate| immediate.event_loop().fail("error"));
    lp.set_immediate(log.noting("rest")).unref();
    assert!(lp.run().is_err());
    lp.stop();
    lp.run().unwrap();
    log.expect(&[]);
    lp.run().unwrap();
    log.expect(&["rest"]);
}

/// It came in the next turn, behind immediates; in Node, where they are those of the same callback of libuv's, it
/// does not. Nor is there more of it than without the errors.
#[test]
fn the_rest_of_a_socket_s_reads_came_in_another_turn() {
    let play = |fails: bool| {
        let lp = Loop::builder().limit_reads(1).read_budget(2).build();
        let lp = lp.unwrap();
        let _deadline = deadline(&lp, 10);
        let log = Recorder::new();
        let (socket, peer) = pair(&lp);
        let inner = log.clone();
        socket.on_data(move |socket, chunk| {
            inner.note(String::from_utf8_lossy(chunk));
            if inner.count("immediate") < 2 {
                let noting = inner.noting("immediate");
                socket.event_loop().set_immediate(noting);
            }
            if fails {
                socket.event_loop().fail("error");
            }
        });
        let inner = log.clone();
        socket.on_end(move |socket| {
            inner.note("end");
            socket.event_loop().fail("error");
        });
        send_and_end(&peer, b"abcde");
        let mut errors = 0;
        while lp.run().is_err() {
            errors += 1;
        }
        assert_eq!(errors, if fails { 6 } else { 1 });
        log.take()
    };
    let plain = play(false);
    assert_eq!(plain[..4], ["a", "b", "immediate", "immediate"]);
    assert_eq!(play(true), plain);
}

/// It held the loop for one more turn.
#[test]
fn what_is_void_holds_no_loop_behind_a_close_that_fails() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, _peer) = pair(&lp);
    lp.run_nowait().unwrap();
    socket.on_close(|socket, _| socket.event_loop().fail("error"));
    lp.set_immediate(move |_| {
        socket.end();
        socket.destroy();
    });
    assert_eq!(lp.run_once().unwrap_err().to_string(), "error");
    assert!(!lp.run_once().unwrap(), "{}", lp.why_alive());
}

#[test]
fn an_error_in_front_of_the_first_turn_leaves_the_rest_of_an_earlier_one() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let inner = log.clone();
    lp.set_immediate(move |immediate| {
        immediate.event_loop().set_timeout(1, inner.noting("timer"));
        block(5);
        immediate.event_loop().fail("within");
    });
    lp.set_immediate(log.noting("rest"));
    assert!(lp.run().is_err());
    lp.fail("outside");
    run_through(&lp, &log);
    log.expect(&["outside", "rest", "timer"]);
}

#[test]
fn a_timer_that_is_due_comes_first_behind_an_error_in_front_of_the_first_turn() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    // Neither holds the loop: Node is alive all the same, by its immediate for the ticks.
    lp.set_immediate(log.noting("immediate")).unref();
    lp.set_timeout(1, log.noting("timer")).unref();
    block(5);
    lp.fail("error");
    run_through(&lp, &log);
    log.expect(&["error", "timer", "immediate"]);
}

#[test]
fn the_rest_of_the_mail_comes_in_front_of_the_immediates() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let inner = log.clone();
    let first = lp.channel(move |lp, ()| {
        lp.set_immediate(inner.noting("immediate"));
        lp.fail("error");
    });
    let inner = log.clone();
    let second = lp.channel(move |_, ()| inner.note("rest"));
    for sender in [first, second] {
        sender.send(()).unwrap();
    }
    run_through(&lp, &log);
    log.expect(&["error", "rest", "immediate"]);
}

#[test]
fn an_idle_watcher_that_fails_leaves_the_prepare_watchers_to_the_next_run() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    lp.prepare(log.noting("prepare")).unref();
    lp.check(log.noting("check")).unref();
    lp.idle(log.noting("rest")).unref();
    lp.idle(|watcher| {
        watcher.close();
        watcher.event_loop().fail("error");
    });
    assert!(lp.run_once().is_err());
    lp.run_once().unwrap();
    log.expect(&["rest", "prepare", "check"]);
}
