//! The vocabulary of the integration tests.
//!
//! The peer of a loop under test is a `std` socket: in the test's own thread where the steps are
//! to be in a fixed order ([`connect`], [`turn_until`]), in a thread of its own where both sides
//! have to move at once ([`client`]). Nothing here waits without a limit.

// Every test file is a program of its own and uses a part of this.
#![allow(dead_code)]

pub mod calls;
pub mod files;
pub mod hosts;
pub mod on_and_off;
mod over_unix;
pub mod own_network;
#[cfg(unix)]
pub mod paths;
pub mod reasons;
pub mod relay;
pub mod sent_file;
pub mod traced;
pub mod udp;

use std::cell::{Cell, RefCell};
use std::fmt::{Debug, Display};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::AssertUnwindSafe;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nodeloop::net::{self, ReadyState, Server, ServerOptions, Socket};
use nodeloop::{AsLoop, Builder, Loop, LoopHandle};

#[allow(unused_imports, reason = "every test file uses a part")]
pub use over_unix::{
    address_of, anywhere, at, new_path, over_unix, path_of, target, tcp_only, try_connect,
};

/// How long a `std` socket waits for its peer: far longer than any test takes.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A log of events, shared by the listeners of a test.
#[derive(Clone, Default)]
pub struct Recorder(Rc<RefCell<Vec<String>>>);

impl Recorder {
    pub fn new() -> Recorder {
        Recorder::default()
    }

    pub fn note(&self, event: impl Display) {
        self.0.borrow_mut().push(event.to_string());
    }

