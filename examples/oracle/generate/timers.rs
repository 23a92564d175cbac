//! Scenarios of timers, immediates and ticks alone: the order of everything counts.
//!
//! The start blocks until every timer of its own is due, so it is Node's order and not the clock that
//! says which comes first. What is started later lies apart by more than a busy machine delays it, or
//! is blocked for again.

use super::maker::Maker;

/// The durations of timers, in milliseconds, and how long a block makes all of them due.
const DURATIONS: [&str; 6] = ["0", "1", "5", "5.9", "10", "15"];
const UNTIL_DUE: &str = "block 18";

/// What may be acted upon: everything that the start has made.
#[derive(Default)]
struct Made {
    timers: Vec<String>,
    immediates: Vec<String>,
}

pub fn make(maker: &mut Maker) {
    maker.document.head("order = global");
    let mut made = Made::default();
    let mut open = Vec::new();
    for _ in 0..maker.random.between(2, 7) {
        let begun = begin(maker, "start", 0, Some(&mut made));
        open.extend(begun);
    }
    for _ in 0..maker.random.below(3) {
        act(maker, "start", &made);
    }
    maker.document.add("start", UNTIL_DUE);
    // Handlers, breadth first; what a handler starts is a generation further.
    let mut generation = 1;
    while !open.is_empty() && generation <= 3 {
        let mut next = Vec::new();
        for on in std::mem::take(&mut open) {
            if maker.random.percent(35) {
                continue;
            }
            let mut blocks = false;
            for _ in 0..maker.random.between(1, 3) {
                match maker.random.percent(60) {
                    true => {
                        let begun = begin(maker, &on, generation, None);
                        blocks |= begun.iter().any(|it| it.starts_with("on t"));
                        next.extend(begun);
                    }
                    false => act(maker, &on, &made),
                }
            }
            if (blocks && generation > 1) || maker.random.percent(5) {
                maker.document.add(&on, UNTIL_DUE);
            }
        }
        open = next;
        generation += 1;
    }
}

/// Starts something; gives the triggers at which more can happen.
fn begin(maker: &mut Maker, on: &str, generation: usize, made: Option<&mut Made>) -> Vec<String> {
    let unref = match maker.random.percent(15) {
        true => " unref",
        false => "",
    };
    match maker.random.below(10) {
        0..=3 => {
            let name = maker.name("t");
            let delay = maker.random.pick(&DURATIONS);
            maker
                .document
                .add(on, format!("timeout {name} {delay}{unref}"));
            maker.document.add(on, format!("{name}.keep"));
            if maker.random.percent(10) {
                maker.document.add(on, format!("probe {name} has_ref"));
            }
            let mut triggers = vec![format!("on {name}:fire #1")];
            if maker.random.percent(15) {
                triggers.push(format!("on {name}:fire #2"));
            }
            if let Some(made) = made {
                made.timers.push(name);
            }
            triggers
        }
        4 if generation < 2 => {
            let name = maker.name("v");
            let delay = maker.random.pick(&DURATIONS);
            maker
                .document
                .add(on, format!("interval {name} {delay}{unref}"));
            maker.document.add(on, format!("{name}.keep"));
            let times = maker.random.between(1, 3);
            maker
                .document
                .add(&format!("on {name}:fire #{times}"), format!("{name}.clear"));
            if let Some(made) = made {
                made.timers.push(name.clone());
            }
            vec![format!("on {name}:fire #1")]
        }
        4..=6 => {
            let name = maker.name("i");
            maker.document.add(on, format!("immediate {name}{unref}"));
            if let Some(made) = made {
                made.immediates.push(name.clone());
            }
            vec![format!("on {name}:fire")]
        }
        _ => {
            let name = maker.name("k");
            maker.document.add(on, format!("tick {name}"));
            vec![format!("on {name}:fire")]
        }
    }
}

/// Does something to what the start has made.
fn act(maker: &mut Maker, on: &str, made: &Made) {
    let timer = maker.random.percent(75) && !made.timers.is_empty();
    let (names, verbs): (_, &[&str]) = match timer {
        true => (
            &made.timers,
            &["clear", "refresh", "refresh", "unref", "ref"],
        ),
        false => (&made.immediates, &["clear", "unref", "ref"]),
    };
    if names.is_empty() {
        maker.document.add(on, "note \"here\"");
        return;
    }
    let name = names[maker.random.below(names.len())].clone();
    let verb = maker.random.pick(verbs);
    // A timer that was cleared when it had fired already stands in Node's list after a `refresh`, though
    // it never fires: what joins the list comes earlier. So one of the two is done to a timer, not both.
    let other = match verb {
        "clear" => "refresh",
        "refresh" => "clear",
        _ => "-",
    };
    if maker.document.says(&format!("{name}.{other}")) {
        return;
    }
    maker.document.add(on, format!("{name}.{verb}"));
}
