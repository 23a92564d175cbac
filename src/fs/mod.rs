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
//! The loop never waits for a disk: its [worker threads](crate::Builder::worker_threads) open,
//! read, write and close files, one call per stream at a time. While such a call runs the loop is
//! alive. A stream reads ahead no more bytes than its mark; when `write` returns false, wait for
//! 'drain'.
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
