//! How a socket is connected: from `connect` to 'ready', or to the error that prevents it.
//!
//! As in Node the attempt begins on the tick after `connect`, whatever the address (N97). What is
//! written before the connection stands is kept; it is sent between the 'connect' listeners that
//! were there before the first write and those that came after (N99). A socket whose 'close' was
//! emitted can be connected again and begins a new life (N110).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::core::Core;
use super::entry::{Peer, Stream, flag, stream_of};
use super::handle::{Id, Socket};
use super::server::with_scope;
use super::socket;
use super::sockopt::set_type_of_service;
use super::state::State;
use super::task::{SocketEvent, Task};
use crate::backend::{self, Backend, Unconnected, ready};
use crate::ground::error::{Error, Result};
use crate::ground::listeners::ListenerId;

/// Where to connect to.
#[derive(Debug, Clone)]
pub(crate) struct ConnectRequest {
    /// The address, or its text.
    pub(crate) host: ConnectHost,
    /// The port.
    pub(crate) port: u16,
    /// The address at this end; any if none.
    pub(crate) local_address: Option<IpAddr>,
    /// The port at this end; 0 has the system choose.
    pub(crate) local_port: u16,
    /// How long it may take.
    pub(crate) deadline_ms: Option<u64>,
}

/// The address part of where to connect to.
#[derive(Debug, Clone)]
pub(crate) enum ConnectHost {
    /// An address, with its scope.
    Address(IpAddr, u32),
    /// An address as text.
    Name(String),
}

impl fmt::Display for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            ConnectHost::Address(address, scope) => {
                write!(f, "{}", with_scope(*address, self.port, *scope))
            }
            ConnectHost::Name(name) => write!(f, "{name}, port {}", self.port),
        }
    }
}

/// What is remembered of an attempt.
pub(crate) struct Attempt {
    /// The address it goes to.
    address: SocketAddr,
    /// The address it was to come from, if that was asked for.
    local: Option<SocketAddr>,
    /// The listener that was added last before the first write.
    pub(crate) written_behind: Option<ListenerId>,
    /// An error that the system knew at once, to be told later (N116).
    refused: Option<io::Error>,
}

/// The flags that begin anew with each life (Node's undestroy).
const LIFE: u64 = flag::DESTROYED
    | flag::HAD_ERROR
    | flag::ERRORED
    | flag::ERROR_EMITTED
    | flag::CLOSE_EMITTED
    | flag::READ_ENDED
    | flag::END_EMITTED
    | flag::END_CERTAIN
    | flag::ENDING
    | flag::FINAL_CALLED
    | flag::FINISHED
    | flag::DESTROY_ON_FINISH
    | flag::RESET_ON_CONNECT
    | flag::UNCONNECTED
    | flag::OVER;

impl State {
    /// `connect`. What the system finds comes as 'error', or as 'connect'.
    pub(crate) fn connect(&mut self, id: Id, request: ConnectRequest) -> Result<()> {
        let Some(stream) = self.stream(id) else {
            return Err(Error::handle_gone());
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
            // Of an attempt that was given up: a write notes its place in what is there.
            extra.attempt = None;
            extra.written_behind = None;
            errored = extra.errored.take();
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
        self.ticks.push(Task::Connect(id, life, request));
        Ok(())
    }

    /// The tick of `connect`: the look-up is over (Node's internalConnect).
    pub(crate) fn connect_on_tick(&mut self, id: Id, life: u32, request: &ConnectRequest) {
        if !self.is_connecting(id, life) {
            return;
        }
        let (ip, scope) = match &request.host {
            ConnectHost::Address(ip, scope) => (*ip, *scope),
            ConnectHost::Name(name) => match super::server::parse_address(name) {
                Some(literal) => literal,
                None => return self.destroy(id, Some(Error::names_not_supported(name))),
            },
        };
        let address = with_scope(ip, request.port, scope);
        let local = (request.local_address.is_some() || request.local_port > 0).then(|| {
            let ip = request.local_address.unwrap_or(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
            });
            SocketAddr::new(ip, request.local_port)
        });
        match self.backend.open(address, local) {
            Ok(unconnected) => {
                self.steps.push_back(Task::EmitAttempt(id, address));
                self.steps
                    .push_back(Task::StartConnect(id, life, address, local, unconnected));
            }
            Err(error) => {
                let local = local.unwrap_or(address);
                let error = Error::with_address("bind", error, local, None);
                self.destroy(id, Some(error));
            }
        }
    }

