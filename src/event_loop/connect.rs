//! How a socket is connected: from `connect` to the connection, or to the error that prevents it. What
//! follows, from 'connect' to 'ready', is in [`connected`](super::connected).
//!
//! As in Node the attempt begins on the tick after `connect`, whatever the address (N97); for a
//! name when it was [looked up](super::look_up). Where a name has several addresses,
//! [`attempts`](super::attempts) tries them. What is written before the connection stands is kept; it is
//! sent between the 'connect' listeners that were there before the first write and those that came after
//! (N99). A socket whose 'close' was emitted can be connected again and begins a new life (N110).

use std::io;
use std::net::SocketAddr;

use super::connect_request::{ConnectHost, ConnectRequest, local_end};
use super::connected::Awaiting;
use super::entry::{Peer, Stream, flag, stream_of};
use super::handle::Id;
use super::look_up::Answer;
use super::server::with_scope;
use super::sockopt::set_type_of_service;
use super::state::State;
use super::task::{SocketEvent, Task};
use crate::backend::{self, Backend, Unconnected, ready};
use crate::ground::addresses::parse_literal;
use crate::ground::error::{Error, Result};
use crate::ground::look_up::Found;
use crate::ground::stream_errors::socket_closed;

/// An attempt to connect.
pub(crate) struct Attempt {
    /// The address it goes to.
    pub(crate) address: SocketAddr,
    /// The address it was to come from, if that was asked for.
    local: Option<SocketAddr>,
    /// An error that the system knew at once, to be told later (N116).
    refused: Option<io::Error>,
}

/// An attempt that is about to be made.
pub(crate) struct Start {
    address: SocketAddr,
    local: Option<SocketAddr>,
    /// The socket, or why there is none: then the attempt fails as if the system had refused to begin.
    unconnected: io::Result<Unconnected>,
    /// Whether it is one of several.
    is_one_of_several: bool,
}

/// Never told at once: that nobody listens there (C4, N116), and that no port is left here (N114).
const LATER: [io::ErrorKind; 2] = [io::ErrorKind::ConnectionRefused, io::ErrorKind::AddrInUse];

/// The flags that begin anew with each life (Node's undestroy). A reset that waits for 'connect' waits
/// for that of the next: in Node it is a listener.
const LIFE: u64 = flag::DESTROYED
    | flag::ERRORED
    | flag::ERROR_EMITTED
    | flag::ERROR_WATCHED
    | flag::CLOSE_EMITTED
    | flag::READ_ENDED
    | flag::END_EMITTED
    | flag::END_CERTAIN
    | flag::ENDING
    | flag::FINAL_CALLED
    | flag::FINISHED
    | flag::DESTROY_ON_FINISH
    | flag::HANDED_OUT
    | flag::UNWATCHED
    | flag::ROOM_UNWATCHED
    | flag::UNIX
    | flag::UNCONNECTED
    | flag::OVER;

impl State {
    /// `connect`. What the system finds comes as 'error', or as 'connect'. The request is taken if
    /// all is well.
    pub(crate) fn connect(&mut self, id: Id, request: &mut Option<ConnectRequest>) -> Result<()> {
        let Some(stream) = self.stream(id) else {
            return Err(Error::handle_gone());
        };
        let Some(request) = request.take() else {
            unreachable!("handed in by the only caller");
        };
        stream.common.flags.clear(flag::WRITE_AFTER_FIN);
        let mut errored = None;
        if stream.common.flags.any(flag::UNCONNECTED) {
            stream.common.flags.clear(LIFE);
            stream.remote = None;
            stream.bytes_read = 0;
            stream.bytes_dispatched = 0;
            stream.ready = 0;
            let extra = stream.extra();
            extra.life = extra.life.wrapping_add(1);
            extra.local = None;
            extra.attempt = None;
            extra.several = None;
            #[cfg(unix)]
            {
                extra.path_attempt = None;
            }
            extra.attempted.clear();
            extra.cancelled_attempt = None;
            // A reset waits on, as a listener does; writes are over.
            extra
                .awaits_connect
                .retain(|(_, what)| *what == Awaiting::Reset);
            errored = stream.errored.take();
        }
        stream.common.flags.set(flag::CONNECTING);
        let life = stream.extra().life;
        let timeout = stream.common.flags.any(flag::TIMEOUT);
        if let Some(error) = errored {
            self.bury(error);
        }
        if timeout {
            self.touch(id);
        }
        if let Some(deadline_ms) = request.deadline_ms {
            self.set_connect_deadline(id, deadline_ms);
        }
        #[cfg(unix)]
        if let ConnectHost::Path(path) = request.host {
            self.connect_to_path(id, path);
            return Ok(());
        }
        let request = Box::new(request);
        match request.is_literal() {
            true => self.ticks.push(Task::Connect(id, life, request)),
            false => self.look_up_host(id, life, request),
        }
        Ok(())
    }

