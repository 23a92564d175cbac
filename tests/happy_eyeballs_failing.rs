//! Names with several addresses where attempts end without a connection: all of them fail, are blocked, take
//! too long, or the socket is destroyed (N250–N260, RFC 8305). Which address wins is in
//! `tests/happy_eyeballs.rs`.

mod support;

use std::io;
use std::net::{SocketAddr, TcpListener};

use nodeloop::net::{self, BlockList, Socket};
use nodeloop::{Error, Loop};
use support::hosts::*;
use support::*;

fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        println!("skipped: this system has no IPv6");
    }
    has
}

#[test]
fn n255_n256_when_all_fail_the_error_has_all_of_them() {
    // N255, N256; N251: families take turns, and none is tried twice.
    if !has_ipv6() {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let hosts = [
        ("127.0.0.1", Refuses),
        ("127.0.0.2", Refuses),
        ("::1", Refuses),
    ];
    let network = Network::new(&hosts);
    let log = Recorder::new();
    let socket = net::connect(
        &lp,
        network.name(&["127.0.0.1", "127.0.0.2", "::1", "127.0.0.1"]),
    );
    let error = follow_connecting(socket, &log);
    socket.on_close(|socket, _| {
        assert_eq!(attempted(socket), ["127.0.0.1", "::1", "127.0.0.2"]);
    });
    lp.run().unwrap();
    log.expect(&[
        "attempt 127.0.0.1",
        "failed 127.0.0.1 ECONNREFUSED",
        "attempt ::1",
        "failed ::1 ECONNREFUSED",
        "attempt 127.0.0.2",
        "failed 127.0.0.2 ECONNREFUSED",
        "error ECONNREFUSED",
        "close true",
    ]);
    let error = error.take().unwrap();
    let port = network.port;
    let all =
        ["127.0.0.1", "::1", "127.0.0.2"].map(|ip| format!("connect ECONNREFUSED {ip}:{port}"));
    let messages: Vec<_> = error.errors().iter().map(Error::message).collect();
    assert_eq!(messages, all);
    assert_eq!((error.code(), error.message()), (Some("ECONNREFUSED"), ""));
    assert_eq!(
        (error.syscall(), error.address(), error.port()),
        (None, None, None)
    );
    assert_eq!(error.to_string(), all.join("; "));
}

/// It was `Other`, whatever the addresses had said.
#[test]
fn the_error_of_several_addresses_has_their_kind() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let network = Network::new(&[("127.0.0.1", Refuses), ("127.0.0.2", Refuses)]);
    net::connect(&lp, network.name(&["127.0.0.1", "127.0.0.2"]));
    let error = lp.run().unwrap_err();
    assert_eq!(error.errors().len(), 2);
    let kind = io::Error::from(error).kind();
    assert_eq!(kind, io::ErrorKind::ConnectionRefused);
}

#[test]
fn n254_one_address_alone_is_as_without() {
    // N254
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let network = Network::new(&[("127.0.0.1", Refuses)]);
    let log = Recorder::new();
    let socket = net::connect(&lp, network.name(&["127.0.0.1", "127.0.0.1"]));
    let error = follow_connecting(socket, &log);
    socket.on_close(|socket, _| assert!(attempted(socket).is_empty()));
    lp.run().unwrap();
    log.expect(&[
        "attempt 127.0.0.1",
        "failed 127.0.0.1 ECONNREFUSED",
        "error ECONNREFUSED",
        "close true",
    ]);
    let error = error.take().unwrap();
    assert_eq!(
        (error.errors().len(), error.syscall()),
        (0, Some("connect"))
    );
}

