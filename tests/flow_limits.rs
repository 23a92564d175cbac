//! Limits: connections that are too many for the server or for the process, and who may listen
//! beside whom.

mod support;

#[cfg(target_os = "linux")]
use std::cell::Cell;
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::rc::Rc;
#[cfg(target_os = "linux")]
use std::thread::JoinHandle;

use nodeloop::Loop;
use nodeloop::net::{self, DropInfo, ListenOptions, Server, Socket};
use support::*;

const LOCAL: [SocketAddr; 2] = [
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
    SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
];

/// A server that notes `connection` and `drop`, and what came with the latter.
struct Limited {
    server: Server,
    address: SocketAddr,
    log: Recorder,
    sockets: Rc<RefCell<Vec<Socket>>>,
    drops: Rc<RefCell<Vec<DropInfo>>>,
}

impl Limited {
    fn new(lp: &Loop, at: SocketAddr, max: Option<usize>) -> Limited {
        let log = Recorder::new();
        let sockets = Rc::new(RefCell::new(Vec::new()));
        let drops = Rc::new(RefCell::new(Vec::new()));
        let (inner, kept) = (log.clone(), sockets.clone());
        let server = net::create_server(lp, move |socket| {
            inner.note("connection");
            kept.borrow_mut().push(socket);
        });
        let (inner, kept) = (log.clone(), drops.clone());
        server.on_drop(move |_, info| {
            inner.note("drop");
            kept.borrow_mut().push(*info);
        });
        server.set_max_connections(max);
        server.listen(at).unwrap();
        let address = server.address().unwrap();
        Limited {
            server,
            address,
            log,
            sockets,
            drops,
        }
    }

    /// Connects, and says what the server makes of it.
    fn knock(&self, lp: &Loop) -> (TcpStream, String) {
        let peer = connect(self.address);
        let before = self.log.take().len();
        assert_eq!(before, 0, "something else was noted");
        turn_until(lp, || self.log.last().is_some());
        (peer, self.log.take().concat())
    }
}

#[test]
fn n85_n86_max_connections_and_what_drop_tells() {
    for at in LOCAL {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let limited = Limited::new(&lp, at, Some(2));
        assert_eq!(limited.server.max_connections(), Some(2));
        let (_first, what) = limited.knock(&lp);
        assert_eq!(what, "connection");
        let (mut second, what) = limited.knock(&lp);
        assert_eq!(what, "connection");
        for _ in 0..2 {
            let (third, what) = limited.knock(&lp);
            assert_eq!(what, "drop");
            assert_eq!(limited.server.connections(), 2);
            let info = limited.drops.borrow_mut().pop().unwrap();
            assert_eq!(info.local_address, Some(limited.address));
            assert_eq!(info.remote_address, third.local_addr().ok());
            // It was connected, and sees a clean end.
            assert_eq!(ending(&third), "end");
        }
        // The others don't notice.
        let socket = limited.sockets.borrow()[1];
        socket.on_data(|socket, chunk| {
            socket.write(chunk);
        });
        second.write_all(b"x").unwrap();
        turn_until(&lp, || socket.bytes_read() > 0);
        second.read_exact(&mut [0]).unwrap();
        // Room counts from `destroy` on (N80).
        socket.destroy();
        assert_eq!(limited.server.connections(), 1);
        lp.run_nowait().unwrap();
        let (_fourth, what) = limited.knock(&lp);
        assert_eq!(what, "connection");
    }
}

#[test]
fn n85_zero_drops_all_and_none_drops_nobody() {
    for at in LOCAL {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let limited = Limited::new(&lp, at, Some(0));
        let mut peers = Vec::new();
        for (max, expected) in [
            (Some(0), "drop"),
            (None, "connection"),
            (Some(0), "drop"),
            (Some(usize::MAX), "connection"),
            (Some(2), "drop"),
            (Some(3), "connection"),
        ] {
            limited.server.set_max_connections(max);
            assert_eq!(limited.server.max_connections(), max);
            let (peer, what) = limited.knock(&lp);
            assert_eq!(what, expected, "{max:?}");
            peers.push(peer);
        }
    }
}

