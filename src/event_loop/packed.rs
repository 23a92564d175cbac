//! What every socket holds, in less room than the usual types take.

use std::net::{IpAddr, SocketAddr};

use super::handle::Id;

/// An [`Id`] in 12 bytes instead of 16.
#[derive(Clone, Copy)]
#[repr(Rust, packed(4))]
pub(crate) struct SmallId {
    key: u32,
    serial: u64,
}

impl SmallId {
    pub(crate) fn of(id: Id) -> SmallId {
        let Id { key, serial } = id;
        SmallId { key, serial }
    }

    pub(crate) fn id(self) -> Id {
        let SmallId { key, serial } = self;
        Id { key, serial }
    }
}

/// An address without flow label, in 24 bytes instead of 32.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    ip: IpAddr,
    port: u16,
    /// Of a link-local address; no other has one.
    scope: u32,
}

impl Peer {
    pub(crate) fn new(address: SocketAddr) -> Peer {
        Peer {
            ip: address.ip(),
            port: address.port(),
            scope: match address {
                SocketAddr::V4(_) => 0,
                SocketAddr::V6(address) => address.scope_id(),
            },
        }
    }

    pub(crate) fn address(self) -> SocketAddr {
        let mut address = SocketAddr::new(self.ip, self.port);
        if let SocketAddr::V6(address) = &mut address {
            address.set_scope_id(self.scope);
        }
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_scope_survives() {
        let address: SocketAddr = "[fe80::1%3]:80".parse().unwrap();
        assert_eq!(Peer::new(address).address(), address);
    }

    #[test]
    fn an_id_survives_in_twelve_bytes() {
        let id = Id {
            key: 7,
            serial: u64::MAX - 1,
        };
        assert_eq!(SmallId::of(id).id(), id);
        assert_eq!(size_of::<SmallId>(), 12);
    }
}
