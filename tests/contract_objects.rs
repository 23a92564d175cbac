//! The re-entrancy contract, rules 3 and 4: events of objects that are over, the two steps of
//! destroying, when slots are freed, and handles that outlive their object.

mod support;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::sync::mpsc;

use nodeloop::net::{ReadyState, Socket};
use nodeloop::stream::DuplexOptions;
use nodeloop::{AsLoop, HandleKind, Loop, Timer};
use support::calls;
use support::*;

/// How many objects of a kind live in the loop.
fn living(lp: &impl AsLoop, kind: HandleKind) -> usize {
    let handles = lp.event_loop().handles();
    handles.iter().filter(|handle| handle.kind == kind).count()
}

#[test]
fn rule_3_an_event_of_a_socket_destroyed_in_the_same_batch_is_not_delivered() {
    // N144
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 10);
        let log = Recorder::new();
        let (first, peer_of_first) = pair(lp);
        let (second, peer_of_second) = pair(lp);
        for (name, socket, other) in [("first", first, second), ("second", second, first)] {
            let log = log.clone();
            socket.on_data(move |socket, _| {
                log.note(format!("{name} data"));
                other.destroy();
                // And itself.
                socket.destroy();
            });
        }
        for socket in [first, second] {
            let log = log.clone();
            socket.on_close(move |_, _| log.note("close"));
        }
        lp.run_nowait().unwrap();
        // Both are ready in one wait.
        (&peer_of_first).write_all(b"x").unwrap();
        (&peer_of_second).write_all(b"x").unwrap();
        lp.run().unwrap();
        let events = log.take();
        // Which of them comes first is the kernel's affair.
        assert!(events[0].ends_with(" data"), "{events:?}");
        assert_eq!(events[1..], ["close", "close"]);
    });
}

#[test]
fn rule_4_the_descriptor_is_closed_by_destroy_and_close_comes_later() {
    // N127, N147
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, peer) = pair(&lp);
    log.follow_but_data(socket);
    let inner = log.clone();
    lp.set_immediate(move |_| {
        socket.destroy();
        // The peer sees the end while the listener still runs.
        inner.note(ending(&peer));
        assert!(socket.destroyed());
        assert_eq!(socket.ready_state(), ReadyState::Closed);
        socket.event_loop().next_tick(inner.noting("tick"));
    });
    lp.run().unwrap();
    log.expect(&["end", "tick", "close false"]);
}

#[test]
fn rule_4_a_listening_port_is_free_when_close_returns() {
    if tcp_only("it is about ports") {
        return;
    }
    // N78
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (server, address) = listening(&lp, |_| {});
    server.close();
    try_connect(address).unwrap_err();
    std::net::TcpListener::bind(address).unwrap();
    lp.run().unwrap();
}

#[test]
fn rule_4_the_slot_is_freed_when_close_and_its_ticks_have_run() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, _peer) = pair(&lp);
    socket.write("four");
    let inner = log.clone();
    let note = move |when: &str, socket: Socket| {
        inner.note(format!("{when} {}", socket.bytes_written()));
    };
    socket.on_close(move |socket, _| {
        note("close", socket);
        let note = note.clone();
        socket.event_loop().next_tick(move |lp| {
            note("tick", socket);
            lp.next_tick(move |lp| {
                note("tick of a tick", socket);
                lp.set_timeout_once(1, move |_| note("timer", socket));
            });
        });
    });
    socket.destroy();
    lp.run().unwrap();
    log.expect(&["close 4", "tick 4", "tick of a tick 4", "timer 0"]);
    expect_gone(socket);
    assert_eq!(living(&lp, HandleKind::Socket), 0);
}

#[test]
fn rule_4_a_server_that_listens_again_in_its_own_close_lives_on() {
    // N73
    for on_tick in [false, true] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let log = Recorder::new();
        let (server, first) = listening(&lp, |_| {});
        let inner = log.clone();
        server.on_listening(move |_| inner.note("listening"));
        let inner = log.clone();
        server.once_close(move |server| {
            inner.note("close");
            let listen = move || server.listen(at(first)).unwrap();
            match on_tick {
                false => listen(),
                true => server.event_loop().next_tick(move |_| listen()),
            }
        });
        let inner = log.clone();
        server.on_connection(move |server, socket| {
            inner.note("connection");
            socket.destroy();
            server.close();
        });
        turn_until(&lp, || log.has("listening"));
        server.close();
        turn_until(&lp, || log.count("listening") == 2);
        let _peer = connect(first);
        lp.run().unwrap();
        log.expect(&["listening", "close", "listening", "connection"]);
        assert_eq!(living(&lp, HandleKind::Server), 0);
    }
}

