//! The same tests over Unix sockets: `NODELOOP_TEST_SOCKETS=unix`.
//!
//! Servers of the vocabulary then listen at paths, and peers connect to these. The tests go on passing
//! a `SocketAddr` around, one out of a block that nobody can have: it stands for a path, also in
//! another process. What is about TCP alone says so by [`tcp_only`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nodeloop::net::{ConnectOptions, ListenOptions, Server};

/// Whether the tests run over Unix sockets.
pub fn over_unix() -> bool {
    let sockets = std::env::var_os("NODELOOP_TEST_SOCKETS");
    cfg!(unix) && sockets.is_some_and(|sockets| sockets == "unix")
}

/// Whether a test that is about TCP is to be skipped; says so, with the reason.
#[must_use]
pub fn tcp_only(reason: &str) -> bool {
    if over_unix() {
        println!("skipped over Unix sockets: {reason}");
    }
    over_unix()
}

/// A path that nobody has, and the address that stands for it.
pub fn new_path() -> (PathBuf, SocketAddr) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    let value = u64::from(std::process::id()) << 17 | (number & 0x1_FFFF);
    let address = stand_in_for(value);
    let path = path_of(address).expect("of the block");
    // Of an earlier process with this id that was killed.
    let _ = std::fs::remove_file(&path);
    (path, address)
}

/// Of 127.128.0.0/9: who takes one for an address of TCP finds nobody there.
fn stand_in_for(value: u64) -> SocketAddr {
    let ip = Ipv4Addr::from_bits(0x7F80_0000 | (value >> 16) as u32 & 0x7F_FFFF);
    SocketAddr::from((ip, value as u16))
}

/// The path that an address stands for, if it does.
pub fn path_of(address: SocketAddr) -> Option<PathBuf> {
    let SocketAddr::V4(address) = address else {
        return None;
    };
    let bits = address.ip().to_bits();
    let value = u64::from(bits & 0x7F_FFFF) << 16 | u64::from(address.port());
    let path = || std::env::temp_dir().join(format!("nodeloop-test-{value:x}.sock"));
    (over_unix() && bits >> 23 == 0xFF).then(path)
}

/// Where a server is to listen: again at an address that it had, or somebody else has.
pub fn at(address: SocketAddr) -> ListenOptions {
    match path_of(address) {
        Some(path) => at_path(&path),
        None => address.into(),
    }
}

/// Where a socket is to connect to.
pub fn target(address: SocketAddr) -> ConnectOptions {
    match path_of(address) {
        Some(path) => to_path(&path),
        None => address.into(),
    }
}

/// Where a server is to listen: at any port of 127.0.0.1, or at a path. Its address is known by
/// [`address_of`].
pub fn anywhere() -> ListenOptions {
    match over_unix() {
        true => at_path(&new_path().0),
        false => SocketAddr::from(([127, 0, 0, 1], 0)).into(),
    }
}

/// Where a server listens, or the address that stands for it.
pub fn address_of(server: Server) -> SocketAddr {
    server
        .address()
        .or_else(|| stand_in(server))
        .expect("it listens")
}

/// A connection to `address` from this thread.
pub fn try_connect(address: SocketAddr) -> io::Result<TcpStream> {
    match path_of(address) {
        Some(path) => connect_to_path(&path),
        None => TcpStream::connect(address),
    }
}

#[cfg(unix)]
fn to_path(path: &Path) -> ConnectOptions {
    path.into()
}

#[cfg(unix)]
fn at_path(path: &Path) -> ListenOptions {
    path.into()
}

#[cfg(unix)]
fn stand_in(server: Server) -> Option<SocketAddr> {
    let path = server.path()?;
    let name = path.file_name()?.to_str()?;
    let value = name.strip_prefix("nodeloop-test-")?.strip_suffix(".sock")?;
    let value = u64::from_str_radix(value, 16).ok()?;
    server.listening().then(|| stand_in_for(value))
}

/// A Unix socket in the clothes of a TCP socket, which reads and writes alike.
#[cfg(unix)]
pub fn connect_to_path(path: &Path) -> io::Result<TcpStream> {
    let stream = std::os::unix::net::UnixStream::connect(path)?;
    Ok(std::os::fd::OwnedFd::from(stream).into())
}

#[cfg(not(unix))]
fn to_path(_path: &Path) -> ConnectOptions {
    unreachable!("there are no paths")
}

#[cfg(not(unix))]
fn at_path(_path: &Path) -> ListenOptions {
    unreachable!("there are no paths")
}

#[cfg(not(unix))]
fn stand_in(_server: Server) -> Option<SocketAddr> {
    None
}

#[cfg(not(unix))]
pub fn connect_to_path(_path: &Path) -> io::Result<TcpStream> {
    unreachable!("there are no paths")
}
