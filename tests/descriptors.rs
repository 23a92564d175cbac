//! Descriptors: none is left behind, and a process that has no more, or whose listening socket is taken
//! from it, goes on. Tests that count them are processes of their own, since they are counted by process.

#![cfg(unix)]

mod support;

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nodeloop::net::{self, ConnectOptions, ListenOptions, ServerOptions, Socket};
use nodeloop::{AsLoop, Loop};
use support::*;

/// Leaves what the other process prints alone.
fn wait(_: &mut dyn std::io::BufRead) {}

/// Takes all descriptors that are left.
fn all_descriptors() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn dropping_a_loop_closes_every_descriptor() {
    in_own_process("dropping_a_loop_closes_every_descriptor", "", body, wait);

    fn body() {
        let Some(before) = open_descriptors() else {
            return println!("skipped: this system does not list descriptors");
        };
        let listeners = Rc::new(());
        let mut peers = Vec::new();
        {
            let lp = Loop::new().unwrap();
            for _ in 0..10 {
                let (socket, peer) = pair(&lp);
                let held = listeners.clone();
                socket.on_data(move |_, _| drop(held.clone()));
                let held = listeners.clone();
                socket.on_close(move |_, _| drop(held.clone()));
                peers.push(peer);
                let held = listeners.clone();
                listening(&lp, move |_| drop(held.clone()));
                let held = listeners.clone();
                lp.set_interval(1, move |_| drop(held.clone()));
            }
            // A write in flight, a socket that is destroyed and not closed yet.
            let (socket, peer) =
                pair_with(&lp, ServerOptions::new(), |to| connect_narrow(to, 4096));
            let held = listeners.clone();
            socket.write_then(vec![0; 8 << 20], move |_| drop(held));
            peers.push(peer);
            let (socket, peer) = pair(&lp);
            let held = listeners.clone();
            socket.on_close(move |_, _| drop(held.clone()));
            socket.destroy();
            peers.push(peer);
            assert!(open_descriptors().unwrap() >= before + 30);
            assert_eq!(Rc::strong_count(&listeners), 1 + 4 * 10 + 2);
        }
        assert_eq!(open_descriptors().unwrap(), before + peers.len());
        assert_eq!(
            Rc::strong_count(&listeners),
            1,
            "a listener was not dropped"
        );
        drop(peers);
        assert_eq!(open_descriptors().unwrap(), before);
    }
}

#[test]
fn a_life_of_connections_leaves_no_descriptor() {
    in_own_process("a_life_of_connections_leaves_no_descriptor", "", body, wait);

    fn body() {
        let Some(before) = open_descriptors() else {
            return println!("skipped: this system does not list descriptors");
        };
        on_every_loop(|lp| {
            let _deadline = deadline(lp, 20);
            let (server, address) = listening(lp, |socket| {
                socket.on_data(|socket, chunk| {
                    socket.write(chunk);
                });
                socket.on_error(|_, _| {});
            });
            let before = open_descriptors().unwrap();
            let endings: [fn(TcpStream); 4] = [
                |peer| {
                    send_and_end(&peer, b"x");
                    assert_eq!(read_to_end(&peer), b"x");
                },
                |peer| drop(peer.shutdown(Shutdown::Both)),
                reset,
                drop,
            ];
            for _ in 0..5 {
                let clients: Vec<_> = endings.map(|end| client(address, end)).into();
                let seen = Rc::new(Cell::new(0));
                let counted = seen.clone();
                let id = server.on_connection(move |_, socket| {
                    let counted = counted.clone();
                    socket.on_close(move |_, _| counted.set(counted.get() + 1));
                });
                turn_until(lp, || seen.get() == endings.len());
                server.off(id);
                clients.into_iter().for_each(join);
            }
            assert_eq!(server.connections(), 0);
            assert_eq!(open_descriptors().unwrap(), before);
            server.close();
            lp.run().unwrap();
        });
        assert_eq!(open_descriptors().unwrap(), before);
    }
}

/// Asks a server for its greeting: whether it was served, or turned away.
fn is_served(mut peer: &TcpStream) -> bool {
    let mut greeting = [0];
    match peer.read(&mut greeting) {
        Ok(size) => size == 1,
        // Turned away before its end was sent.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
        Err(error) => panic!("neither served nor turned away: {error}"),
    }
}

/// Serves until a client sends `q`, and greets whoever comes.
fn greeter(lp: &impl AsLoop) -> SocketAddr {
    let (_, address) = listening(lp, |socket: Socket| {
        socket.write("!");
        socket.on_error(|_, _| {});
        socket.on_data(|socket, chunk| {
            if chunk == b"q" {
                // Every client but this one has ended by then.
                socket.server().unwrap().close();
                socket.destroy();
            }
        });
    });
    address
}

