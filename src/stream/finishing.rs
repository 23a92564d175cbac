//! How the writable half ends: `end`, what the sink does at the end, 'finish'. The names of Node's
//! functions stand beside what mirrors them.

use bytes::Bytes;

use super::done::{Done, Question};
use super::ending::{destroy, error_or_destroy};
use super::state::{Call, FINISH, flag, stream};
use super::transform;
use super::writable::{CLEAR, SyncOver, schedule_calls, uncork, write_or_fail};
use crate::event_loop::core::Core;
use crate::event_loop::extension::{Work, quiet, told};
use crate::event_loop::handle::Id;
use crate::event_loop::state::{Dead, State};
use crate::event_loop::task::Task;
use crate::ground::error::{Completion, Error, Result};
use crate::ground::stream_errors::{already_finished, destroyed_before};

static CALL_FINAL: Work = quiet("the sink is told of the end", call_final);
static FINISH_IF_NEEDED: Work = quiet("everything is written", |core, id| {
    core.with(|state| {
        let Some(it) = stream(state, id) else { return };
        match it.needs_finish() {
            true => finish(state, id),
            false => it.writable.pending -= 1,
        }
    });
});
static FINISH_TICK: Work = quiet("everything is written", |core, id| {
    core.with(|state| finish(state, id));
});
static FINALIZED: Work = quiet("the sink has done what it does at the end", |core, id| {
    core.with(|state| {
        let result = stream(state, id).and_then(|it| it.writable.finalized.take());
        if let Some((result, sync)) = result {
            finalized(state, id, result, sync);
        }
    });
});
static EMIT_FINISH: Work = told("'finish'", |core, id| {
    let raw = core.raw(id);
    core.emit(id, FINISH, |listener| listener(raw));
});
static AFTER_FINISH: Work = quiet("what follows 'finish'", |core, id| {
    core.with(|state| {
        let Some(it) = stream(state, id) else { return };
        let readable_done = it.flags.any(flag::END_EMITTED) || !it.flags.any(flag::IS_READABLE);
        if it.flags.any(flag::AUTO_DESTROY) && readable_done {
            destroy(state, id, None, true);
        }
    });
});
/// The tick after 'end': this side ends too (endWritableNT).
pub(super) static END_WRITABLE: Work =
    quiet("the readable side has ended, so this does", |core, id| {
        core.with(|state| {
            if stream(state, id).is_some_and(|it| it.is_writable()) {
                end(state, id, None, None, true);
            }
        });
    });
static END_BEHIND: Work = quiet("what came before the end is done", |core, id| {
    core.with(|state| ended(state, id));
});

/// `end`: a last chunk if there is one, then no more. With `now` for the library itself, from a task;
/// there is no chunk then, and nobody to tell.
pub(super) fn end(
    state: &mut State,
    id: Id,
    chunk: Option<Bytes>,
    done: Option<Completion>,
    now: bool,
) {
    if stream(state, id).is_none() {
        state.graveyard.extend(chunk.map(Dead::Chunk));
        state.complete_later(done, Err(Error::handle_gone));
        return;
    }
    let mut failed = None;
    if let Some(chunk) = chunk {
        failed = write_or_fail(state, id, chunk, None).err();
    }
    let Some(it) = stream(state, id) else { return };
    if it.writable.corked > 0 {
        let is_over = it.flags.any(flag::ENDING | flag::ERRORED);
        if now && !is_over && it.writable.calls.is_empty() {
            // In Node the sink has what was corked within this call.
            it.writable.corked = 0;
            state.step(id, &CLEAR);
        } else {
            it.writable.corked = 1;
            uncork(state, id);
        }
    }
    let Some(it) = stream(state, id) else { return };
    if failed.is_some() {
        // The write has reported it.
    } else if !it.flags.any(flag::ENDING | flag::ERRORED) {
        it.flags.set(flag::ENDING);
        let calls_user = it.hooks.finalize.is_some() || it.flags.any(flag::IS_TRANSFORM);
        if it.writable.calls.is_empty() && (now || !calls_user) {
            match now && !state.steps.is_empty() {
                // It finishes behind what was corked, and behind the sinks of the same source that come before.
                true => state.step(id, &END_BEHIND),
                false => ended(state, id),
            }
        } else {
            if it.writable.calls.is_empty() {
                it.flags.set(flag::WRITE_ENDED);
            }
            it.writable.calls.push_back(Call::End);
            schedule_calls(state, id);
        }
    } else if it.flags.any(flag::FINISHED) {
        failed = Some(already_finished());
    } else if it.flags.any(flag::DESTROYED) {
        failed = Some(destroyed_before("end"));
    }
    let Some(done) = done else { return };
    let Some(it) = stream(state, id) else { return };
    let errored = match it.flags.any(flag::ERRORED) {
        true => it.errored.clone(),
        false => None,
    };
    match failed.or(errored) {
        Some(error) => state.ticks.push(Task::Complete(done, Err(error))),
        None => it.writable.on_finished.push(done),
    }
}

