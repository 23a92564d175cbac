//! What users of event loops have suffered from, each with a test of its own: reading and
//! dispatch. Writing, timers and descriptors have files of their own.

mod support;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::Shutdown;
#[cfg(target_os = "linux")]
use std::net::TcpStream;
use std::rc::Rc;

use nodeloop::Loop;
use nodeloop::net::{ServerOptions, Socket};
use support::*;

/// Collects what a socket receives.
fn collect(socket: Socket) -> Rc<RefCell<Vec<u8>>> {
    let bytes = Rc::new(RefCell::new(Vec::new()));
    let received = bytes.clone();
    socket.on_data(move |_, chunk| received.borrow_mut().extend_from_slice(chunk));
    bytes
}

/// Bytes of which no two neighbours are alike, so that a lost or swapped part shows.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

/// Turns the loop `times` times, held up by a timer alone, and gives the turns and waits that this
/// took. Something that spins takes far more.
fn turns_of_timers(lp: &Loop, times: u64) -> (u64, u64) {
    let before = (lp.turns(), lp.counts().waits);
    let left = Rc::new(Cell::new(times));
    let counted = left.clone();
    lp.set_interval(1, move |timer| {
        counted.set(counted.get() - 1);
        if counted.get() == 0 {
            timer.clear();
        }
    });
    turn_until(lp, || left.get() == 0);
    (lp.turns() - before.0, lp.counts().waits - before.1)
}

#[track_caller]
fn expect_no_spinning(lp: &Loop) {
    let (turns, waits) = turns_of_timers(lp, 30);
    // `turn_until` looks twice per turn, and a turn may come a little too early.
    assert!(
        turns <= 3 * 30 && waits <= 3 * 30,
        "{turns} turns, {waits} waits"
    );
}

#[test]
fn stale_event_after_a_descriptor_number_was_reused() {
    // L23
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 10);
        // The lowest free number is given out, so the first connection that comes when the victim
        // is closed has its number, unless another test takes it: hence several rounds.
        for _ in 0..10 {
            let log = Recorder::new();
            let (first, mut peer_of_first) = pair(lp);
            let (victim, peer_of_victim) = pair(lp);
            first.on_data(move |first, _| {
                victim.destroy();
                first.destroy();
            });
            victim.on_data(|_, _| panic!("it was destroyed"));
            lp.run_nowait().unwrap();
            let inner = log.clone();
            let successor = Rc::new(Cell::new(None));
            let accepted = successor.clone();
            let (server, address) = listening(lp, move |socket| {
                inner.follow(socket);
                accepted.set(Some(socket));
            });
            // In this order in one batch: the first, the victim with data and an end, and the
            // connection that is accepted while the victim's event still waits.
            peer_of_first.write_all(b"x").unwrap();
            send_and_end(&peer_of_victim, b"for the victim");
            let peer = connect(address);
            turn_until(lp, || successor.get().is_some());
            server.close();
            for _ in 0..3 {
                lp.run_nowait().unwrap();
            }
            log.expect(&[]);
            let successor = successor.get().unwrap();
            assert!(successor.writable() && successor.readable());
            assert_eq!(successor.bytes_read(), 0);
            send_and_end(&peer, b"!");
            lp.run().unwrap();
            log.expect(&["data !", "end", "finish", "close false"]);
        }
    });
}

#[test]
fn stale_end_after_a_descriptor_number_was_reused_outside_of_run() {
    // L23
    // The event is in the kernel's queue already when its descriptor is closed.
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (old, peer_of_old) = pair(&lp);
    lp.run_nowait().unwrap();
    send_and_end(&peer_of_old, b"for the old one");
    old.destroy();
    let (new, peer) = pair(&lp);
    log.follow(new);
    for _ in 0..3 {
        lp.run_nowait().unwrap();
    }
    log.expect(&[]);
    send_and_end(&peer, b"!");
    lp.run().unwrap();
    log.expect(&["data !", "end", "finish", "close false"]);
}

/// Sends "abc", the urgent byte X, and "def".
#[cfg(target_os = "linux")]
fn send_urgently(mut peer: &TcpStream) {
    peer.write_all(b"abc").unwrap();
    let socket = socket2::SockRef::from(peer);
    assert_eq!(socket.send_out_of_band(b"X").unwrap(), 1);
    peer.write_all(b"def").unwrap();
}

