//! Bugs of embedding that were, each with its test.

mod support;

use std::time::{Duration, Instant};

use nodeloop::Loop;
use support::*;

#[test]
fn a_tick_queued_between_two_turns_waited_for_the_next_event_of_an_embedded_loop() {
    // `poll_timeout` looked at phases only, and said "without limit" although a tick waited.
    let lp = Loop::new().unwrap();
    let (_server, _) = listening(&lp, |_| {});
    lp.run_nowait().unwrap();
    let log = Recorder::new();
    lp.next_tick(log.noting("tick"));
    assert_eq!(lp.poll_timeout(), Some(Duration::ZERO));
    lp.run_nowait().unwrap();
    log.expect(&["tick"]);
    assert_eq!(lp.poll_timeout(), None);
}

#[test]
fn l14_an_idle_watcher_left_over_by_a_phase_that_was_ended_waited_for_the_next_event() {
    // What had not run yet counted for nothing: `poll_timeout` said "without limit".
    let lp = Loop::new().unwrap();
    let log = Recorder::new();
    lp.idle(log.noting("idle"));
    lp.idle(|watcher| {
        watcher.close();
        watcher.event_loop().fail("enough");
    });
    assert!(lp.run_nowait().is_err());
    assert_eq!(lp.poll_timeout(), Some(Duration::ZERO));
    lp.run_nowait().unwrap();
    log.expect(&["idle"]);
}

#[test]
fn l13_what_is_left_of_an_idle_phase_has_run_once_not_wait() {
    // It closes itself, and the turn that was to run it waited for the timer.
    let lp = Loop::new().unwrap();
    lp.set_timeout(60_000, |_| {});
    lp.idle(|watcher| watcher.close());
    lp.idle(|watcher| {
        watcher.close();
        watcher.event_loop().fail("enough");
    });
    assert!(lp.run_nowait().is_err());
    let begun = Instant::now();
    assert!(lp.run_once().unwrap());
    assert!(begun.elapsed() < Duration::from_secs(10));
}
