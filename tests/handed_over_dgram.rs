//! UDP sockets made of descriptors, and descriptors made of them.

#![cfg(unix)]

mod support;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::rc::Rc;

use nodeloop::dgram::{self, BindOptions, Socket, SocketOptions, SocketType};
use nodeloop::{Counts, Loop};
use socket2::{Domain, SockRef, Type};
use support::udp::*;
use support::*;

/// Answers each message with itself.
fn echo(socket: Socket) {
    socket.on_message(|socket, message, from| {
        socket.send_to(message, from).unwrap();
    });
}

#[test]
fn u6_a_bound_socket() {
    let given = UdpSocket::bind(any_port()).unwrap();
    let address = given.local_addr().unwrap();
    let (peer, _) = peer();
    // It waits already.
    peer.send_to(b"early", address).unwrap();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let socket = udp4(&lp);
    follow(&log, socket);
    echo(socket);
    let bound = log.noting("bound");
    socket.bind_then(given, bound).unwrap();
    // At once, and told later.
    assert_eq!(socket.address().unwrap(), address);
    assert_eq!(code(socket.bind(0)), "ERR_SOCKET_ALREADY_BOUND");
    assert!(lp.is_alive());
    log.expect(&[]);
    turn_until(&lp, || log.has("message early"));
    log.expect(&["listening", "bound", "message early"]);
    assert_eq!(receive(&peer), b"early");
    socket.close().unwrap();
    lp.run().unwrap();
    log.expect(&["close"]);
}

