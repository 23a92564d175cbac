//! The way of datagrams out of the loop.
//!
//! `send` to an address goes out on a tick (N267), `send` to the connected peer within the call. In
//! either case small datagrams are laid aside in the [`Outbox`](super::outbox::Outbox) and go out together, with as few
//! system calls as possible: before any user code runs but the 'message' listeners of the datagrams
//! that were received along with the present one. To everybody else they have gone.

use std::io;
use std::net::SocketAddr;

use super::datagram_connect::{check_port, is_connected};
use super::datagram_entry::{
    BindState, ConnectState, DatagramTask, Host, WaitingCall, datagram_of,
};
use super::handle::Id;
use super::state::{Dead, Reap, State};
use super::task::Task;
use crate::backend::{already_connected, ready, would_block};
use crate::ground::error::{Error, Result};
use crate::ground::payload::Payload;
use crate::ground::spare::give_back;

/// Is told what became of a datagram: how many bytes it had, or the error.
pub(crate) type SendDone = Box<dyn FnOnce(Result<usize>)>;

/// Larger datagrams are not laid aside, so they are not copied either.
pub(crate) const GATHER_LIMIT: usize = 16 * 1024;

/// A datagram that waits to be tried.
pub(crate) struct Outgoing {
    pub(crate) payload: Payload<'static>,
    /// Its bytes.
    pub(crate) size: usize,
    pub(crate) host: Host,
    port: u16,
    pub(crate) done: Option<SendDone>,
}

/// A datagram that the kernel had no room for.
pub(crate) struct Queued {
    payload: Payload<'static>,
    size: usize,
    to: Option<SocketAddr>,
    done: Option<SendDone>,
}

/// What became of such a datagram.
pub(crate) struct Told {
    done: Option<SendDone>,
    size: usize,
    result: Result<usize>,
}

/// A completion on its way to its tick.
pub(crate) enum Sending {
    /// Its datagram was laid aside.
    Pending(SendDone),
    /// It is known what became of its datagram.
    Known(SendDone, Result<usize>),
    /// Its datagram waits for the kernel, and it with it.
    Queued,
}

impl State {
    /// `send`. What the system says goes to the completion; only what Node throws is returned
    /// (N270, N271), and then the completion stays with the caller.
    pub(crate) fn send(
        &mut self,
        id: Id,
        payload: &mut Payload<'_>,
        to: Option<(Host, u16)>,
        done: &mut Option<SendDone>,
    ) -> Result<()> {
        let datagram = datagram_of(&mut self.entries, id).ok_or_else(Error::handle_gone)?;
        let connected = datagram.connected == ConnectState::Connected;
        match &to {
            Some((_, port)) => {
                if connected {
                    self.open_datagram(id)?;
                    return Err(is_connected());
                }
                check_port(*port)?;
            }
            None if !connected => {
                return Err(Error::library(
                    "ERR_SOCKET_BAD_PORT",
                    "Port should be > 0 and < 65536. Received undefined.",
                ));
            }
            None => {}
        }
        let datagram = self.open_datagram(id)?;
        let Some((host, port)) = to else {
            self.transmit(id, payload, None, done.take());
            return Ok(());
        };
        datagram.check_host(&host)?;
        let size = payload.size();
        if !datagram.has_room(size) {
            let address = datagram.near_address(&host, port).ok();
            self.refuse(id, Error::no_buffer_space(address), done.take());
            return Ok(());
        }
        datagram.untried.add(size);
        let bound = datagram.bound;
        let outgoing = Box::new(Outgoing {
            payload: payload.take(),
            size,
            host,
            port,
            done: done.take(),
        });
        match bound {
            BindState::Bound => self.send_after_binding(id, outgoing),
            _ => self.wait_for_binding(id, WaitingCall::Send(outgoing))?,
        }
        Ok(())
    }

