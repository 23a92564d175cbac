//! The example servers that are measured, as programs: what each mode promises.

mod support_process;

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use support_process::examples::{Client, accept, example};
use support_process::files::Scratch;
use support_process::{DEADLINE, Process};

const BLOCK: usize = 64 * 1024;

const FRAME: usize = 64;

/// A server in a mode, and a client of it.
fn served(mode: &str, options: &[&str]) -> (Process, Client) {
    let arguments = [&[mode, "127.0.0.1:0"], options].concat();
    let mut server = example("bench_server", &arguments);
    server.prints("ready");
    let client = Client::connect(server.listens());
    (server, client)
}

/// What a client with a copy of its stream for writing sends from a thread.
fn says_meanwhile(client: &Client, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    let mut stream = client.stream.try_clone().expect("a descriptor is free");
    std::thread::spawn(move || {
        std::io::Write::write_all(&mut stream, &bytes).expect("it reads");
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("it is connected");
    })
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

#[test]
fn tcp_echo_gives_back_every_byte_however_many_come_at_once() {
    let (_server, mut client) = served("tcp-echo", &[]);
    let bytes = pattern(8 * 1024 * 1024);
    // Not read while it is sent, for longer than buffers last: the server has to pause.
    let saying = says_meanwhile(&client, bytes.clone());
    client.reads(&bytes);
    client.hears_end();
    saying.join().expect("everything was sent");
}

#[test]
fn msg_echo_answers_whole_frames_wherever_the_reads_cut_them() {
    for options in [&[][..], &["--no-gather"]] {
        let (_server, mut client) = served("msg-echo", options);
        let bytes = pattern(64 * 40);
        // The beginning of a frame is not answered.
        client.says(&bytes[..100]);
        client.reads(&bytes[..64]);
        client.says(&bytes[100..130]);
        client.reads(&bytes[64..128]);
        client.says(&bytes[130..]);
        client.reads(&bytes[128..]);
    }
}

/// What a mode takes of a peer that reads nothing has a limit.
fn takes_little_of_who_does_not_read(mode: &str, options: &[&str], first: usize) {
    /// More than the kernel keeps.
    const MUCH: usize = 48 * 1024 * 1024;
    let (_server, mut client) = served(mode, options);
    client.says(pattern(first));
    if first > FRAME {
        // From here on every read ends one frame and begins the next.
        client.reads(&pattern(first)[..FRAME]);
    }
    let patience = Some(Duration::from_secs(1));
    client.stream.set_write_timeout(patience).expect("not zero");
    let mut sent = 0;
    while let Ok(count) = std::io::Write::write(&mut client.stream, &pattern(BLOCK)) {
        sent += count;
        assert!(sent < MUCH, "{mode} takes everything");
    }
}

#[test]
fn msg_echo_takes_little_of_who_does_not_read_when_each_read_ends_one_frame() {
    takes_little_of_who_does_not_read("msg-echo", &["--chunk", "64"], FRAME + FRAME / 2);
}

#[test]
fn pause_echo_takes_little_of_who_does_not_read() {
    takes_little_of_who_does_not_read("pause-echo", &[], 0);
}

#[test]
fn an_address_in_use_is_a_failure_before_it_says_that_it_is_ready() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it listens").to_string();
    let message = format!("listen EADDRINUSE: address already in use {address}");
    example("bench_server", &["tcp-echo", &address]).fails(1, &message);
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let message = format!("bind EADDRINUSE {address}");
    example("bench_server", &["udp-echo", &address]).fails(1, &message);
}

#[test]
fn msg_echo_loses_nothing_when_its_peer_reads_late() {
    let (_server, mut client) = served("msg-echo", &["--chunk", "1000"]);
    let bytes = pattern(64 * 100_000);
    let saying = says_meanwhile(&client, bytes.clone());
    client.reads(&bytes);
    client.hears_end();
    saying.join().expect("everything was sent");
}

#[test]
fn tcp_sink_takes_everything_and_answers_nothing_but_the_end() {
    let (_server, mut client) = served("tcp-sink", &[]);
    client.says(pattern(1024 * 1024));
    client.ends();
    client.hears_end();
}

#[test]
fn tcp_source_sends_for_as_long_as_it_is_read() {
    let (_server, mut client) = served("tcp-source", &["--spin-us", "50"]);
    let blocks = vec![b'x'; BLOCK];
    for _ in 0..500 {
        client.reads(&blocks);
    }
}

#[test]
fn tcp_source_serves_another_when_one_has_vanished() {
    let (mut server, client) = served("tcp-source", &[]);
    let address = client.stream.peer_addr().expect("it is connected");
    client.resets();
    Client::connect(address).reads(vec![b'x'; BLOCK]);
    assert!(
        server
            .silent_for(std::time::Duration::from_millis(10))
            .is_ok()
    );
}

#[test]
fn broadcast_tells_everyone_short_messages_and_long_ones() {
    let (_server, mut first) = served("broadcast", &[]);
    let address = first.stream.peer_addr().expect("it is connected");
    // Who has heard himself is one of those who hear.
    first.says("first");
    first.reads("first");
    let mut second = Client::connect(address);
    second.says("second");
    second.reads("second");
    first.reads("second");
    let long = pattern(5000);
    first.says(&long);
    first.reads(&long);
    second.reads(&long);
    // Who has left does not hold up the others.
    second.resets();
    first.says("alone");
    first.reads("alone");
}

