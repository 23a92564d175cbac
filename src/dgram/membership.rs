//! Options and groups.

use std::fmt::Display;

use super::Socket;
use crate::ground::error::Result;

/// Options. They all need a bound socket, and fail with `EBADF` before; with
/// `ERR_SOCKET_DGRAM_NOT_RUNNING` after `close`; with `ERR_HANDLE_GONE` if the socket is gone;
/// otherwise with the system's error, whose system call is the name of Node's method.
impl Socket {
    /// Sets whether datagrams may go to a broadcast address (SO_BROADCAST): Node's
    /// `socket.setBroadcast`.
    ///
    /// # Errors
    /// As all options.
    pub fn set_broadcast(self, yes: bool) -> Result<()> {
        self.attempt(|state, id| state.set_broadcast(id, yes))
    }

    /// Sets how many routers a datagram may pass, 1 to 255: Node's `socket.setTTL`.
    ///
    /// # Errors
    /// As all options; `EINVAL` for another number.
    pub fn set_ttl(self, ttl: u32) -> Result<()> {
        self.attempt(|state, id| state.set_ttl(id, ttl))
    }

    /// Sets how many routers a datagram to a group may pass, 0 to 255; 0 keeps it on this machine.
    /// Node's `socket.setMulticastTTL`.
    ///
    /// # Errors
    /// As all options; `EINVAL` for another number.
    pub fn set_multicast_ttl(self, ttl: u32) -> Result<()> {
        self.attempt(|state, id| state.set_multicast_ttl(id, ttl))
    }

    /// Sets whether datagrams that this socket sends to a group are delivered on this machine too,
    /// as they are by default: Node's `socket.setMulticastLoopback`.
    ///
    /// # Errors
    /// As all options.
    pub fn set_multicast_loopback(self, yes: bool) -> Result<()> {
        self.attempt(|state, id| state.set_multicast_loopback(id, yes))
    }

    /// Sets the interface for outgoing datagrams to a group: Node's `socket.setMulticastInterface`.
    ///
    /// For IPv4 it is an address of the interface (`0.0.0.0` lets the system choose), for IPv6 its
    /// zone, as in `::%eth0`; for a zone that does not exist the system chooses (N290).
    ///
    /// # Errors
    /// As all options; `EINVAL` for text that is not an address, `EADDRNOTAVAIL` for an address of
    /// another machine.
    pub fn set_multicast_interface(self, interface: impl Display) -> Result<()> {
        let interface = interface.to_string();
        self.attempt(|state, id| state.set_multicast_interface(id, &interface))
    }

    /// Sets the size in bytes of the kernel's receive buffer (SO_RCVBUF; Linux doubles it); 0 leaves
    /// it. Node's `socket.setRecvBufferSize`.
    ///
    /// # Errors
    /// `ERR_SOCKET_BUFFER_SIZE` with what the system says, `EBADF` while the socket is not bound;
    /// `ERR_SOCKET_DGRAM_NOT_RUNNING`, `ERR_HANDLE_GONE`.
    pub fn set_recv_buffer_size(self, bytes: u32) -> Result<()> {
        self.attempt(|state, id| state.set_buffer_size(id, bytes, true))
    }

    /// The size in bytes of the kernel's receive buffer: Node's `socket.getRecvBufferSize`.
    ///
    /// # Errors
    /// As [`set_recv_buffer_size`](Socket::set_recv_buffer_size).
    pub fn recv_buffer_size(self) -> Result<usize> {
        self.attempt(|state, id| state.buffer_size(id, true))
    }

    /// Sets the size in bytes of the kernel's send buffer (SO_SNDBUF; Linux doubles it); 0 leaves it.
    /// Node's `socket.setSendBufferSize`.
    ///
    /// # Errors
    /// As [`set_recv_buffer_size`](Socket::set_recv_buffer_size).
    pub fn set_send_buffer_size(self, bytes: u32) -> Result<()> {
        self.attempt(|state, id| state.set_buffer_size(id, bytes, false))
    }

