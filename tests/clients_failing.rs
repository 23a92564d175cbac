//! Connections that can't be made: what comes when, and every field of the error (N100–N102, N105,
//! N109, N114, N116, C2–C4).
//!
//! `tests/support/traced.rs` tells how to read a trace, and `clients_connecting.rs` in what one thing
//! these differ from Node's.

mod support;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use nodeloop::net::{self, ConnectOptions, Socket};
use nodeloop::{Error, Loop};
use support::traced::*;
use support::*;

/// Two writes and an end before the connection stands.
fn two_writes_and_an_end(socket: Socket, log: &Recorder) {
    socket.write_then("one", log.done("w1"));
    socket.write_then("two", log.done("w2"));
    socket.end_then(log.done("end"));
}

#[test]
fn n100_n105_n116_a_refused_connection() {
    scene(
        "attempt [cp-- opening r--e- 0/6 wl6 - --]
         attemptFailed ECONNREFUSED [---- readOnly r--e- 0/6 wl6 - l-]
         error ECONNREFUSED [-pdC closed ---e- 0/6 wl6 ECONNREFUSED --]
         w1 ERR_SOCKET_CLOSED_BEFORE_CONNECTION
         w2 ECONNREFUSED
         end ECONNREFUSED
         close true [-pdC closed ---e- 0/3 wl0 ECONNREFUSED --]",
        |lp, log| {
            let (_held, address) = refusing("127.0.0.1");
            let socket = net::connect(lp, target(address));
            log.trace(socket);
            two_writes_and_an_end(socket, log);
            turn_until(lp, || log.has("end ECONNREFUSED"));
        },
    );
}

/// The error of an attempt, which must be the same in both events.
fn error_of(to: ConnectOptions) -> Error {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let socket = net::connect(&lp, to);
    let log = Recorder::new();
    let first = Rc::new(Cell::new(None));
    let found = first.clone();
    socket.on_error(move |socket, error| {
        assert!(socket.destroyed());
        assert_eq!(socket.errored().unwrap().to_string(), error.to_string());
        found.set(Some(error.clone()));
    });
    socket.on_connect(log.noting("connect"));
    let inner = log.clone();
    socket.on_close(move |_, had_error| inner.note(format!("close {had_error}")));
    lp.run().unwrap();
    log.expect(&["close true"]);
    first.take().expect("it failed")
}

/// What can be asked of an error.
#[track_caller]
fn expect_error(error: &Error, code: &str, syscall: &str, message: &str, about: (&str, u16)) {
    assert_eq!(error.code(), Some(code));
    assert_eq!(error.syscall(), Some(syscall));
    assert_eq!(error.to_string(), message);
    assert_eq!(error.message(), message);
    assert_eq!(error.address(), Some(about.0));
    assert_eq!(error.port(), (about.1 > 0).then_some(about.1));
    assert!(error.raw_os_error().is_some());
    assert_eq!(error.hostname(), None);
}

#[test]
fn n101_the_fields_of_a_refused_connection() {
    if tcp_only("it is about addresses") {
        return;
    }
    for host in ["127.0.0.1", "[::1]"] {
        let (_held, address) = refusing(host);
        let (ip, port) = (address.ip().to_string(), address.port());
        let error = error_of(address.into());
        let message = format!("connect ECONNREFUSED {ip}:{port}");
        expect_error(&error, "ECONNREFUSED", "connect", &message, (&ip, port));
        assert_eq!(error.local_address(), None);
    }
}

#[test]
fn n101_port_0_is_left_out() {
    let error = error_of(ConnectOptions::new("127.0.0.1", 0));
    let message = "connect ECONNREFUSED 127.0.0.1";
    expect_error(&error, "ECONNREFUSED", "connect", message, ("127.0.0.1", 0));
}

#[test]
fn n101_a_bound_local_end_is_told() {
    if tcp_only("it is about addresses") {
        return;
    }
    let (_held, to) = refusing("127.0.0.1");
    let local = {
        // Free again when it is used: nothing else in this program asks for this address.
        let (_, local) = refusing("127.0.0.77");
        local
    };
    let options = ConnectOptions::from(to).local_address(local.ip());
    let error = error_of(options.clone());
    assert_eq!(error.to_string(), format!("connect ECONNREFUSED {to}"));
    assert_eq!(error.local_address(), None);

    let error = error_of(options.local_port(local.port()));
    let message = format!("connect ECONNREFUSED {to} - Local ({local})");
    let about = ("127.0.0.1", to.port());
    expect_error(&error, "ECONNREFUSED", "connect", &message, about);
    assert_eq!(error.local_address(), Some(local));
}

