//! `pipeline`: streams piped one into the next, looked after together. Node's
//! `internal/streams/pipeline`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::finished::{Finished, FinishedOptions, finished};
use super::pipe::{PipeOptions, pipe};
use super::traits::{ReadableStream, Stream, StreamEvent, WritableStream};
use crate::event_loop::handle::LoopHandle;
use crate::ground::error::{Error, Result};
use crate::ground::listeners::ListenerId;
use crate::ground::stream_errors::{destroyed_before, is_premature_close, premature_close};

/// A stream that can stand between two others.
pub trait DuplexStream: ReadableStream + WritableStream {
    /// As what it is read from.
    fn as_readable(&self) -> &dyn ReadableStream;
    /// As what it is written to.
    fn as_writable(&self) -> &dyn WritableStream;
}

impl<S: ReadableStream + WritableStream> DuplexStream for S {
    fn as_readable(&self) -> &dyn ReadableStream {
        self
    }

    fn as_writable(&self) -> &dyn WritableStream {
        self
    }
}

/// One run of `pipeline`.
struct Pipeline {
    event_loop: LoopHandle,
    /// Whom to tell, once.
    call: Cell<Option<Box<dyn FnOnce(Result<()>)>>>,
    /// The error that it ends with.
    error: RefCell<Option<Error>>,
    /// How many things are still to be finished.
    waits: Cell<usize>,
    /// Its streams, each to be destroyed if something fails.
    streams: RefCell<VecDeque<Rc<Member>>>,
    /// What is taken back from the last stream when all is well, if that can be read from.
    last: RefCell<Vec<Finished>>,
    last_listener: Cell<Option<(Rc<dyn Stream>, ListenerId)>>,
}

/// A stream of it.
struct Member {
    stream: Rc<dyn Stream>,
    /// Whether it is over and need not be destroyed.
    over: Cell<bool>,
}

/// Pipes `source` through the streams of `through` into `destination`: Node's `stream.pipeline`.
///
/// If any stream fails or closes early (`ERR_STREAM_PREMATURE_CLOSE`), all are destroyed, and
/// `done` gets the error; when the destination has finished, `done` gets `Ok`. It is called once,
/// on a tick. If the destination is destroyed already, `done` gets `ERR_STREAM_UNABLE_TO_PIPE`, and
/// the streams are left alone. (Node throws that.)
///
/// The streams may live in several loops of a thread; `done` is called in the source's loop. A
/// source whose loop is gone counts as closed early, and `done` is called in the destination's
/// loop.
///
/// ```
/// use nodeloop::stream::{Duplex, Writable, pipeline};
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = nodeloop::Loop::new()?;
/// let source = Duplex::pass_through(&lp);
/// let upper = Duplex::transform(&lp, |_, chunk, done| done.push(chunk.to_ascii_uppercase()));
/// let sink = Writable::new(&lp, |_, _, done| done.fail("the disk is full"));
/// pipeline(&source, &[&upper], &sink, move |result| {
///     assert_eq!(result.unwrap_err().to_string(), "the disk is full");
///     assert!(source.destroyed() && upper.destroyed());
/// });
/// source.write("hello");
/// lp.run()
/// # }
/// ```
pub fn pipeline(
    source: &dyn ReadableStream,
    through: &[&dyn DuplexStream],
    destination: &dyn WritableStream,
    done: impl FnOnce(Result<()>) + 'static,
) {
    let targets = through
        .iter()
        .map(|stream| stream.as_writable())
        .chain([destination]);
    let targets: Vec<&dyn WritableStream> = targets.collect();
    let source_lives = source.event_loop().exists();
    let run = Rc::new(Pipeline {
        event_loop: match source_lives {
            true => source.event_loop(),
            false => destination.event_loop(),
        },
        call: Cell::new(Some(Box::new(done))),
        error: RefCell::default(),
        waits: Cell::new(0),
        streams: RefCell::default(),
        last: RefCell::default(),
        last_listener: Cell::default(),
    });
    if targets.iter().any(|it| it.closed() || it.destroyed()) {
        let error = Error::library(
            "ERR_STREAM_UNABLE_TO_PIPE",
            "Cannot pipe to a closed or destroyed stream",
        );
        run.finish(Some(error), true);
        return;
    }
    run.watch(source.to_stream(), true, false);
    let mut from = source;
    for (n, &to) in targets.iter().enumerate() {
        run.watch(to.to_stream(), n < through.len(), true);
        run.waits.set(run.waits.get() + 2);
        run.join(from, to, n == through.len());
        if let Some(next) = through.get(n) {
            from = next.as_readable();
        }
    }
    if !source_lives {
        // No tick of its loop will tell.
        run.finish(Some(premature_close()), true);
    }
}

