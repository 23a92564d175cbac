//! A program that plays one scenario after the other in one process. Starting a process costs more
//! than most scenarios take, above all Node's.
//!
//! Beside the lines of `driver.rs` it says `.` when it is done with a scenario and nothing of it is
//! left; then it takes the next. One that ends with the process, since the scenario says `stop`, or
//! an error ends it, is started again.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use super::driver::{Answers, Outcome, Run, spawn};
use super::outside::Directory;
use super::scenario::Scenario;

/// One program; its process is started when there is something to play.
pub struct Player {
    command: Box<dyn Fn() -> Command + Send>,
    process: Option<Process>,
}

struct Process {
    child: Child,
    answers: Answers,
    lines: Receiver<String>,
    directory: Arc<Directory>,
}

impl Player {
    /// A program that is started like this.
    pub fn new(command: impl Fn() -> Command + Send + 'static) -> Player {
        Player {
            command: Box::new(command),
            process: None,
        }
    }

    /// Plays a scenario. `input` is the line that tells it.
    pub fn play(&mut self, scenario: &Scenario, input: &str) -> Outcome {
        let until = Instant::now() + scenario.deadline;
        let started = match self.process.take() {
            Some(process) => Ok(process),
            None => Process::start((self.command)()),
        };
        let sent = started.and_then(|process| process.answers.send(input).map(|()| process));
        let process = match sent {
            Ok(process) => process,
            Err(error) => {
                return Outcome {
                    lines: Vec::new(),
                    failure: Some(format!("the program can't be started: {error}")),
                };
            }
        };
        let mut run = Run::new(process.answers.clone(), until, process.directory.clone());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match process.lines.recv_timeout(left) {
                Ok(line) if line == "." => {
                    let outcome = run.outcome(scenario, None, "");
                    process.directory.empty();
                    self.process = Some(process);
                    return outcome;
                }
                Ok(line) => run.line(&line),
                Err(RecvTimeoutError::Disconnected) => {
                    if scenario.exits == "itself" {
                        run.ended();
                    }
                    break;
                }
                Err(RecvTimeoutError::Timeout) => {
                    run.killed();
                    break;
                }
            }
        }
        // Its sockets have to be closed before the peers can end.
        drop(process);
        run.outcome(scenario, None, "")
    }
}

impl Process {
    fn start(mut command: Command) -> std::io::Result<Process> {
        let directory = Arc::new(Directory::new()?);
        command
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = spawn(&mut command)?;
        let answers = Answers::through(child.stdin.take().expect("its input"));
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = channel();
        // It ends with the output.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Process {
            child,
            answers,
            lines,
            directory,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
