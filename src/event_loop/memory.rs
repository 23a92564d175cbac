//! What a loop keeps allocated: `lp.memory()`.

use super::datagram_send::Sending;
use super::entry::Entry;
use super::handle::{Id, LoopHandle};
use super::mailbox::Mail;
use super::state::{Closed, Dead, Reap, State};
use super::task::Task;
use crate::ground::error::Error;

/// The memory that a loop keeps for what comes next, in bytes: capacities, whether they are in use
/// or not. What its objects hold beside their slot (listeners, queues of a slow peer) is not in it,
/// and is freed with them.
///
/// ```
/// # fn main() -> nodeloop::Result<()> {
/// let lp = nodeloop::Loop::new()?;
/// assert_eq!(lp.memory().read_buffer, 64 * 1024);
/// println!("{} bytes in all", lp.memory().total());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// The slab of servers, sockets and streams. It grows by a quarter, and never shrinks.
    pub handles: usize,
    /// Timers, immediates, watchers and deadlines.
    pub timers: usize,
    /// The read buffer, which is the loop's, not a socket's, and that for the text of a chunk.
    pub read_buffer: usize,
    /// The arena of small writes that wait for the end of their callback, and that of datagrams.
    pub gathered: usize,
    /// Room to receive many datagrams at once, made with the first UDP socket. The system gives memory
    /// to as much of it as was used.
    pub datagrams: usize,
    /// Ticks, ready objects, closing objects and other queues of the turn, completions of datagrams, and work
    /// for other threads and channels from them.
    pub queues: usize,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> usize {
        self.handles + self.timers + self.read_buffer + self.gathered + self.datagrams + self.queues
    }
}

impl LoopHandle {
    /// The memory that the loop keeps. All zero if it is gone.
    pub fn memory(self) -> Memory {
        self.with(|state| state.memory()).unwrap_or_default()
    }
}

impl State {
    fn memory(&self) -> Memory {
        let ids = self.batch.capacity()
            + self.ready.capacity()
            + self.pending.capacity()
            + self.stalled.capacity();
        let closed = self.closing.capacity() + self.closing_now.capacity();
        let tasks = self.steps.capacity() + self.ticks.capacity();
        Memory {
            handles: self.entries.capacity() * size_of::<Entry>(),
            timers: self.timers.memory()
                + self.deadlines.memory()
                + self.immediates.memory()
                + self.watchers.memory(),
            read_buffer: self.settings.read_chunk + self.text.capacity(),
            gathered: self.gather.capacity() + self.outbox.capacity(),
            datagrams: self.catches.memory(),
            queues: ids * size_of::<Id>()
                + closed * size_of::<Closed>()
                + tasks * size_of::<Task>()
                + self.mail.capacity() * size_of::<Mail>()
                + self.jobs.memory()
                + self.channels.memory()
                + self.sends.capacity() * size_of::<Sending>()
                + self.reap.capacity() * size_of::<Reap>()
                + self.graveyard.capacity() * size_of::<Dead>()
                + self.uncaught.capacity() * size_of::<Error>(),
        }
    }
}
