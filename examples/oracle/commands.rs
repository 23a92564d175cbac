//! The commands of `cargo run --example oracle`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::check::{
    self, AGAIN, Verdict, Writes, check_each, committed, each, files_below, our_trace, recordings,
    whole,
};
use super::driver::Outcome;
use super::generate::maker;
use super::generate::run::{self as generated, Length, Tally};
use super::scenario::Scenario;
use super::trace::difference;
use super::{mutations, pinned, tables};

const USAGE: &str = "usage: oracle FILE…            our trace, every write at once
       oracle --gathered FILE… our trace, small writes gathered
       oracle --compare FILE…  both traces: the first difference, or `agree`
       oracle --check FILE…    against the recording, as `cargo test` does
       oracle --record FILE…   record Node's trace (and ours, where it is meant to differ)
       oracle --tables         make the tables in tests/oracle anew
       oracle --generate --seed S --count N   scenarios at random, beside Node: the same each time
       oracle --generate --minutes N          fresh ones
       oracle --generate --subject NAME …     of one subject, such as text
       oracle --generate --one SEED           one of them, as a file
       oracle --generate --shrink SEED        one of them, played, and shrunk if it differs
       oracle --mutations PART?               which scenarios catch wrong behaviours (see the README)
A directory stands for the scenarios below it; no FILE behind --compare or --record for all.";

/// How often Node is asked before its trace is recorded: what is not the same each time is no
/// oracle.
const TRIALS: usize = 3;

/// Does what the arguments say.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [] | ["--help" | "-h"] = words.as_slice() {
        println!("{USAGE}");
        return ExitCode::from(2);
    }
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

/// The same of some words. An error is what is told of whatever has gone wrong.
pub fn run(words: &[&str]) -> Result<(), String> {
    match words {
        ["--inner", file] => {
            check::inner(Path::new(file));
            Ok(())
        }
        ["--inner-batch"] => {
            check::inner_batch();
            Ok(())
        }
        ["--generate", options @ ..] => generate(options),
        ["--mutations"] => mutations::run("", batch_of_this_program),
        ["--mutations", part] => mutations::run(part, batch_of_this_program),
        ["--tables"] => tables::write(),
        ["--compare", files @ ..] => scenarios(files).and_then(compare),
        // Without a file everything is checked, as `cargo test` does.
        ["--check"] => tables::check().and_then(|()| scenarios(&[]).and_then(check_all)),
        ["--check", files @ ..] => scenarios(files).and_then(check_all),
        ["--record", files @ ..] => scenarios(files).and_then(record),
        ["--node", node, files @ ..] => {
            let node = PathBuf::from(node);
            if let Err(what) = pinned::check_version(&node) {
                eprintln!("note: {what}");
            }
            scenarios(files).and_then(|scenarios| show(&scenarios, |it| pinned::trace(&node, it)))
        }
        ["--gathered", files @ ..] => {
            scenarios(files).and_then(|scenarios| show(&scenarios, |it| ours(it, Writes::Gathered)))
        }
        [option, ..] if option.starts_with("--") => Err(USAGE.to_string()),
        files => {
            scenarios(files).and_then(|scenarios| show(&scenarios, |it| ours(it, Writes::AtOnce)))
        }
    }
}

fn generate(options: &[&str]) -> Result<(), String> {
    let number = |text: &str| {
        text.parse()
            .map_err(|_| format!("`{text}` is no number\n{USAGE}"))
    };
    let (mut seed, mut length) = (None, Length::Count(1000));
    let mut subject = None;
    for option in options.chunks(2) {
        match option {
            ["--one", seed] => {
                print!("{}", maker::make(number(seed)?, subject).0.text());
                return Ok(());
            }
            ["--shrink", seed] => {
                let seed = number(seed)?;
                return told(generated::run_one(seed, subject, batch_of_this_program)?);
            }
            ["--subject", name] => subject = Some(maker::subject(name)?),
            ["--seed", text] => seed = Some(number(text)?),
            ["--count", text] => length = Length::Count(number(text)?),
            ["--minutes", text] => length = Length::Time(Duration::from_secs(60 * number(text)?)),
            _ => return Err(USAGE.to_string()),
        }
    }
    let fresh = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(1, |now| now.as_secs() ^ u64::from(now.subsec_nanos()) << 20)
    };
    let seed = seed.unwrap_or_else(fresh);
    println!("seed {seed}");
    told(generated::run(
        seed,
        subject,
        length,
        batch_of_this_program,
        true,
    )?)
}

/// Where nothing was decided nothing was found, either: as where one of the programs can't be played at
/// all.
fn told(tally: Tally) -> Result<(), String> {
    tally.print();
    counted(tally.failures.len())?;
    match tally.agree + tally.known_scenarios {
        0 => Err("nothing was decided".into()),
        _ => Ok(()),
    }
}

fn batch_of_this_program() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.arg("--inner-batch");
    command
}

fn inner_command(file: &Path) -> Command {
    let own = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(own);
    command.arg("--inner").arg(file);
    command
}

fn ours(scenario: &Scenario, writes: Writes) -> Outcome {
    our_trace(scenario, writes, &inner_command)
}

/// Reads the scenarios that are meant.
fn scenarios(words: &[&str]) -> Result<Vec<Scenario>, String> {
    let mut files = Vec::new();
    for word in words {
        let path = PathBuf::from(word);
        match path.is_dir() {
            true => {
                let below = files_below(&path);
                if below.is_empty() {
                    return Err(format!("{word}: no scenarios are below it"));
                }
                files.extend(below);
            }
            false => files.push(path),
        }
    }
    if words.is_empty() {
        files = files_below(&committed());
    }
    let loaded = files.iter().map(|file| Scenario::load(file));
    loaded
        .collect::<Result<_, _>>()
        .map_err(|fault| fault.to_string())
}

