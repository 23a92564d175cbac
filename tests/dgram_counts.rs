//! System calls of UDP sockets, counted, and what a turn delivers.

mod support;

use std::cell::Cell;
#[cfg(target_os = "linux")]
use std::cell::RefCell;
use std::net::UdpSocket;
use std::rc::Rc;

use nodeloop::dgram::{Payload, Socket};
use nodeloop::{Counts, HandleInfo, HandleKind, Loop};
use support::udp::*;
use support::{Recorder, deadline, turn_until};

/// Whether this build can receive many datagrams with one call.
const BATCHES: bool = cfg!(all(target_os = "linux", feature = "full-udp"));

/// Waits, receives and sends between two moments, and the datagrams of both.
fn since(lp: &Loop, before: Counts) -> [u64; 5] {
    let after = lp.counts();
    [
        after.waits - before.waits,
        after.receives - before.receives,
        after.sends - before.sends,
        after.datagrams_received - before.datagrams_received,
        after.datagrams_sent - before.datagrams_sent,
    ]
}

/// An echo that has answered once, so that what it makes at the beginning is made.
fn echo(lp: &Loop, peer: &UdpSocket) -> Socket {
    let (socket, address) = bound(lp);
    let answered = Rc::new(Cell::new(false));
    let answering = answered.clone();
    socket.on_message(move |socket, message, from| {
        socket.send_to(message, from).unwrap();
        answering.set(true);
    });
    peer.connect(address).unwrap();
    peer.send(b"first").unwrap();
    turn_until(lp, || answered.get());
    assert_eq!(receive(peer), b"first");
    socket
}

