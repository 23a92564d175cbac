//! A tour of the loop: small programs, each shown turn by turn.
//!
//! The pattern: the loop logs what it does at level trace, so a logger is all it takes to follow it.
//! The one here prints the loop's records as they are, but gives names to handles and leaves out the
//! lines of the source. Lines that begin with `turn` or `between turns` are the loop's; the others are
//! the programs'.
//!
//! Without an argument it is a server with two clients, all in one process, from the first connection
//! to the end. With the name of a chapter of the manual it is that chapter's program.
//!
//! ```text
//! cargo run --release --example tour [CHAPTER]
//! ```
//!
//! The programs are in `scenes.rs`.

mod scenes;

use std::cell::{Cell, RefCell};
use std::process::ExitCode;

use log::{LevelFilter, Log, Metadata, Record};

fn main() -> ExitCode {
    log::set_logger(&Narrator).expect("it is the first");
    log::set_max_level(LevelFilter::Trace);
    // Not `args`, which panics at what is no text.
    let chapter = std::env::args_os().nth(1);
    let chapter = chapter.map(|it| it.to_string_lossy().into_owned());
    let chapter = chapter.as_deref().unwrap_or("turn");
    let Some((_, names, play)) = scenes::ALL.iter().find(|scene| scene.0 == chapter) else {
        let known: Vec<_> = scenes::ALL.iter().map(|scene| scene.0).collect();
        eprintln!("no chapter {chapter}; there are: {}", known.join(", "));
        return ExitCode::from(2);
    };
    NAMES.set(names);
    match play() {
        Ok(()) => {
            println!("nothing keeps the loop alive: run returns");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

thread_local! {
    /// The names that are still to be given, to handles in the order in which they appear.
    static NAMES: Cell<&'static [&'static str]> = const { Cell::new(&[]) };
    /// Handles as they print, and their names.
    static NAMED: RefCell<Vec<(String, &'static str)>> = const { RefCell::new(Vec::new()) };
}

/// A logger that prints what the loop does in each turn.
struct Narrator;

impl Log for Narrator {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "nodeloop::event_loop"
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            println!("{}", with_names(&record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Puts names for handles, such as `Socket(0.1#5)`, and leaves out lines of the source, such as
/// ` (examples/tour/scenes.rs:10:8)`.
fn with_names(record: &str) -> String {
    let (record, _) = record.split_once(" (examples").unwrap_or((record, ""));
    let mut told = record.to_string();
    for kind in ["Server(", "Socket(", "Timer(", "Immediate(", "Watcher("] {
        while let Some(begin) = told.find(kind) {
            let end = told[begin..]
                .find(')')
                .map_or(told.len(), |end| begin + end + 1);
            let handle = told[begin..end].to_string();
            told = told.replace(&handle, name(&handle));
        }
    }
    told
}

/// The name of a handle; the next one that is free if it is new.
fn name(handle: &str) -> &'static str {
    NAMED.with_borrow_mut(|named| {
        if let Some((_, name)) = named.iter().find(|(known, _)| known == handle) {
            return *name;
        }
        let (first, rest) = match NAMES.get() {
            [] => ("somebody", &[][..]),
            [first, rest @ ..] => (*first, rest),
        };
        NAMES.set(rest);
        named.push((handle.to_string(), first));
        first
    })
}
