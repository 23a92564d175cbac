//! The writable half: Node's `internal/streams/writable`, function by function, whose names stand
//! beside what mirrors them.
//!
//! A call of the program that would hand a chunk to the sink at once in Node does so on the next tick
//! here: contract rule 1. What was called waits in the order of the calls ([`Call`]). Whatever the
//! library itself writes, a pipe above all, goes to the sink at once.

use bytes::Bytes;

use super::done::{Done, Question};
use super::ending::error_or_destroy;
use super::finishing::{ended, finish_maybe};
use super::readable::Then;
use super::state::{AfterWrite, Buffered, Call, DRAIN, StreamState, flag, stream};
use super::transform;
use crate::event_loop::core::Core;
use crate::event_loop::extension::{Work, quiet, told};
use crate::event_loop::handle::Id;
use crate::event_loop::state::{Dead, State};
use crate::event_loop::task::Task;
use crate::ground::error::{Completion, Error, Result};
use crate::ground::spare::give_back;
use crate::ground::stream_errors::{destroyed_before, write_after_end};

static CALLS: Work = quiet("what was called is done", perform_call);
pub(super) static CLEAR: Work = quiet("what was buffered goes to the sink", clear_buffer);
static CLEAR_NEXT: Work = quiet("what was buffered goes to the sink", clear_next);
static ANSWERED: Work = quiet("a write was answered", |core, id| {
    core.with(|state| {
        if let Some(after) = take_step(state, id) {
            answered(state, id, after);
        }
    });
});
static ANSWERED_BEHIND: Work = quiet("a write was answered", |core, id| {
    core.with(|state| {
        let Some(it) = stream(state, id) else { return };
        if let Some(after) = it.writable.after_pushes.pop_front() {
            give_back(&mut it.writable.after_pushes);
            answered(state, id, after);
        }
    });
});
static AFTER_TICK: Work = quiet("a write is done", |core, id| {
    core.with(|state| {
        let Some(it) = stream(state, id) else { return };
        if let Some(after) = it.writable.after_ticks.pop_front() {
            give_back(&mut it.writable.after_ticks);
            after_write(state, id, after);
        }
    });
});
static AFTER_STEP: Work = quiet("a write is done", |core, id| {
    core.with(|state| {
        if let Some(after) = take_step(state, id) {
            after_write(state, id, after);
        }
    });
});
static AFTER_WRITES: Work = quiet("writes are done", |core, id| {
    core.with(|state| {
        let Some(it) = stream(state, id) else { return };
        let flags = it.flags;
        if flags.any(flag::DESTROYED) {
            error_buffer(state, id);
        }
        if flags.any(flag::ENDING) {
            finish_maybe(state, id, true);
        }
    });
});
pub(super) static ERROR_BUFFER: Work = quiet("what waits fails", |core, id| {
    core.with(|state| error_buffer(state, id));
});
static FAIL: Work = quiet("it is destroyed with an error", |core, id| {
    core.with(|state| {
        if let Some(error) = stream(state, id).and_then(|it| it.writable.failures.pop_front()) {
            error_or_destroy(state, id, error, false);
        }
    });
});
static DRAINED: Work = told("'drain'", |core, id| {
    let raw = core.raw(id);
    core.emit(id, DRAIN, |listener| listener(raw));
});

fn take_step(state: &mut State, id: Id) -> Option<AfterWrite> {
    stream(state, id)?.writable.after_steps.pop_front()
}

/// `write`, called by the program.
pub(super) fn write(state: &mut State, id: Id, chunk: Bytes, done: Option<Completion>) -> bool {
    if stream(state, id).is_none() {
        state.graveyard.push(Dead::Chunk(chunk));
        state.complete_later(done, Err(Error::handle_gone));
        return false;
    }
    write_or_fail(state, id, chunk, done).unwrap_or(false)
}

/// What `write` and `end` have in common (_write): the sink gets the chunk on a tick.
pub(super) fn write_or_fail(
    state: &mut State,
    id: Id,
    chunk: Bytes,
    done: Option<Completion>,
) -> Result<bool> {
    let Some(admitted) = admit(state, id, chunk, done)? else {
        return Ok(below_mark(state, id));
    };
    let Some(it) = stream(state, id) else {
        return Ok(false);
    };
    let waits = it.writable.corked > 0 || it.flags.any(flag::ERRORED);
    it.writable.calls.push_back(Call::Write(admitted, waits));
    schedule_calls(state, id);
    Ok(below_mark(state, id))
}

