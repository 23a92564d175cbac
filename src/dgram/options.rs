//! What UDP sockets are made with, where they are bound, and where they send.

use std::rc::Rc;

use crate::event_loop::look_up::{CustomLookup, LookupAnswer};
use crate::ground::block_list::BlockList;
use crate::ground::look_up::LookupOptions;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::backend::datagram::BindOptions as Flags;
use crate::event_loop::datagram_entry::{Backlog, BindRequest, DatagramOptions, Host, RemoteInfo};

/// How many datagrams of one socket may wait to be sent, unless [`SocketOptions::max_queued`] says
/// otherwise.
///
/// That is some seconds' worth for a fast sender, and bounds what a program can pile up while the
/// kernel takes nothing.
pub const MAX_QUEUED_DATAGRAMS: usize = 4096;

/// How many bytes of one socket may wait to be sent, unless [`SocketOptions::max_queued`] says
/// otherwise.
pub const MAX_QUEUED_BYTES: usize = 8 * 1024 * 1024;

/// The family of a socket: Node's `'udp4'` and `'udp6'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketType {
    /// IPv4.
    Udp4,
    /// IPv6; IPv4 too, as `::ffff:a.b.c.d`, unless [`SocketOptions::ipv6_only`] is set.
    Udp6,
}

impl SocketType {
    /// Node's name: `udp4`, `udp6`.
    pub fn as_str(self) -> &'static str {
        match self {
            SocketType::Udp4 => "udp4",
            SocketType::Udp6 => "udp6",
        }
    }
}

impl fmt::Display for SocketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a socket is made with: the options of Node's `dgram.createSocket`.
///
/// ```
/// use nodeloop::dgram::{self, SocketOptions, SocketType};
///
/// # fn main() -> nodeloop::Result<()> {
/// # let lp = nodeloop::Loop::new()?;
/// let options = SocketOptions::new(SocketType::Udp4).reuse_addr(true).recv_buffer_size(1 << 20);
/// let socket = dgram::create_socket(&lp, options);
/// # lp.run()
/// # }
/// ```
#[derive(Clone)]
#[must_use = "options do nothing by themselves"]
pub struct SocketOptions {
    pub(super) socket_type: SocketType,
    pub(super) options: DatagramOptions,
    pub(super) lookup: Option<CustomLookup>,
}

