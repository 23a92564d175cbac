//! The events of a socket.

use std::net::{IpAddr, SocketAddr};

use crate::event_loop::core::SlotOf;
use crate::event_loop::extension::{add_listener, remove_listener_and};
use crate::event_loop::handle::Socket;
use crate::event_loop::socket as state;
use crate::event_loop::table;
use crate::event_loop::task::SocketEvent;
use crate::ground::error::Error;
use crate::ground::listeners::{ListenerId, Shared, shared};

/// Listeners.
impl Socket {
    /// Adds a listener for 'data', called in the poll phase with bytes as they were read, at most
    /// the loop's [chunk](crate::Builder::read_chunk) at a time. Unless the socket was paused, data
    /// flows from now on; buffered bytes come on the next tick.
    ///
    /// The bytes are lent. To keep some, copy them.
    pub fn on_data(self, listener: impl FnMut(Socket, &[u8]) + 'static) -> ListenerId {
        self.add_data(shared(listener), false)
    }

    /// Adds a listener for the next 'data'. Data keeps flowing afterwards, and is thrown away if
    /// there is no other listener.
    pub fn once_data(self, listener: impl FnOnce(Socket, &[u8]) + 'static) -> ListenerId {
        let mut listener = Some(listener);
        let call = move |socket: Socket, chunk: &[u8]| {
            if let Some(listener) = listener.take() {
                listener(socket, chunk);
            }
        };
        self.add_data(shared(call), true)
    }

    /// Adds a listener for 'end': the peer has ended, and everything before was delivered. It comes
    /// on a tick. Unless half-open is allowed, this side ends a tick later; until then, and in this
    /// listener, it can still write.
    pub fn on_end(self, listener: impl FnMut(Socket) + 'static) -> ListenerId {
        self.add(state::slot_of(SocketEvent::End), shared(listener), false)
    }

    /// Adds a listener for the next 'end'.
    pub fn once_end(self, listener: impl FnOnce(Socket) + 'static) -> ListenerId {
        self.add(state::slot_of(SocketEvent::End), once(listener), true)
    }

    /// Adds a listener for 'readable': there is something to [`read`](Socket::read), or the peer
    /// has ended. It comes on a tick, or in the poll phase for the end. As long as it has a
    /// listener no data flows, and 'end' comes once everything was read.
    pub fn on_readable(self, listener: impl FnMut(Socket) + 'static) -> ListenerId {
        let id = self.add(state::readable_slot, shared(listener), false);
        table::with(self.0, |state, id| state.listen_to_readable(id));
        id
    }

    /// Adds a listener for the next 'readable'.
    pub fn once_readable(self, listener: impl FnOnce(Socket) + 'static) -> ListenerId {
        let id = self.add(state::readable_slot, once(listener), true);
        table::with(self.0, |state, id| state.listen_to_readable(id));
        id
    }

    /// Adds a listener for 'lookup': the host's name was looked up, or the look-up failed. The
    /// arguments are one address of the name, or the error, and the name. It comes once for each
    /// address that may be tried (N251), in the poll phase, or right after a
    /// [function](crate::net::ConnectOptions::lookup) of your own has answered. It is not emitted
    /// for an IP address (N100), nor on a destroyed socket.
    pub fn on_lookup(
        self,
        listener: impl FnMut(Socket, std::result::Result<IpAddr, &Error>, &str) + 'static,
    ) -> ListenerId {
        self.add(state::lookup_slot, shared(listener), false)
    }

    /// Adds a listener for 'connectionAttempt': the system is asked to connect to this address. It
    /// comes on the tick after `connect`, or after 'lookup'.
    pub fn on_connection_attempt(
        self,
        listener: impl FnMut(Socket, SocketAddr) + 'static,
    ) -> ListenerId {
        self.add(state::attempt_slot, shared(listener), false)
    }

    /// Adds a listener for 'connectionAttemptTimeout', in the timer phase: one of several addresses
    /// of a name has not connected in time, and the next is tried [beside
    /// it](crate::net::ConnectOptions#several-addresses). (Node gives up the slow attempt.)
    pub fn on_connection_attempt_timeout(
        self,
        listener: impl FnMut(Socket, SocketAddr) + 'static,
    ) -> ListenerId {
        self.add(state::attempt_timeout_slot, shared(listener), false)
    }

    /// Adds a listener for 'connectionAttemptFailed', which comes before 'error', or before the
    /// next of several addresses is tried. With `ECANCELED` it comes before 'close': the socket was
    /// destroyed while it tried several (N257).
    pub fn on_connection_attempt_failed(
        self,
        listener: impl FnMut(Socket, SocketAddr, &Error) + 'static,
    ) -> ListenerId {
        self.add(state::attempt_failed_slot, shared(listener), false)
    }

    /// Adds a listener for 'connect', which comes in the poll phase once the connection is made.
    /// Data written before is sent after the listeners that were added before it was written (N99).
    pub fn on_connect(self, listener: impl FnMut(Socket) + 'static) -> ListenerId {
        self.add(
            state::slot_of(SocketEvent::Connect),
            shared(listener),
            false,
        )
    }

    /// Adds a listener for the next 'connect'.
    pub fn once_connect(self, listener: impl FnOnce(Socket) + 'static) -> ListenerId {
        self.add(state::slot_of(SocketEvent::Connect), once(listener), true)
    }

    /// Adds a listener for 'ready', which comes right after 'connect'.
    pub fn on_ready(self, listener: impl FnMut(Socket) + 'static) -> ListenerId {
        self.add(state::slot_of(SocketEvent::Ready), shared(listener), false)
    }

    /// Adds a listener for the next 'ready'.
    pub fn once_ready(self, listener: impl FnOnce(Socket) + 'static) -> ListenerId {
        self.add(state::slot_of(SocketEvent::Ready), once(listener), true)
    }