/// Counts a chunk in. None if it was buffered, since the sink has another.
fn admit(
    state: &mut State,
    id: Id,
    chunk: Bytes,
    done: Option<Completion>,
) -> Result<Option<Buffered>> {
    let Some(it) = stream(state, id) else {
        return Ok(None);
    };
    let error = if it.flags.any(flag::ENDING) {
        Some(write_after_end())
    } else if it.flags.any(flag::DESTROYED) {
        Some(destroyed_before("write"))
    } else {
        None
    };
    if let Some(error) = error {
        state.graveyard.push(Dead::Chunk(chunk));
        state.complete_later(done, Err(|| error.clone()));
        error_or_destroy(state, id, error.clone(), true);
        return Err(error);
    }
    it.writable.pending += 1;
    it.writable.length += chunk.len();
    let admitted = Buffered { chunk, done };
    if it.writable.calls.is_empty() && it.is_busy() {
        it.writable.buffered.push_back(admitted);
        return Ok(None);
    }
    Ok(Some(admitted))
}

/// What `write` returns: whether less waits than the mark. If not, 'drain' is owed.
fn below_mark(state: &mut State, id: Id) -> bool {
    let Some(it) = stream(state, id) else {
        return false;
    };
    let length = it.writable.length;
    let below = length < it.writable.high_water_mark || length == 0;
    if !below {
        it.flags.set(flag::NEED_DRAIN);
    }
    below && !it.flags.any(flag::DESTROYED | flag::ERRORED)
}

pub(super) fn schedule_calls(state: &mut State, id: Id) {
    if let Some(it) = stream(state, id)
        && !it.flags.any(flag::CALLS_SCHEDULED)
    {
        it.flags.set(flag::CALLS_SCHEDULED);
        state.tick(id, &CALLS);
    }
}

/// Does what was called, one call at a time.
fn perform_call(core: &Core, id: Id) {
    let call = core.with(|state| {
        let it = stream(state, id)?;
        let call = it.writable.calls.pop_front();
        if call.is_none() {
            it.flags.clear(flag::CALLS_SCHEDULED);
            give_back(&mut it.writable.calls);
        }
        call
    });
    let Some(call) = call else { return };
    let _then = Then {
        core,
        id,
        work: &CALLS,
    };
    match call {
        Call::Write(write, waits) => {
            let write = core.with(|state| {
                let it = stream(state, id)?;
                // What was written before `destroy` goes to the sink, as in Node, where it had it by
                // then.
                let destroyed = it.flags.any(flag::DESTROYED);
                let busy = match destroyed {
                    true => it.flags.any(flag::WRITING) || !it.flags.any(flag::CONSTRUCTED),
                    false => it.is_busy_but_for_corks(),
                };
                if waits || busy {
                    it.writable.buffered.push_back(write);
                    if destroyed {
                        error_buffer(state, id);
                    }
                    return None;
                }
                Some(write)
            });
            if let Some(write) = write {
                hand_down(core, id, vec![write], true);
            }
        }
        Call::Uncork => clear_buffer(core, id),
        Call::End => core.with(|state| ended(state, id)),
    }
}

/// Writes for the library itself, from where user code may be called: the sink gets the chunk at once
/// unless it has another. Returns what `write` returns.
pub(super) fn write_now(core: &Core, id: Id, chunk: Bytes) -> bool {
    let admitted = core.with(|state| match admit(state, id, chunk, None) {
        Err(_) => Err(()),
        Ok(None) => Ok(None),
        Ok(Some(write)) => match stream(state, id) {
            Some(it) if !it.writable.calls.is_empty() => {
                // Behind what the program has called.
                let corked = it.writable.corked > 0;
                it.writable.calls.push_back(Call::Write(write, corked));
                Ok(None)
            }
            _ => Ok(Some(write)),
        },
    });
    match admitted {
        Err(()) => return false,
        Ok(None) => {}
        Ok(Some(write)) => hand_down(core, id, vec![write], false),
    }
    core.with(|state| below_mark(state, id))
}

/// Hands chunks to the sink (doWrite); those of a destroyed stream fail, unless they are older than that.
fn hand_down(core: &Core, id: Id, writes: Vec<Buffered>, even_destroyed: bool) {
    let mut chunks = Vec::with_capacity(writes.len());
    let mut done = Vec::new();
    for write in writes {
        chunks.push(write.chunk);
        done.extend(write.done);
    }
    let hooks = core.with(|state| {
        let it = stream(state, id)?;
        it.writable.write_length = chunks.iter().map(Bytes::len).sum();
        it.writable.write_done = std::mem::take(&mut done);
        it.flags.set(flag::WRITING | flag::WRITE_SYNC);
        if it.flags.any(flag::DESTROYED) && !even_destroyed {
            on_write(state, id, Err(destroyed_before("write")));
            end_sync(state, id);
            return None;
        }
        let transforms = it.flags.any(flag::IS_TRANSFORM);
        if !transforms {
            it.outstanding += 1;
        }
        Some((transforms, it.hooks.write.clone(), it.hooks.writev.clone()))
    });
    let Some((transforms, write, writev)) = hooks else {
        return;
    };
    let _over = SyncOver { core, id };
    if transforms {
        for chunk in chunks {
            transform::transform(core, id, chunk);
        }
        return;
    }
    let raw = core.raw(id);
    let answer = Done::new(raw, Question::Write);
    match (write, writev) {
        (Some(write), _) if chunks.len() == 1 => {
            let chunk = chunks.pop().unwrap_or_default();
            write.borrow_mut()(raw, chunk, answer);
        }
        (_, Some(writev)) => writev.borrow_mut()(raw, chunks, answer),
        _ => answer.ok(),
    }
}

