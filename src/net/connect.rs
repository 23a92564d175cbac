//! Sockets that connect.

use std::panic::Location;

use super::connect_options::ConnectOptions;
use super::options::SocketOptions;
use crate::event_loop::api::AsLoop;
use crate::event_loop::connect_request::ConnectHost;
use crate::event_loop::entry::{Entry, Stream, flag};
use crate::event_loop::handle::Socket;
use crate::event_loop::table;
use crate::ground::error::{Error, Result};

/// Makes a socket and connects it: Node's `net.connect`.
///
/// 'connect' and 'ready' come once the connection is made; 'error' and 'close' come if it can't be.
/// Anything written earlier is kept and sent then.
///
/// ```
/// use nodeloop::{net, Loop};
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = Loop::new()?;
/// let server = net::create_server(&lp, |socket| {
///     socket.end_with("hello");
///     socket.server().unwrap().close();
/// });
/// server.listen(("127.0.0.1", 0))?;
/// server.on_listening(|server| {
///     let client = net::connect(&server, server.address().unwrap());
///     client.on_data(|_, chunk| assert_eq!(chunk, b"hello"));
/// });
/// lp.run()
/// # }
/// ```
#[track_caller]
#[doc(alias = "create_connection")]
pub fn connect(lp: &impl AsLoop, to: impl Into<ConnectOptions>) -> Socket {
    let to = to.into();
    let socket = Socket::new(lp, to.socket);
    let begun = socket.connect(to);
    report(socket, begun);
    socket
}

/// As [`connect`], and calls `listener` at 'connect'.
#[track_caller]
pub fn connect_then(
    lp: &impl AsLoop,
    to: impl Into<ConnectOptions>,
    listener: impl FnOnce(Socket) + 'static,
) -> Socket {
    let to = to.into();
    let socket = Socket::new(lp, to.socket);
    let begun = socket.connect_then(to, listener);
    report(socket, begun);
    socket
}

/// A call that gives a socket has its error come as 'error'. If the loop is gone, nobody hears it.
fn report(socket: Socket, begun: Result<()>) {
    if let Err(error) = begun {
        socket.destroy_with(error);
    }
}

impl Socket {
    /// Makes a socket that is not connected: Node's `new net.Socket(options)`.
    #[track_caller]
    pub fn new(lp: &impl AsLoop, options: SocketOptions) -> Socket {
        let origin = Location::caller();
        let lp = lp.event_loop();
        let mut flags = flag::REFERENCED | flag::UNCONNECTED;
        if options.allow_half_open {
            flags |= flag::ALLOW_HALF_OPEN;
        }
        if options.no_delay {
            flags |= flag::NO_DELAY;
        }
        let id = lp.with(|state| {
            state.insert(flags, origin, |common| {
                let mut stream = Stream::unconnected(common);
                stream.read_mark = options.read_mark;
                stream.write_mark = options.write_mark;
                if options.keep_alive.is_some() {
                    stream.extra().keep_alive = options.keep_alive;
                }
                Entry::Stream(stream)
            })
        });
        let socket = Socket(lp.raw(id));
        log::debug!(target: "nodeloop::net", "{socket:?} made at {origin}");
        socket
    }

    /// Connects the socket: Node's `socket.connect`.
    ///
    /// The attempt begins on the next tick, or once the host's name has been looked up; 'connect'
    /// and 'ready' come once the connection is made.
    ///
    /// A closed socket can be connected again in its 'close' event, or later if it was
    /// [kept](Socket::keep): its listeners stay, its counters start again from zero (N110).
    ///
    /// A failure comes as 'error', then 'close': `ECONNREFUSED`, `ETIMEDOUT`, `ENETUNREACH` … with
    /// the system call `connect`, address and port; `EADDRINUSE`, `EADDRNOTAVAIL`, `EINVAL` with
    /// the system call `bind` for the local end; `ENOTFOUND` and `EAI_AGAIN` with the system call
    /// `getaddrinfo` and the host name if the name does not exist or can't be looked up for now;
    /// `EALREADY` if the socket is already connecting or connected; `ERR_IP_BLOCKED` for an address
    /// on the [block list](ConnectOptions::block_list).
    ///
    /// # Errors
    /// - `ERR_INVALID_ARG_VALUE` for a host with a NUL in it.
    /// - `ERR_HANDLE_GONE` if the socket is gone.
    pub fn connect(self, to: impl Into<ConnectOptions>) -> Result<()> {
        let ConnectOptions {
            mut request,
            timeout_ms,
            ..
        } = to.into();
        if let ConnectHost::Name(name) = &request.host
            && name.contains('\0')
        {
            return Err(Error::host_with_nul(name));
        }
        if request.is_literal() {
            // Nothing is looked up, so it is dropped here, where nothing is borrowed.
            request.lookup = None;
        }
        if let Some(timeout_ms) = timeout_ms {
            self.set_timeout(timeout_ms);
        }
        log::debug!(target: "nodeloop::net", "{self:?} connects to {request}");
        // Left here, and dropped behind the borrow, if the socket is gone.
        let mut request = Some(request);
        table::with(self.0, |state, id| state.connect(id, &mut request))
            .unwrap_or_else(|| Err(Error::handle_gone()))
    }

    /// Like [`connect`](Socket::connect), and calls `listener` at the next 'connect'.
    ///
    /// # Errors
    /// As [`connect`](Socket::connect). The listener stays for the next connection, or is dropped if
    /// the socket is gone.
    pub fn connect_then(
        self,
        to: impl Into<ConnectOptions>,
        listener: impl FnOnce(Socket) + 'static,
    ) -> Result<()> {
        let to = to.into();
        self.once_connect(listener);
        self.connect(to)
    }
}
