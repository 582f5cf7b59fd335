//! Which session a packet belongs to: it is found, begun, or ended.
//! Nothing is sent here.

pub(in crate::pipeline) mod admit;
pub(in crate::pipeline) mod begin;
pub(in crate::pipeline) mod choosing;
pub(in crate::pipeline) mod flush;
pub(in crate::pipeline) mod idle;
pub(in crate::pipeline) mod lookup;
pub(in crate::pipeline) mod one_packet;
pub(in crate::pipeline) mod persist;
pub(in crate::pipeline) mod sequence_numbers;
pub(in crate::pipeline) mod service_cache;
pub(in crate::pipeline) mod shed;
