//! Messages from other threads.
//!
//! A channel has a queue of its own. The message that finds it empty puts the channel into the
//! loop's mailbox, so a flood of messages costs a lock and a push each, and the loop looks at those
//! channels alone that have something.

use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;

use super::core::Core;
use super::handle::{Id, LoopHandle};
use super::mailbox::{Mail, Mailbox, loop_gone};
use super::remote::Home;
use super::state::State;
use super::table;
use crate::ground::error::{Error, Result};
use crate::ground::spare::KEPT_PLACES;

/// Sends messages to a loop, from any thread: made by [`channel`](LoopHandle::channel).
///
/// Clones send to the same channel. It is over when the last of them is dropped, or one is closed.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// A message that could not be sent, since the channel is closed or the loop is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(
    /// The message.
    pub T,
);

/// What both ends have.
struct Shared<T> {
    queue: Mutex<Queue<T>>,
    /// How many senders there are.
    senders: AtomicUsize,
    /// Where the loop is told that there are messages; none if it was gone from the beginning.
    mailbox: Option<Arc<Mailbox>>,
    /// The channel in its loop.
    id: Id,
    /// Where that is.
    home: Home,
}

/// What is under way.
struct Queue<T> {
    messages: VecDeque<T>,
    /// Nobody takes any more.
    closed: bool,
}

/// What a sender wants of its channel.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Control {
    /// That it holds the loop.
    Ref,
    /// That it does not.
    Unref,
    /// That it ends.
    Close,
}

/// Once a channel's queue has more than this many places for each message that comes, its burst is over, and its
/// memory is given back. A flood, which comes in batches of all sizes, keeps what it needs.
const PLACES_FOR_ONE: usize = 16;

/// The channels of a loop.
#[derive(Default)]
pub(crate) struct Channels {
    all: Slab<ChannelState>,
    /// Those that hold the loop.
    referenced: usize,
}

/// One channel, at the loop's end.
struct ChannelState {
    serial: u64,
    /// Away while it delivers.
    receiver: Option<Box<dyn Receive>>,
    referenced: bool,
    origin: &'static Location<'static>,
}

/// The receiving end, whatever its messages are.
pub(crate) trait Receive {
    /// Takes the messages that have come. Returns false when there are none, and never will be.
    fn collect(&mut self) -> bool;

    /// Delivers the next of them, and those behind it as long as each has called nothing, or `may_go_on`
    /// says so after it. Only the next if it is to be delivered `alone`.
    fn deliver(&mut self, core: &Core, alone: bool, may_go_on: &dyn Fn() -> bool);

    /// Whether there is a next of them.
    fn has_next(&self) -> bool;
}

/// The receiving end.
struct Receiver<T, F> {
    shared: Arc<Shared<T>>,
    /// Messages that were taken.
    taken: VecDeque<T>,
    call: F,
}

impl<T, F: FnMut(LoopHandle, T)> Receive for Receiver<T, F> {
    fn collect(&mut self) -> bool {
        if !self.taken.is_empty() {
            return true;
        }
        // Asked before the messages: a sender that is gone sends no more.
        let over = self.shared.senders.load(Ordering::Acquire) == 0;
        // Empty, but it would be filled from where it was read to: through all its memory, which the cache has lost.
        self.taken.clear();
        let mut queue = self.shared.lock();
        let needed = queue.messages.len().saturating_mul(PLACES_FOR_ONE);
        // Freed behind the lock, for which a sender may wait.
        let spent = (self.taken.capacity() > KEPT_PLACES.max(needed))
            .then(|| std::mem::take(&mut self.taken));
        std::mem::swap(&mut queue.messages, &mut self.taken);
        drop(queue);
        drop(spent);
        !over || !self.taken.is_empty()
    }

    fn deliver(&mut self, core: &Core, alone: bool, may_go_on: &dyn Fn() -> bool) {
        let lp = core.handle();
        while let Some(message) = self.taken.pop_front() {
            core.was_called.set(false);
            (self.call)(lp, message);
            if alone || core.was_called.get() && !may_go_on() {
                return;
            }
        }
    }

    fn has_next(&self) -> bool {
        !self.taken.is_empty()
    }
}

impl<T, F> Drop for Receiver<T, F> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        let messages = std::mem::take(&mut queue.messages);
        drop(queue);
        // Their destructors are a user's, so not under the lock.
        drop(messages);
    }
}

