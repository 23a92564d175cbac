//! What the loop's slab holds: the state of every server and socket, listeners included.

use std::net::{IpAddr, SocketAddr};
use std::panic::Location;
#[cfg(unix)]
use std::path::PathBuf;

use slab::Slab;

use super::attempts::Several;
use super::connect::Attempt;
use super::datagram_entry::DatagramState;
use super::deadlines::Idle;
use super::diversion::Diversion;
use super::extension::{Attachment, Extension};
pub(crate) use super::flags::{Flags, flag};
use super::handle::{Id, Server, Socket};
use super::look_up::LookUp;
use super::own_buffer::OwnBuffer;
pub(crate) use super::packed::{Peer, SmallId};
#[cfg(unix)]
use super::paths::PathAttempt;
use super::text::Text;
use crate::backend::{self, KeepAlive};
use crate::ground::block_list::BlockList;
use crate::ground::error::{Completion, Error};
use crate::ground::listeners::{ListenerId, Slot};
use crate::ground::mutations::mutated;
use crate::ground::read_queue::ReadQueue;
use crate::ground::write_queue::WriteQueue;

/// One slot of the slab.
pub(crate) enum Entry {
    /// A connection.
    Stream(Stream),
    /// A server. Boxed: there are few, and every slot is as large as the largest kind.
    Server(Box<ServerState>),
    /// A UDP socket. Boxed likewise.
    Datagram(Box<DatagramState>),
    /// An object of a floor above.
    Extension(Box<Extension>),
}

/// What the two kinds have in common.
pub(crate) struct Common {
    /// Tells this object from an earlier one in the same slot.
    pub(crate) serial: u64,
    /// Everything that is yes or no about it.
    pub(crate) flags: Flags,
    /// Where the program made it; for an accepted socket, where it made the server.
    pub(crate) origin: &'static Location<'static>,
}

/// A connection.
pub(crate) struct Stream {
    /// What servers have too.
    pub(crate) common: Common,
    /// The socket itself; none once it is destroyed.
    pub(crate) io: Option<backend::Stream>,
    /// What the backend has said and nothing has contradicted since.
    pub(crate) ready: u8,
    /// Where the arena has its writes, if it has.
    pub(crate) bundle: u16,
    /// The peer, once connected.
    pub(crate) remote: Option<Peer>,
    /// The server that accepted it; [`Id::NONE`] for another socket.
    pub(crate) server: SmallId,
    /// Bytes taken from the kernel.
    pub(crate) bytes_read: u64,
    /// Bytes handed down: taken by the kernel, or in flight.
    pub(crate) bytes_dispatched: u64,
    /// The mark at which a paused socket stops reading, in bytes.
    pub(crate) read_mark: u32,
    /// The mark at which `write` returns false, in bytes.
    pub(crate) write_mark: u32,
    /// Listeners of 'data'.
    pub(crate) data: Slot<dyn FnMut(Socket, &[u8])>,
    /// Listeners of 'close'.
    pub(crate) close: Slot<dyn FnMut(Socket, bool)>,
    /// The first error it met. One word here, so that a peer's reset makes no `extra`.
    pub(crate) errored: Option<Error>,
    /// The other listeners; made with the first of them.
    pub(crate) listeners: Option<Box<SocketListeners>>,
    /// What is rarely there; made when needed.
    pub(crate) extra: Option<Box<StreamExtra>>,
}

/// A listener of 'lookup'.
pub(crate) type LookupListener = dyn FnMut(Socket, std::result::Result<IpAddr, &Error>, &str);

