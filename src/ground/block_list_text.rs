//! The rules of a [`BlockList`](super::block_list::BlockList) as texts, and in JSON.

use std::net::IpAddr;

use super::addresses::{Family, invalid_address, parse_ip};
use super::error::{Error, Result};

/// A rule as it was found in a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rule<'a> {
    /// One address.
    Address(Family, &'a str),
    /// From the first to the second.
    Range(Family, &'a str, &'a str),
    /// A network and its prefix.
    Subnet(Family, &'a str, u8),
}

/// The error of a prefix that is longer than an address.
pub(crate) fn prefix_out_of_range(bits: u8, prefix: i64) -> Error {
    let message = format!(
        "The value of \"prefix\" is out of range. It must be >= 0 && <= {bits}. Received {prefix}"
    );
    Error::library("ERR_OUT_OF_RANGE", &message)
}

/// A subnet as it is usually written.
pub(crate) fn parse_cidr(cidr: &str) -> Result<(IpAddr, u8)> {
    let wrong = |what: &str| {
        let message = format!("The argument 'cidr' {what}. Received '{cidr}'");
        Error::library("ERR_INVALID_ARG_VALUE", &message)
    };
    let (address, prefix) = cidr
        .rsplit_once('/')
        .ok_or_else(|| wrong("must contain a prefix length (e.g. \"10.0.0.0/8\")"))?;
    // Neither a plus nor leading zeros: as it would be printed.
    let number = prefix.parse::<i64>().ok();
    let number = number
        .filter(|number| number.to_string() == prefix)
        .ok_or_else(|| wrong("prefix length must be a valid integer"))?;
    let (family, bits) = match address.contains(':') {
        true => (Family::V6, 128),
        false => (Family::V4, 32),
    };
    let ip = parse_ip(address, family).ok_or_else(invalid_address)?;
    match u8::try_from(number) {
        Ok(prefix) => Ok((ip, prefix)),
        Err(_) => Err(prefix_out_of_range(bits, number)),
    }
}

/// Finds a rule in a text, wherever in it, as Node's patterns do. Those of IPv6 don't mind upper
/// and lower case.
pub(crate) fn parse_rule(text: &str) -> Option<Rule<'_>> {
    let mut rule = None;
    if text.contains("IPv4") {
        rule = find(text, "Subnet: IPv4 ", subnet_v4)
            .or_else(|| find(text, "Address: IPv4 ", address_v4))
            .or_else(|| find(text, "Range: IPv4 ", range_v4));
    }
    if rule.is_none() && text.contains("IPv6") {
        rule = find(text, "subnet: ipv6 ", subnet_v6)
            .or_else(|| find(text, "address: ipv6 ", address_v6))
            .or_else(|| find(text, "range: ipv6 ", range_v6));
    }
    rule
}

/// The first place where `read` makes something of what follows `start`. A start in small letters
/// is found in capitals, too.
fn find<'a>(text: &'a str, start: &str, read: fn(&'a str) -> Option<Rule<'a>>) -> Option<Rule<'a>> {
    let any_case = start.bytes().all(|byte| !byte.is_ascii_uppercase());
    let matches = |head: &[u8]| match any_case {
        true => head.eq_ignore_ascii_case(start.as_bytes()),
        false => head == start.as_bytes(),
    };
    let places = text.as_bytes().windows(start.len()).enumerate();
    let mut places = places.filter(|(_, head)| matches(head));
    places.find_map(|(at, _)| read(&text[at + start.len()..]))
}

fn subnet_v4(text: &str) -> Option<Rule<'_>> {
    let (network, rest) = four_numbers(text)?;
    let (prefix, _) = digits(rest.strip_prefix('/')?, 2)?;
    Some(Rule::Subnet(Family::V4, network, prefix.parse().ok()?))
}

fn address_v4(text: &str) -> Option<Rule<'_>> {
    Some(Rule::Address(Family::V4, four_numbers(text)?.0))
}

fn range_v4(text: &str) -> Option<Rule<'_>> {
    let (start, rest) = four_numbers(text)?;
    let (end, _) = four_numbers(rest.strip_prefix('-')?)?;
    Some(Rule::Range(Family::V4, start, end))
}

