//! The specification of the packet path as tables: packet in, verdict, packet out.
//! Expected frames come from `PacketBuilder`, never from the code under test.

#[path = "forwarding/balancing.rs"]
mod balancing;
#[path = "forwarding/fragments.rs"]
mod fragments;
#[path = "forwarding/hosts.rs"]
mod hosts;
#[path = "forwarding/icmp.rs"]
mod icmp;
#[path = "forwarding/limits.rs"]
mod limits;
#[path = "forwarding/methods.rs"]
mod methods;
#[path = "forwarding/net.rs"]
mod net;
#[path = "forwarding/refusals.rs"]
mod refusals;
#[path = "forwarding/sessions.rs"]
mod sessions;
#[path = "forwarding/workers.rs"]
mod workers;
