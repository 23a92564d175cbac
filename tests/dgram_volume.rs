//! Datagrams of all sizes, and many of them: every one is received, or counted as lost by the kernel.

mod support;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::UdpSocket;
use std::rc::Rc;
use std::thread;

use nodeloop::Loop;
use nodeloop::dgram::{self, SocketOptions, SocketType};
use support::udp::*;
use support::{code_of, deadline, join, turn_until};

/// How many datagrams each test of many sends.
const MANY: u64 = if cfg!(debug_assertions) {
    200_000
} else {
    1_000_000
};

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
    let flood = thread::spawn(move || {
        let (peer, _) = peer();
        peer.connect(address).unwrap();
        let mut ends = 0_u64;
        for number in 0..MANY {
            // Of different sizes, so that nothing depends on one.
            let mut message = [0; 200];
            message[..8].copy_from_slice(&number.to_le_bytes());
            peer.send(&message[..8 + (number % 192) as usize]).unwrap();
        }
        while peer.send(&END.to_le_bytes()).is_ok() {
            ends += 1;
            thread::yield_now();
        }
        ends
    });
    let received = Rc::new(Cell::new(0_u64));
    let ends = Rc::new(Cell::new(0_u64));
    let (count, ended) = (received.clone(), ends.clone());
    let mut next = 0;
    socket.on_message(move |_, message, from| {
        let number = u64::from_le_bytes(message[..8].try_into().unwrap());
        if number == END {
            return ended.set(ended.get() + 1);
        }
        assert!(number >= next, "{number} came after {next}");
        assert_eq!(from.size(), 8 + (number % 192) as usize);
        next = number + 1;
        count.set(count.get() + 1);
    });
    turn_until(&lp, || ends.get() > 0);
    // Nothing of the flood is on its way any more: a datagram over loopback is delivered, or lost,
    // within the call that sends it.
    let lost_then = lost(address.port()).unwrap();
    let counted = lp.counts().datagrams_received;
    assert_eq!(counted, received.get() + ends.get());
    // Ends may be among the lost.
    assert!(
        received.get() + lost_then >= MANY,
        "{} {lost_then}",
        received.get()
    );
    socket.close().unwrap();
    lp.run().unwrap();
    let sent_ends = join(flood);
    assert!(received.get() + lost_then <= MANY + sent_ends);
    println!("{} of {MANY} received, {lost_then} lost", received.get());
}

#[test]
fn what_the_loop_sent_was_received_or_lost() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 100);
    let (sink, address) = peer();
    if lost(address.port()).is_none() {
        return println!("skipped: the system does not tell what it lost");
    }
    let counting = thread::spawn(move || {
        let mut buffer = [0; 256];
        let (mut count, mut next) = (0_u64, 0);
        loop {
            let size = sink.recv(&mut buffer).unwrap();
            let number = u64::from_le_bytes(buffer[..8].try_into().unwrap());
            if number == END {
                return (count, lost(address.port()).unwrap());
            }
            assert!(number >= next, "{number} came after {next}");
            assert_eq!(size, 8 + (number / 100 % 64) as usize);
            next = number + 1;
            count += 1;
        }
    });
    let (socket, _) = bound(&lp);
    let told = Rc::new(Cell::new(0_u64));
    let completed = told.clone();
    let mut number = 0;
    let counting_over = Rc::new(Cell::new(false));
    let over = counting_over.clone();
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
        } else if !over.get() {
            socket
                .send_to(END.to_le_bytes().as_slice(), address)
                .unwrap();
        }
    });
    turn_until(&lp, || counting.is_finished());
    counting_over.set(true);
    ticker.close();
    let (received, lost) = join(counting);
    assert_eq!(told.get(), MANY / 10);
    assert!(lp.counts().datagrams_sent > MANY);
    let ends = lp.counts().datagrams_sent - MANY;
    assert!(received + lost >= MANY, "{received} {lost}");
    assert!(received + lost <= MANY + ends, "{received} {lost} {ends}");
    println!("{received} of {MANY} received, {lost} lost");
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
