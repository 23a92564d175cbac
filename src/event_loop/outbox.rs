//! Datagrams laid aside, to go out together.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::handle::Id;
use crate::backend::datagram::{Piece, RUN_BYTES, RUN_LENGTH};

/// When this many datagrams are laid aside, or as many bytes as a run has at most, they go out: what is laid
/// aside is memory.
const OUTBOX_DATAGRAMS: usize = 16 * RUN_LENGTH;

/// Up to this many bytes, what waits for its tick is laid aside in advance, so that it needs no
/// allocation of its own.
const STAGED_BYTES: usize = 1024 * 1024;

/// How much memory is kept for the next time.
const KEPT_BYTES: usize = 512 * 1024;

/// Datagrams of one socket. First those that have gone, to everybody but the kernel; behind them those
/// that are staged: they wait for their tick, and may still come to nothing.
#[derive(Default)]
pub(crate) struct Outbox {
    /// Whose they are.
    id: Option<Id>,
    /// Their bytes behind each other.
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    /// Those that somebody is told of, by their place among the pieces, and the key of the completion. All
    /// of them are still to go out.
    told: VecDeque<(usize, usize)>,
    /// Up to where they went out: datagrams and bytes.
    sent: Mark,
    /// From where on they are staged.
    staged: Mark,
    /// How many of those have no tick of their own: theirs would stand in front of the queue of ticks.
    ahead: usize,
    /// Whether something may be laid aside: while the loop runs.
    open: bool,
    /// Whether it waits for the rest of the datagrams that were received together.
    held: bool,
    /// Not 0 if something is to go out, and is not held.
    due: usize,
}

/// A place in the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    piece: usize,
    byte: usize,
}

