//! Lines into words, and texts into quotes.

use std::fmt::Write;

/// A word of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What it says, without the quotes.
    pub text: String,
    /// Whether it stood in quotes.
    pub quoted: bool,
}

/// Splits a line at blanks, texts in quotes excepted; `#` before a blank or at the beginning starts
/// a comment (`#2` is a word).
pub fn split(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        if rest.starts_with("# ") || rest == "#" || (rest.starts_with('#') && words.is_empty()) {
            break;
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            let (text, behind) = unquote(quoted)?;
            words.push(Word { text, quoted: true });
            rest = behind;
            if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
                return Err("a blank is missing behind the quotes".into());
            }
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            words.push(Word {
                text: rest[..end].into(),
                quoted: false,
            });
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(words)
}

/// Reads up to the closing quote; gives the text and what is behind it.
fn unquote(text: &str) -> Result<(String, &str), String> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Ok((out, &text[index + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, c @ ('"' | '\\'))) => out.push(c),
                _ => return Err("only \\n, \\\" and \\\\ can follow a backslash".into()),
            },
            c => out.push(c),
        }
    }
    Err("a quote is not closed".into())
}

/// A text in quotes, as JSON has it.
pub fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => write!(out, "\\u{:04x}", c as u32).expect("writing to a String"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
