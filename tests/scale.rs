//! What is done to many costs for each no more than what is done to few.
//!
//! Told by time, so each is tried several times: once must do. What costs all of the others, too, is ten
//! times as dear in every try.

mod support;

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nodeloop::dgram::{self, SocketOptions, SocketType};
use nodeloop::stream::{Done, Readable, WritableOptions};
use nodeloop::{Loop, Result};
use support::*;

/// So many are few, and ten times as many are many.
const FEW: usize = 1000;

/// How much dearer each may be among many, which no cache holds. Ten times would be the square.
const DEARER: u32 = 4;

/// How often it is tried.
const TRIES: usize = 10;

/// `cost` tells how long something takes with so many.
#[track_caller]
fn expect_each_costs_the_same(cost: impl Fn(usize) -> Duration) {
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let (few, many) = (cost(FEW), cost(10 * FEW));
        if many < few * 10 * DEARER {
            return;
        }
        seen.push((few, many));
    }
    panic!("{FEW} and ten times as many: {seen:?}");
}

#[test]
fn many_jobs_are_cancelled_the_last_first() {
    expect_each_costs_the_same(|many| {
        let lp = Loop::builder().worker_threads(1).build().unwrap();
        let _deadline = deadline(&lp, 60);
        let (let_go, gate) = channel::<()>();
        lp.spawn_blocking(move || gate.recv_timeout(PATIENCE).is_ok(), |_, _| {});
        let canceled = |_, result: Result<()>| assert!(result.is_err());
        let jobs: Vec<_> = (0..many)
            .map(|_| lp.spawn_blocking(|| (), canceled))
            .collect();
        let begun = Instant::now();
        for job in jobs.iter().rev() {
            assert!(job.cancel());
        }
        let took = begun.elapsed();
        drop(let_go);
        lp.run().unwrap();
        took
    });
}

#[test]
fn many_watchers_are_closed_the_first_first() {
    expect_each_costs_the_same(|many| {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 60);
        let watchers: Vec<_> = (0..many).map(|_| lp.check(|_| {})).collect();
        let begun = Instant::now();
        for watcher in &watchers {
            watcher.stop();
            watcher.start();
            watcher.close();
        }
        let took = begun.elapsed();
        lp.run().unwrap();
        took
    });
}

#[test]
fn a_pipe_to_many_waits_for_each() {
    expect_each_costs_the_same(|many| {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 60);
        let source = Readable::new(&lp, |_, _| {});
        let owed: Rc<RefCell<Vec<Done>>> = Rc::default();
        for _ in 0..many {
            let owed = owed.clone();
            let sink = WritableOptions::new()
                .high_water_mark(1)
                .write(move |_, _, done| owed.borrow_mut().push(done))
                .create(&lp);
            source.pipe(sink);
        }
        lp.run().unwrap();
        let begun = Instant::now();
        source.push("x");
        lp.run().unwrap();
        assert!(source.is_paused());
        let owed = owed.take();
        assert_eq!(owed.len(), many);
        owed.into_iter().for_each(Done::ok);
        lp.run().unwrap();
        assert!(!source.is_paused());
        begun.elapsed()
    });
}

#[test]
fn many_datagrams_come_to_nothing_since_their_socket_is_connected_by_then() {
    expect_each_costs_the_same(|many| {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 60);
        let options = SocketOptions::new(SocketType::Udp4).max_queued(usize::MAX, usize::MAX);
        let socket = dgram::create_socket(&lp, options);
        let here = socket.bind_sync((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let took = Rc::new(RefCell::new(Duration::ZERO));
        let told = took.clone();
        lp.next_tick(move |lp| {
            // They wait for their ticks, and these come when it is connected.
            for _ in 0..many {
                socket.send_to("x", here).unwrap();
            }
            socket.connect_sync(here).unwrap();
            let begun = Instant::now();
            lp.next_tick(move |_| {
                *told.borrow_mut() = begun.elapsed();
                socket.close().unwrap();
            });
        });
        lp.run().unwrap();
        assert_eq!(lp.counts().datagrams_sent, 0);
        took.take()
    });
}
