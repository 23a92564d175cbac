//! Datagrams there and back, several under way.
//!
//! One receive and one send for each, and nothing else: where the load has more to do than the server,
//! it is the load that is measured. It sleeps when nothing comes: who sleeps finds several when it wakes,
//! and sends as many, so they come in batches, as those of many clients do.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::{Load, flood, wrong};
use crate::server::PATIENCE;
use crate::statistics::Latencies;

/// So long without a datagram means that those under way are lost.
pub const LOST_AFTER: Duration = Duration::from_millis(50);

pub struct Datagrams {
    socket: UdpSocket,
    in_flight: usize,
    /// Whether all in flight are sent with one call, when the last are back.
    in_runs: bool,
    size: usize,
    /// What is sent: so many messages as leave with one call.
    messages: Vec<u8>,
    buffer: Vec<u8>,
    /// One that is timed: its number, and when it was sent. Looking at the clock for each would have the
    /// load lag behind the server.
    timed: Option<(u64, Instant)>,
    sent: u64,
    /// The number of the one that is to come back next.
    due: u64,
    lost: u64,
}

impl Datagrams {
    pub fn open(
        server: SocketAddr,
        in_flight: usize,
        size: usize,
        in_runs: bool,
    ) -> io::Result<Datagrams> {
        let socket = flood::socket(server)?;
        socket.set_read_timeout(Some(LOST_AFTER))?;
        let at_once = if in_runs { in_flight } else { 1 };
        Ok(Datagrams {
            socket,
            in_flight,
            in_runs,
            size,
            messages: (0..size * at_once).map(|at| (at % size) as u8).collect(),
            buffer: vec![0; size + 1],
            timed: None,
            sent: 0,
            due: 0,
            lost: 0,
        })
    }

    /// Sends what may be under way beside what is, up to that number.
    fn send(&mut self, last: u64) -> io::Result<()> {
        let room = self.in_flight as u64 - (self.sent - self.due);
        let at_once = (self.messages.len() / self.size) as u64;
        for _ in 0..room.min(last - self.sent) / at_once {
            for message in self.messages.chunks_exact_mut(self.size) {
                message[..8].copy_from_slice(&self.sent.to_le_bytes());
                if self.timed.is_none() {
                    self.timed = Some((self.sent, Instant::now()));
                }
                self.sent += 1;
            }
            match self.in_runs {
                true => flood::send_run(&self.socket, &self.messages, self.size)?,
                false => drop(self.socket.send(&self.messages)?),
            }
        }
        Ok(())
    }

    /// Takes one that is back: whether there was one, within [`LOST_AFTER`].
    fn receive(&mut self, latencies: &mut Latencies) -> io::Result<bool> {
        let size = match self.socket.recv(&mut self.buffer) {
            Ok(size) => size,
            Err(error) if is_nothing(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        let (number, rest) = self.buffer[..size].split_at(8.min(size));
        let number = number.try_into().map(u64::from_le_bytes);
        let number = number.ok().filter(|&number| number < self.sent);
        let (Some(number), true) = (number, rest == &self.messages[8..self.size]) else {
            return Err(wrong("sent another datagram than was due"));
        };
        // One that was given up is not missed any more.
        if number >= self.due {
            self.lost += number - self.due;
            self.due = number + 1;
            if let Some((timed, sent_at)) = self.timed
                && timed <= number
            {
                self.timed = None;
                if timed == number {
                    latencies.add(sent_at.elapsed());
                }
            }
        }
        Ok(true)
    }
}

/// Whether an error says that nothing has come.
fn is_nothing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

impl Load for Datagrams {
    fn round(&mut self, operations: u64, latencies: &mut Latencies) -> io::Result<u64> {
        let last = self.sent + operations;
        let lost_before = self.lost;
        let mut silences = 0;
        self.send(last)?;
        while self.due < last {
            if self.receive(latencies)? {
                silences = 0;
                if !self.in_runs || self.due == self.sent {
                    self.send(last)?;
                }
                continue;
            }
            silences += 1;
            if silences * LOST_AFTER > PATIENCE {
                return Err(wrong("answers no more"));
            }
            self.lost += self.sent - self.due;
            self.due = self.sent;
            self.send(last)?;
        }
        Ok(operations - (self.lost - lost_before))
    }

    fn lost(&self) -> u64 {
        self.lost
    }

    fn unit(&self) -> u64 {
        self.in_flight as u64
    }
}
