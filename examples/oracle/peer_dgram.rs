//! The UDP socket of a peer: blocking, and outside the loop under test.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::PoisonError;
use std::time::Duration;

use socket2::SockRef;

use super::data::{Piece, bytes_of};
use super::driver::SPAWNING;

/// The port that a deaf peer listens to: nobody sends from there.
const NOBODY: u16 = 1;

/// A peer's UDP socket, once it has one.
#[derive(Default)]
pub struct DatagramPeer(Option<UdpSocket>);

impl DatagramPeer {
    /// One that has a socket, connected to the program's.
    pub fn with(socket: UdpSocket) -> DatagramPeer {
        DatagramPeer(Some(socket))
    }

    /// Sends to the one that it is connected to.
    pub fn send_back(&self, data: &[u8]) -> io::Result<()> {
        self.socket()?.send(data).map(drop)
    }

    /// Does what it is told, waiting so long at most. Gives the lines that show what came.
    pub fn act(&mut self, words: &[&str], left: Duration) -> io::Result<Vec<String>> {
        match words {
            ["udp", host, deaf, receive_buffer] => {
                self.bind(host, *deaf == "deaf", receive_buffer.parse().ok())
            }
            ["send_to", host, port, times, data @ ..] => {
                let address = SocketAddr::new(parsed(host)?, parsed(port)?);
                self.send(address, parsed(times)?, data)
            }
            ["receive", count] => self.receive(parsed(count)?, left),
            ["receive_rest"] => self.receive_rest(),
            ["udp_close"] => {
                let _guard = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
                self.0 = None;
                Ok(Vec::new())
            }
            other => panic!("a peer was told {other:?}"),
        }
    }

    /// The port that it has bound.
    pub fn port(&self) -> Option<u16> {
        Some(self.0.as_ref()?.local_addr().ok()?.port())
    }

    /// Binds a port. One that is deaf is connected to a port that nobody sends from, so the kernel
    /// refuses what comes, and nobody else can get its port.
    fn bind(
        &mut self,
        host: &str,
        deaf: bool,
        receive_buffer: Option<usize>,
    ) -> io::Result<Vec<String>> {
        let ip: IpAddr = parsed(host)?;
        let socket = UdpSocket::bind((ip, 0))?;
        if let Some(bytes) = receive_buffer {
            SockRef::from(&socket).set_recv_buffer_size(bytes)?;
        }
        if deaf {
            socket.connect((ip, NOBODY))?;
        }
        self.0 = Some(socket);
        Ok(Vec::new())
    }

    /// Sends each of the data in a datagram of its own, all of them so many times.
    fn send(&self, to: SocketAddr, times: u32, data: &[&str]) -> io::Result<Vec<String>> {
        for _ in 0..times {
            for word in data {
                self.socket()?.send_to(&bytes_of(word), to)?;
            }
        }
        Ok(Vec::new())
    }

    fn receive(&self, count: u32, left: Duration) -> io::Result<Vec<String>> {
        self.socket()?.set_read_timeout(Some(left))?;
        (0..count).map(|_| self.next()).collect()
    }

    /// What waits, and that nothing else does. The kernel has delivered what was sent on this machine
    /// before the call that sent it is over.
    fn receive_rest(&self) -> io::Result<Vec<String>> {
        self.socket()?.set_nonblocking(true)?;
        let mut lines = Vec::new();
        let error = loop {
            match self.next() {
                Ok(line) => lines.push(line),
                Err(error) => break error,
            }
        };
        self.socket()?.set_nonblocking(false)?;
        if error.kind() != ErrorKind::WouldBlock {
            return Err(error);
        }
        lines.push("nothing else waits".into());
        Ok(lines)
    }

    fn next(&self) -> io::Result<String> {
        let mut buffer = vec![0; 65_536];
        let (size, from) = self.socket()?.recv_from(&mut buffer)?;
        let shown = Piece::of(&buffer[..size]).show();
        let host = match from {
            SocketAddr::V4(from) => from.ip().to_string(),
            SocketAddr::V6(from) => format!("[{}]", from.ip()),
        };
        Ok(format!(
            "receive {shown} from {host}:<port {}>",
            from.port()
        ))
    }

    fn socket(&self) -> io::Result<&UdpSocket> {
        self.0
            .as_ref()
            .ok_or_else(|| ErrorKind::NotConnected.into())
    }
}

fn parsed<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    let invalid = |_| io::Error::other(format!("`{text}` is not what it should be"));
    text.parse().map_err(invalid)
}
