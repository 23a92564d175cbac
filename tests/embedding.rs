//! A loop inside another (E1–E3): its descriptor is waited for elsewhere, for as long as it says, and
//! then it runs one turn that does not wait. The other loop here is mio's.

#![cfg(unix)]

mod support;

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nodeloop::net::{self, Socket, SocketOptions};
use nodeloop::null::NullOptions;
use nodeloop::{Loop, Timer};
use support::*;

const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

/// Another loop, that waits for ours.
struct Outer {
    poll: Poll,
    events: Events,
}

impl Outer {
    fn around(lp: &Loop) -> Outer {
        Outer::around_descriptor(lp.as_raw_fd())
    }

    fn around_descriptor(descriptor: RawFd) -> Outer {
        let poll = Poll::new().unwrap();
        let mut source = SourceFd(&descriptor);
        let registry = poll.registry();
        registry
            .register(&mut source, Token(0), Interest::READABLE)
            .unwrap();
        Outer {
            poll,
            events: Events::with_capacity(8),
        }
    }

    /// Waits; whether the descriptor is ready.
    fn wait(&mut self, timeout: Option<Duration>) -> bool {
        self.poll.poll(&mut self.events, timeout).unwrap();
        !self.events.is_empty()
    }

    /// The pattern of E3, until nothing is alive.
    fn run(&mut self, lp: &Loop) {
        while lp.is_alive() {
            self.wait(lp.poll_timeout());
            lp.run_nowait().unwrap();
        }
    }
}

#[test]
fn e1_the_descriptor_is_ready_when_something_is_to_be_served() {
    // E1
    let lp = Loop::new().unwrap();
    let _watched = watched(20);
    let log = Recorder::new();
    let (socket, mut peer) = pair(&lp);
    log.follow(socket);
    lp.run_nowait().unwrap();
    let mut outer = Outer::around(&lp);
    // What was ready at registration was served, so the first wait may be for nothing.
    outer.wait(AT_ONCE);
    assert!(!outer.wait(AT_ONCE), "nothing has happened");
    peer.write_all(b"hello").unwrap();
    assert!(outer.wait(Some(PATIENCE)));
    lp.run_nowait().unwrap();
    log.expect(&["data hello"]);
    assert!(!outer.wait(AT_ONCE), "it was served");
}

#[test]
fn e1_a_second_descriptor_is_as_good_as_the_first() {
    // E1
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (_server, address) = listening(&lp, log.noting("connection"));
    let second = lp.try_clone_fd().unwrap();
    assert_ne!(second.as_raw_fd(), lp.as_raw_fd());
    let mut outer = Outer::around_descriptor(second.as_raw_fd());
    lp.run_nowait().unwrap();
    assert!(!outer.wait(AT_ONCE));
    let _peer = connect(address);
    assert!(outer.wait(Some(PATIENCE)));
    // The first goes on without it.
    drop(second);
    turn_until(&lp, || log.has("connection"));
}

#[test]
fn e1_the_null_backend_has_no_descriptor() {
    // E1
    let lp = Loop::builder()
        .null(NullOptions::default())
        .build()
        .unwrap();
    assert_eq!(lp.as_raw_fd(), -1);
    assert_eq!(code(lp.try_clone_fd()), "ENOTSUP");
}

#[test]
fn e1_a_loop_that_is_gone_has_no_descriptor() {
    // E1
    let gone = Loop::new().unwrap().handle();
    assert_eq!(code(gone.try_clone_fd()), "ERR_HANDLE_GONE");
}

#[test]
fn e2_nothing_alive_is_no_wait() {
    // E2
    let lp = Loop::new().unwrap();
    assert_eq!(lp.poll_timeout(), AT_ONCE);
}

#[test]
fn e2_a_server_alone_waits_without_limit() {
    // E2, L15
    let lp = Loop::new().unwrap();
    let (server, _) = listening(&lp, |_| {});
    lp.run_nowait().unwrap();
    assert_eq!(lp.poll_timeout(), None);
    // L12: what closes has its phase now.
    server.close();
    assert_eq!(lp.poll_timeout(), AT_ONCE);
    lp.run().unwrap();
}

#[test]
fn e2_a_timer_limits_the_wait_by_the_clock_of_now() {
    // E2, L15
    let lp = Loop::new().unwrap();
    let timer = lp.set_timeout(60_000, |_| {});
    let first = lp.poll_timeout().unwrap();
    assert!(first > Duration::from_secs(50) && first <= Duration::from_secs(60));
    // The turn's clock stands still; what is told here is by the clock of now.
    let before = std::time::Instant::now();
    while before.elapsed() < Duration::from_millis(5) {}
    assert!(lp.poll_timeout().unwrap() <= first - Duration::from_millis(4));
    timer.clear();
    lp.set_timeout(1, |_| {});
    let before = std::time::Instant::now();
    while before.elapsed() < Duration::from_millis(5) {}
    assert_eq!(lp.poll_timeout(), AT_ONCE, "it is due");
}

