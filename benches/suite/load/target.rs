//! What is behind a proxy: in the load generator's own loop, so that the server's time is the proxy's
//! alone.

use std::io;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::{Poller, read_some, write_some, wrong};

const LISTENER: Token = Token(usize::MAX);

/// The tokens of its connections begin here; those of clients are below.
const FIRST: usize = usize::MAX / 2;

pub struct Target {
    registry: Registry,
    listener: TcpListener,
    pub connections: Slab<Incoming>,
}

/// A connection that the proxy has made.
pub struct Incoming {
    pub stream: TcpStream,
    pub readable: bool,
    /// Bytes that have come.
    pub received: u64,
}

impl Target {
    pub fn new(listener: std::net::TcpListener, poller: &Poller) -> io::Result<Target> {
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        let registry = poller.poll.registry().try_clone()?;
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Target {
            registry,
            listener,
            connections: Slab::new(),
        })
    }

    /// Whether an event is one of its, and not of a client.
    pub fn owns(event: &Event) -> bool {
        event.token().0 >= FIRST
    }

    /// Takes an event to heart: accepts, or notes that there is something to read.
    pub fn mark(&mut self, event: &Event) -> io::Result<()> {
        if event.token() == LISTENER {
            return self.accept();
        }
        if let Some(incoming) = self.connections.get_mut(event.token().0 - FIRST) {
            incoming.readable = true;
        }
        Ok(())
    }

    /// Accepts, or sends back what has come: small messages only.
    pub fn echo(&mut self, event: &Event, buffer: &mut [u8]) -> io::Result<()> {
        self.mark(event)?;
        let key = event.token().0.wrapping_sub(FIRST);
        let Some(incoming) = self.connections.get_mut(key) else {
            return Ok(());
        };
        while let Some(size) = read_some(&mut incoming.stream, buffer)? {
            if size == 0 {
                self.connections.remove(key);
                return Ok(());
            }
            if write_some(&mut incoming.stream, &buffer[..size])? != size {
                return Err(wrong("does not read"));
            }
            if size < buffer.len() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let slot = self.connections.vacant_entry();
            let token = Token(FIRST + slot.key());
            self.registry
                .register(&mut stream, token, Interest::READABLE)?;
            slot.insert(Incoming {
                stream,
                readable: false,
                received: 0,
            });
        }
    }
}
