//! Deadlines of sockets: inactivity timeouts, and how long a connection may take to be made.
//!
//! An inactivity timeout costs no queue work per read or write: a socket only remembers when it was
//! active last, by the turn's clock, and its entry in the queue is looked at when it comes up. Then
//! it is due, or it goes back for the rest of the time. Deadlines keep nothing alive (N56) and run
//! in the timer phase, in front of the timers that are not due before them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::entry::{Stream, flag, stream_of};
use super::handle::Id;
use super::state::State;
use super::task::{SocketEvent, Task};
use crate::ground::error::Error;
use crate::ground::mutations::mutated;

/// Entries beyond those that were needed before, from which on it is looked for ones that mean
/// nothing any more: few enough to be no burden, many enough to be worth the look.
const CROWD: usize = 64;

/// The deadlines of a loop.
#[derive(Default)]
pub(crate) struct Deadlines {
    /// Each deadline, the next on top; among them some of sockets that are gone.
    queue: BinaryHeap<Reverse<Deadline>>,
    /// How many meant something when it was looked last.
    needed: usize,
}

/// One deadline. Equal times are told in the order of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Deadline {
    at_ms: u64,
    serial: u64,
    key: u32,
    what: What,
}

/// What a deadline is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// Inactivity.
    Idle,
    /// The connection of this life of the socket.
    Connect(u32),
    /// The attempt with this number in this life of the socket, where there are several.
    Attempt(u32, u32),
}

/// The inactivity timeout of a socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    /// How long it may be inactive; 0 while it is switched off.
    timeout_ms: u64,
    /// When it was active last.
    since_ms: u64,
    /// For when its entry in the queue is; none once 'timeout' was emitted, until it is active
    /// again (N203).
    queued_ms: Option<u64>,
    /// Bytes of the write in flight when somebody last looked (N206); all of them at first.
    writing: usize,
}

impl Deadlines {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes of memory that they keep.
    pub(crate) fn memory(&self) -> usize {
        self.queue.capacity() * size_of::<Deadline>()
    }

    /// When the next deadline is to be looked at.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse(deadline)| deadline.at_ms)
    }

    /// When each entry is to be looked at.
    #[cfg(test)]
    pub(crate) fn times(&self) -> Vec<u64> {
        let mut times: Vec<_> = self
            .queue
            .iter()
            .map(|Reverse(entry)| entry.at_ms)
            .collect();
        times.sort_unstable();
        times
    }

    fn push(&mut self, at_ms: u64, id: Id, what: What) {
        self.queue.push(Reverse(Deadline {
            at_ms,
            serial: id.serial,
            key: id.key,
            what,
        }));
    }

    /// Whether as many were added as there were: then a look at all of them costs each no more than
    /// its way into the queue did.
    fn is_crowded(&self) -> bool {
        self.queue.len() > 2 * self.needed + CROWD
    }

    fn pop_due(&mut self, now_ms: u64) -> Option<Deadline> {
        self.queue.peek().filter(|due| due.0.at_ms <= now_ms)?;
        self.queue.pop().map(|Reverse(deadline)| deadline)
    }
}

impl Stream {
    /// Notes what is in flight, for the next look at the inactivity timeout (N206). As Node: all
    /// bytes of it, also those that the kernel took, so the first look finds a difference.
    pub(crate) fn note_in_flight(&mut self) {
        if let Some(extra) = &mut self.extra
            && let Some(idle) = &mut extra.idle
        {
            idle.writing = extra.writes.in_flight_length();
        }
    }
}

