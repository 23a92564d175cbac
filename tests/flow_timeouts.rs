//! Inactivity timeouts (N201–N212), told so that a busy machine can't make them fail: a timeout
//! never comes before its time by the loop's own clock, and what must not put it off is seen by
//! comparison with a **twin**, a socket with the same timeout, set right behind, that is left in
//! peace. Between two that are due together the one that was made first comes first.

mod support;
mod support_process;

use std::cell::Cell;
use std::io::Write;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use nodeloop::net::{self, ServerOptions, Socket, SocketOptions};
use nodeloop::{AsLoop, Loop};
use support::traced::{deaf, raw_listener};
use support::*;
use support_process::liveness::{Step, listen, row, say};

/// More than any socket buffer takes.
const LARGE: usize = 8 << 20;

/// When a socket was active last, by the loop's clock.
#[derive(Clone, Default)]
struct Activity(Rc<Cell<u64>>);

impl Activity {
    fn is_now(&self, lp: &impl AsLoop) {
        self.0.set(lp.event_loop().now());
    }

    fn closure<A>(&self, lp: &impl AsLoop) -> impl FnMut(A) + 'static {
        let (activity, lp) = (self.clone(), lp.event_loop());
        move |_| activity.is_now(&lp)
    }
}

/// Sets a timeout and fails if 'timeout' ever comes earlier than it may. Notes it as `timeout`.
fn watch(socket: Socket, ms: u64, log: &Recorder) -> Activity {
    let activity = Activity::default();
    socket.set_timeout(ms);
    activity.is_now(&socket);
    let (last, log) = (activity.clone(), log.clone());
    socket.on_timeout(move |socket| {
        let inactive = socket.event_loop().now() - last.0.get();
        assert!(inactive >= ms, "after {inactive} ms of {ms}");
        log.note("timeout");
    });
    activity
}

/// Has the loop turn for so many milliseconds of its clock, whatever comes.
fn turn_for(lp: &Loop, ms: u64) {
    let over = Rc::new(Cell::new(false));
    let inner = over.clone();
    lp.set_timeout_once(ms, move |_| inner.set(true));
    turn_until(lp, || over.get());
}

/// Does something to a socket halfway through its timeout.
fn halfway(lp: &Loop, ms: u64, act: impl FnOnce() + 'static) {
    lp.set_timeout_once(ms / 2, move |_| act());
}

#[test]
fn n202_not_before_its_time_once_and_nothing_else() {
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 10);
        let (socket, peer) = pair(lp);
        let log = Recorder::new();
        log.follow(socket);
        assert_eq!(socket.timeout(), None);
        watch(socket, 20, &log);
        assert_eq!(socket.timeout(), Some(20));
        turn_until(lp, || log.has("timeout"));
        turn_for(lp, 60);
        log.expect(&["timeout"]);
        assert_eq!(socket.ready_state().as_str(), "open");
        socket.end_with("x");
        send_and_end(&peer, b"");
        lp.run().unwrap();
        log.expect(&["finish", "end", "close false"]);
    });
}

#[test]
fn n203_activity_arms_it_again() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, mut peer) = pair(&lp);
    let log = Recorder::new();
    let activity = watch(socket, 20, &log);
    let mut read = activity.closure(&lp);
    socket.on_data(move |socket, _| read(socket));
    for _ in 0..3 {
        turn_until(&lp, || log.has("timeout"));
        turn_for(&lp, 30);
        log.expect(&["timeout"]);
        peer.write_all(b"x").unwrap();
    }
    turn_until(&lp, || log.has("timeout"));
    socket.write("x");
    activity.is_now(&lp);
    turn_until(&lp, || log.count("timeout") == 2);
}

/// One that happens to an accepted socket and puts its timeout off.
fn check_refreshing(options: ServerOptions, act: impl Fn(Socket, TcpStream, Activity)) {
    const MS: u64 = 40;
    for spurious in [false, true] {
        let builder = Loop::builder().spurious_events(spurious);
        let lp = builder.build().unwrap();
        let _deadline = deadline(&lp, 20);
        let (socket, peer) = pair_with(&lp, options.clone(), |to| connect_narrow(to, 4096));
        let log = Recorder::new();
        let activity = watch(socket, MS, &log);
        turn_for(&lp, MS / 2);
        // Whoever was interrupted for long may have seen it by now.
        log.take();
        act(socket, peer, activity);
        // Its timeout alone does not keep the loop alive.
        lp.set_interval(5, |_| {});
        turn_until(&lp, || log.has("timeout"));
    }
}

