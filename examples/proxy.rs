//! Passes every connection on to another address, and back.
//!
//! The pattern: two pipes, one for each direction, at the pace of the slower side. Each direction ends
//! by itself, so half-open is allowed on **both** sockets; without it a client that ends and waits for
//! its answer is cut off, which is the most common bug of proxies. An error of one side does not close
//! the other: each side's 'close' has to take the other with it. Bulk stays in the kernel on Linux, since
//! nobody else listens to 'data'.
//!
//! ```text
//! cargo run --release --example proxy LISTEN TARGET
//! ```
//!
//! With `half_open` as the target: `printf 'one two\n' | nc -N 127.0.0.1 40009`.

mod common;

use std::net::SocketAddr;

use common::argument;
use nodeloop::Loop;
use nodeloop::net::{self, ServerOptions, Socket, SocketOptions};

fn main() -> nodeloop::Result<()> {
    let listen: SocketAddr = argument(1, "LISTEN", "127.0.0.1:40009");
    let target: SocketAddr = argument(2, "TARGET", "127.0.0.1:40000");
    let lp = Loop::new()?;
    let options = ServerOptions::new().allow_half_open(true);
    let server = net::create_server_with(&lp, options, move |client| {
        let options = SocketOptions::new().allow_half_open(true);
        let upstream = Socket::new(&client, options);
        // It can't fail at once: the socket is new.
        let begun = upstream.connect(target);
        if let Err(error) = begun {
            client.destroy_with(error);
            return;
        }
        client.pipe(upstream).pipe(client);
        bound(client, upstream);
        bound(upstream, client);
    });
    server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
    server.listen(listen)?;
    lp.run()
}

/// When one is gone, and not by a proper end, so is the other.
fn bound(one: Socket, other: Socket) {
    one.on_error(move |_, error| eprintln!("{error}"));
    one.on_close(move |_, had_error| match had_error {
        true => other.destroy(),
        false => other.destroy_soon(),
    });
}
