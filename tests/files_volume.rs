//! A large file to a socket and back into a file, whoever is slow: every byte arrives, and memory stays
//! small. `NODELOOP_TEST_VOLUME` says how many MiB; 1024 were tried.

mod support;

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use nodeloop::stream::{Duplex, TransformOptions};
use nodeloop::{Loop, fs, net};
use support::files::*;
use support::*;

/// Sixteen times what the process may grow by; the disk needs it twice for each test.
const DEFAULT_MIB: usize = 256;

/// By how much the process may grow.
const ALLOWED_KIB: usize = 16 * 1024;

fn mib() -> usize {
    let wanted = std::env::var("NODELOOP_TEST_VOLUME").ok();
    wanted
        .and_then(|mib| mib.parse().ok())
        .unwrap_or(DEFAULT_MIB)
}

/// Fills a file, no two MiB of which are alike.
fn fill(path: &Path) {
    let mut block = pattern(1 << 20);
    let mut file = File::create(path).unwrap();
    for number in 0..mib() {
        block[..8].copy_from_slice(&number.to_le_bytes());
        block.rotate_left(17);
        file.write_all(&block).unwrap();
    }
}

fn assert_same(one: &Path, other: &Path) {
    let (mut one, mut other) = (File::open(one).unwrap(), File::open(other).unwrap());
    assert_eq!(
        one.metadata().unwrap().len(),
        other.metadata().unwrap().len()
    );
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for number in 0..mib() {
        one.read_exact(&mut left).unwrap();
        other.read_exact(&mut right).unwrap();
        assert!(left == right, "in MiB {number}");
    }
}

/// The most memory that this process ever had, in KiB; none where the system does not tell.
fn peak_kib() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Takes what comes at once.
fn fast(lp: &Loop) -> Duplex {
    Duplex::pass_through(lp)
}

/// Takes a chunk each millisecond, up to a limit of chunks that keeps the test short.
fn slow(lp: &Loop) -> Duplex {
    let handle = lp.handle();
    let chunks = Cell::new(0);
    TransformOptions::new()
        .transform(move |_, chunk, done| {
            chunks.set(chunks.get() + 1);
            match chunks.get() < 500 {
                true => drop(handle.set_timeout_once(1, move |_| done.push(chunk))),
                false => done.push(chunk),
            }
        })
        .create(lp)
}

/// Takes nothing for a while, now and then.
fn stalling(lp: &Loop) -> Duplex {
    let handle = lp.handle();
    let chunks = Cell::new(0);
    TransformOptions::new()
        .transform(move |_, chunk, done| {
            chunks.set(chunks.get() + 1);
            match chunks.get() {
                10 | 100 => drop(handle.set_timeout_once(400, move |_| done.push(chunk))),
                _ => done.push(chunk),
            }
        })
        .create(lp)
}

/// Sends a file through a connection into another file.
fn there_and_back(name: &str, reader: fn(&Loop) -> Duplex) {
    in_own_process(
        name,
        "",
        || {
            let scratch = Scratch::new();
            let (source, copy) = (scratch.path("source"), scratch.path("copy"));
            fill(&source);
            let lp = Loop::new().unwrap();
            let _deadline = deadline(&lp, 60 + mib() as u64);
            let before = peak_kib();
            let path = copy.clone();
            let between = reader(&lp);
            let (server, address) = listening(&lp, move |socket| {
                socket
                    .pipe(between)
                    .pipe(fs::create_write_stream(&socket, &path));
                socket.server().unwrap().close();
            });
            let _ = server;
            // All but the one that listens stay.
            let descriptors = open_descriptors().map(|open| open - 1);
            let socket = net::Socket::new(&lp, net::SocketOptions::new());
            socket.connect(target(address)).unwrap();
            fs::create_read_stream(&lp, &source).pipe(socket);
            lp.run().unwrap();
            assert_eq!(open_descriptors(), descriptors);
            if let (Some(before), Some(after)) = (before, peak_kib()) {
                println!("{} MiB: {before} KiB before, {after} KiB at most", mib());
                assert!(after - before < ALLOWED_KIB, "{before} KiB, {after} KiB");
            }
            assert_same(&source, &copy);
        },
        |_| {},
    );
}

#[test]
fn with_a_fast_reader() {
    there_and_back("with_a_fast_reader", fast);
}

#[test]
fn with_a_slow_reader() {
    there_and_back("with_a_slow_reader", slow);
}

#[test]
fn with_a_reader_that_stalls() {
    there_and_back("with_a_reader_that_stalls", stalling);
}
