//! Datagrams.

use super::{LIMIT, OURS, at_most, everyone, plain};
use crate::load::Kind;
use crate::peers::{Mode, Peer};
use crate::workload::{Figure, Limit, Work, Workload};

/// The sizes of datagrams.
const SMALL: usize = 64;
const LARGE: usize = 1200;

/// Datagrams that leave with one call of a sender with offload: as many as the system cuts, and as fit
/// into its largest piece.
fn run_of(size: usize) -> usize {
    (65_000 / size).min(64)
}

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
        32 => vec![at_most(OURS, Figure::ServerTime, LIMIT, 0.8)],
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
        workload.lanes = everyone(Mode::UdpEcho);
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
    let run = run_of(size);
    datagrams(
        format!("udp-flood-runs-{size}"),
        "datagrams in one direction from a sender with offload",
        Mode::UdpSink,
        Kind::Flood { size, run },
        vec![at_most(OURS, Figure::ServerTime, LIMIT, 0.15)],
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
        vec![at_most(OURS, Figure::ServerTime, LIMIT, 0.25)],
    )
}

/// This crate beside the hand-written loop.
fn datagrams(
    name: String,
    stands_for: &'static str,
    mode: Mode,
    kind: Kind,
    limits: Vec<Limit>,
) -> Workload {
    Workload {
        name,
        stands_for,
        operation: "datagram",
        work: Work::Traffic(kind),
        lanes: [Peer::Nodeloop, Peer::HandWritten]
            .map(|peer| plain(peer, mode))
            .into(),
        limits,
    }
}