/// The less frequent listeners of a socket.
#[derive(Default)]
pub(crate) struct SocketListeners {
    pub(crate) end: Slot<dyn FnMut(Socket)>,
    pub(crate) drain: Slot<dyn FnMut(Socket)>,
    pub(crate) finish: Slot<dyn FnMut(Socket)>,
    pub(crate) connect: Slot<dyn FnMut(Socket)>,
    pub(crate) ready: Slot<dyn FnMut(Socket)>,
    pub(crate) attempt: Slot<dyn FnMut(Socket, SocketAddr)>,
    pub(crate) lookup: Slot<LookupListener>,
    pub(crate) attempt_failed: Slot<dyn FnMut(Socket, SocketAddr, &Error)>,
    pub(crate) attempt_timeout: Slot<dyn FnMut(Socket, SocketAddr)>,
    pub(crate) timeout: Slot<dyn FnMut(Socket)>,
    pub(crate) pause: Slot<dyn FnMut(Socket)>,
    pub(crate) resume: Slot<dyn FnMut(Socket)>,
    pub(crate) readable: Slot<dyn FnMut(Socket)>,
    pub(crate) error: Slot<dyn FnMut(Socket, &Error)>,
    /// Who sees an 'error' first, and does not count as listening.
    pub(crate) error_watch: Slot<dyn FnMut(Socket, &Error)>,
}

/// What few connections have at a time.
#[derive(Default)]
pub(crate) struct StreamExtra {
    /// Bytes that the kernel has not taken yet.
    pub(crate) writes: WriteQueue,
    /// Bytes that nobody has taken yet.
    pub(crate) reads: ReadQueue,
    /// Completions of `end`.
    pub(crate) on_finished: Vec<Completion>,
    /// The local address, once it was asked for.
    pub(crate) local: Option<SocketAddr>,
    /// 'close' events that are still to come, but for the first.
    pub(crate) more_closes_due: u32,
    /// How often `cork` was called without `uncork`.
    pub(crate) corked: u32,
    /// The inactivity timeout as it was set last; 0 is none (N201).
    pub(crate) timeout_ms: Option<u64>,
    /// The inactivity timeout that is running.
    pub(crate) idle: Option<Idle>,
    /// The type of service, if it was set.
    pub(crate) type_of_service: Option<u8>,
    /// Which life this is: a socket that closed can be connected again.
    pub(crate) life: u32,
    /// The listener that was added last before the first write, while connecting.
    pub(crate) written_behind: Option<ListenerId>,
    /// Look-ups that are under way.
    pub(crate) look_ups: Vec<LookUp>,
    /// The attempt to connect that is under way; the latest, if there are several.
    pub(crate) attempt: Option<Box<Attempt>>,
    /// What is remembered while several addresses are tried.
    pub(crate) several: Option<Box<Several>>,
    /// The addresses that were tried, if there were several (N256).
    pub(crate) attempted: Vec<SocketAddr>,
    /// An attempt that was cancelled, which is still to be told.
    pub(crate) cancelled_attempt: Option<SocketAddr>,
    /// The attempt to connect to a path that is still to be told of.
    #[cfg(unix)]
    pub(crate) path_attempt: Option<Box<PathAttempt>>,
    /// What the floor above keeps with it.
    pub(crate) attached: Option<Box<dyn Attachment>>,
    /// Keep-alive, if it is on, or will be.
    pub(crate) keep_alive: Option<KeepAlive>,
    /// What it does not connect to.
    pub(crate) block_list: Option<BlockList>,
    /// The user's buffer, if it reads into one; away while that is looked at.
    pub(crate) own: Option<Box<OwnBuffer>>,
    /// Where its bytes may go without being read.
    pub(crate) diversion: Option<Diversion>,
    /// The decoder, once an encoding is set.
    pub(crate) text: Option<Box<Text>>,
}

