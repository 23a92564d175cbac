//! What worker threads do with files. Each function blocks; nothing here knows of a loop.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::path::Path;

use bytes::{Bytes, BytesMut};

use super::options::Flags;
use crate::backend::KernelPipe;
use crate::ground::large_buffer;

/// How often a write may take nothing before it has failed: Node's number.
const FRUITLESS_WRITES: u32 = 5;

/// Buffers of one vectored write. More than the system takes is a short write.
const BUFFERS: usize = 64;

/// Opens a file. `mode` are the permissions of one that is made, less the process's mask.
pub(super) fn open(path: &Path, flags: Flags, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let reads = matches!(
        flags,
        Flags::Read
            | Flags::ReadWrite
            | Flags::WriteRead
            | Flags::WriteReadNew
            | Flags::AppendRead
            | Flags::AppendReadNew
    );
    options.read(reads);
    match flags {
        Flags::Read => {}
        Flags::ReadWrite => {
            options.write(true);
        }
        Flags::Write | Flags::WriteRead => {
            options.write(true).create(true).truncate(true);
        }
        Flags::WriteNew | Flags::WriteReadNew => {
            options.write(true).create_new(true);
        }
        Flags::Append | Flags::AppendRead => {
            options.append(true).create(true);
        }
        Flags::AppendNew | Flags::AppendReadNew => {
            options.append(true).create_new(true);
        }
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)
}

/// One read of up to `size` bytes: at a position, or where the descriptor stands. Nothing is the end.
pub(super) fn read(file: &File, position: Option<u64>, size: usize) -> io::Result<Bytes> {
    if !large_buffer::is_possible(size) {
        return Err(ErrorKind::OutOfMemory.into());
    }
    let mut buffer = BytesMut::zeroed(size);
    let read = loop {
        let result = match position {
            Some(position) => read_at(file, &mut buffer, position),
            None => (&mut &*file).read(&mut buffer),
        };
        match result {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => break result?,
        }
    };
    if read < size / 2 {
        // A small read does not hold a large buffer.
        return Ok(Bytes::copy_from_slice(&buffer[..read]));
    }
    buffer.truncate(read);
    Ok(buffer.freeze())
}

/// What was taken of a file.
pub(super) enum Taken {
    /// Bytes.
    Read(io::Result<Bytes>),
    /// How many bytes, which are in a pipe of the kernel's.
    Unread(KernelPipe, io::Result<usize>),
}

/// Takes up to `size` bytes of a file, from `position` on or from where the descriptor stands, into a pipe of
/// the kernel's. Where that can't be it does what `otherwise` does.
pub(super) fn take(
    file: &File,
    position: Option<u64>,
    size: usize,
    pipe: KernelPipe,
    otherwise: impl FnOnce() -> io::Result<Bytes>,
) -> Taken {
    match pipe.fill(file, position, size) {
        Err(error) if error.kind() == ErrorKind::Unsupported => Taken::Read(otherwise()),
        result => Taken::Unread(pipe, result),
    }
}

/// Writes all of some chunks, in order: from a position on, or where the descriptor stands. Returns how
/// many bytes it has written, also if it has failed behind them.
pub(super) fn write(
    file: &File,
    mut position: Option<u64>,
    chunks: &[Bytes],
) -> (u64, io::Result<()>) {
    let mut written = 0;
    let mut fruitless = 0;
    // The chunk that comes next, and how much of it was written.
    let (mut next, mut offset) = (0, 0);
    while next < chunks.len() {
        if offset == chunks[next].len() {
            (next, offset) = (next + 1, 0);
            continue;
        }
        let rest = &chunks[next][offset..];
        let result = match position {
            Some(position) => write_at(file, rest, position),
            None => {
                let more = chunks[next + 1..].iter().take(BUFFERS - 1);
                let slices: Vec<IoSlice<'_>> = std::iter::once(rest)
                    .chain(more.map(|chunk| &chunk[..]))
                    .map(IoSlice::new)
                    .collect();
                (&mut &*file).write_vectored(&slices)
            }
        };
        let mut size = match result {
            Ok(size) => size,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // Nothing is taken now. Tried again, as Node does, but not for ever.
            Err(error) if error.kind() == ErrorKind::WouldBlock && fruitless < FRUITLESS_WRITES => {
                0
            }
            Err(error) => return (written, Err(error)),
        };
        match size {
            0 if fruitless == FRUITLESS_WRITES => {
                return (written, Err(ErrorKind::WriteZero.into()));
            }
            0 => fruitless += 1,
            _ => fruitless = 0,
        }
        written += size as u64;
        position = position.map(|position| position + size as u64);
        while size > 0 {
            let of_this = size.min(chunks[next].len() - offset);
            offset += of_this;
            size -= of_this;
            if offset == chunks[next].len() {
                (next, offset) = (next + 1, 0);
            }
        }
    }
    (written, Ok(()))
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, position)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], position: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, position)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, position)
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], position: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, position)
}
