//! How a client begins: what it emits and what it answers until the connection stands, or fails
//! (N97–N117, C1–C12, W11).
//!
//! `tests/support/traced.rs` tells how to read a trace. In one thing these differ from Node's: the
//! completions of writes that never got to a connection come before 'close', as all others do. In
//! Node they come in the middle of its listeners, behind those added before the write, and break a
//! connection that one of these has begun.

mod support;

use std::net::SocketAddr;

use nodeloop::Loop;
use nodeloop::net::{self, ConnectOptions, Socket, SocketOptions};
use support::traced::*;
use support::*;

/// Two writes and an end before the connection stands.
fn two_writes_and_an_end(socket: Socket, log: &Recorder) {
    socket.write_then("one", log.done("w1"));
    socket.write_then("two", log.done("w2"));
    socket.end_then(log.done("end"));
}

/// A raw peer that sends `bytes`, ends, and waits for the client's end: what it got.
fn raw_peer(bytes: &'static [u8]) -> (std::thread::JoinHandle<Vec<u8>>, SocketAddr) {
    let (listener, address) = raw_listener();
    let peer = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        send_and_end(&stream, bytes);
        read_to_end(&stream)
    });
    (peer, address)
}

#[test]
fn n98_n99_the_state_at_every_step_of_a_connection() {
    scene(
        "new [-p-- open rw--- 0/0 wl0 - --]
         called [cp-- opening rw--- 0/0 wl0 - --]
         attempt [cp-- opening rw--- 0/0 wl0 - --]
         connect [---- open rw--- 0/0 wl0 - lm]
         connect_then
         ready [---- open rw--- 0/0 wl0 - lm]
         data hi
         end [---- writeOnly -wE-- 2/0 wl0 - lm]
         finish [---- closed --Eef 2/0 wl0 - lm]
         close false [-pdC closed --Eef 2/0 wl0 - -m]",
        |lp, log| {
            let (_, address) = raw_peer(b"hi");
            let socket = Socket::new(lp, SocketOptions::new());
            log.state("new", socket);
            log.trace(socket);
            let inner = log.clone();
            let then = move |_| inner.note("connect_then");
            socket.connect_then(target(address), then).unwrap();
            log.state("called", socket);
            assert_eq!(socket.server(), None, "N96");
            assert!(!socket.allow_half_open());
        },
    );
}

#[test]
fn n97_c5_every_way_to_connect_begins_on_the_next_tick() {
    if tcp_only("a path is connected to within the call") {
        return;
    }
    for way in 0..5 {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let (peer, address) = raw_peer(b"");
        let log = Recorder::new();
        lp.next_tick({
            let log = log.clone();
            move |_| log.note("a tick before")
        });
        let (ip, port) = (address.ip(), address.port());
        let socket = match way {
            0 => net::connect(&lp, target(address)),
            1 => net::connect(&lp, (ip, port)),
            2 => net::connect(&lp, (ip.to_string(), port)),
            3 => net::connect_then(&lp, ConnectOptions::new("127.0.0.1", port), |_| {}),
            _ => {
                let socket = Socket::new(&lp, SocketOptions::new());
                socket.connect(("127.0.0.1", port)).unwrap();
                socket
            }
        };
        let (inner, to) = (log.clone(), address);
        socket.on_connection_attempt(move |_, address| {
            assert_eq!(address, to);
            inner.note("attempt");
        });
        socket.on_connect(log.noting("connect"));
        socket.resume();
        lp.next_tick({
            let log = log.clone();
            move |_| log.note("a tick behind")
        });
        log.expect(&[]);
        lp.run().unwrap();
        log.expect(&["a tick before", "attempt", "a tick behind", "connect"]);
        join(peer);
    }
}

#[test]
fn n103_n104_w11_writes_and_an_end_before_the_connection_stands() {
    // N103, N104, W11
    scene(
        "both [cp-- opening rw--- 0/6 wl6 - --]
         ended [cp-- opening r--e- 0/11 wl11 - --]
         attempt [cp-- opening r--e- 0/11 wl11 - --]
         connect [---- readOnly r--e- 0/11 wl11 - lm]
         w1 ok
         ready [---- readOnly r--e- 0/11 wl0 - lm]
         w2 ok
         end ok
         finish [---- readOnly r--ef 0/11 wl0 - lm]
         peer has onetwothree
         end [---- closed --Eef 0/11 wl0 - lm]
         close false [-pdC closed --Eef 0/11 wl0 - -m]",
        |lp, log| {
            let (listener, address) = raw_listener();
            let socket = net::connect(lp, target(address));
            log.trace(socket);
            assert!(socket.write_then("one", log.done("w1")));
            assert!(socket.write_then("two", log.done("w2")));
            log.state("both", socket);
            socket.end_with_then("three", log.done("end"));
            log.state("ended", socket);
            turn_until(lp, || socket.writable_finished());
            let (peer, _) = listener.accept().unwrap();
            let text = String::from_utf8(read_to_end(&peer)).unwrap();
            log.note(format!("peer has {text}"));
        },
    );
}

