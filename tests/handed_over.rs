//! Descriptors: from outside, handed out, given away.

#![cfg(unix)]

mod support;

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::rc::Rc;

use nodeloop::net::{self, ListenOptions, ServerOptions, Socket, SocketOptions};
use nodeloop::{Counts, Loop};
use support::files::Scratch;
use support::*;

/// A TCP socket that is bound, but does not listen.
fn bound() -> socket2::Socket {
    bound_to(any_port())
}

/// The same at an address; others that were made so may have it too.
fn bound_to(address: SocketAddr) -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

fn address_of(socket: &socket2::Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

#[test]
fn n243_a_socket_that_listens_or_is_bound() {
    for listens in [true, false] {
        let given = bound();
        if listens {
            given.listen(128).unwrap();
        }
        let address = address_of(&given);
        // Keeps the port from everybody else when it is given up.
        let _guard = bound_to(address);
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let log = Recorder::new();
        let inner = log.clone();
        let server = net::create_server(&lp, move |socket| {
            inner.note("connection");
            socket.end_with("hello");
            socket.server().unwrap().close();
        });
        let given = OwnedFd::from(given);
        server.listen_then(given, log.noting("listening")).unwrap();
        assert!(server.listening());
        assert_eq!(server.address(), Some(address));
        assert_eq!(server.path(), None);
        let peer = client(address, |peer| read_to_end(&peer));
        lp.run().unwrap();
        assert_eq!(join(peer), b"hello");
        log.expect(&["listening", "connection"]);
        assert!(TcpStream::connect(address).is_err());
    }
}

#[test]
fn n243_a_socket_at_a_path_keeps_its_file() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let server = net::create_server(&lp, |socket| {
        socket.end_with("hello");
        socket.server().unwrap().close();
    });
    server.listen(UnixListener::bind(&path).unwrap()).unwrap();
    // Node does not know it.
    assert_eq!(server.path().as_deref(), Some(&*path));
    assert_eq!(server.address(), None);
    let peer = UnixStream::connect(&path).unwrap();
    let reader = std::thread::spawn(move || read_to_end(&OwnedFd::from(peer).into()));
    lp.run().unwrap();
    assert_eq!(join(reader), b"hello");
    // It was not made here.
    assert!(path.exists() && UnixStream::connect(&path).is_err());
}

#[test]
fn n243_what_can_not_listen_is_an_error_event_that_says_why() {
    let connected = || {
        let listener = TcpListener::bind(any_port()).unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).unwrap()
    };
    let cases: [(OwnedFd, &str); 7] = [
        (File::open("/dev/null").unwrap().into(), "FILE"),
        (
            File::open(std::env::current_exe().unwrap()).unwrap().into(),
            "FILE",
        ),
        (File::open("/").unwrap().into(), "UNKNOWN"),
        (UdpSocket::bind(any_port()).unwrap().into(), "UDP"),
        (UnixDatagram::unbound().unwrap().into(), "UNKNOWN"),
        (connected().into(), "nvalid argument"),
        (UnixStream::pair().unwrap().0.into(), "nvalid argument"),
    ];
    for (descriptor, why) in cases {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let server = net::create_server(&lp, |_| {});
        server.listen(descriptor).unwrap();
        assert!(!server.listening());
        let error = lp.run().unwrap_err();
        assert_eq!(error.to_string(), "listen EINVAL: invalid argument");
        assert_eq!(
            (error.code(), error.syscall()),
            (Some("EINVAL"), Some("listen"))
        );
        assert_eq!((error.address(), error.port()), (None, None));
        let beneath = error.source().expect("the reason").to_string();
        assert!(beneath.contains(why), "{beneath}, not {why}");
        // N73
        server.listen(any_port()).unwrap();
        assert!(server.listening());
        server.close();
        lp.run().unwrap();
    }
    // As in Node, which tries it with a pipe.
    let lp = Loop::new().unwrap();
    let server = net::create_server(&lp, |_| {});
    let pipe = OwnedFd::from(std::io::pipe().unwrap().0);
    server.listen(pipe).unwrap();
    assert_eq!(code(lp.run()), "ENOTSOCK");
}

