//! A loop as other threads see it: [`Remote`], and names of objects that can be sent.

use std::fmt;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use super::handle::{Id, LoopHandle, Raw, Server, Socket};
use super::mailbox::{Mail, Mailbox, loop_gone};
use super::state::State;
use super::table;
use crate::ground::error::Result;

/// Where a loop lives: its thread, and its place among that thread's loops.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Home {
    thread: ThreadId,
    index: u32,
    serial: u64,
}

impl Home {
    pub(crate) fn of(lp: LoopHandle) -> Home {
        Home {
            thread: thread::current().id(),
            index: lp.index,
            serial: lp.serial,
        }
    }

    /// Does something with the loop while it is borrowed; None if this is not its thread, or if it
    /// is gone.
    pub(crate) fn with<R>(self, act: impl FnOnce(&mut State) -> R) -> Option<R> {
        if thread::current().id() != self.thread {
            return None;
        }
        let core = table::find(self.index).filter(|core| core.serial == self.serial)?;
        Some(core.with(act))
    }
}

/// A loop as other threads see it: made by [`remote`](LoopHandle::remote). It does not keep the
/// loop alive.
#[derive(Clone)]
pub struct Remote {
    mailbox: Option<Arc<Mailbox>>,
}

impl LoopHandle {
    /// What other threads reach this loop by.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = nodeloop::Loop::new()?;
    /// let remote = lp.remote();
    /// // A remote does not hold the loop: here a timer does.
    /// let timer = lp.set_timeout_once(60_000, |_| {});
    /// std::thread::spawn(move || remote.post(|lp| lp.stop()));
    /// lp.run()?;
    /// assert!(timer.has_ref());
    /// # Ok(())
    /// # }
    /// ```
    pub fn remote(self) -> Remote {
        Remote {
            mailbox: self.with(|state| state.mailbox.clone()),
        }
    }
}

impl Remote {
    /// Has the loop call `call`, in its poll phase. What was posted keeps the loop alive until it
    /// was called; if the loop is dropped before, `call` is too, by the loop's thread. Where there are
    /// many messages of one kind a [channel](LoopHandle::channel) is cheaper.
    ///
    /// # Errors
    /// `ERR_LOOP_GONE` if the loop is gone; `call` is dropped.
    pub fn post(&self, call: impl FnOnce(LoopHandle) + Send + 'static) -> Result<()> {
        let mailbox = self.mailbox.as_ref().ok_or_else(loop_gone)?;
        let posted = mailbox.push(Mail::Post(Box::new(call)));
        posted.map_err(|_| loop_gone())
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// A name of an object, to be sent to other threads.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Name {
    thread: ThreadId,
    index: u32,
    key: u32,
    serial: u64,
}

impl Name {
    fn of(raw: Raw) -> Name {
        let Id { key, serial } = raw.id();
        Name {
            thread: thread::current().id(),
            index: raw.index,
            key,
            serial,
        }
    }

    /// The handle's inside; one to nothing if the object is another loop's.
    fn back(self, lp: LoopHandle) -> Raw {
        let is_ours = self.thread == thread::current().id()
            && self.index == lp.index
            // Serials are counted per thread: what is older belonged to an earlier loop.
            && self.serial > lp.serial
            // What is younger may be a later loop's.
            && table::with_loop(lp.index, lp.serial, |_| ()).is_some();
        let id = Id {
            key: self.key,
            serial: self.serial,
        };
        lp.raw(is_ours.then_some(id))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}#{}", self.index, self.key, self.serial)
    }
}

macro_rules! name {
    ($(#[$attribute:meta])* $name:ident of $object:ident by $back:ident) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(Name);

        impl $object {
            /// A name of it that can be sent to other threads. The loop turns it back into a
            /// handle.
            pub fn id(self) -> $name {
                $name(Name::of(self.0))
            }
        }

        impl LoopHandle {
            /// The handle that such a name was made of. If its object is gone, or is another
            /// loop's, it names nothing, and its calls do nothing.
            pub fn $back(self, id: $name) -> $object {
                $object(id.0.back(self))
            }
        }
    };
}

name! {
    /// A name of a [`Socket`] that can be sent to other threads, and back to its loop:
    /// [`LoopHandle::socket`].
    ///
    /// ```
    /// use nodeloop::{net, Loop};
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = Loop::new()?;
    /// let remote = lp.remote();
    /// let server = net::create_server(&lp, move |socket| {
    ///     let (id, remote) = (socket.id(), remote.clone());
    ///     std::thread::spawn(move || {
    ///         let answer = "found elsewhere";
    ///         remote.post(move |lp| lp.socket(id).end_with(answer))
    ///     });
    /// });
    /// # lp.run()
    /// # }
    /// ```
    SocketId of Socket by socket
}

name! {
    /// A name of a [`Server`] that can be sent to other threads, and back to its loop:
    /// [`LoopHandle::server`].
    ServerId of Server by server
}
