//! `is_ip` and `BlockList` against Node's, on thousands of generated inputs.
//!
//! The inputs are the same each time: they come from a seed, which NODELOOP_SEED can change. Needs
//! the pinned Node: see `tests/support_process/liveness.rs`. With `CI=true` it has to be there.

mod support_process;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Command;

use nodeloop::net::{BlockList, Family, SocketAddress, is_ip, is_ipv4, is_ipv6};
use support_process::Process;
use support_process::liveness::pinned_node;

/// How many inputs there are of each kind.
const INPUTS: usize = 6_000;

/// Answers one line of JSON with another.
const NODE: &str = r#"
    const net = require('node:net');
    const say = (it) => console.log('say: ' + JSON.stringify(it));
    const address = (text, family) => {
        try { return JSON.stringify(new net.SocketAddress({ address: text, family, port: 80 })) }
        catch (error) { return error.code }
    };
    const texts = (list) => list.map((text) =>
        `${net.isIP(text)} ${net.isIPv4(text)} ${net.isIPv6(text)} ` +
        `${address(text, 'ipv4')} ${address(text, 'ipv6')}`);
    const lists = (programs) => programs.map((program) => {
        const list = new net.BlockList();
        const answers = program.map(([verb, ...args]) => {
            try {
                const answer = list[verb](...args);
                return verb === 'check' ? String(answer) : 'ok';
            } catch (error) { return error.code }
        });
        // Node's addresses lie in a hash table: they come in any order.
        const isAddress = (rule) => rule.startsWith('Address');
        const rules = list.rules.filter(isAddress).sort().concat(list.rules.filter((rule) => !isAddress(rule)));
        const sound = JSON.stringify(list) === JSON.stringify(list.rules);
        return [...answers, ...rules, list.size, sound].join('; ');
    });
    const readline = require('node:readline').createInterface({ input: process.stdin });
    readline.on('line', (line) => {
        const [kind, input] = JSON.parse(line);
        for (const answer of { texts, lists }[kind](input)) say(answer);
        readline.close();
    });
"#;

/// What Node says to inputs, each in JSON. None if it is not there.
fn node_says(kind: &str, inputs: &[String]) -> Option<Vec<String>> {
    let Some(node) = pinned_node() else {
        println!("not compared with Node: the pinned one is not installed");
        return None;
    };
    let mut command = Command::new(node);
    command.args(["-e", NODE]).env_remove("NODE_OPTIONS");
    let mut process = Process::start(&mut command);
    let question = format!("[\"{kind}\",[{}]]\n", inputs.join(","));
    // It reads while it has said nothing yet, so this can't stall.
    process.stdin().write_all(question.as_bytes()).unwrap();
    let mut answers = Vec::new();
    let mut next = || {
        let line = process.line()?;
        Some(line.strip_prefix("say: ")?.to_string())
    };
    while let Some(answer) = next() {
        answers.push(answer);
    }
    assert_eq!(answers.len(), inputs.len(), "every input has an answer");
    Some(answers)
}

/// A text in JSON, in ASCII.
fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for unit in text.encode_utf16() {
        match char::from_u32(unit.into()) {
            Some(c) if c.is_ascii_graphic() && c != '"' && c != '\\' => out.push(c),
            _ => write!(out, "\\u{unit:04x}").unwrap(),
        }
    }
    out.push('"');
    out
}

fn expect_no_difference(inputs: &[String], ours: &[String], node: &[String], seed: u64) {
    let mut differences = 0;
    for ((input, ours), node) in inputs.iter().zip(ours).zip(node) {
        if ours != node {
            differences += 1;
            if differences <= 3 {
                println!("{input}\n  ours {ours}\n  Node {node}");
            }
        }
    }
    assert_eq!(differences, 0, "with the seed {seed}");
}

/// The same from the same seed.
struct Chance(fastrand::Rng);

