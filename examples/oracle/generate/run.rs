//! Many generated scenarios.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::judge::{Batch, Judge, Verdict};
use super::maker;
use super::random::mixed;
use super::shrink::shrink;
use crate::oracle::pinned;

/// How many play at a time. They mostly wait.
const AT_A_TIME: usize = 5;

/// What came of a run.
#[derive(Debug, Default)]
pub struct Tally {
    pub agree: u64,
    pub undecided: u64,
    pub unsteady: u64,
    /// How often each reason accounted for a difference that is meant.
    pub known: BTreeMap<&'static str, u64>,
    pub known_scenarios: u64,
    pub impossible: u64,
    /// How many of each subject.
    pub subjects: BTreeMap<&'static str, u64>,
    /// What differs, shrunk, as it is to be printed.
    pub failures: Vec<String>,
}

/// How long a run is.
#[derive(Debug, Clone, Copy)]
pub enum Length {
    Count(u64),
    Time(Duration),
}

/// Plays scenarios of a seed, of one subject or of all. Each has a seed of its own, which makes it again:
/// `--generate --one SEED`.
pub fn run(
    seed: u64,
    subject: Option<&str>,
    length: Length,
    batch: Batch,
    loud: bool,
) -> Result<Tally, String> {
    let node = pinned::find()?;
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                let mut judge = Judge::new(node.clone(), batch);
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let goes_on = match length {
                        Length::Count(count) => index < count,
                        Length::Time(time) => begun.elapsed() < time,
                    };
                    if !goes_on {
                        return;
                    }
                    one(&mut judge, mixed(seed, index), subject, loud, &tally);
                    if loud && (index + 1).is_multiple_of(100) {
                        let seconds = begun.elapsed().as_secs();
                        println!("{} scenarios in {seconds} s", index + 1);
                    }
                }
            });
        }
    });
    Ok(tally.into_inner().expect("the tally"))
}

/// Plays the scenario of one seed.
pub fn run_one(seed: u64, subject: Option<&str>, batch: Batch) -> Result<Tally, String> {
    let tally = Mutex::new(Tally::default());
    let mut judge = Judge::new(pinned::find()?, batch);
    one(&mut judge, seed, subject, true, &tally);
    Ok(tally.into_inner().expect("the tally"))
}

fn one(judge: &mut Judge, seed: u64, wanted: Option<&str>, loud: bool, tally: &Mutex<Tally>) {
    let (document, subject) = maker::make(seed, wanted);
    let verdict = judge.judge(&document);
    let mut shown = None;
    match &verdict {
        Verdict::Differs(rows) => {
            let (smallest, rows) = shrink(judge, &document, rows.clone());
            shown = Some(format!("seed {seed} DIFFERS\n{}\n{rows}", smallest.text()));
        }
        Verdict::Impossible(what) if loud => {
            println!("seed {seed}: impossible: {what}");
        }
        _ => {}
    }
    if let Some(shown) = shown.as_ref().filter(|_| loud) {
        println!("{shown}");
    }
    let mut tally = tally.lock().expect("the tally");
    *tally.subjects.entry(subject).or_default() += 1;
    match verdict {
        Verdict::Agrees => tally.agree += 1,
        Verdict::Undecided => tally.undecided += 1,
        Verdict::Unsteady => tally.unsteady += 1,
        Verdict::Impossible(_) => tally.impossible += 1,
        Verdict::Known(reasons) => {
            tally.known_scenarios += 1;
            for reason in reasons {
                *tally.known.entry(reason).or_default() += 1;
            }
        }
        Verdict::Differs(_) => tally.failures.extend(shown),
    }
}

impl Tally {
    /// Prints the counts.
    pub fn print(&self) {
        let subjects: Vec<String> = self
            .subjects
            .iter()
            .map(|(it, n)| format!("{n} {it}"))
            .collect();
        println!("subjects: {}", subjects.join(", "));
        println!(
            "{} agree, {} differ as meant, {} not decided by Node, {} not the same at a second look, \
             {} can't be played, {} DIFFER",
            self.agree,
            self.known_scenarios,
            self.undecided,
            self.unsteady,
            self.impossible,
            self.failures.len()
        );
        for (reason, count) in &self.known {
            println!("  {count} times as meant: {reason}");
        }
    }
}
