//! The servers that `benches/suite` measures.
//!
//! The pattern: small writes of one callback leave together; bytes for many receivers are shared, not
//! copied; and a server that writes without end stops when `write` returns false and goes on at 'drain'.
//!
//! ```text
//! cargo run --release --example bench_server MODE ADDRESS [OPTION...]
//! ```
//!
//! Modes: `tcp-echo`; `msg-echo`, which answers each 64-byte frame with a `write` of its own;
//! `tcp-sink`; `tcp-source`, which sends blocks of 64 KiB as fast as the peer takes them;
//! `broadcast`, which sends what comes to every connection, the sender's included; `accept-close`;
//! `pause-echo`, which pauses after each message until the turn's immediates; `tcp-file`, which sends
//! each client a file and ends; `tcp-proxy`, which passes each connection on to another address, and
//! back; `udp-echo`; `udp-sink`, which counts datagrams, and answers one of four bytes, which does not
//! count, with the count as eight bytes, the lowest first; `udp-burst`, which answers a number of two
//! bytes, the lower first, with 256 datagrams of that size.
//!
//! It prints `ready`, and on the next line where it listens. Options: `--chunk BYTES` is the read
//! chunk, `--spin-us MICROSECONDS` how long it looks for events before it blocks, `--no-gather`
//! has each write be a system call of its own, `--counts` prints one more address: whoever connects
//! there is told how often the loop has called the system so far. `--file PATH` and `--target ADDRESS`
//! say what `tcp-file` sends and where `tcp-proxy` leads to.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use nodeloop::dgram::{self, SocketType};
use nodeloop::net::{self, ServerOptions, Socket, SocketOptions};
use nodeloop::{Loop, LoopHandle, fs};

/// What `msg-echo` takes for one message.
const FRAME: usize = 64;

/// What `tcp-source` writes at once.
const BLOCK: usize = 64 * 1024;

/// Blocks that `tcp-source` writes in one callback at most, so that others have their turn.
const BLOCKS_PER_CALLBACK: usize = 32;

/// A datagram of so many bytes asks a sink for its count.
const QUESTION: usize = 4;

/// Bytes that the kernel keeps for a UDP socket, so that a flood finds room.
const UDP_BUFFER: u32 = 4 * 1024 * 1024;

/// Datagrams that `udp-burst` sends for each request.
const BURST: usize = 256;

/// From here on a broadcast shares one copy among all receivers.
const WORTH_SHARING: usize = 1024;

const USAGE: &str = "usage: bench_server MODE ADDRESS [--chunk BYTES] [--spin-us MICROSECONDS] \
    [--no-gather] [--counts] [--file PATH] [--target ADDRESS]\n\
    modes: tcp-echo msg-echo tcp-sink tcp-source broadcast accept-close pause-echo tcp-file tcp-proxy \
    udp-echo udp-sink udp-burst";

