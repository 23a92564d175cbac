//! What keeps a program alive: timers, immediates, ticks, watchers, `stop` (N46, N59, N60). A
//! process per row.
//!
//! `tests/support_process/liveness.rs` tells how a row is checked, and how to check the rows
//! against Node.

mod support_process;

use std::cell::Cell;

use nodeloop::net;
use support_process::liveness::Step::*;
use support_process::liveness::{listen, row, say};

// Timers.

#[test]
fn n59_a_timeout_holds_until_it_has_fired() {
    row(
        "setTimeout(() => say('fired'), 20);",
        &[Prints("fired"), Exits],
        |lp| {
            lp.set_timeout_once(20, |_| say("fired"));
        },
    );
}

#[test]
fn n59_an_unreferenced_timeout_alone_does_not_fire() {
    row(
        "setTimeout(() => say('fired'), 1).unref();",
        &[Exits],
        |lp| lp.set_timeout_once(1, |_| say("fired")).unref(),
    );
}

#[test]
fn n59_it_does_while_something_else_holds() {
    row(
        "setTimeout(() => say('unreferenced'), 5).unref();
         setTimeout(() => say('referenced'), 30);",
        &[Prints("unreferenced"), Prints("referenced"), Exits],
        |lp| {
            lp.set_timeout_once(5, |_| say("unreferenced")).unref();
            lp.set_timeout_once(30, |_| say("referenced"));
        },
    );
}

#[test]
fn n59_it_does_not_when_the_other_is_over_before() {
    row(
        "setTimeout(() => say('unreferenced'), 60000).unref();
         setTimeout(() => say('referenced'), 5);",
        &[Prints("referenced"), Exits],
        |lp| {
            lp.set_timeout_once(60_000, |_| say("unreferenced")).unref();
            lp.set_timeout_once(5, |_| say("referenced"));
        },
    );
}

#[test]
fn n59_it_does_while_a_server_holds() {
    row(
        "listen(net.createServer());
         setTimeout(() => say('fired'), 20).unref();",
        &[Prints("listening"), Prints("fired"), StaysAlive],
        |lp| {
            listen(net::create_server(lp, |_| {}));
            lp.set_timeout_once(20, |_| say("fired")).unref();
        },
    );
}

#[test]
fn n59_ref_and_unref_of_a_timer_are_not_counted() {
    row(
        "setTimeout(() => say('first'), 10).unref().unref().ref();
         setTimeout(() => say('second'), 60000).ref().ref().unref();",
        &[Prints("first"), Exits],
        |lp| {
            let first = lp.set_timeout_once(10, |_| say("first"));
            first.unref();
            first.unref();
            first.set_ref();
            let second = lp.set_timeout_once(60_000, |_| say("second"));
            second.set_ref();
            second.set_ref();
            second.unref();
        },
    );
}

#[test]
fn n59_has_ref_tells() {
    row(
        "const timer = setTimeout(() => {}, 5);
         say(timer.hasRef());
         timer.unref();
         say(timer.hasRef());
         timer.ref();
         say(timer.hasRef());",
        &[Prints("true"), Prints("false"), Prints("true"), Exits],
        |lp| {
            let timer = lp.set_timeout_once(5, |_| {});
            say(timer.has_ref());
            timer.unref();
            say(timer.has_ref());
            timer.set_ref();
            say(timer.has_ref());
        },
    );
}

#[test]
fn n59_an_interval_holds() {
    row(
        "let left = 2;
         setInterval(() => { if (left-- > 0) say('again'); }, 5);",
        &[Prints("again"), Prints("again"), StaysAlive],
        |lp| {
            let mut left = 2;
            lp.set_interval(5, move |_| {
                if left > 0 {
                    left -= 1;
                    say("again");
                }
            });
        },
    );
}

#[test]
fn n28_an_interval_that_is_cleared_in_its_callback_does_not() {
    row(
        "const timer = setInterval(() => { say('once'); clearInterval(timer); }, 5);",
        &[Prints("once"), Exits],
        |lp| {
            lp.set_interval(5, |timer| {
                say("once");
                timer.clear();
            });
        },
    );
}

#[test]
fn n59_nor_does_one_that_is_unreferenced_in_its_callback() {
    row(
        "const timer = setInterval(() => { say('once'); timer.unref(); }, 200);",
        &[Prints("once"), Exits],
        |lp| {
            lp.set_interval(200, |timer| {
                say("once");
                timer.unref();
            });
        },
    );
}

