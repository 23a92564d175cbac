//! Connects a UDP socket, sends, and closes.
//!
//! The pattern: `connect` sends nothing, it only remembers the peer. From then on `send` needs no address
//! and hands its datagram to the system at once, so `close` may follow on the next line. A datagram with
//! an address goes out on the next tick, so a `close` on the next line would keep it from being sent:
//! close in the completion instead.
//!
//! ```text
//! cargo run --release --example udp_connected [ADDRESS [TEXT…]]
//! ```

mod common;

use std::net::SocketAddr;

use common::{argument, family_of};
use nodeloop::{Loop, dgram};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let texts: Vec<String> = std::env::args_os()
        .skip(2)
        .map(|text| text.to_string_lossy().into_owned())
        .collect();
    let lp = Loop::new()?;
    let socket = dgram::create_socket(&lp, family_of(address));
    socket.connect_then(address, move |connected| {
        if let Err(error) = connected.and_then(|()| send_all(socket, &texts)) {
            // A socket that is bound would keep the program alive.
            socket.event_loop().fail(error);
        }
    })?;
    socket.on_close(|_| println!("close"));
    lp.run()
}

fn send_all(socket: dgram::Socket, texts: &[String]) -> nodeloop::Result<()> {
    println!(
        "{} is connected to {}",
        socket.address()?,
        socket.remote_address()?
    );
    for text in texts {
        socket.send(text)?;
    }
    socket.close()
}
