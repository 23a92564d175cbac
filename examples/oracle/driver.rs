//! Runs one program, ours or Node's, on one scenario: feeds it, plays its peers, collects its trace,
//! ends it when its time is over.
//!
//! The program writes lines on its standard output; a tab separates their parts:
//!
//! | line | meaning |
//! |---|---|
//! | `=OBJECT TEXT` | a line of the trace |
//! | `~OBJECT TEXT LENGTH HASH SHOWN?` | bytes that came |
//! | `@NAME PORT` | what a port is called |
//! | `>PEER VERB WORD…` | an order to a peer |
//! | `?PEER` | "answer when that peer is done"; it waits for a line on its standard input: the port that the peer has bound, or nothing |
//! | `!TEXT` | the scenario asks for something impossible |
//!
//! So the program's own loop has no handle for any of this.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::data::Piece;
use super::outside::{self, Directory, OUTSIDE};
use super::peer::Peer;
use super::scenario::Scenario;
use super::trace::Trace;

/// The way to a program that waits for a peer.
#[derive(Clone)]
pub struct Answers(Arc<Mutex<ChildStdin>>);

impl Answers {
    /// The way through a program's standard input.
    pub fn through(input: ChildStdin) -> Answers {
        Answers(Arc::new(Mutex::new(input)))
    }

    /// Sends a line, such as the next scenario.
    pub fn send(&self, line: &str) -> std::io::Result<()> {
        let mut input = self.0.lock().expect("the program's input");
        input.write_all(line.as_bytes())?;
        input.flush()
    }

    /// Says that the peer is done, and which port it has bound, if any.
    pub fn done(&self, port: Option<u16>) {
        let answer = port.map_or(String::new(), |port| port.to_string()) + "\n";
        // The program may have ended meanwhile.
        let _ = self.send(&answer);
    }
}

/// What came of a run.
pub struct Outcome {
    /// The trace.
    pub lines: Vec<String>,
    /// Why the run is worth nothing, if so.
    pub failure: Option<String>,
}

/// Runs a program on a scenario.
pub fn run(scenario: &Scenario, program: &mut Command, input: &str) -> Outcome {
    let until = Instant::now() + scenario.deadline;
    program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let failed = |what: String| Outcome {
        lines: Vec::new(),
        failure: Some(what),
    };
    let directory = match Directory::new() {
        Ok(directory) => Arc::new(directory),
        Err(error) => return failed(format!("no directory: {error}")),
    };
    program.current_dir(directory.path());
    let given = scenario.descriptor.as_ref();
    let given = given.map(|kind| outside::give(kind, &directory, program));
    let other_end = match given.transpose() {
        Ok(other_end) => other_end.flatten(),
        Err(error) => return failed(format!("no descriptor: {error}")),
    };
    let child = spawn(program);
    // It has the descriptor now; it is the only one that is to have it.
    program.stderr(Stdio::null());
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return failed(format!("{program:?} can't be started: {error}")),
    };
    let mut stdin = child.stdin.take().expect("its input");
    // A program that fails at once does not read: its error output says why.
    let _ = stdin
        .write_all(input.as_bytes())
        .and_then(|()| stdin.flush());
    let answers = Answers::through(stdin);
    let mut run = Run::new(answers, until, directory);
    if let Some(stream) = other_end {
        run.peer(OUTSIDE).has(stream);
    }
    let complaints = run.follow(&mut child);
    let status = child.wait().expect("waiting for a child");
    run.outcome(scenario, Some(status), &complaints)
}

/// Until a new process runs its program it has every descriptor of this one, so no peer's socket is
/// closed meanwhile: what a peer closes is to be closed at once.
pub static SPAWNING: Mutex<()> = Mutex::new(());

/// Starts a program.
pub fn spawn(program: &mut Command) -> std::io::Result<Child> {
    let _guard = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
    program.spawn()
}

/// A run of one scenario, while it goes on.
pub struct Run {
    trace: Arc<Mutex<Trace>>,
    peers: HashMap<String, Peer>,
    answers: Answers,
    until: Instant,
    /// Where it runs.
    directory: Arc<Directory>,
    failure: Option<String>,
}

