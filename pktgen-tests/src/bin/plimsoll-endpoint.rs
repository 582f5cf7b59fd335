//! What the servers, the client and the attacker of a topology run: a tunnel's end, a UDP echo, a UDP probe, a flood.
//!
//! Made for the namespaces of this crate; it has no use on a real server.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use clap::{Parser, Subcommand};
use plimsoll_pktgen_tests::endpoint::flood::{Flood, Kind};
use plimsoll_pktgen_tests::endpoint::{tunnel, udp};
use plimsoll_pktgen_tests::output;

/// What the servers and the client of a topology run.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Take packets out of IP-in-IP, GRE and GUE tunnels and hand them to the kernel.
    Decap {
        /// The TUN device to make.
        #[arg(long, default_value = "decap0")]
        interface: String,
    },
    /// Send what is routed to a TUN device through an IP-in-IP tunnel.
    Encap {
        /// The TUN device to make.
        #[arg(long, default_value = "encap0")]
        interface: String,
        /// The tunnel's other end.
        #[arg(long)]
        to: IpAddr,
    },
    /// Answer datagrams with this server's name and what they said.
    UdpEcho {
        /// The name.
        #[arg(long)]
        name: String,
        /// Where to listen; can be given several times.
        #[arg(long, required = true)]
        listen: Vec<SocketAddr>,
    },
    /// Ask a UDP echo and print, as JSON, who answered.
    UdpProbe {
        /// Whom to ask.
        #[arg(long)]
        to: SocketAddr,
        /// Source ports to ask from.
        #[arg(long, default_value_t = 10)]
        flows: u32,
        /// Datagrams from each of them.
        #[arg(long, default_value_t = 10)]
        per_flow: u32,
        /// Pad each datagram to this many bytes.
        #[arg(long, default_value_t = 0)]
        bytes: usize,
        /// Milliseconds to wait for each answer.
        #[arg(long, default_value_t = 2000)]
        timeout_ms: u64,
    },
    /// Send packets of invented clients, of 198.18.0.0/15.
    Flood {
        /// What each client sends.
        #[arg(long, value_enum)]
        kind: Kind,
        /// The address and port under attack.
        #[arg(long)]
        to: SocketAddrV4,
        /// How many clients there seem to be.
        #[arg(long)]
        clients: u32,
        /// Of so many each second.
        #[arg(long, default_value_t = 1000)]
        rate: u32,
        /// Decides the clients' addresses and ports.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().role {
        Role::Decap { interface } => tunnel::decapsulate(&interface),
        Role::Encap { interface, to } => tunnel::encapsulate(&interface, to),
        Role::UdpEcho { name, listen } => udp::echo(&name, &listen),
        Role::UdpProbe {
            to,
            flows,
            per_flow,
            bytes,
            timeout_ms,
        } => {
            let seen = udp::probe(
                to,
                flows,
                per_flow,
                bytes,
                Duration::from_millis(timeout_ms),
            )?;
            output::line(seen.json())?;
            Ok(())
        }
        Role::Flood {
            kind,
            to,
            clients,
            rate,
            seed,
        } => {
            let flood = Flood {
                kind,
                to,
                clients,
                clients_per_second: rate,
                seed,
            };
            output::line(format_args!("{} packets", flood.send()?))?;
            Ok(())
        }
    }
}
