//! The programs of the tour. Each is its chapter's program, line by line.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};

use nodeloop::{Loop, net};

/// A scene: its chapter, the names of handles in the order in which they appear, and the program.
type Scene = (
    &'static str,
    &'static [&'static str],
    fn() -> nodeloop::Result<()>,
);

pub const ALL: [Scene; 13] = [
    (
        "turn",
        &["the server", "alice", "bob", "socket 1", "socket 2"],
        turn,
    ),
    ("pending", &["the server", "the socket"], pending),
    (
        "idle_prepare",
        &["the idle watcher", "the prepare watcher"],
        idle_prepare,
    ),
    ("poll", &["the server", "the socket"], poll),
    (
        "check",
        &[
            "immediate 1",
            "immediate 2",
            "the check watcher",
            "immediate 3",
        ],
        check,
    ),
    (
        "closing",
        &["the server", "socket 1", "socket 2", "the immediate"],
        closing,
    ),
    (
        "timers",
        &["timer 1", "timer 2", "the immediate", "timer 3", "timer 4"],
        timers,
    ),
    ("ticks", &["immediate 1", "immediate 2"], ticks),
    (
        "readiness",
        &["the server", "the socket", "the timer"],
        readiness,
    ),
    (
        "half_open",
        &["the server", "the socket", "the timer"],
        half_open,
    ),
    (
        "backpressure",
        &["the server", "the socket", "the immediate"],
        backpressure,
    ),
    (
        "liveness",
        &["the server", "the socket", "the timer"],
        liveness,
    ),
    (
        "gathering",
        &["the server", "the socket", "the immediate"],
        gathering,
    ),
];

/// Any port of this machine.
fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn turn() -> nodeloop::Result<()> {
    let lp = Loop::new()?;
    let server = net::create_server(&lp, |socket| {
        socket.write("welcome");
        socket.on_data(|socket, chunk| {
            socket.write(chunk);
        });
    });
    server.listen(any_port())?;
    let address = server.address().expect("it listens");
    for name in ["alice", "bob"] {
        let client = net::connect(&lp, address);
        client.on_connect(move |_| println!("{name} is connected"));
        client.on_data(move |client, chunk| {
            println!("{name} hears {}", String::from_utf8_lossy(chunk));
            if chunk == b"welcome" {
                client.write("hello");
            } else {
                client.end();
            }
        });
        client.on_close(move |_, _| println!("{name} is gone"));
    }
    // When both have come nobody else is let in.
    server.on_connection(|server, _| {
        if server.connections() == 2 {
            server.close();
        }
    });
    lp.run()
}

fn pending() -> nodeloop::Result<()> {
    let lp = Loop::new()?;
    let server = net::create_server(&lp, |socket| {
        socket.write("goodbye");
        socket.end();
        println!("end was called");
        socket.on_finish(|_| println!("finish"));
        socket.resume();
    });
    server.listen(any_port())?;
    server.on_connection(|server, _| server.close());
    let peer = TcpStream::connect(server.address().expect("it listens"))?;
    peer.shutdown(Shutdown::Write)?;
    lp.run()
}

fn idle_prepare() -> nodeloop::Result<()> {
    let lp = Loop::new()?;
    let mut left = 2;
    lp.idle(move |watcher| {
        println!("a piece of work");
        left -= 1;
        if left == 0 {
            watcher.close();
        }
    });
    let mut left = 2;
    lp.prepare(move |watcher| {
        println!("about to wait");
        left -= 1;
        if left == 0 {
            watcher.close();
        }
    });
    lp.run()
}

fn poll() -> nodeloop::Result<()> {
    let lp = Loop::new()?;
    let server = net::create_server(&lp, |socket| {
        println!("connection");
        socket.on_data(|_, chunk| println!("{}", String::from_utf8_lossy(chunk)));
        socket.on_end(|_| println!("end"));
    });
    server.listen(any_port())?;
    server.on_connection(|server, _| server.close());
    // All that the peer does is done before the loop turns for the first time.
    let mut peer = TcpStream::connect(server.address().expect("it listens"))?;
    peer.write_all(b"hello")?;
    peer.shutdown(Shutdown::Write)?;
    lp.run()
}

fn check() -> nodeloop::Result<()> {
    let lp = Loop::new()?;
    lp.set_immediate(|immediate| {
        println!("first");
        let lp = immediate.event_loop();
        lp.next_tick(|_| println!("tick of the first"));
        lp.set_immediate(|_| println!("third"));
    });
    lp.set_immediate(|_| println!("second"));
    lp.check(|watcher| {
        println!("check watcher");
        watcher.close();
    });
    lp.run()
}

fn closing() -> nodeloop::Result<()> {
    let lp = Loop::new()?;
    let mut earlier: Option<net::Socket> = None;
    let server = net::create_server(&lp, move |socket| {
        let Some(first) = earlier.replace(socket) else {
            return;
        };
        first.on_close(|_, _| println!("the first is closed"));
        socket.on_close(|_, _| println!("the second is closed"));
        first.destroy();
        socket.destroy();
        socket.server().expect("it has one").close();
        socket.event_loop().next_tick(|_| println!("tick"));
        socket.event_loop().set_immediate(|_| println!("immediate"));
    });
    server.listen(any_port())?;
    let address = server.address().expect("it listens");
    let _peers = [TcpStream::connect(address)?, TcpStream::connect(address)?];
    lp.run()
}

