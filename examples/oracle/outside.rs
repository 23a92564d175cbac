//! What a program is given from outside: a directory of its own, and perhaps a descriptor, in place of
//! its error output (for Node it is moved to 3).

use std::io;
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
#[cfg(unix)]
use std::path::PathBuf;
use std::process::Command;
#[cfg(unix)]
use std::process::Stdio;

use tempfile::TempDir;

/// What a scenario's `descriptor` can be.
pub const DESCRIPTORS: [&str; 13] = [
    "listening",
    "bound",
    "connected",
    "listening_path",
    "bound_path",
    "connected_path",
    "udp",
    "udp_unbound",
    "udp_connected",
    "udp_path",
    "file",
    "null",
    "pipe",
];

/// The peer at the other end of a connected one.
pub const OUTSIDE: &str = "outside";

/// The file to which a given Unix socket is bound.
#[cfg(unix)]
const BOUND: &str = "given";

/// Whether the scenarios of TCP are played over Unix sockets: a server and a peer that listens are at
/// a path of their name then.
pub fn over_unix() -> bool {
    std::env::var_os("NODELOOP_ORACLE_SOCKETS").is_some_and(|sockets| sockets == "unix")
}

/// More than the buffers of a TCP connection take.
const LARGE: u64 = 8_000_000;

/// A little more than the buffer of a Unix socket takes. The system tells that it takes more when it is
/// three quarters empty, and then what was left fits in, and what comes behind it too: otherwise the moment
/// at which the reader reads would decide whether the two leave together.
const LARGE_OVER_UNIX: u64 = 230_000;

/// A number of a scenario, at the end of a word, as it is played over Unix sockets: `bytes:8000000` and
/// what is counted in such amounts. None if it stays.
pub fn over_unix_instead(word: &str) -> Option<String> {
    let start = word.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = word[start..].parse().ok()?;
    // Beyond it are delays.
    if !(LARGE..4 * LARGE).contains(&number) {
        return None;
    }
    let number = number / LARGE * LARGE_OVER_UNIX + number % LARGE;
    Some(format!("{}{number}", &word[..start]))
}

/// Whether a peer has the other end.
pub fn has_other_end(kind: &str) -> bool {
    kind.starts_with("connected") || kind == "udp_connected"
}

/// The other end of a connected one.
#[cfg_attr(not(unix), allow(dead_code, reason = "only Unix passes descriptors"))]
pub enum OtherEnd {
    Stream(TcpStream),
    Datagrams(UdpSocket),
}

/// A directory for one run; gone when it is dropped.
pub struct Directory(TempDir);

impl Directory {
    pub fn new() -> io::Result<Directory> {
        // Short, since a path below it must fit a socket's address.
        tempfile::Builder::new()
            .prefix("nodeloop-")
            .tempdir()
            .map(Directory)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Removes what a scenario has left in it.
    pub fn empty(&self) {
        for entry in std::fs::read_dir(self.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = entry.path();
            let _ = match path.is_dir() {
                true => std::fs::remove_dir_all(path),
                false => std::fs::remove_file(path),
            };
        }
    }

    /// The path that is meant by a name below it, or by an abstract name.
    #[cfg(unix)]
    pub fn place(&self, name: &str) -> PathBuf {
        match name.strip_prefix('@') {
            None => self.path().join(name),
            Some(name) => {
                let own = self
                    .path()
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy();
                format!("\0{own}-{name}").into()
            }
        }
    }
}

/// Gives a program a descriptor; gives the other end if there is one.
#[cfg(unix)]
pub fn give(
    kind: &str,
    directory: &Directory,
    program: &mut Command,
) -> io::Result<Option<OtherEnd>> {
    use socket2::{Domain, SockAddr, Socket, Type};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};
    use std::os::fd::OwnedFd;

    let any_port = SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let socket = |domain, kind| Socket::new(domain, kind, None);
    let mut other = None;
    let given: OwnedFd = match kind {
        "listening" | "bound" => {
            let socket = socket(Domain::IPV4, Type::STREAM)?;
            socket.bind(&any_port)?;
            if kind == "listening" {
                socket.listen(128)?;
            }
            socket.into()
        }
        "listening_path" | "bound_path" => {
            let socket = socket(Domain::UNIX, Type::STREAM)?;
            socket.bind(&SockAddr::unix(directory.place(BOUND))?)?;
            if kind == "listening_path" {
                socket.listen(128)?;
            }
            socket.into()
        }
        "connected" => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let peer = TcpStream::connect(listener.local_addr()?)?;
            other = Some(OtherEnd::Stream(peer));
            listener.accept()?.0.into()
        }
        "connected_path" => {
            let (ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
            other = Some(OtherEnd::Stream(theirs.into()));
            ours.into()
        }
        "udp" => {
            let socket = socket(Domain::IPV4, Type::DGRAM)?;
            socket.bind(&any_port)?;
            socket.into()
        }
        "udp_unbound" => socket(Domain::IPV4, Type::DGRAM)?.into(),
        "udp_connected" => {
            let [ours, theirs] = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
            let (ours, theirs) = (ours?, theirs?);
            ours.connect(theirs.local_addr()?)?;
            theirs.connect(ours.local_addr()?)?;
            other = Some(OtherEnd::Datagrams(theirs));
            ours.into()
        }
        "udp_path" => socket(Domain::UNIX, Type::DGRAM)?.into(),
        "pipe" => io::pipe()?.0.into(),
        "file" => std::fs::File::create(directory.place("given"))?.into(),
        _ => std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/null")?
            .into(),
    };
    program.stderr(Stdio::from(given));
    Ok(other)
}

#[cfg(not(unix))]
pub fn give(
    _kind: &str,
    _directory: &Directory,
    _program: &mut Command,
) -> io::Result<Option<OtherEnd>> {
    Err(io::ErrorKind::Unsupported.into())
}
