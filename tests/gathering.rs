//! Gathering: small writes of one callback leave together, and nobody can tell but by the system
//! calls. What they carry, how they end and who is told is the same with `gather(false)`, which
//! the other tests and every scenario of the oracle run as well.

mod support;

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::net::TcpStream;
use std::rc::Rc;

use bytes::Bytes;
use nodeloop::Loop;
use nodeloop::net::{ServerOptions, Socket};
use support::*;

/// Has `act` run once as a loop callback, a tick, and returns how many writes it took, those at its
/// end included. `inside` says how many there were when it had just run.
fn writes_of(lp: &Loop, act: impl FnOnce() + 'static) -> (u64, u64) {
    let inside = Rc::new(Cell::new(0));
    let inside_too = inside.clone();
    let before = lp.counts().writes;
    lp.next_tick(move |lp| {
        act();
        inside_too.set(lp.counts().writes - before);
    });
    lp.run_nowait().unwrap();
    (inside.get(), lp.counts().writes - before)
}

/// Reads exactly so many bytes.
fn read(mut peer: &TcpStream, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    peer.read_exact(&mut bytes).unwrap();
    bytes
}

/// Writes a few words, one by one.
fn words(socket: Socket) {
    for word in ["one ", "two ", "three "] {
        assert!(socket.write(word));
    }
}

const WORDS: &[u8] = b"one two three ";

fn world() -> (Loop, Socket, TcpStream) {
    let lp = Loop::new().unwrap();
    let (socket, peer) = pair(&lp);
    (lp, socket, peer)
}

#[test]
fn small_writes_of_a_callback_are_one_call_behind_it() {
    let (lp, socket, peer) = world();
    let _deadline = deadline(&lp, 10);
    assert_eq!(writes_of(&lp, move || words(socket)), (0, 1));
    assert_eq!(read(&peer, WORDS.len()), WORDS);
}

#[test]
fn n177_without_gathering_each_write_is_a_call() {
    let lp = Loop::builder().gather(false).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    assert_eq!(writes_of(&lp, move || words(socket)), (3, 3));
    assert_eq!(read(&peer, WORDS.len()), WORDS);
}

#[test]
fn outside_run_each_write_is_a_call() {
    let (lp, socket, peer) = world();
    let before = lp.counts().writes;
    words(socket);
    assert_eq!(lp.counts().writes - before, 3);
    assert_eq!(read(&peer, WORDS.len()), WORDS);
}

#[test]
fn a_thousand_small_writes_are_a_handful_of_calls() {
    let (lp, socket, peer) = world();
    let _deadline = deadline(&lp, 10);
    let calls = writes_of(&lp, move || {
        for _ in 0..1000 {
            socket.write([b'x'; 100].as_slice());
        }
    });
    // 64 KiB gather at most, and what is left goes at the end.
    assert_eq!(calls, (1, 2));
    assert_eq!(read(&peer, 100_000), vec![b'x'; 100_000]);
}

#[test]
fn pause_and_resume_are_no_calls() {
    let (lp, socket, _peer) = world();
    let before = lp.counts();
    lp.next_tick(move |_| {
        for _ in 0..1000 {
            socket.pause();
            socket.resume();
        }
    });
    for _ in 0..3 {
        lp.run_nowait().unwrap();
    }
    let after = lp.counts();
    assert_eq!(after.waits - before.waits, 3);
    let mut others = after;
    others.waits = before.waits;
    others.clock_reads = before.clock_reads;
    assert_eq!(others, before);
}

#[test]
fn what_was_gathered_goes_before_what_touches_the_descriptor() {
    type Act = fn(Socket);
    // What is done, and how many writes it makes itself.
    let acts: [(&str, Act, u64); 10] = [
        ("flush", |socket| socket.flush(), 0),
        ("flush of the loop", |socket| socket.event_loop().flush(), 0),
        ("end", |socket| socket.end(), 0),
        ("end_with", |socket| socket.end_with("four "), 0),
        ("destroy", |socket| socket.destroy(), 0),
        ("destroy_soon", |socket| socket.destroy_soon(), 0),
        ("set_no_delay", |socket| socket.set_no_delay(true), 0),
        ("cork", |socket| socket.cork(), 0),
        ("try_clone", |socket| drop(socket.with_sock_ref(|_| ())), 0),
        (
            "a large write",
            |socket| {
                socket.write(vec![b'.'; 20_000]);
            },
            0,
        ),
    ];
    for (name, act, more) in acts {
        let (lp, socket, peer) = world();
        let _deadline = deadline(&lp, 10);
        let (inside, in_all) = writes_of(&lp, move || {
            words(socket);
            act(socket);
        });
        assert_eq!((inside, in_all), (1 + more, 1 + more), "{name}");
        assert_eq!(read(&peer, WORDS.len()), WORDS, "{name}");
    }
}

