//! The writable side of a socket: Node's Writable, as far as a socket uses it.
//!
//! A write on an idle socket goes to the kernel at once. What the kernel refuses is **in flight**
//! until it takes it, and what is written meanwhile waits behind. What waits is sent in
//! [`flush`](super::flush); how this side ends is in [`ending`](super::ending). The names of Node's
//! functions stand beside what mirrors them.

use std::io;

use bytes::Bytes;

use super::connected::Awaiting;
use super::entry::{Stream, flag, stream_of};
use super::gathering::SPECIAL;
use super::handle::Id;
use super::state::{Dead, State};
use super::task::{SocketEvent, Task};
use crate::backend::would_block;
use crate::ground::chunk::Chunk;
use crate::ground::error::{Completion, Error};
use crate::ground::mutations::mutated;
use crate::ground::stream_errors::{destroyed_before, socket_closed, write_after_end};

/// What the kernel did with a write on an idle socket.
pub(crate) enum Attempt {
    /// Took all of it.
    Whole,
    /// Took so many bytes; the socket is full.
    Part(usize),
    /// Refused with an error.
    Failed(io::Error),
}

impl State {
    /// `write`. Returns false if the caller had better wait for 'drain', or if it failed.
    pub(crate) fn write(
        &mut self,
        id: Id,
        chunk: &mut Chunk<'_>,
        done: Option<Completion>,
    ) -> bool {
        let mut done = done;
        let mut gathered = None;
        if self.gather_below > 0 {
            done = match self.gather(id, chunk, done) {
                Ok(()) => return true,
                Err(done) => done,
            };
            // It goes its own way, behind what was laid aside.
            gathered = self.flush_in_front_of(id, chunk.as_slice());
        }
        // The ordinary case in one look: nobody waits for anything, and the kernel takes all.
        if let Some(stream) = stream_of(&mut self.entries, id)
            && !stream.common.flags.any(SPECIAL)
        {
            let length = chunk.as_slice().len();
            stream.bytes_dispatched += length as u64;
            let timeout = stream.common.flags.any(flag::TIMEOUT);
            let attempt = match gathered {
                Some(attempt) => attempt,
                None => attempt(&mut self.backend, stream, chunk.as_slice()),
            };
            if timeout {
                self.touch(id);
            }
            return match attempt {
                Attempt::Whole if done.is_none() => true,
                attempt => {
                    self.after_attempt(id, attempt, length, |taken| chunk.take_rest(taken), done)
                }
            };
        }
        self.write_special(id, chunk, done)
    }

    fn write_special(
        &mut self,
        id: Id,
        chunk: &mut Chunk<'_>,
        mut done: Option<Completion>,
    ) -> bool {
        let Some(stream) = self.stream(id) else {
            self.complete_later(done, Err(Error::handle_gone));
            return false;
        };
        if stream
            .common
            .flags
            .all(flag::WRITE_AFTER_FIN | flag::ENDING)
        {
            let error = Error::library("EPIPE", "This socket has been ended by the other party");
            self.complete_later(done.take(), Err(|| error.clone()));
            self.destroy(id, Some(error));
            return false;
        }
        self.write_or_fail(id, chunk, done).unwrap_or(false)
    }

    /// Node's _write: the part that `write` and `end` have in common.
    pub(crate) fn write_or_fail(
        &mut self,
        id: Id,
        chunk: &mut Chunk<'_>,
        done: Option<Completion>,
    ) -> Result<bool, Error> {
        let gathered = self.flush_in_front_of(id, chunk.as_slice());
        let State {
            entries, backend, ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            unreachable!("looked up by the caller");
        };
        let flags = stream.common.flags;
        if flags.any(flag::ENDING | flag::DESTROYED) {
            let error = match flags.any(flag::ENDING) {
                true => write_after_end(),
                false => destroyed_before("write"),
            };
            self.complete_later(done, Err(|| error.clone()));
            self.destroy(id, Some(error.clone()));
            return Err(error);
        }
        let length = chunk.as_slice().len();
        if flags.any(flag::WRITING | flag::ERRORED | flag::CORKED) {
            let rest = chunk.take_rest(0);
            stream.extra().writes.push_buffered(rest, length, done);
            return Ok(stream.is_below_mark());
        }
        if flags.any(flag::UNCONNECTED) {
            let error = socket_closed();
            stream.fail(&error);
            self.ticks
                .push(Task::WriteError(id, error, done.into_iter().collect()));
            return Ok(false);
        }
        stream.bytes_dispatched += length as u64;
        if flags.any(flag::CONNECTING) {
            stream.common.flags.set(flag::WRITING | flag::WRITE_PENDING);
            let rest = chunk.take_rest(0);
            stream.extra().writes.push_in_flight(rest, length, done);
            let below_mark = stream.is_below_mark();
            self.await_connect(id, Awaiting::Write);
            return Ok(below_mark);
        }
        let timeout = flags.any(flag::TIMEOUT);
        let attempt = match gathered {
            Some(attempt) => attempt,
            None => attempt(backend, stream, chunk.as_slice()),
        };
        if timeout {
            self.touch(id);
        }
        let rest = |taken| chunk.take_rest(taken);
        Ok(self.after_attempt(id, attempt, length, rest, done))
    }

