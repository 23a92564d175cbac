//! What clients do, as a value and as the arguments of a process.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::Load;
use super::broadcast::Broadcast;
use super::bulk::{Bulk, Direction};
use super::bursts::Bursts;
use super::churn::{self, Churn, Ending};
use super::datagrams::Datagrams;
use super::files::Files;
use super::flood::Flood;
use super::ping_pong::PingPong;
use super::proxied::ProxyBulk;

/// What clients do, and how many.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Each connection sends a message, waits until it is back, and sends the next.
    PingPong {
        connections: usize,
        size: usize,
        /// Connections beside these that do nothing.
        idle: usize,
        /// Whether the clients block while they wait, even where they have a core of their own.
        blocks: bool,
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
    /// Datagrams there and back, so many under way, each sent by itself.
    Datagrams { in_flight: usize, size: usize },
    /// The same, sent as one run with one call, the next when all are back.
    DatagramRuns { in_flight: usize, size: usize },
    /// Datagrams that are counted, so many with each call.
    Flood { size: usize, run: usize },
    /// Datagrams that the server sends, many for each request. `offload` has the client receive trains of
    /// them (UDP_GRO).
    Bursts { size: usize, offload: bool },
}

impl Kind {
    /// Connects to a server. `spin` has it never sleep; `target` is where a proxy leads to.
    pub fn open(
        self,
        server: SocketAddr,
        spin: bool,
        target: Option<TcpListener>,
    ) -> io::Result<Box<dyn Load>> {
        let target = || target.ok_or_else(|| io::Error::other("no target for the proxy"));
        Ok(match self {
            Kind::PingPong {
                connections,
                size,
                idle,
                blocks,
            } => {
                let spin = spin && !blocks;
                Box::new(PingPong::open(server, connections, size, idle, spin)?)
            }
            Kind::Churn => Box::new(Churn::open(server, Ending::Reset, spin)?),
            Kind::AcceptClose => Box::new(Churn::open(server, Ending::Server, spin)?),
            Kind::Broadcast { receivers, size } => {
                Box::new(Broadcast::open(server, receivers, size, spin)?)
            }
            Kind::Sink { connections } => {
                Box::new(Bulk::new(server, connections, Direction::In, spin))
            }
            Kind::Source { connections } => {
                Box::new(Bulk::new(server, connections, Direction::Out, spin))
            }
            Kind::BulkEcho { connections } => {
                Box::new(Bulk::new(server, connections, Direction::Both, spin))
            }
            Kind::Files { connections, mib } => {
                Box::new(Files::open(server, connections, mib, spin)?)
            }
            Kind::ProxyBulk { connections } => {
                Box::new(ProxyBulk::open(server, target()?, connections, spin)?)
            }
            Kind::ProxyPingPong { connections, size } => Box::new(PingPong::through(
                server,
                target()?,
                connections,
                size,
                spin,
            )?),
            Kind::Datagrams { in_flight, size } => {
                Box::new(Datagrams::open(server, in_flight, size, false)?)
            }
            Kind::DatagramRuns { in_flight, size } => {
                Box::new(Datagrams::open(server, in_flight, size, true)?)
            }
            Kind::Flood { size, run } => Box::new(Flood::open(server, size, run)?),
            Kind::Bursts { size, offload } => Box::new(Bursts::open(server, size, offload)?),
        })
    }

    /// As the arguments of a load generator.
    pub fn words(self) -> Vec<String> {
        let words = match self {
            Kind::PingPong {
                connections,
                size,
                idle,
                blocks,
            } => format!("ping-pong {connections} {size} {idle} {}", u8::from(blocks)),
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
            Kind::DatagramRuns { in_flight, size } => format!("datagram-runs {in_flight} {size}"),
            Kind::Flood { size, run } => format!("flood {size} {run}"),
            Kind::Bursts { size, offload } => format!("bursts {size} {}", u8::from(offload)),
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
                blocks: number(4)? == 1,
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
            "datagram-runs" => Kind::DatagramRuns {
                in_flight: number(1)?,
                size: number(2)?,
            },
            "flood" => Kind::Flood {
                size: number(1)?,
                run: number(2)?,
            },
            "bursts" => Kind::Bursts {
                size: number(1)?,
                offload: number(2)? == 1,
            },
            _ => return None,
        })
    }

    /// Whether there is something behind the server that this load is too.
    pub fn has_target(self) -> bool {
        matches!(self, Kind::ProxyBulk { .. } | Kind::ProxyPingPong { .. })
    }

    /// How many rounds it takes where others take `usual`: fewer where one is long.
    pub fn rounds(self, usual: usize) -> usize {
        match self {
            Kind::Files { connections, .. } if connections > 1 => usual.div_ceil(3),
            _ => usual,
        }
    }

    /// Operations in front of each round that are not timed. A connection that was silent for 200 ms
    /// acknowledges its next 16 segments at once, and where there are many connections a round has
    /// hardly more for each: it would cost now this, now that, depending on how long the other lanes'
    /// rounds took. For 10,000 it would take too long.
    pub fn lead_in(self) -> u64 {
        const SEGMENTS: u64 = 20;
        match self {
            Kind::Broadcast { receivers, .. } => SEGMENTS * receivers as u64,
            Kind::PingPong { connections, .. } if connections <= 1000 => {
                SEGMENTS * connections as u64
            }
            _ => 0,
        }
    }

    /// Whether something may be lost on the way, as datagrams are.
    pub fn may_lose(self) -> bool {
        matches!(
            self,
            Kind::Datagrams { .. }
                | Kind::DatagramRuns { .. }
                | Kind::Flood { .. }
                | Kind::Bursts { .. }
        )
    }

    /// How many connections there are at a time.
    pub fn connections(self) -> usize {
        match self {
            Kind::PingPong {
                connections, idle, ..
            } => connections + idle,
            Kind::Broadcast { receivers, .. } => receivers,
            Kind::Churn | Kind::AcceptClose => churn::AT_ONCE,
            Kind::Datagrams { .. }
            | Kind::DatagramRuns { .. }
            | Kind::Flood { .. }
            | Kind::Bursts { .. } => 1,
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
