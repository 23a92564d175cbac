//! Host names of UDP sockets: what is bound, connected or sent to a name waits for its look-up.
//!
//! Datagrams keep their order: while one waits for a name, all behind it wait too, and one name is
//! looked up at a time. What waits counts against the socket's limit, so it is bounded; in Node
//! it is not.

use std::rc::Rc;

use super::datagram_connect::ConnectCall;
use super::datagram_entry::{
    BindRequest, BindState, ConnectState, DatagramState, DatagramTask, Host,
};
use super::datagram_options::parse_host;
use super::datagram_send::Outgoing;
use super::handle::{Id, UdpSocket};
use super::look_up::{Answer, Answered, CustomLookup, LookupAnswer};
use super::state::State;
use super::table;
use super::task::Task;
use crate::ground::addresses::Family;
use crate::ground::error::{Error, Result};
use crate::ground::look_up::{LookupOptions, Query};
use crate::ground::spare::give_back;

/// A look-up of a UDP socket that is under way.
pub(crate) struct HostLookUp {
    /// Tells it from others.
    number: u64,
    /// The worker's job; none if a user's function was asked.
    job: Option<Id>,
    /// What the answer is wanted for.
    wanted: Wanted,
}

/// What a name is looked up for.
pub(crate) enum Wanted {
    Bind(Box<BindRequest>),
    Connect(Box<ConnectCall>),
    /// The datagrams that wait, as far as they go to this name.
    Sends(Rc<str>),
}

impl Wanted {
    /// The name that is looked up.
    fn name(&self) -> &str {
        match self {
            Wanted::Bind(request) => request.host.name().unwrap_or_default(),
            Wanted::Connect(call) => call.host.name().unwrap_or_default(),
            Wanted::Sends(name) => name,
        }
    }
}

impl DatagramState {
    /// Refuses what the system can't be asked for. A user's function is asked for anything.
    pub(crate) fn check_host(&self, host: &Host) -> Result<()> {
        match host {
            Host::Name(name) if self.lookup.is_none() && name.contains('\0') => {
                Err(Error::host_with_nul(name))
            }
            _ => Ok(()),
        }
    }
}

impl Host {
    /// The name, if it is one that has to be looked up.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Host::Name(name) if parse_host(name).is_none() => Some(name),
            _ => None,
        }
    }
}

impl State {
    /// Looks a name up for a socket. A user's function is asked on a tick.
    pub(crate) fn look_up_for_datagram(&mut self, id: Id, host: &str, wanted: Wanted) {
        let Some(datagram) = self.datagram(id) else {
            return self.bury(wanted);
        };
        let number = table::next_serial();
        let options = LookupOptions::new().family(match datagram.is_ipv6 {
            false => Family::V4,
            true => Family::V6,
        });
        let origin = datagram.common.origin;
        let asks_user = datagram.lookup.is_some();
        let mut job = None;
        if asks_user {
            let question = Box::new((Box::<str>::from(host), options));
            let task = DatagramTask::AskUser(number, question);
            self.ticks.push(Task::Datagram(id, task));
        } else {
            let query = Query {
                host: host.to_string(),
                options,
            };
            let answered: Answered = Box::new(move |lp, answer| {
                lp.with(|state| state.datagram_looked_up(id, number, answer));
            });
            match self.start_look_up(query, answered, origin) {
                Ok(started) => job = Some(started),
                Err((error, answered)) => {
                    self.bury(answered);
                    let task = DatagramTask::LookedUp(number, Err(error));
                    self.ticks.push(Task::Datagram(id, task));
                }
            }
        }
        if let Some(datagram) = self.datagram(id) {
            let look_up = HostLookUp {
                number,
                job,
                wanted,
            };
            datagram.look_ups.push(look_up);
        }
    }

    /// Prepares the question for a user's function; none if nobody wants to know any more.
    pub(crate) fn ask_user_for_datagram(
        &mut self,
        id: Id,
        number: u64,
        host: Box<str>,
        socket: UdpSocket,
    ) -> Option<(CustomLookup, LookupAnswer)> {
        let datagram = self.datagram(id)?;
        let wanted = datagram.look_ups.iter().any(|it| it.number == number);
        let lookup = datagram.lookup.clone().filter(|_| wanted)?;
        Some((lookup, LookupAnswer::new(socket.0, number, host)))
    }

