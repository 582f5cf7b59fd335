//! The commands of a recording, parsed: one function for each kind, which gives `None` for all others.
//! Must not say what a command does to the rules or the machine.

use ipnet::IpNet;

/// A command that changes rules; others only print something.
pub(super) fn rule(command: &str) -> Option<&str> {
    let rest = command.strip_prefix("ipvsadm ")?;
    let prints = ["-L", "-l", "-S", "-Z", "--help", "--version", "-h"];
    let changes = !prints.iter().any(|print| rest.starts_with(print));
    changes.then_some(rest)
}

/// `echo 1 > /proc/sys/net/ipv4/vs/schedule_icmp` or `sysctl -w net.ipv4.vs.schedule_icmp=1`, as value
/// and name.
pub(super) fn sysctl(command: &str) -> Option<(&str, &str)> {
    if let Some(setting) = command.strip_prefix("sysctl ") {
        let (name, value) = setting.split_whitespace().last()?.split_once('=')?;
        return Some((value, name.strip_prefix("net.ipv4.vs.")?));
    }
    let (echo, path) = command.split_once('>')?;
    let name = path.trim().strip_prefix("/proc/sys/net/ipv4/vs/")?;
    Some((echo.trim().strip_prefix("echo ")?, name))
}

/// `ip link set eth1 mtu 1000`.
pub(super) fn mtu(command: &str) -> Option<(&str, &str)> {
    match command.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["ip", "link", "set", port, "mtu", mtu] => Some((port, mtu)),
        _ => None,
    }
}

/// `ip route replace local 10.0.9.0/24 dev lo`.
pub(super) fn local_route(command: &str) -> Option<IpNet> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let of_ipv6 = words.strip_prefix(&["ip", "-6"]);
    match of_ipv6.or_else(|| words.strip_prefix(&["ip"]))? {
        ["route", "add" | "replace", "local", net, "dev", "lo"] => net.parse().ok(),
        _ => None,
    }
}
