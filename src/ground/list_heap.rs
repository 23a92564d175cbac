//! A heap of numbered lists, the next to expire on top; each can be found in it by its number.
//!
//! Four to a node instead of two: a new entry, which mostly expires late, then hardly moves, and
//! the heap is half as high. In which order entries come out does not depend on it, since no two
//! are equal. An entry holds all that it is compared by, so that moving it looks at no list.

use super::mutations::mutated;

/// Below each entry are so many.
const WIDTH: usize = 4;

/// Where a list stands that is not in the heap.
const NOWHERE: u32 = u32::MAX;

/// The lists of a loop that are to be looked at, by number.
#[derive(Default)]
pub(crate) struct ListHeap {
    /// The heap; no entry comes before the one above it.
    entries: Vec<Entry>,
    /// Where each list stands in it, by number.
    positions: Vec<u32>,
    /// The id of the next list.
    next_id: u64,
}

/// A list in the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When it is looked at next.
    pub(crate) expiry_ms: u64,
    /// Decides between equal expiries: who was put here later has the higher one.
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
        self.entries.capacity() * size_of::<Entry>() + self.positions.capacity() * size_of::<u32>()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The next to expire.
    #[inline]
    pub(crate) fn first(&self) -> Option<&Entry> {
        self.entries.first()
    }

    /// A list's entry, if it is here.
    #[inline]
    pub(crate) fn get(&self, list: u32) -> Option<&Entry> {
        let position = self.positions.get(list as usize)?;
        self.entries.get(*position as usize)
    }

    /// Puts a list in, which is not here.
    pub(crate) fn push(&mut self, list: u32, expiry_ms: u64) {
        if self.positions.len() <= list as usize {
            self.positions.resize(list as usize + 1, NOWHERE);
        }
        let entry = Entry {
            expiry_ms,
            id: self.take_id(),
            list,
        };
        let end = self.entries.len();
        self.entries.push(entry);
        self.sift_up(end, entry);
    }

    /// Has a list that is here looked at later than it was to be, with a new id (N22).
    pub(crate) fn postpone(&mut self, list: u32, expiry_ms: u64) {
        let position = self.positions[list as usize] as usize;
        debug_assert!(self.entries[position].expiry_ms <= expiry_ms);
        let entry = Entry {
            expiry_ms,
            id: self.take_id(),
            list,
        };
        self.sift_down(position, entry);
    }

    /// Takes a list out that is here.
    pub(crate) fn remove(&mut self, list: u32) {
        let position = std::mem::replace(&mut self.positions[list as usize], NOWHERE) as usize;
        self.entries.swap_remove(position);
        if let Some(&moved) = self.entries.get(position) {
            // It stood at the end, so mostly it belongs further down than here, or stays.
            match position > 0 && moved.is_before(&self.entries[(position - 1) / WIDTH]) {
                true => self.sift_up(position, moved),
                false => self.sift_down(position, moved),
            }
        }
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.positions.clear();
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Puts an entry to where it stands now.
    #[inline]
    fn place(&mut self, position: usize, entry: Entry) {
        self.entries[position] = entry;
        self.positions[entry.list as usize] = position as u32;
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
            self.place(free, parent);
            free = above;
        }
        self.place(free, entry);
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
            self.place(free, first);
            free = position;
        }
        self.place(free, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against lists that are searched: what is put in, put off and taken out comes in the order of
    /// expiries, equal ones in the order of ids.
    #[test]
    fn the_first_is_that_of_a_plain_list() {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut heap = ListHeap::default();
        let mut plain: Vec<Entry> = Vec::new();
        for _ in 0..50_000 {
            // Few expiries, so many are equal.
            let list = next(300) as u32;
            let expiry_ms = next(40);
            let found = plain.iter().position(|entry| entry.list == list);
            assert_eq!(heap.get(list), found.map(|at| &plain[at]));
            match found {
                None => {
                    heap.push(list, expiry_ms);
                    plain.push(*heap.get(list).expect("it was put in"));
                }
                Some(at) if next(2) == 0 => {
                    heap.remove(list);
                    plain.swap_remove(at);
                }
                Some(at) => {
                    let expiry_ms = plain[at].expiry_ms + expiry_ms;
                    let id = plain[at].id;
                    heap.postpone(list, expiry_ms);
                    plain[at] = *heap.get(list).expect("it is still there");
                    assert_eq!(plain[at].expiry_ms, expiry_ms);
                    assert!(plain[at].id > id);
                }
            }
            let first = plain.iter().min_by_key(|entry| (entry.expiry_ms, entry.id));
            assert_eq!(heap.first(), first);
            assert_eq!(heap.is_empty(), plain.is_empty());
        }
    }
}
