//! What is piped from a file into a socket within the kernel, and ends early, or is no ordinary file: the same
//! scripts run on a loop that splices and on one that does not, and their traces are the same. The rest is in
//! `tests/pipes_fast_files.rs`.

mod support;

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;

use nodeloop::Loop;
use nodeloop::fs::{self, ReadOptions};
use support::files::*;
use support::on_and_off::{BULK, assert_begins, bytes, receiving, receiving_in_vain};
use support::sent_file::*;
use support::*;

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
