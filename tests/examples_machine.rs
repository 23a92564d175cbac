//! The examples that show the machine, as programs: why a loop is alive, a loop inside another.

mod support_process;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;

use support_process::programs::executable;
use support_process::{DEADLINE, Process};

/// Starts an example that listens at any port, and tells where.
fn listening(name: &str) -> (Process, SocketAddr) {
    let mut process = Process::start(Command::new(executable(name)).arg("127.0.0.1:0"));
    let line = process.line().expect("it runs");
    let address = line
        .strip_prefix("listening on ")
        .and_then(|address| address.parse().ok())
        .expect("a line with its address");
    (process, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).expect("it listens");
    client.set_read_timeout(Some(DEADLINE)).expect("not zero");
    client.set_write_timeout(Some(DEADLINE)).expect("not zero");
    client
}

#[test]
fn why_alive_tells_of_the_forgotten_timer_and_of_the_peer() {
    let (mut process, address) = listening("why_alive");
    let mut client = connect(address);
    let mut goodbye = String::new();
    client.read_to_string(&mut goodbye).expect("it ends");
    assert_eq!(goodbye, "goodbye\n");
    let peer = client.local_addr().expect("it is connected");

    // Asked twice: with the forgotten timer, and without.
    let socket = format!("  socket     reading, accepted from {peer} (examples/why_alive.rs:");
    let expected = [
        "2 things keep the loop alive:",
        &socket,
        "  timer      every 60000 ms, due in ",
        "1 is unreferenced and keeps nothing alive:",
        "  timer      every 1000 ms, its callback is running (examples/why_alive.rs:",
        "1 thing keeps the loop alive:",
        &socket,
        "1 is unreferenced and keeps nothing alive:",
        "  timer      every 1000 ms, its callback is running (examples/why_alive.rs:",
    ];
    for expected in expected {
        let line = process.line().expect("it runs");
        assert!(line.starts_with(expected), "{line}");
    }
    client.shutdown(Shutdown::Write).expect("it is connected");
    let mut rest = Vec::new();
    let ended = process.ended(|line| rest.push(line));
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(rest.last().map(String::as_str), Some("nothing left to do"));
}

/// Asks over UDP.
#[cfg(unix)]
fn ask(address: SocketAddr, question: &str) -> String {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.set_read_timeout(Some(DEADLINE)).expect("not zero");
    socket.send_to(question.as_bytes(), address).expect("sent");
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[cfg(unix)]
#[test]
fn embedded_serves_both_loops_and_ends() {
    let (mut process, address) = listening("embedded");
    assert_eq!(ask(address, "count\n"), "connections: 0\n");
    let mut clients = [connect(address), connect(address)];
    for client in &mut clients {
        client.write_all(b"Hello").expect("it is connected");
        let mut answer = [0; 5];
        client.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"Hello");
    }
    assert_eq!(ask(address, "count"), "connections: 2\n");
    assert_eq!(ask(address, "what?"), "count or bye?\n");
    let [gone, mut left] = clients;
    gone.shutdown(Shutdown::Write).expect("it is connected");
    let mut rest = Vec::new();
    (&gone).read_to_end(&mut rest).expect("it ends");
    assert_eq!(ask(address, "count"), "connections: 1\n");
    assert_eq!(ask(address, "bye\n"), "bye\n");
    left.read_to_end(&mut rest).expect("it ends");
    assert!(rest.is_empty());
    let mut lines = Vec::new();
    let ended = process.ended(|line| lines.push(line));
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(lines, ["nothing left to do"]);
}

#[cfg(unix)]
#[test]
fn embedded_says_what_is_wrong_with_its_address() {
    let (_process, address) = listening("embedded");
    let mut command = Command::new(executable("embedded"));
    let mut second = Process::start(command.arg(address.to_string()));
    let ended = second.ended(|line| panic!("it printed {line}"));
    assert_eq!(ended.status.code(), Some(1));
    let expected = format!("listen EADDRINUSE: address already in use {address}\n");
    assert_eq!(ended.stderr, expected);
}

/// What people try first: the log at level trace tells each turn and phase, and what was done there.
#[test]
fn rust_log_trace_tells_what_the_echo_server_does() {
    let mut command = Command::new("sh");
    command.env("RUST_LOG", "trace");
    // The log goes to stderr; here both streams are one, so that they are in order.
    command.args(["-c", "exec \"$0\" \"$@\" 2>&1"]);
    let mut process = Process::start(command.arg(executable("echo")).arg("127.0.0.1:0"));
    let mut lines = Vec::new();
    let address = loop {
        let line = process.line().expect("it runs");
        match line.strip_prefix("listening on ") {
            Some(address) => break address.parse::<SocketAddr>().expect("an address"),
            None => lines.push(line),
        }
    };
    let mut client = connect(address);
    client.write_all(b"Hello").expect("it is connected");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("an answer");
    client.shutdown(Shutdown::Write).expect("it is connected");
    while !lines
        .last()
        .is_some_and(|line| line.contains("closing: 'close' to "))
    {
        lines.push(process.line().expect("it runs"));
    }
    // In this order, with others between them.
    let expected = [
        "[DEBUG nodeloop::net] Server(0.0#",
        "listens at 127.0.0.1:0",
        "[TRACE nodeloop::event_loop] between turns: tick: 'listening' to Server(0.0#",
        "[TRACE nodeloop::event_loop] turn 1 pending, idle, prepare: nothing to do",
        "turn 1 poll: waits until something happens",
        "turn 1 poll: Server(0.0#",
        "turn 1 poll: 'connection' to Server(0.0#",
        "check, closing, timers: nothing to do",
        " is readable, writable",
        " poll: 'data' to Socket(0.1#",
        ".write(5 bytes)",
        ", ended by its peer",
        " poll: tick: 'end' to Socket(0.1#",
        " poll: tick: the peer has ended, so this side ends: Socket(0.1#",
        " pending again: half-close of Socket(0.1#",
        " pending again: tick: 'finish' to Socket(0.1#",
        " closing: 'close' to Socket(0.1#",
    ];
    let mut at = 0;
    for expected in expected {
        let found = lines[at..].iter().position(|line| line.contains(expected));
        let Some(found) = found else {
            panic!("{expected}\nis missing in\n{}", lines.join("\n"));
        };
        at += found;
    }
}
