//! The chats, with several clients at once, and what they read their lines with.

#[path = "../examples/common/lines.rs"]
mod lines;
mod support_process;
#[path = "../examples/common/telnet.rs"]
mod telnet;

use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lines::{BadLine, Lines};
use support_process::Process;
use support_process::examples::{Client, Server, is_installed};
use telnet::Telnet;

/// What telnet sends by itself: WILL ECHO, DO TERMINAL-TYPE, a subnegotiation whose bytes look like
/// text and contain an escaped 255, and AYT.
const NOISE: &[u8] = b"\xFF\xFB\x01\xFF\xFD\x18\xFF\xFA\x18\x00b:x\n\xFF\xFFy\xFF\xF0\xFF\xF6";

const CHATS: [&str; 2] = ["chat1", "chat2"];

/// A chat 1.0 with two members.
fn chat1() -> (Server, Client, Client) {
    let mut server = Server::start("chat1", &[]);
    let mut ann = server.connect();
    ann.hears("Your nickname?");
    ann.says("ann\n");
    ann.hears("* Hello, ann! 1 on-line");
    let mut ben = server.connect();
    ben.hears("Your nickname?");
    ben.says("ben\r\n");
    ben.hears("* Hello, ben! 2 on-line");
    ann.hears("* ben has joined, 2 on-line");
    server.prints("ann has joined, 1 on-line");
    server.prints("ben has joined, 2 on-line");
    (server, ann, ben)
}

/// A chat 2.0 with two members.
fn chat2() -> (Server, Client, Client) {
    let mut server = Server::start("chat2", &[]);
    let mut ann = server.connect();
    ann.hears("* Hello, guest1! 1 on-line; try help");
    ann.says("n:ann\n");
    ann.hears("* guest1 is now ann");
    let mut ben = server.connect();
    ben.hears("* Hello, guest2! 2 on-line; try help");
    ann.hears("* guest2 has joined, 2 on-line");
    ben.says("n:ben\r\n");
    ann.hears("* guest2 is now ben");
    ben.hears("* guest2 is now ben");
    server.prints("guest1 has joined, 1 on-line");
    server.prints("guest2 has joined, 2 on-line");
    (server, ann, ben)
}

// Chat 1.0.

#[test]
fn chat1_tells_the_others_and_not_oneself() {
    let (mut server, mut ann, mut ben) = chat1();
    let mut cleo = server.connect();
    cleo.hears("Your nickname?");
    ann.says("hello\n");
    ben.hears("ann: hello");
    // She is not in yet, so she has not heard it.
    cleo.says("cleo\n");
    cleo.hears("* Hello, cleo! 3 on-line");
    ann.hears("* cleo has joined, 3 on-line");
    ben.hears("* cleo has joined, 3 on-line");
    cleo.says("hi\n");
    ann.hears("cleo: hi");
    ben.hears("cleo: hi");
    server.prints("cleo has joined, 3 on-line");
}

#[test]
fn chat1_puts_lines_together_and_takes_them_apart() {
    let (_server, mut ann, mut ben) = chat1();
    ann.says("hel");
    // Served behind what was there before.
    ben.says("what?\n");
    ann.hears("ben: what?");
    ann.says("lo\none\r\n\ntwo\nthr");
    ann.says("ee\n");
    ben.hears_all(&["ann: hello", "ann: one", "ann: two", "ann: three"]);
}

#[test]
fn chat1_byebye_leaves_and_what_is_said_behind_it_is_not_heard() {
    let (mut server, mut ann, mut ben) = chat1();
    ben.says("so long\nbyebye\nnever said\n");
    ann.hears("ben: so long");
    ann.hears("* ben has left, 1 on-line");
    ben.hears("* Bye!");
    ben.hears_end();
    // Still there, but no member any more.
    ben.says("hello?\n");
    ben.ends();
    server.prints("ben has left, 1 on-line");
    let mut cleo = server.connect();
    cleo.says("ben\n");
    cleo.hears("Your nickname?");
    cleo.hears("* Hello, ben! 2 on-line");
    ann.hears("* ben has joined, 2 on-line");
}

