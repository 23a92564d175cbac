//! How a loop is made: [`Builder`].

use std::time::Duration;

use super::api::Loop;
use super::core::Core;
use super::state::{Settings, State};
use crate::backend::null::{Null, NullOptions};
use crate::backend::os::Os;
use crate::backend::workers::DEFAULT_WORKERS;
use crate::backend::{Backend, Forced};
use crate::ground::error::{Error, Result};
use crate::ground::large_buffer;
use crate::ground::millis::Millis;

/// Node's chunk: 64 KiB. It shows, as the largest chunk of 'data' (N11, N156).
const READ_CHUNK: usize = 64 * 1024;

/// Reads of one socket in one turn, as Node (N11).
const READ_BUDGET: u32 = 32;

/// How long one address of a name may take before the next is tried beside it: Node's since version
/// 25. RFC 8305 has 250 ms.
const ATTEMPT_TIMEOUT_MS: u64 = 500;

/// Makes a [`Loop`] with other settings than the usual ones.
///
/// ```
/// # fn main() -> nodeloop::Result<()> {
/// // Larger chunks for bulk transfer.
/// let lp = nodeloop::Loop::builder().read_chunk(256 * 1024).build()?;
/// # lp.run()
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder makes nothing by itself"]
pub struct Builder {
    settings: Settings,
    forced: Forced,
    workers: usize,
    null: Option<NullOptions>,
}

impl Default for Builder {
    /// As [`Loop::builder`].
    fn default() -> Builder {
        Builder {
            settings: Settings {
                spin: Duration::ZERO,
                read_chunk: READ_CHUNK,
                read_budget: READ_BUDGET,
                auto_select_family: true,
                attempt_timeout_ms: ATTEMPT_TIMEOUT_MS,
                spurious_events: false,
                gather: true,
            },
            forced: Forced::default(),
            workers: DEFAULT_WORKERS,
            null: None,
        }
    }
}

impl Builder {
    /// Whether small writes (below 16 KiB) of one callback are laid aside and sent together when it
    /// returns, before its ticks. On by default: a callback that answers sixteen messages one by
    /// one costs one system call instead of sixteen. What is laid aside counts as written, so
    /// `write` returns true for it; what the kernel then refuses waits, and what fails is reported,
    /// as if it had been written then.
    ///
    /// Datagrams are laid aside likewise, also those that the listeners of 'message' answer to
    /// datagrams that came together.
    ///
    /// `false` gives Node's timing to the letter: every `write` and every datagram is a system call of
    /// its own. A callback that blocks after it has written, or exits the process, wants
    /// [`flush`](crate::net::Socket::flush) instead.
    pub fn gather(mut self, yes: bool) -> Builder {
        self.settings.gather = yes;
        self
    }

    /// How long the loop looks for events again and again before it blocks in a wait. Zero, the
    /// default, blocks at once.
    ///
    /// Falling asleep and being woken is most of the time of a round trip: where one connection
    /// plays ping-pong with another process, some 50 µs of looking make it 1.5 to 2.3 times as fast.
    /// The processor is busy meanwhile, so it is for a loop that has a core to itself. The loop
    /// never looks longer than until its next timer. No counterpart in libuv.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// let lp = nodeloop::Loop::builder()
    ///     .spin_for(Duration::from_micros(50))
    ///     .build()?;
    /// # lp.run()
    /// # }
    /// ```
    pub fn spin_for(mut self, time: Duration) -> Builder {
        self.settings.spin = time;
        self
    }

    /// The size of the read buffer in bytes, and so of the largest chunk of 'data'. 64 KiB, as in
    /// Node; 256 KiB is cheaper for bulk transfer. At least 1.
    pub fn read_chunk(mut self, bytes: usize) -> Builder {
        self.settings.read_chunk = bytes.max(1);
        self
    }

    /// How many reads one socket gets in one turn before others have theirs. 32, as in Node. At
    /// least 1.
    pub fn read_budget(mut self, reads: u32) -> Builder {
        self.settings.read_budget = reads.max(1);
        self
    }

    /// How many worker threads there may be, for [`spawn_blocking`](crate::LoopHandle::spawn_blocking),
    /// [files](crate::fs) and look-ups of names. 4, as in libuv; at least 1, at most 1024. They are
    /// started when there is work for them.
    pub fn worker_threads(mut self, threads: usize) -> Builder {
        self.workers = threads;
        self
    }

    /// Whether all addresses of a name are tried where a socket does not
    /// [say](crate::net::ConnectOptions::auto_select_family). True. Node's
    /// `net.setDefaultAutoSelectFamily`.
    pub fn auto_select_family(mut self, yes: bool) -> Builder {
        self.settings.auto_select_family = yes;
        self
    }

    /// How long one of them may take before the next is tried beside it (milliseconds or a `Duration`),
    /// where a socket does not [say](crate::net::ConnectOptions::auto_select_family_attempt_timeout). 500 ms; at
    /// least 10. Node's `net.setDefaultAutoSelectFamilyAttemptTimeout`.
    pub fn auto_select_family_attempt_timeout(mut self, time: impl Into<Millis>) -> Builder {
        self.settings.attempt_timeout_ms = time.into().get();
        self
    }

    /// For tests: no read takes more than so many bytes from the kernel.
    pub fn limit_reads(mut self, bytes: usize) -> Builder {
        self.forced.read_limit = bytes;
        self
    }

    /// For tests: no write gives more than so many bytes to the kernel.
    pub fn limit_writes(mut self, bytes: usize) -> Builder {
        self.forced.write_limit = bytes;
        self
    }

    /// For tests: of so many sends of datagrams only the last goes through; the others are refused as
    /// if the kernel was full. 0 and 1 refuse none.
    pub fn refuse_sends(mut self, of: u32) -> Builder {
        self.forced.send_refusals = of;
        self
    }

    /// For tests: runs of datagrams are refused, as by a device that cannot cut them.
    pub fn refuse_runs(mut self, yes: bool) -> Builder {
        self.forced.refuse_runs = yes;
        self
    }

    /// For tests: what is piped passes through the program, as on a system that does not splice.
    pub fn refuse_splices(mut self, yes: bool) -> Builder {
        self.forced.refuse_splices = yes;
        self
    }

    /// For tests: after every wait everything looks ready, though it may not be.
    pub fn spurious_events(mut self, yes: bool) -> Builder {
        self.settings.spurious_events = yes;
        self
    }

    /// Puts the loop on the [null backend](crate::null), to measure its own time.
    pub fn null(mut self, options: NullOptions) -> Builder {
        self.null = Some(options);
        self
    }

    /// Makes the loop.
    ///
    /// # Errors
    /// - What making the poller fails with, such as `EMFILE`.
    /// - `ERR_MEMORY_ALLOCATION_FAILED` if there is none for a [`read_chunk`](Builder::read_chunk) of this size.
    /// - `ERR_THREAD_ENDING` in the destructor of a thread-local.
    pub fn build(self) -> Result<Loop> {
        if !large_buffer::is_possible(self.settings.read_chunk) {
            return Err(large_buffer::no_memory());
        }
        let backend = match self.null {
            Some(options) => Backend::Null(Null::new(options)),
            None => {
                let os = Os::new(self.forced, self.workers);
                Backend::Os(os.map_err(|error| Error::system("poll", error))?)
            }
        };
        let core = Core::enter(State::new(backend, self.settings)).ok_or_else(|| {
            Error::library(
                "ERR_THREAD_ENDING",
                "The thread is ending: it can have no loop any more.",
            )
        })?;
        Ok(Loop::of(core))
    }
}