#[test]
fn n87_lowering_keeps_who_is_there() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let limited = Limited::new(&lp, LOCAL[0], None);
    let peers = [(); 3].map(|()| limited.knock(&lp).0);
    limited.server.set_max_connections(Some(1));
    lp.run_nowait().unwrap();
    assert_eq!(limited.server.connections(), 3);
    let sockets = limited.sockets.take();
    for (socket, mut peer) in sockets.iter().zip(&peers) {
        socket.write("still here");
        let mut text = [0; 10];
        peer.read_exact(&mut text).unwrap();
    }
    for (count, socket) in (0..3).rev().zip(sockets) {
        assert_eq!(limited.knock(&lp).1, "drop");
        socket.destroy();
        assert_eq!(limited.server.connections(), count);
        lp.run_nowait().unwrap();
    }
    assert_eq!(limited.knock(&lp).1, "connection");
}

#[test]
fn n85_a_listener_of_drop_may_do_anything() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let limited = Limited::new(&lp, LOCAL[0], Some(0));
    limited.server.on_drop(|server, _| {
        server.set_max_connections(None);
        server.close();
    });
    limited.server.on_close(limited.log.noting("close"));
    let peer = connect(limited.address);
    lp.run().unwrap();
    limited.log.expect(&["drop", "close"]);
    assert_eq!(ending(&peer), "end");
}

/// Listens, and says what came of it: `listening`, or the error's code.
fn listen(lp: &Loop, options: ListenOptions) -> (Server, String) {
    let log = Recorder::new();
    let server = net::create_server(lp, |_| {});
    server.on_listening(log.noting("listening"));
    let inner = log.clone();
    server.on_error(move |_, error| {
        assert_eq!(error.syscall(), Some("listen"));
        inner.note(code_of(error));
    });
    server.listen(options).unwrap();
    turn_until(lp, || log.last().is_some());
    (server, log.take().concat())
}

#[test]
fn n245_ipv6_only_leaves_ipv4_to_another() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let any = ListenOptions::new().host("::");
    let any_ipv4 = ListenOptions::new().host("0.0.0.0");
    let (both, what) = listen(&lp, any.clone());
    assert_eq!(what, "listening");
    let port = both.address().unwrap().port();
    let (_, what) = listen(&lp, any_ipv4.clone().port(port));
    assert_eq!(what, "EADDRINUSE");
    // Any other program may have the same number for IPv4, and one with many connections has many.
    let shared = (0..300).find_map(|_| {
        let (ipv6, what) = listen(&lp, any.clone().ipv6_only(true));
        assert_eq!(what, "listening");
        let port = ipv6.address().unwrap().port();
        let (ipv4, what) = listen(&lp, any_ipv4.clone().port(port));
        (what == "listening").then_some((ipv6, ipv4, port))
    });
    let (ipv6, ipv4, port) = shared.expect("a port is free for both");
    let accepted = Recorder::new();
    let inner = accepted.clone();
    ipv6.on_connection(move |_, _| inner.note("IPv6"));
    let inner = accepted.clone();
    ipv4.on_connection(move |_, socket| {
        inner.note("IPv4");
        // Not in the other family's clothes.
        assert!(socket.remote_address().unwrap().is_ipv4());
    });
    for (at, who) in [(LOCAL[0].ip(), "IPv4"), (LOCAL[1].ip(), "IPv6")] {
        let _peer = connect(SocketAddr::new(at, port));
        turn_until(&lp, || accepted.last().is_some());
        accepted.expect(&[who]);
    }
}

#[test]
fn n245_ipv6_only_says_nothing_about_ipv4() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    for host in ["127.0.0.1", "0.0.0.0"] {
        let options = ListenOptions::new().host(host).ipv6_only(true);
        let (server, what) = listen(&lp, options);
        assert_eq!(what, "listening");
        assert!(server.listening());
    }
    let (_, what) = listen(&lp, ListenOptions::new().host("::1").ipv6_only(true));
    assert_eq!(what, "listening");
}

/// A loop in a thread that listens at a port shared with others, and names itself to whoever
/// connects. It ends when a client sends something.
#[cfg(target_os = "linux")]
fn sharing_loop(name: &'static str, port: u16) -> (JoinHandle<usize>, u16) {
    let (sender, listens) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let accepted = Rc::new(Cell::new(0));
        let counted = accepted.clone();
        let server = net::create_server(&lp, move |socket| {
            counted.set(counted.get() + 1);
            socket.write(name);
            socket.on_data(|socket, _| {
                // Closed before the client sees the end, and connects again.
                socket.server().unwrap().close();
                socket.end();
            });
        });
        let options = ListenOptions::from(SocketAddr::new(LOCAL[0].ip(), port));
        // A17
        server.listen(options.reuse_port(true)).unwrap();
        sender.send(server.address().unwrap().port()).unwrap();
        lp.run().unwrap();
        accepted.get()
    });
    let port = listens.recv_timeout(PATIENCE).expect("it listens");
    (thread, port)
}

