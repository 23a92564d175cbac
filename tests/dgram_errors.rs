//! Errors of UDP sockets: each with its code, its system call, and the way it comes.

mod support;

use std::cell::Cell;
use std::net::SocketAddr;
#[cfg(target_os = "linux")]
use std::net::UdpSocket;
use std::rc::Rc;

use nodeloop::Loop;
use nodeloop::dgram::{self, Payload, Socket, SocketOptions, SocketType};
use support::udp::*;
use support::{Recorder, code, code_of, deadline, turn_until};

/// What `send_to_then` tells about a datagram.
#[track_caller]
fn send_error(lp: &Loop, socket: Socket, size: usize, to: (&str, u16)) -> nodeloop::Error {
    let result = outcome(lp, |done| {
        socket.send_to_then(vec![b'x'; size], to, done).unwrap();
    });
    result.expect_err("an error was expected")
}

/// The 'error' event that comes next.
#[track_caller]
fn next_error(lp: &Loop, socket: Socket) -> nodeloop::Error {
    let seen = Rc::new(Cell::new(None));
    let seeing = seen.clone();
    socket.once_error(move |_, error| seeing.set(Some(error.clone())));
    let met = seen.clone();
    turn_until(lp, move || {
        let error = met.take();
        let is_there = error.is_some();
        met.set(error);
        is_there
    });
    seen.take().expect("it was met")
}

#[test]
fn n264_what_binding_runs_into() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (_taken, address) = bound(&lp);
    let is = |options: &SocketOptions, at: (&str, u16), text: &str| {
        let socket = dgram::create_socket(&lp, options.clone());
        socket.bind(at).unwrap();
        let error = next_error(&lp, socket);
        assert_eq!(error.to_string(), text);
        assert_eq!(error.syscall(), Some("bind"));
        assert_eq!(error.address(), Some(at.0));
        assert_eq!(error.port(), Some(at.1).filter(|&port| port > 0));
        // It may be bound again, and says the same at once.
        let again = socket.bind_sync(at).unwrap_err();
        assert_eq!(again.to_string(), text);
        socket.close().unwrap();
    };
    let udp4 = SocketOptions::new(SocketType::Udp4);
    let udp6 = SocketOptions::new(SocketType::Udp6);
    let text = format!("bind EADDRINUSE {address}");
    is(&udp4, ("127.0.0.1", address.port()), &text);
    is(&udp4, ("1.2.3.4", 0), "bind EADDRNOTAVAIL 1.2.3.4");
    is(&udp4, ("::1", 0), "bind EINVAL ::1");
    is(&udp6, ("127.0.0.1", 0), "bind EINVAL 127.0.0.1");
    is(
        &udp4.clone().ipv6_only(true),
        ("0.0.0.0", 0),
        "bind EINVAL 0.0.0.0",
    );
    let nowhere = udp4.lookup(|_, _, answer| answer.not_found());
    let socket = dgram::create_socket(&lp, nowhere);
    socket.bind(("no.such.name", 0)).unwrap();
    let error = next_error(&lp, socket);
    assert_eq!(error.code(), Some("ENOTFOUND"));
    assert_eq!(error.hostname(), Some("no.such.name"));
    assert_eq!(
        code(socket.bind_sync(("no.such.name", 0))),
        "ERR_INVALID_ARG_VALUE"
    );
}

#[test]
fn n287_a_socket_that_joined_a_group_cannot_be_bound() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let socket = udp4(&lp);
    // Not a group, yet there is a socket now.
    assert_eq!(code(socket.add_membership("127.0.0.1", None)), "EINVAL");
    socket.bind(("127.0.0.1", 0)).unwrap();
    let error = next_error(&lp, socket);
    assert_eq!(error.to_string(), "bind EINVAL 127.0.0.1");
}

