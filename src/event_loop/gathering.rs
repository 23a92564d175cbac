//! Gathering: small writes of one loop callback leave together when it ends.
//!
//! What is laid aside counts as taken by the kernel (N177), until the kernel refuses it. It is sent
//! when the loop callback ends, before its ticks; in front of a larger write to the same socket;
//! when 64 KiB have gathered; before any other call that touches the descriptor; and by `flush`.

use std::io::{self, IoSlice};

use bytes::Bytes;

use super::entry::{Stream, flag, stream_of};
use super::handle::Id;
use super::state::{Dead, State};
use super::task::Task;
use super::writable::Attempt;
use crate::backend::{ready, would_block};
use crate::ground::chunk::{Chunk, Owned};
use crate::ground::error::{Completion, Error};
use crate::ground::gather::{Gather, KEPT_FROM, SMALL_WRITE};
use crate::ground::write_queue::MAX_SLICES;

/// What keeps a write from being laid aside: in these states it goes its own way at once.
pub(crate) const SPECIAL: u64 = flag::ENDING
    | flag::DESTROYED
    | flag::WRITING
    | flag::ERRORED
    | flag::NEED_DRAIN
    | flag::UNCONNECTED
    | flag::CONNECTING
    | flag::CORKED;

/// What tells whether a socket takes data and has shown no sign of its peer's end.
const LOOKED_AT: u8 = ready::WRITABLE | ready::READ_CLOSED | ready::HANG_UP | ready::ERROR;

impl Stream {
    /// Whether a small write may wait for the end of the loop callback: a dead peer is to be
    /// noticed by the same write as in Node.
    #[inline]
    fn may_gather(&self, special: u64) -> bool {
        !self.common.flags.any(special) && self.ready & LOOKED_AT == ready::WRITABLE
    }
}

/// Lays a slice aside where several sockets have something there. Returns whether there was room.
#[inline(never)]
fn gather_beside(gather: &mut Gather<Id>, id: Id, stream: &mut Stream, bytes: &[u8]) -> bool {
    if !gather.has_room(bytes.len()) {
        return false;
    }
    begin_bundle(gather, id, stream);
    gather.add_copy(stream.bundle, bytes, None);
    stream.bytes_dispatched += bytes.len() as u64;
    true
}

/// Gives a socket its bundle, if it has none.
fn begin_bundle(gather: &mut Gather<Id>, id: Id, stream: &mut Stream) {
    gather.spread();
    if !stream.common.flags.any(flag::GATHERED) {
        stream.common.flags.set(flag::GATHERED);
        stream.bundle = gather.begin(id);
    }
}

impl State {
    /// Lays a borrowed slice aside, in the ordinary case. Returns false if it is another case,
    /// before anything is done.
    // Always inlined: most callers know what kind of chunk theirs is.
    #[inline(always)]
    pub(crate) fn gather_plainly(&mut self, id: Id, chunk: &Chunk<'_>) -> bool {
        let Some(bytes) = chunk.borrowed() else {
            return false;
        };
        // Neither empty nor large, in one look.
        if bytes.len().wrapping_sub(1) >= self.gather_below {
            return false;
        }
        let State {
            entries, gather, ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return false;
        };
        if !stream.may_gather(SPECIAL | flag::TIMEOUT) {
            return false;
        }
        if !gather.add_sole(id, bytes) {
            return gather_beside(gather, id, stream, bytes);
        }
        stream.bytes_dispatched += bytes.len() as u64;
        stream.common.flags.set(flag::GATHERED);
        stream.bundle = 0;
        true
    }

    /// Lays any write aside that may be. A completion takes its place among the ticks now, as in
    /// Node; sending, which comes before them, decides what it says. Gives the completion back if
    /// the write is to go its own way.
    pub(crate) fn gather(
        &mut self,
        id: Id,
        chunk: &mut Chunk<'_>,
        done: Option<Completion>,
    ) -> Result<(), Option<Completion>> {
        let length = chunk.as_slice().len();
        if length.wrapping_sub(1) >= self.gather_below {
            return Err(done);
        }
        if !self
            .stream(id)
            .is_some_and(|stream| stream.may_gather(SPECIAL))
        {
            return Err(done);
        }
        if !self.gather.has_room(length) {
            self.flush_all();
            // The kernel may have refused it.
            return self.gather(id, chunk, done);
        }
        let State {
            entries,
            gather,
            ticks,
            ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return Err(done);
        };
        stream.bytes_dispatched += length as u64;
        let flags = &mut stream.common.flags;
        let tick = done.map(|done| {
            flags.set(flag::AFTER_WRITE_PENDING);
            ticks.push(Task::AfterWrite(id, Some(done)));
            ticks.len() - 1
        });
        begin_bundle(gather, id, stream);
        let kept = match length >= KEPT_FROM {
            true => chunk.take_owned(),
            false => None,
        };
        match kept {
            Some(buffer) => gather.add_owned(stream.bundle, buffer, tick),
            None => gather.add_copy(stream.bundle, chunk.as_slice(), tick),
        }
        if stream.common.flags.any(flag::TIMEOUT) {
            self.touch(id);
        }
        Ok(())
    }

