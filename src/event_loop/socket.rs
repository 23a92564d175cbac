//! The life of a socket: its listeners, its end, its close.

use std::net::SocketAddr;

use super::core::{Core, SlotOf};
use super::entry::{Entry, LookupListener, SocketListeners, Stream, flag, stream_of};
use super::handle::{Id, Socket};
use super::state::{Closed, Reap, State};
use super::task::{SocketEvent, Task};
use super::trace;
use crate::ground::error::{Error, Result};
use crate::ground::listeners::Slot;
use crate::ground::mutations::mutated;

impl State {
    /// `destroy`: the descriptor is closed now, 'close' comes in the closing phase (N127, N147).
    /// Only the first call counts (N129).
    pub(crate) fn destroy(&mut self, id: Id, error: Option<Error>) {
        if !self.gather.is_empty() {
            self.flush(id);
        }
        let stream = match stream_of(&mut self.entries, id) {
            Some(stream) if !stream.common.flags.any(flag::DESTROYED) => stream,
            _ => {
                // It may be a user's, and the last of it: not dropped under the borrow.
                if let Some(error) = error {
                    self.bury(error);
                }
                return;
            }
        };
        let fails_something = stream
            .extra
            .as_ref()
            .is_some_and(|extra| extra.writes.has_buffered() || !extra.on_finished.is_empty());
        stream.common.flags.set(flag::DESTROYED);
        let flags = stream.common.flags;
        let had_handle = !flags.any(flag::UNCONNECTED) && !mutated!("'close' before its phase");
        let had_error = error.is_some();
        if let Some(error) = &error {
            stream.fail(error);
        }
        // READ_WANTED stays for the next connection: in Node it is a listener of 'connect'.
        let gone = flag::CONNECTING | flag::CONNECT_PENDING | flag::TIMEOUT | flag::COUNTED;
        stream.common.flags.clear(gone);
        if let Some(extra) = &mut stream.extra {
            // N209: no timeout outlives its connection.
            extra.idle = None;
        }
        // It stays in its slot until its 'close', whatever comes between. A socket that is connected
        // again before may owe several.
        match flags.any(flag::CLOSE_DUE) {
            true => stream.extra().more_closes_due += 1,
            false => stream.common.flags.set(flag::CLOSE_DUE),
        }
        stream.common.flags.set(flag::UNCONNECTED);
        let io = stream.io.take();
        let server = stream.server.id();
        stream.common.set_active(false, &mut self.live);
        if flags.any(flag::CONNECT_PENDING) {
            self.live.requests -= 1;
        }
        if fails_something {
            self.ticks.push(Task::ErrorBuffer(id));
        }
        if flags.any(flag::CONNECTING) {
            self.abandon_look_ups(id);
            self.give_up_attempts(id);
        }
        if let Some(mut io) = io {
            if flags.any(flag::HANDED_OUT) {
                self.backend.deregister(&mut io);
            }
            self.backend.close(io);
            // A descriptor is free: servers that lack one may try again.
            self.stalled_until_ms = 0;
        }
        if had_handle {
            self.closing.push(Closed { id, had_error });
        }
        self.ticks.push(Task::Destroyed(id, error));
        if !had_handle {
            // Nothing is closed, so 'close' needs no phase, and says nothing of an error (N111).
            self.ticks.push(Task::EmitClose(id));
        }
        if flags.any(flag::COUNTED) {
            self.connection_ended(server);
        }
    }

    /// Whether anybody listens to anything but 'data' and 'close'.
    fn has_listeners(&mut self, id: Id) -> bool {
        self.stream(id)
            .is_some_and(|stream| stream.listeners.is_some())
    }

    /// Whether somebody sees its 'error' before the listeners do, and has not yet.
    fn is_error_watched(&mut self, id: Id) -> bool {
        let Some(stream) = self.stream(id) else {
            return false;
        };
        let more = stream.listeners.as_ref();
        let watched = more.is_some_and(|more| !more.error_watch.is_empty());
        let first = !stream.common.flags.any(flag::ERROR_WATCHED);
        stream.common.flags.set(flag::ERROR_WATCHED);
        watched && first
    }