#[test]
fn n104_an_end_before_the_connection_stands() {
    scene(
        "ended [cp-- opening r--e- 0/0 wl0 - --]
         attempt [cp-- opening r--e- 0/0 wl0 - --]
         connect [---- readOnly r--e- 0/0 wl0 - lm]
         ready [---- readOnly r--e- 0/0 wl0 - lm]
         end ok
         finish [---- readOnly r--ef 0/0 wl0 - lm]
         end [---- closed --Eef 0/0 wl0 - lm]
         close false [-pdC closed --Eef 0/0 wl0 - -m]",
        |lp, log| {
            let (listener, address) = raw_listener();
            let socket = net::connect(lp, target(address));
            log.trace(socket);
            socket.end_then(log.done("end"));
            log.state("ended", socket);
            // S7: the half-close waits for the connection.
            turn_until(lp, || socket.writable_finished());
            let (peer, _) = listener.accept().unwrap();
            assert!(read_to_end(&peer).is_empty());
        },
    );
}

#[test]
fn n136_a_write_behind_the_end_destroys_a_socket_that_connects() {
    scene(
        "w3 ERR_STREAM_WRITE_AFTER_END
         error ERR_STREAM_WRITE_AFTER_END [-pdC closed ---e- 0/6 wl6 ERR_STREAM_WRITE_AFTER_END --]
         w1 ERR_SOCKET_CLOSED_BEFORE_CONNECTION
         w2 ERR_STREAM_WRITE_AFTER_END
         end ERR_STREAM_WRITE_AFTER_END
         close true [-pdC closed ---e- 0/3 wl0 ERR_STREAM_WRITE_AFTER_END --]",
        |lp, log| {
            let socket = net::connect(lp, ("127.0.0.1", 9));
            log.trace(socket);
            two_writes_and_an_end(socket, log);
            assert!(!socket.write_then("late", log.done("w3")));
        },
    );
}

#[test]
fn n106_destroy_before_the_attempt() {
    scene(
        "destroyed [-pdC closed ----- 0/6 wl6 - --]
         w1 ERR_SOCKET_CLOSED_BEFORE_CONNECTION
         w2 ERR_SOCKET_CLOSED_BEFORE_CONNECTION
         close false [-pdC closed ----- 0/3 wl0 ERR_SOCKET_CLOSED_BEFORE_CONNECTION --]",
        |lp, log| {
            let socket = net::connect(lp, ("127.0.0.1", 9));
            log.trace(socket);
            socket.write_then("one", log.done("w1"));
            socket.write_then("two", log.done("w2"));
            socket.destroy();
            log.state("destroyed", socket);
            socket.destroy_with("too late");
        },
    );
}

#[test]
fn n106_c10_destroy_of_a_connect_that_hangs() {
    if tcp_only("a path is connected at once, or refused") {
        return;
    }
    scene(
        "attempt [cp-- opening r--e- 0/6 wl6 - --]
         destroyed [-pdC closed ---e- 0/6 wl6 - --]
         w1 ERR_SOCKET_CLOSED_BEFORE_CONNECTION
         w2 ERR_SOCKET_CLOSED_BEFORE_CONNECTION
         end ERR_SOCKET_CLOSED_BEFORE_CONNECTION
         close false [-pdC closed ---e- 0/3 wl0 ERR_SOCKET_CLOSED_BEFORE_CONNECTION --]",
        |lp, log| {
            let (_deaf, address) = deaf();
            let socket = net::connect(lp, target(address));
            log.trace(socket);
            two_writes_and_an_end(socket, log);
            for _ in 0..5 {
                lp.run_nowait().unwrap();
            }
            assert!(socket.connecting());
            assert!(lp.is_alive());
            socket.destroy();
            log.state("destroyed", socket);
        },
    );
}

#[test]
fn n106_destroy_with_an_error_while_connecting() {
    if tcp_only("a path is connected at once, or refused") {
        return;
    }
    scene(
        "attempt [cp-- opening rw--- 0/6 wl6 - --]
         destroyed [-pdC closed ----- 0/6 wl6 why --]
         error why [-pdC closed ----- 0/6 wl6 why --]
         w1 ERR_SOCKET_CLOSED_BEFORE_CONNECTION
         w2 why
         close true [-pdC closed ----- 0/3 wl0 why --]",
        |lp, log| {
            let (_deaf, address) = deaf();
            let socket = net::connect(lp, target(address));
            log.trace(socket);
            socket.write_then("one", log.done("w1"));
            socket.write_then("two", log.done("w2"));
            turn_until(lp, || log.has("attempt [cp-- opening rw--- 0/6 wl6 - --]"));
            socket.destroy_with("why");
            log.state("destroyed", socket);
        },
    );
}

