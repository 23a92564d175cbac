//! The one error type.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::addresses::host_of;
use super::error_codes;

/// What calls of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// What a completion receives: `Ok` when the thing was done, otherwise the reason.
///
/// It is called exactly once, while its loop lives.
pub(crate) type Completion = Box<dyn FnOnce(Result<()>)>;

/// An error with everything that Node tells about one.
///
/// It carries Node's [code](Error::code) (`ECONNREFUSED`, `ERR_SERVER_NOT_RUNNING` …), the
/// [system call](Error::syscall) that failed, the [address](Error::address) and
/// [port](Error::port) or the [host name](Error::hostname) it was about, and the `io::Error`
/// beneath as its [source](StdError::source). It is one word wide and cheap to clone.
///
/// `Display` prints Node's message. `Debug`, which is what a `main` that returns an error
/// shows, prints the message and the chain of causes.
///
/// ```
/// use nodeloop::{net, Loop};
///
/// # fn main() -> nodeloop::Result<()> {
/// let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// let address = taken.local_addr().unwrap();
///
/// let lp = Loop::new()?;
/// let server = net::create_server(&lp, |_| {});
/// server.on_error(move |_, error| {
///     assert_eq!(error.code(), Some("EADDRINUSE"));
///     assert_eq!(error.syscall(), Some("listen"));
///     assert_eq!(error.port(), Some(address.port()));
///     assert_eq!(error.to_string(), format!("listen EADDRINUSE: address already in use {address}"));
/// });
/// server.listen(address)?;
/// lp.run()
/// # }
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

/// What an error holds; shared by its clones.
struct Inner {
    /// Node's code; none for an error that the user made.
    code: Option<&'static str>,
    /// Node's message, without the code of a library error. Made when somebody asks: most errors of
    /// connections are told to nobody who reads them.
    message: OnceLock<Box<str>>,
    /// The system call, as Node names it.
    syscall: Option<&'static str>,
    /// The address that the call was about.
    address: Option<Box<str>>,
    /// The path of the file that the call was about.
    path: Option<Box<str>>,
    /// Its port.
    port: Option<u16>,
    /// The local end of a connection that was not made, if it is known.
    local: Option<Box<SocketAddr>>,
    /// The name that could not be resolved.
    hostname: Option<Box<str>>,
    /// What lies beneath.
    source: Option<Source>,
    /// Errors of which it is the sum.
    errors: Vec<Error>,
}

/// The cause of an error.
enum Source {
    /// The operating system's answer.
    Io(io::Error),
    /// What a user gave to `destroy_with`.
    User(Box<dyn StdError + Send + Sync>),
}