fn subnet_v6(text: &str) -> Option<Rule<'_>> {
    let (network, rest) = groups(text)?;
    let (prefix, _) = digits(rest.strip_prefix('/')?, 3)?;
    // Beyond 255 it is beyond 128 as well.
    let prefix = prefix.parse().unwrap_or(u8::MAX);
    Some(Rule::Subnet(Family::V6, network, prefix))
}

fn address_v6(text: &str) -> Option<Rule<'_>> {
    Some(Rule::Address(Family::V6, groups(text)?.0))
}

fn range_v6(text: &str) -> Option<Rule<'_>> {
    let (start, rest) = groups(text)?;
    let (end, _) = groups(rest.strip_prefix('-')?)?;
    Some(Rule::Range(Family::V6, start, end))
}

/// Four numbers of up to three digits, and the rest.
fn four_numbers(text: &str) -> Option<(&str, &str)> {
    let (_, mut rest) = digits(text, 3)?;
    for _ in 0..3 {
        rest = digits(rest.strip_prefix('.')?, 3)?.1;
    }
    Some(text.split_at(text.len() - rest.len()))
}

fn digits(text: &str, most: usize) -> Option<(&str, &str)> {
    run_of(text, most, |byte| byte.is_ascii_digit())
}

/// What an IPv6 address may consist of, up to the length of the longest, and the rest.
fn groups(text: &str) -> Option<(&str, &str)> {
    run_of(text, 45, |byte| {
        byte.is_ascii_hexdigit() || b":.".contains(&byte)
    })
}

fn run_of(text: &str, most: usize, fits: impl Fn(u8) -> bool) -> Option<(&str, &str)> {
    let count = text
        .bytes()
        .take(most)
        .take_while(|byte| fits(*byte))
        .count();
    (count > 0).then(|| text.split_at(count))
}

/// Texts as a JSON array. Those of rules have nothing that must be escaped.
pub(crate) fn to_json(rules: &[String]) -> String {
    let quoted: Vec<_> = rules.iter().map(|rule| format!("\"{rule}\"")).collect();
    format!("[{}]", quoted.join(","))
}

/// The texts of a JSON array.
pub(crate) fn parse_json(json: &str) -> Result<Vec<String>> {
    let mut reader = Json { rest: json };
    reader.array().ok_or_else(|| {
        let message = "The \"data\" argument must be an array of strings in JSON.";
        Error::library("ERR_INVALID_ARG_TYPE", message)
    })
}

/// What is left of a JSON text.
struct Json<'a> {
    rest: &'a str,
}

