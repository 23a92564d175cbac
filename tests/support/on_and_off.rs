//! Scripts that run on a loop that splices and on one that does not. They tell the same: nothing but the
//! counts of system calls knows of it.

use std::io::Read;
use std::net::TcpStream;
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};

use nodeloop::{Builder, Counts, Loop, LoopHandle};

use super::files::pattern;
use super::{deadline, read_to_end};

/// Large enough that both sides are full more than once.
pub const BULK: usize = 8 << 20;

/// The bytes that are sent.
pub fn bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| pattern(BULK))
}

/// Runs a script on both loops, made as `build` says. Returns what the one that splices has counted, and what
/// the other has.
#[track_caller]
pub fn on_both_built(
    build: impl Fn(Builder) -> Builder,
    script: impl Fn(&Loop) -> Vec<String>,
) -> [Counts; 2] {
    let [fast, plain] = [false, true].map(|refuses| {
        let builder = build(Loop::builder()).refuse_splices(refuses);
        let lp = builder.build().unwrap();
        let _deadline = deadline(&lp, 60);
        let trace = script(&lp);
        (trace, lp.counts())
    });
    assert_eq!(fast.0, plain.0);
    assert_eq!(plain.1.splices, 0);
    [fast.1, plain.1]
}

/// The same for a script of which much passes within the kernel, where `splices` says that it can. `saved` is
/// what there is less of then.
#[track_caller]
pub fn on_both_saving(
    splices: bool,
    saved: impl Fn(&Counts) -> u64,
    script: impl Fn(&Loop) -> Vec<String>,
) {
    let [fast, plain] = on_both_built(|builder| builder, script);
    assert_eq!(fast.splices > 0, splices, "{fast:?}");
    if splices {
        assert!(saved(&fast) < saved(&plain), "{fast:?} {plain:?}");
    }
}

/// Receives everything.
pub fn receiving(stream: TcpStream) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || read_to_end(&stream))
}

/// Receives what comes until an end or an error.
pub fn receiving_in_vain(mut stream: TcpStream) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        bytes
    })
}

/// Does something as soon as a condition holds.
pub fn when(lp: &Loop, condition: impl Fn() -> bool + 'static, act: impl FnOnce() + 'static) {
    fn look(lp: LoopHandle, condition: Box<dyn Fn() -> bool>, act: Box<dyn FnOnce()>) {
        lp.set_immediate(move |immediate| match condition() {
            true => act(),
            false => look(immediate.event_loop(), condition, act),
        });
    }
    look(lp.handle(), Box::new(condition), Box::new(act));
}

/// The bytes are the first of those that were sent.
#[track_caller]
pub fn assert_begins(received: &[u8]) {
    assert!(received == &bytes()[..received.len()], "{}", received.len());
}

/// Has the kernel refuse to splice into a socket from now on, as it does with everything that appends.
#[cfg(target_os = "linux")]
pub fn refuse_splices_into(socket: &std::os::fd::OwnedFd) {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let flags = fcntl_getfl(socket).unwrap();
    fcntl_setfl(socket, flags | OFlags::APPEND).unwrap();
}
