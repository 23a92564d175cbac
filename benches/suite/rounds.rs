//! Measuring: all lanes of a workload in turn, round after round.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::build;
use crate::guard;
use crate::load::process::Generator;
use crate::load::{self, Kind};
use crate::machine::Cores;
use crate::micro;
use crate::outcome::{LaneOutcome, Outcome};
use crate::peers::{Peer, Program};
use crate::program;
use crate::server::Server;
use crate::workload::{Figure, Lane, Work, Workload};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds of each lane.
    pub rounds: usize,
    /// How long a round is to take, about.
    pub round: Duration,
    /// How long all rounds may take that are more than these.
    pub more: Duration,
    /// What thousands of connections become.
    pub most_connections: usize,
    /// How large files are at most.
    pub most_mib: usize,
    /// Rounds of what is done without sockets, and how much of it.
    pub micro_rounds: usize,
    pub micro_operations: u32,
}

impl Effort {
    /// What to tell people.
    pub fn description(&self) -> String {
        let more = match self.more.is_zero() {
            true => String::new(),
            false => format!(", up to {MOST_TIMES} times as many where that leaves a limit open"),
        };
        format!(
            "{} rounds of about {} ms each{more}; medians, and 10 %–90 % of the rounds in brackets",
            self.rounds,
            self.round.as_millis()
        )
    }
}

/// What measuring needs.
pub struct Bench {
    pub programs: HashMap<Peer, Program>,
    pub cores: Cores,
    pub effort: Effort,
    /// What is left of the time for more rounds.
    pub time_for_more: Cell<Duration>,
    /// Descriptors that a process may have.
    pub descriptors: usize,
}

/// A server with clients that are connected.
struct Session {
    server: Server,
    load: Generator,
    /// Operations of a round.
    operations: u64,
    /// Those in front of a round, which are not timed.
    lead_in: u64,
    /// It takes part in one of so many rounds.
    every: usize,
    may_lose: bool,
    counts_before: Option<HashMap<String, u64>>,
    done: u64,
    outcome: LaneOutcome,
}

/// Descriptors for everything but the connections; half of them where there are few.
const SPARE_DESCRIPTORS: usize = 500;

impl Bench {
    pub fn start(&self, lane: &Lane) -> io::Result<Server> {
        self.start_with(lane, Vec::new())
    }

    /// Starts a server with options that are not known beforehand.
    fn start_with(&self, lane: &Lane, more: Vec<String>) -> io::Result<Server> {
        let command = guard::guarded(&self.programs[&lane.peer].command())?;
        self.start_by(command, lane, more)
    }

    /// Starts a server with nothing in front of it, which would be in the time of its start.
    pub fn start_alone(&self, lane: &Lane) -> io::Result<Server> {
        self.start_by(self.programs[&lane.peer].command(), lane, Vec::new())
    }

    fn start_by(&self, command: Command, lane: &Lane, more: Vec<String>) -> io::Result<Server> {
        let options = lane.options.iter().map(|option| option.to_string());
        let options: Vec<String> = options.chain(more).collect();
        Server::start(lane.peer, command, lane.mode, &options, &self.cores)
    }

    /// How many connections there can be where `wanted` are wanted.
    pub fn affordable(&self, wanted: usize) -> usize {
        let spare = SPARE_DESCRIPTORS.min(self.descriptors / 2);
        let possible = self.descriptors - spare;
        wanted.min(possible).min(self.effort.most_connections)
    }

    /// Measures a workload by rounds of its load.
    pub fn traffic(&self, workload: &Workload, kind: Kind) -> Outcome {
        let rounds = kind.rounds(self.effort.rounds);
        let mut remarks = Vec::new();
        let mut sessions = Vec::new();
        for lane in self.lanes(workload) {
            let wanted = lane.load.unwrap_or(kind);
            let load = wanted
                .scaled(|count| self.affordable(count))
                .with_files_of(self.effort.most_mib);
            if load.connections() < wanted.connections() {
                let (fewer, many) = (load.connections(), wanted.connections());
                let remark = format!("{fewer} connections instead of {many}");
                if !remarks.contains(&remark) {
                    remarks.push(remark);
                }
            }
            match self.open(lane, load) {
                Ok(mut session) => {
                    session.every = workload.takes_part_every(lane, rounds);
                    sessions.push(session);
                }
                Err(error) => remarks.push(format!("{} failed: {error}", lane.name)),
            }
        }
        share_operations(&mut sessions);
        for round in 0..rounds {
            let taking_part = |session: &Session| round % session.every == 0;
            one_round(&mut sessions, round, taking_part, &mut remarks);
        }
        self.more_rounds(workload, &mut sessions, rounds, &mut remarks);
        let outcomes = sessions.into_iter().map(|session| match session.finish() {
            (outcome, None) => outcome,
            (outcome, Some(error)) => {
                remarks.push(format!("{} failed at the end: {error}", outcome.name));
                outcome
            }
        });
        let outcomes = outcomes.collect();
        Outcome::of(workload, outcomes, remarks)
    }

