//! Looking up names: Node's `dns.lookup`.
//!
//! A worker thread asks the system's resolver. Look-ups get at most half of the loop's [worker
//! threads](crate::Builder::worker_threads), so that other work continues while a name server is
//! silent.
//!
//! ```
//! use nodeloop::{dns, Loop};
//!
//! # fn main() -> nodeloop::Result<()> {
//! let lp = Loop::new()?;
//! dns::lookup(&lp, "localhost", |_, found| match found {
//!     Ok(addresses) => println!("{addresses:?}"),
//!     Err(error) => eprintln!("{error}"),
//! })?;
//! lp.run()
//! # }
//! ```
//!
//! Sockets and servers look their host names up by themselves: see
//! [`ConnectOptions`](crate::net::ConnectOptions).

use std::net::IpAddr;
use std::panic::Location;

use crate::event_loop::api::AsLoop;
use crate::event_loop::handle::{Job, LoopHandle};
pub use crate::event_loop::look_up::LookupAnswer;
use crate::event_loop::look_up::{Answer, Answered};
use crate::event_loop::task::Task;
use crate::ground::addresses::parse_literal;
use crate::ground::error::{Error, Result};
use crate::ground::look_up::Query;
pub use crate::ground::look_up::{Hints, LookupOptions, Order};

/// Looks a name up, for addresses of both families: Node's `dns.lookup` with `all`. See
/// [`lookup_with`].
///
/// # Errors
/// As [`lookup_with`].
#[track_caller]
pub fn lookup(
    lp: &impl AsLoop,
    hostname: &str,
    done: impl FnOnce(LoopHandle, Result<Vec<IpAddr>>) + 'static,
) -> Result<Job> {
    lookup_with(lp, hostname, LookupOptions::new(), done)
}

/// Looks a name up: Node's `dns.lookup` with options and `all`.
///
/// `done` gets the addresses (at least one, without duplicates) or the error, in the poll phase;
/// for an IP address, or a text that can't be a name, on the next tick. The loop is kept alive
/// until then. The returned job can be [cancelled](Job::cancel) until a worker has begun it.
///
/// `done` gets an error with the system call `getaddrinfo` and the host name:
/// - `ENOTFOUND`: there is no such name, or it has no such addresses.
/// - `EAI_AGAIN`: the name server has not answered, or can't for now. Without the feature
///   `dns-lookup` this can't be told from `ENOTFOUND`.
/// - `EINVAL`: it is too long to be a name.
/// - other errors of the system's resolver, such as `EAI_FAIL`; `ECANCELED` after `cancel`.
///
/// Give a name that is not ASCII in its ASCII form (`xn--…`).
///
/// # Errors
/// - `ERR_INVALID_ARG_VALUE` if the name is empty, or has a NUL in it.
/// - `ERR_HANDLE_GONE` if the loop is gone.
#[track_caller]
pub fn lookup_with(
    lp: &impl AsLoop,
    hostname: &str,
    options: impl Into<LookupOptions>,
    done: impl FnOnce(LoopHandle, Result<Vec<IpAddr>>) + 'static,
) -> Result<Job> {
    let origin = Location::caller();
    let lp = lp.event_loop();
    let options = options.into();
    if hostname.contains('\0') {
        return Err(Error::host_with_nul(hostname));
    }
    if hostname.is_empty() {
        return Err(Error::library(
            "ERR_INVALID_ARG_VALUE",
            "The argument 'hostname' must be a non-empty string. Received ''",
        ));
    }
    let answered: Answered = Box::new(move |lp, answer| done(lp, addresses_of(answer)));
    // Left here, and dropped behind the borrow, if the loop is gone.
    let mut answered = Some(answered);
    let begun = lp.with(|state| {
        let answered = answered.take()?;
        if let Some((ip, _)) = parse_literal(hostname) {
            let call = move |lp| answered(lp, Ok(vec![(ip, 0)]));
            state.ticks.push(Task::User(Box::new(call), origin));
            return None;
        }
        let query = Query {
            host: hostname.to_string(),
            options,
        };
        match state.start_look_up(query, answered, origin) {
            Ok(job) => Some(job),
            Err((error, answered)) => {
                let call = move |lp| answered(lp, Err(error));
                state.ticks.push(Task::User(Box::new(call), origin));
                None
            }
        }
    });
    match begun {
        Some(job) => Ok(Job(lp.raw(job))),
        None => Err(Error::handle_gone()),
    }
}

fn addresses_of(answer: Answer) -> Result<Vec<IpAddr>> {
    answer.map(|found| found.into_iter().map(|(ip, _)| ip).collect())
}
