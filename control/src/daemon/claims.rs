//! One daemon per device: each port's device is claimed by a name that only one process can have.
//! It opens no device, and knows nothing of those that the kernel itself lends to one process only.

use std::io;
use std::os::fd::OwnedFd;

use plimsoll_dpdk::device;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use tracing::warn;

use crate::config::valid::Port;

/// Why a device cannot be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another daemon has it.
    #[error(
        "port `{port}`: {holder} uses {resource} already, and each would get and answer the other's packets; \
         stop it, or give this one another device"
    )]
    Taken {
        /// The port.
        port: String,
        /// What both want.
        resource: String,
        /// Who has it.
        holder: String,
    },
    /// The system refuses.
    #[error("port `{port}`: cannot find out whether another plimsolld uses {resource}: {error}")]
    System {
        /// The port.
        port: String,
        /// What is wanted.
        resource: String,
        /// Why.
        error: io::Error,
    },
}

/// The devices of this process, until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Claims {
    _sockets: Vec<OwnedFd>,
}

impl Claims {
    /// Claims the devices of all ports. Needs the runtime, though it waits for nothing.
    ///
    /// # Errors
    /// [`ClaimError`] if another daemon of root or of this user has one of them.
    pub(super) fn take(ports: &[Port]) -> Result<Self, ClaimError> {
        let mut sockets = Vec::new();
        for port in ports {
            if let Some(resource) = resource(&port.device) {
                sockets.extend(claim(&port.name, resource)?);
            }
        }
        Ok(Self { _sockets: sockets })
    }
}

/// What of a device two processes must not share, in words; `None` if sharing it is possible or harmless.
fn resource(text: &str) -> Option<String> {
    if let Some(address) = device::pci_address(text) {
        return Some(format!("PCI device {address}"));
    }
    let name = device::name(text);
    let is = |drivers: &[&str]| drivers.iter().any(|driver| name.starts_with(driver));
    let interface = device::argument(text, "iface")?;
    if is(&["net_af_packet", "eth_af_packet", "net_af_xdp", "net_pcap"]) {
        Some(format!("interface {interface}"))
    } else if is(&["net_vhost", "eth_vhost"]) {
        Some(format!("socket {interface}"))
    } else {
        None
    }
}

/// Binds a socket whose name stands for the resource. An abstract name belongs to the network namespace, as
/// interfaces do, has no file that a crash could leave behind, and tells who has it.
fn claim(port: &str, resource: String) -> Result<Option<OwnedFd>, ClaimError> {
    match try_claim(&resource) {
        Ok(Claim::Ours(socket)) => Ok(Some(socket)),
        Ok(Claim::Daemon(process)) => Err(ClaimError::Taken {
            port: port.to_owned(),
            resource,
            holder: process.map_or_else(
                || "another plimsolld".to_owned(),
                |id| format!("another plimsolld (process {id})"),
            ),
        }),
        // Whoever may not open devices must not be able to keep the daemon from its own either.
        Ok(Claim::Stranger { user }) => {
            warn!(
                port,
                user,
                "a process of this user claims {resource}, which it has no right to; it is not heeded"
            );
            Ok(None)
        }
        Err(error) => Err(ClaimError::System {
            port: port.to_owned(),
            resource,
            error,
        }),
    }
}

enum Claim {
    Ours(OwnedFd),
    Daemon(Option<i32>),
    Stranger { user: u32 },
}

fn try_claim(resource: &str) -> io::Result<Claim> {
    let address = SocketAddrUnix::new_abstract_name(name(resource).as_bytes())?;
    let new_socket = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
    };
    let socket = new_socket()?;
    match bind(&socket, &address) {
        Ok(()) => {
            // Only so that the next one learns who we are; nobody is answered.
            listen(&socket, 1)?;
            return Ok(Claim::Ours(socket));
        }
        Err(Errno::ADDRINUSE) => {}
        Err(error) => return Err(error.into()),
    }
    let asking = new_socket()?;
    // Refused while its queue is full of those who asked before; it is there all the same.
    if connect(&asking, &address).is_err() {
        return Ok(Claim::Daemon(None));
    }
    let holder = tokio::net::UnixStream::from_std(asking.into())?.peer_cred()?;
    let user = holder.uid();
    if user == 0 || user == rustix::process::geteuid().as_raw() {
        // 0: in another container, whose processes have no numbers here.
        Ok(Claim::Daemon(holder.pid().filter(|id| *id != 0)))
    } else {
        Ok(Claim::Stranger { user })
    }
}

/// A name that fits into a socket's address, whatever the resource is called.
fn name(resource: &str) -> String {
    const MOST: usize = 100;
    let name = format!("plimsoll/{resource}");
    if name.len() <= MOST {
        name
    } else {
        use std::hash::Hasher as _;
        let mut hasher = siphasher::sip::SipHasher24::new();
        hasher.write(resource.as_bytes());
        format!("plimsoll/{:016x}", hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_daemons_cannot_share_is_claimed() {
        for (device, claimed) in [
            ("0000:3b:00.0,x=1", Some("PCI device 0000:3b:00.0")),
            ("net_af_packet0,iface=eth1,qpairs=2", Some("interface eth1")),
            ("net_af_xdp1,iface=eth1", Some("interface eth1")),
            ("net_vhost0,iface=/tmp/s", Some("socket /tmp/s")),
            ("net_tap_wan,iface=wan", None),
            ("net_virtio_user0,path=/dev/vhost-net", None),
            ("net_null0", None),
        ] {
            assert_eq!(resource(device).as_deref(), claimed, "{device}");
        }
    }

    fn port(interface: &str) -> Port {
        Port {
            name: "wan".to_owned(),
            device: format!("net_af_packet0,iface={interface}"),
            addresses: Vec::new(),
            mtu_bytes: 1500,
            kernel: false,
        }
    }

    #[tokio::test]
    async fn a_claim_names_its_holder_and_ends_with_it() {
        for interface in [format!("t{}", std::process::id()), "long".repeat(40)] {
            let ports = [port(&interface)];
            let first = Claims::take(&ports).unwrap();
            let error = Claims::take(&ports).unwrap_err().to_string();
            let holder = format!("process {}", std::process::id());
            assert!(
                error.contains(&holder) && error.contains(&interface),
                "{error}"
            );
            // However many ask, the answer comes at once.
            for _ in 0..10 {
                assert!(matches!(
                    Claims::take(&ports),
                    Err(ClaimError::Taken { .. })
                ));
            }
            drop(first);
            drop(Claims::take(&ports).unwrap());
        }
    }
}
