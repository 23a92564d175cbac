//! What is piped from a file into a socket may pass within the kernel. Nothing tells of it but the counts of
//! system calls: the same scripts run on a loop that splices and on one that does not, and their traces are
//! the same. How sockets do so is in `tests/pipes_fast.rs`.

mod support;

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use nodeloop::fs::{self, ReadOptions, ReadStream};
use nodeloop::net::{ServerOptions, Socket};
use nodeloop::stream::PipeOptions;
use nodeloop::{Builder, Counts, Loop, LoopHandle};
use support::files::*;
#[cfg(target_os = "linux")]
use support::on_and_off::refuse_splices_into;
use support::on_and_off::{
    BULK, assert_begins, bytes, on_both_saving, receiving, receiving_in_vain, when,
};
use support::*;

fn splices() -> bool {
    cfg!(all(target_os = "linux", feature = "splice"))
}

/// A file that is piped into a connection.
#[derive(Clone)]
struct Sending {
    file: ReadStream,
    to: Socket,
    log: Recorder,
}

/// A file of these bytes, for a script that is run more than once.
fn bulk() -> (Scratch, PathBuf) {
    let scratch = Scratch::new();
    let path = scratch.file("bulk", bytes());
    (scratch, path)
}

fn sending(lp: &Loop, path: &Path) -> (Sending, TcpStream) {
    sending_with(lp, || fs::create_read_stream(lp, path))
}

fn sending_with(lp: &Loop, file: impl FnOnce() -> ReadStream) -> (Sending, TcpStream) {
    let (to, receiver) = pair_with(lp, ServerOptions::new().allow_half_open(true), connect);
    let file = file();
    let log = Recorder::new();
    follow(&log, file, to);
    (Sending { file, to, log }, receiver)
}

/// Notes what both emit, but for what depends on the pace of others.
fn follow(log: &Recorder, file: ReadStream, to: Socket) {
    file.on_open(log.noting("file open"));
    file.on_end(log.noting("file end"));
    let it = log.clone();
    file.on_error(move |_, error| it.note(format!("file error {}", code_of(error))));
    let it = log.clone();
    file.on_close(move |_| it.note(format!("file close {}", file.bytes_read())));
    to.on_finish(log.noting("to finish"));
    let it = log.clone();
    to.on_error(move |_, error| it.note(format!("to error {}", code_of(error))));
    let it = log.clone();
    to.on_close(move |to, had_error| {
        it.note(format!("to close {had_error} {}", to.bytes_written()));
    });
}

fn on_both(script: impl Fn(&Loop) -> Vec<String>) -> [Counts; 2] {
    on_both_built(|builder| builder, script)
}

/// A script whose trace has the file's events first: which of the two is the first depends on the pace of
/// others.
fn by_stream(script: impl Fn(&Loop) -> Vec<String>) -> impl Fn(&Loop) -> Vec<String> {
    move |lp| {
        let mut trace = script(lp);
        trace.sort_by_key(|event| event.starts_with("to"));
        trace
    }
}

fn on_both_built(
    build: impl Fn(Builder) -> Builder,
    script: impl Fn(&Loop) -> Vec<String>,
) -> [Counts; 2] {
    on_and_off::on_both_built(build, by_stream(script))
}

/// The same for a script of which much passes within the kernel.
#[track_caller]
fn on_both_fast(script: impl Fn(&Loop) -> Vec<String>) {
    on_both_saving(splices(), |counts| counts.jobs, by_stream(script));
}

/// Does something when about a half has passed, while nobody waits for 'drain', which would have the file
/// flow.
fn midway(lp: &Loop, sending: &Sending, act: impl FnOnce(Sending) + 'static) {
    let (looked_at, given) = (sending.clone(), sending.clone());
    when(
        lp,
        move || {
            let half_read = looked_at.file.bytes_read() >= (BULK / 2) as u64;
            half_read && !looked_at.to.writable_need_drain() || looked_at.file.destroyed()
        },
        move || act(given),
    );
}

/// Pipes everything, with something that happens on the way. All of it arrives.
fn all_arrives(lp: &Loop, path: &Path, act: impl Fn(&Loop, &Sending)) -> Vec<String> {
    let (sending, receiver) = sending(lp, path);
    sending.file.pipe(sending.to);
    act(lp, &sending);
    let receiver = receiving(receiver);
    lp.run().unwrap();
    assert!(join(receiver) == bytes());
    sending.log.take()
}

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

