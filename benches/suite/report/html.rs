//! The page for people: one file, which needs nothing else.

use std::fmt::Write;

use super::About;
use super::svg::{self, Row};
use crate::outcome::{LaneOutcome, Outcome};
use crate::statistics::{Spread, grouped, number};
use crate::workload::Figure;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c1e21; --dim: #63676e; --paper: #fff; --line: #dfe1e5;
  --ours: #0b6bcb; --theirs: #b4bac3; --good: #1a7f37; --bad: #c62828; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --dim: #9aa0a8; --paper: #16181b;
  --line: #33373d; --ours: #58a6ff; --theirs: #5b626c; --good: #57c26f; --bad: #ff7b72; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 860px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .2rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .2rem; font-weight: 600; }
p { margin: .3rem 0; } .dim { color: var(--dim); }
svg { width: 100%; min-width: 600px; height: auto; display: block; margin: .4rem 0; }
svg text { font-size: 13px; fill: var(--ink); } svg .note { fill: var(--dim); }
svg .ours { fill: var(--ours); } svg .theirs { fill: var(--theirs); }
svg .whisker { stroke: var(--ink); stroke-width: 1.5; opacity: .65; }
svg .arrow { fill: var(--ink); opacity: .65; }
svg .one { stroke: var(--dim); stroke-dasharray: 4 3; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; width: 100%; }
th, td { text-align: right; padding: .2rem .5rem; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; }
.limits td, .limits th { white-space: normal; text-align: left; vertical-align: top; }
.limits td:first-child, .limits td:last-child { white-space: nowrap; }
a { color: inherit; } .holds { color: var(--good); } .missed { color: var(--bad); font-weight: 600; }
";

/// The whole page.
pub fn of(about: &About, outcomes: &[Outcome]) -> String {
    let mut page = String::new();
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>nodeloop: the bench suite</title>\n<style>{STYLE}</style>\n\
         <h1>nodeloop: the bench suite</h1>\n"
    );
    let mut facts = vec![&about.machine, &about.cores, &about.rounds];
    facts.extend(&about.busy);
    facts.extend(&about.left_out);
    for fact in facts {
        let _ = writeln!(page, "<p class=\"dim\">{}</p>", escaped(fact));
    }
    overview(&mut page, outcomes);
    limits(&mut page, outcomes);
    for outcome in outcomes {
        workload(&mut page, outcome);
    }
    page
}

/// Our CPU time by that of the hand-written loop, wherever there is both.
fn overview(page: &mut String, outcomes: &[Outcome]) {
    let row = |outcome: &Outcome| {
        let value = outcome.ratio(Figure::ServerTime, "nodeloop", "hand-written")?;
        // What a batch saves is not a matter of percents.
        (value.median > 0.5).then(|| Row {
            label: outcome.workload.name.clone(),
            value,
            note: value.to_string(),
            ours: true,
        })
    };
    let rows: Vec<Row> = outcomes.iter().filter_map(row).collect();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "<h2>CPU time by that of the hand-written loop</h2>\n<p class=\"dim\">The median of the \
         rounds, and a line from the tenth percentile to the ninetieth; 1 is the hand-written \
         loop, less is better. Where it is half or less, \
         which a batch makes of it, the workload is below only.</p>\n<div class=\"wide\">{}</div>",
        svg::ratios(&rows)
    );
}

fn limits(page: &mut String, outcomes: &[Outcome]) {
    let verdicts = || outcomes.iter().flat_map(|outcome| &outcome.verdicts);
    let unjudged = || outcomes.iter().flat_map(|outcome| &outcome.unjudged);
    if verdicts().next().is_none() && unjudged().next().is_none() {
        return;
    }
    let held = verdicts().filter(|verdict| verdict.holds).count();
    let _ = writeln!(
        page,
        "<h2>Limits</h2>\n<p class=\"dim\">{held} of {} hold{}.</p>\n<div class=\"wide\"><table \
         class=\"limits\"><tr><th>workload</th><th>must be</th><th>was (10 %–90 %)</th>\
         <th>by hand, in the same way</th><th>holds</th></tr>",
        verdicts().count(),
        match unjudged().count() {
            0 => String::new(),
            more => format!("; on {more} more there is no verdict"),
        }
    );
    for outcome in outcomes {
        for verdict in &outcome.verdicts {
            let (class, holds) = match verdict.holds {
                true => ("holds", "yes"),
                false => ("missed", "no"),
            };
            let by_time = verdict
                .by_time
                .map_or(String::new(), |by_time| format!("; by CPU time {by_time}"));
            let _ = writeln!(
                page,
                "<tr><td><a href=\"#{0}\">{0}</a></td><td>{1}</td><td>{2}{by_time}</td><td>{3}</td>\
                 <td class=\"{class}\">{holds}</td></tr>",
                escaped(&outcome.workload.name),
                escaped(&verdict.limit.must_be()),
                verdict.value,
                verdict.told_by_hand()
            );
        }
        for limit in &outcome.unjudged {
            let _ = writeln!(
                page,
                "<tr><td><a href=\"#{0}\">{0}</a></td><td>{1}</td><td></td><td></td>\
                 <td class=\"missed\">no verdict</td></tr>",
                escaped(&outcome.workload.name),
                escaped(&limit.must_be()),
            );
        }
    }
    page.push_str("</table></div>\n");
}

