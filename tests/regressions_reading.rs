//! Reading by 'readable' and `read`: bugs that were found and fixed, and what no other test would have noticed.

mod support;

use std::cell::Cell;
use std::io::Write;
use std::net::TcpStream;
use std::rc::Rc;

use nodeloop::Loop;
use nodeloop::net::{ServerOptions, Socket, SocketOptions};
use nodeloop::stream::Readable;
use support::traced::refusing;
use support::*;

#[test]
fn the_end_comes_to_who_listens_to_readable_and_has_nothing_to_take() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, peer) = pair_with(&lp, ServerOptions::new(), connect);
    let log = Recorder::new();
    let it = log.clone();
    // It reads whole messages of four bytes, and asks first whether there is one.
    socket.on_readable(move |socket| {
        it.note(format!("readable {}", socket.readable_length()));
        while socket.readable_length() >= 4 {
            socket.read(4);
        }
    });
    log.follow_but_data(socket);
    (&peer).write_all(b"four").unwrap();
    turn_until(&lp, || log.has("readable 4"));
    send_and_end(&peer, b"");
    lp.run().unwrap();
    log.expect(&["readable 4", "readable 0", "end", "finish", "close false"]);
}

#[test]
fn the_end_waits_for_what_was_not_taken() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, peer) = pair_with(&lp, ServerOptions::new(), connect);
    let log = Recorder::new();
    socket.on_readable(log.noting("readable"));
    log.follow_but_data(socket);
    (&peer).write_all(b"kept").unwrap();
    turn_until(&lp, || log.has("readable"));
    send_and_end(&peer, b"");
    turn_until(&lp, || log.count("readable") == 2);
    a_few_turns(&lp);
    log.expect(&["readable", "readable"]);
    assert_eq!(socket.read_chunk().as_deref(), Some(&b"kept"[..]));
    lp.run().unwrap();
    log.expect(&["end", "finish", "close false"]);
}

#[test]
fn who_listens_to_readable_is_told_after_a_connection_that_failed() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (server, address) = listening(&lp, |socket| {
        socket.resume();
        socket.end_with("hello");
    });
    let (_held, refused) = refusing("127.0.0.1");
    let socket = Socket::new(&lp, SocketOptions::new());
    let log = Recorder::new();
    let it = log.clone();
    socket.on_readable(move |socket| {
        while let Some(chunk) = socket.read_chunk() {
            it.note(String::from_utf8_lossy(&chunk));
        }
    });
    log.follow_but_data(socket);
    socket.connect(target(refused)).unwrap();
    socket.once_close(move |socket, _| {
        socket.connect(target(address)).unwrap();
        socket.on_close(move |_, _| server.close());
    });
    lp.run().unwrap();
    log.expect(&[
        "error ECONNREFUSED",
        "close true",
        "hello",
        "end",
        "finish",
        "close false",
    ]);
}

#[test]
fn a_socket_that_was_paused_when_it_closed_is_paused_when_it_is_connected_again() {
    // What somebody wanted of a socket that is destroyed, nobody wants of the next connection.
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (server, address) = listening(&lp, |socket| socket.end_with("hello"));
    let socket = Socket::new(&lp, SocketOptions::new());
    socket.resume();
    socket.destroy();
    socket.once_close(move |socket, _| {
        socket.connect(target(address)).unwrap();
        socket.pause();
    });
    let ready = Rc::new(Cell::new(false));
    let set = ready.clone();
    socket.on_ready(move |_| set.set(true));
    turn_until(&lp, || ready.get());
    a_few_turns(&lp);
    assert_eq!(socket.bytes_read(), 0);
    server.close_all();
    socket.destroy();
    lp.run().unwrap();
}

#[test]
fn taking_a_listener_off_resumes_nothing_unless_it_was_of_readable() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, peer) = flowing(&lp);
    let log = Recorder::new();
    let readable = socket.on_readable(|_| {});
    socket.pause();
    socket.on_resume(log.noting("resume"));
    let other = socket.on_end(|_| {});
    socket.off(other);
    a_few_turns(&lp);
    log.expect(&[]);
    assert!(socket.is_paused());
    socket.off(readable);
    turn_until(&lp, || log.has("resume"));
    assert_eq!(socket.readable_flowing(), Some(true));
    drop(peer);
    lp.run().unwrap();
}

