//! Servers that end when the suite does, however that ends: one that is killed drops nothing.

use std::io;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// The first argument of this program when it is to become another that ends with its parent.
pub const GUARDED: &str = "--guarded";

/// The same command by way of this program.
pub fn guarded(command: &Command) -> io::Result<Command> {
    let mut guarded = Command::new(std::env::current_exe()?);
    guarded.arg(GUARDED).arg(std::process::id().to_string());
    guarded.arg(command.get_program()).args(command.get_args());
    Ok(guarded)
}

/// The other side: `--guarded PARENT PROGRAM [ARGUMENT...]`. Returns only if it fails.
pub fn become_program(arguments: &[String]) -> io::Result<()> {
    let [parent, program, rest @ ..] = arguments else {
        return Err(io::Error::other("no program to become"));
    };
    set_pdeathsig(Signal::SIGKILL)?;
    // It may have ended before that was asked for.
    if parent_id().to_string() != *parent {
        return Err(io::Error::other("nobody waits for it any more"));
    }
    Err(Command::new(program).args(rest).exec())
}
