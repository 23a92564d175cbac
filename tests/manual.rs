//! The manual against reality: the traces in its chapters are what the programs print, the code in
//! them is the programs' own, its tables are complete, and every command that the documents print is
//! one that a test runs.

mod support_process;

use std::fs;
use std::path::{Path, PathBuf};

use support_process::examples::example as started;

/// How often a program may print something else than its chapter before it counts: on a busy machine
/// the kernel may tell in two waits what it usually tells in one.
const ATTEMPTS: usize = 5;

/// If this variable is set, traces that are out of date are written anew: look at what has changed
/// before it is committed. Those with lines left out are to be changed by hand.
const UPDATE: &str = "UPDATE_TRACES";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// The chapters: their names and texts.
fn chapters() -> Vec<(String, String)> {
    let mut chapters = Vec::new();
    for entry in fs::read_dir(root().join("src/manual")).expect("it is there") {
        let path = entry.expect("it can be read").path();
        if path.extension().is_some_and(|it| it == "md") {
            let name = path.file_stem().expect("it has a name");
            chapters.push((name.to_string_lossy().into_owned(), read(&path)));
        }
    }
    chapters.sort();
    chapters
}

/// A block of code in a text: what stands behind its fence, and its lines.
struct Block {
    kind: String,
    lines: Vec<String>,
}

/// The blocks of a Markdown text, in order.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(kind), None) => {
                open = Some(Block {
                    kind: kind.to_string(),
                    lines: Vec::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.lines.push(line.to_string()),
            (None, None) => {}
        }
    }
    blocks
}

/// The chapter whose program a command runs.
fn toured(block: &Block) -> Option<&str> {
    let command = match &block.lines[..] {
        [command] if block.kind == "sh" => {
            command.strip_prefix("cargo run --release --example tour")?
        }
        _ => return None,
    };
    match command.strip_prefix(" -- ") {
        Some(chapter) => Some(chapter),
        None if command.is_empty() => Some("turn"),
        None => None,
    }
}

/// What is the system's or the clock's in a line, put aside.
fn settled(line: &str) -> String {
    let mut settled = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let end = rest[at..].find(|c: char| !c.is_ascii_digit());
        let end = end.map_or(rest.len(), |end| at + end);
        let (before, number) = (&rest[..at], &rest[at..end]);
        settled.push_str(before);
        let port = settled.ends_with("127.0.0.1:");
        let place = settled.contains(".rs:") && before.ends_with(':');
        let time = rest[end..].starts_with(" ms") && !before.ends_with("every ");
        settled.push_str(if port || place || time { "*" } else { number });
        rest = &rest[end..];
    }
    settled + rest
}