#[test]
fn n270_what_sending_returns() {
    let lp = Loop::new().unwrap();
    let (socket, address) = bound(&lp);
    let error = socket.send_to("x", 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "[ERR_SOCKET_BAD_PORT] Port should be > 0 and < 65536. Received type number (0)."
    );
    assert_eq!(code(socket.send("x")), "ERR_SOCKET_BAD_PORT");
    assert_eq!(code(socket.connect(0)), "ERR_SOCKET_BAD_PORT");
    assert_eq!(code(socket.connect_sync(0)), "ERR_SOCKET_BAD_PORT");
    for (offset, length, what) in [
        (4, 0, "offset"),
        (1, 3, "length"),
        (0, usize::MAX, "length"),
    ] {
        let Err(error) = Payload::part("abc", offset, length) else {
            panic!("{offset} and {length} are outside");
        };
        let text = format!("[ERR_BUFFER_OUT_OF_BOUNDS] \"{what}\" is outside of buffer bounds");
        assert_eq!(error.to_string(), text);
    }
    socket.connect_sync(address).unwrap();
    assert_eq!(
        code(socket.send_to("x", address)),
        "ERR_SOCKET_DGRAM_IS_CONNECTED"
    );
    assert_eq!(
        code(socket.connect(address)),
        "ERR_SOCKET_DGRAM_IS_CONNECTED"
    );
    assert_eq!(
        code(socket.connect_sync(address)),
        "ERR_SOCKET_DGRAM_IS_CONNECTED"
    );
}

#[test]
fn n261_a_closed_socket_refuses_everything() {
    let lp = Loop::new().unwrap();
    let (socket, _) = bound(&lp);
    socket.close().unwrap();
    let refusals = [
        code(socket.bind(0)),
        code(socket.bind_sync(0)),
        code(socket.address()),
        code(socket.send_to("x", 9)),
        code(socket.connect(9)),
        code(socket.connect_sync(9)),
        code(socket.disconnect()),
        code(socket.remote_address()),
        code(socket.set_broadcast(true)),
        code(socket.set_ttl(5)),
        code(socket.set_multicast_ttl(5)),
        code(socket.set_multicast_loopback(true)),
        code(socket.set_multicast_interface("0.0.0.0")),
        code(socket.add_membership("224.0.0.114", None)),
        code(socket.drop_membership("224.0.0.114", None)),
        code(socket.add_source_specific_membership("127.0.0.1", "232.1.1.1", None)),
        code(socket.set_recv_buffer_size(1)),
        code(socket.send_buffer_size()),
        code(socket.close()),
    ];
    for refusal in refusals {
        assert_eq!(refusal, "ERR_SOCKET_DGRAM_NOT_RUNNING");
    }
    assert_eq!(
        (socket.send_queue_size(), socket.send_queue_count()),
        (0, 0)
    );
}

#[test]
fn n271_and_n272_what_the_system_says_goes_to_the_completion() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, address) = bound(&lp);
    let error = send_error(&lp, socket, 65_508, ("127.0.0.1", 9));
    assert_eq!(error.to_string(), "send EMSGSIZE 127.0.0.1:9");
    assert_eq!(error.syscall(), Some("send"));
    assert_eq!(
        (error.address(), error.port()),
        (Some("127.0.0.1"), Some(9))
    );
    let error = send_error(&lp, socket, 1, ("255.255.255.255", 9));
    assert_eq!(error.to_string(), "send EACCES 255.255.255.255:9");
    let error = send_error(&lp, socket, 1, ("::1", 9));
    assert_eq!(error.to_string(), "send EINVAL ::1:9");
    let error = send_error(&lp, socket, 1, ("no.such.name", 9));
    assert_eq!(error.code(), Some("ENOTFOUND"));
    // Without a completion nobody is told, but of a name.
    socket.on_error(|_, error| panic!("{error}"));
    socket.send_to(vec![0; 65_508], address).unwrap();
    socket.send_to("x", ("::1", 9)).unwrap();
    socket.send_to("x", ("255.255.255.255", 9)).unwrap();
    lp.set_timeout_once(20, log.noting("over"));
    turn_until(&lp, || log.has("over"));
    let (other, _) = bound(&lp);
    other.send_to("x", ("no.such.name", 9)).unwrap();
    assert_eq!(next_error(&lp, other).code(), Some("ENOTFOUND"));
}

