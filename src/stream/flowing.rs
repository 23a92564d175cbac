//! How the readable half flows, is paused, and ends. The names of Node's functions stand beside what
//! mirrors them.

use super::ending::destroy;
use super::finishing;
use super::readable::{
    Begun, READ_ZERO, Then, begin_read, call_source, emit_data, emit_readable, finish_read,
    read_zero,
};
use super::state::{END, PAUSE, RESUME, flag, stream};
use crate::event_loop::core::Core;
use crate::event_loop::extension::{Work, quiet, told};
use crate::event_loop::handle::Id;
use crate::event_loop::state::State;

pub(super) static FLOW: Work = quiet("what was buffered flows", flow);
static FLOW_TAKE: Work = quiet("what was buffered flows", flow_take);
static READ_IF_FLOWING: Work = quiet("the source is asked for more", read_if_flowing);
static RESUME_TICK: Work = quiet("reading goes on", resume_on_tick);
static RESUMED: Work = told("'resume'", resumed);
static PAUSED: Work = told("'pause'", |core, id| {
    let raw = core.raw(id);
    core.emit(id, PAUSE, |listener| listener(raw));
});
static END_READABLE: Work = quiet("the source has ended", end_readable_on_tick);
static EMIT_END: Work = told("'end'", |core, id| {
    let raw = core.raw(id);
    core.emit(id, END, |listener| listener(raw));
});
static AFTER_END: Work = quiet("what follows 'end'", |core, id| {
    core.with(|state| after_end(state, id));
});
static LISTENING: Work = quiet("who listens to 'readable' has changed", |core, id| {
    core.with(|state| update_readable_listening(state, id));
});

/// Delivers what is buffered, a chunk at a time, as long as it flows.
fn flow(core: &Core, id: Id) {
    let begun = core.with(|state| {
        let flows = stream(state, id)?.flags.any(flag::FLOWING);
        flows.then(|| begin_read(state, id, None))
    });
    match begun {
        Some(Begun::Ask) => call_source(core, id, &FLOW_TAKE),
        Some(Begun::Take) => flow_take(core, id),
        Some(Begun::Over) | None => {}
    }
}

fn flow_take(core: &Core, id: Id) {
    let taken = core.with(|state| {
        let chunk = finish_read(state, id, None)?;
        let over = flag::ERROR_EMITTED | flag::CLOSE_EMITTED;
        Some((chunk, stream(state, id)?.flags.any(over)))
    });
    if let Some((chunk, over)) = taken {
        let _then = Then {
            core,
            id,
            work: &FLOW,
        };
        if !over {
            emit_data(core, id, &chunk);
        }
    }
}

/// Lets the data flow, from a tick on, unless somebody listens to 'readable'.
pub(super) fn resume(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    if it.flags.any(flag::DESTROYED) {
        return;
    }
    let schedule = !it.flags.any(flag::FLOWING);
    if schedule {
        it.flags.set(flag::HAS_FLOWING);
        if !it.flags.any(flag::READABLE_LISTENING) {
            it.flags.set(flag::FLOWING);
        }
    }
    it.flags.set(flag::HAS_PAUSED);
    it.flags.clear(flag::PAUSED);
    if schedule && !it.flags.any(flag::RESUME_SCHEDULED) {
        it.flags.set(flag::RESUME_SCHEDULED);
        state.tick(id, &RESUME_TICK);
    }
}

/// The tick of `resume` (resume_).
fn resume_on_tick(core: &Core, id: Id) {
    core.with(|state| {
        let Some(it) = stream(state, id) else { return };
        if !it.flags.any(flag::READING) {
            state.step(id, &READ_ZERO);
        }
        for work in [&RESUMED, &FLOW, &READ_IF_FLOWING] {
            state.step(id, work);
        }
    });
}

fn resumed(core: &Core, id: Id) {
    core.with(|state| {
        if let Some(it) = stream(state, id) {
            it.flags.clear(flag::RESUME_SCHEDULED);
        }
    });
    let raw = core.raw(id);
    core.emit(id, RESUME, |listener| listener(raw));
}

