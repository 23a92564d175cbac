//! Hearing one source of a group of IPv6, with the feature that it takes.

#![cfg(all(target_os = "linux", feature = "ipv6-source-membership"))]

mod support;

use std::net::{SocketAddrV6, UdpSocket};

use nodeloop::Loop;
use nodeloop::dgram::{self, SocketType};
use support::own_network::in_own_network;
use support::{Recorder, code, deadline, turn_until};

#[test]
fn one_source_of_a_group_of_ipv6() {
    let lp = Loop::new().unwrap();
    let lo = Some("::%lo");
    let socket = dgram::create_socket(&lp, SocketType::Udp6);
    socket.bind_sync(("::1", 0)).unwrap();
    let join = |source, group, at| socket.add_source_specific_membership(source, group, at);
    let leave = |source, group, at| socket.drop_source_specific_membership(source, group, at);
    join("::1", "ff32::1", lo).unwrap();
    let again = join("::1", "ff32::1", lo).unwrap_err();
    let message = "addSourceSpecificMembership EADDRNOTAVAIL";
    assert_eq!(again.to_string(), message);
    join("::2", "ff32::1", lo).unwrap();
    assert_eq!(
        code(socket.add_membership("ff32::1", lo)),
        "EADDRINUSE",
        "of all sources"
    );
    assert_eq!(code(leave("::3", "ff32::1", lo)), "EADDRNOTAVAIL");
    leave("::1", "ff32::1", lo).unwrap();
    let again = leave("::1", "ff32::1", lo).unwrap_err();
    let message = "dropSourceSpecificMembership EADDRNOTAVAIL";
    assert_eq!(again.to_string(), message);
    assert_eq!(code(join("::1", "::5", lo)), "EINVAL", "no group");
    assert_eq!(code(join("127.0.0.1", "ff32::1", lo)), "EINVAL");
    assert_eq!(code(join("::1", "ff32::1", Some("127.0.0.1"))), "EINVAL");
    socket.add_membership("ff32::9", lo).unwrap();
    join("::1", "ff32::9", lo).unwrap();
    let four = dgram::create_socket(&lp, SocketType::Udp4);
    four.bind_sync(("127.0.0.1", 0)).unwrap();
    let refused = four.add_source_specific_membership("::1", "ff32::1", None);
    assert_eq!(code(refused), "ENOPROTOOPT");
}

#[test]
fn other_sources_of_a_group_of_ipv6_are_not_heard() {
    const SETUP: &str = "ip link set lo up && ip link add v0 type veth peer name v1 \
        && ip link set v0 up && ip link set v1 up \
        && ip addr add fd00::1/64 dev v0 nodad && ip addr add fd00::2/64 dev v0 nodad";
    const NAME: &str = "other_sources_of_a_group_of_ipv6_are_not_heard";
    in_own_network(SETUP, NAME, || {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let log = Recorder::new();
        let inner = log.clone();
        let member = dgram::create_socket(&lp, SocketType::Udp6);
        member.on_message(move |_, message, from| {
            let text = String::from_utf8_lossy(message);
            inner.note(format!("{text} {}", from.address()));
        });
        member.bind_sync(("::", 0)).unwrap();
        let port = member.address().unwrap().port();
        let probe = UdpSocket::bind("[::]:0").unwrap();
        let index = rustix::net::netdevice::name_to_index(&probe, "v0").unwrap();
        let to = SocketAddrV6::new("ff32::77".parse().unwrap(), port, 0, index);
        let say = |source: &str, text: &str| {
            let speaker = UdpSocket::bind((source, 0)).unwrap();
            speaker.send_to(text.as_bytes(), to).unwrap();
        };
        let (group, at) = ("ff32::77", Some("::%v0"));
        say("fd00::1", "before");
        member
            .add_source_specific_membership("fd00::1", group, at)
            .unwrap();
        say("fd00::2", "another source");
        say("fd00::1", "the source");
        turn_until(&lp, || log.has("the source fd00::1"));
        member
            .drop_source_specific_membership("fd00::1", group, at)
            .unwrap();
        say("fd00::1", "after");
        // Of the same way, so all that came before it is there.
        let speaker = UdpSocket::bind("[fd00::1]:0").unwrap();
        speaker.send_to(b"directly", ("fd00::1", port)).unwrap();
        turn_until(&lp, || log.has("directly fd00::1"));
        log.expect(&["the source fd00::1", "directly fd00::1"]);
        String::from("one source was heard")
    });
}
