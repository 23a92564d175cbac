//! Bad input: what is refused, with Node's codes and messages, and that nothing worse happens.

mod support;

use std::error::Error as _;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;

use nodeloop::net::{self, ListenOptions, ReadyState};
use nodeloop::stream::Writable;
use nodeloop::{Error, Loop};
use support::calls;
use support::*;

/// Listens at `at`, and gives the 'error' that comes on a tick, once.
fn listen_in_vain(at: impl Into<ListenOptions>) -> Error {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let server = net::create_server(&lp, |_| {});
    let log = Recorder::new();
    server.on_listening(log.noting("listening"));
    // N76: 'close' does not follow.
    server.on_close(log.noting("close"));
    server.listen(at).unwrap();
    assert!(!server.listening());
    let error = lp.run().unwrap_err();
    assert!(!server.listening() && server.address().is_none());
    lp.run().unwrap();
    log.expect(&[]);
    // N73: it may try again.
    server
        .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
        .unwrap();
    assert!(server.listening());
    error
}

/// What an error tells, in one line.
fn told(error: &Error) -> String {
    let port = error
        .port()
        .map_or("none".to_string(), |port| port.to_string());
    format!(
        "{} {} {} {port}",
        error.code().unwrap_or("none"),
        error.syscall().unwrap_or("none"),
        error.address().or(error.hostname()).unwrap_or("none"),
    )
}

#[test]
fn n75_address_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port();
    let at: [ListenOptions; 2] = [address.into(), ("127.0.0.1", port).into()];
    for at in at {
        let error = listen_in_vain(at);
        assert_eq!(told(&error), format!("EADDRINUSE listen 127.0.0.1 {port}"));
        let message = format!("listen EADDRINUSE: address already in use 127.0.0.1:{port}");
        assert_eq!(error.to_string(), message);
        assert_eq!(error.message(), message);
        assert!(error.raw_os_error().is_some() && error.source().is_some());
        // What `main` shows, with the system's own words beneath.
        assert!(format!("{error:?}").starts_with(&format!("{message}\n  caused by: ")));
    }
    // On all addresses it is `::` that is named.
    let error = listen_in_vain(port);
    assert_eq!(
        error.to_string(),
        format!("listen EADDRINUSE: address already in use :::{port}")
    );
}

#[test]
fn n75_address_in_use_by_a_server_of_the_same_loop() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (server, address) = listening(&lp, |_| {});
    let second = net::create_server(&lp, |_| {});
    second.listen(at(address)).unwrap();
    assert_eq!(code(lp.run_nowait()), "EADDRINUSE");
    assert!(server.listening());
}

#[test]
fn n75_a_privileged_port() {
    const PORT: u16 = 80;
    match TcpListener::bind(("127.0.0.1", PORT)) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
        Ok(_) => return println!("skipped: this system lets us listen at port {PORT}"),
        Err(error) => return println!("skipped: port {PORT} can't be tried: {error}"),
    }
    let error = listen_in_vain(SocketAddr::from(([127, 0, 0, 1], PORT)));
    assert_eq!(told(&error), "EACCES listen 127.0.0.1 80");
    assert_eq!(
        error.to_string(),
        "listen EACCES: permission denied 127.0.0.1:80"
    );
}

#[test]
fn n75_an_address_that_is_not_ours() {
    // Of a block that is reserved for documentation.
    let error = listen_in_vain(("192.0.2.1", 4000));
    assert_eq!(told(&error), "EADDRNOTAVAIL listen 192.0.2.1 4000");
    assert_eq!(
        error.to_string(),
        "listen EADDRNOTAVAIL: address not available 192.0.2.1:4000"
    );
    // Port 0 is none, as in Node.
    let error = listen_in_vain(("192.0.2.1", 0));
    assert_eq!(told(&error), "EADDRNOTAVAIL listen 192.0.2.1 none");
    assert_eq!(
        error.to_string(),
        "listen EADDRNOTAVAIL: address not available 192.0.2.1"
    );
}

#[test]
fn n75_a_link_local_address_without_its_zone() {
    if TcpListener::bind("[::1]:0").is_err() {
        return println!("skipped: this system has no IPv6");
    }
    let error = listen_in_vain(("fe80::1", 4000));
    assert_eq!(told(&error), "EINVAL listen fe80::1 4000");
    assert_eq!(
        error.to_string(),
        "listen EINVAL: invalid argument fe80::1:4000"
    );
}