    /// The look-up of a send.
    pub(crate) fn send_after_binding(&mut self, id: Id, outgoing: Box<Outgoing>) {
        if let Some(outgoing) = self.wait_for_name(id, outgoing) {
            let task = DatagramTask::Send(outgoing);
            self.ticks.push(Task::Datagram(id, task));
        }
    }

    /// The tick of a send (doSend). A socket that was closed sends nothing and tells nobody (N278).
    pub(crate) fn send_on_tick(&mut self, id: Id, mut outgoing: Box<Outgoing>) {
        let Some(datagram) = self.datagram(id) else {
            return self.bury(outgoing);
        };
        datagram.untried.subtract(outgoing.size);
        if datagram.is_closed() {
            return self.bury(outgoing);
        }
        let done = outgoing.done.take();
        match datagram.near_address(&outgoing.host, outgoing.port) {
            Err(error) => self.refuse(id, error, done),
            Ok(address) if datagram.blocks_sending(address) => {
                self.tell_later(id, done, Err(Error::ip_blocked(address.ip())));
            }
            // One of the other family is refused before the system is asked, connected or not.
            Ok(address)
                if datagram.connected == ConnectState::Connected
                    && address.is_ipv6() == datagram.is_ipv6 =>
            {
                let error = Error::with_address("send", already_connected(), address, None);
                self.tell_later(id, done, Err(error));
            }
            Ok(address) => self.transmit(id, &mut outgoing.payload, Some(address), done),
        }
        // Its buffers may be a user's.
        self.bury(outgoing);
    }

    /// Hands a datagram to the kernel, or lays it aside for a moment.
    fn transmit(
        &mut self,
        id: Id,
        payload: &mut Payload<'_>,
        to: Option<SocketAddr>,
        done: Option<SendDone>,
    ) {
        let key = done.map(|done| {
            let key = self.sends.insert(Sending::Pending(done));
            self.ticks.push(Task::Datagram(id, DatagramTask::Sent(key)));
            key
        });
        let Some(datagram) = self.datagram(id) else {
            return;
        };
        if !datagram.queue.is_empty() || !datagram.told.is_empty() {
            return self.queue_datagram(id, payload.take(), to, key);
        }
        if self.outbox.owner() != Some(id) {
            self.flush_outbox();
        }
        if let Some(bytes) = payload.one()
            && bytes.len() <= GATHER_LIMIT
            && self.settings.gather
            && self.outbox.is_open()
            && !self.outbox.has_staged()
        {
            self.outbox.add(id, bytes, to, key);
            if self.outbox.is_full() {
                self.flush_outbox();
            }
            return;
        }
        self.flush_outbox();
        let State {
            entries, backend, ..
        } = self;
        let Some(datagram) = datagram_of(entries, id) else {
            return;
        };
        if !datagram.queue.is_empty() {
            return self.queue_datagram(id, payload.take(), to, key);
        }
        let Some(io) = &datagram.io else {
            return;
        };
        let sent = payload.with_slices(|slices| backend.send_datagram(io, slices, to));
        match sent {
            Err(error) if would_block(&error) => {
                self.queue_datagram(id, payload.take(), to, key);
            }
            sent => self.note_sent(key, to, sent),
        }
    }

    /// Sends what was laid aside for this socket: before anything that touches its descriptor.
    pub(crate) fn flush_outbox_of(&mut self, id: Id) {
        if self.outbox.owner() == Some(id) {
            self.flush_outbox();
        }
    }

    /// The loop runs no more.
    pub(crate) fn close_outbox(&mut self) {
        self.outbox.close();
        self.flush_outbox();
    }

    /// Sends what was laid aside, but for what is staged.
    #[inline]
    pub(crate) fn flush_outbox(&mut self) {
        if !self.outbox.is_empty() {
            self.send_laid_aside();
        }
    }

