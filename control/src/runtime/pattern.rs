//! How commands name real servers: `SERVICE/ADDRESS:PORT`, or an address, of all services.
//! Which there are is not known here.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Which real servers are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealPattern {
    /// Those of this service; `None` is all services.
    pub service: Option<String>,
    /// Those with this address.
    pub address: IpAddr,
    /// Those with this port; `None` is all ports.
    pub port: Option<u16>,
}

impl RealPattern {
    /// Whether a real server is meant.
    #[must_use]
    pub fn matches(&self, service: &str, address: IpAddr, port: u16) -> bool {
        self.address == address
            && self.port.is_none_or(|own| own == port)
            && self.service.as_deref().is_none_or(|own| own == service)
    }
}

/// A text that names no real server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` names no real server: expected SERVICE/ADDRESS:PORT, or ADDRESS[:PORT] for all services; IPv6 in brackets",
    .0.escape_debug()
)]
pub struct BadPattern(String);

impl FromStr for RealPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let bad = || BadPattern(text.to_owned());
        let (service, socket) = match text.rsplit_once('/') {
            Some(("", _)) => return Err(bad()),
            Some((service, socket)) => (Some(service.to_owned()), socket),
            None => (None, text),
        };
        let (address, port) = match socket.parse::<SocketAddr>() {
            Ok(socket) => (socket.ip(), Some(socket.port())),
            Err(_) => (address(socket).ok_or_else(bad)?, None),
        };
        Ok(Self {
            service,
            address,
            port,
        })
    }
}

/// An address, in brackets or not.
fn address(text: &str) -> Option<IpAddr> {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

impl fmt::Display for RealPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(service) = &self.service {
            write!(f, "{service}/")?;
        }
        match (self.port, self.address) {
            (Some(port), address) => write!(f, "{}", SocketAddr::new(address, port)),
            (None, IpAddr::V6(address)) => write!(f, "[{address}]"),
            (None, IpAddr::V4(address)) => write!(f, "{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "web/10.0.0.21:80",
            "web/10.0.0.21",
            "10.0.0.21",
            "10.0.0.21:0",
            "[2001:db8::1]",
            "a:b/[2001:db8::1]:53",
        ] {
            let pattern: RealPattern = text.parse().unwrap();
            assert_eq!(pattern.to_string(), text);
        }
        let bare: RealPattern = "2001:db8::1".parse().unwrap();
        assert_eq!(bare.to_string(), "[2001:db8::1]");
    }

    #[test]
    fn anything_else_names_no_real_server() {
        for text in [
            "",
            "web",
            "web/",
            "/10.0.0.1",
            "web/10.0.0.1:",
            "web/10.0.0.1:65536",
            "10.0.0.0/24",
            "[10.0.0.1]",
            "[2001:db8::1",
            "web/localhost:80",
        ] {
            let parsed: Result<RealPattern, _> = text.parse();
            assert!(parsed.is_err(), "{text}: {parsed:?}");
        }
    }

    #[test]
    fn a_pattern_means_those_that_it_does_not_rule_out() {
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        let all: RealPattern = "10.0.0.1".parse().unwrap();
        assert!(all.matches("web", one, 80) && all.matches("dns", one, 53));
        assert!(!all.matches("web", other, 80));
        let single: RealPattern = "web/10.0.0.1:80".parse().unwrap();
        assert!(single.matches("web", one, 80));
        assert!(!single.matches("web", one, 81) && !single.matches("dns", one, 80));
    }
}
