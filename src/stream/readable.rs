//! The readable half: Node's `internal/streams/readable`, function by function, whose names stand
//! beside what mirrors them.
//!
//! Where Node calls user code in the middle of a function, that function is cut into steps. What a
//! step leaves comes in front of what waits already, so the order is that of Node's nested calls, but
//! the stack does not grow.

use bytes::Bytes;

use super::ending::error_or_destroy;
use super::flowing::{FLOW, end_readable, stopped_listening};
use super::state::{DATA, READABLE, StreamState, flag, stream};
use super::transform;
use crate::event_loop::core::Core;
use crate::event_loop::extension::{Work, WorkOf, quiet, told};
use crate::event_loop::handle::Id;
use crate::event_loop::state::{Dead, State};
use crate::ground::error::Error;
use crate::ground::spare::give_back;
use crate::ground::stream_errors::unshift_after_end;

/// The highest mark to which `read` raises it.
const MAX_HIGH_WATER_MARK: usize = 0x4000_0000;

static DELIVER: Work = quiet("what was pushed is delivered", deliver);
static DELIVERED: Work = quiet("what was pushed is delivered", |core, id| {
    core.with(|state| maybe_read_more(state, id));
    deliver(core, id);
});
static EMIT_READABLE: Work = told("'readable'", emit_readable_now);
static AFTER_READABLE: Work = quiet("what follows 'readable'", after_readable);
static READ_MORE: Work = quiet("the source is asked for more", read_more);
static READ_MORE_AGAIN: Work = quiet("the source is asked for more", read_more_again);
pub(super) static READ_ZERO: Work = quiet("the source is asked for more", read_zero);
static READ_ZERO_TAKE: Work = quiet("the source was asked for more", read_zero_take);
static ASK: Work = quiet("the source is asked for more", ask);
static ASKED: Work = quiet("the source was asked for more", asked);

/// Has work done as a step when it is dropped: behind the steps that user code leaves, also when that
/// panics.
pub(super) struct Then<'a> {
    pub(super) core: &'a Core,
    pub(super) id: Id,
    pub(super) work: WorkOf,
}

impl Drop for Then<'_> {
    fn drop(&mut self) {
        self.core.with(|state| state.step(self.id, self.work));
    }
}

/// `push`: bytes from the source. Returns whether it may push more.
pub(super) fn push(state: &mut State, id: Id, chunk: Bytes) -> bool {
    let Some(it) = stream(state, id) else {
        state.graveyard.push(Dead::Chunk(chunk));
        return false;
    };
    if chunk.is_empty() {
        it.flags.clear(flag::READING);
        maybe_read_more(state, id);
        return can_push_more(state, id);
    }
    if it.flags.any(flag::ENDED) {
        state.graveyard.push(Dead::Chunk(chunk));
        let error = Error::library("ERR_STREAM_PUSH_AFTER_EOF", "stream.push() after EOF");
        error_or_destroy(state, id, error, false);
        return false;
    }
    if it.flags.any(flag::DESTROYED | flag::ERRORED) {
        state.graveyard.push(Dead::Chunk(chunk));
        return false;
    }
    it.flags.clear(flag::READING);
    add_chunk(state, id, chunk, false);
    can_push_more(state, id)
}

/// `unshift`: bytes go back to where they came from.
pub(super) fn unshift(state: &mut State, id: Id, chunk: Bytes) -> bool {
    let Some(it) = stream(state, id) else {
        state.graveyard.push(Dead::Chunk(chunk));
        return false;
    };
    if chunk.is_empty() {
        return can_push_more(state, id);
    }
    if it.flags.any(flag::END_EMITTED) {
        state.graveyard.push(Dead::Chunk(chunk));
        error_or_destroy(state, id, unshift_after_end(), false);
    } else if it.flags.any(flag::DESTROYED | flag::ERRORED) {
        state.graveyard.push(Dead::Chunk(chunk));
        return false;
    } else {
        add_chunk(state, id, chunk, true);
    }
    can_push_more(state, id)
}

/// Whether the source may push more (canPushMore).
fn can_push_more(state: &mut State, id: Id) -> bool {
    stream(state, id).is_some_and(|it| {
        let length = it.readable.buffer.length();
        !it.flags.any(flag::ENDED) && (length < it.readable.high_water_mark || length == 0)
    })
}

