//! Clients in odd states: never connected, ended or destroyed inside 'connect', both ends in one
//! loop (N105–N108, N119, N127–N141, N143, N147, O4).
//!
//! `tests/support/traced.rs` tells how to read a trace.

mod support;

use std::io::Write;

use nodeloop::Loop;
use nodeloop::net::{self, ServerOptions, Socket, SocketOptions};
use support::traced::*;
use support::*;

/// What is done to a socket.
type Act = fn(Socket, &Recorder);

/// A socket that was never connected.
fn never(expected: &str, act: Act) {
    scene(expected, |lp, log| {
        let socket = Socket::new(lp, SocketOptions::new());
        log.trace(socket);
        act(socket, log);
        log.state("called", socket);
        lp.run().unwrap();
        if !socket.destroyed() {
            log.state("later", socket);
            // Never connected, it holds nothing (N52), but it is there.
            assert_eq!(lp.handles().len(), 1);
            socket.destroy();
        }
    });
}

#[test]
fn n111_destroy_without_a_connection() {
    never(
        "called [-pdC closed ----- 0/0 wl0 - --]
         close false [-pdC closed ----- 0/0 wl0 - --]",
        |socket, _| socket.destroy(),
    );
}

#[test]
fn n111_destroy_with_an_error_without_a_connection() {
    never(
        "called [-pdC closed ----- 0/0 wl0 why --]
         error why [-pdC closed ----- 0/0 wl0 why --]
         close false [-pdC closed ----- 0/0 wl0 why --]",
        |socket, _| socket.destroy_with("why"),
    );
}

#[test]
fn n133_destroy_soon_without_a_connection() {
    never(
        "called [-p-- readOnly r--e- 0/0 wl0 - --]
         finish [-p-- readOnly r--ef 0/0 wl0 - --]
         close false [-pdC closed ---ef 0/0 wl0 - --]",
        |socket, _| socket.destroy_soon(),
    );
}

#[test]
fn n107_reset_without_a_connection() {
    never(
        "called [-pdC closed ----- 0/0 wl0 ERR_SOCKET_CLOSED --]
         error ERR_SOCKET_CLOSED [-pdC closed ----- 0/0 wl0 ERR_SOCKET_CLOSED --]
         close false [-pdC closed ----- 0/0 wl0 ERR_SOCKET_CLOSED --]",
        |socket, _| socket.reset_and_destroy(),
    );
}

#[test]
fn n108_write_without_a_connection() {
    never(
        "called [-p-- readOnly r---- 0/0 wl0 ERR_SOCKET_CLOSED --]
         w ERR_SOCKET_CLOSED
         error ERR_SOCKET_CLOSED [-pdC closed ----- 0/0 wl0 ERR_SOCKET_CLOSED --]
         close false [-pdC closed ----- 0/0 wl0 ERR_SOCKET_CLOSED --]",
        |socket, log| assert!(!socket.write_then("x", log.done("w"))),
    );
}

#[test]
fn n108_end_with_data_without_a_connection() {
    never(
        "called [-p-- readOnly r---- 0/0 wl0 ERR_SOCKET_CLOSED --]
         end ERR_SOCKET_CLOSED
         error ERR_SOCKET_CLOSED [-pdC closed ----- 0/0 wl0 ERR_SOCKET_CLOSED --]
         close false [-pdC closed ----- 0/0 wl0 ERR_SOCKET_CLOSED --]",
        |socket, log| socket.end_with_then("x", log.done("end")),
    );
}

#[test]
fn d5_end_without_a_connection_finishes_at_once() {
    never(
        "called [-p-- readOnly r--e- 0/0 wl0 - --]
         end ok
         finish [-p-- readOnly r--ef 0/0 wl0 - --]
         later [-p-- readOnly r--ef 0/0 wl0 - --]
         close false [-pdC closed ---ef 0/0 wl0 - --]",
        |socket, log| socket.end_then(log.done("end")),
    );
}

/// Does something in a 'connect' listener that was there before a write. The peer says how the
/// connection ended.
fn in_connect(expected: &str, act: Act) {
    scene(expected, |lp, log| {
        let (listener, address) = raw_listener();
        let socket = Socket::new(lp, SocketOptions::new());
        let inner = log.clone();
        socket.on_connect(move |socket| {
            act(socket, &inner);
            inner.state("called", socket);
        });
        log.trace(socket);
        socket.connect(target(address)).unwrap();
        socket.write_then("one", log.done("w1"));
        turn_until(lp, || !socket.connecting());
        let (peer, _) = listener.accept().unwrap();
        for _ in 0..10 {
            lp.run_nowait().unwrap();
        }
        log.note(format!("peer sees {}", ending(&peer)));
    });
}

