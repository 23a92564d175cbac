//! What a stream consists of: the state of Node's Readable, Writable and Transform, with listeners.

use std::any::Any;
use std::collections::VecDeque;

use bytes::Bytes;

use super::done::{Done, TransformDone};
use crate::event_loop::core::SlotOf;
use crate::event_loop::diversion::Diversion;
use crate::event_loop::entry::{Entry, Flags};
use crate::event_loop::extension::{Attachment, Object};
use crate::event_loop::handle::{Id, Raw};
use crate::event_loop::state::State;
use crate::ground::error::{Completion, Error};
use crate::ground::listeners::{ListenerId, Shared, Slot};
use crate::ground::read_queue::ReadQueue;

/// Everything that is yes or no about a stream. The names are those of Node's states.
pub(super) mod flag {
    /// It has a readable side.
    pub(crate) const IS_READABLE: u64 = 1 << 0;
    /// It has a writable side.
    pub(crate) const IS_WRITABLE: u64 = 1 << 1;
    /// What is written comes out at the other side.
    pub(crate) const IS_TRANSFORM: u64 = 1 << 2;
    /// The writable side stays open when the readable side has ended.
    pub(crate) const ALLOW_HALF_OPEN: u64 = 1 << 3;
    /// It is destroyed when both sides are done.
    pub(crate) const AUTO_DESTROY: u64 = 1 << 4;
    /// 'close' is emitted.
    pub(crate) const EMIT_CLOSE: u64 = 1 << 5;
    /// Its `construct` is done.
    pub(crate) const CONSTRUCTED: u64 = 1 << 6;
    /// `destroy` was called, by whomever.
    pub(crate) const DESTROYED: u64 = 1 << 7;
    /// It was destroyed, its own `destroy` included.
    pub(crate) const CLOSED: u64 = 1 << 8;
    /// 'close' was emitted, or would have been.
    pub(crate) const CLOSE_EMITTED: u64 = 1 << 9;
    /// It has met an error.
    pub(crate) const ERRORED: u64 = 1 << 10;
    /// 'error' was emitted.
    pub(crate) const ERROR_EMITTED: u64 = 1 << 11;

    /// The source has ended.
    pub(crate) const ENDED: u64 = 1 << 16;
    /// 'end' was emitted.
    pub(crate) const END_EMITTED: u64 = 1 << 17;
    /// The source was asked and has not answered.
    pub(crate) const READING: u64 = 1 << 18;
    /// The source is being asked: what it pushes now is buffered.
    pub(crate) const READ_SYNC: u64 = 1 << 19;
    /// Somebody waits for 'readable'.
    pub(crate) const NEED_READABLE: u64 = 1 << 20;
    /// A 'readable' is on its way.
    pub(crate) const EMITTED_READABLE: u64 = 1 << 21;
    /// Somebody listens to 'readable', so it does not flow.
    pub(crate) const READABLE_LISTENING: u64 = 1 << 22;
    /// A tick will resume.
    pub(crate) const RESUME_SCHEDULED: u64 = 1 << 23;
    /// A tick will ask the source for more.
    pub(crate) const READING_MORE: u64 = 1 << 24;
    /// Flowing was decided, one way or the other.
    pub(crate) const HAS_FLOWING: u64 = 1 << 25;
    /// Data goes to the listeners as it comes.
    pub(crate) const FLOWING: u64 = 1 << 26;
    /// `pause` or `resume` was called.
    pub(crate) const HAS_PAUSED: u64 = 1 << 27;
    /// `pause` was called after the last `resume`.
    pub(crate) const PAUSED: u64 = 1 << 28;
    /// A tick will emit 'end'.
    pub(crate) const END_SCHEDULED: u64 = 1 << 29;
    /// The end came while nobody looked; a later listener of 'readable' is told of it.
    pub(crate) const EOF_READABLE_PENDING: u64 = 1 << 30;
    /// A step will deliver what was pushed.
    pub(crate) const DELIVERING: u64 = 1 << 31;
    /// Some data was taken or delivered.
    pub(crate) const DATA_EMITTED: u64 = 1 << 32;

