//! What is piped from a file into a socket may pass within the kernel. Nothing tells of it but the counts of
//! system calls: the same scripts run on a loop that splices and on one that does not, and their traces are
//! the same. How sockets do so is in `tests/pipes_fast.rs`.

mod support;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::TcpStream;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use nodeloop::fs::{self, ReadOptions, ReadStream};
use nodeloop::net::Socket;
use nodeloop::stream::PipeOptions;
use nodeloop::{Builder, Loop, LoopHandle};
use support::files::*;
#[cfg(target_os = "linux")]
use support::on_and_off::refuse_splices_into;
use support::on_and_off::{BULK, assert_begins, bytes, receiving, receiving_in_vain};
use support::sent_file::*;
use support::*;

#[test]
fn everything_arrives_with_the_same_events_and_counters() {
    let (_scratch, path) = bulk();
    on_both_fast(|lp| {
        let trace = all_arrives(lp, &path, |_, _| {});
        let finish = ["file end", "to finish"];
        assert!(
            finish
                .iter()
                .all(|event| trace.contains(&event.to_string()))
        );
        trace
    });
}

#[test]
fn rare_paths_bring_everything_too() {
    let (_scratch, path) = bulk();
    let builders: [(bool, fn(Builder) -> Builder); 5] = [
        (true, |builder| builder.gather(false)),
        (true, |builder| builder.spurious_events(true)),
        (true, |builder| builder.worker_threads(1)),
        // Something always waits.
        (false, |builder| builder.limit_writes(50_000)),
        (false, |builder| builder.limit_writes(65_535).read_budget(1)),
    ];
    for (passes, build) in builders {
        let [fast, _] = on_both_built(build, |lp| all_arrives(lp, &path, |_, _| {}));
        assert_eq!(fast.splices > 0, passes && splices(), "{fast:?}");
    }
}

#[test]
fn every_part_arrives() {
    let (_scratch, path) = bulk();
    for mark in [40_000, 64 * 1024, 1 << 20] {
        for (start, end) in [
            (0, 300_000),
            (5, 999_999),
            (65_537, 8 << 20),
            (100, 1 << 22),
        ] {
            on_both(|lp| {
                let options = ReadOptions::new().high_water_mark(mark);
                let options = options.start(start).end(end);
                let file = || fs::create_read_stream_with(lp, &path, options).unwrap();
                let (sending, receiver) = sending_with(lp, file);
                sending.file.pipe(sending.to);
                let receiver = receiving(receiver);
                lp.run().unwrap();
                let end = BULK.min(end as usize + 1);
                assert!(join(receiver) == bytes()[start as usize..end]);
                sending.log.take()
            });
        }
    }
}

#[test]
fn an_open_file_is_sent_from_where_it_stands() {
    let scratch = Scratch::new();
    let much = bytes().repeat(4);
    let path = scratch.file("much", &much);
    for mark in [64 * 1024, 1 << 20] {
        let [fast, _] = on_both(|lp| {
            let mut file = File::open(&path).unwrap();
            file.seek(SeekFrom::Start(12_345)).unwrap();
            let mut clone = file.try_clone().unwrap();
            let options = ReadOptions::new().high_water_mark(mark);
            let stream = || ReadStream::from_file(lp, file, options).unwrap();
            let (sending, receiver) = sending_with(lp, stream);
            sending.file.pipe(sending.to);
            assert!(received_part_by_part(lp, sending.to, receiver) == much[12_345..]);
            // Whoever shares the descriptor sees where it stands now.
            assert_eq!(clone.stream_position().unwrap(), much.len() as u64);
            sending.log.take()
        });
        // A Unix socket is always full if a chunk is larger than what it takes.
        assert!(fast.splices > 0 || !splices() || over_unix());
    }
}

