//! Small writes laid aside until their loop callback ends, to be sent with their neighbours.
//!
//! One arena per loop, not a buffer per socket: a broadcast to a thousand sockets fills it and
//! empties it without an allocation, and an idle socket holds nothing. The pieces of one socket
//! are chained; a [`Bundle`] is such a chain. Most callbacks write to one socket only, and have a
//! shorter way: then the arena is just that socket's bytes, until [`spread`](Gather::spread).

use std::io::IoSlice;

use super::chunk::Owned;

/// Writes of fewer bytes are laid aside. From here on the copy costs more than a call saves: 16 KiB are
/// copied in about a fifth of the time of a `send`.
pub(crate) const SMALL_WRITE: usize = 16 * 1024;

/// When this many bytes have gathered they are sent before more is laid aside: a socket buffer's
/// worth, and the bound of what the arena holds.
const MAX_GATHERED: usize = 64 * 1024;

/// Owned buffers of at least this many bytes are kept as they are. Smaller ones are copied: a copy is
/// cheaper than one more slice in the vectored write.
pub(crate) const KEPT_FROM: usize = 1024;

/// The writes of at most this many sockets are laid aside: a bundle's number takes two bytes in each socket.
const MAX_BUNDLES: usize = u16::MAX as usize;

/// No piece, no tick.
const NONE: u32 = u32::MAX;

/// The arena. `K` names a socket.
pub(crate) struct Gather<K> {
    /// What it holds.
    holds: Holds<K>,
    /// The bytes of copied pieces.
    bytes: Vec<u8>,
    /// Where they end, but for the last, while they are one socket's.
    ends: Vec<u32>,
    /// The buffers of the others.
    owned: Vec<Option<Owned>>,
    /// What was written, in order.
    pieces: Vec<Piece>,
    /// The sockets with pieces, in the order of their first.
    bundles: Vec<Bundle<K>>,
    /// Bytes of all pieces of bundles.
    length: usize,
}

/// What the arena holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds<K> {
    Nothing,
    /// Copies for one socket, without completions.
    Sole(K),
    /// Anything: bundles.
    Bundles,
}

/// One call of `write`.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Where its bytes are; for an owned buffer, which it is.
    start: u32,
    /// How many there are.
    length: u32,
    /// The socket's next piece.
    next: u32,
    /// The index of its tick, which tells its completion.
    tick: u32,
    /// Whether it is an owned buffer.
    is_owned: bool,
}

/// What one socket has in the arena.
#[derive(Debug, Clone, Copy)]
struct Bundle<K> {
    /// Whose it is.
    key: K,
    /// Its first piece; none once it is sent.
    first: u32,
    /// Its last piece.
    last: u32,
}

/// A piece that was sent, or was not.
pub(crate) struct Sent<'a> {
    /// Its bytes.
    pub(crate) bytes: &'a [u8],
    /// The index of its tick.
    pub(crate) tick: Option<usize>,
}

impl<K: Copy + PartialEq> Gather<K> {
    pub(crate) fn new() -> Gather<K> {
        Gather {
            holds: Holds::Nothing,
            bytes: Vec::new(),
            ends: Vec::new(),
            owned: Vec::new(),
            pieces: Vec::new(),
            bundles: Vec::new(),
            length: 0,
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.holds, Holds::Nothing)
    }

