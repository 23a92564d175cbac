//! A server that is started with sockets which listen already.
//!
//! The pattern: a service manager binds the ports, as root if they need that, and starts the program
//! when somebody connects; while it is restarted, connections wait instead of being refused. What it
//! passes are the descriptors from 3 on. `LISTEN_FDS` says how many there are, and `LISTEN_PID` which
//! process they are meant for (systemd's sd_listen_fds). Taking over a descriptor by its number is left to
//! a crate that checks it; the server then listens on an ordinary `std` listener.
//!
//! ```text
//! cargo run --release --example activated # says that nothing was passed
//! systemd-socket-activate -l 40000 -l /tmp/hello.sock target/release/examples/activated
//! nc 127.0.0.1 40000
//! ```

use std::process::ExitCode;

fn main() -> ExitCode {
    match serve() {
        Ok(0) => {
            eprintln!("no sockets were passed: let a service manager start this");
            ExitCode::from(2)
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves every socket that was passed; gives their number.
#[cfg(unix)]
fn serve() -> nodeloop::Result<usize> {
    use listenfd::ListenFd;
    use nodeloop::{Loop, net};

    let mut passed = ListenFd::from_env();
    let lp = Loop::new()?;
    for number in 0..passed.len() {
        let server = net::create_server(&lp, |socket| {
            socket.on_error(|_, error| eprintln!("{error}"));
            socket.end_with("hello\n");
            // What the client sends is of no interest, but its end is behind it.
            socket.resume();
        });
        server.on_listening(|server| match (server.path(), server.address()) {
            (Some(path), _) => println!("listening on unix:{}", path.display()),
            (None, Some(address)) => println!("listening on {address}"),
            (None, None) => {}
        });
        // A descriptor is of one kind or of the other, or it is an error.
        match passed.take_unix_listener(number) {
            Ok(Some(listener)) => server.listen(listener)?,
            _ => {
                if let Some(listener) = passed.take_tcp_listener(number)? {
                    server.listen(listener)?;
                }
            }
        }
    }
    lp.run()?;
    Ok(passed.len())
}

#[cfg(not(unix))]
fn serve() -> nodeloop::Result<usize> {
    Ok(0)
}
