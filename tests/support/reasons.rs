//! Why a loop is alive, checked against whether it is.

use std::net::SocketAddr;

use nodeloop::{AsLoop, Reason};

/// What is told, after a check that it agrees with `is_alive`.
#[track_caller]
pub fn why(lp: &impl AsLoop) -> Vec<Reason> {
    let lp = lp.event_loop();
    let why = lp.why_alive();
    assert_eq!(why.is_empty(), !lp.is_alive(), "{why}");
    why.reasons
}

/// The address of a server that listens at any port.
pub fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
