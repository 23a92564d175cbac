//! Dispatch: from what the backend says is ready to the listeners.
//!
//! After a wait the whole batch becomes bits in the slab before any user code runs ([`harvest`]);
//! then each object is served ([`serve_batch`]). An event is a hint, never the truth: serving
//! looks at the object's present state. An object leaves the batch only when its share of the turn
//! is over, so a panic or an error that ends `run` in the middle loses no edge.

use std::io;
use std::rc::Rc;

use bytes::Bytes;

use super::accept;
use super::core::Core;
use super::datagram_receive;
use super::diversion::{Diverter, Taken};
use super::entry::{Entry, Stream, entry_of, flag, stream_of};
use super::handle::{Id, Socket};
use super::own_buffer::{self, OwnBuffer};
use super::socket;
use super::state::State;
use super::text;
use crate::backend::{ready, would_block};
use crate::ground::error::{Error, Result};
use crate::ground::listeners::Shared;

/// Turns the events of the last wait into bits in the slab, and appends the objects that are to be served
/// to the batch. Returns how many events there were.
#[inline(always)]
pub(crate) fn harvest(state: &mut State) -> usize {
    let State {
        entries,
        backend,
        batch,
        settings,
        ..
    } = state;
    let mut events = 0;
    backend.events(
        #[inline(always)]
        |token, bits| {
            events += 1;
            let key = token as u32;
            let Some(entry) = entries.get_mut(key as usize) else {
                return;
            };
            // A descriptor that was handed to somebody else may outlive its object here.
            if let Some(serial) = entry.take_note(bits, |common| common.is_called(token)) {
                batch.push(Id { key, serial });
            }
        },
    );
    if settings.spurious_events {
        invent_events(state);
    }
    events
}

/// Makes everything look ready, for tests: an event is only a hint.
#[cold]
fn invent_events(state: &mut State) {
    let State { entries, batch, .. } = state;
    for (key, entry) in entries.iter_mut() {
        if let Some(serial) = entry.take_note(ready::READABLE | ready::WRITABLE, |_| true) {
            let key = key as u32;
            batch.push(Id { key, serial });
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
    /// So many bytes go to the one 'data' listener.
    Deliver(Id, Shared<DataListener>, usize),
    /// So many bytes go to the 'data' listeners.
    Emit(Id, usize),
    /// So many bytes go to the listeners of a socket that decodes.
    Text(Id, usize),
    /// So many bytes were handed on without being read, and whether more may be.
    Passed(Rc<dyn Diverter>, usize, bool),
    /// The user's buffer holds so many bytes more.
    Own(Id, Box<OwnBuffer>, usize),
    /// Something was taken note of that the end of a loop callback sees to.
    Finish,
}

/// What the first look finds.
enum Look {
    /// The ordinary case: so many bytes were read for the one 'data' listener.
    Plain(Id, Shared<DataListener>, usize),
    /// A server may have a connection.
    Accept(Id),
    /// A UDP socket may have datagrams, or room for some.
    Datagrams(Id),
    /// A read has failed, and its socket is destroyed: what is left is the tick that tells of it, which would
    /// be the next.
    Failed(Id, Error),
    /// The same, where something else comes first.
    Busy,
    /// Any other case. Either nothing was done, or the share has begun and what is next stands in
    /// [`Service::next`].
    Other,
    /// The batch is served.
    Done,
}

/// A listener of 'data'.
type DataListener = dyn FnMut(Socket, &[u8]);

/// The service of a batch. Dropped in the middle of a share, by an error or a panic, it leaves the rest.
struct Service<'a> {
    core: &'a Core,
    /// Whose share it is: that of the batch's front. None between two.
    id: Option<Id>,
    /// Reads that are left of its share (N11).
    reads: u32,
    /// Whether the read before was short on a socket where that proves nothing.
    was_short: bool,
    /// What a read has come to that was not the ordinary case.
    next: Option<Next>,
}

impl Drop for Service<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let cut = (id, self.reads, self.was_short);
            self.core.inside(|state| state.cut_reads = Some(cut));
        }
    }
}

/// The loop's read buffer, lent to whoever listens; dropped, also when a listener panics, it is
/// given back.
struct ReadBuffer<'a> {
    core: &'a Core,
    bytes: Box<[u8]>,
}

impl ReadBuffer<'_> {
    fn lent_by(core: &Core) -> ReadBuffer<'_> {
        let bytes = core.inside(|state| std::mem::take(&mut state.buffer));
        ReadBuffer { core, bytes }
    }
}

impl Drop for ReadBuffer<'_> {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.core.inside(|state| state.buffer = bytes);
    }
}

