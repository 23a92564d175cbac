//! Link-local addresses that came without their zone.

use std::net::{Ipv6Addr, SocketAddr};

/// Whether a connection to it wants a zone that it does not have.
pub(crate) fn lacks_zone(address: SocketAddr) -> bool {
    match address {
        SocketAddr::V4(_) => false,
        SocketAddr::V6(address) => address.scope_id() == 0 && is_link_local(*address.ip()),
    }
}

/// Whether it is in the block that libuv looks at.
fn is_link_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] == 0xfe80
}

/// An address to connect to, with the zone of the first interface that has a link-local address if it lacks
/// one: as libuv (C9). Where that can't be asked for, the system refuses it.
pub(super) fn with_zone(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(mut zoned) if lacks_zone(address) => {
            zoned.set_scope_id(first_zone().unwrap_or(0));
            zoned.into()
        }
        _ => address,
    }
}

#[cfg(all(any(target_os = "linux", target_os = "android"), feature = "full-udp"))]
fn first_zone() -> Option<u32> {
    use nix::net::if_::InterfaceFlags;

    let is_up = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    interfaces
        .filter(|interface| interface.flags.contains(is_up))
        .find_map(|interface| {
            let address = interface.address?;
            let address = address.as_sockaddr_in6()?;
            is_link_local(address.ip()).then(|| address.scope_id())
        })
}

#[cfg(not(all(any(target_os = "linux", target_os = "android"), feature = "full-udp")))]
fn first_zone() -> Option<u32> {
    None
}