impl Error {
    /// Node's code, such as `ECONNRESET` or `ERR_STREAM_WRITE_AFTER_END`. None for an error
    /// that was made from a user's own.
    pub fn code(&self) -> Option<&'static str> {
        self.0.code
    }

    /// Node's message. [`Display`](fmt::Display) adds the code where the message does not
    /// contain it.
    pub fn message(&self) -> &str {
        self.0.message.get_or_init(|| self.0.plain_message())
    }

    /// The system call that failed, as Node names it (`listen`, `read`, `write`, `getaddrinfo` …).
    pub fn syscall(&self) -> Option<&'static str> {
        self.0.syscall
    }

    /// The path of the file that the call was about: Node's `error.path`.
    pub fn path(&self) -> Option<&str> {
        self.0.path.as_deref()
    }

    /// The address that the call was about, or the path of a Unix socket.
    pub fn address(&self) -> Option<&str> {
        self.0.address.as_deref()
    }

    /// The port that the call was about.
    pub fn port(&self) -> Option<u16> {
        self.0.port
    }

    /// The local end of a connection that could not be made, where it is known: Node's
    /// `localAddress` and `localPort`.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.0.local.as_deref().copied()
    }

    /// The host name that could not be resolved.
    pub fn hostname(&self) -> Option<&str> {
        self.0.hostname.as_deref()
    }

    /// The errors of which it is the sum, in order: Node's `AggregateError.errors`. When a name has
    /// several addresses and none can be connected to, it has one for each of them, and neither a
    /// message of its own nor a system call.
    pub fn errors(&self) -> &[Error] {
        &self.0.errors
    }

    /// The operating system's number for this error, if it came from there.
    pub fn raw_os_error(&self) -> Option<i32> {
        match &self.0.source {
            Some(Source::Io(error)) => error.raw_os_error(),
            _ => None,
        }
    }

    /// A user's error that was handed to `destroy_with`, to look inside.
    ///
    /// ```
    /// let error = nodeloop::Error::new("tea".parse::<u8>().unwrap_err());
    /// assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
    /// ```
    pub fn downcast_ref<T: StdError + 'static>(&self) -> Option<&T> {
        match &self.0.source {
            Some(Source::User(error)) => error.downcast_ref(),
            Some(Source::Io(error)) => (error as &(dyn StdError + 'static)).downcast_ref(),
            None => None,
        }
    }

    /// Wraps an error of your own, as `destroy_with` does with what it is given. An `Error`
    /// stays what it is, and an `io::Error` becomes what `From` makes of it, with its code.
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        let error = match error.into().downcast::<Error>() {
            Ok(error) => return *error,
            Err(error) => error,
        };
        match error.downcast::<io::Error>() {
            Ok(error) => Error::from(*error),
            Err(error) => Error(Arc::new(Inner {
                message: made(error.to_string()),
                source: Some(Source::User(error)),
                ..Inner::empty()
            })),
        }
    }

    /// A library error: `ERR_…` with Node's message.
    pub(crate) fn library(code: &'static str, message: &str) -> Error {
        Error(Arc::new(Inner {
            code: Some(code),
            message: made(message),
            ..Inner::empty()
        }))
    }

    /// A failed system call without further details: Node's ErrnoException.
    pub(crate) fn system(syscall: &'static str, error: io::Error) -> Error {
        let (code, _) = error_codes::name(&error);
        Error(Arc::new(Inner {
            code: Some(code),
            syscall: Some(syscall),
            source: Some(Source::Io(error)),
            ..Inner::empty()
        }))
    }

    /// A failed call about a file: Node's UVException.
    pub(crate) fn file(syscall: &'static str, error: io::Error, path: Option<&Path>) -> Error {
        let (code, text) = error_codes::name(&error);
        let place = path.map_or(String::new(), |path| format!(" '{}'", path.display()));
        Error(Arc::new(Inner {
            code: Some(code),
            message: made(format!("{code}: {text}, {syscall}{place}")),
            syscall: Some(syscall),
            path: path.map(|path| path.to_string_lossy().into()),
            source: Some(Source::Io(error)),
            ..Inner::empty()
        }))
    }

    /// A call that has failed without asking the system, such as one that `destroy` has cut short.
    pub(crate) fn call(syscall: &'static str, code: &'static str) -> Error {
        Error(Arc::new(Inner {
            code: Some(code),
            syscall: Some(syscall),
            ..Inner::empty()
        }))
    }

    /// An attempt about an address that was cut short by `destroy` (N257).
    pub(crate) fn canceled_at(syscall: &'static str, address: SocketAddr) -> Error {
        let ip = host_of(address);
        Error(Arc::new(Inner {
            code: Some("ECANCELED"),
            message: made(format!("{syscall} ECANCELED {ip}:{}", address.port())),
            syscall: Some(syscall),
            address: Some(ip.into()),
            port: Some(address.port()),
            ..Inner::empty()
        }))
    }

    /// Too much waits to be sent already.
    pub(crate) fn no_buffer_space(address: Option<SocketAddr>) -> Error {
        let to = address.map_or(String::new(), |address| {
            format!(" {}:{}", host_of(address), address.port())
        });
        Error(Arc::new(Inner {
            code: Some("ENOBUFS"),
            message: made(format!("send ENOBUFS{to}")),
            syscall: Some("send"),
            address: address.map(|address| host_of(address).into()),
            port: address.map(|address| address.port()),
            ..Inner::empty()
        }))
    }

    /// A failed `listen`: Node's UVExceptionWithHostPort.
    pub(crate) fn listen(error: io::Error, address: &str, port: u16) -> Error {
        let (code, text) = error_codes::name(&error);
        let details = if port > 0 {
            format!("{address}:{port}")
        } else {
            address.to_string()
        };
        Error(Arc::new(Inner {
            code: Some(code),
            message: made(format!("listen {code}: {text} {details}")),
            syscall: Some("listen"),
            address: Some(address.into()),
            port: (port > 0).then_some(port),
            source: Some(Source::Io(error)),
            ..Inner::empty()
        }))
    }

    /// A failed `connect` to a path.
    #[cfg(unix)]
    pub(crate) fn connect_to_path(error: io::Error, path: &str) -> Error {
        let (code, _) = error_codes::name(&error);
        Error(Arc::new(Inner {
            code: Some(code),
            message: made(format!("connect {code} {path}")),
            syscall: Some("connect"),
            address: Some(path.into()),
            source: Some(Source::Io(error)),
            ..Inner::empty()
        }))
    }

    /// A failed `listen` at a descriptor.
    #[cfg(unix)]
    pub(crate) fn listen_at_descriptor(error: io::Error) -> Error {
        let (code, text) = error_codes::name(&error);
        Error(Arc::new(Inner {
            code: Some(code),
            message: made(format!("listen {code}: {text}")),
            syscall: Some("listen"),
            source: Some(Source::Io(error)),
            ..Inner::empty()
        }))
    }

    /// A failed `bind` or `connect`: Node's ExceptionWithHostPort, with the local end if it is known.
    pub(crate) fn with_address(
        syscall: &'static str,
        error: io::Error,
        address: SocketAddr,
        local: Option<SocketAddr>,
    ) -> Error {
        Error(Arc::new(Inner::addressed(syscall, error, address, local)))
    }

    /// A `connect` that the system would not even begin: Node tells the local end in the message,
    /// but not as a field.
    pub(crate) fn refused_at_once(
        error: io::Error,
        address: SocketAddr,
        local: Option<SocketAddr>,
    ) -> Error {
        Error(Arc::new(Inner {
            local: None,
            ..Inner::addressed("connect", error, address, local)
        }))
    }

    /// A buffer size that could not be set or asked for: Node's ERR_SOCKET_BUFFER_SIZE.
    pub(crate) fn buffer_size(syscall: &'static str, error: io::Error) -> Error {
        let (code, text) = error_codes::name(&error);
        Error(Arc::new(Inner {
            code: Some("ERR_SOCKET_BUFFER_SIZE"),
            message: made(format!(
                "Could not get or set buffer size: {syscall} returned {code} ({text})"
            )),
            syscall: Some(syscall),
            source: Some(Source::Io(error)),
            ..Inner::empty()
        }))
    }

    /// A failed look-up of a name: Node's DNSException (N102).
    pub(crate) fn look_up(code: &'static str, hostname: &str) -> Error {
        Error(Arc::new(Inner {
            code: Some(code),
            message: made(format!("getaddrinfo {code} {hostname}")),
            syscall: Some("getaddrinfo"),
            hostname: Some(hostname.into()),
            ..Inner::empty()
        }))
    }

    /// A look-up that has failed by an error of the operating system.
    #[cfg(feature = "dns-lookup")]
    pub(crate) fn look_up_system(error: io::Error, hostname: &str) -> Error {
        let (code, _) = error_codes::name(&error);
        Error(Arc::new(Inner {
            code: Some(code),
            message: made(format!("getaddrinfo {code} {hostname}")),
            syscall: Some("getaddrinfo"),
            hostname: Some(hostname.into()),
            source: Some(Source::Io(error)),
            ..Inner::empty()
        }))
    }

    /// A connection that was not made in time, before an address was known.
    pub(crate) fn connect_timed_out() -> Error {
        Error::system("connect", io::ErrorKind::TimedOut.into())
    }

    /// A host name with a NUL in it, which would be its end.
    pub(crate) fn host_with_nul(host: &str) -> Error {
        let shown = host.escape_default();
        let message =
            format!("The host name must be a string without null bytes. Received '{shown}'");
        Error::library("ERR_INVALID_ARG_VALUE", &message)
    }

    /// All addresses of a name have failed: Node's AggregateError, with the code of the first
    /// (N255).
    pub(crate) fn aggregate(errors: Vec<Error>) -> Error {
        Error(Arc::new(Inner {
            code: errors.first().and_then(Error::code),
            errors,
            ..Inner::empty()
        }))
    }

    /// An address on a block list (N260).
    pub(crate) fn ip_blocked(ip: IpAddr) -> Error {
        let message = format!("IP({ip}) is blocked by net.BlockList");
        Error::library("ERR_IP_BLOCKED", &message)
    }

    /// A call that returns a `Result`, or a completion, on a handle whose object is gone.
    pub(crate) fn handle_gone() -> Error {
        Error::library("ERR_HANDLE_GONE", "The object of this handle is gone.")
    }
}

