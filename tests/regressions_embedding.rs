//! Bugs of embedding that were, each with its test.

mod support;

use std::time::Duration;

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
