//! The examples about other sockets than a port of one's own: paths, sockets that are passed, loops
//! that share a port.

#![cfg(unix)]

mod support_process;

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use support_process::examples::{Server, example, executable};
use support_process::files::Scratch;
use support_process::{DEADLINE, Process};

/// A path that is free as long as the first lives, and how it is said and printed.
fn place() -> (Scratch, PathBuf, String) {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let name = format!("unix:{}", path.display());
    (scratch, path, name)
}

/// Asks and gets the answer, up to the end.
fn asks(path: &Path, question: &[u8]) -> Vec<u8> {
    let mut client = UnixStream::connect(path).expect("it listens");
    client.set_read_timeout(Some(DEADLINE)).expect("not zero");
    client.write_all(question).expect("it is connected");
    client.shutdown(Shutdown::Write).expect("it is connected");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("no reset");
    answer
}

/// What it prints next.
#[track_caller]
fn prints(process: &mut Process, expected: &str) {
    assert_eq!(process.line().expect("it runs"), expected);
}

#[test]
fn echo_at_a_path() {
    let (_scratch, path, name) = place();
    let mut server = example("echo", &[&name]);
    prints(&mut server, &format!("listening on {name}"));
    assert_eq!(asks(&path, b"Hello"), b"Hello");
    prints(&mut server, "client 1 connected");
    prints(&mut server, "client 1 ended");
    prints(&mut server, "client 1 closed after 5 bytes");
}

#[test]
fn echo_removes_what_a_killed_one_has_left() {
    let (_scratch, path, name) = place();
    let mut server = example("echo", &[&name]);
    prints(&mut server, &format!("listening on {name}"));
    // Its end kills it.
    drop(server);
    assert!(path.exists());
    let mut next = example("echo", &[&name]);
    prints(&mut next, &format!("listening on {name}"));
    assert_eq!(asks(&path, b"still there?"), b"still there?");
}

#[test]
fn echo_leaves_alone_who_answers_and_what_is_no_socket() {
    let (_scratch, path, name) = place();
    let message = format!(
        "listen EADDRINUSE: address already in use {}\n",
        path.display()
    );
    let held = UnixListener::bind(&path).expect("it is free");
    let mut server = example("echo", &[&name]);
    let ended = server.ended(|line| panic!("it printed {line}"));
    assert_eq!((ended.status.code(), &ended.stderr), (Some(1), &message));
    assert!(UnixStream::connect(&path).is_ok());
    drop(held);
    fs::remove_file(&path).expect("it was there");
    fs::write(&path, "precious").expect("it is free");
    let mut server = example("echo", &[&name]);
    let ended = server.ended(|line| panic!("it printed {line}"));
    assert_eq!((ended.status.code(), &ended.stderr), (Some(1), &message));
    let left = fs::read_to_string(&path).expect("it is there");
    assert_eq!(left, "precious");
}

/// Starts the example with descriptors from 3 on, as a service manager does: `sh` moves them there
/// from where a new process can have them, and stays the same process.
fn activated(descriptors: [Option<OwnedFd>; 2], environment: &str) -> Process {
    let mut command = Command::new("sh");
    let moved = "exec 3<&0 4<&2 2>&1 0</dev/null; ";
    let closed = match (&descriptors[0], &descriptors[1]) {
        (Some(_), Some(_)) => "",
        (Some(_), None) => "exec 4<&-; ",
        _ => "exec 3<&- 4<&-; ",
    };
    let program = format!("{moved}{closed}{environment} exec \"$0\"");
    command.args(["-c", &program]).arg(executable("activated"));
    let [first, second] =
        descriptors.map(|descriptor| descriptor.map_or(Stdio::null(), Stdio::from));
    Process::start_with(&mut command, first, second)
}

