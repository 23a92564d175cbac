//! What lives in a loop: `lp.handles()`.

use std::fmt;
use std::panic::Location;

use super::entry::{Entry, flag};
use super::handle::LoopHandle;
use super::watchers::WatcherKind;
use crate::ground::timer_lists::TimerState;

/// What kind of thing a [`HandleInfo`] or a [`Reason`](crate::Reason) is about. It prints as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandleKind {
    /// A [`net::Server`](crate::net::Server).
    Server,
    /// A [`net::Socket`](crate::net::Socket).
    Socket,
    /// A [`dgram::Socket`](crate::dgram::Socket).
    UdpSocket,
    /// A stream of [`stream`](crate::stream).
    Stream,
    /// A [`readline::Interface`](crate::readline::Interface).
    Interface,
    /// A [`Timer`](crate::Timer).
    Timer,
    /// An [`Immediate`](crate::Immediate).
    Immediate,
    /// An idle [`Watcher`](crate::Watcher).
    Idle,
    /// A prepare [`Watcher`](crate::Watcher).
    Prepare,
    /// A check [`Watcher`](crate::Watcher).
    Check,
    /// A [channel](crate::LoopHandle::channel) from other threads.
    Channel,
    /// Work in another thread: by [`spawn_blocking`](crate::LoopHandle::spawn_blocking), for a file's stream,
    /// or to look up a name.
    Job,
    /// A closure from another thread that waits, what one wants of a channel, or what became of a job. Only
    /// among the reasons of [`why_alive`](LoopHandle::why_alive).
    Mail,
    /// A tick that waits: one of [`next_tick`](LoopHandle::next_tick), or an event or a completion that
    /// comes on a tick. Only among the reasons of [`why_alive`](LoopHandle::why_alive).
    Tick,
    /// An error that nobody listened to, and that ends the next `run`. Only among reasons.
    Error,
    /// What is gone but for its place in a queue of the loop. Only among reasons.
    Gone,
}

impl fmt::Display for HandleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            HandleKind::Server => "server",
            HandleKind::Socket => "socket",
            HandleKind::UdpSocket => "udp",
            HandleKind::Stream => "stream",
            HandleKind::Interface => "readline",
            HandleKind::Timer => "timer",
            HandleKind::Immediate => "immediate",
            HandleKind::Idle => "idle",
            HandleKind::Prepare => "prepare",
            HandleKind::Check => "check",
            HandleKind::Channel => "channel",
            HandleKind::Job => "job",
            HandleKind::Mail => "mail",
            HandleKind::Tick => "tick",
            HandleKind::Error => "error",
            HandleKind::Gone => "gone",
        })
    }
}

impl From<&Entry> for HandleKind {
    fn from(entry: &Entry) -> HandleKind {
        match entry {
            Entry::Stream(_) => HandleKind::Socket,
            Entry::Server(_) => HandleKind::Server,
            Entry::Datagram(_) => HandleKind::UdpSocket,
            Entry::Extension(extension) => extension.kind,
        }
    }
}

impl From<WatcherKind> for HandleKind {
    fn from(kind: WatcherKind) -> HandleKind {
        match kind {
            WatcherKind::Idle => HandleKind::Idle,
            WatcherKind::Prepare => HandleKind::Prepare,
            WatcherKind::Check => HandleKind::Check,
        }
    }
}

/// One object that lives in a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandleInfo {
    /// What it is.
    pub kind: HandleKind,
    /// Whether it is active in libuv's sense: listening, reading, waiting, started.
    pub active: bool,
    /// Whether it is referenced. It keeps the loop alive if it is active too.
    pub referenced: bool,
    /// Whether `keep` holds it.
    pub kept: bool,
    /// Where the program made it; for an accepted socket, where it made the server.
    pub origin: &'static Location<'static>,
}

impl fmt::Display for HandleInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let say = |yes, word: &'static str| if yes { word } else { "" };
        write!(
            f,
            "{:?} made at {}{}{}{}",
            self.kind,
            self.origin,
            say(self.active, ", active"),
            say(!self.referenced, ", unreferenced"),
            say(self.kept, ", kept"),
        )
    }
}

impl LoopHandle {
    /// Everything that lives in this loop, whether it keeps it alive or not: libuv's `uv_walk`. What
    /// keeps it alive is told by [`why_alive`](LoopHandle::why_alive).
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = nodeloop::Loop::new()?;
    /// lp.set_timeout_once(5, |_| {});
    /// for handle in lp.handles() {
    ///     println!("{handle}"); // Timer made at src/main.rs:2:4, active
    /// }
    /// # lp.run()
    /// # }
    /// ```
    pub fn handles(self) -> Vec<HandleInfo> {
        self.with(|state| {
            let entries = state.entries.iter().map(|(_, entry)| {
                let common = entry.common();
                HandleInfo {
                    kind: entry.into(),
                    active: common.flags.any(flag::ACTIVE),
                    referenced: common.flags.any(flag::REFERENCED),
                    kept: common.flags.any(flag::KEPT),
                    origin: common.origin,
                }
            });
            let timers = state.timers.iter().map(|timer| HandleInfo {
                kind: HandleKind::Timer,
                active: timer.state == TimerState::Alive,
                referenced: timer.referenced,
                kept: timer.kept,
                origin: timer.origin,
            });
            let immediates = state
                .immediates
                .iter()
                .map(|(referenced, origin)| HandleInfo {
                    kind: HandleKind::Immediate,
                    active: true,
                    referenced,
                    kept: false,
                    origin,
                });
            let watchers = state
                .watchers
                .iter()
                .map(|(kind, active, referenced, origin)| HandleInfo {
                    kind: kind.into(),
                    active,
                    referenced,
                    kept: false,
                    origin,
                });
            let channels = state
                .channels
                .iter()
                .map(|(referenced, origin)| HandleInfo {
                    kind: HandleKind::Channel,
                    active: true,
                    referenced,
                    kept: false,
                    origin,
                });
            let jobs = state.jobs.iter().map(|(_, origin)| HandleInfo {
                kind: HandleKind::Job,
                active: true,
                referenced: true,
                kept: false,
                origin,
            });
            entries
                .chain(timers)
                .chain(immediates)
                .chain(watchers)
                .chain(channels)
                .chain(jobs)
                .collect()
        })
        .unwrap_or_default()
    }
}
