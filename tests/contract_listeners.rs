//! The re-entrancy contract, rules 5 to 8: listeners that change while they are called, panics,
//! `run` inside a listener, and depth.

mod support;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;

use nodeloop::net::Socket;
use nodeloop::{AsLoop, ListenerId, Loop, Timer};
use support::*;

/// Sends a message to the loop and turns it until the message was seen.
fn poke(lp: &Loop, mut peer: &std::net::TcpStream, socket: Socket) {
    let seen = socket.bytes_read();
    peer.write_all(b"x").unwrap();
    turn_until(lp, || socket.bytes_read() > seen);
}

#[test]
fn rule_5_a_listener_added_while_several_are_called_first_runs_at_the_next_emission() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let log = Recorder::new();
    let inner = log.clone();
    let mut added = false;
    socket.on_data(move |socket, _| {
        inner.note("first");
        if !added {
            added = true;
            let late = inner.clone();
            socket.on_data(move |_, _| late.note("late"));
        }
    });
    let inner = log.clone();
    socket.on_data(move |_, _| inner.note("second"));
    poke(&lp, &peer, socket);
    log.expect(&["first", "second"]);
    poke(&lp, &peer, socket);
    log.expect(&["first", "second", "late"]);
}

#[test]
fn rule_5_a_listener_removed_while_several_are_called_still_runs() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let log = Recorder::new();
    let victim = Rc::new(Cell::new(None::<ListenerId>));
    let (inner, target) = (log.clone(), victim.clone());
    socket.on_data(move |socket, _| {
        inner.note("remover");
        if let Some(id) = target.take() {
            socket.off(id);
        }
    });
    let inner = log.clone();
    let id = socket.on_data(move |_, _| inner.note("removed"));
    victim.set(Some(id));
    poke(&lp, &peer, socket);
    log.expect(&["remover", "removed"]);
    poke(&lp, &peer, socket);
    log.expect(&["remover"]);
}

#[test]
fn rule_5_the_running_listener_removes_itself() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let log = Recorder::new();
    let own = Rc::new(Cell::new(None::<ListenerId>));
    let (inner, own_id) = (log.clone(), own.clone());
    let ended = on_drop({
        let log = log.clone();
        move || log.note("dropped")
    });
    own.set(Some(socket.on_data(move |socket, _| {
        ended.hold();
        if let Some(id) = own_id.take() {
            socket.off(id);
        }
        inner.note("still here");
    })));
    poke(&lp, &peer, socket);
    log.expect(&["still here", "dropped"]);
    poke(&lp, &peer, socket);
    log.expect(&[]);
}

#[test]
fn rule_5_the_running_listener_replaces_itself() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let log = Recorder::new();
    let own = Rc::new(Cell::new(None::<ListenerId>));
    let (inner, own_id) = (log.clone(), own.clone());
    own.set(Some(socket.on_data(move |socket, _| {
        inner.note("old");
        if let Some(id) = own_id.take() {
            socket.off(id);
            let new = inner.clone();
            socket.on_data(move |_, _| new.note("new"));
        }
    })));
    poke(&lp, &peer, socket);
    poke(&lp, &peer, socket);
    poke(&lp, &peer, socket);
    log.expect(&["old", "new", "new"]);
}

#[test]
fn rule_5_a_once_listener_that_adds_itself_again_runs_once_per_emission() {
    fn again(socket: Socket, log: Recorder) {
        socket.once_data(move |socket, _| {
            log.note("once");
            again(socket, log);
        });
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let log = Recorder::new();
    again(socket, log.clone());
    poke(&lp, &peer, socket);
    poke(&lp, &peer, socket);
    log.expect(&["once", "once"]);
}

#[test]
fn rule_5_a_servers_listener_removes_and_replaces_itself() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (server, address) = listening(&lp, |socket| socket.destroy());
    let own = Rc::new(Cell::new(None::<ListenerId>));
    let (inner, own_id) = (log.clone(), own.clone());
    own.set(Some(server.on_connection(move |server, _| {
        inner.note("old");
        if let Some(id) = own_id.take() {
            server.off(id);
        }
        let new = inner.clone();
        server.on_connection(move |server, _| {
            new.note("new");
            server.close();
        });
    })));
    let _peers = [connect(address), connect(address)];
    lp.run().unwrap();
    log.expect(&["old", "new"]);
}

