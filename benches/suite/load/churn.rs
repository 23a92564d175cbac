//! Connections that live shortly.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::TcpStream;
use socket2::SockRef;

use super::{BATCH, Load, Poller, connect, read_some, unblocked, write_some, wrong};
use crate::statistics::Latencies;

/// Connections at a time.
pub const AT_ONCE: usize = 10;

/// Who ends a connection, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client with a reset, after one byte there and back.
    Reset,
    /// The server, at once.
    Server,
}

pub struct Churn {
    server: SocketAddr,
    ending: Ending,
    poller: Poller,
    slots: Vec<Option<Short>>,
    /// Connections made so far.
    made: usize,
}

struct Short {
    stream: TcpStream,
    begun: Instant,
}

impl Churn {
    pub fn open(server: SocketAddr, ending: Ending, spin: bool) -> io::Result<Churn> {
        Ok(Churn {
            server,
            ending,
            poller: Poller::new(spin)?,
            slots: (0..AT_ONCE).map(|_| None).collect(),
            made: 0,
        })
    }

    fn begin(&mut self, slot: usize) -> io::Result<()> {
        let begun = Instant::now();
        self.made += 1;
        // Always from one of the spread sources.
        let stream = connect(self.server, BATCH + self.made)?;
        // Nothing of a connection is to outlive it.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        let mut stream = unblocked(stream)?;
        if self.ending == Ending::Reset && write_some(&mut stream, b"!")? != 1 {
            return Err(wrong("takes no byte"));
        }
        self.poller
            .register(&mut stream, slot, Interest::READABLE)?;
        self.slots[slot] = Some(Short { stream, begun });
        Ok(())
    }

    /// Whether the connection in a slot has got what it waits for.
    fn is_over(&mut self, slot: usize) -> io::Result<bool> {
        let Some(short) = &mut self.slots[slot] else {
            return Ok(false);
        };
        let mut buffer = [0; 16];
        match (read_some(&mut short.stream, &mut buffer)?, self.ending) {
            (None, _) => Ok(false),
            (Some(1), Ending::Reset) if buffer[0] == b'!' => Ok(true),
            (Some(0), Ending::Server) => Ok(true),
            _ => Err(wrong("answered something else")),
        }
    }
}

impl Load for Churn {
    fn round(&mut self, operations: u64, latencies: &mut Latencies) -> io::Result<u64> {
        let mut to_begin = operations;
        let mut left = operations;
        for slot in 0..AT_ONCE {
            if to_begin > 0 {
                self.begin(slot)?;
                to_begin -= 1;
            }
        }
        let mut ready = Vec::new();
        while left > 0 {
            ready.clear();
            ready.extend(self.poller.wait()?.iter().map(|event| event.token().0));
            for &slot in &ready {
                if !self.is_over(slot)? {
                    continue;
                }
                if let Some(short) = self.slots[slot].take() {
                    latencies.add(short.begun.elapsed());
                }
                left -= 1;
                if to_begin > 0 {
                    self.begin(slot)?;
                    to_begin -= 1;
                }
            }
        }
        Ok(operations)
    }

    fn unit(&self) -> u64 {
        AT_ONCE as u64
    }
}
