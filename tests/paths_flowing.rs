//! Unix domain sockets: how data and the peer's end come over a path, where that is otherwise than over TCP.
//! The rest is in `tests/paths_listening.rs` and `tests/paths_connecting.rs`.

#![cfg(unix)]

mod support;

use std::cell::{Cell, RefCell};
use std::io::{IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use nodeloop::Loop;
use nodeloop::net::ServerOptions;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use support::files::Scratch;
use support::paths::*;
use support::*;

#[test]
fn n146_the_first_write_tells_that_the_peer_has_gone() {
    let directory = Scratch::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let options = ServerOptions::new().allow_half_open(true);
    let (server, socket, peer) = standing(&lp, &directory.path("s"), options);
    server.close();
    let log = Recorder::new();
    log.follow(socket);
    drop(peer);
    turn_until(&lp, || log.has("end"));
    assert!(!socket.write_then("x", log.done("write")));
    lp.run().unwrap();
    log.expect(&["end", "write EPIPE", "error EPIPE", "close true"]);
}

/// It was no system call, so nobody was told.
#[test]
fn n146_an_empty_write_tells_that_the_peer_has_gone() {
    let directory = Scratch::new();
    for ends in [false, true] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let options = ServerOptions::new().allow_half_open(true);
        let (server, socket, peer) = standing(&lp, &directory.path("s"), options);
        server.close();
        let log = Recorder::new();
        log.follow(socket);
        // One that the peer could take is as ever.
        assert!(socket.write_then("", log.done("before")));
        turn_until(&lp, || log.has("before ok"));
        drop(peer);
        turn_until(&lp, || log.has("end"));
        match ends {
            true => socket.end_with_then("", log.done("write")),
            false => assert!(!socket.write_then("", log.done("write"))),
        }
        lp.run().unwrap();
        log.expect(&[
            "before ok",
            "end",
            "write EPIPE",
            "error EPIPE",
            "close true",
        ]);
    }
}

#[test]
fn n135_a_peer_that_closes_without_reading_is_an_error_behind_its_data() {
    let directory = Scratch::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (server, socket, mut peer) = standing(&lp, &directory.path("s"), ServerOptions::new());
    server.close();
    let log = Recorder::new();
    log.follow(socket);
    socket.write("never read");
    turn_until(&lp, || socket.writable_length() == 0);
    peer.write_all(b"last words").unwrap();
    drop(peer);
    lp.run().unwrap();
    log.expect(&["data last words", "error ECONNRESET", "close true"]);
}

#[test]
fn n13_data_and_end_come_in_different_turns() {
    // However the end is noticed: with the data, or by the read behind it.
    let directory = Scratch::new();
    for with_the_data in [false, true] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let path = directory.path("s");
        let (server, socket, mut peer) = standing(&lp, &path, ServerOptions::new());
        let turns = Rc::new(RefCell::new(Vec::new()));
        let inner = turns.clone();
        peer.write_all(b"data").unwrap();
        if with_the_data {
            peer.shutdown(std::net::Shutdown::Write).unwrap();
        }
        socket.on_data(move |socket, chunk| {
            assert_eq!(chunk, b"data");
            inner.borrow_mut().push(socket.event_loop().turns());
            // The read behind the data sees that.
            let _ = peer.shutdown(std::net::Shutdown::Write);
        });
        let inner = turns.clone();
        socket.on_end(move |socket| inner.borrow_mut().push(socket.event_loop().turns()));
        server.close();
        lp.run().unwrap();
        let turns = turns.take();
        assert_eq!(turns[1], turns[0] + 1, "{turns:?}");
    }
}

