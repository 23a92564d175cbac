//! Reading a file as a stream.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::file;
use super::options::ReadOptions;
use super::state::{self, FileState, OPEN, Opening, READY};
use super::unread;
use crate::event_loop::api::AsLoop;
use crate::event_loop::extension::add_listener;
use crate::ground::error::{Error, Result};
use crate::ground::large_buffer;
use crate::ground::listeners::{ListenerId, shared};
use crate::stream::delegate::delegate_readable;
use crate::stream::{Readable, ReadableOptions, attach};

/// A file that is read: Node's `fs.ReadStream`.
///
/// It has the methods and events of a [`Readable`], plus those here. Its listeners are given the
/// `Readable`: capture this handle to ask about the file. [Worker
/// threads](crate::Builder::worker_threads) open, read and close the file, so the loop never waits
/// for a disk. The file is closed at its end, on an error and by `destroy`; then 'close' comes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReadStream(Readable);

/// Reads a file: Node's `fs.createReadStream(path)`. A worker thread opens it at once.
///
/// A failure is an 'error', followed by 'close': `ENOENT`, `EACCES`, `EISDIR` (from the first read,
/// as in Node) …, with the [system call](Error::syscall) and, if that is `open`, the
/// [path](Error::path).
///
/// ```
/// use nodeloop::{fs, Loop};
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = Loop::new()?;
/// let file = fs::create_read_stream(&lp, "Cargo.toml");
/// file.on_data(|_, chunk| print!("{}", String::from_utf8_lossy(chunk)));
/// file.on_error(|_, error| eprintln!("{error}"));
/// lp.run()
/// # }
/// ```
#[track_caller]
pub fn create_read_stream(lp: &impl AsLoop, path: impl AsRef<Path>) -> ReadStream {
    let opening = opening(path.as_ref(), &ReadOptions::new());
    create(
        lp,
        Some(opening),
        None,
        &ReadOptions::new(),
        Location::caller(),
    )
}

/// Reads a file with options: Node's `fs.createReadStream(path, options)`.
///
/// # Errors
/// - `ERR_OUT_OF_RANGE` if the end is before the start.
#[track_caller]
pub fn create_read_stream_with(
    lp: &impl AsLoop,
    path: impl AsRef<Path>,
    options: ReadOptions,
) -> Result<ReadStream> {
    options.check()?;
    let opening = opening(path.as_ref(), &options);
    let origin = Location::caller();
    Ok(create(lp, Some(opening), None, &options, origin))
}

fn opening(path: &Path, options: &ReadOptions) -> Opening {
    Opening {
        path: path.to_path_buf(),
        flags: options.flags,
        mode: options.mode,
    }
}

fn create(
    lp: &impl AsLoop,
    mut opening: Option<Opening>,
    file: Option<File>,
    options: &ReadOptions,
    origin: &'static Location<'static>,
) -> ReadStream {
    let state = FileState {
        file: file.map(Arc::new),
        path: opening
            .as_ref()
            .map(|opening| opening.path.as_path().into()),
        end: options.end.unwrap_or(u64::MAX),
        ..FileState::new(origin, options.start)
    };
    let stream = ReadableOptions::new()
        .high_water_mark(options.high_water_mark)
        .auto_destroy(options.auto_close)
        .emit_close(options.emit_close)
        .construct(move |stream, done| state::open(stream.0, opening.take(), done))
        .read(read)
        .destroy(|stream, error, done| state::close(stream.0, error, done))
        .create_at(lp, origin);
    attach(stream.0, Box::new(state));
    ReadStream(stream)
}

/// What is read next.
pub(super) struct Next {
    pub(super) file: Arc<File>,
    /// Where it is; none if that is where the descriptor stands.
    pub(super) position: Option<u64>,
    /// How many bytes are read at most.
    pub(super) size: usize,
    pub(super) origin: &'static Location<'static>,
}

