//! What a real server with Windows Server runs, in PowerShell as administrator.
//! There is nothing for tunnels, whose packets Windows does not take apart.

use std::fmt::Write as _;

use ipnet::IpNet;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::target::is_one_address;

use super::section::Group;

/// The commands of one section; `None` if Windows cannot do it.
pub(super) fn commands(group: &Group<'_>) -> Option<String> {
    match group.way.method {
        ForwardMethod::Direct => Some(direct(group)),
        ForwardMethod::Nat => Some(nat(group)),
        ForwardMethod::Tunnel => None,
    }
}

const ADAPTER: &str =
    "$net = \"Ethernet\"   # the adapter to Plimsoll's network: Get-NetAdapter lists them\n";

fn direct(group: &Group<'_>) -> String {
    let ip = if group.is_inner_v6() { "ipv6" } else { "ipv4" };
    let mut text = format!(
        "# First a loopback adapter named \"plimsoll\": hdwwiz.exe, \"Install the hardware that I manually select\",\n\
         # Network adapters, Microsoft, \"Microsoft KM-TEST Loopback Adapter\"; then, with its present name:\n\
         # Rename-NetAdapter -Name \"Ethernet 2\" -NewName \"plimsoll\"\n\
         {ADAPTER}\
         # The weak host model: what comes by one adapter may be for the address of another.\n\
         netsh interface {ip} set interface \"plimsoll\" weakhostreceive=enabled weakhostsend=enabled metric=254\n\
         netsh interface {ip} set interface \"$net\" weakhostreceive=enabled weakhostsend=enabled\n"
    );
    if group.is_inner_v6() {
        text.push_str("netsh interface ipv6 set interface \"plimsoll\" dadtransmits=0\n");
    }
    for net in &group.vips {
        let _ = match (is_one_address(net), net) {
            (true, IpNet::V4(net)) => writeln!(
                text,
                "netsh interface ipv4 add address \"plimsoll\" {} 255.255.255.255",
                net.addr()
            ),
            (true, IpNet::V6(net)) => writeln!(
                text,
                "netsh interface ipv6 add address \"plimsoll\" {}/128 skipassource=true",
                net.addr()
            ),
            (false, _) => writeln!(
                text,
                "# Add each address of {net} that clients use in the same way: Windows takes no prefix."
            ),
        };
    }
    text
}

fn nat(group: &Group<'_>) -> String {
    let (Some(ours), None) = (group.way.ours, group.way.router) else {
        return "# It is on no network of Plimsoll's: the routers between must send what goes to clients through Plimsoll.\n"
            .to_owned();
    };
    let all = if group.way.is_v6 { "::/0" } else { "0.0.0.0/0" };
    format!(
        "# In place of another default route. What else it sends is routed by Plimsoll too; nothing more is needed.\n\
         {ADAPTER}\
         Remove-NetRoute -DestinationPrefix {all} -InterfaceAlias $net -Confirm:$false -ErrorAction SilentlyContinue\n\
         New-NetRoute -DestinationPrefix {all} -InterfaceAlias $net -NextHop {ours}\n"
    )
}
