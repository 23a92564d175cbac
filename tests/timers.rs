//! Timers, beyond what scenarios show: whether one will fire.

mod support;

use std::cell::Cell;
use std::rc::Rc;

use nodeloop::Loop;
use support::*;

#[test]
fn t6_a_timeout_is_active_until_it_fires_or_is_cleared() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let ran = Rc::new(Cell::new(false));
    let inner = ran.clone();
    let timer = lp.set_timeout(1, move |timer| {
        assert!(!timer.is_active());
        inner.set(true);
    });
    assert!(timer.is_active());
    timer.unref();
    assert!(timer.is_active(), "that is another question");
    timer.set_ref();
    turn_until(&lp, || ran.get());
    assert!(!timer.is_active());
    let cleared = lp.set_timeout(1, |_| {});
    cleared.clear();
    assert!(!cleared.is_active());
}

#[test]
fn n29_a_refreshed_timeout_is_active() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let runs = Rc::new(Cell::new(0));
    let inner = runs.clone();
    let timer = lp.set_timeout(1, move |timer| {
        inner.set(inner.get() + 1);
        if inner.get() == 1 {
            timer.refresh();
            assert!(timer.is_active());
        }
    });
    timer.keep();
    turn_until(&lp, || runs.get() == 2);
    // It is kept, and does not wait.
    assert!(!timer.is_active());
    timer.refresh();
    assert!(timer.is_active());
    turn_until(&lp, || runs.get() == 3);
    assert!(!timer.is_active());
    timer.release();
    assert!(!timer.is_active());
}

#[test]
fn n28_an_interval_is_active_until_it_is_cleared() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let runs = Rc::new(Cell::new(0));
    let inner = runs.clone();
    let timer = lp.set_interval(1, move |timer| {
        assert!(timer.is_active());
        inner.set(inner.get() + 1);
        if inner.get() == 3 {
            timer.clear();
            assert!(!timer.is_active());
        }
    });
    turn_until(&lp, || runs.get() == 1);
    assert!(timer.is_active());
    turn_until(&lp, || runs.get() == 3);
    assert!(!timer.is_active());
}
