//! The report on the terminal.

use crate::outcome::{LaneOutcome, Outcome};
use crate::statistics::grouped;
use crate::workload::Figure;

/// Prints a workload's figures.
pub fn print(outcome: &Outcome) {
    let workload = &outcome.workload;
    println!("\n{}: {}", workload.name, workload.stands_for);
    for lane in &outcome.lanes {
        println!("  {:<28} {}", lane.name, line(outcome, lane));
    }
    for lane in &outcome.lanes {
        if !lane.calls.is_empty() {
            println!(
                "  system calls of {} per {}: {}",
                lane.name,
                workload.operation,
                calls(lane)
            );
        }
    }
    for verdict in &outcome.verdicts {
        println!("  {verdict}");
    }
    for limit in &outcome.unjudged {
        println!("  NO VERDICT: {}", limit.must_be());
    }
    for remark in &outcome.remarks {
        println!("  note: {remark}");
    }
}

/// The calls of a lane per operation, but for those that hardly happen.
pub fn calls(lane: &LaneOutcome) -> String {
    let calls = lane.calls.iter().filter(|(_, count)| *count >= 0.0005);
    let calls: Vec<String> = calls
        .map(|(kind, count)| format!("{count:.3} {kind}"))
        .collect();
    calls.join(", ")
}

fn line(outcome: &Outcome, lane: &LaneOutcome) -> String {
    let mut parts = Vec::new();
    if let Some(time) = lane.spread(Figure::ServerTime) {
        parts.push(format!("CPU {time} ns per {}", outcome.workload.operation));
    }
    if let Some(ratio) = outcome.ratio(Figure::ServerTime, &lane.name, "hand-written")
        && lane.name != "hand-written"
    {
        parts.push(format!("{ratio} x hand-written"));
    }
    if let Some(rate) = lane.spread(Figure::Rate) {
        parts.push(format!("{}/s", grouped(rate.median)));
    }
    if let Some([half, most, nearly_all]) = lane.percentiles_us {
        parts.push(format!(
            "latency {half:.0}/{most:.0}/{nearly_all:.0} µs (50/99/99.9 %)"
        ));
    }
    if let Some(loss) = lane.mean(Figure::Loss)
        && loss > 0.0
    {
        parts.push(format!("{loss:.3} % lost"));
    }
    if let Some(bytes) = lane.spread(Figure::BytesPerConnection) {
        parts.push(format!("{:.0} bytes per connection", bytes.median));
    }
    if let Some(bytes) = lane.spread(Figure::Bytes) {
        parts.push(format!("{} bytes", grouped(bytes.median)));
    }
    parts.join(", ")
}
