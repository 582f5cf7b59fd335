//! Addresses with and without ports and prefixes, MAC addresses and hash keys.
//! IPv6 stands in brackets wherever a port can follow.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use plimsoll_dataplane::spec::target::VipSocket;
use plimsoll_dataplane::wire::Mac;

use super::{Leaf, LeafError};

impl Leaf for IpAddr {
    const FORMAT: &'static str = "plimsoll-ip";
    const EXPECTED: &'static str = "an IP address";
    const EXAMPLE: &'static str = "192.0.2.1";

    fn parse(text: &str) -> Result<Self, LeafError> {
        if let Some((address, _)) = text
            .split_once('/')
            .filter(|(a, _)| a.parse::<Self>().is_ok())
        {
            return Err(
                LeafError::new(format!("`{}` has a prefix length", text.escape_debug()))
                    .help(format!("one address is expected here: {address}")),
            );
        }
        if let Ok(with_port) = text.parse::<SocketAddr>() {
            return Err(LeafError::new(format!("`{text}` has a port")).help(format!(
                "an address alone is expected here: {}",
                with_port.ip()
            )));
        }
        ip(text)
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Leaf for SocketAddr {
    const FORMAT: &'static str = "plimsoll-socket";
    const EXPECTED: &'static str = "an IP address and a port";
    const EXAMPLE: &'static str = "127.0.0.1:9142";

    fn parse(text: &str) -> Result<Self, LeafError> {
        match host_and_port(text)? {
            (host, Some(port)) => Ok(Self::new(ip(host)?, port)),
            (host, None) => Err(no_port(host)),
        }
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

/// Where HTTP is served, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpAddr {
    /// Nowhere.
    Off,
    /// At this address and port.
    At(SocketAddr),
}

impl HttpAddr {
    /// The address, unless HTTP is off.
    #[must_use]
    pub const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

impl Leaf for HttpAddr {
    const FORMAT: &'static str = "plimsoll-http";
    const EXPECTED: &'static str = "an IP address and a port, or off";
    const EXAMPLE: &'static str = SocketAddr::EXAMPLE;

    fn parse(text: &str) -> Result<Self, LeafError> {
        if text == "off" {
            return Ok(Self::Off);
        }
        SocketAddr::parse(text).map(Self::At)
    }

    fn print(&self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::At(address) => address.print(),
        }
    }
}

impl Leaf for IpNet {
    const FORMAT: &'static str = "plimsoll-network";
    const EXPECTED: &'static str = "an IP address with its prefix length";
    const EXAMPLE: &'static str = "192.0.2.1/24";

    fn parse(text: &str) -> Result<Self, LeafError> {
        let Some((address, prefix)) = text.split_once('/') else {
            let address = ip(text)?;
            let usual = if address.is_ipv4() { 24 } else { 64 };
            return Err(LeafError::new(format!("`{text}` has no prefix length"))
                .help(format!("write it after a slash: {text}/{usual}")));
        };
        let address = ip(address)?;
        Self::new(address, prefix_length(prefix, address)?).map_err(|_| {
            LeafError::new(format!(
                "`{}` is not a prefix length",
                prefix.escape_debug()
            ))
        })
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Leaf for VipSocket {
    const FORMAT: &'static str = "plimsoll-vip";
    const EXPECTED: &'static str = "a virtual address and port";
    const EXAMPLE: &'static str = "192.0.2.12:80";

    fn parse(text: &str) -> Result<Self, LeafError> {
        let (host, Some(port)) = host_and_port(text)? else {
            return Err(no_port(text));
        };
        let addresses = match host.split_once('/') {
            None => IpNet::from(ip(host)?),
            Some(_) => IpNet::parse(host)?,
        };
        Ok(Self { addresses, port })
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

/// A real server's address; without a port it is the service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RealAddr {
    /// Its address.
    pub address: IpAddr,
    /// Its port, never 0.
    pub port: Option<u16>,
}

impl Leaf for RealAddr {
    const FORMAT: &'static str = "plimsoll-real";
    const EXPECTED: &'static str = "a real server's address and port";
    const EXAMPLE: &'static str = "192.0.2.21:80";

    fn parse(text: &str) -> Result<Self, LeafError> {
        // Without a port an IPv6 address may stand without brackets.
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self {
                address: ip(&address.to_string())?,
                port: None,
            });
        }
        let (host, port) = host_and_port(text)?;
        if port == Some(0) {
            return Err(LeafError::new("a real server has no port 0")
                .help(format!("leave the port out for the service's own: {host}")));
        }
        Ok(Self {
            address: ip(host)?,
            port,
        })
    }

    fn print(&self) -> String {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).to_string(),
            None => self.address.to_string(),
        }
    }
}

impl Leaf for Mac {
    const FORMAT: &'static str = "plimsoll-mac";
    const EXPECTED: &'static str = "a MAC address";
    const EXAMPLE: &'static str = "02:00:00:00:00:0b";

    fn parse(text: &str) -> Result<Self, LeafError> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        let ok = bytes.iter_mut().all(|byte| {
            parts
                .next()
                .and_then(hex_byte)
                .map(|value| *byte = value)
                .is_some()
        });
        if ok && parts.next().is_none() {
            return Ok(Self(bytes));
        }
        Err(
            LeafError::new(format!("`{}` is not a MAC address", text.escape_debug()))
                .help("write six pairs of hex digits: 02:00:00:00:00:0b"),
        )
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

/// The 128-bit key of the keyed hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashKey(pub [u8; 16]);

impl HashKey {
    /// As SipHash takes it: two little-endian words.
    #[must_use]
    pub fn words(self) -> [u64; 2] {
        let key = u128::from_le_bytes(self.0);
        let low = key & u128::from(u64::MAX);
        [low, key >> 64].map(|word| u64::try_from(word).unwrap_or_default())
    }
}

impl Leaf for HashKey {
    const FORMAT: &'static str = "plimsoll-hash-key";
    const EXPECTED: &'static str = "32 hex digits";
    const EXAMPLE: &'static str = "00112233445566778899aabbccddeeff";

    fn parse(text: &str) -> Result<Self, LeafError> {
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_hexdigit()) {
            return Err(
                LeafError::new(format!("`{}` is not a hex digit", bad.escape_debug()))
                    .help("a key is 32 hex digits; `openssl rand -hex 16` makes one"),
            );
        }
        if text.len() != 32 {
            return Err(LeafError::new(format!(
                "a key has 32 hex digits, this has {}",
                text.len()
            ))
            .help("`openssl rand -hex 16` makes one"));
        }
        let mut bytes = [0; 16];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let pair = text.get(2 * at..2 * at + 2).and_then(hex_byte);
            *byte = pair.ok_or_else(|| LeafError::new("a key is 32 hex digits"))?;
        }
        Ok(Self(bytes))
    }

    fn print(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

fn hex_byte(pair: &str) -> Option<u8> {
    let digits = pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    if digits {
        u8::from_str_radix(pair, 16).ok()
    } else {
        None
    }
}

fn ip(text: &str) -> Result<IpAddr, LeafError> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(v4) => Err(
                LeafError::new(format!("`{text}` is an IPv4 address in IPv6 clothes"))
                    .help(format!("write {v4}")),
            ),
            None => Ok(address.into()),
        },
        Ok(address) => Ok(address),
        Err(_) => {
            let error = LeafError::new(format!("`{}` is not an IP address", text.escape_debug()));
            Err(if leading_zeros(text) {
                error.help("write the numbers without leading zeros")
            } else if text.contains('%') {
                error
                    .help("a zone is not needed: the port whose network holds the address is taken")
            } else if text.chars().any(|c| c.is_ascii_alphabetic()) && !text.contains(':') {
                error.help("names are not resolved; write the address")
            } else {
                error
            })
        }
    }
}

