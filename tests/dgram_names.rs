//! Host names of UDP sockets: binding, connecting and sending to them, in order and within bounds.
//!
//! Look-up functions make the tests independent of a network; one asks the system for `localhost`.

mod support;

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use nodeloop::dgram::{self, Socket, SocketOptions, SocketType};
use nodeloop::dns::LookupAnswer;
use nodeloop::{Loop, Result};
use support::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Questions that wait for an answer, with their names.
type Questions = Rc<RefCell<Vec<(String, LookupAnswer)>>>;

/// A socket whose names are looked up by the test.
fn asking(lp: &Loop) -> (Socket, Questions) {
    let questions = Questions::default();
    let asked = questions.clone();
    let options = SocketOptions::new(SocketType::Udp4).lookup(move |host, _, answer| {
        asked.borrow_mut().push((host.to_string(), answer));
    });
    (dgram::create_socket(lp, options), questions)
}

/// Answers the oldest question.
fn answer(questions: &Questions, name: &str) {
    let (asked, answer) = questions.borrow_mut().remove(0);
    assert_eq!(asked, name);
    answer.found([HERE]);
}

/// A socket that notes what it gets, and its address.
fn receiver(lp: &Loop, log: &Recorder) -> (Socket, SocketAddr) {
    let socket = dgram::create_socket(lp, SocketType::Udp4);
    let address = socket.bind_sync((HERE, 0)).unwrap();
    let log = log.clone();
    socket.on_message(move |_, message, _| log.note(String::from_utf8_lossy(message)));
    (socket, address)
}

#[test]
fn localhost_is_asked_of_the_system() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (receiver, to) = receiver(&lp, &log);
    let socket = dgram::create_socket(&lp, SocketType::Udp4);
    socket.bind(("localhost", 0)).unwrap();
    let log_too = log.clone();
    socket
        .send_to_then("to a name", ("localhost", to.port()), move |sent| {
            log_too.note(format!("sent {}", sent.unwrap()));
        })
        .unwrap();
    assert!(lp.is_alive(), "a look-up holds the loop");
    turn_until(&lp, || log.has("to a name") && log.has("sent 9"));
    assert_eq!(socket.address().unwrap().ip(), HERE);
    socket.close().unwrap();
    receiver.close().unwrap();
    lp.run().unwrap();
}

#[test]
fn datagrams_keep_their_order_while_names_are_looked_up() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (_receiver, to) = receiver(&lp, &log);
    let (socket, questions) = asking(&lp);
    socket.bind_sync((HERE, 0)).unwrap();
    let port = to.port();
    socket.send_to("1", ("one", port)).unwrap();
    socket.send_to("2", ("one", port)).unwrap();
    socket.send_to("3", to).unwrap();
    socket.send_to("4", ("two", port)).unwrap();
    socket.send_to("5", to).unwrap();
    turn_until(&lp, || !questions.borrow().is_empty());
    // N293, but for the order and for addresses, which need no look-up.
    assert_eq!(questions.borrow().len(), 1, "one name at a time");
    assert_eq!(socket.send_queue_count(), 0);
    answer(&questions, "one");
    turn_until(&lp, || {
        log.count("3") == 1 && !questions.borrow().is_empty()
    });
    // Behind the second name as well.
    socket.send_to("6", to).unwrap();
    answer(&questions, "two");
    turn_until(&lp, || log.count("6") == 1);
    log.expect(&["1", "2", "3", "4", "5", "6"]);
    assert!(questions.borrow().is_empty(), "each name is asked for once");
}

#[test]
fn a_name_that_is_not_found_fails_its_datagrams_only() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (_receiver, to) = receiver(&lp, &log);
    let (socket, questions) = asking(&lp);
    socket.bind_sync((HERE, 0)).unwrap();
    let log_too = log.clone();
    socket.on_error(move |_, error| log_too.note(format!("error {error}")));
    let log_too = log.clone();
    let port = to.port();
    socket
        .send_to_then("1", ("nowhere", port), move |sent| {
            log_too.note(format!("told {}", code(sent)));
        })
        .unwrap();
    socket.send_to("2", ("nowhere", port)).unwrap();
    socket.send_to("3", to).unwrap();
    turn_until(&lp, || !questions.borrow().is_empty());
    let (_, answer) = questions.borrow_mut().remove(0);
    answer.not_found();
    turn_until(&lp, || log.has("3"));
    log.expect(&["told ENOTFOUND", "error getaddrinfo ENOTFOUND nowhere", "3"]);
}

#[test]
fn what_waits_for_a_name_is_bounded() {
    let lp = Loop::new().unwrap();
    let questions = Questions::default();
    let asked = questions.clone();
    let options = SocketOptions::new(SocketType::Udp4)
        .max_queued(10, 1000)
        .lookup(move |host, _, answer| asked.borrow_mut().push((host.to_string(), answer)));
    let socket = dgram::create_socket(&lp, options);
    socket.bind_sync((HERE, 0)).unwrap();
    let refused = Rc::new(Cell::new(0));
    for _ in 0..100 {
        let refused = refused.clone();
        let done = move |sent| {
            assert_eq!(code(sent), "ENOBUFS");
            refused.set(refused.get() + 1);
        };
        socket.send_to_then("x", ("silent", 9), done).unwrap();
    }
    lp.run_nowait().unwrap();
    assert_eq!(refused.get(), 90);
    // N278: what waits is forgotten.
    socket.close().unwrap();
    lp.run().unwrap();
    assert_eq!(refused.get(), 90);
}

