//! How a packet leaves: forwarded, routed or cut, and by which neighbour.
//! Which session it belongs to is not asked here.

pub(crate) mod adjacency;
pub(crate) mod exit;
pub(crate) mod forward;
pub(crate) mod outgoing;
pub(crate) mod path_cache;
pub(crate) mod path_mtu;
pub(crate) mod paths;
pub(crate) mod transit;
