//! A number for each duration: a map from numbers to numbers, for keys that lie close together.
//!
//! Durations are whole milliseconds, so a program with very many different ones has neighbours
//! among them. A page holds the numbers of [`PAGE`] neighbours and nothing else, and a small table tells
//! which page: a million durations then take a quarter of what a hash map of them all would, and
//! more of it stays in the cache. A page is made with its first duration and freed with its last.
//! There are at most [`MOST_PAGES`]; durations that are strewn so widely that these do not hold
//! them are in a hash map of their own.
//!
//! As long as a duration has a number it keeps its place, by which the number is found without all this.

use std::collections::HashMap;

use super::quick_hash::QuickHash;

/// Neighbours in a page: a power of two.
const PAGE: usize = 64;

/// The most pages that are made: 4 MiB.
const MOST_PAGES: usize = 16_384;

/// Pages of durations below 2^20 ms, about 17 minutes, are found by their number alone, in a table of
/// 64 KiB at most. Those of longer ones are in a hash map.
const NEAR: u64 = 16_384;

/// No number, no page.
const NONE: u32 = u32::MAX;

/// The numbers of durations.
pub(crate) struct DurationTable {
    /// The numbers, or [`NONE`]: page by page, and behind all pages there may be, those of the strewn.
    numbers: Vec<u32>,
    /// Which page is at which place: those below [`NEAR`].
    near: Vec<u32>,
    /// The same of the others.
    far: HashMap<u64, u32, QuickHash>,
    /// Which page it is at each place.
    pages: Vec<u64>,
    /// How many durations have a number there.
    used: Vec<u8>,
    /// Places of pages that are free, and empty.
    free_pages: Vec<u32>,
    /// The places of durations that came when there was no page left for them.
    strewn: HashMap<u64, u32, QuickHash>,
    /// Which duration it is at each of these places.
    strewn_ms: Vec<u64>,
    /// Those of these places that are free.
    free_strewn: Vec<u32>,
}

impl DurationTable {
    pub(crate) fn new() -> DurationTable {
        DurationTable {
            numbers: Vec::new(),
            near: Vec::new(),
            far: HashMap::with_hasher(QuickHash::new()),
            pages: Vec::new(),
            used: Vec::new(),
            free_pages: Vec::new(),
            strewn: HashMap::with_hasher(QuickHash::new()),
            strewn_ms: Vec::new(),
            free_strewn: Vec::new(),
        }
    }

    /// Bytes of memory that it keeps; of the maps about so many.
    pub(crate) fn memory(&self) -> usize {
        (self.far.capacity() + self.strewn.capacity()) * size_of::<(u64, u32)>()
            + (self.pages.capacity() + self.strewn_ms.capacity()) * size_of::<u64>()
            + (self.numbers.capacity() + self.near.capacity()) * size_of::<u32>()
            + (self.free_pages.capacity() + self.free_strewn.capacity()) * size_of::<u32>()
            + self.used.capacity()
    }

    /// The place of a duration, if it may have a number.
    #[inline]
    pub(crate) fn find(&self, duration_ms: u64) -> Option<u32> {
        // It may have come before its page was made.
        if !self.strewn.is_empty()
            && let Some(place) = self.strewn.get(&duration_ms)
        {
            return Some(*place);
        }
        let page = duration_ms / PAGE as u64;
        let at = match page < NEAR {
            true => self.near.get(page as usize).filter(|at| **at != NONE),
            false => self.far.get(&page),
        };
        at.map(|at| at * PAGE as u32 + (duration_ms % PAGE as u64) as u32)
    }

    /// Gives a duration a number. Returns its place, and the number that it had, or [`NONE`].
    #[inline]
    pub(crate) fn put(&mut self, duration_ms: u64, number: u32) -> (u32, u32) {
        let place = match self.find(duration_ms) {
            Some(place) => place,
            None => self.make(duration_ms),
        };
        let before = std::mem::replace(self.at(place), number);
        if before == NONE
            && let Some(used) = self.used.get_mut(place as usize / PAGE)
        {
            *used += 1;
        }
        (place, before)
    }

    /// The number at a place.
    #[inline(always)]
    pub(crate) fn at(&mut self, place: u32) -> &mut u32 {
        &mut self.numbers[place as usize]
    }

    /// Gives the duration at a place another number, or [`NONE`]: then it has no place any more.
    #[inline(always)]
    pub(crate) fn set(&mut self, place: u32, number: u32) {
        *self.at(place) = number;
        let is_free = number == NONE;
        match self.used.get_mut(place as usize / PAGE) {
            Some(used) => {
                *used -= u8::from(is_free);
                if *used == 0 {
                    self.free_page(place as usize / PAGE);
                }
            }
            None if is_free => self.free_strewn(place),
            None => {}
        }
    }

    #[cold]
    fn free_page(&mut self, at: usize) {
        match self.pages[at] {
            page if page < NEAR => self.near[page as usize] = NONE,
            page => drop(self.far.remove(&page)),
        }
        self.free_pages.push(at as u32);
    }

    #[cold]
    fn free_strewn(&mut self, place: u32) {
        let duration_ms = self.strewn_ms[place as usize - MOST_PAGES * PAGE];
        self.strewn.remove(&duration_ms);
        self.free_strewn.push(place);
    }

