//! What is piped from socket to socket may pass within the kernel. Nothing tells of it but the counts of
//! system calls: the same scripts run on a loop that splices and on one that does not, and their traces are
//! the same.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::thread::{self, JoinHandle};

use nodeloop::net::Socket;
use nodeloop::stream::PipeOptions;
use nodeloop::{Builder, Loop};
use support::on_and_off::*;
use support::relay::*;
use support::*;

#[test]
fn everything_arrives_with_the_same_events_and_counters() {
    on_both_fast(|lp| {
        let trace = all_arrives(lp, |_, _| {});
        assert_eq!(trace.len(), 6, "{trace:?}");
        trace
    });
}

#[test]
fn rare_paths_bring_everything_too() {
    let builders: [fn(Builder) -> Builder; 6] = [
        |builder| builder.gather(false),
        |builder| builder.read_budget(1),
        |builder| builder.spurious_events(true),
        |builder| builder.limit_writes(50_000),
        |builder| builder.limit_reads(40_000).limit_writes(39_999),
        |builder| builder.read_chunk(1 << 20),
    ];
    for build in builders {
        let is_spliced = || {
            let [fast, _] = on_both_built(build, |lp| all_arrives(lp, |_, _| {}));
            fast.splices > 0
        };
        match splices() {
            // Whether a chunk is large enough for it is a matter of the sender's pace.
            true => assert!((0..TRIES).any(|_| is_spliced()), "nothing was spliced"),
            false => assert!(!is_spliced()),
        }
    }
}

/// Runs of which one at least is spliced.
const TRIES: u32 = 20;

#[test]
fn a_slow_reader_stops_the_source() {
    on_both_fast(|lp| {
        let (relay, peers) = relay(lp);
        let Peers {
            sender,
            mut receiver,
        } = peers;
        let drains = Rc::new(Cell::new(0));
        let counted = drains.clone();
        relay.to.on_drain(move |_| counted.set(counted.get() + 1));
        relay.from.pipe(relay.to);
        relay.to.on_finish(move |_| relay.from.end());
        let sender = sending(sender);
        // Nobody reads: as much as the kernels keep for both connections goes through, and no more.
        turn_until(lp, || relay.to.writable_need_drain());
        let is_full = || relay.from.is_paused() && relay.from.readable_length() >= 64 * 1024;
        turn_until(lp, is_full);
        let held = relay.to.writable_length() + relay.from.readable_length();
        assert!(held <= 4 * 64 * 1024, "{held} bytes are held");
        let mut received = Vec::new();
        for size in [1, 1000, 100_000, 1_000_000] {
            let mut part = vec![0; size];
            let reader = thread::spawn(move || {
                receiver.read_exact(&mut part).unwrap();
                (receiver, part)
            });
            turn_while(lp, &reader);
            let (back, part) = join(reader);
            receiver = back;
            received.extend_from_slice(&part);
        }
        let rest = receiving(receiver);
        lp.run().unwrap();
        join(sender);
        received.extend(join(rest));
        assert!(received == bytes());
        assert!(drains.get() > 0);
        relay.log.take()
    });
}

/// Turns the loop until a thread is done.
fn turn_while<T>(lp: &Loop, thread: &JoinHandle<T>) {
    while !thread.is_finished() {
        lp.run_nowait().unwrap();
        thread::yield_now();
    }
}

#[test]
fn small_messages_are_read_and_written() {
    let [fast, plain] = on_both(|lp| {
        let (relay, mut peers) = relay(lp);
        relay.from.pipe(relay.to);
        for size in [1, 100, 16 * 1024, LARGE - 1] {
            peers.sender.write_all(&bytes()[..size]).unwrap();
            let wanted = relay.to.bytes_written() + size as u64;
            turn_until(lp, || relay.to.bytes_written() == wanted);
            let mut received = vec![0; size];
            peers.receiver.read_exact(&mut received).unwrap();
            assert_begins(&received);
        }
        Vec::new()
    });
    assert_eq!((fast.splices, plain.splices), (0, 0));
}

