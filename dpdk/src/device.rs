//! Device strings, as DPDK writes them: what kind of device, with which arguments.
//! Pure functions on text; nothing is opened here.
//!
//! What the software devices of DPDK 22.11 do that a user must know:
//!
//! ## `net_af_packet` (any Linux interface)
//!
//! - The kernel still owns the interface and sees every frame too. Give it no addresses there (else
//!   both answer ARP, and the kernel resets connections that it does not know), and beware of
//!   `ip_forward`. Addresses on another interface, such as a port's TAP, count as well: Linux takes what is for
//!   one of its addresses wherever it comes in. A rule of nftables at the interface's ingress, where packet
//!   sockets have had the frame already, keeps it from the kernel. Frames that the kernel itself sends there are received as if they came from the wire.
//! - Checksums and segments that the kernel leaves to "the NIC" arrive as they are. On a veth, the
//!   peer's TCP and UDP checksums are unfinished (they hold the sum of the pseudo header; see
//!   [`crate::Capabilities::rx_unfinished_checksums`]), and its large segments are longer than a frame: run
//!   `ethtool -K PEER tx off tso off gso off` on the sending side. On a real NIC, switch off what joins
//!   received segments: `ethtool -K IFACE gro off lro off`.
//! - A frame longer than the ring's slot (`framesz`, 2048 bytes less about 80 for the kernel's header)
//!   is *cut*, not dropped, and looks like a short frame with a long IP header length.
//! - The queues share the traffic by the kernel's flow hash (`PACKET_FANOUT_HASH` with rollover: a
//!   full queue spills over into another, so a flow may change its queue under overload). The group
//!   also asks the kernel to reassemble IPv4 fragments first, so a fragmented datagram arrives whole,
//!   and cut as above if it is longer than a slot.
//! - `qpairs=N` sets the number of queues, which [`with_queue_pairs`] adds.
//! - An interface that was deleted leaves the device dead, without an error that could be seen: frames are taken until
//!   the ring is full. Another one of that name has to be opened anew ([`crate::Port::is_present`]).
//! - The interface must be up before the driver binds to it ([`crate::Port::open`] sees to that), and may
//!   go down and up later. While it is down, frames are taken until the ring is full and counted in
//!   `tx_errors` at once; when it is back, they are sent after all, however old.
//! - A frame that is too long for a slot (2016 bytes) is dropped on sending and counted in `tx_errors`;
//!   one that is longer than the MTU is dropped by the kernel and counted as sent. A full ring is
//!   kicked and polled once per burst without a time limit: the kernel lets it return at once in
//!   practice.
//! - The MTU is at most 1500; more is refused whatever `framesz` says. Setting it sets the kernel's.
//! - A VLAN tag that the kernel took off is put back, so 4 bytes less are free in front of such a frame.
//! - Frames that the kernel dropped since the ring (512 slots) was full are counted nowhere in DPDK.
//!
//! ## `net_tap` (an interface made for us)
//!
//! - The interface goes away with the process. The MTU is at most 1504.
//! - It takes a real-time signal (the first free one after `SIGRTMIN`), which the kernel sends to
//!   the process when frames wait: system calls may be interrupted, and no thread may block it everywhere.
//! - As many receive as transmit queues. It says that it has 16, and writes over its stack with more than 4
//!   (DPDK 22.11), so 4 are used; [`crate::PortConfig::share`] lets more workers use them.
//!   Each keeps one buffer per receive descriptor, so ask for few.
//!
//! ## `net_virtio_user` and `net_vhost` (vhost-user, to another process)
//!
//! - Both sides must share their memory: with hugepages of 2 MiB use `--single-file-segments` (given
//!   by [`crate::Eal`]); ordinary memory is shared as well.
//! - The link is down until the other side is there; frames sent until then are not taken.

use plimsoll_dataplane::wire::{ethernet, vlan};
use std::fmt::Write as _;

use crate::kernel;

/// The name of the device: what is before the first comma.
#[must_use]
pub fn name(device: &str) -> &str {
    device.split(',').next().unwrap_or_default().trim()
}

