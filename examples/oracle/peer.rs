//! Peers: raw clients and servers outside the loop under test, so that both programs face the very same ones.
//!
//! A peer is a thread that does one thing after the other, as it was told. It reads only when it is
//! told to, so a peer that is told nothing pushes back.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::fd::OwnedFd;
#[cfg(unix)]
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::data::{Piece, bytes_of};
#[cfg(unix)]
use super::driver::spawn;
use super::driver::{Answers, SPAWNING};
use super::outside::{Directory, OtherEnd};
use super::peer_dgram::DatagramPeer;
use super::trace::Trace;

/// How much a peer reads at once unless it is told.
const READ_AT_ONCE: usize = 64 * 1024;

/// How often a UDP peer binds another port, where it got one that a trace names otherwise.
const OTHER_PORTS: usize = 8;

/// What a peer is told.
enum Order {
    /// A verb and its words.
    Do(Vec<String>),
    /// To have this connection.
    Have(OtherEnd),
    /// To say when everything before is done.
    Report,
}

/// A peer's thread.
pub struct Peer {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// Starts a peer.
    pub fn start(
        name: &str,
        trace: Arc<Mutex<Trace>>,
        answers: Answers,
        directory: Arc<Directory>,
        until: Instant,
    ) -> Peer {
        let (sender, orders) = channel();
        let work = Work {
            name: name.into(),
            trace,
            answers,
            directory,
            until,
            stream: None,
            socket: None,
            datagram: DatagramPeer::default(),
        };
        let thread = std::thread::spawn(move || work.run(&orders));
        Peer {
            orders: Some(sender),
            thread: Some(thread),
        }
    }

    /// Tells it to do something, after what it was told before.
    pub fn tell(&self, words: Vec<String>) {
        self.order(Order::Do(words));
    }

    /// Gives it a connection.
    pub fn has(&self, connection: OtherEnd) {
        self.order(Order::Have(connection));
    }

    /// Has it answer once it is done with everything before.
    pub fn wait(&self) {
        self.order(Order::Report);
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // It can only be gone if it panicked, which `finish` shows.
            let _ = orders.send(order);
        }
    }

    /// Lets it do the rest, then ends it.
    pub fn finish(mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a peer panicked");
        }
    }
}

/// What a peer's thread has.
struct Work {
    name: String,
    trace: Arc<Mutex<Trace>>,
    answers: Answers,
    /// Where paths are.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only Unix has sockets at paths"))]
    directory: Arc<Directory>,
    /// No call waits longer.
    until: Instant,
    stream: Option<TcpStream>,
    /// What was bound, and perhaps listens.
    socket: Option<Socket>,
    /// What it sends and receives datagrams with.
    datagram: DatagramPeer,
}

impl Work {
    fn run(mut self, orders: &Receiver<Order>) {
        for order in orders {
            match order {
                Order::Have(OtherEnd::Stream(stream)) => self.stream = Some(stream),
                Order::Have(OtherEnd::Datagrams(socket)) => {
                    self.datagram = DatagramPeer::with(socket);
                    self.name_datagram_port();
                }
                Order::Report => self.answers.done(self.bound_port()),
                Order::Do(words) => {
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    if let Err(error) = self.act(&words) {
                        self.line(&format!("{} {}", words[0], code(&error)));
                    }
                }
            }
        }
    }

    fn line(&self, text: &str) {
        let mut trace = self.trace.lock().expect("the trace");
        trace.line(&self.name, text);
    }

    /// Tells what the port of its UDP socket is called.
    fn name_datagram_port(&self) {
        if let Some(port) = self.datagram.port() {
            let mut trace = self.trace.lock().expect("the trace");
            trace.name_port(port, &self.name);
        }
    }

    /// Whether the port of its UDP socket has the name of something else.
    fn shares_its_port(&self) -> bool {
        let trace = self.trace.lock().expect("the trace");
        self.datagram
            .port()
            .is_some_and(|port| trace.is_named(port))
    }

