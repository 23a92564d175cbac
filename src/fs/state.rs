//! What a file's stream keeps beside what every stream has, and what both kinds do alike: opening,
//! waiting for a worker, closing.

use std::any::Any;
use std::fs::File;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file;
use super::options::Flags;
use super::unread::Unread;
use crate::backend::close_file;
use crate::event_loop::core::SlotOf;
use crate::event_loop::entry::Entry;
use crate::event_loop::extension::{Attachment, Work, told};
use crate::event_loop::handle::{LoopHandle, Raw};
use crate::event_loop::jobs;
use crate::event_loop::table;
use crate::ground::error::{Error, Result};
use crate::ground::listeners::{ListenerId, Slot};
use crate::stream::{Done, attached, attached_of};

/// A file and where it is read or written.
pub(super) struct FileState {
    /// The file; none before it is open, and once it is closed.
    pub(super) file: Option<Arc<File>>,
    /// Its path, if it was opened by one.
    pub(super) path: Option<Arc<Path>>,
    /// Where the next bytes are; none if that is where the descriptor stands.
    pub(super) position: Option<u64>,
    /// The last byte that is read.
    pub(super) end: u64,
    /// Bytes read, or written.
    pub(super) bytes: u64,
    /// Whether it has to be read: no regular file.
    pub(super) is_special: bool,
    /// Whether everything is written to the disk before it is closed.
    pub(super) flush: bool,
    /// Whether a worker has it: it is not closed meanwhile.
    pub(super) is_busy: bool,
    /// What waits for the worker, and is told if that has failed.
    pub(super) when_idle: Option<Box<dyn FnOnce(Option<Error>)>>,
    /// What is on its way without being read.
    pub(super) unread: Unread,
    /// Where the program made the stream.
    pub(super) origin: &'static Location<'static>,
    /// Listeners.
    pub(super) open: Slot<dyn FnMut(Raw)>,
    pub(super) ready: Slot<dyn FnMut(Raw)>,
}

/// What is opened, and how.
pub(super) struct Opening {
    pub(super) path: PathBuf,
    pub(super) flags: Flags,
    pub(super) mode: u32,
}

impl FileState {
    pub(super) fn new(origin: &'static Location<'static>, start: Option<u64>) -> FileState {
        FileState {
            file: None,
            path: None,
            position: start,
            end: u64::MAX,
            bytes: 0,
            is_special: false,
            flush: false,
            is_busy: false,
            when_idle: None,
            unread: Unread::default(),
            origin,
            open: Slot::Empty,
            ready: Slot::Empty,
        }
    }

    /// How many bytes there are up to the end of what is to be read, which is one of them.
    pub(super) fn left(&self) -> u64 {
        let from = self.position.unwrap_or(self.bytes);
        match from <= self.end {
            true => (self.end - from).saturating_add(1),
            false => 0,
        }
    }

    /// `size` bytes were read.
    pub(super) fn advance(&mut self, size: usize) {
        let size = size as u64;
        self.bytes += size;
        self.position = self.position.map(|position| position + size);
    }
}

