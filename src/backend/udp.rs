//! UDP sockets of the operating system: how they are made, bound, connected and watched.
//!
//! Receiving is in [`udp_receive`](super::udp_receive), sending in [`udp_send`](super::udp_send).

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::UdpSocket;
use mio::{Interest, Token};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::os::{Os, set_reuse_port};
use super::source_group::set_source_v6;

/// How to bind a UDP socket.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BindOptions {
    /// Whether others may bind the same address (SO_REUSEADDR; all of them need it).
    pub(crate) reuse_address: bool,
    /// Whether the system spreads datagrams over the sockets that ask for it (SO_REUSEPORT).
    pub(crate) reuse_port: bool,
    /// Whether an IPv6 socket leaves IPv4 alone.
    pub(crate) ipv6_only: bool,
}

/// A UDP socket of the operating system.
#[derive(Debug)]
pub(crate) struct OsDatagram {
    pub(super) socket: UdpSocket,
    /// Of which family it is.
    pub(super) is_ipv6: bool,
    /// The largest datagrams that the system was not seen to refuse in a run; 0 if it takes no runs.
    pub(super) run_limit: Cell<usize>,
    /// Whether datagrams may come in trains.
    #[cfg(all(any(target_os = "linux", target_os = "android"), feature = "full-udp"))]
    pub(super) coalesces: Cell<bool>,
    /// Whether the poller watches it.
    watched: bool,
    /// Whether it tells when there is room to send, too.
    awaits_room: bool,
    /// Whether it tells of it as long as datagrams wait.
    by_level: bool,
    /// Whether others may have its descriptor: what came from outside, or was handed out.
    pub(super) shared: bool,
}

/// A group to join or leave: its address and an interface, each of the same family.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Membership {
    /// The group and the address of an interface; unspecified lets the system choose.
    V4(Ipv4Addr, Ipv4Addr),
    /// The group and the index of an interface; 0 lets the system choose.
    V6(Ipv6Addr, u32),
    /// Of one source only: source, group, interface.
    SourceV4(Ipv4Addr, Ipv4Addr, Ipv4Addr),
    /// The same of IPv6, with the index of an interface.
    SourceV6(Ipv6Addr, Ipv6Addr, u32),
}

impl Os {
    /// Makes a socket. It is bound later, and watched when it receives.
    pub(crate) fn open_datagram(is_ipv6: bool) -> io::Result<OsDatagram> {
        let domain = if is_ipv6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        Ok(OsDatagram {
            socket: UdpSocket::from_std(socket.into()),
            is_ipv6,
            run_limit: Cell::new(super::udp_send::FIRST_RUN_LIMIT),
            #[cfg(all(any(target_os = "linux", target_os = "android"), feature = "full-udp"))]
            coalesces: Cell::new(false),
            watched: false,
            awaits_room: false,
            by_level: false,
            shared: false,
        })
    }

    /// Begins to watch a socket for datagrams that arrive.
    ///
    /// Not for writability: the kernel tells of it whenever a datagram has left, so every send would
    /// end a wait.
    pub(crate) fn watch_datagram(&mut self, io: &mut OsDatagram, token: u64) -> io::Result<()> {
        self.counts.registrations += 1;
        io.watched = true;
        self.registry()
            .register(&mut io.socket, Token(token as usize), Interest::READABLE)
    }

