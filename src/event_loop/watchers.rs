//! Idle, prepare and check watchers: libuv's hooks into the turn (I1–I4).

use std::collections::VecDeque;
use std::panic::Location;

use slab::Slab;

use super::core::Core;
use super::handle::{Id, Watcher};
use super::table;
use super::trace;
use crate::ground::error::Result;

/// When a watcher runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WatcherKind {
    /// Before the prepare watchers; keeps every wait from blocking (I4).
    Idle,
    /// Right before the wait.
    Prepare,
    /// After the wait, behind the immediates.
    Check,
}

/// A watcher's callback.
pub(crate) type WatcherCall = Box<dyn FnMut(Watcher)>;

/// The watchers of a loop.
pub(crate) struct Watchers {
    /// All of them, by key.
    all: Slab<WatcherState>,
    /// Those that were started, by kind, in the order in which they run next. What was stopped is still in
    /// it, for a while.
    started: [VecDeque<Start>; 3],
    /// The rest of the phase under way, by kind; likewise.
    running: [VecDeque<Start>; 3],
    /// How many are started, by kind.
    counts: [usize; 3],
    /// Those that were started and are referenced.
    referenced: usize,
}

/// One watcher.
struct WatcherState {
    serial: u64,
    kind: WatcherKind,
    /// Away while it runs.
    call: Option<WatcherCall>,
    /// The serial of its start, while it is started.
    started: Option<u64>,
    referenced: bool,
    origin: &'static Location<'static>,
}

/// A start of a watcher: its place in a list. It means nothing once the watcher was stopped, also if that
/// is started again.
#[derive(Clone, Copy)]
struct Start {
    key: u32,
    serial: u64,
}

/// The lists of a kind may hold this many starts that mean nothing, and as many again as mean something. Beyond
/// that all of them are looked at: two or so for each watcher that was stopped meanwhile.
const STOPPED: usize = 64;

impl Watchers {
    pub(crate) fn new() -> Watchers {
        Watchers {
            all: Slab::new(),
            started: Default::default(),
            running: Default::default(),
            counts: [0; 3],
            referenced: 0,
        }
    }

    /// Bytes of memory that they keep.
    pub(crate) fn memory(&self) -> usize {
        let queues = self.started.iter().chain(&self.running);
        let queued: usize = queues.map(VecDeque::capacity).sum();
        self.all.capacity() * size_of::<WatcherState>() + queued * size_of::<Start>()
    }

    /// How many hold the loop.
    #[inline]
    pub(crate) fn referenced(&self) -> usize {
        self.referenced
    }

    /// Whether there are watchers at all, started or not.
    #[inline]
    pub(crate) fn has_any(&self) -> bool {
        !self.all.is_empty()
    }

    /// Whether a wait must not block (L14): an idle watcher is started.
    #[inline]
    pub(crate) fn is_idling(&self) -> bool {
        self.waits(WatcherKind::Idle)
    }

    /// Makes a watcher and starts it.
    pub(crate) fn add(
        &mut self,
        kind: WatcherKind,
        call: WatcherCall,
        origin: &'static Location<'static>,
    ) -> Id {
        let serial = table::next_serial();
        let key = self.all.insert(WatcherState {
            serial,
            kind,
            call: Some(call),
            started: None,
            referenced: true,
            origin,
        });
        let id = Id {
            key: u32::try_from(key).expect("fewer than 2^32 watchers"),
            serial,
        };
        self.start(id);
        id
    }

    /// Starts a watcher: at the front of its list (I1), so from the next turn on if its phase is
    /// under way (I2).
    pub(crate) fn start(&mut self, id: Id) {
        let Some(watcher) = self.get(id) else { return };
        if watcher.started.is_some() {
            return;
        }
        let serial = table::next_serial();
        watcher.started = Some(serial);
        let (kind, referenced) = (watcher.kind as usize, watcher.referenced);
        self.referenced += usize::from(referenced);
        self.counts[kind] += 1;
        self.started[kind].push_front(Start {
            key: id.key,
            serial,
        });
    }

