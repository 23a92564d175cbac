//! The operating system, through mio.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::kinds::{is_interrupted, would_block};
use super::level::{self, BY_LEVEL, Listening};
use super::link_local::with_zone;
use super::splice::Splicer;
use super::udp_receive::Headers;
use super::wake::{OsWaker, Waker};
use super::workers::Workers;
use super::{Accepted, Counts, Forced, KeepAlive, ListenOptions, Stream, ready};

/// Events per wait, as libuv (L19). A full batch is followed by another wait that does not block.
pub(crate) const EVENTS_PER_WAIT: usize = 1024;

/// The most waiting connections that are turned away in one go when the process is out of descriptors: no more
/// fit a default backlog, so those that come later wait for the next turn.
const SHED_LIMIT: u64 = 511;

/// The token of wake-ups: no object has this key. What they are about lies in the loop's mailbox.
const WAKE: Token = Token(usize::MAX);

/// The poller and everything that is counted or forced.
pub(crate) struct Os {
    /// The poller.
    poll: Poll,
    /// The events of the last wait.
    events: Events,
    /// The clock's zero.
    started: Instant,
    /// What it said last, in ms.
    read_ms: u64,
    /// It says so until then.
    next_ms_at: Instant,
    /// A descriptor kept in reserve, to turn connections away when there is no other (A14).
    spare: Option<File>,
    /// Rare paths, forced for tests.
    pub(super) forced: Forced,
    /// What datagrams are received with.
    pub(super) headers: Headers,
    /// What bytes pass through from socket to socket.
    pub(super) splicer: Splicer,
    /// Sends that were refused in a row.
    pub(super) refused: u32,
    /// What was asked of the operating system.
    pub(crate) counts: Counts,
    /// Ends a wait from another thread.
    pub(crate) waker: Waker,
    /// The worker threads.
    pub(crate) workers: Workers,
}

impl Os {
    /// epoll and kqueue are asked for edges and deliver them. Elsewhere mio emulates edges on
    /// top of level-triggered calls, and re-arms on would-block alone.
    pub(crate) const HAS_EDGES: bool = cfg!(any(
        target_os = "linux",
        target_os = "android",
        target_os = "macos",
        target_os = "ios",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly"
    ));

    pub(crate) fn new(forced: Forced, workers: usize) -> io::Result<Os> {
        let poll = Poll::new()?;
        let waker = OsWaker {
            waker: mio::Waker::new(poll.registry(), WAKE)?,
            wakes: AtomicU64::new(0),
        };
        let started = Instant::now();
        Ok(Os {
            poll,
            events: Events::with_capacity(EVENTS_PER_WAIT),
            started,
            read_ms: 0,
            next_ms_at: started + Duration::from_millis(1),
            spare: None,
            forced,
            headers: Headers::default(),
            splicer: Splicer::default(),
            refused: 0,
            counts: Counts::default(),
            waker: Waker::Os(Arc::new(waker)),
            workers: Workers::new(workers),
        })
    }