#[test]
fn taking_a_listener_off_in_readable_resumes_nothing() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, peer) = flowing(&lp);
    let log = Recorder::new();
    socket.on_resume(log.noting("resume"));
    let it = log.clone();
    socket.on_readable(move |socket| {
        it.note("readable");
        let other = socket.on_end(|_| {});
        socket.off(other);
    });
    (&peer).write_all(b"some").unwrap();
    turn_until(&lp, || log.has("readable"));
    a_few_turns(&lp);
    log.expect(&["readable"]);
    socket.destroy();
    lp.run().unwrap();
}

#[test]
fn taking_a_listener_of_a_stream_off_resumes_nothing_unless_it_was_of_readable() {
    on_every_loop(|lp| {
        let log = Recorder::new();
        let stream = Readable::new(lp, |_, _| {});
        stream.on_data(|_, _| {});
        lp.run_nowait().unwrap();
        stream.on_readable(|_| {});
        stream.pause();
        stream.on_resume(log.noting("resume"));
        let other = stream.on_end(|_| {});
        stream.off(other);
        a_few_turns(lp);
        log.expect(&[]);
        assert!(stream.is_paused());
        stream.destroy();
        lp.run().unwrap();
    });
}

/// It went unnoticed if several listeners were being called.
#[test]
fn taking_a_listener_of_readable_off_that_was_added_meanwhile_resumes() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let stream = Readable::new(&lp, |_, _| {});
    stream.on_data(|_, _| {});
    stream.on_readable(log.noting("readable"));
    let done = Cell::new(false);
    stream.on_readable(move |stream| {
        if !done.replace(true) {
            let added = stream.on_readable(|_| {});
            stream.off(added);
        }
    });
    lp.run_nowait().unwrap();
    stream.on_resume(log.noting("resume"));
    stream.push("some");
    lp.run().unwrap();
    log.expect(&["readable", "resume"]);
}

/// While several are called their slot does not know them.
#[test]
fn taking_a_listener_of_readable_off_while_several_are_called_resumes() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let stream = Readable::new(&lp, |_, _| {});
    stream.on_data(|_, _| {});
    stream.on_readable(log.noting("readable"));
    let own = Rc::new(Cell::new(None));
    let id = own.clone();
    own.set(Some(stream.on_readable(move |stream| {
        if let Some(id) = id.take() {
            stream.off(id);
        }
    })));
    lp.run_nowait().unwrap();
    stream.on_resume(log.noting("resume"));
    stream.push("some");
    lp.run().unwrap();
    log.expect(&["readable", "resume"]);
}

/// In 'readable' it was taken for a listener of that: what had been resumed stood still, and never ended.
#[test]
fn taking_a_listener_off_again_while_readable_is_emitted_stops_nothing() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let stream = Readable::new(&lp, |_, _| {});
    stream.push("a");
    let gone = stream.on_pause(|_| {});
    stream.off(gone);
    stream.once_readable(move |stream| {
        stream.resume();
        stream.off(gone);
    });
    stream.on_end(log.noting("end"));
    lp.set_timeout_once(1, move |_| stream.push_end());
    lp.run().unwrap();
    log.expect(&["end"]);

    let (socket, peer) = flowing(&lp);
    let gone = socket.on_pause(|_| {});
    socket.off(gone);
    socket.on_resume(log.noting("resume"));
    socket.on_readable(log.noting("readable"));
    socket.on_readable(move |socket| socket.off(gone));
    (&peer).write_all(b"some").unwrap();
    turn_until(&lp, || log.has("readable"));
    a_few_turns(&lp);
    log.expect(&["readable"]);
    socket.destroy();
    lp.run().unwrap();
}

/// Some turns in which nothing is to happen.
fn a_few_turns(lp: &Loop) {
    for _ in 0..3 {
        lp.run_nowait().unwrap();
    }
}

/// A socket that flows, and its peer.
fn flowing(lp: &Loop) -> (Socket, TcpStream) {
    let (socket, peer) = pair_with(lp, ServerOptions::new(), connect);
    socket.on_data(|_, _| {});
    lp.run_nowait().unwrap();
    (socket, peer)
}

/// It came to 'data' in front of 'resume', as it does once the socket is connected.
#[test]
fn what_is_put_back_before_a_socket_has_read_comes_behind_its_resume() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let socket = Socket::new(&lp, SocketOptions::new());
    log.follow(socket);
    socket.on_resume(log.noting("resume"));
    socket.unshift("behind");
    socket.unshift("front");
    lp.run().unwrap();
    log.expect(&["resume", "data front", "data behind"]);
}

