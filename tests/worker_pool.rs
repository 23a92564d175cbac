//! Work in other threads, and what comes back.

mod support;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, ThreadId};

use nodeloop::{HandleKind, Job, Loop, LoopHandle};
use support::*;

/// Work that says in which thread it is done, and goes on when it is let go.
fn gated() -> (
    impl FnOnce() -> ThreadId + Send + 'static,
    Receiver<ThreadId>,
    Sender<()>,
) {
    let (says, begun) = channel();
    let (let_go, gate) = channel::<()>();
    let work = move || {
        let thread = thread::current().id();
        says.send(thread).unwrap();
        let _ = gate.recv_timeout(PATIENCE);
        thread
    };
    (work, begun, let_go)
}

#[test]
fn h1_nothing_is_started_before_there_is_work() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    lp.set_immediate(|_| {});
    lp.run().unwrap();
    assert_eq!((lp.worker_threads(), lp.counts().jobs), (0, 0));
}

#[test]
fn h1_four_threads_by_default_and_as_many_as_are_allowed() {
    for (allowed, threads) in [(None, 4), (Some(1), 1), (Some(0), 1), (Some(7), 7)] {
        let builder = match allowed {
            None => Loop::builder(),
            Some(allowed) => Loop::builder().worker_threads(allowed),
        };
        let lp = builder.build().unwrap();
        let _deadline = deadline(&lp, 20);
        let seen = Rc::new(std::cell::RefCell::new(BTreeSet::new()));
        for _ in 0..50 {
            let seen = seen.clone();
            let work = || {
                // Long enough for the others to take their share.
                let (_keep, gate) = channel::<()>();
                let _ = gate.recv_timeout(std::time::Duration::from_millis(1));
                format!("{:?}", thread::current().id())
            };
            lp.spawn_blocking(work, move |_, thread| {
                seen.borrow_mut().insert(thread.unwrap());
            });
        }
        assert_eq!(lp.worker_threads(), threads);
        lp.run().unwrap();
        assert!((1..=threads).contains(&seen.borrow().len()));
        assert_eq!((lp.worker_threads(), lp.counts().jobs), (threads, 50));
    }
}

#[test]
fn h3_results_come_in_the_poll_phase_each_with_its_ticks() {
    let lp = Loop::builder().worker_threads(1).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (work, begun, let_go) = gated();
    lp.spawn_blocking(work, |_, _| {});
    for name in ["one", "two"] {
        let log = log.clone();
        lp.spawn_blocking(
            move || name,
            move |lp, name| {
                let name = name.unwrap();
                log.note(name);
                let ticks = log.clone();
                lp.next_tick(move |_| ticks.note(format!("tick of {name}")));
                lp.set_immediate(log.noting("immediate"));
            },
        );
    }
    lp.prepare(log.noting("prepare")).unref();
    lp.check(log.noting("check")).unref();
    begun.recv_timeout(PATIENCE).unwrap();
    drop(let_go);
    // The thread does all three before this one can look: it works until its queue is empty.
    let (work, begun, _let_go) = gated();
    lp.spawn_blocking(work, |_, _| {});
    begun.recv_timeout(PATIENCE).unwrap();
    lp.run_nowait().unwrap();
    log.expect(&[
        "prepare",
        "one",
        "tick of one",
        "two",
        "tick of two",
        "immediate",
        "immediate",
        "check",
    ]);
}

#[test]
fn h4_outstanding_work_keeps_the_loop_alive() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (work, begun, let_go) = gated();
    let done = Rc::new(Cell::new(false));
    let over = done.clone();
    let job = lp.spawn_blocking(work, move |_, _| over.set(true));
    assert!(lp.is_alive() && job.is_pending());
    let kinds: Vec<_> = lp.handles().iter().map(|handle| handle.kind).collect();
    assert!(kinds.contains(&HandleKind::Job), "{kinds:?}");
    let why = lp.why_alive().to_string();
    assert!(
        why.contains("work in another thread (tests/worker_pool.rs"),
        "{why}"
    );
    begun.recv_timeout(PATIENCE).unwrap();
    assert!(lp.run_nowait().unwrap());
    drop(let_go);
    lp.run().unwrap();
    assert!(done.get() && !lp.is_alive() && !job.is_pending());
}

#[test]
fn h5_work_that_nobody_has_begun_can_be_cancelled() {
    let lp = Loop::builder().worker_threads(1).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (work, begun, let_go) = gated();
    let first = lp.spawn_blocking(work, |_, result| assert!(result.is_ok()));
    begun.recv_timeout(PATIENCE).unwrap();
    let log_of = log.clone();
    let second = lp.spawn_blocking(
        || unreachable!("it was cancelled"),
        move |_, result: nodeloop::Result<()>| log_of.note(code(result)),
    );
    assert!(!first.cancel(), "it has begun");
    assert!(second.cancel());
    assert!(!second.cancel(), "it was cancelled already");
    log.expect(&[]);
    assert!(second.is_pending(), "its end comes later");
    lp.run_nowait().unwrap();
    log.expect(&["ECANCELED"]);
    drop(let_go);
    lp.run().unwrap();
    assert!(!first.cancel(), "it is over");
}

