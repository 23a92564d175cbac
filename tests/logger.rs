//! The re-entrancy contract, rule 2: the implementation of `log` is user code, and may call the
//! loop that logs. In a program of its own, since a process has one logger.

mod support;

use std::cell::{Cell, RefCell};

use log::{LevelFilter, Log, Metadata, Record};
use nodeloop::{Loop, LoopHandle, net};
use support::*;

thread_local! {
    /// The loop that the logger meddles with, while there is one.
    static LOOP: Cell<Option<LoopHandle>> = const { Cell::new(None) };
    /// Whether the logger is at work: what it does is logged too.
    static BUSY: Cell<bool> = const { Cell::new(false) };
    /// How many servers the logger may still make.
    static SERVERS_LEFT: Cell<u32> = const { Cell::new(100) };
    /// What the records have in them for which it queues a tick, and where the tick is noted.
    static NOTES: RefCell<Option<(&'static str, Recorder)>> = const { RefCell::new(None) };
    /// How many records came, by level.
    static SEEN: Cell<[u32; 6]> = const { Cell::new([0; 6]) };
}

/// Calls the loop for every record.
struct Meddler;

impl Log for Meddler {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        if !BUSY.replace(true) {
            meddle();
            BUSY.set(false);
        }
        true
    }

    fn log(&self, record: &Record<'_>) {
        // Formatting is part of it: the arguments must not need the loop's borrow either.
        let text = record.args().to_string();
        let notes = NOTES.with(|notes| notes.borrow().clone());
        if let (Some(lp), Some((wanted, notes))) = (LOOP.get(), notes)
            && text.contains(wanted)
            && !text.contains("tick")
        {
            lp.next_tick(notes.noting("tick"));
        }
        let mut seen = SEEN.get();
        seen[record.level() as usize] += 1;
        SEEN.set(seen);
        if !BUSY.replace(true) {
            meddle();
            BUSY.set(false);
        }
    }

    fn flush(&self) {}
}

/// Calls that borrow the loop and change it.
fn meddle() {
    let Some(lp) = LOOP.get() else { return };
    lp.set_timeout(1, |_| {}).clear();
    lp.set_immediate(|_| {}).clear();
    lp.prepare(|_| {}).close();
    let _ = (lp.handles(), lp.turns(), lp.is_alive());
    // Its closing is logged on a tick, which makes another: not for ever.
    let left = SERVERS_LEFT.get();
    if left > 0 {
        SERVERS_LEFT.set(left - 1);
        let server = net::create_server(&lp, |_| {});
        let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        server.listen(any_port).unwrap();
        server.close();
    }
}

#[test]
fn rule_2_a_logger_that_calls_the_api() {
    log::set_logger(&Meddler).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let lp = Loop::new().unwrap();
    LOOP.set(Some(lp.handle()));
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();

    // A connection's whole life, an error that nobody hears, and ticks enough for a warning.
    let inner = log.clone();
    let (server, address) = listening(&lp, move |socket| {
        inner.follow(socket);
        socket.write("hello");
    });
    let peer = client(address, |peer| {
        send_and_end(&peer, b"question");
        read_to_end(&peer)
    });
    turn_until(&lp, || log.has("close false"));
    log.expect(&["data question", "end", "finish", "close false"]);
    assert_eq!(join(peer), b"hello");

    let other = net::create_server(&lp, |_| {});
    other.listen(at(address)).unwrap();
    assert_eq!(code(lp.run_nowait()), "EADDRINUSE");
    // Each tick is a record at level trace, and what the meddler leaves behind for each is freed when
    // they have run dry: too much to be looked through as often.
    log::set_max_level(LevelFilter::Debug);
    let warnings = || SEEN.get()[log::Level::Warn as usize];
    assert_eq!(warnings(), 0);
    for _ in 0..10_001 {
        lp.next_tick(|_| {});
    }
    lp.run_nowait().unwrap();
    assert_eq!(warnings(), 1);

    // A tick that the logger queues runs behind the watcher that it was told of, though that calls nothing.
    log::set_max_level(LevelFilter::Trace);
    NOTES.set(Some((" prepare: ", log.clone())));
    let watchers = ["second", "first"].map(|name| lp.prepare(log.noting(name)));
    lp.run_nowait().unwrap();
    log.expect(&["first", "tick", "second", "tick"]);
    for watcher in watchers {
        watcher.close();
    }
    // The same amid datagrams that were received together.
    NOTES.set(Some(("'message' to ", log.clone())));
    let (socket, address) = udp::bound(&lp);
    let inner = log.clone();
    socket.on_message(move |_, message, _| inner.note(String::from_utf8_lossy(message)));
    let (peer, _) = udp::peer();
    for message in ["one", "two", "three"] {
        peer.send_to(message.as_bytes(), address).unwrap();
    }
    turn_until(&lp, || log.has("three"));
    log.expect(&["one", "tick", "two", "tick", "three", "tick"]);
    NOTES.take();
    socket.close().unwrap();
    log::set_max_level(LevelFilter::Debug);
    server.close();
    lp.run().unwrap();
    drop(lp);
    let [_, _, warn, _, debug, trace] = SEEN.get();
    assert!(
        warn >= 1 && debug >= 5 && trace >= 10,
        "{warn} {debug} {trace}"
    );
}
