//! How a server closes while clients of the same loop are connected to it (N78–N83, N96, N147), and
//! `close_all`.

mod support;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use nodeloop::Loop;
use nodeloop::net::{self, Server, Socket};
use support::*;

/// A server whose events, and those of whose sockets, are noted.
fn noted_server(lp: &Loop, log: &Recorder) -> (Server, SocketAddr) {
    let inner = log.clone();
    let (server, address) = listening(lp, move |socket| {
        socket.resume();
        socket.on_end(inner.noting("server's end"));
        let log = inner.clone();
        socket.on_close(move |socket, _| {
            // N96: known although the server may have closed before.
            assert!(socket.server().is_some());
            log.note("server's socket closed");
        });
    });
    server.on_close(log.noting("server closed"));
    (server, address)
}

/// A client that reads, and notes its 'close' as `name`.
fn client_of(lp: &Loop, to: SocketAddr, log: &Recorder, name: &'static str) -> Socket {
    let socket = net::connect(lp, target(to));
    socket.resume();
    let log = log.clone();
    socket.on_close(move |_, _| log.note(name));
    socket
}

#[test]
fn n79_n80_n83_close_waits_for_the_connections_but_not_for_their_close() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let (server, address) = noted_server(&lp, &log);
    let one = client_of(&lp, address, &log, "one closed");
    let two = client_of(&lp, address, &log, "two closed");
    turn_until(&lp, || server.connections() == 2);
    server.close_then(log.done("close"));
    assert!(!server.listening());
    assert_eq!(server.address(), None);
    // N78: at once.
    assert!(try_connect(address).is_err());
    for _ in 0..5 {
        lp.run_nowait().unwrap();
    }
    log.expect(&[]);
    one.end();
    turn_until(&lp, || log.has("one closed"));
    assert_eq!(server.connections(), 1);
    log.expect(&["server's end", "server's socket closed", "one closed"]);
    two.end();
    lp.run().unwrap();
    log.expect(&[
        "server's end",
        "server closed",
        "close ok",
        "server's socket closed",
        "two closed",
    ]);
    assert_eq!(lp.handles().len(), 0);
}

#[test]
fn n81_close_twice_and_again_later() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let (server, _) = noted_server(&lp, &log);
    server.keep();
    server.close_then(log.done("1"));
    server.close_then(log.done("2"));
    lp.run().unwrap();
    let closed = "server closed";
    log.expect(&[closed, "1 ok", "2 ERR_SERVER_NOT_RUNNING", closed]);
    server.close_then(log.done("3"));
    lp.run().unwrap();
    log.expect(&[closed, "3 ERR_SERVER_NOT_RUNNING"]);
    server.release();
    server.close_then(log.done("4"));
    lp.run().unwrap();
    log.expect(&["4 ERR_HANDLE_GONE"]);
}

#[test]
fn n82_close_before_listening() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let server = net::create_server(&lp, |_| {});
    server.keep();
    server.on_close(log.noting("server closed"));
    server.on_listening(log.noting("listening"));
    server.close_then(log.done("never"));
    lp.run().unwrap();
    log.expect(&["server closed", "never ERR_SERVER_NOT_RUNNING"]);
    server.listen(0).unwrap();
    server.close_then(log.done("at once"));
    lp.run().unwrap();
    log.expect(&["server closed", "at once ok"]);
    server.listen(("127.0.0.1", 0)).unwrap();
    server.close_then(log.done("looked up"));
    lp.run().unwrap();
    log.expect(&["server closed", "looked up ERR_SERVER_NOT_RUNNING"]);
}

#[test]
fn n80_close_inside_the_connection_listener() {
    for destroy in [false, true] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let log = Recorder::new();
        let (server, address) = noted_server(&lp, &log);
        let inner = log.clone();
        server.on_connection(move |server, socket| {
            inner.note("connection");
            server.close_then(inner.done("close"));
            if destroy {
                socket.destroy();
            }
        });
        let client = client_of(&lp, address, &log, "client closed");
        client.end();
        lp.run().unwrap();
        let mut noted = log.take();
        noted.retain(|it| it != "server's end");
        let expected = [
            "connection",
            "server closed",
            "close ok",
            "server's socket closed",
            "client closed",
        ];
        assert_eq!(noted, expected);
    }
}

