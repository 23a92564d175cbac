//! Sends that are laid aside at once, and wait there for their tick: the ordinary answer needs no task and
//! no allocation of its own.

use std::io::IoSlice;

use super::datagram_entry::{BindState, ConnectState, DatagramTask, Host, datagram_of};
use super::datagram_send::GATHER_LIMIT;
use super::handle::Id;
use super::state::State;
use super::task::Task;
use crate::backend::{ready, would_block};
use crate::ground::payload::Payload;

impl State {
    /// The ordinary `send` to an address, in one look: lays the datagram aside at once, since its tick will
    /// find nothing to look up. Returns whether it did.
    #[inline]
    pub(crate) fn stage(&mut self, id: Id, payload: &Payload<'_>, host: &Host, port: u16) -> bool {
        let Some(bytes) = payload.one() else {
            return false;
        };
        let size = bytes.len();
        if matches!(host, Host::Name(_))
            || port == 0
            || size > GATHER_LIMIT
            || !self.settings.gather
        {
            return false;
        }
        if self.outbox.owner().is_some_and(|owner| owner != id) {
            self.flush_outbox();
        }
        let Some(datagram) = datagram_of(&mut self.entries, id) else {
            return false;
        };
        let plain = datagram.bound == BindState::Bound
            && datagram.connected != ConnectState::Connected
            && !datagram.is_closed()
            && datagram.queued.datagrams == 0
            && datagram.unresolved.is_empty()
            && datagram.options.send_block.is_none()
            && datagram.has_room(size)
            && self.outbox.takes_staged(id, size);
        if plain && let Ok(address) = datagram.near_address(host, port) {
            datagram.untried.add(size);
            // In front of the queue of ticks while that is empty, else a tick of its own.
            let ahead = self.ticks.is_empty();
            self.outbox.stage(id, bytes, address, ahead);
            if !ahead {
                let tick = Task::Datagram(id, DatagramTask::SendStaged);
                self.ticks.push(tick);
            }
            return true;
        }
        false
    }

    /// The ordinary end of a 'message' listener: sends what it alone has left behind. What others that were
    /// received along with its datagram will send goes with it, unless it `was_last`. Returns whether the
    /// loop may go on at once.
    #[inline]
    pub(crate) fn settle_sends(&mut self, was_last: impl Fn() -> bool) -> bool {
        if self.left_behind_but_for_sends() | usize::from(!self.gather.is_empty()) != 0 {
            return false;
        }
        if self.outbox.ahead() == 0 || (was_last() && self.send_sole()) {
            return true;
        }
        self.send_all_ahead()
    }

    /// The ordinary answer: the one datagram that is staged, by a socket that has nothing else to send and
    /// nothing more to receive now. Returns whether it has gone.
    #[inline(never)]
    fn send_sole(&mut self) -> bool {
        let State {
            entries,
            backend,
            outbox,
            ..
        } = self;
        let Some((id, bytes, to)) = outbox.sole_ahead() else {
            return false;
        };
        let Some(datagram) = datagram_of(entries, id) else {
            return false;
        };
        let Some(io) = &datagram.io else {
            return false;
        };
        if datagram.ready & ready::READABLE != 0
            || datagram.connected == ConnectState::Connected
            || datagram.queued.datagrams > 0
        {
            return false;
        }
        match backend.send_datagram(io, &[IoSlice::new(bytes)], to) {
            Err(error) if would_block(&error) => {
                datagram.untried.subtract(bytes.len());
                let payload = Payload::from(bytes).take();
                outbox.clear_sole();
                self.queue_datagram(id, payload, to, None);
                self.is_quiet()
            }
            // Nobody wants to hear of an error.
            _ => {
                datagram.untried.subtract(bytes.len());
                outbox.clear_sole();
                true
            }
        }
    }

    /// Every other case.
    #[inline(never)]
    fn send_all_ahead(&mut self) -> bool {
        while let Some(id) = self.outbox.take_ahead() {
            self.send_staged(id);
        }
        self.is_quiet()
    }

    /// The tick of a datagram that was laid aside. A socket that was closed has forgotten it.
    #[inline]
    pub(crate) fn send_staged(&mut self, id: Id) {
        if self.outbox.owner() != Some(id) {
            return;
        }
        let Some(staged) = self.outbox.first_staged() else {
            return;
        };
        let Some(datagram) = datagram_of(&mut self.entries, id) else {
            return;
        };
        datagram.untried.subtract(staged.size);
        let waits = datagram.queued.datagrams > 0;
        if datagram.connected == ConnectState::Connected {
            // It would be EISCONN, and nobody wants to hear of it.
            self.outbox.take_staged();
            self.outbox.clear_if_sent();
        } else if waits {
            let payload = Payload::from(self.outbox.take_staged());
            self.outbox.clear_if_sent();
            self.queue_datagram(id, payload, staged.to, None);
        } else {
            self.outbox.commit();
            if self.outbox.is_full() {
                self.flush_outbox();
            }
        }
    }
}