impl LoopHandle {
    /// Makes a channel to this loop. `receive` gets the messages that the [`Sender`] and its clones
    /// send from other threads, each in order and in the poll phase. It stays on the loop's thread
    /// and may capture handles.
    ///
    /// As long as there is a sender the channel keeps the loop alive, and what was sent before the last
    /// sender is dropped is delivered, unless it is [unreferenced](Sender::unref): then what waits when
    /// nothing else is alive waits for the next `run`.
    ///
    /// There is no limit to the messages that wait: [`Sender::waiting`] tells how many they are. The memory of
    /// a burst is kept for the next, and given back by a message that comes when it is over.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = nodeloop::Loop::new()?;
    /// let sender = lp.channel(|_, line: String| println!("{line}"));
    /// std::thread::spawn(move || {
    ///     for number in 0..3 {
    ///         // Fails when the loop is gone.
    ///         let _ = sender.send(format!("message {number}"));
    ///     }
    /// });
    /// lp.run()
    /// # }
    /// ```
    ///
    /// A channel is also the way in for signals. The loop does not hear them; crates such as `ctrlc` and
    /// `signal-hook` do, in a thread of theirs, which sends:
    ///
    /// ```
    /// use nodeloop::{net, Loop};
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = Loop::new()?;
    /// let server = net::create_server(&lp, |_| {});
    /// server.listen(("127.0.0.1", 0))?;
    /// let interrupted = lp.channel(move |_, ()| server.close());
    /// interrupted.unref(); // It alone keeps nothing alive.
    /// let handler = move || drop(interrupted.send(()));
    /// // With the crate: ctrlc::set_handler(handler).
    /// # std::thread::spawn(handler);
    /// lp.run()
    /// # }
    /// ```
    #[track_caller]
    pub fn channel<T: Send + 'static>(
        self,
        receive: impl FnMut(LoopHandle, T) + 'static,
    ) -> Sender<T> {
        let origin = Location::caller();
        let mut receive = Some(receive);
        let shared = self.with(|state| {
            let shared = Arc::new(Shared {
                queue: Mutex::new(Queue::new(false)),
                senders: AtomicUsize::new(1),
                mailbox: Some(state.mailbox.clone()),
                id: state.channels.next_id(),
                home: Home::of(self),
            });
            if let Some(call) = receive.take() {
                let receiver = Receiver {
                    shared: shared.clone(),
                    taken: VecDeque::new(),
                    call,
                };
                state.channels.add(shared.id, Box::new(receiver), origin);
            }
            shared
        });
        let shared = shared.unwrap_or_else(|| {
            Arc::new(Shared {
                queue: Mutex::new(Queue::new(true)),
                senders: AtomicUsize::new(1),
                mailbox: None,
                id: Id::NONE,
                home: Home::of(self),
            })
        });
        Sender { shared }
    }
}

impl<T> Sender<T> {
    /// Sends a message. The loop is woken if none waits already.
    ///
    /// # Errors
    /// The message comes back if the loop is gone or the channel closed. One that was sent is not
    /// delivered if the loop is dropped before it comes to it.
    pub fn send(&self, message: T) -> std::result::Result<(), SendError<T>> {
        let mut queue = self.shared.lock();
        if queue.closed {
            return Err(SendError(message));
        }
        let is_first = queue.messages.is_empty();
        queue.messages.push_back(message);
        drop(queue);
        if is_first {
            self.shared.announce(Mail::Channel(self.shared.id));
        }
        Ok(())
    }

    /// How many messages wait that the loop has not taken yet.
    pub fn waiting(&self) -> usize {
        self.shared.lock().messages.len()
    }

    /// Whether nobody gets messages any more: the loop is gone, or the channel was closed.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }

    /// Has the channel keep the loop alive, as it does from the beginning. On the loop's own thread
    /// at once, from another one when the loop takes its messages.
    pub fn set_ref(&self) {
        self.control(Control::Ref);
    }

    /// Has it not keep the loop alive, nor its messages. When that takes effect: as with [`set_ref`](Sender::set_ref).
    pub fn unref(&self) {
        self.control(Control::Unref);
    }

    /// Ends the channel for all its senders: further messages come back. Those that wait are
    /// dropped. When that takes effect: as with [`set_ref`](Sender::set_ref).
    pub fn close(&self) {
        self.control(Control::Close);
    }

    fn control(&self, control: Control) {
        let Shared { id, home, .. } = *self.shared;
        let is_done = home
            .with(|state| state.control_channel(id, control))
            .is_some();
        match control {
            _ if !is_done => self.shared.announce(Mail::Control(id, control)),
            // In a callback the receiving end is dropped behind it, and would take messages until then.
            Control::Close => self.shared.lock().closed = true,
            Control::Ref | Control::Unref => {}
        }
    }
}

impl<T> Shared<T> {
    fn announce(&self, mail: Mail) {
        if let Some(mailbox) = &self.mailbox {
            // If the loop is gone, so is the channel.
            let _ = mailbox.push(mail);
        }
    }

