//! Answers: how the maker of a stream says that something is done.

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;

use super::{ending, finishing, transform, writable};
use crate::event_loop::handle::Raw;
use crate::event_loop::table;
use crate::ground::chunk::Chunk;
use crate::ground::error::{Error, Result};

/// What is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Construct,
    Write,
    Finalize,
    Destroy,
    Transform,
    Flush,
}

impl Question {
    fn name(self) -> &'static str {
        match self {
            Question::Construct => "construct",
            Question::Write => "write",
            Question::Finalize => "final",
            Question::Destroy => "destroy",
            Question::Transform => "transform",
            Question::Flush => "flush",
        }
    }
}

/// The answer that a stream's maker owes for a call: Node's `callback`.
///
/// [`ok`](Done::ok) or [`fail`](Done::fail) may be called at once or at any time later; the stream
/// waits until then. Dropping it without an answer fails the call with `ECANCELED`. (In Node the
/// stream would wait for ever.)
#[must_use = "a stream waits for its answer"]
pub struct Done(Answer);

/// The answer of a transform: [`Done`] with bytes.
///
/// [`push`](TransformDone::push) answers with output; use [`ok`](TransformDone::ok) when there is
/// none, or when it went through [`Duplex::push`](super::Duplex::push) already.
#[must_use = "a stream waits for its answer"]
pub struct TransformDone(Answer);

/// An answer that is owed.
struct Answer {
    raw: Raw,
    question: Question,
    /// Whether it was given.
    given: bool,
}

impl Done {
    pub(super) fn new(raw: Raw, question: Question) -> Done {
        Done(Answer {
            raw,
            question,
            given: false,
        })
    }

    /// Reports success: Node's `callback()`.
    pub fn ok(mut self) {
        self.0.give(Ok(None));
    }

    /// Reports a failure: Node's `callback(error)`. The stream is destroyed with the error.
    pub fn fail(mut self, error: impl Into<Box<dyn StdError + Send + Sync>>) {
        let error = Error::new(error);
        self.0.give(Err(error));
    }

    /// Either.
    pub fn result(mut self, result: Result<()>) {
        self.0.give(result.map(|()| None));
    }
}

impl TransformDone {
    pub(super) fn new(raw: Raw, question: Question) -> TransformDone {
        TransformDone(Answer {
            raw,
            question,
            given: false,
        })
    }

    /// Reports success without further output: Node's `callback()`.
    pub fn ok(mut self) {
        self.0.give(Ok(None));
    }

    /// Reports success with this output: Node's `callback(null, chunk)`.
    pub fn push<'a>(mut self, chunk: impl Into<Chunk<'a>>) {
        let chunk = chunk.into().take_rest(0);
        self.0.give(Ok(Some(chunk)));
    }

    /// Reports a failure: Node's `callback(error)`. The stream is destroyed with the error.
    pub fn fail(mut self, error: impl Into<Box<dyn StdError + Send + Sync>>) {
        let error = Error::new(error);
        self.0.give(Err(error));
    }
}

impl Answer {
    fn give(&mut self, result: Result<Option<Bytes>>) {
        if std::mem::replace(&mut self.given, true) {
            return;
        }
        let mut result = Some(result);
        let question = self.question;
        table::with(self.raw, |state, id| {
            let stream = super::state::stream(state, id)?;
            stream.outstanding -= 1;
            let result = result.take()?;
            match question {
                Question::Construct => ending::construct_done(state, id, result.map(|_| ())),
                Question::Write => writable::on_write(state, id, result.map(|_| ())),
                Question::Finalize => finishing::on_final(state, id, result.map(|_| ())),
                Question::Destroy => ending::on_destroy(state, id, result.err()),
                Question::Transform => transform::transformed(state, id, result),
                Question::Flush => transform::flushed(state, id, result),
            }
            ending::reap_if_over(state, id);
            Some(())
        });
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.given {
            let error = Error::call(self.question.name(), "ECANCELED");
            self.give(Err(error));
        }
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Done({} of {:?})", self.0.question.name(), self.0.raw)
    }
}

impl fmt::Debug for TransformDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answer { raw, question, .. } = self.0;
        write!(f, "TransformDone({} of {raw:?})", question.name())
    }
}
