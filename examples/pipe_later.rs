//! An echo server whose pipe begins late, or ends early.
//!
//! The pattern: a pipe can be laid and taken away at any time, and nothing is lost. What comes while a
//! socket is paused, or piped nowhere, waits: up to a mark in the program, then with the kernel, then
//! with the client.
//!
//! ```text
//! cargo run --release --example pipe_later [ADDRESS [WHAT [SECONDS]]]
//! ```
//!
//! WHAT is one of
//!
//! - `unpipe`: it echoes for 5 seconds (or SECONDS), and then no more;
//! - `pause`: it echoes after 10 seconds;
//! - `timeout`: it echoes when the client has been silent for 3 seconds.

mod common;

use std::net::SocketAddr;

use common::argument;
use nodeloop::Loop;
use nodeloop::net::{self, Socket};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let what: What = argument(2, "WHAT", "unpipe");
    let seconds: f64 = argument(3, "number of SECONDS", what.usual_seconds());
    let delay_ms = (seconds.max(0.0) * 1_000.0) as u64;
    let lp = Loop::new()?;
    let server = net::create_server(&lp, move |client| {
        client.on_error(|_, error| eprintln!("{error}"));
        client.on_close(|_, _| println!("closed"));
        match what {
            What::Unpipe => unpipe_after(client, delay_ms),
            What::Pause => pipe_after(client, delay_ms),
            What::Timeout => pipe_when_silent(client, delay_ms),
        }
    });
    server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
    server.listen(address)?;
    lp.run()
}

fn unpipe_after(client: Socket, delay_ms: u64) {
    client.pipe(client);
    after(client, delay_ms, |client| {
        client.unpipe(client);
        println!("unpiped");
        client.end_with("no more\n");
        // Its end is to be seen.
        client.resume();
    });
}

fn pipe_after(client: Socket, delay_ms: u64) {
    client.pause();
    after(client, delay_ms, |client| {
        println!("piped");
        client.pipe(client);
    });
}

fn pipe_when_silent(client: Socket, delay_ms: u64) {
    client.set_timeout(delay_ms);
    client.once_timeout(|client| {
        client.set_timeout(0);
        println!("piped");
        client.pipe(client);
    });
}

/// Does something later, unless the client is gone by then.
fn after(client: Socket, delay_ms: u64, act: impl FnOnce(Socket) + 'static) {
    let timer = client
        .event_loop()
        .set_timeout_once(delay_ms, move |_| act(client));
    client.on_close(move |_, _| timer.clear());
}

/// What the program shows.
#[derive(Clone, Copy)]
enum What {
    Unpipe,
    Pause,
    Timeout,
}

impl What {
    fn usual_seconds(self) -> &'static str {
        match self {
            What::Unpipe => "5",
            What::Pause => "10",
            What::Timeout => "3",
        }
    }
}

impl std::str::FromStr for What {
    type Err = ();

    fn from_str(text: &str) -> Result<What, ()> {
        match text {
            "unpipe" => Ok(What::Unpipe),
            "pause" => Ok(What::Pause),
            "timeout" => Ok(What::Timeout),
            _ => Err(()),
        }
    }
}
