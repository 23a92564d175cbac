//! Serves the files of a folder to browsers and `curl`: HTTP/1.0, as small as it can be.
//!
//! The pattern: what blocks is done by a worker thread (finding and opening a file), what flows by a pipe
//! (`file.pipe(socket)`), and no request gets out of the folder: a path is resolved, links
//! and `..` included, before it is compared. On Linux the bytes of a large file do not pass through this
//! program at all.
//!
//! ```text
//! cargo run --release --example file_server [ADDRESS] [FOLDER]
//! curl http://127.0.0.1:40000/README.md
//! ```

mod common;

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use common::argument;
use nodeloop::Loop;
use nodeloop::fs::{ReadOptions, ReadStream};
use nodeloop::net::{self, Socket};

/// A request that is longer is none.
const MAX_HEAD: usize = 8 * 1024;

/// A connection on which nothing happens for so long is closed.
const PATIENCE_MS: u64 = 10_000;

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let folder: PathBuf = argument(2, "FOLDER", ".");
    let root = folder.canonicalize()?;
    let lp = Loop::new()?;
    let server = net::create_server(&lp, move |socket| {
        let root = root.clone();
        let mut head = Vec::new();
        let mut is_answered = false;
        socket.set_timeout(PATIENCE_MS);
        socket.on_timeout(|socket| socket.destroy());
        // A browser may go away at any time.
        socket.on_error(|_, _| {});
        socket.on_data(move |socket, chunk| {
            // It has one request, whatever comes behind: that is read so that it does not become a
            // reset, which could overtake the answer.
            if is_answered {
                return;
            }
            head.extend_from_slice(chunk);
            let is_long = head.len() > MAX_HEAD;
            if is_long || head.windows(4).any(|end| end == b"\r\n\r\n") {
                is_answered = true;
                socket.pause();
                answer(socket, &head, !is_long, root.clone());
            }
        });
    });
    server.listen_then(address, |server| {
        println!("listening on {}", server.address().expect("it listens"));
    })?;
    lp.run()
}

/// Answers a request.
fn answer(socket: Socket, head: &[u8], is_whole: bool, root: PathBuf) {
    let head = String::from_utf8_lossy(head);
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, target) = (words.next(), words.next());
    let wants_body = match method {
        _ if !is_whole => return refuse(socket, "400 Bad Request"),
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return refuse(socket, "405 Method Not Allowed"),
    };
    let Some(path) = target.and_then(decoded) else {
        return refuse(socket, "400 Bad Request");
    };
    let lp = socket.event_loop();
    lp.spawn_blocking(
        move || open(&root, &path),
        move |_, opened| match opened {
            Ok(Ok((file, length, kind))) => {
                let head = format!(
                    "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\nContent-Type: {kind}\r\n\r\n"
                );
                socket.write(head);
                match wants_body && length > 0 {
                    true => send(socket, file, length),
                    false => finish(socket),
                }
            }
            Ok(Err(error)) if is_absent(&error) => refuse(socket, "404 Not Found"),
            // It may be there: no descriptor or no thread was free, or the disk fails.
            _ => refuse(socket, "500 Internal Server Error"),
        },
    );
}

/// Whether there is no such file for whoever comes from outside.
fn is_absent(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::PermissionDenied
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidFilename
    )
}

/// Sends as many bytes of the file as were promised, even if it grows meanwhile.
fn send(socket: Socket, file: File, length: u64) {
    let options = ReadOptions::new().start(0).end(length - 1);
    let Ok(file) = ReadStream::from_file(&socket, file, options) else {
        return socket.destroy();
    };
    file.pipe(socket);
    // What was promised can't be kept: the end without a reset would look like all of it.
    file.on_error(move |_, _| socket.reset_and_destroy());
    socket.on_close(move |_, _| file.destroy());
    // The rest of the request, which nobody wants, is read up to the end.
    file.on_end(move |_| socket.resume());
}

fn refuse(socket: Socket, status: &str) {
    socket.write(format!("HTTP/1.0 {status}\r\nContent-Length: 0\r\n\r\n"));
    finish(socket);
}

/// Ends the answer, and reads what the peer still has to say.
fn finish(socket: Socket) {
    socket.end();
    socket.resume();
}

/// The path of a request's target: without a query, its `%20` and the like decoded.
fn decoded(target: &str) -> Option<String> {
    let path = target.split(['?', '#']).next()?.strip_prefix('/')?;
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, behind @ ..] = rest {
        if let (b'%', [high, low, behind @ ..]) = (first, behind) {
            let digit = |it: &u8| char::from(*it).to_digit(16);
            bytes.push((digit(high)? * 16 + digit(low)?) as u8);
            rest = behind;
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Opens a file of the folder: its length and type come with it.
fn open(root: &Path, path: &str) -> std::io::Result<(File, u64, &'static str)> {
    // An absolute path would take the folder's place; it is compared with it all the same.
    let mut found = root.join(path).canonicalize()?;
    if found.is_dir() {
        found = found.join("index.html").canonicalize()?;
    }
    // Of pipes and devices there is no end.
    if !found.starts_with(root) || !found.metadata()?.is_file() {
        return Err(Error::from(ErrorKind::NotFound));
    }
    let file = File::open(&found)?;
    let length = file.metadata()?.len();
    let kind = match found.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("md" | "txt" | "rs" | "toml") => "text/plain; charset=utf-8",
        Some("css") => "text/css",
        Some("js" | "mjs") => "text/javascript",
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    Ok((file, length, kind))
}
