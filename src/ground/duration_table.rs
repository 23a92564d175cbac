//! Which list of timers a duration has: a map from numbers to numbers, for keys that lie close
//! together.
//!
//! Durations are whole milliseconds, so a program with very many different ones has neighbours
//! among them. A page holds the lists of [`PAGE`] neighbours and nothing else, and a small table tells
//! which page: a million durations then take a quarter of what a hash map of them all would, and
//! more of it stays in the cache. A page is made with its first duration and freed with its last.
//! There are at most [`MOST_PAGES`]; durations that are strewn so widely that these do not hold
//! them are in a hash map of their own.

use std::collections::HashMap;

use super::quick_hash::QuickHash;

/// Neighbours in a page: a power of two.
const PAGE: usize = 64;

/// So many pages are made: 4 MiB.
const MOST_PAGES: usize = 16_384;

/// Pages of durations below 2^20 ms, about 17 minutes, are found by their number alone, in a table of
/// 64 KiB at most. Those of longer ones are in a hash map.
const NEAR: u64 = 16_384;

/// No list, no page.
const NONE: u32 = u32::MAX;

/// The lists of durations.
pub(crate) struct DurationTable {
    /// Where the page of a duration is, by the number of the page: those below [`NEAR`].
    near: Vec<u32>,
    /// The same of the others.
    far: HashMap<u64, u32, QuickHash>,
    /// The pages.
    pages: Vec<Page>,
    /// Those that are free, and empty.
    free: Vec<u32>,
    /// The lists of durations that came when there was no page left for them.
    strewn: HashMap<u64, u32, QuickHash>,
}

/// The lists of neighbours, or [`NONE`].
type Page = [u32; PAGE];

impl DurationTable {
    pub(crate) fn new() -> DurationTable {
        DurationTable {
            near: Vec::new(),
            far: HashMap::with_hasher(QuickHash::new()),
            pages: Vec::new(),
            free: Vec::new(),
            strewn: HashMap::with_hasher(QuickHash::new()),
        }
    }

    /// Bytes of memory that it keeps; of the maps about so many.
    pub(crate) fn memory(&self) -> usize {
        (self.far.capacity() + self.strewn.capacity()) * size_of::<(u64, u32)>()
            + self.near.capacity() * size_of::<u32>()
            + self.pages.capacity() * size_of::<Page>()
            + self.free.capacity() * size_of::<u32>()
    }

    /// The list of a duration.
    pub(crate) fn get(&self, duration_ms: u64) -> Option<u32> {
        let (number, place) = split(duration_ms);
        let page = self.page(number);
        let list = page.map_or(NONE, |page| self.pages[page as usize][place]);
        match list {
            NONE => self.get_strewn(duration_ms),
            list => Some(list),
        }
    }

    /// The same; if it has none, it gets the one that `make` gives.
    #[inline]
    pub(crate) fn get_or_insert_with(
        &mut self,
        duration_ms: u64,
        make: impl FnOnce() -> u32,
    ) -> u32 {
        let (number, place) = split(duration_ms);
        let page = match self.page(number) {
            Some(page) => page,
            None => match self.add_page(number, duration_ms) {
                Some(page) => page,
                None => return *self.strewn.entry(duration_ms).or_insert_with(make),
            },
        };
        let list = self.pages[page as usize][place];
        if list != NONE {
            return list;
        }
        // It may have come before its page was made.
        if let Some(list) = self.get_strewn(duration_ms) {
            return list;
        }
        let list = make();
        self.pages[page as usize][place] = list;
        list
    }

    /// A duration has no list any more.
    pub(crate) fn remove(&mut self, duration_ms: u64) {
        let (number, place) = split(duration_ms);
        let Some(index) = self.page(number) else {
            self.strewn.remove(&duration_ms);
            return;
        };
        let page = &mut self.pages[index as usize];
        if page[place] == NONE {
            self.strewn.remove(&duration_ms);
            return;
        }
        page[place] = NONE;
        if page.iter().all(|list| *list == NONE) {
            match self.near.get_mut(number as usize) {
                Some(page) if number < NEAR => *page = NONE,
                _ => drop(self.far.remove(&number)),
            }
            self.free.push(index);
        }
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        *self = DurationTable::new();
    }

    /// The page with this number.
    #[inline]
    fn page(&self, number: u64) -> Option<u32> {
        if number < NEAR {
            let page = self.near.get(number as usize).copied();
            return page.filter(|page| *page != NONE);
        }
        self.far.get(&number).copied()
    }

    #[inline]
    fn get_strewn(&self, duration_ms: u64) -> Option<u32> {
        match self.strewn.is_empty() {
            true => None,
            false => self.strewn.get(&duration_ms).copied(),
        }
    }

    /// Makes a page, which a duration is to be put into. None if it has a list without, or there are
    /// enough pages.
    fn add_page(&mut self, number: u64, duration_ms: u64) -> Option<u32> {
        if self.get_strewn(duration_ms).is_some() {
            return None;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.pages.len() == MOST_PAGES => return None,
            None => {
                self.pages.push([NONE; PAGE]);
                (self.pages.len() - 1) as u32
            }
        };
        if number < NEAR {
            let place = number as usize;
            if self.near.len() <= place {
                self.near.resize(place + 1, NONE);
            }
            self.near[place] = index;
        } else {
            self.far.insert(number, index);
        }
        Some(index)
    }
}

/// The number of a duration's page, and its place in it.
fn split(duration_ms: u64) -> (u64, usize) {
    let page = PAGE as u64;
    (duration_ms / page, (duration_ms % page) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &mut DurationTable, duration_ms: u64, list: u32) {
        assert_eq!(table.get(duration_ms), None);
        assert_eq!(table.get_or_insert_with(duration_ms, || list), list);
        let again = table.get_or_insert_with(duration_ms, || panic!("it has one"));
        assert_eq!(again, list);
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
        assert_eq!(table.free, [0]);
        assert!(table.page(99 * 1000 / PAGE as u64).is_none());
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
        assert_eq!(table.get_or_insert_with(strewn, || 8), count as u32 - 1);
        for n in 1..count {
            assert_eq!(table.get(far(n)), Some(n as u32));
            table.remove(far(n));
            assert_eq!(table.get(far(n)), None);
        }
        table.remove(strewn - 1);
        assert!(table.strewn.is_empty() && table.far.is_empty());
        assert_eq!(table.free.len(), MOST_PAGES);
    }

    /// Against a map.
    #[test]
    fn it_is_a_map() {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut table = DurationTable::new();
        let mut map = HashMap::new();
        for list in 0..20_000 {
            let duration_ms = next(500);
            match next(2) {
                0 => {
                    let expected = *map.entry(duration_ms).or_insert(list);
                    assert_eq!(table.get_or_insert_with(duration_ms, || list), expected);
                }
                _ => {
                    map.remove(&duration_ms);
                    table.remove(duration_ms);
                }
            }
            let asked = next(500);
            assert_eq!(table.get(asked), map.get(&asked).copied());
        }
    }
}