    fn send_laid_aside(&mut self) {
        let Some(id) = self.outbox.owner() else {
            return;
        };
        while !self.outbox.is_empty() {
            let State {
                entries,
                backend,
                outbox,
                ..
            } = self;
            let datagram = datagram_of(entries, id);
            let (went_out, failed) = match datagram.and_then(|datagram| datagram.io.as_ref()) {
                Some(io) => {
                    let (bytes, pieces) = outbox.unsent();
                    backend.send_datagrams(io, bytes, pieces)
                }
                // It was flushed when it was closed.
                None => (usize::MAX, None),
            };
            if failed.is_none() && self.outbox.note_all_sent() {
                break;
            }
            for _ in 0..went_out {
                match self.outbox.next_sent() {
                    Some((piece, _, Some(key))) => {
                        self.note_sent(Some(key), piece.to, Ok(piece.size));
                    }
                    Some(_) => {}
                    None => break,
                }
            }
            match failed {
                None => {}
                Some(error) if would_block(&error) => {
                    while let Some((piece, bytes, key)) = self.outbox.next_sent() {
                        let payload = Payload::from(bytes).take();
                        self.queue_datagram(id, payload, piece.to, key);
                    }
                }
                Some(error) => {
                    if let Some((piece, _, key)) = self.outbox.next_sent() {
                        self.note_sent(key, piece.to, Err(error));
                    }
                }
            }
        }
        self.outbox.clear_if_sent();
    }

    /// What became of a datagram. Without a completion nobody is told, as in Node (N271).
    fn note_sent(&mut self, key: Option<usize>, to: Option<SocketAddr>, sent: io::Result<usize>) {
        let Some(sending) = key.and_then(|key| self.sends.get_mut(key)) else {
            return;
        };
        let result = sent.map_err(|error| send_error(error, to));
        *sending = match std::mem::replace(sending, Sending::Queued) {
            Sending::Pending(done) => Sending::Known(done, result),
            other => other,
        };
    }

    /// The tick of a completion: it and what it is told, unless its datagram waits.
    pub(crate) fn take_sent(&mut self, key: usize) -> Option<(SendDone, Result<usize>)> {
        match self.sends.try_remove(key)? {
            Sending::Known(done, result) => Some((done, result)),
            Sending::Pending(_) | Sending::Queued => None,
        }
    }

    /// Has a datagram wait for the kernel (U14).
    pub(crate) fn queue_datagram(
        &mut self,
        id: Id,
        payload: Payload<'static>,
        to: Option<SocketAddr>,
        key: Option<usize>,
    ) {
        let State {
            entries,
            backend,
            live,
            sends,
            ..
        } = self;
        let Some(datagram) = datagram_of(entries, id) else {
            return;
        };
        let sending = key.and_then(|key| sends.get_mut(key));
        let size = payload.size();
        if !datagram.has_room(size) {
            let error = Error::no_buffer_space(to);
            match sending.map(|sending| std::mem::replace(sending, Sending::Queued)) {
                Some(Sending::Pending(done)) => {
                    if let Some(sending) = key.and_then(|key| sends.get_mut(key)) {
                        *sending = Sending::Known(done, Err(error));
                    }
                }
                _ => self.refuse(id, error, None),
            }
            return self.bury(payload);
        }
        let done = match sending.map(|sending| std::mem::replace(sending, Sending::Queued)) {
            Some(Sending::Pending(done)) => Some(done),
            _ => None,
        };
        if datagram.queue.is_empty() {
            datagram.ready &= !ready::WRITABLE;
            if let Some(io) = &mut datagram.io {
                // Fails if the system is out of memory for it; then the next event brings them on
                // their way.
                let _ = backend.watch_writability(io, State::token(id), true);
            }
        }
        live.requests += 1;
        datagram.queued.add(size);
        datagram.queue.push_back(Queued {
            payload,
            size,
            to,
            done,
        });
    }

