//! One speaks, everyone hears.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::Interest;
use mio::net::TcpStream;

use super::{BATCH, Load, Poller, connect, read_some, unblocked, write_some, wrong};
use crate::server::PATIENCE;
use crate::statistics::Latencies;

/// Messages after which a connection is as it stays.
const SETTLED_AFTER: u64 = 50;

pub struct Broadcast {
    poller: Poller,
    /// Everyone, with how much of the present message each has heard.
    everyone: Vec<(TcpStream, usize)>,
    message: Vec<u8>,
    buffer: Vec<u8>,
    said: u64,
}

impl Broadcast {
    pub fn open(
        server: SocketAddr,
        receivers: usize,
        size: usize,
        spin: bool,
    ) -> io::Result<Broadcast> {
        let mut streams: Vec<std::net::TcpStream> = Vec::with_capacity(receivers);
        for number in 0..receivers {
            let stream = connect(server, number)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            streams.push(stream);
            if (number + 1) % BATCH == 0 || number + 1 == receivers {
                hear_the_last(&mut streams)?;
            }
        }
        let poller = Poller::new(spin)?;
        let mut everyone = Vec::with_capacity(receivers);
        for (number, stream) in streams.into_iter().enumerate() {
            let mut stream = unblocked(stream)?;
            poller.register(&mut stream, number, Interest::READABLE)?;
            everyone.push((stream, 0));
        }
        Ok(Broadcast {
            poller,
            everyone,
            message: (0..size).map(|at| at as u8).collect(),
            buffer: vec![0; size + 1],
            said: 0,
        })
    }
}

/// The newest speaks; when all have heard it, all are accepted.
fn hear_the_last(streams: &mut [std::net::TcpStream]) -> io::Result<()> {
    let hello = *b"hello";
    if let Some(newest) = streams.last_mut() {
        newest.write_all(&hello)?;
    }
    for stream in streams {
        let mut heard = hello;
        stream.read_exact(&mut heard)?;
        if heard != hello {
            return Err(wrong("told something else"));
        }
    }
    Ok(())
}

impl Load for Broadcast {
    fn round(&mut self, operations: u64, latencies: &mut Latencies) -> io::Result<u64> {
        let receivers = self.everyone.len();
        let messages = operations.div_ceil(receivers as u64);
        for _ in 0..messages {
            self.said += 1;
            let sequence = self.said.to_le_bytes();
            let changed = sequence.len().min(self.message.len());
            self.message[..changed].copy_from_slice(&sequence[..changed]);
            let begun = Instant::now();
            let speaker = &mut self.everyone[(self.said % receivers as u64) as usize].0;
            if write_some(speaker, &self.message)? != self.message.len() {
                return Err(wrong("does not read"));
            }
            let mut left = receivers;
            while left > 0 {
                for event in self.poller.wait()? {
                    let (stream, heard) = &mut self.everyone[event.token().0];
                    let Some(size) = read_some(stream, &mut self.buffer)? else {
                        continue;
                    };
                    if size == 0
                        || self.message.get(*heard..*heard + size) != Some(&self.buffer[..size])
                    {
                        return Err(wrong("told something else"));
                    }
                    *heard += size;
                    if *heard == self.message.len() {
                        *heard = 0;
                        left -= 1;
                        latencies.add(begun.elapsed());
                    }
                }
            }
        }
        Ok(messages * receivers as u64)
    }

    /// A connection's first messages are acknowledged at once, the others later and together: it
    /// takes as many for the cost to be what it stays.
    fn check(&mut self, latencies: &mut Latencies) -> io::Result<()> {
        self.round(self.unit() * SETTLED_AFTER, latencies).map(drop)
    }

    fn unit(&self) -> u64 {
        self.everyone.len() as u64
    }
}
