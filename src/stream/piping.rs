//! Piping, as the program asks for it: a function, and methods of the handles of this floor.

use super::access::ask;
use super::handles::{Duplex, Readable, Writable};
use super::pipe::{self, Destination, PipeOptions, on_pipe, on_unpipe};
use super::state::flag;
use super::traits::{ReadableStream, Stream, WritableStream};
use crate::ground::listeners::ListenerId;

/// Writes the output of a stream to another: Node's `source.pipe(destination)`.
///
/// The slowest of several destinations sets the pace: when one's `write` returns false the source
/// is paused until its 'drain'. The destination ends when the source has ended, unless the
/// [options](PipeOptions::end) say otherwise or it is standard output or error output. A
/// destination that fails or closes is unpiped, and the source stays open, paused if that was its
/// last destination (N217). An error of the source does not affect the destination.
/// [`pipeline`](super::pipeline()) looks after both.
///
/// A source with a listener for 'readable' does not flow, so nothing comes through its pipes until
/// the last such listener is taken [off](super::Readable::off). A program that has read a header by
/// hand pipes the rest like this:
///
/// ```
/// use nodeloop::{net, Loop};
/// # use std::{cell::Cell, rc::Rc};
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = Loop::new()?;
/// let server = net::create_server(&lp, |socket| {
///     let me = Rc::new(Cell::new(None));
///     let listener = me.clone();
///     let id = socket.on_readable(move |socket| {
///         if let (Some(header), Some(id)) = (socket.read(4), listener.get()) {
///             println!("{header:?}");
///             socket.off(id);
///             socket.pipe(socket);
///         }
///     });
///     me.set(Some(id));
/// });
/// # server.on_connection(|server, _| server.close());
/// # server.listen(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))?;
/// # let client = net::connect(&lp, server.address().unwrap());
/// # client.end_with("helobody");
/// # let echoed = Rc::new(Cell::new(0));
/// # let count = echoed.clone();
/// # client.on_data(move |_, chunk| count.set(count.get() + chunk.len()));
/// # lp.run()?;
/// # assert_eq!(echoed.get(), 4);
/// # Ok(())
/// # }
/// ```
///
/// On Linux with the feature `splice`, data piped from a socket or a file into a socket stays in
/// the kernel, if it comes in large chunks and 'data' has no other listener. Two things show this:
/// [`Counts::splices`](crate::Counts), and that a file changed meanwhile may be sent in its changed
/// form.
///
/// The destination's 'pipe' comes on the next tick. If the source has emitted 'end' already, the
/// destination ends on that tick too. A source that is gone, its 'close' over, leaves it open,
/// since there is no record of how the source ended: [`pipeline`](super::pipeline()) fails then.
pub fn pipe(source: &dyn ReadableStream, destination: &dyn WritableStream, options: PipeOptions) {
    let stays_open = ask(destination.stream_id().0, false, |it| {
        it.flags.any(flag::OPEN_BEHIND_PIPES)
    });
    let options = if stays_open {
        options.end(false)
    } else {
        options
    };
    pipe::pipe(source, destination, options);
}

macro_rules! source {
    ($name:ident) => {
        /// Piping.
        impl $name {
            /// Writes the output of this stream to another, and returns that: Node's
            /// `readable.pipe`. See [`pipe`](crate::stream::pipe()).
            ///
            /// ```
            /// use nodeloop::stream::{Duplex, Writable};
            ///
            /// # fn main() -> nodeloop::Result<()> {
            /// let lp = nodeloop::Loop::new()?;
            /// let source = Duplex::pass_through(&lp);
            /// let upper = Duplex::transform(&lp, |_, chunk, done| done.push(chunk.to_ascii_uppercase()));
            /// let sink = Writable::new(&lp, |_, chunk, done| {
            ///     assert_eq!(&chunk[..], b"HELLO");
            ///     done.ok();
            /// });
            /// source.pipe(upper).pipe(sink);
            /// source.end_with("hello");
            /// lp.run()
            /// # }
            /// ```
            pub fn pipe<D: Destination>(self, destination: D) -> D {
                self.pipe_with(destination, PipeOptions::new())
            }

            /// Like [`pipe`](Self::pipe), with options.
            pub fn pipe_with<D: Destination>(self, destination: D, options: PipeOptions) -> D {
                pipe(&self, destination.stream(), options);
                destination
            }

            /// Ends a pipe: Node's `readable.unpipe(destination)`. See
            /// [`unpipe`](crate::stream::unpipe).
            pub fn unpipe(self, destination: impl Destination) {
                pipe::unpipe(&self, destination.stream());
            }

            /// Ends every pipe: Node's `readable.unpipe()`.
            pub fn unpipe_all(self) {
                pipe::unpipe_all(&self);
            }
        }
    };
}

macro_rules! destination {
    ($name:ident) => {
        /// The events of a pipe's destination.
        impl $name {
            /// Adds a listener for 'pipe', which comes on the tick after a stream was piped to this one.
            pub fn on_pipe(
                self,
                mut listener: impl FnMut($name, &dyn ReadableStream) + 'static,
            ) -> ListenerId {
                on_pipe(
                    self.stream_id(),
                    Box::new(move |source| listener(self, source)),
                )
            }

            /// Adds a listener for 'unpipe', which comes when a pipe into this stream ends: on the
            /// tick after [`unpipe`](Duplex::unpipe), or at once when this stream has failed,
            /// finished or closed.
            pub fn on_unpipe(
                self,
                mut listener: impl FnMut($name, &dyn ReadableStream) + 'static,
            ) -> ListenerId {
                on_unpipe(
                    self.stream_id(),
                    Box::new(move |source| listener(self, source)),
                )
            }
        }
    };
}

source!(Readable);
source!(Duplex);
destination!(Writable);
destination!(Duplex);
