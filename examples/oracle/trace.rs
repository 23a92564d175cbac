//! Traces: put together from what a program reports, and compared.

use std::collections::{HashMap, HashSet};

use super::data::Piece;
use super::scenario::{Merge, Scenario};
use super::vocabulary::Kind;

/// One line while it may still change.
#[derive(Debug, Clone)]
struct Line {
    /// Whose event: the first word of the line.
    object: String,
    /// The rest of the line, or its beginning if there is data.
    text: String,
    /// The bytes that came with it.
    data: Option<Piece>,
}

/// A trace that is being made.
#[derive(Debug, Default)]
pub struct Trace {
    lines: Vec<Line>,
    /// What the ports are called.
    ports: HashMap<u16, String>,
}

impl Trace {
    /// Adds a line.
    pub fn line(&mut self, object: &str, text: &str) {
        self.lines.push(Line {
            object: object.into(),
            text: text.into(),
            data: None,
        });
    }

    /// Adds bytes that an object received.
    pub fn data(&mut self, object: &str, text: &str, data: Piece) {
        self.lines.push(Line {
            object: object.into(),
            text: text.into(),
            data: Some(data),
        });
    }

    /// Gives a port its name; the first one stays.
    pub fn name_port(&mut self, port: u16, name: &str) {
        self.ports.entry(port).or_insert_with(|| name.into());
    }

    /// Whether a port has a name.
    pub fn is_named(&self, port: u16) -> bool {
        self.ports.contains_key(&port)
    }

    /// The finished lines. Peers come last, since nothing orders their lines among the others;
    /// unless the order across objects counts, each object's lines stand together, in the order
    /// of the objects' first lines.
    pub fn finish(&self, scenario: &Scenario) -> Vec<String> {
        let is_peer = |name: &str| scenario.names.get(name) == Some(&Kind::Peer);
        let mut groups: Vec<(String, Vec<Line>)> = Vec::new();
        for line in &self.lines {
            let shared = scenario.global_order && !is_peer(&line.object);
            let key = if shared { "" } else { line.object.as_str() };
            let index = match groups.iter().position(|(other, _)| other == key) {
                Some(index) => index,
                None => {
                    groups.push((key.into(), Vec::new()));
                    groups.len() - 1
                }
            };
            push_merged(&mut groups[index].1, line, scenario.merge);
        }
        groups.sort_by_key(|(name, _)| (is_peer(name), is_sortable(name, scenario)));
        let lines = groups.iter().flat_map(|(_, lines)| lines);
        lines.map(|line| self.show(line)).collect()
    }

    fn show(&self, line: &Line) -> String {
        let text = match &line.data {
            Some(data) => format!("{} {} {}", line.object, line.text, data.show()),
            None => format!("{} {}", line.object, line.text),
        };
        self.with_port_names(&text)
    }

    /// Replaces `<port N>` by the port's name.
    fn with_port_names(&self, text: &str) -> String {
        let mut parts = text.split("<port ");
        let mut out = parts.next().unwrap_or_default().to_string();
        for part in parts {
            let (number, rest) = part.split_once('>').unwrap_or((part, ""));
            let name = number.parse().ok().and_then(|port| self.ports.get(&port));
            out.push_str(&match name {
                Some(name) => format!("{{{name}}}"),
                None => "{port}".to_string(),
            });
            out.push_str(rest);
        }
        out
    }
}

/// Where objects are compared one by one, timing decides which is first in the trace: so they are
/// sorted by name, the process last.
fn is_sortable(name: &str, scenario: &Scenario) -> Option<(bool, String)> {
    let each = !scenario.global_order || scenario.names.get(name) == Some(&Kind::Peer);
    each.then(|| (name == "process", name.to_string()))
}

fn push_merged(lines: &mut Vec<Line>, line: &Line, merge: Merge) {
    let is_same = |other: &Line| other.object == line.object && other.text == line.text;
    let earlier = match merge {
        Merge::Never => None,
        Merge::Consecutive => lines.last_mut().filter(|last| is_same(last)),
        Merge::All => lines.iter_mut().find(|other| is_same(other)),
    };
    if let (Some(earlier), Some(data)) = (earlier, &line.data)
        && let Some(before) = &mut earlier.data
    {
        before.append(data);
        return;
    }
    lines.push(line.clone());
}

/// The first difference between two traces, side by side with a few lines before; None if there
/// is none.
pub fn difference(names: [&str; 2], one: &[String], two: &[String]) -> Option<String> {
    if one == two {
        return None;
    }
    let same = one.iter().zip(two).take_while(|(a, b)| a == b).count();
    let lines = |from: usize, to: usize| {
        (from..to).map(|index| {
            let line = |lines: &[String]| lines.get(index).cloned().unwrap_or_else(|| "—".into());
            let mark = if index == same { ">" } else { " " };
            (mark, line(one), line(two))
        })
    };
    let end = (same + 4).min(one.len().max(two.len()));
    let rows: Vec<_> = lines(same.saturating_sub(5), end).collect();
    let width = rows.iter().map(|(_, a, _)| a.chars().count()).max();
    let width = width.unwrap_or(0).max(names[0].len());
    let mut out = format!("  {:width$} | {}\n", names[0], names[1]);
    for (mark, a, b) in rows {
        out.push_str(&format!("{mark} {a:width$} | {b}\n"));
    }
    Some(out)
}

/// The objects of a trace on which two traces disagree.
pub fn objects_that_differ(one: &[String], two: &[String]) -> Vec<String> {
    let objects = one
        .iter()
        .chain(two)
        .filter_map(|line| line.split(' ').next());
    let mut seen = HashSet::new();
    let lines_of = |lines: &[String], object: &str| -> Vec<String> {
        let own = |line: &&String| line.split(' ').next() == Some(object);
        lines.iter().filter(own).cloned().collect()
    };
    objects
        .filter(|object| seen.insert(*object))
        .filter(|object| lines_of(one, object) != lines_of(two, object))
        .map(str::to_string)
        .collect()
}