#[test]
fn a_closed_socket_waits_for_no_answer() {
    for late in [false, true] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let (socket, questions) = asking(&lp);
        let log = Recorder::new();
        let log_too = log.clone();
        socket.on_close(move |_| log_too.note("close"));
        socket.bind(("here", 0)).unwrap();
        lp.run_nowait().unwrap();
        assert_eq!(questions.borrow().len(), 1);
        // N54: it holds nothing.
        assert!(!lp.is_alive());
        socket.close().unwrap();
        if late {
            lp.run().unwrap();
        }
        answer(&questions, "here");
        lp.run().unwrap();
        log.expect(&["close"]);
    }
}

#[test]
fn a_look_up_of_the_system_ends_with_its_socket() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let socket = dgram::create_socket(&lp, SocketType::Udp4);
    socket.bind(("localhost", 0)).unwrap();
    socket.close().unwrap();
    let log = Recorder::new();
    let log_too = log.clone();
    socket.on_close(move |_| log_too.note("close"));
    lp.run().unwrap();
    log.expect(&["close"]);
}

#[test]
fn connecting_to_a_name() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (_receiver, to) = receiver(&lp, &log);
    let (socket, questions) = asking(&lp);
    let log_too = log.clone();
    socket
        .connect_then(("peer", to.port()), move |connected| {
            log_too.note(format!("connected {}", connected.is_ok()));
            socket.send("to the peer").unwrap();
        })
        .unwrap();
    turn_until(&lp, || !questions.borrow().is_empty());
    answer(&questions, "peer");
    turn_until(&lp, || log.has("to the peer"));
    assert_eq!(socket.remote_address().unwrap(), to);
    log.expect(&["connected true", "to the peer"]);

    let (socket, questions) = asking(&lp);
    let log_too = log.clone();
    socket
        .connect_then(("nobody", 9), move |connected| {
            log_too.note(code(connected))
        })
        .unwrap();
    turn_until(&lp, || !questions.borrow().is_empty());
    let (_, answer) = questions.borrow_mut().remove(0);
    drop(answer);
    turn_until(&lp, || log.has("ECANCELED"));
    // It may be connected again.
    socket.connect(("peer", to.port())).unwrap();
}

#[test]
fn binding_to_a_name_that_is_not_found() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, questions) = asking(&lp);
    let log = Recorder::new();
    let log_too = log.clone();
    socket.on_error(move |_, error| log_too.note(code_of(error)));
    socket.bind(("nowhere", 0)).unwrap();
    turn_until(&lp, || !questions.borrow().is_empty());
    questions.borrow_mut().remove(0).1.not_found();
    turn_until(&lp, || log.has("ENOTFOUND"));
    // N262: it may be bound again.
    socket.bind((HERE, 0)).unwrap();
    lp.run_nowait().unwrap();
    assert_eq!(socket.address().unwrap().ip(), HERE);
}

/// It was an address without a zone.
#[test]
fn an_address_with_an_empty_zone_is_a_name() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, questions) = asking(&lp);
    assert_eq!(code(socket.bind_sync(("::1%", 0))), "ERR_INVALID_ARG_VALUE");
    assert_eq!(
        code(socket.connect_sync(("::1%", 9))),
        "ERR_INVALID_ARG_VALUE"
    );
    socket.bind(("::1%", 0)).unwrap();
    turn_until(&lp, || !questions.borrow().is_empty());
    answer(&questions, "::1%");
    turn_until(&lp, || socket.address().is_ok());
    socket.send_to("x", ("::1%", 9)).unwrap();
    turn_until(&lp, || !questions.borrow().is_empty());
    answer(&questions, "::1%");
    socket.close().unwrap();
    lp.run().unwrap();
}

#[test]
fn a_name_of_a_socket_for_ipv6_is_looked_up_as_one() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    for socket_type in [SocketType::Udp4, SocketType::Udp6] {
        let inner = log.clone();
        let options = SocketOptions::new(socket_type).lookup(move |host, options, answer| {
            inner.note(format!("{host:?} {:?}", options.get_family()));
            answer.not_found();
        });
        let socket = dgram::create_socket(&lp, options);
        socket.on_error(|_, _| {});
        // A user's function may understand what no resolver is asked for.
        socket.bind(("a\0b", 0))?;
    }
    lp.run()?;
    log.expect(&[r#""a\0b" Some(V4)"#, r#""a\0b" Some(V6)"#]);
    Ok(())
}

#[test]
fn an_empty_name_is_none() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let socket = dgram::create_socket(&lp, SocketType::Udp4);
    let address = socket.bind_sync(("", 0))?;
    assert!(address.ip().is_unspecified());
    socket.on_message(|socket, _, _| socket.close().unwrap());
    socket.send_to("x", ("", address.port()))?;
    lp.run()
}
