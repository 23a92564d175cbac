//! Tests of the timer lists: a clock by hand, no loop.

use super::*;

/// Timers with a name each, and a log of what fired.
pub(super) struct Timers {
    pub(super) lists: TimerLists<&'static str>,
    serial: u64,
}

impl Timers {
    pub(super) fn new() -> Timers {
        Timers {
            lists: TimerLists::new(),
            serial: 0,
        }
    }

    pub(super) fn start(&mut self, now_ms: u64, duration_ms: u64, name: &'static str) -> u32 {
        self.serial += 1;
        self.lists.start(
            self.serial,
            now_ms,
            duration_ms,
            false,
            Location::caller(),
            name,
        )
    }

    fn every(&mut self, now_ms: u64, duration_ms: u64, name: &'static str) -> u32 {
        self.serial += 1;
        self.lists.start(
            self.serial,
            now_ms,
            duration_ms,
            true,
            Location::caller(),
            name,
        )
    }

    pub(super) fn clear(&mut self, key: u32) {
        let serial = self.lists.serial(key);
        assert!(self.lists.clear(key, serial + 1).is_none(), "another's");
        assert!(self.lists.clear(key, serial).is_some());
    }

    /// Runs the timer phase at `now_ms`; `during` is every callback.
    fn run(
        &mut self,
        now_ms: u64,
        mut during: impl FnMut(&mut Timers, u32, &'static str),
    ) -> Vec<&'static str> {
        let mut fired = Vec::new();
        while let Some(key) = self.lists.pop_due_before(u64::MAX, now_ms) {
            let name = *self.lists.value_mut(key);
            fired.push(name);
            during(self, key, name);
            self.lists.after_callback(key, now_ms);
        }
        fired
    }

    fn fire(&mut self, now_ms: u64) -> Vec<&'static str> {
        self.run(now_ms, |_, _, _| {})
    }
}

/// What a slab has for each.
#[allow(dead_code, reason = "only its size is asked for")]
enum Place<T> {
    Vacant(usize),
    Occupied(T),
}

#[test]
#[cfg(target_pointer_width = "64")]
fn a_timer_is_half_a_cache_line_and_takes_64_bytes_in_all() {
    type Closure = Option<Box<dyn FnMut()>>;
    let timer = size_of::<Place<Timer<Closure>>>();
    assert_eq!((timer, align_of::<Timer<Closure>>()), (32, 32));
    let links = size_of::<[u32; 2]>();
    let origin = size_of::<&Location<'_>>();
    assert_eq!(timer + links + size_of::<Times>() + origin, 64);
}

#[test]
fn n21_equal_durations_fire_in_order_of_creation() {
    let mut timers = Timers::new();
    timers.start(0, 10, "a");
    timers.start(0, 10, "b");
    timers.start(0, 10, "c");
    assert_eq!(timers.fire(9), [""; 0]);
    assert_eq!(timers.fire(10), ["a", "b", "c"]);
    assert!(timers.lists.is_idle());
}

#[test]
fn n22_a_late_loop_runs_a_list_to_its_end_first() {
    let mut timers = Timers::new();
    timers.start(0, 10, "10");
    timers.start(5, 10, "15");
    timers.start(10, 10, "20");
    timers.start(10, 4, "14");
    assert_eq!(timers.fire(30), ["10", "15", "20", "14"]);
}

#[test]
fn n22_a_list_that_is_left_over_gets_its_next_expiry_and_a_new_id() {
    let mut timers = Timers::new();
    // The 10 ms list is older, so it would win a tie at 20.
    timers.start(0, 10, "a 10");
    timers.start(10, 10, "a 20");
    timers.start(0, 20, "b 20");
    // It is looked at at 10, left over until 20, and now younger than the 20 ms list.
    assert_eq!(timers.fire(10), ["a 10"]);
    assert_eq!(timers.fire(20), ["b 20", "a 20"]);
}

#[test]
fn n22_an_expiry_is_not_moved_when_the_first_timer_is_cleared() {
    let mut timers = Timers::new();
    let first = timers.start(0, 10, "first");
    timers.start(5, 10, "second");
    timers.clear(first);
    assert_eq!(timers.lists.next_expiry_ms(), Some(10));
    assert_eq!(timers.fire(10), [""; 0]);
    assert_eq!(timers.lists.next_expiry_ms(), Some(15));
    assert_eq!(timers.fire(15), ["second"]);
}

