//! Node's `net`, `dgram`, streams, timers and process liveness for Rust: a single-threaded event loop
//! on a hand-written reactor over [mio](https://docs.rs/mio), in safe Rust.
//!
//! Callbacks are registered on TCP servers, sockets and timers that live in a [`Loop`]. A turn of
//! the loop has libuv's phases in libuv's order, with Node's tick queue between any two callbacks.
//! The program ends when nothing keeps the loop alive: no listening server, no socket that reads,
//! no timer.
//!
//! ```
//! use nodeloop::{net, Loop};
//!
//! fn main() -> nodeloop::Result<()> {
//!     let lp = Loop::new()?;
//!     let server = net::create_server(&lp, |socket| {
//!         println!("CONNECTED {}", socket.remote_address().unwrap());
//!         socket.on_data(|socket, chunk| {
//!             socket.write("Server got: ");
//!             socket.write(chunk);
//!         });
//!         socket.on_error(|_, error| eprintln!("{error}"));
//!         socket.on_close(|_, had_error| println!("CLOSED {had_error}"));
//!     });
//!     server.listen(("127.0.0.1", 0))?;
//! #   server.close();
//!     lp.run()
//! }
//! ```
//!
//! # Where to go on
//!
//! - [`manual`]: how the machine works, chapter by chapter, each with a program and its trace; and
//!   a table of Node's names and their counterparts here.
//! - [`net`]: servers and sockets, and the life of a connection.
//! - [`dgram`]: UDP sockets.
//! - [`dns`]: looking up names.
//! - [`stream`]: your own streams; pipes and pipelines between streams of every kind.
//! - [`fs`]: files as streams; [`stdio`]: standard input and output as streams; [`readline`]: the
//!   lines of any stream.
//! - [`timers`]: timers and immediates; ticks are [`LoopHandle::next_tick`].
//! - [`Loop`] and [`LoopHandle`]: running, stopping, watching the loop turn.
//! - [`LoopHandle::spawn_blocking`]: work that would block the loop; [`LoopHandle::channel`]: messages
//!   from other threads.
//! - [`Error`]: what errors contain.
//! - `ARCHITECTURE.md` in the repository explains the machine: the turn, the code, the invariants.
//!
//! # Calling back into the loop
//!
//! Any listener may call any method of any handle, even destroy its own: the loop never holds a
//! borrow while user code runs, and no call runs a listener before it returns. So you may hold a
//! borrow of your own `RefCell` across a call. The one thing that is refused is `run` inside a
//! listener of the same loop.
//!
//! # What listeners capture
//!
//! A listener outlives the function that adds it, so it owns what it captures: it is a `move`
//! closure, and state that several listeners share is in an `Rc<Cell<…>>` or an `Rc<RefCell<…>>`.
//! Handles such as [`net::Socket`], [`Timer`] and [`LoopHandle`] are `Copy`, so each closure gets
//! its own.
//!
//! ```
//! use std::{cell::RefCell, rc::Rc};
//!
//! use nodeloop::{net, Loop};
//!
//! # fn main() -> nodeloop::Result<()> {
//! let lp = Loop::new()?;
//! let log = Rc::new(RefCell::new(Vec::new()));
//! let lines = log.clone();
//! let server = net::create_server(&lp, move |socket| {
//!     let lines = lines.clone(); // for this connection
//!     socket.on_data(move |_, chunk| lines.borrow_mut().push(chunk.to_vec()));
//!     // What is made in a listener is made with a handle that it has.
//!     socket.event_loop().set_timeout_once(1000, move |_| socket.end());
//! });
//! # server.listen(("127.0.0.1", 0))?;
//! # server.close();
//! lp.run()?;
//! println!("{} pieces", log.borrow().len());
//! # Ok(())
//! # }
//! ```
//!
//! | the compiler says | what helps |
//! |---|---|
//! | closure may outlive the current function | `move`; what is used outside too goes into an `Rc`, of which the closure gets a clone |
//! | cannot move out of a captured variable in an `FnMut` closure | it may be called again: clone the variable in it, before the inner closure; or add it with `once_x`, [`set_timeout_once`](LoopHandle::set_timeout_once) |
//! | cannot move out of `lp`, borrow of moved value: `lp` | a [`Loop`] is not `Copy`: in a listener take [`socket.event_loop()`](AsLoop::event_loop), or capture [`lp.handle()`](Loop::handle) |
//! | borrowed data escapes outside of closure | the bytes of 'data' are lent: keep a copy, `chunk.to_vec()` |
//! | `*const ()` cannot be sent between threads safely | handles and loops belong to their thread; others reach it by a [channel](LoopHandle::channel) or a [remote](LoopHandle::remote), and name a socket by its [`id`](net::Socket::id) |
//! | expected `()`, found `bool` | `write` answers, a listener does not: `{ socket.write(chunk); }` |
//!
//! # Bytes that are kept
//!
//! The bytes of 'data' are lent. What you [read](net::Socket::read) by hand, and what your own
//! [sink](stream::WritableOptions::write) receives, is yours: [`Bytes`], a type of the crate
//! [`bytes`](https://docs.rs/bytes), re-exported here so that a program need not depend on that
//! crate. A clone copies nothing.
//!
//! ```
//! use nodeloop::{net, Bytes, Loop};
//!
//! struct Request {
//!     header: Bytes,
//! }
//!
//! # fn main() -> nodeloop::Result<()> {
//! let lp = Loop::new()?;
//! net::create_server(&lp, |socket| {
//!     let mut requests = Vec::new();
//!     socket.on_readable(move |socket| {
//!         while let Some(header) = socket.read(4) {
//!             requests.push(Request { header });
//!         }
//!     });
//!     // …
//! });
//! # lp.run()
//! # }
//! ```
//!
//! # Logging
//!
//! The loop logs with [`log`](https://docs.rs/log): `error` for a loop that other threads can't
//! wake, `warn` for trouble such as running out of descriptors, `debug` for the life of handles,
//! `trace` for each phase of each turn and what it did. The targets are `nodeloop::event_loop`,
//! `nodeloop::net` and `nodeloop::dgram`. With a logger such as `env_logger`:
//!
//! ```sh
//! RUST_LOG=trace cargo run --example echo
//! ```
//!
//! # Features
//!
//! - `dns-lookup`, on by default: names are looked up with the crate of that name, which gives more
//!   precise errors than the standard library, and takes hints.
//! - `full-udp`, on by default: one system call for many datagrams, coalesced and segmented ones on
//!   Linux included, and `disconnect` of a UDP socket; on Linux also the errors of closing a
//!   [file](fs).
//! - `ipv6-source-membership`: receiving from one source of an IPv6 group, on Linux. It brings
//!   uapi, which compiles a line of C.
//! - `level`, on by default: on Linux listening sockets are polled level-triggered, which saves a
//!   system call for each connection; so are UDP sockets whose datagrams come one by one, which
//!   saves a second look.
//! - `splice`, on by default: on Linux, data [piped](stream::pipe()) into a socket in large chunks
//!   stays in the kernel.

mod backend;
pub mod dgram;
pub mod dns;
mod event_loop;
pub mod fs;
mod ground;
pub mod manual;
pub mod net;
pub mod readline;
pub mod stdio;
pub mod stream;
pub mod timers;

pub use backend::Counts;
#[doc(no_inline)]
pub use bytes::Bytes;
pub use event_loop::api::{AsLoop, Loop};
pub use event_loop::builder::Builder;
pub use event_loop::channels::{SendError, Sender};
pub use event_loop::handle::{Immediate, Job, LoopHandle, Timer, Watcher};
pub use event_loop::info::{HandleInfo, HandleKind};
pub use event_loop::memory::Memory;
pub use event_loop::remote::Remote;
pub use event_loop::why::{Reason, WhyAlive};
pub use ground::encoding::Encoding;
pub use ground::error::{Error, Result};
pub use ground::listeners::ListenerId;
pub use ground::millis::Millis;
pub use ground::string_decoder::StringDecoder;
pub use timers::Delay;

/// The null backend: a peer in memory, to measure the loop's own time without the kernel.
///
/// For benches. It is not part of what semantic versioning covers.
pub mod null {
    pub use crate::backend::null::{ADDRESS, Null, NullOptions};
}
