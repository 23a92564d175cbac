//! A file in datagrams, and what its receiver says of them.
//!
//! The pattern: a datagram is whole or lost, so each is complete in itself: what it is, where it
//! belongs, its bytes. Whatever does not read as one of these came from somebody else.

/// Bytes of the file in each part but the last: with the headers of IP and UDP it fits an Ethernet frame.
pub const PART_SIZE: usize = 1200;

/// The largest file has so many parts: 1.2 GB.
pub const MAX_PARTS: u32 = 1_000_000;

/// A datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// The bytes of a part, and its number from 0.
    Part(u32, &'a [u8]),
    /// The sender has sent everything: so many parts, so many bytes.
    End(u32, u64),
    /// The receiver has so many of them.
    Receipt(u32),
}

impl Message<'_> {
    /// Reads a datagram.
    pub fn read(datagram: &[u8]) -> Option<Message<'_>> {
        let (&kind, rest) = datagram.split_first()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let number = u32::from_be_bytes(*number);
        match (kind, rest.len()) {
            (0, 1..=PART_SIZE) if number < MAX_PARTS => Some(Message::Part(number, rest)),
            (1, 8) if number <= MAX_PARTS => {
                let bytes = u64::from_be_bytes(rest.try_into().ok()?);
                let needs = bytes.div_ceil(PART_SIZE as u64);
                (needs == u64::from(number)).then_some(Message::End(number, bytes))
            }
            (2, 0) => Some(Message::Receipt(number)),
            _ => None,
        }
    }

    /// The datagram.
    pub fn write(&self) -> Vec<u8> {
        let (kind, number) = match self {
            Message::Part(number, _) => (0, number),
            Message::End(parts, _) => (1, parts),
            Message::Receipt(parts) => (2, parts),
        };
        let mut datagram = vec![kind];
        datagram.extend_from_slice(&number.to_be_bytes());
        match self {
            Message::Part(_, bytes) => datagram.extend_from_slice(bytes),
            Message::End(_, bytes) => datagram.extend_from_slice(&bytes.to_be_bytes()),
            Message::Receipt(_) => {}
        }
        datagram
    }
}
