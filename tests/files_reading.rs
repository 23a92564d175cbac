//! Reading files as streams. What Node's `fs.createReadStream` tells is compared with it by the scenarios
//! of `files`; here is what those can't show.

mod support;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::rc::Rc;

use nodeloop::Loop;
use nodeloop::fs::{self, Flags, ReadOptions, ReadStream};
use support::files::*;
use support::*;

/// What a stream delivers.
fn collected(stream: ReadStream) -> Rc<RefCell<Vec<u8>>> {
    let all = Rc::new(RefCell::new(Vec::new()));
    let inner = all.clone();
    stream.on_data(move |_, chunk| inner.borrow_mut().extend_from_slice(chunk));
    all
}

/// Everything that a loop does until nothing is left.
fn read(path: &std::path::Path, options: ReadOptions) -> Vec<u8> {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let all = collected(fs::create_read_stream_with(&lp, path, options).unwrap());
    lp.run().unwrap();
    all.take()
}

#[test]
fn every_part_of_a_file_with_every_mark() {
    let scratch = Scratch::new();
    let bytes = pattern(300_000);
    let path = scratch.file("bytes", &bytes);
    for mark in [1000, 65_536, 1_000_000] {
        let options = ReadOptions::new().high_water_mark(mark);
        assert!(read(&path, options.clone()) == bytes, "{mark}");
        for (start, end) in [(0, 0), (5, 4999), (65_535, 65_536), (299_999, 400_000)] {
            let part = options.clone().start(start).end(end);
            let expected = &bytes[start as usize..bytes.len().min(end as usize + 1)];
            assert!(read(&path, part) == expected, "{mark} {start} {end}");
        }
        assert!(read(&path, options.clone().start(300_000)).is_empty());
        assert!(read(&path, options.clone().start(1 << 40)).is_empty());
        assert!(read(&path, options.end(99)) == bytes[..100]);
    }
    let options = ReadOptions::new().high_water_mark(1);
    assert!(read(&path, options.start(7).end(300)) == bytes[7..=300]);
}

#[test]
fn a_mark_that_there_is_no_memory_for_is_an_error() {
    let scratch = Scratch::new();
    let path = scratch.file("small", "text");
    for mark in [isize::MAX as usize, usize::MAX] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let options = ReadOptions::new().high_water_mark(mark);
        let stream = fs::create_read_stream_with(&lp, &path, options).unwrap();
        let log = Recorder::new();
        let seen = log.clone();
        stream.on_error(move |_, error| seen.note(code_of(error)));
        stream.on_close(log.noting("close"));
        stream.resume();
        lp.run().unwrap();
        log.expect(&["ERR_MEMORY_ALLOCATION_FAILED", "close"]);
    }
}

#[test]
fn a_position_beyond_4_gib_is_no_matter() {
    let scratch = Scratch::new();
    let path = scratch.path("sparse");
    let far = (1_u64 << 32) + 12_345;
    let mut file = File::create(&path).unwrap();
    file.seek(SeekFrom::Start(far)).unwrap();
    file.write_all(b"beyond").unwrap();
    drop(file);
    let options = ReadOptions::new().start(far - 3);
    assert_eq!(read(&path, options.clone()), b"\0\0\0beyond");
    assert_eq!(read(&path, options.start(far).end(far + 2)), b"bey");
}

#[test]
fn an_open_file_is_read_from_where_it_stands() {
    let scratch = Scratch::new();
    let path = scratch.file("text", "0123456789");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let mut file = File::open(&path).unwrap();
    file.seek(SeekFrom::Start(4)).unwrap();
    let clone = file.try_clone().unwrap();
    let stream = ReadStream::from_file(&lp, file, ReadOptions::new().end(2)).unwrap();
    assert!(!stream.pending());
    assert_eq!(stream.path(), None);
    let all = collected(stream);
    lp.run().unwrap();
    assert_eq!(*all.borrow(), b"456");
    // With a start it is read from there, and stands where it stood.
    let options = ReadOptions::new().start(0).end(1);
    let all = collected(ReadStream::from_file(&lp, clone, options).unwrap());
    lp.run().unwrap();
    assert_eq!(*all.borrow(), b"01");
}

