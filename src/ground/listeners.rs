//! Listener slots: who is called when an event is emitted.
//!
//! An emission takes the listeners **out** of their slot, calls them while nothing of the loop
//! is borrowed, and puts them back. What is added or removed meanwhile is noted in the slot and
//! merged when they return. So a listener may add, remove and replace listeners, itself
//! included, and one that panics is put back by whoever holds the [`Taken`].
//!
//! The ordinary case has a shorter way: the slot [shares](Slot::sole) a listener that is alone and
//! stays, for as long as it is called.

use super::mutations::mutated;
use std::cell::RefCell;
use std::rc::Rc;

/// Names one registration of a listener, for `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(pub(crate) u32);

/// A listener's closure: shared by its slot and by whoever calls it, so that neither borrows the
/// other. It is never called twice at a time: dispatch has a depth of one.
pub(crate) type Shared<F> = Rc<RefCell<F>>;

/// Makes a closure one that is shared.
pub(crate) fn shared<F>(closure: F) -> Shared<F> {
    Rc::new(RefCell::new(closure))
}

/// One registered listener.
pub(crate) struct Listener<F: ?Sized> {
    /// What is called.
    pub(crate) call: Shared<F>,
    /// The registration.
    pub(crate) id: ListenerId,
    /// Whether it is removed before its first call.
    pub(crate) once: bool,
    /// Whether that call was made.
    spent: bool,
}

impl<F: ?Sized> Listener<F> {
    pub(crate) fn new(call: Shared<F>, id: ListenerId, once: bool) -> Listener<F> {
        Listener {
            call,
            id,
            once,
            spent: false,
        }
    }
}

/// The listeners of one event of one object. Three words wide.
#[derive(Default)]
pub(crate) enum Slot<F: ?Sized> {
    /// Nobody listens.
    #[default]
    Empty,
    /// One listener: the ordinary case, without a further allocation.
    One(Listener<F>),
    /// Several, in the order of their registration. Boxed, so that a slot stays small.
    #[allow(clippy::box_collection, reason = "one word instead of three")]
    Many(Box<Vec<Listener<F>>>),
    /// Taken out by an emission; what was asked for meanwhile.
    Out(Option<Box<Changes<F>>>),
}

/// What happened to a slot while its listeners were out.
pub(crate) struct Changes<F: ?Sized> {
    /// New listeners, for the next emission (N16).
    added: Vec<Listener<F>>,
    /// Registrations that end when their listeners come back. They still run (N16).
    removed: Vec<ListenerId>,
}

/// The listeners of a running emission, out of their slot. Holds nothing once they are back.
pub(crate) struct Taken<F: ?Sized>(Slot<F>);

