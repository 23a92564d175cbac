//! Host names: the system's resolver, look-up functions, and what becomes of a look-up that is not
//! wanted any more.
//!
//! Only `localhost` and numbers are asked of the system, which need no name server.

mod support;

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::rc::Rc;

use nodeloop::dns::{self, Hints, LookupAnswer, LookupOptions};
use nodeloop::net::{self, ConnectOptions, Family, Server, ServerOptions, Socket, SocketOptions};
use nodeloop::{Error, HandleKind, Loop};
use support::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Notes what a socket says while it connects.
fn follow_connecting(socket: Socket, log: &Recorder) {
    let seen = log.clone();
    socket.on_lookup(move |_, found, host| {
        let found = found.map_or_else(code_of, |ip| ip.to_string());
        seen.note(format!("lookup {host} {found}"));
    });
    let seen = log.clone();
    socket.on_connection_attempt(move |_, to| seen.note(format!("attempt {}", to.ip())));
    socket.on_connect(log.noting("connect"));
    let seen = log.clone();
    socket.on_error(move |_, error| seen.note(format!("error {}", code_of(error))));
    let seen = log.clone();
    socket.on_close(move |_, had_error| seen.note(format!("close {had_error}")));
}

/// A server that says hello and closes with its first connection.
fn greeter(lp: &Loop) -> SocketAddr {
    let (_, address) = listening(lp, |socket| {
        socket.end_with("hello");
        socket.resume();
        socket.server().unwrap().close();
    });
    address
}

#[test]
fn localhost_is_listened_at_and_connected_to() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let server = net::create_server(&lp, |socket| {
        socket.resume();
        socket.end();
        socket.server().unwrap().close();
    });
    let heard = log.clone();
    let then = move |server: Server| {
        let address = server.address().unwrap();
        assert!(address.ip().is_loopback());
        heard.note("listening");
        let client = net::connect(&server, ("localhost", address.port()));
        client.on_lookup(|_, found, host| {
            assert_eq!(host, "localhost");
            assert!(found.unwrap().is_loopback());
        });
        client.on_connect(heard.noting("connect"));
        client.on_close(move |_, _| heard.note("close"));
        client.resume();
    };
    server.listen_then(("localhost", 0), then).unwrap();
    // It is being looked up: nothing listens yet, and the loop lives.
    assert!(!server.listening() && lp.is_alive());
    lp.run().unwrap();
    log.expect(&["listening", "connect", "close"]);
    assert_eq!(lp.counts().jobs, 2);
}

#[test]
fn an_empty_host_is_localhost_to_connect_to() {
    if tcp_only("names lead to addresses") {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let to = greeter(&lp);
    let options = ConnectOptions::new("", to.port()).family(Family::V4);
    let socket = net::connect(&lp, options);
    follow_connecting(socket, &log);
    socket.resume();
    lp.run().unwrap();
    log.expect(&[
        "lookup localhost 127.0.0.1",
        "attempt 127.0.0.1",
        "connect",
        "close false",
    ]);
}

#[test]
fn a_port_alone_is_localhost_to_connect_to() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    // At all addresses, so whichever `localhost` is.
    let server = net::create_server(&lp, |socket| {
        socket.end_with("hello");
        socket.resume();
        socket.server().unwrap().close();
    });
    server.listen(0).unwrap();
    let client = net::connect(&lp, server.address().unwrap().port());
    client.on_lookup(|_, _, host| assert_eq!(host, "localhost"));
    let log = Recorder::new();
    let heard = log.clone();
    client.on_data(move |_, chunk| heard.note(String::from_utf8_lossy(chunk)));
    lp.run().unwrap();
    log.expect(&["hello"]);
}

#[test]
fn what_says_where_to_listen_says_where_to_connect_to() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let name = HERE.to_string();
    for by_name in [true, false] {
        let server = net::create_server(&lp, |socket| {
            socket.end();
            socket.resume();
            socket.server().unwrap().close();
        });
        let log = Recorder::new();
        let connected = log.clone();
        let host = name.clone();
        server.on_listening(move |server| {
            let Some(SocketAddr::V4(address)) = server.address() else {
                panic!("it is of IPv4");
            };
            let client = match by_name {
                true => net::connect(&server, (&host, address.port())),
                false => net::connect(&server, address),
            };
            client.on_connect(connected.noting("connect"));
            client.resume();
        });
        match by_name {
            true => server.listen((&name, 0)),
            false => server.listen(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)),
        }
        .unwrap();
        lp.run().unwrap();
        log.expect(&["connect"]);
    }
}