fn timers() -> nodeloop::Result<()> {
    let lp = Loop::new()?;
    lp.set_timeout_once(200, |_| println!("200 ms"));
    lp.set_timeout_once(10, |timer| {
        println!("10 ms, the first");
        let lp = timer.event_loop();
        lp.next_tick(|_| println!("tick"));
        lp.set_immediate(|_| println!("immediate"));
        lp.set_timeout_once(1, |_| println!("1 ms, set in a timer"));
    });
    lp.set_timeout_once(10, |_| println!("10 ms, the second"));
    lp.run()
}

fn ticks() -> nodeloop::Result<()> {
    let lp = Loop::new()?;
    lp.set_immediate(|immediate| {
        let lp = immediate.event_loop();
        lp.next_tick(|lp| {
            println!("2: tick");
            lp.next_tick(|_| println!("4: tick of a tick"));
        });
        lp.next_tick(|_| println!("3: tick"));
        println!("1: immediate");
    });
    lp.set_immediate(|_| println!("5: immediate"));
    lp.run()
}

fn readiness() -> nodeloop::Result<()> {
    // One read of four bytes in a turn, to see what happens when a share is used up.
    let lp = Loop::builder().read_chunk(4).read_budget(1).build()?;
    let server = net::create_server(&lp, |socket| {
        socket.on_data(|_, chunk| println!("{}", String::from_utf8_lossy(chunk)));
        socket.on_close(|socket, _| println!("{} bytes", socket.bytes_read()));
    });
    server.listen(any_port())?;
    server.on_connection(|server, _| server.close());
    let mut peer = TcpStream::connect(server.address().expect("it listens"))?;
    peer.write_all(b"abcdefghij")?;
    lp.set_timeout_once(20, move |_| drop(peer));
    lp.run()
}

fn half_open() -> nodeloop::Result<()> {
    let lp = Loop::new()?;
    let options = net::ServerOptions::new().allow_half_open(true);
    let server = net::create_server_with(&lp, options, |socket| {
        socket.on_data(|_, chunk| println!("asked: {}", String::from_utf8_lossy(chunk)));
        socket.on_end(|socket| {
            println!("the question has ended: {}", socket.ready_state().as_str());
            socket.event_loop().set_timeout_once(10, move |_| {
                socket.end_with("the answer");
                println!("answered: {}", socket.ready_state().as_str());
            });
        });
        socket.on_finish(|_| println!("finish"));
        socket.on_close(|_, _| println!("close"));
    });
    server.listen(any_port())?;
    server.on_connection(|server, _| server.close());
    let mut peer = TcpStream::connect(server.address().expect("it listens"))?;
    peer.write_all(b"a question")?;
    peer.shutdown(Shutdown::Write)?;
    lp.run()
}

fn backpressure() -> nodeloop::Result<()> {
    let lp = Loop::new()?;
    let server = net::create_server(&lp, |socket| {
        socket.resume();
        let goes_on = socket.write(vec![b'x'; 32 * 1024 * 1024]);
        println!("write more? {goes_on}");
        socket.on_drain(|socket| {
            println!("drain: {} bytes wait", socket.writable_length());
            socket.end();
        });
    });
    server.listen(any_port())?;
    server.on_connection(|server, _| server.close());
    let mut peer = TcpStream::connect(server.address().expect("it listens"))?;
    // A peer that is slow at first: it reads once an immediate has told it to.
    let (start, started) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let _ = started.recv();
        std::io::copy(&mut peer, &mut std::io::sink())
    });
    lp.set_immediate(move |_| start.send(()).expect("it waits"));
    lp.run()?;
    let bytes = reader.join().expect("it does not panic")?;
    println!("the peer has read {bytes} bytes");
    Ok(())
}

fn liveness() -> nodeloop::Result<()> {
    let lp = Loop::new()?;
    let server = net::create_server(&lp, |socket| socket.resume());
    server.listen(any_port())?;
    let mut peer = Some(TcpStream::connect(server.address().expect("it listens"))?);
    let mut round = 0;
    lp.set_interval(10, move |timer| {
        println!("{}", timer.event_loop().why_alive());
        round += 1;
        match round {
            1 => server.close(),
            2 => timer.unref(),
            _ => drop(peer.take()),
        }
    });
    lp.run()
}

fn gathering() -> nodeloop::Result<()> {
    let lp = Loop::new()?;
    let server = net::create_server(&lp, |socket| {
        socket.resume();
        socket.write("one, ");
        socket.write("two, ");
        socket.write_then("three, ", |_| println!("the kernel has all three"));
        let lp = socket.event_loop();
        println!("written three times: {} system calls", lp.counts().writes);
        lp.next_tick(|lp| println!("on a tick: {} system call", lp.counts().writes));
        lp.set_immediate(move |immediate| {
            let lp = immediate.event_loop();
            socket.write("four, ");
            socket.flush();
            println!("flushed: {} system calls", lp.counts().writes);
            socket.write("five");
            socket.end();
            println!("ended: {} system calls", lp.counts().writes);
        });
    });
    server.listen(any_port())?;
    server.on_connection(|server, _| server.close());
    let peer = TcpStream::connect(server.address().expect("it listens"))?;
    peer.shutdown(Shutdown::Write)?;
    lp.run()
}