impl Pipeline {
    /// Looks after a stream, which is read from or written to or both here (destroyer).
    fn watch(self: &Rc<Pipeline>, stream: Rc<dyn Stream>, reading: bool, writing: bool) {
        let member = Rc::new(Member {
            stream: stream.clone(),
            over: Cell::new(false),
        });
        let it = member.clone();
        stream.listen(StreamEvent::Close, Box::new(move || it.over.set(true)));
        let it = member.clone();
        let options = FinishedOptions::new().readable(reading).writable(writing);
        let watch = finished(&*stream, options, move |result| it.over.set(result.is_ok()));
        self.streams.borrow_mut().push_back(member);
        let run = self.clone();
        let error = stream.listen_error(Box::new(move |error| {
            if !is_premature_close(error) {
                run.finish(Some(error.clone()), false);
            }
        }));
        let is_last = !reading;
        if is_last && stream.is_readable() {
            self.last.borrow_mut().push(watch);
            self.last_listener.set(Some((stream, error)));
        }
    }

    /// Joins two of them (pipe).
    fn join(
        self: &Rc<Pipeline>,
        from: &dyn ReadableStream,
        to: &dyn WritableStream,
        is_last: bool,
    ) {
        let ended = Rc::new(Cell::new(false));
        let (run, has_ended) = (self.clone(), ended.clone());
        let closed = Box::new(move || {
            if !has_ended.get() {
                run.finish(Some(premature_close()), false);
            }
        });
        to.listen(StreamEvent::Close, closed);
        pipe(from, to, PipeOptions::new().end(false));
        let destination = to.to_writable();
        let end = move || {
            if !ended.replace(true) {
                destination.end_piped();
            }
        };
        if from.errored().is_none() && from.readable_ended() {
            self.event_loop.next_tick(move |_| end());
        } else {
            from.listen(StreamEvent::End, Box::new(end));
        }
        let (run, source) = (self.clone(), from.to_stream());
        let options = FinishedOptions::new().readable(true).writable(false);
        finished(&*from.to_stream(), options, move |result| {
            let early = result.as_ref().is_err_and(is_premature_close);
            if early && source.source_has_ended() && source.errored().is_none() {
                // It has closed before its 'end', which is still to come.
                let ends = run.clone();
                let end = Box::new(move || ends.one_finished(None));
                source.listen(StreamEvent::End, end);
                return;
            }
            run.one_finished(result.err());
        });
        let run = self.clone();
        let options = FinishedOptions::new().readable(false).writable(true);
        let watch = finished(&*to.to_stream(), options, move |result| {
            run.one_finished(result.err());
        });
        if is_last && to.is_readable() {
            self.last.borrow_mut().push(watch);
        }
    }

    /// One of the things that it waits for is finished (finish).
    fn one_finished(&self, error: Option<Error>) {
        let left = self.waits.get().saturating_sub(1);
        self.waits.set(left);
        self.finish(error, left == 0);
    }

    /// An error, or the end of it all (finishImpl).
    fn finish(&self, error: Option<Error>, is_final: bool) {
        if let Some(error) = error {
            let mut first = self.error.borrow_mut();
            if first.as_ref().is_none_or(is_premature_close) {
                *first = Some(error);
            }
        }
        let error = self.error.borrow().clone();
        if error.is_none() && !is_final {
            return;
        }
        loop {
            let Some(member) = self.streams.borrow_mut().pop_front() else {
                break;
            };
            member.destroy(error.as_ref());
        }
        if !is_final {
            return;
        }
        if error.is_none() {
            for watch in self.last.take() {
                watch.cancel();
            }
            if let Some((stream, id)) = self.last_listener.take() {
                stream.off(id);
            }
        }
        if let Some(call) = self.call.take() {
            let result = error.map_or(Ok(()), Err);
            self.event_loop.next_tick(move |_| call(result));
        }
    }
}

impl Member {
    fn destroy(&self, error: Option<&Error>) {
        if self.over.replace(true) || self.stream.destroyed() {
            return;
        }
        let error = error.cloned();
        let error = error.unwrap_or_else(|| destroyed_before("pipe"));
        self.stream.destroy_for(error);
    }
}
