//! Many clients at once, some with much to say: every byte comes back, every half-close is
//! answered, and nothing is left.

mod support_process;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use nodeloop::{Builder, Loop, net};
use support_process::{DEADLINE, within_deadline};

/// How the load is made up.
#[derive(Debug, Clone, Copy)]
struct Load {
    /// Clients, all of them at once.
    clients: usize,
    /// Those of them that send much.
    heavy: usize,
    /// Bytes of each of these.
    much: usize,
    /// Bytes of each of the others, at most.
    little: usize,
}

/// The tests compare the descriptors of the process, so one at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn two_hundred_clients_get_every_byte_back() {
    check(
        Loop::builder(),
        Load {
            clients: 200,
            heavy: 8,
            much: 4 * 1024 * 1024,
            little: 4 * 1024,
        },
    );
}

#[test]
fn so_do_some_when_every_read_and_write_is_small() {
    check(
        Loop::builder().limit_reads(100).limit_writes(70),
        Load {
            clients: 20,
            heavy: 2,
            much: 100_000,
            little: 1000,
        },
    );
}

#[test]
fn so_do_some_when_every_read_and_write_is_one_byte() {
    check(
        Loop::builder().limit_reads(1).limit_writes(1),
        Load {
            clients: 10,
            heavy: 1,
            much: 10_000,
            little: 100,
        },
    );
}

#[test]
fn so_do_some_when_everything_looks_ready_all_the_time() {
    check(
        Loop::builder().spurious_events(true).read_budget(1),
        Load {
            clients: 20,
            heavy: 2,
            much: 1024 * 1024,
            little: 1000,
        },
    );
}

/// The share of one turn is so many vectored writes. With small chunks they do not fill the kernel's
/// buffer, so no event tells the loop to go on: it has to remember.
#[test]
fn a_long_queue_of_small_chunks_goes_out_over_several_turns() {
    const CHUNKS: usize = 200_000;
    const SIZE: usize = 100;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    within_deadline(|| {
        let lp = Loop::new().expect("a loop can be made");
        let (queued, all_are_queued) = channel();
        let server = net::Server::new(&lp, net::ServerOptions::new());
        server.on_connection(move |server, socket| {
            for _ in 0..CHUNKS {
                socket.write([b'x'; SIZE].as_slice());
            }
            assert!(
                socket.writable_length() > CHUNKS / 2 * SIZE,
                "the kernel takes so much"
            );
            socket.end();
            server.close();
            queued.send(()).expect("the client waits");
        });
        server
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .expect("it does not listen yet");
        let address = server.address().expect("it listens");
        let client = std::thread::spawn(move || -> io::Result<usize> {
            let mut client = TcpStream::connect(address)?;
            client.set_read_timeout(Some(DEADLINE))?;
            let queued = all_are_queued.recv_timeout(DEADLINE);
            queued.map_err(io::Error::other)?;
            let mut received = Vec::new();
            client.read_to_end(&mut received)
        });
        lp.run().expect("no error is left unhandled");
        let received = client.join().expect("it does not panic");
        assert_eq!(received.expect("all of it comes"), CHUNKS * SIZE);
    });
}

/// Runs an echo server under a load.
fn check(builder: Builder, load: Load) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    within_deadline(move || {
        let before = descriptors();
        serve(builder, load);
        assert_eq!(descriptors(), before, "left open");
    });
}

fn serve(builder: Builder, load: Load) {
    let lp = builder.build().expect("a loop can be made");
    let open = descriptors();
    let closed = Rc::new(Cell::new(0));
    let server = net::Server::new(&lp, net::ServerOptions::new());
    server.on_connection({
        let closed = closed.clone();
        move |server, socket| {
            let closed = closed.clone();
            socket.on_data(|socket, chunk| {
                if !socket.write(chunk) {
                    socket.pause();
                }
            });
            socket.on_drain(net::Socket::resume);
            socket.on_close(move |socket, had_error| {
                assert!(!had_error);
                assert_eq!(socket.bytes_read(), socket.bytes_written());
                closed.set(closed.get() + 1);
                if closed.get() == load.clients {
                    server.close();
                }
            });
        }
    });
    server
        .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
        .expect("it does not listen yet");
    let address = server.address().expect("it listens");
    let clients: Vec<_> = (0..load.clients)
        .map(|number| start_client(address, number, load))
        .collect();
    lp.run().expect("no error is left unhandled");
    for (number, client) in clients.into_iter().enumerate() {
        match client.join() {
            Ok(result) => assert!(result.is_ok(), "client {number}: {result:?}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    assert_eq!(closed.get(), load.clients);
    assert_eq!(lp.handles(), [], "left in the loop");
    let counts = lp.counts();
    let clients = load.clients as u64;
    assert_eq!(counts.registrations, clients + 1, "{counts:?}");
    assert_eq!(counts.closes, clients + 1, "{counts:?}");
    // The loop's own: a spare one that came with the first server.
    assert!(descriptors() <= open.map(|number| number + 1), "left open");
}

/// Starts a client that sends its bytes and its end, and compares what comes back.
fn start_client(address: SocketAddr, number: usize, load: Load) -> JoinHandle<io::Result<()>> {
    let size = match number < load.heavy {
        true => load.much,
        false => 1 + number * load.little / load.clients,
    };
    std::thread::spawn(move || {
        let mut incoming = TcpStream::connect(address)?;
        incoming.set_read_timeout(Some(DEADLINE))?;
        incoming.set_write_timeout(Some(DEADLINE))?;
        let mut outgoing = incoming.try_clone()?;
        // Both at once: who only sends before he reads has both sides wait for each other.
        let sender = std::thread::spawn(move || {
            let mut bytes = Bytes::of(number);
            let mut buffer = [0; 10_000];
            let mut left = size;
            while left > 0 {
                let part = left.min(buffer.len());
                bytes.fill(&mut buffer[..part]);
                outgoing.write_all(&buffer[..part])?;
                left -= part;
            }
            outgoing.shutdown(Shutdown::Write)
        });
        let mut bytes = Bytes::of(number);
        let mut received = 0;
        let mut buffer = [0; 7000];
        let mut expected = [0; 7000];
        loop {
            let part = incoming.read(&mut buffer)?;
            if part == 0 {
                break;
            }
            bytes.fill(&mut expected[..part]);
            assert!(
                buffer[..part] == expected[..part],
                "client {number}: wrong bytes in {part} behind {received}"
            );
            received += part;
        }
        assert_eq!(received, size, "client {number}");
        sender.join().expect("it does not panic")
    })
}

/// Bytes that differ from client to client and do not repeat soon.
struct Bytes(fastrand::Rng);

impl Bytes {
    fn of(client: usize) -> Bytes {
        Bytes(fastrand::Rng::with_seed(client as u64))
    }

    /// The next ones, however many they are: the library's own `fill` depends on how they are cut.
    fn fill(&mut self, buffer: &mut [u8]) {
        buffer.fill_with(|| self.0.u8(..));
    }
}

/// How many descriptors this process has open, where the system tells.
fn descriptors() -> Option<usize> {
    match std::fs::read_dir("/proc/self/fd") {
        Ok(directory) => Some(directory.count()),
        Err(_) => {
            println!("skipped: this system does not tell the open descriptors");
            None
        }
    }
}
