//! What keeps a program alive: accepted sockets (N50–N53). A process per row.
//!
//! `tests/support_process/liveness.rs` tells how a row is checked, and how to check the rows
//! against Node.

mod support_process;

use nodeloop::{Loop, net};
use support_process::liveness::Step::{self, *};
use support_process::liveness::{listen, row, say};

/// More than socket buffers take, so that some of it waits.
const MUCH: usize = 16 * 1024 * 1024;

/// A server that closes itself at its first connection, so that only the socket is left to hold.
fn with_one_socket(
    lp: &Loop,
    options: net::ServerOptions,
    mut then: impl FnMut(net::Socket) + 'static,
) {
    let server = net::Server::new(lp, options);
    server.on_connection(move |server, socket| {
        say("connection");
        server.close();
        then(socket);
    });
    listen(server);
}

/// The same in JavaScript.
macro_rules! one_socket_in_node {
    ($options:literal, $then:literal) => {
        concat!(
            "const server = net.createServer(",
            $options,
            ", (socket) => { say('connection'); server.close(); ",
            $then,
            "}); listen(server);"
        )
    };
}

const ENDS_AT_ONCE: &[Step] = &[Prints("listening"), Connects, Prints("connection"), Exits];

const GOES_ON: &[Step] = &[
    Prints("listening"),
    Connects,
    Prints("connection"),
    StaysAlive,
];

#[test]
fn n50_an_unreferenced_socket_does_not_hold() {
    row(
        one_socket_in_node!("{}", "socket.unref();"),
        ENDS_AT_ONCE,
        |lp| with_one_socket(lp, net::ServerOptions::new(), net::Socket::unref),
    );
}

#[test]
fn n50_ref_and_unref_of_a_socket_are_not_counted() {
    row(
        one_socket_in_node!("{}", "socket.unref().unref().ref();"),
        GOES_ON,
        |lp| {
            with_one_socket(lp, net::ServerOptions::new(), |socket| {
                socket.unref();
                socket.unref();
                socket.set_ref();
            });
        },
    );
}

#[test]
fn n51_a_socket_that_nobody_listens_to_reads_and_holds() {
    row(one_socket_in_node!("{}", ""), GOES_ON, |lp| {
        with_one_socket(lp, net::ServerOptions::new(), |_| {});
    });
}

#[test]
fn n51_a_socket_of_a_pause_on_connect_server_does_not_hold() {
    row(
        one_socket_in_node!(
            "{ pauseOnConnect: true }",
            "socket.on('close', () => say('close'));"
        ),
        ENDS_AT_ONCE,
        |lp| {
            let options = net::ServerOptions::new().pause_on_connect(true);
            with_one_socket(lp, options, |socket| {
                socket.on_close(|_, _| say("close"));
            });
        },
    );
}

#[test]
fn n51_one_that_is_resumed_does() {
    row(
        one_socket_in_node!("{ pauseOnConnect: true }", "socket.resume();"),
        GOES_ON,
        |lp| {
            let options = net::ServerOptions::new().pause_on_connect(true);
            with_one_socket(lp, options, net::Socket::resume);
        },
    );
}

#[test]
fn n51_a_paused_socket_that_still_reads_holds() {
    row(
        one_socket_in_node!("{}", "socket.on('data', () => {}); socket.pause();"),
        &[
            Prints("listening"),
            Connects,
            Prints("connection"),
            Sends(1000),
            StaysAlive,
        ],
        |lp| {
            with_one_socket(lp, net::ServerOptions::new(), |socket| {
                socket.on_data(|_, _| {});
                socket.pause();
            });
        },
    );
}

#[test]
fn n51_a_paused_socket_whose_buffer_is_full_does_not() {
    row(
        one_socket_in_node!("{}", "socket.on('data', () => {}); socket.pause();"),
        &[
            Prints("listening"),
            Connects,
            Prints("connection"),
            Sends(1_000_000),
            Exits,
        ],
        |lp| {
            with_one_socket(lp, net::ServerOptions::new(), |socket| {
                socket.on_data(|_, _| {});
                socket.pause();
            });
        },
    );
}

