//! Which port and which neighbour lead to an address.
//! MACs are not known here; `neighbour.rs` finds them.
//!
//! NAT asks for every reply, so prefixes are laid out beforehand as ranges that do not overlap: a
//! search halves a sorted array, and no longer prefix has to be tried.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::id::PortId;
use crate::spec::network::{PortRole, PortSpec, RouteSpec};

/// Where packets to an address leave: port, next hop, source address and MTU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Egress {
    /// Where the frame leaves.
    pub port: PortId,
    /// Whose MAC it bears: the address itself, or a gateway.
    pub next_hop: IpAddr,
    /// Our own address on that port, of the same family (a tunnel's outer source unless it has one of
    /// its own, the sender of ICMP errors); `None` if the port has none.
    pub source: Option<IpAddr>,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hop {
    port: PortId,
    /// `None`: the destination itself is the neighbour.
    gateway: Option<IpAddr>,
    source: Option<IpAddr>,
    mtu: u16,
}

/// Routes by longest prefix: the ports' networks and the configured ones.
#[derive(Debug, Default)]
pub struct Routes {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    /// The prefixes of which the ranges were made, to be shown.
    prefixes: Vec<(IpNet, Hop)>,
}

/// One route, to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Destinations.
    pub to: IpNet,
    /// The port that they are reached by.
    pub port: PortId,
    /// The gateway; `None` if the destinations are neighbours: it is the port's own network.
    pub gateway: Option<IpAddr>,
    /// Our own address on the port.
    pub source: Option<IpAddr>,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
}

impl Routes {
    /// The ports' own networks, then `routes`, whose gateways those must reach. A route whose
    /// gateway is on no port's network leads nowhere and is left out.
    #[must_use]
    pub fn new(ports: &[PortSpec], routes: &[RouteSpec]) -> Self {
        let mut links: Vec<(IpNet, Hop)> = Vec::new();
        for (id, port) in PortId::each(ports) {
            if matches!(port.role, PortRole::Kernel { .. }) {
                continue;
            }
            for address in &port.addresses {
                let hop = Hop {
                    port: id,
                    gateway: None,
                    source: Some(address.addr()),
                    mtu: port.mtu,
                };
                let network = address.trunc();
                // Where two addresses share a network, the first one speaks for it.
                if links.iter().all(|(known, _)| *known != network) {
                    links.push((network, hop));
                }
            }
        }
        let on_link = Self::of(&links);
        let mut all: BTreeMap<IpNet, Hop> = links.into_iter().collect();
        for route in routes {
            let link = match route.port {
                Some(port) => link_of(ports, port, route.via),
                None => on_link.lookup(route.via).copied(),
            };
            if let Some(link) = link {
                let gateway = Some(route.via);
                all.insert(route.to.trunc(), Hop { gateway, ..link });
            }
        }
        let all: Vec<_> = all.into_iter().collect();
        Self::of(&all)
    }

    fn of(prefixes: &[(IpNet, Hop)]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (prefix, hop) in prefixes {
            match prefix {
                IpNet::V4(net) => v4.push(Prefix {
                    first: net.network().to_bits(),
                    last: net.broadcast().to_bits(),
                    length: net.prefix_len(),
                    hop: *hop,
                }),
                IpNet::V6(net) => v6.push(Prefix {
                    first: net.network().to_bits(),
                    last: net.broadcast().to_bits(),
                    length: net.prefix_len(),
                    hop: *hop,
                }),
            }
        }
        Self {
            v4: Ranges::new(v4, |last| last.checked_add(1)),
            v6: Ranges::new(v6, |last| last.checked_add(1)),
            prefixes: prefixes.to_vec(),
        }
    }

    /// All routes, each prefix once, in no particular order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Route> {
        let prefixes = self.prefixes.iter();
        prefixes.map(|(to, hop)| Route {
            to: *to,
            port: hop.port,
            gateway: hop.gateway,
            source: hop.source,
            mtu: hop.mtu,
        })
    }

    /// The route to `address`.
    #[inline]
    #[must_use]
    pub fn egress(&self, address: IpAddr) -> Option<Egress> {
        self.lookup(address).map(|hop| Egress {
            port: hop.port,
            next_hop: hop.gateway.unwrap_or(address),
            source: hop.source,
            mtu: hop.mtu,
        })
    }

    #[inline]
    fn lookup(&self, address: IpAddr) -> Option<&Hop> {
        match address {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        }
    }
}

/// The link of a port, on which a neighbour of this family is.
fn link_of(ports: &[PortSpec], id: PortId, neighbour: IpAddr) -> Option<Hop> {
    let port = ports.get(id.place())?;
    Some(Hop {
        port: id,
        gateway: None,
        source: port.source_for(neighbour),
        mtu: port.mtu,
    })
}

/// The addresses from `first` to `last`.
#[derive(Debug, Clone, Copy)]
struct Prefix<W> {
    first: W,
    last: W,
    length: u8,
    hop: Hop,
}

/// All addresses of a family, in ranges with one route each.
#[derive(Debug, Default)]
struct Ranges<W> {
    /// Where ranges begin, in ascending order. Addresses before the first have no route.
    firsts: Vec<W>,
    /// The route of each range.
    hops: Vec<Option<Hop>>,
}

impl<W: Copy + Ord> Ranges<W> {
    /// `after` is the address behind another one, `None` behind the last of all.
    fn new(mut prefixes: Vec<Prefix<W>>, after: impl Fn(W) -> Option<W>) -> Self {
        prefixes.sort_unstable_by_key(|prefix| (prefix.first, prefix.length));
        let mut ranges = Self {
            firsts: Vec::new(),
            hops: Vec::new(),
        };
        // Prefixes contain each other or have nothing in common: those that contain the place at hand,
        // the longest last.
        let mut around: Vec<Prefix<W>> = Vec::new();
        for prefix in prefixes {
            while let Some(ended) = around.pop_if(|outer| outer.last < prefix.first) {
                ranges.resume(after(ended.last), &around);
            }
            around.push(prefix);
            ranges.resume(Some(prefix.first), &around);
        }
        while let Some(ended) = around.pop() {
            ranges.resume(after(ended.last), &around);
        }
        ranges
    }