#[test]
fn n24_a_cleared_timeout_does_not_hold() {
    row(
        "clearTimeout(setTimeout(() => say('fired'), 100000)); say('cleared');",
        &[Prints("cleared"), Exits],
        |lp| {
            lp.set_timeout_once(100_000, |_| say("fired")).clear();
            say("cleared");
        },
    );
}

#[test]
fn n31_ref_after_clear_does_not_hold() {
    row(
        "const timer = setTimeout(() => say('fired'), 100000);
         clearTimeout(timer);
         timer.ref();
         say('cleared');",
        &[Prints("cleared"), Exits],
        |lp| {
            let timer = lp.set_timeout_once(100_000, |_| say("fired"));
            timer.clear();
            timer.set_ref();
            say("cleared");
        },
    );
}

#[test]
fn n29_a_timer_that_is_refreshed_in_its_callback_holds_again() {
    row(
        "let left = 1;
         const timer = setTimeout(() => { say('fired'); if (left-- > 0) timer.refresh(); }, 5);",
        &[Prints("fired"), Prints("fired"), Exits],
        |lp| {
            let left = Cell::new(1);
            lp.set_timeout(5, move |timer| {
                say("fired");
                if left.replace(0) > 0 {
                    timer.refresh();
                }
            });
        },
    );
}

#[test]
fn n29_n59_refresh_does_not_reference() {
    row(
        "const timer = setTimeout(() => say('fired'), 5);
         timer.unref();
         timer.refresh();
         say(timer.hasRef());",
        &[Prints("false"), Exits],
        |lp| {
            let timer = lp.set_timeout(5, |_| say("fired"));
            timer.unref();
            timer.refresh();
            say(timer.has_ref());
        },
    );
}

#[test]
fn n30_refresh_of_a_cleared_timer_does_not_hold() {
    row(
        "const timer = setTimeout(() => say('fired'), 5);
         clearTimeout(timer);
         timer.refresh();
         say('cleared');",
        &[Prints("cleared"), Exits],
        |lp| {
            let timer = lp.set_timeout(5, |_| say("fired"));
            timer.clear();
            timer.refresh();
            say("cleared");
        },
    );
}

#[test]
fn a_kept_timer_does_not_hold_until_it_is_refreshed() {
    row(
        // Node's collector keeps what the second timer names.
        "const first = setTimeout(() => say('first'), 5);
         setTimeout(() => { say('refresh'); first.refresh(); }, 30);",
        &[Prints("first"), Prints("refresh"), Prints("first"), Exits],
        |lp| {
            let first = lp.set_timeout(5, |_| say("first"));
            first.keep();
            lp.set_timeout_once(30, move |_| {
                say("refresh");
                first.refresh();
            });
        },
    );
}

// Immediates and ticks.

#[test]
fn n60_an_immediate_holds_until_it_has_run() {
    row(
        "setImmediate(() => say('ran'));",
        &[Prints("ran"), Exits],
        |lp| {
            lp.set_immediate(|_| say("ran"));
        },
    );
}

#[test]
fn n60_an_unreferenced_immediate_alone_does_not_run() {
    row("setImmediate(() => say('ran')).unref();", &[Exits], |lp| {
        lp.set_immediate(|_| say("ran")).unref();
    });
}

#[test]
fn n60_it_does_along_with_a_referenced_one() {
    row(
        "setImmediate(() => say('unreferenced')).unref();
         setImmediate(() => say('referenced'));
         setImmediate(() => say('unreferenced too')).unref();",
        &[
            Prints("unreferenced"),
            Prints("referenced"),
            Prints("unreferenced too"),
            Exits,
        ],
        |lp| {
            lp.set_immediate(|_| say("unreferenced")).unref();
            lp.set_immediate(|_| say("referenced"));
            lp.set_immediate(|_| say("unreferenced too")).unref();
        },
    );
}

#[test]
fn n60_it_does_in_the_turn_of_a_timer_but_does_not_hurry_the_wait() {
    row(
        "setTimeout(() => say('timeout'), 20);
         setImmediate(() => say('immediate')).unref();",
        &[Prints("immediate"), Prints("timeout"), Exits],
        |lp| {
            lp.set_timeout_once(20, |_| say("timeout"));
            lp.set_immediate(|_| say("immediate")).unref();
        },
    );
}

#[test]
fn n60_an_immediate_that_is_referenced_again_holds() {
    row(
        "const immediate = setImmediate(() => say('ran'));
         immediate.unref();
         say(immediate.hasRef());
         immediate.ref();
         say(immediate.hasRef());",
        &[Prints("false"), Prints("true"), Prints("ran"), Exits],
        |lp| {
            let immediate = lp.set_immediate(|_| say("ran"));
            immediate.unref();
            say(immediate.has_ref());
            immediate.set_ref();
            say(immediate.has_ref());
        },
    );
}

