//! Streams as a program sees them.
//!
//! The methods of a side are the same for every kind of stream that has it, so they stand here once, in
//! a macro for each side.

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;

use super::access::{add_data, add_readable, ask, destroy, end, off, once, push, unshift, write};
use super::state::flag;
use super::{flowing, readable, writable};
use crate::event_loop::api::AsLoop;
use crate::event_loop::extension::add_listener;
use crate::event_loop::handle::{LoopHandle, Raw};
use crate::event_loop::table;
use crate::ground::chunk::Chunk;
use crate::ground::error::{Error, Result};
use crate::ground::listeners::{ListenerId, shared};

/// Makes the type of a handle.
macro_rules! handle {
    ($(#[$attribute:meta])* $name:ident) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub(crate) Raw);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.0)
            }
        }

        impl $name {
            /// The loop it belongs to.
            pub fn event_loop(self) -> LoopHandle {
                self.0.event_loop()
            }
        }

        impl AsLoop for $name {
            fn event_loop(&self) -> LoopHandle {
                self.0.event_loop()
            }
        }
    };
}

handle! {
    /// A handle to a readable stream: Node's `stream.Readable`.
    ///
    /// The stream belongs to its loop; the handle is a `Copy` name for it, of 16 bytes. Dropping it does
    /// nothing, and a call on a handle whose stream is gone does nothing. See the
    /// [module](crate::stream).
    ///
    /// It flows, is paused, or neither. It is neither until the program listens to 'data' or calls
    /// [`resume`](Readable::resume) or [`pause`](Readable::pause): the source is asked for nothing,
    /// unless the program [reads](Readable::read).
    Readable
}

handle! {
    /// A handle to a writable stream: Node's `stream.Writable`.
    ///
    /// The stream belongs to its loop; the handle is a `Copy` name for it, of 16 bytes. Dropping it does
    /// nothing, and a call on a handle whose stream is gone does nothing. See the
    /// [module](crate::stream).
    Writable
}

handle! {
    /// A handle to a stream with both sides: Node's `stream.Duplex`, `Transform` and `PassThrough`.
    ///
    /// The stream belongs to its loop; the handle is a `Copy` name for it, of 16 bytes. Dropping it does
    /// nothing, and a call on a handle whose stream is gone does nothing. See the
    /// [module](crate::stream).
    Duplex
}

