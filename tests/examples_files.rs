//! The examples about files and standard streams, each as a process with a real peer.

mod support_process;

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use support_process::examples::{Server, accept, example, is_installed};
use support_process::files::Scratch;

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it listens").to_string();
    (listener, address)
}

#[test]
fn interactive_client_sends_lines_and_prints_answers_until_quit() {
    let (listener, address) = listener();
    let mut client = example("interactive_client", &[&address]);
    let mut stdin = client.stdin();
    let mut peer = accept(&listener);
    client.prints(&format!("connected to {address}; Quit ends"));
    stdin.write_all(b"one\ntwo\r\n").expect("it reads");
    peer.hears_all(&["one", "two"]);
    // A character in two pieces.
    peer.says(b"gr\xC3");
    peer.says(b"\xBC\xC3\x9F\n");
    client.prints("grüß");
    stdin.write_all(b"Quit\n").expect("it reads");
    peer.hears_end();
    drop(peer);
    client.prints("connection closed");
    client.ends_well();
}

#[test]
fn interactive_client_ends_with_its_input_and_with_its_server() {
    let (listener, address) = listener();
    let mut client = example("interactive_client", &[&address]);
    let mut peer = accept(&listener);
    client.prints(&format!("connected to {address}; Quit ends"));
    let mut stdin = client.stdin();
    stdin.write_all(b"no end of the line").expect("it reads");
    drop(stdin);
    peer.hears("no end of the line");
    peer.hears_end();
    drop(peer);
    client.prints("connection closed");
    client.ends_well();
    let mut client = example("interactive_client", &[&address]);
    let _stdin = client.stdin();
    drop(accept(&listener));
    client.prints(&format!("connected to {address}; Quit ends"));
    client.prints("connection closed");
    client.ends_well();
}

#[test]
fn save_to_file_appends_what_each_connection_sends() {
    let scratch = Scratch::new();
    scratch.file("saved", "before\n");
    let path = scratch.name("saved");
    let mut server = Server::start("save_to_file", &[&path]);
    let large = "0123456789".repeat(50_000);
    for text in ["first\n", &large] {
        let mut client = server.connect();
        client.says(text);
        client.ends();
        server.prints(&format!("saved {} bytes", text.len()));
        client.hears_end();
    }
    let saved = std::fs::read_to_string(&path).expect("it is there");
    assert!(saved == format!("before\nfirst\n{large}"));
}

#[test]
fn save_to_file_survives_what_it_can_not_save_and_keeps_what_came_before_a_reset() {
    let scratch = Scratch::new();
    let mut server = Server::start("save_to_file", &[&scratch.name("nowhere/file")]);
    for _ in 0..2 {
        // It sends nothing: what is not read would make the end a reset.
        server.connect().hears_end();
    }
    drop(server);
    server = Server::start("save_to_file", &[&scratch.name("file")]);
    let mut client = server.connect();
    client.says("before the reset");
    client.resets();
    // Whether the reset overtakes the text is the system's.
    let line = server.line().expect("it goes on");
    assert!(
        ["saved 16 bytes", "saved 0 bytes"].contains(&line.as_str()),
        "{line}"
    );
}

#[test]
fn send_file_sends_it_all_and_what_save_to_file_saves_is_the_same() {
    let scratch = Scratch::new();
    let content: Vec<u8> = (0..=250).cycle().take(3_000_000).collect();
    scratch.file("source", &content);
    let source = scratch.name("source");
    let target = scratch.name("target");
    let mut server = Server::start("save_to_file", &[&target]);
    let address = server.address.to_string();
    let mut client = example("send_file", &[&source, &address]);
    client.prints("sent 3000000 bytes");
    client.ends_well();
    server.prints("saved 3000000 bytes");
    assert!(std::fs::read(&target).expect("it is there") == content);
}

#[test]
fn send_file_says_what_is_wrong_and_fails() {
    let (_listener, address) = listener();
    let message = "Error: ENOENT: no such file or directory, open '/nowhere/at/all'";
    example("send_file", &["/nowhere/at/all", &address]).fails(1, message);
}

#[test]
fn send_file_sends_it_all_to_a_server_that_has_ended_and_fails_if_it_has_left() {
    let scratch = Scratch::new();
    // More than the kernel keeps.
    let large = 20_000_000;
    scratch.file("large", vec![b'x'; large]);
    let path = scratch.name("large");
    let (listener, address) = listener();
    let mut sender = example("send_file", &[&path, &address]);
    let mut peer = accept(&listener);
    peer.says("welcome");
    peer.ends();
    assert_eq!(peer.reads_rest().len(), large);
    sender.prints(&format!("sent {large} bytes"));
    sender.ends_well();
    let mut sender = example("send_file", &[&path, &address]);
    drop(accept(&listener));
    let ended = sender.ended(|line| panic!("it printed {line:?}"));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
}

