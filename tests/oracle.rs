//! Holds us against Node: every scenario below `tests/oracle/scenarios`, event by event.
//!
//! Our traces are compared with the recorded ones always. If the pinned Node is installed
//! (`npm ci --ignore-scripts` in `tests/oracle`) its traces are made anew and compared with the
//! recorded ones too; with `CI=true` it has to be. See `tests/oracle/README.md`.

// Some of the modules serve the commands of `examples/oracle` only.
#[allow(dead_code)]
#[path = "../examples/oracle/mod.rs"]
mod oracle;

use std::path::{Path, PathBuf};
use std::process::Command;

use oracle::check::{Writes, check_each, committed, files_below};
use oracle::commands::report;
use oracle::generate::run::{Length, run};
use oracle::scenario::Scenario;
use oracle::{pinned, tables};

/// The seed of the generated scenarios, and how many they are.
const SEED: u64 = 2_610;
const GENERATED: u64 = 120;

/// Tells this executable that it is to play a scenario: the file.
const INNER: &str = "NODELOOP_ORACLE_INNER";

/// Tells this executable that it is to play whatever its driver sends.
const INNER_BATCH: &str = "NODELOOP_ORACLE_INNER_BATCH";

/// Has this executable play what its driver sends.
fn batch() -> Command {
    let own = std::env::current_exe().expect("the path of this test");
    let mut command = Command::new(own);
    command
        .args(["plays_a_scenario_when_told_to", "--exact", "--nocapture"])
        .env(INNER_BATCH, "yes");
    command
}

/// Has this executable run the one test that plays a scenario.
fn inner(file: &Path) -> Command {
    let own = std::env::current_exe().expect("the path of this test");
    let mut command = Command::new(own);
    command
        .args(["plays_a_scenario_when_told_to", "--exact", "--nocapture"])
        .env(INNER, file);
    command
}

#[test]
fn plays_a_scenario_when_told_to() {
    if let Some(file) = std::env::var_os(INNER) {
        // The harness has begun a line.
        println!();
        oracle::check::inner(Path::new(&file));
    }
    if std::env::var_os(INNER_BATCH).is_some() {
        println!();
        oracle::check::inner_batch();
    }
}

fn all_scenarios() -> Vec<Scenario> {
    let files = files_below(&committed());
    let load =
        |file: &std::path::PathBuf| Scenario::load(file).unwrap_or_else(|fault| panic!("{fault}"));
    files.iter().map(load).collect()
}

/// Why this process is not to hold anything against Node.
fn is_not_asked() -> bool {
    if std::env::var_os("NODELOOP_TEST_SOCKETS").is_some_and(|sockets| sockets == "unix") {
        println!(
            "skipped over Unix sockets: it is the oracle that plays scenarios so, beside Node"
        );
        return true;
    }
    std::env::var_os(INNER).is_some() || std::env::var_os(INNER_BATCH).is_some()
}

/// The pinned Node; in CI it has to be there.
fn pinned_node() -> Result<PathBuf, String> {
    let node = pinned::find();
    if let Err(what) = &node {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "in CI the pinned Node has to be there: {what}"
        );
    }
    node
}

/// How often it is tried to have enough scenarios decided.
const LOOKS: u32 = 3;

/// Scenarios at random, always the same ones: a difference shows at the second and the tenth look, too,
/// so what a busy machine delays is none.
#[test]
fn generated_scenarios_agree_with_node() {
    if is_not_asked() {
        return;
    }
    if let Err(what) = pinned_node() {
        println!("skipped, since only Node can tell what is right: {what}");
        return;
    }
    let length = Length::Count(GENERATED);
    for subject in [None, Some("text")] {
        let decides = |look| {
            let tally = run(SEED, subject, length, batch, false).expect("the pinned Node is there");
            tally.print();
            assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
            let told = tally.agree + tally.known_scenarios;
            // Else it would say nothing.
            let enough = told * 10 >= GENERATED * 8;
            assert!(enough || look < LOOKS, "too few are decided: {tally:?}");
            enough
        };
        // Nine of ten are decided. Where the machine is busy Node differs from itself more often.
        (1..=LOOKS).any(decides);
    }
}

#[test]
fn scenarios_agree_with_node() {
    if is_not_asked() {
        return;
    }
    let node = pinned_node();
    if let Err(what) = &node {
        println!("Node is not asked, its recorded traces are used: {what}");
    }
    let scenarios = all_scenarios();
    assert!(scenarios.len() >= 400, "where are the scenarios?");
    let node = node.ok();
    let verdicts = check_each(&scenarios, node.as_deref(), &inner);
    if let Err(what) = report(&scenarios, &verdicts) {
        panic!("{what}");
    }
}

