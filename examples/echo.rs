//! A TCP echo server.
//!
//! The pattern: write what comes, pause while the peer reads too slowly, go on at 'drain'. Half of
//! the connection may end before the other: the peer's end is answered with the rest of the echo
//! and an end of our own, which the socket does by itself.
//!
//! ```text
//! cargo run --release --example echo [ADDRESS]
//! ```
//!
//! With `RUST_LOG=trace` in front it tells every turn of the loop, phase by phase.

use std::net::SocketAddr;
use std::process::ExitCode;

use nodeloop::{Loop, net};

fn main() -> ExitCode {
    env_logger::init();
    let argument = std::env::args().nth(1);
    let address = argument.as_deref().unwrap_or("127.0.0.1:40000");
    let Ok(address) = address.parse::<SocketAddr>() else {
        eprintln!("{address} is no address; usage: echo [ADDRESS:PORT]");
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
    let server = net::create_server(&lp, echo);
    server.listen_then(address, |server| {
        if let Some(address) = server.address() {
            println!("listening on {address}");
        }
    })?;
    lp.run()
}

fn echo(socket: net::Socket) {
    let Some(peer) = socket.remote_address() else {
        return;
    };
    println!("{peer} connected");
    socket.on_data(|socket, chunk| {
        if !socket.write(chunk) {
            socket.pause();
        }
    });
    socket.on_drain(|socket| socket.resume());
    socket.on_end(move |_| println!("{peer} ended"));
    socket.on_error(move |_, error| println!("{peer} failed: {error}"));
    socket.on_close(move |socket, _| {
        println!("{peer} closed after {} bytes", socket.bytes_read());
    });
}
