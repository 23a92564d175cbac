//! The life of a server: listening, accepting, closing.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
#[cfg(unix)]
use std::os::fd::OwnedFd;
#[cfg(unix)]
use std::path::PathBuf;
#[cfg(unix)]
use std::sync::Arc;

use super::entry::{DropInfo, Entry, ServerState, flag, server_of};
use super::handle::{Id, Server, Socket};
use super::look_up::{Answer, Answered};
use super::state::{Reap, State};
use super::task::Task;
use crate::backend::{self, ready};
use crate::ground::addresses::{host_of, parse_literal};
use crate::ground::error::{Completion, Error, Result};
use crate::ground::listeners::Slot;
use crate::ground::look_up::{LookupOptions, Query, to_listen_at};
use crate::ground::mutations::mutated;

/// Where to listen.
#[derive(Debug, Clone)]
pub(crate) struct ListenRequest {
    /// What address.
    pub(crate) host: ListenHost,
    /// What port; 0 lets the system choose.
    pub(crate) port: u16,
    /// The rest of it.
    pub(crate) options: backend::ListenOptions,
}

/// The address part of where to listen.
#[derive(Debug, Clone)]
pub(crate) enum ListenHost {
    /// All addresses: `::` with IPv4 beside it where there is IPv6, else `0.0.0.0` (N69).
    Any,
    /// An address that needs no look-up.
    Address(IpAddr, u32),
    /// An address as text, or a name, looked up (N67).
    Name(String),
    /// A Unix socket.
    #[cfg(unix)]
    Path(PathBuf),
    /// A socket that exists. Shared, since requests are cloned.
    #[cfg(unix)]
    Descriptor(Arc<OwnedFd>),
}

impl fmt::Display for ListenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.host {
            ListenHost::Any => write!(f, "port {port} of every address"),
            ListenHost::Address(address, scope) => {
                write!(f, "{}", with_scope(*address, port, *scope))
            }
            ListenHost::Name(name) => write!(f, "{name}, port {port}"),
            #[cfg(unix)]
            ListenHost::Path(path) => write!(f, "{}", path.display()),
            #[cfg(unix)]
            ListenHost::Descriptor(descriptor) => write!(f, "{descriptor:?}"),
        }
    }
}

impl State {
    /// `listen`. What the system finds comes as 'error' or 'listening' on a tick; only what Node
    /// throws is returned.
    pub(crate) fn listen(&mut self, id: Id, request: ListenRequest) -> Result<()> {
        let Some(server) = self.server(id) else {
            return Err(Error::handle_gone());
        };
        if server.listener.is_some() {
            return Err(Error::library(
                "ERR_SERVER_ALREADY_LISTEN",
                "Listen method has been called more than once without closing.",
            ));
        }
        if let ListenHost::Name(name) = &request.host
            && name.contains('\0')
        {
            return Err(Error::host_with_nul(name));
        }
        #[cfg(unix)]
        super::paths::check_listen(&request)?;
        server.listening_id = server.listening_id.wrapping_add(1);
        let listening_id = server.listening_id;
        self.abandon_listen_look_up(id);
        match &request.host {
            ListenHost::Name(name) if parse_literal(name).is_none() => {
                self.look_up_listen_host(id, listening_id, name.clone(), request);
            }
            ListenHost::Name(_) => {
                if let Some(server) = self.server(id) {
                    server.is_looking_up = true;
                }
                let request = Box::new(request);
                self.ticks.push(Task::Listen(id, listening_id, request));
            }
            ListenHost::Any | ListenHost::Address(..) => self.set_up_listening(id, &request),
            #[cfg(unix)]
            ListenHost::Path(_) => return self.listen_at_path(id, request),
            #[cfg(unix)]
            ListenHost::Descriptor(_) => self.listen_at_descriptor(id, request),
        }
        Ok(())
    }

    /// Looks up where to listen (lookupAndListen).
    fn look_up_listen_host(
        &mut self,
        id: Id,
        listening_id: u32,
        host: String,
        request: ListenRequest,
    ) {
        let Some(server) = self.server(id) else {
            return;
        };
        server.is_looking_up = true;
        let origin = server.common.origin;
        let query = Query {
            host,
            options: LookupOptions::new(),
        };
        let asked = request.clone();
        let answered: Answered = Box::new(move |lp, answer| {
            lp.with(|state| state.listen_answered(id, listening_id, asked, answer));
        });
        match self.start_look_up(query, answered, origin) {
            Ok(job) => {
                if let Some(server) = self.server(id) {
                    server.look_up = Some(job);
                }
            }
            Err((error, answered)) => {
                self.bury(answered);
                let request = Box::new(request);
                let answer = Task::ListenAnswer(id, listening_id, request, Err(error));
                self.ticks.push(answer);
            }
        }
    }

