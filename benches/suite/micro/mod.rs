//! What a loop does without sockets: timers, ticks, immediates, empty turns.
//!
//! Each measurement is a process of its own, which does a tenth of it to warm up and then all of it,
//! and prints the processor time that one operation has taken, in ns.

mod bare;
mod ours;
mod with_tokio;

use std::io;
use std::process::Command;
use std::time::Duration;

use nix::time::ClockId;

use crate::build;
use crate::machine::Cores;
use crate::peers::Peer;

/// The first argument of this program when it is to measure itself.
pub const MICRO: &str = "--micro";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Start timers, their durations out of so many different ones.
    TimerStart { durations: u32 },
    /// Clear timers of one duration in the order in which they were started.
    TimerCancelInOrder,
    /// Clear them in any order, their durations out of so many.
    TimerCancelAtRandom { durations: u32 },
    /// Start timers anew that run already.
    TimerRearm,
    /// Call timers that are all due.
    TimerFire,
    /// Queue ticks, a thousand at a time, and call them.
    Tick,
    /// Queue immediates, a thousand in each turn, and call them.
    Immediate,
    /// Turn the loop when there is nothing to do but to turn.
    Turn,
    /// Messages from another thread, as fast as it sends them; of both threads.
    PostFlood,
    /// A message from another thread, which waits for the answer; of both threads.
    PostPing,
}

impl Task {
    pub const ALL: [Task; 13] = [
        Task::TimerStart { durations: 1 },
        Task::TimerStart { durations: 50 },
        Task::TimerStart { durations: MILLION },
        Task::TimerCancelInOrder,
        Task::TimerCancelAtRandom { durations: 1 },
        Task::TimerCancelAtRandom { durations: MILLION },
        Task::TimerRearm,
        Task::TimerFire,
        Task::Tick,
        Task::Immediate,
        Task::Turn,
        Task::PostFlood,
        Task::PostPing,
    ];

    pub fn name(self) -> String {
        match self {
            Task::TimerStart { durations } => format!("timer-start-{durations}"),
            Task::TimerCancelInOrder => "timer-cancel-in-order".into(),
            Task::TimerCancelAtRandom { durations } => format!("timer-cancel-random-{durations}"),
            Task::TimerRearm => "timer-rearm".into(),
            Task::TimerFire => "timer-fire".into(),
            Task::Tick => "tick".into(),
            Task::Immediate => "immediate".into(),
            Task::Turn => "turn".into(),
            Task::PostFlood => "post-flood".into(),
            Task::PostPing => "post-ping".into(),
        }
    }

    /// Of how many operations one is done: those that wake somebody up take much longer.
    fn done_of(self) -> u32 {
        match self {
            Task::PostPing => 100,
            _ => 1,
        }
    }

    fn named(name: &str) -> Option<Task> {
        Task::ALL.into_iter().find(|task| task.name() == name)
    }
}

/// Timers, ticks, turns.
pub const MILLION: u32 = 1_000_000;

/// What part of the operations warms up.
const WARM_UP: u32 = 10;

/// Timers that run at a time where they are started anew.
const RUNNING: u32 = 10_000;

/// What is queued at a time.
const BATCH: u32 = 1000;

/// Timers that are not to fire have at least this duration, in ms.
const LONG_MS: u64 = 10_000_000;

/// Whether a peer can do this at all.
pub fn takes_part(peer: Peer, task: Task) -> bool {
    match (peer, task) {
        // A hand-written loop has a wait, a list of messages, and no timers of which there would be one best
        // way.
        (Peer::HandWritten, task) => {
            matches!(task, Task::Turn | Task::PostFlood | Task::PostPing)
        }
        // libuv has a bare signal, and leaves it to the program what it means.
        (Peer::Libuv, Task::Tick | Task::Immediate | Task::PostFlood | Task::PostPing) => false,
        // What would be a turn is not to be had from outside.
        (Peer::Tokio, Task::Turn) => false,
        _ => true,
    }
}

/// Measures in a process of its own: ns per operation.
pub fn measure(peer: Peer, task: Task, operations: u32, cores: &Cores) -> io::Result<f64> {
    let mut command = match peer {
        Peer::Nodeloop | Peer::HandWritten | Peer::Tokio => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args([MICRO, peer.name()]);
            command
        }
        Peer::Libuv => Command::new(build::libuv_micro().map_err(io::Error::other)?),
        Peer::Node => {
            let mut command = Command::new(build::node().map_err(io::Error::other)?);
            command.arg(build::source("peers/node_micro.mjs"));
            command
        }
    };
    command.args([task.name(), operations.to_string()]);
    match task {
        // The other thread has a core of its own.
        Task::PostFlood | Task::PostPing => cores.be_both()?,
        _ => cores.be_a_server()?,
    }
    let output = command.output();
    cores.be_the_load()?;
    let output = output?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim().parse().map_err(|_| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!("it said {said:?} {complaint}"))
    })
}

/// The other side: `--micro PEER TASK OPERATIONS`.
pub fn serve(arguments: &[String]) -> io::Result<()> {
    let refused = || io::Error::other(format!("not to be measured: {arguments:?}"));
    let [peer, task, operations] = arguments else {
        return Err(refused());
    };
    let peer = Peer::named(peer).ok_or_else(refused)?;
    let task = Task::named(task).ok_or_else(refused)?;
    let operations: u32 = operations.parse().map_err(io::Error::other)?;
    let operations = (operations / task.done_of()).max(WARM_UP);
    let once = |operations: u32| match peer {
        Peer::Nodeloop => ours::run(task, operations),
        Peer::HandWritten => bare::run(task, operations),
        Peer::Tokio => with_tokio::run(task, operations),
        _ => Err(refused()),
    };
    once(operations / WARM_UP)?;
    let took = once(operations)?;
    println!("{}", took.as_nanos() as f64 / f64::from(operations));
    Ok(())
}

/// The processor time that this process has used.
fn time() -> io::Result<Duration> {
    Ok(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?.into())
}

/// Numbers that look like chance and are the same every time.
struct Chance(u64);

impl Chance {
    fn new() -> Chance {
        Chance(0x9e37_79b9_7f4a_7c15)
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * u64::from(limit)) >> 32) as u32
    }

    /// Fisher and Yates.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

/// Durations in ms for so many timers, out of so many different ones.
fn durations(timers: u32, different: u32) -> Vec<u64> {
    let mut chance = Chance::new();
    let all = 0..timers;
    all.map(|_| LONG_MS + u64::from(chance.below(different)))
        .collect()
}
