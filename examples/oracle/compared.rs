//! The page that says what was compared with Node and how much of it agrees: `docs/compared-with-node.md`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use super::pinned::{VERSION, root};
use super::scenario::Scenario;

/// What each directory of scenarios is about. A new directory needs a line here.
const AREAS: [(&str, &str); 25] = [
    (
        "clients",
        "sockets that connect: to servers and peers, again after 'close', refused, reset",
    ),
    (
        "connecting",
        "what is done with a socket before it is connected",
    ),
    (
        "descriptors",
        "servers and sockets made of descriptors that came from outside",
    ),
    (
        "dgram",
        "UDP: binding, sending, receiving, peers, options, groups, closing, liveness",
    ),
    (
        "endings",
        "every way in which either end can end, in every state of the other",
    ),
    ("errors", "what fails, how it is told, and what follows"),
    (
        "files",
        "files as streams: opening, reading, writing, failing",
    ),
    (
        "flow",
        "backpressure: marks, 'drain', cork, pause and resume, several listeners",
    ),
    (
        "immediates",
        "immediates: their order, and what clears and unrefs them",
    ),
    ("limits", "limits of connections, and what is dropped"),
    ("liveness", "what keeps the process alive"),
    ("names", "look-ups, several addresses, block lists"),
    ("own-buffer", "reading into a buffer of the program's own"),
    (
        "paths",
        "Unix sockets: paths, abstract names, what lies in the way",
    ),
    (
        "piping",
        "pipes between files and sockets, and what breaks either end midway",
    ),
    ("properties", "what can be asked of a socket in each state"),
    (
        "reading",
        "how data comes: chunks, ends, pauses, listeners that come and go",
    ),
    ("server", "listening, accepting, closing"),
    (
        "socket-life",
        "the life of a socket: the order of its events, 'close' above all",
    ),
    (
        "streams",
        "streams of a program's own, pipes, pipelines, how they end and fail",
    ),
    (
        "text",
        "text: encodings, and characters that come in pieces",
    ),
    (
        "ticks",
        "ticks: their order, and between which callbacks they run",
    ),
    ("timeouts", "inactivity timeouts of sockets"),
    (
        "timers",
        "timeouts and intervals: order, due times, refresh, ref and unref",
    ),
    (
        "writing",
        "writes: what they return, when they are done, and in which order that is told",
    ),
];

#[derive(Default)]
struct Area {
    scenarios: usize,
    differing: usize,
    skipped: usize,
    /// Reasons, with the names of the scenarios.
    reasons: BTreeMap<String, Vec<String>>,
}

/// The page.
pub fn page(scenarios: &[Scenario]) -> Result<String, String> {
    let mut areas: BTreeMap<String, Area> = BTreeMap::new();
    for scenario in scenarios {
        let name = scenario.name();
        let area = name.split('/').next().unwrap_or_default();
        let area = areas.entry(area.into()).or_default();
        area.scenarios += 1;
        area.skipped += usize::from(scenario.skip.is_some());
        let reasons = scenario.differs.iter().chain(&scenario.gathering);
        let reasons = reasons.chain(&scenario.skip);
        let reasons: Vec<&String> = reasons.collect();
        area.differing += usize::from(scenario.skip.is_none() && !reasons.is_empty());
        for reason in reasons {
            let names = area.reasons.entry(reason.clone()).or_default();
            names.push(name.clone());
        }
    }
    let mut rows = String::new();
    let mut sum = Area::default();
    for (name, area) in &areas {
        let about = AREAS.iter().find(|(known, _)| known == name);
        let (_, about) =
            about.ok_or_else(|| format!("examples/oracle/compared.rs: what is {name}?"))?;
        let agree = area.scenarios - area.differing - area.skipped;
        writeln!(
            rows,
            "| {name} | {about} | {} | {agree} | {} |",
            area.scenarios, area.differing
        )
        .expect("writing to a String");
        sum.scenarios += area.scenarios;
        sum.differing += area.differing;
        sum.skipped += area.skipped;
    }
    let mut out = format!(
        "# Compared with Node\n\n\
         Made by `cargo run --release --example oracle -- --tables` from the scenarios below \
         `tests/oracle/scenarios`. Each is played by Node {VERSION} and by this crate, twice: with every \
         write a system call of its own, as Node's, and with small writes gathered. What happened is compared \
         event by event, with every test run; [README](../tests/oracle/README.md) says how to do it.\n\n\
         {} scenarios: {} agree, {} differ as meant, {} not run.\n\n\
         | area | what was compared | scenarios | agree | differ as meant |\n|---|---|---|---|---|\n",
        sum.scenarios,
        sum.scenarios - sum.differing - sum.skipped,
        sum.differing,
        sum.skipped,
    );
    out += &rows;
    out += "\n## What differs or is not run, and why\n\n| area | difference | shown by |\n|---|---|---|\n";
    for (name, area) in &areas {
        for (reason, shown) in &area.reasons {
            writeln!(out, "| {name} | {reason} | {} |", shown.join(", "))
                .expect("writing to a String");
        }
    }
    out += "\nWhat no scenario can show stands in \
            [ARCHITECTURE.md](../ARCHITECTURE.md#differences-from-node-on-purpose).\n\n";
    let file = root().join("tests/oracle/generated.md");
    let figures = fs::read_to_string(&file);
    out += &figures.map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(out)
}
