//! The server as a user sees it.

use std::net::SocketAddr;
use std::panic::Location;

use super::options::{ListenOptions, ServerOptions};
use crate::event_loop::api::AsLoop;
use crate::event_loop::core::SlotOf;
use crate::event_loop::entry::{DropInfo, Entry, ServerState, flag};
use crate::event_loop::handle::{Server, Socket};
use crate::event_loop::server::{self as state, ListenRequest};
use crate::event_loop::table;
use crate::ground::error::{Completion, Error, Result};
use crate::ground::listeners::{ListenerId, Shared, Slot, shared};

/// Makes a TCP server: Node's `net.createServer`. `on_connection` is called for every connection,
/// in the poll phase of the turn that accepts it. It does not listen yet: see
/// [`listen`](Server::listen).
#[track_caller]
pub fn create_server(lp: &impl AsLoop, mut on_connection: impl FnMut(Socket) + 'static) -> Server {
    let server = Server::new(lp, ServerOptions::new());
    server.on_connection(move |_, socket| on_connection(socket));
    server
}

/// Makes a TCP server with options: Node's `net.createServer(options, listener)`.
#[track_caller]
pub fn create_server_with(
    lp: &impl AsLoop,
    options: ServerOptions,
    mut on_connection: impl FnMut(Socket) + 'static,
) -> Server {
    let server = Server::new(lp, options);
    server.on_connection(move |_, socket| on_connection(socket));
    server
}

impl Server {
    /// Makes a TCP server without a listener: Node's `new net.Server(options)`.
    #[track_caller]
    pub fn new(lp: &impl AsLoop, options: ServerOptions) -> Server {
        let origin = Location::caller();
        let lp = lp.event_loop();
        let id = lp.with(|state| {
            state.insert(flag::REFERENCED, origin, |common| {
                Entry::Server(Box::new(ServerState {
                    common,
                    listener: None,
                    #[cfg(unix)]
                    path: None,
                    ready: 0,
                    listening_id: 0,
                    is_looking_up: false,
                    look_up: None,
                    connections: 0,
                    options: options.accept,
                    max_connections: None,
                    block_list: options.block_list,
                    drop: Slot::Empty,
                    connection: Slot::Empty,
                    listening: Slot::Empty,
                    close: Slot::Empty,
                    error: Slot::Empty,
                }))
            })
        });
        let server = Server(lp.raw(id));
        log::debug!(target: "nodeloop::net", "{server:?} made at {origin}");
        server
    }

    /// Listens at a port, an address, or what [`ListenOptions`] say: Node's `server.listen`.
    ///
    /// 'listening' comes on a tick. While it listens the server keeps the loop alive. After
    /// `close`, and after an 'error' from `listen`, it may listen again.
    ///
    /// Failures reported by the system come as an 'error' event on a tick: `EADDRINUSE`,
    /// `EADDRNOTAVAIL`, `EACCES`, `EINVAL`, with the system call `listen`, address and port. A
    /// failed look-up comes in the poll phase: `ENOTFOUND` or `EAI_AGAIN` with the system call
    /// `getaddrinfo` and the host name. 'close' does not follow (N76). A look-up keeps the loop
    /// alive until it is over, or `close` is called.
    ///
    /// # Errors
    /// - `ERR_SERVER_ALREADY_LISTEN` if it listens.
    /// - `ERR_INVALID_ARG_VALUE` for a host with a NUL in it.
    /// - `ERR_HANDLE_GONE` if the server is gone.
    pub fn listen(self, at: impl Into<ListenOptions>) -> Result<()> {
        let request = at.into().request;
        self.listen_at(request)
    }

    /// Like [`listen`](Server::listen), and calls `listener` at the next 'listening'. If 'error' comes
    /// instead, the listener stays for the next `listen` that succeeds (N74).
    ///
    /// # Errors
    /// As [`listen`](Server::listen); the listener is not added then.
    pub fn listen_then(
        self,
        at: impl Into<ListenOptions>,
        listener: impl FnOnce(Server) + 'static,
    ) -> Result<()> {
        let request = at.into().request;
        self.listen_at(request)?;
        // Added behind the call, yet in time: 'listening' comes on a tick.
        self.once_listening(listener);
        Ok(())
    }

