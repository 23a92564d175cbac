//! What messages from other threads cost: a flood of them through a channel, closures that are
//! posted, one message there and one back, and a job for a worker thread.
//!
//! A flood is measured twice: what it costs the sender, while nobody takes, and from the first
//! message to the last that has arrived, both threads at work. Beside it stands the standard
//! library's own channel.
//!
//! ```text
//! cargo bench --bench posts            # the figures
//! cargo bench --bench posts -- --smoke # a short run that proves that it works
//! ```

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use nodeloop::Loop;

fn main() {
    let smoke = std::env::args().any(|argument| argument == "--smoke");
    let (count, rounds) = if smoke { (1000, 2) } else { (1_000_000, 9) };
    println!(
        "messages from another thread, up to {count} in each of {rounds} rounds, ns: median (best)"
    );
    let rows: [(&str, fn(u32) -> f64, u32); 7] = [
        ("sent, nobody takes", send_only, 1),
        ("a flood, sent and received", flood, 1),
        ("the same with std's channel", std_flood, 1),
        ("closures, posted and called", posts, 1),
        ("delivered by the loop", deliver_only, 1),
        ("there and back", ping_pong, 100),
        ("a job, started and done", jobs, 10),
    ];
    for (name, measure, fewer) in rows {
        let count = (count / fewer).max(10);
        let mut ns: Vec<_> = (0..rounds)
            .map(|_| measure(count) / f64::from(count))
            .collect();
        ns.sort_by(f64::total_cmp);
        println!("{name:>32} {:9.1} ({:.1})", ns[ns.len() / 2], ns[0]);
    }
}

fn new_loop() -> Loop {
    Loop::new().expect("a loop can be made")
}

fn since(started: Instant) -> f64 {
    started.elapsed().as_nanos() as f64
}

/// What sending costs the sender.
fn send_only(count: u32) -> f64 {
    let lp = new_loop();
    let sender = lp.channel(|_, _: u64| {});
    let thread = thread::spawn(move || {
        let started = Instant::now();
        for number in 0..count {
            sender.send(number.into()).expect("the loop is there");
        }
        since(started)
    });
    thread.join().expect("it does not panic")
}

/// From the first message to the last that has arrived.
fn flood(count: u32) -> f64 {
    let lp = new_loop();
    let sum = Rc::new(Cell::new(0_u64));
    let received = sum.clone();
    let sender = lp.channel(move |_, number: u64| received.set(received.get() + number));
    let started = Instant::now();
    let thread = thread::spawn(move || {
        for number in 0..count {
            sender.send(number.into()).expect("the loop is there");
        }
    });
    lp.run().expect("nothing fails");
    let ns = since(started);
    thread.join().expect("it does not panic");
    assert_eq!(sum.get(), u64::from(count) * u64::from(count - 1) / 2);
    ns
}

fn std_flood(count: u32) -> f64 {
    let (sender, receiver) = mpsc::channel();
    let started = Instant::now();
    let thread = thread::spawn(move || {
        for number in 0..count {
            sender
                .send(u64::from(number))
                .expect("the receiver is there");
        }
    });
    let sum: u64 = receiver.iter().sum();
    let ns = since(started);
    thread.join().expect("it does not panic");
    assert_eq!(sum, u64::from(count) * u64::from(count - 1) / 2);
    ns
}

fn posts(count: u32) -> f64 {
    let lp = new_loop();
    let remote = lp.remote();
    // A remote does not hold the loop.
    let timer = lp.set_interval(60_000, |_| {});
    let started = Instant::now();
    let thread = thread::spawn(move || {
        for number in 1..=count {
            let post = remote.post(move |lp| {
                if number == count {
                    lp.stop();
                }
            });
            post.expect("the loop is there");
        }
    });
    lp.run().expect("nothing fails");
    let ns = since(started);
    thread.join().expect("it does not panic");
    timer.clear();
    ns
}

/// What receiving costs the loop, when all are there.
fn deliver_only(count: u32) -> f64 {
    let lp = new_loop();
    let sender = lp.channel(|_, number: u64| {
        std::hint::black_box(number);
    });
    for number in 0..count {
        sender.send(number.into()).expect("the loop is there");
    }
    drop(sender);
    let started = Instant::now();
    lp.run().expect("nothing fails");
    since(started)
}

/// One message to the loop and its answer, again and again.
fn ping_pong(count: u32) -> f64 {
    let lp = new_loop();
    let (answers, answered) = mpsc::channel();
    let sender = lp.channel(move |_, number: u32| answers.send(number).expect("it waits"));
    let thread = thread::spawn(move || {
        let started = Instant::now();
        for number in 0..count {
            sender.send(number).expect("the loop is there");
            assert_eq!(answered.recv(), Ok(number));
        }
        since(started)
    });
    lp.run().expect("nothing fails");
    thread.join().expect("it does not panic")
}

/// Jobs that do nothing, all started at once.
fn jobs(count: u32) -> f64 {
    let lp = new_loop();
    let started = Instant::now();
    for number in 0..count {
        lp.spawn_blocking(
            move || number,
            move |_, made| assert_eq!(made.ok(), Some(number)),
        );
    }
    lp.run().expect("nothing fails");
    since(started)
}
