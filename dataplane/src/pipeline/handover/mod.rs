//! Which worker a packet belongs to, and the messages by which it gets there.
//! No session is begun here.

pub(crate) mod begun_elsewhere;
pub(crate) mod message;
pub(crate) mod owners;
pub(crate) mod reply_cache;