    /// The sink is being called: what it answers now comes on a tick.
    pub(crate) const WRITE_SYNC: u64 = 1 << 40;
    /// The end was told to the sink.
    pub(crate) const FINAL_CALLED: u64 = 1 << 41;
    /// A write has returned false; 'drain' is owed.
    pub(crate) const NEED_DRAIN: u64 = 1 << 42;
    /// `end` was called.
    pub(crate) const ENDING: u64 = 1 << 43;
    /// And its turn has come, behind the writes before it.
    pub(crate) const WRITE_ENDED: u64 = 1 << 44;
    /// 'finish' was emitted.
    pub(crate) const FINISHED: u64 = 1 << 45;
    /// The sink has a chunk.
    pub(crate) const WRITING: u64 = 1 << 46;
    /// What was buffered is being handed to the sink.
    pub(crate) const BUFFER_PROCESSING: u64 = 1 << 47;
    /// The sink has done what it does at the end.
    pub(crate) const PREFINISHED: u64 = 1 << 48;
    /// A tick will see to 'drain'.
    pub(crate) const AFTER_WRITE_PENDING: u64 = 1 << 49;
    /// A tick or a step will do what was called.
    pub(crate) const CALLS_SCHEDULED: u64 = 1 << 50;
    /// The answer of a transform waits until somebody reads.
    pub(crate) const PARKED: u64 = 1 << 51;
    /// A pipe does not end it.
    pub(crate) const OPEN_BEHIND_PIPES: u64 = 1 << 52;
}

/// A stream.
pub(super) struct StreamState {
    pub(super) flags: Flags,
    pub(super) readable: ReadableHalf,
    pub(super) writable: WritableHalf,
    pub(super) hooks: Hooks,
    pub(super) listeners: Listeners,
    /// The first error it met.
    pub(super) errored: Option<Error>,
    /// What `destroy` was called with, until the stream's own `destroy` has it.
    pub(super) destroy_error: Option<Error>,
    /// What 'error' is to tell.
    pub(super) told_error: Option<Error>,
    /// What it is to tell unless another error comes before that tick.
    pub(super) late_error: Option<Error>,
    /// What `construct` came to.
    pub(super) constructed: Option<Result<(), Error>>,
    /// Answers that are outstanding: the slot is not freed before they are there.
    pub(super) outstanding: u32,
    /// What a module that builds on this floor keeps with it.
    pub(super) attached: Option<Box<dyn Attachment>>,
}

/// The state of a readable side.
pub(super) struct ReadableHalf {
    /// The mark in bytes up to which the source is asked for more.
    pub(super) high_water_mark: usize,
    /// What waits for a reader.
    pub(super) buffer: ReadQueue,
    /// What was pushed while it flowed, for the listeners as soon as the pusher has returned.
    pub(super) direct: VecDeque<Bytes>,
    /// What was in the buffer when more was asked for.
    pub(super) length_before: usize,
    /// Where its bytes may go without being read.
    pub(super) diversion: Option<Diversion>,
}

/// The state of a writable side.
pub(super) struct WritableHalf {
    /// The mark in bytes at which `write` returns false.
    pub(super) high_water_mark: usize,
    /// Bytes that were written and that the sink has not done.
    pub(super) length: usize,
    /// How often `cork` was called without `uncork`.
    pub(super) corked: u32,
    /// What was called and waits for its tick: contract rule 1.
    pub(super) calls: VecDeque<Call>,
    /// What waits for the sink.
    pub(super) buffered: VecDeque<Buffered>,
    /// Bytes that the sink has.
    pub(super) write_length: usize,
    /// Whom to tell when it has done them.
    pub(super) write_done: Vec<Completion>,
    /// Writes that are answered and to be seen to on a tick; one tick each.
    pub(super) after_ticks: VecDeque<AfterWrite>,
    /// The same, on a step.
    pub(super) after_steps: VecDeque<AfterWrite>,
    /// The same, on a step behind what the sink has pushed.
    pub(super) after_pushes: VecDeque<AfterWrite>,
    /// Errors that are to destroy it, one step each.
    pub(super) failures: VecDeque<Error>,
    /// What the end came to for the sink, and whether it said so at once, until what it has pushed is told.
    pub(super) finalized: Option<(Result<(), Error>, bool)>,
    /// Completions of `end`.
    pub(super) on_finished: Vec<Completion>,
    /// What stands before 'finish'.
    pub(super) pending: usize,
    /// What the readable side had before a transform was called.
    pub(super) transform_from: usize,
}