#[test]
fn numbers_that_are_no_addresses_are_names() {
    if tcp_only("names lead to addresses") {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let to = greeter(&lp);
    let socket = net::connect(&lp, ("127.1", to.port()));
    follow_connecting(socket, &log);
    socket.resume();
    lp.run().unwrap();
    log.expect(&[
        "lookup 127.1 127.0.0.1",
        "attempt 127.0.0.1",
        "connect",
        "close false",
    ]);
}

#[test]
fn n102_a_name_that_is_not_found() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 30);
    let log = Recorder::new();
    let socket = net::connect(&lp, ("no such name", 1));
    let error: Rc<RefCell<Option<Error>>> = Rc::default();
    let kept = error.clone();
    socket.on_error(move |_, error| {
        kept.replace(Some(error.clone()));
    });
    let seen = log.clone();
    socket.on_close(move |_, _| seen.note("close"));
    lp.run().unwrap();
    log.expect(&["close"]);
    let error = error.take().unwrap();
    let code = error.code().unwrap();
    // Where no name server answers nobody knows whether there is such a name.
    assert!(matches!(code, "ENOTFOUND" | "EAI_AGAIN"), "{code}");
    assert_eq!(
        (error.syscall(), error.hostname()),
        (Some("getaddrinfo"), Some("no such name"))
    );
    assert_eq!((error.address(), error.port()), (None, None));
    assert_eq!(
        error.to_string(),
        format!("getaddrinfo {code} no such name")
    );
}

#[test]
fn hosts_that_can_be_no_names() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    // As Node: 'lookup' on a tick, 'error' on the one behind it.
    let long = "a".repeat(300);
    let socket = net::connect(&lp, (long.as_str(), 1));
    follow_connecting(socket, &log);
    lp.run().unwrap();
    let lookup = format!("lookup {long} EINVAL");
    log.expect(&[&lookup, "error EINVAL", "close true"]);

    let socket = Socket::new(&lp, SocketOptions::new());
    follow_connecting(socket, &log);
    assert_eq!(code(socket.connect(("a\0b", 1))), "ERR_INVALID_ARG_VALUE");
    assert!(!socket.connecting() && !socket.destroyed());
    lp.run().unwrap();
    log.expect(&[]);

    // Where a socket is returned, its 'error' tells.
    let socket = net::connect(&lp, ("a\0b", 1));
    follow_connecting(socket, &log);
    lp.run().unwrap();
    log.expect(&["error ERR_INVALID_ARG_VALUE", "close false"]);
}