    /// Whether so many more bytes have room, and their socket a bundle.
    #[inline]
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.length.max(self.bytes.len()) + more <= MAX_GATHERED && self.bundles.len() < MAX_BUNDLES
    }

    /// Lays a copy aside if it and all that is there are the same socket's. Should it become one
    /// of several, its bundle is the first.
    #[inline]
    pub(crate) fn add_sole(&mut self, key: K, bytes: &[u8]) -> bool {
        if self.bytes.len() + bytes.len() > MAX_GATHERED {
            return false;
        }
        match self.holds {
            Holds::Nothing => self.holds = Holds::Sole(key),
            Holds::Sole(sole) if sole == key => self.ends.push(self.bytes.len() as u32),
            _ => return false,
        }
        self.bytes.extend_from_slice(bytes);
        true
    }

    /// If all that was laid aside is one socket's, and copied: the socket, and all of it.
    #[inline]
    pub(crate) fn sole(&self) -> Option<(K, &[u8])> {
        match self.holds {
            Holds::Sole(key) => Some((key, &self.bytes)),
            _ => None,
        }
    }

    /// The sole socket's bytes were sent.
    #[inline]
    pub(crate) fn clear_sole(&mut self) {
        self.holds = Holds::Nothing;
        self.bytes.clear();
        self.ends.clear();
    }

    /// Makes bundles of what it holds. What follows needs it.
    pub(crate) fn spread(&mut self) {
        let holds = std::mem::replace(&mut self.holds, Holds::Bundles);
        let Holds::Sole(key) = holds else { return };
        let bundle = self.begin(key);
        let mut ends = std::mem::take(&mut self.ends);
        ends.push(self.bytes.len() as u32);
        let mut start = 0;
        for end in ends.drain(..) {
            self.add(bundle, start, end as usize - start, None, false);
            start = end as usize;
        }
        self.ends = ends;
    }

    /// How many sockets have, or had, a bundle.
    pub(crate) fn bundles(&self) -> u16 {
        self.bundles.len() as u16
    }

    /// Begins a bundle for a socket that has none. Returns its number.
    pub(crate) fn begin(&mut self, key: K) -> u16 {
        debug_assert!(self.holds == Holds::Bundles && self.bundles.len() <= MAX_BUNDLES);
        self.bundles.push(Bundle {
            key,
            first: NONE,
            last: NONE,
        });
        (self.bundles.len() - 1) as u16
    }

    /// Lays a copy aside.
    pub(crate) fn add_copy(&mut self, bundle: u16, bytes: &[u8], tick: Option<usize>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.add(bundle, start, bytes.len(), tick, false);
    }

    /// Lays a buffer aside.
    pub(crate) fn add_owned(&mut self, bundle: u16, buffer: Owned, tick: Option<usize>) {
        let (at, length) = (self.owned.len(), buffer.as_slice().len());
        self.owned.push(Some(buffer));
        self.add(bundle, at, length, tick, true);
    }

    // All numbers are below MAX_GATHERED, since no piece is empty.
    fn add(
        &mut self,
        bundle: u16,
        start: usize,
        length: usize,
        tick: Option<usize>,
        is_owned: bool,
    ) {
        debug_assert!(length > 0);
        self.length += length;
        let at = self.pieces.len() as u32;
        self.pieces.push(Piece {
            start: start as u32,
            length: length as u32,
            next: NONE,
            tick: tick.map_or(NONE, |tick| tick as u32),
            is_owned,
        });
        let bundle = &mut self.bundles[bundle as usize];
        match bundle.last {
            NONE => bundle.first = at,
            last => self.pieces[last as usize].next = at,
        }
        bundle.last = at;
    }

    /// The socket of a bundle that was not sent yet.
    pub(crate) fn key(&self, bundle: u16) -> Option<K> {
        let bundle = self.bundles.get(bundle as usize)?;
        (bundle.first != NONE).then_some(bundle.key)
    }

    /// The bytes of a bundle that is one copy.
    #[inline]
    pub(crate) fn sole_copy(&self, bundle: u16) -> Option<&[u8]> {
        let bundle = self.bundles.get(bundle as usize)?;
        let piece = self.pieces.get(bundle.first as usize)?;
        let is_sole = bundle.first == bundle.last && !piece.is_owned;
        is_sole.then(|| self.bytes_of(piece))
    }

    /// A bundle that is one copy was sent.
    #[inline]
    pub(crate) fn end_copy(&mut self, bundle: u16) {
        self.bundles[bundle as usize].first = NONE;
    }

    /// Fills `slices` with what lies behind the first `skip` bytes of a bundle. Returns how many it
    /// filled: neighbours in the arena are one slice.
    pub(crate) fn slices<'a>(
        &'a self,
        bundle: u16,
        mut skip: usize,
        slices: &mut [IoSlice<'a>],
    ) -> usize {
        let mut filled = 0;
        let mut run: Option<(usize, usize)> = None;
        for piece in self.chain(bundle) {
            let length = piece.length as usize;
            if skip >= length {
                skip -= length;
                continue;
            }
            let from = std::mem::take(&mut skip);
            let start = piece.start as usize;
            if let Some((run_start, run_end)) = run {
                if !piece.is_owned && run_end == start {
                    run = Some((run_start, start + length));
                    continue;
                }
                slices[filled] = IoSlice::new(&self.bytes[run_start..run_end]);
                filled += 1;
                run = None;
                if filled == slices.len() {
                    return filled;
                }
            }
            if piece.is_owned {
                slices[filled] = IoSlice::new(&self.bytes_of(piece)[from..]);
                filled += 1;
                if filled == slices.len() {
                    return filled;
                }
            } else {
                run = Some((start + from, start + length));
            }
        }
        if let Some((start, end)) = run {
            slices[filled] = IoSlice::new(&self.bytes[start..end]);
            filled += 1;
        }
        filled
    }

    /// The pieces of a bundle, oldest first.
    pub(crate) fn pieces(&self, bundle: u16) -> impl Iterator<Item = Sent<'_>> {
        self.chain(bundle).map(|piece| Sent {
            bytes: self.bytes_of(piece),
            tick: (piece.tick != NONE).then_some(piece.tick as usize),
        })
    }

    /// A bundle was sent. Its owned buffers go to `bury`.
    pub(crate) fn end(&mut self, bundle: u16, mut bury: impl FnMut(Owned)) {
        let mut at = self.bundles[bundle as usize].first;
        while let Some(piece) = self.pieces.get(at as usize) {
            if piece.is_owned {
                self.owned[piece.start as usize].take().map(&mut bury);
            }
            at = piece.next;
        }
        self.bundles[bundle as usize].first = NONE;
    }

    /// Everything was sent: the arena is empty, and keeps its memory.
    pub(crate) fn clear(&mut self) {
        debug_assert!(self.owned.iter().all(Option::is_none));
        self.clear_sole();
        self.owned.clear();
        self.pieces.clear();
        self.bundles.clear();
        self.length = 0;
    }

    /// Bytes of memory that it keeps.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
            + self.ends.capacity() * size_of::<u32>()
            + self.owned.capacity() * size_of::<Option<Owned>>()
            + self.pieces.capacity() * size_of::<Piece>()
            + self.bundles.capacity() * size_of::<Bundle<K>>()
    }

    fn chain(&self, bundle: u16) -> impl Iterator<Item = &Piece> {
        let first = self.bundles[bundle as usize].first;
        std::iter::successors(self.pieces.get(first as usize), |piece| {
            self.pieces.get(piece.next as usize)
        })
    }

    fn bytes_of(&self, piece: &Piece) -> &[u8] {
        let (start, length) = (piece.start as usize, piece.length as usize);
        match piece.is_owned {
            true => self.owned[start].as_ref().map_or(&[], Owned::as_slice),
            false => &self.bytes[start..start + length],
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// What would be sent for a bundle, slice by slice.
    fn sent(gather: &Gather<char>, bundle: u16, skip: usize) -> Vec<String> {
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = gather.slices(bundle, skip, &mut slices);
        let text = |slice: &IoSlice<'_>| String::from_utf8(slice.to_vec()).unwrap();
        slices[..filled].iter().map(text).collect()
    }

    fn owned(text: &str) -> Owned {
        Owned::Bytes(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn one_socket_has_the_arena_to_itself() {
        let mut gather = Gather::new();
        assert!(gather.is_empty() && gather.sole().is_none());
        for word in ["one ", "two ", "three"] {
            assert!(gather.add_sole('a', word.as_bytes()));
        }
        assert!(!gather.add_sole('b', b"other"));
        assert_eq!(gather.sole(), Some(('a', &b"one two three"[..])));
        gather.spread();
        assert!(gather.sole().is_none() && !gather.add_sole('a', b"more"));
        let lengths: Vec<_> = gather.pieces(0).map(|piece| piece.bytes.len()).collect();
        assert_eq!(lengths, [4, 4, 5]);
        assert_eq!(
            sent(&gather, 0, 0),
            ["one two three"],
            "neighbours are one slice"
        );
        assert_eq!(sent(&gather, 0, 5), ["wo three"]);
        assert_eq!(sent(&gather, 0, 13), [""; 0]);
        gather.end(0, |_| {});
        gather.clear();
        assert!(gather.is_empty() && gather.add_sole('b', b"other"));
        gather.clear_sole();
        assert!(gather.is_empty());
    }

    #[test]
    fn a_bundle_of_one_copy_is_known() {
        let mut gather = Gather::new();
        gather.spread();
        let (one, two, kept) = (gather.begin('a'), gather.begin('b'), gather.begin('c'));
        assert_eq!(gather.sole_copy(one), None, "nothing is there yet");
        gather.add_copy(two, b"twice ", None);
        gather.add_copy(one, b"once", None);
        gather.add_copy(two, b"twice", None);
        gather.add_owned(kept, owned("kept"), None);
        assert_eq!(gather.sole_copy(one), Some(&b"once"[..]));
        assert_eq!(
            (gather.sole_copy(two), gather.sole_copy(kept)),
            (None, None)
        );
        gather.end_copy(one);
        assert_eq!((gather.key(one), gather.sole_copy(one)), (None, None));
        assert_eq!(gather.key(two), Some('b'));
    }

    #[test]
    fn two_sockets_keep_apart() {
        let mut gather = Gather::new();
        gather.spread();
        let (a, b) = (gather.begin('a'), gather.begin('b'));
        for round in ["1", "2"] {
            gather.add_copy(a, b"to a", None);
            gather.add_copy(b, format!("to b {round}").as_bytes(), None);
        }
        assert_eq!(sent(&gather, a, 0), ["to a", "to a"]);
        assert_eq!(sent(&gather, b, 3), ["b 1", "to b 2"]);
        gather.end(a, |_| {});
        assert_eq!((gather.key(a), gather.key(b)), (None, Some('b')));
        assert_eq!(sent(&gather, a, 0), [""; 0]);
    }

    #[test]
    fn owned_buffers_are_not_copied() {
        let mut gather = Gather::new();
        gather.spread();
        let a = gather.begin('a');
        gather.add_copy(a, b"x", None);
        gather.add_owned(a, owned("owned"), Some(7));
        gather.add_copy(a, b"y", None);
        gather.add_copy(a, b"z", None);
        assert_eq!(sent(&gather, a, 0), ["x", "owned", "yz"]);
        assert_eq!(sent(&gather, a, 3), ["ned", "yz"]);
        let ticks: Vec<_> = gather.pieces(a).map(|piece| piece.tick).collect();
        assert_eq!(ticks, [None, Some(7), None, None]);
        let mut buried = 0;
        gather.end(a, |_| buried += 1);
        assert_eq!(buried, 1);
        gather.clear();
        assert!(gather.is_empty() && gather.capacity() > 0);
    }

    #[test]
    fn no_more_slices_than_there_is_room_for() {
        let mut gather = Gather::new();
        gather.spread();
        let a = gather.begin('a');
        for n in 0..6 {
            gather.add_owned(a, owned(&n.to_string()), None);
        }
        assert_eq!(sent(&gather, a, 0), ["0", "1", "2", "3"]);
        assert_eq!(sent(&gather, a, 4), ["4", "5"]);
        gather.end(a, |_| {});
    }

    #[test]
    fn room_is_counted_in_bytes() {
        let mut gather = Gather::new();
        gather.spread();
        let a = gather.begin('a');
        gather.add_copy(a, &[0; MAX_GATHERED - 10], None);
        assert!(gather.has_room(10) && !gather.has_room(11));
        let mut gather = Gather::new();
        assert!(gather.add_sole('a', &[0; MAX_GATHERED - 10]));
        assert!(!gather.add_sole('a', &[0; 11]) && gather.add_sole('a', &[0; 10]));
        assert!(!gather.has_room(1));
    }

    #[test]
    fn bundles_are_as_many_as_a_socket_can_number() {
        let mut gather = Gather::new();
        gather.spread();
        for key in 0..MAX_BUNDLES {
            assert!(gather.has_room(1));
            assert_eq!(usize::from(gather.begin(key)), key);
        }
        assert!(!gather.has_room(1));
    }
}
