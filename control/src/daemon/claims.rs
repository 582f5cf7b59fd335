//! One daemon per device: each port's device is claimed by a name that only one process can have.
//! It opens no device, and knows nothing of those that the kernel itself lends to one process only.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use plimsoll_dpdk::device;
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept, bind, connect, listen,
    socket_with,
};
use tracing::warn;

use crate::config::valid::Port;

/// Sockets that take or send whole frames, each with its interface and user (packet(7)).
const PACKET_SOCKETS: &str = "/proc/net/packet";
/// Who has asked and has not been heard yet, at most: as many as the kernel allows.
const BACKLOG: i32 = 4096;
/// How long the holder of a name may take to let itself be known: a daemon hears those who ask once a second, and opens
/// its interface after it has claimed it.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(50);

/// Why a device cannot be claimed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClaimError {
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
    sockets: Vec<OwnedFd>,
}

impl Claims {
    /// Claims the devices of all ports. Needs the runtime, though it waits for nothing.
    ///
    /// # Errors
    /// [`ClaimError`] if another daemon has one of them.
    pub(super) fn take(ports: &[Port]) -> Result<Self, ClaimError> {
        let mut sockets = Vec::new();
        // For all of them together: whoever may open nothing could otherwise hold up each.
        let end = Instant::now() + PATIENCE;
        for port in ports {
            if let Some(resource) = resource(&port.device) {
                sockets.extend(claim(&port.name, &port.device, resource, end)?);
            }
        }
        Ok(Self { sockets })
    }

    /// Hears those who have asked who has a device, which they know by then: a daemon is known by having room for
    /// who asks. To be called once a second or so.
    pub(super) fn hear(&self) {
        for socket in &self.sockets {
            let heard = (0..BACKLOG).take_while(|_| accept(socket).is_ok());
            heard.for_each(drop);
        }
    }
}

/// What of a device two processes must not share, in words; `None` if sharing it is possible or harmless.
fn resource(text: &str) -> Option<String> {
    if let Some(address) = device::pci_address(text) {
        return Some(format!("PCI device {address}"));
    }
    if let Some(interface) = interface(text) {
        return Some(format!("interface {interface}"));
    }
    let is_vhost = is(text, &["net_vhost", "eth_vhost"]);
    let socket = device::argument(text, "iface").filter(|_| is_vhost)?;
    Some(format!("socket {socket}"))
}

/// The kernel's interface that a device is.
fn interface(text: &str) -> Option<&str> {
    let drivers = ["net_af_packet", "eth_af_packet", "net_af_xdp", "net_pcap"];
    device::argument(text, "iface").filter(|_| is(text, &drivers))
}

fn is(text: &str, drivers: &[&str]) -> bool {
    let name = device::name(text);
    drivers.iter().any(|driver| name.starts_with(driver))
}