/// A read stops at the urgent mark: it is short, and yet more lies behind it, of which no event
/// tells.
#[test]
#[cfg(target_os = "linux")]
fn urgent_data_behind_a_short_read() {
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 10);
        let (socket, peer) = pair(lp);
        let received = collect(socket);
        lp.run_nowait().unwrap();
        for round in 1..=3 {
            send_urgently(&peer);
            turn_until(lp, || received.borrow().len() == 6 * round);
        }
        assert_eq!(received.take(), b"abcdef".repeat(3));
    });
}

#[test]
#[cfg(target_os = "linux")]
fn urgent_data_behind_a_short_read_of_a_peer_that_has_ended() {
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 10);
        let log = Recorder::new();
        let (socket, peer) = pair(lp);
        let received = collect(socket);
        log.follow_but_data(socket);
        lp.run_nowait().unwrap();
        send_urgently(&peer);
        peer.shutdown(Shutdown::Write).unwrap();
        lp.run().unwrap();
        assert_eq!(received.take(), b"abcdef");
        log.expect(&["end", "finish", "close false"]);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn urgent_data_behind_a_short_read_when_both_sides_have_ended() {
    // The end is certain, and nothing may be inferred from that.
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 10);
        let log = Recorder::new();
        let (socket, peer) = pair(lp);
        let received = collect(socket);
        log.follow_but_data(socket);
        socket.end();
        turn_until(lp, || log.has("finish"));
        send_urgently(&peer);
        peer.shutdown(Shutdown::Write).unwrap();
        lp.run().unwrap();
        assert_eq!(received.take(), b"abcdef");
        log.expect(&["finish", "end", "close false"]);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn urgent_data_that_came_before_the_socket_was_accepted() {
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 10);
        let received = Rc::new(RefCell::new(Vec::new()));
        let bytes = received.clone();
        let (server, address) = listening(lp, move |socket| {
            let bytes = bytes.clone();
            socket.on_data(move |_, chunk| bytes.borrow_mut().extend_from_slice(chunk));
        });
        let peer = connect(address);
        send_urgently(&peer);
        turn_until(lp, || received.borrow().len() == 6);
        server.close();
        drop(peer);
        lp.run().unwrap();
        assert_eq!(received.take(), b"abcdef");
    });
}

#[test]
#[cfg(target_os = "linux")]
fn urgent_data_does_not_spin_the_loop() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let received = collect(socket);
    lp.run_nowait().unwrap();
    (&peer).write_all(b"abc").unwrap();
    socket2::SockRef::from(&peer)
        .send_out_of_band(b"X")
        .unwrap();
    turn_until(&lp, || received.borrow().len() == 3);
    expect_no_spinning(&lp);
    (&peer).write_all(b"def").unwrap();
    turn_until(&lp, || received.borrow().len() == 6);
    assert_eq!(received.take(), b"abcdef");
}

#[test]
fn n13_fin_with_data_in_the_queue() {
    // 'connection', 'data' and 'end' come in three turns, and no turn comes in vain.
    for (budget, spurious) in [(32, false), (1, false), (32, true)] {
        let builder = Loop::builder()
            .read_budget(budget)
            .spurious_events(spurious);
        let lp = builder.build().unwrap();
        let _deadline = deadline(&lp, 10);
        let log = Recorder::new();
        let note = {
            let log = log.clone();
            move |event: &str, socket: Socket| {
                log.note(format!("{event} {}", socket.event_loop().turns()));
            }
        };
        let (server, address) = listening(&lp, move |socket| {
            note("connection", socket);
            let on = note.clone();
            socket.on_data(move |socket, _| on("data", socket));
            let on = note.clone();
            socket.on_end(move |socket| on("end", socket));
            let on = note.clone();
            socket.on_close(move |socket, _| on("close", socket));
            socket.server().unwrap().close();
        });
        let peer = connect(address);
        send_and_end(&peer, b"question");
        lp.run().unwrap();
        log.expect(&["connection 1", "data 2", "end 3", "close 3"]);
        assert!(!server.listening());
        let counts = lp.counts();
        assert_eq!(lp.turns(), 3);
        assert_eq!((counts.waits, counts.reads), (3, 2));
    }
}

#[test]
fn half_closed_peer_does_not_spin_the_loop() {
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let options = ServerOptions::new().allow_half_open(true);
        let log = Recorder::new();
        let (socket, peer) = pair_with(lp, options, connect);
        log.follow(socket);
        send_and_end(&peer, b"x");
        turn_until(lp, || log.has("end"));
        expect_no_spinning(lp);
        log.expect(&["data x", "end"]);
        // It is still open to the other side.
        socket.end_with("answer");
        lp.run().unwrap();
        assert_eq!(read_to_end(&peer), b"answer");
        log.expect(&["finish", "close false"]);
    });
}

