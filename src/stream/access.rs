//! From a handle to its stream, for [`handles`](super::handles) and the modules above.

use bytes::Bytes;

use super::state::{StreamState, stream};
use super::{ending, finishing, flowing, readable, writable};
use crate::event_loop::extension::{add_listener, remove_listener_and};
use crate::event_loop::handle::Raw;
use crate::event_loop::state::Dead;
use crate::event_loop::table;
use crate::ground::error::{Completion, Error};
use crate::ground::listeners::{ListenerId, Shared, shared};

/// Asks a stream something.
pub(super) fn ask<R>(raw: Raw, gone: R, question: impl FnOnce(&StreamState) -> R) -> R {
    table::with(raw, |state, id| Some(question(stream(state, id)?)))
        .flatten()
        .unwrap_or(gone)
}

/// A listener for one emission from a closure that can be called once.
pub(super) fn once(listener: impl FnOnce(Raw) + 'static) -> Shared<dyn FnMut(Raw)> {
    let mut listener = Some(listener);
    shared(move |raw| {
        if let Some(listener) = listener.take() {
            listener(raw);
        }
    })
}

pub(super) fn add_data(raw: Raw, call: Shared<dyn FnMut(Raw, &Bytes)>, once: bool) -> ListenerId {
    let id = add_listener(raw, super::state::DATA, call, once);
    table::with(raw, flowing::listens_to_data);
    id
}

pub(super) fn add_readable(raw: Raw, call: Shared<dyn FnMut(Raw)>, once: bool) -> ListenerId {
    let id = add_listener(raw, super::state::READABLE, call, once);
    table::with(raw, flowing::listens_to_readable);
    id
}

pub(super) fn off(raw: Raw, listener: ListenerId) {
    remove_listener_and(
        raw,
        listener,
        super::state::READABLE,
        flowing::stopped_listening,
    );
}

pub(super) fn push(raw: Raw, chunk: Bytes) -> bool {
    let mut chunk = Some(chunk);
    table::with(raw, |state, id| match chunk.take() {
        Some(chunk) => readable::push(state, id, chunk),
        None => false,
    })
    .unwrap_or(false)
}

pub(super) fn unshift(raw: Raw, chunk: Bytes) -> bool {
    let mut chunk = Some(chunk);
    table::with(raw, |state, id| match chunk.take() {
        Some(chunk) => readable::unshift(state, id, chunk),
        None => false,
    })
    .unwrap_or(false)
}

pub(super) fn write(raw: Raw, chunk: Bytes, done: Option<Completion>) -> bool {
    let mut given = Some((chunk, done));
    table::with(raw, |state, id| match given.take() {
        Some((chunk, done)) => writable::write(state, id, chunk, done),
        None => false,
    })
    .unwrap_or(false)
}

pub(super) fn end(raw: Raw, chunk: Option<Bytes>, done: Option<Completion>) {
    let mut given = Some((chunk, done));
    table::with(raw, |state, id| {
        if let Some((chunk, done)) = given.take() {
            finishing::end(state, id, chunk, done, false);
        }
    });
}

pub(super) fn destroy(raw: Raw, error: Option<Error>) {
    let mut error = error;
    table::with(raw, |state, id| {
        let error = error.take();
        match stream(state, id) {
            Some(_) => ending::destroy(state, id, error, false),
            None => state
                .graveyard
                .extend(error.map(|error| Dead::Other(Box::new(error)))),
        }
    });
}
