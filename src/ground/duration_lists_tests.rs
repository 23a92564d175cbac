//! Tests of the lists as such; what they make of a clock is in `timer_lists_tests.rs`.

use super::*;

fn start(lists: &mut DurationLists, key: u32, start_ms: u64, duration_ms: u64) -> u32 {
    lists.append(
        key,
        Times {
            start_ms,
            duration_ms,
        },
    )
}

/// When the first list is looked at, and its first timer.
fn first(lists: &mut DurationLists) -> Option<(u64, Option<u32>)> {
    lists.first().map(|list| (list.entry.expiry_ms, list.timer))
}

#[test]
fn a_duration_that_is_started_again_has_a_list_of_its_own_beside_the_one_that_is_gone() {
    let mut lists = DurationLists::new();
    start(&mut lists, 0, 0, 5);
    let place = start(&mut lists, 1, 0, 10);
    lists.leave(1, place, true);
    start(&mut lists, 1, 3, 10);
    assert_eq!(lists.heap.len(), 3);
    let list = lists.first().expect("that of 5 ms");
    assert_eq!(list.timer, Some(0));
    lists.leave(0, 0, true);
    // Not the old one's 10.
    assert_eq!(first(&mut lists), Some((13, Some(1))));
    assert_eq!((lists.gone, lists.heap.len()), (0, 1));
}

#[test]
fn a_list_that_is_gone_is_never_the_first() {
    let mut lists = DurationLists::new();
    let places: Vec<u32> = (0..10)
        .map(|key| start(&mut lists, key, 0, 10 + u64::from(key)))
        .collect();
    for key in [1, 3, 2] {
        lists.leave(key, places[key as usize], true);
    }
    assert_eq!(first(&mut lists), Some((10, Some(0))));
    lists.leave(0, places[0], true);
    assert_eq!(first(&mut lists), Some((14, Some(4))));
    // One that was put off makes room for another that is gone.
    lists.leave(5, places[5], true);
    let list = lists.first().expect("it is there");
    lists.postpone(list, 30);
    assert_eq!(first(&mut lists), Some((16, Some(6))));
}

#[test]
fn lists_that_are_all_gone_are_none() {
    let mut lists = DurationLists::new();
    for key in 0..10 {
        start(&mut lists, key, 0, 10 + u64::from(key));
    }
    assert!(!lists.is_empty());
    for key in 0..10 {
        let place = lists.table.find(10 + u64::from(key)).expect("it has one");
        lists.leave(key, place, true);
    }
    assert!(lists.is_empty());
    assert_eq!(first(&mut lists), None);
    assert_eq!((lists.gone, lists.heap.len()), (0, 0));
}

#[test]
fn an_empty_list_that_stays_is_gone_when_it_is_ended() {
    let mut lists = DurationLists::new();
    let place = start(&mut lists, 0, 0, 10);
    lists.leave(0, place, false);
    assert_eq!(first(&mut lists), Some((10, None)));
    // It is where the next one goes, which is then looked at too early.
    assert_eq!(start(&mut lists, 0, 7, 10), place);
    assert_eq!(first(&mut lists), Some((10, Some(0))));
    lists.end_if_empty(0);
    assert_eq!(first(&mut lists), Some((10, Some(0))));
    lists.leave(0, place, false);
    lists.end_if_empty(0);
    assert!(lists.is_empty());
    lists.end_if_empty(0);
    assert_eq!((lists.gone, lists.table.find(10)), (1, None));
}

/// However many they are, whoever looks at the lists finds them without those that have left.
#[test]
fn timers_leave_before_anybody_looks() {
    const COUNT: u32 = 3 * MOST_LEAVING as u32 + 10;
    let mut lists = DurationLists::new();
    let mut place = 0;
    for key in 0..COUNT {
        place = start(&mut lists, key, 0, 10);
    }
    for key in 0..COUNT - 2 {
        lists.leave(key, place, true);
        assert!(lists.leaving_count < MOST_LEAVING);
    }
    assert_eq!(lists.leaving_count, (COUNT as usize - 2) % MOST_LEAVING);
    assert_eq!(first(&mut lists), Some((10, Some(COUNT - 2))));
    lists.leave(COUNT - 1, place, true);
    start(&mut lists, COUNT, 0, 10);
    assert_eq!(lists.timers[COUNT as usize].previous, COUNT - 2);
    lists.leave(COUNT, place, true);
    lists.leave(COUNT - 2, place, true);
    assert!(lists.is_empty());
}

/// The last that leaves decides whether a list ends, and it is not the last if another has left before it.
#[test]
fn timers_leave_in_their_order() {
    for unlinked_last in [false, true] {
        let mut lists = DurationLists::new();
        start(&mut lists, 0, 0, 10);
        let place = start(&mut lists, 1, 0, 10);
        if !unlinked_last {
            lists.unlink(0, place);
            lists.leave(1, place, true);
            assert!(lists.is_empty());
            continue;
        }
        lists.leave(1, place, true);
        lists.unlink(0, place);
        assert_eq!(first(&mut lists), Some((10, None)));
    }
}

/// However many durations come and go whose timers hold nothing.
#[test]
fn lists_that_stay_empty_take_a_bounded_amount_of_memory() {
    let mut lists = DurationLists::new();
    // That of a timer that waits stays, and is looked at first.
    start(&mut lists, 0, 0, 1);
    for n in 0..500_000_u64 {
        // Far apart, so that none shares a page with others.
        let place = start(&mut lists, 1, n, 1000 * (2 + n));
        lists.leave(1, place, false);
    }
    let most = 4 * MOST_EMPTY + MOST_GONE;
    assert!(lists.heap.len() <= most, "{} lists", lists.heap.len());
    // For a map of pages the system's seed decides whether it grows once more.
    assert!(lists.memory() < 2 << 20);
    assert_eq!(first(&mut lists), Some((1, Some(0))));
}

/// A few durations that come again and again keep their lists, as in Node.
#[test]
fn lists_that_stay_empty_are_found_again_as_long_as_they_are_not_many() {
    let mut lists = DurationLists::new();
    for n in 0..20_000_u64 {
        let place = start(&mut lists, 0, n, 100_000 + n % 1000);
        lists.leave(0, place, false);
    }
    assert_eq!(lists.heap.len(), 1000);
    assert_eq!(first(&mut lists), Some((100_000, None)));
}

/// However many lists come and go: those that are gone are not many more than three times those in use.
#[test]
fn lists_that_are_gone_take_a_bounded_amount_of_memory() {
    const IN_USE: u32 = 1000;
    let mut lists = DurationLists::new();
    // Those in use are looked at first, so none that is gone comes to the top.
    for key in 0..IN_USE {
        start(&mut lists, key, 0, 1 + u64::from(key));
    }
    let mut most = 0;
    let mut memory = 0;
    for n in 0..500_000_u64 {
        let place = start(&mut lists, IN_USE, n, 2000 + n);
        lists.leave(IN_USE, place, true);
        most = most.max(lists.gone);
        if n == 100_000 {
            memory = lists.memory();
        }
    }
    assert!(most > MOST_GONE, "they are left for a while");
    let bound = GONE_FOR_EACH * IN_USE as usize + MOST_GONE;
    assert!(most <= bound, "{most} were gone");
    assert!(lists.lists.len() <= IN_USE as usize + bound + 1);
    // What is left is where the pages of durations are entered, by their number, up to 64 KiB.
    assert!(lists.memory() <= memory + 64 * 1024);
    assert_eq!(first(&mut lists), Some((1, Some(0))));
}
