//! Lines of text from a stream of bytes.
//!
//! The pattern: a read may hold half a line or fifty, and may end in the middle of a character.
//! So bytes are collected up to the end of a line, and only a whole line is decoded. What is
//! collected must have a limit: a peer who never ends his line would take all memory.

use std::fmt;

/// Collects the bytes of the line that is not over yet.
pub struct Lines {
    limit: usize,
    line: Vec<u8>,
    is_too_long: bool,
}

/// What came instead of a line. The next line is not affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLine {
    /// It has more bytes than are allowed; they were thrown away.
    TooLong,
    /// It is not UTF-8.
    NotText,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadLine::TooLong => "that line is too long",
            BadLine::NotText => "that line is not UTF-8 text",
        })
    }
}

impl Lines {
    /// Lines of at most so many bytes, their end not counted.
    pub fn new(limit: usize) -> Lines {
        Lines {
            limit,
            line: Vec::new(),
            is_too_long: false,
        }
    }

    /// Takes bytes from the front of `chunk` until a line is complete, and gives that line without
    /// its end, which is `\n` or `\r\n`. None when the chunk is used up: call again with the next.
    pub fn next(&mut self, chunk: &mut &[u8]) -> Option<Result<String, BadLine>> {
        let Some(end) = chunk.iter().position(|&byte| byte == b'\n') else {
            self.keep(chunk);
            *chunk = &[];
            return None;
        };
        self.keep(&chunk[..end]);
        *chunk = &chunk[end + 1..];
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Some(self.take())
    }

    /// What has come of a line that will not be completed, since the peer has ended.
    pub fn rest(&mut self) -> Option<Result<String, BadLine>> {
        let is_empty = self.line.is_empty() && !self.is_too_long;
        (!is_empty).then(|| self.take())
    }

    fn keep(&mut self, bytes: &[u8]) {
        // One more for the `\r`.
        if self.line.len() + bytes.len() > self.limit + 1 {
            self.is_too_long = true;
        }
        match self.is_too_long {
            true => self.line = Vec::new(),
            false => self.line.extend_from_slice(bytes),
        }
    }

    fn take(&mut self) -> Result<String, BadLine> {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_too_long) || line.len() > self.limit {
            return Err(BadLine::TooLong);
        }
        String::from_utf8(line).map_err(|_| BadLine::NotText)
    }
}
