//! Standard input as a stream.

use std::any::Any;
use std::io;

use super::OnePerLoop;
use super::kind::{StdioKind, kind_of};
use super::reader::{self, Answer};
use crate::event_loop::api::AsLoop;
use crate::event_loop::channels::Sender;
use crate::event_loop::extension::Attachment;
use crate::event_loop::handle::{LoopHandle, Raw};
use crate::event_loop::table;
use crate::ground::error::Error;
use crate::ground::listeners::ListenerId;
use crate::stream::delegate::delegate_readable;
use crate::stream::{Readable, ReadableOptions, attach, attached};

/// The bytes of one read: Node's.
const CHUNK: usize = 64 * 1024;

/// Standard input: Node's `process.stdin`.
///
/// It has the methods and events of a [`Readable`], and its listeners are given the `Readable`. The
/// [module](super) says how each kind of input behaves.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stdin(Readable);

/// What it keeps with its stream.
struct InputState {
    kind: StdioKind,
    /// From the thread that reads; what holds the loop.
    answers: Sender<Answer>,
    /// Whether the thread was asked and has not answered.
    waits: bool,
    /// `unref` was not called.
    referenced: bool,
    /// `pause` was called.
    paused: bool,
    /// Whether the channel holds the loop at the moment.
    holds: bool,
}

thread_local! {
    /// The streams of this thread's loops.
    static STREAMS: OnePerLoop<Stdin> = const { OnePerLoop::new() };
}

/// Returns standard input: Node's `process.stdin`. Every call for the same loop returns the same
/// stream. Nothing is read before the program listens.
///
/// ```no_run
/// use nodeloop::{stdio, Loop};
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = Loop::new()?;
/// let stdin = stdio::stdin(&lp);
/// stdin.on_data(|_, chunk| println!("{} bytes", chunk.len()));
/// stdin.on_end(|_| println!("that was all"));
/// lp.run()
/// # }
/// ```
#[track_caller]
pub fn stdin(lp: &impl AsLoop) -> Stdin {
    let lp = lp.event_loop();
    match OnePerLoop::get(&STREAMS, lp) {
        Some(stdin) => stdin,
        None => OnePerLoop::put(&STREAMS, lp, create(lp)),
    }
}

#[track_caller]
fn create(lp: LoopHandle) -> Stdin {
    let kind = kind_of(&io::stdin());
    // As Node has it: a file's stream ends and is not closed, and a terminal is not read ahead.
    let closes = !matches!(kind, StdioKind::File | StdioKind::Device);
    let mark = match kind {
        StdioKind::Terminal => 0,
        _ => CHUNK,
    };
    let stream = ReadableOptions::new()
        .high_water_mark(mark)
        .auto_destroy(closes)
        .read(read)
        .destroy(|stream, error, done| {
            // What the thread is reading now it keeps for the next.
            update(stream.0, |it| it.waits = false);
            if let Some(answers) = with(stream.0, |it| it.answers.clone()) {
                answers.close();
            }
            match error {
                Some(error) => done.fail(error),
                None => done.ok(),
            }
        })
        .create(&lp);
    let raw = stream.0;
    let answers = lp.channel(move |_, answer| answered(raw, answer));
    answers.unref();
    attach(
        raw,
        Box::new(InputState {
            kind,
            answers,
            waits: false,
            referenced: true,
            paused: false,
            holds: false,
        }),
    );
    stream.on_pause(|stream| set_paused(stream.0, true));
    stream.on_resume(|stream| set_paused(stream.0, false));
    Stdin(stream)
}

/// The stream's `read`: asks the thread.
fn read(stream: Readable, _size: usize) {
    let Some((kind, answers)) = with(stream.0, |it| (it.kind, it.answers.clone())) else {
        return;
    };
    if kind == StdioKind::Directory {
        // It has nothing to read; Node says so, too.
        return stream.push_end();
    }
    match reader::ask(CHUNK, &answers) {
        Ok(()) => update(stream.0, |it| it.waits = true),
        Err(error) => stream.fail(Error::system("thread", error)),
    }
}

/// The thread has read.
fn answered(raw: Raw, answer: Answer) {
    let stream = Readable(raw);
    update(raw, |it| it.waits = false);
    match answer {
        Ok(chunk) if chunk.is_empty() => stream.push_end(),
        Ok(chunk) => {
            stream.push(chunk);
        }
        Err(error) => {
            let kind = with(raw, |it| it.kind).unwrap_or(StdioKind::Other);
            stream.fail(kind.error("read", error));
        }
    }
}

fn set_paused(raw: Raw, paused: bool) {
    update(raw, |it| it.paused = paused);
}

fn with<R>(raw: Raw, act: impl FnOnce(&mut InputState) -> R) -> Option<R> {
    table::with(raw, |state, id| Some(act(attached(state, id)?))).flatten()
}

/// Changes something about a stream, and has the loop held while somebody waits for input, and not
/// otherwise.
fn update(raw: Raw, change: impl FnOnce(&mut InputState)) {
    let changed = with(raw, |it| {
        change(it);
        let holds = it.waits && it.referenced && !it.paused;
        let changed = std::mem::replace(&mut it.holds, holds) != holds;
        changed.then(|| (holds, it.answers.clone()))
    });
    // A channel is told by way of the loop, so not while that is borrowed.
    match changed.flatten() {
        Some((true, answers)) => answers.set_ref(),
        Some((false, answers)) => answers.unref(),
        None => {}
    }
}

impl Attachment for InputState {
    fn remove_listener(&mut self, _: ListenerId) -> Option<Box<dyn Any>> {
        None
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl Stdin {
    /// What it is connected to.
    pub fn kind(self) -> StdioKind {
        with(self.0.0, |it| it.kind).unwrap_or(StdioKind::Other)
    }

    /// Whether it is a terminal: Node's `process.stdin.isTTY`.
    pub fn is_terminal(self) -> bool {
        self.kind() == StdioKind::Terminal
    }

    /// Lets it keep the loop alive while it is read, as it does by default: Node's
    /// `process.stdin.ref`.
    pub fn set_ref(self) {
        self.set_referenced(true);
    }

    /// Stops it from keeping the loop alive: Node's `process.stdin.unref`.
    pub fn unref(self) {
        self.set_referenced(false);
    }

    /// Whether it would keep the loop alive.
    pub fn has_ref(self) -> bool {
        with(self.0.0, |it| it.referenced).unwrap_or(false)
    }

    fn set_referenced(self, referenced: bool) {
        update(self.0.0, |it| it.referenced = referenced);
    }
}

delegate_readable!(Stdin);
