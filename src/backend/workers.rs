//! Worker threads: what would block the loop is done there.
//!
//! As libuv's pool (H1, H2), but each loop has its own. Threads are started when there is work
//! for them, up to a number; slow look-ups take at most half of them, so that other work goes on
//! however long a name server is silent.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Threads of a pool if nobody says otherwise, as libuv.
pub(crate) const DEFAULT_WORKERS: usize = 4;

/// More than this many are never started, as in libuv: it is a mistake.
const MAX_WORKERS: usize = 1024;

/// The stack of a worker, as libuv's: resolvers are known to need much.
const STACK_SIZE: usize = 8 << 20;

/// What a worker does. It catches the panics of the user's work, but results are dropped in it, and what a
/// panic carries: these may panic, too.
pub(crate) type Run = Box<dyn FnOnce() + Send>;

/// The worker threads of a loop.
pub(crate) struct Workers {
    /// How many there may be.
    limit: usize,
    /// What they share with the loop; made with the first job.
    shared: Option<Arc<Shared>>,
    /// Jobs so far.
    pub(crate) jobs: u64,
}

/// What the threads share.
struct Shared {
    state: Mutex<Pool>,
    /// Somebody should look at the queues.
    work: Condvar,
}

/// Jobs and threads.
#[derive(Default)]
struct Pool {
    /// Jobs that wait, by their keys: in order, and each is found and taken back at the same cost however
    /// many there are.
    usual: BTreeMap<u64, Run>,
    /// Slow look-ups that wait, likewise.
    slow: BTreeMap<u64, Run>,
    /// Threads that were started.
    threads: usize,
    /// Those that wait for work.
    idle: usize,
    /// Slow look-ups under way.
    slow_running: usize,
    /// How many there may be at a time.
    slow_limit: usize,
    /// The loop is gone.
    closed: bool,
}

impl Workers {
    pub(crate) fn new(limit: usize) -> Workers {
        Workers {
            limit: limit.clamp(1, MAX_WORKERS),
            shared: None,
            jobs: 0,
        }
    }

    /// Has a worker do something. `key` names it for [`cancel`](Workers::cancel), and is greater than those
    /// before it.
    ///
    /// Fails if there is no thread and none can be started; the job comes back then.
    pub(crate) fn start(
        &mut self,
        key: u64,
        is_slow: bool,
        run: Run,
    ) -> Result<(), (io::Error, Run)> {
        let slow_limit = self.limit.div_ceil(2);
        let shared = self
            .shared
            .get_or_insert_with(|| Arc::new(Shared::new(slow_limit)));
        let mut pool = shared.lock();
        if pool.runnable() >= pool.idle && pool.threads < self.limit {
            match start_thread(shared) {
                Ok(()) => pool.threads += 1,
                Err(error) if pool.threads == 0 => return Err((error, run)),
                // Those that are there will come to it.
                Err(_) => {}
            }
        }
        self.jobs += 1;
        let queue = match is_slow {
            true => &mut pool.slow,
            false => &mut pool.usual,
        };
        queue.insert(key, run);
        drop(pool);
        shared.work.notify_one();
        Ok(())
    }

    /// Takes a job back that no worker has begun (H5).
    pub(crate) fn cancel(&mut self, key: u64) -> Option<Run> {
        let mut pool = self.shared.as_ref()?.lock();
        let run = pool.usual.remove(&key);
        run.or_else(|| pool.slow.remove(&key))
    }

    /// Threads that were started and have not ended.
    pub(crate) fn threads(&self) -> usize {
        self.shared
            .as_ref()
            .map_or(0, |shared| shared.lock().threads)
    }

    /// Ends the pool: threads end when they have done what they are doing. Gives the jobs that
    /// nobody has begun.
    pub(crate) fn close(&mut self) -> Vec<Run> {
        let Some(shared) = self.shared.take() else {
            return Vec::new();
        };
        let mut pool = shared.lock();
        pool.closed = true;
        let usual = std::mem::take(&mut pool.usual).into_values();
        let left = usual.chain(std::mem::take(&mut pool.slow).into_values());
        let left = left.collect();
        drop(pool);
        shared.work.notify_all();
        left
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        drop(self.close());
    }
}

impl Shared {
    fn new(slow_limit: usize) -> Shared {
        Shared {
            state: Mutex::new(Pool {
                slow_limit,
                ..Pool::default()
            }),
            work: Condvar::new(),
        }
    }

    /// No job runs under the lock, so nothing can have left it in the middle of a change.
    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a worker does from its first job to the end of the loop.
    fn serve(&self) {
        let mut pool = self.lock();
        loop {
            if let Some((is_slow, run)) = pool.take_next() {
                drop(pool);
                if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                    // Not dropped: that might be the next panic.
                    std::mem::forget(panic);
                }
                pool = self.lock();
                if is_slow {
                    pool.slow_running -= 1;
                    // A place for another of them is free, also for a thread that waits.
                    if !pool.slow.is_empty() && pool.idle > 0 {
                        self.work.notify_one();
                    }
                }
            } else if pool.closed {
                pool.threads -= 1;
                return;
            } else {
                pool.idle += 1;
                pool = self.work.wait(pool).unwrap_or_else(PoisonError::into_inner);
                pool.idle -= 1;
            }
        }
    }
}

impl Pool {
    /// How many of the jobs that wait a thread could begin.
    fn runnable(&self) -> usize {
        let places = self.slow_limit - self.slow_running;
        self.usual.len() + self.slow.len().min(places)
    }

