//! How streams are made.

use std::fmt;
use std::panic::Location;

use bytes::Bytes;

use super::done::{Done, TransformDone};
use super::ending;
use super::handles::{Duplex, Readable, Writable};
use super::state::{Hooks, StreamState, flag};
use crate::event_loop::api::AsLoop;
use crate::event_loop::entry::{Entry, flag as common};
use crate::event_loop::extension::Extension;
use crate::event_loop::handle::Raw;
use crate::event_loop::info::HandleKind;
use crate::ground::error::Error;
use crate::ground::listeners::shared;

/// The default mark of a side, in bytes: Node's.
pub const DEFAULT_HIGH_WATER_MARK: usize = 65_536;

/// What a stream is made of.
struct Setup {
    flags: u64,
    readable_mark: usize,
    writable_mark: usize,
    /// Whether the mark of the writable side was asked for.
    has_writable_mark: bool,
    hooks: Hooks,
}

impl Setup {
    fn new(sides: u64) -> Setup {
        Setup {
            flags: sides | flag::AUTO_DESTROY | flag::EMIT_CLOSE | flag::ALLOW_HALF_OPEN,
            readable_mark: DEFAULT_HIGH_WATER_MARK,
            writable_mark: DEFAULT_HIGH_WATER_MARK,
            has_writable_mark: false,
            hooks: Hooks::default(),
        }
    }

    fn set(&mut self, flag: u64, yes: bool) {
        match yes {
            true => self.flags |= flag,
            false => self.flags &= !flag,
        }
    }

    fn create(self, lp: &impl AsLoop, origin: &'static Location<'static>) -> Raw {
        let Setup {
            flags,
            readable_mark,
            mut writable_mark,
            has_writable_mark,
            hooks,
        } = self;
        if flags & flag::IS_TRANSFORM != 0 && readable_mark == 0 && !has_writable_mark {
            // What is not to wait behind a transform is not to wait in front of it, either.
            writable_mark = 0;
        }
        let lp = lp.event_loop();
        let mut stream = Some(StreamState::new(flags, readable_mark, writable_mark, hooks));
        let id = lp.with(|state| {
            let object = Box::new(stream.take()?);
            let id = state.insert(common::REFERENCED, origin, |common| {
                Entry::Extension(Box::new(Extension {
                    common,
                    kind: HandleKind::Stream,
                    requests: 0,
                    object,
                    attached: None,
                }))
            });
            ending::begin(state, id);
            Some(id)
        });
        lp.raw(id.flatten())
    }
}

/// How a [`Readable`] is made: Node's `new stream.Readable(options)`.
///
/// ```
/// use nodeloop::Loop;
/// use nodeloop::stream::ReadableOptions;
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = Loop::new()?;
/// let mut next = 1;
/// let numbers = ReadableOptions::new()
///     .read(move |stream, _size| match next {
///         1..=3 => {
///             stream.push(format!("{next} "));
///             next += 1;
///         }
///         _ => stream.push_end(),
///     })
///     .create(&lp);
/// numbers.on_data(|_, chunk| print!("{}", String::from_utf8_lossy(chunk)));
/// numbers.on_end(|_| println!("that is all"));
/// lp.run()
/// # }
/// ```
#[must_use = "it makes nothing before `create`"]
pub struct ReadableOptions(Setup);

/// How a [`Writable`] is made: Node's `new stream.Writable(options)`.
///
/// ```
/// use nodeloop::Loop;
/// use nodeloop::stream::WritableOptions;
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = Loop::new()?;
/// let sink = WritableOptions::new()
///     .write(|_, chunk, done| {
///         println!("{} bytes", chunk.len());
///         done.ok(); // or keep it, and answer later
///     })
///     .create(&lp);
/// sink.write("hello ");
/// sink.end_with("world");
/// sink.on_finish(|_| println!("done"));
/// lp.run()
/// # }
/// ```
#[must_use = "it makes nothing before `create`"]
pub struct WritableOptions(Setup);

/// How a [`Duplex`] is made: Node's `new stream.Duplex(options)`. Its two sides are independent,
/// except that it closes when both are done. If the output is made from the input see
/// [`TransformOptions`].
#[must_use = "it makes nothing before `create`"]
pub struct DuplexOptions(Setup);

/// How a transform is made, a [`Duplex`] whose output is made from its input: Node's `new
/// stream.Transform(options)`.
///
/// ```
/// use nodeloop::Loop;
/// use nodeloop::stream::TransformOptions;
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = Loop::new()?;
/// let shout = TransformOptions::new()
///     .transform(|_, chunk, done| done.push(chunk.to_ascii_uppercase()))
///     .flush(|_, done| done.push("!"))
///     .create(&lp);
/// shout.on_data(|_, chunk| print!("{}", String::from_utf8_lossy(chunk)));
/// shout.end_with("hello"); // HELLO!
/// lp.run()
/// # }
/// ```
#[must_use = "it makes nothing before `create`"]
pub struct TransformOptions(Setup);

