//! Immediates: Node's setImmediate, run in the check phase.

use std::collections::VecDeque;
use std::panic::Location;

use slab::Slab;

use super::core::Core;
use super::handle::{Id, Immediate};
use super::state::State;
use super::table;
use super::trace;
use crate::ground::error::Result;
use crate::ground::mutations::mutated;

/// An immediate's callback.
pub(crate) type ImmediateCall = Box<dyn FnOnce(Immediate)>;

/// The immediates of a loop.
pub(crate) struct Immediates {
    /// Those that wait, by key.
    waiting: Slab<Waiting>,
    /// Queued since the last check phase began, in order. What was cleared is still in it.
    queue: VecDeque<Id>,
    /// The rest of the check phase under way (N7).
    running: VecDeque<Id>,
    /// Those that hold the loop.
    referenced: usize,
}

/// One immediate.
struct Waiting {
    serial: u64,
    call: ImmediateCall,
    referenced: bool,
    origin: &'static Location<'static>,
}

impl Immediates {
    pub(crate) fn new() -> Immediates {
        Immediates {
            waiting: Slab::new(),
            queue: VecDeque::new(),
            running: VecDeque::new(),
            referenced: 0,
        }
    }

    /// Bytes of memory that they keep.
    pub(crate) fn memory(&self) -> usize {
        self.waiting.capacity() * size_of::<Waiting>()
            + (self.queue.capacity() + self.running.capacity()) * size_of::<Id>()
    }

    /// How many hold the loop, and keep a wait from blocking (N60).
    #[inline]
    pub(crate) fn referenced(&self) -> usize {
        self.referenced
    }

    /// Whether there are immediates at all.
    #[inline]
    pub(crate) fn has_any(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn add(&mut self, call: ImmediateCall, origin: &'static Location<'static>) -> Id {
        let serial = table::next_serial();
        let key = self.waiting.insert(Waiting {
            serial,
            call,
            referenced: true,
            origin,
        });
        let id = Id {
            key: u32::try_from(key).expect("fewer than 2^32 immediates"),
            serial,
        };
        self.referenced += 1;
        self.queue.push_back(id);
        id
    }

    /// Ends an immediate and hands its callback out; it does not run (N33).
    pub(crate) fn remove(&mut self, id: Id) -> Option<ImmediateCall> {
        self.take(id).map(|waiting| waiting.call)
    }

    fn take(&mut self, id: Id) -> Option<Waiting> {
        self.get(id)?;
        let waiting = self.waiting.remove(id.key as usize);
        self.referenced -= usize::from(waiting.referenced);
        if self.waiting.is_empty() {
            // Nothing but cleared ones are left in the queues.
            self.queue.clear();
            self.running.clear();
        }
        Some(waiting)
    }

    pub(crate) fn set_referenced(&mut self, id: Id, referenced: bool) {
        let Some(waiting) = self.get(id) else { return };
        if mutated!("unref of an immediate does nothing") {
            return;
        }
        if waiting.referenced != referenced {
            waiting.referenced = referenced;
            match referenced {
                true => self.referenced += 1,
                false => self.referenced -= 1,
            }
        }
    }

    /// False once it has run (N32).
    pub(crate) fn is_referenced(&mut self, id: Id) -> bool {
        self.get(id).is_some_and(|waiting| waiting.referenced)
    }

    /// Every immediate: whether it is referenced, and where it was made.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (bool, &'static Location<'static>)> {
        self.waiting
            .iter()
            .map(|(_, waiting)| (waiting.referenced, waiting.origin))
    }

    pub(crate) fn take_all(&mut self) -> Vec<ImmediateCall> {
        self.queue.clear();
        self.running.clear();
        self.referenced = 0;
        let waiting = std::mem::take(&mut self.waiting);
        waiting
            .into_iter()
            .map(|(_, waiting)| waiting.call)
            .collect()
    }

    fn get(&mut self, id: Id) -> Option<&mut Waiting> {
        self.waiting
            .get_mut(id.key as usize)
            .filter(|waiting| waiting.serial == id.serial)
    }

    /// Begins a check phase: what is queued from now on waits for the next (N7). What an earlier
    /// phase has left comes first (N14).
    fn begin(&mut self) -> bool {
        if self.running.is_empty() {
            std::mem::swap(&mut self.running, &mut self.queue);
        }
        !self.running.is_empty()
    }

    fn next(&mut self) -> Option<(Id, Waiting)> {
        if mutated!("immediates made meanwhile run too") {
            self.running.append(&mut self.queue);
        }
        while let Some(id) = self.running.pop_front() {
            if let Some(waiting) = self.take(id) {
                return Some((id, waiting));
            }
        }
        None
    }
}

/// The immediates' part of the check phase: each is a loop callback.
pub(crate) fn run_immediates(core: &Core) -> Result<()> {
    match core.inside(|state: &mut State| state.immediates.begin()) {
        true => run_rest(core),
        false => Ok(()),
    }
}

/// The rest of those that a check phase has begun with.
pub(crate) fn run_rest(core: &Core) -> Result<()> {
    while let Some((id, waiting)) = core.inside(|state| state.immediates.next()) {
        let immediate = Immediate(core.raw(id));
        if trace::on() {
            core.trace(format_args!("{immediate:?} ({})", waiting.origin));
        }
        core.callback(|_| (waiting.call)(immediate))?;
    }
    Ok(())
}
