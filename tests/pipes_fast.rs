//! What is piped from socket to socket may pass within the kernel. Nothing tells of it but the counts of
//! system calls: the same scripts run on a loop that splices and on one that does not, and their traces are
//! the same.

mod support;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use nodeloop::net::{ServerOptions, Socket, SocketOptions};
use nodeloop::stream::PipeOptions;
use nodeloop::{Builder, Counts, Loop};
use support::on_and_off::*;
use support::*;

/// What is large enough for a pipe to divert its source.
const LARGE: usize = 32 * 1024;

/// Whether what comes from a socket can pass within the kernel here: a Unix socket is read, since descriptors
/// may come with its bytes.
fn splices() -> bool {
    cfg!(all(target_os = "linux", feature = "splice")) && !over_unix()
}

/// One connection piped into another.
#[derive(Clone)]
struct Relay {
    from: Socket,
    to: Socket,
    log: Recorder,
}

/// The other ends of its connections.
struct Peers {
    sender: TcpStream,
    receiver: TcpStream,
}

fn relay(lp: &Loop) -> (Relay, Peers) {
    relay_with(lp, ServerOptions::new().allow_half_open(true))
}

fn relay_with(lp: &Loop, options: ServerOptions) -> (Relay, Peers) {
    let (from, sender) = pair_with(lp, options.clone(), connect);
    let (to, receiver) = pair_with(lp, options, connect);
    let log = Recorder::new();
    for (name, socket) in [("from", from), ("to", to)] {
        follow(&log, name, socket);
    }
    (Relay { from, to, log }, Peers { sender, receiver })
}

/// Notes what a socket emits, but for what depends on the pace of others.
fn follow(log: &Recorder, name: &'static str, socket: Socket) {
    let it = log.clone();
    socket.on_end(move |_| it.note(format!("{name} end")));
    let it = log.clone();
    socket.on_finish(move |_| it.note(format!("{name} finish")));
    let it = log.clone();
    socket.on_error(move |_, error| it.note(format!("{name} error {}", code_of(error))));
    let it = log.clone();
    socket.on_close(move |socket, had_error| {
        let (read, written) = (socket.bytes_read(), socket.bytes_written());
        it.note(format!("{name} close {had_error} {read} {written}"));
    });
}

fn on_both(script: impl Fn(&Loop) -> Vec<String>) -> [Counts; 2] {
    on_both_built(|builder| builder, script)
}

/// The same for a script of which much passes within the kernel.
#[track_caller]
fn on_both_fast(script: impl Fn(&Loop) -> Vec<String>) {
    on_both_saving(splices(), |counts| counts.reads, script);
}