    /// Has a socket's writability told too, or no more.
    pub(crate) fn watch_writability(
        &mut self,
        io: &mut OsDatagram,
        token: u64,
        yes: bool,
    ) -> io::Result<()> {
        let interest = match yes {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        let token = Token(token as usize);
        io.awaits_room = yes;
        if !io.watched {
            self.counts.registrations += 1;
            io.watched = true;
            return self.registry().register(&mut io.socket, token, interest);
        }
        self.counts.rearms += 1;
        // mio knows edges only.
        io.by_level = false;
        self.registry().reregister(&mut io.socket, token, interest)
    }

    /// Has the poller tell of a socket as long as datagrams wait for it, and of nothing else: not while it is
    /// to tell of room.
    #[cfg(all(target_os = "linux", feature = "full-udp", feature = "level"))]
    pub(crate) fn watch_datagram_by_level(&mut self, io: &mut OsDatagram, token: u64) {
        if !io.watched || io.awaits_room || io.by_level || io.shared {
            return;
        }
        self.counts.rearms += 1;
        let told =
            super::level::tell_of_datagrams(self.registry(), &io.socket, Token(token as usize));
        io.by_level = told.is_ok();
    }

    /// Edges are all there is.
    #[cfg(not(all(target_os = "linux", feature = "full-udp", feature = "level")))]
    pub(crate) fn watch_datagram_by_level(&mut self, _io: &mut OsDatagram, _token: u64) {}

    /// Closes a socket. Its registration goes with it, unless others have the descriptor.
    pub(crate) fn close_datagram(&mut self, mut io: OsDatagram) {
        if io.shared && io.watched {
            self.deregister(&mut io.socket);
        }
    }

    /// Ends a socket's registration, and gives it away.
    #[cfg(unix)]
    pub(crate) fn release_datagram(&mut self, mut io: OsDatagram) -> UdpSocket {
        io.share();
        if io.watched {
            self.deregister(&mut io.socket);
        }
        io.socket
    }
}

impl OsDatagram {
    /// A socket that came from outside.
    #[cfg(unix)]
    pub(super) fn adopted(socket: std::net::UdpSocket, is_ipv6: bool) -> OsDatagram {
        OsDatagram {
            run_limit: Cell::new(super::udp_send::run_limit_of(&socket)),
            socket: UdpSocket::from_std(socket),
            is_ipv6,
            // Who had it before may have asked for trains.
            #[cfg(all(any(target_os = "linux", target_os = "android"), feature = "full-udp"))]
            coalesces: Cell::new(true),
            watched: false,
            awaits_room: false,
            by_level: false,
            shared: true,
        }
    }

    /// Others have it from now on, and know nothing of trains. Those that wait already still come, and so do those
    /// that others ask for.
    #[cfg(unix)]
    pub(super) fn share(&mut self) {
        #[cfg(all(any(target_os = "linux", target_os = "android"), feature = "full-udp"))]
        if !self.shared && self.coalesces.replace(true) {
            super::udp_receive::coalesce(&self.socket, false);
        }
        self.shared = true;
    }

    /// Whether one datagram may be received without proof that no other waits: none is part of a train, and
    /// the poller tells of those that are left.
    #[inline]
    pub(crate) fn tells_of_others(&self) -> bool {
        #[cfg(all(any(target_os = "linux", target_os = "android"), feature = "full-udp"))]
        return self.by_level && !self.shared && !self.coalesces.get();
        #[cfg(not(all(any(target_os = "linux", target_os = "android"), feature = "full-udp")))]
        self.by_level
    }

    /// Binds, with libuv's rules about options (U4).
    pub(crate) fn bind(&self, address: SocketAddr, options: BindOptions) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        if options.reuse_address {
            share_address(&socket)?;
        }
        if options.reuse_port {
            set_reuse_port(&socket)?;
        }
        if options.ipv6_only {
            socket.set_only_v6(true)?;
        }
        socket.bind(&SockAddr::from(address))
    }

    /// Sets the peer.
    pub(crate) fn connect(&self, address: SocketAddr) -> io::Result<()> {
        if address.is_ipv6() != self.is_ipv6 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.socket.connect(address)
    }

    /// Forgets the peer.
    #[cfg(all(unix, feature = "full-udp"))]
    pub(crate) fn disconnect(&self) -> io::Result<()> {
        match rustix::net::connect_unspec(&self.socket) {
            // What some systems say though they have done it (libuv's uv__udp_disconnect).
            Err(error)
                if error == rustix::io::Errno::AFNOSUPPORT
                    || (error == rustix::io::Errno::INVAL && !cfg!(target_os = "linux")) =>
            {
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// Forgets the peer: neither std nor mio nor socket2 can.
    #[cfg(not(all(unix, feature = "full-udp")))]
    pub(crate) fn disconnect(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Joins or leaves a group.
    pub(crate) fn set_membership(&self, membership: Membership, join: bool) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        match (membership, join) {
            (Membership::V4(group, interface), true) => {
                socket.join_multicast_v4(&group, &interface)
            }
            (Membership::V4(group, interface), false) => {
                socket.leave_multicast_v4(&group, &interface)
            }
            (Membership::V6(group, interface), true) => socket.join_multicast_v6(&group, interface),
            (Membership::V6(group, interface), false) => {
                socket.leave_multicast_v6(&group, interface)
            }
            (Membership::SourceV4(source, group, interface), join) => {
                set_source(&socket, source, group, interface, join)
            }
            (Membership::SourceV6(source, group, interface), join) => {
                set_source_v6(&self.socket, source, group, interface, join)
            }
        }
    }
}

#[cfg(not(any(
    target_os = "dragonfly",
    target_os = "haiku",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "nto",
)))]
fn set_source(
    socket: &Socket,
    source: Ipv4Addr,
    group: Ipv4Addr,
    interface: Ipv4Addr,
    join: bool,
) -> io::Result<()> {
    match join {
        true => socket.join_ssm_v4(&source, &group, &interface),
        false => socket.leave_ssm_v4(&source, &group, &interface),
    }
}