#[test]
fn n32_an_immediate_that_has_run_is_not_referenced() {
    row(
        "const first = setImmediate(() => say(first.hasRef()));
         setImmediate(() => { say(first.hasRef()); first.ref(); });",
        &[Prints("false"), Prints("false"), Exits],
        |lp| {
            let first = lp.set_immediate(|immediate| say(immediate.has_ref()));
            lp.set_immediate(move |_| {
                say(first.has_ref());
                first.set_ref();
            });
        },
    );
}

#[test]
fn n33_a_cleared_immediate_does_not_hold() {
    row(
        "clearImmediate(setImmediate(() => say('ran'))); say('cleared');",
        &[Prints("cleared"), Exits],
        |lp| {
            lp.set_immediate(|_| say("ran")).clear();
            say("cleared");
        },
    );
}

#[test]
fn n2_a_tick_runs_although_nothing_holds() {
    row(
        "process.nextTick(() => { say('tick'); process.nextTick(() => say('tock')); });",
        &[Prints("tick"), Prints("tock"), Exits],
        |lp| {
            lp.next_tick(|lp| {
                say("tick");
                lp.next_tick(|_| say("tock"));
            });
        },
    );
}

#[test]
fn n46_what_a_tick_starts_holds() {
    row(
        "process.nextTick(() => setTimeout(() => say('fired'), 5));",
        &[Prints("fired"), Exits],
        |lp| {
            lp.next_tick(|lp| {
                lp.set_timeout_once(5, |_| say("fired"));
            });
        },
    );
}

// Watchers, and leaving early: libuv has them, Node does not show them.

#[test]
fn i1_an_idle_watcher_holds_until_it_is_stopped() {
    row("", &[Prints("idle"), Prints("idle"), Exits], |lp| {
        let left = Cell::new(2);
        lp.idle(move |watcher| {
            say("idle");
            left.set(left.get() - 1);
            if left.get() == 0 {
                watcher.stop();
            }
        });
    });
}

#[test]
fn i1_prepare_and_check_watchers_hold_and_the_loop_waits() {
    row("", &[Prints("prepare"), StaysAlive], |lp| {
        lp.prepare(|_| say("prepare"));
    });
    row("", &[Prints("prepare"), StaysAlive], |lp| {
        lp.check(|_| say("check"));
        lp.prepare(|_| say("prepare"));
    });
}

#[test]
fn i1_unreferenced_watchers_run_while_something_else_holds() {
    row("", &[Prints("prepare"), Prints("fired"), Exits], |lp| {
        // Stopped at once, as the second turn is the first one that fires.
        lp.prepare(|watcher| {
            say("prepare");
            watcher.close();
        })
        .unref();
        lp.check(|_| {}).unref();
        lp.set_timeout_once(20, |_| say("fired"));
    });
}

#[test]
fn i1_unreferenced_watchers_alone_do_not() {
    row("", &[Exits], |lp| {
        lp.idle(|_| say("idle")).unref();
        lp.prepare(|_| say("prepare")).unref();
        lp.check(|_| say("check")).unref();
    });
}

#[test]
fn l4_stop_ends_run_behind_the_present_turn() {
    row(
        "",
        &[
            Prints("listening"),
            Prints("stop"),
            Prints("timer of the turn"),
            Exits,
        ],
        |lp| {
            listen(net::create_server(lp, |_| {}));
            lp.set_timeout_once(20, |timer| {
                let lp = timer.event_loop();
                lp.set_immediate(move |_| {
                    say("stop");
                    lp.stop();
                    busy_for_ms(lp, 5);
                });
                lp.set_timeout_once(1, |_| say("timer of the turn"));
            });
        },
    );
}

#[test]
fn l5_stop_before_run_has_one_run_return_at_once() {
    row("", &[Prints("alive: true"), Prints("fired"), Exits], |lp| {
        lp.set_timeout_once(5, |_| say("fired"));
        lp.stop();
        lp.run().expect("no error is left unhandled");
        say(format_args!("alive: {}", lp.is_alive()));
    });
}

/// Lets the loop's clock go on.
fn busy_for_ms(lp: nodeloop::LoopHandle, millis: u64) {
    let until = lp.now() + millis;
    while lp.now() < until {
        lp.update_time();
    }
}
