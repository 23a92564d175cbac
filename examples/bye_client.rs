//! A client that prints what it hears, and says bye after ten seconds.
//!
//! The pattern: a timer and a connection that know of each other. Whichever ends first ends the
//! other: the timer ends the connection with a last word; the connection's 'close' clears the timer,
//! which would otherwise keep the program for the rest of its time.
//!
//! ```text
//! cargo run --release --example bye_client [ADDRESS [MILLISECONDS]]
//! ```
//!
//! The server may be `first_server`, `echo` or `chat1`.

mod common;

use std::net::SocketAddr;

use common::argument;
use nodeloop::{Loop, net};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let after_ms: u64 = argument(2, "number of MILLISECONDS", "10000");
    let lp = Loop::new()?;
    let socket = net::connect(&lp, address);
    socket.on_connect(move |socket| {
        println!("connected");
        let timer = socket.event_loop().set_timeout(after_ms, move |_| {
            println!("saying bye");
            socket.end_with("bye\n");
        });
        socket.on_close(move |_, _| timer.clear());
    });
    // Text, not bytes: a character that two reads cut apart comes out whole.
    socket.on_text(|_, text| println!("received: {}", text.trim_end()));
    socket.on_end(|_| println!("the server has ended"));
    lp.run()
}
