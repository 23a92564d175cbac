//! The socket as a user sees it.

use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::event_loop::entry::{Peer, Stream, flag};
use crate::event_loop::handle::{Id, Raw, Server, Socket};
use crate::event_loop::table;
use crate::event_loop::trace;
use crate::ground::chunk::Chunk;
use crate::ground::error::{Completion, Error, Result};

/// Which sides of a socket are open: Node's `socket.readyState` (N150), whose names they print as.
///
/// ```
/// assert_eq!(nodeloop::net::ReadyState::WriteOnly.to_string(), "writeOnly");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadyState {
    /// Between `connect` and 'connect'.
    Opening,
    /// Both sides; before `connect` too, as in Node: see [`pending`](Socket::pending).
    Open,
    /// `end` was called; the peer has not ended.
    ReadOnly,
    /// 'end' was emitted; this side has not ended.
    WriteOnly,
    /// Neither.
    Closed,
}

impl ReadyState {
    /// Node's name: `opening`, `open`, `readOnly`, `writeOnly`, `closed`.
    pub fn as_str(self) -> &'static str {
        match self {
            ReadyState::Opening => "opening",
            ReadyState::Open => "open",
            ReadyState::ReadOnly => "readOnly",
            ReadyState::WriteOnly => "writeOnly",
            ReadyState::Closed => "closed",
        }
    }
}

