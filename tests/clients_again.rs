//! A socket that closed is connected again (N110).

mod support;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use nodeloop::Loop;
use nodeloop::net::{self, ServerOptions, Socket, SocketOptions};
use support::traced::*;
use support::*;

/// A server that greets and ends.
fn greeter(lp: &Loop) -> (net::Server, SocketAddr) {
    listening(lp, |socket| {
        socket.on_error(|_, _| {});
        socket.resume();
        socket.end_with("hello");
    })
}

#[test]
fn n110_connected_again_in_its_close_many_times() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (server, address) = greeter(&lp);
    let socket = Socket::new(&lp, SocketOptions::new());
    let log = Recorder::new();
    log.trace(socket);
    let lives = Rc::new(Cell::new(1));
    let count = lives.clone();
    socket.on_close(move |socket, _| {
        if count.get() == 50 {
            return server.close();
        }
        count.set(count.get() + 1);
        socket.connect(target(address)).unwrap();
        assert_eq!((socket.bytes_read(), socket.bytes_written()), (0, 0));
        assert!(socket.write("q"));
    });
    socket.connect(target(address)).unwrap();
    assert!(socket.write("q"));
    lp.run().unwrap();
    assert_eq!(lives.get(), 50);
    let one_life = "attempt [cp-- opening rw--- 0/1 wl1 - --]
         connect [---- open rw--- 0/1 wl1 - lm]
         ready [---- open rw--- 0/1 wl0 - lm]
         data hello
         end [---- writeOnly -wE-- 5/1 wl0 - lm]
         finish [---- closed --Eef 5/1 wl0 - lm]
         close false [-pdC closed --Eef 5/1 wl0 - -m]\n";
    log.expect_lines(&one_life.repeat(50));
    assert_eq!(lp.handles().len(), 0);
}

#[test]
fn n110_connected_again_after_a_failure_with_writes_that_wait() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (server, address) = greeter(&lp);
    let (_held, refused) = refusing("127.0.0.1");
    let socket = net::connect(&lp, target(refused));
    let log = Recorder::new();
    log.follow(socket);
    socket.write_then("lost", log.done("lost"));
    socket.write_then("too", log.done("too"));
    socket.once_close(move |socket, _| {
        socket.connect(target(address)).unwrap();
        assert!(socket.errored().is_none());
        socket.on_close(move |_, _| server.close());
    });
    lp.run().unwrap();
    log.expect(&[
        "error ECONNREFUSED",
        "lost ERR_SOCKET_CLOSED_BEFORE_CONNECTION",
        "too ECONNREFUSED",
        "close true",
        "data hello",
        "end",
        "finish",
        "close false",
    ]);
}

#[test]
fn n110_connected_again_later_if_it_was_kept() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (server, address) = greeter(&lp);
    let socket = net::connect(&lp, target(address));
    socket.keep();
    let log = Recorder::new();
    log.follow(socket);
    for life in 0..10 {
        turn_until(&lp, || log.has("close false"));
        log.expect(&["data hello", "end", "finish", "close false"]);
        assert_eq!((socket.bytes_read(), socket.destroyed()), (5, true));
        if life < 9 {
            // Some turns later.
            for _ in 0..3 {
                lp.run_nowait().unwrap();
            }
            socket.connect(target(address)).unwrap();
            assert!(socket.connecting() && !socket.destroyed());
        }
    }
    server.close();
    socket.release();
    assert_eq!(code(socket.connect(target(address))), "ERR_HANDLE_GONE");
    lp.run().unwrap();
    assert_eq!(lp.handles().len(), 0);
}

