//! What servers and sockets are made with, and where servers listen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::backend::{self, KeepAlive};
use crate::event_loop::entry::AcceptOptions;
use crate::event_loop::server::{ListenHost, ListenRequest};
use crate::ground::block_list::BlockList;
use crate::ground::millis::Millis;

/// How many connections may wait to be accepted, as in Node (N71). The system may have a lower
/// limit of its own.
pub const DEFAULT_BACKLOG: u32 = 511;

/// The mark, in bytes, at which a paused socket stops reading and at which `write` returns false,
/// as in Node since version 22 (N151, N176).
pub const DEFAULT_HIGH_WATER_MARK: u32 = 64 * 1024;

/// What a server is made with: the options of Node's `net.createServer`.
///
/// ```
/// use nodeloop::{net, Loop};
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = Loop::new()?;
/// let options = net::ServerOptions::new().allow_half_open(true);
/// let server = net::create_server_with(&lp, options, |socket| {
///     socket.on_data(|_, _| {});
///     // Half-open: the answer may come long after the question has ended.
///     socket.on_end(|socket| {
///         socket.event_loop().set_timeout_once(1000, move |_| socket.end_with("answer"));
///     });
/// });
/// # lp.run()
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing by themselves"]
pub struct ServerOptions {
    pub(super) accept: AcceptOptions,
    pub(super) block_list: Option<BlockList>,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            accept: AcceptOptions {
                allow_half_open: false,
                pause_on_connect: false,
                no_delay: false,
                keep_alive: None,
                high_water_mark: DEFAULT_HIGH_WATER_MARK,
            },
            block_list: None,
        }
    }
}

impl ServerOptions {
    /// The default options.
    pub fn new() -> ServerOptions {
        ServerOptions::default()
    }

    /// Whether a socket stays writable after its peer has ended, until `end` is called. Default:
    /// false; this side ends a tick after 'end' (N123). Node's `allowHalfOpen`.
    pub fn allow_half_open(mut self, yes: bool) -> ServerOptions {
        self.accept.allow_half_open = yes;
        self
    }

    /// Whether accepted sockets read nothing before [`resume`](crate::net::Socket::resume) is
    /// called. Default: false; they read at once, and buffer. Node's `pauseOnConnect`.
    pub fn pause_on_connect(mut self, yes: bool) -> ServerOptions {
        self.accept.pause_on_connect = yes;
        self
    }

    /// Whether accepted sockets begin with Nagle's algorithm off. Node's `noDelay`.
    pub fn no_delay(mut self, yes: bool) -> ServerOptions {
        self.accept.no_delay = yes;
        self
    }

    /// Whether accepted sockets begin with keep-alive on, and after how long without traffic
    /// (milliseconds or a `Duration`) it begins to probe (whole seconds count; 0 leaves the system's).
    /// Node's `keepAlive` and `keepAliveInitialDelay`.
    pub fn keep_alive(mut self, yes: bool, initial_delay: impl Into<Millis>) -> ServerOptions {
        self.accept.keep_alive = keep_alive(yes, initial_delay.into());
        self
    }

    /// The mark in bytes at which an accepted socket that is paused stops reading, and at which
    /// `write` returns false (N167). [`DEFAULT_HIGH_WATER_MARK`]. Node's `highWaterMark`.
    pub fn high_water_mark(mut self, bytes: u32) -> ServerOptions {
        self.accept.high_water_mark = bytes;
        self
    }

    /// Peers to refuse: their connections are accepted and closed at once, with neither
    /// 'connection' nor 'drop' (N94). Rules added to the list later count, too. Node's `blockList`.
    pub fn block_list(mut self, list: &BlockList) -> ServerOptions {
        self.block_list = Some(list.clone());
        self
    }
}

/// Keep-alive in whole seconds, as Node cuts them (N199).
pub(super) fn keep_alive(yes: bool, initial_delay: Millis) -> Option<KeepAlive> {
    yes.then_some(KeepAlive {
        delay_s: seconds(initial_delay),
        interval_s: None,
        count: None,
    })
}

