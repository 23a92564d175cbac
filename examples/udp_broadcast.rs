//! Asks everybody in the local network, and prints who answers.
//!
//! The pattern: to find servers without knowing their addresses, ask all and wait a moment. A broadcast
//! must be allowed first, `set_broadcast`, which needs a socket that is bound. Not every network
//! lets broadcasts through, and anybody may answer: an answer proves nothing.
//!
//! ```text
//! cargo run --release --example udp_broadcast [ADDRESS [MILLISECONDS]]
//! ```
//!
//! Start some `udp_echo 0.0.0.0:40000` before; on one machine alone, ask `127.255.255.255:40000`.

mod common;

use std::net::SocketAddr;

use common::{argument, report};
use nodeloop::{Loop, dgram};

const QUESTION: &str = "Is anybody there?";

fn main() -> nodeloop::Result<()> {
    let everybody: SocketAddr = argument(1, "ADDRESS", "255.255.255.255:40000");
    let patience_ms: u64 = argument(2, "number of MILLISECONDS", "2000");
    let lp = Loop::new()?;
    let socket = dgram::create_socket(&lp, dgram::SocketType::Udp4);
    socket.on_message(|_, message, from| {
        println!("{from} answers: {}", String::from_utf8_lossy(message));
    });
    socket.bind_then(0, move |socket| {
        if let Err(error) = ask(socket, everybody, patience_ms) {
            eprintln!("{error}");
            report(socket.close());
        }
    })?;
    socket.on_close(|_| println!("close"));
    lp.run()
}

fn ask(socket: dgram::Socket, everybody: SocketAddr, patience_ms: u64) -> nodeloop::Result<()> {
    socket.set_broadcast(true)?;
    socket.send_to_then(QUESTION, everybody, move |sent| {
        match sent {
            Ok(_) => println!("asked {everybody}"),
            Err(error) => eprintln!("{error}"),
        }
        socket
            .event_loop()
            .set_timeout(patience_ms, move |_| report(socket.close()));
    })
}