#[test]
fn n204_refreshed_by_what_is_read() {
    check_refreshing(ServerOptions::new(), |socket, mut peer, activity| {
        let mut read = activity.closure(&socket);
        socket.on_data(move |socket, _| read(socket));
        peer.write_all(b"x").unwrap();
        std::mem::forget(peer);
    });
    // Nobody listens.
    check_refreshing(ServerOptions::new(), |socket, mut peer, activity| {
        socket.event_loop().check(move |watcher| {
            if socket.bytes_read() > 0 {
                activity.is_now(&watcher);
                watcher.close();
            }
        });
        peer.write_all(b"x").unwrap();
        std::mem::forget(peer);
    });
    // The end.
    let half_open = ServerOptions::new().allow_half_open(true);
    check_refreshing(half_open, |socket, peer, activity| {
        socket.resume();
        socket.on_end(activity.closure(&socket));
        peer.shutdown(std::net::Shutdown::Write).unwrap();
    });
}

#[test]
fn n204_refreshed_by_what_is_written() {
    for text in ["x", ""] {
        check_refreshing(ServerOptions::new(), |socket, peer, activity| {
            socket.write(text);
            activity.is_now(&socket);
            std::mem::forget(peer);
        });
    }
    // The completion of one that waited.
    check_refreshing(ServerOptions::new(), |socket, peer, activity| {
        socket.write_then(vec![0; LARGE], activity.closure(&socket));
        std::thread::spawn(move || ending(&peer));
    });
    // Handed down late.
    check_refreshing(ServerOptions::new(), |socket, peer, activity| {
        socket.cork();
        socket.write("x");
        socket.event_loop().set_timeout_once(10, move |timer| {
            socket.uncork();
            activity.is_now(&timer);
        });
        std::mem::forget(peer);
    });
}

#[test]
fn n204_refreshed_by_connect() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (_sockets, address) = deaf();
    let log = Recorder::new();
    let socket = Socket::new(&lp, SocketOptions::new());
    let activity = watch(socket, 40, &log);
    turn_for(&lp, 20);
    log.take();
    socket.connect(target(address)).unwrap();
    activity.is_now(&lp);
    turn_until(&lp, || log.has("timeout"));
    assert!(socket.connecting());
}

#[test]
fn n204_refreshed_when_the_connection_stands() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (mut sockets, address) = deaf();
    let log = Recorder::new();
    let socket = net::connect(&lp, target(address));
    // Longer than the kernel waits before it asks a second time, which is when it connects.
    let activity = watch(socket, 1300, &log);
    socket.on_connect(activity.closure(&lp));
    turn_for(&lp, 5);
    assert!(socket.connecting());
    // Those that fill the backlog go first: they too ask a second time, and would fill it again.
    sockets.truncate(1);
    sockets[0].accept().unwrap();
    turn_until(&lp, || !socket.connecting());
    turn_until(&lp, || log.has("timeout"));
}

/// Something that happens to a socket and does not put its timeout off.
fn check_not_refreshing(options: ServerOptions, before: fn(Socket), act: fn(Socket, &TcpStream)) {
    const MS: u64 = 60;
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let connect = |to| connect_narrow(to, 4096);
    let (subject, peer) = pair_with(&lp, options.clone(), connect);
    let (twin, _peer_of_twin) = pair_with(&lp, options, connect);
    let log = Recorder::new();
    for socket in [subject, twin] {
        before(socket);
    }
    subject.on_timeout(log.noting("subject"));
    twin.on_timeout(log.noting("twin"));
    subject.set_timeout(MS);
    twin.set_timeout(MS);
    halfway(&lp, MS, move || {
        act(subject, &peer);
        // It has to live on.
        subject.on_close(move |_, _| drop(peer.try_clone()));
    });
    // Their timeouts alone do not keep the loop alive.
    lp.set_interval(5, |_| {});
    turn_until(&lp, || log.has("twin"));
    log.expect(&["subject", "twin"]);
}

#[test]
fn n205_not_refreshed_by_pause_and_resume() {
    let options = ServerOptions::new();
    check_not_refreshing(options.clone(), |_| {}, |socket, _| socket.pause());
    check_not_refreshing(
        options.clone(),
        |socket| socket.pause(),
        |socket, _| socket.resume(),
    );
    let both = |socket: Socket, _: &TcpStream| {
        socket.pause();
        socket.resume();
        socket.set_no_delay(true);
        socket.set_keep_alive(true, 1000);
    };
    check_not_refreshing(options, |_| {}, both);
}

