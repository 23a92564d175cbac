//! What was asked for.

use std::time::Duration;

use crate::peers::Peer;
use crate::rounds::Effort;
use crate::workload::Workload;

const USAGE: &str = "usage: cargo bench --bench suite -- [--smoke] [--list] [--only WORKLOAD]... \
    [--peer PEER]... [--against-itself] [--rounds N] [--round-ms MS]\n\
    WORKLOAD may be the beginning of a name; --list names them.\n\
    PEER is nodeloop, hand-written, tokio, libuv or node.\n\
    --against-itself measures each server beside a second one that is the same.";

#[derive(Debug, Default)]
pub struct Arguments {
    /// A short run that proves that everything works.
    pub smoke: bool,
    /// Each server beside a second one that is the same.
    pub against_itself: bool,
    /// Another number of rounds than is usual, or another length.
    pub rounds: Option<usize>,
    pub round: Option<Duration>,
    /// Names what there is.
    pub list: bool,
    /// The beginnings of the names of workloads; none is all.
    only: Vec<String>,
    /// None is all.
    peers: Vec<Peer>,
}

impl Arguments {
    pub fn parse(arguments: &[String]) -> Result<Arguments, String> {
        let mut parsed = Arguments::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // From cargo.
                "--bench" => {}
                "--smoke" => parsed.smoke = true,
                "--against-itself" => parsed.against_itself = true,
                "--rounds" => parsed.rounds = Some(number(arguments.next())? as usize),
                "--round-ms" => {
                    parsed.round = Some(Duration::from_millis(number(arguments.next())?));
                }
                "--list" => parsed.list = true,
                "--only" => parsed.only.push(arguments.next().ok_or(USAGE)?.clone()),
                "--peer" => {
                    let name = arguments.next().ok_or(USAGE)?;
                    parsed.peers.push(Peer::named(name).ok_or(USAGE)?);
                }
                _ => return Err(USAGE.to_string()),
            }
        }
        Ok(parsed)
    }

    pub fn effort(&self, mut effort: Effort) -> Effort {
        if let Some(rounds) = self.rounds {
            effort.rounds = rounds;
            effort.more = Duration::ZERO;
        }
        effort.round = self.round.unwrap_or(effort.round);
        effort
    }

    /// What was asked for by `--only` and is the beginning of none of these names.
    pub fn unknown(&self, workloads: &[Workload]) -> Option<&str> {
        let begins = |name: &str| workloads.iter().any(|it| it.name.starts_with(name));
        let unknown = self.only.iter().find(|name| !begins(name));
        unknown.map(String::as_str)
    }

    pub fn wants(&self, workload: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| workload.starts_with(name))
    }

    pub fn wants_peer(&self, peer: Peer) -> bool {
        match self.peers.is_empty() {
            true => !self.against_itself || peer == Peer::Nodeloop,
            false => self.peers.contains(&peer),
        }
    }
}

/// At least one.
fn number(argument: Option<&String>) -> Result<u64, String> {
    let number = argument.and_then(|text| text.parse().ok());
    number.filter(|&number| number > 0).ok_or(USAGE.to_string())
}