    /// The ordinary end of a loop callback: sends what one socket alone has laid aside, if nothing
    /// else is there to be seen to. Returns whether the loop may go on at once.
    #[inline]
    pub(crate) fn settle(&mut self) -> bool {
        self.is_quiet_but_for_writes() && (self.gather.is_empty() || self.flush_sole())
    }

    #[inline]
    fn flush_sole(&mut self) -> bool {
        let State {
            entries,
            backend,
            gather,
            ..
        } = self;
        if let Some((id, bytes)) = gather.sole()
            && let Some(stream) = stream_of(entries, id)
            && let Some(io) = &stream.io
        {
            match backend.write(io, bytes) {
                Ok(taken) if taken == bytes.len() => {
                    stream.common.flags.clear(flag::GATHERED);
                    gather.clear_sole();
                    return true;
                }
                result => {
                    gather.spread();
                    self.flushed(id, result);
                }
            }
        }
        self.flush_all();
        self.is_quiet()
    }

    /// Sends everything that was laid aside.
    #[cold]
    pub(crate) fn flush_all(&mut self) {
        if self.gather.is_empty() {
            return;
        }
        self.gather.spread();
        let mut bundle = 0;
        while bundle < self.gather.bundles() {
            if let Some(id) = self.gather.key(bundle)
                && !self.flush_copy(id, bundle)
            {
                self.flush(id);
            }
            bundle += 1;
        }
        self.gather.clear();
    }

    /// Sends a bundle that is one copy, as those of a broadcast are. Returns false, and does nothing, if it is
    /// another.
    #[inline]
    fn flush_copy(&mut self, id: Id, bundle: u16) -> bool {
        let State {
            entries,
            backend,
            gather,
            ..
        } = self;
        let (Some(bytes), Some(stream)) = (gather.sole_copy(bundle), stream_of(entries, id)) else {
            return false;
        };
        let Some(io) = &stream.io else {
            return false;
        };
        debug_assert!(stream.common.flags.any(flag::GATHERED) && stream.bundle == bundle);
        match backend.write(io, bytes) {
            Ok(taken) if taken == bytes.len() => {
                stream.common.flags.clear(flag::GATHERED);
                gather.end_copy(bundle);
            }
            result => self.flushed(id, result),
        }
        true
    }

    /// Sends what a socket has laid aside, before something else happens to it.
    pub(crate) fn flush(&mut self, id: Id) {
        self.flush_in_front_of(id, &[]);
    }

    /// The same in front of a larger write, `tail`, in one vectored call. Returns how the tail
    /// fared; none if nobody knows yet: it waits behind what the kernel refused, has failed with it,
    /// or was not tried.
    pub(crate) fn flush_in_front_of(&mut self, id: Id, tail: &[u8]) -> Option<Attempt> {
        let State {
            entries,
            backend,
            gather,
            ..
        } = self;
        let stream = stream_of(entries, id)?;
        if !stream.common.flags.any(flag::GATHERED) {
            return None;
        }
        gather.spread();
        let io = stream.io.as_ref()?;
        let bundle = stream.bundle;
        let gathered: usize = gather.pieces(bundle).map(|piece| piece.bytes.len()).sum();
        let mut taken = 0;
        let result = loop {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut filled = gather.slices(bundle, taken, &mut slices[..MAX_SLICES - 1]);
            // With room left the slices reach to the bundle's end.
            let is_last = filled < MAX_SLICES - 1;
            if is_last && !tail.is_empty() {
                slices[filled] = IoSlice::new(tail);
                filled += 1;
            }
            let offered: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            let result = match &slices[..filled] {
                [slice] => backend.write(io, slice),
                slices => backend.write_vectored(io, slices),
            };
            match result {
                Ok(now) => {
                    taken += now;
                    let is_over = tail.is_empty() && taken == gathered;
                    if now < offered || is_last || is_over {
                        break Ok(());
                    }
                }
                Err(error) => break Err(error),
            }
        };
        let (error, is_full) = match result {
            Err(error) if would_block(&error) => (None, true),
            Err(error) => (Some(error), false),
            Ok(()) => (None, false),
        };
        if taken < gathered {
            self.refused(id, taken, error);
            return None;
        }
        self.end_bundle(id);
        match (taken - gathered, error) {
            (_, Some(error)) => Some(Attempt::Failed(error)),
            (part, None) if part == tail.len() => Some(Attempt::Whole),
            // A call that ends where the small writes end says nothing about the tail.
            (0, None) if !is_full => None,
            (part, None) => Some(Attempt::Part(part)),
        }
    }