/// Sends everything and ends.
fn sending(mut stream: TcpStream) -> JoinHandle<()> {
    thread::spawn(move || {
        stream.write_all(bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // Whoever drops it with something unread resets.
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    })
}

/// Sends as much as the peer takes, and does not mind if it is gone.
fn sending_in_vain(mut stream: TcpStream) -> JoinHandle<()> {
    thread::spawn(move || {
        let _ = stream.write_all(bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

/// Does something when about a half has passed, while nobody waits for 'drain', which would have the source
/// flow.
fn midway(lp: &Loop, relay: &Relay, act: impl FnOnce(Relay) + 'static) {
    let (looked_at, given) = (relay.clone(), relay.clone());
    let half = (BULK / 2) as u64;
    when(
        lp,
        move || {
            let half_read = looked_at.from.bytes_read() >= half;
            half_read && !looked_at.to.writable_need_drain() || looked_at.from.destroyed()
        },
        move || act(given),
    );
}

/// Pipes everything, with something that happens on the way. All of it arrives.
fn all_arrives(lp: &Loop, act: impl Fn(&Loop, &Relay)) -> Vec<String> {
    let (relay, peers) = relay(lp);
    relay.from.pipe(relay.to);
    relay.to.on_finish(move |_| relay.from.end());
    act(lp, &relay);
    let threads = (sending(peers.sender), receiving(peers.receiver));
    lp.run().unwrap();
    join(threads.0);
    assert!(join(threads.1) == bytes());
    relay.log.take()
}

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
        // The first byte of it may be like the one that it displaces.
        let mark = (at.saturating_sub(16)..=at)
            .find(|&at| received[at..][..100_000].iter().all(|&byte| byte == b'!'));
        let mark = mark.expect("it lies together");
        assert_eq!(received[mark + 100_000], b'?');
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

/// What the one socket tells, then the other: which of them is the first depends on the pace of others.
fn by_socket(mut trace: Vec<String>) -> Vec<String> {
    trace.sort_by_key(|event| event.split(' ').next().map(str::to_string));
    trace
}

/// Something ends a relay midway. What has arrived by then is the beginning.
fn ends_early(lp: &Loop, act: impl FnOnce(Relay) + 'static) -> Vec<String> {
    let (relay, peers) = relay(lp);
    relay.from.pipe(relay.to);
    midway(lp, &relay, act);
    let sender = sending_in_vain(peers.sender);
    let receiver = receiving_in_vain(peers.receiver);
    lp.run().unwrap();
    join(sender);
    let received = join(receiver);
    assert_begins(&received);
    assert!(received.len() < BULK);
    without_counters(relay.log.take())
}

/// How much has passed by then depends on the pace of others.
fn without_counters(trace: Vec<String>) -> Vec<String> {
    let words = |event: String| event.split(' ').take(3).collect::<Vec<_>>().join(" ");
    trace.into_iter().map(words).collect()
}

#[test]
fn the_source_is_destroyed_midway() {
    on_both_fast(|lp| {
        ends_early(lp, |relay| {
            relay.from.destroy();
            relay.to.end();
        })
    });
}

#[test]
fn the_destination_is_destroyed_midway() {
    on_both_fast(|lp| {
        let trace = ends_early(lp, |relay| {
            let from = relay.from;
            relay.to.on_close(move |_, _| {
                // Unpiped, so it is held back.
                from.event_loop().set_immediate(move |_| {
                    assert!(from.is_paused());
                    from.destroy();
                });
            });
            relay.to.destroy();
        });
        assert_eq!(trace, ["to close false", "from close false"]);
        trace
    });
}

#[test]
fn the_destination_is_ended_midway() {
    on_both_fast(|lp| {
        let trace = ends_early(lp, |relay| {
            relay.to.end();
            let from = relay.from;
            relay.to.on_error(move |_, _| from.destroy());
            relay.to.on_finish(move |to| {
                from.destroy();
                to.destroy();
            });
        });
        // A chunk that was on its way may have found it ended.
        let mut trace = trace;
        trace.retain(|event| !event.starts_with("to"));
        trace
    });
}

#[test]
fn the_sender_resets_midway() {
    if tcp_only("a Unix socket has no reset") {
        return;
    }
    on_both_fast(|lp| {
        let (relay, peers) = relay(lp);
        relay.from.pipe(relay.to);
        let (all_read, is_read) = mpsc::channel();
        let Peers {
            mut sender,
            receiver,
        } = peers;
        let sender = thread::spawn(move || {
            sender.write_all(bytes()).unwrap();
            is_read.recv().unwrap();
            reset(sender);
        });
        let to = relay.to;
        when(
            lp,
            move || to.bytes_written() == BULK as u64,
            move || all_read.send(()).unwrap(),
        );
        let log = relay.log.clone();
        relay.from.on_close(move |_, _| {
            log.note(format!("writable {}", to.writable()));
            to.end();
        });
        relay.to.on_finish(|to| to.destroy());
        let receiver = receiving(receiver);
        lp.run().unwrap();
        join(sender);
        assert!(join(receiver) == bytes());
        let trace = relay.log.take();
        assert_eq!(trace[0], "from error ECONNRESET");
        trace
    });
}

#[test]
fn the_receiver_resets_midway() {
    if tcp_only("a Unix socket has no reset") {
        return;
    }
    on_both_fast(|lp| {
        let (relay, peers) = relay(lp);
        relay.from.pipe(relay.to);
        let Peers { sender, receiver } = peers;
        let sender = sending_in_vain(sender);
        let receiver = thread::spawn(move || {
            let mut begin = vec![0; BULK / 4];
            (&receiver).read_exact(&mut begin).unwrap();
            reset(receiver);
            begin
        });
        let (log, from) = (relay.log.clone(), relay.from);
        relay.to.on_close(move |_, _| {
            let log = log.clone();
            from.event_loop().set_immediate(move |_| {
                log.note(format!("paused {}", from.is_paused()));
                from.destroy();
            });
        });
        lp.run().unwrap();
        join(sender);
        assert_begins(&join(receiver));
        let trace = without_counters(relay.log.take());
        // Whether a read or a write notices first is a matter of pace.
        let trace: Vec<String> = trace
            .into_iter()
            .map(|event| event.replace("EPIPE", "ECONNRESET"))
            .collect();
        assert_eq!(
            trace,
            [
                "to error ECONNRESET",
                "to close true",
                "paused true",
                "from close false"
            ]
        );
        trace
    });
}

#[test]
fn what_passes_is_activity() {
    let [fast, _] = on_both(|lp| {
        let trace = Rc::new(RefCell::new(Vec::new()));
        let noted = trace.clone();
        let mut events = all_arrives(lp, move |_, relay| {
            for (name, socket) in [("from", relay.from), ("to", relay.to)] {
                let noted = noted.clone();
                socket.set_timeout(5_000);
                socket.on_timeout(move |_| noted.borrow_mut().push(format!("{name} timeout")));
            }
        });
        events.append(&mut trace.borrow_mut());
        events
    });
    assert_eq!(fast.splices > 0, splices());
}

#[test]
#[cfg(target_os = "linux")]
fn a_destination_that_refuses_midway_is_written_to() {
    on_both_fast(|lp| {
        let at_refusal = Rc::new(Cell::new(None));
        let noted = at_refusal.clone();
        let trace = all_arrives(lp, move |lp, relay| {
            let (handle, noted) = (lp.handle(), noted.clone());
            midway(lp, relay, move |relay| {
                refuse_splices_into(&relay.to.try_clone_fd().unwrap());
                noted.set(Some(handle.counts()));
            });
        });
        let (before, after) = (at_refusal.get().unwrap(), lp.counts());
        if before.splices > 0 {
            // A chunk that was taken in and refused, and looks in vain.
            let more = after.splices - before.splices;
            assert!((2..16).contains(&more), "{more}");
            assert!(after.reads > before.reads + 16, "{before:?} {after:?}");
        }
        trace
    });
}

#[test]
fn no_descriptor_is_left() {
    in_own_process(
        "no_descriptor_is_left",
        "",
        || {
            let lp = Loop::new().unwrap();
            let _deadline = deadline(&lp, 60);
            // Makes what is made once.
            all_arrives(&lp, |_, _| {});
            let open = open_descriptors();
            for _ in 0..3 {
                all_arrives(&lp, |_, _| {});
                assert_eq!(open_descriptors(), open);
            }
            ends_early(&lp, |relay| {
                relay.from.destroy();
                relay.to.destroy();
            });
            assert_eq!(open_descriptors(), open);
            assert_eq!(lp.counts().splices > 0, splices());
        },
        |_| {},
    );
}

#[test]
fn out_of_descriptors_it_is_read_and_written() {
    let limits = "ulimit -n 14;";
    in_own_process(
        "out_of_descriptors_it_is_read_and_written",
        limits,
        || {
            let lp = Loop::new().unwrap();
            let _deadline = deadline(&lp, 60);
            let (relay, peers) = relay(&lp);
            relay.from.pipe(relay.to);
            relay.to.on_finish(move |_| relay.from.end());
            let mut spent = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                spent.push(file);
            }
            assert!(!spent.is_empty(), "the limit is too low");
            let threads = (sending(peers.sender), receiving(peers.receiver));
            lp.run().unwrap();
            join(threads.0);
            assert!(join(threads.1) == bytes());
            assert_eq!(lp.counts().splices, 0);
        },
        |_| {},
    );
}

#[test]
fn a_socket_of_another_loop_is_written_to() {
    let lp = Loop::new().unwrap();
    let other = Loop::new().unwrap();
    let _deadline = deadline(&lp, 60);
    let (from, sender) = pair(&lp);
    let (to, receiver) = pair(&other);
    from.pipe(to);
    let sender = sending_in_vain(sender);
    let receiver = receiving(receiver);
    while !to.destroyed() {
        lp.run_nowait().unwrap();
        other.run_nowait().unwrap();
    }
    join(sender);
    assert!(join(receiver) == bytes());
    assert_eq!(lp.counts().splices, 0);
}

#[test]
#[cfg(unix)]
fn a_unix_socket_is_a_destination() {
    on_both_fast(|lp| {
        let scratch = support::files::Scratch::new();
        let path = scratch.path("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let receiver = thread::spawn(move || {
            let mut received = Vec::new();
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_to_end(&mut received).unwrap();
            received
        });
        let log = Recorder::new();
        let (from, sender) = pair(lp);
        let to = Socket::new(lp, SocketOptions::new());
        to.connect(path.as_path()).unwrap();
        follow(&log, "from", from);
        follow(&log, "to", to);
        from.pipe(to);
        let sender = sending_in_vain(sender);
        lp.run().unwrap();
        assert!(join(receiver) == bytes());
        join(sender);
        by_socket(log.take())
    });
}

#[test]
fn a_client_and_a_server_are_joined_while_it_connects() {
    on_both_fast(|lp| {
        let log = Recorder::new();
        let (target_server, at) = listening(lp, |socket| {
            socket.pipe(socket);
            socket.server().unwrap().close();
        });
        let _ = target_server;
        let (client, peer) = pair(lp);
        follow(&log, "client", client);
        let upstream = Socket::new(lp, SocketOptions::new().allow_half_open(true));
        upstream.connect(target(at)).unwrap();
        client.pipe(upstream).pipe(client);
        let writer = peer.try_clone().unwrap();
        let sender = thread::spawn(move || {
            (&writer).write_all(bytes()).unwrap();
        });
        let receiver = thread::spawn(move || {
            let mut received = vec![0; BULK];
            (&peer).read_exact(&mut received).unwrap();
            received
        });
        lp.run().unwrap();
        join(sender);
        assert!(join(receiver) == bytes());
        log.take()
    });
}

/// Adds up what the log tells of 'data', and does what it is told to meanwhile.
struct Telling;

thread_local! {
    static TOLD: Cell<usize> = const { Cell::new(0) };
    static DESTROYS: Cell<Option<Socket>> = const { Cell::new(None) };
}

impl log::Log for Telling {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        let size: Option<usize> = text.split_once("'data' to ").and_then(|(_, rest)| {
            rest.strip_suffix(" bytes")?
                .rsplit(' ')
                .next()?
                .parse()
                .ok()
        });
        let Some(size) = size else { return };
        TOLD.set(TOLD.get() + size);
        if let Some(socket) = DESTROYS.get().filter(|_| TOLD.get() > BULK / 2) {
            socket.destroy();
        }
    }

    fn flush(&self) {}
}

#[test]
fn the_log_tells_of_what_passes_and_may_interfere() {
    in_own_process(
        "the_log_tells_of_what_passes_and_may_interfere",
        "",
        || {
            log::set_logger(&Telling).unwrap();
            log::set_max_level(log::LevelFilter::Trace);
            let lp = Loop::new().unwrap();
            let _deadline = deadline(&lp, 60);
            all_arrives(&lp, |_, _| {});
            assert_eq!(TOLD.take(), BULK);
            let splices_so_far = lp.counts().splices;
            assert_eq!(splices_so_far > 0, splices());
            for destroys_source in [false, true] {
                let (relay, peers) = relay(&lp);
                relay.from.pipe(relay.to);
                let (one, other) = match destroys_source {
                    true => (relay.from, relay.to),
                    false => (relay.to, relay.from),
                };
                DESTROYS.set(Some(one));
                one.on_close(move |_, _| other.destroy());
                let sender = sending_in_vain(peers.sender);
                let receiver = receiving_in_vain(peers.receiver);
                lp.run().unwrap();
                join(sender);
                let received = join(receiver);
                assert_begins(&received);
                assert!(received.len() < BULK);
                DESTROYS.set(None);
                TOLD.set(0);
            }
        },
        |_| {},
    );
}
