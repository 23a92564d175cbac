//! System calls, counted: what a message and a connection cost. Counts instead of timings, since
//! they are the same on every machine.
//!
//! The client is in the same thread and the loop takes one turn at a time, so every figure is
//! exact.

mod support_process;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use nodeloop::{Counts, Loop, net};
use support_process::{DEADLINE, within_deadline};

/// What was asked of the operating system between two moments.
fn since(before: Counts, after: Counts) -> Counts {
    let mut counts = Counts::default();
    counts.waits = after.waits - before.waits;
    counts.reads = after.reads - before.reads;
    counts.writes = after.writes - before.writes;
    counts.accepts = after.accepts - before.accepts;
    counts.listens = after.listens - before.listens;
    counts.registrations = after.registrations - before.registrations;
    counts.rearms = after.rearms - before.rearms;
    counts.shutdowns = after.shutdowns - before.shutdowns;
    counts.closes = after.closes - before.closes;
    counts.addresses = after.addresses - before.addresses;
    counts.clock_reads = after.clock_reads - before.clock_reads;
    counts.shed = after.shed - before.shed;
    counts
}

/// Changes of a registration for each connection that is accepted. By level there are none: the kernel
/// tells of connections as long as there are any.
const REARMS: u64 = match cfg!(all(target_os = "linux", feature = "level")) {
    true => 0,
    false => 1,
};

/// Counts with some fields set and the rest zero.
macro_rules! counts {
    ($($field:ident: $number:expr),* $(,)?) => {{
        #[allow(unused_mut, reason = "there may be no fields")]
        let mut counts = Counts::default();
        $(counts.$field = $number;)*
        counts
    }};
}

/// A loop with a listening server, and whom it has accepted.
struct World {
    lp: Loop,
    server: net::Server,
    address: SocketAddr,
    accepted: Rc<RefCell<Vec<net::Socket>>>,
}

impl World {
    /// `on_connection` is called for every connection.
    fn new(
        options: net::ServerOptions,
        mut on_connection: impl FnMut(net::Socket) + 'static,
    ) -> World {
        let lp = Loop::new().expect("a loop can be made");
        let accepted = Rc::new(RefCell::new(Vec::new()));
        let accepted_too = accepted.clone();
        let server = net::create_server_with(&lp, options, move |socket| {
            accepted_too.borrow_mut().push(socket);
            on_connection(socket);
        });
        server
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .expect("it does not listen yet");
        let address = server.address().expect("it listens");
        // 'listening'.
        lp.run_nowait().expect("no error is left unhandled");
        World {
            lp,
            server,
            address,
            accepted,
        }
    }

    fn echoing() -> World {
        World::new(net::ServerOptions::new(), |socket| {
            socket.on_data(|socket, chunk| {
                socket.write(chunk);
            });
        })
    }

    /// A client that is accepted, and whose socket has settled.
    fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).expect("it listens");
        client.set_read_timeout(Some(DEADLINE)).expect("not zero");
        let before = self.accepted.borrow().len();
        self.turn_until(|| self.accepted.borrow().len() > before);
        // A fresh socket is told once that it is writable.
        self.lp.run_nowait().expect("no error is left unhandled");
        client
    }

    fn turn_until(&self, mut over: impl FnMut() -> bool) {
        while !over() {
            self.lp.run_once().expect("no error is left unhandled");
        }
    }

    /// What `act` costs.
    fn cost(&self, act: impl FnOnce()) -> Counts {
        let before = self.lp.counts();
        act();
        since(before, self.lp.counts())
    }
}

#[test]
fn an_echo_is_one_wait_one_read_and_one_write() {
    // L29, R7
    within_deadline(|| {
        let world = World::echoing();
        let mut client = world.client();
        for _ in 0..10 {
            let cost = world.cost(|| {
                client.write_all(b"message").expect("it is connected");
                world.lp.run_once().expect("no error is left unhandled");
            });
            assert_eq!(cost, counts! { waits: 1, reads: 1, writes: 1 });
            let mut answer = [0; 7];
            client.read_exact(&mut answer).expect("it is connected");
            assert_eq!(&answer, b"message");
        }
    });
}

