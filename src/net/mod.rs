//! TCP servers and sockets, and Unix domain sockets: Node's `net` module.
//!
//! ```
//! use nodeloop::{net, Loop};
//!
//! # fn main() -> nodeloop::Result<()> {
//! let lp = Loop::new()?;
//! let server = net::create_server(&lp, |socket| {
//!     socket.on_data(|socket, chunk| {
//!         socket.write(chunk);
//!     });
//!     socket.on_error(|_, error| eprintln!("{error}"));
//! });
//! server.listen_then(("127.0.0.1", 0), |server| {
//!     println!("listening on {}", server.address().unwrap());
//! #   server.close();
//! })?;
//! lp.run()
//! # }
//! ```
//!
//! # Handles
//!
//! [`Server`] and [`Socket`] are small `Copy` names for objects that the loop owns. Dropping a
//! handle does nothing; `close`, `end` and `destroy` end an object, and its slot is freed after its
//! 'close' event, unless it was put to use again or is [kept](Socket::keep). A call on a handle
//! whose object is gone does nothing and never reaches another object: queries answer for a closed
//! object, `write` gives false, calls that return a `Result` give `ERR_HANDLE_GONE`, and a
//! completion is called with that error.
//!
//! They belong to the thread of their loop. Other threads name a socket or a server by its `id`: see
//! [`SocketId`].
//!
//! # Listeners
//!
//! `on_x` adds a listener; `once_x`, which most events have, adds one for a single emission. Both
//! return an id for `off`.
//! calls a listener or a completion before it returns. One that is added during an emission first
//! runs at the next one; one that is removed during an emission still runs in it (N16).
//!
//! # The life of a connection
//!
//! The peer ends: 'data' …, 'end', then, unless half-open is allowed, this side ends too:
//! 'finish', 'close'. This side ends first: 'finish', and when the peer ends, 'end', 'close'.
//! Something fails: 'error', 'close'. `destroy`: 'close'. 'close' is always the last event, and its
//! argument says whether there was an error.
//!
//! An 'error' without a listener ends [`run`](crate::Loop::run), and with it a server whose peer
//! has reset its connection: listen to it on each socket, or handle all such errors with
//! [`on_uncaught_error`](crate::LoopHandle::on_uncaught_error).
//!
//! # Unix domain sockets
//!
//! On Unix a `Path` may stand in the place of an address: `server.listen(Path::new("/run/hello.sock"))`,
//! `net::connect(&lp, Path::new("/run/hello.sock"))`. The handles are the same; `ListenOptions::path` and
//! `ConnectOptions::to_path` tell what differs.

mod connect;
mod connect_options;
#[cfg(unix)]
mod descriptors;
mod events;
mod options;
#[cfg(unix)]
mod paths;
mod reading;
mod server;
mod socket;
mod sockopt;
mod streams;

pub use crate::backend::SockRef;
pub use crate::event_loop::entry::DropInfo;
pub use crate::event_loop::handle::{Server, Socket};
pub use crate::event_loop::remote::{ServerId, SocketId};
pub use crate::ground::addresses::{Family, SocketAddress, is_ip, is_ipv4, is_ipv6};
pub use crate::ground::block_list::{BlockList, ToIp};
pub use crate::ground::chunk::Chunk;
pub use connect::{connect, connect_then};
pub use connect_options::ConnectOptions;
pub use options::{
    DEFAULT_BACKLOG, DEFAULT_HIGH_WATER_MARK, ListenOptions, ServerOptions, SocketOptions,
};
pub use server::{create_server, create_server_with};
pub use socket::ReadyState;