/// Has the server end, which may have to get a descriptor back first.
fn quit(address: SocketAddr) {
    for _ in 0..10_000 {
        let mut peer = connect(address);
        if is_served(&peer) {
            peer.write_all(b"q").unwrap();
            assert_eq!(ending(&peer), "end");
            return;
        }
    }
    panic!("no descriptor became free");
}

#[test]
fn n93_accept_after_emfile() {
    // N93, A14
    const CLIENTS: usize = 60;
    let name = "n93_accept_after_emfile";
    in_own_process(name, "ulimit -n 32 &&", body, |output| {
        let address: SocketAddr = printed(output, "at ").parse().unwrap();
        for _ in 0..3 {
            let clients: Vec<_> = (0..CLIENTS).map(|_| connect(address)).collect();
            let served = clients.iter().filter(|client| is_served(client)).count();
            // Whoever could not be served was turned away at once: nobody waits for ever.
            assert!(
                (1..32).contains(&served),
                "{served} of {CLIENTS} were served"
            );
            for client in &clients {
                // Already gone if it was turned away.
                let _ = client.shutdown(Shutdown::Write);
                ending(client);
            }
        }
        quit(address);
    });

    fn body() {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 50);
        println!("at {}", greeter(&lp));
        lp.run().unwrap();
        let counts = lp.counts();
        assert!(counts.shed > 0, "nobody was turned away");
        // A listener that is ready all the time would have made it spin.
        let accepted = counts.accepts - counts.shed;
        assert!(counts.waits < 4 * (accepted + counts.shed), "{counts:?}");
    }
}

#[test]
fn n93_accept_after_emfile_without_a_spare() {
    // N93, A14: libuv would spin.
    let name = "n93_accept_after_emfile_without_a_spare";
    in_own_process(name, "ulimit -n 32 &&", body, |output| {
        let address: SocketAddr = printed(output, "at ").parse().unwrap();
        // Nothing can be done for this one before a descriptor is free: it is kept waiting.
        let patient = connect(address);
        assert_eq!(printed(output, "freed after "), "few waits");
        assert!(is_served(&patient));
        drop(patient);
        quit(address);
    });

    fn body() {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 50);
        // Leaves one, for the listening socket: there is none in reserve.
        let mut files = all_descriptors();
        files.pop();
        println!("at {}", greeter(&lp));
        // None of the loop's: it is its own retry that finds them.
        let mut files = Some(files);
        let mut beginning = None;
        lp.set_interval(10, move |timer| {
            let lp = timer.event_loop();
            let counts = lp.counts();
            let (accepts, waits) = (counts.accepts, counts.waits);
            match beginning {
                None if accepts > 0 => beginning = Some((lp.now(), waits, accepts)),
                Some((since, waits_then, accepts_then)) if lp.now() >= since + 350 => {
                    // Three retries, and the turns of this timer.
                    let (waits, accepts) = (waits - waits_then, accepts - accepts_then);
                    let few = waits <= 2 * 40 && (2..=8).contains(&accepts);
                    files.take();
                    match few {
                        true => println!("freed after few waits"),
                        false => println!("freed after {waits} waits, {accepts} accepts"),
                    }
                    timer.clear();
                }
                _ => {}
            }
        });
        lp.run().unwrap();
    }
}

#[test]
fn n93_accept_after_emfile_when_a_socket_of_the_loop_closes() {
    let name = "n93_accept_after_emfile_when_a_socket_of_the_loop_closes";
    in_own_process(name, "ulimit -n 32 &&", body, |output| {
        let address: SocketAddr = printed(output, "at ").parse().unwrap();
        let mut served = connect(address);
        assert!(is_served(&served));
        // Waiting for its own retry it would take 100 ms each time.
        const ROUNDS: u32 = 20;
        let started = Instant::now();
        for _ in 0..ROUNDS {
            let waiting = connect(address);
            // It waits for a descriptor, which this one gives back.
            served.shutdown(Shutdown::Write).unwrap();
            assert_eq!(ending(&served), "end");
            assert!(is_served(&waiting));
            served = waiting;
        }
        let passed = started.elapsed();
        assert!(passed < ROUNDS * Duration::from_millis(50), "{passed:?}");
        drop(served);
        quit(address);
    });

    fn body() {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 50);
        let mut files = all_descriptors();
        files.pop();
        println!("at {}", greeter(&lp));
        // Room for one connection; the rest stays taken till the end.
        files.pop();
        let _files = files;
        lp.run().unwrap();
    }
}

