//! The specification of the packet path as tables: packet in, verdict, packet out.
//! Expected frames come from `PacketBuilder`, never from the code under test.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "all of this crate is tests, where a panic is a verdict"
)]

#[path = "forwarding/availability.rs"]
mod availability;
#[path = "forwarding/balancing.rs"]
mod balancing;
#[path = "forwarding/decided.rs"]
mod decided;
#[path = "forwarding/fragments.rs"]
mod fragments;
#[path = "forwarding/hosts.rs"]
mod hosts;
#[path = "forwarding/icmp.rs"]
mod icmp;
#[path = "forwarding/idle.rs"]
mod idle;
#[path = "forwarding/limits.rs"]
mod limits;
#[path = "forwarding/lookup.rs"]
mod lookup;
#[path = "forwarding/martians.rs"]
mod martians;
#[path = "forwarding/methods.rs"]
mod methods;
#[path = "forwarding/net.rs"]
mod net;
#[path = "forwarding/one_packet.rs"]
mod one_packet;
#[path = "forwarding/persistence.rs"]
mod persistence;
#[path = "forwarding/persistence_workers.rs"]
mod persistence_workers;
#[path = "forwarding/policers.rs"]
mod policers;
#[path = "forwarding/policy.rs"]
mod policy;
#[path = "forwarding/quotes.rs"]
mod quotes;
#[path = "forwarding/refusals.rs"]
mod refusals;
#[path = "forwarding/sctp.rs"]
mod sctp;
#[path = "forwarding/searches.rs"]
mod searches;
#[path = "forwarding/sessions.rs"]
mod sessions;
#[path = "forwarding/shared_sockets.rs"]
mod shared_sockets;
#[path = "forwarding/sizes.rs"]
mod sizes;
#[path = "forwarding/steering.rs"]
mod steering;
#[path = "forwarding/stuck_ports.rs"]
mod stuck_ports;
#[path = "forwarding/tunnels.rs"]
mod tunnels;
#[path = "forwarding/workers.rs"]
mod workers;
