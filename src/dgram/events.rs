//! The events of a UDP socket.

use super::{RemoteInfo, Socket};
use crate::event_loop::core::SlotOf;
use crate::event_loop::datagram_entry as state;
use crate::event_loop::table;
use crate::ground::error::Error;
use crate::ground::listeners::{Listener, ListenerId, Shared, shared};

/// Listeners. `on_x` adds one, `once_x` adds one for a single emission; both return an id for
/// [`off`](Socket::off). Listeners for one event are called in the order in which they were added.
impl Socket {
    /// Adds a listener for 'message': a datagram has arrived. It comes in the poll phase, once for
    /// each datagram, in the order of arrival; a socket delivers at most 32 in a turn (N12).
    ///
    /// The bytes are lent. To keep some, copy them.
    pub fn on_message(
        self,
        listener: impl FnMut(Socket, &[u8], RemoteInfo) + 'static,
    ) -> ListenerId {
        self.add(state::message_slot, shared(listener), false)
    }

    /// Adds a listener for the next 'message'.
    pub fn once_message(
        self,
        listener: impl FnOnce(Socket, &[u8], RemoteInfo) + 'static,
    ) -> ListenerId {
        let mut listener = Some(listener);
        let call = move |socket: Socket, message: &[u8], from: RemoteInfo| {
            if let Some(listener) = listener.take() {
                listener(socket, message, from);
            }
        };
        self.add(state::message_slot, shared(call), true)
    }

    /// Adds a listener for 'listening': the socket is bound and receives. It comes on the tick that
    /// binds.
    pub fn on_listening(self, listener: impl FnMut(Socket) + 'static) -> ListenerId {
        self.add(state::listening_slot, shared(listener), false)
    }

    /// Adds a listener for the next 'listening'.
    pub fn once_listening(self, listener: impl FnOnce(Socket) + 'static) -> ListenerId {
        self.add(state::listening_slot, once(listener), true)
    }

    /// Adds a listener for 'connect': the socket is connected to its peer. It comes on the tick
    /// after that.
    pub fn on_connect(self, listener: impl FnMut(Socket) + 'static) -> ListenerId {
        self.add(state::connect_slot, shared(listener), false)
    }

    /// Adds a listener for the next 'connect'.
    pub fn once_connect(self, listener: impl FnOnce(Socket) + 'static) -> ListenerId {
        self.add(state::connect_slot, once(listener), true)
    }

    /// Adds a listener for 'error': binding or connecting failed, a datagram without completion
    /// could not even be tried, or receiving failed (`ECONNREFUSED` on a connected socket, with the
    /// system call `recvmsg`). The socket stays as it is. An 'error' without a listener ends
    /// [`run`](crate::Loop::run).
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

    /// Adds a listener for 'close', the last event. It comes on the tick after
    /// [`close`](Socket::close).
    pub fn on_close(self, listener: impl FnMut(Socket) + 'static) -> ListenerId {
        self.add(state::close_slot, shared(listener), false)
    }

    /// Adds a listener for the next 'close'.
    pub fn once_close(self, listener: impl FnOnce(Socket) + 'static) -> ListenerId {
        self.add(state::close_slot, once(listener), true)
    }

    /// Removes a listener for any event: Node's `off`. A listener removed while its event is
    /// emitted still runs (N16).
    pub fn off(self, listener: ListenerId) {
        table::with(self.0, |state, id| {
            let removed = state.entry(id)?.remove_listener(listener)?;
            state.bury(removed);
            Some(())
        });
    }

    fn add<F: ?Sized + 'static>(self, slot: SlotOf<F>, call: Shared<F>, once: bool) -> ListenerId {
        // Dropped behind the borrow if it finds no place.
        let mut call = Some(call);
        let added = table::with(self.0, |state, id| {
            let listener = state.next_listener_id();
            let slot = slot(state.entry(id)?, true)?;
            slot.add(Listener::new(call.take()?, listener, once));
            Some(listener)
        });
        added.flatten().unwrap_or(ListenerId(0))
    }
}

/// A listener for one emission.
fn once(listener: impl FnOnce(Socket) + 'static) -> Shared<dyn FnMut(Socket)> {
    let mut listener = Some(listener);
    shared(move |socket| {
        if let Some(listener) = listener.take() {
            listener(socket);
        }
    })
}