    fn listen_at(self, request: ListenRequest) -> Result<()> {
        log::debug!(target: "nodeloop::net", "{self:?} listens at {request}");
        table::with(self.0, |state, id| state.listen(id, request))
            .unwrap_or_else(|| Err(Error::handle_gone()))
    }

    /// Stops listening, at once; connections go on. 'close' comes on a tick once all of them are
    /// destroyed (N79, N80). Calling it again emits 'close' again (N81). Node's `server.close`.
    pub fn close(self) {
        log::debug!(target: "nodeloop::net", "{self:?} closes");
        table::with(self.0, |state, id| state.close_server(id));
    }

    /// Like [`close`](Server::close), and calls `done` at 'close': with `ERR_SERVER_NOT_RUNNING` if
    /// it was not listening (N81), with `ERR_HANDLE_GONE` if the server is gone.
    pub fn close_then(self, done: impl FnOnce(Result<()>) + 'static) {
        let exists = table::with(self.0, |state, id| state.server(id).is_some());
        if exists != Some(true) {
            let done: Completion = Box::new(done);
            table::with(self.0, |state, _| state::complete_gone(state, done));
            return;
        }
        let result = table::with(self.0, state::close_result).unwrap_or(Ok(()));
        self.once_close(move |_| done(result));
        self.close();
    }

    /// Like [`close`](Server::close), and destroys every connection of this server. Node has no
    /// such call. It looks at every socket of the loop.
    pub fn close_all(self) {
        log::debug!(target: "nodeloop::net", "{self:?} closes with its connections");
        table::with(self.0, |state, id| state.close_all(id));
    }

    /// Whether it listens: Node's `server.listening`.
    pub fn listening(self) -> bool {
        table::with(self.0, state::is_listening).unwrap_or(false)
    }

    /// The address it listens at: Node's `server.address()`. None while it does not listen, and at
    /// a path: see `path`.
    pub fn address(self) -> Option<SocketAddr> {
        table::with(self.0, |state, id| state.server_address(id)).flatten()
    }

    /// How many of its connections are not destroyed: the count that Node's `server.getConnections`
    /// reports.
    pub fn connections(self) -> usize {
        table::with(self.0, |state, id| {
            state.server(id).map_or(0, |server| server.connections)
        })
        .unwrap_or(0)
    }

    /// Limits the number of simultaneous connections: Node's `server.maxConnections`. None, the
    /// default, is no limit; 0 drops all. A connection beyond the limit is accepted and closed at
    /// once, and 'drop' is emitted instead of 'connection' (N85). Lowering the limit leaves
    /// existing connections open.
    pub fn set_max_connections(self, limit: Option<usize>) {
        table::with(self.0, |state, id| {
            if let Some(server) = state.server(id) {
                server.max_connections = limit;
            }
        });
    }

    /// The limit set with [`set_max_connections`](Server::set_max_connections).
    pub fn max_connections(self) -> Option<usize> {
        table::with(self.0, |state, id| state.server(id)?.max_connections).flatten()
    }

    /// Lets the server keep the loop alive while it listens, as it does by default: Node's
    /// `server.ref`. Calls are not counted.
    pub fn set_ref(self) {
        self.set_referenced(true);
    }

    /// Stops the server from keeping the loop alive: Node's `server.unref`. Its sockets are not
    /// affected (N50).
    pub fn unref(self) {
        self.set_referenced(false);
    }

    /// Whether it would keep the loop alive.
    pub fn has_ref(self) -> bool {
        table::with(self.0, |state, id| {
            state
                .server(id)
                .is_some_and(|server| server.common.flags.any(flag::REFERENCED))
        })
        .unwrap_or(false)
    }

    /// Holds the server in its slot, with its listeners, after its 'close', until
    /// [`release`](Server::release) or the end of the loop, so that it can listen again later.
    /// (Listening again inside its own 'close' needs no `keep`.) It does not keep the loop alive.
    pub fn keep(self) {
        self.set_kept(true);
    }

