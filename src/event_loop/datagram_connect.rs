//! The connected peer of a UDP socket.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use super::core::Core;
use super::datagram::{already_bound, not_running};
use super::datagram_entry::{
    BindRequest, BindState, ConnectState, DatagramTask, Host, WaitingCall, connect_slot,
    datagram_of,
};
use super::datagram_names::Wanted;
use super::datagram_options::parse_host;
use super::handle::{Id, UdpSocket};
use super::state::State;
use super::task::Task;
use crate::ground::error::{Completion, Error, Result};
use crate::ground::listeners::{Listener, ListenerId, Shared, shared};

/// A call of `connect` under way.
pub(crate) struct ConnectCall {
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// Who is told: as a listener of 'connect' (N274), or of the failure.
    pub(crate) done: Option<Rc<Cell<Option<Completion>>>>,
    /// That listener, once it was added.
    pub(crate) listener: Option<ListenerId>,
}

/// What a `connect`, or a send to an address, is told on a connected socket.
pub(crate) fn is_connected() -> Error {
    Error::library("ERR_SOCKET_DGRAM_IS_CONNECTED", "Already connected")
}

fn not_connected() -> Error {
    Error::library("ERR_SOCKET_DGRAM_NOT_CONNECTED", "Not connected")
}

/// Port 0 is nobody's.
pub(crate) fn check_port(port: u16) -> Result<()> {
    match port {
        0 => Err(Error::library(
            "ERR_SOCKET_BAD_PORT",
            "Port should be > 0 and < 65536. Received type number (0).",
        )),
        _ => Ok(()),
    }
}

impl State {
    /// `connect`: binds if need be, and connects on a tick (N266, N274).
    pub(crate) fn connect_to(&mut self, id: Id, call: Box<ConnectCall>) -> Result<()> {
        check_port(call.port)?;
        let datagram = self.open_datagram(id)?;
        if datagram.connected != ConnectState::Disconnected {
            return Err(is_connected());
        }
        datagram.check_host(&call.host)?;
        datagram.connected = ConnectState::Connecting;
        match datagram.bound {
            BindState::Bound => self.connect_after_binding(id, call),
            _ => self.wait_for_binding(id, WaitingCall::Connect(call))?,
        }
        Ok(())
    }

    /// The look-up of the peer (_connect).
    pub(crate) fn connect_after_binding(&mut self, id: Id, mut call: Box<ConnectCall>) {
        if let Some(done) = &call.done {
            let listener = self.next_listener_id();
            let done = done.clone();
            let notify = move |_: UdpSocket| {
                if let Some(done) = done.take() {
                    done(Ok(()));
                }
            };
            if let Some(datagram) = self.datagram(id) {
                let notify: Shared<dyn FnMut(UdpSocket)> = shared(notify);
                let listening = Listener::new(notify, listener, true);
                datagram.connect.add(listening);
                call.listener = Some(listener);
            }
        }
        match call.host.name().map(str::to_string) {
            Some(name) => self.look_up_for_datagram(id, &name, Wanted::Connect(call)),
            None => {
                let task = DatagramTask::Connect(call);
                self.ticks.push(Task::Datagram(id, task));
            }
        }
    }

    /// The tick of a connect (doConnect).
    pub(crate) fn connect_datagram_on_tick(&mut self, id: Id, call: Box<ConnectCall>) {
        let Ok(datagram) = self.open_datagram(id) else {
            self.bury(call);
            return;
        };
        let connected = match datagram.near_address(&call.host, call.port) {
            Ok(address) => self.connect_now(id, address),
            Err(error) => Err(error),
        };
        let task = match connected {
            Ok(()) => DatagramTask::EmitConnect(false),
            Err(error) => {
                if let Some(datagram) = self.datagram(id) {
                    datagram.connected = ConnectState::Disconnected;
                }
                DatagramTask::ConnectFailed(call, error)
            }
        };
        self.ticks.push(Task::Datagram(id, task));
    }

    fn connect_now(&mut self, id: Id, address: SocketAddr) -> Result<()> {
        if self.open_datagram(id)?.blocks_sending(address) {
            return Err(Error::ip_blocked(address.ip()));
        }
        self.flush_outbox_of(id);
        let State {
            entries, backend, ..
        } = self;
        let datagram = datagram_of(entries, id).ok_or_else(not_running)?;
        if let Some(io) = &datagram.io {
            backend
                .connect_datagram(io, address)
                .map_err(|error| Error::with_address("connect", error, address, None))?;
        }
        datagram.connected = ConnectState::Connected;
        Ok(())
    }

    /// `connect_sync`: at once; 'connect' comes on a tick.
    pub(crate) fn connect_sync(&mut self, id: Id, host: &Host, port: u16) -> Result<()> {
        let datagram = self.open_datagram(id)?;
        check_port(port)?;
        if datagram.connected != ConnectState::Disconnected {
            return Err(is_connected());
        }
        if let Host::Name(name) = host
            && parse_host(name).is_none()
        {
            let message = format!(
                "The argument 'address' must be a numeric IP address; connectSync does not perform \
                 DNS resolution. Received '{name}'"
            );
            return Err(Error::library("ERR_INVALID_ARG_VALUE", &message));
        }
        let address = datagram.near_address(host, port)?;
        match datagram.bound {
            BindState::Bound => {}
            BindState::Binding => return Err(already_bound()),
            BindState::Unbound => {
                let everywhere = BindRequest::new(Host::Default, 0);
                self.bind_sync(id, &everywhere)?;
            }
        }
        self.connect_now(id, address)?;
        self.ticks
            .push(Task::Datagram(id, DatagramTask::EmitConnect(true)));
        Ok(())
    }

    /// `disconnect`: at once (N276).
    pub(crate) fn disconnect(&mut self, id: Id) -> Result<()> {
        let datagram = self.open_datagram(id)?;
        if datagram.connected != ConnectState::Connected {
            return Err(not_connected());
        }
        self.flush_outbox_of(id);
        let State {
            entries, backend, ..
        } = self;
        let datagram = datagram_of(entries, id).ok_or_else(not_running)?;
        if let Some(io) = &datagram.io {
            backend
                .disconnect_datagram(io)
                .map_err(|error| Error::system("connect", error))?;
        }
        datagram.connected = ConnectState::Disconnected;
        Ok(())
    }

    /// The connected peer (N277).
    pub(crate) fn datagram_peer(&mut self, id: Id) -> Result<SocketAddr> {
        let datagram = self.open_datagram(id)?;
        if datagram.connected != ConnectState::Connected {
            return Err(not_connected());
        }
        let State {
            entries, backend, ..
        } = self;
        let io = datagram_of(entries, id)
            .and_then(|datagram| datagram.io.as_ref())
            .ok_or_else(not_running)?;
        backend
            .datagram_peer(io)
            .map_err(|error| Error::system("getpeername", error))
    }
}

/// Tells that a connect has failed: the completion if there is one, else 'error'.
pub(crate) fn fail(core: &Core, id: Id, call: ConnectCall, error: Error) {
    core.with(|state| {
        let Some(listener) = call.listener else {
            return;
        };
        let removed = state
            .entry(id)
            .and_then(|entry| connect_slot(entry, false)?.remove(listener));
        if let Some(removed) = removed {
            state.bury(removed);
        }
    });
    match call.done.and_then(|done| done.take()) {
        Some(done) => done(Err(error)),
        None => super::datagram::perform(core, id, DatagramTask::EmitError(error)),
    }
}