#[test]
fn n274_what_connecting_runs_into() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, _) = bound(&lp);
    socket.connect(("::1", 9)).unwrap();
    assert_eq!(code(socket.connect(9)), "ERR_SOCKET_DGRAM_IS_CONNECTED");
    let error = next_error(&lp, socket);
    assert_eq!(error.to_string(), "connect EINVAL ::1:9");
    assert_eq!(error.syscall(), Some("connect"));
    // With a completion there is no 'error', and it is no listener any more.
    socket.on_error(|_, error| panic!("{error}"));
    let log = Recorder::new();
    socket
        .connect_then(("::1", 9), log.done("connect"))
        .unwrap();
    turn_until(&lp, || log.has("connect EINVAL"));
    socket.connect_then(nobody(), log.done("again")).unwrap();
    turn_until(&lp, || log.has("again ok"));
    log.expect(&["connect EINVAL", "again ok"]);
    assert_eq!(
        code(socket.connect_sync(("no.such.name", 9))),
        "ERR_SOCKET_DGRAM_IS_CONNECTED"
    );
    let (other, _) = bound(&lp);
    assert_eq!(
        code(other.connect_sync(("no.such.name", 9))),
        "ERR_INVALID_ARG_VALUE"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn n273_a_connected_socket_is_told_that_nobody_is_there() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    // By the next receive ...
    let socket = connected(&lp, nobody());
    socket.send("anybody?").unwrap();
    let error = next_error(&lp, socket);
    assert_eq!(error.to_string(), "recvmsg ECONNREFUSED");
    // ... or by the next send, if that comes before.
    let log = Recorder::new();
    let socket = connected(&lp, nobody());
    socket.on_error(|_, error| panic!("{error}"));
    let sending = log.clone();
    lp.set_immediate(move |_| {
        socket.send_then("one", sent(&sending, "one")).unwrap();
        socket.flush();
        socket.send_then("two", sent(&sending, "two")).unwrap();
        socket.flush();
        socket.send_then("three", sent(&sending, "three")).unwrap();
        socket.close().unwrap();
    });
    turn_until(&lp, || log.has("three 5"));
    log.expect(&["one 3", "two ECONNREFUSED", "three 5"]);
}

/// As the test above, with what is sent in one go: the refusal waits for a run.
#[test]
#[cfg(target_os = "linux")]
fn n273_a_run_that_is_refused_for_one_goes_out_for_the_others() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (peer, address) = peer();
    let socket = connected(&lp, address);
    let sending = log.clone();
    lp.set_immediate(move |_| {
        // Nobody is there for the first, which is told to the first of the run.
        drop(peer);
        socket.send_then("?", sent(&sending, "?")).unwrap();
        socket.flush();
        let peer = UdpSocket::bind(address).unwrap();
        for name in ["a", "b", "c"] {
            socket.send_then(name, sent(&sending, name)).unwrap();
        }
        socket.flush();
        peer.set_read_timeout(Some(support::PATIENCE)).unwrap();
        assert_eq!([receive(&peer), receive(&peer)], [b"b", b"c"]);
        socket.close().unwrap();
    });
    lp.run().unwrap();
    log.expect(&["? 1", "a ECONNREFUSED", "b 1", "c 1"]);
}

#[test]
fn an_unreachable_peer_does_not_make_the_loop_spin() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (unconnected, _) = bound(&lp);
    let address = nobody();
    let socket = connected(&lp, address);
    let noted = log.clone();
    socket.on_error(move |_, error| noted.note(code_of(error)));
    lp.set_interval(5, move |timer| {
        unconnected.send_to("x", address).unwrap();
        let _ = socket.send("x");
        if timer.event_loop().turns() > 10_000 {
            panic!("the loop spins");
        }
    });
    let over = Rc::new(Cell::new(false));
    let end = over.clone();
    lp.set_timeout_once(300, move |_| end.set(true));
    turn_until(&lp, || over.get());
    assert!(lp.turns() < 600, "{} turns", lp.turns());
    let told = log.take();
    assert!(told.iter().all(|code| code == "ECONNREFUSED"), "{told:?}");
}

#[test]
fn n284_and_n285_options_and_their_ranges() {
    let lp = Loop::new().unwrap();
    let (socket, _) = bound(&lp);
    for ttl in [1, 64, 255] {
        socket.set_ttl(ttl).unwrap();
        socket.set_multicast_ttl(ttl).unwrap();
    }
    socket.set_multicast_ttl(0).unwrap();
    for ttl in [0, 256, u32::MAX] {
        assert_eq!(
            socket.set_ttl(ttl).unwrap_err().to_string(),
            "setTTL EINVAL"
        );
    }
    for ttl in [256, u32::MAX] {
        let error = socket.set_multicast_ttl(ttl).unwrap_err();
        assert_eq!(error.to_string(), "setMulticastTTL EINVAL");
    }
    socket.set_broadcast(true).unwrap();
    socket.set_broadcast(false).unwrap();
    socket.set_multicast_loopback(false).unwrap();
    socket.set_recv_buffer_size(10_000).unwrap();
    assert_eq!(socket.recv_buffer_size().unwrap(), 20_000);
    socket.set_recv_buffer_size(0).unwrap();
    assert_eq!(socket.recv_buffer_size().unwrap(), 20_000, "0 leaves it");
    socket.set_send_buffer_size(20_000).unwrap();
    assert_eq!(socket.send_buffer_size().unwrap(), 40_000);
    let error = socket.set_recv_buffer_size(u32::MAX).unwrap_err();
    assert_eq!(
        error.to_string(),
        "[ERR_SOCKET_BUFFER_SIZE] Could not get or set buffer size: uv_recv_buffer_size returned \
         EINVAL (invalid argument)"
    );
    assert_eq!(error.syscall(), Some("uv_recv_buffer_size"));
    let options = SocketOptions::new(SocketType::Udp4).recv_buffer_size(30_000);
    let made = dgram::create_socket(&lp, options.send_buffer_size(40_000));
    made.bind_sync(("127.0.0.1", 0)).unwrap();
    assert_eq!(made.recv_buffer_size().unwrap(), 60_000);
    assert_eq!(made.send_buffer_size().unwrap(), 80_000);
}

