//! The null backend: a peer in memory, to measure the loop's own time without the kernel's noise.
//!
//! A number of connections arrive; then every wait says which of them are ready, every read gives
//! one message at once and every write takes all; after a number of waits all peers end. It is
//! reached through [`Builder::null`](crate::Builder::null) by a loop under test, and used as it
//! is by the hand-written loop that the bench compares with.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Counts, ready};

/// Both ends of every connection of the null backend.
pub const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// What the peers in memory do.
#[derive(Debug, Clone, Copy)]
pub struct NullOptions {
    /// Connections that arrive.
    pub connections: u32,
    /// Connections that are ready after each wait, in turn.
    pub events_per_wait: u32,
    /// Bytes of each message.
    pub message_size: usize,
    /// Datagrams that wait at a UDP socket after each wait; at most 32. While such a socket
    /// receives no connections arrive.
    pub datagrams: u32,
    /// Waits after which all peers end their side.
    pub waits: u64,
}

impl Default for NullOptions {
    fn default() -> NullOptions {
        NullOptions {
            connections: 1,
            events_per_wait: 1,
            message_size: 16,
            datagrams: 0,
            waits: 1,
        }
    }
}

/// A backend that answers in memory.
#[derive(Debug)]
pub struct Null {
    /// What the peers do.
    options: NullOptions,
    /// The token of the listening socket.
    listener: Option<u64>,
    /// The token of each connection that was accepted; None once it is closed.
    streams: Vec<Option<u64>>,
    /// Whether a message waits, by connection.
    waiting: Vec<bool>,
    /// Which connection is ready next.
    next: usize,
    /// Waits with messages so far.
    rounds: u64,
    /// The token of the UDP socket that receives.
    datagram: Option<u64>,
    /// Datagrams that wait there.
    datagrams: u32,
    /// Whether the peers have ended.
    ended: bool,
    /// The events of the last wait.
    events: Vec<(u64, u8)>,
    /// A clock that advances one millisecond with each thousand readings.
    time: u64,
    /// What was asked.
    pub(crate) counts: Counts,
}

impl Null {
    /// A backend whose peers do what `options` say.
    pub fn new(options: NullOptions) -> Null {
        Null {
            options,
            listener: None,
            streams: Vec::new(),
            waiting: Vec::new(),
            next: 0,
            rounds: 0,
            datagram: None,
            datagrams: 0,
            ended: false,
            events: Vec::new(),
            time: 0,
            counts: Counts::default(),
        }
    }

    /// What was asked of it.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The events of the last wait: token and readiness bits (1 is readable).
    pub fn events(&self) -> &[(u64, u8)] {
        &self.events
    }

    /// Makes up what is ready now.
    pub fn wait(&mut self) {
        self.counts.waits += 1;
        self.events.clear();
        if let Some(token) = self.datagram {
            self.datagrams = self.options.datagrams;
            self.events.push((token, ready::READABLE));
        } else if self.streams.len() < self.options.connections as usize {
            self.events
                .extend(self.listener.map(|token| (token, ready::READABLE)));
        } else if self.rounds < self.options.waits {
            self.rounds += 1;
            for _ in 0..self.options.events_per_wait {
                if self.next >= self.streams.len() {
                    self.next = 0;
                }
                // None too where there are to be no connections at all.
                if let Some(&Some(token)) = self.streams.get(self.next) {
                    self.waiting[self.next] = true;
                    self.events.push((token, ready::READABLE));
                }
                self.next += 1;
            }
        } else {
            self.ended = true;
            let bits = ready::READABLE | ready::READ_CLOSED;
            self.events
                .extend(self.streams.iter().flatten().map(|&token| (token, bits)));
        }
    }

    /// Makes connections arrive for the listening socket with this token.
    pub fn listen(&mut self, token: u64) {
        self.counts.listens += 1;
        self.listener = Some(token);
    }

    /// Takes the next connection: its number and the peer's address.
    pub fn accept(&mut self) -> Option<(u32, SocketAddr)> {
        self.counts.accepts += 1;
        if self.streams.len() >= self.options.connections as usize {
            return None;
        }
        self.streams.push(None);
        self.waiting.push(false);
        Some((self.streams.len() as u32 - 1, ADDRESS))
    }

    /// Has a connection's events reported under `token`.
    pub fn register(&mut self, stream: u32, token: u64) {
        self.counts.registrations += 1;
        self.streams[stream as usize] = Some(token);
    }

    /// Reads a message if one waits.
    #[inline]
    pub fn read(&mut self, stream: u32, buffer: &mut [u8]) -> io::Result<usize> {
        self.counts.reads += 1;
        let waiting = &mut self.waiting[stream as usize];
        if *waiting {
            *waiting = false;
            let size = self.options.message_size.min(buffer.len());
            buffer[..size].fill(b'x');
            return Ok(size);
        }
        match self.ended {
            true => Ok(0),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Takes everything.
    #[inline]
    pub fn write(&mut self, _stream: u32, buffer: &[u8]) -> io::Result<usize> {
        self.counts.writes += 1;
        Ok(std::hint::black_box(buffer).len())
    }

    /// Has datagrams arrive at the UDP socket with this token, for as long as it is open.
    pub fn watch_datagrams(&mut self, token: Option<u64>) {
        self.datagram = token;
        self.datagrams = 0;
    }

    /// Takes the datagrams that wait: how many they are, and the size of each.
    pub fn receive(&mut self) -> (u32, usize) {
        self.counts.receives += 1;
        let count = std::mem::take(&mut self.datagrams);
        self.counts.datagrams_received += u64::from(count);
        (count, self.options.message_size)
    }

    /// Takes a datagram, or a run of them.
    pub fn send(&mut self, bytes: &[u8], datagrams: usize) {
        self.counts.sends += 1;
        self.counts.datagrams_sent += datagrams as u64;
        std::hint::black_box(bytes);
    }

    /// Ends a connection.
    pub fn close(&mut self, stream: u32) {
        self.streams[stream as usize] = None;
    }

    pub(crate) fn now_ms(&mut self) -> u64 {
        self.counts.clock_reads += 1;
        self.time += 1;
        self.time / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It looked for the first of them.
    #[test]
    fn waits_without_connections_bring_nothing() {
        let mut null = Null::new(NullOptions {
            connections: 0,
            ..NullOptions::default()
        });
        null.listen(1);
        for _ in 0..3 {
            null.wait();
            assert!(null.events().is_empty());
        }
        assert!(null.accept().is_none());
    }
}
