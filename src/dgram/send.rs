//! Sending.

use super::options::Destination;
use super::{Payload, Socket};
use crate::event_loop::datagram_entry::Host;
use crate::event_loop::datagram_send::SendDone;
use crate::event_loop::table;
use crate::ground::error::{Error, Result};

/// Sending.
impl Socket {
    /// Sends a datagram to an address: Node's `socket.send(msg, port, address)`.
    ///
    /// A socket that is not bound is first bound to a port that the system chooses (N265). The
    /// datagram goes out on the next tick (N267), and its fate is not reported: see
    /// [`send_to_then`](Socket::send_to_then). Only if it could not even be tried does 'error'
    /// come: `ENOTFOUND` or another failure of a look-up, `ENOBUFS` where too much
    /// [waits](super::SocketOptions::max_queued).
    ///
    /// ```
    /// use nodeloop::dgram::{self, Payload};
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// let socket = dgram::create_socket(&lp, dgram::SocketType::Udp4);
    /// socket.send_to("text", ("127.0.0.1", 9))?;
    /// socket.send_to(vec![1, 2, 3], 9)?; // to this machine
    /// socket.send_to(Payload::list(["one ", "datagram"]), 9)?;
    /// socket.send_to(Payload::part("a part", 2, 4)?, 9)?;
    /// socket.send_to_then(b"", 9, move |result| {
    ///     assert_eq!(result.unwrap(), 0); // an empty one is one too
    ///     socket.close().unwrap();
    /// })?;
    /// # lp.run()
    /// # }
    /// ```
    ///
    /// # Errors
    /// - `ERR_SOCKET_BAD_PORT` for port 0.
    /// - `ERR_INVALID_ARG_VALUE` for a name that contains a NUL.
    /// - `ERR_SOCKET_DGRAM_IS_CONNECTED` if the socket is connected.
    /// - `ERR_SOCKET_DGRAM_NOT_RUNNING` after `close`.
    /// - `ERR_HANDLE_GONE` if the socket is gone.
    pub fn send_to<'a>(
        self,
        data: impl Into<Payload<'a>>,
        to: impl Into<Destination>,
    ) -> Result<()> {
        let (mut data, to) = (data.into(), to.into());
        self.send_with(&mut data, Some(to.parts()), &mut None)
    }

    /// Like [`send_to`](Socket::send_to), and calls `done` on a later tick, in the order of the
    /// sends, with the number of bytes once the kernel has taken them, or with the error:
    /// `EMSGSIZE` (more than 65,507 bytes), `EACCES` (broadcast without
    /// [`set_broadcast`](Socket::set_broadcast)), `EINVAL` (an address of the other family),
    /// `ENETUNREACH`, `ENOBUFS` (too much [waits](super::SocketOptions::max_queued): reported on
    /// the next tick, before the sends that wait) …, with the system call `send`, address and port;
    /// `ENOTFOUND` for a name that was not found, with the system call `getaddrinfo`.
    ///
    /// Datagrams keep their order: while one waits for a name to be looked up, those behind it wait too.
    ///
    /// `done` is not called if the socket is closed before the tick on which the datagram would go
    /// out (N278), or if the binding that the datagram waits for fails: then only 'error' comes
    /// (N262). It gets `ECANCELED` if the socket is closed while the datagram waits for the kernel.
    ///
    /// # Errors
    /// As [`send_to`](Socket::send_to); `done` is not called then, unless the socket is gone.
    pub fn send_to_then<'a>(
        self,
        data: impl Into<Payload<'a>>,
        to: impl Into<Destination>,
        done: impl FnOnce(Result<usize>) + 'static,
    ) -> Result<()> {
        let (mut data, to) = (data.into(), to.into());
        let mut done: Option<SendDone> = Some(Box::new(done));
        self.send_with(&mut data, Some(to.parts()), &mut done)
    }

    /// Sends a datagram to the peer that the socket is [connected](Socket::connect) to, within this
    /// call: Node's `socket.send(msg)`.
    ///
    /// # Errors
    /// - `ERR_SOCKET_BAD_PORT` if the socket is not connected: there is no port to send to.
    /// - `ERR_SOCKET_DGRAM_NOT_RUNNING` after `close`.
    /// - `ERR_HANDLE_GONE` if the socket is gone.
    pub fn send<'a>(self, data: impl Into<Payload<'a>>) -> Result<()> {
        let mut data = data.into();
        self.send_with(&mut data, None, &mut None)
    }

    /// Like [`send`](Socket::send), and calls `done` on a tick with the number of bytes or the
    /// error, as [`send_to_then`](Socket::send_to_then) does. The error may also be the
    /// `ECONNREFUSED` of an earlier datagram (N273).
    ///
    /// # Errors
    /// As [`send`](Socket::send); `done` is not called then, unless the socket is gone.
    pub fn send_then<'a>(
        self,
        data: impl Into<Payload<'a>>,
        done: impl FnOnce(Result<usize>) + 'static,
    ) -> Result<()> {
        let mut data = data.into();
        let mut done: Option<SendDone> = Some(Box::new(done));
        self.send_with(&mut data, None, &mut done)
    }

    fn send_with(
        self,
        data: &mut Payload<'_>,
        to: Option<(Host, u16)>,
        done: &mut Option<SendDone>,
    ) -> Result<()> {
        self.attempt(|state, id| {
            if done.is_none()
                && let Some((host, port)) = &to
                && state.stage(id, data, host, *port)
            {
                return Ok(());
            }
            if state.datagram(id).is_none() {
                state.tell_later(id, done.take(), Err(Error::handle_gone()));
            }
            state.send(id, data, to, done)
        })
    }

    /// Sends held datagrams now: before the process ends, or the callback blocks. It does not
    /// include sends to an address that wait for their tick.
    pub fn flush(self) {
        table::with(self.0, |state, id| state.flush_outbox_of(id));
    }

    /// Bytes that wait because the kernel had no room: Node's `socket.getSendQueueSize`. Sends are
    /// tried at once, so it is usually 0.
    pub fn send_queue_size(self) -> usize {
        self.flush();
        self.ask(0, |datagram| datagram.queued.bytes)
    }

    /// Datagrams that wait because the kernel had no room: Node's `socket.getSendQueueCount`.
    pub fn send_queue_count(self) -> usize {
        self.flush();
        self.ask(0, |datagram| datagram.queued.datagrams)
    }
}
