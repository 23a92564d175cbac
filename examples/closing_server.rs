//! A server that closes itself at the second connection, and does not hold the program after the
//! first client has ended.
//!
//! The pattern: two ways for a server to let go. `close` stops listening at once; the connections go
//! on, and 'close' comes when the last of them is over. `unref` lets it listen on, but no longer
//! keeps the program alive: the program ends when nothing else does.
//!
//! ```text
//! cargo run --release --example closing_server [ADDRESS]
//! ```
//!
//! Then `nc 127.0.0.1 40000`. Either do it in two terminals: the server closes, a third is refused,
//! and the program ends when both have ended. Or end the first before a second comes: the program
//! ends although its server was never closed.

mod common;

use std::net::SocketAddr;

use common::argument;
use nodeloop::{Loop, net};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let lp = Loop::new()?;
    let server = net::Server::new(&lp, net::ServerOptions::new());
    let mut number = 0;
    server.on_connection(move |server, socket| {
        number += 1;
        println!("connection {number}");
        on_connection(server, socket, number);
        if number == 2 {
            server.close();
            println!("no more connections");
        }
    });
    server.on_close(|_| println!("server closed"));
    server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
    server.listen(address)?;
    lp.run()?;
    println!(
        "nothing is left to wait for; listening: {}",
        server.listening()
    );
    Ok(())
}

fn on_connection(server: net::Server, socket: net::Socket, number: u32) {
    socket.on_data(|socket, chunk| {
        if !socket.write(chunk) {
            socket.pause();
        }
    });
    socket.on_drain(|socket| socket.resume());
    socket.on_end(move |_| {
        println!("connection {number} has ended");
        server.unref();
    });
    socket.on_error(|_, error| eprintln!("{error}"));
}