#[test]
fn u6_a_socket_without_a_port_gets_one_when_it_sends() {
    let unbound = socket2::Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (peer, to) = peer();
    let socket = udp4(&lp);
    let address = socket.bind_sync(OwnedFd::from(unbound)).unwrap();
    assert_eq!(address.port(), 0);
    assert_eq!(
        outcome(&lp, |done| socket.send_to_then("x", to, done).unwrap()).unwrap(),
        1
    );
    let port = socket.address().unwrap().port();
    assert_ne!(port, 0);
    let mut buffer = [0; 8];
    let (_, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!(from.port(), port);
    socket.close().unwrap();
    lp.run().unwrap();
}

#[test]
fn u6_a_connected_socket_is_connected() {
    let (peer, to) = peer();
    let given = UdpSocket::bind(any_port()).unwrap();
    given.connect(to).unwrap();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let socket = udp4(&lp);
    follow(&log, socket);
    socket.bind(given).unwrap();
    assert_eq!(socket.remote_address().unwrap(), to);
    assert_eq!(code(socket.connect(to)), "ERR_SOCKET_DGRAM_IS_CONNECTED");
    socket.send("hello").unwrap();
    turn_until(&lp, || log.has("listening"));
    assert_eq!(receive(&peer), b"hello");
    peer.send_to(b"answer", socket.address().unwrap()).unwrap();
    turn_until(&lp, || log.has("message answer"));
    if cfg!(feature = "full-udp") {
        socket.disconnect().unwrap();
        assert_eq!(
            code(socket.remote_address()),
            "ERR_SOCKET_DGRAM_NOT_CONNECTED"
        );
    }
    socket.close().unwrap();
    lp.run().unwrap();
    log.expect(&["listening", "message answer", "close"]);
}

#[test]
fn u6_the_family_is_the_descriptors() {
    let Ok(given) = UdpSocket::bind("[::1]:0") else {
        return println!("skipped: no IPv6 here");
    };
    let (peer, address) = (UdpSocket::bind("[::1]:0").unwrap(), given.local_addr());
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let socket = udp4(&lp);
    echo(socket);
    socket.bind(given).unwrap();
    assert_eq!(socket.socket_type(), SocketType::Udp6);
    peer.send_to(b"six", address.unwrap()).unwrap();
    let told = Rc::new(Cell::new(false));
    let telling = told.clone();
    socket.on_message(move |_, _, from| telling.set(from.family() == "IPv6"));
    turn_until(&lp, || told.get());
    assert_eq!(receive(&peer), b"six");
    socket.close().unwrap();
    lp.run().unwrap();
}

#[test]
fn u6_what_is_no_udp_socket_is_returned_and_the_socket_stays_unbound() {
    let tcp = TcpListener::bind(any_port()).unwrap();
    let connected = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let cases: [(OwnedFd, &str); 7] = [
        (tcp.into(), "TCP"),
        (connected.into(), "TCP"),
        (UnixStream::pair().unwrap().0.into(), "PIPE"),
        (std::io::pipe().unwrap().0.into(), "PIPE"),
        (UnixDatagram::unbound().unwrap().into(), "UNKNOWN"),
        (File::open("/dev/null").unwrap().into(), "FILE"),
        (File::open("/").unwrap().into(), "UNKNOWN"),
    ];
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let socket = udp4(&lp);
    let log = Recorder::new();
    follow(&log, socket);
    for (descriptor, what) in cases {
        let error = socket
            .bind_then(descriptor, |_| panic!("it was not bound"))
            .unwrap_err();
        let message = format!("[ERR_INVALID_FD_TYPE] Unsupported fd type: {what}");
        assert_eq!(error.to_string(), message);
        assert_eq!(code(socket.address()), "EBADF");
        assert!(!lp.is_alive());
    }
    // In Node it can't be bound any more.
    socket.bind(any_port()).unwrap();
    turn_until(&lp, || log.has("listening"));
    socket.close().unwrap();
    lp.run().unwrap();
    log.expect(&["listening", "close"]);
}

#[test]
fn n287_a_socket_that_has_joined_a_group_takes_no_other() {
    let lp = Loop::new().unwrap();
    let socket = udp4(&lp);
    socket
        .add_membership("239.13.7.1", Some("127.0.0.1"))
        .unwrap();
    let error = socket.bind(UdpSocket::bind(any_port()).unwrap());
    let error = error.unwrap_err();
    assert_eq!(
        (error.code(), error.syscall()),
        (Some("EBUSY"), Some("open"))
    );
    socket.close().unwrap();
    lp.run().unwrap();
}

#[test]
fn n284_the_sizes_of_buffers_are_set_on_it() {
    let lp = Loop::new().unwrap();
    let options = SocketOptions::new(SocketType::Udp4).recv_buffer_size(32 * 1024);
    let socket = dgram::create_socket(&lp, options);
    let given = UdpSocket::bind(any_port()).unwrap();
    let before = SockRef::from(&given).recv_buffer_size().unwrap();
    socket.bind(given).unwrap();
    let after = socket.recv_buffer_size().unwrap() as usize;
    assert!(after < before && after >= 32 * 1024, "{after}");
    socket.close().unwrap();
    lp.run().unwrap();
}

#[test]
fn u6_others_may_share_its_address_from_then_on() {
    let lp = Loop::new().unwrap();
    let given = UdpSocket::bind(any_port()).unwrap();
    let address = given.local_addr().unwrap();
    let second = || {
        let options = SocketOptions::new(SocketType::Udp4).reuse_addr(true);
        let socket = dgram::create_socket(&lp, options);
        let bound = socket.bind_sync(address);
        socket.close().unwrap();
        bound
    };
    assert_eq!(code(second()), "EADDRINUSE");
    let socket = udp4(&lp);
    socket.bind(given).unwrap();
    assert_eq!(second().unwrap(), address);
    socket.close().unwrap();
    lp.run().unwrap();
}

#[test]
fn options_that_were_cloned_give_each_socket_a_descriptor() {
    let options = BindOptions::from(UdpSocket::bind(any_port()).unwrap());
    let lp = Loop::new().unwrap();
    let sockets = [(); 2].map(|()| udp4(&lp));
    for socket in sockets {
        socket.bind(options.clone()).unwrap();
    }
    let address = sockets[0].address().unwrap();
    assert_eq!(sockets[1].address().unwrap(), address);
    sockets[0].close().unwrap();
    sockets[1].close().unwrap();
    lp.run().unwrap();
    // The options have one, too.
    assert!(UdpSocket::bind(address).is_err());
    drop(options);
    assert!(UdpSocket::bind(address).is_ok());
}

#[test]
fn closed_before_listening_it_says_nothing_but_close() {
    let lp = Loop::new().unwrap();
    let log = Recorder::new();
    let socket = udp4(&lp);
    follow(&log, socket);
    socket.bind(UdpSocket::bind(any_port()).unwrap()).unwrap();
    socket.close().unwrap();
    lp.run().unwrap();
    log.expect(&["close"]);
    let late = UdpSocket::bind(any_port()).unwrap();
    assert_eq!(code(socket.bind(late)), "ERR_HANDLE_GONE");
}

/// What of `counts` tells about descriptors that others hold.
fn deregistered(lp: &Loop, act: impl FnOnce()) -> u64 {
    let before: Counts = lp.counts();
    act();
    lp.counts().deregistrations - before.deregistrations
}

#[test]
fn what_others_hold_is_deregistered_and_nothing_else() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (own, _) = bound(&lp);
    assert_eq!(deregistered(&lp, || own.close().unwrap()), 0);
    let never_bound = udp4(&lp);
    assert_eq!(deregistered(&lp, || never_bound.close().unwrap()), 0);
    // From outside.
    let socket = udp4(&lp);
    socket.bind(UdpSocket::bind(any_port()).unwrap()).unwrap();
    assert_eq!(deregistered(&lp, || socket.close().unwrap()), 1);
    // Handed out.
    let (socket, _) = bound(&lp);
    drop(socket.try_clone_fd().unwrap());
    assert_eq!(deregistered(&lp, || socket.close().unwrap()), 1);
    // Given away: no close.
    let (socket, _) = bound(&lp);
    let closes = lp.counts().closes;
    assert_eq!(deregistered(&lp, || drop(socket.into_fd().unwrap())), 1);
    assert_eq!(lp.counts().closes, closes);
    lp.run().unwrap();
}

