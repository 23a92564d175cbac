//! The memory of an object's queue that was long once.
//!
//! There may be very many objects, and each may live for long after its one burst. The queues of the loop,
//! of which there is one each, keep theirs for the next time.

use std::collections::VecDeque;

/// How many places a queue keeps: a usual burst costs no allocation.
pub(crate) const KEPT_PLACES: usize = 64;

/// Gives back the memory of a queue that has run dry and was long.
#[inline]
pub(crate) fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > KEPT_PLACES && queue.is_empty() {
        *queue = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_was_long_gives_its_memory_back_when_it_is_empty() {
        let mut queue: VecDeque<u64> = (0..1000).collect();
        queue.truncate(1);
        give_back(&mut queue);
        assert!(queue.capacity() >= 1000 && queue.len() == 1);
        queue.clear();
        give_back(&mut queue);
        assert_eq!(queue.capacity(), 0);
        queue.reserve_exact(KEPT_PLACES);
        give_back(&mut queue);
        assert_eq!(queue.capacity(), KEPT_PLACES);
    }
}
