//! Datagrams of all sizes, and many of them: every one is received, or counted as lost by the kernel.

mod support;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::UdpSocket;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use nodeloop::Loop;
use nodeloop::dgram::{self, SocketOptions, SocketType};
use support::udp::*;
use support::{code_of, deadline, join, turn_until};

/// How many datagrams each test of many sends.
const MANY: u64 = 1_000_000;

/// What a datagram may have over IPv4: a packet's 65,535 bytes less the headers.
const LARGEST: usize = 65_507;

#[test]
fn n272_datagrams_of_all_sizes() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (server, address) = bound(&lp);
    let (client, _) = bound(&lp);
    let back = Rc::new(RefCell::new(None));
    server.on_message(|server, message, from| {
        assert_eq!(from.size(), message.len());
        server.send_to(message, from).unwrap();
    });
    let coming = back.clone();
    client.on_message(move |_, message, _| *coming.borrow_mut() = Some(message.to_vec()));
    for size in [0, 1, 1472, 1473, 9000, LARGEST] {
        let message: Vec<u8> = (0..=255).cycle().take(size).collect();
        let sent = outcome(&lp, |done| {
            client.send_to_then(&message, address, done).unwrap();
        });
        assert_eq!(sent.unwrap(), size);
        turn_until(&lp, || back.borrow().is_some());
        assert!(back.take().as_ref() == Some(&message), "{size} bytes");
    }
    let error = outcome(&lp, |done| {
        client
            .send_to_then(vec![0; LARGEST + 1], address, done)
            .unwrap();
    });
    assert_eq!(code_of(&error.unwrap_err()), "EMSGSIZE");
    assert!(back.borrow().is_none());
}

/// Those that are too large fail, and those beside them, with which they lie in a run, do not.
#[test]
fn a_datagram_that_is_too_large_fails_alone() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let six = dgram::create_socket(&lp, SocketType::Udp6);
    let address = six.bind_sync(("::1", 0)).unwrap();
    let sizes = Rc::new(RefCell::new(Vec::new()));
    let seen = sizes.clone();
    six.on_message(move |_, message, from| {
        assert_eq!(from.family(), "IPv6");
        seen.borrow_mut().push(message.len());
    });
    let results = Rc::new(RefCell::new(Vec::new()));
    for size in [10, 10, 65_527, 10, 65_528, 10] {
        let results = results.clone();
        six.send_to_then(vec![1; size], address, move |result| {
            results
                .borrow_mut()
                .push(result.map_err(|error| code_of(&error)));
        })
        .unwrap();
    }
    turn_until(&lp, || sizes.borrow().len() == 5);
    assert_eq!(*sizes.borrow(), [10, 10, 65_527, 10, 10]);
    let too_large = Err("EMSGSIZE".to_string());
    let expected = [Ok(10), Ok(10), Ok(65_527), Ok(10), too_large, Ok(10)];
    assert_eq!(*results.borrow(), expected);
}

/// What the kernel has thrown away at a port of 127.0.0.1, where it tells.
fn lost(port: u16) -> Option<u64> {
    let sockets = std::fs::read_to_string("/proc/net/udp").ok()?;
    let wanted = format!("0100007F:{port:04X}");
    // The second word is the local address, the last what was lost.
    let line = sockets
        .lines()
        .find(|line| line.split_whitespace().nth(1) == Some(&wanted))?;
    line.split_whitespace().last()?.parse().ok()
}

/// Marks the end of a flood; sent until it is heard.
const END: u64 = u64::MAX;

/// Every datagram that was sent was received, or is among those that the kernel says it lost: the sums
/// are equal, to the last one.
#[test]
fn what_was_sent_was_received_or_lost() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 100);
    let options = SocketOptions::new(SocketType::Udp4).recv_buffer_size(1 << 20);
    let socket = dgram::create_socket(&lp, options);
    let address = socket.bind_sync(("127.0.0.1", 0)).unwrap();
    if lost(address.port()).is_none() {
        return println!("skipped: the system does not tell what it lost");
    }
    let heard = Arc::new(AtomicBool::new(false));
    let over = heard.clone();
    let flood = thread::spawn(move || {
        let (peer, _) = peer();
        peer.connect(address).unwrap();
        for number in 0..MANY {
            // Of different sizes, so that nothing depends on one.
            let mut message = [0; 200];
            message[..8].copy_from_slice(&number.to_le_bytes());
            peer.send(&message[..8 + (number % 192) as usize]).unwrap();
        }
        let mut sent = MANY;
        while !over.load(Ordering::Relaxed) {
            peer.send(&END.to_le_bytes()).unwrap();
            sent += 1;
            thread::yield_now();
        }
        sent
    });
    let received = Rc::new(Cell::new(0_u64));
    let count = received.clone();
    let mut next = 0;
    socket.on_message(move |_, message, from| {
        count.set(count.get() + 1);
        let number = u64::from_le_bytes(message[..8].try_into().unwrap());
        if number == END {
            return heard.store(true, Ordering::Relaxed);
        }
        assert!(number >= next, "{number} came after {next}");
        assert_eq!(from.size(), 8 + (number % 192) as usize);
        next = number + 1;
    });
    // Who is done says nothing to the loop: it looks now and then.
    lp.set_interval(5, |_| {});
    turn_until(&lp, || flood.is_finished());
    let sent = join(flood);
    // A datagram over loopback is delivered, or lost, within the call that sends it.
    let lost = lost(address.port()).unwrap();
    turn_until(&lp, || received.get() + lost >= sent);
    for _ in 0..5 {
        lp.run_once().unwrap();
    }
    println!("{sent} sent, {} received, {lost} lost", received.get());
    assert_eq!(received.get() + lost, sent);
    assert_eq!(lp.counts().datagrams_received, received.get());
}

