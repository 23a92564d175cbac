//! Names with several addresses, in networks of every kind (N250–N260, RFC 8305).
//!
//! The addresses are those of this machine, each at the same port: one that listens, one that
//! refuses, one that is deaf (its backlog is full, so that the kernel keeps silent until there is
//! room). One test makes a network of its own, with an address where nobody is.

mod support;

use std::cell::RefCell;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;

use nodeloop::net::{self, BlockList, ConnectOptions, Family, Socket};
use nodeloop::{Error, Loop};
use support::own_network::in_own_network;
use support::*;

/// What is at an address.
#[derive(Clone, Copy, PartialEq)]
enum Host {
    Listens,
    Refuses,
    Deaf,
}

use Host::{Deaf, Listens, Refuses};

/// Addresses with one port.
struct Network {
    port: u16,
    sockets: Vec<(IpAddr, socket2::Socket)>,
    /// Who fills the backlogs.
    _crowd: Vec<socket2::Socket>,
}

impl Network {
    fn new(hosts: &[(&str, Host)]) -> Network {
        // The port is free at the first address; others may have it at another.
        for _ in 0..50 {
            if let Some(network) = Network::try_new(hosts) {
                return network;
            }
        }
        panic!("no port is free at all addresses");
    }

    fn try_new(hosts: &[(&str, Host)]) -> Option<Network> {
        let mut network = Network {
            port: 0,
            sockets: Vec::new(),
            _crowd: Vec::new(),
        };
        for (host, kind) in hosts {
            let address = SocketAddr::new(host.parse().unwrap(), network.port);
            let socket = new_socket(address);
            socket.bind(&address.into()).ok()?;
            let bound = socket.local_addr().unwrap().as_socket().unwrap();
            network.port = bound.port();
            match kind {
                Refuses => {}
                Listens => socket.listen(16).unwrap(),
                Deaf => {
                    socket.listen(0).unwrap();
                    for _ in 0..4 {
                        let client = new_socket(bound);
                        client.set_nonblocking(true).unwrap();
                        // In progress; the first may stand already.
                        let _ = client.connect(&bound.into());
                        network._crowd.push(client);
                    }
                }
            }
            network.sockets.push((bound.ip(), socket));
        }
        Some(network)
    }

    /// To a name that has these addresses, in this order.
    fn name(&self, addresses: &[&str]) -> ConnectOptions {
        let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        ConnectOptions::new("name", self.port)
            .lookup(move |_, _, answer| answer.found(addresses.clone()))
    }

    /// The listener at an address, from now on a user's.
    fn listener(&mut self, ip: &str) -> TcpListener {
        let ip: IpAddr = ip.parse().unwrap();
        let at = self.sockets.iter().position(|(it, _)| *it == ip).unwrap();
        self.sockets.remove(at).1.into()
    }
}

fn new_socket(address: SocketAddr) -> socket2::Socket {
    let domain = socket2::Domain::for_address(address);
    socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap()
}

/// Notes what a socket says while it connects, but for 'lookup'.
fn follow_connecting(socket: Socket, log: &Recorder) -> Rc<RefCell<Option<Error>>> {
    let seen = log.clone();
    socket.on_connection_attempt(move |_, to| seen.note(format!("attempt {}", to.ip())));
    let seen = log.clone();
    socket.on_connection_attempt_failed(move |_, to, error| {
        seen.note(format!("failed {} {}", to.ip(), code_of(error)));
    });
    let seen = log.clone();
    socket.on_connection_attempt_timeout(move |_, to| seen.note(format!("timeout {}", to.ip())));
    let seen = log.clone();
    socket.on_connect(move |socket| {
        let peer = socket.remote_address().unwrap();
        seen.note(format!("connect {}", peer.ip()));
    });
    let seen = log.clone();
    let kept: Rc<RefCell<Option<Error>>> = Rc::default();
    let error_of = kept.clone();
    socket.on_error(move |_, error| {
        seen.note(format!("error {}", code_of(error)));
        error_of.replace(Some(error.clone()));
    });
    let seen = log.clone();
    socket.on_close(move |_, had_error| seen.note(format!("close {had_error}")));
    kept
}

/// The addresses that a socket has tried.
fn attempted(socket: Socket) -> Vec<String> {
    let addresses = socket.auto_select_family_attempted_addresses();
    addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect()
}

fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        println!("skipped: this system has no IPv6");
    }
    has
}

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