    /// More rounds of those whose ratio may lie on either side of its limit, as far as there is time: a part
    /// of what is left, so that those that come last get some too.
    fn more_rounds(
        &self,
        workload: &Workload,
        sessions: &mut Vec<Session>,
        rounds: usize,
        remarks: &mut Vec<String>,
    ) {
        let mut own = self.time_for_more.get() / PART_OF_MORE;
        for round in rounds..rounds * MOST_TIMES {
            let outcome_of = |name: &str| {
                let outcomes = sessions.iter().map(|session| &session.outcome);
                outcomes.into_iter().find(|outcome| outcome.name == name)
            };
            let open = workload.limits.iter().filter(|it| it.is_open(outcome_of));
            let lanes: Vec<String> = open
                .flat_map(|limit| limit.against.iter().chain([&limit.lane]))
                .cloned()
                .collect();
            if lanes.is_empty() || own.is_zero() {
                return;
            }
            let begun = Instant::now();
            let taking_part = |session: &Session| lanes.contains(&session.outcome.name);
            one_round(sessions, round, taking_part, remarks);
            let took = begun.elapsed();
            own = own.saturating_sub(took);
            let left = self.time_for_more.get();
            self.time_for_more.set(left.saturating_sub(took));
        }
    }

    /// The lanes of the peers that are there.
    pub fn lanes<'a>(&'a self, workload: &'a Workload) -> impl Iterator<Item = &'a Lane> {
        let lanes = workload.lanes.iter();
        lanes.filter(|lane| self.programs.contains_key(&lane.peer))
    }

    fn open(&self, lane: &Lane, kind: Kind) -> io::Result<Session> {
        let (mut load, target) = Generator::start(kind, &self.cores)?;
        let mut options = Vec::new();
        if let Some(target) = target {
            options.extend(["--target".to_string(), target.to_string()]);
        }
        if let Kind::Files { mib, .. } = kind {
            let file = build::directory().map_err(io::Error::other)?;
            let file = file.join(format!("{mib}-mib"));
            load::files::write(&file, mib)?;
            options.extend(["--file".to_string(), file.display().to_string()]);
        }
        let server = self.start_with(lane, options)?;
        load.open(server.address)?;
        load.check()?;
        let operations = self.calibrate(&server, &mut load)?;
        load.forget()?;
        let counts_before = server.counts()?;
        Ok(Session {
            server,
            load,
            operations,
            lead_in: kind.lead_in(),
            every: 1,
            may_lose: kind.may_lose(),
            counts_before,
            done: 0,
            outcome: LaneOutcome::new(&lane.name),
        })
    }

    /// Warms up, and finds how many operations a round takes.
    fn calibrate(&self, server: &Server, load: &mut Generator) -> io::Result<u64> {
        let unit = load.unit()?;
        let mut operations = unit;
        loop {
            let before = server.processor_time()? + load.processor_time()?;
            let round = load.round(operations)?;
            let used = server.processor_time()? + load.processor_time()? - before;
            // Where other work has the cores most of the time, a round has less in it than it seems.
            let took = round.took.min(used);
            if took * 4 > self.effort.round {
                // What was lost took its time too.
                let rate = operations.max(round.done) as f64 / took.as_secs_f64();
                let wanted = (rate * self.effort.round.as_secs_f64()) as u64;
                return Ok((wanted / unit).max(1) * unit);
            }
            operations *= 2;
        }
    }

    /// Measures a loop without sockets: processes of the lanes in turn.
    fn micro(&self, workload: &Workload, task: micro::Task) -> Outcome {
        let lanes: Vec<&Lane> = self.lanes(workload).collect();
        let mut outcomes: Vec<LaneOutcome> = Vec::new();
        let mut remarks = Vec::new();
        for round in 0..self.effort.micro_rounds {
            for lane in in_turn(&lanes, round) {
                // Some take seconds, with those whom no limit is about the longest.
                if round % 2 == 1 && !workload.is_judged(lane) && !workload.limits.is_empty() {
                    continue;
                }
                let measured =
                    micro::measure(lane.peer, task, self.effort.micro_operations, &self.cores);
                let known = outcomes
                    .iter()
                    .position(|outcome| outcome.name == lane.name);
                let index = known.unwrap_or_else(|| {
                    outcomes.push(LaneOutcome::new(&lane.name));
                    outcomes.len() - 1
                });
                match measured {
                    Ok(nanos) => outcomes[index].add(Figure::ServerTime, round, nanos),
                    Err(error) => {
                        let remark = format!("{} failed: {error}", lane.name);
                        // Each round fails in the same way.
                        if !remarks.contains(&remark) {
                            remarks.push(remark);
                        }
                    }
                }
            }
        }
        Outcome::of(workload, outcomes, remarks)
    }

