//! The turn: its phases in libuv's order, and the modes in which turns are run.
//!
//! ```text
//! pending → idle → prepare → poll (I/O) → pending again → check (immediates, then watchers)
//!         → closing → clock → timers
//! ```

use std::io;

use super::core::Core;
use super::datagram_receive;
use super::dispatch;
use super::immediates;
use super::mailbox;
use super::socket;
use super::state::State;
use super::timers;
use super::trace;
use super::waiting::{WaitLimit, trace_wait, wait_for_events, wait_limit};
use super::watchers::{self, WatcherKind};
use crate::ground::error::{Error, Result};

/// Passes over the pending queue after the poll: completions that bring further completions get
/// so many chances before the loop goes on (L45, as libuv).
const PENDING_PASSES: u32 = 8;

/// How long `run` goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunMode {
    /// Until nothing keeps the loop alive, or `stop`.
    Default,
    /// One turn, which may block.
    Once,
    /// One turn, which does not.
    NoWait,
}

/// Where a turn is, in the order of its phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Before the first turn of a run: what was queued outside.
    Start,
    /// What was deferred.
    Pending,
    /// Idle watchers.
    Idle,
    /// Prepare watchers.
    Prepare,
    /// The wait, and what it brings.
    Poll,
    /// What was deferred meanwhile.
    PendingAgain,
    /// The first half of the check phase.
    Immediates,
    /// The second: check watchers.
    Check,
    /// 'close' events.
    Closing,
    /// Timers, and deadlines of sockets.
    Timers,
}

impl Phase {
    /// Its name in the log.
    fn name(self) -> &'static str {
        match self {
            // Never entered: there is no turn yet.
            Phase::Start => "start",
            Phase::Pending => "pending",
            Phase::Idle => "idle",
            Phase::Prepare => "prepare",
            Phase::Poll => "poll",
            Phase::PendingAgain => "pending again",
            Phase::Immediates | Phase::Check => "check",
            Phase::Closing => "closing",
            Phase::Timers => "timers",
        }
    }
}

/// Runs turns. Returns whether something still keeps the loop alive (L6).
pub(crate) fn run(core: &Core, mode: RunMode) -> Result<bool> {
    if core.running.replace(true) {
        return Err(Error::library(
            "ERR_LOOP_RUNNING",
            "This loop is running already: `run` was called by one of its listeners.",
        ));
    }
    core.inside(|state| state.set_gathering(true));
    core.phase.set(Some(Phase::Start));
    let _running = Running(core);
    core.inside(|state| {
        state.outbox.open();
        state.mailbox.wake_up();
    });
    // What was queued outside, and what an earlier run has left.
    core.finish_callback()?;
    let mut alive = core.inside(|state| state.is_alive());
    core.inside(|state| {
        state.outdate_time();
        state.runs_on = mode == RunMode::Default;
    });
    let stopped = core.inside(|state| state.stop);
    // A run that is stopped leaves it to a later one.
    let cut = match stopped {
        true => None,
        false => core.inside(|state| state.cut.take()),
    };
    let mut rest = cut.filter(|phase| *phase > Phase::Start);
    // Behind an error Node makes an immediate, to see to the ticks: so there is a check phase, alive or not.
    let mut owed = mode == RunMode::Default
        && cut.is_some_and(|phase| phase == Phase::Start || phase >= Phase::Immediates);
    // Only this mode runs timers before the first turn (L2, L3).
    if mode == RunMode::Default && (alive || owed) && rest.is_none() && !stopped {
        core.phase.set(Some(Phase::Timers));
        timers::run_timers(core)?;
    }
    core.phase.set(None);
    let mut next = match rest {
        Some(_) => Some(false),
        None => core.inside(|state| state.next_turn(alive || owed)),
    };
    while let Some(is_calm) = next {
        let trace = trace::on();
        let result = match rest.take() {
            Some(cut) if cut >= Phase::Poll => rest_of_turn(core, cut, trace),
            None if is_calm && !trace && !owed => calm_turns(core),
            cut => {
                let mode = match std::mem::take(&mut owed) || cut.is_some() {
                    true => RunMode::NoWait,
                    false => mode,
                };
                turn(core, mode, cut, trace)
            }
        };
        if trace {
            core.trace_turn_end();
            // A logger may have called us.
            result.and_then(|()| core.finish_callback())?;
        } else {
            result?;
        }
        core.phase.set(None);
        next = core.inside(|state| {
            alive = state.is_alive();
            state.next_turn(alive || owed)
        });
        if mode != RunMode::Default {
            break;
        }
    }
    // L5: the flag is used up, also by a run that did nothing.
    core.inside(|state| state.stop = false);
    if !alive {
        core.inside(|state| state.backend.stop_splicing());
    }
    Ok(alive)
}

