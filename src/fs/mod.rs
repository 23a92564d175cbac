//! Files as streams: Node's `fs.createReadStream` and `fs.createWriteStream`.
//!
//! ```
//! use nodeloop::{fs, Loop};
//!
//! # fn main() -> nodeloop::Result<()> {
//! let lp = Loop::new()?;
//! let file = fs::create_read_stream(&lp, "Cargo.toml");
//! let mut lines = 0;
//! file.on_data(move |_, chunk| {
//!     lines += chunk.iter().filter(|byte| **byte == b'\n').count();
//!     println!("{lines} lines so far");
//! });
//! file.on_error(|_, error| eprintln!("{error}"));
//! lp.run()
//! # }
//! ```
//!
//! A disk is never waited for in the loop: files are opened, read, written and closed by the loop's
//! [worker threads](crate::Builder::worker_threads), one call of a stream at a time. As long as one is
//! under way the loop is alive. A stream that reads ahead holds as many bytes as its mark says; one that
//! is written to tells by `write` when to wait for 'drain'.
//!
//! Other things that Node's `fs` does need no loop: use the standard library, and
//! [`spawn_blocking`](crate::LoopHandle::spawn_blocking) for what takes long.

mod file;
mod options;
mod read;
mod state;
mod unread;
mod write;

pub use options::{DEFAULT_HIGH_WATER_MARK, DEFAULT_MODE, Flags, ReadOptions, WriteOptions};
pub use read::{ReadStream, create_read_stream, create_read_stream_with};
pub use write::{WriteStream, create_write_stream, create_write_stream_with};
