//! Streams: Node's `stream` module.
//!
//! A stream has a readable side, a writable side, or both. A [`net::Socket`](crate::net::Socket) is one;
//! others are made of a source or a sink of your own: see [`ReadableOptions`], [`WritableOptions`],
//! [`DuplexOptions`] and [`TransformOptions`].
//!
//! ```
//! use nodeloop::stream::{Duplex, Writable};
//!
//! # fn main() -> nodeloop::Result<()> {
//! let lp = nodeloop::Loop::new()?;
//! let shout = Duplex::transform(&lp, |_, chunk, done| done.push(chunk.to_ascii_uppercase()));
//! let out = Writable::new(&lp, |_, chunk, done| {
//!     print!("{}", String::from_utf8_lossy(&chunk));
//!     done.ok();
//! });
//! shout.on_data(move |_, chunk| {
//!     out.write(chunk);
//! });
//! shout.end_with("hello");
//! lp.run()
//! # }
//! ```
//!
//! # When user code runs
//!
//! No call runs a listener, a completion, a source or a sink before it returns. What Node calls inside
//! `write`, `read`, `end` or `destroy` is called on the next tick here; what it emits inside `push`, or
//! inside the answer of a sink, comes as soon as the caller has returned, before any tick.
//!
//! # Pipes
//!
//! [`pipe`](Readable::pipe) writes the output of one stream to another, at the pace of the slower.
//! `socket.pipe(socket)` is an echo server. Errors stay where they happen, as in Node: handle them
//! at both ends yourself, or use [`pipeline`](pipeline()).
//!
//! # Any stream
//!
//! Code that takes streams of any kind takes a [`&dyn ReadableStream`](ReadableStream) or a
//! [`&dyn WritableStream`](WritableStream).

pub(crate) mod access;
mod attached;
pub(crate) mod delegate;
pub(crate) mod diverting;
mod done;
mod ending;
mod finished;
mod finishing;
mod flowing;
pub(crate) mod handles;
mod options;
pub(crate) mod pipe;
mod pipeline;
mod piping;
mod readable;
mod state;
pub(crate) mod traits;
mod transform;
mod writable;

pub use crate::ground::chunk::Chunk;
pub(crate) use attached::{attach, attached, attached_of};
pub use done::{Done, TransformDone};
pub use finished::{Finished, FinishedOptions, finished};
pub use handles::{Duplex, Readable, Writable};
pub use options::{
    DEFAULT_HIGH_WATER_MARK, DuplexOptions, ReadableOptions, TransformOptions, WritableOptions,
};
pub use pipe::{Destination, PipeOptions, unpipe, unpipe_all};
pub use pipeline::{DuplexStream, pipeline};
pub use piping::pipe;
pub use traits::{
    ReadableExt, ReadableStream, Stream, StreamEvent, StreamId, WritableExt, WritableStream,
};
