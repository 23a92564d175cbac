//! The table of the examples, `examples/README.md`: every example stands in it, and what it says is
//! so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A row of the table.
#[derive(Debug)]
struct Row {
    name: String,
    /// From `examples`.
    source: String,
    command: String,
    /// From `examples`.
    test: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rows() -> Vec<Row> {
    let table = read(root().join("examples/README.md"));
    let cells = table.lines().filter_map(|line| line.strip_prefix("| [`"));
    let row = |line: &str| {
        // Name, target, and what comes behind.
        let (name, rest) = line.split_once("`](")?;
        let (source, rest) = rest.split_once(") | ")?;
        let (_taught, rest) = rest.split_once(" | `")?;
        let (command, rest) = rest.split_once("` | [`")?;
        let (_, rest) = rest.split_once("](")?;
        Some(Row {
            name: name.to_string(),
            source: source.to_string(),
            command: command.to_string(),
            test: rest.strip_suffix(") |")?.to_string(),
        })
    };
    cells
        .map(|line| row(line).unwrap_or_else(|| panic!("not a row: {line}")))
        .collect()
}

/// The examples as cargo finds them: files, and directories with a main file.
fn examples() -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join("examples")).expect("the directory can be read");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let is_example = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").exists()
    };
    let name = |path: PathBuf| path.file_stem().map(|name| name.to_string_lossy().into());
    paths.filter(is_example).filter_map(name).collect()
}

#[test]
fn every_example_stands_in_the_table_once_and_nothing_else_does() {
    let rows = rows();
    let names: BTreeSet<String> = rows.iter().map(|row| row.name.clone()).collect();
    assert_eq!(names.len(), rows.len(), "one stands in it twice: {rows:?}");
    assert_eq!(names, examples());
    assert!(names.len() > 20, "{names:?}");
}

#[test]
fn every_row_leads_to_the_source_which_states_its_pattern_and_how_to_run_it() {
    for row in rows() {
        let source = read(root().join("examples").join(&row.source));
        let name = &row.name;
        assert!(row.source == format!("{name}.rs") || row.source == format!("{name}/main.rs"));
        let head: Vec<&str> = source
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        let head = head.join("\n");
        assert!(
            head.contains("//! The pattern: "),
            "{name} states no pattern"
        );
        let command = format!("cargo run --release --example {name}");
        assert!(
            head.contains(&format!("//! {command} ")),
            "{name} does not tell how to run it"
        );
        let arguments = row.command.strip_prefix(&command);
        let is_command = arguments.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        assert!(is_command, "{name}: {}", row.command);
    }
}

#[test]
fn every_row_leads_to_the_test_which_runs_the_example() {
    for row in rows() {
        let test = read(root().join("examples").join(&row.test));
        let name = &row.name;
        // As the name of a program, or as a module.
        let is_run =
            test.contains(&format!("\"{name}\"")) || test.contains(&format!("examples/{name}/"));
        assert!(is_run, "{} does not run {name}", row.test);
    }
}

#[test]
fn what_examples_share_is_named_too() {
    let table = read(root().join("examples/README.md"));
    let entries = std::fs::read_dir(root().join("examples")).expect("the directory can be read");
    let examples = examples();
    for entry in entries {
        let path = entry.expect("it can be read").path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let is_told = name == "README" || examples.contains(&*name);
        assert!(
            is_told || table.contains(&format!("[`{name}`]({name}/mod.rs)")),
            "{name}"
        );
    }
}