/// A server.
pub(crate) struct ServerState {
    /// What sockets have too.
    pub(crate) common: Common,
    /// The listening socket.
    pub(crate) listener: Option<backend::Listener>,
    /// The path it was told to listen at last.
    #[cfg(unix)]
    pub(crate) path: Option<PathBuf>,
    /// What the backend has said and nothing has contradicted since.
    pub(crate) ready: u8,
    /// Told apart what `listen` a deferred look-up belongs to; `close` makes it void (N82).
    pub(crate) listening_id: u32,
    /// Whether such a look-up is under way.
    pub(crate) is_looking_up: bool,
    /// The worker's job that it is, if it is one.
    pub(crate) look_up: Option<Id>,
    /// Sockets that are not destroyed (N80).
    pub(crate) connections: usize,
    /// What accepted sockets begin with.
    pub(crate) options: AcceptOptions,
    /// How many connections it may have at a time.
    pub(crate) max_connections: Option<usize>,
    /// Whose connections it closes.
    pub(crate) block_list: Option<BlockList>,
    /// Listeners.
    pub(crate) drop: Slot<dyn FnMut(Server, &DropInfo)>,
    pub(crate) connection: Slot<dyn FnMut(Server, Socket)>,
    pub(crate) listening: Slot<dyn FnMut(Server)>,
    pub(crate) close: Slot<dyn FnMut(Server)>,
    pub(crate) error: Slot<dyn FnMut(Server, &Error)>,
}

/// A connection that a server has dropped, since it had as many as it may have: what Node's 'drop'
/// tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DropInfo {
    /// The address at this end, if it has one.
    pub local_address: Option<SocketAddr>,
    /// The peer; a Unix socket's has no address.
    pub remote_address: Option<SocketAddr>,
}

/// What a server gives to the sockets it accepts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AcceptOptions {
    pub(crate) allow_half_open: bool,
    pub(crate) pause_on_connect: bool,
    pub(crate) no_delay: bool,
    pub(crate) keep_alive: Option<KeepAlive>,
    pub(crate) high_water_mark: u32,
}

/// How much keeps the loop alive. Counted, never scanned.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Handles that are active and referenced.
    pub(crate) handles: usize,
    /// Outstanding requests: a write in flight, a half-close.
    pub(crate) requests: usize,
}

/// The object with this id. Every look into the slab goes through one of these three: a key alone
/// may be a successor's.
#[inline]
pub(crate) fn entry_of(entries: &mut Slab<Entry>, id: Id) -> Option<&mut Entry> {
    entries
        .get_mut(id.key as usize)
        .filter(|entry| entry.common().serial == id.serial)
}

/// The socket with this id.
#[inline]
pub(crate) fn stream_of(entries: &mut Slab<Entry>, id: Id) -> Option<&mut Stream> {
    match entries.get_mut(id.key as usize) {
        Some(Entry::Stream(stream)) if stream.common.serial == id.serial => Some(stream),
        _ => None,
    }
}

/// The server with this id.
pub(crate) fn server_of(entries: &mut Slab<Entry>, id: Id) -> Option<&mut ServerState> {
    match entries.get_mut(id.key as usize) {
        Some(Entry::Server(server)) if server.common.serial == id.serial => Some(server),
        _ => None,
    }
}

impl Common {
    /// Whether a token means this object: its high half, where there is one, is the low half of the
    /// serial.
    #[inline]
    pub(crate) fn is_called(&self, token: u64) -> bool {
        size_of::<usize>() < 8 || (token >> 32) as u32 == self.serial as u32
    }

    /// Notes that the object became active or inactive.
    pub(crate) fn set_active(&mut self, active: bool, live: &mut Live) {
        if self.flags.any(flag::ACTIVE) == active {
            return;
        }
        let counts = self.flags.any(flag::REFERENCED);
        match active {
            true => {
                self.flags.set(flag::ACTIVE);
                live.handles += usize::from(counts);
            }
            false => {
                self.flags.clear(flag::ACTIVE);
                live.handles -= usize::from(counts);
            }
        }
    }

    /// ref and unref: remembered while inactive (N48, N55), not counted (N47).
    pub(crate) fn set_referenced(&mut self, referenced: bool, live: &mut Live) {
        let ignored = match referenced {
            true => mutated!("ref of a handle does nothing"),
            false => mutated!("unref of a handle does nothing"),
        };
        if self.flags.any(flag::REFERENCED) == referenced || ignored {
            return;
        }
        let counts = self.flags.any(flag::ACTIVE);
        match referenced {
            true => {
                self.flags.set(flag::REFERENCED);
                live.handles += usize::from(counts);
            }
            false => {
                self.flags.clear(flag::REFERENCED);
                live.handles -= usize::from(counts);
            }
        }
    }
}

