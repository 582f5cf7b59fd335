//! What one option's value means: addresses, ports, masks, numbers.
//! Each is read from its text alone, as ipvsadm reads it; what fits together is `rule`'s.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::line::Word;
use crate::config::diagnostics::{Problem, quoted};

/// Ports that `ipvsadm -S` writes by name unless it is given -n (IANA's register of service names).
const PORTS: &[(&str, u16)] = &[
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("tftp", 69),
    ("http", 80),
    ("www", 80),
    ("kerberos", 88),
    ("pop3", 110),
    ("ntp", 123),
    ("imap2", 143),
    ("imap", 143),
    ("snmp", 161),
    ("ldap", 389),
    ("https", 443),
    ("submissions", 465),
    ("syslog", 514),
    ("submission", 587),
    ("ldaps", 636),
    ("domain-s", 853),
    ("imaps", 993),
    ("pop3s", 995),
    ("openvpn", 1194),
    ("ms-sql-s", 1433),
    ("radius", 1812),
    ("nfs", 2049),
    ("mysql", 3306),
    ("ms-wbt-server", 3389),
    ("sip", 5060),
    ("sip-tls", 5061),
    ("postgresql", 5432),
    ("redis", 6379),
    ("http-alt", 8080),
];

/// `host`, `host:port`, `[host]` or `[host]:port`.
pub(super) fn address(word: Word<'_>) -> Result<(IpAddr, Option<u16>), Problem> {
    let (host, port) = match word.text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, tail)) => match tail.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return Err(not_an_address(word)),
            },
            None => return Err(not_an_address(word).help("the bracket `]` is missing")),
        },
        // As ipvsadm, which takes an IPv6 address without a port without brackets too.
        None if word.text.parse::<Ipv6Addr>().is_ok() => (word.text, None),
        None => match word.text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (word.text, None),
        },
    };
    let bracketed = word.text.starts_with('[');
    let host: IpAddr = host.parse().map_err(|_| not_an_address(word))?;
    if bracketed != host.is_ipv6() && port.is_some() {
        return Err(not_an_address(word).help("an IPv6 address stands in brackets, no other does"));
    }
    let port = port.map(|text| self::port(text, word)).transpose()?;
    Ok((host, port))
}

fn not_an_address(word: Word<'_>) -> Problem {
    let problem = word.problem(format!("`{}` is not an address", word.shown()));
    if word.text.contains(|c: char| c.is_ascii_alphabetic()) && !word.text.contains("::") {
        problem.help("names are not resolved: save the rules with `ipvsadm -Sn`")
    } else {
        problem.help("expected an address and a port: 192.0.2.1:80 or [2001:db8::1]:80")
    }
}

fn port(text: &str, word: Word<'_>) -> Result<u16, Problem> {
    let named = PORTS.iter().find(|(name, _)| *name == text);
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = named.map(|(_, port)| *port);
    port.or_else(|| text.parse().ok().filter(|_| digits))
        .ok_or_else(|| {
            let message = format!("`{}` is not a port", quoted(text));
            let help = if digits {
                "expected a number from 0 to 65535"
            } else {
                "expected a number; save the rules with `ipvsadm -Sn`"
            };
            word.problem(message).help(help)
        })
}

/// A number in a range; `what` begins with an article.
pub(super) fn number(
    word: Word<'_>,
    range: RangeInclusive<u32>,
    what: &str,
) -> Result<u32, Problem> {
    let digits = !word.text.is_empty() && word.text.bytes().all(|byte| byte.is_ascii_digit());
    let number = word.text.parse().ok().filter(|_| digits);
    number
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            word.problem(format!("`{}` is not {what}", word.shown()))
                .help(format!(
                    "expected a number from {} to {}",
                    range.start(),
                    range.end()
                ))
        })
}

/// A netmask such as 255.255.255.0, or the length of a prefix.
pub(super) fn mask(word: Word<'_>, v6: bool) -> Result<u8, Problem> {
    let bad = |help: &str| {
        let message = format!("`{}` is not a mask", word.shown());
        word.problem(message).help(help)
    };
    if let Ok(mask) = word.text.parse::<Ipv4Addr>() {
        if v6 {
            return Err(bad("expected a prefix length for IPv6: 64"));
        }
        let bits = mask.to_bits();
        if bits.leading_ones() != bits.count_ones() {
            return Err(bad("expected a mask whose ones come first: 255.255.255.0"));
        }
        return Ok(u8::try_from(bits.leading_ones()).unwrap_or(32));
    }
    let longest = if v6 { 128 } else { 32 };
    let length = word.text.parse::<u8>().ok();
    length
        .filter(|length| (1..=longest).contains(length))
        .ok_or_else(|| {
            if v6 {
                bad("expected a prefix length from 1 to 128")
            } else {
                bad("expected a mask such as 255.255.255.0, or a prefix length from 1 to 32")
            }
        })
}
