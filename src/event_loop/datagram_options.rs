//! Options of UDP sockets, and the groups they join. Which calls make a socket that is not bound yet,
//! and which fail without one, is libuv's (U1, U2).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::datagram_entry::datagram_of;
use super::handle::Id;
use super::state::State;
use crate::backend::SockRef;
use crate::backend::datagram::{
    BindOptions, Membership, bad_descriptor, interface_index, no_such_device,
};
use crate::ground::error::{Error, Result};

/// A number that the system would take and that Node does not.
fn invalid() -> io::Error {
    io::ErrorKind::InvalidInput.into()
}

impl State {
    /// SO_BROADCAST.
    pub(crate) fn set_broadcast(&mut self, id: Id, yes: bool) -> Result<()> {
        self.datagram_option(id, "setBroadcast", Some(yes), |socket, _, yes| {
            socket.set_broadcast(yes)
        })
    }

    /// The time to live, or hop limit, of what goes to one peer.
    pub(crate) fn set_ttl(&mut self, id: Id, ttl: u32) -> Result<()> {
        let ttl = (1..=255).contains(&ttl).then_some(ttl);
        self.datagram_option(id, "setTTL", ttl, |socket, is_ipv6, ttl| match is_ipv6 {
            false => socket.set_ttl_v4(ttl),
            true => socket.set_unicast_hops_v6(ttl),
        })
    }

    /// The time to live of what goes to a group.
    pub(crate) fn set_multicast_ttl(&mut self, id: Id, ttl: u32) -> Result<()> {
        let ttl = (ttl <= 255).then_some(ttl);
        self.datagram_option(
            id,
            "setMulticastTTL",
            ttl,
            |socket, is_ipv6, ttl| match is_ipv6 {
                false => socket.set_multicast_ttl_v4(ttl),
                true => socket.set_multicast_hops_v6(ttl),
            },
        )
    }

    /// Whether this machine hears what goes from here to a group.
    pub(crate) fn set_multicast_loopback(&mut self, id: Id, yes: bool) -> Result<()> {
        self.datagram_option(
            id,
            "setMulticastLoopback",
            Some(yes),
            |socket, is_ipv6, yes| match is_ipv6 {
                false => socket.set_multicast_loop_v4(yes),
                true => socket.set_multicast_loop_v6(yes),
            },
        )
    }

    /// The interface that datagrams to a group leave by (N290).
    pub(crate) fn set_multicast_interface(&mut self, id: Id, interface: &str) -> Result<()> {
        self.datagram_option(
            id,
            "setMulticastInterface",
            parse_with_zone(interface),
            |socket, _, interface| match interface {
                (IpAddr::V4(address), _) => socket.set_multicast_if_v4(&address),
                (IpAddr::V6(_), scope) => socket.set_multicast_if_v6(scope),
            },
        )
    }

