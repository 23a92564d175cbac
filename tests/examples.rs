//! The example servers as what they are: programs, with clients that are programs too.

mod support_process;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use support_process::programs::executable;
use support_process::{DEADLINE, Process};

/// The examples that are servers.
const SERVERS: [&str; 2] = ["echo", "first_server"];

/// A running example.
struct Server {
    process: Process,
    address: SocketAddr,
}

impl Server {
    fn start(name: &str) -> Server {
        let mut process = Process::start(Command::new(executable(name)).arg("127.0.0.1:0"));
        let line = process.line().expect("it runs");
        let address = line
            .strip_prefix("listening on ")
            .expect("a line with its address");
        Server {
            address: address.parse().expect("an address"),
            process,
        }
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).expect("it listens");
        client.set_read_timeout(Some(DEADLINE)).expect("not zero");
        client.set_write_timeout(Some(DEADLINE)).expect("not zero");
        client
    }

    /// Checks what it prints next.
    fn prints(&mut self, expected: &str) {
        assert_eq!(self.process.line().expect("it runs"), expected);
    }

    /// What it prints next, up to a line that begins so.
    fn prints_until(&mut self, beginning: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.process.line().expect("it runs");
            let over = line.starts_with(beginning);
            lines.push(line);
            if over {
                return lines;
            }
        }
    }
}

fn address_of(client: &TcpStream) -> SocketAddr {
    client.local_addr().expect("it is connected")
}

/// Reads as many bytes as are expected, and compares.
fn reads(client: &mut TcpStream, expected: &[u8]) {
    let mut answer = vec![0; expected.len()];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, expected);
}

/// The server ends its side too, and sends nothing before.
fn reads_end(client: &mut TcpStream) {
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("no reset");
    assert_eq!(rest, b"");
}

#[test]
fn echo_answers_and_ends_when_its_peer_ends() {
    let mut server = Server::start("echo");
    let mut client = server.connect();
    let peer = address_of(&client);
    server.prints(&format!("{peer} connected"));
    for message in ["Hello", "is there anybody?"] {
        client
            .write_all(message.as_bytes())
            .expect("it is connected");
        reads(&mut client, message.as_bytes());
    }
    client.shutdown(Shutdown::Write).expect("it is connected");
    reads_end(&mut client);
    server.prints(&format!("{peer} ended"));
    server.prints(&format!("{peer} closed after 22 bytes"));
}

#[test]
fn echo_sends_the_rest_to_a_peer_that_ends_before_it_reads() {
    const SIZE: usize = 8 * 1024 * 1024;
    let mut server = Server::start("echo");
    let mut client = server.connect();
    let peer = address_of(&client);
    server.prints(&format!("{peer} connected"));
    let mut outgoing = client.try_clone().expect("a descriptor is free");
    let sender = std::thread::spawn(move || {
        let bytes: Vec<u8> = (0..SIZE).map(|number| (number % 251) as u8).collect();
        outgoing.write_all(&bytes)?;
        outgoing.shutdown(Shutdown::Write)
    });
    let mut received = Vec::new();
    client.read_to_end(&mut received).expect("no reset");
    sender
        .join()
        .expect("it does not panic")
        .expect("all is taken");
    assert_eq!(received.len(), SIZE);
    let right = received
        .iter()
        .enumerate()
        .all(|(number, &byte)| byte == (number % 251) as u8);
    assert!(right, "wrong bytes");
    server.prints(&format!("{peer} ended"));
    server.prints(&format!("{peer} closed after {SIZE} bytes"));
}

#[test]
fn first_server_says_what_happens() {
    let mut server = Server::start("first_server");
    let mut client = server.connect();
    let peer = address_of(&client);
    server.prints(&format!("CONNECTED: {peer}"));
    client.write_all(b"Hello").expect("it is connected");
    reads(&mut client, b"Server got: Hello");
    server.prints("DATA 127.0.0.1: Hello");
    client.shutdown(Shutdown::Write).expect("it is connected");
    reads_end(&mut client);
    server.prints(&format!("CLOSED: 127.0.0.1 {}", peer.port()));
}

#[test]
fn first_server_survives_what_is_no_text() {
    let mut server = Server::start("first_server");
    let mut client = server.connect();
    server.prints_until("CONNECTED");
    client.write_all(b"\xFF\xFE").expect("it is connected");
    reads(&mut client, b"Server got: \xFF\xFE");
    server.prints("DATA 127.0.0.1: \u{FFFD}\u{FFFD}");
}

