//! Memory is bounded by the mark and by what was accepted: through an echo server that pauses when
//! its client reads slowly, and towards a peer that reads nothing; and a socket that does not read
//! pushes back to its peer's kernel.
//!
//! The dev-dependency `allocation-counter` counts what the thread of the loop has on its heap.
//! `NODELOOP_FLOW_BYTES` says how many bytes go through the echo server instead of a gigabyte.

mod support;

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use nodeloop::dgram::{self, BindOptions, SocketOptions, SocketType};
use nodeloop::net::{DEFAULT_HIGH_WATER_MARK, ServerOptions, Socket};
use nodeloop::stream::{Duplex, Readable, Writable};
use nodeloop::{Builder, Loop, readline};
use support::*;

/// How much goes through the echo server, which takes a debug build a few seconds.
const USUAL_BYTES: usize = 1 << 30;

/// What everything but the data may take.
const ALLOWANCE: usize = 1 << 20;

/// What a socket that does not read may hold: up to its mark, and the chunk that goes beyond it
/// (N153).
const HELD_AT_MOST: u64 = DEFAULT_HIGH_WATER_MARK as u64 - 1 + 64 * 1024;

#[test]
fn an_echo_to_a_slow_reader_holds_no_more_than_the_mark_and_what_was_accepted() {
    let bytes = std::env::var("NODELOOP_FLOW_BYTES").ok();
    let bytes = bytes.map_or(USUAL_BYTES, |bytes| bytes.parse().expect("a number"));
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 120);
    let accepted = Rc::new(Cell::new(0));
    let drains = Rc::new(Cell::new(0));
    let (most, counted) = (accepted.clone(), drains.clone());
    let (_, address) = listening(&lp, move |socket| {
        socket.server().unwrap().close();
        // Little, so that it is full all the time.
        socket.set_send_buffer_size(16 * 1024).unwrap();
        let most = most.clone();
        socket.on_data(move |socket, chunk| {
            if !socket.write(chunk) {
                socket.pause();
            }
            let held = socket.writable_length() + socket.readable_length();
            most.set(held.max(most.get()));
        });
        let counted = counted.clone();
        socket.on_drain(move |socket| {
            counted.set(counted.get() + 1);
            socket.resume();
        });
    });
    let reader = std::thread::spawn(move || {
        let peer = connect_narrow(address, 16 * 1024);
        let writer = peer.try_clone().unwrap();
        let writer = std::thread::spawn(move || send_pattern(&writer, bytes));
        let sum = read_pattern(&peer);
        join(writer);
        sum
    });
    let measured = measure(|| lp.run().unwrap());
    assert_eq!(join(reader), bytes);
    println!(
        "{bytes} bytes, {} drains: at most {} bytes accepted, {} bytes of heap",
        drains.get(),
        accepted.get(),
        measured.bytes_max,
    );
    assert!(drains.get() > bytes / (1 << 20), "it was never slow");
    assert!(accepted.get() as u64 <= 2 * HELD_AT_MOST);
    let limit = DEFAULT_HIGH_WATER_MARK as usize + accepted.get() + ALLOWANCE;
    assert!(measured.bytes_max <= limit as u64, "{measured:?}");
}

/// Sends bytes that tell where in the stream they are, and ends.
fn send_pattern(mut peer: &TcpStream, bytes: usize) {
    let pattern = pattern();
    let mut sent = 0;
    while sent < bytes {
        let begin = sent % 251;
        let size = (bytes - sent).min(pattern.len() - begin);
        peer.write_all(&pattern[begin..begin + size]).unwrap();
        sent += size;
    }
    peer.shutdown(std::net::Shutdown::Write).unwrap();
}

/// Reads in small pieces up to the end, and checks that every byte is at its place.
fn read_pattern(mut peer: &TcpStream) -> usize {
    let pattern = pattern();
    let mut buffer = [0; 8 * 1024];
    let mut received = 0;
    loop {
        let size = peer.read(&mut buffer).unwrap();
        if size == 0 {
            return received;
        }
        let begin = received % 251;
        assert!(buffer[..size] == pattern[begin..begin + size], "{received}");
        received += size;
    }
}

fn pattern() -> Vec<u8> {
    (0..251 * 300).map(|at| (at % 251) as u8).collect()
}