impl Entry {
    #[inline]
    pub(crate) fn common(&self) -> &Common {
        match self {
            Entry::Stream(stream) => &stream.common,
            Entry::Server(server) => &server.common,
            Entry::Datagram(datagram) => &datagram.common,
            Entry::Extension(extension) => &extension.common,
        }
    }

    pub(crate) fn common_mut(&mut self) -> &mut Common {
        match self {
            Entry::Stream(stream) => &mut stream.common,
            Entry::Server(server) => &mut server.common,
            Entry::Datagram(datagram) => &mut datagram.common,
            Entry::Extension(extension) => &mut extension.common,
        }
    }

    /// Adds what an event says, if it `concerns` the object. If the object is to be served, and does not
    /// wait to be already, its serial.
    #[inline]
    pub(crate) fn take_note(
        &mut self,
        bits: u8,
        concerns: impl Fn(&Common) -> bool,
    ) -> Option<u64> {
        let (common, wants_service) = match self {
            Entry::Stream(stream) if concerns(&stream.common) => {
                stream.ready |= bits;
                let wants_service = stream.wants_service();
                (&mut stream.common, wants_service)
            }
            Entry::Server(server) if concerns(&server.common) => {
                server.ready |= bits;
                let wants_service = server.listener.is_some();
                (&mut server.common, wants_service)
            }
            Entry::Datagram(datagram) if concerns(&datagram.common) => {
                datagram.ready |= bits;
                let wants_service = datagram.wants_service();
                (&mut datagram.common, wants_service)
            }
            // The backend knows nothing of an extension.
            _ => return None,
        };
        if !wants_service || common.flags.any(flag::QUEUED) {
            return None;
        }
        common.flags.set(flag::QUEUED);
        Some(common.serial)
    }

    /// Removes a listener from whichever slot holds it.
    pub(crate) fn remove_listener(&mut self, id: ListenerId) -> Option<Box<dyn std::any::Any>> {
        match self {
            Entry::Stream(stream) => stream.remove_listener(id),
            Entry::Server(server) => server.remove_listener(id),
            Entry::Datagram(datagram) => datagram.remove_listener(id),
            Entry::Extension(extension) => extension.remove_listener(id),
        }
    }
}

/// Boxes what was removed, whatever its kind, so that it can be dropped elsewhere.
macro_rules! remove_from {
    ($id:expr, $($slot:expr),+) => {
        $(if let Some(removed) = $slot.remove($id) {
            return Some(Box::new(removed));
        })+
    };
}
pub(super) use remove_from;

impl Stream {
    /// A connection that was accepted.
    pub(crate) fn accepted(
        common: Common,
        io: backend::Stream,
        remote: Option<SocketAddr>,
    ) -> Stream {
        Stream {
            io: Some(io),
            ready: backend::ready::WRITABLE,
            remote: remote.map(Peer::new),
            ..Stream::unconnected(common)
        }
    }

    /// A socket that is to be connected.
    pub(crate) fn unconnected(common: Common) -> Stream {
        Stream {
            common,
            io: None,
            ready: 0,
            bundle: 0,
            remote: None,
            server: SmallId::of(Id::NONE),
            bytes_read: 0,
            bytes_dispatched: 0,
            read_mark: 0,
            write_mark: 0,
            data: Slot::Empty,
            close: Slot::Empty,
            errored: None,
            listeners: None,
            extra: None,
        }
    }

    /// Whether serving it now would do something.
    #[inline]
    pub(crate) fn wants_service(&self) -> bool {
        self.wants_to_read() || self.wants_to_write()
    }

    /// Whether it reads, and there may be something.
    #[inline]
    pub(crate) fn wants_to_read(&self) -> bool {
        self.ready & backend::ready::READABLE != 0 && self.common.flags.any(flag::ACTIVE)
    }

