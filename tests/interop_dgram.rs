//! UDP with other people's programs: Node in both roles, `nc -u` and socat.
//!
//! What each role sees is one table that serves both ways: ours against Node's, and Node's against ours.
//! Needs the pinned Node: see `tests/support_process/liveness.rs`. With `CI=true` it has to be there.

mod support;
mod support_process;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{ChildStdin, Command};
use std::rc::Rc;

use nodeloop::dgram::{self, Payload, RemoteInfo, Socket, SocketOptions, SocketType};
use nodeloop::{AsLoop, Loop};
use support::{Recorder, code_of, deadline};
use support_process::Process;
use support_process::examples::{Server, example, is_installed};
use support_process::liveness::pinned_node;

/// Both roles in JavaScript. Arguments: the role, how, and the port to talk to.
const NODE: &str = r"
    const dgram = require('dgram');
    const [role, how, port] = process.argv.slice(1);
    const say = (text) => console.log('say: ' + text);
    const seen = (bytes) => bytes.length > 40 ? 'of ' + bytes.length : bytes.toString();
    const follow = (socket) => {
        socket.on('error', (error) => say('error ' + error.code + ' ' + error.syscall));
        socket.on('close', () => say('close'));
    };
    // As much as fits a receive buffer, even if nobody reads meanwhile.
    const burst = 100;
    const part = (index) => Buffer.alloc(index % 25 === 24 ? 700 : 900, index % 251);
    const servers = {
        // Answers everything, and closes when it is told.
        talk(socket) {
            socket.on('message', (bytes, from) => {
                say(`message ${seen(bytes)} from ${from.address} ${from.family} ${from.size}`);
                const last = bytes.toString() === 'bye';
                socket.send(['echo ', bytes], from.port, from.address, () => last && socket.close());
            });
        },
        // Takes a burst, and answers with one.
        burst(socket) {
            let right = 0;
            socket.on('message', (bytes, from) => {
                if (bytes.equals(part(right))) right += 1;
                if (right < burst) return;
                say('all of ' + right);
                for (let index = 0; index < burst; index++) socket.send(part(index), from.port, from.address);
                socket.send('bye', from.port, from.address, () => socket.close());
            });
        },
        // Is gone when the second datagram comes.
        refuse(socket) {
            socket.on('message', (bytes, from) => {
                say('message ' + bytes);
                socket.send('closing', from.port, from.address, () => socket.close());
            });
        },
    };
    const texts = ['hello', 'Привет, мир', '你好，世界', '', ['a ', 'list'], Buffer.alloc(9000, 7), 'bye'];
    const clients = {
        talk(socket, host) {
            let next = 0;
            const send = () => socket.send(texts[next++], port, host, (error, bytes) => say(error ? error.code : 'sent ' + bytes));
            socket.on('message', (bytes) => {
                say('message ' + seen(bytes));
                if (next < texts.length) send(); else socket.close();
            });
            send();
        },
        connected(socket, host) {
            let next = 0;
            socket.connect(port, host, () => {
                say('connected ' + socket.remoteAddress().address);
                const send = () => socket.send(texts[next++], (error, bytes) => say(error ? error.code : 'sent ' + bytes));
                socket.on('message', (bytes) => {
                    say('message ' + seen(bytes));
                    if (next < texts.length) send(); else socket.close();
                });
                send();
            });
        },
        burst(socket, host) {
            let right = 0;
            for (let index = 0; index < burst; index++) socket.send(part(index), port, host);
            socket.on('message', (bytes) => {
                if (right < burst && bytes.equals(part(right))) right += 1;
                else if (bytes.toString() === 'bye') { say('all of ' + right); socket.close(); }
            });
        },
    };
    const six = how.endsWith('6');
    const type = role === 'server' && (six || how.endsWith('mapped')) ? 'udp6' : six ? 'udp6' : 'udp4';
    const host = six ? '::1' : '127.0.0.1';
    const manner = how.replace(/6|mapped/, '');
    const socket = dgram.createSocket({ type, recvBufferSize: 1 << 20 });
    follow(socket);
    if (role === 'server') {
        socket.bind(0, type === 'udp6' ? '::' : '127.0.0.1', () => say('listening ' + socket.address().port));
        servers[manner === 'connected' ? 'talk' : manner](socket);
    } else {
        clients[manner](socket, host);
    }
";

/// Datagrams of a burst: those of one size go out in one system call.
const BURST: usize = 100;

fn part(index: usize) -> Vec<u8> {
    let size = if index % 25 == 24 { 700 } else { 900 };
    vec![(index % 251) as u8; size]
}