    fn act(&mut self, words: &[&str]) -> io::Result<()> {
        match words {
            ["connect", host, port, receive_buffer] => {
                self.connect(host, port, receive_buffer.parse().ok())
            }
            #[cfg(unix)]
            ["connect_path", path, ..] => self.connect_to_path(path),
            #[cfg(unix)]
            ["bind_path", path, _] => self.bind_path(path, None),
            #[cfg(unix)]
            ["listen_path", path, backlog] => self.bind_path(path, backlog.parse().ok()),
            // What a send runs into shows on the other side, and in the peer's next read.
            ["send", data] => {
                let _ = match self.stream.as_ref() {
                    Some(mut stream) => stream.write_all(&bytes_of(data)),
                    None => self.datagram.send_back(&bytes_of(data)),
                };
                Ok(())
            }
            ["urgent", data] => {
                if let Some(stream) = &self.stream {
                    SockRef::from(stream).send_out_of_band(&bytes_of(data))?;
                }
                Ok(())
            }
            ["end"] => match &self.stream {
                Some(stream) => stream.shutdown(Shutdown::Write),
                None => Ok(()),
            },
            ["close"] => {
                let _guard = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
                // A connection first, then what it came from.
                if self.stream.take().is_none() {
                    self.socket = None;
                }
                Ok(())
            }
            ["reset"] => {
                if let Some(stream) = self.stream.take() {
                    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                    let _guard = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
                    drop(stream);
                }
                Ok(())
            }
            ["kill"] => self.kill(),
            ["bind" | "listen", host, receive_buffer, backlog, port] => {
                let backlog = (words[0] == "listen").then(|| backlog.parse().unwrap_or(0));
                let port = port.parse().unwrap_or(0);
                self.bind(host, port, receive_buffer.parse().ok(), backlog)
            }
            ["accept"] => self.accept(),
            ["read", count, pieces @ ..] => {
                let piece = pieces.first().and_then(|piece| piece.parse().ok());
                self.read(count.parse().unwrap_or(0), piece.unwrap_or(READ_AT_ONCE))
            }
            ["read_all"] => self.read(u64::MAX, READ_AT_ONCE),
            words => {
                let mut lines = self.datagram.act(words, self.left())?;
                // At another address the kernel may choose a port that a trace knows by another name.
                for _ in 0..OTHER_PORTS {
                    if words[0] != "udp" || !self.shares_its_port() {
                        break;
                    }
                    lines = self.datagram.act(words, self.left())?;
                }
                self.name_datagram_port();
                lines.iter().for_each(|line| self.line(line));
                Ok(())
            }
        }
    }

    fn connect(&mut self, host: &str, port: &str, receive_buffer: Option<usize>) -> io::Result<()> {
        let address = format!(
            "{}:{port}",
            if host.contains(':') {
                format!("[{host}]")
            } else {
                host.into()
            }
        );
        let address: SocketAddr = address.parse().map_err(io::Error::other)?;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if let Some(bytes) = receive_buffer {
            // Before connecting, since that fixes the window.
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_tcp_nodelay(true)?;
        socket.connect_timeout(&address.into(), self.left())?;
        let stream = TcpStream::from(socket);
        let own = stream.local_addr()?.port();
        self.trace
            .lock()
            .expect("the trace")
            .name_port(own, &self.name);
        self.stream = Some(stream);
        self.line("connect");
        Ok(())
    }

    /// Binds a port, and listens if there is a backlog. A port that is bound alone refuses connections,
    /// and nobody else can get it.
    fn bind(
        &mut self,
        host: &str,
        port: u16,
        receive_buffer: Option<usize>,
        backlog: Option<i32>,
    ) -> io::Result<()> {
        let ip: IpAddr = host.parse().map_err(io::Error::other)?;
        let address = SocketAddr::new(ip, port);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if let Some(bytes) = receive_buffer {
            // Accepted sockets inherit it.
            socket.set_recv_buffer_size(bytes)?;
        }
        bind_patiently(&socket, address)?;
        if let Some(backlog) = backlog {
            socket.listen(backlog)?;
        }
        self.socket = Some(socket);
        if let Some(port) = self.bound_port() {
            let mut trace = self.trace.lock().expect("the trace");
            trace.name_port(port, &self.name);
        }
        Ok(())
    }

    #[cfg(unix)]
    fn connect_to_path(&mut self, path: &str) -> io::Result<()> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let path = self.directory.place(path);
        socket.connect_timeout(&socket2::SockAddr::unix(path)?, self.left())?;
        self.stream = Some(socket.into());
        self.line("connect");
        Ok(())
    }

