//! UDP sockets: Node's `dgram` module.
//!
//! ```
//! use nodeloop::{dgram, Loop};
//!
//! # fn main() -> nodeloop::Result<()> {
//! let lp = Loop::new()?;
//! let server = dgram::create_socket(&lp, dgram::SocketType::Udp4);
//! server.on_message(|server, message, from| {
//!     println!("{from}: {}", String::from_utf8_lossy(message));
//!     server.send_to(message, from).unwrap();
//! });
//! server.bind_then(("127.0.0.1", 0), |server| {
//!     let address = server.address().unwrap();
//!     println!("listening on {address}");
//!     let client = dgram::create_socket(&server, dgram::SocketType::Udp4);
//!     client.send_to("Привет, 世界", address).unwrap();
//!     client.on_message(move |client, answer, _| {
//!         assert_eq!(answer, "Привет, 世界".as_bytes());
//!         client.close().unwrap();
//!         server.close().unwrap();
//!     });
//! })?;
//! lp.run()
//! # }
//! ```
//!
//! # The life of a socket
//!
//! A socket is made unbound. [`bind`](Socket::bind) binds it to an address and a port, on the next
//! tick; the first `send_to` or `connect` binds it to a port that the system chooses. Then
//! 'listening' comes, and from then on 'message' for each datagram. A bound socket keeps the loop
//! alive until it is closed or [unreferenced](Socket::unref). 'close' is the last event.
//!
//! On Unix it may be bound to an existing socket of a service manager or a parent process:
//! [`BindOptions::fd`].
//!
//! A socket that is [connected](Socket::connect) receives from its peer only and sends without an
//! address.
//!
//! # Errors
//!
//! Where Node throws, the call returns an `Err`: a state that does not allow it
//! (`ERR_SOCKET_DGRAM_NOT_RUNNING` after `close`, `ERR_SOCKET_ALREADY_BOUND` …), an invalid port,
//! an option that the system refuses. Later failures come as an 'error' event or go to a
//! completion. Only a completion learns what became of a datagram; without one a failure is silent,
//! as in Node. The exception is a datagram that could not even be tried, since its name was not
//! found or too many [wait](SocketOptions::max_queued): that is an 'error', which ends
//! [`run`](crate::Loop::run) if it has no listener. An unconnected socket gets no report of an
//! unreachable peer; a connected one gets `ECONNREFUSED`, from the next send or as 'error'.
//!
//! A call on a handle whose socket is gone (its 'close' has been emitted) gives `ERR_HANDLE_GONE`,
//! and a completion is called with it.
//!
//! # How datagrams travel
//!
//! The following affects only speed. One system call receives several datagrams, and a train of
//! datagrams that the kernel has coalesced is taken apart here; 'message' comes once for each.
//! Datagrams sent in a loop callback are held and go out together when it is over; so do the
//! answers of the 'message' listeners to datagrams that arrived together. On Linux a run of
//! equal-sized datagrams to one peer is one system call. A program that ends or blocks in the
//! callback that has sent something calls [`flush`](Socket::flush) first, or makes its loop with
//! [`gather(false)`](crate::Builder::gather).
//!
//! The feature `full-udp`, which is on by default, has the system calls for that and for
//! [`disconnect`](Socket::disconnect). Without it everything but `disconnect` works the same, with
//! more system calls.

#[cfg(unix)]
mod descriptors;
mod events;
mod membership;
mod options;
mod send;
mod socket;

pub use crate::event_loop::datagram_entry::RemoteInfo;
pub use crate::event_loop::handle::udp::Socket;
pub use crate::ground::payload::Payload;
pub use options::{
    BindOptions, Destination, MAX_QUEUED_BYTES, MAX_QUEUED_DATAGRAMS, SocketOptions, SocketType,
};
pub use socket::{create_socket, create_socket_with};
