//! A file that is piped into a connection, on a loop that splices and on one that does not.

use std::net::TcpStream;
use std::path::{Path, PathBuf};

use nodeloop::fs::{self, ReadStream};
use nodeloop::net::{ServerOptions, Socket};
use nodeloop::{Builder, Counts, Loop};

use super::files::Scratch;
use super::on_and_off::{self, BULK, bytes, on_both_saving, receiving, when};
use super::{Recorder, code_of, connect, join, pair_with};

pub fn splices() -> bool {
    cfg!(all(target_os = "linux", feature = "splice"))
}

/// A file that is piped into a connection.
#[derive(Clone)]
pub struct Sending {
    pub file: ReadStream,
    pub to: Socket,
    pub log: Recorder,
}

/// A file of these bytes, for a script that is run more than once.
pub fn bulk() -> (Scratch, PathBuf) {
    let scratch = Scratch::new();
    let path = scratch.file("bulk", bytes());
    (scratch, path)
}

pub fn sending(lp: &Loop, path: &Path) -> (Sending, TcpStream) {
    sending_with(lp, || fs::create_read_stream(lp, path))
}

pub fn sending_with(lp: &Loop, file: impl FnOnce() -> ReadStream) -> (Sending, TcpStream) {
    let (to, receiver) = pair_with(lp, ServerOptions::new().allow_half_open(true), connect);
    let file = file();
    let log = Recorder::new();
    follow(&log, file, to);
    (Sending { file, to, log }, receiver)
}

/// Notes what both emit, but for what depends on the pace of others.
pub fn follow(log: &Recorder, file: ReadStream, to: Socket) {
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

pub fn on_both(script: impl Fn(&Loop) -> Vec<String>) -> [Counts; 2] {
    on_both_built(|builder| builder, script)
}

/// A script whose trace has the file's events first: which of the two is the first depends on the pace of
/// others.
pub fn by_stream(script: impl Fn(&Loop) -> Vec<String>) -> impl Fn(&Loop) -> Vec<String> {
    move |lp| {
        let mut trace = script(lp);
        trace.sort_by_key(|event| event.starts_with("to"));
        trace
    }
}

pub fn on_both_built(
    build: impl Fn(Builder) -> Builder,
    script: impl Fn(&Loop) -> Vec<String>,
) -> [Counts; 2] {
    on_and_off::on_both_built(build, by_stream(script))
}

/// The same for a script of which much passes within the kernel.
#[track_caller]
pub fn on_both_fast(script: impl Fn(&Loop) -> Vec<String>) {
    on_both_saving(splices(), |counts| counts.jobs, by_stream(script));
}

/// Does something when about a half has passed, while nobody waits for 'drain', which would have the file
/// flow.
pub fn midway(lp: &Loop, sending: &Sending, act: impl FnOnce(Sending) + 'static) {
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
pub fn all_arrives(lp: &Loop, path: &Path, act: impl Fn(&Loop, &Sending)) -> Vec<String> {
    let (sending, receiver) = sending(lp, path);
    sending.file.pipe(sending.to);
    act(lp, &sending);
    let receiver = receiving(receiver);
    lp.run().unwrap();
    assert!(join(receiver) == bytes());
    sending.log.take()
}