impl fmt::Debug for SocketOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketOptions")
            .field("socket_type", &self.socket_type)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl SocketOptions {
    /// The default options.
    pub fn new(socket_type: SocketType) -> SocketOptions {
        SocketOptions {
            socket_type,
            options: DatagramOptions {
                bind: Flags::default(),
                receive_block: None,
                send_block: None,
                recv_buffer_size: None,
                send_buffer_size: None,
                limit: Backlog {
                    datagrams: MAX_QUEUED_DATAGRAMS,
                    bytes: MAX_QUEUED_BYTES,
                },
            },
            lookup: None,
        }
    }

    /// Looks names up with a function of your own instead of the system's resolver. It is called on
    /// the next tick with the name and the wanted family, and answers then or later; the first
    /// address counts. A pending answer does not keep the loop alive. Node's `lookup`.
    ///
    /// ```
    /// use nodeloop::dgram::{self, SocketOptions, SocketType};
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// let options = SocketOptions::new(SocketType::Udp4).lookup(|host, _, answer| match host {
    ///     "collector" => answer.found([[127, 0, 0, 1].into()]),
    ///     _ => answer.not_found(),
    /// });
    /// let socket = dgram::create_socket(&lp, options);
    /// socket.bind(("collector", 0))?;
    /// socket.on_listening(|socket| {
    ///     assert!(socket.address().unwrap().ip().is_loopback());
    ///     socket.close().unwrap();
    /// });
    /// # lp.run()
    /// # }
    /// ```
    pub fn lookup(
        mut self,
        lookup: impl Fn(&str, LookupOptions, LookupAnswer) + 'static,
    ) -> SocketOptions {
        self.lookup = Some(Rc::new(lookup));
        self
    }

    /// Whether other sockets may be bound to the same address, if they set this too. On Linux a
    /// datagram to one receiver goes to the socket that was bound last; a datagram to a group goes
    /// to all (N282). Node's `reuseAddr`.
    pub fn reuse_addr(mut self, yes: bool) -> SocketOptions {
        self.options.bind.reuse_address = yes;
        self
    }

    /// Whether several sockets may be bound to the same address, with the system spreading arriving
    /// datagrams over them; each of them must set it (N283). Where the system can't, binding fails
    /// with `ENOTSUP`. Node's `reusePort`.
    pub fn reuse_port(mut self, yes: bool) -> SocketOptions {
        self.options.bind.reuse_port = yes;
        self
    }

    /// Whether a socket for IPv6 excludes IPv4. Binding a socket for IPv4 with this fails with
    /// `EINVAL`. Node's `ipv6Only`.
    pub fn ipv6_only(mut self, yes: bool) -> SocketOptions {
        self.options.bind.ipv6_only = yes;
        self
    }

    /// The size in bytes of the kernel's receive buffer, set when the socket is bound; 0 leaves the
    /// system's. Node's `recvBufferSize`.
    pub fn recv_buffer_size(mut self, bytes: u32) -> SocketOptions {
        self.options.recv_buffer_size = Some(bytes);
        self
    }

    /// The size in bytes of the kernel's send buffer, set when the socket is bound; 0 leaves the
    /// system's. Node's `sendBufferSize`.
    pub fn send_buffer_size(mut self, bytes: u32) -> SocketOptions {
        self.options.send_buffer_size = Some(bytes);
        self
    }

    /// Drops datagrams from senders on a list, before they reach a listener (N296). Rules added to
    /// the list later count, too. Node's `receiveBlockList`.
    ///
    /// ```
    /// use nodeloop::dgram::{self, SocketOptions, SocketType};
    /// use nodeloop::net::BlockList;
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// let list = BlockList::new();
    /// list.add_cidr("10.0.0.0/8")?;
    /// let options = SocketOptions::new(SocketType::Udp4).receive_block_list(&list);
    /// let socket = dgram::create_socket(&lp, options);
    /// # lp.run()
    /// # }
    /// ```
    pub fn receive_block_list(mut self, list: &BlockList) -> SocketOptions {
        self.options.receive_block = Some(list.clone());
        self
    }

    /// Sends nothing to addresses on a list (N296): the completion gets `ERR_IP_BLOCKED`; without
    /// one the failure is silent. Connecting to such an address fails with the same code. A name is
    /// checked once it has been looked up. Rules added later count, too, but not for a peer that is
    /// connected already. Node's `sendBlockList`.
    pub fn send_block_list(mut self, list: &BlockList) -> SocketOptions {
        self.options.send_block = Some(list.clone());
        self
    }

    /// How many datagrams, and how many of their bytes, may wait to be sent: for the binding, for
    /// their tick, for the kernel.
    ///
    /// A send beyond that fails with `ENOBUFS`, which goes to its completion or comes as 'error'.
    /// The defaults are [`MAX_QUEUED_DATAGRAMS`] and [`MAX_QUEUED_BYTES`]; Node has no bound.
    pub fn max_queued(mut self, datagrams: usize, bytes: usize) -> SocketOptions {
        self.options.limit = Backlog { datagrams, bytes };
        self
    }
}

impl From<SocketType> for SocketOptions {
    fn from(socket_type: SocketType) -> SocketOptions {
        SocketOptions::new(socket_type)
    }
}

/// Where a socket is bound: an address and a port, each with a default.
///
/// A port alone means all addresses. A host is an IP address (of an interface of this machine, or
/// unspecified), or a name, which is looked up.
///
/// ```
/// use nodeloop::dgram::{self, BindOptions, SocketType};
///
/// # fn main() -> nodeloop::Result<()> {
/// # let lp = nodeloop::Loop::new()?;
/// # let [a, b, c, d] = [(); 4].map(|_| dgram::create_socket(&lp, SocketType::Udp4));
/// a.bind(())?; // a port that the system chooses, at all addresses
/// b.bind(0)?; // the same
/// c.bind(("127.0.0.1", 0))?;
/// d.bind(BindOptions::new().host("127.0.0.1").port(0))?;
/// # for socket in [a, b, c, d] { socket.on_listening(|socket| socket.close().unwrap()); }
/// # lp.run()
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing by themselves"]
pub struct BindOptions {
    pub(super) request: BindRequest,
}

impl Default for BindOptions {
    fn default() -> BindOptions {
        BindOptions {
            request: BindRequest::new(Host::Default, 0),
        }
    }
}

