//! Everything with a deadline: bodies of tests, and child processes, what they print, line by line,
//! and how they end.

#![allow(dead_code, reason = "every test program uses a part of it")]

pub mod examples;
#[allow(
    clippy::duplicate_mod,
    reason = "a test program may use both vocabularies"
)]
#[path = "../support/files.rs"]
pub mod files;
pub mod liveness;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long anything that must happen may take: far more than it needs on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Runs the body of a test in a thread of its own and fails if it is not over at the deadline: for
/// what waits without one, such as `run`.
pub fn within_deadline(body: impl FnOnce() + Send + 'static) {
    let (sender, over) = channel::<()>();
    let thread = std::thread::spawn(move || {
        // Dropped at the end, also when the body panics.
        let _sender = sender;
        body();
    });
    if over.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout) {
        panic!("not over after {DEADLINE:?}");
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A child process. It is ended when this is dropped.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
    patience: Duration,
}

/// How a process has ended.
pub struct Ended {
    /// Its exit code.
    pub status: ExitStatus,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Process {
    /// Starts a program whose standard streams are ours.
    pub fn start(command: &mut Command) -> Process {
        Process::start_with(command, Stdio::piped(), Stdio::piped())
    }

    /// Starts a program with something else in place of its standard input and error.
    pub fn start_with(command: &mut Command, stdin: Stdio, stderr: Stdio) -> Process {
        command.stdin(stdin).stdout(Stdio::piped()).stderr(stderr);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("can't start {command:?}: {error}"),
        };
        let stdout = child.stdout.take().expect("it is a pipe");
        let (sender, lines) = channel();
        // Ends by itself: at the end of the stream, or when nobody wants the lines any more.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stderr = child.stderr.take();
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stderr) = stderr {
                let _ = stderr.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        Process {
            child,
            lines,
            stderr: Some(stderr),
            patience: DEADLINE,
        }
    }

    /// Has it take longer from one line to the next than [`DEADLINE`].
    pub fn with_patience(mut self, patience: Duration) -> Process {
        self.patience = patience;
        self
    }

    /// The next line; None when the process has ended. Panics at the deadline.
    pub fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(self.patience) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                let _ = self.child.kill();
                let (patience, stderr) = (self.patience, self.collect_stderr());
                panic!("after {patience:?} neither a line nor an end; stderr: {stderr}");
            }
        }
    }

    /// Waits for `window`. Returns what came instead of silence: a line, or None for the end.
    pub fn silent_for(&mut self, window: Duration) -> Result<(), Option<String>> {
        match self.lines.recv_timeout(window) {
            Ok(line) => Err(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Err(None),
            Err(RecvTimeoutError::Timeout) => Ok(()),
        }
    }

    /// Waits until the process ends by itself. Lines that are left are given to `rest`.
    pub fn ended(&mut self, mut rest: impl FnMut(String)) -> Ended {
        while let Some(line) = self.line() {
            rest(line);
        }
        // Its output is closed, so it is over but for the formalities.
        let status = self.child.wait().expect("it is our child");
        Ended {
            status,
            stderr: self.collect_stderr(),
        }
    }

    /// Ends the process, and tells what it has said up to then.
    pub fn killed(&mut self) -> Ended {
        // An error says that it is over already.
        let _ = self.child.kill();
        self.ended(drop)
    }

    /// Where its standard input is written to; dropping it closes it.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("it was not taken before")
    }

    fn collect_stderr(&mut self) -> String {
        match self.stderr.take() {
            Some(reader) => reader.join().unwrap_or_default(),
            None => String::new(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only ever the process started here; an error says that it is over already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