    /// Nobody waits for the look-up any more.
    fn abandon_listen_look_up(&mut self, id: Id) {
        let job = self.server(id).and_then(|server| server.look_up.take());
        if let Some(job) = job {
            self.abandon_job(job);
        }
    }

    /// The tick of a host that is an address.
    pub(crate) fn listen_on_tick(&mut self, id: Id, listening_id: u32, request: ListenRequest) {
        let ListenHost::Name(name) = &request.host else {
            return;
        };
        let Some((ip, zone)) = parse_literal(name) else {
            return;
        };
        let scope = zone.map_or(0, |zone| self.backend.scope_id(ip, zone));
        self.listen_answered(id, listening_id, request, Ok(vec![(ip, scope)]));
    }

    /// A host was looked up. A later `listen`, or `close`, has made it void (N72, N82).
    pub(crate) fn listen_answered(
        &mut self,
        id: Id,
        listening_id: u32,
        mut request: ListenRequest,
        answer: Answer,
    ) {
        let Some(server) = self.server(id) else {
            return self.bury(answer);
        };
        if server.listening_id != listening_id {
            return self.bury(answer);
        }
        server.is_looking_up = false;
        server.look_up = None;
        match answer {
            Ok(found) => {
                if let Some((address, scope)) = to_listen_at(&found) {
                    request.host = ListenHost::Address(address, scope);
                }
            }
            Err(error) => {
                self.steps.push_back(Task::EmitServerError(id, error));
                return;
            }
        }
        // A synchronous `listen` may have come between.
        if self
            .server(id)
            .is_some_and(|server| server.listener.is_none())
        {
            self.set_up_listening(id, &request);
        }
    }

    /// Binds and listens (Node's setupListenHandle).
    fn set_up_listening(&mut self, id: Id, request: &ListenRequest) {
        let (first, second) = match request.host {
            ListenHost::Address(address, scope) => (with_scope(address, request.port, scope), None),
            _ => (
                SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), request.port),
                Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), request.port)),
            ),
        };
        #[cfg(unix)]
        if let Some(server) = self.server(id) {
            server.path = None;
        }
        let token = State::token(id);
        let mut address = first;
        let mut listener = self.backend.listen(address, request.options, token);
        if let (Err(error), Some(second)) = (&listener, second)
            && falls_back(error)
        {
            address = second;
            listener = self.backend.listen(address, request.options, token);
        }
        match listener {
            Ok(listener) => self.listens(id, listener),
            Err(error) => {
                let error = Error::listen(error, &host_of(address), request.port);
                self.ticks.push(Task::EmitServerError(id, error));
            }
        }
    }

    /// It listens.
    pub(crate) fn listens(&mut self, id: Id, listener: backend::Listener) {
        let State { entries, live, .. } = self;
        let Some(server) = server_of(entries, id) else {
            return;
        };
        server.listener = Some(listener);
        server.ready = 0;
        // A new life for one that was kept.
        server.common.flags.clear(flag::OVER);
        server.common.set_active(true, live);
        self.ticks.push(Task::EmitListening(id));
    }

    /// The address that a server listens at.
    pub(crate) fn server_address(&mut self, id: Id) -> Option<SocketAddr> {
        let State {
            entries, backend, ..
        } = self;
        let listener = server_of(entries, id)?.listener.as_ref()?;
        backend.listener_address(listener).ok()
    }

    /// `close`: the listening socket is closed at once (N78), 'close' comes on a tick once no
    /// connection is left (N79).
    pub(crate) fn close_server(&mut self, id: Id) {
        let Some(server) = self.server(id) else {
            return;
        };
        server.listening_id = server.listening_id.wrapping_add(1);
        server.is_looking_up = false;
        self.abandon_listen_look_up(id);
        self.close_listener(id);
        self.emit_close_if_drained(id);
    }

    fn close_listener(&mut self, id: Id) {
        if let Some(listener) = self.take_listener(id) {
            self.backend.close_listener(listener);
        }
    }

    /// Takes a server's listening socket away; its registration has ended if others hold it too.
    pub(crate) fn take_listener(&mut self, id: Id) -> Option<backend::Listener> {
        let State {
            entries,
            live,
            backend,
            ..
        } = self;
        let server = server_of(entries, id)?;
        let mut listener = server.listener.take()?;
        server.common.set_active(false, live);
        if server.common.flags.any(flag::HANDED_OUT) {
            server.common.flags.clear(flag::HANDED_OUT);
            backend.deregister_listener(&mut listener);
        }
        self.closing.push(id.into());
        self.stalled_until_ms = 0;
        Some(listener)
    }

    /// `close_all`: as `close`, and every connection of the server is destroyed.
    pub(crate) fn close_all(&mut self, id: Id) {
        let sockets: Vec<Id> = self
            .entries
            .iter()
            .filter_map(|(key, entry)| match entry {
                Entry::Stream(stream)
                    if stream.server.id() == id && stream.common.flags.any(flag::COUNTED) =>
                {
                    Some(Id {
                        key: key as u32,
                        serial: stream.common.serial,
                    })
                }
                _ => None,
            })
            .collect();
        self.close_server(id);
        for socket in sockets {
            self.destroy(socket, None);
        }
    }

    fn emit_close_if_drained(&mut self, id: Id) {
        let Some(server) = self.server(id) else {
            return;
        };
        let waits = server.connections > 0 && !mutated!("a server closes before its connections");
        if server.listener.is_none() && !waits {
            self.ticks.push(Task::EmitServerClose(id));
        }
    }

    /// A connection of this server was destroyed (N80).
    pub(crate) fn connection_ended(&mut self, id: Id) {
        let Some(server) = self.server(id) else {
            return;
        };
        server.connections -= 1;
        self.emit_close_if_drained(id);
    }
}

