//! The limits as tables in Markdown, for who writes about a run.

use std::fmt::Write;

use super::About;
use crate::outcome::{Outcome, Verdict};
use crate::statistics::{Spread, number};

/// Both tables: what belongs together in one row, and every limit by itself.
pub fn of(about: &About, outcomes: &[Outcome]) -> String {
    let mut text = format!("{}; {}.\n{}.\n", about.machine, about.cores, about.rounds);
    for line in about.busy.iter().chain(&about.left_out) {
        let _ = writeln!(text, "\n{line}");
    }
    text.push_str(
        "\n| workload | must be | was | by hand, in the same way | holds |\n|---|---|---|---|---|\n",
    );
    for row in rows(outcomes) {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            row.label(),
            row.must_be,
            row.of(|verdict| Some(verdict.value)),
            row.of(|verdict| verdict.by_hand),
            row.holds()
        );
    }
    text.push_str(
        "\n| workload | must be | was (10 %–90 %) | by hand, in the same way | holds |\n\
         |---|---|---|---|---|\n",
    );
    for (name, verdict) in verdicts(outcomes) {
        let by_time = verdict
            .by_time
            .map_or(String::new(), |by_time| format!("; by CPU time {by_time}"));
        let _ = writeln!(
            text,
            "| `{name}` | {} | {}{by_time} | {} | {} |",
            verdict.limit.must_be(),
            verdict.value,
            verdict.told_by_hand(),
            if verdict.holds { "yes" } else { "**no**" }
        );
    }
    for outcome in outcomes {
        for limit in &outcome.unjudged {
            let (name, must_be) = (&outcome.workload.name, limit.must_be());
            let _ = writeln!(text, "| `{name}` | {must_be} |  |  | no verdict |");
        }
    }
    text
}

fn verdicts(outcomes: &[Outcome]) -> impl Iterator<Item = (&str, &Verdict)> {
    outcomes.iter().flat_map(|outcome| {
        let verdicts = outcome.verdicts.iter();
        verdicts.map(|verdict| (outcome.workload.name.as_str(), verdict))
    })
}

/// Limits that say the same of workloads of one kind.
struct Row<'a> {
    must_be: String,
    names: Vec<&'a str>,
    verdicts: Vec<&'a Verdict>,
}

/// In the order in which the first of each came.
fn rows(outcomes: &[Outcome]) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (name, verdict) in verdicts(outcomes) {
        let must_be = verdict.limit.must_be();
        let same = |row: &&mut Row<'_>| row.must_be == must_be && kind(row.names[0]) == kind(name);
        match rows.iter_mut().find(same) {
            Some(row) => {
                row.names.push(name);
                row.verdicts.push(verdict);
            }
            None => rows.push(Row {
                must_be,
                names: vec![name],
                verdicts: vec![verdict],
            }),
        }
    }
    rows
}

/// The first word of a workload's name.
fn kind(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

impl Row<'_> {
    /// The name, or what the names begin with.
    fn label(&self) -> String {
        let first = self.names[0];
        if self.names.len() == 1 {
            return format!("`{first}`");
        }
        let common = (0..=first.len()).rev().find_map(|end| {
            let begin = first.get(..end)?;
            let whole_words = begin.is_empty() || begin.ends_with('-');
            let all = self.names.iter().all(|name| name.starts_with(begin));
            (whole_words && all).then_some(begin)
        });
        format!("`{}…` ({})", common.unwrap_or_default(), self.names.len())
    }

    /// A figure of the verdicts that have it: the median, or the lowest and the highest.
    fn of(&self, figure: impl Fn(&Verdict) -> Option<Spread>) -> String {
        let figures: Vec<Spread> = self.verdicts.iter().filter_map(|it| figure(it)).collect();
        match figures[..] {
            [] => String::new(),
            [sole] => sole.to_string(),
            _ => {
                let medians = || figures.iter().map(|figure| figure.median);
                let lowest = medians().fold(f64::INFINITY, f64::min);
                let highest = medians().fold(0.0, f64::max);
                format!("{} to {}", number(lowest), number(highest))
            }
        }
    }

    fn holds(&self) -> String {
        let held = self.verdicts.iter().filter(|verdict| verdict.holds);
        match (held.count(), self.verdicts.len()) {
            (1, 1) => "yes".into(),
            (held, all) if held == all => "all".into(),
            (0, 1) => "**no**".into(),
            (held, all) => format!("**{held} of {all}**"),
        }
    }
}
