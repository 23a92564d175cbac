//! Bugs that UDP sockets once had.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use nodeloop::dgram::{self, SocketOptions, SocketType};
use nodeloop::{Loop, Result};
#[cfg(target_os = "linux")]
use support::code;
use support::udp::{bound, peer};
use support::{Recorder, code_of, deadline, turn_until};

// N261, N278: once the second close was forgotten, and the send behind a close sent nothing and told
// nobody. Node throws for the first call behind the close, where nobody can catch it.
#[test]
fn calls_queued_behind_a_close_are_an_uncaught_error() -> Result<()> {
    for second_is_a_close in [true, false] {
        let lp = Loop::new()?;
        let _deadline = deadline(&lp, 10);
        let log = Recorder::new();
        let noted = log.clone();
        lp.on_uncaught_error(move |_, error| noted.note(code_of(error)));
        let socket = dgram::create_socket(&lp, SocketType::Udp4);
        socket.on_close(log.noting("close"));
        socket.send_to_then("lost", 9, log.noting("first"))?;
        socket.close()?;
        match second_is_a_close {
            true => socket.close()?,
            false => socket.send_to_then("lost", 9, log.noting("second"))?,
        }
        socket.send_to_then("lost", 9, log.noting("third"))?;
        lp.run()?;
        log.expect(&["ERR_SOCKET_DGRAM_NOT_RUNNING", "close"]);
    }
    Ok(())
}

// N284: once the error of a buffer size went by `on_uncaught_error`, and 'listening' came.
#[test]
#[cfg(target_os = "linux")]
fn a_buffer_size_that_cannot_be_set_is_thrown_out_of_the_binding() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let noted = log.clone();
    lp.on_uncaught_error(move |_, error| noted.note(code_of(error)));
    let options = SocketOptions::new(SocketType::Udp4).recv_buffer_size(u32::MAX);
    let socket = dgram::create_socket(&lp, options.clone());
    socket.on_listening(log.noting("listening"));
    socket.bind(("127.0.0.1", 0))?;
    let other = dgram::create_socket(&lp, options);
    other.on_listening(log.noting("listening"));
    assert_eq!(
        code(other.bind_sync(("127.0.0.1", 0))),
        "ERR_SOCKET_BUFFER_SIZE"
    );
    assert!(other.address()?.port() > 0);
    lp.set_immediate(move |_| {
        for socket in [socket, other] {
            socket.close().unwrap();
        }
    });
    lp.run()?;
    log.expect(&["ERR_SOCKET_BUFFER_SIZE"]);
    Ok(())
}

// Where several datagrams are received together, the next listener is called at once if this one has called
// nothing. `clear` once counted as nothing, so the timer's closure lived on until the last of them.
#[test]
fn a_timer_that_is_cleared_amid_many_datagrams_is_dropped_before_the_next() -> Result<()> {
    const MANY: usize = 20;
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let (peer, _) = peer();
    let (socket, address) = bound(&lp);
    let timers: Vec<_> = (0..MANY)
        .map(|_| {
            let held = Rc::new(());
            let timer = lp.set_timeout_once(60_000, {
                let held = held.clone();
                move |_| drop(held)
            });
            (timer, held)
        })
        .collect();
    let seen = Rc::new(Cell::new(0));
    let count = seen.clone();
    socket.on_message(move |_, _, _| {
        let number: usize = count.replace(count.get() + 1);
        for (_, held) in &timers[..number] {
            assert_eq!(Rc::strong_count(held), 1, "in front of datagram {number}");
        }
        timers[number].0.clear();
    });
    for _ in 0..MANY {
        peer.send_to(b"x", address).unwrap();
    }
    turn_until(&lp, || seen.get() == MANY);
    Ok(())
}

// It was told as nothing where it was most in use.
#[test]
fn the_room_for_datagrams_is_memory_while_one_is_delivered() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let (socket, address) = bound(&lp);
    let told = Rc::new(Cell::new(0));
    let telling = told.clone();
    socket.on_message(move |socket, _, _| {
        telling.set(socket.event_loop().memory().datagrams);
    });
    let (peer, _) = peer();
    // Behind some that come alone another path receives them.
    for _ in 0..20 {
        told.set(0);
        peer.send_to(b"hello", address).unwrap();
        turn_until(&lp, || told.get() > 0);
        assert_eq!(told.get(), lp.memory().datagrams);
    }
    socket.close()?;
    lp.run()?;
    assert_eq!(told.get(), lp.memory().datagrams);
    Ok(())
}

// Each time that `run` went on behind an error it received as many again: where datagrams came faster than
// that, nothing behind the poll ever ran.
#[test]
fn a_listener_that_fails_at_every_datagram_gets_no_more_of_them_in_a_turn() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let (socket, address) = bound(&lp);
    let (peer, _) = peer();
    for _ in 0..80 {
        peer.send_to(b"x", address).unwrap();
    }
    let in_turns = Rc::new(RefCell::new(Vec::new()));
    let seen = in_turns.clone();
    socket.on_message(move |socket, _, _| {
        let lp = socket.event_loop();
        seen.borrow_mut().push(lp.turns());
        lp.fail("each time");
    });
    while in_turns.borrow().len() < 80 {
        lp.run().unwrap_err();
    }
    let counts = [1, 2, 3].map(|turn| in_turns.borrow().iter().filter(|it| **it == turn).count());
    assert_eq!(counts, [32, 32, 16]);
    Ok(())
}

