//! An echo server that has the last word.
//!
//! The pattern: a pipe ends its destination when its source has ended, unless it is asked not to. Then
//! there is time to say something, and the program ends it itself. Half-open has to be allowed: the client has
//! ended by then.
//!
//! ```text
//! cargo run --release --example pipe_over [ADDRESS]
//! ```
//!
//! Then: `printf 'hello\n' | nc -N 127.0.0.1 40000`.

mod common;

use std::net::SocketAddr;

use common::argument;
use nodeloop::stream::PipeOptions;
use nodeloop::{Loop, net};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let lp = Loop::new()?;
    let options = net::ServerOptions::new().allow_half_open(true);
    let server = net::create_server_with(&lp, options, |client| {
        client.pipe_with(client, PipeOptions::new().end(false));
        client.on_unpipe(|_, _| println!("unpiped"));
        client.on_end(|client| {
            client.unpipe(client);
            client.end_with("over\n");
        });
        client.on_error(|_, error| eprintln!("{error}"));
        client.on_close(|_, _| println!("closed"));
    });
    server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
    server.listen(address)?;
    lp.run()
}
