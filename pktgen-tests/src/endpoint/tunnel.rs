//! The ends of a tunnel by a raw socket and a TUN device, for kernels without `ipip`, `gre` or `fou` devices.
//!
//! Must not look into the inner packet beyond its version: whether its sums are right is the kernel's to judge,
//! which checks everything that comes from a TUN device.

use std::io::Read as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::output;

/// IPv4 inside.
const IPPROTO_IPIP: u8 = 4;
/// IPv6 inside.
const IPPROTO_IPV6: u8 = 41;
/// GRE, RFC 2784 and RFC 2890.
const IPPROTO_GRE: u8 = 47;
/// The port of Generic UDP Encapsulation that IANA has registered.
const GUE_PORT: u16 = 6080;

type Unwrap = fn(&[u8]) -> Option<&[u8]>;

/// Takes the packets out of every tunnel that ends here, for good: IP in IP (all four combinations), GRE and GUE.
///
/// # Errors
/// When the TUN device or a socket cannot be made, or fails later.
pub fn decapsulate(interface: &str) -> Result<()> {
    let device = Arc::new(tun_device(interface)?);
    let mut threads = Vec::new();
    for domain in [Domain::IPV4, Domain::IPV6] {
        let kinds: [(u8, Unwrap); 3] = [
            (IPPROTO_IPIP, whole),
            (IPPROTO_IPV6, whole),
            (IPPROTO_GRE, inside_gre),
        ];
        for (protocol, unwrap) in kinds {
            let socket = raw_socket(domain, protocol)?;
            let device = Arc::clone(&device);
            threads.push(thread::spawn(move || {
                raw_loop(&socket, domain, unwrap, &device)
            }));
        }
    }
    let socket = UdpSocket::bind(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), GUE_PORT))?;
    threads.push(thread::spawn(move || gue_loop(&socket, &device)));
    output::line("ready")?;
    for thread in threads {
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("a receiver panicked"))??;
    }
    Ok(())
}

/// Sends what is routed to the TUN device to the tunnel's other end, for good.
///
/// # Errors
/// When the TUN device or a socket cannot be made, or fails later.
pub fn encapsulate(interface: &str, to: IpAddr) -> Result<()> {
    let device = tun_device(interface)?;
    let domain = if to.is_ipv4() {
        Domain::IPV4
    } else {
        Domain::IPV6
    };
    let (v4, v6) = (
        raw_socket(domain, IPPROTO_IPIP)?,
        raw_socket(domain, IPPROTO_IPV6)?,
    );
    let to = SocketAddr::new(to, 0).into();
    output::line("ready")?;
    let mut buffer = vec![0; 65536];
    loop {
        let length = device.recv(&mut buffer)?;
        let Some(packet) = buffer.get(..length) else {
            continue;
        };
        let socket = match version(packet) {
            Some(4) => &v4,
            Some(6) => &v6,
            _ => continue,
        };
        if let Err(error) = socket.send_to(packet, &to) {
            output::remark(format_args!("to {to:?}: {error}"));
        }
    }
}

fn tun_device(interface: &str) -> Result<tun::Device> {
    let mut config = tun::Configuration::default();
    config.tun_name(interface).mtu(1500).up();
    tun::create(&config).with_context(|| format!("cannot make the TUN device {interface}"))
}

fn raw_socket(domain: Domain, protocol: u8) -> Result<Socket> {
    Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(protocol))))
        .with_context(|| format!("cannot open a raw socket for protocol {protocol}"))
}

fn raw_loop(
    mut socket: &Socket,
    domain: Domain,
    unwrap: Unwrap,
    device: &tun::Device,
) -> Result<()> {
    let mut buffer = vec![0; 65536];
    loop {
        let length = socket.read(&mut buffer)?;
        let received = buffer.get(..length).unwrap_or_default();
        // A raw socket shows the outer header in IPv4 and hides it in IPv6 (raw(7), ipv6(7)).
        let payload = if domain == Domain::IPV4 {
            after_ipv4_header(received)
        } else {
            Some(received)
        };
        deliver(payload.and_then(unwrap), device);
    }
}

fn gue_loop(socket: &UdpSocket, device: &tun::Device) -> Result<()> {
    let mut buffer = vec![0; 65536];
    loop {
        let (length, _) = socket.recv_from(&mut buffer)?;
        deliver(buffer.get(..length).and_then(inside_gue), device);
    }
}

fn deliver(packet: Option<&[u8]>, device: &tun::Device) {
    let Some(packet) = packet.filter(|packet| matches!(version(packet), Some(4 | 6))) else {
        output::remark("ignored a packet that holds no packet");
        return;
    };
    if let Err(error) = device.send(packet) {
        output::remark(format_args!(
            "the TUN device refused {} bytes: {error}",
            packet.len()
        ));
    }
}

fn version(packet: &[u8]) -> Option<u8> {
    packet.first().map(|byte| byte >> 4)
}

fn after_ipv4_header(packet: &[u8]) -> Option<&[u8]> {
    packet.get(usize::from(packet.first()? & 0x0f) * 4..)
}

fn whole(payload: &[u8]) -> Option<&[u8]> {
    Some(payload)
}

/// RFC 2784 2.1 and RFC 2890 2: a checksum, a key and a sequence number are there if their bits are set.
fn inside_gre(payload: &[u8]) -> Option<&[u8]> {
    let flags = payload.first()?;
    let optional = [0x80, 0x20, 0x10]
        .iter()
        .filter(|bit| flags & **bit != 0)
        .count();
    payload.get(4 + 4 * optional..)
}

/// draft-ietf-intarea-gue: version 0 has a header whose length it tells, version 1 is the IP packet itself.
fn inside_gue(payload: &[u8]) -> Option<&[u8]> {
    let first = payload.first()?;
    match first >> 6 {
        0 => payload.get(4 + 4 * usize::from(first & 0x1f)..),
        1 => Some(payload),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_gre_grows_with_its_flags() {
        assert_eq!(inside_gre(&[0, 0, 8, 0, 0x45]), Some(&[0x45][..]));
        assert_eq!(
            inside_gre(&[0x20, 0, 8, 0, 0, 0, 0, 7, 0x45]),
            Some(&[0x45][..])
        );
        assert_eq!(inside_gre(&[0xb0, 0, 8, 0]), None);
    }

    #[test]
    fn both_versions_of_gue_are_understood() {
        assert_eq!(inside_gue(&[0, 4, 0, 0, 0x45]), Some(&[0x45][..]));
        assert_eq!(
            inside_gue(&[1, 4, 0, 0, 9, 9, 9, 9, 0x45]),
            Some(&[0x45][..])
        );
        assert_eq!(inside_gue(&[0x45, 0]), Some(&[0x45, 0][..]));
        assert_eq!(inside_gue(&[0x60]), Some(&[0x60][..]));
    }

    #[test]
    fn the_outer_header_s_options_are_skipped() {
        let mut packet = [0_u8; 25];
        packet[0] = 0x46;
        packet[24] = 7;
        assert_eq!(after_ipv4_header(&packet), Some(&[7][..]));
    }
}
