//! A loop inside another: a program with a poll loop of its own, written by hand on mio, in which
//! nodeloop serves TCP.
//!
//! The pattern: three lines. The other loop waits for nodeloop's descriptor beside its own; it
//! waits no longer than [`poll_timeout`](nodeloop::LoopHandle::poll_timeout) says; and after each
//! wait, whatever has ended it, nodeloop runs one turn that does not wait. It goes on as long as
//! nodeloop is alive.
//!
//! The program's own part is a UDP socket that answers questions about the echo server: `count` with
//! the number of connections, `bye` by closing everything.
//!
//! ```text
//! cargo run --release --example embedded [ADDRESS [MILLISECONDS]]
//! ```
//!
//! Then `nc 127.0.0.1 40000`, and in another terminal `nc -u 127.0.0.1 40000`. A client that is silent
//! for MILLISECONDS is ended.

#[cfg(unix)]
mod common;

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    program::run(
        common::argument(1, "address", "127.0.0.1:40000"),
        common::argument(2, "number of MILLISECONDS", "60000"),
    )
}

#[cfg(not(unix))]
fn main() {
    eprintln!("only Unix has a descriptor that stands for a whole poller");
}

#[cfg(unix)]
mod program {
    use std::error::Error;
    use std::io;
    use std::net::SocketAddr;
    use std::os::fd::AsRawFd;

    use mio::net::UdpSocket;
    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};
    use nodeloop::{Loop, net};

    const NODELOOP: Token = Token(0);
    const QUESTIONS: Token = Token(1);

    /// The program: both loops.
    pub fn run(address: SocketAddr, patience_ms: u64) -> Result<(), Box<dyn Error>> {
        let lp = Loop::new()?;
        let server = echo_server(&lp, patience_ms);
        server.listen(address)?;
        let Some(address) = server.address() else {
            // Why it does not listen comes as an error of the first turn.
            lp.run()?;
            return Ok(());
        };
        let mut questions = UdpSocket::bind(address)?;

        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(16);
        let descriptor = lp.as_raw_fd();
        let registry = poll.registry();
        registry.register(&mut SourceFd(&descriptor), NODELOOP, Interest::READABLE)?;
        registry.register(&mut questions, QUESTIONS, Interest::READABLE)?;
        println!("listening on {address}");

        while lp.is_alive() {
            match poll.poll(&mut events, lp.poll_timeout()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                if event.token() == QUESTIONS {
                    answer(&questions, server)?;
                }
            }
            // Always: its timers may be due although its descriptor is not ready, and what was
            // called above may have queued something.
            lp.run_nowait()?;
        }
        println!("nothing left to do");
        Ok(())
    }

    fn echo_server(lp: &Loop, patience_ms: u64) -> net::Server {
        net::create_server(lp, move |socket| {
            socket.on_data(|socket, chunk| {
                if !socket.write(chunk) {
                    socket.pause();
                }
            });
            socket.on_drain(|socket| socket.resume());
            socket.on_error(|_, error| eprintln!("{error}"));
            // Timers of the embedded loop work as ever.
            socket.set_timeout(patience_ms);
            socket.on_timeout(move |socket| {
                // Who does not end then, or does not even read that, is cut off the next time.
                if socket.writable_ended() {
                    return socket.destroy();
                }
                socket.end_with("too slow\n");
                socket.set_timeout(patience_ms);
            });
        })
    }

    /// The program's own part: answers every question that has arrived.
    fn answer(questions: &UdpSocket, server: net::Server) -> io::Result<()> {
        let mut question = [0; 64];
        loop {
            let (length, peer) = match questions.recv_from(&mut question) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                result => result?,
            };
            let answer = match question[..length].trim_ascii() {
                b"count" => format!("connections: {}\n", server.connections()),
                b"bye" => {
                    server.close_all();
                    "bye\n".to_string()
                }
                _ => "count or bye?\n".to_string(),
            };
            // A datagram that the system does not take is lost, as datagrams may be.
            let _ = questions.send_to(answer.as_bytes(), peer);
        }
    }
}