    /// What follows a write of a whole bundle that did not go out whole.
    #[cold]
    fn flushed(&mut self, id: Id, result: io::Result<usize>) {
        match result {
            Ok(taken) => self.refused(id, taken, None),
            Err(error) if would_block(&error) => self.refused(id, 0, None),
            Err(error) => self.refused(id, 0, Some(error)),
        }
    }

    /// The kernel took `taken` bytes of what was laid aside, then no more, or failed. What it took
    /// whole is done. The first write that it did not is in flight and counts with its whole length
    /// (N178), the others wait behind it; their completions leave the ticks and come when they
    /// are due.
    fn refused(&mut self, id: Id, mut taken: usize, error: Option<io::Error>) {
        let State {
            entries,
            backend,
            gather,
            live,
            ticks,
            ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        let is_full = taken == 0 || backend.short_write_is_full();
        let more_fits = error.is_none() && !(is_full && stream.awaits_room(backend, id));
        let mut error = error.map(|error| Error::system("write", error));
        let mut is_first = true;
        for piece in gather.pieces(stream.bundle) {
            let length = piece.bytes.len();
            if is_first && taken >= length {
                taken -= length;
                continue;
            }
            let tick = piece.tick.and_then(|tick| ticks.get_mut(tick));
            if !is_first {
                stream.bytes_dispatched -= length as u64;
                let rest = Bytes::copy_from_slice(piece.bytes);
                let done = tick.and_then(take_completion);
                stream.extra().writes.push_buffered(rest, length, done);
                continue;
            }
            is_first = false;
            if let Some(error) = error.take() {
                // It was never handed down.
                stream.bytes_dispatched -= length as u64;
                stream.fail(&error);
                match tick {
                    Some(tick) => {
                        let done = take_completion(tick).into_iter().collect();
                        *tick = Task::WriteError(id, error, done);
                    }
                    None => ticks.push(Task::WriteError(id, error, Vec::new())),
                }
                continue;
            }
            stream.common.flags.set(flag::WRITING);
            live.requests += 1;
            let rest = Bytes::copy_from_slice(&piece.bytes[taken..]);
            let done = tick.and_then(take_completion);
            stream.extra().writes.push_in_flight(rest, length, done);
            stream.note_in_flight();
        }
        self.end_bundle(id);
        if more_fits {
            // No event will come: the next turn goes on.
            self.make_ready(id);
        }
    }

    /// A socket has nothing laid aside any more.
    fn end_bundle(&mut self, id: Id) {
        let State {
            entries,
            gather,
            graveyard,
            ..
        } = self;
        if let Some(stream) = stream_of(entries, id) {
            stream.common.flags.clear(flag::GATHERED);
            gather.end(stream.bundle, |buffer| match buffer {
                Owned::Bytes(bytes) => graveyard.push(Dead::Chunk(bytes)),
                Owned::Vec(_) => {}
            });
        }
    }

    /// `run` begins or ends: only what its callbacks write is laid aside.
    pub(crate) fn set_gathering(&mut self, yes: bool) {
        let gathers = yes && self.settings.gather;
        self.gather_below = if gathers { SMALL_WRITE - 1 } else { 0 };
    }
}

/// The completion that a tick was to call. The tick remains, and sees to what else follows a write.
fn take_completion(tick: &mut Task) -> Option<Completion> {
    match tick {
        Task::AfterWrite(_, done) => done.take(),
        _ => None,
    }
}
