//! Messages there and back, one under way on each connection.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

use mio::Interest;
use mio::net::TcpStream;

use super::target::Target;
use super::{Load, Poller, connect, connect_many, read_some, unblocked, write_some, wrong};
use crate::statistics::Latencies;

pub struct PingPong {
    poller: Poller,
    connections: Vec<Connection>,
    /// Held open, and never used.
    _idle: Vec<std::net::TcpStream>,
    /// What echoes, if the server is but a proxy.
    target: Option<Target>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// What is sent; its first bytes change with every message.
    message: Vec<u8>,
    /// How much of it is back.
    received: usize,
    sent_at: Instant,
    sequence: u64,
}

impl PingPong {
    pub fn open(
        server: SocketAddr,
        connections: usize,
        size: usize,
        idle: usize,
        spin: bool,
    ) -> io::Result<PingPong> {
        let mut streams = connect_many(server, connections + idle)?;
        let idle = streams.split_off(connections);
        PingPong::over(streams, size, idle, Poller::new(spin)?, None)
    }

    /// Through a proxy.
    pub fn through(
        proxy: SocketAddr,
        target: TcpListener,
        connections: usize,
        size: usize,
        spin: bool,
    ) -> io::Result<PingPong> {
        let poller = Poller::new(spin)?;
        let target = Target::new(target, &poller)?;
        let streams = (0..connections).map(|number| connect(proxy, number));
        let streams = streams.collect::<io::Result<Vec<_>>>()?;
        PingPong::over(streams, size, Vec::new(), poller, Some(target))
    }

    fn over(
        streams: Vec<std::net::TcpStream>,
        size: usize,
        idle: Vec<std::net::TcpStream>,
        poller: Poller,
        target: Option<Target>,
    ) -> io::Result<PingPong> {
        let connections = streams.len();
        let mut opened = Vec::with_capacity(connections);
        for (number, stream) in streams.into_iter().enumerate() {
            let mut stream = unblocked(stream)?;
            poller.register(&mut stream, number, Interest::READABLE)?;
            opened.push(Connection {
                stream,
                message: (0..size).map(|at| (at * 7 + number) as u8).collect(),
                received: 0,
                sent_at: Instant::now(),
                sequence: 0,
            });
        }
        Ok(PingPong {
            poller,
            connections: opened,
            _idle: idle,
            target,
            // One byte more than a message, so that a whole message is a short read.
            buffer: vec![0; size + 1],
        })
    }
}

impl Load for PingPong {
    fn round(&mut self, operations: u64, latencies: &mut Latencies) -> io::Result<u64> {
        let mut to_send = operations;
        let mut under_way = 0_u64;
        for connection in &mut self.connections {
            if to_send > 0 {
                connection.send()?;
                to_send -= 1;
                under_way += 1;
            }
        }
        while under_way > 0 {
            for event in self.poller.wait()? {
                if let Some(target) = self.target.as_mut()
                    && Target::owns(event)
                {
                    target.echo(event, &mut self.buffer)?;
                    continue;
                }
                let connection = &mut self.connections[event.token().0];
                if !connection.receive(&mut self.buffer)? {
                    continue;
                }
                latencies.add(connection.sent_at.elapsed());
                if to_send > 0 {
                    connection.send()?;
                    to_send -= 1;
                } else {
                    under_way -= 1;
                }
            }
        }
        Ok(operations)
    }

    fn unit(&self) -> u64 {
        self.connections.len() as u64
    }
}

impl Connection {
    fn send(&mut self) -> io::Result<()> {
        self.sequence += 1;
        let sequence = self.sequence.to_le_bytes();
        let changed = sequence.len().min(self.message.len());
        self.message[..changed].copy_from_slice(&sequence[..changed]);
        self.received = 0;
        self.sent_at = Instant::now();
        match write_some(&mut self.stream, &self.message)? == self.message.len() {
            true => Ok(()),
            false => Err(wrong("does not read")),
        }
    }

    /// Takes what has come: whether the message is back.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            let Some(size) = read_some(&mut self.stream, buffer)? else {
                return Ok(false);
            };
            if size == 0 {
                return Err(wrong("ended a connection"));
            }
            let expected = self.message.get(self.received..self.received + size);
            if expected != Some(&buffer[..size]) {
                return Err(wrong("sent other bytes than it got"));
            }
            self.received += size;
            if self.received == self.message.len() {
                return Ok(true);
            }
            if size < buffer.len() {
                return Ok(false);
            }
        }
    }
}
