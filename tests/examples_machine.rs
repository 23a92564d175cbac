//! The examples that show the machine, as programs: why a loop is alive, a loop inside another, the
//! log of a turn.

mod support_process;

#[cfg(unix)]
use std::net::SocketAddr;
use std::process::Command;
#[cfg(unix)]
use std::time::Instant;

#[cfg(unix)]
use support_process::DEADLINE;
use support_process::Process;
use support_process::examples::{Client, Server, executable};

#[test]
fn why_alive_tells_of_the_forgotten_timer_and_of_the_peer() {
    let mut server = Server::start("why_alive", &[]);
    let mut client = server.connect();
    client.hears("goodbye");
    client.hears_end();
    let peer = client.address();
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
        let line = server.line().expect("it runs");
        assert!(line.starts_with(expected), "{line}");
    }
    client.ends();
    // It may have been asked once more in between.
    server.prints_until("nothing left to do");
    server.ends_well();
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
    let mut server = Server::start("embedded", &[]);
    let address = server.address;
    assert_eq!(ask(address, "count\n"), "connections: 0\n");
    let (mut gone, mut left) = (server.connect(), server.connect());
    for client in [&mut gone, &mut left] {
        client.says("Hello");
        client.reads("Hello");
    }
    assert_eq!(ask(address, "count"), "connections: 2\n");
    assert_eq!(ask(address, "what?"), "count or bye?\n");
    gone.ends();
    gone.hears_end();
    assert_eq!(ask(address, "count"), "connections: 1\n");
    assert_eq!(ask(address, "bye\n"), "bye\n");
    left.hears_end();
    server.prints("nothing left to do");
    server.ends_well();
}

#[cfg(unix)]
#[test]
fn embedded_cuts_off_who_neither_speaks_nor_ends() {
    let mut server = Server::start("embedded", &["100"]);
    let address = server.address;
    let mut silent = server.connect();
    silent.hears("too slow");
    silent.hears_end();
    // Sends more than the kernel keeps, and does not read what comes back.
    let mut stuck = server.connect();
    while std::io::Write::write_all(&mut stuck.stream, &[b'x'; 65536]).is_ok() {}
    let deadline = Instant::now() + DEADLINE;
    while ask(address, "count") != "connections: 0\n" {
        assert!(Instant::now() < deadline, "they are still there");
    }
    assert_eq!(ask(address, "bye"), "bye\n");
    server.prints("nothing left to do");
    server.ends_well();
}

#[cfg(unix)]
#[test]
fn embedded_says_what_is_wrong_with_its_address() {
    let server = Server::start("embedded", &[]);
    let address = server.address.to_string();
    let mut second = Process::start(Command::new(executable("embedded")).arg(&address));
    let message = format!("Error: listen EADDRINUSE: address already in use {address}");
    second.fails(1, &message);
}

/// What people try first: the log at level trace tells each turn and phase, and what was done there.
#[test]
fn rust_log_trace_tells_what_the_echo_server_does() {
    let mut command = Command::new("sh");
    command.env("RUST_LOG", "trace");
    // The log goes to stderr; here both streams are one, so that they are in order.
    command.args(["-c", "exec \"$0\" \"$@\" 2>&1"]);
    let mut process = Process::start(command.arg(executable("echo")).arg("127.0.0.1:0"));
    let mut lines = process.prints_until("listening on ");
    let address = lines
        .last()
        .and_then(|line| line.strip_prefix("listening on "));
    let address = address.and_then(|address| address.parse().ok());
    let mut client = Client::connect(address.expect("an address"));
    client.says("Hello");
    client.reads("Hello");
    client.ends();
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
        " poll: sends 1 write of Socket(0.1#",
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