    /// Makes a place for a duration: one in a page of its own, if there are not enough.
    #[cold]
    fn make(&mut self, duration_ms: u64) -> u32 {
        let page = duration_ms / PAGE as u64;
        let at = match self.free_pages.pop() {
            Some(at) => at,
            None if self.pages.len() == MOST_PAGES => return self.make_strewn(duration_ms),
            None => {
                self.numbers.resize(self.numbers.len() + PAGE, NONE);
                self.pages.push(page);
                self.used.push(0);
                (self.pages.len() - 1) as u32
            }
        };
        self.pages[at as usize] = page;
        if page < NEAR {
            let page = page as usize;
            if self.near.len() <= page {
                self.near.resize(page + 1, NONE);
            }
            self.near[page] = at;
        } else {
            self.far.insert(page, at);
        }
        at * PAGE as u32 + (duration_ms % PAGE as u64) as u32
    }

    /// Makes one behind the pages.
    fn make_strewn(&mut self, duration_ms: u64) -> u32 {
        let place = self.free_strewn.pop().unwrap_or_else(|| {
            self.numbers.push(NONE);
            self.strewn_ms.push(0);
            (self.numbers.len() - 1) as u32
        });
        self.strewn_ms[place as usize - MOST_PAGES * PAGE] = duration_ms;
        self.strewn.insert(duration_ms, place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl DurationTable {
        fn get(&mut self, duration_ms: u64) -> Option<u32> {
            let place = self.find(duration_ms)?;
            Some(*self.at(place)).filter(|number| *number != NONE)
        }

        fn remove(&mut self, duration_ms: u64) {
            let place = self.find(duration_ms).expect("it has one");
            self.set(place, NONE);
        }
    }

    fn insert(table: &mut DurationTable, duration_ms: u64, number: u32) {
        assert_eq!(table.get(duration_ms), None);
        let (place, before) = table.put(duration_ms, number + 1);
        assert_eq!(before, NONE);
        assert_eq!(table.put(duration_ms, number), (place, number + 1));
        assert_eq!(table.find(duration_ms), Some(place));
        assert_eq!(table.get(duration_ms), Some(number));
    }

    #[test]
    fn neighbours_at_the_bounds_of_a_page_and_huge_durations_are_told_apart() {
        let mut table = DurationTable::new();
        let durations = [
            0,
            1,
            63,
            64,
            1 << 10,
            (1 << 20) - 1,
            1 << 20,
            1 << 40,
            u64::MAX - 63,
            u64::MAX,
        ];
        for (list, duration_ms) in durations.into_iter().enumerate() {
            insert(&mut table, duration_ms, list as u32);
        }
        for (list, duration_ms) in durations.into_iter().enumerate() {
            assert_eq!(table.get(duration_ms), Some(list as u32));
            table.remove(duration_ms);
            assert_eq!(table.get(duration_ms), None);
        }
    }

    #[test]
    fn a_page_is_freed_with_its_last_duration_and_used_again() {
        let mut table = DurationTable::new();
        for round in 0..100 {
            insert(&mut table, round * 1000, 1);
            insert(&mut table, round * 1000 + 1, 2);
            table.remove(round * 1000);
            assert_eq!(table.get(round * 1000 + 1), Some(2));
            table.remove(round * 1000 + 1);
        }
        assert_eq!(table.pages.len(), 1);
        assert_eq!(table.free_pages, [0]);
        assert_eq!(table.find(99 * 1000), None);
    }

    #[test]
    fn durations_far_from_each_other_take_no_more_than_the_pages_there_may_be() {
        let mut table = DurationTable::new();
        let far = |n: u64| n * 1_000_003;
        let count = MOST_PAGES as u64 + 1000;
        for n in 0..count {
            insert(&mut table, far(n), n as u32);
        }
        assert_eq!(table.pages.len(), MOST_PAGES);
        assert_eq!(table.strewn.len(), 1000);
        // A page becomes free and is made for a neighbour of one that has none.
        let strewn = far(count - 1);
        table.remove(far(0));
        insert(&mut table, strewn - 1, 7);
        assert_eq!(table.get(strewn), Some(count as u32 - 1));
        assert_eq!(table.put(strewn, 8).1, count as u32 - 1);
        assert_eq!(table.put(strewn, count as u32 - 1).1, 8);
        for n in 1..count {
            assert_eq!(table.get(far(n)), Some(n as u32));
            table.remove(far(n));
            assert_eq!(table.get(far(n)), None);
        }
        table.remove(strewn - 1);
        assert!(table.strewn.is_empty() && table.far.is_empty());
        assert_eq!(table.free_pages.len(), MOST_PAGES);
        assert_eq!(table.free_strewn.len(), 1000);
    }

    /// Against a map.
    #[test]
    fn it_is_a_map() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut next = |below: u64| random.u64(..below);
        let mut table = DurationTable::new();
        let mut map = HashMap::new();
        for number in 0..20_000 {
            let duration_ms = next(500);
            match next(2) {
                0 => {
                    let before = map.insert(duration_ms, number);
                    assert_eq!(table.put(duration_ms, number).1, before.unwrap_or(NONE));
                }
                _ if map.remove(&duration_ms).is_some() => table.remove(duration_ms),
                _ => {}
            }
            let asked = next(500);
            assert_eq!(table.get(asked), map.get(&asked).copied());
        }
    }
}
