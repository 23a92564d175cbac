//! Traces of sockets with their whole state beside each event, and the raw peers that go with them.
//!
//! A line is an event and the socket's state at that moment:
//! `end [---- writeOnly -wE-- 2/0 wl0 - lm]` says that it is neither connecting (`c`), pending (`p`),
//! destroyed (`d`) nor closed (`C`); its ready state; that it is not readable (`r`) but writable
//! (`w`), has emitted 'end' (`E`), was not ended (`e`) and has not finished (`f`); bytes read and
//! written; bytes that wait; the first error; and that it has a local (`l`) and a remote (`m`)
//! address. The expected traces were printed by Node 26 in the same form.

use std::io;
use std::net::{SocketAddr, TcpStream};

use nodeloop::net::Socket;
use nodeloop::{Builder, Loop};

use super::over_unix::new_path;
use super::{Recorder, code_of, deadline, over_unix, path_of};

/// Everything that can be asked of a socket.
pub fn state(socket: Socket) -> String {
    let mark = |yes: bool, mark: char| if yes { mark } else { '-' };
    format!(
        "[{}{}{}{} {} {}{}{}{}{} {}/{} wl{} {} {}{}]",
        mark(socket.connecting(), 'c'),
        mark(socket.pending(), 'p'),
        mark(socket.destroyed(), 'd'),
        mark(socket.closed(), 'C'),
        socket.ready_state().as_str(),
        mark(socket.readable(), 'r'),
        mark(socket.writable(), 'w'),
        mark(socket.readable_ended(), 'E'),
        mark(socket.writable_ended(), 'e'),
        mark(socket.writable_finished(), 'f'),
        socket.bytes_read(),
        socket.bytes_written(),
        socket.writable_length(),
        socket.errored().map_or("-".to_string(), |e| code_of(&e)),
        mark(socket.local_address().is_some(), 'l'),
        mark(socket.remote_address().is_some(), 'm'),
    )
}

impl Recorder {
    /// Notes a word and the state of a socket.
    pub fn state(&self, word: &str, socket: Socket) {
        self.note(format!("{word} {}", state(socket)));
    }