#[test]
fn n257_destroying_it_ends_all_attempts() {
    // N257
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let network = Network::new(&[
        ("127.0.0.1", Deaf),
        ("127.0.0.2", Deaf),
        ("127.0.0.3", Deaf),
    ]);
    let log = Recorder::new();
    let to = network.name(&["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    let socket = net::connect(&lp, to.auto_select_family_attempt_timeout(20));
    follow_connecting(socket, &log);
    // A tick later the last of them is under way.
    socket.on_connection_attempt(|socket, to| {
        if to.ip().to_string() == "127.0.0.3" {
            socket.event_loop().next_tick(move |_| socket.destroy());
        }
    });
    lp.run().unwrap();
    log.expect(&[
        "attempt 127.0.0.1",
        "timeout 127.0.0.1",
        "attempt 127.0.0.2",
        "timeout 127.0.0.2",
        "attempt 127.0.0.3",
        "failed 127.0.0.3 ECANCELED",
        "close false",
    ]);
    let counts = lp.counts();
    assert_eq!((counts.connects, counts.closes), (3, 3));
}

#[test]
fn n257_an_ipv6_address_is_named_as_in_other_errors() {
    if !has_ipv6() {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let network = Network::new(&[("::1", Deaf), ("127.0.0.1", Deaf)]);
    let port = network.port;
    let log = Recorder::new();
    let socket = net::connect(&lp, network.name(&["::1", "127.0.0.1"]));
    socket.on_connection_attempt(|socket, _| {
        socket.event_loop().next_tick(move |_| socket.destroy());
    });
    let inner = log.clone();
    socket.on_connection_attempt_failed(move |_, _, error| inner.note(error));
    lp.run().unwrap();
    log.expect(&[&format!("connect ECANCELED ::1:{port}")]);
}

#[test]
fn n257_destroyed_by_its_own_listeners() {
    // N257
    let network = Network::new(&[("127.0.0.1", Refuses), ("127.0.0.2", Listens)]);
    type Arm = fn(Socket);
    let cases: [(Arm, &[&str]); 3] = [
        (
            |socket| {
                socket.on_lookup(|socket, _, _| socket.destroy());
            },
            &["close false"],
        ),
        (
            |socket| {
                socket.on_connection_attempt(|socket, _| socket.destroy());
            },
            &["attempt 127.0.0.1", "close false"],
        ),
        (
            |socket| {
                socket.on_connection_attempt_failed(|socket, _, _| socket.destroy());
            },
            &[
                "attempt 127.0.0.1",
                "failed 127.0.0.1 ECONNREFUSED",
                "close false",
            ],
        ),
    ];
    for (arm, expected) in cases {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let log = Recorder::new();
        let socket = net::connect(&lp, network.name(&["127.0.0.1", "127.0.0.2"]));
        follow_connecting(socket, &log);
        arm(socket);
        lp.run().unwrap();
        log.expect(expected);
        assert!(lp.counts().connects <= 1);
    }
}

#[test]
fn n260_each_blocked_address_is_a_failed_attempt() {
    // N260
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let network = Network::new(&[("127.0.0.1", Listens), ("127.0.0.2", Listens)]);
    let name = || network.name(&["127.0.0.1", "127.0.0.2"]);
    let (log, list) = (Recorder::new(), BlockList::new());
    list.add_address("127.0.0.1").unwrap();
    let socket = net::connect(&lp, name().block_list(&list));
    follow_connecting(socket, &log);
    socket.on_connect(|socket| {
        assert_eq!(attempted(socket), ["127.0.0.2"]);
        socket.destroy();
    });
    lp.run().unwrap();
    log.expect(&[
        "failed 127.0.0.1 ERR_IP_BLOCKED",
        "attempt 127.0.0.2",
        "connect 127.0.0.2",
        "close false",
    ]);
    list.add_subnet("127.0.0.0", 8).unwrap();
    let socket = net::connect(&lp, name().block_list(&list));
    let error = follow_connecting(socket, &log);
    lp.run().unwrap();
    log.expect(&[
        "failed 127.0.0.1 ERR_IP_BLOCKED",
        "failed 127.0.0.2 ERR_IP_BLOCKED",
        "error ERR_IP_BLOCKED",
        "close true",
    ]);
    assert_eq!(error.take().unwrap().errors().len(), 2);
}

#[test]
fn a_deadline_ends_all_attempts() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let network = Network::new(&[("127.0.0.1", Deaf), ("127.0.0.2", Deaf)]);
    let log = Recorder::new();
    let to = network.name(&["127.0.0.1", "127.0.0.2"]);
    let to = to.auto_select_family_attempt_timeout(20).deadline(100);
    follow_connecting(net::connect(&lp, to), &log);
    lp.run().unwrap();
    log.expect(&[
        "attempt 127.0.0.1",
        "timeout 127.0.0.1",
        "attempt 127.0.0.2",
        "failed 127.0.0.2 ETIMEDOUT",
        "error ETIMEDOUT",
        "close true",
    ]);
    let counts = lp.counts();
    assert_eq!((counts.connects, counts.closes), (2, 2));
}

#[test]
fn a_local_port_is_bound_for_each() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let network = Network::new(&[("127.0.0.1", Refuses), ("127.0.0.2", Refuses)]);
    // Free at every address a moment ago.
    let anywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = anywhere.local_addr().unwrap().port();
    drop(anywhere);
    let to = network.name(&["127.0.0.1", "127.0.0.2"]).local_port(port);
    let log = Recorder::new();
    let error = follow_connecting(net::connect(&lp, to), &log);
    lp.run().unwrap();
    let error = error.take().unwrap();
    for (error, ip) in error.errors().iter().zip(["127.0.0.1", "127.0.0.2"]) {
        let to = SocketAddr::new(ip.parse().unwrap(), network.port);
        let expected = format!("connect ECONNREFUSED {to} - Local (0.0.0.0:{port})");
        assert_eq!(error.message(), expected);
    }
    assert_eq!(error.errors().len(), 2);
}

#[test]
fn connecting_again_while_several_are_tried_is_an_error() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let network = Network::new(&[("127.0.0.1", Deaf), ("127.0.0.2", Deaf)]);
    let log = Recorder::new();
    let to = network.name(&["127.0.0.1", "127.0.0.2"]);
    let socket = net::connect(&lp, to.clone());
    follow_connecting(socket, &log);
    lp.set_immediate(move |_| socket.connect(to.clone()).unwrap());
    lp.run().unwrap();
    log.expect(&[
        "attempt 127.0.0.1",
        "error EALREADY",
        "failed 127.0.0.1 ECANCELED",
        "close true",
    ]);
    assert_eq!(lp.counts().closes, 1);
}
