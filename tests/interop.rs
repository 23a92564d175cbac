//! A client of ours against a server of Node, and the other way round: the traces of both ends.
//!
//! Who ends first × how × who is in Node. What each end sees depends on its role alone, so one table
//! serves both ways. Needs the pinned Node: see `tests/support_process/liveness.rs`. With `CI=true`
//! it has to be there.

mod support;
mod support_process;

use std::process::Command;

use nodeloop::Loop;
use nodeloop::net::{self, ConnectOptions, ServerOptions, Socket, SocketOptions};
use support::*;
use support_process::Process;
use support_process::liveness::pinned_node;

/// Both roles in JavaScript. Arguments: the role, who ends, how, and the port or the path; port 0 is any.
const NODE: &str = r"
    const net = require('node:net');
    const [role, ender, how, where] = process.argv.slice(1);
    const at = where.startsWith('/') ? { path: where } : { port: Number(where), host: '127.0.0.1' };
    const say = (text) => console.log('say: ' + text);
    const done = (name) => (error) => say(name + ' ' + (error ? error.code : 'ok'));
    const act = (socket) => ({
        end: () => socket.end('last words', done('ended')),
        late: () => socket.end(done('ended')),
        destroy: () => socket.destroy(),
        reset: () => socket.resetAndDestroy(),
        soon: () => socket.destroySoon(),
        error: () => socket.destroy(new Error('own')),
    })[how]();
    const life = (socket) => {
        socket.on('data', (chunk) => {
            say('data ' + chunk);
            switch (chunk.toString()) {
                case 'hello': return socket.write('welcome');
                case 'welcome': return ender === 'client' ? act(socket) : socket.write('your turn');
                case 'your turn': return act(socket);
            }
        });
        socket.on('end', () => {
            say('end');
            if (how === 'late' && role !== ender)
                setTimeout(() => socket.end('late answer', done('answered')), 20);
        });
        socket.on('finish', () => say('finish'));
        socket.on('error', (error) => say('error ' + (error.code ?? error.message)));
        socket.on('close', (hadError) => say('close ' + hadError));
    };
    const allowHalfOpen = how === 'late';
    if (role === 'server') {
        const server = net.createServer({ allowHalfOpen }, (socket) => {
            server.close();
            life(socket);
        });
        server.listen(at, () => say('listening ' + (server.address().port ?? where)));
    } else {
        const socket = net.connect({ ...at, allowHalfOpen });
        socket.write('hello');
        life(socket);
    }
";

/// A cell of the table.
#[derive(Clone, Copy)]
struct Cell {
    ender: &'static str,
    how: &'static str,
}

/// The same life in Rust.
fn life(socket: Socket, role: &'static str, cell: Cell, log: &Recorder) {
    let inner = log.clone();
    socket.on_data(move |socket, chunk| {
        inner.note(format!("data {}", String::from_utf8_lossy(chunk)));
        match chunk {
            b"hello" => {
                socket.write("welcome");
            }
            b"welcome" if cell.ender != "client" => {
                socket.write("your turn");
            }
            b"welcome" | b"your turn" => act(socket, cell.how, &inner),
            _ => {}
        }
    });
    log.follow_but_data(socket);
    let inner = log.clone();
    socket.on_end(move |socket| {
        if cell.how == "late" && role != cell.ender {
            let done = inner.done("answered");
            let answer = move |_| socket.end_with_then("late answer", done);
            socket.event_loop().set_timeout_once(20, answer);
        }
    });
}

fn act(socket: Socket, how: &str, log: &Recorder) {
    match how {
        "end" => socket.end_with_then("last words", log.done("ended")),
        "late" => socket.end_then(log.done("ended")),
        "destroy" => socket.destroy(),
        "reset" => socket.reset_and_destroy(),
        "soon" => socket.destroy_soon(),
        "error" => socket.destroy_with("own"),
        _ => unreachable!("no such act"),
    }
}

/// What the one who ends, and the other, see behind the greetings.
fn expected(how: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match how {
        "end" => (
            &["ended ok", "finish", "end", "close false"],
            &["data last words", "end", "finish", "close false"],
        ),
        "late" => (
            &[
                "ended ok",
                "finish",
                "data late answer",
                "end",
                "close false",
            ],
            &["end", "answered ok", "finish", "close false"],
        ),
        "destroy" => (&["close false"], &["end", "finish", "close false"]),
        "soon" => (
            &["finish", "close false"],
            &["end", "finish", "close false"],
        ),
        "error" => (
            &["error own", "close true"],
            &["end", "finish", "close false"],
        ),
        _ => (&["close false"], &["error ECONNRESET", "close true"]),
    }
}