#[test]
fn n205_not_refreshed_by_writes_that_wait_behind_others() {
    let options = ServerOptions::new();
    let begin = |socket: Socket| {
        socket.write(vec![0; LARGE]);
    };
    check_not_refreshing(options.clone(), begin, |socket, _| {
        socket.write("x");
    });
    check_not_refreshing(
        options,
        |socket| socket.cork(),
        |socket, _| {
            socket.write("x");
        },
    );
}

#[test]
fn n205_not_refreshed_by_data_that_is_not_read() {
    let options = ServerOptions::new().pause_on_connect(true);
    check_not_refreshing(options, |_| {}, |_, mut peer| peer.write_all(b"x").unwrap());
}

/// A write that is stuck is told of at the second expiry only: at the first it has made progress.
fn check_stuck(connect: impl FnOnce(&Loop) -> Socket, begin: fn(Socket, u64)) {
    const MS: u64 = 30;
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let socket = connect(&lp);
    let log = Recorder::new();
    socket.on_timeout(log.noting("timeout"));
    begin(socket, MS);
    let started = lp.now();
    turn_until(&lp, || log.has("timeout"));
    let passed = lp.now() - started;
    assert!(passed >= 2 * MS, "after {passed} ms of {MS}");
    turn_for(&lp, 3 * MS);
    log.expect(&["timeout"]);
    assert!(socket.writable_length() >= LARGE);
}

fn write_large(socket: Socket) {
    assert!(!socket.write(vec![0; LARGE]));
}

#[test]
fn n206_a_stuck_write_is_told_of_at_the_second_expiry() {
    let accept = |lp: &Loop| {
        let (socket, peer) = pair_with(lp, ServerOptions::new(), |to| connect_narrow(to, 4096));
        // It lives as long as the socket.
        socket.on_close(move |_, _| drop(peer.try_clone()));
        socket
    };
    check_stuck(accept, |socket, ms| {
        socket.set_timeout(ms);
        write_large(socket);
    });
    check_stuck(accept, |socket, ms| {
        write_large(socket);
        socket.set_timeout(ms);
    });
    check_stuck(accept, |socket, ms| {
        socket.set_timeout(ms);
        socket.cork();
        write_large(socket);
        socket.uncork();
    });
    // Written before the connection stands. The listener holds the connection.
    let (listener, address) = raw_listener();
    socket2::SockRef::from(listener.socket())
        .set_recv_buffer_size(4096)
        .unwrap();
    check_stuck(
        |lp| net::connect(lp, target(address)),
        |socket, ms| {
            socket.set_timeout(ms);
            write_large(socket);
        },
    );
}

#[test]
fn n206_a_write_that_is_complete_delays_nothing() {
    // It was written, and told, while the timeout was switched off.
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (subject, peer) = pair_with(&lp, ServerOptions::new(), |to| connect_narrow(to, 4096));
    subject.set_timeout(60_000);
    subject.set_timeout(0);
    subject.write_then(vec![0; LARGE], log.done("large"));
    let reader = std::thread::spawn(move || read_to_end(&peer).len());
    turn_until(&lp, || log.has("large ok"));
    let (twin, _peer) = pair(&lp);
    subject.on_timeout(log.noting("subject"));
    twin.on_timeout(log.noting("twin"));
    subject.set_timeout(20);
    twin.set_timeout(20);
    turn_until(&lp, || log.has("twin"));
    log.expect(&["large ok", "subject", "twin"]);
    subject.destroy();
    turn_for(&lp, 1);
    assert_eq!(join(reader), LARGE);
}

#[test]
fn n207_set_again_and_switched_off() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (longer, _peer) = pair(&lp);
    watch(longer, 20, &Recorder::new());
    let (shorter, _peer) = pair(&lp);
    shorter.set_timeout(60_000);
    let (off, _peer) = pair(&lp);
    off.on_timeout(|_| panic!("it was switched off"));
    off.set_timeout(20);
    let (off_and_on, _peer) = pair(&lp);
    off_and_on.set_timeout(20);
    // Before any of them is due: nothing was turned since.
    let longer_log = log.clone();
    longer.on_timeout(move |_| longer_log.note("longer"));
    watch(longer, 60, &Recorder::new());
    let shorter_log = log.clone();
    shorter.on_timeout(move |_| shorter_log.note("shorter"));
    watch(shorter, 40, &Recorder::new());
    off.set_timeout(0);
    assert_eq!(off.timeout(), Some(0));
    off_and_on.set_timeout(0);
    let on_log = log.clone();
    off_and_on.on_timeout(move |_| on_log.note("off and on"));
    watch(off_and_on, 50, &Recorder::new());
    turn_until(&lp, || log.has("longer"));
    log.expect(&["shorter", "off and on", "longer"]);
    // Activity does not arm what is off.
    off.write("x");
    turn_for(&lp, 50);
    log.expect(&[]);
}