#[cfg(any(
    target_os = "dragonfly",
    target_os = "haiku",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "nto",
))]
fn set_source(_: &Socket, _: Ipv4Addr, _: Ipv4Addr, _: Ipv4Addr, _: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Lets others bind the same address, if they ask for it too (U5). On the BSDs that is another option.
pub(super) fn share_address(socket: &Socket) -> io::Result<()> {
    #[cfg(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd"
    ))]
    return socket.set_reuse_port(true);
    #[cfg(not(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd"
    )))]
    return socket.set_reuse_address(true);
}

/// The index of a network interface, by its name or its number; none if there is no such.
pub(crate) fn interface_index(name: &str) -> Option<u32> {
    index_of(name).or_else(|| name.parse().ok())
}

/// By its name, in the network of this process.
#[cfg(all(any(target_os = "linux", target_os = "android"), feature = "full-udp"))]
fn index_of(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// By its name. Linux tells it in a file, of the network that /sys was mounted in; elsewhere only a number
/// is understood.
#[cfg(not(all(any(target_os = "linux", target_os = "android"), feature = "full-udp")))]
fn index_of(name: &str) -> Option<u32> {
    // A name holds neither, and so leads nowhere else.
    if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
        return None;
    }
    let path = format!("/sys/class/net/{name}/ifindex");
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// EBADF: what libuv says of a socket that it has not made yet.
pub(crate) fn bad_descriptor() -> io::Error {
    io::Error::from_raw_os_error(if cfg!(windows) { 10009 } else { 9 })
}

/// ENODEV: libuv's word for an interface that is not there.
pub(crate) fn no_such_device(error: io::Error) -> io::Error {
    const ENXIO: i32 = 6;
    const ENODEV: i32 = 19;
    match error.raw_os_error() {
        Some(ENXIO) if cfg!(unix) => io::Error::from_raw_os_error(ENODEV),
        _ => error,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// It was, and the room for the send that waited was told to nobody.
    #[test]
    #[cfg(all(feature = "full-udp", feature = "level"))]
    fn a_socket_that_awaits_room_goes_on_to_be_told_of_it() {
        use crate::backend::{Forced, ready};

        let mut os = Os::new(Forced::default(), 0).unwrap();
        let mut io = Os::open_datagram(false).unwrap();
        let own = SocketAddr::from(([127, 0, 0, 1], 0));
        io.bind(own, BindOptions::default()).unwrap();
        os.watch_datagram(&mut io, 1).unwrap();
        os.watch_writability(&mut io, 1, true).unwrap();
        os.watch_datagram_by_level(&mut io, 1);
        let mut told = 0;
        os.wait(Some(std::time::Duration::ZERO)).unwrap();
        os.events(|_, bits| told |= bits);
        assert_eq!(told & ready::WRITABLE, ready::WRITABLE);

        os.watch_writability(&mut io, 1, false).unwrap();
        os.watch_datagram_by_level(&mut io, 1);
        assert!(io.by_level, "nothing waits any more");
    }

    #[test]
    fn interfaces_by_name_and_number() {
        assert_eq!(interface_index("lo"), Some(1));
        assert_eq!(interface_index("7"), Some(7));
        for name in ["", "no-such-interface", "../lo", "lo/", ".", ".."] {
            assert_eq!(interface_index(name), None, "{name}");
        }
    }
}
