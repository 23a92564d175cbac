//! Unix domain sockets, and descriptors that come from outside.
//!
//! A connected Unix socket is kept as a TCP socket is, in mio's type for one: reading, writing,
//! half-closing and registering are the same system calls, so the hot path has one kind of stream
//! only. What differs is asked of the descriptor itself: a Unix socket has no address to tell.

use std::fs;
use std::io;
use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::datagram::Datagram;
use super::os::Os;
use super::udp::{OsDatagram, share_address};
use super::{Accepted, Backend, ListenOptions, Listener, Stream, is_interrupted};

/// "Permission denied": one number on every Unix.
const EACCES: i32 = 13;

/// A listening Unix socket. Its file goes when it is closed.
pub(crate) struct UnixListener {
    /// Its file. Fields are dropped in order: it goes in front of the close, as in libuv.
    file: SocketFile,
    /// The socket.
    io: mio::net::UnixListener,
}

/// The file that was made for a listening socket: none for an abstract name, or if others made it.
struct SocketFile(Option<PathBuf>);

impl UnixListener {
    /// The socket, to be watched.
    pub(super) fn source(&mut self) -> &mut mio::net::UnixListener {
        &mut self.io
    }

    /// Takes one connection.
    ///
    /// Not by mio's call, which looks at the path that the peer is bound to: of one of 108 bytes, which has no
    /// room for its NUL, the kernel says a length beyond that of an address, and mio panics.
    pub(super) fn accept(&self, os: &mut Os) -> Accepted {
        os.accept_from(|| Ok((TcpStream::from(accept(&self.io)?), None)))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Whatever is there by now (P4, N236).
        if let Some(file) = self.0.take() {
            let _ = fs::remove_file(file);
        }
    }
}

/// What a descriptor is about, in Node's words (`guessHandleType`), where it is not what it has to be.
pub(crate) type FdType = &'static str;

