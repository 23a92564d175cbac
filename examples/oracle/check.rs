//! One scenario against its recording: Node made anew, and ours, both ways: with every write a
//! system call of its own, as Node's, and with small writes gathered.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use nodeloop::Loop;

use super::driver::{Outcome, run};
use super::scenario::Scenario;
use super::trace::{difference, objects_that_differ};
use super::{ours, pinned};

/// Whether a run of ours gathers: `yes` or `no`.
const GATHERS: &str = "NODELOOP_ORACLE_GATHERS";

/// How often a scenario that failed is played again, alone.
pub const AGAIN: usize = 2;

/// How our loop writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// Every write at once, as Node's.
    AtOnce,
    /// Small writes of a callback together, which is the default.
    Gathered,
}

impl Writes {
    /// Whether it gathers.
    fn word(self) -> &'static str {
        match self {
            Writes::AtOnce => "no",
            Writes::Gathered => "yes",
        }
    }
}

/// What stands for a line end in a scenario that is sent as one line.
pub const LINE_END: char = '\u{1f}';

/// Makes the command that has this executable call [`inner`] with a file.
pub type Inner<'a> = &'a (dyn Fn(&Path) -> Command + Sync);

/// Plays a scenario in this process; its driver is the parent process.
pub fn inner(file: &Path) {
    let scenario = Scenario::load(file).expect("the driver has read it");
    let gathers = std::env::var(GATHERS).is_ok_and(|gathers| gathers == "yes");
    let lp = Loop::builder().gather(gathers).build().expect("a loop");
    ours::play(scenario, &lp);
}

/// Plays one scenario after the other in this process, as their driver sends them, each in a loop of
/// its own.
pub fn inner_batch() {
    let gathers = std::env::var(GATHERS).is_ok_and(|gathers| gathers == "yes");
    while let Some(text) = ours::next_line() {
        let text = text.replace(LINE_END, "\n");
        let scenario = Scenario::parse(Path::new("generated"), &text);
        let lp = Loop::builder().gather(gathers).build().expect("a loop");
        ours::play(scenario.expect("the driver has read it"), &lp);
        drop(lp);
        println!(".");
    }
}

/// The command of [`inner_batch`], told how to write.
pub fn batch_command(mut command: Command, writes: Writes) -> Command {
    command.env(GATHERS, writes.word());
    command
}

/// Our trace.
pub fn our_trace(scenario: &Scenario, writes: Writes, inner: Inner<'_>) -> Outcome {
    let gathers = writes.word();
    // It runs in a directory of its own.
    let file = std::path::absolute(&scenario.file).unwrap_or_else(|_| scenario.file.clone());
    run(scenario, inner(&file).env(GATHERS, gathers), "")
}

/// Where Node's trace is recorded; ours, where it is meant to differ; and ours gathered, where that
/// is.
pub fn recordings(scenario: &Scenario) -> [PathBuf; 3] {
    ["trace", "ours", "gathered"].map(|ending| scenario.file.with_extension(ending))
}

/// What a check came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All traces are as they should be.
    Agrees,
    /// As meant, it differs from Node.
    Differs,
    /// It is not run, for the reason in its file.
    Skipped(String),
    /// Something is wrong.
    Fails(String),
}

/// Holds a scenario against its recording, and the recording against Node if that is there.
pub fn check(scenario: &Scenario, node: Option<&Path>, inner: Inner<'_>) -> Verdict {
    if let Some(reason) = scenario.why_not() {
        return Verdict::Skipped(reason);
    }
    match check_run(scenario, node, inner) {
        Err(what) => Verdict::Fails(what),
        Ok(()) if scenario.differs.is_some() || scenario.gathering.is_some() => Verdict::Differs,
        Ok(()) => Verdict::Agrees,
    }
}

