//! Transforms: what is written comes out at the other side, changed. Node's
//! `internal/streams/transform`.

use bytes::Bytes;

use super::done::{Question, TransformDone};
use super::finishing::on_final;
use super::readable::{push, push_end};
use super::state::{flag, stream};
use super::writable::on_write;
use crate::event_loop::core::Core;
use crate::event_loop::extension::{Work, quiet};
use crate::event_loop::handle::Id;
use crate::event_loop::state::State;
use crate::ground::error::Result;

/// The end that it has pushed is told first, which comes on a tick that a step queues.
static ANSWER_BEHIND_THE_END: Work = quiet("a transform that has ended answers", |core, id| {
    core.with(|state| state.tick(id, &ANSWER));
});

static ANSWER: Work = quiet("a transform has answered", |core, id| {
    core.with(|state| on_write(state, id, Ok(())));
});

static FLUSHED: Work = quiet("a transform is flushed", |core, id| {
    core.with(|state| on_final(state, id, Ok(())));
});

/// A chunk goes in (_write).
pub(super) fn transform(core: &Core, id: Id, chunk: Bytes) {
    let hook = core.with(|state| {
        let it = stream(state, id)?;
        it.writable.transform_from = it.readable.buffer.length();
        let hook = it.hooks.transform.clone();
        if hook.is_some() {
            it.outstanding += 1;
        }
        Some(hook)
    });
    match hook {
        Some(Some(hook)) => {
            let raw = core.raw(id);
            hook.borrow_mut()(raw, chunk, TransformDone::new(raw, Question::Transform));
        }
        // A pass-through.
        Some(None) => core.with(|state| transformed(state, id, Ok(Some(chunk)))),
        None => {}
    }
}

/// What came of it.
pub(super) fn transformed(state: &mut State, id: Id, result: Result<Option<Bytes>>) {
    let out = match result {
        Ok(out) => out,
        Err(error) => return on_write(state, id, Err(error)),
    };
    if let Some(out) = out {
        push(state, id, out);
    }
    let Some(it) = stream(state, id) else { return };
    let length = it.readable.buffer.length();
    if it.flags.any(flag::ENDED) {
        state.step(id, &ANSWER_BEHIND_THE_END);
    } else if it.flags.any(flag::WRITE_ENDED)
        || length == it.writable.transform_from
        || length < it.readable.high_water_mark
    {
        on_write(state, id, Ok(()));
    } else {
        it.flags.set(flag::PARKED);
    }
}

/// Somebody reads: the chunk whose answer waited is done (_read).
pub(super) fn unpark(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    if it.flags.any(flag::PARKED) {
        it.flags.clear(flag::PARKED);
        on_write(state, id, Ok(()));
    }
}

/// Everything was written: what is left comes out, then the end (final).
pub(super) fn flush(core: &Core, id: Id) {
    let hook = core.with(|state| {
        let it = stream(state, id)?;
        let hook = it.hooks.flush.take();
        if hook.is_some() {
            it.outstanding += 1;
        }
        Some(hook)
    });
    match hook {
        Some(Some(hook)) => {
            let raw = core.raw(id);
            hook(raw, TransformDone::new(raw, Question::Flush));
        }
        Some(None) => core.with(|state| flushed(state, id, Ok(None))),
        None => {}
    }
}

/// What came of that.
pub(super) fn flushed(state: &mut State, id: Id, result: Result<Option<Bytes>>) {
    match result {
        Err(error) => on_final(state, id, Err(error)),
        Ok(out) => {
            if let Some(out) = out {
                push(state, id, out);
            }
            push_end(state, id);
            // Behind what that has left.
            state.step(id, &FLUSHED);
        }
    }
}
