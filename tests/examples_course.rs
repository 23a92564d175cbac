//! The programs of the course, each as a process with a real client.

mod support_process;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use support_process::examples::{Client, Server, accept, example};

/// Longer than any test takes.
const NEVER_MS: &str = "3600000";

/// All examples, of other files too, that listen at the address of their first argument and use the
/// common arguments.
const SERVERS: [&str; 14] = [
    "sum_server",
    "two_ports",
    "palindrome_server",
    "pause_on_connect",
    "max_connections",
    "closing_server",
    "chat1",
    "chat2",
    "half_open",
    "backpressure",
    "graceful_shutdown",
    "liveness",
    "save_to_file",
    "file_server",
];

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it listens").to_string();
    (listener, address)
}

/// An address where nobody listens, and what keeps it so.
fn nobody() -> (socket2::Socket, String) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
        .expect("a descriptor is free");
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any_port.into()).expect("a port is free");
    let address = socket.local_addr().expect("it is bound").as_socket();
    (socket, address.expect("an address").to_string())
}

#[test]
fn every_server_says_that_its_address_is_taken_and_fails() {
    for name in SERVERS {
        let (_taken, address) = listener();
        let message = format!("Error: listen EADDRINUSE: address already in use {address}");
        let mut arguments = vec![address.as_str()];
        if ["two_ports", "half_open"].contains(&name) {
            arguments.push("127.0.0.1:0");
        }
        // It may say that it listens at the other.
        let ended = example(name, &arguments).ended(drop);
        assert_eq!(ended.status.code(), Some(1), "{name}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().next(), Some(&*message), "{name}");
    }
}

#[test]
fn every_client_says_that_nobody_is_there_and_fails() {
    for name in ["sum_client", "palindrome_client", "bye_client"] {
        let (_held, address) = nobody();
        let message = format!("Error: connect ECONNREFUSED {address}");
        example(name, &[&address]).fails(1, &message);
    }
    let (_held, address) = nobody();
    let port = address.rsplit(':').next().expect("a port");
    let message = format!("Error: connect ECONNREFUSED {address}");
    example("hello_client", &[port]).fails(1, &message);
}

#[test]
fn an_argument_that_cannot_be_read_is_a_message_and_a_failure() {
    for name in SERVERS {
        let message =
            format!("nowhere is no ADDRESS; how to run {name}: see the top of examples/{name}.rs");
        example(name, &["nowhere"]).fails(2, &message);
    }
    let help = "how to run hello_client: see the top of examples/hello_client.rs";
    for port in ["-1", "65536", "http"] {
        example("hello_client", &[port]).fails(2, &format!("{port} is no PORT; {help}"));
    }
}

#[test]
fn sum_server_adds_numbers_whose_bytes_come_in_two_reads() {
    let server = Server::start("sum_server", &["10"]);
    let mut client = server.connect();
    client.says([1, 0, 0, 0, 2, 0]);
    sum_becomes(&mut client, 1);
    client.says([0, 0]);
    sum_becomes(&mut client, 3);
    client.says((-10_i32).to_le_bytes());
    sum_becomes(&mut client, -7);
}

#[test]
fn sum_server_tells_the_last_sum_at_the_end_and_goes_on() {
    let server = Server::start("sum_server", &[NEVER_MS]);
    let mut first = server.connect();
    let mut second = server.connect();
    first.says(
        (1..=1000_i32)
            .flat_map(i32::to_le_bytes)
            .collect::<Vec<_>>(),
    );
    // A number that is not complete does not count.
    first.says([1, 1, 1]);
    first.ends();
    assert_eq!(first.reads_rest(), 500_500_i32.to_le_bytes());
    second.says([i32::MAX.to_le_bytes(), 1_i32.to_le_bytes()].concat());
    second.ends();
    assert_eq!(second.reads_rest(), i32::MIN.to_le_bytes());
}

fn sum_becomes(client: &mut Client, expected: i32) {
    // One comes every 10 ms.
    for _ in 0..3000 {
        let mut sum = [0; 4];
        client.stream.read_exact(&mut sum).expect("a sum");
        if i32::from_le_bytes(sum) == expected {
            return;
        }
    }
    panic!("the sum never was {expected}");
}

#[test]
fn sum_client_sends_hears_and_ends() {
    let server = Server::start("sum_server", &["20"]);
    let address = server.address.to_string();
    let mut client = example("sum_client", &[&address, "10", "300"]);
    let (mut sent, mut last_sum) = (0, None);
    let ended = client.ended(|line| match line.strip_prefix("the sum is ") {
        Some(sum) => last_sum = sum.parse::<u64>().ok(),
        None => {
            sent += 1;
            assert!(sent < 3000, "it does not end");
            assert_eq!(line, format!("sent {sent}"));
        }
    });
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(sent > 0, "it sent nothing");
    assert_eq!(last_sum, Some(sent * (sent + 1) / 2));
}

#[test]
fn sum_client_fails_when_its_server_ends_first() {
    let (listener, address) = listener();
    let mut client = example("sum_client", &[&address, NEVER_MS, NEVER_MS]);
    drop(accept(&listener));
    client.fails(1, "Error: the server has ended before we did");
}

#[test]
fn two_ports_marks_what_comes_with_its_port() {
    let mut process = example("two_ports", &["127.0.0.1:0", "[::1]:0"]);
    for _ in 0..2 {
        let address = process.listens();
        let mut client = Client::connect(address);
        let mark = format!("ECHO{}:", address.port());
        client.says("Hello");
        client.reads(format!("{mark}Hello"));
        client.says("again");
        client.reads(format!("{mark}again"));
        client.ends();
        client.hears_end();
    }
}

#[test]
fn hello_client_talks_to_the_port_that_it_is_told() {
    let server = Server::start("first_server", &[]);
    let port = server.address.port().to_string();
    let mut client = example("hello_client", &[&port]);
    client.prints(&format!("connected to port {port}"));
    client.prints("Server got: Hello, server! Love, client.");
    client.prints("connection closed");
    client.ends_well();
}

#[test]
fn hello_client_talks_to_ipv6_too() {
    let server = Server::at("[::1]:0", "first_server", &[]);
    let port = server.address.port().to_string();
    let mut client = example("hello_client", &[&port, "::1"]);
    client.prints_until("Server got: Hello");
    client.prints("connection closed");
    client.ends_well();
}

#[test]
fn palindromes_are_judged_by_letters_and_digits_of_any_case() {
    let server = Server::start("palindrome_server", &[]);
    let mut client = server.connect();
    client.says("level\nlovely\r\nA man, a plan, a canal: Panama\n\n!?\nété\nΣας\n12321\n");
    client.hears_all(&[
        "yes: level",
        "no: lovely",
        "yes: A man, a plan, a canal: Panama",
        "no: ",
        "no: !?",
        "yes: été",
        "no: Σας",
        "yes: 12321",
    ]);
    client.says("a last one without its end: en");
    client.ends();
    client.hears("no: a last one without its end: en");
    client.hears_end();
}

#[test]
fn palindromes_come_whole_when_a_character_is_split_over_two_reads() {
    let server = Server::start("palindrome_server", &[]);
    let (mut client, mut other) = (server.connect(), server.connect());
    let line = "été".as_bytes();
    for place in 1..line.len() {
        client.says(&line[..place]);
        // Served behind what was there before.
        other.says("x\n");
        other.hears("yes: x");
        client.says(&line[place..]);
        client.says("\n");
        client.hears("yes: été");
    }
}

#[test]
fn palindrome_server_refuses_what_is_no_text_and_what_is_too_long() {
    let server = Server::start("palindrome_server", &[]);
    let mut client = server.connect();
    client.says(b"\xFF\xFE\nlevel\n");
    client.hears_all(&["error: that line is not UTF-8 text", "yes: level"]);
    let longest = "x".repeat(4096);
    client.says(format!("{longest}\r\n{longest}x\n"));
    client.hears(&format!("yes: {longest}"));
    client.hears("error: that line is too long");
    // Much longer than what is kept, and never ended.
    client.says("x".repeat(1024 * 1024));
    client.ends();
    client.hears("error: that line is too long");
    client.hears_end();
}

#[test]
fn palindrome_server_reads_nothing_of_who_reads_nothing_and_outlives_his_reset() {
    /// More than the kernel keeps.
    const MUCH: usize = 48 * 1024 * 1024;
    let server = Server::start("palindrome_server", &[]);
    let mut client = server.connect();
    let patience = Some(Duration::from_secs(1));
    let result = client.stream.set_write_timeout(patience);
    result.expect("not zero");
    let question = format!("{}\n", "x".repeat(4000)).repeat(16);
    let mut sent = 0;
    let error = loop {
        match client.stream.write(question.as_bytes()) {
            Ok(count) => sent += count,
            // With a timeout the system does not begin such a call anew by itself.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break error,
        }
        assert!(sent < MUCH, "it takes everything");
    };
    let kind = error.kind();
    assert!(
        matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error}"
    );
    client.resets();
    let mut other = server.connect();
    other.says("level\n");
    other.hears("yes: level");
}