impl Run {
    pub fn new(answers: Answers, until: Instant, directory: Arc<Directory>) -> Run {
        Run {
            trace: Arc::new(Mutex::new(Trace::default())),
            peers: HashMap::new(),
            answers,
            until,
            directory,
            failure: None,
        }
    }

    /// What came of it, once the program is done with it: the status if the program has ended.
    pub fn outcome(
        mut self,
        scenario: &Scenario,
        status: Option<ExitStatus>,
        complaints: &str,
    ) -> Outcome {
        for (_, peer) in self.peers.drain() {
            peer.finish();
        }
        let lines = self.trace().finish(scenario);
        // Node's own codes where an error has ended it.
        let by_error = |code| scenario.exits == "error" && matches!(code, Some(1 | 7));
        let crashed = status.is_some_and(|it| !it.success() && !by_error(it.code()));
        let failure = self.failure.take().or_else(|| {
            let end = lines.iter().rev().find(|line| line.starts_with("process "));
            let end = end.map_or("", |line| &line["process ".len()..]);
            let ended = match end {
                "exits" => "itself",
                "stopped" => "stopped",
                end if end.starts_with("error") => "error",
                _ => "",
            };
            let status = status.map_or(String::new(), |status| format!(" ({status})"));
            // It may have said that all is well, and have panicked behind that.
            (ended != scenario.exits || crashed).then(|| {
                format!(
                    "expected `exits = {}`, but the end was `{end}`{status}\n{complaints}",
                    scenario.exits
                )
            })
        });
        Outcome { lines, failure }
    }

    /// Follows a program to its end; gives what it wrote on its error output.
    fn follow(&mut self, child: &mut Child) -> String {
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        // None if it was given something else in its place.
        let errors = child.stderr.take();
        let complaints = std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut errors) = errors {
                let _ = errors.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => self.line(&line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.killed();
                    break;
                }
            }
        }
        // Already ended, or to be ended.
        let _ = child.kill();
        reader.join().expect("the reader of the output");
        complaints.join().expect("the reader of the error output")
    }

    /// It is ended at its deadline.
    pub fn killed(&self) {
        self.trace().line("process", "was killed at the deadline");
    }

    /// It has ended, though it was to take another scenario.
    pub fn ended(&mut self) {
        let what = "the program has ended, and has not said that it is done with the scenario";
        self.failure.get_or_insert_with(|| what.to_string());
    }

    /// Does what a line of the program says.
    pub fn line(&mut self, line: &str) {
        let Some(mark) = line.chars().next() else {
            return;
        };
        let parts: Vec<&str> = line[mark.len_utf8()..].split('\t').collect();
        match (mark, parts.as_slice()) {
            ('=', [object, text]) => self.trace().line(object, text),
            ('~', [object, text, length, hash, shown @ ..]) => {
                let piece = Piece {
                    length: length.parse().unwrap_or(0),
                    hash: hash.parse().unwrap_or(0),
                    text: shown.first().map(|text| text.replace("\\n", "\n")),
                };
                self.trace().data(object, text, piece);
            }
            ('@', [name, port]) => {
                if let Ok(port) = port.parse() {
                    self.trace().name_port(port, name);
                }
            }
            ('>', [peer, words @ ..]) => {
                let words = words.iter().map(|word| word.replace("\\n", "\n")).collect();
                self.peer(peer).tell(words);
            }
            ('?', [peer]) => self.peer(peer).wait(),
            ('!', [what, ..]) => self.failure = Some(what.to_string()),
            // Whatever else a program prints, such as a test harness's own lines.
            _ => {}
        }
    }

    fn trace(&self) -> std::sync::MutexGuard<'_, Trace> {
        self.trace.lock().expect("the trace")
    }

    fn peer(&mut self, name: &str) -> &Peer {
        self.peers.entry(name.into()).or_insert_with(|| {
            let (trace, answers) = (self.trace.clone(), self.answers.clone());
            Peer::start(name, trace, answers, self.directory.clone(), self.until)
        })
    }
}
