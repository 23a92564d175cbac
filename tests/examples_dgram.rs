//! The examples of UDP as processes, with clients that talk to them.

mod support_process;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use support_process::examples::{Server, example, executable, is_installed};
use support_process::files::{Scratch, content};
use support_process::{DEADLINE, Process};

/// Longer than any test takes.
const NEVER_MS: &str = "3600000";

/// The examples that are bound to the address of their first argument.
const SERVERS: [&str; 4] = ["udp_echo", "udp_closing", "udp_file_receiver", "dns_server"];

/// A UDP socket of a test. Whatever it waits for has a deadline.
struct Peer(UdpSocket);

impl Peer {
    fn new() -> Peer {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        socket.set_read_timeout(Some(DEADLINE)).expect("not zero");
        Peer(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("it is bound")
    }

    #[track_caller]
    fn says(&self, to: SocketAddr, message: impl AsRef<[u8]>) {
        self.0.send_to(message.as_ref(), to).expect("it is sent");
    }

    /// The next datagram, and who has sent it.
    #[track_caller]
    fn hears(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let (size, from) = self.0.recv_from(&mut buffer).expect("a datagram");
        buffer.truncate(size);
        (buffer, from)
    }
}

#[test]
fn every_server_says_that_its_address_is_taken_and_fails() {
    for name in SERVERS {
        let taken = Peer::new();
        let address = taken.address().to_string();
        let scratch = Scratch::new();
        let file = scratch.name("file");
        let mut arguments = vec![address.as_str()];
        if name == "udp_file_receiver" {
            arguments.push(&file);
        }
        let message = format!("bind EADDRINUSE {address}");
        let ended = example(name, &arguments).ended(|line| panic!("it printed {line}"));
        assert_eq!(ended.status.code(), Some(1), "{name}: {}", ended.stderr);
        let first = ended.stderr.lines().next().unwrap_or_default();
        assert_eq!(first.trim_start_matches("Error: "), message, "{name}");
    }
}

#[test]
fn what_is_no_address_is_a_message_and_a_failure() {
    let others = [
        "udp_client",
        "udp_connected",
        "udp_broadcast",
        "udp_multicast_sender",
        "udp_multicast_member",
    ];
    for name in SERVERS.into_iter().chain(others) {
        let ended = example(name, &["nowhere"]).ended(|line| panic!("it printed {line}"));
        assert_eq!(ended.status.code(), Some(2), "{name}");
        assert!(
            ended.stderr.starts_with("nowhere is no "),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn udp_echo_answers_everybody() {
    let mut server = Server::start("udp_echo", &[]);
    let peers = [Peer::new(), Peer::new()];
    for text in ["Hello", "Привет, мир!", "你好，世界！", ""] {
        for peer in &peers {
            peer.says(server.address, text);
            assert_eq!(peer.hears(), (text.as_bytes().to_vec(), server.address));
            let from = peer.address();
            server.prints(&format!("message from {from}: {text}"));
        }
    }
    let large = vec![7; 60_000];
    peers[0].says(server.address, &large);
    assert_eq!(peers[0].hears().0, large);
    server.prints_until("message");
    peers[1].says(server.address, b"\xFF");
    assert_eq!(peers[1].hears().0, b"\xFF");
    server.prints(&format!("message from {}: \u{FFFD}", peers[1].address()));
}

#[test]
fn udp_client_and_udp_echo_talk() {
    let mut server = Server::start("udp_echo", &[]);
    let address = server.address.to_string();
    let mut client = example("udp_client", &[&address, NEVER_MS]);
    client.prints("listening");
    // Answers may come between.
    let lines = client.prints_until("close");
    let of = |beginning: &str| -> Vec<&str> {
        let lines = lines.iter().map(String::as_str);
        lines.filter(|line| line.starts_with(beginning)).collect()
    };
    let sent = [
        "sent 21 bytes",
        "sent 18 bytes",
        "sent 0 bytes",
        "sent 29 bytes",
    ];
    assert_eq!(of("sent"), sent);
    let texts = [
        "Привет, мир!",
        "你好，世界！",
        "",
        "one datagram of three buffers",
    ];
    assert_eq!(of("message"), texts.map(|text| format!("message: {text}")));
    assert_eq!(lines.len(), 9);
    client.ends_well();
    for text in texts {
        let line = server.prints_until("message").pop().unwrap_or_default();
        assert!(line.ends_with(&format!(": {text}")), "{line}");
    }
}

#[test]
fn udp_client_says_what_has_not_come() {
    let peer = Peer::new();
    let address = peer.address().to_string();
    let mut client = example("udp_client", &[&address, "300"]);
    let (first, client_address) = peer.hears();
    assert_eq!(first, "Привет, мир!".as_bytes());
    let stranger = Peer::new();
    stranger.says(
        SocketAddr::from(([127, 0, 0, 1], client_address.port())),
        "I am not it",
    );
    peer.says(client_address, &first);
    let lines = client.prints_until("close");
    assert!(lines.contains(&"message: Привет, мир!".into()), "{lines:?}");
    assert!(
        !lines.iter().any(|line| line.contains("not it")),
        "{lines:?}"
    );
    client.fails(1, "3 of 4 answers have not come");
}

#[test]
fn udp_connected_sends_and_closes() {
    let peer = Peer::new();
    let address = peer.address().to_string();
    let mut client = example("udp_connected", &[&address, "one", "два", "三"]);
    let line = client.prints_until("").pop().unwrap_or_default();
    client.prints("close");
    client.ends_well();
    for text in ["one", "два", "三"] {
        let (message, from) = peer.hears();
        assert_eq!(message, text.as_bytes());
        assert_eq!(
            line.split_once(" is connected to "),
            Some((&*from.to_string(), &*address))
        );
    }
}

#[test]
fn udp_closing_closes_when_its_time_has_come() {
    let mut server = Server::start("udp_closing", &["300"]);
    let peer = Peer::new();
    peer.says(server.address, "heard");
    server.prints(&format!("message from {}: heard", peer.address()));
    server.prints("close");
    server.ends_well();
    // Nobody else has got its port yet, or it is free.
    let mut staying = Server::start("udp_closing", &[NEVER_MS]);
    let silence = staying.silent_for(Duration::from_millis(400));
    assert_eq!(silence, Ok(()));
}

// Files.

/// Bytes that are the same nowhere near each other.
fn noise(size: usize) -> Vec<u8> {
    (0..size as u32)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

#[test]
fn a_file_arrives_or_what_was_lost_is_counted() {
    let bytes = noise(1_000_000);
    let scratch = Scratch::new();
    let received = scratch.name("received");
    scratch.file("sent", &bytes);
    let mut receiver = Server::start("udp_file_receiver", &[&received, "500"]);
    let address = receiver.address.to_string();
    let mut sender = example("udp_file_sender", &[&scratch.name("sent"), &address]);
    sender.prints("sent 834 datagrams, 1000000 bytes");
    let counts = sender.prints_until("").pop().unwrap_or_default();
    let words: Vec<&str> = counts.split(' ').collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse().ok());
    let (arrived, lost): (usize, usize) = (number(0).unwrap_or(0), number(3).unwrap_or(0));
    assert_eq!(counts, format!("{arrived} have arrived, {lost} were lost"));
    assert_eq!(arrived + lost, 834);
    assert_eq!(
        sender
            .ended(|line| panic!("it printed {line}"))
            .status
            .code(),
        Some(i32::from(lost > 0))
    );
    receiver.prints(&format!(
        "{arrived} of 834 datagrams have arrived, {lost} were lost"
    ));
    receiver.prints_until("close");
    receiver.ends_well();
    let got = content(&received);
    assert_eq!(got.len(), bytes.len());
    let is_lost = |index: usize| got[index * 1200..].iter().take(1200).all(|&byte| byte == 0);
    let wrong = (0..834).filter(|&index| {
        let end = (index * 1200 + 1200).min(bytes.len());
        got[index * 1200..end] != bytes[index * 1200..end] && !is_lost(index)
    });
    assert_eq!(wrong.count(), 0);
    assert_eq!((0..834).filter(|&index| is_lost(index)).count(), lost);
}

/// A datagram of the protocol: what it is, a number, the rest.
fn part(kind: u8, number: u32, rest: &[u8]) -> Vec<u8> {
    [&[kind][..], &number.to_be_bytes(), rest].concat()
}

#[test]
fn the_receiver_counts_what_was_lost_and_takes_nothing_from_strangers() {
    let scratch = Scratch::new();
    let received = scratch.name("received");
    let mut receiver = Server::start("udp_file_receiver", &[&received, "100"]);
    let (sender, stranger) = (Peer::new(), Peer::new());
    let bytes = noise(5 * 1200 + 100);
    let pieces: Vec<&[u8]> = bytes.chunks(1200).collect();
    // In another order, one of them twice, two of them never.
    for number in [4, 0, 5, 0, 2] {
        sender.says(receiver.address, part(0, number as u32, pieces[number]));
    }
    stranger.says(receiver.address, part(0, 1, b"not from the sender"));
    let odd_ones = [
        vec![],
        vec![0, 0],
        part(0, 1, &[]),
        part(0, 1, &[1; 1201]),
        part(0, 1_000_000, b"x"),
        part(1, 6, &[1; 8]),
        part(3, 0, &[]),
    ];
    for odd in &odd_ones {
        sender.says(receiver.address, odd);
    }
    let end = part(1, 6, &(bytes.len() as u64).to_be_bytes());
    for _ in 0..2 {
        sender.says(receiver.address, &end);
        assert_eq!(sender.hears().0, part(2, 4, &[]));
    }
    receiver.prints(&format!("{} is not the sender", stranger.address()));
    for _ in &odd_ones {
        receiver.prints(&format!("{} sends something else", sender.address()));
    }
    receiver.prints("4 of 6 datagrams have arrived, 2 were lost");
    receiver.prints(&format!(
        "{} of {} bytes",
        bytes.len() - 2 * 1200,
        bytes.len()
    ));
    receiver.prints("close");
    receiver.ends_well();
    let mut expected = bytes.clone();
    expected[1200..2400].fill(0);
    expected[3600..4800].fill(0);
    assert!(content(&received) == expected, "the file is another");
}

#[cfg(target_os = "linux")]
#[test]
fn a_receiver_that_can_not_write_fails() {
    let mut receiver = Server::start("udp_file_receiver", &["/dev/full"]);
    Peer::new().says(receiver.address, part(0, 0, b"some bytes"));
    receiver.fails(1, "Error: /dev/full: No space left on device (os error 28)");
    let message = "Error: /nowhere/at/all: No such file or directory (os error 2)";
    example("udp_file_receiver", &["127.0.0.1:0", "/nowhere/at/all"]).fails(1, message);
}

#[test]
fn a_receiver_whose_address_is_taken_leaves_the_file_alone() {
    let scratch = Scratch::new();
    scratch.file("received", b"by another one");
    let path = scratch.name("received");
    let taken = Peer::new();
    let address = taken.address().to_string();
    let message = format!("Error: bind EADDRINUSE {address}");
    example("udp_file_receiver", &[&address, &path]).fails(1, &message);
    assert_eq!(content(&path), b"by another one");
}

#[test]
fn the_sender_sends_nothing_of_a_file_that_is_too_large() {
    let scratch = Scratch::new();
    scratch.file("large", b"");
    let path = scratch.name("large");
    let large = std::fs::File::options().write(true).open(&path);
    // Of zeros, so that it takes no room.
    let made = large.and_then(|file| file.set_len(1_200_000_001));
    made.expect("it is a file");
    let message = format!("{path}: too large, it would need more datagrams than there are numbers");
    let address = Peer::new().address().to_string();
    example("udp_file_sender", &[&path, &address]).fails(1, &message);
}

#[cfg(target_os = "linux")]
#[test]
fn udp_connected_ends_when_it_can_not_connect() {
    // Nobody has allowed broadcasts.
    let message = "Error: connect EACCES 127.255.255.255:40000";
    example("udp_connected", &["127.255.255.255:40000", "one"]).fails(1, message);
}

#[test]
fn the_sender_is_told_that_nobody_receives() {
    // Bound, and connected to a port that nobody sends from: what comes is refused.
    let deaf = Peer::new();
    deaf.0
        .connect((Ipv4Addr::LOCALHOST, 1))
        .expect("it is bound");
    let scratch = Scratch::new();
    scratch.file("file", b"some bytes");
    let address = deaf.address().to_string();
    let ended = example("udp_file_sender", &[&scratch.name("file"), &address]).ended(drop);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let first = ended.stderr.lines().next();
    assert_eq!(first, Some("Error: recvmsg ECONNREFUSED"));
    let ended = example("udp_file_sender", &["/no/such/file", &address]).ended(drop);
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stderr.starts_with("/no/such/file: "),
        "{}",
        ended.stderr
    );
}

// Groups.

/// Whether this machine delivers to groups on its loopback interface. If not the test says so.
fn has_multicast() -> bool {
    let loopback = Ipv4Addr::LOCALHOST;
    let group = Ipv4Addr::new(230, 185, 192, 110);
    let works = || -> std::io::Result<()> {
        let member = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        member.join_multicast_v4(&group, &loopback)?;
        member.set_read_timeout(Some(Duration::from_secs(1)))?;
        let sender = UdpSocket::bind((loopback, 0))?;
        socket2::SockRef::from(&sender).set_multicast_if_v4(&loopback)?;
        sender.send_to(b"x", (group, member.local_addr()?.port()))?;
        member.recv_from(&mut [0; 1]).map(drop)
    };
    match works() {
        Ok(()) => true,
        Err(error) => {
            println!("skipped: no multicast on this machine's loopback interface: {error}");
            false
        }
    }
}

#[test]
fn members_join_and_leave_a_group() {
    if !has_multicast() {
        return;
    }
    let group = |port: u16| format!("230.185.192.108:{port}");
    let mut first = example("udp_multicast_member", &[&group(0), "127.0.0.1", "2"]);
    let port = first.listens().port();
    first.prints("joined 230.185.192.108");
    let group = group(port);
    let mut second = example("udp_multicast_member", &[&group, "127.0.0.1", "4"]);
    assert_eq!(second.listens().port(), port);
    second.prints("joined 230.185.192.108");
    let mut sender = example("udp_multicast_sender", &[&group, "127.0.0.1", "50", "5"]);
    sender.prints(&format!("sending to {group}"));
    for (member, count) in [(&mut first, 2), (&mut second, 4)] {
        for number in 1..=count {
            let line = member
                .prints_until("message from ")
                .pop()
                .unwrap_or_default();
            assert!(line.ends_with(&format!(": number {number}")), "{line}");
        }
        member.prints("left 230.185.192.108");
        member.prints("close");
        member.ends_well();
    }
    for number in 1..=5 {
        sender.prints(&format!("sent {number}"));
    }
    sender.prints("close");
    sender.ends_well();
}

/// A shell in a network of its own, with a loopback interface that is the way to all groups. None if
/// that is not allowed here; then the test says so.
fn shell_in_own_network(script: &str, arguments: &[&str]) -> Option<Process> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "sh", "-c", script, "sh"]);
        command
    };
    let setup = "ip link set lo up && ip route add 230.0.0.0/8 dev lo src 127.0.0.1";
    let made = unshare(setup).output();
    if !made.as_ref().is_ok_and(|made| made.status.success()) {
        println!("skipped: no network of its own can be made here: {made:?}");
        return None;
    }
    let script = format!("{setup} || exit 1\n{script}");
    Some(Process::start(unshare(&script).args(arguments)))
}

