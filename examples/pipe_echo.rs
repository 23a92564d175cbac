//! An echo server in one call, with numbered clients.
//!
//! The pattern: a socket is a stream with two sides, so it can be piped into itself. The pipe does
//! the rest: a client that reads slowly is read slowly, and its end is echoed, too.
//!
//! ```text
//! cargo run --release --example pipe_echo [ADDRESS]
//! ```
//!
//! Then, in another terminal: `nc 127.0.0.1 40000`.

mod common;

use std::net::SocketAddr;

use common::argument;
use nodeloop::{Loop, net};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let lp = Loop::new()?;
    let mut clients = 0;
    let server = net::create_server(&lp, move |client| {
        clients += 1;
        let number = clients;
        println!("client {number} has come");
        client.write(format!("You are client {number}\n"));
        client.pipe(client);
        client.on_error(move |_, error| eprintln!("client {number}: {error}"));
        client.on_close(move |_, _| println!("client {number} has gone"));
    });
    server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
    server.listen(address)?;
    lp.run()
}
