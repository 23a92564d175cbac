//! The examples of patterns, each as a process with real clients.

mod support_process;

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use support_process::DEADLINE;
use support_process::examples::{Client, Server, accept, example};
use support_process::files::Scratch;

/// Longer than any test takes.
const NEVER_MS: &str = "3600000";

/// Long enough for what is to happen meanwhile, on a busy machine too.
const A_WHILE_MS: &str = "1000";

// Half-open.

#[test]
fn half_open_answers_long_after_the_question_has_ended() {
    let mut server = Server::start("half_open", &["127.0.0.1:0", A_WHILE_MS]);
    server.listens();
    let mut client = server.connect();
    client.says("one two\n thr");
    client.says("ee\n");
    client.ends();
    client.hears("2 lines, 3 words, 15 bytes");
    client.hears_end();
    server.prints("the peer has ended, we are writeOnly");
    server.prints("answered");
    server.prints("closed");
}

#[test]
fn half_open_is_too_late_where_it_is_not_allowed() {
    let mut server = Server::start("half_open", &["127.0.0.1:0", A_WHILE_MS]);
    let mut client = Client::connect(server.listens());
    client.says("one two\n");
    client.ends();
    client.hears_end();
    server.prints("the peer has ended, we are writeOnly");
    server.prints("closed");
    server.prints("too late: the connection is gone");
}

#[test]
fn half_open_outlives_who_does_not_wait_for_his_answer() {
    let mut server = Server::start("half_open", &["127.0.0.1:0", A_WHILE_MS]);
    server.listens();
    let client = server.connect();
    client.ends();
    server.prints("the peer has ended, we are writeOnly");
    client.resets();
    // Behind the end nothing is read any more, so only the answer finds out.
    server.prints("answered");
    server.prints("closed");
    let mut client = server.connect();
    client.ends();
    client.hears("0 lines, 0 words, 0 bytes");
    client.hears_end();
}

// Backpressure.

/// More than the kernel keeps.
const MUCH: usize = 32 * 1024 * 1024;

/// Sends `MUCH` bytes in a thread, and ends.
fn send_much(client: &Client) -> std::thread::JoinHandle<std::io::Result<()>> {
    let mut stream = client.stream.try_clone().expect("a descriptor is free");
    std::thread::spawn(move || {
        let bytes: Vec<u8> = (0..MUCH).map(|number| (number % 251) as u8).collect();
        stream.write_all(&bytes)?;
        stream.shutdown(std::net::Shutdown::Write)
    })
}

#[test]
fn backpressure_pauses_the_writer_until_the_reader_reads() {
    let mut server = Server::start("backpressure", &["200"]);
    let mut reader = server.connect();
    server.prints("the reader has come");
    let mut writer = server.connect();
    server.prints("the writer has come");
    let sending = send_much(&writer);
    let full = server.prints_until("full: ").pop().expect("a line");
    let waiting = full.strip_prefix("full: ").expect("it begins so");
    let waiting = waiting.strip_suffix(" bytes wait, the writer is paused");
    let waiting: usize = waiting.expect("it ends so").parse().expect("a number");
    // The mark, and less than one more chunk.
    assert!((65_536..131_072).contains(&waiting), "{full}");
    let quiet = server.silent_for(Duration::from_millis(100));
    assert_eq!(quiet, Ok(()), "nobody reads, so nothing happens");
    let received = reader.reads_rest();
    let sent = sending.join().expect("it does not panic");
    sent.expect("all is taken");
    assert_eq!(received.len(), MUCH);
    let is_right = |(number, &byte): (usize, &u8)| byte == (number % 251) as u8;
    assert!(received.iter().enumerate().all(is_right), "wrong bytes");
    writer.hears_end();
    server.prints("drained: the writer goes on");
    let told = server.prints_until("the writer has left: ").pop();
    let told = told.expect("a line");
    let numbers: Vec<usize> = told
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    let [bytes, pauses, most] = numbers[..] else {
        panic!("{told}");
    };
    assert_eq!(bytes, MUCH, "{told}");
    assert!(pauses > 0 && most < 131_072, "{told}");
    reader.ends();
    server.prints("the reader has left");
}

