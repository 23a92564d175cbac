//! The oracle: what a scenario does here, and what it does in Node.
//!
//! The pattern: a claim of equality is worth what checks it, so both programs are run on the same
//! file and their traces are compared. See `tests/oracle/README.md`.
//!
//! ```text
//! cargo run --release --example oracle -- FILE…            our trace
//! cargo run --release --example oracle -- --compare FILE…  both, and the first difference
//! cargo run --release --example oracle -- --record FILE…   Node's trace anew, beside the file
//! cargo run --release --example oracle -- --tables         the tables in tests/oracle anew
//! ```

#[path = "mod.rs"]
mod oracle;

use std::process::ExitCode;

fn main() -> ExitCode {
    oracle::commands::main()
}
