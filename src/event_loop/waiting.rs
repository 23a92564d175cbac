//! The wait in the poll phase: how long it may be, and what ends it.

use std::io;
use std::time::Duration;

use super::core::Core;
use super::dispatch;
use super::state::State;
use crate::backend::{BY_LEVEL, EVENTS_PER_WAIT, is_interrupted};

/// Waits in one poll phase while each brings a full batch (L19, as libuv).
const FULL_WAITS: u32 = 48;

/// Until when the wait may block.
#[derive(Debug, Clone, Copy)]
pub(super) enum WaitLimit {
    /// Not at all.
    Now,
    /// Until this time.
    Until(u64),
    /// Until something happens.
    Unlimited,
}

/// How long the loop may block (L12–L16).
#[inline]
pub(super) fn wait_limit(state: &mut State, may_block: bool) -> WaitLimit {
    // An idle watcher runs turn after turn: no need to look for the other reasons, too.
    if state.watchers.is_idling() || why_not_wait(state, may_block).is_some() {
        return WaitLimit::Now;
    }
    // In most turns there is nothing to wait for but events. When the last timer was just cleared, the lists are
    // looked at once more: only that look forgets it, and then turns are calm.
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

/// Waits. Gives whether there is mail.
#[inline(never)]
pub(super) fn wait_for_events(state: &mut State, limit: WaitLimit) -> io::Result<bool> {
    let waited = wait_and_harvest(state, limit);
    // What this socket was not asked for in the last turn comes before what has come since.
    if let Some(id) = state.unproven.take() {
        state.batch.bring_to_front(id);
    }
    waited.map(|()| state.has_mail())
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
            // An interrupted wait goes on (L21).
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

/// Waits for the poller. A wait that may last is ended by whoever brings mail.
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

/// Tells the log how long the wait that comes may be.
#[cold]
pub(super) fn trace_wait(core: &Core, may_block: bool) {
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

/// For embedding: how long another loop may wait for this one's descriptor (E2).
pub(crate) fn poll_timeout(state: &mut State) -> Option<Duration> {
    // What was queued outside, ticks above all, runs when `run` begins; and so does the rest of a turn.
    if !state.ready.is_empty() || !state.is_quiet() || state.cut.is_some() {
        return Some(Duration::ZERO);
    }
    // A listening socket gives one connection a turn. That more of them wait is told by level, which a loop that
    // watches our descriptor by edges does not hear: so it is to turn again, until an accept finds nobody.
    if BY_LEVEL && state.accepted_in == state.turns {
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
