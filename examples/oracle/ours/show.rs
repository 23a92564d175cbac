//! How values show in a trace: as in `program.cjs`.

use std::net::SocketAddr;

use nodeloop::Error;

use super::paths::shown;
use crate::oracle::words::quote;

/// An address, its port under its name.
pub fn address(address: Option<SocketAddr>) -> String {
    match address {
        None => "none".into(),
        Some(SocketAddr::V4(address)) => format!("{}:<port {}>", address.ip(), address.port()),
        Some(SocketAddr::V6(address)) => format!("[{}]:<port {}>", address.ip(), address.port()),
    }
}

/// What a completion was given.
pub fn result(result: &nodeloop::Result<()>) -> String {
    match result {
        Ok(()) => "ok".into(),
        Err(failure) => error(failure),
    }
}

/// An error with its fields.
pub fn error(failure: &Error) -> String {
    let mut message = shown(failure.message());
    let mut parts = vec![failure.code().unwrap_or("error").to_string()];
    if let Some(syscall) = failure.syscall() {
        parts.push(format!("syscall={syscall}"));
    }
    if let Some(address) = failure.address() {
        parts.push(format!("address={}", shown(address)));
    }
    if let Some(path) = failure.path() {
        parts.push(format!("path={}", shown(path)));
    }
    if let Some(hostname) = failure.hostname() {
        parts.push(format!("hostname={hostname}"));
    }
    if let Some(local) = failure.local_address() {
        parts.push(format!("local={}", address(Some(local))));
    }
    if let Some(port) = failure.port() {
        parts.push(format!("port=<port {port}>"));
        message = message.replace(&format!(":{port}"), &format!(":<port {port}>"));
    }
    parts.push(quote(&with_local_port_marked(&message)));
    if !failure.errors().is_empty() {
        let all: Vec<String> = failure.errors().iter().map(error).collect();
        parts.push(format!("[{}]", all.join("; ")));
    }
    parts.join(" ")
}

/// Marks the port behind ` - Local (`, unless it is 0.
fn with_local_port_marked(message: &str) -> String {
    let marked = message.split_once(" - Local (").and_then(|(front, local)| {
        let (ip, port) = local.strip_suffix(')')?.rsplit_once(':')?;
        (port != "0").then(|| format!("{front} - Local ({ip}:<port {port}>)"))
    });
    marked.unwrap_or_else(|| message.into())
}
