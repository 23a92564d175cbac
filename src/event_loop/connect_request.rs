//! Where a socket is to be connected to, and how.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
#[cfg(unix)]
use std::path::PathBuf;

use super::look_up::CustomLookup;
use super::server::with_scope;
use crate::backend::lacks_zone;
use crate::ground::addresses::parse_literal;
use crate::ground::block_list::BlockList;
use crate::ground::look_up::{Hints, LookupOptions, Query};

/// What an empty host stands for, as in Node.
const LOCALHOST: &str = "localhost";

/// Where to connect to.
#[derive(Clone)]
pub(crate) struct ConnectRequest {
    /// The address, its text, or a name.
    pub(crate) host: ConnectHost,
    /// The port.
    pub(crate) port: u16,
    /// The address at this end; any if none.
    pub(crate) local_address: Option<IpAddr>,
    /// The port at this end; 0 has the system choose.
    pub(crate) local_port: u16,
    /// How long it may take.
    pub(crate) deadline_ms: Option<u64>,
    /// What is not connected to.
    pub(crate) block_list: Option<BlockList>,
    /// What a name is looked up with.
    pub(crate) look_up: LookupOptions,
    /// A function of the user's that looks names up. Only ever dropped unborrowed.
    pub(crate) lookup: Option<CustomLookup>,
    /// Whether all addresses of a name are tried; none is as the loop has it.
    pub(crate) auto_select_family: Option<bool>,
    /// How long the next address waits for the one before; none is as the loop has it.
    pub(crate) attempt_timeout_ms: Option<u64>,
}

/// The address part of where to connect to.
#[derive(Debug, Clone)]
pub(crate) enum ConnectHost {
    /// An address, with its scope.
    Address(IpAddr, u32),
    /// An address as text, or a name.
    Name(String),
    /// A Unix socket.
    #[cfg(unix)]
    Path(PathBuf),
}

impl ConnectRequest {
    /// Whether its host is an address, so that nothing is looked up.
    pub(crate) fn is_literal(&self) -> bool {
        match &self.host {
            ConnectHost::Address(..) => true,
            ConnectHost::Name(name) => parse_literal(name).is_some(),
            #[cfg(unix)]
            ConnectHost::Path(_) => true,
        }
    }

    /// The name to look up.
    pub(crate) fn host_name(&self) -> &str {
        match &self.host {
            ConnectHost::Name(name) if !name.is_empty() => name,
            _ => LOCALHOST,
        }
    }

    /// The question to ask.
    pub(crate) fn query(&self) -> Query {
        let mut options = self.look_up;
        if !cfg!(windows) && options.family.is_none() && options.hints == Hints::NONE {
            options.hints = Hints::ADDRCONFIG;
        }
        Query {
            host: self.host_name().to_string(),
            options,
        }
    }
}

impl fmt::Display for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            ConnectHost::Address(address, scope) => {
                write!(f, "{}", with_scope(*address, self.port, *scope))
            }
            ConnectHost::Name(name) => write!(f, "{name}, port {}", self.port),
            #[cfg(unix)]
            ConnectHost::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectRequest({self})")
    }
}

/// The address at this end, if anything of it was asked for. A link-local one is of the zone of the address
/// that is connected to: it can be of no other.
pub(crate) fn local_end(request: &ConnectRequest, address: SocketAddr) -> Option<SocketAddr> {
    let is_wanted = request.local_address.is_some() || request.local_port > 0;
    is_wanted.then(|| {
        let ip = request.local_address.unwrap_or(match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        });
        let scope = match address {
            SocketAddr::V6(to) if lacks_zone(SocketAddr::new(ip, 0)) => to.scope_id(),
            _ => 0,
        };
        with_scope(ip, request.local_port, scope)
    })
}