#[test]
fn a_peer_that_never_reads_costs_what_was_accepted_and_no_work() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 256;
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, peer) = pair_with(&lp, ServerOptions::new(), |to| connect_narrow(to, 4096));
    let piece = vec![0; PIECE];
    let log = Recorder::new();
    socket.on_drain(log.noting("drain"));
    socket.on_close(|_, _| {});
    let told = Rc::new(RefCell::new(Vec::new()));
    let measured = measure(|| {
        for number in 0..PIECES {
            let told = told.clone();
            socket.write_then(&piece, move |result| {
                told.borrow_mut().push((number, result.is_ok()));
            });
            lp.run_nowait().unwrap();
        }
    });
    let waiting = socket.writable_length();
    assert!(waiting > PIECE * PIECES / 2, "the kernel took most of it");
    assert!(
        measured.bytes_max <= (waiting + ALLOWANCE) as u64,
        "{waiting} bytes wait, {measured:?}"
    );
    assert!(socket.writable_need_drain());
    // A write that can't go on is not tried again.
    let writes = lp.counts().writes;
    for _ in 0..100 {
        lp.run_nowait().unwrap();
    }
    assert_eq!(lp.counts().writes, writes);
    assert_eq!(socket.writable_length(), waiting);
    let before = told.borrow().len();
    socket.destroy();
    lp.run().unwrap();
    log.expect(&[]);
    // Each was told once, in order: those that went out, then the others.
    let told = told.take();
    let expected: Vec<_> = (0..PIECES)
        .map(|number| (number, number < before))
        .collect();
    assert_eq!(told, expected);
    drop(peer);
}

/// Sends until the kernel takes no more, and the socket reads no more, while the loop turns for
/// longer than the kernel holds an acknowledgement back; returns how much was sent.
fn send_until_blocked(lp: &Loop, socket: Socket, mut peer: &TcpStream) -> u64 {
    const QUIET: Duration = Duration::from_millis(150);
    // A machine that has held this process up so long has let nothing happen.
    const QUIET_TURNS: u32 = 20;
    let piece = [b'x'; 64 * 1024];
    let mut sent = 0;
    let mut quiet_since = Instant::now();
    let mut quiet_turns = 0;
    // Has it turn now and then, though nothing happens.
    let turning = lp.set_interval(5, |_| {});
    peer.set_nonblocking(true).unwrap();
    while quiet_turns < QUIET_TURNS || quiet_since.elapsed() < QUIET {
        let read = socket.bytes_read();
        let blocked = match peer.write(&piece) {
            Ok(size) => {
                sent += size as u64;
                false
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) => panic!("{error}"),
        };
        lp.run_once().unwrap();
        quiet_turns += 1;
        if !blocked || socket.bytes_read() != read {
            quiet_since = Instant::now();
            quiet_turns = 0;
        }
    }
    peer.set_nonblocking(false).unwrap();
    turning.clear();
    sent
}

#[test]
fn n152_to_n155_who_does_not_read_pushes_back() {
    let cases: [(&str, bool, fn(Socket)); 4] = [
        ("nobody listens", false, |_| {}),
        ("paused", false, |socket| socket.pause()),
        ("paused in 'data'", false, |socket| {
            socket.on_data(|socket, _| socket.pause());
        }),
        ("paused from the beginning", true, |_| {}),
    ];
    let builders: [fn() -> Builder; 3] = [
        Loop::builder,
        || Loop::builder().limit_reads(1000).read_budget(1),
        || Loop::builder().spurious_events(true),
    ];
    for (name, pause_on_connect, begin) in cases {
        for (number, build) in builders.iter().enumerate() {
            println!("{name}, loop {number}");
            let lp = &build().build().unwrap();
            let _deadline = deadline(lp, 30);
            let options = ServerOptions::new().pause_on_connect(pause_on_connect);
            let narrow = |address| {
                let peer = connect(address);
                let socket = socket2::SockRef::from(&peer);
                socket.set_send_buffer_size(16 * 1024).unwrap();
                peer
            };
            let (socket, peer) = pair_with(lp, options, narrow);
            // More than the mark, and not too small: a peer may wait long for a small window.
            socket.set_recv_buffer_size(128 * 1024).unwrap();
            begin(socket);
            let sent = send_until_blocked(lp, socket, &peer);
            let read = socket.bytes_read();
            let delivered = read - socket.readable_length() as u64;
            match pause_on_connect {
                true => assert_eq!(read, 0),
                false => assert!(read - delivered >= u64::from(DEFAULT_HIGH_WATER_MARK)),
            }
            assert!(read - delivered <= HELD_AT_MOST, "{read} {delivered}");
            assert!(delivered <= 64 * 1024, "it was to pause in the first");
            assert!(sent > read, "the rest waits in the kernel");
            // And lets go of it.
            let received = Rc::new(Cell::new(0));
            let counted = received.clone();
            socket.on_data(move |socket, chunk| {
                counted.set(counted.get() + chunk.len() as u64);
                // The other listener may have paused it again.
                socket.resume();
            });
            socket.resume();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            lp.run().unwrap();
            assert_eq!(received.get() + delivered, sent);
        }
    }
}

/// Writes or chunks of one burst.
const BURST: usize = 10_000;