#[test]
fn rule_4_keep_and_listen_again_from_a_timer() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (server, address) = listening(&lp, |socket| socket.destroy());
    server.on_listening(log.noting("listening"));
    let inner = log.clone();
    server.on_close(move |server| {
        inner.note("close");
        server.event_loop().set_timeout_once(5, move |_| {
            if server.has_ref() {
                server.unref();
                server.listen(at(address)).unwrap();
                server.set_ref();
                connect(address);
            }
        });
    });
    server.on_connection(move |server, _| {
        server.release();
        server.close();
    });
    server.keep();
    server.close();
    lp.run().unwrap();
    // The timer of the second 'close' finds a server that is gone.
    log.expect(&["close", "listening", "close"]);
    assert!(!server.has_ref());
    assert_eq!(living(&lp, HandleKind::Server), 0);
    assert_eq!(code(server.listen(address)), "ERR_HANDLE_GONE");
}

#[test]
fn rule_4_a_kept_socket_has_its_last_values_until_release() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let log = Recorder::new();
    let ended = on_drop({
        let log = log.clone();
        move || log.note("dropped")
    });
    socket.on_data(move |_, _| ended.hold());
    socket.keep();
    socket.write("12345");
    send_and_end(&peer, b"123");
    lp.run().unwrap();
    assert!(!lp.is_alive(), "what is kept holds no loop");
    let kept: Vec<_> = lp.handles().into_iter().filter(|info| info.kept).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].kind, HandleKind::Socket);
    assert_eq!((socket.bytes_read(), socket.bytes_written()), (3, 5));
    // A Unix socket's peer has none.
    assert_eq!(socket.remote_address(), peer.local_addr().ok());
    log.expect(&[]);
    socket.release();
    log.expect(&["dropped"]);
    expect_gone(socket);
}

#[test]
fn rule_4_n29_refresh_inside_the_callback() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let mut left = 3;
    let log = Recorder::new();
    let inner = log.clone();
    let timer = lp.set_timeout(1, move |timer: Timer| {
        left -= 1;
        inner.note(left);
        if left > 0 {
            timer.refresh();
        }
    });
    lp.run().unwrap();
    log.expect(&["2", "1", "0"]);
    assert_eq!(living(&lp, HandleKind::Timer), 0);
    // It is gone: this does nothing.
    timer.refresh();
    assert!(!lp.is_alive());
    assert!(!timer.has_ref());
}

#[test]
fn rule_4_n29_refresh_in_a_tick_of_the_callback() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let mut times = 0;
    let log = Recorder::new();
    let inner = log.clone();
    lp.set_timeout(1, move |timer: Timer| {
        times += 1;
        inner.note(times);
        if times == 1 {
            timer.event_loop().next_tick(move |_| timer.refresh());
        }
    });
    lp.run().unwrap();
    log.expect(&["1", "2"]);
}

#[test]
fn rule_4_n29_refresh_later_with_keep() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let ended = on_drop({
        let log = log.clone();
        move || log.note("dropped")
    });
    let inner = log.clone();
    let timer = lp.set_timeout(1, move |_| {
        ended.hold();
        inner.note("fired");
    });
    timer.keep();
    lp.run().unwrap();
    log.expect(&["fired"]);
    timer.refresh();
    assert!(lp.is_alive());
    lp.run().unwrap();
    log.expect(&["fired"]);
    timer.release();
    log.expect(&["dropped"]);
    timer.refresh();
    assert!(!lp.is_alive());
}

#[test]
fn rule_4_n30_refresh_of_a_cleared_timer_does_nothing() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let inner = log.clone();
    lp.set_timeout(1, move |timer: Timer| {
        inner.note("fired");
        timer.keep();
        timer.clear();
        timer.refresh();
    });
    lp.run().unwrap();
    log.expect(&["fired"]);
}

/// Whether two handles name the same slot, as far as their `Debug` tells: `Socket(loop.slot#serial)`.
fn share_a_slot(one: &dyn std::fmt::Debug, other: &dyn std::fmt::Debug) -> bool {
    let slot = |handle: &dyn std::fmt::Debug| {
        let text = format!("{handle:?}");
        let (slot, _) = text.split_once('#').expect("a serial");
        slot.to_string()
    };
    slot(one) == slot(other)
}

