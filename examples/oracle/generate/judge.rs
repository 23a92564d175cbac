//! What Node and we do in a generated scenario, and whether that is the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::document::Document;
use super::known;
use crate::oracle::batch::Player;
use crate::oracle::check::{LINE_END, Writes, batch_command};
use crate::oracle::driver::Outcome;
use crate::oracle::scenario::Scenario;
use crate::oracle::trace::difference;
use crate::oracle::{pinned, wire};

/// How often Node is asked: what is not the same each time it did not decide.
const TRIALS: usize = 3;
/// How often both are asked again when they differ: a scenario in which one run of ten is another is
/// not decided either.
const SECOND_LOOKS: usize = 10;

/// What came of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All are the same.
    Agrees,
    /// Node's traces are not the same each time, at the first look or, after a difference, at the
    /// second.
    Undecided,
    /// Node decides, but neither we nor it say the same at each of the second looks: the machine
    /// delayed somebody.
    Unsteady,
    /// It can't be played, in Node: a fault of the generator's, with what it is.
    Impossible(String),
    /// They differ as they are meant to, for these reasons.
    Known(Vec<&'static str>),
    /// They differ, and nobody knows why: side by side.
    Differs(String),
}

/// The three programs: Node, and ours both ways.
pub struct Judge {
    node: Player,
    ours: [(Writes, Player); 2],
}

/// Makes the command that has this executable play what its driver sends.
pub type Batch = fn() -> Command;

impl Judge {
    pub fn new(node: PathBuf, batch: Batch) -> Judge {
        let ours = |writes| (writes, Player::new(move || batch_command(batch(), writes)));
        Judge {
            node: Player::new(move || node_command(&node)),
            ours: [ours(Writes::AtOnce), ours(Writes::Gathered)],
        }
    }

    /// Plays a scenario and says what came of it.
    pub fn judge(&mut self, document: &Document) -> Verdict {
        let scenario = match document.scenario() {
            Ok(scenario) => scenario,
            Err(what) => return Verdict::Impossible(what),
        };
        if let Some(why) = scenario.why_not() {
            return Verdict::Impossible(why);
        }
        let mut theirs = self.of_node(&scenario);
        if theirs.failure.is_some() {
            // It may be a fault of the scenario before it in that process, which is over now.
            theirs = self.of_node(&scenario);
        }
        if let Some(why) = theirs.failure {
            if known::was_reset_behind_end(&theirs.lines) {
                return self.without_node(&scenario, &document.text());
            }
            return Verdict::Impossible(format!("{why}\n{}", theirs.lines.join("\n")));
        }
        for _ in 1..TRIALS {
            if self.of_node(&scenario).lines != theirs.lines {
                return Verdict::Undecided;
            }
        }
        let text = document.text();
        let mut reasons = Vec::new();
        for way in 0..self.ours.len() {
            let ours = self.of_ours(way, &scenario, &text);
            if let Some(rows) = self.differ(&scenario, &theirs, &ours, way, &mut reasons) {
                return self.look_again(&scenario, &text, &theirs, way, &rows);
            }
        }
        match reasons.is_empty() {
            true => Verdict::Agrees,
            false => Verdict::Known(reasons),
        }
    }

    /// Node leaves a connection open that ours resets: of ours it is only known that it ends.
    fn without_node(&mut self, scenario: &Scenario, text: &str) -> Verdict {
        for way in 0..self.ours.len() {
            // What a busy machine has done it does not do each time.
            let outcomes = (0..TRIALS).map(|_| self.of_ours(way, scenario, text).failure);
            if let Some(Some(why)) = outcomes.min() {
                return Verdict::Differs(format!("ours: {why}\n"));
            }
        }
        Verdict::Known(vec![known::RESET_BEHIND_END])
    }

    /// Whether a scenario may differ: everybody is asked once.
    pub fn may_differ(&mut self, document: &Document) -> bool {
        let Ok(scenario) = document.scenario() else {
            return false;
        };
        let theirs = self.of_node(&scenario);
        let text = document.text();
        theirs.failure.is_none()
            && (0..self.ours.len()).any(|way| {
                let ours = self.of_ours(way, &scenario, &text);
                let rows = self.differ(&scenario, &theirs, &ours, way, &mut Vec::new());
                rows.is_some()
            })
    }

    fn of_node(&mut self, scenario: &Scenario) -> Outcome {
        self.node.play(scenario, &wire::to_json(scenario))
    }

    fn of_ours(&mut self, way: usize, scenario: &Scenario, text: &str) -> Outcome {
        let line = text.replace('\n', &LINE_END.to_string()) + "\n";
        self.ours[way].1.play(scenario, &line)
    }

    /// Where they differ, unless that is known and meant: then its reason is noted.
    fn differ(
        &self,
        scenario: &Scenario,
        theirs: &Outcome,
        ours: &Outcome,
        way: usize,
        reasons: &mut Vec<&'static str>,
    ) -> Option<String> {
        let name = match self.ours[way].0 {
            Writes::AtOnce => "ours",
            Writes::Gathered => "ours, gathered",
        };
        if let Some(why) = &ours.failure {
            let lines = ours.lines.join("\n  ");
            return Some(format!("{name}: {why}\n  {lines}\n"));
        }
        let rows = difference(["Node", name], &theirs.lines, &ours.lines)?;
        match known::explain(scenario, self.ours[way].0, &theirs.lines, &ours.lines) {
            Some(found) => {
                for reason in found {
                    if !reasons.contains(&reason) {
                        reasons.push(reason);
                    }
                }
                None
            }
            None => Some(rows),
        }
    }

    /// Whether a difference is there each time.
    fn look_again(
        &mut self,
        scenario: &Scenario,
        text: &str,
        theirs: &Outcome,
        way: usize,
        rows: &str,
    ) -> Verdict {
        for _ in 0..SECOND_LOOKS {
            if self.of_node(scenario).lines != theirs.lines {
                return Verdict::Undecided;
            }
            let ours = self.of_ours(way, scenario, text);
            let again = self.differ(scenario, theirs, &ours, way, &mut Vec::new());
            if again.is_none() {
                return Verdict::Unsteady;
            }
        }
        Verdict::Differs(rows.to_string())
    }
}

/// Node, playing one scenario after the other.
fn node_command(node: &Path) -> Command {
    let mut command = Command::new(node);
    command
        .env_remove("NODE_OPTIONS")
        .env_remove("NODE_DEBUG")
        .arg(pinned::root().join("tests/oracle/batch.cjs"));
    command
}
