//! What the log tells of a turn at level trace, for people who want to follow the loop.
//!
//! Each record stands for itself: `turn 3 poll: 'data' to Socket(0.1#5), 6 bytes`. Phases in which
//! nothing happened share one record. Nothing here is done unless the log wants it, and every record
//! is made while nothing is borrowed: a logger may be a user's.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt::Arguments;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};

use super::core::Core;
use super::entry::{Entry, entry_of, flag};
use super::handle::{Id, Raw, Server, Socket, Timer, UdpSocket};
use super::info::HandleKind;
use super::state::State;
use super::table;
use super::task::Task;
use crate::backend::ready;

/// The log's target for the turns.
const TARGET: &str = "nodeloop::event_loop";

/// Where a loop is, as far as the log wants to know.
#[derive(Default)]
pub(crate) struct Trace {
    /// The present turn.
    turn: Cell<u64>,
    /// Its phase; none outside of turns.
    phase: Cell<Option<&'static str>>,
    /// Whether there was a record in this phase.
    spoke: Cell<bool>,
    /// Phases behind the last record, in which nothing happened.
    silent: RefCell<Vec<&'static str>>,
    /// Whether a record is being made: a logger that uses the loop is not told of that, or it would
    /// never end.
    busy: Cell<bool>,
}

/// Whether the log wants to follow turns.
#[inline]
pub(crate) fn on() -> bool {
    log::log_enabled!(target: TARGET, log::Level::Trace)
}

/// A call of the API by the program. Only if the log is [`on`].
#[cold]
pub(crate) fn call(raw: Raw, what: Arguments<'_>) {
    if let Some(core) = table::find(raw.index) {
        core.trace(what);
    }
}

impl Core {
    /// A turn begins.
    pub(crate) fn trace_turn(&self) {
        self.trace.turn.set(self.inside(|state| state.turns + 1));
    }

    /// A phase begins.
    pub(crate) fn trace_phase(&self, phase: &'static str) {
        self.leave_phase();
        self.trace.phase.set(Some(phase));
        self.trace.spoke.set(false);
    }

    /// A turn is over because a listener has panicked: nothing can be told now.
    pub(crate) fn trace_turn_broken(&self) {
        self.trace.phase.set(None);
    }

    /// A turn is over.
    pub(crate) fn trace_turn_end(&self) {
        self.leave_phase();
        self.tell_silent();
        self.trace.phase.set(None);
    }

    fn leave_phase(&self) {
        if let Some(phase) = self.trace.phase.get()
            && !self.trace.spoke.get()
        {
            self.trace.silent.borrow_mut().push(phase);
        }
    }

    fn tell_silent(&self) {
        let silent = self.trace.silent.take();
        if !silent.is_empty() {
            let (turn, phases) = (self.trace.turn.get(), silent.join(", "));
            self.tell(|| log::trace!(target: TARGET, "turn {turn} {phases}: nothing to do"));
        }
    }

    /// Something happens.
    #[cold]
    pub(crate) fn trace(&self, what: Arguments<'_>) {
        if self.trace.busy.get() {
            return;
        }
        let _busy = Busy::new(&self.trace.busy);
        self.tell_silent();
        self.trace.spoke.set(true);
        self.tell(|| match self.trace.phase.get() {
            Some(phase) => {
                let turn = self.trace.turn.get();
                log::trace!(target: TARGET, "turn {turn} {phase}: {what}");
            }
            None => log::trace!(target: TARGET, "between turns: {what}"),
        });
    }

    /// Tells the log of something that happens. It does happen if the logger panics: that goes on when the
    /// present loop callback is over.
    #[inline]
    pub(crate) fn tell(&self, record: impl FnOnce()) {
        if log::max_level() != log::LevelFilter::Off {
            self.tell_logger(record);
        }
    }

    #[cold]
    fn tell_logger(&self, record: impl FnOnce()) {
        if !self.running.get() {
            return record();
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(record)) {
            self.with(|state| state.bury(Raised(Some(panic))));
        }
    }

    /// A user's tick.
    #[cold]
    pub(crate) fn trace_user_tick(&self, origin: &Location<'_>) {
        self.trace(format_args!("tick: next_tick ({origin})"));
    }

    /// A tick, or a step of a loop callback. Those that only lead to others are not told.
    #[cold]
    pub(crate) fn trace_task(&self, tick: bool, task: &Task) {
        let tick = if tick { "tick: " } else { "" };
        match (task, task.subject()) {
            (Task::Complete(_, result) | Task::CompleteWithin(_, result), _) => match result {
                Ok(()) => self.trace(format_args!("{tick}completion")),
                Err(error) => self.trace(format_args!("{tick}completion, {error}")),
            },
            (task, Some(id)) if task.is_told() => {
                let who = self.name(id);
                let what = task.what();
                match what.starts_with('\'') {
                    true => self.trace(format_args!("{tick}{what} to {who}")),
                    false => self.trace(format_args!("{tick}{what}: {who}")),
                }
            }
            _ => {}
        }
    }

