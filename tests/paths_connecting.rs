//! Unix domain sockets: connecting to a path, which succeeds or fails within the call, and what such a socket
//! lacks: addresses, options of TCP, resets. The rest is in `tests/paths_listening.rs` and
//! `tests/paths_flowing.rs`.

#![cfg(unix)]

mod support;

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::fs;
use std::io::Read;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::rc::Rc;

use nodeloop::net::{self, ConnectOptions, ServerOptions, Socket};
use nodeloop::{Loop, LoopHandle};
use support::files::Scratch;
use support::paths::*;
use support::*;

#[test]
fn n238_n101_nobody_listens_there() {
    let directory = Scratch::new();
    let [stale, file, missing] = ["stale", "file", "missing"].map(|name| directory.path(name));
    drop(UnixListener::bind(&stale).unwrap());
    fs::write(&file, "text").unwrap();
    let cases = [
        (&*stale, "ECONNREFUSED"),
        (&*file, "ECONNREFUSED"),
        (directory.root(), "ECONNREFUSED"),
        (&*missing, "ENOENT"),
    ];
    for (path, code) in cases {
        let error = connect_in_vain(path);
        let shown = path.display();
        assert_eq!(told(&error), format!("{code} connect {shown}"));
        assert_eq!(error.to_string(), format!("connect {code} {shown}"));
        assert!(error.raw_os_error().is_some() && error.source().is_some());
        assert_eq!(error.local_address(), None);
    }
}

#[test]
fn a_path_where_datagrams_are_received() {
    // The code had no name here, and so was UNKNOWN.
    let directory = Scratch::new();
    let path = directory.path("datagrams");
    let _bound = UnixDatagram::bind(&path).unwrap();
    let error = connect_in_vain(&*path);
    assert_eq!(
        told(&error),
        format!("EPROTOTYPE connect {}", path.display())
    );
}

#[test]
fn n235_n86_there_are_no_addresses() {
    let directory = Scratch::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let path = directory.path("s");
    let (server, socket, _peer) = standing(&lp, &path, ServerOptions::new());
    let client = net::connect(&lp, &path);
    turn_until(&lp, || !client.connecting());
    for socket in [socket, client] {
        let addresses = [
            socket.remote_address(),
            socket.local_address(),
            socket.address(),
        ];
        assert_eq!(addresses, [None; 3]);
    }
    let drops = Rc::new(RefCell::new(Vec::new()));
    let inner = drops.clone();
    server.on_drop(move |_, info| inner.borrow_mut().push(*info));
    server.set_max_connections(Some(0));
    let dropped = UnixStream::connect(&path).unwrap();
    turn_until(&lp, || !drops.borrow().is_empty());
    let info = drops.borrow()[0];
    assert_eq!((info.local_address, info.remote_address), (None, None));
    assert_eq!((&dropped).read(&mut [0; 1]).unwrap(), 0);
    server.close_all();
    client.destroy();
    lp.run().unwrap();
}

#[test]
fn n242_n200_options_of_tcp_do_nothing() {
    let directory = Scratch::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let options = ServerOptions::new().no_delay(true).keep_alive(true, 1000);
    let (server, socket, _peer) = standing(&lp, &directory.path("s"), options);
    let sockets = net::SocketOptions::new().no_delay(true).keep_alive(true, 0);
    let client = net::connect(
        &lp,
        ConnectOptions::to_path(directory.path("s")).socket(sockets),
    );
    turn_until(&lp, || !client.connecting());
    for socket in [socket, client] {
        socket.set_no_delay(true);
        socket.set_no_delay(false);
        socket.set_keep_alive(true, 5000);
        // Remembered, as in Node.
        socket.set_type_of_service(4).unwrap();
        assert_eq!(socket.type_of_service().unwrap(), 4);
    }
    assert_eq!(lp.counts().options, 0);
    server.close_all();
    client.destroy();
    lp.run().unwrap();
}

#[test]
fn n107_there_are_no_resets() {
    // In Node the call throws, and the socket stays.
    let directory = Scratch::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (server, socket, _peer) = standing(&lp, &directory.path("s"), ServerOptions::new());
    let log = Recorder::new();
    log.follow(socket);
    socket.reset_and_destroy();
    // It does not wait for 'connect', either.
    let connecting = net::connect(&lp, directory.path("s"));
    let other = Recorder::new();
    other.follow(connecting);
    connecting.reset_and_destroy();
    assert!(connecting.destroyed());
    server.close_all();
    lp.run().unwrap();
    other.expect(&["error ERR_INVALID_HANDLE_TYPE", "close true"]);
    log.expect(&["error ERR_INVALID_HANDLE_TYPE", "close true"]);
}

