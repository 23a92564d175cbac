//! What is measured: every workload, who takes part, and where the figures must be.

use crate::load::Kind;
use crate::micro::{self, MILLION, Task};
use crate::peers::{Mode, Peer};
use crate::workload::{Bound, Figure, Lane, Limit, Work, Workload};

const OURS: &str = "nodeloop";
const LIMIT: &str = "hand-written";

/// Every workload, in the order in which they run.
pub fn all() -> Vec<Workload> {
    let mut all = Vec::new();
    for size in [16, 1024] {
        for connections in [1, 50, 1000, MANY] {
            all.push(ping_pong(connections, size));
        }
    }
    all.extend([pipelined(), many_writes(), churn()]);
    all.extend([1, 10, 100, 1000].map(broadcast));
    all.extend([
        pause_storm(),
        spin(true),
        spin(false),
        idle_beside(),
        idle_memory(),
        accept_close(),
    ]);
    for connections in [1, 8] {
        all.push(bulk("in", Mode::Sink, Kind::Sink { connections }, false));
        all.push(bulk(
            "out",
            Mode::Source,
            Kind::Source { connections },
            false,
        ));
        all.push(bulk(
            "echo",
            Mode::Echo,
            Kind::BulkEcho { connections },
            false,
        ));
        all.push(bulk("in", Mode::Sink, Kind::Sink { connections }, true));
        all.push(bulk(
            "echo",
            Mode::Echo,
            Kind::BulkEcho { connections },
            true,
        ));
    }
    all.extend([1, 8].map(file_out));
    all.extend([1, 8].map(proxy_bulk));
    all.push(proxy_small());
    all.extend([1, 32, 256].map(datagrams));
    all.extend(Task::ALL.map(micro));
    all.extend([start_up(), size()]);
    all
}

fn ping_pong(connections: usize, size: usize) -> Workload {
    Workload {
        name: format!("echo-{connections}-{size}"),
        stands_for: "TCP ping-pong: requests that wait for their answer",
        operation: "round trip",
        work: Work::Traffic(Kind::PingPong {
            connections,
            size,
            idle: 0,
            spin: false,
        }),
        lanes: everyone(Mode::Echo),
        limits: vec![
            at_most(OURS, Figure::ServerTime, LIMIT, 1.05),
            at_most(OURS, Figure::ServerTime, "libuv", 1.0),
            at_most(OURS, Figure::ServerTime, "tokio", 1.0),
        ],
    }
}

/// Several messages under way on each connection, echoed as they come.
fn pipelined() -> Workload {
    Workload {
        name: "pipelined".into(),
        stands_for: "16 messages of 64 bytes under way on each of 50 connections, echoed as a stream",
        operation: "16 messages",
        work: Work::Traffic(Kind::PingPong {
            connections: 50,
            size: 16 * 64,
            idle: 0,
            spin: false,
        }),
        lanes: everyone(Mode::Echo),
        limits: vec![at_most(OURS, Figure::ServerTime, LIMIT, 1.05)],
    }
}

/// Reading is paused after each message, and resumed when the turn ends.
fn pause_storm() -> Workload {
    Workload {
        name: "pause-storm".into(),
        stands_for: "a server that pauses after each message, and resumes when the turn ends",
        operation: "round trip",
        work: Work::Traffic(Kind::PingPong {
            connections: 50,
            size: 16,
            idle: 0,
            spin: false,
        }),
        lanes: everyone(Mode::PauseEcho),
        limits: vec![],
    }
}

/// 16 frames come at once and are answered one by one.
fn many_writes() -> Workload {
    let mut lanes = everyone(Mode::Messages);
    lanes.insert(
        2,
        lane(
            "hand-written, gathering",
            Peer::HandWritten,
            Mode::Messages,
            &["--gather"],
        ),
    );
    Workload {
        name: "many-writes".into(),
        stands_for: "16 frames of 64 bytes come at once and are answered one by one",
        operation: "16 frames",
        work: Work::Traffic(Kind::PingPong {
            connections: 50,
            size: 16 * 64,
            idle: 0,
            spin: false,
        }),
        lanes,
        limits: vec![
            at_least(OURS, Figure::Rate, LIMIT, 12.0),
            at_least(OURS, Figure::Rate, "hand-written, gathering", 0.95),
            at_least(OURS, Figure::Rate, "libuv", 12.0),
            at_least(OURS, Figure::Rate, "tokio", 12.0),
            at_least(OURS, Figure::Rate, "node", 12.0),
        ],
    }
}

