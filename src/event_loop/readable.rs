//! The readable side of a socket: Node's Readable, as far as a socket uses it.
//!
//! A socket reads from the moment it is connected. What comes goes to the 'data' listeners while
//! it **flows**; otherwise it is buffered, and when the buffer reaches the mark the socket stops
//! reading and the kernel pushes back to the peer. The names of Node's functions stand beside what
//! mirrors them.

use std::io;

use bytes::Bytes;

use super::core::Core;
use super::entry::{flag, stream_of};
use super::handle::{Id, Socket};
use super::own_buffer;
use super::socket;
use super::state::State;
use super::task::{SocketEvent, Task};
use super::text;
use super::trace;
use crate::ground::error::Error;
use crate::ground::mutations::mutated;

impl State {
    /// Starts to take data from the kernel (tryReadStart), unless the end was read or the buffer
    /// is full.
    pub(crate) fn want_more(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let flags = stream.common.flags;
        let length = stream.read_length();
        let full = length >= stream.read_mark as usize && length > 0;
        if full || flags.any(flag::READ_ENDED | flag::DESTROYED | flag::ERRORED | flag::ACTIVE) {
            return;
        }
        if flags.any(flag::UNCONNECTED | flag::CONNECTING) {
            // Once 'connect' has been emitted.
            stream.common.flags.set(flag::READ_WANTED);
            return;
        }
        self.set_reading(id, true);
    }

    /// Starts or stops taking data from the kernel. No system call: what the backend has said
    /// meanwhile is remembered, and served by the next turn.
    pub(crate) fn set_reading(&mut self, id: Id, reading: bool) {
        let State { entries, live, .. } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        if reading && stream.io.is_none() {
            return;
        }
        stream.common.set_active(reading, live);
        if stream.wants_service() {
            self.make_ready(id);
        }
    }