#[test]
fn listen_options_that_were_cloned_give_each_server_a_descriptor() {
    let given = bound();
    given.listen(128).unwrap();
    let _guard = bound_to(address_of(&given));
    let options = ListenOptions::from(TcpListener::from(given)).backlog(5);
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let servers = [(); 2].map(|()| net::create_server(&lp, |socket| socket.end()));
    for server in servers {
        server.listen(options.clone()).unwrap();
    }
    assert_eq!(servers[0].address(), servers[1].address());
    servers[0].close();
    // The other one listens still.
    let address = servers[1].address().unwrap();
    let peer = TcpStream::connect(address).unwrap();
    turn_until(&lp, || servers[1].connections() == 1);
    servers[1].close();
    assert!(read_to_end(&peer).is_empty());
    drop(peer);
    lp.run().unwrap();
    // The options have one, too.
    assert!(TcpStream::connect(address).is_ok());
    drop(options);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn n244_a_connection_of_tcp() {
    let listener = TcpListener::bind(any_port()).unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, from) = listener.accept().unwrap();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let socket = Socket::from_fd(&lp, stream, SocketOptions::new()).unwrap();
    assert_eq!(socket.ready_state(), net::ReadyState::Open);
    assert!(!socket.pending() && !socket.connecting());
    assert_eq!(socket.remote_address(), Some(from));
    assert_eq!(socket.local_address(), listener.local_addr().ok());
    assert_eq!(socket.server(), None);
    // It reads at once, so it holds the loop.
    assert!(lp.is_alive());
    let log = Recorder::new();
    log.follow(socket);
    socket.write("question");
    send_and_end(&peer, b"answer");
    lp.run().unwrap();
    log.expect(&["data answer", "end", "finish", "close false"]);
    assert_eq!(read_to_end(&peer), b"question");
}

#[test]
fn n244_a_unix_connection_half_open() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let options = SocketOptions::new()
        .allow_half_open(true)
        .high_water_mark(7);
    let socket = Socket::from_fd(&lp, ours, options).unwrap();
    assert_eq!(
        (socket.remote_address(), socket.local_address()),
        (None, None)
    );
    assert_eq!(
        (
            socket.readable_high_water_mark(),
            socket.writable_high_water_mark()
        ),
        (7, 7)
    );
    let log = Recorder::new();
    log.follow(socket);
    theirs.write_all(b"x").unwrap();
    theirs.shutdown(std::net::Shutdown::Write).unwrap();
    turn_until(&lp, || log.has("end"));
    socket.end_with("late");
    lp.run().unwrap();
    log.expect(&["data x", "end", "finish", "close false"]);
    let mut text = String::new();
    theirs.read_to_string(&mut text).unwrap();
    assert_eq!(text, "late");
}

#[test]
fn n244_what_is_no_connection() {
    let cases: [(OwnedFd, &str); 5] = [
        (File::open("/dev/null").unwrap().into(), "FILE"),
        (File::open("/").unwrap().into(), "UNKNOWN"),
        (UdpSocket::bind(any_port()).unwrap().into(), "UDP"),
        (UnixDatagram::unbound().unwrap().into(), "UNKNOWN"),
        // Node takes these.
        (std::io::pipe().unwrap().0.into(), "PIPE"),
    ];
    let lp = Loop::new().unwrap();
    for (descriptor, what) in cases {
        let error = Socket::from_fd(&lp, descriptor, SocketOptions::new()).unwrap_err();
        let message = format!("[ERR_INVALID_FD_TYPE] Unsupported fd type: {what}");
        assert_eq!(error.to_string(), message);
    }
    assert!(lp.handles().is_empty() && !lp.is_alive());
    let handle = lp.handle();
    drop(lp);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let made = Socket::from_fd(&handle, ours, SocketOptions::new());
    assert_eq!(code(made), "ERR_HANDLE_GONE");
}

#[test]
fn a_socket_that_is_not_connected_tells_when_it_reads() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let socket = Socket::from_fd(&lp, bound(), SocketOptions::new()).unwrap();
    let log = Recorder::new();
    log.follow(socket);
    lp.run().unwrap();
    log.expect(&["error ENOTCONN", "close true"]);
}

/// What of `counts` tells about descriptors that others hold.
fn deregistered(lp: &Loop, act: impl FnOnce()) -> u64 {
    let before: Counts = lp.counts();
    act();
    lp.counts().deregistrations - before.deregistrations
}