/// The same for what the loop sends.
#[test]
fn what_the_loop_sent_was_received_or_lost() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 100);
    let (sink, address) = peer();
    if lost(address.port()).is_none() {
        return println!("skipped: the system does not tell what it lost");
    }
    let heard = Arc::new(AtomicBool::new(false));
    let (sent, total) = mpsc::channel();
    let hears = heard.clone();
    let counting = thread::spawn(move || {
        let mut count = 0_u64;
        let mut next = 0;
        let mut take = || {
            let mut buffer = [0; 256];
            let size = sink.recv(&mut buffer).unwrap();
            count += 1;
            let number = u64::from_le_bytes(buffer[..8].try_into().unwrap());
            if number == END {
                hears.store(true, Ordering::Relaxed);
                return count;
            }
            assert!(number >= next, "{number} came after {next}");
            assert_eq!(size, 8 + (number / 100 % 64) as usize);
            next = number + 1;
            count
        };
        let total = loop {
            let count = take();
            if let Ok(total) = total.try_recv() {
                break (count, total);
            }
        };
        // Nothing is sent any more, so nothing more is lost.
        let (mut count, total) = total;
        let lost = lost(address.port()).unwrap();
        while count + lost < total {
            count = take();
        }
        (count, lost)
    });
    let (socket, _) = bound(&lp);
    let told = Rc::new(Cell::new(0_u64));
    let completed = told.clone();
    let mut number = 0;
    let over = heard.clone();
    fn send_more(
        socket: dgram::Socket,
        to: std::net::SocketAddr,
        number: &mut u64,
        told: &Rc<Cell<u64>>,
    ) {
        for _ in 0..1000 {
            if *number == MANY {
                return;
            }
            let mut message = [0; 72];
            message[..8].copy_from_slice(&number.to_le_bytes());
            // Runs of a hundred of one size, every tenth datagram with a completion.
            let message = &message[..8 + (*number / 100 % 64) as usize];
            if number.is_multiple_of(10) {
                let told = told.clone();
                let size = message.len();
                let done = move |result: nodeloop::Result<usize>| {
                    assert_eq!(result.unwrap(), size);
                    told.set(told.get() + 1);
                };
                socket.send_to_then(message, to, done).unwrap();
            } else {
                socket.send_to(message, to).unwrap();
            }
            *number += 1;
        }
    }
    let ticker = lp.idle(move |_| {
        if number < MANY {
            send_more(socket, address, &mut number, &completed);
        } else if !over.load(Ordering::Relaxed) {
            socket
                .send_to(END.to_le_bytes().as_slice(), address)
                .unwrap();
        }
    });
    turn_until(&lp, || heard.load(Ordering::Relaxed));
    ticker.close();
    turn_until(&lp, || told.get() == MANY / 10);
    // One more, so that whoever counts looks whether the sum is known.
    let all = lp.counts().datagrams_sent + 1;
    sent.send(all).unwrap();
    socket
        .send_to(END.to_le_bytes().as_slice(), address)
        .unwrap();
    lp.run_nowait().unwrap();
    assert_eq!(lp.counts().datagrams_sent, all);
    let (received, lost) = join(counting);
    println!("{all} sent, {received} received, {lost} lost");
    assert_eq!(received + lost, all);
}

/// Several peers at once: each gets its own answers, in order.
#[test]
fn answers_go_to_whom_they_belong() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 30);
    let (server, address) = bound(&lp);
    let peers = Rc::new(RefCell::new(HashSet::new()));
    let seen = peers.clone();
    server.on_message(move |server, message, from| {
        seen.borrow_mut().insert(from.socket_addr());
        server.send_to(message, from).unwrap();
    });
    let clients: Vec<_> = (0..4_u8)
        .map(|client| {
            thread::spawn(move || {
                let socket: UdpSocket = peer().0;
                socket.connect(address).unwrap();
                for round in 0..100_u8 {
                    for number in 0..8 {
                        socket.send(&[client, round, number]).unwrap();
                    }
                    for number in 0..8 {
                        assert_eq!(receive(&socket), [client, round, number]);
                    }
                }
            })
        })
        .collect();
    // Who is done says nothing to the loop: it looks now and then.
    lp.set_interval(5, |_| {});
    turn_until(&lp, || clients.iter().all(|client| client.is_finished()));
    clients.into_iter().for_each(join);
    assert_eq!(peers.borrow().len(), 4);
}
