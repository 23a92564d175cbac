//! The way of datagrams into the loop: serving a UDP socket.
//!
//! One receive may bring many datagrams ([`Catch`]). Each is a loop callback of its own; a socket
//! delivers at most 32 in a turn (N12), and what was received beyond stays in its entry until the
//! next.

use std::io;

use super::core::Core;
use super::datagram_entry::{DatagramState, DatagramTask, RemoteInfo, datagram_of, message_slot};
use super::dispatch::leave_batch;
use super::entry::flag;
use super::handle::{Id, UdpSocket};
use super::state::State;
use super::task::Task;
use crate::backend::Backend;
use crate::backend::datagram::{Catch, RECEIVE_BUDGET};
use crate::backend::{ready, would_block};
use crate::ground::error::{Error, Result};
use crate::ground::listeners::Shared;
use crate::ground::mutations::mutated;

/// How many reads the first receive of a socket asks for: one more than one, so that a datagram that
/// comes alone proves that nothing is left. It doubles with every full batch.
pub(crate) const FIRST_READS: usize = 2;

/// When this many datagrams in a row came alone, the next are expected to. They are received one at a time,
/// without proof that nothing is left: the poller would tell of it. Where a turn's end can be observed, the
/// socket is asked again nevertheless, so that all that waits comes in one turn.
const ALONE: u8 = 8;

/// How many are received without proof. Then one receive asks for it, so that a flood is noticed.
const UNPROVEN: u8 = 15;

/// How many buffers are kept for the next sockets that receive. One is enough unless several sockets
/// get trains at a time, which they hold from turn to turn.
const KEPT_CATCHES: usize = 4;

/// What serving comes to next.
enum Next {
    /// The present datagram goes to the one 'message' listener, or to all of them; and whether those behind
    /// it do as well, whoever sent them.
    Deliver(Option<Shared<MessageListener>>, bool),
    /// Something was taken note of that the end of a loop callback sees to.
    Finish,
    /// The share is over; and whether something is left to be seen to.
    Over(bool),
}

/// What the first look finds at a socket whose datagrams come one by one.
enum Alone {
    /// One, for the one listener.
    Deliver(Box<Catch>, Shared<MessageListener>),
    /// A receive that failed.
    Failed,
    /// Another case, in which nothing was done.
    Not,
}

/// A listener of 'message'.
type MessageListener = dyn FnMut(UdpSocket, &[u8], RemoteInfo);

/// What a socket has borrowed from the loop for its share of a turn. Dropped, also when a listener
/// panics, it gives it back.
struct Share<'a> {
    core: &'a Core,
    id: Id,
    /// What was received, until the share is over.
    catch: Option<Box<Catch>>,
    /// Datagrams that may still be delivered.
    left: u32,
    is_over: bool,
}

/// Serves a UDP socket, which stands at the front of the batch: receives, then sends what waits (libuv's
/// uv__udp_io).
#[inline]
pub(crate) fn serve(core: &Core, id: Id, trace: bool) -> Result<()> {
    serve_share(core, id, trace, false).map(drop)
}

/// The same for a socket that is all that a calm turn has brought. Returns whether the turn is over and the
/// next is known to be calm too.
#[inline]
pub(crate) fn serve_in_calm(core: &Core, id: Id) -> Result<bool> {
    serve_share(core, id, false, true)
}

