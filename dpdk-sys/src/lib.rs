//! Raw bindings to DPDK for Plimsoll.