/// The value of the argument `key` in `driver0,key=value,...`.
#[must_use]
pub fn argument<'a>(device: &'a str, key: &str) -> Option<&'a str> {
    device
        .split(',')
        .skip(1)
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

/// The name of the kernel's interface that `net_af_packet` borrows: the kernel sees its frames as well.
#[must_use]
pub fn borrowed_interface(device: &str) -> Option<&str> {
    let driver = name(device);
    let borrows = driver.starts_with("net_af_packet") || driver.starts_with("eth_af_packet");
    argument(device, "iface").filter(|_| borrows)
}

/// The name of the kernel's interface without which the device is dead: the one that it borrows, or a TAP's.
#[must_use]
pub fn interface(device: &str) -> Option<&str> {
    let of_tap = || argument(device, "iface").filter(|_| name(device).starts_with("net_tap"));
    borrowed_interface(device).or_else(of_tap)
}

/// Whether a device whose interface was deleted may be opened again now: a borrowed interface has to be there, and a
/// TAP is made anew.
#[must_use]
pub fn may_open_again(device: &str) -> bool {
    match borrowed_interface(device) {
        Some(interface) => kernel::interface_index(interface).is_some(),
        None => interface(device).is_some(),
    }
}

/// The same device under another name in DPDK, where the old one stays as long as somebody uses it.
///
/// ```
/// use plimsoll_dpdk::device::again;
/// assert_eq!(again("net_af_packet0,iface=eth1", 2), "net_af_packet0_again2,iface=eth1");
/// ```
#[must_use]
pub fn again(device: &str, attempt: u32) -> String {
    let (name, arguments) = device.split_at(device.find(',').unwrap_or(device.len()));
    format!("{name}_again{attempt}{arguments}")
}