/// Whether lines are as expected; `...` stands for any number of lines, behind which the numbers of
/// turns are as they may.
fn is_as_expected(expected: &[String], lines: &[String]) -> bool {
    let mut parts = expected.split(|line| line == "...");
    let first = parts.next().unwrap_or_default();
    let parts: Vec<_> = parts.collect();
    let same = |expected: &[String], lines: &[String], turns: bool| {
        let settled = |line: &String| match line.strip_prefix("turn ") {
            Some(turn) if !turns => settled(turn.trim_start_matches(|c: char| c.is_ascii_digit())),
            _ => settled(line),
        };
        expected.len() == lines.len() && expected.iter().map(settled).eq(lines.iter().map(settled))
    };
    if parts.is_empty() {
        return same(first, lines, true);
    }
    let Some(mut rest) = lines.get(first.len()..) else {
        return false;
    };
    if !same(first, &lines[..first.len()], true) {
        return false;
    }
    for (index, part) in parts.iter().enumerate() {
        let last = index == parts.len() - 1;
        let found = (0..=rest.len().saturating_sub(part.len())).find(|at| {
            let end = at + part.len();
            (!last || end == rest.len()) && end <= rest.len() && same(part, &rest[*at..end], false)
        });
        let Some(at) = found else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

/// What the tour prints for a chapter.
fn tour(chapter: &str) -> Vec<String> {
    let mut process = started("tour", &[chapter]);
    let mut lines = Vec::new();
    let ended = process.ended(|line| lines.push(line));
    assert!(ended.status.success(), "{chapter}: {}", ended.stderr);
    lines
}

#[test]
fn traces_are_what_the_programs_print() {
    let mut traces = 0;
    for (name, text) in chapters() {
        let blocks = blocks(&text);
        for pair in blocks.windows(2) {
            let (Some(chapter), "text") = (toured(&pair[0]), pair[1].kind.as_str()) else {
                continue;
            };
            assert_eq!(chapter, name, "the trace is another chapter's");
            traces += 1;
            let expected = &pair[1].lines;
            let mut printed = Vec::new();
            let seen = (0..ATTEMPTS).any(|_| {
                printed = tour(chapter);
                is_as_expected(expected, &printed)
            });
            let (expected, printed) = (expected.join("\n"), printed.join("\n"));
            if !seen && std::env::var_os(UPDATE).is_some() && !expected.contains("\n...\n") {
                let path = root().join(format!("src/manual/{name}.md"));
                fs::write(path, text.replace(&expected, &printed)).expect("it can be written");
                continue;
            }
            assert!(
                seen,
                "{name} says:\n{expected}\n\nthe tour prints:\n{printed}\n\n{UPDATE}=1 writes it anew"
            );
        }
    }
    assert!(traces >= 12, "only {traces} traces were found");
}

#[test]
fn the_tour_knows_its_chapters_only() {
    let mut process = started("tour", &["nowhere"]);
    let ended = process.ended(|line| panic!("it printed {line}"));
    assert_eq!(ended.status.code(), Some(2));
    let chapters = ended.stderr.trim_end().rsplit(": ").next().unwrap_or("");
    assert!(chapters.split(", ").count() >= 12, "{}", ended.stderr);
    for chapter in chapters.split(", ") {
        let text = read(format!("src/manual/{chapter}.md"));
        let blocks = blocks(&text);
        let toured = blocks.iter().filter_map(toured);
        assert!(toured.eq([chapter]), "{chapter} does not show its program");
    }
}

#[test]
fn the_code_of_a_chapter_is_its_program() {
    let scenes = read("examples/tour/scenes.rs");
    let mut programs = 0;
    for (name, text) in chapters() {
        let blocks = blocks(&text);
        let Some(at) = blocks.iter().position(|block| toured(block).is_some()) else {
            continue;
        };
        if name == "manual" {
            continue;
        }
        programs += 1;
        let begin = format!("\nfn {name}() -> nodeloop::Result<()> {{\n");
        let (_, program) = scenes.split_once(&begin).expect("the tour has it");
        let (program, _) = program.split_once("\n}\n").expect("it ends");
        let program: Vec<&str> = program.lines().map(str::trim).collect();
        let shown = blocks[at - 1].lines.iter();
        // What begins with a hash is for the compiler and not shown.
        let shown = shown.filter(|line| !line.starts_with("# "));
        let shown: Vec<&str> = shown.map(|line| line.trim()).collect();
        assert_eq!(shown, program, "{name}");
    }
    assert!(programs >= 12, "only {programs} programs were found");
}

#[test]
fn every_chapter_is_in_the_table_of_contents() {
    let contents = read("src/manual/manual.md");
    let modules = read("src/manual/mod.rs");
    for (name, _) in chapters() {
        if name == "manual" || name.starts_with("differences_") {
            continue;
        }
        let link = [format!("[`{name}`]"), format!("[`mod@{name}`]")];
        assert!(
            link.iter().any(|link| contents.contains(link)),
            "{name} is not in the table of contents"
        );
        assert!(modules.contains(&format!("pub mod {name} {{}}")), "{name}");
    }
}

/// Whoever reads on comes through all of them: each ends with the next, but the last.
#[test]
fn each_chapter_leads_to_the_next() {
    let modules = read("src/manual/mod.rs");
    let mut chapters = Vec::new();
    for part in modules.split(" {}\n") {
        if let Some((before, name)) = part.split_once("pub mod ") {
            // What it is made of: files, and what stands between them.
            let mut text = before.to_string();
            for file in before.split("include_str!(\"").skip(1) {
                let file = file.split('"').next().unwrap_or_default();
                text += &read(format!("src/manual/{file}"));
            }
            chapters.push((name, text));
        }
    }
    assert!(chapters.len() >= 19, "only {} chapters", chapters.len());
    for pair in chapters.windows(2) {
        let [(name, text), (next, _)] = pair else {
            continue;
        };
        let links: Vec<_> = text.match_indices("*Next: [").collect();
        assert_eq!(links.len(), 1, "{name} leads to one chapter");
        let link = format!("*Next: [`{next}`](mod@crate::manual::{next})*");
        assert!(text.contains(&link), "{name} does not lead to {next}");
    }
}

// Commands.

/// What the documents tell people to run, and which test does it. Examples beside: those are found in
/// the tests that run them.
const COMMANDS: [(&str, &str); 6] = [
    ("cargo test", "this very run"),
    ("cargo bench", ".ci/run, a smoke run"),
    ("cargo doc --open", ".ci/run, without the browser"),
    (
        "cargo run --release --example oracle -- --tables",
        "tests/oracle.rs: tables_are_up_to_date",
    ),
    (
        "cargo run --release --example tour",
        "traces_are_what_the_programs_print",
    ),
    (
        "RUST_LOG=trace cargo run --example echo",
        "tests/examples_machine.rs: rust_log_trace_tells_what_the_echo_server_does",
    ),
];

/// The example that a command runs.
fn example(command: &str) -> Option<&str> {
    let command = command.strip_prefix("cargo run ")?;
    let command = command.strip_prefix("--release ").unwrap_or(command);
    command.strip_prefix("--example ")?.split(' ').next()
}

/// The tests of the examples as programs.
fn tests_of_examples() -> String {
    let entries = fs::read_dir(root().join("tests")).expect("it is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let is_one = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("examples") && name.ends_with(".rs")
    };
    paths.filter(is_one).map(read).collect()
}

/// Every text that users read.
fn documents() -> Vec<(String, String)> {
    let mut documents: Vec<(String, String)> = ["README.md", "ARCHITECTURE.md"]
        .map(|path| (path.to_string(), read(path)))
        .into();
    let mut waiting: Vec<PathBuf> = ["src", "examples"].map(|it| root().join(it)).into();
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).expect("it is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                // The oracle is a tool of those who work on the crate; its own tests run it.
                if !path.ends_with("oracle") {
                    waiting.push(path);
                }
                continue;
            }
            let name = path.strip_prefix(root()).expect("it is below");
            let name = name.to_string_lossy().into_owned();
            let text = read(&path);
            // The documentation in the source is Markdown behind its slashes.
            let text = match name.ends_with(".rs") {
                false => text,
                true => text
                    .lines()
                    .map(|line| line.trim_start())
                    .map(|line| line.trim_start_matches("//!").trim_start_matches("///"))
                    .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
                    .collect(),
            };
            documents.push((name, text));
        }
    }
    documents
}