impl<F: ?Sized> Slot<F> {
    /// Whether nobody listens. A slot whose listeners are out has listeners.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Slot::Empty)
    }

    /// Those that are here, in the order of registration. None while they are out.
    fn present(&self) -> &[Listener<F>] {
        match self {
            Slot::One(listener) => std::slice::from_ref(listener),
            Slot::Many(listeners) => listeners,
            Slot::Empty | Slot::Out(_) => &[],
        }
    }

    /// Adds a listener behind the others.
    pub(crate) fn add(&mut self, listener: Listener<F>) {
        match self {
            Slot::Empty => *self = Slot::One(listener),
            Slot::One(_) => {
                let Slot::One(first) = std::mem::take(self) else {
                    unreachable!("matched above");
                };
                *self = Slot::Many(Box::new(vec![first, listener]));
            }
            Slot::Many(listeners) => listeners.push(listener),
            Slot::Out(changes) => Changes::of(changes).added.push(listener),
        }
    }

    /// Removes a listener. It is handed back, to be dropped where nothing is borrowed; one that
    /// is out at the moment is dropped when it comes back.
    pub(crate) fn remove(&mut self, id: ListenerId) -> Option<Listener<F>> {
        match self {
            Slot::Empty => None,
            Slot::One(listener) if listener.id == id => match std::mem::take(self) {
                Slot::One(listener) => Some(listener),
                _ => unreachable!("matched above"),
            },
            Slot::One(_) => None,
            Slot::Many(listeners) => {
                let at = listeners.iter().position(|listener| listener.id == id)?;
                let removed = listeners.remove(at);
                if listeners.is_empty() {
                    *self = Slot::Empty;
                }
                Some(removed)
            }
            Slot::Out(changes) => {
                let changes = Changes::of(changes);
                match changes.added.iter().position(|listener| listener.id == id) {
                    Some(at) => Some(changes.added.remove(at)),
                    None => {
                        changes.removed.push(id);
                        None
                    }
                }
            }
        }
    }

    /// The one listener that is there and there to stay. None in every other case: then
    /// [`take`](Slot::take) finds what there is.
    #[inline]
    pub(crate) fn sole(&self) -> Option<Shared<F>> {
        match self {
            Slot::One(listener) if !listener.once => Some(listener.call.clone()),
            _ => None,
        }
    }

    /// Whether this registration is the one listener that is there and there to stay.
    pub(crate) fn is_sole(&self, id: ListenerId) -> bool {
        matches!(self, Slot::One(listener) if listener.id == id && !listener.once)
    }

    /// Whether this registration is here. None if only the listeners that are out could tell.
    pub(crate) fn has(&self, id: ListenerId) -> Option<bool> {
        let among = |listeners: &[Listener<F>]| listeners.iter().any(|it| it.id == id);
        match self {
            Slot::Empty | Slot::One(_) | Slot::Many(_) => Some(among(self.present())),
            Slot::Out(changes) => {
                let added = changes.as_ref().is_some_and(|it| among(&it.added));
                added.then_some(true)
            }
        }
    }

    /// The listeners behind a registration, up to another if there is one: to be called later, whatever
    /// happens to the slot until then. None while they are out.
    pub(crate) fn between(&self, from: ListenerId, to: Option<ListenerId>) -> Vec<Listener<F>> {
        let between = |it: &&Listener<F>| from.0 < it.id.0 && to.is_none_or(|to| it.id.0 <= to.0);
        let chosen = self.present().iter().filter(between);
        chosen
            .map(|it| Listener::new(it.call.clone(), it.id, it.once))
            .collect()
    }

    /// Takes the listeners out for an emission. None if there are none, or if they are out.
    pub(crate) fn take(&mut self) -> Option<Taken<F>> {
        if matches!(self, Slot::Empty | Slot::Out(_)) {
            return None;
        }
        Some(Taken(std::mem::replace(self, Slot::Out(None))))
    }

    /// Puts the listeners of an emission back, without those that were removed meanwhile or were
    /// there for one emission. Returns whether such stay in `taken`, to be dropped where nothing is
    /// borrowed.
    pub(crate) fn put_back(&mut self, taken: &mut Taken<F>) -> bool {
        match (&mut *self, &taken.0) {
            // The ordinary case: one listener, and nothing happened to it.
            (Slot::Out(None), Slot::One(listener)) if !listener.spent => {
                std::mem::swap(self, &mut taken.0);
                false
            }
            _ => self.merge(taken),
        }
    }

    fn merge(&mut self, taken: &mut Taken<F>) -> bool {
        let Slot::Out(changes) = self else {
            // The object began a new life with new listeners: the old ones are gone.
            return true;
        };
        let changes = changes.take();
        *self = Slot::Empty;
        let (added, removed) = match changes {
            Some(changes) => (changes.added, changes.removed),
            None => (Vec::new(), Vec::new()),
        };
        let listeners = match std::mem::replace(&mut taken.0, Slot::Out(None)) {
            Slot::One(listener) => vec![listener],
            Slot::Many(listeners) => *listeners,
            Slot::Empty | Slot::Out(_) => Vec::new(),
        };
        let mut dead = Vec::new();
        for listener in listeners {
            if listener.spent || removed.contains(&listener.id) {
                dead.push(listener);
            } else {
                self.add(listener);
            }
        }
        for listener in added {
            self.add(listener);
        }
        let left = !dead.is_empty();
        if left {
            taken.0 = Slot::Many(Box::new(dead));
        }
        left
    }
}

impl<F: ?Sized> Changes<F> {
    fn of(changes: &mut Option<Box<Changes<F>>>) -> &mut Changes<F> {
        changes.get_or_insert_with(|| {
            Box::new(Changes {
                added: Vec::new(),
                removed: Vec::new(),
            })
        })
    }
}

impl<F: ?Sized> Taken<F> {
    /// Who they are, in the order of registration.
    pub(crate) fn all(&self) -> &[Listener<F>] {
        self.0.present()
    }

    /// Calls every listener, in the order of registration.
    pub(crate) fn each(&mut self, call: impl FnMut(&mut F)) {
        self.each_where(|_| true, call);
    }

