//! The programs that pipe, each as a process with real clients.

mod support_process;

use std::io::{Read, Write};
use std::net::Shutdown;

use support_process::examples::{Client, Server, example};

#[test]
fn pipe_echo_numbers_its_clients_and_echoes_to_each() {
    let mut server = Server::start("pipe_echo", &[]);
    let mut clients: Vec<Client> = Vec::new();
    for number in 1..=3 {
        let mut client = server.connect();
        client.hears(&format!("You are client {number}"));
        server.prints(&format!("client {number} has come"));
        clients.push(client);
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let line = format!("from {n}");
        client.says(format!("{line}\n"));
        client.hears(&line);
    }
    let mut first = clients.remove(0);
    first.ends();
    assert_eq!(first.reads_rest(), b"");
    server.prints("client 1 has gone");
    clients[0].says("still\n");
    clients[0].hears("still");
}

#[test]
fn pipe_echo_echoes_more_than_any_buffer_holds() {
    let server = Server::start("pipe_echo", &[]);
    let mut client = server.connect();
    client.hears("You are client 1");
    let stream = client.stream.try_clone().expect("a descriptor is free");
    let sent = vec![7; 8 << 20];
    let sending = std::thread::spawn(move || {
        (&stream).write_all(&vec![7; 8 << 20]).expect("it reads");
        stream.shutdown(Shutdown::Write).expect("it is connected");
    });
    assert!(client.reads_rest() == sent);
    sending.join().expect("it has sent everything");
}

#[test]
fn pipe_over_has_the_last_word() {
    let mut server = Server::start("pipe_over", &[]);
    let mut client = server.connect();
    client.says("hello\n");
    client.hears("hello");
    client.ends();
    assert_eq!(client.reads_rest(), b"over\n");
    server.prints("unpiped");
    server.prints("closed");
}

#[test]
fn pipe_later_echoes_no_more_when_it_is_unpiped() {
    let mut server = Server::start("pipe_later", &["unpipe", "0.3"]);
    let mut client = server.connect();
    client.says("hello\n");
    client.hears("hello");
    server.prints("unpiped");
    client.says("too late\n");
    client.ends();
    assert_eq!(client.reads_rest(), b"no more\n");
    server.prints("closed");
}

#[test]
fn pipe_later_loses_nothing_of_what_came_before_the_pipe() {
    for what in ["pause", "timeout"] {
        let mut server = Server::start("pipe_later", &[what, "0.3"]);
        let mut client = server.connect();
        client.says("before the pipe\n");
        server.prints("piped");
        client.hears("before the pipe");
        client.says("behind it\n");
        client.hears("behind it");
        client.ends();
        assert_eq!(client.reads_rest(), b"");
        server.prints("closed");
    }
}

#[test]
fn pipe_later_knows_three_things() {
    let help = "how to run pipe_later: see the top of examples/pipe_later.rs";
    let message = format!("dance is no WHAT; {help}");
    example("pipe_later", &["127.0.0.1:0", "dance"]).fails(2, &message);
}

#[test]
fn proxy_passes_on_what_a_client_says_and_the_answer_that_comes_after_its_end() {
    let target = Server::at("127.0.0.1:0", "half_open", &["127.0.0.1:0", "100"]);
    let proxy = Server::start("proxy", &[&target.address.to_string()]);
    let direct = answer_of(target.connect());
    assert!(!direct.is_empty());
    assert_eq!(answer_of(proxy.connect()), direct);
    drop(target);
}

fn answer_of(mut client: Client) -> Vec<u8> {
    client.says("one two\nthree\n");
    client.ends();
    client.reads_rest()
}

#[test]
fn proxy_tells_a_client_that_nobody_is_there_by_closing() {
    // A port where nobody listens, held by a socket that does not listen.
    let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
        .expect("a descriptor is free");
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    held.bind(&any.into()).expect("a port is free");
    let nobody = held.local_addr().expect("it is bound").as_socket();
    let nobody = nobody.expect("an address").to_string();
    let proxy = Server::start("proxy", &[&nobody]);
    let mut client = proxy.connect();
    let mut rest = Vec::new();
    // An end or a reset: the socket is closed.
    let _ = client.stream.read_to_end(&mut rest);
    assert!(rest.is_empty());
}
