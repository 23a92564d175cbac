//! Much data: blocks, files, proxies.

use super::{LIMIT, OURS, at_least, at_most, but_libuv, everyone};
use crate::load::Kind;
use crate::peers::{Mode, Peer};
use crate::workload::{Figure, Work, Workload};

pub fn all() -> Vec<Workload> {
    let mut all = Vec::new();
    for connections in [1, 8] {
        let echo = Kind::BulkEcho { connections };
        let sink = Kind::Sink { connections };
        let source = Kind::Source { connections };
        all.push(bulk("in", Mode::Sink, sink, false));
        all.push(bulk("out", Mode::Source, source, false));
        all.push(bulk("echo", Mode::Echo, echo, false));
        all.push(bulk("in", Mode::Sink, sink, true));
        all.push(bulk("echo", Mode::Echo, echo, true));
    }
    all.extend([1, 8].map(file_out));
    all.extend([1, 8].map(proxy_bulk));
    all.push(proxy_small());
    all
}

/// Much data, with a read buffer of 64 KiB or of 256 KiB.
fn bulk(name: &str, mode: Mode, kind: Kind, large_chunk: bool) -> Workload {
    let mut lanes = everyone(mode);
    if large_chunk {
        // Node's chunk cannot be chosen.
        lanes.retain(|lane| lane.peer != Peer::Node);
    }
    for lane in lanes.iter_mut().filter(|lane| lane.peer != Peer::Node) {
        lane.options = match large_chunk {
            true => &["--chunk", "262144"],
            false => &["--chunk", "65536"],
        };
    }
    let suffix = if large_chunk { "-256k" } else { "" };
    Workload {
        name: format!("bulk-{name}-{}{suffix}", kind.connections()),
        stands_for: match large_chunk {
            true => "much data, 256 KiB at a time",
            false => "much data",
        },
        operation: "MiB",
        work: Work::Traffic(kind),
        lanes,
        limits: vec![at_most(OURS, Figure::ServerTime, LIMIT, 1.05)],
    }
}

/// A file to each of some clients.
fn file_out(connections: usize) -> Workload {
    let kind = Kind::Files {
        connections,
        mib: 64,
    };
    Workload {
        name: format!("file-out-{connections}"),
        stands_for: "a file of 64 MiB to each client; by hand a loop of read and write",
        operation: "MiB",
        work: Work::Traffic(kind),
        lanes: everyone(Mode::File),
        limits: vec![
            at_most(OURS, Figure::ServerTime, LIMIT, 1.0),
            at_least(OURS, Figure::Rate, "node", 3.0),
        ],
    }
}

fn proxy_bulk(connections: usize) -> Workload {
    let mut lanes = but_libuv(Mode::Proxy);
    for lane in lanes.iter_mut().filter(|lane| lane.peer != Peer::Node) {
        lane.options = &["--chunk", "65536"];
    }
    Workload {
        name: format!("proxy-bulk-{connections}"),
        stands_for: "much data through a proxy; by hand without splice",
        operation: "MiB",
        work: Work::Traffic(Kind::ProxyBulk { connections }),
        lanes,
        limits: vec![at_most(OURS, Figure::ServerTime, LIMIT, 0.7)],
    }
}

fn proxy_small() -> Workload {
    let kind = Kind::ProxyPingPong {
        connections: 50,
        size: 64,
    };
    Workload {
        name: "proxy-small".into(),
        stands_for: "small messages through a proxy, and their answers",
        operation: "round trip",
        work: Work::Traffic(kind),
        lanes: but_libuv(Mode::Proxy),
        limits: vec![at_most(OURS, Figure::ServerTime, LIMIT, 1.03)],
    }
}
