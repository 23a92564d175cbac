//! What other threads have for the loop: results of work, posted closures, messages.
//!
//! There is one mailbox per loop. Whoever puts something into an empty one wakes the loop if it sleeps;
//! whoever comes later need not. The loop takes all of it in one go, in the poll phase, in front of what
//! the poller has said (H3). What it has taken but not delivered, because `run` ended in the middle, it
//! keeps and delivers first.
//!
//! A loop that is awake looks for mail before it sleeps, so waking it would be a system call for
//! nothing. The loop says that it is going to sleep, and then looks for mail; whoever brings mail puts it
//! in, and then asks whether the loop sleeps. All threads see these steps in one order (SeqCst), so at
//! least one of the two notices the other.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::channels;
use super::core::Core;
use super::handle::{Id, LoopHandle};
use super::jobs;
use super::state::State;
use super::trace;
use crate::backend::Waker;
use crate::ground::error::{Error, Result};

/// A closure that another thread has posted.
pub(crate) type PostCall = Box<dyn FnOnce(LoopHandle) + Send>;

/// Something for the loop.
pub(crate) enum Mail {
    /// To be called.
    Post(PostCall),
    /// What became of a job.
    Job(Id, jobs::Outcome),
    /// A channel has messages, or has lost its last sender.
    Channel(Id),
    /// A channel is to be treated otherwise.
    Control(Id, channels::Control),
}

impl Mail {
    /// Whether it holds the loop. A channel does so itself, as long as it is referenced, and its messages
    /// do not where it is not.
    fn holds(&self) -> bool {
        !matches!(self, Mail::Channel(_))
    }
}

/// Where the mail waits.
pub(crate) struct Mailbox {
    /// Whether there is any: what the loop looks at in every turn.
    waits: AtomicBool,
    /// Whether any of it holds the loop.
    holds: AtomicBool,
    /// Whether the loop is in `run` and will look for mail before it waits for the poller.
    awake: AtomicBool,
    queue: Mutex<Queue>,
    /// Wakes the loop.
    waker: Waker,
}

/// The mail.
#[derive(Default)]
struct Queue {
    mail: Vec<Mail>,
    /// The loop is gone.
    closed: bool,
}

impl Mailbox {
    pub(crate) fn new(waker: Waker) -> Mailbox {
        Mailbox {
            waits: AtomicBool::new(false),
            holds: AtomicBool::new(false),
            awake: AtomicBool::new(false),
            queue: Mutex::default(),
            waker,
        }
    }

    /// Puts something in, from any thread. It comes back if the loop is gone.
    pub(crate) fn push(&self, mail: Mail) -> std::result::Result<(), Mail> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(mail);
        }
        let is_first = queue.mail.is_empty();
        if mail.holds() {
            self.holds.store(true, Ordering::Release);
        }
        queue.mail.push(mail);
        if is_first {
            self.waits.store(true, Ordering::SeqCst);
        }
        drop(queue);
        if is_first && !self.awake.load(Ordering::SeqCst) {
            self.waker.wake();
        }
        Ok(())
    }

    /// Whether something waits.
    #[inline]
    pub(crate) fn waits(&self) -> bool {
        self.waits.load(Ordering::Acquire)
    }

    /// The loop goes to sleep: whoever brings mail from now on wakes it. Returns whether some waits
    /// already, which may have come without waking it.
    #[inline]
    pub(crate) fn doze(self: &Arc<Mailbox>) -> bool {
        // Whoever could bring mail holds the mailbox, so here nobody can. The last who held it may have left
        // some, which this fence shows; it is free, while the order that `say_asleep` needs costs much.
        if Arc::strong_count(self) == 1 {
            fence(Ordering::Acquire);
            return self.waits.load(Ordering::Relaxed);
        }
        self.say_asleep()
    }

    fn say_asleep(&self) -> bool {
        self.awake.store(false, Ordering::SeqCst);
        self.waits.load(Ordering::SeqCst)
    }

    /// The loop does not sleep any more.
    #[inline]
    pub(crate) fn wake_up(&self) {
        // A thread that has not seen this yet wakes the loop for nothing.
        self.awake.store(true, Ordering::Release);
    }

    /// `run` is over. Whoever waits for the loop's descriptor is told of the mail that came meanwhile.
    pub(crate) fn end_run(&self) {
        if self.say_asleep() {
            self.waker.wake();
        }
    }

    /// Takes everything.
    fn take(&self) -> Vec<Mail> {
        let mut queue = self.lock();
        self.waits.store(false, Ordering::Release);
        self.holds.store(false, Ordering::Release);
        std::mem::take(&mut queue.mail)
    }

    /// Nothing is taken from now on. Gives what has come too late.
    pub(crate) fn close(&self) -> Vec<Mail> {
        let mut queue = self.lock();
        queue.closed = true;
        std::mem::take(&mut queue.mail)
    }

    /// Nothing of a user's runs under the lock.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether mail waits, in the box or from an earlier turn.
    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        self.mailbox.waits() || !self.mail.is_empty()
    }

    /// Whether mail waits that keeps the loop alive.
    #[inline]
    pub(crate) fn is_held_by_mail(&self) -> bool {
        self.mailbox.holds.load(Ordering::Acquire) || self.mail.iter().any(Mail::holds)
    }
}

/// Delivers the mail: what has come up to now.
#[inline(never)]
pub(crate) fn deliver(core: &Core) -> Result<()> {
    core.inside(|state| {
        if state.mailbox.waits() {
            let fresh = state.mailbox.take();
            state.mail.extend(fresh);
        }
    });
    deliver_rest(core)
}

/// Delivers what was taken, and no more: what has come since is the next turn's.
pub(crate) fn deliver_rest(core: &Core) -> Result<()> {
    let trace = trace::on();
    while let Some(mail) = core.inside(|state| state.mail.pop_front()) {
        match mail {
            Mail::Post(call) => {
                if trace {
                    core.trace(format_args!("a posted closure"));
                }
                core.callback(|core| call(core.handle()))?;
            }
            Mail::Job(id, outcome) => jobs::finish(core, id, outcome, trace)?,
            Mail::Channel(id) => channels::deliver(core, id, trace)?,
            Mail::Control(id, control) => {
                core.inside(|state| state.control_channel(id, control));
                core.finish_callback()?;
            }
        }
    }
    Ok(())
}

/// What is told to who calls a loop that is gone from another thread.
pub(crate) fn loop_gone() -> Error {
    Error::library("ERR_LOOP_GONE", "The loop is gone.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_last_who_could_bring_mail_has_left_is_seen_before_sleep() {
        let mailbox = Arc::new(Mailbox::new(Waker::Null));
        assert!(!mailbox.doze(), "nobody has brought any");
        let other = mailbox.clone();
        assert!(!mailbox.doze(), "nor has the other");
        mailbox.wake_up();
        let bring = move || other.push(Mail::Post(Box::new(|_| ()))).is_ok();
        assert!(std::thread::spawn(bring).join().unwrap());
        assert_eq!(Arc::strong_count(&mailbox), 1);
        assert!(mailbox.doze(), "it is not to sleep");
    }
}
