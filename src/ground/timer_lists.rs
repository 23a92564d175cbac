//! Timers in Node's own structure: a list per duration, a heap of lists, links in a slab.
//!
//! No other structure gives Node's order (N17–N36). All timers of one duration expire in the
//! order in which they were started, so each duration has a list to whose end a timer is
//! appended, and only the lists are ordered by expiry. Starting, refreshing and cancelling a timer
//! of a duration in use is O(1); a new duration costs O(log lists). A list runs **all** its due
//! timers before the next list is looked at (N22).
//!
//! Time is in whole milliseconds and is handed in: this file reads no clock. The names of Node's
//! functions (`insert`, `unenroll`, `listOnTimeout`) stand beside what mirrors them.

use std::panic::Location;

use slab::Slab;

use super::duration_lists::{DurationLists, FirstList, Times};
use super::mutations::mutated;

/// The timers of one loop, each with a `T`.
pub(crate) struct TimerLists<T> {
    /// The timers, by key.
    timers: Slab<Timer<T>>,
    /// Where the program made each, by key: apart, since nobody asks when one is started or cleared.
    origins: Vec<&'static Location<'static>>,
    /// The lists that they wait in.
    lists: DurationLists,
    /// Timers that hold the loop.
    referenced: usize,
    /// No pass comes before this.
    not_before_ms: u64,
    /// What the clock had said when the last callback of the pass was over.
    looked_ms: Option<u64>,
    /// The list that is run, by its id, and the clock of the pass.
    running: Option<(u64, u64)>,
    /// What comes next in this pass, by key and serial, whatever a tick does to it but clear it.
    chosen: Option<(u32, u64)>,
}

/// One timer. With a boxed closure it is half a line of the processor's caches, and never in two of them:
/// among a million, getting there is what clearing one takes.
#[cfg_attr(target_pointer_width = "64", repr(align(32)))]
struct Timer<T> {
    /// Tells this timer from an earlier one with the same key.
    serial: u64,
    /// The place of the duration among the lists, while it waits in one.
    place: u32,
    /// Whether it starts again after it has fired.
    repeats: bool,
    /// Whether it would hold the loop (N59).
    referenced: bool,
    /// Whether it is held in its slot when it is over.
    kept: bool,
    /// Where it is in its life.
    state: TimerState,
    /// What belongs to it.
    value: T,
}

/// Where a timer is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimerState {
    /// It waits, or its callback is running.
    Alive,
    /// It has fired; `refresh` starts it again (N29).
    Fired,
    /// It was cleared, for good (N30).
    Cleared,
}

/// What can be told of a timer.
pub(crate) struct TimerInfo {
    /// Where it is in its life.
    pub(crate) state: TimerState,
    /// Whether it would hold the loop.
    pub(crate) referenced: bool,
    /// Whether it is held in its slot when it is over.
    pub(crate) kept: bool,
    /// When it is due; none while its callback runs, and once it is over.
    pub(crate) due_ms: Option<u64>,
    /// How often it fires, if it does so more than once.
    pub(crate) period_ms: Option<u64>,
    /// Where the program made it.
    pub(crate) origin: &'static Location<'static>,
}

impl<T> TimerLists<T> {
    pub(crate) fn new() -> TimerLists<T> {
        TimerLists {
            timers: Slab::new(),
            origins: Vec::new(),
            lists: DurationLists::new(),
            referenced: 0,
            not_before_ms: 0,
            looked_ms: None,
            running: None,
            chosen: None,
        }
    }

    /// Bytes of memory that they keep.
    pub(crate) fn memory(&self) -> usize {
        self.timers.capacity() * size_of::<Timer<T>>()
            + self.origins.capacity() * size_of::<&Location<'_>>()
            + self.lists.memory()
    }

    /// Whether no timer waits.
    #[inline]
    pub(crate) fn is_idle(&mut self) -> bool {
        self.lists.is_empty()
    }

    /// Whether one may wait: true also for a while after the last was cleared.
    #[inline]
    pub(crate) fn may_wait(&self) -> bool {
        self.lists.may_have_any()
    }

