//! Block lists of UDP sockets.

mod support;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use nodeloop::Loop;
use nodeloop::dgram::{self, SocketOptions, SocketType};
use nodeloop::net::BlockList;
use support::udp::*;
use support::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Both ways of writing.
fn loops() -> [Loop; 2] {
    [true, false].map(|gather| Loop::builder().gather(gather).build().unwrap())
}

#[test]
fn n296_rules_that_are_added_later_count() {
    for lp in loops() {
        let _deadline = deadline(&lp, 10);
        let (coming, going) = (BlockList::new(), BlockList::new());
        let options = SocketOptions::new(SocketType::Udp4)
            .receive_block_list(&coming)
            .send_block_list(&going);
        let socket = dgram::create_socket(&lp, options);
        let log = Recorder::new();
        follow(&log, socket);
        let address = socket.bind_sync(("127.0.0.1", 0)).unwrap();
        let (peer, to) = peer();
        peer.send_to(b"one", address).unwrap();
        turn_until(&lp, || log.has("message one"));
        socket.send_to("hello", to).unwrap();
        lp.run_nowait().unwrap();
        assert_eq!(receive(&peer), b"hello");
        log.expect(&["listening", "message one"]);
        coming.add_address(HERE).unwrap();
        // It waits for its tick when the rule comes.
        socket.send_to("unsaid", to).unwrap();
        socket
            .send_to_then("unsaid", to, sent(&log, "told"))
            .unwrap();
        going.add_address(HERE).unwrap();
        peer.send_to(b"two", address).unwrap();
        let received = lp.counts().datagrams_received;
        turn_until(&lp, || lp.counts().datagrams_received > received);
        log.expect(&["told ERR_IP_BLOCKED"]);
        assert_eq!(socket.send_queue_count(), 0);
        peer.set_nonblocking(true).unwrap();
        assert!(peer.recv(&mut [0; 8]).is_err(), "something was sent");
        socket.close().unwrap();
        lp.run().unwrap();
        log.expect(&["close"]);
    }
}

/// Also where the listener has called nothing of ours, and where they were received together.
#[test]
fn n296_a_rule_that_a_listener_adds_holds_for_what_is_behind() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let coming = BlockList::new();
    let options = SocketOptions::new(SocketType::Udp4).receive_block_list(&coming);
    let socket = dgram::create_socket(&lp, options);
    let heard = Rc::new(Cell::new(0));
    let hearing = heard.clone();
    socket.on_message(move |_, _, _| {
        hearing.set(hearing.get() + 1);
        coming.add_address(HERE).unwrap();
    });
    let address = socket.bind_sync(("127.0.0.1", 0)).unwrap();
    let (peer, _) = peer();
    for datagram in [b"one", b"two", b"six"] {
        peer.send_to(datagram, address).unwrap();
    }
    turn_until(&lp, || lp.counts().datagrams_received == 3);
    lp.run_nowait().unwrap();
    assert_eq!(heard.get(), 1);
}

#[test]
fn n296_a_name_is_held_against_the_list_when_it_is_known() {
    for lp in loops() {
        let _deadline = deadline(&lp, 10);
        let list = BlockList::new();
        list.add_cidr("127.0.0.0/8").unwrap();
        let options = SocketOptions::new(SocketType::Udp4)
            .send_block_list(&list)
            .lookup(|_, _, answer| answer.found([HERE]));
        let socket = dgram::create_socket(&lp, options);
        let log = Recorder::new();
        follow(&log, socket);
        socket
            .send_to_then("x", ("somebody", 40_000), sent(&log, "sent"))
            .unwrap();
        let told = log.clone();
        socket
            .connect_then(("somebody", 40_000), move |result| {
                told.note(format!("connected {}", code(result)));
            })
            .unwrap();
        turn_until(&lp, || log.has("sent ERR_IP_BLOCKED"));
        turn_until(&lp, || log.has("connected ERR_IP_BLOCKED"));
        // It is as it was before.
        assert_eq!(
            code(socket.remote_address()),
            "ERR_SOCKET_DGRAM_NOT_CONNECTED"
        );
        let error = socket.connect_sync((HERE, 40_000)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "[ERR_IP_BLOCKED] IP(127.0.0.1) is blocked by net.BlockList"
        );
        socket.close().unwrap();
        lp.run().unwrap();
    }
}

#[test]
fn n296_a_peer_that_is_connected_already_stays() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let list = BlockList::new();
    let options = SocketOptions::new(SocketType::Udp4).send_block_list(&list);
    let socket = dgram::create_socket(&lp, options);
    let (peer, to) = peer();
    socket.connect_sync(to).unwrap();
    list.add_address(HERE).unwrap();
    let result = outcome(&lp, |done| socket.send_then("x", done).unwrap());
    assert_eq!(result.unwrap(), 1);
    assert_eq!(receive(&peer), b"x");
    socket.close().unwrap();
    lp.run().unwrap();
}