#[test]
fn what_others_hold_is_deregistered_and_nothing_else() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let listener = || net::create_server(&lp, |_| {});
    // Made here: no.
    let (socket, _peer) = pair(&lp);
    let server = listener();
    server.listen(any_port()).unwrap();
    let client = net::connect(&lp, server.address().unwrap());
    turn_until(&lp, || !client.connecting());
    assert_eq!(deregistered(&lp, || socket.destroy()), 0);
    assert_eq!(deregistered(&lp, || client.destroy()), 0);
    assert_eq!(deregistered(&lp, || server.close()), 0);
    // From outside: once each.
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let socket = Socket::from_fd(&lp, ours, SocketOptions::new()).unwrap();
    assert_eq!(deregistered(&lp, || socket.destroy()), 1);
    let server = listener();
    server
        .listen(TcpListener::bind(any_port()).unwrap())
        .unwrap();
    server.keep();
    assert_eq!(deregistered(&lp, || server.close()), 1);
    // Its next life is its own.
    server.listen(any_port()).unwrap();
    assert_eq!(deregistered(&lp, || server.close()), 0);
    server.release();
    // Handed out: once each.
    for lend in [
        |socket: Socket| drop(socket.try_clone_fd().unwrap()),
        |socket: Socket| socket.with_sock_ref(|_| ()).unwrap(),
    ] {
        let (socket, _peer) = pair(&lp);
        lend(socket);
        assert_eq!(deregistered(&lp, || socket.destroy()), 1);
    }
    let server = listener();
    server.listen(any_port()).unwrap();
    drop(server.try_clone_fd().unwrap());
    assert_eq!(deregistered(&lp, || server.close()), 1);
    // Given away: once each, and no close.
    let (socket, _peer) = pair(&lp);
    let closes = lp.counts().closes;
    assert_eq!(deregistered(&lp, || drop(socket.into_fd().unwrap())), 1);
    assert_eq!(lp.counts().closes, closes);
    lp.run().unwrap();
}

#[test]
fn a_listening_descriptor_that_lives_on_wakes_nobody() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let server = net::create_server(&lp, |_| panic!("it is closed"));
    server.listen(any_port()).unwrap();
    let address = server.address().unwrap();
    let held = server.try_clone_fd().unwrap();
    server.close();
    lp.run().unwrap();
    let waiting = TcpStream::connect(address).unwrap();
    let before = lp.counts().waits;
    let left = Rc::new(Cell::new(5));
    let inner = left.clone();
    lp.set_interval(1, move |timer| {
        inner.set(inner.get() - 1);
        if inner.get() == 0 {
            timer.clear();
        }
    });
    lp.run().unwrap();
    assert!(lp.counts().waits - before < 15);
    // Whoever holds it has the connection.
    let listener = TcpListener::from(held);
    listener.set_nonblocking(false).unwrap();
    drop(listener.accept().unwrap());
    assert!(read_to_end(&waiting).is_empty());
}

#[test]
fn a_connection_given_away_goes_on_elsewhere() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let given = Rc::new(RefCell::new(None));
    let (inner, taken) = (log.clone(), given.clone());
    let options = ServerOptions::new().pause_on_connect(true);
    let (server, address) = listening_with(&lp, options, move |socket| {
        inner.follow_but_data(socket);
        *taken.borrow_mut() = Some(socket.into_fd().unwrap());
        assert!(socket.destroyed());
        assert_eq!(code(socket.into_fd()), "ERR_SOCKET_CLOSED");
        assert_eq!(code(socket.try_clone_fd()), "ERR_SOCKET_CLOSED");
    });
    let mut peer = connect(address);
    peer.write_all(b"early").unwrap();
    turn_until(&lp, || given.borrow().is_some());
    assert_eq!(server.connections(), 0);
    server.close();
    lp.run().unwrap();
    log.expect(&["close false"]);
    // Nothing was read here, so nothing is lost: another thread has another loop.
    let descriptor = given.take().unwrap();
    let worker = std::thread::spawn(move || {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let socket = Socket::from_fd(&lp, descriptor, SocketOptions::new()).unwrap();
        socket.on_data(|socket, chunk| {
            socket.write(chunk);
        });
        lp.run().unwrap();
    });
    let mut answer = [0; 5];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"early");
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_to_end(&peer).is_empty());
    join(worker);
}

#[test]
fn a_connection_with_half_a_character_is_not_given_away() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, mut peer) = pair(&lp);
    let log = Recorder::new();
    let it = log.clone();
    let listener = socket.on_text(move |_, text| it.note(text));
    peer.write_all(b"a\xe2\x82").unwrap();
    turn_until(&lp, || socket.bytes_read() == 3);
    assert_eq!(code(socket.into_fd()), "ERR_SOCKET_NOT_TRANSFERABLE");
    peer.write_all(b"\xac\xe2").unwrap();
    turn_until(&lp, || socket.bytes_read() == 5);
    log.expect(&["a", "\u{20ac}"]);
    // Nobody waits for the rest of it.
    socket.off(listener);
    drop(socket.into_fd().unwrap());
    assert!(read_to_end(&peer).is_empty());
    lp.run().unwrap();
}

