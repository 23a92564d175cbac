//! Everything a loop owns. Only ever borrowed between calls into user code.

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use super::channels::Channels;
use super::datagram_receive::Catches;
use super::datagram_send::Sending;
use super::deadlines::Deadlines;
use super::entry::{
    Common, Entry, Flags, Live, ServerState, Stream, entry_of, flag, server_of, stream_of,
};
pub(crate) use super::following::{Dead, Following, Reap};
use super::handle::{Id, LoopHandle};
use super::immediates::Immediates;
use super::jobs::Jobs;
use super::mailbox::{Mail, Mailbox};
use super::outbox::Outbox;
use super::table;
use super::task::Task;
use super::timers::TimerCall;
use super::turn::Phase;
use super::watchers::Watchers;
use crate::backend::Backend;
use crate::ground::error::Error;
use crate::ground::gather::Gather;
use crate::ground::listeners::{ListenerId, Slot};
use crate::ground::tick_queue::TickQueue;
use crate::ground::timer_lists::TimerLists;

/// What the builder decided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Whether small writes of a loop callback are gathered.
    pub(crate) gather: bool,
    /// How long a wait looks again and again before it blocks.
    pub(crate) spin: Duration,
    /// Bytes of the read buffer, and so of the largest chunk.
    pub(crate) read_chunk: usize,
    /// Reads of one socket in one turn.
    pub(crate) read_budget: u32,
    /// Whether all addresses of a name are tried.
    pub(crate) auto_select_family: bool,
    /// How long one of them may take before the next is tried beside it, in ms.
    pub(crate) attempt_timeout_ms: u64,
    /// Whether every wait is followed by events that did not happen, for tests.
    pub(crate) spurious_events: bool,
}

/// The state of a loop.
pub(crate) struct State {
    /// Servers, sockets and streams.
    pub(crate) entries: Slab<Entry>,
    /// The operating system.
    pub(crate) backend: Backend,
    /// What keeps the loop alive, as far as it is handles and requests.
    pub(crate) live: Live,
    /// What this turn still has to serve, in order.
    pub(crate) batch: Batch,
    /// What the next turn serves first: objects whose share of this turn was used up.
    pub(crate) ready: Vec<Id>,
    /// Deferred completions: half-closes, and connections that were refused at once (L42).
    pub(crate) pending: VecDeque<Id>,
    /// Objects whose close was requested; the last comes first (L50).
    pub(crate) closing: Vec<Closed>,
    /// Those of the closing phase under way.
    pub(crate) closing_now: Vec<Closed>,
    /// The rest of the present loop callback.
    pub(crate) steps: VecDeque<Task>,
    /// What runs when the present loop callback has ended.
    pub(crate) ticks: TickQueue<Task>,
    /// Objects to free when the ticks have run dry, if they are still over by then.
    pub(crate) reap: Vec<Reap>,
    /// What is to be dropped where nothing is borrowed.
    pub(crate) graveyard: Vec<Dead>,
    /// Errors that nobody listened to; `run` ends with the first.
    pub(crate) uncaught: VecDeque<Error>,
    /// What the last read that failed has come to.
    pub(crate) read_error: Option<Error>,
    /// Who is told of what nobody listened to.
    pub(crate) on_uncaught: Slot<dyn FnMut(LoopHandle, &Error)>,
    /// Timers, each with its callback, which is away while it runs, and once it was cleared.
    pub(crate) timers: TimerLists<Option<TimerCall>>,
    /// Deadlines of sockets.
    pub(crate) deadlines: Deadlines,
    /// Immediates.
    pub(crate) immediates: Immediates,
    /// Idle, prepare and check watchers.
    pub(crate) watchers: Watchers,
    /// Where other threads put what they have for the loop.
    pub(crate) mailbox: Arc<Mailbox>,
    /// What was taken from there and is still to be delivered.
    pub(crate) mail: VecDeque<Mail>,
    /// Work under way in other threads.
    pub(crate) jobs: Jobs,
    /// Channels from other threads.
    pub(crate) channels: Channels,
    /// The read buffer; away while a listener looks at it.
    pub(crate) buffer: Box<[u8]>,
    /// The text of a chunk; away while a listener looks at it.
    pub(crate) text: String,
    /// Datagrams laid aside to go out together.
    pub(crate) outbox: Outbox,
    /// Sends whose completion waits for its tick.
    pub(crate) sends: Slab<Sending>,
    /// Room to receive datagrams in.
    pub(crate) catches: Catches,
    /// Servers that can't accept, mostly since there are no descriptors, and wait to be re-armed.
    pub(crate) stalled: Vec<Id>,
    /// When they are.
    pub(crate) stalled_until_ms: u64,
    /// Whether it was warned that a server can't accept.
    pub(crate) shed_warned: bool,
    /// Who is called by the present emission, or was by the last: while they are out their slot can't tell.
    pub(crate) called: Vec<ListenerId>,
    /// The cached clock.
    time_ms: u64,
    /// Whether it is the present turn's.
    time_is_valid: bool,
    /// Whether turn follows turn until nothing is left to do.
    pub(crate) runs_on: bool,
    /// The UDP socket whose share has ended, or is about to, without proof that nothing was left.
    pub(crate) unproven: Option<Id>,
    /// The UDP socket whose share an error or a panic has cut short, and how many datagrams that has left.
    pub(crate) cut_share: Option<(Id, u32)>,
    /// The same of another socket: how many reads that has left, and whether the one before was short.
    pub(crate) cut_reads: Option<(Id, u32, bool)>,
    /// `stop` was called.
    pub(crate) stop: bool,
    /// Where an error or a panic has cut the last turn short.
    pub(crate) cut: Option<Phase>,
    /// The clock of the last pass over the timers.
    pub(crate) pass_ms: u64,
    /// Turns so far.
    pub(crate) turns: u64,
    /// The turn in which a listening socket was last asked for a connection.
    pub(crate) accepted_in: u64,
    /// The next listener's id.
    next_listener: u32,
    /// Small writes that were laid aside.
    pub(crate) gather: Gather<Id>,
    /// Writes of at most so many bytes are laid aside; 0 outside `run`.
    pub(crate) gather_below: usize,
    /// What the builder decided.
    pub(crate) settings: Settings,
}

