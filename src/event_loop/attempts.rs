//! Several addresses for one name: RFC 8305, "happy eyeballs", with Node's options and events.
//!
//! The addresses are tried in turn, families alternating. Each has a head start of the attempt
//! timeout on the next, and goes on beside it when that is over: the first that connects wins, and
//! the others are closed then. (Node gives an attempt up when its time is over, so that a slow route
//! never connects.) One that fails has the next begin at once.
//!
//! All attempts are registered under the socket's own token. An event says that one of them may
//! be decided, and all are looked at: there are few.

use std::net::SocketAddr;

use super::connect::{Attempt, Start};
use super::connect_request::{ConnectHost, ConnectRequest, local_end};
use super::entry::{flag, stream_of};
use super::handle::Id;
use super::server::with_scope;
use super::state::State;
use super::task::Task;
use crate::backend::{self, ready};
use crate::ground::error::Error;
use crate::ground::look_up::{Found, to_attempt};

/// Shorter attempt timeouts count as this long, in ms: Node's limit, and that of RFC 8305.
const ATTEMPT_TIMEOUT_MIN_MS: u64 = 10;

/// What is remembered while several addresses are tried.
pub(crate) struct Several {
    /// Addresses that were not tried, the next to be tried at the end.
    left: Vec<Found>,
    /// Attempts under way but for the latest, the oldest first.
    pub(crate) others: Vec<(backend::Stream, Box<Attempt>)>,
    /// Why others have failed.
    errors: Vec<Error>,
    /// The head start of each, in ms.
    timeout_ms: u64,
    /// How many have begun: tells which one a timeout is about.
    begun: u32,
    /// The rest of what was asked for.
    request: Box<ConnectRequest>,
}

/// What looking at an attempt has shown.
enum Look {
    Undecided,
    Connected,
    Failed(Error),
}

impl State {
    /// Whether all addresses of a name are tried (N250): unless a family or the address at this end
    /// was asked for.
    pub(crate) fn tries_several(&self, request: &ConnectRequest) -> bool {
        let wanted = request.auto_select_family;
        wanted.unwrap_or(self.settings.auto_select_family)
            && matches!(request.host, ConnectHost::Name(_))
            && request.look_up.family.is_none()
            && request.local_address.is_none()
    }

