//! What is piped from socket to socket within the kernel, and ends early, meets a limit, or is looked at: the
//! same scripts run on a loop that splices and on one that does not, and their traces are the same. The rest
//! is in `tests/pipes_fast.rs`.

mod support;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::{self};

use nodeloop::Loop;
use nodeloop::net::{Socket, SocketOptions};
use support::on_and_off::*;
use support::relay::*;
use support::*;

/// Something ends a relay midway. What has arrived by then is the beginning.
fn ends_early(lp: &Loop, act: impl FnOnce(Relay) + 'static) -> Vec<String> {
    let (relay, peers) = relay(lp);
    relay.from.pipe(relay.to);
    midway(lp, &relay, act);
    let sender = sending_in_vain(peers.sender);
    let receiver = receiving_in_vain(peers.receiver);
    lp.run().unwrap();
    join(sender);
    let received = join(receiver);
    assert_begins(&received);
    assert!(received.len() < BULK);
    without_counters(relay.log.take())
}

/// How much has passed by then depends on the pace of others.
fn without_counters(trace: Vec<String>) -> Vec<String> {
    let words = |event: String| event.split(' ').take(3).collect::<Vec<_>>().join(" ");
    trace.into_iter().map(words).collect()
}

#[test]
fn the_source_is_destroyed_midway() {
    on_both_fast(|lp| {
        ends_early(lp, |relay| {
            relay.from.destroy();
            relay.to.end();
        })
    });
}

#[test]
fn the_destination_is_destroyed_midway() {
    on_both_fast(|lp| {
        let trace = ends_early(lp, |relay| {
            let from = relay.from;
            relay.to.on_close(move |_, _| {
                // Unpiped, so it is held back.
                from.event_loop().set_immediate(move |_| {
                    assert!(from.is_paused());
                    from.destroy();
                });
            });
            relay.to.destroy();
        });
        assert_eq!(trace, ["to close false", "from close false"]);
        trace
    });
}

#[test]
fn the_destination_is_ended_midway() {
    on_both_fast(|lp| {
        let trace = ends_early(lp, |relay| {
            relay.to.end();
            let from = relay.from;
            relay.to.on_error(move |_, _| from.destroy());
            relay.to.on_finish(move |to| {
                from.destroy();
                to.destroy();
            });
        });
        // A chunk that was on its way may have found it ended.
        let mut trace = trace;
        trace.retain(|event| !event.starts_with("to"));
        trace
    });
}

#[test]
fn the_sender_resets_midway() {
    if tcp_only("a Unix socket has no reset") {
        return;
    }
    on_both_fast(|lp| {
        let (relay, peers) = relay(lp);
        relay.from.pipe(relay.to);
        let (all_read, is_read) = mpsc::channel();
        let Peers {
            mut sender,
            receiver,
        } = peers;
        let sender = thread::spawn(move || {
            sender.write_all(bytes()).unwrap();
            is_read.recv().unwrap();
            reset(sender);
        });
        let to = relay.to;
        when(
            lp,
            move || to.bytes_written() == BULK as u64,
            move || all_read.send(()).unwrap(),
        );
        let log = relay.log.clone();
        relay.from.on_close(move |_, _| {
            log.note(format!("writable {}", to.writable()));
            to.end();
        });
        relay.to.on_finish(|to| to.destroy());
        let receiver = receiving(receiver);
        lp.run().unwrap();
        join(sender);
        assert!(join(receiver) == bytes());
        let trace = relay.log.take();
        assert_eq!(trace[0], "from error ECONNRESET");
        trace
    });
}

/// At an urgent byte that no wait has told of yet a splice says that nothing comes any more, once the peer has
/// ended: what lay behind that byte was lost, and the peer was reset.
#[test]
#[cfg(target_os = "linux")]
fn urgent_data_between_the_bytes_that_pass_is_not_their_end() {
    if tcp_only("of a Unix socket nothing passes") {
        return;
    }
    on_both_fast(|lp| {
        let (relay, peers) = relay(lp);
        relay.from.pipe(relay.to);
        relay.to.on_finish(move |_| relay.from.end());
        let mut sender = &peers.sender;
        let receiver = receiving(peers.receiver);
        sender.write_all(&bytes()[..LARGE]).unwrap();
        turn_until(lp, || relay.to.bytes_written() == LARGE as u64);

        // In the turn that passes what comes next, and in front of that.
        let (early, mut waker) = pair(lp);
        let urgent = peers.sender.try_clone().unwrap();
        early.on_data(move |early, _| {
            let (more, rest) = bytes()[2 * LARGE..4 * LARGE].split_at(LARGE);
            (&urgent).write_all(more).unwrap();
            let sent = socket2::SockRef::from(&urgent).send_out_of_band(b"X");
            assert_eq!(sent.unwrap(), 1);
            (&urgent).write_all(rest).unwrap();
            urgent.shutdown(std::net::Shutdown::Write).unwrap();
            early.destroy();
        });
        lp.run_nowait().unwrap();
        waker.write_all(b"!").unwrap();
        sender.write_all(&bytes()[LARGE..2 * LARGE]).unwrap();
        lp.run().unwrap();
        assert!(join(receiver) == bytes()[..4 * LARGE]);
        relay.log.take()
    });
}

