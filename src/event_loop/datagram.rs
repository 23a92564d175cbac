//! The life of a UDP socket: binding, listening, closing. The names of Node's functions stand beside
//! what mirrors them.
//!
//! [`datagram_entry`](super::datagram_entry) has what a socket consists of,
//! [`datagram_connect`](super::datagram_connect) the connected peer,
//! [`datagram_send`](super::datagram_send) the way out, [`datagram_receive`](super::datagram_receive)
//! the way in, [`datagram_options`](super::datagram_options) options and groups,
//! [`descriptors`](super::descriptors) sockets that exist already.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;

use super::core::Core;
use super::datagram_entry::{
    Backlog, BindRequest, BindState, ConnectState, DatagramOptions, DatagramState, DatagramTask,
    Host, Waiting, WaitingCall, close_slot, connect_slot, datagram_of, error_slot, listening_slot,
};
use super::datagram_names::Wanted;
use super::datagram_options::parse_host;
use super::entry::{Entry, flag};
use super::handle::{Id, UdpSocket};
use super::look_up::CustomLookup;
use super::state::{Reap, State};
use super::task::Task;
use crate::backend::datagram::bad_descriptor;
use crate::ground::error::{Error, Result};
use crate::ground::listeners::{Listener, Shared, Slot};
use crate::ground::mutations::mutated;

pub(crate) fn not_running() -> Error {
    Error::library("ERR_SOCKET_DGRAM_NOT_RUNNING", "Not running")
}

pub(crate) fn already_bound() -> Error {
    Error::library("ERR_SOCKET_ALREADY_BOUND", "Socket is already bound")
}

impl State {
    #[inline]
    pub(crate) fn datagram(&mut self, id: Id) -> Option<&mut DatagramState> {
        datagram_of(&mut self.entries, id)
    }

    /// The socket if it is there and was not closed (healthCheck).
    pub(crate) fn open_datagram(&mut self, id: Id) -> Result<&mut DatagramState> {
        let datagram = datagram_of(&mut self.entries, id).ok_or_else(Error::handle_gone)?;
        match datagram.is_closed() {
            true => Err(not_running()),
            false => Ok(datagram),
        }
    }

    pub(crate) fn make_datagram(
        &mut self,
        is_ipv6: bool,
        options: DatagramOptions,
        lookup: Option<CustomLookup>,
        origin: &'static Location<'static>,
    ) -> Id {
        self.insert(flag::REFERENCED, origin, |common| {
            Entry::Datagram(Box::new(DatagramState {
                common,
                io: None,
                ready: 0,
                is_ipv6,
                bound: BindState::Unbound,
                connected: ConnectState::Disconnected,
                options,
                unresolved: VecDeque::new(),
                look_ups: Vec::new(),
                lookup,
                waiting: None,
                bind_listener: None,
                untried: Backlog::default(),
                queue: VecDeque::new(),
                told: VecDeque::new(),
                queued: Backlog::default(),
                catch: None,
                reads: super::datagram_receive::FIRST_READS,
                alone: 0,
                message: Slot::Empty,
                listening: Slot::Empty,
                connect: Slot::Empty,
                error: Slot::Empty,
                close: Slot::Empty,
            }))
        })
    }

    /// `bind`: on a tick, whatever the address (N262); a name is looked up before.
    pub(crate) fn bind_datagram(&mut self, id: Id, request: BindRequest) -> Result<()> {
        let datagram = self.open_datagram(id)?;
        if datagram.bound != BindState::Unbound {
            return Err(already_bound());
        }
        #[cfg(unix)]
        if let Some(descriptor) = request.descriptor {
            return self.bind_to_descriptor(id, descriptor);
        }
        datagram.check_host(&request.host)?;
        datagram.bound = BindState::Binding;
        let request = Box::new(request);
        match request.host.name().map(str::to_string) {
            Some(name) => self.look_up_for_datagram(id, &name, Wanted::Bind(request)),
            None => {
                let task = DatagramTask::Bind(request);
                self.ticks.push(Task::Datagram(id, task));
            }
        }
        Ok(())
    }

