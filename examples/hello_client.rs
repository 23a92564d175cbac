//! Says hello to a server at the port given on the command line, and prints the answer.
//!
//! The pattern: the whole life of a client. It connects, writes, ends its side, reads until the server
//! ends too, and then nothing keeps the program. The answer may come in several pieces; only the
//! server's end says that it is complete. Bytes may be written before the connection stands: they
//! wait for it.
//!
//! ```text
//! cargo run --release --example hello_client PORT [IP_ADDRESS]
//! ```
//!
//! The server may be `first_server` or `echo`.

mod common;

use std::io::Write;
use std::net::IpAddr;

use common::argument;
use nodeloop::{Loop, net};

fn main() -> nodeloop::Result<()> {
    let port: u16 = argument(1, "PORT", "40000");
    let host: IpAddr = argument(2, "IP_ADDRESS", "127.0.0.1");
    let lp = Loop::new()?;
    let socket = net::connect(&lp, (host, port));
    socket.end_with("Hello, server! Love, client.");
    socket.on_connect(move |_| println!("connected to port {port}"));
    socket.on_data(|socket, chunk| {
        // As they are: a piece may end in the middle of a character.
        if let Err(error) = std::io::stdout().write_all(chunk) {
            socket.destroy_with(error);
        }
    });
    socket.on_end(|_| println!());
    socket.on_close(|_, _| println!("connection closed"));
    lp.run()
}
