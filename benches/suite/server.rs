//! A server in a process of its own.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::machine::{self, Cores};
use crate::peers::{Mode, Peer};

/// How long a server may take to say that it is ready, and to answer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long a server is expected to be busy when nobody talks to it any more.
const SETTLING: Duration = Duration::from_millis(100);

/// A running server. It is ended when this is dropped.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
    /// Where it tells how often it has called the system, if it does.
    counts_at: Option<SocketAddr>,
}

impl Server {
    /// Starts `command`, which is that of `peer`.
    pub fn start(
        peer: Peer,
        mut command: Command,
        mode: Mode,
        options: &[String],
        cores: &Cores,
    ) -> io::Result<Server> {
        command.args([mode.name(), "127.0.0.1:0"]).args(options);
        let counts = peer == Peer::Nodeloop;
        if counts {
            command.arg("--counts");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // What this process starts has its cores from the beginning, threads included.
        cores.be_a_server()?;
        let spawned = command.spawn();
        cores.be_the_load()?;
        let mut process = spawned?;
        let lines = lines_of(&mut process);
        let mut server = Server {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            counts_at: None,
        };
        expect_line(&lines, "ready")?;
        server.address = address_behind(&lines, "listening on ")?;
        if counts {
            server.counts_at = Some(address_behind(&lines, "counts at ")?);
        }
        Ok(server)
    }

    /// The processor time that it has used, as soon as it has nothing more to do.
    pub fn processor_time(&self) -> io::Result<Duration> {
        let begun = Instant::now();
        while !machine::is_asleep(self.process.id()) && begun.elapsed() < SETTLING {}
        machine::processor_time(self.process.id())
    }

    pub fn resident(&self) -> io::Result<u64> {
        machine::resident(self.process.id())
    }

    /// How often it has called the system, by kind of call. None where it does not tell.
    pub fn counts(&self) -> io::Result<Option<HashMap<String, u64>>> {
        let Some(address) = self.counts_at else {
            return Ok(None);
        };
        let mut teller = TcpStream::connect(address)?;
        teller.set_read_timeout(Some(PATIENCE))?;
        let mut line = String::new();
        teller.read_to_string(&mut line)?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let counts = words.chunks_exact(2).filter_map(|pair| {
            let count = pair[1].parse().ok()?;
            Some((pair[0].to_string(), count))
        });
        Ok(Some(counts.collect()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The lines that a process prints, read by a thread that ends with it.
fn lines_of(process: &mut Child) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    if let Some(output) = process.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
    }
    lines
}

fn next_line(lines: &mpsc::Receiver<String>) -> io::Result<String> {
    let line = lines.recv_timeout(PATIENCE);
    line.map_err(|_| io::Error::other("the server did not get ready"))
}

fn expect_line(lines: &mpsc::Receiver<String>, expected: &str) -> io::Result<()> {
    let line = next_line(lines)?;
    match line == expected {
        true => Ok(()),
        false => Err(io::Error::other(format!("the server said {line:?}"))),
    }
}

fn address_behind(lines: &mpsc::Receiver<String>, label: &str) -> io::Result<SocketAddr> {
    let line = next_line(lines)?;
    let address = line.strip_prefix(label).and_then(|rest| rest.parse().ok());
    address.ok_or_else(|| io::Error::other(format!("the server said {line:?}")))
}
