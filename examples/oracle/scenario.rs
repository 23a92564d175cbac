//! Reads scenario files. `tests/oracle/README.md` describes them.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::outside::{DESCRIPTORS, OUTSIDE, has_other_end, over_unix, over_unix_instead};
use super::vocabulary::{EVENTS, Kind, PROPERTIES, of_kind, signature};
use super::words::{Word, split};

/// How long a scenario may run unless it says otherwise.
const DEADLINE: Duration = Duration::from_secs(10);

/// One scenario.
#[derive(Debug)]
pub struct Scenario {
    /// Where it was read from.
    pub file: PathBuf,
    /// What it shows, in a sentence.
    pub title: String,
    /// The rules that it pins.
    pub rules: Vec<String>,
    /// Whether the order across objects counts too.
    pub global_order: bool,
    /// Which 'data' events are one line.
    pub merge: Merge,
    /// How the process is expected to end.
    pub exits: String,
    /// Why ours is meant to differ from Node.
    pub differs: Option<String>,
    /// Why ours is another where small writes are gathered.
    pub gathering: Option<String>,
    /// Why it is not run.
    pub skip: Option<String>,
    /// What the machine has to have: `ipv6`, `linux`; or the crate: `full-udp`.
    pub needs: Vec<String>,
    /// Why it is not played over Unix sockets.
    pub tcp: Option<String>,
    /// What kind of descriptor it is given, if one.
    pub descriptor: Option<String>,
    /// After this it is killed.
    pub deadline: Duration,
    /// What is done on events; the start is the event `start` of the loop.
    pub handlers: Vec<Handler>,
    /// The kind of every name, sockets excepted.
    pub names: HashMap<String, Kind>,
}

/// Which 'data' events of one listener make one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// None: each chunk shows.
    Never,
    /// Those that follow one another.
    Consecutive,
    /// All: the line stands where the first one was.
    All,
}

/// What is done when something happens.
#[derive(Debug)]
pub struct Handler {
    /// Whose event; `s*` is every socket of server `s`.
    pub object: String,
    /// Which event, with the listener's label in brackets if it is not the usual one.
    pub event: String,
    /// At which occurrence.
    pub when: When,
    /// What to do.
    pub actions: Vec<Action>,
}

/// At which occurrence of an event something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At each.
    Always,
    /// At the n-th, counted from 1.
    Nth(u64),
    /// At the 'data' with which so many bytes have come.
    Bytes(u64),
}

/// One line of a handler.
#[derive(Debug)]
pub struct Action {
    /// The line it is on.
    pub line: usize,
    /// The kind of its object.
    pub kind: Kind,
    /// Its object; empty for the loop, `it` for what the event is about.
    pub object: String,
    /// What to do.
    pub verb: String,
    /// Its words.
    pub words: Vec<String>,
    /// Its options; a flag is an option without a value.
    pub options: HashMap<String, String>,
}

/// What is wrong with a scenario file, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 is the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

impl Scenario {
    /// Reads a file.
    pub fn load(file: &Path) -> Result<Scenario, Fault> {
        let text = std::fs::read_to_string(file).map_err(|error| Fault {
            file: file.to_path_buf(),
            line: 0,
            what: error.to_string(),
        })?;
        Scenario::parse(file, &text)
    }