macro_rules! for_every_stream {
    ($options:ident, $handle:ident) => {
        impl Default for $options {
            fn default() -> $options {
                $options::new()
            }
        }

        impl fmt::Debug for $options {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($options)).finish_non_exhaustive()
            }
        }

        impl $options {
            /// Work to do before anything else: Node's `construct`. It is called on the next tick;
            /// until it answers nothing is read, written or destroyed.
            pub fn construct(mut self, call: impl FnOnce($handle, Done) + 'static) -> $options {
                self.0.hooks.construct = Some(Box::new(|raw, done| call($handle(raw), done)));
                self
            }

            /// Work to do when the stream is destroyed, by the program or by itself: Node's
            /// `destroy`. It is given the error, if there is one. Answer [`fail`](Done::fail) with
            /// that error or another, and 'error' comes; answer [`ok`](Done::ok), and it does not.
            /// 'close' comes after the answer.
            pub fn destroy(
                mut self,
                call: impl FnOnce($handle, Option<Error>, Done) + 'static,
            ) -> $options {
                let call = |raw, error, done| call($handle(raw), error, done);
                self.0.hooks.destroy = Some(Box::new(call));
                self
            }

            /// Whether the stream is destroyed once it has ended or failed; true by default. Node's
            /// `autoDestroy`.
            pub fn auto_destroy(mut self, yes: bool) -> $options {
                self.0.set(flag::AUTO_DESTROY, yes);
                self
            }

            /// Whether 'close' is emitted; true by default. Node's `emitClose`.
            pub fn emit_close(mut self, yes: bool) -> $options {
                self.0.set(flag::EMIT_CLOSE, yes);
                self
            }

            /// The mark in bytes of each side: [`DEFAULT_HIGH_WATER_MARK`]. Node's `highWaterMark`.
            pub fn high_water_mark(mut self, bytes: usize) -> $options {
                self.0.readable_mark = bytes;
                self.0.writable_mark = bytes;
                self.0.has_writable_mark = true;
                self
            }

            /// Makes the stream.
            #[track_caller]
            pub fn create(self, lp: &impl AsLoop) -> $handle {
                self.create_at(lp, Location::caller())
            }

            /// Makes the stream for the line of the program that is named as its origin.
            pub(crate) fn create_at(
                self,
                lp: &impl AsLoop,
                origin: &'static Location<'static>,
            ) -> $handle {
                $handle(self.0.create(lp, origin))
            }
        }
    };
}

for_every_stream!(ReadableOptions, Readable);
for_every_stream!(WritableOptions, Writable);
for_every_stream!(DuplexOptions, Duplex);
for_every_stream!(TransformOptions, Duplex);

macro_rules! for_a_source {
    ($options:ident, $handle:ident) => {
        impl $options {
            /// The source: Node's `read`. It is called when the stream wants bytes, with the mark
            /// as a hint of how many. It answers with `push` or `push_end`, at once or later, and
            /// is not called again before; it never runs inside a call of the program. If it panics
            /// without an answer the stream is destroyed with `ECANCELED`, as a source that throws
            /// destroys it in Node.
            pub fn read(mut self, mut call: impl FnMut($handle, usize) + 'static) -> $options {
                self.0.hooks.read = Some(shared(move |raw, size| call($handle(raw), size)));
                self
            }
        }
    };
}

for_a_source!(ReadableOptions, Readable);
for_a_source!(DuplexOptions, Duplex);

macro_rules! for_a_sink {
    ($options:ident, $handle:ident) => {
        impl $options {
            /// The sink: Node's `write`. It gets one chunk at a time, and the next only after it
            /// has answered; it never runs inside a call of the program. Without a sink every write
            /// succeeds at once.
            pub fn write(
                mut self,
                mut call: impl FnMut($handle, Bytes, Done) + 'static,
            ) -> $options {
                let call = move |raw, chunk, done| call($handle(raw), chunk, done);
                self.0.hooks.write = Some(shared(call));
                self
            }

            /// The sink for several waiting chunks at once: Node's `writev`. Without
            /// [`write`](Self::write) it gets single chunks, too.
            pub fn writev(
                mut self,
                mut call: impl FnMut($handle, Vec<Bytes>, Done) + 'static,
            ) -> $options {
                let call = move |raw, chunks, done| call($handle(raw), chunks, done);
                self.0.hooks.writev = Some(shared(call));
                self
            }

            /// Work to do once everything is written, before 'finish': Node's `final`.
            #[doc(alias = "final")]
            pub fn finalize(mut self, call: impl FnOnce($handle, Done) + 'static) -> $options {
                self.0.hooks.finalize = Some(Box::new(|raw, done| call($handle(raw), done)));
                self
            }
        }
    };
}