    /// After 'connectionAttempt': the system call.
    pub(crate) fn start_connect(
        &mut self,
        id: Id,
        life: u32,
        address: SocketAddr,
        local: Option<SocketAddr>,
        unconnected: Unconnected,
    ) {
        if !self.is_connecting(id, life) {
            return;
        }
        let State {
            entries,
            backend,
            live,
            ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        if let Some(io) = &stream.io {
            // `connect` was called again before the first call had ended (N109).
            let error = io::Error::from_raw_os_error(backend.already_connecting());
            let local = backend.local_address(io).ok();
            let error = Error::refused_at_once(error, address, local);
            return self.destroy(id, Some(error));
        }
        let mut attempt = Attempt {
            address,
            local,
            written_behind: stream.extra().written_behind.take(),
            refused: None,
        };
        let connected = backend.connect(unconnected, address, State::token(id));
        let (io, refused) = match connected {
            Ok(io) => (Some(io), None),
            Err((error, local)) if error.kind() != io::ErrorKind::ConnectionRefused => {
                let error = Error::refused_at_once(error, address, local);
                return self.destroy(id, Some(error));
            }
            // Never told at once (C4, N116).
            Err((error, _)) => (None, Some(error)),
        };
        stream.common.flags.set(flag::CONNECT_PENDING);
        live.requests += 1;
        stream.io = io;
        let was_refused = refused.is_some();
        attempt.refused = refused;
        stream.extra().attempt = Some(Box::new(attempt));
        if was_refused {
            self.pending.push_back(id);
        }
    }

    /// The kernel has decided (Node's afterConnect).
    pub(crate) fn finish_connect(&mut self, id: Id) {
        let State {
            entries,
            backend,
            live,
            steps,
            settings,
            ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        if !stream.common.flags.any(flag::CONNECT_PENDING) {
            return;
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
            unreachable!("a pending connect is remembered");
        };
        // Asked always, as Node does: the peer may have reset the connection since the event, and
        // then it never stood (N134).
        let failed = attempt
            .refused
            .take()
            .or_else(|| backend.take_error(stream.io.as_ref()?));
        stream
            .common
            .flags
            .clear(flag::CONNECT_PENDING | flag::CONNECTING);
        live.requests -= 1;
        if let Some(error) = failed {
            // Node tells the local end only where its port was asked for (N101).
            let local = attempt.local.filter(|local| local.port() > 0);
            let error = Error::with_address("connect", error, attempt.address, local);
            steps.push_back(Task::EmitAttemptFailed(id, attempt.address, error.clone()));
            steps.push_back(Task::Destroy(id, error));
            return;
        }
        stream.ready |= ready::WRITABLE;
        let mut remote = attempt.address;
        if let Some(io) = &stream.io {
            if remote.ip().is_unspecified() {
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
        let timeout = stream.common.flags.any(flag::TIMEOUT);
        // What was written before goes out between the listeners that were there by then and the
        // others (N99).
        let behind = attempt.written_behind;
        steps.push_back(Task::EmitConnect(id, behind, true));
        if behind.is_some() {
            steps.push_back(Task::FlushPending(id));
            steps.push_back(Task::EmitConnect(id, behind, false));
        }
        steps.push_back(Task::AfterConnect(id));
        steps.push_back(Task::Emit(id, SocketEvent::Ready));
        steps.push_back(Task::AfterReady(id));
        if timeout {
            self.touch(id);
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
            let error = Error::library("ERR_SOCKET_CLOSED", "Socket is closed");
            self.fail_in_flight(id, error, false);
        } else {
            stream.common.flags.clear(flag::WRITE_PENDING);
            live.requests += 1;
            self.touch_writing(id);
            self.flush_queue(id);
        }
        self.steps.extend(later);
    }

    /// After 'connect': an end or a reset that waited for it.
    pub(crate) fn after_connect(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let flags = stream.common.flags;
        if flags.any(flag::DESTROYED) {
            return;
        }
        if flags.any(flag::RESET_ON_CONNECT) {
            return self.reset_and_destroy(id);
        }
        if flags.any(flag::FINAL_CALLED) {
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
                let error = Error::library("ERR_SOCKET_CLOSED", "Socket is closed");
                self.destroy(id, Some(error));
            }
            return;
        }
        if flags.any(flag::CONNECTING) {
            stream.common.flags.set(flag::RESET_ON_CONNECT);
            return;
        }
        if let Some(io) = &stream.io {
            backend.reset_at_close(io);
        }
        self.destroy(id, None);
    }

    fn is_connecting(&mut self, id: Id, life: u32) -> bool {
        self.stream(id).is_some_and(|stream| {
            stream.common.flags.any(flag::CONNECTING) && stream.extra().life == life
        })
    }
}

impl Stream {
    /// The address that the attempt under way goes to.
    pub(crate) fn attempted_address(&self) -> Option<SocketAddr> {
        Some(self.extra.as_ref()?.attempt.as_ref()?.address)
    }
}

/// Whether the kernel has neither made the connection nor given it up.
fn is_undecided(backend: &mut Backend, io: &backend::Stream, bits: u8) -> bool {
    bits & (ready::ERROR | ready::HANG_UP) == 0 && backend.remote_address(io).is_err()
}

/// Emits 'connect' to the listeners that were added before the first write, or to the others.
pub(crate) fn emit_connect(core: &Core, id: Id, behind: Option<ListenerId>, before: bool) {
    let socket = Socket(core.raw(id));
    core.emit_where(
        id,
        socket::slot_of(SocketEvent::Connect),
        |listener| match behind {
            None => before,
            Some(behind) => (listener.0 <= behind.0) == before,
        },
        |listener| listener(socket),
    );
}
