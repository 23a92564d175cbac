//! The re-entrancy contract, held by UDP sockets: handles that are gone, borrows, panics, listeners
//! that do anything.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use nodeloop::dgram::{self, Payload, Socket, SocketOptions, SocketType};
use nodeloop::{HandleInfo, HandleKind, Loop};
use support::udp::*;
use support::{Recorder, calls, caught, code, deadline, on_drop, turn_until};

/// What every call of a socket that is gone answers.
#[track_caller]
fn expect_gone(socket: Socket) {
    assert_eq!(code(socket.bind(0)), "ERR_HANDLE_GONE");
    assert_eq!(code(socket.bind_sync(0)), "ERR_HANDLE_GONE");
    assert_eq!(code(socket.address()), "ERR_HANDLE_GONE");
    assert_eq!(code(socket.send_to("x", 9)), "ERR_HANDLE_GONE");
    assert_eq!(code(socket.send("x")), "ERR_HANDLE_GONE");
    assert_eq!(code(socket.connect(9)), "ERR_HANDLE_GONE");
    assert_eq!(code(socket.connect_sync(9)), "ERR_HANDLE_GONE");
    assert_eq!(code(socket.disconnect()), "ERR_HANDLE_GONE");
    assert_eq!(code(socket.remote_address()), "ERR_HANDLE_GONE");
    assert_eq!(code(socket.set_ttl(1)), "ERR_HANDLE_GONE");
    assert_eq!(code(socket.recv_buffer_size()), "ERR_HANDLE_GONE");
    assert_eq!(
        code(socket.add_membership("224.0.0.114", None)),
        "ERR_HANDLE_GONE"
    );
    assert_eq!(code(socket.close()), "ERR_HANDLE_GONE");
    assert_eq!(
        (socket.send_queue_size(), socket.send_queue_count()),
        (0, 0)
    );
    assert!(!socket.has_ref());
}

#[test]
fn a_closed_socket_is_gone_and_its_successor_untouched() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, _) = bound(&lp);
    socket.on_message(|_, _, _| {});
    socket.close().unwrap();
    assert_eq!(code(socket.address()), "ERR_SOCKET_DGRAM_NOT_RUNNING");
    lp.run().unwrap();
    let (successor, address) = bound(&lp);
    expect_gone(socket);
    let log = Recorder::new();
    let touch: calls::Touch = Rc::new(|| {});
    for &(_, call) in calls::UDP {
        call(socket, &touch);
    }
    socket
        .send_to_then("x", 9, sent(&log, "send_to"))
        .unwrap_err();
    socket.send_then("x", sent(&log, "send")).unwrap_err();
    socket.connect_then(9, log.done("connect")).unwrap_err();
    // Completions come later, and once.
    log.expect(&[]);
    lp.run_nowait().unwrap();
    log.expect(&[
        "send_to ERR_HANDLE_GONE",
        "send ERR_HANDLE_GONE",
        "connect ERR_HANDLE_GONE",
    ]);
    assert_eq!(successor.address().unwrap(), address);
    assert!(successor.has_ref());
}

#[test]
fn handles_of_a_loop_that_is_gone_do_nothing() {
    let lp = Loop::new().unwrap();
    let (socket, address) = bound(&lp);
    let dropped = Rc::new(Cell::new(0));
    let dropping = dropped.clone();
    let held = on_drop(move || dropping.set(dropping.get() + 1));
    socket.on_message(move |_, _, _| held.hold());
    let dropping = dropped.clone();
    let held = on_drop(move || dropping.set(dropping.get() + 1));
    socket
        .send_to_then("x", address, move |_| held.hold())
        .unwrap();
    drop(lp);
    assert_eq!(dropped.get(), 2, "listeners and completions are dropped");
    expect_gone(socket);
    let touch: calls::Touch = Rc::new(|| panic!("its loop is gone"));
    for &(_, call) in calls::UDP {
        call(socket, &touch);
    }
    assert!(!socket.event_loop().is_alive());
    // The port is free.
    std::net::UdpSocket::bind(address).unwrap();
}