    /// Stops a watcher, at once: it does not run in the phase under way (I2).
    pub(crate) fn stop(&mut self, id: Id) {
        let Some(watcher) = self.get(id) else { return };
        if watcher.started.take().is_none() {
            return;
        }
        let (kind, referenced) = (watcher.kind as usize, watcher.referenced);
        self.referenced -= usize::from(referenced);
        self.counts[kind] -= 1;
        let Watchers {
            all,
            started,
            running,
            counts,
            ..
        } = self;
        let needed = counts[kind];
        let lists = [&mut started[kind], &mut running[kind]];
        let listed: usize = lists.iter().map(|list| list.len()).sum();
        if needed == 0 || listed > 2 * needed + STOPPED {
            for list in lists {
                list.retain(|&start| started_by(all, start).is_some());
            }
        }
    }

    /// Ends a watcher and hands its callback out, unless it is running.
    pub(crate) fn close(&mut self, id: Id) -> Option<WatcherCall> {
        self.stop(id);
        self.get(id)?;
        self.all.remove(id.key as usize).call
    }

    pub(crate) fn set_referenced(&mut self, id: Id, referenced: bool) {
        let Some(watcher) = self.get(id) else { return };
        if watcher.referenced == referenced {
            return;
        }
        watcher.referenced = referenced;
        if watcher.started.is_some() {
            match referenced {
                true => self.referenced += 1,
                false => self.referenced -= 1,
            }
        }
    }

    pub(crate) fn is_referenced(&mut self, id: Id) -> bool {
        self.get(id).is_some_and(|watcher| watcher.referenced)
    }

    pub(crate) fn is_started(&mut self, id: Id) -> bool {
        self.get(id)
            .is_some_and(|watcher| watcher.started.is_some())
    }

    /// Where a watcher was made that exists.
    fn origin(&self, id: Id) -> &'static Location<'static> {
        self.all[id.key as usize].origin
    }

    /// Every watcher: kind, whether it is started and referenced, and where it was made.
    pub(crate) fn iter(
        &self,
    ) -> impl Iterator<Item = (WatcherKind, bool, bool, &'static Location<'static>)> {
        self.all.iter().map(|(_, watcher)| {
            (
                watcher.kind,
                watcher.started.is_some(),
                watcher.referenced,
                watcher.origin,
            )
        })
    }

    pub(crate) fn take_all(&mut self) -> Vec<Option<WatcherCall>> {
        let all = std::mem::replace(self, Watchers::new()).all;
        all.into_iter().map(|(_, watcher)| watcher.call).collect()
    }

    fn get(&mut self, id: Id) -> Option<&mut WatcherState> {
        self.all
            .get_mut(id.key as usize)
            .filter(|watcher| watcher.serial == id.serial)
    }

    /// Whether a phase has somebody to call.
    #[inline]
    pub(crate) fn waits(&self, kind: WatcherKind) -> bool {
        self.counts[kind as usize] > 0
    }

    /// Begins a phase: its first watcher, as [`next`](Watchers::next). What an earlier phase has left comes
    /// first.
    #[inline]
    fn first(&mut self, kind: WatcherKind) -> Option<(Id, Option<WatcherCall>)> {
        let (started, running) = (
            &mut self.started[kind as usize],
            &self.running[kind as usize],
        );
        if running.is_empty() {
            // One alone stays where it is: its list ends where it begins.
            if let (Some(&sole), 1) = (started.front(), started.len()) {
                return self.call(sole);
            }
            std::mem::swap(
                &mut self.running[kind as usize],
                &mut self.started[kind as usize],
            );
        }
        self.next(kind)
    }