#[test]
fn the_receiver_resets_midway() {
    if tcp_only("a Unix socket has no reset") {
        return;
    }
    on_both_fast(|lp| {
        let (relay, peers) = relay(lp);
        relay.from.pipe(relay.to);
        let Peers { sender, receiver } = peers;
        let sender = sending_in_vain(sender);
        let receiver = thread::spawn(move || {
            let mut begin = vec![0; BULK / 4];
            (&receiver).read_exact(&mut begin).unwrap();
            reset(receiver);
            begin
        });
        let (log, from) = (relay.log.clone(), relay.from);
        relay.to.on_close(move |_, _| {
            let log = log.clone();
            from.event_loop().set_immediate(move |_| {
                log.note(format!("paused {}", from.is_paused()));
                from.destroy();
            });
        });
        lp.run().unwrap();
        join(sender);
        assert_begins(&join(receiver));
        let trace = without_counters(relay.log.take());
        // Whether a read or a write notices first is a matter of pace.
        let trace: Vec<String> = trace
            .into_iter()
            .map(|event| event.replace("EPIPE", "ECONNRESET"))
            .collect();
        assert_eq!(
            trace,
            [
                "to error ECONNRESET",
                "to close true",
                "paused true",
                "from close false"
            ]
        );
        trace
    });
}

#[test]
fn what_passes_is_activity() {
    let [fast, _] = on_both(|lp| {
        let trace = Rc::new(RefCell::new(Vec::new()));
        let noted = trace.clone();
        let mut events = all_arrives(lp, move |_, relay| {
            for (name, socket) in [("from", relay.from), ("to", relay.to)] {
                let noted = noted.clone();
                socket.set_timeout(5_000);
                socket.on_timeout(move |_| noted.borrow_mut().push(format!("{name} timeout")));
            }
        });
        events.append(&mut trace.borrow_mut());
        events
    });
    assert_eq!(fast.splices > 0, splices());
}

#[test]
#[cfg(target_os = "linux")]
fn a_destination_that_refuses_midway_is_written_to() {
    on_both_fast(|lp| {
        let at_refusal = Rc::new(Cell::new(None));
        let noted = at_refusal.clone();
        let trace = all_arrives(lp, move |lp, relay| {
            let (handle, noted) = (lp.handle(), noted.clone());
            midway(lp, relay, move |relay| {
                refuse_splices_into(&relay.to.try_clone_fd().unwrap());
                noted.set(Some(handle.counts()));
            });
        });
        let (before, after) = (at_refusal.get().unwrap(), lp.counts());
        if before.splices > 0 {
            // A chunk that was taken in and refused, and looks in vain.
            let more = after.splices - before.splices;
            assert!((2..16).contains(&more), "{more}");
            assert!(after.reads > before.reads + 16, "{before:?} {after:?}");
        }
        trace
    });
}

#[test]
fn no_descriptor_is_left() {
    in_own_process(
        "no_descriptor_is_left",
        "",
        || {
            let lp = Loop::new().unwrap();
            let _deadline = deadline(&lp, 60);
            // Makes what is made once.
            all_arrives(&lp, |_, _| {});
            let open = open_descriptors();
            for _ in 0..3 {
                all_arrives(&lp, |_, _| {});
                assert_eq!(open_descriptors(), open);
            }
            ends_early(&lp, |relay| {
                relay.from.destroy();
                relay.to.destroy();
            });
            assert_eq!(open_descriptors(), open);
            assert_eq!(lp.counts().splices > 0, splices());
        },
        |_| {},
    );
}

#[test]
fn out_of_descriptors_it_is_read_and_written() {
    let limits = "ulimit -n 14;";
    in_own_process(
        "out_of_descriptors_it_is_read_and_written",
        limits,
        || {
            let lp = Loop::new().unwrap();
            let _deadline = deadline(&lp, 60);
            let (relay, peers) = relay(&lp);
            relay.from.pipe(relay.to);
            relay.to.on_finish(move |_| relay.from.end());
            let mut spent = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                spent.push(file);
            }
            assert!(!spent.is_empty(), "the limit is too low");
            let threads = (sending(peers.sender), receiving(peers.receiver));
            lp.run().unwrap();
            join(threads.0);
            assert!(join(threads.1) == bytes());
            assert_eq!(lp.counts().splices, 0);
        },
        |_| {},
    );
}