#[test]
fn palindrome_client_prints_an_answer_to_each_line() {
    let server = Server::start("palindrome_server", &[]);
    let address = server.address.to_string();
    let mut client = example("palindrome_client", &[&address]);
    for answer in [
        "yes: level",
        "no: lovely",
        "yes: été",
        "yes: Step on no pets!",
    ] {
        client.prints(answer);
    }
    client.ends_well();
    let mut client = example("palindrome_client", &[&address, "racecar", "rally"]);
    client.prints("yes: racecar");
    client.prints("no: rally");
    client.ends_well();
}

#[test]
fn palindrome_client_fails_when_answers_are_missing() {
    let (listener, address) = listener();
    let mut process = example("palindrome_client", &[&address, "one", "two"]);
    let mut client = accept(&listener);
    assert_eq!(client.reads_rest(), b"one\ntwo\n");
    client.says("no: one\nno: ");
    drop(client);
    process.prints("no: one");
    process.fails(1, "1 answers to 2 questions");
}

#[test]
fn server_and_client_talk_in_one_process() {
    let mut process = example("server_and_client", &[]);
    process.listens();
    let mut said = (Vec::new(), Vec::new());
    let ended = process.ended(|line| match line.split_once(": ") {
        Some(("server", event)) => said.0.push(event.to_string()),
        Some(("client", event)) => said.1.push(event.to_string()),
        _ => panic!("it printed {line:?}"),
    });
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(
        said.0,
        ["a client has come", "got Hello, server!", "closed"]
    );
    assert_eq!(said.1, ["connected", "got Hello, client!", "closed"]);
}

