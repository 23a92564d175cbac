//! Datagrams on their way out: whose they are, in which order they go, and what is forgotten.

mod support;

use nodeloop::dgram::{self, SocketOptions, SocketType};
use nodeloop::{Loop, Result};
use support::udp::*;
use support::{Recorder, code_of, deadline};

/// Larger than what is laid aside.
const LARGE: usize = 20_000;

#[test]
fn send_to_the_peer_and_close_in_one_go_sends() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let (peer, address) = peer();
    let socket = connected(&lp, address);
    lp.set_immediate(move |_| {
        socket.send("sent within the call").unwrap();
        socket.close().unwrap();
    });
    lp.run()?;
    assert_eq!(receive(&peer), b"sent within the call");
    Ok(())
}

#[test]
#[cfg(feature = "full-udp")]
fn send_to_the_peer_and_disconnect_in_one_go_sends() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let (peer, address) = peer();
    let socket = connected(&lp, address);
    lp.set_immediate(move |_| {
        socket.send("sent within the call").unwrap();
        socket.disconnect().unwrap();
        socket.close().unwrap();
    });
    lp.run()?;
    assert_eq!(receive(&peer), b"sent within the call");
    Ok(())
}

#[test]
fn two_sockets_that_send_in_one_go_send_to_their_own_peers() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let (one, two) = (peer(), peer());
    let sockets = [connected(&lp, one.1), connected(&lp, two.1)];
    lp.set_immediate(move |_| {
        for text in ["first", "second"] {
            for socket in sockets {
                socket.send(text).unwrap();
            }
        }
        for socket in sockets {
            socket.close().unwrap();
        }
    });
    lp.run()?;
    for (peer, _) in [one, two] {
        assert_eq!(receive(&peer), b"first");
        assert_eq!(receive(&peer), b"second");
    }
    Ok(())
}

#[test]
fn a_large_datagram_waits_behind_a_small_one_that_the_kernel_refuses() -> Result<()> {
    let lp = Loop::builder().refuse_sends(2).build()?;
    let _deadline = deadline(&lp, 10);
    let (peer, address) = peer();
    let socket = connected(&lp, address);
    lp.set_immediate(move |_| {
        socket.send("small").unwrap();
        let close = move |_| socket.close().unwrap();
        socket.send_then(vec![0; LARGE], close).unwrap();
    });
    lp.run()?;
    assert_eq!(receive(&peer), b"small");
    assert_eq!(receive(&peer).len(), LARGE);
    Ok(())
}

#[test]
fn a_datagram_waits_behind_one_that_was_refused_before_its_tick() -> Result<()> {
    let lp = Loop::builder().refuse_sends(2).build()?;
    let _deadline = deadline(&lp, 10);
    let (peer, address) = peer();
    let (socket, _) = bound(&lp);
    lp.set_immediate(move |immediate| {
        socket.send_to("first", address).unwrap();
        // What was sent goes out in front of it.
        immediate.event_loop().next_tick(|_| {});
        socket.send_to("second", address).unwrap();
        socket.unref();
    });
    lp.run()?;
    assert_eq!(receive(&peer), b"first");
    assert_eq!(receive(&peer), b"second");
    Ok(())
}

#[test]
fn a_completion_that_fails_leaves_the_others_to_the_next_run() -> Result<()> {
    let lp = Loop::builder().refuse_sends(2).build()?;
    let _deadline = deadline(&lp, 10);
    let (_peer, address) = peer();
    let (socket, _) = bound(&lp);
    socket.unref();
    let log = Recorder::new();
    let inner = log.clone();
    let fails = move |_| {
        inner.note("first");
        socket.event_loop().fail("error");
    };
    // Both have waited, and are done in one go: the second is refused before the system is asked.
    socket.send_to_then("x", address, fails)?;
    socket.send_to_then("x", ("::1", 9), sent(&log, "second"))?;
    assert_eq!(lp.run().unwrap_err().to_string(), "error");
    log.expect(&["first"]);
    lp.run()?;
    log.expect(&["second EINVAL"]);
    Ok(())
}

#[test]
fn what_finds_no_room_and_has_no_completion_is_an_error_event() -> Result<()> {
    let lp = Loop::builder().refuse_sends(2).build()?;
    let _deadline = deadline(&lp, 10);
    let (peer, address) = peer();
    let options = SocketOptions::new(SocketType::Udp4).max_queued(1, 100);
    let socket = dgram::create_socket(&lp, options);
    socket.bind_sync(("127.0.0.1", 0))?;
    socket.connect_sync(address)?;
    socket.unref();
    let log = Recorder::new();
    let inner = log.clone();
    socket.on_error(move |_, error| inner.note(code_of(error)));
    lp.set_immediate(move |_| {
        socket.send("waits").unwrap();
        socket.send("finds no room").unwrap();
    });
    lp.run()?;
    log.expect(&["ENOBUFS"]);
    assert_eq!(receive(&peer), b"waits");
    Ok(())
}

