//! UDP sockets: binding, sending, connecting, closing.

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use nodeloop::dgram::{self, Payload, SocketOptions, SocketType};
use nodeloop::{HandleKind, Loop};
use support::udp::*;
use support::{Recorder, code, code_of, deadline, turn_until};

#[test]
fn n280_a_message_comes_with_its_sender() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (server, address) = bound(&lp);
    let (client, from) = bound(&lp);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let noted = seen.clone();
    server.on_message(move |server, message, info| {
        assert_eq!((info.socket_addr(), info.size()), (from, message.len()));
        assert_eq!((info.address(), info.port()), (from.ip(), from.port()));
        assert_eq!(
            (info.family(), info.to_string()),
            ("IPv4", from.to_string())
        );
        noted.borrow_mut().push(message.to_vec());
        // Closed at once it would forget the answer (N278).
        let close = move |_| server.close().unwrap();
        server.send_to_then("Hello!", info, close).unwrap();
    });
    let noted = seen.clone();
    client.on_message(move |client, message, info| {
        assert_eq!(info.socket_addr(), address);
        noted.borrow_mut().push(message.to_vec());
        client.close().unwrap();
    });
    client.send_to("Привет, 世界", address).unwrap();
    lp.run().unwrap();
    assert_eq!(*seen.borrow(), ["Привет, 世界".as_bytes(), b"Hello!"]);
}

#[test]
fn n265_sends_wait_for_the_binding_in_order() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (server, address) = bound(&lp);
    let client = udp4(&lp);
    follow(&log, client);
    let noted = log.clone();
    server.on_message(move |server, message, _| {
        let message = String::from_utf8_lossy(message).into_owned();
        noted.note(format!("server {message}"));
        if message == "last" {
            server.close().unwrap();
            client.close().unwrap();
        }
    });
    client
        .send_to_then("first", address, sent(&log, "first"))
        .unwrap();
    client
        .send_to_then(Payload::list(["a ", "list"]), address, sent(&log, "list"))
        .unwrap();
    client
        .send_to_then("", address, sent(&log, "empty"))
        .unwrap();
    client
        .send_to_then("last", address, sent(&log, "last"))
        .unwrap();
    lp.run().unwrap();
    log.expect(&[
        "listening",
        "first 5",
        "list 6",
        "empty 0",
        "last 4",
        "server first",
        "server a list",
        "server ",
        "server last",
        "close",
    ]);
}

#[test]
fn n274_to_n276_connect_send_disconnect() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (server, address) = bound(&lp);
    let client = udp4(&lp);
    follow(&log, client);
    let noted = log.clone();
    let done = log.clone();
    client
        .connect_then(address, move |result| {
            noted.note(format!("connected {}", result.is_ok()));
            assert_eq!(client.remote_address().unwrap(), address);
            assert_eq!(
                code(client.connect(address)),
                "ERR_SOCKET_DGRAM_IS_CONNECTED"
            );
            assert_eq!(
                code(client.send_to("x", address)),
                "ERR_SOCKET_DGRAM_IS_CONNECTED"
            );
            client
                .send_then("to the peer", sent(&done, "sent"))
                .unwrap();
        })
        .unwrap();
    assert_eq!(code(client.send("x")), "ERR_SOCKET_BAD_PORT");
    assert_eq!(code(client.disconnect()), "ERR_SOCKET_DGRAM_NOT_CONNECTED");
    assert_eq!(
        code(client.remote_address()),
        "ERR_SOCKET_DGRAM_NOT_CONNECTED"
    );
    server.on_message(move |server, message, _| {
        assert_eq!(message, b"to the peer");
        if cfg!(feature = "full-udp") {
            client.disconnect().unwrap();
            assert_eq!(
                code(client.remote_address()),
                "ERR_SOCKET_DGRAM_NOT_CONNECTED"
            );
        } else {
            assert_eq!(code(client.disconnect()), "ENOTSUP");
        }
        server.close().unwrap();
        client.close().unwrap();
    });
    lp.run().unwrap();
    log.expect(&["listening", "connect", "connected true", "sent 11", "close"]);
}

