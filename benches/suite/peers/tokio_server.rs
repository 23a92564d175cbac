//! The same servers on tokio, its loop in one thread: a task per connection, as one writes it.
//!
//! A task has a buffer of its own, as its idiom is; of 8 KiB, since most of the messages are small,
//! where `--chunk` does not say otherwise (bulk workloads do).

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

use super::{BLOCK, FRAME, Mode, ServerOptions, announce, datagrams, files, proxies};

/// The buffer of a task whose messages are small.
const SMALL: usize = 8 * 1024;

/// Messages that a receiver of a broadcast may be behind.
const BEHIND: usize = 1024;

pub fn serve(mode: Mode, address: SocketAddr, options: ServerOptions) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match (mode, options.file.clone(), options.target) {
            (Mode::UdpEcho, ..) => datagrams::with_tokio(address).await,
            (Mode::File, Some(file), _) => files::with_tokio(address, file).await,
            (Mode::Proxy, _, Some(target)) => {
                proxies::with_tokio(address, target, options.chunk.unwrap_or(SMALL)).await
            }
            _ => listen(mode, address, options).await,
        }
    })
}

async fn listen(mode: Mode, address: SocketAddr, options: ServerOptions) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    announce(listener.local_addr()?);
    let (everyone, _) = broadcast::channel::<Bytes>(BEHIND);
    loop {
        let (stream, _) = listener.accept().await?;
        if mode.wants_no_delay() {
            stream.set_nodelay(true)?;
        }
        let everyone = everyone.clone();
        let options = options.clone();
        tokio::spawn(async move {
            // How a connection ends is its own affair.
            let _ = match mode {
                Mode::Echo => echo(stream, options).await,
                Mode::Messages => messages(stream, options).await,
                Mode::Sink => sink(stream, options).await,
                Mode::Source => source(stream).await,
                Mode::Broadcast => chat(stream, options, everyone).await,
                Mode::PauseEcho => pause_and_echo(stream, options).await,
                _ => Ok(()),
            };
        });
    }
}

async fn echo(mut stream: TcpStream, options: ServerOptions) -> io::Result<()> {
    let mut buffer = vec![0; options.chunk.unwrap_or(SMALL)];
    loop {
        let size = stream.read(&mut buffer).await?;
        if size == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..size]).await?;
    }
}

async fn messages(mut stream: TcpStream, options: ServerOptions) -> io::Result<()> {
    let mut buffer = vec![0; options.chunk.unwrap_or(SMALL)];
    let mut filled = 0;
    loop {
        let size = stream.read(&mut buffer[filled..]).await?;
        if size == 0 {
            return Ok(());
        }
        filled += size;
        let whole = filled - filled % FRAME;
        if options.gather {
            stream.write_all(&buffer[..whole]).await?;
        } else {
            for frame in buffer[..whole].chunks_exact(FRAME) {
                stream.write_all(frame).await?;
            }
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

async fn sink(mut stream: TcpStream, options: ServerOptions) -> io::Result<()> {
    let mut buffer = vec![0; options.chunk.unwrap_or(SMALL)];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

async fn source(mut stream: TcpStream) -> io::Result<()> {
    let block = vec![b'x'; BLOCK];
    loop {
        stream.write_all(&block).await?;
    }
}

/// Two tasks: one listens to the socket, the other to everyone.
async fn chat(
    stream: TcpStream,
    options: ServerOptions,
    everyone: broadcast::Sender<Bytes>,
) -> io::Result<()> {
    let mut heard = everyone.subscribe();
    let (mut reader, mut writer) = stream.into_split();
    let telling = tokio::spawn(async move {
        while let Ok(message) = heard.recv().await {
            if writer.write_all(&message).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; options.chunk.unwrap_or(SMALL)];
    while let Ok(size @ 1..) = reader.read(&mut buffer).await {
        // It fails if nobody listens.
        let _ = everyone.send(Bytes::copy_from_slice(&buffer[..size]));
    }
    telling.abort();
    Ok(())
}

/// Reading is paused by not asking; what an immediate is in Node is a yield here.
async fn pause_and_echo(mut stream: TcpStream, options: ServerOptions) -> io::Result<()> {
    let mut buffer = vec![0; options.chunk.unwrap_or(SMALL)];
    loop {
        let size = stream.read(&mut buffer).await?;
        if size == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..size]).await?;
        tokio::task::yield_now().await;
    }
}
