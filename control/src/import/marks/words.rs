//! Values that rules of iptables and of nft share: addresses, ports, protocols, marks.
//! Which option or expression has them is not known here.

use std::ops::RangeInclusive;

use ipnet::IpNet;
use plimsoll_dataplane::flow::Protocol;

use super::packets::Range;
use super::token::{Read, Token};
use crate::config::diagnostics::Problem;
use crate::config::leaf::Leaf as _;

impl Token<'_> {
    pub(super) fn network(self) -> Read<IpNet> {
        let text = self.text;
        let net = text.parse::<IpNet>().ok();
        let host = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
        // iptables takes a mask for a length too.
        let masked = || {
            let (address, mask) = text.split_once('/')?;
            IpNet::with_netmask(address.parse().ok()?, mask.parse().ok()?).ok()
        };
        let network = net.or_else(host).or_else(masked).map(|net| net.trunc());
        network.ok_or_else(|| {
            let problem = self.problem(format!("`{}` is no address or network", self.shown()));
            Box::new(problem.help("expected an address such as 192.0.2.1, or 192.0.2.0/24"))
        })
    }

    /// `80`, or a range with `between` in the middle; open ends are the first and the last port.
    pub(super) fn ports(self, between: char) -> Read<Range> {
        let text = match self.text.split_once(between) {
            Some(("", last)) => format!("0-{last}"),
            Some((first, "")) => format!("{first}-65535"),
            Some((first, last)) => format!("{first}-{last}"),
            None => self.text.to_owned(),
        };
        let ports = RangeInclusive::<u16>::parse(&text).map_err(|error| {
            let problem = Problem::new(self.place, error.message);
            Box::new(problem.maybe_help(error.help))
        })?;
        Ok(Range {
            first: (*ports.start()).into(),
            last: (*ports.end()).into(),
        })
    }

    /// Nothing if it is one that is never balanced.
    pub(super) fn protocol(self) -> Option<Protocol> {
        match self.text {
            "tcp" | "6" => Some(Protocol::Tcp),
            "udp" | "17" => Some(Protocol::Udp),
            "sctp" | "132" => Some(Protocol::Sctp),
            _ => None,
        }
    }

    /// A mark, decimal or hexadecimal.
    pub(super) fn mark(self) -> Read<u32> {
        let hex = self.text.strip_prefix("0x");
        let number = match hex {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => self.text.parse().ok(),
        };
        number.ok_or_else(|| {
            let problem = self.problem(format!("`{}` is no mark", self.shown()));
            Box::new(problem.help("expected a number of 32 bits"))
        })
    }

    /// A mark, and the bits of it that count: all unless a slash says which.
    pub(super) fn masked_mark(self) -> Read<(u32, u32)> {
        match self.text.split_once('/') {
            None => Ok((self.mark()?, u32::MAX)),
            Some((mark, mask)) => {
                let part = |text| Token { text, ..self };
                Ok((part(mark).mark()?, part(mask).mark()?))
            }
        }
    }

    /// A condition that the rule does without.
    pub(super) fn not_carried(self, assumed: bool) -> Problem {
        let problem = *self.problem(format!("`{}` is not carried over", self.shown()));
        problem.help(if assumed {
            "the rule is taken to match whether this is so or not"
        } else {
            "the rule is taken not to match"
        })
    }
}