fn leading_zeros(text: &str) -> bool {
    let stripped: Vec<&str> = text
        .split('.')
        .map(|part| {
            if part.len() > 1 {
                part.trim_start_matches('0')
            } else {
                part
            }
        })
        .map(|part| if part.is_empty() { "0" } else { part })
        .collect();
    stripped.join(".").parse::<Ipv4Addr>().is_ok()
}

fn prefix_length(text: &str, address: IpAddr) -> Result<u8, LeafError> {
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u8>() {
        Ok(length) if digits && length <= longest => Ok(length),
        _ => Err(
            LeafError::new(format!("`{}` is not a prefix length", text.escape_debug()))
                .help(format!("expected 0 to {longest} for {address}")),
        ),
    }
}

fn port(text: &str) -> Result<u16, LeafError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits => Ok(port),
        _ => Err(
            LeafError::new(format!("`{}` is not a port", text.escape_debug()))
                .help("expected a number from 1 to 65535"),
        ),
    }
}

fn no_port(host: &str) -> LeafError {
    let host = host.escape_debug().to_string();
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host
    };
    LeafError::new(format!("`{host}` has no port"))
        .help(format!("write it after a colon: {host}:80"))
}

/// Splits `host:port`, `[host]:port`, `host` and `[host]`, the host without its brackets.
fn host_and_port(text: &str) -> Result<(&str, Option<u16>), LeafError> {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((host, tail)) = rest.split_once(']') else {
            return Err(LeafError::new(format!(
                "`{}` lacks its closing bracket",
                text.escape_debug()
            )));
        };
        if !host.contains(':') {
            return Err(LeafError::new(format!(
                "`{}` is not an IPv6 address",
                host.escape_debug()
            ))
            .help("only IPv6 addresses stand in brackets"));
        }
        return match tail.strip_prefix(':') {
            Some(tail) => Ok((host, Some(port(tail)?))),
            None if tail.is_empty() => Ok((host, None)),
            None => Err(LeafError::new(format!(
                "`{}` does not belong after the bracket",
                tail.escape_debug()
            ))
            .help(format!("write [{host}]:80"))),
        };
    }
    match text.rsplit_once(':') {
        None => Ok((text, None)),
        Some((host, tail)) if host.contains(':') => {
            let error = LeafError::new(format!(
                "`{}` is an IPv6 address without brackets",
                text.escape_debug()
            ));
            Err(
                if host.parse::<Ipv6Addr>().is_ok() && tail.parse::<u16>().is_ok() {
                    error.help(format!("did you mean [{host}]:{tail}?"))
                } else {
                    error.help("write [ADDRESS]:PORT, for example [2001:db8::1]:80")
                },
            )
        }
        Some((host, tail)) => Ok((host, Some(port(tail)?))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ipv6_with_a_port_needs_brackets() {
        let vip = |text| VipSocket::parse(text).map(|vip| (vip.addresses.to_string(), vip.port));
        assert_eq!(
            vip("[2001:db8::1]:80"),
            Ok(("2001:db8::1/128".to_owned(), 80))
        );
        assert_eq!(vip("192.0.2.1:80"), Ok(("192.0.2.1/32".to_owned(), 80)));
        assert_eq!(vip("192.0.2.0/24:0"), Ok(("192.0.2.0/24".to_owned(), 0)));
        let help = VipSocket::parse("2001:db8::1:80")
            .unwrap_err()
            .help
            .unwrap();
        assert_eq!(help, "did you mean [2001:db8::1]:80?");
        for bad in [
            "192.0.2.1",
            "[2001:db8::1]",
            "2001:db8::1",
            "[192.0.2.1]:80",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "192.0.2.1:+1",
            "192.0.2.300:1",
            "[::1",
            "[::1]80",
            "",
            ":",
            "host:80",
            "010.0.0.1:80",
            "[::ffff:1.2.3.4]:1",
        ] {
            assert!(VipSocket::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(RealAddr::parse("2001:db8::1").map(|r| r.port), Ok(None));
        assert!(RealAddr::parse("192.0.2.1:0").is_err());
    }

    #[test]
    fn macs_and_keys_have_one_length() {
        assert_eq!(
            Mac::parse("02:00:00:00:00:0b"),
            Ok(Mac([2, 0, 0, 0, 0, 11]))
        );
        for bad in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:0b:00",
            "2:0:0:0:0:b",
            "02-00-00-00-00-0b",
            "+2:00:00:00:00:0b",
        ] {
            assert!(Mac::parse(bad).is_err(), "{bad}");
        }
        assert!(HashKey::parse("00112233445566778899aabbccddeeff").is_ok());
        for bad in [
            "",
            "0011",
            "00112233445566778899aabbccddeefg",
            "00112233445566778899aabbccddeeff00",
        ] {
            assert!(HashKey::parse(bad).is_err(), "{bad}");
        }
    }

    /// IPv4 addresses are not written as mapped ones.
    fn address() -> impl Strategy<Value = IpAddr> {
        any::<IpAddr>().prop_map(|address| address.to_canonical())
    }

    proptest! {
        #[test]
        fn addresses_read_back(address in address(), port: u16, prefix in 0u8..=32, mac: [u8; 6], key: [u8; 16]) {
            let vip = VipSocket { addresses: IpNet::new(address, prefix).unwrap(), port };
            prop_assert_eq!(VipSocket::parse(&vip.print()), Ok(vip));
            let real = RealAddr { address, port: (port > 0).then_some(port) };
            prop_assert_eq!(RealAddr::parse(&real.print()), Ok(real));
            prop_assert_eq!(Mac::parse(&Mac(mac).print()), Ok(Mac(mac)));
            prop_assert_eq!(HashKey::parse(&HashKey(key).print()), Ok(HashKey(key)));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*|[0-9a-f:./\\[\\]]{0,24}") {
            let _ = (IpAddr::parse(&text), IpNet::parse(&text), VipSocket::parse(&text));
            let _ = (RealAddr::parse(&text), HttpAddr::parse(&text), Mac::parse(&text), HashKey::parse(&text));
        }
    }
}
