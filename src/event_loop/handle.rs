//! Handles: small copies of a name for an object that the loop owns.

use std::fmt;
use std::marker::PhantomData;

/// Where an object is, and which one it is, within its loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id {
    /// Its slab key.
    pub(crate) key: u32,
    /// Its serial, counted per thread and never reused.
    pub(crate) serial: u64,
}

impl Id {
    /// No object: serials begin at 1.
    pub(crate) const NONE: Id = Id {
        key: u32::MAX,
        serial: 0,
    };
}

/// What every handle holds: 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Raw {
    /// Which of the thread's loops; indices are reused, serials are not.
    pub(crate) index: u32,
    /// The slab key.
    key: u32,
    /// The serial.
    serial: u64,
    /// A handle means something in its own thread only.
    not_send: PhantomData<*const ()>,
}

impl Raw {
    pub(crate) fn new(index: u32, id: Id) -> Raw {
        Raw {
            index,
            key: id.key,
            serial: id.serial,
            not_send: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn id(self) -> Id {
        Id {
            key: self.key,
            serial: self.serial,
        }
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}#{}", self.index, self.key, self.serial)
    }
}

macro_rules! handle {
    ($(#[$attribute:meta])* $name:ident) => {
        handle!($(#[$attribute])* $name shown as stringify!($name));
    };
    ($(#[$attribute:meta])* $name:ident shown as $shown:expr) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub(crate) Raw);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($shown, "({:?})"), self.0)
            }
        }
    };
}

handle! {
    /// A handle to a TCP socket, or to a Unix domain socket: Node's `net.Socket`.
    ///
    /// The socket belongs to its loop; the handle is a `Copy` name for it. Dropping it does
    /// nothing, and a call on a handle whose socket is gone does nothing: see the
    /// [module](crate::net).
    ///
    /// A socket that a server accepted reads at once. What arrives before somebody listens to
    /// 'data' is kept, up to the [high-water mark](crate::net::ServerOptions::high_water_mark);
    /// then the data stays in the kernel and pushes back to the peer.
    Socket
}

handle! {
    /// A handle to a TCP server, or to one at a path: Node's `net.Server`.
    ///
    /// The server belongs to its loop; the handle is a `Copy` name for it.
    Server
}

/// A module of its own, since this handle is called `Socket` too, as Node's `dgram.Socket`.
pub(crate) mod udp {
    use super::{Raw, fmt};

    handle! {
        /// A handle to a UDP socket: Node's `dgram.Socket`.
        ///
        /// The socket belongs to its loop; the handle is a `Copy` name for it. Dropping it does
        /// nothing, and a call on a handle whose socket is gone does nothing: see the
        /// [module](crate::dgram).
        Socket shown as "UdpSocket"
    }
}

pub(crate) use udp::Socket as UdpSocket;

handle! {
    /// A handle to a timer: Node's `Timeout`.
    ///
    /// Made by [`set_timeout`](crate::LoopHandle::set_timeout),
    /// [`set_timeout_once`](crate::LoopHandle::set_timeout_once) and
    /// [`set_interval`](crate::LoopHandle::set_interval).
    Timer
}

handle! {
    /// A handle to an immediate: Node's `Immediate`.
    ///
    /// Made by [`set_immediate`](crate::LoopHandle::set_immediate).
    Immediate
}

handle! {
    /// A handle to an idle, prepare or check watcher: libuv's `uv_idle_t`, `uv_prepare_t` and
    /// `uv_check_t`.
    ///
    /// Made by [`idle`](crate::LoopHandle::idle), [`prepare`](crate::LoopHandle::prepare) and
    /// [`check`](crate::LoopHandle::check).
    Watcher
}

handle! {
    /// A handle to work that a worker thread does: libuv's `uv_work_t`.
    ///
    /// Made by [`spawn_blocking`](crate::LoopHandle::spawn_blocking).
    Job
}

/// A `Copy` handle to a [`Loop`](crate::Loop), with its whole API but `run`.
///
/// Everything that lives in a loop gives it: `socket.event_loop()`, `timer.event_loop()`. When
/// its loop is gone its calls do nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoopHandle {
    /// Which of the thread's loops.
    pub(crate) index: u32,
    /// Its serial.
    pub(crate) serial: u64,
    /// A handle means something in its own thread only.
    pub(crate) not_send: PhantomData<*const ()>,
}

impl fmt::Debug for LoopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoopHandle({}#{})", self.index, self.serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_sixteen_bytes() {
        assert_eq!(size_of::<Socket>(), 16);
        assert_eq!(size_of::<Server>(), 16);
        assert_eq!(size_of::<Timer>(), 16);
        assert_eq!(size_of::<LoopHandle>(), 16);
    }
}
