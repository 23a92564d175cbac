//! How files are opened, read and written.

use std::fmt;
use std::str::FromStr;

use crate::ground::error::{Error, Result};

/// How a file is opened: Node's `flags`. They parse from Node's names and print as them.
///
/// ```
/// use nodeloop::fs::Flags;
///
/// assert_eq!("a+".parse::<Flags>()?, Flags::AppendRead);
/// assert_eq!(Flags::WriteNew.to_string(), "wx");
/// # Ok::<(), nodeloop::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flags {
    /// `r`: for reading; it has to exist.
    Read,
    /// `r+`: for reading and writing; it has to exist.
    ReadWrite,
    /// `w`: for writing; made if it does not exist, emptied if it does.
    Write,
    /// `wx`: for writing; it must not exist.
    WriteNew,
    /// `w+`: as `w`, for reading too.
    WriteRead,
    /// `wx+`: as `wx`, for reading too.
    WriteReadNew,
    /// `a`: for writing at the end, wherever that is by then; made if it does not exist.
    Append,
    /// `ax`: as `a`; it must not exist.
    AppendNew,
    /// `a+`: as `a`, for reading too.
    AppendRead,
    /// `ax+`: as `ax`, for reading too.
    AppendReadNew,
}

/// The flags and their names.
const NAMES: [(Flags, &str); 10] = [
    (Flags::Read, "r"),
    (Flags::ReadWrite, "r+"),
    (Flags::Write, "w"),
    (Flags::WriteNew, "wx"),
    (Flags::WriteRead, "w+"),
    (Flags::WriteReadNew, "wx+"),
    (Flags::Append, "a"),
    (Flags::AppendNew, "ax"),
    (Flags::AppendRead, "a+"),
    (Flags::AppendReadNew, "ax+"),
];

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(flags, _)| flags == self);
        f.pad(name.map_or("", |(_, name)| name))
    }
}

impl FromStr for Flags {
    type Err = Error;

    /// # Errors
    /// - `ERR_INVALID_ARG_VALUE` for an unknown name, as Node's. The synchronous ones (`rs+`, `as`,
    ///   `sr`) are not supported.
    fn from_str(name: &str) -> Result<Flags> {
        // Node takes the `x` in front, too.
        let normal = match name {
            "xw" => "wx",
            "xw+" => "wx+",
            "xa" => "ax",
            "xa+" => "ax+",
            name => name,
        };
        let found = NAMES.iter().find(|(_, other)| *other == normal);
        found.map(|(flags, _)| *flags).ok_or_else(|| {
            let message = format!("The argument 'flags' is invalid. Received '{name}'");
            Error::library("ERR_INVALID_ARG_VALUE", &message)
        })
    }
}

/// The mark in bytes of a file's stream: Node's `highWaterMark`.
pub const DEFAULT_HIGH_WATER_MARK: usize = 64 * 1024;

/// The permissions of a file that is made, less the process's mask: Node's `mode`.
pub const DEFAULT_MODE: u32 = 0o666;

/// How a file is read: the options of Node's `fs.createReadStream`.
///
/// ```
/// use nodeloop::fs::{self, ReadOptions};
///
/// # fn main() -> nodeloop::Result<()> {
/// # let lp = nodeloop::Loop::new()?;
/// // The second kilobyte.
/// let options = ReadOptions::new().start(1024).end(2047);
/// let stream = fs::create_read_stream_with(&lp, "Cargo.toml", options)?;
/// stream.on_data(|_, chunk| assert!(chunk.len() <= 1024));
/// lp.run()
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing by themselves"]
pub struct ReadOptions {
    pub(super) flags: Flags,
    pub(super) mode: u32,
    pub(super) start: Option<u64>,
    pub(super) end: Option<u64>,
    pub(super) high_water_mark: usize,
    pub(super) auto_close: bool,
    pub(super) emit_close: bool,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions::new()
    }
}

impl ReadOptions {
    /// From the beginning to the end, 64 KiB at a time.
    pub fn new() -> ReadOptions {
        ReadOptions {
            flags: Flags::Read,
            mode: DEFAULT_MODE,
            start: None,
            end: None,
            high_water_mark: DEFAULT_HIGH_WATER_MARK,
            auto_close: true,
            emit_close: true,
        }
    }

    /// How the file is opened; `r` by default.
    pub fn flags(mut self, flags: Flags) -> ReadOptions {
        self.flags = flags;
        self
    }

    /// The permissions of a file that the flags create; [`DEFAULT_MODE`] by default.
    pub fn mode(mut self, mode: u32) -> ReadOptions {
        self.mode = mode;
        self
    }

    /// The first byte to read. Without it reading begins at the descriptor's position, so a file
    /// that has no positions, such as a pipe, can be read too.
    pub fn start(mut self, start: u64) -> ReadOptions {
        self.start = Some(start);
        self
    }