#[test]
fn one_datagram_in_flight_costs_one_wait_one_receive_one_send() {
    if !BATCHES {
        return println!("skipped: this build receives one datagram per call");
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (peer, _) = peer();
    let _socket = echo(&lp, &peer);
    let before = lp.counts();
    for _ in 0..10 {
        peer.send(b"ping").unwrap();
        lp.run_once().unwrap();
        assert_eq!(receive(&peer), b"ping");
    }
    assert_eq!(since(&lp, before), [10, 10, 10, 10, 10]);
    let after = lp.counts();
    assert_eq!((after.registrations, after.rearms), (1, 0));
}

#[test]
fn what_arrives_together_is_received_and_answered_together() {
    if !BATCHES {
        return println!("skipped: this build receives one datagram per call");
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (peer, _) = peer();
    let _socket = echo(&lp, &peer);
    let burst = |count: u8| {
        let before = lp.counts();
        for number in 0..count {
            peer.send(&[number; 100]).unwrap();
        }
        let target = before.datagrams_sent + u64::from(count);
        turn_until(&lp, || lp.counts().datagrams_sent == target);
        for number in 0..count {
            assert_eq!(receive(&peer), [number; 100], "in order");
        }
        since(&lp, before)
    };
    // The batches of a socket grow as they are used: 2, 4, 8, 16, and one more read than came.
    let [_, receives, sends, received, sent] = burst(30);
    assert_eq!((received, sent), (30, 30));
    assert!(receives <= 5 && sends == 1, "{receives} {sends}");
    for _ in 0..3 {
        let [waits, receives, sends, ..] = burst(30);
        assert_eq!((waits, receives, sends), (1, 1, 1));
    }
}

#[test]
fn n12_a_turn_delivers_32_datagrams_of_a_socket() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (peer, _) = peer();
    let (socket, address) = bound(&lp);
    let (other, other_address) = bound(&lp);
    let log = Recorder::new();
    let noted = log.clone();
    socket.on_message(move |_, _, _| noted.note("one"));
    let noted = log.clone();
    other.on_message(move |_, _, _| noted.note("other"));
    for _ in 0..80 {
        peer.send_to(b"x", address).unwrap();
    }
    peer.send_to(b"x", other_address).unwrap();
    let mut turns = Vec::new();
    while log.count("one") + log.count("other") + turns.iter().sum::<usize>() < 81 {
        lp.run_once().unwrap();
        let told = log.take();
        if !told.is_empty() {
            turns.push(told.len());
        }
    }
    assert_eq!(turns, [33, 32, 16]);
}

/// So many datagrams that come together are a flood: from then on trains come as trains.
#[cfg(target_os = "linux")]
const FLOOD: usize = 20;

/// Sends datagrams of `size` bytes as one run (UDP_SEGMENT), which the receiver gets as one train.
#[cfg(target_os = "linux")]
fn send_train(peer: &UdpSocket, bytes: &[u8], size: u16) {
    const WORD: usize = size_of::<usize>();
    let mut control = [0; 2 * WORD + 8];
    control[..WORD].copy_from_slice(&(WORD + 10).to_ne_bytes());
    control[WORD..WORD + 4].copy_from_slice(&17_i32.to_ne_bytes());
    control[WORD + 4..WORD + 8].copy_from_slice(&103_i32.to_ne_bytes());
    control[WORD + 8..WORD + 10].copy_from_slice(&size.to_ne_bytes());
    let parts = [std::io::IoSlice::new(bytes)];
    let message = socket2::MsgHdr::new().with_buffers(&parts);
    socket2::SockRef::from(peer)
        .sendmsg(&message.with_control(&control), 0)
        .unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn trains_and_single_datagrams_in_any_order() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (peer, _) = peer();
    let (socket, address) = bound(&lp);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let noted = seen.clone();
    socket.on_message(move |_, message, _| noted.borrow_mut().push(message.to_vec()));
    peer.connect(address).unwrap();
    for _ in 0..FLOOD {
        peer.send(b"flood").unwrap();
    }
    turn_until(&lp, || seen.borrow().len() == FLOOD);
    // What the receives before have had decides what they are handed: so each follows each, received alone
    // and together, and no size of one is taken for that of another.
    let kinds = [(1, 7), (3, 100), (5, 10), (1, 1), (2, 1400)];
    for together in [false, true] {
        seen.borrow_mut().clear();
        let mut sent: Vec<Vec<u8>> = Vec::new();
        for (first, second) in (0..25).map(|pair| (kinds[pair / 5], kinds[pair % 5])) {
            for (count, size) in [first, second] {
                let bytes = vec![sent.len() as u8; count * size];
                match count {
                    1 => drop(peer.send(&bytes).unwrap()),
                    _ => send_train(&peer, &bytes, size as u16),
                }
                sent.extend(bytes.chunks(size).map(<[u8]>::to_vec));
                if !together {
                    turn_until(&lp, || seen.borrow().len() == sent.len());
                }
            }
        }
        turn_until(&lp, || seen.borrow().len() == sent.len());
        assert_eq!(*seen.borrow(), sent);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_train_is_taken_apart_and_goes_on_in_the_next_turn() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (peer, from) = peer();
    let (socket, address) = bound(&lp);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let noted = seen.clone();
    socket.on_message(move |socket, message, info| {
        assert_eq!((info.socket_addr(), info.size()), (from, message.len()));
        noted
            .borrow_mut()
            .push((socket.event_loop().turns(), message.to_vec()));
    });
    peer.connect(address).unwrap();
    for _ in 0..FLOOD {
        peer.send(b"flood").unwrap();
    }
    turn_until(&lp, || seen.borrow().len() == FLOOD);
    seen.borrow_mut().clear();
    let before = lp.counts();
    let bytes: Vec<u8> = (0..=255).cycle().take(50 * 1000 + 300).collect();
    send_train(&peer, &bytes, 1000);
    peer.send(b"behind").unwrap();
    turn_until(&lp, || seen.borrow().len() == 52);
    let seen = seen.borrow();
    let messages: Vec<&[u8]> = seen.iter().map(|(_, message)| &message[..]).collect();
    let mut expected: Vec<&[u8]> = bytes.chunks(1000).collect();
    expected.push(b"behind");
    assert_eq!(messages, expected);
    let first = seen[0].0;
    let turns: Vec<u64> = seen.iter().map(|(turn, _)| turn - first).collect();
    assert_eq!(turns, [[0; 32].to_vec(), [1; 20].to_vec()].concat());
    let [_, receives, _, received, _] = since(&lp, before);
    assert_eq!(received, 52);
    if BATCHES {
        assert!(receives <= 2, "{receives}");
    }
}

/// Closing in the middle of a train gives its memory back and delivers no more (N279, U27).
#[test]
#[cfg(target_os = "linux")]
fn a_train_ends_with_its_socket() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (peer, _) = peer();
    for close_at in [1, 31, 32, 33, 50] {
        let (socket, address) = bound(&lp);
        let seen = Rc::new(Cell::new(0));
        let count = seen.clone();
        socket.on_message(move |socket, message, _| {
            count.set(count.get() + usize::from(message != b"flood"));
            if count.get() == close_at {
                socket.close().unwrap();
            }
        });
        peer.connect(address).unwrap();
        let before = lp.counts().datagrams_received;
        for _ in 0..FLOOD {
            peer.send(b"flood").unwrap();
        }
        turn_until(&lp, || {
            lp.counts().datagrams_received == before + FLOOD as u64
        });
        send_train(&peer, &[7; 6000], 100);
        lp.run().unwrap();
        assert_eq!(seen.get(), close_at);
    }
}

#[test]
fn runs_of_one_size_are_one_send_on_linux() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (peer, address) = peer();
    let (socket, _) = bound(&lp);
    let log = Recorder::new();
    let sending = |sizes: &'static [usize]| {
        let before = lp.counts();
        let noted = log.clone();
        lp.set_immediate(move |_| {
            for (number, &size) in sizes.iter().enumerate() {
                socket
                    .send_to_then(vec![number as u8; size], address, sent(&noted, number))
                    .unwrap();
            }
        });
        let target = before.datagrams_sent + sizes.len() as u64;
        turn_until(&lp, || lp.counts().datagrams_sent == target);
        lp.run_nowait().unwrap();
        for (number, &size) in sizes.iter().enumerate() {
            assert_eq!(receive(&peer), vec![number as u8; size]);
        }
        let told: Vec<String> = sizes
            .iter()
            .enumerate()
            .map(|(number, size)| format!("{number} {size}"))
            .collect();
        assert_eq!(log.take(), told);
        since(&lp, before)[2]
    };
    let runs = u64::from(cfg!(target_os = "linux"));
    assert_eq!(sending(&[100; 40]), 40 - 39 * runs);
    assert_eq!(sending(&[100, 100, 100, 50]), 4 - 3 * runs);
    assert_eq!(sending(&[100, 50, 100, 50]), 4 - 2 * runs);
    assert_eq!(sending(&[1, 2, 3]), 3);
    assert_eq!(sending(&[0, 0]), 2);
    // As many as fit into a run go together, and none is left over.
    assert_eq!(sending(&[1200; 56]), 56 - 54 * runs);
    // Two of them are not laid aside.
    assert_eq!(sending(&[20_000, 20_000]), 2);
    // A list is one datagram and one call.
    let before = lp.counts();
    socket
        .send_to(Payload::list(["one ", "datagram"]), address)
        .unwrap();
    lp.run_nowait().unwrap();
    assert_eq!(receive(&peer), b"one datagram");
    assert_eq!(since(&lp, before)[2], 1);
}

