//! Sends a file two bytes at a time, and shows what `write` returns and how much waits.
//!
//! The pattern: backpressure, seen from inside. `write` always takes everything; false means that the
//! bytes that wait have reached the mark. The file is then held back until 'drain'. With a server that
//! reads nothing, such as `nc -l 40000 | sleep 1000`, and a large file there is much to watch.
//!
//! ```text
//! cargo run --release --example buffer_watcher FILE [ADDRESS]
//! ```

mod common;

use std::net::SocketAddr;
use std::path::PathBuf;

use common::argument;
use nodeloop::fs::{self, ReadOptions};
use nodeloop::{Loop, net};

fn main() -> nodeloop::Result<()> {
    let path: PathBuf = argument(1, "FILE", "README.md");
    let address: SocketAddr = argument(2, "ADDRESS", "127.0.0.1:40000");
    let lp = Loop::new()?;
    let socket = net::connect(&lp, address);
    let file = fs::create_read_stream_with(&lp, path, ReadOptions::new().high_water_mark(2))?;
    file.on_data(move |file, chunk| {
        let more = socket.write(chunk);
        println!(
            "write returns {more}, {} bytes wait",
            socket.writable_length()
        );
        if !more {
            file.pause();
        }
    });
    socket.on_drain(move |_| {
        println!("drain");
        file.resume();
    });
    file.on_end(move |_| socket.end());
    // What the server says interests nobody, but unread it would hide its end.
    socket.resume();
    socket.on_close(move |_, _| file.destroy());
    lp.run()
}
