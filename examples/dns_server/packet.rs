//! DNS packets, as far as a server of IPv4 addresses needs them (RFC 1035).
//!
//! The pattern: read what a stranger has sent with functions that give `None` where bytes are missing.
//! Nothing is indexed, nothing is trusted, nothing is larger than it may be.

use std::collections::HashMap;
use std::net::Ipv4Addr;

/// The largest packet of DNS over UDP; what does not fit is left out, and said to be.
pub const MAX_PACKET: usize = 512;

/// How long an answer may be remembered, in seconds.
const TIME_TO_LIVE: u32 = 300;

const HEADER: usize = 12;
const MAX_LABEL: usize = 63;
/// With the length bytes and the end.
const MAX_NAME: usize = 255;

const TYPE_A: u16 = 1;
const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;

// The flags of a header.
const IS_ANSWER: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;

// What an answer says of the question.
const NO_ERROR: u16 = 0;
const FORMAT_ERROR: u16 = 1;
const NO_SUCH_NAME: u16 = 3;
const NOT_IMPLEMENTED: u16 = 4;
const REFUSED: u16 = 5;

/// Names and their addresses.
#[derive(Debug, Default)]
pub struct Table(HashMap<String, Vec<Ipv4Addr>>);

/// What becomes of a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is answered so; and what a log says of it.
    Answer(Vec<u8>, String),
    /// It is not, for this reason.
    Drop(&'static str),
}

/// What stands in front of every packet.
struct Header {
    id: u16,
    flags: u16,
    questions: u16,
}

struct Question<'a> {
    /// In small letters, with dots between.
    name: String,
    kind: u16,
    class: u16,
    /// As it was asked: answers repeat it to the letter.
    bytes: &'a [u8],
}

impl Table {
    /// Adds an address of a name; false if the name can't be one.
    pub fn add(&mut self, name: &str, address: Ipv4Addr) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let is_label = |label: &str| (1..=MAX_LABEL).contains(&label.len());
        if name.len() + 2 > MAX_NAME || !name.split('.').all(is_label) {
            return false;
        }
        self.0.entry(name).or_default().push(address);
        true
    }

    /// What becomes of a packet that somebody has sent.
    pub fn answer(&self, packet: &[u8]) -> Outcome {
        let Some((header, rest)) = header(packet) else {
            return Outcome::Drop("it is shorter than a header");
        };
        if header.flags & IS_ANSWER != 0 {
            return Outcome::Drop("it is an answer");
        }
        if header.flags & OPCODE != 0 {
            return fail(&header, NOT_IMPLEMENTED, "not implemented");
        }
        let question = match header.questions {
            1 => question(rest),
            _ => None,
        };
        let Some(question) = question else {
            return fail(&header, FORMAT_ERROR, "malformed");
        };
        // What comes behind, such as the size that the asker can take, may be passed over.
        if ![CLASS_IN, CLASS_ANY].contains(&question.class) {
            return reply(&header, &question, REFUSED, &[]);
        }
        match self.0.get(&question.name) {
            None => reply(&header, &question, NO_SUCH_NAME, &[]),
            Some(addresses) if [TYPE_A, TYPE_ANY].contains(&question.kind) => {
                reply(&header, &question, NO_ERROR, addresses)
            }
            // The name is there, but has nothing of that kind.
            Some(_) => reply(&header, &question, NO_ERROR, &[]),
        }
    }
}

fn header(packet: &[u8]) -> Option<(Header, &[u8])> {
    let (header, rest) = packet.split_first_chunk::<HEADER>()?;
    let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let header = Header {
        id: number(0),
        flags: number(2),
        questions: number(4),
    };
    Some((header, rest))
}

fn question(packet: &[u8]) -> Option<Question<'_>> {
    let mut name = String::new();
    let mut rest = packet;
    loop {
        let (&length, behind) = rest.split_first()?;
        let length = usize::from(length);
        if length == 0 {
            rest = behind;
            break;
        }
        // The name of a question has nothing before it that it could point to.
        if length > MAX_LABEL || packet.len() - behind.len() + length + 1 > MAX_NAME {
            return None;
        }
        let (label, behind) = behind.split_at_checked(length)?;
        if !name.is_empty() {
            name.push('.');
        }
        for &byte in label {
            if byte == b'.' {
                // One label with a dot in it is not two.
                name.push('\\');
            }
            name.push(char::from(byte.to_ascii_lowercase()));
        }
        rest = behind;
    }
    let (&[kind_high, kind_low, class_high, class_low], rest) = rest.split_first_chunk::<4>()?;
    Some(Question {
        name,
        kind: u16::from_be_bytes([kind_high, kind_low]),
        class: u16::from_be_bytes([class_high, class_low]),
        bytes: &packet[..packet.len() - rest.len()],
    })
}

/// An answer to what could not be read: nothing but a header.
fn fail(header: &Header, code: u16, what: &str) -> Outcome {
    let mut packet = Vec::with_capacity(HEADER);
    put_header(&mut packet, header, code, [0, 0]);
    Outcome::Answer(packet, what.into())
}

fn reply(header: &Header, question: &Question<'_>, code: u16, addresses: &[Ipv4Addr]) -> Outcome {
    // A pointer to the name in the question, kind, class, time, and four bytes.
    const RECORD: usize = 16;
    let room = MAX_PACKET - HEADER - question.bytes.len();
    let fitting = addresses.len().min(room / RECORD);
    let truncated = match fitting < addresses.len() {
        true => TRUNCATED,
        false => 0,
    };
    let mut packet = Vec::with_capacity(HEADER + question.bytes.len() + fitting * RECORD);
    // There are at most thirty of them.
    put_header(
        &mut packet,
        header,
        code | AUTHORITATIVE | truncated,
        [1, fitting as u16],
    );
    packet.extend_from_slice(question.bytes);
    for address in &addresses[..fitting] {
        packet.extend_from_slice(&(0xC000 | HEADER as u16).to_be_bytes());
        packet.extend_from_slice(&TYPE_A.to_be_bytes());
        packet.extend_from_slice(&CLASS_IN.to_be_bytes());
        packet.extend_from_slice(&TIME_TO_LIVE.to_be_bytes());
        packet.extend_from_slice(&4u16.to_be_bytes());
        packet.extend_from_slice(&address.octets());
    }
    // The name is a stranger's: nothing of it may tell a terminal what to do.
    let name = question.name.escape_debug();
    let what = match code {
        NO_ERROR if addresses.is_empty() => format!("{name} has nothing of kind {}", question.kind),
        NO_ERROR => format!("{name} has {addresses:?}"),
        NO_SUCH_NAME => format!("{name} does not exist"),
        _ => format!("{name} is refused"),
    };
    Outcome::Answer(packet, what)
}

fn put_header(packet: &mut Vec<u8>, asked: &Header, flags: u16, [questions, answers]: [u16; 2]) {
    let flags = IS_ANSWER | (asked.flags & (OPCODE | RECURSION_DESIRED)) | flags;
    for number in [asked.id, flags, questions, answers, 0, 0] {
        packet.extend_from_slice(&number.to_be_bytes());
    }
}