    /// Does what the workload is.
    pub fn run(&self, workload: &Workload) -> Outcome {
        match workload.work {
            Work::Traffic(kind) => self.traffic(workload, kind),
            Work::Idle { connections } => self.idle(workload, connections),
            Work::Micro(task) => self.micro(workload, task),
            Work::StartUp => self.start_up(workload),
            Work::Size => program::size(workload),
        }
    }
}

/// A workload gets one in so many seconds of those that are left for more rounds.
const PART_OF_MORE: u32 = 4;

/// Up to so many times the usual rounds.
const MOST_TIMES: usize = 8;

/// A round of those that take part, one after the other. Who fails takes part in none any more.
fn one_round(
    sessions: &mut Vec<Session>,
    round: usize,
    takes_part: impl Fn(&Session) -> bool,
    remarks: &mut Vec<String>,
) {
    let taking_part = (0..sessions.len()).filter(|&index| takes_part(&sessions[index]));
    let order: Vec<usize> = taking_part.collect();
    let mut failed = Vec::new();
    for index in in_turn(&order, round) {
        let session = &mut sessions[index];
        if let Err(error) = session.measure(round) {
            remarks.push(format!("{} failed: {error}", session.outcome.name));
            failed.push(index);
        }
    }
    failed.sort_unstable();
    for index in failed.into_iter().rev() {
        sessions.remove(index);
    }
}

/// How many times the operations of the first lanes others may do in a round, or they them.
const ALIKE: u64 = 4;

/// Has all lanes do as much in a round: what a round has beside its operations, connecting for
/// instance, is then the same share of each. But those that are much slower or faster do what they
/// do in the time of a round.
fn share_operations(sessions: &mut [Session]) {
    let own = sessions.iter().take(2).map(|session| session.operations);
    let Some(shared) = own.max() else {
        return;
    };
    for session in sessions {
        if session.operations * ALIKE >= shared && shared * ALIKE >= session.operations {
            session.operations = shared;
        }
    }
}

/// The order of a round: every second one is the reverse of the one before, so who is last has two in a row
/// and comes to the second from its own first, with everything in the cache. After each two another
/// begins, so that all have that as often.
pub fn in_turn<T: Copy>(items: &[T], round: usize) -> Vec<T> {
    let mut order = items.to_vec();
    if !order.is_empty() {
        let first = round / 2 % order.len();
        order.rotate_left(first);
    }
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

impl Session {
    fn measure(&mut self, number: usize) -> io::Result<()> {
        if self.lead_in > 0 {
            self.done += self.load.lead_in(self.lead_in)?;
        }
        let server_before = self.server.processor_time()?;
        let load_before = self.load.processor_time()?;
        let round = self.load.round(self.operations)?;
        let server_time = self.server.processor_time()? - server_before;
        let load_time = self.load.processor_time()? - load_before;
        self.done += round.done;
        let per = |time: Duration| time.as_nanos() as f64 / round.done.max(1) as f64;
        let busier = server_time.max(load_time);
        for (figure, value) in [
            (Figure::ServerTime, per(server_time)),
            (Figure::Rate, 1e9 / per(round.took)),
            (Figure::RateByTime, 1e9 / per(busier)),
        ] {
            self.outcome.add(figure, number, value);
        }
        if self.may_lose {
            let share = round.lost as f64 / (round.done + round.lost).max(1) as f64;
            self.outcome.add(Figure::Loss, number, share * 100.0);
        }
        Ok(())
    }

    /// The figures; and what went wrong with asking for the last of them.
    fn finish(mut self) -> (LaneOutcome, Option<io::Error>) {
        let mut problem = None;
        match self.load.percentiles_us() {
            Ok(percentiles) => self.outcome.percentiles_us = percentiles,
            Err(error) => problem = Some(error),
        }
        match self.server.counts() {
            Ok(Some(after)) => {
                let before = self.counts_before.unwrap_or_default();
                let done = self.done.max(1) as f64;
                let mut calls: Vec<(String, f64)> = after
                    .into_iter()
                    .map(|(kind, count)| {
                        let earlier = before.get(&kind).copied().unwrap_or(0);
                        let calls = count.saturating_sub(earlier) as f64 / done;
                        (kind, calls)
                    })
                    .collect();
                calls.sort_by(|a, b| b.1.total_cmp(&a.1));
                self.outcome.calls = calls;
            }
            Ok(None) => {}
            Err(error) => problem = Some(error),
        }
        (self.outcome, problem)
    }
}
