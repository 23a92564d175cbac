//! The vocabulary of scenarios: which verbs, events and properties each kind of object has.
//!
//! The parser knows nothing else, so a new module adds its lines here, its verbs to the two
//! interpreters (`ours` and `tests/oracle/program.cjs`), and is done.

use super::vocabulary_dgram as dgram;
use super::vocabulary_streams as streams;

/// What kinds of objects a scenario speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The loop itself: verbs without an object.
    Loop,
    /// A TCP server.
    Server,
    /// A socket: a client, or one that a server accepted (`s1` is the first of server `s`).
    Socket,
    /// A UDP socket.
    Udp,
    /// A stream of the program's own.
    Stream,
    /// A file as a stream.
    File,
    /// A timeout or interval.
    Timer,
    /// An immediate.
    Immediate,
    /// A tick.
    Tick,
    /// A completion named by `then=`.
    Callback,
    /// A raw client outside the loop.
    Peer,
    /// The process: its end, and errors that nobody listens to.
    Process,
}

impl Kind {
    /// Its name in messages and for the Node script.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Loop => "loop",
            Kind::Server => "server",
            Kind::Socket => "socket",
            Kind::Udp => "udp",
            Kind::Stream => "stream",
            Kind::File => "file",
            Kind::Timer => "timer",
            Kind::Immediate => "immediate",
            Kind::Tick => "tick",
            Kind::Callback => "callback",
            Kind::Peer => "peer",
            Kind::Process => "process",
        }
    }
}

/// The verbs of each kind, one signature each: the verb, its words in capitals (`?` may be left
/// out, `*` any number), its options `key=TYPE`, and its flags in small letters.
pub const VERBS: &[(Kind, &[&str])] = &[
    (
        Kind::Loop,
        &[
            "server NAME half_open pause_on_connect no_delay keep_alive=NUMBER mark=NUMBER block=RULES data=OFF drain=OFF errors=OFF",
            "client NAME half_open no_delay mark=NUMBER read_mark=NUMBER write_mark=NUMBER own=NUMBER own_stops own_fresh block=RULES data=OFF drain=OFF errors=OFF",
            "source NAME DATA* mark=NUMBER later open own_destroy errors=OFF",
            "sink NAME mark=NUMBER later hold writev final own_destroy fail=WORD errors=OFF",
            "transform NAME mark=NUMBER later hold upper closes own_destroy flush=WORD fail=WORD errors=OFF",
            "pipeline OBJECT* then=CALLBACK",
            "finished OBJECT readable=OFF writable=OFF then=CALLBACK",
            "lookup HOST family=NUMBER then=CALLBACK",
            "udp NAME ipv6 reuse_addr reuse_port ipv6_only recv_buffer=NUMBER send_buffer=NUMBER receive_block=RULES send_block=RULES messages=OFF errors=OFF",
            "timeout NAME DELAY unref",
            "interval NAME DELAY unref",
            "immediate NAME unref",
            "tick NAME",
            "peer NAME",
            "adopt NAME half_open data=OFF errors=OFF",
            "file PATH DATA?",
            "content PATH",
            "read_file NAME PATH start=NUMBER end=NUMBER mark=NUMBER flags=FLAGS fd=FLAGS keep_open silent_close data=OFF errors=OFF",
            "write_file NAME PATH start=NUMBER mark=NUMBER flags=FLAGS fd=FLAGS flush keep_open silent_close errors=OFF",
            "directory PATH",
            "remove PATH",
            "look PATH",
            "probe OBJECT PROPERTY*",
            "note TEXT",
            "block NUMBER",
            "wait PEER",
            "catch",
            "stop",
        ],
    ),
    (
        Kind::Server,
        &[
            "listen port=TARGET host=HOST path=PATH descriptor readable_all writable_all backlog=NUMBER ipv6_only reuse_port then=CALLBACK",
            "close then=CALLBACK",
            "max_connections LIMIT",
            "block RULES",
            "close_all",
            "ref",
            "unref",
            "keep",
            "release",
            "on EVENT as=LABEL",
            "once EVENT as=LABEL",
            "off LABEL",
        ],
    ),
    (
        Kind::Socket,
        &[
            "cork",
            "uncork",
            "set_encoding ENCODING",
            "set_timeout NUMBER",
            "set_no_delay off",
            "set_keep_alive NUMBER? off",
            "set_type_of_service NUMBER",
            "connect TARGET host=HOST local_address=ADDRESS local_port=PORT lookup=ANSWER answered=WHEN family=NUMBER one attempt_timeout=NUMBER then=CALLBACK",
            "connect_path PATH then=CALLBACK",
            "write DATA then=CALLBACK",
            "end DATA? then=CALLBACK",
            "destroy TEXT?",
            "destroy_soon",
            "reset_and_destroy",
            "pause",
            "resume",
            "pipe OBJECT end=OFF",
            "unpipe OBJECT?",
            "read NUMBER?",
            "read_all",
            "unshift DATA",
            "ref",
            "unref",
            "keep",
            "release",
            "on EVENT as=LABEL",
            "once EVENT as=LABEL",
            "off LABEL",
        ],
    ),
    (Kind::Udp, dgram::VERBS),
    (Kind::Stream, streams::VERBS),
    (
        Kind::File,
        &[
            "write DATA then=CALLBACK",
            "end DATA? then=CALLBACK",
            "pipe OBJECT end=OFF",
            "unpipe OBJECT?",
            "read NUMBER?",
            "destroy TEXT?",
            "close",
            "pause",
            "resume",
            "cork",
            "uncork",
            "keep",
            "release",
            "on EVENT as=LABEL",
            "off LABEL",
        ],
    ),
    (
        Kind::Timer,
        &["clear", "refresh", "ref", "unref", "keep", "release"],
    ),
    (Kind::Immediate, &["clear", "ref", "unref"]),
    (
        Kind::Peer,
        &[
            "connect LISTENER host=HOST rcvbuf=NUMBER",
            "connect_path PATH",
            "bind_path PATH",
            "listen_path PATH backlog=NUMBER",
            "bind host=HOST port=TARGET rcvbuf=NUMBER",
            "listen host=HOST port=TARGET rcvbuf=NUMBER backlog=NUMBER",
            "accept",
            "kill",
            "send DATA",
            "urgent DATA",
            "end",
            "close",
            "reset",
            "read NUMBER NUMBER?",
            "read_all",
            "udp host=HOST deaf rcvbuf=NUMBER",
            "send_to LISTENER DATA* host=HOST times=NUMBER",
            "receive NUMBER",
            "receive_rest",
            "udp_close",
        ],
    ),
];