#[test]
fn rule_6_a_panic_in_the_middle_of_a_batch_loses_nothing() {
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 10);
        let log = Recorder::new();
        let pairs: Vec<_> = (0..3).map(|_| pair(lp)).collect();
        for (number, (socket, _)) in pairs.iter().enumerate() {
            let log = log.clone();
            socket.on_data(move |_, chunk| {
                log.note(format!("{number} {}", chunk[0] as char));
                assert!(number != 1 || chunk[0] != b'a', "thrown by 1");
            });
        }
        // The flow begins on a tick.
        lp.run_nowait().unwrap();
        // All are ready in one wait, and wait for nothing else.
        for (_, peer) in &pairs {
            (&*peer).write_all(b"a").unwrap();
        }
        assert_eq!(caught(|| lp.run()), "thrown by 1");
        turn_until(lp, || log.has("2 a"));
        log.expect(&["0 a", "1 a", "2 a"]);
        // The listener was put back.
        (&pairs[1].1).write_all(b"b").unwrap();
        turn_until(lp, || log.has("1 b"));
        for (socket, _) in &pairs {
            socket.destroy();
        }
        lp.run().unwrap();
    });
}

#[test]
fn rule_6_a_panic_anywhere_leaves_a_loop_that_goes_on() {
    // Every event of a connection's life panics, and none is lost.
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let log = Recorder::new();
        let inner = log.clone();
        let raise = move |event: &str| {
            inner.note(event);
            panic!("{event}");
        };
        let on_connection = raise.clone();
        let (server, address) = listening(lp, {
            let raise = raise.clone();
            move |socket| {
                let on = raise.clone();
                socket.on_data(move |_, _| on("data"));
                let on = raise.clone();
                socket.on_finish(move |_| on("finish"));
                let on = raise.clone();
                socket.on_close(move |_, _| on("close"));
                let on = raise.clone();
                socket.write_then("x", move |_| on("written"));
                let on = raise.clone();
                socket.end_then(move |_| on("ended"));
                // A panic ends the emission: no other listener would hear of it.
                socket.server().unwrap().close();
                on_connection("connection");
            }
        });
        let on = raise.clone();
        server.on_listening(move |_| on("listening"));
        let on = raise.clone();
        server.on_close(move |_| on("server close"));
        let on = raise.clone();
        lp.next_tick(move |_| on("tick"));
        let on = raise.clone();
        lp.set_timeout(1, move |_| on("timer"));
        let on = raise.clone();
        lp.set_immediate(move |_| on("immediate"));
        let peer = connect(address);
        send_and_end(&peer, b"y");
        let mut panics = Vec::new();
        while lp.is_alive() {
            panics.push(caught(|| {
                lp.run().unwrap();
                panic!("over");
            }));
        }
        let mut seen = log.take();
        panics.retain(|panic| panic != "over");
        assert_eq!(panics, seen);
        seen.sort();
        assert_eq!(
            seen,
            [
                "close",
                "connection",
                "data",
                "ended",
                "finish",
                "immediate",
                "listening",
                "server close",
                "tick",
                "timer",
                "written"
            ]
        );
        assert_eq!(ending(&peer), "end");
    });
}

#[test]
fn rule_6_a_panic_is_caught_around_run_without_asserting_anything() {
    let lp = Loop::new().unwrap();
    let log = Recorder::new();
    lp.next_tick(|_| panic!("a bug"));
    lp.next_tick(log.noting("tick"));
    assert!(std::panic::catch_unwind(|| lp.run()).is_err());
    lp.run().unwrap();
    log.expect(&["tick"]);
}

