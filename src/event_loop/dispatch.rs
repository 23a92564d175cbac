//! Dispatch: from what the backend says is ready to the listeners.
//!
//! After a wait the whole batch becomes bits in the slab before any user code runs ([`harvest`]);
//! then each object is served ([`serve_batch`]). An event is a hint, never the truth: serving
//! looks at the object's present state. An object leaves the batch only when its share of the turn
//! is over, so a panic or an error that ends `run` in the middle loses no edge.

use std::io;

use bytes::Bytes;

use super::core::Core;
use super::entry::{Common, Entry, Flags, Stream, flag};
use super::handle::{Id, Server, Socket};
use super::server;
use super::socket;
use super::state::State;
use super::table;
use crate::backend::{self, Accepted, ready};
use crate::ground::error::{Error, Result};
use crate::ground::listeners::Taken;

/// How long a server that ran out of descriptors waits before it tries again, unless one becomes
/// free before: short against a client's patience, long against a loop that has other work.
pub(crate) const STALLED_FOR_MS: u64 = 100;

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
            batch.push_back(Id { key, serial });
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
            batch.push_back(Id {
                key: key as u32,
                serial: common.serial,
            });
        }
    }
}

/// Serves the batch to its end.
pub(crate) fn serve_batch(core: &Core) -> Result<()> {
    loop {
        let next = core.with(|state| {
            let id = *state.batch.front()?;
            Some((id, matches!(state.entry(id), Some(Entry::Server(_)))))
        });
        let Some((id, is_server)) = next else {
            return Ok(());
        };
        match is_server {
            true => accept_one(core, id)?,
            false => serve_stream(core, id)?,
        }
        core.with(|state| leave_batch(state, id));
    }
}

/// An object's share of the turn is over. If it still has something to do it goes to the ready
/// queue, which the next turn serves first.
fn leave_batch(state: &mut State, id: Id) {
    state.batch.pop_front();
    let Some(entry) = state.entry(id) else { return };
    entry.common_mut().flags.clear(flag::QUEUED);
    if let Entry::Stream(stream) = entry
        && stream.wants_service()
    {
        state.make_ready(id);
    }
}

/// Reads first, then writes (as libuv's uv__stream_io).
#[inline]
fn serve_stream(core: &Core, id: Id) -> Result<()> {
    read(core, id)?;
    let wrote = core.with(|state| {
        let waits = state.stream(id).is_some_and(|stream| {
            stream.common.flags.any(flag::WRITING) && stream.ready & ready::WRITABLE != 0
        });
        if waits {
            state.flush_queue(id);
        }
        waits
    });
    match wrote {
        true => core.finish_callback(),
        false => Ok(()),
    }
}

/// What one read gave.
enum Read {
    /// So many bytes, with the buffer they are in, for these listeners.
    Data(Box<[u8]>, usize, Taken<dyn FnMut(Socket, &[u8])>),
    /// Bytes that were put aside, or an end or an error that was taken note of.
    Noted,
    /// Nothing to read, or nobody who wants it.
    Nothing,
}

/// Reads up to the budget, or until a read says that this was all (N11).
fn read(core: &Core, id: Id) -> Result<()> {
    let budget = core.with(|state| state.settings.read_budget);
    for _ in 0..budget {
        let mut last = false;
        match core.with(|state| read_once(state, id, &mut last)) {
            Read::Nothing => return Ok(()),
            Read::Noted => {}
            Read::Data(buffer, size, taken) => {
                let socket = Socket(core.raw(id));
                let mut delivery = Delivery {
                    core,
                    id,
                    buffer,
                    taken: Some(taken),
                };
                delivery.deliver(socket, size);
            }
        }
        core.finish_callback()?;
        if last {
            return Ok(());
        }
    }
    Ok(())
}

