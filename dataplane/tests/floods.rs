//! Floods against a small session table: who is still served while somebody sends packets with invented addresses, or
//! opens and closes connections faster than they time out. Every method, attack and family beside each other.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "all of this crate is tests, where a panic is a verdict"
)]

#[path = "floods/attack.rs"]
mod attack;
#[path = "floods/gauges.rs"]
mod gauges;
#[path = "floods/honest.rs"]
mod honest;
#[path = "forwarding/net.rs"]
mod net;
#[path = "floods/services.rs"]
mod services;
#[path = "floods/siege.rs"]
mod siege;
#[path = "floods/templates.rs"]
mod templates;
#[path = "floods/world.rs"]
mod world;
