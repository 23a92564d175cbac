//! A UDP server that closes after eight seconds.
//!
//! The pattern: a bound socket keeps the program alive, and nothing else does here; when the timer has
//! closed it, `run` returns. A program that has other things to do would `unref` the socket instead.
//!
//! ```text
//! cargo run --release --example udp_closing [ADDRESS [MILLISECONDS]]
//! ```

mod common;

use std::net::SocketAddr;

use common::{argument, family_of, report};
use nodeloop::{Loop, dgram};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let open_ms: u64 = argument(2, "number of MILLISECONDS", "8000");
    let lp = Loop::new()?;
    let socket = dgram::create_socket(&lp, family_of(address));
    socket.on_message(|_, message, from| {
        println!("message from {from}: {}", String::from_utf8_lossy(message));
    });
    socket.on_close(|_| println!("close"));
    socket.bind_then(address, move |socket| {
        if let Ok(address) = socket.address() {
            println!("listening on {address}");
        }
        socket
            .event_loop()
            .set_timeout(open_ms, move |_| report(socket.close()));
    })?;
    lp.run()
}