/// The methods of a readable side.
macro_rules! readable_side {
    ($name:ident) => {
        /// Reading.
        impl $name {
            /// Gives the stream bytes from its source: Node's `readable.push`. Meant for the maker
            /// of the stream, in its [`read`](crate::stream::ReadableOptions::read) or at any later
            /// time.
            ///
            /// Returns whether the source may push more now: false when the buffer has reached the
            /// mark; `read` is called again when there is room. Listeners for 'data' get the bytes
            /// when the caller has returned. After [`push_end`](Self::push_end) the stream is
            /// destroyed with `ERR_STREAM_PUSH_AFTER_EOF`.
            pub fn push<'a>(self, chunk: impl Into<Chunk<'a>>) -> bool {
                push(self.0, chunk.into().take_rest(0))
            }

            /// Says that the source has ended: Node's `readable.push(null)`. 'end' follows once
            /// everything was read.
            pub fn push_end(self) {
                table::with(self.0, readable::push_end);
            }

            /// Takes exactly `size` bytes from the buffer: Node's `readable.read(size)`.
            ///
            /// Returns None for 0, and if there are fewer, unless the source has ended: then it
            /// returns what is left. It emits no 'data' (Node's does), and the source is asked for
            /// more on a tick, not at once.
            pub fn read(self, size: usize) -> Option<Bytes> {
                table::with(self.0, |state, id| readable::read(state, id, Some(size))).flatten()
            }

            /// Takes the oldest chunk from the buffer: Node's `readable.read()`.
            pub fn read_chunk(self) -> Option<Bytes> {
                table::with(self.0, |state, id| readable::read(state, id, None)).flatten()
            }

            /// Puts bytes back in front of what is buffered: Node's `readable.unshift`. It emits no
            /// 'data' before it returns. After 'end' the stream is destroyed with
            /// `ERR_STREAM_UNSHIFT_AFTER_END_EVENT`. Returns whether the source may push more.
            ///
            /// Don't use it to wait: after a `read` that found too little, 'readable' comes again
            /// on the next tick. Keep the part of a message that you have in a variable. See
            /// [`Socket::unshift`](crate::net::Socket::unshift).
            pub fn unshift<'a>(self, chunk: impl Into<Chunk<'a>>) -> bool {
                unshift(self.0, chunk.into().take_rest(0))
            }

            /// Holds 'data' back: Node's `readable.pause`. The source is asked for more until the
            /// buffer has reached the mark. 'pause' comes on the next tick.
            pub fn pause(self) {
                table::with(self.0, flowing::pause);
            }

            /// Lets 'data' flow: Node's `readable.resume`. On the next tick 'resume' comes, then
            /// what was buffered. Without a listener the data is thrown away. While there is a
            /// listener for 'readable' no data flows.
            pub fn resume(self) {
                table::with(self.0, flowing::resume);
            }

            /// Whether it is held back: Node's `readable.isPaused`.
            pub fn is_paused(self) -> bool {
                ask(self.0, false, |it| it.is_paused())
            }

            /// Whether data flows: Node's `readable.readableFlowing`. None until that is decided.
            pub fn readable_flowing(self) -> Option<bool> {
                ask(self.0, None, |it| {
                    it.flags
                        .any(flag::HAS_FLOWING)
                        .then(|| it.flags.any(flag::FLOWING))
                })
            }

            /// Bytes that wait to be read: Node's `readable.readableLength`.
            pub fn readable_length(self) -> usize {
                ask(self.0, 0, |it| it.readable.buffer.length())
            }

            /// The mark in bytes up to which the source is asked for more: Node's
            /// `readable.readableHighWaterMark`. A [`read`](Self::read) of more raises it.
            pub fn readable_high_water_mark(self) -> usize {
                ask(self.0, 0, |it| it.readable.high_water_mark)
            }

            /// Whether 'end' may still come: Node's `readable.readable`.
            pub fn readable(self) -> bool {
                ask(self.0, false, |it| it.is_readable())
            }

            /// Whether 'end' was emitted: Node's `readable.readableEnded`. True without a readable side.
            pub fn readable_ended(self) -> bool {
                ask(self.0, false, |it| it.flags.any(flag::END_EMITTED))
            }

            /// Whether it was destroyed before 'end': Node's `readable.readableAborted`.
            pub fn readable_aborted(self) -> bool {
                ask(self.0, false, |it| {
                    it.flags.any(flag::DESTROYED | flag::ERRORED)
                        && !it.flags.any(flag::END_EMITTED)
                })
            }

            /// Whether anything was taken or delivered: Node's `readable.readableDidRead`.
            pub fn readable_did_read(self) -> bool {
                ask(self.0, false, |it| it.flags.any(flag::DATA_EMITTED))
            }
        }

        /// The events of the readable side.
        impl $name {
            /// Adds a listener for 'data'. Unless the stream was paused, data flows from now on:
            /// buffered bytes come on the next tick, bytes pushed later as soon as the code that
            /// pushed them has returned.
            ///
            /// The bytes are lent. To keep some, copy them.
            pub fn on_data(self, mut listener: impl FnMut($name, &[u8]) + 'static) -> ListenerId {
                let call = move |raw: Raw, chunk: &Bytes| listener($name(raw), chunk);
                add_data(self.0, shared(call), false)
            }

            /// Adds a listener for the next 'data'. Data keeps flowing afterwards, and is thrown
            /// away if there is no other listener.
            pub fn once_data(self, listener: impl FnOnce($name, &[u8]) + 'static) -> ListenerId {
                let mut listener = Some(listener);
                let call = move |raw: Raw, chunk: &Bytes| {
                    if let Some(listener) = listener.take() {
                        listener($name(raw), chunk);
                    }
                };
                add_data(self.0, shared(call), true)
            }

            /// Adds a listener for 'readable', which comes on a tick: there is something to
            /// [`read`](Self::read), or the end is reached. As long as it has a listener no data
            /// flows.
            pub fn on_readable(self, mut listener: impl FnMut($name) + 'static) -> ListenerId {
                add_readable(self.0, shared(move |raw| listener($name(raw))), false)
            }

            /// Adds a listener for the next 'readable'.
            pub fn once_readable(self, listener: impl FnOnce($name) + 'static) -> ListenerId {
                add_readable(self.0, once(move |raw| listener($name(raw))), true)
            }

            /// Adds a listener for 'end', which comes on a tick: the source has ended, and everything
            /// was read.
            pub fn on_end(self, mut listener: impl FnMut($name) + 'static) -> ListenerId {
                let call = shared(move |raw| listener($name(raw)));
                add_listener(self.0, crate::stream::state::END, call, false)
            }

            /// Adds a listener for the next 'end'.
            pub fn once_end(self, listener: impl FnOnce($name) + 'static) -> ListenerId {
                let call = once(move |raw| listener($name(raw)));
                add_listener(self.0, crate::stream::state::END, call, true)
            }

            /// Adds a listener for 'pause', which comes on the tick after [`pause`](Self::pause). (In
            /// Node it comes inside the call.)
            pub fn on_pause(self, mut listener: impl FnMut($name) + 'static) -> ListenerId {
                let call = shared(move |raw| listener($name(raw)));
                add_listener(self.0, crate::stream::state::PAUSE, call, false)
            }

            /// Adds a listener for 'resume', which comes on the tick after
            /// [`resume`](Self::resume), before what was buffered.
            pub fn on_resume(self, mut listener: impl FnMut($name) + 'static) -> ListenerId {
                let call = shared(move |raw| listener($name(raw)));
                add_listener(self.0, crate::stream::state::RESUME, call, false)
            }
        }
    };
}

