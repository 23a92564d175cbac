//! The loop's own time per echoed message, beside a hand-written loop on the same null backend.
//!
//! The backend answers in memory, so what is measured is the time between its calls: finding the
//! connection, calling the listener, writing. Both loops run interleaved in one process, in many
//! short rounds. The clock is that of this process where the system has one: what other work on the
//! machine takes does not count. It can still make a round slower, so beside the medians stands the
//! tenth percentile of each: the undisturbed rounds. The verdict is about the medians.
//!
//! Where valgrind is, its callgrind counts the instructions per echo: the difference between a
//! shorter and a longer run of this program, by the echoes between them. That figure has no noise.
//!
//! ```text
//! cargo bench --bench own_time            # the figures
//! cargo bench --bench own_time -- --smoke # a short run that proves that it works
//! ```

use std::cell::Cell;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use nodeloop::null::{Null, NullOptions};
use nodeloop::{Loop, dgram, net};
use slab::Slab;

/// What design calls for: at most so many ns above the hand-written loop, 50 events per wait.
const ALLOWED_NS: f64 = 25.0;

/// At most so many instructions per echo, 50 events per wait.
const ALLOWED_INSTRUCTIONS: f64 = 500.0;

/// A workload: connections, events per wait.
const WORKLOADS: [(u32, u32); 3] = [(1, 1), (50, 50), (1000, 200)];

/// The first argument of this program when it is to run for callgrind: loop, connections, events per
/// wait, echoes.
const COUNTED: &str = "--counted";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == COUNTED) {
        counted_run(&arguments[1..]);
        return;
    }
    let smoke = arguments.iter().any(|argument| argument == "--smoke");
    let (rounds, echoes) = if smoke { (3, 20_000) } else { (401, 200_000) };
    println!(
        "own time per echo of 16 bytes on the null backend, ns, {rounds} rounds: median (10 %–90 %)"
    );
    for (connections, events_per_wait) in WORKLOADS {
        let options = options(connections, events_per_wait, echoes);
        let mut theirs = Vec::new();
        let mut ours = Vec::new();
        for round in 0..rounds {
            // Each goes first in every other round.
            if round % 2 == 0 {
                theirs.push(hand_written(options));
                ours.push(nodeloop(options));
            } else {
                ours.push(nodeloop(options));
                theirs.push(hand_written(options));
            }
        }
        let (theirs, ours) = (Spread::of(theirs), Spread::of(ours));
        let above = ours.low - theirs.low;
        println!(
            "{connections:>5} connections, {events_per_wait:>3} events per wait: \
             hand-written {theirs}, nodeloop {ours}; undisturbed {above:+.1} ns, median {:+.1} ns",
            ours.median - theirs.median,
        );
        if events_per_wait == 50 {
            let verdict = if ours.median - theirs.median <= ALLOWED_NS {
                "within"
            } else {
                "ABOVE"
            };
            println!("      {verdict} the {ALLOWED_NS} ns that are allowed");
        }
    }
    for datagrams in [1, 32] {
        let times = (0..rounds).map(|_| nodeloop_datagrams(datagrams, echoes));
        let ours = Spread::of(times.collect());
        println!("{datagrams:>5} datagrams per wait: nodeloop {ours}");
    }
    println!("instructions per echo of 16 bytes on the null backend, by callgrind");
    for (connections, events_per_wait) in WORKLOADS {
        let counted = |which| instructions(which, connections, events_per_wait);
        match (counted("hand-written"), counted("nodeloop")) {
            (Ok(theirs), Ok(ours)) => {
                println!(
                    "{connections:>5} connections, {events_per_wait:>3} events per wait: \
                     hand-written {theirs:.1}, nodeloop {ours:.1}"
                );
                if events_per_wait == 50 {
                    let verdict = if ours <= ALLOWED_INSTRUCTIONS {
                        "within"
                    } else {
                        "ABOVE"
                    };
                    println!("      {verdict} the {ALLOWED_INSTRUCTIONS} that are allowed");
                }
            }
            (Err(error), _) | (_, Err(error)) => return println!("left out: {error}"),
        }
    }
}

fn options(connections: u32, events_per_wait: u32, echoes: u64) -> NullOptions {
    NullOptions {
        connections,
        events_per_wait,
        message_size: 16,
        datagrams: 0,
        waits: echoes / u64::from(events_per_wait),
    }
}

