//! The compiled configuration: immutable, numbered, shared by all workers.

pub mod id;
