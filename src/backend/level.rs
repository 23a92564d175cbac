//! Watching sockets by level, on Linux: those that listen, and UDP sockets whose datagrams come one by one.
//!
//! mio asks for edges: an event tells that connections have come, once, however many they are. A loop that
//! takes one of them a turn then has to ask to be told again, a system call for each connection. By level the
//! kernel tells as long as connections wait. That is what libuv does; it costs a look at the listening socket
//! in the wait that follows an accept. So what mio has registered is changed, once.

use std::io;
#[cfg(unix)]
use std::os::fd::AsFd;

#[cfg(not(all(target_os = "linux", feature = "level")))]
use mio::Interest;
use mio::event::Source;
use mio::{Registry, Token};
#[cfg(all(target_os = "linux", feature = "level"))]
use rustix::event::epoll::{EventData, EventFlags, modify};

/// Whether listening sockets are watched by level here.
pub(crate) const BY_LEVEL: bool = cfg!(all(target_os = "linux", feature = "level"));

/// A listening socket.
#[cfg(unix)]
pub(crate) trait Listening: Source + AsFd {}
#[cfg(unix)]
impl<T: Source + AsFd> Listening for T {}

/// A listening socket.
#[cfg(not(unix))]
pub(crate) trait Listening: Source {}
#[cfg(not(unix))]
impl<T: Source> Listening for T {}

/// Has the poller tell of a registered socket as long as connections wait for it.
#[cfg(all(target_os = "linux", feature = "level"))]
pub(super) fn tell(
    registry: &Registry,
    listener: &mut impl Listening,
    token: Token,
) -> io::Result<()> {
    // And of its being shut down, so that this is not taken for a connection that another has taken.
    change(
        registry,
        listener,
        token,
        EventFlags::IN | EventFlags::RDHUP,
    )
}

/// Has the poller tell once of a registered socket if connections wait for it, and of each that comes.
#[cfg(not(all(target_os = "linux", feature = "level")))]
pub(super) fn tell(
    registry: &Registry,
    listener: &mut impl Listening,
    token: Token,
) -> io::Result<()> {
    registry.reregister(listener, token, Interest::READABLE)
}

/// Has the poller tell of a registered UDP socket as long as datagrams wait for it.
#[cfg(all(target_os = "linux", feature = "full-udp", feature = "level"))]
pub(super) fn tell_of_datagrams(
    registry: &Registry,
    socket: &impl AsFd,
    token: Token,
) -> io::Result<()> {
    change(registry, socket, token, EventFlags::IN)
}

/// Has the poller be silent about a socket: nobody can take connections from it now. By edge, since that a
/// socket was shut down is told whether asked for or not.
#[cfg(all(target_os = "linux", feature = "level"))]
pub(super) fn hush(
    registry: &Registry,
    listener: &mut impl Listening,
    token: Token,
) -> io::Result<()> {
    change(registry, listener, token, EventFlags::ET)
}

/// By edges it is silent anyway.
#[cfg(not(all(target_os = "linux", feature = "level")))]
pub(super) fn hush(_: &Registry, _: &mut impl Listening, _: Token) -> io::Result<()> {
    Ok(())
}

#[cfg(all(target_os = "linux", feature = "level"))]
fn change(
    registry: &Registry,
    listener: &impl AsFd,
    token: Token,
    events: EventFlags,
) -> io::Result<()> {
    let data = EventData::new_u64(token.0 as u64);
    Ok(modify(registry, listener, data, events)?)
}
