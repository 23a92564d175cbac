//! The vocabulary of the tests of UDP sockets. Peers are `std` sockets, or sockets of the same loop.

use std::cell::RefCell;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;

use nodeloop::dgram::{self, Socket, SocketType};
use nodeloop::{AsLoop, Loop};

use super::{PATIENCE, Recorder, code_of, turn_until};

/// A socket for IPv4 that is not bound.
#[track_caller]
pub fn udp4(lp: &impl AsLoop) -> Socket {
    dgram::create_socket(lp, SocketType::Udp4)
}

/// A socket that is bound at 127.0.0.1, and its address.
#[track_caller]
pub fn bound(lp: &impl AsLoop) -> (Socket, SocketAddr) {
    let socket = udp4(lp);
    let address = socket.bind_sync(("127.0.0.1", 0)).unwrap();
    (socket, address)
}

/// A socket that is connected to `peer`; its events of that are over.
#[track_caller]
pub fn connected(lp: &Loop, peer: SocketAddr) -> Socket {
    let (socket, _) = bound(lp);
    socket.connect_sync(peer).unwrap();
    lp.run_nowait().unwrap();
    socket
}

/// A peer outside of the loop, and its address.
pub fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The next datagram that a peer gets.
#[track_caller]
pub fn receive(peer: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    let size = peer.recv(&mut buffer).unwrap();
    buffer.truncate(size);
    buffer
}

/// A port at 127.0.0.1 at which nobody is.
pub fn nobody() -> SocketAddr {
    peer().1
}

/// Notes everything that a socket emits, 'message' as its text.
pub fn follow(log: &Recorder, socket: Socket) {
    socket.on_listening(log.noting("listening"));
    socket.on_connect(log.noting("connect"));
    socket.on_close(log.noting("close"));
    let noted = log.clone();
    socket.on_message(move |_, message, _| {
        noted.note(format!("message {}", String::from_utf8_lossy(message)));
    });
    let noted = log.clone();
    socket.on_error(move |_, error| noted.note(format!("error {}", code_of(error))));
}

/// A completion that notes its outcome: `name SIZE`, or `name CODE`.
pub fn sent(log: &Recorder, name: impl ToString) -> impl FnOnce(nodeloop::Result<usize>) + 'static {
    let (log, name) = (log.clone(), name.to_string());
    move |result| match result {
        Ok(size) => log.note(format!("{name} {size}")),
        Err(error) => log.note(format!("{name} {}", code_of(&error))),
    }
}

/// What a call that sends says to its completion, once the loop has told it.
#[track_caller]
pub fn outcome(
    lp: &Loop,
    send: impl FnOnce(Box<dyn FnOnce(nodeloop::Result<usize>)>),
) -> nodeloop::Result<usize> {
    let told = Rc::new(RefCell::new(None));
    let telling = told.clone();
    send(Box::new(move |result| *telling.borrow_mut() = Some(result)));
    turn_until(lp, || told.borrow().is_some());
    told.take().expect("it was told")
}