/// How many whole seconds they are.
pub(super) fn seconds(time: Millis) -> u32 {
    u32::try_from(time.get() / 1000).unwrap_or(u32::MAX)
}

/// What a socket is made with: the options of Node's `new net.Socket`.
///
/// ```
/// use nodeloop::net::{Socket, SocketOptions};
///
/// # fn main() -> nodeloop::Result<()> {
/// # let lp = nodeloop::Loop::new()?;
/// let socket = Socket::new(&lp, SocketOptions::new().allow_half_open(true));
/// # lp.run()
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "options do nothing by themselves"]
pub struct SocketOptions {
    pub(super) allow_half_open: bool,
    pub(super) read_mark: u32,
    pub(super) write_mark: u32,
    pub(super) no_delay: bool,
    pub(super) keep_alive: Option<KeepAlive>,
}

impl Default for SocketOptions {
    fn default() -> SocketOptions {
        SocketOptions {
            allow_half_open: false,
            read_mark: DEFAULT_HIGH_WATER_MARK,
            write_mark: DEFAULT_HIGH_WATER_MARK,
            no_delay: false,
            keep_alive: None,
        }
    }
}

impl SocketOptions {
    /// The default options.
    pub fn new() -> SocketOptions {
        SocketOptions::default()
    }

    /// Whether the socket stays writable after its peer has ended, until `end` is called. Default:
    /// false; this side ends a tick after 'end' (N123). Node's `allowHalfOpen`.
    pub fn allow_half_open(mut self, yes: bool) -> SocketOptions {
        self.allow_half_open = yes;
        self
    }

    /// Both marks in bytes: at which a paused socket stops reading, and at which `write` returns
    /// false. [`DEFAULT_HIGH_WATER_MARK`]. Node's `highWaterMark`.
    pub fn high_water_mark(mut self, bytes: u32) -> SocketOptions {
        self.read_mark = bytes;
        self.write_mark = bytes;
        self
    }

    /// The mark in bytes at which a paused socket stops reading. Node's `readableHighWaterMark`.
    pub fn readable_high_water_mark(mut self, bytes: u32) -> SocketOptions {
        self.read_mark = bytes;
        self
    }

    /// The mark in bytes at which `write` returns false. Node's `writableHighWaterMark`.
    pub fn writable_high_water_mark(mut self, bytes: u32) -> SocketOptions {
        self.write_mark = bytes;
        self
    }

    /// Whether the socket starts with Nagle's algorithm off. Node's `noDelay`.
    pub fn no_delay(mut self, yes: bool) -> SocketOptions {
        self.no_delay = yes;
        self
    }

    /// Whether the socket starts with keep-alive on, and after how long without traffic (milliseconds or
    /// a `Duration`) it begins to probe (whole seconds count; 0 leaves the system's). Node's `keepAlive`
    /// and `keepAliveInitialDelay`.
    pub fn keep_alive(mut self, yes: bool, initial_delay: impl Into<Millis>) -> SocketOptions {
        self.keep_alive = keep_alive(yes, initial_delay.into());
        self
    }
}

/// Where a server listens: a port, an address, a host and a port, or all of it.
///
/// - A port alone: all addresses, IPv6 and IPv4, or IPv4 alone where there is no IPv6 (N69). The
///   socket listens when `listen` returns.
/// - `(host, port)` with a text: an IP address or a name. As in Node it is looked up first, so the
///   socket listens a tick later (N67), or when a worker thread has found the name's addresses. Of
///   several the first is taken that is not link-local. `""` is no host.
/// - [`SocketAddr`], or an [`IpAddr`] with a port: there is nothing to look up, so the socket
///   listens when `listen` returns.
/// - On Unix a [path](ListenOptions::path), or a [socket that exists](ListenOptions::fd): of another
///   process, of `std`.
///
/// With port 0 the system chooses one; [`address`](crate::net::Server::address) returns it.
///
/// ```
/// use nodeloop::{net::ListenOptions, net, Loop};
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = Loop::new()?;
/// let server = net::create_server(&lp, |_| {});
/// server.listen(ListenOptions::new().host("127.0.0.1").port(0).backlog(16))?;
/// # server.close();
/// # lp.run()
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing by themselves"]
pub struct ListenOptions {
    pub(super) request: ListenRequest,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions {
            request: ListenRequest {
                host: ListenHost::Any,
                port: 0,
                options: backend::ListenOptions {
                    backlog: DEFAULT_BACKLOG,
                    ipv6_only: false,
                    reuse_port: false,
                    #[cfg(unix)]
                    file_mode: 0,
                },
            },
        }
    }
}

