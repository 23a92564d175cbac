//! The load generator, by hand on mio: what clients do to the servers.
//!
//! Every byte that comes back is compared with what was expected where that costs next to nothing,
//! and in a check before the timing where it would cost as much as the work.
//!
//! With a core of its own it never sleeps: clients elsewhere need not be woken by the server, and what
//! waking takes depends on how deep the core sleeps.

mod batch;
mod broadcast;
mod bulk;
mod bursts;
mod churn;
mod datagrams;
pub mod files;
mod flood;
mod kind;
mod ping_pong;
pub mod process;
mod proxied;
mod target;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

pub use self::kind::Kind;
use crate::server::PATIENCE;
use crate::statistics::Latencies;

/// An open load on one server.
pub trait Load {
    /// Does so many operations, and returns when the last is over: how many it were.
    fn round(&mut self, operations: u64, latencies: &mut Latencies) -> io::Result<u64>;

    /// Checks more thoroughly than a round can that the server does what it should.
    fn check(&mut self, latencies: &mut Latencies) -> io::Result<()> {
        self.round(self.unit() * 4, latencies).map(drop)
    }

    /// How many operations were lost since it was opened.
    fn lost(&self) -> u64 {
        0
    }

    /// How many operations it does at once: a round is a multiple of it.
    fn unit(&self) -> u64;
}

/// Connections in a row before one of them proves that all were accepted: less than any backlog.
const BATCH: usize = 100;

/// Sources that connections are spread over, so that there are ports enough.
const SOURCES: usize = 50;

/// A connection to `server`, made by waiting for it.
fn connect(server: SocketAddr, number: usize) -> io::Result<std::net::TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    let source = Ipv4Addr::new(127, 0, 0, 1 + (number % SOURCES) as u8);
    if server.ip().is_loopback() && server.is_ipv4() && number >= BATCH {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect_timeout(&server.into(), PATIENCE)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

/// Opens so many connections to a server that echoes, and has it echo on each batch's last: then it
/// has accepted all.
pub fn connect_many(server: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    for number in 0..count {
        let mut stream = connect(server, number)?;
        if (number + 1) % BATCH == 0 || number + 1 == count {
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut message = [b'?'; 64];
            stream.write_all(&message)?;
            stream.read_exact(&mut message)?;
        }
        streams.push(stream);
    }
    Ok(streams)
}

/// Opens so many connections, with an echo on each.
pub fn connect_and_echo(server: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpStream>> {
    let mut streams = connect_many(server, count)?;
    for stream in &mut streams {
        stream.set_read_timeout(Some(PATIENCE))?;
        let message = [b'!'; 64];
        let mut answer = [0; 64];
        stream.write_all(&message)?;
        stream.read_exact(&mut answer)?;
        if message != answer {
            return Err(wrong("sent other bytes than it got"));
        }
    }
    Ok(streams)
}

/// Hands a connected stream to mio.
fn unblocked(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// A poll with a limit to its patience.
struct Poller {
    poll: Poll,
    events: Events,
    /// Whether it looks for events without ever blocking.
    spin: bool,
}

impl Poller {
    fn new(spin: bool) -> io::Result<Poller> {
        Ok(Poller {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            spin,
        })
    }

    fn register(
        &self,
        stream: &mut TcpStream,
        number: usize,
        interest: Interest,
    ) -> io::Result<()> {
        self.poll
            .registry()
            .register(stream, Token(number), interest)
    }

    /// The events that are there, if any.
    fn look(&mut self) -> io::Result<&Events> {
        self.poll(Duration::ZERO)?;
        Ok(&self.events)
    }

    /// Waits for events for so long: none if none come.
    fn wait_for(&mut self, time: Duration) -> io::Result<&Events> {
        if self.spin {
            let begin = Instant::now();
            self.poll(Duration::ZERO)?;
            while self.events.is_empty() && begin.elapsed() < time {
                self.poll(Duration::ZERO)?;
            }
        } else {
            self.poll(time)?;
        }
        Ok(&self.events)
    }

    /// Waits for events, and fails if none come for long.
    fn wait(&mut self) -> io::Result<&Events> {
        match self.wait_for(PATIENCE)?.is_empty() {
            true => Err(io::Error::other("the server answers no more")),
            false => Ok(&self.events),
        }
    }

    fn poll(&mut self, timeout: Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.poll(timeout),
            other => other,
        }
    }
}

/// What a read that may block gives: None if it would.
fn read_some(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match stream.read(buffer) {
            Ok(size) => return Ok(Some(size)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What a write that may block takes: nothing if it would.
fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match stream.write(bytes) {
            Ok(size) => return Ok(size),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::other(format!("the server {what}"))
}