#[test]
fn n102_a_host_that_is_not_found() {
    let hosts = [
        "nosuch.invalid",
        "[::1]",
        "256.0.0.1",
        " 127.0.0.1",
        "::1%",
        "1.2.3.4:80",
        "a b",
        ".",
        "a..b",
    ];
    for host in hosts {
        let error = listen_in_vain((host, 0));
        // Where no name server answers nobody knows whether there is such a name.
        let code = error.code().unwrap();
        assert!(matches!(code, "ENOTFOUND" | "EAI_AGAIN"), "{host}: {code}");
        assert_eq!(told(&error), format!("{code} getaddrinfo {host} none"));
        assert_eq!(error.to_string(), format!("getaddrinfo {code} {host}"));
        assert_eq!(error.address(), None);
    }
}

#[test]
fn a_host_that_can_be_no_name() {
    let long = "a".repeat(300);
    let error = listen_in_vain((long.as_str(), 0));
    assert_eq!(told(&error), format!("EINVAL getaddrinfo {long} none"));

    let lp = Loop::new().unwrap();
    let server = net::create_server(&lp, |_| {});
    assert_eq!(
        code(server.listen(("local\0host", 0))),
        "ERR_INVALID_ARG_VALUE"
    );
    assert!(!server.listening() && !lp.is_alive());
}

#[test]
fn n72_listening_twice() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (server, address) = listening(&lp, |_| {});
    let log = Recorder::new();
    for again in [
        ListenOptions::from(0),
        address.into(),
        ("127.0.0.1", 0).into(),
    ] {
        // Before 'listening' and after it.
        let error = server.listen(again).unwrap_err();
        assert_eq!(error.code(), Some("ERR_SERVER_ALREADY_LISTEN"));
        assert_eq!(
            error.message(),
            "Listen method has been called more than once without closing."
        );
        lp.run_nowait().unwrap();
    }
    // The listener of the call that failed was not added.
    assert_eq!(
        code(server.listen_then(0, log.noting("never"))),
        "ERR_SERVER_ALREADY_LISTEN"
    );
    assert_eq!(address_of(server), address);
    server.keep();
    server.close();
    server.listen(at(address)).unwrap();
    server.on_listening(|server| server.close());
    lp.run().unwrap();
    log.expect(&[]);
}

#[test]
fn n72_listening_twice_while_the_first_is_looked_up() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let server = net::create_server(&lp, |_| {});
    let log = Recorder::new();
    server
        .listen_then(("nosuch.invalid", 0), log.noting("first"))
        .unwrap();
    server
        .listen_then(("127.0.0.1", 0), log.noting("second"))
        .unwrap();
    let inner = log.clone();
    server.on_listening(move |server| {
        inner.note("listening");
        server.close();
    });
    // The second supersedes the first, whose error is not seen either.
    lp.run().unwrap();
    log.expect(&["first", "second", "listening"]);
}

#[test]
fn n72_of_two_addresses_the_second_is_listened_at() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let server = net::create_server(&lp, |_| {});
    let log = Recorder::new();
    // Neither needs a look-up, and both wait for a tick.
    server.listen(("127.0.0.2", 0)).unwrap();
    server.listen(("127.0.0.1", 0)).unwrap();
    let inner = log.clone();
    server.on_listening(move |server| {
        inner.note(server.address().unwrap().ip());
        server.close();
    });
    lp.run().unwrap();
    log.expect(&["127.0.0.1"]);
}

#[test]
fn n81_closing_a_server_that_does_not_run() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let server = net::create_server(&lp, |_| {});
    let log = Recorder::new();
    server.on_close(log.noting("close"));
    let inner = log.clone();
    server.close_then(move |result| inner.note(result.unwrap_err().message()));
    lp.run().unwrap();
    log.expect(&["close", "Server is not running."]);
}

#[test]
fn the_messages_of_a_socket() {
    if tcp_only("there are no resets") {
        return;
    }
    let message = |act: fn(net::Socket, std::net::TcpStream)| {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let (socket, peer) = pair(&lp);
        socket.resume();
        lp.run_nowait().unwrap();
        act(socket, peer);
        let error = lp.run().unwrap_err();
        assert_eq!(error.address().or(error.hostname()), None);
        lp.run().unwrap();
        error
    };
    let error = message(|socket, _| {
        socket.end();
        socket.write("more");
    });
    assert_eq!(told(&error), "ERR_STREAM_WRITE_AFTER_END none none none");
    assert_eq!(error.message(), "write after end");
    assert_eq!(
        error.to_string(),
        "[ERR_STREAM_WRITE_AFTER_END] write after end"
    );

    let error = message(|_, peer| reset(peer));
    assert_eq!(told(&error), "ECONNRESET read none none");
    assert_eq!(error.to_string(), "read ECONNRESET");

    let error = message(|socket, _| socket.destroy_with("my own"));
    assert_eq!(told(&error), "none none none none");
    assert_eq!(error.to_string(), "my own");
    assert_eq!(format!("{error:?}"), "my own");

    // N124
    let error = message(|socket, peer| {
        drop(peer);
        socket.on_end(|socket| {
            let lp = socket.event_loop();
            // Two ticks behind 'end' this side was ended too.
            lp.next_tick(move |lp| {
                lp.next_tick(move |_| {
                    socket.write("late");
                });
            });
        });
    });
    assert_eq!(error.code(), Some("EPIPE"));
    assert_eq!(
        error.message(),
        "This socket has been ended by the other party"
    );
}

