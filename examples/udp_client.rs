//! Sends a few datagrams, texts in Russian and Chinese among them, and prints what comes back.
//!
//! The pattern: nothing is certain. A datagram or its answer may be lost, so a program that waits for
//! an answer needs a deadline, and says what it has missed. The socket binds itself with the first send;
//! a list of buffers is one datagram.
//!
//! ```text
//! cargo run --release --example udp_client [ADDRESS [MILLISECONDS]]
//! ```
//!
//! It talks to `udp_echo`, and waits MILLISECONDS for the answers.

mod common;

use std::cell::Cell;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;

use common::{argument, family_of, report};
use nodeloop::dgram::{self, Payload};
use nodeloop::{Loop, Result};

/// What is sent: the last one from several buffers.
const TEXTS: [&[&str]; 4] = [
    &["Привет, мир!"],
    &["你好，世界！"],
    &[""],
    &["one datagram ", "of three ", "buffers"],
];

fn main() -> Result<ExitCode> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let patience_ms: u64 = argument(2, "number of MILLISECONDS", "2000");
    let lp = Loop::new()?;
    let socket = dgram::create_socket(&lp, family_of(address));
    let missing = Rc::new(Cell::new(TEXTS.len()));

    for text in TEXTS {
        let size = text.concat().len();
        socket.send_to_then(Payload::list(text.iter().copied()), address, move |sent| {
            // Not that it has arrived: that the system has taken it.
            match sent {
                Ok(bytes) => println!("sent {bytes} bytes"),
                Err(error) => eprintln!("not sent, {size} bytes: {error}"),
            }
        })?;
    }

    let patience = lp.set_timeout(patience_ms, move |_| report(socket.close()));
    let waiting = missing.clone();
    socket.on_message(move |socket, message, from| {
        if from.socket_addr() != address {
            // Anybody may send to our port.
            return;
        }
        println!("message: {}", String::from_utf8_lossy(message));
        waiting.set(waiting.get() - 1);
        if waiting.get() == 0 {
            patience.clear();
            report(socket.close());
        }
    });
    socket.on_listening(|_| println!("listening"));
    socket.on_close(|_| println!("close"));
    lp.run()?;
    match missing.get() {
        0 => Ok(ExitCode::SUCCESS),
        lost => {
            eprintln!("{lost} of {} answers have not come", TEXTS.len());
            Ok(ExitCode::FAILURE)
        }
    }
}