#[test]
fn a_look_up_function_is_called_on_the_next_tick_and_asked_what_node_asks() {
    if tcp_only("names lead to addresses") {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let to = greeter(&lp);
    let log = Recorder::new();
    let seen = log.clone();
    let lookup = move |host: &str, options: LookupOptions, answer: LookupAnswer| {
        let (family, hints) = (options.get_family(), options.get_hints());
        seen.note(format!("asked {host} {family:?} {hints:?}"));
        answer.found([HERE]);
        seen.note("answered");
    };
    let asked = ConnectOptions::new("name", to.port()).lookup(lookup);
    let socket = net::connect(&lp, asked.clone());
    follow_connecting(socket, &log);
    socket.resume();
    let ticks = log.clone();
    lp.next_tick(move |_| ticks.note("tick"));
    log.expect(&[]);
    lp.run().unwrap();
    log.expect(&[
        "asked name None ADDRCONFIG",
        "answered",
        "lookup name 127.0.0.1",
        "attempt 127.0.0.1",
        "tick",
        "connect",
        "close false",
    ]);
    for (options, wanted) in [
        (asked.clone().family(Family::V6), "asked name Some(V6) NONE"),
        (
            asked.clone().hints(Hints::ALL | Hints::V4MAPPED),
            "asked name None V4MAPPED | ALL",
        ),
    ] {
        let socket = net::connect(&lp, options);
        socket.on_connection_attempt(|socket, _| socket.destroy());
        lp.run().unwrap();
        log.expect(&[wanted, "answered"]);
    }
}

#[test]
fn no_look_up_function_is_asked_for_an_address() {
    if tcp_only("names lead to addresses") {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let to = greeter(&lp);
    let lookup = |_: &str, _: LookupOptions, _: LookupAnswer| unreachable!("it is an address");
    let socket = net::connect(
        &lp,
        ConnectOptions::new("127.0.0.1", to.port()).lookup(lookup),
    );
    socket.on_lookup(|_, _, _| unreachable!("nothing is looked up"));
    socket.resume();
    lp.run().unwrap();
}

#[test]
fn n54_a_look_up_function_that_never_answers_holds_nothing() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let kept: Rc<RefCell<Vec<LookupAnswer>>> = Rc::default();
    let keep = kept.clone();
    let lookup = move |_: &str, _: LookupOptions, answer| keep.borrow_mut().push(answer);
    let socket = net::connect(&lp, ConnectOptions::new("name", 1).lookup(lookup));
    follow_connecting(socket, &log);
    lp.run().unwrap();
    assert!(socket.connecting());
    log.expect(&[]);
    // One that is dropped will never answer.
    kept.take();
    lp.run().unwrap();
    log.expect(&["lookup name ECANCELED", "error ECANCELED", "close true"]);
}

#[test]
fn answers_may_be_errors_of_any_kind() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    type Act = fn(LookupAnswer);
    let cases: [(Act, &str); 4] = [
        (|answer| answer.not_found(), "ENOTFOUND"),
        (|answer| answer.found([]), "ENOTFOUND"),
        (|answer| answer.failed("own"), "own"),
        (|_| panic!("in a look-up function"), "ECANCELED"),
    ];
    for (act, told) in cases {
        let log = Recorder::new();
        let to = ConnectOptions::new("name", 1).lookup(move |_, _, answer| act(answer));
        let socket = net::connect(&lp, to);
        follow_connecting(socket, &log);
        if told == "ECANCELED" {
            assert_eq!(caught(|| lp.run()), "in a look-up function");
        }
        lp.run().unwrap();
        let [lookup, error] = ["lookup name", "error"].map(|what| format!("{what} {told}"));
        log.expect(&[&lookup, &error, "close true"]);
    }
}

#[test]
fn an_answer_that_comes_too_late_is_told_to_nobody() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let kept: Rc<RefCell<Vec<LookupAnswer>>> = Rc::default();
    let keep = kept.clone();
    let lookup = move |_: &str, _: LookupOptions, answer| keep.borrow_mut().push(answer);
    let options = ConnectOptions::new("name", 1).lookup(lookup);
    let socket = net::connect(&lp, options.clone());
    follow_connecting(socket, &log);
    lp.set_immediate(move |_| socket.destroy());
    lp.run().unwrap();
    log.expect(&["close false"]);
    let late = kept.borrow_mut().pop().unwrap();
    late.found([HERE]);
    lp.run().unwrap();
    log.expect(&[]);
    // Nor is it taken for that of a later life.
    let socket = net::connect(&lp, options.clone());
    socket.keep();
    lp.run_nowait().unwrap();
    socket.destroy();
    lp.run().unwrap();
    let late = kept.borrow_mut().pop().unwrap();
    socket.connect(options).unwrap();
    lp.run_nowait().unwrap();
    late.found([HERE]);
    lp.run().unwrap();
    assert!(socket.connecting(), "it waits for its own answer");
    drop(lp);
    kept.take();
}

#[test]
fn a_pending_look_up_holds_the_loop_and_a_destroyed_socket_does_not() {
    let lp = Loop::builder().worker_threads(1).build().unwrap();
    let _deadline = deadline(&lp, 10);
    // The only thread is busy, so that the look-ups wait.
    let (let_go, gate) = std::sync::mpsc::channel::<()>();
    let job = lp.spawn_blocking(move || gate.recv_timeout(PATIENCE).is_ok(), |_, _| {});
    let log = Recorder::new();
    let socket = net::connect(&lp, ("localhost", 1));
    follow_connecting(socket, &log);
    let server = net::create_server(&lp, |_| {});
    server.on_listening(|_| unreachable!("it was closed before"));
    server.on_close(log.noting("server close"));
    server.listen(("localhost", 0)).unwrap();
    let jobs = || {
        let handles = lp.handles();
        let is_job = |handle: &&nodeloop::HandleInfo| handle.kind == HandleKind::Job;
        handles.iter().filter(is_job).count()
    };
    assert_eq!(jobs(), 3);
    let why = lp.why_alive().to_string();
    assert_eq!(why.matches("looking up localhost").count(), 2, "{why}");
    assert!(lp.run_nowait().unwrap());
    socket.destroy();
    server.close();
    assert_eq!(jobs(), 1);
    lp.run_nowait().unwrap();
    log.expect(&["server close", "close false"]);
    drop(let_go);
    lp.run().unwrap();
    assert!(!job.is_pending());
    log.expect(&[]);
}

