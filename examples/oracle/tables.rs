//! The tables that are made from scenarios and tests: which rule is pinned by what
//! (`tests/oracle/RULES.md`), what was compared (`docs/compared-with-node.md`), and where we differ from
//! Node on purpose (`tests/oracle/DIFFERENCES.md`, and without links for the manual, which also gets the table of
//! `ARCHITECTURE.md`). A test fails if they are out of date.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::check::{committed, files_below};
use super::compared;
use super::pinned::root;
use super::scenario::Scenario;

/// One line of `rules.txt`.
struct Rule {
    /// `N22`, or a range: `N97-N117`.
    id: String,
    /// What it says, shortened.
    title: String,
    /// Why nothing pins it.
    excuse: Option<String>,
}

/// Makes the tables anew.
pub fn write() -> Result<(), String> {
    for (file, text) in make()? {
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

/// Whether the tables are what they would be if they were made anew.
pub fn check() -> Result<(), String> {
    for (file, text) in make()? {
        if fs::read_to_string(&file).unwrap_or_default() != text {
            return Err(format!(
                "{} is out of date: cargo run --release --example oracle -- --tables",
                file.display()
            ));
        }
    }
    Ok(())
}

fn make() -> Result<[(PathBuf, String); 5], String> {
    let files = files_below(&committed());
    let scenarios: Result<Vec<Scenario>, _> = files.iter().map(|it| Scenario::load(it)).collect();
    let scenarios = scenarios.map_err(|fault| fault.to_string())?;
    let directory = root().join("tests/oracle");
    Ok([
        (
            root().join("docs/compared-with-node.md"),
            compared::page(&scenarios)?,
        ),
        (directory.join("RULES.md"), rules(&scenarios)?),
        (directory.join("DIFFERENCES.md"), differences(&scenarios)),
        (
            root().join("src/manual/differences_shown.md"),
            differences_for_the_manual(&scenarios),
        ),
        (
            root().join("src/manual/differences_beyond.md"),
            differences_beyond()?,
        ),
    ])
}

fn rules(scenarios: &[Scenario]) -> Result<String, String> {
    let rules = read_rules()?;
    // What pins each rule.
    let mut pins: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for scenario in scenarios {
        for rule in &scenario.rules {
            let name = scenario.name();
            let link = format!("[{name}](scenarios/{name}.scenario)");
            pins.entry(rule.clone()).or_default().push(link);
        }
    }
    for (test, named) in tests_with_rules() {
        for rule in named {
            pins.entry(rule).or_default().push(format!("`{test}`"));
        }
    }
    let known: HashSet<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
    let in_a_range = |id: &str| rules.iter().any(|rule| covers(&rule.id, id));
    for scenario in scenarios {
        for rule in &scenario.rules {
            if !known.contains(rule.as_str()) && !in_a_range(rule) {
                return Err(format!("{}: no such rule: {rule}", scenario.name()));
            }
        }
    }

    let count = |wanted: &dyn Fn(&Rule) -> bool| rules.iter().filter(|rule| wanted(rule)).count();
    let is_pinned = |rule: &Rule| pins.contains_key(&rule.id);
    let is_later = |rule: &Rule| {
        rule.excuse
            .as_ref()
            .is_some_and(|it| it.starts_with("later"))
    };
    let pinned = count(&is_pinned);
    let later = count(&|rule| !is_pinned(rule) && is_later(rule));
    let excused = count(&|rule| !is_pinned(rule) && !is_later(rule) && rule.excuse.is_some());
    let open = rules.len() - pinned - later - excused;
    let mut out = format!(
        "# Which rule is pinned by what\n\n\
         Made by `cargo run --release --example oracle -- --tables` from the `rules` of the \
         scenarios, the rules that tests name, and `rules.txt`. N are Node's rules, the others \
         libuv's.\n\n\
         {} rules and ranges of rules: {pinned} pinned, {later} not built yet, {excused} do not \
         apply, {open} open.\n\n\
         | rule | what it says | pinned by |\n|---|---|---|\n",
        rules.len()
    );
    for rule in &rules {
        let by = match (pins.get(&rule.id), &rule.excuse) {
            (Some(pins), _) => pins.join(", "),
            (None, Some(excuse)) if is_later(rule) => excuse.clone(),
            (None, Some(excuse)) => format!("does not apply: {excuse}"),
            (None, None) => "open".into(),
        };
        writeln!(out, "| {} | {} | {by} |", rule.id, rule.title).expect("writing to a String");
    }
    Ok(out)
}

/// Whether a range holds a rule.
fn covers(range: &str, rule: &str) -> bool {
    let number = |id: &str| {
        id.trim_start_matches(|c: char| c.is_alphabetic())
            .parse::<u32>()
    };
    let Some((from, to)) = range.split_once('-') else {
        return range == rule;
    };
    match (number(from), number(rule), number(to)) {
        (Ok(from_number), Ok(rule_number), Ok(to_number)) => {
            from.chars().next() == rule.chars().next()
                && (from_number..=to_number).contains(&rule_number)
        }
        _ => false,
    }
}

fn read_rules() -> Result<Vec<Rule>, String> {
    let file = root().join("tests/oracle/rules.txt");
    let text = fs::read_to_string(&file);
    let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let rules = lines.map(|line| {
        let mut parts = line.split(" | ").map(str::to_string);
        Some(Rule {
            id: parts.next()?,
            title: parts.next()?,
            excuse: parts.next(),
        })
    });
    let rules: Option<Vec<Rule>> = rules.collect();
    rules.ok_or_else(|| format!("{}: a line without ` | `", file.display()))
}

/// Every test of the crate that names a rule, with the rules: in its name, or in a comment above it or inside
/// it.
fn tests_with_rules() -> Vec<(String, Vec<String>)> {
    let mut files = Vec::new();
    for directory in ["src", "tests"] {
        rust_files_below(&root().join(directory), &mut files);
    }
    files.sort();
    let mut tests = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let path = file.strip_prefix(root()).unwrap_or(&file);
        let path = path.with_extension("").to_string_lossy().replace('\\', "/");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let begins: Vec<usize> = (0..lines.len())
            .filter(|at| lines[*at] == "#[test]")
            .collect();
        for (index, begin) in begins.iter().enumerate() {
            let is_comment = |line: &&&str| line.starts_with("//");
            let above = lines[..*begin].iter().rev().take_while(is_comment).count();
            let end = begins.get(index + 1).copied().unwrap_or(lines.len());
            // The comment above the next test is that test's.
            let below = lines[*begin..end]
                .iter()
                .rev()
                .take_while(is_comment)
                .count();
            let own = &lines[begin - above..end - below];
            let name = own.iter().find_map(|line| line.strip_prefix("fn "));
            let name = name.and_then(|rest| rest.split('(').next()).unwrap_or("?");
            let mut named: Vec<String> = own.iter().flat_map(|line| rules_in(line)).collect();
            // `n236_n77_the_file_is_made_by_listen`
            let first = name.split('_').map(str::to_ascii_uppercase);
            named.extend(first.take_while(|word| is_rule(word)));
            named.sort();
            named.dedup();
            if !named.is_empty() {
                tests.push((format!("{path}::{name}"), named));
            }
        }
    }
    tests
}

/// The rules that a line's comment names.
fn rules_in(line: &str) -> Vec<String> {
    let comment = line.split_once("//").map_or("", |(_, comment)| comment);
    let words = comment.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .filter(|word| is_rule(word))
        .map(str::to_string)
        .collect()
}

fn is_rule(word: &str) -> bool {
    let number = word.strip_prefix(['N', 'L', 'P', 'R', 'W', 'S', 'A', 'U', 'T', 'I', 'E']);
    number.is_some_and(|number| {
        !number.is_empty() && number.len() <= 3 && number.bytes().all(|it| it.is_ascii_digit())
    })
}

fn rust_files_below(directory: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.ends_with("node_modules") {
            continue;
        }
        if path.is_dir() {
            rust_files_below(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// Each difference, with the scenarios that show it as `show` writes them.
fn reasons(scenarios: &[Scenario], show: impl Fn(&str) -> String) -> BTreeMap<&str, String> {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for scenario in scenarios {
        for reason in scenario.differs.iter().chain(&scenario.gathering) {
            let shown = show(&scenario.name());
            reasons.entry(reason).or_default().push(shown);
        }
    }
    let joined = |(reason, shown): (_, Vec<String>)| (reason, shown.join(", "));
    reasons.into_iter().map(joined).collect()
}

/// The same for the documentation, which can't link to files of the repository.
fn differences_for_the_manual(scenarios: &[Scenario]) -> String {
    let mut out = String::from(
        "Each has its scenarios below `tests/oracle/scenarios`, and with every test run it is checked \
         that we still differ, and in this way.\n\n\
         | difference | shown by |\n|---|---|\n",
    );
    for (reason, shown) in reasons(scenarios, |name| format!("`{name}`")) {
        writeln!(out, "| {reason} | {shown} |").expect("writing to a String");
    }
    out
}

/// The table of `ARCHITECTURE.md`: differences that no scenario can show.
fn differences_beyond() -> Result<String, String> {
    let file = root().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&file);
    let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
    let title = "## Differences from Node, on purpose";
    let (_, rest) = text
        .split_once(title)
        .ok_or_else(|| format!("{}: no {title}", file.display()))?;
    let rows = rest.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|'));
    Ok(rows.map(|row| format!("{row}\n")).collect())
}

fn differences(scenarios: &[Scenario]) -> String {
    let link = |name: &str| format!("[{name}](scenarios/{name}.scenario)");
    let mut out = String::from(
        "# Where we differ from Node on purpose\n\n\
         Made by `cargo run --release --example oracle -- --tables` from the `differs` and the \
         `gathering` of the scenarios. Beside each lies what Node does (`.trace`) and what we do \
         (`.ours` with `gather(false)`, `.gathered` where that makes another trace); that we \
         still differ, and in this way, is checked with every test run.\n\n\
         | difference | shown by |\n|---|---|\n",
    );
    for (reason, shown) in reasons(scenarios, link) {
        writeln!(out, "| {reason} | {shown} |").expect("writing to a String");
    }
    out
}