#[test]
fn a_writer_to_a_half_closed_peer_that_does_not_read_does_not_spin() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let options = ServerOptions::new().allow_half_open(true);
    let log = Recorder::new();
    let (socket, peer) = pair_with(&lp, options, |to| connect_narrow(to, 4096));
    log.follow(socket);
    assert!(!socket.write(pattern(8 << 20)), "taken whole");
    peer.shutdown(Shutdown::Write).unwrap();
    turn_until(&lp, || log.has("end"));
    expect_no_spinning(&lp);
    socket.end();
    let reader = std::thread::spawn(move || read_to_end(&peer));
    lp.run().unwrap();
    assert!(join(reader) == pattern(8 << 20));
    log.expect(&["end", "finish", "close false"]);
}

#[test]
fn a_hang_up_that_nobody_reads_does_not_spin() {
    // Both sides are shut down, and data waits that a paused socket does not take.
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let options = ServerOptions::new().high_water_mark(4);
        let log = Recorder::new();
        let (socket, peer) = pair_with(lp, options, connect);
        log.follow(socket);
        socket.pause();
        (&peer).write_all(&pattern(200_000)[..1000]).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        socket.end();
        turn_until(lp, || log.has("finish"));
        expect_no_spinning(lp);
        log.expect(&["finish"]);
        // N161: what is buffered goes before the end.
        assert!(!socket.destroyed());
        socket.resume();
        lp.run().unwrap();
        let events = log.take();
        assert_eq!(events[events.len() - 2..], ["end", "close false"]);
    });
}

#[test]
fn a_panic_loses_no_edge() {
    // The kernel tells of these bytes once. Every chunk that is delivered panics.
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let sent = pattern(500);
        let log = Recorder::new();
        let (socket, peer) = pair(lp);
        let (other, peer_of_other) = pair(lp);
        let received = Rc::new(RefCell::new(Vec::new()));
        let bytes = received.clone();
        socket.on_data(move |_, chunk| {
            bytes.borrow_mut().extend_from_slice(chunk);
            panic!("thrown");
        });
        let bytes_of_other = collect(other);
        log.follow_but_data(socket);
        log.follow_but_data(other);
        send_and_end(&peer, &sent);
        send_and_end(&peer_of_other, &sent);
        while lp.is_alive() {
            caught(|| {
                lp.run().unwrap();
                panic!("over");
            });
        }
        assert_eq!(received.take(), sent);
        assert_eq!(bytes_of_other.take(), sent);
        assert_eq!(log.count("end"), 2);
        assert_eq!(log.count("close false"), 2);
    });
}

#[test]
fn an_unhandled_error_loses_no_edge() {
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let sent = pattern(500);
        let (doomed, peer_of_doomed) = pair(lp);
        let others: Vec<_> = (0..4).map(|_| pair(lp)).collect();
        let received: Vec<_> = others.iter().map(|(socket, _)| collect(*socket)).collect();
        doomed.on_data(|doomed, _| doomed.destroy_with("reason"));
        lp.run_nowait().unwrap();
        let (before, behind) = others.split_at(2);
        before
            .iter()
            .for_each(|(_, peer)| send_and_end(peer, &sent));
        send_and_end(&peer_of_doomed, &sent);
        behind
            .iter()
            .for_each(|(_, peer)| send_and_end(peer, &sent));
        assert_eq!(lp.run().unwrap_err().to_string(), "reason");
        lp.run().unwrap();
        for received in received {
            assert_eq!(received.take(), sent);
        }
        assert!(others.iter().all(|(socket, _)| socket.destroyed()));
    });
}

#[test]
fn pause_inside_the_connection_listener() {
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let log = Recorder::new();
        let inner = log.clone();
        let (server, address) = listening(lp, move |socket| {
            inner.follow(socket);
            socket.pause();
            socket.server().unwrap().close();
            let inner = inner.clone();
            socket.event_loop().set_timeout_once(10, move |_| {
                inner.note(format!("paused {}", socket.is_paused()));
                socket.resume();
            });
        });
        let peer = connect(address);
        send_and_end(&peer, b"x");
        lp.run().unwrap();
        log.expect(&["paused true", "data x", "end", "finish", "close false"]);
        assert!(!server.listening());
    });
}

