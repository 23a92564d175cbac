//! What a datagram is made of: one buffer, or several.

use std::borrow::Cow;
use std::fmt;
use std::io::IoSlice;

use bytes::{Bytes, BytesMut};

use super::chunk::Chunk;
use super::error::{Error, Result};

/// The bytes of one datagram: one buffer or a list of buffers, borrowed or owned.
///
/// Whatever turns into bytes turns into one: `&str`, `&[u8]`, `String`, `Vec<u8>`, [`Bytes`] and
/// more. [`list`](Payload::list) makes one datagram of several buffers, [`part`](Payload::part)
/// one of a part of a buffer.
///
/// ```
/// use nodeloop::dgram::Payload;
///
/// assert_eq!(Payload::from("hello").size(), 5);
/// assert_eq!(Payload::list(["a ", "list"]).size(), 6);
/// assert_eq!(Payload::part("hello", 1, 3)?.size(), 3);
/// let error = Payload::part("hello", 4, 2).unwrap_err();
/// assert_eq!(error.code(), Some("ERR_BUFFER_OUT_OF_BOUNDS"));
/// # Ok::<(), nodeloop::Error>(())
/// ```
pub struct Payload<'a>(Kind<'a>);

enum Kind<'a> {
    One(Chunk<'a>),
    Many(Vec<Chunk<'a>>),
}

impl<'a> Payload<'a> {
    /// One datagram of several buffers, which are sent without being copied together. No buffer
    /// makes an empty datagram. Node's array of buffers.
    pub fn list<C: Into<Chunk<'a>>>(buffers: impl IntoIterator<Item = C>) -> Payload<'a> {
        Payload(Kind::Many(buffers.into_iter().map(Into::into).collect()))
    }

    /// A part of a buffer: Node's `offset` and `length`.
    ///
    /// # Errors
    /// `ERR_BUFFER_OUT_OF_BOUNDS` if the buffer ends before.
    pub fn part(buffer: impl Into<Chunk<'a>>, offset: usize, length: usize) -> Result<Payload<'a>> {
        let outside = |what: &str| {
            let message = format!("\"{what}\" is outside of buffer bounds");
            Err(Error::library("ERR_BUFFER_OUT_OF_BOUNDS", &message))
        };
        let mut buffer = buffer.into();
        let size = buffer.as_slice().len();
        if offset > size {
            return outside("offset");
        }
        if length > size - offset {
            return outside("length");
        }
        buffer.cut(offset, length);
        Ok(buffer.into())
    }

    /// How many bytes it has.
    pub fn size(&self) -> usize {
        match &self.0 {
            Kind::One(chunk) => chunk.as_slice().len(),
            Kind::Many(chunks) => chunks.iter().map(|chunk| chunk.as_slice().len()).sum(),
        }
    }

    /// Its bytes, if they are in one piece.
    #[inline]
    pub(crate) fn one(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::One(chunk) => Some(chunk.as_slice()),
            Kind::Many(_) => None,
        }
    }

    /// Lends its buffers to a system call.
    pub(crate) fn with_slices<R>(&self, act: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        match &self.0 {
            Kind::One(chunk) => act(&[IoSlice::new(chunk.as_slice())]),
            Kind::Many(chunks) => {
                let slices: Vec<IoSlice<'_>> = chunks
                    .iter()
                    .map(|chunk| IoSlice::new(chunk.as_slice()))
                    .collect();
                act(&slices)
            }
        }
    }

    /// Moves it out, to be kept: what is borrowed is copied.
    pub(crate) fn take(&mut self) -> Payload<'static> {
        match &mut self.0 {
            Kind::One(chunk) => chunk.take_rest(0).into(),
            Kind::Many(chunks) => {
                let chunks = chunks.iter_mut().map(|chunk| chunk.take_rest(0).into());
                Payload(Kind::Many(chunks.collect()))
            }
        }
    }
}

impl<'a> From<Chunk<'a>> for Payload<'a> {
    fn from(chunk: Chunk<'a>) -> Payload<'a> {
        Payload(Kind::One(chunk))
    }
}

impl fmt::Debug for Payload<'_> {
    /// Prints its size: its bytes may be many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("size", &self.size())
            .finish()
    }
}

macro_rules! from_one {
    ($($type:ty),+ $(,)?) => {
        $(impl<'a> From<$type> for Payload<'a> {
            #[inline]
            fn from(buffer: $type) -> Payload<'a> {
                Payload(Kind::One(buffer.into()))
            }
        })+
    };
}

from_one!(
    &'a [u8],
    &'a Vec<u8>,
    &'a str,
    &'a String,
    &'a Bytes,
    Vec<u8>,
    Box<[u8]>,
    String,
    Bytes,
    BytesMut,
    Cow<'a, [u8]>,
    Cow<'a, str>,
);

impl<'a, const N: usize> From<&'a [u8; N]> for Payload<'a> {
    fn from(array: &'a [u8; N]) -> Payload<'a> {
        Payload(Kind::One(array.into()))
    }
}

impl<'a> From<&'a [&'a [u8]]> for Payload<'a> {
    /// As [`list`](Payload::list).
    fn from(buffers: &'a [&'a [u8]]) -> Payload<'a> {
        Payload::list(buffers.iter().copied())
    }
}

impl From<Vec<Bytes>> for Payload<'_> {
    /// As [`list`](Payload::list).
    fn from(buffers: Vec<Bytes>) -> Self {
        Payload::list(buffers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(payload: &Payload<'_>) -> Vec<u8> {
        payload.with_slices(|slices| slices.concat_all())
    }

    trait ConcatAll {
        fn concat_all(&self) -> Vec<u8>;
    }

    impl ConcatAll for [IoSlice<'_>] {
        fn concat_all(&self) -> Vec<u8> {
            self.iter()
                .flat_map(|slice| slice.iter().copied())
                .collect()
        }
    }

    #[test]
    fn a_list_is_one_datagram() {
        let mut payload = Payload::list([&b"one "[..], b"", b"datagram"]);
        assert_eq!(payload.size(), 12);
        assert!(payload.one().is_none());
        assert_eq!(bytes(&payload), b"one datagram");
        assert_eq!(bytes(&payload.take()), b"one datagram");
        assert_eq!(Payload::list(Vec::<&str>::new()).size(), 0);
    }

    #[test]
    fn a_part_of_each_kind() {
        let chunks: [Chunk<'_>; 3] = [
            "hello".into(),
            String::from("hello").into(),
            Bytes::from_static(b"hello").into(),
        ];
        for chunk in chunks {
            let mut payload = Payload::part(chunk, 1, 3).unwrap();
            assert_eq!(payload.one(), Some(&b"ell"[..]));
            assert_eq!(payload.take().one(), Some(&b"ell"[..]));
        }
        assert_eq!(Payload::part("hello", 5, 0).unwrap().size(), 0);
        for (offset, length) in [(6, 0), (5, 1), (0, 6), (1, usize::MAX)] {
            assert!(Payload::part("hello", offset, length).is_err());
        }
    }

    #[test]
    fn owned_buffers_are_not_copied() {
        let buffer = Bytes::from(vec![7; 4096]);
        let mut payload = Payload::list([buffer.clone()]);
        let address = payload.take().with_slices(|slices| slices[0].as_ptr());
        assert_eq!(address, buffer.as_ptr());
    }
}
