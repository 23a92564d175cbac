//! What keeps a program alive: servers (N46–N50). A process per row.
//!
//! `tests/support_process/liveness.rs` tells how a row is checked, and how to check the rows
//! against Node.

mod support_process;

use nodeloop::net;
use support_process::liveness::Step::*;
use support_process::liveness::{listen, row, say, say_listening};

#[test]
fn n46_an_empty_loop_ends() {
    row("say('set up');", &[Prints("set up"), Exits], |_| {
        say("set up");
    });
}

#[test]
fn n46_a_server_that_does_not_listen_holds_nothing() {
    row(
        "net.createServer(); say('made');",
        &[Prints("made"), Exits],
        |lp| {
            net::create_server(lp, |_| {});
            say("made");
        },
    );
}

#[test]
fn n47_a_listening_server_holds() {
    row(
        "listen(net.createServer());",
        &[Prints("listening"), StaysAlive],
        |lp| listen(net::create_server(lp, |_| {})),
    );
}

#[test]
fn n47_n48_an_unreferenced_server_does_not_but_still_says_that_it_listens() {
    row(
        "listen(net.createServer()).unref();",
        &[Prints("listening"), Exits],
        |lp| {
            let server = net::create_server(lp, |_| {});
            listen(server);
            server.unref();
        },
    );
}

#[test]
fn n48_unref_before_listen_is_remembered() {
    row(
        "listen(net.createServer().unref());",
        &[Prints("listening"), Exits],
        |lp| {
            let server = net::create_server(lp, |_| {});
            server.unref();
            listen(server);
        },
    );
}

#[test]
fn n48_a_look_up_of_a_literal_comes_to_its_end_on_an_unreferenced_server() {
    row(
        "const server = net.createServer();
         server.listen(0, '127.0.0.1', () => say('listening ' + server.address().port));
         server.unref();",
        &[Prints("listening"), Exits],
        |lp| {
            let server = net::create_server(lp, |_| {});
            let listening = server.listen_then(("127.0.0.1", 0), say_listening);
            listening.expect("it does not listen yet");
            server.unref();
        },
    );
}

#[test]
fn n47_ref_makes_it_hold_again() {
    row(
        "const server = listen(net.createServer());
         server.unref();
         setTimeout(() => { say('ref'); server.ref(); }, 20);",
        &[Prints("listening"), Prints("ref"), StaysAlive],
        |lp| {
            let server = net::create_server(lp, |_| {});
            listen(server);
            server.unref();
            lp.set_timeout_once(20, move |_| {
                say("ref");
                server.set_ref();
            });
        },
    );
}

#[test]
fn n47_unref_is_not_counted() {
    row(
        "listen(net.createServer()).unref().unref().ref();",
        &[Prints("listening"), StaysAlive],
        |lp| {
            let server = net::create_server(lp, |_| {});
            listen(server);
            server.unref();
            server.unref();
            server.set_ref();
        },
    );
}

#[test]
fn n47_ref_is_not_counted() {
    row(
        "listen(net.createServer()).ref().ref().unref();",
        &[Prints("listening"), Exits],
        |lp| {
            let server = net::create_server(lp, |_| {});
            listen(server);
            server.set_ref();
            server.set_ref();
            server.unref();
        },
    );
}

#[test]
fn n47_unref_in_its_own_listener_ends_the_wait() {
    row(
        "const server = listen(net.createServer());
         server.on('listening', () => server.unref());",
        &[Prints("listening"), Exits],
        |lp| {
            let server = net::create_server(lp, |_| {});
            listen(server);
            server.on_listening(net::Server::unref);
        },
    );
}

#[test]
fn n46_a_closed_server_does_not_hold() {
    row(
        "const server = listen(net.createServer());
         server.on('listening', () => server.close(() => say('closed')));",
        &[Prints("listening"), Prints("closed"), Exits],
        |lp| {
            let server = net::create_server(lp, |_| {});
            listen(server);
            server.on_listening(|server| server.close_then(|_| say("closed")));
        },
    );
}

#[test]
fn n46_n76_a_server_that_could_not_listen_does_not_hold() {
    row(
        "const server = net.createServer();
         server.on('error', (error) => say(error.code));
         server.on('close', () => say('close'));
         server.listen(0, '192.0.2.1');",
        &[Prints("EADDRNOTAVAIL"), Exits],
        |lp| {
            let server = net::create_server(lp, |_| {});
            server.on_error(|_, error| say(error.code().unwrap_or("no code")));
            server.on_close(|_| say("close"));
            server.listen(("192.0.2.1", 0)).expect("comes as an event");
        },
    );
}

#[test]
fn n49_a_closed_server_with_a_connection_holds_until_that_is_over() {
    row(
        "const server = net.createServer((socket) => {
             say('connection');
             server.close(() => say('server closed'));
             socket.on('data', () => {});
             socket.on('end', () => say('end'));
             socket.on('close', () => say('socket closed'));
         });
         listen(server);",
        &[
            Prints("listening"),
            Connects,
            Prints("connection"),
            StaysAlive,
            Ends,
            Prints("end"),
            // The count falls in `destroy`, before the socket's 'close' (N80).
            Prints("server closed"),
            Prints("socket closed"),
            Exits,
        ],
        |lp| {
            let server = net::Server::new(lp, net::ServerOptions::new());
            server.on_connection(|server, socket| {
                say("connection");
                server.close_then(|_| say("server closed"));
                socket.on_data(|_, _| {});
                socket.on_end(|_| say("end"));
                socket.on_close(|_, _| say("socket closed"));
            });
            listen(server);
        },
    );
}

#[test]
fn n50_a_socket_holds_although_its_server_is_unreferenced() {
    row(
        "const server = net.createServer((socket) => {
             say('connection');
             server.unref();
             socket.on('data', () => {});
             socket.on('close', () => say('close'));
         });
         listen(server);",
        &[
            Prints("listening"),
            Connects,
            Prints("connection"),
            StaysAlive,
            Ends,
            Prints("close"),
            Exits,
        ],
        |lp| {
            let server = net::Server::new(lp, net::ServerOptions::new());
            server.on_connection(|server, socket| {
                say("connection");
                server.unref();
                socket.on_data(|_, _| {});
                socket.on_close(|_, _| say("close"));
            });
            listen(server);
        },
    );
}

// Kept objects: Node has no such thing, its garbage collector does this.

#[test]
fn a_kept_server_does_not_hold() {
    row(
        "",
        &[
            Prints("listening"),
            Prints("close"),
            Prints("1 is kept"),
            Exits,
        ],
        |lp| {
            let server = net::create_server(lp, |_| {});
            server.keep();
            server.on_close(|_| say("close"));
            listen(server);
            server.on_listening(net::Server::close);
            lp.run().expect("no error is left unhandled");
            say(format_args!("{} is kept", lp.handles().len()));
        },
    );
}