/// Marks the loop as running, until it is dropped, also by a listener that panics.
struct Running<'a>(&'a Core);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let cut = self.0.phase.take();
        // What a listener has written before it panicked is sent.
        self.0.inside(|state| {
            state.cut = state.cut.or(cut);
            state.flush_all();
            state.set_gathering(false);
            state.close_outbox();
            state.mailbox.end_run();
        });
        self.0.trace_turn_broken();
        self.0.running.set(false);
    }
}

/// Turns that are a wait and its I/O, and what is to be done behind it, as long as the next is such a turn.
///
/// The ordinary life of a server: one look from a poll to the next, and what it runs is close together.
fn calm_turns(core: &Core) -> Result<()> {
    loop {
        core.phase.set(Some(Phase::Poll));
        let (mail, sole) = core.inside(|state| {
            state.turns += 1;
            let mail = wait_for_events(state, WaitLimit::Unlimited);
            (mail, state.sole_datagrams())
        });
        // A socket that is alone needs no batch. Mostly there is nothing to do behind its answer, and nothing to
        // ask.
        let is_calm = match (&mail, sole) {
            (Ok(false), Some(id)) => datagram_receive::serve_in_calm(core, id)?,
            _ => false,
        };
        if !is_calm {
            serve_poll(core, mail, false)?;
        }
        let is_calm = is_calm || core.inside(|state| state.is_calm()) || {
            // Mostly something was closed.
            run_phases_behind_if_any(core, false)?;
            core.inside(|state| state.is_calm())
        };
        if !is_calm || trace::on() {
            return Ok(());
        }
    }
}

/// One turn of the loop, or what an error or a panic has left of one that had not come to its poll.
fn turn(core: &Core, mode: RunMode, cut: Option<Phase>, trace: bool) -> Result<()> {
    let (has_pending, is_watched, may_block) = core.inside(|state| {
        let has_pending = !state.pending.is_empty();
        let may_block = match mode {
            RunMode::Default => true,
            RunMode::NoWait => false,
            // L13: decided at the very start of the turn.
            RunMode::Once => !has_pending && !state.watchers.is_idling(),
        };
        (has_pending, state.watchers.has_any(), may_block)
    });
    // Mostly one of them at most.
    match cut {
        Some(cut) => run_rest_before(core, cut, trace)?,
        None if has_pending || trace => run_phases_before(core, trace)?,
        None if is_watched => run_watchers_before(core, false)?,
        None => {}
    }
    poll(core, may_block, trace)?;
    run_phases_behind_if_any(core, trace)
}

/// What an error or a panic has left of the phases in front of the poll, in the run that follows.
#[cold]
fn run_rest_before(core: &Core, cut: Phase, trace: bool) -> Result<()> {
    enter(core, cut, trace);
    match cut {
        Phase::Prepare => watchers::run_rest(core, WatcherKind::Prepare),
        Phase::Idle => {
            watchers::run_rest(core, WatcherKind::Idle)?;
            enter(core, Phase::Prepare, trace);
            watchers::run_watchers(core, WatcherKind::Prepare)
        }
        _ => {
            run_pending(core)?;
            run_watchers_before(core, trace)
        }
    }
}

