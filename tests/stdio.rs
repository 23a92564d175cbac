//! Standard streams, each kind of them in a child process. What happens to standard input is compared
//! with the pinned Node, if that is there; with `CI=true` it has to be.

mod support_process;

use std::io::Write;
#[cfg(unix)]
use std::io::{BufRead, Read};
use std::process::{Command, Stdio};
#[cfg(unix)]
use std::time::Duration;

use nodeloop::{Loop, stdio};
use support_process::Process;
use support_process::files::Scratch;
use support_process::liveness::pinned_node;

/// Tells this program that it is the child, and what to do.
const TASK: &str = "NODELOOP_STDIO_TASK";

/// More than any socket takes at once.
const MUCH: usize = 4_000_000;

/// What Node does for the task `follow`.
const NODE: &str = "
    const { stdin } = process;
    let bytes = 0;
    const kind = stdin.isTTY ? 'terminal' : 'no terminal';
    console.log(`> ${kind}`);
    stdin.on('data', (chunk) => { bytes += chunk.length; });
    stdin.on('resume', () => console.log('> resume'));
    stdin.on('error', (error) => console.log(`> ${error.message}`));
    stdin.on('end', () => console.log(`> ${bytes} bytes, end`));
    stdin.on('close', () => console.log('> close'));
    process.on('exit', () => console.log('> exit'));
";

/// The child; a test among others when nobody has started it as one.
#[test]
fn the_child() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    let lp = Loop::new().unwrap();
    match task.as_str() {
        "follow" => follow(&lp),
        "destroy" => destroy(&lp),
        "pause" => pause(&lp),
        "unref" => unref(&lp),
        "untouched" => drop(stdio::stdin(&lp)),
        "twice" => twice(&lp),
        "write" => write(&lp),
        "broken" => broken(&lp),
        #[cfg(unix)]
        "no descriptors" => no_descriptors(&lp),
        "much" => drop(stdio::stdout(&lp).write_then(vec![b'~'; MUCH], |result| result.unwrap())),
        "exit" => {
            stdio::stdout(&lp).write("> written\n");
            std::process::exit(0);
        }
        task => panic!("no task {task}"),
    }
    lp.run().unwrap();
    println!("> exit");
}

fn follow(lp: &Loop) {
    let stdin = stdio::stdin(lp);
    assert_eq!(stdin, stdio::stdin(lp), "there is one");
    let kind = match stdin.is_terminal() {
        true => "terminal",
        false => "no terminal",
    };
    println!("> {kind}");
    let mut bytes = 0;
    let blocked = blocks();
    let count = std::rc::Rc::new(std::cell::Cell::new(0));
    let counted = count.clone();
    stdin.on_data(move |_, chunk| {
        bytes += chunk.len();
        counted.set(bytes);
        assert_eq!(blocks(), blocked, "it is left as it is");
    });
    stdin.on_resume(|_| println!("> resume"));
    stdin.on_error(|_, error| println!("> {error}"));
    stdin.on_end(move |_| println!("> {} bytes, end", count.get()));
    stdin.on_close(|_| println!("> close"));
}

/// Whether standard input blocks, as the system tells where it does.
fn blocks() -> bool {
    let Ok(info) = std::fs::read_to_string("/proc/self/fdinfo/0") else {
        return true;
    };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_none_or(|flags| flags & 0o4000 == 0)
}

fn destroy(lp: &Loop) {
    let stdin = stdio::stdin(lp);
    stdin.on_data(|stdin, chunk| {
        println!("> {} bytes", chunk.len());
        stdin.destroy();
    });
    stdin.on_end(|_| println!("> end"));
    stdin.on_close(|_| println!("> close"));
}

fn pause(lp: &Loop) {
    let stdin = stdio::stdin(lp);
    stdin.on_data(|stdin, chunk| {
        println!("> {} bytes", chunk.len());
        stdin.pause();
    });
}

