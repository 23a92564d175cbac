//! The load generator as a process of its own, one for each server: it has descriptors of its own,
//! and its processor time is nobody else's.
//!
//! It is told what to do line by line, and answers each with a line.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Kind, Load};
use crate::machine::{self, Cores};
use crate::statistics::Latencies;

/// The first argument of this program when it is to be a load generator.
pub const LOAD: &str = "--load";

/// Whether it may have its core to itself.
const SPIN: &str = "spin";
const BLOCK: &str = "block";

/// What a round came to.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Operations done.
    pub done: u64,
    /// How long it took.
    pub took: Duration,
    /// What was lost beside these.
    pub lost: u64,
}

/// A running load generator. It is ended when this is dropped.
pub struct Generator {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Generator {
    /// Starts it; and where a proxy is to lead to, if the server is to be one.
    pub fn start(kind: Kind, cores: &Cores) -> io::Result<(Generator, Option<SocketAddr>)> {
        cores.be_the_load()?;
        let mut process = Command::new(std::env::current_exe()?)
            .arg(LOAD)
            .arg(if cores.are_two { SPIN } else { BLOCK })
            .args(kind.words())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("the load generator has no pipes"));
        };
        let mut generator = Generator {
            process,
            input,
            output: BufReader::new(output),
        };
        let target = generator.answer()?.parse().ok();
        Ok((generator, target))
    }

    /// Opens its connections.
    pub fn open(&mut self, server: SocketAddr) -> io::Result<()> {
        self.ask(&format!("open {server}")).map(drop)
    }

    /// Does what [`Load::check`](super::Load::check) does.
    pub fn check(&mut self) -> io::Result<()> {
        self.ask("check").map(drop)
    }

    /// How many operations are done at once.
    pub fn unit(&mut self) -> io::Result<u64> {
        let answer = self.ask("unit")?;
        number(&answer, 0)
    }

    /// Does operations in front of a round, whose latencies do not count: how many were done.
    pub fn lead_in(&mut self, operations: u64) -> io::Result<u64> {
        let answer = self.ask(&format!("lead-in {operations}"))?;
        number(&answer, 0)
    }

    pub fn round(&mut self, operations: u64) -> io::Result<Round> {
        let answer = self.ask(&format!("round {operations}"))?;
        Ok(Round {
            done: number(&answer, 0)?,
            took: Duration::from_nanos(number(&answer, 1)?),
            lost: number(&answer, 2)?,
        })
    }

    /// The latencies from now on are those that count.
    pub fn forget(&mut self) -> io::Result<()> {
        self.ask("forget").map(drop)
    }

    /// The latencies in µs within which 50, 99 and 99.9 % of the operations were done.
    pub fn percentiles_us(&mut self) -> io::Result<Option<[f64; 3]>> {
        let answer = self.ask("percentiles")?;
        let numbers: Vec<f64> = answer
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        Ok(numbers.try_into().ok())
    }

    pub fn processor_time(&self) -> io::Result<Duration> {
        machine::processor_time(self.process.id())
    }

    fn ask(&mut self, what: &str) -> io::Result<String> {
        writeln!(self.input, "{what}")?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        match line.trim().split_once(' ') {
            Some(("ok", answer)) => Ok(answer.to_string()),
            Some(("error", what)) => Err(io::Error::other(what.to_string())),
            _ => Err(io::Error::other("the load generator has ended")),
        }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn number(answer: &str, at: usize) -> io::Result<u64> {
    let word = answer.split_whitespace().nth(at).unwrap_or_default();
    word.parse().map_err(io::Error::other)
}

/// The load generator's side: `--load spin|block KIND...`.
pub fn serve(arguments: &[String]) -> io::Result<()> {
    let refused = || io::Error::other(format!("not a load: {arguments:?}"));
    let (waits, words) = arguments.split_first().ok_or_else(refused)?;
    let kind = Kind::from_words(words).ok_or_else(refused)?;
    if let Err(error) = obey(kind, waits == SPIN) {
        say(&format!("error {error}"))?;
    }
    Ok(())
}

fn obey(kind: Kind, spin: bool) -> io::Result<()> {
    let mut lines = io::stdin().lines();
    let target = match kind.has_target() {
        true => Some(TcpListener::bind("127.0.0.1:0")?),
        false => None,
    };
    match &target {
        Some(target) => say(&format!("ok {}", target.local_addr()?))?,
        None => say("ok none")?,
    }
    let Some(line) = lines.next() else {
        return Ok(());
    };
    let line = line?;
    let server = line.strip_prefix("open ").and_then(|at| at.parse().ok());
    let load = kind.open(server.ok_or_else(not_understood)?, spin, target)?;
    let mut obedient = Obedient::new(load);
    say("ok opened")?;
    for line in lines {
        let answer = obedient.answer(&line?)?;
        say(&format!("ok {answer}"))?;
    }
    Ok(())
}

/// A load that does what lines say.
pub struct Obedient {
    load: Box<dyn Load>,
    latencies: Latencies,
    /// Of what comes in front of rounds.
    not_counted: Latencies,
}

impl Obedient {
    pub fn new(load: Box<dyn Load>) -> Obedient {
        Obedient {
            load,
            latencies: Latencies::new(),
            not_counted: Latencies::new(),
        }
    }

    pub fn answer(&mut self, line: &str) -> io::Result<String> {
        Ok(match line {
            "check" => {
                self.load.check(&mut self.latencies)?;
                "checked".to_string()
            }
            "unit" => self.load.unit().to_string(),
            "forget" => {
                self.latencies.forget();
                "forgotten".to_string()
            }
            "percentiles" => {
                let percentile = |share| self.latencies.percentile_us(share);
                let percentiles = [0.5, 0.99, 0.999].map(percentile);
                let words =
                    percentiles.map(|us| us.map_or("none".to_string(), |us| us.to_string()));
                words.join(" ")
            }
            other => self.round(other)?,
        })
    }

    /// `round OPERATIONS` or `lead-in OPERATIONS`.
    fn round(&mut self, line: &str) -> io::Result<String> {
        let (what, operations) = line.split_once(' ').ok_or_else(not_understood)?;
        let operations = operations.parse().map_err(|_| not_understood())?;
        let latencies = match what {
            "round" => &mut self.latencies,
            "lead-in" => &mut self.not_counted,
            _ => return Err(not_understood()),
        };
        let lost_before = self.load.lost();
        let begun = Instant::now();
        let done = self.load.round(operations, latencies)?;
        let took = begun.elapsed().as_nanos();
        Ok(format!("{done} {took} {}", self.load.lost() - lost_before))
    }
}

fn not_understood() -> io::Error {
    io::Error::other("not understood")
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}
