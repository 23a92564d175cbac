//! The queue of bytes that the kernel has not taken yet.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::error::Completion;
use super::spare::give_back;

/// The most buffers that go into one vectored write. Linux takes 1,024 (UIO_MAXIOV) and most others at
/// least 16; past some 64 the saving per buffer is gone and the array on the stack grows.
pub(crate) const MAX_SLICES: usize = 64;

/// What a socket still has to write, oldest first.
///
/// The front of the queue is **in flight**: Node has handed it down, so that `destroy` cancels
/// it (ECANCELED) rather than failing it with the socket's error (N192, N193).
#[derive(Default)]
pub(crate) struct WriteQueue {
    /// The writes that wait.
    writes: VecDeque<Write>,
    /// The sum of their full lengths: a write counts whole until its last byte is gone (N178).
    length: usize,
    /// How many writes, from the front, are in flight.
    in_flight: usize,
    /// The full length of the writes behind these.
    buffered: usize,
}

/// One call of `write` that the kernel did not take whole.
struct Write {
    /// What is left of it.
    rest: Bytes,
    /// Its full length.
    length: usize,
    /// Whom to tell.
    done: Option<Completion>,
}

/// A write that left the queue.
pub(crate) struct Written {
    /// Its buffer, to be dropped where nothing is borrowed.
    pub(crate) buffer: Bytes,
    /// Whom to tell.
    pub(crate) done: Option<Completion>,
}

impl WriteQueue {
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Bytes that wait: whole writes, even where a part of the first is gone.
    #[inline]
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// How many writes wait, those in flight among them.
    pub(crate) fn count(&self) -> usize {
        self.writes.len()
    }

    /// How many writes are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Bytes in flight that the kernel has not taken.
    pub(crate) fn unwritten_in_flight(&self) -> usize {
        let in_flight = self.writes.iter().take(self.in_flight);
        in_flight.map(|write| write.rest.len()).sum()
    }

    /// Bytes of the writes in flight: whole writes.
    pub(crate) fn in_flight_length(&self) -> usize {
        self.length - self.buffered
    }

    /// Bytes of the writes that are not in flight.
    pub(crate) fn buffered_length(&self) -> usize {
        self.buffered
    }

    /// Whether writes wait behind those in flight.
    pub(crate) fn has_buffered(&self) -> bool {
        self.writes.len() > self.in_flight
    }

    /// Puts a write of `length` bytes of which `rest` is left in flight. The queue must be empty.
    pub(crate) fn push_in_flight(&mut self, rest: Bytes, length: usize, done: Option<Completion>) {
        debug_assert!(self.writes.is_empty() && rest.len() <= length);
        self.in_flight = 1;
        self.length += length;
        self.writes.push_back(Write { rest, length, done });
    }

    /// Appends a write behind those in flight.
    pub(crate) fn push_buffered(&mut self, rest: Bytes, length: usize, done: Option<Completion>) {
        debug_assert_eq!(rest.len(), length);
        self.buffered += length;
        self.length += length;
        self.writes.push_back(Write { rest, length, done });
    }

    /// Fills `slices` with what is to be written next, and says how many it filled. Under a cork
    /// that is what is in flight already.
    pub(crate) fn slices<'a>(
        &'a self,
        corked: bool,
        slices: &mut [IoSlice<'a>; MAX_SLICES],
    ) -> usize {
        let wanted = if corked {
            self.in_flight
        } else {
            self.writes.len()
        };
        let mut filled = 0;
        for (write, slice) in self.writes.iter().take(wanted).zip(slices.iter_mut()) {
            *slice = IoSlice::new(&write.rest);
            filled += 1;
        }
        filled
    }

    /// Takes note that the kernel took `taken` bytes from the front. Writes that are gone whole
    /// are handed to `gone`, oldest first; empty ones go with the bytes in front of them.
    ///
    /// When the writes in flight are gone, all that waited behind them is in flight, as Node hands
    /// it down in one go (N185), unless it is corked. Returns the bytes of what was so handed down.
    pub(crate) fn advance(
        &mut self,
        mut taken: usize,
        corked: bool,
        mut gone: impl FnMut(Written),
    ) -> usize {
        let mut handed_down = 0;
        while let Some(write) = self.writes.front_mut() {
            if write.rest.len() > taken || self.in_flight == 0 {
                if taken > 0 {
                    write.rest.advance(taken);
                }
                return handed_down;
            }
            taken -= write.rest.len();
            if let Some(write) = self.writes.pop_front() {
                self.length -= write.length;
                gone(write.into());
            }
            self.in_flight -= 1;
            if self.in_flight == 0 && !corked {
                handed_down += self.hand_down();
            }
        }
        debug_assert_eq!(taken, 0, "the kernel took more than was there");
        give_back(&mut self.writes);
        handed_down
    }

