//! Standard input, output and error output as streams: Node's `process.stdin`, `stdout` and `stderr`.
//!
//! ```no_run
//! use nodeloop::{stdio, Loop};
//!
//! # fn main() -> nodeloop::Result<()> {
//! let lp = Loop::new()?;
//! let (stdin, stdout) = (stdio::stdin(&lp), stdio::stdout(&lp));
//! stdin.on_data(move |_, chunk| {
//!     stdout.write(chunk.to_ascii_uppercase());
//! });
//! lp.run()
//! # }
//! ```
//!
//! For lines of standard input see [`readline`](crate::readline).
//!
//! # What they are connected to
//!
//! Standard input may be a terminal, a file, a pipe, a socket, `/dev/null`. A separate thread reads
//! all of them: a file can't be polled, and making a terminal or a pipe non-blocking would affect
//! the shell that shares it. The thread reads only when the stream wants bytes; what it has read
//! for a stream that was destroyed goes to the next one of the process. It reads through the
//! standard library's `Stdin`, and shares its buffer.
//!
//! Standard input keeps the loop alive while it is read, but not while it is paused, after its end,
//! or once it is [unreferenced](Stdin::unref). A file ends without 'close', as in Node. A terminal
//! that is closed has ended. The descriptor stays open until the process ends.
//!
//! When `write` to standard output or error output returns, the system has the data, whatever they
//! are connected to, so it is safe to exit then. (Node does so where it can: with files, with
//! terminals, and with pipes outside of Windows.)
//!
//! After the reader has gone (`program | head -1`) a write is an 'error' with EPIPE, which ends
//! `run` unless it has a listener. (`println!` panics there.)

mod input;
mod kind;
mod output;
mod reader;

use std::cell::RefCell;
use std::thread::LocalKey;

use crate::event_loop::handle::LoopHandle;

pub use input::{Stdin, stdin};
pub use kind::StdioKind;
pub use output::{Output, stderr, stdout};

/// What there is one of for each loop of a thread. While the thread dies it may be forgotten already.
struct OnePerLoop<T>(RefCell<Vec<(LoopHandle, T)>>);

impl<T: Copy> OnePerLoop<T> {
    const fn new() -> OnePerLoop<T> {
        OnePerLoop(RefCell::new(Vec::new()))
    }

    /// A loop's, if it was made already.
    fn get(all: &'static LocalKey<OnePerLoop<T>>, lp: LoopHandle) -> Option<T> {
        let find = |all: &OnePerLoop<T>| {
            let known = all.0.borrow();
            let found = known.iter().find(|(of, _)| *of == lp);
            found.map(|(_, it)| *it)
        };
        all.try_with(find).ok().flatten()
    }

    /// Remembers a loop's, and forgets those of loops that are gone.
    fn put(all: &'static LocalKey<OnePerLoop<T>>, lp: LoopHandle, it: T) -> T {
        let _ = all.try_with(|all| {
            let mut known = all.0.borrow_mut();
            known.retain(|(of, _)| of.with(|_| ()).is_some());
            known.push((lp, it));
        });
        it
    }
}