// N16: where a call waited for the binding, 'listening' was emitted in two pieces. A listener that was added in
// the first was called in the second, and one that was removed there was not.
#[test]
fn n16_listening_is_one_emission_around_the_calls_that_wait() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let socket = dgram::create_socket(&lp, SocketType::Udp4);
    let removed = Rc::new(Cell::new(None));
    let (noted, removes) = (log.clone(), removed.clone());
    socket.on_listening(move |socket| {
        noted.note("first");
        socket.on_listening(noted.noting("added"));
        socket.off(removes.get().unwrap());
    });
    socket.send_to("calls begin to wait", 9)?;
    socket.close()?;
    let noted = log.clone();
    removed.set(Some(socket.on_listening(move |socket| {
        noted.note("removed");
        // It was closed in front of this one.
        noted.note(code_of(&socket.address().unwrap_err()));
    })));
    socket.on_close(log.noting("close"));
    lp.run()?;
    log.expect(&["first", "removed", "ERR_SOCKET_DGRAM_NOT_RUNNING", "close"]);
    Ok(())
}

// A panic in front of the calls that wait does not lose them.
#[test]
fn calls_that_wait_are_made_behind_a_listener_that_panics() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let socket = dgram::create_socket(&lp, SocketType::Udp4);
    socket.on_listening(|_| panic!("on purpose"));
    socket.send_to_then("sent", 9, move |sent| {
        assert_eq!(sent.unwrap(), 4);
        socket.close().unwrap();
    })?;
    socket.on_listening(|_| {});
    socket.on_close(log.noting("close"));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lp.run())).unwrap_err();
    lp.run()?;
    log.expect(&["close"]);
    Ok(())
}

// U2, U3: what is refused before there is a socket left one behind, which had options and an address.
#[test]
fn u3_a_binding_that_can_never_be_leaves_no_socket() -> Result<()> {
    let lp = Loop::new()?;
    let only_v6 = SocketOptions::new(SocketType::Udp4).ipv6_only(true);
    let sockets = [
        (dgram::create_socket(&lp, only_v6), "127.0.0.1"),
        (dgram::create_socket(&lp, SocketType::Udp4), "::1"),
        (dgram::create_socket(&lp, SocketType::Udp6), "127.0.0.1"),
    ];
    for (socket, host) in sockets {
        let refused = socket.bind_sync((host, 0)).unwrap_err();
        assert_eq!(code_of(&refused), "EINVAL");
        assert_eq!(refused.syscall(), Some("bind"));
        assert_eq!(code_of(&socket.address().unwrap_err()), "EBADF");
        assert_eq!(code_of(&socket.set_ttl(1).unwrap_err()), "EBADF");
        let size = socket.recv_buffer_size().unwrap_err();
        assert!(size.message().contains("EBADF"), "{size}");
        socket.close()?;
    }
    lp.run()
}

// U2: libuv looks at a number, or an address, before it looks whether there is a socket.
#[test]
fn u2_a_value_that_is_none_is_told_before_a_socket_that_is_none() -> Result<()> {
    let lp = Loop::new()?;
    let socket = dgram::create_socket(&lp, SocketType::Udp4);
    let code = |result: Result<()>| code_of(&result.unwrap_err());
    for (good, bad) in [
        (socket.set_ttl(1), socket.set_ttl(256)),
        (socket.set_multicast_ttl(0), socket.set_multicast_ttl(256)),
        (
            socket.set_multicast_interface("0.0.0.0"),
            socket.set_multicast_interface("x"),
        ),
    ] {
        assert_eq!([code(good), code(bad)], ["EBADF", "EINVAL"]);
    }
    let size = socket.set_recv_buffer_size(1 << 31).unwrap_err();
    assert!(size.message().contains("EINVAL"), "{size}");
    let size = socket.set_send_buffer_size(1 << 30).unwrap_err();
    assert!(size.message().contains("EBADF"), "{size}");
    socket.close()?;
    lp.run()
}

// N274: a failure to connect is told on the tick behind the look-up, as every other; that of a user's function
// came at once.
#[test]
fn n274_a_peer_that_is_not_found_is_told_on_a_tick() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (handle, noted) = (lp.handle(), log.clone());
    let options = SocketOptions::new(SocketType::Udp4).lookup(move |_, _, answer| {
        handle.next_tick(noted.noting("tick"));
        answer.not_found();
    });
    let socket = dgram::create_socket(&lp, options);
    socket.bind_sync(("127.0.0.1", 0))?;
    let noted = log.clone();
    socket.connect_then(("nobody", 9), move |result| {
        noted.note(code_of(&result.unwrap_err()));
        socket.close().unwrap();
    })?;
    lp.run()?;
    log.expect(&["tick", "ENOTFOUND"]);
    Ok(())
}

// A destination of the other family is refused before the system is asked, also by one that is connected by then.
#[test]
fn the_other_family_is_told_before_a_peer() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, _) = bound(&lp);
    socket.connect(9)?;
    for host in ["::1", "127.0.0.1"] {
        let noted = log.clone();
        socket.send_to_then("x", (host, 9), move |sent| {
            noted.note(code_of(&sent.unwrap_err()));
        })?;
    }
    socket.on_connect(move |socket| {
        socket
            .event_loop()
            .set_immediate(move |_| socket.close().unwrap());
    });
    lp.run()?;
    log.expect(&["EINVAL", "EISCONN"]);
    Ok(())
}