#[test]
fn each_tick_is_a_callback_of_its_own() {
    let (lp, socket, peer) = world();
    let calls = writes_of(&lp, move || {
        words(socket);
        let lp = socket.event_loop();
        let sent = lp.counts().writes;
        lp.next_tick(move |lp| {
            assert_eq!(lp.counts().writes - sent, 1, "sent before the ticks");
            words(socket);
        });
    });
    assert_eq!(calls, (0, 2));
    assert_eq!(read(&peer, 2 * WORDS.len()), WORDS.repeat(2));
}

#[test]
fn a_listener_that_panics_has_written_what_it_has_written() {
    let (lp, socket, peer) = world();
    lp.next_tick(move |_| {
        words(socket);
        panic!("on purpose");
    });
    let before = lp.counts().writes;
    caught(|| lp.run_nowait());
    assert_eq!(lp.counts().writes - before, 1);
    assert_eq!(read(&peer, WORDS.len()), WORDS);
    // Nothing is left over for the next run.
    assert_eq!(writes_of(&lp, || {}), (0, 0));
}

#[test]
fn a_destructor_that_writes_is_part_of_the_callback() {
    let (lp, socket, peer) = world();
    let writes = on_drop(move || words(socket));
    let calls = writes_of(&lp, move || {
        let listener = socket.on_drain(move |_| writes.hold());
        socket.off(listener);
    });
    assert_eq!(calls, (0, 1));
    assert_eq!(read(&peer, WORDS.len()), WORDS);
}

#[test]
fn many_sockets_in_turns_get_their_own_bytes() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let pairs: Vec<_> = (0..5).map(|_| pair(&lp)).collect();
    let sockets: Vec<Socket> = pairs.iter().map(|(socket, _)| *socket).collect();
    let calls = writes_of(&lp, move || {
        for round in 0..10 {
            for (number, socket) in sockets.iter().enumerate() {
                socket.write(format!("{number}.{round} "));
            }
        }
    });
    assert_eq!(calls, (0, 5));
    for (number, (_, peer)) in pairs.iter().enumerate() {
        let expected: String = (0..10).map(|round| format!("{number}.{round} ")).collect();
        assert_eq!(read(peer, expected.len()), expected.as_bytes());
    }
}

/// Who has one message each needs no list of slices; what the kernel refuses of one waits, and the others get
/// theirs.
#[test]
fn a_broadcast_that_the_kernel_takes_in_parts_comes_whole() {
    const MESSAGE: &[u8] = b"to everyone";
    let lp = Loop::builder().limit_writes(4).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let pairs: Vec<_> = (0..3).map(|_| pair(&lp)).collect();
    let receivers: Vec<Socket> = pairs.iter().map(|(socket, _)| *socket).collect();
    let (last, all) = (receivers[2], receivers.clone());
    lp.next_tick(move |_| {
        for receiver in all {
            assert!(receiver.write(MESSAGE));
        }
    });
    lp.next_tick(move |_| {
        // Refused, it is in flight and counts whole (N178).
        assert_eq!(last.writable_length(), MESSAGE.len());
        assert_eq!(last.bytes_written(), MESSAGE.len() as u64);
    });
    lp.run_nowait().unwrap();
    turn_until(&lp, || receivers.iter().all(|it| it.writable_length() == 0));
    for (_, peer) in &pairs {
        assert_eq!(read(peer, MESSAGE.len()), MESSAGE);
    }
}

