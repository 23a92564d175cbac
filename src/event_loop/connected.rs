//! What follows when a connection stands: 'connect', what waited for it, 'ready', and reading.
//!
//! In Node what is written before waits as a listener of 'connect' that is there for once, and so does a
//! reset. So each is done between the listeners that were there before and those that came after (N99,
//! N107).

use super::core::Core;
use super::entry::{flag, stream_of};
use super::handle::{Id, Socket};
use super::socket;
use super::state::State;
use super::task::{SocketEvent, Task};
use crate::ground::listeners::Listener;
use crate::ground::stream_errors::socket_closed;

/// What waits for the connection like a listener of 'connect' that is there for once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaiting {
    /// What was written.
    Write,
    /// `reset_and_destroy`.
    Reset,
}

impl State {
    /// Notes that something waits for 'connect', behind the listeners that are there (N99, N107).
    pub(crate) fn await_connect(&mut self, id: Id, what: Awaiting) {
        let last_listener = self.last_listener_id();
        if let Some(stream) = self.stream(id) {
            let awaits = &mut stream.extra().awaits_connect;
            if awaits.iter().all(|(_, waits)| *waits != what) {
                awaits.push((last_listener, what));
            }
        }
    }

    /// What was written before the connection stood is handed down.
    pub(crate) fn flush_pending(&mut self, id: Id) {
        let State { entries, live, .. } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        if !stream.common.flags.any(flag::WRITE_PENDING) {
            return;
        }
        // What this makes steps of comes before those that wait already.
        let later = std::mem::take(&mut self.steps);
        if stream.common.flags.any(flag::DESTROYED) {
            // By a listener of 'connect'.
            self.fail_in_flight(id, socket_closed(), false);
        } else {
            stream.common.flags.clear(flag::WRITE_PENDING);
            live.requests += 1;
            self.touch_writing(id);
            self.flush_queue(id);
        }
        self.steps.extend(later);
    }

    /// After 'connect': an end that waited for it.
    pub(crate) fn after_connect(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let flags = stream.common.flags;
        if flags.any(flag::FINAL_CALLED) && !flags.any(flag::DESTROYED) {
            self.ask_for_shutdown(id);
        }
    }

    /// After 'ready': reading starts, unless the socket was paused before anybody wanted data.
    pub(crate) fn after_ready(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let flags = stream.common.flags;
        let wanted = flags.any(flag::READ_WANTED);
        stream.common.flags.clear(flag::READ_WANTED);
        if flags.any(flag::DESTROYED) {
            return;
        }
        if wanted || !stream.is_paused() {
            self.set_reading(id, true);
        }
    }
}

/// Emits 'connect'. What waits for it is done between the listeners that were there before it was asked for
/// and the others.
pub(crate) fn emit_connect(core: &Core, id: Id) {
    let socket = Socket(core.raw(id));
    let slot = socket::slot_of(SocketEvent::Connect);
    let first = core.with(|state| {
        let awaits = std::mem::take(&mut state.stream(id)?.extra.as_mut()?.awaits_connect);
        let mut until = None;
        for (behind, what) in awaits.into_iter().rev() {
            // It is one emission: a listener that is added within it waits for the next, one that is removed is
            // still called (N16).
            let rest = match state.entry(id).and_then(|entry| slot(entry, false)) {
                Some(slot) => slot.between(behind, until),
                None => Vec::new(),
            };
            state.steps.push_front(Task::EmitConnectRest(id, rest));
            state.steps.push_front(Task::Connected(id, what));
            until = Some(behind);
        }
        until
    });
    let Some(first) = first else {
        core.emit(id, slot, |listener| listener(socket));
        return;
    };
    core.emit_where(
        id,
        slot,
        |listener| listener.id.0 <= first.0,
        |listener| listener(socket),
    );
}

/// Goes on with the emission of 'connect', behind something that waited for it.
pub(crate) fn emit_rest_of_connect(core: &Core, id: Id, rest: Vec<Listener<dyn FnMut(Socket)>>) {
    let socket = Socket(core.raw(id));
    for listener in rest {
        if listener.once {
            core.with(|state| {
                let entry = state.entry(id)?;
                let removed = entry.remove_listener(listener.id)?;
                state.bury(removed);
                Some(())
            });
        }
        listener.call.borrow_mut()(socket);
    }
}