#[test]
fn who_has_said_that_he_leaves_says_nothing_in_a_later_chunk() {
    for (name, word) in [("chat1", "byebye\n"), ("chat2", "quit\n")] {
        let mut server = Server::start(name, &[]);
        let mut ann = server.connect();
        ann.line();
        let mut ben = server.connect();
        ben.line();
        ben.says(word);
        ben.hears("* Bye!");
        ben.hears_end();
        // A line that is no text, and one that could be a nickname.
        ben.says(b"\xC3\n");
        ben.says("ghost\n");
        ben.ends();
        ann.says("ann\n");
        match name {
            "chat1" => ann.hears("* Hello, ann! 1 on-line"),
            _ => ann.hears_all(&[
                "* guest2 has joined, 2 on-line",
                "* guest2 has left, 1 on-line",
                "* unknown command: ann; try help",
            ]),
        }
        if name == "chat1" {
            server.prints("ann has joined, 1 on-line");
        }
        // Nothing was written behind an end.
        assert_eq!(server.killed().stderr, "", "{name}");
    }
}

#[test]
fn chat1_byebye_leaves_before_one_has_a_nickname_too() {
    let (_server, mut ann, mut ben) = chat1();
    let mut nobody = _server.connect();
    nobody.hears("Your nickname?");
    nobody.says("byebye\n");
    nobody.hears("* Bye!");
    nobody.hears_end();
    ben.says("still two\n");
    ann.hears("ben: still two");
}

#[test]
fn chat1_nicknames_are_checked() {
    let (_server, _ann, _ben) = chat1();
    let mut cleo = _server.connect();
    cleo.hears("Your nickname?");
    let count = "* a nickname has 1 to 20 characters; your nickname?";
    let letters = "* a nickname has letters, digits, - and _; your nickname?";
    let taken = "* that nickname is taken; your nickname?";
    for (nick, answer) in [
        ("", count),
        ("   ", count),
        ("123456789012345678901", count),
        ("an n", letters),
        ("a:n", letters),
        ("ann", taken),
        (" Ann ", taken),
        ("BEN", taken),
    ] {
        cleo.says(format!("{nick}\n"));
        cleo.hears(answer);
    }
    // Twenty characters, but more bytes.
    let longest = "é".repeat(20);
    cleo.says(format!("{longest}\n"));
    cleo.hears(&format!("* Hello, {longest}! 3 on-line"));
}

// Chat 2.0.

#[test]
fn chat2_speaks_to_all_and_to_one() {
    let (server, mut ann, mut ben) = chat2();
    let mut cleo = server.connect();
    cleo.hears("* Hello, guest3! 3 on-line; try help");
    ann.hears("* guest3 has joined, 3 on-line");
    ben.hears("* guest3 has joined, 3 on-line");
    ann.says("c:BEN:for you: alone\nb:for all: you too\nc:nobody:are you there?\n");
    ben.hears("ann (private): for you: alone");
    ann.hears("ann: for all: you too");
    ann.hears("* nobody is called nobody");
    ben.hears("ann: for all: you too");
    cleo.hears("ann: for all: you too");
    // To oneself.
    ann.says("c:ann:note\n");
    ann.hears("ann (private): note");
}

#[test]
fn chat2_lists_renames_helps_and_quits() {
    let (mut server, mut ann, mut ben) = chat2();
    ann.says("l\n");
    ann.hears("* 2 on-line: ann, ben");
    for (nick, answer) in [
        ("n:BEN", "* that nickname is taken"),
        ("n:", "* a nickname has 1 to 20 characters"),
        ("n:a:b", "* a nickname has letters, digits, - and _"),
    ] {
        ann.says(format!("{nick}\n"));
        ann.hears(answer);
    }
    // One's own in another case.
    ann.says("n: Ann \n");
    ann.hears("* ann is now Ann");
    ben.hears("* ann is now Ann");
    ann.says("help\n");
    ann.hears("* b:TEXT       says it to all");
    for _ in 0..4 {
        ann.line();
    }
    ann.hears("* help         shows this");
    ben.says("quit\nb:never said\n");
    ben.hears("* Bye!");
    ben.hears_end();
    ann.hears("* ben has left, 1 on-line");
    server.prints("ben has left, 1 on-line");
}

#[test]
fn chat2_answers_what_it_does_not_know() {
    let (_server, mut ann, mut ben) = chat2();
    for line in ["hello", "x:y", "c:ben", "B:loud", "quit now", ":"] {
        ann.says(format!("{line}\n"));
        ann.hears(&format!("* unknown command: {line}; try help"));
    }
    // An empty line is nothing.
    ann.says("\n\r\nb:hi\n");
    ann.hears("ann: hi");
    ben.hears("ann: hi");
}

