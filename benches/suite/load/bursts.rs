//! Datagrams that the server sends, many for each request, to one peer.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::{Load, flood, wrong};
use crate::peers::datagrams::BURST;
use crate::statistics::Latencies;

pub struct Bursts {
    socket: UdpSocket,
    /// What each datagram of a burst is to be.
    expected: Vec<u8>,
    buffer: Vec<u8>,
    lost: u64,
}

impl Bursts {
    pub fn open(server: SocketAddr, size: usize) -> io::Result<Bursts> {
        Ok(Bursts {
            socket: flood::socket(server)?,
            expected: vec![b'b'; size],
            buffer: vec![0; size + 1],
            lost: 0,
        })
    }
}

impl Load for Bursts {
    /// The server has sent all; what is lost is lost behind it.
    fn round(&mut self, operations: u64, _: &mut Latencies) -> io::Result<u64> {
        let bursts = operations.div_ceil(BURST as u64);
        let request = (self.expected.len() as u16).to_le_bytes();
        let mut came = 0;
        for _ in 0..bursts {
            self.socket.send(&request)?;
            for _ in 0..BURST {
                let size = match self.socket.recv(&mut self.buffer) {
                    Ok(size) => size,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                };
                if self.buffer[..size] != self.expected {
                    return Err(wrong("sent another datagram than was due"));
                }
                came += 1;
            }
        }
        if came == 0 {
            return Err(wrong("answers no more"));
        }
        let sent = bursts * BURST as u64;
        self.lost += sent.saturating_sub(came);
        Ok(sent)
    }

    fn lost(&self) -> u64 {
        self.lost
    }

    fn unit(&self) -> u64 {
        BURST as u64
    }
}
