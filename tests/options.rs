//! Options of sockets, read back from the system: before and after the connection stands, on a
//! socket without one, and on a socket that is gone.

mod support;

use std::cell::Cell;
use std::io::Write;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::rc::Rc;
#[cfg(target_os = "linux")]
use std::time::Duration;

use nodeloop::dns::{Hints, LookupOptions, Order};
use nodeloop::net::{self, ServerOptions, Socket, SocketOptions};
use nodeloop::{Builder, Loop};
use support::*;

/// Keep-alive as the system has it: on, seconds before the first probe, between probes, probes.
#[cfg(target_os = "linux")]
fn keep_alive(socket: Socket) -> (bool, u64, u64, u32) {
    let asked = socket.with_sock_ref(|socket| {
        Ok::<_, std::io::Error>((
            socket.keepalive()?,
            socket.tcp_keepalive_time()?.as_secs(),
            socket.tcp_keepalive_interval()?.as_secs(),
            socket.tcp_keepalive_retries()?,
        ))
    });
    asked.unwrap().unwrap()
}

fn no_delay(socket: Socket) -> bool {
    socket
        .with_sock_ref(|it| it.tcp_nodelay())
        .unwrap()
        .unwrap()
}

/// A connected client of the loop and whom it is connected to.
fn connected(
    lp: &Loop,
    listener: &TcpListener,
    options: SocketOptions,
    before: impl FnOnce(Socket),
) -> (Socket, std::net::TcpStream) {
    let address = listener.local_addr().unwrap();
    let socket = net::connect(lp, target(address).socket(options));
    before(socket);
    turn_until(lp, || !socket.connecting());
    assert!(!socket.destroyed());
    (socket, listener.accept().unwrap().0)
}

fn listeners() -> Vec<TcpListener> {
    let listeners = ["127.0.0.1:0", "[::1]:0"].map(TcpListener::bind);
    listeners.into_iter().map(Result::unwrap).collect()
}