/// Rule 1: a borrow of the program's own around any call is never met again by that call.
#[test]
fn no_call_runs_a_listener_before_it_returns() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let borrowed = Rc::new(RefCell::new(0));
    let touching = borrowed.clone();
    let touch: calls::Touch = Rc::new(move || *touching.borrow_mut() += 1);
    lp.on_uncaught_error(|_, _| {});
    for &(name, call) in calls::UDP {
        println!("{name}");
        let socket = udp4(&lp);
        let touching = touch.clone();
        socket.on_listening(move |_| touching());
        let touching = touch.clone();
        socket.on_error(move |_, _| touching());
        let touching = touch.clone();
        socket.on_close(move |_| touching());
        let guard = borrowed.borrow_mut();
        call(socket, &touch);
        let _ = socket.bind_sync(("127.0.0.1", 0));
        call(socket, &touch);
        let _ = socket.connect_sync(9);
        call(socket, &touch);
        let _ = socket.close();
        call(socket, &touch);
        drop(guard);
        lp.run_nowait().unwrap();
    }
    // At least each socket's 'close'.
    assert!(*borrowed.borrow() >= calls::UDP.len());
}

/// Rule 2: every call may be made from every listener, and from the destructor of a listener.
#[test]
fn any_call_may_be_made_in_any_listener() {
    for &(name, call) in calls::UDP {
        println!("{name}");
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        lp.on_uncaught_error(|_, _| {});
        let (socket, address) = bound(&lp);
        let touch: calls::Touch = Rc::new(|| {});
        let called = Rc::new(Cell::new(0));
        let calling = {
            let (touch, called) = (touch.clone(), called.clone());
            move |socket: Socket| {
                called.set(called.get() + 1);
                call(socket, &touch);
            }
        };
        let (on_message, on_close, on_done) = (calling.clone(), calling.clone(), calling.clone());
        let on_drop_call = calling.clone();
        let held = on_drop(move || on_drop_call(socket));
        socket.once_message(move |socket, _, _| {
            held.hold();
            on_message(socket);
        });
        socket.on_listening(calling.clone());
        socket.on_close(on_close);
        socket
            .send_to_then("one", address, move |_| on_done(socket))
            .unwrap();
        // 'listening', the completion, and as many messages as come before it is closed.
        lp.run_nowait().unwrap();
        lp.set_timeout_once(0, move |_| {
            let _ = socket.close();
        });
        lp.run().unwrap();
        assert!(called.get() >= 3, "{name}: {}", called.get());
    }
}

#[test]
fn n279_close_in_a_message_listener_ends_them() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, address) = bound(&lp);
    let (peer, _) = peer();
    for number in 0..10 {
        peer.send_to(format!("{number}").as_bytes(), address)
            .unwrap();
    }
    follow(&log, socket);
    socket.on_message(|socket, message, _| {
        if message == b"3" {
            socket.close().unwrap();
        }
    });
    lp.run().unwrap();
    log.expect(&[
        "listening",
        "message 0",
        "message 1",
        "message 2",
        "message 3",
        "close",
    ]);
}

#[test]
fn n16_listeners_added_and_removed_during_an_emission() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, address) = bound(&lp);
    let (peer, _) = peer();
    let noting = |name: &'static str| {
        let log = log.clone();
        move |_: Socket, message: &[u8], _: nodeloop::dgram::RemoteInfo| {
            log.note(format!("{name} {}", message[0]));
        }
    };
    let later = noting("later");
    let added = Cell::new(false);
    let last = Rc::new(Cell::new(None));
    let removed = last.clone();
    let later = RefCell::new(Some(later));
    socket.on_message(move |socket, _, _| {
        if !added.replace(true) {
            socket.on_message(later.take().expect("taken once"));
            socket.off(removed.get().expect("it was added"));
        }
    });
    last.set(Some(socket.on_message(noting("removed"))));
    socket.once_message(noting("once"));
    for number in [1, 2] {
        peer.send_to(&[number], address).unwrap();
    }
    turn_until(&lp, || log.has("later 2"));
    log.expect(&["removed 1", "once 1", "later 2"]);
    socket.close().unwrap();
    lp.run().unwrap();
}

