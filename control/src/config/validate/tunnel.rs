//! Checks of `tunnel`, a service's or a real server's: type, port, checksum and source.
//! As in IPVS, what means nothing to a type is no error.

use std::net::IpAddr;

use plimsoll_dataplane::spec::forward::TunnelKind;

use super::finding::{Finding, Findings, with};
use super::network::Net;
use crate::config::file::{Tunnel as Written, TunnelChecksum};
use crate::config::leaf::TunnelTtl;
use crate::config::tree::Step;

/// How packets are put into a tunnel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Encapsulation {
    pub(super) kind: TunnelKind,
    /// Our end, if it was chosen.
    pub(super) source: Option<IpAddr>,
    /// The outer TTL, if it is not the inner one's.
    pub(super) ttl: Option<u8>,
}

/// What the outer IPv4 or IPv6 header and what follows it add.
pub(super) const fn overhead_bytes(tunnel: TunnelKind, outer: IpAddr) -> u16 {
    let between = match tunnel {
        TunnelKind::Ipip => 0,
        TunnelKind::Gre { checksum: false } => 4,
        TunnelKind::Gre { checksum: true } => 8,
        TunnelKind::Gue { .. } => 12,
    };
    between + if outer.is_ipv4() { 20 } else { 40 }
}

pub(super) fn encapsulation(
    written: &Written,
    net: &Net,
    place: &[Step],
    findings: &mut Findings<'_, '_>,
) -> Encapsulation {
    let kind = written.r#type;
    let mut useless = |key, what: &str, help: &str| {
        findings.add(Finding::warning(with(place, key), what).help(help));
    };
    if written.port.is_some() && !matches!(kind, TunnelKind::Gue { .. }) {
        useless(
            "port",
            "only `type: gue` has a port",
            "remove the port, or choose that type",
        );
    }
    match (kind, written.checksum) {
        (TunnelKind::Ipip, TunnelChecksum::Csum | TunnelChecksum::Remcsum) => useless(
            "checksum",
            "only `type: gre` and `type: gue` have a checksum",
            "remove the checksum, or choose one of these types",
        ),
        (TunnelKind::Gre { .. }, TunnelChecksum::Remcsum) => useless(
            "checksum",
            "only `type: gue` has remote checksum offload",
            "write `checksum: csum` for GRE's own",
        ),
        _ => {}
    }
    Encapsulation {
        kind: match kind {
            TunnelKind::Ipip => TunnelKind::Ipip,
            TunnelKind::Gre { .. } => TunnelKind::Gre {
                checksum: written.checksum == TunnelChecksum::Csum,
            },
            // As with IPVS, remote offload leaves UDP's checksum: what comes from a network has its
            // inner checksum already, so that there is nothing to offload.
            TunnelKind::Gue { port, .. } => TunnelKind::Gue {
                port: written.port.map_or(port, |port| port.0),
                checksum: written.checksum != TunnelChecksum::None,
            },
        },
        source: source(written, net, place, findings),
        ttl: match written.ttl {
            TunnelTtl::Inherit => None,
            TunnelTtl::Hops(hops) => Some(hops),
        },
    }
}

fn source(
    written: &Written,
    net: &Net,
    place: &[Step],
    findings: &mut Findings<'_, '_>,
) -> Option<IpAddr> {
    let source = written.source?;
    if net.own(source).is_none() && !net.gaps.ports {
        findings.add(
            Finding::error(
                with(place, "source"),
                format!("{source} is not an address of Plimsoll's own"),
            )
            .help("write one of the ports' addresses"),
        );
    }
    Some(source)
}