/// One read from the kernel. Sets `last` if the socket's share of this turn ends with it.
#[inline]
fn read_once(state: &mut State, id: Id, last: &mut bool) -> Read {
    let State {
        entries,
        backend,
        buffer,
        ..
    } = state;
    let stream = match entries.get_mut(id.key as usize) {
        Some(Entry::Stream(stream)) if stream.common.serial == id.serial => stream,
        _ => return Read::Nothing,
    };
    if stream.ready & ready::READABLE == 0 || !stream.common.flags.any(flag::ACTIVE) {
        return Read::Nothing;
    }
    let Some(io) = &stream.io else {
        return Read::Nothing;
    };
    if stream.common.flags.any(flag::END_CERTAIN) {
        *last = true;
        state.read_end(id);
        return Read::Noted;
    }
    match backend.read(io, buffer) {
        Ok(0) => {
            *last = true;
            state.read_end(id);
            Read::Noted
        }
        Ok(size) => {
            stream.bytes_read += size as u64;
            if size < backend.read_room(buffer.len()) {
                *last = note_short_read(stream, backend.has_edges());
            }
            take_data(state, id, size)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            stream.ready &= !(ready::READABLE | ready::URGENT);
            Read::Nothing
        }
        Err(error) => {
            *last = true;
            state.read_failed(id, Error::system("read", error));
            Read::Noted
        }
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
    if stream.ready & ready::ERROR != 0 {
        // Read on until the error shows: data, then ECONNRESET.
        return false;
    }
    if stream.ready & ready::HANG_UP != 0 && has_edges {
        // Both sides are shut down and all data was taken: the end needs no further read (R11).
        stream.common.flags.set(flag::END_CERTAIN);
    }
    // The end is still to be read, in another turn than the data (N13).
    true
}

/// Bytes have come: for the listeners if the socket flows, else into its buffer.
#[inline]
fn take_data(state: &mut State, id: Id, size: usize) -> Read {
    let Some(stream) = state.stream(id) else {
        return Read::Nothing;
    };
    if stream.common.flags.any(flag::FLOWING)
        && stream.read_length() == 0
        && let Some(taken) = stream.data.take()
    {
        let buffer = std::mem::take(&mut state.buffer);
        return Read::Data(buffer, size, taken);
    }
    let chunk = Bytes::copy_from_slice(&state.buffer[..size]);
    state.buffer_chunk(id, chunk);
    Read::Noted
}

/// The read buffer and the 'data' listeners while they are called; puts both back when it is
/// dropped, also when a listener panics.
struct Delivery<'a> {
    core: &'a Core,
    id: Id,
    buffer: Box<[u8]>,
    taken: Option<Taken<dyn FnMut(Socket, &[u8])>>,
}

impl Delivery<'_> {
    #[inline]
    fn deliver(&mut self, socket: Socket, size: usize) {
        let Delivery { buffer, taken, .. } = self;
        if let Some(taken) = taken {
            taken.each(|listener| listener(socket, &buffer[..size]));
        }
    }
}

impl Drop for Delivery<'_> {
    #[inline]
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut taken = self.taken.take();
        let id = self.id;
        let dead = self.core.with(|state| {
            state.buffer = buffer;
            let slot = socket::data_slot(state.entry(id)?, false)?;
            Some(slot.put_back(taken.take()?))
        });
        drop((dead, taken));
    }
}

/// One connection per listener and turn, never one attempt more: the listener is re-armed instead
/// (N10).
fn accept_one(core: &Core, id: Id) -> Result<()> {
    let accepted = core.with(|state| try_accept(state, id));
    let (socket, warning) = match accepted {
        Ok(socket) => (socket, None),
        Err(warning) => (None, Some(warning)),
    };
    if let Some(warning) = warning {
        log::warn!(target: "nodeloop::net", "{:?}: {warning}", Server(core.raw(id)));
    }
    let Some(socket) = socket else { return Ok(()) };
    let server = Server(core.raw(id));
    let socket = Socket(core.raw(socket));
    log::debug!(target: "nodeloop::net", "{server:?} accepted {socket:?}");
    core.callback(|core| {
        core.emit(id, server::connection_slot, |listener| {
            listener(server, socket);
        });
    })
}