/// Binds a socket whose name stands for the resource. An abstract name belongs to the network namespace, as
/// interfaces do, has no file that a crash could leave behind, and tells who has it.
fn claim(
    port: &str,
    device: &str,
    resource: String,
    end: Instant,
) -> Result<Option<OwnedFd>, ClaimError> {
    match try_claim(&resource, interface(device), end) {
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
                "a process of this user, or one that answers nobody, claims {resource}, which it does not use; it is not \
                 heeded"
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
    /// Of this user, as far as is known.
    Stranger {
        user: Option<u32>,
    },
}

fn try_claim(resource: &str, interface: Option<&str>, end: Instant) -> io::Result<Claim> {
    let address = SocketAddrUnix::new_abstract_name(name(resource).as_bytes())?;
    loop {
        let socket = stream_socket()?;
        match bind(&socket, &address) {
            Ok(()) => {
                // Only so that the next one learns who we are; nobody is answered.
                listen(&socket, BACKLOG)?;
                return Ok(Claim::Ours(socket));
            }
            Err(Errno::ADDRINUSE) => {}
            Err(error) => return Err(error.into()),
        }
        let asking = stream_socket()?;
        match connect(&asking, &address) {
            Ok(()) => match holder(asking, interface)? {
                Claim::Stranger { .. } if interface.is_some() && Instant::now() < end => {
                    thread::sleep(PAUSE);
                }
                claim => return Ok(claim),
            },
            // Nobody listens, or whoever does hears nobody.
            Err(Errno::CONNREFUSED | Errno::AGAIN) if Instant::now() < end => thread::sleep(PAUSE),
            Err(Errno::CONNREFUSED | Errno::AGAIN) => return Ok(Claim::Stranger { user: None }),
            Err(_) => return Ok(Claim::Daemon(None)),
        }
    }
}

/// Who has the name that `asking` is connected to.
fn holder(asking: OwnedFd, interface: Option<&str>) -> io::Result<Claim> {
    let holder = tokio::net::UnixStream::from_std(asking.into())?.peer_cred()?;
    let user = holder.uid();
    let uses = |interface| has_packet_socket(user, interface);
    if user == 0 || user == rustix::process::geteuid().as_raw() || interface.is_some_and(uses) {
        // 0: in another container, whose processes have no numbers here.
        Ok(Claim::Daemon(holder.pid().filter(|id| *id != 0)))
    } else {
        Ok(Claim::Stranger { user: Some(user) })
    }
}

/// Whether a user has an interface's frames, which only who may use interfaces can get.
fn has_packet_socket(user: u32, interface: &str) -> bool {
    let index = stream_socket().and_then(|socket| name_to_index(socket, interface));
    let list = fs::read_to_string(PACKET_SOCKETS);
    index.is_ok_and(|index| list.is_ok_and(|list| is_listed(&list, user, index)))
}

/// Whether the list has a socket of this user on the interface of this number.
fn is_listed(list: &str, user: u32, index: u32) -> bool {
    // sk RefCnt Type Proto Iface R Rmem User Inode
    list.lines().any(|line| {
        let mut words = line.split_whitespace().skip(4);
        let mut number = |skipped| words.nth(skipped).and_then(|word| word.parse::<u32>().ok());
        number(0) == Some(index) && number(2) == Some(user)
    })
}

fn stream_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
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

    #[test]
    fn whoever_has_an_interfaces_frames_is_told_by_user_and_interface() {
        let list = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
                    0000000000000000 3      3    0003   7     1 0      61184  424242\n\
                    0000000000000000 3      3    0003   0     1 0      1000   424243\n";
        for (user, index, listed) in [
            (61184, 7, true),
            (61184, 8, false),
            (1000, 7, false),
            (424_242, 7, false),
            (7, 61184, false),
        ] {
            assert_eq!(is_listed(list, user, index), listed, "{user} {index}");
        }
        assert!(!is_listed("", 0, 0));
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
            for _ in 0..3 {
                for _ in 0..1000 {
                    let error = Claims::take(&ports).unwrap_err().to_string();
                    assert!(error.contains(&holder), "{error}");
                }
                first.hear();
            }
            drop(first);
            drop(Claims::take(&ports).unwrap());
        }
    }

    /// A socket by which somebody who is no daemon keeps the name of an interface.
    fn kept(interface: &str) -> (OwnedFd, SocketAddrUnix) {
        let name = name(&resource(&port(interface).device).unwrap());
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
        let socket = stream_socket().unwrap();
        bind(&socket, &address).unwrap();
        (socket, address)
    }

    #[tokio::test]
    async fn whoever_answers_nobody_is_no_daemon() {
        let interface = format!("k{}", std::process::id());
        let (socket, address) = kept(&interface);
        drop(Claims::take(&[port(&interface)]).unwrap());
        // Nor is one whose queue is full for ever.
        listen(&socket, 0).unwrap();
        let asking = [(); 8].map(|()| stream_socket().unwrap());
        let refused = asking.iter().any(|one| connect(one, &address).is_err());
        assert!(refused);
        drop(Claims::take(&[port(&interface)]).unwrap());
    }
}