#[test]
fn accept_close_ends_at_once() {
    let (_server, mut client) = served("accept-close", &[]);
    client.hears_end();
}

#[test]
fn pause_echo_answers_one_message_after_the_other() {
    let (_server, mut client) = served("pause-echo", &[]);
    for message in ["one", "two", "three"] {
        client.says(message);
        client.reads(message);
    }
}

#[test]
fn tcp_file_sends_each_client_the_whole_file_and_ends() {
    let scratch = Scratch::new();
    let bytes = pattern(3 * 1024 * 1024 + 7);
    scratch.file("sent", &bytes);
    let (_server, mut first) = served("tcp-file", &["--file", &scratch.name("sent")]);
    let address = first.stream.peer_addr().expect("it is connected");
    // Who leaves in the middle does not disturb the others.
    let mut leaves = Client::connect(address);
    leaves.reads(&bytes[..1000]);
    leaves.resets();
    let mut second = Client::connect(address);
    for client in [&mut first, &mut second] {
        client.reads(&bytes);
        client.hears_end();
    }
}

#[test]
fn tcp_proxy_passes_on_in_both_directions_and_each_end_by_itself() {
    let target = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = target.local_addr().expect("it is bound").to_string();
    let (_server, mut client) = served("tcp-proxy", &["--target", &address]);
    let mut behind = accept(&target);
    let bytes = pattern(4 * 1024 * 1024);
    let saying = says_meanwhile(&client, bytes.clone());
    behind.reads(&bytes);
    behind.hears_end();
    saying.join().expect("everything was sent");
    // The other direction lives on.
    behind.says("heard");
    client.reads("heard");
    behind.ends();
    client.hears_end();
}

/// A client by UDP of a server in a mode.
fn asks(mode: &str) -> (Process, UdpSocket) {
    let mut server = example("bench_server", &[mode, "127.0.0.1:0"]);
    server.prints("ready");
    let client = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    client.connect(server.listens()).expect("an address");
    client.set_read_timeout(Some(DEADLINE)).expect("not zero");
    (server, client)
}

#[test]
fn udp_echo_answers_each_datagram_with_itself() {
    let (_server, client) = asks("udp-echo");
    for message in [&b"one"[..], b"", &pattern(20_000)] {
        client.send(message).expect("sent");
        let mut answer = vec![0; 65_536];
        let size = client.recv(&mut answer).expect("an answer");
        assert_eq!(&answer[..size], message);
    }
}

#[test]
fn udp_sink_counts_and_tells_its_count_when_it_is_asked() {
    let (_server, client) = asks("udp-sink");
    for message in [&b"one"[..], b"fives", b"", &pattern(1200)] {
        client.send(message).expect("sent");
    }
    // The questions do not count.
    for _ in 0..2 {
        client.send(b"many").expect("sent");
        let mut answer = [0; 64];
        let size = client.recv(&mut answer).expect("an answer");
        assert_eq!(answer[..size], 4_u64.to_le_bytes());
    }
}

#[test]
fn udp_burst_answers_a_size_with_so_many_datagrams_of_it() {
    let (_server, client) = asks("udp-burst");
    let room = socket2::SockRef::from(&client).set_recv_buffer_size(4 * 1024 * 1024);
    room.expect("the system cuts it down");
    for size in [64_u16, 1200] {
        client.send(&size.to_le_bytes()).expect("sent");
        let mut answer = [0; 2000];
        for _ in 0..256 {
            let received = client.recv(&mut answer).expect("an answer");
            assert_eq!(answer[..received], vec![b'b'; usize::from(size)]);
        }
    }
    // What is no size is no request.
    client.send(b"abc").expect("sent");
    client.send(&1_u16.to_le_bytes()).expect("sent");
    assert_eq!(client.recv(&mut [0; 10]).expect("an answer"), 1);
}

#[test]
fn counts_are_told_to_whoever_asks() {
    let (mut server, mut client) = served("tcp-echo", &["--counts"]);
    let line = server.line().expect("it runs");
    let address = line.strip_prefix("counts at ").expect("another address");
    let reads = || {
        let counts = Client::connect(address.parse().expect("an address")).line();
        let words: Vec<&str> = counts.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "reads");
        words[at.expect("reads are counted") + 1]
            .parse::<u64>()
            .expect("a number")
    };
    let before = reads();
    for _ in 0..100 {
        client.says("x");
        client.reads("x");
    }
    // One for each message, and some for those who asked.
    let more = reads() - before;
    assert!((100..110).contains(&more), "{more} reads");
}

#[test]
fn what_it_does_not_know_is_a_message_and_a_failure() {
    for arguments in [
        &["udp-sing", "127.0.0.1:0"][..],
        &["tcp-echo", "nowhere"],
        &["tcp-echo", "127.0.0.1:0", "--chunk", "many"],
        &["tcp-echo"],
        // It has nothing to send, and nobody to lead to.
        &["tcp-file", "127.0.0.1:0"],
        &["tcp-proxy", "127.0.0.1:0"],
    ] {
        let message = "usage: bench_server MODE ADDRESS [--chunk BYTES] [--spin-us MICROSECONDS] [--no-gather] [--counts] [--file PATH] [--target ADDRESS]";
        example("bench_server", arguments).fails(2, message);
    }
}