#[test]
fn destroy_inside_connect() {
    in_connect(
        "attempt [cp-- opening rw--- 0/3 wl3 - --]
         called [-pdC closed ----- 0/3 wl3 - -m]
         connect [-pdC closed ----- 0/3 wl3 - -m]
         w1 ERR_SOCKET_CLOSED
         ready [-pdC closed ----- 0/3 wl0 ERR_SOCKET_CLOSED -m]
         close false [-pdC closed ----- 0/3 wl0 ERR_SOCKET_CLOSED -m]
         peer sees end",
        |socket, _| socket.destroy(),
    );
}

#[test]
fn destroy_with_an_error_inside_connect() {
    in_connect(
        "attempt [cp-- opening rw--- 0/3 wl3 - --]
         called [-pdC closed ----- 0/3 wl3 why -m]
         connect [-pdC closed ----- 0/3 wl3 why -m]
         w1 ERR_SOCKET_CLOSED
         ready [-pdC closed ----- 0/3 wl0 why -m]
         error why [-pdC closed ----- 0/3 wl0 why -m]
         close true [-pdC closed ----- 0/3 wl0 why -m]
         peer sees end",
        |socket, _| socket.destroy_with("why"),
    );
}

#[test]
fn end_inside_connect() {
    in_connect(
        "attempt [cp-- opening rw--- 0/3 wl3 - --]
         called [---- readOnly r--e- 0/4 wl4 - lm]
         connect [---- readOnly r--e- 0/4 wl4 - lm]
         w1 ok
         ready [---- readOnly r--e- 0/4 wl0 - lm]
         end ok
         finish [---- readOnly r--ef 0/4 wl0 - lm]
         peer sees end
         end [---- closed --Eef 0/4 wl0 - lm]
         close false [-pdC closed --Eef 0/4 wl0 - -m]",
        |socket, log| socket.end_with_then("x", log.done("end")),
    );
}

#[test]
fn n133_destroy_soon_inside_connect() {
    in_connect(
        "attempt [cp-- opening rw--- 0/3 wl3 - --]
         called [---- readOnly r--e- 0/3 wl3 - lm]
         connect [---- readOnly r--e- 0/3 wl3 - lm]
         w1 ok
         ready [---- readOnly r--e- 0/3 wl0 - lm]
         finish [---- readOnly r--ef 0/3 wl0 - lm]
         close false [-pdC closed ---ef 0/3 wl0 - -m]
         peer sees end",
        |socket, _| socket.destroy_soon(),
    );
}

/// The rows that only differ in how a standing connection is destroyed.
fn destroyed(act: Act, peer_sees: &str, unread: bool, expected: &[&str]) {
    for spurious in [false, true] {
        let lp = Loop::builder().spurious_events(spurious).build().unwrap();
        let _deadline = deadline(&lp, 20);
        let (listener, address) = raw_listener();
        let log = Recorder::new();
        let socket = net::connect(&lp, target(address));
        log.follow(socket);
        turn_until(&lp, || !socket.connecting());
        let (mut peer, _) = listener.accept().unwrap();
        if unread {
            peer.write_all(b"unread").unwrap();
        }
        act(socket, &log);
        assert!(socket.destroyed() && socket.closed() && socket.pending());
        assert_eq!(socket.local_address(), None);
        // N127, N147: it is closed by now.
        assert_eq!(ending(&peer), peer_sees);
        // N138, N129, N143: nothing of this does anything.
        assert!(!socket.write_then("late", log.done("late")));
        socket.destroy_with("later");
        socket.set_no_delay(true);
        socket.set_keep_alive(true, 1000);
        socket.pause();
        socket.resume();
        socket.set_ref();
        socket.unref();
        socket.reset_and_destroy();
        socket.destroy_soon();
        lp.run().unwrap();
        log.expect(expected);
        assert_eq!(lp.handles().len(), 0);
    }
}

#[test]
fn n127_n130_destroy() {
    destroyed(
        |socket, _| socket.destroy(),
        "end",
        false,
        &["late ERR_STREAM_DESTROYED", "close false"],
    );
}

#[test]
fn n131_destroy_with_unread_data_resets() {
    destroyed(
        |socket, _| socket.destroy(),
        "reset",
        true,
        &["late ERR_STREAM_DESTROYED", "close false"],
    );
}

#[test]
fn n128_n139_destroy_with_an_error() {
    destroyed(
        |socket, _| socket.destroy_with("why"),
        "end",
        false,
        &["error why", "late ERR_STREAM_DESTROYED", "close true"],
    );
}

