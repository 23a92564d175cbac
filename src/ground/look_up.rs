//! What is asked of a resolver, and in which order its answer is used.

use std::fmt;
use std::net::IpAddr;
use std::ops::BitOr;

use super::addresses::Family;

/// The longest name that is looked up, as in libuv: DNS has none that are longer.
pub(crate) const NAME_MAX: usize = 255;

/// An address as a resolver gives it: with the zone's number where it has one, else 0.
pub(crate) type Found = (IpAddr, u32);

/// What a look-up is asked for: the options of Node's `dns.lookup`.
///
/// ```
/// use nodeloop::dns::{Hints, LookupOptions};
/// use nodeloop::net::Family;
///
/// let options = LookupOptions::new().family(Family::V6).hints(Hints::V4MAPPED | Hints::ALL);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[must_use = "options do nothing by themselves"]
pub struct LookupOptions {
    pub(crate) family: Option<Family>,
    pub(crate) hints: Hints,
    pub(crate) order: Order,
}

impl LookupOptions {
    /// Addresses of both families, in the resolver's order.
    pub fn new() -> LookupOptions {
        LookupOptions::default()
    }

    /// Addresses of this family only. Node's `family: 4` or `6`.
    pub fn family(mut self, family: Family) -> LookupOptions {
        self.family = Some(family);
        self
    }

    /// What the resolver is asked for beyond that. Node's `hints`.
    pub fn hints(mut self, hints: Hints) -> LookupOptions {
        self.hints = hints;
        self
    }

    /// In which order the addresses come. Node's `order`.
    pub fn order(mut self, order: Order) -> LookupOptions {
        self.order = order;
        self
    }

    /// The family that was asked for; none is both.
    pub fn get_family(self) -> Option<Family> {
        self.family
    }

    /// The hints that were given.
    pub fn get_hints(self) -> Hints {
        self.hints
    }
}

impl From<Family> for LookupOptions {
    fn from(family: Family) -> LookupOptions {
        LookupOptions::new().family(family)
    }
}

/// In which order addresses come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// As the resolver gives them: Node's `verbatim`.
    #[default]
    Verbatim,
    /// IPv4 in front of IPv6: Node's `ipv4first`.
    Ipv4First,
    /// IPv6 in front of IPv4: Node's `ipv6first`.
    Ipv6First,
}

impl Order {
    /// Addresses in this order; among those of a family the resolver's.
    pub(crate) fn apply(self, found: &mut [Found]) {
        match self {
            Order::Verbatim => {}
            Order::Ipv4First => found.sort_by_key(|(ip, _)| ip.is_ipv6()),
            Order::Ipv6First => found.sort_by_key(|(ip, _)| ip.is_ipv4()),
        }
    }
}

/// What a resolver is asked for beyond a family: the flags of `getaddrinfo`. They join with `|`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hints(u8);

impl Hints {
    /// Nothing.
    pub const NONE: Hints = Hints(0);
    /// Addresses of a family only if this machine has one of it, loopback aside. Node's
    /// `dns.ADDRCONFIG`.
    pub const ADDRCONFIG: Hints = Hints(1);
    /// If IPv6 is asked for and there is none, IPv4 addresses mapped to it. Node's
    /// `dns.V4MAPPED`.
    pub const V4MAPPED: Hints = Hints(2);
    /// With [`V4MAPPED`](Hints::V4MAPPED): both kinds. Node's `dns.ALL`.
    pub const ALL: Hints = Hints(4);

    /// Whether all of `hints` are among these.
    pub fn contains(self, hints: Hints) -> bool {
        self.0 & hints.0 == hints.0
    }
}

impl BitOr for Hints {
    type Output = Hints;

    fn bitor(self, other: Hints) -> Hints {
        Hints(self.0 | other.0)
    }
}

impl fmt::Debug for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (Hints::ADDRCONFIG, "ADDRCONFIG"),
            (Hints::V4MAPPED, "V4MAPPED"),
            (Hints::ALL, "ALL"),
        ];
        let names = all.into_iter().filter(|(hint, _)| self.contains(*hint));
        let names: Vec<_> = names.map(|(_, name)| name).collect();
        match names.is_empty() {
            true => f.write_str("NONE"),
            false => f.write_str(&names.join(" | ")),
        }
    }
}