#[test]
fn the_same_in_a_loop_that_runs_by_itself() {
    within_deadline(|| {
        const MESSAGES: u64 = 1000;
        let world = World::echoing();
        let mut client = world.client();
        let lp = world.lp.handle();
        let echoed = Rc::new(Cell::new(0));
        let socket = world.accepted.borrow()[0];
        let begin: Rc<Cell<Option<Counts>>> = Rc::default();
        let end: Rc<Cell<Option<Counts>>> = Rc::default();
        socket.on_data({
            let (begin, end) = (begin.clone(), end.clone());
            move |_, _| {
                echoed.set(echoed.get() + 1);
                match echoed.get() {
                    1 => begin.set(Some(lp.counts())),
                    number if number == MESSAGES + 1 => {
                        end.set(Some(lp.counts()));
                        lp.stop();
                    }
                    _ => {}
                }
            }
        });
        let peer = std::thread::spawn(move || {
            let mut answer = [0; 7];
            for _ in 0..=MESSAGES {
                client.write_all(b"message").expect("it is connected");
                client.read_exact(&mut answer).expect("it is connected");
            }
            client
        });
        world.lp.run().expect("no error is left unhandled");
        drop(peer.join().expect("every message is answered"));
        let cost = since(begin.get().expect("it began"), end.get().expect("it ended"));
        let expected = counts! { waits: MESSAGES, reads: MESSAGES, writes: MESSAGES };
        assert_eq!(cost, expected);
    });
}

#[test]
fn an_armed_timer_costs_an_echo_the_clock_but_no_further_call() {
    within_deadline(|| {
        let world = World::echoing();
        world.lp.set_timeout_once(DEADLINE, |_| {});
        let mut client = world.client();
        let cost = world.cost(|| {
            client.write_all(b"message").expect("it is connected");
            world.lp.run_once().expect("no error is left unhandled");
        });
        let clock_reads = cost.clock_reads;
        assert!((1..=3).contains(&clock_reads), "{cost:?}");
        assert_eq!(
            cost,
            counts! { waits: 1, reads: 1, writes: 1, clock_reads: clock_reads }
        );
    });
}

#[test]
fn a_connection_is_one_accept_one_registration_and_later_one_close() {
    within_deadline(|| {
        let world = World::new(net::ServerOptions::new(), |_| {});
        for _ in 0..3 {
            let mut client = None;
            let cost = world.cost(|| {
                client = Some(TcpStream::connect(world.address).expect("it listens"));
                world.lp.run_once().expect("no error is left unhandled");
            });
            assert_eq!(
                cost,
                counts! { waits: 1, accepts: 1, rearms: REARMS, registrations: 1 }
            );
            let socket = world.accepted.borrow_mut().pop().expect("it was accepted");
            let cost = world.cost(|| {
                socket.destroy();
                world.lp.run_nowait().expect("no error is left unhandled");
            });
            assert_eq!(cost, counts! { waits: 1, closes: 1 });
        }
    });
}

#[test]
fn who_is_turned_away_in_connection_costs_no_registration() {
    within_deadline(|| {
        let world = World::new(net::ServerOptions::new(), |socket| socket.destroy());
        let mut client = None;
        let cost = world.cost(|| {
            client = Some(TcpStream::connect(world.address).expect("it listens"));
            world.lp.run_once().expect("no error is left unhandled");
        });
        assert_eq!(
            cost,
            counts! { waits: 1, accepts: 1, rearms: REARMS, closes: 1 }
        );
    });
}

#[test]
fn a_socket_is_watched_though_the_connection_listener_panics() {
    within_deadline(|| {
        let world = World::new(net::ServerOptions::new(), |socket| {
            socket.on_data(|socket, data| {
                socket.write(data);
            });
            panic!("as a program may");
        });
        let mut client = TcpStream::connect(world.address).expect("it listens");
        let run = AssertUnwindSafe(|| world.lp.run_once());
        assert!(catch_unwind(run).is_err(), "it panics");
        client.write_all(b"x").expect("it is connected");
        client.set_nonblocking(true).expect("it can be");
        let mut answer = [0];
        world.turn_until(|| matches!((&client).read(&mut answer), Ok(1)));
    });
}

