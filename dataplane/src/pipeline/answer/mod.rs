//! What this machine says itself: ARP, NDP, echo, resets and ICMP errors, each within its limits.
//! No packet is forwarded here but the errors about sessions.

pub(in crate::pipeline) mod defence;
pub(in crate::pipeline) mod icmp;
pub(in crate::pipeline) mod icmp_error;
pub(in crate::pipeline) mod limit;
pub(in crate::pipeline) mod local;
pub(in crate::pipeline) mod path_mtu;
pub(in crate::pipeline) mod policer;
pub(in crate::pipeline) mod quoted_hops;
pub(in crate::pipeline) mod refuse;
pub(in crate::pipeline) mod tunnel_errors;
