//! Which real servers of a service need the same commands, and what these depend on.
//! It writes no command; each file beside it does so for one system.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use plimsoll_dataplane::rewrite::tunnel::overhead;
use plimsoll_dataplane::snapshot::route::Routes;
use plimsoll_dataplane::spec::forward::{ForwardMethod, MssClamp, TunnelKind};
use plimsoll_dataplane::spec::network::PortSpec;
use plimsoll_dataplane::spec::service::RealSpec;
use plimsoll_dataplane::spec::target::Target;
use serde::{Deserialize, Serialize};

plimsoll_dataplane::listed! {
    /// What runs on a real server, and so what commands are written for.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
    #[serde(rename_all = "lowercase")]
    pub enum Os {
        /// Any Linux with `ip` and `sysctl`, until its next start.
        Debian => "debian" default,
        /// Linux with systemd-networkd: files that last.
        Networkd => "networkd",
        /// Windows Server.
        Windows => "windows",
    }
}

/// A service, as far as its real servers have to know it.
#[derive(Debug, Clone, Copy)]
pub struct Service<'s> {
    /// Its name.
    pub name: &'s str,
    /// Which packets are its.
    pub target: &'s Target,
    /// Up to which size TCP's ends may offer segments.
    pub mss_clamp: Option<MssClamp>,
    /// Its real servers.
    pub reals: &'s [RealSpec],
}

/// What real servers need the same commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Way {
    pub(super) method: ForwardMethod,
    /// The tunnel that packets come by.
    pub(super) tunnel: Option<TunnelKind>,
    /// Whether the real servers' own addresses are of IPv6.
    pub(super) is_v6: bool,
    /// Plimsoll's address on the port that leads to them, if there is a route.
    pub(super) ours: Option<IpAddr>,
    /// The router between Plimsoll and them, if there is one.
    pub(super) router: Option<IpAddr>,
    /// The largest packet that Plimsoll sends them as it came: inside the tunnel, if there is one.
    pub(super) mtu: Option<usize>,
    /// Whether they are Plimsoll's own machine.
    pub(super) is_ours: bool,
}

/// Real servers that need the same commands.
#[derive(Debug)]
pub(super) struct Group<'s> {
    pub(super) service: Service<'s>,
    pub(super) way: Way,
    pub(super) reals: Vec<SocketAddr>,
    /// The virtual addresses, each once.
    pub(super) vips: Vec<IpNet>,
    /// Whether packets to any address at all may be the service's.
    pub(super) any_vip: bool,
}

impl Group<'_> {
    /// The real servers' own addresses, each once.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<_> = self.reals.iter().map(SocketAddr::ip).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Whether packets have IPv6 headers when they are out of the tunnel.
    pub(super) fn is_inner_v6(&self) -> bool {
        self.service.target.is_v6()
    }
}

/// The real servers of a service by what they need, in the order of their first.
pub(super) fn groups<'s>(
    service: Service<'s>,
    ports: &[PortSpec],
    routes: &Routes,
) -> Vec<Group<'s>> {
    let (vips, any_vip) = vips(service.target);
    let mut groups: Vec<Group<'s>> = Vec::new();
    let mut places: HashMap<Way, usize> = HashMap::new();
    for real in service.reals {
        let way = way(real, ports, routes);
        let place = *places.entry(way).or_insert_with(|| {
            groups.push(Group {
                service,
                way,
                reals: Vec::new(),
                vips: vips.clone(),
                any_vip,
            });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            group.reals.push(SocketAddr::new(real.address, real.port));
        }
    }
    groups
}

fn way(real: &RealSpec, ports: &[PortSpec], routes: &Routes) -> Way {
    let egress = routes.egress(real.address);
    let tunnel = real.forward.encapsulates().then_some(real.tunnel);
    let mtu = egress.map(|egress| {
        let bytes = tunnel.map_or(0, |kind| overhead(kind, real.address));
        usize::from(egress.mtu).saturating_sub(bytes)
    });
    let mut own = ports.iter().flat_map(|port| &port.addresses);
    Way {
        method: real.forward,
        tunnel,
        is_v6: real.address.is_ipv6(),
        ours: egress.and_then(|egress| egress.source),
        router: egress
            .map(|egress| egress.next_hop)
            .filter(|hop| *hop != real.address),
        mtu,
        is_ours: own.any(|net| net.addr() == real.address),
    }
}

/// The virtual addresses, and whether any other may be one too.
fn vips(target: &Target) -> (Vec<IpNet>, bool) {
    let mut vips: Vec<IpNet> = match target {
        Target::Vip(vip) => vec![vip.addresses],
        // Without `to` it is all addresses.
        Target::Match { rules, .. } => {
            let to = rules.iter().map(|rule| rule.to.unwrap_or_default());
            to.collect()
        }
    };
    vips.sort_unstable();
    vips.dedup();
    let several = vips.len();
    vips.retain(|net| net.prefix_len() > 0);
    let any = vips.len() < several;
    (vips, any)
}