#[test]
fn owned_buffers_among_others_keep_the_order() {
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let (socket, peer) = pair(lp);
        let expected = RefCell::new(Vec::new());
        let mut parts: Vec<Bytes> = Vec::new();
        for number in 0..200_usize {
            let size = [5, 1024, 3, 2000, 1][number % 5];
            parts.push(vec![number as u8; size].into());
            expected.borrow_mut().extend(&parts[number]);
        }
        let size = expected.borrow().len();
        let reader = std::thread::spawn(move || read(&peer, size));
        lp.next_tick(move |_| {
            for (number, part) in parts.into_iter().enumerate() {
                match number % 3 {
                    0 => socket.write(&part[..]),
                    1 => socket.write(part.to_vec()),
                    _ => socket.write(part),
                };
            }
            socket.end();
        });
        lp.run().unwrap();
        assert!(join(reader) == *expected.borrow());
    });
}

#[test]
fn an_owned_buffer_is_dropped_where_the_loop_can_be_called() {
    thread_local! {
        static DROPPED: Cell<Option<(Socket, u64)>> = const { Cell::new(None) };
    }
    struct Owner(Vec<u8>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            let (socket, _) = DROPPED.get().unwrap();
            DROPPED.set(Some((socket, socket.bytes_written())));
        }
    }
    let (lp, socket, peer) = world();
    DROPPED.set(Some((socket, 0)));
    let owner = Owner(vec![b'x'; 2000]);
    let calls = writes_of(&lp, move || {
        socket.write("a");
        socket.write(Bytes::from_owner(owner));
        socket.write("b");
    });
    assert_eq!(calls, (0, 1));
    assert_eq!(read(&peer, 2002).len(), 2002);
    assert_eq!(DROPPED.get(), Some((socket, 2002)));
}

#[test]
fn completions_come_on_their_ticks_in_the_order_of_the_writes() {
    on_every_loop(|lp| {
        let _deadline = deadline(lp, 20);
        let (socket, peer) = pair(lp);
        let reader = std::thread::spawn(move || read_to_end(&peer));
        let log = Recorder::new();
        let log_too = log.clone();
        lp.next_tick(move |lp| {
            socket.write_then("a", log_too.done("a"));
            lp.next_tick(move |_| {});
            socket.write("b");
            socket.write_then(vec![b'c'; 3000], log_too.done("c"));
            socket.write_then("d", log_too.done("d"));
            socket.end_then(log_too.done("end"));
        });
        lp.run().unwrap();
        assert_eq!(join(reader).len(), 3003);
        log.expect(&["a ok", "c ok", "d ok", "end ok"]);
    });
}

#[test]
fn n178_what_the_kernel_refuses_waits() {
    let lp = Loop::builder().limit_writes(10).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let log = Recorder::new();
    let log_too = log.clone();
    lp.next_tick(move |lp| {
        for (text, name) in [("four", "1"), ("fourfour", "2"), ("four", "3")] {
            assert!(socket.write_then(text, log_too.done(name)));
        }
        assert_eq!((socket.bytes_written(), socket.writable_length()), (16, 0));
        let log = log_too.clone();
        lp.next_tick(move |_| {
            // The second counts whole though a part of it is gone.
            log.note(format!(
                "written {} waiting {}",
                socket.bytes_written(),
                socket.writable_length()
            ));
        });
    });
    turn_until(&lp, || log.has("3 ok"));
    assert_eq!(read(&peer, 16), b"fourfourfourfour");
    log.expect(&["1 ok", "written 16 waiting 12", "2 ok", "3 ok"]);
}

#[test]
fn a_failure_is_told_once_and_by_the_first_write() {
    if tcp_only("there are no resets") {
        return;
    }
    let (lp, socket, peer) = world();
    let log = Recorder::new();
    log.follow(socket);
    reset(peer);
    let log_too = log.clone();
    lp.next_tick(move |_| {
        assert!(socket.write("one"));
        assert!(socket.write_then("two", log_too.done("two")));
        assert_eq!(socket.bytes_written(), 6);
    });
    lp.run_nowait().unwrap();
    lp.run_nowait().unwrap();
    log.expect(&["two ECONNRESET", "error ECONNRESET", "close true"]);
}