// Not part of the service of streams, whose registers it would take.
#[inline(never)]
fn serve_share(core: &Core, id: Id, trace: bool, calm: bool) -> Result<bool> {
    let mut share = Share {
        core,
        id,
        catch: None,
        left: RECEIVE_BUDGET + u32::from(mutated!("one datagram more in a turn")),
        is_over: false,
    };
    let socket = UdpSocket(core.raw(id));
    let alone = match trace {
        true => Alone::Not,
        false => core.inside(|state| state.receive_alone(id, calm)),
    };
    match alone {
        Alone::Deliver(catch, listener) => {
            share.left -= 1;
            let (message, from) = arrived(share.catch.insert(catch));
            listener.borrow_mut()(socket, message, from);
            // Its answer, and the end of the share.
            let is_over = core.inside(|state| {
                state.settle_sends(|| true) && state.ends_unseen() && share.end_plainly(state)
            });
            if is_over {
                share.is_over = true;
                return Ok(true);
            }
        }
        other => {
            core.inside(|state| share.begin(state));
            if let Alone::Failed = other {
                // As in libuv an error ends the share.
                share.left = 0;
            }
        }
    }
    loop {
        // One look sees to the end of the last loop callback, and finds the next datagram or ends the
        // share.
        let next = core.inside(|state| {
            let Some(catch) = &mut share.catch else {
                return Next::Over(false);
            };
            let quiet = match trace {
                true => state.is_quiet(),
                false => state.settle_sends(|| catch.is_empty()),
            };
            if !quiet {
                return Next::Finish;
            }
            match find(state, id, catch, &mut share.left) {
                Some(next) => next,
                None => Next::Over(share.end(state)),
            }
        });
        match next {
            Next::Deliver(sole, plain) => {
                let Some(catch) = &mut share.catch else {
                    break;
                };
                let Some(listener) = sole else {
                    let (message, from) = arrived(catch);
                    if trace {
                        core.trace_message(id, from.size);
                    }
                    core.emit(id, message_slot, |listener| listener(socket, message, from));
                    continue;
                };
                loop {
                    let (message, from) = arrived(catch);
                    core.was_called.set(false);
                    if trace {
                        // A logger may call us too.
                        core.trace_message(id, from.size);
                    }
                    listener.borrow_mut()(socket, message, from);
                    // Where the listener has called nothing the next one needs no look.
                    if core.was_called.get() || !plain || share.left == 0 || !catch.advance() {
                        break;
                    }
                    share.left -= 1;
                }
            }
            Next::Finish => core.finish_callback()?,
            Next::Over(false) => break,
            Next::Over(true) => {
                core.finish_callback()?;
                serve_queued(core, id)?;
                core.inside(|state| leave_batch(state, id));
                break;
            }
        }
    }
    share.is_over = true;
    Ok(false)
}

/// The present datagram, and who sent it.
#[inline]
fn arrived(catch: &Catch) -> (&[u8], RemoteInfo) {
    let (message, address) = catch.current();
    let size = message.len();
    (message, RemoteInfo { address, size })
}

/// Sends what waits for the kernel, and tells the completions, one loop callback each.
#[inline(never)]
fn serve_queued(core: &Core, id: Id) -> Result<()> {
    let wants = core.inside(|state| {
        let datagram = state.datagram(id);
        let wants = datagram.is_some_and(|datagram| datagram.wants_to_send());
        if wants {
            state.send_queued(id);
        }
        wants
    });
    if !wants {
        return Ok(());
    }
    while let Some((done, result)) = core.inside(|state| state.next_told(id)) {
        if let Some(done) = done {
            done(result);
        }
        core.finish_callback()?;
    }
    Ok(())
}

/// Finds the next datagram, receiving if need be. None if the share is over.
#[inline]
fn find(state: &mut State, id: Id, catch: &mut Catch, left: &mut u32) -> Option<Next> {
    loop {
        let next = find_known(state, id, catch, left);
        if next.is_some() || state.unproven != Some(id) || !state.must_look_again(id) {
            return next;
        }
    }
}

/// The same, but for others that may have waited behind a datagram that came alone.
#[inline]
fn find_known(state: &mut State, id: Id, catch: &mut Catch, left: &mut u32) -> Option<Next> {
    let State {
        entries,
        backend,
        steps,
        runs_on,
        ..
    } = state;
    let datagram = datagram_of(entries, id)?;
    while *left > 0 {
        let active = datagram.common.flags.any(flag::ACTIVE);
        if !active && !mutated!("a closed UDP socket gets its messages") {
            // N279: closed meanwhile; nothing more of it is delivered.
            catch.clear();
            return None;
        }
        if catch.advance() {
            *left -= 1;
            if let Some(list) = &datagram.options.receive_block
                && list.check(catch.current().1)
            {
                continue;
            }
            let sole = datagram.message.sole();
            if sole.is_none() && datagram.message.is_empty() {
                continue;
            }
            let plain = datagram.options.receive_block.is_none();
            return Some(Next::Deliver(sole, plain));
        }
        if datagram.ready & ready::READABLE == 0 {
            return None;
        }
        if let Err(error) = receive(datagram, id, backend, catch, *left, *runs_on) {
            // As in libuv an error ends the share.
            *left = 0;
            steps.push_back(failure(id, error));
            return Some(Next::Finish);
        }
    }
    None
}

