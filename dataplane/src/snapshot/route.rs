//! Which port and which neighbour lead to an address.
//! MACs are not known here; `neighbour.rs` finds them.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use super::id::PortId;
use super::model::Egress;
use super::spec::{PortRole, PortSpec, RouteSpec};

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
    v4: PrefixMap<Ipv4Net, Hop>,
    v6: PrefixMap<Ipv6Net, Hop>,
}

impl Routes {
    /// The ports' own networks, then `routes`, whose gateways those must reach. A route whose
    /// gateway is on no port's network leads nowhere and is left out.
    #[must_use]
    pub fn new(ports: &[PortSpec], routes: &[RouteSpec]) -> Self {
        let mut table = Self::default();
        for (index, port) in (0_u16..).zip(ports) {
            if matches!(port.role, PortRole::Kernel { .. }) {
                continue;
            }
            for address in &port.addresses {
                let hop = Hop {
                    port: PortId(index),
                    gateway: None,
                    source: Some(address.addr()),
                    mtu: port.mtu,
                };
                // Where two addresses share a network, the first one speaks for it.
                if table.exact(address).is_none() {
                    table.insert(*address, hop);
                }
            }
        }
        for route in routes {
            if let Some(link) = table.lookup(route.via).filter(|hop| hop.gateway.is_none()) {
                table.insert(
                    route.to,
                    Hop {
                        gateway: Some(route.via),
                        ..link
                    },
                );
            }
        }
        table
    }

    /// The way to `address`.
    #[must_use]
    pub fn egress(&self, address: IpAddr) -> Option<Egress> {
        self.lookup(address).map(|hop| Egress {
            port: hop.port,
            next_hop: hop.gateway.unwrap_or(address),
            source: hop.source,
            mtu: hop.mtu,
        })
    }

    fn lookup(&self, address: IpAddr) -> Option<Hop> {
        match address {
            IpAddr::V4(address) => self
                .v4
                .get_lpm(&Ipv4Net::from(address))
                .map(|(_, hop)| *hop),
            IpAddr::V6(address) => self
                .v6
                .get_lpm(&Ipv6Net::from(address))
                .map(|(_, hop)| *hop),
        }
    }

    fn exact(&self, net: &IpNet) -> Option<Hop> {
        match net {
            IpNet::V4(net) => self.v4.get(&net.trunc()).copied(),
            IpNet::V6(net) => self.v6.get(&net.trunc()).copied(),
        }
    }

    fn insert(&mut self, net: IpNet, hop: Hop) {
        match net {
            IpNet::V4(net) => {
                self.v4.insert(net.trunc(), hop);
            }
            IpNet::V6(net) => {
                self.v6.insert(net.trunc(), hop);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ethernet::Mac;

    fn port(addresses: &[&str]) -> PortSpec {
        PortSpec {
            name: "p".into(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            role: PortRole::Network { kernel: None },
        }
    }

    fn route(to: &str, via: &str) -> RouteSpec {
        RouteSpec {
            to: to.parse().unwrap(),
            via: via.parse().unwrap(),
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
        let hop = |text: &str| egress(text).map(|way| (way.port.0, way.next_hop.to_string()));
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
    fn a_gateway_that_no_port_reaches_leads_nowhere() {
        let routes = Routes::new(&[port(&["10.0.0.1/24"])], &[route("0.0.0.0/0", "10.9.0.1")]);
        assert_eq!(routes.egress("8.8.8.8".parse().unwrap()), None);
    }
}
