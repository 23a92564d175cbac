//! Node's `net.BlockList`: addresses that are not to be talked to.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use super::addresses::{Family, SocketAddress, invalid_address, parse_ip, text_of};
use super::block_list_text as text;
use super::error::{Error, Result};

/// A list of addresses, ranges and subnets that are not to be talked to: Node's `net.BlockList`.
///
/// A clone is the same list, so that rules can be added to what servers and connections use
/// already, from other threads too. An IPv4 address and the IPv6 address that it is mapped to
/// match each other's rules (N301).
///
/// ```
/// use nodeloop::net::BlockList;
///
/// # fn main() -> nodeloop::Result<()> {
/// let list = BlockList::new();
/// list.add_address("123.123.123.123")?;
/// list.add_range("10.0.0.1", "10.0.0.10")?;
/// list.add_subnet("8592:757c:efae:4e45::", 64)?;
///
/// assert!(list.check("123.123.123.123"));
/// assert!(list.check("::ffff:123.123.123.123"));
/// assert!(!list.check("222.111.111.222"));
/// assert_eq!(list.rules()[2], "Range: IPv4 10.0.0.1-10.0.0.10");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct BlockList(Arc<RwLock<Rules>>);

/// The rules.
#[derive(Default)]
struct Rules {
    /// Single addresses, by the IPv6 address that they are or are mapped to; with the order in
    /// which they came.
    addresses: BTreeMap<u128, (u64, IpAddr)>,
    /// The order of the next of them.
    next: u64,
    /// The others, the newest last.
    blocks: Vec<Block>,
}

/// A rule about several addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// From the first to the second.
    Range(IpAddr, IpAddr),
    /// What shares so many bits of this address.
    Subnet(IpAddr, u8),
}

/// What a [`BlockList`] takes as an address.
///
/// A text is of the family that it is written in; `(text, family)` has to be of that family, as in
/// Node, which takes IPv4 where none is given. A zone is left out (N300).
pub trait ToIp {
    /// The address.
    ///
    /// # Errors
    /// `ERR_INVALID_ADDRESS` if it is none.
    fn to_ip(&self) -> Result<IpAddr>;
}

impl BlockList {
    /// Private, loopback, link-local and unique local addresses, for
    /// [`add_cidr`](BlockList::add_cidr): Node's `BlockList.PRIVATE_RANGES`.
    pub const PRIVATE_RANGES: [&'static str; 8] = [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",
        "::1/128",
        "169.254.0.0/16",
        "fe80::/10",
        "fc00::/7",
    ];

    /// An empty list.
    pub fn new() -> BlockList {
        BlockList::default()
    }

    /// Adds an address: Node's `addAddress`. One that is there keeps its place.
    ///
    /// # Errors
    /// `ERR_INVALID_ADDRESS`.
    pub fn add_address(&self, address: impl ToIp) -> Result<()> {
        let ip = address.to_ip()?;
        self.write(|rules| {
            let order = rules.next;
            rules.next += 1;
            let rule = rules.addresses.entry(mapped(ip)).or_insert((order, ip));
            rule.1 = ip;
        });
        Ok(())
    }

    /// Adds the addresses from `start` to `end`, both included: Node's `addRange`.
    ///
    /// # Errors
    /// - `ERR_INVALID_ADDRESS`.
    /// - `ERR_INVALID_ARG_VALUE` if `start` is greater than `end` (N302).
    pub fn add_range(&self, start: impl ToIp, end: impl ToIp) -> Result<()> {
        let (start, end) = (start.to_ip()?, end.to_ip()?);
        if compare(start, end) == Some(Ordering::Greater) {
            let message = format!("The argument 'start' must come before end. Received {start}");
            return Err(Error::library("ERR_INVALID_ARG_VALUE", &message));
        }
        self.write(|rules| rules.blocks.push(Block::Range(start, end)));
        Ok(())
    }

    /// Adds the addresses that share their first `prefix` bits with `network`: Node's `addSubnet`.
    ///
    /// # Errors
    /// - `ERR_INVALID_ADDRESS`.
    /// - `ERR_OUT_OF_RANGE` if the address has fewer bits (N302).
    pub fn add_subnet(&self, network: impl ToIp, prefix: u8) -> Result<()> {
        let block = subnet(network.to_ip()?, prefix)?;
        self.write(|rules| rules.blocks.push(block));
        Ok(())
    }

