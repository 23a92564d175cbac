//! The programs themselves: how soon they listen, and how large they are.

use crate::build;
use crate::outcome::{LaneOutcome, Outcome};
use crate::rounds::{Bench, in_turn};
use crate::workload::{Figure, Lane, Workload};

impl Bench {
    /// The processor time that servers have used when they say that they listen.
    pub fn start_up(&self, workload: &Workload) -> Outcome {
        let lanes: Vec<&Lane> = self.lanes(workload).collect();
        let named = |lane: &&Lane| LaneOutcome::new(&lane.name);
        let mut outcomes: Vec<LaneOutcome> = lanes.iter().map(named).collect();
        let mut remarks = Vec::new();
        let numbers: Vec<usize> = (0..lanes.len()).collect();
        for round in 0..self.effort.rounds {
            for number in in_turn(&numbers, round) {
                let time = self
                    .start_alone(lanes[number])
                    .and_then(|server| server.processor_time());
                match time {
                    Ok(time) => {
                        outcomes[number].add(Figure::ServerTime, round, time.as_nanos() as f64)
                    }
                    Err(error) => remarks.push(format!("{} failed: {error}", lanes[number].name)),
                }
            }
        }
        Outcome::of(workload, outcomes, remarks)
    }
}

/// The size of the stripped echo example.
pub fn size(workload: &Workload) -> Outcome {
    let mut outcome = LaneOutcome::new("nodeloop");
    let mut remarks = Vec::new();
    match build::stripped("echo") {
        Ok(bytes) => outcome.add(Figure::Bytes, 0, bytes as f64),
        Err(error) => remarks.push(format!("not measured: {error}")),
    }
    Outcome::of(workload, vec![outcome], remarks)
}