/// An object whose close was requested.
pub(crate) struct Closed {
    pub(crate) id: Id,
    /// Whether a socket had an error, which its 'close' says. Kept here, since it may have begun another
    /// life by then.
    pub(crate) had_error: bool,
}

impl From<Id> for Closed {
    fn from(id: Id) -> Closed {
        let had_error = false;
        Closed { id, had_error }
    }
}

/// Who is to be served, in order. A list with a mark: it is filled after a wait and served to its
/// end, so nothing is ever taken from its front alone.
#[derive(Default)]
pub(crate) struct Batch {
    ids: Vec<Id>,
    /// How many were served.
    served: usize,
}

impl Batch {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.ids.capacity()
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<Id> {
        self.ids.get(self.served).copied()
    }

    /// Whether at most the front is still to be served.
    #[inline]
    pub(crate) fn ends_with_front(&self) -> bool {
        self.served + 1 >= self.ids.len()
    }

    /// The one that is to be served, if it is all there is.
    #[inline]
    pub(crate) fn sole(&self) -> Option<Id> {
        match (&*self.ids, self.served) {
            (&[id], 0) => Some(id),
            _ => None,
        }
    }

    /// Has one that is to be served come first.
    #[inline]
    pub(crate) fn bring_to_front(&mut self, id: Id) {
        let waiting = self.ids.get_mut(self.served..).unwrap_or_default();
        if let Some(place) = waiting.iter().position(|&other| other == id) {
            waiting[..=place].rotate_right(1);
        }
    }