#[test]
fn n23_a_timer_started_in_a_callback_waits_for_the_next_pass() {
    let mut timers = Timers::new();
    timers.start(0, 1, "a");
    let fired = timers.run(50, |timers, _, name| {
        if name == "a" {
            // The clock has moved on while the callback ran.
            timers.start(60, 1, "b");
        }
    });
    assert_eq!(fired, ["a"]);
    assert_eq!(timers.fire(61), ["b"]);
}

#[test]
fn n25_clearing_a_later_timer_stops_it_even_if_both_are_due() {
    let mut timers = Timers::new();
    timers.start(0, 5, "a");
    let b = timers.start(0, 5, "b");
    let c = timers.start(0, 7, "c");
    let fired = timers.run(10, |timers, _, _| {
        timers.clear(b);
        timers.clear(c);
    });
    assert_eq!(fired, ["a"]);
    assert!(timers.lists.is_idle());
    assert_eq!(timers.lists.referenced(), 0);
}

#[test]
fn n26_an_interval_counts_from_the_start_of_its_callback() {
    let mut timers = Timers::new();
    timers.every(0, 10, "tick");
    // Late by 25 ms: fired once, missed periods are not made up, the lateness stays.
    assert_eq!(timers.fire(35), ["tick"]);
    assert_eq!(timers.fire(44), [""; 0]);
    assert_eq!(timers.fire(45), ["tick"]);
}

#[test]
fn n28_an_interval_cleared_in_its_own_callback_ends() {
    let mut timers = Timers::new();
    timers.every(0, 10, "tick");
    timers.run(10, |timers, key, _| timers.clear(key));
    assert_eq!(timers.fire(100), [""; 0]);
    assert_eq!(timers.lists.referenced(), 0);
}

#[test]
fn n29_refresh_restarts_and_revives() {
    let mut timers = Timers::new();
    let key = timers.start(0, 10, "a");
    timers.lists.refresh(key, 5);
    // The list is looked at at 10 and left over.
    assert_eq!(timers.fire(10), [""; 0]);
    assert_eq!(timers.fire(15), ["a"]);
    assert_eq!(timers.lists.state(key), TimerState::Fired);
    assert_eq!(timers.lists.referenced(), 0);
    timers.lists.refresh(key, 20);
    assert_eq!(timers.lists.referenced(), 1);
    assert_eq!(timers.fire(30), ["a"]);
}

#[test]
fn n29_refresh_inside_the_callback() {
    let mut timers = Timers::new();
    let key = timers.start(0, 10, "a");
    timers.run(10, |timers, key, _| timers.lists.refresh(key, 10));
    assert_eq!(timers.lists.state(key), TimerState::Alive);
    assert_eq!(timers.lists.referenced(), 1);
    assert_eq!(timers.fire(20), ["a"]);
}

#[test]
fn n30_refresh_of_a_cleared_timer_does_nothing() {
    let mut timers = Timers::new();
    let key = timers.start(0, 10, "a");
    timers.clear(key);
    timers.lists.refresh(key, 0);
    assert_eq!(timers.fire(100), [""; 0]);
    assert_eq!(timers.lists.referenced(), 0);
}

#[test]
fn n31_ref_after_clearing_does_not_hold_the_loop() {
    let mut timers = Timers::new();
    let key = timers.start(0, 10, "a");
    timers.lists.set_referenced(key, false);
    timers.clear(key);
    assert!(!timers.lists.is_referenced(key));
    timers.lists.set_referenced(key, true);
    assert!(timers.lists.is_referenced(key));
    assert_eq!(timers.lists.referenced(), 0);
}

#[test]
fn n59_ref_and_unref_are_not_counted() {
    let mut timers = Timers::new();
    let key = timers.start(0, 10, "a");
    timers.lists.set_referenced(key, false);
    timers.lists.set_referenced(key, false);
    assert_eq!(timers.lists.referenced(), 0);
    timers.lists.set_referenced(key, true);
    timers.lists.set_referenced(key, true);
    assert_eq!(timers.lists.referenced(), 1);
}

