//! The same as `debian.rs` in files of systemd-networkd, sysctl.d and modules-load.d, which last.
//! Each file is written whole, by a here-document, so that it may be written twice.

use std::fmt::Write as _;

use ipnet::IpNet;
use plimsoll_dataplane::spec::forward::{ForwardMethod, TunnelKind};
use plimsoll_dataplane::spec::target::is_one_address;

use super::debian::{Decapsulator, decapsulator};
use super::section::Group;

const FOLDER: &str = "/etc/systemd/network";

/// The commands of one section.
pub(super) fn commands(group: &Group<'_>) -> String {
    match group.way.method {
        ForwardMethod::Direct => sysctl(group, None) + &vips(group) + RELOAD,
        ForwardMethod::Tunnel => tunnel(group) + &vips(group) + RELOAD,
        ForwardMethod::Nat => nat(group),
    }
}

const RELOAD: &str = "networkctl reload\n";

fn file(path: &str, lines: &str) -> String {
    format!("cat > {path} <<'EOF'\n{lines}EOF\n")
}

/// Kernel parameters; `device` is the tunnel's.
fn sysctl(group: &Group<'_>, device: Option<&str>) -> String {
    if group.is_inner_v6() {
        return String::new();
    }
    let path = match device {
        Some(device) => format!("/etc/sysctl.d/90-plimsoll-{device}.conf"),
        None => "/etc/sysctl.d/90-plimsoll.conf".to_owned(),
    };
    let mut lines = "net.ipv4.conf.all.arp_ignore=1\nnet.ipv4.conf.all.arp_announce=2\n".to_owned();
    if let Some(device) = device {
        let _ = write!(
            lines,
            "net.ipv4.conf.all.rp_filter=0\nnet.ipv4.conf.{device}.rp_filter=0\n"
        );
    }
    file(&path, &lines) + &format!("sysctl -p {path}\n")
}

/// Virtual addresses on the loopback device. A device has one file, so each service has a part of its own.
fn vips(group: &Group<'_>) -> String {
    let network = format!("{FOLDER}/50-plimsoll-lo.network");
    let mut lines = String::new();
    for net in &group.vips {
        let _ = match (is_one_address(net), net) {
            (true, IpNet::V4(_)) => writeln!(lines, "[Address]\nAddress={net}"),
            (true, IpNet::V6(_)) => writeln!(
                lines,
                "[Address]\nAddress={net}\nPreferredLifetime=0\nDuplicateAddressDetection=none"
            ),
            (false, _) => writeln!(lines, "[Route]\nDestination={net}\nType=local\nTable=local"),
        };
    }
    let name: String = group
        .service
        .name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let part = format!("{network}.d/{name}.conf");
    file(&network, "[Match]\nName=lo\n") + &format!("mkdir -p {network}.d\n") + &file(&part, &lines)
}

fn tunnel(group: &Group<'_>) -> String {
    let Some(kind) = group.way.tunnel else {
        return String::new();
    };
    let Decapsulator {
        device,
        modules,
        kind: made,
        port,
    } = decapsulator(kind, group.way.is_v6, group.is_inner_v6());
    let mut text = String::new();
    let modules_path = format!("/etc/modules-load.d/plimsoll-{device}.conf");
    text += &file(&modules_path, &(modules.join("\n") + "\n"));
    let _ = writeln!(text, "modprobe -a {}", modules.join(" "));
    if let Some(port) = port {
        if group.way.is_v6 {
            let _ = write!(
                text,
                "# systemd-networkd has no key for GUE over IPv6: to be run at each start.\n\
                 ip -6 fou show | grep -q 'port {port} gue' || ip -6 fou add port {port} gue\n"
            );
        } else {
            let lines = format!(
                "[NetDev]\nName=gue{port}\nKind=fou\n[FooOverUDP]\nEncapsulation=GenericUDPEncapsulation\nPort={port}\n"
            );
            text += &file(&format!("{FOLDER}/50-plimsoll-gue{port}.netdev"), &lines);
        }
    }
    if let Some(made) = made {
        let local = group.addresses().first().map(ToString::to_string);
        let local = local.unwrap_or_default();
        if matches!(kind, TunnelKind::Gre { .. }) {
            let _ = write!(
                text,
                "# systemd-networkd has no key for GRE's checksums: to be run at each start, on each real server with its\n\
                 # own address.\n\
                 ip link show dev {device} >/dev/null 2>&1 || ip link add {device} type {made} local {local} remote any\n"
            );
        } else {
            text.push_str("# Local is the own address of each real server.\n");
            let lines = format!(
                "[NetDev]\nName={device}\nKind=ip6tnl\n[Tunnel]\nMode=any\nLocal={local}\nRemote=any\nIndependent=yes\n"
            );
            text += &file(&format!("{FOLDER}/50-plimsoll-{device}.netdev"), &lines);
        }
    }
    let lines = format!("[Match]\nName={device}\n[Network]\nLinkLocalAddressing=no\n");
    text += &file(&format!("{FOLDER}/50-plimsoll-{device}.network"), &lines);
    // udev sets it as well when the device comes.
    text + &sysctl(group, Some(device))
}

fn nat(group: &Group<'_>) -> String {
    let (Some(ours), None) = (group.way.ours, group.way.router) else {
        return "# It is on no network of Plimsoll's: the routers between must send what goes to clients through Plimsoll.\n"
            .to_owned();
    };
    format!(
        "# In the .network file of its interface to Plimsoll, in place of another default route; what else it sends\n\
         # is routed by Plimsoll too, and nothing more is needed:\n\
         # [Route]\n\
         # Gateway={ours}\n\
         # and then: networkctl reload\n"
    )
}