    /// Those that are still to be served.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Id> {
        self.ids[self.served..].iter().copied()
    }

    #[inline]
    pub(crate) fn push(&mut self, id: Id) {
        self.ids.push(id);
    }

    pub(crate) fn append(&mut self, ids: &mut Vec<Id>) {
        self.ids.append(ids);
    }

    /// The front was served.
    #[inline]
    pub(crate) fn next(&mut self) {
        self.served += 1;
        if self.served >= self.ids.len() {
            self.ids.clear();
            self.served = 0;
        }
    }
}

impl State {
    pub(crate) fn new(backend: Backend, settings: Settings) -> State {
        let mailbox = Arc::new(Mailbox::new(backend.waker()));
        State {
            entries: Slab::new(),
            backend,
            live: Live::default(),
            batch: Batch::default(),
            ready: Vec::new(),
            pending: VecDeque::new(),
            closing: Vec::new(),
            closing_now: Vec::new(),
            steps: VecDeque::new(),
            ticks: TickQueue::new(),
            reap: Vec::new(),
            graveyard: Vec::new(),
            uncaught: VecDeque::new(),
            read_error: None,
            on_uncaught: Slot::Empty,
            timers: TimerLists::new(),
            deadlines: Deadlines::default(),
            immediates: Immediates::new(),
            watchers: Watchers::new(),
            mailbox,
            mail: VecDeque::new(),
            jobs: Jobs::default(),
            channels: Channels::default(),
            buffer: vec![0; settings.read_chunk].into_boxed_slice(),
            text: String::new(),
            outbox: Outbox::default(),
            sends: Slab::new(),
            catches: Catches::default(),
            stalled: Vec::new(),
            stalled_until_ms: 0,
            shed_warned: false,
            called: Vec::new(),
            time_ms: 0,
            time_is_valid: false,
            runs_on: false,
            unproven: None,
            cut_share: None,
            cut_reads: None,
            stop: false,
            cut: None,
            pass_ms: 0,
            turns: 0,
            accepted_in: u64::MAX,
            next_listener: 0,
            gather: Gather::new(),
            gather_below: 0,
            settings,
        }
    }

    /// Whether anything keeps the loop running (L30, N46).
    #[inline]
    pub(crate) fn is_alive(&self) -> bool {
        self.live.handles > 0
            || self.live.requests > 0
            || self.timers.referenced() > 0
            || self.immediates.referenced() > 0
            || self.watchers.referenced() > 0
            || self.channels.referenced() > 0
            || self.is_held_by_mail()
            || !self.pending.is_empty()
            || !self.closing.is_empty()
            || !self.closing_now.is_empty()
            || !self.steps.is_empty()
            || !self.ticks.is_empty()
            || self.outbox.ahead() > 0
            || !self.uncaught.is_empty()
    }

