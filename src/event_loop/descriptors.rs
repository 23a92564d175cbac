//! Descriptors that come from outside, and those that are handed out.
//!
//! Whoever else holds a descriptor keeps its registration with the poller alive: such a one is
//! deregistered before it is closed here, the others are not (they cost no system call).

use std::os::fd::OwnedFd;
use std::panic::Location;
use std::sync::Arc;

use super::datagram_entry::{BindState, ConnectState, DatagramTask, datagram_of};
use super::entry::{Entry, Peer, Stream, flag, server_of, stream_of};
use super::handle::{Id, LoopHandle};
use super::server::{ListenHost, ListenRequest, not_running};
use super::state::State;
use super::task::Task;
use crate::backend::datagram::bad_descriptor;
use crate::backend::unix::{AdoptError, busy};
use crate::ground::error::{Error, Result};
use crate::ground::stream_errors::socket_closed;

impl LoopHandle {
    /// A second descriptor of the poller, for good: what [`as_raw_fd`](crate::Loop#impl-AsRawFd-for-Loop)
    /// gives, for another loop that owns what it waits for, or borrows it. It is used in the same way, and
    /// never ready again when this loop is gone.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = nodeloop::Loop::new()?;
    /// let descriptor = lp.try_clone_fd()?;
    /// // With rustix: PollFd::new(&descriptor, PollFlags::IN)
    /// # drop(descriptor);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `ERR_HANDLE_GONE` if the loop is gone, `ENOTSUP` on the null backend, or that it can't be duplicated.
    pub fn try_clone_fd(self) -> Result<OwnedFd> {
        let cloned = self.with(|state| match state.backend.descriptor() {
            Some(descriptor) => descriptor.try_clone_to_owned().map_err(could_not_clone),
            None => Err(Error::call("dup", "ENOTSUP")),
        });
        cloned.unwrap_or_else(|| Err(Error::handle_gone()))
    }
}

impl State {
    /// Listens at a socket that exists. What is wrong with it comes as 'error' on a tick (N243).
    pub(crate) fn listen_at_descriptor(&mut self, id: Id, request: ListenRequest) {
        let State {
            entries,
            backend,
            ticks,
            ..
        } = self;
        let ListenHost::Descriptor(shared) = request.host else {
            return;
        };
        let Some(server) = server_of(entries, id) else {
            return;
        };
        server.path = None;
        // Options that were cloned share it: each server gets one of its own.
        let own = Arc::try_unwrap(shared).or_else(|shared| shared.try_clone());
        let listener = own.and_then(|descriptor| {
            backend.adopt_listener(descriptor, request.options, State::token(id))
        });
        match listener {
            Ok(listener) => {
                server.common.flags.set(flag::HANDED_OUT);
                self.listens(id, listener);
            }
            Err(error) => {
                let error = Error::listen_at_descriptor(error);
                ticks.push(Task::EmitServerError(id, error));
            }
        }
    }

    /// Makes a socket of a descriptor from outside (N244). It reads at once.
    pub(crate) fn adopt(
        &mut self,
        descriptor: OwnedFd,
        flags: u64,
        origin: &'static Location<'static>,
        finish: impl FnOnce(&mut Stream),
    ) -> Result<Id> {
        let (io, is_unix) = self.backend.adopt(descriptor).map_err(unfit)?;
        let remote = self.backend.remote_address(&io).ok();
        let id = self.insert(flags | flag::HANDED_OUT, origin, |common| {
            let mut stream = Stream::accepted(common, io, None);
            stream.remote = remote.map(Peer::new);
            if is_unix {
                stream.common.flags.set(flag::UNIX);
            }
            finish(&mut stream);
            Entry::Stream(stream)
        });
        let State {
            entries, backend, ..
        } = self;
        let registered = match stream_of(entries, id).and_then(|stream| stream.io.as_mut()) {
            Some(io) => backend.register(io, State::token(id)),
            None => Ok(()),
        };
        if let Err(error) = registered {
            let entry = self.entries.remove(id.key as usize);
            self.graveyard.push(super::state::Dead::Entry(entry));
            return Err(Error::system("open", error));
        }
        self.set_reading(id, true);
        Ok(id)
    }

    /// `bind` at a UDP socket that exists: at once; 'listening' comes on a tick. What is wrong with it
    /// is returned, as Node throws it, and the socket may be bound again.
    pub(crate) fn bind_to_descriptor(&mut self, id: Id, shared: Arc<OwnedFd>) -> Result<()> {
        let State {
            entries,
            backend,
            live,
            ..
        } = self;
        let datagram = datagram_of(entries, id).ok_or_else(Error::handle_gone)?;
        if datagram.io.is_some() {
            // It has joined a group, and so is bound.
            return Err(Error::system("open", busy()));
        }
        // Options that were cloned share it: each socket gets one of its own.
        let own = Arc::try_unwrap(shared).or_else(|shared| shared.try_clone());
        let own = own.map_err(|error| Error::system("open", error))?;
        let mut adopted = backend.adopt_datagram(own).map_err(unfit)?;
        backend
            .watch_datagram(&mut adopted.io, State::token(id))
            .map_err(|error| Error::system("open", error))?;
        datagram.io = Some(adopted.io);
        datagram.is_ipv6 = adopted.is_ipv6;
        if adopted.is_connected {
            datagram.connected = ConnectState::Connected;
        }
        datagram.bound = BindState::Bound;
        datagram.common.set_active(true, live);
        self.apply_buffer_sizes(id)?;
        self.ticks.push(Task::Datagram(id, DatagramTask::Listening));
        Ok(())
    }