#[test]
fn what_is_known_about_it() {
    let scratch = Scratch::new();
    let path = scratch.file("text", "0123456789");
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let stream = fs::create_read_stream(&lp, &path);
    assert!(stream.pending());
    assert_eq!(stream.path(), Some(path));
    assert_eq!(stream.bytes_read(), 0);
    let log = Recorder::new();
    let inner = log.clone();
    stream.on_open(move |stream| inner.note(format!("open, pending {}", stream.pending())));
    let inner = log.clone();
    let id = stream.on_ready(move |_| inner.note("ready"));
    let inner = log.clone();
    stream.on_ready(move |_| inner.note("ready again"));
    stream.off(id);
    let inner = log.clone();
    stream.on_data(move |_, _| inner.note(format!("data, {} read", stream.bytes_read())));
    let inner = log.clone();
    stream.on_close(move |_| inner.note(format!("close, pending {}", stream.pending())));
    lp.run().unwrap();
    log.expect(&[
        "open, pending false",
        "ready again",
        "data, 10 read",
        "close, pending true",
    ]);
    assert_eq!(stream.path(), None, "it is gone");
    assert!(stream.pending() && stream.destroyed());
}

#[test]
fn errors_say_what_failed_and_where() {
    let scratch = Scratch::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let nowhere = scratch.path("nowhere");
    let log = Recorder::new();
    let inner = log.clone();
    let expected = nowhere.to_str().unwrap().to_string();
    fs::create_read_stream(&lp, &nowhere).on_error(move |_, error| {
        assert_eq!(error.path(), Some(expected.as_str()));
        assert_eq!(error.syscall(), Some("open"));
        let text = format!("ENOENT: no such file or directory, open '{expected}'");
        assert_eq!(error.to_string(), text);
        inner.note(error.code().unwrap());
    });
    lp.run().unwrap();
    let inner = log.clone();
    let directory = fs::create_read_stream(&lp, scratch.path(""));
    directory.on_error(move |_, error| inner.note(error));
    directory.resume();
    lp.run().unwrap();
    log.expect(&["ENOENT", "EISDIR: illegal operation on a directory, read"]);
    let range = ReadOptions::new().start(2).end(1);
    assert_eq!(
        code(fs::create_read_stream_with(&lp, &nowhere, range)),
        "ERR_OUT_OF_RANGE"
    );
    // Nobody listens to this one.
    fs::create_read_stream(&lp, &nowhere);
    assert_eq!(code(lp.run()), "ENOENT");
}

#[test]
fn paused_it_reads_ahead_to_its_mark_and_no_further() {
    let scratch = Scratch::new();
    let path = scratch.file("bytes", pattern(100_000));
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let options = ReadOptions::new().high_water_mark(10_000);
    let stream = fs::create_read_stream_with(&lp, &path, options).unwrap();
    stream.on_readable(|_| {});
    lp.run().unwrap();
    // Nothing is under way, so nothing holds the loop.
    assert_eq!(stream.readable_length(), 10_000);
    assert_eq!(stream.bytes_read(), 10_000);
    assert_eq!(stream.read(4_000).unwrap().len(), 4_000);
    lp.run().unwrap();
    assert_eq!(stream.bytes_read(), 20_000);
    stream.destroy();
    lp.run().unwrap();
}

