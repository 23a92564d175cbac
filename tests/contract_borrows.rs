//! The re-entrancy contract, rules 1 and 2: no call runs a listener before it returns, and no
//! borrow is alive while user code runs, wherever that code hides.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use nodeloop::net::{self, Chunk, ListenOptions, Server, Socket};
use nodeloop::{Delay, Loop, LoopHandle};
use support::calls::{self, Call, Touch};
use support::*;

thread_local! {
    /// The loop that destructors meddle with: what is `Send` can't capture a handle.
    static LOOP: Cell<Option<LoopHandle>> = const { Cell::new(None) };
    /// The socket that they write to or destroy.
    static TARGET: Cell<Option<Socket>> = const { Cell::new(None) };
    /// How often they did.
    static MEDDLED: Cell<u32> = const { Cell::new(0) };
}

/// Calls that borrow the loop and change it, as user code may from anywhere.
fn meddle() {
    MEDDLED.set(MEDDLED.get() + 1);
    let Some(lp) = LOOP.get() else { return };
    lp.next_tick(|_| {});
    lp.set_timeout(1, |_| {}).clear();
    lp.set_immediate(|_| {}).clear();
    lp.idle(|_| {}).close();
    let _ = (lp.handles(), lp.now(), lp.is_alive());
    net::create_server(&lp, |_| {}).close();
    if let Some(socket) = TARGET.get() {
        socket.write("x");
        socket.off(socket.on_drain(|_| {}));
    }
}

/// A loop to meddle with, watched. Nothing was meddled with so far.
fn meddled_loop() -> (Loop, Deadline) {
    let lp = Loop::new().unwrap();
    LOOP.set(Some(lp.handle()));
    TARGET.set(None);
    MEDDLED.set(0);
    let deadline = deadline(&lp, 20);
    (lp, deadline)
}

/// A socket that destructors write to, and its peer.
fn target(lp: &Loop) -> std::net::TcpStream {
    let (socket, peer) = pair(lp);
    TARGET.set(Some(socket));
    peer
}

#[track_caller]
fn expect_meddled(times: u32) {
    assert_eq!(MEDDLED.replace(0), times, "destructors and conversions");
}

/// Owned bytes whose destructor is user code.
struct Owner(Vec<u8>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        meddle();
    }
}

fn owned(bytes: usize) -> Bytes {
    Bytes::from_owner(Owner(vec![7; bytes]))
}

/// An error whose destructor is user code.
#[derive(Debug)]
struct Grudge;

impl std::fmt::Display for Grudge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("grudge")
    }
}

impl std::error::Error for Grudge {}

impl Drop for Grudge {
    fn drop(&mut self) {
        meddle();
    }
}

/// An argument whose conversion is user code.
struct Meddler;

impl From<Meddler> for Chunk<'_> {
    fn from(_: Meddler) -> Self {
        meddle();
        "text".into()
    }
}

impl From<Meddler> for ListenOptions {
    fn from(_: Meddler) -> Self {
        meddle();
        ListenOptions::new().host("127.0.0.1")
    }
}

impl From<Meddler> for Delay {
    fn from(_: Meddler) -> Self {
        meddle();
        1.into()
    }
}

impl From<Meddler> for Box<dyn std::error::Error + Send + Sync> {
    fn from(_: Meddler) -> Self {
        meddle();
        "reason".into()
    }
}

