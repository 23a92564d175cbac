//! The packets of the example `dns_server`: what it answers, also to bytes that nobody in his right
//! mind would send.

#[path = "../examples/dns_server/packet.rs"]
mod packet;

use packet::{MAX_PACKET, Outcome, Table};

const A: u16 = 1;
const AAAA: u16 = 28;
const ANY: u16 = 255;
const IN: u16 = 1;
const CHAOS: u16 = 3;

fn table() -> Table {
    let mut table = Table::default();
    assert!(table.add("example.test", [192, 0, 2, 1].into()));
    assert!(table.add("Many.Example.TEST.", [192, 0, 2, 2].into()));
    assert!(table.add("many.example.test", [192, 0, 2, 3].into()));
    for number in 0..100 {
        assert!(table.add("crowd.test", [198, 51, 100, number].into()));
    }
    table
}

/// A packet with these numbers in its header.
fn packet(header: [u16; 6], rest: &[u8]) -> Vec<u8> {
    let mut packet: Vec<u8> = header.into_iter().flat_map(u16::to_be_bytes).collect();
    packet.extend_from_slice(rest);
    packet
}

fn question(name: &str, kind: u16, class: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).expect("a short label"));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&class.to_be_bytes());
    bytes
}

/// A question with the number 0x1234, recursion desired.
fn query(name: &str, kind: u16) -> Vec<u8> {
    packet([0x1234, 0x0100, 1, 0, 0, 0], &question(name, kind, IN))
}

#[track_caller]
fn answer(packet: &[u8]) -> Vec<u8> {
    match table().answer(packet) {
        Outcome::Answer(answer, _) => answer,
        Outcome::Drop(why) => panic!("dropped: {why}"),
    }
}

#[test]
fn a_name_of_the_table_has_its_address() {
    let record = b"\xC0\x0C\x00\x01\x00\x01\x00\x00\x01\x2C\x00\x04\xC0\x00\x02\x01";
    let question = question("example.test", A, IN);
    let expected = packet(
        [0x1234, 0x8500, 1, 1, 0, 0],
        &[&question, &record[..]].concat(),
    );
    assert_eq!(answer(&query("example.test", A)), expected);
    // The question is repeated as it was asked.
    let loud = answer(&query("EXAMPLE.Test", ANY));
    assert_eq!(loud[12..25], *b"\x07EXAMPLE\x04Test");
    assert_eq!(loud[loud.len() - 4..], [192, 0, 2, 1]);
    // What comes behind the question, here of EDNS, is passed over.
    let mut extended = query("example.test", A);
    extended[11] = 1;
    extended.extend_from_slice(b"\x00\x00\x29\x04\xD0\x00\x00\x00\x00\x00\x00");
    assert_eq!(answer(&extended), expected);
    assert_eq!(answer(&query("many.example.test", A))[7], 2);
}

#[test]
fn what_is_not_in_the_table() {
    let codes = [
        (query("nobody.test", A), 3),
        (query("test", A), 3),
        (query("", A), 3),
        (query("example.test", AAAA), 0),
        (
            packet([7, 0, 1, 0, 0, 0], &question("example.test", A, CHAOS)),
            5,
        ),
        // One label with a dot in it is another name.
        (
            packet([7, 0, 1, 0, 0, 0], b"\x0Cexample.test\x00\x00\x01\x00\x01"),
            3,
        ),
    ];
    for (asked, code) in codes {
        let answer = answer(&asked);
        assert_eq!(answer[3], code, "{asked:?}");
        assert_eq!(answer[4..8], [0, 1, 0, 0], "{asked:?}");
        assert_eq!(answer[12..], asked[12..], "{asked:?}");
    }
}

#[test]
fn more_addresses_than_fit_are_said_to_be_more() {
    let answer = answer(&query("crowd.test", A));
    assert!(answer.len() <= MAX_PACKET);
    assert_eq!(answer[2] & 0x02, 0x02, "truncated");
    let count = usize::from(answer[7]);
    assert_eq!(answer.len(), 12 + 16 + count * 16);
    assert_eq!(count, 30);
}

