//! The one seam to the operating system.
//!
//! Above it there is no mio type, no clock read, and no system call but those that `src/fs/` and `src/stdio/`
//! make through the standard library. It is an enum, not a trait object: the operating system through mio
//! ([`os`]), or the [null backend](null), which answers in memory so that the loop's own time can be measured.

mod closing;
mod counts;
pub(crate) mod datagram;
mod kinds;
mod level;
mod link_local;
mod listening;
pub(crate) mod null;
pub(crate) mod os;
pub(crate) mod resolve;
mod source_group;
mod splice;
mod udp;
mod udp_receive;
mod udp_send;
#[cfg(unix)]
pub(crate) mod unix;
pub(crate) mod wake;
pub(crate) mod workers;

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::ground::error;
use crate::ground::look_up::{Found, Query};
pub(crate) use closing::close_file;
pub use counts::Counts;
pub(crate) use kinds::{is_interrupted, would_block};
pub(crate) use level::BY_LEVEL;
pub(crate) use link_local::lacks_zone;
use null::Null;
use os::Os;
pub(crate) use os::{EVENTS_PER_WAIT, already_connected, already_connecting};
/// A socket lent for its options, by [`with_sock_ref`](crate::net::Socket::with_sock_ref). What follows is the text of
/// the crate socket2, whose `Socket` is another.
///
pub use socket2::SockRef;
/// A second descriptor of a socket.
pub(crate) use socket2::Socket as Duplicate;
pub(crate) use splice::{FILE_PIPE_SIZE, KernelPipe, Spliced};
pub(crate) use wake::Waker;
pub(crate) use workers::Run;

/// What an event says about a descriptor. A hint, never the truth.
pub(crate) mod ready {
    /// A read may give something: data, the end, or an error.
    pub(crate) const READABLE: u8 = 1 << 0;
    /// A write may take something, or fail.
    pub(crate) const WRITABLE: u8 = 1 << 1;
    /// The peer has shut its side down.
    pub(crate) const READ_CLOSED: u8 = 1 << 2;
    /// Both sides are shut down.
    pub(crate) const HANG_UP: u8 = 1 << 3;
    /// An error waits to be read.
    pub(crate) const ERROR: u8 = 1 << 4;
    /// Urgent data: a read stops at its mark, so a short read proves nothing.
    pub(crate) const URGENT: u8 = 1 << 5;
}

/// Rare paths, forced for tests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Forced {
    /// The most bytes of one read; 0 is no limit.
    pub(crate) read_limit: usize,
    /// The most bytes of one write; 0 is no limit.
    pub(crate) write_limit: usize,
    /// Of this many sends of datagrams only the last is not refused; 0 refuses none.
    pub(crate) send_refusals: u32,
    /// Whether runs of datagrams are refused.
    pub(crate) refuse_runs: bool,
    /// Whether splices are refused.
    pub(crate) refuse_splices: bool,
}

/// How to listen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListenOptions {
    /// How many connections may wait to be accepted.
    pub(crate) backlog: u32,
    /// Whether an IPv6 address leaves IPv4 alone.
    pub(crate) ipv6_only: bool,
    /// Whether several sockets may listen at one address, connections spread over them.
    pub(crate) reuse_port: bool,
    /// The mode of a Unix socket's file; 0 leaves it to the process's umask.
    #[cfg(unix)]
    pub(crate) file_mode: u32,
}

/// How keep-alive was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    /// Seconds without traffic before the first probe; 0 leaves the system's.
    pub(crate) delay_s: u32,
    /// Seconds between probes; none is libuv's 1 where a delay is given.
    pub(crate) interval_s: Option<u32>,
    /// Unanswered probes until the connection is given up; none is libuv's 10 where a delay is given.
    pub(crate) count: Option<u32>,
}

/// Where events, connections and bytes come from.
pub(crate) enum Backend {
    /// The operating system.
    Os(Os),
    /// Nowhere: answers in memory.
    Null(Null),
}

/// A connected socket.
pub(crate) enum Stream {
    /// Of the operating system: a TCP socket, or a Unix socket in the same clothes (see [`unix`]).
    Os(mio::net::TcpStream),
    /// Of the null backend, by number.
    Null(u32),
}

/// A socket that is to be connected; bound already if it has to be.
pub(crate) enum Unconnected {
    /// Of the operating system.
    Os(socket2::Socket),
    /// Of the null backend.
    Null,
}

