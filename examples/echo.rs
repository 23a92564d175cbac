//! An echo server.
//!
//! The pattern: write what comes, pause while the peer reads too slowly, go on at 'drain'. Half of
//! the connection may end before the other: the peer's end is answered with the rest of the echo
//! and an end of our own, which the socket does by itself.
//!
//! ```text
//! cargo run --release --example echo [ADDRESS]
//! cargo run --release --example echo unix:PATH
//! ```
//!
//! At a path it does what every such server has to: a server that was killed leaves its file behind, which
//! is in the way of the next, so that removes the file if nobody answers there. `run` may be called again after
//! an error, and goes on where it was.
//!
//! With `RUST_LOG=trace` in front it shows every turn of the loop, phase by phase.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nodeloop::net::{self, ListenOptions};
use nodeloop::{Error, Loop};

/// Where to listen.
enum Place {
    Address(SocketAddr),
    Path(PathBuf),
}

fn main() -> ExitCode {
    env_logger::init();
    // Not `args`, which panics at what is no text.
    let argument = std::env::args_os().nth(1);
    let argument = argument.unwrap_or("127.0.0.1:40000".into());
    let address = argument.to_string_lossy();
    let path = argument.to_str().and_then(|it| it.strip_prefix("unix:"));
    let place = match path {
        Some(path) => Some(Place::Path(path.into())),
        None => address.parse().ok().map(Place::Address),
    };
    let Some(place) = place else {
        eprintln!("{address} is no address; usage: echo [ADDRESS:PORT]");
        return ExitCode::from(2);
    };
    match serve(&place) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(place: &Place) -> nodeloop::Result<()> {
    let lp = Loop::new()?;
    let clients = Cell::new(0);
    let server = net::create_server(&lp, move |socket| {
        clients.set(clients.get() + 1);
        // Who comes by a path has no address.
        let peer = socket.remote_address();
        let name = peer.map_or(format!("client {}", clients.get()), |it| it.to_string());
        echo(socket, name);
    });
    server.on_listening(|server| {
        if let Some(place) = place_of(server) {
            println!("listening on {place}");
        }
    });
    server.listen(options(place))?;
    match (lp.run(), place) {
        (Err(error), Place::Path(path)) if is_left_over(&error, path) => {
            std::fs::remove_file(path)?;
            server.listen(options(place))?;
            lp.run()
        }
        (result, _) => result,
    }
}

fn echo(socket: net::Socket, peer: String) {
    println!("{peer} connected");
    socket.on_data(|socket, chunk| {
        if !socket.write(chunk) {
            socket.pause();
        }
    });
    socket.on_drain(|socket| socket.resume());
    let name = peer.clone();
    socket.on_end(move |_| println!("{name} ended"));
    let name = peer.clone();
    socket.on_error(move |_, error| println!("{name} failed: {error}"));
    socket.on_close(move |socket, _| {
        println!("{peer} closed after {} bytes", socket.bytes_read());
    });
}

#[cfg(unix)]
fn options(place: &Place) -> ListenOptions {
    match place {
        Place::Address(address) => (*address).into(),
        Place::Path(path) => path.into(),
    }
}

#[cfg(unix)]
fn place_of(server: net::Server) -> Option<String> {
    let path = server.path().map(|path| format!("unix:{}", path.display()));
    path.or_else(|| Some(server.address()?.to_string()))
}

/// Whether a path is taken by the file of a server that is gone. Only a socket is: nobody wants to
/// lose another file by a slip of the keyboard.
#[cfg(unix)]
fn is_left_over(error: &Error, path: &Path) -> bool {
    use std::io::ErrorKind;
    use std::os::unix::{fs::FileTypeExt, net::UnixStream};

    let is_socket = path
        .metadata()
        .is_ok_and(|metadata| metadata.file_type().is_socket());
    let answer = UnixStream::connect(path);
    error.code() == Some("EADDRINUSE")
        && is_socket
        && answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(not(unix))]
fn options(place: &Place) -> ListenOptions {
    match place {
        Place::Address(address) => (*address).into(),
        Place::Path(_) => ListenOptions::new().host("there are no paths here"),
    }
}

#[cfg(not(unix))]
fn place_of(server: net::Server) -> Option<String> {
    Some(server.address()?.to_string())
}

#[cfg(not(unix))]
fn is_left_over(_error: &Error, _path: &Path) -> bool {
    false
}
