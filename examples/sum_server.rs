//! Adds up the numbers that a client sends, and tells it the sum every three seconds.
//!
//! The pattern: TCP carries bytes, not messages. A number may come in two reads, and a hundred in
//! one; so an incomplete number waits for the next read. And a timer that belongs to a connection is
//! cleared in its 'close', the event that always comes.
//!
//! ```text
//! cargo run --release --example sum_server [ADDRESS [MILLISECONDS]]
//! ```
//!
//! Then run `sum_client`. Numbers and sums are signed, of 32 bits, the lowest byte first; a sum that
//! grows too large begins anew at the other end, as `i32::wrapping_add` has it. When the client ends
//! it gets the last sum.

mod common;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use common::argument;
use nodeloop::{Loop, net};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let every_ms: u64 = argument(2, "number of MILLISECONDS", "3000");
    let lp = Loop::new()?;
    let server = net::create_server(&lp, move |socket| add_up(socket, every_ms));
    server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
    server.listen(address)?;
    lp.run()
}

fn add_up(socket: net::Socket, every_ms: u64) {
    // Two listeners and a timer need it, so it is shared by them.
    let sum = Rc::new(Cell::new(0_i32));
    let tell = {
        let sum = sum.clone();
        move |socket: net::Socket| {
            // Who does not even read 4 bytes in three seconds gets no more of them.
            if !socket.writable_need_drain() {
                socket.write(&sum.get().to_le_bytes());
            }
        }
    };
    // Only one listener needs it, so that owns it.
    let mut waiting = Vec::new();
    socket.on_data(move |_, chunk| {
        waiting.extend_from_slice(chunk);
        let (numbers, incomplete) = waiting.as_chunks::<4>();
        for &number in numbers {
            sum.set(sum.get().wrapping_add(i32::from_le_bytes(number)));
        }
        waiting = incomplete.to_vec();
    });
    socket.on_end(tell.clone());
    let timer = socket
        .event_loop()
        .set_interval(every_ms, move |_| tell(socket));
    socket.on_error(|_, error| eprintln!("{error}"));
    socket.on_close(move |_, _| timer.clear());
}
