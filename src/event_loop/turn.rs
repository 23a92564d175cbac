//! The turn: its phases in libuv's order, and the modes in which turns are run.
//!
//! ```text
//! pending → idle → prepare → poll (I/O) → pending again → check (immediates, then watchers)
//!         → closing → clock → timers
//! ```

use std::io;
use std::time::Duration;

use super::core::Core;
use super::dispatch;
use super::immediates;
use super::mailbox;
use super::socket;
use super::state::State;
use super::timers;
use super::trace;
use super::watchers::{self, WatcherKind};
use crate::backend::{EVENTS_PER_WAIT, is_interrupted};
use crate::ground::error::{Error, Result};

/// Passes over the pending queue after the poll: completions that bring further completions get
/// so many chances before the loop goes on (L45, as libuv).
const PENDING_PASSES: u32 = 8;

/// Waits in one poll phase while each brings a full batch (L19, as libuv).
const FULL_WAITS: u32 = 48;

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

/// Runs turns. Returns whether something still keeps the loop alive (L6).
pub(crate) fn run(core: &Core, mode: RunMode) -> Result<bool> {
    if core.running.replace(true) {
        return Err(Error::library(
            "ERR_LOOP_RUNNING",
            "This loop is running already: `run` was called by one of its listeners.",
        ));
    }
    core.inside(|state| state.set_gathering(true));
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
    // L2 and L3: only this mode runs timers before the first turn.
    if mode == RunMode::Default && alive && !core.inside(|state| state.stop) {
        timers::run_timers(core)?;
    }
    let mut next = core.inside(|state| state.next_turn(alive));
    while let Some(is_calm) = next {
        let trace = trace::on();
        let result = match is_calm && !trace {
            true => calm_turns(core),
            false => turn(core, mode, trace),
        };
        if trace {
            core.trace_turn_end();
            // A logger may have called us.
            result.and_then(|()| core.finish_callback())?;
        } else {
            result?;
        }
        next = core.inside(|state| {
            alive = state.is_alive();
            state.next_turn(alive)
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

/// Marks the loop as running; also when a listener panics it is not any more.
struct Running<'a>(&'a Core);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // A listener that panics has written what it has written.
        self.0.inside(|state| {
            state.flush_all();
            state.set_gathering(false);
            state.close_outbox();
            state.mailbox.end_run();
        });
        self.0.running.set(false);
    }
}

/// Turns that are a wait and its I/O, while nothing else is to be done between two of them; the phases behind
/// the last.
///
/// The ordinary life of a server: one look from a poll to the next, and what it runs is close together.
fn calm_turns(core: &Core) -> Result<()> {
    loop {
        let mail = core.inside(|state| {
            state.turns += 1;
            wait_for_events(state, WaitLimit::Unlimited)
        });
        serve_poll(core, mail, false)?;
        if !core.inside(|state| state.is_calm()) || trace::on() {
            break;
        }
    }
    match core.inside(|state| state.has_phases_behind()) {
        true => run_phases_behind(core, false),
        false => Ok(()),
    }
}

/// One turn of the loop.
fn turn(core: &Core, mode: RunMode, trace: bool) -> Result<()> {
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
    match has_pending || trace {
        true => run_phases_before(core, trace)?,
        false if is_watched => run_watchers_before(core, false)?,
        false => {}
    }
    poll(core, may_block, trace)?;
    if trace || core.inside(|state| state.has_phases_behind()) {
        run_phases_behind(core, trace)?;
    }
    Ok(())
}

/// The phases in front of the poll.
#[inline(never)]
fn run_phases_before(core: &Core, trace: bool) -> Result<()> {
    let phase = |name| tell_phase(core, name, trace);
    if trace {
        core.trace_turn();
    }
    phase("pending");
    run_pending(core)?;
    run_watchers_before(core, trace)?;
    phase("poll");
    Ok(())
}

/// Idle, and prepare.
#[inline]
fn run_watchers_before(core: &Core, trace: bool) -> Result<()> {
    let phase = |name| tell_phase(core, name, trace);
    phase("idle");
    watchers::run_watchers(core, WatcherKind::Idle)?;
    phase("prepare");
    watchers::run_watchers(core, WatcherKind::Prepare)
}

/// The phases behind the poll.
#[inline(never)]
fn run_phases_behind(core: &Core, trace: bool) -> Result<()> {
    let phase = |name| tell_phase(core, name, trace);
    // Mostly only something was closed.
    if trace || core.inside(|state| state.has_phases_before_closing()) {
        run_phases_before_closing(core, trace)?;
    }
    phase("closing");
    socket::run_closing(core)?;
    phase("timers");
    timers::run_timers(core)
}

/// Pending again, and check.
#[inline]
fn run_phases_before_closing(core: &Core, trace: bool) -> Result<()> {
    let phase = |name| tell_phase(core, name, trace);
    for _ in 0..PENDING_PASSES {
        if core.inside(|state| state.pending.is_empty()) {
            break;
        }
        phase("pending again");
        run_pending(core)?;
    }
    phase("check");
    immediates::run_immediates(core)?;
    watchers::run_watchers(core, WatcherKind::Check)
}

fn tell_phase(core: &Core, name: &'static str, trace: bool) {
    if trace {
        core.trace_phase(name);
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
        // Who has a watcher has one in every turn.
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
    let mail = core.inside(|state| {
        state.turns += 1;
        // Behind what an interrupted turn has left, in front of the fresh batch.
        let State { batch, ready, .. } = state;
        if !ready.is_empty() {
            batch.append(ready);
        }
        state.rearm_stalled();
        let limit = wait_limit(state, may_block);
        wait_for_events(state, limit)
    });
    serve_poll(core, mail, trace)
}

/// Waits. Gives whether there is mail.
#[inline(never)]
fn wait_for_events(state: &mut State, limit: WaitLimit) -> io::Result<bool> {
    let waited = wait_and_harvest(state, limit);
    // What it was not asked for comes before what has come since.
    if let Some(id) = state.unproven.take() {
        state.batch.bring_to_front(id);
    }
    waited.map(|()| state.has_mail())
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
    // A turn that idles finds nothing.
    match !trace && core.inside(|state| state.batch.is_empty() && state.is_quiet()) {
        true => Ok(()),
        false => dispatch::serve_batch(core, trace),
    }
}

/// Tells the log how long the wait that comes may be.
#[cold]
fn trace_wait(core: &Core, may_block: bool) {
    let (reason, limit) = core.inside(|state| {
        let left = (!state.ready.is_empty()).then_some("an earlier turn has left something");
        let reason = left.or_else(|| why_not_wait(state, may_block));
        (reason, wait_limit(state, may_block))
    });
    match limit {
        WaitLimit::Until(at_ms) => core.trace_wait(reason, Some(at_ms)),
        WaitLimit::Now | WaitLimit::Unlimited => core.trace_wait(reason, None),
    }
}

/// Until when the wait may block.
#[derive(Debug, Clone, Copy)]
enum WaitLimit {
    /// Not at all.
    Now,
    /// Until this time.
    Until(u64),
    /// Until something happens.
    Unlimited,
}

/// Waits until something is to be served, or the time is over. Events that concern nobody do
/// not end the wait (L24).
fn wait_and_harvest(state: &mut State, limit: WaitLimit) -> io::Result<()> {
    loop {
        let timeout = match limit {
            WaitLimit::Now => Some(Duration::ZERO),
            WaitLimit::Unlimited => None,
            WaitLimit::Until(at_ms) => Some(time_until(state, at_ms)),
        };
        match wait_once(state, timeout) {
            // L21: an interrupted wait goes on.
            Err(error) if is_interrupted(&error) => {}
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        let over = match limit {
            WaitLimit::Now => true,
            _ if !state.batch.is_empty() || state.has_mail() => true,
            WaitLimit::Until(at_ms) => time_until(state, at_ms).is_zero(),
            WaitLimit::Unlimited => false,
        };
        if over {
            return Ok(());
        }
    }
}

/// By the turn's clock; none if it is past.
#[inline(never)]
fn time_until(state: &mut State, at_ms: u64) -> Duration {
    Duration::from_millis(at_ms.saturating_sub(state.now_ms()))
}

/// One wait, and as many that don't block as bring full batches.
#[inline(always)]
fn wait_once(state: &mut State, timeout: Option<Duration>) -> io::Result<()> {
    state.outdate_time();
    wait_asleep(state, timeout)?;
    if dispatch::harvest(state) < EVENTS_PER_WAIT {
        return Ok(());
    }
    wait_for_more(state)
}

/// Behind a full batch.
#[cold]
fn wait_for_more(state: &mut State) -> io::Result<()> {
    for _ in 1..FULL_WAITS {
        state.outdate_time();
        state
            .backend
            .wait(Some(Duration::ZERO), state.settings.spin)?;
        if dispatch::harvest(state) < EVENTS_PER_WAIT {
            break;
        }
    }
    Ok(())
}

/// Waits for the poller. While that may take its time, who brings mail ends it.
fn wait_asleep(state: &mut State, timeout: Option<Duration>) -> io::Result<()> {
    let spin = state.settings.spin;
    if timeout == Some(Duration::ZERO) {
        return state.backend.wait(timeout, spin);
    }
    let timeout = match state.mailbox.doze() {
        true => Some(Duration::ZERO),
        false => timeout,
    };
    let waited = state.backend.wait(timeout, spin);
    state.mailbox.wake_up();
    waited
}

/// Why the loop may not block, if so (L12–L15).
#[inline]
fn why_not_wait(state: &State, may_block: bool) -> Option<&'static str> {
    if !may_block {
        return Some("it was asked not to");
    }
    if state.stop {
        return Some("it was stopped");
    }
    if !state.batch.is_empty() {
        return Some("an earlier turn has left something");
    }
    if state.has_mail() {
        return Some("there is mail from another thread");
    }
    if !state.pending.is_empty() {
        return Some("something is pending");
    }
    if !state.closing.is_empty() || !state.closing_now.is_empty() {
        return Some("something is closing");
    }
    if state.immediates.referenced() > 0 {
        return Some("an immediate is due");
    }
    if state.watchers.is_idling() {
        return Some("there is an idle watcher");
    }
    (!state.is_alive()).then_some("nothing keeps the loop alive")
}

/// How long the loop may block (L12–L16).
#[inline]
fn wait_limit(state: &mut State, may_block: bool) -> WaitLimit {
    // Who idles does so turn after turn, and need not hear all that would be a reason too.
    if state.watchers.is_idling() || why_not_wait(state, may_block).is_some() {
        return WaitLimit::Now;
    }
    // In most turns there is nothing to wait for but events. Who has cleared the last timer is not yet among
    // them: the look at the lists forgets it, and only then turns are calm.
    if !state.timers.may_wait() && state.deadlines.is_empty() && state.stalled.is_empty() {
        return WaitLimit::Unlimited;
    }
    let mut until_ms = state.timers.next_expiry_ms();
    if let Some(at_ms) = state.deadlines.next_ms() {
        until_ms = Some(until_ms.map_or(at_ms, |until_ms| until_ms.min(at_ms)));
    }
    if !state.stalled.is_empty() {
        until_ms =
            Some(until_ms.map_or(state.stalled_until_ms, |at| at.min(state.stalled_until_ms)));
    }
    match until_ms {
        Some(at_ms) => WaitLimit::Until(at_ms),
        None => WaitLimit::Unlimited,
    }
}

/// For embedding: how long another loop may wait for this one's descriptor (E2).
pub(crate) fn poll_timeout(state: &mut State) -> Option<Duration> {
    // What was queued outside, ticks above all, runs when `run` begins.
    if !state.ready.is_empty() || !state.is_quiet() {
        return Some(Duration::ZERO);
    }
    match wait_limit(state, true) {
        WaitLimit::Now => Some(Duration::ZERO),
        WaitLimit::Unlimited => None,
        WaitLimit::Until(at_ms) => {
            let now_ms = state.update_time();
            Some(Duration::from_millis(at_ms.saturating_sub(now_ms)))
        }
    }
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
