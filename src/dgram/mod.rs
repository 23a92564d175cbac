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
//! On Unix it may be bound to a socket that exists, of a service manager or a parent process:
//! [`BindOptions::fd`].
//!
//! A socket that is [connected](Socket::connect) receives from its peer only and sends without an
//! address.
//!
//! # Errors
//!
//! What Node throws is the `Err` of the call: a state that does not allow it
//! (`ERR_SOCKET_DGRAM_NOT_RUNNING` after `close`, `ERR_SOCKET_ALREADY_BOUND` …), a port that cannot
//! be, an option that the system refuses. What is found out later is an 'error' event or a
//! completion's argument. What becomes of a datagram only a completion is told: without one, as in
//! Node, nobody is. But one that could not even be tried, since its name was not found or too many
//! [wait](SocketOptions::max_queued), is an 'error' then, and that ends [`run`](crate::Loop::run) if nobody
//! listens to it. To an unreachable peer an unconnected socket sends without ever being told
//! anything; a connected one is told `ECONNREFUSED`, by the next send or by 'error'.
//!
//! A call on a handle whose socket is gone (its 'close' has been emitted) gives `ERR_HANDLE_GONE`,
//! and a completion is called with it.
//!
//! # How datagrams travel
//!
//! Nothing of this shows but in the figures. Several datagrams are received with one system call, and
//! a train of datagrams from one sender that the kernel has coalesced is taken apart here; 'message'
//! comes once for each. What a loop callback sends is laid aside and goes out when it is over, and
//! what the 'message' listeners of datagrams that came together answer goes out together; on Linux a
//! run of datagrams of one size to one peer is one system call. A program that ends, or blocks, in
//! the callback that has sent something calls [`flush`](Socket::flush) before, or makes its loop with
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
