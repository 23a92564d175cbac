//! Handles that outlive their loop, or the thread's own end.

mod support;

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use nodeloop::net::{self, Server, Socket};
use nodeloop::{Loop, LoopHandle, Timer, stdio};
use support::calls;
use support::*;

#[test]
fn handles_of_a_loop_that_is_gone_do_nothing() {
    let lp = Loop::new().unwrap();
    let handle = lp.handle();
    let (socket, peer) = pair(&lp);
    let (server, address) = listening(&lp, |_| {});
    let timer = lp.set_interval(1, |_| {});
    let immediate = lp.set_immediate(|_| {});
    let watcher = lp.idle(|_| {});
    drop(lp);
    assert_eq!(ending(&peer), "end");
    try_connect(address).unwrap_err();

    expect_gone(socket);
    let called = Rc::new(Cell::new(0));
    let counting = called.clone();
    let touch: calls::Touch = Rc::new(move || counting.set(counting.get() + 1));
    for &(_, call) in calls::SOCKET {
        call(socket, &touch);
    }
    for &(_, call) in calls::SERVER {
        call(server, &touch);
    }
    assert_eq!(code(server.listen(0)), "ERR_HANDLE_GONE");
    assert_eq!((server.listening(), server.address()), (false, None));
    timer.refresh();
    timer.clear();
    timer.keep();
    assert!(!timer.has_ref() && !immediate.has_ref() && !watcher.has_ref());
    assert!(!timer.is_active());
    immediate.clear();
    watcher.start();
    watcher.close();
    expect_dead(handle);
    expect_dead(socket.event_loop());
    // Another loop may have the index by now, not the serial.
    let successor = Loop::new().unwrap();
    expect_dead(handle);
    expect_gone(socket);
    assert!(!successor.is_alive());
    assert_eq!(
        called.get(),
        0,
        "completions are called while their loop lives"
    );
}

#[track_caller]
fn expect_dead(handle: LoopHandle) {
    handle.next_tick(|_| {});
    handle.stop();
    handle.update_time();
    handle.on_uncaught_error(|_, _| {});
    let timer = handle.set_timeout(1, |_| {});
    let server = net::create_server(&handle, |_| {});
    assert_eq!(code(server.listen(0)), "ERR_HANDLE_GONE");
    assert!(!timer.has_ref() && !handle.is_alive());
    assert_eq!((handle.now(), handle.turns()), (0, 0));
    assert_eq!(handle.counts(), nodeloop::Counts::default());
    assert!(handle.handles().is_empty());
    // Whoever waits for it asks again at once.
    assert_eq!(handle.poll_timeout(), Some(Duration::ZERO));
}

/// Uses its handles when the thread that has it dies.
#[derive(Default)]
struct Survivor {
    server: Cell<Option<Server>>,
    socket: Cell<Option<Socket>>,
    timer: Cell<Option<Timer>>,
    lp: RefCell<Option<Loop>>,
}

impl Drop for Survivor {
    fn drop(&mut self) {
        let touch: calls::Touch = Rc::new(|| {});
        if let Some(socket) = self.socket.get() {
            for &(_, call) in calls::SOCKET {
                call(socket, &touch);
            }
            socket.event_loop().next_tick(|_| {});
        }
        if let Some(server) = self.server.get() {
            for &(_, call) in calls::SERVER {
                call(server, &touch);
            }
        }
        if let Some(timer) = self.timer.get() {
            timer.refresh();
            timer.event_loop().set_timeout(1, |_| {});
        }
    }
}

thread_local! {
    static SURVIVOR: Survivor = Survivor::default();
}

/// Fills this thread's survivor with handles of a loop; gives the loop and a peer.
fn survive() -> (Loop, TcpStream) {
    let lp = Loop::new().unwrap();
    let (socket, peer) = pair(&lp);
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = net::create_server(&lp, |_| {});
    server.listen(any_port).unwrap();
    SURVIVOR.with(|survivor| {
        survivor.socket.set(Some(socket));
        survivor.server.set(Some(server));
        survivor.timer.set(Some(lp.set_interval(1, |_| {})));
    });
    (lp, peer)
}

#[test]
fn handles_in_a_thread_locals_destructor() {
    // The survivor is made before the crate's own thread-locals, or after: they die in the
    // opposite order, or in the same.
    for first in [false, true] {
        let thread = std::thread::spawn(move || {
            if first {
                SURVIVOR.with(|_| {});
            }
            let (lp, peer) = survive();
            lp.run_nowait().unwrap();
            drop(lp);
            peer
        });
        let peer = join(thread);
        assert_eq!(ending(&peer), "end");
    }
}

#[test]
fn a_whole_loop_in_a_thread_local() {
    for first in [false, true] {
        let thread = std::thread::spawn(move || {
            if first {
                SURVIVOR.with(|_| {});
            }
            let (lp, peer) = survive();
            lp.run_nowait().unwrap();
            SURVIVOR.with(|survivor| survivor.lp.replace(Some(lp)));
            peer
        });
        let peer = join(thread);
        // Its descriptors were closed with the thread.
        assert_eq!(ending(&peer), "end");
    }
}

/// Asks for its loop's standard streams when the thread that has it dies.
struct Streamer(Loop);

impl Drop for Streamer {
    fn drop(&mut self) {
        let Streamer(lp) = self;
        stdio::stdin(lp).on_data(|_, _| {});
        stdio::stdout(lp).write("");
        stdio::stderr(lp).write("");
    }
}

/// What remembers them may be gone by then; a panic there would end the process.
#[test]
fn standard_streams_in_a_thread_locals_destructor() {
    thread_local! {
        static STREAMER: RefCell<Option<Streamer>> = const { RefCell::new(None) };
    }
    for first in [false, true] {
        let thread = std::thread::spawn(move || {
            if first {
                STREAMER.with(|_| {});
            }
            let lp = Loop::new().unwrap();
            let _ = (stdio::stdin(&lp), stdio::stdout(&lp), stdio::stderr(&lp));
            STREAMER.set(Some(Streamer(lp)));
        });
        join(thread);
    }
}

#[test]
fn dropping_a_loop_inside_a_listener_of_another() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let other = Loop::new().unwrap();
    let (socket, peer) = pair(&other);
    let log = Recorder::new();
    let held = on_drop({
        let log = log.clone();
        move || {
            log.note("dropped");
            socket.write("too late");
        }
    });
    socket.on_data(move |_, _| held.hold());
    lp.set_immediate(move |_| drop(other));
    lp.run().unwrap();
    log.expect(&["dropped"]);
    assert_eq!(read_to_end(&peer), b"");
}

/// A callback that is given to a loop that is gone is dropped by the call, also where another loop has its
/// place by now; what it captured may do anything there.
#[test]
fn a_callback_for_a_loop_that_is_gone_may_own_another_loop() {
    let gone = Loop::new().unwrap().handle();
    let _successor = Loop::new().unwrap();
    let other = Loop::new().unwrap();
    let making = on_drop(|| drop(Loop::new().unwrap()));
    gone.set_timeout_once(1, move |_| drop(other));
    gone.spawn_blocking(|| {}, move |_, _| making.hold());
}

/// A loop that is gone gave its successor's socket back.
#[test]
fn a_name_of_a_successors_object_names_nothing_for_a_loop_that_is_gone() {
    let gone = Loop::new().unwrap().handle();
    let successor = Loop::new().unwrap();
    let (socket, _peer) = pair(&successor);
    assert!(!socket.destroyed());
    assert_eq!(successor.handle().socket(socket.id()), socket);
    assert!(gone.socket(socket.id()).destroyed());
}
