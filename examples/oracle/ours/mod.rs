//! Our interpreter of scenarios, on the public API alone: what `tests/oracle/program.cjs` is for
//! Node. What it says on its standard output is described in `driver.rs`.

mod clients;
mod dgram;
mod files;
mod flow;
mod names;
mod net;
mod paths;
mod show;
mod streams;
mod timers;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nodeloop::dgram::RemoteInfo;
use nodeloop::{Immediate, ListenerId, Loop, LoopHandle, Timer};

use super::data::Piece;
use super::scenario::{Action, Scenario, When};
use super::vocabulary::Kind;

/// An object of the scenario.
pub struct Object {
    /// What the scenario calls it.
    name: String,
    /// What it is in the loop.
    handle: Handle,
    /// For a socket: the server's name.
    server: Option<String>,
    /// For a server: its block list.
    block_list: Option<nodeloop::net::BlockList>,
    /// For a server or a client: its options.
    options: HashMap<String, String>,
    /// For a server: its sockets, in the order in which they came.
    sockets: RefCell<Vec<Rc<Object>>>,
    /// For a socket: bytes received so far.
    received: Cell<u64>,
    /// For a UDP socket: who has sent the last message.
    last_from: Cell<Option<RemoteInfo>>,
    /// For a server, a UDP socket or a peer: where it listens, or did.
    last_address: Cell<Option<SocketAddr>>,
    /// For a stream: answers that it owes.
    owed: RefCell<VecDeque<streams::Owed>>,
    /// Listeners that were added by name.
    labels: RefCell<HashMap<String, ListenerId>>,
}

/// What an object is in the loop.
#[derive(Clone, Copy)]
pub enum Handle {
    /// A tick, a callback or the process.
    None,
    /// A server.
    Server(nodeloop::net::Server),
    /// A socket.
    Socket(nodeloop::net::Socket),
    /// A UDP socket.
    Udp(nodeloop::dgram::Socket),
    /// A stream of the program's own.
    Stream(streams::Any),
    /// A file that is read.
    ReadFile(nodeloop::fs::ReadStream),
    /// A file that is written.
    WriteFile(nodeloop::fs::WriteStream),
    /// A timeout or interval.
    Timer(Timer),
    /// An immediate.
    Immediate(Immediate),
}

impl Object {
    fn new(name: &str, handle: Handle) -> Rc<Object> {
        Rc::new(Object::plain(name, handle))
    }

    fn plain(name: &str, handle: Handle) -> Object {
        Object {
            name: name.into(),
            handle,
            server: None,
            block_list: None,
            options: HashMap::new(),
            sockets: RefCell::default(),
            received: Cell::new(0),
            last_from: Cell::new(None),
            last_address: Cell::new(None),
            owed: RefCell::default(),
            labels: RefCell::default(),
        }
    }
}

/// Everything of a run; listeners share it.
pub struct World {
    lp: LoopHandle,
    scenario: Scenario,
    objects: RefCell<HashMap<String, Rc<Object>>>,
    /// How often each event of each object has happened.
    counts: RefCell<HashMap<String, u64>>,
}

/// Runs a scenario in a loop of the given kind, up to the end of the process.
pub fn play(scenario: Scenario, lp: &Loop) {
    let world = Rc::new(World {
        lp: lp.handle(),
        scenario,
        objects: RefCell::default(),
        counts: RefCell::default(),
    });
    let process = Object::new("process", Handle::None);
    world.add(&process);
    for handler in &world.scenario.handlers {
        if handler.event == "start" {
            world.run(&handler.actions, &process);
        }
    }
    let waits_for_exit = |event: &str| event == "before_exit";
    let handlers = &world.scenario.handlers;
    let has_before_exit = handlers
        .iter()
        .any(|handler| waits_for_exit(&handler.event));
    loop {
        let turns = lp.turns();
        if let Err(error) = lp.run() {
            say(&format!("=process\terror {}", show::error(&error)));
            return;
        }
        // As Node: 'beforeExit' comes again if it gave the loop something to do.
        if !has_before_exit || (lp.turns() == turns && world.count_of("process:before_exit") > 0) {
            break;
        }
        world.plain(&process, "before_exit", None, None);
    }
    say("=process\texits");
}

/// Says a line to the driver.
fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    let written = writeln!(output, "{line}").and_then(|()| output.flush());
    if written.is_err() {
        // The driver has gone.
        std::process::exit(3);
    }
}

