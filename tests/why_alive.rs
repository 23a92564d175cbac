//! `lp.why_alive()`: it tells what keeps the loop alive, with the line that made it, and it is empty
//! exactly when nothing does (N46–N61). `tests/why_alive_at_random.rs` has programs that do anything in any
//! order.
//!
//! A debug build compares, in each call, what it finds with what the loop has counted; so every call
//! in this file is a check of the counting too.

mod support;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;

use nodeloop::dgram::{self, SocketType};
use nodeloop::net::{self, ServerOptions, Socket, SocketOptions};
use nodeloop::{AsLoop, HandleKind, Loop};
use support::reasons::*;
use support::traced::deaf;
use support::*;

/// The only reason, and whether the line that it points to is this file's `line`.
#[track_caller]
fn only(lp: &impl AsLoop, kind: HandleKind, line: u32) -> String {
    let reasons = why(lp);
    let [reason] = &reasons[..] else {
        panic!("one reason was expected: {reasons:?}");
    };
    assert_eq!(reason.kind, kind, "{reason}");
    let origin = reason.origin.expect("it is known who made it");
    assert_eq!((origin.file(), origin.line()), (file!(), line), "{reason}");
    reason.state.clone()
}

/// What is unreferenced.
fn unreferenced(lp: &Loop) -> Vec<String> {
    let why = lp.why_alive();
    why.unreferenced.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing() {
    let lp = Loop::new().unwrap();
    assert!(why(&lp).is_empty());
    assert_eq!(lp.why_alive().to_string(), "nothing keeps the loop alive");
    let handle = lp.handle();
    drop(lp);
    assert!(why(&handle).is_empty());
}

#[test]
fn n47_a_listening_server() {
    // N47
    let lp = Loop::new().unwrap();
    let (server, line) = (net::create_server(&lp, |_| {}), line!());
    assert!(why(&lp).is_empty(), "it does not listen");
    server.listen(any_port()).unwrap();
    // Until its tick has run there is 'listening' too.
    let reasons = why(&lp);
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert_eq!(reasons[1].kind, HandleKind::Tick);
    assert_eq!(reasons[1].state, "'listening'");
    lp.run_nowait().unwrap();
    let address = server.address().unwrap();
    assert_eq!(
        only(&lp, HandleKind::Server, line),
        format!("listening on {address}, 0 connections")
    );
    server.unref();
    assert!(why(&lp).is_empty());
    assert_eq!(
        unreferenced(&lp),
        [format!(
            "server     listening on {address}, 0 connections (tests/why_alive.rs:{line}:27)"
        )]
    );
    server.set_ref();
    server.close();
    let kinds: Vec<_> = why(&lp).iter().map(|reason| reason.kind).collect();
    assert_eq!(kinds, [HandleKind::Server, HandleKind::Tick]);
    lp.run().unwrap();
    assert!(why(&lp).is_empty());
}

#[test]
fn n51_an_accepted_socket_points_to_the_line_of_its_server() {
    // N51
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let accepted = Rc::new(Cell::new(None));
    let inner = accepted.clone();
    let line = line!() + 1;
    let server = net::create_server(&lp, move |socket| inner.set(Some(socket)));
    server.listen(any_port()).unwrap();
    let peer = connect(server.address().unwrap());
    turn_until(&lp, || accepted.get().is_some());
    let socket = accepted.get().unwrap();
    assert_eq!(why(&lp).len(), 2);
    server.close();
    lp.run_nowait().unwrap();
    let from = peer.local_addr().unwrap();
    assert_eq!(
        only(&lp, HandleKind::Socket, line),
        format!("reading, accepted from {from}")
    );
    // N51: one whose buffer is full does not read, and so keeps nothing alive.
    socket.pause();
    (&peer).write_all(&[0; 64 * 1024]).unwrap();
    while !why(&lp).is_empty() {
        lp.run_once().unwrap();
    }
    assert!(!lp.why_alive().to_string().contains("socket"));
    socket.resume();
    assert_eq!(
        why(&lp)[0].state,
        "reading goes on",
        "{:?}",
        lp.why_alive().reasons
    );
    socket.unref();
    lp.run_nowait().unwrap();
    assert!(why(&lp).is_empty());
    assert!(unreferenced(&lp)[0].starts_with("socket     reading, accepted from "));
}

#[test]
fn n53_what_is_outstanding_counts_on_an_unreferenced_socket_too() {
    // N53
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, peer) = pair_with(&lp, ServerOptions::new(), |to| connect_narrow(to, 4096));
    socket.unref();
    lp.run_nowait().unwrap();
    assert!(why(&lp).is_empty());
    let mut written = 0;
    while socket.write(vec![0; 1 << 20]) {
        written += 1;
    }
    socket.write("more");
    let reasons = why(&lp);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert_eq!(reasons[0].state, "2 writes waiting, 1048580 bytes");
    assert!(written < 100);
    // It reads, which is told apart.
    assert!(unreferenced(&lp).iter().any(|it| it.contains("reading")));

    socket.destroy();
    let states: Vec<_> = why(&lp).into_iter().map(|reason| reason.state).collect();
    assert_eq!(
        states[0],
        "2 writes to be cancelled, 1048580 bytes; closing"
    );
    assert!(
        states[1..].contains(&"it was destroyed".to_string()),
        "{states:?}"
    );
    lp.run().unwrap();
    assert!(why(&lp).is_empty());
    drop(peer);
}