impl fmt::Display for ReadyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Writing and ending.
impl Socket {
    /// Writes bytes: Node's `socket.write`. The kernel has taken what it can when this returns; the
    /// rest is kept and sent when the kernel takes more.
    ///
    /// Returns false if the waiting bytes have reached the high-water mark: better wait for 'drain'
    /// before writing more, though nothing is lost otherwise. Also returns false if the write
    /// failed; then 'error' comes, with `ERR_STREAM_WRITE_AFTER_END` after `end`, with `EPIPE` if
    /// this side was ended because the peer had ended, or else with the system's error. After
    /// `destroy` it does nothing.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// nodeloop::net::create_server(&lp, |socket| {
    ///     socket.on_data(|socket, chunk| {
    ///         if !socket.write(chunk) {
    ///             socket.pause(); // until 'drain': the peer reads too slowly
    ///         }
    ///     });
    ///     socket.on_drain(|socket| socket.resume());
    /// });
    /// # lp.run()
    /// # }
    /// ```
    #[inline]
    pub fn write<'a>(self, data: impl Into<Chunk<'a>>) -> bool {
        let mut chunk = data.into();
        self.trace_write("write", &chunk);
        table::with(self.0, |state, id| {
            state.gather_plainly(id, &chunk) || state.write(id, &mut chunk, None)
        })
        .unwrap_or(false)
    }

    /// Sends now what the current callback has written to this socket and the loop would send when
    /// the callback returns: for a callback that blocks or exits the process after a write. Does
    /// nothing if nothing waits. See [`Builder::gather`](crate::Builder::gather). Node has no such
    /// call: each write there is a system call of its own.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// let server = nodeloop::net::create_server(&lp, |socket| {
    ///     socket.write("one moment");
    ///     socket.flush();
    ///     // Something that takes long, here in the callback.
    ///     socket.end_with("done");
    /// });
    /// # let _ = server;
    /// # Ok(())
    /// # }
    /// ```
    pub fn flush(self) {
        self.trace("flush");
        table::with(self.0, |state, id| state.flush(id));
    }

    /// Like [`write`](Socket::write), and calls `done` when the kernel has all of it, on a tick or
    /// in the poll phase, in the order of the writes. If the write fails, `done` gets the error:
    /// one of those above; `ECANCELED` if the socket was destroyed first (behind other waiting
    /// writes, the error it was destroyed with); `ERR_STREAM_DESTROYED` if it was destroyed
    /// already.
    pub fn write_then<'a>(
        self,
        data: impl Into<Chunk<'a>>,
        done: impl FnOnce(Result<()>) + 'static,
    ) -> bool {
        let mut chunk = data.into();
        let done: Completion = Box::new(done);
        self.trace_write("write", &chunk);
        table::with(self.0, |state, id| state.write(id, &mut chunk, Some(done))).unwrap_or(false)
    }

    /// Holds back what is written from now on until [`uncork`](Socket::uncork) has been called as
    /// often, or `end`; then it goes out in one system call: Node's `socket.cork`.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// nodeloop::net::create_server(&lp, |socket| {
    ///     socket.cork();
    ///     socket.write("one ");
    ///     socket.write("packet");
    ///     socket.event_loop().next_tick(move |_| socket.uncork());
    /// });
    /// # lp.run()
    /// # }
    /// ```
    pub fn cork(self) {
        self.trace("cork");
        table::with(self.0, |state, id| state.cork(id));
    }

    /// Ends one [`cork`](Socket::cork): Node's `socket.uncork`.
    pub fn uncork(self) {
        self.trace("uncork");
        table::with(self.0, |state, id| state.uncork(id));
    }

    /// How many corks hold the writes back: Node's `socket.writableCorked`.
    pub fn writable_corked(self) -> u32 {
        self.ask(0, |stream| {
            stream.extra.as_ref().map_or(0, |extra| extra.corked)
        })
    }

    /// Ends this side once everything is written: Node's `socket.end`. The half-close happens in
    /// the next pending phase, followed by 'finish'; 'close' follows when the peer has ended too.
    pub fn end(self) {
        self.trace("end");
        table::with(self.0, |state, id| state.end(id, None, None));
    }

    /// Like [`end`](Socket::end), and calls `done` right before 'finish', or with the error that
    /// prevents it: `ERR_STREAM_ALREADY_FINISHED` after 'finish', `ERR_STREAM_DESTROYED` after
    /// `destroy`.
    pub fn end_then(self, done: impl FnOnce(Result<()>) + 'static) {
        self.trace("end");
        let done: Completion = Box::new(done);
        table::with(self.0, |state, id| state.end(id, None, Some(done)));
    }

    /// Writes a last chunk and ends this side: Node's `socket.end(data)`.
    pub fn end_with<'a>(self, data: impl Into<Chunk<'a>>) {
        let mut chunk = data.into();
        self.trace_write("end", &chunk);
        table::with(self.0, |state, id| state.end(id, Some(&mut chunk), None));
    }

    /// [`end_with`](Socket::end_with) and [`end_then`](Socket::end_then) in one.
    pub fn end_with_then<'a>(
        self,
        data: impl Into<Chunk<'a>>,
        done: impl FnOnce(Result<()>) + 'static,
    ) {
        let mut chunk = data.into();
        let done: Completion = Box::new(done);
        self.trace_write("end", &chunk);
        table::with(self.0, |state, id| {
            state.end(id, Some(&mut chunk), Some(done));
        });
    }

    /// Ends everything now: Node's `socket.destroy`. The descriptor is closed before this returns;
    /// 'close' comes in the closing phase, and no other event. Only the first call counts.
    ///
    /// The peer sees an end, or a reset (`ECONNRESET`) if some of its bytes were not read.
    pub fn destroy(self) {
        self.trace("destroy");
        table::with(self.0, |state, id| state.destroy(id, None));
    }

    /// Destroys the socket for a reason: 'error' comes on the next tick, and
    /// ['close'](Socket::on_close) says that there was an error. Otherwise like
    /// [`destroy`](Socket::destroy).
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// nodeloop::net::create_server(&lp, |socket| {
    ///     socket.destroy_with("not today");
    ///     socket.on_error(|_, error| assert_eq!(error.to_string(), "not today"));
    /// });
    /// # lp.run()
    /// # }
    /// ```
    pub fn destroy_with(self, error: impl Into<Box<dyn StdError + Send + Sync>>) {
        self.trace("destroy");
        let mut error = Some(Error::new(error));
        table::with(self.0, |state, id| {
            if state.stream(id).is_some() {
                state.destroy(id, error.take());
            }
        });
    }
}

/// Ending in other ways.
impl Socket {
    /// Ends this side if it is not ended, and destroys the socket after 'finish', without waiting
    /// for the peer to end: Node's `socket.destroySoon`.
    pub fn destroy_soon(self) {
        self.trace("destroy_soon");
        table::with(self.0, |state, id| state.destroy_soon(id));
    }