    pub(super) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.counts.waits += 1;
        self.poll.poll(&mut self.events, timeout)
    }

    /// Looks for events again and again for the time of `spin`, then blocks as [`wait`](Os::wait).
    #[inline(never)]
    pub(crate) fn spin_and_wait(
        &mut self,
        timeout: Option<Duration>,
        spin: Duration,
    ) -> io::Result<()> {
        let spin = timeout.map_or(spin, |timeout| timeout.min(spin));
        let begun = Instant::now();
        loop {
            self.wait(Some(Duration::ZERO))?;
            let spent = begun.elapsed();
            let left = timeout.map(|timeout| timeout.saturating_sub(spent));
            if !self.events.is_empty() || left == Some(Duration::ZERO) {
                return Ok(());
            }
            if spent >= spin {
                return self.wait(left);
            }
        }
    }

    #[inline(always)]
    pub(crate) fn events(&self, mut take: impl FnMut(u64, u8)) {
        for event in &self.events {
            take(event.token().0 as u64, bits_of(event));
        }
    }

    #[inline]
    pub(crate) fn now_ms(&mut self) -> u64 {
        self.counts.clock_reads += 1;
        let now = Instant::now();
        // Mostly in the same millisecond as the last time: a comparison instead of arithmetic.
        // The clock does not go back.
        if now >= self.next_ms_at {
            self.enter_millisecond(now);
        }
        self.read_ms
    }

    /// Notes in which millisecond `now` is, and when that ends.
    #[inline(never)]
    fn enter_millisecond(&mut self, now: Instant) {
        let elapsed = now - self.started;
        let rest = Duration::from_nanos(u64::from(elapsed.subsec_nanos() % 1_000_000));
        self.read_ms = elapsed.as_secs() * 1000 + u64::from(elapsed.subsec_millis());
        self.next_ms_at = now - rest + Duration::from_millis(1);
    }

    pub(crate) fn listen(
        &mut self,
        address: SocketAddr,
        options: ListenOptions,
        token: u64,
    ) -> io::Result<TcpListener> {
        self.counts.listens += 1;
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(options.ipv6_only)?;
        }
        // On Windows this option lets two programs listen on one port.
        #[cfg(not(windows))]
        socket.set_reuse_address(true)?;
        if options.reuse_port {
            set_reuse_port(&socket)?;
        }
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        let mut listener = TcpListener::from_std(socket.into());
        self.watch_listener(&mut listener, token)?;
        Ok(listener)
    }

    /// Registers a listening socket, and sees to the spare descriptor.
    pub(super) fn watch_listener(
        &mut self,
        listener: &mut impl Listening,
        token: u64,
    ) -> io::Result<()> {
        self.counts.registrations += 1;
        self.poll
            .registry()
            .register(listener, Token(token as usize), Interest::READABLE)?;
        if BY_LEVEL {
            self.tell_of_listener(listener, token)?;
        }
        if self.spare.is_none() {
            self.spare = spare_descriptor();
        }
        Ok(())
    }

    pub(crate) fn open(address: SocketAddr, local: Option<SocketAddr>) -> io::Result<Socket> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if let Some(local) = local {
            if local.is_ipv4() != address.is_ipv4() {
                // Linux has another name for it in one of the two cases; libuv has not.
                const EINVAL: i32 = if cfg!(windows) { 10022 } else { 22 };
                return Err(io::Error::from_raw_os_error(EINVAL));
            }
            #[cfg(not(windows))]
            socket.set_reuse_address(true)?;
            socket.bind(&local.into())?;
        }
        Ok(socket)
    }

    pub(crate) fn connect(
        &mut self,
        socket: Socket,
        address: SocketAddr,
        token: u64,
    ) -> Result<TcpStream, (io::Error, Option<SocketAddr>)> {
        self.counts.connects += 1;
        let begun = match socket.connect(&with_zone(address).into()) {
            Err(error) if !is_in_progress(&error) => Err(error),
            _ => Ok(()),
        };
        let local = |socket: &Socket| socket.local_addr().ok().and_then(|local| local.as_socket());
        begun.map_err(|error| (error, local(&socket)))?;
        let mut stream = TcpStream::from_std(socket.into());
        self.register(&mut stream, token)
            .map_err(|error| (error, stream.local_addr().ok()))?;
        Ok(stream)
    }

    pub(crate) fn accept(&mut self, listener: &TcpListener) -> Accepted {
        self.accept_from(|| listener.accept().map(|(io, address)| (io, Some(address))))
    }

    /// Tries to take one connection by `accept`.
    pub(super) fn accept_from(
        &mut self,
        mut accept: impl FnMut() -> io::Result<(TcpStream, Option<SocketAddr>)>,
    ) -> Accepted {
        self.counts.accepts += 1;
        match accept() {
            Ok((stream, address)) => Accepted::Connection(Stream::Os(stream), address),
            Err(error) if is_out_of_descriptors(&error) => self.shed(|| accept().map(drop)),
            Err(error) if is_about_the_listener(&error) => Accepted::Failed(error),
            Err(_) => Accepted::Nothing,
        }
    }

    /// Frees the spare descriptor to accept and close what waits, as libuv does (N93, A14).
    #[cold]
    fn shed(&mut self, mut accept_and_close: impl FnMut() -> io::Result<()>) -> Accepted {
        if self.spare.take().is_none() {
            self.spare = spare_descriptor();
            if self.spare.take().is_none() {
                return Accepted::Exhausted;
            }
        }
        let mut shed = 0;
        let mut is_in_vain = false;
        while shed < SHED_LIMIT {
            self.counts.accepts += 1;
            if let Err(error) = accept_and_close() {
                // Linux says ENFILE also where there is no memory for a socket.
                is_in_vain = shed == 0 && is_out_of_descriptors(&error);
                break;
            }
            shed += 1;
        }
        self.counts.shed += shed;
        self.spare = spare_descriptor();
        match self.spare {
            Some(_) if !is_in_vain => Accepted::Shed,
            _ => Accepted::Exhausted,
        }
    }

    /// Has further connections be told, behind one that was taken. By level they are.
    #[inline]
    pub(crate) fn rearm(&mut self, listener: &mut impl Listening, token: u64) -> io::Result<()> {
        match BY_LEVEL {
            true => Ok(()),
            false => self.tell_of_listener(listener, token),
        }
    }

    pub(crate) fn tell_of_listener(
        &mut self,
        listener: &mut impl Listening,
        token: u64,
    ) -> io::Result<()> {
        self.counts.rearms += 1;
        level::tell(self.poll.registry(), listener, Token(token as usize))
    }

    pub(crate) fn hush_listener(&mut self, listener: &mut impl Listening, token: u64) {
        self.counts.rearms += u64::from(BY_LEVEL);
        // Where it fails, the socket is looked at in every turn.
        let _ = level::hush(self.poll.registry(), listener, Token(token as usize));
    }

    pub(crate) fn register(&mut self, stream: &mut TcpStream, token: u64) -> io::Result<()> {
        self.counts.registrations += 1;
        self.poll
            .registry()
            .register(stream, Token(token as usize), stream_interest())
    }

    pub(crate) fn watch_arrivals(&mut self, stream: &mut TcpStream, token: u64) -> io::Result<()> {
        self.counts.rearms += 1;
        self.poll
            .registry()
            .reregister(stream, Token(token as usize), reader_interest())
    }

    pub(crate) fn reregister(&mut self, stream: &mut TcpStream, token: u64) -> io::Result<()> {
        self.counts.rearms += 1;
        self.poll
            .registry()
            .reregister(stream, Token(token as usize), stream_interest())
    }

    pub(crate) fn deregister(&mut self, io: &mut impl Source) {
        self.counts.deregistrations += 1;
        // Fails only if it is not registered.
        let _ = self.poll.registry().deregister(io);
    }

    #[inline]
    pub(crate) fn read_room(&self, wanted: usize) -> usize {
        limited(wanted, self.forced.read_limit)
    }

    /// How many of `wanted` bytes one write may give: fewer where a test limits writes.
    #[inline]
    pub(super) fn write_room(&self, wanted: usize) -> usize {
        limited(wanted, self.forced.write_limit)
    }

    #[inline]
    pub(crate) fn short_write_is_full(&self) -> bool {
        Os::HAS_EDGES && self.forced.write_limit == 0
    }

    #[inline]
    pub(crate) fn read(&mut self, mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = self.read_room(buffer.len());
        loop {
            self.counts.reads += 1;
            match stream.read(&mut buffer[..limit]) {
                Err(error) if is_interrupted(&error) => {}
                result => return result,
            }
        }
    }

    #[inline]
    pub(crate) fn write(&mut self, mut stream: &TcpStream, buffer: &[u8]) -> io::Result<usize> {
        let limit = self.write_room(buffer.len());
        loop {
            self.counts.writes += 1;
            match stream.write(&buffer[..limit]) {
                Err(error) if is_interrupted(&error) => {}
                result => return result,
            }
        }
    }

    pub(crate) fn write_vectored(
        &mut self,
        mut stream: &TcpStream,
        buffers: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if self.forced.write_limit > 0 || buffers.len() == 1 {
            // Empty buffers in front would make a limited write of nothing.
            let first = buffers.iter().find(|buffer| !buffer.is_empty());
            return first.map_or(Ok(0), |buffer| self.write(stream, buffer));
        }
        loop {
            self.counts.writes += 1;
            match stream.write_vectored(buffers) {
                Err(error) if is_interrupted(&error) => {}
                result => return result,
            }
        }
    }

    pub(crate) fn shutdown(&mut self, stream: &TcpStream) -> io::Result<()> {
        self.counts.shutdowns += 1;
        stream.shutdown(Shutdown::Write)
    }

    #[cfg(unix)]
    pub(crate) fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.poll.registry().as_fd()
    }
}

