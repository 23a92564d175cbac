//! What came out: the figures of each lane, and how they stand to the limits.

use std::collections::BTreeMap;

use crate::statistics::{Spread, grouped};
use crate::workload::{Bound, Figure, Limit, Workload};

/// A workload with its figures.
pub struct Outcome {
    pub workload: Workload,
    pub lanes: Vec<LaneOutcome>,
    pub verdicts: Vec<Verdict>,
    /// What was scaled down, left out or failed.
    pub remarks: Vec<String>,
}

/// The figures of a lane, one value for each round.
pub struct LaneOutcome {
    pub name: String,
    pub figures: BTreeMap<Figure, Vec<f64>>,
    /// Latencies in µs within which 50, 99 and 99.9 % of the operations were done.
    pub percentiles_us: Option<[f64; 3]>,
    /// System calls per operation by kind, where the server counts them.
    pub calls: Vec<(String, f64)>,
}

/// A figure beside its limit.
pub struct Verdict {
    pub limit: Limit,
    pub value: Spread,
    /// Of a rate: the same by CPU time, which other work on the machine does not disturb.
    pub by_time: Option<Spread>,
    pub holds: bool,
}

impl LaneOutcome {
    pub fn new(name: &str) -> LaneOutcome {
        LaneOutcome {
            name: name.to_string(),
            figures: BTreeMap::new(),
            percentiles_us: None,
            calls: Vec::new(),
        }
    }

    pub fn add(&mut self, figure: Figure, value: f64) {
        self.figures.entry(figure).or_default().push(value);
    }

    pub fn spread(&self, figure: Figure) -> Option<Spread> {
        Spread::of(self.figures.get(&figure)?)
    }
}

impl Outcome {
    pub fn of(workload: &Workload, lanes: Vec<LaneOutcome>, remarks: Vec<String>) -> Outcome {
        let mut outcome = Outcome {
            workload: workload.clone(),
            lanes,
            verdicts: Vec::new(),
            remarks,
        };
        outcome.judge();
        outcome
    }

    /// A lane's figure by another's, round by round.
    pub fn ratio(&self, figure: Figure, lane: &str, against: &str) -> Option<Spread> {
        let values = |name: &str| {
            let lane = self.lanes.iter().find(|lane| lane.name == name)?;
            lane.figures.get(&figure)
        };
        let (ours, theirs) = (values(lane)?, values(against)?);
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
        Spread::of(&ratios)
    }

    fn judge(&mut self) {
        for limit in self.workload.limits.clone() {
            let value = match limit.against {
                Some(against) => self.ratio(limit.figure, limit.lane, against),
                None => self
                    .lanes
                    .iter()
                    .find(|lane| lane.name == limit.lane)
                    .and_then(|lane| lane.spread(limit.figure)),
            };
            // A peer that is missing was named.
            if let Some(value) = value {
                let holds = limit.bound.holds(value.median);
                let by_time = match (limit.figure, limit.against) {
                    (Figure::Rate, Some(against)) => {
                        self.ratio(Figure::RateByTime, limit.lane, against)
                    }
                    _ => None,
                };
                self.verdicts.push(Verdict {
                    limit,
                    value,
                    by_time,
                    holds,
                });
            }
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Limit {
            lane,
            figure,
            against,
            bound,
        } = &self.limit;
        let holds = if self.holds { "holds" } else { "MISSED" };
        write!(f, "{holds}: {} of {lane}", figure.name())?;
        if let Some(against) = against {
            write!(f, " by that of {against}")?;
        }
        write!(f, " is {}, ", self.value)?;
        if let Some(by_time) = self.by_time {
            write!(f, "by CPU time {by_time}, ")?;
        }
        match bound {
            Bound::AtMost(limit) => write!(f, "may be {} at most", plain(*limit)),
            Bound::AtLeast(limit) => write!(f, "must be {} at least", plain(*limit)),
        }
    }
}

/// A limit without digits that say nothing.
fn plain(limit: f64) -> String {
    match limit.fract() == 0.0 {
        true => grouped(limit),
        false => format!("{limit:.2}"),
    }
}
