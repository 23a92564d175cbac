//! Where sockets connect to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::rc::Rc;

use super::options::SocketOptions;
use crate::event_loop::connect_request::{ConnectHost, ConnectRequest};
use crate::event_loop::look_up::LookupAnswer;
use crate::ground::addresses::Family;
use crate::ground::block_list::BlockList;
use crate::ground::look_up::{Hints, LookupOptions, Order};
use crate::ground::millis::Millis;

/// Where a socket connects to: an address, a host and a port, and where from.
///
/// A port alone is `localhost`. A host is an IP address or a name. With an address the attempt begins on
/// the tick after `connect`, as in Node (N97); a name is looked up in a worker thread first. A link-local
/// address without its zone is looked for behind the first interface that has such an address, as in Node (on
/// Linux, with the feature `full-udp`).
///
/// # Several addresses
///
/// All addresses of a name are tried, IPv4 and IPv6 in turn, beginning with the family of the
/// first. Each has a [head start](ConnectOptions::auto_select_family_attempt_timeout) on the next,
/// and its attempt continues after that; the first to connect becomes the connection (RFC 8305). If
/// all fail, the error carries [all their errors](crate::Error::errors) and the code of the first.
/// Only the first address is tried if a [family](ConnectOptions::family) or a [local
/// address](ConnectOptions::local_address) is asked for, or if this is [switched
/// off](ConnectOptions::auto_select_family).
///
/// ```
/// use nodeloop::net::{self, ConnectOptions};
///
/// # fn main() -> nodeloop::Result<()> {
/// # let lp = nodeloop::Loop::new()?;
/// let from_here = ConnectOptions::new("127.0.0.1", 1).local_address([127, 0, 0, 1].into());
/// let socket = net::connect(&lp, from_here);
/// socket.on_error(|_, error| {
///     assert_eq!(error.to_string(), "connect ECONNREFUSED 127.0.0.1:1");
/// });
/// # lp.run()
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing by themselves"]
pub struct ConnectOptions {
    pub(super) request: ConnectRequest,
    pub(super) socket: SocketOptions,
    pub(super) timeout_ms: Option<u64>,
}

impl ConnectOptions {
    /// Connects to a host (an IP address as text, or a name) and a port. `""` is `localhost`.
    pub fn new(host: impl Into<String>, port: u16) -> ConnectOptions {
        ConnectOptions::to(ConnectHost::Name(host.into()), port)
    }

    pub(super) fn to(host: ConnectHost, port: u16) -> ConnectOptions {
        ConnectOptions {
            request: ConnectRequest {
                host,
                port,
                local_address: None,
                local_port: 0,
                deadline_ms: None,
                block_list: None,
                look_up: LookupOptions::new(),
                lookup: None,
                auto_select_family: None,
                attempt_timeout_ms: None,
            },
            socket: SocketOptions::new(),
            timeout_ms: None,
        }
    }

    /// The local address. Node's `localAddress`. A link-local one gets the zone of the address
    /// being connected to.
    pub fn local_address(mut self, address: IpAddr) -> ConnectOptions {
        self.request.local_address = Some(address);
        self
    }

    /// The local port; with 0 the system chooses. Node's `localPort`.
    pub fn local_port(mut self, port: u16) -> ConnectOptions {
        self.request.local_port = port;
        self
    }

    /// How long connecting may take (milliseconds or a `Duration`), the look-up of the name
    /// included.
    ///
    /// After that it fails with `ETIMEDOUT`, as it does when the system itself gives up, which
    /// takes minutes. Node has no such limit.
    pub fn deadline(mut self, time: impl Into<Millis>) -> ConnectOptions {
        self.request.deadline_ms = Some(time.into().get());
        self
    }

    /// Addresses not to connect to: an attempt fails with `ERR_IP_BLOCKED` (N260). Rules added to
    /// the list later count, too. Node's `blockList`.
    pub fn block_list(mut self, list: &BlockList) -> ConnectOptions {
        self.request.block_list = Some(list.clone());
        self
    }

    /// Uses only addresses of this family, and only the first of them. Node's `family`.
    pub fn family(mut self, family: Family) -> ConnectOptions {
        self.request.look_up.family = Some(family);
        self
    }

    /// The hints for the resolver; [`ADDRCONFIG`](Hints::ADDRCONFIG) if no family is asked for.
    /// Node's `hints`.
    pub fn hints(mut self, hints: Hints) -> ConnectOptions {
        self.request.look_up.hints = hints;
        self
    }

