//! What came out: the figures of each lane, and how they stand to the limits.

use std::collections::BTreeMap;

use crate::statistics::{Spread, grouped};
use crate::workload::{Bound, Figure, Limit, Workload};

/// A workload with its figures.
pub struct Outcome {
    pub workload: Workload,
    pub lanes: Vec<LaneOutcome>,
    pub verdicts: Vec<Verdict>,
    /// Limits on which there is no verdict: a lane has failed, or its peer is missing.
    pub unjudged: Vec<Limit>,
    /// What was scaled down, left out or failed.
    pub remarks: Vec<String>,
}

/// The figures of a lane, one value for each round that it took part in, behind the round's number.
pub struct LaneOutcome {
    pub name: String,
    figures: BTreeMap<Figure, Vec<(usize, f64)>>,
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
    /// What a loop by hand has come to that goes about it in the same way.
    pub by_hand: Option<Spread>,
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

    pub fn add(&mut self, figure: Figure, round: usize, value: f64) {
        let values = self.figures.entry(figure).or_default();
        values.push((round, value));
    }

    /// A figure by another lane's, in each round in which both took part.
    pub fn ratio(&self, figure: Figure, against: &LaneOutcome) -> Option<Spread> {
        let (ours, theirs) = (self.figures.get(&figure)?, against.figures.get(&figure)?);
        let ratios = ours.iter().filter_map(|(round, ours)| {
            let at = theirs.binary_search_by_key(round, |(round, _)| *round);
            Some(ours / theirs[at.ok()?].1)
        });
        Spread::of(&ratios.collect::<Vec<_>>())
    }

    /// The mean of all rounds, where a median would hide what happens seldom.
    pub fn mean(&self, figure: Figure) -> Option<f64> {
        let values = self.figures.get(&figure).filter(|it| !it.is_empty())?;
        let sum: f64 = values.iter().map(|(_, value)| value).sum();
        Some(sum / values.len() as f64)
    }

    pub fn spread(&self, figure: Figure) -> Option<Spread> {
        let values = self.figures.get(&figure)?.iter();
        Spread::of(&values.map(|(_, value)| *value).collect::<Vec<_>>())
    }
}

impl Limit {
    /// Whether the rounds so far leave it open on which side of it the ratio lies. `lane` finds what a lane has
    /// come to.
    pub fn is_open<'a>(&self, lane: impl Fn(&str) -> Option<&'a LaneOutcome>) -> bool {
        /// Standard errors between a ratio and its limit that tell.
        const TELLING: f64 = 2.0;
        let against = self.against.as_deref().and_then(&lane);
        let ratio = lane(&self.lane)
            .zip(against)
            .and_then(|(ours, theirs)| ours.ratio(self.figure, theirs));
        let (Bound::AtMost(limit) | Bound::AtLeast(limit)) = self.bound;
        ratio.is_some_and(|ratio| (ratio.median - limit).abs() < TELLING * ratio.error())
    }
}

impl Outcome {
    pub fn of(workload: &Workload, lanes: Vec<LaneOutcome>, remarks: Vec<String>) -> Outcome {
        let mut outcome = Outcome {
            workload: workload.clone(),
            lanes,
            verdicts: Vec::new(),
            unjudged: Vec::new(),
            remarks,
        };
        outcome.judge();
        outcome
    }

    /// A lane's figure by another's, in each round in which both took part.
    pub fn ratio(&self, figure: Figure, lane: &str, against: &str) -> Option<Spread> {
        let named = |name: &str| self.lanes.iter().find(|lane| lane.name == name);
        named(lane)?.ratio(figure, named(against)?)
    }

    /// A lane's figure, by another's where there is one.
    fn figure(&self, figure: Figure, lane: &str, against: Option<&str>) -> Option<Spread> {
        match against {
            Some(against) => self.ratio(figure, lane, against),
            None => {
                let lane = self.lanes.iter().find(|it| it.name == lane);
                lane?.spread(figure)
            }
        }
    }

    fn judge(&mut self) {
        for limit in self.workload.limits.clone() {
            let figure = |lane, against: &Option<String>| {
                self.figure(limit.figure, lane, against.as_deref())
            };
            let value = figure(&limit.lane, &limit.against);
            let by_hand = limit.by_hand.as_ref();
            let by_hand = by_hand.and_then(|it| figure(&it.lane, &it.against));
            let Some(value) = value else {
                self.unjudged.push(limit);
                continue;
            };
            let holds = limit.bound.holds(value.median);
            let by_time = match (limit.figure, &limit.against) {
                (Figure::Rate, Some(against)) => {
                    self.ratio(Figure::RateByTime, &limit.lane, against)
                }
                _ => None,
            };
            self.verdicts.push(Verdict {
                limit,
                value,
                by_time,
                by_hand,
                holds,
            });
        }
    }
}

impl Limit {
    /// What must be, for a table.
    pub fn must_be(&self) -> String {
        let (sign, value) = match self.bound {
            Bound::AtMost(value) => ('≤', value),
            Bound::AtLeast(value) => ('≥', value),
        };
        let whose = match self.lane.strip_prefix("nodeloop") {
            Some("") => "",
            _ => &self.lane,
        };
        let what = format!("{} {whose}", self.figure.name());
        let unit = match (self.figure, &self.against) {
            (_, Some(against)) => {
                return format!("{} {sign} {} × {against}", what.trim(), plain(value));
            }
            // As the figure beside it.
            (Figure::ServerTime, None) if value >= 1e6 => {
                return format!("{} {sign} {} ns", what.trim(), grouped(value));
            }
            (Figure::ServerTime, None) => " ns",
            _ => "",
        };
        format!("{} {sign} {}{unit}", what.trim(), plain(value))
    }
}

impl Verdict {
    /// What it comes to by hand, for a table; nothing where that is not measured.
    pub fn told_by_hand(&self) -> String {
        self.by_hand
            .map_or(String::new(), |by_hand| by_hand.to_string())
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Limit {
            lane,
            figure,
            against,
            bound,
            by_hand: _,
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
            Bound::AtMost(limit) => write!(f, "may be {} at most", plain(*limit))?,
            Bound::AtLeast(limit) => write!(f, "must be {} at least", plain(*limit))?,
        }
        match self.by_hand {
            Some(by_hand) => write!(f, "; by hand, in the same way, it is {by_hand}"),
            None => Ok(()),
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
