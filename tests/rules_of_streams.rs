//! libuv's rules of reading, listening and accepting (R, A) that no scenario shows, most of them told by
//! counts of system calls.

mod support;

use std::cell::RefCell;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;

#[cfg(target_os = "linux")]
use nodeloop::net::{self, ListenOptions};
use nodeloop::net::{ServerOptions, Socket};
use nodeloop::{Error, HandleKind, Loop};
#[cfg(target_os = "linux")]
use support::files::Scratch;
use support::*;

#[test]
fn a_loop_whose_read_buffer_there_is_no_memory_for() {
    let built = Loop::builder().read_chunk(usize::MAX).build();
    assert_eq!(code(built), "ERR_MEMORY_ALLOCATION_FAILED");
}

/// A socket that does not read, and its peer.
fn unread_pair(lp: &Loop) -> (Socket, TcpStream) {
    let options = ServerOptions::new().pause_on_connect(true);
    let (socket, peer) = pair_with(lp, options, connect);
    // What the registration reports.
    lp.run_nowait().unwrap();
    (socket, peer)
}

#[test]
fn r2_reading_begins_in_the_poll_phase_and_never_in_the_call() {
    // R2
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 10);
        let log = Recorder::new();
        let (socket, mut peer) = unread_pair(lp);
        peer.write_all(b"x").unwrap();
        let inner = log.clone();
        lp.set_immediate(move |_| {
            inner.note("begins");
            let data = inner.clone();
            socket.on_data(move |_, _| data.note("data"));
            socket.resume();
            inner.note("has begun");
        });
        lp.check(log.noting("check")).unref();
        lp.prepare(log.noting("prepare")).unref();
        lp.run_nowait().unwrap();
        log.expect(&["prepare", "begins", "has begun", "check"]);
        turn_until(lp, || log.has("data"));
        assert_eq!(log.take()[..2], ["prepare", "data"]);
    });
}

/// How many reads each turn costs, and how many bytes came in it, while `bytes` wait for a socket that reads 16
/// at most.
fn reads_of_turns(bytes: usize, turns: usize) -> Vec<(u64, u64)> {
    let lp = Loop::builder().read_chunk(16).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, mut peer) = unread_pair(&lp);
    peer.write_all(&vec![b'x'; bytes]).unwrap();
    socket.on_data(|_, _| {});
    socket.resume();
    let mut all = Vec::new();
    for _ in 0..turns {
        let before = (lp.counts().reads, socket.bytes_read());
        lp.run_nowait().unwrap();
        all.push((lp.counts().reads - before.0, socket.bytes_read() - before.1));
    }
    all
}

#[test]
fn r6_r7_how_many_reads_a_turn_has() {
    if tcp_only("a short read of a Unix socket proves nothing") {
        return;
    }
    // R6, R7: up to 32; the short one is the last, and costs no read that confirms it.
    assert_eq!(reads_of_turns(7, 2), [(1, 7), (0, 0)]);
    assert_eq!(reads_of_turns(40, 2), [(3, 40), (0, 0)]);
    // It would block.
    assert_eq!(reads_of_turns(32, 2), [(3, 32), (0, 0)]);
    let many = 16 * 32;
    assert_eq!(
        reads_of_turns(2 * many + 8, 4),
        [(32, many as u64), (32, many as u64), (1, 8), (0, 0)]
    );
}

#[test]
fn r6_a_listener_that_destroys_the_socket_ends_the_round() {
    // R6
    let lp = Loop::builder().read_chunk(16).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, mut peer) = unread_pair(&lp);
    peer.write_all(&[b'x'; 160]).unwrap();
    let mut chunks = 0;
    socket.on_data(move |socket, _| {
        chunks += 1;
        if chunks == 3 {
            socket.destroy();
        }
    });
    socket.resume();
    let before = lp.counts().reads;
    lp.run().unwrap();
    assert_eq!(lp.counts().reads - before, 3);
}

