//! How a packet leaves: forwarded, routed, put together or cut, and by which neighbour.
//! Which session it belongs to is not asked here.

pub(crate) mod adjacency;
pub(crate) mod exit;
pub(crate) mod forward;
pub(crate) mod fragments;
pub(crate) mod outgoing;
pub(crate) mod transit;
