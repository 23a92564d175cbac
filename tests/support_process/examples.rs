//! The examples as what they are: programs, with clients that talk to them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::{DEADLINE, Process};

/// How long building the examples may take from one crate to the next.
const BUILD_PATIENCE: Duration = Duration::from_secs(300);

/// Starts an example.
pub fn example(name: &str, arguments: &[&str]) -> Process {
    Process::start(Command::new(executable(name)).args(arguments))
}

/// A running example that listens.
pub struct Server {
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts one at a port of 127.0.0.1, with the arguments behind its address.
    pub fn start(name: &str, arguments: &[&str]) -> Server {
        Server::at("127.0.0.1:0", name, arguments)
    }

    /// Starts one at this address.
    pub fn at(address: &str, name: &str, arguments: &[&str]) -> Server {
        let mut process = example(name, &[&[address], arguments].concat());
        let address = process.listens();
        Server { process, address }
    }

    /// A client of it.
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Process {
    /// Reads the line that tells where an example listens.
    #[track_caller]
    pub fn listens(&mut self) -> SocketAddr {
        let line = self.expect_line();
        let address = line.strip_prefix("listening on ");
        let address = address.unwrap_or_else(|| panic!("it printed {line:?}"));
        address.parse().expect("an address")
    }

    /// Checks what it prints next.
    #[track_caller]
    pub fn prints(&mut self, expected: &str) {
        assert_eq!(self.expect_line(), expected);
    }

    /// What it prints next, up to a line that begins so.
    #[track_caller]
    pub fn prints_until(&mut self, beginning: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let deadline = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < deadline, "it only printed {lines:?}");
            let line = self.expect_line();
            let over = line.starts_with(beginning);
            lines.push(line);
            if over {
                return lines;
            }
        }
    }

    /// It ends by itself, with success and without complaint, and prints nothing before.
    #[track_caller]
    pub fn ends_well(&mut self) {
        let ended = self.ended(|line| panic!("it printed {line:?}"));
        assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), ""));
    }

    /// It ends by itself, with a failure that it tells, and prints nothing before.
    #[track_caller]
    pub fn fails(&mut self, status: i32, message: &str) {
        let ended = self.ended(|line| panic!("it printed {line:?}"));
        assert_eq!(ended.status.code(), Some(status), "{}", ended.stderr);
        let first = ended.stderr.lines().next();
        assert_eq!(first, Some(message), "{}", ended.stderr);
    }

    #[track_caller]
    fn expect_line(&mut self) -> String {
        match self.line() {
            Some(line) => line,
            None => panic!("it has ended; stderr: {}", self.ended(drop).stderr),
        }
    }
}

/// A client. Whatever it waits for has a deadline.
pub struct Client {
    reader: BufReader<TcpStream>,
    /// For what has no word here.
    pub stream: TcpStream,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Client {
        Client::from(TcpStream::connect(address).expect("it listens"))
    }

    /// Its own address.
    pub fn address(&self) -> SocketAddr {
        self.stream.local_addr().expect("it is connected")
    }

    /// Sends bytes.
    #[track_caller]
    pub fn says(&mut self, bytes: impl AsRef<[u8]>) {
        let written = self.stream.write_all(bytes.as_ref());
        written.expect("it is connected");
    }

    /// Checks the next line that comes.
    #[track_caller]
    pub fn hears(&mut self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    /// Checks the next lines that come.
    #[track_caller]
    pub fn hears_all(&mut self, expected: &[&str]) {
        for line in expected {
            self.hears(line);
        }
    }

    /// The next line that comes, without its end; what there is at the peer's end.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line");
        line.trim_end_matches('\n').to_string()
    }

    /// Reads as many bytes as are expected, and compares.
    #[track_caller]
    pub fn reads(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut answer = vec![0; expected.len()];
        self.reader.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, expected);
    }

    /// Everything up to the peer's end.
    #[track_caller]
    pub fn reads_rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).expect("no reset");
        rest
    }

    /// The peer ends, and sends nothing before.
    #[track_caller]
    pub fn hears_end(&mut self) {
        let rest = self.reads_rest();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// Ends this side.
    pub fn ends(&self) {
        let ended = self.stream.shutdown(Shutdown::Write);
        ended.expect("it is connected");
    }

    /// Vanishes: the peer gets a reset instead of an end.
    pub fn resets(self) {
        // Closed without lingering.
        let linger = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        linger.expect("it is a socket");
    }
}

/// The next client of a test that is a server.
#[track_caller]
pub fn accept(listener: &TcpListener) -> Client {
    let listener = listener.try_clone().expect("a descriptor is free");
    let (sender, accepted) = channel();
    // It may wait for ever, unlike this function.
    std::thread::spawn(move || sender.send(listener.accept()));
    let accepted = accepted.recv_timeout(DEADLINE);
    Client::from(accepted.expect("somebody connects").expect("no error").0)
}

impl From<TcpStream> for Client {
    fn from(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
        stream.set_write_timeout(Some(DEADLINE)).expect("not zero");
        let reader = BufReader::new(stream.try_clone().expect("a descriptor is free"));
        Client { reader, stream }
    }
}

/// Whether a program that a test needs is there. If not the test says so.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    if !found {
        println!("skipped: there is no {program} on this machine");
    }
    found
}

/// The executable of an example. They are built once per run: `cargo test` builds them along, but
/// not when it is told to run this file alone, and then old ones may lie there.
pub fn executable(name: &str) -> &'static Path {
    static BUILT: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    BUILT
        .get_or_init(build)
        .get(name)
        .expect("cargo has built it")
}

fn build() -> HashMap<String, PathBuf> {
    let this = std::env::current_exe().expect("this program has a path");
    // target/PROFILE/deps/this-0123456789abcdef, or with the platform between; cargo marks the top.
    let profile = this.ancestors().nth(2).and_then(Path::file_name);
    let profile = match profile.and_then(|profile| profile.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let top = this
        .ancestors()
        .find(|place| place.join("CACHEDIR.TAG").exists());
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // Everything it takes is here, since this program was built.
        .args(["build", "--offline", "--message-format=json"])
        .args(["--profile", profile]);
    if let Some(top) = top {
        command.arg("--target-dir").arg(top);
    }
    command.arg("--examples");
    let mut built = HashMap::new();
    let mut cargo = Process::start(&mut command).with_patience(BUILD_PATIENCE);
    let ended = cargo.ended(|line| {
        let is_example = line.contains(r#""kind":["example"]"#);
        if let (true, Some(path)) = (is_example, text_of(&line, "executable")) {
            let path = PathBuf::from(path);
            let name = path.file_stem().unwrap_or_default();
            built.insert(name.to_string_lossy().into_owned(), path);
        }
    });
    assert!(ended.status.success(), "{}", ended.stderr);
    built
}

/// The text of a field in one of cargo's messages, which are JSON, one object per line.
fn text_of(message: &str, field: &str) -> Option<String> {
    let (_, rest) = message.split_once(&format!("\"{field}\":\""))?;
    let (text, _) = rest.split_once('"')?;
    Some(text.replace(r"\\", r"\"))
}