    /// Calls those listeners that `chosen` wants, in the order of registration. It is asked in front of each.
    pub(crate) fn each_where(
        &mut self,
        chosen: impl Fn(&Listener<F>) -> bool,
        mut call: impl FnMut(&mut F),
    ) {
        let listeners = match &mut self.0 {
            Slot::One(listener) => std::slice::from_mut(listener),
            Slot::Many(listeners) => &mut listeners[..],
            Slot::Empty | Slot::Out(_) => &mut [],
        };
        if mutated!("the newest listener first") {
            listeners.reverse();
        }
        for listener in listeners {
            if chosen(listener) {
                listener.spent = listener.once;
                call(&mut listener.call.borrow_mut());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Tested = Slot<dyn FnMut(&mut Vec<u32>)>;

    fn listener(id: u32, once: bool) -> Listener<dyn FnMut(&mut Vec<u32>)> {
        let call = shared(move |log: &mut Vec<u32>| log.push(id));
        Listener::new(call, ListenerId(id), once)
    }

    fn emit(slot: &mut Tested, log: &mut Vec<u32>, during: impl FnOnce(&mut Tested)) {
        let Some(mut taken) = slot.take() else { return };
        taken.each(|call| call(log));
        during(slot);
        slot.put_back(&mut taken);
    }

    fn order(slot: &mut Tested) -> Vec<u32> {
        let mut log = Vec::new();
        emit(slot, &mut log, |_| {});
        log
    }

    #[test]
    fn three_words() {
        assert_eq!(size_of::<Tested>(), 3 * size_of::<usize>());
    }

    #[test]
    fn n16_called_in_the_order_of_registration() {
        let mut slot = Tested::Empty;
        assert!(slot.is_empty());
        for id in [3, 1, 2] {
            slot.add(listener(id, false));
        }
        assert_eq!(order(&mut slot), [3, 1, 2]);
        assert_eq!(order(&mut slot), [3, 1, 2]);
    }

    #[test]
    fn n16_added_during_an_emission_runs_at_the_next_one() {
        let mut slot = Tested::Empty;
        slot.add(listener(1, false));
        let mut log = Vec::new();
        emit(&mut slot, &mut log, |slot| slot.add(listener(2, false)));
        assert_eq!(log, [1]);
        assert_eq!(order(&mut slot), [1, 2]);
    }

    #[test]
    fn n16_removed_during_an_emission_still_runs_then_is_gone() {
        let mut slot = Tested::Empty;
        slot.add(listener(1, false));
        slot.add(listener(2, false));
        let mut log = Vec::new();
        emit(&mut slot, &mut log, |slot| {
            assert!(slot.remove(ListenerId(2)).is_none());
        });
        assert_eq!(log, [1, 2]);
        assert_eq!(order(&mut slot), [1]);
    }

    #[test]
    fn once_runs_once() {
        let mut slot = Tested::Empty;
        slot.add(listener(1, true));
        slot.add(listener(2, false));
        assert_eq!(order(&mut slot), [1, 2]);
        assert_eq!(order(&mut slot), [2]);
    }

    #[test]
    fn once_that_was_not_reached_stays() {
        let mut slot = Tested::Empty;
        slot.add(listener(1, true));
        slot.add(listener(2, true));
        let mut log = Vec::new();
        let mut taken = slot.take().unwrap();
        taken.each_where(|it| it.id == ListenerId(1), |call| call(&mut log));
        slot.put_back(&mut taken);
        drop(taken);
        assert_eq!(log, [1]);
        assert_eq!(order(&mut slot), [2]);
    }

    #[test]
    fn replaced_while_it_runs_is_put_back_nowhere() {
        let mut slot = Tested::Empty;
        slot.add(listener(1, false));
        emit(&mut slot, &mut Vec::new(), |slot| {
            slot.remove(ListenerId(1));
            slot.add(listener(2, false));
        });
        assert_eq!(order(&mut slot), [2]);
    }

    #[test]
    fn added_and_removed_during_one_emission_never_runs() {
        let mut slot = Tested::Empty;
        slot.add(listener(1, false));
        emit(&mut slot, &mut Vec::new(), |slot| {
            slot.add(listener(2, false));
            assert!(slot.remove(ListenerId(2)).is_some());
        });
        assert_eq!(order(&mut slot), [1]);
    }

    #[test]
    fn removing_the_last_leaves_the_slot_empty() {
        let mut slot = Tested::Empty;
        slot.add(listener(1, false));
        slot.add(listener(2, false));
        assert!(slot.remove(ListenerId(9)).is_none());
        assert!(slot.remove(ListenerId(1)).is_some());
        assert!(slot.remove(ListenerId(2)).is_some());
        assert!(slot.is_empty());
    }

    #[test]
    fn one_that_stays_is_shared() {
        let mut slot = Tested::Empty;
        assert!(slot.sole().is_none());
        slot.add(listener(1, false));
        let mut log = Vec::new();
        let call = slot.sole().unwrap();
        slot.remove(ListenerId(1));
        slot.add(listener(2, false));
        call.borrow_mut()(&mut log);
        assert_eq!(log, [1], "removed while it is called, it still runs");
        slot.add(listener(3, false));
        assert!(slot.sole().is_none(), "two are taken");
        let mut slot = Tested::Empty;
        slot.add(listener(4, true));
        assert!(slot.sole().is_none(), "one for one emission is taken");
    }

    #[test]
    fn a_slot_that_is_out_is_not_taken_again() {
        let mut slot = Tested::Empty;
        slot.add(listener(1, false));
        let taken = slot.take();
        assert!(taken.is_some());
        assert!(slot.take().is_none());
    }
}