/// A question for a resolver.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    /// The name.
    pub(crate) host: String,
    /// What is wanted of it.
    pub(crate) options: LookupOptions,
}

/// The addresses to try, in the order in which they are tried: families in turn, beginning with
/// that of the first; each address once (N251, RFC 8305).
pub(crate) fn to_attempt(found: &[Found]) -> Vec<Found> {
    let Some((first, _)) = found.first() else {
        return Vec::new();
    };
    let first = Family::of(*first);
    let (mut ours, mut others): (Vec<Found>, Vec<Found>) = (Vec::new(), Vec::new());
    for &address in found {
        let group = match Family::of(address.0) == first {
            true => &mut ours,
            false => &mut others,
        };
        if !group.contains(&address) {
            group.push(address);
        }
    }
    let mut all = Vec::with_capacity(ours.len() + others.len());
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    loop {
        match (ours.next(), others.next()) {
            (None, None) => return all,
            (one, other) => all.extend(one.into_iter().chain(other)),
        }
    }
}

/// The address to listen at: the first that is not link-local, since that would want a zone; the
/// first if there is no other.
pub(crate) fn to_listen_at(found: &[Found]) -> Option<Found> {
    let is_link_local = |ip: &IpAddr| match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    };
    let mut usual = found.iter().filter(|(ip, _)| !is_link_local(ip));
    usual.next().or(found.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &[&str]) -> Vec<Found> {
        let parse = |text: &&str| (text.parse().unwrap(), 0);
        texts.iter().map(parse).collect()
    }

    #[test]
    fn n251_families_take_turns_and_nothing_is_tried_twice() {
        // N251
        let cases: [(&[&str], &[&str]); 5] = [
            (&[], &[]),
            (&["1.1.1.1", "1.1.1.1"], &["1.1.1.1"]),
            (&["::1", "::2", "1.1.1.1"], &["::1", "1.1.1.1", "::2"]),
            (
                &["1.1.1.1", "2.2.2.2", "3.3.3.3", "::1"],
                &["1.1.1.1", "::1", "2.2.2.2", "3.3.3.3"],
            ),
            (
                &["1.1.1.1", "::1", "1.1.1.1", "::2", "::1"],
                &["1.1.1.1", "::1", "::2"],
            ),
        ];
        for (given, tried) in cases {
            assert_eq!(to_attempt(&found(given)), found(tried), "{given:?}");
        }
    }

    #[test]
    fn orders_keep_that_of_the_resolver_within_a_family() {
        let given = found(&["::2", "2.2.2.2", "::1", "1.1.1.1"]);
        let in_order = |order: Order| {
            let mut addresses = given.clone();
            order.apply(&mut addresses);
            addresses
        };
        assert_eq!(in_order(Order::Verbatim), given);
        assert_eq!(
            in_order(Order::Ipv4First),
            found(&["2.2.2.2", "1.1.1.1", "::2", "::1"])
        );
        assert_eq!(
            in_order(Order::Ipv6First),
            found(&["::2", "::1", "2.2.2.2", "1.1.1.1"])
        );
    }

    #[test]
    fn link_local_addresses_are_listened_at_only_if_there_are_no_others() {
        let local = found(&["fe80::1", "febf::1"]);
        assert_eq!(to_listen_at(&local), Some(local[0]));
        let mixed = found(&["fe80::1", "fec0::1", "1.1.1.1"]);
        assert_eq!(to_listen_at(&mixed), Some(mixed[1]));
        assert_eq!(to_listen_at(&[]), None);
    }

    #[test]
    fn hints_join_and_print() {
        let both = Hints::V4MAPPED | Hints::ALL;
        assert!(both.contains(Hints::ALL) && !both.contains(Hints::ADDRCONFIG));
        assert_eq!(format!("{both:?} {:?}", Hints::NONE), "V4MAPPED | ALL NONE");
    }
}
