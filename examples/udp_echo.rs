//! A UDP echo server: every datagram goes back to its sender.
//!
//! The pattern: one socket serves everybody. There are no connections: each 'message' says who has sent
//! it, and that is where the answer goes. Nothing says whether an answer arrives.
//!
//! ```text
//! cargo run --release --example udp_echo [ADDRESS]
//! ```
//!
//! Then talk to it with `udp_client`, or with `nc -u 127.0.0.1 40000`.

mod common;

use std::net::SocketAddr;

use common::{argument, family_of, report};
use nodeloop::{Loop, dgram};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let lp = Loop::new()?;
    let socket = dgram::create_socket_with(&lp, family_of(address), |socket, message, from| {
        // A peer may send any bytes; those that are no text are shown as replacement characters.
        println!("message from {from}: {}", String::from_utf8_lossy(message));
        report(socket.send_to(message, from));
    });
    socket.bind_then(address, |socket| {
        if let Ok(address) = socket.address() {
            println!("listening on {address}");
        }
        // From now on errors are of single datagrams, and the server goes on. Before, the only one is
        // that the address can't be had: nobody listens, so it ends `run`.
        socket.on_error(|_, error| eprintln!("{error}"));
    })?;
    lp.run()
}