#[test]
fn a_socket_gives_the_memory_of_a_burst_back_when_it_is_over() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 60);
    let (socket, mut peer) = pair(&lp);
    let measured = measure(|| {
        for _ in 0..BURST {
            socket.unshift("x");
        }
        while socket.readable_length() > 0 {
            socket.read_chunk();
        }
        socket.cork();
        for _ in 0..BURST {
            socket.write("x");
        }
        socket.uncork();
        let mut left = BURST;
        while left > 0 {
            lp.run_nowait().unwrap();
            left -= peer.read(&mut vec![0; left]).unwrap();
        }
        while socket.writable_length() > 0 {
            lp.run_nowait().unwrap();
        }
    });
    expect_given_back(&lp, measured.bytes_current);
    socket.destroy();
    lp.run().unwrap();
}

#[test]
fn a_stream_gives_the_memory_of_a_burst_back_when_it_is_over() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 60);
    let source = Readable::new(&lp, |_, _| {});
    let at_once = Writable::new(&lp, |_, _, done| done.ok());
    let later = Writable::new(&lp, |stream, _, done| {
        stream.event_loop().set_immediate(move |_| done.ok());
    });
    let measured = measure(|| {
        for _ in 0..BURST {
            source.push("x");
            at_once.write_then("x", |_| {});
            later.write_then("x", |_| {});
        }
        source.read(BURST);
        source.resume();
        source.on_data(|_, _| {});
        lp.run().unwrap();
        for _ in 0..BURST {
            source.push("x");
        }
        lp.run().unwrap();
    });
    assert_eq!((at_once.writable_length(), later.writable_length()), (0, 0));
    expect_given_back(&lp, measured.bytes_current);
}

#[test]
fn a_channel_gives_the_memory_of_a_burst_back_when_few_messages_come() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 60);
    let received = Rc::new(Cell::new(0));
    let counted = received.clone();
    let sender = lp.channel(move |_, _: u64| counted.set(counted.get() + 1));
    let send = |count| {
        for message in 0..count {
            sender.send(message).unwrap();
        }
        lp.run_nowait().unwrap();
    };
    let measured = measure(|| {
        // One burst for each of its two queues.
        send(BURST as u64);
        send(BURST as u64);
        send(2);
        send(2);
    });
    assert_eq!(received.get(), 2 * BURST + 4);
    expect_given_back(&lp, measured.bytes_current);
}

#[test]
fn a_udp_socket_gives_the_memory_of_a_burst_back_when_it_is_over() {
    // With the kernel full now and then, too.
    for refused_of in [1, 3] {
        let lp = Loop::builder().refuse_sends(refused_of).build().unwrap();
        let _deadline = deadline(&lp, 60);
        let options = SocketOptions::new(SocketType::Udp4)
            .max_queued(2 * BURST, 1 << 20)
            .lookup(|_, _, answer| answer.found([Ipv4Addr::LOCALHOST.into()]));
        let socket = dgram::create_socket(&lp, options);
        socket.bind_sync(BindOptions::new()).unwrap();
        let left = Rc::new(Cell::new(BURST));
        let measured = measure(|| {
            for _ in 0..BURST {
                let left = left.clone();
                let done = move |_| left.set(left.get() - 1);
                socket.send_to_then("x", ("some.where", 9), done).unwrap();
            }
            while left.get() > 0 {
                lp.run_nowait().unwrap();
            }
        });
        expect_given_back(&lp, measured.bytes_current);
    }
}

#[test]
fn an_interface_gives_the_memory_of_a_burst_back_when_it_is_over() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 60);
    let input = Duplex::pass_through(&lp);
    let lines = Rc::new(Cell::new(0));
    let counted = lines.clone();
    readline::create_interface(&input).on_line(move |_, _| counted.set(counted.get() + 1));
    let measured = measure(|| {
        input.write("x\n".repeat(BURST));
        lp.run().unwrap();
    });
    assert_eq!(lines.get(), BURST);
    expect_given_back(&lp, measured.bytes_current);
}

/// The loop keeps its own queues for the next time; what it does not know of is none.
#[track_caller]
fn expect_given_back(lp: &Loop, bytes: i64) {
    let memory = lp.memory();
    let queues = memory.queues + memory.timers + memory.gathered + memory.datagrams;
    let others = bytes - i64::try_from(queues).unwrap();
    assert!(others < BURST as i64, "{others} bytes beside {queues}");
}

#[test]
fn what_is_kept_for_channels_and_for_completions_of_datagrams_is_told() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 60);
    let socket = dgram::create_socket(&lp, SocketType::Udp4);
    socket.bind_sync(BindOptions::new()).unwrap();
    lp.run_nowait().unwrap();
    let before = lp.memory().total();
    let measured = measure(|| {
        let channels: Vec<_> = (0..BURST).map(|_| lp.channel(|_, ()| {})).collect();
        drop(channels);
        for _ in 0..BURST {
            let done = |_| {};
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
            socket.send_to_then("x", to, done).unwrap();
        }
        for _ in 0..3 {
            lp.run_nowait().unwrap();
        }
    });
    let told = lp.memory().total() - before;
    let hidden = measured.bytes_current - i64::try_from(told).unwrap();
    assert!(hidden.abs() < BURST as i64, "{hidden} bytes beside {told}");
}