    /// Begins to try addresses; a single one as if this were switched off (N254).
    pub(crate) fn attempt_several(
        &mut self,
        id: Id,
        life: u32,
        request: Box<ConnectRequest>,
        found: &[Found],
    ) {
        let mut left = to_attempt(found);
        if let &[only] = left.as_slice() {
            return self.attempt(id, life, &request, only);
        }
        left.reverse();
        let default_ms = self.settings.attempt_timeout_ms;
        let State {
            entries, backend, ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        if let (Some(io), Some((ip, _))) = (&stream.io, left.last()) {
            // `connect` was called again before the first call had ended (N109).
            let error = backend::already_connecting();
            let local = backend.local_address(io).ok();
            let address = SocketAddr::new(*ip, request.port);
            let error = Error::refused_at_once(error, address, local);
            return self.destroy(id, Some(error));
        }
        let timeout_ms = request.attempt_timeout_ms.unwrap_or(default_ms);
        let extra = stream.extra();
        extra.attempted.clear();
        extra.several = Some(Box::new(Several {
            left,
            others: Vec::new(),
            errors: Vec::new(),
            timeout_ms: timeout_ms.max(ATTEMPT_TIMEOUT_MIN_MS),
            begun: 0,
            request,
        }));
        self.next_attempt(id, life);
    }

    /// Tries the next address, or ends if there is none and none is under way
    /// (internalConnectMultiple).
    pub(crate) fn next_attempt(&mut self, id: Id, life: u32) {
        if !self.is_connecting(id, life) {
            return;
        }
        let State {
            entries,
            backend,
            steps,
            ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        let under_way = stream.common.flags.any(flag::CONNECT_PENDING);
        let extra = stream.extra();
        let Some(several) = &mut extra.several else {
            return;
        };
        let Some((ip, scope)) = several.left.pop() else {
            if !under_way {
                let error = Error::aggregate(std::mem::take(&mut several.errors));
                self.destroy(id, Some(error));
            }
            return;
        };
        let address = with_scope(ip, several.request.port, scope);
        let local = local_end(&several.request, address);
        let unconnected = match (backend.open(address, local), local) {
            (Err(error), Some(local)) => {
                let error = Error::with_address("bind", error, local, None);
                several.errors.push(error);
                return steps.push_back(Task::NextAttempt(id, life));
            }
            (opened, _) => opened,
        };
        let list = several.request.block_list.as_ref();
        if list.is_some_and(|list| list.check(ip)) {
            let error = Error::ip_blocked(ip);
            return self.next_after_failure(id, life, address, error);
        }
        several.begun = several.begun.wrapping_add(1);
        let (number, timeout_ms) = (several.begun, several.timeout_ms);
        let start = Start::one_of_several(address, local, unconnected);
        steps.push_back(Task::EmitAttempt(id, address));
        steps.push_back(Task::StartConnect(id, life, Box::new(start)));
        if !several.left.is_empty() {
            steps.push_back(Task::TimeAttempt(id, life, number, timeout_ms));
        }
    }

    /// An address has failed before the system was asked, or at once: 'connectionAttemptFailed', and
    /// the next.
    pub(crate) fn next_after_failure(
        &mut self,
        id: Id,
        life: u32,
        address: SocketAddr,
        error: Error,
    ) {
        let several = self
            .stream(id)
            .and_then(|stream| stream.extra().several.as_mut());
        if let Some(several) = several {
            several.errors.push(error.clone());
            // The timeout of this one is void.
            several.begun = several.begun.wrapping_add(1);
        }
        // In front of the timeout that waits to be set.
        self.steps.push_front(Task::NextAttempt(id, life));
        self.steps
            .push_front(Task::EmitAttemptFailed(id, address, error));
    }

    /// The attempt has begun: the next one waits so long for it.
    pub(crate) fn time_attempt(&mut self, id: Id, life: u32, number: u32, timeout_ms: u64) {
        if self.latest_attempt(id, life, number).is_some() {
            self.set_attempt_deadline(id, life, number, timeout_ms);
        }
    }

    /// The head start is over: 'connectionAttemptTimeout', and the next begins beside it.
    pub(crate) fn attempt_timed_out(&mut self, id: Id, life: u32, number: u32) {
        if let Some(address) = self.latest_attempt(id, life, number) {
            self.steps.push_back(Task::EmitAttemptTimeout(id, address));
            self.steps.push_back(Task::NextAttempt(id, life));
        }
    }

    /// The address of the latest attempt, if that is under way and has this number.
    fn latest_attempt(&mut self, id: Id, life: u32, number: u32) -> Option<SocketAddr> {
        if !self.is_connecting(id, life) {
            return None;
        }
        let extra = self.stream(id)?.extra.as_ref()?;
        let is_latest = extra.several.as_ref()?.begun == number;
        Some(extra.attempt.as_ref().filter(|_| is_latest)?.address)
    }

    /// An event may be about any of the attempts.
    pub(crate) fn look_at_attempts(&mut self, id: Id) {
        let State {
            entries, backend, ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        // Which of them it is about the event does not say, so its bits mean nothing; the poller tells of each
        // change anew.
        stream.ready = 0;
        let latest_io = stream.io.take();
        let extra = stream.extra();
        let life = extra.life;
        let Some(several) = &mut extra.several else {
            return;
        };
        let others = std::mem::take(&mut several.others);
        let mut all: Vec<_> = others.into_iter().map(|(io, it)| (Some(io), it)).collect();
        all.extend(extra.attempt.take().map(|attempt| (latest_io, attempt)));
        let count = all.len();
        let (mut failed, mut winner, mut left) = (Vec::new(), None, Vec::new());
        for (index, (io, mut attempt)) in all.into_iter().enumerate() {
            match attempt.look(backend, io.as_ref()) {
                Look::Failed(error) => {
                    several.errors.push(error.clone());
                    failed.push((attempt.address, error));
                    if index + 1 == count {
                        // Its timeout is void.
                        several.begun = several.begun.wrapping_add(1);
                    }
                    if let Some(io) = io {
                        backend.close(io);
                    }
                }
                Look::Connected if winner.is_none() => winner = io.map(|io| (io, attempt)),
                _ => left.push((io, attempt)),
            }
        }
        if failed.is_empty()
            && let Some((io, attempt)) = winner
        {
            for io in left.into_iter().filter_map(|(io, _)| io) {
                backend.close(io);
            }
            return self.attempt_won(id, io, attempt.address);
        }
        // Failures are told first; the listeners may end it all.
        let has_winner = winner.is_some();
        left.splice(0..0, winner.map(|(io, attempt)| (Some(io), attempt)));
        let none_left = left.is_empty();
        if let Some((io, attempt)) = left.pop() {
            stream.io = io;
            let extra = stream.extra();
            extra.local = None;
            extra.attempt = Some(attempt);
            if let Some(several) = &mut extra.several {
                let others = left.into_iter().filter_map(|(io, it)| Some((io?, it)));
                several.others.extend(others);
            }
        }
        if none_left {
            self.none_under_way(id);
        }
        let has_failed = !failed.is_empty();
        for (address, error) in failed {
            self.steps
                .push_back(Task::EmitAttemptFailed(id, address, error));
        }
        if has_winner {
            if let Some(stream) = self.stream(id) {
                stream.ready = ready::WRITABLE;
            }
            self.make_ready(id);
        } else if has_failed {
            self.steps.push_back(Task::NextAttempt(id, life));
        }
    }

    /// The first that connects is the connection.
    fn attempt_won(&mut self, id: Id, io: backend::Stream, address: SocketAddr) {
        self.none_under_way(id);
        let State {
            entries, backend, ..
        } = self;
        let Some(stream) = stream_of(entries, id) else {
            return;
        };
        let io = stream.io.insert(io);
        // What was told of the others is forgotten, and of this one told anew.
        if let Err(error) = backend.reregister(io, State::token(id)) {
            let error = Error::with_address("connect", error, address, None);
            return self.destroy(id, Some(error));
        }
        let extra = stream.extra();
        extra.several = None;
        extra.local = None;
        self.connected(id, address);
    }

    /// Gives up all attempts of a socket that is destroyed. That the latest was cancelled is told in
    /// front of 'close' (N257).
    pub(crate) fn give_up_attempts(&mut self, id: Id) {
        let State {
            entries, backend, ..
        } = self;
        let Some(extra) = stream_of(entries, id).and_then(|stream| stream.extra.as_mut()) else {
            return;
        };
        let latest = extra.attempt.take();
        let Some(several) = extra.several.take() else {
            return;
        };
        for (io, _) in several.others {
            backend.close(io);
        }
        extra.cancelled_attempt = latest.map(|attempt| attempt.address);
    }

    /// In the closing phase: 'connectionAttemptFailed' for an attempt that was cancelled.
    pub(crate) fn tell_cancelled_attempt(&mut self, id: Id) {
        let cancelled = self.stream(id).and_then(|stream| {
            let extra = stream.extra.as_mut()?;
            extra.cancelled_attempt.take()
        });
        if let Some(address) = cancelled {
            let error = Error::canceled_at("connect", address);
            self.steps
                .push_back(Task::EmitAttemptFailed(id, address, error));
        }
    }
}

impl Attempt {
    fn look(&mut self, backend: &mut backend::Backend, io: Option<&backend::Stream>) -> Look {
        if let Some(error) = self.failure(backend, io) {
            return Look::Failed(error);
        }
        match io {
            Some(io) if backend.remote_address(io).is_ok() => Look::Connected,
            _ => Look::Undecided,
        }
    }
}