/// It was duplicated for that, which failed, and who waited was turned away.
#[test]
fn a_unix_server_is_given_away_without_a_descriptor_to_spare() {
    let name = "a_unix_server_is_given_away_without_a_descriptor_to_spare";
    in_own_process(name, "ulimit -n 32 &&", body, wait);

    fn body() {
        let scratch = files::Scratch::new();
        let path = scratch.path("s");
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let server = net::create_server(&lp, |_| panic!("the other one has it"));
        server.listen(&path).unwrap();
        let mut waiting = UnixStream::connect(&path).unwrap();
        let files = all_descriptors();
        let descriptor = server.into_fd().unwrap();
        lp.run().unwrap();
        drop(files);

        let next = UnixListener::from(descriptor);
        next.set_nonblocking(false).unwrap();
        next.accept().unwrap().0.write_all(b"hello").unwrap();
        let mut told = String::new();
        waiting.read_to_string(&mut told).unwrap();
        assert_eq!(told, "hello");
        assert!(path.exists());
    }
}

/// Writes down what becomes of an attempt.
fn follow(socket: Socket, name: &'static str, log: &Recorder) {
    let inner = log.clone();
    socket.on_connection_attempt(move |_, to| inner.note(format!("{name} attempt {to}")));
    let inner = log.clone();
    socket.on_connection_attempt_failed(move |_, to, error| {
        inner.note(format!("{name} failed {to}: {error}"));
    });
    let inner = log.clone();
    socket.on_error(move |_, error| {
        let parts = (error.syscall(), error.address(), error.port());
        inner.note(format!("{name} error {error} {parts:?}"));
    });
}

#[test]
fn c4_a_connection_that_gets_no_descriptor_is_an_attempt_that_failed() {
    let name = "c4_a_connection_that_gets_no_descriptor_is_an_attempt_that_failed";
    in_own_process(name, "ulimit -n 32 &&", body, wait);

    fn body() {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 50);
        let _files = all_descriptors();
        let check = |name, to: ConnectOptions, expected: &[&str]| {
            let log = Recorder::new();
            follow(net::connect(&lp, to), name, &log);
            lp.run().unwrap();
            log.expect(expected);
        };
        // Nobody has asked for an address at this end, so nothing is bound.
        check(
            "one",
            ConnectOptions::new("127.0.0.1", 1),
            &[
                "one attempt 127.0.0.1:1",
                r#"one error connect EMFILE 127.0.0.1:1 (Some("connect"), Some("127.0.0.1"), Some(1))"#,
            ],
        );
        check(
            "several",
            ConnectOptions::new("a", 1).lookup(|_, _, answer| {
                answer.found([[127, 0, 0, 1].into(), [127, 0, 0, 2].into()]);
            }),
            &[
                "several attempt 127.0.0.1:1",
                "several failed 127.0.0.1:1: connect EMFILE 127.0.0.1:1",
                "several attempt 127.0.0.2:1",
                "several failed 127.0.0.2:1: connect EMFILE 127.0.0.2:1",
                "several error connect EMFILE 127.0.0.1:1; connect EMFILE 127.0.0.2:1 (None, None, None)",
            ],
        );
        check(
            "bound",
            ConnectOptions::new("127.0.0.1", 1).local_address([127, 0, 0, 1].into()),
            &[r#"bound error bind EMFILE 127.0.0.1 (Some("bind"), Some("127.0.0.1"), None)"#],
        );
    }
}

/// A server at this socket goes round no more often than it has to, once `shut_down` has been called.
fn expect_no_spinning(lp: &Loop, at: ListenOptions, shut_down: impl FnOnce()) {
    let server = net::create_server(lp, |socket| {
        socket.server().unwrap().close();
        socket.write("h");
        socket.destroy_soon();
    });
    server.listen(at).unwrap();
    shut_down();
    let began = lp.counts();
    let began_ms = lp.now();
    // It is tried ten times a second.
    turn_until(lp, || lp.counts().accepts - began.accepts >= 4);
    assert!(lp.now() - began_ms >= 250, "{} ms", lp.now() - began_ms);
    let waits = lp.counts().waits - began.waits;
    assert!(waits < 30, "{waits} waits");
}

#[test]
fn a_listening_socket_that_another_process_has_shut_down_does_not_spin_the_loop() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 5);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // As good as another process: a descriptor of its own.
    let shared = socket2::Socket::from(listener.try_clone().unwrap());
    expect_no_spinning(&lp, listener.into(), || {
        shared.shutdown(Shutdown::Read).unwrap();
    });
    // Who has shut it down may open it again, which gives it another port.
    shared.listen(16).unwrap();
    let peer = connect(shared.local_addr().unwrap().as_socket().unwrap());
    lp.run().unwrap();
    assert!(is_served(&peer));
}

#[test]
fn nor_does_a_unix_socket() {
    for how in [Shutdown::Read, Shutdown::Both] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 5);
        let scratch = files::Scratch::new();
        let listener = std::os::unix::net::UnixListener::bind(scratch.path("s")).unwrap();
        let shared =
            socket2::Socket::from(std::os::fd::OwnedFd::from(listener.try_clone().unwrap()));
        expect_no_spinning(&lp, listener.into(), || shared.shutdown(how).unwrap());
    }
}