// N288.
#[test]
fn in_a_network_of_its_own_the_system_chooses_the_interface() {
    let member = executable("udp_multicast_member");
    let sender = executable("udp_multicast_sender");
    let script = r#""$1" 230.185.192.108:40000 0.0.0.0 20 600 >/dev/null & "$2" 230.185.192.108:40000 0.0.0.0 2; kill $!"#;
    let paths = [sender, member].map(|path| path.to_str().expect("it is text"));
    let Some(mut shell) = shell_in_own_network(script, &paths) else {
        return;
    };
    shell.prints("listening on 0.0.0.0:40000");
    shell.prints("joined 230.185.192.108");
    for _ in 0..2 {
        shell.prints_until("message from 127.0.0.1:");
    }
    shell.prints("left 230.185.192.108");
    shell.prints("close");
}

#[test]
fn a_member_where_there_is_no_network_says_so() {
    // Without a route to any group.
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net"]);
    command.arg(executable("udp_multicast_member"));
    if !Command::new("unshare")
        .args(["--map-root-user", "--net", "true"])
        .status()
        .is_ok_and(|status| status.success())
    {
        println!("skipped: no network of its own can be made here");
        return;
    }
    let mut member = Process::start(&mut command);
    let ended = member.ended(|line| assert!(!line.starts_with("joined"), "{line}"));
    assert_eq!(ended.stderr, "addMembership ENODEV\n");
    assert!(ended.status.success());
}

