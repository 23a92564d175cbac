//! The timer phase: Node's setTimeout and setInterval on the timer lists.

use std::panic::Location;

use super::core::Core;
use super::handle::{Id, Timer};
use super::state::{Dead, Reap, State};
use super::table;
use super::trace;
use crate::ground::error::Result;
use crate::ground::timer_lists::TimerState;

/// A timer's callback.
pub(crate) type TimerCall = Box<dyn FnMut(Timer)>;

impl State {
    /// Starts a timer, by the fresh clock (N20).
    pub(crate) fn start_timer(
        &mut self,
        duration_ms: u64,
        repeats: bool,
        call: TimerCall,
        origin: &'static Location<'static>,
    ) -> Id {
        let now_ms = self.update_time();
        let serial = table::next_serial();
        let key = self
            .timers
            .start(serial, now_ms, duration_ms, repeats, origin, Some(call));
        Id { key, serial }
    }

    pub(crate) fn has_timer(&self, id: Id) -> bool {
        self.timers.contains(id.key, id.serial)
    }

    /// `clear`. In `run` its slot lives until the present loop callback is over, for `has_ref` (N31);
    /// outside, the callback is handed back to be dropped.
    #[inline]
    pub(crate) fn clear_timer(&mut self, id: Id, running: bool) -> Option<TimerCall> {
        if running {
            self.clear_timer_in_run(id);
            return None;
        }
        self.timers.clear_and_remove(id.key, id.serial)?
    }

    #[inline(never)]
    fn clear_timer_in_run(&mut self, id: Id) {
        if let Some(value) = self.timers.clear(id.key, id.serial) {
            let call = value.take();
            self.graveyard.extend(call.map(Dead::Timer));
            self.reap.push(Reap::Timer(id));
        }
    }

    /// `refresh`, by the fresh clock (N29).
    #[inline]
    pub(crate) fn refresh_timer(&mut self, id: Id) {
        if self.has_timer(id) {
            let now_ms = self.update_time();
            self.timers.refresh(id.key, now_ms);
        }
    }

    /// `keep` and `release`.
    pub(crate) fn keep_timer(&mut self, id: Id, kept: bool) {
        if self.has_timer(id) {
            self.timers.set_kept(id.key, kept);
            self.free_timer_if_over(id);
        }
    }

    pub(crate) fn free_timer_if_over(&mut self, id: Id) {
        if !self.has_timer(id) {
            return;
        }
        let over = match self.timers.state(id.key) {
            TimerState::Alive => false,
            TimerState::Fired => !self.timers.is_kept(id.key),
            TimerState::Cleared => true,
        };
        if over && let Some(call) = self.timers.remove(id.key) {
            self.graveyard.push(Dead::Timer(call));
        }
    }

    /// Takes what is due next: a deadline of a socket, or a timer and its callback.
    fn take_due(&mut self, now_ms: u64) -> Option<Due> {
        let deadline_ms = self.deadlines.next_ms().unwrap_or(u64::MAX);
        let Some(key) = self.timers.pop_due_before(deadline_ms, now_ms) else {
            let deadline = self.take_deadline(now_ms).then_some(Due::Deadline);
            if deadline.is_none() {
                self.timers.end_pass(self.last_look_ms());
            }
            return deadline;
        };
        let id = Id {
            key,
            serial: self.timers.serial(key),
        };
        // An interval counts from here, by the fresh clock (N26).
        let started_ms = match self.timers.repeats(key) {
            true => self.update_time(),
            false => now_ms,
        };
        let call = self.timers.value_mut(key).take();
        Some(Due::Timer(id, call, started_ms))
    }

    /// What follows a timer's callback. The callback comes back when it is to be dropped.
    fn after_timer(
        &mut self,
        id: Id,
        call: Option<TimerCall>,
        started_ms: u64,
    ) -> Option<TimerCall> {
        // It may be gone: a destructor cleared it outside of `run`'s sight. Then so is its slot.
        if !self.has_timer(id) {
            return call;
        }
        let is_over = self.timers.after_callback(id.key, started_ms);
        // Only ticks can look at the clock between this and the end of the pass.
        if !self.ticks.is_empty() {
            self.timers.note_look(self.last_look_ms());
        }
        if is_over {
            if self.left_behind() == 0 && !self.timers.is_kept(id.key) {
                // Nothing runs any more that could start it again.
                self.timers.remove(id.key);
                return call;
            }
            self.reap.push(Reap::Timer(id));
        }
        if self.timers.state(id.key) == TimerState::Cleared {
            return call;
        }
        *self.timers.value_mut(id.key) = call;
        None
    }
}

/// What is due.
enum Due {
    /// A deadline of a socket; what it means is a step already.
    Deadline,
    /// A timer, its callback, and when it started.
    Timer(Id, Option<TimerCall>, u64),
}

/// The timer phase: every due timer is a loop callback. The clock of its start decides for all of
/// them (N22, N23). What was due first comes first, timer or deadline, so that a late timer that
/// writes to a socket still puts its timeout off.
#[inline]
pub(crate) fn run_timers(core: &Core) -> Result<()> {
    match core.inside(|state| state.has_timers()) {
        true => run_due(core),
        false => Ok(()),
    }
}

#[inline(never)]
fn run_due(core: &Core) -> Result<()> {
    core.inside(|state| state.pass_ms = state.update_time());
    run_pass(core)
}

/// The rest of a pass that was cut short, by its own clock.
pub(crate) fn run_rest(core: &Core) -> Result<()> {
    core.inside(|state| state.timers.choose_again());
    run_pass(core)
}

fn run_pass(core: &Core) -> Result<()> {
    let now_ms = core.inside(|state| state.pass_ms);
    while let Some(due) = core.inside(|state| state.take_due(now_ms)) {
        let Due::Timer(id, call, started_ms) = due else {
            core.finish_callback()?;
            continue;
        };
        let timer = Timer(core.raw(id));
        if trace::on() {
            core.trace_timer(id);
        }
        core.callback(|core| {
            let mut firing = Firing {
                core,
                id,
                call,
                started_ms,
            };
            if let Some(call) = &mut firing.call {
                call(timer);
            }
        })?;
        // The callback took time: whoever asks next reads the clock.
        core.inside(State::outdate_time);
    }
    Ok(())
}

/// A timer whose callback runs; sees to what follows, also when the callback panics (N27).
struct Firing<'a> {
    core: &'a Core,
    id: Id,
    call: Option<TimerCall>,
    started_ms: u64,
}

impl Drop for Firing<'_> {
    fn drop(&mut self) {
        let call = self.call.take();
        let dead = self
            .core
            .with(|state| state.after_timer(self.id, call, self.started_ms));
        drop(dead);
    }
}