/// The turn of `end` has come.
pub(super) fn ended(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    it.flags.set(flag::WRITE_ENDED);
    finish_maybe(state, id, true);
}

/// Tells the sink of the end once everything is written, or finishes (finishMaybe, prefinish).
pub(super) fn finish_maybe(state: &mut State, id: Id, sync: bool) {
    let Some(it) = stream(state, id) else { return };
    if !it.needs_finish() {
        return;
    }
    if !it.flags.any(flag::PREFINISHED | flag::FINAL_CALLED) {
        it.flags.set(flag::FINAL_CALLED);
        if it.hooks.finalize.is_some() || it.flags.any(flag::IS_TRANSFORM) {
            it.writable.pending += 1;
            state.step(id, &CALL_FINAL);
            return;
        }
        it.flags.set(flag::PREFINISHED);
    }
    if it.writable.pending == 0 {
        it.writable.pending += 1;
        match sync {
            true => state.tick(id, &FINISH_IF_NEEDED),
            false => finish(state, id),
        }
    }
}

fn call_final(core: &Core, id: Id) {
    let hook = core.with(|state| {
        let it = stream(state, id)?;
        if it.flags.any(flag::IS_TRANSFORM) {
            return Some(None);
        }
        let hook = it.hooks.finalize.take()?;
        it.outstanding += 1;
        it.flags.set(flag::WRITE_SYNC);
        Some(Some(hook))
    });
    match hook {
        Some(Some(hook)) => {
            let _over = SyncOver { core, id };
            let raw = core.raw(id);
            hook(raw, Done::new(raw, Question::Finalize));
        }
        Some(None) => transform::flush(core, id),
        None => {}
    }
}

/// The sink has done what it does at the end (onFinish).
pub(super) fn on_final(state: &mut State, id: Id, result: Result<()>) {
    let Some(it) = stream(state, id) else {
        if let Err(error) = result {
            state.bury(error);
        }
        return;
    };
    let sync = it.flags.any(flag::WRITE_SYNC);
    if it.tells_what_was_pushed() {
        it.writable.finalized = Some((result, sync));
        state.step(id, &FINALIZED);
    } else {
        finalized(state, id, result, sync);
    }
}

/// What follows that, when what the sink has pushed is told.
fn finalized(state: &mut State, id: Id, result: Result<()>, sync: bool) {
    let Some(it) = stream(state, id) else { return };
    it.writable.pending -= 1;
    if let Err(error) = result {
        let on_finished = std::mem::take(&mut it.writable.on_finished);
        let told = on_finished
            .into_iter()
            .map(|done| Task::CompleteWithin(done, Err(error.clone())));
        state.steps.extend(told);
        error_or_destroy(state, id, error, sync);
    } else if it.needs_finish() {
        it.flags.set(flag::PREFINISHED);
        it.writable.pending += 1;
        state.tick(id, &FINISH_TICK);
    }
}

/// The completions of `end`, then 'finish' (finish).
fn finish(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    it.writable.pending -= 1;
    it.flags.set(flag::FINISHED);
    let on_finished = std::mem::take(&mut it.writable.on_finished);
    let told = on_finished
        .into_iter()
        .map(|done| Task::CompleteWithin(done, Ok(())));
    state.steps.extend(told);
    state.step(id, &EMIT_FINISH);
    state.step(id, &AFTER_FINISH);
}

/// It is constructed: what waited for that is done.
pub(super) fn constructed(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    let ending = it.flags.any(flag::WRITE_ENDED);
    if !it.flags.any(flag::WRITING) {
        state.step(id, &CLEAR);
    }
    if ending {
        finish_maybe(state, id, false);
    }
}
