//! What a loop does without sockets, and programs as they are.

use super::{LIMIT, OURS, at_most, everyone, limit, plain};
use crate::micro::{self, MILLION, Task};
use crate::peers::{Mode, Peer};
use crate::workload::{Bound, Figure, Limit, Work, Workload};

pub fn all() -> Vec<Workload> {
    let mut all: Vec<Workload> = Task::ALL.map(micro).into();
    all.extend([start_up(), size()]);
    all
}

/// A loop without sockets.
fn micro(task: Task) -> Workload {
    let (stands_for, operation) = match task {
        Task::TimerStart { durations: 1 } => ("start a million timers of one duration", "start"),
        Task::TimerStart { durations: 50 } => ("start a million timers of 50 durations", "start"),
        Task::TimerStart { .. } => ("start a million timers of a million durations", "start"),
        Task::TimerCancelInOrder => (
            "clear a million timers in the order of their start",
            "clear",
        ),
        Task::TimerCancelAtRandom { durations: 1 } => (
            "clear a million timers of one duration in any order",
            "clear",
        ),
        Task::TimerCancelAtRandom { .. } => (
            "clear a million timers of a million durations in any order",
            "clear",
        ),
        Task::TimerRearm => ("an idle timeout that each message starts anew", "restart"),
        Task::TimerFire => ("a million timers are due", "call"),
        Task::Tick => (
            "next ticks, a thousand at a time; of tokio a local task",
            "tick",
        ),
        Task::Immediate => (
            "immediates, a thousand per turn; of tokio a local task",
            "immediate",
        ),
        Task::Turn => ("an empty turn; by hand a wait that does not block", "turn"),
        Task::PostFlood => (
            "messages from another thread as fast as it sends; CPU of both",
            "message",
        ),
        Task::PostPing => (
            "a message from another thread, and the answer; CPU of both",
            "message",
        ),
    };
    let times_node = |times: f64| at_most(OURS, Figure::ServerTime, "node", 1.0 / times);
    let limits = match task {
        Task::TimerStart { durations: MILLION } => vec![ns_at_most(260.0), times_node(2.0)],
        Task::TimerStart { .. } => vec![ns_at_most(75.0), times_node(2.0)],
        Task::TimerCancelInOrder => vec![ns_at_most(10.0), times_node(2.0)],
        Task::TimerCancelAtRandom { .. } => vec![ns_at_most(120.0), times_node(2.0)],
        Task::TimerRearm => vec![ns_at_most(50.0), times_node(2.0)],
        Task::TimerFire => vec![ns_at_most(60.0), times_node(2.0)],
        Task::Tick | Task::Immediate => vec![
            ns_at_most(if task == Task::Tick { 20.0 } else { 40.0 }),
            times_node(3.0),
            at_most(OURS, Figure::ServerTime, "tokio", 1.0 / 5.0),
        ],
        Task::Turn => vec![
            at_most(OURS, Figure::ServerTime, LIMIT, 1.35),
            at_most(OURS, Figure::ServerTime, "libuv", 1.0),
        ],
        Task::PostFlood => vec![
            ns_at_most(25.0).beside(LIMIT),
            at_most(OURS, Figure::ServerTime, "tokio", 1.0 / 4.0),
        ],
        Task::PostPing => vec![],
    };
    let peers = Peer::ALL.into_iter();
    Workload {
        name: task.name(),
        stands_for,
        operation,
        work: Work::Micro(task),
        lanes: peers
            .filter(|&peer| micro::takes_part(peer, task))
            .map(|peer| plain(peer, Mode::Echo))
            .collect(),
        limits,
    }
}

fn start_up() -> Workload {
    Workload {
        name: "start-up".into(),
        stands_for: "from the start of the process until it listens",
        operation: "start",
        work: Work::StartUp,
        lanes: everyone(Mode::Echo),
        limits: vec![ns_at_most(5e6)],
    }
}

fn size() -> Workload {
    Workload {
        name: "size".into(),
        stands_for: "the echo example, without symbols",
        operation: "program",
        work: Work::Size,
        lanes: vec![plain(Peer::Nodeloop, Mode::Echo)],
        limits: vec![limit(Figure::Bytes, Bound::AtMost(1.5 * 1024.0 * 1024.0))],
    }
}

fn ns_at_most(nanos: f64) -> Limit {
    limit(Figure::ServerTime, Bound::AtMost(nanos))
}