/// A socket with a mark of ten bytes, which stays open behind its peer's end.
fn with_mark_ten(lp: &Loop) -> (Socket, TcpStream) {
    let options = ServerOptions::new().high_water_mark(10);
    pair_with(lp, options.allow_half_open(true), connect)
}

fn noting_readable(socket: Socket, log: &Recorder) {
    let log = log.clone();
    socket.on_readable(move |socket| log.note(format!("readable {}", socket.readable_length())));
}

#[test]
fn a_read_of_more_than_the_mark_raises_it() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, _peer) = with_mark_ten(&lp);
    assert_eq!(socket.read(10), None);
    assert_eq!(socket.readable_high_water_mark(), 10);
    assert_eq!(socket.read(100_000), None);
    assert_eq!(socket.readable_high_water_mark(), 131_072);
}

#[test]
fn a_read_of_more_than_there_is_takes_the_rest_at_the_end() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, peer) = with_mark_ten(&lp);
    let log = Recorder::new();
    let it = log.clone();
    socket.on_readable(move |socket| it.note(format!("{:?}", socket.read(10))));
    socket.on_end(log.noting("end"));
    (&peer).write_all(b"abc").unwrap();
    turn_until(&lp, || log.has("None"));
    send_and_end(&peer, b"");
    turn_until(&lp, || log.has("end"));
    log.expect(&["None", "Some(b\"abc\")", "end"]);
}

#[test]
fn a_read_of_just_what_there_is_brings_no_end() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, peer) = with_mark_ten(&lp);
    let log = Recorder::new();
    noting_readable(socket, &log);
    socket.on_end(log.noting("end"));
    send_and_end(&peer, b"abc");
    turn_until(&lp, || log.count("readable 3") == 2);
    assert_eq!(socket.read(3).as_deref(), Some(&b"abc"[..]));
    a_few_turns(&lp);
    assert!(!log.has("end"));
    assert_eq!(socket.read_chunk(), None);
    turn_until(&lp, || log.has("end"));
}

#[test]
fn reading_goes_on_behind_a_buffer_that_was_full() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    // Above the mark all is taken, at the mark a part.
    for (sent, taken, next) in [(20, 20, "readable 3"), (10, 4, "readable 9")] {
        let (socket, peer) = with_mark_ten(&lp);
        let log = Recorder::new();
        noting_readable(socket, &log);
        (&peer).write_all(&vec![0; sent]).unwrap();
        let first = format!("readable {sent}");
        turn_until(&lp, || log.has(&first));
        assert_eq!(socket.read(taken).map(|bytes| bytes.len()), Some(taken));
        (&peer).write_all(b"mor").unwrap();
        turn_until(&lp, || log.has(next));
        log.expect(&[&first, next]);
        socket.destroy();
    }
}

#[test]
fn nothing_is_readable_behind_the_end() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, peer) = with_mark_ten(&lp);
    let log = Recorder::new();
    socket.on_end(log.noting("end"));
    socket.on_error(|_, error| panic!("{error}"));
    socket.resume();
    send_and_end(&peer, b"");
    turn_until(&lp, || log.has("end"));
    noting_readable(socket, &log);
    assert!(!socket.unshift(""));
    a_few_turns(&lp);
    log.expect(&["end"]);
}

#[test]
fn a_pause_behind_resume_holds_when_nobody_listens_to_readable_any_more() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, _peer) = with_mark_ten(&lp);
    let listener = socket.on_readable(|_| {});
    lp.run_nowait().unwrap();
    socket.off(listener);
    socket.resume();
    socket.pause();
    assert_eq!(socket.readable_flowing(), Some(false));
    lp.run_nowait().unwrap();
    assert_eq!(socket.readable_flowing(), None);
}

#[test]
fn what_is_unshifted_is_told() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (flowing, _peer) = with_mark_ten(&lp);
    let (pulled, _other) = with_mark_ten(&lp);
    let log = Recorder::new();
    log.follow(flowing);
    noting_readable(pulled, &log);
    lp.run_nowait().unwrap();
    assert!(flowing.unshift("x"));
    turn_until(&lp, || log.has("data x"));
    assert!(pulled.unshift("y"));
    turn_until(&lp, || log.has("readable 1"));
    log.expect(&["data x", "readable 1"]);
}

#[test]
fn unshift_says_whether_there_is_room() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, _peer) = with_mark_ten(&lp);
    socket.pause();
    assert!(socket.unshift("nine byte"));
    assert!(!socket.unshift("s"));
}
