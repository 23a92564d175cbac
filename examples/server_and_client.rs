//! A server and its client in one process, in one loop, in one thread.
//!
//! The pattern: nothing blocks, so both ends of a connection may live in one loop. The
//! client is made in the listener of 'listening': earlier there is nobody to connect to. When the
//! talk is over the server is closed, and the program ends because nothing is left.
//!
//! ```text
//! cargo run --release --example server_and_client [ADDRESS]
//! ```

mod common;

use std::net::SocketAddr;

use common::argument;
use nodeloop::{Loop, net};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:0");
    let lp = Loop::new()?;
    let server = net::create_server(&lp, serve);
    server.on_close(|_| println!("server: closed"));
    server.listen_then(address, |server| {
        let address = server.address().unwrap();
        println!("listening on {address}");
        start_client(server, address);
    })?;
    lp.run()
}

fn serve(socket: net::Socket) {
    println!("server: a client has come");
    socket.on_data(|socket, chunk| {
        println!("server: got {}", String::from_utf8_lossy(chunk));
        socket.write("Hello, client!");
    });
    socket.on_error(|_, error| eprintln!("server: {error}"));
}

/// Makes a client in the loop that `server` lives in.
fn start_client(server: net::Server, address: SocketAddr) {
    net::connect_then(&server, address, move |socket| {
        println!("client: connected");
        socket.write("Hello, server!");
        socket.on_data(|socket, chunk| {
            println!("client: got {}", String::from_utf8_lossy(chunk));
            socket.end();
        });
        socket.on_close(move |_, _| {
            println!("client: closed");
            server.close();
        });
    });
}