    /// Reads a text.
    pub fn parse(file: &Path, text: &str) -> Result<Scenario, Fault> {
        let mut scenario = Scenario {
            file: file.to_path_buf(),
            title: String::new(),
            rules: Vec::new(),
            global_order: false,
            merge: Merge::Consecutive,
            exits: "itself".into(),
            differs: None,
            gathering: None,
            skip: None,
            needs: Vec::new(),
            tcp: None,
            descriptor: None,
            deadline: DEADLINE,
            handlers: Vec::new(),
            names: HashMap::new(),
        };
        let at = |line| {
            move |what: String| Fault {
                file: file.to_path_buf(),
                line,
                what,
            }
        };
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let mut words = split(line).map_err(at(index + 1))?;
            if over_unix() {
                for word in words.iter_mut().filter(|word| !word.quoted) {
                    if let Some(text) = over_unix_instead(&word.text) {
                        word.text = text;
                    }
                }
            }
            if !words.is_empty() {
                lines.push((index + 1, line.starts_with(char::is_whitespace), words));
            }
        }
        for (line, _, words) in &lines {
            scenario.declare(words).map_err(at(*line))?;
        }
        for (line, indented, words) in &lines {
            let done = match indented {
                true => scenario.action(*line, words),
                false => scenario.heading(words),
            };
            done.map_err(at(*line))?;
        }
        scenario.check().map_err(at(0))?;
        Ok(scenario)
    }

    /// Why it can't be run on this machine, or is not to be run at all.
    pub fn why_not(&self) -> Option<String> {
        let missing = |need: &&String| match need.as_str() {
            "ipv6" => TcpListener::bind("[::1]:0").is_err(),
            "full-udp" => !cfg!(feature = "full-udp"),
            _ => !cfg!(target_os = "linux"),
        };
        if over_unix() && (self.tcp.is_some() || self.differs.is_some()) {
            return self.tcp.clone().or_else(|| self.differs.clone());
        }
        if let Some(verb) = self.about_tcp().filter(|_| over_unix()) {
            return Some(format!("there is no {verb} over Unix sockets"));
        }
        let missing = self.needs.iter().find(missing);
        let missing = missing.map(|need| format!("it needs {need}, which is not here"));
        self.skip.clone().or(missing)
    }

    /// What it says that only TCP has, if it does.
    fn about_tcp(&self) -> Option<String> {
        let actions = self.handlers.iter().flat_map(|handler| &handler.actions);
        for action in actions {
            let said = action
                .options
                .iter()
                .find(|(key, value)| match key.as_str() {
                    "host" => value.as_str() != "127.0.0.1",
                    key => [
                        "port",
                        "local_address",
                        "local_port",
                        "ipv6_only",
                        "reuse_port",
                    ]
                    .contains(&key),
                });
            if let Some((key, _)) = said {
                return Some(key.clone());
            }
            if ["urgent", "reset", "reset_and_destroy"].contains(&action.verb.as_str()) {
                return Some(action.verb.clone());
            }
            let target = action.words.first().filter(|_| action.verb == "connect");
            if target.is_some_and(|target| target.parse::<u16>().is_ok()) {
                return Some("port".into());
            }
        }
        None
    }

    /// Its name: the path below the directory of scenarios, without the ending.
    pub fn name(&self) -> String {
        let path = self.file.with_extension("");
        let text = path.to_string_lossy().replace('\\', "/");
        match text.rsplit_once("scenarios/") {
            Some((_, name)) => name.to_string(),
            None => text,
        }
    }

    /// Notes the names that a line gives, so that their use may come first in the file.
    fn declare(&mut self, words: &[Word]) -> Result<(), String> {
        for word in words {
            if let Some(name) = word.text.strip_prefix("then=") {
                self.name_new(name, Kind::Callback)?;
            }
        }
        let kind = match words[0].text.as_str() {
            "server" => Kind::Server,
            "client" | "adopt" => Kind::Socket,
            "udp" => Kind::Udp,
            "source" | "sink" | "transform" => Kind::Stream,
            "read_file" | "write_file" => Kind::File,
            "timeout" | "interval" => Kind::Timer,
            "immediate" => Kind::Immediate,
            "tick" => Kind::Tick,
            "peer" => Kind::Peer,
            _ => return Ok(()),
        };
        match words.get(1) {
            Some(name) => self.name_new(&name.text, kind),
            None => Err(format!("{} wants a name", kind.name())),
        }
    }

    fn name_new(&mut self, name: &str, kind: Kind) -> Result<(), String> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(is_word) {
            return Err(format!("`{name}` is no name: letters, digits and _"));
        }
        if ["it", "start", "process", "note"].contains(&name) {
            return Err(format!("`{name}` has a meaning of its own"));
        }
        if kind == Kind::Server && name.ends_with(|c: char| c.is_ascii_digit()) {
            let why = "its sockets are called by its name and a number";
            return Err(format!("a server's name ends in no digit ({name}): {why}"));
        }
        match self.names.insert(name.into(), kind) {
            Some(other) if other != kind => Err(format!(
                "`{name}` is a {} and a {}",
                other.name(),
                kind.name()
            )),
            _ => Ok(()),
        }
    }

    /// A line at the margin: `key = value`, `start`, `on …`, or `peer NAME`.
    fn heading(&mut self, words: &[Word]) -> Result<(), String> {
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        match texts.as_slice() {
            ["start"] => {
                self.handlers.push(Handler {
                    object: "start".into(),
                    event: "start".into(),
                    when: When::Always,
                    actions: Vec::new(),
                });
                Ok(())
            }
            ["on", trigger, when @ ..] => self.trigger(trigger, when),
            ["peer", _] => Ok(()),
            [key, "=", value @ ..] => self.setting(key, &value.join(" ")),
            [first, ..] => Err(format!(
                "`{first}` at the margin: expected `key = value`, `peer NAME`, `start` or `on …` \
                 (what is done is indented)"
            )),
            [] => Ok(()),
        }
    }

    fn setting(&mut self, key: &str, value: &str) -> Result<(), String> {
        match (key, value) {
            (_, "") => return Err(format!("{key} has no value")),
            ("title", _) => self.title = value.into(),
            ("rules", _) => {
                for rule in value.split_whitespace() {
                    let number = rule.trim_start_matches(|c: char| c.is_ascii_uppercase());
                    if number.len() == rule.len() || number.parse::<u32>().is_err() {
                        return Err(format!("`{rule}` is no rule such as N22"));
                    }
                    self.rules.push(rule.into());
                }
            }
            ("order", "global") => self.global_order = true,
            ("order", "object") => self.global_order = false,
            ("merge", "on") => self.merge = Merge::Consecutive,
            ("merge", "off") => self.merge = Merge::Never,
            ("merge", "all") => self.merge = Merge::All,
            ("exits", "itself" | "stopped" | "error") => self.exits = value.into(),
            ("differs", _) => self.differs = Some(value.into()),
            ("gathering", _) => self.gathering = Some(value.into()),
            ("skip", _) => self.skip = Some(value.into()),
            ("tcp", _) => self.tcp = Some(value.into()),
            ("needs", _) => {
                for need in value.split_whitespace() {
                    if !["ipv6", "linux", "full-udp"].contains(&need) {
                        return Err(format!("needs can't be `{need}`"));
                    }
                    self.needs.push(need.into());
                }
            }
            ("descriptor", _) if DESCRIPTORS.contains(&value) => {
                self.descriptor = Some(value.into());
                if has_other_end(value) {
                    self.name_new(OUTSIDE, Kind::Peer)?;
                }
            }
            ("deadline", _) => {
                let millis = value.parse();
                let millis = millis.map_err(|_| "deadline is a number of milliseconds")?;
                self.deadline = Duration::from_millis(millis);
            }
            ("order" | "merge" | "exits" | "descriptor", _) => {
                return Err(format!("{key} can't be `{value}`"));
            }
            _ => return Err(format!("no such key: {key}")),
        }
        Ok(())
    }

    /// `on OBJECT:EVENT`, `#N` or `>=BYTES` behind it.
    fn trigger(&mut self, trigger: &str, when: &[&str]) -> Result<(), String> {
        let Some((object, event)) = trigger.split_once(':') else {
            return Err(format!("`{trigger}`: expected OBJECT:EVENT"));
        };
        let kind = match object.strip_suffix('*') {
            Some(server) => match self.names.get(server) {
                Some(Kind::Server) => Kind::Socket,
                _ => return Err(format!("no such server: {server}")),
            },
            None => self.kind_of(object)?,
        };
        let name = event.split('[').next().unwrap_or(event);
        if !of_kind(EVENTS, kind).contains(&name) {
            return Err(format!("a {} has no event `{name}`", kind.name()));
        }
        let number = |text: &str| {
            let number = text.parse::<u64>().ok().filter(|number| *number > 0);
            number.ok_or_else(|| format!("`{text}` is no number above 0"))
        };
        let when = match when {
            [] => When::Always,
            [nth] if nth.starts_with('#') => When::Nth(number(&nth[1..])?),
            [bytes] if bytes.starts_with(">=") && name == "data" => {
                When::Bytes(number(&bytes[2..])?)
            }
            [other, ..] => return Err(format!("`{other}`: expected #N, or >=BYTES for data")),
        };
        self.handlers.push(Handler {
            object: object.into(),
            event: event.into(),
            when,
            actions: Vec::new(),
        });
        Ok(())
    }

    /// What kind of object a name is.
    pub fn kind_of(&self, name: &str) -> Result<Kind, String> {
        if name == "process" {
            return Ok(Kind::Process);
        }
        if let Some(kind) = self.names.get(name) {
            return Ok(*kind);
        }
        let server = name.trim_end_matches(|c: char| c.is_ascii_digit());
        match self.names.get(server) {
            Some(Kind::Server) if server != name => Ok(Kind::Socket),
            _ => Err(format!("nothing here is called `{name}`")),
        }
    }

    /// What `it` is in the handler that is being read.
    fn kind_of_it(&self) -> Result<Kind, String> {
        let handler = self.handlers.last().ok_or("no `it` here")?;
        if handler.object.ends_with('*') || handler.event.starts_with("connection") {
            return Ok(Kind::Socket);
        }
        self.kind_of(&handler.object)
            .map_err(|_| "there is no `it` at the start".to_string())
    }

    /// An indented line: `verb …` or `object.verb …`.
    fn action(&mut self, line: usize, words: &[Word]) -> Result<(), String> {
        let first = &words[0].text;
        let (object, verb) = first.split_once('.').unwrap_or(("", first));
        let kind = match object {
            "" => Kind::Loop,
            "it" => self.kind_of_it()?,
            name => self.kind_of(name)?,
        };
        let Some(signature) = signature(kind, verb) else {
            return Err(match kind {
                Kind::Loop => format!("no such verb: {verb}"),
                kind => format!("a {} has no verb `{verb}`", kind.name()),
            });
        };
        let mut action = Action {
            line,
            kind,
            object: object.into(),
            verb: verb.into(),
            words: Vec::new(),
            options: HashMap::new(),
        };
        self.fill(&mut action, signature, &words[1..])?;
        let handler = self.handlers.last_mut();
        let handler = handler.ok_or("an action before `start` or `on`")?;
        handler.actions.push(action);
        Ok(())
    }

    /// Sorts the words behind a verb into positions and options, as its signature says.
    fn fill(&self, action: &mut Action, signature: &str, words: &[Word]) -> Result<(), String> {
        let parts: Vec<&str> = signature.split(' ').skip(1).collect();
        let positions: Vec<&str> = parts
            .iter()
            .filter(|part| !part.contains('=') && part.starts_with(|c: char| c.is_uppercase()))
            .copied()
            .collect();
        for word in words {
            let option = match word.quoted {
                true => None,
                false => word.text.split_once('='),
            };
            if let Some((key, value)) = option {
                let form = parts.iter().find_map(|part| {
                    let (name, form) = part.split_once('=')?;
                    (name == key).then_some(form)
                });
                let form = form.ok_or_else(|| format!("`{}` has no option {key}", action.verb))?;
                let plain = Word {
                    text: value.into(),
                    quoted: false,
                };
                self.check_word(action, form, &plain)?;
                action.options.insert(key.into(), value.into());
            } else if !word.quoted && parts.contains(&word.text.as_str()) {
                action.options.insert(word.text.clone(), String::new());
            } else {
                let index = action.words.len();
                let form = positions
                    .get(index)
                    .or_else(|| positions.last().filter(|form| form.ends_with('*')));
                let form = form.ok_or_else(|| format!("`{}` is one word too many", word.text))?;
                self.check_word(action, form.trim_end_matches(['?', '*']), word)?;
                action.words.push(word.text.clone());
            }
        }
        match positions.get(action.words.len()) {
            Some(form) if !form.ends_with(['?', '*']) => {
                Err(format!("`{}` wants a {form}", action.verb))
            }
            _ => Ok(()),
        }
    }

    /// Whether a word has the form that its place asks for.
    fn check_word(&self, action: &Action, form: &str, word: &Word) -> Result<(), String> {
        let text = &word.text;
        let of_kind_or = |wanted: Kind| match self.kind_of(text) {
            Ok(kind) if kind == wanted => Ok(()),
            Ok(kind) => Err(format!("`{text}` is a {}", kind.name())),
            Err(what) => Err(what),
        };
        match form {
            "TEXT" if !word.quoted => Err(format!("`{text}`: expected a \"text\"")),
            "DATA" if !word.quoted && text.starts_with("hex:") => {
                let digits = &text["hex:".len()..];
                match digits.len().is_multiple_of(2)
                    && digits.bytes().all(|it| it.is_ascii_hexdigit())
                {
                    true => Ok(()),
                    false => Err(format!("`{text}`: expected hex: and pairs of digits")),
                }
            }
            "FLAGS" => text
                .parse::<nodeloop::fs::Flags>()
                .map(drop)
                .map_err(|error| error.to_string()),
            "ENCODING" => text
                .parse::<nodeloop::Encoding>()
                .map(drop)
                .map_err(|error| error.to_string()),
            "DATA" if !word.quoted => match text.strip_prefix("bytes:") {
                Some(count) if count.parse::<usize>().is_ok() => Ok(()),
                _ => Err(format!("`{text}`: expected a \"text\" or bytes:COUNT")),
            },
            "NUMBER" if text.parse::<u64>().is_err() => Err(format!("`{text}` is no number")),
            "LIMIT" if text != "none" && text.parse::<u64>().is_err() => {
                Err(format!("`{text}`: a number or `none`"))
            }
            "DELAY" if text.parse::<f64>().is_err() => Err(format!("`{text}` is no delay")),
            "OFF" if text != "off" => Err(format!("`{text}`: only `off` is possible")),
            "PORT" if text.parse::<u16>().is_err() => {
                of_kind_or(Kind::Udp).or_else(|_| of_kind_or(Kind::Server))
            }
            "TARGET" | "DESTINATION" if text.parse::<u16>().is_ok() => Ok(()),
            // Who has sent the last message.
            "DESTINATION" if text == "sender" => Ok(()),
            // What listens, or at least has a port.
            "TARGET" | "LISTENER" | "DESTINATION" => of_kind_or(Kind::Peer)
                .or_else(|_| of_kind_or(Kind::Udp))
                .or_else(|_| of_kind_or(Kind::Server)),
            "ADDRESS" if text.parse::<IpAddr>().is_err() => {
                Err(format!("`{text}` is no IP address"))
            }
            "RULES" => check_rules(text),
            "ANSWER" => check_answer(text),
            "WHEN"
                if !["tick", "immediate"].contains(&text.as_str())
                    && text.parse::<u64>().is_err() =>
            {
                Err(format!("`{text}`: `tick`, `immediate`, or milliseconds"))
            }
            "PEER" => of_kind_or(Kind::Peer),
            "OBJECT" if text == "it" => self.kind_of_it().map(drop),
            "OBJECT" => self.kind_of(text).map(drop),
            "EVENT" if !of_kind(EVENTS, action.kind).contains(&text.as_str()) => {
                Err(format!("a {} has no event `{text}`", action.kind.name()))
            }
            "PROPERTY" => {
                let object = &action.words[0];
                let kind = match object.as_str() {
                    "it" => self.kind_of_it()?,
                    name => self.kind_of(name)?,
                };
                match of_kind(PROPERTIES, kind).contains(&text.as_str()) {
                    true => Ok(()),
                    false => Err(format!("a {} has no property `{text}`", kind.name())),
                }
            }
            _ => Ok(()),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.title.is_empty() {
            return Err("no title".into());
        }
        if !self.handlers.iter().any(|handler| handler.event == "start") {
            return Err("no start".into());
        }
        Ok(())
    }
}

/// What a block list is made of.
fn check_rules(rules: &str) -> Result<(), String> {
    let is_ip = |text: &str| text.parse::<IpAddr>().is_ok();
    let is_rule = |rule: &str| match (rule.split_once('-'), rule.split_once('/')) {
        (Some((start, end)), _) => is_ip(start) && is_ip(end),
        (_, Some((network, bits))) => is_ip(network) && bits.parse::<u8>().is_ok(),
        _ => is_ip(rule),
    };
    match rules.split(',').all(is_rule) {
        true => Ok(()),
        false => Err(format!(
            "`{rules}`: addresses, ranges or subnets are expected"
        )),
    }
}

/// What a look-up function gives.
fn check_answer(answer: &str) -> Result<(), String> {
    let is_word = ["never", "not_found", "own_error"].contains(&answer);
    let are_addresses = answer.split(',').all(|ip| ip.parse::<IpAddr>().is_ok());
    match is_word || are_addresses {
        true => Ok(()),
        false => Err(format!(
            "`{answer}`: addresses, `never`, `not_found` or `own_error`"
        )),
    }
}
