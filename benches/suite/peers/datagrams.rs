//! UDP by hand on mio, and on tokio: one system call for each datagram and direction.

use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use super::{Mode, announce};

/// The largest datagram.
pub const LARGEST: usize = 64 * 1024;

/// Bytes that the kernel keeps, so that a flood finds room.
pub const UDP_BUFFER: usize = 4 * 1024 * 1024;

/// A datagram of so many bytes asks a sink for its count.
pub const QUESTION: usize = 4;

/// Datagrams that are sent for each request of a burst.
pub const BURST: usize = 256;

/// Datagrams between two looks at what else there is.
pub const BUDGET: usize = 32;

pub fn by_hand(mode: Mode, address: SocketAddr) -> io::Result<()> {
    let mut buffer = vec![0; LARGEST];
    let mut served = Served::default();
    serve(UdpSocket::bind(address)?, |socket| {
        served.some(mode, socket, &mut buffer)
    })
}

/// The loop: calls `serve_some` for what has come, as long as that says that there may be more.
pub fn serve(
    mut socket: UdpSocket,
    mut serve_some: impl FnMut(&UdpSocket) -> io::Result<bool>,
) -> io::Result<()> {
    let mut poll = Poll::new()?;
    SockRef::from(&socket).set_recv_buffer_size(UDP_BUFFER)?;
    poll.registry()
        .register(&mut socket, Token(0), Interest::READABLE)?;
    announce(socket.local_addr()?);
    let mut events = Events::with_capacity(16);
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        // Nothing else there is, so the budget only bounds a batch.
        while serve_some(&socket)? {}
    }
}

/// What a server knows.
#[derive(Default)]
struct Served {
    count: u64,
    burst: Vec<u8>,
}

impl Served {
    /// Whether there may be more.
    fn some(&mut self, mode: Mode, socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<bool> {
        for _ in 0..BUDGET {
            match socket.recv_from(buffer) {
                Ok((size, from)) => self.one(mode, socket, &buffer[..size], from),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// A datagram that the kernel has no room for is lost, as datagrams are.
    fn one(&mut self, mode: Mode, socket: &UdpSocket, message: &[u8], from: SocketAddr) {
        match (mode, message) {
            (Mode::UdpSink, question) if question.len() == QUESTION => {
                let _ = socket.send_to(&self.count.to_le_bytes(), from);
            }
            (Mode::UdpSink, _) => self.count += 1,
            (Mode::UdpBurst, &[low, high]) => {
                let size = usize::from(u16::from_le_bytes([low, high]));
                self.burst.resize(size, b'b');
                for _ in 0..BURST {
                    let _ = socket.send_to(&self.burst, from);
                }
            }
            _ => {
                let _ = socket.send_to(message, from);
            }
        }
    }
}

pub async fn with_tokio(address: SocketAddr) -> io::Result<()> {
    let socket = tokio::net::UdpSocket::bind(address).await?;
    SockRef::from(&socket).set_recv_buffer_size(UDP_BUFFER)?;
    announce(socket.local_addr()?);
    let mut buffer = vec![0; LARGEST];
    loop {
        let (size, from) = socket.recv_from(&mut buffer).await?;
        let _ = socket.send_to(&buffer[..size], from).await;
    }
}
