//! What users of event loops have suffered from, each with a test of its own: reading by pulling.

mod support;

use std::io::Write;

use nodeloop::Loop;
use nodeloop::net::ServerOptions;
use support::*;

#[test]
fn the_end_comes_to_who_listens_to_readable_and_has_nothing_to_take() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, peer) = pair_with(&lp, ServerOptions::new(), connect);
    let log = Recorder::new();
    let it = log.clone();
    // It reads whole messages of four bytes, and asks first whether there is one.
    socket.on_readable(move |socket| {
        it.note(format!("readable {}", socket.readable_length()));
        while socket.readable_length() >= 4 {
            socket.read(4);
        }
    });
    log.follow_but_data(socket);
    (&peer).write_all(b"four").unwrap();
    turn_until(&lp, || log.has("readable 4"));
    send_and_end(&peer, b"");
    lp.run().unwrap();
    log.expect(&["readable 4", "readable 0", "end", "finish", "close false"]);
}

#[test]
fn the_end_waits_for_what_was_not_taken() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let (socket, peer) = pair_with(&lp, ServerOptions::new(), connect);
    let log = Recorder::new();
    socket.on_readable(log.noting("readable"));
    log.follow_but_data(socket);
    (&peer).write_all(b"kept").unwrap();
    turn_until(&lp, || log.has("readable"));
    send_and_end(&peer, b"");
    turn_until(&lp, || log.count("readable") == 2);
    for _ in 0..3 {
        lp.run_nowait().unwrap();
    }
    log.expect(&["readable", "readable"]);
    assert_eq!(socket.read_chunk().as_deref(), Some(&b"kept"[..]));
    lp.run().unwrap();
    log.expect(&["end", "finish", "close false"]);
}
