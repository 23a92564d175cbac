//! Lists of timers, one for each duration, and which of them is looked at next.
//!
//! Everything here is a number: the key of a timer, the number of a list, the place of a duration in the
//! [table](DurationTable). When a list is looked at it is told; which clock that is, and what a timer
//! consists of, others know.
//!
//! With a million durations a step takes as long as what it waits for: memory that is not in the cache, and
//! branches on what comes from there. So a start looks at one such place, the entry of its duration, which
//! says what the timer comes behind; the rest it only writes. And a list that ends is not looked for in
//! the heap: it is marked as gone, and taken out when it comes to the top, or with all others when they
//! are too many.
//!
//! Nor does a timer that is cleared [leave](DurationLists::leave) its list at once. Several do together,
//! before anybody looks at a list again: in a short loop the processor waits for the memory of many at a time,
//! and between them whoever clears has little to do but to wait for the timer itself.

use super::duration_table::DurationTable;
use super::list_heap::{Entry, ListHeap};

/// No timer, no list.
const NONE: u32 = u32::MAX;

/// Marks the number of a list where the key of a timer could stand.
const LIST: u32 = 1 << 31;

/// Instead of the first timer of a list that is gone.
const GONE: u32 = LIST;

/// How many lists that are gone the heap may have for each that is in use.
const GONE_FOR_EACH: usize = 3;

/// And how many in addition to these.
const MOST_GONE: usize = 64;

/// How many empty lists may stay; beyond that all of them end. As in Node a timer that held nothing leaves its
/// list to the next of its duration when it is cleared. But where every duration is a new one there is no next,
/// and each list would stay until its timer would have been due.
const MOST_EMPTY: usize = 1024;

/// How many timers leave together: a power of two.
const MOST_LEAVING: usize = 64;

/// Marks the key of a timer that leaves, if its list ends when it is empty then.
const ENDS: u32 = 1 << 31;

/// The lists of a loop.
pub(crate) struct DurationLists {
    /// The neighbours of each timer, by key.
    timers: Vec<Links>,
    /// When each was started, and for how long: apart, since leaving does not ask for it.
    times: Vec<Times>,
    /// The neighbours of each list, by number.
    lists: Vec<Links>,
    /// Numbers of lists that are free.
    free_lists: Vec<u32>,
    /// What the next timer of a duration comes behind: the last one, or its list if that is empty.
    table: DurationTable,
    /// The lists that are to be looked at, and some that are gone.
    heap: ListHeap,
    /// How many of these are gone.
    gone: usize,
    /// How many timers have left a list that stays if it is empty, since such lists were counted.
    left_open: usize,
    /// Timers that are to leave their lists, in this order.
    leaving: [Leaving; MOST_LEAVING],
    /// How many these are: there is room for one more.
    leaving_count: usize,
}

/// A timer that is to leave its list.
#[derive(Clone, Copy)]
struct Leaving {
    /// Its key, which may be marked by [`ENDS`].
    key: u32,
    /// The place of its duration.
    place: u32,
}

/// The neighbours of a timer. A list stands before its first timer and behind its last.
#[derive(Clone, Copy)]
struct Links {
    /// The timer before, or the list, marked by [`LIST`]; [`NONE`] if it waits in none. Of a list the
    /// place of its duration in the table, where the last timer is found.
    previous: u32,
    /// The timer behind, or [`NONE`]. Of a list that is gone [`GONE`].
    next: u32,
}

/// The times of a timer, in ms.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// When it was started.
    pub(crate) start_ms: u64,
    /// Its duration.
    pub(crate) duration_ms: u64,
}

impl Times {
    /// When it is due, if it waits.
    pub(crate) fn due_ms(self) -> u64 {
        self.start_ms.saturating_add(self.duration_ms)
    }
}

/// The list that is looked at next.
#[derive(Clone, Copy)]
pub(crate) struct FirstList {
    /// When that is, and its id, which it has until it is put off or gone.
    pub(crate) entry: Entry,
    /// Its first timer.
    pub(crate) timer: Option<u32>,
}

impl DurationLists {
    pub(crate) fn new() -> DurationLists {
        DurationLists {
            timers: Vec::new(),
            times: Vec::new(),
            lists: Vec::new(),
            free_lists: Vec::new(),
            table: DurationTable::new(),
            heap: ListHeap::default(),
            gone: 0,
            left_open: 0,
            leaving: [Leaving { key: 0, place: 0 }; MOST_LEAVING],
            leaving_count: 0,
        }
    }

