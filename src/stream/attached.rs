//! What a module that builds on streams keeps with one of its own: a file, a descriptor, listeners of
//! further events.

use super::access::ask;
use super::handles::{Readable, Writable};
use super::state::{StreamState, flag, stream};
use super::{ending, writable};
use crate::event_loop::entry::Entry;
use crate::event_loop::extension::Attachment;
use crate::event_loop::handle::{Id, Raw};
use crate::event_loop::state::State;
use crate::event_loop::table;
use crate::ground::error::{Completion, Error};

/// Puts something with a stream; if that is gone, it is dropped.
pub(crate) fn attach(raw: Raw, attached: Box<dyn Attachment>) {
    // Dropped behind the borrow if it finds no place.
    let mut attached = Some(attached);
    table::with(raw, |state, id| {
        if let Some(it) = stream(state, id) {
            it.attached = attached.take();
        }
    });
}

/// What lies with a stream, if it is of this type.
pub(crate) fn attached<T: Attachment>(state: &mut State, id: Id) -> Option<&mut T> {
    attached_of(state.entry(id)?)
}

/// The same of an entry.
pub(crate) fn attached_of<T: Attachment>(entry: &mut Entry) -> Option<&mut T> {
    let Entry::Extension(extension) = entry else {
        return None;
    };
    let stream = extension.downcast::<StreamState>()?;
    stream.attached.as_mut()?.as_any().downcast_mut()
}

impl Readable {
    /// The source has failed: Node's `errorOrDestroy`.
    pub(crate) fn fail(self, error: Error) {
        let mut error = Some(error);
        table::with(self.0, |state, id| {
            if let Some(error) = error.take() {
                ending::error_or_destroy(state, id, error, true);
            }
        });
    }
}

impl Writable {
    /// A write that was tried at once, past the sink, has failed: as if the sink had answered so at once.
    pub(crate) fn write_has_failed(self, error: Error, done: Option<Completion>) {
        let mut failed = Some((error, done));
        table::with(self.0, |state, id| {
            if let Some((error, done)) = failed.take() {
                writable::write_has_failed(state, id, error, done);
            }
        });
    }

    /// Has pipes leave it open when their source has ended, as Node's leave standard output.
    pub(crate) fn stay_open_behind_pipes(self) {
        table::with(self.0, |state, id| {
            if let Some(it) = stream(state, id) {
                it.flags.set(flag::OPEN_BEHIND_PIPES);
            }
        });
    }

    /// Whether it is destroyed by itself.
    pub(crate) fn auto_destroy(self) -> bool {
        ask(self.0, false, |it| it.flags.any(flag::AUTO_DESTROY))
    }
}