#[test]
fn without_gathering_each_send_is_a_call_of_its_own() {
    let lp = Loop::builder().gather(false).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let (peer, address) = peer();
    let socket = connected(&lp, address);
    let before = lp.counts();
    lp.set_immediate(move |_| {
        for number in 0..5 {
            socket.send([number; 10].as_slice()).unwrap();
            // It has gone already.
            assert_eq!(receive(&peer), [number; 10]);
        }
    });
    lp.run_nowait().unwrap();
    assert_eq!(since(&lp, before)[2], 5);
}

/// What a callback has sent is not held back behind whatever else the loop does.
#[test]
fn what_is_laid_aside_goes_before_other_user_code() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (peer, address) = peer();
    let peer = Rc::new(peer);
    let socket = connected(&lp, address);
    let expect = {
        let peer = peer.clone();
        move |text: &str| {
            peer.set_nonblocking(true).unwrap();
            assert_eq!(String::from_utf8(receive(&peer)).unwrap(), text);
        }
    };
    // A tick, the next immediate, a flush, a setter, the end of `run`.
    let (in_tick, in_next) = (expect.clone(), expect.clone());
    let in_callback = expect.clone();
    lp.set_immediate(move |immediate| {
        socket.send("before a tick").unwrap();
        immediate
            .event_loop()
            .next_tick(move |_| in_tick("before a tick"));
    });
    lp.set_immediate(move |_| socket.send("before the next callback").unwrap());
    lp.set_immediate(move |_| {
        in_next("before the next callback");
        socket.send("flushed").unwrap();
        socket.flush();
        in_callback("flushed");
        socket.send("before an option").unwrap();
        socket.set_ttl(64).unwrap();
        in_callback("before an option");
        socket.send("before the end of run").unwrap();
    });
    lp.run_nowait().unwrap();
    expect("before the end of run");
    // Outside of `run` nothing is laid aside.
    socket.send("at once").unwrap();
    expect("at once");
    // Those of a batch are held together, but not behind another's callback.
    let (server, address) = bound(&lp);
    let (other, other_address) = bound(&lp);
    let seen = Rc::new(Cell::new(0));
    let count = seen.clone();
    server.on_message(move |_, message, _| {
        count.set(count.get() + 1);
        socket.send(message).unwrap();
    });
    let checked = seen.clone();
    other.on_message(move |_, _, _| {
        expect("a");
        expect("b");
        checked.set(checked.get() + 10);
    });
    for (text, to) in [("a", address), ("b", address), ("c", other_address)] {
        peer.send_to(text.as_bytes(), to).unwrap();
    }
    turn_until(&lp, || seen.get() == 12);
}