#[test]
#[cfg(target_os = "linux")]
fn n286_and_n290_groups_and_interfaces() {
    let lp = Loop::new().unwrap();
    let (socket, _) = bound(&lp);
    let lo = Some("127.0.0.1");
    assert_eq!(code(socket.add_membership("", None)), "ERR_MISSING_ARGS");
    assert_eq!(code(socket.drop_membership("", None)), "ERR_MISSING_ARGS");
    let error = socket.add_membership("127.0.0.1", None).unwrap_err();
    assert_eq!(error.to_string(), "addMembership EINVAL");
    assert_eq!(code(socket.add_membership("no group", None)), "EINVAL");
    assert_eq!(
        code(socket.add_membership("224.0.0.114", Some("9.9.9.9"))),
        "ENODEV"
    );
    assert_eq!(
        code(socket.add_membership("224.0.0.114", Some("x"))),
        "EINVAL"
    );
    assert_eq!(
        code(socket.add_membership("ff02::114", None)),
        "ENOPROTOOPT"
    );
    let error = socket.drop_membership("224.0.0.114", lo).unwrap_err();
    assert_eq!(error.to_string(), "dropMembership EADDRNOTAVAIL");
    socket.add_membership("224.0.0.114", lo).unwrap();
    assert_eq!(code(socket.add_membership("224.0.0.114", lo)), "EADDRINUSE");
    socket.drop_membership("224.0.0.114", lo).unwrap();

    let error = socket
        .add_source_specific_membership("::1", "232.1.1.1", None)
        .unwrap_err();
    assert_eq!(error.to_string(), "addSourceSpecificMembership EINVAL");
    socket
        .add_source_specific_membership("127.0.0.1", "232.1.1.1", lo)
        .unwrap();
    let again = socket.add_source_specific_membership("127.0.0.1", "232.1.1.1", lo);
    assert_eq!(code(again), "EADDRNOTAVAIL");
    let other = socket.drop_source_specific_membership("127.0.0.9", "232.1.1.1", lo);
    assert_eq!(code(other), "EADDRNOTAVAIL");
    socket
        .drop_source_specific_membership("127.0.0.1", "232.1.1.1", lo)
        .unwrap();

    socket.set_multicast_interface("0.0.0.0").unwrap();
    socket.set_multicast_interface("127.0.0.1").unwrap();
    let error = socket.set_multicast_interface("9.9.9.9").unwrap_err();
    assert_eq!(error.to_string(), "setMulticastInterface EADDRNOTAVAIL");
    assert_eq!(code(socket.set_multicast_interface("x")), "EINVAL");
    assert_eq!(code(socket.set_multicast_interface("::%lo")), "ENOPROTOOPT");

    let six = dgram::create_socket(&lp, SocketType::Udp6);
    six.bind_sync(("::1", 0)).unwrap();
    six.set_ttl(4).unwrap();
    six.set_multicast_ttl(0).unwrap();
    six.set_multicast_loopback(true).unwrap();
    six.set_multicast_interface("::%lo").unwrap();
    six.set_multicast_interface("::%no-such-interface").unwrap();
    six.add_membership("ff02::114", Some("::%lo")).unwrap();
    assert_eq!(
        code(six.add_membership("ff02::114", Some("::%lo"))),
        "EADDRINUSE"
    );
    assert_eq!(code(six.add_membership("::1", None)), "EINVAL");
    assert_eq!(
        code(six.add_membership("ff02::116", Some("127.0.0.1"))),
        "EINVAL"
    );
    six.drop_membership("ff02::114", Some("::%lo")).unwrap();
    if cfg!(not(feature = "ipv6-source-membership")) {
        let source = six.add_source_specific_membership("::1", "ff32::1", None);
        assert_eq!(code(source), "ENOTSUP");
    }
}

