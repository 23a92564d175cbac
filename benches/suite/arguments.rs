//! What was asked for.

use crate::peers::Peer;

const USAGE: &str = "usage: cargo bench --bench suite -- [--smoke] [--list] [--only WORKLOAD]... \
    [--peer PEER]...\n\
    WORKLOAD may be the beginning of a name; --list names them.\n\
    PEER is nodeloop, hand-written, tokio, libuv or node.";

#[derive(Debug, Default)]
pub struct Arguments {
    /// A short run that proves that everything works.
    pub smoke: bool,
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

    pub fn wants(&self, workload: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| workload.starts_with(name))
    }

    pub fn wants_peer(&self, peer: Peer) -> bool {
        self.peers.is_empty() || self.peers.contains(&peer)
    }
}
