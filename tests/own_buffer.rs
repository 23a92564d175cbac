//! Reading into a buffer of one's own, as far as Node's `onread` can't show it: sockets that a server
//! accepted, buffers that change hands, panics. The rest is compared with Node by the scenarios of
//! `own-buffer`.

mod support;

use std::cell::RefCell;
use std::io::Write;
use std::net::Shutdown;
use std::rc::Rc;

use nodeloop::Loop;
use nodeloop::net::Socket;
use support::*;

/// Collects what a socket reads into a buffer of `room` bytes.
fn collect(socket: Socket, room: usize) -> Rc<RefCell<Vec<u8>>> {
    let all = Rc::new(RefCell::new(Vec::new()));
    let inner = all.clone();
    socket.read_into(vec![0; room], move |_, size, buffer| {
        inner.borrow_mut().extend_from_slice(&buffer[..size]);
        true
    });
    all
}

#[test]
fn everything_arrives_in_order_whatever_the_buffer() {
    on_every_loop(|lp| {
        for room in [1, 7, 100_000] {
            let (socket, peer) = pair(lp);
            let all = collect(socket, room);
            let sent: Vec<u8> = (0..=250).cycle().take(2_000).collect();
            send_and_end(&peer, &sent);
            turn_until(lp, || socket.closed());
            assert_eq!(*all.borrow(), sent, "{room}");
        }
    });
}

#[test]
fn data_and_text_are_told_nothing() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let log = Recorder::new();
    let (data, text) = (log.clone(), log.clone());
    socket.on_data(move |_, _| data.note("data"));
    socket.on_text(move |_, _| text.note("text"));
    let all = collect(socket, 16);
    send_and_end(&peer, b"for nobody else");
    turn_until(&lp, || socket.closed());
    assert_eq!(*all.borrow(), b"for nobody else");
    log.expect(&[]);
}

#[test]
fn what_was_buffered_before_comes_first_also_if_it_is_held_back() {
    on_every_loop(|lp| {
        let (socket, mut peer) = pair(lp);
        socket.pause();
        peer.write_all(b"0123456789").unwrap();
        turn_until(lp, || socket.readable_length() == 10);
        let all = Rc::new(RefCell::new(Vec::new()));
        let inner = all.clone();
        socket.read_into(vec![0; 4], move |_, size, buffer| {
            inner.borrow_mut().extend_from_slice(&buffer[..size]);
            false
        });
        send_and_end(&peer, b"abc");
        let mut seen = 0;
        while !socket.closed() {
            socket.resume();
            turn_until(lp, || all.borrow().len() > seen || socket.closed());
            seen = all.borrow().len();
        }
        assert_eq!(*all.borrow(), b"0123456789abc");
    });
}

#[test]
fn the_buffer_may_be_kept_and_another_left_in_its_place() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, mut peer) = pair(&lp);
    let kept = Rc::new(RefCell::new(Vec::new()));
    let inner = kept.clone();
    socket.read_into(vec![0; 3], move |_, size, buffer| {
        let next = vec![0; buffer.len() + 1];
        let mut full = std::mem::replace(buffer, next);
        full.truncate(size);
        inner.borrow_mut().push(full);
        true
    });
    peer.write_all(b"abcdefghi").unwrap();
    turn_until(&lp, || socket.bytes_read() == 9);
    let kept = kept.borrow();
    assert_eq!(*kept, [b"abc".to_vec(), b"defg".to_vec(), b"hi".to_vec()]);
}

#[test]
fn without_a_buffer_the_next_read_is_an_error() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, mut peer) = pair(&lp);
    let log = Recorder::new();
    let inner = log.clone();
    socket.on_error(move |_, error| inner.note(error));
    socket.read_into(vec![0; 3], |_, _, buffer| {
        buffer.clear();
        true
    });
    peer.write_all(b"abcdef").unwrap();
    turn_until(&lp, || socket.closed());
    turn_until(&lp, || log.has("read ENOBUFS"));
}

#[test]
fn rule_5_it_may_be_replaced_by_its_own_callback() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, mut peer) = pair(&lp);
    let log = Recorder::new();
    let inner = log.clone();
    let gone = log.clone();
    let witness = on_drop(move || gone.note("the first is dropped"));
    socket.read_into(vec![0; 2], move |socket, _, _| {
        witness.hold();
        inner.note("first");
        let inner = inner.clone();
        socket.read_into(vec![0; 9], move |_, size, _| {
            inner.note(format!("second {size}"));
            true
        });
        true
    });
    peer.write_all(b"abcde").unwrap();
    turn_until(&lp, || socket.bytes_read() == 5);
    log.expect(&["first", "the first is dropped", "second 3"]);
}

#[test]
fn rule_6_a_panic_loses_neither_buffer_nor_bytes() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, mut peer) = pair(&lp);
    let log = Recorder::new();
    let inner = log.clone();
    let mut calls = 0;
    socket.read_into(vec![0; 2], move |_, size, buffer| {
        assert_eq!((size, buffer.len()), (2, 2));
        inner.note(String::from_utf8_lossy(buffer));
        calls += 1;
        assert_ne!(calls, 1, "the first");
        true
    });
    peer.write_all(b"abcd").unwrap();
    let panic = caught(|| turn_until(&lp, || log.has("ab")));
    assert!(panic.contains("the first"), "{panic}");
    turn_until(&lp, || log.has("cd"));
    log.expect(&["ab", "cd"]);
    assert_eq!(socket.bytes_read(), 4);
}

/// What was left of a chunk that came before there was a buffer was lost.
#[test]
fn rule_6_a_panic_loses_nothing_of_what_was_buffered() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, mut peer) = pair(&lp);
    peer.write_all(b"abcdef").unwrap();
    turn_until(&lp, || socket.readable_length() == 6);
    let log = Recorder::new();
    let inner = log.clone();
    socket.read_into(vec![0; 2], move |_, size, buffer| {
        inner.note(String::from_utf8_lossy(&buffer[..size]));
        assert!(!inner.has("ab") || inner.has("cd"), "the first");
        true
    });
    assert!(caught(|| turn_until(&lp, || log.has("ef"))).contains("the first"));
    turn_until(&lp, || log.has("ef"));
    log.expect(&["ab", "cd", "ef"]);
}

#[test]
fn held_back_it_keeps_nothing_alive() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, mut peer) = pair(&lp);
    socket.read_into(vec![0; 2], |_, _, _| false);
    peer.write_all(b"abcd").unwrap();
    lp.run().unwrap();
    assert_eq!(socket.bytes_read(), 2);
    assert!(!lp.is_alive());
    socket.resume();
    lp.run().unwrap();
    assert_eq!(socket.bytes_read(), 4);
}

#[test]
fn a_handle_that_is_gone_drops_both() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    peer.shutdown(Shutdown::Both).unwrap();
    socket.destroy();
    lp.run().unwrap();
    let log = Recorder::new();
    let inner = log.clone();
    let handle = lp.handle();
    let witness = on_drop(move || {
        // A destructor may call the loop: nothing is borrowed.
        inner.note(format!("dropped, alive {}", handle.is_alive()));
    });
    socket.read_into(vec![0; 2], move |_, _, _| {
        witness.hold();
        true
    });
    log.expect(&["dropped, alive false"]);
}
