//! The figures for programs.

use std::fmt;

use super::About;
use crate::outcome::{LaneOutcome, Outcome, Verdict};
use crate::statistics::Spread;
use crate::workload::{Bound, Figure};

/// A value of JSON.
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(&'static str, Json)>),
    /// An object whose names are not known here.
    Map(Vec<(String, Json)>),
}

/// The whole report.
pub fn of(about: &About, outcomes: &[Outcome]) -> Json {
    Json::Object(vec![
        ("machine", text(&about.machine)),
        ("cores", text(&about.cores)),
        ("busy", about.busy.as_deref().map_or(Json::Null, text)),
        ("rounds", text(&about.rounds)),
        ("left_out", list(&about.left_out, |left| text(left))),
        ("workloads", list(outcomes, workload)),
    ])
}

fn workload(outcome: &Outcome) -> Json {
    let workload = &outcome.workload;
    Json::Object(vec![
        ("name", text(&workload.name)),
        ("stands_for", text(workload.stands_for)),
        ("operation", text(workload.operation)),
        ("lanes", list(&outcome.lanes, |own| lane(outcome, own))),
        ("limits", list(&outcome.verdicts, verdict)),
        (
            "no_verdict",
            list(&outcome.unjudged, |limit| text(&limit.must_be())),
        ),
        ("remarks", list(&outcome.remarks, |remark| text(remark))),
    ])
}

fn lane(outcome: &Outcome, lane: &LaneOutcome) -> Json {
    let figure = |figure| lane.spread(figure).map_or(Json::Null, spread);
    let ratio = outcome.ratio(Figure::ServerTime, &lane.name, "hand-written");
    let latency = |[half, most, nearly_all]: [f64; 3]| {
        Json::Object(vec![
            ("p50", Json::Number(half)),
            ("p99", Json::Number(most)),
            ("p99_9", Json::Number(nearly_all)),
        ])
    };
    let calls = lane.calls.iter();
    let calls = calls.map(|(kind, count)| (kind.clone(), Json::Number(*count)));
    Json::Object(vec![
        ("name", text(&lane.name)),
        ("cpu_ns_per_operation", figure(Figure::ServerTime)),
        ("cpu_by_hand_written", ratio.map_or(Json::Null, spread)),
        ("operations_per_second", figure(Figure::Rate)),
        ("operations_per_cpu_second", figure(Figure::RateByTime)),
        (
            "latency_us",
            lane.percentiles_us.map_or(Json::Null, latency),
        ),
        (
            "bytes_per_idle_connection",
            figure(Figure::BytesPerConnection),
        ),
        ("bytes", figure(Figure::Bytes)),
        ("loss_percent", figure(Figure::Loss)),
        (
            "mean_loss_percent",
            lane.mean(Figure::Loss).map_or(Json::Null, Json::Number),
        ),
        ("accept_growth", figure(Figure::AcceptGrowth)),
        ("system_calls_per_operation", Json::Map(calls.collect())),
    ])
}

fn verdict(verdict: &Verdict) -> Json {
    let limit = &verdict.limit;
    let (kind, value) = match limit.bound {
        Bound::AtMost(value) => ("at_most", value),
        Bound::AtLeast(value) => ("at_least", value),
    };
    Json::Object(vec![
        ("lane", text(&limit.lane)),
        ("figure", text(limit.figure.name())),
        ("against", limit.against.as_deref().map_or(Json::Null, text)),
        ("value", spread(verdict.value)),
        ("by_cpu_time", verdict.by_time.map_or(Json::Null, spread)),
        ("by_hand", verdict.by_hand.map_or(Json::Null, spread)),
        (kind, Json::Number(value)),
        ("holds", Json::Bool(verdict.holds)),
    ])
}

fn spread(spread: Spread) -> Json {
    Json::Object(vec![
        ("median", Json::Number(spread.median)),
        ("low", Json::Number(spread.low)),
        ("high", Json::Number(spread.high)),
    ])
}

fn text(text: &str) -> Json {
    Json::Text(text.to_string())
}

fn list<T>(items: &[T], each: impl Fn(&T) -> Json) -> Json {
    Json::List(items.iter().map(each).collect())
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Bool(yes) => write!(f, "{yes}"),
            Json::Number(number) if number.is_finite() => write!(f, "{number}"),
            Json::Null | Json::Number(_) => f.write_str("null"),
            Json::Text(text) => quoted(f, text),
            Json::List(items) => {
                f.write_str("[")?;
                for (number, item) in items.iter().enumerate() {
                    f.write_str(if number == 0 { "" } else { ",\n" })?;
                    write!(f, "{item}")?;
                }
                f.write_str("]")
            }
            Json::Object(fields) => object(f, fields.iter().map(|(name, value)| (*name, value))),
            Json::Map(fields) => {
                object(f, fields.iter().map(|(name, value)| (name.as_str(), value)))
            }
        }
    }
}

fn object<'a>(
    f: &mut fmt::Formatter<'_>,
    fields: impl Iterator<Item = (&'a str, &'a Json)>,
) -> fmt::Result {
    f.write_str("{")?;
    for (number, (name, value)) in fields.enumerate() {
        f.write_str(if number == 0 { "" } else { ", " })?;
        quoted(f, name)?;
        write!(f, ": {value}")?;
    }
    f.write_str("}")
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(f, "\\{character}")?,
            control if control < ' ' => write!(f, "\\u{:04x}", control as u32)?,
            other => write!(f, "{other}")?,
        }
    }
    f.write_str("\"")
}