#[test]
fn destroyed_at_any_time_it_closes_its_file() {
    let scratch = Scratch::new();
    let path = scratch.file("bytes", pattern(100_000));
    in_own_process(
        "destroyed_at_any_time_it_closes_its_file",
        "",
        || {
            let lp = Loop::builder().worker_threads(1).build().unwrap();
            let _deadline = deadline(&lp, 20);
            let before = open_descriptors();
            for when in 0..6 {
                let stream = fs::create_read_stream(&lp, &path);
                let closed = Rc::new(Cell::new(false));
                let inner = closed.clone();
                stream.on_close(move |_| inner.set(true));
                match when {
                    0 => stream.destroy(),
                    1 => lp.next_tick(move |_| stream.destroy()),
                    2 => drop(stream.on_open(|stream| stream.destroy())),
                    3 => drop(stream.on_data(|stream, _| stream.destroy())),
                    4 => drop(stream.on_end(|stream| stream.destroy())),
                    _ => drop(stream.on_open(|stream| {
                        // While a worker reads.
                        stream.resume();
                        stream.event_loop().next_tick(move |_| stream.destroy());
                    })),
                }
                lp.run().unwrap();
                // One that is never read never ends by itself.
                stream.destroy();
                lp.run().unwrap();
                assert!(closed.get(), "{when}");
                assert_eq!(open_descriptors(), before, "{when}");
            }
            // With the loop its files are gone, too.
            let stream = fs::create_read_stream(&lp, &path);
            stream.on_readable(|_| {});
            lp.run().unwrap();
            assert!(!stream.pending());
            drop(lp);
        },
        |_| {},
    );
}

#[test]
fn a_file_that_is_removed_or_cut_midway_is_read_as_far_as_it_goes() {
    let scratch = Scratch::new();
    let bytes = pattern(200_000);
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let path = scratch.file("removed", &bytes);
    let stream = fs::create_read_stream(&lp, &path);
    stream.on_open(move |_| std::fs::remove_file(&path).unwrap());
    let all = collected(stream);
    lp.run().unwrap();
    assert!(*all.borrow() == bytes, "who has it open reads it");
    let path = scratch.file("cut", &bytes);
    let stream = fs::create_read_stream(&lp, &path);
    let all = collected(stream);
    stream.once_data(move |_, _| {
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(70_000).unwrap();
    });
    lp.run().unwrap();
    let all = all.borrow();
    assert!(all.len() >= 65_536 && all[..] == bytes[..all.len()]);
}

#[test]
fn flags_can_make_a_file_that_is_read() {
    let scratch = Scratch::new();
    let path = scratch.path("new");
    let options = ReadOptions::new().flags(Flags::AppendRead);
    assert!(read(&path, options).is_empty());
    assert!(content(path).is_empty());
}

#[test]
fn many_at_once_each_get_their_own() {
    let scratch = Scratch::new();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let files: Vec<_> = (0..50)
        .map(|number| {
            let bytes = pattern(1_000 * number + 7);
            let path = scratch.file(&number.to_string(), &bytes);
            let options = ReadOptions::new().high_water_mark(3_000);
            let stream = fs::create_read_stream_with(&lp, path, options).unwrap();
            (bytes, collected(stream))
        })
        .collect();
    lp.run().unwrap();
    for (bytes, all) in files {
        assert!(*all.borrow() == bytes);
    }
}

#[test]
fn the_loop_goes_on_while_a_file_is_opened_that_blocks() {
    if !cfg!(unix) {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path("fifo");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|status| status.success()));
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    // Opening a pipe waits for its other end.
    let all = collected(fs::create_read_stream(&lp, &path));
    let turned = Rc::new(Cell::new(0));
    let inner = turned.clone();
    lp.set_interval(1, move |interval| {
        inner.set(inner.get() + 1);
        if inner.get() == 5 {
            interval.clear();
            let mut pipe = File::options().write(true).open(&path).unwrap();
            pipe.write_all(b"through the pipe").unwrap();
        }
    });
    lp.run().unwrap();
    assert_eq!(*all.borrow(), b"through the pipe");
    assert_eq!(turned.get(), 5);
}
