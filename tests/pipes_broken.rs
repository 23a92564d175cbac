//! Pipes of files and sockets of which one end breaks midway. What Node tells of each is in
//! `tests/oracle/scenarios/piping`; here the peers are processes that are killed, and no descriptor may
//! be left.
#![cfg(target_os = "linux")]

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::rc::Rc;

use nodeloop::net::Socket;
use nodeloop::stream::{ReadableStream, Stream, StreamEvent, pipeline};
use nodeloop::{Loop, fs};
use support::files::{Scratch, content, pattern};
use support::*;

/// Tells this program that it is a peer, where to connect, and what to do.
const PEER: &str = "NODELOOP_TEST_PEER";

/// More than any buffer of the kernel's holds.
const LARGE: u64 = 64 << 20;

/// The peer's process; a test among others when nobody has started it as one.
#[test]
fn the_peer() {
    let Ok(role) = std::env::var(PEER) else {
        return;
    };
    let (task, address) = role.split_once(' ').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    match task {
        // Until it is killed, or nobody is left who could.
        "silent" => drop(std::io::stdin().read(&mut [0])),
        "sends" => while stream.write_all(&[b'x'; 10_000]).is_ok() {},
        "echoes" => {
            let mut buffer = [0; 10_000];
            while let Ok(size @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..size]).is_err() {
                    break;
                }
            }
        }
        task => panic!("no task {task}"),
    }
}

