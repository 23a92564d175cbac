//! What is piped from a file into a socket need not be read: a worker takes it into a pipe of the kernel's,
//! which may wait for the disk, and the loop gives it to the socket from there, which does not wait.
//! (`sendfile` does both in one, and would have the loop wait for the disk.)
//!
//! A worker takes more than one chunk at a time: a *fill*. Its chunks are handed on one by one, as if each
//! had been read and written; as soon as the socket has enough, or somebody else wants to see them, the rest
//! is forgotten and taken again when its turn comes. While one fill is handed on a worker takes the next,
//! unless the one before was not taken whole. Where several files are sent, each hands on one chunk and then
//! lets the others: a socket that gets much at once only queues it, at the price of a timer for each segment
//! if TCP paces itself.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::file::{self, Taken};
use super::read::{Next, has_read};
use super::state;
use crate::backend::{FILE_PIPE_SIZE, KernelPipe};
use crate::event_loop::handle::{Id, Raw};
use crate::event_loop::jobs;
use crate::ground::error::Result;
use crate::stream::{Readable, diverting};

/// Node's chunk, of which the kernel sends no more with one inner call: see `src/backend/splice.rs`.
const HANDED_ON: usize = 64 * 1024;

/// What a stream keeps of what is on its way.
#[derive(Default)]
pub(super) struct Unread {
    /// Whether the fill before went on whole. If not, one that is taken ahead would be taken in vain.
    is_steady: bool,
    /// The fill behind the one that is handed on.
    ahead: Option<Ahead>,
    /// What is done when the worker is through with it.
    then: Option<Then>,
    /// The socket that was told of bytes to come with the last chunk of a fill.
    told: Option<Id>,
}

/// A fill that is taken before its turn.
enum Ahead {
    /// A worker is at it. Set when there are bytes in the pipe.
    Coming(Arc<AtomicBool>),
    /// It is there.
    There(KernelPipe, io::Result<usize>),
}

/// What waits for a worker.
enum Then {
    /// The fill in front of it has gone on.
    GoOn,
    /// The fill in front of it has not: what is to be seen first, if anything, and this one is forgotten.
    Forget(Option<io::Result<Bytes>>),
}

/// What a worker has taken, on its way.
struct Fill {
    /// Closed when a socket fails.
    pipe: Option<KernelPipe>,
    size: usize,
    /// How much of it is left.
    left: usize,
    /// How much is handed on at a time, at most.
    chunk: usize,
    /// The socket that was told of more to come.
    told: Option<Id>,
}

impl Fill {
    fn new(pipe: KernelPipe, size: usize, chunk: usize, told: Option<Id>) -> Fill {
        Fill {
            pipe: Some(pipe),
            size,
            left: size,
            chunk,
            told,
        }
    }
}

/// Has a worker take what is next, if it would go on unread at this moment. Gives it back otherwise.
pub(super) fn take(stream: Readable, next: Next) -> Option<Next> {
    let raw = stream.0;
    let wanted = state::with(raw, |it| {
        // One that was opened by its path is read from its beginning, and nobody else moves it.
        let own = it.position.or(it.path.is_some().then_some(it.bytes));
        // What can't be taken again is taken as much at a time as is handed on.
        let most = own.map_or(next.size.min(HANDED_ON), |_| FILE_PIPE_SIZE);
        let size = usize::try_from(it.left()).map_or(most, |left| left.min(most));
        (!it.is_special).then_some((own, size))
    });
    let lent = wanted
        .flatten()
        .and_then(|wanted| Some((wanted, diverting::begin(raw)?)));
    let Some(((own, size), pipe)) = lent else {
        return Some(next);
    };
    let Next {
        file,
        position,
        size: chunk,
        origin,
    } = next;
    let take = move || {
        let otherwise = || file::read(&file, position, chunk);
        file::take(&file, own, size, pipe, otherwise)
    };
    state::work(raw, origin, take, move |result| {
        has_taken(stream, own, chunk, result);
    });
    None
}