#[test]
fn n51_nor_does_one_that_nobody_listens_to_when_its_buffer_is_full() {
    row(
        one_socket_in_node!("{ highWaterMark: 16 }", ""),
        &[
            Prints("listening"),
            Connects,
            Prints("connection"),
            Sends(16),
            Exits,
        ],
        |lp| with_one_socket(lp, net::ServerOptions::new().high_water_mark(16), |_| {}),
    );
}

#[test]
fn n51_room_in_the_buffer_makes_it_read_and_hold_again() {
    row(
        one_socket_in_node!(
            "{ highWaterMark: 16 }",
            "setTimeout(() => { say('resume'); socket.resume(); }, 200);"
        ),
        &[
            Prints("listening"),
            Connects,
            Prints("connection"),
            Sends(16),
            Prints("resume"),
            StaysAlive,
        ],
        |lp| {
            with_one_socket(
                lp,
                net::ServerOptions::new().high_water_mark(16),
                |socket| {
                    socket.event_loop().set_timeout_once(200, move |_| {
                        say("resume");
                        socket.resume();
                    });
                },
            );
        },
    );
}

#[test]
fn n51_a_half_open_socket_whose_peer_has_ended_does_not_hold() {
    row(
        one_socket_in_node!(
            "{ allowHalfOpen: true }",
            "socket.on('data', () => {});
             socket.on('end', () => say('end'));
             socket.on('close', () => say('close'));"
        ),
        &[
            Prints("listening"),
            Connects,
            Prints("connection"),
            Ends,
            Prints("end"),
            Exits,
        ],
        |lp| {
            let options = net::ServerOptions::new().allow_half_open(true);
            with_one_socket(lp, options, |socket| {
                socket.on_data(|_, _| {});
                socket.on_end(|_| say("end"));
                socket.on_close(|_, _| say("close"));
            });
        },
    );
}

#[test]
fn n51_a_socket_that_has_ended_its_own_side_holds_while_it_reads() {
    row(
        one_socket_in_node!(
            "{}",
            "socket.on('data', () => {});
             socket.on('finish', () => say('finish'));
             socket.on('close', () => say('close'));
             socket.end();"
        ),
        &[
            Prints("listening"),
            Connects,
            Prints("connection"),
            Prints("finish"),
            StaysAlive,
            Ends,
            Prints("close"),
            Exits,
        ],
        |lp| {
            with_one_socket(lp, net::ServerOptions::new(), |socket| {
                socket.on_data(|_, _| {});
                socket.on_finish(|_| say("finish"));
                socket.on_close(|_, _| say("close"));
                socket.end();
            });
        },
    );
}

#[test]
fn n53_a_queued_write_on_an_unreferenced_socket_holds_until_it_is_through() {
    row(
        one_socket_in_node!(
            "{}",
            "socket.unref();
             socket.write(Buffer.alloc(16 * 1024 * 1024), () => say('written'));
             say('queued ' + socket.writableLength);"
        ),
        &[
            Prints("listening"),
            Connects,
            Prints("connection"),
            Prints("queued 16777216"),
            StaysAlive,
            Reads(MUCH),
            Prints("written"),
            Exits,
        ],
        |lp| {
            with_one_socket(lp, net::ServerOptions::new(), |socket| {
                socket.unref();
                socket.write_then(vec![0; MUCH], |_| say("written"));
                say(format_args!("queued {}", socket.writable_length()));
            });
        },
    );
}