    /// Bytes of memory that they keep.
    pub(crate) fn memory(&self) -> usize {
        (self.timers.capacity() + self.lists.capacity()) * size_of::<Links>()
            + self.times.capacity() * size_of::<Times>()
            + self.free_lists.capacity() * size_of::<u32>()
            + self.table.memory()
            + self.heap.memory()
    }

    /// Whether there is no list.
    #[inline]
    pub(crate) fn is_empty(&mut self) -> bool {
        self.settle();
        self.heap.len() == self.gone
    }

    /// Whether there may be a list, as far as can be told without looking.
    #[inline]
    pub(crate) fn may_have_any(&self) -> bool {
        self.heap.len() != 0
    }

    /// The list that is looked at next.
    #[inline]
    pub(crate) fn first(&mut self) -> Option<FirstList> {
        self.settle();
        loop {
            let entry = *self.heap.first()?;
            let timer = match self.lists[entry.list as usize].next {
                GONE => {
                    self.heap.pop_first();
                    self.free_lists.push(entry.list);
                    self.gone -= 1;
                    continue;
                }
                NONE => None,
                key => Some(key),
            };
            return Some(FirstList { entry, timer });
        }
    }

    /// The [first](Self::first) list is looked at again later, and has a new id (N22).
    pub(crate) fn postpone(&mut self, first: FirstList, expiry_ms: u64) {
        debug_assert_eq!(self.heap.first(), Some(&first.entry));
        self.heap.postpone_first(expiry_ms);
    }

    /// An empty list ends.
    pub(crate) fn end(&mut self, list: FirstList) {
        self.end_list(list.entry.list);
    }

    /// The list of a timer that does not wait ends if it is empty.
    pub(crate) fn end_if_empty(&mut self, key: u32) {
        self.settle();
        let place = self.table.find(self.times(key).duration_ms);
        let last = place.map_or(NONE, |place| *self.table.at(place));
        if last >= LIST && last != NONE {
            self.end_list(last - LIST);
        }
    }

    /// Whether a timer waits in a list; also one that is to leave.
    #[inline]
    pub(crate) fn waits(&self, key: u32) -> bool {
        self.timers[key as usize].previous != NONE
    }

    /// When a timer was started last, and for how long.
    pub(crate) fn times(&self, key: u32) -> Times {
        self.times[key as usize]
    }

    /// Appends a timer that waits in no list to that of its duration. If there is none it is made, to
    /// be looked at when this timer is due. Returns the place of the duration, which stays
    /// as long as the timer waits.
    #[inline]
    pub(crate) fn append(&mut self, key: u32, times: Times) -> u32 {
        self.settle();
        if self.timers.len() == key as usize {
            assert!(key < LIST, "fewer than 2^31 timers");
            self.timers.push(Links {
                previous: NONE,
                next: NONE,
            });
            self.times.push(times);
        }
        self.times[key as usize] = times;
        let (place, mut previous) = self.table.put(times.duration_ms, key);
        if previous == NONE {
            previous = LIST + self.add_list(place, times.due_ms());
        }
        self.join(previous, key);
        place
    }

    /// Appends a timer to the list in which it waits.
    #[inline]
    pub(crate) fn move_to_end(&mut self, key: u32, place: u32, start_ms: u64) {
        // Those that are to leave need not have left: the others are in the same order without them.
        self.times[key as usize].start_ms = start_ms;
        let Links { previous, next } = self.timers[key as usize];
        if next != NONE {
            self.nodes(previous)[index(previous)].next = next;
            self.timers[next as usize].previous = previous;
            let last = std::mem::replace(self.table.at(place), key);
            self.join(last, key);
        }
    }

    /// Has a timer leave the list in which it waits, before anybody looks at a list again. If that is
    /// empty then, it stays unless it `ends`.
    #[inline(always)]
    pub(crate) fn leave(&mut self, key: u32, place: u32, ends: bool) {
        let key = key | if ends { ENDS } else { 0 };
        self.leaving[self.leaving_count % MOST_LEAVING] = Leaving { key, place };
        self.leaving_count += 1;
        if self.leaving_count == MOST_LEAVING {
            self.all_leave();
        }
    }

    /// Takes a timer out of the list in which it waits. That stays, even if it is empty then.
    pub(crate) fn unlink(&mut self, key: u32, place: u32) {
        self.settle();
        self.remove(key, place, false);
    }