    /// Adds a listener for 'timeout', which comes in the timer phase after the inactivity set with
    /// [`set_timeout`](Socket::set_timeout). The socket stays open.
    pub fn on_timeout(self, listener: impl FnMut(Socket) + 'static) -> ListenerId {
        self.add(
            state::slot_of(SocketEvent::Timeout),
            shared(listener),
            false,
        )
    }

    /// Adds a listener for the next 'timeout'.
    pub fn once_timeout(self, listener: impl FnOnce(Socket) + 'static) -> ListenerId {
        self.add(state::slot_of(SocketEvent::Timeout), once(listener), true)
    }

    /// Adds a listener for 'drain': a `write` returned false, and by now the kernel has everything.
    /// It comes before the completions of the writes that it drained (N182).
    pub fn on_drain(self, listener: impl FnMut(Socket) + 'static) -> ListenerId {
        self.add(state::slot_of(SocketEvent::Drain), shared(listener), false)
    }

    /// Adds a listener for the next 'drain'.
    pub fn once_drain(self, listener: impl FnOnce(Socket) + 'static) -> ListenerId {
        self.add(state::slot_of(SocketEvent::Drain), once(listener), true)
    }

    /// Adds a listener for 'finish': after `end` the kernel has everything and the half-close is
    /// done. It does not mean that the peer has received it (N120).
    pub fn on_finish(self, listener: impl FnMut(Socket) + 'static) -> ListenerId {
        self.add(state::slot_of(SocketEvent::Finish), shared(listener), false)
    }

    /// Adds a listener for the next 'finish'.
    pub fn once_finish(self, listener: impl FnOnce(Socket) + 'static) -> ListenerId {
        self.add(state::slot_of(SocketEvent::Finish), once(listener), true)
    }

    /// Adds a listener for 'pause', which comes on the tick after [`pause`](Socket::pause). (In Node
    /// it comes inside the call.)
    pub fn on_pause(self, listener: impl FnMut(Socket) + 'static) -> ListenerId {
        self.add(state::slot_of(SocketEvent::Pause), shared(listener), false)
    }

    /// Adds a listener for the next 'pause'.
    pub fn once_pause(self, listener: impl FnOnce(Socket) + 'static) -> ListenerId {
        self.add(state::slot_of(SocketEvent::Pause), once(listener), true)
    }

    /// Adds a listener for 'resume', which comes on the tick after [`resume`](Socket::resume),
    /// before what was buffered.
    pub fn on_resume(self, listener: impl FnMut(Socket) + 'static) -> ListenerId {
        self.add(state::slot_of(SocketEvent::Resume), shared(listener), false)
    }

    /// Adds a listener for the next 'resume'.
    pub fn once_resume(self, listener: impl FnOnce(Socket) + 'static) -> ListenerId {
        self.add(state::slot_of(SocketEvent::Resume), once(listener), true)
    }

    /// Adds a listener for 'error', which comes at most once per connection, on a tick, and is
    /// followed by 'close': `ECONNRESET` (read, write), `EPIPE` (write),
    /// `ERR_STREAM_WRITE_AFTER_END`, or the error given to [`destroy_with`](Socket::destroy_with).
    /// An 'error' without a listener ends [`run`](crate::Loop::run).
    pub fn on_error(self, listener: impl FnMut(Socket, &Error) + 'static) -> ListenerId {
        self.add(state::error_slot, shared(listener), false)
    }

    /// Adds a listener for the next 'error'.
    pub fn once_error(self, listener: impl FnOnce(Socket, &Error) + 'static) -> ListenerId {
        let mut listener = Some(listener);
        let call = move |socket: Socket, error: &Error| {
            if let Some(listener) = listener.take() {
                listener(socket, error);
            }
        };
        self.add(state::error_slot, shared(call), true)
    }

    /// Adds a listener for 'close', the last event, in the closing phase. Its argument says whether
    /// the socket was destroyed with an error. On a socket that was never connected nor connecting
    /// it comes on a tick, and the argument is false whatever the reason, as in Node (N111).
    pub fn on_close(self, listener: impl FnMut(Socket, bool) + 'static) -> ListenerId {
        self.add(state::close_slot, shared(listener), false)
    }

    /// Adds a listener for the next 'close'.
    pub fn once_close(self, listener: impl FnOnce(Socket, bool) + 'static) -> ListenerId {
        let mut listener = Some(listener);
        let call = move |socket, had_error| {
            if let Some(listener) = listener.take() {
                listener(socket, had_error);
            }
        };
        self.add(state::close_slot, shared(call), true)
    }

    /// Removes a listener for any event: Node's `off`. A listener removed while its event is
    /// emitted still runs (N16). Removing the last 'data' listener does not pause: the data is
    /// thrown away (N157).
    pub fn off(self, listener: ListenerId) {
        remove_listener_and(self.0, listener, state::readable_slot, |state, id| {
            state.stopped_listening(id);
        });
    }

    fn add<F: ?Sized + 'static>(self, slot: SlotOf<F>, call: Shared<F>, once: bool) -> ListenerId {
        add_listener(self.0, slot, call, once)
    }

    fn add_data(self, call: Shared<dyn FnMut(Socket, &[u8])>, once: bool) -> ListenerId {
        let id = self.add(state::data_slot, call, once);
        table::with(self.0, |state, id| state.start_flow(id));
        id
    }
}

/// A listener for one emission from a closure that can be called once.
fn once(listener: impl FnOnce(Socket) + 'static) -> Shared<dyn FnMut(Socket)> {
    let mut listener = Some(listener);
    shared(move |socket| {
        if let Some(listener) = listener.take() {
            listener(socket);
        }
    })
}