#[test]
fn rule_6_the_listener_that_panics_is_put_back() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let mut connections = 0;
    let (server, address) = listening(&lp, move |socket| {
        connections += 1;
        if connections == 3 {
            socket.server().unwrap().close();
        }
        socket.destroy();
        panic!("connection {connections}");
    });
    let _peers = [connect(address), connect(address), connect(address)];
    for number in 1..=3 {
        assert_eq!(caught(|| lp.run()), format!("connection {number}"));
    }
    lp.run().unwrap();
    assert!(!server.listening());
}

#[test]
fn rule_6_a_panic_in_the_middle_of_what_was_buffered_loses_nothing() {
    // Every byte is a chunk of its own, and all of them wait when the flow begins.
    let lp = Loop::builder().limit_reads(1).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let log = Recorder::new();
    send_and_end(&peer, b"abcd");
    turn_until(&lp, || socket.readable_length() == 4);
    let inner = log.clone();
    socket.on_data(move |_, chunk| {
        inner.note(String::from_utf8_lossy(chunk));
        panic!("thrown");
    });
    log.follow_but_data(socket);
    for _ in 0..4 {
        assert_eq!(caught(|| lp.run()), "thrown");
    }
    lp.run().unwrap();
    log.expect(&["a", "b", "c", "d", "end", "finish", "close false"]);
}

#[test]
fn rule_6_n27_an_interval_whose_callback_panics_goes_on() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let mut times = 0;
    lp.set_interval(1, move |timer: Timer| {
        times += 1;
        if times == 3 {
            timer.clear();
        }
        panic!("time {times}");
    });
    for times in 1..=3 {
        assert_eq!(caught(|| lp.run()), format!("time {times}"));
    }
    assert!(!lp.is_alive());
}

#[test]
fn rule_6_n14_a_panic_loses_neither_timers_nor_immediates_nor_ticks() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let panics = |name: &'static str| {
        let log = log.clone();
        move || {
            log.note(name);
            panic!("{name}");
        }
    };
    for name in ["timer 1", "timer 2"] {
        let raise = panics(name);
        lp.set_timeout(1, move |_| raise());
    }
    for name in ["immediate 1", "immediate 2"] {
        let raise = panics(name);
        lp.set_immediate(move |_| raise());
    }
    for name in ["tick 1", "tick 2"] {
        let raise = panics(name);
        lp.next_tick(move |_| raise());
    }
    while lp.is_alive() {
        caught(|| {
            lp.run().unwrap();
            panic!("over");
        });
    }
    let mut seen = log.take();
    assert_eq!(seen[..2], ["tick 1", "tick 2"]);
    seen.sort();
    let all = ["immediate 1", "immediate 2", "tick 1", "tick 2"];
    assert_eq!(seen[..4], all);
    assert_eq!(seen[4..], ["timer 1", "timer 2"]);
}

#[test]
fn rule_7_run_inside_a_listener_is_an_error() {
    // L7
    let lp = Rc::new(Loop::new().unwrap());
    let _deadline = deadline(&*lp, 10);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (inner, codes) = (lp.clone(), seen.clone());
    lp.set_immediate(move |_| {
        let mut codes = codes.borrow_mut();
        codes.push(code(inner.run()));
        codes.push(code(inner.run_once()));
        codes.push(code(inner.run_nowait()));
    });
    // The loop goes on behind it.
    let log = Recorder::new();
    lp.set_immediate(log.noting("next"));
    lp.run().unwrap();
    assert_eq!(*seen.borrow(), ["ERR_LOOP_RUNNING"; 3]);
    log.expect(&["next"]);
    // Outside it is none again.
    lp.run().unwrap();
}

#[test]
fn rule_7_a_listener_drives_a_second_loop() {
    let outer = Rc::new(Loop::new().unwrap());
    let _deadline = deadline(&*outer, 10);
    let log = Recorder::new();
    let (notes, outer_again) = (log.clone(), outer.clone());
    let (socket, peer) = pair(&outer);
    socket.on_data(move |socket, _| {
        let inner = Loop::new().unwrap();
        let (notes, outer_again) = (notes.clone(), outer_again.clone());
        let (server, address) = listening(&inner, {
            let notes = notes.clone();
            move |accepted| {
                notes.note("inner connection");
                // The outer loop takes calls, but doesn't run.
                socket.write("from within");
                assert_eq!(code(outer_again.run()), "ERR_LOOP_RUNNING");
                accepted.destroy();
                accepted.server().unwrap().close();
            }
        });
        server.on_close(notes.noting("inner close"));
        let _peer = connect(address);
        inner.run().unwrap();
        notes.note("inner over");
        socket.end();
    });
    send_and_end(&peer, b"go");
    outer.run().unwrap();
    log.expect(&["inner connection", "inner close", "inner over"]);
    assert_eq!(read_to_end(&peer), b"from within");
}

