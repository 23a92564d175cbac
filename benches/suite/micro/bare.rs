//! The least that a turn can be, a wait that does not block; and the plainest way to a loop from another
//! thread, a list under a lock and a waker.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

use super::{Task, time};

pub fn run(task: Task, operations: u32) -> io::Result<Duration> {
    match task {
        Task::Turn => turns(operations),
        Task::PostFlood => posts(operations, false),
        Task::PostPing => posts(operations, true),
        _ => Err(io::Error::other("there is no one way to do this by hand")),
    }
}

fn turns(operations: u32) -> io::Result<Duration> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let before = time()?;
    for _ in 0..operations {
        poll.poll(&mut events, Some(Duration::ZERO))?;
    }
    Ok(time()? - before)
}

/// What both threads have.
struct Shared {
    list: Mutex<Vec<u64>>,
    waker: Waker,
}

impl Shared {
    fn send(&self, message: u64) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = list.is_empty();
        list.push(message);
        drop(list);
        if is_first {
            self.waker.wake().expect("the loop is there");
        }
    }
}

/// Messages from another thread, which waits for the answer to each, or does not.
fn posts(messages: u32, answered: bool) -> io::Result<Duration> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(16);
    let shared = Arc::new(Shared {
        list: Mutex::default(),
        waker: Waker::new(poll.registry(), Token(0))?,
    });
    let (answers, answer) = mpsc::channel();
    let before = time()?;
    let sender = shared.clone();
    let thread = thread::spawn(move || {
        for number in 0..messages {
            sender.send(number.into());
            if answered {
                answer.recv().expect("it answers");
            }
        }
    });
    let mut received = 0;
    let mut taken = Vec::new();
    while received < messages {
        poll.poll(&mut events, None)?;
        let mut list = shared.list.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *list, &mut taken);
        drop(list);
        for number in taken.drain(..) {
            received += 1;
            if answered {
                answers.send(number).expect("it waits");
            }
        }
    }
    thread.join().expect("it does not panic");
    Ok(time()? - before)
}
