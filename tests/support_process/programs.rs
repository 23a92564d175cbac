//! The examples as programs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::Process;

/// How long building the examples may take from one crate to the next.
const BUILD_PATIENCE: Duration = Duration::from_secs(300);

/// The executable of an example. They are built once per run: `cargo test` builds them along, but
/// not when it is told to run one file alone, and then old ones may lie there.
pub fn executable(name: &str) -> &'static Path {
    static BUILT: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(build);
    match built.get(name) {
        Some(path) => path,
        None => panic!("cargo has built no example {name}"),
    }
}

fn build() -> HashMap<String, PathBuf> {
    let this = std::env::current_exe().expect("this program has a path");
    // target/PROFILE/deps/this-0123456789abcdef, or with the platform between; cargo marks the top.
    let profile = this.ancestors().nth(2).and_then(Path::file_name);
    let profile = match profile.and_then(|profile| profile.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let top = this
        .ancestors()
        .find(|place| place.join("CACHEDIR.TAG").exists());
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // Everything it takes is here, since this program was built.
        .args(["build", "--offline", "--message-format=json"])
        .args(["--profile", profile]);
    if let Some(top) = top {
        command.arg("--target-dir").arg(top);
    }
    command.arg("--examples");
    let mut built = HashMap::new();
    let mut cargo = Process::start(&mut command).with_patience(BUILD_PATIENCE);
    let ended = cargo.ended(|line| {
        let is_example = line.contains(r#""kind":["example"]"#);
        if let (true, Some(path)) = (is_example, text_of(&line, "executable")) {
            let path = PathBuf::from(path);
            let name = path.file_stem().unwrap_or_default();
            built.insert(name.to_string_lossy().into_owned(), path);
        }
    });
    assert!(ended.status.success(), "{}", ended.stderr);
    built
}

/// The text of a field in one of cargo's messages, which are JSON, one object per line.
fn text_of(message: &str, field: &str) -> Option<String> {
    let (_, rest) = message.split_once(&format!("\"{field}\":\""))?;
    let (text, _) = rest.split_once('"')?;
    Some(text.replace(r"\\", r"\"))
}
