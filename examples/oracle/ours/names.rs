//! Names: look-ups, several addresses, block lists. The other half of `tests/oracle/names.cjs`.

use std::net::IpAddr;
use std::rc::Rc;

use nodeloop::dns::{self, LookupAnswer, LookupOptions};
use nodeloop::net::{BlockList, ConnectOptions, Family, Server, Socket};
use nodeloop::{ListenerId, LoopHandle};

use super::{Handle, Object, World, bracketed, fail, say, show};
use crate::oracle::scenario::Action;

/// A list of addresses, ranges (`a-b`) and subnets (`a/8`), with commas between.
pub fn block_list(rules: &str) -> BlockList {
    let list = BlockList::new();
    add_rules(&list, rules);
    list
}

fn add_rules(list: &BlockList, rules: &str) {
    for rule in rules.split(',') {
        let added = match rule.split_once('-') {
            Some((start, end)) => list.add_range(start, end),
            None if rule.contains('/') => list.add_cidr(rule),
            None => list.add_address(rule),
        };
        added.expect("the parser has looked at it");
    }
}

/// Gives what the scenario says.
fn give(answer: LookupAnswer, what: &str) {
    match what {
        "never" => std::mem::forget(answer),
        "not_found" => answer.not_found(),
        "own_error" => answer.failed("no luck"),
        all => answer.found(all.split(',').map(|ip| {
            let ip: Result<IpAddr, _> = ip.parse();
            ip.expect("the parser has looked at it")
        })),
    }
}

/// Gives it when the scenario says.
fn give_at(lp: LoopHandle, answer: LookupAnswer, what: String, when: &str) {
    match when.parse() {
        Ok(ms) => {
            let ms: u64 = ms;
            lp.set_timeout_once(ms, move |_| give(answer, &what));
        }
        Err(_) if when == "immediate" => {
            lp.set_immediate(move |_| give(answer, &what));
        }
        // It is called on a tick.
        Err(_) => give(answer, &what),
    }
}

pub fn family_of(number: &str) -> Option<Family> {
    match number {
        "4" => Some(Family::V4),
        "6" => Some(Family::V6),
        _ => None,
    }
}

impl World {
    /// The options of `connect` that are about names.
    pub(super) fn connect_to_name(
        self: &Rc<World>,
        action: &Action,
        object: &Rc<Object>,
        mut options: ConnectOptions,
    ) -> ConnectOptions {
        let option = |key: &str| action.options.get(key).map(String::as_str);
        if let Some(rules) = object.options.get("block") {
            options = options.block_list(&block_list(rules));
        }
        if let Some(what) = option("lookup") {
            let (lp, own, what) = (self.lp, object.clone(), what.to_string());
            let when = option("answered").unwrap_or("tick").to_string();
            let lookup = move |host: &str, asked: LookupOptions, answer: LookupAnswer| {
                let family = asked.get_family().map_or(0, Family::number);
                // Node asks inside `connect`, we on the tick behind it.
                say(&format!("=look_up\t{} {host} {family}", own.name));
                give_at(lp, answer, what.clone(), &when);
            };
            options = options.lookup(lookup);
        }
        if let Some(family) = option("family").and_then(family_of) {
            options = options.family(family);
        }
        if option("one").is_some() {
            options = options.auto_select_family(false);
        }
        if let Some(ms) = option("attempt_timeout") {
            options = options.auto_select_family_attempt_timeout(ms.parse().unwrap_or(0));
        }
        options
    }

    /// Listens to an event that is about names; none if it is another one.
    pub(super) fn listen_to_names(
        self: &Rc<World>,
        object: &Rc<Object>,
        socket: Socket,
        event: &str,
        label: Option<&str>,
    ) -> Option<ListenerId> {
        let (world, own) = (self.clone(), object.clone());
        let name = bracketed(event, label);
        let plain = move |text: String| world.plain(&own, &name, None, Some(&text));
        Some(match event {
            "lookup" => socket.on_lookup(move |_, found, host| match found {
                Ok(ip) => plain(format!("{host} {ip} {}", Family::of(ip).number())),
                Err(error) => plain(format!("{host} {}", show::error(error))),
            }),
            "connection_attempt_timeout" => {
                socket.on_connection_attempt_timeout(move |_, address| {
                    plain(show::address(Some(address)));
                })
            }
            _ => return None,
        })
    }

    /// `lookup HOST then=NAME`.
    pub(super) fn look_up(self: &Rc<World>, action: &Action) {
        let name = action
            .options
            .get("then")
            .map_or("looked_up", String::as_str);
        let object = Object::new(name, Handle::None);
        self.add(&object);
        let mut options = LookupOptions::new();
        if let Some(family) = action.options.get("family").and_then(|it| family_of(it)) {
            options = options.family(family);
        }
        let world = self.clone();
        let begun = dns::lookup_with(&self.lp, &action.words[0], options, move |_, found| {
            let text = match found {
                Ok(found) => {
                    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
                    found.join(",")
                }
                Err(error) => show::error(&error),
            };
            world.plain(&object, "done", None, Some(&text));
        });
        if let Err(error) = begun {
            let asker = Object::new("dns", Handle::None);
            self.trace(
                &asker,
                &format!("throws {}", error.code().unwrap_or("error")),
            );
        }
    }
}

/// `block RULES`: adds to the list of a server.
pub fn block(action: &Action, object: &Object, _server: Server) {
    match &object.block_list {
        Some(list) => add_rules(list, &action.words[0]),
        None => fail(action, "the server has no list"),
    }
}

/// The addresses that were tried.
pub fn attempted(socket: Socket) -> String {
    let all = socket.auto_select_family_attempted_addresses();
    let all: Vec<_> = all.iter().map(|address| address.ip().to_string()).collect();
    match all.is_empty() {
        true => "none".into(),
        false => all.join(","),
    }
}
