//! Addresses, ranges of them, ports, times and switches as keepalived.conf writes them.
//! What they are for is `server`'s.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

use super::super::line;
use super::super::value;
use super::words::Word;
use crate::config::diagnostics::Problem;

/// Most virtual servers that one range makes.
const MOST: u128 = 1 << 16;
/// keepalived's longest timers are shorter.
const LONGEST_S: f64 = 1e7;

/// The same word for what reads ipvsadm's values.
pub(super) fn same(word: &Word) -> line::Word<'_> {
    line::Word {
        text: &word.text,
        place: word.place,
    }
}

/// An address.
pub(super) fn address(word: &Word) -> Result<IpAddr, Problem> {
    word.text.parse().map_err(|_| {
        word.problem(format!("`{}` is not an address", word.shown()))
            .help("expected an address: 192.0.2.1 or 2001:db8::1")
    })
}

/// A port; 0, as no word at all, is all ports.
pub(super) fn port(word: Option<&Word>) -> Result<u16, Problem> {
    let Some(word) = word else { return Ok(0) };
    let port = value::number(same(word), 0..=u32::from(u16::MAX), "a port")?;
    Ok(u16::try_from(port).unwrap_or(0))
}

/// A whole number of at least `least`.
pub(super) fn number(word: &Word, least: u32, most: u32, what: &str) -> Result<u32, Problem> {
    value::number(same(word), least..=most, what)
}

/// Seconds, perhaps with a fraction.
pub(super) fn timer(word: &Word) -> Result<Duration, Problem> {
    let digits = |c: char| c.is_ascii_digit() || c == '.';
    let seconds = word.text.parse::<f64>().ok();
    let seconds = seconds.filter(|s| word.text.chars().all(digits) && *s <= LONGEST_S);
    // Whole milliseconds are exact enough for what this is for.
    let time = seconds.map(|seconds| Duration::from_secs_f64(seconds).as_millis());
    let time = time.and_then(|ms| u64::try_from(ms).ok());
    time.map(Duration::from_millis).ok_or_else(|| {
        word.problem(format!("`{}` is not a time", word.shown()))
            .help("expected seconds: 3 or 2.5")
    })
}

/// An address or a range of a `virtual_server_group`: `192.0.2.1`, `192.0.2.1-10`,
/// `192.0.2.250-192.0.3.5`, `192.0.2.8/29`, and the same of IPv6, whose short end is hexadecimal.
pub(super) fn range(word: &Word) -> Result<Vec<IpAddr>, Problem> {
    let bad = |help: &str| {
        word.problem(format!("`{}` is no range of addresses", word.shown()))
            .help(help)
    };
    let (first, last) = if word.text.contains('/') {
        let net: IpNet = word
            .text
            .parse()
            .map_err(|_| bad("expected an address and the length of a prefix: 192.0.2.8/29"))?;
        // From the address that is written, as it need not be the network's.
        (net.addr(), net.broadcast())
    } else if let Some((first, last)) = word.text.split_once('-') {
        let first: IpAddr = first
            .parse()
            .map_err(|_| bad("expected a range such as 192.0.2.1-10"))?;
        let last = end(first, last).ok_or_else(|| bad("expected a range such as 192.0.2.1-10"))?;
        (first, last)
    } else {
        return Ok(vec![address(word)?]);
    };
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (first, last) = (first.to_bits(), last.to_bits());
            bounded(first.into(), last.into()).ok_or_else(|| bad(TOO_LARGE))?;
            let all = (first..=last).map(|bits| Ipv4Addr::from_bits(bits).into());
            Ok(all.collect())
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let (first, last) = (first.to_bits(), last.to_bits());
            bounded(first, last).ok_or_else(|| bad(TOO_LARGE))?;
            let all = (first..=last).map(|bits| Ipv6Addr::from_bits(bits).into());
            Ok(all.collect())
        }
        _ => Err(bad("expected two addresses of one family")),
    }
}

const TOO_LARGE: &str =
    "expected an end that is not in front of the beginning, and at most 65536 addresses";

fn bounded(first: u128, last: u128) -> Option<()> {
    (last.checked_sub(first)? < MOST).then_some(())
}

/// A range's end: an address, or its last part.
fn end(first: IpAddr, last: &str) -> Option<IpAddr> {
    if let Ok(last) = last.parse() {
        return Some(last);
    }
    match first {
        IpAddr::V4(first) => {
            let last: u8 = last.parse().ok()?;
            let [a, b, c, _] = first.octets();
            Some(Ipv4Addr::new(a, b, c, last).into())
        }
        IpAddr::V6(first) => {
            let last = u16::from_str_radix(last, 16).ok()?;
            let bits = first.to_bits() & !u128::from(u16::MAX) | u128::from(last);
            Some(Ipv6Addr::from_bits(bits).into())
        }
    }
}