/// The sink has returned, or panicked.
pub(super) struct SyncOver<'a> {
    pub(super) core: &'a Core,
    pub(super) id: Id,
}

impl Drop for SyncOver<'_> {
    fn drop(&mut self) {
        self.core.with(|state| end_sync(state, self.id));
    }
}

fn end_sync(state: &mut State, id: Id) {
    if let Some(it) = stream(state, id) {
        it.flags.clear(flag::WRITE_SYNC);
    }
}

/// The sink has answered (onwrite).
pub(super) fn on_write(state: &mut State, id: Id, result: Result<()>) {
    let Some(it) = stream(state, id) else {
        if let Err(error) = result {
            state.bury(error);
        }
        return;
    };
    let sync = it.flags.any(flag::WRITE_SYNC);
    let done = std::mem::take(&mut it.writable.write_done);
    it.flags.clear(flag::WRITING);
    it.writable.length -= std::mem::take(&mut it.writable.write_length);
    let mut after = AfterWrite {
        done,
        error: None,
        sync,
    };
    if let Err(error) = result {
        it.fail(&error);
        after.error = Some(error);
    }
    let is_cleared = it.writable.buffered.is_empty() || it.flags.any(flag::BUFFER_PROCESSING);
    if after.error.is_none() && !is_cleared {
        it.writable.after_steps.push_back(after);
        state.step(id, &CLEAR);
        state.step(id, &ANSWERED);
    } else if sync && it.tells_what_was_pushed() {
        // Not among those: a write that waits until the buffer is cleared is answered behind this one.
        it.writable.after_pushes.push_back(after);
        state.step(id, &ANSWERED_BEHIND);
    } else {
        answered(state, id, after);
    }
}

/// A write that the sink has not seen has failed, as if it had answered so at once.
pub(super) fn write_has_failed(state: &mut State, id: Id, error: Error, done: Option<Completion>) {
    let Some(it) = stream(state, id) else { return };
    it.fail(&error);
    it.writable.pending += 1;
    let after = AfterWrite {
        done: done.into_iter().collect(),
        error: Some(error),
        sync: true,
    };
    later(state, id, after, true);
}

/// What follows a write, when what was buffered has gone to the sink and what that has pushed is told.
fn answered(state: &mut State, id: Id, after: AfterWrite) {
    let Some(it) = stream(state, id) else { return };
    if after.error.is_some() {
        let sync = after.sync;
        return later(state, id, after, sync);
    }
    if !after.sync {
        after_write(state, id, after);
        return;
    }
    let drains = it.flags.any(flag::NEED_DRAIN) && it.writable.length == 0;
    let pending = it.flags.any(flag::AFTER_WRITE_PENDING);
    if !after.done.is_empty() || (drains && !pending) {
        it.flags.set(flag::AFTER_WRITE_PENDING);
        later(state, id, after, true);
        return;
    }
    it.writable.pending -= 1;
    if it.flags.any(flag::ENDING) {
        finish_maybe(state, id, true);
    }
}

/// Has a write seen to on a tick, or on a step.
fn later(state: &mut State, id: Id, after: AfterWrite, tick: bool) {
    let Some(it) = stream(state, id) else { return };
    if tick {
        it.writable.after_ticks.push_back(after);
        state.tick(id, &AFTER_TICK);
    } else {
        it.writable.after_steps.push_back(after);
        state.step(id, &AFTER_STEP);
    }
}

/// 'drain' if it is owed, and the callbacks (afterWrite, onwriteError).
fn after_write(state: &mut State, id: Id, after: AfterWrite) {
    let Some(it) = stream(state, id) else { return };
    it.writable.pending -= 1;
    if let Some(error) = after.error {
        it.writable.failures.push_back(error.clone());
        for done in after.done {
            let told = Task::CompleteWithin(done, Err(error.clone()));
            state.steps.push_back(told);
        }
        state.step(id, &ERROR_BUFFER);
        state.step(id, &FAIL);
        return;
    }
    it.flags.clear(flag::AFTER_WRITE_PENDING);
    let owes = it.flags.any(flag::NEED_DRAIN) && it.writable.length == 0;
    if owes && !it.flags.any(flag::ENDING | flag::DESTROYED) {
        it.flags.clear(flag::NEED_DRAIN);
        state.step(id, &DRAINED);
    }
    for done in after.done {
        state.steps.push_back(Task::CompleteWithin(done, Ok(())));
    }
    state.step(id, &AFTER_WRITES);
}