    /// Destroys the socket so that the peer gets a reset (`ECONNRESET`): Node's
    /// `socket.resetAndDestroy`. While it connects this waits for 'connect'. On a socket that is not
    /// connected it is `destroy_with` the error `ERR_SOCKET_CLOSED`.
    pub fn reset_and_destroy(self) {
        self.trace("reset_and_destroy");
        table::with(self.0, |state, id| state.reset_and_destroy(id));
    }
}

/// Reading.
impl Socket {
    /// Holds 'data' back: Node's `socket.pause`. The socket reads on until its buffer has reached
    /// the high-water mark; then the peer is pushed back. Neither 'end' nor 'close' comes before
    /// what is buffered was taken. 'pause' comes on the next tick.
    pub fn pause(self) {
        self.trace("pause");
        table::with(self.0, |state, id| state.pause(id));
    }

    /// Lets 'data' flow: Node's `socket.resume`. On the next tick 'resume' comes and what was
    /// buffered is delivered. Without a listener the data is thrown away.
    pub fn resume(self) {
        self.trace("resume");
        table::with(self.0, |state, id| state.resume(id));
    }

    /// Whether it is held back by [`pause`](Socket::pause), or by `pause_on_connect`: Node's
    /// `socket.isPaused`.
    pub fn is_paused(self) -> bool {
        self.ask(false, |stream| stream.is_paused())
    }

    /// Takes exactly `size` bytes from the buffer: Node's `socket.read(size)`.
    ///
    /// Returns None for 0, and if there are fewer, unless the peer has ended: then it returns what
    /// is left. It emits no 'data' (Node's does). It is meant for listeners of
    /// [`readable`](Socket::on_readable), which comes again when there is more. A `size` above the
    /// [mark](Socket::readable_high_water_mark) raises the mark, so check a size that a peer has
    /// sent first.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// // Messages of four bytes.
    /// nodeloop::net::create_server(&lp, |socket| {
    ///     socket.on_readable(|socket| {
    ///         while let Some(message) = socket.read(4) {
    ///             println!("{message:?}");
    ///         }
    ///     });
    /// });
    /// # lp.run()
    /// # }
    /// ```
    pub fn read(self, size: usize) -> Option<Bytes> {
        self.trace("read");
        table::with(self.0, |state, id| state.pull(id, Some(size))).flatten()
    }

    /// Takes the oldest chunk from the buffer: Node's `socket.read()`.
    pub fn read_chunk(self) -> Option<Bytes> {
        self.trace("read");
        table::with(self.0, |state, id| state.pull(id, None)).flatten()
    }

    /// Puts bytes back in front of what is buffered: Node's `socket.unshift`. It emits no 'data' before
    /// it returns. After 'end' the socket is destroyed with `ERR_STREAM_UNSHIFT_AFTER_END_EVENT`.
    /// Returns whether less is buffered than the mark.
    ///
    /// Don't use it to wait: after a [`read`](Socket::read) that found too little, 'readable' comes
    /// again on the next tick, as in Node, so a program that puts a header back until the message
    /// is there runs for ever and starves the loop. Keep the header in a variable:
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// # use nodeloop::{net, Loop};
    /// # let lp = Loop::new()?;
    /// // Messages, each behind a byte that says how long it is.
    /// let server = net::create_server(&lp, |socket| {
    ///     let mut header = None;
    ///     socket.on_readable(move |socket| {
    ///         loop {
    ///             header = header.take().or_else(|| socket.read(1));
    ///             let Some(length) = header.as_ref().map(|byte| usize::from(byte[0])) else {
    ///                 return;
    ///             };
    ///             let message = match length {
    ///                 0 => Some(Default::default()),
    ///                 _ => socket.read(length),
    ///             };
    ///             let Some(message) = message else { return };
    ///             header = None;
    ///             println!("{message:?}");
    ///         }
    ///     });
    /// #   socket.on_close(|socket, _| assert_eq!(socket.bytes_read(), 7));
    /// });
    /// # server.on_connection(|server, _| server.close());
    /// # server.listen(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))?;
    /// # net::connect(&lp, server.address().unwrap()).end_with("\x03abc\x00\x01d");
    /// # lp.run()
    /// # }
    /// ```
    pub fn unshift<'a>(self, data: impl Into<Chunk<'a>>) -> bool {
        self.trace("unshift");
        let mut chunk = Some(data.into().take_rest(0));
        table::with(self.0, |state, id| match chunk.take() {
            Some(chunk) => state.unshift(id, chunk),
            None => false,
        })
        .unwrap_or(false)
    }

    /// Whether data flows: Node's `socket.readableFlowing`. None until the socket is paused or
    /// resumed, or gets a listener.
    pub fn readable_flowing(self) -> Option<bool> {
        self.ask(None, |stream| {
            let flags = stream.common.flags;
            flags
                .any(flag::HAS_FLOWING)
                .then(|| flags.any(flag::FLOWING))
        })
    }
}

