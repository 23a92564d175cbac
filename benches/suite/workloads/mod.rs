//! What is measured: every workload, who takes part, and where the figures must be.

mod bulk;
mod loops;
mod tcp;
mod udp;

use crate::peers::{Mode, Peer};
use crate::workload::{Bound, Figure, Lane, Limit, Workload};

const OURS: &str = "nodeloop";
const LIMIT: &str = "hand-written";

/// The hand-written loop that has several messages leave with one call.
const GATHERING: &str = "hand-written, gathering";

/// Connections that are many.
const MANY: usize = 10_000;

/// Every workload, in the order in which they run.
pub fn all() -> Vec<Workload> {
    [tcp::all(), bulk::all(), udp::all(), loops::all()].concat()
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

fn gathering(mode: Mode) -> Lane {
    lane(GATHERING, Peer::HandWritten, mode, &["--gather"])
}

fn at_most(lane: &str, figure: Figure, against: &str, times: f64) -> Limit {
    Limit {
        lane: lane.into(),
        figure,
        against: Some(against.into()),
        bound: Bound::AtMost(times),
        by_hand: None,
    }
}

fn at_least(lane: &str, figure: Figure, against: &str, times: f64) -> Limit {
    Limit {
        lane: lane.into(),
        figure,
        against: Some(against.into()),
        bound: Bound::AtLeast(times),
        by_hand: None,
    }
}

/// A limit of a figure itself.
fn limit(figure: Figure, bound: Bound) -> Limit {
    Limit {
        lane: OURS.into(),
        figure,
        against: None,
        bound,
        by_hand: None,
    }
}