#[test]
fn n278_send_and_close_in_one_go_sends_nothing() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (server, address) = bound(&lp);
    follow(&log, server);
    let (client, _) = bound(&lp);
    client.on_close(log.noting("client close"));
    let sending = log.clone();
    lp.set_timeout_once(1, move |_| {
        client
            .send_to_then("never", address, sent(&sending, "never"))
            .unwrap();
        client.close().unwrap();
        assert_eq!(code(client.close()), "ERR_SOCKET_DGRAM_NOT_RUNNING");
        assert_eq!(
            code(client.send_to("x", address)),
            "ERR_SOCKET_DGRAM_NOT_RUNNING"
        );
    });
    lp.set_timeout_once(50, move |_| server.close().unwrap());
    lp.run().unwrap();
    log.expect(&["listening", "client close", "close"]);
}

#[test]
fn n262_a_failed_bind_can_be_tried_again() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (taken, address) = bound(&lp);
    let socket = udp4(&lp);
    follow(&log, socket);
    socket.once_error(move |socket, error| {
        assert_eq!(error.to_string(), format!("bind EADDRINUSE {address}"));
        assert_eq!(
            (error.syscall(), error.port()),
            (Some("bind"), Some(address.port()))
        );
        socket.bind(("127.0.0.1", 0)).unwrap();
    });
    socket.bind_then(address, log.noting("never")).unwrap();
    assert_eq!(code(socket.bind(0)), "ERR_SOCKET_ALREADY_BOUND");
    socket.on_listening(move |socket| {
        socket.close().unwrap();
        taken.close().unwrap();
    });
    lp.run().unwrap();
    log.expect(&["error EADDRINUSE", "listening", "close"]);
}

#[test]
fn u1_and_u2_a_socket_without_descriptor() {
    let lp = Loop::new().unwrap();
    let socket = udp4(&lp);
    let error = socket.address().unwrap_err();
    assert_eq!(error.to_string(), "getsockname EBADF");
    assert_eq!(code(socket.set_ttl(5)), "EBADF");
    assert_eq!(code(socket.set_broadcast(true)), "EBADF");
    assert_eq!(code(socket.set_multicast_interface("127.0.0.1")), "EBADF");
    let error = socket.recv_buffer_size().unwrap_err();
    assert_eq!(
        error.to_string(),
        "[ERR_SOCKET_BUFFER_SIZE] Could not get or set buffer size: uv_recv_buffer_size returned \
         EBADF (bad file descriptor)"
    );
    assert_eq!(code(socket.add_membership("127.0.0.1", None)), "EINVAL");
    // Now there is one, behind the program's back.
    assert_ne!(socket.address().unwrap().port(), 0);
    assert!(!lp.is_alive());
    let handle = lp.handles()[0];
    assert_eq!((handle.kind, handle.active), (HandleKind::UdpSocket, false));
    let options = SocketOptions::new(SocketType::Udp6).ipv6_only(true);
    let six = dgram::create_socket(&lp, options);
    assert_eq!(six.socket_type(), SocketType::Udp6);
    assert!(six.bind_sync(("::1", 0)).unwrap().is_ipv6());
}

#[test]
fn n266_what_is_sent_to_an_address_while_connecting_meets_a_connected_socket() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (_peer, address) = peer();
    let socket = udp4(&lp);
    let noted = log.clone();
    socket.connect_then(address, log.done("connect")).unwrap();
    socket.send_to_then("x", address, sent(&log, "x")).unwrap();
    socket.on_listening(move |socket| {
        noted.note("listening");
        let noted = noted.clone();
        socket.event_loop().next_tick(move |_| noted.note("tick"));
    });
    turn_until(&lp, || log.has("x EISCONN"));
    log.expect(&["listening", "tick", "connect ok", "x EISCONN"]);
}

#[test]
fn n262_an_error_forgets_what_waits_for_the_binding() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (taken, address) = bound(&lp);
    let socket = udp4(&lp);
    let noted = log.clone();
    socket.on_error(move |_, error| noted.note(format!("error {}", code_of(error))));
    socket.on_close(log.noting("close"));
    socket.bind(address).unwrap();
    socket.send_to_then("y", address, sent(&log, "y")).unwrap();
    // It waits behind what was sent, and is forgotten with it.
    socket.close().unwrap();
    turn_until(&lp, || log.has("error EADDRINUSE"));
    socket.close().unwrap();
    taken.close().unwrap();
    lp.run().unwrap();
    log.expect(&["error EADDRINUSE", "close"]);
}

