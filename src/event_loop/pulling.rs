//! Reading a socket by pulling: 'readable', `read`, `unshift`. The other way, 'data', is in
//! [`readable`](super::readable). The names of Node's functions stand beside what mirrors them.

use bytes::Bytes;

use super::core::Core;
use super::entry::flag;
use super::extension::{Work, quiet, told};
use super::handle::{Id, Socket};
use super::socket;
use super::state::{Dead, State};
use super::task::Task;
use crate::ground::stream_errors::unshift_after_end;

/// Emits 'readable' (emitReadable_).
static EMIT_READABLE: Work = told("'readable'", emit_readable_now);

/// Lets 'end' follow if nothing is left to be taken before it (the `read(0)` behind the `push(null)` of
/// Node's onStreamRead).
static END: Work = quiet("'end' follows if everything was taken", |core, id| {
    core.with(|state| state.end_if_consumed(id));
});

/// Starts to read for a new listener of 'readable' (nReadingNextTick).
static WANT_MORE: Work = quiet("reading starts", |core, id| {
    core.with(|state| state.want_more(id));
});

/// Who listens to 'readable' has changed (updateReadableListening).
static LISTENING: Work = quiet("who listens to 'readable' has changed", |core, id| {
    core.with(|state| state.update_readable_listening(id));
});

fn emit_readable_now(core: &Core, id: Id) {
    let emits = core.with(|state| {
        let stream = state.stream(id)?;
        let flags = stream.common.flags;
        let something = stream.read_length() > 0 || flags.any(flag::READ_ENDED);
        Some(!flags.any(flag::DESTROYED | flag::ERRORED) && something)
    });
    let _told = ReadableTold { core, id };
    if emits == Some(true) {
        let socket = Socket(core.raw(id));
        let removed = || core.with(|state| state.stopped_listening(id));
        core.emit_and(id, socket::readable_slot, removed, |listener| {
            listener(socket)
        });
    }
}

/// 'readable' was told, also if a listener has panicked: it may be told again.
struct ReadableTold<'a> {
    core: &'a Core,
    id: Id,
}

impl Drop for ReadableTold<'_> {
    fn drop(&mut self) {
        self.core.with(|state| {
            let Some(stream) = state.stream(self.id) else {
                return;
            };
            let below = stream.read_length() <= stream.read_mark as usize;
            let flags = &mut stream.common.flags;
            flags.clear(flag::EMITTED_READABLE);
            if !flags.any(flag::FLOWING | flag::READ_ENDED) && below {
                flags.set(flag::NEED_READABLE);
            }
        });
    }
}

impl State {
    /// A tick will emit 'readable' (emitReadable).
    pub(crate) fn emit_readable(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let flags = &mut stream.common.flags;
        flags.clear(flag::NEED_READABLE);
        if !flags.any(flag::EMITTED_READABLE) {
            flags.set(flag::EMITTED_READABLE);
            self.tick(id, &EMIT_READABLE);
        }
    }

    /// The end was read while somebody listens to 'readable': that tells it at once, and 'end' comes
    /// when everything was taken (onEofChunk).
    pub(crate) fn end_is_readable(&mut self, id: Id) {
        if let Some(stream) = self.stream(id) {
            stream.common.flags.clear(flag::NEED_READABLE);
            stream.common.flags.set(flag::EMITTED_READABLE);
            self.step(id, &EMIT_READABLE);
            self.step(id, &END);
        }
    }

    /// A listener of 'readable' was added: nothing flows any more.
    pub(crate) fn listen_to_readable(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let length = stream.read_length();
        let flags = &mut stream.common.flags;
        if flags.any(flag::END_EMITTED | flag::READABLE_LISTENING) {
            return;
        }
        flags.set(flag::READABLE_LISTENING | flag::NEED_READABLE | flag::HAS_FLOWING);
        flags.clear(flag::FLOWING | flag::EMITTED_READABLE);
        if length > 0 || flags.any(flag::READ_ENDED) {
            self.emit_readable(id);
        } else {
            self.tick(id, &WANT_MORE);
        }
    }

