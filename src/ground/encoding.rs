//! Encodings of text: how bytes are shown as a string, as Node's `buffer.toString(encoding)` does.

use std::fmt;
use std::str::FromStr;

use super::error::Error;

/// How bytes become text: Node's `BufferEncoding`.
///
/// The names are Node's and are taken in any case: `utf8` and `utf-8`; `utf16le`, `utf-16le`, `ucs2`
/// and `ucs-2`; `latin1` and `binary`; `ascii`; `hex`; `base64`; `base64url`.
///
/// ```
/// use nodeloop::Encoding;
///
/// let encoding: Encoding = "UTF-8".parse()?;
/// assert_eq!(encoding.to_string(), "utf8");
/// assert_eq!(Encoding::Hex.decode(&[0xCA, 0xFE]), "cafe");
/// # Ok::<(), nodeloop::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// UTF-8; what is invalid becomes U+FFFD, one for each maximal part (N227).
    #[default]
    Utf8,
    /// UTF-16, little-endian. A surrogate without its other half becomes U+FFFD, since a Rust string
    /// can't hold it; Node's can.
    Utf16le,
    /// One byte, one character: U+0000 to U+00FF.
    Latin1,
    /// Seven bits of each byte.
    Ascii,
    /// Two lower-case digits a byte.
    Hex,
    /// Base64 with padding.
    Base64,
    /// Base64 with `-` and `_`, without padding.
    Base64url,
}

impl Encoding {
    /// The text of some bytes, which stand for themselves: a character that is cut off at the end
    /// counts as invalid. For bytes that come in pieces there is
    /// [`StringDecoder`](crate::StringDecoder).
    pub fn decode(self, bytes: &[u8]) -> String {
        let mut text = String::new();
        self.decode_into(bytes, &mut text);
        text
    }

    /// Appends the text of some bytes.
    pub(crate) fn decode_into(self, bytes: &[u8], text: &mut String) {
        match self {
            Encoding::Utf8 => text.push_str(&String::from_utf8_lossy(bytes)),
            Encoding::Utf16le => {
                let units = bytes
                    .chunks_exact(2)
                    .map(|it| u16::from_le_bytes([it[0], it[1]]));
                let chars = char::decode_utf16(units);
                text.extend(chars.map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)));
            }
            Encoding::Latin1 => text.extend(bytes.iter().map(|byte| char::from(*byte))),
            Encoding::Ascii => text.extend(bytes.iter().map(|byte| char::from(byte & 0x7F))),
            Encoding::Hex => {
                let digit = |value: u8| char::from(HEX[usize::from(value)]);
                text.extend(bytes.iter().flat_map(|it| [digit(it >> 4), digit(it & 15)]));
            }
            Encoding::Base64 => base64(bytes, BASE64, true, text),
            Encoding::Base64url => base64(bytes, BASE64_URL, false, text),
        }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// RFC 4648: three bytes are four digits, what is left over two or three.
fn base64(bytes: &[u8], digits: &[u8; 64], pads: bool, text: &mut String) {
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            if at <= group.len() {
                let digit = bits >> (18 - 6 * at) & 63;
                text.push(char::from(digits[digit as usize]));
            } else if pads {
                text.push('=');
            }
        }
    }
}

impl FromStr for Encoding {
    type Err = Error;

    /// # Errors
    /// - `ERR_UNKNOWN_ENCODING`, as Node's.
    fn from_str(name: &str) -> Result<Encoding, Error> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "utf8" | "utf-8" => Encoding::Utf8,
            "utf16le" | "utf-16le" | "ucs2" | "ucs-2" => Encoding::Utf16le,
            "latin1" | "binary" => Encoding::Latin1,
            "ascii" => Encoding::Ascii,
            "hex" => Encoding::Hex,
            "base64" => Encoding::Base64,
            "base64url" => Encoding::Base64url,
            _ => {
                let message = format!("Unknown encoding: {name}");
                return Err(Error::library("ERR_UNKNOWN_ENCODING", &message));
            }
        })
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encoding::Utf8 => "utf8",
            Encoding::Utf16le => "utf16le",
            Encoding::Latin1 => "latin1",
            Encoding::Ascii => "ascii",
            Encoding::Hex => "hex",
            Encoding::Base64 => "base64",
            Encoding::Base64url => "base64url",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_encoding_shows_bytes_as_node_does() {
        let bytes = &[0x48, 0xC3, 0xA9, 0xFF];
        for (encoding, text) in [
            (Encoding::Utf8, "Hé\u{FFFD}"),
            (Encoding::Utf16le, "썈\u{FFA9}"),
            (Encoding::Latin1, "HÃ©ÿ"),
            (Encoding::Ascii, "HC)\u{7F}"),
            (Encoding::Hex, "48c3a9ff"),
            (Encoding::Base64, "SMOp/w=="),
            (Encoding::Base64url, "SMOp_w"),
        ] {
            assert_eq!(encoding.decode(bytes), text, "{encoding}");
        }
    }

    #[test]
    fn base64_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(Encoding::Base64.decode(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn n230_names_are_taken_in_any_case() {
        for (name, encoding) in [
            ("UTF8", "utf8"),
            ("utf-8", "utf8"),
            ("UCS2", "utf16le"),
            ("binary", "latin1"),
            ("Base64URL", "base64url"),
        ] {
            assert_eq!(name.parse::<Encoding>().unwrap().to_string(), encoding);
        }
        let error = "utf9".parse::<Encoding>().unwrap_err();
        assert_eq!(error.code(), Some("ERR_UNKNOWN_ENCODING"));
    }
}