/// The full PCI address (`0000:3b:00.0`) if `device` is one, with or without the domain.
#[must_use]
pub fn pci_address(device: &str) -> Option<String> {
    let name = name(device);
    let full = if name.split(':').count() == 2 {
        format!("0000:{name}")
    } else {
        name.to_owned()
    };
    let (slot, function) = full.split_once('.')?;
    let mut parts = slot.split(':');
    let hex = |part: Option<&str>, digits: usize| {
        part.is_some_and(|part| {
            part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    let fits = hex(parts.next(), 4)
        && hex(parts.next(), 2)
        && hex(parts.next(), 2)
        && parts.next().is_none()
        && matches!(function.as_bytes(), [b'0'..=b'7']);
    fits.then(|| full.to_ascii_lowercase())
}

/// Adds the argument with which the device is given `queues` queue pairs, where its driver needs one
/// and the user has not given it.
///
/// ```
/// use plimsoll_dpdk::device::with_queue_pairs;
/// assert_eq!(with_queue_pairs("net_af_packet0,iface=eth1", 2), "net_af_packet0,iface=eth1,qpairs=2");
/// assert_eq!(with_queue_pairs("0000:3b:00.0", 2), "0000:3b:00.0");
/// ```
#[must_use]
pub fn with_queue_pairs(device: &str, queues: u16) -> String {
    const ARGUMENTS: &[(&str, &str)] = &[
        ("net_af_packet", "qpairs"),
        ("eth_af_packet", "qpairs"),
        ("net_af_xdp", "queue_count"),
        ("net_virtio_user", "queues"),
        ("virtio_user", "queues"),
        ("net_vhost", "queues"),
        ("eth_vhost", "queues"),
    ];
    let driver = name(device);
    match ARGUMENTS
        .iter()
        .find(|(prefix, _)| driver.starts_with(prefix))
    {
        Some((_, key)) if queues > 1 && argument(device, key).is_none() => {
            format!("{device},{key}={queues}")
        }
        _ => device.to_owned(),
    }
}

/// The device for a port's exception path: a TAP named `interface` with the port's MAC, so that the
/// kernel speaks with the same address on the wire as Plimsoll does.
///
/// The name is what the kernel takes: 1 to 15 bytes, no `/`, no space; this does not check it.
#[must_use]
pub fn tap(interface: &str, mac: [u8; 6]) -> String {
    let mut device = format!("net_tap_{interface},iface={interface},mac=");
    for (index, byte) in mac.iter().enumerate() {
        let separator = if index == 0 { "" } else { ":" };
        // Writing to a String cannot fail.
        let _ = write!(device, "{separator}{byte:02x}");
    }
    device
}

/// Bytes that each buffer of a pool needs for frames of this MTU: headroom, Ethernet header, two
/// VLAN tags and the MTU, and never less than what `net_af_packet` asks for with its default slots.
#[must_use]
pub fn data_room(mtu: u16) -> usize {
    let needed = dpdk_sys::PLIM_HEADROOM as usize + frame_bytes(mtu);
    needed
        .next_multiple_of(64)
        .max(dpdk_sys::PLIM_DEFAULT_DATA_ROOM as usize)
}

/// The longest frame that has this MTU: Ethernet header and two VLAN tags.
pub(crate) fn frame_bytes(mtu: u16) -> usize {
    usize::from(mtu) + ethernet::HEADER_BYTES + 2 * vlan::TAG_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_are_told_from_virtual_devices() {
        for (device, address) in [
            ("0000:3b:00.0", Some("0000:3b:00.0")),
            ("3B:00.1,representor=0", Some("0000:3b:00.1")),
            ("net_af_packet0,iface=veth0", None),
            ("net_null", None),
            ("0000:3b:00", None),
            ("0000:3b:00.9", None),
            ("a.b", None),
            ("", None),
        ] {
            assert_eq!(pci_address(device).as_deref(), address, "{device}");
        }
    }

    #[test]
    fn queue_pairs_are_added_once_and_only_where_the_driver_needs_them() {
        for (device, queues, expected) in [
            (
                "net_af_packet0,iface=a",
                2,
                "net_af_packet0,iface=a,qpairs=2",
            ),
            ("net_af_packet0,iface=a", 1, "net_af_packet0,iface=a"),
            (
                "net_af_packet0,iface=a,qpairs=4",
                2,
                "net_af_packet0,iface=a,qpairs=4",
            ),
            (
                "net_af_packet0,iface=qpairs",
                2,
                "net_af_packet0,iface=qpairs,qpairs=2",
            ),
            (
                "net_virtio_user0,path=/s",
                3,
                "net_virtio_user0,path=/s,queues=3",
            ),
            (
                "virtio_user0,path=/s,queues=8",
                3,
                "virtio_user0,path=/s,queues=8",
            ),
            ("net_vhost0,iface=/s", 2, "net_vhost0,iface=/s,queues=2"),
            ("net_tap_wan,iface=wan", 2, "net_tap_wan,iface=wan"),
            ("0000:3b:00.0", 2, "0000:3b:00.0"),
        ] {
            assert_eq!(with_queue_pairs(device, queues), expected);
        }
    }

    #[test]
    fn interfaces_that_may_go_are_known() {
        assert_eq!(interface("net_af_packet0,iface=a,qpairs=2"), Some("a"));
        assert_eq!(interface("net_tap_wan,iface=wan"), Some("wan"));
        assert_eq!(interface("net_vhost0,iface=/tmp/s"), None);
        assert_eq!(interface("net_null0"), None);
        assert!(!may_open_again("net_af_packet0,iface=no-such-name"));
        assert!(may_open_again("net_tap_wan,iface=wan"));
    }

    #[test]
    fn a_tap_has_the_ports_name_and_mac() {
        assert_eq!(
            tap("wan", [2, 0xfc, 0, 0, 0, 0x1f]),
            "net_tap_wan,iface=wan,mac=02:fc:00:00:00:1f"
        );
    }

    #[test]
    fn buffers_hold_headroom_and_the_longest_frame() {
        assert_eq!(data_room(1500), 2176);
        assert_eq!(data_room(9000), 9152);
        for mtu in [68, 1500, 2000, 9000, u16::MAX - 256] {
            assert!(data_room(mtu) >= 128 + usize::from(mtu) + 22);
        }
    }
}
