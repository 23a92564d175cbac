//! Says whether each line is a palindrome.
//!
//! The pattern: text comes in lines, and a line is decoded when it is whole, so that no character
//! is cut in two (`common/lines.rs`). What a client sends is bounded twice: a line has a limit, and
//! a client who does not read its answers is not read either.
//!
//! ```text
//! cargo run --release --example palindrome_server [ADDRESS]
//! ```
//!
//! Then run `palindrome_client`, or `nc 127.0.0.1 40000` and type lines. Only letters and digits
//! count, in any case: "A man, a plan, a canal: Panama" is one. They are compared by characters, not
//! by bytes: "été" is one. A line without a letter or a digit is none.

mod common;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use common::argument;
use common::lines::{BadLine, Lines};
use nodeloop::{Loop, net};

/// Bytes of a line.
const MAX_LINE: usize = 4096;

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let lp = Loop::new()?;
    let server = net::create_server(&lp, on_connection);
    server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
    server.listen(address)?;
    lp.run()
}

fn on_connection(socket: net::Socket) {
    let lines = Rc::new(RefCell::new(Lines::new(MAX_LINE)));
    let unfinished = lines.clone();
    socket.on_data(move |socket, mut chunk| {
        while let Some(line) = lines.borrow_mut().next(&mut chunk) {
            if !socket.write(answer(line)) {
                socket.pause();
            }
        }
    });
    socket.on_drain(|socket| socket.resume());
    // The last line may lack its end. In 'end' there is still time to answer it.
    socket.on_end(move |socket| {
        if let Some(line) = unfinished.borrow_mut().rest() {
            socket.write(answer(line));
        }
    });
    socket.on_error(|_, error| eprintln!("{error}"));
}

fn answer(line: Result<String, BadLine>) -> String {
    match line {
        Ok(line) if is_palindrome(&line) => format!("yes: {line}\n"),
        Ok(line) => format!("no: {line}\n"),
        Err(bad) => format!("error: {bad}\n"),
    }
}

fn is_palindrome(line: &str) -> bool {
    let counting = line.chars().filter(|c| c.is_alphanumeric());
    let letters: Vec<char> = counting.flat_map(char::to_lowercase).collect();
    !letters.is_empty() && letters.iter().eq(letters.iter().rev())
}