    /// The next watcher of the phase, back at the end of its list, and its callback.
    #[inline]
    fn next(&mut self, kind: WatcherKind) -> Option<(Id, Option<WatcherCall>)> {
        match self.running[kind as usize].is_empty() {
            true => None,
            false => self.next_of_several(kind),
        }
    }

    #[inline(never)]
    fn next_of_several(&mut self, kind: WatcherKind) -> Option<(Id, Option<WatcherCall>)> {
        loop {
            let start = self.running[kind as usize].pop_front()?;
            if let Some(called) = self.call(start) {
                self.started[kind as usize].push_back(start);
                return Some(called);
            }
        }
    }

    /// A watcher that is to run, and its callback; none if it was stopped.
    #[inline]
    fn call(&mut self, start: Start) -> Option<(Id, Option<WatcherCall>)> {
        let watcher = started_by(&mut self.all, start)?;
        let id = Id {
            key: start.key,
            serial: watcher.serial,
        };
        Some((id, watcher.call.take()))
    }

    /// Puts a callback back that has run, or hands it out if its watcher is gone.
    fn put_back(&mut self, id: Id, call: Option<WatcherCall>) -> Option<WatcherCall> {
        match self.get(id) {
            Some(watcher) => {
                watcher.call = call;
                None
            }
            None => call,
        }
    }
}

/// The watcher of a start that still means something.
#[inline]
fn started_by(all: &mut Slab<WatcherState>, start: Start) -> Option<&mut WatcherState> {
    all.get_mut(start.key as usize)
        .filter(|watcher| watcher.started == Some(start.serial))
}

/// A phase of watchers: each that was started is a loop callback.
#[inline]
pub(crate) fn run_watchers(core: &Core, kind: WatcherKind) -> Result<()> {
    // Mostly nobody.
    match core.inside(|state| state.watchers.waits(kind)) {
        true => run_phase(core, kind, true),
        false => Ok(()),
    }
}

/// The rest of those that a phase has begun with.
pub(crate) fn run_rest(core: &Core, kind: WatcherKind) -> Result<()> {
    run_phase(core, kind, false)
}

#[inline(never)]
fn run_phase(core: &Core, kind: WatcherKind, begins: bool) -> Result<()> {
    let mut next = core.inside(|state| match begins {
        true => state.watchers.first(kind),
        false => state.watchers.next(kind),
    });
    while let Some((id, call)) = next {
        let watcher = Watcher(core.raw(id));
        core.was_called.set(false);
        if trace::on() {
            let origin = core.inside(|state| state.watchers.origin(id));
            core.trace(format_args!("{watcher:?} ({origin})"));
        }
        let mut running = Running { core, id, call };
        if let Some(call) = &mut running.call {
            call(watcher);
        }
        // One look ends its loop callback, and finds the next. A callback that has called nothing has left
        // nothing behind.
        let mut left = None;
        next = core.inside(|state| {
            let dead = state.watchers.put_back(id, running.call.take());
            if dead.is_none() && (!core.was_called.get() || state.is_quiet()) {
                return state.watchers.next(kind);
            }
            left = Some(dead);
            None
        });
        // It has nothing to put back any more.
        std::mem::forget(running);
        if let Some(dead) = left {
            drop(dead);
            core.finish_callback()?;
            next = core.inside(|state| state.watchers.next(kind));
        }
    }
    Ok(())
}

/// A watcher whose callback runs; puts it back when it panics.
struct Running<'a> {
    core: &'a Core,
    id: Id,
    call: Option<WatcherCall>,
}

impl Drop for Running<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.call.is_some() {
            self.put_back();
        }
    }
}

