//! What follows user code that has returned: steps, ticks, and what is to be dropped and freed.

use std::any::Any;
use std::panic::Location;

use bytes::Bytes;

use super::datagram_entry::DatagramTask;
use super::entry::{Entry, flag};
use super::handle::Id;
use super::state::State;
use super::task::{Task, TickCall};
use super::timers::TimerCall;
use crate::ground::error::Error;

/// An object whose life may be over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reap {
    /// What is in the slab.
    Entry(Id),
    /// A timer.
    Timer(Id),
}

/// What follows user code that has returned.
pub(crate) enum Following {
    /// The rest of the loop callback.
    Step(Task),
    /// Something was discarded and is to be dropped.
    Burial,
    /// Small writes are to be sent; the log is told before.
    Flush,
    /// `run` ends with this.
    Uncaught(Error),
    /// The next loop callback: a user's tick, with the line that queued it.
    UserTick(TickCall, &'static Location<'static>),
    /// Another tick.
    Tick(Task),
    /// There have been suspiciously many ticks; the log is told before the next.
    Starvation,
    /// The loop goes on.
    Nothing,
}

/// What was discarded while the state was borrowed.
pub(crate) enum Dead {
    /// A buffer: its owner's destructor may be user code.
    Chunk(#[allow(dead_code, reason = "held to be dropped")] Bytes),
    /// An object with its listeners.
    Entry(#[allow(dead_code, reason = "held to be dropped")] Entry),
    /// A timer's callback.
    Timer(#[allow(dead_code, reason = "held to be dropped")] TimerCall),
    /// A listener, a callback, an error.
    Other(#[allow(dead_code, reason = "held to be dropped")] Box<dyn Any>),
}

impl State {
    /// What is to be done next, now that user code has returned. One look for each step and each tick:
    /// this stands between any two of them. Small writes go out here, unless the log is to be told
    /// (`trace`).
    #[inline]
    pub(crate) fn what_follows(&mut self, trace: bool) -> Following {
        loop {
            if self.is_quiet() {
                self.ticks.ran_dry();
                return Following::Nothing;
            }
            if !self.steps.is_empty() {
                if !self.outbox.is_empty() {
                    self.flush_outbox();
                }
                if let Some(step) = self.steps.pop_front() {
                    return Following::Step(step);
                }
            }
            if !self.graveyard.is_empty() {
                return Following::Burial;
            }
            if !self.gather.is_empty() {
                if trace {
                    return Following::Flush;
                }
                // Before the ticks, which tell what has become of it.
                self.flush_all();
                continue;
            }
            if let Some(error) = self.uncaught.pop_front() {
                return Following::Uncaught(error);
            }
            if let Some(id) = self.outbox.take_ahead() {
                if trace {
                    let tick = DatagramTask::SendStaged;
                    return Following::Tick(Task::Datagram(id, tick));
                }
                self.send_staged(id);
                continue;
            }
            if self.ticks.is_starving() {
                return Following::Starvation;
            }
            // A user's is the ordinary case, and small.
            if self.outbox.is_empty()
                && let Some((call, origin)) = self.take_user_tick()
            {
                return Following::UserTick(call, origin);
            }
            match self.next_tick() {
                // The frequent ones in which no user code runs.
                Some(Task::Resume(id)) if !trace && self.resume_plainly(id) => {}
                Some(Task::Datagram(id, DatagramTask::SendStaged)) if !trace => {
                    self.send_staged(id);
                }
                Some(tick) => return Following::Tick(tick),
                None => self.free_what_is_over(),
            }
        }
    }

    /// The next tick behind a user's that has left nothing behind, if it is a user's too.
    #[inline]
    pub(crate) fn next_user_tick(&mut self) -> Option<TickCall> {
        if self.ticks.may_starve() {
            return None;
        }
        self.take_user_tick().map(|(call, _)| call)
    }

    /// The next tick, if it is a user's.
    #[inline]
    fn take_user_tick(&mut self) -> Option<(TickCall, &'static Location<'static>)> {
        if !matches!(self.ticks.front(), Some(Task::User(..))) {
            return None;
        }
        match self.ticks.pop() {
            Some(Task::User(call, origin)) => Some((call, origin)),
            _ => None,
        }
    }

    /// The next tick. What was laid aside goes out before, unless this tick adds to it.
    fn next_tick(&mut self) -> Option<Task> {
        if !self.outbox.is_empty() {
            match self.ticks.front() {
                Some(Task::Datagram(_, DatagramTask::Send(_) | DatagramTask::SendStaged)) => {}
                None if self.outbox.is_held() => {}
                _ => self.flush_outbox(),
            }
        }
        self.ticks.pop()
    }

    /// The tick that tells why a socket was destroyed, if it is the [only one](State::sole_tick).
    #[inline]
    pub(crate) fn take_sole_destroyed(&mut self) -> Option<(Id, Error)> {
        match self.sole_tick() {
            Some(Task::Destroyed(_, Some(_))) => {}
            _ => return None,
        }
        match self.ticks.take_sole() {
            Some(Task::Destroyed(id, Some(error))) => Some((id, error)),
            _ => None,
        }
    }

    /// Does what the tick of `resume` does, if that is the [only one](State::sole_tick) and calls nobody.
    #[inline]
    pub(crate) fn resume_if_sole(&mut self, id: Id) {
        if matches!(self.sole_tick(), Some(Task::Resume(whose)) if *whose == id)
            && self.resume_plainly(id)
        {
            self.ticks.take_sole();
        }
    }

    /// Frees what ended and was not put to use again.
    fn free_what_is_over(&mut self) {
        let mut over = std::mem::take(&mut self.reap);
        for reap in over.drain(..) {
            self.free_if_over(reap);
        }
        // Its memory is kept.
        if self.reap.is_empty() {
            self.reap = over;
        }
    }

    /// Lays something aside that may hold user code in its destructor.
    pub(crate) fn bury(&mut self, dead: impl Any) {
        self.graveyard.push(Dead::Other(Box::new(dead)));
    }

    /// Frees an object whose life is over: not in use again, not kept.
    pub(crate) fn free_if_over(&mut self, reap: Reap) {
        match reap {
            Reap::Timer(id) => self.free_timer_if_over(id),
            Reap::Entry(id) => {
                let Some(entry) = self.entry(id) else { return };
                let over = match entry {
                    Entry::Stream(stream) => {
                        let flags = stream.common.flags;
                        let closed = flags.any(flag::DESTROYED) && !flags.any(flag::CLOSE_DUE);
                        stream.io.is_none() && closed
                    }
                    Entry::Server(server) => {
                        server.listener.is_none()
                            && !server.is_looking_up
                            && server.connections == 0
                    }
                    Entry::Datagram(datagram) => datagram.is_over(),
                    Entry::Extension(extension) => extension.object.is_over(),
                };
                let flags = &mut entry.common_mut().flags;
                if over && flags.any(flag::KEPT) {
                    flags.set(flag::OVER);
                } else if over {
                    let entry = self.entries.remove(id.key as usize);
                    self.graveyard.push(Dead::Entry(entry));
                }
            }
        }
    }
}
