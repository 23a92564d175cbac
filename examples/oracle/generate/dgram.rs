//! Scenarios of UDP sockets.
//!
//! A datagram has arrived when the call that sends it is over, so what a peer has sent is in place
//! behind a `wait`. It is put there in an immediate: what comes while a socket's listeners run Node
//! receives in the same turn, and we in the next. What two sockets of the loop do is compared socket by socket.

use super::maker::Maker;
use super::socket::later;

/// What can be asked of a UDP socket at any time.
const PROPERTIES: [&str; 4] = ["address", "remote_address", "queue_size", "queue_count"];

pub fn make(maker: &mut Maker) {
    maker.document.head("peer p");
    let two = maker.random.percent(45);
    // An address that is given to a connected socket is one of the differences.
    let connects = maker.random.percent(35);
    if !two && maker.random.percent(60) {
        maker.document.head("order = global");
    }
    let names: &[&'static str] = if two { &["u", "v"] } else { &["u"] };
    maker.document.add("start", "p.udp");
    for name in names {
        maker.document.add("start", format!("udp {name}"));
        maker.document.add("start", format!("{name}.keep"));
    }
    maker.guard(
        &names
            .iter()
            .map(|it| format!("{it}.close"))
            .collect::<Vec<_>>(),
    );
    for name in names {
        let bind = match maker.random.below(4) {
            0 => format!("{name}.bind host=127.0.0.1"),
            1 => format!("{name}.bind host=127.0.0.1 then=bound_{name}"),
            _ => format!("{name}.bind_sync host=127.0.0.1"),
        };
        maker.document.add("start", bind);
    }
    // The second is bound by the time that the first is told to go.
    maker.document.add("on u:listening", "immediate go");
    let mut on = String::from("on go:fire");
    let mut count = 0;
    for _ in 0..maker.random.between(1, 4) {
        let sends = maker.random.between(1, 3);
        let mut line = String::from("p.send_to u");
        for _ in 0..sends {
            let (text, _) = maker.text();
            line += &format!(
                " {}",
                if maker.random.percent(10) {
                    "\"\""
                } else {
                    &text
                }
            );
        }
        maker.document.add(&on, line);
        maker.document.add(&on, "wait p");
        let times = maker.random.between(0, 3);
        for _ in 0..times {
            act(maker, "u", &on, [two, connects], 0);
        }
        count += sends;
        on = later(maker, &format!("on u:message #{count}"));
    }
    if two {
        for nth in 1..=maker.random.between(1, 2) {
            for _ in 0..maker.random.between(1, 2) {
                act(
                    maker,
                    "v",
                    &format!("on v:message #{nth}"),
                    [two, connects],
                    0,
                );
            }
        }
        // When all has come, whichever of the two was served first.
        let turn = later(maker, "on u:close");
        let turn = later(maker, &turn);
        maker.document.add(&turn, "v.close");
    }
    for _ in 0..maker.random.between(0, 2) {
        // Perhaps among the messages themselves.
        let among = format!("on u:message #{}", maker.random.between(1, count));
        let on = if maker.random.percent(60) {
            &among
        } else {
            &on
        };
        act(maker, "u", on, [two, connects], 0);
    }
    if maker.random.percent(80) {
        let then = match maker.random.percent(30) {
            true => " then=closed",
            false => "",
        };
        maker.document.add(&on, format!("u.close{then}"));
    }
    if maker.random.percent(30) {
        act(maker, "u", "on u:close", [two, connects], 1);
    }
    // When nobody sends any more.
    let last = if two { "on v:close" } else { "on u:close" };
    maker.document.add(last, "p.receive_rest");
    maker.document.add(last, "wait p");
}

fn act(maker: &mut Maker, name: &'static str, on: &str, how: [bool; 2], depth: usize) {
    let [_, connects] = how;
    match maker.random.below(16) {
        // The peer hears of one socket only: which of two comes first is the kernel's.
        0..=4 if name == "u" => send(maker, name, on, how),
        5 => {
            let property = maker.random.pick(&PROPERTIES);
            maker.document.add(on, format!("probe {name} {property}"));
        }
        6 => {
            let ttl = maker.random.pick(&["0", "1", "64", "255", "256"]);
            maker.document.add(on, format!("{name}.set_ttl {ttl}"));
        }
        7 | 8 if depth < 2 => {
            let (what, later) = match maker.random.percent(50) {
                true => ("tick", maker.name("k")),
                false => ("immediate", maker.name("i")),
            };
            maker.document.add(on, format!("{what} {later}"));
            act(maker, name, &format!("on {later}:fire"), how, depth + 1);
        }
        9 if connects => {
            let then = match maker.random.percent(50) {
                true => format!(" then={}", maker.name("c")),
                false => String::new(),
            };
            let verb = maker.random.pick(&["connect", "connect", "connect_sync"]);
            let then = if verb == "connect" {
                then
            } else {
                String::new()
            };
            maker.document.add(on, format!("{name}.{verb} p{then}"));
        }
        10 => maker.document.add(on, format!("{name}.disconnect")),
        11 => {
            let label = maker.name("l");
            let verb = maker.random.pick(&["on", "once"]);
            let event = maker.random.pick(&["message", "close", "error", "connect"]);
            maker
                .document
                .add(on, format!("{name}.{verb} {event} as={label}"));
        }
        12 => {
            let verb = maker.random.pick(&["unref", "ref"]);
            maker.document.add(on, format!("{name}.{verb}"));
        }
        13 if depth > 0 => maker.document.add(on, format!("{name}.close")),
        14 => {
            let verb = maker.random.pick(&[
                "set_broadcast",
                "set_multicast_ttl 5",
                "set_multicast_ttl 300",
                "set_multicast_loopback off",
                "bind host=127.0.0.1",
            ]);
            maker.document.add(on, format!("{name}.{verb}"));
        }
        _ => maker.document.add(on, "note \"here\""),
    }
}

fn send(maker: &mut Maker, name: &'static str, on: &str, [two, connects]: [bool; 2]) {
    let mut line = format!("{name}.send");
    for _ in 0..maker.random.between(1, 2) {
        let (text, _) = maker.text();
        line += &format!(" {text}");
    }
    let to = match (maker.random.below(5), two) {
        _ if connects => String::new(),
        // Not the other way round: which of the two is served first in a turn is the kernel's.
        (0..=2, true) if name == "u" => " to=v".into(),
        (4, _) if on.starts_with("on i") => format!(" to={name}"),
        _ => String::from(" to=p"),
    };
    line += &to;
    if maker.random.percent(15) {
        line += &format!(" times={}", maker.random.between(2, 5));
    } else if maker.random.percent(45) {
        line += &format!(" then={}", maker.name("d"));
    }
    maker.document.add(on, line);
}
