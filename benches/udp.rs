//! What a UDP server costs, beside a hand-written mio loop that receives and sends one datagram at a
//! time: the server's CPU time per datagram.
//!
//! Each server is a process of its own, pinned to one core; the load comes from another, pinned to the
//! other. The two servers take turns, in many short rounds, and what is compared is each pair of
//! rounds. The CPU time of a process is the kernel's own count (`/proc/PID/schedstat`), so it holds
//! what the kernel does for the server too; only Linux tells it.
//!
//! ```text
//! cargo bench --bench udp            # the figures
//! cargo bench --bench udp -- --smoke # a short run that proves that it works
//! cargo bench --bench udp -- echo    # the workloads with this in their name, as in
//!                                    # 'flood in runs, 1200 bytes'
//! ```

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, ErrorKind, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nodeloop::dgram::{self, SocketOptions, SocketType};
use nodeloop::{Loop, Result};
use socket2::{MsgHdr, SockRef};

/// Says what this process is.
const ROLE: &str = "NODELOOP_BENCH_ROLE";

/// The kernel's buffers at both ends, so that bursts are not lost for want of room.
const BUFFER: u32 = 4 << 20;

/// Where the servers run, and where the load comes from.
const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";

/// So long without a datagram means that those in flight are lost.
const LOST_AFTER: Duration = Duration::from_millis(50);

/// Datagrams that the server sends for each request of a burst.
const BURST: usize = 256;

/// What is done to a server.
#[derive(Debug, Clone, Copy)]
enum Load {
    /// Datagrams that come back, so many in flight, each sent by itself.
    Echo(usize),
    /// The same, sent as one run, the next when all have come back.
    EchoRuns(usize),
    /// Datagrams that the server counts, each sent by itself.
    Flood,
    /// The same, sent in runs.
    FloodRuns,
    /// Datagrams that the server sends, 256 for each request.
    Bursts,
}

/// A workload.
struct Workload {
    name: &'static str,
    load: Load,
    /// Bytes of a datagram.
    size: usize,
    /// How many times the hand-written loop's time is allowed, where that is agreed.
    allowed: Option<f64>,
}

const WORKLOADS: [Workload; 12] = [
    workload("echo, 1 in flight", Load::Echo(1), 64, Some(1.05)),
    workload("echo, 1 in flight", Load::Echo(1), 1200, Some(1.05)),
    workload("echo, 32 in flight", Load::Echo(32), 64, Some(0.80)),
    workload("echo, 32 in flight", Load::Echo(32), 1200, Some(0.80)),
    workload("echo, 256 in flight", Load::Echo(256), 64, None),
    workload("echo of runs of 32", Load::EchoRuns(32), 64, None),
    workload("echo of runs of 32", Load::EchoRuns(32), 1200, None),
    workload("flood", Load::Flood, 64, None),
    workload("flood in runs", Load::FloodRuns, 64, Some(0.15)),
    workload("flood in runs", Load::FloodRuns, 1200, Some(0.15)),
    workload("bursts to one peer", Load::Bursts, 64, Some(0.25)),
    workload("bursts to one peer", Load::Bursts, 1200, Some(0.25)),
];

const fn workload(name: &'static str, load: Load, size: usize, allowed: Option<f64>) -> Workload {
    Workload {
        name,
        load,
        size,
        allowed,
    }
}

fn main() {
    match std::env::var(ROLE).as_deref() {
        Ok("nodeloop") => serve_with_nodeloop().expect("the loop runs"),
        Ok("mio") => serve_with_mio().expect("the loop runs"),
        Ok("load") => measure(),
        _ => pin_the_load(),
    }
}

/// Starts this program again as the load, on its core.
fn pin_the_load() {
    let status = pinned(LOAD_CORE, "load")
        .args(std::env::args().skip(1))
        .status()
        .expect("taskset can be run");
    std::process::exit(status.code().unwrap_or(1));
}

/// This program in another role, on a core. Without `taskset`, wherever the system puts it.
fn pinned(core: &str, role: &str) -> Command {
    let program = std::env::current_exe().expect("it has a path");
    let has_taskset = Command::new("taskset")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    let mut command = match has_taskset {
        true => {
            let mut command = Command::new("taskset");
            command.args(["-c", core]).arg(program);
            command
        }
        false => Command::new(program),
    };
    command.env(ROLE, role);
    command
}