/// Serves what an error or a panic has left of a batch. A share that was cut goes on with the reads it has left:
/// with a fresh share each time, a peer that sends on to a listener that fails would keep the loop from what is
/// behind the poll.
#[cold]
pub(crate) fn serve_rest(core: &Core, trace: bool) -> Result<()> {
    if let Some((id, reads, was_short)) = core.inside(|state| state.cut_reads.take()) {
        let mut service = Service {
            core,
            id: Some(id),
            reads,
            was_short,
            next: None,
        };
        let mut buffer = ReadBuffer::lent_by(core);
        service.serve_in_full(&mut buffer.bytes, trace)?;
    }
    serve_batch(core, trace)
}

/// Serves the batch to its end. With `trace` on the path on which there is time to tell of each step.
pub(crate) fn serve_batch(core: &Core, trace: bool) -> Result<()> {
    let mut service = Service {
        core,
        id: None,
        reads: 0,
        was_short: false,
        next: None,
    };
    let mut buffer = ReadBuffer::lent_by(core);
    let room = core.inside(|state| state.backend.plain_read_room(buffer.bytes.len()));
    loop {
        // The path of every event, so one borrow sees to the end of the last loop callback and
        // makes the next read.
        let look = core.inside(|state| match !trace && state.settle() {
            true => service.read_plainly(state, &mut buffer.bytes, room),
            false => Look::Other,
        });
        match look {
            Look::Plain(id, listener, size) => {
                listener.borrow_mut()(Socket(core.raw(id)), &buffer.bytes[..size]);
            }
            Look::Other => {
                if !service.serve_in_full(&mut buffer.bytes, trace)? {
                    return Ok(());
                }
            }
            Look::Accept(id) => serve_server(core, id)?,
            Look::Datagrams(id) => datagram_receive::serve(core, id, trace)?,
            Look::Failed(id, error) => {
                core.callback(|core| socket::destroyed_on_tick(core, id, Some(error)))?;
            }
            Look::Busy => core.finish_callback()?,
            Look::Done => return Ok(()),
        }
    }
}

/// A server's share of the turn.
fn serve_server(core: &Core, id: Id) -> Result<()> {
    accept::accept_one(core, id)?;
    core.inside(|state| leave_batch(state, id));
    Ok(())
}

impl Service<'_> {
    /// The ordinary cases in one look: a flowing socket with one listener and nothing else to see
    /// to, and a read that takes all there is, which is less than `room`; or one that fails, since the
    /// peer has reset the connection.
    #[inline(always)]
    fn read_plainly(&mut self, state: &mut State, buffer: &mut [u8], room: usize) -> Look {
        const LOOKED_AT: u64 = flag::ACTIVE
            | flag::FLOWING
            | flag::END_CERTAIN
            | flag::UNIX
            | flag::DECODES
            | flag::OWN_BUFFER
            | flag::DIVERTED
            | flag::TIMEOUT
            | flag::WRITING
            | flag::CONNECT_PENDING;
        let State {
            entries,
            backend,
            batch,
            ..
        } = state;
        let Some(id) = batch.front() else {
            return Look::Done;
        };
        let stream = match entry_of(entries, id) {
            Some(Entry::Stream(stream)) => stream,
            Some(Entry::Server(_)) => return Look::Accept(id),
            Some(Entry::Datagram(_)) => return Look::Datagrams(id),
            _ => return Look::Other,
        };
        let Some(io) = &stream.io else {
            return Look::Other;
        };
        let signs = stream.ready & SIGNS;
        let plain = stream.common.flags.of_these(LOOKED_AT) == flag::ACTIVE | flag::FLOWING
            && stream.ready & ready::READABLE != 0
            && (signs == 0 || signs & ready::ERROR != 0)
            && stream.read_length() == 0;
        if !plain {
            return Look::Other;
        }
        let Some(listener) = stream.data.sole() else {
            return Look::Other;
        };
        match backend.read(io, buffer) {
            Ok(size) if size > 0 && size < room && signs == 0 => {
                stream.bytes_read += size as u64;
                stream.ready &= !ready::READABLE;
                // Its share is over, so there is nothing to lose if the listener panics.
                stream.common.flags.clear(flag::QUEUED);
                batch.next();
                Look::Plain(id, listener, size)
            }
            Err(error) if !would_block(&error) => {
                stream.common.flags.clear(flag::QUEUED);
                batch.next();
                state.read_failed(id, error);
                match state.take_sole_destroyed() {
                    Some((id, error)) => Look::Failed(id, error),
                    None => Look::Busy,
                }
            }
            result => {
                self.begin(state, id);
                self.reads -= 1;
                self.next = self.after_read(state, id, buffer, result);
                Look::Other
            }
        }
    }

    /// Every other case, until somebody's share is over. Returns false when the batch is served.
    #[inline(never)]
    fn serve_in_full(&mut self, buffer: &mut [u8], trace: bool) -> Result<bool> {
        let core = self.core;
        loop {
            let next = core.inside(|state| match self.next.take() {
                Some(next) => next,
                None if state.is_quiet() => self.advance(state, buffer),
                None => Next::Finish,
            });
            if trace
                && let Next::Deliver(id, _, size) | Next::Emit(id, size) | Next::Text(id, size) =
                    next
            {
                core.trace_data(id, size);
            }
            match next {
                Next::Deliver(id, listener, size) => {
                    listener.borrow_mut()(Socket(core.raw(id)), &buffer[..size]);
                }
                Next::Emit(id, size) => {
                    let (socket, data) = (Socket(core.raw(id)), &buffer[..size]);
                    core.emit(id, socket::data_slot, |call| call(socket, data));
                }
                Next::Text(id, size) => text::deliver(core, id, &buffer[..size]),
                Next::Passed(pipe, size, more) => {
                    if let Some(id) = self.id.filter(|_| trace) {
                        core.trace_data(id, size);
                    }
                    pipe.passed(more);
                }
                Next::Own(id, own, size) => {
                    own_buffer::deliver(core, id, own, size);
                }
                Next::Finish => core.finish_callback()?,
                Next::Accept(id) => serve_server(core, id)?,
                Next::Datagrams(id) => datagram_receive::serve(core, id, trace)?,
                Next::Done => return Ok(false),
            }
            if self.id.is_none() {
                return Ok(true);
            }
        }
    }

    /// Finds what is to be done next, and does what needs no user code.
    fn advance(&mut self, state: &mut State, buffer: &mut [u8]) -> Next {
        loop {
            let id = match (self.id, state.batch.front()) {
                (Some(id), _) => id,
                (None, Some(id)) => self.begin(state, id),
                (None, None) => return Next::Done,
            };
            // Reads first, then writes (as libuv's uv__stream_io).
            if self.reads > 0
                && let Some(next) = self.read(state, id, buffer)
            {
                return next;
            }
            self.id = None;
            if leave_batch(state, id) {
                state.serve_writable(id);
                return Next::Finish;
            }
        }
    }

    /// Begins with an object's share of the turn.
    fn begin(&mut self, state: &State, id: Id) -> Id {
        self.id = Some(id);
        self.was_short = false;
        self.reads = state.settings.read_budget;
        id
    }
}

