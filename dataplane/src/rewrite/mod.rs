//! How a packet is changed on its way: one file per forwarding method, and fragmentation.
//! No table is looked at here; the caller knows where the packet goes.

pub mod fragment;
pub mod nat;
pub mod tunnel;
