//! Pipes from and to standard streams, in child processes: what happens is held against the pinned Node,
//! if that is there; with `CI=true` it has to be. What is told goes to the error output.

#![cfg(unix)]

mod support;
mod support_process;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use nodeloop::stdio::{Output, Stdin};
use nodeloop::stream::{self, ReadableStream, StreamEvent};
use nodeloop::{Loop, fs, stdio};
use support::files::{Scratch, content};
use support_process::Process;
use support_process::liveness::pinned_node;

/// Tells this program that it is the child, and what to do.
const TASK: &str = "NODELOOP_STDIO_PIPES_TASK";

/// The file that the child reads.
const FILE: &str = "NODELOOP_STDIO_PIPES_FILE";

/// What Node does for each task.
const NODE: &str = r"
    const fs = require('node:fs');
    const { pipeline } = require('node:stream');
    const say = (text) => fs.writeSync(2, `> ${text}\n`);
    const { stdin, stdout } = process;
    for (const event of ['pipe', 'unpipe', 'finish', 'close']) stdout.on(event, () => say(`stdout ${event}`));
    stdout.on('error', (error) => say(`stdout ${error.code}`));
    const follow = (name, stream) => {
        for (const event of ['end', 'close']) stream.on(event, () => say(`${name} ${event}`));
        stream.on('error', (error) => say(`${name} ${error.code}`));
        return stream;
    };
    const file = () => follow('file', fs.createReadStream(process.env.NODELOOP_STDIO_PIPES_FILE));
    const over = (error) => say(`pipeline ${error ? error.code : 'ok'}`);
    const tasks = {
        pipe() {
            file().pipe(stdout).on('unpipe', () => setImmediate(() => {
                say(`writable ${stdout.writable}`);
                stdout.write('> more\n');
            }));
        },
        full: () => file().pipe(stdout),
        full_writes() {
            for (const n of [1, 2]) stdout.write('text', (error) => say(`write ${n} ${error.message}`));
        },
        full_end() {
            stdout.write('text', (error) => {
                say(`write ${error.code}`);
                stdout.write('late', (error) => say(`late ${error.code}`));
            });
            process.nextTick(() => say('tick'));
            stdout.end();
        },
        pipeline: () => pipeline(file(), stdout, over),
        input: () => follow('stdin', stdin).pipe(stdout),
        input_pipeline: () => pipeline(follow('stdin', stdin), stdout, over),
    };
    process.on('exit', () => say('exit'));
    tasks[process.env.NODELOOP_STDIO_PIPES_TASK]();
";

/// The child; a test among others when nobody has started it as one.
#[test]
fn the_child() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    if task.starts_with("full") {
        std::io::stdout().flush().unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        rustix::stdio::dup2_stdout(full).unwrap();
    }
    let lp = Loop::new().unwrap();
    let stdout = followed_output(&lp);
    match task.as_str() {
        "pipe" => {
            file(&lp).pipe(stdout);
            stdout.on_unpipe(move |_, _| {
                stdout.event_loop().set_immediate(move |_| {
                    say(&format!("writable {}", stdout.writable()));
                    stdout.write("> more\n");
                });
            });
        }
        "full" => drop(file(&lp).pipe(stdout)),
        "full_writes" => {
            for n in [1, 2] {
                let told = move |result: nodeloop::Result<()>| {
                    say(&format!("write {n} {}", result.unwrap_err()));
                };
                assert!(!stdout.write_then("text", told));
            }
        }
        "full_end" => {
            let told = |what: &'static str| {
                move |result: nodeloop::Result<()>| {
                    say(&format!(
                        "{what} {}",
                        support::code_of(&result.unwrap_err())
                    ));
                }
            };
            stdout.write_then("text", move |result| {
                told("write")(result);
                stdout.write_then("late", told("late"));
            });
            lp.next_tick(|_| say("tick"));
            stdout.end();
        }
        "pipeline" => stream::pipeline(&file(&lp), &[], &stdout, over),
        "input" => drop(followed_input(&lp).pipe(stdout)),
        "input_pipeline" => stream::pipeline(&followed_input(&lp), &[], &stdout, over),
        task => panic!("no task {task}"),
    }
    lp.run().unwrap();
    say("exit");
    // The test program would print, on a disk that is full.
    std::process::exit(0);
}