#[test]
fn a_stale_socket_after_its_slot_was_reused_reaches_nobody() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let accepted = Rc::new(RefCell::new(Vec::<Socket>::new()));
    let sockets = accepted.clone();
    let (server, address) = listening(&lp, move |socket| sockets.borrow_mut().push(socket));
    let accept = || {
        let peer = connect(address);
        turn_until(&lp, || !accepted.borrow().is_empty());
        (accepted.borrow_mut().remove(0), peer)
    };
    let (old, _) = accept();
    old.destroy();
    lp.run_nowait().unwrap();
    expect_gone(old);
    let (new, peer) = accept();
    assert!(share_a_slot(&old, &new), "{old:?} {new:?}");
    assert_ne!(old, new);
    let touch: calls::Touch = Rc::new(|| {});
    for &(name, call) in calls::SOCKET {
        call(old, &touch);
        assert!(!new.destroyed(), "{name} reached another socket");
        assert!(new.writable() && new.has_ref(), "{name}");
        assert_eq!(new.bytes_written(), 0, "{name}");
        assert_eq!(new.readable_flowing(), None, "{name}");
    }
    expect_gone(old);
    server.close();
    let log = Recorder::new();
    log.follow(new);
    send_and_end(&peer, b"x");
    lp.run().unwrap();
    log.expect(&["data x", "end", "finish", "close false"]);
}

#[test]
fn a_stale_server_after_its_slot_was_reused_reaches_nobody() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (old, _) = listening(&lp, |_| {});
    old.close();
    lp.run().unwrap();
    let (new, address) = listening(&lp, |socket| socket.destroy());
    assert!(share_a_slot(&old, &new), "{old:?} {new:?}");
    let touch: calls::Touch = Rc::new(|| {});
    for &(name, call) in calls::SERVER {
        call(old, &touch);
        assert!(
            new.listening() && new.has_ref(),
            "{name} reached another server"
        );
        assert!(!old.listening() && !old.has_ref(), "{name}");
    }
    new.on_connection(|server, _| server.close());
    let peer = connect(address);
    lp.run().unwrap();
    assert_eq!(ending(&peer), "end");
}

#[test]
fn a_stale_timer_after_its_slot_was_reused_reaches_nobody() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let old = lp.set_timeout(1, |_| {});
    old.clear();
    let log = Recorder::new();
    let new = lp.set_timeout(1, log.noting("fired"));
    old.clear();
    old.unref();
    old.refresh();
    old.keep();
    assert!(new.has_ref() && !old.has_ref());
    assert_ne!(old, new);
    lp.run().unwrap();
    log.expect(&["fired"]);
}

#[test]
fn the_closing_phase_of_a_server_leaves_the_socket_in_its_slot_alone() {
    // A server that is closed while the loop polls is freed with the ticks, before its turn in
    // the closing phase comes. The next socket gets its slot, and has a write in flight by then.
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (closed, address_of_closed) = listening(&lp, |socket| socket.destroy());
    closed.on_connection(|server, _| server.close());
    let written = Rc::new(RefCell::new(Some(log.done("written"))));
    // A reader at work would make room for more than the kernel has.
    let (go, gone_on) = mpsc::channel();
    let (_, address) = listening(&lp, move |socket| {
        let written = written.borrow_mut().take().expect("one connection");
        assert!(!socket.write_then(vec![0; 8 << 20], written), "taken whole");
        go.send(()).unwrap();
        socket.end();
        socket.server().unwrap().close();
    });
    let first = connect(address_of_closed);
    let second = connect(address);
    let reader = std::thread::spawn(move || {
        gone_on.recv().unwrap();
        read_to_end(&second).len()
    });
    lp.run().unwrap();
    drop(first);
    assert_eq!(join(reader), 8 << 20);
    log.expect(&["written ok"]);
}

#[test]
fn a_stream_whose_maker_holds_its_answer_is_freed_when_it_is_closed() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let held = Rc::new(Cell::new(None));
    // Both sides hold what the sink owes: the usual way from one to the other.
    let (sink, source) = (held.clone(), held.clone());
    let stream = DuplexOptions::new()
        .write(move |_, _, done| sink.set(Some(done)))
        .read(move |_, _| drop(source.take()))
        .create(&lp);
    let weak = Rc::downgrade(&held);
    drop(held);
    stream.write("never answered");
    lp.run().unwrap();
    assert_eq!(living(&lp, HandleKind::Stream), 1);
    let log = Recorder::new();
    stream.on_close(log.noting("close"));
    stream.destroy();
    lp.run().unwrap();
    log.expect(&["close"]);
    assert_eq!(living(&lp, HandleKind::Stream), 0);
    assert!(weak.upgrade().is_none());
}