#[test]
fn a_refused_run_goes_out_one_by_one() {
    let lp = Loop::builder().refuse_runs(true).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let (peer, address) = peer();
    let (socket, _) = bound(&lp);
    let log = Recorder::new();
    for number in 0..10_u8 {
        socket
            .send_to_then(vec![number; 10], address, sent(&log, number))
            .unwrap();
    }
    turn_until(&lp, || log.has("9 10"));
    let names: Vec<String> = (0..10).map(|number| format!("{number} 10")).collect();
    assert_eq!(log.take(), names);
    for number in 0..10_u8 {
        assert_eq!(receive(&peer), [number; 10]);
    }
    assert_eq!(lp.counts().datagrams_sent, 10);
}

/// U14–U17: what the kernel has no room for waits in order, and is told from the poll phase.
#[test]
fn what_the_kernel_refuses_waits() {
    let lp = Loop::builder().refuse_sends(3).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let (peer, address) = peer();
    let socket = connected(&lp, address);
    let log = Recorder::new();
    socket.unref();
    socket.send_then("one", sent(&log, "one")).unwrap();
    socket
        .send_then(Payload::list(["tw", "o"]), sent(&log, "two"))
        .unwrap();
    socket.send("three").unwrap();
    assert_eq!(
        (socket.send_queue_count(), socket.send_queue_size()),
        (3, 11)
    );
    let counted = log.clone();
    socket
        .send_then("four", move |result| {
            assert_eq!(
                (socket.send_queue_count(), socket.send_queue_size()),
                (0, 0)
            );
            counted.note(format!("four {}", result.unwrap()));
        })
        .unwrap();
    // A datagram in flight holds the loop, also of a socket that does not (N53).
    assert!(lp.is_alive());
    let ticked = log.clone();
    lp.next_tick(move |_| ticked.note("tick"));
    lp.run().unwrap();
    log.expect(&["tick", "one 3", "two 3", "four 4"]);
    let got: Vec<_> = (0..4).map(|_| receive(&peer)).collect();
    assert_eq!(got, [&b"one"[..], b"two", b"three", b"four"]);
    assert!(!lp.is_alive());
    let after = lp.counts();
    // To be told of room, once more after each refusal, and to be told no more.
    assert_eq!(after.rearms, 1 + 7 + 1);
    assert!(after.waits < 30, "{} waits", after.waits);
}

/// The one answer that there is, too, though it goes out as it lies in the outbox.
#[test]
fn an_answer_that_the_kernel_refuses_waits() {
    let lp = Loop::builder().refuse_sends(3).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let (peer, to) = peer();
    let (socket, address) = bound(&lp);
    let answers = Rc::new(Cell::new(0));
    let counted = answers.clone();
    socket.on_message(move |socket, message, from| {
        socket.send_to(message, from).unwrap();
        counted.set(counted.get() + 1);
    });
    peer.connect(address).unwrap();
    for round in 1..=3 {
        peer.send(b"ping").unwrap();
        turn_until(&lp, || answers.get() == round);
        assert_eq!(
            (socket.send_queue_count(), socket.send_queue_size()),
            (1, 4)
        );
        // Behind it, in order.
        socket.send_to("later", to).unwrap();
        turn_until(&lp, || socket.send_queue_count() == 0);
        assert_eq!(
            (receive(&peer), receive(&peer)),
            (b"ping".into(), b"later".into())
        );
    }
}

/// A close while datagrams wait for the kernel: each is told, then nothing is left.
#[test]
fn closing_cancels_what_waits_for_the_kernel() {
    // L53
    let lp = Loop::builder().refuse_sends(u32::MAX).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let (_peer, address) = peer();
    let log = Recorder::new();
    let socket = connected(&lp, address);
    socket.on_close(log.noting("close"));
    socket.send_then("one", sent(&log, "one")).unwrap();
    socket.send("two").unwrap();
    socket.close().unwrap();
    lp.run().unwrap();
    log.expect(&["close", "one ECANCELED"]);
    let is_there = |handle: &HandleInfo| handle.kind == HandleKind::UdpSocket;
    assert!(!lp.handles().iter().any(is_there));
    let (socket, _) = bound(&lp);
    let error = outcome(&lp, |done| {
        socket.send_to_then("three", address, done).unwrap();
        lp.run_nowait().unwrap();
        socket.close().unwrap();
    });
    let text = format!("send ECANCELED {address}");
    assert_eq!(error.unwrap_err().to_string(), text);
}