#[test]
fn n73_listen_again_in_close() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let server = net::create_server(&lp, |socket| socket.end_with("x"));
    let inner = log.clone();
    server.on_listening(move |server| {
        inner.note("listening");
        let client = net::connect(&server, target(address_of(server)));
        client.on_data(|_, chunk| assert_eq!(chunk, b"x"));
        let log = inner.clone();
        client.on_close(move |_, _| server.close_then(log.done("close")));
    });
    let mut rounds = 3;
    let inner = log.clone();
    server.on_close(move |server| {
        inner.note("server closed");
        rounds -= 1;
        if rounds > 0 {
            server.listen(0).unwrap();
        }
    });
    server.listen(0).unwrap();
    lp.run().unwrap();
    let round = ["listening", "server closed", "close ok"];
    log.expect(&[round, round, round].concat());
}

#[test]
fn n79_listen_again_while_connections_live_puts_the_close_off() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let (server, address) = noted_server(&lp, &log);
    let client = client_of(&lp, address, &log, "client closed");
    turn_until(&lp, || server.connections() == 1);
    server.close_then(log.done("1"));
    server
        .listen_then(0, {
            let log = log.clone();
            move |_| log.note("listening again")
        })
        .unwrap();
    turn_until(&lp, || log.has("listening again"));
    client.end();
    turn_until(&lp, || log.has("client closed"));
    log.expect(&[
        "listening again",
        "server's end",
        "server's socket closed",
        "client closed",
    ]);
    server.close_then(log.done("2"));
    lp.run().unwrap();
    log.expect(&["server closed", "1 ok", "2 ok"]);
}

#[test]
fn n78_who_waits_to_be_accepted_is_reset() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (server, address) = listening(&lp, |_| panic!("nobody is accepted any more"));
    let waiting = connect(address);
    server.close();
    assert_eq!(ending(&waiting), "reset");
    lp.run().unwrap();
}

#[test]
fn close_all_ends_the_connections_of_this_server_only() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let (server, address) = noted_server(&lp, &log);
    let other_log = Recorder::new();
    let (other, other_address) = noted_server(&lp, &other_log);
    let clients: Vec<_> = (0..3)
        .map(|_| client_of(&lp, address, &log, "client closed"))
        .collect();
    let bystander = client_of(&lp, other_address, &other_log, "client closed");
    turn_until(&lp, || {
        server.connections() == 3 && other.connections() == 1
    });
    server.close_all();
    assert_eq!(server.connections(), 0);
    assert!(!server.listening());
    turn_until(&lp, || clients.iter().all(|client| client.destroyed()));
    turn_until(&lp, || log.count("client closed") == 3);
    let noted = log.take();
    assert_eq!(noted[0], "server closed");
    assert_eq!(noted.len(), 7, "{noted:?}");
    other_log.expect(&[]);
    assert!(!bystander.destroyed());
    other.close();
    bystander.end();
    lp.run().unwrap();
    assert_eq!(lp.handles().len(), 0);
}

#[test]
fn close_all_inside_the_connection_listener() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let (server, address) = noted_server(&lp, &log);
    server.on_connection(|server, socket| {
        server.close_all();
        assert!(socket.destroyed());
    });
    client_of(&lp, address, &log, "client closed");
    lp.run().unwrap();
    log.expect(&["server closed", "server's socket closed", "client closed"]);
}

#[test]
fn n199_options_are_remembered_and_set_once() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = Socket::new(&lp, net::SocketOptions::new());
    socket.set_no_delay(true);
    socket.set_keep_alive(true, 5000);
    socket.connect(listener.local_addr().unwrap()).unwrap();
    let connected = Rc::new(Cell::new(false));
    let inner = connected.clone();
    socket.on_connect(move |_| inner.set(true));
    assert_eq!(lp.counts().options, 0);
    turn_until(&lp, || connected.get());
    assert_eq!(lp.counts().options, 2);
    socket.set_no_delay(true);
    socket.set_keep_alive(true, 5999);
    assert_eq!(lp.counts().options, 2, "nothing is new");
    socket.set_no_delay(false);
    socket.set_keep_alive(true, 6000);
    socket.set_keep_alive(false, 0);
    assert_eq!(lp.counts().options, 5);
    socket.destroy();
    socket.set_no_delay(true);
    lp.run().unwrap();
    assert_eq!(lp.counts().options, 5);
}

#[test]
fn n199_options_that_the_socket_is_made_with() {
    if tcp_only("it is about options of TCP") {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (server, address) = listening(&lp, |socket| socket.server().unwrap().close_all());
    let options = net::SocketOptions::new().no_delay(true).keep_alive(true, 0);
    let socket = net::connect(&lp, target(address).socket(options));
    socket.on_error(|_, _| {});
    socket.resume();
    lp.run().unwrap();
    assert_eq!(lp.counts().options, 2);
    assert!(!server.listening());
}
