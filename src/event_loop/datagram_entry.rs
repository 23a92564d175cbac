//! What the slab holds of a UDP socket, its listeners included, and what waits in it.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
#[cfg(unix)]
use std::os::fd::OwnedFd;
#[cfg(unix)]
use std::sync::Arc;

use slab::Slab;

use super::datagram_connect::ConnectCall;
use super::datagram_names::HostLookUp;
use super::datagram_options::parse_host;
use super::datagram_send::{Outgoing, Queued, SendDone, Told};
use super::entry::{Common, Entry, flag, remove_from};
use super::handle::{Id, UdpSocket};
use super::look_up::{Answer, CustomLookup};
use super::server::with_scope;
use crate::backend::datagram::{BindOptions, Catch, Datagram};
use crate::backend::ready;
use crate::ground::block_list::BlockList;
use crate::ground::error::{Error, Result};
use crate::ground::listeners::{ListenerId, Slot};
use crate::ground::look_up::LookupOptions;

/// A UDP socket.
pub(crate) struct DatagramState {
    /// What servers and sockets have too.
    pub(crate) common: Common,
    /// The socket itself: made when it is bound, or when it joins a group; none once it is closed.
    pub(crate) io: Option<Datagram>,
    /// What the backend has said and nothing has contradicted since.
    pub(crate) ready: u8,
    /// Of which family it is.
    pub(crate) is_ipv6: bool,
    /// Whether it is bound.
    pub(crate) bound: BindState,
    /// Whether it is connected.
    pub(crate) connected: ConnectState,
    /// What it was made with.
    pub(crate) options: DatagramOptions,
    /// Calls that wait until it is bound (Node's queue).
    pub(crate) waiting: Option<Box<Waiting>>,
    /// The listener of the `bind` under way: an error removes it (N262).
    pub(crate) bind_listener: Option<ListenerId>,
    /// Datagrams that wait to be tried: for the binding, or for their tick.
    pub(crate) untried: Backlog,
    /// Datagrams that wait for a name to be looked up, or behind such.
    pub(crate) unresolved: VecDeque<Box<Outgoing>>,
    /// Look-ups that are under way.
    pub(crate) look_ups: Vec<HostLookUp>,
    /// Who is asked for names in the resolver's place.
    pub(crate) lookup: Option<CustomLookup>,
    /// Datagrams that the kernel had no room for.
    pub(crate) queue: VecDeque<Queued>,
    /// What became of those since: to be told, one loop callback each.
    pub(crate) told: VecDeque<Told>,
    /// How much of the two there is.
    pub(crate) queued: Backlog,
    /// Datagrams that were received beyond an earlier turn's share.
    pub(crate) catch: Option<Box<Catch>>,
    /// How many reads the next receive asks for.
    pub(crate) reads: usize,
    /// How many datagrams in a row came alone.
    pub(crate) alone: u8,
    /// Listeners of 'message'.
    pub(crate) message: Slot<dyn FnMut(UdpSocket, &[u8], RemoteInfo)>,
    pub(crate) listening: Slot<dyn FnMut(UdpSocket)>,
    pub(crate) connect: Slot<dyn FnMut(UdpSocket)>,
    pub(crate) error: Slot<dyn FnMut(UdpSocket, &Error)>,
    pub(crate) close: Slot<dyn FnMut(UdpSocket)>,
}

/// What a UDP socket was made with.
#[derive(Debug, Clone)]
pub(crate) struct DatagramOptions {
    pub(crate) bind: BindOptions,
    /// From whom nothing is delivered, and to whom nothing is sent.
    pub(crate) receive_block: Option<BlockList>,
    pub(crate) send_block: Option<BlockList>,
    /// The kernel's buffers, in bytes; set when it is bound.
    pub(crate) recv_buffer_size: Option<u32>,
    pub(crate) send_buffer_size: Option<u32>,
    /// How much may wait to be sent.
    pub(crate) limit: Backlog,
}

/// An amount of datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub(crate) datagrams: usize,
    pub(crate) bytes: usize,
}

/// Whether a UDP socket is bound (N261).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BindState {
    Unbound,
    Binding,
    Bound,
}

/// Whether a UDP socket is connected (N261).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectState {
    Disconnected,
    Connecting,
    Connected,
}

/// Who sent a datagram: Node's `rinfo`.
///
/// It is a destination too: `socket.send_to("answer", from)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RemoteInfo {
    pub(crate) address: SocketAddr,
    pub(crate) size: usize,
}