#[test]
fn chat2_gives_no_guest_a_name_that_somebody_has() {
    let (server, mut ann, _ben) = chat2();
    ann.says("n:Guest3\n");
    ann.hears("* ann is now Guest3");
    let mut cleo = server.connect();
    cleo.hears("* Hello, guest4! 3 on-line; try help");
}

// Both.

/// A chat, two members, and what they say to be heard by the other.
fn chat(name: &str) -> (Server, Client, Client, &'static str) {
    match name {
        "chat1" => {
            let (server, ann, ben) = chat1();
            (server, ann, ben, "")
        }
        _ => {
            let (server, ann, ben) = chat2();
            (server, ann, ben, "b:")
        }
    }
}

#[test]
fn who_vanishes_has_left() {
    for name in CHATS {
        let (mut server, mut ann, ben, _) = chat(name);
        ben.resets();
        ann.hears("* ben has left, 1 on-line");
        server.prints("ben has left, 1 on-line");
        let ben = server.connect();
        drop(ben);
        // It goes on.
        let mut cleo = server.connect();
        assert!(!cleo.line().is_empty());
    }
}

#[test]
fn who_ends_has_left() {
    for name in CHATS {
        let (mut server, mut ann, mut ben, _) = chat(name);
        ben.ends();
        ben.hears_end();
        ann.hears("* ben has left, 1 on-line");
        server.prints("ben has left, 1 on-line");
    }
}

#[test]
fn telnet_sequences_are_not_heard() {
    for name in CHATS {
        let (_server, mut ann, mut ben, to_all) = chat(name);
        ann.stream.set_nodelay(true).expect("it is a socket");
        // In one piece, in front, in the middle and behind; then byte by byte.
        let line = [
            NOISE,
            to_all.as_bytes(),
            b"hel",
            NOISE,
            b"lo",
            NOISE,
            b"\r\n",
        ]
        .concat();
        ann.says(&line);
        said(name, "ann: hello", &mut ann, &mut ben);
        line.iter().for_each(|&byte| ann.says([byte]));
        said(name, "ann: hello", &mut ann, &mut ben);
        // In two, the first of which is read before the second comes.
        for place in 1..line.len() {
            ann.says(&line[..place]);
            ben.says(format!("{to_all}well?\n"));
            said(name, "ben: well?", &mut ben, &mut ann);
            ann.says(&line[place..]);
            said(name, "ann: hello", &mut ann, &mut ben);
        }
    }
}

/// Who listens has heard it; in chat 2.0 who has said it too.
fn said(name: &str, text: &str, speaker: &mut Client, listener: &mut Client) {
    listener.hears(text);
    if name == "chat2" {
        speaker.hears(text);
    }
}

#[test]
fn what_is_no_text_is_refused_and_the_next_line_is_heard() {
    for name in CHATS {
        let (_server, mut ann, mut ben, to_all) = chat(name);
        ann.says(b"\xC3\x28\n");
        ann.hears("* that line is not UTF-8 text");
        // A character that a read has cut in two is none of these.
        let line = format!("{to_all}été\n");
        let place = line.find('é').expect("it is there") + 1;
        ann.says(&line.as_bytes()[..place]);
        ann.says(&line.as_bytes()[place..]);
        ben.hears("ann: été");
        // Nor does anybody play tricks with the others' terminals.
        ann.says(format!("{to_all}\x1b[2Jboo\x07\0\n"));
        ben.hears("ann: [2Jboo");
    }
}

#[test]
fn a_line_that_never_ends_is_thrown_away() {
    for name in CHATS {
        let (_server, mut ann, mut ben, to_all) = chat(name);
        ann.says("x".repeat(8 * 1024 * 1024));
        ann.says("\n");
        ann.hears("* that line is too long");
        let longest = "y".repeat(1000 - to_all.len());
        ann.says(format!("{to_all}{longest}\r\n"));
        ben.hears(&format!("ann: {longest}"));
        ben.says(format!("{to_all}{longest}z\n"));
        ben.hears("* that line is too long");
    }
}

