//! Receives a file in datagrams, and says how many of them were lost.
//!
//! The pattern: datagrams may be lost, come twice, or in another order. So each says where it belongs
//! and is written there; the receiver remembers which have come, and counts them when the sender
//! says how many there were. Where one was lost the file has zeros. The first peer that sends is the
//! sender; datagrams from others, or of another form, are ignored.
//!
//! ```text
//! cargo run --release --example udp_file_receiver [ADDRESS [FILE [MILLISECONDS]]]
//! ```
//!
//! After the sender's end it stays for MILLISECONDS, since its answer may be lost and asked for again, and
//! the end may have overtaken parts. So it counts when that time is over.

mod common;

use std::cell::Cell;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::rc::Rc;

use common::parts::{Message, PART_SIZE};
use common::{argument, family_of, report};
use nodeloop::dgram::{RemoteInfo, Socket, SocketOptions};
use nodeloop::{Loop, Result, Timer, dgram};

/// What the kernel is asked to keep while this program is busy. It may give less.
const RECV_BUFFER: u32 = 4 << 20;

fn main() -> Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let path: String = argument(2, "FILE", "received.bin");
    let stay_ms: u64 = argument(3, "number of MILLISECONDS", "500");
    let lp = Loop::new()?;
    let options = SocketOptions::new(family_of(address)).recv_buffer_size(RECV_BUFFER);
    let socket = dgram::create_socket(&lp, options);
    // Not before the address is ours: another one that has it may be writing to that very file.
    socket.bind_then(address, move |socket| match File::create(&path) {
        Ok(file) => receive(socket, file, path, stay_ms),
        Err(error) => give_up(socket, &path, &error),
    })?;
    socket.on_close(|_| println!("close"));
    lp.run()
}

fn receive(socket: Socket, file: File, path: String, stay_ms: u64) {
    let mut transfer = Transfer::new(file, stay_ms);
    socket.on_message(move |socket, message, from| {
        if let Err(error) = transfer.take(socket, message, from) {
            give_up(socket, &path, &error);
        }
    });
    if let Ok(address) = socket.address() {
        println!("listening on {address}");
    }
}

/// Ends the program with a failure: a file that is not whole must not look as if it were.
fn give_up(socket: Socket, path: &str, error: &std::io::Error) {
    socket.event_loop().fail(format!("{path}: {error}"));
}

/// How much has come.
#[derive(Default)]
struct Arrived {
    parts: Cell<u32>,
    bytes: Cell<u64>,
}

struct Transfer {
    file: File,
    stay_ms: u64,
    sender: Option<SocketAddr>,
    /// Which parts have come.
    has: Vec<bool>,
    arrived: Rc<Arrived>,
    /// From the sender's end on.
    staying: Option<Timer>,
}

impl Transfer {
    fn new(file: File, stay_ms: u64) -> Transfer {
        Transfer {
            file,
            stay_ms,
            sender: None,
            has: Vec::new(),
            arrived: Rc::default(),
            staying: None,
        }
    }

    fn take(&mut self, socket: Socket, message: &[u8], from: RemoteInfo) -> std::io::Result<()> {
        let Some(message) = Message::read(message) else {
            println!("{from} sends something else");
            return Ok(());
        };
        if *self.sender.get_or_insert(from.socket_addr()) != from.socket_addr() {
            println!("{from} is not the sender");
            return Ok(());
        }
        match message {
            Message::Part(number, bytes) => self.keep(number, bytes),
            Message::End(parts, bytes) => self.end(socket, from, parts, bytes),
            Message::Receipt(_) => Ok(()),
        }
    }

    /// Writes a part where it belongs, unless it came before.
    fn keep(&mut self, number: u32, bytes: &[u8]) -> std::io::Result<()> {
        let index = number as usize;
        if index >= self.has.len() {
            self.has.resize(index + 1, false);
        }
        if std::mem::replace(&mut self.has[index], true) {
            return Ok(());
        }
        let Arrived { parts, bytes: sum } = &*self.arrived;
        parts.set(parts.get() + 1);
        sum.set(sum.get() + bytes.len() as u64);
        self.file
            .seek(SeekFrom::Start(index as u64 * PART_SIZE as u64))?;
        self.file.write_all(bytes)
    }

    /// The sender has sent everything, and asks how much has come.
    fn end(
        &mut self,
        socket: Socket,
        from: RemoteInfo,
        parts: u32,
        bytes: u64,
    ) -> std::io::Result<()> {
        let receipt = Message::Receipt(self.arrived.parts.get());
        report(socket.send_to(receipt.write(), from));
        match self.staying {
            Some(timer) => timer.refresh(),
            None => {
                self.file.set_len(bytes)?;
                let arrived = self.arrived.clone();
                let count_and_close = move |_| {
                    let count = arrived.parts.get();
                    let lost = parts.saturating_sub(count);
                    println!("{count} of {parts} datagrams have arrived, {lost} were lost");
                    println!("{} of {bytes} bytes", arrived.bytes.get());
                    report(socket.close());
                };
                let lp = socket.event_loop();
                self.staying = Some(lp.set_timeout(self.stay_ms, count_and_close));
            }
        }
        Ok(())
    }
}