#[test]
fn what_is_forgotten_takes_no_room() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let (peer, address) = peer();
    let options = SocketOptions::new(SocketType::Udp4)
        .max_queued(1, 100)
        .lookup(|_, _, answer| answer.not_found());
    let socket = dgram::create_socket(&lp, options);
    let log = Recorder::new();
    let inner = log.clone();
    socket.on_error(move |_, error| inner.note(code_of(error)));
    // With the binding that fails.
    socket.bind(address)?;
    socket.send_to("waits for the binding", address)?;
    lp.run()?;
    log.expect(&["EADDRINUSE"]);
    // With the name that is not found.
    socket.bind_sync(("127.0.0.1", 0))?;
    socket.unref();
    socket.send_to_then("waits for a name", ("name", 9), sent(&log, "name"))?;
    lp.run()?;
    log.expect(&["name ENOTFOUND"]);
    socket.send_to("finds room", address)?;
    lp.run()?;
    log.expect(&[]);
    assert_eq!(receive(&peer), b"finds room");
    Ok(())
}

// Node adds a listener of its own for the calls that wait, behind those that are there.
#[test]
fn n265_who_listens_already_hears_listening_before_the_calls_are_made() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let (peer, address) = peer();
    let socket = udp4(&lp);
    socket.on_listening(move |socket| socket.send_to("sent at once", address).unwrap());
    let close = move |_| socket.close().unwrap();
    socket.send_to_then("has waited", address, close)?;
    lp.run()?;
    assert_eq!(receive(&peer), b"sent at once");
    assert_eq!(receive(&peer), b"has waited");
    Ok(())
}

// N294: the system is asked on the tick and says EISCONN, which nobody wants to hear.
#[test]
fn what_waits_for_its_tick_when_the_socket_is_connected_is_not_sent() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let ((peer, address), (other, elsewhere)) = (peer(), peer());
    let (socket, own) = bound(&lp);
    // From a listener of 'message', and from elsewhere.
    let late = move |socket: dgram::Socket| {
        socket.send_to("late", address).unwrap();
        socket.connect_sync(elsewhere).unwrap();
    };
    socket.on_message(move |socket, _, _| {
        late(socket);
        let close = move |_| socket.close().unwrap();
        socket.event_loop().set_immediate(close);
    });
    let (second, _) = bound(&lp);
    lp.set_immediate(move |_| {
        late(second);
        second
            .send_then("in time", move |_| second.close().unwrap())
            .unwrap();
    });
    peer.send_to(b"x", own).unwrap();
    lp.run()?;
    assert_eq!(receive(&other), b"in time");
    other.send_to(b"all", address).unwrap();
    assert_eq!(receive(&peer), b"all");
    Ok(())
}

#[test]
fn what_is_to_go_before_the_first_tick_holds_the_loop() -> Result<()> {
    let lp = Loop::new()?;
    let (peer, address) = peer();
    let (socket, _) = bound(&lp);
    socket.unref();
    lp.run_nowait()?;
    assert!(!lp.is_alive());
    socket.send_to("x", address)?;
    assert!(lp.is_alive());
    lp.run()?;
    assert_eq!(receive(&peer), b"x");
    Ok(())
}

#[test]
fn what_is_laid_aside_goes_out_for_who_asks_how_much_waits() -> Result<()> {
    let lp = Loop::builder().refuse_sends(2).build()?;
    let _deadline = deadline(&lp, 10);
    let (peer, address) = peer();
    let sockets = [connected(&lp, address), connected(&lp, address)];
    let log = Recorder::new();
    let inner = log.clone();
    lp.set_immediate(move |_| {
        let [one, two] = sockets;
        one.unref();
        one.send("one").unwrap();
        inner.note(one.send_queue_count());
        two.unref();
        // The kernel refuses every other one.
        two.send("two").unwrap();
        two.flush();
        two.send("three").unwrap();
        inner.note(two.send_queue_size());
    });
    lp.run()?;
    log.expect(&["1", "5"]);
    let mut got: Vec<_> = (0..3).map(|_| receive(&peer)).collect();
    got.sort();
    assert_eq!(got, [&b"one"[..], b"three", b"two"]);
    Ok(())
}

#[test]
fn flushing_the_loop_sends_what_is_laid_aside() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let (peer, address) = peer();
    let socket = connected(&lp, address);
    lp.set_immediate(move |_| {
        socket.send("x").unwrap();
        socket.event_loop().flush();
        assert_eq!(receive(&peer), b"x");
        socket.close().unwrap();
    });
    lp.run()
}
