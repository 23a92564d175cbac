//! Chat 2.0: a chat with commands.
//!
//! The pattern: a protocol of lines. A line is parsed into a command first, by a function that
//! knows nothing of connections; then the room does what it says. A line that can't be parsed gets an
//! answer and is never ignored, so the user learns the language from its errors.
//!
//! ```text
//! cargo run --release --example chat2 [ADDRESS]
//! ```
//!
//! Then `nc 127.0.0.1 40000` or `telnet 127.0.0.1 40000`, several times, and type `help`.

mod common;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use common::argument;
use common::lines::Lines;
use common::telnet::Telnet;
use nodeloop::{Loop, net};

/// Bytes of a line.
const MAX_LINE: usize = 1000;

/// Characters of a nickname.
const MAX_NICK: usize = 20;

/// Bytes that may wait for somebody who reads too slowly; one more and he is put out.
const MAX_WAITING: usize = 1024 * 1024;

const HELP: &str = "\
* b:TEXT       says it to all
* c:NICK:TEXT  says it to one
* n:NICK       is your new nickname
* l            lists who is on-line
* quit         leaves
* help         shows this";

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let room = Rc::new(RefCell::new(Room::default()));
    let lp = Loop::new()?;
    let server = net::create_server(&lp, move |socket| on_connection(socket, &room));
    server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
    server.listen(address)?;
    lp.run()
}

fn on_connection(socket: net::Socket, room: &Rc<RefCell<Room>>) {
    // Short lines, each of which somebody waits for.
    socket.set_no_delay(true);
    room.borrow_mut().enter(socket);
    let mut telnet = Telnet::new();
    let mut lines = Lines::new(MAX_LINE);
    let in_data = room.clone();
    socket.on_data(move |socket, chunk| {
        let text = telnet.text(chunk);
        let mut text = text.as_slice();
        while let Some(line) = lines.next(&mut text) {
            // Who has quit says no more: not in the same chunk, and not in a later one.
            if !socket.writable() {
                return;
            }
            match line {
                Ok(line) => in_data.borrow_mut().obey(socket, Command::parse(&line)),
                Err(bad) => tell(socket, &format!("* {bad}")),
            }
        }
    });
    let in_end = room.clone();
    socket.on_end(move |socket| in_end.borrow_mut().leave(socket));
    socket.on_error(|_, error| eprintln!("{error}"));
    let in_close = room.clone();
    socket.on_close(move |socket, _| in_close.borrow_mut().leave(socket));
}

/// What a line says.
enum Command {
    ToAll(String),
    ToOne { nick: String, text: String },
    Rename(String),
    List,
    Quit,
    Help,
    Nothing,
    Unknown(String),
}

impl Command {
    fn parse(line: &str) -> Command {
        // Without what would play tricks with the others' terminals.
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        match line.split_once(':') {
            Some(("b", text)) => Command::ToAll(text.to_string()),
            Some(("c", rest)) => match rest.split_once(':') {
                Some((nick, text)) => Command::ToOne {
                    nick: nick.trim().to_string(),
                    text: text.to_string(),
                },
                None => Command::Unknown(line),
            },
            Some(("n", nick)) => Command::Rename(nick.trim().to_string()),
            _ => match line.trim() {
                "l" => Command::List,
                "quit" => Command::Quit,
                "help" => Command::Help,
                "" => Command::Nothing,
                _ => Command::Unknown(line),
            },
        }
    }
}

/// Everybody who is connected.
#[derive(Default)]
struct Room {
    members: Vec<Member>,
    guests: u64,
}

struct Member {
    socket: net::Socket,
    nick: String,
}

impl Room {
    fn obey(&mut self, socket: net::Socket, command: Command) {
        let Some(place) = self.place_of(socket) else {
            return;
        };
        let me = &self.members[place].nick;
        match command {
            Command::ToAll(text) => self.tell_all(&format!("{me}: {text}")),
            Command::ToOne { nick, text } => match self.find(&nick) {
                Some(member) => tell(member.socket, &format!("{me} (private): {text}")),
                None => tell(socket, &format!("* nobody is called {nick}")),
            },
            Command::Rename(nick) => match self.check(socket, &nick) {
                Ok(()) => {
                    let old = std::mem::replace(&mut self.members[place].nick, nick.clone());
                    self.tell_all(&format!("* {old} is now {nick}"));
                }
                Err(reason) => tell(socket, &format!("* {reason}")),
            },
            Command::List => {
                let nicks: Vec<&str> = self.members.iter().map(|member| &*member.nick).collect();
                tell(
                    socket,
                    &format!("* {} on-line: {}", nicks.len(), nicks.join(", ")),
                );
            }
            Command::Quit => {
                self.leave(socket);
                socket.end_with("* Bye!\n");
            }
            Command::Help => tell(socket, HELP),
            Command::Nothing => {}
            Command::Unknown(line) => {
                tell(socket, &format!("* unknown command: {line}; try help"));
            }
        }
    }

    fn enter(&mut self, socket: net::Socket) {
        let nick = loop {
            self.guests += 1;
            let nick = format!("guest{}", self.guests);
            // Somebody may have chosen just that one.
            if self.find(&nick).is_none() {
                break nick;
            }
        };
        let online = self.members.len() + 1;
        self.tell_all(&format!("* {nick} has joined, {online} on-line"));
        tell(
            socket,
            &format!("* Hello, {nick}! {online} on-line; try help"),
        );
        println!("{nick} has joined, {online} on-line");
        self.members.push(Member { socket, nick });
    }

    /// Takes somebody out, if he is in.
    fn leave(&mut self, socket: net::Socket) {
        let Some(place) = self.place_of(socket) else {
            return;
        };
        let nick = self.members.remove(place).nick;
        let online = self.members.len();
        self.tell_all(&format!("* {nick} has left, {online} on-line"));
        println!("{nick} has left, {online} on-line");
    }

    fn place_of(&self, socket: net::Socket) -> Option<usize> {
        self.members
            .iter()
            .position(|member| member.socket == socket)
    }

    /// Whoever has this nickname, in any case.
    fn find(&self, nick: &str) -> Option<&Member> {
        let lower = nick.to_lowercase();
        self.members
            .iter()
            .find(|member| member.nick.to_lowercase() == lower)
    }

    /// Whether somebody may take a nickname.
    fn check(&self, socket: net::Socket, nick: &str) -> Result<(), &'static str> {
        if nick.is_empty() || nick.chars().count() > MAX_NICK {
            return Err("a nickname has 1 to 20 characters");
        }
        if !nick
            .chars()
            .all(|c| c.is_alphanumeric() || "-_".contains(c))
        {
            return Err("a nickname has letters, digits, - and _");
        }
        // His own he may write in another case.
        match self
            .find(nick)
            .is_some_and(|member| member.socket != socket)
        {
            true => Err("that nickname is taken"),
            false => Ok(()),
        }
    }

    fn tell_all(&self, text: &str) {
        for member in &self.members {
            tell(member.socket, text);
        }
    }
}

fn tell(socket: net::Socket, text: &str) {
    socket.write(format!("{text}\n"));
    if socket.writable_length() > MAX_WAITING {
        socket.destroy_with("put out: reads too slowly");
    }
}
