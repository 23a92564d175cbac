//! Writing a file as a stream.

use std::fs::File;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::file;
use super::options::WriteOptions;
use super::state::{self, FileState, OPEN, Opening, READY};
use crate::event_loop::api::AsLoop;
use crate::event_loop::extension::add_listener;
use crate::event_loop::handle::Raw;
use crate::ground::chunk::Chunk;
use crate::ground::error::{Completion, Error};
use crate::ground::listeners::{ListenerId, shared};
use crate::ground::stream_errors::destroyed_before;
use crate::stream::delegate::delegate_writable;
use crate::stream::{Done, Writable, WritableOptions, attach};

/// A file that is written: Node's `fs.WriteStream`.
///
/// It has the methods and events of a [`Writable`], plus those here. Its listeners are given the
/// `Writable`: capture this handle to ask about the file. [Worker
/// threads](crate::Builder::worker_threads) open, write and close the file, one call at a time and
/// in the order of the writes. 'finish' comes when the last byte is written (though not necessarily
/// on the disk: see [`flush`](WriteOptions::flush)); then the file is closed, and 'close' comes.
///
/// A [`destroy`](Writable::destroy) while a worker writes makes that write fail, and the failure is
/// an 'error', as in Node.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct WriteStream(Writable);

/// Overwrites a file: Node's `fs.createWriteStream(path)`. A worker thread opens it at once; data
/// written before it is open waits.
///
/// A failure is an 'error', followed by 'close', and completions get it, too: `ENOENT`, `EACCES`,
/// `EISDIR`, `ENOSPC` …, with the [system call](Error::syscall) and, if that is `open`, the
/// [path](Error::path). A failure to close is reported on Linux, with the feature `full-udp`: a
/// network file system may report lost writes only then.
///
/// ```
/// use nodeloop::{fs, Loop};
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = Loop::new()?;
/// let path = std::env::temp_dir().join(format!("nodeloop-create-{}", std::process::id()));
/// let file = fs::create_write_stream(&lp, &path);
/// file.write("hello ");
/// file.end_with("world");
/// file.on_close(|_| println!("it is written"));
/// lp.run()?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"hello world");
/// # std::fs::remove_file(path).unwrap();
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn create_write_stream(lp: &impl AsLoop, path: impl AsRef<Path>) -> WriteStream {
    create_write_stream_with(lp, path, WriteOptions::new())
}

/// Writes a file with options: Node's `fs.createWriteStream(path, options)`.
#[track_caller]
pub fn create_write_stream_with(
    lp: &impl AsLoop,
    path: impl AsRef<Path>,
    options: WriteOptions,
) -> WriteStream {
    let opening = Opening {
        path: path.as_ref().to_path_buf(),
        flags: options.flags,
        mode: options.mode,
    };
    create(lp, Some(opening), None, &options, Location::caller())
}

fn create(
    lp: &impl AsLoop,
    mut opening: Option<Opening>,
    file: Option<File>,
    options: &WriteOptions,
    origin: &'static Location<'static>,
) -> WriteStream {
    let state = FileState {
        file: file.map(Arc::new),
        path: opening
            .as_ref()
            .map(|opening| opening.path.as_path().into()),
        flush: options.flush,
        ..FileState::new(origin, options.start)
    };
    let stream = WritableOptions::new()
        .high_water_mark(options.high_water_mark)
        .auto_destroy(options.auto_close)
        .emit_close(options.emit_close)
        .construct(move |stream, done| state::open(stream.0, opening.take(), done))
        .write(|stream, chunk, done| write(stream.0, "write", vec![chunk], done))
        .writev(|stream, chunks, done| write(stream.0, "writev", chunks, done))
        .destroy(|stream, error, done| state::close(stream.0, error, done))
        .create_at(lp, origin);
    attach(stream.0, Box::new(state));
    WriteStream(stream)
}

/// The stream's `write` and `writev`: has a worker write (Node's `writeAll`).
fn write(raw: Raw, call: &'static str, chunks: Vec<Bytes>, done: Done) {
    let size: usize = chunks.iter().map(Bytes::len).sum();
    let begun = state::with(raw, |it| {
        let file = it.file.clone()?;
        let position = it.position;
        it.position = position.map(|position| position.saturating_add(size as u64));
        it.is_busy = true;
        Some((file, position, it.origin))
    });
    let Some((file, position, origin)) = begun.flatten() else {
        return done.fail(destroyed_before(call));
    };
    let write = move || file::write(&file, position, &chunks);
    state::work(raw, origin, write, move |result| {
        let (written, result) = match result {
            Ok((written, result)) => {
                let result = result.map_err(|error| Error::file("write", error, None));
                (written, result)
            }
            Err(error) => (0, Err(error)),
        };
        let result = match Writable(raw).destroyed() {
            true => result.and_then(|()| Err(destroyed_before(call))),
            false => {
                state::with(raw, |it| it.bytes += written);
                result
            }
        };
        let failed = result.as_ref().err().cloned();
        done.result(result);
        state::idle(raw, failed);
    });
}

impl WriteStream {
    /// Writes an open file: Node's option `fd`. There is no 'open' and no 'ready'. The stream
    /// closes it like one that it opened; to keep the file open pass a clone (`File::try_clone`).
    #[track_caller]
    pub fn from_file(lp: &impl AsLoop, file: File, options: WriteOptions) -> WriteStream {
        create(lp, None, Some(file), &options, Location::caller())
    }

    /// The path of the file: Node's `writeStream.path`. None if the stream was made from an open
    /// file, and once the stream is gone.
    pub fn path(self) -> Option<PathBuf> {
        state::with(self.0.0, |it| Some(it.path.as_ref()?.to_path_buf())).flatten()
    }

    /// Bytes written so far, not counting those that wait: Node's `writeStream.bytesWritten`. It
    /// also omits a write that failed because the stream was destroyed, though the file may have
    /// those bytes.
    pub fn bytes_written(self) -> u64 {
        state::with(self.0.0, |it| it.bytes).unwrap_or(0)
    }

    /// Whether the file is not open yet, or no longer: Node's `writeStream.pending`.
    pub fn pending(self) -> bool {
        state::with(self.0.0, |it| it.file.is_none()).unwrap_or(true)
    }

    /// Ends the stream, and closes the file after the last byte even without
    /// [`auto_close`](WriteOptions::auto_close): Node's `writeStream.close`.
    pub fn close(self) {
        let closes = self.0.auto_destroy();
        if !closes {
            self.0.once_finish(|stream| stream.destroy());
        }
        self.0.end();
    }

    /// Adds a listener for 'open', which comes in the poll phase when the file is open.
    pub fn on_open(self, mut listener: impl FnMut(WriteStream) + 'static) -> ListenerId {
        let call = shared(move |raw| listener(WriteStream(Writable(raw))));
        add_listener(self.0.0, OPEN, call, false)
    }

    /// Adds a listener for 'ready', which comes right after 'open'.
    pub fn on_ready(self, mut listener: impl FnMut(WriteStream) + 'static) -> ListenerId {
        let call = shared(move |raw| listener(WriteStream(Writable(raw))));
        add_listener(self.0.0, READY, call, false)
    }
}

delegate_writable!(WriteStream {
    fn write_chunk(&self, chunk: Chunk<'_>, done: Option<Completion>) -> bool {
        self.0.write_chunk(chunk, done)
    }

    fn end_stream(&self, chunk: Option<Chunk<'_>>, done: Option<Completion>) {
        self.0.end_stream(chunk, done);
    }
});