impl Json<'_> {
    fn array(&mut self) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        self.take('[')?;
        if self.take(']').is_none() {
            loop {
                self.take('"')?;
                texts.push(self.string()?);
                if self.take(',').is_none() {
                    break;
                }
            }
            self.take(']')?;
        }
        self.skip_blanks();
        self.rest.is_empty().then_some(texts)
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes this character, behind any blanks.
    fn take(&mut self, wanted: char) -> Option<()> {
        self.skip_blanks();
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    /// The rest of a text whose opening quote was taken.
    fn string(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.next()? {
                '"' => return Some(text),
                '\\' => text.push(self.escaped()?),
                c if c < ' ' => return None,
                c => text.push(c),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        Some(match self.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            c @ ('"' | '\\' | '/') => c,
            'u' => {
                let first = self.code_unit()?;
                let mut units = vec![first];
                if (0xD800..0xDC00).contains(&first) && self.rest.starts_with("\\u") {
                    let behind = self.rest;
                    self.rest = &self.rest[2..];
                    match self.code_unit()? {
                        second @ 0xDC00..0xE000 => units.push(second),
                        // A code unit of its own: it stays.
                        _ => self.rest = behind,
                    }
                }
                // A text of Rust's can't hold half of a pair.
                char::decode_utf16(units)
                    .next()?
                    .unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return None,
        })
    }

    fn code_unit(&mut self) -> Option<u16> {
        let digits = self.rest.get(..4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.rest = &self.rest[4..];
        u16::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_found_as_nodes_patterns_find_them() {
        use Family::{V4, V6};
        let cases = [
            (
                "Subnet: IPv4 1.2.3.4/16 trailing",
                Some(Rule::Subnet(V4, "1.2.3.4", 16)),
            ),
            (
                "xxAddress: IPv4 1.2.3.4.5",
                Some(Rule::Address(V4, "1.2.3.4")),
            ),
            (
                "Address: IPv4 999.1.1.1",
                Some(Rule::Address(V4, "999.1.1.1")),
            ),
            (
                "Subnet: IPv4 1.1.1.1/999",
                Some(Rule::Subnet(V4, "1.1.1.1", 99)),
            ),
            ("subnet: ipv6 ::/3", None),
            ("SUBNET: IPv6 ::1/3", Some(Rule::Subnet(V6, "::1", 3))),
            ("Subnet: IPv6 ::/0129", Some(Rule::Subnet(V6, "::", 12))),
            ("Subnet: IPv6 ::/999", Some(Rule::Subnet(V6, "::", 255))),
            (
                "Address: IPv6 fe80::1%lo",
                Some(Rule::Address(V6, "fe80::1")),
            ),
            ("Range: IPv4 1.1.1.1-::1", None),
            ("Range: IPv6 ::1-::2", Some(Rule::Range(V6, "::1", "::2"))),
            (
                "Address: IPv4 1.1.1.1 Subnet: IPv4 2.2.2.2/8",
                Some(Rule::Subnet(V4, "2.2.2.2", 8)),
            ),
            (
                "IPv6 Address: IPv4 1.1.1.1",
                Some(Rule::Address(V4, "1.1.1.1")),
            ),
            (
                "ü Address: IPv4 1.1.1.1",
                Some(Rule::Address(V4, "1.1.1.1")),
            ),
            ("junk", None),
        ];
        for (text, rule) in cases {
            assert_eq!(parse_rule(text), rule, "{text}");
        }
    }

    #[test]
    fn json_arrays_of_texts_and_nothing_else() {
        let good = [
            ("[]", vec![]),
            (" [ \"a\" , \"\\u0041\\n\\\"\" ] ", vec!["a", "A\n\""]),
            ("[\"\\ud83d\\ude00\"]", vec!["😀"]),
            ("[\"\\ud83dx\"]", vec!["\u{FFFD}x"]),
        ];
        for (json, texts) in good {
            assert_eq!(parse_json(json).unwrap(), texts, "{json}");
        }
        let bad = [
            "",
            "nope",
            "{}",
            "[1]",
            "[\"a\"",
            "[\"a\",]",
            "[\"a\"]x",
            "\"a\"",
            "[\"\\x\"]",
            "[\"a\nb\"]",
            "[\"\\u12\"]",
            "[\"\\u+123\"]",
        ];
        for bad in bad {
            let error = parse_json(bad).unwrap_err();
            assert_eq!(error.code(), Some("ERR_INVALID_ARG_TYPE"), "{bad}");
        }
    }

    #[test]
    fn cidr_is_an_address_and_a_plain_number() {
        assert_eq!(
            parse_cidr("10.0.0.0/8").unwrap(),
            ("10.0.0.0".parse().unwrap(), 8)
        );
        let code = |cidr: &str| parse_cidr(cidr).unwrap_err().code().unwrap();
        for cidr in [
            "::1",
            "",
            "1.1.1.1/",
            "1.1.1.1/08",
            "1.1.1.1/ 8",
            "1.1.1.1/+8",
        ] {
            assert_eq!(code(cidr), "ERR_INVALID_ARG_VALUE", "{cidr}");
        }
        assert_eq!(code("1.1.1.1/8/9"), "ERR_INVALID_ADDRESS");
        assert_eq!(code("x/3"), "ERR_INVALID_ADDRESS");
        assert_eq!(code("1.1.1.1/-1"), "ERR_OUT_OF_RANGE");
        assert_eq!(code("1.1.1.1/300"), "ERR_OUT_OF_RANGE");
    }
}