#[test]
fn server_and_client_fails_when_its_address_is_taken() {
    let (_taken, address) = listener();
    let message = format!("Error: listen EADDRINUSE: address already in use {address}");
    example("server_and_client", &[&address]).fails(1, &message);
}

#[test]
fn pause_on_connect_reads_nothing_before_the_pause_is_over() {
    let mut server = Server::start("pause_on_connect", &["300"]);
    let mut client = server.connect();
    client.says("early\n");
    server.prints("connected, paused for 300 ms");
    server.prints("resumed after 0 bytes");
    server.prints("received: early");
    client.hears("early");
    client.says("late\n");
    server.prints("received: late");
    client.hears("late");
    client.ends();
    client.hears_end();
    server.prints("closed");
}

#[test]
fn pause_on_connect_loses_nothing_of_who_has_left_meanwhile() {
    let mut server = Server::start("pause_on_connect", &["300"]);
    let mut client = server.connect();
    client.says("early\n");
    client.ends();
    server.prints("connected, paused for 300 ms");
    server.prints("resumed after 0 bytes");
    server.prints("received: early");
    client.hears("early");
    client.hears_end();
    server.prints("closed");
}

#[test]
fn max_connections_turns_away_who_comes_beyond() {
    let mut server = Server::start("max_connections", &["2"]);
    let (mut first, mut second) = (server.connect(), server.connect());
    first.hears("welcome");
    second.hears("welcome");
    server.prints("connected: 1 of 2");
    server.prints("connected: 2 of 2");
    let mut third = server.connect();
    third.hears_end();
    server.prints(&format!("dropped: {}", third.address()));
    // Nobody wants it, but it must not hide the end.
    first.says("hello?");
    first.ends();
    first.hears_end();
    server.prints("closed: 1 of 2");
    let mut fourth = server.connect();
    fourth.hears("welcome");
    server.prints("connected: 2 of 2");
    second.resets();
    server.prints("closed: 1 of 2");
}