#[test]
fn a_socket_of_another_loop_is_written_to() {
    let lp = Loop::new().unwrap();
    let other = Loop::new().unwrap();
    let _deadline = deadline(&lp, 60);
    let (from, sender) = pair(&lp);
    let (to, receiver) = pair(&other);
    from.pipe(to);
    let sender = sending_in_vain(sender);
    let receiver = receiving(receiver);
    while !to.destroyed() {
        lp.run_nowait().unwrap();
        other.run_nowait().unwrap();
    }
    join(sender);
    assert!(join(receiver) == bytes());
    assert_eq!(lp.counts().splices, 0);
}

#[test]
#[cfg(unix)]
fn a_unix_socket_is_a_destination() {
    on_both_fast(|lp| {
        let scratch = support::files::Scratch::new();
        let path = scratch.path("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let receiver = thread::spawn(move || {
            let mut received = Vec::new();
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_to_end(&mut received).unwrap();
            received
        });
        let log = Recorder::new();
        let (from, sender) = pair(lp);
        let to = Socket::new(lp, SocketOptions::new());
        to.connect(path.as_path()).unwrap();
        follow(&log, "from", from);
        follow(&log, "to", to);
        from.pipe(to);
        let sender = sending_in_vain(sender);
        lp.run().unwrap();
        assert!(join(receiver) == bytes());
        join(sender);
        by_socket(log.take())
    });
}

#[test]
fn a_client_and_a_server_are_joined_while_it_connects() {
    on_both_fast(|lp| {
        let log = Recorder::new();
        let (target_server, at) = listening(lp, |socket| {
            socket.pipe(socket);
            socket.server().unwrap().close();
        });
        let _ = target_server;
        let (client, peer) = pair(lp);
        follow(&log, "client", client);
        let upstream = Socket::new(lp, SocketOptions::new().allow_half_open(true));
        upstream.connect(target(at)).unwrap();
        client.pipe(upstream).pipe(client);
        let writer = peer.try_clone().unwrap();
        let sender = thread::spawn(move || {
            (&writer).write_all(bytes()).unwrap();
        });
        let receiver = thread::spawn(move || {
            let mut received = vec![0; BULK];
            (&peer).read_exact(&mut received).unwrap();
            received
        });
        lp.run().unwrap();
        join(sender);
        assert!(join(receiver) == bytes());
        log.take()
    });
}

/// Adds up what the log tells of 'data', and does what it is told to meanwhile.
struct Telling;

thread_local! {
    static TOLD: Cell<usize> = const { Cell::new(0) };
    static DESTROYS: Cell<Option<Socket>> = const { Cell::new(None) };
}

impl log::Log for Telling {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        let size: Option<usize> = text.split_once("'data' to ").and_then(|(_, rest)| {
            rest.strip_suffix(" bytes")?
                .rsplit(' ')
                .next()?
                .parse()
                .ok()
        });
        let Some(size) = size else { return };
        TOLD.set(TOLD.get() + size);
        if let Some(socket) = DESTROYS.get().filter(|_| TOLD.get() > BULK / 2) {
            socket.destroy();
        }
    }

    fn flush(&self) {}
}

#[test]
fn the_log_tells_of_what_passes_and_may_interfere() {
    in_own_process(
        "the_log_tells_of_what_passes_and_may_interfere",
        "",
        || {
            log::set_logger(&Telling).unwrap();
            log::set_max_level(log::LevelFilter::Trace);
            let lp = Loop::new().unwrap();
            let _deadline = deadline(&lp, 60);
            all_arrives(&lp, |_, _| {});
            assert_eq!(TOLD.take(), BULK);
            let splices_so_far = lp.counts().splices;
            assert_eq!(splices_so_far > 0, splices());
            for destroys_source in [false, true] {
                let (relay, peers) = relay(&lp);
                relay.from.pipe(relay.to);
                let (one, other) = match destroys_source {
                    true => (relay.from, relay.to),
                    false => (relay.to, relay.from),
                };
                DESTROYS.set(Some(one));
                one.on_close(move |_, _| other.destroy());
                let sender = sending_in_vain(peers.sender);
                let receiver = receiving_in_vain(peers.receiver);
                lp.run().unwrap();
                join(sender);
                let received = join(receiver);
                assert_begins(&received);
                assert!(received.len() < BULK);
                DESTROYS.set(None);
                TOLD.set(0);
            }
        },
        |_| {},
    );
}