#[test]
fn n89_pause_on_connect_reads_nothing() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let options = ServerOptions::new().pause_on_connect(true);
    let (socket, peer) = pair_with(&lp, options, connect);
    let log = Recorder::new();
    log.follow(socket);
    send_and_end(&peer, b"x");
    expect_no_spinning(&lp);
    assert_eq!((socket.bytes_read(), lp.counts().reads), (0, 0));
    socket.resume();
    lp.run().unwrap();
    log.expect(&["data x", "end", "finish", "close false"]);
}

#[test]
fn n90_bytes_that_came_before_a_data_listener() {
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let (socket, peer) = pair(lp);
        let sent = pattern(100);
        send_and_end(&peer, &sent);
        turn_until(lp, || socket.readable_length() == sent.len());
        // The end was read too, and waits behind them.
        for _ in 0..5 {
            lp.run_nowait().unwrap();
        }
        let received = collect(socket);
        assert!(received.borrow().is_empty(), "inside the call");
        lp.run().unwrap();
        assert_eq!(received.take(), sent);
    });
}

#[test]
fn n152_more_than_the_mark_before_a_data_listener() {
    for budget in [1, 32] {
        let lp = Loop::builder().read_budget(budget).build().unwrap();
        let _deadline = deadline(&lp, 20);
        let (socket, peer) = pair(&lp);
        let sent = pattern(3 << 20);
        let bytes = sent.clone();
        let sender = std::thread::spawn(move || send_and_end(&peer, &bytes));
        turn_until(&lp, || socket.readable_length() >= 64 * 1024);
        expect_no_spinning(&lp);
        // N153: the mark, less one byte, and one more read.
        assert!(socket.readable_length() < 2 * 64 * 1024);
        let received = collect(socket);
        lp.run().unwrap();
        join(sender);
        assert!(received.take() == sent, "lost or disordered");
    }
}

#[test]
fn a_listener_that_pauses_at_every_chunk() {
    // Stops early with data behind it, again and again, and is told by no further event.
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let options = ServerOptions::new().high_water_mark(8);
        let (socket, peer) = pair_with(lp, options, connect);
        let received = collect(socket);
        socket.on_data(|socket, _| {
            socket.pause();
            let lp = socket.event_loop();
            lp.set_immediate(move |_| socket.resume());
        });
        let sent = pattern(300);
        send_and_end(&peer, &sent);
        lp.run().unwrap();
        assert_eq!(received.take(), sent);
    });
}

#[test]
fn n11_one_fast_peer_does_not_hold_up_the_others() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (fast, peer_of_fast) = pair(&lp);
    let (slow, peer_of_slow) = pair(&lp);
    let sent = pattern(16 << 20);
    let most = Rc::new(Cell::new((0, 0)));
    let per_turn = most.clone();
    let mut in_turn = (0, 0);
    fast.on_data(move |socket, chunk| {
        let turn = socket.event_loop().turns();
        let bytes = if in_turn.0 == turn { in_turn.1 } else { 0 };
        in_turn = (turn, bytes + chunk.len());
        if in_turn.1 > per_turn.get().1 {
            per_turn.set(in_turn);
        }
    });
    let log = Recorder::new();
    log.follow(slow);
    send_and_end(&peer_of_slow, b"x");
    let sender = std::thread::spawn(move || send_and_end(&peer_of_fast, &sent));
    lp.run().unwrap();
    join(sender);
    assert!(most.get().1 <= 32 * 64 * 1024, "{:?}", most.get());
    log.expect(&["data x", "end", "finish", "close false"]);
}

/// The event that says "connected" may be older than the reset: the kernel is asked what became of
/// the attempt, as N134 has it.
#[test]
fn n134_a_reset_in_the_turn_in_which_a_client_is_connected_fails_the_attempt() {
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 10);
        // The server is served in front of the client that it accepts (N15).
        let server = nodeloop::net::create_server(lp, |socket| {
            socket.reset_and_destroy();
            socket.server().unwrap().close();
        });
        server.listen(("127.0.0.1", 0)).unwrap();
        let found = Rc::new(Cell::new(None));
        let told = found.clone();
        server.on_listening(move |server| {
            let client = nodeloop::net::connect(&server, target(address_of(server)));
            let told = told.clone();
            client.on_error(move |_, error| told.set(error.code().zip(error.syscall())));
        });
        lp.run().unwrap();
        assert_eq!(found.get(), Some(("ECONNRESET", "connect")));
    });
}
