//! Blocks of 64 KiB in one direction, or both. An operation is a MiB.
//!
//! Every round has connections of its own and ends when all that was sent is known to have arrived:
//! by the bytes, and by the end that the server answers ours with.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::Interest;
use mio::net::TcpStream;
use socket2::SockRef;

use super::{Load, Poller, connect, read_some, unblocked, write_some, wrong};
use crate::peers::BLOCK;
use crate::statistics::Latencies;

pub const MIB: u64 = 1024 * 1024;

/// Reads or writes of one connection before others have their turn.
const BUDGET: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the server.
    In,
    /// From the server.
    Out,
    /// There and back.
    Both,
}

pub struct Bulk {
    server: SocketAddr,
    connections: usize,
    direction: Direction,
    spin: bool,
    block: Vec<u8>,
    buffer: Vec<u8>,
    /// Whether every byte is compared: in the check, since it costs as much as receiving it.
    compares: bool,
}

struct Flow {
    stream: TcpStream,
    to_send: u64,
    to_receive: u64,
    /// Whether the server has ended, or we are done with it.
    over: bool,
    readable: bool,
    writable: bool,
}

impl Bulk {
    pub fn new(server: SocketAddr, connections: usize, direction: Direction, spin: bool) -> Bulk {
        let block = match direction {
            // What a source is made of.
            Direction::Out => vec![b'x'; BLOCK],
            // No two places of a block look alike.
            _ => (0..BLOCK).map(|at| (at % 251) as u8).collect(),
        };
        Bulk {
            server,
            connections,
            direction,
            spin,
            block,
            buffer: vec![0; BLOCK],
            compares: false,
        }
    }

    fn begin(&self, poller: &Poller, number: usize, bytes: u64) -> io::Result<Flow> {
        let stream = connect(self.server, number)?;
        let mut stream = unblocked(stream)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poller.register(&mut stream, number, interest)?;
        let (to_send, to_receive) = match self.direction {
            Direction::In => (bytes, 0),
            Direction::Out => (0, bytes),
            Direction::Both => (bytes, bytes),
        };
        Ok(Flow {
            stream,
            to_send,
            to_receive,
            over: false,
            readable: false,
            writable: false,
        })
    }

    /// Sends and receives: whether there is more to do at once.
    fn advance(&mut self, flow: &mut Flow, bytes: u64) -> io::Result<bool> {
        for _ in 0..BUDGET {
            let mut moved = false;
            if flow.writable && flow.to_send > 0 {
                moved |= self.send(flow, bytes)?;
            }
            if flow.readable && !flow.over {
                moved |= self.receive(flow, bytes)?;
            }
            if !moved || flow.over {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn send(&self, flow: &mut Flow, bytes: u64) -> io::Result<bool> {
        let at = ((bytes - flow.to_send) % BLOCK as u64) as usize;
        let wanted = flow.to_send.min((BLOCK - at) as u64) as usize;
        let sent = write_some(&mut flow.stream, &self.block[at..at + wanted])?;
        flow.writable = sent == wanted;
        flow.to_send -= sent as u64;
        if flow.to_send == 0 {
            // It pushes out what else would wait for an acknowledgement.

            flow.stream.shutdown(Shutdown::Write)?;
        }
        Ok(sent > 0)
    }

    fn receive(&mut self, flow: &mut Flow, bytes: u64) -> io::Result<bool> {
        let Some(size) = read_some(&mut flow.stream, &mut self.buffer)? else {
            flow.readable = false;
            return Ok(false);
        };
        if size == 0 {
            flow.over = true;
            return match flow.to_send + flow.to_receive {
                0 => Ok(false),
                _ => Err(wrong("ended before it had everything")),
            };
        }
        if self.direction == Direction::In {
            return Err(wrong("answers, and should not"));
        }
        if self.compares {
            let at = ((bytes - flow.to_receive) % BLOCK as u64) as usize;
            let expected = self.block[at..].iter().chain(&self.block);
            if !self.buffer[..size].iter().eq(expected.take(size)) {
                return Err(wrong("sent other bytes than it should"));
            }
        }
        if self.direction == Direction::Both && size as u64 > flow.to_receive {
            return Err(wrong("sent more than it got"));
        }
        flow.to_receive = flow.to_receive.saturating_sub(size as u64);
        if flow.to_receive == 0 && self.direction == Direction::Out {
            // It would send for ever.
            flow.over = true;
            SockRef::from(&flow.stream).set_linger(Some(Duration::ZERO))?;
        }
        Ok(true)
    }
}

impl Load for Bulk {
    fn round(&mut self, operations: u64, _: &mut Latencies) -> io::Result<u64> {
        let bytes = operations.div_ceil(self.connections as u64) * MIB;
        let mut poller = Poller::new(self.spin)?;
        let mut flows = Vec::with_capacity(self.connections);
        for number in 0..self.connections {
            flows.push(self.begin(&poller, number, bytes)?);
        }
        let mut busy = false;
        while flows.iter().any(|flow| !flow.over) {
            let events = match busy {
                true => poller.look()?,
                false => poller.wait()?,
            };
            for event in events {
                let flow = &mut flows[event.token().0];
                flow.readable |= event.is_readable() || event.is_read_closed();
                flow.writable |= event.is_writable();
            }
            busy = false;
            for flow in flows.iter_mut().filter(|flow| !flow.over) {
                busy |= self.advance(flow, bytes)?;
            }
        }
        Ok(bytes / MIB * self.connections as u64)
    }

    fn check(&mut self, latencies: &mut Latencies) -> io::Result<()> {
        self.compares = true;
        let checked = self.round(self.unit() * 8, latencies);
        self.compares = false;
        checked.map(drop)
    }

    fn unit(&self) -> u64 {
        self.connections as u64
    }
}