/// Instructions per echo: what a longer run takes more than a shorter one.
fn instructions(which: &str, connections: u32, events_per_wait: u32) -> Result<f64, String> {
    const SHORTER: u64 = 20_000;
    const LONGER: u64 = 120_000;
    let count = |echoes: u64| {
        let itself = std::env::current_exe().map_err(|error| error.to_string())?;
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(itself)
            .args([COUNTED, which])
            .args([connections.to_string(), events_per_wait.to_string()])
            .arg(echoes.to_string())
            .output()
            .map_err(|error| format!("no valgrind: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let collected = said.split("Collected : ").nth(1);
        let number = collected.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        number.ok_or_else(|| format!("callgrind has counted nothing: {said}"))
    };
    let more = count(LONGER)?.saturating_sub(count(SHORTER)?);
    Ok(more as f64 / (LONGER - SHORTER) as f64)
}

fn counted_run(arguments: &[String]) {
    let number = |at: usize| -> u64 {
        let number = arguments.get(at).and_then(|text| text.parse().ok());
        number.expect("a number, as this program gives itself")
    };
    let options = options(number(1) as u32, number(2) as u32, number(3));
    match arguments[0].as_str() {
        "nodeloop" => nodeloop(options),
        _ => hand_written(options),
    };
}

/// Median, and the tenth percentiles from either end.
struct Spread {
    median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        Spread {
            median: values[values.len() / 2],
            low: values[values.len() / 10],
            high: values[values.len() - 1 - values.len() / 10],
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} ({:.1}–{:.1})", self.median, self.low, self.high)
    }
}

/// An echo server as one would write it by hand on a poller: ns per echo.
fn hand_written(options: NullOptions) -> f64 {
    const LISTENER: u64 = u64::MAX;
    const READABLE: u8 = 1;
    let mut backend = Null::new(options);
    let mut connections: Slab<u32> = Slab::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut events: Vec<(u64, u8)> = Vec::new();
    let mut echoed = 0_u64;
    backend.listen(LISTENER);
    let started = time();
    loop {
        backend.wait();
        events.clear();
        events.extend_from_slice(backend.events());
        for &(token, bits) in &events {
            if token == LISTENER {
                if let Some((stream, _)) = backend.accept() {
                    let key = connections.insert(stream);
                    backend.register(stream, key as u64);
                }
                continue;
            }
            let Some(&stream) = connections.get(token as usize) else {
                continue;
            };
            if bits & READABLE == 0 {
                continue;
            }
            match backend.read(stream, &mut buffer) {
                Ok(0) => {
                    connections.remove(token as usize);
                    backend.close(stream);
                }
                Ok(size) => {
                    echoed += 1;
                    if backend.write(stream, &buffer[..size]).is_err() {
                        connections.remove(token as usize);
                        backend.close(stream);
                    }
                }
                Err(_) => {}
            }
        }
        if connections.is_empty() {
            break;
        }
    }
    per_echo(started, echoed)
}

/// The same on nodeloop: ns per echo.
fn nodeloop(options: NullOptions) -> f64 {
    let lp = Loop::builder()
        .null(options)
        .build()
        .expect("the null backend cannot fail");
    let echoed = Rc::new(Cell::new(0_u64));
    let counter = echoed.clone();
    let mut expected = options.connections;
    let server = net::create_server(&lp, move |socket| {
        let counter = counter.clone();
        socket.on_data(move |socket, chunk| {
            counter.set(counter.get() + 1);
            socket.write(chunk);
        });
        expected -= 1;
        if expected == 0
            && let Some(server) = socket.server()
        {
            server.close();
        }
    });
    server.listen(1).expect("the null backend cannot fail");
    let started = time();
    lp.run().expect("the null backend cannot fail");
    per_echo(started, echoed.get())
}

/// An echo of datagrams on nodeloop: ns per echo. There is little to write by hand: what it is made of
/// is the loop's.
fn nodeloop_datagrams(datagrams: u32, echoes: u64) -> f64 {
    let options = NullOptions {
        datagrams,
        ..NullOptions::default()
    };
    let builder = Loop::builder().null(options);
    let lp = builder.build().expect("the null backend cannot fail");
    let echoed = Rc::new(Cell::new(0_u64));
    let counter = echoed.clone();
    let socket = dgram::create_socket(&lp, dgram::SocketType::Udp4);
    socket.on_message(move |socket, message, from| {
        socket.send_to(message, from).expect("it is open");
        counter.set(counter.get() + 1);
        if counter.get() == echoes {
            socket.close().expect("it is open");
        }
    });
    socket.bind(()).expect("it is open");
    let started = time();
    lp.run().expect("the null backend cannot fail");
    assert_eq!(lp.counts().datagrams_sent, echoed.get() - 1);
    per_echo(started, echoed.get())
}

fn per_echo(started: Duration, echoed: u64) -> f64 {
    assert!(echoed > 0, "nothing was echoed");
    (time() - started).as_nanos() as f64 / echoed as f64
}

/// The processor time that this process has used.
#[cfg(target_os = "linux")]
fn time() -> Duration {
    let clock = nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID;
    clock.now().expect("every process has this clock").into()
}

/// The time since the first look.
#[cfg(not(target_os = "linux"))]
fn time() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed()
}