impl Attachment for FileState {
    fn remove_listener(&mut self, id: ListenerId) -> Option<Box<dyn Any>> {
        let removed = self.open.remove(id).or_else(|| self.ready.remove(id))?;
        Some(Box::new(removed))
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// The slot of 'open'.
pub(super) const OPEN: SlotOf<dyn FnMut(Raw)> =
    |entry: &mut Entry, _| Some(&mut attached_of::<FileState>(entry)?.open);

/// The slot of 'ready'.
pub(super) const READY: SlotOf<dyn FnMut(Raw)> =
    |entry: &mut Entry, _| Some(&mut attached_of::<FileState>(entry)?.ready);

static EMIT_OPEN: Work = told("'open'", |core, id| {
    let raw = core.raw(id);
    core.emit(id, OPEN, |listener| listener(raw));
});

static EMIT_READY: Work = told("'ready'", |core, id| {
    let raw = core.raw(id);
    core.emit(id, READY, |listener| listener(raw));
});

/// Looks at the file of a stream.
pub(super) fn with<R>(raw: Raw, act: impl FnOnce(&mut FileState) -> R) -> Option<R> {
    table::with(raw, |state, id| Some(act(attached(state, id)?))).flatten()
}

/// Has a worker do something for a stream. Its loop is held until `done` is called.
pub(super) fn work<T: Send + 'static>(
    raw: Raw,
    origin: &'static Location<'static>,
    work: impl FnOnce() -> T + Send + 'static,
    done: impl FnOnce(Result<T>) + 'static,
) {
    let done = move |_: LoopHandle, result| done(result);
    jobs::spawn_at(raw.event_loop(), origin, work, done);
}

/// The stream's `construct`: opens its file, unless it has one. 'open' and 'ready' follow what comes
/// of it (Node's `_construct`).
pub(super) fn open(raw: Raw, opening: Option<Opening>, done: Done) {
    let Some(Opening { path, flags, mode }) = opening else {
        return done.ok();
    };
    let Some(origin) = with(raw, |it| it.origin) else {
        return done.ok();
    };
    let opened = path.clone();
    let open = move || file::open(&path, flags, mode);
    work(raw, origin, open, move |result| match result {
        Ok(Ok(file)) => {
            with(raw, |it| it.file = Some(Arc::new(file)));
            done.ok();
            table::with(raw, |state, id| {
                state.step(id, &EMIT_OPEN);
                state.step(id, &EMIT_READY);
            });
        }
        Ok(Err(error)) => done.fail(Error::file("open", error, Some(&opened))),
        Err(error) => done.fail(error),
    });
}

/// A worker has done its part, or has failed. What has waited for that is done, if the stream is being
/// destroyed.
pub(super) fn idle(raw: Raw, failed: Option<Error>) {
    let waits = with(raw, |it| {
        it.is_busy = false;
        it.when_idle.take()
    });
    if let Some(waits) = waits.flatten() {
        waits(failed);
    }
}

/// The stream's `destroy`: closes its file, as soon as no worker has it (Node's `_destroy`). What the
/// worker has failed with is told, unless it is destroyed for another reason.
pub(super) fn close(raw: Raw, error: Option<Error>, done: Done) {
    let mut answer = Some((error, done));
    with(raw, |it| {
        if it.is_busy {
            let (error, done) = answer.take()?;
            it.when_idle = Some(Box::new(move |failed| {
                close_now(raw, error.or(failed), done);
            }));
        }
        Some(())
    });
    if let Some((error, done)) = answer {
        close_now(raw, error, done);
    }
}

fn close_now(raw: Raw, error: Option<Error>, done: Done) {
    let taken = with(raw, |it| Some((it.file.take()?, it.flush, it.origin)));
    let Some((file, flush, origin)) = taken.flatten() else {
        return answer(error, done);
    };
    // Closing may block, too.
    let close = move || {
        let flushed = match flush {
            true => file.sync_all(),
            false => Ok(()),
        };
        // No worker has it any more.
        let closed = Arc::into_inner(file).map_or(Ok(()), close_file);
        (flushed, closed)
    };
    work(raw, origin, close, move |result| {
        let told = |call| move |error| Error::file(call, error, None);
        let (flushed, closed) = match result {
            Ok((flushed, closed)) => (
                flushed.map_err(told("fsync")),
                closed.map_err(told("close")),
            ),
            Err(error) => (Err(error), Ok(())),
        };
        // What closing fails with comes before any other reason, as in Node.
        answer(closed.err().or(error).or(flushed.err()), done);
    });
}

fn answer(error: Option<Error>, done: Done) {
    match error {
        Some(error) => done.fail(error),
        None => done.ok(),
    }
}