impl Running<'_> {
    #[cold]
    fn put_back(&mut self) {
        let call = self.call.take();
        let dead = self
            .core
            .with(|state| state.watchers.put_back(self.id, call));
        drop(dead);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(watchers: &mut Watchers) -> Id {
        watchers.add(WatcherKind::Idle, Box::new(|_| {}), Location::caller())
    }

    fn run(watchers: &mut Watchers, mut during: impl FnMut(&mut Watchers, Id)) -> Vec<Id> {
        let mut order = Vec::new();
        let mut next = watchers.first(WatcherKind::Idle);
        while let Some((id, call)) = next {
            order.push(id);
            during(watchers, id);
            watchers.put_back(id, call);
            next = watchers.next(WatcherKind::Idle);
        }
        order
    }

    #[test]
    fn i1_the_last_started_goes_first_then_the_order_is_stable() {
        let mut watchers = Watchers::new();
        let (a, b, c) = (add(&mut watchers), add(&mut watchers), add(&mut watchers));
        assert_eq!(run(&mut watchers, |_, _| {}), [c, b, a]);
        assert_eq!(run(&mut watchers, |_, _| {}), [c, b, a]);
    }

    #[test]
    fn i2_started_in_its_own_phase_runs_in_the_next_turn_at_the_front() {
        let mut watchers = Watchers::new();
        let a = add(&mut watchers);
        let mut added = None;
        let order = run(&mut watchers, |watchers, _| added = Some(add(watchers)));
        assert_eq!(order, [a]);
        assert_eq!(run(&mut watchers, |_, _| {}), [added.unwrap(), a]);
    }

    #[test]
    fn i2_stopped_or_closed_in_its_own_phase_does_not_run() {
        let mut watchers = Watchers::new();
        let (a, b, c) = (add(&mut watchers), add(&mut watchers), add(&mut watchers));
        let order = run(&mut watchers, |watchers, id| {
            if id == c {
                watchers.stop(b);
                watchers.close(a);
            }
        });
        assert_eq!(order, [c]);
        assert_eq!(watchers.referenced(), 1);
        watchers.start(b);
        assert_eq!(run(&mut watchers, |_, _| {}), [b, c]);
    }

    #[test]
    fn i2_stopped_and_started_again_in_its_own_phase_runs_in_the_next_turn() {
        let mut watchers = Watchers::new();
        let (a, b) = (add(&mut watchers), add(&mut watchers));
        let order = run(&mut watchers, |watchers, id| {
            assert_eq!(id, b);
            watchers.stop(a);
            watchers.start(a);
        });
        assert_eq!(order, [b]);
        assert_eq!(run(&mut watchers, |_, _| {}), [a, b]);
        assert_eq!(run(&mut watchers, |_, _| {}), [a, b]);
    }

    #[test]
    fn what_was_stopped_is_soon_in_no_list() {
        let mut watchers = Watchers::new();
        let all: Vec<_> = (0..1000).map(|_| add(&mut watchers)).collect();
        let kind = WatcherKind::Idle as usize;
        for (n, &id) in all.iter().enumerate() {
            let left = all.len() - n;
            assert_eq!(watchers.waits(WatcherKind::Idle), left > 0);
            assert!(watchers.started[kind].len() <= 2 * left + STOPPED);
            match n % 2 {
                0 => watchers.stop(id),
                _ => drop(watchers.close(id)),
            }
        }
        assert!(!watchers.waits(WatcherKind::Idle) && watchers.started[kind].is_empty());
        add(&mut watchers);
        for _ in 0..1000 {
            watchers.stop(all[0]);
            watchers.start(all[0]);
            assert!(watchers.started[kind].len() <= 4 + STOPPED);
        }
    }

    #[test]
    fn a_watcher_holds_the_loop_while_it_is_started_and_referenced() {
        let mut watchers = Watchers::new();
        let a = add(&mut watchers);
        assert_eq!(watchers.referenced(), 1);
        watchers.set_referenced(a, false);
        assert_eq!(watchers.referenced(), 0);
        watchers.stop(a);
        watchers.set_referenced(a, true);
        assert_eq!(watchers.referenced(), 0);
        watchers.start(a);
        assert_eq!(watchers.referenced(), 1);
        assert!(watchers.close(a).is_some());
        assert_eq!(watchers.referenced(), 0);
    }
}
