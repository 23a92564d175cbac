//! Lines: `readline`. How text is cut into lines is compared with the pinned Node, if that is there; with
//! `CI=true` it has to be.

mod support;
mod support_process;

use std::fmt::Write as _;
use std::io::Read as _;
use std::process::{Command, Stdio};

use nodeloop::Loop;
use nodeloop::readline::{self, Interface};
use nodeloop::stream::Duplex;
use support::*;
use support_process::Process;
use support_process::liveness::pinned_node;

/// Prints the lines that Node makes of each case: chunks in hexadecimal digits, separated by commas.
const NODE: &str = "
    const readline = require('node:readline'), { PassThrough } = require('node:stream');
    const hex = (line) => Buffer.from(line).toString('hex') || '-';
    const play = ([first, ...rest]) => {
        if (first === undefined) return;
        const input = new PassThrough(), lines = [];
        const rl = readline.createInterface({ input });
        rl.on('line', (line) => lines.push(hex(line)));
        rl.on('close', () => { console.log(lines.join(' ') + ' .'); play(rest); });
        for (const chunk of first.split(',')) input.write(Buffer.from(chunk, 'hex'));
        input.end();
    };
    play(process.argv.slice(1));
";

/// What chunks are made of: ends of lines, alone and in parts, and characters of every width.
const PIECES: [&str; 9] = [
    "0a", "0d", "0d0a", "61", "e282ac", "e280a8", "e2", "80a9", "ff",
];

/// Cases that are always the same.
fn cases() -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..1_000).map(|_| case(&mut random)).collect()
}

/// Up to four chunks of up to four pieces.
fn case(random: &mut fastrand::Rng) -> String {
    let mut chunks = Vec::new();
    for _ in 0..random.usize(1..=4) {
        let pieces = random.usize(1..=4);
        let chunk: String = (0..pieces)
            .map(|_| PIECES[random.usize(..PIECES.len())])
            .collect();
        chunks.push(chunk);
    }
    chunks.join(",")
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// An interface, and what is written to is its input.
fn reading(lp: &Loop) -> (Interface, Duplex) {
    let input = Duplex::pass_through(lp);
    (readline::create_interface(&input), input)
}

#[test]
fn lines_are_cut_as_in_node() {
    let Some(node) = pinned_node() else {
        return println!("skipped: the pinned Node is not there");
    };
    let cases = cases();
    let mut command = Command::new(node);
    command.args(["-e", NODE]).args(&cases);
    let mut process = Process::start_with(&mut command, Stdio::null(), Stdio::piped());
    let mut expected = Vec::new();
    let ended = process.ended(|line| expected.push(line));
    assert!(ended.status.success(), "{}", ended.stderr);
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 60);
    assert_eq!(expected.len(), cases.len());
    for (case, expected) in cases.iter().zip(expected) {
        let (lines, input) = reading(&lp);
        let log = Recorder::new();
        let inner = log.clone();
        lines.on_line(move |_, line| {
            let hex = line.bytes().fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").unwrap();
                hex
            });
            inner.note(if hex.is_empty() { "-" } else { &hex });
        });
        for chunk in case.split(',') {
            input.write(bytes(chunk));
        }
        input.end();
        lp.run().unwrap();
        let found = log.take().join(" ") + " .";
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn a_question_takes_the_next_line_and_gives_the_prompt_back() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (input, output) = (Duplex::pass_through(&lp), Duplex::pass_through(&lp));
    let lines = readline::create_interface_with(&input, &output);
    let log = Recorder::new();
    let inner = log.clone();
    output.on_data(move |_, text| inner.note(String::from_utf8_lossy(text)));
    let inner = log.clone();
    lines.on_line(move |lines, line| {
        inner.note(format!("line {line}"));
        lines.prompt();
    });
    let inner = log.clone();
    lines
        .question("name? ", move |name| inner.note(format!("answer {name}")))
        .unwrap();
    // The second is not asked: the first is, again.
    lines
        .question("other? ", |_| panic!("it was not asked"))
        .unwrap();
    assert_eq!(lines.get_prompt(), "name? ");
    turn_until(&lp, || log.count("name? ") == 2);
    log.take();
    input.write("Ada\nmore\n");
    turn_until(&lp, || log.has("> "));
    log.expect(&["answer Ada", "line more", "> "]);
    input.destroy();
}

