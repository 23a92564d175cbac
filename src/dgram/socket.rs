//! The UDP socket as a user sees it: its life.

use std::cell::Cell;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::Rc;

use super::options::{BindOptions, Destination, SocketOptions, SocketType};
use super::{RemoteInfo, Socket};
use crate::event_loop::api::AsLoop;
use crate::event_loop::datagram_connect::ConnectCall;
use crate::event_loop::datagram_entry::{BindRequest, DatagramState};
use crate::event_loop::entry::flag;
use crate::event_loop::handle::Id;
use crate::event_loop::state::State;
use crate::event_loop::table;
use crate::ground::error::{Completion, Error, Result};
use crate::ground::listeners::{Shared, shared};

/// Makes a UDP socket: Node's `dgram.createSocket`. It is not bound yet.
#[track_caller]
pub fn create_socket(lp: &impl AsLoop, options: impl Into<SocketOptions>) -> Socket {
    let origin = Location::caller();
    let SocketOptions {
        socket_type,
        options,
        lookup,
    } = options.into();
    let lp = lp.event_loop();
    let is_ipv6 = socket_type == SocketType::Udp6;
    let id = lp.with(|state| state.make_datagram(is_ipv6, options, lookup, origin));
    let socket = Socket(lp.raw(id));
    log::debug!(target: "nodeloop::dgram", "{socket:?} made at {origin}");
    socket
}

/// Like [`create_socket`], with a listener for 'message': Node's `dgram.createSocket(options,
/// listener)`.
#[track_caller]
pub fn create_socket_with(
    lp: &impl AsLoop,
    options: impl Into<SocketOptions>,
    on_message: impl FnMut(Socket, &[u8], RemoteInfo) + 'static,
) -> Socket {
    let socket = create_socket(lp, options);
    socket.on_message(on_message);
    socket
}

/// Binding and closing.
impl Socket {
    /// Binds to a port, an address, or what [`BindOptions`] say, on the next tick: Node's
    /// `socket.bind`. Then 'listening' comes and datagrams are received.
    ///
    /// Failures reported by the system come as an 'error' event instead: `EADDRINUSE`,
    /// `EADDRNOTAVAIL`, `EACCES`, `EINVAL` (an address of the other family), with the system call
    /// `bind`, address and port; `ENOTFOUND` and other look-up errors for a name that was not
    /// found. Then the socket may be bound again (N262). An [existing socket](BindOptions::fd) is
    /// bound at once, and its errors are returned.
    /// wrong with it returned.
    ///
    /// # Errors
    /// - `ERR_SOCKET_ALREADY_BOUND` if it is bound, or will be.
    /// - `ERR_INVALID_ARG_VALUE` for a name that contains a NUL.
    /// - `ERR_SOCKET_DGRAM_NOT_RUNNING` after `close`.
    /// - `ERR_HANDLE_GONE` if the socket is gone.
    pub fn bind(self, at: impl Into<BindOptions>) -> Result<()> {
        let request = at.into().request;
        self.bind_at(request)
    }

    /// Like [`bind`](Socket::bind), and calls `listener` at the 'listening' that follows. If
    /// 'error' comes first, the listener is dropped (N262).
    /// # Errors
    /// As [`bind`](Socket::bind); the listener is not added then.
    pub fn bind_then(
        self,
        at: impl Into<BindOptions>,
        listener: impl FnOnce(Socket) + 'static,
    ) -> Result<()> {
        let request = at.into().request;
        self.bind_at(request)?;
        let mut listener = Some(listener);
        let call = move |socket| {
            if let Some(listener) = listener.take() {
                listener(socket);
            }
        };
        let mut call: Option<Shared<dyn FnMut(Socket)>> = Some(shared(call));
        table::with(self.0, |state, id| state.add_bind_listener(id, &mut call));
        Ok(())
    }

    fn bind_at(self, request: BindRequest) -> Result<()> {
        log::debug!(target: "nodeloop::dgram", "{self:?} binds at {request:?}");
        self.attempt(|state, id| state.bind_datagram(id, request))
    }