    /// A closure that notes `event` whenever it is called.
    pub fn noting<A>(&self, event: &'static str) -> impl FnMut(A) + 'static {
        let log = self.clone();
        move |_| log.note(event)
    }

    /// A completion that notes its outcome: `name ok`, or `name CODE`.
    pub fn done(&self, name: &'static str) -> impl FnOnce(nodeloop::Result<()>) + 'static {
        let log = self.clone();
        move |result| match result {
            Ok(()) => log.note(format!("{name} ok")),
            Err(error) => log.note(format!("{name} {}", code_of(&error))),
        }
    }

    /// Notes everything that a socket emits, 'data' as its text.
    pub fn follow(&self, socket: Socket) {
        let log = self.clone();
        socket.on_data(move |_, chunk| {
            log.note(format!("data {}", String::from_utf8_lossy(chunk)));
        });
        self.follow_but_data(socket);
    }

    /// Notes everything that a socket emits, but adds no 'data' listener.
    pub fn follow_but_data(&self, socket: Socket) {
        socket.on_end(self.noting("end"));
        socket.on_finish(self.noting("finish"));
        socket.on_drain(self.noting("drain"));
        let log = self.clone();
        socket.on_error(move |_, error| log.note(format!("error {}", code_of(error))));
        let log = self.clone();
        socket.on_close(move |_, had_error| log.note(format!("close {had_error}")));
    }

    pub fn has(&self, event: &str) -> bool {
        self.count(event) > 0
    }

    pub fn count(&self, event: &str) -> usize {
        self.0
            .borrow()
            .iter()
            .filter(|noted| *noted == event)
            .count()
    }

    /// What was noted last.
    pub fn last(&self) -> Option<String> {
        self.0.borrow().last().cloned()
    }

    /// What was noted so far, which is forgotten.
    pub fn take(&self) -> Vec<String> {
        self.0.take()
    }

    /// Fails unless exactly these events were noted since the last look, in this order.
    #[track_caller]
    pub fn expect(&self, events: &[&str]) {
        assert_eq!(self.take(), events);
    }
}

/// An error's code; its text if it has none.
pub fn code_of(error: &nodeloop::Error) -> String {
    error
        .code()
        .map_or_else(|| error.to_string(), str::to_string)
}

/// The code that an `Err` carries.
#[track_caller]
pub fn code<T: Debug>(result: nodeloop::Result<T>) -> &'static str {
    let error = result.expect_err("an error was expected");
    error.code().expect("the error has a code")
}

/// What every query of a socket answers once it is gone.
#[track_caller]
pub fn expect_gone(socket: Socket) {
    assert!(socket.destroyed());
    assert_eq!((socket.bytes_read(), socket.bytes_written()), (0, 0));
    assert_eq!((socket.readable_length(), socket.writable_length()), (0, 0));
    assert_eq!((socket.readable(), socket.writable()), (false, false));
    assert_eq!(socket.ready_state(), ReadyState::Closed);
    assert_eq!(
        (socket.remote_address(), socket.local_address()),
        (None, None)
    );
    assert_eq!(socket.address(), None);
    assert_eq!(socket.server(), None);
    assert!(socket.errored().is_none());
    assert!(!socket.has_ref() && !socket.is_paused() && !socket.writable_need_drain());
    assert!(!socket.write("text"));
}

/// Ends a test that hangs; disarmed when it is dropped, and then holds nothing of the loop's any more.
#[must_use = "the test is watched as long as this lives"]
pub struct Deadline {
    /// Its end disarms.
    armed: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.armed = None;
        // The thread holds a descriptor of the loop's, which tests count.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Has the test fail after `secs`, telling what is still alive. It holds the loop no longer than it would live
/// without, and leaves nothing in it: a timer would keep its turns from being calm ones, which most programs
/// have most of the time.
///
/// A loop that still turns ends by a panic; one that does not is ended with the whole process.
pub fn deadline(lp: &impl AsLoop, secs: u64) -> Deadline {
    let remote = lp.event_loop().remote();
    watch(secs, move || {
        let over = move |lp: LoopHandle| panic!("over after {secs} s; {}", lp.why_alive());
        // A loop that is gone has ended.
        let _ = remote.post(over);
    })
}

/// Ends the whole process after `secs`: for what nothing in the loop can end.
pub fn watched(secs: u64) -> Deadline {
    watch(secs, || {})
}

/// After `secs` does `first`, and soon after that ends the whole process.
fn watch(secs: u64, first: impl FnOnce() + Send + 'static) -> Deadline {
    let (armed, disarmed) = mpsc::channel();
    let test = thread::current().name().unwrap_or("a test").to_string();
    let thread = thread::spawn(move || {
        let is_over = |secs| {
            let limit = Duration::from_secs(secs);
            disarmed.recv_timeout(limit) == Err(RecvTimeoutError::Timeout)
        };
        if !is_over(secs) {
            return;
        }
        first();
        if is_over(2) {
            // Past the capture of output, which ends with the process.
            let _ = writeln!(std::io::stderr(), "{test} hangs: over after {secs} s");
            std::process::abort();
        }
    });
    Deadline {
        armed: Some(armed),
        thread: Some(thread),
    }
}

/// Any port at 127.0.0.1.
pub fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A server that listens at a port of 127.0.0.1, or at a path (see [`over_unix`]), and its address.
pub fn listening(
    lp: &impl AsLoop,
    on_connection: impl FnMut(Socket) + 'static,
) -> (Server, SocketAddr) {
    listening_with(lp, ServerOptions::new(), on_connection)
}

/// The same with options.
pub fn listening_with(
    lp: &impl AsLoop,
    options: ServerOptions,
    on_connection: impl FnMut(Socket) + 'static,
) -> (Server, SocketAddr) {
    let server = net::create_server_with(lp, options, on_connection);
    // There is nothing to look up, so it listens when this returns.
    server.listen(anywhere()).unwrap();
    (server, address_of(server))
}

/// An accepted socket that nobody listens to yet, and its peer. Its server listens no more.
pub fn pair(lp: &Loop) -> (Socket, TcpStream) {
    pair_with(lp, ServerOptions::new(), connect)
}

/// The same with options, and a peer made by `connect`.
pub fn pair_with(
    lp: &Loop,
    options: ServerOptions,
    connect: impl FnOnce(SocketAddr) -> TcpStream,
) -> (Socket, TcpStream) {
    let accepted = Rc::new(Cell::new(None));
    let socket = accepted.clone();
    let (server, address) = listening_with(lp, options, move |new| socket.set(Some(new)));
    let peer = connect(address);
    turn_until(lp, || accepted.get().is_some());
    server.close();
    (accepted.get().expect("it was accepted"), peer)
}

/// A connection to `address` from this thread. It stands when this returns: whoever listens need
/// not have accepted it yet.
pub fn connect(address: SocketAddr) -> TcpStream {
    patient(try_connect(address).unwrap())
}

/// The same with a receive buffer of about `bytes`, so that its peer's writes soon stall.
pub fn connect_narrow(address: SocketAddr, bytes: usize) -> TcpStream {
    if over_unix() {
        // What a Unix socket takes is its writer's to say.
        return connect(address);
    }
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(bytes).unwrap();
    socket.connect(&address.into()).unwrap();
    patient(socket.into())
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A client in a thread of its own. Its result is behind [`join`].
pub fn client<T: Send + 'static>(
    address: SocketAddr,
    talk: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> JoinHandle<T> {
    thread::spawn(move || talk(connect(address)))
}

/// The result of a client; its panic is the test's.
pub fn join<T>(client: JoinHandle<T>) -> T {
    client
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Everything up to the peer's end.
pub fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Sends bytes and ends this side.
pub fn send_and_end(mut stream: &TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Ends a connection with a reset instead of an end.
pub fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

/// How a connection ended, read to its end: `end` or the error's kind.
pub fn ending(mut stream: &TcpStream) -> String {
    match std::io::copy(&mut stream, &mut std::io::sink()) {
        Ok(_) => "end".to_string(),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => "reset".to_string(),
        Err(error) => format!("{error:?}"),
    }
}

/// Turns the loop until `done` says so. The test's [`deadline`] is the limit.
#[track_caller]
pub fn turn_until(lp: &Loop, mut done: impl FnMut() -> bool) {
    while !done() {
        // What is queued may do it, and then there may be nothing to wait for.
        lp.run_nowait().unwrap();
        if done() {
            return;
        }
        let alive = lp.run_once().unwrap();
        assert!(alive || done(), "the loop ended before it was done");
    }
}

/// A loop that a listening server keeps alive, which waits without limit.
#[track_caller]
pub fn waiting_loop() -> (Loop, Server, Deadline) {
    let lp = Loop::new().unwrap();
    let (server, _) = listening(&lp, |_| {});
    // What was queued by `listen`, and what the registration reports.
    lp.run_nowait().unwrap();
    let deadline = deadline(&lp, 10);
    (lp, server, deadline)
}

/// Keeps the program busy, as a long calculation does, without a look at the loop's clock.
pub fn block(ms: u64) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(ms) {
        std::hint::spin_loop();
    }
}

/// Runs a test on the usual loop, and on loops that force the rare paths. `narrow` reads and
/// writes of one byte make large transfers slow: keep them small.
pub fn on_every_loop(test: impl Fn(&Loop)) {
    let builders: [(&str, fn(Builder) -> Builder); 8] = [
        ("usual", |builder| builder),
        ("no gathering", |builder| builder.gather(false)),
        ("no gathering, one-byte writes", |builder| {
            builder.gather(false).limit_writes(1)
        }),
        ("one-byte reads", |builder| builder.limit_reads(1)),
        ("one-byte writes", |builder| builder.limit_writes(1)),
        ("a budget of one read", |builder| builder.read_budget(1)),
        ("spurious events", |builder| builder.spurious_events(true)),
        ("all of it", |builder| {
            let builder = builder.limit_reads(1).limit_writes(1);
            builder.read_budget(1).spurious_events(true)
        }),
    ];
    for (name, build) in builders {
        // Shown by the harness if the test fails.
        println!("on a loop with {name}");
        let lp = build(Loop::builder()).build().unwrap();
        test(&lp);
    }
}

/// Does something when it is dropped: what a listener captures, to see or misuse its end.
pub struct OnDrop(Option<Box<dyn FnOnce()>>);

pub fn on_drop(act: impl FnOnce() + 'static) -> OnDrop {
    OnDrop(Some(Box::new(act)))
}

impl OnDrop {
    /// Has a closure capture it, without doing anything.
    pub fn hold(&self) {}
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

/// Does something that is expected to panic, and gives the panic's message.
#[track_caller]
pub fn caught<T>(act: impl FnOnce() -> T) -> String {
    let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(act)) else {
        panic!("a panic was expected");
    };
    match panic.downcast::<&str>() {
        Ok(message) => message.to_string(),
        Err(panic) => *panic.downcast::<String>().expect("a message"),
    }
}

/// How many descriptors this process has open; none where the system does not tell. Tests that
/// compare two counts must not run beside others.
pub fn open_descriptors() -> Option<usize> {
    let directory = std::fs::read_dir("/proc/self/fd").ok()?;
    // One of them is the directory itself.
    Some(directory.count() - 1)
}

/// Runs the test `name` in a process of its own, begun by `sh` with `limits`: for what concerns
/// the whole process. `body` is what that process does, and `meanwhile` what this one does, with
/// the other's output.
pub fn in_own_process(
    name: &str,
    limits: &str,
    body: impl FnOnce(),
    meanwhile: impl FnOnce(&mut dyn BufRead),
) {
    const ROLE: &str = "NODELOOP_TEST_PROCESS";
    if std::env::var_os(ROLE).is_some_and(|role| role == name) {
        body();
        return println!("{name} is over");
    }
    let _deadline = watched(60);
    let mut process = Command::new("sh")
        .args(["-c", &format!("{limits} exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ROLE, name)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    meanwhile(&mut output);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let succeeded = process.wait().unwrap().success();
    // Without the line it was another test, or none, that succeeded.
    let over = rest.contains(&format!("{name} is over"));
    assert!(succeeded && over, "{name} in its own process: {rest}");
}

/// What the other process printed behind `label`, on the first line that has it.
pub fn printed(output: &mut dyn BufRead, label: &str) -> String {
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        if let Some((_, said)) = line.split_once(label) {
            return said.trim().to_string();
        }
        line.clear();
    }
    panic!("the other process ended without saying {label}");
}
