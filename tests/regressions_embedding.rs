//! Bugs of embedding that were, each with its test.

mod support;

#[cfg(unix)]
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

#[cfg(unix)]
use mio::unix::SourceFd;
#[cfg(unix)]
use mio::{Events, Interest, Poll, Token};
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

#[cfg(unix)]
#[test]
fn connections_behind_one_that_was_turned_away_waited_for_the_next_event_of_an_outer_loop() {
    // It waited by edges, as mio does: the kernel told it of three connections once, a turn took one, and who
    // is turned away is not watched, which would have told it again.
    let lp = Loop::new().unwrap();
    let _watched = watched(20);
    let log = Recorder::new();
    let (server, address) = listening(&lp, |_| {});
    server.set_max_connections(Some(0));
    let seen = log.clone();
    server.on_drop(move |_, _| seen.note("drop"));
    lp.run_nowait().unwrap();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let descriptor = lp.as_raw_fd();
    let mut source = SourceFd(&descriptor);
    let registry = poll.registry();
    registry
        .register(&mut source, Token(0), Interest::READABLE)
        .unwrap();
    let _peers = [(); 3].map(|()| connect(address));
    while log.count("drop") < 3 {
        // A watchdog ends what waits for ever.
        poll.poll(&mut events, lp.poll_timeout()).unwrap();
        lp.run_nowait().unwrap();
    }
    // Then nobody waits any more.
    lp.run_nowait().unwrap();
    assert_eq!(lp.poll_timeout(), None);
}

#[test]
fn what_an_error_had_left_unreferenced_waited_for_the_next_event_of_an_embedded_loop() {
    let lp = Loop::new().unwrap();
    let log = Recorder::new();
    lp.set_timeout(60_000, |_| {});
    lp.set_immediate(|immediate| immediate.event_loop().fail("enough"));
    lp.set_immediate(log.noting("immediate")).unref();
    assert!(lp.run_nowait().is_err());
    assert_eq!(lp.poll_timeout(), Some(Duration::ZERO));
    assert!(lp.run_nowait().unwrap());
    log.expect(&["immediate"]);
    assert_ne!(lp.poll_timeout(), Some(Duration::ZERO));
}
