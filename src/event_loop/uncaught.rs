//! Errors that end `run`, or would.

use std::error::Error as StdError;

use super::handle::LoopHandle;
use crate::ground::error::Error;
use crate::ground::listeners::{Listener, Shared, shared};

/// Errors that nobody handles.
impl LoopHandle {
    /// Has 'error' events that nobody listens to go to `listener` instead of ending `run`: Node's
    /// `uncaughtException`. Everything goes on, and as in Node for one more turn at least, by an immediate of the
    /// loop's own. A later call adds a listener.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = nodeloop::Loop::new()?;
    /// lp.on_uncaught_error(|_, error| eprintln!("{error}"));
    /// # lp.run()
    /// # }
    /// ```
    pub fn on_uncaught_error(self, listener: impl FnMut(LoopHandle, &Error) + 'static) {
        let call: Shared<dyn FnMut(LoopHandle, &Error)> = shared(listener);
        self.with(move |state| {
            let id = state.next_listener_id();
            state.on_uncaught.add(Listener::new(call, id, false));
        });
    }

    /// Ends `run` with an error: for a listener that finds out that the program can't go on. `run` returns
    /// it after the present loop callback, before its ticks, as it does with an 'error' that nobody
    /// listens to. Outside `run` it is the next `run` that returns it. Nothing is lost: `run` may be
    /// called again and goes on where it was, with those ticks and the rest of the turn.
    ///
    /// Node's `throw`, which is no way here: a listener has nobody to return an error to. It is the program's
    /// own decision, so [`on_uncaught_error`](LoopHandle::on_uncaught_error) does not hear of it.
    ///
    /// ```
    /// use nodeloop::{Loop, net};
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = Loop::new()?;
    /// let server = net::create_server(&lp, |socket| {
    ///     socket.on_data(|socket, _| socket.event_loop().fail("nobody was to send anything"));
    /// });
    /// # server.on_listening(|server| {
    /// #     net::connect(&server, server.address().unwrap()).write("x");
    /// # });
    /// server.listen(("127.0.0.1", 0))?;
    /// assert_eq!(lp.run().unwrap_err().to_string(), "nobody was to send anything");
    /// # Ok(())
    /// # }
    /// ```
    pub fn fail(self, error: impl Into<Box<dyn StdError + Send + Sync>>) {
        let error = Error::new(error);
        log::debug!(target: "nodeloop::event_loop", "run ends with: {error}");
        self.with(move |state| state.uncaught.push_back(error));
    }
}