/// Makes every call on an object with listeners of all kinds, whatever the call leads to. The
/// caller's `RefCell` is borrowed around the call, and every listener borrows it.
fn borrow_around<H: Copy + 'static>(
    all: &'static [Call<H>],
    make: impl Fn(&Loop) -> (H, Box<dyn FnOnce()>),
    prepare: impl Fn(H, Touch),
) {
    for inside in [false, true] {
        for &(name, call) in all {
            let lp = Loop::new().unwrap();
            let _deadline = deadline(&lp, 20);
            let (handle, go_on) = make(&lp);
            let mine = Rc::new(RefCell::new(0));
            let borrows = mine.clone();
            let touch: Touch = Rc::new(move || {
                let borrowed = borrows.try_borrow_mut();
                *borrowed.unwrap_or_else(|_| panic!("{name} called a listener")) += 1;
            });
            prepare(handle, touch.clone());
            let around = move || {
                let _mine = mine.borrow_mut();
                call(handle, &touch);
            };
            match inside {
                false => around(),
                true => drop(lp.set_timeout_once(1, move |_| around())),
            }
            lp.run_once().unwrap();
            go_on();
            lp.run().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn rule_1_a_borrow_around_every_call_of_a_socket_is_never_re_entered() {
    borrow_around(
        calls::SOCKET,
        |lp| {
            let (socket, peer) = pair(lp);
            send_and_end(&peer, b"something to read");
            let go_on = move || {
                // Takes what the call may have written, in a thread since it may be much.
                std::thread::spawn(move || ending(&peer));
                socket.resume();
                socket.end();
            };
            (socket, Box::new(go_on))
        },
        |socket, touch| {
            for &(_, add) in calls::SOCKET
                .iter()
                .filter(|(name, _)| name.starts_with("on_"))
            {
                add(socket, &touch);
            }
        },
    );
}

#[test]
fn rule_1_a_borrow_around_every_call_of_a_server_is_never_re_entered() {
    borrow_around(
        calls::SERVER,
        |lp| {
            let (server, address) = listening(lp, |socket| socket.destroy());
            let peer = connect(address);
            let go_on = move || {
                drop(peer);
                server.close();
                // A call may have had it listen again, a tick later.
                let lp = server.event_loop();
                lp.set_immediate(move |_| server.close());
            };
            (server, Box::new(go_on))
        },
        |server, touch| {
            for &(_, add) in calls::SERVER
                .iter()
                .filter(|(name, _)| name.starts_with("on_"))
            {
                add(server, &touch);
            }
        },
    );
}

#[test]
fn rule_1_pause_and_resume_come_on_the_next_tick() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, _peer) = pair(&lp);
    let log = Recorder::new();
    socket.on_pause(log.noting("pause"));
    socket.on_resume(log.noting("resume"));
    let inner = log.clone();
    lp.set_immediate(move |_| {
        socket.pause();
        inner.note("paused");
        socket.resume();
        inner.note("resumed");
    });
    lp.run_once().unwrap();
    log.expect(&["paused", "resumed", "pause", "resume"]);
}

#[test]
fn rule_2_destructors_of_listeners_that_are_removed() {
    let (lp, _deadline) = meddled_loop();
    let _peer = target(&lp);
    let (socket, _other) = pair(&lp);
    let server = net::create_server(&lp, |_| {});
    let remove_all = move || {
        let guard = || on_drop(meddle);
        let held = guard();
        socket.off(socket.on_data(move |_, _| held.hold()));
        let held = guard();
        socket.off(socket.on_close(move |_, _| held.hold()));
        let held = guard();
        socket.off(socket.on_error(move |_, _| held.hold()));
        let held = guard();
        socket.off(socket.on_drain(move |_| held.hold()));
        let held = guard();
        server.off(server.on_connection(move |_, _| held.hold()));
        let held = guard();
        server.off(server.on_listening(move |_| held.hold()));
        let held = guard();
        server.off(server.on_error(move |_, _| held.hold()));
    };
    // Outside a loop callback: before the call returns.
    remove_all();
    expect_meddled(7);
    // Inside: when the loop callback ends.
    lp.set_immediate(move |_| {
        remove_all();
        expect_meddled(0);
    });
    lp.run_nowait().unwrap();
    expect_meddled(7);
}

#[test]
fn rule_2_destructors_of_listeners_that_find_no_object() {
    let (lp, _deadline) = meddled_loop();
    let _peer = target(&lp);
    let (socket, peer) = pair(&lp);
    drop(peer);
    socket.destroy();
    lp.run_nowait().unwrap();
    let held = on_drop(meddle);
    socket.on_data(move |_, _| held.hold());
    let held = on_drop(meddle);
    socket.write_then("text", move |_| held.hold());
    let held = on_drop(meddle);
    socket.end_then(move |_| held.hold());
    socket.write(owned(100));
    socket.end_with(owned(100));
    socket.destroy_with(Grudge);
    lp.run_nowait().unwrap();
    expect_meddled(6);
}

#[test]
fn rule_2_destructors_of_timers_immediates_ticks_and_watchers() {
    let (lp, _deadline) = meddled_loop();
    let _peer = target(&lp);
    let end_all = |lp: LoopHandle| {
        let held = on_drop(meddle);
        lp.set_timeout(1000, move |_| held.hold()).clear();
        let held = on_drop(meddle);
        lp.set_interval(1000, move |_| held.hold()).clear();
        let held = on_drop(meddle);
        lp.set_immediate(move |_| held.hold()).clear();
        for watch in [LoopHandle::idle, LoopHandle::prepare, LoopHandle::check] {
            let held = on_drop(meddle);
            let held: Box<dyn FnMut(nodeloop::Watcher)> = Box::new(move |_| held.hold());
            watch(lp, held).close();
        }
        // Called, and dropped right after.
        let held = on_drop(meddle);
        lp.next_tick(move |_| held.hold());
        let held = on_drop(meddle);
        lp.set_timeout_once(1, move |_| held.hold());
        let held = on_drop(meddle);
        lp.set_timeout(1, move |timer| {
            held.hold();
            timer.clear();
        });
        let held = on_drop(meddle);
        lp.set_immediate(move |_| held.hold());
    };
    end_all(lp.handle());
    lp.set_immediate(move |immediate| end_all(immediate.event_loop()));
    let lp_handle = lp.handle();
    let target = TARGET.get();
    lp.set_timeout_once(5, move |_| {
        TARGET.set(None);
        if let Some(target) = target {
            target.destroy();
        }
        lp_handle.stop();
    });
    lp.run().unwrap();
    expect_meddled(20);
}

#[test]
fn rule_2_a_listener_whose_destructor_destroys_another_socket() {
    for drops in [
        (|socket| socket.destroy()) as fn(Socket),
        |socket| socket.destroy_with("reason"),
        |socket| socket.end(),
    ] {
        let (lp, _deadline) = meddled_loop();
        let log = Recorder::new();
        let (one, peer_of_one) = pair(&lp);
        let (other, peer_of_other) = pair(&lp);
        log.follow_but_data(other);
        one.on_error(|_, _| {});
        let held = on_drop(move || other.destroy());
        one.on_data(move |_, _| held.hold());
        drop(peer_of_one);
        drops(one);
        lp.run().unwrap();
        log.expect(&["close false"]);
        assert_eq!(ending(&peer_of_other), "end");
    }
}

#[test]
fn rule_2_buffers_whose_destructor_writes() {
    // Small ones are taken by the kernel at once; large ones are queued, and dropped by the turn
    // that writes their last byte.
    for bytes in [100, 8 << 20] {
        let (lp, _deadline) = meddled_loop();
        let (socket, peer) = pair(&lp);
        TARGET.set(Some(socket));
        let reader = std::thread::spawn(move || read_to_end(&peer).len());
        socket.write(owned(bytes));
        socket.write_then(owned(bytes), |_| {});
        let log = Recorder::new();
        socket.write_then("last", log.done("last"));
        turn_until(&lp, || log.has("last ok") && MEDDLED.get() == 2);
        TARGET.set(None);
        socket.end();
        lp.run().unwrap();
        // Either destructor has written its byte.
        assert_eq!(join(reader), 2 * bytes + 4 + 2);
    }
}

#[test]
fn rule_2_queued_buffers_that_are_discarded() {
    for inside in [false, true] {
        let (lp, _deadline) = meddled_loop();
        let _peer = target(&lp);
        let (socket, peer) = pair(&lp);
        for _ in 0..4 {
            socket.write(owned(4 << 20));
        }
        assert!(socket.writable_length() > 0, "nothing waits");
        match inside {
            false => socket.destroy(),
            true => drop(lp.set_immediate(move |_| socket.destroy())),
        }
        lp.run_nowait().unwrap();
        lp.run_nowait().unwrap();
        assert_eq!(MEDDLED.get(), 4, "inside: {inside}");
        drop(peer);
    }
}

#[test]
fn rule_2_destructors_of_errors() {
    let (lp, _deadline) = meddled_loop();
    let _peer = target(&lp);
    for times in 1..=3 {
        for inside in [false, true] {
            MEDDLED.set(0);
            let (socket, _other) = pair(&lp);
            socket.on_error(|_, _| {});
            let destroy = move || {
                for _ in 0..times {
                    // The first counts; the others are dropped.
                    socket.destroy_with(Grudge);
                }
            };
            match inside {
                false => destroy(),
                true => drop(lp.set_immediate(move |_| destroy())),
            }
            turn_until(&lp, || MEDDLED.get() == times);
        }
    }
}

#[test]
fn rule_2_completions_run_and_end_unborrowed() {
    let (lp, _deadline) = meddled_loop();
    let _peer = target(&lp);
    let (socket, peer) = pair(&lp);
    let completion = || {
        let held = on_drop(meddle);
        move |_| {
            held.hold();
            meddle();
        }
    };
    socket.write_then("text", completion());
    socket.end_then(completion());
    let server = net::create_server(&lp, |_| {});
    server.close_then(completion());
    socket.event_loop().on_uncaught_error(|_, _| meddle());
    turn_until(&lp, || MEDDLED.get() == 6);
    // One that is never called, and an 'error' that nobody else hears of.
    socket.on_close(|_, _| meddle());
    socket.destroy_with("reason");
    turn_until(&lp, || MEDDLED.get() == 8);
    drop(peer);
}

#[test]
fn rule_2_conversions_of_arguments() {
    let (lp, _deadline) = meddled_loop();
    let _peer = target(&lp);
    let (socket, _other) = pair(&lp);
    socket.write(Meddler);
    socket.write_then(Meddler, |_| {});
    socket.end_with(Meddler);
    socket.end_with_then(Meddler, |_| {});
    socket.on_error(|_, _| {});
    socket.destroy_with(Meddler);
    lp.set_timeout(Meddler, |_| {}).clear();
    lp.set_timeout_once(Meddler, |_| {}).clear();
    lp.set_interval(Meddler, |_| {}).clear();
    let server: Server = net::create_server(&lp, |_| {});
    server.listen(Meddler).unwrap();
    server.close();
    server.listen_then(Meddler, |_| {}).unwrap();
    server.close();
    expect_meddled(10);
    lp.run_nowait().unwrap();
}

#[test]
fn rule_2_everything_that_is_left_when_the_loop_ends() {
    let (lp, _deadline) = meddled_loop();
    let _peer = target(&lp);
    let log = Recorder::new();
    let hold = |name: &'static str| {
        let log = log.clone();
        on_drop(move || {
            meddle();
            log.note(name);
        })
    };
    let (socket, _other) = pair(&lp);
    let server = net::create_server(&lp, |_| {});
    let held = hold("data");
    socket.on_data(move |_, _| held.hold());
    let held = hold("end");
    socket.on_end(move |_| held.hold());
    let held = hold("connection");
    server.on_connection(move |_, _| held.hold());
    let held = hold("tick");
    lp.next_tick(move |_| held.hold());
    let held = hold("timer");
    lp.set_timeout(Duration::from_secs(100), move |_| held.hold());
    let held = hold("immediate");
    lp.set_immediate(move |_| held.hold());
    let held = hold("watcher");
    lp.prepare(move |_| held.hold());
    let held = hold("uncaught");
    lp.on_uncaught_error(move |_, _| held.hold());
    let held = hold("completion");
    socket.write_then(vec![0; 8 << 20], move |_| held.hold());
    socket.write(owned(4 << 20));
    drop(lp);
    let mut dropped = log.take();
    dropped.sort();
    assert_eq!(
        dropped,
        [
            "completion",
            "connection",
            "data",
            "end",
            "immediate",
            "tick",
            "timer",
            "uncaught",
            "watcher"
        ]
    );
    expect_meddled(10);
}
