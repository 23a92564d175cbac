//! `lp.why_alive()` in programs that do things at random: whatever is done in whatever order, the reasons are
//! empty exactly when the loop is not alive, and each count has what it counts. A debug build compares, in
//! each call, what it finds with what the loop has counted. What the reasons say is in `tests/why_alive.rs`.

mod support;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;

use nodeloop::net::{self, Socket};
use nodeloop::{Loop, Timer};
use support::reasons::*;
use support::traced::refusing;
use support::*;

/// A program that does things at random.
struct Program {
    lp: Loop,
    dice: RefCell<fastrand::Rng>,
    sockets: RefCell<Vec<Socket>>,
    servers: RefCell<Vec<net::Server>>,
    timers: RefCell<Vec<Timer>>,
    peers: RefCell<Vec<std::net::TcpStream>>,
    nowhere: SocketAddr,
    /// How often it was alive, and how often it was not.
    seen: [Cell<u32>; 2],
}

impl Program {
    fn new(seed: u64, nowhere: SocketAddr) -> Rc<Program> {
        Rc::new(Program {
            lp: Loop::new().unwrap(),
            dice: RefCell::new(fastrand::Rng::with_seed(seed)),
            sockets: RefCell::default(),
            servers: RefCell::default(),
            timers: RefCell::default(),
            peers: RefCell::default(),
            nowhere,
            seen: Default::default(),
        })
    }

    fn below(&self, limit: usize) -> usize {
        self.dice.borrow_mut().usize(..limit)
    }

    fn any<T: Copy>(&self, of: &RefCell<Vec<T>>) -> Option<T> {
        let of = of.borrow();
        match of.len() {
            0 => None,
            many => Some(of[self.below(many)]),
        }
    }

    /// The property.
    fn check(&self) {
        let reasons = why(&self.lp);
        let seen = &self.seen[usize::from(reasons.is_empty())];
        seen.set(seen.get() + 1);
    }

    /// Checks in each event of a socket, and does something more in some.
    fn watch(self: &Rc<Program>, socket: Socket) {
        self.sockets.borrow_mut().push(socket);
        let program = Rc::downgrade(self);
        let step = move || {
            if let Some(program) = program.upgrade() {
                program.check();
                if program.below(3) == 0 {
                    program.step();
                    program.check();
                }
            }
        };
        let it = step.clone();
        socket.on_data(move |_, _| it());
        let it = step.clone();
        socket.on_end(move |_| it());
        let it = step.clone();
        socket.on_connect(move |_| it());
        let it = step.clone();
        socket.on_finish(move |_| it());
        let it = step.clone();
        socket.on_drain(move |_| it());
        let it = step.clone();
        socket.on_error(move |_, _| it());
        socket.on_close(move |_, _| step());
    }

    /// One thing out of all that changes what keeps a loop alive.
    fn step(self: &Rc<Program>) {
        let program = Rc::downgrade(self);
        let again = move || {
            if let Some(program) = program.upgrade() {
                program.check();
            }
        };
        let done = {
            let again = again.clone();
            move |_: nodeloop::Result<()>| again()
        };
        match self.below(13) {
            0 => {
                let program = Rc::downgrade(self);
                let server = net::create_server(&self.lp, move |socket| {
                    if let Some(program) = program.upgrade() {
                        program.watch(socket);
                        program.check();
                    }
                });
                server.on_close(move |_| again());
                server.listen(any_port()).unwrap();
                self.servers.borrow_mut().push(server);
            }
            1 => {
                let Some(server) = self.any(&self.servers) else {
                    return;
                };
                match self.below(6) {
                    0 => server.close(),
                    1 => server.unref(),
                    2 => server.set_ref(),
                    3 => server.close_all(),
                    4 => server.keep(),
                    _ => {
                        // Listens already, or is gone: then it stays as it is.
                        let _ = server.listen(any_port());
                    }
                }
            }
            2 | 3 => {
                let to = self.any(&self.servers).and_then(net::Server::address);
                let client = net::connect(&self.lp, to.unwrap_or(self.nowhere));
                self.watch(client);
            }
            4 => {
                let Some(to) = self.any(&self.servers).and_then(net::Server::address) else {
                    return;
                };
                let peer = connect(to);
                (&peer).write_all(b"hello").unwrap();
                self.peers.borrow_mut().push(peer);
            }
            5 => drop(self.peers.borrow_mut().pop()),
            6..=8 => {
                let Some(socket) = self.any(&self.sockets) else {
                    return;
                };
                match self.below(14) {
                    0 => socket.unref(),
                    1 => socket.set_ref(),
                    2 => socket.pause(),
                    3 => socket.resume(),
                    4 => socket.end_then(done),
                    5 => socket.destroy(),
                    6 => socket.destroy_with("at random"),
                    7 => socket.reset_and_destroy(),
                    8 => {
                        socket.write_then("text", done);
                    }
                    9 => {
                        // More than the kernel takes, to a peer that may never read.
                        socket.write_then(vec![0; 8 << 20], done);
                    }
                    10 => socket.keep(),
                    11 => socket.release(),
                    12 => socket.destroy_soon(),
                    _ => {
                        // It may be connected, connecting, or gone.
                        let _ = socket.connect(self.nowhere);
                    }
                }
            }
            9 => {
                let timer = match self.below(3) {
                    0 => self.lp.set_interval(1, move |_| again()),
                    1 => self.lp.set_timeout(1, move |_| again()),
                    _ => self.lp.set_timeout(60_000, |_| {}),
                };
                self.timers.borrow_mut().push(timer);
            }
            10 | 11 => {
                let Some(timer) = self.any(&self.timers) else {
                    return;
                };
                match self.below(6) {
                    0 | 1 => timer.clear(),
                    2 => timer.unref(),
                    3 => timer.set_ref(),
                    4 => timer.keep(),
                    _ => timer.refresh(),
                }
            }
            _ => match self.below(4) {
                0 => drop(self.lp.set_immediate(move |_| again())),
                1 => self.lp.set_immediate(|_| {}).unref(),
                2 => self.lp.next_tick(move |_| again()),
                _ => {
                    self.lp.prepare(move |watcher| {
                        again();
                        watcher.close();
                    });
                }
            },
        }
    }
}

#[test]
fn the_reasons_are_empty_exactly_when_the_loop_is_not_alive() {
    let _watched = watched(110);
    let (_refusing, nowhere) = refusing("127.0.0.1");
    let mut seen = [0, 0];
    for seed in 1..=60_u64 {
        // Shown by the harness if the test fails.
        println!("seed {seed}");
        let program = Program::new(seed, nowhere);
        for _ in 0..120 {
            program.step();
            program.check();
            if program.below(2) == 0 {
                program.lp.run_nowait().unwrap();
                program.check();
            }
        }
        for index in [0, 1] {
            seen[index] += program.seen[index].get();
        }
    }
    // Both were there, and often.
    assert!(seen[0] > 5_000 && seen[1] > 200, "{seen:?}");
}
