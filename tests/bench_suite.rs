//! The figures of `benches/suite`: medians and spreads, who goes first, verdicts, reports, arguments. The
//! suite's own files, built once more as a test.

#![cfg(target_os = "linux")]
// A test names but some of what the suite is made of.
#![allow(dead_code)]

#[path = "../benches/suite/arguments.rs"]
mod arguments;
#[path = "../benches/suite/build.rs"]
mod build;
#[path = "../benches/suite/guard.rs"]
mod guard;
#[path = "../benches/suite/idle.rs"]
mod idle;
#[path = "../benches/suite/load/mod.rs"]
mod load;
#[path = "../benches/suite/machine.rs"]
mod machine;
#[path = "../benches/suite/micro/mod.rs"]
mod micro;
#[path = "../benches/suite/outcome.rs"]
mod outcome;
#[path = "../benches/suite/peers/mod.rs"]
mod peers;
#[path = "../benches/suite/program.rs"]
mod program;
#[path = "../benches/suite/report/mod.rs"]
mod report;
#[path = "../benches/suite/rounds.rs"]
mod rounds;
#[path = "../benches/suite/server.rs"]
mod server;
#[path = "../benches/suite/statistics.rs"]
mod statistics;
#[path = "../benches/suite/workload.rs"]
mod workload;
#[path = "../benches/suite/workloads/mod.rs"]
mod workloads;

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use arguments::Arguments;
use load::process::Obedient;
use load::{Kind, Load};
use outcome::{LaneOutcome, Outcome};
use peers::Peer;
use report::About;
use report::svg::{self, Row};
use rounds::{Bench, Effort, in_turn};
use statistics::{Latencies, Spread, grouped, number};
use workload::{Bound, Figure, Limit, Workload};

#[test]
fn a_spread_is_the_median_and_the_tenth_from_either_end() {
    let spread = |values: &[f64]| Spread::of(values).map(|it| (it.low, it.median, it.high));
    assert_eq!(spread(&[]), None);
    assert_eq!(spread(&[3.0]), Some((3.0, 3.0, 3.0)));
    assert_eq!(spread(&[4.0, 1.0]), Some((1.0, 2.5, 4.0)));
    // Fewer than ten have no tenth to leave out.
    assert_eq!(spread(&[9.0, 1.0, 5.0, 2.0, 3.0]), Some((1.0, 3.0, 9.0)));
    let twenty: Vec<f64> = (1..=20).rev().map(f64::from).collect();
    assert_eq!(spread(&twenty), Some((3.0, 10.5, 18.0)));
}

#[test]
fn the_error_of_a_median_is_that_of_chance() {
    // Of the normal distribution: 1.253 of the deviation by the root of the count.
    let spread = Spread {
        median: 1.0,
        low: 1.0 - 0.12816,
        high: 1.0 + 0.12816,
        count: 25,
    };
    assert!(
        (spread.error() - 0.02507).abs() < 0.0001,
        "{}",
        spread.error()
    );
}

#[test]
fn a_ratio_pairs_the_rounds_in_which_both_took_part() {
    let [ours, theirs] = [
        lane("nodeloop", &[(0, 2.0), (1, 30.0), (2, 8.0), (3, 9.0)]),
        lane("node", &[(0, 1.0), (3, 3.0), (6, 1.0)]),
    ];
    let ratio = ours.ratio(Figure::ServerTime, &theirs).expect("two rounds");
    assert_eq!((ratio.count, ratio.low, ratio.high), (2, 2.0, 3.0));
    assert_eq!(ours.ratio(Figure::Rate, &theirs), None);
    let never = lane("node", &[(7, 1.0)]);
    assert_eq!(ours.ratio(Figure::ServerTime, &never), None);
}