/// Something ends a transfer midway. What has arrived by then is the beginning.
fn ends_early(lp: &Loop, path: &Path, act: impl FnOnce(Sending) + 'static) -> Vec<String> {
    let (sending, receiver) = sending(lp, path);
    sending.file.pipe(sending.to);
    midway(lp, &sending, act);
    let receiver = receiving_in_vain(receiver);
    lp.run().unwrap();
    let received = join(receiver);
    assert_begins(&received);
    assert!(received.len() < BULK);
    // How much has passed by then depends on the pace of others.
    let words = |event: String| event.split(' ').take(2).collect::<Vec<_>>().join(" ");
    sending.log.take().into_iter().map(words).collect()
}

#[test]
fn the_file_is_destroyed_midway() {
    let (_scratch, path) = bulk();
    on_both_fast(|lp| {
        let trace = ends_early(lp, &path, |sending| {
            sending.file.destroy();
            sending.to.destroy();
        });
        assert_eq!(trace.len(), 3, "{trace:?}");
        trace
    });
}

#[test]
fn the_socket_is_destroyed_midway() {
    let (_scratch, path) = bulk();
    on_both_fast(|lp| {
        ends_early(lp, &path, |sending| {
            let file = sending.file;
            sending.to.on_close(move |to, _| {
                // Unpiped, so it is held back.
                nodeloop::AsLoop::event_loop(&to).set_immediate(move |_| {
                    assert!(file.is_paused());
                    file.destroy();
                });
            });
            sending.to.destroy();
        })
    });
}

#[test]
fn the_receiver_resets_midway() {
    if tcp_only("a Unix socket has no reset") {
        return;
    }
    let (_scratch, path) = bulk();
    on_both_fast(|lp| {
        let (sending, receiver) = sending(lp, &path);
        sending.file.pipe(sending.to);
        let receiver = thread::spawn(move || {
            let mut begin = vec![0; BULK / 4];
            (&receiver).read_exact(&mut begin).unwrap();
            reset(receiver);
            begin
        });
        let file = sending.file;
        let log = sending.log.clone();
        sending.to.on_close(move |to, _| {
            let log = log.clone();
            to.event_loop().set_immediate(move |_| {
                log.note(format!("paused {}", file.is_paused()));
                file.destroy();
            });
        });
        lp.run().unwrap();
        assert_begins(&join(receiver));
        let trace = sending.log.take().into_iter();
        let words = |event: String| event.split(' ').take(3).collect::<Vec<_>>().join(" ");
        // How much has passed, and whether a read or a write notices first, are matters of pace.
        let trace = trace.filter(|event| !event.starts_with("file close"));
        let trace: Vec<String> = trace
            .map(|event| words(event).replace("EPIPE", "ECONNRESET"))
            .collect();
        let gone = ["to error ECONNRESET", "to close true", "paused true"];
        assert_eq!(trace[1..], gone);
        trace
    });
}

#[test]
fn a_file_that_shrinks_midway_ends_there() {
    let scratch = Scratch::new();
    let [fast, _] = on_both(|lp| {
        let path = scratch.file("shrinks", bytes());
        let (sending, receiver) = sending(lp, &path);
        sending.file.pipe(sending.to);
        midway(lp, &sending, move |_| {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(1000).unwrap();
        });
        let receiver = receiving(receiver);
        lp.run().unwrap();
        let received = join(receiver);
        // The pages that are on their way are the file's: what was cut off may have become zeros.
        assert!(received.len() >= BULK / 2 && received.len() < BULK);
        assert_begins(&received[..1000]);
        let trace = sending.log.take();
        let counted = |event: &String| !event.contains("close");
        trace.into_iter().filter(counted).collect()
    });
    assert_eq!(fast.splices > 0, splices());
}