#[test]
fn n97_p6_the_connection_is_made_within_the_call() {
    let directory = Scratch::new();
    let path = directory.path("s");
    let listener = UnixListener::bind(&path).unwrap();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let socket = Socket::new(&lp, net::SocketOptions::new());
    socket.on_connection_attempt(|_, _| panic!("nothing is attempted later"));
    socket.on_connect(log.noting("connect"));
    log.follow(socket);
    socket.connect(&path).unwrap();
    assert!(socket.connecting() && socket.pending());
    socket.destroy();
    let (mut seen, _) = listener.accept().unwrap();
    assert_eq!(seen.read(&mut [0; 1]).unwrap(), 0);
    lp.run().unwrap();
    log.expect(&["close false"]);
}

#[test]
fn p5_errors_of_connect_come_later_and_in_order() {
    let directory = Scratch::new();
    let path = directory.path("s");
    let log = Recorder::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let _listener = UnixListener::bind(&path).unwrap();
    for path in [path, directory.path("none")] {
        let [tick, immediate] = ["tick", "immediate"];
        lp.next_tick({
            let log = log.clone();
            move |_: LoopHandle| log.note(tick)
        });
        lp.set_immediate(log.noting(immediate));
        let socket = net::connect(&lp, &path);
        let inner = log.clone();
        socket.on_error(move |_, error| inner.note(code_of(error)));
        socket.on_connect(log.noting("connect"));
        socket.on_ready(log.noting("ready"));
        socket.write_then("x", log.done("write"));
        turn_until(&lp, || log.has("immediate") && log.count("tick") == 1);
        turn_until(&lp, || {
            log.has("write ok") || log.has("write ERR_SOCKET_CLOSED_BEFORE_CONNECTION")
        });
        socket.destroy();
        lp.run().unwrap();
        // As in Node: what came of it is told in the pending phase or the poll phase.
        let expected: &[&str] = match path.ends_with("s") {
            true => &["tick", "connect", "write ok", "ready", "immediate"],
            false => &[
                "tick",
                "ENOENT",
                "immediate",
                "write ERR_SOCKET_CLOSED_BEFORE_CONNECTION",
            ],
        };
        log.expect(expected);
    }
}

#[test]
fn n109_connecting_again() {
    let directory = Scratch::new();
    let path = directory.path("s");
    let _listener = UnixListener::bind(&path).unwrap();
    for connected in [false, true] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let log = Recorder::new();
        let socket = net::connect(&lp, &path);
        log.follow(socket);
        socket.on_connect(log.noting("connect"));
        if connected {
            turn_until(&lp, || log.has("connect"));
        }
        let inner = log.clone();
        socket.on_error(move |_, error| inner.note(told(error)));
        socket.connect(&path).unwrap();
        lp.run().unwrap();
        let told = format!("EISCONN connect {}", path.display());
        let mut events = vec!["connect", "error EISCONN", &told, "close true"];
        if !connected {
            events.remove(0);
        }
        log.expect(&events);
        assert_eq!(lp.handles().len(), 0);
    }
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn who_finds_the_backlog_full_is_told_at_once() {
    let directory = Scratch::new();
    let path = directory.path("s");
    let listener =
        socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let address = socket2::SockAddr::unix(&path).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let waiting = UnixStream::connect(&path).unwrap();
    let error = connect_in_vain(&path);
    assert_eq!(told(&error), format!("EAGAIN connect {}", path.display()));
    drop(waiting);
}

#[test]
fn n110_a_socket_goes_from_path_to_port_and_back() {
    let directory = Scratch::new();
    let path = directory.path("s");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let greet = |socket: Socket| socket.end_with("hello");
    let unix = net::create_server(&lp, greet);
    unix.listen(&path).unwrap();
    let tcp = net::create_server(&lp, greet);
    tcp.listen(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))
        .unwrap();
    let port = tcp.address().unwrap();
    let log = Recorder::new();
    let socket = net::connect(&lp, &path);
    log.follow(socket);
    let lives = Cell::new(0);
    let inner = log.clone();
    socket.on_connect(move |socket| {
        inner.note(format!("peer {}", socket.remote_address().is_some()))
    });
    socket.on_close(move |socket, _| {
        lives.set(lives.get() + 1);
        match lives.get() {
            1 => socket.connect(port).unwrap(),
            2 => socket.connect(&path).unwrap(),
            _ => {
                unix.close();
                tcp.close();
            }
        }
    });
    lp.run().unwrap();
    let life = |peer| [peer, "data hello", "end", "finish", "close false"];
    let lives = ["peer false", "peer true", "peer false"].map(life);
    log.expect(&lives.concat());
}