/// Takes bytes in: for the listeners if it flows, else into the buffer (addChunk).
fn add_chunk(state: &mut State, id: Id, chunk: Bytes, in_front: bool) {
    let Some(it) = stream(state, id) else { return };
    let flows = it.flags.any(flag::FLOWING) && !it.flags.any(flag::READ_SYNC);
    if flows && !it.listeners.data.is_empty() && it.readable.buffer.length() == 0 {
        // Node emits 'data' here. Ours comes when the caller has returned: contract rule 1.
        match in_front {
            true => it.readable.direct.push_front(chunk),
            false => it.readable.direct.push_back(chunk),
        }
        if !it.flags.any(flag::DELIVERING) {
            it.flags.set(flag::DELIVERING);
            state.step(id, &DELIVER);
        }
        // More is asked for behind that.
        return;
    } else {
        match in_front {
            true => it.readable.buffer.push_front(chunk),
            false => it.readable.buffer.push(chunk),
        }
        if it.flags.any(flag::NEED_READABLE) {
            emit_readable(state, id);
        }
    }
    maybe_read_more(state, id);
}

/// Delivers what was pushed, a chunk at a time. What was paused meanwhile is buffered.
fn deliver(core: &Core, id: Id) {
    let chunk = core.with(|state| {
        let it = stream(state, id)?;
        let over = flag::ERROR_EMITTED | flag::CLOSE_EMITTED;
        if it.flags.any(flag::FLOWING)
            && !it.listeners.data.is_empty()
            && !it.flags.any(over)
            && let Some(chunk) = it.readable.direct.pop_front()
        {
            it.flags.set(flag::DATA_EMITTED);
            return Some(chunk);
        }
        it.flags.clear(flag::DELIVERING);
        let mut held_back = false;
        while let Some(chunk) = it.readable.direct.pop_back() {
            it.readable.buffer.push_front(chunk);
            held_back = true;
        }
        give_back(&mut it.readable.direct);
        if held_back {
            if it.flags.any(flag::NEED_READABLE) {
                emit_readable(state, id);
            }
            maybe_read_more(state, id);
        }
        None
    });
    if let Some(chunk) = chunk {
        let _then = Then {
            core,
            id,
            work: &DELIVERED,
        };
        emit_data(core, id, &chunk);
    }
}

pub(super) fn emit_data(core: &Core, id: Id, chunk: &Bytes) {
    if crate::event_loop::trace::on() {
        core.trace_data(id, chunk.len());
    }
    let raw = core.raw(id);
    core.emit(id, DATA, |listener| listener(raw, chunk));
}

/// The source has ended: Node's `push(null)` (onEofChunk).
pub(super) fn push_end(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    it.flags.clear(flag::READING);
    if it.flags.any(flag::ENDED) {
        return;
    }
    it.flags.set(flag::ENDED);
    if it.flags.any(flag::READ_SYNC) {
        let somebody_looks =
            it.flags.any(flag::FLOWING | flag::NEED_READABLE) || !it.listeners.readable.is_empty();
        match somebody_looks {
            true => emit_readable(state, id),
            false => it.flags.set(flag::EOF_READABLE_PENDING),
        }
    } else {
        it.flags.clear(flag::NEED_READABLE);
        it.flags.set(flag::EMITTED_READABLE);
        state.step(id, &EMIT_READABLE);
    }
}

/// A tick will emit 'readable' (emitReadable).
pub(super) fn emit_readable(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    it.flags.clear(flag::NEED_READABLE);
    if !it.flags.any(flag::EMITTED_READABLE) {
        it.flags.set(flag::EMITTED_READABLE);
        state.tick(id, &EMIT_READABLE);
    }
}

/// Emits 'readable' (emitReadable_).
fn emit_readable_now(core: &Core, id: Id) {
    let emits = core.with(|state| {
        let it = stream(state, id)?;
        let something = it.readable.buffer.length() > 0 || it.flags.any(flag::ENDED);
        Some(!it.flags.any(flag::DESTROYED | flag::ERRORED) && something)
    });
    let _then = Then {
        core,
        id,
        work: &AFTER_READABLE,
    };
    if emits != Some(true) {
        return;
    }
    let raw = core.raw(id);
    let _told = ReadableTold { core, id };
    let removed = || core.with(|state| stopped_listening(state, id));
    core.emit_and(id, READABLE, removed, |listener| listener(raw));
}

/// 'readable' was told, also if a listener has panicked: it may be told again.
struct ReadableTold<'a> {
    core: &'a Core,
    id: Id,
}