#[test]
fn a_peer_that_has_ended_is_written_to_at_once() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let options = ServerOptions::new().allow_half_open(true);
    let (socket, peer) = pair_with(&lp, options, connect);
    let ended = Rc::new(Cell::new(false));
    let ended_too = ended.clone();
    socket.on_end(move |_| ended_too.set(true));
    socket.resume();
    send_and_end(&peer, b"");
    turn_until(&lp, || ended.get());
    // A dead peer is to be noticed by the same write as in Node.
    assert_eq!(writes_of(&lp, move || words(socket)), (3, 3));
    assert_eq!(read(&peer, WORDS.len()), WORDS);
}

#[test]
fn the_arena_keeps_its_memory_and_no_more() {
    let (lp, socket, peer) = world();
    let most = |lp: &Loop| lp.memory().gathered;
    assert_eq!(most(&lp), 0);
    for _ in 0..3 {
        writes_of(&lp, move || {
            for _ in 0..1000 {
                socket.write([b'x'; 50].as_slice());
            }
        });
        read(&peer, 50_000);
    }
    let kept = most(&lp);
    assert!((50_000..300_000).contains(&kept), "{kept}");
}

/// The first small write of a callback that is larger than the room that is left.
#[test]
fn a_full_arena_is_sent_and_filled_anew() {
    let (lp, socket, peer) = world();
    let _deadline = deadline(&lp, 10);
    let calls = writes_of(&lp, move || {
        for _ in 0..9 {
            socket.write([b'x'; 16_000].as_slice());
        }
    });
    assert_eq!(calls, (2, 3));
    assert_eq!(read(&peer, 9 * 16_000).len(), 9 * 16_000);
}

/// A write that ends where the small ones end says nothing about the large one behind them: it did
/// stand still where no event followed.
#[test]
fn a_large_write_goes_on_where_the_small_ones_have_ended() {
    for limit in [1, 14, 1000] {
        let lp = Loop::builder().limit_writes(limit).build().unwrap();
        let _deadline = deadline(&lp, 20);
        let (socket, peer) = pair(&lp);
        // A fresh socket is told once that it is writable; that is not to help.
        lp.run_nowait().unwrap();
        let log = Recorder::new();
        let reader = std::thread::spawn(move || read_to_end(&peer));
        let log_too = log.clone();
        lp.next_tick(move |_| {
            words(socket);
            socket.write_then(vec![b'.'; 20_000], log_too.done("large"));
            socket.end_then(log_too.done("end"));
        });
        turn_until(&lp, || log.has("end ok"));
        log.expect(&["large ok", "end ok"]);
        socket.destroy();
        assert_eq!(join(reader).len(), WORDS.len() + 20_000, "limit {limit}");
    }
}

/// A bundle of as many slices as go into one call, and nothing behind it.
#[test]
fn a_bundle_that_fills_a_call_is_one_call() {
    let (lp, socket, peer) = world();
    let _deadline = deadline(&lp, 10);
    // Owned buffers are slices of their own; 63 of them fill a call.
    let calls = writes_of(&lp, move || {
        for _ in 0..63 {
            socket.write(vec![b'x'; 1024]);
        }
    });
    assert_eq!(calls, (0, 1));
    assert_eq!(read(&peer, 63 * 1024).len(), 63 * 1024);
}

/// The same with one more small write behind it, and a large one.
#[test]
fn a_large_write_waits_for_the_slices_of_the_next_call() {
    let (lp, socket, peer) = world();
    let _deadline = deadline(&lp, 10);
    let calls = writes_of(&lp, move || {
        for _ in 0..63 {
            socket.write(vec![b'x'; 1024]);
        }
        socket.write("small");
        socket.write(vec![b'L'; 20_000]);
    });
    assert_eq!(calls, (2, 2));
    let sent = [vec![b'x'; 63 * 1024], b"small".to_vec(), vec![b'L'; 20_000]].concat();
    assert!(read(&peer, sent.len()) == sent);
}

#[test]
fn n188_a_small_write_that_has_failed_counts_no_more() {
    if tcp_only("there are no resets") {
        return;
    }
    let (lp, socket, peer) = world();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    log.follow(socket);
    reset(peer);
    lp.next_tick(move |_| {
        assert!(socket.write("one"));
        assert_eq!(socket.bytes_written(), 3);
    });
    socket.on_close(move |socket, _| assert_eq!(socket.bytes_written(), 0));
    turn_until(&lp, || log.has("close true"));
}