    /// Comes before every look at the lists that might find them there.
    #[inline(always)]
    fn settle(&mut self) {
        if self.leaving_count > 0 {
            self.all_leave();
        }
    }

    /// Those that are to leave do.
    #[inline(never)]
    fn all_leave(&mut self) {
        for at in 0..self.leaving_count {
            let Leaving { key, place } = self.leaving[at % MOST_LEAVING];
            self.left_open += usize::from(key & ENDS == 0);
            self.remove(key & !ENDS, place, key & ENDS != 0);
        }
        self.leaving_count = 0;
        // So many that counting the empty lists takes a few steps for each of them.
        if self.left_open > self.heap.len() / 2 + MOST_EMPTY {
            self.end_empty();
        }
        let in_use = self.heap.len() - self.gone;
        if self.gone > GONE_FOR_EACH * in_use + MOST_GONE {
            self.sweep_gone();
        }
    }

    /// Takes a timer out now. A list that is empty then stays unless it `ends`.
    #[inline(always)]
    fn remove(&mut self, key: u32, place: u32, ends: bool) {
        let Links { previous, next } = self.timers[key as usize];
        self.timers[key as usize].previous = NONE;
        if next == NONE {
            self.remove_last(previous, place, ends);
        } else {
            self.nodes(previous)[index(previous)].next = next;
            self.timers[next as usize].previous = previous;
        }
    }

    /// The same of the last one. Whether it was alone can't be predicted, so no branch depends on it, and the
    /// timers that leave next need not wait.
    #[inline(always)]
    fn remove_last(&mut self, previous: u32, place: u32, ends: bool) {
        let is_over = ends & (previous >= LIST);
        let (first, last) = match is_over {
            true => (GONE, NONE),
            false => (NONE, previous),
        };
        self.nodes(previous)[index(previous)].next = first;
        self.table.set(place, last);
        self.gone += usize::from(is_over);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = DurationLists::new();
    }

    /// The links of timers, or those of lists, where this one is.
    #[inline(always)]
    fn nodes(&mut self, node: u32) -> &mut Vec<Links> {
        match node >= LIST {
            true => &mut self.lists,
            false => &mut self.timers,
        }
    }

    /// Puts a timer behind what is the end of its list.
    #[inline(always)]
    fn join(&mut self, previous: u32, key: u32) {
        self.nodes(previous)[index(previous)].next = key;
        self.timers[key as usize] = Links {
            previous,
            next: NONE,
        };
    }

    #[inline]
    fn add_list(&mut self, place: u32, expiry_ms: u64) -> u32 {
        let links = Links {
            previous: place,
            next: NONE,
        };
        let list = match self.free_lists.pop() {
            Some(list) => {
                self.lists[list as usize] = links;
                list
            }
            None => {
                let list = self.lists.len() as u32;
                assert!(list < NONE - LIST, "fewer than 2^31 lists");
                self.lists.push(links);
                list
            }
        };
        self.heap.push(list, expiry_ms);
        list
    }

    /// An empty list ends.
    fn end_list(&mut self, list: u32) {
        let links = &mut self.lists[list as usize];
        links.next = GONE;
        self.table.set(links.previous, NONE);
        self.gone += 1;
    }

    /// Ends all lists that are empty, if they are too many.
    #[cold]
    fn end_empty(&mut self) {
        self.left_open = 0;
        let lists = self.heap.iter().map(|entry| entry.list);
        let empty: Vec<u32> = lists
            .filter(|list| self.lists[*list as usize].next == NONE)
            .collect();
        if empty.len() > MOST_EMPTY {
            for list in empty {
                self.end_list(list);
            }
        }
    }

    /// Takes all that are gone out of the heap.
    #[cold]
    fn sweep_gone(&mut self) {
        let (lists, free) = (&self.lists, &mut self.free_lists);
        free.reserve(self.gone + 1);
        self.heap.retain(|list| {
            let stays = lists[list as usize].next != GONE;
            // Without a branch, too.
            free.push(list);
            free.truncate(free.len() - usize::from(stays));
            stays
        });
        self.gone = 0;
    }
}

/// Where the links of a timer or a list are.
#[inline(always)]
fn index(node: u32) -> usize {
    (node & !LIST) as usize
}

#[cfg(test)]
#[path = "duration_lists_tests.rs"]
mod tests;
