//! How fast, compared with what, on this machine: this crate's servers beside hand-written ones,
//! tokio, libuv and Node. See `benches/README.md`.
//!
//! ```text
//! cargo bench --bench suite                    # everything
//! cargo bench --bench suite -- --smoke         # a short run that proves that it works
//! cargo bench --bench suite -- --list          # what there is
//! cargo bench --bench suite -- --only churn --peer nodeloop --peer hand-written
//! cargo bench --bench suite -- --against-itself --only echo   # how much is noise
//! ```

#[cfg(target_os = "linux")]
mod arguments;
#[cfg(target_os = "linux")]
mod build;
#[cfg(target_os = "linux")]
mod guard;
#[cfg(target_os = "linux")]
mod idle;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod micro;
#[cfg(target_os = "linux")]
mod outcome;
#[cfg(target_os = "linux")]
mod peers;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod rounds;
#[cfg(target_os = "linux")]
mod server;
#[cfg(target_os = "linux")]
mod statistics;
#[cfg(target_os = "linux")]
mod suite;
#[cfg(target_os = "linux")]
mod workload;
#[cfg(target_os = "linux")]
mod workloads;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    suite::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the suite reads clocks and memory of other processes as Linux tells them: not here");
}