    /// Binds before it returns, and returns the address: Node's `socket.bindSync`. 'listening'
    /// comes on a tick.
    ///
    /// # Errors
    /// As [`bind`](Socket::bind), with the system's errors too; `ERR_INVALID_ARG_VALUE` for a host
    /// that is not an IP address.
    pub fn bind_sync(self, at: impl Into<BindOptions>) -> Result<SocketAddr> {
        let request = at.into().request;
        log::debug!(target: "nodeloop::dgram", "{self:?} binds at {request:?}");
        self.attempt(|state, id| state.bind_sync(id, &request))
    }

    /// Closes the socket: the descriptor at once, 'close' on a tick. Node's `socket.close`.
    ///
    /// No further 'message' comes, not even for datagrams that have arrived (N279). A datagram that
    /// waits for its tick is not sent, and its completion not called: `send_to` followed at once by
    /// `close` sends nothing (N278).
    ///
    /// While calls wait for a binding that the first of them has begun, `close` waits behind them.
    /// If that binding fails it is dropped like them (N262), so a listener for 'error' has to close
    /// the socket again.
    /// # Errors
    /// - `ERR_SOCKET_DGRAM_NOT_RUNNING` if it is closed already.
    /// - `ERR_HANDLE_GONE` if the socket is gone.
    pub fn close(self) -> Result<()> {
        self.attempt(State::close_datagram)
    }

    /// Like [`close`](Socket::close), and calls `listener` at 'close'.
    ///
    /// # Errors
    /// As [`close`](Socket::close); the listener is added nonetheless, as in Node.
    pub fn close_then(self, listener: impl FnOnce(Socket) + 'static) -> Result<()> {
        self.once_close(listener);
        self.close()
    }

    /// The address that it is bound to: Node's `socket.address`.
    ///
    /// # Errors
    /// - `EBADF` with the system call `getsockname` while it is not bound.
    /// - `ERR_SOCKET_DGRAM_NOT_RUNNING` after `close`.
    /// - `ERR_HANDLE_GONE` if the socket is gone.
    pub fn address(self) -> Result<SocketAddr> {
        self.attempt(State::datagram_address)
    }

    /// The family of the socket: Node's `socket.type`. [`SocketType::Udp4`] once it is gone.
    pub fn socket_type(self) -> SocketType {
        match self.ask(false, |datagram| datagram.is_ipv6) {
            false => SocketType::Udp4,
            true => SocketType::Udp6,
        }
    }
}

/// The connected peer.
impl Socket {
    /// Connects to a peer: Node's `socket.connect`.
    ///
    /// From then on only its datagrams are received, and [`send`](Socket::send) sends to it. A
    /// socket that is not bound is bound first (N266). The socket connects on a tick; 'connect'
    /// comes on the tick after. A failure is an 'error' event with the system call `connect`, or
    /// with `ERR_IP_BLOCKED` for an address on the [list](super::SocketOptions::send_block_list).
    ///
    /// # Errors
    /// - `ERR_SOCKET_BAD_PORT` for port 0.
    /// - `ERR_SOCKET_DGRAM_IS_CONNECTED` if it is connected, or will be.
    /// - `ERR_INVALID_ARG_VALUE` for a name that contains a NUL.
    /// - `ERR_SOCKET_DGRAM_NOT_RUNNING` after `close`.
    /// - `ERR_HANDLE_GONE` if the socket is gone.
    pub fn connect(self, to: impl Into<Destination>) -> Result<()> {
        let to = to.into();
        self.connect_to(to, None)
    }

    /// Like [`connect`](Socket::connect), and calls `done` at 'connect', or with the error instead
    /// of an 'error' event (N274). `done` is not called if the socket is closed first, or if the
    /// binding that the call waits for fails: then only 'error' comes (N262), and as in Node the
    /// socket can't be connected any more.
    ///
    /// # Errors
    /// As [`connect`](Socket::connect); `done` is not called then, unless the socket is gone.
    pub fn connect_then(
        self,
        to: impl Into<Destination>,
        done: impl FnOnce(Result<()>) + 'static,
    ) -> Result<()> {
        let to = to.into();
        let done: Completion = Box::new(done);
        self.connect_to(to, Some(Rc::new(Cell::new(Some(done)))))
    }

