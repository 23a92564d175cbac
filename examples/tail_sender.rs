//! Sends what a file has and what is appended to it, as `tail -c +1 -f FILE | nc` does.
//!
//! The pattern: a file tells nobody that it has grown, so the program looks, ten times a second. What is
//! new is a stream with a start, piped into the socket without ending it. A file that has become shorter
//! is a new one.
//!
//! ```text
//! cargo run --release --example tail_sender FILE [ADDRESS]
//! ```

mod common;

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use common::argument;
use nodeloop::Loop;
use nodeloop::fs::{self, ReadOptions};
use nodeloop::net::{self, Socket};
use nodeloop::stream::PipeOptions;

/// How often it is looked at.
const LOOK_EVERY_MS: u64 = 100;

fn main() -> nodeloop::Result<()> {
    let path: PathBuf = argument(1, "FILE", "saved.txt");
    let address: SocketAddr = argument(2, "ADDRESS", "127.0.0.1:40000");
    let lp = Loop::new()?;
    let socket = net::connect(&lp, address);
    // How much of it was sent, and whether that is under way.
    let state = Rc::new((Cell::new(0), Cell::new(false)));
    let look = lp.set_interval(LOOK_EVERY_MS, move |_| {
        let (sent, is_busy) = (state.0.get(), state.1.get());
        let length = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if is_busy || length == sent {
            return;
        }
        if length < sent {
            println!("the file begins anew");
            state.0.set(0);
        }
        state.1.set(true);
        if let Err(error) = send(socket, &path, state.clone()) {
            eprintln!("{error}");
        }
    });
    socket.on_connect(|_| println!("connected"));
    // What the server says interests nobody, but unread it would hide its end.
    socket.resume();
    socket.on_close(move |_, _| look.clear());
    lp.run()
}

/// Sends what is new.
fn send(
    socket: Socket,
    path: &PathBuf,
    state: Rc<(Cell<u64>, Cell<bool>)>,
) -> nodeloop::Result<()> {
    let options = ReadOptions::new().start(state.0.get());
    let file = fs::create_read_stream_with(&socket, path, options)?;
    file.pipe_with(socket, PipeOptions::new().end(false));
    file.on_error(|_, error| eprintln!("{error}"));
    file.on_close(move |_| {
        state.0.set(state.0.get() + file.bytes_read());
        state.1.set(false);
    });
    Ok(())
}
