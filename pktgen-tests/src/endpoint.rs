//! What a server or a client of a topology runs besides nginx and curl: the program `plimsoll-endpoint`.
//!
//! Must not know addresses: they come as arguments.

pub mod flood;
pub mod tunnel;
pub mod udp;