#[test]
fn tables_are_up_to_date() {
    tables::check().unwrap_or_else(|what| panic!("{what}"));
}

/// What reading a text as a scenario fails with.
fn fault(text: &str) -> String {
    match Scenario::parse(Path::new("bad.scenario"), text) {
        Ok(_) => panic!("it was taken:\n{text}"),
        Err(fault) => fault.to_string(),
    }
}

#[test]
fn bad_scenarios_get_an_error_with_file_and_line() {
    let head = "title = t\nstart\n  server s\n";
    let bad = |rest: &str| fault(&format!("{head}{rest}"));
    let cases = [
        (fault("start\n  stop\n"), "bad.scenario:0: no title"),
        (fault("title = t\n"), "bad.scenario:0: no start"),
        (
            fault("  stop\n"),
            "bad.scenario:1: an action before `start` or `on`",
        ),
        (fault("titel = t\n"), "bad.scenario:1: no such key: titel"),
        (
            fault("order = any\n"),
            "bad.scenario:1: order can't be `any`",
        ),
        (
            fault("rules = N1 x7\n"),
            "bad.scenario:1: `x7` is no rule such as N22",
        ),
        (
            bad("  s.lisen\n"),
            "bad.scenario:4: a server has no verb `lisen`",
        ),
        (bad("  listen s\n"), "bad.scenario:4: no such verb: listen"),
        (
            bad("  s.listen hots=x\n"),
            "bad.scenario:4: `listen` has no option hots",
        ),
        (
            bad("  s.listen port=t\n"),
            "bad.scenario:4: nothing here is called `t`",
        ),
        (
            bad("  client c\n  c.connect t\n"),
            "bad.scenario:5: nothing here is called `t`",
        ),
        (
            bad("  client c\n  c.connect 9 local_address=here\n"),
            "bad.scenario:5: `here` is no IP address",
        ),
        (
            bad("  s.close now\n"),
            "bad.scenario:4: `now` is one word too many",
        ),
        (
            bad("  t.clear\n"),
            "bad.scenario:4: nothing here is called `t`",
        ),
        (
            bad("  timeout t\n"),
            "bad.scenario:4: `timeout` wants a DELAY",
        ),
        (
            bad("  timeout t soon\n"),
            "bad.scenario:4: `soon` is no delay",
        ),
        (
            bad("  timeout s 5\n"),
            "bad.scenario:4: `s` is a server and a timer",
        ),
        (
            bad("  s.max_connections many\n"),
            "bad.scenario:4: `many`: a number or `none`",
        ),
        (
            bad("  s1.write text\n"),
            "bad.scenario:4: `text`: expected a \"text\" or bytes:COUNT",
        ),
        (
            bad("  note \"open\n"),
            "bad.scenario:4: a quote is not closed",
        ),
        (
            bad("  probe s colour\n"),
            "bad.scenario:4: a server has no property `colour`",
        ),
        (
            bad("  it.close\n"),
            "bad.scenario:4: there is no `it` at the start",
        ),
        (
            bad("on s:data\n"),
            "bad.scenario:4: a server has no event `data`",
        ),
        (
            bad("on s1:data 2\n"),
            "bad.scenario:4: `2`: expected #N, or >=BYTES for data",
        ),
        (
            bad("on s1:data #0\n"),
            "bad.scenario:4: `0` is no number above 0",
        ),
        (
            bad("on s1\n"),
            "bad.scenario:4: `s1`: expected OBJECT:EVENT",
        ),
        (
            bad("s.listen\n"),
            "bad.scenario:4: `s.listen` at the margin",
        ),
        (
            bad("  server s2\n"),
            "bad.scenario:4: a server's name ends in no digit",
        ),
    ];
    for (found, expected) in cases {
        assert!(found.starts_with(expected), "{found}\nexpected: {expected}");
    }
}

#[test]
fn a_scenario_that_hangs_is_ended_at_its_deadline() {
    if std::env::var_os(INNER).is_some() || std::env::var_os(INNER_BATCH).is_some() {
        return;
    }
    let text = "title = t\ndeadline = 300\nstart\n  server s\n  s.listen\n";
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("hangs.scenario");
    std::fs::write(&file, text).expect("a temporary file");
    let scenario = Scenario::load(&file).expect("it is a good scenario");
    let outcome = oracle::check::our_trace(&scenario, Writes::AtOnce, &inner);
    let last = outcome.lines.last().map(String::as_str);
    assert_eq!(last, Some("process was killed at the deadline"));
    assert!(outcome.failure.is_some());
}