fn churn() -> Workload {
    Workload {
        name: "churn".into(),
        stands_for: "connect, one byte there and back, reset: clients that come and go",
        operation: "connection",
        work: Work::Traffic(Kind::Churn),
        lanes: everyone(Mode::Echo),
        limits: vec![
            at_most(OURS, Figure::ServerTime, LIMIT, 1.05),
            at_most(OURS, Figure::ServerTime, "libuv", 1.0),
            at_most(OURS, Figure::ServerTime, "tokio", 1.0),
        ],
    }
}

fn broadcast(receivers: usize) -> Workload {
    Workload {
        name: format!("broadcast-{receivers}"),
        stands_for: "a chat: what one says, everyone hears",
        operation: "message heard",
        work: Work::Traffic(Kind::Broadcast {
            receivers,
            size: 64,
        }),
        lanes: everyone(Mode::Broadcast),
        limits: vec![at_most(OURS, Figure::ServerTime, LIMIT, 1.05)],
    }
}

/// One connection; the server looks for events before it blocks, or does not. So do the clients, or
/// they block.
fn spin(clients_spin: bool) -> Workload {
    const SPINS: &[&str] = &["--spin-us", "50"];
    let limits = match clients_spin {
        true => vec![at_least("nodeloop, spinning", Figure::Rate, OURS, 2.0)],
        // The clients' waking is half of the time, so it depends on how deep a core sleeps.
        false => vec![],
    };
    Workload {
        name: if clients_spin { "spin" } else { "spin-alone" }.into(),
        stands_for: match clients_spin {
            true => "one connection between two who never sleep: a core to spare on either side",
            false => "one connection, and a server that never sleeps before clients that do",
        },
        operation: "round trip",
        work: Work::Traffic(Kind::PingPong {
            connections: 1,
            size: 16,
            idle: 0,
            spin: clients_spin,
        }),
        lanes: vec![
            plain(Peer::Nodeloop, Mode::Echo),
            lane("nodeloop, spinning", Peer::Nodeloop, Mode::Echo, SPINS),
            plain(Peer::HandWritten, Mode::Echo),
            lane(
                "hand-written, spinning",
                Peer::HandWritten,
                Mode::Echo,
                SPINS,
            ),
        ],
        limits,
    }
}

/// Ten busy connections, alone and beside 10,000 that do nothing.
fn idle_beside() -> Workload {
    let busy = Kind::PingPong {
        connections: 10,
        size: 16,
        idle: 0,
        spin: false,
    };
    let beside = Kind::PingPong {
        connections: 10,
        size: 16,
        idle: MANY,
        spin: false,
    };
    let lanes = [Peer::Nodeloop, Peer::HandWritten].into_iter();
    Workload {
        name: "idle-beside".into(),
        stands_for: "ten busy connections beside thousands that do nothing",
        operation: "round trip",
        work: Work::Traffic(busy),
        lanes: lanes
            .flat_map(|peer| {
                let alone = plain(peer, Mode::Echo);
                let mut crowded = plain(peer, Mode::Echo);
                crowded.name += ", beside idle ones";
                crowded.load = Some(beside);
                [alone, crowded]
            })
            .collect(),
        limits: vec![at_most(
            "nodeloop, beside idle ones",
            Figure::ServerTime,
            OURS,
            1.05,
        )],
    }
}

/// Connections that are many.
const MANY: usize = 10_000;

fn idle_memory() -> Workload {
    Workload {
        name: "idle-memory".into(),
        stands_for: "thousands of connections that do nothing: what they hold",
        operation: "connection",
        work: Work::Idle { connections: MANY },
        lanes: everyone(Mode::Echo),
        limits: vec![
            Limit {
                lane: OURS,
                figure: Figure::BytesPerConnection,
                against: None,
                bound: Bound::AtMost(286.0),
            },
            Limit {
                lane: OURS,
                figure: Figure::AcceptGrowth,
                against: None,
                bound: Bound::AtMost(1.25),
            },
        ],
    }
}

fn accept_close() -> Workload {
    Workload {
        name: "accept-close".into(),
        stands_for: "clients that are turned away: accept, and close at once",
        operation: "connection",
        work: Work::Traffic(Kind::AcceptClose),
        lanes: everyone(Mode::AcceptClose),
        limits: vec![],
    }
}

