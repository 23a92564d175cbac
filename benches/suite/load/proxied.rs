//! Blocks of 64 KiB through a proxy to a target. An operation is a MiB.
//!
//! Every round has connections of its own. A client ends when it has sent everything; the target ends
//! when it has seen that end behind all bytes, and the client waits for the target's.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};

use mio::Interest;
use mio::net::TcpStream;

use super::bulk::MIB;
use super::target::Target;
use super::{Load, Poller, connect, read_some, unblocked, write_some, wrong};
use crate::peers::BLOCK;
use crate::statistics::Latencies;

/// Reads or writes of one connection before others have their turn.
const BUDGET: usize = 4;

pub struct ProxyBulk {
    proxy: SocketAddr,
    connections: usize,
    poller: Poller,
    target: Target,
    block: Vec<u8>,
    buffer: Vec<u8>,
    /// Whether every byte is compared: in the check, since it costs as much as receiving it.
    compares: bool,
}

/// A client.
struct Flow {
    stream: TcpStream,
    to_send: u64,
    writable: bool,
    /// Whether the proxy has ended.
    over: bool,
}

impl ProxyBulk {
    pub fn open(
        proxy: SocketAddr,
        target: TcpListener,
        connections: usize,
        spin: bool,
    ) -> io::Result<ProxyBulk> {
        let poller = Poller::new(spin)?;
        Ok(ProxyBulk {
            proxy,
            connections,
            target: Target::new(target, &poller)?,
            poller,
            // No two places of a block look alike.
            block: (0..BLOCK).map(|at| (at % 251) as u8).collect(),
            buffer: vec![0; BLOCK],
            compares: false,
        })
    }

    fn begin(&self, number: usize, bytes: u64) -> io::Result<Flow> {
        let mut stream = unblocked(connect(self.proxy, number)?)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poller.register(&mut stream, number, interest)?;
        Ok(Flow {
            stream,
            to_send: bytes,
            writable: false,
            over: false,
        })
    }

    /// Sends: whether there is more to do at once.
    fn send(&self, flow: &mut Flow, bytes: u64) -> io::Result<bool> {
        for _ in 0..BUDGET {
            if !flow.writable || flow.to_send == 0 {
                return Ok(false);
            }
            let at = ((bytes - flow.to_send) % BLOCK as u64) as usize;
            let wanted = flow.to_send.min((BLOCK - at) as u64) as usize;
            let sent = write_some(&mut flow.stream, &self.block[at..at + wanted])?;
            flow.writable = sent == wanted;
            flow.to_send -= sent as u64;
            if flow.to_send == 0 {
                flow.stream.shutdown(Shutdown::Write)?;
            }
        }
        Ok(true)
    }

    /// Receives behind the proxy: whether there is more to do at once.
    fn receive(&mut self, key: usize, bytes: u64) -> io::Result<bool> {
        for _ in 0..BUDGET {
            let incoming = &mut self.target.connections[key];
            if !incoming.readable {
                return Ok(false);
            }
            let Some(size) = read_some(&mut incoming.stream, &mut self.buffer)? else {
                incoming.readable = false;
                return Ok(false);
            };
            if size == 0 {
                if incoming.received != bytes {
                    return Err(wrong("has lost bytes"));
                }
                self.target.connections.remove(key);
                return Ok(false);
            }
            let at = (incoming.received % BLOCK as u64) as usize;
            incoming.received += size as u64;
            let looked_at = if self.compares { size } else { 1 };
            let expected = self.block[at..].iter().chain(&self.block);
            if !self.buffer[..looked_at].iter().eq(expected.take(looked_at)) {
                return Err(wrong("passed on other bytes than it got"));
            }
        }
        Ok(true)
    }
}

impl Load for ProxyBulk {
    fn round(&mut self, operations: u64, _: &mut Latencies) -> io::Result<u64> {
        let bytes = operations.div_ceil(self.connections as u64) * MIB;
        let flows = (0..self.connections).map(|number| self.begin(number, bytes));
        let mut flows = flows.collect::<io::Result<Vec<Flow>>>()?;
        let mut busy = false;
        while flows.iter().any(|flow| !flow.over) {
            let events = match busy {
                true => self.poller.look()?,
                false => self.poller.wait()?,
            };
            for event in events {
                if Target::owns(event) {
                    self.target.mark(event)?;
                    continue;
                }
                let flow = &mut flows[event.token().0];
                flow.writable |= event.is_writable();
                if event.is_read_closed()
                    && read_some(&mut flow.stream, &mut self.buffer)? == Some(0)
                {
                    flow.over = true;
                }
            }
            busy = false;
            for flow in &mut flows {
                if flow.over && flow.to_send > 0 {
                    return Err(wrong("ended before it had everything"));
                }
                busy |= self.send(flow, bytes)?;
            }
            for key in 0..self.connections {
                if self.target.connections.contains(key) {
                    busy |= self.receive(key, bytes)?;
                }
            }
        }
        match self.target.connections.is_empty() {
            true => Ok(bytes / MIB * self.connections as u64),
            false => Err(wrong("ended before the target did")),
        }
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