impl Backend {
    /// Makes a listening socket at `path`.
    pub(crate) fn listen_at_path(
        &mut self,
        path: &Path,
        options: ListenOptions,
        token: u64,
    ) -> io::Result<Listener> {
        let os = match self {
            Backend::Os(os) => os,
            Backend::Null(null) => {
                null.listen(token);
                return Ok(Listener::Null);
            }
        };
        os.counts.listens += 1;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address_of(path)?).map_err(without_enoent)?;
        let file = (!is_abstract(path)).then(|| path.to_path_buf());
        let mut listener = UnixListener {
            file: SocketFile(file),
            io: mio::net::UnixListener::from(OwnedFd::from(socket)),
        };
        listen(&listener.io, options.backlog)?;
        os.watch_listener(&mut listener.io, token)?;
        Ok(Listener::Unix(listener))
    }

    /// Sets the mode of a listening socket's file, to who may connect (N241).
    pub(crate) fn set_listener_mode(&mut self, listener: &Listener, mode: u32) -> io::Result<()> {
        match listener {
            Listener::Unix(UnixListener {
                file: SocketFile(Some(file)),
                ..
            }) => fs::set_permissions(file, fs::Permissions::from_mode(mode)),
            _ => Ok(()),
        }
    }

    /// Has a socket from outside listen: one that is bound, or listens already.
    pub(crate) fn adopt_listener(
        &mut self,
        descriptor: OwnedFd,
        options: ListenOptions,
        token: u64,
    ) -> io::Result<Listener> {
        let Backend::Os(os) = self else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        os.counts.listens += 1;
        let is_unix = match domain_of(&descriptor) {
            Ok(domain) => domain == Domain::UNIX,
            // Node tries it.
            Err("PIPE") => {
                listen(&descriptor, 0)?;
                false
            }
            // Node's code, and why beneath.
            Err(what) => {
                let why = format!("the descriptor is no stream socket: {what}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
        };
        SockRef::from(&descriptor).set_nonblocking(true)?;
        listen(&descriptor, options.backlog)?;
        if is_unix {
            let mut listener = UnixListener {
                file: SocketFile(None),
                io: descriptor.into(),
            };
            os.watch_listener(&mut listener.io, token)?;
            return Ok(Listener::Unix(listener));
        }
        let mut listener = TcpListener::from(descriptor);
        os.watch_listener(&mut listener, token)?;
        Ok(Listener::Os(listener))
    }

    /// The path of a listening socket's file, of one that others made too.
    pub(crate) fn listener_path(&mut self, listener: &Listener) -> Option<PathBuf> {
        let Listener::Unix(listener) = listener else {
            return None;
        };
        if let Backend::Os(os) = self {
            os.counts.addresses += 1;
        }
        let address = SockRef::from(&listener.io).local_addr().ok()?;
        let path = address.as_pathname().map(Path::to_path_buf);
        path.or_else(|| {
            let name = address.as_abstract_namespace()?;
            let bytes = [b"\0", name].concat();
            Some(PathBuf::from(std::ffi::OsStr::from_bytes(&bytes)))
        })
    }

    /// Connects to a path and registers the stream. There is nothing to wait for: it is connected,
    /// or it is not.
    pub(crate) fn connect_to_path(&mut self, path: &Path, token: u64) -> io::Result<Stream> {
        let Backend::Os(os) = self else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        os.counts.connects += 1;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&address_of(path)?)?;
        let mut stream = TcpStream::from(OwnedFd::from(socket));
        os.register(&mut stream, token)?;
        Ok(Stream::Os(stream))
    }

    /// Makes a stream of a descriptor from outside. It is not registered yet. Says whether it is a
    /// Unix socket.
    pub(crate) fn adopt(&mut self, descriptor: OwnedFd) -> Result<(Stream, bool), AdoptError> {
        if let Backend::Null(_) = self {
            return Err(AdoptError::System(io::ErrorKind::Unsupported.into()));
        }
        let domain = domain_of(&descriptor).map_err(AdoptError::Type)?;
        SockRef::from(&descriptor)
            .set_nonblocking(true)
            .map_err(AdoptError::System)?;
        Ok((
            Stream::Os(TcpStream::from(descriptor)),
            domain == Domain::UNIX,
        ))
    }

    /// Takes a UDP socket that exists (uv_udp_open).
    pub(crate) fn adopt_datagram(
        &mut self,
        descriptor: OwnedFd,
    ) -> Result<AdoptedDatagram, AdoptError> {
        if !matches!(self, Backend::Os(_)) {
            return Err(AdoptError::System(io::ErrorKind::Unsupported.into()));
        }
        let domain = datagram_domain_of(&descriptor).map_err(AdoptError::Type)?;
        let socket = SockRef::from(&descriptor);
        socket.set_nonblocking(true).map_err(AdoptError::System)?;
        // As libuv does, whatever it was made with (U6).
        share_address(&socket).map_err(AdoptError::System)?;
        let is_connected = socket.peer_addr().is_ok();
        let is_ipv6 = domain == Domain::IPV6;
        Ok(AdoptedDatagram {
            io: Datagram::Os(OsDatagram::adopted(descriptor.into(), is_ipv6)),
            is_ipv6,
            is_connected,
        })
    }

    /// Gives a UDP socket's descriptor away, and ends its registration.
    pub(crate) fn release_datagram(&mut self, io: Datagram) -> io::Result<OwnedFd> {
        match (self, io) {
            (Backend::Os(os), Datagram::Os(io)) => Ok(os.release_datagram(io).into()),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// A second descriptor of a UDP socket.
    pub(crate) fn clone_datagram(&mut self, io: &mut Datagram) -> io::Result<OwnedFd> {
        match io {
            Datagram::Os(io) => {
                let descriptor = io.socket.as_fd().try_clone_to_owned()?;
                io.share();
                Ok(descriptor)
            }
            Datagram::Null => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Gives a stream's descriptor away. Its registration must have ended.
    pub(crate) fn release(&mut self, stream: Stream) -> io::Result<OwnedFd> {
        match stream {
            Stream::Os(stream) => Ok(stream.into()),
            Stream::Null(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Gives a listening socket's descriptor away; its file stays. Its registration must have ended.
    pub(crate) fn release_listener(&mut self, listener: Listener) -> io::Result<OwnedFd> {
        match listener {
            Listener::Os(listener) => Ok(listener.into()),
            Listener::Unix(mut listener) => {
                listener.file.0 = None;
                Ok(listener.io.into())
            }
            Listener::Null => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// A second descriptor of a stream.
    pub(crate) fn clone_stream(&mut self, stream: &Stream) -> io::Result<OwnedFd> {
        match stream {
            Stream::Os(stream) => stream.as_fd().try_clone_to_owned(),
            Stream::Null(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// A second descriptor of a listening socket.
    pub(crate) fn clone_listener(&mut self, listener: &Listener) -> io::Result<OwnedFd> {
        match listener {
            Listener::Os(listener) => listener.as_fd().try_clone_to_owned(),
            Listener::Unix(listener) => listener.io.as_fd().try_clone_to_owned(),
            Listener::Null => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// A UDP socket that came from outside.
pub(crate) struct AdoptedDatagram {
    pub(crate) io: Datagram,
    pub(crate) is_ipv6: bool,
    pub(crate) is_connected: bool,
}

/// Why a descriptor can't be a stream, or a UDP socket.
pub(crate) enum AdoptError {
    /// It is something else.
    Type(FdType),
    /// The system says so.
    System(io::Error),
}

/// EBUSY: what libuv says if there is a socket already.
pub(crate) fn busy() -> io::Error {
    // The same number on every Unix.
    io::Error::from_raw_os_error(16)
}

/// Whether nothing appears in the file system: Linux's names with a NUL in front.
pub(crate) fn is_abstract(path: &Path) -> bool {
    cfg!(any(target_os = "linux", target_os = "android"))
        && path.as_os_str().as_bytes().first() == Some(&0)
}

/// The address of a path. `EINVAL` for one that is empty, too long or has a NUL within.
fn address_of(path: &Path) -> io::Result<SockAddr> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || (bytes.contains(&0) && !is_abstract(path)) {
        let why = "a path must be neither empty nor have a NUL within";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    SockAddr::unix(path)
}

/// A missing directory is EACCES, as libuv has it (N237).
fn without_enoent(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::from_raw_os_error(EACCES),
        _ => error,
    }
}

fn listen(socket: &impl AsFd, backlog: u32) -> io::Result<()> {
    SockRef::from(socket).listen(i32::try_from(backlog).unwrap_or(i32::MAX))
}

/// A connection that does not block. The peer's address is not asked for.
#[cfg(all(target_os = "linux", feature = "level"))]
fn accept(listener: &impl AsFd) -> io::Result<OwnedFd> {
    use rustix::net::{SocketFlags, accept_with};

    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(accept_with(listener, flags)?)
}

/// Elsewhere that takes a second system call.
#[cfg(not(all(target_os = "linux", feature = "level")))]
fn accept(listener: &impl AsFd) -> io::Result<OwnedFd> {
    let (socket, _) = SockRef::from(listener).accept()?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The domain of a stream socket, or what the descriptor is instead.
fn domain_of(descriptor: &OwnedFd) -> Result<Domain, FdType> {
    let socket = SockRef::from(descriptor);
    let Ok(kind) = socket.r#type() else {
        return Err(no_socket(descriptor));
    };
    let domain = socket.local_addr().map(|address| address.domain());
    match (kind, domain) {
        (Type::STREAM, Ok(domain)) if is_known(domain) => Ok(domain),
        (Type::DGRAM, Ok(Domain::IPV4 | Domain::IPV6)) => Err("UDP"),
        _ => Err("UNKNOWN"),
    }
}

/// The domain of a UDP socket, or what the descriptor is instead.
fn datagram_domain_of(descriptor: &OwnedFd) -> Result<Domain, FdType> {
    match domain_of(descriptor) {
        Ok(Domain::UNIX) => Err("PIPE"),
        Ok(_) => Err("TCP"),
        Err("UDP") => {
            let address = SockRef::from(descriptor).local_addr();
            address.map(|it| it.domain()).map_err(|_| "UNKNOWN")
        }
        Err(what) => Err(what),
    }
}

fn is_known(domain: Domain) -> bool {
    [Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&domain)
}

/// What a descriptor is that is no socket.
fn no_socket(descriptor: &OwnedFd) -> FdType {
    if descriptor.is_terminal() {
        return "TTY";
    }
    let Ok(file) = descriptor.try_clone().map(fs::File::from) else {
        return "UNKNOWN";
    };
    match file.metadata().map(|metadata| metadata.file_type()) {
        Ok(kind) if kind.is_file() || kind.is_char_device() => "FILE",
        Ok(kind) if kind.is_fifo() => "PIPE",
        _ => "UNKNOWN",
    }
}

/// Waits until a descriptor that does not block may be read from. Blocks, so it is for a thread that may.
pub(crate) fn wait_until_readable(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    wait_until(descriptor, Interest::READABLE)
}

/// The same for writing.
pub(crate) fn wait_until_writable(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    wait_until(descriptor, Interest::WRITABLE)
}

fn wait_until(descriptor: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
    match poll_once(descriptor, interest, None) {
        Err(error) if !is_interrupted(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Whether nobody is at the other end of a descriptor any more, as when a terminal was closed. False if it
/// can't be told.
pub(crate) fn has_hung_up(descriptor: BorrowedFd<'_>) -> bool {
    let events = poll_once(descriptor, Interest::READABLE, Some(Duration::ZERO));
    events.is_ok_and(|events| events.iter().any(Event::is_read_closed))
}

fn poll_once(
    descriptor: BorrowedFd<'_>,
    interest: Interest,
    timeout: Option<Duration>,
) -> io::Result<Events> {
    // The type is mio's for whatever can be polled; it need not be a socket.
    let mut source = TcpStream::from_std(descriptor.try_clone_to_owned()?.into());
    let mut poll = Poll::new()?;
    poll.registry().register(&mut source, Token(0), interest)?;
    let mut events = Events::with_capacity(1);
    poll.poll(&mut events, timeout)?;
    Ok(events)
}
