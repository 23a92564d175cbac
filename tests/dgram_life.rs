//! UDP sockets: binding, sending, connecting, closing.

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use nodeloop::dgram::{self, Payload, SocketOptions, SocketType};
use nodeloop::{HandleKind, Loop};
use support::udp::*;
use support::{Recorder, code, deadline};

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
        server.send_to(message, info).unwrap();
        server.close().unwrap();
    });
    client.on_message(move |client, message, info| {
        assert_eq!(message, "Привет, 世界".as_bytes());
        assert_eq!(info.socket_addr(), address);
        client.close().unwrap();
    });
    client.send_to("Привет, 世界", address).unwrap();
    // The answer is dropped by N278, so the client closes another way.
    lp.set_timeout_once(50, move |_| {
        let _ = client.close();
    });
    lp.run().unwrap();
    assert_eq!(*seen.borrow(), ["Привет, 世界".as_bytes()]);
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
        client.disconnect().unwrap();
        assert_eq!(
            code(client.remote_address()),
            "ERR_SOCKET_DGRAM_NOT_CONNECTED"
        );
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