#[test]
fn a_descriptor_that_lives_on_wakes_nobody() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, address) = bound(&lp);
    socket.on_message(|_, _, _| panic!("it is closed"));
    let held = UdpSocket::from(socket.try_clone_fd().unwrap());
    socket.close().unwrap();
    lp.run().unwrap();
    let (peer, _) = peer();
    let before = lp.counts().waits;
    let left = Rc::new(Cell::new(5));
    let inner = left.clone();
    lp.set_interval(1, move |timer| {
        peer.send_to(b"late", address).unwrap();
        inner.set(inner.get() - 1);
        if inner.get() == 0 {
            timer.clear();
        }
    });
    lp.run().unwrap();
    assert!(lp.counts().waits - before < 15);
    // Whoever holds it has the datagrams.
    assert_eq!(receive(&held), b"late");
}

#[test]
fn a_socket_given_away_goes_on_in_another_thread() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let (socket, address) = bound(&lp);
    follow(&log, socket);
    let (peer, _) = peer();
    let given = Rc::new(RefCell::new(None));
    let taken = given.clone();
    socket.on_message(move |socket, message, from| {
        // It is sent before it is given away.
        socket.send_to(message, from).unwrap();
        let taken = taken.clone();
        socket.event_loop().set_immediate(move |_| {
            *taken.borrow_mut() = Some(socket.into_fd().unwrap());
            assert_eq!(code(socket.into_fd()), "ERR_SOCKET_DGRAM_NOT_RUNNING");
            assert_eq!(code(socket.try_clone_fd()), "ERR_SOCKET_DGRAM_NOT_RUNNING");
        });
    });
    peer.send_to(b"one", address).unwrap();
    lp.run().unwrap();
    assert_eq!(receive(&peer), b"one");
    log.expect(&["listening", "message one", "close"]);
    let descriptor = given.take().unwrap();
    // Nobody reads it now, and nothing is lost.
    peer.send_to(b"two", address).unwrap();
    let worker = std::thread::spawn(move || {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let socket = udp4(&lp);
        echo(socket);
        socket.on_message(|socket, _, _| {
            socket
                .event_loop()
                .set_immediate(move |_| socket.close().unwrap());
        });
        socket.bind(descriptor).unwrap();
        assert_eq!(socket.address().unwrap(), address);
        lp.run().unwrap();
    });
    assert_eq!(receive(&peer), b"two");
    join(worker);
}

