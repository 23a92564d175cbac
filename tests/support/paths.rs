//! Unix domain sockets: paths of a test's own, and who listens at them and connects to them.

use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;

use nodeloop::Loop;
use nodeloop::net::{self, ConnectOptions, ListenOptions, Server, ServerOptions, Socket};

use super::{PATIENCE, Recorder, deadline, turn_until};

/// What an error of `listen` or `connect` tells: code, system call, address; it has no port.
pub fn told(error: &nodeloop::Error) -> String {
    assert_eq!((error.port(), error.hostname()), (None, None));
    let code = error.code().unwrap_or("none");
    let about = error.address().unwrap_or("none");
    format!("{code} {} {about}", error.syscall().unwrap_or("none"))
}

/// The error that `listen` reports.
pub fn listen_in_vain(at: impl Into<ListenOptions>) -> nodeloop::Error {
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
pub fn connect_in_vain(to: impl Into<ConnectOptions>) -> nodeloop::Error {
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
pub fn standing(lp: &Loop, path: &Path, options: ServerOptions) -> (Server, Socket, UnixStream) {
    let accepted = Rc::new(Cell::new(None));
    let inner = accepted.clone();
    let server = net::create_server_with(lp, options, move |socket| inner.set(Some(socket)));
    server.listen(path).unwrap();
    let peer = UnixStream::connect(path).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    turn_until(lp, || accepted.get().is_some());
    (server, accepted.get().unwrap(), peer)
}
