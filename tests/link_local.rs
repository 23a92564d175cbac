//! Link-local addresses and their zones: where they are connected to without one, and that errors name
//! it. In a network of their own, where the loopback interface, whose number is 1, has such an address.

#![cfg(target_os = "linux")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use nodeloop::net::{self, ConnectOptions, ListenOptions, Server, Socket};
use nodeloop::{Error, Loop};
use support::own_network::*;
use support::*;

/// Such an address can be used a little later than it is added: when there is a route to it.
const SETUP: &str = "ip link set lo up && ip addr add fe80::7/64 dev lo nodad && \
    for _ in $(seq 1000); do ip -6 route show table local | grep -q fe80::7 && break; sleep 0.01; done";

/// A server that closes when somebody has come, and what was accepted.
fn server_at(lp: &Loop, host: &str) -> (Server, Rc<RefCell<Option<String>>>) {
    let peer = Rc::new(RefCell::new(None));
    let found = peer.clone();
    let server = net::create_server(lp, move |socket| {
        *found.borrow_mut() = Some(socket.remote_address().unwrap().ip().to_string());
        socket.server().unwrap().close();
        socket.destroy();
    });
    server.listen((host, 0)).unwrap();
    turn_until(lp, || server.listening());
    (server, peer)
}

#[test]
#[cfg(feature = "full-udp")]
fn c9_without_a_zone_the_first_interface_with_such_an_address_is_taken() {
    const NAME: &str = "c9_without_a_zone_the_first_interface_with_such_an_address_is_taken";
    in_own_network(SETUP, NAME, || {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let (server, _) = server_at(&lp, "fe80::7%lo");
        let address = server.address().unwrap();
        let log = Recorder::new();
        let socket = net::connect(&lp, ("fe80::7", address.port()));
        let inner = log.clone();
        socket.on_connection_attempt(move |_, to| inner.note(format!("attempt {}", to.ip())));
        let inner = log.clone();
        socket.on_connect(move |socket| {
            assert_eq!(socket.remote_address(), Some(address));
            inner.note("connect");
            socket.destroy();
        });
        socket.on_error(|_, error| panic!("{error}"));
        lp.run().unwrap();
        log.expect(&["attempt fe80::7", "connect"]);
        "connected".to_string()
    });
}

#[test]
fn n114_a_local_address_is_of_the_zone_that_is_connected_to() {
    const NAME: &str = "n114_a_local_address_is_of_the_zone_that_is_connected_to";
    in_own_network(SETUP, NAME, || {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let (server, peer) = server_at(&lp, "fe80::7%lo");
        let port = server.address().unwrap().port();
        let to = ConnectOptions::new("fe80::7%lo", port).local_address("fe80::7".parse().unwrap());
        let socket = net::connect(&lp, to);
        socket.on_error(|_, error| panic!("{error}"));
        socket.resume();
        lp.run().unwrap();
        assert_eq!(peer.borrow().as_deref(), Some("fe80::7"));
        "connected".to_string()
    });
}

/// The error of a connection.
fn error_of(to: impl Into<ConnectOptions>) -> Error {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let found = Rc::new(RefCell::new(None));
    let socket: Socket = net::connect(&lp, to);
    let inner = found.clone();
    socket.on_error(move |_, error| *inner.borrow_mut() = Some(error.clone()));
    lp.run().unwrap();
    found.take().expect("it failed")
}

#[test]
fn errors_name_the_zone() {
    const NAME: &str = "errors_name_the_zone";
    in_own_network(SETUP, NAME, || {
        let error = error_of(("fe80::7%lo", 1));
        assert_eq!(error.to_string(), "connect ECONNREFUSED fe80::7%1:1");
        assert_eq!(error.address(), Some("fe80::7%1"));
        let foreign = "fe80::8".parse().unwrap();
        let error = error_of(ConnectOptions::new("fe80::7%lo", 1).local_address(foreign));
        assert_eq!(error.to_string(), "bind EADDRNOTAVAIL fe80::8%1");

        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let log = Recorder::new();
        let server = Server::new(&lp, net::ServerOptions::new());
        let inner = log.clone();
        server.on_error(move |_, error| inner.note(error));
        let at = ListenOptions::new().host("fe80::8%lo").port(4000);
        server.listen(at).unwrap();
        lp.run().unwrap();
        log.expect(&["listen EADDRNOTAVAIL: address not available fe80::8%1:4000"]);
        "named".to_string()
    });
}