    /// The tick of `connect` to an address: there is nothing to look up.
    pub(crate) fn connect_on_tick(&mut self, id: Id, life: u32, request: &ConnectRequest) {
        if !self.is_connecting(id, life) {
            return;
        }
        let address = match &request.host {
            ConnectHost::Address(ip, scope) => Some((*ip, *scope)),
            ConnectHost::Name(name) => parse_literal(name).map(|(ip, zone)| {
                let scope = zone.map_or(0, |zone| self.backend.scope_id(ip, zone));
                (ip, scope)
            }),
            #[cfg(unix)]
            ConnectHost::Path(_) => None,
        };
        let Some(address) = address else {
            unreachable!("names are looked up, paths connected to at once");
        };
        self.attempt(id, life, request, address);
    }

    /// A name was looked up, and 'lookup' emitted (Node's emitLookup).
    pub(crate) fn after_look_up(&mut self, id: Id, request: Box<ConnectRequest>, answer: Answer) {
        let Some(stream) = self.stream(id) else {
            return self.bury(answer);
        };
        if !stream.common.flags.any(flag::CONNECTING) {
            return self.bury(answer);
        }
        let life = stream.extra().life;
        let timeout = stream.common.flags.any(flag::TIMEOUT);
        let found = match answer {
            Ok(found) => found,
            Err(error) => return self.ticks.push(Task::Destroy(id, error)),
        };
        if timeout {
            // N204.
            self.touch(id);
        }
        if self.tries_several(&request) {
            return self.attempt_several(id, life, request, &found);
        }
        if let Some(first) = found.first() {
            self.attempt(id, life, &request, *first);
        }
    }

    /// Connects to one address (internalConnect).
    pub(crate) fn attempt(&mut self, id: Id, life: u32, request: &ConnectRequest, to: Found) {
        let address = with_scope(to.0, request.port, to.1);
        let local = local_end(request, address);
        if let Some(stream) = self.stream(id) {
            // Asked when 'connectionAttempt' was emitted.
            stream.extra().block_list.clone_from(&request.block_list);
        }
        let unconnected = match (self.backend.open(address, local), local) {
            (Err(error), Some(local)) if !is_delayed(&error, local) => {
                let error = Error::with_address("bind", error, local, None);
                return self.destroy(id, Some(error));
            }
            (opened, _) => opened,
        };
        let start = Start {
            address,
            local,
            unconnected,
            is_one_of_several: false,
        };
        self.steps.push_back(Task::EmitAttempt(id, address));
        self.steps
            .push_back(Task::StartConnect(id, life, Box::new(start)));
    }