#[test]
fn closed_it_leaves_its_input_to_others() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (lines, input) = reading(&lp);
    let log = Recorder::new();
    let inner = log.clone();
    lines.on_line(move |lines, line| {
        inner.note(line);
        lines.close();
        assert!(lines.closed());
    });
    let inner = log.clone();
    lines.on_close(move |_| inner.note("close"));
    let inner = log.clone();
    lines.on_pause(move |_| inner.note("pause"));
    input.write("one\ntwo\nthree");
    turn_until(&lp, || log.has("close"));
    // Lines of the chunk still come, as in Node.
    log.expect(&["one", "two", "pause", "close"]);
    assert!(input.is_paused());
    assert_eq!(code(lines.question("?", |_| {})), "ERR_USE_AFTER_CLOSE");
    let inner = log.clone();
    input.on_data(move |_, text| inner.note(String::from_utf8_lossy(text)));
    input.resume();
    input.end_with("left");
    turn_until(&lp, || log.has("left"));
}

#[test]
fn a_listener_for_once_and_one_that_is_removed() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (lines, input) = reading(&lp);
    let log = Recorder::new();
    let note = |who: &'static str| {
        let log = log.clone();
        move |_, line: &str| log.note(format!("{who} {line}"))
    };
    let removed = lines.on_line(note("removed"));
    lines.once_line(note("once"));
    let forgotten = lines.once_line(note("forgotten"));
    lines.on_line(note("always"));
    lines.off(removed);
    lines.off(forgotten);
    lines.on_close(log.noting("close"));
    input.end_with("one\ntwo\n");
    lp.run().unwrap();
    log.expect(&["once one", "always one", "always two", "close"]);
}

#[test]
fn the_two_halves_of_a_line_end_may_be_as_far_apart_as_was_said() {
    for (delay_ms, expected) in [(10_000, &["a", "b"][..]), (0, &["a", "", "b"])] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let (lines, input) = reading(&lp);
        lines.set_crlf_delay(delay_ms);
        let log = Recorder::new();
        let inner = log.clone();
        lines.on_line(move |_, line| inner.note(line));
        input.write("a\r");
        // Longer than the least delay that there is.
        lp.set_timeout_once(110, move |_| input.end_with("\nb"));
        lp.run().unwrap();
        log.expect(expected);
    }
}

#[test]
fn what_changes_nothing_is_not_told() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (input, output) = (Duplex::pass_through(&lp), Duplex::pass_through(&lp));
    let lines = readline::create_interface_with(&input, &output);
    let log = Recorder::new();
    let inner = log.clone();
    output.on_data(move |_, text| inner.note(String::from_utf8_lossy(text)));
    let inner = log.clone();
    lines.on_pause(move |_| inner.note("pause"));
    let inner = log.clone();
    lines.on_resume(move |_| inner.note("resume"));
    let inner = log.clone();
    lines.on_close(move |_| inner.note("close"));
    lines.resume();
    for _ in 0..2 {
        lines.pause();
        assert!(input.is_paused());
    }
    // Whoever is asked is listened to.
    lines.prompt();
    assert!(!input.is_paused());
    lines.resume();
    turn_until(&lp, || log.has("> "));
    log.expect(&["pause", "resume", "> "]);
    // Closed, and not gone yet.
    lines.close();
    lines.resume();
    lines.prompt();
    assert!(input.is_paused());
    turn_until(&lp, || log.has("close"));
    lp.run_once().unwrap();
    log.expect(&["pause", "close"]);
}

#[test]
fn closed_it_hears_no_error_of_its_input() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (lines, input) = reading(&lp);
    lines.on_error(|_, _| panic!("it is closed"));
    lines.close();
    input.destroy_with("late");
    assert_eq!(lp.run().unwrap_err().to_string(), "late");
}

#[test]
fn an_error_of_the_input_is_the_interface_s() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (lines, input) = reading(&lp);
    let log = Recorder::new();
    let inner = log.clone();
    let id = lines.on_error(move |_, error| inner.note(error));
    input.destroy_with("broken");
    lp.run().unwrap();
    log.expect(&["broken"]);
    lines.off(id);
    let (_lines, input) = reading(&lp);
    input.destroy_with("nobody listens");
    assert_eq!(lp.run().unwrap_err().to_string(), "nobody listens");
}

#[test]
fn sockets_have_lines_too_and_pause_holds_them_back() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let lines = readline::create_interface(&socket);
    let log = Recorder::new();
    let inner = log.clone();
    lines.on_line(move |lines, line| {
        inner.note(line);
        lines.pause();
        lines.event_loop().set_immediate(move |_| lines.resume());
    });
    let inner = log.clone();
    lines.on_close(move |_| inner.note("close"));
    send_and_end(&peer, b"one\r\ntwo\nthree");
    turn_until(&lp, || log.has("close"));
    log.expect(&["one", "two", "three", "close"]);
}

