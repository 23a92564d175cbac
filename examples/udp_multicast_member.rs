//! Joins a group, prints what is sent to it, and leaves after a few messages.
//!
//! The pattern: a member is a socket that is bound to the group's port and has asked the system for the
//! group. Several members on one machine share the port, so each asks for `reuse_addr`. What is sent
//! before a member has joined, or after it has left, it never hears.
//!
//! ```text
//! cargo run --release --example udp_multicast_member [GROUP [INTERFACE [COUNT]]]
//! ```
//!
//! `udp_multicast_sender` sends. On a machine without a network both want the interface 127.0.0.1.

mod common;

use std::net::{Ipv4Addr, SocketAddrV4};

use common::{argument, report};
use nodeloop::Loop;
use nodeloop::dgram::{self, SocketOptions, SocketType};

fn main() -> nodeloop::Result<()> {
    let group: SocketAddrV4 = argument(1, "GROUP", "230.185.192.108:40000");
    let interface: Ipv4Addr = argument(2, "INTERFACE", "0.0.0.0");
    let count: u64 = argument(3, "COUNT", "5");
    let lp = Loop::new()?;
    let options = SocketOptions::new(SocketType::Udp4).reuse_addr(true);
    let socket = dgram::create_socket(&lp, options);
    socket.bind_then(group.port(), move |socket| {
        if let Ok(address) = socket.address() {
            println!("listening on {address}");
        }
        match socket.add_membership(group.ip(), at(interface).as_deref()) {
            Ok(()) => println!("joined {}", group.ip()),
            Err(error) => {
                eprintln!("{error}");
                report(socket.close());
            }
        }
    })?;
    let mut heard = 0;
    socket.on_message(move |socket, message, from| {
        println!("message from {from}: {}", String::from_utf8_lossy(message));
        heard += 1;
        if heard == count {
            leave(socket, *group.ip(), interface);
        }
    });
    socket.on_close(|_| println!("close"));
    lp.run()
}

fn leave(socket: dgram::Socket, group: Ipv4Addr, interface: Ipv4Addr) {
    // The system would do it with `close`; a program that stays does it by itself.
    match socket.drop_membership(group, at(interface).as_deref()) {
        Ok(()) => println!("left {group}"),
        Err(error) => eprintln!("{error}"),
    }
    report(socket.close());
}

/// The interface, unless it is the system's choice.
fn at(interface: Ipv4Addr) -> Option<String> {
    (!interface.is_unspecified()).then(|| interface.to_string())
}
