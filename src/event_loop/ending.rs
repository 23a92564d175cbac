//! How the writable side of a socket ends: `end`, the half-close, 'finish'. The names of Node's
//! functions stand beside what mirrors them.

use super::entry::{Stream, flag, stream_of};
use super::handle::Id;
use super::state::State;
use super::task::{SocketEvent, Task};
use crate::ground::chunk::Chunk;
use crate::ground::error::{Completion, Error};
use crate::ground::mutations::mutated;
use crate::ground::stream_errors::{already_finished, destroyed_before};

impl State {
    /// `end`: a last chunk if there is one, then no more.
    pub(crate) fn end(&mut self, id: Id, chunk: Option<&mut Chunk<'_>>, done: Option<Completion>) {
        if chunk.is_none() {
            self.flush(id);
        }
        if self.stream(id).is_none() {
            self.complete_later(done, Err(Error::handle_gone));
            return;
        }
        let mut failed = None;
        if let Some(chunk) = chunk {
            failed = self.write_or_fail(id, chunk, None).err();
        }
        if let Some(stream) = self.stream(id)
            && stream.common.flags.any(flag::CORKED)
        {
            // `end` opens every cork (N187).
            if !mutated!("end opens one cork") {
                stream.extra().corked = 1;
            }
            self.uncork(id);
        }
        let Some(stream) = self.stream(id) else {
            return;
        };
        let flags = stream.common.flags;
        if failed.is_some() {
            // The write has reported it.
        } else if flags.any(flag::DESTROYED) && !flags.any(flag::FINISHED) {
            // Node takes note of the call, but forgets the callback; ours are called exactly once.
            if !flags.any(flag::ERRORED) {
                stream.common.flags.set(flag::ENDING);
            }
            failed = Some(destroyed_before("end"));
        } else if !flags.any(flag::ENDING | flag::ERRORED) {
            stream.common.flags.set(flag::ENDING);
            self.finish_maybe(id);
        } else if flags.any(flag::FINISHED) {
            failed = Some(already_finished());
        }
        let Some(done) = done else { return };
        let Some(stream) = self.stream(id) else {
            return;
        };
        let errored = match stream.common.flags.any(flag::ERRORED) {
            true => stream.errored.clone(),
            false => None,
        };
        match failed.or(errored) {
            Some(error) => self.ticks.push(Task::Complete(done, Err(error))),
            None => stream.extra().on_finished.push(done),
        }
    }

    /// The tick after 'end': the peer has ended, so we do (endWritableNT).
    pub(crate) fn end_writable(&mut self, id: Id) {
        if self.stream(id).is_some_and(|stream| stream.is_writable()) {
            self.end(id, None, None);
        }
    }

    /// Asks for the half-close once everything is written (finishMaybe, prefinish). It happens
    /// in the next pending phase (S4), after 'connect' at the earliest (N104).
    pub(crate) fn finish_maybe(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let flags = stream.common.flags;
        if !stream.needs_finish() || flags.any(flag::FINAL_CALLED) {
            return;
        }
        stream.common.flags.set(flag::FINAL_CALLED);
        if flags.any(flag::UNCONNECTED) {
            // There is nothing to half-close.
            self.ticks.push(Task::Finish(id));
        } else if !flags.any(flag::CONNECTING) {
            self.ask_for_shutdown(id);
        }
    }

    /// Asked for twice where what was written before the connection stood goes out in 'connect'.
    pub(crate) fn ask_for_shutdown(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        if stream.common.flags.any(flag::SHUTDOWN_PENDING) {
            return;
        }
        stream.common.flags.set(flag::SHUTDOWN_PENDING);
        self.live.requests += 1;
        self.pending.push_back(id);
    }

    /// A deferred completion: a half-close, or a connection that was refused at once.
    pub(crate) fn serve_pending(&mut self, id: Id) {
        self.finish_connect(id);
        self.shut_down(id);
    }

    /// The half-close itself, and the tick that brings 'finish' (onFinish).
    fn shut_down(&mut self, id: Id) {
        let State {
            entries,
            backend,
            live,
            ticks,
            ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        if !stream.common.flags.any(flag::SHUTDOWN_PENDING) {
            return;
        }
        stream.common.flags.clear(flag::SHUTDOWN_PENDING);
        live.requests -= 1;
        if let Some(io) = &stream.io {
            // Node's afterShutdown ignores its status: a peer that is gone shows in the read.
            let _ = backend.shutdown(io);
        }
        if stream.needs_finish() {
            ticks.push(Task::Finish(id));
        }
    }

    /// The completions of `end`, then 'finish' (N120).
    pub(crate) fn finish(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        stream.common.flags.set(flag::FINISHED);
        let done = match &mut stream.extra {
            Some(extra) => std::mem::take(&mut extra.on_finished),
            None => Vec::new(),
        };
        if mutated!("'finish' before the completions of end") {
            self.steps.push_back(Task::Emit(id, SocketEvent::Finish));
        }
        self.steps
            .extend(done.into_iter().map(|done| Task::Complete(done, Ok(()))));
        if !mutated!("'finish' before the completions of end") {
            self.steps.push_back(Task::Emit(id, SocketEvent::Finish));
        }
        self.steps.push_back(Task::AfterFinish(id));
    }

    /// After 'finish': if the peer has ended too the socket closes (N126).
    pub(crate) fn after_finish(&mut self, id: Id) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        if stream
            .common
            .flags
            .any(flag::END_EMITTED | flag::DESTROY_ON_FINISH)
        {
            self.destroy(id, None);
        }
    }

    /// `destroy_soon`: ends, and destroys after 'finish' without waiting for the peer (N133).
    pub(crate) fn destroy_soon(&mut self, id: Id) {
        if self.stream(id).is_some_and(|stream| stream.is_writable()) {
            self.end(id, None, None);
        }
        let Some(stream) = self.stream(id) else {
            return;
        };
        let finished = stream.common.flags.any(flag::FINISHED);
        match finished || mutated!("destroy_soon does not wait") {
            true => self.destroy(id, None),
            false => stream.common.flags.set(flag::DESTROY_ON_FINISH),
        }
    }
}

impl Stream {
    /// Whether `end` was called and nothing stands before the half-close (needFinish).
    fn needs_finish(&self) -> bool {
        let flags = self.common.flags;
        let prevented = flag::DESTROYED
            | flag::FINISHED
            | flag::WRITING
            | flag::ERROR_EMITTED
            | flag::CLOSE_EMITTED
            | flag::ERRORED;
        flags.any(flag::ENDING) && !flags.any(prevented) && self.write_length() == 0
    }
}