/// What is to be told of a stream: everything.
fn stream_interest() -> Interest {
    reader_interest() | Interest::WRITABLE
}

/// What arrives at a stream.
fn reader_interest() -> Interest {
    let interest = Interest::READABLE;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let interest = interest | Interest::PRIORITY;
    interest
}

/// EALREADY: what a second `connect` is told while the first is under way.
pub(crate) fn already_connecting() -> io::Error {
    io::Error::from_raw_os_error(if cfg!(windows) {
        10037
    } else if cfg!(any(target_os = "linux", target_os = "android")) {
        114
    } else {
        37
    })
}

/// EISCONN: what libuv says of a `connect` to a path on a connected socket, and of a datagram with an address.
pub(crate) fn already_connected() -> io::Error {
    io::Error::from_raw_os_error(if cfg!(windows) {
        10056
    } else if cfg!(any(target_os = "linux", target_os = "android")) {
        106
    } else {
        56
    })
}

pub(crate) fn set_keep_alive(stream: &TcpStream, keep_alive: Option<KeepAlive>) {
    let socket = SockRef::from(stream);
    let Some(wanted) = keep_alive else {
        let _ = socket.set_keepalive(false);
        return;
    };
    let mut keep_alive = TcpKeepalive::new();
    if wanted.delay_s > 0 {
        keep_alive = keep_alive.with_time(Duration::from_secs(wanted.delay_s.into()));
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let interval_s = wanted.interval_s.unwrap_or(1);
            keep_alive = keep_alive
                .with_interval(Duration::from_secs(interval_s.into()))
                .with_retries(wanted.count.unwrap_or(10));
        }
    }
    let _ = socket.set_tcp_keepalive(&keep_alive);
}

