//! What keeps a program alive: sockets that connect (N51–N53, N55). A process per row.
//!
//! `tests/support_process/liveness.rs` tells how a row is checked, and how to check the rows
//! against Node.

mod support_process;

use std::net::SocketAddr;

use nodeloop::net::{self, Socket, SocketOptions};
use nodeloop::{Loop, LoopHandle};
use support_process::liveness::Step::{self, *};
use support_process::liveness::{address_of, anywhere, row, say, target, tcp_only};

/// A server in the same process that holds nothing, and nor do its sockets.
fn beside_a_server(lp: &Loop, then: impl FnOnce(LoopHandle, SocketAddr)) {
    let options = net::ServerOptions::new().pause_on_connect(true);
    let server = net::create_server_with(lp, options, |_| {});
    server.listen(anywhere()).expect("it does not listen yet");
    server.unref();
    then(lp.handle(), address_of(server));
}

/// The same in JavaScript: `server.address()` answers at once if no host is given.
macro_rules! beside_a_server_in_node {
    ($then:literal) => {
        concat!(
            "const server = net.createServer({ pauseOnConnect: true }, () => {}).listen(anywhere).unref();
             const to = anywhere ? { path: anywhere } : { port: server.address().port, host: '127.0.0.1' };
             const socket = new net.Socket();
             socket.on('connect', () => say('connect'));
             socket.on('finish', () => say('finish'));
             socket.on('error', (error) => say(error.code));
             socket.on('close', () => say('close'));
            ",
            $then
        )
    };
}

/// A socket that says what happens to it.
fn talkative(lp: LoopHandle) -> Socket {
    let socket = Socket::new(&lp, SocketOptions::new());
    socket.on_connect(|_| say("connect"));
    socket.on_finish(|_| say("finish"));
    socket.on_error(|_, error| say(error.code().unwrap_or("no code")));
    socket.on_close(|_, _| say("close"));
    socket
}

const CONNECTS_AND_ENDS: &[Step] = &[Prints("connect"), Exits];

const CONNECTS_AND_GOES_ON: &[Step] = &[Prints("connect"), StaysAlive];

#[test]
fn n52_a_socket_that_was_never_connected_does_not_hold() {
    row(
        beside_a_server_in_node!("socket.ref(); socket.resume();"),
        &[Exits],
        |lp| {
            let socket = talkative(lp.handle());
            socket.set_ref();
            socket.resume();
        },
    );
}

#[test]
fn n51_a_connected_socket_that_nobody_listens_to_reads_and_holds() {
    row(
        beside_a_server_in_node!("socket.connect(to);"),
        CONNECTS_AND_GOES_ON,
        |lp| {
            beside_a_server(lp, |lp, to| {
                talkative(lp).connect(target(to)).expect("it is there");
            });
        },
    );
}

#[test]
fn n51_one_that_was_paused_before_it_connected_does_not() {
    row(
        beside_a_server_in_node!("socket.pause(); socket.connect(to);"),
        CONNECTS_AND_ENDS,
        |lp| {
            beside_a_server(lp, |lp, to| {
                let socket = talkative(lp);
                socket.pause();
                socket.connect(target(to)).expect("it is there");
            });
        },
    );
}

#[test]
fn n53_n55_an_unreferenced_socket_holds_until_it_is_connected() {
    row(
        beside_a_server_in_node!("socket.unref(); socket.connect(to);"),
        CONNECTS_AND_ENDS,
        |lp| {
            beside_a_server(lp, |lp, to| {
                let socket = talkative(lp);
                socket.unref();
                socket.connect(target(to)).expect("it is there");
            });
        },
    );
}

#[test]
fn n55_unref_while_connecting_is_applied_too() {
    row(
        beside_a_server_in_node!("socket.connect(to); socket.unref();"),
        CONNECTS_AND_ENDS,
        |lp| {
            beside_a_server(lp, |lp, to| {
                let socket = talkative(lp);
                socket.connect(target(to)).expect("it is there");
                socket.unref();
            });
        },
    );
}

