//! How long a connection may take to be made: `ConnectOptions::deadline`, which Node does not have.
//! The error is what the system says when it gives up.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use nodeloop::Loop;
use nodeloop::net::{self, ConnectOptions, Socket};
use support::traced::{deaf, raw_listener, refusing};
use support::*;

#[test]
fn a_connection_that_takes_too_long_fails() {
    for spurious in [false, true] {
        let builder = Loop::builder().spurious_events(spurious);
        let lp = builder.build().unwrap();
        let _deadline = deadline(&lp, 10);
        let (_sockets, address) = deaf();
        let log = Recorder::new();
        let socket = net::connect(&lp, target(address).deadline(Duration::from_millis(40)));
        let started = lp.now();
        log.follow(socket);
        let inner = log.clone();
        socket.on_connection_attempt_failed(move |_, to, error| {
            assert_eq!(to, address);
            inner.note(format!("attempt failed {}", code_of(error)));
        });
        socket.on_error(move |socket, error| {
            assert_eq!(error.code(), Some("ETIMEDOUT"));
            assert_eq!(error.syscall(), Some("connect"));
            assert_eq!(error.address(), Some("127.0.0.1"));
            assert_eq!(error.port(), Some(address.port()));
            assert_eq!(error.to_string(), format!("connect ETIMEDOUT {address}"));
            let passed = socket.event_loop().now() - started;
            assert!(passed >= 40, "after {passed} ms of 40");
        });
        socket.write_then("x", log.done("write"));
        lp.run().unwrap();
        log.expect(&[
            "attempt failed ETIMEDOUT",
            "error ETIMEDOUT",
            "write ERR_SOCKET_CLOSED_BEFORE_CONNECTION",
            "close true",
        ]);
    }
}

#[test]
fn among_many_each_connection_has_its_deadline() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let asked = Rc::new(RefCell::new(Vec::new()));
    let late = Rc::new(Cell::new(0));
    // More than are kept without a look at which of them still mean something.
    const MANY: u64 = 500;
    for index in 0..MANY {
        let asked = asked.clone();
        let never = ConnectOptions::new("never", 1)
            .lookup(move |_, _, answer| asked.borrow_mut().push(answer))
            .deadline(20 + index % 7);
        let late = late.clone();
        let socket = net::connect(&lp, never);
        let started = lp.now();
        socket.on_error(move |socket, error| {
            assert_eq!(error.code(), Some("ETIMEDOUT"));
            let passed = socket.event_loop().now() - started;
            assert!(passed >= 20 + index % 7, "{index} after {passed} ms");
            late.set(late.get() + 1);
        });
    }
    // Deadlines hold no loop, nor do look-ups of one's own.
    lp.set_timeout_once(10_000, |_| {});
    turn_until(&lp, || late.get() == MANY);
    assert_eq!(asked.borrow().len() as u64, MANY);
}

#[test]
fn a_connection_that_stands_in_time_or_fails_otherwise_hears_no_more_of_it() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (_listener, address) = raw_listener();
    let to = target(address).deadline(1000);
    let connected = net::connect(&lp, to);
    log.follow_but_data(connected);
    connected.on_connect(log.noting("connect"));
    let (_socket, address) = refusing("127.0.0.1");
    let refused = net::connect(&lp, target(address).deadline(1000));
    log.follow_but_data(refused);
    let (_sockets, address) = deaf();
    let destroyed = net::connect(&lp, target(address).deadline(1000));
    log.follow_but_data(destroyed);
    turn_until(&lp, || log.has("connect") && log.has("close true"));
    destroyed.destroy();
    let over = Rc::new(Cell::new(false));
    let inner = over.clone();
    lp.set_timeout_once(1100, move |_| inner.set(true));
    turn_until(&lp, || over.get());
    assert!(connected.writable());
    let mut noted = log.take();
    // Which of the first two comes first is the kernel's affair.
    noted.sort();
    let expected = ["close false", "close true", "connect", "error ECONNREFUSED"];
    assert_eq!(noted, expected);
}

#[test]
fn the_deadline_of_one_attempt_is_not_that_of_the_next() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (_sockets, address) = deaf();
    let log = Recorder::new();
    let socket = net::connect(&lp, target(address).deadline(30));
    let started = Rc::new(Cell::new(0));
    let (inner, again) = (log.clone(), started.clone());
    socket.on_error(move |socket, error| {
        let passed = socket.event_loop().now() - again.get();
        assert!(passed >= 60, "after {passed} ms of 60");
        inner.note(format!("error {}", code_of(error)));
    });
    let again = started.clone();
    socket.once_close(move |socket, had_error| {
        assert!(!had_error);
        let to = target(address).deadline(60);
        socket.connect(to).unwrap();
        again.set(socket.event_loop().now());
    });
    socket.destroy();
    lp.run().unwrap();
    log.expect(&["error ETIMEDOUT"]);
}

#[test]
fn a_socket_whose_connection_took_too_long_can_be_used_again() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (_sockets, nobody) = deaf();
    let (listener, somebody) = raw_listener();
    let log = Recorder::new();
    let socket = net::connect(&lp, ConnectOptions::from(nobody).deadline(10));
    log.follow(socket);
    socket.on_connect(log.noting("connect"));
    socket.once_close(move |socket, _| {
        socket.connect(target(somebody)).unwrap();
        socket.end_with("x");
    });
    let peer = std::thread::spawn(move || read_to_end(&listener.accept().unwrap().0));
    lp.run().unwrap();
    let events = ["error ETIMEDOUT", "close true", "connect", "finish", "end"];
    log.expect(&[&events[..], &["close false"]].concat());
    assert_eq!(join(peer), b"x");
}

#[test]
fn a_write_in_the_life_after_an_attempt_that_was_given_up_is_sent() {
    // As above, but given up by `destroy`, and for each way to write.
    let writes: [fn(Socket); 3] = [
        |socket| socket.end_with("x"),
        |socket| {
            socket.write("x");
            socket.end();
        },
        |socket| {
            socket.once_connect(|socket| socket.end_with("x"));
        },
    ];
    for write in writes {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let (_sockets, nobody) = deaf();
        let (listener, somebody) = raw_listener();
        let log = Recorder::new();
        let socket = net::connect(&lp, nobody);
        log.follow(socket);
        socket.write_then("never", log.done("never"));
        lp.run_nowait().unwrap();
        socket.once_close(move |socket, _| {
            socket.connect(target(somebody)).unwrap();
            write(socket);
        });
        socket.destroy();
        let peer = std::thread::spawn(move || read_to_end(&listener.accept().unwrap().0));
        lp.run().unwrap();
        log.expect(&[
            "never ERR_SOCKET_CLOSED_BEFORE_CONNECTION",
            "close false",
            "finish",
            "end",
            "close false",
        ]);
        assert_eq!(join(peer), b"x");
    }
}