fn say(text: &str) {
    eprintln!("> {text}");
}

fn over(result: nodeloop::Result<()>) {
    match result {
        Ok(()) => say("pipeline ok"),
        Err(error) => say(&format!("pipeline {}", support::code_of(&error))),
    }
}

fn follow(name: &'static str, stream: &dyn ReadableStream) {
    stream.listen(
        StreamEvent::End,
        Box::new(move || say(&format!("{name} end"))),
    );
    stream.listen(
        StreamEvent::Close,
        Box::new(move || say(&format!("{name} close"))),
    );
    stream.listen_error(Box::new(move |error| {
        say(&format!("{name} {}", support::code_of(error)));
    }));
}

fn file(lp: &Loop) -> fs::ReadStream {
    let file = fs::create_read_stream(lp, std::env::var_os(FILE).unwrap());
    follow("file", &file);
    file
}

fn followed_input(lp: &Loop) -> Stdin {
    let stdin = stdio::stdin(lp);
    follow("stdin", &stdin);
    stdin
}

fn followed_output(lp: &Loop) -> Output {
    let stdout = stdio::stdout(lp);
    stdout.on_pipe(|_, _| say("stdout pipe"));
    stdout.on_unpipe(|_, _| say("stdout unpipe"));
    stdout.on_finish(|_| say("stdout finish"));
    stdout.on_close(|_| say("stdout close"));
    stdout.on_error(|_, error| say(&format!("stdout {}", support::code_of(error))));
    stdout
}

/// Runs a task here and in Node, with a file as standard output (Node's pipe is a socket, which closes
/// later). Gives what both have written, and checks what both have told. Without `stdin` it is closed.
fn compare(
    task: &str,
    path: &Path,
    expected: &[&str],
    stdin: fn(&Path) -> Option<Stdio>,
) -> Vec<String> {
    let scratch = Scratch::new();
    let run = |program: &Path, args: &[&str], output: &Path| {
        let mut command = Command::new("sh");
        let stdin = stdin(path);
        let closed = if stdin.is_none() { "<&-" } else { "" };
        command.args(["-c", &format!("exec \"$0\" \"$@\" > \"$OUTPUT\" {closed}")]);
        command.arg(program).args(args).env("OUTPUT", output);
        command.env(TASK, task).env(FILE, path);
        let mut process =
            Process::start_with(&mut command, stdin.unwrap_or(Stdio::null()), Stdio::piped());
        let ended = process.ended(|_| {});
        assert!(ended.status.success(), "{}", ended.stderr);
        let told = ended.stderr.lines().filter_map(|it| it.strip_prefix("> "));
        assert_eq!(told.collect::<Vec<_>>(), expected, "{}", program.display());
        if !output.starts_with("/dev") {
            let written = String::from_utf8(content(output)).unwrap();
            // The test program prints the test's name without an end of the line.
            let marked = written.lines().filter_map(|line| line.split_once("> "));
            return marked.map(|(_, text)| text.to_string()).collect();
        }
        Vec::new()
    };
    let test = ["the_child", "--exact", "--nocapture", "--test-threads=1"];
    let written = run(
        &std::env::current_exe().unwrap(),
        &test,
        &scratch.path("ours"),
    );
    if let Some(node) = pinned_node() {
        let output = match task {
            task if task.starts_with("full") => "/dev/full".into(),
            _ => scratch.path("theirs"),
        };
        assert_eq!(written, run(node, &["-e", NODE], &output), "Node");
    }
    written
}

fn no_input(_: &Path) -> Option<Stdio> {
    Some(Stdio::null())
}

fn closed(_: &Path) -> Option<Stdio> {
    None
}