    /// How many timers hold the loop (N59).
    #[inline]
    pub(crate) fn referenced(&self) -> usize {
        self.referenced
    }

    /// When the next list is to be looked at.
    pub(crate) fn next_expiry_ms(&mut self) -> Option<u64> {
        let first = self.lists.first();
        first.map(|list| list.entry.expiry_ms.max(self.not_before_ms))
    }

    /// A callback is over, and its ticks have not run; so long ago somebody looked at the clock. They are
    /// behind the pass if nothing else in it is due.
    pub(crate) fn note_look(&mut self, clock_ms: u64) {
        let is_last = !self.has_more_in_pass();
        self.looked_ms = is_last.then_some(clock_ms);
    }

    /// Whether the pass goes on behind the ticks of the callback that is over: also if these then take from
    /// it what is due.
    fn has_more_in_pass(&mut self) -> bool {
        let (Some((_, now_ms)), None) = (self.running, self.chosen) else {
            return true;
        };
        self.lists
            .first()
            .is_some_and(|list| list.entry.expiry_ms <= now_ms)
    }

    /// A pass is over. Node's own timer beneath all of these then waits a millisecond at least, from
    /// the last look at the clock before the last ticks: what is left, and overdue, fires together
    /// with what is due by then (N23).
    pub(crate) fn end_pass(&mut self, clock_ms: u64) {
        let looked_ms = self.looked_ms.take().unwrap_or(clock_ms);
        self.not_before_ms = looked_ms.saturating_add(1);
    }

    /// Starts a timer at `now_ms`, referenced.
    pub(crate) fn start(
        &mut self,
        serial: u64,
        now_ms: u64,
        duration_ms: u64,
        repeats: bool,
        origin: &'static Location<'static>,
        value: T,
    ) -> u32 {
        // First its slot, then its list: what has to be loaded for both is so on its way at once.
        let key = self.timers.insert(Timer {
            serial,
            place: 0,
            repeats,
            referenced: true,
            kept: false,
            state: TimerState::Alive,
            value,
        }) as u32;
        match self.origins.get_mut(key as usize) {
            Some(place) => *place = origin,
            None => self.origins.push(origin),
        }
        let times = Times {
            start_ms: now_ms,
            duration_ms,
        };
        self.timers[key as usize].place = self.lists.append(key, times);
        self.referenced += 1;
        key
    }

    /// The next timer that is due at `now_ms`, taken out of its list. Its callback is to be run,
    /// then [`after_callback`](Self::after_callback) called. `now_ms` must stay the same until
    /// this has returned None: a timer that is started meanwhile is never due (N23).
    ///
    /// Only from lists whose turn comes before `before_ms`, when something else is due.
    pub(crate) fn pop_due_before(&mut self, before_ms: u64, now_ms: u64) -> Option<u32> {
        // Node's processTimers and listOnTimeout in one.
        if let Some((key, serial)) = self.chosen.take()
            && self.running.is_some_and(|(_, at_ms)| at_ms == now_ms)
            && self.contains(key, serial)
            && self.waits(key)
        {
            self.unlink(key);
            return Some(key);
        }
        loop {
            let list = self.lists.first()?;
            let expiry_ms = list.entry.expiry_ms.max(self.not_before_ms);
            if expiry_ms > now_ms || expiry_ms >= before_ms {
                return None;
            }
            let Some(first) = list.timer else {
                self.lists.end(list);
                continue;
            };
            let due_ms = self.lists.times(first).due_ms();
            if due_ms > now_ms {
                self.leave_over(list, due_ms, now_ms);
                continue;
            }
            self.running = Some((list.entry.id, now_ms));
            self.unlink(first);
            return Some(first);
        }
    }

