//! Writing files as streams. What Node's `fs.createWriteStream` tells is compared with it by the
//! scenarios of `files`; here is what those can't show.

mod support;

use std::cell::Cell;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::rc::Rc;

use nodeloop::Loop;
use nodeloop::fs::{self, Flags, WriteOptions, WriteStream};
use support::files::*;
use support::*;

#[test]
fn everything_is_written_in_order_and_finish_comes_behind_the_last_byte() {
    let scratch = Scratch::new();
    let path = scratch.path("file");
    let bytes = pattern(500_000);
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let file = fs::create_write_stream(&lp, &path);
    assert!(file.pending());
    // Pieces of every size, all at once: nothing is lost by writing on.
    let (mut rest, mut size) = (&bytes[..], 1);
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(size.min(rest.len()));
        file.write(piece);
        (rest, size) = (later, size * 2 % 40_009 + 1);
    }
    file.end();
    let (at, expected) = (path.clone(), bytes.clone());
    let finished = Rc::new(Cell::new(false));
    let inner = finished.clone();
    file.on_finish(move |_| {
        assert!(content(&at) == expected);
        assert_eq!(file.bytes_written(), expected.len() as u64);
        inner.set(true);
    });
    lp.run().unwrap();
    assert!(finished.get());
    assert!(content(&path) == bytes);
}

#[test]
fn n177_backpressure_by_its_mark_and_drain() {
    let scratch = Scratch::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let options = WriteOptions::new().high_water_mark(1_000);
    let path = scratch.path("file");
    let file = fs::create_write_stream_with(&lp, &path, options);
    let log = Recorder::new();
    assert!(file.write(vec![1; 999]));
    assert!(!file.write(vec![2; 1]));
    assert_eq!(file.writable_length(), 1_000);
    let inner = log.clone();
    let mut rounds = 0;
    file.on_drain(move |file| {
        assert_eq!(file.writable_length(), 0);
        rounds += 1;
        inner.note("drain");
        match rounds {
            1..=3 => assert!(!file.write(vec![3; 1_000])),
            _ => file.end(),
        }
    });
    lp.run().unwrap();
    log.expect(&["drain"; 4]);
    assert_eq!(content(&path).len(), 4_000);
}

#[test]
fn flags_decide_what_becomes_of_what_is_there() {
    let scratch = Scratch::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let cases = [
        ("w", "new", "new"),
        ("w+", "new", "new"),
        ("a", "new", "oldernew"),
        ("a+", "new", "oldernew"),
        ("r+", "new", "newer"),
    ];
    for (flags, text, expected) in cases {
        let path = scratch.file("there", "older");
        let options = WriteOptions::new().flags(flags.parse().unwrap());
        fs::create_write_stream_with(&lp, &path, options).end_with(text);
        lp.run().unwrap();
        assert_eq!(content(&path), expected.as_bytes(), "{flags}");
    }
    for flags in ["wx", "wx+", "ax", "ax+"] {
        let options = WriteOptions::new().flags(flags.parse().unwrap());
        let there = scratch.file("there", "older");
        fs::create_write_stream_with(&lp, &there, options.clone()).end_with("new");
        assert_eq!(code(lp.run()), "EEXIST", "{flags}");
        assert_eq!(content(&there), b"older");
        let path = scratch.path(flags);
        fs::create_write_stream_with(&lp, &path, options).end_with("new");
        lp.run().unwrap();
        assert_eq!(content(&path), b"new", "{flags}");
    }
}

#[test]
fn from_a_position_on_also_beyond_4_gib() {
    let scratch = Scratch::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let path = scratch.file("file", "0123456789");
    let options = WriteOptions::new().flags(Flags::ReadWrite).start(3);
    let file = fs::create_write_stream_with(&lp, &path, options.clone());
    file.write("ab");
    file.cork();
    file.write("c");
    file.write("d");
    file.end();
    lp.run().unwrap();
    assert_eq!(content(&path), b"012abcd789");
    let far = (1 << 32) + 5;
    fs::create_write_stream_with(&lp, &path, options.start(far)).end_with("far");
    lp.run().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), far + 3);
    // What can't be: an error, not a panic.
    let options = WriteOptions::new().start(u64::MAX);
    let file = fs::create_write_stream_with(&lp, scratch.path("other"), options);
    file.write("x");
    assert_eq!(code(lp.run()), "EINVAL");
}

#[test]
fn an_open_file_is_written_where_it_stands() {
    let scratch = Scratch::new();
    let path = scratch.file("file", "0123456789");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let mut file = File::options().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(8)).unwrap();
    let stream = WriteStream::from_file(&lp, file.try_clone().unwrap(), WriteOptions::new());
    assert_eq!((stream.path(), stream.pending()), (None, false));
    stream.end_with("abc");
    lp.run().unwrap();
    file.write_all(b"!").unwrap();
    assert_eq!(content(&path), b"01234567abc!");
}