    /// Adds a subnet as it is usually written, such as `10.0.0.0/8`: Node's `addCIDR`.
    ///
    /// # Errors
    /// - `ERR_INVALID_ADDRESS`.
    /// - `ERR_INVALID_ARG_VALUE` if there is no prefix, or it is not a plain number.
    /// - `ERR_OUT_OF_RANGE` if the address has fewer bits.
    pub fn add_cidr(&self, cidr: &str) -> Result<()> {
        let block = text::parse_cidr(cidr).and_then(|(ip, prefix)| subnet(ip, prefix))?;
        self.write(|rules| rules.blocks.push(block));
        Ok(())
    }

    /// Removes an address: Node's `removeAddress`. Returns whether it was there.
    ///
    /// # Errors
    /// `ERR_INVALID_ADDRESS`.
    pub fn remove_address(&self, address: impl ToIp) -> Result<bool> {
        let ip = address.to_ip()?;
        Ok(self.write(|rules| rules.addresses.remove(&mapped(ip)).is_some()))
    }

    /// Removes the newest of the equal ranges: Node's `removeRange`. Returns whether there was one.
    ///
    /// # Errors
    /// `ERR_INVALID_ADDRESS`.
    pub fn remove_range(&self, start: impl ToIp, end: impl ToIp) -> Result<bool> {
        let block = Block::Range(start.to_ip()?, end.to_ip()?);
        Ok(self.remove(block))
    }

    /// Removes the newest of the equal subnets: Node's `removeSubnet`. Returns whether there was
    /// one.
    ///
    /// # Errors
    /// As [`add_subnet`](BlockList::add_subnet).
    pub fn remove_subnet(&self, network: impl ToIp, prefix: u8) -> Result<bool> {
        let block = subnet(network.to_ip()?, prefix)?;
        Ok(self.remove(block))
    }

    /// Removes the newest of the equal subnets: Node's `removeCIDR`. Returns whether there was one.
    ///
    /// # Errors
    /// As [`add_cidr`](BlockList::add_cidr).
    pub fn remove_cidr(&self, cidr: &str) -> Result<bool> {
        let block = text::parse_cidr(cidr).and_then(|(ip, prefix)| subnet(ip, prefix))?;
        Ok(self.remove(block))
    }

    /// Removes all rules: Node's `clear`.
    pub fn clear(&self) {
        self.write(|rules| *rules = Rules::default());
    }

    /// Whether a rule matches: Node's `check`. What is no address matches none.
    pub fn check(&self, address: impl ToIp) -> bool {
        let Ok(ip) = address.to_ip() else {
            return false;
        };
        self.read(|rules| {
            rules.addresses.contains_key(&mapped(ip))
                || rules.blocks.iter().any(|block| block.matches(ip))
        })
    }

