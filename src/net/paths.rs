//! Unix domain sockets: where servers listen and sockets connect to, by path.

use std::path::{Path, PathBuf};

use super::connect_options::ConnectOptions;
use super::options::ListenOptions;
use crate::event_loop::connect_request::ConnectHost;
use crate::event_loop::handle::Server;
use crate::event_loop::server::ListenHost;
use crate::event_loop::table;

/// Unix domain sockets.
///
/// A path is given as [`Path`] or [`PathBuf`], so it can't be mistaken for a host name. Unix
/// sockets behave like TCP ones with these exceptions: they have no addresses; TCP options do
/// nothing, as in Node; a write to a peer that has closed fails at once; and `reset_and_destroy` is
/// an error.
///
/// ```
/// use std::path::Path;
/// use nodeloop::{net, Loop};
///
/// # fn main() -> nodeloop::Result<()> {
/// let directory = std::env::temp_dir();
/// let path = directory.join(format!("nodeloop-{}.sock", std::process::id()));
/// let lp = Loop::new()?;
/// let server = net::create_server(&lp, |socket| {
///     socket.end_with("hello");
///     socket.server().unwrap().close(); // and the file is gone
/// });
/// server.listen(&*path)?;
/// let client = net::connect(&lp, &*path);
/// client.on_data(|_, chunk| assert_eq!(chunk, b"hello"));
/// lp.run()?;
/// assert!(!path.exists());
/// # Ok(())
/// # }
/// ```
impl ListenOptions {
    /// The path of a Unix domain socket: Node's `path`. The socket listens when `listen` returns.
    ///
    /// `listen` makes the file and `close` removes whatever is at the path by then (N236); a
    /// process that is killed leaves it behind. `listen` does not remove a file that exists: it
    /// fails with `EADDRINUSE`, whether anybody listens there or not. A directory that does not
    /// exist is `EACCES`, a path longer than 107 bytes or with a NUL inside `EINVAL`. (Node allows
    /// 108 bytes.)
    ///
    /// On Linux a path that begins with a NUL is an abstract name, which no file belongs to.
    pub fn path(mut self, path: impl Into<PathBuf>) -> ListenOptions {
        self.request.host = ListenHost::Path(path.into());
        self
    }

    /// Whether everybody may read from the socket's file: mode 444, or 666 with
    /// [`writable_all`](ListenOptions::writable_all), instead of what the umask leaves (N241). Not with
    /// an abstract name: `listen` gives `ERR_INVALID_ARG_VALUE`. Node's `readableAll`.
    pub fn readable_all(self, yes: bool) -> ListenOptions {
        self.mode(0o444, yes)
    }

    /// Whether everybody may write to the socket's file, which is what connecting takes on Linux: mode
    /// 222, or 666 with [`readable_all`](ListenOptions::readable_all). Node's `writableAll`.
    pub fn writable_all(self, yes: bool) -> ListenOptions {
        self.mode(0o222, yes)
    }

    fn mode(mut self, bits: u32, yes: bool) -> ListenOptions {
        let mode = &mut self.request.options.file_mode;
        match yes {
            true => *mode |= bits,
            false => *mode &= !bits,
        }
        self
    }
}

impl From<&Path> for ListenOptions {
    fn from(path: &Path) -> ListenOptions {
        ListenOptions::new().path(path)
    }
}

impl From<PathBuf> for ListenOptions {
    fn from(path: PathBuf) -> ListenOptions {
        ListenOptions::new().path(path)
    }
}

impl From<&PathBuf> for ListenOptions {
    fn from(path: &PathBuf) -> ListenOptions {
        ListenOptions::new().path(path)
    }
}

/// Unix domain sockets.
impl ConnectOptions {
    /// To the path of a Unix domain socket: Node's `path`. `connect` makes the connection before it
    /// returns, or fails to, as in Node; 'connect' and 'error' come later as always.
    ///
    /// `ECONNREFUSED` where nobody listens, `ENOENT` without a file, `EACCES` without permission to
    /// write to it, `EAGAIN` if too many wait to be accepted, `EINVAL` for what can't be a path. The
    /// error's [`address`](crate::Error::address) is the path. 'connectionAttempt' is not emitted:
    /// there is one, within the call. Addresses at this end, look-ups and deadlines mean nothing.
    pub fn to_path(path: impl Into<PathBuf>) -> ConnectOptions {
        ConnectOptions::to(ConnectHost::at(path), 0)
    }
}

impl From<&Path> for ConnectOptions {
    fn from(path: &Path) -> ConnectOptions {
        ConnectOptions::to_path(path)
    }
}

impl From<PathBuf> for ConnectOptions {
    fn from(path: PathBuf) -> ConnectOptions {
        ConnectOptions::to_path(path)
    }
}

impl From<&PathBuf> for ConnectOptions {
    fn from(path: &PathBuf) -> ConnectOptions {
        ConnectOptions::to_path(path)
    }
}

/// Unix domain sockets.
impl Server {
    /// The path that the server was last told to listen at: Node's `server.address()` for such a
    /// server. As in Node it is known after `close` too (N77), and after an 'error' of `listen`.
    /// For a socket that came from [outside](ListenOptions::fd) it is the path the socket is bound
    /// to, which Node does not report.
    pub fn path(self) -> Option<PathBuf> {
        table::with(self.0, |state, id| state.server_path(id)).flatten()
    }
}
