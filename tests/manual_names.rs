//! The manual's table of Node's names, against the pinned Node: every name that its modules show is in
//! it. Where Node is not installed the test says so.

// The same modules as the example; each program uses a part of them.
#[allow(dead_code)]
#[path = "../examples/oracle/mod.rs"]
mod oracle;
mod support_process;

use std::process::Command;

use support_process::Process;

/// Prints the names of what the chapter is about, one per line: public ones of the module, of
/// prototypes, and of objects themselves.
const PROGRAM: &str = "
    const net = require('net'), stream = require('stream'), timers = require('timers');
    const { EventEmitter } = require('events');
    const dgram = require('dgram'), fs = require('fs'), readline = require('readline');
    const dns = require('dns');
    const { StringDecoder } = require('string_decoder');
    const timeout = setTimeout(() => {}, 1), immediate = setImmediate(() => {});
    const functions = Object.getOwnPropertyNames(class { static x() {} });
    const show = (of, object) => {
        const hidden = typeof object === 'function' ? functions : ['constructor'];
        for (const name of Object.getOwnPropertyNames(object))
            if (!name.startsWith('_') && !hidden.includes(name)) console.log(of + ' ' + name);
    };
    show('net', net);
    show('blocks', net.BlockList);
    show('blocks', net.BlockList.prototype);
    show('address', net.SocketAddress);
    show('address', net.SocketAddress.prototype);
    show('server', net.Server.prototype);
    show('server', new net.Server());
    show('socket', net.Socket.prototype);
    show('socket', new net.Socket());
    show('stream', stream.Duplex.prototype);
    show('stream', stream.Readable.prototype);
    show('stream', stream.Writable.prototype);
    for (const name of Object.getOwnPropertyNames(stream))
        if (!functions.includes(name) && !name.startsWith('_')) console.log('stream ' + name);
    for (const name of Object.getOwnPropertyNames(dns))
        if (typeof dns[name] === 'function') console.log('dns ' + name);
    show('decoder', StringDecoder.prototype);
    show('file', fs.ReadStream.prototype);
    show('file', fs.WriteStream.prototype);
    show('readline', readline);
    show('readline', readline.Interface.prototype);
    show('readline', Object.getPrototypeOf(readline.Interface.prototype));
    show('dgram', dgram);
    show('dgram', dgram.Socket.prototype);
    show('dgram', dgram.createSocket('udp4'));
    show('events', EventEmitter.prototype);
    show('timers', timers);
    show('timeout', Object.getPrototypeOf(timeout));
    show('immediate', Object.getPrototypeOf(immediate));
    for (const name of ['nextTick', 'exit', 'getActiveResourcesInfo', 'ref', 'unref'])
        if (name in process) console.log('process ' + name);
";

/// The options that Node's documentation has for what makes, binds and connects these things. Objects do not
/// show them.
const OPTIONS: &[(&str, &str)] = &[
    (
        "createServer",
        "allowHalfOpen highWaterMark keepAlive keepAliveInitialDelay noDelay pauseOnConnect blockList",
    ),
    (
        "listen",
        "port host path fd backlog exclusive ipv6Only reusePort readableAll writableAll signal",
    ),
    (
        "new net.Socket",
        "allowHalfOpen fd onread readable writable signal noDelay keepAlive keepAliveInitialDelay blockList typeOfService",
    ),
    (
        "connect",
        "port host path localAddress localPort family hints lookup autoSelectFamily autoSelectFamilyAttemptTimeout timeout",
    ),
    (
        "streams",
        "highWaterMark objectMode decodeStrings encoding defaultEncoding emitClose autoDestroy signal",
    ),
    (
        "createReadStream, createWriteStream",
        "flags encoding fd mode autoClose emitClose start end highWaterMark fs signal flush",
    ),
    (
        "readline.createInterface",
        "input output completer terminal history historySize removeHistoryDuplicates prompt crlfDelay escapeCodeTimeout tabSize signal",
    ),
    (
        "dgram.createSocket, bind",
        "type reuseAddr reusePort ipv6Only recvBufferSize sendBufferSize lookup signal receiveBlockList sendBlockList exclusive fd",
    ),
    ("dns.lookup", "family hints all order"),
];

/// Whether a text holds a name that stands for itself: `socket.end` or `end`, but not `endWith`.
fn names(text: &str, name: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

/// The left column of each row of the chapter's tables.
fn left_columns() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/manual/node.md");
    let text = std::fs::read_to_string(path).expect("it is there");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    let columns = rows.filter_map(|row| row.split(" | ").next());
    columns.map(|column| format!("{column}\n")).collect()
}

#[test]
fn every_name_of_node_is_in_the_table() {
    let node = match oracle::pinned::find() {
        Ok(node) => node,
        Err(why) => {
            let ci = std::env::var("CI").as_deref() == Ok("true");
            assert!(!ci, "in CI the pinned Node has to be there: {why}");
            return println!("skipped: {why}");
        }
    };
    let mut process = Process::start(Command::new(node).args(["-e", PROGRAM]));
    let mut shown = Vec::new();
    let ended = process.ended(|line| shown.push(line));
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(shown.len() > 100, "only {} names", shown.len());
    let table = left_columns();
    let missing = shown.iter().filter(|shown| {
        let name = shown.split(' ').nth(1).unwrap_or(shown);
        !names(&table, name)
    });
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
}

#[test]
fn every_option_of_node_is_in_the_table() {
    let table = left_columns();
    for (of, options) in OPTIONS {
        let missing = options.split(' ').filter(|option| !names(&table, option));
        let missing: Vec<_> = missing.collect();
        assert!(missing.is_empty(), "not in the table, of {of}: {missing:?}");
    }
}

#[test]
fn a_name_is_found_only_where_it_stands_for_itself() {
    assert!(names("`socket.end`, `x`", "end") && names("end", "end"));
    assert!(!names("`endWith`", "end") && !names("`resend`", "end") && !names("", "end"));
}
