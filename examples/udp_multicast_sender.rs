//! Sends a number to a group, once a second.
//!
//! The pattern: a sender need not be a member of the group, nor know how many members there are. On a machine
//! with several interfaces it should say which one to use; 0.0.0.0 leaves the choice to the system.
//!
//! ```text
//! cargo run --release --example udp_multicast_sender [GROUP [INTERFACE [MILLISECONDS [COUNT]]]]
//! ```
//!
//! Start some `udp_multicast_member`. On a machine without a network both want the interface
//! 127.0.0.1.

mod common;

use std::net::{Ipv4Addr, SocketAddrV4};

use common::{argument, report};
use nodeloop::{Loop, dgram};

fn main() -> nodeloop::Result<()> {
    let group: SocketAddrV4 = argument(1, "GROUP", "230.185.192.108:40000");
    let interface: Ipv4Addr = argument(2, "INTERFACE", "0.0.0.0");
    let every_ms: u64 = argument(3, "number of MILLISECONDS", "1000");
    let count: u64 = argument(4, "COUNT", "10");
    let lp = Loop::new()?;
    let socket = dgram::create_socket(&lp, dgram::SocketType::Udp4);
    socket.bind_then(0, move |socket| {
        let begun = socket
            .set_multicast_interface(interface)
            // Not farther than the next router.
            .and_then(|()| socket.set_multicast_ttl(1));
        match begun {
            Ok(()) => send(socket, group, every_ms, count),
            Err(error) => {
                eprintln!("{error}");
                report(socket.close());
            }
        }
    })?;
    socket.on_close(|_| println!("close"));
    lp.run()
}

fn send(socket: dgram::Socket, group: SocketAddrV4, every_ms: u64, count: u64) {
    println!("sending to {group}");
    let mut number = 0;
    socket.event_loop().set_interval(every_ms, move |timer| {
        number += 1;
        let is_last = number == count;
        let sent = socket.send_to_then(format!("number {number}"), group, move |sent| {
            match sent {
                Ok(_) => println!("sent {number}"),
                Err(error) => eprintln!("{error}"),
            }
            if is_last {
                report(socket.close());
            }
        });
        report(sent);
        if is_last {
            timer.clear();
        }
    });
}
