//! What was wrong once with timeouts of sockets and with options of `listen`.

mod support;

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use nodeloop::Loop;
use nodeloop::net::{self, ListenOptions, Server, ServerOptions};
use support::*;

/// Keeps the program busy.
fn block(ms: u64) {
    let until = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

#[test]
fn n204_what_uncork_hands_down_puts_the_timeout_off() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let (socket, _peer) = pair(&lp);
    socket.on_timeout(log.noting("timeout"));
    socket.set_timeout(300);
    socket.cork();
    socket.write("held");
    lp.set_timeout_once(150, move |_| socket.uncork());
    lp.set_timeout_once(375, log.noting("between"));
    turn_until(&lp, || log.has("timeout"));
    log.expect(&["between", "timeout"]);
}

#[test]
fn n206_a_write_that_was_stuck_before_set_timeout_passes_the_first_expiry_over() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let (socket, _peer) = pair_with(&lp, ServerOptions::new(), |to| connect_narrow(to, 4096));
    assert!(!socket.write(vec![0; 8 << 20]));
    socket.on_timeout(log.noting("timeout"));
    socket.set_timeout(200);
    lp.set_timeout_once(300, log.noting("between"));
    turn_until(&lp, || log.has("timeout"));
    log.expect(&["between", "timeout"]);
}

#[test]
fn n206_a_write_from_before_the_connection_passes_the_first_expiry_over() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = net::connect(&lp, listener.local_addr().unwrap());
    socket.on_timeout(log.noting("timeout"));
    socket.set_timeout(200);
    assert!(!socket.write(vec![0; 16 << 20]));
    lp.set_timeout_once(300, log.noting("between"));
    turn_until(&lp, || log.has("timeout"));
    log.expect(&["between", "timeout"]);
}

#[test]
fn n206_a_write_that_completes_while_the_timeout_is_off_is_forgotten() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let (socket, peer) = pair_with(&lp, ServerOptions::new(), |to| connect_narrow(to, 65536));
    socket.set_timeout(10_000);
    assert!(!socket.write_then(vec![0; 8 << 20], log.done("write")));
    socket.set_timeout(0);
    socket.on_timeout(log.noting("timeout"));
    let reader = std::thread::spawn(move || read_to_end(&peer).len());
    turn_until(&lp, || log.has("write ok"));
    socket.set_timeout(150);
    lp.set_timeout_once(225, log.noting("behind"));
    turn_until(&lp, || log.has("behind") && log.has("timeout"));
    log.expect(&["write ok", "timeout", "behind"]);
    socket.destroy();
    assert_eq!(join(reader), 8 << 20);
}

#[test]
fn late_timers_and_timeouts_come_in_the_order_in_which_they_were_due() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let (socket, _peer) = pair(&lp);
    let (written, _other_peer) = pair(&lp);
    for socket in [socket, written] {
        socket.on_timeout(log.noting("timeout"));
        socket.set_timeout(50);
    }
    let inner = log.clone();
    lp.set_timeout_once(20, move |_| {
        inner.note("first");
        // In time, since its timeout has not come yet, late as the loop is.
        written.write("activity");
        written.set_timeout(0);
    });
    lp.set_timeout_once(80, log.noting("last"));
    block(120);
    turn_until(&lp, || log.has("last"));
    log.expect(&["first", "timeout", "last"]);
}

#[test]
fn n245_ipv6_only_says_nothing_about_an_ipv4_address() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let server = Server::new(&lp, ServerOptions::new());
    server.on_listening(log.noting("listening"));
    let at = ListenOptions::new().host("127.0.0.1").ipv6_only(true);
    server.listen(at).unwrap();
    turn_until(&lp, || log.has("listening"));
    server.close();
    lp.run().unwrap();
}

#[test]
fn n204_a_write_that_completes_unheard_puts_the_timeout_off() {
    const SIZE: usize = 8 << 20;
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let (socket, peer) = pair_with(&lp, ServerOptions::new(), |to| connect_narrow(to, 65536));
    socket.on_timeout(log.noting("timeout"));
    socket.set_timeout(300);
    assert!(!socket.write(vec![0; SIZE]));
    assert!(!socket.write(vec![0; SIZE]));
    let (go, may_read) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        may_read.recv().unwrap();
        // The first write is over then, and the second is stuck.
        (&peer).read_exact(&mut vec![0; SIZE]).unwrap();
        peer
    });
    lp.set_timeout_once(150, move |_| go.send(()).unwrap());
    // The first expiry, which finds progress, was at 450 or later, and at 300 had that not been activity.
    lp.set_timeout_once(675, log.noting("between"));
    turn_until(&lp, || log.has("timeout"));
    log.expect(&["between", "timeout"]);
    socket.destroy();
    drop(join(reader));
}

#[test]
fn n204_an_end_with_data_puts_the_timeout_off() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let (socket, _peer) = pair(&lp);
    socket.on_timeout(log.noting("timeout"));
    socket.set_timeout(300);
    lp.set_timeout_once(150, move |_| socket.end_with("data"));
    lp.set_timeout_once(375, log.noting("between"));
    turn_until(&lp, || log.has("timeout"));
    log.expect(&["between", "timeout"]);
}

#[test]
fn n206_small_writes_that_are_stuck_pass_the_first_expiry_over() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let (socket, _peer) = pair_with(&lp, ServerOptions::new(), |to| connect_narrow(to, 4096));
    socket.on_timeout(log.noting("timeout"));
    socket.set_timeout(200);
    // As one callback's they are gathered.
    lp.next_tick(move |_| while socket.write([0; 8192].as_slice()) {});
    lp.set_timeout_once(300, log.noting("between"));
    turn_until(&lp, || log.has("timeout"));
    log.expect(&["between", "timeout"]);
}
