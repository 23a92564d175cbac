//! Sends a number every second, prints the sums that come back, and ends after thirty seconds.
//!
//! The pattern: a client that ends well. It ends its own side, still hears the last answer, and the
//! program is over when the server has ended too, since nothing is left to wait for. What goes wrong
//! is an 'error' that nobody listens to: that ends `run`, and the program with a failure.
//!
//! ```text
//! cargo run --release --example sum_client [ADDRESS [MILLISECONDS [MILLISECONDS]]]
//! ```
//!
//! The first number of milliseconds is from one number to the next, the second until the end. It
//! sends 1, 2, 3, and so on to `sum_server`, which must run.

mod common;

use std::net::SocketAddr;

use common::argument;
use nodeloop::{Loop, net};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let every_ms: u64 = argument(2, "number of MILLISECONDS", "1000");
    let for_ms: u64 = argument(3, "number of MILLISECONDS", "30000");
    let lp = Loop::new()?;
    net::connect_then(&lp, address, move |socket| talk(socket, every_ms, for_ms));
    lp.run()
}

fn talk(socket: net::Socket, every_ms: u64, for_ms: u64) {
    let mut number = 0_i32;
    let sending = socket.event_loop().set_interval(every_ms, move |_| {
        number = number.wrapping_add(1);
        println!("sent {number}");
        socket.write(&number.to_le_bytes());
    });
    let ending = socket.event_loop().set_timeout(for_ms, move |_| {
        sending.clear();
        socket.end();
    });
    let mut waiting = Vec::new();
    socket.on_data(move |_, chunk| {
        waiting.extend_from_slice(chunk);
        let (sums, incomplete) = waiting.as_chunks::<4>();
        for &sum in sums {
            println!("the sum is {}", i32::from_le_bytes(sum));
        }
        waiting = incomplete.to_vec();
    });
    socket.on_end(|socket| {
        if !socket.writable_ended() {
            socket.destroy_with("the server has ended before we did");
        }
    });
    socket.on_close(move |_, _| {
        sending.clear();
        ending.clear();
    });
}