#[test]
fn after_bulk_small_messages_are_read_again() {
    if !splices() {
        return println!("skipped: nothing is spliced here");
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 60);
    let (relay, peers) = relay(&lp);
    relay.from.pipe(relay.to);
    let Peers {
        mut sender,
        mut receiver,
    } = peers;
    let passes = |size: usize, sender: TcpStream, receiver: TcpStream| {
        let sending = thread::spawn(move || {
            (&sender).write_all(&bytes()[..size]).unwrap();
            sender
        });
        let receiving = thread::spawn(move || {
            let mut received = vec![0; size];
            (&receiver).read_exact(&mut received).unwrap();
            assert_begins(&received);
            receiver
        });
        turn_while(&lp, &receiving);
        (join(sending), join(receiving))
    };
    (sender, receiver) = passes(BULK, sender, receiver);
    let bulk = lp.counts();
    assert!(bulk.splices > 0);
    for _ in 0..10 {
        (sender, receiver) = passes(100, sender, receiver);
    }
    let small = lp.counts();
    // The first of them may find out, and the look behind it.
    assert!(small.splices <= bulk.splices + 3, "{bulk:?} {small:?}");
    assert!(small.reads >= bulk.reads + 9);
    passes(BULK, sender, receiver);
    assert!(lp.counts().splices > small.splices + 10);
}

#[test]
fn the_end_of_a_block_that_comes_alone_has_the_next_spliced() {
    if !splices() {
        return println!("skipped: nothing is spliced here");
    }
    const ROUNDS: u64 = 20;
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 60);
    let (relay, peers) = relay(&lp);
    relay.from.pipe(relay.to);
    let Peers { sender, receiver } = peers;
    let passes = |size: usize| {
        let (writer, bytes) = (sender.try_clone().unwrap(), &bytes()[..size]);
        let writing = thread::spawn(move || (&writer).write_all(bytes).unwrap());
        let reader = receiver.try_clone().unwrap();
        let reading = thread::spawn(move || {
            let mut received = vec![0; size];
            (&reader).read_exact(&mut received).unwrap();
            assert_begins(&received);
        });
        turn_while(&lp, &reading);
        join(writing);
        join(reading);
        lp.counts()
    };
    let before = passes(BULK);
    assert!(before.splices > 0);
    let mut after = before;
    for _ in 0..ROUNDS {
        passes(2 * LARGE);
        after = passes(53);
    }
    let (spliced, written) = (after.splices - before.splices, after.writes - before.writes);
    assert!(spliced >= 2 * ROUNDS, "{before:?} {after:?}");
    // Not the next block, whenever an end has come by itself.
    assert!(written < ROUNDS / 2, "{before:?} {after:?}");
}

#[test]
fn who_wants_to_see_the_bytes_sees_them() {
    let seen = |lp: &Loop, listen: fn(Socket, Rc<Cell<usize>>)| {
        let seen = Rc::new(Cell::new(0));
        let counted = seen.clone();
        let trace = all_arrives(lp, move |_, relay| listen(relay.from, counted.clone()));
        assert_eq!(seen.get(), BULK);
        trace
    };
    let [fast, _] = on_both(|lp| {
        seen(lp, |socket, seen| {
            socket.on_data(move |_, chunk| seen.set(seen.get() + chunk.len()));
        })
    });
    assert_eq!(fast.splices, 0);
    let [fast, _] = on_both(|lp| {
        seen(lp, |socket, seen| {
            socket.set_encoding(nodeloop::Encoding::Latin1);
            socket.on_text(move |_, text| seen.set(seen.get() + text.chars().count()));
        })
    });
    assert_eq!(fast.splices, 0);
}

#[test]
fn a_second_pipe_gets_everything_too() {
    let [fast, _] = on_both(|lp| {
        let (other, receiver) = pair(lp);
        let receiver = receiving(receiver);
        let trace = all_arrives(lp, |_, relay| {
            relay.from.pipe(other);
        });
        assert!(join(receiver) == bytes());
        trace
    });
    assert_eq!(fast.splices, 0);
}

#[test]
fn a_listener_that_comes_midway_sees_the_rest() {
    on_both_fast(|lp| {
        let seen = Rc::new(Cell::new((0, 0)));
        let noted = seen.clone();
        let trace = all_arrives(lp, move |lp, relay| {
            let noted = noted.clone();
            midway(lp, relay, move |relay| {
                noted.set((relay.from.bytes_read() as usize, 0));
                relay.from.on_data(move |_, chunk| {
                    let (from, size) = noted.get();
                    assert!(chunk == &bytes()[from + size..][..chunk.len()]);
                    noted.set((from, size + chunk.len()));
                });
            });
        });
        let (from, size) = seen.get();
        assert_eq!(from + size, BULK);
        trace
    });
}

#[test]
fn a_pause_midway_holds_everything_back() {
    on_both_fast(|lp| {
        all_arrives(lp, |lp, relay| {
            let handle = lp.handle();
            midway(lp, relay, move |relay| {
                relay.from.pause();
                let written = relay.to.bytes_written();
                handle.set_timeout_once(20, move |_| {
                    assert_eq!(relay.to.bytes_written(), written);
                    relay.from.resume();
                });
            });
        })
    });
}

