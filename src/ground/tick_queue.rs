//! The queue of ticks: what runs after the present loop callback, before anything else.

use super::mutations::mutated;
use std::collections::VecDeque;

/// After this many ticks in one drain a warning is logged, once per loop. Ticks have no limit
/// (N8), so a tick that queues ticks for ever starves everything else without a trace; ten
/// thousand is far above what a program with a purpose queues in one go.
pub(crate) const WARN_AFTER: u32 = 10_000;

/// A first-in first-out queue that counts how many were taken since the last time it ran dry.
pub(crate) struct TickQueue<T> {
    /// What waits, the oldest in front.
    queue: VecDeque<T>,
    /// Taken in the present drain.
    taken: u32,
    /// Whether the warning was given.
    warned: bool,
}

impl<T> TickQueue<T> {
    pub(crate) fn new() -> TickQueue<T> {
        TickQueue {
            queue: VecDeque::new(),
            taken: 0,
            warned: false,
        }
    }

    pub(crate) fn push(&mut self, tick: T) {
        self.queue.push_back(tick);
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// The tick at an index, counted from the oldest.
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.queue.get_mut(index)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The oldest tick.
    pub(crate) fn front(&self) -> Option<&T> {
        self.queue.front()
    }

    /// Takes the oldest tick. An empty queue ends the drain.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let tick = match mutated!("the newest tick first") {
            true => self.queue.pop_back(),
            false => self.queue.pop_front(),
        };
        match tick {
            Some(_) => self.taken = self.taken.saturating_add(1),
            None => self.ran_dry(),
        }
        tick
    }

    /// Takes a tick that is alone: it is a drain of its own.
    #[inline]
    pub(crate) fn take_sole(&mut self) -> Option<T> {
        debug_assert!(self.queue.len() <= 1, "there is another tick");
        self.queue.pop_back()
    }

    /// The drain is over.
    #[inline]
    pub(crate) fn ran_dry(&mut self) {
        self.taken = 0;
    }

    /// True once in the queue's life: when the present drain has become suspiciously long, and is to
    /// go on.
    #[inline]
    pub(crate) fn is_starving(&mut self) -> bool {
        let starving = self.may_starve() && !self.queue.is_empty();
        self.warned |= starving;
        starving
    }

    /// Whether the warning is due if there is another tick.
    #[inline]
    pub(crate) fn may_starve(&self) -> bool {
        self.taken >= WARN_AFTER && !self.warned
    }

    /// What waits, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.queue.iter()
    }

    /// Everything that waits, when the loop ends.
    pub(crate) fn take_all(&mut self) -> VecDeque<T> {
        std::mem::take(&mut self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out() {
        let mut queue = TickQueue::new();
        assert!(queue.is_empty());
        queue.push(1);
        queue.push(2);
        assert_eq!(queue.pop(), Some(1));
        queue.push(3);
        assert_eq!(queue.pop(), Some(2));
        assert_eq!(queue.pop(), Some(3));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn a_long_drain_is_reported_once() {
        let mut queue = TickQueue::new();
        queue.push(0);
        for n in 0..WARN_AFTER - 1 {
            queue.push(n);
            queue.pop();
        }
        assert!(!queue.is_starving());
        queue.pop();
        assert!(!queue.is_starving(), "it has run dry");
        queue.push(0);
        assert!(queue.is_starving());
        assert!(!queue.is_starving());
    }

    #[test]
    fn running_dry_starts_the_count_anew() {
        let mut queue = TickQueue::new();
        for _ in 0..3 {
            for n in 0..WARN_AFTER - 1 {
                queue.push(n);
                queue.pop();
            }
            assert_eq!(queue.pop(), None);
            assert!(!queue.is_starving());
        }
    }
}
