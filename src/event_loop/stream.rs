//! What a connection consists of.

use std::net::{IpAddr, SocketAddr};

use super::attempts::Several;
use super::connect::Attempt;
use super::connected::Awaiting;
use super::deadlines::Idle;
use super::diversion::Diversion;
use super::entry::{Common, flag, remove_from};
use super::extension::Attachment;
use super::handle::{Id, Socket};
use super::look_up::LookUp;
use super::own_buffer::OwnBuffer;
use super::packed::{Peer, SmallId};
#[cfg(unix)]
use super::paths::PathAttempt;
use super::state::State;
use super::text::Text;
use crate::backend::{self, Backend, KeepAlive};
use crate::ground::block_list::BlockList;
use crate::ground::error::{Completion, Error};
use crate::ground::listeners::{ListenerId, Slot};
use crate::ground::mutations::mutated;
use crate::ground::read_queue::ReadQueue;
use crate::ground::write_queue::WriteQueue;

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
    /// What waits for the connection, each with the listener that was added last before, in their order.
    pub(crate) awaits_connect: Vec<(ListenerId, Awaiting)>,
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

    /// The kernel has no room. Returns whether an event will tell when it has; otherwise it is to be tried
    /// again without one.
    pub(crate) fn awaits_room(&mut self, backend: &mut Backend, id: Id) -> bool {
        if self.common.flags.any(flag::ROOM_UNWATCHED)
            && let Some(io) = &mut self.io
        {
            if backend.reregister(io, State::token(id)).is_err() {
                return false;
            }
            self.common.flags.clear(flag::ROOM_UNWATCHED);
        }
        self.ready &= !backend::ready::WRITABLE;
        true
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

    pub(super) fn remove_listener(&mut self, id: ListenerId) -> Option<Box<dyn std::any::Any>> {
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