impl Drop for ReadableTold<'_> {
    fn drop(&mut self) {
        self.core.with(|state| {
            if let Some(it) = stream(state, self.id) {
                it.flags.clear(flag::EMITTED_READABLE);
            }
        });
    }
}

fn after_readable(core: &Core, id: Id) {
    core.with(|state| {
        let Some(it) = stream(state, id) else { return };
        let below = it.readable.buffer.length() <= it.readable.high_water_mark;
        if !it.flags.any(flag::FLOWING | flag::ENDED) && below {
            it.flags.set(flag::NEED_READABLE);
        }
        state.step(id, &FLOW);
    });
}

/// A tick will ask the source for more (maybeReadMore).
fn maybe_read_more(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    let busy = flag::READING_MORE | flag::READING;
    if !it.flags.any(busy) && it.flags.any(flag::CONSTRUCTED) {
        it.flags.set(flag::READING_MORE);
        state.tick(id, &READ_MORE);
    }
}

/// Asks the source for more as long as that brings something (maybeReadMore_).
fn read_more(core: &Core, id: Id) {
    let begun = core.with(|state| {
        let it = stream(state, id)?;
        let length = it.readable.buffer.length();
        let wants =
            length < it.readable.high_water_mark || (it.flags.any(flag::FLOWING) && length == 0);
        if it.flags.any(flag::READING | flag::ENDED) || !wants {
            it.flags.clear(flag::READING_MORE);
            return None;
        }
        it.readable.length_before = length;
        Some(begin_read(state, id, Some(0)))
    });
    match begun {
        Some(Begun::Ask) => call_source(core, id, &READ_MORE_AGAIN),
        Some(Begun::Take | Begun::Over) => read_more_again(core, id),
        None => {}
    }
}

fn read_more_again(core: &Core, id: Id) {
    core.with(|state| {
        finish_read(state, id, Some(0));
        let Some(it) = stream(state, id) else { return };
        match it.readable.buffer.length() == it.readable.length_before {
            true => it.flags.clear(flag::READING_MORE),
            false => state.step(id, &READ_MORE),
        }
    });
}

/// What a read comes to before the source is asked.
pub(super) enum Begun {
    /// Nothing is to be had.
    Over,
    /// The source is to be asked first.
    Ask,
    /// What is there is taken.
    Take,
}

/// The first half of Node's `read`: until the source is asked. No size is Node's `read()`.
pub(super) fn begin_read(state: &mut State, id: Id, size: Option<usize>) -> Begun {
    let Some(it) = stream(state, id) else {
        return Begun::Over;
    };
    if let Some(size) = size
        && size > it.readable.high_water_mark
    {
        let mark = size.min(MAX_HIGH_WATER_MARK).next_power_of_two();
        it.readable.high_water_mark = mark;
    }
    if size != Some(0) {
        it.flags
            .clear(flag::EMITTED_READABLE | flag::EOF_READABLE_PENDING);
    }
    let (length, mark) = (it.readable.buffer.length(), it.readable.high_water_mark);
    let is_full = if mark == 0 {
        length > 0
    } else {
        length >= mark
    };
    let ended = it.flags.any(flag::ENDED);
    if size == Some(0) && it.flags.any(flag::NEED_READABLE) && (is_full || ended) {
        match length == 0 && ended {
            true => end_readable(state, id),
            false => emit_readable(state, id),
        }
        return Begun::Over;
    }
    let taken = it.how_much(size);
    if taken == 0 && ended {
        if length == 0 {
            end_readable(state, id);
        }
        return Begun::Over;
    }
    let wants = it.flags.any(flag::NEED_READABLE) || length == 0 || length - taken < mark;
    let prevented = flag::READING | flag::ENDED | flag::DESTROYED | flag::ERRORED;
    if !wants || it.flags.any(prevented) || !it.flags.any(flag::CONSTRUCTED) {
        return Begun::Take;
    }
    it.flags.set(flag::READING);
    if length == 0 {
        it.flags.set(flag::NEED_READABLE);
    }
    Begun::Ask
}

