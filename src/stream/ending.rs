//! How a stream begins and ends: Node's `internal/streams/destroy`, function by function.

use super::done::{Done, Question};
use super::readable;
use super::state::{CLOSE, ERROR, ERROR_WATCH, flag, stream};
use super::{finishing, writable};
use crate::event_loop::core::Core;
use crate::event_loop::extension::{Object, Work, quiet, told};
use crate::event_loop::handle::Id;
use crate::event_loop::state::State;
use crate::ground::error::{Error, Result};

static CALL_CONSTRUCT: Work = quiet("the stream is constructed", call_construct);
static CONSTRUCTED: Work = quiet("the stream is constructed", |core, id| {
    core.with(|state| on_construct(state, id));
});
static CALL_DESTROY: Work = quiet("the stream's own destroy", call_destroy);
static DESTROYED: Work = quiet("it was destroyed", |core, id| {
    core.with(|state| destroyed(state, id));
});
static TELL_LATE: Work = quiet("an error is told", |core, id| {
    core.with(|state| {
        if let Some(error) = stream(state, id).and_then(|it| it.late_error.take()) {
            tell(state, id, error);
        }
    });
});
static WATCH_ERROR: Work = quiet("pipes see 'error' first", watch_error);
static EMIT_ERROR: Work = told("'error'", emit_error);
static EMIT_CLOSE: Work = told("'close'", emit_close);

/// The tick behind the making of a stream that constructs itself (constructNT).
pub(super) fn begin(state: &mut State, id: Id) {
    if stream(state, id).is_some_and(|it| it.hooks.construct.is_some()) {
        state.tick(id, &CALL_CONSTRUCT);
    }
}

fn call_construct(core: &Core, id: Id) {
    let hook = core.with(|state| {
        let it = stream(state, id)?;
        let hook = it.hooks.construct.take()?;
        it.outstanding += 1;
        Some(hook)
    });
    if let Some(hook) = hook {
        let raw = core.raw(id);
        hook(raw, Done::new(raw, Question::Construct));
    }
}

pub(super) fn construct_done(state: &mut State, id: Id, result: Result<()>) {
    if let Some(it) = stream(state, id) {
        it.constructed = Some(result);
        state.tick(id, &CONSTRUCTED);
    }
}

/// It is constructed, or could not be (onConstruct).
fn on_construct(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    let result = it.constructed.take().unwrap_or(Ok(()));
    it.flags.set(flag::CONSTRUCTED);
    if it.flags.any(flag::DESTROYED) {
        // It waited for this.
        let error = it.destroy_error.take();
        own_destroy(state, id, error.or(result.err()), true);
    } else if let Err(error) = result {
        error_or_destroy(state, id, error, true);
    } else {
        readable::constructed(state, id);
        finishing::constructed(state, id);
    }
}

/// An error of the stream's own: it is destroyed, or without auto-destroy only told
/// (errorOrDestroy), on a tick or as soon as the caller has returned.
pub(super) fn error_or_destroy(state: &mut State, id: Id, error: Error, on_tick: bool) {
    let Some(it) = stream(state, id) else {
        state.bury(error);
        return;
    };
    if it.flags.any(flag::DESTROYED) {
        state.bury(error);
    } else if it.flags.any(flag::AUTO_DESTROY) {
        destroy(state, id, Some(error), true);
    } else {
        it.fail(&error);
        if !on_tick {
            tell(state, id, error);
        } else if it.late_error.is_none() {
            it.late_error = Some(error);
            state.tick(id, &TELL_LATE);
        } else {
            state.bury(error);
        }
    }
}

/// Tells an error, if it is the first that is told (emitErrorNT).
fn tell(state: &mut State, id: Id, error: Error) {
    match stream(state, id) {
        Some(it) if !it.flags.any(flag::ERROR_EMITTED) => {
            it.flags.set(flag::ERROR_EMITTED);
            it.told_error = Some(error);
            state.step(id, &WATCH_ERROR);
        }
        _ => state.bury(error),
    }
}

