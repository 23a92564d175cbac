//! Ending a wait from another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Ends the wait of a loop, from any thread.
#[derive(Clone)]
pub(crate) enum Waker {
    /// Of the operating system.
    Os(Arc<OsWaker>),
    /// Of the null backend, whose waits end at once.
    Null,
}

/// The poller's waker.
pub(crate) struct OsWaker {
    pub(super) waker: mio::Waker,
    /// How often it was used.
    pub(super) wakes: AtomicU64,
}

impl Waker {
    pub(crate) fn wake(&self) {
        let Waker::Os(os) = self else { return };
        os.wakes.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = os.waker.wake() {
            log::error!(target: "nodeloop::event_loop", "a loop can't be woken: {error}");
        }
    }

    pub(super) fn wakes(&self) -> u64 {
        match self {
            Waker::Os(os) => os.wakes.load(Ordering::Relaxed),
            Waker::Null => 0,
        }
    }
}