/// A call that waits for its tick.
pub(super) enum Call {
    /// `write`, and whether it waits, for a cork or since the stream has failed.
    Write(Buffered, bool),
    /// The last `uncork`.
    Uncork,
    /// `end`.
    End,
}

impl Call {
    pub(super) fn is_write(&self) -> bool {
        matches!(self, Call::Write(..))
    }
}

/// A chunk that waits for the sink.
pub(super) struct Buffered {
    pub(super) chunk: Bytes,
    pub(super) done: Option<Completion>,
}

/// A write, or several that went together, that the sink has answered.
#[derive(Default)]
pub(super) struct AfterWrite {
    /// Whom to tell.
    pub(super) done: Vec<Completion>,
    /// What it failed with.
    pub(super) error: Option<Error>,
    /// Whether what is buffered goes first, and the rest of the answer is still to be decided.
    pub(super) sync: bool,
}

/// What a stream's maker has given it.
#[derive(Default)]
pub(super) struct Hooks {
    pub(super) construct: Option<Box<dyn FnOnce(Raw, Done)>>,
    pub(super) read: Option<Shared<dyn FnMut(Raw, usize)>>,
    pub(super) write: Option<Shared<dyn FnMut(Raw, Bytes, Done)>>,
    pub(super) writev: Option<Shared<dyn FnMut(Raw, Vec<Bytes>, Done)>>,
    pub(super) finalize: Option<Box<dyn FnOnce(Raw, Done)>>,
    pub(super) destroy: Option<Box<dyn FnOnce(Raw, Option<Error>, Done)>>,
    pub(super) transform: Option<Shared<dyn FnMut(Raw, Bytes, TransformDone)>>,
    pub(super) flush: Option<Box<dyn FnOnce(Raw, TransformDone)>>,
}

/// Who listens.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) data: Slot<dyn FnMut(Raw, &Bytes)>,
    pub(super) readable: Slot<dyn FnMut(Raw)>,
    pub(super) end: Slot<dyn FnMut(Raw)>,
    pub(super) pause: Slot<dyn FnMut(Raw)>,
    pub(super) resume: Slot<dyn FnMut(Raw)>,
    pub(super) drain: Slot<dyn FnMut(Raw)>,
    pub(super) finish: Slot<dyn FnMut(Raw)>,
    pub(super) close: Slot<dyn FnMut(Raw)>,
    pub(super) error: Slot<dyn FnMut(Raw, &Error)>,
    /// Who sees an 'error' first, and does not count as listening: pipes.
    pub(super) error_watch: Slot<dyn FnMut(Raw, &Error)>,
}

/// The stream with this id.
#[inline]
pub(super) fn stream(state: &mut State, id: Id) -> Option<&mut StreamState> {
    state.extension(id)
}

/// Where an event's listeners are.
macro_rules! slots {
    ($($slot:ident: $field:ident, $listener:ty;)+) => {
        $(
            pub(super) const $slot: SlotOf<$listener> = |entry, _create| match entry {
                Entry::Extension(extension) => {
                    let stream = extension.downcast::<StreamState>()?;
                    Some(&mut stream.listeners.$field)
                }
                _ => None,
            };
        )+

        impl Listeners {
            fn remove(&mut self, id: ListenerId) -> Option<Box<dyn Any>> {
                $(if let Some(removed) = self.$field.remove(id) {
                    return Some(Box::new(removed));
                })+
                None
            }
        }
    };
}