impl Inner {
    /// What an error about an address holds.
    fn addressed(
        syscall: &'static str,
        error: io::Error,
        address: SocketAddr,
        local: Option<SocketAddr>,
    ) -> Inner {
        let (code, _) = error_codes::name(&error);
        let (ip, port) = (host_of(address), address.port());
        let mut message = match port {
            0 => format!("{syscall} {code} {ip}"),
            port => format!("{syscall} {code} {ip}:{port}"),
        };
        if let Some(local) = local {
            message += &format!(" - Local ({}:{})", host_of(local), local.port());
        }
        Inner {
            code: Some(code),
            message: made(message),
            syscall: Some(syscall),
            address: Some(ip.into()),
            port: (port > 0).then_some(port),
            local: local.map(Box::new),
            source: Some(Source::Io(error)),
            ..Inner::empty()
        }
    }

    /// The message of an error that was given none: the system call and what it said.
    fn plain_message(&self) -> Box<str> {
        match (self.syscall, self.code) {
            (Some(syscall), Some(code)) => format!("{syscall} {code}").into(),
            // The sum of others.
            _ => "".into(),
        }
    }

    fn empty() -> Inner {
        Inner {
            code: None,
            message: OnceLock::new(),
            syscall: None,
            path: None,
            address: None,
            port: None,
            local: None,
            hostname: None,
            source: None,
            errors: Vec::new(),
        }
    }
}