#[test]
fn a_connection_with_data_on_its_way_is_not_given_away() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let refused =
        |socket: Socket| assert_eq!(code(socket.into_fd()), "ERR_SOCKET_NOT_TRANSFERABLE");
    // Read and not delivered.
    let (socket, mut peer) = pair(&lp);
    peer.write_all(b"unread").unwrap();
    turn_until(&lp, || socket.readable_length() == 6);
    refused(socket);
    // It goes on as if nothing had been.
    let log = Recorder::new();
    log.follow(socket);
    turn_until(&lp, || log.has("data unread"));
    // Written and not sent.
    socket.write(vec![0; 8 * 1024 * 1024]);
    assert!(socket.writable_length() > 0);
    refused(socket);
    let reader = std::thread::spawn(move || {
        let mut rest = vec![0; 8 * 1024 * 1024];
        peer.read_exact(&mut rest).unwrap();
        peer
    });
    turn_until(&lp, || socket.writable_length() == 0);
    // What was laid aside is sent first.
    socket.write("last");
    let peer = join(reader);
    let descriptor = socket.into_fd().unwrap();
    drop(descriptor);
    assert_eq!(read_to_end(&peer), b"last");
    // Connecting.
    let server = net::create_server(&lp, |socket| socket.destroy());
    server.listen(any_port()).unwrap();
    let connecting = net::connect(&lp, server.address().unwrap());
    assert_eq!(code(connecting.into_fd()), "ERR_SOCKET_CLOSED");
    lp.run_nowait().unwrap();
    connecting.destroy();
    server.close();
    lp.run().unwrap();
}

#[test]
fn a_listening_socket_given_away_keeps_who_waits() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    for at_path in [false, true] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let log = Recorder::new();
        let server = net::create_server(&lp, |_| panic!("the other one has it"));
        server.on_close(log.noting("close"));
        match at_path {
            true => server.listen(&path).unwrap(),
            false => server.listen(any_port()).unwrap(),
        }
        let address = server.address();
        let waiting: OwnedFd = match address {
            Some(address) => TcpStream::connect(address).unwrap().into(),
            None => UnixStream::connect(&path).unwrap().into(),
        };
        let descriptor = server.into_fd().unwrap();
        assert!(!server.listening());
        assert_eq!(code(server.into_fd()), "ERR_SERVER_NOT_RUNNING");
        assert_eq!(code(server.try_clone_fd()), "ERR_SERVER_NOT_RUNNING");
        lp.run().unwrap();
        log.expect(&["close"]);
        assert_eq!(code(server.try_clone_fd()), "ERR_HANDLE_GONE");
        assert_eq!(path.exists(), at_path);

        let next = net::create_server(&lp, |socket| {
            socket.end_with("hello");
            socket.server().unwrap().close();
        });
        next.listen(descriptor).unwrap();
        assert_eq!(next.address(), address);
        let client = Socket::from_fd(&lp, waiting, SocketOptions::new()).unwrap();
        log.follow(client);
        lp.run().unwrap();
        log.expect(&["data hello", "end", "finish", "close false"]);
    }
}

#[test]
fn a_second_descriptor_is_the_same_connection() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let log = Recorder::new();
    log.follow(socket);
    socket.write("one ");
    let second = TcpStream::from(socket.try_clone_fd().unwrap());
    (&second).write_all(b"two").unwrap();
    socket.destroy();
    // The connection lives as long as any descriptor.
    (&second).write_all(b" three").unwrap();
    drop(second);
    assert_eq!(read_to_end(&peer), b"one two three");
    lp.run().unwrap();
    log.expect(&["close false"]);
}

#[test]
fn no_descriptor_is_leaked() {
    in_own_process("no_descriptor_is_leaked", "", body, |_| {});

    fn body() {
        let Some(before) = open_descriptors() else {
            return println!("skipped: the system does not tell what is open");
        };
        // Nothing that holds on to the loop's means to be woken.
        let _watched = watched(10);
        let lp = Loop::new().unwrap();
        for _ in 0..3 {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let socket = Socket::from_fd(&lp, ours, SocketOptions::new()).unwrap();
            let _ = Socket::from_fd(&lp, File::open("/").unwrap(), SocketOptions::new());
            drop((socket.try_clone_fd().unwrap(), theirs));
            drop(socket.into_fd());
            let server = net::create_server(&lp, |_| {});
            server.on_error(|_, _| {});
            server
                .listen(OwnedFd::from(File::open("/").unwrap()))
                .unwrap();
            server
                .listen(TcpListener::bind(any_port()).unwrap())
                .unwrap();
            drop(server.try_clone_fd().unwrap());
            drop(server.into_fd().unwrap());
            let scratch = Scratch::new();
            let path = scratch.path("s");
            let server = net::create_server(&lp, |_| {});
            server.listen(&path).unwrap();
            drop(server.into_fd().unwrap());
        }
        lp.run().unwrap();
        drop(lp);
        assert_eq!(open_descriptors(), Some(before));
    }
}