/// The events of each kind.
pub const EVENTS: &[(Kind, &[&str])] = &[
    (
        Kind::Server,
        &["listening", "connection", "drop", "close", "error"],
    ),
    (
        Kind::Socket,
        &[
            "lookup",
            "connection_attempt",
            "connection_attempt_failed",
            "connection_attempt_timeout",
            "connect",
            "ready",
            "data",
            "text",
            "own",
            "end",
            "drain",
            "finish",
            "timeout",
            "pause",
            "resume",
            "readable",
            "pipe",
            "unpipe",
            "error",
            "close",
        ],
    ),
    (Kind::Udp, dgram::EVENTS),
    (Kind::Stream, streams::EVENTS),
    (
        Kind::File,
        &[
            "open", "ready", "data", "readable", "end", "drain", "finish", "pause", "resume",
            "pipe", "unpipe", "error", "close",
        ],
    ),
    (Kind::Timer, &["fire"]),
    (Kind::Immediate, &["fire"]),
    (Kind::Tick, &["fire"]),
    (Kind::Callback, &["done"]),
    (Kind::Process, &["before_exit", "uncaught"]),
];

/// The properties of each kind that `probe` reads.
pub const PROPERTIES: &[(Kind, &[&str])] = &[
    (
        Kind::Server,
        &[
            "listening",
            "address",
            "path",
            "max_connections",
            "connections",
        ],
    ),
    (
        Kind::Socket,
        &[
            "attempted",
            "timeout",
            "encoding",
            "corked",
            "writable_mark",
            "readable_mark",
            "type_of_service",
            "connecting",
            "pending",
            "ready_state",
            "destroyed",
            "closed",
            "bytes_read",
            "bytes_written",
            "readable",
            "writable",
            "readable_length",
            "writable_length",
            "need_drain",
            "readable_ended",
            "writable_ended",
            "writable_finished",
            "errored",
            "allow_half_open",
            "paused",
            "flowing",
            "local_address",
            "remote_address",
            "server",
        ],
    ),
    (Kind::Udp, dgram::PROPERTIES),
    (Kind::Stream, streams::PROPERTIES),
    (
        Kind::File,
        &[
            "pending",
            "path",
            "bytes_read",
            "bytes_written",
            "readable_length",
            "writable_length",
            "need_drain",
            "flowing",
            "paused",
            "readable",
            "writable",
            "readable_ended",
            "writable_ended",
            "writable_finished",
            "destroyed",
            "closed",
            "errored",
        ],
    ),
    (Kind::Timer, &["has_ref"]),
    (Kind::Immediate, &["has_ref"]),
];

/// What a table has for a kind.
pub fn of_kind(table: &[(Kind, &'static [&'static str])], kind: Kind) -> &'static [&'static str] {
    let entry = table.iter().find(|(other, _)| *other == kind);
    entry.map_or(&[], |(_, values)| values)
}

/// The signature of a verb.
pub fn signature(kind: Kind, verb: &str) -> Option<&'static str> {
    let mut signatures = of_kind(VERBS, kind).iter();
    signatures
        .find(|signature| signature.split(' ').next() == Some(verb))
        .copied()
}
