//! Sends a file in datagrams, and says how many of them were lost.
//!
//! The pattern: UDP has no backpressure. A sender at full speed fills the receiver's buffer, and the rest is
//! thrown away without a word. So this one sends a few datagrams each millisecond; and since only the
//! receiver knows what has arrived, it asks at the end, again and again until an answer comes. The
//! question may overtake what it asks about, so a receiver that lacks something is asked once more.
//!
//! ```text
//! cargo run --release --example udp_file_sender [FILE [ADDRESS [BURST]]]
//! ```
//!
//! BURST is how many datagrams go out each millisecond; with some hundreds, some will be lost. It
//! talks to `udp_file_receiver`. Being connected, it learns if nobody receives there.

mod common;

use std::cell::Cell;
use std::fs::File;
use std::io::{Error, Read};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;

use common::parts::{MAX_PARTS, Message, PART_SIZE};
use common::{argument, family_of, report};
use nodeloop::dgram::{self, Socket};
use nodeloop::{Loop, Result};

/// How long it waits for the receiver's answer before it asks again, and how often.
const ASK_EVERY_MS: u64 = 200;
const ASK_TIMES: u32 = 25;

const TOO_LARGE: &str = "too large, it would need more datagrams than there are numbers";

fn main() -> Result<ExitCode> {
    let path: String = argument(1, "FILE", "README.md");
    let address: SocketAddr = argument(2, "ADDRESS", "127.0.0.1:40000");
    let burst: u32 = argument(3, "number of datagrams", "16");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) => {
            eprintln!("{path}: {error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    if length > u64::from(MAX_PARTS) * PART_SIZE as u64 {
        eprintln!("{path}: {TOO_LARGE}");
        return Ok(ExitCode::FAILURE);
    }
    let lp = Loop::new()?;
    let socket = dgram::create_socket(&lp, family_of(address));
    let whole = Rc::new(Cell::new(false));
    let told = whole.clone();
    socket.once_connect(move |socket| send(socket, file, burst, told));
    socket.connect(address)?;
    lp.run()?;
    Ok(match whole.get() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Sends the parts, a few at a time.
fn send(socket: Socket, mut file: File, burst: u32, whole: Rc<Cell<bool>>) {
    let (mut parts, mut bytes) = (0, 0);
    socket.event_loop().set_interval(1, move |timer| {
        // If the system takes no more for the moment, neither do we.
        let room = burst.saturating_sub(u32::try_from(socket.send_queue_count()).unwrap_or(burst));
        for _ in 0..room {
            let part = match next_part(&mut file) {
                // What has no length, such as a device, is found out here.
                Ok(part) if !part.is_empty() && parts == MAX_PARTS => Err(Error::other(TOO_LARGE)),
                read => read,
            };
            let part = match part {
                Ok(part) => part,
                Err(error) => {
                    eprintln!("{error}");
                    timer.clear();
                    return report(socket.close());
                }
            };
            if part.is_empty() {
                println!("sent {parts} datagrams, {bytes} bytes");
                timer.clear();
                return ask(socket, parts, bytes, whole.clone());
            }
            report(socket.send(Message::Part(parts, &part).write()));
            parts += 1;
            bytes += part.len() as u64;
        }
    });
}

/// The next bytes of the file; none at its end. A disk is quick enough to wait for it here; a
/// program that has others to serve reads in another thread.
fn next_part(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut part = Vec::with_capacity(PART_SIZE);
    file.take(PART_SIZE as u64).read_to_end(&mut part)?;
    Ok(part)
}

/// Asks the receiver how many have come.
fn ask(socket: Socket, parts: u32, bytes: u64, whole: Rc<Cell<bool>>) {
    let end = Message::End(parts, bytes).write();
    report(socket.send(&end));
    let asked = Rc::new(Cell::new(1));
    let in_interval = asked.clone();
    let asking = socket
        .event_loop()
        .set_interval(ASK_EVERY_MS, move |timer| {
            if in_interval.get() == ASK_TIMES {
                eprintln!("the receiver does not answer");
                timer.clear();
                return report(socket.close());
            }
            in_interval.set(in_interval.get() + 1);
            report(socket.send(&end));
        });
    // To which question the last answer came, and how many had arrived by then.
    let mut last = (0, 0);
    socket.on_message(move |socket, message, _| {
        let Some(Message::Receipt(received)) = Message::read(message) else {
            return;
        };
        let (question, before) = std::mem::replace(&mut last, (asked.get(), received));
        // More may be on their way as long as more come.
        if received < parts && (question == asked.get() || received > before) {
            return;
        }
        println!(
            "{received} have arrived, {} were lost",
            parts.saturating_sub(received)
        );
        whole.set(received == parts);
        asking.clear();
        report(socket.close());
    });
}