fn measure() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let smoke = arguments.iter().any(|argument| argument == "--smoke");
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    let (rounds, length) = match smoke {
        true => (2, Duration::from_millis(10)),
        false => (21, Duration::from_millis(150)),
    };
    let ours = Server::start("nodeloop");
    let theirs = Server::start("mio");
    println!(
        "CPU time of the server per datagram, ns, {rounds} paired rounds of {} ms: medians",
        length.as_millis()
    );
    println!("workload                    bytes    mio  nodeloop   ratio (10 %–90 %)    lost");
    for workload in &WORKLOADS {
        let name = format!("{}, {} bytes", workload.name, workload.size);
        if wanted.is_some_and(|wanted| !name.contains(wanted.as_str())) {
            continue;
        }
        let mut pairs = Vec::new();
        let (mut sent, mut lost) = (0, 0);
        for round in 0..rounds {
            let (first, second) = match round % 2 {
                0 => (&ours, &theirs),
                _ => (&theirs, &ours),
            };
            let one = first.round(workload, length);
            let other = second.round(workload, length);
            let pair = match round % 2 {
                0 => (one, other),
                _ => (other, one),
            };
            sent += pair.0.datagrams + pair.0.lost;
            lost += pair.0.lost;
            pairs.push((pair.0.cost_ns, pair.1.cost_ns));
        }
        report(workload, &pairs, lost as f64 / sent.max(1) as f64);
    }
}

fn report(workload: &Workload, pairs: &[(f64, f64)], lost: f64) {
    let at = |mut values: Vec<f64>, share: f64| {
        values.sort_by(f64::total_cmp);
        values[((values.len() - 1) as f64 * share) as usize]
    };
    let ratios: Vec<f64> = pairs.iter().map(|(ours, theirs)| ours / theirs).collect();
    let ratio = at(ratios.clone(), 0.5);
    let verdict = match workload.allowed {
        None => String::new(),
        Some(allowed) if ratio <= allowed => format!("  within {allowed:.2}"),
        Some(allowed) => format!("  ABOVE {allowed:.2}"),
    };
    println!(
        "{:<26} {:>6} {:>6.0} {:>9.0}   {ratio:>5.2} ({:.2}–{:.2})  {:>6.2} %{verdict}",
        workload.name,
        workload.size,
        at(pairs.iter().map(|pair| pair.1).collect(), 0.5),
        at(pairs.iter().map(|pair| pair.0).collect(), 0.5),
        at(ratios.clone(), 0.1),
        at(ratios, 0.9),
        lost * 100.0,
    );
}

/// A server under test, in a process of its own, which ends with its standard input.
struct Server {
    process: Child,
    /// It ends when this does.
    input: Option<ChildStdin>,
    socket: UdpSocket,
}

/// What a round has shown.
struct Round {
    /// Datagrams that the server has served.
    datagrams: u64,
    lost: u64,
    /// The server's CPU time for each.
    cost_ns: f64,
}

