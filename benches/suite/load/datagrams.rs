//! Datagrams there and back, several under way.
//!
//! It does as little as it can: where the load has more to do than the server, it is the load that is
//! measured, since a server that waits for it is woken for every datagram. So where several are under way
//! one call takes all that are back, and one call sends as many, each by itself (no offload). It sleeps
//! when nothing comes.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::{Load, flood, wrong};
use crate::peers::datagrams_gathering::send_train;
use crate::server::PATIENCE;
use crate::statistics::Latencies;

/// So long without a datagram means that those under way are lost.
pub const LOST_AFTER: Duration = Duration::from_millis(50);

pub struct Datagrams {
    socket: UdpSocket,
    in_flight: usize,
    /// Whether all in flight are sent as one run, when the last are back.
    in_runs: bool,
    size: usize,
    /// What is sent: as many messages as may be under way.
    messages: Vec<u8>,
    batch: Batch,
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
        Ok(Datagrams {
            socket,
            in_flight,
            in_runs,
            size,
            messages: (0..size * in_flight).map(|at| (at % size) as u8).collect(),
            batch: Batch::new(in_flight, size + 1),
            timed: None,
            sent: 0,
            due: 0,
            lost: 0,
        })
    }

    /// Sends what may be under way beside what is, up to that number.
    fn send(&mut self, last: u64) -> io::Result<()> {
        let room = self.in_flight as u64 - (self.sent - self.due);
        let count = room.min(last - self.sent) as usize;
        if count == 0 {
            return Ok(());
        }
        let messages = &mut self.messages[..count * self.size];
        for message in messages.chunks_exact_mut(self.size) {
            message[..8].copy_from_slice(&self.sent.to_le_bytes());
            if self.timed.is_none() {
                self.timed = Some((self.sent, Instant::now()));
            }
            self.sent += 1;
        }
        match self.in_runs {
            true => {
                let parts = [IoSlice::new(messages)];
                send_train(&self.socket, &parts, self.size as u16, None)
            }
            false => self.batch.send(&self.socket, messages, self.size),
        }
    }

    /// Takes those that are back: whether there were any, within [`LOST_AFTER`].
    fn receive(&mut self, latencies: &mut Latencies) -> io::Result<bool> {
        match self.batch.receive(&self.socket) {
            Ok(()) => {}
            Err(error) if is_nothing(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        for datagram in self.batch.received() {
            let (number, rest) = datagram.split_at(8.min(datagram.len()));
            let number = number.try_into().map(u64::from_le_bytes);
            let number = number.ok().filter(|&number| number < self.sent);
            let (Some(number), true) = (number, rest == &self.messages[8..self.size]) else {
                return Err(wrong("sent another datagram than was due"));
            };
            // One that was given up is not missed any more.
            if number < self.due {
                continue;
            }
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
