//! What all streams have in common, for code that takes streams of any kind.

use std::fmt;
use std::rc::Rc;

use bytes::Bytes;

use super::handles::{Duplex, Readable, Writable};
use crate::event_loop::api::AsLoop;
use crate::event_loop::diversion::Diverter;
use crate::event_loop::handle::Raw;
use crate::ground::chunk::Chunk;
use crate::ground::error::{Error, Result};
use crate::ground::listeners::ListenerId;

/// Identifies a stream of any kind within its thread.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId(pub(crate) Raw);

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({:?})", self.0)
    }
}

/// An event without arguments that a stream may emit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamEvent {
    /// 'close', the last.
    Close,
    /// 'drain', of a writable side.
    Drain,
    /// 'end', of a readable side.
    End,
    /// 'finish', of a writable side.
    Finish,
    /// 'pause', of a readable side.
    Pause,
    /// 'readable', of a readable side.
    Readable,
    /// 'resume', of a readable side.
    Resume,
}

/// Only streams of this crate are streams: a user's is made with
/// [`ReadableOptions`](super::ReadableOptions) and its relatives.
pub(crate) mod sealed {
    /// Known to this crate alone.
    pub trait Sealed {
        /// Adds a listener that sees an 'error' first and does not count as listening.
        fn watch_error(&self, listener: Box<dyn FnMut()>) -> super::ListenerId;
        /// The stream as an object of its own.
        fn to_stream(&self) -> std::rc::Rc<dyn super::Stream>;
        /// Whether it is of a kind that has both sides, though one may not be there.
        fn is_duplex(&self) -> bool;
        /// Whether its 'close' is sure to come when it is done, as Node's `finished` has it.
        fn will_emit_close(&self) -> bool;
        /// Whether 'error' was emitted.
        fn error_emitted(&self) -> bool;
        /// Whether the source has ended and everything was read, but for 'end' itself.
        fn is_drained(&self) -> bool;
        /// Whether the source has ended.
        fn source_has_ended(&self) -> bool;
        /// Whether bytes were written that the sink has not taken.
        fn has_unwritten(&self) -> bool;
        /// Whether a write, or something else that stands before 'finish', has not been answered.
        fn has_writes(&self) -> bool;
        /// Its end in the kernel that takes bytes which nobody has read, if it has one.
        fn raw_end(&self) -> Option<super::StreamId> {
            None
        }
        /// Has its bytes go to such an end unread, while nobody but this listener of 'data' wants them. It
        /// may do so, where it can.
        fn divert(
            &self,
            _listener: super::ListenerId,
            _to: super::StreamId,
            _pipe: std::rc::Rc<dyn super::Diverter>,
        ) {
        }
    }
}

/// What every stream has: it can fail, and be destroyed.
///
/// The methods are those of the handles, in a form that trait objects can have.
pub trait Stream: AsLoop + sealed::Sealed {
    /// Its name.
    fn stream_id(&self) -> StreamId;
    /// Destroys it: see [`Readable::destroy`].
    fn destroy(&self);
    /// Destroys it for a reason: see [`Readable::destroy_with`].
    fn destroy_for(&self, error: Error);
    /// Whether it was destroyed.
    fn destroyed(&self) -> bool;
    /// Whether it was destroyed and its own destroy is over.
    fn closed(&self) -> bool;
    /// The first error it met.
    fn errored(&self) -> Option<Error>;
    /// Adds a listener for an event without arguments. It is never called if the stream lacks the
    /// side of that event.
    fn listen(&self, event: StreamEvent, listener: Box<dyn FnMut()>) -> ListenerId;
    /// Adds a listener for 'error'.
    fn listen_error(&self, listener: Box<dyn FnMut(&Error)>) -> ListenerId;
    /// Removes a listener.
    fn off(&self, listener: ListenerId);
    /// Whether it has a readable side.
    fn has_readable_side(&self) -> bool;
    /// Whether it has a writable side.
    fn has_writable_side(&self) -> bool;
    /// Whether 'end' may still come; false without a readable side.
    fn is_readable(&self) -> bool;
    /// Whether it may be written to; false without a writable side.
    fn is_writable(&self) -> bool;
    /// Whether 'end' was emitted; true without a readable side.
    fn readable_ended(&self) -> bool;
    /// Whether `end` was called; true without a writable side.
    fn writable_ended(&self) -> bool;
    /// Whether 'finish' was emitted; true without a writable side.
    fn writable_finished(&self) -> bool;
}

