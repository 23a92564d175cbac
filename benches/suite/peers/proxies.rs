//! Connections passed on by hand on mio, and on tokio: read from one side, write to the other.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use tokio::io::copy_bidirectional_with_sizes;

use super::hand_written::{poll_once, write_once};
use super::{BLOCK, announce};

const LISTENER: Token = Token(usize::MAX);

/// Reads of one direction before others have their turn.
const BUDGET: usize = 32;

/// One read buffer for all; a queue exists only while the kernel takes no more, and who does not take
/// what comes is asked for no more.
pub fn by_hand(address: SocketAddr, target: SocketAddr) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    announce(listener.local_addr()?);
    let mut events = Events::with_capacity(1024);
    let mut pairs: Slab<Pair> = Slab::new();
    let mut again: Vec<usize> = Vec::new();
    let mut buffer = vec![0; BLOCK];
    loop {
        let timeout = (!again.is_empty()).then_some(Duration::ZERO);
        poll_once(&mut poll, &mut events, timeout)?;
        let mut ready = std::mem::take(&mut again);
        for event in &events {
            if event.token() == LISTENER {
                accept(&poll, &listener, target, &mut pairs)?;
            } else if let Some(pair) = pairs.get_mut(event.token().0 / 2) {
                pair.sides[event.token().0 % 2].mark(event);
                ready.push(event.token().0 / 2);
            }
        }
        ready.sort_unstable();
        ready.dedup();
        for key in ready {
            match pairs.get_mut(key).map(|pair| pair.advance(&mut buffer)) {
                Some(Ok(Progress::Waits)) | None => {}
                Some(Ok(Progress::HasMore)) => again.push(key),
                // Who ends with an error takes the other side with it.
                Some(Ok(Progress::IsOver) | Err(_)) => drop(pairs.remove(key)),
            }
        }
    }
}

fn accept(
    poll: &Poll,
    listener: &TcpListener,
    target: SocketAddr,
    pairs: &mut Slab<Pair>,
) -> io::Result<()> {
    loop {
        let client = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let slot = pairs.vacant_entry();
        let mut sides = [Side::new(client), Side::new(TcpStream::connect(target)?)];
        for (number, side) in sides.iter_mut().enumerate() {
            let token = Token(slot.key() * 2 + number);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut side.stream, token, interest)?;
        }
        slot.insert(Pair { sides });
    }
}

/// A client, and the connection to the target that was made for it.
struct Pair {
    sides: [Side; 2],
}

struct Side {
    stream: TcpStream,
    readable: bool,
    /// It takes bytes: it has been told to be writable.
    connected: bool,
    /// The peer has ended, or something is wrong: a short read proves nothing.
    ending: bool,
    /// Everything was read.
    has_ended: bool,
    /// It has been told the other side's end.
    is_shut: bool,
    /// What the kernel did not take, and how much of it has gone since.
    waiting: Vec<u8>,
    gone: usize,
}

enum Progress {
    Waits,
    HasMore,
    IsOver,
}

impl Pair {
    /// Passes on in both directions.
    fn advance(&mut self, buffer: &mut [u8]) -> io::Result<Progress> {
        let [client, upstream] = &mut self.sides;
        let up = pass(client, upstream, buffer)?;
        let down = pass(upstream, client, buffer)?;
        Ok(if client.is_shut && upstream.is_shut {
            Progress::IsOver
        } else if up || down {
            Progress::HasMore
        } else {
            Progress::Waits
        })
    }
}

/// Whether there may be more to do at once.
fn pass(from: &mut Side, to: &mut Side, buffer: &mut [u8]) -> io::Result<bool> {
    for _ in 0..BUDGET {
        if !to.connected || !to.flush()? {
            return Ok(false);
        }
        if from.has_ended && !to.is_shut {
            to.is_shut = true;
            to.stream.shutdown(Shutdown::Write)?;
        }
        if !from.readable || from.has_ended {
            return Ok(false);
        }
        let size = match from.stream.read(buffer) {
            Ok(size) => size,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                from.readable = false;
                return Ok(false);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if size == 0 {
            from.has_ended = true;
            continue;
        }
        if size < buffer.len() && !from.ending {
            from.readable = false;
        }
        let sent = write_once(&mut to.stream, &buffer[..size])?;
        to.waiting.extend_from_slice(&buffer[sent..size]);
    }
    Ok(true)
}

impl Side {
    fn new(stream: TcpStream) -> Side {
        Side {
            stream,
            readable: false,
            connected: false,
            ending: false,
            has_ended: false,
            is_shut: false,
            waiting: Vec::new(),
            gone: 0,
        }
    }

    fn mark(&mut self, event: &Event) {
        self.readable |= event.is_readable();
        self.connected |= event.is_writable();
        self.ending |= event.is_read_closed() || event.is_error();
    }

    /// Whether nothing waits any more.
    fn flush(&mut self) -> io::Result<bool> {
        if self.waiting.is_empty() {
            return Ok(true);
        }
        self.gone += write_once(&mut self.stream, &self.waiting[self.gone..])?;
        if self.gone < self.waiting.len() {
            return Ok(false);
        }
        self.waiting.clear();
        self.gone = 0;
        Ok(true)
    }
}

pub async fn with_tokio(address: SocketAddr, target: SocketAddr, chunk: usize) -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    announce(listener.local_addr()?);
    loop {
        let (mut client, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut upstream = tokio::net::TcpStream::connect(target).await?;
            copy_bidirectional_with_sizes(&mut client, &mut upstream, chunk, chunk).await
        });
    }
}