#[cold]
fn failure(id: Id, error: io::Error) -> Task {
    let error = Error::system("recvmsg", error);
    Task::Datagram(id, DatagramTask::EmitError(error))
}

/// One receive from the kernel, of as many datagrams as are `left` unless they come in trains.
#[inline]
fn receive(
    datagram: &mut DatagramState,
    id: Id,
    backend: &mut Backend,
    catch: &mut Catch,
    left: u32,
    runs_on: bool,
) -> io::Result<()> {
    let Some(io) = &mut datagram.io else {
        return Ok(());
    };
    let wanted = datagram.reads.min(left as usize);
    match backend.receive(io, catch, wanted) {
        Ok(drained) => {
            if drained && datagram.ready & ready::ERROR == 0 {
                datagram.ready &= !ready::READABLE;
            }
            if catch.reads() != 1 || !drained || catch.has_trains() {
                datagram.alone = 0;
            } else if left == RECEIVE_BUDGET && runs_on {
                datagram.alone = (datagram.alone + 1).min(ALONE);
                if datagram.alone == ALONE && !io.tells_of_others() {
                    backend.watch_datagram_by_level(io, State::token(id));
                }
            }
            datagram.reads = next_reads(datagram.reads, wanted, catch);
            Ok(())
        }
        Err(error) => {
            // An error was read with this; datagrams may lie behind it.
            datagram.ready &= !ready::ERROR;
            if !would_block(&error) {
                return Err(error);
            }
            datagram.ready &= !ready::READABLE;
            Ok(())
        }
    }
}

impl Share<'_> {
    /// What is laid aside waits from now on, until the share is over. A share that an error or a panic has cut
    /// short goes on with what it has left: a socket that fails at each datagram gets no more in a turn than
    /// others.
    fn begin(&mut self, state: &mut State) {
        if let Some((id, left)) = state.cut_share.take()
            && id == self.id
        {
            self.left = left;
        }
        self.catch = Some(state.begin_share(self.id));
    }

    /// The share is over: the socket leaves the batch, unless something is left to be seen to. Returns
    /// whether there is.
    #[inline]
    fn end(&mut self, state: &mut State) -> bool {
        !self.end_plainly(state) && self.end_in_full(state)
    }

    /// The ordinary case in one look: all was delivered, and nothing waits to be sent. Returns whether it
    /// was that.
    #[inline]
    fn end_plainly(&mut self, state: &mut State) -> bool {
        state.outbox.hold(false);
        if !state.is_quiet() {
            return false;
        }
        let State {
            entries,
            batch,
            catches,
            ..
        } = state;
        if let Some(datagram) = datagram_of(entries, self.id)
            && !datagram.wants_service()
            && let Some(catch) = self.catch.take_if(|catch| catch.is_empty())
        {
            datagram.common.flags.clear(flag::QUEUED);
            batch.next();
            catches.put_away(catch);
            return true;
        }
        false
    }

    /// Every other case.
    #[inline(never)]
    fn end_in_full(&mut self, state: &mut State) -> bool {
        let is_left = self.give_back(state) || !state.is_quiet();
        if !is_left {
            leave_batch(state, self.id);
        }
        is_left
    }

    /// Returns whether datagrams wait that may be sent.
    fn give_back(&mut self, state: &mut State) -> bool {
        match self.catch.take() {
            Some(catch) => state.end_share(self.id, catch),
            None => false,
        }
    }
}

/// How many reads the next receive asks for. Each costs a little even if it brings nothing, and each
/// may bring a train of 64 datagrams, far more than a turn delivers.
fn next_reads(reads: usize, wanted: usize, catch: &Catch) -> usize {
    if catch.has_trains() {
        return FIRST_READS;
    }
    match catch.reads() {
        got if got >= wanted => (reads * 2).min(RECEIVE_BUDGET as usize),
        got if got * 4 < reads => (reads / 2).max(FIRST_READS),
        _ => reads,
    }
}

impl DatagramState {
    /// Whether the next datagram is expected to come alone, and is then all that waits.
    #[inline]
    fn expects_one(&self) -> bool {
        self.alone >= ALONE
            && self.ready & (ready::READABLE | ready::ERROR) == ready::READABLE
            && self.common.flags.any(flag::ACTIVE)
            && self.options.receive_block.is_none()
            && self.catch.is_none()
            && self.io.as_ref().is_some_and(|io| io.tells_of_others())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let core = self.core;
            core.inside(|state| {
                state.cut_share = Some((self.id, self.left));
                self.give_back(state);
            });
        }
    }
}