/// An object's share of the turn is over. If it still has something to read it goes to the ready
/// queue, which the next turn serves first. Returns whether it has something to write.
#[inline]
pub(crate) fn leave_batch(state: &mut State, id: Id) -> bool {
    state.batch.next();
    let Some(entry) = state.entry(id) else {
        return false;
    };
    let stream = match entry {
        Entry::Stream(stream) => stream,
        Entry::Server(server) => {
            server.common.flags.clear(flag::QUEUED);
            return false;
        }
        Entry::Extension(_) => return false,
        Entry::Datagram(datagram) => {
            datagram.common.flags.clear(flag::QUEUED);
            if datagram.wants_service() {
                state.make_ready(id);
            }
            return false;
        }
    };
    stream.common.flags.clear(flag::QUEUED);
    let writes = stream.wants_to_write();
    if stream.wants_to_read() {
        state.make_ready(id);
    }
    writes
}

impl Service<'_> {
    /// One read from the kernel. None if there is nothing to read, or nobody who wants it.
    fn read(&mut self, state: &mut State, id: Id, buffer: &mut [u8]) -> Option<Next> {
        let stream = match state.entry(id)? {
            Entry::Stream(stream) => stream,
            Entry::Server(_) => {
                self.id = None;
                return Some(Next::Accept(id));
            }
            Entry::Datagram(_) => {
                self.id = None;
                return Some(Next::Datagrams(id));
            }
            Entry::Extension(_) => return None,
        };
        if !stream.wants_to_read() {
            return None;
        }
        self.reads -= 1;
        if stream.common.flags.any(flag::END_CERTAIN) {
            self.reads = 0;
            state.read_end(id);
            return Some(Next::Finish);
        }
        if stream.common.flags.any(flag::OWN_BUFFER) && stream.read_length() == 0 {
            return self.read_own(state, id);
        }
        if stream.common.flags.any(flag::DIVERTED)
            && let Some(taken) = state.take_diverted(id, buffer.len())
        {
            return self.after_splice(state, id, buffer.len(), taken);
        }
        let State {
            entries, backend, ..
        } = state;
        let io = stream_of(entries, id)?.io.as_ref()?;
        let result = backend.read(io, buffer);
        self.after_read(state, id, buffer, result)
    }

    /// What follows a read whose bytes are in the kernel's pipe. How many they are proves nothing: the pipe
    /// may have been full before the bytes were at an end. So it goes on until the socket would block, or
    /// ends; the end is then told in another turn, as behind a short read.
    fn after_splice(
        &mut self,
        state: &mut State,
        id: Id,
        wanted: usize,
        taken: Taken,
    ) -> Option<Next> {
        const NO_ROOM: usize = 0;
        let size = match self.note_read(state, id, NO_ROOM, taken.result) {
            Ok(size) => size,
            Err(next) => return next,
        };
        self.was_short = size < wanted;
        let more = state.write_taken(taken.to, size);
        Some(Next::Passed(taken.pipe, size, more))
    }

    /// A read into the user's buffer.
    fn read_own(&mut self, state: &mut State, id: Id) -> Option<Next> {
        let mut own = state.take_own(id)?;
        let room = own.buffer.len();
        if room == 0 {
            // libuv has nowhere to read to, and says so.
            self.reads = 0;
            state.put_back_own(id, &mut Some(own));
            state.destroy(id, Some(Error::call("read", "ENOBUFS")));
            return Some(Next::Finish);
        }
        let State {
            entries, backend, ..
        } = state;
        let io = stream_of(entries, id)?.io.as_ref()?;
        let result = backend.read(io, &mut own.buffer);
        match self.note_read(state, id, room, result) {
            Ok(size) => Some(Next::Own(id, own, size)),
            Err(next) => {
                state.put_back_own(id, &mut Some(own));
                next
            }
        }
    }

    /// What follows a read. Clears `reads` if it is the last of this share.
    fn after_read(
        &mut self,
        state: &mut State,
        id: Id,
        buffer: &[u8],
        result: io::Result<usize>,
    ) -> Option<Next> {
        let size = match self.note_read(state, id, buffer.len(), result) {
            Ok(size) => size,
            Err(next) => return next,
        };
        let stream = state.stream(id)?;
        // For the listeners if the socket flows, else into its buffer.
        if stream.common.flags.any(flag::FLOWING)
            && stream.read_length() == 0
            && stream.is_listened_to()
        {
            return Some(match stream.data.sole() {
                _ if stream.common.flags.any(flag::DECODES) => Next::Text(id, size),
                Some(listener) => Next::Deliver(id, listener, size),
                None => Next::Emit(id, size),
            });
        }
        state.buffer_chunk(id, Bytes::copy_from_slice(&buffer[..size]));
        Some(Next::Finish)
    }

    /// Takes note of what a read into a buffer of `room` bytes has brought. Gives its bytes, or what
    /// follows if there are none.
    #[inline]
    fn note_read(
        &mut self,
        state: &mut State,
        id: Id,
        room: usize,
        result: io::Result<usize>,
    ) -> std::result::Result<usize, Option<Next>> {
        let size = match result {
            Ok(size) => size,
            Err(error) => return Err(self.read_failed(state, id, error)),
        };
        let flags = state.stream(id).ok_or(None)?.common.flags;
        if flags.any(flag::TIMEOUT) {
            state.touch(id);
        }
        if size == 0 {
            self.reads = 0;
            if std::mem::take(&mut self.was_short) {
                // Found behind data that may have been all there was: in another turn (N13).
                let stream = state.stream(id).ok_or(None)?;
                stream.common.flags.set(flag::END_CERTAIN);
                return Err(None);
            }
            state.read_end(id);
            return Err(Some(Next::Finish));
        }
        let has_edges = state.backend.has_edges();
        let room = state.backend.read_room(room);
        let stream = state.stream(id).ok_or(None)?;
        stream.bytes_read += size as u64;
        if size < room {
            self.was_short = stream.common.flags.any(flag::UNIX);
            if note_short_read(stream, has_edges) {
                self.reads = 0;
            }
        }
        Ok(size)
    }

    fn read_failed(&mut self, state: &mut State, id: Id, error: io::Error) -> Option<Next> {
        if !would_block(&error) {
            self.reads = 0;
            state.read_failed(id, error);
            return Some(Next::Finish);
        }
        if let Some(stream) = state.stream(id) {
            stream.ready &= !(ready::READABLE | ready::URGENT);
        }
        None
    }
}

/// Signs that a short read is not all there is to it.
const SIGNS: u8 = ready::READ_CLOSED | ready::HANG_UP | ready::ERROR | ready::URGENT;

/// What a read that did not fill the buffer proves. Returns whether it ends the socket's share of
/// the turn.
#[inline]
fn note_short_read(stream: &mut Stream, has_edges: bool) -> bool {
    if stream.common.flags.any(flag::UNIX) {
        // A read stops behind a message that carries descriptors, whatever follows it. Read until it
        // would block; with a sign of the end, in another turn.
        return stream.ready & (ready::READ_CLOSED | ready::HANG_UP | ready::ERROR) != 0;
    }
    if stream.ready & SIGNS == 0 {
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
