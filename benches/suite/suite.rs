//! The run from beginning to end.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::build;
use crate::guard;
use crate::load;
use crate::load::process::LOAD;
use crate::machine::{self, Cores};
use crate::micro::{self, MICRO};
use crate::outcome::Outcome;
use crate::peers::{self, Peer};
use crate::report::{self, About};
use crate::rounds::{Bench, Effort};
use crate::workload::{Work, Workload};
use crate::workloads;

const FULL: Effort = Effort {
    rounds: 25,
    round: Duration::from_millis(40),
    more: Duration::from_secs(60),
    most_connections: usize::MAX,
    most_mib: usize::MAX,
    micro_rounds: 5,
    micro_operations: 1_000_000,
};

const SMOKE: Effort = Effort {
    rounds: 3,
    round: Duration::from_millis(10),
    more: Duration::ZERO,
    most_connections: 200,
    most_mib: 1,
    micro_rounds: 1,
    micro_operations: 10_000,
};

pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == peers::SERVE) {
        return exit(peers::serve(&arguments[1..]));
    }
    if arguments.first().is_some_and(|first| first == LOAD) {
        return exit(load::process::serve(&arguments[1..]));
    }
    if arguments.first().is_some_and(|first| first == MICRO) {
        return exit(micro::serve(&arguments[1..]));
    }
    if arguments
        .first()
        .is_some_and(|first| first == guard::GUARDED)
    {
        return exit(guard::become_program(&arguments[1..]));
    }
    match Arguments::parse(&arguments) {
        Ok(arguments) if arguments.list => {
            for workload in workloads::all() {
                println!("{:<16} {}", workload.name, workload.stands_for);
            }
            ExitCode::SUCCESS
        }
        Ok(mut arguments) => {
            // So it is with `cargo test --benches`.
            if cfg!(debug_assertions) && !arguments.smoke {
                println!("built without optimization, which makes figures untrue: a smoke run");
                arguments.smoke = true;
            }
            exit(run(&arguments))
        }
        Err(usage) => {
            eprintln!("{usage}");
            ExitCode::from(2)
        }
    }
}

fn exit(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    let begun = Instant::now();
    let all = workloads::all();
    // Reports of nothing would take the place of those of the last run.
    if let Some(name) = arguments.unknown(&all) {
        let what = format!("no workload's name begins with {name:?}: --list names them");
        return Err(io::Error::other(what));
    }
    let workloads: Vec<Workload> = all
        .into_iter()
        .filter(|workload| arguments.wants(&workload.name))
        .filter_map(|workload| match arguments.against_itself {
            true => matches!(workload.work, Work::Traffic(_)).then(|| workload.against_itself()),
            false => Some(workload),
        })
        .map(|workload| workload.with_limits_of(|peer| arguments.wants_peer(peer)))
        .collect();
    if workloads.is_empty() {
        return Err(io::Error::other("none of these can run beside itself"));
    }
    let (bench, about) = prepare(arguments)?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (number, workload) in workloads.iter().enumerate() {
        println!(
            "\n[{}/{}, {} s] {} ...",
            number + 1,
            workloads.len(),
            begun.elapsed().as_secs(),
            workload.name
        );
        let mut outcome = bench.run(workload);
        if arguments.smoke {
            // Too short for that.
            outcome.verdicts.clear();
            outcome.unjudged.clear();
        }
        report::text::print(&outcome);
        outcomes.push(outcome);
    }
    let directory = build::directory().map_err(io::Error::other)?;
    let [data, page, tables] =
        report::write(directory, &about, &outcomes)?.map(|path| path.display().to_string());
    println!("\nfigures: {data}\npage:    {page}\ntables:  {tables}");
    let verdicts = || outcomes.iter().flat_map(|outcome| &outcome.verdicts);
    let missed = verdicts().filter(|verdict| !verdict.holds).count();
    let seconds = begun.elapsed().as_secs();
    let all = verdicts().count();
    let unjudged = outcomes.iter().map(|outcome| outcome.unjudged.len()).sum();
    match (all, unjudged) {
        (0, 0) => println!("\n{seconds} s"),
        (_, 0) => println!("\n{} of {all} limits hold; {seconds} s", all - missed),
        (_, more) => println!(
            "\n{} of {all} limits hold, on {more} more there is no verdict; {seconds} s",
            all - missed
        ),
    }
    // A short run proves that everything works; that nothing failed is all that it can say.
    let failures = outcomes.iter().flat_map(|outcome| &outcome.remarks);
    match failures.filter(|remark| remark.contains("failed")).count() {
        0 => Ok(()),
        count => Err(io::Error::other(format!("{count} lanes failed"))),
    }
}

/// Finds the peers, and says what is measured where.
fn prepare(arguments: &Arguments) -> io::Result<(Bench, About)> {
    let descriptors = machine::raise_descriptor_limit()?;
    let mut programs = HashMap::new();
    let mut left_out = Vec::new();
    for peer in Peer::ALL {
        if !arguments.wants_peer(peer) {
            continue;
        }
        match peer.program() {
            Ok(program) => {
                programs.insert(peer, program);
            }
            Err(error) => left_out.push(format!("{} is left out: {error}", peer.name())),
        }
    }
    // Before this process has a core alone.
    let machine = machine::description();
    let cores = Cores::choose()?;
    cores.be_the_load()?;
    let effort = arguments.effort(if arguments.smoke { SMOKE } else { FULL });
    let about = About {
        machine,
        cores: cores.description.clone(),
        busy: machine::load_average()
            .filter(|load| *load > 0.5)
            .map(|load| {
                format!(
                    "the machine was busy with other things (load {load}): ratios of CPU time are \
                     steadier than rates"
                )
            }),
        rounds: effort.description(),
        left_out,
    };
    println!("{}\n{}\n{}", about.machine, about.cores, about.rounds);
    for line in about.busy.iter().chain(&about.left_out) {
        println!("{line}");
    }
    let bench = Bench {
        programs,
        cores,
        time_for_more: Cell::new(effort.more),
        effort,
        descriptors,
    };
    Ok((bench, about))
}
