//! Bytes that were read from the kernel and wait for a reader.

use std::collections::VecDeque;

use bytes::Bytes;

/// What a socket has read while nobody took it, in the pieces in which it was read (N156).
#[derive(Default)]
pub(crate) struct ReadQueue {
    /// The pieces, oldest first.
    chunks: VecDeque<Bytes>,
    /// Their bytes.
    length: usize,
}

impl ReadQueue {
    /// Bytes that wait.
    pub(crate) fn length(&self) -> usize {
        self.length
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
            self.chunks.push_back(joined.into());
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.pop_front()?;
        self.length -= chunk.len();
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n156_chunks_stay_as_they_were_read() {
        let mut queue = ReadQueue::default();
        queue.push(Bytes::from_static(b"ab"));
        queue.push(Bytes::from_static(b"c"));
        assert_eq!(queue.length(), 3);
        assert_eq!(queue.pop().unwrap(), "ab");
        assert_eq!(queue.length(), 1);
        assert_eq!(queue.pop().unwrap(), "c");
        assert!(queue.pop().is_none());
        assert_eq!(queue.length(), 0);
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