    /// `bind_then`'s listener: of this binding only.
    pub(crate) fn add_bind_listener(
        &mut self,
        id: Id,
        call: &mut Option<Shared<dyn FnMut(UdpSocket)>>,
    ) {
        let listener = self.next_listener_id();
        if let (Some(datagram), Some(call)) = (self.datagram(id), call.take()) {
            datagram.bind_listener = Some(listener);
            datagram.listening.add(Listener::new(call, listener, true));
        }
    }

    /// The tick of a bind.
    fn bind_after_look_up(&mut self, id: Id, request: &BindRequest) {
        let Ok(datagram) = self.open_datagram(id) else {
            return;
        };
        let bound = match datagram.any_address(&request.host, request.port) {
            Ok(address) => self
                .bind_now(id, address)
                .map_err(|error| Error::with_address("bind", error, address, None)),
            Err(error) => Err(error),
        };
        match bound.map(|()| self.apply_buffer_sizes(id)) {
            Ok(Ok(())) => self.announce(id),
            // Node throws it where nobody can catch it, and 'listening' never comes.
            Ok(Err(error)) => self.throw(id, error),
            Err(error) => {
                if let Some(datagram) = self.datagram(id) {
                    datagram.bound = BindState::Unbound;
                }
                let task = DatagramTask::EmitError(error);
                self.steps.push_back(Task::Datagram(id, task));
            }
        }
    }

    /// `bind_sync`: at once; 'listening' comes on a tick.
    pub(crate) fn bind_sync(&mut self, id: Id, request: &BindRequest) -> Result<SocketAddr> {
        let datagram = self.open_datagram(id)?;
        if datagram.bound != BindState::Unbound {
            return Err(already_bound());
        }
        #[cfg(unix)]
        if let Some(descriptor) = &request.descriptor {
            self.bind_to_descriptor(id, descriptor.clone())?;
            return self.datagram_address(id);
        }
        if let Host::Name(name) = &request.host
            && parse_host(name).is_none()
        {
            let message = format!(
                "The property 'options.address' must be a numeric IP address; bindSync does not \
                 perform DNS resolution. Received '{name}'"
            );
            return Err(Error::library("ERR_INVALID_ARG_VALUE", &message));
        }
        let address = datagram.any_address(&request.host, request.port)?;
        self.bind_now(id, address)
            .map_err(|error| Error::with_address("bind", error, address, None))?;
        self.apply_buffer_sizes(id)?;
        self.ticks.push(Task::Datagram(id, DatagramTask::Listening));
        self.datagram_address(id)
    }

    /// The system call, and reception begins (startReceiving).
    fn bind_now(&mut self, id: Id, address: SocketAddr) -> io::Result<()> {
        let State {
            entries,
            backend,
            live,
            ..
        } = self;
        let Some(datagram) = datagram_of(entries, id) else {
            return Ok(());
        };
        let options = datagram.options.bind;
        // Refused before there is a socket, so that there is none behind it either (U3).
        if address.is_ipv6() != datagram.is_ipv6 || (options.ipv6_only && !datagram.is_ipv6) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let fresh = match &datagram.io {
            Some(_) => None,
            None => Some(backend.open_datagram(datagram.is_ipv6)?),
        };
        // One that joined a group before is bound already, and the system says so (N287).
        let io = datagram.io.get_or_insert_with(|| {
            fresh.unwrap_or_else(|| unreachable!("made where there was none"))
        });
        backend.bind_datagram(io, address, options)?;
        backend.watch_datagram(io, State::token(id))?;
        datagram.bound = BindState::Bound;
        datagram.common.set_active(true, live);
        Ok(())
    }

    /// The sizes of the kernel's buffers that it was made with (N284).
    pub(crate) fn apply_buffer_sizes(&mut self, id: Id) -> Result<()> {
        let Some(datagram) = self.datagram(id) else {
            return Ok(());
        };
        let sizes = [
            (datagram.options.recv_buffer_size, true),
            (datagram.options.send_buffer_size, false),
        ];
        for (size, receives) in sizes {
            let Some(size) = size.filter(|&size| size > 0) else {
                continue;
            };
            self.set_buffer_size(id, size, receives)?;
        }
        Ok(())
    }

