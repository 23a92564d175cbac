//! Rules that the compiler does not know: who may name whom, and what is to be found nowhere.
//!
//! The floors: ground < backend < event_loop < stream < net, dgram, timers, dns, fs, stdio, readline < manual (which is text). A file
//! names only files of its own floor or below. The crate's root stands above all of them.

use std::fs;
use std::path::{Path, PathBuf};

/// The floors from the bottom up: the names of the crate's modules.
const FLOORS: [&[&str]; 6] = [
    &["ground"],
    &["backend"],
    &["event_loop"],
    &["stream"],
    &["net", "dgram", "timers", "dns", "fs", "stdio", "readline"],
    &["manual"],
];

/// A file that is longer can't be read in one sitting.
const MAX_LINES: usize = 600;

/// What must not be found: an identifier, in which files, and what else is needed for the finding.
struct Ban {
    /// The identifier.
    word: &'static str,
    /// Where it is allowed: the beginning of a path, or nowhere.
    allowed_in: Option<&'static str>,
    /// Why.
    reason: &'static str,
}

const BANS: [Ban; 6] = [
    Ban {
        word: "unsafe",
        allowed_in: None,
        reason: "what needs it goes through a well-kept safe crate",
    },
    Ban {
        word: "sleep",
        allowed_in: None,
        reason: "wait for the event, with a deadline",
    },
    Ban {
        word: "mio",
        allowed_in: Some("src/backend/"),
        reason: "the backend is the one seam to the operating system",
    },
    Ban {
        word: "socket2",
        allowed_in: Some("src/backend/"),
        reason: "the backend is the one seam to the operating system",
    },
    Ban {
        word: "Instant",
        allowed_in: Some("src/backend/"),
        reason: "the backend owns the clock",
    },
    Ban {
        word: "SystemTime",
        allowed_in: Some("src/backend/"),
        reason: "the backend owns the clock",
    },
];

/// Those of the bans that hold for tests, benches and examples too.
const BANNED_EVERYWHERE: [&str; 2] = ["unsafe", "sleep"];

#[test]
fn the_sources_keep_to_the_rules() {
    let mut findings = Vec::new();
    let mut files = 0;
    for directory in ["src", "tests", "benches", "examples"] {
        for (path, text) in sources(directory) {
            files += 1;
            findings.extend(check(&path, &text));
        }
    }
    assert!(files > 30, "only {files} files were found");
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn the_code_map_has_the_name_of_every_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("it is there");
    let names = |directory| -> Vec<String> {
        let name_of = |path: &str| path.rsplit('/').next().unwrap_or_default().to_string();
        let files = sources(directory).into_iter();
        files.map(|(path, _)| name_of(&path)).collect()
    };
    let (ours, of_examples) = (names("src"), names("examples"));
    for name in &ours {
        let is_plain = !matches!(&**name, "mod.rs" | "lib.rs") && !name.ends_with("_tests.rs");
        let is_named = map.contains(&format!("`{name}`")) || map.contains(&format!("/{name}`"));
        assert!(is_named || !is_plain, "{name} is not in ARCHITECTURE.md");
    }
    for named in map.split('`').filter(|word| word.ends_with(".rs")) {
        let exists = match named.contains('/') {
            true => root.join(named).exists(),
            false => ours.iter().chain(&of_examples).any(|name| name == named),
        };
        assert!(exists, "ARCHITECTURE.md names {named}, which is not there");
    }
}

/// Every Rust file below a directory of the repository, with its path from there.
fn sources(directory: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut waiting: Vec<PathBuf> = vec![root.join(directory)];
    while let Some(directory) = waiting.pop() {
        // A packaged crate may lack some of them.
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("the directory can be read").path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "node_modules") {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).expect("it is below the root");
                let name = name.to_string_lossy().replace('\\', "/");
                found.push((name, fs::read_to_string(&path).expect("it is text")));
            }
        }
    }
    found
}

