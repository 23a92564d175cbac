//! Dispatch: from what the backend says is ready to the listeners.
//!
//! After a wait the whole batch becomes bits in the slab before any user code runs ([`harvest`]);
//! then each object is served ([`serve_batch`]). An event is a hint, never the truth: serving
//! looks at the object's present state. An object leaves the batch only when its share of the turn
//! is over, so a panic or an error that ends `run` in the middle loses no edge.

use std::io;

use bytes::Bytes;

use super::accept;
use super::core::Core;
use super::datagram_receive;
use super::entry::{Entry, Stream, entry_of, flag, stream_of};
use super::handle::{Id, Socket};
use super::state::State;
use crate::backend::ready;
use crate::ground::error::{Error, Result};
use crate::ground::listeners::Taken;

/// Turns the events of the last wait into bits in the slab, and appends who is to be served to
/// the batch. Returns how many events there were.
pub(crate) fn harvest(state: &mut State) -> usize {
    let State {
        entries,
        backend,
        batch,
        settings,
        ..
    } = state;
    let mut events = 0;
    backend.events(|token, bits| {
        events += 1;
        let key = token as u32;
        let Some(entry) = entries.get_mut(key as usize) else {
            return;
        };
        let serial = entry.common().serial;
        // A descriptor that was handed to somebody else may outlive its object here.
        if State::token(Id { key, serial }) != token {
            return;
        }
        if entry.take_note(bits) && !entry.common().flags.any(flag::QUEUED) {
            entry.common_mut().flags.set(flag::QUEUED);
            batch.push(Id { key, serial });
        }
    });
    if settings.spurious_events {
        invent_events(state);
    }
    events
}

/// Makes everything look ready, for tests: an event is only a hint.
fn invent_events(state: &mut State) {
    let State { entries, batch, .. } = state;
    for (key, entry) in entries.iter_mut() {
        let wanted = entry.take_note(ready::READABLE | ready::WRITABLE);
        let common = entry.common_mut();
        if wanted && !common.flags.any(flag::QUEUED) {
            common.flags.set(flag::QUEUED);
            batch.push(Id {
                key: key as u32,
                serial: common.serial,
            });
        }
    }
}

/// What serving the batch comes to next.
enum Next {
    /// The batch is served.
    Done,
    /// A server may have a connection.
    Accept(Id),
    /// A UDP socket may have datagrams, or room for some.
    Datagrams(Id),
    /// What was lent goes to the 'data' listeners.
    Deliver,
    /// Something was taken note of that the end of a loop callback sees to.
    Finish,
}

/// Who is being served, with what the loop has lent for it: the read buffer, and the 'data'
/// listeners while they are called. Dropped, also when a listener panics, it gives all back.
struct Service<'a> {
    core: &'a Core,
    /// Who it is: the front of the batch. It stays there until its share is used up.
    id: Id,
    /// Whether somebody is being served.
    active: bool,
    /// Reads that are left of its share (N11).
    reads: u32,
    /// The listeners, while they are called.
    taken: Taken<dyn FnMut(Socket, &[u8])>,
    /// Whether they are.
    lent: bool,
    /// The loop's read buffer.
    buffer: Box<[u8]>,
    /// How much of it is data.
    size: usize,
}

/// Serves the batch to its end.
pub(crate) fn serve_batch(core: &Core) -> Result<()> {
    let mut service = Service {
        core,
        id: Id::NONE,
        active: false,
        reads: 0,
        taken: Taken::nothing(),
        lent: false,
        buffer: core.inside(|state| std::mem::take(&mut state.buffer)),
        size: 0,
    };
    loop {
        // The path of every event, so one borrow does it all: what was lent for the last delivery
        // goes back, and the next read is made.
        let next = core.inside(|state| {
            if service.lent {
                service.take_back(state);
            }
            match state.is_quiet() {
                true => service.advance(state),
                false => Next::Finish,
            }
        });
        match next {
            Next::Deliver => service.deliver(),
            Next::Finish => core.finish_callback()?,
            Next::Accept(id) => {
                accept::accept_one(core, id)?;
                core.inside(|state| leave_batch(state, id));
            }
            Next::Datagrams(id) => {
                datagram_receive::serve(core, id)?;
                core.inside(|state| leave_batch(state, id));
            }
            Next::Done => return Ok(()),
        }
    }
}

impl Service<'_> {
    /// Calls the listeners.
    #[inline]
    fn deliver(&mut self) {
        let socket = Socket(self.core.raw(self.id));
        let data = &self.buffer[..self.size];
        self.taken.each(|listener| listener(socket, data));
    }

    /// Gives the listeners back, and ends a share that is used up. Those that were removed
    /// meanwhile, or all if the object is gone, go to the graveyard.
    #[inline(always)]
    fn take_back(&mut self, state: &mut State) {
        self.lent = false;
        let mut left = true;
        if let Some(stream) = stream_of(&mut state.entries, self.id) {
            left = stream.data.put_back(&mut self.taken);
            if self.reads == 0 && !stream.wants_service() {
                stream.common.flags.clear(flag::QUEUED);
                state.batch.next();
                self.active = false;
            }
        }
        if left {
            self.bury_left(state);
        }
    }

    #[cold]
    fn bury_left(&mut self, state: &mut State) {
        let dead = std::mem::replace(&mut self.taken, Taken::nothing());
        state.bury(dead);
    }

    /// Finds what is to be done next, and does what needs no user code.
    #[inline]
    fn advance(&mut self, state: &mut State) -> Next {
        loop {
            if !self.active {
                let Some(id) = state.batch.front() else {
                    return Next::Done;
                };
                self.id = id;
                self.active = true;
                self.reads = state.settings.read_budget;
            }
            // Reads first, then writes (as libuv's uv__stream_io).
            if self.reads > 0 {
                self.reads -= 1;
                match self.read(state) {
                    Read::Server => {
                        self.active = false;
                        return Next::Accept(self.id);
                    }
                    Read::Datagrams => {
                        self.active = false;
                        return Next::Datagrams(self.id);
                    }
                    Read::Lent => return Next::Deliver,
                    Read::Noted => return Next::Finish,
                    Read::Nothing => self.reads = 0,
                }
            }
            self.active = false;
            if leave_batch(state, self.id) {
                state.serve_writable(self.id);
                return Next::Finish;
            }
        }
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        let core = self.core;
        core.inside(|state| {
            if self.lent {
                self.take_back(state);
            }
            state.buffer = std::mem::take(&mut self.buffer);
        });
    }
}