fn workload(page: &mut String, outcome: &Outcome) {
    let workload = &outcome.workload;
    let _ = writeln!(
        page,
        "<h2 id=\"{0}\">{0}</h2>\n<p>{1}</p>",
        escaped(&workload.name),
        escaped(workload.stands_for)
    );
    let title = format!("CPU time per {}", workload.operation);
    plot(page, outcome, Figure::ServerTime, &title);
    plot(
        page,
        outcome,
        Figure::BytesPerConnection,
        "resident bytes per idle connection",
    );
    plot(page, outcome, Figure::Bytes, "bytes");
    table(page, outcome);
    for lane in outcome.lanes.iter().filter(|lane| !lane.calls.is_empty()) {
        let calls = super::text::calls(lane);
        let _ = writeln!(
            page,
            "<p class=\"dim\">System calls of {} per {}: {}</p>",
            escaped(&lane.name),
            escaped(workload.operation),
            escaped(&calls)
        );
    }
    for remark in &outcome.remarks {
        let _ = writeln!(page, "<p class=\"dim\">Note: {}</p>", escaped(remark));
    }
}

fn plot(page: &mut String, outcome: &Outcome, figure: Figure, title: &str) {
    let row = |lane: &LaneOutcome| {
        let value = lane.spread(figure)?;
        Some(Row {
            label: lane.name.clone(),
            value,
            note: match figure {
                Figure::ServerTime => nanos(value),
                _ => value.to_string(),
            },
            ours: lane.name.starts_with("nodeloop"),
        })
    };
    let rows: Vec<Row> = outcome.lanes.iter().filter_map(row).collect();
    if !rows.is_empty() {
        let (title, plot) = (escaped(title), svg::bars(&rows));
        let _ = writeln!(page, "<h3>{title}</h3>\n<div class=\"wide\">{plot}</div>");
    }
}

/// A time in the unit that its median asks for.
fn nanos(
    Spread {
        median, low, high, ..
    }: Spread,
) -> String {
    let (unit, by) = match median {
        ..1e4 => ("ns", 1.0),
        ..1e7 => ("µs", 1e3),
        _ => ("ms", 1e6),
    };
    let [median, low, high] = [median, low, high].map(|value| number(value / by));
    format!("{median} {unit} ({low}–{high})")
}

/// What is not plotted.
fn table(page: &mut String, outcome: &Outcome) {
    if outcome
        .lanes
        .iter()
        .all(|lane| lane.spread(Figure::Rate).is_none())
    {
        return;
    }
    page.push_str(
        "<div class=\"wide\"><table><tr><th></th><th>CPU × hand-written</th><th>per second</th>\
         <th>by CPU time</th>",
    );
    let has_latencies = outcome
        .lanes
        .iter()
        .any(|lane| lane.percentiles_us.is_some());
    if has_latencies {
        page.push_str("<th>p50 µs</th><th>p99 µs</th><th>p99.9 µs</th>");
    }
    let loses = outcome
        .lanes
        .iter()
        .any(|lane| lane.spread(Figure::Loss).is_some());
    page.push_str(if loses {
        "<th>lost %</th></tr>\n"
    } else {
        "</tr>\n"
    });
    for lane in &outcome.lanes {
        let ratio = outcome.ratio(Figure::ServerTime, &lane.name, "hand-written");
        let rate = |figure| {
            let rate = lane.spread(figure);
            rate.map_or(String::new(), |rate| grouped(rate.median))
        };
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
            escaped(&lane.name),
            ratio.map_or(String::new(), |ratio| ratio.to_string()),
            rate(Figure::Rate),
            rate(Figure::RateByTime)
        );
        match lane.percentiles_us {
            Some(percentiles) => {
                for us in percentiles {
                    let _ = write!(page, "<td>{us:.0}</td>");
                }
            }
            None if has_latencies => page.push_str("<td></td><td></td><td></td>"),
            None => {}
        }
        if let Some(loss) = lane.mean(Figure::Loss) {
            let _ = write!(page, "<td>{loss:.3}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}

/// Text as HTML and SVG take it.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