    /// Keeps bytes that nobody takes now, and stops reading at the mark (addChunk).
    pub(crate) fn buffer_chunk(&mut self, id: Id, chunk: Bytes) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        stream.extra().reads.push(chunk);
        let full = stream.read_length() >= stream.read_mark as usize;
        let flags = &mut stream.common.flags;
        // It flows although nobody listens: a tick lets the data go (emitReadable).
        let schedule = flags.any(flag::FLOWING) && !flags.any(flag::FLOW_SCHEDULED);
        if schedule {
            flags.set(flag::FLOW_SCHEDULED);
            self.ticks.push(Task::Flow(id));
        }
        if full {
            self.set_reading(id, false);
        }
        if self
            .stream(id)
            .is_some_and(|stream| stream.common.flags.any(flag::NEED_READABLE))
        {
            self.emit_readable(id);
        }
    }

    /// The peer has ended (onEofChunk). What is buffered goes first if the socket flows.
    pub(crate) fn read_end(&mut self, id: Id) {
        self.set_reading(id, false);
        let Some(stream) = self.stream(id) else {
            return;
        };
        stream.common.flags.set(flag::READ_ENDED);
        let waits = stream.read_length() > 0 || stream.has_rest();
        if stream.common.flags.any(flag::FLOWING) && waits {
            self.steps.push_back(Task::Flow(id));
        } else if stream.common.flags.any(flag::READABLE_LISTENING) {
            self.end_is_readable(id);
        } else {
            self.end_if_consumed(id);
        }
    }

    /// Schedules 'end' once everything before it was consumed (endReadable, N122).
    pub(crate) fn end_if_consumed(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let consumed = stream.read_length() == 0 && !stream.has_rest();
        let flags = &mut stream.common.flags;
        if consumed
            && flags.any(flag::READ_ENDED)
            && !flags.any(flag::END_SCHEDULED | flag::END_EMITTED)
        {
            flags.set(flag::END_SCHEDULED);
            match mutated!("'end' comes before the ticks") {
                true => self.steps.push_back(Task::EndReadable(id)),
                false => self.ticks.push(Task::EndReadable(id)),
            }
        }
    }

    /// Emits 'end' (endReadableNT).
    pub(crate) fn end_readable(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let consumed = stream.read_length() == 0 && !stream.has_rest();
        let flags = &mut stream.common.flags;
        flags.clear(flag::END_SCHEDULED);
        if !consumed || flags.any(flag::ERRORED | flag::CLOSE_EMITTED | flag::END_EMITTED) {
            return;
        }
        flags.set(flag::END_EMITTED);
        if !flags.any(flag::ALLOW_HALF_OPEN) {
            flags.set(flag::WRITE_AFTER_FIN);
        }
        self.steps.push_back(Task::Emit(id, SocketEvent::End));
        self.steps.push_back(Task::AfterEnd(id));
    }

    /// After 'end': without half-open a tick ends the other side (N123); if that has finished
    /// already the socket closes (N126).
    pub(crate) fn after_end(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let flags = stream.common.flags;
        let half_open = flags.any(flag::ALLOW_HALF_OPEN);
        let ends = match half_open {
            true => mutated!("allow_half_open is ignored"),
            false => !mutated!("every socket may stay half-open"),
        };
        if stream.is_writable() && ends {
            self.ticks.push(Task::EndWritable(id));
        } else if flags.any(flag::FINISHED) {
            self.destroy(id, None);
        }
    }

    /// A 'data' listener was added: the flow starts, unless the socket was paused (N157).
    pub(crate) fn start_flow(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let flags = stream.common.flags;
        if flags.any(flag::FLOWING) || !flags.any(flag::HAS_FLOWING) {
            self.resume(id);
        }
    }

    /// Lets the data flow, from a tick on (N159).
    pub(crate) fn resume(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let flags = &mut stream.common.flags;
        if flags.any(flag::DESTROYED) {
            return;
        }
        flags.clear(flag::PAUSED);
        if !flags.any(flag::FLOWING) {
            flags.set(flag::HAS_FLOWING);
            if !flags.any(flag::READABLE_LISTENING) {
                flags.set(flag::FLOWING);
            }
            if !flags.any(flag::RESUME_SCHEDULED) {
                flags.set(flag::RESUME_SCHEDULED);
                self.ticks.push(Task::Resume(id));
            }
        }
        self.resume_own(id);
    }

    /// The tick of `resume` (resume_).
    pub(crate) fn resume_on_tick(&mut self, id: Id) {
        self.want_more(id);
        let Some(stream) = self.stream(id) else {
            return;
        };
        stream.common.flags.clear(flag::RESUME_SCHEDULED);
        self.steps.push_back(Task::Emit(id, SocketEvent::Resume));
        self.steps.push_back(Task::Flow(id));
    }

    /// The same where it calls nobody and nothing was buffered, as for every connection that was just
    /// accepted. Returns false, and does nothing, if it is another case.
    pub(crate) fn resume_plainly(&mut self, id: Id) -> bool {
        const LOOKED_AT: u64 = flag::ACTIVE | flag::READ_ENDED | flag::FLOW_SCHEDULED;
        let Some(stream) = self.stream(id) else {
            return false;
        };
        let flags = &mut stream.common.flags;
        let plain = flags.of_these(LOOKED_AT) == flag::ACTIVE
            && stream.listeners.is_none()
            && stream.extra.is_none();
        if plain {
            flags.clear(flag::RESUME_SCHEDULED);
        }
        plain
    }

    /// Holds the data back; the socket reads on until its buffer reaches the mark (N154).
    pub(crate) fn pause(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let flags = &mut stream.common.flags;
        if flags.any(flag::DESTROYED) {
            return;
        }
        let was_paused = flags.any(flag::HAS_FLOWING) && !flags.any(flag::FLOWING);
        flags.clear(flag::FLOWING);
        flags.set(flag::HAS_FLOWING | flag::PAUSED);
        if mutated!("a paused socket stops reading at once") {
            self.set_reading(id, false);
        }
        if !was_paused {
            // Node emits 'pause' inside `pause`; contract rule 1 says on the next tick.
            self.ticks.push(Task::Emit(id, SocketEvent::Pause));
        }
        self.pause_own(id);
    }

    /// The next buffered chunk, if the socket flows; reading goes on as soon as there is room.
    fn next_chunk(&mut self, id: Id) -> Option<Bytes> {
        let stream = self.stream(id)?;
        if !stream.common.flags.any(flag::FLOWING) {
            return None;
        }
        let chunk = stream.extra.as_mut()?.reads.pop()?;
        self.want_more(id);
        Some(chunk)
    }

    /// How a socket's chunks are delivered.
    fn takes(&mut self, id: Id) -> Takes {
        let flags = self.stream(id).map(|stream| stream.common.flags);
        match flags {
            Some(flags) if flags.any(flag::OWN_BUFFER) => Takes::OwnBuffer,
            Some(flags) if flags.any(flag::DECODES) => Takes::Text,
            _ => Takes::Bytes,
        }
    }

    /// The flow has run dry, or was stopped.
    fn after_flow(&mut self, id: Id) {
        self.end_if_consumed(id);
        let Some(stream) = self.stream(id) else {
            return;
        };
        if stream.common.flags.any(flag::FLOWING) {
            self.want_more(id);
        }
    }

    /// A read failed (R12): the socket is destroyed with the error.
    pub(crate) fn read_failed(&mut self, id: Id, error: io::Error) {
        let error = self.read_error(error);
        self.destroy(id, Some(error));
    }

    /// The error of a read. The last one is kept and used again, since many peers in a row reset
    /// their connections: that needs one error for all of them.
    fn read_error(&mut self, error: io::Error) -> Error {
        if let Some(last) = &self.read_error
            && error.raw_os_error().is_some()
            && error.raw_os_error() == last.raw_os_error()
        {
            return last.clone();
        }
        self.read_error.insert(Error::system("read", error)).clone()
    }
}

/// Who is told of a chunk.
enum Takes {
    /// Listeners of 'data'.
    Bytes,
    /// Listeners of text, too.
    Text,
    /// The callback of the user's buffer, and nobody else.
    OwnBuffer,
}

/// Delivers what was buffered, chunk by chunk, as long as the socket flows (Node's flow, N160).
pub(crate) fn flow(core: &Core, id: Id) {
    let mut guard = FlowGuard {
        core,
        id,
        done: false,
    };
    core.inside(|state| {
        if let Some(stream) = state.stream(id) {
            stream.common.flags.clear(flag::FLOW_SCHEDULED);
        }
    });
    let socket = Socket(core.raw(id));
    while let Some(chunk) = core.inside(|state| state.next_chunk(id)) {
        if trace::on() {
            core.trace_data(id, chunk.len());
        }
        // Without a listener the data is lost, as in Node (N157, N158).
        match core.inside(|state| state.takes(id)) {
            Takes::Bytes => {
                core.emit(id, socket::data_slot, |listener| listener(socket, &chunk));
            }
            Takes::Text => text::deliver(core, id, &chunk),
            Takes::OwnBuffer => own_buffer::deliver_buffered(core, id, chunk),
        }
    }
    if let Some(rest) = core.inside(|state| state.take_rest(id)) {
        text::emit(core, id, &rest);
    }
    core.inside(|state| state.after_flow(id));
    guard.done = true;
}

/// Lets the flow go on later if a listener panics in the middle of it.
struct FlowGuard<'a> {
    core: &'a Core,
    id: Id,
    done: bool,
}

impl Drop for FlowGuard<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.core
                .with(|state| state.steps.push_front(Task::Flow(self.id)));
        }
    }
}