#[test]
fn latencies_are_read_to_three_percent() {
    let mut latencies = Latencies::new();
    assert_eq!(latencies.percentile_us(0.5), None);
    for us in 1..=1000 {
        latencies.add(Duration::from_micros(us));
    }
    for (share, us) in [(0.001, 1.0), (0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
        let read = latencies.percentile_us(share).expect("some were added");
        assert!((read / us - 1.0).abs() < 0.03, "{share}: {read}");
    }
    latencies.add(Duration::MAX);
    latencies.add(Duration::ZERO);
    latencies.forget();
    assert_eq!(latencies.percentile_us(0.5), None);
}

#[test]
fn servers_and_load_do_not_share_a_core_where_there_are_two() {
    // Linux numbers the second threads of four cores behind the first ones, or beside them.
    let behind = |core: usize| vec![core % 4, core % 4 + 4];
    let beside = |core: usize| vec![core & !1, core | 1];
    let all: Vec<usize> = (0..8).collect();
    assert_eq!(machine::pair(&all, behind), Some((0, 1)));
    assert_eq!(machine::pair(&all, beside), Some((0, 2)));
    assert_eq!(machine::pair(&[1, 5, 6], behind), Some((1, 6)));
    assert_eq!(machine::pair(&[2, 3], beside), Some((2, 3)));
    assert_eq!(machine::pair(&[0, 1], |_| Vec::new()), Some((0, 1)));
    assert_eq!(machine::pair(&[3], beside), Some((3, 3)));
    assert_eq!(machine::pair(&[], beside), None);

    assert_eq!(machine::numbers("0,4\n"), [0, 4]);
    assert_eq!(machine::numbers("0-1,8-9\n"), [0, 1, 8, 9]);
    assert_eq!(machine::numbers("7\n"), [7]);
    assert_eq!(machine::numbers(""), [0; 0]);
    assert_eq!(machine::numbers("0-x"), [0; 0]);
}

/// A load whose operations take as many µs as there are in a round.
struct Pretended;

impl Load for Pretended {
    fn round(&mut self, operations: u64, latencies: &mut Latencies) -> io::Result<u64> {
        for _ in 0..operations {
            latencies.add(Duration::from_micros(operations));
        }
        Ok(operations)
    }

    fn unit(&self) -> u64 {
        1
    }
}

#[test]
fn what_comes_in_front_of_a_round_is_not_among_the_latencies() {
    let mut load = Obedient::new(Box::new(Pretended));
    let mut ask = |line: &str| load.answer(line).expect("it is understood");
    assert_eq!(ask("percentiles"), "none none none");
    assert!(ask("lead-in 1000").starts_with("1000 "));
    assert_eq!(ask("percentiles"), "none none none");
    assert!(ask("round 10").starts_with("10 "));
    ask("lead-in 1000");
    let half: f64 = ask("percentiles")
        .split(' ')
        .find_map(|word| word.parse().ok())
        .expect("a number");
    assert!((9.5..10.5).contains(&half), "{half}");
    for line in ["round", "round -1", "rounds 1", ""] {
        assert!(load.answer(line).is_err(), "{line}");
    }
}

#[test]
fn datagrams_of_a_burst_that_are_lost_are_not_among_those_done() {
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let address = server.local_addr().expect("it is bound");
    let serving = std::thread::spawn(move || {
        let (_, from) = server.recv_from(&mut [0; 2]).expect("a request comes");
        for _ in 0..64 {
            server.send_to(&[b'b'; 16], from).expect("there is room");
        }
    });
    let bursts = Kind::Bursts {
        size: 16,
        offload: false,
    };
    let mut load = bursts.open(address, false, None).expect("it opens");
    let done = load.round(256, &mut Latencies::new()).expect("some came");
    serving.join().expect("it does not panic");
    assert_eq!((done, load.lost()), (64, 192));
}

#[test]
fn what_is_lost_seldom_is_told_too() {
    let mut lane = LaneOutcome::new("nodeloop");
    assert_eq!(lane.mean(Figure::Loss), None);
    for round in 0..25 {
        let loss = if round == 7 { 5.0 } else { 0.0 };
        lane.add(Figure::Loss, round, loss);
    }
    let spread = lane.spread(Figure::Loss).expect("rounds");
    assert_eq!((spread.median, spread.high), (0.0, 0.0));
    assert_eq!(lane.mean(Figure::Loss), Some(0.2));
}

#[test]
fn numbers_have_the_digits_that_say_something() {
    assert_eq!(
        [0.0124, 1.005, 99.99].map(number),
        ["0.012", "1.00", "99.99"]
    );
    assert_eq!(
        [100.0, 1234.4, 1e6].map(number),
        ["100", "1,234", "1,000,000"]
    );
    assert_eq!(grouped(999.6), "1,000");
}

/// Who follows itself has everything in the cache, and clients that were not silent.
#[test]
fn no_lane_has_two_rounds_in_a_row_more_often_than_another() {
    for lanes in 2..=5_usize {
        let all: Vec<usize> = (0..lanes).collect();
        let rounds = lanes * 4;
        let order: Vec<usize> = (0..rounds).flat_map(|round| in_turn(&all, round)).collect();
        let in_a_row = |lane: usize| {
            let pairs = order.windows(2);
            pairs.filter(|pair| *pair == [lane, lane]).count()
        };
        let times: Vec<usize> = all.iter().map(|&lane| in_a_row(lane)).collect();
        let (least, most) = (times.iter().min(), times.iter().max());
        let (least, most) = (least.expect("some"), most.expect("some"));
        assert!(most - least <= 1, "{lanes} lanes: {times:?}");
        let firsts = |lane: usize| order.chunks(lanes).filter(|it| it[0] == lane).count();
        assert!(all.iter().all(|&lane| firsts(lane) == 4), "{order:?}");
    }
    assert_eq!(in_turn::<usize>(&[], 1), []);
}

#[test]
fn limits_are_compared_in_the_right_direction() {
    let ours = || lane("nodeloop", &[(0, 1.06)]);
    let by_hand = || lane("hand-written", &[(0, 1.0)]);
    for (bound, holds) in [
        (Bound::AtMost(1.05), false),
        (Bound::AtMost(1.06), true),
        (Bound::AtLeast(1.06), true),
        (Bound::AtLeast(1.07), false),
    ] {
        let workload = echo(vec![limit(bound)]);
        let outcome = Outcome::of(&workload, vec![ours(), by_hand()], vec![]);
        assert_eq!(outcome.verdicts[0].holds, holds, "{bound:?}");
        assert!(outcome.unjudged.is_empty());
    }
}

#[test]
fn a_limit_without_figures_is_told_and_not_left_out() {
    let workload = echo(vec![limit(Bound::AtMost(1.05))]);
    let lanes = vec![lane("hand-written", &[(0, 1.0)])];
    let outcome = Outcome::of(&workload, lanes, vec![]);
    assert!(outcome.verdicts.is_empty());
    assert_eq!(outcome.unjudged.len(), 1);
    let page = report::html::of(&about(), &[outcome]);
    assert!(page.contains("0 of 0 hold; on 1 more there is no verdict"));
}

#[test]
fn what_goes_on_beyond_a_plot_has_an_arrow() {
    let row = |label: &str, rounds: &[f64]| Row {
        label: label.to_string(),
        value: Spread::of(rounds).expect("some rounds"),
        note: String::new(),
        ours: true,
    };
    let arrows = |svg: String| svg.matches("class=\"arrow\"").count();
    let plot = |outlier: f64| {
        let rows = [row("a", &[1.0, 1.0, outlier]), row("b", &[1.0, 1.1])];
        (arrows(svg::bars(&rows)), arrows(svg::ratios(&rows)))
    };
    assert_eq!(plot(1.2), (0, 0));
    // Bars go on to one and a half times the longest, ratios to 2.
    assert_eq!(plot(1.9), (1, 0));
    assert_eq!(plot(2.5), (1, 1));
    assert_eq!(plot(0.3), (0, 1));
}

#[test]
fn of_peers_that_were_not_asked_for_no_limit_is_told() {
    let all = workloads::all().into_iter();
    let echo = all.filter(|workload| workload.name == "echo-1-16");
    let echo: Vec<Workload> = echo.collect();
    let asked_for = |peers: &'static [Peer]| {
        let workload = echo[0].clone().with_limits_of(|peer| peers.contains(&peer));
        workload.limits.len()
    };
    assert_eq!(asked_for(&[Peer::Nodeloop]), 0);
    assert_eq!(asked_for(&[Peer::Nodeloop, Peer::HandWritten]), 1);
    assert_eq!(asked_for(&[Peer::HandWritten, Peer::Libuv]), 0);
    assert_eq!(asked_for(&Peer::ALL), 3);
}

