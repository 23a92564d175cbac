//! The practical limit: servers as a systems engineer writes them by hand on mio.
//!
//! Edge-triggered, one registration per connection, one read buffer for all; a short read ends an
//! event, a full one goes on; answers go straight to the kernel, and a queue exists only while the
//! kernel takes no more. Each connection that is accepted re-arms the listener instead of trying
//! until accepting fails.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::{BLOCK, FRAME, Mode, ServerOptions, announce};

const LISTENER: Token = Token(usize::MAX);

/// Reads or writes of one connection before others have their turn.
const BUDGET: usize = 32;

pub fn serve(mode: Mode, address: SocketAddr, options: ServerOptions) -> io::Result<()> {
    Server::new(mode, address, options)?.run()
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    connections: Slab<Connection>,
    mode: Mode,
    options: ServerOptions,
    buffer: Vec<u8>,
    /// Connections that have used up their budget, or were paused.
    again: Vec<usize>,
    block: Bytes,
}

struct Connection {
    stream: TcpStream,
    /// What else there is of it, if there is any: most connections need none.
    more: Option<Box<More>>,
    readable: bool,
    /// The peer has ended, or something is wrong: a short read proves nothing.
    ending: bool,
    /// Whether it is among those to be served again.
    put_aside: bool,
}

#[derive(Default)]
struct More {
    /// What the kernel did not take.
    waiting: VecDeque<Bytes>,
    /// The beginning of a frame.
    partial: Vec<u8>,
}

/// Whether a connection lives on.
enum Fate {
    Lives,
    Ends,
}

impl Server {
    fn new(mode: Mode, address: SocketAddr, options: ServerOptions) -> io::Result<Server> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        announce(listener.local_addr()?);
        Ok(Server {
            poll,
            listener,
            connections: Slab::new(),
            mode,
            buffer: vec![0; options.chunk.unwrap_or(BLOCK)],
            options,
            again: Vec::new(),
            block: Bytes::from(vec![b'x'; BLOCK]),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut again = Vec::new();
        loop {
            std::mem::swap(&mut again, &mut self.again);
            self.wait(&mut events, !again.is_empty())?;
            for key in again.drain(..) {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.put_aside = false;
                }
                self.serve_connection(key);
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                } else {
                    self.handle(event);
                }
            }
        }
    }

    fn wait(&mut self, events: &mut Events, work_left: bool) -> io::Result<()> {
        if work_left {
            return poll_once(&mut self.poll, events, Some(Duration::ZERO));
        }
        if !self.options.spin.is_zero() {
            let begin = Instant::now();
            while begin.elapsed() < self.options.spin {
                poll_once(&mut self.poll, events, Some(Duration::ZERO))?;
                if !events.is_empty() {
                    return Ok(());
                }
            }
        }
        poll_once(&mut self.poll, events, None)
    }

    fn accept(&mut self) -> io::Result<()> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                if !matches!(self.mode, Mode::AcceptClose) {
                    self.admit(stream)?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
        self.poll
            .registry()
            .reregister(&mut self.listener, LISTENER, Interest::READABLE)
    }

    fn admit(&mut self, mut stream: TcpStream) -> io::Result<()> {
        if self.mode.wants_no_delay() {
            stream.set_nodelay(true)?;
        }
        let slot = self.connections.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(slot.key()), interest)?;
        slot.insert(Connection {
            stream,
            more: None,
            readable: false,
            ending: false,
            put_aside: false,
        });
        Ok(())
    }

    fn handle(&mut self, event: &Event) {
        let key = event.token().0;
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.readable |= event.is_readable();
        connection.ending |= event.is_read_closed() || event.is_error();
        self.serve_connection(key);
    }

    fn serve_connection(&mut self, key: usize) {
        if let Fate::Ends = self.advance(key) {
            // Closing takes it from the poller too.
            self.connections.try_remove(key);
        }
    }

    /// Writes what waits, then reads.
    fn advance(&mut self, key: usize) -> Fate {
        let Some(connection) = self.connections.get_mut(key) else {
            return Fate::Lives;
        };
        if connection.has_waiting() && connection.flush().is_err() {
            return Fate::Ends;
        }
        if matches!(self.mode, Mode::Source) && self.fill(key).is_err() {
            return Fate::Ends;
        }
        for _ in 0..BUDGET {
            let Some(connection) = self.connections.get_mut(key) else {
                return Fate::Lives;
            };
            // Who does not take answers sends no further questions.
            if !connection.readable || connection.has_waiting() {
                return Fate::Lives;
            }
            let size = match connection.stream.read(&mut self.buffer) {
                Ok(0) => return Fate::Ends,
                Ok(size) => size,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.readable = false;
                    return Fate::Lives;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Fate::Ends,
            };
            if size < self.buffer.len() && !connection.ending {
                connection.readable = false;
            }
            if self.answer(key, size).is_err() {
                return Fate::Ends;
            }
            if matches!(self.mode, Mode::PauseEcho) {
                break;
            }
        }
        self.put_aside(key);
        Fate::Lives
    }

    fn put_aside(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if !connection.put_aside {
            connection.put_aside = true;
            self.again.push(key);
        }
    }

    /// Does with a chunk in the buffer what the mode says.
    fn answer(&mut self, key: usize, size: usize) -> io::Result<()> {
        let chunk = &self.buffer[..size];
        match self.mode {
            Mode::Broadcast => {
                self.broadcast(size);
                Ok(())
            }
            Mode::Echo | Mode::PauseEcho => self.connections[key].send(chunk),
            Mode::Messages => self.connections[key].answer_frames(chunk, self.options.gather),
            // What comes is not wanted.
            _ => Ok(()),
        }
    }

    /// Straight to the kernel for everyone; those whose buffer is full share one copy.
    fn broadcast(&mut self, size: usize) {
        let chunk = &self.buffer[..size];
        let mut shared: Option<Bytes> = None;
        let mut ended = Vec::new();
        for (key, connection) in &mut self.connections {
            let sent = match connection.has_waiting() {
                true => Ok(0),
                false => write_once(&mut connection.stream, chunk),
            };
            match sent {
                Ok(sent) if sent == chunk.len() => {}
                Ok(sent) => {
                    let shared = shared.get_or_insert_with(|| Bytes::copy_from_slice(chunk));
                    connection.queue(shared.slice(sent..));
                }
                Err(_) => ended.push(key),
            }
        }
        for key in ended {
            self.connections.remove(key);
        }
    }

    fn fill(&mut self, key: usize) -> io::Result<()> {
        let connection = &mut self.connections[key];
        for _ in 0..BUDGET {
            if connection.has_waiting() {
                return Ok(());
            }
            let sent = write_once(&mut connection.stream, &self.block)?;
            if sent < self.block.len() {
                connection.queue(self.block.slice(sent..));
                return Ok(());
            }
        }
        self.put_aside(key);
        Ok(())
    }
}