    /// The job that has waited longest, but for look-ups if there are enough of them (H2).
    fn take_next(&mut self) -> Option<(bool, Run)> {
        let slow = self
            .slow
            .first_key_value()
            .filter(|_| self.slow_running < self.slow_limit);
        let is_slow = match (self.usual.first_key_value(), slow) {
            (Some((usual, _)), Some((slow, _))) => slow < usual,
            (usual, slow) => slow.is_some() && usual.is_none(),
        };
        let job = match is_slow {
            true => {
                self.slow_running += 1;
                self.slow.pop_first()
            }
            false => self.usual.pop_first(),
        };
        job.map(|(_, run)| (is_slow, run))
    }
}

fn start_thread(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = shared.clone();
    let builder = thread::Builder::new()
        .name("nodeloop-worker".to_string())
        .stack_size(STACK_SIZE);
    builder.spawn(move || shared.serve()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::{Duration, Instant};

    use super::*;

    /// How long anything that must happen may take.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Starts a job that says its name and waits to be let go.
    fn start(workers: &mut Workers, name: u64, is_slow: bool, says: &Sender<u64>) -> Sender<()> {
        let (let_go, gate) = channel::<()>();
        let says = says.clone();
        let run = move || {
            says.send(name).unwrap();
            let _ = gate.recv_timeout(PATIENCE);
        };
        assert!(workers.start(name, is_slow, Box::new(run)).is_ok());
        let_go
    }

    fn next(said: &Receiver<u64>) -> u64 {
        said.recv_timeout(PATIENCE).expect("a job begins")
    }

    #[test]
    fn h1_threads_are_started_with_the_work_up_to_the_limit() {
        let mut workers = Workers::new(2);
        let (says, said) = channel();
        assert_eq!(workers.threads(), 0);
        let gates: Vec<_> = (0..4)
            .map(|name| start(&mut workers, name, false, &says))
            .collect();
        assert_eq!(workers.threads(), 2);
        let mut begun = [next(&said), next(&said)];
        begun.sort_unstable();
        assert_eq!(begun, [0, 1]);
        // Both are busy until one is let go.
        assert!(said.try_recv().is_err());
        drop(gates);
        let mut begun = [next(&said), next(&said)];
        begun.sort_unstable();
        assert_eq!(begun, [2, 3]);
        assert_eq!((workers.threads(), workers.jobs), (2, 4));
    }

    #[test]
    fn h2_slow_look_ups_take_half_of_the_threads() {
        let mut workers = Workers::new(3);
        let (says, said) = channel();
        let slow: Vec<_> = (0..5)
            .map(|name| start(&mut workers, name, true, &says))
            .collect();
        let mut begun = [next(&said), next(&said)];
        begun.sort_unstable();
        assert_eq!(begun, [0, 1]);
        // The third thread does other work, though it came later.
        for name in 10..13 {
            drop(start(&mut workers, name, false, &says));
            assert_eq!(next(&said), name);
        }
        drop(slow);
        let mut begun = [next(&said), next(&said), next(&said)];
        begun.sort_unstable();
        assert_eq!(begun, [2, 3, 4]);
    }

    #[test]
    fn h2_what_has_waited_longest_comes_first() {
        let mut workers = Workers::new(1);
        let (says, said) = channel();
        let first = start(&mut workers, 1, false, &says);
        assert_eq!(next(&said), 1);
        for (name, is_slow) in [(2, true), (3, false), (4, true), (5, false)] {
            drop(start(&mut workers, name, is_slow, &says));
        }
        drop(first);
        assert_eq!([(); 4].map(|()| next(&said)), [2, 3, 4, 5]);
    }

    #[test]
    fn h5_what_has_not_begun_can_be_taken_back() {
        let mut workers = Workers::new(1);
        let (says, said) = channel();
        let first = start(&mut workers, 1, false, &says);
        assert_eq!(next(&said), 1);
        let _second = start(&mut workers, 2, true, &says);
        drop(start(&mut workers, 3, false, &says));
        assert!(workers.cancel(1).is_none());
        assert!(workers.cancel(2).is_some());
        assert!(workers.cancel(2).is_none());
        drop(first);
        assert_eq!(next(&said), 3);
    }

    #[test]
    fn closing_gives_back_what_waits_and_ends_the_threads() {
        let mut workers = Workers::new(1);
        let (says, said) = channel();
        let gate = start(&mut workers, 1, false, &says);
        assert_eq!(next(&said), 1);
        let _waits = start(&mut workers, 2, false, &says);
        assert_eq!(workers.close().len(), 1);
        drop(gate);
        drop(says);
        // The channel is closed when the last job's closure is gone, and no other job began.
        assert!(said.recv_timeout(PATIENCE).is_err());
    }

    #[test]
    fn closing_ends_a_thread_that_waits_for_work() {
        let mut workers = Workers::new(1);
        assert!(workers.start(1, false, Box::new(|| {})).is_ok());
        let shared = workers.shared.clone().unwrap();
        let until = |wanted: fn(&Pool) -> bool| {
            let over_at = Instant::now() + PATIENCE;
            while !wanted(&shared.lock()) {
                assert!(Instant::now() < over_at, "it does not come to it");
                thread::yield_now();
            }
        };
        until(|pool| pool.idle == 1 && pool.usual.is_empty());
        workers.close();
        until(|pool| pool.threads == 0);
    }
}
