//! The oracle: runs scenarios in Node and here, and compares what happened.
//!
//! `tests/oracle/README.md` describes scenarios and commands. The pieces, top down:
//!
//! - `commands`: what `cargo run --example oracle` does;
//! - `check`: a scenario against its recording, Node made anew, and ours;
//! - `driver`, `peer`, `trace`: one run of one program; `batch`: many runs of one process;
//! - `generate`: scenarios at random;
//! - `ours`: our interpreter; Node's is `tests/oracle/program.cjs`;
//! - `scenario`, `words`, `vocabulary`, `data`, `wire`: the language;
//! - `mutations`: whether the scenarios catch small wrong behaviours;
//! - `tables`, `compared`: the tables that are made from scenarios and tests.
//!
//! `tests/oracle.rs` uses the same modules.

pub mod batch;
pub mod check;
pub mod commands;
pub mod compared;
pub mod data;
pub mod driver;
pub mod generate;
pub mod mutations;
pub mod ours;
pub mod outside;
pub mod peer;
pub mod peer_dgram;
pub mod pinned;
pub mod scenario;
pub mod tables;
pub mod trace;
pub mod vocabulary;
pub mod vocabulary_dgram;
pub mod vocabulary_streams;
pub mod wire;
pub mod words;
