//! Bugs that UDP sockets once had.

mod support;

use nodeloop::dgram::{self, SocketOptions, SocketType};
use nodeloop::{Loop, Result};
use support::{Recorder, code, code_of, deadline};

// N261, N278: once the second close was forgotten, and the send behind a close sent nothing and told
// nobody. Node throws for the first call behind the close, where nobody can catch it.
#[test]
fn calls_queued_behind_a_close_are_an_uncaught_error() -> Result<()> {
    for second_is_a_close in [true, false] {
        let lp = Loop::new()?;
        let _deadline = deadline(&lp, 10);
        let log = Recorder::new();
        let noted = log.clone();
        lp.on_uncaught_error(move |_, error| noted.note(code_of(error)));
        let socket = dgram::create_socket(&lp, SocketType::Udp4);
        socket.on_close(log.noting("close"));
        socket.send_to_then("lost", 9, log.noting("first"))?;
        socket.close()?;
        match second_is_a_close {
            true => socket.close()?,
            false => socket.send_to_then("lost", 9, log.noting("second"))?,
        }
        socket.send_to_then("lost", 9, log.noting("third"))?;
        lp.run()?;
        log.expect(&["ERR_SOCKET_DGRAM_NOT_RUNNING", "close"]);
    }
    Ok(())
}

// N284: once the error of a buffer size went by `on_uncaught_error`, and 'listening' came.
#[test]
#[cfg(target_os = "linux")]
fn a_buffer_size_that_cannot_be_set_is_thrown_out_of_the_binding() -> Result<()> {
    let lp = Loop::new()?;
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let noted = log.clone();
    lp.on_uncaught_error(move |_, error| noted.note(code_of(error)));
    let options = SocketOptions::new(SocketType::Udp4).recv_buffer_size(u32::MAX);
    let socket = dgram::create_socket(&lp, options);
    socket.on_listening(log.noting("listening"));
    socket.bind(("127.0.0.1", 0))?;
    let other = dgram::create_socket(&lp, options);
    other.on_listening(log.noting("listening"));
    assert_eq!(
        code(other.bind_sync(("127.0.0.1", 0))),
        "ERR_SOCKET_BUFFER_SIZE"
    );
    assert!(other.address()?.port() > 0);
    lp.set_immediate(move |_| {
        for socket in [socket, other] {
            socket.close().unwrap();
        }
    });
    lp.run()?;
    log.expect(&["ERR_SOCKET_BUFFER_SIZE"]);
    Ok(())
}
