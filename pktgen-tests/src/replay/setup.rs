//! The machine that was recorded: its addresses, and what the commands before the first step made of it.
//! A command whose effect Plimsoll cannot be told makes the recording unsupported.

use ipnet::IpNet;
use plimsoll_control::import::Marks;

use super::command::{local_route, mtu, sysctl};
use super::error::Unsupported;

/// The addresses of each port, of both families. The virtual ones are local on an LVS director, so that
/// it answers for them as a host where no service takes a packet.
pub(super) const ADDRESSES: [(&[&str], &[&str]); 2] = [
    (
        &[
            "10.0.0.1/24",
            "10.0.0.100/32",
            "10.0.0.101/32",
            "10.0.0.102/32",
            "10.0.0.103/32",
        ],
        &["2001:db8::1/64", "2001:db8::100/128"],
    ),
    (&["10.1.0.1/24"], &["2001:db8:1::1/64"]),
];

/// What the firewall of `setup` marks. LVS sees what is for a local address only.
pub(super) fn marks(setup: &[String]) -> Result<Marks, Unsupported> {
    let mut firewall = String::new();
    let mut locals: Vec<IpNet> = Vec::new();
    for (v4, v6) in ADDRESSES {
        let nets = v4.iter().chain(v6).filter_map(|net| net.parse().ok());
        locals.extend(nets.map(|net: IpNet| IpNet::from(net.addr())));
    }
    for command in setup {
        // Only one module of IPVS does anything by itself.
        let is_module = command
            .strip_prefix("modprobe ")
            .is_some_and(|module| !module.contains([';', ' ']) && module != "ip_vs_ftp");
        let mut known = mtu(command).is_some() || sysctl(command).is_some() || is_module;
        if let Some(net) = local_route(command) {
            locals.push(net);
            known = true;
        }
        if command.contains("mark set") || command.contains("-j MARK") {
            firewall.push_str(command);
            firewall.push('\n');
            known = true;
        }
        if !known {
            return Err(Unsupported(format!("setup `{command}`")));
        }
    }
    let (marks, diagnostics) = Marks::read("setup", &firewall);
    if diagnostics.errors() > 0 {
        return Err(Unsupported(format!("setup `{firewall}`")));
    }
    Ok(marks.within(&locals))
}
