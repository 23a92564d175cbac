//! A server that shuts down without cutting anybody off in the middle.
//!
//! The pattern: first accept nobody new (`close`); then end the connections that wait for nothing, and
//! those that wait for an answer once they have it; finally, after a time of grace, cut off whatever is
//! left. That deadline is unref'd: it strikes if somebody is left, but does not itself keep the program
//! waiting. Nothing says "exit": the program ends when the last connection has.
//!
//! ```text
//! cargo run --release --example graceful_shutdown [ADDRESS [MILLISECONDS [MILLISECONDS]]]
//! ```
//!
//! Then `nc 127.0.0.1 40000`: each line is a job, which takes the first number of milliseconds, and
//! the line `shutdown` begins the shutdown, with the second number as the time of grace.

mod common;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use common::argument;
use common::lines::Lines;
use nodeloop::{Loop, Timer, net};

/// Bytes of a line.
const MAX_LINE: usize = 1000;

/// Jobs of one client at a time.
const MAX_JOBS: usize = 100;

fn main() -> nodeloop::Result<()> {
    let address: SocketAddr = argument(1, "ADDRESS", "127.0.0.1:40000");
    let service = Rc::new(RefCell::new(Service {
        work_ms: argument(2, "number of MILLISECONDS", "2000"),
        grace_ms: argument(3, "number of MILLISECONDS", "10000"),
        jobs: HashMap::new(),
        is_ending: false,
    }));
    let lp = Loop::new()?;
    // Half-open, so that a client who has ended still gets his answers.
    let server = net::Server::new(&lp, net::ServerOptions::new().allow_half_open(true));
    server.on_connection(move |server, socket| on_connection(server, socket, &service));
    server.on_close(|_| println!("all connections are over"));
    server.on_listening(|server| println!("listening on {}", server.address().unwrap()));
    server.listen(address)?;
    lp.run()?;
    println!("the end");
    Ok(())
}

struct Service {
    work_ms: u64,
    grace_ms: u64,
    /// What each connection waits for.
    jobs: HashMap<net::Socket, Vec<Timer>>,
    is_ending: bool,
}

fn on_connection(server: net::Server, socket: net::Socket, service: &Rc<RefCell<Service>>) {
    service.borrow_mut().jobs.insert(socket, Vec::new());
    let mut lines = Lines::new(MAX_LINE);
    let in_data = service.clone();
    socket.on_data(move |socket, mut chunk| {
        while let Some(line) = lines.next(&mut chunk) {
            match line.as_deref() {
                // It was told already that nothing more is taken.
                _ if socket.writable_ended() => return,
                Ok("shutdown") => shut_down(server, &in_data),
                Ok(job) => begin(socket, job, &in_data),
                Err(bad) => answer(socket, &format!("{bad}\n")),
            }
        }
    });
    socket.on_drain(|socket| socket.resume());
    let in_end = service.clone();
    socket.on_end(move |socket| in_end.borrow().end_if_idle(socket));
    socket.on_error(|_, error| eprintln!("{error}"));
    let in_close = service.clone();
    socket.on_close(move |socket, _| {
        // Nobody waits for these any more, so the loop need not either.
        let jobs = in_close.borrow_mut().jobs.remove(&socket);
        jobs.iter().flatten().for_each(|job| job.clear());
    });
}

/// Writes an answer. Who does not take his answers is not read meanwhile, so that they fill no memory.
fn answer(socket: net::Socket, text: &str) {
    if !socket.write(text) {
        socket.pause();
    }
}

/// Takes a job, which is answered when it is done.
fn begin(socket: net::Socket, job: &str, shared: &Rc<RefCell<Service>>) {
    let mut service = shared.borrow_mut();
    let (work_ms, is_ending) = (service.work_ms, service.is_ending);
    let Some(jobs) = service.jobs.get_mut(&socket) else {
        return;
    };
    if is_ending || jobs.len() == MAX_JOBS {
        return answer(socket, &format!("refused: {job}\n"));
    }
    let job = job.to_string();
    let shared = shared.clone();
    let working = socket.event_loop().set_timeout(work_ms, move |working| {
        answer(socket, &format!("done: {job}\n"));
        let mut service = shared.borrow_mut();
        if let Some(jobs) = service.jobs.get_mut(&socket) {
            jobs.retain(|&job| job != working);
        }
        service.end_if_idle(socket);
    });
    jobs.push(working);
}

impl Service {
    /// Ends a connection that nothing more is expected of.
    fn end_if_idle(&self, socket: net::Socket) {
        let is_idle = self.jobs.get(&socket).is_some_and(|jobs| jobs.is_empty());
        if is_idle && (self.is_ending || socket.readable_ended()) {
            socket.end();
            // If it was paused no 'drain' comes any more, and unread its end would be hidden.
            socket.resume();
        }
    }
}

fn shut_down(server: net::Server, shared: &Rc<RefCell<Service>>) {
    let mut service = shared.borrow_mut();
    if std::mem::replace(&mut service.is_ending, true) {
        return;
    }
    let jobs = service.jobs.values().flatten().count();
    println!(
        "shutting down: {} connections, {jobs} jobs",
        service.jobs.len()
    );
    server.close();
    for &socket in service.jobs.keys() {
        // Who has ended, and has not taken all his answers yet, is told no more.
        if !socket.writable_ended() {
            socket.write("shutting down\n");
        }
        service.end_if_idle(socket);
    }
    let in_deadline = shared.clone();
    let deadline = server.event_loop().set_timeout(service.grace_ms, move |_| {
        let service = in_deadline.borrow();
        println!("cut off: {} connections", service.jobs.len());
        for socket in service.jobs.keys() {
            socket.destroy();
        }
    });
    deadline.unref();
}
