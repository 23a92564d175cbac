//! Reading into a buffer of the user's: Node's `onread`.
//!
//! The buffer and its callback lie in a box of the socket's. Both are taken out while a read fills the
//! one and calls the other, and put back by a drop guard.

use bytes::Bytes;

use super::core::Core;
use super::entry::flag;
use super::handle::{Id, Socket};
use super::state::{Dead, State};
use crate::ground::listeners::Shared;

/// What is called with a buffer that was read into. Returns whether reading goes on.
pub(crate) type OwnCall = dyn FnMut(Socket, usize, &mut Vec<u8>) -> bool;

/// A user's buffer.
pub(crate) struct OwnBuffer {
    pub(crate) buffer: Vec<u8>,
    pub(crate) call: Shared<OwnCall>,
}

impl State {
    /// Has a socket read into a buffer from now on. What it had before comes back, to be dropped
    /// where nothing is borrowed.
    pub(crate) fn read_into(&mut self, id: Id, own: OwnBuffer) -> Option<Box<OwnBuffer>> {
        let own = Box::new(own);
        let Some(stream) = self.stream(id) else {
            return Some(own);
        };
        stream.common.flags.set(flag::OWN_BUFFER);
        let before = stream.extra().own.replace(own);
        if stream.read_length() > 0 {
            // What nobody has taken yet comes first.
            self.start_flow(id);
        }
        before
    }

    /// Takes a socket's buffer out, to be filled.
    pub(crate) fn take_own(&mut self, id: Id) -> Option<Box<OwnBuffer>> {
        self.stream(id)?.extra.as_mut()?.own.take()
    }

    /// Puts it back, unless there is another by now or the socket is gone.
    pub(crate) fn put_back_own(&mut self, id: Id, own: &mut Option<Box<OwnBuffer>>) {
        if let Some(stream) = self.stream(id)
            && stream.common.flags.any(flag::OWN_BUFFER)
        {
            let place = &mut stream.extra().own;
            if place.is_none() {
                *place = own.take();
            }
        }
    }

    /// `resume` of a socket with a buffer of its own reads at once (N155).
    pub(crate) fn resume_own(&mut self, id: Id) {
        if let Some(stream) = self.stream(id)
            && stream.common.flags.any(flag::OWN_BUFFER)
            && !stream.common.flags.any(flag::CONNECTING)
        {
            self.want_more(id);
        }
    }

    /// `pause` of a socket with a buffer of its own stops reading at once: nothing is buffered.
    pub(crate) fn pause_own(&mut self, id: Id) {
        if let Some(stream) = self.stream(id)
            && stream.common.flags.any(flag::OWN_BUFFER)
        {
            self.set_reading(id, false);
        }
    }
}

/// A buffer while its callback looks at it.
struct Lent<'a> {
    core: &'a Core,
    id: Id,
    own: Option<Box<OwnBuffer>>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let (id, own) = (self.id, &mut self.own);
        self.core.with(|state| state.put_back_own(id, own));
    }
}

/// Tells the callback that its buffer holds so many bytes more. It may hold reading back.
pub(crate) fn deliver(core: &Core, id: Id, own: Box<OwnBuffer>, size: usize) -> bool {
    let mut lent = Lent {
        core,
        id,
        own: Some(own),
    };
    let Some(own) = &mut lent.own else {
        return false;
    };
    let goes_on = own.call.borrow_mut()(Socket(core.raw(id)), size, &mut own.buffer);
    if !goes_on {
        core.inside(|state| state.set_reading(id, false));
    }
    goes_on
}

/// Delivers a chunk that was buffered before there was a buffer, piece by piece. What is held back
/// goes back to where it came from.
pub(crate) fn deliver_buffered(core: &Core, id: Id, chunk: Bytes) {
    let mut rest = Rest { core, id, chunk };
    while !rest.chunk.is_empty() {
        let chunk = &mut rest.chunk;
        let filled = core.inside(|state| {
            let mut own = state.take_own(id)?;
            let size = chunk.len().min(own.buffer.len());
            own.buffer[..size].copy_from_slice(&chunk[..size]);
            if size == 0 {
                state.put_back_own(id, &mut Some(own));
                return None;
            }
            Some((own, size))
        });
        let goes_on = filled.is_some_and(|(own, size)| {
            let _ = chunk.split_to(size);
            deliver(core, id, own, size)
        });
        if !goes_on {
            core.inside(|state| state.stop_flow(id));
            return;
        }
    }
}

/// What is left of a chunk; put back when it is dropped, also by a panic.
struct Rest<'a> {
    core: &'a Core,
    id: Id,
    chunk: Bytes,
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        let (id, rest) = (self.id, std::mem::take(&mut self.chunk));
        if !rest.is_empty() {
            self.core.inside(|state| state.put_back_rest(id, rest));
        }
    }
}

impl State {
    fn stop_flow(&mut self, id: Id) {
        if let Some(stream) = self.stream(id) {
            stream.common.flags.clear(flag::FLOWING);
        }
    }

    fn put_back_rest(&mut self, id: Id, rest: Bytes) {
        match self.stream(id) {
            Some(stream) => stream.extra().reads.push_front(rest),
            None => self.graveyard.push(Dead::Chunk(rest)),
        }
    }
}
