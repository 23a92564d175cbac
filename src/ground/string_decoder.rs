//! Text that comes in pieces: characters that were cut apart come out whole.

use super::encoding::Encoding;

/// Turns bytes that come in pieces into text: Node's `StringDecoder`.
///
/// What a piece cuts off at its end, a part of a UTF-8 character, half a surrogate pair, one or two
/// bytes of a base64 group, waits for the next piece. What is invalid becomes U+FFFD, where and as
/// often as in Node.
///
/// ```
/// use nodeloop::{Encoding, StringDecoder};
///
/// let mut decoder = StringDecoder::new(Encoding::Utf8);
/// let euro = "€".as_bytes();
/// assert_eq!(decoder.write(&euro[..2]), "");
/// assert_eq!(decoder.write(&euro[2..]), "€");
/// assert_eq!(decoder.write(&euro[..1]), "");
/// assert_eq!(decoder.end(), "\u{FFFD}");
/// ```
#[derive(Debug, Clone)]
pub struct StringDecoder {
    encoding: Encoding,
    /// What was cut off: the beginning of a character.
    cut: [u8; 4],
    /// How much of it there is.
    buffered: usize,
    /// How many bytes it lacks.
    missing: usize,
}

impl StringDecoder {
    /// A decoder that has seen nothing.
    pub fn new(encoding: Encoding) -> StringDecoder {
        StringDecoder {
            encoding,
            cut: [0; 4],
            buffered: 0,
            missing: 0,
        }
    }

    /// The encoding.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The text of a piece, with what was cut off before: Node's `decoder.write`.
    pub fn write(&mut self, bytes: &[u8]) -> String {
        let mut text = String::new();
        self.write_into(bytes, &mut text);
        text
    }

    /// As [`write`](StringDecoder::write), appended to a string of yours.
    pub fn write_into(&mut self, mut bytes: &[u8], text: &mut String) {
        // Twice, if half of a surrogate pair is completed.
        while self.missing > 0 && !bytes.is_empty() {
            bytes = self.complete(bytes, text);
        }
        if bytes.is_empty() {
            return;
        }
        let kept = bytes.len() - self.cut_off(bytes);
        self.cut[..self.buffered].copy_from_slice(&bytes[kept..]);
        self.encoding.decode_into(&bytes[..kept], text);
    }

    /// The text of what was cut off and has not been completed: Node's `decoder.end`. The decoder is
    /// as new afterwards.
    pub fn end(&mut self) -> String {
        let mut rest = self.buffered;
        if self.encoding == Encoding::Utf16le {
            // An odd byte is dropped.
            rest -= rest % 2;
        }
        let text = self.encoding.decode(&self.cut[..rest]);
        (self.buffered, self.missing) = (0, 0);
        text
    }

    /// Whether [`end`](StringDecoder::end) has something to tell.
    pub(crate) fn has_rest(&self) -> bool {
        match self.encoding {
            Encoding::Utf16le => self.buffered >= 2,
            _ => self.buffered > 0,
        }
    }

    /// Completes what was cut off, as far as `bytes` do. Returns the rest of them.
    fn complete<'a>(&mut self, bytes: &'a [u8], text: &mut String) -> &'a [u8] {
        let mut taken = self.missing.min(bytes.len());
        let mut missing = self.missing - taken;
        if self.encoding == Encoding::Utf8 {
            let continues = |byte: &&u8| **byte & 0xC0 == 0x80;
            let continuing = bytes[..taken].iter().take_while(continues).count();
            if continuing < taken {
                // Another character begins: this one remains as it is, and is invalid.
                (taken, missing) = (continuing, 0);
            }
        }
        let (now, rest) = bytes.split_at(taken);
        self.cut[self.buffered..self.buffered + taken].copy_from_slice(now);
        self.buffered += taken;
        self.missing = missing;
        if missing > 0 {
            return rest;
        }
        let whole = self.buffered;
        self.buffered = 0;
        let mut kept = whole;
        if self.encoding == Encoding::Utf16le && is_high_surrogate(&self.cut[whole - 2..whole]) {
            // What was completed is, or ends with, the first half of a pair.
            kept = whole - 2;
            (self.buffered, self.missing) = (2, 2);
        }
        self.encoding.decode_into(&self.cut[..kept], text);
        self.cut.copy_within(kept..whole, 0);
        rest
    }

    /// Notes how many bytes at the end of a piece begin a character that goes on. Returns it.
    fn cut_off(&mut self, bytes: &[u8]) -> usize {
        let (buffered, missing) = match self.encoding {
            Encoding::Utf8 => utf8_cut_off(bytes),
            Encoding::Utf16le => utf16_cut_off(bytes),
            Encoding::Base64 | Encoding::Base64url => match bytes.len() % 3 {
                0 => (0, 0),
                odd => (odd, 3 - odd),
            },
            Encoding::Latin1 | Encoding::Ascii | Encoding::Hex => (0, 0),
        };
        (self.buffered, self.missing) = (buffered, missing);
        buffered
    }
}