impl Chance {
    fn seeded() -> (Chance, u64) {
        let seed = std::env::var("NODELOOP_SEED").ok();
        let seed: u64 = seed.map_or(2026, |seed| seed.parse().expect("a number"));
        (Chance(fastrand::Rng::with_seed(seed)), seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0.usize(..limit)
    }

    fn one_in(&mut self, limit: usize) -> bool {
        self.below(limit) == 0
    }

    fn of<'a>(&mut self, choice: &[&'a str]) -> &'a str {
        choice[self.below(choice.len())]
    }

    /// A text that is nearly an IPv4 address, or is one.
    fn v4(&mut self) -> String {
        let mut parts = Vec::new();
        for _ in 0..4 {
            let odd = [
                "", "00", "01", "256", "999", "1000", "0x1", "-1", "+1", " 1", "a",
            ];
            parts.push(match self.one_in(40) {
                true => self.of(&odd).to_string(),
                false => self.below(256).to_string(),
            });
        }
        match self.below(40) {
            0 => parts.truncate(3),
            1 => parts.push("1".into()),
            _ => {}
        }
        parts.join(".")
    }

    /// A text that is nearly an IPv6 address, or is one.
    fn v6(&mut self) -> String {
        let mut groups = Vec::new();
        let length = match self.one_in(4) {
            true => 7 + self.below(3),
            false => self.below(9),
        };
        for _ in 0..length {
            let odd = ["", "00000", "12345", "g", "-1", " 1", "0x1"];
            groups.push(match self.below(30) {
                0 => self.of(&odd).to_string(),
                1..12 => "0".to_string(),
                12..15 => "ffff".to_string(),
                15..18 => format!("{:04X}", self.below(0x1000)),
                _ => format!("{:x}", self.below(0x10000)),
            });
        }
        if self.one_in(4) {
            groups.push(self.v4());
        }
        let mut text = groups.join(":");
        if !self.one_in(5) {
            // A run of zeros, somewhere.
            let at = self.below(groups.len() + 1);
            let (front, back) = groups.split_at(at);
            text = format!("{}::{}", front.join(":"), back.join(":"));
        }
        if self.one_in(8) {
            let zones = [
                "%lo", "%1", "%", "%a-b.c:d", "%a_b", "%a b", "%%", "%é", "%A9%",
            ];
            text += self.of(&zones);
        }
        without_late_zone(text)
    }

    /// Something done to a text, or nothing.
    fn spoilt(&mut self, mut text: String) -> String {
        let pieces = [
            " ", "\n", "\0", "\t", ":", "::", ".", "%", "[", "]", "/", "0", "f", "é", "１", "-",
            "1.2.3.4", "\u{feff}",
        ];
        for _ in 0..self.below(3) {
            let mut at = self.below(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            match self.below(3) {
                0 => text.insert_str(at, self.of(&pieces)),
                1 => {
                    text.truncate(at);
                }
                _ => {
                    text = text[at..].to_string();
                }
            }
        }
        without_late_zone(text)
    }
}

/// libuv cuts what is in front of a zone to 39 bytes, so that Node takes it for another address, or
/// for one that it is not. Nobody wants that.
fn without_late_zone(mut text: String) -> String {
    if let Some(at) = text.find('%').filter(|at| *at > 39) {
        text.truncate(at);
    }
    text
}

#[test]
fn n297_n298_n299_n304_texts_are_addresses_where_they_are_in_node() {
    // N297, N298, N299, N304
    let (mut chance, seed) = Chance::seeded();
    let mut texts = Vec::new();
    for index in 0..INPUTS {
        let text = match index % 2 {
            0 => chance.v4(),
            _ => chance.v6(),
        };
        texts.push(match chance.one_in(3) {
            true => chance.spoilt(text),
            false => text,
        });
    }
    let shown = |text: &str, family| match SocketAddress::new(text, family, 80) {
        Ok(address) => address.to_json(),
        Err(error) => error.code().expect("it has one").to_string(),
    };
    let ours: Vec<_> = texts
        .iter()
        .map(|text| {
            // To Node's SocketAddress a NUL is the end, as in C. Here it is part of the text.
            let up_to_nul = text.split('\0').next().unwrap_or_default();
            let number = is_ip(text).map_or(0, Family::number);
            json(&format!(
                "{number} {} {} {} {}",
                is_ipv4(text),
                is_ipv6(text),
                shown(up_to_nul, Family::V4),
                shown(up_to_nul, Family::V6)
            ))
        })
        .collect();
    let good = texts.iter().filter(|text| is_ip(text).is_some()).count();
    assert!(
        (INPUTS / 4..INPUTS * 3 / 4).contains(&good),
        "{good} of {INPUTS} are addresses"
    );
    let inputs: Vec<_> = texts.iter().map(|text| json(text)).collect();
    if let Some(node) = node_says("texts", &inputs) {
        let node: Vec<_> = node.iter().map(|answer| json(&unquoted(answer))).collect();
        expect_no_difference(&inputs, &ours, &node, seed);
    }
}