#[test]
fn rule_8_listeners_are_never_nested() {
    // Whatever a listener does, no other begins before it has returned.
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let depth = Rc::new(Cell::new(0));
        let calls = Rc::new(Cell::new(0));
        let (socket, peer) = pair(lp);
        let enter = {
            let (depth, calls) = (depth.clone(), calls.clone());
            move |act: &dyn Fn(Socket)| {
                assert_eq!(depth.replace(1), 0, "a listener inside a listener");
                calls.set(calls.get() + 1);
                act(socket);
                depth.set(0);
            }
        };
        let on = enter.clone();
        socket.on_data(move |_, _| {
            on(&|socket| {
                socket.pause();
                socket.resume();
                socket.write("echo");
            });
        });
        let on = enter.clone();
        socket.on_pause(move |_| on(&|socket| socket.resume()));
        let on = enter.clone();
        socket.on_resume(move |_| {
            on(&|socket| {
                socket.write("echo");
            })
        });
        let on = enter.clone();
        socket.on_end(move |_| on(&|socket| socket.end_with("last")));
        let on = enter.clone();
        socket.on_finish(move |_| on(&|socket| socket.destroy_with("reason")));
        let on = enter.clone();
        socket.on_error(move |_, _| on(&|socket| socket.destroy()));
        let on = enter.clone();
        socket.on_close(move |_, _| {
            on(&|socket| {
                socket.write("gone");
            })
        });
        send_and_end(&peer, b"x");
        lp.run().unwrap();
        assert!(calls.get() >= 7, "{} calls", calls.get());
    });
}

#[test]
fn rule_8_long_chains_need_no_stack() {
    const LINKS: u32 = 200_000;

    /// A completion that writes again, on a tick that queues the next.
    fn write_again(socket: Socket, left: u32) {
        socket.write_then("", move |result| {
            result.unwrap();
            match left {
                0 => socket.destroy(),
                left => write_again(socket, left - 1),
            }
        });
    }

    fn tick_again(lp: nodeloop::LoopHandle, left: u32) {
        if left > 0 {
            lp.next_tick(move |lp| tick_again(lp, left - 1));
        }
    }

    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 30);
    let (socket, _peer) = pair(&lp);
    write_again(socket, LINKS);
    tick_again(lp.event_loop(), LINKS);
    lp.run().unwrap();
    assert!(socket.destroyed());
}

/// 'readable' was never told again.
#[test]
fn rule_6_who_panics_in_readable_is_told_again() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    // It panics before it reads, and reads the next time.
    let reading = || {
        let (mut panics, log) = (true, log.clone());
        move |read: &dyn Fn() -> Option<bytes::Bytes>| {
            assert!(!std::mem::take(&mut panics), "the first");
            log.note(String::from_utf8_lossy(&read().unwrap_or_default()));
        }
    };
    let (socket, mut peer) = pair(&lp);
    let mut read = reading();
    socket.on_readable(move |socket| read(&|| socket.read(2)));
    let stream = nodeloop::stream::Readable::new(&lp, |_, _| {});
    let mut read = reading();
    stream.on_readable(move |stream| read(&|| stream.read(2)));
    stream.push("a");
    assert!(caught(|| turn_until(&lp, || false)).contains("the first"));
    stream.push("b");
    turn_until(&lp, || log.has("ab"));
    peer.write_all(b"c").unwrap();
    assert!(caught(|| turn_until(&lp, || false)).contains("the first"));
    peer.write_all(b"d").unwrap();
    turn_until(&lp, || log.has("cd"));
}