#[test]
fn rounds_go_on_on_either_side_of_a_limit_and_end_on_either() {
    let is_open = |ratios: &[f64]| {
        let rounds: Vec<(usize, f64)> = ratios.iter().copied().enumerate().collect();
        let ones: Vec<(usize, f64)> = rounds.iter().map(|&(round, _)| (round, 1.0)).collect();
        let lanes = [lane("nodeloop", &rounds), lane("hand-written", &ones)];
        let named = |name: &str| lanes.iter().find(|lane| lane.name == name);
        limit(Bound::AtMost(1.05)).is_open(named)
    };
    let about = |middle: f64| -> Vec<f64> {
        let away = |number: i32| middle + f64::from(number - 12) / 100.0;
        (0..25).map(away).collect()
    };
    assert!(is_open(&about(1.04)));
    assert!(is_open(&about(1.06)));
    assert!(!is_open(&about(0.9)));
    assert!(!is_open(&about(1.2)));
    assert!(!is_open(&[]));
}

#[test]
fn few_descriptors_leave_fewer_connections_and_not_none() {
    let affordable = |descriptors, wanted| {
        let bench = Bench {
            programs: HashMap::new(),
            cores: machine::Cores::choose().expect("a core"),
            effort: effort(Duration::ZERO),
            time_for_more: Cell::new(Duration::ZERO),
            descriptors,
        };
        bench.affordable(wanted)
    };
    assert_eq!(affordable(1_000_000, 10_000), 10_000);
    assert_eq!(affordable(1024, 1000), 524);
    assert_eq!(affordable(256, 1000), 128);
    assert_eq!(affordable(256, 50), 50);
}

