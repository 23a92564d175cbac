//! Sending what waits: when the kernel takes data again, and when a cork is pulled.

use std::io::IoSlice;

use super::connected::Awaiting;
use super::entry::{Stream, flag, stream_of};
use super::handle::Id;
use super::state::{Dead, State};
use super::task::{SocketEvent, Task};
use crate::backend::{Backend, would_block};
use crate::ground::error::{Completion, Error};
use crate::ground::mutations::mutated;
use crate::ground::stream_errors::socket_closed;
use crate::ground::write_queue::MAX_SLICES;

/// Vectored writes of one socket in one turn. As the 32 reads (N11) it keeps a fast peer with a
/// long queue from holding up the others; 32 calls of 64 buffers are more than any socket buffer.
const WRITE_BUDGET: u32 = 32;

/// How far writing from the queue went.
enum Written {
    /// Nothing is in flight any more: the queue is empty, or corked.
    All,
    /// The kernel is full.
    Part,
    /// The budget is spent, yet the kernel has not refused.
    Budget,
    /// The kernel refused with an error.
    Failed(Error),
}

/// What follows a write that found the kernel full.
fn full(stream: &mut Stream, backend: &mut Backend, id: Id) -> Written {
    match stream.awaits_room(backend, id) {
        true => Written::Part,
        false => Written::Budget,
    }
}

impl State {
    /// The kernel takes data again: writes what waits, as far as it goes. Returns without calling
    /// anybody; the callbacks become steps of the present loop callback.
    pub(crate) fn flush_queue(&mut self, id: Id) {
        // What was in flight is told now. What waited behind it was, in Node, handed down just now
        // and taken at once, so it is told on a tick, like any write that the kernel takes at once.
        let in_flight = self
            .stream(id)
            .map_or(0, |stream| stream.extra().writes.in_flight());
        let mut told_now = in_flight;
        let mut told = Vec::new();
        let result = self.write_queue(id, |done| match told_now.checked_sub(1) {
            Some(left) => {
                told_now = left;
                told.extend(done);
                None
            }
            None => done,
        });
        let emptied = matches!(result, Written::All);
        // Also if nobody is told.
        if told_now < in_flight || emptied {
            self.touch_writing(id);
        }
        if emptied
            && let Some(stream) = self.stream(id)
            && stream.owes_drain()
        {
            if !mutated!("'drain' is owed for ever") {
                stream.common.flags.clear(flag::NEED_DRAIN);
            }
            // Before the callbacks of the writes that it drained (N182).
            self.steps.push_back(Task::Emit(id, SocketEvent::Drain));
        }
        self.steps
            .extend(told.into_iter().map(|done| Task::Complete(done, Ok(()))));
        match result {
            Written::All => self.steps.push_back(Task::AfterWrites(id)),
            Written::Part => {}
            // No event will come: the next turn goes on.
            Written::Budget => self.make_ready(id),
            Written::Failed(error) => self.fail_in_flight(id, error, true),
        }
    }

    /// Writes were handed down, or are complete: activity (N204). What is in flight is remembered, to
    /// see at the next expiry whether it makes progress (N206).
    pub(crate) fn touch_writing(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        stream.note_in_flight();
        let timeout = stream.common.flags.any(flag::TIMEOUT);
        if timeout {
            self.touch(id);
        }
    }

