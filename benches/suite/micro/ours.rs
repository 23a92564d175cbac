//! This crate.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use nodeloop::{Loop, LoopHandle, Timer};

use super::{BATCH, Chance, RUNNING, Task, durations, time};

/// The processor time that so many operations take.
pub fn run(task: Task, operations: u32) -> io::Result<Duration> {
    let lp = Loop::new().map_err(io::Error::other)?;
    let done = Rc::new(Cell::new(0));
    match task {
        Task::TimerStart { durations } => start(&lp, operations, durations, &done).map(|(_, t)| t),
        Task::TimerCancelInOrder => {
            let (timers, _) = start(&lp, operations, 1, &done)?;
            cancel(&timers)
        }
        Task::TimerCancelAtRandom { durations } => {
            let (mut timers, _) = start(&lp, operations, durations, &done)?;
            Chance::new().shuffle(&mut timers);
            cancel(&timers)
        }
        Task::TimerRearm => {
            let (timers, _) = start(&lp, RUNNING, 1, &done)?;
            let before = time()?;
            for timer in timers.iter().cycle().take(operations as usize) {
                timer.refresh();
            }
            Ok(time()? - before)
        }
        Task::TimerFire => {
            for _ in 0..operations {
                let done = done.clone();
                lp.set_timeout(1, move |_| done.set(done.get() + 1));
            }
            timed_run(&lp, &done, operations)
        }
        Task::Tick => {
            queue_ticks(lp.handle(), operations, &done);
            timed_run(&lp, &done, operations)
        }
        Task::Immediate => {
            queue_immediates(lp.handle(), operations, &done);
            timed_run(&lp, &done, operations)
        }
        Task::Turn => {
            let counter = done.clone();
            lp.idle(move |watcher| {
                counter.set(counter.get() + 1);
                if counter.get() == operations {
                    watcher.stop();
                }
            });
            timed_run(&lp, &done, operations)
        }
    }
}

fn start(
    lp: &Loop,
    timers: u32,
    different: u32,
    done: &Rc<Cell<u32>>,
) -> io::Result<(Vec<Timer>, Duration)> {
    let durations = durations(timers, different);
    let mut started = Vec::with_capacity(durations.len());
    let before = time()?;
    for duration in durations {
        let done = done.clone();
        started.push(lp.set_timeout(duration, move |_| done.set(done.get() + 1)));
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

fn timed_run(lp: &Loop, done: &Cell<u32>, expected: u32) -> io::Result<Duration> {
    let before = time()?;
    lp.run().map_err(io::Error::other)?;
    let took = time()? - before;
    match done.get() == expected {
        true => Ok(took),
        false => Err(io::Error::other(format!("{} were done", done.get()))),
    }
}

/// A thousand ticks; in the next turn the next thousand.
fn queue_ticks(lp: LoopHandle, left: u32, done: &Rc<Cell<u32>>) {
    let now = left.min(BATCH);
    for _ in 0..now {
        let done = done.clone();
        lp.next_tick(move |_| done.set(done.get() + 1));
    }
    if left > now {
        let done = done.clone();
        lp.set_immediate(move |_| queue_ticks(lp, left - now, &done));
    }
}

/// A thousand immediates; in the next turn the next thousand.
fn queue_immediates(lp: LoopHandle, left: u32, done: &Rc<Cell<u32>>) {
    let now = left.min(BATCH);
    for number in 0..now {
        let done = done.clone();
        let is_last = number + 1 == now && left > now;
        lp.set_immediate(move |_| {
            done.set(done.get() + 1);
            if is_last {
                queue_immediates(lp, left - now, &done);
            }
        });
    }
}