/// A listening socket.
pub(crate) enum Listener {
    /// Of the operating system.
    Os(mio::net::TcpListener),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(unix::UnixListener),
    /// Of the null backend.
    Null,
}

/// What trying to accept gave.
pub(crate) enum Accepted {
    /// A connection, with the peer's address; a Unix socket's has none.
    Connection(Stream, Option<SocketAddr>),
    /// Nothing: nobody waits, or an error that concerns that connection alone (A13).
    Nothing,
    /// The process is out of descriptors; who waited was turned away (N93).
    Shed,
    /// Out of descriptors, and the spare one is gone too: try again later.
    Exhausted,
    /// An error that the next attempt would meet too: try again later.
    Failed(io::Error),
}

impl Backend {
    /// Waits for events: until one comes, or until `timeout` is over. Looks for them for the time of
    /// `spin` before it blocks.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, spin: Duration) -> io::Result<()> {
        match self {
            Backend::Os(os) if spin.is_zero() => os.wait(timeout),
            Backend::Os(os) => os.spin_and_wait(timeout, spin),
            Backend::Null(null) => {
                null.wait();
                Ok(())
            }
        }
    }

    /// Hands the events of the last wait to `take`: the token, and what it is ready for.
    #[inline(always)]
    pub(crate) fn events(&self, mut take: impl FnMut(u64, u8)) {
        match self {
            Backend::Os(os) => os.events(take),
            Backend::Null(null) => {
                for &(token, bits) in null.events() {
                    take(token, bits);
                }
            }
        }
    }

    /// Whether an event means that something changed, so that a short read proves that nothing
    /// is left and the next arrival will be told. Where it is not so, a short read proves nothing.
    #[inline]
    pub(crate) fn has_edges(&self) -> bool {
        match self {
            Backend::Os(_) => Os::HAS_EDGES,
            Backend::Null(_) => true,
        }
    }

    /// Milliseconds since the backend was made, rounded down (L63).
    #[inline]
    pub(crate) fn now_ms(&mut self) -> u64 {
        match self {
            Backend::Os(os) => os.now_ms(),
            Backend::Null(null) => null.now_ms(),
        }
    }

    /// How many of `wanted` bytes one read may give: fewer where a test limits reads. A read that
    /// gives as many is not short.
    #[inline]
    pub(crate) fn read_room(&self, wanted: usize) -> usize {
        match self {
            Backend::Os(os) => os.read_room(wanted),
            Backend::Null(_) => wanted,
        }
    }

    /// A read of fewer bytes into a buffer of `wanted` takes all there is: on an ordinary socket, one
    /// whose events are edges.
    pub(crate) fn plain_read_room(&self, wanted: usize) -> usize {
        match self.has_edges() {
            true => self.read_room(wanted),
            false => 0,
        }
    }

    /// Whether a write that took a part proves that the kernel is full, so that an event will
    /// tell when it is not. Where it is not so, only would-block proves it.
    #[inline]
    pub(crate) fn short_write_is_full(&self) -> bool {
        match self {
            Backend::Os(os) => os.short_write_is_full(),
            Backend::Null(_) => true,
        }
    }

    /// Registers a stream, once for its whole life.
    pub(crate) fn register(&mut self, stream: &mut Stream, token: u64) -> io::Result<()> {
        match (self, stream) {
            (Backend::Os(os), Stream::Os(stream)) => os.register(stream, token),
            (Backend::Null(null), Stream::Null(stream)) => {
                null.register(*stream, token);
                Ok(())
            }
            _ => unreachable!("a stream of another backend"),
        }
    }

    /// Has the poller tell of a stream what arrives, and no more when there is room to write: until
    /// [`reregister`](Backend::reregister).
    pub(crate) fn watch_arrivals(&mut self, stream: &mut Stream, token: u64) -> io::Result<()> {
        match (self, stream) {
            (Backend::Os(os), Stream::Os(stream)) => os.watch_arrivals(stream, token),
            _ => Ok(()),
        }
    }

    /// Has everything be told of a stream, also what was told before.
    pub(crate) fn reregister(&mut self, stream: &mut Stream, token: u64) -> io::Result<()> {
        match (self, stream) {
            (Backend::Os(os), Stream::Os(stream)) => os.reregister(stream, token),
            _ => Ok(()),
        }
    }

    /// Makes a socket to reach `address`, bound to `local` if that is asked for.
    pub(crate) fn open(
        &mut self,
        address: SocketAddr,
        local: Option<SocketAddr>,
    ) -> io::Result<Unconnected> {
        match self {
            Backend::Os(_) => Os::open(address, local).map(Unconnected::Os),
            Backend::Null(_) => Ok(Unconnected::Null),
        }
    }

    /// Begins to connect, and registers the stream. An error comes with the local address.
    pub(crate) fn connect(
        &mut self,
        unconnected: Unconnected,
        address: SocketAddr,
        token: u64,
    ) -> Result<Stream, (io::Error, Option<SocketAddr>)> {
        match (self, unconnected) {
            (Backend::Os(os), Unconnected::Os(socket)) => {
                os.connect(socket, address, token).map(Stream::Os)
            }
            // Nobody is there to connect to: the null backend's connections all arrive.
            _ => Err((io::ErrorKind::ConnectionRefused.into(), None)),
        }
    }

    /// The error that a socket has run into, if any.
    pub(crate) fn take_error(&mut self, stream: &Stream) -> Option<io::Error> {
        match stream {
            Stream::Os(stream) => stream.take_error().unwrap_or_else(Some),
            Stream::Null(_) => None,
        }
    }

    /// Switches Nagle's algorithm off or on. As in Node nobody is told of a failure (N199).
    pub(crate) fn set_no_delay(&mut self, stream: &Stream, no_delay: bool) {
        self.counts_mut().options += 1;
        if let Stream::Os(stream) = stream {
            let _ = stream.set_nodelay(no_delay);
        }
    }

    /// Switches keep-alive on or off. As in Node nobody is told of a failure (N199).
    pub(crate) fn set_keep_alive(&mut self, stream: &Stream, keep_alive: Option<KeepAlive>) {
        self.counts_mut().options += 1;
        if let Stream::Os(stream) = stream {
            os::set_keep_alive(stream, keep_alive);
        }
    }

    /// Has the close of a socket reset the connection.
    pub(crate) fn reset_at_close(&mut self, stream: &Stream) {
        self.counts_mut().options += 1;
        if let Stream::Os(stream) = stream {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// The address of the peer.
    pub(crate) fn remote_address(&mut self, stream: &Stream) -> io::Result<SocketAddr> {
        self.counts_mut().addresses += 1;
        match stream {
            Stream::Os(stream) => stream.peer_addr(),
            Stream::Null(_) => Ok(null::ADDRESS),
        }
    }

    /// Ends a registration. Only needed where others hold the descriptor too: it would outlive our
    /// close.
    pub(crate) fn deregister(&mut self, stream: &mut Stream) {
        if let (Backend::Os(os), Stream::Os(stream)) = (self, stream) {
            os.deregister(stream);
        }
    }

    /// Sets or reads an option of a socket.
    pub(crate) fn option<R>(
        &mut self,
        stream: &Stream,
        act: impl FnOnce(SockRef<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        self.counts_mut().options += 1;
        match stream {
            Stream::Os(stream) => act(SockRef::from(stream)),
            Stream::Null(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Reads into `buffer`; 0 is the end.
    #[inline(always)]
    pub(crate) fn read(&mut self, stream: &Stream, buffer: &mut [u8]) -> io::Result<usize> {
        match (self, stream) {
            (Backend::Os(os), Stream::Os(stream)) => os.read(stream, buffer),
            (Backend::Null(null), Stream::Null(stream)) => null.read(*stream, buffer),
            _ => unreachable!("a stream of another backend"),
        }
    }

    /// Writes from `buffer`.
    #[inline]
    pub(crate) fn write(&mut self, stream: &Stream, buffer: &[u8]) -> io::Result<usize> {
        match (self, stream) {
            (Backend::Os(os), Stream::Os(stream)) => os.write(stream, buffer),
            (Backend::Null(null), Stream::Null(stream)) => null.write(*stream, buffer),
            _ => unreachable!("a stream of another backend"),
        }
    }

    /// Writes from several buffers in one call.
    pub(crate) fn write_vectored(
        &mut self,
        stream: &Stream,
        buffers: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        match (self, stream) {
            (Backend::Os(os), Stream::Os(stream)) => os.write_vectored(stream, buffers),
            (Backend::Null(null), Stream::Null(stream)) => {
                let mut sum = 0;
                for buffer in buffers {
                    sum += null.write(*stream, buffer)?;
                }
                Ok(sum)
            }
            _ => unreachable!("a stream of another backend"),
        }
    }

    /// Sends the end: no more is written.
    pub(crate) fn shutdown(&mut self, stream: &Stream) -> io::Result<()> {
        match (self, stream) {
            (Backend::Os(os), Stream::Os(stream)) => os.shutdown(stream),
            (Backend::Null(null), Stream::Null(_)) => {
                null.counts.shutdowns += 1;
                Ok(())
            }
            _ => unreachable!("a stream of another backend"),
        }
    }

    /// Closes a stream. Its registration goes with it; where others hold the descriptor it was ended before.
    pub(crate) fn close(&mut self, stream: Stream) {
        self.counts_mut().closes += 1;
        if let (Backend::Null(null), Stream::Null(stream)) = (self, &stream) {
            null.close(*stream);
        }
    }

    /// The address at this end.
    pub(crate) fn local_address(&mut self, stream: &Stream) -> io::Result<SocketAddr> {
        self.counts_mut().addresses += 1;
        match stream {
            Stream::Os(stream) => stream.local_addr(),
            Stream::Null(_) => Ok(null::ADDRESS),
        }
    }

    /// The address that a listener is bound to.
    pub(crate) fn listener_address(&mut self, listener: &Listener) -> io::Result<SocketAddr> {
        self.counts_mut().addresses += 1;
        match listener {
            Listener::Os(listener) => listener.local_addr(),
            #[cfg(unix)]
            Listener::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            Listener::Null => Ok(null::ADDRESS),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        match self {
            Backend::Os(os) => Counts {
                jobs: os.workers.jobs,
                wakes: os.waker.wakes(),
                ..os.counts
            },
            Backend::Null(null) => null.counts,
        }
    }

    /// What ends a wait from another thread.
    pub(crate) fn waker(&self) -> Waker {
        match self {
            Backend::Os(os) => os.waker.clone(),
            Backend::Null(_) => Waker::Null,
        }
    }

    /// Has a worker thread do something, which must not panic. It comes back if there is no thread.
    pub(crate) fn start_job(&mut self, key: u64, run: Run) -> Result<(), (io::Error, Run)> {
        match self {
            Backend::Os(os) => os.workers.start(key, false, run),
            Backend::Null(_) => Err((io::ErrorKind::Unsupported.into(), run)),
        }
    }

    /// Looks a name up in a worker thread, and hands the answer to `report` there. If there is no
    /// thread, the error comes at once.
    pub(crate) fn start_look_up(
        &mut self,
        key: u64,
        query: Query,
        report: impl FnOnce(error::Result<Vec<Found>>) + Send + 'static,
    ) -> io::Result<()> {
        match self {
            Backend::Os(os) => {
                let run = Box::new(move || report(resolve::resolve(&query)));
                os.workers.start(key, true, run).map_err(|(error, _)| error)
            }
            Backend::Null(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The number of a zone of an IPv6 address; 0 if there is none of that name.
    pub(crate) fn scope_id(&self, address: IpAddr, zone: &str) -> u32 {
        match self {
            Backend::Os(_) => resolve::scope_id(address, zone),
            Backend::Null(_) => 0,
        }
    }

    /// Takes a job back that no worker has begun.
    pub(crate) fn cancel_job(&mut self, key: u64) -> Option<Run> {
        match self {
            Backend::Os(os) => os.workers.cancel(key),
            Backend::Null(_) => None,
        }
    }

    /// How many worker threads there are.
    pub(crate) fn workers(&self) -> usize {
        match self {
            Backend::Os(os) => os.workers.threads(),
            Backend::Null(_) => 0,
        }
    }

    /// Ends the worker threads, each when it has done what it is doing. Gives what none has begun.
    pub(crate) fn close_workers(&mut self) -> Vec<Run> {
        match self {
            Backend::Os(os) => os.workers.close(),
            Backend::Null(_) => Vec::new(),
        }
    }

    pub(super) fn counts_mut(&mut self) -> &mut Counts {
        match self {
            Backend::Os(os) => &mut os.counts,
            Backend::Null(null) => &mut null.counts,
        }
    }

    /// The poller's descriptor, for embedding.
    #[cfg(unix)]
    pub(crate) fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        match self {
            Backend::Os(os) => Some(os.descriptor()),
            Backend::Null(_) => None,
        }
    }
}