    /// Ends [`keep`](Server::keep).
    pub fn release(self) {
        self.set_kept(false);
    }

    /// Adds a listener for 'listening', which comes a tick after `listen` has succeeded.
    pub fn on_listening(self, listener: impl FnMut(Server) + 'static) -> ListenerId {
        self.add(state::listening_slot, shared(listener), false)
    }

    /// Adds a listener for the next 'listening'.
    pub fn once_listening(self, listener: impl FnOnce(Server) + 'static) -> ListenerId {
        let mut listener = Some(listener);
        let call = move |server| {
            if let Some(listener) = listener.take() {
                listener(server);
            }
        };
        self.add(state::listening_slot, shared(call), true)
    }

    /// Adds a listener for 'connection': one for each connection, in the poll phase. A server takes
    /// one connection per turn (N10).
    ///
    /// When the process is out of descriptors there is neither 'connection' nor 'drop' nor 'error',
    /// as in Node (N93). A new connection is accepted and closed at once, or waits if no descriptor
    /// is left for that. The log warns once in a loop's life, and [`shed`](crate::Counts::shed)
    /// counts.
    pub fn on_connection(self, listener: impl FnMut(Server, Socket) + 'static) -> ListenerId {
        self.add(state::connection_slot, shared(listener), false)
    }

    /// Adds a listener for the next 'connection'.
    pub fn once_connection(self, listener: impl FnOnce(Server, Socket) + 'static) -> ListenerId {
        let mut listener = Some(listener);
        let call = move |server, socket| {
            if let Some(listener) = listener.take() {
                listener(server, socket);
            }
        };
        self.add(state::connection_slot, shared(call), true)
    }

    /// Adds a listener for 'drop': a connection was closed because the server had reached its
    /// [limit](Server::set_max_connections).
    pub fn on_drop(self, listener: impl FnMut(Server, &DropInfo) + 'static) -> ListenerId {
        self.add(state::drop_slot, shared(listener), false)
    }

    /// Adds a listener for 'close', which comes on a tick once the server no longer listens and its
    /// last connection is destroyed, usually before that connection's own 'close' (N80).
    pub fn on_close(self, listener: impl FnMut(Server) + 'static) -> ListenerId {
        self.add(state::close_slot, shared(listener), false)
    }

    /// Adds a listener for the next 'close'.
    pub fn once_close(self, listener: impl FnOnce(Server) + 'static) -> ListenerId {
        let mut listener = Some(listener);
        let call = move |server| {
            if let Some(listener) = listener.take() {
                listener(server);
            }
        };
        self.add(state::close_slot, shared(call), true)
    }

    /// Adds a listener for 'error': a failure of [`listen`](Server::listen). An 'error' without a
    /// listener ends [`run`](crate::Loop::run).
    pub fn on_error(self, listener: impl FnMut(Server, &Error) + 'static) -> ListenerId {
        self.add(state::error_slot, shared(listener), false)
    }

    /// Adds a listener for the next 'error'.
    pub fn once_error(self, listener: impl FnOnce(Server, &Error) + 'static) -> ListenerId {
        let mut listener = Some(listener);
        let call = move |server: Server, error: &Error| {
            if let Some(listener) = listener.take() {
                listener(server, error);
            }
        };
        self.add(state::error_slot, shared(call), true)
    }

    /// Removes a listener for any event: Node's `off`. A listener removed while its event is
    /// emitted still runs (N16).
    pub fn off(self, listener: ListenerId) {
        crate::event_loop::extension::remove_listener(self.0, listener);
    }

    fn add<F: ?Sized + 'static>(self, slot: SlotOf<F>, call: Shared<F>, once: bool) -> ListenerId {
        crate::event_loop::extension::add_listener(self.0, slot, call, once)
    }

    fn set_referenced(self, referenced: bool) {
        super::socket::set_referenced(self.0, referenced);
    }

    fn set_kept(self, kept: bool) {
        super::socket::set_kept(self.0, kept);
    }
}
