//! Names with several addresses, in networks of every kind: which address is tried, when, and which one
//! wins (N250–N260, RFC 8305). How it ends without a connection is in `tests/happy_eyeballs_failing.rs`.
//!
//! The addresses are those of `tests/support/hosts.rs`. One test makes a network of its own, with an
//! address where nobody is.

mod support;

use std::cell::RefCell;
use std::io::Read;
use std::net::{IpAddr, TcpStream};
use std::rc::Rc;

use nodeloop::Loop;
use nodeloop::net::{self, Family};
use support::hosts::*;
use support::own_network::in_own_network;
use support::*;

#[test]
fn n252_one_that_refuses_has_the_next_begin_at_once() {
    // N252
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 10);
        let network = Network::new(&[("127.0.0.1", Refuses), ("127.0.0.2", Listens)]);
        let log = Recorder::new();
        let to = network.name(&["127.0.0.1", "127.0.0.2"]);
        // It does not wait for this.
        let socket = net::connect(lp, to.auto_select_family_attempt_timeout(60_000));
        follow_connecting(socket, &log);
        socket.on_connect(|socket| {
            assert_eq!(attempted(socket), ["127.0.0.1", "127.0.0.2"]);
            socket.destroy();
        });
        lp.run().unwrap();
        log.expect(&[
            "attempt 127.0.0.1",
            "failed 127.0.0.1 ECONNREFUSED",
            "attempt 127.0.0.2",
            "connect 127.0.0.2",
            "close false",
        ]);
        let counts = lp.counts();
        assert_eq!((counts.connects, counts.closes), (2, 2));
    });
}

#[test]
fn a_black_hole_delays_by_the_attempt_timeout_and_is_closed_when_another_wins() {
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 10);
        let network = Network::new(&[("127.0.0.1", Deaf), ("127.0.0.2", Listens)]);
        let log = Recorder::new();
        let to = network.name(&["127.0.0.1", "127.0.0.2"]);
        let started = lp.now();
        let socket = net::connect(lp, to.auto_select_family_attempt_timeout(50));
        follow_connecting(socket, &log);
        let at = Rc::new(RefCell::new(0));
        let seen = at.clone();
        socket.on_connect(move |socket| {
            seen.replace(socket.event_loop().now());
            socket.destroy();
        });
        lp.run().unwrap();
        log.expect(&[
            "attempt 127.0.0.1",
            "timeout 127.0.0.1",
            "attempt 127.0.0.2",
            "connect 127.0.0.2",
            "close false",
        ]);
        let took = *at.borrow() - started;
        println!("connected after {took} ms");
        // The deaf one's next chance would come after a second.
        assert!((50..900).contains(&took), "after {took} ms");
        let counts = lp.counts();
        assert_eq!((counts.connects, counts.closes), (2, 2));
    });
}

#[test]
fn a_slow_route_is_not_given_up_because_the_next_has_begun() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 30);
    let mut network = Network::new(&[("127.0.0.1", Deaf), ("127.0.0.2", Deaf)]);
    let slow = network.listener("127.0.0.1");
    let log = Recorder::new();
    let to = network.name(&["127.0.0.1", "127.0.0.2"]);
    let socket = net::connect(&lp, to.auto_select_family_attempt_timeout(20));
    follow_connecting(socket, &log);
    // Once both are under way there is room at the first. The kernel tries again by itself.
    let mut crowd = Some(network);
    socket.on_connection_attempt(move |_, to| {
        if to.ip().to_string() == "127.0.0.2" {
            let slow = slow.try_clone().unwrap();
            std::thread::spawn(move || while slow.accept().is_ok() {});
        }
    });
    socket.on_connect(|socket| socket.destroy());
    socket.on_close(move |_, _| drop(crowd.take()));
    lp.run().unwrap();
    log.expect(&[
        "attempt 127.0.0.1",
        "timeout 127.0.0.1",
        "attempt 127.0.0.2",
        "connect 127.0.0.1",
        "close false",
    ]);
}

#[test]
fn an_older_attempt_that_fails_leaves_the_others_alone() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 30);
    let mut network = Network::new(&[("127.0.0.1", Deaf), ("127.0.0.2", Deaf)]);
    let mut first = Some(network.listener("127.0.0.1"));
    let second = network.listener("127.0.0.2");
    let log = Recorder::new();
    let to = network.name(&["127.0.0.1", "127.0.0.2"]);
    let socket = net::connect(&lp, to.auto_select_family_attempt_timeout(20));
    follow_connecting(socket, &log);
    // The first is no more: when the kernel tries again it is refused.
    socket.on_connection_attempt(move |_, to| {
        if to.ip().to_string() == "127.0.0.2" {
            first.take();
        }
    });
    socket.on_connection_attempt_failed(move |_, _, _| {
        let second = second.try_clone().unwrap();
        std::thread::spawn(move || while second.accept().is_ok() {});
    });
    socket.on_connect(|socket| socket.destroy());
    lp.run().unwrap();
    log.expect(&[
        "attempt 127.0.0.1",
        "timeout 127.0.0.1",
        "attempt 127.0.0.2",
        "failed 127.0.0.1 ECONNREFUSED",
        "connect 127.0.0.2",
        "close false",
    ]);
}

