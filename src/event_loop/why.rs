//! Why a loop is alive: `lp.why_alive()`.
//!
//! Liveness is counted, never scanned ([`State::is_alive`]). This is the scan, for people: it finds
//! each thing that was counted, and a debug build checks that it finds neither more nor fewer.

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;

use super::datagram_entry::{Backlog, DatagramState, DatagramTask};
use super::entry::{Entry, Peer, ServerState, Stream, flag};
use super::handle::{Id, LoopHandle};
use super::info::HandleKind;
use super::state::State;
use super::task::Task;
use crate::backend::Backend;
use crate::ground::error::Error;
use crate::ground::timer_lists::{TimerInfo, TimerState};

/// How many reasons of one kind and one line are printed one by one: enough to see what they have in
/// common, few enough to leave the others on the screen when there are thousands.
const SHOWN_OF_A_KIND: usize = 8;

/// What keeps a loop alive: the answer of [`why_alive`](LoopHandle::why_alive).
///
/// It prints well with `{}`:
///
/// ```text
/// 4 things keep the loop alive:
///   server     listening on 127.0.0.1:4000, 1 connection (src/main.rs:12:18)
///   socket     reading, accepted from 127.0.0.1:51762 (src/main.rs:12:18)
///   socket     3 writes waiting, 196608 bytes (src/main.rs:17:22)
///   timer      due in 40 ms (src/main.rs:20:8)
/// 1 is unreferenced and keeps nothing alive:
///   timer      every 1000 ms, due in 312 ms (src/main.rs:30:8)
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct WhyAlive {
    /// What keeps the loop alive; empty exactly if [`is_alive`](LoopHandle::is_alive) is false.
    pub reasons: Vec<Reason>,
    /// What is active, but unreferenced: it would keep the loop alive after `set_ref`.
    pub unreferenced: Vec<Reason>,
}

/// One thing that keeps a loop alive, or that would if it were referenced.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reason {
    /// What it is.
    pub kind: HandleKind,
    /// What it is about, for people: `listening on 127.0.0.1:4000`, `due in 40 ms`. Not meant to be
    /// taken apart by programs.
    pub state: String,
    /// The line of the program that made it; for an accepted socket, that made its server. None if
    /// that is not known: of completions, of errors, and of what is gone.
    pub origin: Option<&'static Location<'static>>,
}

impl WhyAlive {
    /// Whether nothing keeps the loop alive, so that `run` returns.
    pub fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }

    /// How many things keep the loop alive.
    pub fn len(&self) -> usize {
        self.reasons.len()
    }

    /// What keeps the loop alive, one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Reason> {
        self.reasons.iter()
    }
}

impl IntoIterator for WhyAlive {
    type Item = Reason;
    type IntoIter = std::vec::IntoIter<Reason>;

    fn into_iter(self) -> Self::IntoIter {
        self.reasons.into_iter()
    }
}

impl<'a> IntoIterator for &'a WhyAlive {
    type Item = &'a Reason;
    type IntoIter = std::slice::Iter<'a, Reason>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<9}  {}", self.kind, self.state)?;
        match self.origin {
            Some(origin) => write!(f, " ({origin})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for WhyAlive {
    /// Many lines, without a line break at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reasons.len() {
            0 => write!(f, "nothing keeps the loop alive")?,
            1 => write!(f, "1 thing keeps the loop alive:")?,
            many => write!(f, "{many} things keep the loop alive:")?,
        }
        list(f, &self.reasons)?;
        match self.unreferenced.len() {
            0 => return Ok(()),
            1 => write!(f, "\n1 is unreferenced and keeps nothing alive:")?,
            many => write!(f, "\n{many} are unreferenced and keep nothing alive:")?,
        }
        list(f, &self.unreferenced)
    }
}