    /// From `first` on the longest prefix of `around` counts.
    fn resume(&mut self, first: Option<W>, around: &[Prefix<W>]) {
        let Some(first) = first else { return };
        let hop = around.last().map(|prefix| prefix.hop);
        if self.firsts.last() == Some(&first) {
            self.firsts.pop();
            self.hops.pop();
        }
        if self.hops.last().copied().flatten() != hop {
            self.firsts.push(first);
            self.hops.push(hop);
        }
    }

    #[inline]
    fn find(&self, address: W) -> Option<&Hop> {
        let after = self.firsts.partition_point(|first| *first <= address);
        self.hops.get(after.checked_sub(1)?)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use ipnet::Ipv4Net;
    use proptest::prelude::*;

    use super::*;
    use crate::id::DeviceId;

    fn port(addresses: &[&str]) -> PortSpec {
        PortSpec {
            name: "p".into(),
            device: DeviceId::new(0),
            mtu: 1500,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            role: PortRole::Network { kernel: None },
        }
    }

    fn route(to: &str, via: &str) -> RouteSpec {
        RouteSpec {
            to: to.parse().unwrap(),
            via: via.parse().unwrap(),
            port: None,
        }
    }

    #[test]
    fn the_longest_prefix_wins_and_gateways_are_next_hops() {
        let routes = Routes::new(
            &[
                port(&["10.0.0.1/24", "2001:db8::1/64"]),
                port(&["10.1.0.1/24"]),
            ],
            &[
                route("0.0.0.0/0", "10.0.0.254"),
                route("172.16.0.0/16", "10.1.0.254"),
            ],
        );
        let egress = |text: &str| routes.egress(text.parse().unwrap());
        let hop = |text: &str| {
            egress(text).map(|egress| (egress.port.place(), egress.next_hop.to_string()))
        };
        assert_eq!(hop("10.0.0.9"), Some((0, "10.0.0.9".into())));
        assert_eq!(hop("10.1.0.9"), Some((1, "10.1.0.9".into())));
        assert_eq!(hop("172.16.3.4"), Some((1, "10.1.0.254".into())));
        assert_eq!(hop("198.51.100.7"), Some((0, "10.0.0.254".into())));
        assert_eq!(hop("2001:db8::9"), Some((0, "2001:db8::9".into())));
        assert_eq!(hop("2001:db9::9"), None);
        assert_eq!(
            egress("172.16.3.4").unwrap().source,
            Some("10.1.0.1".parse().unwrap())
        );
    }

    #[test]
    fn routes_are_shown_as_they_count() {
        let ports = [port(&["10.0.0.1/24"]), port(&["10.1.0.1/24"])];
        let routes = [
            route("0.0.0.0/0", "10.1.0.254"),
            route("10.8.0.0/16", "10.9.0.1"),
        ];
        let routes = Routes::new(&ports, &routes);
        let shown = routes.iter().map(|one| {
            let gateway = one.gateway.map(|gateway| gateway.to_string());
            (one.to.to_string(), one.port.place(), gateway)
        });
        let gateway = Some("10.1.0.254".to_owned());
        assert_eq!(
            shown.collect::<Vec<_>>(),
            [
                ("0.0.0.0/0".to_owned(), 1, gateway),
                ("10.0.0.0/24".to_owned(), 0, None),
                ("10.1.0.0/24".to_owned(), 1, None),
            ]
        );
    }

    #[test]
    fn a_gateway_that_no_port_reaches_leads_nowhere() {
        let routes = Routes::new(&[port(&["10.0.0.1/24"])], &[route("0.0.0.0/0", "10.9.0.1")]);
        assert_eq!(routes.egress("8.8.8.8".parse().unwrap()), None);
    }

    proptest! {
        #[test]
        fn ranges_find_what_the_longest_prefix_says(
            nets in prop::collection::vec((any::<u32>(), 0_u8..=32), 0..40),
            asked in prop::collection::vec(any::<u32>(), 1..40),
        ) {
            // Close together, so that they contain each other.
            let near = |bits: u32| bits & 0xc000_00ff;
            let hop = |number: usize| Hop {
                port: PortId::new(u16::try_from(number).unwrap()),
                gateway: None,
                source: None,
                mtu: 1500,
            };
            let prefixes: BTreeMap<IpNet, Hop> = nets
                .iter()
                .enumerate()
                .map(|(number, (bits, length))| {
                    let net = Ipv4Net::new(near(*bits).into(), *length).unwrap().trunc();
                    (net.into(), hop(number))
                })
                .collect();
            let prefixes: Vec<_> = prefixes.into_iter().collect();
            let routes = Routes::of(&prefixes);
            let edges = prefixes.iter().flat_map(|(net, _)| match (net.network(), net.broadcast()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => {
                    let (first, last) = (first.to_bits(), last.to_bits());
                    [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                }
                _ => unreachable!(),
            });
            for bits in asked.iter().copied().map(near).chain(edges) {
                let address = IpAddr::from(std::net::Ipv4Addr::from_bits(bits));
                let longest = prefixes
                    .iter()
                    .filter(|(net, _)| net.contains(&address))
                    .max_by_key(|(net, _)| net.prefix_len());
                prop_assert_eq!(routes.lookup(address), longest.map(|(_, hop)| hop));
            }
        }
    }
}
