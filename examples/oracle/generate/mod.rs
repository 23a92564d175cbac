//! Scenarios at random: each is made from a seed, played by Node three times and by us both ways, and
//! what differs is shrunk.
//!
//! - `maker`: which subjects there are; `timers`, `tcp` with `socket`, `dgram`, `text`: the subjects;
//! - `judge`: what came of a scenario; `known`: what may differ, and why;
//! - `shrink`: the smallest scenario that still differs;
//! - `run`: many of them.

pub mod document;
pub mod judge;
pub mod known;
pub mod maker;
pub mod random;
pub mod run;

mod dgram;
mod shrink;
mod socket;
mod tcp;
mod text;
mod timers;