#[test]
fn malformed_questions_get_a_header_that_says_so() {
    let head = |questions| packet([0x1234, 0, questions, 0, 0, 0], &[]);
    let with = |rest: &[u8]| [head(1), rest.to_vec()].concat();
    let long_name = question(&["a"; 127].join("."), A, IN);
    let too_long_name = question(&[["a"; 126].join("."), "bb".into()].join("."), A, IN);
    let malformed = [
        head(0),
        head(1),
        [head(2), question("example.test", A, IN)].concat(),
        with(b"\x07examp"),
        with(b"\x07example\x04test"),
        with(b"\x07example\x04test\x00\x00\x01\x00"),
        with(b"\x40aaa\x00\x00\x01\x00\x01"),
        // A pointer to itself.
        with(b"\xC0\x0C\x00\x01\x00\x01"),
        with(&too_long_name),
    ];
    for asked in malformed {
        let expected = packet([0x1234, 0x8001, 0, 0, 0, 0], &[]);
        assert_eq!(answer(&asked), expected, "{asked:?}");
    }
    assert_eq!(answer(&with(&long_name))[3], 3, "255 bytes are a name");
    // Another kind of request than a question.
    let status = packet(
        [0x1234, 0x1000, 1, 0, 0, 0],
        &question("example.test", A, IN),
    );
    assert_eq!(answer(&status), packet([0x1234, 0x9004, 0, 0, 0, 0], &[]));
}

#[test]
fn what_is_no_question_is_dropped() {
    for bytes in [&b""[..], b"\x12\x34", &[0; 11]] {
        assert!(matches!(table().answer(bytes), Outcome::Drop(_)));
    }
    let mut an_answer = query("example.test", A);
    an_answer[2] |= 0x80;
    assert_eq!(table().answer(&an_answer), Outcome::Drop("it is an answer"));
    assert_eq!(
        table().answer(&answer(&query("example.test", A))),
        Outcome::Drop("it is an answer")
    );
}

#[test]
fn names_that_are_none_do_not_get_into_the_table() {
    let mut table = Table::default();
    let long = "a".repeat(64);
    let longer = [&"a".repeat(63)[..]; 4].join(".");
    for name in ["", ".", "a..b", ".a", &long, &longer] {
        assert!(!table.add(name, [192, 0, 2, 1].into()), "{name}");
    }
    assert!(table.add(&longer[..253], [192, 0, 2, 1].into()));
}

/// Whatever comes, an answer is an answer to it, is not too long, and says how much it holds.
#[track_caller]
fn check(table: &Table, asked: &[u8]) {
    let Outcome::Answer(answer, what) = table.answer(asked) else {
        assert!(
            asked.len() < 12 || asked[2] & 0x80 != 0,
            "dropped: {asked:?}"
        );
        return;
    };
    assert!((12..=MAX_PACKET).contains(&answer.len()), "{asked:?}");
    assert_eq!(answer[..2], asked[..2], "its number: {asked:?}");
    assert_eq!(answer[2] & 0xF9, 0x80 | asked[2] & 0x79, "{asked:?}");
    assert!([0, 1, 3, 4, 5].contains(&answer[3]), "{asked:?}");
    let questions = usize::from(answer[5]);
    let rest = answer.len() - 12 - 16 * usize::from(answer[7]);
    match questions {
        0 => assert_eq!(rest, 0, "{asked:?}"),
        _ => assert_eq!(answer[12..12 + rest], asked[12..12 + rest], "{asked:?}"),
    }
    assert!(!what.chars().any(char::is_control), "{what:?}");
    assert!(matches!(table.answer(&answer), Outcome::Drop(_)));
}

#[test]
fn random_packets_are_answered_or_dropped() {
    let table = table();
    let mut random = fastrand::Rng::with_seed(1);
    let questions = [
        query("example.test", A),
        query("crowd.test", ANY),
        query(&["a"; 127].join("."), A),
        query("", AAAA),
    ];
    for _ in 0..200_000 {
        // Nothing but chance.
        let size = random.usize(..64);
        let noise: Vec<u8> = (0..size).map(|_| random.u8(..)).collect();
        check(&table, &noise);
        // A question of which a few bytes are others, some are missing or too many.
        let mut asked = questions[random.usize(..questions.len())].clone();
        for _ in 0..random.usize(..4) {
            let at = random.usize(..asked.len());
            asked[at] = random.u8(..);
        }
        match random.usize(..3) {
            0 => asked.truncate(random.usize(..=asked.len())),
            1 => asked.extend((0..random.usize(..600)).map(|index| index as u8)),
            _ => {}
        }
        check(&table, &asked);
    }
}