#[test]
fn n138_writing_after_destroy_is_no_event() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, _peer) = pair(&lp);
    let log = Recorder::new();
    log.follow(socket);
    socket.destroy();
    let inner = log.clone();
    let refused = socket.write_then("more", move |result| {
        inner.note(result.unwrap_err().message());
    });
    assert!(!refused);
    assert!(!socket.write("more"));
    socket.end_with("more");
    lp.run().unwrap();
    log.expect(&[
        "Cannot call write after a stream was destroyed",
        "close false",
    ]);
}

#[test]
fn n143_every_call_of_a_closed_socket() {
    // In its own 'close', kept after it, and gone.
    let touch: calls::Touch = Rc::new(|| {});
    for &(name, call) in calls::SOCKET {
        if name.ends_with("in_vain") {
            // Begins another life (N110).
            continue;
        }
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let log = Recorder::new();
        for kept in [false, true] {
            let (socket, _peer) = pair(&lp);
            log.follow(socket);
            let touch_in_close = touch.clone();
            socket.once_close(move |socket, _| call(socket, &touch_in_close));
            if kept {
                socket.keep();
            }
            socket.destroy();
            lp.run().unwrap();
            call(socket, &touch);
            lp.run().unwrap();
            // Nothing comes behind 'close', least of all an 'error'.
            assert_eq!(log.take(), ["close false"], "{name}");
            assert!(socket.destroyed(), "{name}");
            assert_eq!(socket.ready_state(), ReadyState::Closed, "{name}");
            assert!(!lp.is_alive(), "{name}");
        }
    }
}

#[test]
fn every_call_of_a_closed_server() {
    let touch: calls::Touch = Rc::new(|| {});
    for &(name, call) in calls::SERVER {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        lp.on_uncaught_error(|_, error| assert_eq!(error.code(), Some("EADDRNOTAVAIL")));
        for kept in [false, true] {
            let (server, _) = listening(&lp, |_| {});
            let touch_in_close = touch.clone();
            server.once_close(move |server| call(server, &touch_in_close));
            if kept {
                server.keep();
            }
            server.close();
            // What listens again in its 'close' lives on.
            lp.run_nowait().unwrap();
            lp.run_nowait().unwrap();
            call(server, &touch);
            lp.run_nowait().unwrap();
            server.close();
            server.release();
            lp.run().unwrap();
            assert!(!server.listening() && !lp.is_alive(), "{name}");
        }
    }
}

/// One of the program's own lost its kind, one of the system its code: `destroy_with` and a sink's `fail` made
/// another error of them than `?` does.
#[test]
fn an_io_error_of_the_programs_own_keeps_its_code_and_its_kind() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let sink = Writable::new(&lp, |_, _, done| {
        done.fail(io::Error::new(io::ErrorKind::StorageFull, "no room"));
    });
    sink.write("chunk");
    let error = lp.run().unwrap_err();
    assert_eq!((error.code(), error.to_string()), (None, "no room".into()));
    assert!(error.downcast_ref::<io::Error>().is_some());
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::StorageFull);

    // One of the system has a number, and so a name; its text is the system's.
    let missing = std::fs::File::open("no such file").unwrap_err();
    let (text, number) = (missing.to_string(), missing.raw_os_error());
    let socket = net::Socket::new(&lp, net::SocketOptions::new());
    socket.destroy_with(missing);
    let error = lp.run().unwrap_err();
    assert_eq!(
        (error.code(), error.raw_os_error()),
        (Some("ENOENT"), number)
    );
    assert_eq!(
        (error.to_string(), format!("{error:?}")),
        (text.clone(), text)
    );
    // Nobody knows of which call it is.
    assert_eq!(error.syscall(), None);
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
}