#[test]
fn n250_where_one_address_is_tried_it_is_the_first() {
    // N250
    let lp = Loop::builder().auto_select_family(false).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let network = Network::new(&[("127.0.0.1", Refuses), ("127.0.0.2", Listens)]);
    let name = || network.name(&["127.0.0.1", "127.0.0.2"]);
    let here: IpAddr = "127.0.0.1".parse().unwrap();
    let single = [
        name(),
        name().family(Family::V4).auto_select_family(true),
        name().local_address(here).auto_select_family(true),
    ];
    for to in single {
        let log = Recorder::new();
        let socket = net::connect(&lp, to);
        follow_connecting(socket, &log);
        let lookups = log.clone();
        socket.on_lookup(move |_, found, _| lookups.note(format!("lookup {}", found.unwrap())));
        lp.run().unwrap();
        log.expect(&[
            "lookup 127.0.0.1",
            "attempt 127.0.0.1",
            "failed 127.0.0.1 ECONNREFUSED",
            "error ECONNREFUSED",
            "close true",
        ]);
    }
    let socket = net::connect(&lp, name().auto_select_family(true));
    socket.on_connect(|socket| {
        assert_eq!(attempted(socket).len(), 2);
        socket.destroy();
    });
    lp.run().unwrap();
}

#[test]
fn n258_a_timeout_of_less_than_10_ms_is_10_and_the_loops_own_counts() {
    // N258
    for (of_the_loop, own, least) in [(0, None, 10), (40, None, 40), (60_000, Some(1), 10)] {
        let builder = Loop::builder().auto_select_family_attempt_timeout(of_the_loop);
        let lp = builder.build().unwrap();
        let _deadline = deadline(&lp, 10);
        let network = Network::new(&[("127.0.0.1", Deaf), ("127.0.0.2", Listens)]);
        let mut to = network.name(&["127.0.0.1", "127.0.0.2"]);
        if let Some(ms) = own {
            to = to.auto_select_family_attempt_timeout(ms);
        }
        let started = lp.now();
        let socket = net::connect(&lp, to);
        socket.on_connection_attempt_timeout(move |socket, _| {
            let took = socket.event_loop().now() - started;
            assert!(took >= least, "{took} ms");
        });
        socket.on_connect(|socket| socket.destroy());
        lp.run().unwrap();
    }
}

#[test]
fn n253_what_was_written_goes_to_the_one_that_connects_and_nothing_of_its_answer_is_lost() {
    // N253
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let mut network = Network::new(&[
            ("127.0.0.1", Deaf),
            ("127.0.0.2", Refuses),
            ("127.0.0.3", Listens),
        ]);
        let listener = network.listener("127.0.0.3");
        // Answers at once and ends, so that all of it is there with the connection.
        let peer = std::thread::spawn(move || {
            let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
            send_and_end(&stream, b"answer");
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        let log = Recorder::new();
        let to = network.name(&["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
        let socket = net::connect(lp, to.auto_select_family_attempt_timeout(20));
        let text = Rc::new(RefCell::new(Vec::new()));
        let received = text.clone();
        socket.on_data(move |_, chunk| received.borrow_mut().extend_from_slice(chunk));
        socket.write_then("question", log.done("write"));
        let seen = log.clone();
        socket.on_end(move |_| seen.note("end"));
        let seen = log.clone();
        socket.on_close(move |_, had_error| seen.note(format!("close {had_error}")));
        lp.run().unwrap();
        assert_eq!(text.take(), b"answer");
        assert_eq!(join(peer), "question");
        log.expect(&["write ok", "end", "close false"]);
    });
}

/// In a network of its own: an address where packets are sent to, and nobody is.
#[test]
fn in_a_network_where_packets_vanish() {
    const SETUP: &str = "ip link set lo up && ip link add v0 type veth peer name v1 \
        && ip link set v0 up && ip link set v1 up && ip addr add 10.9.0.1/24 dev v0 \
        && ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev v0";
    const NAME: &str = "in_a_network_where_packets_vanish";
    in_own_network(SETUP, NAME, || {
        let mut took = Vec::new();
        for attempt_timeout_ms in [50, 200] {
            let lp = Loop::new().unwrap();
            let _deadline = deadline(&lp, 20);
            let network = Network::new(&[("10.9.0.1", Listens)]);
            let log = Recorder::new();
            let to = network.name(&["10.9.0.2", "10.9.0.1"]);
            let started = lp.now();
            let to = to.auto_select_family_attempt_timeout(attempt_timeout_ms);
            let socket = net::connect(&lp, to);
            follow_connecting(socket, &log);
            socket.on_connect(|socket| socket.destroy());
            lp.run().unwrap();
            log.expect(&[
                "attempt 10.9.0.2",
                "timeout 10.9.0.2",
                "attempt 10.9.0.1",
                "connect 10.9.0.1",
                "close false",
            ]);
            took.push(lp.now() - started);
        }
        assert!(
            (50..900).contains(&took[0]) && (200..900).contains(&took[1]),
            "{took:?}"
        );
        format!("the packets have vanished, connected after {took:?} ms")
    });
}
