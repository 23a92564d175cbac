//! What the machine tells: cores, processor time, memory, limits.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// Which cores servers and load generator have.
#[derive(Debug, Clone)]
pub struct Cores {
    server: CpuSet,
    load: CpuSet,
    both: CpuSet,
    /// Whether they have one each.
    pub are_two: bool,
    /// What to tell people.
    pub description: String,
}

impl Cores {
    /// The first core that this process may use, and the next that is not a second thread of it. With
    /// one alone they share it.
    pub fn choose() -> io::Result<Cores> {
        let allowed = sched_getaffinity(Pid::this())?;
        let cores: Vec<usize> = (0..CpuSet::count())
            .filter(|&core| allowed.is_set(core).unwrap_or(false))
            .collect();
        let Some((server, load)) = pair(&cores, threads_of_core) else {
            return Err(io::Error::other("no core to run on"));
        };
        let description = match server == load {
            true => format!("one core alone ({server}): servers and load generator share it"),
            false if threads_of_core(server).contains(&load) => {
                format!("servers and load generator on two threads of one core ({server}, {load})")
            }
            false => format!("servers on core {server}, load generator on core {load}"),
        };
        let mut both = one(server)?;
        both.set(load)?;
        Ok(Cores {
            server: one(server)?,
            load: one(load)?,
            both,
            are_two: server != load,
            description,
        })
    }

    /// Has this process, and what it starts, run where servers do.
    pub fn be_a_server(&self) -> io::Result<()> {
        Ok(sched_setaffinity(Pid::this(), &self.server)?)
    }

    /// Has this process, and what it starts, run on both.
    pub fn be_both(&self) -> io::Result<()> {
        Ok(sched_setaffinity(Pid::this(), &self.both)?)
    }

    /// Has this process run where the load generator does.
    pub fn be_the_load(&self) -> io::Result<()> {
        Ok(sched_setaffinity(Pid::this(), &self.load)?)
    }
}

/// Two of `cores`, on two real ones where there are: two threads of one core take from each other
/// what they need.
pub fn pair(
    cores: &[usize],
    threads_of_core: impl Fn(usize) -> Vec<usize>,
) -> Option<(usize, usize)> {
    let (&server, others) = cores.split_first()?;
    let threads = threads_of_core(server);
    let elsewhere = others.iter().find(|core| !threads.contains(core));
    let load = elsewhere.or(others.first()).unwrap_or(&server);
    Some((server, *load))
}

/// All threads of the core that this one is on, if the system tells.
fn threads_of_core(core: usize) -> Vec<usize> {
    let file = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    numbers(&fs::read_to_string(file).unwrap_or_default())
}

/// What a list of Linux's holds: "0,4" or "0-1,8-9". Nothing where it makes no sense.
pub fn numbers(list: &str) -> Vec<usize> {
    let ranges = list.trim().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    let ranges: Option<Vec<RangeInclusive<usize>>> = ranges.collect();
    ranges.unwrap_or_default().into_iter().flatten().collect()
}

fn one(core: usize) -> io::Result<CpuSet> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(set)
}

/// Whether a process waits for something. Only then is its processor time known exactly: that of
/// one that runs on another core lags behind by as much as a tick of the system.
pub fn is_asleep(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything.
    let rest = stat.rsplit_once(") ").map(|(_, rest)| rest);
    rest.is_some_and(|rest| rest.starts_with('S'))
}

/// The processor time that a process has used, of all its threads.
pub fn processor_time(process: u32) -> io::Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(process.cast_signed()))?;
    Ok(clock.now()?.into())
}

/// The resident memory of a process in bytes, exactly.
pub fn resident(process: u32) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    kilobytes(&rollup, "Rss:")
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::other("the system does not tell the resident memory"))
}

fn kilobytes(text: &str, label: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Raises the limit of descriptors as far as it goes, for what is started too: the limit.
pub fn raise_descriptor_limit() -> io::Result<usize> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(usize::try_from(hard).unwrap_or(usize::MAX))
}

/// What this machine is, for the report.
pub fn description() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores, Linux {}", release.trim())
}

/// How busy the machine was in the last minute: processes that ran or wanted to.
pub fn load_average() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}
