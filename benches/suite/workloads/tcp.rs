//! Connections with small messages, and connections that come and go.

use super::{
    GATHERING, LIMIT, MANY, OURS, at_least, at_most, everyone, gathering, lane, limit, plain,
};
use crate::load::Kind;
use crate::peers::{Mode, Peer};
use crate::workload::{Bound, Figure, Work, Workload};

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
            blocks: false,
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
            blocks: false,
        }),
        lanes: everyone(Mode::Echo),
        limits: vec![at_most(OURS, Figure::ServerTime, LIMIT, 1.05)],
    }
}

/// 16 frames come at once and are answered one by one.
fn many_writes() -> Workload {
    let mut lanes = everyone(Mode::Messages);
    lanes.insert(2, gathering(Mode::Messages));
    let twelve_times = |peer| at_least(OURS, Figure::Rate, peer, 12.0).beside(GATHERING);
    Workload {
        name: "many-writes".into(),
        stands_for: "16 frames of 64 bytes come at once and are answered one by one",
        operation: "16 frames",
        work: Work::Traffic(Kind::PingPong {
            connections: 50,
            size: 16 * 64,
            idle: 0,
            blocks: false,
        }),
        lanes,
        limits: vec![
            twelve_times(LIMIT),
            at_least(OURS, Figure::Rate, GATHERING, 0.95),
            twelve_times("libuv"),
            twelve_times("tokio"),
            twelve_times("node"),
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
            blocks: false,
        }),
        lanes: everyone(Mode::PauseEcho),
        limits: vec![],
    }
}

/// One connection; the server looks for events before it blocks, or does not. So do the clients, or
/// they block.
fn spin(clients_spin: bool) -> Workload {
    const SPINS: &[&str] = &["--spin-us", "50"];
    let limits = match clients_spin {
        true => vec![
            at_least("nodeloop, spinning", Figure::Rate, OURS, 2.0)
                .beside_against("hand-written, spinning", Some(LIMIT.into())),
        ],
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
            blocks: !clients_spin,
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
        blocks: false,
    };
    let beside = Kind::PingPong {
        connections: 10,
        size: 16,
        idle: MANY,
        blocks: false,
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

fn idle_memory() -> Workload {
    Workload {
        name: "idle-memory".into(),
        stands_for: "thousands of connections that do nothing: what they hold",
        operation: "connection",
        work: Work::Idle { connections: MANY },
        lanes: everyone(Mode::Echo),
        limits: vec![
            limit(Figure::BytesPerConnection, Bound::AtMost(286.0)),
            limit(Figure::AcceptGrowth, Bound::AtMost(1.25)),
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