/// A message that is there from the beginning.
fn made(message: impl Into<Box<str>>) -> OnceLock<Box<str>> {
    OnceLock::from(message.into())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.errors.is_empty() {
            return print_all(&self.0.errors, f);
        }
        match self.0.code {
            // What was made of an `io::Error` has the text of that, as the system prints it.
            Some(code)
                if code.starts_with("ERR_")
                    || (self.0.syscall.is_none() && self.source().is_none()) =>
            {
                write!(f, "[{code}] {}", self.message())
            }
            _ => f.write_str(self.message()),
        }
    }
}

/// An error that is the sum of others prints as these: Node's has no message.
fn print_all(errors: &[Error], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, error) in errors.iter().enumerate() {
        let separator = if index > 0 { "; " } else { "" };
        write!(f, "{separator}{error}")?;
    }
    Ok(())
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = self.source();
        while let Some(error) = source {
            // A user's error is its own message: do not print it twice.
            let text = error.to_string();
            if text != *self.message() {
                write!(f, "\n  caused by: {text}")?;
            }
            source = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.source {
            Some(Source::Io(error)) => Some(error),
            Some(Source::User(error)) => Some(&**error),
            None => None,
        }
    }
}

impl From<Error> for io::Error {
    /// Keeps the kind that the operating system's error had, or the first of
    /// [several](Error::errors); the error itself is inside.
    fn from(error: Error) -> io::Error {
        let kind = match &error.0.errors.first().unwrap_or(&error).0.source {
            Some(Source::Io(error)) => error.kind(),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

impl From<io::Error> for Error {
    /// Any `io::Error`, so that `?` works in a `main` that returns [`Result`]. An [`Error`]
    /// that went through `io::Error` comes back as itself.
    fn from(error: io::Error) -> Error {
        if error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
            if let Some(Ok(inner)) = error.into_inner().map(|inner| inner.downcast::<Error>()) {
                return *inner;
            }
            unreachable!("checked to hold an Error");
        }
        let code = error
            .raw_os_error()
            .is_some()
            .then(|| error_codes::name(&error).0);
        Error(Arc::new(Inner {
            code,
            message: made(error.to_string()),
            source: Some(Source::Io(error)),
            ..Inner::empty()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_and_shareable() {
        fn shareable<T: Clone + Send + Sync + 'static>() {}
        shareable::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn listen_errors_print_as_node_prints_them() {
        let error = Error::listen(io::ErrorKind::AddrInUse.into(), "::", 40000);
        assert_eq!(
            error.to_string(),
            "listen EADDRINUSE: address already in use :::40000"
        );
        assert_eq!(error.port(), Some(40000));
        let error = Error::listen(io::ErrorKind::AddrNotAvailable.into(), "9.9.9.9", 0);
        assert_eq!(
            error.to_string(),
            "listen EADDRNOTAVAIL: address not available 9.9.9.9"
        );
        assert_eq!(error.port(), None);
    }

    #[test]
    fn debug_shows_the_chain() {
        let error = Error::system("read", io::Error::from_raw_os_error(104));
        let text = format!("{error:?}");
        assert!(text.starts_with("read ECONNRESET\n  caused by: "), "{text}");
    }

    #[test]
    fn a_library_error_shows_its_code() {
        let error = Error::library("ERR_SERVER_NOT_RUNNING", "Server is not running.");
        assert_eq!(
            error.to_string(),
            "[ERR_SERVER_NOT_RUNNING] Server is not running."
        );
        assert_eq!(error.message(), "Server is not running.");
    }

    #[test]
    fn a_users_error_keeps_its_type_and_an_error_stays_itself() {
        let parse = "x".parse::<u8>().unwrap_err();
        let error = Error::new(parse.clone());
        assert_eq!(error.downcast_ref(), Some(&parse));
        assert_eq!(error.code(), None);
        assert_eq!(format!("{error:?}"), parse.to_string());

        let again = Error::new(Error::library("ERR_X", "x"));
        assert_eq!(again.code(), Some("ERR_X"));
        let through_io = Error::from(io::Error::from(again));
        assert_eq!(through_io.code(), Some("ERR_X"));
    }
}
