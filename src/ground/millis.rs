//! Spans of time as a caller says them.

use std::time::Duration;

/// A limit in time, in whole milliseconds: how long a socket may be silent, how long a connection may take.
///
/// Made from a number of milliseconds or a [`Duration`], of which a part of a millisecond counts as a whole
/// one: only what is 0 becomes 0, which mostly means that there is no limit. (How long a timer waits is a
/// [`Delay`](crate::Delay).)
///
/// ```
/// use std::time::Duration;
/// use nodeloop::Millis;
///
/// assert_eq!(Millis::from(1500).get(), 1500);
/// assert_eq!(Millis::from(Duration::from_secs(30)).get(), 30_000);
/// assert_eq!(Millis::from(Duration::from_micros(1)).get(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(u64);

impl Millis {
    /// How many milliseconds they are.
    pub fn get(self) -> u64 {
        self.0
    }
}

// From no other integers: with one alone a literal needs no type.
impl From<u64> for Millis {
    fn from(millis: u64) -> Millis {
        Millis(millis)
    }
}

impl From<Duration> for Millis {
    /// At most `u64::MAX`.
    fn from(duration: Duration) -> Millis {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        Millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up_and_have_an_end() {
        let of = |duration: Duration| Millis::from(duration).get();
        assert_eq!(of(Duration::ZERO), 0);
        assert_eq!(of(Duration::from_nanos(1)), 1);
        assert_eq!(of(Duration::from_millis(1)), 1);
        assert_eq!(of(Duration::from_nanos(1_000_001)), 2);
        assert_eq!(of(Duration::MAX), u64::MAX);
    }
}