fn unref(lp: &Loop) {
    let stdin = stdio::stdin(lp);
    stdin.on_data(|_, _| println!("> data"));
    stdin.unref();
    assert!(!stdin.has_ref());
}

/// What one loop's stream was about to read when it went, another's gets.
fn twice(lp: &Loop) {
    {
        let first = Loop::new().unwrap();
        let stdin = stdio::stdin(&first);
        stdin.on_data(|_, _| println!("> the first has read"));
        first.run_nowait().unwrap();
    }
    println!("> ready");
    stdio::stdin(lp).on_data(|_, chunk| print!("> {}", String::from_utf8_lossy(chunk)));
}

fn write(lp: &Loop) {
    let stdout = stdio::stdout(lp);
    assert_eq!(stdout, stdio::stdout(lp), "there is one");
    print!("> printed, ");
    assert!(stdout.write("written, "));
    print!("printed again");
    stdout.write_then("\n", move |result| {
        result.unwrap();
        stdout.on_finish(|_| eprintln!("finish"));
        stdout.on_close(|_| eprintln!("close"));
        stdout.end_with("> the end\n");
    });
}

fn broken(lp: &Loop) {
    let stdout = stdio::stdout(lp);
    stdout.on_error(|_, error| {
        eprintln!("{error}");
        // The test program would print.
        std::process::exit(0);
    });
    println!("> ready");
    let line = "x".repeat(1024);
    // The other end is closed; somewhen the system says so.
    lp.set_interval(1, move |interval| {
        if !stdout.write(&line) {
            interval.clear();
        }
    });
}

#[cfg(unix)]
fn no_descriptors(lp: &Loop) {
    let files: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let (stdin, stdout, stderr) = (stdio::stdin(lp), stdio::stdout(lp), stdio::stderr(lp));
    println!("> {:?} {:?}", stdin.kind(), stdout.kind());
    stdout.write("> written\n");
    stderr.write("> and to stderr\n");
    drop(files);
    stdout.write("> and again\n");
}