    /// What Node throws out of its own callback, where the program can't catch it.
    fn throw(&mut self, id: Id, error: Error) {
        let task = DatagramTask::Throw(error);
        self.steps.push_back(Task::Datagram(id, task));
    }

    /// 'listening', with the calls that have waited for it in the middle.
    fn announce(&mut self, id: Id) {
        let Some(datagram) = self.datagram(id) else {
            return;
        };
        datagram.bind_listener = None;
        let waits = datagram.waiting.is_some();
        let task = |task| Task::Datagram(id, task);
        self.steps.push_back(task(DatagramTask::EmitListening));
        if waits {
            // For where no listener stands behind them, or one in front of them has panicked.
            self.steps.push_back(task(DatagramTask::MakeCalls));
        }
    }

    /// Has a call wait until the socket is bound, which begins now unless it has begun (enqueue).
    pub(crate) fn wait_for_binding(&mut self, id: Id, call: WaitingCall) -> Result<()> {
        let behind = self.last_listener_id();
        let datagram = self.open_datagram(id)?;
        let begins = datagram.bound == BindState::Unbound;
        let waiting = datagram.waiting.get_or_insert_with(|| {
            Box::new(Waiting {
                behind,
                calls: Vec::new(),
            })
        });
        waiting.calls.push(call);
        if begins {
            self.bind_datagram(id, BindRequest::new(Host::Default, 0))?;
        }
        Ok(())
    }

    /// Makes the calls that have waited, in order.
    fn make_calls(&mut self, id: Id) {
        let Some(waiting) = self
            .datagram(id)
            .and_then(|datagram| datagram.waiting.take())
        else {
            return;
        };
        let mut calls = waiting.calls.into_iter();
        for call in calls.by_ref() {
            if self.open_datagram(id).is_err() {
                // Behind a close. Node throws it where nobody can catch it, and forgets the rest.
                self.throw(id, not_running());
                self.bury(call);
                break;
            }
            match call {
                WaitingCall::Send(outgoing) => self.send_after_binding(id, outgoing),
                WaitingCall::Connect(call) => self.connect_after_binding(id, call),
                // It is open, so there is nothing to be told.
                WaitingCall::Close => drop(self.close_datagram(id)),
            }
        }
        // Their buffers and completions may be a user's.
        self.bury(calls);
    }

    /// `close`: the descriptor now, 'close' on a tick (N278). While calls wait for the binding it
    /// waits behind them.
    pub(crate) fn close_datagram(&mut self, id: Id) -> Result<()> {
        let gone = datagram_of(&mut self.entries, id).ok_or_else(Error::handle_gone)?;
        if let Some(waiting) = &mut gone.waiting {
            waiting.calls.push(WaitingCall::Close);
            return Ok(());
        }
        self.open_datagram(id)?;
        if mutated!("close sends what waits for its tick") {
            self.send_staged(id);
        }
        self.flush_outbox_of(id);
        self.outbox.drop_staged(id);
        self.abandon_datagram_look_ups(id);
        let State {
            entries,
            backend,
            live,
            ..
        } = self;
        let Some(datagram) = datagram_of(entries, id) else {
            return Ok(());
        };
        datagram.common.flags.set(flag::DESTROYED | flag::CLOSE_DUE);
        datagram.common.set_active(false, live);
        if let Some(io) = datagram.io.take() {
            backend.close_datagram(io);
            // A descriptor is free: servers that lack one may try again.
            self.stalled_until_ms = 0;
        }
        if let Some(catch) = datagram.catch.take() {
            self.catches.put_away(catch);
        }
        self.closing.push(id.into());
        self.ticks.push(Task::Datagram(id, DatagramTask::EmitClose));
        Ok(())
    }

    /// The address that the socket is bound to (getsockname).
    pub(crate) fn datagram_address(&mut self, id: Id) -> Result<SocketAddr> {
        self.open_datagram(id)?;
        let State {
            entries, backend, ..
        } = self;
        let io = datagram_of(entries, id).and_then(|datagram| datagram.io.as_ref());
        let address = match io {
            Some(io) => backend.datagram_address(io),
            None => Err(bad_descriptor()),
        };
        address.map_err(|error| Error::system("getsockname", error))
    }

