//! Block lists in use: servers that close whom they don't want, sockets that don't go everywhere.

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use nodeloop::Loop;
use nodeloop::net::{self, BlockList, ConnectOptions, ServerOptions};
use support::*;

fn local_list() -> BlockList {
    let list = BlockList::new();
    list.add_address(Ipv4Addr::LOCALHOST).unwrap();
    list
}

#[test]
fn n94_who_is_on_the_list_is_closed_and_nobody_is_told() {
    if tcp_only("a peer without an address is on no list") {
        return;
    }
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    // Nothing here has an event when the peer has seen its end.
    let tick = lp.set_interval(5, |_| {});
    let (log, list) = (Recorder::new(), local_list());
    let options = ServerOptions::new().block_list(&list);
    let (server, address) = listening_with(&lp, options, |socket| {
        socket.resume();
        socket.end_with("welcome");
    });
    server.on_connection({
        let log = log.clone();
        move |_, _| log.note("connection")
    });
    server.on_drop({
        let log = log.clone();
        move |_, _| log.note("drop")
    });
    let blocked = client(address, |peer| ending(&peer));
    turn_until(&lp, || blocked.is_finished());
    assert_eq!(join(blocked), "end");
    assert_eq!(server.connections(), 0);
    log.expect(&[]);
    // The list is shared: what is taken off counts at once.
    list.clear();
    let welcome = client(address, |peer| read_to_end(&peer));
    turn_until(&lp, || welcome.is_finished());
    assert_eq!(join(welcome), b"welcome");
    log.expect(&["connection"]);
    tick.clear();
    server.close();
}

#[test]
fn n94_the_limit_of_connections_comes_before_the_list() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let options = ServerOptions::new().block_list(&local_list());
    let (server, address) = listening_with(&lp, options, |_| {});
    server.set_max_connections(Some(0));
    server.on_drop({
        let log = log.clone();
        move |server, _| {
            log.note("drop");
            server.close();
        }
    });
    let peer = connect(address);
    lp.run().unwrap();
    assert_eq!(ending(&peer), "end");
    log.expect(&["drop"]);
}

#[test]
fn n260_an_address_on_the_list_is_not_connected_to() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    // Nobody accepts here, and nobody comes.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let to = listener.local_addr().unwrap();
    let log = Recorder::new();
    let socket = net::connect(&lp, ConnectOptions::from(to).block_list(&local_list()));
    let attempts = log.clone();
    socket.on_connection_attempt(move |_, _| attempts.note("attempt"));
    socket.on_connection_attempt_failed(|_, _, _| unreachable!("it was not made"));
    socket.on_error({
        let log = log.clone();
        move |_, error| {
            assert_eq!(
                error.to_string(),
                "[ERR_IP_BLOCKED] IP(127.0.0.1) is blocked by net.BlockList"
            );
            log.note(code_of(error));
        }
    });
    let closed = log.clone();
    socket.on_close(move |_, had_error| closed.note(format!("close {had_error}")));
    lp.run().unwrap();
    log.expect(&["attempt", "ERR_IP_BLOCKED", "close true"]);
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn n260_a_rule_that_is_added_in_time_counts() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (log, list) = (Recorder::new(), BlockList::new());
    let to = SocketAddr::from(([127, 0, 0, 1], 9));
    let socket = net::connect(&lp, ConnectOptions::from(to).block_list(&list));
    socket.on_connection_attempt(move |_, address| list.add_address(address).unwrap());
    socket.on_error({
        let log = log.clone();
        move |_, error| log.note(code_of(error))
    });
    lp.run().unwrap();
    log.expect(&["ERR_IP_BLOCKED"]);
}
