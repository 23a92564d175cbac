//! Who is measured: this crate, and what one would use instead.

pub mod datagrams;
pub mod datagrams_gathering;
pub mod files;
pub mod hand_written;
pub mod proxies;
pub mod tokio_server;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::build;

/// What a message-answering server takes for one message.
pub const FRAME: usize = 64;

/// What a source writes at once.
pub const BLOCK: usize = 64 * 1024;

/// The first argument of this program when it is to be a server.
pub const SERVE: &str = "--serve";

/// A loop, and a language with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// This crate: the example `bench_server`.
    Nodeloop,
    /// A loop by hand on mio: the practical limit.
    HandWritten,
    /// tokio with its loop in one thread.
    Tokio,
    /// libuv from C.
    Libuv,
    /// Node.
    Node,
}

impl Peer {
    pub const ALL: [Peer; 5] = [
        Peer::Nodeloop,
        Peer::HandWritten,
        Peer::Tokio,
        Peer::Libuv,
        Peer::Node,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Peer::Nodeloop => "nodeloop",
            Peer::HandWritten => "hand-written",
            Peer::Tokio => "tokio",
            Peer::Libuv => "libuv",
            Peer::Node => "node",
        }
    }

    pub fn named(name: &str) -> Option<Peer> {
        Peer::ALL.into_iter().find(|peer| peer.name() == name)
    }

    /// The program of this peer, without arguments; or why there is none.
    pub fn program(self) -> Result<Program, String> {
        let itself = || std::env::current_exe().map_err(|error| error.to_string());
        Ok(match self {
            Peer::Nodeloop => Program {
                path: build::example("bench_server")?,
                before: vec![],
            },
            Peer::HandWritten | Peer::Tokio => Program {
                path: itself()?,
                before: vec![SERVE.into(), self.name().into()],
            },
            Peer::Libuv => Program {
                path: build::libuv_server()?,
                before: vec![],
            },
            Peer::Node => Program {
                path: build::node()?,
                before: vec![build::source("peers/node_server.mjs")],
            },
        })
    }
}

/// How to start a peer.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    before: Vec<String>,
}

impl Program {
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.before);
        command
    }
}

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Echo,
    Messages,
    Sink,
    Source,
    Broadcast,
    AcceptClose,
    PauseEcho,
    /// A file to each client: `--file PATH`.
    File,
    /// On to another address, and back: `--target ADDRESS`.
    Proxy,
    UdpEcho,
    /// Counts datagrams, and answers one of four bytes with the count.
    UdpSink,
    /// Answers a number of two bytes with many datagrams of so many bytes.
    UdpBurst,
}

impl Mode {
    const ALL: [Mode; 12] = [
        Mode::Echo,
        Mode::Messages,
        Mode::Sink,
        Mode::Source,
        Mode::Broadcast,
        Mode::AcceptClose,
        Mode::PauseEcho,
        Mode::File,
        Mode::Proxy,
        Mode::UdpEcho,
        Mode::UdpSink,
        Mode::UdpBurst,
    ];

    /// As in the arguments of every server.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Echo => "tcp-echo",
            Mode::Messages => "msg-echo",
            Mode::Sink => "tcp-sink",
            Mode::Source => "tcp-source",
            Mode::Broadcast => "broadcast",
            Mode::AcceptClose => "accept-close",
            Mode::PauseEcho => "pause-echo",
            Mode::File => "tcp-file",
            Mode::Proxy => "tcp-proxy",
            Mode::UdpEcho => "udp-echo",
            Mode::UdpSink => "udp-sink",
            Mode::UdpBurst => "udp-burst",
        }
    }

    /// Whether small answers must not wait for one another in the kernel.
    pub fn wants_no_delay(self) -> bool {
        matches!(self, Mode::Messages | Mode::Broadcast)
    }
}

/// How a server of this program does it.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The size of the read buffer; as is usual for the server if it is not said.
    pub chunk: Option<usize>,
    /// How long it looks for events before it blocks.
    pub spin: Duration,
    /// Whether answers to one read leave together; and datagrams are received so.
    pub gather: bool,
    /// What is sent.
    pub file: Option<PathBuf>,
    /// Where a proxy leads to.
    pub target: Option<SocketAddr>,
}

/// The server half of this program: `--serve PEER MODE ADDRESS [--chunk BYTES] [--spin-us N]
/// [--gather] [--file PATH] [--target ADDRESS]`.
pub fn serve(arguments: &[String]) -> io::Result<()> {
    let refused = || io::Error::other(format!("not a server: {arguments:?}"));
    let [peer, mode, address, rest @ ..] = arguments else {
        return Err(refused());
    };
    let mode = Mode::ALL
        .into_iter()
        .find(|known| known.name() == mode)
        .ok_or_else(refused)?;
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let mut options = ServerOptions {
        chunk: None,
        spin: Duration::ZERO,
        gather: false,
        file: None,
        target: None,
    };
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        let mut value = || rest.next().ok_or_else(refused);
        let mut number = || value()?.parse::<usize>().map_err(io::Error::other);
        match option.as_str() {
            "--chunk" => options.chunk = Some(number()?),
            "--spin-us" => options.spin = Duration::from_micros(number()? as u64),
            "--gather" => options.gather = true,
            "--file" => options.file = Some(PathBuf::from(value()?)),
            "--target" => options.target = Some(value()?.parse().map_err(io::Error::other)?),
            _ => return Err(refused()),
        }
    }
    match Peer::named(peer) {
        Some(Peer::HandWritten) => match (mode, &options.file, options.target) {
            (Mode::UdpEcho | Mode::UdpSink | Mode::UdpBurst, ..) => match address {
                SocketAddr::V4(address) if options.gather => {
                    datagrams_gathering::by_hand(mode, address)
                }
                _ => datagrams::by_hand(mode, address),
            },
            (Mode::File, Some(file), _) => files::by_hand(address, file),
            (Mode::Proxy, _, Some(target)) => proxies::by_hand(address, target),
            (Mode::File | Mode::Proxy, ..) => Err(refused()),
            _ => hand_written::serve(mode, address, options),
        },
        Some(Peer::Tokio) => tokio_server::serve(mode, address, options),
        _ => Err(refused()),
    }
}

/// Says what every server says once it listens.
fn announce(address: SocketAddr) {
    println!("ready");
    println!("listening on {address}");
    // To a pipe it would wait for more otherwise.
    let _ = io::stdout().flush();
}
