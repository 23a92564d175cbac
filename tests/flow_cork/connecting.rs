//! Corking a socket that is not connected yet, or never.

use std::net::{TcpListener, TcpStream};

use nodeloop::net::{self, Socket, SocketOptions};

use super::scene::{MARK, Scene, on_every_loop_with_large};
use super::support::*;

/// Plays a scene on a socket that is connecting, and compares what was noted and what arrived. A
/// `sent` of None says that no connection is made.
#[track_caller]
fn check_connecting(sent: Option<&str>, trace: &[&str], play: fn(Socket, &Scene)) {
    on_every_loop_with_large(|lp, large| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peer = sent.map(|_| std::thread::spawn(move || read_to_end(&accepted(&listener))));
        let scene = Scene::new(large, None);
        let options = SocketOptions::new().high_water_mark(MARK);
        let socket = net::connect(lp, target(address).socket(options));
        scene.0.log.follow_but_data(socket);
        socket.resume();
        play(socket, &scene);
        socket.on_ready(scene.0.log.noting("ready"));
        lp.run().unwrap();
        scene.0.log.expect(trace);
        if let (Some(peer), Some(sent)) = (peer, sent) {
            assert_eq!(join(peer), sent.as_bytes());
        }
    });
}

fn accepted(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn n179_n187_corked_while_connecting() {
    let trace = &[
        "a true",
        "b true",
        "corked 1 length 2 owes false",
        "connect",
        "corked 1 length 2 owes false",
        "ready",
        "later",
        "corked 0 length 0 owes false",
        "a ok",
        "b ok",
        "finish",
        "end",
        "close false",
    ];
    check_connecting(Some("ab"), trace, |socket, scene| {
        socket.cork();
        scene.write(socket, "a");
        scene.write(socket, "b");
        scene.state(socket);
        let scene = scene.clone();
        socket.on_connect(move |socket| {
            scene.note("connect");
            scene.state(socket);
            scene.later(socket, move |scene| {
                scene.note("later");
                socket.uncork();
                scene.state(socket);
                scene.end_later(socket);
            });
        });
    });
}

#[test]
fn n99_n187_uncorked_while_connecting() {
    // Handed down before that listener was added.
    let trace = &[
        "a true",
        "b true",
        "corked 0 length 2 owes false",
        "a ok",
        "b ok",
        "connect",
        "corked 0 length 0 owes false",
        "ready",
        "finish",
        "end",
        "close false",
    ];
    check_connecting(Some("ab"), trace, |socket, scene| {
        socket.cork();
        scene.write(socket, "a");
        scene.write(socket, "b");
        socket.uncork();
        scene.state(socket);
        let scene = scene.clone();
        socket.on_connect(move |socket| {
            scene.note("connect");
            scene.state(socket);
            scene.end_later(socket);
        });
    });
}

#[test]
fn n187_corked_behind_a_write_that_waits_for_the_connection() {
    let trace = &[
        "a true",
        "b true",
        "a ok",
        "connect",
        "ready",
        "later",
        "corked 1 length 1 owes false",
        "b ok",
        "finish",
        "end",
        "close false",
    ];
    check_connecting(Some("ab"), trace, |socket, scene| {
        scene.write(socket, "a");
        socket.cork();
        scene.write(socket, "b");
        let scene = scene.clone();
        socket.on_connect(move |socket| {
            scene.note("connect");
            scene.later(socket, move |scene| {
                scene.note("later");
                scene.state(socket);
                socket.uncork();
                scene.end_later(socket);
            });
        });
    });
}

#[test]
fn n187_ended_while_corked_and_connecting() {
    let trace = &[
        "a true",
        "a ok",
        "connect",
        "corked 0 length 0 owes false",
        "ready",
        "end ok",
        "finish",
        "end",
        "close false",
    ];
    check_connecting(Some("ac"), trace, |socket, scene| {
        socket.cork();
        scene.write(socket, "a");
        socket.end_with_then("c", scene.0.log.done("end"));
        let scene = scene.clone();
        socket.on_connect(move |socket| {
            scene.note("connect");
            scene.state(socket);
        });
    });
}

#[test]
fn n187_uncorked_in_connect() {
    let trace = &[
        "a true",
        "connect",
        "corked 0 length 0 owes false",
        "b true",
        "ready",
        "a ok",
        "b ok",
        "finish",
        "end",
        "close false",
    ];
    check_connecting(Some("ab"), trace, |socket, scene| {
        socket.cork();
        scene.write(socket, "a");
        let scene = scene.clone();
        socket.on_connect(move |socket| {
            socket.uncork();
            scene.note("connect");
            scene.state(socket);
            scene.write(socket, "b");
            scene.end_later(socket);
        });
    });
}

#[test]
fn n105_n187_destroyed_while_corked_and_connecting() {
    let trace = &[
        "a true",
        "b true",
        "a ERR_STREAM_DESTROYED",
        "b ERR_STREAM_DESTROYED",
        "close false",
    ];
    check_connecting(None, trace, |socket, scene| {
        socket.cork();
        scene.write(socket, "a");
        scene.write(socket, "b");
        socket.destroy();
        socket.uncork();
    });
    // In Node these are told by a 'close' listener of its own, and so behind those that were added
    // before the write; here completions always come first.
    let trace = &[
        "a true",
        "b true",
        "a ERR_SOCKET_CLOSED_BEFORE_CONNECTION",
        "b ERR_SOCKET_CLOSED_BEFORE_CONNECTION",
        "close false",
    ];
    check_connecting(None, trace, |socket, scene| {
        scene.write(socket, "a");
        socket.cork();
        scene.write(socket, "b");
        socket.destroy();
        socket.uncork();
    });
}

/// Plays a scene on a socket that was never connected.
#[track_caller]
fn check_unconnected(trace: &[&str], play: fn(Socket, &Scene)) {
    on_every_loop_with_large(|lp, large| {
        let scene = Scene::new(large, None);
        let socket = Socket::new(lp, SocketOptions::new().high_water_mark(MARK));
        scene.0.log.follow_but_data(socket);
        play(socket, &scene);
        lp.run().unwrap();
        scene.0.log.expect(trace);
    });
}

#[test]
fn n111_n187_corked_without_a_connection() {
    let trace = &[
        "a true",
        "b true",
        "corked 0 length 0 owes false",
        "a ERR_SOCKET_CLOSED",
        "b ERR_SOCKET_CLOSED",
        "error ERR_SOCKET_CLOSED",
        "close false",
    ];
    check_unconnected(trace, |socket, scene| {
        socket.cork();
        scene.write(socket, "a");
        scene.write(socket, "b");
        socket.uncork();
        scene.state(socket);
    });
    let trace = &[
        "a true",
        "corked 0 length 0 owes false",
        "a ERR_SOCKET_CLOSED",
        "end ERR_SOCKET_CLOSED",
        "error ERR_SOCKET_CLOSED",
        "close false",
    ];
    check_unconnected(trace, |socket, scene| {
        socket.cork();
        scene.write(socket, "a");
        socket.end_then(scene.0.log.done("end"));
        scene.state(socket);
    });
    let trace = &["a true", "a ERR_STREAM_DESTROYED", "close false"];
    check_unconnected(trace, |socket, scene| {
        socket.cork();
        scene.write(socket, "a");
        socket.destroy();
    });
}