    /// How many rules there are: Node's `size`.
    #[doc(alias = "size")]
    pub fn len(&self) -> usize {
        self.read(|rules| rules.addresses.len() + rules.blocks.len())
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rules as Node words them, such as `Subnet: IPv4 10.0.0.0/8`: single addresses, subnets,
    /// ranges, each the newest first (N303). Node's addresses lie in a hash table, so that their order
    /// among themselves is its own.
    pub fn rules(&self) -> Vec<String> {
        self.read(|rules| {
            let mut addresses: Vec<_> = rules.addresses.values().collect();
            addresses.sort_by_key(|(order, _)| std::cmp::Reverse(*order));
            let addresses = addresses
                .into_iter()
                .map(|(_, ip)| format!("Address: {} {}", name(*ip), text_of(*ip)));
            let newest_first = || rules.blocks.iter().rev();
            let is_range = |block: &&Block| matches!(block, Block::Range(..));
            let subnets = newest_first().filter(|block| !is_range(block));
            let ranges = newest_first().filter(is_range);
            let blocks = subnets.chain(ranges).map(Block::to_string);
            addresses.chain(blocks).collect()
        })
    }

    /// The rules as a JSON array: what `JSON.stringify` makes of Node's.
    pub fn to_json(&self) -> String {
        text::to_json(&self.rules())
    }

    /// Adds the rules of a JSON array: Node's `fromJSON` with a text.
    ///
    /// # Errors
    /// - `ERR_INVALID_ARG_TYPE` if it is no array of texts in JSON; nothing is added then.
    /// - As [`add_rules`](BlockList::add_rules).
    pub fn from_json(&self, json: &str) -> Result<()> {
        self.add_rules(text::parse_json(json)?)
    }

    /// Adds rules as [`rules`](BlockList::rules) words them: Node's `fromJSON` with an array. As
    /// there, what contains no rule is passed over, and what surrounds one does not matter.
    ///
    /// # Errors
    /// Those of adding an address, a range or a subnet. The rules in front of it are added.
    pub fn add_rules(&self, rules: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        for rule in rules {
            match text::parse_rule(rule.as_ref()) {
                None => {}
                Some(text::Rule::Address(family, address)) => {
                    self.add_address((address, family))?
                }
                Some(text::Rule::Range(family, start, end)) => {
                    self.add_range((start, family), (end, family))?;
                }
                Some(text::Rule::Subnet(family, network, prefix)) => {
                    self.add_subnet((network, family), prefix)?;
                }
            }
        }
        Ok(())
    }

    fn remove(&self, block: Block) -> bool {
        self.write(|rules| {
            let newest = rules.blocks.iter().rposition(|other| *other == block);
            newest.map(|index| rules.blocks.remove(index)).is_some()
        })
    }

    fn read<R>(&self, act: impl FnOnce(&Rules) -> R) -> R {
        act(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<R>(&self, act: impl FnOnce(&mut Rules) -> R) -> R {
        act(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for BlockList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockList")
            .field("rules", &self.rules())
            .finish()
    }
}

impl Block {
    fn matches(&self, ip: IpAddr) -> bool {
        match *self {
            Block::Range(start, end) => {
                let from = compare(ip, start);
                let to = compare(ip, end);
                from.is_some_and(Ordering::is_ge) && to.is_some_and(Ordering::is_le)
            }
            Block::Subnet(network, prefix) => {
                let bits = match network {
                    IpAddr::V4(_) => u32::from(prefix) + 96,
                    IpAddr::V6(_) => u32::from(prefix),
                };
                let differ = mapped(ip) ^ mapped(network);
                // A shift by all 128 bits is none in Rust.
                differ.checked_shr(128 - bits).unwrap_or(0) == 0
            }
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Block::Range(start, end) => {
                let (from, to) = (text_of(start), text_of(end));
                write!(f, "Range: {} {from}-{to}", name(start))
            }
            Block::Subnet(network, prefix) => {
                write!(f, "Subnet: {} {}/{prefix}", name(network), text_of(network))
            }
        }
    }
}

/// A checked subnet. Bits behind the prefix are kept, as Node keeps them.
fn subnet(network: IpAddr, prefix: u8) -> Result<Block> {
    let bits = match network {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    if prefix > bits {
        return Err(text::prefix_out_of_range(bits, i64::from(prefix)));
    }
    Ok(Block::Subnet(network, prefix))
}

/// The IPv6 address that an address is or is mapped to.
fn mapped(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// IPv4 can be compared with no IPv6 address but those that IPv4 addresses are mapped to.
fn compare(one: IpAddr, two: IpAddr) -> Option<Ordering> {
    let comparable = match (one, two) {
        (IpAddr::V4(_), IpAddr::V6(v6)) | (IpAddr::V6(v6), IpAddr::V4(_)) => {
            v6.to_ipv4_mapped().is_some()
        }
        _ => true,
    };
    comparable.then(|| mapped(one).cmp(&mapped(two)))
}

fn name(ip: IpAddr) -> &'static str {
    match Family::of(ip) {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

impl ToIp for &str {
    fn to_ip(&self) -> Result<IpAddr> {
        let family = match self.contains(':') {
            true => Family::V6,
            false => Family::V4,
        };
        (*self, family).to_ip()
    }
}

impl ToIp for &String {
    fn to_ip(&self) -> Result<IpAddr> {
        self.as_str().to_ip()
    }
}

impl ToIp for (&str, Family) {
    fn to_ip(&self) -> Result<IpAddr> {
        parse_ip(self.0, self.1).ok_or_else(invalid_address)
    }
}

impl ToIp for IpAddr {
    fn to_ip(&self) -> Result<IpAddr> {
        Ok(*self)
    }
}

impl ToIp for Ipv4Addr {
    fn to_ip(&self) -> Result<IpAddr> {
        Ok((*self).into())
    }
}

impl ToIp for Ipv6Addr {
    fn to_ip(&self) -> Result<IpAddr> {
        Ok((*self).into())
    }
}

impl ToIp for SocketAddr {
    fn to_ip(&self) -> Result<IpAddr> {
        Ok(self.ip())
    }
}

impl ToIp for SocketAddress {
    fn to_ip(&self) -> Result<IpAddr> {
        Ok(self.ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n301_mapped_addresses_match_both_ways() {
        let list = BlockList::new();
        list.add_address("1.1.1.1").unwrap();
        list.add_range("::ffff:2.0.0.1", "::ffff:2.0.0.9").unwrap();
        list.add_subnet("::ffff:3.0.0.0", 104).unwrap();
        for blocked in [
            "1.1.1.1",
            "::ffff:1.1.1.1",
            "2.0.0.9",
            "3.1.2.3",
            "::ffff:3.1.2.3",
        ] {
            assert!(list.check(blocked), "{blocked}");
        }
        for free in ["::1.1.1.1", "2.0.0.10", "4.0.0.0", "::2.0.0.1"] {
            assert!(!list.check(free), "{free}");
        }
    }

    #[test]
    fn what_was_read_as_a_string_is_an_address_too() {
        let list = BlockList::new();
        for line in "1.1.1.1\n::2".lines().map(String::from) {
            list.add_address(&line).unwrap();
            assert!(list.check(&line));
        }
        assert!(list.add_address(&String::from("x")).is_err());
    }

    #[test]
    fn n302_the_whole_of_a_family_is_a_subnet() {
        let list = BlockList::new();
        list.add_subnet("9.9.9.9", 0).unwrap();
        assert!(list.check("1.2.3.4") && list.check("::ffff:1.2.3.4"));
        assert!(!list.check("::1"));
        list.add_subnet("::", 0).unwrap();
        assert!(list.check("::1"));
        assert_eq!(
            list.rules(),
            ["Subnet: IPv6 ::/0", "Subnet: IPv4 9.9.9.9/0"]
        );
    }

    #[test]
    fn n300_n302_what_is_wrong_is_said() {
        let list = BlockList::new();
        let code = |result: Result<()>| result.unwrap_err().code().unwrap();
        assert_eq!(code(list.add_address("1.1.1")), "ERR_INVALID_ADDRESS");
        let v6_as_v4 = list.add_address(("::1", Family::V4));
        assert_eq!(code(v6_as_v4), "ERR_INVALID_ADDRESS");
        let backwards = list.add_range("2.2.2.9", "2.2.2.1");
        assert_eq!(code(backwards), "ERR_INVALID_ARG_VALUE");
        assert_eq!(code(list.add_subnet("1.1.1.1", 33)), "ERR_OUT_OF_RANGE");
        assert_eq!(code(list.add_subnet("::", 129)), "ERR_OUT_OF_RANGE");
        assert!(list.is_empty());
    }

    #[test]
    fn n303_addresses_then_subnets_then_ranges() {
        let list = BlockList::new();
        list.add_address("1.1.1.1").unwrap();
        list.add_subnet("3.3.3.3", 24).unwrap();
        list.add_range("2.2.2.2", "2.2.2.9").unwrap();
        list.add_address("4.4.4.4").unwrap();
        list.add_address("::ffff:1.1.1.1").unwrap();
        let rules = [
            "Address: IPv4 4.4.4.4",
            "Address: IPv6 ::ffff:1.1.1.1",
            "Subnet: IPv4 3.3.3.3/24",
            "Range: IPv4 2.2.2.2-2.2.2.9",
        ];
        assert_eq!(list.rules(), rules);
        assert_eq!(list.len(), 4);
    }

    #[test]
    fn removing_takes_the_newest_of_equal_ones() {
        let list = BlockList::new();
        for cidr in ["1.0.0.0/8", "2.0.0.0/8", "1.0.0.0/8"] {
            list.add_cidr(cidr).unwrap();
        }
        assert!(list.remove_cidr("1.0.0.0/8").unwrap());
        let left = ["Subnet: IPv4 2.0.0.0/8", "Subnet: IPv4 1.0.0.0/8"];
        assert_eq!(list.rules(), left);
        assert!(!list.remove_subnet("1.0.0.1", 8).unwrap());
        list.add_address("1.1.1.1").unwrap();
        assert!(list.remove_address("::ffff:1.1.1.1").unwrap());
        assert!(!list.remove_range("1.1.1.1", "1.1.1.2").unwrap());
        list.clear();
        assert!(list.is_empty());
    }

    #[test]
    fn a_clone_is_the_same_list() {
        let list = BlockList::new();
        let other = list.clone();
        let thread = std::thread::spawn(move || other.add_address("1.1.1.1"));
        thread.join().unwrap().unwrap();
        assert!(list.check("1.1.1.1"));
    }

    #[test]
    fn json_goes_out_and_comes_in() {
        let list = BlockList::new();
        for cidr in BlockList::PRIVATE_RANGES {
            list.add_cidr(cidr).unwrap();
        }
        list.add_range("::1", "::9").unwrap();
        let other = BlockList::new();
        other.from_json(&list.to_json()).unwrap();
        let (mut one, mut two) = (list.rules(), other.rules());
        // Each kind comes back in the reverse order.
        one.sort();
        two.sort();
        assert_eq!(one, two);
        assert_eq!(one.len(), 9);
    }
}