    /// The kernel may take datagrams again: sends what waits, as far as it goes.
    pub(crate) fn send_queued(&mut self, id: Id) {
        loop {
            let State {
                entries,
                backend,
                graveyard,
                ..
            } = self;
            let Some(datagram) = datagram_of(entries, id) else {
                return;
            };
            let (Some(io), Some(first)) = (&mut datagram.io, datagram.queue.front()) else {
                return;
            };
            let to = first.to;
            let sent = first
                .payload
                .with_slices(|slices| backend.send_datagram(io, slices, to));
            if let Err(error) = &sent
                && would_block(error)
            {
                datagram.ready &= !ready::WRITABLE;
                // Asked again, so that it is told of room that came between the event and this.
                let _ = backend.watch_writability(io, State::token(id), true);
                return;
            }
            let Some(queued) = datagram.queue.pop_front() else {
                return;
            };
            if datagram.queue.is_empty() {
                give_back(&mut datagram.queue);
                // What it tells beyond need is taken no note of.
                let _ = backend.watch_writability(io, State::token(id), false);
            }
            datagram.told.push_back(Told {
                done: queued.done,
                size: queued.size,
                result: sent.map_err(|error| send_error(error, to)),
            });
            graveyard.push(Dead::Other(Box::new(queued.payload)));
        }
    }

    /// The next completion of a datagram that had to wait.
    pub(crate) fn next_told(&mut self, id: Id) -> Option<(Option<SendDone>, Result<usize>)> {
        let State { entries, live, .. } = self;
        let datagram = datagram_of(entries, id)?;
        let told = datagram.told.pop_front()?;
        give_back(&mut datagram.told);
        datagram.queued.subtract(told.size);
        live.requests -= 1;
        Some((told.done, told.result))
    }

    /// The closing phase of a socket: what waits is cancelled (U15).
    pub(crate) fn cancel_datagrams(&mut self, id: Id) {
        let State {
            entries,
            live,
            steps,
            graveyard,
            reap,
            ..
        } = self;
        let Some(datagram) = datagram_of(entries, id) else {
            return;
        };
        let queue = std::mem::take(&mut datagram.queue);
        let told = std::mem::take(&mut datagram.told);
        if queue.is_empty() && told.is_empty() {
            return;
        }
        let mut tell = |size, done: Option<SendDone>, result| {
            datagram.queued.subtract(size);
            live.requests -= 1;
            let complete = |done| Task::Datagram(id, DatagramTask::Complete(done, result));
            steps.extend(done.map(complete));
        };
        for told in told {
            tell(told.size, told.done, told.result);
        }
        for queued in queue {
            let error = match queued.to {
                Some(to) => Error::canceled_at("send", to),
                None => Error::call("send", "ECANCELED"),
            };
            tell(queued.size, queued.done, Err(error));
            graveyard.push(Dead::Other(Box::new(queued.payload)));
        }
        reap.push(Reap::Entry(id));
    }

    /// Tells of an error that a look-up or the bound of the queue has brought: the completion, else
    /// 'error' (N271).
    pub(crate) fn refuse(&mut self, id: Id, error: Error, done: Option<SendDone>) {
        let task = match done {
            Some(done) => DatagramTask::Complete(done, Err(error)),
            None => DatagramTask::EmitError(error),
        };
        self.ticks.push(Task::Datagram(id, task));
    }

    /// Calls a completion on a tick.
    pub(crate) fn tell_later(&mut self, id: Id, done: Option<SendDone>, result: Result<usize>) {
        if let Some(done) = done {
            let task = DatagramTask::Complete(done, result);
            self.ticks.push(Task::Datagram(id, task));
        }
    }
}

impl super::datagram_entry::DatagramState {
    /// Whether another datagram may wait.
    pub(crate) fn has_room(&self, size: usize) -> bool {
        let datagrams = self.untried.datagrams + self.queued.datagrams;
        let bytes = self.untried.bytes + self.queued.bytes;
        datagrams < self.options.limit.datagrams
            && bytes.saturating_add(size) <= self.options.limit.bytes
    }
}

/// What the system says of a datagram: Node's ExceptionWithHostPort.
fn send_error(error: io::Error, to: Option<SocketAddr>) -> Error {
    match to {
        Some(to) => Error::with_address("send", error, to, None),
        None => Error::system("send", error),
    }
}