    /// There is an answer. One that comes when the socket was closed is told to nobody.
    pub(crate) fn datagram_looked_up(&mut self, id: Id, number: u64, answer: Answer) {
        let look_up = self.datagram(id).and_then(|datagram| {
            let at = datagram
                .look_ups
                .iter()
                .position(|it| it.number == number)?;
            Some(datagram.look_ups.remove(at))
        });
        let Some(HostLookUp { wanted, .. }) = look_up else {
            return self.bury(answer);
        };
        // The first address, as Node.
        let host = answer.and_then(|found| match found.first() {
            Some(&(ip, scope)) => Ok(Host::Address(ip, scope)),
            None => Err(Error::look_up("ENOTFOUND", wanted.name())),
        });
        match wanted {
            Wanted::Bind(request) => self.bind_to_found(id, *request, host),
            Wanted::Connect(call) => self.connect_to_found(id, call, host),
            Wanted::Sends(name) => self.send_to_found(id, &name, &host),
        }
    }

    fn bind_to_found(&mut self, id: Id, mut request: BindRequest, host: Result<Host>) {
        let task = match host {
            Ok(host) => {
                request.host = host;
                DatagramTask::Bind(Box::new(request))
            }
            Err(error) => {
                if let Some(datagram) = self.datagram(id) {
                    datagram.bound = BindState::Unbound;
                }
                DatagramTask::EmitError(error)
            }
        };
        self.steps.push_back(Task::Datagram(id, task));
    }

    fn connect_to_found(&mut self, id: Id, mut call: Box<ConnectCall>, host: Result<Host>) {
        let task = match host {
            Ok(host) => {
                call.host = host;
                DatagramTask::Connect(call)
            }
            Err(error) => {
                if let Some(datagram) = self.datagram(id) {
                    datagram.connected = ConnectState::Disconnected;
                }
                // On a tick, as every failure to connect; Node's doConnect.
                let task = DatagramTask::ConnectFailed(call, error);
                return self.ticks.push(Task::Datagram(id, task));
            }
        };
        self.steps.push_back(Task::Datagram(id, task));
    }

    /// Has a datagram wait for its name, or for those in front of it. Gives it back if it need not.
    pub(crate) fn wait_for_name(
        &mut self,
        id: Id,
        outgoing: Box<Outgoing>,
    ) -> Option<Box<Outgoing>> {
        let Some(datagram) = self.datagram(id) else {
            return Some(outgoing);
        };
        let is_first = datagram.unresolved.is_empty();
        let name: Option<Rc<str>> = outgoing.host.name().map(Rc::from);
        if is_first && name.is_none() {
            return Some(outgoing);
        }
        datagram.unresolved.push_back(outgoing);
        if let (true, Some(name)) = (is_first, name) {
            self.look_up_for_datagram(id, &name.clone(), Wanted::Sends(name));
        }
        None
    }

    /// Sends what waits for `name`, and what waited behind it, up to the next name.
    fn send_to_found(&mut self, id: Id, name: &str, host: &Result<Host>) {
        loop {
            let Some(datagram) = self.datagram(id) else {
                return;
            };
            let Some(front) = datagram.unresolved.front() else {
                return give_back(&mut datagram.unresolved);
            };
            let is_this = front.host.name() == Some(name);
            if !is_this && let Some(other) = front.host.name() {
                let other: Rc<str> = other.into();
                return self.look_up_for_datagram(id, &other.clone(), Wanted::Sends(other));
            }
            let Some(mut outgoing) = datagram.unresolved.pop_front() else {
                return;
            };
            match host {
                Err(error) if is_this => {
                    datagram.untried.subtract(outgoing.size);
                    let done = outgoing.done.take();
                    self.refuse(id, error.clone(), done);
                    self.bury(outgoing);
                    continue;
                }
                Ok(host) if is_this => outgoing.host = host.clone(),
                _ => {}
            }
            let task = DatagramTask::Send(outgoing);
            self.steps.push_back(Task::Datagram(id, task));
        }
    }

    /// The socket is closed: nobody waits for its names any more, and what waited is not sent (N278).
    pub(crate) fn abandon_datagram_look_ups(&mut self, id: Id) {
        let Some(datagram) = self.datagram(id) else {
            return;
        };
        let look_ups = std::mem::take(&mut datagram.look_ups);
        let unresolved = std::mem::take(&mut datagram.unresolved);
        for outgoing in &unresolved {
            datagram.untried.subtract(outgoing.size);
        }
        for look_up in look_ups {
            if let Some(job) = look_up.job {
                self.abandon_job(job);
            }
            self.bury(look_up.wanted);
        }
        if !unresolved.is_empty() {
            self.bury(unresolved);
        }
    }
}