#[test]
fn a_panic_in_the_work_arrives_as_an_error() {
    let lp = Loop::builder().worker_threads(1).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let seen = log.clone();
    lp.spawn_blocking(
        || panic!("no {}", "luck"),
        move |_, result: nodeloop::Result<()>| seen.note(result.unwrap_err()),
    );
    // Its thread goes on.
    let seen = log.clone();
    lp.spawn_blocking(|| 7, move |_, seven| seen.note(seven.unwrap()));
    lp.run().unwrap();
    log.expect(&["[ERR_WORK_PANICKED] The work has panicked: no luck", "7"]);
    assert_eq!(lp.worker_threads(), 1);
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

// What a panic carried was dropped before the loop was told of the panic, and took the thread with it: the loop
// waited for both for ever.
#[test]
fn a_panic_whose_payload_panics_too_is_told_and_leaves_the_thread() {
    let lp = Loop::builder().worker_threads(1).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let [first, second] = [log.clone(), log.clone()];
    lp.spawn_blocking(
        || std::panic::panic_any(Bomb),
        move |_, result: nodeloop::Result<()>| first.note(result.unwrap_err()),
    );
    lp.spawn_blocking(|| 7, move |_, result| second.note(result.unwrap()));
    lp.run().unwrap();
    log.expect(&["[ERR_WORK_PANICKED] The work has panicked.", "7"]);
    assert_eq!(lp.worker_threads(), 1);
}

#[test]
fn a_panic_in_done_loses_no_other_result() {
    let lp = Loop::builder().worker_threads(1).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    lp.spawn_blocking(|| (), |_, _| panic!("done"));
    let seen = log.clone();
    lp.spawn_blocking(|| (), move |_, _| seen.note("second"));
    assert_eq!(caught(|| lp.run()), "done");
    lp.run().unwrap();
    log.expect(&["second"]);
    assert!(!lp.is_alive());
}

#[test]
fn done_may_start_more_and_captures_handles() {
    fn again(lp: LoopHandle, left: u32, log: Recorder) -> Job {
        lp.spawn_blocking(
            move || left,
            move |lp, left| {
                let left = left.unwrap();
                log.note(left);
                if left > 0 {
                    again(lp, left - 1, log);
                }
            },
        )
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    again(lp.handle(), 2, log.clone());
    lp.run().unwrap();
    log.expect(&["2", "1", "0"]);
}

#[test]
fn a_loop_that_is_dropped_drops_done_and_what_waits() {
    let lp = Loop::builder().worker_threads(1).build().unwrap();
    let _watched = watched(20);
    let log = Recorder::new();
    let (work, begun, let_go) = gated();
    let guard = on_drop({
        let log = log.clone();
        move || log.note("done is dropped")
    });
    lp.spawn_blocking(work, move |_, _| guard.hold());
    begun.recv_timeout(PATIENCE).unwrap();
    let (_waits, waited) = channel::<()>();
    lp.spawn_blocking(
        move || drop(_waits),
        |_, _| unreachable!("the loop is gone"),
    );
    let handle = lp.handle();
    drop(lp);
    log.expect(&["done is dropped"]);
    // Nobody has begun it: what it captured is gone.
    assert!(waited.recv_timeout(PATIENCE).is_err());
    drop(let_go);
    let nothing = handle.spawn_blocking(|| (), |_, _| unreachable!("there is no loop"));
    assert!(!nothing.is_pending() && !nothing.cancel());
    assert_eq!(handle.worker_threads(), 0);
}

#[test]
fn a_thousand_jobs_are_done_by_four_threads() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 30);
    let sum = Rc::new(Cell::new(0));
    for number in 0..1000_u64 {
        let sum = sum.clone();
        lp.spawn_blocking(
            move || number,
            move |_, number| sum.set(sum.get() + number.unwrap()),
        );
    }
    lp.run().unwrap();
    assert_eq!(sum.get(), 999 * 1000 / 2);
    assert_eq!((lp.worker_threads(), lp.counts().jobs), (4, 1000));
}

#[test]
fn the_memory_that_is_kept_for_jobs_is_told() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 30);
    // A job takes a place, which has at least whom to tell, and a number.
    let places = 10_000 * 3 * size_of::<usize>();
    let before = lp.memory().queues;
    for _ in 0..10_000 {
        lp.spawn_blocking(|| (), |_, _| {});
    }
    let grown = lp.memory().queues - before;
    assert!(grown >= places, "{grown} bytes of {places}");
    lp.run().unwrap();
    assert!(lp.memory().queues - before >= places);
}

#[test]
fn h5_who_cancels_again_and_again_does_not_keep_the_loop_from_the_rest() {
    // `done` was told within the same poll phase, so one that started and cancelled the next never left it.
    fn again(lp: LoopHandle, left: Rc<Cell<u32>>) {
        left.set(left.get() - 1);
        if left.get() > 0 {
            let job = lp.spawn_blocking(|| (), move |lp, _| again(lp, left));
            assert!(job.cancel());
        }
    }
    let lp = Loop::builder().worker_threads(1).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let (work, _begun, let_go) = gated();
    lp.spawn_blocking(work, |_, _| {});
    let left = Rc::new(Cell::new(1000));
    again(*lp, left.clone());
    lp.run_nowait().unwrap();
    assert_eq!(left.get(), 998);
    left.set(1);
    drop(let_go);
    lp.run().unwrap();
}
