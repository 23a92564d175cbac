//! The loop as a user sees it: [`Loop`], [`LoopHandle`], [`AsLoop`].

use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use super::builder::Builder;
use super::core::Core;
use super::handle::{
    Id, Immediate, Job, LoopHandle, Raw, Server, Socket, Timer, UdpSocket, Watcher,
};
use super::state::State;
use super::table;
use super::task::{Task, TickCall};
use super::turn::{self, RunMode};
use super::waiting;
use super::watchers::{WatcherCall, WatcherKind};
use crate::backend::Counts;
use crate::ground::error::Result;

/// An event loop: libuv's `uv_loop_t` with Node's queues on top.
///
/// It owns every server, socket, timer and listener that is made in it, and closes and drops them
/// when it is dropped. It dereferences to its [`LoopHandle`], which has the rest of the API.
///
/// A thread may have several loops. A loop belongs to its thread.
///
/// ```
/// use nodeloop::Loop;
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = Loop::new()?;
/// lp.set_timeout_once(10, |timer| println!("{} ms later", timer.event_loop().now()));
/// lp.run()
/// # }
/// ```
pub struct Loop {
    core: Rc<Core>,
    handle: LoopHandle,
}

impl Loop {
    /// Makes a loop on the operating system's poller.
    ///
    /// # Errors
    /// What making the poller fails with, such as `EMFILE`.
    pub fn new() -> Result<Loop> {
        Loop::builder().build()
    }

    /// Makes a loop with other settings than the usual ones.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn of(core: Rc<Core>) -> Loop {
        let handle = core.handle();
        Loop { core, handle }
    }

    /// A `Copy` handle to this loop.
    pub fn handle(&self) -> LoopHandle {
        self.handle
    }

    /// Runs the loop until nothing keeps it alive, or [`stop`](LoopHandle::stop): libuv's
    /// `UV_RUN_DEFAULT`, and what a Node process does after its main script.
    ///
    /// What was queued outside, such as ticks, runs first.
    ///
    /// # Errors
    /// - The error of an 'error' event that nobody listened to, if there is no
    ///   [`on_uncaught_error`](LoopHandle::on_uncaught_error); and what [`fail`](LoopHandle::fail) was
    ///   given. Nothing is lost: `run` may be called again and goes on where it was, with the ticks and then
    ///   the rest of the turn. Where its immediates were over, or it was in no turn, another one follows
    ///   that does not wait, as in Node.
    /// - `ERR_LOOP_RUNNING` if one of the loop's own listeners calls it.
    /// - What waiting for events fails with.
    ///
    /// # Panics
    /// With what a listener panics with. The loop stays sound, and `run` may be called again here, too:
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = nodeloop::Loop::new()?;
    /// lp.next_tick(|_| panic!("a bug"));
    /// lp.next_tick(|_| println!("and on"));
    /// while std::panic::catch_unwind(|| lp.run()).is_err() {}
    /// # Ok(())
    /// # }
    /// ```
    pub fn run(&self) -> Result<()> {
        turn::run(&self.core, RunMode::Default).map(drop)
    }

    /// Runs one turn, which waits if there is nothing to do: libuv's `UV_RUN_ONCE`. Returns
    /// whether something still keeps the loop alive. Behind an error it runs the rest of the turn that was
    /// cut short instead, and does not wait.
    ///
    /// It may have done nothing: the wait ends at the latest when a timer would have been due, also for an
    /// unreferenced one that was cleared, which leaves its time behind as in Node.
    ///
    /// # Errors
    /// As [`run`](Loop::run).
    pub fn run_once(&self) -> Result<bool> {
        turn::run(&self.core, RunMode::Once)
    }

    /// Runs one turn without waiting: libuv's `UV_RUN_NOWAIT`. Returns whether something still
    /// keeps the loop alive. Timers run at the end of the turn, if they are due by then. Behind an error it
    /// runs the rest of the turn that was cut short instead.
    ///
    /// # Errors
    /// As [`run`](Loop::run).
    pub fn run_nowait(&self) -> Result<bool> {
        turn::run(&self.core, RunMode::NoWait)
    }
}

impl Deref for Loop {
    type Target = LoopHandle;

    fn deref(&self) -> &LoopHandle {
        &self.handle
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.core.shut_down();
    }
}

impl fmt::Debug for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loop").field(&self.handle).finish()
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for Loop {
    /// The poller's descriptor, to wait for in another loop: libuv's `uv_backend_fd`. Wait for it
    /// to become readable, for [`poll_timeout`](LoopHandle::poll_timeout) at most, then call
    /// [`run_nowait`](Loop::run_nowait), whatever ended the wait; go on while the loop
    /// [is alive](LoopHandle::is_alive). `examples/embedded.rs` does so. The null backend has none and
    /// gives -1. To own one, or borrow one: [`try_clone_fd`](LoopHandle::try_clone_fd).
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.core.with(|state| {
            let descriptor = state.backend.descriptor();
            descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd())
        })
    }
}