fn show(scenarios: &[Scenario], trace: impl Fn(&Scenario) -> Outcome) -> Result<(), String> {
    let mut failures = 0;
    for scenario in scenarios {
        if scenarios.len() > 1 {
            println!("# {}", scenario.name());
        }
        let outcome = trace(scenario);
        for line in &outcome.lines {
            println!("{line}");
        }
        if let Some(why) = outcome.failure {
            eprintln!("{}: {why}", scenario.name());
            failures += 1;
        }
    }
    counted(failures)
}

fn compare(scenarios: Vec<Scenario>) -> Result<(), String> {
    let node = pinned::find()?;
    let compared = |scenario: &Scenario| {
        if scenario.why_not().is_some() {
            return Ok(None);
        }
        let theirs = whole(pinned::trace(&node, scenario), "Node")?;
        let ours = whole(ours(scenario, Writes::AtOnce), "ours")?;
        Ok(difference(["Node", "ours"], &theirs, &ours))
    };
    let results = each(&scenarios, compared);
    let mut failures = 0;
    for (scenario, mut result) in scenarios.iter().zip(results) {
        let name = scenario.name();
        // On a busy machine a timer may be late: it is played again, alone.
        for _ in 0..AGAIN {
            let rows = match (&result, &scenario.differs) {
                (Err(rows), _) | (Ok(Some(rows)), None) => rows,
                _ => break,
            };
            println!("{name}: differs, once more:\n{rows}");
            result = compared(scenario);
        }
        match (result, &scenario.differs, scenario.why_not()) {
            (_, _, Some(why)) => println!("{name}: skipped: {why}"),
            // No run that was not what it should be is meant.
            (Err(what), _, _) => {
                failures += 1;
                println!("{name}: FAILS\n{what}");
            }
            (Ok(None), None, _) => println!("{name}: agree"),
            (Ok(None), Some(_), _) => {
                failures += 1;
                println!("{name}: agree, though it is marked `differs`");
            }
            (Ok(Some(rows)), Some(why), _) => {
                println!("{name}: differs as meant: {why}\n{rows}");
            }
            (Ok(Some(rows)), None, _) => {
                failures += 1;
                println!("{name}: DIFFER\n{rows}");
            }
        }
    }
    println!("{} scenarios, {failures} wrong", scenarios.len());
    counted(failures)
}

fn check_all(scenarios: Vec<Scenario>) -> Result<(), String> {
    let node = pinned::find();
    if let Err(what) = &node {
        println!("Node's recorded traces only: {what}");
    }
    let node = node.ok();
    let verdicts = check_each(&scenarios, node.as_deref(), &inner_command);
    report(&scenarios, &verdicts)
}

/// Prints what did not agree, and the counts.
pub fn report(scenarios: &[Scenario], verdicts: &[Verdict]) -> Result<(), String> {
    let mut counts = [0; 4];
    for (scenario, verdict) in scenarios.iter().zip(verdicts) {
        let index = match verdict {
            Verdict::Agrees => 0,
            Verdict::Differs => 1,
            Verdict::Skipped(why) => {
                println!("{}: skipped: {why}", scenario.name());
                2
            }
            Verdict::Fails(what) => {
                println!("{}: {what}", scenario.name());
                3
            }
        };
        counts[index] += 1;
    }
    let [agree, differ, skipped, failures] = counts;
    println!("{agree} agree, {differ} differ as meant, {skipped} skipped, {failures} fail");
    counted(failures)
}

fn record(scenarios: Vec<Scenario>) -> Result<(), String> {
    let node = pinned::find()?;
    let results = each(&scenarios, |scenario| record_one(&node, scenario));
    let mut failures = 0;
    for (scenario, result) in scenarios.iter().zip(results) {
        if let Err(what) = result {
            failures += 1;
            println!("{}: not recorded: {what}", scenario.name());
        }
    }
    println!("{} recorded", scenarios.len() - failures);
    counted(failures)
}

fn record_one(node: &Path, scenario: &Scenario) -> Result<(), String> {
    if let Some(why) = scenario.why_not() {
        println!("{}: skipped: {why}", scenario.name());
        return Ok(());
    }
    let steady = |whose: &str, trace: &dyn Fn() -> Outcome| {
        let first = whole(trace(), whose)?;
        for _ in 1..TRIALS {
            let next = whole(trace(), whose)?;
            if let Some(rows) = difference(["once", "another time"], &first, &next) {
                return Err(format!("{whose} is not the same each time:\n{rows}"));
            }
        }
        Ok(first)
    };
    let [of_node, of_ours, of_gathered] = recordings(scenario);
    let lines = steady("Node", &|| pinned::trace(node, scenario))?;
    write_lines(&of_node, &lines)?;
    if scenario.differs.is_some() {
        let lines = steady("ours", &|| ours(scenario, Writes::AtOnce))?;
        write_lines(&of_ours, &lines)?;
    }
    if scenario.gathering.is_some() {
        let lines = steady("ours, gathered", &|| ours(scenario, Writes::Gathered))?;
        write_lines(&of_gathered, &lines)?;
    }
    Ok(())
}

fn write_lines(file: &Path, lines: &[String]) -> Result<(), String> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn counted(failures: usize) -> Result<(), String> {
    match failures {
        0 => Ok(()),
        count => Err(format!("{count} failed")),
    }
}
