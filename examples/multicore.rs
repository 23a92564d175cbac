//! An echo server on all cores.
//!
//! The pattern: a loop belongs to its thread, so more cores are more loops. Each listens at the same
//! port, for itself, and the system spreads the connections over them. Nothing is shared, so nothing
//! is locked; what loops have to tell each other goes through channels.
//!
//! ```text
//! cargo run --release --example multicore [ADDRESS]
//! ```

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use nodeloop::net::{self, ListenOptions};
use nodeloop::{Error, Loop, Result};

fn main() -> ExitCode {
    // Not `args`, which panics at what is no text.
    let argument = std::env::args_os().nth(1);
    let address = argument.map_or("127.0.0.1:40000".into(), |it| {
        it.to_string_lossy().into_owned()
    });
    let Ok(address) = address.parse::<SocketAddr>() else {
        eprintln!("{address} is no address; usage: multicore [ADDRESS:PORT]");
        return ExitCode::from(2);
    };
    match serve(address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the loops, one after the other: the first may choose the port.
fn serve(mut address: SocketAddr) -> Result<()> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (sender, said) = channel();
    for number in 1..=cores {
        let sender = sender.clone();
        thread::spawn(move || {
            if let Err(error) = run(number, address, &sender) {
                let _ = sender.send(Err(error));
            }
        });
        if let Ok(listens_at) = said.recv() {
            address = listens_at?;
        }
    }
    println!("listening on {address}");
    println!("with {cores} loops");
    drop(sender);
    // A loop that ends says why, unless it panics; the others go on then.
    match said.recv() {
        Ok(last) => last.map(drop),
        Err(_) => Err(Error::new("no loop is left")),
    }
}

/// One loop; tells where it listens.
fn run(number: usize, address: SocketAddr, said: &Sender<Result<SocketAddr>>) -> Result<()> {
    let lp = Loop::new()?;
    let server = net::create_server(&lp, move |socket| {
        println!("loop {number} has a connection");
        socket.on_data(|socket, chunk| {
            if !socket.write(chunk) {
                socket.pause();
            }
        });
        socket.on_drain(|socket| socket.resume());
        socket.on_error(move |_, error| println!("loop {number}: {error}"));
    });
    let said = said.clone();
    server.on_listening(move |server| {
        if let Some(address) = server.address() {
            let _ = said.send(Ok(address));
        }
    });
    server.listen(ListenOptions::from(address).reuse_port(true))?;
    lp.run()
}
