//! What the log tells of turns at level trace is true and whole. In a program of its own, since a process
//! has one logger.

mod support;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use log::{LevelFilter, Log, Metadata, Record};
use nodeloop::Loop;
use support::*;

thread_local! {
    /// What this thread's loops have told.
    static TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Notes what is told of turns.
struct Listener;

impl Log for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() == log::Level::Trace
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            TOLD.with_borrow_mut(|told| told.push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// A loop of which all is noted.
fn told_of() -> Loop {
    // Another test of this file may have been first.
    let _ = log::set_logger(&Listener);
    log::set_max_level(LevelFilter::Trace);
    Loop::new().unwrap()
}

/// Whether one of the records that have come so far is `wanted`, but for what stands behind it.
fn was_told(wanted: &str) -> bool {
    TOLD.with_borrow(|told| told.iter().any(|record| record.starts_with(wanted)))
}

/// The program's own words stand among the records.
fn say(word: &str) {
    TOLD.with_borrow_mut(|told| told.push(word.to_string()));
}

/// The record in front of a word of the program's.
fn told_before(word: &str) -> String {
    TOLD.with_borrow(|told| {
        let at = told.iter().position(|it| it == word);
        told[at.expect("it was said") - 1].clone()
    })
}

#[test]
fn what_other_threads_bring_is_told() {
    let lp = told_of();
    let _deadline = deadline(&lp, 10);
    lp.remote().post(|_| say("posted")).unwrap();
    let sender = lp.channel(|_, word: &'static str| say(word));
    sender.send("first").unwrap();
    sender.send("second").unwrap();
    drop(sender);
    lp.spawn_blocking(|| (), |_, _| say("worked"));
    turn_until(&lp, || was_told("second") && was_told("worked"));
    for (word, record) in [
        ("posted", "turn 1 poll: a posted closure"),
        (
            "first",
            "turn 1 poll: a message of a channel (tests/trace.rs:",
        ),
        (
            "second",
            "turn 1 poll: a message of a channel (tests/trace.rs:",
        ),
    ] {
        let told = told_before(word);
        assert!(told.starts_with(record), "{told}");
    }
    let told = told_before("worked");
    assert!(told.contains(" poll: Job(0."), "{told}");
    assert!(told.contains(" is done (tests/trace.rs:"), "{told}");
}

/// It was told as of the phase in which a listener has panicked.
#[test]
fn what_follows_a_panic_is_between_turns() {
    let lp = told_of();
    let _deadline = deadline(&lp, 10);
    lp.set_immediate(|_| panic!("in the check phase"));
    assert!(catch_unwind(AssertUnwindSafe(|| lp.run_nowait())).is_err());
    assert!(was_told("turn 1 check: Immediate(0."));
    lp.next_tick(|_| say("tick"));
    lp.run_nowait().unwrap();
    let told = told_before("tick");
    assert!(told.starts_with("between turns: tick: next_tick"), "{told}");
}