/// What is left of a turn that was cut short in its poll or behind: the rest of that phase, and the phases
/// behind, as Node goes on behind an exception that is caught (N14, N63). It does not wait.
#[cold]
fn rest_of_turn(core: &Core, cut: Phase, trace: bool) -> Result<()> {
    enter(core, cut, trace);
    match cut {
        Phase::Poll => {
            // No fresh mail: a program that posts again and fails each time would keep the loop from what is
            // behind the poll.
            mailbox::deliver_rest(core)?;
            if trace {
                core.trace_batch();
            }
            dispatch::serve_rest(core, trace)?;
        }
        Phase::Immediates => immediates::run_rest(core)?,
        Phase::Check => watchers::run_rest(core, WatcherKind::Check)?,
        Phase::Closing => socket::run_rest_of_closing(core)?,
        Phase::Timers => return timers::run_rest(core),
        // What is left of pending again is all that is deferred by now: `run_phases_behind` does it. What is left
        // of the phases before the poll is `run_rest_before`'s.
        _ => {}
    }
    run_phases_behind(core, cut, trace)
}

/// The phases in front of the poll.
#[inline(never)]
fn run_phases_before(core: &Core, trace: bool) -> Result<()> {
    if trace {
        core.trace_turn();
    }
    enter(core, Phase::Pending, trace);
    run_pending(core)?;
    run_watchers_before(core, trace)?;
    if trace {
        // `poll` enters the phase once the log was told of the wait.
        core.trace_phase(Phase::Poll.name());
    }
    Ok(())
}

/// Idle, and prepare.
#[inline]
fn run_watchers_before(core: &Core, trace: bool) -> Result<()> {
    enter(core, Phase::Idle, trace);
    watchers::run_watchers(core, WatcherKind::Idle)?;
    enter(core, Phase::Prepare, trace);
    watchers::run_watchers(core, WatcherKind::Prepare)
}

/// The phases behind the one that is `done`, which is the poll or one of them.
#[inline(never)]
fn run_phases_behind(core: &Core, done: Phase, trace: bool) -> Result<()> {
    // Mostly only something was closed.
    if trace || core.inside(|state| state.has_phases_before_closing()) {
        run_phases_before_closing(core, done, trace)?;
    }
    if done < Phase::Closing {
        enter(core, Phase::Closing, trace);
        socket::run_closing(core)?;
    }
    enter(core, Phase::Timers, trace);
    timers::run_timers(core)
}

/// The same, if one of them has something to do.
#[inline]
fn run_phases_behind_if_any(core: &Core, trace: bool) -> Result<()> {
    match trace || core.inside(|state| state.has_phases_behind()) {
        true => run_phases_behind(core, Phase::Poll, trace),
        false => Ok(()),
    }
}

/// Pending again, and check; but for those that are `done`.
#[inline]
fn run_phases_before_closing(core: &Core, done: Phase, trace: bool) -> Result<()> {
    if done < Phase::Immediates {
        for _ in 0..PENDING_PASSES {
            if core.inside(|state| state.pending.is_empty()) {
                break;
            }
            enter(core, Phase::PendingAgain, trace);
            run_pending(core)?;
        }
        enter(core, Phase::Immediates, trace);
        immediates::run_immediates(core)?;
    }
    if done < Phase::Check {
        // The log has one name for both halves of the phase.
        core.phase.set(Some(Phase::Check));
        watchers::run_watchers(core, WatcherKind::Check)?;
    }
    Ok(())
}

#[inline]
fn enter(core: &Core, phase: Phase, trace: bool) {
    core.phase.set(Some(phase));
    if trace {
        core.trace_phase(phase.name());
    }
}

impl State {
    /// Whether another turn follows while the loop is `alive`, and then whether it is a calm one.
    #[inline]
    fn next_turn(&self, alive: bool) -> Option<bool> {
        (alive && !self.stop).then(|| self.runs_on && self.is_calm())
    }

    /// Whether nobody can tell this turn and the next apart, if it ends behind the front of the batch.
    #[inline]
    pub(crate) fn ends_unseen(&self) -> bool {
        self.runs_on && self.batch.ends_with_front() && self.leads_to_a_poll()
    }

