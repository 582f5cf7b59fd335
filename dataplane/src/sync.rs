//! What threads share in the files that are also checked under loom, by the names that both have.
//! Nothing else belongs here: `tests/loom.rs` has a module of the same names.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

pub(crate) use crossbeam::queue::ArrayQueue;
pub(crate) use crossbeam::utils::CachePadded;