    /// What follows an attempt to write so many bytes, of which `rest` gives those behind what the kernel
    /// took. Returns what `write` returns.
    pub(super) fn after_attempt(
        &mut self,
        id: Id,
        attempt: Attempt,
        length: usize,
        rest: impl FnOnce(usize) -> Bytes,
        done: Option<Completion>,
    ) -> bool {
        let State {
            entries,
            backend,
            live,
            ticks,
            ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            unreachable!("looked up by the caller");
        };
        let mut more_fits = false;
        match attempt {
            Attempt::Whole => {
                let flags = &mut stream.common.flags;
                let pending = flags.any(flag::AFTER_WRITE_PENDING);
                if done.is_some() || (flags.any(flag::NEED_DRAIN) && !pending) {
                    flags.set(flag::AFTER_WRITE_PENDING);
                    ticks.push(Task::AfterWrite(id, done));
                }
            }
            Attempt::Part(taken) => {
                let is_full = taken == 0 || backend.short_write_is_full();
                more_fits = !(is_full && stream.awaits_room(backend, id));
                stream.common.flags.set(flag::WRITING);
                live.requests += 1;
                let counted = match mutated!("what the kernel took counts no more") {
                    true => length - taken,
                    false => length,
                };
                let rest = rest(taken);
                stream.extra().writes.push_in_flight(rest, counted, done);
                stream.note_in_flight();
            }
            Attempt::Failed(error) => {
                // It was never handed down.
                stream.bytes_dispatched -= length as u64;
                let error = Error::system("write", error);
                stream.fail(&error);
                ticks.push(Task::WriteError(id, error, done.into_iter().collect()));
            }
        }
        let below_mark = stream.is_below_mark();
        if more_fits {
            // No event will come: the next turn goes on.
            self.make_ready(id);
        }
        below_mark
    }

    /// The tick behind a write that the kernel took at once (afterWrite).
    pub(crate) fn after_write(&mut self, id: Id, done: Option<Completion>) {
        if let Some(stream) = self.stream(id) {
            stream.common.flags.clear(flag::AFTER_WRITE_PENDING);
            if stream.owes_drain() {
                stream.common.flags.clear(flag::NEED_DRAIN);
                self.steps.push_back(Task::Emit(id, SocketEvent::Drain));
            }
        }
        // Called with success even if the socket was destroyed meanwhile: the kernel has it (N132).
        self.steps
            .extend(done.map(|done| Task::Complete(done, Ok(()))));
        self.steps.push_back(Task::AfterWrites(id));
    }

    /// What follows the callbacks of writes.
    pub(crate) fn after_writes(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let flags = stream.common.flags;
        if flags.any(flag::DESTROYED) {
            self.error_buffer(id);
        }
        if flags.any(flag::ENDING) {
            self.finish_maybe(id);
        }
    }

    /// The kernel takes data, or has decided about a connection.
    pub(crate) fn serve_writable(&mut self, id: Id) {
        let connects = self
            .stream(id)
            .is_some_and(|stream| stream.common.flags.any(flag::CONNECT_PENDING));
        match connects {
            true => self.finish_connect(id),
            false => self.flush_queue(id),
        }
    }

    /// The socket is closed: what was in flight is cancelled (L52).
    pub(crate) fn cancel_in_flight(&mut self, id: Id) {
        let flags = match self.stream(id) {
            Some(stream) if stream.common.flags.any(flag::WRITING) => stream.common.flags,
            _ => return,
        };
        let error = match flags.any(flag::WRITE_PENDING) {
            // It was never handed down (N105, N106).
            true => Error::library(
                "ERR_SOCKET_CLOSED_BEFORE_CONNECTION",
                "Socket closed before the connection was established",
            ),
            false => Error::call("write", "ECANCELED"),
        };
        self.fail_in_flight(id, error, false);
    }

