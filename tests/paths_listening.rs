//! Unix domain sockets: the paths that servers listen at, the files that they make there, and what
//! is wrong with a path: taken, denied, too long. The rest is in `tests/paths_connecting.rs` and
//! `tests/paths_flowing.rs`.
//!
//! That Unix sockets do the rest as those of TCP do is shown by the other tests, run over Unix sockets:
//! `NODELOOP_TEST_SOCKETS=unix cargo test --tests`.

#![cfg(unix)]

mod support;

use std::fs;
use std::io::Read;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nodeloop::Loop;
use nodeloop::net::{self, ListenOptions};
use support::files::Scratch;
use support::paths::*;
use support::*;

#[test]
fn n236_n77_the_file_is_made_by_listen_and_removed_by_close() {
    let directory = Scratch::new();
    let path = directory.path("s");
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
    let directory = Scratch::new();
    let path = directory.path("s");
    let lp = Loop::new().unwrap();
    net::create_server(&lp, |_| {}).listen(&path).unwrap();
    assert!(path.exists());
    drop(lp);
    assert!(!path.exists());
}

#[test]
fn n236_whatever_is_there_is_removed() {
    let directory = Scratch::new();
    let path = directory.path("s");
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
    let directory = Scratch::new();
    let [listens, stale, file] = ["listens", "stale", "file"].map(|name| directory.path(name));
    let _held = UnixListener::bind(&listens).unwrap();
    drop(UnixListener::bind(&stale).unwrap());
    fs::write(&file, "text").unwrap();
    for path in [&*listens, &stale, &file, directory.root()] {
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
    let directory = Scratch::new();
    let path = directory.path("none").join("s");
    let error = listen_in_vain(&path);
    assert_eq!(told(&error), format!("EACCES listen {}", path.display()));
    fs::write(directory.path("file"), "text").unwrap();
    let path = directory.path("file").join("s");
    assert_eq!(listen_in_vain(&path).code(), Some("ENOTDIR"));
    assert_eq!(connect_in_vain(&path).code(), Some("ENOTDIR"));
}

#[test]
fn n73_n74_a_server_that_failed_at_a_path_can_listen_elsewhere() {
    let directory = Scratch::new();
    let path = directory.path("s");
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

/// A path of so many bytes.
fn of_length(directory: &Scratch, bytes: usize) -> PathBuf {
    let taken = directory.root().as_os_str().len() + 1;
    directory.path(&"x".repeat(bytes - taken))
}

#[test]
fn n239_paths_that_are_too_long() {
    // Node takes 108 bytes too, without a NUL behind them.
    let directory = Scratch::new();
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
    let directory = Scratch::new();
    let path = directory.path("s");
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
    let directory = Scratch::new();
    let path = directory.path("s");
    let _held = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // Searchable, but nobody else's to write to.
    fs::set_permissions(directory.root(), fs::Permissions::from_mode(0o755)).unwrap();
    let beside = directory.path("t");
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
    fs::set_permissions(directory.root(), fs::Permissions::from_mode(0o755)).unwrap();
    let shown = directory.root().display();
    assert_eq!(codes[0], format!("EACCES connect {shown}/s"));
    assert_eq!(codes[1], format!("EACCES listen {shown}/t"));
}

/// The kernel says that such an address is longer than an address can be, and accepting it panicked.
#[test]
#[cfg(target_os = "linux")]
fn a_peer_whose_path_fills_its_address() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, socket};

    let directory = Scratch::new();
    let path = directory.path("server");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let server = net::create_server(&lp, |socket| {
        socket.server().unwrap().close();
        socket.end_with("welcome");
    });
    server.listen(&path).unwrap();

    // All 108 bytes, without room for a NUL.
    let room = 108 - directory.name("").len();
    let full = SocketAddrUnix::new(directory.path(&"p".repeat(room))).unwrap();
    let peer = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&peer, &full).unwrap();
    connect(&peer, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    let mut peer = UnixStream::from(peer);
    peer.shutdown(Shutdown::Write).unwrap();
    lp.run().unwrap();
    let mut told = String::new();
    peer.read_to_string(&mut told).unwrap();
    assert_eq!(told, "welcome");
}