/// The next line of the driver; none if it has no more.
pub fn next_line() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    let read = read.is_ok_and(|count| count > 0);
    read.then(|| line.trim_end_matches('\n').into())
}

/// Waits until a peer is done; gives its answer: the port that it has bound, if any.
fn ask(peer: &str) -> String {
    say(&format!("?{peer}"));
    let mut line = String::new();
    let _ = std::io::stdin().lock().read_line(&mut line);
    line.trim().into()
}

fn fail(action: &Action, why: &str) -> ! {
    say(&format!("!line {}: {why}", action.line));
    std::process::exit(3)
}

impl World {
    fn add(&self, object: &Rc<Object>) {
        let mut objects = self.objects.borrow_mut();
        objects.insert(object.name.clone(), object.clone());
    }

    fn find(&self, action: &Action, name: &str, it: &Rc<Object>) -> Rc<Object> {
        if name == "it" {
            return it.clone();
        }
        let found = self.objects.borrow().get(name).cloned();
        found.unwrap_or_else(|| fail(action, &format!("there is no {name} yet")))
    }

    fn count_of(&self, key: &str) -> u64 {
        self.counts.borrow().get(key).copied().unwrap_or(0)
    }

    fn trace(&self, object: &Object, text: &str) {
        say(&format!("={}\t{text}", object.name));
    }

    /// An event that shows as its name and perhaps a text.
    fn plain(
        self: &Rc<World>,
        object: &Rc<Object>,
        event: &str,
        label: Option<&str>,
        text: Option<&str>,
    ) {
        let event = bracketed(event, label);
        match text {
            Some(text) => self.trace(object, &format!("{event} {text}")),
            None => self.trace(object, &event),
        }
        self.happen(object, &event, object, 0);
    }

    /// Bytes that an object received.
    fn data(self: &Rc<World>, object: &Rc<Object>, event: &str, label: Option<&str>, bytes: &[u8]) {
        let event = bracketed(event, label);
        let piece = Piece::of(bytes);
        let shown = piece.text.map(|text| text.replace('\n', "\\n"));
        let shown = shown.map_or(String::new(), |text| format!("\t{text}"));
        say(&format!(
            "~{}\t{event}\t{}\t{}{shown}",
            object.name, piece.length, piece.hash
        ));
        self.happen(object, &event, object, piece.length);
    }

    /// Does what the scenario says on an event.
    fn happen(self: &Rc<World>, object: &Object, event: &str, it: &Rc<Object>, received: u64) {
        let key = format!("{}:{event}", object.name);
        let count = self.count_of(&key) + 1;
        self.counts.borrow_mut().insert(key, count);
        let before = object.received.get();
        object.received.set(before + received);
        let world = self.clone();
        for handler in &world.scenario.handlers {
            let is_of_server = match (handler.object.strip_suffix('*'), &object.server) {
                (Some(server), Some(own)) => server == own,
                _ => false,
            };
            let is_meant = handler.object == object.name || is_of_server;
            let is_now = match handler.when {
                When::Always => true,
                When::Nth(nth) => nth == count,
                When::Bytes(bytes) => before < bytes && before + received >= bytes,
            };
            if is_meant && is_now && handler.event == event {
                world.run(&handler.actions, it);
            }
        }
    }

    fn run(self: &Rc<World>, actions: &[Action], it: &Rc<Object>) {
        for action in actions {
            match action.kind {
                Kind::Loop => self.loop_verb(action, it),
                Kind::Peer => self.peer_verb(action, it),
                _ => {
                    let object = self.find(action, &action.object, it);
                    match object.handle {
                        Handle::Server(server) => self.server_verb(action, &object, server, it),
                        Handle::Socket(socket) => self.socket_verb(action, &object, socket, it),
                        Handle::Udp(udp) => self.udp_verb(action, &object, udp, it),
                        Handle::Stream(stream) => self.stream_verb(action, &object, stream, it),
                        Handle::ReadFile(file) => self.read_verb(action, &object, file, it),
                        Handle::WriteFile(file) => self.write_verb(action, &object, file),
                        Handle::Timer(timer) => timers::timer_verb(action, timer),
                        Handle::Immediate(immediate) => timers::immediate_verb(action, immediate),
                        Handle::None => fail(action, "no such verb"),
                    }
                }
            }
        }
    }

