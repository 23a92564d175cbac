//! Diversion: what is piped from one socket into another need not be read and written.
//!
//! A pipe that gets large chunks says where they may go. From then on a read of its source takes the
//! bytes into the kernel's pipe instead, and the write that follows gives them to the destination from
//! there. What the destination does not take at once is read out and waits among its writes. So everything
//! else is as with a read and a write of the same bytes: counters, timeouts, marks, events, errors.
//!
//! Whether it may be so is looked at before each read, and where it may not, the bytes are read:
//! nobody has to tell when a listener, a second pipe or an encoding is added.

use std::io;
use std::rc::Rc;

use bytes::Bytes;

use super::entry::{Stream, flag, stream_of};
use super::gathering::SPECIAL;
use super::handle::Id;
use super::state::State;
use super::writable::Attempt;
use crate::backend::{KernelPipe, Spliced, ready};
use crate::ground::listeners::ListenerId;

/// A chunk of at least so many bytes has a pipe divert its source. At this size a splice begins to cost
/// less than a copy (`benches/README.md`), and a source that sends so much at a time is likely to send more.
pub(crate) const DIVERTS_FROM: usize = 32 * 1024;

/// Fewer bytes at a time are read: below this, a splice saves nothing.
const DIVERTS_WHILE: usize = 16 * 1024;

/// A source that has so little so often in a row has changed to small messages, and is read from then on. The
/// end of a block that comes by itself does not yet say so.
const MAX_DOUBTS: u8 = 8;

/// A pipe whose bytes are diverted.
pub trait Diverter {
    /// A chunk has passed. `more` is what `write` would have returned.
    fn passed(self: Rc<Self>, more: bool);
}

/// Where the bytes of a socket may go.
pub(crate) struct Diversion {
    /// The pipe's listener of 'data': it alone may want to see them.
    pub(crate) listener: ListenerId,
    /// The destination.
    pub(crate) to: Id,
    /// The pipe.
    pub(crate) pipe: Rc<dyn Diverter>,
    /// How often in a row the source had little. It is then asked how much it has before it is spliced.
    pub(crate) doubts: u8,
}

/// What was taken of a diverted socket's bytes.
pub(crate) struct Taken {
    /// How many they are, as a read would say.
    pub(crate) result: io::Result<usize>,
    /// For whom.
    pub(crate) to: Id,
    /// By whose order.
    pub(crate) pipe: Rc<dyn Diverter>,
}

impl Stream {
    /// Whether what it reads concerns one listener alone. An error and urgent data are for an ordinary
    /// read, which knows what they mean, and so are the descriptors that may come with the bytes of a Unix
    /// socket.
    fn is_read_by(&self, listener: ListenerId) -> bool {
        const LOOKED_AT: u64 = flag::FLOWING | flag::UNIX | flag::DECODES | flag::OWN_BUFFER;
        self.common.flags.of_these(LOOKED_AT) == flag::FLOWING
            && self.ready & (ready::ERROR | ready::URGENT) == 0
            && self.read_length() == 0
            && self.data.is_sole(listener)
    }

    /// Whether what is written goes to the kernel at once, and alone.
    fn takes_at_once(&self) -> bool {
        const LOOKED_AT: u8 = ready::WRITABLE | ready::HANG_UP | ready::ERROR;
        !self.common.flags.any(SPECIAL | flag::GATHERED)
            && self.ready & LOOKED_AT == ready::WRITABLE
            && self.io.is_some()
    }
}

impl State {
    /// A pipe says where the bytes of a socket may go.
    pub(crate) fn divert(&mut self, id: Id, diversion: Diversion) {
        let may_splice = self.backend.may_splice();
        let Some(stream) = self.stream(id).filter(|_| may_splice) else {
            return self.bury(diversion);
        };
        let place = &mut stream.extra().diversion;
        if let Some(old) = place
            && old.listener == diversion.listener
        {
            // It has said so, and could not be followed at this moment.
            old.doubts = 0;
            return;
        }
        let old = place.replace(diversion);
        stream.common.flags.set(flag::DIVERTED);
        self.watch_arrivals(id);
        if let Some(old) = old {
            self.bury(old);
        }
    }

    /// Has the poller no longer tell when there is room to write to a source. As long as it is asked for that,
    /// it also makes an event of bytes that were taken already, with those before them, since there is room;
    /// and in a stream of bytes these are many.
    fn watch_arrivals(&mut self, id: Id) {
        let State {
            entries, backend, ..
        } = self;
        if let Some(stream) = stream_of(entries, id)
            && !stream.common.flags.any(flag::ROOM_UNWATCHED)
            && stream.ready & ready::WRITABLE != 0
            && let Some(io) = &mut stream.io
            && backend.watch_arrivals(io, State::token(id)).is_ok()
        {
            stream.common.flags.set(flag::ROOM_UNWATCHED);
        }
    }