for_a_sink!(WritableOptions, Writable);
for_a_sink!(DuplexOptions, Duplex);

macro_rules! for_two_sides {
    ($options:ident) => {
        impl $options {
            /// Whether the writable side stays open after the readable side has ended; true by
            /// default. Otherwise it ends a tick after 'end'. Node's `allowHalfOpen`.
            pub fn allow_half_open(mut self, yes: bool) -> $options {
                self.0.set(flag::ALLOW_HALF_OPEN, yes);
                self
            }

            /// The mark in bytes of the readable side: Node's `readableHighWaterMark`. With 0 the writable
            /// side of a transform has the same, unless another is asked for.
            pub fn readable_high_water_mark(mut self, bytes: usize) -> $options {
                self.0.readable_mark = bytes;
                self
            }

            /// The mark in bytes of the writable side: Node's `writableHighWaterMark`.
            pub fn writable_high_water_mark(mut self, bytes: usize) -> $options {
                self.0.writable_mark = bytes;
                self.0.has_writable_mark = true;
                self
            }
        }
    };
}

for_two_sides!(DuplexOptions);
for_two_sides!(TransformOptions);

impl ReadableOptions {
    /// A stream whose source never answers, unless it is given a [`read`](ReadableOptions::read):
    /// bytes come from `push` on the handle.
    pub fn new() -> ReadableOptions {
        ReadableOptions(Setup::new(flag::IS_READABLE))
    }
}

impl WritableOptions {
    /// A stream that takes and discards everything, unless it is given a
    /// [`write`](WritableOptions::write).
    pub fn new() -> WritableOptions {
        WritableOptions(Setup::new(flag::IS_WRITABLE))
    }
}

impl DuplexOptions {
    /// A [`ReadableOptions::new`] and a [`WritableOptions::new`] in one.
    pub fn new() -> DuplexOptions {
        DuplexOptions(Setup::new(flag::IS_READABLE | flag::IS_WRITABLE))
    }

    /// Whether there is a readable side; true by default. Node's `readable`.
    pub fn readable(mut self, yes: bool) -> DuplexOptions {
        self.0.set(flag::IS_READABLE, yes);
        self
    }

    /// Whether there is a writable side; true by default. Node's `writable`.
    pub fn writable(mut self, yes: bool) -> DuplexOptions {
        self.0.set(flag::IS_WRITABLE, yes);
        self
    }
}

impl TransformOptions {
    /// A pass-through, unless it is given a [`transform`](TransformOptions::transform).
    pub fn new() -> TransformOptions {
        let sides = flag::IS_READABLE | flag::IS_WRITABLE;
        TransformOptions(Setup::new(sides | flag::IS_TRANSFORM))
    }

    /// The function that changes a chunk: Node's `transform`. It is not called again before it has
    /// answered, nor while waiting output is above the mark.
    pub fn transform(
        mut self,
        mut call: impl FnMut(Duplex, Bytes, TransformDone) + 'static,
    ) -> TransformOptions {
        let call = move |raw, chunk, done| call(Duplex(raw), chunk, done);
        self.0.hooks.transform = Some(shared(call));
        self
    }

    /// The function that adds output at the end, after everything else: Node's `flush`.
    pub fn flush(mut self, call: impl FnOnce(Duplex, TransformDone) + 'static) -> TransformOptions {
        self.0.hooks.flush = Some(Box::new(|raw, done| call(Duplex(raw), done)));
        self
    }
}

impl Readable {
    /// Makes a stream from a source: see [`ReadableOptions::read`].
    #[track_caller]
    pub fn new(lp: &impl AsLoop, read: impl FnMut(Readable, usize) + 'static) -> Readable {
        ReadableOptions::new().read(read).create(lp)
    }
}

impl Writable {
    /// Makes a stream from a sink: see [`WritableOptions::write`].
    #[track_caller]
    pub fn new(lp: &impl AsLoop, write: impl FnMut(Writable, Bytes, Done) + 'static) -> Writable {
        WritableOptions::new().write(write).create(lp)
    }
}

impl Duplex {
    /// Makes a transform: see [`TransformOptions::transform`]. Node's `new Transform({transform})`.
    #[track_caller]
    pub fn transform(
        lp: &impl AsLoop,
        transform: impl FnMut(Duplex, Bytes, TransformDone) + 'static,
    ) -> Duplex {
        TransformOptions::new().transform(transform).create(lp)
    }

    /// Makes a stream that passes its input on unchanged: Node's `new PassThrough()`.
    #[track_caller]
    pub fn pass_through(lp: &impl AsLoop) -> Duplex {
        TransformOptions::new().create(lp)
    }
}
