//! Accepting: from a listening socket that is ready to 'connection', or to 'drop'.

use std::net::SocketAddr;

use super::core::Core;
use super::entry::{
    Common, DropInfo, Entry, Flags, ServerState, SmallId, Stream, flag, server_of, stream_of,
};
use super::handle::{Id, Server, Socket};
use super::server;
use super::state::State;
use super::table;
use super::trace;
use crate::backend::{self, Accepted, ready};
use crate::ground::error::{Error, Result};
use crate::ground::mutations::mutated;

/// How long a server that ran out of descriptors waits before it tries again, unless one becomes
/// free before: short against a client's patience, long against a loop that has other work.
const STALLED_FOR_MS: u64 = 100;

/// One connection per listener and turn, never one attempt more: the poller tells of the next, by level or
/// since it is asked to (N10).
pub(crate) fn accept_one(core: &Core, id: Id) -> Result<()> {
    let socket = match core.inside(|state| try_accept(state, id)) {
        Outcome::Socket(socket) => socket,
        Outcome::Nothing => return Ok(()),
        Outcome::Dropped(info) => return report_drop(core, id, &info),
        Outcome::Trouble(warning) => {
            let server = Server(core.raw(id));
            core.tell(|| log::warn!(target: "nodeloop::net", "{server:?}: {warning}"));
            return Ok(());
        }
    };
    let server = Server(core.raw(id));
    let socket = Socket(core.raw(socket));
    core.tell(|| log::debug!(target: "nodeloop::net", "{server:?} accepted {socket:?}"));
    let trace = trace::on();
    if trace {
        core.trace(format_args!("'connection' to {server:?}: {socket:?}"));
    }
    core.callback(|core| {
        let watched = WatchBehind(core, socket.0.id());
        core.emit(id, server::connection_slot, |listener| {
            listener(server, socket);
        });
        drop(watched);
        if !trace {
            // It flows since it is listened to, and mostly nothing else was done.
            core.inside(|state| state.resume_if_sole(socket.0.id()));
        }
    })
}

/// Registers a new socket when 'connection' is over, also when a listener panics: as libuv, which
/// tells epoll before its next wait. A connection that a listener turns away at once costs no registration.
struct WatchBehind<'a>(&'a Core, Id);

impl Drop for WatchBehind<'_> {
    fn drop(&mut self) {
        let WatchBehind(core, id) = *self;
        core.inside(|state| state.watch_accepted(id));
    }
}

/// Tells the listeners of 'drop' of a connection that was closed, since there are as many as are allowed (N85).
fn report_drop(core: &Core, id: Id, info: &DropInfo) -> Result<()> {
    let server = Server(core.raw(id));
    core.tell(|| match info.remote_address {
        Some(peer) => log::debug!(target: "nodeloop::net", "{server:?} dropped {peer}"),
        None => log::debug!(target: "nodeloop::net", "{server:?} dropped a connection"),
    });
    if trace::on() {
        core.trace(format_args!("'drop' to {server:?}"));
    }
    core.callback(|core| {
        core.emit(id, server::drop_slot, |listener| listener(server, info));
    })
}

/// What became of an attempt to accept.
enum Outcome {
    /// A socket was made.
    Socket(Id),
    /// Nobody waited, or whoever waited was turned away and there is nothing more to tell.
    Nothing,
    /// A connection was closed, since there are as many as are allowed.
    Dropped(DropInfo),
    /// Something that the log should know.
    Trouble(String),
}

/// Accepts a connection and makes its socket, which reads at once (N90).
fn try_accept(state: &mut State, id: Id) -> Outcome {
    let State {
        entries,
        backend,
        stalled,
        ..
    } = state;
    let Some(server) = server_of(entries, id) else {
        return Outcome::Nothing;
    };
    if !server.wants_accept() {
        return Outcome::Nothing;
    }
    let is_shut_down = server.ready & ready::READ_CLOSED != 0;
    server.ready = 0;
    if stalled.contains(&id) {
        return Outcome::Nothing;
    }
    let full = server.max_connections.is_some_and(|max| {
        server.connections >= max + usize::from(mutated!("one connection too many"))
    });
    let Some(listener) = &mut server.listener else {
        return Outcome::Nothing;
    };
    let accepted = backend.accept(listener);
    state.accepted_in = state.turns;
    match accepted {
        Accepted::Exhausted => {
            state.stall(id);
            return state.warn_of_shedding();
        }
        Accepted::Failed(error) => {
            state.stall(id);
            return state.warn_once(|| format!("can't accept for now: {error}"));
        }
        // A Unix socket that was shut down says that nobody waits.
        Accepted::Nothing if is_shut_down => {
            state.stall(id);
            return state.warn_once(|| "the listening socket is shut down".to_string());
        }
        _ => {}
    }
    if let Err(error) = backend.rearm(listener, State::token(id)) {
        state.stall(id);
        return Outcome::Trouble(format!("can't be told of further connections: {error}"));
    }
    match accepted {
        Accepted::Connection(stream, remote_address) if full => {
            let info = DropInfo {
                local_address: backend.local_address(&stream).ok(),
                remote_address,
            };
            backend.close(stream);
            Outcome::Dropped(info)
        }
        Accepted::Connection(stream, peer) if is_blocked(server, peer) => {
            backend.close(stream);
            Outcome::Nothing
        }
        Accepted::Connection(stream, peer) => make_socket(state, id, stream, peer),
        Accepted::Shed => state.warn_of_shedding(),
        Accepted::Nothing | Accepted::Exhausted | Accepted::Failed(_) => Outcome::Nothing,
    }
}