/// How many bytes at the end begin a character, and how many it lacks. Looks no further back than a
/// character is long; what has no beginning there is invalid, and the decoder's matter.
fn utf8_cut_off(bytes: &[u8]) -> (usize, usize) {
    for (back, byte) in bytes.iter().rev().take(4).enumerate() {
        let there = back + 1;
        let length = match byte {
            0x00..=0x7F => 1,
            // It goes on with what stands before.
            0x80..=0xBF => continue,
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            0xF8..=0xFF => 0,
        };
        return match there < length {
            true => (there, length - there),
            false => (0, 0),
        };
    }
    (0, 0)
}

/// The same for UTF-16: an odd byte, half a pair, or both.
fn utf16_cut_off(bytes: &[u8]) -> (usize, usize) {
    let odd = bytes.len() % 2;
    let whole = bytes.len() - odd;
    match whole >= 2 && is_high_surrogate(&bytes[whole - 2..whole]) {
        true => (2 + odd, 2 - odd),
        false => (odd, odd),
    }
}

/// Whether a UTF-16 unit is the first half of a pair.
fn is_high_surrogate(unit: &[u8]) -> bool {
    unit[1] & 0xFC == 0xD8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way to cut a text into three pieces gives the text.
    fn whole_in_pieces(encoding: Encoding, bytes: &[u8]) {
        let expected = encoding.decode(bytes);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let mut decoder = StringDecoder::new(encoding);
                let mut text = decoder.write(&bytes[..first]);
                text += &decoder.write(&bytes[first..second]);
                text += &decoder.write(&bytes[second..]);
                text += &decoder.end();
                assert_eq!(text, expected, "{encoding} {first} {second}");
            }
        }
    }

    #[test]
    fn characters_come_out_whole() {
        let text = "aé€𝄞z\u{FEFF}я中";
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        whole_in_pieces(Encoding::Utf8, text.as_bytes());
        whole_in_pieces(Encoding::Utf16le, &utf16);
        for encoding in [
            Encoding::Latin1,
            Encoding::Ascii,
            Encoding::Hex,
            Encoding::Base64,
            Encoding::Base64url,
        ] {
            whole_in_pieces(encoding, text.as_bytes());
        }
    }

    #[test]
    fn n227_a_character_that_does_not_go_on_is_one_replacement() {
        let mut decoder = StringDecoder::new(Encoding::Utf8);
        assert_eq!(decoder.write(b"\xE2\x82"), "");
        assert_eq!(decoder.write(b"A\xF0"), "\u{FFFD}A");
        assert_eq!(decoder.end(), "\u{FFFD}");
        assert_eq!(decoder.end(), "");
        assert_eq!(decoder.write(b"B"), "B");
    }

    #[test]
    fn n228_the_halves_of_a_pair_wait_for_each_other() {
        let mut decoder = StringDecoder::new(Encoding::Utf16le);
        for (piece, text) in [
            (&[0x34, 0xD8, 0x1E][..], ""),
            (&[0xDD], "𝄞"),
            (&[0x34], ""),
            (&[0xD8], ""),
            (&[0x1E], ""),
            (&[0xDD, 0x41, 0x00], "𝄞A"),
        ] {
            assert_eq!(decoder.write(piece), text);
        }
    }

    #[test]
    fn an_odd_byte_at_the_end_of_utf16_is_dropped() {
        let mut decoder = StringDecoder::new(Encoding::Utf16le);
        assert_eq!(decoder.write(&[0x41, 0x00, 0x42]), "A");
        assert_eq!(decoder.end(), "");
    }
}