#[test]
fn r10_behind_the_end_a_socket_is_not_active() {
    // R10, L37: a half-open one stays writable, and holds nothing.
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 10);
        let log = Recorder::new();
        let options = ServerOptions::new().allow_half_open(true);
        let (socket, peer) = pair_with(lp, options, connect);
        // The server's own end.
        lp.run_nowait().unwrap();
        log.follow(socket);
        let inner = log.clone();
        socket.on_end(move |socket| {
            let why = socket.event_loop().why_alive();
            let reads = why.iter().any(|it| it.kind == HandleKind::Socket);
            inner.note(format!("reads {reads}"));
        });
        peer.shutdown(Shutdown::Write).unwrap();
        lp.run().unwrap();
        log.expect(&["end", "reads false"]);
        assert!(!lp.is_alive() && socket.writable() && !socket.destroyed());
        socket.end_with("answer");
        lp.run().unwrap();
        assert_eq!(read_to_end(&peer), b"answer");
        log.expect(&["finish", "close false"]);
    });
}

#[test]
fn r11_a_hang_up_needs_no_read_behind_the_data() {
    if tcp_only("a short read of a Unix socket proves nothing") {
        return;
    }
    // R11: what is there is read first. A socket's hang-up is always readable, too.
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, peer) = pair(&lp);
    lp.run_nowait().unwrap();
    log.follow(socket);
    socket.end();
    turn_until(&lp, || log.has("finish"));
    send_and_end(&peer, b"last words");
    let before = lp.counts().reads;
    lp.run().unwrap();
    log.expect(&["finish", "data last words", "end", "close false"]);
    assert_eq!(lp.counts().reads - before, 1);
}

#[test]
fn r13_an_error_is_fetched_by_a_read() {
    if tcp_only("a Unix socket is not reset") {
        return;
    }
    // R13
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    lp.run_nowait().unwrap();
    let found: Rc<RefCell<Vec<Error>>> = Rc::default();
    let inner = found.clone();
    socket.on_error(move |_, error| inner.borrow_mut().push(error.clone()));
    reset(peer);
    let before = lp.counts();
    lp.run().unwrap();
    let found = found.take();
    let told: Vec<_> = found.iter().map(|it| (it.code(), it.syscall())).collect();
    assert_eq!(told, [(Some("ECONNRESET"), Some("read"))]);
    assert_eq!(lp.counts().reads - before.reads, 1);
}

#[test]
fn r14_what_comes_for_a_socket_that_does_not_read_is_left_alone() {
    // R14
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, mut peer) = unread_pair(&lp);
    log.follow_but_data(socket);
    for _ in 0..3 {
        peer.write_all(b"unread").unwrap();
    }
    peer.shutdown(Shutdown::Write).unwrap();
    lp.set_timeout_once(50, log.noting("timer"));
    let before = lp.counts();
    turn_until(&lp, || log.has("timer"));
    log.expect(&["timer"]);
    let after = lp.counts();
    assert_eq!(after.reads, before.reads);
    // One for the event at most, and those until the timer.
    assert!(after.waits - before.waits <= 6, "{after:?}");
    assert_eq!(socket.bytes_read(), 0);
}

/// Connections wait up to the backlog and one more, which is how Linux counts.
#[cfg(target_os = "linux")]
#[test]
fn a6_the_backlog_is_what_listen_was_given() {
    // A6
    for backlog in [1, 5] {
        let lp = Loop::new().unwrap();
        let server = net::create_server(&lp, |_| {});
        let at = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        server
            .listen(ListenOptions::from(at).backlog(backlog))
            .unwrap();
        let address = server.address().unwrap();
        // Who finds it full is not answered, so they must not wait.
        let clients: Vec<_> = (0..backlog + 3)
            .map(|_| {
                let client =
                    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
                        .unwrap();
                client.set_nonblocking(true).unwrap();
                let _in_progress = client.connect(&address.into());
                client
            })
            .collect();
        let most = u64::from(backlog) + 1;
        let _deadline = watched(10);
        while waiting_at(address.port()) < most {}
        assert_eq!(waiting_at(address.port()), most, "backlog {backlog}");
        drop(clients);
    }
}

