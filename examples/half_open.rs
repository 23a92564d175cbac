//! Counts lines, words and bytes: the question ends with the peer's end, the answer comes later.
//!
//! The pattern: a connection has two directions, and each ends for itself. A peer that ends has said
//! all it wants to say, and may still listen. A socket answers its peer's end with its own, unless
//! half-open is allowed. Without that there is just time for an answer in 'end'; this answer takes
//! longer, as it would if it came from a database. So the program serves two addresses:
//! at the first half-open is allowed, at the second it is not, and the answer comes too late.
//!
//! ```text
//! cargo run --release --example half_open [ADDRESS [ADDRESS [MILLISECONDS]]]
//! ```
//!
//! Then, with a client that ends its side at the end of its input and goes on to listen:
//! `printf 'one two\nthree\n' | nc -N 127.0.0.1 40000`, and the same with 40001.

mod common;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use common::argument;
use nodeloop::{Loop, net};

fn main() -> nodeloop::Result<()> {
    let addresses: [SocketAddr; 2] = [
        argument(1, "ADDRESS", "127.0.0.1:40000"),
        argument(2, "ADDRESS", "127.0.0.1:40001"),
    ];
    let work_ms: u64 = argument(3, "number of MILLISECONDS", "1000");
    let lp = Loop::new()?;
    for (address, half_open) in addresses.into_iter().zip([true, false]) {
        let options = net::ServerOptions::new().allow_half_open(half_open);
        let server = net::create_server_with(&lp, options, move |socket| count(socket, work_ms));
        server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
        server.listen(address)?;
    }
    lp.run()
}

fn count(socket: net::Socket, work_ms: u64) {
    let counts = Rc::new(Cell::new(Counts::default()));
    let in_end = counts.clone();
    socket.on_data(move |_, chunk| {
        let mut now = counts.get();
        chunk.iter().for_each(|&byte| now.add(byte));
        counts.set(now);
    });
    socket.on_end(move |socket| {
        println!(
            "the peer has ended, we are {}",
            socket.ready_state().as_str()
        );
        let Counts {
            lines,
            words,
            bytes,
            ..
        } = in_end.get();
        socket.event_loop().set_timeout(work_ms, move |_| {
            if socket.destroyed() {
                return println!("too late: the connection is gone");
            }
            println!("answered");
            socket.end_with(format!("{lines} lines, {words} words, {bytes} bytes\n"));
        });
    });
    socket.on_error(|_, error| eprintln!("{error}"));
    socket.on_close(|_, _| println!("closed"));
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    lines: u64,
    words: u64,
    bytes: u64,
    is_in_word: bool,
}

impl Counts {
    fn add(&mut self, byte: u8) {
        let begins_word = !self.is_in_word && !byte.is_ascii_whitespace();
        self.bytes += 1;
        self.lines += u64::from(byte == b'\n');
        self.words += u64::from(begins_word);
        self.is_in_word = !byte.is_ascii_whitespace();
    }
}
