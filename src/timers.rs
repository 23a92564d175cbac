//! Timers and immediates: Node's `timers` module.
//!
//! Timers run in the timer phase, at the end of each turn; immediates in the check phase, after
//! the I/O of their turn. Each is one loop callback, so the ticks it queues run before the next.
//!
//! Timers of one duration fire in the order in which they were started. A timer never fires early
//! by the loop's millisecond clock. As in Node, a loop that is late runs all due timers of one
//! duration before it looks at those of another.
//!
//! ```
//! use std::time::Duration;
//!
//! # fn main() -> nodeloop::Result<()> {
//! let lp = nodeloop::Loop::new()?;
//! let mut left = 3;
//! lp.set_interval(Duration::from_millis(5), move |timer| {
//!     println!("{left}");
//!     left -= 1;
//!     if left == 0 {
//!         timer.clear();
//!     }
//! });
//! lp.run()
//! # }
//! ```

use std::panic::Location;
use std::time::Duration;

use crate::event_loop::handle::{Immediate, LoopHandle, Timer};
use crate::event_loop::immediates::ImmediateCall;
use crate::event_loop::state::State;
use crate::event_loop::table;
use crate::event_loop::timers::TimerCall;

/// How long a timer waits, in whole milliseconds.
///
/// Made from a number of milliseconds or a [`Duration`]. Fractions are cut off (N19); a value that
/// is less than 1 ms, negative or not a number becomes 1 ms (N17). Unlike in Node, durations over
/// 2<sup>31</sup>−1 ms are honoured.
///
/// ```
/// use nodeloop::Delay;
/// use std::time::Duration;
///
/// assert_eq!(Delay::from(3.9).as_millis(), 3);
/// assert_eq!(Delay::from(0).as_millis(), 1);
/// assert_eq!(Delay::from(-5).as_millis(), 1);
/// assert_eq!(Delay::from(Duration::from_secs(2)).as_millis(), 2000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delay(u64);

impl Delay {
    /// The delay in milliseconds, at least 1.
    pub fn as_millis(self) -> u64 {
        self.0
    }
}

macro_rules! delay_from {
    ($($number:ty),+) => {
        $(impl From<$number> for Delay {
            fn from(millis: $number) -> Delay {
                Delay(u64::try_from(millis).unwrap_or(0).max(1))
            }
        })+
    };
}

delay_from!(i32, i64, u8, u16, u32, u64, usize);

impl From<f64> for Delay {
    fn from(millis: f64) -> Delay {
        // The cast saturates, and turns what is not a number into 0.
        Delay((millis as u64).max(1))
    }
}

impl From<Duration> for Delay {
    fn from(duration: Duration) -> Delay {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Delay(millis.max(1))
    }
}

impl LoopHandle {
    /// Calls `callback` after `delay` (milliseconds or a `Duration`): Node's `setTimeout`. The
    /// callback is `FnMut`, since a [refreshed](Timer::refresh) timer runs again.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = nodeloop::Loop::new()?;
    /// let mut attempts = 0;
    /// lp.set_timeout(10, move |timer| {
    ///     attempts += 1;
    ///     println!("attempt {attempts}");
    ///     if attempts < 3 {
    ///         timer.refresh(); // once more, 10 ms from now
    ///     }
    /// });
    /// lp.run()
    /// # }
    /// ```
    #[track_caller]
    pub fn set_timeout(
        self,
        delay: impl Into<Delay>,
        callback: impl FnMut(Timer) + 'static,
    ) -> Timer {
        self.start_timer(delay.into(), false, Box::new(callback), Location::caller())
    }

    /// Calls `callback` once after `delay` (milliseconds or a `Duration`): `setTimeout` for a
    /// callback that moves values out. Refreshing the timer after it has fired does nothing.
    #[track_caller]
    pub fn set_timeout_once(
        self,
        delay: impl Into<Delay>,
        callback: impl FnOnce(Timer) + 'static,
    ) -> Timer {
        let mut callback = Some(callback);
        let call = move |timer| {
            if let Some(callback) = callback.take() {
                callback(timer);
            }
        };
        self.start_timer(delay.into(), false, Box::new(call), Location::caller())
    }

    /// Calls `callback` every `delay` (milliseconds or a `Duration`) until it is
    /// [cleared](Timer::clear): Node's `setInterval`. The next period starts when the callback
    /// starts, so delays add up, and missed periods are not made up (N26).
    #[track_caller]
    pub fn set_interval(
        self,
        delay: impl Into<Delay>,
        callback: impl FnMut(Timer) + 'static,
    ) -> Timer {
        self.start_timer(delay.into(), true, Box::new(callback), Location::caller())
    }

