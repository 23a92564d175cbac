//! Descriptors: a UDP socket made of one, and one made of it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Socket;
use super::options::BindOptions;
use crate::event_loop::state::State;
use crate::ground::error::Result;

/// Sockets that exist.
impl BindOptions {
    /// Binds to an existing UDP socket: Node's `fd`. The socket owns the descriptor from now on,
    /// which becomes non-blocking for all who share it; as in Node, its address may be shared then
    /// (`SO_REUSEADDR`). Port and host are ignored.
    ///
    /// The socket is bound when [`bind`](Socket::bind) returns; 'listening' comes on the next tick.
    /// The family is the descriptor's, and so is the peer if it is connected. A descriptor without
    /// a port gets one with the first datagram that it sends.
    ///
    /// With a descriptor `bind` may also return:
    /// - `ERR_INVALID_FD_TYPE` if it is no UDP socket; the message says what it is: `TCP`, `PIPE` (a Unix
    ///   socket is one, too), `FILE`, `TTY`, `UNKNOWN`. The descriptor is closed, and `bind` may be
    ///   called again.
    /// - `EBUSY` with the system call `open` if the socket has joined a group, which has bound it.
    /// - What the system says, with the system call `open`.
    ///
    /// `BindOptions` are made from an [`OwnedFd`] and a [`std::net::UdpSocket`]:
    ///
    /// ```
    /// use nodeloop::{dgram, Loop};
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// // As a privileged parent, or a service manager, may have done.
    /// let bound = std::net::UdpSocket::bind("127.0.0.1:0")?;
    ///
    /// let lp = Loop::new()?;
    /// let socket = dgram::create_socket(&lp, dgram::SocketType::Udp4);
    /// socket.bind(bound)?;
    /// assert!(socket.address()?.ip().is_loopback());
    /// # socket.close()?;
    /// # lp.run()
    /// # }
    /// ```
    pub fn fd(mut self, descriptor: impl Into<OwnedFd>) -> BindOptions {
        self.request.descriptor = Some(Arc::new(descriptor.into()));
        self
    }
}

impl From<OwnedFd> for BindOptions {
    fn from(descriptor: OwnedFd) -> BindOptions {
        BindOptions::new().fd(descriptor)
    }
}

impl From<std::net::UdpSocket> for BindOptions {
    fn from(socket: std::net::UdpSocket) -> BindOptions {
        BindOptions::new().fd(socket)
    }
}

/// Descriptors.
impl Socket {
    /// Returns a second descriptor of the same socket: for a process that is to take over, or to
    /// share the work. Each datagram goes to only one of the owners.
    ///
    /// From now on the system does not coalesce arriving datagrams, since the other owner could not
    /// take them apart. Datagrams that arrived earlier may still be coalesced, so it is best to
    /// call this before others know the port.
    ///
    /// # Errors
    /// - `EBADF` with the system call `dup` while it is not bound.
    /// - `ERR_SOCKET_DGRAM_NOT_RUNNING` after `close`, `ERR_HANDLE_GONE`, or that it can't be
    ///   duplicated.
    pub fn try_clone_fd(self) -> Result<OwnedFd> {
        self.attempt(State::clone_datagram_descriptor)
    }

    /// Gives the socket away: to another loop or thread, or to a child process. It stays bound, and
    /// connected if it was; this handle's socket is [closed](Socket::close), and its 'close' comes.
    /// Datagrams that were received but not yet delivered are lost, as any datagram may be. The
    /// descriptor is non-blocking.
    ///
    /// ```
    /// use nodeloop::{dgram, Loop};
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = Loop::new()?;
    /// let socket = dgram::create_socket(&lp, dgram::SocketType::Udp4);
    /// let address = socket.bind_sync(("127.0.0.1", 0))?;
    /// let given = std::net::UdpSocket::from(socket.into_fd()?);
    /// assert_eq!(given.local_addr()?, address);
    /// # lp.run()
    /// # }
    /// ```
    ///
    /// # Errors
    /// - `ERR_SOCKET_NOT_TRANSFERABLE` while the socket is being bound or connected, or has
    ///   datagrams waiting to be sent, which would be lost. It stays as it is.
    /// - Those of [`try_clone_fd`](Socket::try_clone_fd).
    pub fn into_fd(self) -> Result<OwnedFd> {
        self.attempt(State::release_datagram_descriptor)
    }
}