/// A line for each reason; where many come from one line of the program, for the first of them.
fn list(f: &mut fmt::Formatter<'_>, reasons: &[Reason]) -> fmt::Result {
    let mut seen = HashMap::new();
    for reason in reasons {
        let count = seen.entry((reason.kind, reason.origin)).or_insert(0);
        *count += 1;
        if *count <= SHOWN_OF_A_KIND {
            write!(f, "\n  {reason}")?;
        }
    }
    let mut told: Vec<_> = seen.into_iter().collect();
    told.retain(|&(_, count)| count > SHOWN_OF_A_KIND);
    told.sort_by_key(|&((kind, origin), _)| (kind.to_string(), origin));
    for ((kind, origin), count) in told {
        let more = count - SHOWN_OF_A_KIND;
        write!(f, "\n  {kind:<9}  and {more} more like these")?;
        if let Some(origin) = origin {
            write!(f, " ({origin})")?;
        }
    }
    Ok(())
}

impl LoopHandle {
    /// What keeps this loop alive, each with the line of the program that made it: the answer to "why
    /// does my program not end?". What is unreferenced is listed apart. Node's
    /// `process.getActiveResourcesInfo`, and more.
    ///
    /// It costs a look at everything that lives in the loop, and a system call for each listening
    /// socket.
    ///
    /// A program that hangs tells why by itself, if an unreferenced timer asks:
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = nodeloop::Loop::new()?;
    /// let watch = lp.set_interval(5_000, |timer| eprintln!("{}", timer.event_loop().why_alive()));
    /// watch.unref(); // or it would be a reason itself
    ///
    /// lp.set_timeout_once(20, |_| {});
    /// let why = lp.why_alive();
    /// assert_eq!(why.len(), 1);
    /// assert!(why.reasons[0].state.starts_with("due in "));
    /// # lp.run()
    /// # }
    /// ```
    pub fn why_alive(self) -> WhyAlive {
        let found = self.with(|state| {
            let mut scan = Scan::default();
            scan.entries(state);
            scan.timers(state);
            scan.rest(state);
            scan.check(state);
            scan
        });
        let Some(mut scan) = found else {
            return WhyAlive::default();
        };
        // How they print may be a user's code, so the loop is not borrowed.
        for error in scan.errors {
            let state = format!("{error}: nobody listened to it");
            scan.why.reasons.push(Reason {
                kind: HandleKind::Error,
                state,
                origin: None,
            });
        }
        scan.why
    }
}

/// A look at everything that may keep a loop alive.
#[derive(Default)]
struct Scan {
    why: WhyAlive,
    /// Errors that nobody listened to: they are printed later.
    errors: Vec<Error>,
    /// Active referenced handles that were found.
    handles: usize,
    /// Requests that were found.
    requests: usize,
}

/// Where an object waits.
#[derive(Clone, Copy, Default)]
struct Waits {
    /// In the pending queue.
    pending: bool,
    /// For the closing phase.
    closing: bool,
}

impl Scan {
    fn add(
        &mut self,
        referenced: bool,
        kind: HandleKind,
        state: String,
        origin: &'static Location<'static>,
    ) {
        let list = match referenced {
            true => &mut self.why.reasons,
            false => &mut self.why.unreferenced,
        };
        list.push(Reason {
            kind,
            state,
            origin: Some(origin),
        });
    }

