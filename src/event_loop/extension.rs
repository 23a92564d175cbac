//! Objects of the floors above: streams.
//!
//! The loop keeps them in its slab, frees them when they are over, and performs what they have queued
//! as ticks and as steps of loop callbacks. What they are it does not know.

use std::any::Any;

use super::core::{Core, SlotOf};
use super::entry::{Common, Entry};
use super::handle::{Id, Raw};
use super::info::HandleKind;
use super::state::{Reap, State};
use super::table;
use super::task::Task;
use crate::ground::listeners::{Listener, ListenerId, Shared};

/// What the loop wants to know of an object.
pub(crate) trait Object: Any {
    /// Whether it has ended, so that its slot can be freed.
    fn is_over(&self) -> bool;
    /// Removes a listener from whichever slot holds it, boxed, to be dropped elsewhere.
    fn remove_listener(&mut self, id: ListenerId) -> Option<Box<dyn Any>>;
    /// What it does while it is active, for people.
    fn activity(&self) -> String;
    /// The object as what it is.
    fn as_any(&mut self) -> &mut dyn Any;
}

/// What a floor above keeps with any object, listeners among it.
pub(crate) trait Attachment: Any {
    /// Removes a listener, boxed, to be dropped elsewhere.
    fn remove_listener(&mut self, id: ListenerId) -> Option<Box<dyn Any>>;
    /// The attachment as what it is.
    fn as_any(&mut self) -> &mut dyn Any;
}

/// An object of a floor above, in its slot.
pub(crate) struct Extension {
    /// What all objects have.
    pub(crate) common: Common,
    /// What it is, for people.
    pub(crate) kind: HandleKind,
    /// Requests of it that are outstanding, which hold the loop: work in another thread is not among
    /// them, since it counts by itself.
    pub(crate) requests: usize,
    /// The object.
    pub(crate) object: Box<dyn Object>,
    /// What is kept with it.
    pub(crate) attached: Option<Box<dyn Attachment>>,
}

/// Something that an object does as a tick or as a step. There is one for each kind of thing; what it
/// is to be done with lies in the object.
pub(crate) struct Work {
    /// What it does, for people; an event in quotation marks.
    pub(crate) what: &'static str,
    /// Whether a person who follows the loop wants to know: it calls user code.
    pub(crate) is_told: bool,
    /// Does it. User code is called while nothing is borrowed.
    pub(crate) perform: fn(&Core, Id),
}

/// Work that only leads to other work, of which the log says nothing.
pub(crate) const fn quiet(what: &'static str, perform: fn(&Core, Id)) -> Work {
    Work {
        what,
        is_told: false,
        perform,
    }
}

/// Work that calls user code, of which the log tells.
pub(crate) const fn told(what: &'static str, perform: fn(&Core, Id)) -> Work {
    Work {
        what,
        is_told: true,
        perform,
    }
}

/// Work of an object.
pub(crate) type WorkOf = &'static Work;

impl Extension {
    /// The object, if it is of this type.
    #[inline]
    pub(crate) fn downcast<T: Object>(&mut self) -> Option<&mut T> {
        self.object.as_any().downcast_mut()
    }
}

impl Entry {
    /// What is kept with a socket or with an object of a floor above; made if it is asked for.
    pub(crate) fn attachment<T: Attachment + Default>(&mut self, create: bool) -> Option<&mut T> {
        let place = match self {
            Entry::Stream(stream) => {
                if create {
                    stream.extra();
                }
                &mut stream.extra.as_mut()?.attached
            }
            Entry::Extension(extension) => &mut extension.attached,
            Entry::Server(_) | Entry::Datagram(_) => return None,
        };
        if create && place.is_none() {
            *place = Some(Box::new(T::default()));
        }
        place.as_mut()?.as_any().downcast_mut()
    }
}

impl Extension {
    /// Removes a listener from whichever slot holds it.
    pub(crate) fn remove_listener(&mut self, id: ListenerId) -> Option<Box<dyn Any>> {
        if let Some(removed) = self.object.remove_listener(id) {
            return Some(removed);
        }
        self.attached.as_mut()?.remove_listener(id)
    }
}

impl State {
    /// The object with this id, if it is of this type.
    #[inline]
    pub(crate) fn extension<T: Object>(&mut self, id: Id) -> Option<&mut T> {
        match self.entry(id)? {
            Entry::Extension(extension) => extension.downcast(),
            _ => None,
        }
    }

    /// Has work done as a tick.
    pub(crate) fn tick(&mut self, id: Id, work: WorkOf) {
        self.ticks.push(Task::Extension(id, work));
    }

    /// Has work done as a step of the present loop callback: behind the user code that is running, in
    /// front of all ticks.
    pub(crate) fn step(&mut self, id: Id, work: WorkOf) {
        self.steps.push_back(Task::Extension(id, work));
    }

    /// The object's last event is being emitted: it is freed when the ticks have run dry.
    pub(crate) fn reap(&mut self, id: Id) {
        self.reap.push(Reap::Entry(id));
    }
}

impl Core {
    /// Does work of an object, [within](Self::within) what waits.
    pub(crate) fn perform_work(&self, id: Id, work: WorkOf) {
        self.within(|| (work.perform)(self, id));
    }

    /// Does something. What it leaves as steps comes next, in front of the steps that waited already:
    /// where Node calls one function from another, the inner one is done before the outer one goes on.
    #[inline]
    pub(crate) fn within(&self, act: impl FnOnce()) {
        let _within = Within {
            core: self,
            waiting: self.with(|state| state.steps.len()),
        };
        act();
    }
}

/// Puts what was left as steps in front of those that waited, also when a listener panics.
struct Within<'a> {
    core: &'a Core,
    /// How many waited.
    waiting: usize,
}

impl Drop for Within<'_> {
    #[inline]
    fn drop(&mut self) {
        let waiting = self.waiting;
        self.core.with(|state| {
            if waiting > 0 && state.steps.len() > waiting {
                state.steps.rotate_left(waiting);
            }
        });
    }
}

/// Adds a listener to an object; if that is gone the listener is dropped.
pub(crate) fn add_listener<F: ?Sized + 'static>(
    raw: Raw,
    slot: SlotOf<F>,
    call: Shared<F>,
    once: bool,
) -> ListenerId {
    // Dropped behind the borrow if it finds no place.
    let mut call = Some(call);
    let added = table::with(raw, |state, id| {
        let listener = state.next_listener_id();
        let slot = slot(state.entry(id)?, true)?;
        slot.add(Listener::new(call.take()?, listener, once));
        Some(listener)
    });
    added.flatten().unwrap_or(ListenerId(0))
}

/// Removes a listener.
pub(crate) fn remove_listener(raw: Raw, listener: ListenerId) {
    table::with(raw, |state, id| {
        let removed = state.entry(id)?.remove_listener(listener)?;
        state.bury(removed);
        Some(())
    });
}

/// Removes a listener, and does what follows if it was one of this slot's.
pub(crate) fn remove_listener_and<F: ?Sized>(
    raw: Raw,
    listener: ListenerId,
    slot: SlotOf<F>,
    then: impl FnOnce(&mut State, Id),
) {
    table::with(raw, |state, id| {
        let entry = state.entry(id)?;
        let is_here = slot(entry, false).map_or(Some(false), |slot| slot.has(listener));
        let removed = entry.remove_listener(listener);
        if let Some(removed) = removed {
            state.bury(removed);
        }
        // If the slot's listeners are out, it is they who are called.
        let was_here = is_here.unwrap_or_else(|| state.called.contains(&listener));
        if was_here {
            then(state, id);
        }
        Some(())
    });
}
