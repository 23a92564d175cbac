//! `finished`: tells once when a stream is over, one way or the other. Node's
//! `internal/streams/end-of-stream`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::traits::{Stream, StreamEvent};
use crate::ground::error::Result;
use crate::ground::listeners::ListenerId;
use crate::ground::stream_errors::premature_close;

/// Which sides [`finished`] looks at.
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "options do nothing by themselves"]
pub struct FinishedOptions {
    readable: Option<bool>,
    writable: Option<bool>,
    error: Option<bool>,
}

impl FinishedOptions {
    /// Both sides, if the stream has them, and its errors.
    pub fn new() -> FinishedOptions {
        FinishedOptions::default()
    }

    /// Whether to wait for 'end', if there is a readable side. Node's `readable`.
    pub fn readable(mut self, yes: bool) -> FinishedOptions {
        self.readable = Some(yes);
        self
    }

    /// Whether to wait for 'finish', if there is a writable side. Node's `writable`.
    pub fn writable(mut self, yes: bool) -> FinishedOptions {
        self.writable = Some(yes);
        self
    }

    /// Whether to listen to 'error'; true by default. Node's `error`.
    pub fn error(mut self, yes: bool) -> FinishedOptions {
        self.error = Some(yes);
        self
    }
}

/// A watch that [`finished`] has begun.
#[derive(Clone)]
pub struct Finished(Rc<Watch>);

impl Finished {
    /// Removes its listeners; the callback is no longer called. (Node's returned function.) Without
    /// this the listeners stay, even after the callback, so that a late 'error' is not unhandled.
    pub fn cancel(&self) {
        self.0.call.take();
        for id in self.0.listeners.take() {
            self.0.stream.off(id);
        }
    }
}

impl std::fmt::Debug for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Finished({:?})", self.0.stream.stream_id())
    }
}

/// Who watches.
struct Watch {
    stream: Rc<dyn Stream>,
    /// Whom to tell.
    call: Cell<Option<Box<dyn FnOnce(Result<()>)>>>,
    listeners: RefCell<Vec<ListenerId>>,
    readable: bool,
    writable: bool,
    readable_finished: Cell<bool>,
    writable_finished: Cell<bool>,
    /// Whether 'close' is waited for.
    will_emit_close: Cell<bool>,
}

/// Calls `done` once, when a stream is over: Node's `stream.finished`.
///
/// `done` gets `Ok` if the stream has ended and finished, its error if it failed, or
/// `ERR_STREAM_PREMATURE_CLOSE` if it closed before that.
///
/// It listens to 'error', so an error of the stream is not unhandled. For a stream that is over
/// already, `done` is called on the next tick. A stream that is gone, its slot free, counts as
/// closed before its end, since there is no record of how it ended ([`keep`](super::Readable::keep)
/// holds it).
///
/// ```
/// use nodeloop::{fs, Loop};
/// use nodeloop::stream::{FinishedOptions, finished};
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = Loop::new()?;
/// let file = fs::create_read_stream(&lp, "Cargo.toml");
/// finished(&file, FinishedOptions::new(), |result| match result {
///     Ok(()) => println!("read to its end"),
///     Err(error) => eprintln!("{error}"),
/// });
/// file.resume();
/// lp.run()
/// # }
/// ```
pub fn finished(
    stream: &dyn Stream,
    options: FinishedOptions,
    done: impl FnOnce(Result<()>) + 'static,
) -> Finished {
    let readable = options.readable.unwrap_or(stream.has_readable_side());
    let writable = options.writable.unwrap_or(stream.has_writable_side());
    let will_emit_close = stream.will_emit_close()
        && stream.has_readable_side() == readable
        && stream.has_writable_side() == writable;
    let watch = Rc::new(Watch {
        stream: stream.to_stream(),
        call: Cell::new(Some(Box::new(done))),
        listeners: RefCell::default(),
        readable,
        writable,
        readable_finished: Cell::new(is_readable_finished(stream)),
        writable_finished: Cell::new(is_writable_finished(stream)),
        will_emit_close: Cell::new(will_emit_close),
    });
    let listens_to_error = options.error != Some(false);
    if let Some(result) = watch.immediate_result() {
        if listens_to_error {
            let id = stream.listen_error(Box::new(|_| {}));
            watch.listeners.borrow_mut().push(id);
        }
        let it = watch.clone();
        stream.event_loop().next_tick(move |_| it.tell(result));
        return Finished(watch);
    }
    watch.listen(StreamEvent::End, Watch::on_end);
    watch.listen(StreamEvent::Finish, Watch::on_finish);
    if listens_to_error {
        let it = watch.clone();
        let error = stream.listen_error(Box::new(move |error| it.tell(Err(error.clone()))));
        watch.listeners.borrow_mut().push(error);
    }
    watch.listen(StreamEvent::Close, |it| it.tell(it.result_of_close()));
    Finished(watch)
}