#[test]
fn connections_that_come_together_are_accepted_one_per_turn_and_cost_no_more() {
    within_deadline(|| {
        const CLIENTS: u64 = 20;
        let world = World::new(net::ServerOptions::new(), |_| {});
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| TcpStream::connect(world.address).expect("it listens"))
            .collect();
        let turns = world.lp.turns();
        let cost = world.cost(|| {
            world.turn_until(|| world.accepted.borrow().len() == CLIENTS as usize);
        });
        assert_eq!(world.lp.turns() - turns, CLIENTS);
        // At most one more for each socket, which is told that it is writable.
        let waits = cost.waits;
        assert!((CLIENTS..=2 * CLIENTS).contains(&waits), "{cost:?}");
        let expected = counts! {
            waits: waits,
            accepts: CLIENTS,
            rearms: CLIENTS * REARMS,
            registrations: CLIENTS,
        };
        assert_eq!(cost, expected);
        drop(clients);
    });
}

#[test]
fn addresses_cost_nothing_until_they_are_asked_for() {
    within_deadline(|| {
        let world = World::new(net::ServerOptions::new(), |socket| {
            // `accept` has brought it.
            assert!(socket.remote_address().is_some());
        });
        let before = world.lp.counts();
        let client = world.client();
        assert_eq!(since(before, world.lp.counts()).addresses, 0);
        let socket = world.accepted.borrow()[0];
        let cost = world.cost(|| {
            assert_eq!(socket.local_address(), Some(world.address));
            assert_eq!(socket.local_address(), Some(world.address));
            assert_eq!(socket.remote_address(), client.local_addr().ok());
        });
        assert_eq!(cost, counts! { addresses: 1 });
        let cost = world.cost(|| assert_eq!(world.server.address(), Some(world.address)));
        assert_eq!(cost, counts! { addresses: 1 });
    });
}

#[test]
fn pause_and_resume_are_no_system_call() {
    within_deadline(|| {
        let world = World::echoing();
        let mut client = world.client();
        let socket = world.accepted.borrow()[0];
        let cost = world.cost(|| {
            for _ in 0..10 {
                socket.pause();
                socket.resume();
            }
            socket.pause();
        });
        assert_eq!(cost, counts! {});
        // The ticks of these calls.
        world.lp.run_nowait().expect("no error is left unhandled");
        let cost = world.cost(|| {
            client.write_all(b"message").expect("it is connected");
            world.lp.run_once().expect("no error is left unhandled");
            socket.resume();
            world.lp.run_nowait().expect("no error is left unhandled");
        });
        assert_eq!(cost, counts! { waits: 2, reads: 1, writes: 1 });
    });
}

#[test]
fn a_full_buffer_costs_no_registration() {
    within_deadline(|| {
        let options = net::ServerOptions::new().high_water_mark(16);
        let world = World::new(options, |_| {});
        let mut client = world.client();
        let socket = world.accepted.borrow()[0];
        let cost = world.cost(|| {
            client.write_all(&[b'x'; 16]).expect("it is connected");
            world.turn_until(|| socket.readable_length() == 16);
        });
        assert_eq!(cost, counts! { waits: 1, reads: 1 });
        let cost = world.cost(|| {
            // More comes, and stays in the kernel.
            client.write_all(&[b'y'; 16]).expect("it is connected");
            world.lp.run_nowait().expect("no error is left unhandled");
        });
        assert_eq!(cost, counts! { waits: 1 });
        let cost = world.cost(|| {
            socket.on_data(|_, _| {});
            world.turn_until(|| socket.bytes_read() == 32);
        });
        assert_eq!(cost, counts! { waits: 1, reads: 1 });
    });
}

