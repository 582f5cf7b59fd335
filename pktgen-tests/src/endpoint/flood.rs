//! What an attacker sends from invented addresses: a bounded number of packets at a bounded rate, by a raw socket.
//!
//! Must not receive: nothing that comes back reaches an invented address.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use plimsoll_dataplane::testing::{PacketBuilder, Rng};
use plimsoll_dataplane::wire::{icmpv4, tcp};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// What is sent about each invented client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One SYN.
    Syn,
    /// A SYN, and an ACK that answers nothing it has seen.
    SynAck,
    /// Two UDP datagrams.
    Datagrams,
    /// A segment that belongs to no connection.
    StrayAck,
    /// An ICMP error, "fragmentation needed", about a packet that nobody sent.
    PathMtu,
}

/// How much is sent, and whither.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// What each client sends.
    pub kind: Kind,
    /// The address and port under attack.
    pub to: SocketAddrV4,
    /// How many clients there seem to be.
    pub clients: u32,
    /// Of so many each second.
    pub clients_per_second: u32,
    /// Decides the clients' addresses and ports.
    pub seed: u64,
}

/// The network of the invented clients (RFC 2544: for benchmarks), of which the last 17 bits differ.
const CLIENTS: u32 = 0xc612_0000;

/// The socket sends whole IP packets and receives nothing, raw(7).
const IPPROTO_RAW: i32 = 255;

/// How often the rate is looked at.
const STEP: Duration = Duration::from_millis(5);

impl Flood {
    /// Sends all of it and returns the number of packets.
    ///
    /// # Errors
    /// When the raw socket cannot be made or used.
    pub fn send(&self) -> Result<u64> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))
            .context("a raw socket needs root")?;
        socket.set_header_included_v4(true)?;
        let target = SockAddr::from(SocketAddr::V4(SocketAddrV4::new(*self.to.ip(), 0)));
        let mut random = Rng::new(self.seed);
        let (start, mut packets) = (Instant::now(), 0);
        let mut sent = 0;
        while sent < self.clients {
            let due = start.elapsed().as_millis() * u128::from(self.clients_per_second) / 1000;
            while u128::from(sent) < due && sent < self.clients {
                for datagram in self.packets(&mut random) {
                    socket.send_to(&datagram, &target).context("a raw packet")?;
                    packets += 1;
                }
                sent += 1;
            }
            thread::sleep(STEP);
        }
        Ok(packets)
    }

    /// The packets of the next client.
    fn packets(&self, random: &mut Rng) -> Vec<Vec<u8>> {
        let word = random.next_u64();
        let client = Ipv4Addr::from_bits(CLIENTS | (word & 0x1_ffff) as u32);
        let port = 1024 + (word >> 17 & 0x7fff) as u16;
        let sequence = (word >> 32) as u32;
        let (vip, service) = (*self.to.ip(), self.to.port());
        let packet = PacketBuilder::v4(client, vip);
        let segment = |flags, acknowledgement| {
            packet
                .clone()
                .tcp(port, service)
                .flags(flags)
                .numbers(sequence, acknowledgement)
                .build_datagram()
        };
        let datagram = || {
            packet
                .clone()
                .udp(port, service)
                .payload(b"x")
                .build_datagram()
        };
        match self.kind {
            Kind::Syn => vec![segment(tcp::SYN, 0)],
            Kind::SynAck => vec![segment(tcp::SYN, 0), segment(tcp::ACK, 1)],
            Kind::Datagrams => vec![datagram(), datagram()],
            Kind::StrayAck => vec![segment(tcp::ACK, 1)],
            Kind::PathMtu => {
                let quoted = PacketBuilder::v4(vip, client)
                    .tcp(service, port)
                    .flags(tcp::ACK)
                    .payload(&[0; 1400])
                    .build_datagram();
                let quoted = quoted.get(..28).unwrap_or_default();
                let (kind, code) = (
                    icmpv4::DESTINATION_UNREACHABLE,
                    icmpv4::FRAGMENTATION_NEEDED,
                );
                vec![packet.icmp_error(kind, code, 1000, quoted).build_datagram()]
            }
        }
    }
}