fn seen(bytes: &[u8]) -> String {
    match bytes.len() {
        41.. => format!("of {}", bytes.len()),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// The client's datagrams; the one that is a list is made there.
const TEXTS: [&str; 7] = [
    "hello",
    "Привет, мир",
    "你好，世界",
    "",
    "a list",
    "",
    "bye",
];

fn send_next(socket: Socket, next: &Cell<usize>, to: Option<SocketAddr>, log: &Recorder) {
    let index = next.replace(next.get() + 1);
    let payload: Payload<'_> = match index {
        4 => Payload::list(["a ", "list"]),
        5 => vec![7; 9000].into(),
        _ => TEXTS[index].into(),
    };
    let log = log.clone();
    let done = move |sent: nodeloop::Result<usize>| match sent {
        Ok(bytes) => log.note(format!("sent {bytes}")),
        Err(error) => log.note(code_of(&error)),
    };
    match to {
        Some(to) => socket.send_to_then(payload, to, done).unwrap(),
        None => socket.send_then(payload, done).unwrap(),
    }
}

fn follow(socket: Socket, log: &Recorder) {
    let noted = log.clone();
    socket.on_error(move |_, error| {
        let syscall = error.syscall().unwrap_or_default();
        noted.note(format!("error {} {syscall}", code_of(error)));
    });
    socket.on_close(log.noting("close"));
}

fn make(lp: &impl AsLoop, family: SocketType, log: &Recorder) -> Socket {
    let options = SocketOptions::new(family).recv_buffer_size(1 << 20);
    let socket = dgram::create_socket(lp, options);
    follow(socket, log);
    socket
}

/// The server in Rust. It is bound when this returns.
fn serve(lp: &Loop, how: &str, log: &Recorder) -> u16 {
    let (family, host) = match how.ends_with('6') || how.ends_with("mapped") {
        true => (SocketType::Udp6, "::"),
        false => (SocketType::Udp4, "127.0.0.1"),
    };
    let socket = make(lp, family, log);
    let address = socket.bind_sync((host, 0)).unwrap();
    let noted = log.clone();
    match how {
        "burst" => {
            let mut right = 0;
            socket.on_message(move |socket, bytes, from| {
                right += usize::from(bytes == part(right));
                if right == BURST {
                    noted.note(format!("all of {right}"));
                    answer_burst(socket, from);
                }
            });
        }
        _ => {
            socket.on_message(move |socket, bytes, from| {
                noted.note(format!(
                    "message {} from {} {} {}",
                    seen(bytes),
                    from.address(),
                    from.family(),
                    from.size()
                ));
                let is_last = bytes == b"bye";
                let echo = Payload::list([&b"echo "[..], bytes]);
                let done = move |_| {
                    if is_last {
                        socket.close().unwrap();
                    }
                };
                socket.send_to_then(echo, from, done).unwrap();
            });
        }
    }
    address.port()
}

fn answer_burst(socket: Socket, to: RemoteInfo) {
    for index in 0..BURST {
        socket.send_to(part(index), to).unwrap();
    }
    let done = move |_| socket.close().unwrap();
    socket.send_to_then("bye", to, done).unwrap();
}

/// The client in Rust.
fn talk(lp: &Loop, how: &str, port: u16, log: &Recorder) {
    let (family, address) = match how.ends_with('6') {
        true => (
            SocketType::Udp6,
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
        ),
        false => (SocketType::Udp4, SocketAddr::from(([127, 0, 0, 1], port))),
    };
    let socket = make(lp, family, log);
    let noted = log.clone();
    if how == "burst" {
        for index in 0..BURST {
            socket.send_to(part(index), address).unwrap();
        }
        let mut right = 0;
        socket.on_message(move |socket, bytes, _| {
            if right < BURST && bytes == part(right) {
                right += 1;
            } else if bytes == b"bye" {
                noted.note(format!("all of {right}"));
                socket.close().unwrap();
            }
        });
        return;
    }
    let is_connected = how.starts_with("connected");
    let to = (!is_connected).then_some(address);
    let next = Rc::new(Cell::new(0));
    let (own, inner) = (next.clone(), log.clone());
    socket.on_message(move |socket, bytes, _| {
        inner.note(format!("message {}", seen(bytes)));
        match own.get() < TEXTS.len() {
            true => send_next(socket, &own, to, &inner),
            false => socket.close().unwrap(),
        }
    });
    match is_connected {
        false => send_next(socket, &next, to, log),
        true => {
            let connected = move |result: nodeloop::Result<()>| {
                result.unwrap();
                let peer = socket.remote_address().unwrap();
                noted.note(format!("connected {}", peer.ip()));
                send_next(socket, &next, None, &noted);
            };
            socket.connect_then(address, connected).unwrap();
        }
    }
}

/// What a role sees.
fn expected(role: &str, how: &str) -> Vec<String> {
    if how == "burst" {
        return vec![format!("all of {BURST}"), "close".into()];
    }
    let address = match how {
        _ if how.ends_with('6') => "::1 IPv6",
        _ if how.ends_with("mapped") => "::ffff:127.0.0.1 IPv6",
        _ => "127.0.0.1 IPv4",
    };
    let mut lines = Vec::new();
    if role == "client" && how.starts_with("connected") {
        let host = if how.ends_with('6') {
            "::1"
        } else {
            "127.0.0.1"
        };
        lines.push(format!("connected {host}"));
    }
    for (index, text) in TEXTS.into_iter().enumerate() {
        let size = if index == 5 { 9000 } else { text.len() };
        let echoed = format!("echo {text}");
        let (there, back) = match index {
            5 => ("of 9000", "of 9005"),
            _ => (text, echoed.as_str()),
        };
        match role {
            "client" => {
                lines.push(format!("sent {size}"));
                lines.push(format!("message {back}"));
            }
            _ => lines.push(format!("message {there} from {address} {size}")),
        }
    }
    lines.push("close".into());
    lines
}

fn start_node(role: &str, how: &str, port: u16) -> Option<Process> {
    let Some(node) = pinned_node() else {
        let in_ci = std::env::var("CI").as_deref() == Ok("true");
        assert!(!in_ci, "in CI the pinned Node has to be there");
        println!("skipped: the pinned Node is not installed");
        return None;
    };
    let mut command = Command::new(node);
    let port = port.to_string();
    command.args(["-e", NODE, role, how, &port]);
    Some(Process::start(command.env_remove("NODE_OPTIONS")))
}

fn rest_of(mut node: Process) -> Vec<String> {
    let mut lines = Vec::new();
    let ended = node.ended(|line| lines.extend(line.strip_prefix("say: ").map(str::to_string)));
    assert!(ended.status.success(), "{lines:?} {}", ended.stderr);
    lines
}

/// Ours and Node's in both roles.
fn both_ways(how: &'static str) {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let port = serve(&lp, how, &log);
    let Some(node) = start_node("client", how, port) else {
        return;
    };
    lp.run().unwrap();
    let theirs = rest_of(node);
    assert_eq!(
        log.take(),
        expected("server", how),
        "our server; {theirs:?}"
    );
    assert_eq!(theirs, expected("client", how), "Node's client");

    let mut node = start_node("server", how, 0).expect("it was there before");
    let line = node.line().expect("it runs");
    let port = line.strip_prefix("say: listening ").expect("its port");
    talk(&lp, how, port.parse().expect("a port"), &log);
    lp.run().unwrap();
    let theirs = rest_of(node);
    assert_eq!(
        log.take(),
        expected("client", how),
        "our client; {theirs:?}"
    );
    assert_eq!(theirs, expected("server", how), "Node's server");
}

fn has_ipv6() -> bool {
    let has = UdpSocket::bind("[::1]:0").is_ok();
    if !has {
        println!("skipped: there is no IPv6 on this machine");
    }
    has
}

// N267, N269, N280.
#[test]
fn node_in_both_roles() {
    both_ways("talk");
}

// N274, N275.
#[test]
fn node_in_both_roles_with_a_connected_client() {
    both_ways("connected");
}

#[test]
fn node_in_both_roles_with_ipv6() {
    if has_ipv6() {
        both_ways("talk6");
        both_ways("connected6");
    }
}

// N280, U4.
#[test]
fn node_in_both_roles_with_a_server_for_both_families() {
    if has_ipv6() {
        both_ways("talkmapped");
    }
}

// U30.
#[test]
fn node_in_both_roles_with_bursts() {
    both_ways("burst");
}

// N273: Node's socket is gone when our second datagram comes.
#[test]
fn a_node_server_that_closes_refuses() {
    let Some(mut node) = start_node("server", "refuse", 0) else {
        return;
    };
    let line = node.line().expect("it runs");
    let port = line.strip_prefix("say: listening ").expect("its port");
    let port: u16 = port.parse().expect("a port");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let socket = make(&lp, SocketType::Udp4, &log);
    let noted = log.clone();
    socket.on_message(move |_, bytes, _| noted.note(seen(bytes)));
    let connected = move |result: nodeloop::Result<()>| {
        result.unwrap();
        socket.send("are you there?").unwrap();
    };
    socket.connect_then(("127.0.0.1", port), connected).unwrap();
    support::turn_until(&lp, || log.has("closing"));
    // Its port is closed when it has ended.
    assert_eq!(rest_of(node), ["message are you there?", "close"]);
    socket.send("and now?").unwrap();
    socket.once_error(|socket, _| socket.close().unwrap());
    lp.run().unwrap();
    log.expect(&["closing", "error ECONNREFUSED recvmsg", "close"]);
}

// Other people's programs.

/// A line in one write, and so in one datagram.
fn write_line(stdin: &mut ChildStdin, text: &str) {
    let line = format!("{text}\n");
    stdin.write_all(line.as_bytes()).expect("it runs");
}

#[test]
fn nc_gets_its_answers() {
    if !is_installed("nc") {
        return;
    }
    let mut server = Server::start("udp_echo", &[]);
    let port = server.address.port().to_string();
    let mut nc = Process::start(Command::new("nc").args(["-u", "127.0.0.1", &port]));
    // What the many versions of nc do at the end of their input differs, so it stays open.
    let mut stdin = nc.stdin();
    for text in ["Hello", "Привет, мир!", "你好，世界！"] {
        write_line(&mut stdin, text);
        nc.prints(text);
        let line = server.prints_until("message").pop().unwrap_or_default();
        assert!(line.ends_with(&format!(": {text}")), "{line}");
        server.prints("");
    }
}

#[test]
fn socat_gets_its_answers() {
    if !is_installed("socat") {
        return;
    }
    let server = Server::start("udp_echo", &[]);
    let peer = format!("UDP:{}", server.address);
    let mut socat = Process::start(Command::new("socat").args(["-", &peer]));
    let mut stdin = socat.stdin();
    for text in ["Hello", "Привет, мир!", "你好，世界！"] {
        write_line(&mut stdin, text);
        socat.prints(text);
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    socket.local_addr().expect("it is bound").port()
}

/// Sends a line until an answer comes: nobody tells when a server has begun.
fn answer_to(line: &'static str, port: u16) -> String {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let answer = Rc::new(RefCell::new(String::new()));
    let socket = dgram::create_socket(&lp, SocketType::Udp4);
    let again = lp.set_interval(20, move |_| {
        socket.send_to(line, ("127.0.0.1", port)).unwrap();
    });
    let heard = answer.clone();
    socket.on_message(move |socket, bytes, _| {
        *heard.borrow_mut() = String::from_utf8_lossy(bytes).into_owned();
        again.clear();
        socket.close().unwrap();
    });
    lp.run().unwrap();
    answer.take()
}

#[test]
fn socat_answers_our_client() {
    if !is_installed("socat") {
        return;
    }
    let port = free_port();
    let listens = format!("UDP-RECVFROM:{port},bind=127.0.0.1,fork");
    let _socat = Process::start(Command::new("socat").args([&listens, "EXEC:tr a-z A-Z"]));
    assert_eq!(answer_to("hello, socat\n", port), "HELLO, SOCAT\n");
}

#[test]
fn nc_answers_our_client() {
    if !is_installed("nc") {
        return;
    }
    let port = free_port();
    let mut nc =
        Process::start(Command::new("nc").args(["-u", "-l", "127.0.0.1", &port.to_string()]));
    let mut stdin = nc.stdin();
    // It sends this to the first who talks to it.
    write_line(&mut stdin, "Привет, это nc");
    assert_eq!(answer_to("hello, nc\n", port), "Привет, это nc\n");
    nc.prints("hello, nc");
}

#[test]
fn node_answers_the_example_client() {
    let Some(node) = pinned_node() else {
        println!("skipped: the pinned Node is not installed");
        return;
    };
    let program = "
        const socket = require('dgram').createSocket('udp4');
        socket.on('message', (bytes, from) => socket.send(bytes, from.port, from.address));
        socket.bind(0, '127.0.0.1', () => console.log(socket.address().port));
    ";
    let mut server = Process::start(
        Command::new(node)
            .args(["-e", program])
            .env_remove("NODE_OPTIONS"),
    );
    let port = server.line().expect("it runs");
    let mut client = example("udp_client", &[&format!("127.0.0.1:{port}"), "3600000"]);
    let lines = client.prints_until("close");
    for text in [
        "Привет, мир!",
        "你好，世界！",
        "",
        "one datagram of three buffers",
    ] {
        assert!(lines.contains(&format!("message: {text}")), "{lines:?}");
    }
    client.ends_well();
}