    /// A second descriptor of a UDP socket, for good.
    pub(crate) fn clone_datagram_descriptor(&mut self, id: Id) -> Result<OwnedFd> {
        self.open_datagram(id)?;
        self.flush_outbox_of(id);
        let State {
            entries, backend, ..
        } = self;
        let io = datagram_of(entries, id).and_then(|datagram| datagram.io.as_mut());
        let descriptor = match io {
            Some(io) => backend.clone_datagram(io),
            None => Err(bad_descriptor()),
        };
        descriptor.map_err(could_not_clone)
    }

    /// Gives a UDP socket's descriptor away, and closes it; nothing may wait to be sent.
    pub(crate) fn release_datagram_descriptor(&mut self, id: Id) -> Result<OwnedFd> {
        self.open_datagram(id)?;
        self.flush_outbox_of(id);
        let datagram = datagram_of(&mut self.entries, id).ok_or_else(Error::handle_gone)?;
        let is_busy = datagram.bound == BindState::Binding
            || datagram.connected == ConnectState::Connecting
            || datagram.untried.datagrams > 0
            || datagram.queued.datagrams > 0;
        if is_busy {
            return Err(Error::library(
                "ERR_SOCKET_NOT_TRANSFERABLE",
                "The socket is being bound or connected, or has datagrams that were not sent.",
            ));
        }
        let io = datagram.io.take();
        let io = io.ok_or_else(|| could_not_clone(bad_descriptor()))?;
        let descriptor = self.backend.release_datagram(io);
        self.close_datagram(id)?;
        descriptor.map_err(could_not_clone)
    }

    /// A second descriptor of a socket, for good.
    pub(crate) fn clone_descriptor(&mut self, id: Id) -> Result<OwnedFd> {
        self.flush(id);
        let State {
            entries, backend, ..
        } = self;
        let stream = stream_of(entries, id).ok_or_else(Error::handle_gone)?;
        let io = stream.io.as_ref().ok_or_else(socket_closed)?;
        let descriptor = backend.clone_stream(io).map_err(could_not_clone)?;
        stream.common.flags.set(flag::HANDED_OUT);
        Ok(descriptor)
    }

    /// Gives a socket's descriptor away; nothing may be on its way.
    pub(crate) fn release_descriptor(&mut self, id: Id) -> Result<OwnedFd> {
        self.flush(id);
        let State {
            entries, backend, ..
        } = self;
        let stream = stream_of(entries, id).ok_or_else(Error::handle_gone)?;
        let flags = stream.common.flags;
        if stream.io.is_none() || flags.any(flag::DESTROYED) {
            return Err(socket_closed());
        }
        let is_busy = flags.any(flag::CONNECTING | flag::WRITING | flag::SHUTDOWN_PENDING)
            || stream.read_length() > 0
            || stream.holds_text()
            || stream.write_length() > 0;
        if is_busy {
            return Err(Error::library(
                "ERR_SOCKET_NOT_TRANSFERABLE",
                "The socket is connecting, or has data that was not delivered or not sent.",
            ));
        }
        let Some(mut io) = stream.io.take() else {
            return Err(socket_closed());
        };
        backend.deregister(&mut io);
        let descriptor = backend.release(io);
        self.destroy(id, None);
        descriptor.map_err(|error| Error::system("dup", error))
    }

    /// A second descriptor of a server's listening socket.
    pub(crate) fn clone_listening_descriptor(&mut self, id: Id) -> Result<OwnedFd> {
        let State {
            entries, backend, ..
        } = self;
        let server = server_of(entries, id).ok_or_else(Error::handle_gone)?;
        let listener = server.listener.as_ref().ok_or_else(not_running)?;
        let descriptor = backend.clone_listener(listener).map_err(could_not_clone)?;
        server.common.flags.set(flag::HANDED_OUT);
        Ok(descriptor)
    }

    /// Gives a server's listening socket away, and closes the server.
    pub(crate) fn release_listening_descriptor(&mut self, id: Id) -> Result<OwnedFd> {
        let server = self.server(id).ok_or_else(Error::handle_gone)?;
        server.common.flags.set(flag::HANDED_OUT);
        let listener = self.take_listener(id).ok_or_else(not_running)?;
        let descriptor = self.backend.release_listener(listener);
        self.close_server(id);
        descriptor.map_err(|error| Error::system("dup", error))
    }
}

fn unfit(error: AdoptError) -> Error {
    match error {
        AdoptError::Type(what) => {
            let text = format!("Unsupported fd type: {what}");
            Error::library("ERR_INVALID_FD_TYPE", &text)
        }
        AdoptError::System(error) => Error::system("open", error),
    }
}

fn could_not_clone(error: std::io::Error) -> Error {
    Error::system("dup", error)
}
