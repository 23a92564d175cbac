//! What is piped from a file into a socket need not be read: a worker takes it into a pipe of the kernel's,
//! which may wait for the disk, and the loop gives it to the socket from there, which does not wait.
//! (`sendfile` does both in one, and would have the loop wait for the disk.)
//!
//! A worker takes more than one chunk at a time. They are handed on one by one, as if each had been read and
//! written; as soon as the socket has enough, or somebody else wants to see them, the rest is forgotten and
//! taken again when its turn comes.

use bytes::Bytes;

use super::file::{self, Taken};
use super::read::{Next, has_read};
use super::state;
use crate::backend::{FILE_PIPE_SIZE, KernelPipe};
use crate::ground::error::Result;
use crate::stream::{Readable, diverting};

/// Node's chunk, of which the kernel sends no more with one inner call: see `src/backend/splice.rs`.
const HANDED_ON: usize = 64 * 1024;

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
        .and_then(|wanted| Some((wanted, diverting::lend_pipe(raw)?)));
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
            diverting::give_back(raw, None);
            state::with(raw, |it| it.is_special = true);
            return has_read(stream, Ok(result));
        }
        Err(error) => {
            diverting::give_back(raw, None);
            return has_read(stream, Err(error));
        }
    };
    match result {
        Ok(size) if size > 0 && !stream.destroyed() => {
            state::with(raw, |it| {
                it.is_busy = false;
                it.position = own;
            });
            hand_on(stream, pipe, size, chunk);
        }
        // The end; or it is gone, and with it the pipe.
        Ok(size) => {
            diverting::give_back(raw, (size == 0).then_some(pipe));
            has_read(stream, Ok(Ok(Bytes::new())));
        }
        Err(error) => {
            diverting::give_back(raw, Some(pipe));
            has_read(stream, Ok(Err(error)));
        }
    }
}

/// Hands on what is in a pipe, as far as it goes.
fn hand_on(stream: Readable, pipe: KernelPipe, size: usize, chunk: usize) {
    let raw = stream.0;
    let mut pipe = Some(pipe);
    let mut left = size;
    while left > 0 && pipe.is_some() {
        let next = left.min(chunk).min(HANDED_ON);
        if !diverting::hand_on(raw, &mut pipe, next, next < left) {
            break;
        }
        left -= next;
        state::with(raw, |it| it.advance(next));
    }
    // Somebody wants to see them from the beginning.
    let seen = match &pipe {
        Some(pipe) if left == size => Some(pipe.drain(left.min(chunk))),
        _ => None,
    };
    if let Some(seen) = &seen {
        left -= seen.as_ref().map_or(0, Bytes::len);
    }
    diverting::give_back(raw, pipe.filter(|_| left == 0));
    match seen {
        Some(seen) => has_read(stream, Ok(seen)),
        None => {
            // Nothing more: it is asked again when it may.
            stream.push(Bytes::new());
        }
    }
}