/// A process that connects and then does its task. It is to be killed.
fn peer(task: &str, address: SocketAddr) -> Killed {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["the_peer", "--exact", "--nocapture", "--test-threads=1"])
        .env(PEER, format!("{task} {address}"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn();
    Killed(child.unwrap())
}

/// A process, killed when this is dropped at the latest.
struct Killed(Child);

impl Killed {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a test in a process of its own, and checks that it leaves no descriptor there.
fn leaving_nothing(name: &str, body: impl FnOnce(&Loop)) {
    if tcp_only("the peers connect to a port, and some reset") {
        return;
    }
    in_own_process(
        name,
        "",
        || {
            let lp = Loop::new().unwrap();
            let _deadline = deadline(&lp, 30);
            // What a loop keeps for the case that descriptors run out is there from the first server on.
            let (socket, peer) = pair(&lp);
            socket.destroy();
            drop(peer);
            lp.run().unwrap();
            let before = open_descriptors();
            body(&lp);
            lp.run().unwrap();
            assert_eq!(open_descriptors(), before);
        },
        |_| {},
    );
}

/// A socket whose peer is another process.
fn accepted(lp: &Loop, task: &str) -> (Socket, Killed) {
    let socket = Rc::new(Cell::new(None));
    let inner = socket.clone();
    let (server, address) = listening(lp, move |socket| inner.set(Some(socket)));
    let peer = peer(task, address);
    turn_until(lp, || socket.get().is_some());
    server.close();
    (socket.get().unwrap(), peer)
}

/// Notes what a stream tells of its end.
fn follow(log: &Recorder, name: &'static str, stream: &dyn Stream) {
    for (event, text) in [
        (StreamEvent::End, "end"),
        (StreamEvent::Finish, "finish"),
        (StreamEvent::Close, "close"),
    ] {
        let log = log.clone();
        stream.listen(event, Box::new(move || log.note(format!("{name} {text}"))));
    }
    let log = log.clone();
    stream.listen_error(Box::new(move |error| log.note(format!("{name} {error}"))));
}

/// A file of zeros.
fn large(scratch: &Scratch) -> std::path::PathBuf {
    let path = scratch.path("large");
    std::fs::File::create(&path)
        .unwrap()
        .set_len(LARGE)
        .unwrap();
    path
}

#[test]
fn n217_the_peer_is_killed_while_a_file_is_piped_to_it() {
    leaving_nothing(
        "n217_the_peer_is_killed_while_a_file_is_piped_to_it",
        |lp| {
            let scratch = Scratch::new();
            let log = Recorder::new();
            let (socket, mut peer) = accepted(lp, "silent");
            let file = fs::create_read_stream(lp, large(&scratch));
            follow(&log, "socket", &socket);
            follow(&log, "file", &file);
            let inner = log.clone();
            socket.on_unpipe(move |_, _| inner.note("unpipe"));
            socket.resume();
            file.pipe(socket);
            turn_until(lp, || file.is_paused());
            peer.kill();
            turn_until(lp, || log.has("socket close"));
            log.expect(&["unpipe", "socket read ECONNRESET", "socket close"]);
            // Nobody has asked for more: it stays as it is, and holds nothing.
            assert!(file.is_paused() && !file.destroyed());
            lp.run().unwrap();
            file.destroy();
            lp.run().unwrap();
            log.expect(&["file close"]);
        },
    );
}

#[test]
fn n223_the_peer_is_killed_while_a_pipeline_sends_it_a_file() {
    leaving_nothing(
        "n223_the_peer_is_killed_while_a_pipeline_sends_it_a_file",
        |lp| {
            let scratch = Scratch::new();
            let log = Recorder::new();
            let (socket, mut peer) = accepted(lp, "silent");
            let file = fs::create_read_stream(lp, large(&scratch));
            follow(&log, "file", &file);
            socket.resume();
            pipeline(&file, &[], &socket, log.done("pipeline"));
            turn_until(lp, || file.is_paused());
            peer.kill();
            lp.run().unwrap();
            log.expect(&["file read ECONNRESET", "file close", "pipeline ECONNRESET"]);
        },
    );
}

/// The kernel closes what a killed process had open: with everything read that is an end.
#[test]
fn n213_the_peer_is_killed_while_it_is_saved_to_a_file() {
    leaving_nothing(
        "n213_the_peer_is_killed_while_it_is_saved_to_a_file",
        |lp| {
            let scratch = Scratch::new();
            let log = Recorder::new();
            let (socket, mut peer) = accepted(lp, "sends");
            let path = scratch.path("saved");
            let file = fs::create_write_stream(lp, &path);
            follow(&log, "socket", &socket);
            follow(&log, "file", &file);
            socket.pipe(file);
            let received = Rc::new(Cell::new(0));
            let count = received.clone();
            socket.on_data(move |_, chunk| count.set(count.get() + chunk.len()));
            turn_until(lp, || received.get() > 1_000_000);
            peer.kill();
            lp.run().unwrap();
            let told = log.take();
            for event in [
                "socket end",
                "socket finish",
                "socket close",
                "file finish",
                "file close",
            ] {
                assert_eq!(told.iter().filter(|it| *it == event).count(), 1, "{told:?}");
            }
            assert_eq!(told.len(), 5, "{told:?}");
            assert!(content(&path) == vec![b'x'; received.get()]);
        },
    );
}

#[test]
fn n218_a_reset_while_a_socket_is_saved_to_a_file() {
    leaving_nothing("n218_a_reset_while_a_socket_is_saved_to_a_file", |lp| {
        let scratch = Scratch::new();
        let log = Recorder::new();
        let (socket, mut peer) = pair(lp);
        let path = scratch.path("saved");
        let file = fs::create_write_stream(lp, &path);
        follow(&log, "socket", &socket);
        follow(&log, "file", &file);
        socket.pipe(file);
        peer.write_all(b"what came before").unwrap();
        turn_until(lp, || file.bytes_written() == 16);
        reset(peer);
        lp.run().unwrap();
        log.expect(&["socket read ECONNRESET", "socket close"]);
        // An error of the source does nothing to the destination.
        assert!(file.writable() && !file.destroyed());
        file.end();
        lp.run().unwrap();
        log.expect(&["file finish", "file close"]);
        assert_eq!(content(&path), b"what came before");
    });
}

/// Both ways at once, as a proxy does; each end by itself.
#[test]
fn n217_n218_the_peer_is_killed_between_two_pipes() {
    leaving_nothing("n217_n218_the_peer_is_killed_between_two_pipes", |lp| {
        let log = Recorder::new();
        let (upstream, mut peer) = accepted(lp, "echoes");
        let (client, mut stream) = pair(lp);
        follow(&log, "upstream", &upstream);
        follow(&log, "client", &client);
        client.pipe(upstream).pipe(client);
        stream.write_all(b"hello").unwrap();
        turn_until(lp, || client.bytes_written() == 5);
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
        peer.kill();
        drop(stream);
        lp.run().unwrap();
        let told = log.take();
        for event in ["upstream close", "client close"] {
            assert_eq!(told.iter().filter(|it| *it == event).count(), 1, "{told:?}");
        }
        assert!(
            !told
                .iter()
                .any(|it| it.contains("ECONN") || it.contains("EPIPE")),
            "{told:?}"
        );
    });
}

#[test]
fn n217_a_full_disk_while_a_socket_is_saved() {
    leaving_nothing("n217_a_full_disk_while_a_socket_is_saved", |lp| {
        let log = Recorder::new();
        let (socket, mut peer) = pair(lp);
        let file = fs::create_write_stream(lp, "/dev/full");
        follow(&log, "file", &file);
        let inner = log.clone();
        file.on_unpipe(move |_, _| inner.note("unpipe"));
        socket.pipe(file);
        peer.write_all(b"hello").unwrap();
        turn_until(lp, || log.has("file close"));
        log.expect(&[
            "unpipe",
            "file ENOSPC: no space left on device, write",
            "file close",
        ]);
        assert!(socket.is_paused() && !socket.destroyed());
        socket.destroy();
        // The same, looked after.
        let (socket, mut other) = pair(lp);
        let file = fs::create_write_stream(lp, "/dev/full");
        pipeline(&socket, &[], &file, log.done("pipeline"));
        other.write_all(b"hello").unwrap();
        lp.run().unwrap();
        log.expect(&["pipeline ENOSPC"]);
        assert!(socket.destroyed());
        // The peer's end is this process's, too.
        drop((peer, other));
    });
}

#[test]
fn a_file_that_is_removed_while_it_is_piped_arrives_whole() {
    leaving_nothing(
        "a_file_that_is_removed_while_it_is_piped_arrives_whole",
        |lp| {
            let scratch = Scratch::new();
            let bytes = pattern(3_000_000);
            let path = scratch.file("bytes", &bytes);
            let (socket, peer) = pair(lp);
            socket.resume();
            let file = fs::create_read_stream(lp, &path);
            file.pipe(socket);
            turn_until(lp, || socket.bytes_written() > 0);
            std::fs::remove_file(&path).unwrap();
            let reading = std::thread::spawn(move || read_to_end(&peer));
            lp.run().unwrap();
            assert!(join(reading) == bytes);
        },
    );
}
