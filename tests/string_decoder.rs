//! The string decoder against Node's: random bytes and valid text, cut at random places, in each
//! encoding. Both sides make the same cases from the same numbers and tell a hash of each batch.
//!
//! Needs the pinned Node: see `tests/support_process/liveness.rs`. With `CI=true` it has to be there.

mod support_process;

use std::process::Command;

use nodeloop::{Encoding, StringDecoder};
use support_process::Process;
use support_process::liveness::pinned_node;

/// Batches of each encoding.
const BATCHES: usize = 100;

/// Cases of a batch.
const CASES: usize = 1000;

/// The same in JavaScript. Arguments: the encoding, the batches, the cases of each, and, to look at
/// one case more closely, which batch's cases are to be shown.
const NODE: &str = r"
    const { StringDecoder } = require('node:string_decoder');
    const [encoding, batches, cases, shown] = process.argv.slice(1);
    let state = 88172645;
    const below = (limit) => {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        state >>>= 0;
        return state % limit;
    };
    const alphabet = ['a', 'é', '€', '\u{1D11E}', 'я', '中', '\uFEFF', '\u{10FFFF}', '\0', 'Z'];
    const valid = encoding === 'utf16le' ? 'utf16le' : 'utf8';
    const bytes = () => {
        const length = below(12);
        switch (below(3)) {
            case 0: {
                let text = '';
                for (let n = 0; n < length; n++) text += alphabet[below(alphabet.length)];
                return Buffer.from(text, valid);
            }
            case 1: return Buffer.from(Array.from({ length }, () => below(256)));
            // Bytes that begin and go on characters, and halves of surrogate pairs.
            default: {
                const likely = [0x80, 0xBF, 0xC3, 0xE2, 0xED, 0xA0, 0xF0, 0x90, 0xF4, 0xD8, 0xDC, 0x41];
                return Buffer.from(Array.from({ length }, () => likely[below(likely.length)]));
            }
        }
    };
    for (let batch = 0; batch < batches; batch++) {
        let hash = 2166136261;
        for (let n = 0; n < cases; n++) {
            const all = bytes();
            const decoder = new StringDecoder(encoding);
            const pieces = [];
            for (let at = 0; at < all.length;) {
                const size = 1 + below(5);
                pieces.push(decoder.write(all.subarray(at, at + size)));
                at += size;
            }
            pieces.push(decoder.end());
            // A lone surrogate becomes U+FFFD: a Rust string can't hold it. So ours holds the first
            // half of a pair back where Node gives the two halves one by one (N228).
            const between = encoding === 'utf16le' ? '' : '|';
            const text = pieces.join(between).toWellFormed();
            for (const byte of Buffer.from(text + '\n')) hash = Math.imul(hash ^ byte, 16777619) >>> 0;
            if (batch == shown) console.log('case ' + all.toString('hex') + ' ' + JSON.stringify(text));
        }
        console.log('hash ' + hash);
    }
";

/// Numbers that look like chance, the same here and there.
struct Chance(u32);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 % limit as u32) as usize
    }
}

/// The bytes of the next case.
fn bytes(chance: &mut Chance, encoding: Encoding) -> Vec<u8> {
    const ALPHABET: [char; 10] = [
        'a',
        'é',
        '€',
        '\u{1D11E}',
        'я',
        '中',
        '\u{FEFF}',
        '\u{10FFFF}',
        '\0',
        'Z',
    ];
    const LIKELY: [u8; 12] = [
        0x80, 0xBF, 0xC3, 0xE2, 0xED, 0xA0, 0xF0, 0x90, 0xF4, 0xD8, 0xDC, 0x41,
    ];
    let length = chance.below(12);
    match chance.below(3) {
        0 => {
            let text: String = (0..length).map(|_| ALPHABET[chance.below(10)]).collect();
            match encoding {
                Encoding::Utf16le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                _ => text.into_bytes(),
            }
        }
        1 => (0..length).map(|_| chance.below(256) as u8).collect(),
        _ => (0..length).map(|_| LIKELY[chance.below(12)]).collect(),
    }
}

/// Our text of the next case.
fn case(chance: &mut Chance, encoding: Encoding) -> (Vec<u8>, String) {
    let all = bytes(chance, encoding);
    let mut decoder = StringDecoder::new(encoding);
    let mut pieces = Vec::new();
    let mut rest = &all[..];
    while !rest.is_empty() {
        let size = 1 + chance.below(5);
        let (now, later) = rest.split_at(size.min(rest.len()));
        pieces.push(decoder.write(now));
        rest = later;
    }
    pieces.push(decoder.end());
    let between = if encoding == Encoding::Utf16le {
        ""
    } else {
        "|"
    };
    (all, pieces.join(between))
}

fn compare(encoding: Encoding) {
    let Some(node) = pinned_node() else { return };
    let start = |shown: usize| {
        let mut command = Command::new(node);
        command.args(["-e", NODE, "--", &encoding.to_string()]);
        command.args([BATCHES, CASES, shown].map(|it| it.to_string()));
        Process::start(&mut command)
    };
    let mut process = start(BATCHES);
    let mut chance = Chance(88_172_645);
    for batch in 0..BATCHES {
        let theirs = process.line().expect("a hash of each batch");
        let mut hash = 2_166_136_261_u32;
        let mut cases = Vec::new();
        for _ in 0..CASES {
            let (all, text) = case(&mut chance, encoding);
            for byte in text.bytes().chain(*b"\n") {
                hash = (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
            }
            cases.push((all, text));
        }
        if theirs == format!("hash {hash}") {
            continue;
        }
        // Which case it is.
        let mut process = start(batch);
        let shown = std::iter::from_fn(|| process.line()).filter(|line| line.starts_with("case "));
        for (theirs, (all, text)) in shown.zip(cases) {
            let hex = Encoding::Hex.decode(&all);
            println!("Node: {theirs}\nours: case {hex} {text:?}");
        }
        panic!("batch {batch} of {encoding} differs");
    }
}

macro_rules! encodings {
    ($($name:ident: $encoding:ident),+) => {
        $(
            #[test]
            fn $name() {
                compare(Encoding::$encoding);
            }
        )+
    };
}

encodings! {
    n226_utf8_in_pieces: Utf8,
    n226_utf16le_in_pieces: Utf16le,
    n226_latin1_in_pieces: Latin1,
    n226_ascii_in_pieces: Ascii,
    n226_hex_in_pieces: Hex,
    n226_base64_in_pieces: Base64,
    n226_base64url_in_pieces: Base64url
}