#[test]
fn a_socket_with_datagrams_on_their_way_is_not_given_away() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let refused = |socket: Socket| {
        assert_eq!(code(socket.into_fd()), "ERR_SOCKET_NOT_TRANSFERABLE");
    };
    let (peer, to) = peer();
    // It waits for its tick.
    let (socket, _) = bound(&lp);
    socket.send_to("x", to).unwrap();
    refused(socket);
    lp.run_nowait().unwrap();
    assert_eq!(receive(&peer), b"x");
    drop(socket.into_fd().unwrap());
    // Being bound; not bound; being connected.
    let socket = udp4(&lp);
    assert_eq!(code(socket.into_fd()), "EBADF");
    assert_eq!(code(socket.try_clone_fd()), "EBADF");
    socket.bind(any_port()).unwrap();
    refused(socket);
    lp.run_nowait().unwrap();
    socket.connect(to).unwrap();
    refused(socket);
    lp.run_nowait().unwrap();
    // Sent on a connected socket: it has gone.
    socket.send("y").unwrap();
    let given = UdpSocket::from(socket.into_fd().unwrap());
    assert_eq!(receive(&peer), b"y");
    assert_eq!(given.peer_addr().unwrap(), to);
    lp.run().unwrap();
}

#[test]
fn whoever_has_it_besides_gets_single_datagrams() {
    const COUNT: u8 = 20;
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let sender = {
        let (sender, _) = bound(&lp);
        sender
    };
    let run_to = |to: SocketAddr| {
        for number in 0..COUNT {
            sender.send_to(&[number; 100][..], to).unwrap();
        }
        lp.run_nowait().unwrap();
    };
    let whole = |receiver: UdpSocket| {
        receiver.set_nonblocking(false).unwrap();
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        for number in 0..COUNT {
            let datagram = receive(&receiver);
            assert_eq!((datagram.len(), datagram[0]), (100, number));
        }
    };
    // The system is asked for trains when many datagrams come.
    let flooded = || {
        const FLOOD: u64 = 100;
        let (socket, address) = bound(&lp);
        let (peer, _) = peer();
        let before = lp.counts().datagrams_received;
        for _ in 0..FLOOD {
            peer.send_to(b"x", address).unwrap();
        }
        turn_until(&lp, || lp.counts().datagrams_received == before + FLOOD);
        (socket, address)
    };
    let (given, address) = flooded();
    let given = UdpSocket::from(given.into_fd().unwrap());
    run_to(address);
    whole(given);
    let (lent, address) = flooded();
    let second = UdpSocket::from(lent.try_clone_fd().unwrap());
    // This loop does not read it meanwhile.
    lent.close().unwrap();
    run_to(address);
    whole(second);
    let outside = UdpSocket::bind(any_port()).unwrap();
    let address = outside.local_addr().unwrap();
    let second = outside.try_clone().unwrap();
    let adopted = udp4(&lp);
    adopted.bind(outside).unwrap();
    let (peer, _) = peer();
    let before = lp.counts().datagrams_received;
    for _ in 0..100 {
        peer.send_to(b"x", address).unwrap();
    }
    turn_until(&lp, || lp.counts().datagrams_received == before + 100);
    adopted.close().unwrap();
    run_to(address);
    whole(second);
    sender.close().unwrap();
    lp.run().unwrap();
    // Here they come one by one, too.
    let given = UdpSocket::bind(any_port()).unwrap();
    let address = given.local_addr().unwrap();
    let (sender, _) = bound(&lp);
    let receiver = udp4(&lp);
    receiver.bind(given).unwrap();
    let sizes = Rc::new(RefCell::new(Vec::new()));
    let seen = sizes.clone();
    receiver.on_message(move |_, message, from| {
        assert_eq!(from.address(), IpAddr::from(Ipv4Addr::LOCALHOST));
        seen.borrow_mut().push(message.len());
    });
    for _ in 0..COUNT {
        sender.send_to(&[1; 100][..], address).unwrap();
    }
    turn_until(&lp, || sizes.borrow().len() == usize::from(COUNT));
    assert_eq!(*sizes.borrow(), [100; COUNT as usize]);
    sender.close().unwrap();
    receiver.close().unwrap();
    lp.run().unwrap();
}