    /// Nothing of a user's runs under the lock.
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Queue<T> {
    fn new(closed: bool) -> Queue<T> {
        Queue {
            messages: VecDeque::new(),
            closed,
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Sender {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.announce(Mail::Channel(self.shared.id));
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the loop is gone, or its channel is closed")
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError(..)")
    }
}

impl<T> std::error::Error for SendError<T> {}

impl<T> From<SendError<T>> for Error {
    /// `ERR_LOOP_GONE`. The message is dropped.
    fn from(_: SendError<T>) -> Error {
        loop_gone()
    }
}

impl Channels {
    /// How many hold the loop.
    #[inline]
    pub(crate) fn referenced(&self) -> usize {
        self.referenced
    }

    /// Bytes of capacity.
    pub(crate) fn memory(&self) -> usize {
        self.all.capacity() * size_of::<ChannelState>()
    }

    /// Each: whether it is referenced, and where it was made.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (bool, &'static Location<'static>)> {
        self.all
            .iter()
            .map(|(_, channel)| (channel.referenced, channel.origin))
    }

    pub(crate) fn take_all(&mut self) -> Vec<Option<Box<dyn Receive>>> {
        let all = std::mem::take(self).all;
        all.into_iter()
            .map(|(_, channel)| channel.receiver)
            .collect()
    }

    /// The id of the channel that is added next.
    fn next_id(&mut self) -> Id {
        Id {
            key: u32::try_from(self.all.vacant_key()).expect("fewer than 2^32 channels"),
            serial: table::next_serial(),
        }
    }

    fn add(&mut self, id: Id, receiver: Box<dyn Receive>, origin: &'static Location<'static>) {
        self.referenced += 1;
        self.all.insert(ChannelState {
            serial: id.serial,
            receiver: Some(receiver),
            referenced: true,
            origin,
        });
    }

    fn get(&mut self, id: Id) -> Option<&mut ChannelState> {
        let channel = self.all.get_mut(id.key as usize);
        channel.filter(|channel| channel.serial == id.serial)
    }

    fn remove(&mut self, id: Id) -> Option<Box<dyn Receive>> {
        let referenced = self.get(id)?.referenced;
        self.referenced -= usize::from(referenced);
        self.all.remove(id.key as usize).receiver
    }
}

impl State {
    /// Where a channel was made.
    pub(crate) fn origin_of_channel(&mut self, id: Id) -> Option<&'static Location<'static>> {
        self.channels.get(id).map(|channel| channel.origin)
    }

    pub(crate) fn control_channel(&mut self, id: Id, control: Control) {
        if let Control::Close = control {
            if let Some(receiver) = self.channels.remove(id) {
                self.bury(receiver);
            }
            return;
        }
        let referenced = matches!(control, Control::Ref);
        let Some(channel) = self.channels.get(id) else {
            return;
        };
        if std::mem::replace(&mut channel.referenced, referenced) == referenced {
            return;
        }
        match referenced {
            true => self.channels.referenced += 1,
            false => self.channels.referenced -= 1,
        }
    }
}

/// Delivers the messages of a channel that have come up to now; each is a loop callback. With `trace` the
/// log is told of each.
pub(crate) fn deliver(core: &Core, id: Id, trace: bool) -> Result<()> {
    let receiver = core.inside(|state| state.channels.get(id)?.receiver.take());
    let Some(receiver) = receiver else {
        return Ok(());
    };
    let mut delivery = Delivery {
        core,
        id,
        receiver: Some(receiver),
        over: false,
    };
    delivery.run(trace)?;
    drop(delivery);
    // If the channel is over, what its receiver held was dropped just now, and that may have called us.
    core.finish_callback()
}

/// The receiving end while it delivers; puts it back, also when it panics.
struct Delivery<'a> {
    core: &'a Core,
    id: Id,
    receiver: Option<Box<dyn Receive>>,
    /// There are no senders any more, and no messages.
    over: bool,
}

impl Delivery<'_> {
    fn run(&mut self, trace: bool) -> Result<()> {
        let Some(receiver) = &mut self.receiver else {
            return Ok(());
        };
        self.over = !receiver.collect();
        let (id, core) = (self.id, self.core);
        // Closed by one of its own messages it gets no further ones.
        while core.inside(|state| state.channels.get(id).is_some()) && receiver.has_next() {
            // Each is a loop callback. Where one has left nothing behind, the next may follow.
            if trace {
                core.trace_message_of_channel(id);
            }
            receiver.deliver(core, trace, &|| {
                core.inside(|state| state.is_quiet() && state.channels.get(id).is_some())
            });
            core.finish_callback()?;
        }
        Ok(())
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        let Some(receiver) = self.receiver.take() else {
            return;
        };
        let (id, over) = (self.id, self.over);
        let dead = self.core.with(|state| {
            if over {
                state.channels.remove(id);
            }
            let Some(channel) = state.channels.get(id) else {
                return Some(receiver);
            };
            if receiver.has_next() {
                state.mail.push_front(Mail::Channel(id));
            }
            channel.receiver = Some(receiver);
            None
        });
        drop(dead);
    }
}