#[test]
fn n101_a_bound_local_port_alone_is_told() {
    if tcp_only("it is about addresses") {
        return;
    }
    let (_held, to) = refusing("127.0.0.1");
    let (held, local) = refusing("0.0.0.0");
    drop(held);
    let error = error_of(ConnectOptions::from(to).local_port(local.port()));
    let expected = format!("connect ECONNREFUSED {to} - Local ({local})");
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.local_address(), Some(local));
}

#[test]
fn c4_an_unreachable_network() {
    if tcp_only("it is about addresses") {
        return;
    }
    scene(
        "attempt [cp-- opening r--e- 0/6 wl6 - --]
         error ENETUNREACH [-pdC closed ---e- 0/6 wl6 ENETUNREACH --]
         w1 ERR_SOCKET_CLOSED_BEFORE_CONNECTION
         w2 ENETUNREACH
         end ENETUNREACH
         close true [-pdC closed ---e- 0/3 wl0 ENETUNREACH --]",
        |lp, log| {
            let socket = net::connect(lp, ("255.255.255.255", 9));
            log.trace(socket);
            two_writes_and_an_end(socket, log);
        },
    );
}

#[test]
fn n101_the_fields_of_an_unreachable_network() {
    let to = ConnectOptions::new("255.255.255.255", 9);
    let error = error_of(to.clone());
    let message = "connect ENETUNREACH 255.255.255.255:9 - Local (0.0.0.0:0)";
    let about = ("255.255.255.255", 9);
    expect_error(&error, "ENETUNREACH", "connect", message, about);
    assert_eq!(error.local_address(), None);

    let error = error_of(to.local_address(Ipv4Addr::LOCALHOST.into()));
    let text = error.to_string();
    let expected = "connect ENETUNREACH 255.255.255.255:9 - Local (127.0.0.1:";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(error.local_address(), None);
}

#[test]
fn n114_a_local_end_that_cant_be_bound() {
    scene(
        "error EADDRNOTAVAIL [-pdC closed ---e- 0/6 wl6 EADDRNOTAVAIL --]
         w1 ERR_SOCKET_CLOSED_BEFORE_CONNECTION
         w2 EADDRNOTAVAIL
         end EADDRNOTAVAIL
         close true [-pdC closed ---e- 0/3 wl0 EADDRNOTAVAIL --]",
        |lp, log| {
            let to = ConnectOptions::new("127.0.0.1", 9).local_address([192, 0, 2, 1].into());
            let socket = net::connect(lp, to);
            log.trace(socket);
            two_writes_and_an_end(socket, log);
        },
    );
}

#[test]
fn n114_the_fields_of_a_failed_bind() {
    if tcp_only("it is about addresses") {
        return;
    }
    let to = ConnectOptions::new("127.0.0.1", 9);
    let foreign = to.clone().local_address([192, 0, 2, 1].into());
    let error = error_of(foreign.clone());
    let message = "bind EADDRNOTAVAIL 192.0.2.1";
    expect_error(&error, "EADDRNOTAVAIL", "bind", message, ("192.0.2.1", 0));
    let error = error_of(foreign.local_port(4242));
    let message = "bind EADDRNOTAVAIL 192.0.2.1:4242";
    expect_error(
        &error,
        "EADDRNOTAVAIL",
        "bind",
        message,
        ("192.0.2.1", 4242),
    );

    let (_listener, taken) = raw_listener();
    let error = error_of(
        to.clone()
            .local_address(taken.ip())
            .local_port(taken.port()),
    );
    let message = format!("bind EADDRINUSE {taken}");
    let about = ("127.0.0.1", taken.port());
    expect_error(&error, "EADDRINUSE", "bind", &message, about);

    let other_family: [(&str, IpAddr); 2] = [
        ("127.0.0.1", "::1".parse().unwrap()),
        ("::1", Ipv4Addr::LOCALHOST.into()),
    ];
    for (host, local) in other_family {
        let error = error_of(ConnectOptions::new(host, 9).local_address(local));
        let text = local.to_string();
        let message = format!("bind EINVAL {text}");
        expect_error(&error, "EINVAL", "bind", &message, (&text, 0));
    }
}

