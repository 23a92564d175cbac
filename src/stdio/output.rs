//! Standard output and error output as streams.

use std::any::Any;
use std::io::{self, ErrorKind, Write};

use bytes::Bytes;

use super::OnePerLoop;
use super::kind::{StdioKind, kind_of};
#[cfg(unix)]
use crate::backend::unix::wait_until_writable;
use crate::event_loop::api::AsLoop;
use crate::event_loop::extension::Attachment;
use crate::event_loop::handle::{LoopHandle, Raw};
use crate::event_loop::table;
use crate::event_loop::task::Task;
use crate::ground::chunk::Chunk;
use crate::ground::error::{Completion, Error, Result};
use crate::ground::listeners::ListenerId;
use crate::stream::delegate::delegate_writable;
use crate::stream::{Writable, WritableOptions, attach, attached};

/// Standard output or error output: Node's `process.stdout` and `process.stderr`.
///
/// It has the methods and events of a [`Writable`], but it writes **at once**: when `write` returns
/// the system has everything. So a process that exits loses nothing, and the order with the output
/// of `println!` is kept. (Its listeners are given the `Writable`, whose own `write` works on a
/// tick like any stream's: in a listener capture this handle.) A full pipe blocks the program, as
/// in Node. The descriptor is never closed. [Piping](crate::stream::pipe()) to it leaves it open, a
/// [`pipeline`](crate::stream::pipeline()) ends it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Output(Writable);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Out,
    Err,
}

/// What it keeps with its stream.
struct OutputState {
    kind: StdioKind,
    target: Target,
}

/// Where it goes.
struct Target {
    which: Which,
    /// The same, past the buffer of the standard library; made when it is needed.
    #[cfg(unix)]
    file: Option<std::fs::File>,
    /// Whether that was opened anew, since what the process was given does not block.
    #[cfg(unix)]
    is_reopened: bool,
}

thread_local! {
    /// The streams of this thread's loops.
    static OUT: OnePerLoop<Output> = const { OnePerLoop::new() };
    static ERR: OnePerLoop<Output> = const { OnePerLoop::new() };
}

/// Returns standard output: Node's `process.stdout`. Every call for the same loop returns the same
/// stream.
///
/// ```
/// use nodeloop::{stdio, Loop};
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = Loop::new()?;
/// let stdout = stdio::stdout(&lp);
/// stdout.write("written when this returns\n");
/// lp.run()
/// # }
/// ```
#[track_caller]
pub fn stdout(lp: &impl AsLoop) -> Output {
    one_of(lp.event_loop(), Which::Out)
}

/// Returns standard error output: Node's `process.stderr`.
#[track_caller]
pub fn stderr(lp: &impl AsLoop) -> Output {
    one_of(lp.event_loop(), Which::Err)
}

#[track_caller]
fn one_of(lp: LoopHandle, which: Which) -> Output {
    let streams = match which {
        Which::Out => &OUT,
        Which::Err => &ERR,
    };
    match OnePerLoop::get(streams, lp) {
        Some(output) => output,
        None => OnePerLoop::put(streams, lp, create(&lp, which)),
    }
}

#[track_caller]
fn create(lp: &LoopHandle, which: Which) -> Output {
    let kind = match which {
        Which::Out => kind_of(&io::stdout()),
        Which::Err => kind_of(&io::stderr()),
    };
    let stream = WritableOptions::new()
        .write(|stream, chunk, done| done.result(write_now(stream.0, &chunk)))
        .create(lp);
    let target = Target {
        which,
        #[cfg(unix)]
        file: None,
        #[cfg(unix)]
        is_reopened: false,
    };
    attach(stream.0, Box::new(OutputState { kind, target }));
    stream.stay_open_behind_pipes();
    Output(stream)
}

/// Writes all of it, here and now.
fn write_now(raw: Raw, bytes: &[u8]) -> Result<()> {
    let written = table::with(raw, |state, id| {
        let it: &mut OutputState = attached(state, id)?;
        let written = it.target.write_all(bytes);
        Some(written.map_err(|error| it.kind.error("write", error)))
    });
    written
        .flatten()
        .unwrap_or_else(|| Err(Error::handle_gone()))
}

