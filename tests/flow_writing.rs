//! Writing to a peer that reads slowly, one byte at a time, or now and then: what `write` returns,
//! what waits, 'drain', and the order of completions (N176–N197), on loops that force rare paths.

mod support;

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::net::TcpStream;
use std::rc::Rc;

use nodeloop::Loop;
use nodeloop::net::{ServerOptions, Socket};
use support::*;

/// What a socket that is written to must keep to, whatever is done.
struct Model {
    socket: Socket,
    sent: RefCell<Vec<u8>>,
    writes: Cell<usize>,
    told: RefCell<Vec<usize>>,
    drains: Cell<usize>,
    /// Whether a write has returned false since the last 'drain'.
    owed: Cell<bool>,
}

impl Model {
    fn new(socket: Socket) -> Rc<Model> {
        let model = Rc::new(Model {
            socket,
            sent: RefCell::default(),
            writes: Cell::new(0),
            told: RefCell::default(),
            drains: Cell::new(0),
            owed: Cell::new(false),
        });
        let inner = model.clone();
        socket.on_drain(move |socket| {
            assert_eq!(socket.writable_length(), 0, "'drain' while bytes wait");
            assert!(!socket.writable_need_drain());
            assert!(inner.owed.replace(false), "nobody was told to wait for it");
            inner.drains.set(inner.drains.get() + 1);
        });
        model
    }

    fn write(self: &Rc<Model>, size: usize) {
        let begin = self.sent.borrow().len();
        let bytes: Vec<u8> = (begin..begin + size).map(|at| (at % 251) as u8).collect();
        self.sent.borrow_mut().extend(&bytes);
        let number = self.writes.replace(self.writes.get() + 1);
        let inner = self.clone();
        let done = move |result: nodeloop::Result<()>| {
            result.unwrap();
            inner.told.borrow_mut().push(number);
        };
        // A slice and an owned buffer take different ways.
        let returned = match number % 2 {
            0 => self.socket.write_then(&bytes, done),
            _ => self.socket.write_then(bytes, done),
        };
        let waiting = self.socket.writable_length();
        let mark = self.socket.writable_high_water_mark() as usize;
        assert_eq!(returned, waiting < mark || waiting == 0, "{waiting} wait");
        if !returned {
            self.owed.set(true);
        }
        assert_eq!(self.socket.writable_need_drain(), self.owed.get());
        let written = self.socket.bytes_written();
        assert_eq!(written, self.sent.borrow().len() as u64);
    }

    /// Ends the socket, and checks that everything came, and was told once, in order.
    fn finish(&self, lp: &Loop, reader: std::thread::JoinHandle<Vec<u8>>) {
        let ended = Recorder::new();
        self.socket.end_then(ended.done("end"));
        self.socket.resume();
        lp.run().unwrap();
        ended.expect(&["end ok"]);
        let expected: Vec<_> = (0..self.writes.get()).collect();
        assert_eq!(*self.told.borrow(), expected);
        assert!(join(reader) == *self.sent.borrow());
    }
}

fn narrow_pair(lp: &Loop, mark: u32) -> (Socket, TcpStream) {
    let options = ServerOptions::new().high_water_mark(mark);
    let (socket, peer) = pair_with(lp, options, |to| connect_narrow(to, 4096));
    // So that it is full soon, whoever reads how slowly.
    socket.set_send_buffer_size(4096).unwrap();
    (socket, peer)
}

/// Reads to the end, up to so many bytes at a time.
fn read_by(mut peer: TcpStream, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; most];
    loop {
        match peer.read(&mut piece).unwrap() {
            0 => return bytes,
            size => bytes.extend(&piece[..size]),
        }
    }
}

