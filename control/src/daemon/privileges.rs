//! What this process may do that others may not: given up as soon as the ports are open.
//! It changes no user, so that files that only root may read can still be reloaded.

use std::fs::File;
use std::path::Path;

use plimsoll_dpdk::{device, drop_capabilities_of_other_threads};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set, set_no_new_privs};
use tracing::{info, warn};

use crate::capabilities;
use crate::config::valid::Port;

/// Before any other thread is started: nothing that this process executes will ever have more rights than it
/// has, and memory can be locked after the right to do so is given up (VFIO maps memory for its devices).
///
/// # Errors
/// When the former cannot be ruled out.
pub(super) fn begin() -> Result<(), Errno> {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    // Without the right to raise it, what systemd or the shell has set counts.
    let _ = setrlimit(Resource::Memlock, unlimited);
    for capability in CapabilitySet::all() {
        // Only who has CAP_SETPCAP can; for others the set was made by systemd or whoever started them.
        let _ = remove_capability_from_bounding_set(capability);
    }
    set_no_new_privs(true)
}

/// After the ports are open: no thread that runs keeps a capability but the calling one, and that one those which it
/// needs for opening an interface again that was deleted and made anew, and for reading `file` again. Threads that
/// it starts later have what [`none`](capabilities::none) and [`keep_reading`](capabilities::keep_reading) leave them.
pub(super) fn reduce(ports: &[Port], file: &Path) {
    let mut keep = needed(ports);
    let had = capabilities::permitted();
    let was_readable = File::open(file).is_ok();
    let done = drop_capabilities_of_other_threads()
        .map_err(|error| error.to_string())
        .and_then(|()| capabilities::set(keep & had, had).map_err(|error| error.to_string()));
    if was_readable && done.is_ok() && File::open(file).is_err() {
        // Its effective set can be raised again to what is permitted, which is why that is dropped last.
        keep |= CapabilitySet::DAC_READ_SEARCH;
    }
    match done
        .and_then(|()| capabilities::set(keep & had, keep & had).map_err(|error| error.to_string()))
    {
        Ok(()) if had.is_empty() => {}
        Ok(()) => info!(kept = names(keep & had), "capabilities are given up"),
        Err(error) => warn!(error, "cannot give up capabilities"),
    }
}

/// What opening the ports' interfaces again takes.
fn needed(ports: &[Port]) -> CapabilitySet {
    let of_port = |port: &Port| {
        if device::borrowed_interface(&port.device).is_some() {
            CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW
        } else if port.kernel || device::interface(&port.device).is_some() {
            // Making a TAP.
            CapabilitySet::NET_ADMIN
        } else {
            CapabilitySet::empty()
        }
    };
    ports.iter().map(of_port).collect()
}

/// As in a systemd unit.
fn names(set: CapabilitySet) -> String {
    let names: Vec<String> = set
        .iter_names()
        .map(|(name, _)| format!("CAP_{name}"))
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ports_with_interfaces_need_capabilities() {
        for (device, kernel, kept) in [
            (
                "net_af_packet0,iface=eth1",
                false,
                "CAP_NET_ADMIN CAP_NET_RAW",
            ),
            ("net_tap0,iface=tap0", false, "CAP_NET_ADMIN"),
            ("0000:3b:00.0", true, "CAP_NET_ADMIN"),
            ("0000:3b:00.0", false, "none"),
            ("net_vhost0,iface=/run/vhost", false, "none"),
        ] {
            let port = Port {
                name: "wan".to_owned(),
                device: device.to_owned(),
                addresses: Vec::new(),
                mtu_bytes: 1500,
                kernel,
            };
            assert_eq!(names(needed(&[port])), kept, "{device} {kernel}");
        }
    }

    #[test]
    fn capabilities_have_the_names_that_systemd_has() {
        assert_eq!(names(CapabilitySet::empty()), "none");
        let both = CapabilitySet::NET_RAW | CapabilitySet::NET_ADMIN;
        assert_eq!(names(both), "CAP_NET_ADMIN CAP_NET_RAW");
    }
}