#[test]
fn destroy_inside_the_attempt_prevents_it() {
    if tcp_only("a path is connected to within the call") {
        return;
    }
    // In Node this is a TypeError out of nowhere.
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (listener, address) = raw_listener();
    let socket = net::connect(&lp, target(address));
    let log = Recorder::new();
    log.follow(socket);
    socket.on_connection_attempt(|socket, _| socket.destroy());
    lp.run().unwrap();
    log.expect(&["close false"]);
    assert_eq!(lp.counts().connects, 0);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody has come");
}

#[test]
fn n107_a_reset_waits_for_the_connection() {
    if tcp_only("there are no resets") {
        return;
    }
    for before in [true, false] {
        scene(
            "reset [cp-- opening rw--- 0/6 wl6 - --]
             attempt [cp-- opening rw--- 0/6 wl6 - --]
             connect [---- open rw--- 0/6 wl6 - lm]
             w1 ok
             ready [-pdC closed ----- 0/6 wl0 - -m]
             w2 ok
             close false [-pdC closed ----- 0/6 wl0 - -m]
             peer sees reset",
            |lp, log| {
                let (listener, address) = raw_listener();
                let socket = net::connect(lp, target(address));
                log.trace(socket);
                socket.write_then("one", log.done("w1"));
                socket.write_then("two", log.done("w2"));
                if before {
                    socket.reset_and_destroy();
                    log.state("reset", socket);
                } else {
                    log.state("reset", socket);
                    socket.on_connection_attempt(|socket, _| socket.reset_and_destroy());
                }
                turn_until(lp, || socket.destroyed() && !lp.is_alive());
                let (peer, _) = listener.accept().unwrap();
                log.note(format!("peer sees {}", ending(&peer)));
            },
        );
    }
}

#[test]
fn n133_destroy_soon_while_connecting() {
    scene(
        "soon [cp-- opening r--e- 0/6 wl6 - --]
         attempt [cp-- opening r--e- 0/6 wl6 - --]
         connect [---- readOnly r--e- 0/6 wl6 - lm]
         w1 ok
         ready [---- readOnly r--e- 0/6 wl0 - lm]
         w2 ok
         finish [---- readOnly r--ef 0/6 wl0 - lm]
         close false [-pdC closed ---ef 0/6 wl0 - -m]",
        |lp, log| {
            let (listener, address) = raw_listener();
            let socket = net::connect(lp, target(address));
            log.trace(socket);
            socket.write_then("one", log.done("w1"));
            socket.write_then("two", log.done("w2"));
            socket.destroy_soon();
            log.state("soon", socket);
            turn_until(lp, || socket.destroyed());
            let (peer, _) = listener.accept().unwrap();
            assert_eq!(read_to_end(&peer), b"onetwo");
        },
    );
}

#[test]
fn c8_the_unspecified_address_is_this_host() {
    if tcp_only("it is about addresses") {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (peer, address) = raw_peer(b"");
    let socket = net::connect(&lp, ("0.0.0.0", address.port()));
    socket.on_connect(move |socket| {
        assert_eq!(socket.remote_address(), Some(address));
        assert_eq!(socket.local_address().unwrap().ip(), address.ip());
        assert_eq!(socket.address(), socket.local_address());
    });
    socket.resume();
    lp.run().unwrap();
    join(peer);
}

#[test]
fn n114_the_local_end_is_what_was_asked_for() {
    if tcp_only("it is about addresses") {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (listener, address) = raw_listener();
    let (held, local) = refusing("127.0.0.78");
    drop(held);
    let to = target(address).local_address(local.ip());
    let socket = net::connect(&lp, to.local_port(local.port()));
    let log = Recorder::new();
    socket.on_connect(log.noting("connect"));
    turn_until(&lp, || log.has("connect"));
    assert_eq!(socket.local_address(), Some(local));
    assert_eq!(listener.accept().unwrap().1, Some(local));
    socket.destroy();
    lp.run().unwrap();
}

#[test]
fn c1_c12_without_a_word_of_the_peer_ipv6_is_the_same() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let server = net::create_server(&lp, |socket| {
        assert!(socket.remote_address().unwrap().is_ipv6());
        socket.end();
        socket.server().unwrap().close();
    });
    server
        .listen(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0)))
        .unwrap();
    let socket = net::connect(&lp, target(address_of(server)));
    let log = Recorder::new();
    log.follow(socket);
    lp.run().unwrap();
    log.expect(&["end", "finish", "close false"]);
}

#[test]
fn no_attempt_follows_a_destroy_in_lookup() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let to = net::ConnectOptions::new("some.name", 9)
        .lookup(|_, _, answer| answer.found([std::net::Ipv4Addr::LOCALHOST.into()]));
    let socket = net::connect(&lp, to);
    let inner = log.clone();
    socket.on_lookup(move |socket, _, _| {
        inner.note("lookup");
        socket.destroy();
    });
    let inner = log.clone();
    socket.on_connection_attempt(move |_, _| inner.note("attempt"));
    let inner = log.clone();
    socket.on_close(move |_, _| inner.note("close"));
    lp.run().unwrap();
    log.expect(&["lookup", "close"]);
}
