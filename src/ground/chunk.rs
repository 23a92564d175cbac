//! What `write` takes: anything that becomes bytes.

use std::borrow::Cow;
use std::fmt;

use bytes::{Bytes, BytesMut};

/// Bytes on their way to a socket, borrowed or owned.
///
/// `write` and `end_with` take anything that turns into one: `&str`, `&[u8]`, `String`,
/// `Vec<u8>`, [`Bytes`] and more; an array by reference, such as `&number.to_be_bytes()`. A borrowed
/// slice is copied only as far as the kernel did not take it at once; an owned buffer is never copied.
///
/// While a callback runs, small writes are laid aside and sent together when it returns; then
/// slices, and owned buffers below 1 KiB, are copied.
pub struct Chunk<'a>(Kind<'a>);

/// An owned buffer.
pub(crate) enum Owned {
    Vec(Vec<u8>),
    Bytes(Bytes),
}

impl Owned {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Owned::Vec(vec) => vec,
            Owned::Bytes(bytes) => bytes,
        }
    }
}

enum Kind<'a> {
    Slice(&'a [u8]),
    Vec(Vec<u8>),
    Bytes(Bytes),
}

impl Chunk<'_> {
    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Kind::Slice(slice) => slice,
            Kind::Vec(vec) => vec,
            Kind::Bytes(bytes) => bytes,
        }
    }

    /// Cuts it down to a part, which must lie inside.
    pub(crate) fn cut(&mut self, offset: usize, length: usize) {
        match &mut self.0 {
            Kind::Slice(slice) => *slice = &slice[offset..offset + length],
            Kind::Vec(vec) => {
                let bytes = Bytes::from(std::mem::take(vec));
                self.0 = Kind::Bytes(bytes.slice(offset..offset + length));
            }
            Kind::Bytes(bytes) => *bytes = bytes.slice(offset..offset + length),
        }
    }

    /// Moves an owned buffer out, and leaves nothing. None if it is borrowed.
    pub(crate) fn take_owned(&mut self) -> Option<Owned> {
        match std::mem::replace(&mut self.0, Kind::Slice(&[])) {
            Kind::Vec(vec) => Some(Owned::Vec(vec)),
            Kind::Bytes(bytes) => Some(Owned::Bytes(bytes)),
            slice @ Kind::Slice(_) => {
                self.0 = slice;
                None
            }
        }
    }

    /// The bytes, if they are borrowed, so that keeping them is a copy.
    #[inline]
    pub(crate) fn borrowed(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Slice(slice) => Some(slice),
            Kind::Vec(_) | Kind::Bytes(_) => None,
        }
    }

    /// Moves what lies behind the first `taken` bytes out, to be kept.
    pub(crate) fn take_rest(&mut self, taken: usize) -> Bytes {
        match std::mem::replace(&mut self.0, Kind::Slice(&[])) {
            Kind::Slice(slice) => Bytes::copy_from_slice(&slice[taken..]),
            Kind::Vec(vec) => {
                let mut bytes = Bytes::from(vec);
                bytes.split_off(taken)
            }
            Kind::Bytes(mut bytes) => bytes.split_off(taken),
        }
    }
}

impl fmt::Debug for Chunk<'_> {
    /// Prints its size: its bytes may be many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("size", &self.as_slice().len())
            .finish()
    }
}

impl<'a> From<&'a [u8]> for Chunk<'a> {
    #[inline]
    fn from(slice: &'a [u8]) -> Chunk<'a> {
        Chunk(Kind::Slice(slice))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Chunk<'a> {
    fn from(array: &'a [u8; N]) -> Chunk<'a> {
        Chunk(Kind::Slice(array))
    }
}

impl<'a> From<&'a Vec<u8>> for Chunk<'a> {
    fn from(vec: &'a Vec<u8>) -> Chunk<'a> {
        Chunk(Kind::Slice(vec))
    }
}

impl<'a> From<&'a str> for Chunk<'a> {
    fn from(text: &'a str) -> Chunk<'a> {
        Chunk(Kind::Slice(text.as_bytes()))
    }
}

impl<'a> From<&'a String> for Chunk<'a> {
    fn from(text: &'a String) -> Chunk<'a> {
        Chunk(Kind::Slice(text.as_bytes()))
    }
}

impl<'a> From<&'a Bytes> for Chunk<'a> {
    /// Shares the buffer.
    fn from(bytes: &'a Bytes) -> Chunk<'a> {
        Chunk(Kind::Bytes(bytes.clone()))
    }
}

impl From<Vec<u8>> for Chunk<'_> {
    fn from(vec: Vec<u8>) -> Self {
        Chunk(Kind::Vec(vec))
    }
}

impl From<Box<[u8]>> for Chunk<'_> {
    fn from(bytes: Box<[u8]>) -> Self {
        Chunk(Kind::Vec(bytes.into_vec()))
    }
}

impl From<String> for Chunk<'_> {
    fn from(text: String) -> Self {
        Chunk(Kind::Vec(text.into_bytes()))
    }
}

impl From<Bytes> for Chunk<'_> {
    fn from(bytes: Bytes) -> Self {
        Chunk(Kind::Bytes(bytes))
    }
}

impl From<BytesMut> for Chunk<'_> {
    fn from(bytes: BytesMut) -> Self {
        Chunk(Kind::Bytes(bytes.freeze()))
    }
}

impl<'a> From<Cow<'a, [u8]>> for Chunk<'a> {
    fn from(bytes: Cow<'a, [u8]>) -> Chunk<'a> {
        match bytes {
            Cow::Borrowed(slice) => slice.into(),
            Cow::Owned(vec) => vec.into(),
        }
    }
}

impl<'a> From<Cow<'a, str>> for Chunk<'a> {
    fn from(text: Cow<'a, str>) -> Chunk<'a> {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_each_kind() {
        let chunks: [Chunk<'_>; 6] = [
            "hello".into(),
            b"hello".into(),
            String::from("hello").into(),
            Bytes::from_static(b"hello").into(),
            BytesMut::from(&b"hello"[..]).into(),
            Cow::Borrowed("hello").into(),
        ];
        for mut chunk in chunks {
            assert_eq!(chunk.as_slice(), b"hello");
            assert_eq!(chunk.take_rest(2), "llo");
            assert!(chunk.as_slice().is_empty());
        }
    }

    #[test]
    fn owned_bytes_are_not_copied() {
        let bytes = Bytes::from(vec![7; 4096]);
        let rest = Chunk::from(bytes.clone()).take_rest(96);
        assert_eq!(rest.as_ptr(), bytes[96..].as_ptr());
        let vec = vec![7; 4096];
        let address = vec.as_ptr();
        assert_eq!(Chunk::from(vec).take_rest(0).as_ptr(), address);
    }
}