/// Rule 6: the batch goes on where the panic was.
#[test]
fn a_panic_loses_no_datagram() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, address) = bound(&lp);
    let (peer, from) = peer();
    for number in 0..5 {
        peer.send_to(format!("{number}").as_bytes(), address)
            .unwrap();
    }
    follow(&log, socket);
    socket.on_message(|socket, message, from| {
        socket.send_to(message, from).unwrap();
        assert_ne!(message, b"1", "a listener's panic");
    });
    assert!(caught(|| lp.run()).contains("a listener's panic"));
    log.expect(&["listening", "message 0", "message 1"]);
    turn_until(&lp, || log.has("message 4"));
    log.expect(&["message 2", "message 3", "message 4"]);
    // What was sent before the panic, and in the callback itself, has gone too.
    socket.close().unwrap();
    lp.run().unwrap();
    log.expect(&["close"]);
    let answers: Vec<_> = (0..4).map(|_| receive(&peer)).collect();
    assert_eq!(answers, [b"0", b"1", b"2", b"3"]);
    assert_eq!(peer.local_addr().unwrap(), from);
}

#[test]
fn an_error_that_ends_run_loses_no_datagram() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, address) = bound(&lp);
    let (peer, _) = peer();
    for number in 0..3 {
        peer.send_to(format!("{number}").as_bytes(), address)
            .unwrap();
    }
    let noted = log.clone();
    let nowhere = SocketOptions::new(SocketType::Udp4).lookup(|_, _, answer| answer.not_found());
    let other = dgram::create_socket(&lp, nowhere);
    socket.on_message(move |_, message, _| {
        noted.note(String::from_utf8_lossy(message));
        // Nobody listens to this 'error', which comes on a tick.
        let _ = other.send_to("x", ("not.a.name", 9));
    });
    assert_eq!(code(lp.run()), "ENOTFOUND");
    log.expect(&["0"]);
    assert_eq!(code(lp.run()), "ENOTFOUND");
    assert_eq!(code(lp.run()), "ENOTFOUND");
    log.expect(&["1", "2"]);
}

#[test]
fn a_kept_socket_stays_with_its_listeners_but_closed() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, _) = bound(&lp);
    let dropped = Rc::new(Cell::new(false));
    let dropping = dropped.clone();
    let held = on_drop(move || dropping.set(true));
    socket.on_message(move |_, _, _| held.hold());
    socket.keep();
    socket.close().unwrap();
    lp.run().unwrap();
    assert!(!dropped.get() && lp.handles()[0].kept);
    // As in Node a closed one cannot be bound again.
    assert_eq!(code(socket.bind(0)), "ERR_SOCKET_DGRAM_NOT_RUNNING");
    socket.release();
    assert!(dropped.get());
    let is_there = |handle: &HandleInfo| handle.kind == HandleKind::UdpSocket;
    assert!(!lp.handles().iter().any(is_there));
    expect_gone(socket);
}

#[test]
fn buffers_of_a_program_are_dropped_where_nothing_is_borrowed() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, address) = bound(&lp);
    /// A buffer whose end calls the loop.
    struct Buffer(Socket, Rc<Cell<u32>>);
    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            b"bytes"
        }
    }
    impl Drop for Buffer {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
            let _ = self.0.send_to("from a destructor", 9);
            let _ = self.0.address();
        }
    }
    let dropped = Rc::new(Cell::new(0));
    // Bytes go to other threads, which these never do: they are wrapped where the loop sees Bytes.
    let buffer = || Buffer(socket, dropped.clone());
    let sent = on_drop({
        let buffer = buffer();
        move || drop(buffer)
    });
    socket
        .send_to_then(
            Payload::list([buffer().as_ref(), b"more"]),
            address,
            move |_| sent.hold(),
        )
        .unwrap();
    let unsent = on_drop({
        let buffer = buffer();
        move || drop(buffer)
    });
    socket
        .send_to_then("never", address, move |_| unsent.hold())
        .unwrap();
    socket.event_loop().set_immediate(move |_| {
        let _ = socket.close();
    });
    lp.run().unwrap();
    assert_eq!(dropped.get(), 3);
}
