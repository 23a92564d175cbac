//! The system's resolver. It blocks, so it is asked in a worker thread.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use crate::ground::error::{Error, Result};
use crate::ground::look_up::{Found, NAME_MAX, Query};

/// Asks the system for the addresses of a name: each once, in the order that is wanted.
pub(crate) fn resolve(query: &Query) -> Result<Vec<Found>> {
    // A NUL would be the end of the name for the system.
    if query.host.len() > NAME_MAX || query.host.contains('\0') {
        return Err(Error::look_up("EINVAL", &query.host));
    }
    let mut found = Vec::new();
    for address in ask(query)? {
        let scope = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        let address = (address.ip(), scope);
        if !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() {
        return Err(Error::look_up("ENOTFOUND", &query.host));
    }
    query.options.order.apply(&mut found);
    Ok(found)
}

/// The number of a zone, such as that of the interface `eth0`; 0 if there is none of that name.
/// Nobody beyond this machine is asked.
pub(crate) fn scope_id(address: IpAddr, zone: &str) -> u32 {
    if let Ok(number) = zone.parse() {
        return number;
    }
    // Kept from the resolver, which would take it for a part of a name.
    if !address.is_ipv6() || zone.contains('\0') {
        return 0;
    }
    let text = format!("{address}%{zone}");
    let mut found = (text.as_str(), 0).to_socket_addrs().into_iter().flatten();
    found
        .find_map(|found| match found {
            SocketAddr::V4(_) => None,
            SocketAddr::V6(found) => Some(found.scope_id()),
        })
        .unwrap_or(0)
}

#[cfg(feature = "dns-lookup")]
fn ask(query: &Query) -> Result<Vec<SocketAddr>> {
    use dns_lookup::{AddrFamily, AddrInfoHints, SockType, getaddrinfo};

    use crate::ground::addresses::Family;

    let family = match query.options.family {
        None => 0,
        Some(Family::V4) => AddrFamily::Inet.into(),
        Some(Family::V6) => AddrFamily::Inet6.into(),
    };
    let hints = AddrInfoHints {
        flags: flags(query.options.hints),
        address: family,
        // One answer for each address instead of one for each kind of socket, as libuv.
        socktype: SockType::Stream.into(),
        protocol: 0,
    };
    let found = getaddrinfo(Some(&query.host), None, Some(hints));
    let found = found.map_err(|error| failed(error, &query.host))?;
    // What is no IP address is left out.
    Ok(found.flatten().map(|info| info.sockaddr).collect())
}

/// The numbers that the system has for hints.
#[cfg(feature = "dns-lookup")]
fn flags(hints: crate::ground::look_up::Hints) -> i32 {
    use crate::ground::look_up::Hints;

    let numbers = match () {
        () if cfg!(any(target_os = "linux", target_os = "android")) => [0x20, 0x08, 0x10],
        () => [0x400, 0x800, 0x100],
    };
    let all = [Hints::ADDRCONFIG, Hints::V4MAPPED, Hints::ALL];
    let given = all.into_iter().zip(numbers);
    given
        .filter(|(hint, _)| hints.contains(*hint))
        .fold(0, |flags, (_, number)| flags | number)
}

/// Node's error for a resolver's.
#[cfg(feature = "dns-lookup")]
fn failed(error: dns_lookup::LookupError, host: &str) -> Error {
    use dns_lookup::LookupErrorKind as Kind;

    let code = match error.kind() {
        Kind::NoName | Kind::NoData => "ENOTFOUND",
        Kind::Again => "EAI_AGAIN",
        Kind::Badflags => "EAI_BADFLAGS",
        Kind::Fail => "EAI_FAIL",
        Kind::Family => "EAI_FAMILY",
        Kind::Memory => "EAI_MEMORY",
        Kind::Service => "EAI_SERVICE",
        Kind::Socktype => "EAI_SOCKTYPE",
        Kind::System => return Error::look_up_system(error.into(), host),
        // glibc's number for a name that has addresses of the other family only.
        _ if cfg!(target_os = "linux") && error.error_num() == -9 => "EAI_ADDRFAMILY",
        Kind::IO | Kind::Unknown => "EAI_FAIL",
    };
    Error::look_up(code, host)
}

/// Without that crate the standard library asks. It has no hints, and says nothing of why a name
/// was not found.
#[cfg(not(feature = "dns-lookup"))]
fn ask(query: &Query) -> Result<Vec<SocketAddr>> {
    use crate::ground::addresses::Family;

    let found = (query.host.as_str(), 0).to_socket_addrs();
    let found = found.map_err(|_| Error::look_up("ENOTFOUND", &query.host))?;
    let wanted = query.options.family;
    let fits = |address: &SocketAddr| wanted.is_none_or(|it| it == Family::of(address.ip()));
    Ok(found.filter(fits).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::addresses::Family;
    use crate::ground::look_up::LookupOptions;

    fn ask_for(host: &str, options: LookupOptions) -> Result<Vec<Found>> {
        let host = host.to_string();
        resolve(&Query { host, options })
    }

    #[test]
    fn numbers_need_no_name_server() {
        // Not what Node takes for an address, yet no name either.
        let found = ask_for("127.1", LookupOptions::new()).unwrap();
        assert_eq!(found, [([127, 0, 0, 1].into(), 0)]);
    }

    #[test]
    fn a_family_is_kept_to() {
        let found = ask_for("localhost", Family::V4.into()).unwrap();
        assert_eq!(found, [([127, 0, 0, 1].into(), 0)]);
    }

    #[test]
    fn what_can_be_no_name_is_not_asked_for() {
        let long = "a.".repeat(130);
        for host in [long.as_str(), "local\0host"] {
            let error = ask_for(host, LookupOptions::new()).unwrap_err();
            assert_eq!(error.code(), Some("EINVAL"));
            assert_eq!(error.hostname(), Some(host));
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn zones_have_numbers() {
        let link_local = "fe80::1".parse().unwrap();
        assert_eq!(scope_id(link_local, "7"), 7);
        assert_eq!(scope_id(link_local, "lo"), 1);
        for zone in ["no_such_interface", "", "lo\0", "a b"] {
            assert_eq!(scope_id(link_local, zone), 0, "{zone:?}");
        }
        assert_eq!(scope_id([127, 0, 0, 1].into(), "lo"), 0);
    }
}
