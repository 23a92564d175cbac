//! Datagrams.

use super::{GATHERING, LIMIT, OURS, at_most, everyone, gathering, plain};
use crate::load::Kind;
use crate::peers::datagrams_gathering::train_of;
use crate::peers::{Mode, Peer};
use crate::workload::{Figure, Limit, Work, Workload};

/// The sizes of datagrams.
const SMALL: usize = 64;
const LARGE: usize = 1200;

pub fn all() -> Vec<Workload> {
    let mut all = Vec::new();
    for size in [SMALL, LARGE] {
        all.extend([1, 32, 256].map(|in_flight| echo(in_flight, size)));
        all.push(echo_of_runs(size));
    }
    for size in [SMALL, LARGE] {
        all.extend([flood(size), flood_in_runs(size)]);
        all.extend([false, true].map(|offload| bursts(size, offload)));
    }
    all
}

fn echo(in_flight: usize, size: usize) -> Workload {
    let limits = match in_flight {
        1 => vec![at_most(OURS, Figure::ServerTime, LIMIT, 1.05)],
        32 => vec![many_at_once(0.8)],
        _ => vec![],
    };
    let mut workload = datagrams(
        format!("udp-echo-{in_flight}-{size}"),
        "UDP ping-pong; by hand one datagram per system call",
        Mode::UdpEcho,
        Kind::Datagrams { in_flight, size },
        limits,
    );
    if size == SMALL {
        let others = everyone(Mode::UdpEcho).into_iter();
        let others =
            others.filter(|lane| ![Peer::Nodeloop, Peer::HandWritten].contains(&lane.peer));
        workload.lanes.extend(others);
        workload.operation = "round trip";
    }
    workload
}

fn echo_of_runs(size: usize) -> Workload {
    datagrams(
        format!("udp-echo-runs-{size}"),
        "32 datagrams that a client sends with one call, and their echo",
        Mode::UdpEcho,
        Kind::DatagramRuns {
            in_flight: 32,
            size,
        },
        vec![],
    )
}

fn flood(size: usize) -> Workload {
    datagrams(
        format!("udp-flood-{size}"),
        "datagrams in one direction, each sent by itself",
        Mode::UdpSink,
        Kind::Flood { size, run: 1 },
        vec![],
    )
}

fn flood_in_runs(size: usize) -> Workload {
    let run = train_of(size);
    datagrams(
        format!("udp-flood-runs-{size}"),
        "datagrams in one direction from a sender with offload",
        Mode::UdpSink,
        Kind::Flood { size, run },
        vec![many_at_once(0.15)],
    )
}

fn bursts(size: usize, offload: bool) -> Workload {
    let (kind, stands_for) = match offload {
        false => (
            "udp-bursts",
            "256 datagrams of one size to one peer for each request",
        ),
        true => (
            "udp-bursts-offload",
            "the same to a peer with offload, whose system does not take trains apart",
        ),
    };
    datagrams(
        format!("{kind}-{size}"),
        stands_for,
        Mode::UdpBurst,
        Kind::Bursts { size, offload },
        vec![many_at_once(0.25)],
    )
}

/// A limit that wants several datagrams per call. What that comes to by hand stands beside it.
fn many_at_once(times: f64) -> Limit {
    at_most(OURS, Figure::ServerTime, LIMIT, times).beside(GATHERING)
}

/// This crate beside the hand-written loop.
fn datagrams(
    name: String,
    stands_for: &'static str,
    mode: Mode,
    kind: Kind,
    limits: Vec<Limit>,
) -> Workload {
    let mut lanes = vec![plain(Peer::Nodeloop, mode), plain(Peer::HandWritten, mode)];
    if limits.iter().any(|limit| limit.by_hand.is_some()) {
        lanes.push(gathering(mode));
    }
    Workload {
        name,
        stands_for,
        operation: "datagram",
        work: Work::Traffic(kind),
        lanes,
        limits,
    }
}