/// What is known about it.
impl Socket {
    /// Bytes taken from the kernel, those in the buffer included: Node's `socket.bytesRead`.
    pub fn bytes_read(self) -> u64 {
        self.ask(0, |stream| stream.bytes_read)
    }

    /// Bytes given to `write`, those that still wait included: Node's `socket.bytesWritten`.
    pub fn bytes_written(self) -> u64 {
        self.ask(0, |stream| stream.bytes_written())
    }

    /// Bytes that wait to be written: Node's `socket.writableLength`. A write that the kernel took
    /// in part counts whole.
    pub fn writable_length(self) -> usize {
        self.ask(0, |stream| stream.write_length())
    }

    /// Bytes that were read and wait to be delivered: Node's `socket.readableLength`.
    pub fn readable_length(self) -> usize {
        self.ask(0, |stream| stream.read_length())
    }

    /// The mark in bytes at which `write` returns false: Node's `socket.writableHighWaterMark`.
    pub fn writable_high_water_mark(self) -> u32 {
        self.ask(0, |stream| stream.write_mark)
    }

    /// The mark in bytes at which a paused socket stops reading: Node's
    /// `socket.readableHighWaterMark`. A [`read`](Socket::read) of more raises it.
    pub fn readable_high_water_mark(self) -> u32 {
        self.ask(0, |stream| stream.read_mark)
    }

    /// Whether a 'drain' is owed, since `write` has returned false: Node's
    /// `socket.writableNeedDrain`.
    pub fn writable_need_drain(self) -> bool {
        self.ask(false, |stream| {
            let flags = stream.common.flags;
            flags.any(flag::NEED_DRAIN) && !flags.any(flag::ENDING | flag::DESTROYED)
        })
    }

    /// Whether 'end' may still come: Node's `socket.readable`.
    pub fn readable(self) -> bool {
        self.ask(false, |stream| stream.is_readable())
    }

    /// Whether `write` may be called: Node's `socket.writable`.
    pub fn writable(self) -> bool {
        self.ask(false, |stream| stream.is_writable())
    }

    /// Whether 'end' was emitted: Node's `socket.readableEnded`.
    pub fn readable_ended(self) -> bool {
        self.ask(false, |stream| stream.common.flags.any(flag::END_EMITTED))
    }

    /// Whether `end` was called: Node's `socket.writableEnded`.
    pub fn writable_ended(self) -> bool {
        self.ask(false, |stream| stream.common.flags.any(flag::ENDING))
    }

    /// Whether 'finish' was emitted: Node's `socket.writableFinished`.
    pub fn writable_finished(self) -> bool {
        self.ask(false, |stream| stream.common.flags.any(flag::FINISHED))
    }

    /// Whether it was destroyed, by the program or the loop: Node's `socket.destroyed`. True once
    /// it is gone.
    pub fn destroyed(self) -> bool {
        self.ask(true, |stream| stream.common.flags.any(flag::DESTROYED))
    }

    /// Whether it is between `connect` and 'connect': Node's `socket.connecting`.
    pub fn connecting(self) -> bool {
        self.ask(false, |stream| stream.common.flags.any(flag::CONNECTING))
    }

    /// Whether it is not connected yet, or no longer: Node's `socket.pending`.
    pub fn pending(self) -> bool {
        self.ask(true, |stream| {
            stream
                .common
                .flags
                .any(flag::CONNECTING | flag::UNCONNECTED)
        })
    }

    /// Whether it is closed: Node's `socket.closed`, true as soon as it is destroyed.
    pub fn closed(self) -> bool {
        self.destroyed()
    }

    /// The first error it met: Node's `socket.errored`.
    pub fn errored(self) -> Option<Error> {
        self.ask(None, |stream| stream.errored.clone())
    }