impl Connection {
    fn has_waiting(&self) -> bool {
        self.more
            .as_ref()
            .is_some_and(|more| !more.waiting.is_empty())
    }

    fn queue(&mut self, bytes: Bytes) {
        self.more.get_or_insert_default().waiting.push_back(bytes);
    }

    /// Sends, behind what waits.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = match self.has_waiting() {
            true => 0,
            false => write_once(&mut self.stream, bytes)?,
        };
        if sent < bytes.len() {
            self.queue(Bytes::copy_from_slice(&bytes[sent..]));
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(more) = &mut self.more else {
            return Ok(());
        };
        while let Some(first) = more.waiting.front_mut() {
            let sent = write_once(&mut self.stream, first)?;
            first.advance(sent);
            if !first.is_empty() {
                return Ok(());
            }
            more.waiting.pop_front();
        }
        Ok(())
    }

    /// Answers each frame with a write of its own, or all frames of a read with one.
    fn answer_frames(&mut self, mut chunk: &[u8], gather: bool) -> io::Result<()> {
        if let Some(more) = &mut self.more
            && !more.partial.is_empty()
        {
            let missing = FRAME - more.partial.len();
            let (rest, behind) = chunk.split_at(missing.min(chunk.len()));
            more.partial.extend_from_slice(rest);
            chunk = behind;
            if more.partial.len() < FRAME {
                return Ok(());
            }
            let frame = std::mem::take(&mut more.partial);
            self.send(&frame)?;
        }
        let (frames, remainder) = chunk.split_at(chunk.len() - chunk.len() % FRAME);
        if gather && !frames.is_empty() {
            self.send(frames)?;
        } else {
            for frame in frames.chunks_exact(FRAME) {
                self.send(frame)?;
            }
        }
        if !remainder.is_empty() {
            self.more
                .get_or_insert_default()
                .partial
                .extend_from_slice(remainder);
        }
        Ok(())
    }
}

/// How much the kernel took; nothing if it would block.
pub fn write_once(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match stream.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            other => return other,
        }
    }
}

pub fn poll_once(
    poll: &mut Poll,
    events: &mut Events,
    timeout: Option<Duration>,
) -> io::Result<()> {
    match poll.poll(events, timeout) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        other => other,
    }
}
