//! Thousands of connections that do nothing: memory, and the cost of accepting them.

use std::io;

use crate::load;
use crate::outcome::{LaneOutcome, Outcome};
use crate::rounds::Bench;
use crate::workload::{Figure, Lane, Workload};

/// Connections that are opened before the memory is measured first: what the first ones make the
/// server allocate is not theirs.
const WARM_UP: usize = 10;

impl Bench {
    pub fn idle(&self, workload: &Workload, wanted: usize) -> Outcome {
        let connections = self.affordable(wanted);
        let mut remarks = Vec::new();
        if connections < wanted {
            remarks.push(format!("{connections} connections instead of {wanted}"));
        }
        let mut outcomes = Vec::new();
        for lane in self.lanes(workload) {
            match self.fill(lane, connections) {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => remarks.push(format!("{} failed: {error}", lane.name)),
            }
        }
        Outcome::of(workload, outcomes, remarks)
    }

    /// Opens all, in ten parts, with an echo on each.
    fn fill(&self, lane: &Lane, connections: usize) -> io::Result<LaneOutcome> {
        let mut outcome = LaneOutcome::new(&lane.name);
        let server = self.start(lane)?;
        let mut open = load::connect_and_echo(server.address, WARM_UP)?;
        let before = server.resident()?;
        let part = (connections / 10).max(1);
        let mut times = Vec::new();
        for _ in 0..10 {
            let time_before = server.processor_time()?;
            open.extend(load::connect_and_echo(server.address, part)?);
            let time = server.processor_time()? - time_before;
            times.push(time.as_nanos() as f64 / part as f64);
        }
        let grown = server.resident()?.saturating_sub(before);
        outcome.add(
            Figure::BytesPerConnection,
            0,
            grown as f64 / (open.len() - WARM_UP) as f64,
        );
        for (part, time) in times.iter().enumerate() {
            outcome.add(Figure::ServerTime, part, *time);
        }
        // The first part warms up.
        if let (Some(early), Some(late)) = (times.get(1), times.last()) {
            outcome.add(Figure::AcceptGrowth, 0, late / early);
        }
        Ok(outcome)
    }
}