/// A stream that can be read from: a [`Readable`], a [`Duplex`], a [`net::Socket`](crate::net::Socket).
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use nodeloop::stream::{Duplex, ReadableExt, ReadableStream};
///
/// /// Counts the bytes of any stream.
/// fn count(stream: &dyn ReadableStream) -> Rc<Cell<usize>> {
///     let bytes = Rc::new(Cell::new(0));
///     let counted = bytes.clone();
///     stream.listen_data(Box::new(move |chunk| counted.set(counted.get() + chunk.len())));
///     bytes
/// }
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = nodeloop::Loop::new()?;
/// let stream = Duplex::pass_through(&lp);
/// let bytes = count(&stream);
/// stream.end_with("hello");
/// lp.run()?;
/// assert_eq!(bytes.get(), 5);
/// # Ok(())
/// # }
/// ```
pub trait ReadableStream: Stream {
    /// The stream as an object of its own.
    fn to_readable(&self) -> Rc<dyn ReadableStream>;
    /// Adds a listener for 'data': see [`Readable::on_data`].
    fn listen_data(&self, listener: Box<dyn FnMut(&[u8])>) -> ListenerId;
    /// Adds a listener for 'data' that would rather have the bytes as its own than a copy.
    #[doc(hidden)]
    fn listen_bytes(&self, listener: Box<dyn FnMut(DataChunk<'_>)>) -> ListenerId;
    /// Whether anybody listens to 'data'.
    fn is_listened_to(&self) -> bool;
    /// Holds 'data' back.
    fn pause(&self);
    /// Lets 'data' flow.
    fn resume(&self);
    /// Whether it is held back.
    fn is_paused(&self) -> bool;
    /// Whether data flows, if that is decided.
    fn readable_flowing(&self) -> Option<bool>;
    /// Bytes that wait to be read.
    fn readable_length(&self) -> usize;
}

/// A stream that can be written to: a [`Writable`], a [`Duplex`], a
/// [`net::Socket`](crate::net::Socket).
pub trait WritableStream: Stream {
    /// The stream as an object of its own.
    fn to_writable(&self) -> Rc<dyn WritableStream>;
    /// Writes: see [`Writable::write`].
    fn write_chunk(&self, chunk: Chunk<'_>, done: Option<Box<dyn FnOnce(Result<()>)>>) -> bool;
    /// Writes for a pipe: a user's sink gets the chunk at once.
    #[doc(hidden)]
    fn write_piped(&self, chunk: DataChunk<'_>) -> bool;
    /// Ends this side for a pipe, from a task.
    #[doc(hidden)]
    fn end_piped(&self);
    /// Ends this side: see [`Writable::end`].
    fn end_stream(&self, chunk: Option<Chunk<'_>>, done: Option<Box<dyn FnOnce(Result<()>)>>);
    /// Holds back what is written.
    fn cork(&self);
    /// Ends one `cork`.
    fn uncork(&self);
    /// Bytes that wait to be written.
    fn writable_length(&self) -> usize;
    /// Whether a 'drain' is owed.
    fn writable_need_drain(&self) -> bool;
}

/// The bytes of 'data', lent or shared.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum DataChunk<'a> {
    /// Lent.
    Slice(&'a [u8]),
    /// To be shared.
    Bytes(&'a Bytes),
}

impl<'a> DataChunk<'a> {
    /// The bytes.
    pub fn as_slice(self) -> &'a [u8] {
        match self {
            DataChunk::Slice(slice) => slice,
            DataChunk::Bytes(bytes) => bytes,
        }
    }

    /// The bytes as their own owner.
    pub fn to_bytes(self) -> Bytes {
        match self {
            DataChunk::Slice(slice) => Bytes::copy_from_slice(slice),
            DataChunk::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// Convenient methods for a [`ReadableStream`] whose type is known.
pub trait ReadableExt: ReadableStream + Copy + 'static {
    /// Adds a listener for 'data' that is given the stream, too.
    fn on_bytes(self, mut listener: impl FnMut(Self, &[u8]) + 'static) -> ListenerId {
        self.listen_data(Box::new(move |chunk| listener(self, chunk)))
    }

    /// Adds a listener for an event without arguments that is given the stream.
    fn on(self, event: StreamEvent, mut listener: impl FnMut(Self) + 'static) -> ListenerId {
        self.listen(event, Box::new(move || listener(self)))
    }
}

impl<S: ReadableStream + Copy + 'static> ReadableExt for S {}

/// Convenient methods for a [`WritableStream`].
pub trait WritableExt: WritableStream {
    /// Writes anything that becomes bytes.
    fn write_bytes<'a>(&self, data: impl Into<Chunk<'a>>) -> bool {
        self.write_chunk(data.into(), None)
    }

    /// Writes anything that becomes bytes, and calls `done` when that is done.
    fn write_bytes_then<'a>(
        &self,
        data: impl Into<Chunk<'a>>,
        done: impl FnOnce(Result<()>) + 'static,
    ) -> bool {
        self.write_chunk(data.into(), Some(Box::new(done)))
    }
}

impl<S: WritableStream + ?Sized> WritableExt for S {}

/// Implements the traits for the handles of this floor.
mod implementations {
    use super::*;
    use crate::event_loop::extension::add_listener;
    use crate::event_loop::table;
    use crate::ground::listeners::shared;
    use crate::stream::access::{add_data, add_readable, ask};
    use crate::stream::state::{self, flag};
    use crate::stream::{diverting, finishing, writable};

    macro_rules! stream {
        ($name:ident, $is_duplex:literal) => {
            impl sealed::Sealed for $name {
                fn watch_error(&self, mut listener: Box<dyn FnMut()>) -> ListenerId {
                    let call = shared(move |_: Raw, _: &Error| listener());
                    add_listener(self.0, state::ERROR_WATCH, call, false)
                }

                fn to_stream(&self) -> Rc<dyn Stream> {
                    Rc::new(*self)
                }

                fn is_duplex(&self) -> bool {
                    $is_duplex
                }

                fn will_emit_close(&self) -> bool {
                    ask(self.0, false, |it| {
                        let wanted = flag::AUTO_DESTROY | flag::EMIT_CLOSE;
                        it.flags.all(wanted) && !it.flags.any(flag::CLOSED)
                    })
                }

                fn error_emitted(&self) -> bool {
                    ask(self.0, false, |it| it.flags.any(flag::ERROR_EMITTED))
                }

                fn is_drained(&self) -> bool {
                    ask(self.0, true, |it| {
                        let left = it.readable.buffer.length() > 0;
                        it.flags.any(flag::ENDED) && !left && it.readable.direct.is_empty()
                    })
                }

                fn source_has_ended(&self) -> bool {
                    ask(self.0, false, |it| it.flags.any(flag::ENDED))
                }

                fn has_unwritten(&self) -> bool {
                    ask(self.0, false, |it| it.writable.length > 0)
                }

                fn has_writes(&self) -> bool {
                    ask(self.0, false, |it| {
                        it.writable.pending > 0 || it.writable.length > 0
                    })
                }

                fn divert(&self, listener: ListenerId, to: StreamId, pipe: Rc<dyn Diverter>) {
                    diverting::divert(self.0, listener, to, pipe);
                }
            }

            impl Stream for $name {
                fn stream_id(&self) -> StreamId {
                    StreamId(self.0)
                }

                fn destroy(&self) {
                    (*self).destroy();
                }

                fn destroy_for(&self, error: Error) {
                    (*self).destroy_with(error);
                }

                fn destroyed(&self) -> bool {
                    (*self).destroyed()
                }

                fn closed(&self) -> bool {
                    (*self).closed()
                }

                fn errored(&self) -> Option<Error> {
                    (*self).errored()
                }

                fn listen(&self, event: StreamEvent, mut listener: Box<dyn FnMut()>) -> ListenerId {
                    let call = shared(move |_: Raw| listener());
                    let slot = match event {
                        StreamEvent::Readable => return add_readable(self.0, call, false),
                        StreamEvent::Close => state::CLOSE,
                        StreamEvent::Drain => state::DRAIN,
                        StreamEvent::End => state::END,
                        StreamEvent::Finish => state::FINISH,
                        StreamEvent::Pause => state::PAUSE,
                        StreamEvent::Resume => state::RESUME,
                    };
                    add_listener(self.0, slot, call, false)
                }

                fn listen_error(&self, mut listener: Box<dyn FnMut(&Error)>) -> ListenerId {
                    let call = shared(move |_: Raw, error: &Error| listener(error));
                    add_listener(self.0, state::ERROR, call, false)
                }

                fn off(&self, listener: ListenerId) {
                    (*self).off(listener);
                }

                fn has_readable_side(&self) -> bool {
                    ask(self.0, false, |it| it.flags.any(flag::IS_READABLE))
                }

                fn has_writable_side(&self) -> bool {
                    ask(self.0, false, |it| it.flags.any(flag::IS_WRITABLE))
                }

                fn is_readable(&self) -> bool {
                    ask(self.0, false, |it| it.is_readable())
                }

                fn is_writable(&self) -> bool {
                    ask(self.0, false, |it| it.is_writable())
                }

                fn readable_ended(&self) -> bool {
                    ask(self.0, false, |it| it.flags.any(flag::END_EMITTED))
                }

                fn writable_ended(&self) -> bool {
                    ask(self.0, false, |it| it.flags.any(flag::ENDING))
                }

                fn writable_finished(&self) -> bool {
                    ask(self.0, false, |it| it.flags.any(flag::FINISHED))
                }
            }
        };
    }

    macro_rules! readable {
        ($name:ident) => {
            impl ReadableStream for $name {
                fn to_readable(&self) -> Rc<dyn ReadableStream> {
                    Rc::new(*self)
                }

                fn listen_data(&self, mut listener: Box<dyn FnMut(&[u8])>) -> ListenerId {
                    let call = shared(move |_: Raw, chunk: &Bytes| listener(chunk));
                    add_data(self.0, call, false)
                }

                fn listen_bytes(&self, mut listener: Box<dyn FnMut(DataChunk<'_>)>) -> ListenerId {
                    let call = move |_: Raw, chunk: &Bytes| listener(DataChunk::Bytes(chunk));
                    add_data(self.0, shared(call), false)
                }

                fn is_listened_to(&self) -> bool {
                    ask(self.0, false, |it| !it.listeners.data.is_empty())
                }

                fn pause(&self) {
                    (*self).pause();
                }

                fn resume(&self) {
                    (*self).resume();
                }

                fn is_paused(&self) -> bool {
                    (*self).is_paused()
                }

                fn readable_flowing(&self) -> Option<bool> {
                    (*self).readable_flowing()
                }

                fn readable_length(&self) -> usize {
                    (*self).readable_length()
                }
            }
        };
    }

    macro_rules! writable {
        ($name:ident) => {
            impl WritableStream for $name {
                fn to_writable(&self) -> Rc<dyn WritableStream> {
                    Rc::new(*self)
                }

                fn write_chunk(
                    &self,
                    mut chunk: Chunk<'_>,
                    done: Option<Box<dyn FnOnce(Result<()>)>>,
                ) -> bool {
                    crate::stream::access::write(self.0, chunk.take_rest(0), done)
                }

                fn write_piped(&self, chunk: DataChunk<'_>) -> bool {
                    match table::find(self.0.index) {
                        Some(core) => writable::write_now(&core, self.0.id(), chunk.to_bytes()),
                        None => false,
                    }
                }

                fn end_piped(&self) {
                    table::with(self.0, |state, id| {
                        finishing::end(state, id, None, None, true);
                    });
                }

                fn end_stream(
                    &self,
                    chunk: Option<Chunk<'_>>,
                    done: Option<Box<dyn FnOnce(Result<()>)>>,
                ) {
                    let chunk = chunk.map(|mut chunk| chunk.take_rest(0));
                    crate::stream::access::end(self.0, chunk, done);
                }

                fn cork(&self) {
                    (*self).cork();
                }

                fn uncork(&self) {
                    (*self).uncork();
                }

                fn writable_length(&self) -> usize {
                    (*self).writable_length()
                }

                fn writable_need_drain(&self) -> bool {
                    (*self).writable_need_drain()
                }
            }
        };
    }

    stream!(Readable, false);
    stream!(Writable, false);
    stream!(Duplex, true);
    readable!(Readable);
    readable!(Duplex);
    writable!(Writable);
    writable!(Duplex);
}
