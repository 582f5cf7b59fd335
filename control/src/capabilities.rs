//! What a thread may do that others may not (capabilities(7)): each has what its starter had, until it gives it up.
//! Which ones the process keeps is decided in `daemon/privileges.rs`.

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use tracing::warn;

/// What the calling thread may have.
pub(crate) fn permitted() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted)
}

/// Takes all capabilities from the calling thread, which its starter had.
#[cfg(feature = "dpdk")]
pub(crate) fn none() {
    leave(CapabilitySet::empty());
}

/// The same but for the right to read the configuration again, if the process has kept it.
pub(crate) fn keep_reading() {
    leave(CapabilitySet::DAC_READ_SEARCH);
}

fn leave(keep: CapabilitySet) {
    let had = permitted();
    if let Err(error) = set(keep & had, keep & had) {
        warn!(%error, "a thread cannot give up its capabilities");
    }
}

/// Sets those that it has and those that it may have.
///
/// # Errors
/// What capset(2) says.
pub(crate) fn set(effective: CapabilitySet, permitted: CapabilitySet) -> Result<(), Errno> {
    let sets = CapabilitySets {
        effective,
        permitted,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_only_reads_keeps_no_other_right_and_its_starter_keeps_all() {
        let had = permitted();
        let effective = || capabilities(None).unwrap().effective;
        let kept = std::thread::spawn(move || {
            keep_reading();
            (permitted(), effective())
        });
        let (permitted_there, effective_there) = kept.join().unwrap();
        let reading = had & CapabilitySet::DAC_READ_SEARCH;
        assert_eq!((permitted_there, effective_there), (reading, reading));
        assert_eq!(permitted(), had);
    }
}
