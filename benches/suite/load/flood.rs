//! Datagrams in one direction, as fast as they can be sent; the server counts them.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};

use socket2::SockRef;

use super::datagrams::LOST_AFTER;
use super::{Load, wrong};
use crate::peers::datagrams::{QUESTION, UDP_BUFFER};
use crate::peers::datagrams_gathering::send_train;
use crate::statistics::Latencies;

/// Calls of a flood at least.
const CALLS: u64 = 16;

/// Times that a sink is asked for its count before it is given up: the question may be lost behind a
/// flood.
const ATTEMPTS: usize = 100;

/// A socket that has room for much, connected to a server.
pub fn socket(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    SockRef::from(&socket).set_recv_buffer_size(UDP_BUFFER)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(LOST_AFTER))?;
    Ok(socket)
}

pub struct Flood {
    socket: UdpSocket,
    size: usize,
    /// Datagrams that leave with one call.
    messages: Vec<u8>,
    /// What the server has counted.
    counted: u64,
    lost: u64,
}

impl Flood {
    pub fn open(server: SocketAddr, size: usize, run: usize) -> io::Result<Flood> {
        Ok(Flood {
            socket: socket(server)?,
            size,
            messages: vec![b'f'; size * run],
            counted: 0,
            lost: 0,
        })
    }

    fn run(&self) -> u64 {
        (self.messages.len() / self.size) as u64
    }

    /// Asks how many have come. Every question is waited for, so that no answer is left to be taken
    /// for that of the next.
    fn ask(&self) -> io::Result<u64> {
        let mut answers = Vec::new();
        for asked in 1..=ATTEMPTS {
            self.socket.send(&[b'?'; QUESTION])?;
            while answers.len() < asked {
                let mut count = [0; 8];
                match self.socket.recv(&mut count) {
                    Ok(8) => answers.push(u64::from_le_bytes(count)),
                    Ok(_) => return Err(wrong("answered something else than a count")),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            if let Some(&count) = answers.iter().max() {
                return Ok(count);
            }
        }
        Err(wrong("answers no more"))
    }
}

impl Load for Flood {
    fn round(&mut self, operations: u64, _: &mut Latencies) -> io::Result<u64> {
        let calls = operations.div_ceil(self.run());
        for _ in 0..calls {
            match self.run() {
                1 => drop(self.socket.send(&self.messages)?),
                _ => {
                    let parts = [IoSlice::new(&self.messages)];
                    send_train(&self.socket, &parts, self.size as u16, None)?;
                }
            }
        }
        let count = self.ask()?;
        let done = count.checked_sub(self.counted);
        let done = done.ok_or_else(|| wrong("counts backwards"))?;
        self.counted = count;
        let lost = (calls * self.run()).checked_sub(done);
        self.lost += lost.ok_or_else(|| wrong("has counted more than was sent"))?;
        Ok(done)
    }

    fn check(&mut self, latencies: &mut Latencies) -> io::Result<()> {
        self.round(self.unit(), latencies)?;
        match self.lost {
            0 => Ok(()),
            _ => Err(wrong("has lost some of the few that there were")),
        }
    }

    fn lost(&self) -> u64 {
        self.lost
    }

    fn unit(&self) -> u64 {
        self.run() * CALLS
    }
}