#[test]
fn n53_half_closes_and_connecting() {
    // N53
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, peer) = pair(&lp);
    socket.unref();
    lp.run_nowait().unwrap();
    socket.end();
    assert_eq!(why(&lp)[0].state, "half-close in the next pending phase");
    lp.run().unwrap();
    drop(peer);

    let (_sockets, deaf) = deaf();
    let (client, line) = (net::connect(&lp, deaf), line!());
    client.unref();
    assert_eq!(
        only(&lp, HandleKind::Tick, line),
        "the look-up of where to connect to is over"
    );
    lp.run_nowait().unwrap();
    assert_eq!(
        only(&lp, HandleKind::Socket, line),
        format!("connecting to {deaf}")
    );
    client.destroy();
    lp.run().unwrap();
    assert!(why(&lp).is_empty());
}

#[test]
fn n59_timers() {
    // N59
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let inner = Rc::new(RefCell::new(Vec::new()));
    let told = inner.clone();
    let (timer, line) = (lp.set_timeout(60_000, |_| {}), line!());
    let state = only(&lp, HandleKind::Timer, line);
    let ms: u64 = state
        .strip_prefix("due in ")
        .and_then(|rest| rest.strip_suffix(" ms"))
        .and_then(|ms| ms.parse().ok())
        .expect(&state);
    assert!((50_000..=60_000).contains(&ms), "{state}");
    timer.unref();
    assert!(why(&lp).is_empty());
    assert_eq!(unreferenced(&lp).len(), 1);
    timer.clear();

    let line = line!() + 1;
    let interval = lp.set_interval(1, move |timer| {
        told.borrow_mut()
            .push(only(&timer, HandleKind::Timer, line));
        timer.clear();
        assert!(why(&timer).is_empty());
    });
    interval.keep();
    lp.run().unwrap();
    assert_eq!(*inner.borrow(), ["every 1 ms, its callback is running"]);
}

#[test]
fn a_kept_timer_holds_nothing_until_it_is_refreshed() {
    let lp = Loop::new().unwrap();
    let timer = lp.set_timeout(1, |_| {});
    timer.keep();
    lp.run().unwrap();
    assert!(why(&lp).is_empty() && lp.handles().len() == 1);
    timer.refresh();
    assert_eq!(why(&lp).len(), 1);
    lp.run().unwrap();
    assert!(why(&lp).is_empty());
}