/// Everything that a role sees.
fn trace_of(role: &str, cell: Cell) -> Vec<&'static str> {
    let greetings: &[&str] = match (role, cell.ender) {
        ("client", _) => &["data welcome"],
        (_, "client") => &["data hello"],
        _ => &["data hello", "data your turn"],
    };
    let (ender, other) = expected(cell.how);
    let rest = if role == cell.ender { ender } else { other };
    [greetings, rest].concat()
}

/// Starts Node in a role. None if there is no Node to start.
fn start_node(role: &str, cell: Cell, place: &str) -> Option<Process> {
    let Some(node) = pinned_node() else {
        let in_ci = std::env::var("CI").as_deref() == Ok("true");
        assert!(!in_ci, "in CI the pinned Node has to be there");
        println!("skipped: the pinned Node is not installed");
        return None;
    };
    let mut command = Command::new(node);
    command
        .args(["-e", NODE, role, cell.ender, cell.how, place])
        .env_remove("NODE_OPTIONS");
    Some(Process::start(&mut command))
}

/// What Node still says until it ends by itself.
fn rest_of(mut process: Process) -> Vec<String> {
    let mut lines = Vec::new();
    let ended = process.ended(|line| lines.extend(line.strip_prefix("say: ").map(str::to_string)));
    assert!(ended.status.success(), "{} {}", ended.status, ended.stderr);
    lines
}

fn our_client(cell: Cell) {
    let path = over_unix().then(new_path);
    let place = match &path {
        Some((path, _)) => path.to_str().unwrap(),
        None => "0",
    };
    let Some(mut node) = start_node("server", cell, place) else {
        return;
    };
    let line = node.line().expect("it listens");
    let port = line.strip_prefix("say: listening ").expect("it says where");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let options = SocketOptions::new().allow_half_open(cell.how == "late");
    let to = match path {
        Some((_, stand_in)) => target(stand_in),
        None => ConnectOptions::new("127.0.0.1", port.parse().unwrap()),
    };
    let socket = net::connect(&lp, to.socket(options));
    socket.write("hello");
    let log = Recorder::new();
    life(socket, "client", cell, &log);
    lp.run().unwrap();
    let (ours, theirs) = (log.take(), rest_of(node));
    assert_eq!(ours, trace_of("client", cell), "our client; {theirs:?}");
    assert_eq!(theirs, trace_of("server", cell), "Node's server");
}

fn our_server(cell: Cell) {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let options = ServerOptions::new().allow_half_open(cell.how == "late");
    let log = Recorder::new();
    let inner = log.clone();
    let (server, address) = listening_with(&lp, options, move |socket| {
        socket.server().unwrap().close();
        life(socket, "server", cell, &inner);
    });
    let path = path_of(address);
    let place = match &path {
        Some(path) => path.to_str().unwrap().to_string(),
        None => address.port().to_string(),
    };
    let Some(node) = start_node("client", cell, &place) else {
        return server.close();
    };
    lp.run().unwrap();
    let (ours, theirs) = (log.take(), rest_of(node));
    assert_eq!(ours, trace_of("server", cell), "our server; {theirs:?}");
    assert_eq!(theirs, trace_of("client", cell), "Node's client");
}

/// Both who may end, and both who may be in Node.
fn column(how: &'static str) {
    for ender in ["client", "server"] {
        println!("{how}, by the {ender}");
        our_client(Cell { ender, how });
        our_server(Cell { ender, how });
    }
}

#[test]
fn n118_end() {
    column("end");
}

#[test]
fn n125_end_and_a_late_answer() {
    column("late");
}

#[test]
fn n130_destroy() {
    column("destroy");
}

#[test]
fn n128_destroy_with_an_error() {
    column("error");
}

#[test]
fn n133_destroy_soon() {
    column("soon");
}

#[test]
fn n134_reset() {
    if tcp_only("there are no resets") {
        return;
    }
    column("reset");
}
