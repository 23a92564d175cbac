//! The vocabulary of UDP sockets; that of the peers' is with the peers' other verbs.

/// The verbs.
pub const VERBS: &[&str] = &[
    "bind port=PORT host=HOST descriptor then=CALLBACK",
    "bind_sync port=PORT host=HOST",
    "send DATA* pieces=NUMBER to=DESTINATION host=HOST here list text offset=NUMBER length=NUMBER times=NUMBER then=CALLBACK",
    "connect DESTINATION host=HOST here then=CALLBACK",
    "connect_sync DESTINATION host=HOST here",
    "disconnect",
    "close then=CALLBACK",
    "set_broadcast off",
    "set_ttl NUMBER",
    "set_multicast_ttl NUMBER",
    "set_multicast_loopback off",
    "set_multicast_interface TEXT",
    "add_membership TEXT interface=HOST",
    "drop_membership TEXT interface=HOST",
    "add_source_membership TEXT TEXT interface=HOST",
    "drop_source_membership TEXT TEXT interface=HOST",
    "set_recv_buffer NUMBER",
    "set_send_buffer NUMBER",
    "ref",
    "unref",
    "keep",
    "release",
    "on EVENT as=LABEL",
    "once EVENT as=LABEL",
    "off LABEL",
];

/// The events.
pub const EVENTS: &[&str] = &["listening", "message", "connect", "error", "close"];

/// The properties that `probe` reads.
pub const PROPERTIES: &[&str] = &[
    "address",
    "remote_address",
    "queue_size",
    "queue_count",
    "recv_buffer",
    "send_buffer",
    "type",
    "family_of_sender",
];