/// The text of Node's JSON, which has nothing that is escaped but quotes.
fn unquoted(json: &str) -> String {
    let text = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    text.expect("a text").replace("\\\"", "\"")
}

/// What is done to a list.
enum Step {
    Address(&'static str, String, Family),
    Range(&'static str, String, String, Family),
    Subnet(&'static str, String, u8, Family),
    Cidr(&'static str, String),
    Rules(Vec<String>),
    Json(String),
    Clear,
    Check(String, Family),
}

impl Step {
    /// Does it here; what Node would say.
    fn act(&self, list: &BlockList) -> String {
        let result = match self {
            Step::Address("addAddress", ip, family) => list.add_address((ip.as_str(), *family)),
            Step::Address(_, ip, family) => list.remove_address((ip.as_str(), *family)).map(drop),
            Step::Range(verb, start, end, family) => {
                let (start, end) = ((start.as_str(), *family), (end.as_str(), *family));
                match *verb {
                    "addRange" => list.add_range(start, end),
                    _ => list.remove_range(start, end).map(drop),
                }
            }
            Step::Subnet("addSubnet", ip, prefix, family) => {
                list.add_subnet((ip.as_str(), *family), *prefix)
            }
            Step::Subnet(_, ip, prefix, family) => list
                .remove_subnet((ip.as_str(), *family), *prefix)
                .map(drop),
            Step::Cidr("addCIDR", cidr) => list.add_cidr(cidr),
            Step::Cidr(_, cidr) => list.remove_cidr(cidr).map(drop),
            Step::Rules(rules) => list.add_rules(rules),
            Step::Json(json) => list.from_json(json),
            Step::Clear => {
                list.clear();
                Ok(())
            }
            Step::Check(ip, family) => return list.check((ip.as_str(), *family)).to_string(),
        };
        match result {
            Ok(()) => "ok".to_string(),
            Err(error) => error.code().expect("it has one").to_string(),
        }
    }

    /// The same for Node.
    fn to_json(&self) -> String {
        match self {
            Step::Address(verb, ip, family) => format!("[\"{verb}\",{},\"{family}\"]", json(ip)),
            Step::Range(verb, start, end, family) => {
                format!("[\"{verb}\",{},{},\"{family}\"]", json(start), json(end))
            }
            Step::Subnet(verb, ip, prefix, family) => {
                format!("[\"{verb}\",{},{prefix},\"{family}\"]", json(ip))
            }
            Step::Cidr(verb, cidr) => format!("[\"{verb}\",{}]", json(cidr)),
            Step::Rules(rules) => {
                let rules: Vec<_> = rules.iter().map(|rule| json(rule)).collect();
                format!("[\"fromJSON\",[{}]]", rules.join(","))
            }
            Step::Json(text) => format!("[\"fromJSON\",{}]", json(text)),
            Step::Clear => "[\"clear\"]".to_string(),
            Step::Check(ip, family) => format!("[\"check\",{},\"{family}\"]", json(ip)),
        }
    }
}

/// Addresses that lie near each other, so that rules match.
struct Near(Chance);

impl Near {
    fn family(&mut self) -> Family {
        match self.0.below(5) {
            0..3 => Family::V4,
            _ => Family::V6,
        }
    }

    fn ip(&mut self, family: Family) -> String {
        let (a, b) = (self.0.below(4), self.0.below(6));
        // Now and then of the other family, or no address.
        match self.0.below(40) {
            0 => return self.0.v4().replace('\0', ""),
            1 => return self.0.v6().replace('\0', ""),
            _ => {}
        }
        let c = self.0.below(0x100);
        match (family, self.0.below(5)) {
            (Family::V4, 0) => format!("{c}.{b}.{a}.1"),
            (Family::V4, _) => format!("10.{a}.0.{b}"),
            (Family::V6, 0) => format!("::{c:x}:{b}:{a}"),
            (Family::V6, 1) => format!("fe80::{a}:{b}%lo"),
            (Family::V6, 2) => format!("::10.{a}.0.{b}"),
            (Family::V6, _) => format!("::ffff:10.{a}.0.{b}"),
        }
    }

    fn prefix(&mut self, family: Family) -> u8 {
        let (most, usual): (usize, &[u8]) = match family {
            Family::V4 => (40, &[0, 8, 16, 24, 31, 32]),
            Family::V6 => (140, &[0, 8, 64, 96, 104, 112, 120, 127, 128]),
        };
        match self.0.below(3) {
            0 => self.0.below(most) as u8,
            _ => usual[self.0.below(usual.len())],
        }
    }

    fn rule(&mut self) -> String {
        let family = self.family();
        let name = match family {
            Family::V4 => "IPv4",
            Family::V6 => self.0.of(&["IPv6", "IPv6", "ipv6"]),
        };
        let mut rule = match self.0.below(3) {
            0 => format!("Address: {name} {}", self.ip(family)),
            1 => format!("Range: {name} {}-{}", self.ip(family), self.ip(family)),
            _ => format!("Subnet: {name} {}/{}", self.ip(family), self.prefix(family)),
        };
        if self.0.one_in(6) {
            rule = self.0.spoilt(rule).replace('\0', "");
        }
        if self.0.one_in(20) {
            rule = rule.to_uppercase() + self.0.of(&["IPv6", "IPv4", ""]);
        }
        rule
    }

    fn step(&mut self) -> Step {
        let family = self.family();
        match self.0.below(40) {
            0..6 => Step::Address("addAddress", self.ip(family), family),
            6..11 => Step::Range("addRange", self.ip(family), self.ip(family), family),
            11..16 => Step::Subnet("addSubnet", self.ip(family), self.prefix(family), family),
            16 => Step::Address("removeAddress", self.ip(family), family),
            17 => Step::Range("removeRange", self.ip(family), self.ip(family), family),
            18 => Step::Subnet("removeSubnet", self.ip(family), self.prefix(family), family),
            19..21 => {
                let odd = ["", "-1", "08", " 8", "+8", "8/9", "x", "300", "99999999999"];
                let prefix = match self.0.one_in(4) {
                    true => self.0.of(&odd).to_string(),
                    false => self.prefix(family).to_string(),
                };
                let verb = self.0.of(&["addCIDR", "addCIDR", "removeCIDR"]);
                Step::Cidr(verb, format!("{}/{prefix}", self.ip(family)))
            }
            21..23 => Step::Rules((0..3).map(|_| self.rule()).collect()),
            23 => {
                let rules: Vec<_> = (0..2).map(|_| json(&self.rule())).collect();
                Step::Json(format!("[ {} ]", rules.join(" ,\n")))
            }
            24 if self.0.one_in(4) => Step::Clear,
            _ => Step::Check(self.ip(family), family),
        }
    }
}

#[test]
fn n300_n301_n302_n303_block_lists_do_what_nodes_do() {
    // N300, N301, N302, N303
    let (chance, seed) = Chance::seeded();
    let mut near = Near(chance);
    let (mut inputs, mut ours) = (Vec::new(), Vec::new());
    let (mut hits, mut checks) = (0, 0);
    for _ in 0..INPUTS {
        let steps: Vec<_> = (0..16).map(|_| near.step()).collect();
        let list = BlockList::new();
        let mut said: Vec<_> = steps.iter().map(|step| step.act(&list)).collect();
        hits += said.iter().filter(|said| *said == "true").count();
        checks += steps
            .iter()
            .filter(|step| matches!(step, Step::Check(..)))
            .count();
        let rules = list.rules();
        let (mut addresses, others): (Vec<_>, Vec<_>) = rules
            .iter()
            .cloned()
            .partition(|rule| rule.starts_with("Address"));
        addresses.sort();
        said.extend(addresses);
        said.extend(others);
        said.push(list.len().to_string());
        let copy = BlockList::new();
        copy.from_json(&list.to_json()).unwrap();
        said.push((copy.len() == list.len()).to_string());
        ours.push(json(&said.join("; ")));
        let steps: Vec<_> = steps.iter().map(Step::to_json).collect();
        inputs.push(format!("[{}]", steps.join(",")));
    }
    assert!(
        hits > checks / 10 && hits < checks * 9 / 10,
        "{hits} of {checks} checks matched"
    );
    if let Some(node) = node_says("lists", &inputs) {
        let node: Vec<_> = node.iter().map(|answer| json(&unquoted(answer))).collect();
        expect_no_difference(&inputs, &ours, &node, seed);
    }
}