/// Receives a part whenever the socket is full, and then the rest: so that it is full again and again, and
/// takes something at once in between.
fn received_part_by_part(lp: &Loop, to: Socket, mut receiver: TcpStream) -> Vec<u8> {
    const PART: usize = 3 << 20;
    let mut received = Vec::new();
    let mut buffer = vec![0; 100_000];
    let mut wanted = 0;
    receiver.set_nonblocking(true).unwrap();
    while !to.writable_ended() {
        lp.run_nowait().unwrap();
        if to.writable_need_drain() && received.len() >= wanted {
            wanted = received.len() + PART;
        }
        if received.len() < wanted {
            match receiver.read(&mut buffer) {
                Ok(size) => received.extend_from_slice(&buffer[..size]),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
        }
    }
    receiver.set_nonblocking(false).unwrap();
    let rest = receiving(receiver);
    lp.run().unwrap();
    received.extend(join(rest));
    received
}

#[test]
fn what_a_full_socket_does_not_take_is_taken_again() {
    let scratch = Scratch::new();
    let much = bytes().repeat(4);
    let path = scratch.file("much", &much);
    for mark in [50_000, 64 * 1024, 1 << 20] {
        let [fast, _] = on_both(|lp| {
            let options = ReadOptions::new().high_water_mark(mark);
            let file = || fs::create_read_stream_with(lp, &path, options).unwrap();
            let (sending, receiver) = sending_with(lp, file);
            let drains = Rc::new(Cell::new(0));
            let counted = drains.clone();
            sending.to.on_drain(move |_| counted.set(counted.get() + 1));
            sending.file.pipe(sending.to);
            assert!(received_part_by_part(lp, sending.to, receiver) == much);
            assert!(drains.get() > 0);
            sending.log.take()
        });
        // A Unix socket is always full if a chunk is larger than what it takes.
        assert!(fast.splices > 0 || !splices() || over_unix());
    }
}

#[test]
fn a_small_file_is_read_and_written() {
    let scratch = Scratch::new();
    for size in [0, 1, 1000, 64 * 1024 - 1] {
        let path = scratch.file("small", &bytes()[..size]);
        let [fast, _] = on_both(|lp| {
            let (sending, receiver) = sending(lp, &path);
            sending.file.pipe(sending.to);
            let receiver = receiving(receiver);
            lp.run().unwrap();
            assert!(join(receiver) == bytes()[..size]);
            sending.log.take()
        });
        assert!(fast.splices <= 1, "{size}: {fast:?}");
    }
}

#[test]
fn a_slow_reader_stops_the_file() {
    let (_scratch, path) = bulk();
    on_both_fast(|lp| {
        let (sending, mut receiver) = sending(lp, &path);
        sending.file.pipe(sending.to);
        // Nobody reads: as much as the kernels keep goes through, one chunk waits and one is in reserve.
        turn_until(lp, || sending.to.writable_need_drain());
        turn_until(lp, || sending.file.readable_length() >= 64 * 1024);
        let held = sending.to.writable_length() + sending.file.readable_length();
        assert!(held <= 2 * 64 * 1024, "{held} bytes are held");
        let mut received = vec![0; 1_000_000];
        let reader = thread::spawn(move || {
            receiver.read_exact(&mut received).unwrap();
            received.extend(read_to_end(&receiver));
            received
        });
        lp.run().unwrap();
        assert!(join(reader) == bytes());
        sending.log.take()
    });
}

#[test]
fn who_wants_to_see_the_bytes_sees_them() {
    let (_scratch, path) = bulk();
    let [fast, _] = on_both(|lp| {
        let seen = Rc::new(Cell::new(0));
        let counted = seen.clone();
        let trace = all_arrives(lp, &path, move |_, sending| {
            let seen = counted.clone();
            let add = move |_, chunk: &[u8]| seen.set(seen.get() + chunk.len());
            sending.file.on_data(add);
        });
        assert_eq!(seen.get(), BULK);
        trace
    });
    assert_eq!(fast.splices, 0);
}

#[test]
fn a_listener_that_comes_midway_sees_the_rest() {
    let (_scratch, path) = bulk();
    on_both_fast(|lp| {
        let rest = Rc::new(RefCell::new(Vec::new()));
        let collected = rest.clone();
        let trace = all_arrives(lp, &path, move |lp, sending| {
            let rest = collected.clone();
            midway(lp, sending, move |sending| {
                let add = move |_, chunk: &[u8]| rest.borrow_mut().extend_from_slice(chunk);
                sending.file.on_data(add);
            });
        });
        let rest = rest.take();
        assert!(!rest.is_empty() && bytes().ends_with(&rest));
        trace
    });
}

#[test]
fn a_pause_midway_holds_everything_back() {
    let (_scratch, path) = bulk();
    on_both_fast(|lp| {
        all_arrives(lp, &path, |lp, sending| {
            let handle = lp.handle();
            midway(lp, sending, move |sending| {
                sending.file.pause();
                let written = sending.to.bytes_written();
                handle.set_timeout_once(20, move |_| {
                    assert_eq!(sending.to.bytes_written(), written);
                    sending.file.resume();
                });
            });
        })
    });
}

#[test]
fn an_unpipe_midway_leaves_the_rest_in_the_file() {
    let (_scratch, path) = bulk();
    on_both_fast(|lp| {
        all_arrives(lp, &path, |lp, sending| {
            let handle = lp.handle();
            midway(lp, sending, move |sending| {
                sending.file.unpipe(sending.to);
                let written = sending.to.bytes_written();
                handle.set_timeout_once(20, move |_| {
                    let kept = sending.file.readable_length() as u64;
                    assert_eq!(sending.to.bytes_written(), written);
                    assert_eq!(sending.file.bytes_read(), written + kept);
                    sending.file.pipe(sending.to);
                });
            });
        })
    });
}

#[test]
fn files_follow_one_another_without_end() {
    let (_scratch, path) = bulk();
    on_both_fast(|lp| {
        let (first, receiver) = sending(lp, &path);
        let without_end = PipeOptions::new().end(false);
        first.file.pipe_with(first.to, without_end);
        let (to, path) = (first.to, path.clone());
        first.file.on_end(move |file| {
            to.write("between");
            fs::create_read_stream(&file, &path).pipe(to);
        });
        let receiver = receiving(receiver);
        lp.run().unwrap();
        let received = join(receiver);
        assert_begins(&received[..BULK]);
        assert_eq!(&received[BULK..BULK + 7], b"between");
        assert_begins(&received[BULK + 7..]);
        assert_eq!(received.len(), 2 * BULK + 7);
        first.log.take()
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_socket_that_refuses_midway_is_written_to() {
    let (_scratch, path) = bulk();
    on_both_fast(|lp| {
        let at_refusal = Rc::new(Cell::new(None));
        let noted = at_refusal.clone();
        let trace = all_arrives(lp, &path, move |lp, sending| {
            let (handle, noted) = (lp.handle(), noted.clone());
            midway(lp, sending, move |sending| {
                refuse_splices_into(&sending.to.try_clone_fd().unwrap());
                noted.set(Some(handle.counts()));
            });
        });
        let (before, after) = (at_refusal.get().unwrap(), lp.counts());
        if before.splices > 0 {
            // The chunks of what was taken from the file already.
            let more = after.splices - before.splices;
            assert!((1..=18).contains(&more), "{more}");
            assert!(after.jobs > before.jobs + 16, "{before:?} {after:?}");
        }
        trace
    });
}

#[test]
fn many_files_at_once() {
    let (_scratch, path) = bulk();
    let [fast, plain] = on_both(|lp| {
        let all: Vec<_> = (0..20)
            .map(|_| {
                let (sending, receiver) = sending(lp, &path);
                sending.file.pipe(sending.to);
                (sending, receiving(receiver))
            })
            .collect();
        lp.run().unwrap();
        let mut traces = Vec::new();
        for (sending, receiver) in all {
            assert!(join(receiver) == bytes());
            traces.extend(sending.log.take());
        }
        traces
    });
    assert_eq!(fast.splices > 0, splices());
    assert!(!splices() || fast.jobs < plain.jobs);
}

/// Does something when a condition holds, looking in between the chunks of files that take turns. The loop has
/// one worker: what that has taken of files by now is delivered in front of the look, and the second chunks of
/// it come behind.
fn between_chunks(
    lp: LoopHandle,
    condition: impl Fn() -> bool + 'static,
    act: impl FnOnce() + 'static,
) {
    let look = move |lp, _| match condition() {
        true => act(),
        false => between_chunks(lp, condition, act),
    };
    let (done, is_done) = mpsc::channel();
    lp.spawn_blocking(|| (), look);
    lp.spawn_blocking(move || done.send(()).unwrap(), |_, _| ());
    is_done.recv().unwrap();
}

/// Sends a file beside others. Something holds it back behind a chunk of which TCP was told that more
/// follows: what was written by then arrives, and when it goes on, all does. Returns whether it came to that.
fn is_held_back_beside_others(path: &Path, hold: fn(&Sending), go_on: fn(&Sending)) -> bool {
    const CHUNK: u64 = 64 * 1024;
    let lp = Loop::builder().worker_threads(1).build().unwrap();
    let _deadline = deadline(&lp, 60);
    let (held, receiver) = sending(&lp, path);
    held.file.pipe(held.to);
    let others: Vec<_> = (0..3)
        .map(|_| {
            let (sending, receiver) = sending(&lp, path);
            sending.file.pipe(sending.to);
            receiving(receiver)
        })
        .collect();
    let is_held = Rc::new(Cell::new(false));
    let (looked_at, given, noted) = (held.clone(), held.clone(), is_held.clone());
    let last_read = Cell::new(0);
    between_chunks(
        lp.handle(),
        move || {
            let read = looked_at.file.bytes_read();
            // One chunk since the look before, and it was taken whole: the fill has more. The file's first
            // chunk is read.
            let is_within = read == last_read.replace(read) + CHUNK && read > CHUNK;
            let is_within = is_within && looked_at.to.writable_length() == 0;
            is_within || read == BULK as u64 || looked_at.file.destroyed()
        },
        move || {
            noted.set(given.file.bytes_read() < BULK as u64);
            if noted.get() {
                hold(&given);
            }
        },
    );
    let arrived = Arc::new(AtomicUsize::new(0));
    let counted = arrived.clone();
    let receiver = thread::spawn(move || {
        let mut received = Vec::new();
        let mut buffer = vec![0; 100_000];
        loop {
            let size = (&receiver).read(&mut buffer).unwrap();
            if size == 0 {
                return received;
            }
            received.extend_from_slice(&buffer[..size]);
            counted.store(received.len(), Ordering::SeqCst);
        }
    });
    turn_until(&lp, || is_held.get() || held.to.writable_ended());
    let options = lp.counts().options;
    if is_held.get() {
        let written = held.to.bytes_written();
        turn_until(&lp, || arrived.load(Ordering::SeqCst) as u64 == written);
        go_on(&held);
    }
    lp.run().unwrap();
    assert!(join(receiver) == bytes());
    for other in others {
        assert!(join(other) == bytes());
    }
    is_held.get() && options > 0
}

#[test]
fn a_file_that_is_held_back_beside_others_keeps_nothing_back() {
    if !splices() || over_unix() {
        return println!("skipped: nobody is told here that more follows");
    }
    let (_scratch, path) = bulk();
    let ways: [(fn(&Sending), fn(&Sending)); 2] = [
        (
            |it| {
                it.file.pause();
            },
            |it| {
                it.file.resume();
            },
        ),
        (
            |it| {
                it.file.unpipe(it.to);
            },
            |it| {
                it.file.pipe(it.to);
            },
        ),
    ];
    for (hold, go_on) in ways {
        // Whether the socket is full by then is a matter of the receiver's pace.
        let is_held = || is_held_back_beside_others(&path, hold, go_on);
        assert!((0..20).any(|_| is_held()), "it never came to that");
    }
}

#[test]
fn files_that_end_early_leave_room_for_others() {
    // More than are sent in this way at a time.
    const ENDED: usize = 20;
    if !splices() {
        return println!("skipped: nothing is spliced here");
    }
    let (_scratch, path) = bulk();
    let lp = Loop::builder().worker_threads(1).build().unwrap();
    let _deadline = deadline(&lp, 60);
    for n in 0..ENDED {
        let (ended, receiver) = sending(&lp, &path);
        ended.file.pipe(ended.to);
        let (other, other_receiver) = sending(&lp, &path);
        other.file.pipe(other.to);
        let file = ended.file;
        let half = (BULK / 2) as u64;
        between_chunks(
            lp.handle(),
            move || file.bytes_read() >= half || file.destroyed(),
            move || {
                match n % 2 {
                    0 => ended.file.destroy(),
                    _ => ended.to.destroy(),
                };
                ended.to.on_close(move |_, _| ended.file.destroy());
                ended.file.on_close(move |_| ended.to.destroy());
            },
        );
        let receivers = [receiver, other_receiver].map(receiving_in_vain);
        lp.run().unwrap();
        let [received, of_other] = receivers.map(join);
        assert_begins(&received);
        assert!(received.len() < BULK && of_other == bytes());
    }
    let before = lp.counts();
    all_arrives(&lp, &path, |_, _| {});
    let chunks = (BULK / (64 * 1024)) as u64;
    assert!(lp.counts().splices > before.splices + chunks / 2);
}