#[test]
fn every_command_in_the_documents_is_run_by_a_test() {
    let tests = tests_of_examples();
    let mut found = 0;
    for (name, text) in documents() {
        for block in blocks(&text) {
            for line in &block.lines {
                let line = line.trim();
                let is_command = line.starts_with("cargo ") || line.contains(" cargo ");
                if block.kind != "sh" && !(block.kind == "text" && is_command) {
                    continue;
                }
                found += 1;
                // What is in brackets is as one likes, and so are the tour's chapters.
                let command = line.split(" [").next().unwrap_or(line);
                let command = match command.split_once("--example tour -- ") {
                    Some((before, _)) => format!("{before}--example tour"),
                    None => command.to_string(),
                };
                let is_known = COMMANDS.iter().any(|(known, _)| *known == command);
                let is_tested = example(&command)
                    .is_some_and(|example| tests.contains(&format!("\"{example}\"")));
                assert!(is_known || is_tested, "{name}: no test runs {command}");
            }
        }
    }
    assert!(found >= 20, "only {found} commands were found");
}

// The checker must be able to find something.

#[test]
fn comparing_finds_what_differs() {
    let lines = |text: &str| text.lines().map(str::to_string).collect::<Vec<_>>();
    let check = |expected: &str, printed: &str| is_as_expected(&lines(expected), &lines(printed));
    assert!(check("a\nb", "a\nb"));
    assert!(!check("a\nb", "a") && !check("a", "a\nb") && !check("a\nb", "b\na"));
    assert!(check("a\n...\nb", "a\nx\ny\nb") && check("a\n...\nb", "a\nb"));
    assert!(!check("a\n...\nb", "a\nb\nc") && !check("a\n...\nb", "x\nb"));
    assert!(!check("a\n...\nb", "b") && !check("a\n...\nb", "a"));
    assert!(check(
        "due in 5 ms, 127.0.0.1:80 (a.rs:1:2)",
        "due in 7 ms, 127.0.0.1:9 (a.rs:3:4)"
    ));
    assert!(!check("every 5 ms", "every 6 ms") && !check("5 bytes", "6 bytes"));
    assert!(!check("turn 1 a", "turn 2 a"));
    assert!(check("a\n...\nturn 1 b", "a\nturn 5 b"));
    assert!(!check("a\n...\nturn 1 b", "a\nturn 5 c"));
}