    /// Node looks at what is left of a list before it runs the ticks of the timer before. So a tick that
    /// refreshes the next timer comes too late: it fires at once. One that clears it does not (N25).
    /// What is not due gives the list its next expiry, whatever the ticks do to it; an empty list is
    /// gone, and a tick that starts a timer of this duration begins another.
    fn choose_next(&mut self) {
        // A list that begins meanwhile expires later, so the one that runs is still the first.
        let (Some((id, now_ms)), Some(list)) = (self.running, self.lists.first()) else {
            return;
        };
        if list.entry.id != id {
            return;
        }
        let Some(first) = list.timer else {
            self.lists.end(list);
            return;
        };
        let due_ms = self.lists.times(first).due_ms();
        match due_ms <= now_ms {
            true => self.chosen = Some((first, self.serial(first))),
            false => self.leave_over(list, due_ms, now_ms),
        }
    }

    /// A pass was cut short, and goes on: what comes next is looked for anew.
    pub(crate) fn choose_again(&mut self) {
        self.chosen = None;
    }

    /// The first list is left over: it gets its next expiry, and a new id (N22).
    fn leave_over(&mut self, list: FirstList, due_ms: u64, now_ms: u64) {
        let expiry_ms = due_ms.max(now_ms.saturating_add(1));
        self.lists.postpone(list, expiry_ms);
    }

    /// What follows a timer's callback: an interval starts again, counted from `started_ms`, the
    /// clock at the start of the callback (N26); a timer that was not refreshed has fired.
    /// Returns true if the timer's life is over.
    pub(crate) fn after_callback(&mut self, key: u32, started_ms: u64) -> bool {
        let timer = &self.timers[key as usize];
        if timer.repeats && timer.state != TimerState::Cleared {
            let late = mutated!("an interval counts from when it was due");
            let due_ms = self.lists.times(key).due_ms();
            self.insert(key, if late { due_ms } else { started_ms });
        }
        self.choose_next();
        let timer = &mut self.timers[key as usize];
        if timer.state == TimerState::Cleared {
            return true;
        }
        if self.lists.waits(key) {
            return false;
        }
        timer.state = TimerState::Fired;
        if timer.referenced {
            self.referenced -= 1;
        }
        true
    }

    /// Starts a timer again with its duration, also one that has fired; a cleared one stays
    /// cleared (N29, N30).
    #[inline]
    pub(crate) fn refresh(&mut self, key: u32, now_ms: u64) {
        let timer = &mut self.timers[key as usize];
        match timer.state {
            _ if mutated!("refresh does not start a timer again") => return,
            TimerState::Cleared => return,
            TimerState::Fired => {
                timer.state = TimerState::Alive;
                if timer.referenced {
                    self.referenced += 1;
                }
            }
            TimerState::Alive => {}
        }
        self.insert(key, now_ms);
    }

    /// Ends the timer that has this key and serial, if it is there: Node's clearTimeout and
    /// clearInterval (N24, N25, N28). Hands out what belongs to it.
    pub(crate) fn clear(&mut self, key: u32, serial: u64) -> Option<&mut T> {
        let timer = self.timers.get_mut(key as usize)?;
        if timer.serial != serial {
            return None;
        }
        timer.kept = false;
        let was = std::mem::replace(&mut timer.state, TimerState::Cleared);
        if was == TimerState::Alive {
            let (place, referenced) = (timer.place, timer.referenced);
            self.unenroll(key, place, referenced);
        }
        Some(self.value_mut(key))
    }

    /// The same, and frees its slot.
    #[inline]
    pub(crate) fn clear_and_remove(&mut self, key: u32, serial: u64) -> Option<T> {
        if !self.contains(key, serial) {
            return None;
        }
        let timer = self.timers.remove(key as usize);
        if timer.state == TimerState::Alive {
            self.unenroll(key, timer.place, timer.referenced);
        }
        Some(timer.value)
    }

    /// Node's unenroll, of a timer that is alive.
    #[inline(always)]
    fn unenroll(&mut self, key: u32, place: u32, referenced: bool) {
        // As in Node an empty list stays if its last timer held nothing: it decides where
        // the next timer of this duration stands among equals.
        if self.lists.waits(key) {
            self.lists.leave(key, place, referenced);
        } else if referenced {
            // Its callback is running.
            self.lists.end_if_empty(key);
        }
        let held = referenced && !mutated!("a cleared timer holds the loop");
        self.referenced -= usize::from(held);
    }

