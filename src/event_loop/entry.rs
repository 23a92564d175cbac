//! What the loop's slab holds: the state of every server, socket and stream, listeners included. What a connection
//! consists of is in `stream.rs`, a UDP socket in `datagram_entry.rs`.

use std::net::SocketAddr;
use std::panic::Location;
#[cfg(unix)]
use std::path::PathBuf;

use slab::Slab;

use super::datagram_entry::DatagramState;
use super::extension::Extension;
pub(crate) use super::flags::{Flags, flag};
use super::handle::{Id, Server, Socket};
pub(crate) use super::packed::{Peer, SmallId};
pub(crate) use super::stream::{LookupListener, SocketListeners, Stream};
use crate::backend::{self, KeepAlive};
use crate::ground::block_list::BlockList;
use crate::ground::error::Error;
use crate::ground::listeners::{ListenerId, Slot};
use crate::ground::mutations::mutated;

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

/// What all kinds have in common.
pub(crate) struct Common {
    /// Tells this object from an earlier one in the same slot.
    pub(crate) serial: u64,
    /// Everything that is yes or no about it.
    pub(crate) flags: Flags,
    /// Where the program made it; for an accepted socket, where it made the server.
    pub(crate) origin: &'static Location<'static>,
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
    /// Tells to which `listen` a deferred look-up belongs; `close` makes it void (N82).
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
    /// Outstanding requests: a connection being made, a write in flight, a half-close, a datagram that waits
    /// for the kernel, a job.
    pub(crate) requests: usize,
}

/// The object with this id. Whoever has an id looks into the slab through one of these three, or their
/// like for UDP: a key alone may be a successor's.
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
    #[inline(always)]
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