    /// Servers and sockets, and what is left of them in queues.
    fn entries(&mut self, state: &mut State) {
        let mut waits: HashMap<u64, Waits> = HashMap::new();
        for id in &state.pending {
            waits.entry(id.serial).or_default().pending = true;
        }
        for closed in state.closing.iter().chain(&state.closing_now) {
            waits.entry(closed.id.serial).or_default().closing = true;
        }
        let State {
            entries, backend, ..
        } = state;
        for (_, entry) in entries.iter() {
            let common = entry.common();
            let waits = waits.remove(&common.serial).unwrap_or_default();
            let referenced = common.flags.any(flag::REFERENCED);
            let mut reasons = Vec::new();
            if common.flags.any(flag::ACTIVE) {
                let activity = match entry {
                    Entry::Stream(stream) => format!("reading, {}", whose(stream)),
                    Entry::Server(server) => listening(server, backend),
                    Entry::Datagram(datagram) => receiving(datagram, backend),
                    Entry::Extension(extension) => extension.object.activity(),
                };
                match referenced {
                    true => {
                        self.handles += 1;
                        reasons.push(activity);
                    }
                    false => self.add(false, entry.into(), activity, common.origin),
                }
            }
            if let Entry::Stream(stream) = entry {
                let requests = requests(stream);
                self.requests += requests.len();
                reasons.extend(requests);
            }
            if let Entry::Extension(extension) = entry
                && extension.requests > 0
            {
                self.requests += extension.requests;
                reasons.push(counted(extension.requests, "request"));
            }
            if let Entry::Datagram(datagram) = entry
                && datagram.queued.datagrams > 0
            {
                let Backlog { datagrams, bytes } = datagram.queued;
                self.requests += datagrams;
                let datagrams = counted(datagrams, "datagram");
                reasons.push(format!("{datagrams} waiting to be sent, {bytes} bytes"));
            }
            if waits.closing {
                reasons.push("closing".to_string());
            }
            if waits.pending && reasons.is_empty() {
                // What was asked for is void by now; the next pending phase finds that out.
                reasons.push("in the pending queue".to_string());
            }
            if !reasons.is_empty() {
                self.add(true, entry.into(), reasons.join("; "), common.origin);
            }
        }
        for waits in waits.into_values() {
            let phase = if waits.closing { "closing" } else { "pending" };
            self.why.reasons.push(Reason {
                kind: HandleKind::Gone,
                state: format!("until the {phase} phase"),
                origin: None,
            });
        }
    }

    fn timers(&mut self, state: &mut State) {
        // Not the turn's clock, and not kept for it: whoever asks changes nothing.
        let now_ms = state.backend.now_ms();
        let alive = state.timers.iter();
        for timer in alive.filter(|timer| timer.state == TimerState::Alive) {
            let origin = timer.origin;
            let text = when_due(&timer, now_ms);
            self.add(timer.referenced, HandleKind::Timer, text, origin);
        }
    }

    /// Immediates, watchers, ticks, errors.
    fn rest(&mut self, state: &State) {
        for (referenced, origin) in state.immediates.iter() {
            let text = "for the next check phase".to_string();
            self.add(referenced, HandleKind::Immediate, text, origin);
        }
        for (kind, started, referenced, origin) in state.watchers.iter() {
            if started {
                self.add(referenced, kind.into(), "in every turn".to_string(), origin);
            }
        }
        for (referenced, origin) in state.channels.iter() {
            let text = "open to other threads".to_string();
            self.add(referenced, HandleKind::Channel, text, origin);
        }
        for (host, origin) in state.jobs.iter() {
            self.requests += 1;
            let text = match host {
                Some(host) => format!("looking up {host}"),
                None => "work in another thread".to_string(),
            };
            self.add(true, HandleKind::Job, text, origin);
        }
        if state.is_held_by_mail() {
            self.why.reasons.push(Reason {
                kind: HandleKind::Mail,
                state: "from another thread, for the next poll phase".to_string(),
                origin: None,
            });
        }
        for task in state.steps.iter().chain(state.ticks.iter()) {
            let reason = of_task(state, task);
            self.why.reasons.push(reason);
        }
        if let Some(id) = state.outbox.owner() {
            for _ in 0..state.outbox.ahead() {
                let task = Task::Datagram(id, DatagramTask::SendStaged);
                self.why.reasons.push(of_task(state, &task));
            }
        }
        self.errors = state.uncaught.iter().cloned().collect();
    }

