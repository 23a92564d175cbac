//! tokio, its loop in one thread: a timer is a boxed sleep, a tick a local task.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{BATCH, Chance, RUNNING, Task, durations, time};

/// The processor time that so many operations take.
pub fn run(task: Task, operations: u32) -> io::Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, measure(task, operations))
}

async fn measure(task: Task, operations: u32) -> io::Result<Duration> {
    match task {
        Task::TimerStart { durations } => {
            cancel(start(operations, durations)?.0)?;
            start(operations, durations).map(|(_, took)| took)
        }
        Task::TimerCancelInOrder => cancel(start(operations, 1)?.0),
        Task::TimerCancelAtRandom { durations } => {
            let (mut timers, _) = start(operations, durations)?;
            Chance::new().shuffle(&mut timers);
            cancel(timers)
        }
        Task::TimerRearm => {
            let (mut timers, _) = start(RUNNING, 1)?;
            let before = time()?;
            let mut left = operations;
            while left > 0 {
                for timer in &mut timers {
                    let duration = Duration::from_millis(super::LONG_MS);
                    timer.as_mut().reset(Instant::now() + duration);
                }
                left = left.saturating_sub(RUNNING);
            }
            Ok(time()? - before)
        }
        Task::TimerFire => fire(operations).await,
        Task::Tick | Task::Immediate => local_tasks(operations).await,
        Task::Turn => Err(io::Error::other("not to be had from outside")),
        Task::PostFlood => posts(operations, false).await,
        Task::PostPing => posts(operations, true).await,
    }
}

/// Messages from another thread, which waits for the answer to each, or does not.
async fn posts(messages: u32, answered: bool) -> io::Result<Duration> {
    let (sender, mut receiver) = unbounded_channel();
    let (answers, answer) = mpsc::channel();
    let before = time()?;
    let thread = thread::spawn(move || {
        for number in 0..messages {
            sender.send(u64::from(number)).expect("it is there");
            if answered {
                answer.recv().expect("it answers");
            }
        }
    });
    let mut received = 0;
    while let Some(number) = receiver.recv().await {
        received += 1;
        if answered {
            answers.send(number).expect("it waits");
        }
    }
    thread.join().expect("it does not panic");
    assert_eq!(received, messages);
    Ok(time()? - before)
}

type Timer = Pin<Box<Sleep>>;

fn start(timers: u32, different: u32) -> io::Result<(Vec<Timer>, Duration)> {
    let durations = durations(timers, different);
    let mut started = Vec::with_capacity(durations.len());
    let mut context = Context::from_waker(Waker::noop());
    let before = time()?;
    for duration in durations {
        let due = Instant::now() + Duration::from_millis(duration);
        let mut timer = Box::pin(sleep_until(due));
        // It starts when it is first asked.
        let _ = timer.as_mut().poll(&mut context);
        started.push(timer);
    }
    Ok((started, time()? - before))
}

fn cancel(timers: Vec<Timer>) -> io::Result<Duration> {
    let before = time()?;
    drop(timers);
    Ok(time()? - before)
}

/// Tasks that all sleep until the same moment.
async fn fire(timers: u32) -> io::Result<Duration> {
    let done = Rc::new(Cell::new(0));
    // Late enough for all of them to sleep by then.
    let moment = Instant::now() + Duration::from_secs(3);
    for _ in 0..timers {
        let done = done.clone();
        spawn_local(async move {
            sleep_until(moment).await;
            done.set(done.get() + 1);
        });
    }
    // All of them go to sleep.
    for _ in 0..timers / 16 {
        yield_now().await;
    }
    if Instant::now() > moment {
        return Err(io::Error::other("the machine is too slow for this"));
    }
    let before = time()?;
    sleep_until(moment).await;
    while done.get() < timers {
        yield_now().await;
    }
    Ok(time()? - before)
}

/// A thousand tasks at a time, until they are over.
async fn local_tasks(tasks: u32) -> io::Result<Duration> {
    let done = Rc::new(Cell::new(0));
    let before = time()?;
    let mut queued = 0;
    while queued < tasks {
        for _ in 0..BATCH {
            let done = done.clone();
            spawn_local(async move { done.set(done.get() + 1) });
        }
        queued += BATCH;
        while done.get() < queued {
            yield_now().await;
        }
    }
    Ok(time()? - before)
}