#[test]
fn closing_server_closes_at_the_second_connection() {
    let mut server = Server::start("closing_server", &[]);
    let (mut first, mut second) = (server.connect(), server.connect());
    server.prints("connection 1");
    server.prints("connection 2");
    server.prints("no more connections");
    let refused = TcpStream::connect(server.address).expect_err("it is closed");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    for client in [&mut first, &mut second] {
        client.says("still there?");
        client.reads("still there?");
    }
    first.ends();
    first.hears_end();
    server.prints("connection 1 has ended");
    second.ends();
    second.hears_end();
    server.prints("connection 2 has ended");
    server.prints("server closed");
    server.prints("nothing is left to wait for; listening: false");
    server.ends_well();
}

#[test]
fn closing_server_does_not_hold_the_program_after_the_first_end() {
    let mut server = Server::start("closing_server", &[]);
    let mut client = server.connect();
    server.prints("connection 1");
    client.ends();
    client.hears_end();
    server.prints("connection 1 has ended");
    server.prints("nothing is left to wait for; listening: true");
    server.ends_well();
}

#[test]
fn address_in_use_waits_until_it_is_free() {
    let (taken, address) = listener();
    let mut process = example("address_in_use", &[&address, "50"]);
    let waiting = format!("{address} is in use; trying again in 50 ms");
    process.prints(&waiting);
    process.prints(&waiting);
    drop(taken);
    let lines = process.prints_until("listening on ");
    assert_eq!(lines.last(), Some(&format!("listening on {address}")));
    let mut client = Client::connect(address.parse().expect("an address"));
    client.hears("at last");
    client.hears_end();
}

#[test]
fn address_in_use_gives_up_at_last() {
    let (_taken, address) = listener();
    let mut process = example("address_in_use", &[&address, "1", "2"]);
    for _ in 0..2 {
        process.prints(&format!("{address} is in use; trying again in 1 ms"));
    }
    let message = format!("Error: listen EADDRINUSE: address already in use {address}");
    process.fails(1, &message);
}

#[test]
fn address_in_use_does_not_try_again_what_will_not_get_better() {
    // From a block that is kept for documentation, so it belongs to no machine.
    let message = "Error: listen EADDRNOTAVAIL: address not available 192.0.2.1:40000";
    example("address_in_use", &["192.0.2.1:40000", NEVER_MS]).fails(1, message);
}

#[test]
fn bye_client_says_bye_when_its_time_is_over() {
    let (listener, address) = listener();
    let mut process = example("bye_client", &[&address, "1000"]);
    let mut client = accept(&listener);
    client.says("hello\n");
    process.prints("connected");
    process.prints("received: hello");
    // A character in two pieces.
    client.says(b"gr\xC3");
    process.prints("received: gr");
    client.says(b"\xBC\xC3\x9F\n");
    process.prints("received: üß");
    process.prints("saying bye");
    client.hears("bye");
    client.hears_end();
    drop(client);
    process.prints("the server has ended");
    process.ends_well();
}

#[test]
fn bye_client_does_not_wait_for_the_rest_of_its_time() {
    let (listener, address) = listener();
    let mut process = example("bye_client", &[&address, NEVER_MS]);
    drop(accept(&listener));
    process.prints("connected");
    process.prints("the server has ended");
    process.ends_well();
}