impl State {
    /// The UDP socket that is all that is to be served.
    #[inline]
    pub(crate) fn sole_datagrams(&mut self) -> Option<Id> {
        let id = self.batch.sole()?;
        self.datagram(id).map(|_| id)
    }

    /// Receives a datagram that is expected to come alone, where nobody can tell if others come in a turn of
    /// their own, as in a `calm` one: it begins the share then.
    #[inline]
    fn receive_alone(&mut self, id: Id, calm: bool) -> Alone {
        let expected = datagram_of(&mut self.entries, id).is_some_and(|it| it.expects_one());
        if !expected || !self.is_quiet() || !(calm || self.ends_unseen()) {
            return Alone::Not;
        }
        let State {
            entries,
            backend,
            catches,
            ..
        } = self;
        let Some(datagram) = datagram_of(entries, id) else {
            return Alone::Not;
        };
        if datagram.alone >= ALONE + UNPROVEN {
            datagram.alone = ALONE - 1;
            return Alone::Not;
        }
        let (Some(io), Some(listener)) = (&datagram.io, datagram.message.sole()) else {
            return Alone::Not;
        };
        let Some(mut catch) = catches.take() else {
            return Alone::Not;
        };
        match backend.receive_one(io, &mut catch) {
            Ok(()) => {
                datagram.alone += 1;
                datagram.ready &= !ready::READABLE;
                self.unproven = Some(id);
                self.outbox.hold(true);
                Alone::Deliver(catch, listener)
            }
            Err(error) => {
                catches.put_away(catch);
                if would_block(&error) {
                    datagram.ready &= !ready::READABLE;
                    return Alone::Not;
                }
                self.steps.push_back(failure(id, error));
                Alone::Failed
            }
        }
    }

    /// Whether others that may have waited behind a datagram belong in this turn: its listener has seen to
    /// that its end can be observed.
    #[inline]
    fn must_look_again(&mut self, id: Id) -> bool {
        if self.ends_unseen() {
            return false;
        }
        self.unproven = None;
        let Some(datagram) = self.datagram(id) else {
            return false;
        };
        datagram.alone = 0;
        datagram.ready |= ready::READABLE;
        true
    }

    /// Gives what an earlier share has left, or room.
    fn begin_share(&mut self, id: Id) -> Box<Catch> {
        self.outbox.hold(true);
        let left = self
            .datagram(id)
            .and_then(|datagram| datagram.catch.take())
            .or_else(|| self.catches.take());
        left.unwrap_or_else(|| self.catches.make())
    }

    /// Returns whether datagrams wait that may be sent.
    fn end_share(&mut self, id: Id, catch: Box<Catch>) -> bool {
        self.outbox.hold(false);
        self.flush_outbox();
        let mut wants_to_send = false;
        if let Some(datagram) = self.datagram(id) {
            wants_to_send = datagram.wants_to_send();
            if !catch.is_empty() && !datagram.is_closed() {
                datagram.catch = Some(catch);
                return wants_to_send;
            }
        }
        self.catches.put_away(catch);
        wants_to_send
    }
}

/// Room to receive datagrams in: what no socket holds at the moment waits here for the next that receives.
#[derive(Default)]
pub(crate) struct Catches {
    #[expect(clippy::vec_box, reason = "a socket's share moves it to and fro")]
    kept: Vec<Box<Catch>>,
    /// How many there are, those that sockets hold included.
    made: usize,
}

impl Catches {
    #[inline]
    fn take(&mut self) -> Option<Box<Catch>> {
        self.kept.pop()
    }

    fn make(&mut self) -> Box<Catch> {
        self.made += 1;
        Box::new(Catch::with_room())
    }

    #[inline]
    pub(crate) fn put_away(&mut self, mut catch: Box<Catch>) {
        if self.kept.len() < KEPT_CATCHES {
            catch.clear();
            self.kept.push(catch);
        } else {
            self.made -= 1;
        }
    }

    /// The bytes of all of them.
    pub(crate) fn memory(&self) -> usize {
        self.made * Catch::CAPACITY
    }
}