slots! {
    DATA: data, dyn FnMut(Raw, &Bytes);
    READABLE: readable, dyn FnMut(Raw);
    END: end, dyn FnMut(Raw);
    PAUSE: pause, dyn FnMut(Raw);
    RESUME: resume, dyn FnMut(Raw);
    DRAIN: drain, dyn FnMut(Raw);
    FINISH: finish, dyn FnMut(Raw);
    CLOSE: close, dyn FnMut(Raw);
    ERROR: error, dyn FnMut(Raw, &Error);
    ERROR_WATCH: error_watch, dyn FnMut(Raw, &Error);
}

impl StreamState {
    /// A stream with these flags, marks and hooks.
    pub(super) fn new(
        flags: u64,
        readable_mark: usize,
        writable_mark: usize,
        hooks: Hooks,
    ) -> StreamState {
        let mut flags = Flags::of(flags);
        match hooks.construct {
            Some(_) => flags.clear(flag::CONSTRUCTED),
            None => flags.set(flag::CONSTRUCTED),
        }
        if !flags.any(flag::IS_TRANSFORM) {
            // What is pushed before the source was asked for the first time is buffered.
            flags.set(flag::READ_SYNC);
        }
        if !flags.any(flag::IS_READABLE) {
            flags.set(flag::ENDED | flag::END_EMITTED);
        }
        if !flags.any(flag::IS_WRITABLE) {
            flags.set(flag::ENDING | flag::WRITE_ENDED | flag::FINISHED);
        }
        StreamState {
            flags,
            readable: ReadableHalf {
                high_water_mark: readable_mark,
                buffer: ReadQueue::default(),
                direct: VecDeque::new(),
                length_before: 0,
                diversion: None,
            },
            writable: WritableHalf {
                high_water_mark: writable_mark,
                length: 0,
                corked: 0,
                calls: VecDeque::new(),
                buffered: VecDeque::new(),
                write_length: 0,
                write_done: Vec::new(),
                after_ticks: VecDeque::new(),
                after_steps: VecDeque::new(),
                after_pushes: VecDeque::new(),
                failures: VecDeque::new(),
                finalized: None,
                on_finished: Vec::new(),
                pending: 0,
                transform_from: 0,
            },
            hooks,
            listeners: Listeners::default(),
            errored: None,
            destroy_error: None,
            told_error: None,
            late_error: None,
            constructed: None,
            outstanding: 0,
            attached: None,
        }
    }

    /// Whether 'end' may still come.
    pub(super) fn is_readable(&self) -> bool {
        let over = flag::DESTROYED | flag::ERROR_EMITTED | flag::END_EMITTED;
        !self.flags.any(over)
    }

    /// Whether `write` may be called.
    pub(super) fn is_writable(&self) -> bool {
        let over = flag::ENDING | flag::DESTROYED | flag::ERRORED;
        !self.flags.any(over)
    }

    /// Whether a step is about to tell what was pushed, or that this was the end. In Node it was told within
    /// the push, so what an answer leaves on a tick comes behind that.
    pub(super) fn tells_what_was_pushed(&self) -> bool {
        self.flags.any(flag::DELIVERING) || self.flags.all(flag::ENDED | flag::EMITTED_READABLE)
    }

    /// Whether data is held back.
    pub(super) fn is_paused(&self) -> bool {
        self.flags.any(flag::PAUSED)
            || (self.flags.any(flag::HAS_FLOWING) && !self.flags.any(flag::FLOWING))
    }

    /// Notes the first error.
    pub(super) fn fail(&mut self, error: &Error) {
        self.flags.set(flag::ERRORED);
        self.errored.get_or_insert_with(|| error.clone());
    }
}

impl Object for StreamState {
    fn is_over(&self) -> bool {
        self.flags.any(flag::CLOSE_EMITTED) && self.outstanding == 0
    }

    fn remove_listener(&mut self, id: ListenerId) -> Option<Box<dyn Any>> {
        let removed = self.listeners.remove(id);
        removed.or_else(|| self.attached.as_mut()?.remove_listener(id))
    }

    fn activity(&self) -> String {
        "open".to_string()
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