#[test]
fn n55_ref_and_unref_before_connect_are_not_counted() {
    row(
        beside_a_server_in_node!("socket.unref().unref().ref(); socket.connect(to);"),
        CONNECTS_AND_GOES_ON,
        |lp| {
            beside_a_server(lp, |lp, to| {
                let socket = talkative(lp);
                socket.unref();
                socket.unref();
                socket.set_ref();
                socket.connect(target(to)).expect("it is there");
            });
        },
    );
}

#[test]
fn n53_a_connect_that_is_refused_holds_until_its_close() {
    if tcp_only("a path is gone with its server, so nothing refuses") {
        return;
    }
    row(
        beside_a_server_in_node!(
            "socket.unref(); server.close(() => socket.connect(to)); server.ref();"
        ),
        &[Prints("ECONNREFUSED"), Prints("close"), Exits],
        |lp| {
            beside_a_server(lp, |lp, to| {
                let (taken, refuses) = refusing();
                let socket = talkative(lp);
                socket.unref();
                // Held until the end, so that nobody else listens there.
                socket.on_close(move |_, _| assert!(taken.local_addr().is_ok()));
                socket.connect(target(refuses)).expect("it is there");
                assert_ne!(to, refuses);
            });
        },
    );
}

/// A port that is bound but not listening.
fn refusing() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
        .expect("a descriptor is free");
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any_port.into()).expect("a port is free");
    let address = socket.local_addr().expect("it is bound").as_socket();
    (socket, address.expect("it is an IP address"))
}

#[test]
fn n53_what_is_written_before_the_connection_stands_holds_until_it_is_out() {
    row(
        beside_a_server_in_node!(
            "socket.unref(); socket.connect(to); socket.write('x', () => say('written'));"
        ),
        &[Prints("connect"), Prints("written"), Exits],
        |lp| {
            beside_a_server(lp, |lp, to| {
                let socket = talkative(lp);
                socket.unref();
                socket.connect(target(to)).expect("it is there");
                socket.write_then("x", |_| say("written"));
            });
        },
    );
}

#[test]
fn n53_an_end_before_the_connection_stands_holds_until_the_half_close() {
    row(
        beside_a_server_in_node!("socket.unref(); socket.connect(to); socket.end('x');"),
        &[Prints("connect"), Prints("finish"), Exits],
        |lp| {
            beside_a_server(lp, |lp, to| {
                let socket = talkative(lp);
                socket.unref();
                socket.connect(target(to)).expect("it is there");
                socket.end_with("x");
            });
        },
    );
}

#[test]
fn n127_a_socket_destroyed_while_connecting_holds_until_its_close() {
    row(
        beside_a_server_in_node!("socket.unref(); socket.connect(to); socket.destroy();"),
        &[Prints("close"), Exits],
        |lp| {
            beside_a_server(lp, |lp, to| {
                let socket = talkative(lp);
                socket.unref();
                socket.connect(target(to)).expect("it is there");
                socket.destroy();
            });
        },
    );
}

#[test]
fn n51_a_half_open_client_whose_peer_has_ended_does_not_hold() {
    row(
        "const server = net.createServer((socket) => socket.end()).listen(anywhere).unref();
         const to = anywhere ? { path: anywhere, allowHalfOpen: true } : { port: server.address().port, host: '127.0.0.1', allowHalfOpen: true };
         const socket = net.connect(to).resume();
         socket.on('end', () => say('end'));
         socket.on('close', () => say('close'));
         server.on('connection', (socket) => socket.unref());",
        &[Prints("end"), Exits],
        |lp| {
            let server = net::create_server(lp, |socket| {
                socket.unref();
                socket.end();
            });
            server
                .listen(anywhere())
                .expect("it does not listen yet");
            server.unref();
            let to = target(address_of(server));
            let options = SocketOptions::new().allow_half_open(true);
            let socket = net::connect(lp, to.socket(options));
            socket.resume();
            socket.on_end(|_| say("end"));
            socket.on_close(|_, _| say("close"));
        },
    );
}