impl State {
    /// `set_timeout`: 0 switches it off (N201, N207); ignored on a destroyed socket (N209).
    pub(crate) fn set_idle_timeout(&mut self, id: Id, timeout_ms: u64) {
        let now_ms = self.update_time();
        let State {
            entries, deadlines, ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        if stream.common.flags.any(flag::DESTROYED) {
            return;
        }
        if timeout_ms == 0 {
            stream.common.flags.clear(flag::TIMEOUT);
            let extra = stream.extra();
            extra.timeout_ms = Some(0);
            // Its entry stays, to be used again: switched off and on for ever it is still one.
            if let Some(idle) = &mut extra.idle {
                idle.timeout_ms = 0;
            }
            return;
        }
        let extra = stream.extra();
        extra.timeout_ms = Some(timeout_ms);
        let was = extra.idle;
        let in_flight = extra.writes.in_flight_length();
        let at_ms = now_ms.saturating_add(timeout_ms);
        // An entry that comes up earlier is good enough: it is put back then.
        let queued_ms = match was.and_then(|idle| idle.queued_ms) {
            Some(queued_ms) if queued_ms <= at_ms => queued_ms,
            _ => {
                deadlines.push(at_ms, id, What::Idle);
                at_ms
            }
        };
        extra.idle = Some(Idle {
            timeout_ms,
            since_ms: now_ms,
            queued_ms: Some(queued_ms),
            writing: was.map_or(in_flight, |idle| idle.writing),
        });
        stream.common.flags.set(flag::TIMEOUT);
        self.tidy_deadlines();
    }

    /// The socket is active (N204).
    #[cold]
    pub(crate) fn touch(&mut self, id: Id) {
        if mutated!("nothing puts a timeout off") {
            return;
        }
        let now_ms = self.now_ms();
        let State {
            entries, deadlines, ..
        } = self;
        let Some(idle) = stream_of(entries, id)
            .and_then(|stream| stream.extra.as_mut())
            .and_then(|extra| extra.idle.as_mut())
        else {
            return;
        };
        idle.since_ms = now_ms;
        if idle.queued_ms.is_none() {
            let at_ms = now_ms.saturating_add(idle.timeout_ms);
            idle.queued_ms = Some(at_ms);
            deadlines.push(at_ms, id, What::Idle);
        }
    }

    /// The connection of the present life must stand by then.
    pub(crate) fn set_connect_deadline(&mut self, id: Id, timeout_ms: u64) {
        let at_ms = self.update_time().saturating_add(timeout_ms);
        if let Some(stream) = self.stream(id) {
            let life = stream.extra().life;
            self.deadlines.push(at_ms, id, What::Connect(life));
            self.tidy_deadlines();
        }
    }

    /// The next address is tried then, unless the attempt is decided.
    pub(crate) fn set_attempt_deadline(&mut self, id: Id, life: u32, number: u32, timeout_ms: u64) {
        let at_ms = self.update_time().saturating_add(timeout_ms);
        self.deadlines.push(at_ms, id, What::Attempt(life, number));
        self.tidy_deadlines();
    }

    /// Takes out what means nothing any more, now and then: sockets come and go faster than their
    /// timeouts.
    fn tidy_deadlines(&mut self) {
        if !self.deadlines.is_crowded() {
            return;
        }
        let State {
            entries, deadlines, ..
        } = self;
        deadlines.queue.retain(|Reverse(deadline)| {
            let id = Id {
                key: deadline.key,
                serial: deadline.serial,
            };
            stream_of(entries, id).is_some_and(|stream| {
                let connecting = stream.common.flags.any(flag::CONNECTING);
                stream
                    .extra
                    .as_ref()
                    .is_some_and(|extra| match deadline.what {
                        What::Idle => extra
                            .idle
                            .is_some_and(|idle| idle.queued_ms == Some(deadline.at_ms)),
                        What::Connect(life) | What::Attempt(life, _) => {
                            connecting && extra.life == life
                        }
                    })
            })
        });
        deadlines.needed = deadlines.queue.len();
    }

    /// Takes the next deadline that has passed, and makes steps of what it means.
    pub(crate) fn take_deadline(&mut self, now_ms: u64) -> bool {
        let Some(deadline) = self.deadlines.pop_due(now_ms) else {
            return false;
        };
        let id = Id {
            key: deadline.key,
            serial: deadline.serial,
        };
        match deadline.what {
            What::Idle => self.look_at_idle(id, deadline.at_ms, now_ms),
            What::Connect(life) => self.fail_slow_connect(id, life),
            What::Attempt(life, number) => self.attempt_timed_out(id, life, number),
        }
        true
    }

    /// A socket's entry has come up: it was inactive, or the entry goes back.
    fn look_at_idle(&mut self, id: Id, at_ms: u64, now_ms: u64) {
        let State {
            entries, deadlines, ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        let is_open = stream.io.is_some();
        let Some(extra) = &mut stream.extra else {
            return;
        };
        let unwritten = extra.writes.unwritten_in_flight();
        let Some(idle) = &mut extra.idle else { return };
        if idle.queued_ms != Some(at_ms) {
            // An earlier entry took its place.
            return;
        }
        if idle.timeout_ms == 0 {
            idle.queued_ms = None;
            return;
        }
        let due_ms = idle.since_ms.saturating_add(idle.timeout_ms);
        if due_ms > now_ms {
            idle.queued_ms = Some(due_ms);
            return deadlines.push(due_ms, id, What::Idle);
        }
        idle.queued_ms = None;
        if is_open && idle.writing > 0 && idle.writing != unwritten {
            // A write is in flight and makes progress: as good as activity (N206).
            idle.writing = unwritten;
            return self.touch(id);
        }
        self.steps.push_back(Task::Emit(id, SocketEvent::Timeout));
    }

    /// The time for connecting is over. Node has no such limit; the error is the system's own.
    fn fail_slow_connect(&mut self, id: Id, life: u32) {
        if !self.is_connecting(id, life) {
            return;
        }
        let Some(stream) = self.stream(id) else {
            return;
        };
        // What it is told of here it is not told of as cancelled.
        let attempt = stream.extra().attempt.take();
        let Some(attempt) = attempt else {
            // The name is still being looked up.
            let error = Error::connect_timed_out();
            return self.steps.push_back(Task::Destroy(id, error));
        };
        let address = attempt.address;
        let error = std::io::ErrorKind::TimedOut.into();
        let error = Error::with_address("connect", error, address, None);
        self.steps
            .push_back(Task::EmitAttemptFailed(id, address, error.clone()));
        self.steps.push_back(Task::Destroy(id, error));
    }
}
