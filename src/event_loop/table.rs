//! The loops of a thread, and how a handle finds its own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::core::Core;
use super::handle::{Id, Raw};
use super::state::State;

thread_local! {
    /// The thread's loops, by index.
    static LOOPS: RefCell<Vec<Option<Rc<Core>>>> = const { RefCell::new(Vec::new()) };
    /// The last serial that was given out.
    static SERIAL: Cell<u64> = const { Cell::new(0) };
}

/// A number that no object of this thread had before.
pub(crate) fn next_serial() -> u64 {
    SERIAL.with(|serial| {
        serial.set(serial.get() + 1);
        serial.get()
    })
}

/// Enters a loop into the table. None while the thread dies.
pub(crate) fn add(make: impl FnOnce(u32) -> Rc<Core>) -> Option<Rc<Core>> {
    LOOPS
        .try_with(|loops| {
            let mut loops = loops.borrow_mut();
            let index = loops.iter().position(Option::is_none).unwrap_or_else(|| {
                loops.push(None);
                loops.len() - 1
            });
            let core = make(index as u32);
            loops[index] = Some(core.clone());
            core
        })
        .ok()
}

/// Takes a loop out of the table: from now on its handles are gone.
pub(crate) fn remove(index: u32) {
    // While the thread dies the table may be gone already.
    let removed = LOOPS.try_with(|loops| {
        let mut loops = loops.borrow_mut();
        loops.get_mut(index as usize).and_then(Option::take)
    });
    drop(removed);
}

/// The loop at an index, if it is there. None too while the thread dies.
#[inline]
pub(crate) fn find(index: u32) -> Option<Rc<Core>> {
    LOOPS
        .try_with(|loops| loops.borrow().get(index as usize).cloned().flatten())
        .ok()
        .flatten()
}

/// Does something with a handle's loop while it is borrowed, so `act` must not call user code.
/// None if the loop is gone; whether the object is there `act` has to see.
#[inline]
pub(crate) fn with<R>(raw: Raw, act: impl FnOnce(&mut State, Id) -> R) -> Option<R> {
    enter(raw.index, |core| {
        Some(core.act(|state| act(state, raw.id())))
    })
}

/// The same for what discards nothing unless the loop is in `run`: `act` is told.
#[inline]
pub(crate) fn with_running<R>(raw: Raw, act: impl FnOnce(&mut State, Id, bool) -> R) -> Option<R> {
    enter(raw.index, |core| {
        let result = core.with_running(|state, running| act(state, raw.id(), running));
        Some((result, false))
    })
}

/// The same with the loop that had this index and this serial.
#[inline]
pub(crate) fn with_loop<R>(
    index: u32,
    serial: u64,
    act: impl FnOnce(&mut State) -> R,
) -> Option<R> {
    // Left here if the place is another loop's by now, and dropped behind the borrow of the table.
    let mut act = Some(act);
    enter(index, |core| {
        let act = act.take_if(|_| core.serial == serial)?;
        Some(core.act(act))
    })
}

/// Looks at a loop in its place in the table, so that no count of its owners changes; then sees to
/// what was discarded. If the loop is gone, `look` is dropped where the table is not borrowed any
/// more: it may hold a user's closure.
#[inline]
fn enter<R>(index: u32, look: impl FnOnce(&Core) -> Option<(R, bool)>) -> Option<R> {
    let (result, buries) = LOOPS
        .try_with(|loops| {
            let loops = loops.borrow();
            look(loops.get(index as usize)?.as_ref()?)
        })
        .ok()
        .flatten()?;
    if buries {
        // Destructors are user code: they run when the table is no longer borrowed.
        drop_the_dead(index);
    }
    Some(result)
}

#[cold]
fn drop_the_dead(index: u32) {
    if let Some(core) = find(index) {
        core.drop_the_dead();
    }
}
