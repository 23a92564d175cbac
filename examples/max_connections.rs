//! A server that has at most two clients at a time, and prints how many it has.
//!
//! The pattern: a limit protects the clients that are there. A connection beyond it is accepted and closed
//! at once, which costs next to nothing; 'drop' reports it. The count falls when a connection is
//! destroyed, so in its 'close' it is already lower.
//!
//! ```text
//! cargo run --release --example max_connections [ADDRESS [LIMIT]]
//! ```
//!
//! Then run `nc 127.0.0.1 40000` three times at once.

mod common;

use std::net::SocketAddr;

use common::argument;
use nodeloop::{Loop, net};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let limit: usize = argument(2, "LIMIT", "2");
    let lp = Loop::new()?;
    let server = net::Server::new(&lp, net::ServerOptions::new());
    server.set_max_connections(Some(limit));
    server.on_connection(|server, socket| {
        println!(
            "connected: {} of {}",
            server.connections(),
            limit_of(server)
        );
        socket.write("welcome\n");
        // Data that nobody wants must still be read, or the end behind it is never seen.
        socket.resume();
        socket.on_error(|_, error| eprintln!("{error}"));
        socket.on_close(move |_, _| {
            println!("closed: {} of {}", server.connections(), limit_of(server));
        });
    });
    server.on_drop(|_, dropped| {
        if let Some(peer) = dropped.remote_address {
            println!("dropped: {peer}");
        }
    });
    server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
    server.listen(address)?;
    lp.run()
}

fn limit_of(server: net::Server) -> usize {
    server.max_connections().unwrap_or(usize::MAX)
}