/// Holds all of them against their recordings, a few at a time. One that fails is played again, alone:
/// on a busy machine a timer may be late, or a millisecond may end between two timers that are meant to be
/// due together. What it failed with is printed, whatever comes then.
pub fn check_each(scenarios: &[Scenario], node: Option<&Path>, inner: Inner<'_>) -> Vec<Verdict> {
    let mut verdicts = each(scenarios, |it| check(it, node, inner));
    for (scenario, verdict) in scenarios.iter().zip(&mut verdicts) {
        for _ in 0..AGAIN {
            if let Verdict::Fails(what) = verdict {
                println!("{}: fails, once more: {what}", scenario.name());
                *verdict = check(scenario, node, inner);
            }
        }
    }
    verdicts
}

fn check_run(scenario: &Scenario, node: Option<&Path>, inner: Inner<'_>) -> Result<(), String> {
    let [of_node, ..] = recordings(scenario);
    let recorded = read_lines(&of_node)?;
    if let Some(node) = node {
        let made = whole(pinned::trace(node, scenario), "Node")?;
        compare(["recorded", "Node, made anew"], &recorded, &made)?;
    }
    let made = |writes| whole(our_trace(scenario, writes, inner), "ours");
    let [at_once, gathered] = expected(scenario)?;
    compare(["meant", "ours"], &at_once, &made(Writes::AtOnce)?)?;
    compare(
        ["meant", "ours, gathered"],
        &gathered,
        &made(Writes::Gathered)?,
    )
}

/// What is meant to come of a scenario here: with every write at once, and gathered.
pub fn expected(scenario: &Scenario) -> Result<[Vec<String>; 2], String> {
    let [of_node, of_ours, of_gathered] = recordings(scenario);
    let recorded = read_lines(&of_node)?;
    let at_once = meant("differs", &scenario.differs, &of_ours, &recorded)?;
    let gathered = meant("gathering", &scenario.gathering, &of_gathered, &at_once)?;
    Ok([at_once, gathered])
}

/// The trace that is meant: the one in `file` if there is a reason for it to be another.
fn meant(
    key: &str,
    reason: &Option<String>,
    file: &Path,
    otherwise: &[String],
) -> Result<Vec<String>, String> {
    match reason {
        None if file.exists() => Err(format!("{} has no `{key}` beside it", file.display())),
        None => Ok(otherwise.to_vec()),
        Some(_) => {
            let meant = read_lines(file)?;
            match meant == otherwise {
                true => Err(format!("`{key}` is out of date: the traces agree")),
                false => Ok(meant),
            }
        }
    }
}

/// The trace of a run, if the run was what it should be.
pub fn whole(outcome: Outcome, whose: &str) -> Result<Vec<String>, String> {
    match outcome.failure {
        None => Ok(outcome.lines),
        Some(why) => Err(format!("{whose}: {why}\n  {}", outcome.lines.join("\n  "))),
    }
}

fn compare(names: [&str; 2], one: &[String], two: &[String]) -> Result<(), String> {
    match difference(names, one, two) {
        None => Ok(()),
        Some(rows) => {
            let objects = objects_that_differ(one, two).join(", ");
            Err(format!("differs at {objects}:\n{rows}"))
        }
    }
}

fn read_lines(file: &Path) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| format!("{}: {error} (record it)", file.display()))?;
    Ok(text.lines().map(str::to_string).collect())
}

/// Does something with each scenario, a few at a time; the results are in order.
pub fn each<R: Send>(scenarios: &[Scenario], work: impl Fn(&Scenario) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    // They mostly wait, so a few more than there are processors; but their timers want one.
    let at_a_time = std::thread::available_parallelism().map_or(2, |it| it.get().max(2) * 3 / 2);
    std::thread::scope(|scope| {
        for _ in 0..at_a_time.min(scenarios.len()) {
            scope.spawn(|| {
                while let Some((index, scenario)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    scenarios.get(index).map(|scenario| (index, scenario))
                } {
                    let result = work(scenario);
                    results.lock().expect("the results").push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("the results");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// All scenario files below a directory, sorted.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        let entries = std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten();
        for path in entries.map(|entry| entry.path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "scenario") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Where the committed scenarios are.
pub fn committed() -> PathBuf {
    pinned::root().join("tests/oracle/scenarios")
}