#[test]
fn senders_end_beside_a_server_that_answers() {
    let scratch = Scratch::new();
    let server = Server::start("echo", &[]);
    let address = server.address.to_string();
    // More than the kernel keeps, there and back.
    let large = 20_000_000;
    scratch.file("large", vec![b'x'; large]);
    let mut sender = example("send_file", &[&scratch.name("large"), &address]);
    sender.prints(&format!("sent {large} bytes"));
    sender.ends_well();
    scratch.file("small", "small");
    let (listener, address) = listener();
    for name in ["buffer_watcher", "tail_sender"] {
        let mut sender = example(name, &[&scratch.name("small"), &address]);
        let mut peer = accept(&listener);
        peer.reads("small");
        // More than the kernel keeps.
        peer.says("x".repeat(large));
        peer.ends();
        peer.hears_end();
        drop(peer);
        let ended = sender.ended(drop);
        assert_eq!(ended.stderr, "", "{name}");
    }
}

#[test]
fn interactive_client_holds_its_input_back_while_nobody_reads() {
    /// More than the kernel keeps.
    const MUCH: usize = 48 * 1024 * 1024;
    let (listener, address) = listener();
    let mut client = example("interactive_client", &[&address]);
    let mut stdin = client.stdin();
    let mut peer = accept(&listener);
    client.prints(&format!("connected to {address}; Quit ends"));
    let lines = format!("{}\n", "x".repeat(1023)).repeat(64);
    let (sender, written) = channel();
    std::thread::spawn(move || {
        while stdin.write_all(lines.as_bytes()).is_ok() && sender.send(lines.len()).is_ok() {}
    });
    let mut taken = 0;
    while let Ok(count) = written.recv_timeout(Duration::from_secs(1)) {
        taken += count;
        assert!(taken < MUCH, "it takes everything");
    }
    // It goes on where it was.
    peer.hears(&"x".repeat(1023));
}

#[test]
fn file_server_answers_once_whatever_comes_behind_the_request() {
    let scratch = Scratch::new();
    scratch.file("index.html", "<p>index");
    let server = Server::start("file_server", &[&scratch.name("")]);
    for request in ["GET / HTTP/1.0\r\n\r\n", "POST / HTTP/1.0\r\n\r\n"] {
        let mut client = server.connect();
        client.says(request);
        let answer = client.reads_rest();
        assert!(answer.starts_with(b"HTTP/1.0 "), "{request}");
        // A second request would be answered behind the end, which is an error and a reset.
        for _ in 0..3 {
            client.says("GET / HTTP/1.0\r\n\r\n");
            let mut other = server.connect();
            other.says(request);
            assert!(other.reads_rest() == answer);
        }
        client.says("x".repeat(100_000));
        client.ends();
    }
}

/// It said that the file was not there.
#[test]
#[cfg(unix)]
fn file_server_out_of_descriptors_does_not_deny_that_a_file_is_there() {
    use std::io::Read;
    use std::time::Instant;

    use support_process::Process;
    use support_process::examples::{Client, executable};

    const REQUEST: &str = "GET /text.txt HTTP/1.0\r\n\r\n";
    let scratch = Scratch::new();
    scratch.file("text.txt", "text");
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 32 && exec \"$0\" \"$@\""])
        .arg(executable("file_server"))
        .args(["127.0.0.1:0", &scratch.name("")]);
    let mut server = Process::start(&mut command);
    let address = server.listens();
    let connect = || Client::connect(address);
    let mut clients: Vec<Client> = (0..40).map(|_| connect()).collect();
    // The last is turned away, so the descriptors are all in use.
    let last = clients.last_mut().expect("there are some");
    assert_eq!(last.reads_rest(), b"");
    clients[0].says(REQUEST);
    let answer = clients[0].reads_rest();
    assert!(answer.starts_with(b"HTTP/1.0 500 "), "{answer:?}");
    drop(clients);
    // When it has seen that they have gone, it is there.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut client = connect();
        client.says(REQUEST);
        let mut answer = Vec::new();
        // Whoever is turned away may be told by a reset.
        let _ = client.stream.read_to_end(&mut answer);
        if answer.ends_with(b"text") {
            break;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
    }
}

#[test]
fn buffer_watcher_shows_every_write() {
    let scratch = Scratch::new();
    scratch.file("five", "abcde");
    let path = scratch.name("five");
    let (listener, address) = listener();
    let mut watcher = example("buffer_watcher", &[&path, &address]);
    let mut peer = accept(&listener);
    assert_eq!(peer.reads_rest(), b"abcde");
    drop(peer);
    let lines = watcher.prints_until("write returns true, 0 bytes wait");
    let mut writes = lines.len();
    // Before the connection stands what is written waits.
    watcher.ended(|line| writes += usize::from(line.starts_with("write returns true")));
    assert_eq!(writes, 3, "two bytes, two bytes, and one: {lines:?}");
}