    /// After 'connectionAttempt': the system call.
    pub(crate) fn start_connect(&mut self, id: Id, life: u32, start: Start) {
        if !self.is_connecting(id, life) {
            return;
        }
        let State {
            entries, backend, ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        let Start {
            address,
            local,
            unconnected,
            is_one_of_several,
        } = start;
        if let Some(io) = &stream.io
            && !is_one_of_several
        {
            // `connect` was called again before the first call had ended (N109).
            let error = backend::already_connecting();
            let local = backend.local_address(io).ok();
            let error = Error::refused_at_once(error, address, local);
            return self.destroy(id, Some(error));
        }
        let list = stream.extra().block_list.as_ref();
        if !is_one_of_several && list.is_some_and(|list| list.check(address)) {
            let error = Error::ip_blocked(address.ip());
            return self.destroy(id, Some(error));
        }
        if is_one_of_several {
            stream.extra().attempted.push(address);
        }
        let begun = match unconnected {
            Ok(unconnected) => backend.connect(unconnected, address, State::token(id)),
            Err(error) => Err((error, None)),
        };
        let (io, refused) = match begun {
            Ok(io) => (Some(io), None),
            Err((error, local)) if !LATER.contains(&error.kind()) => {
                let error = Error::refused_at_once(error, address, local);
                return match is_one_of_several {
                    true => self.next_after_failure(id, life, address, error),
                    false => self.destroy(id, Some(error)),
                };
            }
            Err((error, _)) => (None, Some(error)),
        };
        let attempt = Attempt {
            address,
            local,
            refused,
        };
        self.attempt_begun(id, io, attempt);
    }

    /// An attempt is under way; its socket is the one that options are set on. One before it, if
    /// there are several, goes on beside it.
    fn attempt_begun(&mut self, id: Id, io: Option<backend::Stream>, attempt: Attempt) {
        let State { entries, live, .. } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        if !stream.common.flags.any(flag::CONNECT_PENDING) {
            stream.common.flags.set(flag::CONNECT_PENDING);
            live.requests += 1;
        }
        let was_refused = attempt.refused.is_some();
        let before = std::mem::replace(&mut stream.io, io);
        let extra = stream.extra();
        extra.local = None;
        let before = (before, extra.attempt.replace(Box::new(attempt)));
        if let (Some(io), Some(attempt)) = before
            && let Some(several) = &mut extra.several
        {
            several.others.push((io, attempt));
        }
        if was_refused {
            self.pending.push_back(id);
        }
    }

    /// The kernel has decided (Node's afterConnect).
    pub(crate) fn finish_connect(&mut self, id: Id) {
        let State {
            entries,
            backend,
            settings,
            ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        if !stream.common.flags.any(flag::CONNECT_PENDING) {
            return;
        }
        #[cfg(unix)]
        if stream.extra().path_attempt.is_some() {
            return self.finish_connect_to_path(id);
        }
        if stream.extra().several.is_some() {
            return self.look_at_attempts(id);
        }
        // Where events are less than edges this one may be no more than a guess.
        if (settings.spurious_events || !backend.has_edges())
            && let Some(io) = &stream.io
            && is_undecided(backend, io, stream.ready)
        {
            stream.ready &= !ready::WRITABLE;
            return;
        }
        let Some(mut attempt) = stream.extra().attempt.take() else {
            return;
        };
        let failed = attempt.failure(backend, stream.io.as_ref());
        self.none_under_way(id);
        if let Some(error) = failed {
            if let Some(stream) = self.stream(id) {
                stream.common.flags.clear(flag::CONNECTING);
            }
            let address = attempt.address;
            self.steps
                .push_back(Task::EmitAttemptFailed(id, address, error.clone()));
            self.steps.push_back(Task::Destroy(id, error));
            return;
        }
        self.connected(id, attempt.address);
    }

    /// No attempt is under way any more.
    pub(crate) fn none_under_way(&mut self, id: Id) {
        let State { entries, live, .. } = self;
        if let Some(stream) = stream_of(entries, id)
            && stream.common.flags.any(flag::CONNECT_PENDING)
        {
            stream.common.flags.clear(flag::CONNECT_PENDING);
            live.requests -= 1;
        }
    }

    /// The connection stands.
    pub(crate) fn connected(&mut self, id: Id, address: SocketAddr) {
        let State {
            entries, backend, ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        stream.common.flags.clear(flag::CONNECTING);
        stream.ready |= ready::WRITABLE;
        let mut remote = address;
        if let Some(io) = &stream.io {
            if remote.ip().is_unspecified() || backend::lacks_zone(remote) {
                remote = backend.remote_address(io).unwrap_or(remote);
            }
            if stream.common.flags.any(flag::NO_DELAY) {
                backend.set_no_delay(io, true);
            }
            if let Some(extra) = &stream.extra {
                if extra.keep_alive.is_some() {
                    backend.set_keep_alive(io, extra.keep_alive);
                }
                if let Some(tos) = extra.type_of_service {
                    // As the other options set before: nobody is told of a failure.
                    let _ = set_type_of_service(backend, io, remote, tos);
                }
            }
        }
        stream.remote = Some(Peer::new(remote));
        self.tell_connected(id);
    }

    /// 'connect' and what belongs to it.
    pub(crate) fn tell_connected(&mut self, id: Id) {
        let State { entries, steps, .. } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        let timeout = stream.common.flags.any(flag::TIMEOUT);
        steps.push_back(Task::EmitConnect(id));
        steps.push_back(Task::AfterConnect(id));
        steps.push_back(Task::Emit(id, SocketEvent::Ready));
        steps.push_back(Task::AfterReady(id));
        if timeout {
            self.touch(id);
        }
    }

    /// `reset_and_destroy`: the peer gets a reset (N134); while connecting it waits for 'connect'
    /// (N107).
    pub(crate) fn reset_and_destroy(&mut self, id: Id) {
        let State {
            entries, backend, ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        let flags = stream.common.flags;
        if flags.any(flag::UNCONNECTED) {
            if !flags.any(flag::DESTROYED) {
                let error = socket_closed();
                self.destroy(id, Some(error));
            }
            return;
        }
        if flags.any(flag::UNIX) {
            let error =
                Error::library("ERR_INVALID_HANDLE_TYPE", "This handle type cannot be sent");
            return self.destroy(id, Some(error));
        }
        if flags.any(flag::CONNECTING) {
            return self.await_connect(id, Awaiting::Reset);
        }
        if let Some(io) = &stream.io {
            backend.reset_at_close(io);
        }
        self.destroy(id, None);
    }

    pub(crate) fn is_connecting_now(&mut self, id: Id) -> bool {
        self.stream(id)
            .is_some_and(|stream| stream.common.flags.any(flag::CONNECTING))
    }

    pub(crate) fn is_connecting(&mut self, id: Id, life: u32) -> bool {
        self.stream(id).is_some_and(|stream| {
            stream.common.flags.any(flag::CONNECTING) && stream.extra().life == life
        })
    }
}

impl Attempt {
    /// Why it has failed, if it has. Asked always, as Node does: the peer may have reset the
    /// connection since the event, and then it never stood (N134).
    pub(crate) fn failure(
        &mut self,
        backend: &mut Backend,
        io: Option<&backend::Stream>,
    ) -> Option<Error> {
        let error = self.refused.take().or_else(|| backend.take_error(io?))?;
        Some(self.error(error))
    }

    /// Its error. Node tells the local end only where its port was asked for (N101).
    pub(crate) fn error(&self, error: io::Error) -> Error {
        let local = self.local.filter(|local| local.port() > 0);
        Error::with_address("connect", error, self.address, local)
    }
}

/// Whether an address can't be bound since none of its ports is free. That is told as an error of the attempt
/// (N114), as libuv puts it off; where a port was asked for Node looks for it at once.
fn is_delayed(error: &io::Error, local: SocketAddr) -> bool {
    error.kind() == io::ErrorKind::AddrInUse && local.port() == 0
}

impl Start {
    /// One of several.
    pub(crate) fn one_of_several(
        address: SocketAddr,
        local: Option<SocketAddr>,
        unconnected: io::Result<Unconnected>,
    ) -> Start {
        Start {
            address,
            local,
            unconnected,
            is_one_of_several: true,
        }
    }
}

impl Stream {
    /// The address that the attempt under way goes to; the latest, if there are several.
    pub(crate) fn attempted_address(&self) -> Option<SocketAddr> {
        Some(self.extra.as_ref()?.attempt.as_ref()?.address)
    }
}

/// Whether the kernel has neither made the connection nor given it up.
fn is_undecided(backend: &mut Backend, io: &backend::Stream, bits: u8) -> bool {
    bits & (ready::ERROR | ready::HANG_UP) == 0 && backend.remote_address(io).is_err()
}
