//! A server that makes each client wait ten seconds before it reads from it.
//!
//! The pattern: `pause_on_connect` hands connections over before a byte of them is read, so that
//! something else may come first: a database query, a hand-over to another part of the program.
//! Nothing is lost meanwhile; the kernel keeps what comes, and stops the client when it has enough.
//!
//! ```text
//! cargo run --release --example pause_on_connect [ADDRESS [MILLISECONDS]]
//! ```
//!
//! Then `nc 127.0.0.1 40000`, and type: what you typed appears after the pause.

mod common;

use std::net::SocketAddr;

use common::argument;
use nodeloop::{Loop, net};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let pause_ms: u64 = argument(2, "number of MILLISECONDS", "10000");
    let lp = Loop::new()?;
    let options = net::ServerOptions::new().pause_on_connect(true);
    let server = net::create_server_with(&lp, options, move |socket| {
        on_connection(socket, pause_ms);
    });
    server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
    server.listen(address)?;
    lp.run()
}

fn on_connection(socket: net::Socket, pause_ms: u64) {
    println!("connected, paused for {pause_ms} ms");
    socket.on_data(|socket, chunk| {
        println!("received: {}", String::from_utf8_lossy(chunk).trim_end());
        if !socket.write(chunk) {
            socket.pause();
        }
    });
    socket.on_drain(|socket| socket.resume());
    socket.on_error(|_, error| eprintln!("{error}"));
    socket.on_close(|_, _| println!("closed"));
    // A 'data' listener starts a socket that nobody has paused. This one waits to be resumed.
    socket.event_loop().set_timeout(pause_ms, move |_| {
        println!("resumed after {} bytes", socket.bytes_read());
        socket.resume();
    });
}