/// Everything that belongs to a loop: loops, their handles, and the handles of what lives in them.
///
/// What is made in a loop takes `&impl AsLoop`, so a listener makes further things with the
/// handle that it is given.
pub trait AsLoop {
    /// The loop it belongs to.
    fn event_loop(&self) -> LoopHandle;
}

impl AsLoop for Loop {
    fn event_loop(&self) -> LoopHandle {
        self.handle
    }
}

impl AsLoop for LoopHandle {
    fn event_loop(&self) -> LoopHandle {
        *self
    }
}

impl Raw {
    /// The loop that a handle belongs to; a loop without a name if it is gone. Serials are counted
    /// per thread, so what is older than the loop at its index belonged to an earlier one there.
    pub(crate) fn event_loop(self) -> LoopHandle {
        match table::find(self.index) {
            Some(core) if core.serial < self.id().serial => core.handle(),
            _ => LoopHandle {
                index: u32::MAX,
                serial: 0,
                not_send: std::marker::PhantomData,
            },
        }
    }
}

macro_rules! as_loop {
    ($($handle:ident),+) => {
        $(
            impl $handle {
                /// The loop that it belongs to.
                pub fn event_loop(&self) -> LoopHandle {
                    self.0.event_loop()
                }
            }

            impl AsLoop for $handle {
                fn event_loop(&self) -> LoopHandle {
                    self.0.event_loop()
                }
            }
        )+
    };
}

as_loop!(Server, Socket, UdpSocket, Timer, Immediate, Watcher, Job);

impl LoopHandle {
    /// Does something with the loop while it is borrowed; None if it is gone.
    #[inline]
    pub(crate) fn with<R>(self, act: impl FnOnce(&mut State) -> R) -> Option<R> {
        table::with_loop(self.index, self.serial, act)
    }

    /// Whether the loop is not gone.
    pub(crate) fn exists(self) -> bool {
        self.with(|_| ()).is_some()
    }

    /// A handle to an object of this loop; one to nothing if the loop is gone.
    pub(crate) fn raw(self, id: Option<Id>) -> Raw {
        Raw::new(self.index, id.unwrap_or(Id::NONE))
    }

    /// Makes `run` return after the present turn: libuv's `uv_stop`. The turn is completed,
    /// closing and timers included, but does not wait. Called outside `run` it makes the next
    /// `run` return at once. Nothing is lost: `run` may be called again and goes on where it was.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = nodeloop::Loop::new()?;
    /// lp.set_interval(1, |timer| timer.event_loop().stop());
    /// lp.run()?; // It would not return otherwise.
    /// assert!(lp.is_alive());
    /// # Ok(())
    /// # }
    /// ```
    pub fn stop(self) {
        self.with(|state| state.stop = true);
    }

    /// Whether anything keeps the loop alive: libuv's `uv_loop_alive`. An active referenced handle
    /// (a listening server, a socket that reads, a bound UDP socket), an outstanding request (a write in
    /// flight, a half-close, work of a worker thread), a referenced timer, immediate, watcher or channel,
    /// what another thread has posted, or something that is closing or queued, ticks included: see
    /// [`liveness`](crate::manual::liveness).
    ///
    /// Not the rest of a turn that an error has cut short: the next `run`, `run_once` or `run_nowait` goes on
    /// with it all the same.
    pub fn is_alive(self) -> bool {
        self.with(|state| state.is_alive()).unwrap_or(false)
    }

    /// Sends what the present callback has written to any socket and what was laid aside to be sent
    /// when it returns: for a callback that blocks, or exits the process, right after it has
    /// written. See [`Builder::gather`]. No call of Node's: there each write is its own system call.
    pub fn flush(self) {
        self.with(|state| {
            state.flush_all();
            state.flush_outbox();
        });
    }

    /// The turn's clock in milliseconds since the loop was made: libuv's `uv_now`. It is read once
    /// per turn and stands still during it; starting a timer reads it anew.
    pub fn now(self) -> u64 {
        self.with(|state| state.now_ms()).unwrap_or(0)
    }

    /// Reads the turn's clock anew, after work that took long: libuv's `uv_update_time`.
    pub fn update_time(self) {
        self.with(|state| state.update_time());
    }

    /// How many turns the loop has begun: libuv's `loop_count`.
    pub fn turns(self) -> u64 {
        self.with(|state| state.turns).unwrap_or(0)
    }

    /// How often the loop has asked the operating system for something.
    pub fn counts(self) -> Counts {
        self.with(|state| state.backend.counts())
            .unwrap_or_default()
    }

