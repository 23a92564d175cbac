//! One loop: its state, and how it calls user code: listeners by [`emit`](Core::emit), and what follows a loop
//! callback by [`finish_callback`](Core::finish_callback).
//!
//! Where every instruction counts, in `dispatch.rs` and `datagram_receive.rs`, a listener that is alone is called
//! in place. ARCHITECTURE.md lists all places that call user code.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::panic::RefUnwindSafe;
use std::rc::Rc;

use super::entry::{Entry, entry_of};
use super::handle::{Id, LoopHandle, Raw};
use super::state::{Dead, Following, State};
use super::table;
use super::task::{Task, TickCall};
use super::trace::{self, Trace};
use super::turn::Phase;
use crate::ground::error::{Error, Result};
use crate::ground::listeners::{Listener, Slot, Taken};

/// A loop.
pub(crate) struct Core {
    /// What it owns.
    ///
    /// Architecture invariant: never borrowed while user code runs.
    state: RefCell<State>,
    /// Where the thread's table has it.
    pub(crate) index: u32,
    /// Tells it from an earlier loop at that index.
    pub(crate) serial: u64,
    /// Whether `run` is under way.
    pub(crate) running: Cell<bool>,
    /// Where the present turn is.
    pub(crate) phase: Cell<Option<Phase>>,
    /// Whether anybody but the loop itself has used its state since the loop last asked: a listener that has
    /// called nothing has changed nothing.
    pub(crate) was_called: Cell<bool>,
    /// What the log has told of the present turn.
    pub(crate) trace: Trace,
}

/// A panic leaves nothing half done (contract rule 6), so a program may catch one around `run`.
impl RefUnwindSafe for Core {}

/// The graveyard keeps its memory for so many; there are rarely more in one loop callback.
const KEPT_GRAVES: usize = 1024;

/// Where an event's listeners are in an entry; made if they are asked for to be added to.
pub(crate) type SlotOf<F> = fn(&mut Entry, create: bool) -> Option<&mut Slot<F>>;

impl Core {
    pub(crate) fn enter(state: State) -> Option<Rc<Core>> {
        let serial = table::next_serial();
        table::add(|index| {
            Rc::new(Core {
                state: RefCell::new(state),
                index,
                serial,
                running: Cell::new(false),
                phase: Cell::new(None),
                was_called: Cell::new(false),
                trace: Trace::default(),
            })
        })
    }

    pub(crate) fn handle(&self) -> LoopHandle {
        LoopHandle {
            index: self.index,
            serial: self.serial,
            not_send: std::marker::PhantomData,
        }
    }

    pub(crate) fn raw(&self, id: Id) -> Raw {
        Raw::new(self.index, id)
    }