    /// The local address, remembered once it was asked for; none after `destroy` (N142).
    pub(crate) fn local_address(&mut self, id: Id) -> Option<SocketAddr> {
        let State {
            entries, backend, ..
        } = self;
        let stream = stream_of(entries, id)?;
        let io = stream.io.as_ref()?;
        if let Some(address) = stream.extra.as_ref().and_then(|extra| extra.local) {
            return Some(address);
        }
        let address = backend.local_address(io).ok()?;
        stream.extra().local = Some(address);
        Some(address)
    }

    /// Whether something of a closed object is to be told in front of its 'close'. Most sockets had
    /// nothing under way.
    fn has_to_cancel(&mut self, id: Id) -> bool {
        self.stream(id).is_none_or(|stream| {
            let flags = stream.common.flags;
            stream.extra.is_some() || flags.any(flag::WRITING | flag::SHUTDOWN_PENDING)
        })
    }

    /// What the closing phase does next; None at its end. A socket without a listener of 'close' and
    /// with nothing under way is freed with this look.
    fn next_to_close(&mut self, trace: bool) -> Option<Closing> {
        const LOOKED_AT: u64 =
            flag::DESTROYED | flag::CLOSE_DUE | flag::WRITING | flag::SHUTDOWN_PENDING | flag::KEPT;
        let Closed { id, had_error } = *self.closing_now.last()?;
        let is_unheard = self.is_quiet()
            && !trace
            && self.stream(id).is_some_and(|stream| {
                stream.common.flags.of_these(LOOKED_AT) == flag::DESTROYED | flag::CLOSE_DUE
                    && stream.extra.is_none()
                    && stream.close.is_empty()
            });
        if !is_unheard {
            return Some(Closing::Told(id, had_error));
        }
        self.closing_now.pop();
        match self.entries.remove(id.key as usize) {
            // Moving all of it about costs more than looking at the rest of it.
            Entry::Stream(Stream {
                data,
                listeners,
                errored,
                ..
            }) => Some(Closing::Unheard(id, (data, listeners, errored))),
            _ => unreachable!("looked at above"),
        }
    }

    /// A half-close that was asked for and has not happened is void: its 'finish' does not come. Returns
    /// whether there was one.
    fn forget_shutdown(&mut self, id: Id) -> bool {
        let State { entries, live, .. } = self;
        let Some(stream) = stream_of(entries, id) else {
            return false;
        };
        let asked = stream.common.flags.any(flag::SHUTDOWN_PENDING);
        if asked {
            stream.common.flags.clear(flag::SHUTDOWN_PENDING);
            live.requests -= 1;
        }
        asked
    }

    /// What is void holds the loop no longer.
    fn forget_void_pending(&mut self) {
        let State {
            entries, pending, ..
        } = self;
        pending.retain(|id| {
            let flags = stream_of(entries, *id).map(|stream| stream.common.flags);
            flags.is_some_and(|it| it.any(flag::SHUTDOWN_PENDING | flag::CONNECT_PENDING))
        });
    }
}

/// What of a socket may hold something of the user's, if it has nothing under way.
type OfUsers = (
    Slot<dyn FnMut(Socket, &[u8])>,
    Option<Box<SocketListeners>>,
    Option<Error>,
);

/// What the closing phase does next.
enum Closing {
    /// Frees a socket of whose end nobody wants to know. Its listeners may be the last to hold
    /// something of the user's, so they are dropped unborrowed.
    Unheard(Id, OfUsers),
    /// Tells of the end, and whether there was an error.
    Told(Id, bool),
}

/// The closing phase: what was closed since the last one, in reverse order (L50, L51). For each
/// socket what is in flight is cancelled, then comes 'close' (L52); each is a loop callback.
pub(crate) fn run_closing(core: &Core) -> Result<()> {
    core.inside(|state| {
        if state.closing_now.is_empty() {
            std::mem::swap(&mut state.closing_now, &mut state.closing);
            if mutated!("'close' in the order of closing") {
                state.closing_now.reverse();
            }
        }
    });
    run_rest_of_closing(core)
}

