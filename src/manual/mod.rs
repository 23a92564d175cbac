#![doc = include_str!("manual.md")]

#[doc = include_str!("turn.md")]
pub mod turn {}

#[doc = include_str!("pending.md")]
pub mod pending {}

#[doc = include_str!("idle_prepare.md")]
pub mod idle_prepare {}

#[doc = include_str!("poll.md")]
pub mod poll {}

#[doc = include_str!("check.md")]
pub mod check {}

#[doc = include_str!("closing.md")]
pub mod closing {}

#[doc = include_str!("timers.md")]
pub mod timers {}

#[doc = include_str!("ticks.md")]
pub mod ticks {}

#[doc = include_str!("readiness.md")]
pub mod readiness {}

#[doc = include_str!("half_open.md")]
pub mod half_open {}

#[doc = include_str!("backpressure.md")]
pub mod backpressure {}

#[doc = include_str!("streams.md")]
pub mod streams {}

#[doc = include_str!("liveness.md")]
pub mod liveness {}

#[doc = include_str!("reentrancy.md")]
pub mod reentrancy {}

#[doc = include_str!("gathering.md")]
pub mod gathering {}

#[doc = include_str!("embedding.md")]
pub mod embedding {}

#[doc = include_str!("node.md")]
pub mod node {}

#[doc = include_str!("differences.md")]
#[doc = include_str!("differences_beyond.md")]
#[doc = "# What scenarios show\n\n"]
#[doc = include_str!("differences_shown.md")]
#[doc = "\n*Next: [`tokio`](mod@crate::manual::tokio)*"]
pub mod differences {}

#[doc = include_str!("tokio.md")]
pub mod tokio {}