    /// The socket is read again.
    fn stop_diverting(&mut self, id: Id) {
        if let Some(stream) = self.stream(id) {
            stream.common.flags.clear(flag::DIVERTED);
            if let Some(old) = stream.extra().diversion.take() {
                self.bury(old);
            }
        }
    }

    /// Takes bytes of a diverted socket into the kernel's pipe. None if they are to be read.
    pub(crate) fn take_diverted(&mut self, id: Id, size: usize) -> Option<Taken> {
        let stream = self.stream(id)?;
        let diversion = stream.extra.as_ref()?.diversion.as_ref()?;
        let (listener, to, pipe) = (diversion.listener, diversion.to, diversion.pipe.clone());
        let doubts = diversion.doubts;
        if !stream.data.is_sole(listener) {
            // The pipe is gone, or somebody else wants to see the bytes.
            self.stop_diverting(id);
            return None;
        }
        if !stream.is_read_by(listener) {
            return None;
        }
        let State {
            entries, backend, ..
        } = self;
        if !stream_of(entries, to)?.takes_at_once() {
            return None;
        }
        let io = stream_of(entries, id)?.io.as_ref()?;
        if doubts > 0 && backend.unread(io) < Some(DIVERTS_WHILE) {
            self.doubt(id);
            return None;
        }
        let Some(result) = backend.splice_in(io, size) else {
            self.stop_diverting(id);
            return None;
        };
        match result {
            // The end, which is no reason to doubt, or not: an urgent byte that has come since the last wait
            // stops a splice too, which says the same then if the peer has ended. A read can tell them apart.
            Ok(0) => return None,
            Ok(1..DIVERTS_WHILE) => self.doubt(id),
            Ok(DIVERTS_WHILE..) if doubts > 0 => self.trust(id),
            _ => {}
        }
        Some(Taken { result, to, pipe })
    }

    /// A diverted socket had little.
    fn doubt(&mut self, id: Id) {
        let doubts = self.doubts(id).map_or(0, |doubts| {
            *doubts += 1;
            *doubts
        });
        if doubts > MAX_DOUBTS {
            self.stop_diverting(id);
        }
    }

    /// It had much again.
    fn trust(&mut self, id: Id) {
        if let Some(doubts) = self.doubts(id) {
            *doubts = 0;
        }
    }

    fn doubts(&mut self, id: Id) -> Option<&mut u8> {
        let extra = self.stream(id)?.extra.as_mut()?;
        Some(&mut extra.diversion.as_mut()?.doubts)
    }

    /// A `write` of the bytes that were taken, to a socket that takes them at once.
    pub(crate) fn write_taken(&mut self, id: Id, size: usize) -> bool {
        let mut pipe = self.backend.take_pipe();
        let more = self.write_spliced(id, &mut pipe, size, false);
        self.backend.put_back_pipe(pipe);
        more
    }

    /// Whether a socket takes at once what is written to it.
    pub(crate) fn takes_at_once(&mut self, id: Id) -> bool {
        self.stream(id).is_some_and(|stream| stream.takes_at_once())
    }

    /// A socket was told that more follows, and nothing does: what TCP keeps back for that goes out.
    pub(crate) fn push_out(&mut self, id: Id) {
        let State {
            entries, backend, ..
        } = self;
        // What waits goes out in its own time, and takes it along.
        if let Some(stream) = stream_of(entries, id)
            && stream.takes_at_once()
            && !stream.common.flags.any(flag::UNIX)
            && let Some(io) = &stream.io
        {
            backend.push_out(io);
        }
    }

    /// A `write` of the first bytes that are in a pipe of the kernel's, to a socket that takes them at once.
    /// They are in it no more afterwards; it may be closed. With `more` the next follow before anything else
    /// happens.
    pub(crate) fn write_spliced(
        &mut self,
        id: Id,
        pipe: &mut Option<KernelPipe>,
        size: usize,
        more: bool,
    ) -> bool {
        let State {
            entries, backend, ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            unreachable!("looked up by the caller");
        };
        let Some(io) = &stream.io else {
            unreachable!("it takes what is written");
        };
        let (attempt, mut rest) = match backend.splice_out(io, pipe, size, more) {
            Spliced::Whole => (Attempt::Whole, Bytes::new()),
            Spliced::Part(taken, rest) => (Attempt::Part(taken), rest),
            Spliced::Failed(error) => (Attempt::Failed(error), Bytes::new()),
            Spliced::Refused(bytes) => return self.write(id, &mut bytes.into(), None),
        };
        stream.bytes_dispatched += size as u64;
        if stream.common.flags.any(flag::TIMEOUT) {
            self.touch(id);
        }
        match attempt {
            Attempt::Whole => true,
            attempt => self.after_attempt(id, attempt, size, |_| std::mem::take(&mut rest), None),
        }
    }
}