    /// What was found is what was counted.
    fn check(&self, state: &State) {
        let referenced = |kind| {
            let of_kind = self.why.reasons.iter().filter(|reason| reason.kind == kind);
            of_kind.count()
        };
        let watchers = [HandleKind::Idle, HandleKind::Prepare, HandleKind::Check];
        debug_assert_eq!(self.handles, state.live.handles, "handles");
        debug_assert_eq!(self.requests, state.live.requests, "requests");
        debug_assert_eq!(referenced(HandleKind::Channel), state.channels.referenced());
        debug_assert_eq!(referenced(HandleKind::Timer), state.timers.referenced());
        debug_assert_eq!(
            referenced(HandleKind::Immediate),
            state.immediates.referenced()
        );
        debug_assert_eq!(
            watchers.map(referenced).iter().sum::<usize>(),
            state.watchers.referenced()
        );
        let found = !self.why.reasons.is_empty() || !self.errors.is_empty();
        debug_assert_eq!(found, state.is_alive());
    }
}

/// What a server does.
fn listening(server: &ServerState, backend: &mut Backend) -> String {
    let address = server
        .listener
        .as_ref()
        .and_then(|listener| {
            #[cfg(unix)]
            if let Some(path) = backend.listener_path(listener) {
                return Some(path.display().to_string());
            }
            Some(backend.listener_address(listener).ok()?.to_string())
        })
        .unwrap_or("an unknown address".to_string());
    let connections = counted(server.connections, "connection");
    format!("listening on {address}, {connections}")
}

/// What a UDP socket does.
fn receiving(datagram: &DatagramState, backend: &mut Backend) -> String {
    let address = datagram
        .io
        .as_ref()
        .and_then(|io| backend.datagram_address(io).ok())
        .map_or("an unknown address".to_string(), |it| it.to_string());
    format!("receiving at {address}")
}

/// Whose a socket is.
fn whose(stream: &Stream) -> String {
    if stream.common.flags.any(flag::UNIX) && stream.io.is_some() {
        return match stream.server.id() == Id::NONE {
            true => "connected to a Unix socket".to_string(),
            false => "accepted from a Unix socket".to_string(),
        };
    }
    match stream.remote.map(Peer::address) {
        Some(peer) if stream.server.id() == Id::NONE => format!("connected to {peer}"),
        Some(peer) => format!("accepted from {peer}"),
        None => "not connected".to_string(),
    }
}

/// The requests of a socket that are outstanding, which count whether it is referenced or not (N53).
fn requests(stream: &Stream) -> Vec<String> {
    let flags = stream.common.flags;
    let mut requests = Vec::new();
    if flags.any(flag::CONNECT_PENDING) {
        requests.push(match stream.attempted_address() {
            Some(address) => format!("connecting to {address}"),
            None => "connecting".to_string(),
        });
    }
    // What waits for the connection is no request yet.
    if flags.any(flag::WRITING) && !flags.any(flag::WRITE_PENDING) {
        let count = stream.extra.as_ref().map_or(0, |it| it.writes.count());
        let (writes, bytes) = (counted(count, "write"), stream.write_length());
        let cancelled = if flags.any(flag::DESTROYED) {
            " to be cancelled"
        } else {
            " waiting"
        };
        requests.push(format!("{writes}{cancelled}, {bytes} bytes"));
    }
    if flags.any(flag::SHUTDOWN_PENDING) {
        requests.push("half-close in the next pending phase".to_string());
    }
    requests
}

fn when_due(timer: &TimerInfo, now_ms: u64) -> String {
    let due = match timer.due_ms {
        None => "its callback is running".to_string(),
        Some(due_ms) if due_ms <= now_ms => "due now".to_string(),
        Some(due_ms) => format!("due in {} ms", due_ms - now_ms),
    };
    match timer.period_ms {
        Some(period_ms) => format!("every {period_ms} ms, {due}"),
        None => due,
    }
}

fn of_task(state: &State, task: &Task) -> Reason {
    let origin = match task {
        Task::User(_, origin) => Some(*origin),
        _ => task.subject().and_then(|id| {
            let entry = state.entries.get(id.key as usize)?;
            (entry.common().serial == id.serial).then(|| entry.common().origin)
        }),
    };
    Reason {
        kind: HandleKind::Tick,
        state: task.what().to_string(),
        origin,
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