#[test]
fn n60_immediates_ticks_and_watchers() {
    // N60
    let lp = Loop::new().unwrap();
    let (immediate, line) = (lp.set_immediate(|_| {}), line!());
    assert_eq!(
        only(&lp, HandleKind::Immediate, line),
        "for the next check phase"
    );
    immediate.clear();
    assert!(why(&lp).is_empty());

    let line = line!() + 1;
    lp.next_tick(|_| {});
    assert_eq!(only(&lp, HandleKind::Tick, line), "a tick of next_tick");
    lp.run_nowait().unwrap();

    let watchers = [
        (HandleKind::Idle, lp.idle(|_| {}), line!()),
        (HandleKind::Prepare, lp.prepare(|_| {}), line!()),
        (HandleKind::Check, lp.check(|_| {}), line!()),
    ];
    for (_, watcher, _) in watchers {
        watcher.stop();
    }
    for (kind, watcher, line) in watchers {
        assert!(why(&lp).is_empty(), "a stopped watcher holds nothing");
        watcher.start();
        assert_eq!(only(&lp, kind, line), "in every turn");
        watcher.unref();
        assert!(why(&lp).is_empty());
        assert_eq!(unreferenced(&lp).len(), 1);
        watcher.close();
    }
}

#[test]
fn n57_udp_sockets() {
    let lp = Loop::new().unwrap();
    let (socket, line) = (dgram::create_socket(&lp, SocketType::Udp4), line!());
    assert!(why(&lp).is_empty(), "it is not bound");
    socket.bind(any_port()).unwrap();
    let states: Vec<_> = why(&lp).into_iter().map(|reason| reason.state).collect();
    assert_eq!(states, ["the system is asked to bind"]);
    lp.run_nowait().unwrap();
    let address = socket.address().unwrap();
    let state = only(&lp, HandleKind::UdpSocket, line);
    assert_eq!(state, format!("receiving at {address}"));
    socket.unref();
    assert!(why(&lp).is_empty());
    assert_eq!(lp.why_alive().unreferenced.len(), 1);
    socket.send_to("a datagram", address).unwrap();
    assert!(!why(&lp).is_empty(), "its tick has not come yet");
    socket.close().unwrap();
    assert!(
        why(&lp)
            .iter()
            .any(|reason| reason.state.contains("closing"))
    );
    lp.run().unwrap();
    assert!(why(&lp).is_empty());
}

#[test]
fn an_error_that_nobody_listened_to() {
    let lp = Loop::new().unwrap();
    let socket = Socket::new(&lp, SocketOptions::new());
    socket.destroy_with("first");
    let other = Socket::new(&lp, SocketOptions::new());
    other.destroy_with("second");
    assert_eq!(lp.run().unwrap_err().to_string(), "first");
    // The ticks behind it wait for the next `run`.
    assert!(
        why(&lp)
            .iter()
            .all(|reason| reason.kind == HandleKind::Tick)
    );
    assert_eq!(lp.run().unwrap_err().to_string(), "second");
    lp.run().unwrap();
    assert!(why(&lp).is_empty());
}

#[test]
fn it_prints_well() {
    let lp = Loop::new().unwrap();
    for _ in 0..11 {
        lp.set_immediate(|_| {});
    }
    lp.set_interval(100, |_| {}).unref();
    let server = net::create_server(&lp, |_| {});
    server.listen(any_port()).unwrap();
    let told = lp.why_alive().to_string();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines[0], "13 things keep the loop alive:");
    let server = lines[1];
    assert!(
        server.starts_with("  server     listening on 127.0.0.1:"),
        "{told}"
    );
    assert!(server.contains(" (tests/why_alive.rs:"), "{told}");
    for line in &lines[2..10] {
        let immediate = "  immediate  for the next check phase (tests/why_alive.rs:";
        assert!(line.starts_with(immediate), "{told}");
    }
    assert!(
        lines[10].starts_with("  tick       'listening' (tests/"),
        "{told}"
    );
    let more = "  immediate  and 3 more like these (tests/why_alive.rs:";
    assert!(lines[11].starts_with(more), "{told}");
    assert_eq!(lines[12], "1 is unreferenced and keeps nothing alive:");
    assert!(
        lines[13].starts_with("  timer      every 100 ms, due in "),
        "{told}"
    );
    assert_eq!(lines.len(), 14);
    assert_eq!(lp.why_alive().into_iter().count(), 13);
    assert_eq!((&lp.why_alive()).into_iter().count(), 13);
}
