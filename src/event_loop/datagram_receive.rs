//! The way of datagrams into the loop: serving a UDP socket.
//!
//! One receive may bring many datagrams ([`Catch`]). Each is a loop callback of its own; a socket
//! delivers at most 32 in a turn (N12), and what was received beyond stays in its entry until the
//! next.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use super::core::Core;
use super::datagram_entry::{DatagramTask, RemoteInfo, datagram_of};
use super::handle::{Id, UdpSocket};
use super::state::State;
use super::task::Task;
use crate::backend::datagram::{Catch, RECEIVE_BUDGET};
use crate::backend::ready;
use crate::ground::error::{Error, Result};
use crate::ground::listeners::Taken;

/// How many reads the first receive of a socket asks for: one more than one, so that a datagram that
/// comes alone proves that nothing is left. It doubles with every full batch.
pub(crate) const FIRST_READS: usize = 2;

/// What serving comes to next.
enum Next {
    /// The share is over.
    Done,
    /// What was taken goes to the 'message' listeners.
    Deliver,
    /// Something was taken note of that the end of a loop callback sees to.
    Finish,
}

/// A socket's share of a turn, with what it has borrowed from the loop. Dropped, also when a
/// listener panics, it gives all back.
struct Share<'a> {
    core: &'a Core,
    id: Id,
    /// Datagrams that may still be delivered.
    left: u32,
    /// The listeners, while they are called.
    taken: Taken<dyn FnMut(UdpSocket, &[u8], RemoteInfo)>,
    /// Whether they are.
    lent: bool,
    /// What was received.
    catch: Catch,
    /// The datagram that is delivered.
    place: Range<usize>,
    from: SocketAddr,
}

/// Serves a UDP socket: receives, then sends what waits (libuv's uv__udp_io).
// Not part of `serve_batch`, whose registers belong to streams.
#[inline(never)]
pub(crate) fn serve(core: &Core, id: Id) -> Result<()> {
    let mut share = Share {
        core,
        id,
        left: RECEIVE_BUDGET,
        taken: Taken::nothing(),
        lent: false,
        catch: core.inside(|state| state.begin_share(id)),
        place: 0..0,
        from: SocketAddr::from(([0, 0, 0, 0], 0)),
    };
    loop {
        let next = core.inside(|state| {
            if share.lent {
                share.take_back(state);
            }
            match state.is_quiet() {
                true => share.advance(state),
                false => Next::Finish,
            }
        });
        match next {
            Next::Deliver => share.deliver(),
            Next::Finish => core.finish_callback()?,
            Next::Done => break,
        }
    }
    drop(share);
    core.finish_callback()?;
    serve_queued(core, id)
}

/// Sends what waits for the kernel, and tells the completions, one loop callback each.
fn serve_queued(core: &Core, id: Id) -> Result<()> {
    core.inside(|state| {
        let wants = state
            .datagram(id)
            .is_some_and(|datagram| datagram.wants_to_send());
        if wants {
            state.send_queued(id);
        }
    });
    while let Some((done, result)) = core.inside(|state| state.next_told(id)) {
        if let Some(done) = done {
            done(result);
        }
        core.finish_callback()?;
    }
    Ok(())
}

impl Share<'_> {
    /// Calls the listeners.
    #[inline]
    fn deliver(&mut self) {
        let socket = UdpSocket(self.core.raw(self.id));
        let data = &self.catch.bytes()[self.place.clone()];
        let from = RemoteInfo {
            address: self.from,
            size: data.len(),
        };
        self.taken.each(|listener| listener(socket, data, from));
    }

    /// Gives the listeners back. Those that were removed meanwhile, or all if the socket is gone, go
    /// to the graveyard.
    #[inline]
    fn take_back(&mut self, state: &mut State) {
        self.lent = false;
        let left = match state.datagram(self.id) {
            Some(datagram) => datagram.message.put_back(&mut self.taken),
            None => true,
        };
        if left {
            let dead = std::mem::replace(&mut self.taken, Taken::nothing());
            state.bury(dead);
        }
    }

    /// Finds the next datagram, receiving if need be.
    #[inline]
    fn advance(&mut self, state: &mut State) -> Next {
        while self.left > 0 {
            let Some(datagram) = state.datagram(self.id) else {
                return Next::Done;
            };
            if !datagram.common.flags.any(super::entry::flag::ACTIVE) {
                // N279: closed meanwhile; nothing more of it is delivered.
                self.catch.clear();
                return Next::Done;
            }
            if let Some((place, from)) = self.catch.next() {
                self.left -= 1;
                if datagram.message.take_into(&mut self.taken) {
                    self.lent = true;
                    (self.place, self.from) = (place, from);
                    return Next::Deliver;
                }
                continue;
            }
            if datagram.ready & ready::READABLE == 0 {
                return Next::Done;
            }
            if let Err(error) = self.receive(state) {
                // As in libuv an error ends the share.
                self.left = 0;
                let error = Error::system("recvmsg", error);
                let task = DatagramTask::EmitError(error);
                state.steps.push_back(Task::Datagram(self.id, task));
                return Next::Finish;
            }
        }
        Next::Done
    }

    /// One receive from the kernel.
    fn receive(&mut self, state: &mut State) -> io::Result<()> {
        let State {
            entries, backend, ..
        } = state;
        let Some(datagram) = datagram_of(entries, self.id) else {
            return Ok(());
        };
        let Some(io) = &datagram.io else {
            return Ok(());
        };
        let wanted = datagram.reads.min(self.left as usize);
        match backend.receive(io, &mut self.catch, wanted) {
            Ok(drained) => {
                if drained && datagram.ready & ready::ERROR == 0 {
                    datagram.ready &= !ready::READABLE;
                }
                datagram.reads = next_reads(datagram.reads, wanted, &self.catch);
                Ok(())
            }
            Err(error) => {
                // An error was read with this; datagrams may lie behind it.
                datagram.ready &= !ready::ERROR;
                if error.kind() != io::ErrorKind::WouldBlock {
                    return Err(error);
                }
                datagram.ready &= !ready::READABLE;
                Ok(())
            }
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

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let core = self.core;
        core.inside(|state| {
            if self.lent {
                self.take_back(state);
            }
            let catch = std::mem::take(&mut self.catch);
            state.end_share(self.id, catch);
        });
    }
}

impl State {
    /// What is laid aside waits from now on, until the socket's share is over. Gives what an earlier
    /// share has left, or room.
    fn begin_share(&mut self, id: Id) -> Catch {
        self.outbox.hold(true);
        if let Some(datagram) = self.datagram(id)
            && !datagram.catch.is_empty()
        {
            return std::mem::take(&mut datagram.catch);
        }
        let catch = std::mem::take(&mut self.catch);
        match catch.has_room() {
            true => catch,
            false => Catch::new(),
        }
    }

    fn end_share(&mut self, id: Id, catch: Catch) {
        self.outbox.hold(false);
        self.flush_outbox();
        match self.datagram(id) {
            Some(datagram) if !catch.is_empty() && !datagram.is_closed() => datagram.catch = catch,
            _ => self.put_catch_away(catch),
        }
    }

    /// Keeps a buffer for the next socket that receives.
    pub(crate) fn put_catch_away(&mut self, mut catch: Catch) {
        if catch.has_room() && !self.catch.has_room() {
            catch.clear();
            self.catch = catch;
        }
    }
}
