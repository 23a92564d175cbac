//! Work for other threads, and what becomes of it.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

use slab::Slab;

use super::core::Core;
use super::handle::{Id, Job, LoopHandle};
use super::mailbox::Mail;
use super::state::State;
use super::table;
use crate::ground::error::{Error, Result};
use crate::ground::look_up::Query;

/// What a worker has made.
pub(crate) type Made = Box<dyn Any + Send>;

/// What became of a job: what it has made, or why there is nothing.
pub(crate) type Outcome = Result<Made>;

/// What is done with it, in the loop.
pub(crate) type Done = Box<dyn FnOnce(LoopHandle, Outcome)>;

/// The jobs of a loop that are not over.
#[derive(Default)]
pub(crate) struct Jobs {
    all: Slab<JobState>,
}

/// One of them.
struct JobState {
    serial: u64,
    done: Done,
    /// The name, if it looks one up.
    host: Option<Box<str>>,
    /// Where the program started it.
    origin: &'static Location<'static>,
}

impl Jobs {
    /// Each: the name that it looks up, if it does, and where it was started.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Option<&str>, &'static Location<'static>)> {
        self.all
            .iter()
            .map(|(_, job)| (job.host.as_deref(), job.origin))
    }

    /// Bytes of memory that they keep.
    pub(crate) fn memory(&self) -> usize {
        self.all.capacity() * size_of::<JobState>()
    }

    pub(crate) fn take_all(&mut self) -> Vec<Done> {
        let all = std::mem::take(&mut self.all);
        all.into_iter().map(|(_, job)| job.done).collect()
    }

    fn remove(&mut self, id: Id) -> Option<JobState> {
        let job = self.all.get(id.key as usize)?;
        if job.serial != id.serial {
            return None;
        }
        Some(self.all.remove(id.key as usize))
    }
}

impl LoopHandle {
    /// Has a worker thread do what would block the loop: libuv's `uv_queue_work`. `done` gets what it
    /// has made, in the poll phase; it stays on the loop's thread and may capture handles. Until
    /// then the loop is kept alive (H4).
    ///
    /// The threads are started with the work, up to
    /// [as many as are allowed](crate::Builder::worker_threads). What is more waits for its turn.
    /// When the loop is dropped, work that has begun goes on, and nobody gets what it makes: the worker
    /// drops it. Work that has not begun, then or when it is cancelled, is dropped by the loop's thread.
    ///
    /// `done` gets an error instead
    /// - with the code `ERR_WORK_PANICKED` if `work` has panicked,
    /// - with the code `ECANCELED` if it was [cancelled](Job::cancel),
    /// - with that of the system (`EAGAIN`) if no thread could be started.
    ///
    /// If the loop is gone, neither is called.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = nodeloop::Loop::new()?;
    /// lp.spawn_blocking(
    ///     || std::fs::read_to_string("Cargo.toml"),
    ///     |_, text| {
    ///         let text = text.expect("the work does not panic");
    ///         println!("{} bytes", text.map_or(0, |text| text.len()));
    ///     },
    /// );
    /// lp.run()
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_blocking<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(LoopHandle, Result<T>) + 'static,
    ) -> Job {
        spawn_at(self, Location::caller(), work, done)
    }

    /// How many worker threads there are at the moment.
    pub fn worker_threads(self) -> usize {
        self.with(|state| state.backend.workers()).unwrap_or(0)
    }
}

/// [`spawn_blocking`](LoopHandle::spawn_blocking) on behalf of a line of the program.
pub(crate) fn spawn_at<T: Send + 'static>(
    lp: LoopHandle,
    origin: &'static Location<'static>,
    work: impl FnOnce() -> T + Send + 'static,
    done: impl FnOnce(LoopHandle, Result<T>) + 'static,
) -> Job {
    let done: Done = Box::new(move |lp, outcome| done(lp, outcome.map(unpack)));
    let work = move || -> Made { Box::new(work()) };
    let id = lp.with(move |state| state.start_job(work, done, origin));
    Job(lp.raw(id))
}

/// Has `done` called with what is there already: in the poll phase, behind the mail that is delivered.
pub(crate) fn later<T: Send + 'static>(
    lp: LoopHandle,
    origin: &'static Location<'static>,
    made: T,
    done: impl FnOnce(T) + 'static,
) {
    let done: Done = Box::new(move |_, outcome| {
        if let Ok(made) = outcome {
            done(unpack(made));
        }
    });
    lp.with(move |state| {
        let id = state.add_job(done, None, origin);
        state.mail.push_back(Mail::Job(id, Ok(Box::new(made))));
    });
}

/// What a job's worker has made is of the type that its `done` takes.
fn unpack<T: 'static>(made: Made) -> T {
    match made.downcast() {
        Ok(made) => *made,
        Err(_) => unreachable!("a job makes what it was asked for"),
    }
}