/// Calls that wait until the socket is bound.
pub(crate) struct Waiting {
    /// The listener that was added last before the first of them: those behind it hear 'listening'
    /// after the calls were made.
    pub(crate) behind: ListenerId,
    pub(crate) calls: Vec<WaitingCall>,
}

/// A call that waits until the socket is bound.
pub(crate) enum WaitingCall {
    Send(Box<Outgoing>),
    Connect(Box<ConnectCall>),
    Close,
}

/// An address as a program gives it.
#[derive(Debug, Clone)]
pub(crate) enum Host {
    /// None: everybody to bind, this machine to send and connect.
    Default,
    /// An address that needs no look-up, with its scope.
    Address(IpAddr, u32),
    /// Text that is looked up.
    Name(String),
}

/// Where to bind.
#[derive(Debug, Clone)]
pub(crate) struct BindRequest {
    pub(crate) host: Host,
    /// 0 lets the system choose.
    pub(crate) port: u16,
    /// A socket that exists, instead. Shared, since requests are cloned.
    #[cfg(unix)]
    pub(crate) descriptor: Option<Arc<OwnedFd>>,
}

impl BindRequest {
    pub(crate) fn new(host: Host, port: u16) -> BindRequest {
        BindRequest {
            host,
            port,
            #[cfg(unix)]
            descriptor: None,
        }
    }
}

/// A task of a UDP socket.
pub(crate) enum DatagramTask {
    /// Binds at a host whose look-up is over.
    Bind(Box<BindRequest>),
    /// Emits 'listening', all of it, if the socket is still open (emitListeningNT).
    Listening,
    /// Emits 'listening', and makes the calls that have waited in its middle.
    EmitListening,
    /// Makes the calls that have waited (clearQueue).
    MakeCalls,
    /// Connects to a host whose look-up is over.
    Connect(Box<ConnectCall>),
    /// Tells that connecting has failed.
    ConnectFailed(Box<ConnectCall>, Error),
    /// Emits 'connect'; maybe only if the socket is still open.
    EmitConnect(bool),
    /// Emits 'error'.
    EmitError(Error),
    /// Tells of an error that no call and no event carries.
    Throw(Error),
    /// Emits 'close', the last event.
    EmitClose,
    /// Asks a user's function for a name.
    AskUser(u64, Box<(Box<str>, LookupOptions)>),
    /// A look-up has failed before it began.
    LookedUp(u64, Answer),
    /// Sends to a host whose look-up is over.
    Send(Box<Outgoing>),
    /// The same of a datagram that lies in the outbox already.
    SendStaged,
    /// Tells a completion what became of its datagram.
    Sent(usize),
    /// The same, and what it is.
    Complete(SendDone, Result<usize>),
}

/// The UDP socket with this id.
#[inline]
pub(crate) fn datagram_of(entries: &mut Slab<Entry>, id: Id) -> Option<&mut DatagramState> {
    match entries.get_mut(id.key as usize) {
        Some(Entry::Datagram(datagram)) if datagram.common.serial == id.serial => Some(datagram),
        _ => None,
    }
}

impl DatagramTask {
    /// Whether a person who follows the loop wants to know: it calls a listener, or the system.
    pub(crate) fn is_told(&self) -> bool {
        !matches!(
            self,
            DatagramTask::Listening
                | DatagramTask::MakeCalls
                | DatagramTask::Sent(_)
                | DatagramTask::Complete(..)
        )
    }

    /// What it does, for people.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            DatagramTask::Bind(_) => "the system is asked to bind",
            DatagramTask::Listening | DatagramTask::EmitListening => "'listening'",
            DatagramTask::AskUser(..) => "a look-up function is asked",
            DatagramTask::LookedUp(..) => "a look-up has failed",
            DatagramTask::MakeCalls => "what waited for the binding",
            DatagramTask::Connect(_) => "the system is asked to connect",
            DatagramTask::ConnectFailed(..) => "it could not be connected",
            DatagramTask::EmitConnect(_) => "'connect'",
            DatagramTask::EmitError(_) => "'error'",
            DatagramTask::Throw(_) => "an error that nobody can catch",
            DatagramTask::EmitClose => "'close'",
            DatagramTask::Send(_) | DatagramTask::SendStaged => "a datagram is sent",
            DatagramTask::Sent(_) | DatagramTask::Complete(..) => "a datagram is done",
        }
    }
}

impl DatagramState {
    pub(crate) fn is_closed(&self) -> bool {
        self.common.flags.any(flag::DESTROYED)
    }

    /// Whether its slot may be freed.
    pub(crate) fn is_over(&self) -> bool {
        self.is_closed()
            && !self.common.flags.any(flag::CLOSE_DUE)
            && self.queue.is_empty()
            && self.told.is_empty()
    }

