//! UDP sockets whose datagrams come one by one: what that saves, and that nobody can tell. The deadlines are no
//! timers of the loop: with one that is set each receive asks for proof.

mod support;

use std::cell::Cell;
use std::net::UdpSocket;
use std::rc::Rc;

#[cfg(target_os = "linux")]
use nodeloop::dgram::{self, SocketOptions, SocketType};
use nodeloop::{Loop, LoopHandle};
use support::udp::*;
use support::{Recorder, watched};

/// Whether this build watches such a socket by level.
const BY_LEVEL: bool = cfg!(all(
    target_os = "linux",
    feature = "full-udp",
    feature = "level"
));

/// So many that came alone are expected to be followed by one more, which asks for no proof.
const MANY: u32 = 20;

/// Has a loop receive `MANY` datagrams that come alone, then what `then` sends, and calls `on` for each
/// of the latter with its number.
fn after_many(
    lp: &Loop,
    then: impl Fn(&UdpSocket) + 'static,
    mut on: impl FnMut(nodeloop::dgram::Socket, u32) + 'static,
) {
    let (peer, _) = peer();
    let (socket, address) = bound(lp);
    peer.connect(address).unwrap();
    peer.send(b"x").unwrap();
    let count = Cell::new(0);
    socket.on_message(move |socket, _, _| {
        count.set(count.get() + 1);
        match count.get() {
            number if number < MANY => drop(peer.send(b"x").unwrap()),
            MANY => then(&peer),
            number => on(socket, number - MANY),
        }
    });
    lp.run().unwrap();
}

#[test]
fn one_in_flight_costs_one_wait_and_one_receive_each() {
    let _deadline = watched(20);
    let lp = Loop::new().unwrap();
    let (peer, _) = peer();
    let (socket, address) = bound(&lp);
    peer.connect(address).unwrap();
    peer.send(b"x").unwrap();
    let count = Rc::new(Cell::new(0_u64));
    let counted = count.clone();
    socket.on_message(move |socket, _, _| {
        counted.set(counted.get() + 1);
        match counted.get() {
            1000 => socket.close().unwrap(),
            _ => drop(peer.send(b"x").unwrap()),
        }
    });
    lp.run().unwrap();
    let after = lp.counts();
    assert_eq!((count.get(), after.datagrams_received), (1000, 1000));
    assert_eq!(after.rearms, u64::from(BY_LEVEL));
    if cfg!(all(target_os = "linux", feature = "full-udp")) {
        // The next one is there when the listener returns: some are found by the receive behind.
        assert!(after.receives <= 1001, "{} receives", after.receives);
        assert!(after.waits <= 1002, "{} waits", after.waits);
    }
}

#[test]
fn two_that_wait_come_before_what_the_first_has_set() {
    let _deadline = watched(20);
    let lp = Loop::new().unwrap();
    let log = Recorder::new();
    let noted = log.clone();
    after_many(
        &lp,
        |peer| {
            peer.send(b"x").unwrap();
            peer.send(b"x").unwrap();
        },
        move |socket, number| {
            noted.note(format!("{number}"));
            let later = noted.clone();
            match number {
                1 => drop(
                    socket
                        .event_loop()
                        .set_immediate(move |_| later.note("immediate")),
                ),
                _ => socket.close().unwrap(),
            }
        },
    );
    log.expect(&["1", "2", "immediate"]);
}

#[test]
fn what_the_listener_of_one_has_set_comes_though_nothing_else_does() {
    type Set = fn(LoopHandle, Box<dyn FnOnce()>);
    let ways: [Set; 4] = [
        |lp, then| {
            lp.set_immediate(|_| then());
        },
        |lp, then| {
            lp.set_timeout_once(1, |_| then());
        },
        |lp, then| lp.next_tick(|_| then()),
        |lp, then| {
            let mut then = Some(then);
            lp.check(move |watcher| {
                watcher.close();
                then.take().into_iter().for_each(|then| then());
            });
        },
    ];
    for set in ways {
        let _deadline = watched(20);
        let lp = Loop::new().unwrap();
        after_many(
            &lp,
            |peer| {
                peer.send(b"x").unwrap();
            },
            move |socket, _| {
                let close = move || socket.close().unwrap();
                set(socket.event_loop(), Box::new(close));
            },
        );
    }
}

#[test]
fn a_flood_after_many_is_taken_in_batches() {
    const FLOOD: u32 = 200;
    let _deadline = watched(20);
    let lp = Loop::new().unwrap();
    let flooded = Rc::new(Cell::new(0));
    let noted = flooded.clone();
    after_many(
        &lp,
        |peer| {
            for _ in 0..FLOOD {
                peer.send(b"x").unwrap();
            }
        },
        move |socket, number| {
            noted.set(number);
            if number == FLOOD {
                socket.close().unwrap();
            }
        },
    );
    assert_eq!(flooded.get(), FLOOD);
    if cfg!(all(target_os = "linux", feature = "full-udp")) {
        let receives = lp.counts().receives - u64::from(MANY);
        assert!(receives < 32, "{receives} receives");
    }
}

/// What the kernel refuses waits for room, of which the poller goes on to tell while datagrams come alone.
#[test]
fn a_send_that_waits_is_told_of_room_while_datagrams_come_alone() {
    let _deadline = watched(20);
    let lp = Loop::builder().refuse_sends(3).build().unwrap();
    let (peer, to) = peer();
    let (socket, address) = bound(&lp);
    peer.connect(address).unwrap();
    let sender = peer.try_clone().unwrap();
    sender.send(b"x").unwrap();
    let count = Cell::new(0);
    socket.on_message(move |socket, _, _| {
        count.set(count.get() + 1);
        if count.get() < 5 * MANY {
            sender.send(b"x").unwrap();
            socket.send_to("answer", to).unwrap();
        } else {
            let last = move |_| socket.close().unwrap();
            socket.send_to_then("answer", to, last).unwrap();
        }
    });
    lp.run().unwrap();
    for _ in 0..5 * MANY {
        assert_eq!(receive(&peer), b"answer");
    }
    assert!(lp.counts().waits < 50 * u64::from(MANY), "it spins");
}

#[test]
#[cfg(target_os = "linux")]
fn whom_a_list_blocks_is_not_heard_while_datagrams_come_alone() {
    let _deadline = watched(20);
    let lp = Loop::new().unwrap();
    let list = nodeloop::net::BlockList::new();
    list.add_address("127.0.0.2").unwrap();
    let options = SocketOptions::new(SocketType::Udp4).receive_block_list(&list);
    let socket = dgram::create_socket(&lp, options);
    let address = socket.bind_sync(("127.0.0.1", 0)).unwrap();
    let (peer, _) = peer();
    let blocked = UdpSocket::bind("127.0.0.2:0").unwrap();
    peer.connect(address).unwrap();
    peer.send(b"x").unwrap();
    let count = Cell::new(0);
    socket.on_message(move |socket, message, _| {
        assert_eq!(message, b"x");
        count.set(count.get() + 1);
        match count.get() {
            number if number < MANY => {}
            MANY => drop(blocked.send_to(b"blocked", address).unwrap()),
            _ => return socket.close().unwrap(),
        }
        peer.send(b"x").unwrap();
    });
    lp.run().unwrap();
}