impl State {
    /// Notes a job. It holds the loop until `done` is called.
    fn add_job(
        &mut self,
        done: Done,
        host: Option<Box<str>>,
        origin: &'static Location<'static>,
    ) -> Id {
        let serial = table::next_serial();
        let key = self.jobs.all.insert(JobState {
            serial,
            done,
            host,
            origin,
        });
        let id = Id {
            key: u32::try_from(key).expect("fewer than 2^32 jobs"),
            serial,
        };
        self.live.requests += 1;
        id
    }

    /// Has a worker do something, and `done` told of it.
    fn start_job(
        &mut self,
        work: impl FnOnce() -> Made + Send + 'static,
        done: Done,
        origin: &'static Location<'static>,
    ) -> Id {
        let id = self.add_job(done, None, origin);
        let mailbox = self.mailbox.clone();
        let run = move || {
            let (outcome, panic) = match catch_unwind(AssertUnwindSafe(work)) {
                Ok(made) => (Ok(made), None),
                Err(panic) => (Err(panicked(&*panic)), Some(panic)),
            };
            // If the loop is gone, nobody wants it.
            let _ = mailbox.push(Mail::Job(id, outcome));
            // Behind the report: it may panic itself.
            drop(panic);
        };
        if let Err((error, run)) = self.backend.start_job(id.serial, Box::new(run)) {
            self.bury(run);
            self.fail_job(id, error);
        }
        id
    }

    /// Has a worker look a name up, and `done` told of it: an [`Answer`](super::look_up::Answer).
    pub(crate) fn add_look_up(
        &mut self,
        query: Query,
        done: Done,
        origin: &'static Location<'static>,
    ) -> Id {
        let host = Some(query.host.as_str().into());
        let id = self.add_job(done, host, origin);
        let mailbox = self.mailbox.clone();
        let report = move |answer| {
            let answer: Made = Box::new(answer);
            let _ = mailbox.push(Mail::Job(id, Ok(answer)));
        };
        if let Err(error) = self.backend.start_look_up(id.serial, query, report) {
            self.fail_job(id, error);
        }
        id
    }

    /// There is no thread for a job.
    fn fail_job(&mut self, id: Id, error: io::Error) {
        self.report_later(id, Error::system("thread", error));
    }

    /// By way of the mailbox, as a worker would: what is told while mail is delivered comes in the next turn, so
    /// who tries again in `done` does not keep the loop from everything else.
    fn report_later(&mut self, id: Id, error: Error) {
        // It is closed when the loop is gone.
        let _ = self.mailbox.push(Mail::Job(id, Err(error)));
    }

    /// Takes a job back that no worker has begun; its `done` is told so in the poll phase (H5).
    fn cancel_job(&mut self, id: Id) -> bool {
        let Some(run) = self.backend.cancel_job(id.serial) else {
            return false;
        };
        self.bury(run);
        self.report_later(id, Error::library("ECANCELED", "operation canceled"));
        true
    }

    /// Forgets a job, whose result nobody wants any more: it holds the loop no longer, and is not
    /// begun if it has not. A worker that is at it goes on.
    pub(crate) fn abandon_job(&mut self, id: Id) {
        let Some(job) = self.jobs.remove(id) else {
            return;
        };
        self.live.requests -= 1;
        self.bury(job.done);
        if let Some(run) = self.backend.cancel_job(id.serial) {
            self.bury(run);
        }
    }
}

/// Tells `done` what became of its job; with `trace` the log, too.
pub(crate) fn finish(core: &Core, id: Id, outcome: Outcome, trace: bool) -> Result<()> {
    let job = core.inside(|state| {
        let job = state.jobs.remove(id);
        if job.is_some() {
            state.live.requests -= 1;
        }
        job
    });
    let Some(job) = job else {
        // It was abandoned.
        drop(outcome);
        return core.finish_callback();
    };
    if trace {
        let (what, origin) = (Job(core.raw(id)), job.origin);
        core.trace(format_args!("{what:?} is done ({origin})"));
    }
    core.callback(|core| (job.done)(core.handle(), outcome))
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let message = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned());
    let message = match message {
        Some(message) => format!("The work has panicked: {message}"),
        None => "The work has panicked.".to_string(),
    };
    Error::library("ERR_WORK_PANICKED", &message)
}

impl Job {
    /// Takes the work back if no worker has begun it: libuv's `uv_cancel`. Its `done` gets
    /// `ECANCELED`, in the poll phase. Returns whether it was in time (H5).
    pub fn cancel(self) -> bool {
        table::with(self.0, |state, id| state.cancel_job(id)).unwrap_or(false)
    }

    /// Whether its `done` was not called yet.
    pub fn is_pending(self) -> bool {
        let pending = |state: &mut State, id: Id| {
            let job = state.jobs.all.get(id.key as usize);
            job.is_some_and(|job| job.serial == id.serial)
        };
        table::with(self.0, pending).unwrap_or(false)
    }
}