impl BindOptions {
    /// All addresses (`0.0.0.0` or `::`), and a port that the system chooses.
    pub fn new() -> BindOptions {
        BindOptions::default()
    }

    /// The port; with 0 the system chooses.
    pub fn port(mut self, port: u16) -> BindOptions {
        self.request.port = port;
        self
    }

    /// The address as text; empty is all addresses.
    pub fn host(mut self, host: impl Into<String>) -> BindOptions {
        self.request.host = named(host.into());
        self
    }
}

impl From<()> for BindOptions {
    fn from((): ()) -> BindOptions {
        BindOptions::default()
    }
}

impl From<u16> for BindOptions {
    fn from(port: u16) -> BindOptions {
        BindOptions::new().port(port)
    }
}

impl From<SocketAddr> for BindOptions {
    fn from(address: SocketAddr) -> BindOptions {
        let (host, port) = host_of(address);
        BindOptions {
            request: BindRequest::new(host, port),
        }
    }
}

/// Where a datagram goes, or a socket is connected to: an address and a port.
///
/// A port alone means this machine, `127.0.0.1` or `::1` (N268). A host is an IP address of the
/// socket's family; another fails with `EINVAL`. A name is looked up. The sender of a datagram is a
/// destination too.
#[derive(Debug, Clone)]
pub struct Destination {
    pub(super) host: Host,
    pub(super) port: u16,
}

impl Destination {
    pub(super) fn parts(self) -> (Host, u16) {
        (self.host, self.port)
    }
}

impl From<u16> for Destination {
    fn from(port: u16) -> Destination {
        Destination {
            host: Host::Default,
            port,
        }
    }
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Destination {
        let (host, port) = host_of(address);
        Destination { host, port }
    }
}

impl From<RemoteInfo> for Destination {
    /// An answer.
    fn from(from: RemoteInfo) -> Destination {
        from.socket_addr().into()
    }
}

/// The pairs of an address and a port.
macro_rules! from_pairs {
    ($target:ident: $($address:ty),+) => {
        $(impl From<($address, u16)> for $target {
            fn from((address, port): ($address, u16)) -> $target {
                SocketAddr::new(address.into(), port).into()
            }
        })+

        impl From<SocketAddrV4> for $target {
            fn from(address: SocketAddrV4) -> $target {
                SocketAddr::V4(address).into()
            }
        }

        impl From<SocketAddrV6> for $target {
            fn from(address: SocketAddrV6) -> $target {
                SocketAddr::V6(address).into()
            }
        }
    };
}

from_pairs!(BindOptions: IpAddr, Ipv4Addr, Ipv6Addr);
from_pairs!(Destination: IpAddr, Ipv4Addr, Ipv6Addr);

/// The pairs of a host as text and a port.
macro_rules! from_named {
    ($($text:ty),+) => {
        $(impl From<($text, u16)> for BindOptions {
            fn from((host, port): ($text, u16)) -> BindOptions {
                BindOptions::new().host(host).port(port)
            }
        }

        impl From<($text, u16)> for Destination {
            fn from((host, port): ($text, u16)) -> Destination {
                Destination { host: named(host.into()), port }
            }
        })+
    };
}

from_named!(&str, String, &String);

fn named(host: String) -> Host {
    match host.is_empty() {
        true => Host::Default,
        false => Host::Name(host),
    }
}

fn host_of(address: SocketAddr) -> (Host, u16) {
    let scope = match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(address) => address.scope_id(),
    };
    (Host::Address(address.ip(), scope), address.port())
}

/// What Node's `rinfo` says.
impl RemoteInfo {
    /// The sender's address. On a socket for both families an IPv4 sender shows as
    /// `::ffff:a.b.c.d` (N280).
    pub fn address(self) -> IpAddr {
        self.address.ip()
    }

    /// The sender's port.
    pub fn port(self) -> u16 {
        self.address.port()
    }

    /// Address and port, and the zone of a link-local address.
    pub fn socket_addr(self) -> SocketAddr {
        self.address
    }

    /// `IPv4` or `IPv6`.
    pub fn family(self) -> &'static str {
        match self.address {
            SocketAddr::V4(_) => "IPv4",
            SocketAddr::V6(_) => "IPv6",
        }
    }

    /// The datagram's size in bytes.
    pub fn size(self) -> usize {
        self.size
    }
}

impl fmt::Display for RemoteInfo {
    /// Prints `address:port`, with brackets around an IPv6 address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