#[test]
fn tail_sender_sends_what_is_there_and_what_comes() {
    let scratch = Scratch::new();
    scratch.file("log", "one\n");
    let path = scratch.name("log");
    let (listener, address) = listener();
    let mut tail = example("tail_sender", &[&path, &address]);
    let mut peer = accept(&listener);
    tail.prints("connected");
    peer.hears("one");
    let mut log = std::fs::File::options()
        .append(true)
        .open(&path)
        .expect("it is there");
    for line in ["two", "three"] {
        writeln!(log, "{line}").expect("there is room");
        peer.hears(line);
    }
    std::fs::write(&path, "new\n").expect("there is room");
    peer.hears("new");
    drop(peer);
    tail.ended(drop);
}

#[test]
fn file_server_serves_its_folder_and_nothing_else() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("folder")).expect("nobody has it");
    let large: Vec<u8> = (0..=250).cycle().take(1_000_000).collect();
    scratch.file("folder/large.bin", &large);
    scratch.file("folder/with space.txt", "text");
    scratch.file("folder/index.html", "<p>index");
    scratch.file("folder/empty.txt", "");
    scratch.file("secret", "secret");
    #[cfg(unix)]
    for (name, target) in [("out", "../secret"), ("in", "index.html"), ("up", "..")] {
        let link = scratch.path(&format!("folder/{name}"));
        std::os::unix::fs::symlink(target, link).expect("nobody has it");
    }
    let server = Server::start("file_server", &[&scratch.name("folder")]);
    let get = |request: &str| {
        let mut client = server.connect();
        client.says(format!("{request}\r\nHost: here\r\n\r\n"));
        let answer = client.reads_rest();
        let split = answer.windows(4).position(|end| end == b"\r\n\r\n");
        let split = split.unwrap_or_else(|| panic!("{request}: no head")) + 4;
        let head = String::from_utf8_lossy(&answer[..split]).into_owned();
        (head, answer[split..].to_vec())
    };
    let (head, body) = get("GET /large.bin HTTP/1.1");
    assert!(
        head.starts_with("HTTP/1.0 200 OK\r\nContent-Length: 1000000\r\n"),
        "{head}"
    );
    assert!(body == large);
    for (path, expected) in [
        ("/with%20space.txt", "text"),
        ("/", "<p>index"),
        ("/index.html?query#part", "<p>index"),
        ("/empty.txt", ""),
        ("/folder/../index.html", ""),
        ("/in", if cfg!(unix) { "<p>index" } else { "" }),
    ] {
        let (head, body) = get(&format!("GET {path} HTTP/1.0"));
        assert_eq!(String::from_utf8_lossy(&body), expected, "{path}: {head}");
    }
    let (head, body) = get("HEAD /large.bin HTTP/1.0");
    assert!(head.contains("Content-Length: 1000000") && body.is_empty());
    for path in [
        "/nowhere",
        "/../secret",
        "/%2e%2e/secret",
        "/up/secret",
        "/out",
        "//etc/passwd",
        "/..%2fsecret",
        "/index.html/..",
    ] {
        let (head, body) = get(&format!("GET {path} HTTP/1.0"));
        assert!(head.starts_with("HTTP/1.0 404"), "{path}: {head}");
        assert!(body.is_empty(), "{path}");
    }
    for (request, status) in [
        ("POST / HTTP/1.0", "405"),
        ("GET", "400"),
        ("GET /%zz HTTP/1.0", "400"),
        (&"x".repeat(9_000), "400"),
    ] {
        let (head, _) = get(request);
        assert!(head.starts_with(&format!("HTTP/1.0 {status}")), "{head}");
    }
    if !is_installed("curl") {
        return;
    }
    let curl = |arguments: &[&str], path: &str| {
        let output = Command::new("curl")
            .args(["-sf", "--noproxy", "*", "--path-as-is", "--max-time", "20"])
            .args(arguments)
            .arg(format!("http://{}{path}", server.address))
            .output();
        let output = output.expect("it is there");
        (output.status.code(), output.stdout)
    };
    assert_eq!(curl(&[], "/with%20space.txt"), (Some(0), b"text".to_vec()));
    assert!(curl(&[], "/large.bin") == (Some(0), large.clone()));
    let (code, head) = curl(&["-I"], "/large.bin");
    let head = String::from_utf8_lossy(&head).into_owned();
    assert!(
        code == Some(0) && head.contains("Content-Length: 1000000"),
        "{head}"
    );
    // What it says of answers from 400 on.
    assert_eq!(curl(&[], "/../secret"), (Some(22), Vec::new()));
    assert_eq!(curl(&["-d", "x"], "/"), (Some(22), Vec::new()));
}