    /// The order in which the addresses of a name are tried; by default the resolver's.
    pub fn order(mut self, order: Order) -> ConnectOptions {
        self.request.look_up.order = order;
        self
    }

    /// Looks names up with a function of your own instead of the system's resolver. It is called on
    /// the tick after `connect` with the name and the request, and answers then or later. A pending
    /// answer does not keep the loop alive (N54). The function is not called for an IP address.
    /// Node's `lookup`.
    ///
    /// ```
    /// use nodeloop::net::{self, ConnectOptions};
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// let to = ConnectOptions::new("database", 1).lookup(|host, _, answer| match host {
    ///     "database" => answer.found([[127, 0, 0, 1].into()]),
    ///     _ => answer.not_found(),
    /// });
    /// let socket = net::connect(&lp, to);
    /// socket.on_lookup(|_, found, host| println!("{host} is {}", found.unwrap()));
    /// socket.on_error(|_, error| assert_eq!(error.code(), Some("ECONNREFUSED")));
    /// # lp.run()
    /// # }
    /// ```
    pub fn lookup(
        mut self,
        lookup: impl Fn(&str, LookupOptions, LookupAnswer) + 'static,
    ) -> ConnectOptions {
        self.request.lookup = Some(Rc::new(lookup));
        self
    }

    /// Whether all addresses of a name are tried. The default is the
    /// [loop's](crate::Builder::auto_select_family). Node's `autoSelectFamily`.
    pub fn auto_select_family(mut self, yes: bool) -> ConnectOptions {
        self.request.auto_select_family = Some(yes);
        self
    }

    /// How long an address may take before the next is tried beside it (milliseconds or a
    /// `Duration`); at least 10 ms (N258). The default is the
    /// [loop's](crate::Builder::auto_select_family_attempt_timeout). Node's
    /// `autoSelectFamilyAttemptTimeout`.
    pub fn auto_select_family_attempt_timeout(mut self, time: impl Into<Millis>) -> ConnectOptions {
        self.request.attempt_timeout_ms = Some(time.into().get());
        self
    }

    /// The socket's [inactivity timeout](crate::net::Socket::set_timeout), from before it connects.
    /// Node's `timeout`.
    pub fn timeout(mut self, time: impl Into<Millis>) -> ConnectOptions {
        self.timeout_ms = Some(time.into().get());
        self
    }

    /// The options of the socket that [`connect`](crate::net::connect()) makes. A socket that
    /// exists already keeps its own.
    pub fn socket(mut self, options: SocketOptions) -> ConnectOptions {
        self.socket = options;
        self
    }
}

impl From<SocketAddr> for ConnectOptions {
    fn from(address: SocketAddr) -> ConnectOptions {
        let scope = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        ConnectOptions::to(ConnectHost::Address(address.ip(), scope), address.port())
    }
}

impl From<u16> for ConnectOptions {
    /// To a port of this machine, `localhost`: Node's `connect(port)`.
    fn from(port: u16) -> ConnectOptions {
        ConnectOptions::new("", port)
    }
}

impl From<SocketAddrV4> for ConnectOptions {
    fn from(address: SocketAddrV4) -> ConnectOptions {
        SocketAddr::from(address).into()
    }
}

impl From<SocketAddrV6> for ConnectOptions {
    fn from(address: SocketAddrV6) -> ConnectOptions {
        SocketAddr::from(address).into()
    }
}

impl From<(&str, u16)> for ConnectOptions {
    fn from((host, port): (&str, u16)) -> ConnectOptions {
        ConnectOptions::new(host, port)
    }
}

impl From<(String, u16)> for ConnectOptions {
    fn from((host, port): (String, u16)) -> ConnectOptions {
        ConnectOptions::new(host, port)
    }
}

impl From<(&String, u16)> for ConnectOptions {
    fn from((host, port): (&String, u16)) -> ConnectOptions {
        ConnectOptions::new(host, port)
    }
}

impl From<(IpAddr, u16)> for ConnectOptions {
    fn from(address: (IpAddr, u16)) -> ConnectOptions {
        SocketAddr::from(address).into()
    }
}

impl From<(Ipv4Addr, u16)> for ConnectOptions {
    fn from(address: (Ipv4Addr, u16)) -> ConnectOptions {
        SocketAddr::from(address).into()
    }
}

impl From<(Ipv6Addr, u16)> for ConnectOptions {
    fn from(address: (Ipv6Addr, u16)) -> ConnectOptions {
        SocketAddr::from(address).into()
    }
}
