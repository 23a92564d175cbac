//! Datagrams there and back, several under way.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::UdpSocket;
use mio::{Interest, Token};
use socket2::SockRef;

use super::{Load, Poller, wrong};
use crate::peers::datagrams::UDP_BUFFER;
use crate::statistics::Latencies;

pub struct Datagrams {
    poller: Poller,
    socket: UdpSocket,
    in_flight: usize,
    message: Vec<u8>,
    buffer: Vec<u8>,
    /// When each of those in flight was sent, by its number's remainder.
    sent_at: Vec<Instant>,
    sent: u64,
    back: u64,
}

impl Datagrams {
    pub fn open(server: SocketAddr, in_flight: usize, size: usize) -> io::Result<Datagrams> {
        let poller = Poller::new(false)?;
        let mut socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        SockRef::from(&socket).set_recv_buffer_size(UDP_BUFFER)?;
        socket.connect(server)?;
        poller
            .poll
            .registry()
            .register(&mut socket, Token(0), Interest::READABLE)?;
        Ok(Datagrams {
            poller,
            socket,
            in_flight,
            message: (0..size).map(|at| at as u8).collect(),
            buffer: vec![0; size + 1],
            sent_at: vec![Instant::now(); in_flight],
            sent: 0,
            back: 0,
        })
    }

    fn send(&mut self) -> io::Result<()> {
        let number = self.sent.to_le_bytes();
        self.message[..8].copy_from_slice(&number);
        let slot = (self.sent % self.in_flight as u64) as usize;
        self.sent_at[slot] = Instant::now();
        self.sent += 1;
        self.socket.send(&self.message).map(drop)
    }

    /// Takes one that is back, the one that was sent first of those under way: whether there was one.
    fn receive(&mut self, latencies: &mut Latencies) -> io::Result<bool> {
        let size = match self.socket.recv(&mut self.buffer) {
            Ok(size) => size,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        let number = self.back.to_le_bytes();
        if size != self.message.len()
            || self.buffer[..8] != number
            || self.buffer[8..size] != self.message[8..]
        {
            return Err(wrong("sent another datagram than was due"));
        }
        let slot = (self.back % self.in_flight as u64) as usize;
        latencies.add(self.sent_at[slot].elapsed());
        self.back += 1;
        Ok(true)
    }
}

impl Load for Datagrams {
    fn round(&mut self, operations: u64, latencies: &mut Latencies) -> io::Result<u64> {
        let last = self.sent + operations;
        for _ in 0..operations.min(self.in_flight as u64) {
            self.send()?;
        }
        while self.back < last {
            self.poller.wait()?;
            while self.receive(latencies)? {
                if self.sent < last {
                    self.send()?;
                }
            }
        }
        Ok(operations)
    }

    fn unit(&self) -> u64 {
        self.in_flight as u64
    }
}
