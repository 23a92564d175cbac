//! What a process may not open. The test's thread gives up what root may do; the loop's worker threads
//! are started by it, so they have no more.
#![cfg(any(target_os = "linux", target_os = "android"))]

mod support;

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nodeloop::stream::{Stream, pipeline};
use nodeloop::{Loop, fs};
use support::files::{Scratch, content};
use support::*;

/// Has this thread be nobody's; false, with the reason, where that can't be.
fn become_nobody() -> bool {
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    let nobody = rustix::thread::Uid::from_raw(65534);
    match rustix::thread::set_thread_res_uid(nobody, nobody, nobody) {
        Ok(()) => true,
        Err(error) => {
            println!("skipped: root can't become nobody: {error}");
            false
        }
    }
}

/// What a stream tells, up to its end.
fn told(log: &Recorder, name: &'static str, stream: &dyn Stream) {
    let inner = log.clone();
    stream.listen_error(Box::new(move |error| {
        assert_eq!(
            (error.code(), error.syscall()),
            (Some("EACCES"), Some("open"))
        );
        inner.note(format!("{name} {error}"));
    }));
    let inner = log.clone();
    let close = Box::new(move || inner.note(format!("{name} close")));
    stream.listen(nodeloop::stream::StreamEvent::Close, close);
}

fn denied(shown: &Path) -> String {
    format!("EACCES: permission denied, open '{}'", shown.display())
}

#[test]
fn what_may_not_be_opened_is_eacces_with_its_path() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", "secret");
    let kept = scratch.file("kept", "kept");
    let new = scratch.path("new");
    set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
    set_permissions(&kept, Permissions::from_mode(0o444)).unwrap();
    // Searchable, but not to be written to.
    set_permissions(scratch.path(""), Permissions::from_mode(0o555)).unwrap();
    let paths = [secret, kept.clone(), new.clone()];
    let thread = std::thread::spawn(move || {
        let [secret, kept, new] = paths;
        if !become_nobody() {
            return;
        }
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let log = Recorder::new();
        told(&log, "read", &fs::create_read_stream(&lp, &secret));
        lp.run().unwrap();
        log.expect(&[&format!("read {}", denied(&secret)), "read close"]);
        for path in [&kept, &new] {
            let file = fs::create_write_stream(&lp, path);
            told(&log, "write", &file);
            file.write_then("x", log.done("written"));
            file.end_then(log.done("ended"));
            lp.run().unwrap();
            log.expect(&[
                "written EACCES",
                "ended EACCES",
                &format!("write {}", denied(path)),
                "write close",
            ]);
        }
        // One that may be read, to one that may not be written.
        let (from, to) = (
            fs::create_read_stream(&lp, &kept),
            fs::create_write_stream(&lp, &new),
        );
        told(&log, "write", &to);
        pipeline(&from, &[], &to, log.done("pipeline"));
        lp.run().unwrap();
        log.expect(&[
            &format!("write {}", denied(&new)),
            "write close",
            "pipeline EACCES",
        ]);
        assert!(from.destroyed());
    });
    let result = thread.join();
    set_permissions(scratch.path(""), Permissions::from_mode(0o755)).unwrap();
    result.unwrap();
    assert_eq!(content(&kept), b"kept");
    assert!(!new.exists());
}