/// Much data, with a read buffer of 64 KiB or of 256 KiB.
fn bulk(name: &str, mode: Mode, kind: Kind, large_chunk: bool) -> Workload {
    let mut lanes = everyone(mode);
    if large_chunk {
        // Node's chunk cannot be chosen.
        lanes.retain(|lane| lane.peer != Peer::Node);
    }
    for lane in lanes.iter_mut().filter(|lane| lane.peer != Peer::Node) {
        lane.options = match large_chunk {
            true => &["--chunk", "262144"],
            false => &["--chunk", "65536"],
        };
    }
    let suffix = if large_chunk { "-256k" } else { "" };
    Workload {
        name: format!("bulk-{name}-{}{suffix}", kind.connections()),
        stands_for: match large_chunk {
            true => "much data, 256 KiB at a time",
            false => "much data",
        },
        operation: "MiB",
        work: Work::Traffic(kind),
        lanes,
        limits: vec![at_most(OURS, Figure::ServerTime, LIMIT, 1.05)],
    }
}

/// A file to each of some clients.
fn file_out(connections: usize) -> Workload {
    let kind = Kind::Files {
        connections,
        mib: 64,
    };
    Workload {
        name: format!("file-out-{connections}"),
        stands_for: "a file of 64 MiB to each client; by hand a loop of read and write",
        operation: "MiB",
        work: Work::Traffic(kind),
        lanes: everyone(Mode::File),
        limits: vec![
            at_most(OURS, Figure::ServerTime, LIMIT, 1.0),
            at_least(OURS, Figure::Rate, "node", 3.0),
        ],
    }
}

fn proxy_bulk(connections: usize) -> Workload {
    let mut lanes = but_libuv(Mode::Proxy);
    for lane in lanes.iter_mut().filter(|lane| lane.peer != Peer::Node) {
        lane.options = &["--chunk", "65536"];
    }
    Workload {
        name: format!("proxy-bulk-{connections}"),
        stands_for: "much data through a proxy; by hand without splice",
        operation: "MiB",
        work: Work::Traffic(Kind::ProxyBulk { connections }),
        lanes,
        limits: vec![at_most(OURS, Figure::ServerTime, LIMIT, 0.7)],
    }
}

fn proxy_small() -> Workload {
    let kind = Kind::ProxyPingPong {
        connections: 50,
        size: 64,
    };
    Workload {
        name: "proxy-small".into(),
        stands_for: "small messages through a proxy, and their answers",
        operation: "round trip",
        work: Work::Traffic(kind),
        lanes: but_libuv(Mode::Proxy),
        limits: vec![at_most(OURS, Figure::ServerTime, LIMIT, 1.03)],
    }
}

/// Datagrams; `benches/udp.rs` has more of them.
fn datagrams(in_flight: usize) -> Workload {
    let limits = match in_flight {
        1 => vec![at_most(OURS, Figure::ServerTime, LIMIT, 1.05)],
        32 => vec![at_most(OURS, Figure::ServerTime, LIMIT, 0.8)],
        _ => vec![],
    };
    Workload {
        name: format!("udp-echo-{in_flight}"),
        stands_for: "UDP ping-pong, 64 bytes; by hand one datagram per system call",
        operation: "round trip",
        work: Work::Traffic(Kind::Datagrams {
            in_flight,
            size: 64,
        }),
        lanes: everyone(Mode::UdpEcho),
        limits,
    }
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
            ns_at_most(25.0),
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
        limits: vec![Limit {
            lane: OURS,
            figure: Figure::Bytes,
            against: None,
            bound: Bound::AtMost(1.5 * 1024.0 * 1024.0),
        }],
    }
}

fn ns_at_most(limit: f64) -> Limit {
    Limit {
        lane: OURS,
        figure: Figure::ServerTime,
        against: None,
        bound: Bound::AtMost(limit),
    }
}

fn everyone(mode: Mode) -> Vec<Lane> {
    let peers = Peer::ALL.into_iter();
    peers.map(|peer| plain(peer, mode)).collect()
}

fn but_libuv(mode: Mode) -> Vec<Lane> {
    let mut lanes = everyone(mode);
    lanes.retain(|lane| lane.peer != Peer::Libuv);
    lanes
}

fn plain(peer: Peer, mode: Mode) -> Lane {
    lane(peer.name(), peer, mode, &[])
}

fn lane(name: &str, peer: Peer, mode: Mode, options: &'static [&'static str]) -> Lane {
    Lane {
        name: name.into(),
        peer,
        mode,
        options,
        load: None,
    }
}

fn at_most(lane: &'static str, figure: Figure, against: &'static str, times: f64) -> Limit {
    Limit {
        lane,
        figure,
        against: Some(against),
        bound: Bound::AtMost(times),
    }
}

fn at_least(lane: &'static str, figure: Figure, against: &'static str, times: f64) -> Limit {
    Limit {
        lane,
        figure,
        against: Some(against),
        bound: Bound::AtLeast(times),
    }
}