#[test]
fn an_unpipe_midway_leaves_the_rest_in_the_source() {
    on_both_fast(|lp| {
        all_arrives(lp, |lp, relay| {
            let handle = lp.handle();
            midway(lp, relay, move |relay| {
                relay.from.unpipe(relay.to);
                assert!(relay.from.is_paused());
                let written = relay.to.bytes_written();
                handle.set_timeout_once(20, move |_| {
                    let kept = relay.from.readable_length() as u64;
                    assert_eq!(relay.to.bytes_written(), written);
                    assert_eq!(relay.from.bytes_read(), written + kept);
                    relay.from.pipe(relay.to);
                });
            });
        })
    });
}

#[test]
fn writes_of_the_program_come_between_whole_chunks() {
    on_both(|lp| {
        let (relay, peers) = relay(lp);
        relay.from.pipe(relay.to);
        relay.to.on_finish(move |_| relay.from.end());
        midway(lp, &relay, |relay| {
            relay.to.write(vec![b'!'; 100_000]);
            relay.to.cork();
            relay.to.write("?");
            relay.to.uncork();
        });
        let threads = (sending(peers.sender), receiving(peers.receiver));
        lp.run().unwrap();
        join(threads.0);
        let received = join(threads.1);
        assert_eq!(received.len(), BULK + 100_001);
        let at = (0..).find(|&at| received[at] != bytes()[at]);
        let at = at.expect("something is in between");
        // Its first bytes may be like those that they displace, and the byte in front of it may be an `!` too.
        let mark = (at.saturating_sub(16)..=at).find(|&at| {
            let (marks, rest) = received[at..].split_at(100_000);
            marks.iter().all(|&byte| byte == b'!') && rest[0] == b'?'
        });
        let mark = mark.expect("it lies together");
        assert!(received[mark + 100_001..] == bytes()[mark..]);
        relay.log.take()
    });
}

#[test]
fn without_end_the_destination_stays_open() {
    on_both_fast(|lp| {
        let (relay, peers) = relay(lp);
        relay
            .from
            .pipe_with(relay.to, PipeOptions::new().end(false));
        let (from, to) = (relay.from, relay.to);
        from.on_end(move |_| to.end_with("over"));
        to.on_finish(move |_| from.end());
        let threads = (sending(peers.sender), receiving(peers.receiver));
        lp.run().unwrap();
        join(threads.0);
        let received = join(threads.1);
        assert_begins(&received[..BULK]);
        assert_eq!(&received[BULK..], b"over");
        relay.log.take()
    });
}

#[test]
fn n221_bulk_is_echoed() {
    on_both_fast(|lp| {
        let (socket, peer) = pair(lp);
        let log = Recorder::new();
        follow(&log, "socket", socket);
        socket.pipe(socket);
        let writer = peer.try_clone().unwrap();
        let sender = thread::spawn(move || {
            (&writer).write_all(bytes()).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let receiver = receiving(peer);
        lp.run().unwrap();
        join(sender);
        assert!(join(receiver) == bytes());
        log.take()
    });
}

#[test]
fn n222_a_proxy_keeps_both_directions_half_open() {
    on_both_fast(|lp| {
        let (relay, peers) = relay(lp);
        relay.from.pipe(relay.to).pipe(relay.from);
        let Peers { sender, receiver } = peers;
        // The answer comes when the question has ended, and is as large.
        let answering = thread::spawn(move || {
            assert!(read_to_end(&receiver) == bytes());
            send_and_end(&receiver, bytes());
        });
        let asking = thread::spawn(move || {
            send_and_end(&sender, bytes());
            assert!(read_to_end(&sender) == bytes());
        });
        lp.run().unwrap();
        join(answering);
        join(asking);
        by_socket(relay.log.take())
    });
}

#[test]
fn both_directions_at_once() {
    on_both_fast(|lp| {
        let (relay, peers) = relay(lp);
        relay.from.pipe(relay.to).pipe(relay.from);
        let talking = [peers.sender, peers.receiver].map(|stream| {
            let writer = stream.try_clone().unwrap();
            let sender = thread::spawn(move || {
                (&writer).write_all(bytes()).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            (sender, receiving(stream))
        });
        lp.run().unwrap();
        for (sender, receiver) in talking {
            join(sender);
            assert!(join(receiver) == bytes());
        }
        let mut trace = relay.log.take();
        // Which end comes first is not the loop's to say.
        trace.sort();
        trace
    });
}