#[test]
fn n267_ticks_and_sends_keep_their_order() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (peer, to) = peer();
    let (socket, _) = bound(&lp);
    let (other, _) = bound(&lp);
    // As in Node the close finds three gone, and one that waits for the tick behind it.
    let handle = lp.handle();
    lp.set_immediate(move |_| {
        socket.send_to("one", to).unwrap();
        handle.next_tick(move |lp| {
            socket.send_to("three", to).unwrap();
            lp.next_tick(move |_| socket.close().unwrap());
            socket.send_to("never", to).unwrap();
            other.send_to("of another", to).unwrap();
        });
        socket.send_to("two", to).unwrap();
    });
    for text in ["one", "two", "three", "of another"] {
        turn_until(&lp, || socket_has(&peer));
        assert_eq!(receive(&peer), text.as_bytes());
    }
    other.close().unwrap();
    lp.run().unwrap();
    peer.set_nonblocking(true).unwrap();
    let nothing = peer.recv(&mut [0; 9]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
}

/// Whether a peer would get something.
fn socket_has(peer: &std::net::UdpSocket) -> bool {
    peer.set_nonblocking(true).unwrap();
    let has = peer.peek(&mut [0; 9]).is_ok();
    peer.set_nonblocking(false).unwrap();
    has
}

#[test]
fn n278_a_close_waits_behind_what_waits_for_the_binding() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (_peer, address) = peer();
    let socket = udp4(&lp);
    let noted = log.clone();
    socket.on_listening(move |socket| {
        noted.note("listening");
        let noted = noted.clone();
        socket.event_loop().next_tick(move |_| noted.note("tick"));
    });
    socket.on_close(log.noting("close"));
    socket.send_to_then("z", address, sent(&log, "z")).unwrap();
    socket.close_then(log.noting("closed")).unwrap();
    socket.on_listening(log.noting("listening after"));
    lp.run().unwrap();
    log.expect(&["listening", "listening after", "tick", "close", "closed"]);
    // A second close that waits throws in Node where nobody can catch it.
    let socket = udp4(&lp);
    socket.send_to("z", address).unwrap();
    socket.close().unwrap();
    socket.close().unwrap();
    assert_eq!(code(lp.run()), "ERR_SOCKET_DGRAM_NOT_RUNNING");
    lp.run().unwrap();
}

#[test]
fn n279_a_close_while_binding_leaves_neither_listening_nor_a_listener() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let socket = udp4(&lp);
    follow(&log, socket);
    socket.bind_then(0, log.noting("bound")).unwrap();
    socket.close().unwrap();
    lp.run().unwrap();
    log.expect(&["close"]);
    let socket = udp4(&lp);
    follow(&log, socket);
    socket.bind_sync(0).unwrap();
    socket.connect_sync(9).unwrap();
    socket.close().unwrap();
    lp.run().unwrap();
    log.expect(&["close"]);
}

#[test]
#[cfg(all(target_os = "linux", feature = "full-udp"))]
fn n276_a_port_of_the_systems_choice_is_lost_by_disconnecting() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (peer, address) = peer();
    let (socket, _) = bound(&lp);
    socket.connect_sync(address).unwrap();
    assert_eq!(socket.remote_address().unwrap(), address);
    socket.disconnect().unwrap();
    assert_eq!(socket.address().unwrap().port(), 0);
    socket.send_to("after", address).unwrap();
    lp.run_nowait().unwrap();
    assert_eq!(receive(&peer), b"after");
    let (chosen, at) = bound(&lp);
    chosen.close().unwrap();
    let socket = udp4(&lp);
    socket.bind_sync(at).unwrap();
    socket.connect_sync(address).unwrap();
    socket.disconnect().unwrap();
    assert_eq!(socket.address().unwrap(), at);
}

