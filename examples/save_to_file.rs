//! A server that appends what it gets to a file.
//!
//! The pattern: `socket.pipe(file)`. The pipe holds the peer back while the disk is slow, and ends the
//! file when the peer ends. Each connection has the file open by itself; what is appended by one write
//! stays together.
//!
//! ```text
//! cargo run --release --example save_to_file [ADDRESS] [FILE]
//! ```

mod common;

use std::net::SocketAddr;
use std::path::PathBuf;

use common::argument;
use nodeloop::fs::{self, Flags, WriteOptions};
use nodeloop::{Loop, net};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let path: PathBuf = argument(2, "FILE", "saved.txt");
    let lp = Loop::new()?;
    let server = net::create_server(&lp, move |socket| {
        let options = WriteOptions::new().flags(Flags::Append);
        let file = fs::create_write_stream_with(&socket, &path, options);
        socket.pipe(file);
        file.on_error(move |_, error| {
            eprintln!("{error}");
            socket.destroy();
        });
        file.on_finish(move |_| println!("saved {} bytes", file.bytes_written()));
        // Without an end of the peer the pipe does not end the file.
        socket.on_error(move |_, error| {
            eprintln!("{error}");
            file.end();
        });
    });
    server.listen_then(address, |server| {
        println!("listening on {}", server.address().expect("it listens"));
    })?;
    lp.run()
}
