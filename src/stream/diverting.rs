//! What is piped into a raw end need not be seen: for sources of the floors above that can hand their bytes
//! on as they are. How sockets do so is in `src/event_loop/diversion.rs`.

use std::rc::Rc;

use super::state::{flag, stream};
use super::traits::StreamId;
use crate::backend::KernelPipe;
use crate::event_loop::diversion::{Diversion, Diverter};
use crate::event_loop::handle::{Id, Raw};
use crate::event_loop::state::State;
use crate::event_loop::{table, trace};
use crate::ground::listeners::ListenerId;

/// A pipe says where the bytes of a stream may go.
pub(super) fn divert(raw: Raw, listener: ListenerId, to: StreamId, pipe: Rc<dyn Diverter>) {
    if to.0.index != raw.index {
        return;
    }
    let mut diversion = Some(Diversion {
        listener,
        to: to.0.id(),
        pipe,
        doubts: 0,
    });
    table::with(raw, |state, id| {
        let place = &mut stream(state, id)?.readable.diversion;
        if !place.as_ref().is_some_and(|old| old.listener == listener) {
            let old = place.replace(diversion.take()?);
            state.bury(old?);
        }
        Some(())
    });
}

/// The socket that gets the bytes of a stream at this moment without anybody seeing them, and the pipe that has
/// it so.
fn diverted(state: &mut State, id: Id) -> Option<(Id, Rc<dyn Diverter>)> {
    let it = stream(state, id)?;
    let diversion = it.readable.diversion.as_ref()?;
    let flows = it.flags.any(flag::FLOWING) && !it.flags.any(flag::DESTROYED | flag::ERRORED);
    let waits = it.readable.buffer.length() > 0 || !it.readable.direct.is_empty();
    if waits || !flows || !it.listeners.data.is_sole(diversion.listener) {
        return None;
    }
    let (to, pipe) = (diversion.to, diversion.pipe.clone());
    state.takes_at_once(to).then_some((to, pipe))
}

/// A pipe of the kernel's to fill with a stream's bytes, if they would go on unseen at this moment. From now
/// on it is one of those that send in this way, until it has [finished](finish).
pub(crate) fn begin(raw: Raw) -> Option<KernelPipe> {
    table::with(raw, |state, id| {
        diverted(state, id)?;
        state.backend.begin_filling()
    })
    .flatten()
}

/// One that did begin is through.
pub(crate) fn finish(raw: Raw) {
    table::with(raw, |state, _| state.backend.finish_filling());
}

/// Whether others have begun, too.
pub(crate) fn has_company(raw: Raw) -> bool {
    table::with(raw, |state, _| state.backend.filling() > 1) == Some(true)
}

/// Another pipe for one that has begun.
pub(crate) fn lend_pipe(raw: Raw) -> Option<KernelPipe> {
    table::with(raw, |state, _| state.backend.lend_pipe()).flatten()
}

/// Such a pipe comes back, if it is empty; else it was closed.
pub(crate) fn give_back(raw: Raw, pipe: Option<KernelPipe>) {
    table::with(raw, |state, _| state.backend.give_back_pipe(pipe));
}

/// A socket was told that more follows, and nothing does.
pub(crate) fn push_out(raw: Raw, to: Id) {
    table::with(raw, |state, _| state.push_out(to));
}

/// Hands the first `size` bytes that are in a pipe on, as one chunk; `has_more` if the next are in a pipe, too.
/// If those do not follow after all, what TCP holds back for them has to be [pushed out](push_out). Returns the
/// socket that has got the chunk. None, and nothing was done, if somebody wants to see the bytes by now, or
/// nobody takes them.
pub(crate) fn hand_on(
    raw: Raw,
    pipe: &mut Option<KernelPipe>,
    size: usize,
    has_more: bool,
) -> Option<Id> {
    let passed = table::with(raw, |state, id| {
        let (to, diverter) = diverted(state, id)?;
        stream(state, id)?.flags.set(flag::DATA_EMITTED);
        Some((to, state.write_spliced(to, pipe, size, has_more), diverter))
    });
    let (to, more, diverter) = passed.flatten()?;
    if trace::on()
        && let Some(core) = table::find(raw.index)
    {
        core.trace_data(raw.id(), size);
    }
    diverter.passed(more);
    Some(to)
}
