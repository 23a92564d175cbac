//! What keeps a program alive: UDP sockets (N57, N58). A process per row.
//!
//! `tests/support_process/liveness.rs` tells how a row is checked, and how to check the rows
//! against Node.

mod support_process;

use nodeloop::Loop;
use nodeloop::dgram::{self, Socket, SocketType};
use support_process::liveness::Step::*;
use support_process::liveness::{row, say};

fn udp4(lp: &Loop) -> Socket {
    let socket = dgram::create_socket(lp, SocketType::Udp4);
    socket.on_listening(|_| say("bound"));
    socket.on_close(|_| say("close"));
    socket
}

/// The same in JavaScript.
macro_rules! udp4_in_node {
    ($then:literal) => {
        concat!(
            "const socket = dgram.createSocket('udp4');",
            "socket.on('listening', () => say('bound'));",
            "socket.on('close', () => say('close'));",
            $then
        )
    };
}

#[test]
fn n57_a_socket_that_is_only_made_does_not_hold() {
    row(udp4_in_node!(""), &[Exits], |lp| {
        udp4(lp);
    });
}

#[test]
fn n57_a_bound_socket_holds() {
    row(
        udp4_in_node!("socket.bind(0, '127.0.0.1');"),
        &[Prints("bound"), StaysAlive],
        |lp| udp4(lp).bind(("127.0.0.1", 0)).unwrap(),
    );
}

#[test]
fn n57_a_socket_that_is_bound_at_once_holds() {
    row(
        udp4_in_node!("socket.bindSync({ address: '127.0.0.1' });"),
        &[Prints("bound"), StaysAlive],
        |lp| {
            udp4(lp).bind_sync(("127.0.0.1", 0)).unwrap();
        },
    );
}

#[test]
fn n57_a_socket_that_sends_is_bound_and_holds() {
    row(
        udp4_in_node!("socket.send('x', 9, '127.0.0.1', () => say('sent'));"),
        &[Prints("bound"), Prints("sent"), StaysAlive],
        |lp| {
            let done = |_| say("sent");
            udp4(lp).send_to_then("x", ("127.0.0.1", 9), done).unwrap();
        },
    );
}

#[test]
fn n57_a_socket_that_connects_is_bound_and_holds() {
    row(
        udp4_in_node!("socket.connect(9, '127.0.0.1', () => say('connected'));"),
        &[Prints("bound"), Prints("connected"), StaysAlive],
        |lp| {
            let done = |_| say("connected");
            udp4(lp).connect_then(("127.0.0.1", 9), done).unwrap();
        },
    );
}

#[test]
fn n57_close_lets_go() {
    row(
        udp4_in_node!("socket.bind(0, '127.0.0.1', () => socket.close());"),
        &[Prints("bound"), Prints("close"), Exits],
        |lp| {
            udp4(lp)
                .bind_then(("127.0.0.1", 0), |socket| socket.close().unwrap())
                .unwrap();
        },
    );
}

#[test]
fn n57_an_unreferenced_socket_does_not_hold_yet_says_that_it_listens() {
    row(
        udp4_in_node!("socket.bind(0, '127.0.0.1'); socket.unref();"),
        &[Prints("bound"), Exits],
        |lp| {
            let socket = udp4(lp);
            socket.bind(("127.0.0.1", 0)).unwrap();
            socket.unref();
        },
    );
}

#[test]
fn n57_unref_before_the_binding_is_kept() {
    row(
        udp4_in_node!("socket.unref(); socket.bind(0, '127.0.0.1');"),
        &[Prints("bound"), Exits],
        |lp| {
            let socket = udp4(lp);
            socket.unref();
            socket.bind(("127.0.0.1", 0)).unwrap();
        },
    );
}

#[test]
fn n57_ref_holds_again() {
    row(
        udp4_in_node!("socket.unref(); socket.bind(0, '127.0.0.1', () => socket.ref());"),
        &[Prints("bound"), StaysAlive],
        |lp| {
            let socket = udp4(lp);
            socket.unref();
            socket.bind_then(("127.0.0.1", 0), Socket::set_ref).unwrap();
        },
    );
}

#[test]
fn n58_a_completion_of_an_unreferenced_socket_still_comes() {
    row(
        udp4_in_node!("socket.unref(); socket.send('x', 9, '127.0.0.1', () => say('sent'));"),
        &[Prints("bound"), Prints("sent"), Exits],
        |lp| {
            let socket = udp4(lp);
            socket.unref();
            let done = |_| say("sent");
            socket.send_to_then("x", ("127.0.0.1", 9), done).unwrap();
        },
    );
}

#[test]
fn n287_a_socket_that_joined_a_group_before_it_was_bound_does_not_hold() {
    row(
        udp4_in_node!(
            "try { socket.addMembership('127.0.0.1'); } catch (error) { say(error.code); }"
        ),
        &[Prints("EINVAL"), Exits],
        |lp| {
            let joined = udp4(lp).add_membership("127.0.0.1", None);
            say(joined.unwrap_err().code().unwrap());
        },
    );
}

#[test]
fn n262_a_socket_whose_binding_failed_does_not_hold() {
    row(
        udp4_in_node!("socket.on('error', (error) => say(error.code)); socket.bind(0, '1.2.3.4');"),
        &[Prints("EADDRNOTAVAIL"), Exits],
        |lp| {
            let socket = udp4(lp);
            socket.on_error(|_, error| say(error.code().unwrap()));
            socket.bind(("1.2.3.4", 0)).unwrap();
        },
    );
}

#[test]
#[cfg(feature = "full-udp")]
fn n276_disconnecting_does_not_let_go() {
    row(
        udp4_in_node!(
            "socket.connect(9, '127.0.0.1', () => { socket.disconnect(); say('disconnected'); });"
        ),
        &[Prints("bound"), Prints("disconnected"), StaysAlive],
        |lp| {
            let socket = udp4(lp);
            let done = move |_| {
                socket.disconnect().unwrap();
                say("disconnected");
            };
            socket.connect_then(("127.0.0.1", 9), done).unwrap();
        },
    );
}