/// Whether 'end' was emitted, or nothing but that is left (isReadableFinished, not strict).
fn is_readable_finished(stream: &dyn Stream) -> bool {
    stream.has_readable_side()
        && stream.errored().is_none()
        && (stream.readable_ended() || stream.is_drained())
}

/// The same of 'finish' (isWritableFinished, not strict).
fn is_writable_finished(stream: &dyn Stream) -> bool {
    let finished = stream.writable_finished()
        || (stream.errored().is_none() && stream.writable_ended() && !stream.has_unwritten());
    stream.has_writable_side() && finished
}

/// Node's isReadable and isWritable: nothing where there is no such side, but of a duplex, which says that
/// it is not open.
fn side(stream: &dyn Stream, has: bool, open: bool) -> Option<bool> {
    (has || stream.is_duplex()).then_some(has && open)
}

impl Watch {
    fn listen(self: &Rc<Watch>, event: StreamEvent, act: fn(&Watch)) {
        let it = self.clone();
        let id = self.stream.listen(event, Box::new(move || act(&it)));
        self.listeners.borrow_mut().push(id);
    }

    fn tell(&self, result: Result<()>) {
        if let Some(call) = self.call.take() {
            call(result);
        }
    }

    /// What it comes to if it is over already.
    fn immediate_result(&self) -> Option<Result<()>> {
        let stream = &*self.stream;
        let errored = || stream.errored().map_or(Ok(()), Err);
        let will_emit_close = self.will_emit_close.get();
        let is_readable = side(
            stream,
            stream.has_readable_side(),
            stream.is_readable() && !stream.readable_ended(),
        );
        let is_writable = side(
            stream,
            stream.has_writable_side(),
            stream.is_writable() && !stream.writable_ended(),
        );
        if stream.closed() {
            return Some(self.result_of_close());
        }
        if stream.error_emitted() {
            return (!will_emit_close).then(errored);
        }
        let others_open = |open: Option<bool>| !will_emit_close || open == Some(true);
        if !self.readable
            && others_open(is_readable)
            && (self.writable_finished.get() || is_writable == Some(false))
            && !stream.has_writes()
        {
            return Some(errored());
        }
        if !self.writable
            && others_open(is_writable)
            && (self.readable_finished.get() || is_readable == Some(false))
        {
            return Some(errored());
        }
        None
    }

    /// What a 'close' means (getEosOnCloseError).
    fn result_of_close(&self) -> Result<()> {
        let stream = &*self.stream;
        if let Some(error) = stream.errored() {
            return Err(error);
        }
        if !stream.has_readable_side() && !stream.has_writable_side() {
            // Its slot is free: nobody knows any more how it ended.
            return Err(premature_close());
        }
        let reads = self.readable && stream.has_readable_side();
        let read = self.readable_finished.get() || is_readable_finished(stream);
        let written = self.writable_finished.get() || is_writable_finished(stream);
        if (reads && !read) || (self.writable && !written) {
            return Err(premature_close());
        }
        Ok(())
    }

    fn on_finish(&self) {
        self.writable_finished.set(true);
        if self.stream.destroyed() {
            self.will_emit_close.set(false);
        }
        if self.will_emit_close.get() && (!self.stream.is_readable() || self.readable) {
            return;
        }
        if !self.readable || self.readable_finished.get() {
            self.tell(Ok(()));
        }
    }

    fn on_end(&self) {
        self.readable_finished.set(true);
        if self.stream.destroyed() {
            self.will_emit_close.set(false);
        }
        if self.will_emit_close.get() && (!self.stream.is_writable() || self.writable) {
            return;
        }
        if !self.writable || self.writable_finished.get() {
            self.tell(Ok(()));
        }
    }
}