/// Whether a peer is on the server's list. Nobody is told of those (N94).
fn is_blocked(server: &ServerState, peer: Option<SocketAddr>) -> bool {
    match (&server.block_list, peer) {
        (Some(list), Some(peer)) => list.check(peer),
        _ => false,
    }
}

fn make_socket(
    state: &mut State,
    server_id: Id,
    stream: backend::Stream,
    peer: Option<SocketAddr>,
) -> Outcome {
    let Some(server) = state.server(server_id) else {
        unreachable!("looked up by the caller");
    };
    let options = server.options;
    let common = Common {
        serial: table::next_serial(),
        flags: Flags::of(
            flag::REFERENCED | flag::COUNTED | flag::UNWATCHED | server.half_open_flag(),
        ),
        origin: server.common.origin,
    };
    let id = Id {
        key: state.entries.vacant_key() as u32,
        serial: common.serial,
    };
    // Only the peers of Unix sockets have no address; those of the null backend have one.
    let is_unix = peer.is_none();
    let mut stream = Stream::accepted(common, stream, peer);
    if is_unix {
        stream.common.flags.set(flag::UNIX);
    }
    stream.server = SmallId::of(server_id);
    stream.read_mark = options.high_water_mark;
    stream.write_mark = options.high_water_mark;
    if options.pause_on_connect {
        stream.common.flags.set(flag::HAS_FLOWING);
    }
    let Some(io) = &mut stream.io else {
        unreachable!("it was just accepted");
    };
    // Set before 'connection' (N95).
    if options.no_delay {
        stream.common.flags.set(flag::NO_DELAY);
        if !is_unix {
            state.backend.set_no_delay(io, true);
        }
    }
    if let Some(keep_alive) = options.keep_alive
        && !is_unix
    {
        state.backend.set_keep_alive(io, Some(keep_alive));
    }
    if options.keep_alive.is_some() {
        stream.extra().keep_alive = options.keep_alive;
    }
    state.make_room();
    state.entries.insert(Entry::Stream(stream));
    if let Some(server) = state.server(server_id) {
        server.connections += 1;
    }
    if !options.pause_on_connect {
        state.set_reading(id, true);
    }
    Outcome::Socket(id)
}

impl State {
    /// Has the poller watch a socket that was accepted, unless it is closed again already.
    fn watch_accepted(&mut self, id: Id) {
        let State {
            entries, backend, ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        if !stream.common.flags.any(flag::UNWATCHED) {
            return;
        }
        stream.common.flags.clear(flag::UNWATCHED);
        let Some(io) = &mut stream.io else { return };
        if let Err(error) = backend.register(io, State::token(id)) {
            self.destroy(id, Some(Error::system("accept", error)));
        }
    }

    /// A server can't accept: it waits until a descriptor is free, or for a while.
    fn stall(&mut self, id: Id) {
        let State {
            entries, backend, ..
        } = self;
        if let Some(server) = server_of(entries, id)
            && let Some(listener) = &mut server.listener
        {
            backend.hush_listener(listener, State::token(id));
        }
        self.stalled_until_ms = self.now_ms().saturating_add(STALLED_FOR_MS);
        self.stalled.push(id);
    }

    /// Out of descriptors.
    fn warn_of_shedding(&mut self) -> Outcome {
        self.warn_once(|| {
            "out of file descriptors: connections are closed or kept waiting".to_string()
        })
    }

    /// The log is told once in a loop's life that connections can't be accepted, however long it lasts.
    fn warn_once(&mut self, why: impl FnOnce() -> String) -> Outcome {
        match std::mem::replace(&mut self.shed_warned, true) {
            true => Outcome::Nothing,
            false => Outcome::Trouble(why()),
        }
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
            let Some(server) = server_of(entries, id) else {
                continue;
            };
            if let Some(listener) = &mut server.listener
                && backend
                    .tell_of_listener(listener, State::token(id))
                    .is_err()
            {
                self.stall(id);
            }
        }
    }
}
