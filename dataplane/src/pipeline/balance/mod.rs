//! Which session a packet belongs to: it is found, begun, or ended.
//! Nothing is sent here.

pub(crate) mod admit;
pub(crate) mod advance;
pub(crate) mod begin;
pub(crate) mod choosing;
pub(crate) mod flush;
pub(crate) mod idle;
pub(crate) mod lookup;
pub(crate) mod one_packet;
pub(crate) mod persist;
pub(crate) mod sequence_numbers;
pub(crate) mod service_cache;
pub(crate) mod shed;
