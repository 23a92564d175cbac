//! The simplest server of a TCP course: it answers what it is told, and says what happens.
//!
//! The pattern: a server is a function that is called for every connection, and a connection is
//! what its listeners do with it: 'data', 'error', 'close'. Nothing blocks: the loop
//! calls when something has happened, so one thread serves all connections, and each listener
//! remembers what it was made with, here the peer's address.
//!
//! ```text
//! cargo run --release --example first_server [ADDRESS]
//! ```
//!
//! Then talk to it, for example with `nc 127.0.0.1 40000`. What it lacks for a peer that sends much and
//! reads little is in `examples/echo.rs`.

use std::net::SocketAddr;
use std::process::ExitCode;

use nodeloop::{Loop, net};

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    let address = argument.as_deref().unwrap_or("127.0.0.1:40000");
    let Ok(address) = address.parse::<SocketAddr>() else {
        eprintln!("{address} is no address; usage: first_server [ADDRESS:PORT]");
        return ExitCode::from(2);
    };
    match serve(address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: SocketAddr) -> nodeloop::Result<()> {
    let lp = Loop::new()?;
    let server = net::create_server(&lp, on_connection);
    server.listen_then(address, |server| {
        if let Some(address) = server.address() {
            println!("listening on {address}");
        }
    })?;
    // Returns when nothing is left to do, which a listening server does not let happen, or with an
    // 'error' that nobody listens to: here the server's own, such as an address in use.
    lp.run()
}

fn on_connection(socket: net::Socket) {
    let Some(peer) = socket.remote_address() else {
        return;
    };
    println!("CONNECTED: {peer}");
    socket.on_data(move |socket, data| {
        // A peer may send any bytes; those that are no text are shown as replacement characters.
        println!("DATA {}: {}", peer.ip(), String::from_utf8_lossy(data));
        socket.write("Server got: ");
        socket.write(data);
    });
    // Peers fail; without this listener the first to do so would end the server.
    socket.on_error(move |_, error| eprintln!("FAILED: {peer}: {error}"));
    socket.on_close(move |_, _| println!("CLOSED: {} {}", peer.ip(), peer.port()));
}