    /// Whether the phases between two polls have nothing to do, and the next wait may last until something
    /// happens.
    #[inline]
    fn is_calm(&self) -> bool {
        self.batch.is_empty() && self.leads_to_a_poll()
    }

    /// The same, once the batch is served.
    #[inline]
    fn leads_to_a_poll(&self) -> bool {
        // A program that has a watcher has it in every turn.
        if self.watchers.has_any() {
            return false;
        }
        // One branch, in every turn.
        let busy = usize::from(self.stop)
            | self.ready.len()
            | self.stalled.len()
            | self.pending.len()
            | self.closing.len()
            | self.closing_now.len()
            | self.mail.len()
            | usize::from(self.mailbox.waits())
            | usize::from(self.immediates.has_any())
            | usize::from(self.timers.may_wait())
            | usize::from(!self.deadlines.is_empty());
        busy == 0 && self.is_alive()
    }

    /// Whether a phase behind the poll has something to do.
    #[inline]
    fn has_phases_behind(&mut self) -> bool {
        // One branch, in every turn.
        let closing = self.closing.len() | self.closing_now.len();
        (closing != 0) | self.has_phases_before_closing() | self.has_timers()
    }

    #[inline]
    fn has_phases_before_closing(&self) -> bool {
        let checks = self.watchers.waits(WatcherKind::Check);
        !self.pending.is_empty() | self.immediates.has_any() | checks
    }

    #[inline]
    pub(super) fn has_timers(&mut self) -> bool {
        !self.timers.is_idle() | !self.deadlines.is_empty()
    }
}

/// One pass over the deferred completions; what is added meanwhile waits for the next (L43).
fn run_pending(core: &Core) -> Result<()> {
    let count = core.inside(|state| state.pending.len());
    for _ in 0..count {
        if trace::on() {
            core.trace_pending();
        }
        core.inside(|state| {
            if let Some(id) = state.pending.pop_front() {
                state.serve_pending(id);
            }
        });
        core.finish_callback()?;
    }
    Ok(())
}

/// The poll phase: waits, notes what is ready, and serves it. What earlier turns have left comes
/// first.
fn poll(core: &Core, may_block: bool, trace: bool) -> Result<()> {
    if trace {
        trace_wait(core, may_block);
        // A logger may have called us.
        core.finish_callback()?;
    }
    core.phase.set(Some(Phase::Poll));
    let mut idles = false;
    let mail = core.inside(|state| {
        state.turns += 1;
        // Behind what an interrupted turn has left, in front of the fresh batch.
        let State { batch, ready, .. } = state;
        if !ready.is_empty() {
            batch.append(ready);
        }
        state.rearm_stalled();
        let limit = wait_limit(state, may_block);
        let mail = wait_for_events(state, limit);
        idles = !trace && state.batch.is_empty() && state.is_quiet();
        mail
    });
    match mail {
        Ok(false) if idles => Ok(()),
        mail => serve_poll(core, mail, trace),
    }
}

/// Serves what a wait has brought.
#[inline(always)]
fn serve_poll(core: &Core, mail: io::Result<bool>, trace: bool) -> Result<()> {
    match mail {
        Ok(false) => {}
        Ok(true) => mailbox::deliver(core)?,
        Err(error) => return Err(Error::system("poll", error)),
    }
    if trace {
        core.trace_batch();
    }
    dispatch::serve_batch(core, trace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::api::Loop;

    /// They were not: the wait had no limit without a look at the lists, so the empty one stayed among them.
    #[test]
    fn turns_are_calm_again_when_a_cleared_timer_is_forgotten() {
        let lp = Loop::new().unwrap();
        lp.handle().with(|state| {
            // Something to wait for.
            state.live.handles += 1;
            assert!(state.is_calm());
        });
        lp.set_timeout(1000, |_| {}).clear();
        lp.handle().with(|state| {
            assert!(!state.is_calm(), "nobody has looked yet");
            assert!(matches!(wait_limit(state, true), WaitLimit::Unlimited));
            assert!(state.is_calm());
            state.live.handles -= 1;
        });
    }
}
