//! Ten thousand connections at once: what an idle one costs in memory, that each is served, that the
//! idle ones cost the busy ones nothing, and that nothing is left of them in the end.
//!
//! The server is a process of its own, begun by this one, which is the client: each has its own
//! descriptors. Where their limit is lower it is fewer connections, and a message says so.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use allocation_counter::measure;
use nodeloop::{Counts, Loop, net};
use support::*;

/// Connections, if the descriptors allow it.
const WANTED: usize = 10_000;

/// Live heap of an idle connection with a 'data' and a 'close' listener that capture something, the
/// slab's slack included.
const ALLOWED_BYTES: usize = 304;

/// Echoes of the busy ones.
const ROUNDS: usize = 100;

/// How many of them.
const BUSY: usize = 10;

/// Descriptors that a process needs beside its connections.
const SPARE_DESCRIPTORS: usize = 200;

/// What the client sends on its last connection to tell the server what comes next.
const NEXT: u8 = b'!';

#[test]
fn ten_thousand_connections() {
    let wanted = WANTED.min(descriptor_limit().saturating_sub(SPARE_DESCRIPTORS));
    if wanted < WANTED {
        println!("only {wanted} connections instead of {WANTED}: the descriptor limit is lower");
    }
    in_own_process(
        "ten_thousand_connections",
        "",
        || serve(wanted),
        |output| {
            let address: SocketAddr = printed(output, "listening at ").parse().unwrap();
            visit(wanted, address);
        },
    );
}

/// How many descriptors a process may have, as the shell tells.
fn descriptor_limit() -> usize {
    let limit = std::process::Command::new("sh")
        .args(["-c", "ulimit -n"])
        .output()
        .unwrap();
    let limit = String::from_utf8(limit.stdout).unwrap();
    limit.trim().parse().unwrap_or(usize::MAX)
}

/// The client.
fn visit(wanted: usize, address: SocketAddr) {
    let mut connections: Vec<TcpStream> = (0..wanted)
        .map(|number| {
            // Spread over addresses of the loopback network, so that no port range is exhausted.
            let host = Ipv4Addr::new(127, 0, 0, 1 + (number % 20) as u8);
            let connection = connect(SocketAddr::from((host, address.port())));
            let timeout = Some(Duration::from_secs(30));
            connection.set_read_timeout(timeout).unwrap();
            connection
        })
        .collect();
    let echo = |connection: &mut TcpStream, byte: u8| {
        connection.write_all(&[byte]).unwrap();
        let mut answer = [0];
        connection.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [byte]);
    };
    let next = |connections: &mut [TcpStream]| echo(connections.last_mut().unwrap(), NEXT);
    next(&mut connections);
    for connection in &mut connections {
        echo(connection, b'.');
    }
    next(&mut connections);
    for _ in 0..ROUNDS {
        for connection in &mut connections[..BUSY] {
            echo(connection, b'.');
        }
    }
    next(&mut connections);
    // The server notes the rest when all are closed.
}

/// Counts that do not depend on how the client's messages happen to meet.
fn calls(counts: Counts) -> [u64; 6] {
    [
        counts.accepts,
        counts.rearms,
        counts.registrations,
        counts.reads,
        counts.writes,
        counts.closes,
    ]
}

/// The server.
fn serve(wanted: usize) {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 60);
    let (accepted, closed, steps) = (counter(), counter(), counter());
    let (accepted_too, closed_too, steps_too) = (accepted.clone(), closed.clone(), steps.clone());
    let server = net::create_server(&lp, move |socket| {
        accepted_too.set(accepted_too.get() + 1);
        let steps = steps_too.clone();
        socket.on_data(move |socket, chunk| {
            socket.write(chunk);
            if chunk.contains(&NEXT) {
                steps.set(steps.get() + 1);
            }
        });
        let closed = closed_too.clone();
        socket.on_close(move |_, _| closed.set(closed.get() + 1));
    });
    server.listen(("0.0.0.0", 0)).unwrap();
    turn_until(&lp, || server.listening());
    println!("listening at {}", server.address().unwrap());

    let descriptors = open_descriptors();
    let memory = lp.memory();
    let before = lp.counts();
    let whole = measure(|| {
        let one_by_one = measure(|| {
            turn_until(&lp, || accepted.get() == wanted && steps.get() == 1);
        });
        let bytes = one_by_one.bytes_current as usize;
        // On the error output, which is not kept back.
        eprintln!("{} bytes of live heap for each of {wanted}", bytes / wanted);
        assert!(bytes <= ALLOWED_BYTES * wanted, "{bytes}");

        // What one costs is what each costs, however many there are. One message has come too.
        let now = wanted as u64;
        let [accepts, rearms, registrations, reads, writes, closes] = calls(lp.counts());
        let [accepts_before, ..] = calls(before);
        assert_eq!(accepts - accepts_before, now);
        let by_level = cfg!(all(target_os = "linux", feature = "level"));
        let changed = if by_level { 1 } else { now };
        assert_eq!((rearms, registrations), (changed, now + 1));
        assert_eq!((reads, writes, closes), (1, 1, 0));

        let before = lp.counts();
        turn_until(&lp, || steps.get() == 2);
        assert_eq!(lp.counts().writes - before.writes, now + 1);
        assert_eq!(lp.counts().reads - before.reads, now + 1);

        // The idle ones cost the busy ones nothing: no call, and no allocation.
        let before = lp.counts();
        let busy = measure(|| turn_until(&lp, || steps.get() == 3));
        let echoes = (ROUNDS * BUSY + 1) as u64;
        assert_eq!(lp.counts().reads - before.reads, echoes);
        assert_eq!(lp.counts().writes - before.writes, echoes);
        assert_eq!(busy.count_total, 0, "{busy:?}");

        turn_until(&lp, || closed.get() == wanted);
        lp.run_nowait().unwrap();
    });
    assert_eq!(open_descriptors(), descriptors);
    let kept = lp.memory().total() as i64 - memory.total() as i64;
    assert_eq!(whole.bytes_current - kept, 0, "{:?}", lp.memory());
}

fn counter() -> Rc<Cell<usize>> {
    Rc::new(Cell::new(0))
}
