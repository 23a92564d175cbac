//! Bytes that were read and wait for a reader.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::spare::give_back;

/// What was read while nobody took it, in the pieces in which it was read (N156).
#[derive(Default)]
pub(crate) struct ReadQueue {
    /// The pieces, oldest first.
    chunks: VecDeque<Bytes>,
    /// Their bytes.
    length: usize,
}

impl ReadQueue {
    /// Bytes that wait.
    #[inline]
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Bytes of the oldest piece.
    pub(crate) fn first_length(&self) -> usize {
        self.chunks.front().map_or(0, Bytes::len)
    }

    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.length += chunk.len();
        self.chunks.push_back(chunk);
    }

    /// Puts a piece back in front of the others.
    pub(crate) fn push_front(&mut self, chunk: Bytes) {
        self.length += chunk.len();
        self.chunks.push_front(chunk);
    }

    /// Makes one piece of all.
    pub(crate) fn join(&mut self) {
        if self.chunks.len() > 1 {
            let mut joined = Vec::with_capacity(self.length);
            for chunk in self.chunks.drain(..) {
                joined.extend_from_slice(&chunk);
            }
            give_back(&mut self.chunks);
            self.chunks.push_back(joined.into());
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.pop_front()?;
        self.length -= chunk.len();
        give_back(&mut self.chunks);
        Some(chunk)
    }

    /// Takes so many bytes from the front, or all if there are fewer. Only what lies in several pieces
    /// is copied (Node's fromList).
    pub(crate) fn take(&mut self, size: usize) -> Bytes {
        let size = size.min(self.length);
        match self.chunks.front_mut() {
            Some(first) if first.len() > size => {
                self.length -= size;
                first.split_to(size)
            }
            Some(first) if first.len() == size => self.pop().unwrap_or_default(),
            _ => {
                let mut taken = BytesMut::with_capacity(size);
                while taken.len() < size {
                    let Some(mut chunk) = self.pop() else { break };
                    let wanted = size - taken.len();
                    if chunk.len() > wanted {
                        self.push_front(chunk.split_off(wanted));
                    }
                    taken.extend_from_slice(&chunk);
                }
                taken.freeze()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(chunks: &[&'static str]) -> ReadQueue {
        let mut queue = ReadQueue::default();
        for chunk in chunks {
            queue.push(Bytes::from_static(chunk.as_bytes()));
        }
        queue
    }

    #[test]
    fn n156_chunks_stay_as_they_were_read() {
        let mut queue = queue(&["ab", "c"]);
        assert_eq!((queue.length(), queue.first_length()), (3, 2));
        assert_eq!(queue.pop().unwrap(), "ab");
        assert_eq!(queue.length(), 1);
        assert_eq!(queue.pop().unwrap(), "c");
        assert!(queue.pop().is_none());
        assert_eq!((queue.length(), queue.first_length()), (0, 0));
    }

    #[test]
    fn any_number_of_bytes_can_be_taken() {
        for size in 0..=7 {
            let mut queue = queue(&["abc", "d", "ef"]);
            let taken = queue.take(size);
            assert_eq!(taken, &b"abcdef"[..size.min(6)]);
            assert_eq!(queue.length(), 6 - taken.len());
            let mut rest = Vec::new();
            while let Some(chunk) = queue.pop() {
                rest.extend_from_slice(&chunk);
            }
            assert_eq!(rest, &b"abcdef"[taken.len()..]);
        }
    }

    #[test]
    fn what_is_put_in_front_comes_first() {
        let mut queue = queue(&["c"]);
        queue.push_front(Bytes::from_static(b"ab"));
        assert_eq!(queue.take(2), "ab");
        assert_eq!(queue.take(9), "c");
    }

    #[test]
    fn joined_pieces_are_one() {
        let mut queue = ReadQueue::default();
        queue.join();
        assert!(queue.pop().is_none());
        queue.push(Bytes::from_static(b"ab"));
        queue.push(Bytes::from_static(b"c"));
        queue.join();
        assert_eq!(queue.length(), 3);
        assert_eq!(queue.pop().unwrap(), "abc");
        assert!(queue.pop().is_none());
    }
}