#[test]
fn a_bounded_queue_says_enobufs() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (_peer, address) = peer();
    let options = SocketOptions::new(SocketType::Udp4);
    // Waiting for the binding, two datagrams may wait ...
    let socket = dgram::create_socket(&lp, options.clone().max_queued(2, 1000));
    follow(&log, socket);
    for name in ["a", "b", "c"] {
        socket
            .send_to_then(name, address, sent(&log, name))
            .unwrap();
    }
    socket.send_to("without completion", address).unwrap();
    turn_until(&lp, || log.has("b 1"));
    let mut told = log.take();
    told.sort();
    assert_eq!(
        told,
        ["a 1", "b 1", "c ENOBUFS", "error ENOBUFS", "listening"]
    );
    // ... or so many bytes, also for their tick.
    let socket = dgram::create_socket(&lp, options.max_queued(10, 1000));
    socket.bind_sync(("127.0.0.1", 0)).unwrap();
    for name in ["a", "b", "c"] {
        socket
            .send_to_then(vec![0; 500], address, sent(&log, name))
            .unwrap();
    }
    turn_until(&lp, || log.has("b 500"));
    let mut told = log.take();
    told.sort();
    assert_eq!(told, ["a 500", "b 500", "c ENOBUFS"]);
    let error = outcome(&lp, |done| {
        socket.send_to_then(vec![0; 1001], address, done).unwrap();
    });
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), format!("send ENOBUFS {address}"));
    assert_eq!(
        (error.syscall(), error.port()),
        (Some("send"), Some(address.port()))
    );
}

/// Without a completion it is an 'error', and ends `run` if nobody listens.
#[test]
fn what_is_too_much_is_told_before_what_waits() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (_peer, address) = peer();
    let options = SocketOptions::new(SocketType::Udp4).max_queued(1, 1000);
    let socket = dgram::create_socket(&lp, options);
    socket.bind_sync(("127.0.0.1", 0)).unwrap();
    for name in ["a", "b"] {
        let told = sent(&log, name);
        socket.send_to_then(name, address, told).unwrap();
    }
    turn_until(&lp, || log.has("a 1"));
    log.expect(&["b ENOBUFS", "a 1"]);
    for data in ["c", "d"] {
        socket.send_to(data, address).unwrap();
    }
    assert_eq!(code(lp.run()), "ENOBUFS");
}

#[test]
fn the_usual_bound_is_4096_datagrams_and_8_mib() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, _) = bound(&lp);
    let to: SocketAddr = nobody();
    let refused = Rc::new(Cell::new(0));
    let fill = |size: usize, count: usize| {
        refused.set(0);
        let data = bytes::Bytes::from(vec![0; size]);
        let told = Rc::new(Cell::new(0));
        for _ in 0..count {
            let (refused, told) = (refused.clone(), told.clone());
            socket
                .send_to_then(data.clone(), to, move |result| {
                    told.set(told.get() + 1);
                    refused.set(refused.get() + usize::from(result.is_err()));
                })
                .unwrap();
        }
        turn_until(&lp, || told.get() == count);
        refused.get()
    };
    assert_eq!(fill(0, dgram::MAX_QUEUED_DATAGRAMS), 0);
    assert_eq!(fill(0, dgram::MAX_QUEUED_DATAGRAMS + 3), 3);
    let size = 64 * 1024 - 1024;
    let fit = dgram::MAX_QUEUED_BYTES / size;
    assert_eq!(fill(size, fit), 0);
    assert_eq!(fill(size, fit + 2), 2);
}

// libuv's reception ends with an error; what lies behind it is the next turn's.
#[test]
#[cfg(target_os = "linux")]
fn what_lies_behind_an_error_comes_in_the_next_turn() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (peer, address) = peer();
    let socket = connected(&lp, address);
    follow(&log, socket);
    let inner = log.clone();
    socket.on_error(move |socket, _| {
        socket.event_loop().set_immediate(inner.noting("immediate"));
    });
    lp.set_immediate(move |_| {
        drop(peer);
        // Nobody is there.
        socket.send("x").unwrap();
        socket.flush();
        let successor = UdpSocket::bind(address).unwrap();
        successor.send_to(b"x", socket.address().unwrap()).unwrap();
    });
    turn_until(&lp, || log.has("message x"));
    log.expect(&["error ECONNREFUSED", "immediate", "message x"]);
}
