//! How a packet is changed on its way: what a session changes (`change.rs`), how addresses are replaced, packets put into
//! tunnels and cut; and the reset that ends it (`reset.rs`).
//! No table is looked at here; the caller knows where the packet goes.

pub mod change;
pub mod fragment;
pub mod nat;
pub(crate) mod reset;
pub mod tunnel;
