//! Everything that is yes or no about a server, a socket or another stream.

/// A set of [`flag`]s.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flags(u64);

/// Yes or no. The names follow the states of Node's streams, whose transitions they mirror.
/// They are grouped by what they tell; the numbers mean nothing.
pub(crate) mod flag {
    /// Holds the loop while it is active.
    pub(crate) const REFERENCED: u64 = 1 << 0;
    /// Active in libuv's sense: a socket that reads (N51), a server that listens.
    pub(crate) const ACTIVE: u64 = 1 << 1;
    /// Kept in its slot after its end, until `release`.
    pub(crate) const KEPT: u64 = 1 << 2;
    /// In the queue of the turn or in the ready queue.
    pub(crate) const QUEUED: u64 = 1 << 3;
    /// Its 'close' was emitted and what came with it has run, yet it was kept.
    pub(crate) const OVER: u64 = 1 << 5;
    /// Stays open when the peer ends.
    pub(crate) const ALLOW_HALF_OPEN: u64 = 1 << 4;

    /// Without a descriptor and without the promise of one: never connected, or destroyed.
    pub(crate) const UNCONNECTED: u64 = 1 << 6;
    /// Between `connect` and 'connect'.
    pub(crate) const CONNECTING: u64 = 1 << 7;

    /// One of its server's connections (N80). A later life as a client is not.
    pub(crate) const COUNTED: u64 = 1 << 46;

    /// Data goes to the listeners as it comes.
    pub(crate) const FLOWING: u64 = 1 << 8;
    /// Flowing was decided, one way or the other.
    pub(crate) const HAS_FLOWING: u64 = 1 << 9;
    /// `pause` was called after the last `resume`.
    pub(crate) const PAUSED: u64 = 1 << 10;
    /// A tick will resume.
    pub(crate) const RESUME_SCHEDULED: u64 = 1 << 11;
    /// A tick will let flow what was buffered.
    pub(crate) const FLOW_SCHEDULED: u64 = 1 << 12;
    /// Somebody listens to 'readable', so nothing flows.
    pub(crate) const READABLE_LISTENING: u64 = 1 << 48;
    /// Somebody waits for 'readable'.
    pub(crate) const NEED_READABLE: u64 = 1 << 49;
    /// A 'readable' is on its way.
    pub(crate) const EMITTED_READABLE: u64 = 1 << 50;
    /// The end was read.
    pub(crate) const READ_ENDED: u64 = 1 << 13;
    /// A tick will emit 'end'.
    pub(crate) const END_SCHEDULED: u64 = 1 << 14;
    /// 'end' was emitted.
    pub(crate) const END_EMITTED: u64 = 1 << 15;
    /// The end is certain without another read (R11).
    pub(crate) const END_CERTAIN: u64 = 1 << 17;

    /// It has a decoder: what it reads goes to listeners of text, too.
    pub(crate) const DECODES: u64 = 1 << 56;

    /// A pipe has said where its bytes may go without being read.
    pub(crate) const DIVERTED: u64 = 1 << 58;
    /// It reads into a buffer of the user's.
    pub(crate) const OWN_BUFFER: u64 = 1 << 57;

    /// The system is asked to connect.
    pub(crate) const CONNECT_PENDING: u64 = 1 << 18;
    /// Somebody wanted data before the connection stood.
    pub(crate) const READ_WANTED: u64 = 1 << 19;
    /// It was accepted in this very loop callback, and the poller does not know it yet.
    pub(crate) const UNWATCHED: u64 = 1 << 30;
    /// The poller tells what arrives at it, and not when there is room to write: it is a source whose
    /// bytes are diverted, and none of its writes had to wait since.
    pub(crate) const ROOM_UNWATCHED: u64 = 1 << 16;
    /// A Unix socket: it has no addresses and no TCP options, and a short read proves nothing.
    pub(crate) const UNIX: u64 = 1 << 36;
    /// It has an inactivity timeout.
    pub(crate) const TIMEOUT: u64 = 1 << 22;
    /// Its descriptor came from outside or was handed out, so others may hold it too: its registration
    /// is ended before it is closed. A socket's, or a server's.
    pub(crate) const HANDED_OUT: u64 = 1 << 23;
    /// TCP_NODELAY is set, or will be.
    pub(crate) const NO_DELAY: u64 = 1 << 21;

    /// A write is in flight.
    pub(crate) const WRITING: u64 = 1 << 24;
    /// A write has returned false; 'drain' is owed.
    pub(crate) const NEED_DRAIN: u64 = 1 << 25;
    /// A tick will see to 'drain' for writes without a callback.
    pub(crate) const AFTER_WRITE_PENDING: u64 = 1 << 26;
    /// `end` was called.
    pub(crate) const ENDING: u64 = 1 << 27;
    /// The half-close was asked for.
    pub(crate) const FINAL_CALLED: u64 = 1 << 28;
    /// The half-close waits for its phase.
    pub(crate) const SHUTDOWN_PENDING: u64 = 1 << 29;
    /// 'finish' was emitted.
    pub(crate) const FINISHED: u64 = 1 << 31;
    /// The peer has ended and half-open is off: writes after our end fail with EPIPE (N124).
    pub(crate) const WRITE_AFTER_FIN: u64 = 1 << 32;

    /// The write in flight waits for the connection.
    pub(crate) const WRITE_PENDING: u64 = 1 << 33;
    /// It has writes in the arena.
    pub(crate) const GATHERED: u64 = 1 << 47;
    /// `cork` was called more often than `uncork`.
    pub(crate) const CORKED: u64 = 1 << 35;
    /// To be destroyed after 'finish' (N133).
    pub(crate) const DESTROY_ON_FINISH: u64 = 1 << 34;

    /// `destroy` was called, by whomever.
    pub(crate) const DESTROYED: u64 = 1 << 40;
    /// It has met an error.
    pub(crate) const ERRORED: u64 = 1 << 42;
    /// 'error' was emitted.
    pub(crate) const ERROR_EMITTED: u64 = 1 << 43;
    /// Pipes have seen its 'error'.
    pub(crate) const ERROR_WATCHED: u64 = 1 << 51;
    /// Its 'close' is still to be emitted.
    pub(crate) const CLOSE_DUE: u64 = 1 << 45;
    /// The tick behind `destroy` has run.
    pub(crate) const CLOSE_EMITTED: u64 = 1 << 44;
}

impl Flags {
    pub(crate) fn of(flags: u64) -> Flags {
        Flags(flags)
    }

    /// Whether any of `flags` is set.
    #[inline]
    pub(crate) fn any(self, flags: u64) -> bool {
        self.0 & flags != 0
    }

    /// Those of `flags` that are set.
    #[inline]
    pub(crate) fn of_these(self, flags: u64) -> u64 {
        self.0 & flags
    }

    /// Whether all of `flags` are set.
    #[inline]
    pub(crate) fn all(self, flags: u64) -> bool {
        self.0 & flags == flags
    }

    #[inline]
    pub(crate) fn set(&mut self, flags: u64) {
        self.0 |= flags;
    }

    #[inline]
    pub(crate) fn clear(&mut self, flags: u64) {
        self.0 &= !flags;
    }
}