/// The methods of a writable side.
macro_rules! writable_side {
    ($name:ident) => {
        /// Writing.
        impl $name {
            /// Writes bytes: Node's `writable.write`. The sink gets them on the next tick if it is
            /// idle, and never before this returns.
            ///
            /// Returns false if the waiting bytes have reached the mark: better wait for 'drain'
            /// before writing more, though nothing is lost otherwise. (Bytes wait until the sink
            /// has answered, so a chunk as large as the mark gives false.) Also returns false if
            /// the write failed; then 'error' comes, with `ERR_STREAM_WRITE_AFTER_END` after `end`.
            /// After `destroy` it does nothing.
            pub fn write<'a>(self, data: impl Into<Chunk<'a>>) -> bool {
                write(self.0, data.into().take_rest(0), None)
            }

            /// Like [`write`](Self::write), and calls `done` when the sink has answered, in the
            /// order of the writes. If the write fails, `done` gets the error: the one above, the
            /// sink's, or `ERR_STREAM_DESTROYED` if the stream was destroyed.
            pub fn write_then<'a>(
                self,
                data: impl Into<Chunk<'a>>,
                done: impl FnOnce(Result<()>) + 'static,
            ) -> bool {
                write(self.0, data.into().take_rest(0), Some(Box::new(done)))
            }

            /// Holds back what is written from now on until [`uncork`](Self::uncork) has been called
            /// as often, or `end`: Node's `writable.cork`. A sink with
            /// [`writev`](crate::stream::WritableOptions::writev) then gets all of it in one call.
            pub fn cork(self) {
                table::with(self.0, writable::cork);
            }

            /// Ends one [`cork`](Self::cork): Node's `writable.uncork`.
            pub fn uncork(self) {
                table::with(self.0, writable::uncork);
            }

            /// Ends this side once everything is written: Node's `writable.end`. 'finish' follows.
            pub fn end(self) {
                end(self.0, None, None);
            }

            /// Like [`end`](Self::end), and calls `done` right before 'finish', or with the error that
            /// prevents it: `ERR_STREAM_ALREADY_FINISHED` after 'finish', `ERR_STREAM_DESTROYED` after
            /// `destroy`.
            pub fn end_then(self, done: impl FnOnce(Result<()>) + 'static) {
                end(self.0, None, Some(Box::new(done)));
            }

            /// Writes a last chunk and ends this side: Node's `writable.end(data)`.
            pub fn end_with<'a>(self, data: impl Into<Chunk<'a>>) {
                end(self.0, Some(data.into().take_rest(0)), None);
            }

            /// [`end_with`](Self::end_with) and [`end_then`](Self::end_then) in one.
            pub fn end_with_then<'a>(
                self,
                data: impl Into<Chunk<'a>>,
                done: impl FnOnce(Result<()>) + 'static,
            ) {
                end(self.0, Some(data.into().take_rest(0)), Some(Box::new(done)));
            }

            /// Bytes that were written and that the sink has not answered: Node's
            /// `writable.writableLength`.
            pub fn writable_length(self) -> usize {
                ask(self.0, 0, |it| it.writable.length)
            }

            /// The mark in bytes at which `write` returns false: Node's
            /// `writable.writableHighWaterMark`.
            pub fn writable_high_water_mark(self) -> usize {
                ask(self.0, 0, |it| it.writable.high_water_mark)
            }

            /// How many corks hold the writes back: Node's `writable.writableCorked`.
            pub fn writable_corked(self) -> u32 {
                ask(self.0, 0, |it| it.writable.corked)
            }

            /// Whether a 'drain' is owed, since `write` has returned false: Node's
            /// `writable.writableNeedDrain`.
            pub fn writable_need_drain(self) -> bool {
                ask(self.0, false, |it| {
                    it.flags.any(flag::NEED_DRAIN) && !it.flags.any(flag::ENDING | flag::DESTROYED)
                })
            }

            /// Whether `write` may be called: Node's `writable.writable`.
            pub fn writable(self) -> bool {
                ask(self.0, false, |it| it.is_writable())
            }

            /// Whether `end` was called: Node's `writable.writableEnded`. True without a writable side.
            pub fn writable_ended(self) -> bool {
                ask(self.0, false, |it| it.flags.any(flag::ENDING))
            }

            /// Whether 'finish' was emitted: Node's `writable.writableFinished`. True without a
            /// writable side.
            pub fn writable_finished(self) -> bool {
                ask(self.0, false, |it| it.flags.any(flag::FINISHED))
            }

            /// Whether it was destroyed before 'finish': Node's `writable.writableAborted`.
            pub fn writable_aborted(self) -> bool {
                ask(self.0, false, |it| {
                    it.flags.any(flag::DESTROYED | flag::ERRORED) && !it.flags.any(flag::FINISHED)
                })
            }
        }

        /// The events of the writable side.
        impl $name {
            /// Adds a listener for 'drain': a `write` returned false, and by now the sink has
            /// answered everything. It comes before the completions of the writes that it drained.
            pub fn on_drain(self, mut listener: impl FnMut($name) + 'static) -> ListenerId {
                let call = shared(move |raw| listener($name(raw)));
                add_listener(self.0, crate::stream::state::DRAIN, call, false)
            }

            /// Adds a listener for the next 'drain'.
            pub fn once_drain(self, listener: impl FnOnce($name) + 'static) -> ListenerId {
                let call = once(move |raw| listener($name(raw)));
                add_listener(self.0, crate::stream::state::DRAIN, call, true)
            }

            /// Adds a listener for 'finish': after `end` the sink has answered everything, and its
            /// work [at the end](crate::stream::WritableOptions::finalize) is done.
            pub fn on_finish(self, mut listener: impl FnMut($name) + 'static) -> ListenerId {
                let call = shared(move |raw| listener($name(raw)));
                add_listener(self.0, crate::stream::state::FINISH, call, false)
            }

            /// Adds a listener for the next 'finish'.
            pub fn once_finish(self, listener: impl FnOnce($name) + 'static) -> ListenerId {
                let call = once(move |raw| listener($name(raw)));
                add_listener(self.0, crate::stream::state::FINISH, call, true)
            }
        }
    };
}

