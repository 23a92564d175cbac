//! Ten thousand connections that begin and end in every way leave nothing behind: no descriptor, no
//! memory, no object, no request, nothing in a queue.
//!
//! Memory is counted by the dev-dependency `allocation-counter`, by thread, in this program only.

mod support;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use allocation_counter::measure;
use nodeloop::net::{Server, Socket, SocketOptions};
use nodeloop::{Loop, LoopHandle};
use support::traced::refusing;
use support::*;

/// Connections in one go.
const AT_ONCE: usize = 100;

/// Connections in one measured stretch. Two of them follow one that warms up.
const STRETCH: usize = 5_000;

/// What is done to the connections.
struct Churn {
    lp: LoopHandle,
    /// Where somebody listens.
    to: SocketAddr,
    /// Where nobody does.
    refusing: SocketAddr,
    /// How many are still to begin.
    left: Cell<usize>,
    /// How many have begun and not ended.
    under_way: Cell<usize>,
    /// 'close' events of clients.
    closed: Cell<usize>,
    /// Completions handed in, and those that were called.
    completions: (Cell<usize>, Cell<usize>),
}

impl Churn {
    /// A completion that is counted.
    fn done(self: &Rc<Churn>) -> impl FnOnce(nodeloop::Result<()>) + 'static {
        let churn = self.clone();
        add(&churn.completions.0, 1);
        move |_| add(&churn.completions.1, 1)
    }

    /// Begins the next connection, and at its end the one after that.
    fn next(self: &Rc<Churn>) {
        let Some(left) = self.left.get().checked_sub(1) else {
            return;
        };
        self.left.set(left);
        add(&self.under_way, 1);
        let socket = Socket::new(&self.lp, SocketOptions::new());
        let churn = self.clone();
        socket.on_close(move |_, _| {
            churn.under_way.set(churn.under_way.get() - 1);
            add(&churn.closed, 1);
            churn.next();
        });
        socket.on_error(|_, _| {});
        self.live(socket, left % 14);
    }

    /// The life of one connection.
    fn live(self: &Rc<Churn>, socket: Socket, kind: usize) {
        let churn = self.clone();
        let to = if kind == 0 { self.refusing } else { self.to };
        socket.connect(target(to)).unwrap();
        match kind {
            // Refused, with writes that wait.
            0 => {
                socket.write_then("lost", self.done());
                socket.write_then("too", self.done());
                socket.end_then(self.done());
            }
            // Ended before it stands.
            1 => {
                socket.resume();
                socket.end_with_then("hello", self.done());
            }
            2 => {
                socket.resume();
                socket.on_connect(move |socket| socket.end_with_then("hello", churn.done()));
            }
            3 => {
                socket.on_data(|_, _| {});
                socket.write_then("first", self.done());
                socket.on_ready(move |socket| socket.end_then(churn.done()));
            }
            4 => {
                socket.on_connect(Socket::destroy);
            }
            5 => {
                socket.on_ready(move |socket| {
                    socket.write_then("cut", churn.done());
                    socket.destroy_with("why");
                });
            }
            6 => {
                socket.on_connect(Socket::reset_and_destroy);
            }
            // Waits for 'connect'.
            7 => {
                socket.write_then("then reset", self.done());
                socket.reset_and_destroy();
            }
            8 => {
                socket.write_then("soon", self.done());
                socket.destroy_soon();
            }
            9 => {
                socket.on_ready(|socket| socket.destroy_soon());
            }
            // Destroyed while connecting: before the attempt, in it, and behind it.
            10 => {
                socket.write_then("never", self.done());
                socket.destroy();
            }
            // A path has no attempts (see ARCHITECTURE.md), so there it is 'connect'.
            11 if over_unix() => {
                socket.on_connect(Socket::destroy);
            }
            12 if over_unix() => {
                socket.write_then("never", self.done());
                socket.on_connect(|socket| {
                    socket.event_loop().next_tick(move |_| socket.destroy());
                });
            }
            11 => {
                socket.on_connection_attempt(|socket, _| socket.destroy());
            }
            12 => {
                socket.write_then("never", self.done());
                socket.on_connection_attempt(move |socket, _| {
                    socket.event_loop().next_tick(move |_| socket.destroy());
                });
            }
            // More than goes out.
            _ => {
                socket.on_ready(move |socket| {
                    socket.write_then(vec![0; 1 << 20], churn.done());
                    socket.write_then("behind it", churn.done());
                    socket.end_then(churn.done());
                    socket.event_loop().set_immediate(move |_| socket.destroy());
                });
            }
        }
    }
}

fn add(cell: &Cell<usize>, number: usize) {
    cell.set(cell.get() + number);
}

/// A server that reads, and ends its connections in several ways itself.
fn mixed_server(lp: &Loop) -> (Server, SocketAddr) {
    let mut number = 0;
    listening(lp, move |socket| {
        number += 1;
        socket.on_error(|_, _| {});
        let way = number % 5;
        socket.on_data(move |socket, chunk| match way {
            1 => socket.reset_and_destroy(),
            2 => {
                socket.write(chunk);
            }
            _ => {}
        });
        match way {
            0 => socket.end_with("bye"),
            3 => socket.destroy_soon(),
            _ => {}
        }
    })
}

#[test]
fn ten_thousand_connections_leave_nothing_behind() {
    let _deadline = watched(120);
    let descriptors = open_descriptors();
    let whole = measure(|| {
        let lp = Loop::new().unwrap();
        let (server, to) = mixed_server(&lp);
        let (held, refusing) = refusing("127.0.0.1");
        let churn = Rc::new(Churn {
            lp: lp.handle(),
            to,
            refusing,
            left: Cell::new(0),
            under_way: Cell::new(0),
            closed: Cell::new(0),
            completions: Default::default(),
        });
        let fresh = open_descriptors();
        let stretch = || {
            churn.left.set(STRETCH);
            for _ in 0..AT_ONCE {
                churn.next();
            }
            turn_until(&lp, || {
                churn.under_way.get() == 0 && server.connections() == 0
            });
            // What is left of them is their own end.
            while lp.handles().len() > 1 {
                lp.run_nowait().unwrap();
            }
            assert_eq!(open_descriptors(), fresh);
        };
        // Queues and the slab grow to what a hundred connections at a time need.
        stretch();
        for _ in 0..2 {
            let counted = measure(stretch);
            // A queue that grew with the number of connections would show here.
            assert!(
                counted.bytes_current.abs() < 16 * 1024,
                "{counted:?} after {STRETCH} more"
            );
            assert!(counted.bytes_max < 400 << 20, "{counted:?}");
        }
        assert_eq!(churn.closed.get(), 3 * STRETCH);
        assert_eq!(churn.completions.0.get(), churn.completions.1.get());
        server.close();
        lp.run().unwrap();
        assert!(lp.handles().is_empty(), "{:?}", lp.handles());
        assert!(!lp.is_alive());
        drop((lp, held));
    });
    assert_eq!(open_descriptors(), descriptors);
    // Thread-locals that are made once, such as the table of loops, stay.
    assert!(whole.bytes_current.abs() < 4096, "{whole:?}");
}