    /// What the poll phase does first.
    #[cold]
    pub(crate) fn trace_wait(&self, reason: Option<&'static str>, until_ms: Option<u64>) {
        match (reason, until_ms) {
            (Some(reason), _) => self.trace(format_args!("does not wait: {reason}")),
            (None, None) => self.trace(format_args!("waits until something happens")),
            (None, Some(until_ms)) => {
                let now_ms = self.inside(|state| state.backend.now_ms());
                let left_ms = until_ms.saturating_sub(now_ms);
                self.trace(format_args!(
                    "waits until something happens, at most {left_ms} ms"
                ));
            }
        }
    }

    /// Who is to be served after the wait, and why.
    #[cold]
    pub(crate) fn trace_batch(&self) {
        let served = self.inside(|state| {
            let State { batch, entries, .. } = state;
            let bits = |id| match entry_of(entries, id)? {
                Entry::Stream(stream) => Some((id, stream.ready)),
                Entry::Server(server) => Some((id, server.ready)),
                Entry::Datagram(datagram) => Some((id, datagram.ready)),
                Entry::Extension(_) => None,
            };
            batch.waiting().filter_map(bits).collect::<Vec<_>>()
        });
        for (id, bits) in served {
            let who = self.name(id);
            self.trace(format_args!("{who} is {}", readiness(bits)));
        }
    }

    /// What the pending phase does next.
    #[cold]
    pub(crate) fn trace_pending(&self) {
        let next = self.inside(|state| {
            let id = *state.pending.front()?;
            let flags = state.stream(id)?.common.flags;
            Some((id, flags))
        });
        if let Some((id, flags)) = next {
            let who = self.name(id);
            if flags.any(flag::CONNECT_PENDING) {
                self.trace(format_args!("the refused connection of {who}"));
            }
            if flags.any(flag::SHUTDOWN_PENDING) {
                self.trace(format_args!("half-close of {who}"));
            }
        }
    }

    /// Data goes to the listeners.
    #[cold]
    pub(crate) fn trace_data(&self, id: Id, bytes: usize) {
        let who = self.name(id);
        self.trace(format_args!("'data' to {who}, {bytes} bytes"));
    }

    /// A datagram goes to the listeners.
    #[cold]
    pub(crate) fn trace_message(&self, id: Id, bytes: usize) {
        let who = self.name(id);
        self.trace(format_args!("'message' to {who}, {bytes} bytes"));
    }

    /// A message of another thread goes to the one who made its channel.
    #[cold]
    pub(crate) fn trace_message_of_channel(&self, id: Id) {
        if let Some(origin) = self.inside(|state| state.origin_of_channel(id)) {
            self.trace(format_args!("a message of a channel ({origin})"));
        }
    }

    /// What a loop callback has written is sent.
    #[cold]
    pub(crate) fn trace_gathered(&self) {
        let sent = self.inside(|state| {
            let gather = &mut state.gather;
            gather.spread();
            let sent = |bundle| Some((gather.key(bundle)?, gather.pieces(bundle).count()));
            (0..gather.bundles()).filter_map(sent).collect::<Vec<_>>()
        });
        for (id, writes) in sent {
            let who = self.name(id);
            match writes {
                1 => self.trace(format_args!("sends 1 write of {who}")),
                _ => self.trace(format_args!("sends {writes} writes of {who} in one go")),
            }
        }
    }

    /// A timer fires.
    #[cold]
    pub(crate) fn trace_timer(&self, id: Id) {
        let origin = self.inside(|state| state.timers.origin(id.key));
        self.trace(format_args!("{:?} ({origin})", Timer(self.raw(id))));
    }

    /// The name of a server or a socket.
    fn name(&self, id: Id) -> String {
        let kind = self.with(|state| state.entry(id).map(|entry| HandleKind::from(&*entry)));
        let raw = self.raw(id);
        match kind {
            Some(HandleKind::Server) => format!("{:?}", Server(raw)),
            Some(HandleKind::UdpSocket) => format!("{:?}", UdpSocket(raw)),
            Some(HandleKind::Stream) => format!("Stream({raw:?})"),
            _ => format!("{:?}", Socket(raw)),
        }
    }
}

/// Marks that a record is being made, also when the logger panics.
struct Busy<'a>(&'a Cell<bool>);

impl Busy<'_> {
    fn new(busy: &Cell<bool>) -> Busy<'_> {
        busy.set(true);
        Busy(busy)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// A panic of the logger's; it goes on when this is dropped, unless another does already.
struct Raised(Option<Box<dyn Any + Send>>);

impl Drop for Raised {
    fn drop(&mut self) {
        if let Some(panic) = self.0.take()
            && !std::thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}

/// What the backend has said, in words.
fn readiness(bits: u8) -> String {
    let words = [
        (ready::READABLE, "readable"),
        (ready::WRITABLE, "writable"),
        (ready::URGENT, "readable with urgent data"),
        (ready::READ_CLOSED, "ended by its peer"),
        (ready::HANG_UP, "closed on both sides"),
        (ready::ERROR, "in error"),
    ];
    let words = words.iter().filter(|(bit, _)| bits & bit != 0);
    let words: Vec<_> = words.map(|&(_, word)| word).collect();
    words.join(", ")
}