/// Where the system spreads what comes over those who share a port, as libuv has it.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "dragonfly"))]
pub(super) fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(target_os = "freebsd")]
pub(super) fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port_lb(true)
}

#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "dragonfly",
    target_os = "freebsd"
)))]
pub(super) fn set_reuse_port(_socket: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether `connect` has begun and will be told of later.
fn is_in_progress(error: &io::Error) -> bool {
    const EINPROGRESS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
        115
    } else {
        36
    };
    // On Windows it would block. On Unix that says that it was not begun, and nothing would come.
    (cfg!(windows) && would_block(error))
        || is_interrupted(error)
        || (cfg!(unix) && error.raw_os_error() == Some(EINPROGRESS))
}

/// A descriptor that can be given up at any time.
fn spare_descriptor() -> Option<File> {
    cfg!(unix).then(|| File::open("/dev/null").ok()).flatten()
}

fn limited(length: usize, limit: usize) -> usize {
    match limit {
        0 => length,
        limit => length.min(limit),
    }
}

/// EMFILE or ENFILE: the same numbers on every Unix, and a code of its own on Windows.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    const WSAEMFILE: i32 = 10024;
    match error.raw_os_error() {
        Some(23 | 24) => cfg!(unix),
        Some(WSAEMFILE) => cfg!(windows),
        _ => false,
    }
}

/// Whether an error of `accept` is not about the connection that waits, so that the next attempt meets it
/// too: another process that has the listening socket has shut it down, or the system is out of memory or
/// forbids it.
fn is_about_the_listener(error: &io::Error) -> bool {
    const ENOBUFS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
        105
    } else {
        55
    };
    match error.kind() {
        io::ErrorKind::InvalidInput
        | io::ErrorKind::OutOfMemory
        | io::ErrorKind::PermissionDenied => true,
        _ => cfg!(unix) && error.raw_os_error() == Some(ENOBUFS),
    }
}

#[inline]
fn bits_of(event: &mio::event::Event) -> u8 {
    let mut bits = 0;
    if event.is_readable() {
        bits |= ready::READABLE;
    }
    if event.is_writable() {
        bits |= ready::WRITABLE;
    }
    if event.is_read_closed() {
        bits |= ready::READ_CLOSED | ready::READABLE;
        if event.is_write_closed() {
            bits |= ready::HANG_UP | ready::WRITABLE;
        }
    }
    if event.is_error() {
        // Both a read and a write find out what it is.
        bits |= ready::ERROR | ready::READABLE | ready::WRITABLE;
    }
    if event.is_priority() {
        bits |= ready::URGENT | ready::READABLE;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EAGAIN was taken for a connection that has begun: 'connect' came, though there was none.
    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn a_connection_that_could_not_begin_is_not_in_progress() {
        const EAGAIN: i32 = 11;
        const EINTR: i32 = 4;
        const EINPROGRESS: i32 = 115;
        let is_in_progress = |code| is_in_progress(&io::Error::from_raw_os_error(code));
        assert!(is_in_progress(EINPROGRESS));
        assert!(is_in_progress(EINTR));
        assert!(!is_in_progress(EAGAIN));
    }

    /// The loop tried again at once, and again, as long as that was so.
    #[test]
    #[cfg(unix)]
    fn a_descriptor_that_is_of_no_use_is_as_good_as_none() {
        const ENFILE: i32 = 23;
        let mut os = Os::new(Forced::default(), 1).unwrap();
        let in_vain = os.accept_from(|| Err(io::Error::from_raw_os_error(ENFILE)));
        assert!(matches!(in_vain, Accepted::Exhausted));
        // Who waited has gone meanwhile.
        let mut first = Some(io::Error::from_raw_os_error(ENFILE));
        let gone = os.accept_from(|| Err(first.take().unwrap_or(io::ErrorKind::WouldBlock.into())));
        assert!(matches!(gone, Accepted::Shed));
    }
}