    /// Which sides are open: Node's `socket.readyState`.
    pub fn ready_state(self) -> ReadyState {
        if self.connecting() {
            return ReadyState::Opening;
        }
        match (self.readable(), self.writable()) {
            (true, true) => ReadyState::Open,
            (true, false) => ReadyState::ReadOnly,
            (false, true) => ReadyState::WriteOnly,
            (false, false) => ReadyState::Closed,
        }
    }

    /// Whether it stays open when the peer ends: Node's `socket.allowHalfOpen`.
    pub fn allow_half_open(self) -> bool {
        self.ask(false, |stream| {
            stream.common.flags.any(flag::ALLOW_HALF_OPEN)
        })
    }

    /// The peer's address: Node's `socket.remoteAddress` and `remotePort`. Unlike Node's it is
    /// available until the socket is gone, even if never asked for before. On a server for both
    /// families an IPv4 peer shows as `::ffff:a.b.c.d` (N234).
    pub fn remote_address(self) -> Option<SocketAddr> {
        self.ask(None, |stream| stream.remote.map(Peer::address))
    }

    /// The addresses that were tried for the present connection, if the host's name had several, in
    /// order: Node's `autoSelectFamilyAttemptedAddresses` (N256).
    pub fn auto_select_family_attempted_addresses(self) -> Vec<SocketAddr> {
        self.ask(Vec::new(), |stream| {
            let extra = stream.extra.as_ref();
            extra.map_or_else(Vec::new, |extra| extra.attempted.clone())
        })
    }

    /// The local address: Node's `socket.localAddress` and `localPort`. None once the socket is
    /// destroyed.
    pub fn local_address(self) -> Option<SocketAddr> {
        table::with(self.0, |state, id| state.local_address(id)).flatten()
    }

    /// The local address: Node's `socket.address()`.
    pub fn address(self) -> Option<SocketAddr> {
        self.local_address()
    }

    /// The server that accepted it: Node's `socket.server`. None for a socket that was not
    /// accepted, and once the socket is gone.
    pub fn server(self) -> Option<Server> {
        let id = self.ask(Id::NONE, |stream| stream.server.id());
        (id != Id::NONE).then(|| Server(Raw::new(self.0.index, id)))
    }

    fn ask<R>(self, gone: R, question: impl FnOnce(&Stream) -> R) -> R {
        table::with(self.0, |state, id| Some(question(state.stream(id)?)))
            .flatten()
            .unwrap_or(gone)
    }
}

/// For the log.
impl Socket {
    fn trace(self, call: &str) {
        if trace::on() {
            trace::call(self.0, format_args!("{self:?}.{call}()"));
        }
    }

    #[inline]
    fn trace_write(self, call: &str, chunk: &Chunk<'_>) {
        if trace::on() {
            let bytes = chunk.as_slice().len();
            trace::call(self.0, format_args!("{self:?}.{call}({bytes} bytes)"));
        }
    }
}

/// Its life in the loop.
impl Socket {
    /// Lets the socket keep the loop alive while it reads, as it does by default: Node's
    /// `socket.ref`. Calls are not counted. A socket that does not read keeps nothing alive (N51).
    pub fn set_ref(self) {
        set_referenced(self.0, true);
    }

    /// Stops the socket from keeping the loop alive: Node's `socket.unref`. A write in flight still
    /// does (N53).
    pub fn unref(self) {
        set_referenced(self.0, false);
    }

    /// Whether it would keep the loop alive.
    pub fn has_ref(self) -> bool {
        self.ask(false, |stream| stream.common.flags.any(flag::REFERENCED))
    }

    /// Holds the socket in its slot, with its listeners and last values, after its 'close', until
    /// [`release`](Socket::release) or the end of the loop. It does not keep the loop alive.
    pub fn keep(self) {
        set_kept(self.0, true);
    }

    /// Ends [`keep`](Socket::keep).
    pub fn release(self) {
        set_kept(self.0, false);
    }
}

pub(super) fn set_referenced(raw: Raw, referenced: bool) {
    table::with(raw, |state, id| state.set_referenced(id, referenced));
}

pub(super) fn set_kept(raw: Raw, kept: bool) {
    table::with(raw, |state, id| state.set_kept(id, kept));
}