/// libuv keeps it for the attempt, unless Node asks for the port that it has bound.
#[test]
#[cfg(target_os = "linux")]
fn n114_an_address_without_a_free_port_fails_the_attempt() {
    const NAME: &str = "n114_an_address_without_a_free_port_fails_the_attempt";
    const SETUP: &str = "ip link set lo up && \
        echo 40000 40001 >/proc/sys/net/ipv4/ip_local_port_range";
    support::own_network::in_own_network(SETUP, NAME, || {
        // They listen, so whoever reuses addresses can't have their ports either.
        let _both = [40000, 40001].map(|port| {
            let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port));
            taken.unwrap()
        });
        let to = ConnectOptions::new("127.0.0.1", 9).local_address(Ipv4Addr::LOCALHOST.into());
        let error = error_of(to.clone());
        let message = "connect EADDRINUSE 127.0.0.1:9";
        expect_error(&error, "EADDRINUSE", "connect", message, ("127.0.0.1", 9));

        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let log = Recorder::new();
        let socket = net::connect(&lp, to);
        let inner = log.clone();
        socket.on_connection_attempt(move |_, _| inner.note("attempt"));
        let inner = log.clone();
        socket
            .on_connection_attempt_failed(move |_, _, error| inner.note(format!("failed {error}")));
        let inner = log.clone();
        socket.on_error(move |_, error| inner.note(format!("error {error}")));
        lp.run().unwrap();
        log.expect(&[
            "attempt",
            &format!("failed {message}"),
            &format!("error {message}"),
        ]);
        error.to_string()
    });
}

#[test]
fn n102_a_host_name_is_not_supported_yet() {
    let error = error_of(ConnectOptions::new("no.such.host.invalid", 9));
    assert_eq!(error.code(), Some("ENOTFOUND"));
    assert_eq!(error.syscall(), Some("getaddrinfo"));
    assert_eq!(error.hostname(), Some("no.such.host.invalid"));
    assert_eq!((error.address(), error.port()), (None, None));
}

#[test]
fn n109_c2_connect_again_while_connecting() {
    if tcp_only("a path is connected at once: see tests/paths_connecting.rs") {
        return;
    }
    scene(
        "attempt [cp-- opening rw--- 0/3 wl3 - --]
         attempt [cp-- opening rw--- 0/3 wl3 - l-]
         error EALREADY [-pdC closed ----- 0/3 wl3 EALREADY --]
         w1 ERR_SOCKET_CLOSED_BEFORE_CONNECTION
         close true [-pdC closed ----- 0/3 wl0 EALREADY --]",
        |lp, log| {
            let (listener, address) = raw_listener();
            let socket = net::connect(lp, target(address));
            log.trace(socket);
            socket.write_then("one", log.done("w1"));
            socket.on_error(move |_, error| {
                let text = error.to_string();
                let expected = format!("connect EALREADY {address} - Local (127.0.0.1:");
                assert!(text.starts_with(&expected), "{text}");
                let _open = &listener;
            });
            socket.connect(target(address)).unwrap();
        },
    );
}

#[test]
fn n100_what_is_called_while_the_attempt_is_reported_failed() {
    if tcp_only("an attempt at a path is not told of") {
        return;
    }
    type Act = fn(Socket, &Recorder);
    let acts: [(Act, &[&str]); 5] = [
        (
            |socket, log| {
                socket.write_then("x", log.done("write"));
            },
            &["write EPIPE", "error ECONNREFUSED", "close true"],
        ),
        (
            |socket, log| socket.end_then(log.done("end")),
            &["end ECONNREFUSED", "error ECONNREFUSED", "close true"],
        ),
        (|socket, _| socket.destroy(), &["close false"]),
        (
            |socket, _| socket.destroy_with("own"),
            &["error own", "close true"],
        ),
        (
            |socket, _| socket.destroy_soon(),
            &["error ECONNREFUSED", "close true"],
        ),
    ];
    for (act, expected) in acts {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let (_held, address) = refusing("127.0.0.1");
        let socket = net::connect(&lp, target(address));
        let log = Recorder::new();
        log.follow(socket);
        let inner = log.clone();
        socket.on_connection_attempt_failed(move |socket, to, error| {
            assert_eq!(to, address);
            assert_eq!(error.code(), Some("ECONNREFUSED"));
            act(socket, &inner);
        });
        lp.run().unwrap();
        log.expect(expected);
    }
}