/// A worker has taken what is next, from this position on if nobody else moves it.
fn has_taken(stream: Readable, own: Option<u64>, chunk: usize, result: Result<Taken>) {
    let raw = stream.0;
    let (pipe, result) = match result {
        Ok(Taken::Unread(pipe, result)) => (pipe, result),
        Ok(Taken::Read(result)) => {
            diverting::finish(raw);
            state::with(raw, |it| it.is_special = true);
            return has_read(stream, Ok(result));
        }
        Err(error) => {
            diverting::finish(raw);
            return has_read(stream, Err(error));
        }
    };
    match result {
        Ok(size) if size > 0 && !stream.destroyed() => {
            state::with(raw, |it| {
                it.is_busy = false;
                it.position = own;
            });
            begin(stream, Fill::new(pipe, size, chunk, None));
        }
        result => no_fill(stream, pipe, result),
    }
}

/// There is nothing to hand on: the end, an error; or it is gone, and with it the pipe.
fn no_fill(stream: Readable, pipe: KernelPipe, result: io::Result<usize>) {
    let raw = stream.0;
    diverting::give_back(raw, (!matches!(result, Ok(1..))).then_some(pipe));
    diverting::finish(raw);
    has_read(stream, Ok(result.map(|_| Bytes::new())));
}

/// It is a fill's turn.
fn begin(stream: Readable, fill: Fill) {
    look_ahead(stream, fill.size, fill.chunk);
    hand_on(stream, fill);
}

/// Has a worker take what comes behind a fill of this size.
fn look_ahead(stream: Readable, size: usize, chunk: usize) {
    let raw = stream.0;
    let wanted = state::with(raw, |it| {
        let left = it.left().saturating_sub(size as u64);
        if !it.unread.is_steady || size < FILE_PIPE_SIZE || left == 0 {
            return None;
        }
        let from = it.position? + size as u64;
        let most = usize::try_from(left).map_or(FILE_PIPE_SIZE, |left| left.min(FILE_PIPE_SIZE));
        Some((it.file.clone()?, from, most, it.origin))
    });
    let lent = wanted
        .flatten()
        .and_then(|wanted| Some((wanted, diverting::lend_pipe(raw)?)));
    let Some(((file, from, most, origin), pipe)) = lent else {
        return;
    };
    let is_there = Arc::new(AtomicBool::new(false));
    state::with(raw, |it| {
        it.is_busy = true;
        it.unread.ahead = Some(Ahead::Coming(is_there.clone()));
    });
    let take = move || {
        let result = pipe.fill(&file, Some(from), most);
        is_there.store(matches!(result, Ok(1..)), Ordering::Release);
        (pipe, result)
    };
    state::work(raw, origin, take, move |result| {
        has_looked_ahead(stream, chunk, result);
    });
}

/// A worker has taken what comes next but one.
fn has_looked_ahead(
    stream: Readable,
    chunk: usize,
    result: Result<(KernelPipe, io::Result<usize>)>,
) {
    let raw = stream.0;
    let then = state::with(raw, |it| {
        it.unread.ahead = None;
        it.unread.then.take()
    });
    let then = then.flatten();
    if stream.destroyed() {
        if then.is_some() {
            stop(stream);
        }
        return state::idle(raw, None);
    }
    state::with(raw, |it| it.is_busy = false);
    match (then, result) {
        (None, Ok((pipe, result))) => {
            state::with(raw, |it| {
                it.unread.ahead = Some(Ahead::There(pipe, result));
            });
        }
        // There is no thread for it. It is asked for again.
        (None, Err(_)) => {}
        (Some(Then::GoOn), Ok((pipe, result))) => go_on(stream, pipe, result, chunk),
        (Some(Then::GoOn), Err(_)) => {
            stop(stream);
            stream.push(Bytes::new());
        }
        (Some(Then::Forget(seen)), result) => forget(stream, result.ok(), seen),
    }
}

/// Hands on what is in a pipe, as far as it goes.
fn hand_on(stream: Readable, mut fill: Fill) {
    let raw = stream.0;
    while fill.left > 0 && fill.pipe.is_some() {
        let next = fill.left.min(fill.chunk).min(HANDED_ON);
        let has_more = next < fill.left || is_next_there(raw);
        let Some(to) = diverting::hand_on(raw, &mut fill.pipe, next, has_more) else {
            break;
        };
        fill.left -= next;
        fill.told = has_more.then_some(to);
        let origin = state::with(raw, |it| {
            it.advance(next);
            it.origin
        });
        if fill.left > 0
            && fill.pipe.is_some()
            && diverting::has_company(raw)
            && let Some(origin) = origin
        {
            let lp = raw.event_loop();
            return jobs::later(lp, origin, fill, move |fill| hand_on(stream, fill));
        }
    }
    match fill.left {
        0 => has_gone_on(stream, fill),
        _ => has_stopped(stream, fill),
    }
}