    /// A listener of 'readable' was removed.
    pub(crate) fn stopped_listening(&mut self, id: Id) {
        self.tick(id, &LISTENING);
    }

    fn update_readable_listening(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let listened = stream.listens_to_readable();
        let data = stream.is_listened_to();
        let flags = &mut stream.common.flags;
        match listened {
            true => flags.set(flag::READABLE_LISTENING),
            false => flags.clear(flag::READABLE_LISTENING),
        }
        if flags.any(flag::RESUME_SCHEDULED) && !flags.any(flag::PAUSED) {
            flags.set(flag::HAS_FLOWING | flag::FLOWING);
        } else if data {
            self.resume(id);
        } else if !listened {
            flags.clear(flag::HAS_FLOWING | flag::FLOWING);
        }
    }

    /// `read`: takes so many bytes, or the oldest chunk. Reading goes on where there is room for it.
    pub(crate) fn pull(&mut self, id: Id, size: Option<usize>) -> Option<Bytes> {
        let stream = self.stream(id)?;
        let length = stream.read_length();
        let ended = stream.common.flags.any(flag::READ_ENDED);
        if ended {
            // Who pulls takes bytes, past the decoder.
            stream.drop_rest();
        }
        if let Some(size) = size
            && size > stream.read_mark as usize
        {
            let mark = size.min(MAX_READ_MARK).next_power_of_two();
            stream.read_mark = u32::try_from(mark).unwrap_or(u32::MAX);
        }
        if size != Some(0) {
            stream.common.flags.clear(flag::EMITTED_READABLE);
        }
        let wanted = match size {
            None => stream.extra().reads.first_length(),
            Some(size) if size <= length => size,
            Some(_) if ended => length,
            Some(_) => 0,
        };
        let taken = match wanted {
            0 => None,
            wanted => Some(stream.extra().reads.take(wanted)),
        };
        let left = length - wanted;
        if !ended && (left == 0 || (taken.is_none() && left <= stream.read_mark as usize)) {
            stream.common.flags.set(flag::NEED_READABLE);
        }
        if ended && left == 0 && size != Some(wanted) {
            self.end_if_consumed(id);
        }
        self.want_more(id);
        taken
    }

    /// `unshift`: puts bytes back in front. Returns whether more may be buffered.
    pub(crate) fn unshift(&mut self, id: Id, chunk: Bytes) -> bool {
        let Some(stream) = self.stream(id) else {
            self.graveyard.push(Dead::Chunk(chunk));
            return false;
        };
        let flags = stream.common.flags;
        if !chunk.is_empty() && flags.any(flag::END_EMITTED) {
            self.graveyard.push(Dead::Chunk(chunk));
            self.destroy(id, Some(unshift_after_end()));
            return false;
        }
        if flags.any(flag::DESTROYED | flag::ERRORED) {
            self.graveyard.push(Dead::Chunk(chunk));
            return false;
        }
        if !chunk.is_empty() {
            stream.extra().reads.push_front(chunk);
            // Nothing was read yet, so the tick of `resume` has it (Node's `sync`, which begins as true).
            let waits =
                flags.any(flag::UNCONNECTED | flag::CONNECTING) && !flags.any(flag::READ_WANTED);
            if flags.any(flag::FLOWING) && !waits {
                self.steps.push_back(Task::Flow(id));
            } else if flags.any(flag::NEED_READABLE) {
                self.emit_readable(id);
            }
        }
        let Some(stream) = self.stream(id) else {
            return false;
        };
        let length = stream.read_length();
        !flags.any(flag::READ_ENDED) && (length < stream.read_mark as usize || length == 0)
    }
}

/// The highest mark to which `read` raises it: Node's.
const MAX_READ_MARK: usize = 0x4000_0000;
