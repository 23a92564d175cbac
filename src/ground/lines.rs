//! Lines of text that comes in pieces, cut as Node's `readline` does.

use super::encoding::Encoding;
use super::string_decoder::StringDecoder;

/// How long after `\r` a `\n` in another piece still belongs to it, at least: Node's `kMincrlfDelay`.
const MIN_CRLF_DELAY_MS: u64 = 100;

/// Cuts UTF-8 into lines. A line ends with `\n`, `\r\n`, `\r`, U+2028 or U+2029.
pub(crate) struct Lines {
    decoder: StringDecoder,
    /// The beginning of a line that goes on.
    partial: String,
    /// When a piece has ended with `\r`: a `\n` that comes soon belongs to it.
    return_at_ms: Option<u64>,
    crlf_delay_ms: u64,
}

impl Lines {
    pub(crate) fn new(crlf_delay_ms: u64) -> Lines {
        Lines {
            decoder: StringDecoder::new(Encoding::Utf8),
            partial: String::new(),
            return_at_ms: None,
            crlf_delay_ms: crlf_delay_ms.max(MIN_CRLF_DELAY_MS),
        }
    }

    /// How long a `\n` still belongs to the `\r` before it.
    pub(crate) fn set_crlf_delay(&mut self, ms: u64) {
        self.crlf_delay_ms = ms.max(MIN_CRLF_DELAY_MS);
    }

    /// The lines that a piece completes.
    pub(crate) fn push(&mut self, bytes: &[u8], now_ms: u64) -> Vec<String> {
        let text = self.decoder.write(bytes);
        let mut text = text.as_str();
        if let Some(return_at_ms) = self.return_at_ms
            && now_ms.saturating_sub(return_at_ms) <= self.crlf_delay_ms
        {
            text = text.strip_prefix('\n').unwrap_or(text);
            self.return_at_ms = None;
        }
        let mut lines = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['\n', '\r', '\u{2028}', '\u{2029}']) {
            let (line, end) = rest.split_at(at);
            let ended = end.strip_prefix("\r\n");
            let ended = ended.or_else(|| end.strip_prefix(|_: char| true));
            rest = ended.unwrap_or_default();
            let mut whole = std::mem::take(&mut self.partial);
            whole.push_str(line);
            lines.push(whole);
        }
        self.partial.push_str(rest);
        if !lines.is_empty() {
            self.return_at_ms = text.ends_with('\r').then_some(now_ms);
        }
        lines
    }

    /// What stands behind the last line's end, at the end of everything. A character that was cut off
    /// is dropped, as in Node.
    pub(crate) fn finish(&mut self) -> Option<String> {
        let last = std::mem::take(&mut self.partial);
        (!last.is_empty()).then_some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pieces: &[(&str, u64)], expected: &[&str], last: Option<&str>) {
        let mut lines = Lines::new(0);
        let mut found = Vec::new();
        for (piece, now_ms) in pieces {
            found.extend(lines.push(piece.as_bytes(), *now_ms));
        }
        assert_eq!(found, expected);
        assert_eq!(lines.finish().as_deref(), last);
    }

    #[test]
    fn each_end_of_a_line() {
        check(
            &[("a\nb\r\nc\rd\u{2028}e\u{2029}", 0)],
            &["a", "b", "c", "d", "e"],
            None,
        );
        check(&[("\n\r\r\n", 0)], &["", "", ""], None);
    }

    #[test]
    fn a_line_in_pieces_and_one_without_an_end() {
        check(&[("a", 0), ("b\nc", 0), ("d", 0)], &["ab"], Some("cd"));
        check(&[("", 0)], &[], None);
    }

    #[test]
    fn a_line_feed_soon_behind_a_return_belongs_to_it() {
        check(&[("a\r", 0), ("\nb\n", 100)], &["a", "b"], None);
        check(&[("a\r", 0), ("\nb\n", 101)], &["a", "", "b"], None);
        check(&[("a\r", 0), ("\n", 1), ("\n", 1)], &["a", ""], None);
        check(&[("a\r", 0), ("b", 1), ("\n", 1)], &["a", "b"], None);
    }

    #[test]
    fn how_soon_can_be_said_and_is_100_ms_at_least() {
        let found = |delay_ms, fed_ms| {
            let mut lines = Lines::new(0);
            lines.set_crlf_delay(delay_ms);
            lines.push(b"a\r", 0);
            lines.push(b"\n", fed_ms).len()
        };
        assert_eq!([found(500, 500), found(500, 501)], [0, 1]);
        assert_eq!([found(0, 100), found(0, 101)], [0, 1]);
    }

    #[test]
    fn characters_come_out_whole() {
        let mut lines = Lines::new(0);
        assert!(lines.push(b"\xE2\x80", 0).is_empty());
        assert_eq!(lines.push(b"\xA8", 0), [""]);
        assert!(lines.push(b"a\xE2", 0).is_empty());
        assert_eq!(lines.finish().as_deref(), Some("a"));
    }
}