    /// Puts everything in flight that waits, when nothing is. Returns its bytes.
    pub(crate) fn hand_down(&mut self) -> usize {
        debug_assert_eq!(self.in_flight, 0);
        self.in_flight = self.writes.len();
        std::mem::take(&mut self.buffered)
    }

    /// Takes the writes in flight out, oldest first.
    pub(crate) fn take_in_flight(&mut self) -> Vec<Written> {
        let buffered = self.writes.split_off(self.in_flight.min(self.writes.len()));
        let in_flight = std::mem::replace(&mut self.writes, buffered);
        self.length = self.buffered;
        self.in_flight = 0;
        in_flight.into_iter().map(Written::from).collect()
    }

    /// Takes the writes out that are not in flight, oldest first.
    pub(crate) fn take_buffered(&mut self) -> Vec<Written> {
        let writes = self.writes.split_off(self.in_flight.min(self.writes.len()));
        self.length -= self.buffered;
        self.buffered = 0;
        writes.into_iter().map(Written::from).collect()
    }
}

impl From<Write> for Written {
    fn from(write: Write) -> Written {
        Written {
            buffer: write.rest,
            done: write.done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(writes: &[&'static str]) -> WriteQueue {
        let mut queue = WriteQueue::default();
        for (n, write) in writes.iter().enumerate() {
            let bytes = Bytes::from_static(write.as_bytes());
            match n {
                0 => queue.push_in_flight(bytes, write.len(), None),
                _ => queue.push_buffered(bytes, write.len(), None),
            }
        }
        queue
    }

    fn waiting(queue: &WriteQueue) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let filled = queue.slices(false, &mut slices);
        slices[..filled]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }

    #[test]
    fn n178_a_write_counts_whole_until_its_last_byte_is_gone() {
        let mut queue = queue(&["hello", "you"]);
        assert_eq!(queue.length(), 8);
        let mut gone = 0;
        queue.advance(4, false, |_| gone += 1);
        assert_eq!((gone, queue.length()), (0, 8));
        assert_eq!(waiting(&queue), b"oyou");
        queue.advance(2, false, |_| gone += 1);
        assert_eq!((gone, queue.length()), (1, 3));
        queue.advance(2, false, |_| gone += 1);
        assert_eq!((gone, queue.length()), (2, 0));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_write_of_which_a_part_went_out_counts_whole() {
        let mut queue = WriteQueue::default();
        queue.push_in_flight(Bytes::from_static(b"rest"), 100, None);
        assert_eq!(queue.length(), 100);
    }

    #[test]
    fn empty_writes_go_with_what_is_in_front_of_them() {
        let mut queue = queue(&["a", "", "", "b"]);
        let mut gone = 0;
        queue.advance(1, false, |_| gone += 1);
        assert_eq!(gone, 3);
        assert_eq!(waiting(&queue), b"b");
    }

    #[test]
    fn n185_what_waits_is_in_flight_once_the_first_is_gone() {
        let mut queue = queue(&["one", "two", "three"]);
        assert_eq!(queue.buffered_length(), 8);
        assert!(queue.has_buffered());
        assert_eq!(queue.advance(3, false, |_| {}), 8);
        assert_eq!(queue.buffered_length(), 0);
        assert!(!queue.has_buffered());
        queue.push_buffered(Bytes::from_static(b"four"), 4, None);
        assert_eq!(queue.take_buffered().len(), 1);
        assert_eq!(waiting(&queue), b"twothree");
        assert_eq!(queue.length(), 8);
    }

    #[test]
    fn n187_corked_writes_are_handed_down_together() {
        let mut queue = WriteQueue::default();
        queue.push_buffered(Bytes::from_static(b"one"), 3, None);
        queue.push_buffered(Bytes::from_static(b"two"), 3, None);
        assert_eq!(queue.in_flight(), 0);
        assert_eq!(queue.hand_down(), 6);
        assert_eq!((queue.in_flight(), queue.buffered_length()), (2, 0));
        assert_eq!(queue.take_in_flight().len(), 2);
        assert_eq!(queue.length(), 0);
    }

    #[test]
    fn n187_under_a_cork_only_what_is_in_flight_goes() {
        let mut queue = queue(&["one", "two"]);
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        assert_eq!(queue.slices(true, &mut slices), 1);
        let mut gone = 0;
        assert_eq!(queue.advance(3, true, |_| gone += 1), 0);
        assert_eq!((gone, queue.in_flight(), queue.length()), (1, 0, 3));
    }

    #[test]
    fn n193_what_is_in_flight_stays_when_the_buffered_writes_are_taken() {
        let mut queue = queue(&["one", "two", "three"]);
        let taken = queue.take_buffered();
        assert_eq!(taken.len(), 2);
        assert_eq!(queue.length(), 3);
        assert_eq!(queue.take_in_flight().len(), 1);
        assert!(queue.is_empty());
        assert_eq!(queue.length(), 0);
    }
}
