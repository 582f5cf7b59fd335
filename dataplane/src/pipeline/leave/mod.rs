//! How a packet leaves: forwarded, routed, put together or cut, and by which neighbour.
//! Which session it belongs to is not asked here.

pub(in crate::pipeline) mod exit;
pub(in crate::pipeline) mod forward;
pub(in crate::pipeline) mod fragments;
pub(in crate::pipeline) mod outgoing;
pub(in crate::pipeline) mod transit;