    fn loop_verb(self: &Rc<World>, action: &Action, it: &Rc<Object>) {
        let words: Vec<&str> = action.words.iter().map(String::as_str).collect();
        match (action.verb.as_str(), words.as_slice()) {
            ("server", [name]) => self.make_server(name, action),
            ("client", [name]) => self.make_client(name, action),
            ("udp", [name]) => self.make_udp(name, action),
            #[cfg(unix)]
            ("adopt", [name]) => self.adopt(name, action),
            #[cfg(unix)]
            ("file" | "directory" | "remove" | "look", _) => self.file_verb(action),
            ("read_file", [name, _]) => self.read_file(name, action),
            ("write_file", [name, _]) => self.write_file(name, action),
            ("content", [word]) => self.content(word),
            ("timeout" | "interval", [name, delay]) => self.start_timer(action, name, delay),
            ("immediate", [name]) => self.start_immediate(action, name),
            ("tick", [name]) => self.start_tick(name),
            ("lookup", _) => self.look_up(action),
            ("source" | "sink" | "transform" | "pipeline" | "finished", _) => {
                self.stream_loop_verb(action, it);
            }
            ("peer", _) => {}
            ("probe", [name, names @ ..]) => {
                let object = self.find(action, name, it);
                let value = |key: &&str| format!("{key}={}", self.property(&object, key));
                let values: Vec<String> = names.iter().map(value).collect();
                self.trace(&object, &format!("probe {}", values.join(" ")));
            }
            ("note", [text]) => say(&format!("=note\t{text}")),
            ("block", [millis]) => {
                let millis = millis.parse().unwrap_or(0);
                let until = Instant::now() + Duration::from_millis(millis);
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
            }
            ("wait", [peer]) => drop(ask(peer)),
            ("catch", _) => {
                let world = self.clone();
                let process = self.find(action, "process", it);
                self.lp.on_uncaught_error(move |_, error| {
                    world.plain(&process, "uncaught", None, Some(&show::error(error)));
                });
            }
            ("stop", _) => {
                say("=process\tstopped");
                std::process::exit(0);
            }
            _ => fail(action, "this interpreter does not know the verb"),
        }
    }

    fn peer_verb(&self, action: &Action, it: &Rc<Object>) {
        let mut parts = vec![action.object.clone(), action.verb.clone()];
        match action.verb.as_str() {
            "connect" if paths::over_unix() => {
                parts[1] = "connect_path".into();
                let path = paths::stand_in(&action.words[0]);
                parts.extend([path.to_string_lossy().into_owned(), String::new()]);
            }
            "connect_path" | "bind_path" | "listen_path" => {
                let path = paths::path_of(&action.words[0]);
                let backlog = action.options.get("backlog");
                parts.push(paths::shown(&path.to_string_lossy()));
                parts.push(backlog.cloned().unwrap_or("128".into()));
            }
            "connect" => {
                let address = self.address_of(action, &action.words[0], it);
                let host = match action.options.get("host") {
                    Some(host) => host.clone(),
                    None if address.ip().is_unspecified() => "127.0.0.1".into(),
                    None => address.ip().to_string(),
                };
                parts.push(host);
                parts.push(address.port().to_string());
                parts.push(action.options.get("rcvbuf").cloned().unwrap_or_default());
            }
            "bind" | "listen" => return self.bind_peer(action, it),
            "udp" => return self.bind_udp_peer(action),
            "send_to" => parts.extend(self.words_of_send_to(action, it)),
            _ => parts.extend(action.words.iter().map(|word| word.replace('\n', "\\n"))),
        }
        say(&format!(">{}", parts.join("\t")));
    }

    /// Where a server listens, or did.
    fn address_of(&self, action: &Action, server: &str, it: &Rc<Object>) -> SocketAddr {
        let address = self.find(action, server, it).last_address.get();
        address.unwrap_or_else(|| fail(action, &format!("{server} has not listened yet")))
    }

    /// A completion with a name, whose line belongs to `owner`.
    fn completion(
        self: &Rc<World>,
        owner: &Rc<Object>,
        name: &str,
    ) -> impl FnOnce(nodeloop::Result<()>) + 'static {
        let world = self.clone();
        let owner = owner.clone();
        let object = Object::new(name, Handle::None);
        self.add(&object);
        move |result| {
            let text = show::result(&result);
            world.trace(&owner, &format!("{}:done {text}", object.name));
            world.happen(&object, "done", &object, 0);
        }
    }
}

fn bracketed(event: &str, label: Option<&str>) -> String {
    match label {
        Some(label) => format!("{event}[{label}]"),
        None => event.into(),
    }
}