#[test]
fn more_rounds_are_promised_only_where_there_are_some() {
    let told = |more| effort(more).description();
    assert!(told(Duration::from_secs(1)).contains("up to 8 times as many"));
    assert!(!told(Duration::ZERO).contains("times as many"));
}

#[test]
fn programs_are_where_cargo_says_that_it_has_put_them() {
    let said = concat!(
        r#"{"reason":"compiler-artifact","target":{"name":"nodeloop"},"executable":null,"fresh":true}"#,
        "\n",
        r#"{"reason":"compiler-artifact","executable":"/t/x86_64/release/examples/echo","fresh":true}"#,
        "\n",
        r#"{"reason":"build-finished","success":true}"#,
        "\n",
    );
    let found = build::executable(said, "echo");
    assert_eq!(found, Some("/t/x86_64/release/examples/echo".into()));
    assert_eq!(build::executable(said, "bench_server"), None);
}

#[test]
fn arguments_that_mean_nothing_are_refused() {
    let parse = |line: &str| {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        Arguments::parse(&words)
    };
    for line in [
        "--rounds",
        "--rounds 0",
        "--rounds -1",
        "--rounds many",
        "--round-ms 0",
        "--round-ms 1.5",
        "--peer",
        "--peer python",
        "--only",
        "--fast",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
    let all = workloads::all();
    let unknown = |line: &str| {
        let parsed = parse(line).expect("it is well formed");
        parsed.unknown(&all).map(str::to_string)
    };
    assert_eq!(unknown("--only echo --only churn --bench"), None);
    assert_eq!(unknown("--only echo --only churm"), Some("churm".into()));
    let itself = parse("--against-itself").expect("it is well formed");
    assert!(itself.wants_peer(Peer::Nodeloop) && !itself.wants_peer(Peer::Node));
}

#[test]
fn json_is_json_whatever_is_in_it() {
    let outcome = Outcome::of(
        &echo(vec![limit(Bound::AtMost(1.05))]),
        vec![
            lane("nodeloop", &[(0, f64::NAN)]),
            lane("hand-written", &[(0, 0.0)]),
        ],
        vec!["it said \"no\"\n\\ \u{1b}[0m".into()],
    );
    let json = report::json::of(&about(), &[outcome]).to_string();
    assert!(
        json.contains(r#""it said \"no\"\u000a\\ \u001b[0m""#),
        "{json}"
    );
    assert!(json.contains(r#""median": null"#), "{json}");
    assert!(!json.contains("NaN") && !json.contains("inf"), "{json}");
}

fn lane(name: &str, rounds: &[(usize, f64)]) -> LaneOutcome {
    let mut lane = LaneOutcome::new(name);
    for &(round, value) in rounds {
        lane.add(Figure::ServerTime, round, value);
    }
    lane
}

fn limit(bound: Bound) -> Limit {
    Limit {
        lane: "nodeloop".into(),
        figure: Figure::ServerTime,
        against: Some("hand-written".into()),
        bound,
        by_hand: None,
    }
}

fn echo(limits: Vec<Limit>) -> Workload {
    let mut all = workloads::all().into_iter();
    let echo = all.find(|workload| workload.name == "echo-1-16");
    let mut echo = echo.expect("it is one of them");
    echo.limits = limits;
    echo
}

fn about() -> About {
    About {
        machine: "a <machine>".into(),
        cores: "cores".into(),
        busy: None,
        rounds: "rounds".into(),
        left_out: vec![],
    }
}

fn effort(more: Duration) -> Effort {
    Effort {
        rounds: 25,
        round: Duration::from_millis(40),
        more,
        most_connections: usize::MAX,
        most_mib: usize::MAX,
        micro_rounds: 5,
        micro_operations: 1,
    }
}