/// The socket ends itself a tick after 'end'. The interface's 'close' came behind that, so the last word was
/// ERR_STREAM_WRITE_AFTER_END.
#[test]
fn the_close_at_the_end_of_a_socket_leaves_time_for_a_last_word() {
    for (sent, heard) in [("", "bye"), ("one\ntwo", "onetwobye")] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let (socket, mut peer) = pair(&lp);
        let lines = readline::create_interface(&socket);
        lines.on_line(move |_, line| {
            socket.write(line);
        });
        lines.on_close(move |_| socket.end_with("bye"));
        let log = Recorder::new();
        lines.on_pause(log.noting("pause"));
        socket.on_end(log.noting("end"));
        lines.on_close(log.noting("close"));
        send_and_end(&peer, sent.as_bytes());
        lp.run().unwrap();
        log.expect(&["end", "pause", "close"]);
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, heard);
    }
}

/// As it is with `printf quit | nc -N`.
#[test]
fn who_closes_for_the_last_line_of_a_socket_has_time_for_a_last_word_too() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, mut peer) = pair(&lp);
    let lines = readline::create_interface(&socket);
    let log = Recorder::new();
    let inner = log.clone();
    lines.on_line(move |lines, line| {
        inner.note(line);
        lines.close();
        inner.note(lines.closed());
    });
    let inner = log.clone();
    lines.on_close(move |_| {
        inner.note("close");
        socket.end_with("bye");
    });
    send_and_end(&peer, b"quit");
    lp.run().unwrap();
    log.expect(&["quit", "true", "close"]);
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "bye");
}

#[test]
fn a_reset_of_a_socket_wants_a_listener_at_the_interface_too() {
    if tcp_only("there are no resets") {
        return;
    }
    for listens in [true, false] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let (socket, peer) = pair(&lp);
        let lines = readline::create_interface(&socket);
        let log = Recorder::new();
        let inner = log.clone();
        socket.on_error(move |_, error| inner.note(format_args!("socket: {error}")));
        let inner = log.clone();
        socket.on_close(move |_, _| inner.note("closed"));
        lines.on_close(log.noting("the lines' close"));
        if listens {
            let inner = log.clone();
            lines.on_error(move |_, error| inner.note(format_args!("lines: {error}")));
        }
        reset(peer);
        let result = lp.run();
        match listens {
            true => {
                result.unwrap();
                log.expect(&[
                    "socket: read ECONNRESET",
                    "lines: read ECONNRESET",
                    "closed",
                ]);
            }
            false => {
                assert_eq!(code(result), "ECONNRESET");
                log.expect(&["socket: read ECONNRESET"]);
                lp.run().unwrap();
                log.expect(&["closed"]);
            }
        }
    }
}

/// Each stayed in the loop.
#[test]
fn an_interface_whose_input_is_closed_early_is_gone_with_it() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let before = lp.handles().len();
    let (lines, input) = reading(&lp);
    let log = Recorder::new();
    let inner = log.clone();
    lines.on_line(move |_, line| inner.note(line));
    lines.on_close(log.noting("close"));
    input.write("one\ntw");
    input.on_data(|input, _| input.destroy());
    lp.run().unwrap();
    log.expect(&["one"]);
    assert!(lines.closed());
    assert_eq!(lp.handles().len(), before);
    // One that was closed already.
    readline::create_interface(&input);
    lp.run().unwrap();
    assert_eq!(lp.handles().len(), before);
}

#[test]
fn an_interface_that_is_closed_with_its_input_says_so() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let before = lp.handles().len();
    let (lines, input) = reading(&lp);
    let log = Recorder::new();
    lines.on_close(log.noting("close"));
    input.on_close(move |_| lines.close());
    input.destroy();
    lp.run().unwrap();
    log.expect(&["close"]);
    assert_eq!(lp.handles().len(), before);
}

/// Node forgets the question, and says 'line'.
#[test]
fn a_last_line_without_its_end_is_an_answer_too() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (lines, input) = reading(&lp);
    let log = Recorder::new();
    let inner = log.clone();
    lines
        .question("? ", move |answer| inner.note(answer))
        .unwrap();
    lines.on_close(log.noting("close"));
    input.end_with("yes");
    lp.run().unwrap();
    log.expect(&["yes", "close"]);
}
