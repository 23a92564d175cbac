//! The vocabulary of streams of a program's own.

/// The verbs.
pub const VERBS: &[&str] = &[
    "write DATA then=CALLBACK",
    "end DATA? then=CALLBACK",
    "push DATA",
    "push_end",
    "answer TEXT?",
    "pipe OBJECT end=OFF",
    "unpipe OBJECT?",
    "read NUMBER?",
    "read_all",
    "unshift DATA",
    "pause",
    "resume",
    "cork",
    "uncork",
    "destroy TEXT?",
    "keep",
    "release",
    "on EVENT as=LABEL",
    "once EVENT as=LABEL",
    "off LABEL",
];

/// The events.
pub const EVENTS: &[&str] = &[
    "data", "readable", "end", "pause", "resume", "drain", "finish", "error", "close", "pipe",
    "unpipe", "takes",
];

/// The properties that `probe` reads.
pub const PROPERTIES: &[&str] = &[
    "destroyed",
    "closed",
    "readable",
    "writable",
    "readable_length",
    "writable_length",
    "need_drain",
    "readable_ended",
    "writable_ended",
    "writable_finished",
    "errored",
    "paused",
    "flowing",
    "corked",
];
