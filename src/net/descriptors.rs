//! Descriptors: servers and sockets made of one, and one made of them.

use std::os::fd::OwnedFd;
use std::panic::Location;
use std::sync::Arc;

use super::options::{ListenOptions, SocketOptions};
use crate::event_loop::api::AsLoop;
use crate::event_loop::entry::flag;
use crate::event_loop::handle::{Server, Socket};
use crate::event_loop::server::ListenHost;
use crate::event_loop::table;
use crate::ground::error::{Error, Result};

/// Sockets that exist.
impl ListenOptions {
    /// Listens on an existing TCP or Unix socket that is bound or already listening: Node's `fd`.
    /// The server owns it from now on, and it becomes non-blocking for all who share it.
    ///
    /// For any other descriptor an 'error' event comes, `EINVAL` with the system call `listen`; the
    /// [source](std::error::Error::source) of the error says what the descriptor is instead.
    /// `close` does not remove the file of a path that somebody else has bound.
    ///
    /// `ListenOptions` are made from an [`OwnedFd`], and from what `std` has for listening sockets:
    ///
    /// ```
    /// use nodeloop::{net, Loop};
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// // As a privileged parent, or a service manager, may have done.
    /// let bound = std::net::TcpListener::bind("127.0.0.1:0")?;
    ///
    /// let lp = Loop::new()?;
    /// let server = net::create_server(&lp, |socket| socket.end_with("hello"));
    /// server.listen(bound)?;
    /// assert!(server.address().is_some());
    /// # server.close();
    /// # lp.run()
    /// # }
    /// ```
    pub fn fd(mut self, descriptor: impl Into<OwnedFd>) -> ListenOptions {
        self.request.host = ListenHost::Descriptor(Arc::new(descriptor.into()));
        self
    }
}

impl From<OwnedFd> for ListenOptions {
    fn from(descriptor: OwnedFd) -> ListenOptions {
        ListenOptions::new().fd(descriptor)
    }
}

impl From<std::net::TcpListener> for ListenOptions {
    fn from(listener: std::net::TcpListener) -> ListenOptions {
        ListenOptions::new().fd(listener)
    }
}

impl From<std::os::unix::net::UnixListener> for ListenOptions {
    fn from(listener: std::os::unix::net::UnixListener) -> ListenOptions {
        ListenOptions::new().fd(listener)
    }
}

/// Descriptors.
impl Socket {
    /// Makes a socket from an existing TCP or Unix connection: Node's `new net.Socket({fd})`.
    ///
    /// It starts reading at once. The socket owns the descriptor from now on, which becomes
    /// non-blocking for all who share it. As in Node, the TCP options in `options` are not applied
    /// to it.
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use nodeloop::{net, Loop};
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = Loop::new()?;
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let socket = net::Socket::from_fd(&lp, ours, net::SocketOptions::new())?;
    /// socket.write("hello");
    /// # socket.destroy();
    /// # drop(theirs);
    /// # lp.run()
    /// # }
    /// ```
    ///
    /// # Errors
    /// - `ERR_INVALID_FD_TYPE` if it is no stream socket; the message says what it is: `FILE`, `TTY`,
    ///   `PIPE`, `UDP`, `UNKNOWN`. (Node takes pipes too.)
    /// - What the system says, with the system call `open`.
    /// - `ERR_HANDLE_GONE` if the loop is gone.
    #[track_caller]
    pub fn from_fd(
        lp: &impl AsLoop,
        descriptor: impl Into<OwnedFd>,
        options: SocketOptions,
    ) -> Result<Socket> {
        let origin = Location::caller();
        let descriptor = descriptor.into();
        let lp = lp.event_loop();
        let mut flags = flag::REFERENCED;
        if options.allow_half_open {
            flags |= flag::ALLOW_HALF_OPEN;
        }
        let id = lp.with(|state| {
            state.adopt(descriptor, flags, origin, |stream| {
                stream.read_mark = options.read_mark;
                stream.write_mark = options.write_mark;
            })
        });
        let id = id.unwrap_or_else(|| Err(Error::handle_gone()))?;
        let socket = Socket(lp.raw(Some(id)));
        log::debug!(target: "nodeloop::net", "{socket:?} made of a descriptor at {origin}");
        Ok(socket)
    }

    /// Returns a second descriptor of the same connection: to inspect it, or to pass it to a child
    /// process for good. Bytes read through that descriptor don't reach this socket, and bytes
    /// written there are not counted here.
    ///
    /// # Errors
    /// `ERR_SOCKET_CLOSED` without a descriptor, `ERR_HANDLE_GONE`, or that it can't be duplicated.
    pub fn try_clone_fd(self) -> Result<OwnedFd> {
        table::with(self.0, |state, id| state.clone_descriptor(id))
            .unwrap_or_else(|| Err(Error::handle_gone()))
    }

    /// Gives the connection away: to another loop or thread, or to a child process. The connection
    /// stays open; this socket is destroyed, and its 'close' comes. The descriptor is non-blocking.
    ///
    /// Best done before anything was read: with
    /// [`pause_on_connect`](crate::net::ServerOptions::pause_on_connect), in 'connection'.
    ///
    /// ```
    /// use nodeloop::{net, Loop};
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = Loop::new()?;
    /// let (to_worker, in_worker) = std::sync::mpsc::channel();
    /// let options = net::ServerOptions::new().pause_on_connect(true);
    /// let server = net::create_server_with(&lp, options, move |socket| {
    ///     if let Ok(descriptor) = socket.into_fd() {
    ///         let _ = to_worker.send(descriptor); // there: Socket::from_fd
    ///     }
    /// });
    /// # drop((server, in_worker));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - `ERR_SOCKET_NOT_TRANSFERABLE` while the socket connects, or holds bytes that would be
    ///   lost: bytes not yet read by the program (part of a character counts) or not yet taken by
    ///   the kernel. The socket stays as it is.
    /// - `ERR_SOCKET_CLOSED` without a descriptor, `ERR_HANDLE_GONE`.
    pub fn into_fd(self) -> Result<OwnedFd> {
        table::with(self.0, |state, id| state.release_descriptor(id))
            .unwrap_or_else(|| Err(Error::handle_gone()))
    }
}

/// Descriptors.
impl Server {
    /// Returns a second descriptor of the listening socket, for a process that is to take over.
    /// Closing this server still removes the file of its path, and then no client can find the
    /// other descriptor; [`into_fd`](Server::into_fd) leaves the file.
    ///
    /// # Errors
    /// `ERR_SERVER_NOT_RUNNING` if it does not listen, `ERR_HANDLE_GONE`, or that it can't be
    /// duplicated.
    pub fn try_clone_fd(self) -> Result<OwnedFd> {
        table::with(self.0, |state, id| state.clone_listening_descriptor(id))
            .unwrap_or_else(|| Err(Error::handle_gone()))
    }

    /// Gives the listening socket away. It goes on listening, keeps its file and the connections
    /// that wait to be accepted; this server is [closed](Server::close), its connections go on.
    ///
    /// # Errors
    /// `ERR_SERVER_NOT_RUNNING` if it does not listen, `ERR_HANDLE_GONE`.
    pub fn into_fd(self) -> Result<OwnedFd> {
        table::with(self.0, |state, id| state.release_listening_descriptor(id))
            .unwrap_or_else(|| Err(Error::handle_gone()))
    }
}
