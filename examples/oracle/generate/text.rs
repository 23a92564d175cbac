//! Scenarios of text: characters that reads cut apart, in every encoding, with pauses, listeners that come
//! and go, and ends in the middle of a character.
//!
//! What makes them the same each time: a piece is sent in an immediate, and the next in one that this one
//! makes, so between the two lies the turn that reads the first.

use super::maker::Maker;

const ENCODINGS: [&str; 7] = [
    "utf8",
    "utf16le",
    "latin1",
    "ascii",
    "hex",
    "base64",
    "base64url",
];

/// Text whose bytes lie outside D8 to DF: as UTF-16 no cut makes half of a surrogate pair of them, which a
/// string here can't hold and Node's can.
const WORDS: [&str; 8] = ["a", "é", "€", "я", "中", "\u{1D11E}", "\u{FEFF}", "line\n"];

/// What the peer sends, in pieces.
struct Bytes(Vec<u8>);

impl Bytes {
    fn new(maker: &mut Maker) -> Bytes {
        let mut bytes = Vec::new();
        for _ in 0..maker.random.between(1, 12) {
            match maker.random.below(8) {
                0 => bytes.extend(maker.random.pick(&WORDS).encode_utf16().flat_map(|it| {
                    let [low, high] = it.to_le_bytes();
                    [
                        low,
                        if (0xD8..=0xDF).contains(&high) {
                            0x20
                        } else {
                            high
                        },
                    ]
                })),
                1 => {
                    let byte = maker.random.below(256) as u8;
                    bytes.push(if (0xD8..=0xDF).contains(&byte) {
                        0xC3
                    } else {
                        byte
                    });
                }
                _ => bytes.extend(maker.random.pick(&WORDS).bytes()),
            }
        }
        bytes.truncate(40);
        Bytes(bytes)
    }

    /// The next piece, as the vocabulary writes it.
    fn piece(&mut self, maker: &mut Maker) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let size = maker.random.between(1, 5.min(self.0.len()));
        let piece: String = self.0.drain(..size).map(|it| format!("{it:02X}")).collect();
        Some(format!("hex:{piece}"))
    }
}

/// A peer that sends text to a server's socket.
pub fn make(maker: &mut Maker) {
    maker.document.head("peer p");
    maker.document.head("merge = off");
    if maker.random.percent(50) {
        maker.document.head("order = global");
    }
    let half_open = if maker.random.percent(25) {
        " half_open"
    } else {
        ""
    };
    maker.document.add("start", format!("server s{half_open}"));
    maker.document.add("start", "s.keep");
    maker.document.add("start", "s.listen host=127.0.0.1");
    maker.guard(&["s.close_all".into(), "p.read_all".into()]);
    maker.document.add("on s:listening", "p.connect s");
    let mut bytes = Bytes::new(maker);
    if maker.random.percent(40) {
        send(maker, &mut bytes, "on s:listening");
    }
    maker.document.add("on s:listening", "wait p");
    maker.document.add("on s:connection", "s1.keep");
    maker.document.add("on s:connection", "s.close");
    let encoding = encoding(maker, "on s:connection");
    talk(maker, &mut bytes, encoding);
    maker.document.add("on s1:close", "p.read_all");
    if !half_open.is_empty() && maker.random.percent(70) {
        maker.document.add("on s1:end", "s1.end");
    }
}

/// Piece after piece, one in each turn, up to the end.
fn talk(maker: &mut Maker, bytes: &mut Bytes, mut name: &'static str) {
    let mut on = next(maker, "on s:connection");
    let mut paused = false;
    loop {
        if paused {
            paused = maker.random.percent(30);
            if !paused {
                maker.document.add(&on, "s1.resume");
            }
        } else {
            // What is buffered while it is paused Node decodes when it comes, and we when it is told.
            if maker.random.percent(12) {
                name = encoding(maker, &on);
            }
            // An odd byte of UTF-16 is no text: with nothing else buffered Node's end overtakes the
            // pause, and ours waits, since 'data' is to have the byte.
            paused = maker.random.percent(12) && name != "utf16le";
            if paused {
                maker.document.add(&on, "s1.pause");
            }
        }
        listeners(maker, &on);
        if !send(maker, bytes, &on) {
            break;
        }
        maker.document.add(&on, "wait p");
        if maker.random.percent(8) {
            break;
        }
        on = next(maker, &on);
    }
    let end = maker
        .random
        .pick(&["p.end", "p.end", "p.end", "p.reset", "s1.end", "s1.destroy"]);
    let on = next(maker, &on);
    maker.document.add(&on, end);
    if end.starts_with("p.") {
        maker.document.add(&on, "wait p");
    }
    if paused {
        let on = next(maker, &on);
        maker.document.add(&on, "s1.resume");
    }
}

fn next(maker: &mut Maker, on: &str) -> String {
    let name = maker.name("i");
    maker.document.add(on, format!("immediate {name}"));
    format!("on {name}:fire")
}

fn encoding(maker: &mut Maker, on: &str) -> &'static str {
    let name = maker.random.pick(&ENCODINGS);
    maker.document.add(on, format!("s1.set_encoding {name}"));
    name
}

fn listeners(maker: &mut Maker, on: &str) {
    if maker.random.percent(15) {
        let label = maker.name("l");
        let verb = maker.random.pick(&["on", "once"]);
        maker.document.add(on, format!("s1.{verb} data as={label}"));
        if maker.random.percent(40) {
            let later = next(maker, on);
            maker.document.add(&later, format!("s1.off {label}"));
        }
    }
    if maker.random.percent(15) {
        maker.document.add(
            on,
            "probe s1 encoding bytes_read paused flowing readable_ended",
        );
    }
}

/// The peer sends a piece. False if there is none.
fn send(maker: &mut Maker, bytes: &mut Bytes, on: &str) -> bool {
    match bytes.piece(maker) {
        Some(piece) => {
            maker.document.add(on, format!("p.send {piece}"));
            true
        }
        None => false,
    }
}
