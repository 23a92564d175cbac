//! The re-entrancy contract, rule 6, where it is the logger that panics. In a program of its own, since a process
//! has one logger.

mod support;

use std::cell::Cell;

use log::{LevelFilter, Log, Metadata, Record};
use nodeloop::Loop;
use support::*;

thread_local! {
    /// How many records come before the one with which it panics; none if it does not.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    /// How many have come.
    static SEEN: Cell<usize> = const { Cell::new(0) };
}

/// Panics with one record.
struct Fragile;

impl Log for Fragile {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        SEEN.set(SEEN.get() + 1);
        let left = LEFT.get();
        LEFT.set(left.and_then(|left| left.checked_sub(1)));
        assert_ne!(left, Some(0), "no room for: {}", record.args());
    }

    fn flush(&self) {}
}

/// Everything that a loop tells of, with a panic at one record in `run`.
fn play(panics_at: Option<usize>) -> (Vec<String>, usize) {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let inner = log.clone();
    let (_, address) = listening(&lp, move |socket| {
        inner.note("connection");
        inner.follow(socket);
        // Its `close` would tell the log, and a listener that the logger ends does not do the rest.
        socket.server().unwrap().unref();
    });
    let peer = connect(address);
    send_and_end(&peer, b"question");
    lp.next_tick(log.noting("tick"));
    lp.set_immediate(log.noting("immediate")).unref();
    lp.set_timeout(1, log.noting("timer"));
    lp.prepare(log.noting("prepare")).unref();
    lp.channel(|_, ()| {}).close();
    block(3);
    SEEN.set(0);
    LEFT.set(panics_at);
    let mut panics = 0;
    while std::panic::catch_unwind(|| lp.run().unwrap()).is_err() {
        panics += 1;
    }
    assert_eq!(panics, usize::from(panics_at.is_some()));
    let mut seen = log.take();
    // How many turns there are is another matter.
    seen.retain(|event| event != "prepare");
    (seen, SEEN.take())
}

/// What it was told of was lost, and the loop of a timer never ended.
#[test]
fn rule_6_what_the_logger_is_told_of_happens_though_it_panics() {
    log::set_logger(&Fragile).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let (plain, records) = play(None);
    assert!(plain.len() == 8 && records > 20, "{plain:?}, {records}");
    for record in 0..records {
        assert_eq!(play(Some(record)).0, plain, "record {record}");
    }
}