#[test]
fn n72_a_second_listen_supersedes_the_look_up_of_the_first() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let server = net::create_server(&lp, |_| {});
    server.on_listening(log.noting("listening"));
    server.listen(("localhost", 0)).unwrap();
    server.listen(("127.0.0.1", 0)).unwrap();
    lp.set_immediate(move |_| server.close());
    lp.run().unwrap();
    log.expect(&["listening"]);
}

#[test]
fn n204_a_look_up_that_is_over_is_activity() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let holder: Rc<RefCell<Option<LookupAnswer>>> = Rc::default();
    let kept = holder.clone();
    // Accepts nobody, and keeps no one waiting: it has room.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = ConnectOptions::new("name", listener.local_addr().unwrap().port())
        .lookup(move |_, _, answer| drop(kept.replace(Some(answer))))
        .timeout(100);
    let socket = net::connect(&lp, to);
    let fired = Rc::new(Cell::new(0));
    let at = fired.clone();
    socket.once_timeout(move |socket| {
        at.set(socket.event_loop().now());
        socket.destroy();
    });
    let started = lp.now();
    lp.set_timeout_once(70, move |_| holder.take().unwrap().found([HERE]));
    lp.run().unwrap();
    assert!(
        fired.get() >= started + 170,
        "{} after {started}",
        fired.get()
    );
}

#[test]
fn a_deadline_includes_the_look_up() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let kept: Rc<RefCell<Vec<LookupAnswer>>> = Rc::default();
    let keep = kept.clone();
    let to = ConnectOptions::new("name", 1)
        .lookup(move |_, _, answer| keep.borrow_mut().push(answer))
        .deadline(20);
    let socket = net::connect(&lp, to);
    follow_connecting(socket, &log);
    let timer = lp.set_timeout_once(5000, |_| unreachable!("it is in time"));
    socket.on_close(move |_, _| timer.clear());
    lp.run().unwrap();
    log.expect(&["error ETIMEDOUT", "close true"]);
}

#[test]
fn connecting_again_begins_with_another_look_up() {
    if tcp_only("names lead to addresses") {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (log, to) = (Recorder::new(), greeter(&lp));
    let options =
        |port| ConnectOptions::new("name", port).lookup(|_, _, answer| answer.found([HERE]));
    let socket = net::connect(&lp, options(1));
    follow_connecting(socket, &log);
    socket.resume();
    socket.once_close(move |socket, _| socket.connect(options(to.port())).unwrap());
    lp.run().unwrap();
    let first = ["lookup name 127.0.0.1", "attempt 127.0.0.1"];
    let mut all = first.to_vec();
    all.extend(["error ECONNREFUSED", "close true"]);
    all.extend(first);
    all.extend(["connect", "close false"]);
    log.expect(&all);
}

#[test]
fn look_up_functions_are_dropped_where_nothing_is_borrowed() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let drops = Rc::new(Cell::new(0));
    // Each makes a socket when it is dropped, which borrows the loop.
    let options = |host: &str| {
        let (handle, drops) = (lp.handle(), drops.clone());
        let guard = on_drop(move || {
            drops.set(drops.get() + 1);
            Socket::new(&handle, SocketOptions::new()).destroy();
        });
        ConnectOptions::new(host, 1).lookup(move |_, _, answer| {
            guard.hold();
            answer.not_found();
        })
    };
    let socket = net::connect(&lp, options("name"));
    socket.on_error(|_, _| {});
    net::connect(&lp, options("127.0.0.1")).on_error(|_, _| {});
    net::connect(&lp, options("name")).destroy();
    assert!(
        Socket::new(&lp, SocketOptions::new())
            .connect(options("a\0"))
            .is_err()
    );
    lp.run().unwrap();
    assert_eq!(drops.get(), 4);
    // The socket is gone.
    assert_eq!(code(socket.connect(options("name"))), "ERR_HANDLE_GONE");
    net::connect(&lp, options("name"));
    drop(lp);
    assert_eq!(drops.get(), 6);
}

