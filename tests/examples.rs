//! The example servers as what they are: programs, with clients that are programs too.

mod support_process;

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::process::Command;

use support_process::Process;
use support_process::examples::{Server, example, executable, is_installed};

/// The examples of this file.
const SERVERS: [&str; 2] = ["echo", "first_server"];

#[test]
fn echo_answers_and_ends_when_its_peer_ends() {
    let mut server = Server::start("echo", &[]);
    let mut client = server.connect();
    let peer = client.address();
    server.prints(&format!("{peer} connected"));
    for message in ["Hello", "is there anybody?"] {
        client.says(message);
        client.reads(message);
    }
    client.ends();
    client.hears_end();
    server.prints(&format!("{peer} ended"));
    server.prints(&format!("{peer} closed after 22 bytes"));
}

#[test]
fn echo_sends_the_rest_to_a_peer_that_ends_before_it_reads() {
    const SIZE: usize = 8 * 1024 * 1024;
    let mut server = Server::start("echo", &[]);
    let mut client = server.connect();
    let peer = client.address();
    server.prints(&format!("{peer} connected"));
    let mut outgoing = client.stream.try_clone().expect("a descriptor is free");
    let sender = std::thread::spawn(move || {
        let bytes: Vec<u8> = (0..SIZE).map(|number| (number % 251) as u8).collect();
        outgoing.write_all(&bytes)?;
        outgoing.shutdown(Shutdown::Write)
    });
    let received = client.reads_rest();
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
    let mut server = Server::start("first_server", &[]);
    let mut client = server.connect();
    let peer = client.address();
    server.prints(&format!("CONNECTED: {peer}"));
    client.says(b"Hello");
    client.reads(b"Server got: Hello");
    server.prints("DATA 127.0.0.1: Hello");
    client.ends();
    client.hears_end();
    server.prints(&format!("CLOSED: 127.0.0.1 {}", peer.port()));
}

#[test]
fn first_server_survives_what_is_no_text() {
    let mut server = Server::start("first_server", &[]);
    let mut client = server.connect();
    server.prints_until("CONNECTED");
    client.says(b"\xFF\xFE");
    client.reads(b"Server got: \xFF\xFE");
    server.prints("DATA 127.0.0.1: \u{FFFD}\u{FFFD}");
}

#[test]
fn a_peer_that_resets_ends_its_own_connection_only() {
    for name in SERVERS {
        let mut server = Server::start(name, &[]);
        let client = server.connect();
        let peer = client.address();
        let mut other = server.connect();
        server.prints_until(&connected(name, peer));
        server.prints_until(&connected(name, other.address()));
        client.resets();
        let lines = match name {
            "echo" => server.prints_until(&format!("{peer} closed")),
            _ => server.prints_until("CLOSED"),
        };
        if name == "echo" {
            assert_eq!(lines[0], format!("{peer} failed: read ECONNRESET"));
        }
        other.says(b"Hello");
        match name {
            "echo" => other.reads(b"Hello"),
            _ => other.reads(b"Server got: Hello"),
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
        let server = Server::start(name, &[]);
        let address = server.address.to_string();
        let expected = format!("listen EADDRINUSE: address already in use {address}");
        example(name, &[&address]).fails(1, &expected);
    }
}

#[test]
fn what_is_no_address_is_a_message_and_a_failure() {
    for name in SERVERS {
        let expected = format!("nowhere is no address; usage: {name} [ADDRESS:PORT]");
        example(name, &["nowhere"]).fails(2, &expected);
    }
}

// Other people's clients, where they are installed.

#[cfg(unix)]
#[test]
fn an_argument_that_is_no_text_is_a_message_and_a_failure() {
    use std::os::unix::ffi::OsStrExt;

    let names = ["echo", "multicore", "bench_server", "tour"];
    for (name, place) in names
        .into_iter()
        .flat_map(|name| [(name, ""), (name, "unix:")])
    {
        let argument = [place.as_bytes(), b"\xFF"].concat();
        let mut command = Command::new(executable(name));
        command.arg(std::ffi::OsStr::from_bytes(&argument));
        let ended = Process::start(&mut command).ended(drop);
        assert_eq!(ended.status.code(), Some(2), "{name}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

#[test]
fn nc_gets_its_answers() {
    if !is_installed("nc") {
        return;
    }
    for (name, expected) in [("echo", "Hello"), ("first_server", "Server got: Hello")] {
        let server = Server::start(name, &[]);
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
        let server = Server::start(name, &[]);
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
        let server = Server::start(name, &[]);
        let port = server.address.port().to_string();
        let mut node = Process::start(Command::new("node").args(["-e", program, &port]));
        assert_eq!(node.line().as_deref(), Some("end"), "{name}");
        assert_eq!(node.line().as_deref(), Some(expected), "{name}");
        let ended = node.ended(|line| panic!("it printed {line}"));
        assert!(ended.status.success(), "{name}: {}", ended.stderr);
    }
}
