//! The UDP echo by hand on mio, and on tokio: one system call for each datagram and direction.

use std::io;
use std::net::SocketAddr;

use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use super::announce;

/// The largest datagram.
const LARGEST: usize = 64 * 1024;

/// Bytes that the kernel keeps, so that a flood finds room.
pub const UDP_BUFFER: usize = 4 * 1024 * 1024;

/// Datagrams between two looks at what else there is.
const BUDGET: usize = 32;

pub fn by_hand(address: SocketAddr) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut socket = mio::net::UdpSocket::bind(address)?;
    SockRef::from(&socket).set_recv_buffer_size(UDP_BUFFER)?;
    poll.registry()
        .register(&mut socket, Token(0), Interest::READABLE)?;
    announce(socket.local_addr()?);
    let mut events = Events::with_capacity(16);
    let mut buffer = vec![0; LARGEST];
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        // Nothing else there is, so the budget only bounds a batch.
        while echo_some(&socket, &mut buffer)? {}
    }
}

/// Whether there may be more.
fn echo_some(socket: &mio::net::UdpSocket, buffer: &mut [u8]) -> io::Result<bool> {
    for _ in 0..BUDGET {
        match socket.recv_from(buffer) {
            Ok((size, from)) => {
                // A datagram that the kernel has no room for is lost, as datagrams are.
                let _ = socket.send_to(&buffer[..size], from);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
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
