//! The seam's part for UDP: sockets of the operating system, or one in memory.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use super::udp::OsDatagram;
pub(crate) use super::udp::{
    BindOptions, Membership, bad_descriptor, interface_index, no_such_device,
};
pub(crate) use super::udp_receive::{Catch, RECEIVE_BUDGET};
pub(crate) use super::udp_send::{Piece, RUN_BYTES, RUN_LENGTH};
use super::{Backend, SockRef, null};
use crate::backend::os::Os;

/// A UDP socket.
#[derive(Debug)]
pub(crate) enum Datagram {
    /// Of the operating system.
    Os(OsDatagram),
    /// Of the null backend.
    Null,
}

impl Datagram {
    /// Whether one datagram may be received without proof that no other waits.
    #[inline]
    pub(crate) fn tells_of_others(&self) -> bool {
        matches!(self, Datagram::Os(io) if io.tells_of_others())
    }
}

impl Backend {
    /// Makes a UDP socket. It is bound later, and watched when it receives.
    pub(crate) fn open_datagram(&mut self, is_ipv6: bool) -> io::Result<Datagram> {
        self.counts_mut().datagram_sockets += 1;
        match self {
            Backend::Os(_) => Os::open_datagram(is_ipv6).map(Datagram::Os),
            Backend::Null(_) => Ok(Datagram::Null),
        }
    }

    /// Binds a UDP socket.
    pub(crate) fn bind_datagram(
        &mut self,
        io: &Datagram,
        address: SocketAddr,
        options: BindOptions,
    ) -> io::Result<()> {
        match io {
            Datagram::Os(io) => io.bind(address, options),
            Datagram::Null => Ok(()),
        }
    }

    /// Begins to watch a UDP socket for datagrams.
    pub(crate) fn watch_datagram(&mut self, io: &mut Datagram, token: u64) -> io::Result<()> {
        match (self, io) {
            (Backend::Os(os), Datagram::Os(io)) => os.watch_datagram(io, token),
            (Backend::Null(null), Datagram::Null) => {
                null.counts.registrations += 1;
                null.watch_datagrams(Some(token));
                Ok(())
            }
            _ => unreachable!("a datagram socket of another backend"),
        }
    }

    /// Has a UDP socket's writability told, or no more.
    pub(crate) fn watch_writability(
        &mut self,
        io: &mut Datagram,
        token: u64,
        yes: bool,
    ) -> io::Result<()> {
        match (self, io) {
            (Backend::Os(os), Datagram::Os(io)) => os.watch_writability(io, token, yes),
            // It takes everything at once.
            _ => Ok(()),
        }
    }

    /// Sets the peer of a UDP socket.
    pub(crate) fn connect_datagram(
        &mut self,
        io: &Datagram,
        address: SocketAddr,
    ) -> io::Result<()> {
        self.counts_mut().connects += 1;
        match io {
            Datagram::Os(io) => io.connect(address),
            Datagram::Null => Ok(()),
        }
    }

    /// Has a UDP socket forget its peer.
    pub(crate) fn disconnect_datagram(&mut self, io: &Datagram) -> io::Result<()> {
        self.counts_mut().connects += 1;
        match io {
            Datagram::Os(io) => io.disconnect(),
            Datagram::Null => Ok(()),
        }
    }

