//! What inactivity timeouts cost: to start one, to refresh one by a read, to look at one that was
//! refreshed meanwhile, to tell of one that has expired.
//!
//! The null backend answers in memory and has a clock of its own, which goes on with each reading:
//! nobody waits for anything here. A refresh is what a read costs more than on a loop without
//! timeouts; both run in turn, in many rounds. Beside the medians stand the best rounds, since
//! other work on the machine can only add.
//!
//! ```text
//! cargo bench --bench timeouts            # the figures
//! cargo bench --bench timeouts -- --smoke # a short run that proves that it works
//! ```

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use nodeloop::net::Socket;
use nodeloop::null::NullOptions;
use nodeloop::{Loop, net};

/// Reads in each turn.
const READS_PER_TURN: u32 = 200;

/// Longer, by the null backend's clock, than it takes to start all of them.
const TIMEOUT_MS: u64 = 1000;

fn main() {
    let smoke = std::env::args().any(|argument| argument == "--smoke");
    let (sockets, turns, rounds) = if smoke {
        (1000, 50, 2)
    } else {
        (100_000, 5000, 15)
    };
    let mut figures = Figures::default();
    for _ in 0..rounds {
        figures.round(sockets, turns);
    }
    println!("inactivity timeouts of {sockets} sockets, {rounds} rounds, ns: median (best)");
    print("start one, each for the first time", &mut figures.start);
    print("start one again", &mut figures.restart);
    print("a read without timeouts", &mut figures.plain_read);
    print("a read that refreshes one", &mut figures.read);
    print("look at one that was refreshed", &mut figures.look);
    print("tell of one that has expired", &mut figures.expiry);
}

/// ns of each round.
#[derive(Default)]
struct Figures {
    start: Vec<f64>,
    restart: Vec<f64>,
    plain_read: Vec<f64>,
    read: Vec<f64>,
    look: Vec<f64>,
    expiry: Vec<f64>,
}

impl Figures {
    fn round(&mut self, sockets: u32, turns: u32) {
        let all = f64::from(sockets);
        let reads = f64::from(turns * READS_PER_TURN);
        self.plain_read
            .push(Bench::new(sockets).turn(turns) / reads);
        let bench = Bench::new(sockets);
        self.start.push(bench.set_timeouts() / all);
        self.restart.push(bench.set_timeouts() / all);
        let clock_reads = bench.lp.counts().clock_reads;
        self.read.push(bench.turn(turns) / reads);
        let clock_reads = bench.lp.counts().clock_reads - clock_reads;
        assert!(
            clock_reads <= 3 * u64::from(turns),
            "the clock is read by the turn, not by the read: {clock_reads} times"
        );
        // Everybody has read by now, or does so before half the time has passed.
        bench.set_timeouts();
        bench.pass(TIMEOUT_MS / 2);
        bench.turn(sockets.div_ceil(READS_PER_TURN));
        bench.pass(TIMEOUT_MS * 3 / 4);
        self.look.push(bench.turn(1) / all);
        assert_eq!(bench.expired.get(), 0, "all were refreshed");
        bench.pass(TIMEOUT_MS);
        // But for those that read in this turn.
        self.expiry.push(bench.turn(1) / all);
        assert_eq!(bench.expired.get(), sockets - READS_PER_TURN);
    }
}

/// A loop whose sockets only read.
struct Bench {
    lp: Loop,
    sockets: Rc<RefCell<Vec<Socket>>>,
    expired: Rc<Cell<u32>>,
}

impl Bench {
    fn new(sockets: u32) -> Bench {
        let options = NullOptions {
            connections: sockets,
            events_per_wait: READS_PER_TURN,
            message_size: 16,
            datagrams: 0,
            waits: u64::MAX,
        };
        let builder = Loop::builder().null(options);
        let lp = builder.build().expect("the null backend cannot fail");
        let accepted = Rc::new(RefCell::new(Vec::new()));
        let expired = Rc::new(Cell::new(0));
        let (all, count) = (accepted.clone(), expired.clone());
        let server = net::create_server(&lp, move |socket| {
            socket.on_data(|_, chunk| {
                std::hint::black_box(chunk);
            });
            let count = count.clone();
            socket.on_timeout(move |_| count.set(count.get() + 1));
            all.borrow_mut().push(socket);
        });
        server.listen(1).expect("the null backend cannot fail");
        while accepted.borrow().len() < sockets as usize {
            lp.run_nowait().expect("the null backend cannot fail");
        }
        Bench {
            lp,
            sockets: accepted,
            expired,
        }
    }

    /// Sets the timeout of every socket: ns.
    fn set_timeouts(&self) -> f64 {
        let started = Instant::now();
        for socket in self.sockets.borrow().iter() {
            socket.set_timeout(TIMEOUT_MS);
        }
        started.elapsed().as_nanos() as f64
    }

    /// Turns the loop: ns.
    fn turn(&self, turns: u32) -> f64 {
        let started = Instant::now();
        for _ in 0..turns {
            let alive = self.lp.run_nowait();
            assert!(alive.expect("the null backend cannot fail"));
        }
        started.elapsed().as_nanos() as f64
    }

    /// Lets so many milliseconds pass, by the null backend's clock.
    fn pass(&self, ms: u64) {
        let until_ms = self.lp.now() + ms;
        while self.lp.now() < until_ms {
            self.lp.update_time();
        }
    }
}

fn print(what: &str, ns: &mut [f64]) {
    ns.sort_by(f64::total_cmp);
    println!("{what:>36} {:6.1} ({:.1})", ns[ns.len() / 2], ns[0]);
}
