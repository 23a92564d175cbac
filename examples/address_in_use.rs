//! A server whose address is taken, and which tries again until it is free.
//!
//! The pattern: a failed `listen` is reported as an 'error' event, and its code says what to do. An
//! address in use may become free, so the server tries again a while later, a limited number of times.
//! Any other error will not go away, and ends the program.
//!
//! ```text
//! cargo run --release --example address_in_use [ADDRESS [MILLISECONDS [TIMES]]]
//! ```
//!
//! Run it twice, and end the first: the second takes over.

mod common;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use common::argument;
use nodeloop::{Loop, net};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let wait_ms: u64 = argument(2, "number of MILLISECONDS", "1000");
    let mut tries_left: u32 = argument(3, "number of TIMES", "60");
    let lp = Loop::new()?;
    let server = net::create_server(&lp, |socket| {
        socket.on_error(|_, error| eprintln!("{error}"));
        socket.resume();
        socket.end_with("at last\n");
    });
    let failure = Rc::new(Cell::new(None));
    let failed = failure.clone();
    server.on_error(move |server, error| {
        if error.code() != Some("EADDRINUSE") || tries_left == 0 {
            // It does not listen, and no timer runs: that ends the loop.
            failed.set(Some(error.clone()));
            return;
        }
        tries_left -= 1;
        println!("{address} is in use; trying again in {wait_ms} ms");
        server.event_loop().set_timeout(wait_ms, move |_| {
            // What goes wrong now comes as 'error' again; this says that it listens already.
            if let Err(error) = server.listen(address) {
                eprintln!("{error}");
            }
        });
    });
    server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
    server.listen(address)?;
    lp.run()?;
    failure.take().map_or(Ok(()), Err)
}
