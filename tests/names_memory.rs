//! Look-ups by the thousand: how many threads and how much memory they take.
//!
//! The dev-dependency `allocation-counter` counts what the thread of the loop has on its heap, which
//! is where all waits that waits for an answer.

mod support;

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use allocation_counter::measure;
use nodeloop::dgram::{self, SocketOptions, SocketType};
use nodeloop::dns::{self, LookupAnswer};
use nodeloop::net::Family;
use nodeloop::{Loop, Result};
use support::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Look-ups at once.
const LOOK_UPS: usize = 1000;

/// How often as many are asked for.
const ROUNDS: usize = 10;

/// Bytes on the heap for one that waits: its name, its callback, its place in the queue.
const BYTES_EACH: i64 = 512;

/// Asks for the same name many times, with a callback that captures something.
fn ask(lp: &Loop, answered: &Rc<Cell<usize>>) {
    for _ in 0..LOOK_UPS {
        let answered = answered.clone();
        let done = move |_, found: Result<Vec<IpAddr>>| {
            assert!(found.unwrap().contains(&HERE));
            answered.set(answered.get() + 1);
        };
        dns::lookup_with(lp, "localhost", Family::V4, done).unwrap();
    }
}

#[test]
fn h2_a_thousand_look_ups_take_few_threads_and_little_memory() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 60);
    let before = threads();
    let answered = Rc::new(Cell::new(0));
    // What is made once is made by then.
    ask(&lp, &answered);
    lp.run().unwrap();
    let all = measure(|| {
        for _ in 0..ROUNDS {
            let waiting = measure(|| ask(&lp, &answered)).bytes_current;
            assert!(lp.worker_threads() <= 4);
            if let (Some(before), Some(now)) = (before, threads()) {
                // Another test of this program may have some, too.
                assert!(now <= before + 8, "{now} threads, {before} before");
            }
            lp.run().unwrap();
            let each = waiting / LOOK_UPS as i64;
            assert!((1..=BYTES_EACH).contains(&each), "{each} bytes each");
        }
    });
    assert_eq!(answered.get(), (1 + ROUNDS) * LOOK_UPS);
    assert_eq!(lp.counts().jobs, answered.get() as u64);
    // Nothing is left of them but room for answers that come together. Answers come from other
    // threads' heaps, and go here: so it may be less than nothing.
    let kept = all.bytes_current;
    assert!(kept < LOOK_UPS as i64 * BYTES_EACH / 2, "{kept} bytes kept");
}

/// The threads of this process, where the system tells.
fn threads() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("Threads:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Sends datagrams of `size` to a name that nobody answers for, many in each of many turns. Gives the
/// most that was on the heap, and how many were refused.
fn sends_that_wait(max: (usize, usize), size: usize) -> (u64, usize) {
    const TURNS: usize = 100;
    const SENDS: usize = 100;
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 60);
    let asked: Rc<RefCell<Vec<LookupAnswer>>> = Rc::default();
    let asking = asked.clone();
    let options = SocketOptions::new(SocketType::Udp4)
        .max_queued(max.0, max.1)
        .lookup(move |_, _, answer| asking.borrow_mut().push(answer));
    let socket = dgram::create_socket(&lp, options);
    socket.bind_sync((HERE, 0)).unwrap();
    lp.run_nowait().unwrap();
    let refused = Rc::new(Cell::new(0));
    let datagram = vec![b'x'; size];
    let counted = measure(|| {
        for _ in 0..TURNS {
            for _ in 0..SENDS {
                let refused = refused.clone();
                let done = move |sent| {
                    assert_eq!(code(sent), "ENOBUFS");
                    refused.set(refused.get() + 1);
                };
                socket
                    .send_to_then(&datagram[..], ("silent", 9), done)
                    .unwrap();
            }
            lp.run_nowait().unwrap();
        }
    });
    assert_eq!(asked.borrow().len(), 1, "it is asked once");
    socket.close().unwrap();
    lp.run().unwrap();
    (counted.bytes_max, refused.get())
}

#[test]
fn what_is_sent_while_a_name_is_looked_up_takes_bounded_memory() {
    // Beside its bytes a datagram has a box and a place in a queue, and in a turn some are told.
    const BESIDE: u64 = 512;
    const TURN: u64 = 256 * 1024;
    // As many datagrams as may wait, then as many bytes.
    let (bytes, refused) = sends_that_wait((1000, usize::MAX), 100);
    assert_eq!(refused, 9000);
    assert!(bytes < 1000 * (100 + BESIDE) + TURN, "{bytes} bytes");
    let (bytes, refused) = sends_that_wait((usize::MAX, 1_000_000), 10_000);
    assert_eq!(refused, 9900);
    assert!(bytes < 1_000_000 + 100 * BESIDE + TURN, "{bytes} bytes");
    // The usual bounds hold without being asked for.
    let usual = (dgram::MAX_QUEUED_DATAGRAMS, dgram::MAX_QUEUED_BYTES);
    let (bytes, refused) = sends_that_wait(usual, 1000);
    assert_eq!(refused, 10_000 - dgram::MAX_QUEUED_DATAGRAMS);
    let most = dgram::MAX_QUEUED_DATAGRAMS as u64 * (1000 + BESIDE) + TURN;
    assert!(bytes < most, "{bytes} bytes");
}
