//! IP addresses as Node reads and prints them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::error::{Error, Result};

/// The largest flow label: it has 20 bits.
const FLOW_LABEL_MAX: u32 = (1 << 20) - 1;

/// A family of addresses: Node's `'ipv4'` and `'ipv6'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Its number: 4 or 6, as Node's callbacks tell it.
    pub fn number(self) -> u8 {
        match self {
            Family::V4 => 4,
            Family::V6 => 6,
        }
    }
}

impl fmt::Display for Family {
    /// As Node's `SocketAddress` says it: `ipv4` or `ipv6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        })
    }
}

/// Which family a text is an address of, None if it is none: Node's `net.isIP` (N297–N299).
///
/// ```
/// use nodeloop::net::{Family, is_ip};
///
/// assert_eq!(is_ip("127.0.0.1"), Some(Family::V4));
/// assert_eq!(is_ip("fe80::1%eth0"), Some(Family::V6));
/// assert_eq!(is_ip("127.000.000.001"), None);
/// ```
pub fn is_ip(text: &str) -> Option<Family> {
    if is_ipv4(text) {
        Some(Family::V4)
    } else if is_ipv6(text) {
        Some(Family::V6)
    } else {
        None
    }
}

/// Whether a text is an IPv4 address: four decimal numbers up to 255 without leading zeros, and
/// nothing around them. Node's `net.isIPv4` (N297).
pub fn is_ipv4(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok()
}

/// Whether a text is an IPv6 address, with or without a zone (`%` and letters, digits, `.`, `:`,
/// `-`), which any address may have. Node's `net.isIPv6` (N298, N299).
pub fn is_ipv6(text: &str) -> bool {
    match text.split_once('%') {
        None => text.parse::<Ipv6Addr>().is_ok(),
        Some((address, zone)) => is_zone(zone) && address.parse::<Ipv6Addr>().is_ok(),
    }
}

/// What Node takes as the name of a zone.
fn is_zone(zone: &str) -> bool {
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
    !zone.is_empty() && zone.bytes().all(may_be)
}

/// An address as [`is_ip`] knows it, with the name of its zone.
pub(crate) fn parse_literal(text: &str) -> Option<(IpAddr, Option<&str>)> {
    let family = is_ip(text)?;
    let zone = text.split_once('%').map(|(_, zone)| zone);
    parse_ip(text, family).map(|ip| (ip, zone))
}

/// An address of a family, read as libuv reads it: any zone is left out.
pub(crate) fn parse_ip(text: &str, family: Family) -> Option<IpAddr> {
    match family {
        Family::V4 => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Family::V6 => {
            let address = text.split_once('%').map_or(text, |(address, _)| address);
            address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
    }
}

/// An address as libuv prints it, which is nearly as Rust does: `::1.2.3.4` has dots, too.
pub(crate) fn text_of(address: IpAddr) -> String {
    let IpAddr::V6(v6) = address else {
        return address.to_string();
    };
    match v6.segments() {
        // Compatible with IPv4, by the first two of its groups that are left.
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => format!("::{}", Ipv4Addr::from(low_bits(v6))),
        _ => address.to_string(),
    }
}

/// The address without its port as errors name it: with its zone, if it has one, as a number.
pub(crate) fn host_of(address: SocketAddr) -> String {
    let text = text_of(address.ip());
    match address {
        SocketAddr::V6(v6) if v6.scope_id() > 0 => format!("{text}%{}", v6.scope_id()),
        _ => text,
    }
}

fn low_bits(address: Ipv6Addr) -> u32 {
    u128::from(address) as u32
}

/// An IP address, a port, and for IPv6 a flow label: Node's `net.SocketAddress`.
///
/// ```
/// use nodeloop::net::{Family, SocketAddress};
///
/// # fn main() -> nodeloop::Result<()> {
/// let address = SocketAddress::new("2001:DB8:0:0::1", Family::V6, 80)?;
/// assert_eq!(address.address(), "2001:db8::1");
/// assert_eq!(address.to_string(), "[2001:db8::1]:80");
/// assert_eq!(SocketAddress::parse("[2001:db8::1]:80"), Some(address));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketAddress {
    /// The address.
    ip: IpAddr,
    /// The port.
    port: u16,
    /// The flow label; 0 where there is none.
    flow_label: u32,
}

