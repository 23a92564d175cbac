//! Many datagrams with one system call, each by itself: no offload.

use std::io;
use std::net::UdpSocket;

/// Datagrams of one call at most.
const BATCH: usize = 64;

/// Room for the datagrams of one call.
pub struct Batch {
    /// Where they are received, one behind the other.
    buffer: Vec<u8>,
    /// The room for each.
    room: usize,
    /// How many bytes each has that was received.
    sizes: Vec<usize>,
    /// What the system is handed, if there is a call for several.
    headers: system::Headers,
}

impl Batch {
    /// For up to `count` datagrams of less than `room` bytes.
    pub fn new(count: usize, room: usize) -> Batch {
        let count = count.min(BATCH);
        Batch {
            buffer: vec![0; count * room],
            room,
            sizes: Vec::with_capacity(count),
            headers: system::headers(count),
        }
    }

    /// Waits for at least one datagram, and takes those that are there.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.sizes.clear();
        if self.buffer.len() > self.room {
            return system::receive(self, socket);
        }
        self.sizes.push(socket.recv(&mut self.buffer)?);
        Ok(())
    }

    /// The datagrams that were received last.
    pub fn received(&self) -> impl Iterator<Item = &[u8]> {
        let slots = self.buffer.chunks(self.room).zip(&self.sizes);
        slots.map(|(slot, &size)| &slot[..size])
    }

    /// Sends datagrams of `size` bytes each.
    pub fn send(&mut self, socket: &UdpSocket, datagrams: &[u8], size: usize) -> io::Result<()> {
        for some in datagrams.chunks(BATCH * size) {
            match some.len() > size {
                true => system::send(&mut self.headers, socket, some, size)?,
                false => drop(socket.send(some)?),
            }
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io::{self, IoSlice, IoSliceMut};
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg};

    use super::{BATCH, Batch};

    pub type Headers = MultiHeaders<()>;

    pub fn headers(count: usize) -> Headers {
        MultiHeaders::preallocate(count, None)
    }

    pub fn receive(batch: &mut Batch, socket: &UdpSocket) -> io::Result<()> {
        let slots = batch.buffer.chunks_mut(batch.room);
        let mut slots: Vec<_> = slots.map(|slot| [IoSliceMut::new(slot)]).collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        let received = recvmmsg(
            socket.as_raw_fd(),
            &mut batch.headers,
            slots.iter_mut(),
            flags,
            None,
        )?;
        batch.sizes.extend(received.map(|message| message.bytes));
        Ok(())
    }

    pub fn send(
        headers: &mut Headers,
        socket: &UdpSocket,
        datagrams: &[u8],
        size: usize,
    ) -> io::Result<()> {
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::empty());
        let slots: Vec<_> = datagrams
            .chunks(size)
            .map(|datagram| [IoSlice::new(datagram)])
            .collect();
        let mut sent = 0;
        while sent < slots.len() {
            let none = [None; BATCH];
            sent += sendmmsg(fd, headers, &slots[sent..], none, [], flags)?.count();
        }
        Ok(())
    }
}

/// One by one.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::net::UdpSocket;

    use super::Batch;

    pub type Headers = ();

    pub fn headers(_count: usize) -> Headers {}

    pub fn receive(batch: &mut Batch, socket: &UdpSocket) -> io::Result<()> {
        let size = socket.recv(&mut batch.buffer[..batch.room])?;
        batch.sizes.push(size);
        Ok(())
    }

    pub fn send(
        _headers: &mut Headers,
        socket: &UdpSocket,
        datagrams: &[u8],
        size: usize,
    ) -> io::Result<()> {
        for datagram in datagrams.chunks(size) {
            socket.send(datagram)?;
        }
        Ok(())
    }
}
