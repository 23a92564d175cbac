//! What keeps a program alive, to try out.
//!
//! The pattern: nobody calls exit. The loop ends when nothing could call the program any more: no
//! server that listens, no connection that reads, no timer that waits. What is unref'd works as
//! before, but does not count.
//!
//! ```text
//! cargo run --release --example liveness [ADDRESS [MILLISECONDS]]
//! ```
//!
//! Then `nc 127.0.0.1 40000`, and type: `close` closes the server; `unref` and `ref` say whether this
//! connection counts; `timer` starts a timer of MILLISECONDS; `quit` ends this connection. The
//! answer to every line is what lives in the loop: `+` keeps it alive, `-` does not. There is a timer
//! from the beginning: it repeats, for ever, and is unref'd.

mod common;

use std::net::SocketAddr;

use common::argument;
use common::lines::Lines;
use nodeloop::{Loop, LoopHandle, net};

/// Bytes of a line.
const MAX_LINE: usize = 100;

/// How much may live in the loop at a time.
const MAX_HANDLES: usize = 30;

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let timer_ms: u64 = argument(2, "number of MILLISECONDS", "5000");
    let lp = Loop::new()?;
    let server = net::Server::new(&lp, net::ServerOptions::new());
    server.set_max_connections(Some(MAX_HANDLES / 2));
    server.on_connection(move |server, socket| on_connection(server, socket, timer_ms));
    server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
    server.listen(address)?;
    lp.set_interval(timer_ms, |_| println!("tick")).unref();
    lp.run()?;
    println!("nothing keeps the loop alive");
    Ok(())
}

fn on_connection(server: net::Server, socket: net::Socket, timer_ms: u64) {
    let mut lines = Lines::new(MAX_LINE);
    socket.on_data(move |socket, mut chunk| {
        while let Some(line) = lines.next(&mut chunk) {
            if !socket.writable() {
                return;
            }
            let lp = socket.event_loop();
            let mut answer = String::new();
            match line.as_deref() {
                Ok("close") => server.close(),
                Ok("unref") => socket.unref(),
                Ok("ref") => socket.set_ref(),
                Ok("timer") if lp.handles().len() < MAX_HANDLES => {
                    lp.set_timeout(timer_ms, |_| println!("the timer has fired"));
                }
                Ok("quit") => return socket.end(),
                Ok("timer") => answer += "too much lives already\n",
                Ok(_) => answer += "close, unref, ref, timer or quit?\n",
                Err(bad) => answer += &format!("{bad}\n"),
            }
            answer += &survey(lp);
            if !socket.write(answer) {
                socket.pause();
            }
        }
    });
    socket.on_drain(|socket| socket.resume());
    socket.on_error(|_, error| eprintln!("{error}"));
}

/// Everything that lives in the loop, one on a line, and an empty line behind it.
fn survey(lp: LoopHandle) -> String {
    let mut survey = String::new();
    for handle in lp.handles() {
        let counts = handle.active && handle.referenced;
        let mark = if counts { '+' } else { '-' };
        survey += &format!("{mark} {handle}\n");
    }
    survey + "\n"
}