impl Outbox {
    /// Whether nothing is to go out.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.sent.piece == self.staged.piece
    }

    /// Not 0 if it is to go out when the present loop callback is over. Asked after every one of them,
    /// so it is kept ready.
    #[inline]
    pub(crate) fn due(&self) -> usize {
        self.due
    }

    /// Staged datagrams that go before the first tick in the queue.
    #[inline]
    pub(crate) fn ahead(&self) -> usize {
        self.ahead
    }

    /// Takes one of those: whose it is.
    #[inline]
    pub(crate) fn take_ahead(&mut self) -> Option<Id> {
        self.ahead = self.ahead.checked_sub(1)?;
        self.id
    }

    fn note_due(&mut self) {
        self.due = usize::from(!self.is_empty() && !self.held);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// The memory that it keeps, in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
            + self.pieces.capacity() * size_of::<Piece>()
            + self.told.capacity() * size_of::<(usize, usize)>()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn owner(&self) -> Option<Id> {
        self.id
    }

    /// The loop runs: what is laid aside will go out.
    pub(crate) fn open(&mut self) {
        self.open = true;
    }

    /// The loop runs no more.
    pub(crate) fn close(&mut self) {
        self.open = false;
        self.hold(false);
    }

    /// Holds it, or no more.
    pub(crate) fn hold(&mut self, held: bool) {
        self.held = held;
        self.note_due();
    }

    pub(crate) fn has_staged(&self) -> bool {
        self.staged.piece < self.pieces.len()
    }

    /// Whether another datagram of this socket may be staged. Those of another must have gone.
    #[inline]
    pub(crate) fn takes_staged(&self, id: Id, size: usize) -> bool {
        self.bytes.len() + size <= STAGED_BYTES && (self.pieces.is_empty() || self.id == Some(id))
    }

    /// Lays a datagram aside that waits for its tick; one that goes before the first tick in the queue
    /// (`ahead`) needs none. Those that do must come first.
    #[inline]
    pub(crate) fn stage(&mut self, id: Id, bytes: &[u8], to: SocketAddr, ahead: bool) {
        self.id = Some(id);
        self.push(bytes, Some(to));
        self.ahead += usize::from(ahead);
    }

    /// Lays a datagram aside that has gone. Nothing may be staged.
    pub(crate) fn add(&mut self, id: Id, bytes: &[u8], to: Option<SocketAddr>, key: Option<usize>) {
        debug_assert!(!self.has_staged());
        self.id = Some(id);
        if let Some(key) = key {
            self.told.push_back((self.pieces.len(), key));
        }
        self.push(bytes, to);
        self.staged.piece += 1;
        self.staged.byte += bytes.len();
        self.note_due();
    }

    #[inline]
    fn push(&mut self, bytes: &[u8], to: Option<SocketAddr>) {
        self.bytes.extend_from_slice(bytes);
        self.pieces.push(Piece {
            size: bytes.len(),
            to,
        });
    }

    /// The first staged datagram.
    #[inline]
    pub(crate) fn first_staged(&self) -> Option<Piece> {
        self.pieces.get(self.staged.piece).copied()
    }

    /// The first staged datagram has gone.
    #[inline]
    pub(crate) fn commit(&mut self) {
        if let Some(piece) = self.first_staged() {
            self.staged.piece += 1;
            self.staged.byte += piece.size;
            self.note_due();
        }
    }

    /// The first staged datagram goes another way: its bytes.
    pub(crate) fn take_staged(&mut self) -> Vec<u8> {
        let Mark { piece, byte } = self.staged;
        let size = self.pieces[piece].size;
        if self.is_empty() {
            // Passed over, at a cost that does not depend on what is staged behind it.
            self.staged = Mark {
                piece: piece + 1,
                byte: byte + size,
            };
            self.sent = self.staged;
            return self.bytes[byte..byte + size].to_vec();
        }
        self.pieces.remove(piece);
        self.bytes.drain(byte..byte + size).collect()
    }

    /// What is staged comes to nothing, if it is this socket's.
    pub(crate) fn drop_staged(&mut self, id: Id) {
        if self.id == Some(id) {
            self.pieces.truncate(self.staged.piece);
            self.bytes.truncate(self.staged.byte);
            self.ahead = 0;
            self.clear_if_sent();
        }
    }

    /// Whether it is time that what has gone goes out. Where all are alike these are whole runs, and none is
    /// left for a call of its own.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        let datagrams = self.staged.piece - self.sent.piece;
        let bytes = self.staged.byte - self.sent.byte;
        let last = self.pieces[..self.staged.piece].last();
        // Another like the last would not fit.
        bytes + last.map_or(0, |last| last.size) > RUN_BYTES
            || (bytes > RUN_BYTES / 2 && datagrams.is_multiple_of(RUN_LENGTH))
            || datagrams >= OUTBOX_DATAGRAMS
    }

    /// What is to go out next: bytes and datagrams.
    pub(crate) fn unsent(&self) -> (&[u8], &[Piece]) {
        (
            &self.bytes[self.sent.byte..self.staged.byte],
            &self.pieces[self.sent.piece..self.staged.piece],
        )
    }

    /// The next one went out, or failed, or is to wait elsewhere: it, its bytes, and its completion.
    pub(crate) fn next_sent(&mut self) -> Option<(Piece, &[u8], Option<usize>)> {
        let Mark { piece, byte } = self.sent;
        if piece == self.staged.piece {
            return None;
        }
        let sent = self.pieces[piece];
        let told = self.told.front().filter(|&&(place, _)| place == piece);
        let key = told.map(|&(_, key)| key);
        if key.is_some() {
            self.told.pop_front();
        }
        self.sent.piece += 1;
        self.sent.byte += sent.size;
        self.note_due();
        Some((sent, &self.bytes[byte..byte + sent.size], key))
    }

    /// All that has gone went out. Returns false, and does nothing, if somebody is to be told.
    #[inline]
    pub(crate) fn note_all_sent(&mut self) -> bool {
        let untold = self.told.is_empty();
        if untold {
            self.sent = self.staged;
            self.due = 0;
        }
        untold
    }

    /// The only one, if it is staged and goes before the first tick: whose it is, its bytes, and where it
    /// goes.
    #[inline]
    pub(crate) fn sole_ahead(&self) -> Option<(Id, &[u8], Option<SocketAddr>)> {
        match &*self.pieces {
            [piece] if self.ahead == 1 => Some((self.id?, &self.bytes, piece.to)),
            _ => None,
        }
    }

    /// That one went out, or failed, or is to wait elsewhere.
    #[inline]
    pub(crate) fn clear_sole(&mut self) {
        self.ahead = 0;
        self.id = None;
        self.pieces.clear();
        self.bytes.clear();
    }

    /// Begins anew if nothing is left.
    #[inline]
    pub(crate) fn clear_if_sent(&mut self) {
        if self.sent.piece < self.pieces.len() {
            return;
        }
        self.id = None;
        self.pieces.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.sent = Mark::default();
        self.staged = Mark::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Id = Id { key: 1, serial: 1 };
    const OTHER: Id = Id { key: 2, serial: 2 };

    fn to() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 1))
    }

    fn sizes(outbox: &Outbox) -> Vec<usize> {
        let (bytes, pieces) = outbox.unsent();
        assert_eq!(bytes.len(), pieces.iter().map(|piece| piece.size).sum());
        pieces.iter().map(|piece| piece.size).collect()
    }

    #[test]
    fn what_is_staged_goes_when_its_tick_has_come() {
        let mut outbox = Outbox::default();
        for size in 1..=3 {
            assert!(outbox.takes_staged(ID, size));
            outbox.stage(ID, &[0; 3][..size], to(), size == 1);
        }
        assert!(outbox.is_empty() && outbox.has_staged() && outbox.due() == 0);
        assert!(!outbox.takes_staged(OTHER, 1));
        assert_eq!((outbox.take_ahead(), outbox.take_ahead()), (Some(ID), None));
        outbox.commit();
        outbox.commit();
        assert_eq!(sizes(&outbox), [1, 2]);
        outbox.hold(true);
        assert_eq!(outbox.due(), 0);
        outbox.hold(false);
        assert_ne!(outbox.due(), 0);
        assert_eq!(outbox.next_sent().unwrap().1.len(), 1);
        assert_eq!(sizes(&outbox), [2]);
        assert_eq!(outbox.take_staged().len(), 3);
        assert_eq!(outbox.next_sent().unwrap().1.len(), 2);
        assert!(outbox.next_sent().is_none() && outbox.due() == 0);
        outbox.clear_if_sent();
        assert!(outbox.takes_staged(OTHER, 1));
    }

    #[test]
    fn what_is_dropped_leaves_what_has_gone() {
        let mut outbox = Outbox::default();
        outbox.add(ID, b"gone", None, Some(7));
        outbox.stage(ID, b"staged", to(), true);
        outbox.drop_staged(OTHER);
        assert!(outbox.has_staged() && outbox.ahead() == 1);
        outbox.drop_staged(ID);
        assert!(!outbox.has_staged() && outbox.ahead() == 0);
        assert_eq!(sizes(&outbox), [4]);
        outbox.add(ID, b"untold", None, None);
        outbox.add(ID, b"told", None, Some(8));
        assert!(!outbox.note_all_sent(), "somebody is to be told");
        let (piece, bytes, key) = outbox.next_sent().unwrap();
        assert_eq!((piece.to, bytes, key), (None, &b"gone"[..], Some(7)));
        assert_eq!(outbox.next_sent().unwrap().2, None);
        assert_eq!(outbox.next_sent().unwrap().2, Some(8));
        assert!(outbox.note_all_sent());
    }

    #[test]
    fn one_that_is_alone_is_found_at_once() {
        let mut outbox = Outbox::default();
        assert!(outbox.sole_ahead().is_none());
        outbox.stage(ID, b"tick", to(), false);
        assert!(outbox.sole_ahead().is_none(), "it has a tick");
        outbox.drop_staged(ID);
        outbox.stage(ID, b"one", to(), true);
        assert_eq!(outbox.sole_ahead(), Some((ID, &b"one"[..], Some(to()))));
        outbox.clear_sole();
        assert!(!outbox.has_staged() && outbox.ahead() == 0 && outbox.owner().is_none());
        outbox.add(ID, b"gone", None, None);
        outbox.stage(ID, b"one", to(), true);
        assert!(outbox.sole_ahead().is_none(), "another has gone before it");
    }

    #[test]
    fn what_nobody_is_told_of_is_forgotten_together() {
        let mut outbox = Outbox::default();
        for _ in 0..3 {
            outbox.add(ID, b"gone", None, None);
        }
        outbox.stage(ID, b"staged", to(), true);
        assert!(outbox.note_all_sent());
        assert!(outbox.is_empty() && outbox.has_staged() && outbox.due() == 0);
        outbox.commit();
        assert_eq!(sizes(&outbox), [6]);
    }

    #[test]
    fn it_is_full_in_time() {
        let mut outbox = Outbox::default();
        for _ in 0..OUTBOX_DATAGRAMS {
            assert!(!outbox.is_full());
            outbox.add(ID, b"", None, None);
        }
        assert!(outbox.is_full());
        let mut outbox = Outbox::default();
        outbox.add(ID, &[0; RUN_BYTES], None, None);
        assert!(outbox.is_full());
        assert!(!outbox.takes_staged(ID, STAGED_BYTES));
        // With whole runs: as many as fit, or as the kernel cuts.
        for (size, whole) in [(1200, 54), (1000, 64), (600, 64), (500, 128), (64, 512)] {
            let mut outbox = Outbox::default();
            while !outbox.is_full() {
                outbox.add(ID, &vec![0; size], None, None);
            }
            assert_eq!(outbox.unsent().1.len(), whole, "of {size} bytes");
        }
    }
}