#[test]
fn activated_serves_what_it_is_passed() {
    let (_scratch, path, name) = place();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = tcp.local_addr().expect("it is bound");
    let unix = UnixListener::bind(&path).expect("it is free");
    // Somebody connects before the program runs, and waits.
    let mut early = TcpStream::connect(address).expect("it listens");
    early.set_read_timeout(Some(DEADLINE)).expect("not zero");
    let passed = [Some(tcp.into()), Some(unix.into())];
    let mut server = activated(passed, "LISTEN_FDS=2 LISTEN_PID=$$");
    prints(&mut server, &format!("listening on {address}"));
    prints(&mut server, &format!("listening on {name}"));
    let mut text = String::new();
    early.read_to_string(&mut text).expect("no reset");
    assert_eq!(text, "hello\n");
    assert_eq!(asks(&path, b""), b"hello\n");
    // What others have bound is theirs to remove.
    drop(server);
    assert!(path.exists());
}

#[test]
fn activated_refuses_what_is_not_meant_for_it_or_no_socket() {
    let socket = || Some(OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap()));
    let file = || Some(OwnedFd::from(fs::File::open("/dev/null").unwrap()));
    let udp = || {
        Some(OwnedFd::from(
            std::net::UdpSocket::bind("127.0.0.1:0").unwrap(),
        ))
    };
    let cases = [
        (socket(), "", 2),
        (socket(), "LISTEN_FDS=1 LISTEN_PID=1", 2),
        (socket(), "LISTEN_FDS=-1 LISTEN_PID=$$", 2),
        (socket(), "LISTEN_FDS=many LISTEN_PID=$$", 2),
        (socket(), "LISTEN_FDS=0 LISTEN_PID=$$", 2),
        (file(), "LISTEN_FDS=1 LISTEN_PID=$$", 1),
        (udp(), "LISTEN_FDS=1 LISTEN_PID=$$", 1),
        // A closed descriptor.
        (None, "LISTEN_FDS=1 LISTEN_PID=$$", 1),
    ];
    for (descriptor, environment, code) in cases {
        let mut process = activated([descriptor, None], environment);
        let mut said = Vec::new();
        let ended = process.ended(|line| said.push(line));
        assert_eq!(ended.status.code(), Some(code), "{environment}: {said:?}");
        let expected = match code {
            2 => "no sockets were passed",
            _ => "fd 3 is not a",
        };
        assert!(said[0].contains(expected), "{environment}: {said:?}");
    }
}

#[test]
fn multicore_has_connections_in_every_loop() {
    let mut server = Server::start("multicore", &[]);
    let line = server.line().expect("it runs");
    let loops = line
        .strip_prefix("with ")
        .and_then(|line| line.strip_suffix(" loops"));
    let loops: usize = loops.expect("their number").parse().expect("a number");
    let mut seen = HashSet::new();
    let mut clients = Vec::new();
    // The system spreads by a hash of both ends: enough come to each, however many there are.
    while seen.len() < loops {
        assert!(clients.len() < 200 * loops, "only {seen:?} of {loops}");
        let mut client = server.connect();
        client.says("Hello");
        client.reads("Hello");
        clients.push(client);
        let line = server.line().expect("it runs");
        assert!(line.ends_with(" has a connection"), "{line}");
        seen.insert(line);
    }
}

#[test]
fn multicore_fails_when_every_loop_has_panicked() {
    let mut server = Command::new(executable("multicore"))
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is there");
    let mut stdout = BufReader::new(server.stdout.take().expect("it is a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("it is text");
    let address = line.trim_end().strip_prefix("listening on ");
    let address = address.expect("it listens").to_string();
    stdout.read_line(&mut line).expect("it is text");
    // Printing panics from now on: each connection is the end of its loop.
    drop(stdout);
    let started = Instant::now();
    while TcpStream::connect(&address).is_ok() {
        if started.elapsed() > DEADLINE {
            let _ = server.kill();
        }
    }
    let ended = server.wait_with_output().expect("it is our child");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.ends_with("no loop is left\n"), "{told}");
}