    /// Whether a write waits, and the kernel may take it.
    #[inline]
    pub(crate) fn wants_to_write(&self) -> bool {
        self.ready & backend::ready::WRITABLE != 0
            && self.common.flags.any(flag::WRITING | flag::CONNECT_PENDING)
    }

    /// Whether data was held back, by whomever.
    pub(crate) fn is_paused(&self) -> bool {
        let flags = self.common.flags;
        flags.any(flag::PAUSED) || (flags.any(flag::HAS_FLOWING) && !flags.any(flag::FLOWING))
    }

    /// Whether anybody listens to 'readable'.
    pub(crate) fn listens_to_readable(&self) -> bool {
        let more = self.listeners.as_ref();
        more.is_some_and(|more| !more.readable.is_empty())
    }

    pub(crate) fn extra(&mut self) -> &mut StreamExtra {
        self.extra.get_or_insert_default()
    }

    /// Bytes that were read and wait for a reader.
    #[inline]
    pub(crate) fn read_length(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.reads.length())
    }

    /// Bytes that wait to be written.
    #[inline]
    pub(crate) fn write_length(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.writes.length())
    }

    /// Bytes written: handed down, or waiting to be (N188).
    pub(crate) fn bytes_written(&self) -> u64 {
        let buffered = self
            .extra
            .as_ref()
            .map_or(0, |extra| extra.writes.buffered_length());
        if mutated!("bytes_written forgets what waits") {
            return self.bytes_dispatched;
        }
        self.bytes_dispatched + buffered as u64
    }

    pub(crate) fn is_readable(&self) -> bool {
        !self
            .common
            .flags
            .any(flag::DESTROYED | flag::ERROR_EMITTED | flag::END_EMITTED)
    }

    pub(crate) fn is_writable(&self) -> bool {
        !self
            .common
            .flags
            .any(flag::ENDING | flag::DESTROYED | flag::ERRORED)
    }

    fn remove_listener(&mut self, id: ListenerId) -> Option<Box<dyn std::any::Any>> {
        remove_from!(id, self.data, self.close);
        if let Some(extra) = &mut self.extra {
            if let Some(text) = &mut extra.text {
                remove_from!(id, text.listeners);
            }
            let attached = extra.attached.as_mut();
            if let Some(removed) = attached.and_then(|attached| attached.remove_listener(id)) {
                return Some(removed);
            }
        }
        let more = self.listeners.as_mut()?;
        remove_from!(
            id,
            more.timeout,
            more.connect,
            more.ready,
            more.attempt,
            more.attempt_failed,
            more.attempt_timeout,
            more.lookup
        );
        remove_from!(
            id,
            more.end,
            more.drain,
            more.finish,
            more.pause,
            more.resume,
            more.readable,
            more.error,
            more.error_watch
        );
        None
    }
}

impl ServerState {
    fn remove_listener(&mut self, id: ListenerId) -> Option<Box<dyn std::any::Any>> {
        remove_from!(
            id,
            self.connection,
            self.listening,
            self.close,
            self.error,
            self.drop
        );
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stays_near_160_bytes() {
        // mio's sockets are larger in debug builds, where they know their poller.
        let more = if cfg!(debug_assertions) { 16 } else { 0 };
        assert!(size_of::<Entry>() <= 168 + more, "{}", size_of::<Entry>());
    }

    #[test]
    fn liveness_counts_what_is_active_and_referenced() {
        let mut live = Live::default();
        let mut common = Common {
            serial: 1,
            flags: Flags::of(flag::REFERENCED),
            origin: Location::caller(),
        };
        common.set_active(true, &mut live);
        common.set_active(true, &mut live);
        assert_eq!(live.handles, 1);
        common.set_referenced(false, &mut live);
        common.set_referenced(false, &mut live);
        assert_eq!(live.handles, 0);
        common.set_active(false, &mut live);
        common.set_referenced(true, &mut live);
        assert_eq!(live.handles, 0);
        common.set_active(true, &mut live);
        assert_eq!(live.handles, 1);
    }
}