    /// Whether a loop callback has left nothing behind that must be seen to before the next.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        // One branch on the path of every event.
        self.left_behind() | usize::from(!self.gather.is_empty()) == 0
    }

    /// The same, but for writes that were laid aside.
    #[inline]
    pub(crate) fn is_quiet_but_for_writes(&self) -> bool {
        self.left_behind() == 0
    }

    #[inline]
    pub(crate) fn left_behind(&self) -> usize {
        self.left_behind_but_for_sends() | self.outbox.ahead()
    }

    /// The same, but for datagrams that are to go before the first tick.
    #[inline]
    pub(crate) fn left_behind_but_for_sends(&self) -> usize {
        self.ticks.len() | self.left_behind_but_for_ticks()
    }

    #[inline]
    fn left_behind_but_for_ticks(&self) -> usize {
        self.steps.len()
            | self.graveyard.len()
            | self.uncaught.len()
            | self.reap.len()
            | self.outbox.due()
    }

    /// The tick that is all that a loop callback has left behind, if it is one. It need not go the way of
    /// all that follows.
    #[inline]
    pub(crate) fn sole_tick(&self) -> Option<&Task> {
        let rest = self.left_behind_but_for_ticks() | self.outbox.ahead();
        let is_sole =
            self.ticks.len() == 1 && rest == 0 && self.gather.is_empty() && self.outbox.is_empty();
        self.ticks.front().filter(|_| is_sole)
    }

    /// The turn's clock: read once, when somebody asks.
    pub(crate) fn now_ms(&mut self) -> u64 {
        match self.time_is_valid {
            true => self.time_ms,
            false => self.update_time(),
        }
    }

    /// What the clock said when it was last read.
    pub(crate) fn last_look_ms(&self) -> u64 {
        self.time_ms
    }

    /// Reads the clock (N20).
    #[inline]
    pub(crate) fn update_time(&mut self) -> u64 {
        self.time_ms = self.backend.now_ms();
        self.time_is_valid = true;
        self.time_ms
    }

    /// Time has passed: whoever asks next reads the clock.
    #[inline]
    pub(crate) fn outdate_time(&mut self) {
        self.time_is_valid = false;
    }

    /// Makes room in the slab for one more: a quarter more if it is full, not twice as much, so that
    /// an idle connection costs little more than its slot.
    #[inline]
    pub(crate) fn make_room(&mut self) {
        if self.entries.len() == self.entries.capacity() {
            let more = (self.entries.len() / 4).max(16);
            self.entries.reserve_exact(more);
        }
    }

    /// Puts an object into the slab.
    pub(crate) fn insert(
        &mut self,
        flags: u64,
        origin: &'static Location<'static>,
        make: impl FnOnce(Common) -> Entry,
    ) -> Id {
        let serial = table::next_serial();
        let common = Common {
            serial,
            flags: Flags::of(flags),
            origin,
        };
        self.make_room();
        let key = self.entries.insert(make(common));
        let key = u32::try_from(key).expect("fewer than 2^32 handles");
        Id { key, serial }
    }

    #[inline]
    pub(crate) fn entry(&mut self, id: Id) -> Option<&mut Entry> {
        entry_of(&mut self.entries, id)
    }

    #[inline]
    pub(crate) fn stream(&mut self, id: Id) -> Option<&mut Stream> {
        stream_of(&mut self.entries, id)
    }

    pub(crate) fn server(&mut self, id: Id) -> Option<&mut ServerState> {
        server_of(&mut self.entries, id)
    }

    /// The token under which an object is registered: its key, and the low half of its serial to
    /// tell it from its predecessors where there is room for both.
    pub(crate) fn token(id: Id) -> u64 {
        match size_of::<usize>() {
            8 => u64::from(id.key) | (id.serial & 0xFFFF_FFFF) << 32,
            _ => u64::from(id.key),
        }
    }

    /// Has an object served by the next turn, if it is not waiting to be served already.
    pub(crate) fn make_ready(&mut self, id: Id) {
        let Some(entry) = self.entry(id) else { return };
        let flags = &mut entry.common_mut().flags;
        if !flags.any(flag::QUEUED) {
            flags.set(flag::QUEUED);
            self.ready.push(id);
        }
    }

    pub(crate) fn next_listener_id(&mut self) -> ListenerId {
        // Wraps after 2^32 registrations; by then the listeners of a program's beginning are
        // either gone or, if one lives, on another object.
        self.next_listener = self.next_listener.wrapping_add(1);
        ListenerId(self.next_listener)
    }

    /// The listener that was added last.
    pub(crate) fn last_listener_id(&self) -> ListenerId {
        ListenerId(self.next_listener)
    }

    /// ref and unref of what is in the slab.
    pub(crate) fn set_referenced(&mut self, id: Id, referenced: bool) {
        let State { entries, live, .. } = self;
        if let Some(entry) = entry_of(entries, id) {
            entry.common_mut().set_referenced(referenced, live);
        }
    }

    /// `keep` and `release`. What was over while it was kept is freed by its release.
    pub(crate) fn set_kept(&mut self, id: Id, kept: bool) {
        let Some(entry) = self.entry(id) else { return };
        let flags = &mut entry.common_mut().flags;
        if kept {
            flags.set(flag::KEPT);
            return;
        }
        flags.clear(flag::KEPT);
        if flags.any(flag::OVER) {
            self.free_if_over(Reap::Entry(id));
        }
    }
}
