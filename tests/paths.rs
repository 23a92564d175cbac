//! Unix domain sockets: paths, and what sockets at paths do otherwise than those of TCP.
//!
//! That they do the rest alike is shown by the other tests, run over Unix sockets:
//! `NODELOOP_TEST_SOCKETS=unix cargo test --tests`.

#![cfg(unix)]

mod support;

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::fs;
use std::io::{IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nodeloop::net::{self, ConnectOptions, ListenOptions, Server, ServerOptions, Socket};
use nodeloop::{Loop, LoopHandle};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use support::*;

/// A directory of a test's own.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Directory {
        let name = format!("nodeloop-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Directory(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What an error of `listen` or `connect` tells: code, system call, address; it has no port.
fn told(error: &nodeloop::Error) -> String {
    assert_eq!((error.port(), error.hostname()), (None, None));
    let code = error.code().unwrap_or("none");
    let about = error.address().unwrap_or("none");
    format!("{code} {} {about}", error.syscall().unwrap_or("none"))
}

/// The error that `listen` reports.
fn listen_in_vain(at: impl Into<ListenOptions>) -> nodeloop::Error {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let server = net::create_server(&lp, |_| {});
    server.on_listening(|_| panic!("it listens"));
    server.listen(at).unwrap();
    let error = lp.run().unwrap_err();
    assert!(!server.listening());
    error
}

/// The error that `connect` reports.
fn connect_in_vain(to: impl Into<ConnectOptions>) -> nodeloop::Error {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let socket = net::connect(&lp, to);
    let log = Recorder::new();
    socket.on_connect(log.noting("connect"));
    let inner = log.clone();
    socket.on_close(move |_, had_error| inner.note(format!("close {had_error}")));
    let error = lp.run().unwrap_err();
    lp.run().unwrap();
    log.expect(&["close true"]);
    error
}

/// A server at a path, its one socket, and a peer that is connected to it.
fn standing(lp: &Loop, path: &Path, options: ServerOptions) -> (Server, Socket, UnixStream) {
    let accepted = Rc::new(Cell::new(None));
    let inner = accepted.clone();
    let server = net::create_server_with(lp, options, move |socket| inner.set(Some(socket)));
    server.listen(path).unwrap();
    let peer = UnixStream::connect(path).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    turn_until(lp, || accepted.get().is_some());
    (server, accepted.get().unwrap(), peer)
}

#[test]
fn n236_n77_the_file_is_made_by_listen_and_removed_by_close() {
    let directory = Directory::new("file");
    let path = directory.join("s");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let server = net::create_server(&lp, |_| {});
    assert_eq!((server.path(), server.listening()), (None, false));
    for _ in 0..2 {
        server.listen(&path).unwrap();
        assert!(server.listening() && path.exists());
        assert_eq!(
            (server.path(), server.address()),
            (Some(path.clone()), None)
        );
        assert_eq!(code(server.listen(&path)), "ERR_SERVER_ALREADY_LISTEN");
        server.keep();
        server.close();
        assert!(!server.listening() && !path.exists());
        assert_eq!(server.path(), Some(path.clone()));
    }
    lp.run().unwrap();
    // It is the path of what it listens at, not of what it did.
    server.listen(0).unwrap();
    assert!(server.path().is_none() && server.address().is_some());
    server.close();
    server.release();
    lp.run().unwrap();
    assert_eq!(server.path(), None);
    assert_eq!(code(server.listen(&path)), "ERR_HANDLE_GONE");
}

#[test]
fn p4_the_file_goes_with_the_loop_too() {
    let directory = Directory::new("loop");
    let path = directory.join("s");
    let lp = Loop::new().unwrap();
    net::create_server(&lp, |_| {}).listen(&path).unwrap();
    assert!(path.exists());
    drop(lp);
    assert!(!path.exists());
}

#[test]
fn n236_whatever_is_there_is_removed() {
    let directory = Directory::new("whatever");
    let path = directory.join("s");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let server = net::create_server(&lp, |_| {});
    server.listen(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "somebody else's").unwrap();
    server.close();
    assert!(!path.exists());
    lp.run().unwrap();
}

#[test]
fn n237_a_path_that_is_taken_by_whatever() {
    let directory = Directory::new("taken");
    let [listens, stale, file] = ["listens", "stale", "file"].map(|name| directory.join(name));
    let _held = UnixListener::bind(&listens).unwrap();
    drop(UnixListener::bind(&stale).unwrap());
    fs::write(&file, "text").unwrap();
    for path in [&listens, &stale, &file, &directory.0] {
        let error = listen_in_vain(path);
        let shown = path.display();
        assert_eq!(told(&error), format!("EADDRINUSE listen {shown}"));
        let message = format!("listen EADDRINUSE: address already in use {shown}");
        assert_eq!(error.to_string(), message);
        // It was not removed.
        assert!(path.exists());
    }
}

#[test]
fn n237_p2_a_directory_that_is_missing_or_none() {
    let directory = Directory::new("missing");
    let path = directory.join("none").join("s");
    let error = listen_in_vain(&path);
    assert_eq!(told(&error), format!("EACCES listen {}", path.display()));
    fs::write(directory.join("file"), "text").unwrap();
    let path = directory.join("file").join("s");
    assert_eq!(listen_in_vain(&path).code(), Some("ENOTDIR"));
    assert_eq!(connect_in_vain(&path).code(), Some("ENOTDIR"));
}

#[test]
fn n73_n74_a_server_that_failed_at_a_path_can_listen_elsewhere() {
    let directory = Directory::new("again");
    let path = directory.join("s");
    fs::write(&path, "text").unwrap();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let server = net::create_server(&lp, |_| {});
    server.listen_then(&path, log.noting("listening")).unwrap();
    server.on_error(move |server, error| {
        assert_eq!(error.code(), Some("EADDRINUSE"));
        assert_eq!(server.path().as_deref(), error.address().map(Path::new));
        fs::remove_file(server.path().unwrap()).unwrap();
        server.listen(server.path().unwrap()).unwrap();
    });
    turn_until(&lp, || log.has("listening"));
    server.close();
    lp.run().unwrap();
    assert!(!path.exists());
}

#[test]
fn n238_n101_nobody_listens_there() {
    let directory = Directory::new("nobody");
    let [stale, file, missing] = ["stale", "file", "missing"].map(|name| directory.join(name));
    drop(UnixListener::bind(&stale).unwrap());
    fs::write(&file, "text").unwrap();
    let cases = [
        (&stale, "ECONNREFUSED"),
        (&file, "ECONNREFUSED"),
        (&directory.0, "ECONNREFUSED"),
        (&missing, "ENOENT"),
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

/// A path of so many bytes.
fn of_length(directory: &Directory, bytes: usize) -> PathBuf {
    let taken = directory.0.as_os_str().len() + 1;
    directory.join(&"x".repeat(bytes - taken))
}

#[test]
fn n239_paths_that_are_too_long() {
    // Node takes 108 bytes too, without a NUL behind them.
    let directory = Directory::new("long");
    let longest = of_length(&directory, 107);
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let server = net::create_server(&lp, |socket| {
        socket.server().unwrap().close();
        socket.end();
    });
    server.listen(&longest).unwrap();
    net::connect(&lp, &longest).resume();
    lp.run().unwrap();
    assert!(!longest.exists());

    for bytes in [108, 109, 4000] {
        let path = of_length(&directory, bytes);
        let shown = path.display();
        assert_eq!(
            told(&listen_in_vain(&path)),
            format!("EINVAL listen {shown}")
        );
        let error = connect_in_vain(&path);
        assert_eq!(error.to_string(), format!("connect EINVAL {shown}"));
    }
}

#[test]
fn p2_what_is_no_path() {
    let with_nul = Path::new("a\0b");
    assert_eq!(listen_in_vain(with_nul).code(), Some("EINVAL"));
    assert_eq!(connect_in_vain(with_nul).code(), Some("EINVAL"));
    assert_eq!(connect_in_vain(Path::new("")).code(), Some("EINVAL"));
    let lp = Loop::new().unwrap();
    let server = net::create_server(&lp, |_| {});
    assert_eq!(code(server.listen(Path::new(""))), "ERR_INVALID_ARG_VALUE");
    assert!(!server.listening());
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn n240_p4_abstract_names() {
    let name = format!("\0nodeloop-{}", std::process::id());
    let name = Path::new(&name);
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let inner = log.clone();
    let server = net::create_server(&lp, move |socket| {
        inner.note("connection");
        socket.end_with("hello");
    });
    let all = ListenOptions::new().path(name).readable_all(true);
    assert_eq!(code(server.listen(all)), "ERR_INVALID_ARG_VALUE");
    server.listen(name).unwrap();
    assert_eq!(server.path().as_deref(), Some(name));
    let client = net::connect(&lp, name);
    log.follow(client);
    turn_until(&lp, || log.has("close false"));
    log.expect(&["connection", "data hello", "end", "finish", "close false"]);
    assert_eq!(listen_in_vain(name).code(), Some("EADDRINUSE"));
    server.close();
    lp.run().unwrap();
    assert_eq!(connect_in_vain(name).code(), Some("ECONNREFUSED"));
    // The longest: 108 bytes, its NUL included.
    let longest = format!("\0{:0>107}", std::process::id());
    let server = net::create_server(&lp, |_| {});
    server.listen(Path::new(&longest)).unwrap();
    assert!(server.listening());
    server.close();
    lp.run().unwrap();
    let too_long = PathBuf::from(longest + "x");
    assert_eq!(listen_in_vain(too_long).code(), Some("EINVAL"));
}

#[test]
fn n241_who_may_connect() {
    let directory = Directory::new("modes");
    let path = directory.join("s");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    for (readable, writable, mode) in [
        (true, false, 0o444),
        (false, true, 0o222),
        (true, true, 0o666),
    ] {
        let server = net::create_server(&lp, |_| {});
        let at = ListenOptions::new().path(&path);
        server
            .listen(at.readable_all(readable).writable_all(writable))
            .unwrap();
        let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{found:o}");
        server.close();
    }
    lp.run().unwrap();
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn n237_n238_permission_denied() {
    let directory = Directory::new("denied");
    let path = directory.join("s");
    let _held = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // Searchable, but nobody else's to write to.
    fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o755)).unwrap();
    let beside = directory.join("t");
    let codes = std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            // This thread alone gives up what root may do.
            let nobody = rustix::thread::Uid::from_raw(65534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        } else {
            // Its own, so it has to lock itself out.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
            let parent = path.parent().unwrap();
            fs::set_permissions(parent, fs::Permissions::from_mode(0o555)).unwrap();
        }
        [connect_in_vain(&path), listen_in_vain(&beside)].map(|error| told(&error))
    });
    let codes = codes.join().unwrap();
    fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o755)).unwrap();
    let shown = directory.0.display();
    assert_eq!(codes[0], format!("EACCES connect {shown}/s"));
    assert_eq!(codes[1], format!("EACCES listen {shown}/t"));
}