    /// The file stays when it is closed.
    #[cfg(unix)]
    fn bind_path(&mut self, path: &str, backlog: Option<i32>) -> io::Result<()> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let path = self.directory.place(path);
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        if let Some(backlog) = backlog {
            socket.listen(backlog)?;
        }
        self.socket = Some(socket);
        Ok(())
    }

    fn bound_port(&self) -> Option<u16> {
        match &self.socket {
            Some(socket) => Some(socket.local_addr().ok()?.as_socket()?.port()),
            None => self.datagram.port(),
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        // Bounds the wait.
        socket.set_read_timeout(Some(self.left()))?;
        let stream = TcpStream::from(socket.accept()?.0);
        // Of no use, and an error, on a Unix socket.
        let _ = stream.set_nodelay(true);
        self.stream = Some(stream);
        self.line("accept");
        Ok(())
    }

    /// The connection passes to a process, which is killed: the kernel closes it.
    fn kill(&mut self) -> io::Result<()> {
        self.stream.take().map_or(Ok(()), die_with)
    }

    /// Reads so many bytes, or up to the end, each call at most `piece`.
    fn read(&mut self, count: u64, piece: usize) -> io::Result<()> {
        let Some(mut stream) = self.stream.as_ref() else {
            return Ok(());
        };
        let mut buffer = vec![0; piece];
        let mut left = count;
        while left > 0 {
            stream.set_read_timeout(Some(self.left()))?;
            let room = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            match stream.read(&mut buffer[..room]) {
                Ok(0) => {
                    self.line("end");
                    return Ok(());
                }
                Ok(count) => {
                    let piece = Piece::of(&buffer[..count]);
                    let mut trace = self.trace.lock().expect("the trace");
                    trace.data(&self.name, "read", piece);
                    left -= count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How long a call may wait; zero would mean for ever.
    fn left(&self) -> Duration {
        let left = self.until.saturating_duration_since(Instant::now());
        left.max(Duration::from_millis(1))
    }
}

/// Passes a connection to a process, and kills it.
#[cfg(unix)]
fn die_with(stream: TcpStream) -> io::Result<()> {
    let mut program = Command::new("sleep");
    program
        .arg("60")
        .stdin(Stdio::from(OwnedFd::from(stream)))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut process = spawn(&mut program)?;
    // It has the descriptor too.
    drop(program);
    process.kill()?;
    process.wait()?;
    Ok(())
}

#[cfg(not(unix))]
fn die_with(stream: TcpStream) -> io::Result<()> {
    drop(stream);
    Ok(())
}

fn code(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "ECONNREFUSED".into(),
        ErrorKind::ConnectionReset => "ECONNRESET".into(),
        ErrorKind::BrokenPipe => "EPIPE".into(),
        ErrorKind::NotConnected => "ENOTCONN".into(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "nothing came in time".into(),
        _ => error.to_string(),
    }
}

/// Binds an address. A port that is known to be free elsewhere may be taken here for a moment, by
/// what is left of a connection of another program's, or by one that is only about to choose its own.
fn bind_patiently(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.port() > 0 {
        socket.set_reuse_address(true)?;
    }
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        match socket.bind(&address.into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                std::thread::yield_now();
            }
            bound => return bound,
        }
    }
}
