//! Chat 1.0: what one says, the others hear.
//!
//! The pattern: connections that know of each other. They share one room; it holds handles, which
//! are only names, so there is nothing to free and no cycle. A member that leaves is taken out of it,
//! whichever way it leaves: by `byebye`, by ending, or by vanishing, which is 'close' after 'error'.
//!
//! No call into the loop calls a listener before it returns; so the room may stay borrowed while
//! its members are written to.
//!
//! ```text
//! cargo run --release --example chat1 [ADDRESS]
//! ```
//!
//! Then `nc 127.0.0.1 40000` or `telnet 127.0.0.1 40000`, several times. The first line is your
//! nickname, every other goes to the others; `byebye` leaves.

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

/// Bytes that may wait for somebody who reads too slowly; one more and he is put out. Waiting for
/// him would stop everybody, and keeping all that he has not read would take all memory.
const MAX_WAITING: usize = 1024 * 1024;

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
    socket.write("Your nickname?\n");
    let mut telnet = Telnet::new();
    let mut lines = Lines::new(MAX_LINE);
    let in_data = room.clone();
    socket.on_data(move |socket, chunk| {
        let text = telnet.text(chunk);
        let mut text = text.as_slice();
        while let Some(line) = lines.next(&mut text) {
            // Who has said byebye says no more: not in the same chunk, and not in a later one.
            if !socket.writable() {
                return;
            }
            match line {
                Ok(line) => in_data.borrow_mut().hear(socket, &printable(&line)),
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

/// Everybody who has a nickname.
#[derive(Default)]
struct Room {
    members: Vec<Member>,
}

struct Member {
    socket: net::Socket,
    nick: String,
}

impl Room {
    fn hear(&mut self, socket: net::Socket, line: &str) {
        let member = self.members.iter().find(|member| member.socket == socket);
        match (member, line) {
            (_, "byebye") => {
                self.leave(socket);
                socket.end_with("* Bye!\n");
            }
            (None, nick) => self.enter(socket, nick),
            (Some(_), "") => {}
            (Some(member), line) => self.tell_others(socket, &format!("{}: {line}", member.nick)),
        }
    }

    fn enter(&mut self, socket: net::Socket, nick: &str) {
        let nick = nick.trim();
        if let Err(reason) = self.check(nick) {
            return tell(socket, &format!("* {reason}; your nickname?"));
        }
        self.members.push(Member {
            socket,
            nick: nick.to_string(),
        });
        let online = self.members.len();
        tell(socket, &format!("* Hello, {nick}! {online} on-line"));
        self.tell_others(socket, &format!("* {nick} has joined, {online} on-line"));
        println!("{nick} has joined, {online} on-line");
    }

    /// Takes somebody out, if he is in.
    fn leave(&mut self, socket: net::Socket) {
        let place = self
            .members
            .iter()
            .position(|member| member.socket == socket);
        let Some(place) = place else {
            return;
        };
        let nick = self.members.remove(place).nick;
        let online = self.members.len();
        self.tell_others(socket, &format!("* {nick} has left, {online} on-line"));
        println!("{nick} has left, {online} on-line");
    }

    fn check(&self, nick: &str) -> Result<(), &'static str> {
        if nick.is_empty() || nick.chars().count() > MAX_NICK {
            return Err("a nickname has 1 to 20 characters");
        }
        if !nick
            .chars()
            .all(|c| c.is_alphanumeric() || "-_".contains(c))
        {
            return Err("a nickname has letters, digits, - and _");
        }
        let lower = nick.to_lowercase();
        match self
            .members
            .iter()
            .any(|member| member.nick.to_lowercase() == lower)
        {
            true => Err("that nickname is taken"),
            false => Ok(()),
        }
    }

    fn tell_others(&self, socket: net::Socket, text: &str) {
        for member in self.members.iter().filter(|member| member.socket != socket) {
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

/// Without what would play tricks with the others' terminals.
fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect()
}
