//! The loop: its turn, its phases, the slab and dispatch.
//!
//! To read it, begin with [`turn`] and its [`waiting`]; then [`dispatch`], from readiness to
//! listeners; then [`core`](mod@self::core), through which most user code is called, and
//! [`task`]. [`readable`] and [`writable`] are the two sides of a socket, [`connect`] and [`ending`] its
//! beginning and its end. [`datagram`] is where UDP sockets begin.

pub(crate) mod accept;
pub(crate) mod api;
pub(crate) mod attempts;
pub(crate) mod builder;
pub(crate) mod channels;
pub(crate) mod connect;
pub(crate) mod connect_request;
pub(crate) mod connected;
pub(crate) mod core;
pub(crate) mod datagram;
pub(crate) mod datagram_connect;
pub(crate) mod datagram_entry;
pub(crate) mod datagram_names;
mod datagram_options;
pub(crate) mod datagram_receive;
pub(crate) mod datagram_send;
mod datagram_staged;
pub(crate) mod deadlines;
#[cfg(unix)]
mod descriptors;
pub(crate) mod dispatch;
pub(crate) mod diversion;
pub(crate) mod ending;
pub(crate) mod entry;
pub(crate) mod extension;
pub(crate) mod flags;
pub(crate) mod flush;
mod following;
mod gathering;
pub(crate) mod handle;
pub(crate) mod immediates;
pub(crate) mod info;
pub(crate) mod jobs;
pub(crate) mod look_up;
pub(crate) mod mailbox;
pub(crate) mod memory;
pub(crate) mod outbox;
pub(crate) mod own_buffer;
mod packed;
#[cfg(unix)]
pub(crate) mod paths;
pub(crate) mod pulling;
mod readable;
pub(crate) mod remote;
pub(crate) mod server;
pub(crate) mod socket;
pub(crate) mod sockopt;
pub(crate) mod state;
mod stream;
pub(crate) mod table;
pub(crate) mod task;
pub(crate) mod text;
pub(crate) mod timers;
pub(crate) mod trace;
pub(crate) mod turn;
pub(crate) mod uncaught;
pub(crate) mod waiting;
pub(crate) mod watchers;
pub(crate) mod why;
pub(crate) mod writable;