#[test]
fn n110_a_second_life_that_fails_at_once_has_its_close_too() {
    // On the ticks of the first 'close', at whose end the slot is freed.
    let bad: [(net::ConnectOptions, &str); 3] = [
        (("no.such.host.invalid", 9).into(), "ENOTFOUND"),
        (("255.255.255.255", 9).into(), "ENETUNREACH"),
        (
            net::ConnectOptions::new("127.0.0.1", 9).local_address([192, 0, 2, 1].into()),
            "EADDRNOTAVAIL",
        ),
    ];
    for (to, code) in bad {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let (_held, refused) = refusing("127.0.0.1");
        let socket = net::connect(&lp, target(refused));
        let log = Recorder::new();
        log.follow(socket);
        let inner = log.clone();
        socket.once_close(move |socket, _| {
            socket.connect(to.clone()).unwrap();
            socket.write_then("lost", inner.done("lost"));
        });
        lp.run().unwrap();
        let error = format!("error {code}");
        let lost = "lost ERR_SOCKET_CLOSED_BEFORE_CONNECTION";
        log.expect(&[
            "error ECONNREFUSED",
            "close true",
            &error,
            lost,
            "close true",
        ]);
        assert_eq!(lp.handles().len(), 0);
    }
}

#[test]
fn n110_connected_again_before_its_close() {
    // Every life has its 'close', in Node too. (Neither there nor here has one that begins before
    // the last one's 'close' an 'end': N110 is about what comes after.)
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (server, address) = greeter(&lp);
    let socket = net::connect(&lp, target(address));
    let log = Recorder::new();
    log.follow(socket);
    turn_until(&lp, || !socket.connecting());
    for _ in 0..3 {
        socket.destroy();
        socket.connect(target(address)).unwrap();
    }
    turn_until(&lp, || log.has("data hello"));
    socket.destroy();
    server.close();
    lp.run().unwrap();
    let closed = "close false";
    log.expect(&[closed, closed, closed, "data hello", closed]);
    assert_eq!(lp.handles().len(), 0);
}

#[test]
fn n80_an_accepted_socket_that_is_connected_again_counts_once() {
    // In Node the server's count falls twice, and its 'close' never comes.
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (other, to) = greeter(&lp);
    let log = Recorder::new();
    let (server, address) = listening(&lp, move |socket| {
        socket.once_close(move |socket, _| {
            socket.connect(target(to)).unwrap();
            assert!(socket.server().is_some());
            socket.resume();
        });
        socket.destroy();
    });
    let peers = [connect(address), connect(address)];
    turn_until(&lp, || other.connections() == 2);
    assert_eq!(server.connections(), 0);
    turn_until(&lp, || other.connections() == 0);
    assert_eq!(server.connections(), 0);
    server.on_close(log.noting("server closed"));
    server.close_all();
    other.close();
    lp.run().unwrap();
    log.expect(&["server closed"]);
    assert_eq!(lp.handles().len(), 0);
    drop(peers);
}

#[test]
fn a_socket_that_is_gone_is_not_connected_again() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (_held, address) = refusing("127.0.0.1");
    let socket = net::connect(&lp, target(address));
    socket.on_error(|_, _| {});
    lp.run().unwrap();
    assert_eq!(code(socket.connect(target(address))), "ERR_HANDLE_GONE");
    let dropped = Rc::new(Cell::new(false));
    let inner = dropped.clone();
    let guard = on_drop(move || inner.set(true));
    let result = socket.connect_then(target(address), move |_| guard.hold());
    assert_eq!(code(result), "ERR_HANDLE_GONE");
    assert!(dropped.get());
    assert!(!lp.is_alive());
}

#[test]
fn n110_n133_destroy_soon_is_about_one_life() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let options = ServerOptions::new().allow_half_open(true);
    let (server, address) = listening_with(&lp, options, |socket| {
        socket.on_error(|_, _| {});
        socket.on_end(|socket| socket.end_with("late"));
        socket.resume();
    });
    let socket = Socket::new(&lp, SocketOptions::new());
    let log = Recorder::new();
    socket.connect(target(address)).unwrap();
    socket.once_connect(|socket| socket.destroy_soon());
    socket.once_close(move |socket, _| {
        socket.connect(target(address)).unwrap();
        socket.end();
        socket.once_close(move |_, _| server.close());
    });
    let inner = log.clone();
    socket.on_data(move |_, chunk| inner.note(String::from_utf8_lossy(chunk)));
    lp.run().unwrap();
    log.expect(&["late"]);
}