/// The stream's `read`: has a worker read (Node's `_read`).
fn read(stream: Readable, size: usize) {
    let raw = stream.0;
    let next = state::with(raw, |it| {
        let size = usize::try_from(it.left()).map_or(size, |left| left.min(size));
        let file = it.file.clone()?;
        it.is_busy = size > 0;
        Some(Next {
            file,
            position: it.position,
            size,
            origin: it.origin,
        })
    });
    let Some(next) = next.flatten() else {
        return;
    };
    if next.size == 0 {
        return stream.push_end();
    }
    let Some(next) = unread::take(stream, next) else {
        return;
    };
    let read = move || file::read(&next.file, next.position, next.size);
    state::work(raw, next.origin, read, move |result| {
        has_read(stream, result);
    });
}

/// A worker has read.
pub(super) fn has_read(stream: Readable, result: Result<io::Result<Bytes>>) {
    let raw = stream.0;
    let result = match result {
        Ok(result) => result.map_err(|error| match error.kind() {
            // Not the system's: its errors have a number.
            ErrorKind::OutOfMemory if error.raw_os_error().is_none() => large_buffer::no_memory(),
            _ => Error::file("read", error, None),
        }),
        Err(error) => Err(error),
    };
    if stream.destroyed() {
        return state::idle(raw, result.err());
    }
    state::with(raw, |it| {
        it.is_busy = false;
        if let Ok(chunk) = &result {
            it.advance(chunk.len());
        }
    });
    match result {
        Ok(chunk) if chunk.is_empty() => stream.push_end(),
        Ok(chunk) => {
            stream.push(chunk);
        }
        Err(error) => stream.fail(error),
    }
}

impl ReadStream {
    /// Reads an open file: Node's option `fd`. There is no 'open' and no 'ready'. The stream closes
    /// it like one that it opened; to keep the file open pass a clone (`File::try_clone`).
    ///
    /// # Errors
    /// - `ERR_OUT_OF_RANGE` if the end is before the start.
    ///
    /// ```
    /// use nodeloop::fs::{ReadOptions, ReadStream};
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// let file = std::fs::File::open("Cargo.toml").expect("it is there");
    /// let stream = ReadStream::from_file(&lp, file, ReadOptions::new().end(8))?;
    /// stream.on_data(|_, chunk| assert_eq!(chunk, b"[package]"));
    /// lp.run()
    /// # }
    /// ```
    #[track_caller]
    pub fn from_file(lp: &impl AsLoop, file: File, options: ReadOptions) -> Result<ReadStream> {
        options.check()?;
        Ok(create(lp, None, Some(file), &options, Location::caller()))
    }

    /// The path of the file: Node's `readStream.path`. None if the stream was made from an open
    /// file, and once the stream is gone.
    pub fn path(self) -> Option<PathBuf> {
        state::with(self.0.0, |it| Some(it.path.as_ref()?.to_path_buf())).flatten()
    }

    /// Bytes read so far, those that are buffered included: Node's `readStream.bytesRead`.
    pub fn bytes_read(self) -> u64 {
        state::with(self.0.0, |it| it.bytes).unwrap_or(0)
    }

    /// Whether the file is not open yet, or no longer: Node's `readStream.pending`.
    pub fn pending(self) -> bool {
        state::with(self.0.0, |it| it.file.is_none()).unwrap_or(true)
    }

    /// Closes the file, whether its end was reached or not: Node's `readStream.close`, the same as
    /// `destroy`.
    pub fn close(self) {
        self.0.destroy();
    }

    /// Adds a listener for 'open', which comes in the poll phase when the file is open.
    pub fn on_open(self, mut listener: impl FnMut(ReadStream) + 'static) -> ListenerId {
        let call = shared(move |raw| listener(ReadStream(Readable(raw))));
        add_listener(self.0.0, OPEN, call, false)
    }

    /// Adds a listener for 'ready', which comes right after 'open'.
    pub fn on_ready(self, mut listener: impl FnMut(ReadStream) + 'static) -> ListenerId {
        let call = shared(move |raw| listener(ReadStream(Readable(raw))));
        add_listener(self.0.0, READY, call, false)
    }
}

delegate_readable!(ReadStream);