impl SocketAddress {
    /// From a text of that family. A zone is left out, as in Node.
    ///
    /// # Errors
    /// `ERR_INVALID_ADDRESS` if the text is no address of that family.
    pub fn new(address: &str, family: Family, port: u16) -> Result<SocketAddress> {
        let ip = parse_ip(address, family).ok_or_else(invalid_address)?;
        Ok(SocketAddress {
            ip,
            port,
            flow_label: 0,
        })
    }

    /// The same with a flow label: Node's `flowlabel`.
    ///
    /// # Errors
    /// `ERR_OUT_OF_RANGE` if it has more than 20 bits. (Node aborts the process then.)
    pub fn with_flow_label(self, flow_label: u32) -> Result<SocketAddress> {
        if flow_label > FLOW_LABEL_MAX {
            let message = format!(
                "The value of \"flowlabel\" is out of range. It must be >= 0 && <= {FLOW_LABEL_MAX}. Received {flow_label}"
            );
            return Err(Error::library("ERR_OUT_OF_RANGE", &message));
        }
        Ok(SocketAddress { flow_label, ..self })
    }

    /// Reads an address with or without a port: `1.2.3.4`, `1.2.3.4:80`, `[::1]`, `[::1]:80`. None
    /// if it is nothing of that kind. Node's `SocketAddress.parse`.
    ///
    /// Node reads a URL's host instead (N305), so it loses port 80, takes `192.168.1` for 192.168.0.1, and finds
    /// an address in `user@1.2.3.4/x`. Here these are no addresses.
    pub fn parse(text: &str) -> Option<SocketAddress> {
        let (address, family, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, behind) = rest.split_once(']')?;
                let port = match behind {
                    "" => None,
                    _ => Some(behind.strip_prefix(':')?),
                };
                (address, Family::V6, port)
            }
            None => match text.split_once(':') {
                Some((address, port)) => (address, Family::V4, Some(port)),
                None => (text, Family::V4, None),
            },
        };
        if address.contains('%') {
            return None;
        }
        let port = match port {
            None => 0,
            // Rust's numbers may have a plus.
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok()?,
            Some(_) => return None,
        };
        SocketAddress::new(address, family, port).ok()
    }

    /// The address as Node prints it: lower case, `::` for the longest run of zeros.
    pub fn address(self) -> String {
        text_of(self.ip)
    }

    /// The address.
    pub fn ip(self) -> IpAddr {
        self.ip
    }

    /// Its family.
    pub fn family(self) -> Family {
        Family::of(self.ip)
    }

    /// The port.
    pub fn port(self) -> u16 {
        self.port
    }

    /// The flow label: Node's `flowlabel`. 0 for IPv4.
    pub fn flow_label(self) -> u32 {
        match self.ip {
            IpAddr::V4(_) => 0,
            IpAddr::V6(_) => self.flow_label,
        }
    }

    /// As Node's `JSON.stringify` prints it.
    pub fn to_json(self) -> String {
        format!(
            "{{\"address\":\"{}\",\"port\":{},\"family\":\"{}\",\"flowlabel\":{}}}",
            self.address(),
            self.port,
            self.family(),
            self.flow_label(),
        )
    }
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            IpAddr::V4(_) => write!(f, "{}:{}", self.address(), self.port),
            IpAddr::V6(_) => write!(f, "[{}]:{}", self.address(), self.port),
        }
    }
}

impl From<SocketAddr> for SocketAddress {
    fn from(address: SocketAddr) -> SocketAddress {
        SocketAddress {
            ip: address.ip(),
            port: address.port(),
            flow_label: match address {
                SocketAddr::V4(_) => 0,
                SocketAddr::V6(address) => address.flowinfo() & FLOW_LABEL_MAX,
            },
        }
    }
}

impl From<SocketAddress> for SocketAddr {
    fn from(address: SocketAddress) -> SocketAddr {
        match address.ip {
            IpAddr::V4(ip) => SocketAddrV4::new(ip, address.port).into(),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, address.port, address.flow_label, 0).into(),
        }
    }
}