/// What is wrong with a file.
fn check(path: &str, text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let is_ours = path.starts_with("src/");
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if is_ours && lines > MAX_LINES {
        findings.push(format!("{path}: {lines} lines, more than {MAX_LINES}"));
    }
    for ban in BANS {
        let allowed = ban.allowed_in.is_some_and(|place| path.starts_with(place));
        if allowed || !(is_ours || BANNED_EVERYWHERE.contains(&ban.word)) {
            continue;
        }
        for token in tokens.iter().filter(|token| token.text == ban.word) {
            let (line, word, reason) = (token.line, ban.word, ban.reason);
            findings.push(format!("{path}:{line}: `{word}`: {reason}"));
        }
    }
    if let Some(floor) = module_of(path).first().and_then(|name| floor_of(name)) {
        for (named, line) in named_modules(path, &tokens) {
            match floor_of(&named) {
                Some(other) if other <= floor => {}
                Some(_) => findings.push(format!("{path}:{line}: `{named}` is a floor above")),
                None => findings.push(format!(
                    "{path}:{line}: `{named}` belongs to the crate's root, which is above"
                )),
            }
        }
    }
    findings
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The path of a file's module from the crate's root: `src/net/mod.rs` is `net`.
fn module_of(path: &str) -> Vec<&str> {
    let Some(path) = path
        .strip_prefix("src/")
        .and_then(|path| path.strip_suffix(".rs"))
    else {
        return Vec::new();
    };
    let mut module: Vec<&str> = path.split('/').collect();
    if matches!(module.last(), Some(&("mod" | "lib"))) {
        module.pop();
    }
    module
}

/// The modules right below the crate's root that a file names through `crate::` or `super::`.
fn named_modules(path: &str, tokens: &[Token<'_>]) -> Vec<(String, usize)> {
    let depth = module_of(path).len();
    let mut named = Vec::new();
    for (start, token) in tokens.iter().enumerate() {
        // A path begins here, unless it goes on from before.
        if start > 0 && tokens[start - 1].text == "::" {
            continue;
        }
        let mut next = start;
        let mut up = 0;
        match token.text {
            "crate" => up = depth,
            "super" => {
                while tokens.get(next).is_some_and(|token| token.text == "super") {
                    up += 1;
                    next += 2;
                }
                next -= 2;
            }
            _ => continue,
        }
        // Only what reaches the crate's root. (In an inner module, such as that of the tests, it
        // takes one more; nobody goes that far up from there.)
        if up < depth || tokens.get(next + 1).is_none_or(|token| token.text != "::") {
            continue;
        }
        named.extend(first_names(&tokens[next + 2..]));
    }
    named
}

/// The names with which the paths of an import begin: one, or those of a group.
fn first_names(tokens: &[Token<'_>]) -> Vec<(String, usize)> {
    let Some(first) = tokens.first() else {
        return Vec::new();
    };
    if first.text != "{" {
        return vec![(first.text.to_string(), first.line)];
    }
    let mut names = Vec::new();
    let mut depth = 0;
    let mut begins = false;
    for token in tokens {
        match token.text {
            "{" => {
                depth += 1;
                begins = depth == 1;
            }
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => begins = depth == 1,
            name if begins => {
                names.push((name.to_string(), token.line));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

/// A word or a sign of Rust code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// Cuts code into tokens; comments and the contents of literals are left out.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut line = 1;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (length, is_code) = if first.is_alphabetic() || first == '_' {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            let word = word.unwrap_or(rest.len());
            match literal_prefix(&rest[..word], &rest[word..]) {
                Some(length) => (word + length, false),
                None => (word, true),
            }
        } else if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with("/*") {
            (block_comment(rest), false)
        } else if first == '"' {
            (quoted(rest), false)
        } else if first == '\'' {
            (character(rest), false)
        } else if rest.starts_with("::") {
            (2, true)
        } else {
            (first.len_utf8(), !first.is_whitespace())
        };
        if is_code {
            tokens.push(Token {
                text: &rest[..length],
                line,
            });
        }
        line += rest[..length].matches('\n').count();
        at += length;
    }
    tokens
}

/// Whether a word is the prefix of a string, such as `r` or `b`, and how long that is.
fn literal_prefix(word: &str, rest: &str) -> Option<usize> {
    match word {
        "r" | "br" | "cr" => {
            let hashes = rest.len() - rest.trim_start_matches('#').len();
            let opened = rest[hashes..].strip_prefix('"')?;
            let end = format!("\"{}", &rest[..hashes]);
            let length = opened.find(&end).unwrap_or(opened.len());
            Some((hashes + 1 + length + end.len()).min(rest.len()))
        }
        "b" | "c" if rest.starts_with('"') => Some(quoted(rest)),
        "b" if rest.starts_with('\'') => Some(character(rest)),
        _ => None,
    }
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A character, or the sign in front of a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            // What is escaped may be the sign itself.
            chars.next();
            chars
                .find(|&(_, c)| c == '\'')
                .map_or(text.len(), |(at, _)| at + 1)
        }
        _ => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
    }
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

// The checker must be able to find something.

fn assert_finds(path: &str, text: &str, expected: &[&str]) {
    assert_eq!(check(path, text), expected, "{path}: {text}");
}

#[test]
fn a_floor_may_name_itself_and_what_is_below() {
    assert_finds("src/net/socket.rs", "use crate::timers::Delay;", &[]);
    assert_finds("src/net/socket.rs", "use crate::backend::Counts;", &[]);
    assert_finds("src/event_loop/turn.rs", "use super::core::Core;", &[]);
    assert_finds(
        "src/event_loop/mod.rs",
        "use crate::ground::error::Error;",
        &[],
    );
    assert_finds(
        "src/lib.rs",
        "pub use crate::net::Socket; use net::Server;",
        &[],
    );
}

#[test]
fn it_may_not_name_what_is_above() {
    assert_finds(
        "src/ground/error.rs",
        "\nuse crate::event_loop::handle::Id;",
        &["src/ground/error.rs:2: `event_loop` is a floor above"],
    );
    assert_finds(
        "src/backend/mod.rs",
        "fn f() -> crate::net::Socket {}",
        &["src/backend/mod.rs:1: `net` is a floor above"],
    );
    assert_finds(
        "src/event_loop/api.rs",
        "use crate::{ground::{error, chunk}, timers::Delay};",
        &["src/event_loop/api.rs:1: `timers` is a floor above"],
    );
    assert_finds(
        "src/ground/error.rs",
        "use super::super::backend::{Os, Null};",
        &["src/ground/error.rs:1: `backend` is a floor above"],
    );
    assert_finds(
        "src/ground/mod.rs",
        "use super::backend;",
        &["src/ground/mod.rs:1: `backend` is a floor above"],
    );
}

#[test]
fn nor_the_root() {
    let expected = "src/net/socket.rs:1: `Loop` belongs to the crate's root, which is above";
    assert_finds("src/net/socket.rs", "use crate::Loop;", &[expected]);
}

#[test]
fn long_files_are_found() {
    assert_finds("src/net/socket.rs", &"\n".repeat(600), &[]);
    assert_finds(
        "src/net/socket.rs",
        &"\n".repeat(601),
        &["src/net/socket.rs: 601 lines, more than 600"],
    );
    assert_finds("tests/long.rs", &"\n".repeat(601), &[]);
}

#[test]
fn banned_words_are_found_where_they_are_banned() {
    for ban in BANS {
        let (word, reason) = (ban.word, ban.reason);
        let text = format!("fn f() {{\n    {word} {{}}\n}}");
        let path = "src/net/socket.rs";
        let expected = format!("{path}:2: `{word}`: {reason}");
        assert_finds(path, &text, &[&expected]);
        if let Some(place) = ban.allowed_in {
            assert_finds(&format!("{place}os.rs"), &text, &[]);
        }
        if BANNED_EVERYWHERE.contains(&word) {
            let expected = format!("tests/some.rs:2: `{word}`: {reason}");
            assert_finds("tests/some.rs", &text, &[&expected]);
        } else {
            assert_finds("tests/some.rs", &text, &[]);
        }
    }
    let path = "src/event_loop/turn.rs";
    let text = "use mio::Poll; let x = std::thread::sleep(y);";
    assert_eq!(check(path, text).len(), 2);
}

#[test]
fn words_in_comments_and_literals_are_not() {
    let texts = [
        "// unsafe, crate::net",
        "/// [mio](crate::net) sleeps",
        "/* unsafe /* sleep */ unsafe */",
        "const A: &str = \"unsafe \\\" crate::net\";",
        "const A: &str = r#\"unsafe \" sleep\"#;",
        "const A: &[u8] = b\"unsafe\";",
        "const A: char = '\"'; // unsafe \"",
        "const A: u8 = b'\\''; /* unsafe ' */",
        "fn f<'unsafe_>(a: &'unsafe_ u8) {}",
        "#![forbid(unsafe_code)]",
    ];
    for text in texts {
        assert_finds("src/ground/error.rs", text, &[]);
    }
}

#[test]
fn what_comes_behind_a_literal_is_read_again() {
    let texts = [
        "const A: &str = \"\\\\\"; unsafe",
        "const A: &str = r#\"\"#; unsafe",
        "const A: &str = r\"\\\"; unsafe",
        "const A: char = '\\''; unsafe",
        "const A: char = 'ä'; unsafe",
        "fn f<'a>(a: &'a u8) { unsafe }",
        "/* a */ unsafe",
        "const A: [u8; 2] = [b'\"', b'\"']; unsafe",
    ];
    for text in texts {
        assert_eq!(check("src/ground/error.rs", text).len(), 1, "{text}");
    }
}