impl Server {
    fn start(role: &str) -> Server {
        let mut process = pinned(SERVER_CORE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server can be started");
        let mut output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("it says its address");
        let address: SocketAddr = line.trim().parse().expect("it says its address");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        socket.connect(address).expect("it is there");
        socket
            .set_read_timeout(Some(LOST_AFTER))
            .expect("it is not zero");
        let options = SockRef::from(&socket);
        options
            .set_recv_buffer_size(BUFFER as usize)
            .expect("the system cuts it down");
        Server {
            input: process.stdin.take(),
            process,
            socket,
        }
    }

    /// The CPU time that the kernel has counted for it.
    fn cpu_ns(&self) -> u64 {
        // The process is taskset's, which has become the server.
        let path = format!("/proc/{}/schedstat", self.process.id());
        let text = std::fs::read_to_string(path).expect("Linux tells it");
        let first = text
            .split_whitespace()
            .next()
            .expect("it has three numbers");
        first.parse().expect("it is a number")
    }

    /// Asks how many datagrams it has received.
    fn received(&self) -> u64 {
        // The question may be lost behind a flood, and what comes may be of an earlier load.
        let mut buffer = [0; 2048];
        for number in 0.. {
            let question = format!("?{number}");
            self.socket.send(question.as_bytes()).expect("it is there");
            while let Ok(size) = self.socket.recv(&mut buffer) {
                let answer = String::from_utf8_lossy(&buffer[..size]);
                if let Some((asked, count)) = answer.split_once('=')
                    && asked == question
                {
                    return count.parse().expect("it answers with a number");
                }
            }
            assert!(number < 100, "the server does not answer");
        }
        unreachable!("asserted above")
    }

    fn round(&self, workload: &Workload, length: Duration) -> Round {
        let size = workload.size;
        self.empty();
        let before = (self.cpu_ns(), self.received());
        let end = Instant::now() + length;
        let (asked, answered) = match workload.load {
            Load::Echo(in_flight) => echo(&self.socket, size, in_flight, end),
            Load::EchoRuns(in_flight) => echo_runs(&self.socket, size, in_flight, end),
            Load::Flood => (flood(&self.socket, size, 1, end), 0),
            Load::FloodRuns => (flood(&self.socket, size, 65_000 / size, end), 0),
            Load::Bursts => bursts(&self.socket, size, end),
        };
        let received = self.received() - before.1;
        let cost = self.cpu_ns() - before.0;
        let (datagrams, lost) = match workload.load {
            Load::Flood | Load::FloodRuns => (received, asked.saturating_sub(received)),
            // All were sent; what is lost is lost behind the server.
            Load::Bursts => (asked, asked - answered),
            Load::Echo(_) | Load::EchoRuns(_) => (received, asked.saturating_sub(answered)),
        };
        Round {
            datagrams,
            lost,
            cost_ns: cost as f64 / datagrams.max(1) as f64,
        }
    }

    /// Throws away what came too late in the last round.
    fn empty(&self) {
        self.socket.set_nonblocking(true).expect("it can be set");
        let mut buffer = [0; 2048];
        while self.socket.recv(&mut buffer).is_ok() {}
        self.socket.set_nonblocking(false).expect("it can be set");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

/// Keeps so many in flight, each sent and received by itself. Gives how many were sent, and how many
/// have come back.
fn echo(socket: &UdpSocket, size: usize, in_flight: usize, end: Instant) -> (u64, u64) {
    let message = vec![b'm'; size];
    let mut buffer = [0; 2048];
    let (mut sent, mut back) = (0, 0);
    loop {
        for _ in 0..in_flight {
            sent += u64::from(socket.send(&message).is_ok());
        }
        // A lost one ends this; then all of them begin anew.
        while socket.recv(&mut buffer).is_ok() {
            back += 1;
            if back % 64 == 0 && Instant::now() >= end {
                // What is in flight comes back uncounted.
                return (sent - in_flight as u64 + 1, back);
            }
            sent += u64::from(socket.send(&message).is_ok());
        }
        if Instant::now() >= end {
            return (sent, back);
        }
    }
}

/// Sends a run, and the next when all of it has come back.
fn echo_runs(socket: &UdpSocket, size: usize, length: usize, end: Instant) -> (u64, u64) {
    let message = vec![b'm'; size * length];
    let mut buffer = [0; 2048];
    let (mut sent, mut back) = (0, 0);
    while Instant::now() < end {
        send_run(socket, &message, size);
        sent += length as u64;
        for _ in 0..length {
            if socket.recv(&mut buffer).is_err() {
                break;
            }
            back += 1;
        }
    }
    (sent, back)
}

/// Sends as fast as it can, in runs of `length`.
fn flood(socket: &UdpSocket, size: usize, length: usize, end: Instant) -> u64 {
    let length = length.min(64);
    let message = vec![b'f'; size * length];
    let mut sent = 0;
    loop {
        for _ in 0..16 {
            if length == 1 {
                let _ = socket.send(&message);
            } else {
                send_run(socket, &message, size);
            }
            sent += length as u64;
        }
        if Instant::now() >= end {
            return sent;
        }
    }
}

/// Asks for bursts, the next when the last has come. Gives how many were asked for, and how many came.
fn bursts(socket: &UdpSocket, size: usize, end: Instant) -> (u64, u64) {
    let request = format!("burst {size}");
    let mut buffer = [0; 2048];
    let (mut asked, mut came) = (0, 0);
    while Instant::now() < end {
        socket.send(request.as_bytes()).expect("it is there");
        asked += BURST as u64;
        for _ in 0..BURST {
            match socket.recv(&mut buffer) {
                Ok(_) => came += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    (asked, came)
}

/// One system call for datagrams of `size` bytes (UDP_SEGMENT).
fn send_run(socket: &UdpSocket, bytes: &[u8], size: usize) {
    const WORD: usize = size_of::<usize>();
    let mut control = [0; 2 * WORD + 8];
    control[..WORD].copy_from_slice(&(WORD + 10).to_ne_bytes());
    control[WORD..WORD + 4].copy_from_slice(&17_i32.to_ne_bytes());
    control[WORD + 4..WORD + 8].copy_from_slice(&103_i32.to_ne_bytes());
    control[WORD + 8..WORD + 10].copy_from_slice(&(size as u16).to_ne_bytes());
    let parts = [IoSlice::new(bytes)];
    let message = MsgHdr::new().with_buffers(&parts).with_control(&control);
    SockRef::from(socket)
        .sendmsg(&message, 0)
        .expect("Linux can cut runs");
}

/// What a datagram asks a server for.
enum Asked {
    /// How many datagrams it has counted.
    Count,
    /// So many bytes, many times.
    Burst(usize),
    /// To come back.
    Echo,
    /// To be counted.
    Flood,
}

/// The first byte tells. Both servers pay for this look.
fn asked(message: &[u8]) -> Asked {
    match message.first() {
        Some(b'm') => Asked::Echo,
        Some(b'b') => match std::str::from_utf8(&message[6..]).map(str::parse) {
            Ok(Ok(size)) => Asked::Burst(size),
            _ => Asked::Flood,
        },
        Some(b'?') => Asked::Count,
        _ => Asked::Flood,
    }
}

fn answer(question: &[u8], count: u64) -> String {
    format!("{}={count}", String::from_utf8_lossy(question))
}

/// Ends this process when its standard input does: its parent is gone, or done with it.
fn end_with_the_parent() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
}

/// The server on a nodeloop loop.
fn serve_with_nodeloop() -> Result<()> {
    end_with_the_parent();
    let lp = Loop::new()?;
    let options = SocketOptions::new(SocketType::Udp4).recv_buffer_size(BUFFER);
    let server = dgram::create_socket(&lp, options);
    let count = Cell::new(0_u64);
    let burst = RefCell::new(Vec::new());
    server.on_message(move |server, message, from| match asked(message) {
        Asked::Flood => count.set(count.get() + 1),
        Asked::Echo => {
            count.set(count.get() + 1);
            let _ = server.send_to(message, from);
        }
        Asked::Burst(size) => {
            let mut bytes = burst.borrow_mut();
            bytes.resize(size, b'b');
            for _ in 0..BURST {
                let _ = server.send_to(&bytes[..], from);
            }
        }
        Asked::Count => {
            let _ = server.send_to(answer(message, count.get()), from);
        }
    });
    println!("{}", server.bind_sync(("127.0.0.1", 0))?);
    lp.run()
}

/// The hand-written loop: one datagram at a time.
fn serve_with_mio() -> std::io::Result<()> {
    end_with_the_parent();
    let mut poll = mio::Poll::new()?;
    let mut events = mio::Events::with_capacity(1024);
    let mut socket = mio::net::UdpSocket::bind("127.0.0.1:0".parse().expect("an address"))?;
    SockRef::from(&socket).set_recv_buffer_size(BUFFER as usize)?;
    poll.registry()
        .register(&mut socket, mio::Token(0), mio::Interest::READABLE)?;
    println!("{}", socket.local_addr()?);
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = Vec::new();
    let mut count = 0_u64;
    loop {
        poll.poll(&mut events, None)?;
        loop {
            let (size, from) = match socket.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let message = &buffer[..size];
            match asked(message) {
                Asked::Flood => count += 1,
                Asked::Echo => {
                    count += 1;
                    let _ = socket.send_to(message, from);
                }
                Asked::Burst(size) => {
                    bytes.resize(size, b'b');
                    for _ in 0..BURST {
                        let _ = socket.send_to(&bytes, from);
                    }
                }
                Asked::Count => {
                    let _ = socket.send_to(answer(message, count).as_bytes(), from);
                }
            }
        }
    }
}