impl ListenOptions {
    /// All addresses, a port that the system chooses, the default backlog.
    pub fn new() -> ListenOptions {
        ListenOptions::default()
    }

    /// The port; with 0 the system chooses.
    pub fn port(mut self, port: u16) -> ListenOptions {
        self.request.port = port;
        self
    }

    /// The address to listen at, as text, or a name; `""` is all addresses.
    pub fn host(mut self, host: impl Into<String>) -> ListenOptions {
        let host = host.into();
        self.request.host = match host.is_empty() {
            true => ListenHost::Any,
            false => ListenHost::Name(host),
        };
        self
    }

    /// How many connections may wait to be accepted; 0 is [`DEFAULT_BACKLOG`].
    pub fn backlog(mut self, connections: u32) -> ListenOptions {
        self.request.options.backlog = match connections {
            0 => DEFAULT_BACKLOG,
            connections => connections,
        };
        self
    }

    /// Whether an IPv6 address, `::` included, excludes IPv4 (N245). Default: false; `::` takes
    /// both. It has no effect on an IPv4 address. Node's `ipv6Only`.
    pub fn ipv6_only(mut self, yes: bool) -> ListenOptions {
        self.request.options.ipv6_only = yes;
        self
    }

    /// Whether several sockets, in other loops, threads or processes too, may listen at one
    /// address, with the system spreading connections over them (N283). Each of them must set it.
    /// `ENOTSUP` where the system lacks it. Node's `reusePort`.
    pub fn reuse_port(mut self, yes: bool) -> ListenOptions {
        self.request.options.reuse_port = yes;
        self
    }

    fn address(mut self, address: SocketAddr) -> ListenOptions {
        let scope = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        self.request.host = ListenHost::Address(address.ip(), scope);
        self.port(address.port())
    }
}

impl From<u16> for ListenOptions {
    fn from(port: u16) -> ListenOptions {
        ListenOptions::new().port(port)
    }
}

impl From<(&str, u16)> for ListenOptions {
    fn from((host, port): (&str, u16)) -> ListenOptions {
        ListenOptions::new().host(host).port(port)
    }
}

impl From<(String, u16)> for ListenOptions {
    fn from((host, port): (String, u16)) -> ListenOptions {
        ListenOptions::new().host(host).port(port)
    }
}

impl From<(&String, u16)> for ListenOptions {
    fn from((host, port): (&String, u16)) -> ListenOptions {
        ListenOptions::new().host(host).port(port)
    }
}

impl From<SocketAddr> for ListenOptions {
    fn from(address: SocketAddr) -> ListenOptions {
        ListenOptions::new().address(address)
    }
}

impl From<SocketAddrV4> for ListenOptions {
    fn from(address: SocketAddrV4) -> ListenOptions {
        SocketAddr::from(address).into()
    }
}

impl From<SocketAddrV6> for ListenOptions {
    fn from(address: SocketAddrV6) -> ListenOptions {
        SocketAddr::from(address).into()
    }
}

impl From<(IpAddr, u16)> for ListenOptions {
    fn from(address: (IpAddr, u16)) -> ListenOptions {
        SocketAddr::from(address).into()
    }
}

impl From<(Ipv4Addr, u16)> for ListenOptions {
    fn from(address: (Ipv4Addr, u16)) -> ListenOptions {
        SocketAddr::from(address).into()
    }
}

impl From<(Ipv6Addr, u16)> for ListenOptions {
    fn from(address: (Ipv6Addr, u16)) -> ListenOptions {
        SocketAddr::from(address).into()
    }
}