#[test]
fn dns_lookup_gives_addresses_and_errors() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 30);
    let log = Recorder::new();
    let ask = |host: &str, options: LookupOptions| {
        let seen = log.clone();
        let done = move |_, found: nodeloop::Result<Vec<IpAddr>>| match found {
            Ok(found) => seen.note(format!("{found:?}")),
            Err(error) => seen.note(format!("{error}")),
        };
        dns::lookup_with(&lp, host, options, done).unwrap()
    };
    ask("localhost", Family::V4.into());
    lp.run().unwrap();
    log.expect(&["[127.0.0.1]"]);
    // On a tick, without a worker.
    let before = lp.counts().jobs;
    let nothing = ask("::1", LookupOptions::new());
    assert!(!nothing.is_pending());
    ask(&"a".repeat(256), LookupOptions::new());
    lp.run().unwrap();
    assert_eq!(lp.counts().jobs, before);
    log.expect(&["[::1]", &format!("getaddrinfo EINVAL {}", "a".repeat(256))]);
    for host in ["", "local\0host"] {
        let refused = dns::lookup(&lp, host, |_, _| unreachable!("it is no name"));
        assert_eq!(code(refused.map(drop)), "ERR_INVALID_ARG_VALUE");
    }
    let handle = lp.handle();
    drop(lp);
    let gone = dns::lookup(&handle, "localhost", |_, _| {
        unreachable!("there is no loop")
    });
    assert_eq!(code(gone.map(drop)), "ERR_HANDLE_GONE");
}

#[test]
fn a_look_up_that_has_not_begun_can_be_cancelled() {
    let lp = Loop::builder().worker_threads(1).build().unwrap();
    let _deadline = deadline(&lp, 10);
    let (let_go, gate) = std::sync::mpsc::channel::<()>();
    lp.spawn_blocking(move || gate.recv_timeout(PATIENCE).is_ok(), |_, _| {});
    let log = Recorder::new();
    let seen = log.clone();
    let job = dns::lookup(&lp, "localhost", move |_, found| seen.note(code(found))).unwrap();
    assert!(job.cancel());
    lp.run_nowait().unwrap();
    log.expect(&["ECANCELED"]);
    drop(let_go);
    lp.run().unwrap();
}

/// Looks a name up a thousand times at once, then has other work done. Returns how many answers came behind
/// that of the work.
fn a_thousand_look_ups_and_other_work() -> u32 {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 60);
    let answered = Rc::new(Cell::new(0));
    for _ in 0..1000 {
        let answered = answered.clone();
        let done = move |_, found: nodeloop::Result<Vec<IpAddr>>| {
            assert!(found.unwrap().contains(&HERE));
            answered.set(answered.get() + 1);
        };
        dns::lookup_with(&lp, "localhost", Family::V4, done).unwrap();
    }
    // All wait at once: half of the threads are at it, the others are there for other work.
    assert!(lp.worker_threads() <= 4);
    let elsewhere = Rc::new(Cell::new(0));
    let (seen, count) = (elsewhere.clone(), answered.clone());
    lp.spawn_blocking(|| (), move |_, _| seen.set(1000 - count.get()));
    lp.run().unwrap();
    assert_eq!(answered.get(), 1000);
    assert!((1..=4).contains(&lp.worker_threads()));
    assert_eq!(lp.counts().jobs, 1001);
    elsewhere.get()
}

#[test]
fn h2_a_thousand_look_ups_at_once_with_few_threads() {
    // On a busy machine this thread may be kept waiting until all are answered, before it has other work.
    let is_done_meanwhile = |_| a_thousand_look_ups_and_other_work() > 0;
    assert!(
        (0..5).any(is_done_meanwhile),
        "other work is done meanwhile"
    );
}

#[test]
fn a_listening_socket_is_not_made_for_a_server_that_is_gone() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let server = Server::new(&lp, ServerOptions::new());
    server.listen(("localhost", 0)).unwrap();
    server.close();
    lp.run().unwrap();
    assert_eq!(lp.counts().listens, 0);
}
