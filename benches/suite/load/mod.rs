//! The load generator, by hand on mio: what clients do to the servers.
//!
//! Every byte that comes back is compared with what was expected where that costs next to nothing,
//! and in a check before the timing where it would cost as much as the work.

mod broadcast;
mod bulk;
mod churn;
mod datagrams;
pub mod files;
mod ping_pong;
pub mod process;
mod proxied;
mod target;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use self::bulk::{Bulk, Direction};
use self::datagrams::Datagrams;
use self::files::Files;
use self::ping_pong::PingPong;
use self::proxied::ProxyBulk;
use crate::server::PATIENCE;
use crate::statistics::Latencies;

/// What clients do, and how many.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Each connection sends a message, waits until it is back, and sends the next.
    PingPong {
        connections: usize,
        size: usize,
        /// Connections beside these that do nothing.
        idle: usize,
        /// Whether the clients look for answers without ever blocking.
        spin: bool,
    },
    /// Connect, one byte there and back, reset.
    Churn,
    /// Connect, and see the server close.
    AcceptClose,
    /// One says something, everyone hears it; then the next. An operation is one who hears it.
    Broadcast { receivers: usize, size: usize },
    /// Blocks to the server. An operation is a MiB.
    Sink { connections: usize },
    /// Blocks from the server.
    Source { connections: usize },
    /// Blocks there and back.
    BulkEcho { connections: usize },
    /// A file of so many MiB for each connection, and the next when it is there. An operation is a MiB.
    Files { connections: usize, mib: usize },
    /// Blocks through a proxy to a target that this load is too. An operation is a MiB.
    ProxyBulk { connections: usize },
    /// Messages through a proxy to a target that this load is too, and back.
    ProxyPingPong { connections: usize, size: usize },
    /// Datagrams there and back, so many under way.
    Datagrams { in_flight: usize, size: usize },
}

/// An open load on one server.
pub trait Load {
    /// Does so many operations, and returns when the last is over: how many it were.
    fn round(&mut self, operations: u64, latencies: &mut Latencies) -> io::Result<u64>;

    /// Checks more thoroughly than a round can that the server does what it should.
    fn check(&mut self, latencies: &mut Latencies) -> io::Result<()> {
        self.round(self.unit() * 4, latencies).map(drop)
    }

    /// How many operations it does at once: a round is a multiple of it.
    fn unit(&self) -> u64;
}

impl Kind {
    /// Connects to a server. `target` is where a proxy leads to.
    pub fn open(
        self,
        server: SocketAddr,
        target: Option<TcpListener>,
    ) -> io::Result<Box<dyn Load>> {
        let target = || target.ok_or_else(|| io::Error::other("no target for the proxy"));
        Ok(match self {
            Kind::PingPong {
                connections,
                size,
                idle,
                spin,
            } => Box::new(PingPong::open(server, connections, size, idle, spin)?),
            Kind::Churn => Box::new(churn::Churn::open(server, churn::Ending::Reset)?),
            Kind::AcceptClose => Box::new(churn::Churn::open(server, churn::Ending::Server)?),
            Kind::Broadcast { receivers, size } => {
                Box::new(broadcast::Broadcast::open(server, receivers, size)?)
            }
            Kind::Sink { connections } => Box::new(Bulk::new(server, connections, Direction::In)),
            Kind::Source { connections } => {
                Box::new(Bulk::new(server, connections, Direction::Out))
            }
            Kind::BulkEcho { connections } => {
                Box::new(Bulk::new(server, connections, Direction::Both))
            }
            Kind::Files { connections, mib } => Box::new(Files::open(server, connections, mib)?),
            Kind::ProxyBulk { connections } => {
                Box::new(ProxyBulk::open(server, target()?, connections)?)
            }
            Kind::ProxyPingPong { connections, size } => {
                Box::new(PingPong::through(server, target()?, connections, size)?)
            }
            Kind::Datagrams { in_flight, size } => {
                Box::new(Datagrams::open(server, in_flight, size)?)
            }
        })
    }