fn main() -> ExitCode {
    // Not `args`, which panics at what is no text.
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let Some(settings) = Settings::parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match serve(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for.
struct Settings {
    service: Service,
    address: SocketAddr,
    builder: nodeloop::Builder,
    counts: bool,
}

/// What a server does.
enum Service {
    /// With each connection; and how connections are to be.
    Tcp(Box<dyn FnMut(Socket)>, ServerOptions),
    /// With its socket.
    Udp(fn(dgram::Socket)),
}

impl Service {
    /// `file` and `target` are what the modes need that send a file or lead to another address.
    fn named(mode: &str, file: Option<PathBuf>, target: Option<SocketAddr>) -> Option<Service> {
        let usual = ServerOptions::new();
        // Small answers must not wait for one another in the kernel.
        let no_delay = ServerOptions::new().no_delay(true);
        Some(match mode {
            "tcp-echo" => Service::Tcp(Box::new(echo), usual),
            "msg-echo" => Service::Tcp(Box::new(echo_messages), no_delay),
            "tcp-sink" => Service::Tcp(Box::new(swallow), usual),
            "tcp-source" => Service::Tcp(source(), usual),
            "broadcast" => Service::Tcp(broadcast(), no_delay),
            "accept-close" => Service::Tcp(Box::new(Socket::destroy), usual),
            "pause-echo" => Service::Tcp(Box::new(pause_and_echo), usual),
            "tcp-file" => Service::Tcp(send_file(file?), usual),
            "tcp-proxy" => Service::Tcp(pass_on(target?), usual.allow_half_open(true)),
            "udp-echo" => Service::Udp(echo_datagrams),
            "udp-sink" => Service::Udp(count_datagrams),
            "udp-burst" => Service::Udp(answer_with_bursts),
            _ => return None,
        })
    }

    /// Starts it: where it listens, if it does.
    fn start(self, lp: LoopHandle, address: SocketAddr) -> nodeloop::Result<Option<SocketAddr>> {
        match self {
            Service::Tcp(on_connection, options) => {
                let server = net::create_server_with(&lp, options, on_connection);
                server.listen(address)?;
                Ok(server.address())
            }
            Service::Udp(serve) => {
                let family = match address {
                    SocketAddr::V4(_) => SocketType::Udp4,
                    SocketAddr::V6(_) => SocketType::Udp6,
                };
                let options = dgram::SocketOptions::new(family).recv_buffer_size(UDP_BUFFER);
                let socket = dgram::create_socket(&lp, options);
                serve(socket);
                socket.bind_sync(address).map(Some)
            }
        }
    }
}

impl Settings {
    fn parse(arguments: &[String]) -> Option<Settings> {
        let [mode, address, options @ ..] = arguments else {
            return None;
        };
        let mut builder = Loop::builder();
        let mut counts = false;
        let (mut file, mut target) = (None, None);
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match option.as_str() {
                "--chunk" => builder = builder.read_chunk(options.next()?.parse().ok()?),
                "--spin-us" => {
                    let spin = Duration::from_micros(options.next()?.parse().ok()?);
                    builder = builder.spin_for(spin);
                }
                "--no-gather" => builder = builder.gather(false),
                "--counts" => counts = true,
                "--file" => file = Some(PathBuf::from(options.next()?)),
                "--target" => target = Some(options.next()?.parse().ok()?),
                _ => return None,
            }
        }
        Some(Settings {
            service: Service::named(mode, file, target)?,
            address: address.parse().ok()?,
            builder,
            counts,
        })
    }
}

fn serve(settings: Settings) -> nodeloop::Result<()> {
    let lp = settings.builder.build()?;
    let Some(address) = settings.service.start(lp.handle(), settings.address)? else {
        // Why it does not listen comes as an error of the first turn.
        return lp.run();
    };
    // The load generator ends connections as it likes.
    lp.on_uncaught_error(|_, _| {});
    println!("ready");
    println!("listening on {address}");
    if settings.counts {
        tell_counts(&lp)?;
    }
    lp.run()
}

fn echo(socket: Socket) {
    socket.on_data(|socket, chunk| {
        if !socket.write(chunk) {
            wait_for_drain(socket);
        }
    });
}

/// Who does not take answers sends no further questions. The listener for 'drain' is there only
/// while it is needed: a connection that is idle holds one for 'data' and nothing else.
fn wait_for_drain(socket: Socket) {
    socket.pause();
    socket.once_drain(Socket::resume);
}

fn echo_messages(socket: Socket) {
    // The beginning of a frame whose rest has not come.
    let mut partial: Vec<u8> = Vec::new();
    socket.on_data(move |socket, mut chunk| {
        let mut goes_on = true;
        if !partial.is_empty() {
            let missing = FRAME - partial.len();
            let (rest, behind) = chunk.split_at(missing.min(chunk.len()));
            partial.extend_from_slice(rest);
            chunk = behind;
            if partial.len() < FRAME {
                return;
            }
            goes_on = socket.write(&partial);
            partial.clear();
        }
        let mut frames = chunk.chunks_exact(FRAME);
        for frame in &mut frames {
            goes_on = socket.write(frame);
        }
        partial.extend_from_slice(frames.remainder());
        if !goes_on {
            wait_for_drain(socket);
        }
    });
}

fn swallow(socket: Socket) {
    socket.on_data(|_, _| {});
}

fn source() -> Box<dyn FnMut(Socket)> {
    let block = Bytes::from(vec![b'x'; BLOCK]);
    Box::new(move |socket| {
        let (first, next) = (block.clone(), block.clone());
        socket.on_drain(move |socket| fill(socket, &next));
        socket.resume();
        fill(socket, &first);
    })
}

/// Writes until the kernel takes no more; then 'drain' calls it again.
fn fill(socket: Socket, block: &Bytes) {
    for _ in 0..BLOCKS_PER_CALLBACK {
        if !socket.write(block.clone()) {
            return;
        }
    }
    let block = block.clone();
    socket
        .event_loop()
        .set_immediate(move |_| fill(socket, &block));
}

fn broadcast() -> Box<dyn FnMut(Socket)> {
    let everyone: Rc<RefCell<Vec<Socket>>> = Rc::default();
    Box::new(move |socket| {
        everyone.borrow_mut().push(socket);
        let receivers = everyone.clone();
        socket.on_data(move |_, message| {
            let receivers = receivers.borrow();
            if message.len() < WORTH_SHARING {
                for receiver in receivers.iter() {
                    receiver.write(message);
                }
            } else {
                let shared = Bytes::copy_from_slice(message);
                for receiver in receivers.iter() {
                    receiver.write(shared.clone());
                }
            }
        });
        let left = everyone.clone();
        socket.on_close(move |socket, _| left.borrow_mut().retain(|other| *other != socket));
    })
}

fn pause_and_echo(socket: Socket) {
    socket.on_data(|socket, chunk| {
        if !socket.write(chunk) {
            return wait_for_drain(socket);
        }
        socket.pause();
        socket.event_loop().set_immediate(move |_| socket.resume());
    });
}

/// The pipe ends the socket at the end of the file.
fn send_file(path: PathBuf) -> Box<dyn FnMut(Socket)> {
    Box::new(move |socket| {
        let file = fs::create_read_stream(&socket, &path);
        file.pipe(socket);
        // The client may go before the end.
        socket.on_close(move |_, _| file.destroy());
        socket.resume();
    })
}

/// Two pipes; each direction ends for itself.
fn pass_on(target: SocketAddr) -> Box<dyn FnMut(Socket)> {
    Box::new(move |client| {
        let options = SocketOptions::new().allow_half_open(true);
        let upstream = Socket::new(&client, options);
        if let Err(error) = upstream.connect(target) {
            client.destroy_with(error);
            return;
        }
        client.pipe(upstream).pipe(client);
        bound(client, upstream);
        bound(upstream, client);
    })
}

/// When one is gone, and not by a proper end, so is the other.
fn bound(one: Socket, other: Socket) {
    one.on_close(move |_, had_error| match had_error {
        true => other.destroy(),
        false => other.destroy_soon(),
    });
}

fn echo_datagrams(socket: dgram::Socket) {
    socket.on_message(|socket, message, from| {
        // It fails when the socket is closed, and then there is nobody to answer.
        let _ = socket.send_to(message, from);
    });
}

fn count_datagrams(socket: dgram::Socket) {
    let mut count = 0_u64;
    socket.on_message(move |socket, message, from| {
        if message.len() == QUESTION {
            let _ = socket.send_to(&count.to_le_bytes(), from);
        } else {
            count += 1;
        }
    });
}

fn answer_with_bursts(socket: dgram::Socket) {
    let mut bytes = Vec::new();
    socket.on_message(move |socket, message, from| {
        if let &[low, high] = message {
            bytes.resize(usize::from(u16::from_le_bytes([low, high])), b'b');
            for _ in 0..BURST {
                let _ = socket.send_to(&bytes[..], from);
            }
        }
    });
}

fn tell_counts(lp: &Loop) -> nodeloop::Result<()> {
    let teller = net::create_server(lp, |socket| {
        let counts = socket.event_loop().counts();
        let line = format!(
            "waits {} reads {} writes {} splices {} receives {} sends {} accepts {} registrations {} \
             rearms {} shutdowns {} closes {}\n",
            counts.waits,
            counts.reads,
            counts.writes,
            counts.splices,
            counts.receives,
            counts.sends,
            counts.accepts,
            counts.registrations,
            counts.rearms,
            counts.shutdowns,
            counts.closes,
        );
        socket.end_with(line);
        socket.resume();
    });
    teller.listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    if let Some(address) = teller.address() {
        println!("counts at {address}");
    }
    Ok(())
}