/// The rest of those that a closing phase has begun with.
pub(crate) fn run_rest_of_closing(core: &Core) -> Result<()> {
    let mut void = Void { core, any: false };
    // An object leaves the list when its 'close' is about to be emitted, so that it stays if
    // `run` ends before.
    loop {
        // A logger is asked, so it is asked unborrowed.
        let trace = trace::on();
        let Some(closing) = core.inside(|state| state.next_to_close(trace)) else {
            break;
        };
        let (id, had_error) = match closing {
            Closing::Unheard(id, of_users) => {
                let socket = Socket(core.raw(id));
                core.tell(|| log::debug!(target: "nodeloop::net", "{socket:?} closed"));
                drop(of_users);
                core.finish_callback()?;
                continue;
            }
            Closing::Told(id, had_error) => (id, had_error),
        };
        if core.inside(|state| state.has_to_cancel(id)) {
            void.any |= core.inside(|state| {
                state.tell_cancelled_attempt(id);
                state.cancel_in_flight(id);
                let void = state.forget_shutdown(id);
                state.cancel_datagrams(id);
                void
            });
            core.finish_callback()?;
        }
        let is_socket = core.inside(|state| {
            state.closing_now.pop();
            state.stream(id).is_some()
        });
        if is_socket {
            if trace {
                core.trace_task(false, &Task::EmitClose(id));
            }
            core.callback(|core| emit_close(core, id, had_error))?;
        }
    }
    Ok(())
}

/// Half-closes that have become void; forgotten when the phase is over, also by an error or a panic.
struct Void<'a> {
    core: &'a Core,
    any: bool,
}

impl Drop for Void<'_> {
    fn drop(&mut self) {
        if self.any {
            self.core.inside(State::forget_void_pending);
        }
    }
}

/// The tick behind `destroy` (emitErrorCloseNT).
pub(crate) fn destroyed_on_tick(core: &Core, id: Id, error: Option<Error>) {
    let has_life = core.with(|state| {
        let Some(stream) = state.stream(id) else {
            return false;
        };
        stream.common.flags.set(flag::CLOSE_EMITTED);
        if error.is_some() {
            stream.common.flags.set(flag::ERROR_EMITTED);
        }
        true
    });
    // Without its object the error is dropped here, unborrowed.
    let Some(error) = error.filter(|_| has_life) else {
        return;
    };
    if trace::on() {
        core.trace_task(true, &Task::EmitError(id, error.clone()));
    }
    if mutated!("'error' is told twice") {
        emit_error(core, id, error.clone());
    }
    // It is all that this tick does, so it needs no step.
    emit_error(core, id, error);
}

/// Emits 'error'.
pub(crate) fn emit_error(core: &Core, id: Id, error: Error) {
    let socket = Socket(core.raw(id));
    if !core.with(|state| state.has_listeners(id)) {
        return core.uncaught(error);
    }
    if core.with(|state| state.is_error_watched(id)) {
        // Pipes first; what they cause comes before the listeners.
        core.emit(id, error_watch_slot, |listener| listener(socket, &error));
        core.with(|state| state.steps.push_back(Task::EmitError(id, error)));
        return;
    }
    if !core.emit(id, error_slot, |listener| listener(socket, &error)) {
        core.uncaught(error);
    }
}

/// Emits 'close'.
pub(crate) fn emit_close(core: &Core, id: Id, had_error: bool) {
    core.with(|state| close_emission(state, id));
    let had_error = had_error && !mutated!("'close' knows of no error");
    let socket = Socket(core.raw(id));
    core.tell(|| log::debug!(target: "nodeloop::net", "{socket:?} closed"));
    core.emit(id, close_slot, |listener| listener(socket, had_error));
}

/// A 'close' is due no more, and the object is to be freed when its ticks have run.
fn close_emission(state: &mut State, id: Id) {
    state.reap.push(Reap::Entry(id));
    let Some(stream) = state.stream(id) else {
        return;
    };
    match &mut stream.extra {
        Some(extra) if extra.more_closes_due > 0 => extra.more_closes_due -= 1,
        _ => stream.common.flags.clear(flag::CLOSE_DUE),
    }
}