    fn connect_to(self, to: Destination, done: Option<Rc<Cell<Option<Completion>>>>) -> Result<()> {
        log::debug!(target: "nodeloop::dgram", "{self:?} connects to {to:?}");
        let (host, port) = to.parts();
        let call = Box::new(ConnectCall {
            host,
            port,
            done: done.clone(),
            listener: None,
        });
        self.attempt(|state, id| {
            if state.datagram(id).is_none() {
                let done = done.as_ref().and_then(|done| done.take());
                state.complete_later(done, Err(Error::handle_gone));
            }
            state.connect_to(id, call)
        })
    }

    /// Connects before it returns: Node's `socket.connectSync`. 'connect' comes on a tick.
    ///
    /// # Errors
    /// As [`connect`](Socket::connect), with the system's errors and `ERR_IP_BLOCKED` too;
    /// `ERR_INVALID_ARG_VALUE` for a host that is not an IP address; `ERR_SOCKET_ALREADY_BOUND`
    /// while a `bind` is under way.
    pub fn connect_sync(self, to: impl Into<Destination>) -> Result<()> {
        let (host, port) = to.into().parts();
        self.attempt(|state, id| state.connect_sync(id, &host, port))
    }

    /// Ends the connection at once: Node's `socket.disconnect`. On Linux a socket bound to a port
    /// that the system chose loses it until it sends again (N276).
    ///
    /// # Errors
    /// - `ERR_SOCKET_DGRAM_NOT_CONNECTED` if it is not connected, also while it connects.
    /// - `ERR_SOCKET_DGRAM_NOT_RUNNING` after `close`.
    /// - `ERR_HANDLE_GONE` if the socket is gone.
    /// - `ENOTSUP` without the feature `full-udp`.
    pub fn disconnect(self) -> Result<()> {
        self.attempt(State::disconnect)
    }

    /// The peer that it is connected to: Node's `socket.remoteAddress`.
    ///
    /// # Errors
    /// - `ERR_SOCKET_DGRAM_NOT_CONNECTED` if it is not connected, also while it connects.
    /// - `ERR_SOCKET_DGRAM_NOT_RUNNING` after `close`.
    /// - `ERR_HANDLE_GONE` if the socket is gone.
    pub fn remote_address(self) -> Result<SocketAddr> {
        self.attempt(State::datagram_peer)
    }
}

/// Its life in the loop.
impl Socket {
    /// Lets the socket keep the loop alive while it is bound, as it does by default: Node's
    /// `socket.ref`. Calls are not counted, and the last is remembered until it is bound (N57).
    pub fn set_ref(self) {
        table::with(self.0, |state, id| state.set_referenced(id, true));
    }

    /// Stops the socket from keeping the loop alive: Node's `socket.unref`.
    pub fn unref(self) {
        table::with(self.0, |state, id| state.set_referenced(id, false));
    }

    /// Whether it would keep the loop alive.
    pub fn has_ref(self) -> bool {
        self.ask(false, |datagram| {
            datagram.common.flags.any(flag::REFERENCED)
        })
    }

    /// Holds the socket in its slot, with its listeners, after its 'close', until
    /// [`release`](Socket::release) or the end of the loop. It does not keep the loop alive. A closed
    /// UDP socket cannot be used again, as in Node.
    pub fn keep(self) {
        table::with(self.0, |state, id| state.set_kept(id, true));
    }

    /// Ends [`keep`](Socket::keep).
    pub fn release(self) {
        table::with(self.0, |state, id| state.set_kept(id, false));
    }

    /// Does something that may fail, with the loop; a handle whose loop is gone is gone too.
    pub(super) fn attempt<R>(self, act: impl FnOnce(&mut State, Id) -> Result<R>) -> Result<R> {
        table::with(self.0, act).unwrap_or_else(|| Err(Error::handle_gone()))
    }

    pub(super) fn ask<R>(self, gone: R, question: impl FnOnce(&DatagramState) -> R) -> R {
        table::with(self.0, |state, id| Some(question(state.datagram(id)?)))
            .flatten()
            .unwrap_or(gone)
    }
}