/// Whether the fill behind the one that is handed on will follow it at once.
fn is_next_there(raw: Raw) -> bool {
    let is_there = state::with(raw, |it| match &it.unread.ahead {
        Some(Ahead::Coming(is_there)) => is_there.load(Ordering::Acquire),
        Some(Ahead::There(_, result)) => matches!(result, Ok(1..)),
        None => false,
    });
    is_there == Some(true)
}

/// A fill has gone on whole.
fn has_gone_on(stream: Readable, fill: Fill) {
    let raw = stream.0;
    diverting::give_back(raw, fill.pipe);
    let next = state::with(raw, |it| {
        it.unread.is_steady = true;
        it.unread.told = fill.told;
        match it.unread.ahead.take()? {
            Ahead::There(pipe, result) => Some((pipe, result)),
            coming => {
                it.unread.ahead = Some(coming);
                it.unread.then = Some(Then::GoOn);
                None
            }
        }
    });
    match next.flatten() {
        Some((pipe, result)) => go_on(stream, pipe, result, fill.chunk),
        None if waits(raw) => {}
        None => {
            stop(stream);
            stream.push(Bytes::new());
        }
    }
}

/// The next fill is there.
fn go_on(stream: Readable, pipe: KernelPipe, result: io::Result<usize>, chunk: usize) {
    let told = state::with(stream.0, |it| it.unread.told.take());
    match result {
        Ok(size) if size > 0 => begin(stream, Fill::new(pipe, size, chunk, told.flatten())),
        // What can't be taken is read.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => forget(stream, None, None),
        result => no_fill(stream, pipe, result),
    }
}

/// The rest of a fill does not go on: the socket has enough, or somebody wants to see it.
fn has_stopped(stream: Readable, fill: Fill) {
    let raw = stream.0;
    if let Some(to) = fill.told {
        diverting::push_out(raw, to);
    }
    // From the beginning.
    let mut left = fill.left;
    let seen = match &fill.pipe {
        Some(pipe) if left == fill.size => Some(pipe.drain(left.min(fill.chunk))),
        _ => None,
    };
    if let Some(Ok(seen)) = &seen {
        left -= seen.len();
    }
    diverting::give_back(raw, fill.pipe.filter(|_| left == 0));
    let mut seen = Some(seen);
    let ahead = state::with(raw, |it| {
        it.unread.is_steady = false;
        match it.unread.ahead.take()? {
            Ahead::There(pipe, result) => Some((pipe, result)),
            coming => {
                it.unread.ahead = Some(coming);
                it.unread.then = seen.take().map(Then::Forget);
                None
            }
        }
    });
    if let Some(seen) = seen {
        forget(stream, ahead.flatten(), seen);
    }
}

/// Forgets what was taken ahead. What is to be seen is.
fn forget(
    stream: Readable,
    ahead: Option<(KernelPipe, io::Result<usize>)>,
    seen: Option<io::Result<Bytes>>,
) {
    if let Some((pipe, result)) = ahead {
        diverting::give_back(stream.0, (!matches!(result, Ok(1..))).then_some(pipe));
    }
    stop(stream);
    match seen {
        Some(seen) => has_read(stream, Ok(seen)),
        None => {
            // Nothing more: it is asked again when it may.
            stream.push(Bytes::new());
        }
    }
}

/// Nothing is on its way any more.
fn stop(stream: Readable) {
    let raw = stream.0;
    let told = state::with(raw, |it| it.unread.told.take());
    if let Some(to) = told.flatten() {
        diverting::push_out(raw, to);
    }
    diverting::finish(raw);
}

/// Whether something waits for a worker.
fn waits(raw: Raw) -> bool {
    state::with(raw, |it| it.unread.then.is_some()) == Some(true)
}