#[test]
fn backpressure_ends_the_writer_of_a_reader_who_vanishes() {
    let mut server = Server::start("backpressure", &["200"]);
    let reader = server.connect();
    server.prints("the reader has come");
    let writer = server.connect();
    server.prints("the writer has come");
    let sending = send_much(&writer);
    server.prints_until("full: ");
    reader.resets();
    let sent = sending.join().expect("it does not panic");
    sent.expect_err("nobody took it");
    let last = [server.line(), server.line()].map(|line| line.expect("it runs"));
    assert!(
        last.contains(&"the reader has left".to_string()),
        "{last:?}"
    );
    assert!(
        last.iter()
            .any(|line| line.starts_with("the writer has left")),
        "{last:?}"
    );
    // The next two are a pair again.
    let mut reader = server.connect();
    server.prints("the reader has come");
    let mut writer = server.connect();
    server.prints("the writer has come");
    writer.says("hello");
    writer.ends();
    assert_eq!(reader.reads_rest(), b"hello");
}

#[test]
fn backpressure_forgets_a_reader_who_leaves_before_a_writer_comes() {
    let mut server = Server::start("backpressure", &[]);
    let reader = server.connect();
    server.prints("the reader has come");
    drop(reader);
    server.prints("the reader has left");
    let _reader = server.connect();
    server.prints("the reader has come");
}

// Liveness.

/// Says a line and reads what lives: a mark and a kind each.
fn survey(client: &mut Client, line: &str) -> Vec<String> {
    client.says(format!("{line}\n"));
    let mut survey = Vec::new();
    loop {
        let line = client.line();
        if line.is_empty() {
            return survey;
        }
        let (what, _) = line.split_once(" made at ").unwrap_or((&line, ""));
        survey.push(what.to_string());
    }
}

#[test]
fn liveness_ends_when_the_server_and_the_connection_are_over() {
    let mut server = Server::start("liveness", &[NEVER_MS]);
    let mut client = server.connect();
    let expected = [
        "close, unref, ref, timer or quit?",
        "+ Server",
        "+ Socket",
        "- Timer",
    ];
    assert_eq!(survey(&mut client, "help"), expected);
    assert_eq!(
        survey(&mut client, "close"),
        ["- Server", "+ Socket", "- Timer"]
    );
    client.says("quit\n");
    client.hears_end();
    client.ends();
    server.prints("nothing keeps the loop alive");
    server.ends_well();
}

#[test]
fn liveness_ends_under_a_connection_that_does_not_count() {
    let mut server = Server::start("liveness", &[NEVER_MS]);
    let mut client = server.connect();
    assert_eq!(
        survey(&mut client, "unref"),
        ["+ Server", "- Socket", "- Timer"]
    );
    assert_eq!(
        survey(&mut client, "ref"),
        ["+ Server", "+ Socket", "- Timer"]
    );
    assert_eq!(
        survey(&mut client, "unref"),
        ["+ Server", "- Socket", "- Timer"]
    );
    assert_eq!(
        survey(&mut client, "close"),
        ["- Server", "- Socket", "- Timer"]
    );
    client.hears_end();
    server.prints("nothing keeps the loop alive");
    server.ends_well();
}

#[test]
fn liveness_waits_for_a_timer() {
    let mut server = Server::start("liveness", &[A_WHILE_MS]);
    let mut client = server.connect();
    survey(&mut client, "close");
    let survey = survey(&mut client, "timer");
    assert_eq!(survey, ["- Server", "+ Socket", "- Timer", "+ Timer"]);
    client.says("quit\n");
    client.hears_end();
    client.ends();
    // Ticks come as long as something else keeps the loop.
    let lines = server.prints_until("the timer has fired");
    let (ticks, _) = lines.split_at(lines.len() - 1);
    assert!(ticks.iter().all(|line| line == "tick"), "{lines:?}");
    server.prints_until("nothing keeps the loop alive");
    server.ends_well();
}

#[test]
fn liveness_has_a_limit_for_everything() {
    let mut server = Server::start("liveness", &[NEVER_MS]);
    let mut client = server.connect();
    client.says("timer\n".repeat(10_000));
    let mut refused = 0;
    let mut answers = 0;
    while answers < 10_000 {
        match client.line().as_str() {
            "" => answers += 1,
            "too much lives already" => refused += 1,
            _ => {}
        }
    }
    // A server, a connection, the first timer, and 27 more.
    assert_eq!(refused, 10_000 - 27);
    client.says("x".repeat(1000));
    client.says("\n");
    client.hears("that line is too long");
    assert_eq!(server.silent_for(Duration::ZERO), Ok(()));
}