/// Asked by `listen` and by the emission of 'listening'.
pub(crate) fn is_listening(state: &mut State, id: Id) -> bool {
    state
        .server(id)
        .is_some_and(|server| server.listener.is_some())
}

/// After this 'close' the server is to be freed, unless it listens again.
pub(crate) fn close_emission(state: &mut State, id: Id) {
    state.reap.push(Reap::Entry(id));
}

/// What `close_then` tells its listener (N81): an error if the server was not running.
pub(crate) fn close_result(state: &mut State, id: Id) -> Result<()> {
    match is_listening(state, id) {
        true => Ok(()),
        false => Err(not_running()),
    }
}

pub(crate) fn not_running() -> Error {
    Error::library("ERR_SERVER_NOT_RUNNING", "Server is not running.")
}

/// Tells a completion that its server is gone.
pub(crate) fn complete_gone(state: &mut State, done: Completion) {
    state.complete_later(Some(done), Err(Error::handle_gone));
}

/// Whether `0.0.0.0` is tried after `::`: after any failure but EADDRINUSE, which libuv lets
/// through to `listen` (A2). Node does not try it after one of `listen` itself.
fn falls_back(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::AddrInUse
}

#[inline]
pub(crate) fn with_scope(address: IpAddr, port: u16, scope: u32) -> SocketAddr {
    let mut address = SocketAddr::new(address, port);
    if let SocketAddr::V6(address) = &mut address {
        address.set_scope_id(scope);
    }
    address
}

fn as_server(entry: &mut Entry) -> Option<&mut ServerState> {
    match entry {
        Entry::Server(server) => Some(server),
        Entry::Stream(_) | Entry::Datagram(_) | Entry::Extension(_) => None,
    }
}

/// The slot of 'connection'.
pub(crate) fn connection_slot(
    entry: &mut Entry,
    _create: bool,
) -> Option<&mut Slot<dyn FnMut(Server, Socket)>> {
    Some(&mut as_server(entry)?.connection)
}

/// The slot of 'drop'.
pub(crate) fn drop_slot(
    entry: &mut Entry,
    _create: bool,
) -> Option<&mut Slot<dyn FnMut(Server, &DropInfo)>> {
    Some(&mut as_server(entry)?.drop)
}

/// The slot of 'listening'.
pub(crate) fn listening_slot(
    entry: &mut Entry,
    _create: bool,
) -> Option<&mut Slot<dyn FnMut(Server)>> {
    Some(&mut as_server(entry)?.listening)
}

/// The slot of 'close'.
pub(crate) fn close_slot(entry: &mut Entry, _create: bool) -> Option<&mut Slot<dyn FnMut(Server)>> {
    Some(&mut as_server(entry)?.close)
}

/// The slot of 'error'.
pub(crate) fn error_slot(
    entry: &mut Entry,
    _create: bool,
) -> Option<&mut Slot<dyn FnMut(Server, &Error)>> {
    Some(&mut as_server(entry)?.error)
}

impl ServerState {
    /// Whether connections may wait.
    pub(crate) fn wants_accept(&self) -> bool {
        self.listener.is_some() && self.ready & ready::READABLE != 0
    }

    /// What an accepted socket is allowed, as a flag.
    pub(crate) fn half_open_flag(&self) -> u64 {
        match self.options.allow_half_open {
            true => flag::ALLOW_HALF_OPEN,
            false => 0,
        }
    }
}