    /// Borrows the state for `act`, which must not call user code. Within `run` what it discards
    /// is dropped when the loop callback ends, otherwise before this returns.
    #[inline]
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let (result, buries) = self.act(act);
        if buries {
            self.drop_the_dead();
        }
        result
    }

    /// As [`with`](Core::with), within `run`.
    #[inline]
    pub(crate) fn inside<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        debug_assert!(self.running.get());
        act(&mut self.state.borrow_mut())
    }

    /// As [`with`](Core::with), for a caller that calls [`drop_the_dead`](Core::drop_the_dead)
    /// itself if this says so.
    #[inline]
    pub(crate) fn act<R>(&self, act: impl FnOnce(&mut State) -> R) -> (R, bool) {
        let mut state = self.state.borrow_mut();
        self.was_called.set(true);
        let result = act(&mut state);
        let buries = !self.running.get() && !state.graveyard.is_empty();
        (result, buries)
    }

    /// As [`with`](Core::with), for what discards nothing unless the loop is in `run`: `act` is told.
    #[inline]
    pub(crate) fn with_running<R>(&self, act: impl FnOnce(&mut State, bool) -> R) -> R {
        let running = self.running.get();
        // Out of `run` nobody asks.
        self.was_called.set(running);
        act(&mut self.state.borrow_mut(), running)
    }

    /// Emits an event: calls the listeners while nothing is borrowed. One that is alone stays in its
    /// slot meanwhile; several are taken out, and put back also when one of them panics. Returns
    /// whether anybody listened.
    #[inline]
    pub(crate) fn emit<F: ?Sized + 'static>(
        &self,
        id: Id,
        slot: SlotOf<F>,
        call: impl FnMut(&mut F),
    ) -> bool {
        self.emit_and(id, slot, || {}, call)
    }

    /// As [`emit`](Core::emit), and does something in front of each listener that is there for one emission:
    /// Node removes it before it calls it.
    #[inline]
    pub(crate) fn emit_and<F: ?Sized + 'static>(
        &self,
        id: Id,
        slot: SlotOf<F>,
        removed: impl Fn(),
        mut call: impl FnMut(&mut F),
    ) -> bool {
        let sole = self.with(|state| match slot(state.entry(id)?, false)? {
            slot if slot.is_empty() => None,
            slot => Some(slot.sole()),
        });
        match sole {
            None => false,
            Some(Some(listener)) => {
                call(&mut listener.borrow_mut());
                true
            }
            Some(None) => {
                let all = |listener: &Listener<F>| {
                    if listener.once {
                        removed();
                    }
                    true
                };
                self.emit_where(id, slot, all, call)
            }
        }
    }

    /// As [`emit`](Core::emit), to some of the listeners, who are always taken out.
    #[inline(never)]
    pub(crate) fn emit_where<F: ?Sized + 'static>(
        &self,
        id: Id,
        slot: SlotOf<F>,
        chosen: impl Fn(&Listener<F>) -> bool,
        call: impl FnMut(&mut F),
    ) -> bool {
        let taken = self.with(|state| {
            let State {
                entries, called, ..
            } = state;
            let taken = slot(entry_of(entries, id)?, false)?.take()?;
            called.clear();
            called.extend(taken.all().iter().map(|listener| listener.id));
            Some(taken)
        });
        let Some(taken) = taken else { return false };
        let mut emission = Emission {
            core: self,
            id,
            slot,
            taken,
        };
        emission.taken.each_where(chosen, call);
        true
    }

    /// Reports an 'error' that nobody listened to.
    pub(crate) fn uncaught(&self, error: Error) {
        let handle = self.handle();
        if let Some(listener) = self.with(|state| state.on_uncaught.sole()) {
            listener.borrow_mut()(handle, &error);
            return self.follow_uncaught();
        }
        let taken = self.with(|state| state.on_uncaught.take());
        let Some(taken) = taken else {
            self.tell(|| log::debug!(target: "nodeloop::event_loop", "unhandled error: {error}"));
            self.with(|state| state.uncaught.push_back(error));
            return;
        };
        let mut emission = UncaughtEmission { core: self, taken };
        emission.taken.each(|listener| listener(handle, &error));
        drop(emission);
        self.follow_uncaught();
    }

    /// Behind an error that was heard of there Node makes an immediate, so there is a check phase, alive or
    /// not: what is unreferenced runs in it.
    fn follow_uncaught(&self) {
        self.with(|state| state.immediates.add(Box::new(|_| ()), Location::caller()));
    }

    /// One loop callback: `body`, the steps it left, then everything that follows a loop callback.
    pub(crate) fn callback(&self, body: impl FnOnce(&Core)) -> Result<()> {
        body(self);
        self.finish_callback()
    }

    /// What follows the user code of a loop callback: the rest of its steps, the burial of what
    /// it discarded, the end of `run` for an error that nobody listened to, and the ticks until
    /// they are dry, each of which is a loop callback itself.
    #[inline]
    pub(crate) fn finish_callback(&self) -> Result<()> {
        match self.inside(|state| state.is_quiet()) {
            true => Ok(()),
            false => self.finish_busy_callback(),
        }
    }

    #[inline(never)]
    fn finish_busy_callback(&self) -> Result<()> {
        let trace = trace::on();
        let mut in_ticks = false;
        loop {
            match self.inside(|state| state.what_follows(trace)) {
                Following::Step(step) => {
                    if trace {
                        self.trace_task(in_ticks, &step);
                    }
                    self.perform(step);
                }
                Following::Burial => self.drop_the_dead(),
                Following::Flush => {
                    self.trace_gathered();
                    self.inside(State::flush_all);
                }
                Following::Uncaught(error) => return Err(error),
                Following::UserTick(call, origin) => {
                    if trace {
                        in_ticks = true;
                        self.trace_user_tick(origin);
                    }
                    self.run_user_ticks(call, trace);
                }
                Following::Tick(tick) => {
                    if trace {
                        in_ticks = true;
                        self.trace_task(true, &tick);
                    }
                    self.perform(tick);
                }
                Following::Starvation => self.warn_of_starving(),
                Following::Nothing => return Ok(()),
            }
        }
    }

    /// Calls a user's tick, and those behind it as long as each has called nothing, so has left nothing behind.
    #[inline]
    fn run_user_ticks(&self, first: TickCall, trace: bool) {
        let mut next = Some(first);
        while let Some(call) = next {
            self.was_called.set(false);
            call(self.handle());
            if trace || self.was_called.get() {
                return;
            }
            next = self.inside(|state| state.next_user_tick());
        }
    }

    /// Drops what was discarded, while nothing is borrowed: destructors are user code.
    #[cold]
    pub(crate) fn drop_the_dead(&self) {
        // They may call the API and so discard more.
        loop {
            let mut dead: Vec<Dead> = {
                let graveyard = &mut self.state.borrow_mut().graveyard;
                if graveyard.is_empty() {
                    return;
                }
                std::mem::take(graveyard)
            };
            dead.clear();
            // Its memory is kept, so that no message costs an allocation; a large funeral's is not.
            let graveyard = &mut self.state.borrow_mut().graveyard;
            if graveyard.capacity() == 0 && dead.capacity() <= KEPT_GRAVES {
                *graveyard = dead;
            }
        }
    }

    /// The log is told once that the loop does not get on.
    #[cold]
    fn warn_of_starving(&self) {
        let taken = crate::ground::tick_queue::WARN_AFTER;
        let next = self.inside(|state| match state.ticks.front() {
            Some(Task::User(_, origin)) => Some(*origin),
            _ => None,
        });
        self.tell(|| match next {
            Some(origin) => log::warn!(
                target: "nodeloop::event_loop",
                "{taken} ticks have run without the loop going on; the next was queued at {origin}"
            ),
            None => log::warn!(
                target: "nodeloop::event_loop",
                "{taken} ticks have run without the loop going on"
            ),
        });
    }

    /// Ends everything: every descriptor is closed, every listener dropped.
    pub(crate) fn shut_down(&self) {
        table::remove(self.index);
        // One after the other, and none while the state is borrowed: destructors are user code.
        // They find no loop any more, so nothing new can come.
        let entries = self.with(|state| std::mem::take(&mut state.entries));
        let tasks = self.with(|state| (std::mem::take(&mut state.steps), state.ticks.take_all()));
        let timers = self.with(|state| state.timers.take_all());
        let immediates = self.with(|state| state.immediates.take_all());
        let watchers = self.with(|state| state.watchers.take_all());
        let jobs = self.with(|state| (state.backend.close_workers(), state.jobs.take_all()));
        let channels = self.with(|state| state.channels.take_all());
        let mail = self.with(|state| (state.mailbox.close(), std::mem::take(&mut state.mail)));
        let uncaught = self.with(|state| {
            (
                std::mem::take(&mut state.on_uncaught),
                std::mem::take(&mut state.uncaught),
            )
        });
        for (_, entry) in entries {
            drop(entry);
        }
        drop((jobs, channels, mail));
        drop((tasks, timers, immediates, watchers, uncaught));
        self.drop_the_dead();
    }
}

/// The listeners of an event while they are called; puts them back when it is dropped. What is
/// left in it then, since it was removed or its object is gone, is dropped with it, unborrowed.
struct Emission<'a, F: ?Sized + 'static> {
    core: &'a Core,
    id: Id,
    slot: SlotOf<F>,
    taken: Taken<F>,
}

impl<F: ?Sized + 'static> Drop for Emission<'_, F> {
    fn drop(&mut self) {
        let (id, slot, taken) = (self.id, self.slot, &mut self.taken);
        self.core.with(|state| {
            if let Some(slot) = state.entry(id).and_then(|entry| slot(entry, false)) {
                slot.put_back(taken);
            }
        });
    }
}

/// The same for the listeners of unhandled errors.
struct UncaughtEmission<'a> {
    core: &'a Core,
    taken: Taken<dyn FnMut(LoopHandle, &Error)>,
}

impl Drop for UncaughtEmission<'_> {
    fn drop(&mut self) {
        let taken = &mut self.taken;
        self.core.with(|state| {
            state.on_uncaught.put_back(taken);
        });
    }
}
