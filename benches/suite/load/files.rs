//! A file from the server, and the next when it is there. An operation is a MiB.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use mio::Interest;
use mio::net::TcpStream;

use super::{Load, Poller, connect, read_some, unblocked, wrong};
use crate::peers::BLOCK;
use crate::statistics::Latencies;

const MIB: usize = 1024 * 1024;

/// Reads of one connection before others have their turn.
const BUDGET: usize = 16;

/// Bytes at the beginning of each read that are compared in every round.
const LOOKED_AT: usize = 16;

/// The byte of a file at an offset: no two of its words of eight bytes are alike.
fn byte_at(offset: usize) -> u8 {
    let word = (offset as u64 / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word.to_le_bytes()[offset % 8]
}

/// Writes a file of so many MiB. Anew each time, so that it is in the system's cache in the same way: one that
/// was thrown out and read back lies there in smaller pieces, which cost every server more.
pub fn write(path: &Path, mib: usize) -> io::Result<()> {
    let bytes: Vec<u8> = (0..mib * MIB).map(byte_at).collect();
    let mut file = File::create(path)?;
    file.write_all(&bytes)?;
    // Writing it back is not to fall into a round.
    file.sync_all()
}

pub struct Files {
    server: SocketAddr,
    poller: Poller,
    slots: Vec<Option<Receiving>>,
    mib: usize,
    buffer: Vec<u8>,
    /// Whether every byte is compared: in the check, since it costs more than receiving it.
    compares: bool,
}

struct Receiving {
    stream: TcpStream,
    received: usize,
    readable: bool,
    begun: Instant,
}

impl Files {
    pub fn open(
        server: SocketAddr,
        connections: usize,
        mib: usize,
        spin: bool,
    ) -> io::Result<Files> {
        Ok(Files {
            server,
            poller: Poller::new(spin)?,
            slots: (0..connections).map(|_| None).collect(),
            mib,
            buffer: vec![0; BLOCK],
            compares: false,
        })
    }

    fn begin(&mut self, slot: usize) -> io::Result<()> {
        let begun = Instant::now();
        let mut stream = unblocked(connect(self.server, slot)?)?;
        self.poller
            .register(&mut stream, slot, Interest::READABLE)?;
        self.slots[slot] = Some(Receiving {
            stream,
            received: 0,
            readable: false,
            begun,
        });
        Ok(())
    }

    /// Takes what has come: whether the file is there, and whether there is more to do at once.
    fn receive(&mut self, slot: usize) -> io::Result<(bool, bool)> {
        let Some(receiving) = &mut self.slots[slot] else {
            return Ok((false, false));
        };
        for _ in 0..BUDGET {
            if !receiving.readable {
                return Ok((false, false));
            }
            let Some(size) = read_some(&mut receiving.stream, &mut self.buffer)? else {
                receiving.readable = false;
                return Ok((false, false));
            };
            if size == 0 {
                return match receiving.received == self.mib * MIB {
                    true => Ok((true, false)),
                    false => Err(wrong("sent less than the file, or more")),
                };
            }
            let looked_at = if self.compares {
                size
            } else {
                size.min(LOOKED_AT)
            };
            let expected = (receiving.received..).map(byte_at).take(looked_at);
            if !self.buffer[..looked_at].iter().copied().eq(expected) {
                return Err(wrong("sent other bytes than the file has"));
            }
            receiving.received += size;
        }
        Ok((false, true))
    }
}

impl Load for Files {
    fn round(&mut self, operations: u64, latencies: &mut Latencies) -> io::Result<u64> {
        let files = operations.div_ceil(self.unit()) as usize * self.slots.len();
        let (mut begun, mut left) = (0, files);
        let mut busy = false;
        while left > 0 {
            for slot in 0..self.slots.len() {
                if self.slots[slot].is_none() && begun < files {
                    self.begin(slot)?;
                    begun += 1;
                }
            }
            let events = match busy {
                true => self.poller.look()?,
                false => self.poller.wait()?,
            };
            for event in events {
                if let Some(receiving) = &mut self.slots[event.token().0] {
                    receiving.readable = true;
                }
            }
            busy = false;
            for slot in 0..self.slots.len() {
                let (is_there, more) = self.receive(slot)?;
                busy |= more;
                if is_there {
                    left -= 1;
                    if let Some(receiving) = self.slots[slot].take() {
                        latencies.add(receiving.begun.elapsed());
                    }
                }
            }
        }
        Ok((files * self.mib) as u64)
    }

    fn check(&mut self, latencies: &mut Latencies) -> io::Result<()> {
        self.compares = true;
        let checked = self.round(self.unit(), latencies);
        self.compares = false;
        checked.map(drop)
    }

    fn unit(&self) -> u64 {
        (self.slots.len() * self.mib) as u64
    }
}
