//! A client that connects again whenever its connection is lost.
//!
//! The pattern: after a failure wait, after each further one twice as long, up to a limit: a server
//! that is in trouble must not be stormed by its clients. For the same reason the wait is partly
//! random, or all clients that were cut off together would come back together. Only a server that says
//! something has recovered: one that accepts and hangs up has not.
//!
//! The socket is used again, with its listeners: `keep` holds it from one 'close' to the next
//! `connect`.
//!
//! ```text
//! cargo run --release --example reconnect [ADDRESS [MILLISECONDS [MILLISECONDS [TIMES]]]]
//! ```
//!
//! The first number of milliseconds is the first wait, the second the longest; after TIMES failures
//! in a row it gives up. Run `chat1` beside it, end that, and start it again.

mod common;

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::rc::Rc;

use common::argument;
use nodeloop::{Error, Loop, net};

/// How long connecting may take; the system itself would wait for minutes.
const CONNECT_MS: u64 = 5000;

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let first_ms: u64 = argument(2, "number of MILLISECONDS", "100");
    let longest_ms: u64 = argument(3, "number of MILLISECONDS", "10000");
    let most_failures: u32 = argument(4, "number of TIMES", "20");
    let to = net::ConnectOptions::from(address).deadline(CONNECT_MS);
    let lp = Loop::new()?;
    let socket = net::Socket::new(&lp, net::SocketOptions::new());
    socket.keep();

    // In a row; none any more once the server has said something.
    let failures = Rc::new(Cell::new(0_u32));
    let in_text = failures.clone();
    // Text, not bytes: a character that two reads cut apart comes out whole.
    socket.on_text(move |_, text| {
        in_text.set(0);
        println!("received: {}", text.trim_end());
    });
    socket.on_connect(|_| println!("connected"));
    socket.on_error(|_, error| println!("{error}"));
    let gave_up = Rc::new(Cell::new(false));
    let in_close = gave_up.clone();
    let again = to.clone();
    socket.on_close(move |socket, _| {
        failures.set(failures.get() + 1);
        if failures.get() == most_failures {
            in_close.set(true);
            // Nothing is left that could happen, so the program ends.
            return socket.release();
        }
        let wait_ms = backoff(failures.get(), first_ms, longest_ms);
        println!("again in {wait_ms} ms");
        let to = again.clone();
        socket.event_loop().set_timeout_once(wait_ms, move |_| {
            // It is kept, so this can't fail at once; what goes wrong later is an 'error'.
            let _ = socket.connect(to);
        });
    });
    socket.connect(to)?;
    lp.run()?;
    match gave_up.get() {
        true => Err(Error::new(format!("{most_failures} failures in a row"))),
        false => Ok(()),
    }
}

/// How long to wait after so many failures: between half of it and all of it, by chance.
fn backoff(failures: u32, first_ms: u64, longest_ms: u64) -> u64 {
    let doubled = first_ms.saturating_mul(1 << (failures - 1).min(31));
    let most_ms = doubled.min(longest_ms);
    // Keys made anew for each hasher are as good as dice here.
    let dice = RandomState::new().build_hasher().finish();
    most_ms - dice % (most_ms / 2 + 1)
}