#[test]
fn n275_a_connected_socket_hears_its_peer_only() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (friend, address) = peer();
    let (stranger, _) = peer();
    let (socket, at) = bound(&lp);
    follow(&log, socket);
    socket.connect_sync(address).unwrap();
    stranger.send_to(b"stranger", at).unwrap();
    friend.send_to(b"friend", at).unwrap();
    turn_until(&lp, || log.has("message friend"));
    log.expect(&["listening", "connect", "message friend"]);
}

#[test]
fn n282_and_n283_several_sockets_at_one_address() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let udp4 = SocketOptions::new(SocketType::Udp4);
    for options in [udp4.clone().reuse_addr(true), udp4.clone().reuse_port(true)] {
        let first = dgram::create_socket(&lp, options.clone());
        let address = first.bind_sync(("127.0.0.1", 0)).unwrap();
        let second = dgram::create_socket(&lp, options);
        second.bind_sync(address).unwrap();
        let third = dgram::create_socket(&lp, udp4.clone());
        assert_eq!(code(third.bind_sync(address)), "EADDRINUSE");
    }
}

#[test]
fn n280_a_socket_for_both_families_shows_ipv4_mapped() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (peer, from) = peer();
    let socket = dgram::create_socket(&lp, SocketType::Udp6);
    let port = socket.bind_sync(0).unwrap().port();
    let noted = log.clone();
    socket.on_message(move |socket, message, from| {
        noted.note(format!("{} {}", from.family(), from.address()));
        socket.send_to(message, from).unwrap();
    });
    peer.send_to(b"mapped", ("127.0.0.1", port)).unwrap();
    turn_until(&lp, || log.has("IPv6 ::ffff:127.0.0.1"));
    assert_eq!(from.ip().to_string(), "127.0.0.1");
    log.expect(&["IPv6 ::ffff:127.0.0.1"]);
    lp.run_nowait().unwrap();
    assert_eq!(receive(&peer), b"mapped");
}

#[test]
fn n289_a_group_on_loopback() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let lo = Some("127.0.0.1");
    let group = "230.185.192.108";
    let options = SocketOptions::new(SocketType::Udp4).reuse_addr(true);
    let members = [(); 2].map(|()| dgram::create_socket(&lp, options.clone()));
    let port = members[0].bind_sync(0).unwrap().port();
    members[1].bind_sync(port).unwrap();
    for member in members {
        follow(&log, member);
        member.add_membership(group, lo).unwrap();
    }
    let (sender, _) = bound(&lp);
    sender.set_multicast_interface("127.0.0.1").unwrap();
    sender.set_multicast_ttl(0).unwrap();
    // Two of one size: a run would do, but each goes by itself to a group.
    sender.send_to("one", (group, port)).unwrap();
    sender.send_to("two", (group, port)).unwrap();
    turn_until(&lp, || log.count("message two") == 2);
    assert_eq!(log.count("message one"), 2);
    assert_eq!(lp.counts().sends, 2);
    log.take();
    // Linux delivers what is for a group to whoever is bound to the port while anybody has joined it.
    for member in members {
        member.drop_membership(group, lo).unwrap();
    }
    sender.send_to("three", (group, port)).unwrap();
    lp.set_timeout_once(50, log.noting("over"));
    turn_until(&lp, || log.has("over"));
    log.expect(&["over"]);
}

#[test]
fn why_alive_tells_of_udp_sockets() {
    let lp = Loop::builder().refuse_sends(u32::MAX).build().unwrap();
    let (socket, address) = bound(&lp);
    lp.run_nowait().unwrap();
    let why = lp.why_alive();
    assert_eq!(why.len(), 1);
    assert_eq!(why.reasons[0].kind, HandleKind::UdpSocket);
    assert_eq!(why.reasons[0].state, format!("receiving at {address}"));
    socket.connect_sync(address).unwrap();
    socket.send("waits").unwrap();
    socket.unref();
    lp.run_nowait().unwrap();
    // Each reason is looked for where it was counted: a debug build checks that none is left.
    let why = lp.why_alive();
    assert_eq!(
        why.reasons[0].state,
        "1 datagram waiting to be sent, 5 bytes"
    );
    socket.close().unwrap();
    lp.run().unwrap();
    assert!(lp.why_alive().is_empty());
}