#[test]
fn n199_no_delay_before_and_after_the_connection() {
    if tcp_only("it is about options of TCP") {
        return;
    }
    for listener in listeners() {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let usual = SocketOptions::new();
        let (socket, _peer) = connected(&lp, &listener, usual, |_| {});
        // N198.
        assert!(!no_delay(socket));
        socket.set_no_delay(true);
        assert!(no_delay(socket));
        socket.set_no_delay(false);
        assert!(!no_delay(socket));
        let (socket, _peer) = connected(&lp, &listener, usual, |socket| socket.set_no_delay(true));
        assert!(no_delay(socket));
        let options = usual.no_delay(true);
        let (socket, _peer) = connected(&lp, &listener, options, |_| {});
        assert!(no_delay(socket));
        // What was remembered can be taken back.
        let (socket, _peer) = connected(&lp, &listener, options, |it| it.set_no_delay(false));
        assert!(!no_delay(socket));
        let (socket, _peer) = pair_with(&lp, ServerOptions::new().no_delay(true), connect);
        assert!(no_delay(socket));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn n199_keep_alive_before_and_after_the_connection() {
    if tcp_only("it is about options of TCP") {
        return;
    }
    for listener in listeners() {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let usual = SocketOptions::new();
        let (socket, _peer) = connected(&lp, &listener, usual, |_| {});
        let (on, delay_s, ..) = keep_alive(socket);
        assert!(!on);
        // Without a delay that of the system stays.
        socket.set_keep_alive(true, 0);
        assert!(keep_alive(socket).0);
        assert_eq!(keep_alive(socket).1, delay_s);
        socket.set_keep_alive(true, 12_999);
        assert_eq!(keep_alive(socket), (true, 12, 1, 10));
        socket.set_keep_alive_probes(20_000, 3_000, 4);
        assert_eq!(keep_alive(socket), (true, 20, 3, 4));
        socket.set_keep_alive(false, 0);
        assert!(!keep_alive(socket).0);
        let begin = |socket: Socket| {
            let second = Duration::from_secs(1);
            socket.set_keep_alive_probes(20 * second, 3 * second, 4);
        };
        let (socket, _peer) = connected(&lp, &listener, usual, begin);
        assert_eq!(keep_alive(socket), (true, 20, 3, 4));
        let options = usual.keep_alive(true, Duration::from_secs(7));
        let (socket, _peer) = connected(&lp, &listener, options, |_| {});
        assert_eq!(keep_alive(socket), (true, 7, 1, 10));
        let options = ServerOptions::new().keep_alive(true, 5_000);
        let (socket, _peer) = pair_with(&lp, options, connect);
        assert_eq!(keep_alive(socket), (true, 5, 1, 10));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn n200_type_of_service_before_and_after_the_connection() {
    for listener in listeners() {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let is_ipv4 = listener.local_addr().unwrap().is_ipv4();
        let asked = |socket: Socket| {
            let tos = socket.with_sock_ref(|socket| match is_ipv4 {
                true => socket.tos_v4(),
                false => socket.tclass_v6(),
            });
            tos.unwrap().unwrap()
        };
        let usual = SocketOptions::new();
        let (socket, _peer) = connected(&lp, &listener, usual, |_| {});
        assert_eq!(socket.type_of_service().unwrap(), 0);
        socket.set_type_of_service(0x10).unwrap();
        assert_eq!(socket.type_of_service().unwrap(), 0x10);
        assert_eq!(asked(socket), 0x10);
        // The two bits for congestion are the system's.
        socket.set_type_of_service(0x13).unwrap();
        assert_eq!(socket.type_of_service().unwrap(), 0x10);
        let (socket, _peer) = connected(&lp, &listener, usual, |socket| {
            socket.set_type_of_service(0x23).unwrap();
            // Not the system's yet.
            assert_eq!(socket.type_of_service().unwrap(), 0x23);
        });
        assert_eq!(socket.type_of_service().unwrap(), 0x20);
        assert_eq!(asked(socket), 0x20);
        // Remembered again once it is closed.
        socket.keep();
        socket.destroy();
        assert_eq!(socket.type_of_service().unwrap(), 0x23);
        socket.set_type_of_service(0x40).unwrap();
        assert_eq!(socket.type_of_service().unwrap(), 0x40);
        // Outside a connection it is zero as long as it was not set.
        let socket = Socket::new(&lp, usual);
        assert_eq!(socket.type_of_service().unwrap(), 0);
    }
}

#[test]
fn n200_type_of_service_of_accepted_sockets() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, _peer) = pair(&lp);
    socket.set_type_of_service(0x10).unwrap();
    assert_eq!(socket.type_of_service().unwrap(), 0x10);
    // A server for both families has sockets of the second, whoever comes.
    let server = net::create_server(&lp, |_| {});
    let accepted = Rc::new(Cell::new(None));
    let inner = accepted.clone();
    server.on_connection(move |_, socket| inner.set(Some(socket)));
    server.listen(0).unwrap();
    let port = server.address().unwrap().port();
    for host in [[127, 0, 0, 1].into(), Ipv6Addr::LOCALHOST.into()] {
        let _peer = connect(SocketAddr::new(host, port));
        turn_until(&lp, || accepted.get().is_some());
        let socket = accepted.take().unwrap();
        socket.set_type_of_service(0x10).unwrap();
        assert_eq!(socket.type_of_service().unwrap(), 0x10, "{host}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_else_the_system_offers() {
    if tcp_only("it is about options of TCP") {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, _peer) = pair(&lp);
    // Linux doubles what it is given.
    socket.set_recv_buffer_size(10_000).unwrap();
    assert_eq!(socket.recv_buffer_size().unwrap(), 20_000);
    socket.set_send_buffer_size(10_000).unwrap();
    assert_eq!(socket.send_buffer_size().unwrap(), 20_000);
    let user_timeout = || socket.with_sock_ref(|it| it.tcp_user_timeout());
    socket.set_user_timeout(1234).unwrap();
    let set = user_timeout().unwrap().unwrap();
    assert_eq!(set, Some(Duration::from_millis(1234)));
    socket.set_user_timeout(0).unwrap();
    assert_eq!(user_timeout().unwrap().unwrap(), None);
    for yes in [false, true, false] {
        socket.set_quick_ack(yes).unwrap();
        let set = socket.with_sock_ref(|it| it.tcp_quickack());
        assert_eq!(set.unwrap().unwrap(), yes);
    }
    socket.set_notsent_lowat(4321).unwrap();
    let set = socket.with_sock_ref(|it| it.tcp_notsent_lowat());
    assert_eq!(set.unwrap().unwrap(), 4321);
    // What the system refuses is told as it says it.
    let error = socket.set_user_timeout(Duration::MAX).unwrap_err();
    assert_eq!(error.code(), Some("EINVAL"));
    assert_eq!(error.syscall(), Some("setsockopt"));
}

/// 4 GiB asked for made the smallest buffer that there is.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn a_buffer_larger_than_any() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, _peer) = pair(&lp);
    let received = |bytes| {
        socket.set_recv_buffer_size(bytes).unwrap();
        socket.recv_buffer_size().unwrap()
    };
    assert_eq!(received(1 << 32), received(i32::MAX as usize));
    let sent = |bytes| {
        socket.set_send_buffer_size(bytes).unwrap();
        socket.send_buffer_size().unwrap()
    };
    assert_eq!(sent(1 << 32), sent(i32::MAX as usize));
}

/// Each call that returns a `Result`, by name.
#[cfg(target_os = "linux")]
type Calls = [(&'static str, fn(Socket) -> nodeloop::Result<()>); 8];

#[cfg(target_os = "linux")]
const CALLS: Calls = [
    ("recv_buffer_size", |it| it.recv_buffer_size().map(drop)),
    ("set_recv_buffer_size", |it| it.set_recv_buffer_size(1)),
    ("send_buffer_size", |it| it.send_buffer_size().map(drop)),
    ("set_send_buffer_size", |it| it.set_send_buffer_size(1)),
    ("set_user_timeout", |it| it.set_user_timeout(1)),
    ("set_quick_ack", |it| it.set_quick_ack(true)),
    ("set_notsent_lowat", |it| it.set_notsent_lowat(1)),
    ("with_sock_ref", |it| {
        it.with_sock_ref(|_| panic!("there is none"))
    }),
];

#[cfg(target_os = "linux")]
#[test]
fn without_a_connection_and_on_a_socket_that_is_gone() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let unconnected = Socket::new(&lp, SocketOptions::new());
    let (destroyed, _peer) = pair(&lp);
    destroyed.keep();
    destroyed.destroy();
    let (gone, _peer) = pair(&lp);
    gone.destroy();
    lp.run().unwrap();
    for (name, call) in CALLS {
        println!("{name}");
        assert_eq!(code(call(unconnected)), "ERR_SOCKET_CLOSED");
        assert_eq!(code(call(destroyed)), "ERR_SOCKET_CLOSED");
        assert_eq!(code(call(gone)), "ERR_HANDLE_GONE");
    }
    assert_eq!(code(gone.set_type_of_service(1)), "ERR_HANDLE_GONE");
    assert_eq!(code(gone.type_of_service()), "ERR_HANDLE_GONE");
    assert_eq!(gone.timeout(), None);
    for socket in [unconnected, destroyed, gone] {
        socket.set_no_delay(true);
        socket.set_keep_alive(true, 1);
        socket.set_keep_alive_probes(1, 1, 1);
        socket.set_timeout(1);
    }
    drop(lp);
    assert_eq!(code(CALLS[0].1(unconnected)), "ERR_HANDLE_GONE");
}

#[test]
fn with_sock_ref_lends_without_a_borrow() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let log = Recorder::new();
    log.follow(socket);
    let local = socket.with_sock_ref(|lent| {
        // Any call may be made meanwhile, of this socket too.
        assert!(socket.write("x"));
        socket.destroy();
        lent.local_addr().unwrap().as_socket()
    });
    assert_eq!(local.unwrap(), peer.peer_addr().ok());
    lp.run().unwrap();
    log.expect(&["close false"]);
    assert_eq!(read_to_end(&peer), b"x");
}

#[test]
fn a_descriptor_that_outlives_the_socket_wakes_nobody() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let endings: [fn(Socket, &std::net::TcpStream); 3] = [
        |socket, _| socket.destroy(),
        |socket, _| socket.reset_and_destroy(),
        // By itself.
        |socket, mut peer| {
            socket.resume();
            peer.write_all(b"x").unwrap();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
        },
    ];
    for (number, end) in endings.into_iter().enumerate() {
        if number == 1 && over_unix() {
            // There are no resets.
            continue;
        }
        let (socket, mut peer) = pair(&lp);
        let log = Recorder::new();
        log.follow_but_data(socket);
        let third = socket
            .with_sock_ref(|lent| lent.try_clone().unwrap())
            .unwrap();
        end(socket, &peer);
        turn_until(&lp, || log.has("close false"));
        let quiet = waits(&lp, || {});
        // The connection stands as long as the third descriptor does.
        let noisy = waits(&lp, || drop(peer.write_all(b"x")));
        assert!(noisy < quiet + 5, "{noisy} waits, {quiet} without events");
        drop(third);
    }
}

/// How often the loop waits for ten timers, when something happens in front of each.
fn waits(lp: &Loop, mut act: impl FnMut()) -> u64 {
    let before = lp.counts().waits;
    for _ in 0..10 {
        act();
        let over = Rc::new(Cell::new(false));
        let inner = over.clone();
        lp.set_timeout_once(5, move |_| inner.set(true));
        // One turn may end a little before the timer is due.
        while !over.get() {
            lp.run_once().unwrap();
        }
    }
    lp.counts().waits - before
}

/// They had not, where others of their kind have.
#[test]
fn small_options_have_the_common_traits() {
    fn is_a_key<T: Copy + Eq + std::hash::Hash>() {}
    is_a_key::<Hints>();
    is_a_key::<Order>();
    is_a_key::<LookupOptions>();
    let lp = Builder::default().build().unwrap();
    assert_eq!(lp.counts().waits, 0);
}
