//! What a real server with Linux runs: `ip`, `sysctl` and `modprobe`, until its next start.
//! Each command may be run twice. What lasts is networkd's.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use plimsoll_dataplane::spec::forward::{ForwardMethod, TunnelKind};
use plimsoll_dataplane::spec::target::is_one_address;

use super::section::Group;

/// The device that takes packets out of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decapsulator {
    /// Its name.
    pub(super) device: &'static str,
    /// The kernel's modules for it.
    pub(super) modules: &'static [&'static str],
    /// `None`: the module brings it. Else what `ip link add` makes it from, which needs the server's own address.
    pub(super) kind: Option<&'static str>,
    /// The UDP port of GUE.
    pub(super) port: Option<u16>,
}

/// The device for packets of one family in a tunnel of another. The devices that modules bring take what comes from
/// anywhere; but `ip6tnl0` takes IPv6 alone, and `gre0` nothing that has a checksum.
pub(super) fn decapsulator(kind: TunnelKind, outer_v6: bool, inner_v6: bool) -> Decapsulator {
    let port = match kind {
        TunnelKind::Gue { port, .. } => Some(port),
        TunnelKind::Ipip | TunnelKind::Gre { .. } => None,
    };
    let (device, modules, kind): (_, &[_], _) = match (kind, outer_v6, inner_v6) {
        (TunnelKind::Gre { checksum: false }, false, _) => ("gre0", &["ip_gre"], None),
        (TunnelKind::Gre { checksum: false }, true, _) => ("ip6gre0", &["ip6_gre"], None),
        (TunnelKind::Gre { checksum: true }, false, _) => {
            ("plimsoll-gre", &["ip_gre"], Some("gre icsum"))
        }
        (TunnelKind::Gre { checksum: true }, true, _) => {
            ("plimsoll-gre6", &["ip6_gre"], Some("ip6gre icsum"))
        }
        (TunnelKind::Ipip, false, false) => ("tunl0", &["ipip"], None),
        (TunnelKind::Ipip, false, true) => ("sit0", &["sit"], None),
        (TunnelKind::Ipip, true, true) => ("ip6tnl0", &["ip6_tunnel"], None),
        (TunnelKind::Ipip, true, false) => {
            ("plimsoll-ip6", &["ip6_tunnel"], Some("ip6tnl mode any"))
        }
        (TunnelKind::Gue { .. }, false, false) => ("tunl0", &["fou", "ipip"], None),
        (TunnelKind::Gue { .. }, false, true) => ("sit0", &["fou", "sit"], None),
        (TunnelKind::Gue { .. }, true, true) => ("ip6tnl0", &["fou6", "ip6_tunnel"], None),
        (TunnelKind::Gue { .. }, true, false) => (
            "plimsoll-ip6",
            &["fou6", "ip6_tunnel"],
            Some("ip6tnl mode any"),
        ),
    };
    Decapsulator {
        device,
        modules,
        kind,
        port,
    }
}

/// The commands of one section.
pub(super) fn commands(group: &Group<'_>) -> String {
    match group.way.method {
        ForwardMethod::Direct => quiet(group) + &vips(&group.vips) + &reverse_path(group),
        ForwardMethod::Tunnel => quiet(group) + &tunnel(group) + &vips(&group.vips),
        ForwardMethod::Nat => nat(group),
    }
}

/// Before the virtual address is there, so that nobody is told that it is here.
fn quiet(group: &Group<'_>) -> String {
    if group.is_inner_v6() {
        // Linux answers neighbour solicitations for no address of another interface, loopback included.
        return String::new();
    }
    "sysctl -w net.ipv4.conf.all.arp_ignore=1\n\
     sysctl -w net.ipv4.conf.all.arp_announce=2\n"
        .to_owned()
}

fn vips(vips: &[IpNet]) -> String {
    let commands = vips.iter().map(|net| match (is_one_address(net), net) {
        (true, IpNet::V4(_)) => format!("ip addr replace {net} dev lo\n"),
        // Deprecated, so that it is not the source of the server's own connections.
        (true, IpNet::V6(_)) => {
            format!("ip -6 addr replace {net} dev lo nodad preferred_lft 0\n")
        }
        (false, IpNet::V4(_)) => format!("ip route replace local {net} dev lo\n"),
        (false, IpNet::V6(_)) => format!("ip -6 route replace local {net} dev lo\n"),
    });
    commands.collect()
}

fn reverse_path(group: &Group<'_>) -> String {
    if group.is_inner_v6() {
        return String::new();
    }
    "# Only if the way back to clients is by another interface than the one (IFACE) that Plimsoll's packets come by:\n\
     # sysctl -w net.ipv4.conf.IFACE.rp_filter=2\n"
        .to_owned()
}

fn tunnel(group: &Group<'_>) -> String {
    let Some(kind) = group.way.tunnel else {
        return String::new();
    };
    let decapsulator = decapsulator(kind, group.way.is_v6, group.is_inner_v6());
    let Decapsulator {
        device,
        modules,
        kind,
        port,
    } = decapsulator;
    let mut text = String::new();
    for module in modules {
        let _ = writeln!(text, "modprobe {module}");
    }
    if let Some(port) = port {
        let family = if group.way.is_v6 { " -6" } else { "" };
        let _ = writeln!(
            text,
            "ip{family} fou show | grep -q 'port {port} gue' || ip{family} fou add port {port} gue"
        );
    }
    if let Some(kind) = kind {
        let _ = write!(
            text,
            "# The one of the service's addresses that is this machine's:\n\
             for address in {}; do\n    \
             [ -z \"$(ip -o addr show to $address)\" ] || LOCAL=$address\n\
             done\n\
             ip link show dev {device} >/dev/null 2>&1 || ip link add {device} type {kind} local $LOCAL remote any\n",
            list(&group.addresses())
        );
    }
    let _ = writeln!(text, "ip link set {device} up");
    if !group.is_inner_v6() {
        let _ = write!(
            text,
            "# The larger of both counts; packets of clients come by the tunnel, and the way back to them is another.\n\
             sysctl -w net.ipv4.conf.all.rp_filter=0\n\
             sysctl -w net.ipv4.conf.{device}.rp_filter=0\n"
        );
    }
    text
}

/// Addresses with blanks between them.
pub(super) fn list(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    texts.join(" ")
}

fn nat(group: &Group<'_>) -> String {
    let Some(ours) = group.way.ours else {
        return "# Its route back to the clients must lead through Plimsoll.\n".to_owned();
    };
    if let Some(router) = group.way.router {
        return format!(
            "# It is behind {router}: that router, and the real server, must send what goes to clients through\n\
             # Plimsoll ({ours}), which is done there.\n"
        );
    }
    let ip = if group.way.is_v6 { "ip -6" } else { "ip" };
    let mut text = format!(
        "# What it answers, and what else it sends, goes through Plimsoll, which routes that; nothing more is needed.\n\
         # Clients on its own network cannot be served this way: it would answer them directly.\n\
         {ip} route replace default via {ours}\n\
         # Instead, if the rest of its traffic has another way:\n\
         # {ip} route replace default via {ours} table 100\n"
    );
    for address in group.addresses() {
        let _ = writeln!(text, "# {ip} rule add from {address} table 100");
    }
    text
}
