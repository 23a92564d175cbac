//! An echo in steady state allocates nothing.
//!
//! The dev-dependency `allocation-counter` puts a counting allocator in front of the system's, in
//! this test program only, and counts by thread. To count takes unsafe code, which is why it is not
//! done here.

mod support_process;

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;

use allocation_counter::measure;
use bytes::Bytes;
use nodeloop::{Loop, net};
use support_process::{DEADLINE, within_deadline};

/// Messages before anything is counted: whatever is made once is made by then.
const WARM_UP: usize = 100;

/// Messages that are counted.
const MESSAGES: usize = 1000;

/// A loop whose server does `on_data` with what comes, and a client of it.
fn connected(on_data: fn(net::Socket, &[u8])) -> (Loop, TcpStream) {
    let lp = Loop::new().expect("a loop can be made");
    let accepted = Rc::new(Cell::new(false));
    let accepted_too = accepted.clone();
    let server = net::create_server(&lp, move |socket| {
        accepted_too.set(true);
        socket.on_data(on_data);
    });
    server
        .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
        .expect("it does not listen yet");
    let client = TcpStream::connect(server.address().expect("it listens")).expect("it listens");
    client.set_read_timeout(Some(DEADLINE)).expect("not zero");
    while !accepted.get() {
        lp.run_once().expect("no error is left unhandled");
    }
    (lp, client)
}

/// Sends a message, has the loop serve it, and takes what has come of the answers. It does not wait
/// for the whole answer: the kernel holds small writes back until the client's next message brings
/// the acknowledgement (N198).
fn exchange(lp: &Loop, client: &mut TcpStream, buffer: &mut [u8]) -> usize {
    client.write_all(&[b'x'; 64]).expect("it is connected");
    lp.run_once().expect("no error is left unhandled");
    match client.read(buffer) {
        Ok(size) => size,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => panic!("it is connected: {error}"),
    }
}

/// Allocations of many exchanges, after others.
fn allocations(on_data: fn(net::Socket, &[u8]), answer_size: usize) -> u64 {
    let (lp, mut client) = connected(on_data);
    client.set_nonblocking(true).expect("it is a socket");
    let mut buffer = vec![0; 64 * 1024];
    let mut received = 0;
    for _ in 0..WARM_UP {
        received += exchange(&lp, &mut client, &mut buffer);
    }
    let counted = measure(|| {
        for _ in 0..MESSAGES {
            received += exchange(&lp, &mut client, &mut buffer);
        }
    });
    client.set_nonblocking(false).expect("it is a socket");
    while received < (WARM_UP + MESSAGES) * answer_size {
        received += client.read(&mut buffer).expect("the rest comes");
    }
    counted.count_total
}

#[test]
fn the_counter_counts() {
    within_deadline(|| {
        let allocate = |socket: net::Socket, chunk: &[u8]| {
            socket.write(std::hint::black_box(chunk.to_vec()));
        };
        let counted = allocations(allocate, 64);
        assert!(counted >= MESSAGES as u64 / 2, "{counted}");
    });
}

#[test]
fn an_echo_allocates_nothing() {
    within_deadline(|| {
        let echo = |socket: net::Socket, chunk: &[u8]| {
            socket.write(chunk);
        };
        assert_eq!(allocations(echo, 64), 0);
    });
}

#[test]
fn text_allocates_nothing() {
    within_deadline(|| {
        let texts = |socket: net::Socket, chunk: &[u8]| {
            if socket.encoding().is_none() {
                socket.on_text(|socket, text| {
                    socket.write(text);
                });
                // It was no text yet.
                socket.write(chunk);
            }
            socket.write(chunk);
        };
        assert_eq!(allocations(texts, 2 * 64), 0);
    });
}

#[test]
fn sixteen_answers_in_one_callback_allocate_nothing() {
    within_deadline(|| {
        let answer = |socket: net::Socket, chunk: &[u8]| {
            for _ in 0..16 {
                socket.write(chunk);
            }
        };
        assert_eq!(allocations(answer, 16 * 64), 0);
    });
}

#[test]
fn an_echo_with_pause_and_resume_allocates_nothing() {
    within_deadline(|| {
        let echo = |socket: net::Socket, chunk: &[u8]| {
            socket.pause();
            socket.write(chunk);
            socket.resume();
        };
        assert_eq!(allocations(echo, 64), 0);
    });
}

/// The same under `run`, which may not do what single turns do.
#[test]
fn an_echo_in_a_loop_that_runs_by_itself_allocates_nothing() {
    within_deadline(|| {
        let echo = |socket: net::Socket, chunk: &[u8]| {
            socket.write(chunk);
            if chunk[0] == b'.' {
                socket.event_loop().stop();
            }
        };
        let (lp, mut client) = connected(echo);
        let peer = std::thread::spawn(move || {
            let mut answer = [0; 64];
            for round in [WARM_UP, MESSAGES] {
                for number in 1..=round {
                    let last = number == round;
                    let message = [if last { b'.' } else { b'x' }; 64];
                    client.write_all(&message).expect("it is connected");
                    client.read_exact(&mut answer).expect("it is connected");
                }
            }
        });
        lp.run().expect("no error is left unhandled");
        let counted = measure(|| lp.run().expect("no error is left unhandled"));
        peer.join().expect("every message is answered");
        assert_eq!(counted.count_total, 0, "{counted:?}");
    });
}

/// One message to a thousand sockets, from one callback.
#[test]
fn a_broadcast_allocates_nothing() {
    const RECEIVERS: usize = 1000;
    within_deadline(|| {
        let lp = Loop::new().expect("a loop can be made");
        let sockets = Rc::new(RefCell::new(Vec::new()));
        let sockets_too = sockets.clone();
        let server = net::create_server(&lp, move |socket| {
            socket.on_data(|_, _| {});
            sockets_too.borrow_mut().push(socket);
        });
        server
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .expect("it does not listen yet");
        let address = server.address().expect("it listens");
        let mut receivers = Vec::new();
        for _ in 0..RECEIVERS {
            receivers.push(TcpStream::connect(address).expect("it listens"));
            while sockets.borrow().len() < receivers.len() {
                lp.run_once().expect("no error is left unhandled");
            }
        }
        let shared = Bytes::from(vec![b'x'; 2000]);
        for (message, system_calls) in [(Bytes::from_static(&[b'x'; 64]), 1000), (shared, 1000)] {
            let broadcast = || {
                let (sockets, message) = (sockets.clone(), message.clone());
                lp.next_tick(move |_| {
                    for socket in sockets.borrow().iter() {
                        assert!(socket.write(&message));
                    }
                });
                let before = lp.counts().writes;
                lp.run_nowait().expect("no error is left unhandled");
                assert_eq!(lp.counts().writes - before, system_calls);
            };
            let take = |receivers: &mut Vec<TcpStream>| {
                let mut buffer = [0; 2000];
                for receiver in receivers {
                    let all = &mut buffer[..message.len()];
                    receiver.read_exact(all).expect("it comes");
                }
            };
            for _ in 0..3 {
                broadcast();
                take(&mut receivers);
            }
            let counted = measure(broadcast);
            // The tick's closure is the program's.
            assert!(counted.count_total <= 1, "{counted:?}");
            take(&mut receivers);
        }
    });
}