fn the_file(path: &Path) -> Option<Stdio> {
    Some(File::open(path).unwrap().into())
}

fn text(scratch: &Scratch) -> std::path::PathBuf {
    scratch.file("text", "> hello\n")
}

#[test]
fn a_file_piped_to_standard_output_leaves_it_open() {
    let scratch = Scratch::new();
    let written = compare(
        "pipe",
        &text(&scratch),
        &[
            "stdout pipe",
            "file end",
            "stdout unpipe",
            "writable true",
            "file close",
            "exit",
        ],
        no_input,
    );
    assert_eq!(written, ["hello", "more"]);
}

#[test]
fn a_pipeline_to_standard_output_ends_it() {
    let scratch = Scratch::new();
    let written = compare(
        "pipeline",
        &text(&scratch),
        &[
            "stdout pipe",
            "file end",
            "stdout unpipe",
            "stdout finish",
            "stdout close",
            "file close",
            "pipeline ok",
            "exit",
        ],
        no_input,
    );
    assert_eq!(written, ["hello"]);
}

#[test]
fn a_pipeline_from_a_file_that_is_not_there_fails_standard_output() {
    let scratch = Scratch::new();
    let written = compare(
        "pipeline",
        &scratch.path("nowhere"),
        &[
            "stdout pipe",
            "file ENOENT",
            "file close",
            "stdout unpipe",
            "stdout ENOENT",
            "stdout close",
            "pipeline ENOENT",
            "exit",
        ],
        no_input,
    );
    assert!(written.is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn standard_output_on_a_full_disk_is_unpiped_with_enospc() {
    let scratch = Scratch::new();
    let expected = [
        "stdout pipe",
        "stdout unpipe",
        "stdout ENOSPC",
        "stdout close",
        "exit",
    ];
    // More than one chunk, so that the file does not end.
    let large = scratch.file("large", vec![b'x'; 200_000]);
    compare("full", &large, &expected, no_input);
}

/// The error came in front of what the writes were told, and one of them was told that the stream was destroyed.
#[test]
#[cfg(target_os = "linux")]
fn a_write_to_standard_output_that_fails_is_told_before_the_error() {
    let scratch = Scratch::new();
    let expected = [
        "write 1 ENOSPC: no space left on device, write",
        "write 2 ENOSPC: no space left on device, write",
        "stdout ENOSPC",
        "stdout close",
        "exit",
    ];
    compare("full_writes", &text(&scratch), &expected, no_input);
}

/// Its completion came two ticks late, and the stream, which did not know yet, took `end`: a write in the completion
/// was one behind the end, and that was the error.
#[test]
#[cfg(target_os = "linux")]
fn standard_output_has_failed_when_a_write_returns_false() {
    let scratch = Scratch::new();
    let expected = [
        "write ENOSPC",
        "late ENOSPC",
        "tick",
        "stdout ENOSPC",
        "stdout close",
        "exit",
    ];
    compare("full_end", &text(&scratch), &expected, no_input);
}

#[test]
fn standard_input_piped_to_standard_output() {
    let scratch = Scratch::new();
    let path = text(&scratch);
    let written = compare(
        "input",
        &path,
        &["stdout pipe", "stdin end", "stdout unpipe", "exit"],
        the_file,
    );
    assert_eq!(written, ["hello"]);
    for none in [no_input, closed] {
        let expected = ["stdout pipe", "stdin end", "stdout unpipe", "exit"];
        assert!(compare("input", &path, &expected, none).is_empty());
    }
}

#[test]
fn a_pipeline_from_standard_input_to_standard_output() {
    let scratch = Scratch::new();
    let path = text(&scratch);
    let written = compare(
        "input_pipeline",
        &path,
        &[
            "stdout pipe",
            "stdin end",
            "stdout unpipe",
            "stdout finish",
            "stdout close",
            "pipeline ok",
            "exit",
        ],
        the_file,
    );
    assert_eq!(written, ["hello"]);
}