#[test]
#[cfg(unix)]
fn the_permissions_of_a_file_that_is_made() {
    use std::os::unix::fs::PermissionsExt;

    let scratch = Scratch::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let path = scratch.path("private");
    let options = WriteOptions::new().mode(0o600);
    fs::create_write_stream_with(&lp, &path, options).end_with("secret");
    lp.run().unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_told_to_every_write_and_leaves_no_descriptor() {
    in_own_process(
        "a_full_disk_is_told_to_every_write_and_leaves_no_descriptor",
        "",
        || {
            let lp = Loop::new().unwrap();
            let _deadline = deadline(&lp, 20);
            let before = open_descriptors();
            let file = fs::create_write_stream(&lp, "/dev/full");
            let log = Recorder::new();
            for name in ["first", "second"] {
                file.write_then("x", log.done(name));
            }
            file.end_then(log.done("end"));
            let inner = log.clone();
            file.on_finish(move |_| inner.note("finish"));
            let inner = log.clone();
            file.on_error(move |_, error| inner.note(error));
            let inner = log.clone();
            file.on_close(move |_| inner.note("close"));
            lp.run().unwrap();
            log.expect(&[
                "first ENOSPC",
                "second ENOSPC",
                "end ENOSPC",
                "ENOSPC: no space left on device, write",
                "close",
            ]);
            assert_eq!(open_descriptors(), before);
        },
        |_| {},
    );
}

#[test]
fn destroyed_at_any_time_it_closes_its_file_and_says_so_to_every_write() {
    in_own_process(
        "destroyed_at_any_time_it_closes_its_file_and_says_so_to_every_write",
        "",
        || {
            let scratch = Scratch::new();
            let lp = Loop::new().unwrap();
            let _deadline = deadline(&lp, 20);
            let before = open_descriptors();
            for when in 0..4 {
                let file = fs::create_write_stream(&lp, scratch.path("file"));
                let log = Recorder::new();
                let inner = log.clone();
                file.on_close(move |_| inner.note("close"));
                // Of the write that is under way.
                file.on_error(|_, _| {});
                file.write_then(pattern(100_000), log.done("write"));
                match when {
                    0 => file.destroy(),
                    1 => lp.next_tick(move |_| file.destroy()),
                    2 => drop(file.on_open(|file| file.destroy())),
                    // While a worker writes.
                    _ => drop(file.on_ready(|file| {
                        file.event_loop().set_immediate(move |_| file.destroy());
                    })),
                }
                lp.run().unwrap();
                let told = log.take();
                let writes = told.iter().filter(|it| it.starts_with("write ")).count();
                assert_eq!((writes, told.len()), (1, 2), "{when}: {told:?}");
                assert_eq!(open_descriptors(), before, "{when}");
            }
        },
        |_| {},
    );
}

/// They were counted, although the write was told that it had failed.
#[test]
fn bytes_of_a_write_that_destroy_has_cut_short_do_not_count() {
    let scratch = Scratch::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let file = fs::create_write_stream(&lp, scratch.path("file"));
    let log = Recorder::new();
    file.write_then("text", log.done("write"));
    file.on_error(|_, _| {});
    // A worker has the write by then, and its answer comes in another turn.
    file.on_ready(|file| {
        file.event_loop().next_tick(move |_| file.destroy());
    });
    file.keep();
    lp.run().unwrap();
    log.expect(&["write ERR_STREAM_DESTROYED"]);
    assert_eq!(content(scratch.path("file")), b"text");
    assert_eq!(file.bytes_written(), 0);
}

#[test]
fn flush_and_close_of_one_that_does_not_close_by_itself() {
    let scratch = Scratch::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let options = WriteOptions::new().flush(true).auto_close(false);
    let file = fs::create_write_stream_with(&lp, scratch.path("file"), options);
    let log = Recorder::new();
    let inner = log.clone();
    file.on_close(move |_| inner.note("close"));
    file.write("text");
    lp.run().unwrap();
    assert!(!file.pending());
    log.expect(&[]);
    file.close();
    lp.run().unwrap();
    assert!(file.pending());
    log.expect(&["close"]);
    assert_eq!(content(scratch.path("file")), b"text");
}

#[test]
#[cfg(target_os = "linux")]
fn what_can_not_be_flushed_says_so() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let options = WriteOptions::new().flush(true);
    fs::create_write_stream_with(&lp, "/dev/null", options).end_with("x");
    let error = lp.run().unwrap_err();
    assert_eq!(error.to_string(), "EINVAL: invalid argument, fsync");
}

#[test]
fn the_program_s_line_is_told_of_what_holds_the_loop() {
    let scratch = Scratch::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    fs::create_write_stream(&lp, scratch.path("file")).end_with("x");
    lp.run_nowait().unwrap();
    let why = lp.why_alive().to_string();
    assert!(why.contains(file!()), "{why}");
    lp.run().unwrap();
}

/// It was not told: the standard library swallows it. In a process of its own, where nobody else gets the
/// descriptor.
#[test]
#[cfg(all(target_os = "linux", feature = "full-udp"))]
fn what_closing_fails_with_is_an_error() {
    use std::os::fd::AsRawFd;

    in_own_process("what_closing_fails_with_is_an_error", "", body, |_| {});

    fn body() {
        let scratch = Scratch::new();
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let log = Recorder::new();
        let file = File::create(scratch.path("file")).unwrap();
        let descriptor = file.as_raw_fd();
        let file = WriteStream::from_file(&lp, file, WriteOptions::new());
        file.end_with("hello");
        let inner = log.clone();
        file.on_finish(move |_| {
            inner.note("finish");
            // Nothing else that fails can be had without a disk across the network.
            nix::unistd::close(descriptor).unwrap();
        });
        let inner = log.clone();
        file.on_error(move |_, error| {
            inner.note(format!("{error} ({:?})", error.syscall()));
        });
        file.on_close(log.noting("close"));
        lp.run().unwrap();
        log.expect(&[
            "finish",
            r#"EBADF: bad file descriptor, close (Some("close"))"#,
            "close",
        ]);
    }
}