#[test]
fn e2_an_inactivity_timeout_limits_the_wait_too() {
    // E2
    let lp = Loop::new().unwrap();
    let (socket, _peer) = pair(&lp);
    lp.run_nowait().unwrap();
    assert_eq!(lp.poll_timeout(), None);
    socket.set_timeout(60_000);
    assert!(lp.poll_timeout().unwrap() <= Duration::from_secs(60));
}

#[test]
fn e2_what_was_queued_outside_does_not_wait() {
    // E2
    let queue: [(&str, fn(&Loop)); 6] = [
        ("a tick", |lp| lp.next_tick(|_| {})),
        ("an immediate", |lp| lp.set_immediate(|_| {}).set_ref()),
        ("an idle watcher", |lp| lp.idle(|_| {}).set_ref()),
        ("a connect", |lp| {
            let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
            net::connect(lp, nowhere).on_error(|_, _| {});
        }),
        ("a completion", |lp| {
            let (socket, _peer) = pair(lp);
            socket.write_then("taken at once", |_| {});
        }),
        ("an end", |lp| {
            let (socket, _peer) = pair(lp);
            lp.run_nowait().unwrap();
            socket.end();
        }),
    ];
    for (name, queue) in queue {
        let lp = Loop::new().unwrap();
        let (_server, _) = listening(&lp, |_| {});
        lp.run_nowait().unwrap();
        assert_eq!(lp.poll_timeout(), None);
        queue(&lp);
        assert_eq!(lp.poll_timeout(), AT_ONCE, "{name}");
    }
}

#[test]
fn e2_an_error_that_waits_does_not_wait() {
    // E2
    let lp = Loop::new().unwrap();
    let (_server, _) = listening(&lp, |_| {});
    lp.run_nowait().unwrap();
    // The first ends `run`; the second is what the next one finds.
    for _ in 0..2 {
        Socket::new(&lp, SocketOptions::new()).destroy_with("nobody listens");
    }
    assert!(lp.run_nowait().is_err());
    assert_eq!(lp.poll_timeout(), AT_ONCE);
    assert!(lp.run_nowait().is_err());
}

#[test]
fn e2_a_share_of_the_turn_that_was_used_up_does_not_wait() {
    // E2
    let lp = Loop::builder()
        .read_budget(1)
        .limit_reads(1)
        .build()
        .unwrap();
    let log = Recorder::new();
    let (socket, mut peer) = pair(&lp);
    lp.run_nowait().unwrap();
    log.follow(socket);
    peer.write_all(b"two").unwrap();
    turn_until(&lp, || log.has("data t"));
    assert_eq!(lp.poll_timeout(), AT_ONCE);
}

#[test]
fn e3_an_embedded_loop_serves_to_its_end() {
    // E3
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let log = Recorder::new();
        let inner = log.clone();
        let (server, address) = listening(lp, move |socket| {
            inner.follow_but_data(socket);
            socket.on_data(|socket, chunk| {
                socket.write(chunk);
            });
            socket.server().unwrap().close();
        });
        server.on_close(log.noting("server closed"));
        let peer = client(address, |mut peer| {
            let mut answer = [0; 5];
            for _ in 0..3 {
                peer.write_all(b"hello").unwrap();
                peer.read_exact(&mut answer).unwrap();
            }
            answer
        });
        Outer::around(lp).run(lp);
        assert_eq!(&join(peer), b"hello");
        log.expect(&["end", "finish", "server closed", "close false"]);
    });
}

#[test]
fn e3_timers_of_an_embedded_loop_fire_and_never_early() {
    // E3
    let lp = Loop::new().unwrap();
    let _watched = watched(20);
    let log = Recorder::new();
    let begin = std::time::Instant::now();
    let inner = log.clone();
    let mut left = 3;
    lp.set_interval(5, move |timer: Timer| {
        inner.note("timer");
        left -= 1;
        if left == 0 {
            timer.clear();
        }
    });
    Outer::around(&lp).run(&lp);
    log.expect(&["timer", "timer", "timer"]);
    assert!(begin.elapsed() >= Duration::from_millis(15));
    // It did wait: a loop that spins has many more turns.
    assert!(lp.turns() < 40, "{} turns", lp.turns());
}

#[test]
fn e3_one_loop_of_ours_inside_another() {
    // E3
    // Another loop of the thread may run in a listener, so one turns the other in every turn.
    let outer = Loop::new().unwrap();
    let _deadline = deadline(&outer, 20);
    let inner = Loop::new().unwrap();
    let log = Recorder::new();
    let (_server, address) = listening(&inner, {
        let log = log.clone();
        move |socket| log.follow(socket)
    });
    inner.set_timeout_once(1, log.noting("inner timer"));
    let mut peer = connect(address);
    peer.write_all(b"hello").unwrap();
    let seen = log.clone();
    // An idle watcher, so that the outer loop does not wait for events of its own.
    outer.idle(move |watcher| {
        inner.run_nowait().unwrap();
        if seen.has("data hello") && seen.has("inner timer") {
            watcher.close();
        }
    });
    outer.run().unwrap();
    assert!(log.has("data hello") && log.has("inner timer"));
}
