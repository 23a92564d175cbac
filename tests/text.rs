//! Text from sockets: `set_encoding` and `on_text`, as far as Node's listeners of 'data' can't show
//! it. How text is cut and decoded is compared with Node by the scenarios of `text`.

mod support;

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use nodeloop::net::Socket;
use nodeloop::{Encoding, Loop};
use support::*;

/// Sends bytes and turns the loop until they were read.
fn send(lp: &Loop, mut peer: &TcpStream, socket: Socket, bytes: &[u8]) {
    let wanted = socket.bytes_read() + bytes.len() as u64;
    peer.write_all(bytes).unwrap();
    turn_until(lp, || socket.bytes_read() >= wanted);
}

/// Notes text and bytes.
fn note_both(log: &Recorder, socket: Socket) {
    let inner = log.clone();
    socket.on_text(move |_, text| inner.note(format!("text {text}")));
    let inner = log.clone();
    socket.on_data(move |_, bytes| inner.note(format!("data {bytes:02x?}")));
}

#[test]
fn n225_data_stays_bytes_and_comes_in_front_of_the_text() {
    on_every_loop(|lp| {
        let (socket, peer) = pair(lp);
        let log = Recorder::new();
        note_both(&log, socket);
        assert_eq!(socket.encoding(), Some(Encoding::Utf8));
        send(lp, &peer, socket, b"\xE2");
        log.expect(&["data [e2]"]);
        send(lp, &peer, socket, b"\x82");
        log.expect(&["data [82]"]);
        send(lp, &peer, socket, b"\xAC");
        log.expect(&["data [ac]", "text €"]);
        socket.destroy();
        turn_until(lp, || socket.closed());
    });
}

#[test]
fn n226_what_was_cut_off_comes_as_text_alone_in_front_of_the_end() {
    on_every_loop(|lp| {
        let (socket, peer) = pair(lp);
        let log = Recorder::new();
        note_both(&log, socket);
        let inner = log.clone();
        socket.on_end(move |_| inner.note("end"));
        send(lp, &peer, socket, b"\xC3");
        peer.shutdown(Shutdown::Write).unwrap();
        turn_until(lp, || log.has("end"));
        log.expect(&["data [c3]", "text \u{FFFD}", "end"]);
        turn_until(lp, || socket.closed());
    });
}

#[test]
fn n226_paused_it_waits_and_the_end_with_it() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let log = Recorder::new();
    note_both(&log, socket);
    let inner = log.clone();
    socket.on_end(move |_| inner.note("end"));
    send(&lp, &peer, socket, b"\xC3");
    socket.pause();
    peer.shutdown(Shutdown::Write).unwrap();
    // What comes behind the end would be seen.
    let (other, witness) = pair(&lp);
    send(&lp, &witness, other, b"x");
    log.expect(&["data [c3]"]);
    socket.resume();
    turn_until(&lp, || log.has("end"));
    log.expect(&["text \u{FFFD}", "end"]);
}

#[test]
fn without_set_encoding_text_is_utf8_and_without_text_there_is_no_encoding() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    socket.on_data(|_, _| {});
    assert_eq!(socket.encoding(), None);
    let log = Recorder::new();
    let inner = log.clone();
    socket.once_text(move |_, text| inner.note(text));
    assert_eq!(socket.encoding(), Some(Encoding::Utf8));
    send(&lp, &peer, socket, "größer".as_bytes());
    send(&lp, &peer, socket, b"again");
    log.expect(&["größer"]);
    socket.set_encoding(Encoding::Hex);
    assert_eq!(socket.encoding(), Some(Encoding::Hex));
}

#[test]
fn n157_a_listener_of_text_starts_the_flow() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, mut peer) = pair(&lp);
    socket.set_encoding(Encoding::Latin1);
    assert_eq!(socket.readable_flowing(), None);
    peer.write_all(b"\xE9").unwrap();
    turn_until(&lp, || socket.readable_length() == 1);
    let log = Recorder::new();
    let inner = log.clone();
    let id = socket.on_text(move |_, text| inner.note(text));
    assert_eq!(socket.readable_flowing(), Some(true));
    turn_until(&lp, || log.has("é"));
    log.take();
    socket.off(id);
    send(&lp, &peer, socket, b"lost");
    log.expect(&[]);
}

#[test]
fn rule_5_a_listener_of_text_may_remove_itself_and_change_the_encoding() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let log = Recorder::new();
    let inner = log.clone();
    socket.on_text(move |socket, text| {
        inner.note(text);
        socket.set_encoding(Encoding::Hex);
    });
    let inner = log.clone();
    socket.once_text(move |_, text| inner.note(format!("once {text}")));
    send(&lp, &peer, socket, b"ab\xE2");
    log.expect(&["ab", "once ab"]);
    send(&lp, &peer, socket, b"\x82");
    log.expect(&["82"]);
}

#[test]
fn rule_6_a_panic_in_a_listener_changes_nothing_about_the_text() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, mut peer) = pair(&lp);
    let log = Recorder::new();
    let inner = log.clone();
    let mut calls = 0;
    socket.on_text(move |_, text| {
        inner.note(text);
        calls += 1;
        assert_ne!(calls, 1, "the first");
    });
    peer.write_all(b"a\xE2\x82").unwrap();
    let panic = caught(|| turn_until(&lp, || log.has("a")));
    assert!(panic.contains("the first"), "{panic}");
    send(&lp, &peer, socket, b"\xACb");
    log.expect(&["a", "€b"]);
}

#[test]
fn rule_4_destroyed_in_the_listener_of_data_it_tells_no_text_and_no_rest() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, mut peer) = pair(&lp);
    let log = Recorder::new();
    let inner = log.clone();
    socket.on_text(move |socket, text| {
        inner.note(text);
        socket.destroy();
    });
    let inner = log.clone();
    socket.on_close(move |_, _| inner.note("close"));
    peer.write_all(b"a\xE2\x82").unwrap();
    turn_until(&lp, || log.has("close"));
    log.expect(&["a", "close"]);
}

#[test]
fn a_handle_that_is_gone_has_no_encoding_and_drops_the_listener() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, _peer) = pair(&lp);
    socket.destroy();
    lp.run().unwrap();
    let log = Recorder::new();
    let inner = log.clone();
    let witness = on_drop(move || inner.note("dropped"));
    socket.on_text(move |_, _| witness.hold());
    log.expect(&["dropped"]);
    socket.set_encoding(Encoding::Hex);
    assert_eq!(socket.encoding(), None);
}