#[test]
#[cfg(unix)]
fn what_is_no_regular_file_is_read_and_written() {
    let scratch = Scratch::new();
    // Endless zeros.
    on_both(|lp| {
        let options = ReadOptions::new().end((1 << 20) - 1);
        let file = || fs::create_read_stream_with(lp, "/dev/zero", options).unwrap();
        let (sending, receiver) = sending_with(lp, file);
        sending.file.pipe(sending.to);
        let receiver = receiving(receiver);
        lp.run().unwrap();
        assert!(join(receiver) == vec![0; 1 << 20]);
        sending.log.take()
    });
    // A named pipe.
    let fifo = scratch.path("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    if !made.is_ok_and(|status| status.success()) {
        return println!("skipped: there is no mkfifo");
    }
    on_both(|lp| {
        let path = fifo.clone();
        let writer = thread::spawn(move || {
            let mut file = OpenOptions::new().write(true).open(path).unwrap();
            file.write_all(bytes()).unwrap();
        });
        let (sending, receiver) = sending(lp, &fifo);
        sending.file.pipe(sending.to);
        let receiver = receiving(receiver);
        lp.run().unwrap();
        join(writer);
        assert!(join(receiver) == bytes());
        sending.log.take()
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_that_the_kernel_makes_up_arrives() {
    const MADE_UP: &str = "/proc/kallsyms";
    let expected = std::fs::read(MADE_UP).unwrap_or_default();
    if expected.len() < 1 << 20 {
        return println!("skipped: {MADE_UP} is not there");
    }
    on_both(|lp| {
        let (sending, receiver) = sending(lp, Path::new(MADE_UP));
        sending.file.pipe(sending.to);
        let receiver = receiving(receiver);
        lp.run().unwrap();
        assert!(join(receiver) == expected);
        sending.log.take()
    });
}

#[test]
fn no_descriptor_is_left() {
    in_own_process(
        "no_descriptor_is_left",
        "",
        || {
            let (_scratch, path) = bulk();
            let lp = Loop::new().unwrap();
            let _deadline = deadline(&lp, 60);
            // Makes what is made once.
            all_arrives(&lp, &path, |_, _| {});
            let open = open_descriptors();
            for _ in 0..3 {
                all_arrives(&lp, &path, |_, _| {});
                assert_eq!(open_descriptors(), open);
            }
            for _ in 0..3 {
                ends_early(&lp, &path, |sending| {
                    sending.to.destroy();
                    sending.file.destroy();
                });
                assert_eq!(open_descriptors(), open);
            }
            assert_eq!(lp.counts().splices > 0, splices());
            // Also of a loop that ends in the middle.
            let before = open_descriptors();
            let other = Loop::new().unwrap();
            let (sending, receiver) = sending(&other, &path);
            sending.file.pipe(sending.to);
            turn_until(&other, || sending.to.writable_need_drain());
            drop(other);
            drop(receiver);
            // A worker that is at it closes what it has when it is done.
            let deadline = std::time::Instant::now() + PATIENCE;
            while open_descriptors() != before {
                assert!(std::time::Instant::now() < deadline, "a descriptor is left");
                thread::yield_now();
            }
        },
        |_| {},
    );
}

/// Whether all of the sparse file is sent, `NODELOOP_TEST_VOLUME=4096` or more, as in
/// `tests/files_volume.rs`, or what lies around its 4 GiB.
fn sends_all() -> bool {
    let mib = std::env::var("NODELOOP_TEST_VOLUME").ok();
    mib.and_then(|mib| mib.parse().ok()) >= Some(4096)
}

#[test]
fn more_than_4_gib_arrive() {
    const FOUR_GIB: u64 = 1 << 32;
    const AROUND: u64 = 32 << 20;
    let scratch = Scratch::new();
    let path = scratch.path("sparse");
    let end = FOUR_GIB + AROUND + 12_345;
    let start = if sends_all() { 0 } else { FOUR_GIB - AROUND };
    let mut file = File::create(&path).unwrap();
    file.seek(SeekFrom::Start(end - 3)).unwrap();
    file.write_all(b"end").unwrap();
    drop(file);
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 120);
    let options = ReadOptions::new().start(start);
    let file = || fs::create_read_stream_with(&lp, &path, options).unwrap();
    let (sending, mut receiver) = sending_with(&lp, file);
    sending.file.pipe(sending.to);
    let counting = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        let (mut size, mut last) = (0, Vec::new());
        loop {
            let read = receiver.read(&mut buffer).unwrap();
            if read == 0 {
                return (size, last);
            }
            size += read as u64;
            last.extend_from_slice(&buffer[read.saturating_sub(3)..read]);
            last.drain(..last.len().saturating_sub(3));
        }
    });
    lp.run().unwrap();
    let size = end - start;
    assert_eq!(join(counting), (size, b"end".to_vec()));
    let trace = sending.log.take();
    for event in ["file end", "to finish", &format!("file close {size}")] {
        assert!(trace.iter().any(|it| it == event), "{event}: {trace:?}");
    }
    let counts = lp.counts();
    let much = counts.splices > size / (128 * 1024);
    assert_eq!(much, splices(), "{counts:?}");
}