// Graceful shutdown.

#[test]
fn graceful_shutdown_lets_everybody_finish() {
    let mut server = Server::start("graceful_shutdown", &[A_WHILE_MS, NEVER_MS]);
    let (mut idle, mut busy, mut ended) = (server.connect(), server.connect(), server.connect());
    // Whoever has ended is waited for too.
    ended.says(b"\xFF\nthree\n");
    ended.ends();
    ended.hears("that line is not UTF-8 text");
    busy.says("one\ntwo\nshutdown\nfour\n");
    busy.hears("shutting down");
    busy.hears("refused: four");
    server.prints("shutting down: 3 connections, 3 jobs");
    let refused = TcpStream::connect(server.address).expect_err("it is closed");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    idle.hears("shutting down");
    idle.hears_end();
    // What is said too late is not answered, and does no harm.
    idle.says("five\n");
    idle.ends();
    busy.hears("done: one");
    busy.hears("done: two");
    busy.hears_end();
    busy.ends();
    ended.hears("shutting down");
    ended.hears("done: three");
    ended.hears_end();
    server.prints("all connections are over");
    server.prints("the end");
    server.ends_well();
}

#[test]
fn graceful_shutdown_cuts_off_who_is_still_there_at_the_deadline() {
    let mut server = Server::start("graceful_shutdown", &[NEVER_MS, A_WHILE_MS]);
    let (mut never_ends, mut busy) = (server.connect(), server.connect());
    busy.says("for ever\nshutdown\nshutdown\n");
    busy.hears("shutting down");
    server.prints("shutting down: 2 connections, 1 jobs");
    never_ends.hears("shutting down");
    never_ends.hears_end();
    server.prints("cut off: 2 connections");
    busy.hears_end();
    server.prints("all connections are over");
    // What nobody waits for any more does not hold the program.
    server.prints("the end");
    server.ends_well();
}

#[test]
fn graceful_shutdown_answers_while_it_runs() {
    let mut server = Server::start("graceful_shutdown", &["1", NEVER_MS]);
    let mut client = server.connect();
    client.says("one\n");
    client.hears("done: one");
    client.says(b"\xFF\n");
    client.hears("that line is not UTF-8 text");
    client.says("two\n");
    client.ends();
    client.hears("done: two");
    client.hears_end();
    let gone = server.connect();
    gone.resets();
    let mut other = server.connect();
    other.says("shutdown\n");
    other.hears("shutting down");
    other.hears_end();
    drop(other);
    server.prints("shutting down: 1 connections, 0 jobs");
    server.prints("all connections are over");
    server.prints("the end");
    let ended = server.ended(|line| panic!("it printed {line:?}"));
    assert!(ended.status.success(), "{}", ended.stderr);
}

#[test]
fn graceful_shutdown_refuses_too_many_jobs() {
    let server = Server::start("graceful_shutdown", &[A_WHILE_MS, NEVER_MS]);
    let mut client = server.connect();
    client.says("job\n".repeat(101));
    client.hears("refused: job");
    for _ in 0..100 {
        client.hears("done: job");
    }
}

#[test]
fn graceful_shutdown_reads_nothing_of_who_reads_no_answers() {
    /// More than the kernel keeps.
    const MUCH: usize = 48 * 1024 * 1024;
    let server = Server::start("graceful_shutdown", &[NEVER_MS]);
    let mut client = server.connect();
    let patience = Some(Duration::from_secs(1));
    let result = client.stream.set_write_timeout(patience);
    result.expect("not zero");
    let jobs = format!("{}\n", "x".repeat(900)).repeat(64);
    let mut sent = 0;
    loop {
        match client.stream.write(jobs.as_bytes()) {
            Ok(count) => sent += count,
            // With a timeout the system does not begin such a call anew by itself.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
        assert!(sent < MUCH, "it takes everything");
    }
    // It goes on where it was.
    client.hears(&format!("refused: {}", "x".repeat(900)));
    let mut other = server.connect();
    other.says("shutdown\n");
    other.hears("shutting down");
    other.hears_end();
}

// Reconnecting.

/// The wait that a line tells, in milliseconds.
fn wait_of(line: &str) -> u64 {
    let wait = line
        .strip_prefix("again in ")
        .and_then(|rest| rest.strip_suffix(" ms"));
    wait.and_then(|wait| wait.parse().ok())
        .unwrap_or_else(|| panic!("it printed {line:?}"))
}

#[test]
fn reconnect_comes_back_after_an_end_and_after_a_reset() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    let mut process = example("reconnect", &[&address.to_string(), "1", "4", "3"]);
    // More often than it would try in a row.
    for round in 0..6 {
        let mut client = accept(&listener);
        process.prints("connected");
        // A character in two pieces.
        client.says(b"r\xC3");
        process.prints("received: r");
        client.says(b"\xBC");
        process.prints("received: ü");
        client.says(format!("round {round}\n"));
        process.prints(&format!("received: round {round}"));
        match round % 2 {
            0 => drop(client),
            _ => {
                client.resets();
                process.prints("read ECONNRESET");
            }
        }
        let line = process.line().expect("it runs");
        assert_eq!(wait_of(&line), 1, "the first wait again");
    }
}