/// Writes bytes that carry a descriptor.
fn write_with_descriptor(peer: &UnixStream, bytes: &[u8]) {
    let descriptors = [peer.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let flags = SendFlags::empty();
    let sent = rustix::net::sendmsg(peer, &[IoSlice::new(bytes)], &mut ancillary, flags).unwrap();
    assert_eq!(sent, bytes.len());
}

#[test]
fn a_read_that_stops_at_a_descriptor_is_not_the_last() {
    // One event for all of it, and the first read gives only what the descriptor came with.
    let directory = Scratch::new();
    for budget in [1, 32] {
        for ends in [false, true] {
            let lp = Loop::builder().read_budget(budget).build().unwrap();
            let _deadline = deadline(&lp, 10);
            let path = directory.path("s");
            let (server, socket, mut peer) = standing(&lp, &path, ServerOptions::new());
            let log = Recorder::new();
            for part in ["one", "two"] {
                write_with_descriptor(&peer, part.as_bytes());
            }
            peer.write_all(b"three").unwrap();
            let mut peer = Some(peer);
            if ends {
                peer = None;
            }
            log.follow(socket);
            turn_until(&lp, || log.has("data three"));
            if !ends {
                socket.end();
                drop(peer);
            }
            server.close();
            lp.run().unwrap();
            let mut events = vec!["data one", "data two", "data three"];
            events.extend(match ends {
                true => ["end", "finish", "close false"],
                false => ["finish", "end", "close false"],
            });
            log.expect(&events);
        }
    }
}

#[test]
fn a_hang_up_burns_no_core() {
    // A Unix socket whose peer has closed is readable, writable and hung up for ever.
    let directory = Scratch::new();
    for paused in [false, true] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let options = ServerOptions::new()
            .allow_half_open(true)
            .high_water_mark(4);
        let (server, socket, mut peer) = standing(&lp, &directory.path("s"), options);
        server.close();
        let log = Recorder::new();
        log.follow(socket);
        if paused {
            // Its buffer is full before the end.
            socket.pause();
        }
        peer.write_all(b"data that fills").unwrap();
        drop(peer);
        match paused {
            true => turn_until(&lp, || socket.readable_length() > 0),
            false => turn_until(&lp, || log.has("end")),
        }
        let before = lp.counts();
        let left = Rc::new(Cell::new(5));
        let inner = left.clone();
        lp.set_interval(1, move |timer| {
            inner.set(inner.get() - 1);
            if inner.get() == 0 {
                timer.clear();
            }
        });
        turn_until(&lp, || left.get() == 0);
        let after = lp.counts();
        assert!(after.waits - before.waits <= 12, "{before:?} {after:?}");
        assert!(after.reads - before.reads <= 1, "{before:?} {after:?}");
        socket.resume();
        socket.end();
        lp.run().unwrap();
        assert_eq!(
            log.last().as_deref(),
            Some("close false"),
            "{:?}",
            log.take()
        );
    }
}

#[test]
fn an_echo_costs_one_more_read_than_over_tcp() {
    let directory = Scratch::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (server, socket, mut peer) = standing(&lp, &directory.path("s"), ServerOptions::new());
    server.close();
    socket.on_data(|socket, chunk| {
        socket.write(chunk);
    });
    lp.run_nowait().unwrap();
    for _ in 0..10 {
        let before = lp.counts();
        peer.write_all(b"hello").unwrap();
        lp.run_once().unwrap();
        peer.read_exact(&mut [0; 5]).unwrap();
        let after = lp.counts();
        // The second read finds nothing: a short one proves nothing where descriptors can come along.
        let cost = (
            after.waits - before.waits,
            after.reads - before.reads,
            after.writes - before.writes,
        );
        assert_eq!(cost, (1, 2, 1));
    }
    // And nothing else that the system is asked for.
    let counts = lp.counts();
    assert_eq!(
        (counts.deregistrations, counts.addresses, counts.options),
        (0, 0, 0)
    );
    drop(peer);
    lp.run().unwrap();
}

#[test]
fn backpressure_over_a_path() {
    const SIZE: usize = 8 * 1024 * 1024;
    let directory = Scratch::new();
    for limit in [0, 70_000] {
        let lp = Loop::builder().limit_writes(limit).build().unwrap();
        let _deadline = deadline(&lp, 20);
        let path = directory.path("s");
        let (server, socket, peer) = standing(&lp, &path, ServerOptions::new());
        server.close();
        let log = Recorder::new();
        log.follow(socket);
        let bytes: Vec<u8> = (0..SIZE).map(|number| (number % 251) as u8).collect();
        assert!(!socket.write(bytes.clone()));
        assert!(socket.writable_need_drain());
        socket.on_drain(|socket| socket.end());
        let reader = std::thread::spawn(move || {
            let mut received = Vec::new();
            (&peer).read_to_end(&mut received).unwrap();
            received
        });
        lp.run().unwrap();
        assert!(join(reader) == bytes);
        assert_eq!(log.take()[0], "drain");
    }
}