    /// For embedding: how long another loop may wait for this one's descriptor, by the clock of this
    /// moment. None is without limit; zero if something is, or may be, to be done at once, or nothing is alive,
    /// or the loop is gone. libuv's `uv_backend_timeout`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = nodeloop::Loop::new()?;
    /// lp.set_timeout(500, |_| {});
    /// assert!(lp.poll_timeout() <= Some(Duration::from_millis(500)));
    /// lp.next_tick(|_| {});
    /// assert_eq!(lp.poll_timeout(), Some(Duration::ZERO));
    /// # Ok(())
    /// # }
    /// ```
    pub fn poll_timeout(self) -> Option<Duration> {
        self.with(waiting::poll_timeout)
            .unwrap_or(Some(Duration::ZERO))
    }

    /// Calls `callback` after the present loop callback and the ticks queued before: Node's
    /// `process.nextTick`. Outside `run` it is called when `run` begins.
    ///
    /// Ticks run before anything else in the loop does, so a tick that queues ticks for ever
    /// starves it (N8); after 10,000 in one go a warning is logged.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = nodeloop::Loop::new()?;
    /// lp.set_immediate(|immediate| {
    ///     immediate.event_loop().next_tick(|_| println!("second"));
    ///     println!("first");
    /// });
    /// lp.set_immediate(|_| println!("third"));
    /// lp.run()
    /// # }
    /// ```
    #[track_caller]
    pub fn next_tick(self, callback: impl FnOnce(LoopHandle) + 'static) {
        let origin = Location::caller();
        let call: TickCall = Box::new(callback);
        self.with(move |state| state.ticks.push(Task::User(call, origin)));
    }

    /// Makes and starts an idle watcher: `callback` runs once in each turn before the prepare
    /// watchers, and the loop never waits: it turns at full speed, which is for work in small pieces.
    /// libuv's `uv_idle_t`. The watcher that was started last runs first.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = nodeloop::Loop::new()?;
    /// let mut numbers = 1..=1000;
    /// let mut sum = 0;
    /// lp.idle(move |watcher| match numbers.next() {
    ///     Some(number) => sum += number,
    ///     None => {
    ///         println!("{sum}");
    ///         watcher.close();
    ///     }
    /// });
    /// lp.run()
    /// # }
    /// ```
    #[track_caller]
    pub fn idle(self, callback: impl FnMut(Watcher) + 'static) -> Watcher {
        self.watch(WatcherKind::Idle, Box::new(callback), Location::caller())
    }

    /// Makes and starts a prepare watcher: `callback` runs once in each turn right before the loop
    /// waits. libuv's `uv_prepare_t`.
    #[track_caller]
    pub fn prepare(self, callback: impl FnMut(Watcher) + 'static) -> Watcher {
        self.watch(WatcherKind::Prepare, Box::new(callback), Location::caller())
    }

    /// Makes and starts a check watcher: `callback` runs once in each turn after the wait and the
    /// immediates. libuv's `uv_check_t`.
    #[track_caller]
    pub fn check(self, callback: impl FnMut(Watcher) + 'static) -> Watcher {
        self.watch(WatcherKind::Check, Box::new(callback), Location::caller())
    }

    fn watch(
        self,
        kind: WatcherKind,
        call: WatcherCall,
        origin: &'static Location<'static>,
    ) -> Watcher {
        let id = self.with(move |state| state.watchers.add(kind, call, origin));
        Watcher(self.raw(id))
    }
}

impl Watcher {
    /// Starts a watcher that was stopped, in front of those of its kind; inside its own phase from
    /// the next turn on.
    pub fn start(self) {
        table::with(self.0, |state, id| state.watchers.start(id));
    }

    /// Stops it, at once. It can be started again.
    pub fn stop(self) {
        table::with(self.0, |state, id| state.watchers.stop(id));
    }

    /// Ends it and drops its callback.
    pub fn close(self) {
        table::with(self.0, |state, id| {
            if let Some(call) = state.watchers.close(id) {
                state.bury(call);
            }
        });
    }

    /// Whether it is started.
    pub fn is_active(self) -> bool {
        table::with(self.0, |state, id| state.watchers.is_started(id)).unwrap_or(false)
    }

    /// Has it keep the loop alive while it is started, as it does from the beginning.
    pub fn set_ref(self) {
        table::with(self.0, |state, id| state.watchers.set_referenced(id, true));
    }

    /// Has it not keep the loop alive.
    pub fn unref(self) {
        table::with(self.0, |state, id| state.watchers.set_referenced(id, false));
    }

    /// Whether it would keep the loop alive.
    pub fn has_ref(self) -> bool {
        table::with(self.0, |state, id| state.watchers.is_referenced(id)).unwrap_or(false)
    }
}