    /// As the arguments of a load generator.
    pub fn words(self) -> Vec<String> {
        let words = match self {
            Kind::PingPong {
                connections,
                size,
                idle,
                spin,
            } => format!("ping-pong {connections} {size} {idle} {}", u8::from(spin)),
            Kind::Churn => "churn".to_string(),
            Kind::AcceptClose => "accept-close".to_string(),
            Kind::Broadcast { receivers, size } => format!("broadcast {receivers} {size}"),
            Kind::Sink { connections } => format!("sink {connections}"),
            Kind::Source { connections } => format!("source {connections}"),
            Kind::BulkEcho { connections } => format!("bulk-echo {connections}"),
            Kind::Files { connections, mib } => format!("files {connections} {mib}"),
            Kind::ProxyBulk { connections } => format!("proxy-bulk {connections}"),
            Kind::ProxyPingPong { connections, size } => {
                format!("proxy-ping-pong {connections} {size}")
            }
            Kind::Datagrams { in_flight, size } => format!("datagrams {in_flight} {size}"),
        };
        words.split(' ').map(str::to_string).collect()
    }

    pub fn from_words(words: &[String]) -> Option<Kind> {
        let number = |at: usize| words.get(at)?.parse::<usize>().ok();
        Some(match words.first()?.as_str() {
            "ping-pong" => Kind::PingPong {
                connections: number(1)?,
                size: number(2)?,
                idle: number(3)?,
                spin: number(4)? == 1,
            },
            "churn" => Kind::Churn,
            "accept-close" => Kind::AcceptClose,
            "broadcast" => Kind::Broadcast {
                receivers: number(1)?,
                size: number(2)?,
            },
            "sink" => Kind::Sink {
                connections: number(1)?,
            },
            "source" => Kind::Source {
                connections: number(1)?,
            },
            "bulk-echo" => Kind::BulkEcho {
                connections: number(1)?,
            },
            "files" => Kind::Files {
                connections: number(1)?,
                mib: number(2)?,
            },
            "proxy-bulk" => Kind::ProxyBulk {
                connections: number(1)?,
            },
            "proxy-ping-pong" => Kind::ProxyPingPong {
                connections: number(1)?,
                size: number(2)?,
            },
            "datagrams" => Kind::Datagrams {
                in_flight: number(1)?,
                size: number(2)?,
            },
            _ => return None,
        })
    }

    /// Whether there is something behind the server that this load is too.
    pub fn has_target(self) -> bool {
        matches!(self, Kind::ProxyBulk { .. } | Kind::ProxyPingPong { .. })
    }

    /// How many connections there are at a time.
    pub fn connections(self) -> usize {
        match self {
            Kind::PingPong {
                connections, idle, ..
            } => connections + idle,
            Kind::Broadcast { receivers, .. } => receivers,
            Kind::Churn | Kind::AcceptClose => churn::AT_ONCE,
            Kind::Datagrams { .. } => 1,
            Kind::Sink { connections }
            | Kind::Source { connections }
            | Kind::BulkEcho { connections }
            | Kind::Files { connections, .. }
            | Kind::ProxyBulk { connections }
            | Kind::ProxyPingPong { connections, .. } => connections,
        }
    }

    /// The same with as many connections as `affordable` says for as many.
    pub fn scaled(mut self, affordable: impl Fn(usize) -> usize) -> Kind {
        match &mut self {
            Kind::PingPong {
                connections, idle, ..
            } => {
                *connections = affordable(*connections);
                *idle = affordable(*idle + *connections) - *connections;
            }
            Kind::Broadcast { receivers, .. } => *receivers = affordable(*receivers),
            _ => {}
        }
        self
    }

    /// The same with files of so many MiB at most.
    pub fn with_files_of(mut self, most: usize) -> Kind {
        if let Kind::Files { mib, .. } = &mut self {
            *mib = most.min(*mib);
        }
        self
    }
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
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(&self.events),
        }
    }

    /// Waits for events, and fails if none come for long.
    fn wait(&mut self) -> io::Result<&Events> {
        let begin = self.spin.then(Instant::now);
        loop {
            let timeout = if self.spin { Duration::ZERO } else { PATIENCE };
            match self.poll.poll(&mut self.events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            if !self.events.is_empty() {
                return Ok(&self.events);
            }
            if begin.is_none_or(|begin| begin.elapsed() > PATIENCE) {
                return Err(io::Error::other("the server answers no more"));
            }
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
