//! Two clients and a pipe between them: what the second sends, the first gets. A first client that
//! reads slowly slows the second down, and the program shows when.
//!
//! The pattern: backpressure. `write` returns false when enough bytes wait; writing on regardless only
//! fills memory. So the source is paused, the kernel's buffers fill up back to the sender, and the
//! sender stops too. At 'drain' the source is resumed. However much goes through, little ever waits.
//!
//! ```text
//! cargo run --release --example backpressure [ADDRESS [MILLISECONDS]]
//! ```
//!
//! Then in a second terminal the slow one, `nc 127.0.0.1 40000 > /dev/null`, and in a third the fast
//! one, `yes | nc 127.0.0.1 40000`. Ctrl-Z in the second stops its reading, `fg` starts it again.
//! A short pause is nothing special; those of at least MILLISECONDS are shown.

mod common;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use common::argument;
use nodeloop::{Loop, Timer, net};

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let show_ms: u64 = argument(2, "number of MILLISECONDS", "100");
    let lp = Loop::new()?;
    // Who reads, until somebody comes who writes.
    let waiting = Rc::new(Cell::new(None));
    let server = net::create_server(&lp, move |socket| {
        socket.on_error(|_, error| eprintln!("{error}"));
        match waiting.take() {
            None => {
                println!("the reader has come");
                waiting.set(Some(socket));
                welcome_reader(socket, waiting.clone());
            }
            Some(reader) => {
                println!("the writer has come");
                pipe(socket, reader, show_ms);
            }
        }
    });
    server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
    server.listen(address)?;
    lp.run()
}

fn welcome_reader(reader: net::Socket, waiting: Rc<Cell<Option<net::Socket>>>) {
    // What he sends interests nobody, but unread it would hide his end.
    reader.resume();
    reader.on_close(move |reader, _| {
        println!("the reader has left");
        if waiting.get() == Some(reader) {
            waiting.set(None);
        }
    });
}

/// What there is to tell of a pipe.
#[derive(Default)]
struct Tally {
    pauses: u64,
    most_waiting: usize,
    /// Runs out when a pause is worth telling.
    notice: Option<Timer>,
    is_told: bool,
}

fn pipe(source: net::Socket, sink: net::Socket, show_ms: u64) {
    let tally = Rc::new(RefCell::new(Tally::default()));

    let in_data = tally.clone();
    source.on_data(move |source, chunk| {
        if sink.write(chunk) {
            return;
        }
        source.pause();
        let mut tally = in_data.borrow_mut();
        tally.pauses += 1;
        tally.most_waiting = tally.most_waiting.max(sink.writable_length());
        let in_notice = in_data.clone();
        tally.notice = Some(source.event_loop().set_timeout(show_ms, move |_| {
            println!(
                "full: {} bytes wait, the writer is paused",
                sink.writable_length()
            );
            in_notice.borrow_mut().is_told = true;
        }));
    });

    let in_drain = tally.clone();
    sink.on_drain(move |_| {
        source.resume();
        let mut tally = in_drain.borrow_mut();
        if let Some(notice) = tally.notice.take() {
            notice.clear();
        }
        if std::mem::take(&mut tally.is_told) {
            println!("drained: the writer goes on");
        }
    });

    // Whoever ends or fails, the other ends too.
    source.on_end(move |_| sink.end());
    source.on_close(move |source, had_error| {
        let mut tally = tally.borrow_mut();
        if let Some(notice) = tally.notice.take() {
            notice.clear();
        }
        let (read, pauses, most) = (source.bytes_read(), tally.pauses, tally.most_waiting);
        println!("the writer has left: {read} bytes, {pauses} pauses, at most {most} waited");
        if had_error {
            sink.destroy();
        }
    });
    sink.on_close(move |_, _| source.destroy());
}