/// A scenario that does nothing, in a directory of its own.
fn empty_scenario(keys: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("empty.scenario");
    let text = format!("title = t\n{keys}start\n  note \"n\"\n");
    std::fs::write(&file, text).expect("a temporary file");
    (directory, file)
}

/// Programs that say what a good run says, and are no good run.
#[cfg(unix)]
#[test]
fn a_program_that_crashes_behind_its_end_fails() {
    let ends = |keys: &str, script: &str| {
        let (_directory, file) = empty_scenario(keys);
        let scenario = Scenario::load(&file).expect("it is a good scenario");
        let mut program = Command::new("sh");
        program.args(["-c", script]);
        oracle::driver::run(&scenario, &mut program, "").failure
    };
    let exits = "printf '=process\\texits\\n'";
    assert_eq!(ends("", exits), None);
    let failure = ends("", &format!("{exits}; echo why >&2; exit 101")).expect("a failure");
    assert!(
        failure.contains("101") && failure.contains("why"),
        "{failure}"
    );
    let failure = ends("", &format!("{exits}; kill -ABRT $$")).expect("a failure");
    assert!(failure.contains("signal"), "{failure}");
    // Node's own status where an error has ended it.
    let error = "printf '=process\\terror E\\n'";
    assert_eq!(ends("exits = error\n", &format!("{error}; exit 1")), None);
    assert!(ends("exits = error\n", &format!("{error}; exit 101")).is_some());
    // What is no text ends the run, and is no good one.
    assert!(ends("", &format!("printf '\\377\\n'; {exits}")).is_some());
}

/// The same where one program plays many.
#[cfg(unix)]
#[test]
fn a_program_that_crashes_behind_one_of_many_fails() {
    let ends = |script: &'static str| {
        let (_directory, file) = empty_scenario("");
        let scenario = Scenario::load(&file).expect("it is a good scenario");
        let mut player = oracle::batch::Player::new(move || {
            let mut program = Command::new("sh");
            program.args(["-c", script]);
            program
        });
        player.play(&scenario, "a scenario\n").failure
    };
    assert_eq!(
        ends("read it; printf '=process\\texits\\n.\\n'; read it"),
        None
    );
    let failure = ends("read it; printf '=process\\texits\\n'").expect("a failure");
    assert!(failure.contains("has ended"), "{failure}");
}

#[test]
fn commands_that_have_nothing_to_say_fail() {
    if is_not_asked() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().to_str().expect("a path of text");
    for option in ["--compare", "--check", "--record", "--gathered"] {
        let what = oracle::commands::run(&[option, path]).expect_err("nothing is there");
        assert!(what.contains("no scenarios"), "{option}: {what}");
    }
    if pinned_node().is_ok() {
        let nothing = oracle::commands::run(&["--generate", "--count", "0"]);
        assert_eq!(nothing, Err("nothing was decided".to_string()));
    }
}

/// A difference that is meant excuses no run that fails: this executable does not know how to play what
/// the command tells it to.
#[test]
fn a_run_that_fails_is_no_difference_that_is_meant() {
    if is_not_asked() || pinned_node().is_err() {
        return;
    }
    let (_directory, file) = empty_scenario("differs = as it is meant to\n");
    let file = file.to_str().expect("a path of text");
    let compared = oracle::commands::run(&["--compare", file]);
    assert_eq!(compared, Err("1 failed".to_string()));
}

#[test]
fn a_difference_is_shown_side_by_side() {
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_string).collect() };
    let one = lines("a fire\nb fire\nc fire");
    let two = lines("a fire\nc fire\nb fire");
    let rows = oracle::trace::difference(["Node", "ours"], &one, &two).expect("they differ");
    assert!(rows.contains("> b fire | c fire"), "{rows}");
    assert!(oracle::trace::difference(["Node", "ours"], &one, &one).is_none());
}

#[test]
fn pieces_of_data_have_the_hash_of_the_whole() {
    use oracle::data::Piece;
    let bytes: Vec<u8> = (0..1000u32)
        .map(|index| (index * index % 253) as u8)
        .collect();
    let mut merged = Piece::of(&bytes[..1]);
    merged.append(&Piece::of(&bytes[1..700]));
    merged.append(&Piece::of(&bytes[700..]));
    assert_eq!(merged, Piece::of(&bytes));
    let mut text = Piece::of(b"hel");
    text.append(&Piece::of(b"lo"));
    assert_eq!(text.show(), "5 \"hello\"");
}