/// `destroy`. Only the first call counts. With `now` for the library itself, from a task or on a
/// tick's behalf: the stream's own `destroy` is called at once, else on a tick.
pub(super) fn destroy(state: &mut State, id: Id, error: Option<Error>, now: bool) {
    let it = match stream(state, id) {
        Some(it) if !it.flags.any(flag::DESTROYED) => it,
        _ => {
            if let Some(error) = error {
                state.bury(error);
            }
            return;
        }
    };
    let fails_something = !it.writable.buffered.is_empty() || !it.writable.on_finished.is_empty();
    if let Some(error) = &error {
        it.fail(error);
    }
    it.flags.set(flag::DESTROYED);
    let constructed = it.flags.any(flag::CONSTRUCTED);
    if !constructed {
        it.destroy_error = error.clone();
    }
    if fails_something {
        state.tick(id, &writable::ERROR_BUFFER);
    }
    if constructed {
        own_destroy(state, id, error, now);
    }
}

/// The stream's own `destroy`, if it has one (_destroy).
fn own_destroy(state: &mut State, id: Id, error: Option<Error>, now: bool) {
    let Some(it) = stream(state, id) else { return };
    if it.hooks.destroy.is_none() {
        on_destroy(state, id, error);
        return;
    }
    it.destroy_error = error;
    // Behind the writes that were called before: they are the sink's, which is not called once it is
    // destroyed.
    match now && it.writable.calls.is_empty() {
        true => state.step(id, &CALL_DESTROY),
        false => state.tick(id, &CALL_DESTROY),
    }
}

fn call_destroy(core: &Core, id: Id) {
    let hook = core.with(|state| {
        let it = stream(state, id)?;
        let hook = it.hooks.destroy.take()?;
        it.outstanding += 1;
        Some((hook, it.destroy_error.take()))
    });
    if let Some((hook, error)) = hook {
        let raw = core.raw(id);
        hook(raw, error, Done::new(raw, Question::Destroy));
    }
}

/// It is destroyed: a tick emits 'error' and 'close' (onDestroy).
pub(super) fn on_destroy(state: &mut State, id: Id, error: Option<Error>) {
    let Some(it) = stream(state, id) else {
        if let Some(error) = error {
            state.bury(error);
        }
        return;
    };
    if let Some(error) = &error {
        it.fail(error);
    }
    it.flags.set(flag::CLOSED);
    it.told_error = error.or(it.told_error.take());
    state.tick(id, &DESTROYED);
}

/// emitErrorCloseNT and emitCloseNT.
fn destroyed(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    if it.told_error.is_some() && !it.flags.any(flag::ERROR_EMITTED) {
        it.flags.set(flag::ERROR_EMITTED);
        state.step(id, &WATCH_ERROR);
    }
    state.step(id, &EMIT_CLOSE);
}

fn watch_error(core: &Core, id: Id) {
    let Some(error) = core.with(|state| stream(state, id)?.told_error.clone()) else {
        return;
    };
    let raw = core.raw(id);
    core.emit(id, ERROR_WATCH, |listener| listener(raw, &error));
    core.with(|state| state.step(id, &EMIT_ERROR));
}

fn emit_error(core: &Core, id: Id) {
    let Some(error) = core.with(|state| stream(state, id)?.told_error.take()) else {
        return;
    };
    let raw = core.raw(id);
    if !core.emit(id, ERROR, |listener| listener(raw, &error)) {
        core.uncaught(error);
    }
}

fn emit_close(core: &Core, id: Id) {
    let emits = core.with(|state| {
        let it = stream(state, id)?;
        it.flags.set(flag::CLOSE_EMITTED);
        let emits = it.flags.any(flag::EMIT_CLOSE);
        if it.outstanding > 0 {
            // They are not called any more, and may hold the very answer that the slot waits for.
            let hooks = std::mem::take(&mut it.hooks);
            state.bury(hooks);
        }
        // Whoever still waits is told.
        writable::error_buffer(state, id);
        state.reap(id);
        Some(emits)
    });
    if emits == Some(true) {
        let raw = core.raw(id);
        core.emit(id, CLOSE, |listener| listener(raw));
    }
}

/// An answer has come: if that was all that held the slot, it is freed.
pub(super) fn reap_if_over(state: &mut State, id: Id) {
    if stream(state, id).is_some_and(|it| it.is_over()) {
        state.reap(id);
    }
}