#[cfg(target_os = "linux")]
#[test]
fn n283_two_loops_share_a_port() {
    const CLIENTS: usize = 100;
    let (first, port) = sharing_loop("1", 0);
    let (second, _) = sharing_loop("2", port);
    let address = SocketAddr::new(LOCAL[0].ip(), port);
    // Who does not say so may not listen beside them.
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    assert_eq!(listen(&lp, ListenOptions::from(address)).1, "EADDRINUSE");
    let mut answers = [0, 0];
    for _ in 0..CLIENTS {
        let peer = connect(address);
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        match &read_to_end(&peer)[..] {
            b"1" => answers[0] += 1,
            b"2" => answers[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    for _ in 0..2 {
        let mut peer = connect(address);
        peer.write_all(b"over").unwrap();
        assert_eq!(ending(&peer), "end");
    }
    // Each has taken one of those that ended it.
    let accepted = [join(first), join(second)];
    assert_eq!(accepted, answers.map(|answers| answers + 1));
    // By chance one has none in one of 2^99 runs.
    assert!(answers[0] > 0 && answers[1] > 0, "{answers:?}");
}

/// Asks a server for its greeting: whether it was served, or turned away with a clean end.
#[cfg(target_os = "linux")]
fn is_served(mut peer: &TcpStream) -> bool {
    peer.read(&mut [0]).expect("served, or ended") == 1
}

/// Has the server do something, and answer with a number.
#[cfg(target_os = "linux")]
fn ask(mut peer: &TcpStream, what: &[u8; 1]) -> usize {
    peer.write_all(what).unwrap();
    let mut answer = [0; 8];
    peer.read_exact(&mut answer).unwrap();
    usize::from_be_bytes(answer)
}

#[cfg(target_os = "linux")]
#[test]
fn n93_two_hundred_clients_and_sixty_four_descriptors() {
    // N93, A14
    const CLIENTS: usize = 200;
    let name = "n93_two_hundred_clients_and_sixty_four_descriptors";
    in_own_process(name, "ulimit -S -n 64 &&", body, |output| {
        let address: SocketAddr = printed(output, "at ").parse().unwrap();
        let control = connect(address);
        assert!(is_served(&control));
        let clients: Vec<_> = (0..CLIENTS).map(|_| connect(address)).collect();
        let (mut served, shed): (Vec<_>, Vec<_>) = clients.into_iter().partition(is_served);
        assert!((40..64).contains(&served.len()), "{}", served.len());
        assert!(shed.len() >= CLIENTS - 64);
        assert_eq!(ask(&control, b"n"), served.len() + 1);
        // Who is there stays there, and is served.
        let turns = ask(&control, b"t");
        for round in 1..=10 {
            for client in &served {
                ask(client, b"n");
            }
            let asked = round * served.len();
            let passed = ask(&control, b"t") - turns;
            // A turn for each, and those of the loop's own retries in between.
            assert!(passed <= 2 * asked + 100, "{passed} turns, {asked} served");
        }
        // As many as leave may come, at once, and no more.
        for leaving in [1, 1, 10, 30] {
            let stay = served.split_off(leaving);
            drop(std::mem::replace(&mut served, stay));
            while ask(&control, b"n") > served.len() + 1 {}
            for _ in 0..leaving {
                let client = connect(address);
                assert!(is_served(&client), "there was room");
                served.push(client);
            }
            assert!(!is_served(&connect(address)), "there was none");
        }
        control.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(ending(&control), "end");
    });

    fn body() {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 50);
        let mut control = None;
        let (server, address) = listening(&lp, move |socket| {
            socket.write("!");
            socket.set_no_delay(true);
            socket.on_error(|_, _| {});
            let control = *control.get_or_insert(socket);
            socket.on_end(move |socket| {
                if socket == control {
                    socket.server().unwrap().close_all();
                }
            });
            socket.on_data(|socket, what| {
                let number = match what {
                    b"n" => socket.server().unwrap().connections(),
                    _ => socket.event_loop().turns() as usize,
                };
                socket.write(&number.to_be_bytes());
            });
        });
        server.on_drop(|_, _| panic!("nobody limits the connections"));
        server.on_error(|_, error| panic!("{error}"));
        println!("at {address}");
        lp.run().unwrap();
        assert!(lp.counts().shed > 0);
    }
}