    /// Fails everything in flight, then what waits behind it. The socket is destroyed if it is not.
    pub(crate) fn fail_in_flight(&mut self, id: Id, error: Error, destroy: bool) {
        let State {
            entries,
            live,
            steps,
            graveyard,
            ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        let flags = stream.common.flags;
        if !flags.any(flag::WRITING) {
            return;
        }
        stream
            .common
            .flags
            .clear(flag::WRITING | flag::WRITE_PENDING);
        live.requests -= usize::from(!flags.any(flag::WRITE_PENDING));
        stream.fail(&error);
        for written in stream.extra().writes.take_in_flight() {
            graveyard.push(Dead::Chunk(written.buffer));
            steps.extend(
                written
                    .done
                    .map(|done| Task::Complete(done, Err(error.clone()))),
            );
        }
        steps.push_back(Task::ErrorBuffer(id));
        if destroy {
            steps.push_back(Task::Destroy(id, error));
        }
    }

    /// Fails the writes that wait behind those in flight, and the completions of `end`
    /// (errorBuffer). Those in flight, if any, are cancelled in the closing phase.
    pub(crate) fn error_buffer(&mut self, id: Id) {
        let State {
            entries,
            steps,
            graveyard,
            ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        if stream.common.flags.any(flag::WRITING) {
            return;
        }
        let Some(extra) = &mut stream.extra else {
            return;
        };
        let errored = &stream.errored;
        let reason = |call| errored.clone().unwrap_or_else(|| destroyed_before(call));
        let mut tasks = Vec::new();
        for written in extra.writes.take_buffered() {
            graveyard.push(Dead::Chunk(written.buffer));
            tasks.extend(
                written
                    .done
                    .map(|done| Task::Complete(done, Err(reason("write")))),
            );
        }
        for done in std::mem::take(&mut extra.on_finished) {
            tasks.push(Task::Complete(done, Err(reason("end"))));
        }
        // In front of what follows, as Node calls them at once.
        for task in tasks.into_iter().rev() {
            steps.push_front(task);
        }
    }

    /// Has a completion called on the next tick. The error is made only if there is one.
    pub(crate) fn complete_later(
        &mut self,
        done: Option<Completion>,
        result: Result<(), impl FnOnce() -> Error>,
    ) {
        if let Some(done) = done {
            let result = result.map_err(|make| make());
            self.ticks.push(Task::Complete(done, result));
        }
    }
}

/// Writes that failed at once: their callbacks, then what waits, then the socket (onwriteError).
pub(crate) fn fail_writes(state: &mut State, id: Id, error: Error, told: Vec<Completion>) {
    let failed = |done| Task::Complete(done, Err(error.clone()));
    state.steps.extend(told.into_iter().map(failed));
    state.steps.push_back(Task::ErrorBuffer(id));
    state.steps.push_back(Task::Destroy(id, error));
}

impl Stream {
    /// What `write` returns: whether less waits than the mark. If not, 'drain' is owed (N178).
    fn is_below_mark(&mut self) -> bool {
        let waiting = self.write_length();
        let mark = self.write_mark as usize + usize::from(mutated!("the mark is one byte higher"));
        let below_mark = waiting < mark || waiting == 0;
        if !below_mark || mutated!("'drain' though no write said so") {
            self.common.flags.set(flag::NEED_DRAIN);
        }
        below_mark && !self.common.flags.any(flag::ERRORED)
    }

    /// Whether 'drain' is due (N181, N183).
    pub(crate) fn owes_drain(&self) -> bool {
        let flags = self.common.flags;
        flags.any(flag::NEED_DRAIN)
            && !flags.any(flag::ENDING | flag::DESTROYED)
            && (self.write_length() == 0 || mutated!("'drain' while something waits"))
    }

    /// Notes the first error.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.common.flags.set(flag::ERRORED);
        self.errored.get_or_insert_with(|| error.clone());
    }
}

#[inline]
fn attempt(backend: &mut crate::backend::Backend, stream: &Stream, bytes: &[u8]) -> Attempt {
    let Some(io) = &stream.io else {
        // A connection that was refused at once, while 'connectionAttemptFailed' is emitted.
        return Attempt::Failed(io::ErrorKind::BrokenPipe.into());
    };
    // An empty write is no system call (N180). But a Unix socket is asked, which knows if its peer is gone.
    if bytes.is_empty() && !stream.common.flags.any(flag::UNIX) {
        return Attempt::Whole;
    }
    match backend.write(io, bytes) {
        Ok(taken) if taken == bytes.len() => Attempt::Whole,
        Ok(taken) => Attempt::Part(taken),
        Err(error) if would_block(&error) => Attempt::Part(0),
        Err(error) => Attempt::Failed(error),
    }
}