    fn stating(&self, word: &'static str) -> impl FnMut(Socket) + 'static {
        let log = self.clone();
        move |socket| log.state(word, socket)
    }

    /// Notes everything that a socket emits, with its state.
    pub fn trace(&self, socket: Socket) {
        let log = self.clone();
        socket.on_data(move |_, chunk| {
            log.note(format!("data {}", String::from_utf8_lossy(chunk)));
        });
        self.trace_but_data(socket);
    }

    /// The same, but adds no 'data' listener.
    pub fn trace_but_data(&self, socket: Socket) {
        let log = self.clone();
        socket.on_connection_attempt(move |socket, _| log.state("attempt", socket));
        let log = self.clone();
        socket.on_connection_attempt_failed(move |socket, _, error| {
            log.state(&format!("attemptFailed {}", code_of(error)), socket);
        });
        socket.on_connect(self.stating("connect"));
        socket.on_ready(self.stating("ready"));
        socket.on_end(self.stating("end"));
        socket.on_finish(self.stating("finish"));
        socket.on_drain(self.noting("drain"));
        let log = self.clone();
        socket.on_error(move |socket, error| {
            log.state(&format!("error {}", code_of(error)), socket);
        });
        let log = self.clone();
        socket.on_close(move |socket, had_error| {
            log.state(&format!("close {had_error}"), socket);
        });
    }

    /// Fails unless exactly these lines were noted since the last look, in this order.
    #[track_caller]
    pub fn expect_lines(&self, expected: &str) {
        let expected: Vec<_> = expected.lines().map(str::trim).collect();
        let expected: Vec<_> = expected.into_iter().filter(|it| !it.is_empty()).collect();
        let expected = match over_unix() {
            true => as_over_unix(&expected),
            false => expected.into_iter().map(str::to_string).collect(),
        };
        let noted = self.take();
        assert!(
            noted == expected,
            "noted:\n{}\nexpected:\n{}",
            noted.join("\n"),
            expected.join("\n")
        );
    }
}

/// The same lines over a Unix socket: it has no addresses, and its attempt to connect is none to be
/// told of.
fn as_over_unix(lines: &[&str]) -> Vec<String> {
    let told = |line: &&&str| !line.starts_with("attempt");
    let lines = lines.iter().filter(told);
    let marks = [" lm]", " l-]", " -m]"];
    lines
        .map(|line| {
            let mark = marks.iter().find_map(|mark| line.strip_suffix(mark));
            mark.map_or(line.to_string(), |line| format!("{line} --]"))
        })
        .collect()
}

/// Plays a scene on the usual loop and on those that force what does not show in a trace, runs the
/// loop to its end, and compares what was noted.
#[track_caller]
pub fn scene(expected: &str, play: impl Fn(&Loop, &Recorder)) {
    let builders: [(&str, fn(Builder) -> Builder); 3] = [
        ("usual", |builder| builder),
        ("a budget of one read", |builder| builder.read_budget(1)),
        ("spurious events", |builder| builder.spurious_events(true)),
    ];
    for (name, build) in builders {
        // Shown by the harness if the test fails.
        println!("on a loop with {name}");
        let lp = build(Loop::builder()).build().unwrap();
        let _deadline = deadline(&lp, 20);
        let log = Recorder::new();
        play(&lp, &log);
        lp.run().unwrap();
        log.expect_lines(expected);
        assert_eq!(lp.handles().len(), 0, "{:?}", lp.handles());
    }
}

/// A raw peer that listens.
pub fn raw_listener() -> (RawListener, SocketAddr) {
    let (listener, address) = match over_unix() {
        true => at_new_path(),
        false => at_any_port("127.0.0.1"),
    };
    listener.listen(128).unwrap();
    (RawListener(listener, address), address)
}

/// An address that refuses as long as this lives: bound, so nobody else gets it, but not listening.
/// Over Unix sockets it is a path, whatever the host.
pub fn refusing(host: &str) -> (RawListener, SocketAddr) {
    let (socket, address) = match over_unix() {
        true => at_new_path(),
        false => at_any_port(host),
    };
    (RawListener(socket, address), address)
}

/// A listening socket of either kind.
pub struct RawListener(socket2::Socket, SocketAddr);

impl RawListener {
    /// A connection, and the peer's address if it has one.
    pub fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (stream, peer) = self.0.accept()?;
        Ok((stream.into(), peer.as_socket()))
    }

    /// The socket, for its options.
    pub fn socket(&self) -> &socket2::Socket {
        &self.0
    }

    pub fn set_nonblocking(&self, yes: bool) -> io::Result<()> {
        self.0.set_nonblocking(yes)
    }
}

impl Drop for RawListener {
    fn drop(&mut self) {
        if let Some(path) = path_of(self.1) {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn at_new_path() -> (socket2::Socket, SocketAddr) {
    let (path, address) = new_path();
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&socket2::SockAddr::unix(path).unwrap())
        .unwrap();
    (socket, address)
}

fn at_any_port(host: &str) -> (socket2::Socket, SocketAddr) {
    let any_port: SocketAddr = format!("{host}:0").parse().unwrap();
    let domain = socket2::Domain::for_address(any_port);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
    socket.bind(&any_port.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// A port that neither accepts nor refuses as long as this lives: its backlog is full.
pub fn deaf() -> (Vec<socket2::Socket>, SocketAddr) {
    let (listener, address) = at_any_port("127.0.0.1");
    listener.listen(0).unwrap();
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_nonblocking(true).unwrap();
        // In progress; the first may stand already.
        let _ = socket.connect(&address.into());
        sockets.push(socket);
    }
    (sockets, address)
}