impl Target {
    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        // What was printed before comes first.
        match self.which {
            Which::Out => io::stdout().flush()?,
            Which::Err => io::stderr().flush()?,
        }
        while !bytes.is_empty() {
            match self.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(error)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One write, past the buffer of the standard library, which would not tell how much of it was
    /// written when it fails.
    #[cfg(unix)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        use std::os::fd::AsFd;

        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let duplicate = match self.which {
                    Which::Out => io::stdout().as_fd().try_clone_to_owned(),
                    Which::Err => io::stderr().as_fd().try_clone_to_owned(),
                };
                match duplicate {
                    Ok(duplicate) => none.insert(duplicate.into()),
                    // There may be no descriptor to spare.
                    Err(_) => return self.which.write_by_std(bytes),
                }
            }
        };
        file.write(bytes)
    }

    #[cfg(not(unix))]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.which.write_by_std(bytes)
    }

    /// Somebody has made it non-blocking. What is opened anew is not; what can't be opened, a socket, is
    /// waited for.
    fn wait(&mut self, error: io::Error) -> io::Result<()> {
        #[cfg(unix)]
        {
            use std::os::fd::AsFd;

            let path = match self.which {
                Which::Out => "/dev/stdout",
                Which::Err => "/dev/stderr",
            };
            if !self.is_reopened
                && let Ok(file) = std::fs::File::options().append(true).open(path)
            {
                (self.file, self.is_reopened) = (Some(file), true);
                return Ok(());
            }
            let waited = self.file.as_ref();
            let waited = waited.map(|file| wait_until_writable(file.as_fd()));
            match waited {
                Some(Ok(())) => Ok(()),
                _ => Err(error),
            }
        }
        #[cfg(not(unix))]
        Err(error)
    }
}

impl Which {
    /// Writes all by way of the standard library.
    fn write_by_std(self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Which::Out => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()?;
            }
            Which::Err => io::stderr().lock().write_all(bytes)?,
        }
        Ok(bytes.len())
    }
}

impl Attachment for OutputState {
    fn remove_listener(&mut self, _: ListenerId) -> Option<Box<dyn Any>> {
        None
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// Writing, at once.
impl Output {
    /// Writes bytes: Node's `process.stdout.write`. When it returns the system has all of them,
    /// unless the output is corked, or earlier data written through [`stream`](Output::stream)
    /// still waits: then they wait behind it. Returns false if the write failed; then 'error'
    /// comes: `EPIPE` if the reader has gone, `ENOSPC` …
    pub fn write<'a>(self, data: impl Into<Chunk<'a>>) -> bool {
        self.write_at_once(data.into(), None)
    }

    /// Like [`write`](Output::write), and calls `done` on a tick.
    pub fn write_then<'a>(
        self,
        data: impl Into<Chunk<'a>>,
        done: impl FnOnce(Result<()>) + 'static,
    ) -> bool {
        self.write_at_once(data.into(), Some(Box::new(done)))
    }

    fn write_at_once(self, mut chunk: Chunk<'_>, done: Option<Completion>) -> bool {
        let stream = self.0;
        // Whatever waits comes first, and what is over says so.
        let is_direct = stream.writable() && stream.writable_length() == 0;
        if !is_direct || stream.writable_corked() > 0 {
            let bytes: Bytes = chunk.take_rest(0);
            return match done {
                Some(done) => stream.write_then(bytes, done),
                None => stream.write(bytes),
            };
        }
        if let Err(error) = write_now(stream.0, chunk.as_slice()) {
            // What is written behind it waits in the stream, and fails with it.
            stream.write_has_failed(error, done);
            return false;
        }
        if let Some(done) = done {
            let mut task = Some(Task::Complete(done, Ok(())));
            table::with(stream.0, |state, _| {
                task.take().map(|task| state.ticks.push(task))
            });
        }
        true
    }

    /// Writes a last chunk, and ends the stream: Node's `process.stdout.end(data)`. The descriptor stays
    /// open.
    pub fn end_with<'a>(self, data: impl Into<Chunk<'a>>) {
        self.write(data);
        self.0.end();
    }

    /// What it is connected to.
    pub fn kind(self) -> StdioKind {
        let kind = |it: &mut OutputState| it.kind;
        let found = table::with(self.0.0, |state, id| Some(kind(attached(state, id)?)));
        found.flatten().unwrap_or(StdioKind::Other)
    }

    /// Whether it is a terminal: Node's `process.stdout.isTTY`.
    pub fn is_terminal(self) -> bool {
        self.kind() == StdioKind::Terminal
    }
}

delegate_writable!(Output {
    fn write_chunk(&self, chunk: Chunk<'_>, done: Option<Completion>) -> bool {
        (*self).write_at_once(chunk, done)
    }

    fn end_stream(&self, chunk: Option<Chunk<'_>>, done: Option<Completion>) {
        if let Some(chunk) = chunk {
            (*self).write_at_once(chunk, None);
        }
        self.0.end_stream(None, done);
    }
});