#[test]
fn n235_n86_there_are_no_addresses() {
    let directory = Directory::new("addresses");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let path = directory.join("s");
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
    let directory = Directory::new("options");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let options = ServerOptions::new().no_delay(true).keep_alive(true, 1000);
    let (server, socket, _peer) = standing(&lp, &directory.join("s"), options);
    let sockets = net::SocketOptions::new().no_delay(true).keep_alive(true, 0);
    let client = net::connect(
        &lp,
        ConnectOptions::to_path(directory.join("s")).socket(sockets),
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
    let directory = Directory::new("resets");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (server, socket, _peer) = standing(&lp, &directory.join("s"), ServerOptions::new());
    let log = Recorder::new();
    log.follow(socket);
    socket.reset_and_destroy();
    // It does not wait for 'connect', either.
    let connecting = net::connect(&lp, directory.join("s"));
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
    let directory = Directory::new("within");
    let path = directory.join("s");
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
    let directory = Directory::new("order");
    let path = directory.join("s");
    let log = Recorder::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let _listener = UnixListener::bind(&path).unwrap();
    for path in [path, directory.join("none")] {
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
    let directory = Directory::new("eisconn");
    let path = directory.join("s");
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
        assert_eq!(lp.handles().len(), 1);
    }
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn who_finds_the_backlog_full_is_told_at_once() {
    let directory = Directory::new("backlog");
    let path = directory.join("s");
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
    let directory = Directory::new("lives");
    let path = directory.join("s");
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

// The peer's end.

#[test]
fn n146_the_first_write_tells_that_the_peer_has_gone() {
    let directory = Directory::new("gone");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let options = ServerOptions::new().allow_half_open(true);
    let (server, socket, peer) = standing(&lp, &directory.join("s"), options);
    server.close();
    let log = Recorder::new();
    log.follow(socket);
    drop(peer);
    turn_until(&lp, || log.has("end"));
    assert!(!socket.write_then("x", log.done("write")));
    lp.run().unwrap();
    log.expect(&["end", "write EPIPE", "error EPIPE", "close true"]);
}

#[test]
fn n135_a_peer_that_closes_without_reading_is_an_error_behind_its_data() {
    let directory = Directory::new("unread");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (server, socket, mut peer) = standing(&lp, &directory.join("s"), ServerOptions::new());
    server.close();
    let log = Recorder::new();
    log.follow(socket);
    socket.write("never read");
    turn_until(&lp, || socket.writable_length() == 0);
    peer.write_all(b"last words").unwrap();
    drop(peer);
    lp.run().unwrap();
    log.expect(&["data last words", "error ECONNRESET", "close true"]);
}

#[test]
fn n13_data_and_end_come_in_different_turns() {
    // However the end is noticed: with the data, or by the read behind it.
    let directory = Directory::new("turns");
    for with_the_data in [false, true] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let path = directory.join("s");
        let (server, socket, mut peer) = standing(&lp, &path, ServerOptions::new());
        let turns = Rc::new(RefCell::new(Vec::new()));
        let inner = turns.clone();
        peer.write_all(b"data").unwrap();
        if with_the_data {
            peer.shutdown(std::net::Shutdown::Write).unwrap();
        }
        socket.on_data(move |socket, chunk| {
            assert_eq!(chunk, b"data");
            inner.borrow_mut().push(socket.event_loop().turns());
            // The read behind the data sees that.
            let _ = peer.shutdown(std::net::Shutdown::Write);
        });
        let inner = turns.clone();
        socket.on_end(move |socket| inner.borrow_mut().push(socket.event_loop().turns()));
        server.close();
        lp.run().unwrap();
        let turns = turns.take();
        assert_eq!(turns[1], turns[0] + 1, "{turns:?}");
    }
}

/// Writes bytes that carry a descriptor.
fn write_with_descriptor(peer: &UnixStream, bytes: &[u8]) {
    let descriptors = [peer.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let flags = SendFlags::empty();
    let sent = rustix::net::sendmsg(peer, &[IoSlice::new(bytes)], &mut ancillary, flags).unwrap();
    assert_eq!(sent, bytes.len());
}

#[test]
fn a_read_that_stops_at_a_descriptor_is_not_the_last() {
    // One event for all of it, and the first read gives only what the descriptor came with.
    let directory = Directory::new("scm-rights");
    for budget in [1, 32] {
        for ends in [false, true] {
            let lp = Loop::builder().read_budget(budget).build().unwrap();
            let _deadline = deadline(&lp, 10);
            let path = directory.join("s");
            let (server, socket, mut peer) = standing(&lp, &path, ServerOptions::new());
            let log = Recorder::new();
            for part in ["one", "two"] {
                write_with_descriptor(&peer, part.as_bytes());
            }
            peer.write_all(b"three").unwrap();
            let mut peer = Some(peer);
            if ends {
                peer = None;
            }
            log.follow(socket);
            turn_until(&lp, || log.has("data three"));
            if !ends {
                socket.end();
                drop(peer);
            }
            server.close();
            lp.run().unwrap();
            let mut events = vec!["data one", "data two", "data three"];
            events.extend(match ends {
                true => ["end", "finish", "close false"],
                false => ["finish", "end", "close false"],
            });
            log.expect(&events);
        }
    }
}

#[test]
fn a_hang_up_burns_no_core() {
    // A Unix socket whose peer has closed is readable, writable and hung up for ever.
    let directory = Directory::new("hang-up");
    for paused in [false, true] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let options = ServerOptions::new()
            .allow_half_open(true)
            .high_water_mark(4);
        let (server, socket, mut peer) = standing(&lp, &directory.join("s"), options);
        server.close();
        let log = Recorder::new();
        log.follow(socket);
        if paused {
            // Its buffer is full before the end.
            socket.pause();
        }
        peer.write_all(b"data that fills").unwrap();
        drop(peer);
        match paused {
            true => turn_until(&lp, || socket.readable_length() > 0),
            false => turn_until(&lp, || log.has("end")),
        }
        let before = lp.counts();
        let left = Rc::new(Cell::new(5));
        let inner = left.clone();
        lp.set_interval(1, move |timer| {
            inner.set(inner.get() - 1);
            if inner.get() == 0 {
                timer.clear();
            }
        });
        turn_until(&lp, || left.get() == 0);
        let after = lp.counts();
        assert!(after.waits - before.waits <= 12, "{before:?} {after:?}");
        assert!(after.reads - before.reads <= 1, "{before:?} {after:?}");
        socket.resume();
        socket.end();
        lp.run().unwrap();
        assert_eq!(
            log.last().as_deref(),
            Some("close false"),
            "{:?}",
            log.take()
        );
    }
}

#[test]
fn an_echo_costs_one_more_read_than_over_tcp() {
    let directory = Directory::new("cost");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (server, socket, mut peer) = standing(&lp, &directory.join("s"), ServerOptions::new());
    server.close();
    socket.on_data(|socket, chunk| {
        socket.write(chunk);
    });
    lp.run_nowait().unwrap();
    for _ in 0..10 {
        let before = lp.counts();
        peer.write_all(b"hello").unwrap();
        lp.run_once().unwrap();
        peer.read_exact(&mut [0; 5]).unwrap();
        let after = lp.counts();
        // The second read finds nothing: a short one proves nothing where descriptors can come along.
        let cost = (
            after.waits - before.waits,
            after.reads - before.reads,
            after.writes - before.writes,
        );
        assert_eq!(cost, (1, 2, 1));
    }
    // And nothing else that the system is asked for.
    let counts = lp.counts();
    assert_eq!(
        (counts.deregistrations, counts.addresses, counts.options),
        (0, 0, 0)
    );
    drop(peer);
    lp.run().unwrap();
}

#[test]
fn backpressure_over_a_path() {
    const SIZE: usize = 8 * 1024 * 1024;
    let directory = Directory::new("pressure");
    for limit in [0, 70_000] {
        let lp = Loop::builder().limit_writes(limit).build().unwrap();
        let _deadline = deadline(&lp, 20);
        let path = directory.join("s");
        let (server, socket, peer) = standing(&lp, &path, ServerOptions::new());
        server.close();
        let log = Recorder::new();
        log.follow(socket);
        let bytes: Vec<u8> = (0..SIZE).map(|number| (number % 251) as u8).collect();
        assert!(!socket.write(bytes.clone()));
        assert!(socket.writable_need_drain());
        socket.on_drain(|socket| socket.end());
        let reader = std::thread::spawn(move || {
            let mut received = Vec::new();
            (&peer).read_to_end(&mut received).unwrap();
            received
        });
        lp.run().unwrap();
        assert!(join(reader) == bytes);
        assert_eq!(log.take()[0], "drain");
    }
}
