//! One program that listens at two ports.
//!
//! The pattern: servers cost little, and one listener may serve several. The
//! listener asks the socket for what differs between them: here the port that the client has chosen.
//!
//! ```text
//! cargo run --release --example two_ports [ADDRESS [ADDRESS]]
//! ```
//!
//! Then `nc 127.0.0.1 40000` and `nc 127.0.0.1 40001`: each line comes back with `ECHO40000:` or
//! `ECHO40001:` in front.

mod common;

use std::net::SocketAddr;

use common::argument;
use nodeloop::{Loop, net};

fn main() -> nodeloop::Result<()> {
    let addresses: [SocketAddr; 2] = [
        argument(1, "ADDRESS", "127.0.0.1:40000"),
        argument(2, "ADDRESS", "127.0.0.1:40001"),
    ];
    let lp = Loop::new()?;
    for address in addresses {
        let server = net::create_server(&lp, echo);
        server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
        server.listen(address)?;
    }
    // Both servers are served by the one loop, in the one thread.
    lp.run()
}

fn echo(socket: net::Socket) {
    let Some(here) = socket.local_address() else {
        return;
    };
    let mark = format!("ECHO{}:", here.port());
    socket.on_data(move |socket, chunk| {
        socket.write(&mark);
        if !socket.write(chunk) {
            socket.pause();
        }
    });
    socket.on_drain(|socket| socket.resume());
    socket.on_error(|_, error| eprintln!("{error}"));
}
