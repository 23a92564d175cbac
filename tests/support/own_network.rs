//! Tests in a network of their own, where the machine lets one be made.

use std::io::Write;
use std::process::Command;

use super::watched;

/// Runs a test's body in a network that `setup`, a shell command, has set up: the test executable runs itself
/// again for that, with the test's name. What the body returns is printed, or why it was skipped.
pub fn in_own_network(setup: &str, test: &str, body: impl FnOnce() -> String) {
    const INSIDE: &str = "NODELOOP_OWN_NETWORK";
    const CAME: &str = "in a network of its own: ";
    if std::env::var_os(INSIDE).is_some() {
        return println!("{CAME}{}", body());
    }
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-r", "-n", "sh", "-c", script]);
        command
    };
    let possible = unshare(setup).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        return println!("skipped: no network of its own can be made here");
    }
    let _deadline = watched(60);
    let output = unshare(&format!("{setup} && exec \"$0\" \"$@\""))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let came = text.lines().find(|line| line.contains(CAME));
    assert!(output.status.success() && came.is_some(), "{text}{errors}");
    // Told also where the output of tests is kept.
    let _ = writeln!(std::io::stdout(), "{}", came.unwrap_or_default());
}