    /// The last byte to read; `end` itself is read too.
    pub fn end(mut self, end: u64) -> ReadOptions {
        self.end = Some(end);
        self
    }

    /// The bytes of one read, and how many are read ahead; [`DEFAULT_HIGH_WATER_MARK`] by default.
    /// If there is not enough memory, reading fails with `ERR_MEMORY_ALLOCATION_FAILED`.
    pub fn high_water_mark(mut self, bytes: usize) -> ReadOptions {
        self.high_water_mark = bytes;
        self
    }

    /// Whether the file is closed at its end and on an error. If not, `destroy` closes it.
    pub fn auto_close(mut self, closes: bool) -> ReadOptions {
        self.auto_close = closes;
        self
    }

    /// Whether 'close' is emitted.
    pub fn emit_close(mut self, emits: bool) -> ReadOptions {
        self.emit_close = emits;
        self
    }

    /// # Errors
    /// - `ERR_OUT_OF_RANGE` if the end is before the start.
    pub(super) fn check(&self) -> Result<()> {
        match (self.start, self.end) {
            (Some(start), Some(end)) if start > end => Err(Error::library(
                "ERR_OUT_OF_RANGE",
                &format!(
                    "The value of \"start\" is out of range. It must be <= \"end\" (here: {end}). Received {start}"
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// How a file is written: the options of Node's `fs.createWriteStream`.
///
/// ```
/// use nodeloop::fs::{self, Flags, WriteOptions};
///
/// # fn main() -> nodeloop::Result<()> {
/// # let lp = nodeloop::Loop::new()?;
/// # let path = std::env::temp_dir().join(format!("nodeloop-doc-{}", std::process::id()));
/// let options = WriteOptions::new().flags(Flags::Append).flush(true);
/// let log = fs::create_write_stream_with(&lp, &path, options);
/// log.write("a line\n");
/// log.end();
/// lp.run()?;
/// # std::fs::remove_file(path).unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing by themselves"]
pub struct WriteOptions {
    pub(super) flags: Flags,
    pub(super) mode: u32,
    pub(super) start: Option<u64>,
    pub(super) flush: bool,
    pub(super) high_water_mark: usize,
    pub(super) auto_close: bool,
    pub(super) emit_close: bool,
}

impl Default for WriteOptions {
    fn default() -> WriteOptions {
        WriteOptions::new()
    }
}

impl WriteOptions {
    /// Overwrites the file from the beginning.
    pub fn new() -> WriteOptions {
        WriteOptions {
            flags: Flags::Write,
            mode: DEFAULT_MODE,
            start: None,
            flush: false,
            high_water_mark: DEFAULT_HIGH_WATER_MARK,
            auto_close: true,
            emit_close: true,
        }
    }

    /// How the file is opened; `w` by default. Writing within an existing file takes `r+`.
    pub fn flags(mut self, flags: Flags) -> WriteOptions {
        self.flags = flags;
        self
    }

    /// The permissions of a file that the flags create; [`DEFAULT_MODE`] by default.
    pub fn mode(mut self, mode: u32) -> WriteOptions {
        self.mode = mode;
        self
    }

    /// Where the first byte is written. Without it writing begins at the descriptor's position.
    pub fn start(mut self, start: u64) -> WriteOptions {
        self.start = Some(start);
        self
    }

    /// Whether everything is flushed to the disk (`fsync`) before the file is closed.
    pub fn flush(mut self, flush: bool) -> WriteOptions {
        self.flush = flush;
        self
    }

    /// The mark in bytes at which `write` returns false: [`DEFAULT_HIGH_WATER_MARK`].
    pub fn high_water_mark(mut self, bytes: usize) -> WriteOptions {
        self.high_water_mark = bytes;
        self
    }

    /// Whether the file is closed after 'finish' and on an error. If not, `destroy` and `close`
    /// close it.
    pub fn auto_close(mut self, closes: bool) -> WriteOptions {
        self.auto_close = closes;
        self
    }

    /// Whether 'close' is emitted.
    pub fn emit_close(mut self, emits: bool) -> WriteOptions {
        self.emit_close = emits;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_nodes_names() {
        for (flags, name) in NAMES {
            assert_eq!(name.parse::<Flags>().unwrap(), flags);
            assert_eq!(flags.to_string(), name);
        }
        assert_eq!("xa+".parse::<Flags>().unwrap(), Flags::AppendReadNew);
        let error = "rw".parse::<Flags>().unwrap_err();
        assert_eq!(error.code(), Some("ERR_INVALID_ARG_VALUE"));
    }

    #[test]
    fn an_end_in_front_of_the_start_is_out_of_range() {
        assert!(ReadOptions::new().start(5).end(5).check().is_ok());
        let error = ReadOptions::new().start(6).end(5).check().unwrap_err();
        assert_eq!(error.code(), Some("ERR_OUT_OF_RANGE"));
    }
}