#[test]
fn n209_goes_on_after_end_and_until_destroy() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (ended, _peer) = pair(&lp);
    watch(ended, 20, &log);
    ended.end();
    turn_until(&lp, || log.has("timeout"));
    assert!(ended.writable_finished() && !ended.destroyed());
    let (destroyed, _peer) = pair(&lp);
    destroyed.on_timeout(|_| panic!("it was destroyed"));
    destroyed.set_timeout(10);
    destroyed.destroy();
    destroyed.set_timeout(20);
    assert_eq!(destroyed.timeout(), Some(10));
    destroyed.keep();
    turn_for(&lp, 40);
    // Nor is it armed in another life.
    let (_listener, address) = raw_listener();
    destroyed.connect(target(address)).unwrap();
    turn_until(&lp, || !destroyed.connecting());
    turn_for(&lp, 40);
    assert!(!destroyed.destroyed());
}

#[test]
fn n201_on_a_socket_that_never_connects() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let socket = Socket::new(&lp, SocketOptions::new());
    watch(socket, 20, &log);
    // Something has to keep the loop alive.
    let holds = lp.set_interval(5, |_| {});
    turn_until(&lp, || log.has("timeout"));
    holds.clear();
    assert!(socket.pending());
    // What most programs do.
    socket.on_timeout(|socket| socket.destroy());
    log.follow(socket);
    socket.set_timeout(1);
    turn_for(&lp, 30);
    lp.run().unwrap();
    assert!(log.has("close false") && !log.has("error"));
}

#[test]
fn n212_connect_sets_it_before_connecting() {
    // N212
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (_sockets, address) = deaf();
    let log = Recorder::new();
    let started = lp.now();
    let socket = net::connect(&lp, target(address).timeout(30));
    assert_eq!(socket.timeout(), Some(30));
    socket.on_timeout(log.noting("timeout"));
    turn_until(&lp, || log.has("timeout"));
    assert!(lp.now() - started >= 30);
    assert!(socket.connecting());
    socket.destroy();
    lp.run().unwrap();
}

#[test]
fn limits_are_milliseconds_or_durations() {
    let lp = Loop::builder()
        .auto_select_family_attempt_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let (socket, _peer) = pair(&lp);
    // What is less than a millisecond is not off.
    for (duration, ms) in [(Duration::from_micros(1_001), 2), (Duration::ZERO, 0)] {
        socket.set_timeout(duration);
        assert_eq!(socket.timeout(), Some(ms));
    }
    let _deadline = deadline(&lp, 10);
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    let to = net::ConnectOptions::from(nobody)
        .timeout(Duration::from_secs(7))
        .auto_select_family_attempt_timeout(Duration::from_secs(1))
        .deadline(Duration::from_secs(5));
    let client = net::connect(&lp, to);
    assert_eq!(client.timeout(), Some(7_000));
    // Before it is begun.
    client.destroy();
    lp.run_nowait().unwrap();
}

#[test]
fn a_long_timeout_is_not_cut() {
    // Node cuts what is longer than 2^31 - 1 ms to that. L15: the wait is capped, not the timeout.
    let lp = Loop::new().unwrap();
    let (socket, _peer) = pair(&lp);
    for ms in [1 << 31, u64::MAX] {
        socket.set_timeout(ms);
        assert_eq!(socket.timeout(), Some(ms));
        socket.on_timeout(|_| panic!("too early"));
        lp.run_nowait().unwrap();
        assert!(lp.poll_timeout() > Some(Duration::from_secs(86_400)));
    }
}

#[test]
fn n210_it_does_not_hold_the_process() {
    row(
        "new net.Socket().setTimeout(600000); say('set');",
        &[Step::Prints("set"), Step::Exits],
        |lp| {
            Socket::new(lp, SocketOptions::new()).set_timeout(600_000);
            say("set");
        },
    );
}

#[test]
fn n56_n210_nor_on_a_connection_that_does_not_read() {
    row(
        "const server = net.createServer({ pauseOnConnect: true }, (socket) => {
            socket.setTimeout(600000);
            server.close();
            say('set');
        });
        listen(server);",
        &[
            Step::Prints("listening"),
            Step::Connects,
            Step::Prints("set"),
            Step::Exits,
        ],
        |lp| {
            let options = ServerOptions::new().pause_on_connect(true);
            let server = net::create_server_with(lp, options, |socket| {
                socket.set_timeout(600_000);
                socket.server().expect("it was accepted").close();
                say("set");
            });
            listen(server);
        },
    );
}
