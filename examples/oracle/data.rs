//! Bytes of scenarios: what is sent, and how it shows in a trace.

use super::words::quote;

/// Texts up to this length are shown as they are; longer ones, and other bytes, as a hash.
pub const SHOWN: usize = 64;

/// The multiplier of the hash. The hash of two pieces follows from theirs, so chunks can be
/// merged after the fact: hash(ab) = hash(a) · MULTIPLIER^len(b) + hash(b), modulo 2^32.
const MULTIPLIER: u32 = 16_777_619;

/// The bytes that a DATA word means: a text's own, those of hexadecimal digits, or COUNT bytes
/// counting up to 250 and again.
pub fn bytes_of(word: &str) -> Vec<u8> {
    if let Some(digits) = word.strip_prefix("hex:") {
        let byte = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        return (0..digits.len()).step_by(2).map_while(byte).collect();
    }
    let count = word.strip_prefix("bytes:");
    match count.and_then(|count| count.parse::<usize>().ok()) {
        Some(count) => {
            let counting: Vec<u8> = (0..=250).collect();
            let mut bytes = counting.repeat(count.div_ceil(counting.len()));
            bytes.truncate(count);
            bytes
        }
        None => word.as_bytes().to_vec(),
    }
}

/// A piece of data in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// How many bytes.
    pub length: u64,
    /// Their hash.
    pub hash: u32,
    /// Their text, if it is short and plain.
    pub text: Option<String>,
}

impl Piece {
    /// Describes bytes.
    pub fn of(bytes: &[u8]) -> Piece {
        let is_plain = |byte: &u8| (b' '..=b'~').contains(byte) || *byte == b'\n';
        let text = (bytes.len() <= SHOWN && bytes.iter().all(is_plain))
            .then(|| String::from_utf8_lossy(bytes).into_owned());
        let hash = bytes.iter().fold(0u32, |hash, byte| {
            hash.wrapping_mul(MULTIPLIER)
                .wrapping_add(u32::from(*byte) + 1)
        });
        Piece {
            length: bytes.len() as u64,
            hash,
            text,
        }
    }

    /// Puts a piece behind this one.
    pub fn append(&mut self, next: &Piece) {
        let mut power = MULTIPLIER;
        let mut count = next.length;
        let mut factor = 1u32;
        while count > 0 {
            if count & 1 == 1 {
                factor = factor.wrapping_mul(power);
            }
            power = power.wrapping_mul(power);
            count >>= 1;
        }
        self.hash = self.hash.wrapping_mul(factor).wrapping_add(next.hash);
        self.length += next.length;
        self.text = match (&self.text, &next.text) {
            (Some(one), Some(two)) if one.len() + two.len() <= SHOWN => Some(format!("{one}{two}")),
            _ => None,
        };
    }

    /// How it shows: `5 "hello"`, or `100000 hash=0a1b2c3d`.
    pub fn show(&self) -> String {
        match &self.text {
            Some(text) => format!("{} {}", self.length, quote(text)),
            None => format!("{} hash={:08x}", self.length, self.hash),
        }
    }
}
