//! Datagrams that the server sends, many for each request, to one peer.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use nix::sys::socket::{setsockopt, sockopt};

use super::{Load, flood, wrong};
use crate::peers::datagrams::BURST;
use crate::statistics::Latencies;

/// Bytes of the longest train, which the system cuts no longer.
const TRAIN: usize = 65_535;

pub struct Bursts {
    socket: UdpSocket,
    /// What each datagram of a burst is to be.
    expected: Vec<u8>,
    /// Room for one datagram, or for a train of them; and for one byte more.
    buffer: Vec<u8>,
    lost: u64,
}

impl Bursts {
    pub fn open(server: SocketAddr, size: usize, offload: bool) -> io::Result<Bursts> {
        let socket = flood::socket(server)?;
        if offload {
            setsockopt(&socket, sockopt::UdpGroSegment, &true)?;
        }
        let room = if offload { TRAIN } else { size };
        Ok(Bursts {
            socket,
            expected: vec![b'b'; size],
            buffer: vec![0; room + 1],
            lost: 0,
        })
    }

    /// Receives one datagram, or a train. Returns how many they are; none if nothing comes any more.
    fn receive(&mut self) -> io::Result<u64> {
        let size = match self.socket.recv(&mut self.buffer) {
            Ok(size) => size,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        let datagrams = self.buffer[..size].chunks(self.expected.len());
        let came = datagrams.len() as u64;
        match size > 0 && datagrams.into_iter().all(|it| it == self.expected) {
            true => Ok(came),
            false => Err(wrong("sent another datagram than was due")),
        }
    }
}

impl Load for Bursts {
    /// What is lost is lost behind the server, and does not count as done.
    fn round(&mut self, operations: u64, _: &mut Latencies) -> io::Result<u64> {
        let bursts = operations.div_ceil(BURST as u64);
        let request = (self.expected.len() as u16).to_le_bytes();
        let mut came = 0;
        for _ in 0..bursts {
            self.socket.send(&request)?;
            let mut left = BURST as u64;
            while left > 0 {
                let some = self.receive()?;
                if some == 0 {
                    break;
                }
                // Late ones of the last burst may be among them.
                left = left.saturating_sub(some);
                came += some;
            }
        }
        if came == 0 {
            return Err(wrong("answers no more"));
        }
        let sent = bursts * BURST as u64;
        self.lost += sent.saturating_sub(came);
        Ok(came)
    }

    fn lost(&self) -> u64 {
        self.lost
    }

    fn unit(&self) -> u64 {
        BURST as u64
    }
}