    /// What an error does before its listeners are called (errorMonitor): the listener of a `bind`
    /// under way and the calls that waited are forgotten.
    fn before_error(&mut self, id: Id) {
        let Some(datagram) = self.datagram(id) else {
            return;
        };
        let waiting = datagram.waiting.take();
        let listener = datagram.bind_listener.take();
        let removed = listener.and_then(|listener| datagram.listening.remove(listener));
        if let Some(waiting) = &waiting {
            for call in &waiting.calls {
                if let WaitingCall::Send(outgoing) = call {
                    datagram.untried.subtract(outgoing.size);
                }
            }
        }
        if let Some(waiting) = waiting {
            self.bury(waiting);
        }
        if let Some(removed) = removed {
            self.bury(removed);
        }
    }
}

/// Emits 'listening'. The calls that have waited for it are made in the middle of the emission, where Node has
/// a listener of its own for them.
fn emit_listening(core: &Core, id: Id, socket: UdpSocket) {
    let behind = core.with(|state| Some(state.datagram(id)?.waiting.as_ref()?.behind));
    let Some(behind) = behind else {
        core.emit(id, listening_slot, |listener| listener(socket));
        return;
    };
    let wait = Cell::new(true);
    core.emit_where(
        id,
        listening_slot,
        |listener| {
            if listener.id.0 > behind.0 && wait.replace(false) {
                core.with(|state| state.make_calls(id));
            }
            true
        },
        |listener| listener(socket),
    );
}

/// Does one task. User code runs unborrowed.
pub(crate) fn perform(core: &Core, id: Id, task: DatagramTask) {
    let socket = UdpSocket(core.raw(id));
    match task {
        DatagramTask::AskUser(number, question) => {
            let (host, options) = *question;
            let name = host.clone();
            let asked = core.with(|state| state.ask_user_for_datagram(id, number, name, socket));
            if let Some((lookup, answer)) = asked {
                lookup(&host, options, answer);
            }
        }
        DatagramTask::LookedUp(number, answer) => {
            core.with(|state| state.datagram_looked_up(id, number, answer));
        }
        DatagramTask::Send(outgoing) => core.with(|state| state.send_on_tick(id, outgoing)),
        DatagramTask::SendStaged => core.with(|state| state.send_staged(id)),
        DatagramTask::Sent(key) => {
            if let Some((done, result)) = core.with(|state| state.take_sent(key)) {
                done(result);
            }
        }
        DatagramTask::Complete(done, result) => done(result),
        DatagramTask::Bind(request) => core.with(|state| state.bind_after_look_up(id, &request)),
        DatagramTask::Listening => core.with(|state| {
            if state.open_datagram(id).is_ok() {
                state.announce(id);
            }
        }),
        DatagramTask::EmitListening => emit_listening(core, id, socket),
        DatagramTask::MakeCalls => core.with(|state| state.make_calls(id)),
        DatagramTask::Connect(call) => core.with(|state| state.connect_datagram_on_tick(id, call)),
        DatagramTask::ConnectFailed(call, error) => {
            super::datagram_connect::fail(core, id, *call, error);
        }
        DatagramTask::EmitConnect(if_open) => {
            if !if_open || core.with(|state| state.open_datagram(id).is_ok()) {
                core.emit(id, connect_slot, |listener| listener(socket));
            }
        }
        DatagramTask::EmitError(error) => {
            core.with(|state| state.before_error(id));
            if !core.emit(id, error_slot, |listener| listener(socket, &error)) {
                core.uncaught(error);
            }
        }
        DatagramTask::Throw(error) => core.uncaught(error),
        DatagramTask::EmitClose => {
            core.tell(|| log::debug!(target: "nodeloop::dgram", "{socket:?} closed"));
            core.with(|state| {
                if let Some(datagram) = state.datagram(id) {
                    datagram.common.flags.clear(flag::CLOSE_DUE);
                }
                state.reap.push(Reap::Entry(id));
            });
            core.emit(id, close_slot, |listener| listener(socket));
        }
    }
}
