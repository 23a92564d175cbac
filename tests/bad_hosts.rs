//! Hosts that can be none, wherever one is given: empty, with a NUL within, of 300 characters. What
//! Node throws is returned, and what it reports later comes later. No resolver is asked.

mod support;

use std::net::Ipv4Addr;

use nodeloop::dgram::Socket;
use nodeloop::{Loop, dns, net};
use support::udp::*;
use support::*;

const NUL: &str = "a\0b";

fn long() -> String {
    "a".repeat(300)
}

/// What it is told, without the host.
const EINVAL: &str = "getaddrinfo EINVAL";

/// A log of errors, shortened so.
fn short(error: &nodeloop::Error) -> String {
    assert_eq!(
        (error.code(), error.syscall()),
        (Some("EINVAL"), Some("getaddrinfo"))
    );
    let text = error.to_string().replace(&long(), "").trim().to_string();
    assert_eq!(text, EINVAL);
    text
}

/// A bound socket that notes its errors, shortened.
fn udp(lp: &Loop, log: &Recorder) -> Socket {
    let (socket, _) = bound(lp);
    let noted = log.clone();
    socket.on_error(move |_, error| noted.note(format!("error {}", short(error))));
    socket
}

#[test]
fn looked_up() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    for host in ["", NUL] {
        let asked = dns::lookup(&lp, host, |_, _| panic!("it was not asked"));
        assert_eq!(code(asked.map(drop)), "ERR_INVALID_ARG_VALUE");
    }
    let told = log.clone();
    dns::lookup(&lp, &long(), move |_, found| {
        told.note(short(&found.unwrap_err()))
    })
    .unwrap();
    log.expect(&[]);
    lp.run().unwrap();
    log.expect(&[EINVAL]);
}

#[test]
fn n67_listened_at() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let server = net::create_server(&lp, |_| {});
    let noted = log.clone();
    server.on_error(move |_, error| noted.note(format!("error {}", short(error))));
    assert_eq!(code(server.listen((NUL, 0))), "ERR_INVALID_ARG_VALUE");
    server.listen((long(), 0)).unwrap();
    lp.run().unwrap();
    assert!(!server.listening());
    log.expect(&[&format!("error {EINVAL}")]);
    // No host at all is every address.
    server.listen(("", 0)).unwrap();
    server.on_listening(|server| {
        assert!(server.address().unwrap().ip().is_unspecified());
        server.close();
    });
    lp.run().unwrap();
    log.expect(&[]);
}

#[test]
fn n262_bound_to() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let socket = udp4(&lp);
    let noted = log.clone();
    socket.on_error(move |_, error| noted.note(format!("error {}", short(error))));
    // It may be bound again; in Node it may not, after the first.
    assert_eq!(code(socket.bind((NUL, 0))), "ERR_INVALID_ARG_VALUE");
    socket.bind((long(), 0)).unwrap();
    turn_until(&lp, || log.has(&format!("error {EINVAL}")));
    for host in [NUL, &long()] {
        let bound = socket.bind_sync((host, 0));
        assert_eq!(code(bound), "ERR_INVALID_ARG_VALUE");
    }
    let address = socket.bind_sync(("", 0)).unwrap();
    assert_eq!(address.ip(), Ipv4Addr::UNSPECIFIED);
    socket.close().unwrap();
    lp.run().unwrap();
}

#[test]
fn n271_sent_to() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let socket = udp(&lp, &log);
    let never = |_| panic!("it was returned");
    assert_eq!(
        code(socket.send_to_then("x", (NUL, 9), never)),
        "ERR_INVALID_ARG_VALUE"
    );
    let unbound = udp4(&lp);
    assert_eq!(
        code(unbound.send_to("x", (NUL, 9))),
        "ERR_INVALID_ARG_VALUE"
    );
    assert_eq!(code(unbound.address()), "EBADF");
    unbound.close().unwrap();
    let told = log.clone();
    socket
        .send_to_then("x", (long(), 9), move |sent| {
            told.note(format!("told {}", short(&sent.unwrap_err())));
        })
        .unwrap();
    socket.send_to("x", (long(), 9)).unwrap();
    turn_until(&lp, || log.has(&format!("error {EINVAL}")));
    log.expect(&[&format!("told {EINVAL}"), &format!("error {EINVAL}")]);
    assert_eq!(socket.send_queue_count(), 0);
    // No host is this machine (N268).
    let (peer, to) = peer();
    socket.send_to("x", ("", to.port())).unwrap();
    lp.run_nowait().unwrap();
    assert_eq!(receive(&peer), b"x");
    socket.close().unwrap();
    lp.run().unwrap();
}

#[test]
fn n274_udp_connected_to() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let socket = udp(&lp, &log);
    // It may be connected to another; in Node it may not.
    assert_eq!(code(socket.connect((NUL, 9))), "ERR_INVALID_ARG_VALUE");
    socket.connect((long(), 9)).unwrap();
    turn_until(&lp, || log.has(&format!("error {EINVAL}")));
    let told = log.clone();
    socket
        .connect_then((long(), 9), move |result| {
            told.note(format!("told {}", short(&result.unwrap_err())));
        })
        .unwrap();
    turn_until(&lp, || log.has(&format!("told {EINVAL}")));
    for host in [NUL, &long()] {
        let connected = socket.connect_sync((host, 9));
        assert_eq!(code(connected), "ERR_INVALID_ARG_VALUE");
    }
    socket.connect_sync(("", 9)).unwrap();
    assert!(socket.remote_address().unwrap().ip().is_loopback());
    socket.close().unwrap();
    lp.run().unwrap();
}
