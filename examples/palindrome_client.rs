//! Asks `palindrome_server` about some lines and prints what it answers.
//!
//! The pattern: ask everything, end, and read until the server ends: its end says that the
//! answers are complete. Whether they are is the program's exit status.
//!
//! ```text
//! cargo run --release --example palindrome_client [ADDRESS [LINE …]]
//! ```

mod common;

use std::cell::Cell;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;

use common::argument;
use common::lines::Lines;
use nodeloop::{Loop, net};

/// Bytes of an answer.
const MAX_LINE: usize = 8192;

fn main() -> nodeloop::Result<ExitCode> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let given = std::env::args_os().skip(2);
    let mut questions: Vec<String> = given.map(|line| line.to_string_lossy().into()).collect();
    if questions.is_empty() {
        questions = ["level", "lovely", "été", "Step on no pets!"]
            .map(String::from)
            .to_vec();
    }
    let answers = Rc::new(Cell::new(0));
    let lp = Loop::new()?;
    let socket = net::connect(&lp, address);
    for question in &questions {
        socket.write(format!("{question}\n"));
    }
    socket.end();
    let mut lines = Lines::new(MAX_LINE);
    let count = answers.clone();
    socket.on_data(move |_, mut chunk| {
        while let Some(line) = lines.next(&mut chunk) {
            match line {
                Ok(line) => println!("{line}"),
                Err(bad) => println!("(an answer that can't be shown: {bad})"),
            }
            count.set(count.get() + 1);
        }
    });
    lp.run()?;
    if answers.get() == questions.len() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{} answers to {} questions", answers.get(), questions.len());
    Ok(ExitCode::FAILURE)
}