    /// Sets an option to a `value`. None is one that libuv refuses, before it looks whether there is a socket
    /// (U2).
    fn datagram_option<T>(
        &mut self,
        id: Id,
        call: &'static str,
        value: Option<T>,
        act: impl FnOnce(&SockRef<'_>, bool, T) -> io::Result<()>,
    ) -> Result<()> {
        let is_ipv6 = self.open_datagram(id)?.is_ipv6;
        self.ask_for_option(id, value, |socket, value| act(&socket, is_ipv6, value))?
            .map_err(|error| Error::system(call, error))
    }

    /// Sets the size of one of the kernel's buffers; 0 leaves it (N284).
    pub(crate) fn set_buffer_size(&mut self, id: Id, bytes: u32, receives: bool) -> Result<()> {
        let wanted = i32::try_from(bytes).is_ok().then_some(bytes as usize);
        self.buffer_option(id, receives, wanted, |socket, wanted| {
            match (wanted, receives) {
                (0, _) => Ok(()),
                (_, true) => socket.set_recv_buffer_size(wanted),
                (_, false) => socket.set_send_buffer_size(wanted),
            }
        })
    }

    /// The size of one of the kernel's buffers, as the system tells it.
    pub(crate) fn buffer_size(&mut self, id: Id, receives: bool) -> Result<usize> {
        self.buffer_option(id, receives, Some(()), |socket, ()| match receives {
            true => socket.recv_buffer_size(),
            false => socket.send_buffer_size(),
        })
    }

    /// Asks for a size, or sets it to a `value`, as [`datagram_option`](State::datagram_option).
    fn buffer_option<T, R>(
        &mut self,
        id: Id,
        receives: bool,
        value: Option<T>,
        act: impl FnOnce(SockRef<'_>, T) -> io::Result<R>,
    ) -> Result<R> {
        let call = match receives {
            true => "uv_recv_buffer_size",
            false => "uv_send_buffer_size",
        };
        self.ask_for_option(id, value, act)?
            .map_err(|error| Error::buffer_size(call, error))
    }

    /// What the system says of an option, if the socket is open.
    fn ask_for_option<T, R>(
        &mut self,
        id: Id,
        value: Option<T>,
        act: impl FnOnce(SockRef<'_>, T) -> io::Result<R>,
    ) -> Result<io::Result<R>> {
        self.open_datagram(id)?;
        self.flush_outbox_of(id);
        let State {
            entries, backend, ..
        } = self;
        let datagram = datagram_of(entries, id).ok_or_else(Error::handle_gone)?;
        Ok(match (value, &datagram.io) {
            (None, _) => Err(invalid()),
            (Some(value), Some(io)) => backend.datagram_option(io, |socket| act(socket, value)),
            (Some(_), None) => Err(bad_descriptor()),
        })
    }

    /// Joins or leaves a group (N286, U36).
    pub(crate) fn set_group(
        &mut self,
        id: Id,
        group: &str,
        interface: Option<&str>,
        join: bool,
    ) -> Result<()> {
        self.open_datagram(id)?;
        if group.is_empty() {
            return Err(Error::library(
                "ERR_MISSING_ARGS",
                "The \"multicastAddress\" argument must be specified",
            ));
        }
        let call = match join {
            true => "addMembership",
            false => "dropMembership",
        };
        let system = |error| Error::system(call, error);
        let (group, _) = parse_with_zone(group).ok_or_else(|| system(invalid()))?;
        self.make_socket_for_group(id, group.is_ipv6())
            .map_err(system)?;
        let membership = match group {
            IpAddr::V4(group) => v4_interface(interface).map(|at| Membership::V4(group, at)),
            IpAddr::V6(group) => v6_interface(interface).map(|at| Membership::V6(group, at)),
        };
        let membership = membership.ok_or_else(|| system(invalid()))?;
        self.set_membership(id, membership, join).map_err(system)
    }

    /// Joins or leaves a group for one source (U37).
    pub(crate) fn set_source_group(
        &mut self,
        id: Id,
        source: &str,
        group: &str,
        interface: Option<&str>,
        join: bool,
    ) -> Result<()> {
        self.open_datagram(id)?;
        let call = match join {
            true => "addSourceSpecificMembership",
            false => "dropSourceSpecificMembership",
        };
        let system = |error| Error::system(call, error);
        let addresses = (
            parse_with_zone(source).map(|(source, _)| source),
            parse_with_zone(group).map(|(group, _)| group),
        );
        let is_ipv6 = match addresses {
            (Some(source), Some(group)) if source.is_ipv6() == group.is_ipv6() => group.is_ipv6(),
            _ => return Err(system(invalid())),
        };
        self.make_socket_for_group(id, is_ipv6).map_err(system)?;
        let membership = match addresses {
            (Some(IpAddr::V4(source)), Some(IpAddr::V4(group))) => {
                v4_interface(interface).map(|at| Membership::SourceV4(source, group, at))
            }
            (Some(IpAddr::V6(source)), Some(IpAddr::V6(group))) => {
                v6_interface(interface).map(|at| Membership::SourceV6(source, group, at))
            }
            _ => None,
        };
        let membership = membership.ok_or_else(|| system(invalid()))?;
        self.set_membership(id, membership, join).map_err(system)
    }

    /// Groups are joined by a socket, so there must be one: bound to a port that the system chooses
    /// (N287, U1).
    fn make_socket_for_group(&mut self, id: Id, is_ipv6: bool) -> io::Result<()> {
        let State {
            entries, backend, ..
        } = self;
        let Some(datagram) = datagram_of(entries, id) else {
            return Ok(());
        };
        if datagram.io.is_some() {
            return Ok(());
        }
        let io = backend.open_datagram(is_ipv6)?;
        let everywhere = match is_ipv6 {
            false => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            true => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let options = BindOptions {
            reuse_address: true,
            ..BindOptions::default()
        };
        backend.bind_datagram(&io, everywhere, options)?;
        datagram.io = Some(io);
        Ok(())
    }

    fn set_membership(&mut self, id: Id, membership: Membership, join: bool) -> io::Result<()> {
        let State {
            entries, backend, ..
        } = self;
        let io = datagram_of(entries, id)
            .and_then(|datagram| datagram.io.as_ref())
            .ok_or_else(bad_descriptor)?;
        backend
            .set_membership(io, membership, join)
            .map_err(no_such_device)
    }
}

/// The interface of an IPv4 group: by an address of it.
fn v4_interface(interface: Option<&str>) -> Option<Ipv4Addr> {
    match interface {
        None => Some(Ipv4Addr::UNSPECIFIED),
        Some(address) => address.parse().ok(),
    }
}

/// The interface of an IPv6 group: by the zone of an address.
fn v6_interface(interface: Option<&str>) -> Option<u32> {
    match interface {
        None => Some(0),
        Some(address) => match parse_with_zone(address)? {
            (IpAddr::V6(_), scope) => Some(scope),
            (IpAddr::V4(_), _) => None,
        },
    }
}

/// An IP literal; a zone is an interface's name or number, and 0 if there is no such.
fn parse_with_zone(text: &str) -> Option<(IpAddr, u32)> {
    match text.split_once('%') {
        None => Some((text.parse().ok()?, 0)),
        Some((address, zone)) => {
            let address: Ipv6Addr = address.parse().ok()?;
            Some((address.into(), interface_index(zone).unwrap_or(0)))
        }
    }
}

/// A host that needs no look-up. An empty zone (`::1%`) makes a name of it: Node itself says so of hosts, while
/// groups and interfaces go to libuv as they are.
pub(crate) fn parse_host(text: &str) -> Option<(IpAddr, u32)> {
    match text.ends_with('%') {
        true => None,
        false => parse_with_zone(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_of_groups() {
        assert_eq!(v4_interface(None), Some(Ipv4Addr::UNSPECIFIED));
        assert_eq!(v4_interface(Some("127.0.0.1")), Some(Ipv4Addr::LOCALHOST));
        assert_eq!(v4_interface(Some("::1")), None);
        assert_eq!(v4_interface(Some("")), None);
        assert_eq!(v6_interface(None), Some(0));
        assert_eq!(v6_interface(Some("::%7")), Some(7));
        assert_eq!(v6_interface(Some("::%no-such-interface")), Some(0));
        assert_eq!(v6_interface(Some("::1")), Some(0));
        assert_eq!(v6_interface(Some("127.0.0.1")), None);
        assert_eq!(v6_interface(Some("x")), None);
        assert_eq!(v6_interface(Some("")), None);
    }
}