/// A train whose messages found no room was told as one datagram.
#[test]
#[cfg(all(target_os = "linux", feature = "full-udp"))]
fn trains_are_taken_apart_whatever_else_the_owner_before_has_asked_for() {
    use nix::sys::socket::{setsockopt, sockopt};
    const COUNT: usize = 20;
    let told = |given: UdpSocket| {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        setsockopt(&given, sockopt::UdpGroSegment, &true).unwrap();
        let to = given.local_addr().unwrap();
        let sender = dgram::create_socket(
            &lp,
            match to.is_ipv6() {
                true => SocketType::Udp6,
                false => SocketType::Udp4,
            },
        );
        sender.bind_sync((to.ip(), 0)).unwrap();
        let receiver = udp4(&lp);
        receiver.bind(given).unwrap();
        let sizes = Rc::new(RefCell::new(Vec::new()));
        let seen = sizes.clone();
        receiver.on_message(move |_, message, _| seen.borrow_mut().push(message.len()));
        for _ in 0..COUNT {
            sender.send_to(&[1; 100][..], to).unwrap();
        }
        let whole = || sizes.borrow().iter().sum::<usize>() == COUNT * 100;
        turn_until(&lp, whole);
        assert_eq!(*sizes.borrow(), [100; COUNT]);
    };
    let given = UdpSocket::bind(any_port()).unwrap();
    setsockopt(&given, sockopt::Ipv4PacketInfo, &true).unwrap();
    told(given);
    let given = UdpSocket::bind(any_port()).unwrap();
    setsockopt(&given, sockopt::ReceiveTimestampns, &true).unwrap();
    told(given);
    let Ok(given) = UdpSocket::bind("[::1]:0") else {
        return println!("skipped: no IPv6 here");
    };
    setsockopt(&given, sockopt::ReceiveTimestamp, &true).unwrap();
    setsockopt(&given, sockopt::RxqOvfl, &1).unwrap();
    setsockopt(&given, sockopt::Ipv6RecvPacketInfo, &true).unwrap();
    setsockopt(&given, sockopt::Ipv6RecvHopLimit, &true).unwrap();
    setsockopt(&given, sockopt::Ipv6RecvTClass, &true).unwrap();
    told(given);
}

/// A train was told as one datagram.
#[test]
#[cfg(all(target_os = "linux", feature = "full-udp"))]
fn trains_that_who_has_it_besides_asks_for_are_taken_apart() {
    use nix::sys::socket::{setsockopt, sockopt};
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (receiver, to) = bound(&lp);
    let (sender, _) = bound(&lp);
    let second = receiver.try_clone_fd().unwrap();
    setsockopt(&second, sockopt::UdpGroSegment, &true).unwrap();
    let sizes = Rc::new(RefCell::new(Vec::new()));
    let seen = sizes.clone();
    receiver.on_message(move |_, message, _| seen.borrow_mut().push(message.len()));
    for _ in 0..20 {
        sender.send_to(&[1; 100][..], to).unwrap();
    }
    turn_until(&lp, || sizes.borrow().iter().sum::<usize>() == 2000);
    assert_eq!(*sizes.borrow(), [100; 20]);
    sender.close().unwrap();
    receiver.close().unwrap();
    lp.run().unwrap();
}

/// Three went out as one: no other protocol cuts a run into its datagrams.
#[test]
#[cfg(target_os = "linux")]
fn datagrams_of_icmp_go_out_one_by_one() {
    const NAME: &str = "datagrams_of_icmp_go_out_one_by_one";
    const SETUP: &str = "ip link set lo up && echo '0 0' > /proc/sys/net/ipv4/ping_group_range";
    support::own_network::in_own_network(SETUP, NAME, || {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let protocol = Some(socket2::Protocol::ICMPV4);
        let given = socket2::Socket::new(Domain::IPV4, Type::DGRAM, protocol).unwrap();
        let socket = udp4(&lp);
        socket.bind(OwnedFd::from(given)).unwrap();
        let answers = Rc::new(RefCell::new(Vec::new()));
        let seen = answers.clone();
        socket.on_message(move |_, answer, _| seen.borrow_mut().push((answer.len(), answer[7])));
        for number in 1..=3 {
            // The port is nobody's.
            let echo = [8, 0, 0, 0, 0, 0, 0, number];
            socket.send_to(&echo[..], ("127.0.0.1", 1)).unwrap();
        }
        let bytes = || {
            answers
                .borrow()
                .iter()
                .map(|answer| answer.0)
                .sum::<usize>()
        };
        turn_until(&lp, || bytes() == 24);
        assert_eq!(*answers.borrow(), [(8, 1), (8, 2), (8, 3)]);
        socket.close().unwrap();
        lp.run().unwrap();
        "three echoes".to_string()
    });
}