    /// ref and unref: not counted, remembered, and without effect on what is over (N31, N59).
    pub(crate) fn set_referenced(&mut self, key: u32, referenced: bool) {
        let timer = &mut self.timers[key as usize];
        if timer.referenced == referenced || mutated!("unref of a timer does nothing") {
            return;
        }
        timer.referenced = referenced;
        if timer.state == TimerState::Alive {
            match referenced {
                true => self.referenced += 1,
                false => self.referenced -= 1,
            }
        }
    }

    pub(crate) fn is_referenced(&self, key: u32) -> bool {
        self.timers[key as usize].referenced
    }

    pub(crate) fn state(&self, key: u32) -> TimerState {
        self.timers[key as usize].state
    }

    /// Whether it waits in a list, or will when its callback is over.
    pub(crate) fn will_fire(&self, key: u32) -> bool {
        let timer = &self.timers[key as usize];
        timer.state == TimerState::Alive && (timer.repeats || self.lists.waits(key))
    }

    /// Whether it waits in a list. What is cleared does not, but may not have left yet.
    fn waits(&self, key: u32) -> bool {
        self.state(key) == TimerState::Alive && self.lists.waits(key)
    }

    /// Has it held in its slot when it is over, or not any more.
    pub(crate) fn set_kept(&mut self, key: u32, kept: bool) {
        self.timers[key as usize].kept = kept;
    }

    pub(crate) fn is_kept(&self, key: u32) -> bool {
        self.timers[key as usize].kept
    }

    pub(crate) fn repeats(&self, key: u32) -> bool {
        self.timers[key as usize].repeats
    }

    /// Whether `key` is the timer with this serial.
    pub(crate) fn contains(&self, key: u32, serial: u64) -> bool {
        self.timers
            .get(key as usize)
            .is_some_and(|timer| timer.serial == serial)
    }

    pub(crate) fn value_mut(&mut self, key: u32) -> &mut T {
        &mut self.timers[key as usize].value
    }

    /// Where the program made it.
    pub(crate) fn origin(&self, key: u32) -> &'static Location<'static> {
        self.origins[key as usize]
    }

    pub(crate) fn serial(&self, key: u32) -> u64 {
        self.timers[key as usize].serial
    }

    /// Frees a timer's slot. It must be over.
    pub(crate) fn remove(&mut self, key: u32) -> T {
        let timer = self.timers.remove(key as usize);
        debug_assert_ne!(timer.state, TimerState::Alive, "a live timer was freed");
        timer.value
    }

    /// Every timer.
    pub(crate) fn iter(&self) -> impl Iterator<Item = TimerInfo> {
        self.timers.iter().map(|(key, timer)| {
            let times = self.lists.times(key as u32);
            TimerInfo {
                state: timer.state,
                referenced: timer.referenced,
                kept: timer.kept,
                due_ms: self.waits(key as u32).then(|| times.due_ms()),
                period_ms: timer.repeats.then_some(times.duration_ms),
                origin: self.origin(key as u32),
            }
        })
    }

    /// Ends everything and hands the values out, when the loop ends.
    pub(crate) fn take_all(&mut self) -> Vec<T> {
        self.lists.clear();
        self.referenced = 0;
        self.origins = Vec::new();
        let timers = std::mem::take(&mut self.timers);
        timers.into_iter().map(|(_, timer)| timer.value).collect()
    }

    /// Node's insert: puts a timer at the end of the list of its duration.
    #[inline]
    fn insert(&mut self, key: u32, start_ms: u64) {
        let place = &mut self.timers[key as usize].place;
        match self.lists.waits(key) {
            true => self.lists.move_to_end(key, *place, start_ms),
            false => {
                let Times { duration_ms, .. } = self.lists.times(key);
                *place = self.lists.append(
                    key,
                    Times {
                        start_ms,
                        duration_ms,
                    },
                );
            }
        }
    }

    /// Takes a timer out of the list it waits in. The list stays.
    fn unlink(&mut self, key: u32) {
        let place = self.timers[key as usize].place;
        self.lists.unlink(key, place);
    }
}

#[cfg(test)]
#[path = "timer_lists_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "timer_lists_model_tests.rs"]
mod model_tests;
