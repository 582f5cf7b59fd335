//! Which worker a packet belongs to, and the rings by which it gets there.
//! No session is begun here.

pub(in crate::pipeline) mod begun_elsewhere;
pub(in crate::pipeline) mod inbox;
pub(in crate::pipeline) mod message;
pub(in crate::pipeline) mod owners;
pub(in crate::pipeline) mod reply_cache;