    /// Writes from the queue until it is empty, the kernel refuses, or the budget is spent. Each
    /// completion goes to `tell`, oldest first; what that gives back is called on a tick.
    fn write_queue(
        &mut self,
        id: Id,
        mut tell: impl FnMut(Option<Completion>) -> Option<Completion>,
    ) -> Written {
        for _ in 0..WRITE_BUDGET {
            let State {
                entries,
                backend,
                live,
                ticks,
                graveyard,
                ..
            } = self;
            let Some(stream) = stream_of(entries, id) else {
                return Written::Part;
            };
            let (Some(io), Some(extra)) = (&stream.io, &mut stream.extra) else {
                return Written::Part;
            };
            let corked = stream.common.flags.any(flag::CORKED);
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let filled = extra.writes.slices(corked, &mut slices);
            let offered: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            let taken = match backend.write_vectored(io, &slices[..filled]) {
                Ok(taken) => taken,
                Err(error) if would_block(&error) => {
                    return full(stream, backend, id);
                }
                Err(error) => return Written::Failed(Error::system("write", error)),
            };
            let handed_down = extra.writes.advance(taken, corked, |written| {
                graveyard.push(Dead::Chunk(written.buffer));
                if let Some(later) = tell(written.done) {
                    ticks.push(Task::Complete(later, Ok(())));
                }
            });
            stream.bytes_dispatched += handed_down as u64;
            if extra.writes.in_flight() == 0 {
                stream.common.flags.clear(flag::WRITING);
                live.requests -= 1;
                return Written::All;
            }
            if taken < offered && backend.short_write_is_full() {
                return full(stream, backend, id);
            }
        }
        Written::Budget
    }

    /// `cork`: what is written waits for `uncork` (N187).
    pub(crate) fn cork(&mut self, id: Id) {
        self.flush(id);
        if let Some(stream) = self.stream(id) {
            stream.common.flags.set(flag::CORKED);
            let extra = stream.extra();
            extra.corked = extra.corked.saturating_add(1);
        }
    }

    /// `uncork`: called as often as `cork`, it sends what has waited, in one go (clearBuffer).
    pub(crate) fn uncork(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let extra = stream.extra();
        if extra.corked == 0 {
            return;
        }
        extra.corked -= 1;
        if extra.corked > 0 {
            return;
        }
        stream.common.flags.clear(flag::CORKED);
        let flags = stream.common.flags;
        if !flags.any(flag::WRITING | flag::DESTROYED) {
            self.hand_down(id);
        }
    }

    /// Hands down everything that waits while nothing is in flight. What the kernel takes at once
    /// is told on a tick, behind the 'drain' that it may bring.
    fn hand_down(&mut self, id: Id) {
        let State {
            entries,
            live,
            ticks,
            graveyard,
            ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        if stream.write_length() == 0 && !stream.extra().writes.has_buffered() {
            return;
        }
        if stream.common.flags.any(flag::UNCONNECTED) {
            let error = socket_closed();
            stream.fail(&error);
            // It waits no more, though its completions come on the tick only.
            let mut told = Vec::new();
            for written in stream.extra().writes.take_buffered() {
                graveyard.push(Dead::Chunk(written.buffer));
                told.extend(written.done);
            }
            ticks.push(Task::WriteError(id, error, told));
            return;
        }
        let length = stream.extra().writes.hand_down();
        stream.bytes_dispatched += length as u64;
        stream.common.flags.set(flag::WRITING);
        if stream.common.flags.any(flag::CONNECTING) {
            stream.common.flags.set(flag::WRITE_PENDING);
            return self.await_connect(id, Awaiting::Write);
        }
        live.requests += 1;
        let mut told = Vec::new();
        let result = self.write_queue(id, |done| {
            told.extend(done);
            None
        });
        self.touch_writing(id);
        let mut told = told.into_iter();
        let drains = self
            .stream(id)
            .is_some_and(|stream| stream.common.flags.any(flag::NEED_DRAIN));
        let first = told.next();
        if first.is_some() || drains {
            self.ticks.push(Task::AfterWrite(id, first));
        }
        for done in told {
            self.ticks.push(Task::Complete(done, Ok(())));
        }
        match result {
            Written::All | Written::Part => {}
            Written::Budget => self.make_ready(id),
            Written::Failed(error) => {
                if let Some(stream) = self.stream(id) {
                    stream.fail(&error);
                }
                self.ticks.push(Task::FailInFlight(id, error));
            }
        }
    }
}
