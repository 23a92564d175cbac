//! What a workload is made of.

use crate::load::Kind;
use crate::micro;
use crate::peers::{Mode, Peer};

/// One thing that servers do, and what it stands for.
#[derive(Debug, Clone)]
pub struct Workload {
    pub name: String,
    pub stands_for: &'static str,
    /// What is counted: the name of one operation.
    pub operation: &'static str,
    pub work: Work,
    pub lanes: Vec<Lane>,
    pub limits: Vec<Limit>,
}

/// Rounds from one of a lane that needs fewer to its next.
const SELDOM: usize = 3;

/// Rounds that every lane has.
const LEAST_ROUNDS: usize = 5;

impl Workload {
    /// A lane takes part in one of so many rounds: in all of them where a limit is about it, but for
    /// Node, which is far from any limit.
    pub fn takes_part_every(&self, lane: &Lane, rounds: usize) -> usize {
        let own = [Peer::Nodeloop, Peer::HandWritten].contains(&lane.peer);
        let seldom = !own && (lane.peer == Peer::Node || !self.is_judged(lane));
        match seldom && rounds >= SELDOM * LEAST_ROUNDS {
            true => SELDOM,
            false => 1,
        }
    }

    /// Whether a limit is about it.
    pub fn is_judged(&self, lane: &Lane) -> bool {
        let mut limits = self.limits.iter();
        limits.any(|limit| limit.lane == lane.name || limit.against.as_ref() == Some(&lane.name))
    }

    /// The same with but the limits that are about these peers: about others nothing was asked.
    pub fn with_limits_of(mut self, asked_for: impl Fn(Peer) -> bool) -> Workload {
        let lanes = &self.lanes;
        let is_asked_for = |name: &String| {
            let lane = lanes.iter().find(|lane| lane.name == *name);
            lane.is_some_and(|lane| asked_for(lane.peer))
        };
        let all_are = |limit: &Limit| {
            let mut names = limit.against.iter().chain([&limit.lane]);
            names.all(is_asked_for)
        };
        self.limits.retain(all_are);
        self
    }

    /// The same with each lane twice, which tells how far apart two are that are the same.
    pub fn against_itself(mut self) -> Workload {
        let lanes = std::mem::take(&mut self.lanes);
        self.limits.clear();
        for lane in lanes {
            let mut again = lane.clone();
            again.name += ", again";
            self.limits.extend(
                [Bound::AtLeast(0.98), Bound::AtMost(1.02)].map(|bound| Limit {
                    lane: again.name.clone(),
                    figure: Figure::ServerTime,
                    against: Some(lane.name.clone()),
                    bound,
                    by_hand: None,
                }),
            );
            self.lanes.extend([lane, again]);
        }
        self
    }
}

/// How it is measured.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// Rounds of a load, one lane after the other.
    Traffic(Kind),
    /// Many idle connections: what they cost, each of them.
    Idle { connections: usize },
    /// A loop without sockets, each time in a process of its own.
    Micro(micro::Task),
    /// From the start of the process until it listens.
    StartUp,
    /// The echo example without symbols.
    Size,
}

/// One who takes part in a workload.
#[derive(Debug, Clone)]
pub struct Lane {
    /// The peer's name, and how it differs from other lanes of the same peer.
    pub name: String,
    pub peer: Peer,
    pub mode: Mode,
    pub options: &'static [&'static str],
    /// Another load than the others have.
    pub load: Option<Kind>,
}

/// A figure of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Figure {
    /// CPU time of the server, or of the loop, per operation, ns.
    ServerTime,
    /// Operations per second.
    Rate,
    /// Operations per second of the processor time that the busier of server and load generator
    /// used: what the rate comes to where both have a core to themselves. Other work on the machine
    /// does not disturb it.
    RateByTime,
    /// Resident bytes per idle connection.
    BytesPerConnection,
    /// Bytes of a program.
    Bytes,
    /// Operations that were lost on the way, %.
    Loss,
    /// CPU time of accepting one of the last connections, by that of one of the second tenth: the first warms up.
    AcceptGrowth,
}

impl Figure {
    pub fn name(self) -> &'static str {
        match self {
            Figure::ServerTime => "CPU time",
            Figure::Rate => "rate",
            Figure::RateByTime => "rate by CPU time",
            Figure::BytesPerConnection => "bytes per idle connection",
            Figure::Bytes => "size in bytes",
            Figure::Loss => "loss in %",
            Figure::AcceptGrowth => "accepting the last thousand against the second",
        }
    }
}

/// Where a figure of a lane must be.
#[derive(Debug, Clone)]
pub struct Limit {
    pub lane: String,
    pub figure: Figure,
    /// The lane that it is divided by, round by round; none if the figure itself is meant.
    pub against: Option<String>,
    pub bound: Bound,
    /// What is told beside it: what a loop by hand comes to that goes about it in the same way.
    pub by_hand: Option<ByHand>,
}

/// A lane of the hand-written loop, and the lane that it is divided by.
#[derive(Debug, Clone)]
pub struct ByHand {
    pub lane: String,
    pub against: Option<String>,
}

impl Limit {
    /// Has another lane's figure told beside it, divided by the same one's.
    pub fn beside(self, lane: &str) -> Limit {
        let against = self.against.clone();
        self.beside_against(lane, against)
    }

    /// Has another lane's figure told beside it, by that of `against`.
    pub fn beside_against(mut self, lane: &str, against: Option<String>) -> Limit {
        let lane = lane.into();
        self.by_hand = Some(ByHand { lane, against });
        self
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    pub fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtMost(limit) => value <= limit,
            Bound::AtLeast(limit) => value >= limit,
        }
    }
}