pub(crate) fn invalid_address() -> Error {
    Error::library("ERR_INVALID_ADDRESS", "Invalid socket address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n297_four_plain_numbers() {
        for good in ["0.0.0.0", "255.255.255.255", "1.2.3.4"] {
            assert_eq!(is_ip(good), Some(Family::V4), "{good}");
        }
        let bad = [
            "",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "01.2.3.4",
            "1.2.3.4 ",
            " 1.2.3.4",
            "1.2.3.4%1",
            "1.2.3.4\n",
            "+1.2.3.4",
            "1..3.4",
            "0x1.2.3.4",
            "1.2.3.00",
        ];
        for bad in bad {
            assert_eq!(is_ip(bad), None, "{bad}");
        }
    }

    #[test]
    fn n298_n299_groups_and_zones() {
        let good = [
            "::",
            "::1",
            "1::",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1:2:3:4:5:6:1.2.3.4",
            "1:2:3:4:5::1.2.3.4",
            "::1.2.3.4",
            "ABCD::ef",
            "::1%a",
            "::1%a-b.c:9",
        ];
        for good in good {
            assert_eq!(is_ip(good), Some(Family::V6), "{good}");
        }
        let bad = [
            ":",
            ":::",
            "1:2:3:4:5:6:7",
            "1::2:3:4:5:6:7:8",
            "12345::",
            "::1.2.3.04",
            "1:2:3:4:5:6:7:1.2.3.4",
            "::1.2.3.4:5",
            "::1%",
            "::1%a_b",
            "::1%a%b",
            "::1%/",
            "::1%a b",
            "[::1]",
            "::g",
            "::1\n",
            "1.2.3.4::",
        ];
        for bad in bad {
            assert_eq!(is_ip(bad), None, "{bad}");
        }
    }

    #[test]
    fn literals_have_zones() {
        let lo = "fe80::1".parse().unwrap();
        assert_eq!(parse_literal("fe80::1%lo"), Some((lo, Some("lo"))));
        assert_eq!(parse_literal("fe80::1"), Some((lo, None)));
        for name in ["localhost", "", "127.1", "1.2.3.4%1", "::1%", "::1%a_b"] {
            assert_eq!(parse_literal(name), None, "{name}");
        }
    }

    #[test]
    fn n304_the_text_of_an_address() {
        let pairs = [
            ("FE80:0:0:0:0:0:0:1", "fe80::1"),
            ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
            ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),
            ("::1.2.3.4", "::1.2.3.4"),
            ("::0.0.0.1", "::1"),
            ("::0.1.0.0", "::0.1.0.0"),
            ("::1:0:0", "::1:0:0"),
            ("::ffff:0:0", "::ffff:0.0.0.0"),
            ("::ffff:0:1.2.3.4", "::ffff:0:102:304"),
            ("fe80::1%nope", "fe80::1"),
            ("::", "::"),
        ];
        for (text, shown) in pairs {
            let address = SocketAddress::new(text, Family::V6, 0).unwrap();
            assert_eq!(address.address(), shown);
        }
        let wrong = SocketAddress::new("::1", Family::V4, 0).unwrap_err();
        assert_eq!(wrong.code(), Some("ERR_INVALID_ADDRESS"));
    }

    #[test]
    fn n304_the_flow_label_has_20_bits_and_belongs_to_ipv6() {
        let v6 = SocketAddress::new("::", Family::V6, 1).unwrap();
        let most = v6.with_flow_label(0xF_FFFF).unwrap();
        assert_eq!(
            most.to_json(),
            r#"{"address":"::","port":1,"family":"ipv6","flowlabel":1048575}"#
        );
        assert_eq!(SocketAddress::from(SocketAddr::from(most)), most);
        let more = v6.with_flow_label(0x10_0000).unwrap_err();
        assert_eq!(more.code(), Some("ERR_OUT_OF_RANGE"));
        let v4 = SocketAddress::new("1.2.3.4", Family::V4, 1).unwrap();
        assert_eq!(v4.with_flow_label(5).unwrap().flow_label(), 0);
    }

    #[test]
    fn n305_parse_reads_addresses_and_nothing_else() {
        for good in [
            "1.2.3.4:80",
            "1.2.3.4:0",
            "[::1]:65535",
            "[::ffff:1.2.3.4]:443",
        ] {
            let address = SocketAddress::parse(good).unwrap();
            assert_eq!(address.to_string(), good);
        }
        assert_eq!(SocketAddress::parse("1.2.3.4").unwrap().port(), 0);
        assert_eq!(SocketAddress::parse("[::1]").unwrap().port(), 0);
        let bad = [
            "",
            "a:80",
            "::1",
            "1.2.3.4:",
            "1.2.3.4:65536",
            "1.2.3.4:+1",
            "1.2.3.4:-1",
            "[::1]x",
            "[::1",
            "[::1]:",
            "[1.2.3.4]:1",
            "192.168.1",
            "0x7f.1",
            "u@1.2.3.4",
            "1.2.3.4/x",
            "[fe80::1%lo]:1",
            "1.2.3.4:80:80",
        ];
        for bad in bad {
            assert_eq!(SocketAddress::parse(bad), None, "{bad}");
        }
    }
}
