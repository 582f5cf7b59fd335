//! What this machine says itself: ARP, NDP, echo, resets and ICMP errors, each within its limits.
//! No packet is forwarded here but the errors about sessions.

pub(crate) mod defence;
pub(crate) mod echo;
pub(crate) mod icmp_error;
pub(crate) mod local;
#[cfg(test)]
mod one_link;
pub(crate) mod policer;
pub(crate) mod quoted_hops;
pub(crate) mod refuse;
pub(crate) mod relay;
pub(crate) mod tunnel_errors;
