//! Options of sockets: now, or when the connection stands.

use std::io;
use std::net::SocketAddr;

use super::entry::{flag, stream_of};
use super::handle::Id;
use super::state::State;
use crate::backend::{self, Backend, Duplicate, KeepAlive, SockRef};
use crate::ground::error::{Error, Result};
use crate::ground::stream_errors::socket_closed;

impl State {
    /// TCP_NODELAY: now, or when the connection stands (N199).
    pub(crate) fn set_no_delay(&mut self, id: Id, no_delay: bool) {
        self.flush(id);
        let State {
            entries, backend, ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        if stream.common.flags.any(flag::NO_DELAY) == no_delay {
            return;
        }
        match no_delay {
            true => stream.common.flags.set(flag::NO_DELAY),
            false => stream.common.flags.clear(flag::NO_DELAY),
        }
        if let Some(io) = &stream.io
            && !stream.common.flags.any(flag::CONNECTING | flag::UNIX)
        {
            backend.set_no_delay(io, no_delay);
        }
    }

    /// SO_KEEPALIVE: now, or when the connection stands (N199).
    pub(crate) fn set_keep_alive(&mut self, id: Id, keep_alive: Option<KeepAlive>) {
        self.flush(id);
        let State {
            entries, backend, ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        if stream.extra.as_ref().and_then(|extra| extra.keep_alive) == keep_alive {
            return;
        }
        stream.extra().keep_alive = keep_alive;
        if let Some(io) = &stream.io
            && !stream.common.flags.any(flag::CONNECTING | flag::UNIX)
        {
            backend.set_keep_alive(io, keep_alive);
        }
    }

    /// The type of service: now, or when the connection stands (N200).
    pub(crate) fn set_type_of_service(&mut self, id: Id, tos: u8) -> Result<()> {
        self.flush(id);
        let State {
            entries, backend, ..
        } = self;
        let stream = stream_of(entries, id).ok_or_else(Error::handle_gone)?;
        stream.extra().type_of_service = Some(tos);
        match (&stream.io, stream.remote) {
            (Some(io), Some(remote)) => set_type_of_service(backend, io, remote.address(), tos)
                .map_err(|error| Error::system("setTypeOfService", error)),
            _ => Ok(()),
        }
    }

    /// The type of service as the system has it, or as it was set.
    pub(crate) fn type_of_service(&mut self, id: Id) -> Result<u8> {
        let State {
            entries, backend, ..
        } = self;
        let stream = stream_of(entries, id).ok_or_else(Error::handle_gone)?;
        let remembered = stream
            .extra
            .as_ref()
            .and_then(|extra| extra.type_of_service);
        match (&stream.io, stream.remote) {
            (Some(io), Some(remote)) => {
                let is_ipv4 = remote.address().is_ipv4();
                let tos = backend.option(io, |socket| match is_ipv4 {
                    true => socket.tos_v4(),
                    false => ipv6::traffic_class(&socket),
                });
                tos.map(|tos| tos as u8)
                    .map_err(|error| Error::system("getTypeOfService", error))
            }
            _ => Ok(remembered.unwrap_or(0)),
        }
    }

    /// Sets or reads an option of a socket that has a descriptor.
    pub(crate) fn socket_option<R>(
        &mut self,
        id: Id,
        call: &'static str,
        act: impl FnOnce(SockRef<'_>) -> io::Result<R>,
    ) -> Result<R> {
        self.flush(id);
        let State {
            entries, backend, ..
        } = self;
        let stream = stream_of(entries, id).ok_or_else(Error::handle_gone)?;
        let io = stream.io.as_ref().ok_or_else(socket_closed)?;
        backend
            .option(io, act)
            .map_err(|error| Error::system(call, error))
    }

    /// A second descriptor of the socket, to be looked at and closed.
    pub(crate) fn duplicate(&mut self, id: Id) -> Result<Duplicate> {
        let duplicate = self.socket_option(id, "dup", |socket| socket.try_clone())?;
        if let Some(stream) = self.stream(id) {
            // Whoever sees it may make a third that outlives ours, and the registration with it.
            stream.common.flags.set(flag::HANDED_OUT);
        }
        Ok(duplicate)
    }
}

/// IPv4 calls it type of service, IPv6 traffic class.
pub(crate) fn set_type_of_service(
    backend: &mut Backend,
    io: &backend::Stream,
    remote: SocketAddr,
    tos: u8,
) -> io::Result<()> {
    backend.option(io, |socket| match remote.is_ipv4() {
        true => socket.set_tos_v4(tos.into()),
        false => ipv6::set_traffic_class(&socket, tos),
    })
}

#[cfg(any(
    target_os = "android",
    target_os = "dragonfly",
    target_os = "freebsd",
    target_os = "illumos",
    target_os = "linux",
    target_os = "macos",
    target_os = "netbsd",
    target_os = "openbsd",
))]
mod ipv6 {
    use super::{SockRef, io};

    pub(super) fn set_traffic_class(socket: &SockRef<'_>, tos: u8) -> io::Result<()> {
        socket.set_tclass_v6(tos.into())
    }

    pub(super) fn traffic_class(socket: &SockRef<'_>) -> io::Result<u32> {
        socket.tclass_v6()
    }
}

/// Elsewhere socket2 has no call for it.
#[cfg(not(any(
    target_os = "android",
    target_os = "dragonfly",
    target_os = "freebsd",
    target_os = "illumos",
    target_os = "linux",
    target_os = "macos",
    target_os = "netbsd",
    target_os = "openbsd",
)))]
mod ipv6 {
    use super::{SockRef, io};

    pub(super) fn set_traffic_class(_socket: &SockRef<'_>, _tos: u8) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn traffic_class(_socket: &SockRef<'_>) -> io::Result<u32> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