    /// The size in bytes of the kernel's send buffer: Node's `socket.getSendBufferSize`.
    ///
    /// # Errors
    /// As [`set_recv_buffer_size`](Socket::set_recv_buffer_size).
    pub fn send_buffer_size(self) -> Result<usize> {
        self.attempt(|state, id| state.buffer_size(id, false))
    }
}

/// Groups. If the socket is not bound these calls bind it, without an event, to a port that the
/// system chooses, and it can't be bound afterwards (N287): bind first.
///
/// They all fail with `ERR_SOCKET_DGRAM_NOT_RUNNING` after `close`; with `ERR_HANDLE_GONE` if the
/// socket is gone; otherwise with the system's error, whose system call is the name of Node's
/// method.
impl Socket {
    /// Joins a group: Node's `socket.addMembership`. `interface` is an address of an interface (IPv4)
    /// or an address with its zone, as in `::%eth0` (IPv6); without one the system chooses (N288).
    ///
    /// ```
    /// use nodeloop::dgram::{self, SocketOptions, SocketType};
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// let options = SocketOptions::new(SocketType::Udp4).reuse_addr(true);
    /// let member = dgram::create_socket_with(&lp, options, |_, message, from| {
    ///     println!("{from} says {message:?}");
    /// });
    /// member.bind_then(0, |member| {
    ///     match member.add_membership("230.185.192.108", Some("127.0.0.1")) {
    ///         Ok(()) => println!("joined"),
    ///         Err(error) => eprintln!("{error}"), // no such interface, no multicast
    ///     }
    /// #   member.close().unwrap();
    /// })?;
    /// # lp.run()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As all of these; `ERR_MISSING_ARGS` for an empty group, `EINVAL` for an address that is no
    /// group or no address of an interface, `ENODEV` for an interface that does not exist,
    /// `EADDRINUSE` for a group already joined, `ENOPROTOOPT` for an IPv6 group on a socket for
    /// IPv4 (N286).
    pub fn add_membership(self, group: impl Display, interface: Option<&str>) -> Result<()> {
        let group = group.to_string();
        self.attempt(|state, id| state.set_group(id, &group, interface, true))
    }

    /// Leaves a group: Node's `socket.dropMembership`.
    ///
    /// # Errors
    /// As [`add_membership`](Socket::add_membership); `EADDRNOTAVAIL` for a group that it has not
    /// joined.
    pub fn drop_membership(self, group: impl Display, interface: Option<&str>) -> Result<()> {
        let group = group.to_string();
        self.attempt(|state, id| state.set_group(id, &group, interface, false))
    }

    /// Joins a group to receive from one source only: Node's `socket.addSourceSpecificMembership`.
    /// For IPv6 it needs Linux and the feature `ipv6-source-membership`; elsewhere it fails with
    /// `ENOTSUP`.
    ///
    /// # Errors
    /// As [`add_membership`](Socket::add_membership); `EINVAL` if source and group are not of one
    /// family, `EADDRNOTAVAIL` for one that it hears already.
    pub fn add_source_specific_membership(
        self,
        source: impl Display,
        group: impl Display,
        interface: Option<&str>,
    ) -> Result<()> {
        let (source, group) = (source.to_string(), group.to_string());
        self.attempt(|state, id| state.set_source_group(id, &source, &group, interface, true))
    }

    /// Stops receiving from a source of a group: Node's `socket.dropSourceSpecificMembership`.
    ///
    /// # Errors
    /// As [`add_source_specific_membership`](Socket::add_source_specific_membership);
    /// `EADDRNOTAVAIL` for one that it does not hear.
    pub fn drop_source_specific_membership(
        self,
        source: impl Display,
        group: impl Display,
        interface: Option<&str>,
    ) -> Result<()> {
        let (source, group) = (source.to_string(), group.to_string());
        self.attempt(|state, id| state.set_source_group(id, &source, &group, interface, false))
    }
}