/// This program as a child.
fn ours(task: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["the_child", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(TASK, task);
    command
}

/// What a child tells, without what the test program adds.
fn told(process: &mut Process) -> Vec<String> {
    let mut lines = Vec::new();
    let ended = process.ended(|line| lines.extend(told_by(&line)));
    assert!(ended.status.success(), "{lines:?} {}", ended.stderr);
    lines
}

/// The test program prints the test's name without an end of the line.
fn told_by(line: &str) -> Option<String> {
    line.split_once("> ").map(|(_, told)| told.to_string())
}

/// Runs the task `follow` with a standard input, here and in Node. `feed` gives what stands in for it
/// and what is done once the child runs.
fn compare(expected: &[&str], mut feed: impl FnMut() -> (Stdio, Box<dyn FnOnce(&mut Process)>)) {
    let mut run = |mut command: Command| {
        let (stdin, then) = feed();
        let mut process = Process::start_with(&mut command, stdin, Stdio::piped());
        then(&mut process);
        told(&mut process)
    };
    assert_eq!(run(ours("follow")), expected);
    if let Some(node) = pinned_node() {
        let mut command = Command::new(node);
        command.args(["-e", NODE]);
        assert_eq!(run(command), expected, "Node");
    }
}

/// Waits until a child has told this. One that ends before fails the test.
fn until_told(process: &mut Process, what: &str) {
    let mut next = || process.line().expect("it has not ended");
    while told_by(&next()).as_deref() != Some(what) {}
}

fn nothing() -> Box<dyn FnOnce(&mut Process)> {
    Box::new(|_| {})
}

#[test]
fn a_file() {
    let scratch = Scratch::new();
    let path = scratch.file("input", [b'x'; 100_000]);
    compare(
        &["no terminal", "resume", "100000 bytes, end", "exit"],
        || (std::fs::File::open(&path).unwrap().into(), nothing()),
    );
}

#[test]
fn a_pipe() {
    compare(
        &[
            "no terminal",
            "resume",
            "200000 bytes, end",
            "close",
            "exit",
        ],
        || {
            let feed = |process: &mut Process| {
                // If it does not read, what it tells says why.
                let mut stdin = process.stdin();
                std::thread::spawn(move || stdin.write_all(&[b'x'; 200_000]));
            };
            (Stdio::piped(), Box::new(feed))
        },
    );
}

#[test]
fn no_input() {
    let expected = ["no terminal", "resume", "0 bytes, end", "exit"];
    compare(&expected, || (Stdio::null(), nothing()));
}

#[test]
#[cfg(unix)]
fn a_socket() {
    compare(
        &["no terminal", "resume", "5 bytes, end", "close", "exit"],
        || {
            let (mut own, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            own.write_all(b"hello").unwrap();
            drop(own);
            (std::os::fd::OwnedFd::from(theirs).into(), nothing())
        },
    );
}

/// It can't be opened anew, as a pipe can: reading failed with EAGAIN.
#[test]
#[cfg(unix)]
fn a_socket_that_does_not_block() {
    compare(&["5 bytes, end", "close", "exit"], || {
        let (mut own, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let feed = move |process: &mut Process| {
            until_told(process, "resume");
            let waits = process.silent_for(Duration::from_millis(100));
            assert_eq!(waits, Ok(()), "it has nothing to read");
            own.write_all(b"hello").unwrap();
        };
        (std::os::fd::OwnedFd::from(theirs).into(), Box::new(feed))
    });
}

/// What reading has failed with was told in the words for files.
#[test]
#[cfg(unix)]
fn a_socket_that_is_reset() {
    compare(&["read ECONNRESET", "close", "exit"], || {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let theirs = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let own = socket2::Socket::from(listener.accept().unwrap().0);
        own.set_linger(Some(Duration::ZERO)).unwrap();
        let reset = move |process: &mut Process| {
            until_told(process, "resume");
            drop(own);
        };
        (std::os::fd::OwnedFd::from(theirs).into(), Box::new(reset))
    });
}

/// It was taken for an input that has ended: the standard library reads nothing from it.
#[test]
#[cfg(unix)]
fn what_is_not_open_for_reading_is_an_error() {
    let scratch = Scratch::new();
    let path = scratch.file("output", "");
    let error = "EBADF: bad file descriptor, read";
    compare(&["no terminal", "resume", error, "exit"], || {
        let file = std::fs::File::options().append(true).open(&path).unwrap();
        (file.into(), nothing())
    });
}

#[test]
#[cfg(unix)]
fn a_directory() {
    compare(
        &["no terminal", "resume", "0 bytes, end", "close", "exit"],
        || (std::fs::File::open("/").unwrap().into(), nothing()),
    );
}

/// A terminal of one's own, and the end that a program gets.
#[cfg(target_os = "linux")]
fn new_terminal() -> (std::fs::File, std::fs::File) {
    use rustix::pty;

    // No program that is started meanwhile holds it open.
    let flags = pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY | pty::OpenptFlags::CLOEXEC;
    let own = pty::openpt(flags).unwrap();
    pty::grantpt(&own).unwrap();
    pty::unlockpt(&own).unwrap();
    let name = pty::ptsname(&own, Vec::new()).unwrap();
    let name = name.into_string().unwrap();
    let mut options = std::fs::File::options();
    let theirs = options.read(true).write(true).open(name).unwrap();
    (own.into(), theirs)
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal() {
    compare(
        &["terminal", "resume", "6 bytes, end", "close", "exit"],
        || {
            let (mut own, theirs) = new_terminal();
            // A line, and the key that ends the input.
            own.write_all(b"hello\n\x04").unwrap();
            {
                // Held until nobody has the terminal any more: then reading it is an error.
                let hold = move |_: &mut Process| {
                    std::thread::spawn(move || std::io::copy(&mut own, &mut std::io::sink()));
                };
                (theirs.into(), Box::new(hold))
            }
        },
    );
}

/// To the one who reads at that moment the kernel says EIO, and that was the error.
#[test]
#[cfg(target_os = "linux")]
fn a_terminal_that_is_closed_has_ended() {
    compare(&["0 bytes, end", "close", "exit"], || {
        let (own, theirs) = new_terminal();
        let close = move |process: &mut Process| {
            until_told(process, "resume");
            let waits = process.silent_for(Duration::from_millis(100));
            assert_eq!(waits, Ok(()), "it reads");
            drop(own);
        };
        (theirs.into(), Box::new(close))
    });
}

#[test]
fn destroyed_midway_it_closes_and_holds_nothing() {
    let mut process = Process::start(&mut ours("destroy"));
    let mut stdin = process.stdin();
    stdin.write_all(b"abc").unwrap();
    assert_eq!(told(&mut process), ["3 bytes", "close", "exit"]);
}

#[test]
fn paused_it_holds_nothing() {
    let mut process = Process::start(&mut ours("pause"));
    let mut stdin = process.stdin();
    stdin.write_all(b"abc").unwrap();
    assert_eq!(told(&mut process), ["3 bytes", "exit"]);
}

#[test]
fn unreferenced_or_not_listened_to_it_holds_nothing() {
    for task in ["unref", "untouched"] {
        let mut process = Process::start(&mut ours(task));
        let _stdin = process.stdin();
        assert_eq!(told(&mut process), ["exit"], "{task}");
    }
}

#[test]
fn what_is_read_for_nobody_is_the_next_one_s() {
    let mut process = Process::start(&mut ours("twice"));
    let mut stdin = process.stdin();
    until_told(&mut process, "ready");
    stdin.write_all(b"for the second\n").unwrap();
    drop(stdin);
    assert_eq!(told(&mut process), ["for the second", "exit"]);
}

#[test]
fn output_is_in_order_with_what_is_printed_and_there_when_the_process_exits() {
    let mut process = Process::start(&mut ours("write"));
    let mut lines = Vec::new();
    let ended = process.ended(|line| lines.extend(told_by(&line)));
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(
        lines,
        ["printed, written, printed again", "the end", "exit"]
    );
    assert_eq!(ended.stderr, "finish\nclose\n");
    let mut process = Process::start(&mut ours("exit"));
    assert_eq!(told(&mut process), ["written"]);
}

#[test]
#[cfg(unix)]
fn a_reader_that_is_gone_is_an_error_of_standard_output() {
    let mut command = ours("broken");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("> ready") {
        assert!(stdout.read_line(&mut line).unwrap() > 0, "{line}");
    }
    drop(stdout);
    support_process::within_deadline(move || {
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("write EPIPE"), "{stderr}");
    });
}

/// The first write failed with EMFILE, and that was the end of the stream; and nobody knew what it was.
#[test]
#[cfg(unix)]
fn standard_output_needs_no_descriptor_to_spare() {
    let child = ours("no descriptors");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 32 && exec \"$0\" \"$@\""]);
    command.arg(child.get_program()).args(child.get_args());
    command.env(TASK, "no descriptors");
    let mut process = Process::start_with(&mut command, Stdio::null(), Stdio::piped());
    let mut lines = Vec::new();
    let ended = process.ended(|line| lines.extend(told_by(&line)));
    assert!(ended.status.success(), "{lines:?} {}", ended.stderr);
    assert_eq!(lines, ["Device Pipe", "written", "and again", "exit"]);
    assert!(ended.stderr.contains("and to stderr"), "{}", ended.stderr);
}

/// What the socket did not take at once was lost, with EAGAIN.
#[test]
#[cfg(unix)]
fn standard_output_waits_for_a_socket_that_does_not_block() {
    let (mut own, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut command = ours("much");
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command.stdout(std::os::fd::OwnedFd::from(theirs));
    let child = command.spawn().unwrap();
    // It holds the other end.
    drop(command);
    support_process::within_deadline(move || {
        let mut told = Vec::new();
        own.read_to_end(&mut told).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert_eq!(told.iter().filter(|byte| **byte == b'~').count(), MUCH);
    });
}