/// The slot of 'data'.
pub(crate) fn data_slot(
    entry: &mut Entry,
    _create: bool,
) -> Option<&mut Slot<dyn FnMut(Socket, &[u8])>> {
    match entry {
        Entry::Stream(stream) => Some(&mut stream.data),
        Entry::Server(_) | Entry::Datagram(_) | Entry::Extension(_) => None,
    }
}

/// The slot of 'close'.
pub(crate) fn close_slot(
    entry: &mut Entry,
    _create: bool,
) -> Option<&mut Slot<dyn FnMut(Socket, bool)>> {
    match entry {
        Entry::Stream(stream) => Some(&mut stream.close),
        Entry::Server(_) | Entry::Datagram(_) | Entry::Extension(_) => None,
    }
}

/// The slot of 'error'.
pub(crate) fn error_slot(
    entry: &mut Entry,
    create: bool,
) -> Option<&mut Slot<dyn FnMut(Socket, &Error)>> {
    Some(&mut listeners(entry, create)?.error)
}

/// The slot of 'readable'.
pub(crate) fn readable_slot(
    entry: &mut Entry,
    create: bool,
) -> Option<&mut Slot<dyn FnMut(Socket)>> {
    Some(&mut listeners(entry, create)?.readable)
}

/// The slot of those who see 'error' first.
pub(crate) fn error_watch_slot(
    entry: &mut Entry,
    create: bool,
) -> Option<&mut Slot<dyn FnMut(Socket, &Error)>> {
    Some(&mut listeners(entry, create)?.error_watch)
}

/// The slot of 'connectionAttempt'.
pub(crate) fn attempt_slot(
    entry: &mut Entry,
    create: bool,
) -> Option<&mut Slot<dyn FnMut(Socket, SocketAddr)>> {
    Some(&mut listeners(entry, create)?.attempt)
}

/// The slot of 'connectionAttemptTimeout'.
pub(crate) fn attempt_timeout_slot(
    entry: &mut Entry,
    create: bool,
) -> Option<&mut Slot<dyn FnMut(Socket, SocketAddr)>> {
    Some(&mut listeners(entry, create)?.attempt_timeout)
}

/// The slot of 'lookup'.
pub(crate) fn lookup_slot(entry: &mut Entry, create: bool) -> Option<&mut Slot<LookupListener>> {
    Some(&mut listeners(entry, create)?.lookup)
}

/// The slot of 'connectionAttemptFailed'.
pub(crate) fn attempt_failed_slot(
    entry: &mut Entry,
    create: bool,
) -> Option<&mut Slot<dyn FnMut(Socket, SocketAddr, &Error)>> {
    Some(&mut listeners(entry, create)?.attempt_failed)
}

/// The slot of an event without arguments.
pub(crate) fn slot_of(event: SocketEvent) -> SlotOf<dyn FnMut(Socket)> {
    match event {
        SocketEvent::Drain => |entry, create| Some(&mut listeners(entry, create)?.drain),
        SocketEvent::End => |entry, create| Some(&mut listeners(entry, create)?.end),
        SocketEvent::Finish => |entry, create| Some(&mut listeners(entry, create)?.finish),
        SocketEvent::Connect => |entry, create| Some(&mut listeners(entry, create)?.connect),
        SocketEvent::Ready => |entry, create| Some(&mut listeners(entry, create)?.ready),
        SocketEvent::Pause => |entry, create| Some(&mut listeners(entry, create)?.pause),
        SocketEvent::Timeout => |entry, create| Some(&mut listeners(entry, create)?.timeout),
        SocketEvent::Resume => |entry, create| Some(&mut listeners(entry, create)?.resume),
    }
}

fn listeners(entry: &mut Entry, create: bool) -> Option<&mut SocketListeners> {
    let Entry::Stream(stream) = entry else {
        return None;
    };
    if create {
        return Some(stream.listeners.get_or_insert_default());
    }
    stream.listeners.as_deref_mut()
}