#[test]
fn a_full_kernel_buffer_and_drain_cost_no_registration() {
    within_deadline(|| {
        const SIZE: usize = 16 * 1024 * 1024;
        let world = World::new(net::ServerOptions::new(), |_| {});
        let mut client = world.client();
        let socket = world.accepted.borrow()[0];
        let drained = Rc::new(Cell::new(0));
        let drained_too = drained.clone();
        socket.on_drain(move |_| drained_too.set(drained_too.get() + 1));
        let mut peer = None;
        let cost = world.cost(|| {
            assert!(!socket.write(vec![b'x'; SIZE]), "the kernel takes so much");
            peer = Some(std::thread::spawn(move || {
                let mut buffer = vec![0; SIZE];
                client.read_exact(&mut buffer).map(|()| client)
            }));
            world.turn_until(|| drained.get() > 0);
        });
        let client = peer
            .expect("it was started")
            .join()
            .expect("it does not panic");
        assert!(client.is_ok(), "{client:?}");
        assert!(cost.writes > 1, "{cost:?}");
        // Nothing but waits and writes, however many it took.
        let (waits, writes) = (cost.waits, cost.writes);
        assert_eq!(cost, counts! { waits: waits, writes: writes });
        assert_eq!(drained.get(), 1);
    });
}

#[test]
fn a_loop_that_waits_with_an_idle_connection_makes_no_turns() {
    within_deadline(|| {
        let world = World::echoing();
        let client = world.client();
        let seen: Rc<Cell<Option<(u64, Counts)>>> = Rc::default();
        let seen_too = seen.clone();
        world.lp.set_timeout_once(1, move |timer| {
            let lp = timer.event_loop();
            let (turns, before) = (lp.turns(), lp.counts());
            lp.set_timeout_once(200, move |_| {
                seen_too.set(Some((lp.turns() - turns, since(before, lp.counts()))));
                lp.stop();
            });
        });
        world.lp.run().expect("no error is left unhandled");
        let (turns, cost) = seen.get().expect("both timers have fired");
        assert_eq!(turns, 1, "the one that the timer ended");
        let clock_reads = cost.clock_reads;
        assert_eq!(cost, counts! { waits: 1, clock_reads: clock_reads });
        drop(client);
    });
}

#[test]
fn a_half_close_from_both_sides_is_one_read_one_shutdown_and_one_close() {
    within_deadline(|| {
        let world = World::echoing();
        let client = world.client();
        let socket = world.accepted.borrow()[0];
        let closed = Rc::new(Cell::new(false));
        let closed_too = closed.clone();
        socket.on_close(move |_, _| closed_too.set(true));
        let cost = world.cost(|| {
            client
                .shutdown(std::net::Shutdown::Write)
                .expect("it is connected");
            world.turn_until(|| closed.get());
        });
        let waits = cost.waits;
        assert_eq!(
            cost,
            counts! { waits: waits, reads: 1, shutdowns: 1, closes: 1 }
        );
        assert!(waits <= 2, "{cost:?}");
    });
}

#[test]
fn a_loop_that_spins_looks_again_and_again_but_no_longer_than_to_its_timer() {
    within_deadline(|| {
        let waits = |spin: Duration| {
            let lp = Loop::builder().spin_for(spin).build().expect("a loop");
            lp.set_timeout_once(20, |_| {});
            lp.run().expect("no error is left unhandled");
            lp.counts().waits
        };
        let blocking = waits(Duration::ZERO);
        assert!(blocking <= 4, "{blocking}");
        // An hour would show.
        let spinning = waits(Duration::from_secs(3600));
        assert!(spinning > 20 * blocking, "{spinning}");
    });
}

#[test]
fn a_message_ends_the_spinning() {
    within_deadline(|| {
        let lp = Loop::builder()
            .spin_for(Duration::from_secs(3600))
            .build()
            .expect("a loop");
        let server = net::create_server(&lp, |socket| {
            socket.on_data(|socket, chunk| {
                socket.write(chunk);
            });
            let server = socket.server().expect("it has accepted it");
            server.close();
        });
        server
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .expect("it does not listen yet");
        let address = server.address().expect("it listens");
        let client = std::thread::spawn(move || {
            let mut client = TcpStream::connect(address).expect("it listens");
            let mut answer = [0; 7];
            client.write_all(b"message").expect("it is connected");
            client.read_exact(&mut answer).expect("it is connected");
        });
        lp.run().expect("no error is left unhandled");
        client.join().expect("it is answered");
    });
}