#[test]
fn n53_a_queued_write_holds_although_nothing_is_read() {
    row(
        one_socket_in_node!(
            "{ pauseOnConnect: true }",
            "socket.write(Buffer.alloc(16 * 1024 * 1024), () => say('written'));"
        ),
        &[
            Prints("listening"),
            Connects,
            Prints("connection"),
            StaysAlive,
            Reads(MUCH),
            Prints("written"),
            Exits,
        ],
        |lp| {
            let options = net::ServerOptions::new().pause_on_connect(true);
            with_one_socket(lp, options, |socket| {
                socket.write_then(vec![0; MUCH], |_| say("written"));
            });
        },
    );
}

#[test]
fn n53_a_half_close_on_an_unreferenced_socket_holds_until_it_is_done() {
    row(
        one_socket_in_node!(
            "{}",
            "socket.unref();
             socket.on('finish', () => say('finish'));
             socket.on('close', () => say('close'));
             socket.end('bye');"
        ),
        &[
            Prints("listening"),
            Connects,
            Prints("connection"),
            Prints("finish"),
            Exits,
        ],
        |lp| {
            with_one_socket(lp, net::ServerOptions::new(), |socket| {
                socket.unref();
                socket.on_finish(|_| say("finish"));
                socket.on_close(|_, _| say("close"));
                socket.end_with("bye");
            });
        },
    );
}

#[test]
fn n53_the_callback_of_a_small_write_comes_on_an_unreferenced_socket() {
    row(
        one_socket_in_node!(
            "{}",
            "socket.unref(); socket.write('x', () => say('written'));"
        ),
        &[
            Prints("listening"),
            Connects,
            Prints("connection"),
            Prints("written"),
            Exits,
        ],
        |lp| {
            with_one_socket(lp, net::ServerOptions::new(), |socket| {
                socket.unref();
                socket.write_then("x", |_| say("written"));
            });
        },
    );
}

#[test]
fn n127_a_destroyed_socket_holds_until_its_close_although_it_is_unreferenced() {
    row(
        one_socket_in_node!(
            "{}",
            "socket.unref();
             socket.on('close', () => say('close'));
             socket.destroy();"
        ),
        &[
            Prints("listening"),
            Connects,
            Prints("connection"),
            Prints("close"),
            Exits,
        ],
        |lp| {
            with_one_socket(lp, net::ServerOptions::new(), |socket| {
                socket.unref();
                socket.on_close(|_, _| say("close"));
                socket.destroy();
            });
        },
    );
}

#[test]
fn n194_an_unreferenced_socket_whose_write_is_cancelled_by_destroy_ends() {
    row(
        one_socket_in_node!(
            "{}",
            "socket.unref();
             socket.write(Buffer.alloc(16 * 1024 * 1024), (error) => say(error.code));
             socket.on('close', () => say('close'));
             setTimeout(() => socket.destroy(), 10);"
        ),
        &[
            Prints("listening"),
            Connects,
            Prints("connection"),
            Prints("ECANCELED"),
            Prints("close"),
            Exits,
        ],
        |lp| {
            with_one_socket(lp, net::ServerOptions::new(), |socket| {
                socket.unref();
                socket.write_then(vec![0; MUCH], |result| {
                    let error = result.expect_err("it was cancelled");
                    say(error.code().unwrap_or("no code"));
                });
                socket.on_close(|_, _| say("close"));
                socket
                    .event_loop()
                    .set_timeout_once(10, move |_| socket.destroy());
            });
        },
    );
}

// Node has no such thing: its garbage collector does this.

#[test]
fn a_kept_socket_does_not_hold() {
    row(
        "",
        &[
            Prints("listening"),
            Connects,
            Prints("connection"),
            Prints("close"),
            Prints("1 is kept"),
            Exits,
        ],
        |lp| {
            with_one_socket(lp, net::ServerOptions::new(), |socket| {
                socket.keep();
                socket.on_close(|_, _| say("close"));
                socket.destroy();
            });
            lp.run().expect("no error is left unhandled");
            say(format_args!("{} is kept", lp.handles().len()));
        },
    );
}
