//! A heap of numbered lists, the next to expire on top. Those below the top are taken out many at a time.
//!
//! Four to a node instead of two: a new entry, which mostly expires late, then hardly moves, and
//! the heap is half as high. In which order entries come out does not depend on it, since no two
//! are equal. An entry holds all that it is compared by, so that moving it looks at no list.

use super::mutations::mutated;

/// How many entries are below each.
const WIDTH: usize = 4;

/// The lists of a loop that are to be looked at, by number.
#[derive(Default)]
pub(crate) struct ListHeap {
    /// The heap; no entry comes before the one above it.
    entries: Vec<Entry>,
    /// The id of the next list.
    next_id: u64,
}

/// A list in the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When it is looked at next.
    pub(crate) expiry_ms: u64,
    /// Decides between equal expiries: the list that was put here later has the higher one.
    pub(crate) id: u64,
    /// Its number.
    pub(crate) list: u32,
}

impl Entry {
    /// Node's compareTimersLists.
    fn is_before(&self, other: &Entry) -> bool {
        if mutated!("durations in the order of their first use") {
            return self.id < other.id;
        }
        (self.expiry_ms, self.id) < (other.expiry_ms, other.id)
    }
}

impl ListHeap {
    /// Bytes of memory that it keeps.
    pub(crate) fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    /// The next to expire.
    #[inline]
    pub(crate) fn first(&self) -> Option<&Entry> {
        self.entries.first()
    }

    /// All of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// How many there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Puts a list in.
    #[inline]
    pub(crate) fn push(&mut self, list: u32, expiry_ms: u64) {
        let entry = Entry {
            expiry_ms,
            id: self.take_id(),
            list,
        };
        let end = self.entries.len();
        self.entries.push(entry);
        self.sift_up(end, entry);
    }

    /// Has the first looked at later than it was to be, with a new id (N22).
    pub(crate) fn postpone_first(&mut self, expiry_ms: u64) {
        let entry = Entry {
            expiry_ms,
            id: self.take_id(),
            list: self.entries[0].list,
        };
        self.sift_down(0, entry);
    }

    /// Takes the first out.
    pub(crate) fn pop_first(&mut self) {
        let last = self.entries.pop();
        if let Some(last) = last
            && !self.entries.is_empty()
        {
            self.sift_down(0, last);
        }
    }

    /// Takes out all that are not to stay: a few steps for each that is here.
    pub(crate) fn retain(&mut self, mut stays: impl FnMut(u32) -> bool) {
        // Which ones stay can't be predicted, so no branch depends on it.
        let mut kept = 0;
        for at in 0..self.entries.len() {
            let entry = self.entries[at];
            self.entries[kept] = entry;
            kept += usize::from(stays(entry.list));
        }
        self.entries.truncate(kept);
        // The heap is made anew, from the last that has something below.
        for position in (0..kept.div_ceil(WIDTH)).rev() {
            self.sift_down(position, self.entries[position]);
        }
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Finds a place for an entry, from a free one upwards.
    #[inline]
    fn sift_up(&mut self, mut free: usize, entry: Entry) {
        while free > 0 {
            let above = (free - 1) / WIDTH;
            let parent = self.entries[above];
            if !entry.is_before(&parent) {
                break;
            }
            self.entries[free] = parent;
            free = above;
        }
        self.entries[free] = entry;
    }

    /// The same downwards.
    fn sift_down(&mut self, mut free: usize, entry: Entry) {
        loop {
            let below = free * WIDTH + 1;
            let end = self.entries.len().min(below + WIDTH);
            let Some((&(mut first), others)) =
                self.entries.get(below..end).and_then(<[_]>::split_first)
            else {
                break;
            };
            let mut position = below;
            for (offset, other) in others.iter().enumerate() {
                if other.is_before(&first) {
                    (first, position) = (*other, below + 1 + offset);
                }
            }
            if !first.is_before(&entry) {
                break;
            }
            self.entries[free] = first;
            free = position;
        }
        self.entries[free] = entry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against lists that are searched: what is put in, put off and taken out comes in the order of
    /// expiries, equal ones in the order of ids.
    #[test]
    fn the_first_is_that_of_a_plain_list() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut next = |below: u64| random.u64(..below);
        let mut heap = ListHeap::default();
        let mut plain: Vec<Entry> = Vec::new();
        let first_of = |plain: &[Entry]| {
            let places = 0..plain.len();
            places.min_by_key(|&at| (plain[at].expiry_ms, plain[at].id))
        };
        for list in 0..50_000 {
            // Few expiries, so many are equal.
            let expiry_ms = next(40);
            match (first_of(&plain), next(8)) {
                (None, _) | (_, 0..4) => {
                    heap.push(list, expiry_ms);
                    let id = heap.next_id;
                    plain.push(Entry {
                        expiry_ms,
                        id,
                        list,
                    });
                }
                (Some(at), 4..6) => {
                    heap.pop_first();
                    plain.swap_remove(at);
                }
                (Some(at), 6) => {
                    plain[at].expiry_ms += expiry_ms;
                    heap.postpone_first(plain[at].expiry_ms);
                    assert!(heap.next_id > plain[at].id);
                    plain[at].id = heap.next_id;
                }
                _ if list % 50 == 0 => {
                    let nth = next(5) as u32 + 1;
                    heap.retain(|list| list % nth != 0);
                    plain.retain(|entry| entry.list % nth != 0);
                }
                _ => {}
            }
            let first = first_of(&plain).map(|at| &plain[at]);
            assert_eq!(heap.first(), first);
            assert_eq!(heap.len(), plain.len());
        }
    }
}
