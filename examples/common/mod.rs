//! What many of the examples need, and what none of them is about: their arguments, lines of text,
//! telnet.

#![allow(dead_code, reason = "every example uses a part of it")]

pub mod lines;
pub mod telnet;

use std::path::PathBuf;
use std::str::FromStr;

/// The argument at a place, counted from 1; `default` if the program was started with fewer. What
/// can't be read ends the program.
pub fn argument<T: FromStr>(place: usize, name: &str, default: &str) -> T {
    // Not `args`, which panics at what is no text.
    let given = std::env::args_os().nth(place);
    let text = given
        .as_ref()
        .map_or(default.into(), |text| text.to_string_lossy());
    text.parse().unwrap_or_else(|_| {
        let program = PathBuf::from(std::env::args_os().next().unwrap_or_default());
        let program = program.file_stem().unwrap_or_default().to_string_lossy();
        eprintln!(
            "{text} is no {name}; how to run {program}: see the top of examples/{program}.rs"
        );
        // What a shell's own commands end with when they are used wrongly.
        std::process::exit(2)
    })
}
