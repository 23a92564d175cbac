//! Rules of UDP sockets that the scenarios of the oracle can't say.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use nodeloop::Loop;
use nodeloop::dgram::{self, SocketType};
use support::{Recorder, deadline};

// N295: what is thrown there is a panic here, which leaves `run`; the socket is bound, receives, and the
// other listeners have not been forgotten.
#[test]
fn n295_a_panic_in_listening_leaves_the_socket_bound() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let socket = dgram::create_socket(&lp, SocketType::Udp4);
    socket.once_listening(|_| panic!("in 'listening'"));
    let noted = log.clone();
    socket.on_message(move |socket, message, _| {
        noted.note(String::from_utf8_lossy(message));
        socket.close().unwrap();
    });
    socket.bind(("127.0.0.1", 0)).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| lp.run())).is_err());
    let address = socket.address().unwrap();
    assert_ne!(address.port(), 0);
    std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .send_to(b"still there", address)
        .unwrap();
    lp.run().unwrap();
    log.expect(&["still there"]);
}