#[test]
fn reconnect_waits_longer_and_longer_and_gives_up() {
    let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
        .expect("a descriptor is free");
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    held.bind(&any_port.into()).expect("a port is free");
    let address = held.local_addr().expect("it is bound").as_socket();
    let address = address.expect("an address").to_string();
    let mut process = example("reconnect", &[&address, "8", "40", "6"]);
    for most in [8, 16, 32, 40, 40] {
        process.prints(&format!("connect ECONNREFUSED {address}"));
        let wait = wait_of(&process.line().expect("it runs"));
        assert!((most / 2..=most).contains(&wait), "{wait} of {most}");
    }
    process.prints(&format!("connect ECONNREFUSED {address}"));
    process.fails(1, "Error: 6 failures in a row");
}

#[test]
fn reconnect_does_not_take_a_server_that_hangs_up_for_a_good_one() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it listens").to_string();
    let mut process = example("reconnect", &[&address, "8", "1000", "3"]);
    for most in [8, 16] {
        drop(accept(&listener));
        process.prints("connected");
        let wait = wait_of(&process.line().expect("it runs"));
        assert!((most / 2..=most).contains(&wait), "{wait} of {most}");
    }
    drop(accept(&listener));
    process.prints("connected");
    process.fails(1, "Error: 3 failures in a row");
}

// A file in datagrams.

/// Both took what had not come yet for lost.
#[test]
fn udp_file_sender_asks_again_for_what_its_question_has_overtaken() {
    let scratch = Scratch::new();
    let (sent, received) = (scratch.name("sent"), scratch.name("received"));
    scratch.file("sent", [7; 3000]);
    let mut receiver = Server::start("udp_file_receiver", &[&received, "1000"]);
    let [front, back] = [(); 2].map(|()| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        socket.set_read_timeout(Some(DEADLINE)).expect("not zero");
        socket
    });
    back.connect(receiver.address).expect("it is bound");
    let address = front.local_addr().expect("it is bound").to_string();
    let mut sender = example("udp_file_sender", &[&sent, &address]);
    let mut buffer = [0; 2000];
    let mut parts = Vec::new();
    for _ in 0..3 {
        let (size, _) = front.recv_from(&mut buffer).expect("a part");
        parts.push(buffer[..size].to_vec());
    }
    let late = parts.pop().expect("there are three");
    for part in &parts {
        back.send(part).expect("it is sent");
    }
    // The question, which comes before the last part, and those that follow.
    for arrived in [2, 3] {
        let (size, from) = front.recv_from(&mut buffer).expect("a question");
        back.send(&buffer[..size]).expect("it is sent");
        let size = back.recv(&mut buffer).expect("an answer");
        assert_eq!(buffer[..size], [2, 0, 0, 0, arrived]);
        back.send(&late).expect("it is sent");
        front.send_to(&buffer[..size], from).expect("it is sent");
    }
    sender.prints("sent 3 datagrams, 3000 bytes");
    sender.prints("3 have arrived, 0 were lost");
    sender.ends_well();
    receiver.prints("3 of 3 datagrams have arrived, 0 were lost");
    receiver.prints("3000 of 3000 bytes");
    receiver.prints("close");
    receiver.ends_well();
    assert!(std::fs::read(received).is_ok_and(|got| got == [7; 3000]));
}