/// An object's share of the turn is over. If it still has something to read it goes to the ready
/// queue, which the next turn serves first. Returns whether it has something to write.
#[inline]
fn leave_batch(state: &mut State, id: Id) -> bool {
    state.batch.next();
    let Some(entry) = state.entry(id) else {
        return false;
    };
    entry.common_mut().flags.clear(flag::QUEUED);
    let stream = match entry {
        Entry::Stream(stream) => stream,
        Entry::Server(_) => return false,
        Entry::Datagram(datagram) => {
            if datagram.wants_service() {
                state.make_ready(id);
            }
            return false;
        }
    };
    let writes = stream.wants_to_write();
    if stream.wants_to_read() {
        state.make_ready(id);
    }
    writes
}

/// What one read gave.
enum Read {
    /// Nothing: it is a server.
    Server,
    /// Nothing: it is a UDP socket.
    Datagrams,
    /// Bytes, lent to the listeners.
    Lent,
    /// Bytes that were put aside, or an end or an error that was taken note of.
    Noted,
    /// Nothing to read, or nobody who wants it.
    Nothing,
}

impl Service<'_> {
    /// One read from the kernel. Clears `reads` if it is the last of this share.
    #[inline]
    fn read(&mut self, state: &mut State) -> Read {
        let State {
            entries, backend, ..
        } = state;
        let stream = match entry_of(entries, self.id) {
            Some(Entry::Stream(stream)) => stream,
            Some(Entry::Server(_)) => return Read::Server,
            Some(Entry::Datagram(_)) => return Read::Datagrams,
            None => return Read::Nothing,
        };
        if !stream.wants_to_read() {
            return Read::Nothing;
        }
        let Some(io) = &stream.io else {
            return Read::Nothing;
        };
        if stream.common.flags.any(flag::END_CERTAIN) {
            self.reads = 0;
            state.read_end(self.id);
            return Read::Noted;
        }
        let timeout = stream.common.flags.any(flag::TIMEOUT);
        let size = match backend.read(io, &mut self.buffer) {
            Ok(size) => size,
            Err(error) => return self.read_failed(state, error),
        };
        if size == 0 {
            self.reads = 0;
            if timeout {
                state.touch(self.id);
            }
            state.read_end(self.id);
            return Read::Noted;
        }
        stream.bytes_read += size as u64;
        let room = backend.read_room(self.buffer.len());
        if size < room && note_short_read(stream, backend.has_edges()) {
            self.reads = 0;
        }
        // For the listeners if the socket flows, else into its buffer.
        if stream.common.flags.any(flag::FLOWING)
            && stream.read_length() == 0
            && stream.data.take_into(&mut self.taken)
        {
            self.lent = true;
            self.size = size;
            if timeout {
                state.touch(self.id);
            }
            return Read::Lent;
        }
        let chunk = Bytes::copy_from_slice(&self.buffer[..size]);
        if timeout {
            state.touch(self.id);
        }
        state.buffer_chunk(self.id, chunk);
        Read::Noted
    }

    #[cold]
    fn read_failed(&mut self, state: &mut State, error: io::Error) -> Read {
        if error.kind() != io::ErrorKind::WouldBlock {
            self.reads = 0;
            state.read_failed(self.id, Error::system("read", error));
            return Read::Noted;
        }
        if let Some(stream) = state.stream(self.id) {
            stream.ready &= !(ready::READABLE | ready::URGENT);
        }
        Read::Nothing
    }
}

/// What a read that did not fill the buffer proves. Returns whether it ends the socket's share of
/// the turn.
#[inline]
fn note_short_read(stream: &mut Stream, has_edges: bool) -> bool {
    let signs = ready::READ_CLOSED | ready::HANG_UP | ready::ERROR | ready::URGENT;
    if stream.ready & signs == 0 {
        // Nothing is left, and what comes next will be told.
        if has_edges {
            stream.ready &= !ready::READABLE;
        }
        return true;
    }
    if stream.ready & ready::URGENT != 0 {
        // A read stops at the urgent mark whatever lies behind it: read until it would block.
        return false;
    }
    if stream.ready & (ready::HANG_UP | ready::ERROR) == ready::HANG_UP && has_edges {
        // Both sides are shut down and all data was taken: the end needs no further read (R11).
        stream.common.flags.set(flag::END_CERTAIN);
    }
    // The end, or the error, is still to be read, in another turn than the data (N13, N135).
    true
}
