//! A program that will not end, and says why.
//!
//! The pattern: a timer that holds nothing itself (`unref`) asks the loop what still keeps it alive
//! ([`why_alive`](nodeloop::LoopHandle::why_alive)). Here a server says goodbye to its first peer and
//! closes, so the program ought to end; but somebody has forgotten a timer, and the peer may stay.
//! The answer has the line of each.
//!
//! ```text
//! cargo run --release --example why_alive [ADDRESS]
//! ```
//!
//! Connect to it, for example with `nc 127.0.0.1 40000`, and wait for two seconds.

mod common;

use std::net::SocketAddr;

use common::argument;
use nodeloop::{Loop, net};

/// How often it is asked why the program is still there.
const WATCH_MS: u64 = 1000;

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "address", "127.0.0.1:40000");
    let lp = Loop::new()?;
    let forgotten = lp.set_interval(60_000, |_| println!("still here"));
    let server = net::Server::new(&lp, net::ServerOptions::new());
    server.on_connection(move |server, socket| {
        socket.end_with("goodbye\n");
        socket.on_error(|_, error| eprintln!("{error}"));
        // It listens no more, and goes on with the peers that it has.
        server.close();

        let watch = server.event_loop().set_interval(WATCH_MS, move |timer| {
            println!("{}", timer.event_loop().why_alive());
            // The cause is found: the line of the timer above. With it gone the program ends as
            // soon as its peer does.
            forgotten.clear();
        });
        // Or it would be a reason itself.
        watch.unref();
    });
    server.listen_then(address, |server| {
        if let Some(address) = server.address() {
            println!("listening on {address}");
        }
    })?;
    lp.run()?;
    println!("nothing left to do");
    Ok(())
}