/// How many connections wait at a listening port of 127.0.0.1.
#[cfg(target_os = "linux")]
fn waiting_at(port: u16) -> u64 {
    const LISTENS: &str = "0A";
    let local = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|line| line[1] == local && line[3] == LISTENS);
    let line = line.expect("it listens");
    let (_, waiting) = line[4].split_once(':').unwrap();
    u64::from_str_radix(waiting, 16).unwrap()
}

/// The same at a path, where the kernel tells who finds it full.
#[cfg(target_os = "linux")]
#[test]
fn a6_the_backlog_at_a_path() {
    // A6
    for backlog in [1, 5] {
        let lp = Loop::new().unwrap();
        let server = net::create_server(&lp, |_| {});
        let directory = Scratch::new();
        let path = directory.path("s");
        server
            .listen(ListenOptions::new().path(&path).backlog(backlog))
            .unwrap();
        let address = socket2::SockAddr::unix(&path).unwrap();
        let connects = || {
            let client =
                socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            client.connect(&address).map(|()| client)
        };
        let waiting: Vec<_> = (0..=backlog).map(|_| connects().unwrap()).collect();
        let error = connects().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        drop(waiting);
    }
}

#[cfg(unix)]
#[test]
fn a12_an_accepted_socket_reads_and_writes_and_has_the_servers_options() {
    if tcp_only("it is about options of TCP") {
        return;
    }
    // A12
    for (no_delay, keep_alive) in [(false, false), (true, false), (false, true), (true, true)] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let options = ServerOptions::new()
            .no_delay(no_delay)
            .keep_alive(keep_alive, 9_000);
        let (socket, mut peer) = pair_with(&lp, options, connect);
        assert!(socket.readable() && socket.writable());
        let set = |socket: socket2::SockRef<'_>| {
            let idle = socket.tcp_keepalive_time().unwrap().as_millis();
            let alive = socket.keepalive().unwrap();
            (socket.tcp_nodelay().unwrap(), alive, alive.then_some(idle))
        };
        let expected = (no_delay, keep_alive, keep_alive.then_some(9_000));
        assert_eq!(socket.with_sock_ref(set).unwrap(), expected);
        // Both directions at once.
        socket.on_data(|socket, chunk| socket.end_with(chunk));
        peer.write_all(b"both ways").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        lp.run().unwrap();
        assert_eq!(read_to_end(&peer), b"both ways");
    }
}

/// Somebody else who has the listening socket, too, is faster: while the batch is served in which it is ready.
#[cfg(unix)]
#[test]
fn a13_an_accept_that_fails_is_told_to_nobody() {
    if tcp_only("the other's descriptor is taken for one of TCP") {
        return;
    }
    // A13
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (first, mut peer) = pair(&lp);
    let log = Recorder::new();
    let inner = log.clone();
    let (server, address) = listening(&lp, move |socket| {
        inner.note("connection");
        socket.end();
        socket.resume();
    });
    lp.run_nowait().unwrap();
    server.on_error(|_, error| panic!("{error}"));
    server.on_drop(|_, _| panic!("nobody limits the connections"));
    let other = std::net::TcpListener::from(server.try_clone_fd().unwrap());
    let inner = log.clone();
    first.on_data(move |_, _| {
        inner.note("the other accepts");
        drop(other.accept().unwrap());
    });
    for _ in 0..3 {
        // By level the listening socket is still in the kernel's list from the wait before, where it would be
        // first; with this wait it leaves. Then the kernel tells of what was ready first at first.
        lp.run_nowait().unwrap();
        peer.write_all(b"x").unwrap();
        let taken = connect(address);
        let before = lp.counts().accepts;
        lp.run_nowait().unwrap();
        log.expect(&["the other accepts"]);
        assert_eq!(lp.counts().accepts - before, 1, "it was tried");
        drop(taken);
        // The server goes on.
        let client = connect(address);
        turn_until(&lp, || log.has("connection"));
        assert_eq!(ending(&client), "end");
        log.expect(&["connection"]);
    }
}