#[test]
fn a_peer_that_resets_ends_its_own_connection_only() {
    for name in SERVERS {
        let mut server = Server::start(name);
        let client = server.connect();
        let peer = address_of(&client);
        let mut other = server.connect();
        server.prints_until(&connected(name, peer));
        server.prints_until(&connected(name, address_of(&other)));
        // Closed without lingering: the peer gets a reset instead of an end.
        let linger = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
        linger.expect("it is a socket");
        drop(client);
        let lines = match name {
            "echo" => server.prints_until(&format!("{peer} closed")),
            _ => server.prints_until("CLOSED"),
        };
        if name == "echo" {
            assert_eq!(lines[0], format!("{peer} failed: read ECONNRESET"));
        }
        other.write_all(b"Hello").expect("it is connected");
        match name {
            "echo" => reads(&mut other, b"Hello"),
            _ => reads(&mut other, b"Server got: Hello"),
        }
    }
}

/// What a server prints about a new connection.
fn connected(name: &str, peer: SocketAddr) -> String {
    match name {
        "echo" => format!("{peer} connected"),
        _ => format!("CONNECTED: {peer}"),
    }
}

#[test]
fn an_address_in_use_is_a_message_and_a_failure() {
    for name in SERVERS {
        let server = Server::start(name);
        let address = server.address.to_string();
        let mut second = Process::start(Command::new(executable(name)).arg(&address));
        let ended = second.ended(|line| panic!("it printed {line}"));
        assert_eq!(ended.status.code(), Some(1), "{name}: {}", ended.stderr);
        let expected = format!("listen EADDRINUSE: address already in use {address}\n");
        assert_eq!(ended.stderr, expected, "{name}");
    }
}

#[test]
fn what_is_no_address_is_a_message_and_a_failure() {
    for name in SERVERS {
        let mut process = Process::start(Command::new(executable(name)).arg("nowhere"));
        let ended = process.ended(|line| panic!("it printed {line}"));
        assert_eq!(ended.status.code(), Some(2), "{name}");
        let expected = format!("nowhere is no address; usage: {name} [ADDRESS:PORT]\n");
        assert_eq!(ended.stderr, expected);
    }
}

// Other people's clients, where they are installed.

#[test]
fn nc_gets_its_answers() {
    if !is_installed("nc") {
        return;
    }
    for (name, expected) in [("echo", "Hello"), ("first_server", "Server got: Hello")] {
        let server = Server::start(name);
        let port = server.address.port().to_string();
        let mut nc = Process::start(Command::new("nc").args(["127.0.0.1", &port]));
        // What the many versions of nc do at the end of their input differs, so it stays open.
        let mut stdin = nc.stdin();
        stdin.write_all(b"Hello\n").expect("it runs");
        assert_eq!(nc.line().as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn socat_gets_its_answers_and_the_end() {
    if !is_installed("socat") {
        return;
    }
    for (name, expected) in [("echo", "Hello"), ("first_server", "Server got: Hello")] {
        let server = Server::start(name);
        let peer = format!("TCP:{}", server.address);
        let mut socat = Process::start(Command::new("socat").args(["-t", "30", "-", &peer]));
        let mut stdin = socat.stdin();
        stdin.write_all(b"Hello\n").expect("it runs");
        drop(stdin);
        assert_eq!(socat.line().as_deref(), Some(expected), "{name}");
        let ended = socat.ended(|line| panic!("it printed {line}"));
        assert!(ended.status.success(), "{name}: {}", ended.stderr);
    }
}

#[test]
fn a_node_client_gets_its_answers_and_the_end() {
    if !is_installed("node") {
        return;
    }
    let program = "
        const socket = require('net').connect(process.argv[1], '127.0.0.1');
        let answer = '';
        socket.setEncoding('utf8');
        socket.on('data', (text) => answer += text);
        socket.on('end', () => console.log('end'));
        socket.on('close', (hadError) => console.log(answer + ' ' + hadError));
        socket.end('Hello');
    ";
    for (name, expected) in [
        ("echo", "Hello false"),
        ("first_server", "Server got: Hello false"),
    ] {
        let server = Server::start(name);
        let port = server.address.port().to_string();
        let mut node = Process::start(Command::new("node").args(["-e", program, &port]));
        assert_eq!(node.line().as_deref(), Some("end"), "{name}");
        assert_eq!(node.line().as_deref(), Some(expected), "{name}");
        let ended = node.ended(|line| panic!("it printed {line}"));
        assert!(ended.status.success(), "{name}: {}", ended.stderr);
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    if !found {
        println!("skipped: there is no {program} on this machine");
    }
    found
}