#[test]
fn n178_to_n188_whatever_is_written_corked_and_turned() {
    for seed in 1..=8 {
        on_every_loop(|lp| {
            println!("seed {seed}");
            let _deadline = deadline(lp, 20);
            let mut random = fastrand::Rng::with_seed(seed);
            let mark = [1, 100, 1000, 65536][random.usize(..4)];
            let (socket, peer) = narrow_pair(lp, mark);
            let model = Model::new(socket);
            let most = [1, 7, 1000][random.usize(..3)];
            let reader = std::thread::spawn(move || read_by(peer, most));
            for _ in 0..200 {
                match random.usize(..12) {
                    0 => socket.cork(),
                    1 | 2 => socket.uncork(),
                    3 => model.write(0),
                    4 => model.write(2000),
                    5..=8 => model.write(random.usize(..100)),
                    _ => {
                        lp.run_nowait().unwrap();
                    }
                }
            }
            model.finish(lp, reader);
        });
    }
}

#[test]
fn n181_a_peer_that_reads_one_byte_at_a_time() {
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let (socket, peer) = narrow_pair(lp, 1000);
        let model = Model::new(socket);
        let reader = std::thread::spawn(move || read_by(peer, 1));
        for _ in 0..20 {
            // As a well-behaved program: writes until it is told to wait, then waits.
            while !socket.writable_need_drain() && model.sent.borrow().len() < 20_000 {
                model.write(700);
            }
            turn_until(lp, || !model.owed.get());
        }
        assert!(model.drains.get() > 0);
        model.finish(lp, reader);
    });
}

#[test]
fn n178_n184_a_huge_write_among_empty_ones() {
    const HUGE: usize = 32 << 20;
    for spurious in [false, true] {
        let lp = Loop::builder().spurious_events(spurious).build().unwrap();
        let _deadline = deadline(&lp, 20);
        let (socket, peer) = narrow_pair(&lp, 65536);
        let model = Model::new(socket);
        for size in [0, HUGE, 0, 0, 1, 0] {
            model.write(size);
        }
        // It counts whole, though a part of it is gone.
        assert_eq!(socket.writable_length(), HUGE + 1);
        for _ in 0..10 {
            lp.run_nowait().unwrap();
        }
        assert_eq!(socket.writable_length(), HUGE + 1);
        assert_eq!(*model.told.borrow(), [0]);
        let reader = std::thread::spawn(move || read_by(peer, 65536));
        turn_until(&lp, || model.drains.get() == 1);
        model.finish(&lp, reader);
    }
}

#[test]
fn n167_n177_n197_the_smallest_marks() {
    for mark in [0, 1] {
        on_every_loop(|lp| {
            let _deadline = deadline(lp, 10);
            let (socket, peer) = narrow_pair(lp, mark);
            let model = Model::new(socket);
            let reader = std::thread::spawn(move || read_by(peer, 1000));
            // Taken at once: nothing waits, and nobody has to.
            model.write(1);
            model.write(0);
            assert!(!socket.writable_need_drain());
            socket.cork();
            model.write(0);
            assert!(!socket.writable_need_drain());
            model.write(1);
            assert!(socket.writable_need_drain());
            socket.uncork();
            turn_until(lp, || model.drains.get() == 1);
            lp.run_nowait().unwrap();
            assert_eq!(model.drains.get(), 1);
            model.finish(lp, reader);
        });
    }
}

#[test]
fn n183_no_drain_is_owed_once_it_is_ended_or_destroyed() {
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 10);
        let endings: [fn(Socket); 2] = [|socket| socket.end(), |socket| socket.destroy()];
        for end in endings {
            let (socket, peer) = narrow_pair(lp, 10);
            let log = Recorder::new();
            socket.on_drain(log.noting("drain"));
            let inner = log.clone();
            socket.on_close(move |_, _| inner.note("close"));
            socket.cork();
            assert!(!socket.write(vec![0; 1000]));
            assert!(socket.writable_need_drain());
            end(socket);
            assert!(!socket.writable_need_drain());
            socket.resume();
            let reader = std::thread::spawn(move || drop(ending(&peer)));
            turn_until(lp, || log.has("close"));
            log.expect(&["close"]);
            join(reader);
        }
    });
}