/// The methods of every stream.
macro_rules! every_stream {
    ($name:ident) => {
        /// Its end.
        impl $name {
            /// Ends everything now: Node's `stream.destroy`. 'close' comes on a tick, after the
            /// stream's own [`destroy`](crate::stream::ReadableOptions::destroy) if it has one, and no
            /// other event. Only the first call counts.
            ///
            /// A stream stays in its loop until it is destroyed, or read and written to its end.
            pub fn destroy(self) {
                destroy(self.0, None);
            }

            /// Destroys the stream for a reason: 'error' comes before 'close'. Otherwise like
            /// [`destroy`](Self::destroy).
            pub fn destroy_with(self, error: impl Into<Box<dyn StdError + Send + Sync>>) {
                destroy(self.0, Some(Error::new(error)));
            }

            /// Whether it was destroyed, by the program or by itself: Node's `stream.destroyed`.
            /// True once it is gone.
            pub fn destroyed(self) -> bool {
                ask(self.0, true, |it| it.flags.any(flag::DESTROYED))
            }

            /// Whether it was destroyed and its own `destroy` is over: Node's `stream.closed`.
            pub fn closed(self) -> bool {
                ask(self.0, true, |it| it.flags.any(flag::CLOSED))
            }

            /// The first error it met: Node's `stream.errored`.
            pub fn errored(self) -> Option<Error> {
                ask(self.0, None, |it| it.errored.clone())
            }

            /// Adds a listener for 'error', which comes at most once, on a tick, and is followed by
            /// 'close'. An 'error' without a listener ends [`run`](crate::Loop::run).
            pub fn on_error(self, mut listener: impl FnMut($name, &Error) + 'static) -> ListenerId {
                let call = shared(move |raw, error: &Error| listener($name(raw), error));
                add_listener(self.0, crate::stream::state::ERROR, call, false)
            }

            /// Adds a listener for the next 'error'.
            pub fn once_error(self, listener: impl FnOnce($name, &Error) + 'static) -> ListenerId {
                let mut listener = Some(listener);
                let call = shared(move |raw, error: &Error| {
                    if let Some(listener) = listener.take() {
                        listener($name(raw), error);
                    }
                });
                add_listener(self.0, crate::stream::state::ERROR, call, true)
            }

            /// Adds a listener for 'close', the last event.
            pub fn on_close(self, mut listener: impl FnMut($name) + 'static) -> ListenerId {
                let call = shared(move |raw| listener($name(raw)));
                add_listener(self.0, crate::stream::state::CLOSE, call, false)
            }

            /// Adds a listener for the next 'close'.
            pub fn once_close(self, listener: impl FnOnce($name) + 'static) -> ListenerId {
                let call = once(move |raw| listener($name(raw)));
                add_listener(self.0, crate::stream::state::CLOSE, call, true)
            }

            /// Removes a listener for any event: Node's `off`. A listener removed while its event
            /// is emitted still runs (N16). Removing the last listener for 'data' does not pause.
            pub fn off(self, listener: ListenerId) {
                off(self.0, listener);
            }

            /// Holds the stream in its slot, with its listeners and last values, after its 'close',
            /// until [`release`](Self::release) or the end of the loop.
            pub fn keep(self) {
                table::with(self.0, |state, id| state.set_kept(id, true));
            }

            /// Ends [`keep`](Self::keep).
            pub fn release(self) {
                table::with(self.0, |state, id| state.set_kept(id, false));
            }
        }
    };
}

readable_side!(Readable);
writable_side!(Writable);
readable_side!(Duplex);
writable_side!(Duplex);
every_stream!(Readable);
every_stream!(Writable);
every_stream!(Duplex);

/// What only a stream with both sides has.
impl Duplex {
    /// Whether the writable side stays open when the readable side has ended: Node's
    /// `duplex.allowHalfOpen`.
    pub fn allow_half_open(self) -> bool {
        ask(self.0, false, |it| it.flags.any(flag::ALLOW_HALF_OPEN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_sixteen_bytes() {
        assert_eq!(size_of::<Readable>(), 16);
        assert_eq!(size_of::<Writable>(), 16);
        assert_eq!(size_of::<Duplex>(), 16);
    }
}
