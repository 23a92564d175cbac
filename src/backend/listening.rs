//! The seam's part for listening sockets.

use std::io;
use std::net::SocketAddr;

use super::{Accepted, Backend, ListenOptions, Listener, Stream};

impl Backend {
    /// Makes a listening socket at `address`.
    pub(crate) fn listen(
        &mut self,
        address: SocketAddr,
        options: ListenOptions,
        token: u64,
    ) -> io::Result<Listener> {
        match self {
            Backend::Os(os) => os.listen(address, options, token).map(Listener::Os),
            Backend::Null(null) => {
                null.listen(token);
                Ok(Listener::Null)
            }
        }
    }

    /// Tries to take one connection.
    pub(crate) fn accept(&mut self, listener: &Listener) -> Accepted {
        match (self, listener) {
            (Backend::Os(os), Listener::Os(listener)) => os.accept(listener),
            #[cfg(unix)]
            (Backend::Os(os), Listener::Unix(listener)) => listener.accept(os),
            (Backend::Null(null), Listener::Null) => match null.accept() {
                Some((stream, address)) => {
                    Accepted::Connection(Stream::Null(stream), Some(address))
                }
                None => Accepted::Nothing,
            },
            _ => unreachable!("a listener of another backend"),
        }
    }

    /// Has it told if further connections wait, behind one that was taken: cheaper than an accept that
    /// fails.
    pub(crate) fn rearm(&mut self, listener: &mut Listener, token: u64) -> io::Result<()> {
        match (self, listener) {
            (Backend::Os(os), Listener::Os(listener)) => os.rearm(listener, token),
            #[cfg(unix)]
            (Backend::Os(os), Listener::Unix(listener)) => os.rearm(listener.source(), token),
            (Backend::Null(_), Listener::Null) => Ok(()),
            _ => unreachable!("a listener of another backend"),
        }
    }

    /// Has connections told of again, if [`hush_listener`](Backend::hush_listener) was called, also of
    /// those that wait.
    pub(crate) fn tell_of_listener(
        &mut self,
        listener: &mut Listener,
        token: u64,
    ) -> io::Result<()> {
        match (self, listener) {
            (Backend::Os(os), Listener::Os(listener)) => os.tell_of_listener(listener, token),
            #[cfg(unix)]
            (Backend::Os(os), Listener::Unix(listener)) => {
                os.tell_of_listener(listener.source(), token)
            }
            (Backend::Null(_), Listener::Null) => Ok(()),
            _ => unreachable!("a listener of another backend"),
        }
    }

    /// Has connections that wait not be told of: nobody can take them now.
    pub(crate) fn hush_listener(&mut self, listener: &mut Listener, token: u64) {
        match (self, listener) {
            (Backend::Os(os), Listener::Os(listener)) => os.hush_listener(listener, token),
            #[cfg(unix)]
            (Backend::Os(os), Listener::Unix(listener)) => {
                os.hush_listener(listener.source(), token);
            }
            (Backend::Null(_), Listener::Null) => {}
            _ => unreachable!("a listener of another backend"),
        }
    }

    /// Ends a listener's registration: see [`deregister`](Backend::deregister).
    pub(crate) fn deregister_listener(&mut self, listener: &mut Listener) {
        match (self, listener) {
            (Backend::Os(os), Listener::Os(listener)) => os.deregister(listener),
            #[cfg(unix)]
            (Backend::Os(os), Listener::Unix(listener)) => os.deregister(listener.source()),
            _ => {}
        }
    }

    /// Closes a listener.
    pub(crate) fn close_listener(&mut self, listener: Listener) {
        self.counts_mut().closes += 1;
        drop(listener);
    }
}
