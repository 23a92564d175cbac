//! This crate.
//!
//! The callbacks capture nothing, as those of the peers: what is measured is not the allocator.

use std::cell::Cell;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nodeloop::{Loop, LoopHandle, Timer};

use super::{BATCH, Chance, RUNNING, Task, durations, time};

thread_local! {
    /// Callbacks that were called.
    static DONE: Cell<u32> = const { Cell::new(0) };
}

fn count() -> u32 {
    DONE.with(|done| {
        done.set(done.get() + 1);
        done.get()
    })
}

/// The processor time that so many operations take.
pub fn run(task: Task, operations: u32) -> io::Result<Duration> {
    let lp = Loop::new().map_err(io::Error::other)?;
    DONE.set(0);
    match task {
        Task::TimerStart { durations } => {
            // The memory is there already: what is measured is not the first touch of it.
            cancel(&start(&lp, operations, durations)?.0)?;
            start(&lp, operations, durations).map(|(_, took)| took)
        }
        Task::TimerCancelInOrder => {
            let (timers, _) = start(&lp, operations, 1)?;
            cancel(&timers)
        }
        Task::TimerCancelAtRandom { durations } => {
            let (mut timers, _) = start(&lp, operations, durations)?;
            Chance::new().shuffle(&mut timers);
            cancel(&timers)
        }
        Task::TimerRearm => {
            let (timers, _) = start(&lp, RUNNING, 1)?;
            let before = time()?;
            for timer in timers.iter().cycle().take(operations as usize) {
                timer.refresh();
            }
            Ok(time()? - before)
        }
        Task::TimerFire => {
            for _ in 0..operations {
                lp.set_timeout(1, |_| {
                    count();
                });
            }
            timed_run(&lp, operations)
        }
        Task::Tick => {
            queue_ticks(lp.handle(), operations);
            timed_run(&lp, operations)
        }
        Task::Immediate => {
            queue_immediates(lp.handle(), operations);
            timed_run(&lp, operations)
        }
        Task::Turn => {
            lp.idle(move |watcher| {
                if count() == operations {
                    watcher.stop();
                }
            });
            timed_run(&lp, operations)
        }
        Task::PostFlood => {
            let sender = lp.channel(|_, _: u64| {
                count();
            });
            let before = time()?;
            let thread = thread::spawn(move || {
                for number in 0..operations {
                    sender.send(number.into()).expect("the loop is there");
                }
            });
            finish(&lp, before, thread, operations)
        }
        Task::PostPing => {
            let (answers, answered) = mpsc::channel();
            let sender = lp.channel(move |_, number: u64| {
                count();
                answers.send(number).expect("it waits");
            });
            let before = time()?;
            let thread = thread::spawn(move || {
                for number in 0..operations {
                    sender.send(number.into()).expect("the loop is there");
                    answered.recv().expect("it answers");
                }
            });
            finish(&lp, before, thread, operations)
        }
    }
}

/// Runs until the other thread has sent everything: the time since `before`.
fn finish(
    lp: &Loop,
    before: Duration,
    thread: thread::JoinHandle<()>,
    expected: u32,
) -> io::Result<Duration> {
    timed_run(lp, expected)?;
    thread.join().expect("it does not panic");
    Ok(time()? - before)
}

fn start(lp: &Loop, timers: u32, different: u32) -> io::Result<(Vec<Timer>, Duration)> {
    let durations = durations(timers, different);
    let mut started = Vec::with_capacity(durations.len());
    let before = time()?;
    for duration in durations {
        let timer = lp.set_timeout(duration, |_| {
            count();
        });
        started.push(timer);
    }
    Ok((started, time()? - before))
}

fn cancel(timers: &[Timer]) -> io::Result<Duration> {
    let before = time()?;
    for timer in timers {
        timer.clear();
    }
    Ok(time()? - before)
}

fn timed_run(lp: &Loop, expected: u32) -> io::Result<Duration> {
    let before = time()?;
    lp.run().map_err(io::Error::other)?;
    let took = time()? - before;
    match DONE.get() == expected {
        true => Ok(took),
        false => Err(io::Error::other(format!("{} were done", DONE.get()))),
    }
}

/// A thousand ticks; in the next turn the next thousand.
fn queue_ticks(lp: LoopHandle, left: u32) {
    let now = left.min(BATCH);
    for _ in 0..now {
        lp.next_tick(|_| {
            count();
        });
    }
    if left > now {
        lp.set_immediate(move |_| queue_ticks(lp, left - now));
    }
}

/// A thousand immediates; in the next turn the next thousand.
fn queue_immediates(lp: LoopHandle, left: u32) {
    let now = left.min(BATCH);
    for _ in 1..now {
        lp.set_immediate(|_| {
            count();
        });
    }
    lp.set_immediate(move |_| {
        count();
        if left > now {
            queue_immediates(lp, left - now);
        }
    });
}