/// Fails what waits for the sink, and the completions of `end` (errorBuffer).
pub(super) fn error_buffer(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    if it.flags.any(flag::WRITING) {
        return;
    }
    let errored = it.errored.clone();
    let reason = |call| errored.clone().unwrap_or_else(|| destroyed_before(call));
    let buffered = std::mem::take(&mut it.writable.buffered);
    let on_finished = std::mem::take(&mut it.writable.on_finished);
    for Buffered { chunk, done } in buffered {
        if let Some(it) = stream(state, id) {
            it.writable.length -= chunk.len();
        }
        state.graveyard.push(Dead::Chunk(chunk));
        state
            .steps
            .extend(done.map(|done| Task::CompleteWithin(done, Err(reason("write")))));
    }
    let ended = on_finished
        .into_iter()
        .map(|done| Task::CompleteWithin(done, Err(reason("end"))));
    state.steps.extend(ended);
}

/// Hands to the sink what was buffered: all of it if it takes several chunks at once, else one after
/// the other for as long as it answers at once (clearBuffer).
fn clear_buffer(core: &Core, id: Id) {
    let all = core.with(|state| {
        let it = stream(state, id)?;
        let prevented = flag::DESTROYED | flag::BUFFER_PROCESSING | flag::WRITING;
        if it.writable.buffered.is_empty()
            || it.writable.corked > 0
            || it.flags.any(prevented)
            || !it.flags.any(flag::CONSTRUCTED)
        {
            return None;
        }
        it.flags.set(flag::BUFFER_PROCESSING);
        if it.writable.buffered.len() > 1 && it.hooks.writev.is_some() {
            it.writable.pending -= it.writable.buffered.len() - 1;
            let all: Vec<_> = std::mem::take(&mut it.writable.buffered).into();
            return Some(all);
        }
        Some(Vec::new())
    });
    match all {
        None => {}
        Some(all) if all.is_empty() => clear_next(core, id),
        Some(all) => {
            let _processed = Processed { core, id };
            hand_down(core, id, all, false);
        }
    }
}

fn clear_next(core: &Core, id: Id) {
    let next = core.with(|state| {
        let it = stream(state, id)?;
        if it.flags.any(flag::WRITING) {
            it.flags.clear(flag::BUFFER_PROCESSING);
            return None;
        }
        let next = it.writable.buffered.pop_front();
        give_back(&mut it.writable.buffered);
        if next.is_none() {
            it.flags.clear(flag::BUFFER_PROCESSING);
        }
        next
    });
    if let Some(next) = next {
        let _then = Then {
            core,
            id,
            work: &CLEAR_NEXT,
        };
        hand_down(core, id, vec![next], false);
    }
}

/// What was buffered was handed to the sink.
struct Processed<'a> {
    core: &'a Core,
    id: Id,
}

impl Drop for Processed<'_> {
    fn drop(&mut self) {
        self.core.with(|state| {
            if let Some(it) = stream(state, self.id) {
                it.flags.clear(flag::BUFFER_PROCESSING);
            }
        });
    }
}

pub(super) fn cork(state: &mut State, id: Id) {
    if let Some(it) = stream(state, id) {
        it.writable.corked = it.writable.corked.saturating_add(1);
    }
}

pub(super) fn uncork(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    if it.writable.corked == 0 {
        return;
    }
    it.writable.corked -= 1;
    let waits = !it.writable.buffered.is_empty() || !it.writable.calls.is_empty();
    if it.writable.corked == 0 && waits && !it.flags.any(flag::WRITING) {
        it.writable.calls.push_back(Call::Uncork);
        schedule_calls(state, id);
    }
}

impl StreamState {
    /// Whether a chunk has to wait, corks aside.
    fn is_busy_but_for_corks(&self) -> bool {
        self.flags.any(flag::WRITING | flag::ERRORED) || !self.flags.any(flag::CONSTRUCTED)
    }

    fn is_busy(&self) -> bool {
        self.writable.corked > 0 || self.is_busy_but_for_corks()
    }

    /// Whether `end` was called and nothing stands before 'finish' (needFinish).
    pub(super) fn needs_finish(&self) -> bool {
        let prevented = flag::DESTROYED
            | flag::FINISHED
            | flag::WRITING
            | flag::ERROR_EMITTED
            | flag::CLOSE_EMITTED
            | flag::ERRORED;
        self.flags.all(flag::ENDING | flag::CONSTRUCTED)
            && !self.flags.any(prevented)
            && self.writable.length == 0
            && self.writable.buffered.is_empty()
            && !self.writable.calls.iter().any(Call::is_write)
    }
}