    /// Whether serving it now would do something.
    #[inline]
    pub(crate) fn wants_service(&self) -> bool {
        self.wants_to_receive() || self.wants_to_send()
    }

    /// Whether it receives, and there may be something.
    #[inline]
    fn wants_to_receive(&self) -> bool {
        self.common.flags.any(flag::ACTIVE)
            && (self.ready & ready::READABLE != 0 || self.catch.is_some())
    }

    /// Whether datagrams wait, and the kernel may take one, or somebody is to be told of them.
    #[inline]
    pub(crate) fn wants_to_send(&self) -> bool {
        // Mostly nothing waits, which one look tells.
        let can_send = || self.ready & ready::WRITABLE != 0 && !self.queue.is_empty();
        self.queued.datagrams > 0 && (!self.told.is_empty() || can_send())
    }

    /// Whether nothing is sent there (N296).
    pub(crate) fn blocks_sending(&self, to: SocketAddr) -> bool {
        let list = self.options.send_block.as_ref();
        list.is_some_and(|list| list.check(to))
    }

    /// Where to bind: everybody unless something else was said.
    pub(crate) fn any_address(&self, host: &Host, port: u16) -> Result<SocketAddr> {
        let everybody = match self.is_ipv6 {
            false => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            true => Ipv6Addr::UNSPECIFIED.into(),
        };
        resolve(host, port, everybody)
    }

    /// Where to send or connect: this machine unless something else was said (N268).
    #[inline]
    pub(crate) fn near_address(&self, host: &Host, port: u16) -> Result<SocketAddr> {
        let here = match self.is_ipv6 {
            false => IpAddr::V4(Ipv4Addr::LOCALHOST),
            true => Ipv6Addr::LOCALHOST.into(),
        };
        resolve(host, port, here)
    }

    pub(crate) fn remove_listener(&mut self, id: ListenerId) -> Option<Box<dyn std::any::Any>> {
        remove_from!(
            id,
            self.message,
            self.listening,
            self.connect,
            self.error,
            self.close
        );
        None
    }
}

/// The address that a host stands for. A name was looked up before, or is refused.
#[inline]
fn resolve(host: &Host, port: u16, default: IpAddr) -> Result<SocketAddr> {
    match host {
        Host::Default => Ok(SocketAddr::new(default, port)),
        Host::Address(address, scope) => Ok(with_scope(*address, port, *scope)),
        Host::Name(name) => resolve_name(name, port),
    }
}

#[cold]
fn resolve_name(name: &str, port: u16) -> Result<SocketAddr> {
    match parse_host(name) {
        Some((address, scope)) => Ok(with_scope(address, port, scope)),
        None => Err(Error::look_up("ENOTFOUND", name)),
    }
}

impl Backlog {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.datagrams += 1;
        self.bytes += bytes;
    }

    pub(crate) fn subtract(&mut self, bytes: usize) {
        self.datagrams -= 1;
        self.bytes -= bytes;
    }
}

fn as_datagram(entry: &mut Entry) -> Option<&mut DatagramState> {
    match entry {
        Entry::Datagram(datagram) => Some(datagram),
        _ => None,
    }
}

/// The slot of 'message'.
pub(crate) fn message_slot(
    entry: &mut Entry,
    _create: bool,
) -> Option<&mut Slot<dyn FnMut(UdpSocket, &[u8], RemoteInfo)>> {
    Some(&mut as_datagram(entry)?.message)
}

/// The slot of 'listening'.
pub(crate) fn listening_slot(
    entry: &mut Entry,
    _create: bool,
) -> Option<&mut Slot<dyn FnMut(UdpSocket)>> {
    Some(&mut as_datagram(entry)?.listening)
}

/// The slot of 'connect'.
pub(crate) fn connect_slot(
    entry: &mut Entry,
    _create: bool,
) -> Option<&mut Slot<dyn FnMut(UdpSocket)>> {
    Some(&mut as_datagram(entry)?.connect)
}

/// The slot of 'error'.
pub(crate) fn error_slot(
    entry: &mut Entry,
    _create: bool,
) -> Option<&mut Slot<dyn FnMut(UdpSocket, &Error)>> {
    Some(&mut as_datagram(entry)?.error)
}

/// The slot of 'close'.
pub(crate) fn close_slot(
    entry: &mut Entry,
    _create: bool,
) -> Option<&mut Slot<dyn FnMut(UdpSocket)>> {
    Some(&mut as_datagram(entry)?.close)
}
