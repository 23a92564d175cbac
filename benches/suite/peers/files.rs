//! A file to each client by hand on mio, and on tokio: read 64 KiB, write them, and so on to the end.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use tokio::io::AsyncWriteExt;

use super::hand_written::{poll_once, write_once};
use super::{BLOCK, announce};

const LISTENER: Token = Token(usize::MAX);

/// Blocks of one connection before others have their turn.
const BUDGET: usize = 32;

pub fn by_hand(address: SocketAddr, file: &Path) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    announce(listener.local_addr()?);
    let mut events = Events::with_capacity(1024);
    let mut connections: Slab<Sending> = Slab::new();
    let mut again: Vec<usize> = Vec::new();
    loop {
        let timeout = (!again.is_empty()).then_some(Duration::ZERO);
        poll_once(&mut poll, &mut events, timeout)?;
        let mut ready = std::mem::take(&mut again);
        for event in &events {
            if event.token() != LISTENER {
                ready.push(event.token().0);
                continue;
            }
            while let Some(stream) = accept(&listener)? {
                let slot = connections.vacant_entry();
                let mut sending = Sending::new(stream, file)?;
                let token = Token(slot.key());
                poll.registry()
                    .register(&mut sending.stream, token, Interest::WRITABLE)?;
                slot.insert(sending);
            }
        }
        ready.sort_unstable();
        ready.dedup();
        for key in ready {
            match connections.get_mut(key).map(Sending::advance) {
                Some(Ok(Progress::Waits)) | None => {}
                Some(Ok(Progress::HasMore)) => again.push(key),
                // How a connection ends is its own affair.
                Some(Ok(Progress::IsOver) | Err(_)) => drop(connections.remove(key)),
            }
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _)) => Ok(Some(stream)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

struct Sending {
    stream: TcpStream,
    file: File,
    buffer: Vec<u8>,
    /// What the kernel has not taken of the buffer.
    unsent: Range<usize>,
}

enum Progress {
    /// The kernel takes no more.
    Waits,
    HasMore,
    IsOver,
}

impl Sending {
    fn new(stream: TcpStream, file: &Path) -> io::Result<Sending> {
        Ok(Sending {
            stream,
            file: File::open(file)?,
            buffer: vec![0; BLOCK],
            unsent: 0..0,
        })
    }

    fn advance(&mut self) -> io::Result<Progress> {
        for _ in 0..BUDGET {
            if self.unsent.is_empty() {
                self.unsent = 0..self.file.read(&mut self.buffer)?;
                if self.unsent.is_empty() {
                    return Ok(Progress::IsOver);
                }
            }
            self.unsent.start += write_once(&mut self.stream, &self.buffer[self.unsent.clone()])?;
            if !self.unsent.is_empty() {
                return Ok(Progress::Waits);
            }
        }
        Ok(Progress::HasMore)
    }
}

/// Files are read as by hand, on the loop's own thread: from the cache that is faster than tokio's
/// files, which read in another.
pub async fn with_tokio(address: SocketAddr, file: PathBuf) -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    announce(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let file = file.clone();
        tokio::spawn(async move {
            // How a connection ends is its own affair.
            let _ = send(stream, &file).await;
        });
    }
}

async fn send(mut stream: tokio::net::TcpStream, file: &Path) -> io::Result<()> {
    let mut file = File::open(file)?;
    let mut buffer = vec![0; BLOCK];
    loop {
        let size = file.read(&mut buffer)?;
        if size == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..size]).await?;
    }
}
