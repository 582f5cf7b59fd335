//! The rules of services by match, compiled: a list per family and protocol that is searched in order.
//! Searched only for packets of no session: 28 bytes a rule of IPv4, a few comparisons each.

use std::net::IpAddr;
use std::ops::{BitAnd, RangeInclusive};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixSet;

use crate::flow::Protocol;
use crate::id::ServiceId;
use crate::spec::target::{Mark, Rule};

/// All rules of a snapshot, in the order of the configuration.
#[derive(Debug, Default)]
pub(super) struct Rules {
    v4: ByProtocol<u32>,
    v6: ByProtocol<u128>,
    /// Destinations that some rule takes, whatever else it asks for.
    to_v4: PrefixSet<Ipv4Net>,
    to_v6: PrefixSet<Ipv6Net>,
}

/// One list a protocol; there are few protocols.
type ByProtocol<W> = Vec<(Protocol, Vec<Entry<W>>)>;

/// One combination of a rule's ranges of ports. Addresses are numbers in host order.
#[derive(Debug, Clone, Copy)]
struct Entry<W> {
    from: Range<W>,
    to: Range<W>,
    ports: (u16, u16),
    from_ports: (u16, u16),
    service: ServiceId,
}

/// A prefix: the addresses that are `bits` where `mask` is 1.
#[derive(Debug, Clone, Copy)]
struct Range<W> {
    bits: W,
    mask: W,
}

/// A packet in a rule's terms: client and destination.
#[derive(Debug, Clone, Copy)]
struct Asked<W> {
    from: W,
    to: W,
    port: u16,
    from_port: u16,
}

impl<W: Copy + Eq + BitAnd<Output = W>> Entry<W> {
    #[inline]
    fn matches(&self, asked: Asked<W>) -> bool {
        self.to.contains(asked.to)
            && is_between(self.ports, asked.port)
            && self.from.contains(asked.from)
            && is_between(self.from_ports, asked.from_port)
    }
}

impl<W: Copy + Eq + BitAnd<Output = W>> Range<W> {
    #[inline]
    fn contains(self, address: W) -> bool {
        address & self.mask == self.bits
    }
}

#[inline]
const fn is_between((first, last): (u16, u16), port: u16) -> bool {
    first <= port && port <= last
}

impl Rules {
    /// Adds the rules of a service behind all others.
    pub(super) fn add(&mut self, mark: Mark, rules: &[Rule], service: ServiceId) {
        for rule in rules {
            let protocols = rule.protocol.as_slice();
            let protocols = if protocols.is_empty() {
                &Protocol::ALL
            } else {
                protocols
            };
            for protocol in protocols {
                if mark.is_v6 {
                    let (from, to) = (range_v6(rule.from), range_v6(rule.to));
                    expand(&mut self.v6, *protocol, rule, (from, to), service);
                } else {
                    let (from, to) = (range_v4(rule.from), range_v4(rule.to));
                    expand(&mut self.v4, *protocol, rule, (from, to), service);
                }
            }
            match (rule.to, mark.is_v6) {
                (Some(IpNet::V4(net)), _) => self.to_v4.insert(net.trunc()),
                (Some(IpNet::V6(net)), _) => self.to_v6.insert(net.trunc()),
                (None, false) => self.to_v4.insert(Ipv4Net::default()),
                (None, true) => self.to_v6.insert(Ipv6Net::default()),
            };
        }
    }

    /// The service of the first rule that matches the packet.
    #[inline]
    pub(super) fn find(
        &self,
        protocol: Protocol,
        (from, from_port): (IpAddr, u16),
        (to, port): (IpAddr, u16),
    ) -> Option<ServiceId> {
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let (from, to) = (from.to_bits(), to.to_bits());
                search(
                    &self.v4,
                    protocol,
                    Asked {
                        from,
                        to,
                        port,
                        from_port,
                    },
                )
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let (from, to) = (from.to_bits(), to.to_bits());
                search(
                    &self.v6,
                    protocol,
                    Asked {
                        from,
                        to,
                        port,
                        from_port,
                    },
                )
            }
            _ => None,
        }
    }

    /// Whether there are none.
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether some rule takes packets to this address.
    #[inline]
    pub(super) fn may_match(&self, destination: IpAddr) -> bool {
        match destination {
            IpAddr::V4(address) => self.to_v4.get_lpm(&address.into()).is_some(),
            IpAddr::V6(address) => self.to_v6.get_lpm(&address.into()).is_some(),
        }
    }
}

#[inline]
fn search<W: Copy + Eq + BitAnd<Output = W>>(
    lists: &ByProtocol<W>,
    protocol: Protocol,
    asked: Asked<W>,
) -> Option<ServiceId> {
    let (_, list) = lists.iter().find(|(of, _)| *of == protocol)?;
    list.iter()
        .find(|entry| entry.matches(asked))
        .map(|entry| entry.service)
}

fn expand<W: Copy>(
    lists: &mut ByProtocol<W>,
    protocol: Protocol,
    rule: &Rule,
    (from, to): (Range<W>, Range<W>),
    service: ServiceId,
) {
    let entries = ranges(&rule.ports).flat_map(|ports| {
        ranges(&rule.from_ports).map(move |from_ports| Entry {
            from,
            to,
            ports,
            from_ports,
            service,
        })
    });
    match lists.iter_mut().find(|(of, _)| *of == protocol) {
        Some((_, list)) => list.extend(entries),
        None => lists.push((protocol, entries.collect())),
    }
}

/// The ranges of a list of ports; an empty list is every port.
fn ranges(ports: &[RangeInclusive<u16>]) -> impl Iterator<Item = (u16, u16)> {
    let every = ports.is_empty().then_some((0, u16::MAX));
    let written = ports.iter().map(|range| (*range.start(), *range.end()));
    every.into_iter().chain(written)
}

/// A prefix of the other family matches nothing, which its service's family rules out.
fn range_v4(net: Option<IpNet>) -> Range<u32> {
    match net {
        None => Range { bits: 0, mask: 0 },
        Some(IpNet::V4(net)) => Range {
            bits: net.network().to_bits(),
            mask: net.netmask().to_bits(),
        },
        Some(IpNet::V6(_)) => Range { bits: 1, mask: 0 },
    }
}

fn range_v6(net: Option<IpNet>) -> Range<u128> {
    match net {
        None => Range { bits: 0, mask: 0 },
        Some(IpNet::V6(net)) => Range {
            bits: net.network().to_bits(),
            mask: net.netmask().to_bits(),
        },
        Some(IpNet::V4(_)) => Range { bits: 1, mask: 0 },
    }
}