/// Accepts a connection and makes its socket, which reads at once (N90). An error is a warning
/// for the log.
fn try_accept(state: &mut State, id: Id) -> std::result::Result<Option<Id>, String> {
    let State {
        entries, backend, ..
    } = state;
    let Some(Entry::Server(server)) = entries.get_mut(id.key as usize) else {
        return Ok(None);
    };
    if server.common.serial != id.serial || !server.wants_accept() {
        return Ok(None);
    }
    server.ready &= !ready::READABLE;
    let Some(listener) = &mut server.listener else {
        return Ok(None);
    };
    let accepted = backend.accept(listener);
    if matches!(accepted, Accepted::Exhausted) {
        state.stall(id);
        return Err(state.shed_warning());
    }
    if let Err(error) = backend.rearm(listener, State::token(id)) {
        state.stall(id);
        return Err(format!("can't be told of further connections: {error}"));
    }
    match accepted {
        Accepted::Connection(stream, peer) => make_socket(state, id, stream, peer),
        Accepted::Shed => match state.shed_warned {
            true => Ok(None),
            false => Err(state.shed_warning()),
        },
        Accepted::Nothing | Accepted::Exhausted => Ok(None),
    }
}

fn make_socket(
    state: &mut State,
    server_id: Id,
    stream: backend::Stream,
    peer: std::net::SocketAddr,
) -> std::result::Result<Option<Id>, String> {
    let Some(server) = state.server(server_id) else {
        unreachable!("looked up by the caller");
    };
    let options = server.options;
    let flags = flag::REFERENCED | server.half_open_flag();
    let origin = server.common.origin;
    let common = Common {
        serial: table::next_serial(),
        flags: Flags::of(flags),
        origin,
    };
    let serial = common.serial;
    let mut stream = Stream::new(common, stream, peer);
    stream.server = server_id;
    stream.read_mark = options.high_water_mark;
    stream.write_mark = options.high_water_mark;
    if options.pause_on_connect {
        stream.common.flags.set(flag::HAS_FLOWING);
    }
    let key = state.entries.vacant_key() as u32;
    let id = Id { key, serial };
    let registered = match &mut stream.io {
        Some(io) => state.backend.register(io, State::token(id)),
        None => Ok(()),
    };
    if let Err(error) = registered {
        if let Some(io) = stream.io.take() {
            state.backend.close(io);
        }
        return Err(format!(
            "closed a connection that can't be watched: {error}"
        ));
    }
    state.entries.insert(Entry::Stream(stream));
    if let Some(server) = state.server(server_id) {
        server.connections += 1;
    }
    if !options.pause_on_connect {
        state.set_reading(id, true);
    }
    Ok(Some(id))
}

impl State {
    /// A server can't accept: it waits until a descriptor is free, or for a while.
    fn stall(&mut self, id: Id) {
        self.stalled_until_ms = self.now_ms().saturating_add(STALLED_FOR_MS);
        self.stalled.push(id);
    }

    fn shed_warning(&mut self) -> String {
        self.shed_warned = true;
        "out of file descriptors: connections are closed or kept waiting".to_string()
    }

    /// Re-arms the servers that wait for descriptors, if it is time.
    pub(crate) fn rearm_stalled(&mut self) {
        if self.stalled.is_empty() || self.now_ms() < self.stalled_until_ms {
            return;
        }
        for id in std::mem::take(&mut self.stalled) {
            let State {
                entries, backend, ..
            } = self;
            let Some(Entry::Server(server)) = entries.get_mut(id.key as usize) else {
                continue;
            };
            if server.common.serial != id.serial {
                continue;
            }
            if let Some(listener) = &mut server.listener
                && backend.rearm(listener, State::token(id)).is_err()
            {
                self.stall(id);
            }
        }
    }
}