#[test]
fn udp_broadcast_finds_who_answers() {
    let mut server = {
        let mut process = example("udp_echo", &["0.0.0.0:0"]);
        let address = process.listens();
        (process, address.port())
    };
    let everybody = format!("127.255.255.255:{}", server.1);
    let mut client = example("udp_broadcast", &[&everybody, "300"]);
    let lines = client.prints_until("close");
    if lines == ["close"] {
        println!("skipped: no broadcast on this machine's loopback interface");
        return;
    }
    assert_eq!(lines[0], format!("asked {everybody}"));
    let answer = format!("127.0.0.1:{} answers: Is anybody there?", server.1);
    assert_eq!(lines[1..], [answer, "close".to_string()]);
    client.ends_well();
    let heard = server.0.prints_until("message").pop().unwrap_or_default();
    assert!(heard.ends_with(": Is anybody there?"), "{heard}");
}

// Names.

/// A question for the address of `example.test`.
const QUESTION: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x04test\x00\x00\x01\x00\x01";

#[test]
fn dns_server_answers_questions_and_nothing_else() {
    let mut server = Server::start("dns_server", &["example.test=192.0.2.7"]);
    let peer = Peer::new();
    let from = peer.address();
    // To these no answer may come, or the next one would not be the next.
    let mut an_answer = QUESTION.to_vec();
    an_answer[2] |= 0x80;
    for dropped in [&b""[..], b"GET / HTTP", &an_answer] {
        peer.says(server.address, dropped);
    }
    peer.says(server.address, QUESTION);
    let (answer, _) = peer.hears();
    assert_eq!(
        answer[..12],
        *b"\x12\x34\x85\x00\x00\x01\x00\x01\x00\x00\x00\x00"
    );
    assert_eq!(answer[12..QUESTION.len()], QUESTION[12..]);
    assert_eq!(
        answer[QUESTION.len()..],
        *b"\xC0\x0C\x00\x01\x00\x01\x00\x00\x01\x2C\x00\x04\xC0\x00\x02\x07"
    );
    for _ in 0..2 {
        server.prints(&format!("{from}: dropped: it is shorter than a header"));
    }
    server.prints(&format!("{from}: dropped: it is an answer"));
    server.prints(&format!("{from}: example.test has [192.0.2.7]"));
    peer.says(server.address, &QUESTION[..20]);
    assert_eq!(
        peer.hears().0,
        b"\x12\x34\x81\x01\x00\x00\x00\x00\x00\x00\x00\x00"
    );
    server.prints(&format!("{from}: malformed"));
    // Noise, and still an answer: often, since more would not fit the server's receive buffer.
    let other = Peer::new();
    for size in 0..600 {
        peer.says(server.address, noise(size));
        if size % 20 == 0 {
            other.says(server.address, QUESTION);
            assert_eq!(other.hears().0, answer);
        }
    }
}