#[test]
fn who_does_not_read_is_put_out_and_the_others_go_on() {
    const ROUND: usize = 1024 * 1024;
    /// More than the kernel and the chat keep together.
    const ROUNDS: usize = 64;
    for name in CHATS {
        let (mut server, mut ann, ben, to_all) = chat(name);
        let is_out = Arc::new(AtomicBool::new(false));
        let mut stream = ann.stream.try_clone().expect("a descriptor is free");
        let line = format!("{to_all}{}\n", "x".repeat(900));
        let text = line.repeat(ROUND / line.len());
        let over = is_out.clone();
        let speaker = std::thread::spawn(move || {
            for _ in 0..ROUNDS {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                stream.write_all(text.as_bytes()).expect("it is read");
            }
            let last = format!("{to_all}the end\n");
            stream.write_all(last.as_bytes()).expect("it is read");
        });
        while ann.line() != "* ben has left, 1 on-line" {}
        is_out.store(true, Ordering::Relaxed);
        server.prints("ben has left, 1 on-line");
        // In chat 2.0 who speaks hears it too.
        while name == "chat2" && ann.line() != "ann: the end" {}
        speaker.join().expect("all is taken");
        drop(ben);
        let mut cleo = server.connect();
        assert!(
            cleo.line()
                .ends_with(if name == "chat1" { "?" } else { "try help" })
        );
    }
}

#[test]
fn somebody_elses_telnet_can_chat() {
    if !is_installed("telnet") {
        return;
    }
    for name in CHATS {
        let (server, mut ann, _ben, to_all) = chat(name);
        let port = server.address.port().to_string();
        let mut telnet = Process::start(Command::new("telnet").args(["127.0.0.1", &port]));
        let mut stdin = telnet.stdin();
        if name == "chat1" {
            telnet.prints_until("Your nickname?");
            stdin.write_all(b"cleo\n").expect("it runs");
            telnet.prints_until("* Hello, cleo! 3 on-line");
            ann.hears("* cleo has joined, 3 on-line");
        } else {
            telnet.prints_until("* Hello, guest3! 3 on-line");
            ann.hears("* guest3 has joined, 3 on-line");
            stdin.write_all(b"n:cleo\n").expect("it runs");
            ann.hears("* guest3 is now cleo");
        }
        stdin
            .write_all(format!("{to_all}hi\n").as_bytes())
            .expect("it runs");
        ann.hears("cleo: hi");
        ann.says(format!("{to_all}hello\n"));
        telnet.prints_until("ann: hello");
    }
}

// What they read with.

#[test]
fn telnet_text_is_the_same_however_it_is_cut() {
    let bytes = [b"a", NOISE, b"b\xFF\xFFc\xFF\xF1\xFF\xFE\x22d".as_slice()].concat();
    let text = b"ab\xFFcd";
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            let mut telnet = Telnet::new();
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            let got: Vec<u8> = pieces.iter().flat_map(|piece| telnet.text(piece)).collect();
            assert_eq!(got, text, "cut at {first} and {second}");
        }
    }
}

#[test]
fn lines_are_the_same_however_they_are_cut() {
    let bytes = "one\r\n\ntwö\n12345\r\n123456\n1234567890\n\u{20AC}\n\r\rx\nrest".as_bytes();
    let expected = [
        Ok("one"),
        Ok(""),
        Ok("twö"),
        Ok("12345"),
        Err(BadLine::TooLong),
        Err(BadLine::TooLong),
        Ok("€"),
        Ok("\r\rx"),
        Ok("rest"),
    ];
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            let mut lines = Lines::new(5);
            let mut got = Vec::new();
            for mut piece in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                while let Some(line) = lines.next(&mut piece) {
                    got.push(line);
                }
                assert!(piece.is_empty());
            }
            got.extend(lines.rest());
            let got: Vec<_> = got
                .iter()
                .map(|line| line.as_deref().map_err(|&bad| bad))
                .collect();
            assert_eq!(got, expected, "cut at {first} and {second}");
            assert_eq!(lines.rest(), None);
        }
    }
}

#[test]
fn a_bad_line_at_the_end_is_told_too() {
    for (bytes, expected) in [
        (b"\xC3".as_slice(), BadLine::NotText),
        (b"123456", BadLine::TooLong),
        (b"1234567", BadLine::TooLong),
    ] {
        let mut lines = Lines::new(5);
        assert_eq!(lines.next(&mut { bytes }), None);
        assert_eq!(lines.rest(), Some(Err(expected)));
        assert_eq!(lines.rest(), None);
    }
}

#[test]
fn a_line_that_never_ends_takes_no_memory() {
    let piece = [b'x'; 1000];
    let mut lines = Lines::new(5000);
    let taken = allocation_counter::measure(|| {
        for _ in 0..10_000 {
            assert_eq!(lines.next(&mut piece.as_slice()), None);
        }
    });
    // A vector may be twice as large as what it holds.
    assert!(taken.bytes_max < 16_384, "{taken:?}");
    assert_eq!(lines.rest(), Some(Err(BadLine::TooLong)));
}