#[test]
fn n134_o4_a_reset_is_one_on_the_wire() {
    if tcp_only("there are no resets") {
        return;
    }
    destroyed(
        |socket, _| socket.reset_and_destroy(),
        "reset",
        false,
        &["late ERR_STREAM_DESTROYED", "close false"],
    );
}

#[test]
fn o4_a_reset_behind_a_half_close_is_one_too() {
    if tcp_only("there are no resets") {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (listener, address) = raw_listener();
    let log = Recorder::new();
    let socket = net::connect(&lp, target(address));
    log.follow(socket);
    socket.end_then(log.done("end"));
    turn_until(&lp, || socket.writable_finished());
    let (mut peer, _) = listener.accept().unwrap();
    assert!(read_to_end(&peer).is_empty());
    socket.reset_and_destroy();
    lp.run().unwrap();
    log.expect(&["end ok", "finish", "close false"]);
    assert!(peer.write_all(b"x").is_err(), "the connection is gone");
}

#[test]
fn s5_a_reset_while_the_half_close_waits_for_its_phase() {
    if tcp_only("there are no resets") {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (listener, address) = raw_listener();
    let log = Recorder::new();
    let socket = net::connect(&lp, target(address));
    log.follow(socket);
    turn_until(&lp, || !socket.connecting());
    let (peer, _) = listener.accept().unwrap();
    socket.end_then(log.done("end"));
    socket.reset_and_destroy();
    assert_eq!(ending(&peer), "reset");
    lp.run().unwrap();
    log.expect(&["end ERR_STREAM_DESTROYED", "close false"]);
}

#[test]
fn n119_both_ends_at_once() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (ours, theirs) = (Recorder::new(), Recorder::new());
    let log = theirs.clone();
    let (server, address) = listening(&lp, move |socket| {
        log.follow(socket);
        socket.end_with_then("from the server", log.done("ended"));
        socket.server().unwrap().close();
    });
    server.on_close(theirs.noting("server closed"));
    let socket = net::connect(&lp, target(address));
    ours.follow(socket);
    socket.end_with_then("from the client", ours.done("ended"));
    lp.run().unwrap();
    let expected = |data| ["ended ok", "finish", data, "end", "close false"];
    ours.expect(&expected("data from the server"));
    let mut noted = theirs.take();
    // N80: in front of the socket's own 'close'.
    let closed = noted.iter().position(|it| it == "server closed");
    assert_eq!(closed, Some(4));
    noted.remove(4);
    assert_eq!(noted, expected("data from the client"));
}

#[test]
fn n125_half_open_on_either_side() {
    for (here, there) in [(false, false), (false, true), (true, false), (true, true)] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let (ours, theirs) = (Recorder::new(), Recorder::new());
        let log = theirs.clone();
        let options = ServerOptions::new().allow_half_open(there);
        let (_, address) = listening_with(&lp, options, move |socket| {
            assert_eq!(socket.allow_half_open(), there);
            log.follow(socket);
            socket.server().unwrap().close();
            if there {
                // The answer comes long after the question has ended (N149).
                socket.on_end(|socket| {
                    let answer = move |_| socket.end_with("answer");
                    socket.event_loop().set_timeout_once(20, answer);
                });
            }
        });
        let to = target(address);
        let socket = net::connect(&lp, to.socket(SocketOptions::new().allow_half_open(here)));
        assert_eq!(socket.allow_half_open(), here);
        ours.follow(socket);
        socket.end_with("question");
        lp.run().unwrap();
        match there {
            true => {
                theirs.expect(&["data question", "end", "finish", "close false"]);
                ours.expect(&["finish", "data answer", "end", "close false"]);
            }
            false => {
                theirs.expect(&["data question", "end", "finish", "close false"]);
                ours.expect(&["finish", "end", "close false"]);
            }
        }
    }
}

#[test]
fn n137_end_twice_and_behind_finish() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (listener, address) = raw_listener();
    let log = Recorder::new();
    let socket = net::connect(&lp, target(address));
    log.follow(socket);
    turn_until(&lp, || !socket.connecting());
    let (peer, _) = listener.accept().unwrap();
    socket.end_then(log.done("first"));
    socket.end_then(log.done("second"));
    socket.end();
    turn_until(&lp, || socket.writable_finished());
    socket.end_then(log.done("third"));
    socket.end();
    drop(peer);
    lp.run().unwrap();
    log.expect(&[
        "first ok",
        "second ok",
        "finish",
        "third ERR_STREAM_ALREADY_FINISHED",
        "end",
        "close false",
    ]);
}
