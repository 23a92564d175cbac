//! From a name to addresses: asking the system's resolver, or a user's own function.

use std::error::Error as StdError;
use std::fmt;
use std::net::IpAddr;
use std::panic::Location;
use std::rc::Rc;

use super::connect_request::ConnectRequest;
use super::handle::{Id, LoopHandle, Raw, Socket};
use super::jobs::{Done, Outcome};
use super::state::State;
use super::table;
use super::task::Task;
use crate::ground::error::{Error, Result};
use crate::ground::look_up::{Found, LookupOptions, NAME_MAX, Query};

/// A look-up function of a user's.
pub(crate) type CustomLookup = Rc<dyn Fn(&str, LookupOptions, LookupAnswer)>;

/// What a look-up has found.
pub(crate) type Answer = Result<Vec<Found>>;

/// What is done with it, in the loop.
pub(crate) type Answered = Box<dyn FnOnce(LoopHandle, Answer)>;

/// A socket's look-up that is under way.
pub(crate) struct LookUp {
    /// Tells it from others.
    number: u64,
    /// The worker's job; none if a user's function was asked.
    job: Option<Id>,
    /// What the answer is wanted for.
    request: Box<ConnectRequest>,
}

/// What a [look-up function](crate::net::ConnectOptions::lookup) gives its answer to: the callback of
/// Node's `lookup` option. It may be kept, and answered later. If it is dropped, the look-up fails
/// with `ECANCELED`.
pub struct LookupAnswer {
    socket: Raw,
    number: u64,
    host: Box<str>,
    is_open: bool,
}

impl LookupAnswer {
    /// These addresses, in the order in which they are to be tried. None at all is the same as
    /// [`not_found`](LookupAnswer::not_found).
    pub fn found(self, addresses: impl IntoIterator<Item = IpAddr>) {
        // An iterator of a user's: before the first borrow.
        let found: Vec<Found> = addresses.into_iter().map(|address| (address, 0)).collect();
        match found.is_empty() {
            true => self.not_found(),
            false => self.answer(Ok(found)),
        }
    }

    /// The name has no addresses: `ENOTFOUND`.
    pub fn not_found(self) {
        let error = Error::look_up("ENOTFOUND", &self.host);
        self.answer(Err(error));
    }

    /// The look-up has failed, with an error of your own, or an [`Error`].
    pub fn failed(self, error: impl Into<Box<dyn StdError + Send + Sync>>) {
        self.answer(Err(Error::new(error)));
    }

    fn answer(mut self, answer: Answer) {
        self.is_open = false;
        let number = self.number;
        table::with(self.socket, |state, id| state.looked_up(id, number, answer));
    }
}

impl Drop for LookupAnswer {
    fn drop(&mut self) {
        if self.is_open {
            let error = Error::look_up("ECANCELED", &self.host);
            let number = self.number;
            table::with(self.socket, |state, id| {
                state.looked_up(id, number, Err(error));
            });
        }
    }
}

impl fmt::Debug for LookupAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookupAnswer")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Asks the system's resolver. `answered` gets the answer in the poll phase; until then the loop is
    /// held. What can be no name is not asked for; its error comes at once, as a value.
    pub(crate) fn start_look_up(
        &mut self,
        query: Query,
        answered: Answered,
        origin: &'static Location<'static>,
    ) -> std::result::Result<Id, (Error, Answered)> {
        if query.host.len() > NAME_MAX {
            return Err((Error::look_up("EINVAL", &query.host), answered));
        }
        let done: Done = Box::new(move |lp, outcome| answered(lp, unpack(outcome)));
        Ok(self.add_look_up(query, done, origin))
    }

    /// Looks up where a socket connects to. The user's function is asked on a tick.
    pub(crate) fn look_up_host(&mut self, id: Id, life: u32, request: Box<ConnectRequest>) {
        if request.lookup.is_some() {
            return self.ticks.push(Task::AskUser(id, life, request));
        }
        let Some(entry) = self.entry(id) else { return };
        let origin = entry.common().origin;
        let number = table::next_serial();
        let query = request.query();
        let answered: Answered = Box::new(move |lp, answer| {
            lp.with(|state| state.looked_up(id, number, answer));
        });
        let job = match self.start_look_up(query, answered, origin) {
            Ok(job) => Some(job),
            Err((error, answered)) => {
                self.bury(answered);
                self.ticks.push(Task::LookedUp(id, number, Err(error)));
                None
            }
        };
        self.note_look_up(id, number, job, request);
    }

    /// Prepares the question for a user's function; none if the socket is not connecting any more.
    pub(crate) fn ask_user(
        &mut self,
        id: Id,
        life: u32,
        request: Box<ConnectRequest>,
        socket: Socket,
    ) -> Option<(LookupOptions, LookupAnswer)> {
        if !self.is_connecting(id, life) {
            return None;
        }
        let Query { host, options } = request.query();
        let number = table::next_serial();
        self.note_look_up(id, number, None, request);
        let answer = LookupAnswer {
            socket: socket.0,
            number,
            host: host.into(),
            is_open: true,
        };
        Some((options, answer))
    }

    fn note_look_up(&mut self, id: Id, number: u64, job: Option<Id>, request: Box<ConnectRequest>) {
        if let Some(stream) = self.stream(id) {
            stream.extra().look_ups.push(LookUp {
                number,
                job,
                request,
            });
        }
    }

    /// There is an answer: 'lookup' for each address, and the attempt to connect. One that comes
    /// when the socket was destroyed is told to nobody.
    pub(crate) fn looked_up(&mut self, id: Id, number: u64, answer: Answer) {
        let look_up = self.stream(id).and_then(|stream| {
            let look_ups = &mut stream.extra.as_mut()?.look_ups;
            let at = look_ups.iter().position(|it| it.number == number)?;
            Some(look_ups.remove(at))
        });
        let Some(LookUp { request, .. }) = look_up else {
            return self.bury(answer);
        };
        let host: Rc<str> = request.host_name().into();
        match &answer {
            Err(error) => {
                let error = error.clone();
                self.steps.push_back(Task::EmitLookup(id, Err(error), host));
            }
            Ok(found) => {
                let told = match self.tries_several(&request) {
                    true => found.len(),
                    false => 1,
                };
                for (ip, _) in &found[..told] {
                    let host = host.clone();
                    self.steps.push_back(Task::EmitLookup(id, Ok(*ip), host));
                }
            }
        }
        self.steps.push_back(Task::AfterLookUp(id, request, answer));
    }

    /// Gives up what a socket looks up: nobody waits for the answer any more.
    pub(crate) fn abandon_look_ups(&mut self, id: Id) {
        let Some(extra) = self.stream(id).and_then(|stream| stream.extra.as_mut()) else {
            return;
        };
        for look_up in std::mem::take(&mut extra.look_ups) {
            if let Some(job) = look_up.job {
                self.abandon_job(job);
            }
        }
    }
}

/// What a worker has found, or why there is no worker.
fn unpack(outcome: Outcome) -> Answer {
    let answer = outcome?.downcast::<Answer>();
    *answer.unwrap_or_else(|_| unreachable!("a look-up makes an answer"))
}
