//! Whether the committed scenarios catch small wrong behaviours: those of `src/ground/mutations.rs`,
//! which are compiled with `--cfg nodeloop_mutations` only.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::batch::Player;
use super::check::{LINE_END, Writes, batch_command, committed, expected, files_below};
use super::driver::Outcome;
use super::generate::judge::Batch;
use super::pinned::root;
use super::scenario::Scenario;

/// Which behaviour is wrong, for the processes that play.
const CHOSEN: &str = "NODELOOP_MUTATION";
/// How many play at a time. They mostly wait.
const AT_A_TIME: usize = 8;
/// So many scenarios that catch one are enough.
const ENOUGH: usize = 8;
/// A wrong behaviour may have nothing end. Scenarios that take longer are left out.
const DEADLINE: Duration = Duration::from_secs(3);

/// A scenario, with its text and what is meant to come of it, both ways.
struct Known {
    scenario: Scenario,
    line: String,
    expected: [Vec<String>; 2],
}

/// Plays the scenarios with each wrong behaviour, or those whose names hold `part`, and says who
/// catches it.
pub fn run(part: &str, batch: Batch) -> Result<(), String> {
    if !cfg!(nodeloop_mutations) {
        return Err("it was compiled without them: RUSTFLAGS='--cfg nodeloop_mutations'".into());
    }
    let names = names(&root().join("src"));
    let names: Vec<&String> = names.iter().filter(|name| name.contains(part)).collect();
    if names.is_empty() {
        return Err(format!("the name of none holds `{part}`"));
    }
    let known = scenarios()?;
    let right = play_all(&known, "", batch, usize::MAX);
    println!(
        "{} scenarios; not used, since they fail as it is: {}",
        known.len(),
        shown(&right)
    );
    let known: Vec<Known> = known
        .into_iter()
        .filter(|it| !right.contains(&it.scenario.name()))
        .collect();
    let mut missed = Vec::new();
    for name in names {
        let caught = play_all(&known, name, batch, ENOUGH);
        println!("{name}: {}", shown(&caught));
        if caught.is_empty() {
            missed.push(name.as_str());
        }
    }
    match missed.is_empty() {
        true => Ok(()),
        false => Err(format!("caught by none: {}", missed.join("; "))),
    }
}

fn shown(names: &BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match names.is_empty() {
        true => "NONE".into(),
        false => names.join(" "),
    }
}

/// Every wrong behaviour that the sources know.
fn names(directory: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = path.path();
        if path.is_dir() {
            names.append(&mut self::names(&path));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let behind = text.split("mutated!(\"").skip(1);
        names.extend(behind.filter_map(|rest| Some(rest.split_once('"')?.0.to_string())));
    }
    names
}

/// The committed scenarios that can be played many in one process.
fn scenarios() -> Result<Vec<Known>, String> {
    let mut known = Vec::new();
    for file in files_below(&committed()) {
        let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let mut scenario = Scenario::load(&file).map_err(|fault| fault.to_string())?;
        if scenario.why_not().is_some() || scenario.descriptor.is_some() {
            continue;
        }
        scenario.deadline = DEADLINE;
        known.push(Known {
            expected: expected(&scenario)?,
            scenario,
            line: text.replace('\n', &LINE_END.to_string()) + "\n",
        });
    }
    Ok(known)
}

/// Plays them all until so many have failed, twice each; gives those.
fn play_all(known: &[Known], mutation: &str, batch: Batch, enough: usize) -> BTreeSet<String> {
    let next = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    let failed = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                let mut players = [Writes::AtOnce, Writes::Gathered].map(|writes| {
                    let mutation = mutation.to_string();
                    Player::new(move || with(batch_command(batch(), writes), &mutation))
                });
                while let Some(one) = known.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let fails = players
                        .iter_mut()
                        .zip(&one.expected)
                        .any(|(player, expected)| {
                            // Twice: a busy machine fails once.
                            (0..2).all(|_| {
                                let outcome = player.play(&one.scenario, &one.line);
                                is_wrong(&outcome, expected)
                            })
                        });
                    if fails {
                        let mut failed = failed.lock().expect("the failures");
                        failed.insert(one.scenario.name());
                        done.store(failed.len() >= enough, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    failed.into_inner().expect("the failures")
}

fn with(mut command: Command, mutation: &str) -> Command {
    command.env(CHOSEN, mutation);
    command
}

fn is_wrong(outcome: &Outcome, expected: &[String]) -> bool {
    outcome.failure.is_some() || outcome.lines != expected
}
