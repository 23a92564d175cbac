//! A DNS server that answers from a table: a real protocol over UDP.
//!
//! The pattern: the protocol stands apart from the socket. `packet` turns the bytes of a
//! question into those of an answer, and can be tested with bytes that nobody would send; the socket only
//! carries both. What can't be a question gets no answer: an answer to an answer would go back
//! and forth for ever.
//!
//! ```text
//! cargo run --release --example dns_server [ADDRESS [NAME=ADDRESS…]]
//! ```
//!
//! Then ask it: `dig @127.0.0.1 -p 5300 example.test`. A name may be given several times. Without a
//! table of your own it has `example.test`, `www.example.test` and `many.example.test`.

mod packet;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use nodeloop::{Loop, Result, dgram};
use packet::{Outcome, Table};

const ADDRESS: &str = "127.0.0.1:5300";

/// The addresses are for documentation: nobody has them.
const TABLE: [&str; 4] = [
    "example.test=192.0.2.1",
    "www.example.test=192.0.2.1",
    "many.example.test=192.0.2.2",
    "many.example.test=192.0.2.3",
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned());
    let address = arguments.next().unwrap_or(ADDRESS.into());
    let mut rows: Vec<String> = arguments.collect();
    if rows.is_empty() {
        rows = TABLE.map(String::from).into();
    }
    let Ok(address) = address.parse::<SocketAddr>() else {
        eprintln!("{address} is no address; usage: dns_server [ADDRESS:PORT [NAME=ADDRESS…]]");
        return ExitCode::from(2);
    };
    let mut table = Table::default();
    for row in rows {
        if !add(&mut table, &row) {
            eprintln!("{row} is no NAME=ADDRESS; usage: dns_server [ADDRESS:PORT [NAME=ADDRESS…]]");
            return ExitCode::from(2);
        }
    }
    match serve(address, table) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Adds a row; false if it is none.
fn add(table: &mut Table, row: &str) -> bool {
    let parts = row.split_once('=');
    let parsed = parts.and_then(|(name, address)| Some((name, address.parse::<Ipv4Addr>().ok()?)));
    parsed.is_some_and(|(name, address)| table.add(name, address))
}

fn serve(address: SocketAddr, table: Table) -> Result<()> {
    let lp = Loop::new()?;
    let family = match address.is_ipv4() {
        true => dgram::SocketType::Udp4,
        false => dgram::SocketType::Udp6,
    };
    let socket = dgram::create_socket_with(&lp, family, move |socket, question, from| {
        match table.answer(question) {
            Outcome::Answer(answer, what) => {
                println!("{from}: {what}");
                if let Err(error) = socket.send_to(answer, from) {
                    // A sender with port 0, for one.
                    eprintln!("{error}");
                }
            }
            Outcome::Drop(why) => println!("{from}: dropped: {why}"),
        }
    });
    socket.bind_then(address, |socket| {
        if let Ok(address) = socket.address() {
            println!("listening on {address}");
        }
        // A datagram that can't be sent is no reason to end.
        socket.on_error(|_, error| eprintln!("{error}"));
    })?;
    lp.run()
}
