//! Why a loop is alive, checked against whether it is.

use nodeloop::{AsLoop, Reason};

/// What is told, after a check that it agrees with `is_alive`.
#[track_caller]
pub fn why(lp: &impl AsLoop) -> Vec<Reason> {
    let lp = lp.event_loop();
    let why = lp.why_alive();
    assert_eq!(why.is_empty(), !lp.is_alive(), "{why}");
    why.reasons
}