fn read_if_flowing(core: &Core, id: Id) {
    let wants = core.with(|state| {
        let flags = stream(state, id)?.flags;
        Some(flags.any(flag::FLOWING) && !flags.any(flag::READING))
    });
    if wants == Some(true) {
        read_zero(core, id);
    }
}

/// Holds the data back. 'pause' comes on the next tick: contract rule 1.
pub(super) fn pause(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    if it.flags.any(flag::DESTROYED) {
        return;
    }
    let was_paused = it.flags.any(flag::HAS_FLOWING) && !it.flags.any(flag::FLOWING);
    it.flags
        .set(flag::HAS_FLOWING | flag::HAS_PAUSED | flag::PAUSED);
    it.flags.clear(flag::FLOWING);
    if !was_paused {
        state.tick(id, &PAUSED);
    }
}

/// A listener of 'data' was added.
pub(super) fn listens_to_data(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    if !it.listeners.readable.is_empty() {
        it.flags.set(flag::READABLE_LISTENING);
    }
    if it.flags.any(flag::FLOWING) || !it.flags.any(flag::HAS_FLOWING) {
        resume(state, id);
    }
}

/// A listener of 'readable' was added.
pub(super) fn listens_to_readable(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    if it.flags.any(flag::END_EMITTED | flag::READABLE_LISTENING) {
        return;
    }
    it.flags
        .set(flag::READABLE_LISTENING | flag::NEED_READABLE | flag::HAS_FLOWING);
    it.flags.clear(flag::FLOWING | flag::EMITTED_READABLE);
    if it.readable.buffer.length() > 0 {
        emit_readable(state, id);
        return;
    }
    let pending = it.flags.any(flag::EOF_READABLE_PENDING);
    it.flags.clear(flag::EOF_READABLE_PENDING);
    let reading = it.flags.any(flag::READING);
    if pending {
        emit_readable(state, id);
    }
    if !reading {
        state.tick(id, &READ_ZERO);
    }
}

/// A listener of 'readable' was removed.
pub(super) fn stopped_listening(state: &mut State, id: Id) {
    state.tick(id, &LISTENING);
}

/// The tick behind a change among the listeners of 'readable' (updateReadableListening).
fn update_readable_listening(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    match it.listeners.readable.is_empty() {
        true => it.flags.clear(flag::READABLE_LISTENING),
        false => it.flags.set(flag::READABLE_LISTENING),
    }
    let resumes = it.flags.all(flag::HAS_PAUSED | flag::RESUME_SCHEDULED);
    if resumes && !it.flags.any(flag::PAUSED) {
        it.flags.set(flag::HAS_FLOWING | flag::FLOWING);
    } else if !it.listeners.data.is_empty() {
        resume(state, id);
    } else if !it.flags.any(flag::READABLE_LISTENING) {
        it.flags.clear(flag::HAS_FLOWING | flag::FLOWING);
    }
}

/// A tick will emit 'end' (endReadable).
pub(super) fn end_readable(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    if !it.flags.any(flag::END_EMITTED | flag::END_SCHEDULED) {
        it.flags.set(flag::ENDED | flag::END_SCHEDULED);
        state.tick(id, &END_READABLE);
    }
}

/// Emits 'end' (endReadableNT).
fn end_readable_on_tick(core: &Core, id: Id) {
    core.with(|state| {
        let Some(it) = stream(state, id) else { return };
        it.flags.clear(flag::END_SCHEDULED);
        let over = flag::ERRORED | flag::CLOSE_EMITTED | flag::END_EMITTED;
        let left = it.readable.buffer.length() > 0 || !it.readable.direct.is_empty();
        if left || it.flags.any(over) {
            return;
        }
        it.flags.set(flag::END_EMITTED);
        state.step(id, &EMIT_END);
        state.step(id, &AFTER_END);
    });
}

fn after_end(state: &mut State, id: Id) {
    let Some(it) = stream(state, id) else { return };
    let writable_done = it.flags.any(flag::FINISHED) || !it.flags.any(flag::IS_WRITABLE);
    if it.is_writable() && !it.flags.any(flag::ALLOW_HALF_OPEN) {
        state.tick(id, &finishing::END_WRITABLE);
    } else if it.flags.any(flag::AUTO_DESTROY) && writable_done {
        destroy(state, id, None, true);
    }
}
