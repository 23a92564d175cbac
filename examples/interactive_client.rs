//! Sends what is typed, line by line, and prints what comes back. `Quit` ends it.
//!
//! The pattern: standard input is a stream like any other, `readline` makes lines of it, and the program
//! ends when nothing is left that could go on: so whichever side ends first releases the other.
//!
//! ```text
//! cargo run --release --example interactive_client [ADDRESS]
//! ```
//!
//! The server may be `echo`, `chat1`, or `nc -l 40000`.

mod common;

use std::net::SocketAddr;

use common::argument;
use nodeloop::{Loop, net, readline, stdio};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let lp = Loop::new()?;
    let (stdin, stdout) = (stdio::stdin(&lp), stdio::stdout(&lp));
    let socket = net::connect(&lp, address);
    let lines = readline::create_interface(&stdin);
    socket.on_connect(move |_| {
        stdout.write(format!("connected to {address}; Quit ends\n"));
    });
    lines.on_line(move |lines, line| match line {
        "Quit" => lines.close(),
        line => {
            // Typing fills no memory, but `interactive_client < FILE` could.
            if !socket.write(format!("{line}\n")) {
                lines.pause();
            }
        }
    });
    socket.on_drain(move |_| lines.resume());
    // `Quit`, or the end of the input.
    lines.on_close(move |_| socket.end());
    socket.on_text(move |_, text| {
        stdout.write(text);
    });
    socket.on_close(move |_, _| {
        stdout.write("connection closed\n");
        lines.close();
    });
    lp.run()
}
