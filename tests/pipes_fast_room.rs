//! A source whose bytes stay in the kernel is told of no room to write, until it lacks it.

mod support;

use std::io::{Read, Write};
use std::thread;

use nodeloop::Loop;
use nodeloop::net::ServerOptions;
use support::on_and_off::*;
use support::*;

/// Both directions of one connection: what it sends passes within the kernel, and what the program writes to it
/// has to wait again and again, the first time behind all that.
#[test]
fn a_source_that_lacks_room_is_told_of_it() {
    let splices = cfg!(all(target_os = "linux", feature = "splice")) && !over_unix();
    on_both_saving(
        splices,
        |counts| counts.reads,
        |lp| {
            let options = ServerOptions::new().allow_half_open(true);
            let (from, mut sender) = pair_with(lp, options.clone(), connect);
            let (to, receiver) = pair_with(lp, options, connect);
            let log = Recorder::new();
            from.pipe(to);
            let received = receiving(receiver);
            let sent = thread::spawn(move || {
                sender.write_all(bytes()).unwrap();
                sender
            });
            turn_until(lp, || to.bytes_written() == bytes().len() as u64);
            let mut sender = join(sent);
            for round in 0..3 {
                let mut copies = 1;
                while from.write(bytes()) {
                    copies += 1;
                }
                let it = log.clone();
                from.once_drain(move |_| it.note("drain"));
                let reading = thread::spawn(move || {
                    let mut answer = vec![0; copies * bytes().len()];
                    sender.read_exact(&mut answer).unwrap();
                    assert!(answer.chunks(bytes().len()).all(|copy| copy == bytes()));
                    sender
                });
                turn_until(lp, || log.count("drain") == round + 1);
                sender = join(reading);
            }
            from.end();
            send_and_end(&sender, b"");
            lp.run().unwrap();
            assert!(join(received) == bytes());
            log.take()
        },
    );
}

/// What holds for a loop that splices: a MiB takes few waits, since none ends for bytes that were taken before
/// it began.
#[test]
fn a_source_costs_one_changed_registration() {
    if !cfg!(all(target_os = "linux", feature = "splice")) || over_unix() {
        return println!("skipped: nothing is spliced here");
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (from, mut sender) = pair(&lp);
    let (to, receiver) = pair(&lp);
    let before = lp.counts();
    from.pipe(to);
    let received = receiving(receiver);
    let sent = thread::spawn(move || {
        sender.write_all(bytes()).unwrap();
        sender
    });
    turn_until(&lp, || to.bytes_written() == bytes().len() as u64);
    let after = lp.counts();
    assert!(after.splices > before.splices);
    assert_eq!(after.rearms - before.rearms, 1);
    drop(join(sent));
    lp.run().unwrap();
    assert!(join(received) == bytes());
}
