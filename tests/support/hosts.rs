//! Names with several addresses, and what is at each of them.
//!
//! The addresses are those of this machine, each at the same port: one that listens, one that
//! refuses, one that is deaf (its backlog is full, so that the kernel keeps silent until there is
//! room).

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::rc::Rc;

use nodeloop::Error;
use nodeloop::net::{ConnectOptions, Socket};

use super::{Recorder, code_of};

/// What is at an address.
#[derive(Clone, Copy, PartialEq)]
pub enum Host {
    Listens,
    Refuses,
    Deaf,
}

pub use Host::{Deaf, Listens, Refuses};

/// Addresses with one port.
pub struct Network {
    pub port: u16,
    sockets: Vec<(IpAddr, socket2::Socket)>,
    /// Who fills the backlogs.
    _crowd: Vec<socket2::Socket>,
}

impl Network {
    pub fn new(hosts: &[(&str, Host)]) -> Network {
        // The port is free at the first address; others may have it at another.
        for _ in 0..50 {
            if let Some(network) = Network::try_new(hosts) {
                return network;
            }
        }
        panic!("no port is free at all addresses");
    }

    fn try_new(hosts: &[(&str, Host)]) -> Option<Network> {
        let mut network = Network {
            port: 0,
            sockets: Vec::new(),
            _crowd: Vec::new(),
        };
        for (host, kind) in hosts {
            let address = SocketAddr::new(host.parse().unwrap(), network.port);
            let socket = new_socket(address);
            socket.bind(&address.into()).ok()?;
            let bound = socket.local_addr().unwrap().as_socket().unwrap();
            network.port = bound.port();
            match kind {
                Refuses => {}
                Listens => socket.listen(16).unwrap(),
                Deaf => {
                    socket.listen(0).unwrap();
                    for _ in 0..4 {
                        let client = new_socket(bound);
                        client.set_nonblocking(true).unwrap();
                        // In progress; the first may stand already.
                        let _ = client.connect(&bound.into());
                        network._crowd.push(client);
                    }
                }
            }
            network.sockets.push((bound.ip(), socket));
        }
        Some(network)
    }

    /// To a name that has these addresses, in this order.
    pub fn name(&self, addresses: &[&str]) -> ConnectOptions {
        let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        ConnectOptions::new("name", self.port)
            .lookup(move |_, _, answer| answer.found(addresses.clone()))
    }

    /// The listener at an address, from now on a user's.
    pub fn listener(&mut self, ip: &str) -> TcpListener {
        let ip: IpAddr = ip.parse().unwrap();
        let at = self.sockets.iter().position(|(it, _)| *it == ip).unwrap();
        self.sockets.remove(at).1.into()
    }
}

fn new_socket(address: SocketAddr) -> socket2::Socket {
    let domain = socket2::Domain::for_address(address);
    socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap()
}

/// Notes what a socket says while it connects, but for 'lookup'.
pub fn follow_connecting(socket: Socket, log: &Recorder) -> Rc<RefCell<Option<Error>>> {
    let seen = log.clone();
    socket.on_connection_attempt(move |_, to| seen.note(format!("attempt {}", to.ip())));
    let seen = log.clone();
    socket.on_connection_attempt_failed(move |_, to, error| {
        seen.note(format!("failed {} {}", to.ip(), code_of(error)));
    });
    let seen = log.clone();
    socket.on_connection_attempt_timeout(move |_, to| seen.note(format!("timeout {}", to.ip())));
    let seen = log.clone();
    socket.on_connect(move |socket| {
        let peer = socket.remote_address().unwrap();
        seen.note(format!("connect {}", peer.ip()));
    });
    let seen = log.clone();
    let kept: Rc<RefCell<Option<Error>>> = Rc::default();
    let error_of = kept.clone();
    socket.on_error(move |_, error| {
        seen.note(format!("error {}", code_of(error)));
        error_of.replace(Some(error.clone()));
    });
    let seen = log.clone();
    socket.on_close(move |_, had_error| seen.note(format!("close {had_error}")));
    kept
}

/// The addresses that a socket has tried.
pub fn attempted(socket: Socket) -> Vec<String> {
    let addresses = socket.auto_select_family_attempted_addresses();
    addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect()
}