    /// Calls `callback` in the next check phase, after the I/O of the turn: Node's `setImmediate`.
    /// One that is made while immediates run waits for the next turn (N7).
    #[track_caller]
    pub fn set_immediate(self, callback: impl FnOnce(Immediate) + 'static) -> Immediate {
        let origin = Location::caller();
        let call: ImmediateCall = Box::new(callback);
        let id = self.with(move |state| state.immediates.add(call, origin));
        Immediate(self.raw(id))
    }

    fn start_timer(
        self,
        delay: Delay,
        repeats: bool,
        call: TimerCall,
        origin: &'static Location<'static>,
    ) -> Timer {
        let id = self.with(move |state| state.start_timer(delay.0, repeats, call, origin));
        Timer(self.raw(id))
    }
}

impl Timer {
    /// Ends the timer for good: Node's `clearTimeout` and `clearInterval`. It no longer fires, even
    /// if it is due, and its callback is dropped.
    pub fn clear(self) {
        // Dropped here, where nothing is borrowed; in `run` with what else is discarded.
        drop(table::with_running(self.0, State::clear_timer));
    }

    /// Restarts the timer from now with the same delay: Node's `timeout.refresh`. A timer that has
    /// fired can be revived in its own callback, or later if it was [kept](Timer::keep). A cleared
    /// timer stays cleared.
    pub fn refresh(self) {
        table::with(self.0, |state, id| state.refresh_timer(id));
    }

    /// Lets the timer keep the loop alive while it waits, as it does by default: Node's
    /// `timeout.ref`. Calls are not counted.
    pub fn set_ref(self) {
        self.set_referenced(true);
    }

    /// Stops the timer from keeping the loop alive: Node's `timeout.unref`. It still fires while
    /// something else does.
    pub fn unref(self) {
        self.set_referenced(false);
    }

    /// Whether it would keep the loop alive: Node's `timeout.hasRef`. False once it is gone.
    pub fn has_ref(self) -> bool {
        table::with(self.0, |state, id| {
            state.has_timer(id) && state.timers.is_referenced(id.key)
        })
        .unwrap_or(false)
    }

    /// Whether it will fire unless it is cleared: it waits, or is an interval, also in its
    /// callback. False once a timeout has begun to fire, until it is [refreshed](Timer::refresh);
    /// once it is cleared; and once it is gone. Node has no such call: a program sets its variable
    /// to `null` there.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = nodeloop::Loop::new()?;
    /// let timer = lp.set_timeout(1, |timer| assert!(!timer.is_active()));
    /// assert!(timer.is_active());
    /// # lp.run()
    /// # }
    /// ```
    pub fn is_active(self) -> bool {
        table::with(self.0, |state, id| {
            state.has_timer(id) && state.timers.will_fire(id.key)
        })
        .unwrap_or(false)
    }

    /// Holds the timer after it has fired, so that [`refresh`](Timer::refresh) can revive it later,
    /// until [`release`](Timer::release) or `clear`. It does not keep the loop alive.
    pub fn keep(self) {
        table::with(self.0, |state, id| state.keep_timer(id, true));
    }

    /// Ends [`keep`](Timer::keep).
    pub fn release(self) {
        table::with(self.0, |state, id| state.keep_timer(id, false));
    }

    fn set_referenced(self, referenced: bool) {
        table::with(self.0, |state, id| {
            if state.has_timer(id) {
                state.timers.set_referenced(id.key, referenced);
            }
        });
    }
}

impl Immediate {
    /// Ends the immediate: Node's `clearImmediate`. It does not run, and its callback is dropped.
    pub fn clear(self) {
        table::with(self.0, |state, id| {
            if let Some(call) = state.immediates.remove(id) {
                state.bury(call);
            }
        });
    }

    /// Lets the immediate keep the loop alive, as it does by default: Node's `immediate.ref`.
    pub fn set_ref(self) {
        table::with(self.0, |state, id| {
            state.immediates.set_referenced(id, true)
        });
    }

    /// Stops the immediate from keeping the loop alive: Node's `immediate.unref`. Unreferenced
    /// immediates alone do not run (N60).
    pub fn unref(self) {
        table::with(self.0, |state, id| {
            state.immediates.set_referenced(id, false)
        });
    }

    /// Whether it keeps the loop alive: Node's `immediate.hasRef`. False once it has run or was
    /// cleared.
    pub fn has_ref(self) -> bool {
        table::with(self.0, |state, id| state.immediates.is_referenced(id)).unwrap_or(false)
    }
}