#[test]
fn an_empty_list_of_an_unreferenced_timer_stays_as_in_node() {
    let mut timers = Timers::new();
    let key = timers.start(0, 10, "unref");
    timers.lists.set_referenced(key, false);
    timers.clear(key);
    assert_eq!(timers.lists.next_expiry_ms(), Some(10));
    let key = timers.start(0, 20, "ref");
    timers.clear(key);
    assert_eq!(timers.fire(10), [""; 0]);
    assert!(timers.lists.is_idle());
}

#[test]
fn a_duration_beyond_the_clock_never_expires() {
    let mut timers = Timers::new();
    timers.start(5, u64::MAX, "never");
    assert_eq!(timers.lists.next_expiry_ms(), Some(u64::MAX));
    assert_eq!(timers.fire(1 << 50), [""; 0]);
}

#[test]
fn a_key_is_reused_under_another_serial() {
    let mut timers = Timers::new();
    let first = timers.start(0, 1, "first");
    let serial = timers.lists.serial(first);
    timers.fire(1);
    timers.lists.remove(first);
    let second = timers.start(1, 1, "second");
    assert_eq!(first, second);
    assert!(!timers.lists.contains(first, serial));
}

/// N23: what a pass leaves overdue does not fire at once, but a millisecond after the last look at the
/// clock, with what is due by then.
#[test]
fn n23_what_a_pass_leaves_overdue_waits_for_the_next_millisecond() {
    let mut timers = Timers::new();
    timers.start(0, 1, "first");
    // Started in its callback, which took until 20.
    let fired = timers.run(1, |timers, _, _| {
        timers.start(1, 1, "overdue");
        timers.start(20, 1, "next");
    });
    assert_eq!(fired, ["first"]);
    timers.lists.end_pass(20);
    assert_eq!(timers.lists.next_expiry_ms(), Some(21));
    assert!(timers.run(20, |_, _, _| ()).is_empty());
    assert_eq!(timers.run(21, |_, _, _| ()), ["overdue", "next"]);
}

/// N23: that look is the last before the last ticks only where these are behind the pass. What else was due
/// has them run in it, even if they take it away.
#[test]
fn n23_the_millisecond_begins_behind_ticks_within_the_pass() {
    for other_ms in [None, Some(5), Some(4)] {
        let mut timers = Timers::new();
        timers.start(0, 5, "first");
        let other = other_ms.map(|duration_ms| timers.start(1, duration_ms, "other"));
        let key = timers.lists.pop_due_before(u64::MAX, 10).unwrap();
        timers.start(10, 2, "overdue");
        timers.lists.after_callback(key, 10);
        timers.lists.note_look(10);
        // The ticks take until 20.
        if let Some(other) = other {
            timers.clear(other);
        }
        assert_eq!(timers.lists.pop_due_before(u64::MAX, 10), None);
        timers.lists.end_pass(20);
        let next_ms = if other.is_some() { 21 } else { 12 };
        assert_eq!(timers.lists.next_expiry_ms(), Some(next_ms), "{other_ms:?}");
    }
}

/// Node looks at the next timer of a list before the ticks of the one before run: what they refresh
/// fires in this pass all the same, what they clear does not (N25).
#[test]
fn n25_a_refresh_in_a_tick_comes_too_late_for_the_next_timer() {
    let mut timers = Timers::new();
    timers.start(0, 5, "first");
    let refreshed = timers.start(0, 5, "refreshed");
    let cleared = timers.start(0, 5, "cleared");
    let fire = |timers: &mut Timers| {
        let key = timers.lists.pop_due_before(u64::MAX, 20)?;
        timers.lists.after_callback(key, 20);
        Some(*timers.lists.value_mut(key))
    };
    assert_eq!(fire(&mut timers), Some("first"));
    timers.lists.refresh(refreshed, 20);
    assert_eq!(fire(&mut timers), Some("refreshed"));
    timers.clear(cleared);
    assert_eq!(fire(&mut timers), None);
    assert_eq!(timers.lists.next_expiry_ms(), None);
}