#[test]
fn a_row_that_is_none_is_a_message_and_a_failure() {
    for row in ["example.test", "example.test=nowhere", "a..b=192.0.2.1"] {
        let mut server = example("dns_server", &["127.0.0.1:0", row]);
        let message =
            format!("{row} is no NAME=ADDRESS; usage: dns_server [ADDRESS:PORT [NAME=ADDRESS…]]");
        server.fails(2, &message);
    }
}

#[test]
fn dig_gets_its_answers() {
    if !is_installed("dig") {
        return;
    }
    let server = Server::start("dns_server", &[]);
    let dig = |arguments: &[&str]| {
        let port = server.address.port().to_string();
        let mut dig = Command::new("dig");
        dig.args([
            "@127.0.0.1",
            "-p",
            &port,
            "+tries=3",
            "+timeout=10",
            "+noall",
        ]);
        let mut process = Process::start(dig.args(arguments));
        let mut lines = Vec::new();
        let ended = process.ended(|line| lines.push(line));
        assert!(ended.status.success(), "{lines:?} {}", ended.stderr);
        lines
    };
    let short = |name: &str| dig(&["+short", name]);
    assert_eq!(short("example.test"), ["192.0.2.1"]);
    assert_eq!(short("WWW.example.TEST"), ["192.0.2.1"]);
    assert_eq!(short("many.example.test"), ["192.0.2.2", "192.0.2.3"]);
    let status = |arguments: &[&str]| {
        let lines = dig(&[&["+comments"], arguments].concat());
        let found = lines.iter().find_map(|line| line.split_once("status: "));
        let status = found.and_then(|(_, rest)| rest.split(',').next());
        status.unwrap_or_else(|| panic!("{lines:?}")).to_string()
    };
    assert_eq!(status(&["example.test", "A"]), "NOERROR");
    assert_eq!(status(&["example.test", "AAAA"]), "NOERROR");
    assert_eq!(status(&["nobody.test"]), "NXDOMAIN");
    assert_eq!(status(&["-c", "CH", "example.test"]), "REFUSED");
}