    /// Receives into an empty catch with one system call, up to `wanted` reads. Returns whether
    /// that proves that nothing is left.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        io: &Datagram,
        catch: &mut Catch,
        wanted: usize,
    ) -> io::Result<bool> {
        match (self, io) {
            (Backend::Os(os), Datagram::Os(io)) => os.receive(io, catch, wanted),
            (Backend::Null(null), Datagram::Null) => {
                let (count, size) = null.receive();
                catch.fill(count as usize, size, null::ADDRESS);
                Ok(true)
            }
            _ => unreachable!("a datagram socket of another backend"),
        }
    }

    /// Has a UDP socket told as long as datagrams wait, where that is possible.
    #[cold]
    pub(crate) fn watch_datagram_by_level(&mut self, io: &mut Datagram, token: u64) {
        if let (Backend::Os(os), Datagram::Os(io)) = (self, io) {
            os.watch_datagram_by_level(io, token);
        }
    }

    /// Receives one datagram into an empty catch, where it is the current one; others may be left. Only of who
    /// [tells of them](Datagram::tells_of_others).
    #[inline]
    pub(crate) fn receive_one(&mut self, io: &Datagram, catch: &mut Catch) -> io::Result<()> {
        match (self, io) {
            (Backend::Os(os), Datagram::Os(io)) => os.receive_one(io, catch),
            _ => unreachable!("a socket of another backend"),
        }
    }

    /// Sends one datagram, whose bytes may be in several buffers.
    pub(crate) fn send_datagram(
        &mut self,
        io: &Datagram,
        parts: &[IoSlice<'_>],
        to: Option<SocketAddr>,
    ) -> io::Result<usize> {
        match (self, io) {
            (Backend::Os(os), Datagram::Os(io)) => os.send_datagram(io, parts, to),
            (Backend::Null(null), Datagram::Null) => {
                for part in parts {
                    null.send(part, 1);
                }
                Ok(parts.iter().map(|part| part.len()).sum())
            }
            _ => unreachable!("a datagram socket of another backend"),
        }
    }

    /// Sends datagrams whose bytes lie behind each other, in order, with as few system calls as
    /// possible. Returns how many went out, and the error of the one that did not.
    pub(crate) fn send_datagrams(
        &mut self,
        io: &Datagram,
        bytes: &[u8],
        pieces: &[Piece],
    ) -> (usize, Option<io::Error>) {
        match (self, io) {
            (Backend::Os(os), Datagram::Os(io)) => os.send_datagrams(io, bytes, pieces),
            (Backend::Null(null), Datagram::Null) => {
                null.send(bytes, pieces.len());
                (pieces.len(), None)
            }
            _ => unreachable!("a datagram socket of another backend"),
        }
    }

    /// Joins or leaves a group.
    pub(crate) fn set_membership(
        &mut self,
        io: &Datagram,
        membership: Membership,
        join: bool,
    ) -> io::Result<()> {
        self.counts_mut().options += 1;
        match io {
            Datagram::Os(io) => io.set_membership(membership, join),
            Datagram::Null => Ok(()),
        }
    }

    /// Sets or reads an option of a UDP socket.
    pub(crate) fn datagram_option<R>(
        &mut self,
        io: &Datagram,
        act: impl FnOnce(SockRef<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        self.counts_mut().options += 1;
        match io {
            Datagram::Os(io) => act(SockRef::from(&io.socket)),
            Datagram::Null => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The address that a UDP socket is bound to.
    pub(crate) fn datagram_address(&mut self, io: &Datagram) -> io::Result<SocketAddr> {
        self.counts_mut().addresses += 1;
        match io {
            Datagram::Os(io) => io.socket.local_addr(),
            Datagram::Null => Ok(null::ADDRESS),
        }
    }

    /// The address that a UDP socket is connected to.
    pub(crate) fn datagram_peer(&mut self, io: &Datagram) -> io::Result<SocketAddr> {
        self.counts_mut().addresses += 1;
        match io {
            Datagram::Os(io) => io.socket.peer_addr(),
            Datagram::Null => Ok(null::ADDRESS),
        }
    }

    /// Closes a UDP socket.
    pub(crate) fn close_datagram(&mut self, io: Datagram) {
        self.counts_mut().closes += 1;
        match (self, io) {
            (Backend::Os(os), Datagram::Os(io)) => os.close_datagram(io),
            (Backend::Null(null), _) => null.watch_datagrams(None),
            _ => unreachable!("a datagram socket of another backend"),
        }
    }
}