/// The second half of Node's `read`: what is there is taken.
pub(super) fn finish_read(state: &mut State, id: Id, size: Option<usize>) -> Option<Bytes> {
    let it = stream(state, id)?;
    let wanted = it.how_much(size);
    let taken = match wanted {
        0 => None,
        wanted => Some(it.readable.buffer.take(wanted)),
    };
    let length = it.readable.buffer.length();
    if taken.is_none() && length <= it.readable.high_water_mark {
        it.flags.set(flag::NEED_READABLE);
    }
    if taken.is_some() && !it.flags.any(flag::ERROR_EMITTED | flag::CLOSE_EMITTED) {
        it.flags.set(flag::DATA_EMITTED);
    }
    if length == 0 {
        let ended = it.flags.any(flag::ENDED);
        if !ended {
            it.flags.set(flag::NEED_READABLE);
        }
        let got = if taken.is_some() { wanted } else { 0 };
        if ended && size != Some(got) {
            end_readable(state, id);
        }
    }
    taken
}

/// Asks the source for more; `then` follows what comes of it.
pub(super) fn call_source(core: &Core, id: Id, then: WorkOf) {
    let _then = Then {
        core,
        id,
        work: then,
    };
    let asked = core.with(|state| {
        let it = stream(state, id)?;
        it.flags.set(flag::READ_SYNC);
        Some((it.hooks.read.clone(), it.readable.high_water_mark))
    });
    let mut over = SyncOver {
        core,
        id,
        panicked: true,
    };
    match asked {
        Some((Some(read), mark)) => read.borrow_mut()(core.raw(id), mark),
        Some((None, _)) => core.with(|state| transform::unpark(state, id)),
        None => {}
    }
    over.panicked = false;
}

/// The source has returned, or panicked.
struct SyncOver<'a> {
    core: &'a Core,
    id: Id,
    panicked: bool,
}

impl Drop for SyncOver<'_> {
    fn drop(&mut self) {
        self.core.with(|state| {
            if self.panicked && stream(state, self.id).is_some_and(|it| it.flags.any(flag::READING))
            {
                // It owes bytes, and nobody would ask it again.
                error_or_destroy(state, self.id, Error::call("read", "ECANCELED"), true);
            }
            // What an answer of a transform leaves as steps belongs to the call.
            let transforms =
                stream(state, self.id).is_some_and(|it| it.flags.any(flag::IS_TRANSFORM));
            match transforms {
                true => state.step(self.id, &ASKED),
                false => end_sync(state, self.id),
            }
        });
    }
}

fn end_sync(state: &mut State, id: Id) {
    if let Some(it) = stream(state, id) {
        it.flags.clear(flag::READ_SYNC);
    }
}

/// The tick behind a `read` that asked for more: contract rule 1.
fn ask(core: &Core, id: Id) {
    let wants = core.with(|state| {
        let it = stream(state, id)?;
        let over = flag::ENDED | flag::DESTROYED | flag::ERRORED;
        Some(it.flags.any(flag::READING) && !it.flags.any(over))
    });
    if wants == Some(true) {
        call_source(core, id, &ASKED);
    }
}

fn asked(core: &Core, id: Id) {
    core.with(|state| end_sync(state, id));
}

/// Node's `read(0)`: asks for more, and takes nothing.
pub(super) fn read_zero(core: &Core, id: Id) {
    match core.with(|state| begin_read(state, id, Some(0))) {
        Begun::Ask => call_source(core, id, &READ_ZERO_TAKE),
        Begun::Take => read_zero_take(core, id),
        Begun::Over => {}
    }
}

fn read_zero_take(core: &Core, id: Id) {
    core.with(|state| finish_read(state, id, Some(0)));
}

/// `read`, called by the program: it takes what is there. The source is asked on a tick.
pub(super) fn read(state: &mut State, id: Id, size: Option<usize>) -> Option<Bytes> {
    match begin_read(state, id, size) {
        Begun::Over => None,
        Begun::Take => finish_read(state, id, size),
        Begun::Ask => {
            state.tick(id, &ASK);
            finish_read(state, id, size)
        }
    }
}

/// It is constructed: what waited for that is done.
pub(super) fn constructed(state: &mut State, id: Id) {
    if stream(state, id).is_some_and(|it| it.flags.any(flag::NEED_READABLE)) {
        maybe_read_more(state, id);
    }
}

impl StreamState {
    /// How many bytes a read takes (howMuchToRead). Without a size it takes the oldest piece.
    fn how_much(&self, size: Option<usize>) -> usize {
        let length = self.readable.buffer.length();
        match size {
            None => self.readable.buffer.first_length(),
            Some(size) if size <= length => size,
            Some(_) if self.flags.any(flag::ENDED) => length,
            Some(_) => 0,
        }
    }
}
