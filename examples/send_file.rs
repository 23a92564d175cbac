//! Sends a file to a server, and ends.
//!
//! The pattern: `file.pipe(socket)`. However large the file is and however slowly the server reads, no
//! more than two chunks of it are in memory; the pipe ends the socket at the end of the file. The
//! program itself has to tell one end what went wrong at the other.
//!
//! ```text
//! cargo run --release --example send_file FILE [ADDRESS]
//! ```

mod common;

use std::net::SocketAddr;
use std::path::PathBuf;

use common::argument;
use nodeloop::net::{Socket, SocketOptions};
use nodeloop::{Loop, fs};

fn main() -> nodeloop::Result<()> {
    let path: PathBuf = argument(1, "FILE", "README.md");
    let address: SocketAddr = argument(2, "ADDRESS", "127.0.0.1:40000");
    let lp = Loop::new()?;
    // Half-open, or a server that ends before the file does would end it, too, and nobody would know.
    let options = SocketOptions::new().allow_half_open(true);
    let socket = Socket::new(&lp, options);
    socket.connect(address)?;
    let file = fs::create_read_stream(&lp, path);
    // Nobody listens to its errors: they are the program's.
    file.pipe(socket);
    // What the server says interests nobody, but unread it would hide its end, and a server that
    // echoes would stop reading.
    socket.resume();
    socket.on_close(move |socket, had_error| {
        if !had_error {
            println!("sent {} bytes", socket.bytes_written());
        }
        file.destroy();
    });
    lp.run()
}
