//! How this run shall be made: how thorough, on which CPUs, with which programs.
//!
//! Must not measure.

use std::path::PathBuf;

use rustix::thread::{CpuSet, sched_setaffinity};

/// What all parts are told.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Few and short rounds: for correctness, not for speed.
    pub quick: bool,
    /// How often every case takes its turn.
    pub rounds: usize,
    /// The CPU of what is measured.
    pub subject_cpu: u16,
    /// The CPU of whoever is at the other end, or of a second worker; the same one on a machine with one CPU.
    pub other_cpu: u16,
    /// Whether there are enough hugepages for everybody's packets.
    pub huge: bool,
    /// Where plimsolld, plimsoll and plimsoll-pktgen are.
    pub programs: PathBuf,
}

impl Plan {
    /// Whether there are two CPUs.
    #[must_use]
    pub fn two_cpus(&self) -> bool {
        self.subject_cpu != self.other_cpu
    }
}

/// Whether so many MiB of hugepages of 2 MiB are free.
#[must_use]
pub fn hugepages_are_free(mib: u64) -> bool {
    let path = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim()
        .parse::<u64>()
        .is_ok_and(|pages| pages * 2 >= mib)
}

/// Ties the calling thread to a CPU. A CPU that is not there is not worth ending a run for: the thread stays free then.
pub fn pin(cpu: u16) {
    let mut set = CpuSet::new();
    set.set(usize::from(cpu));
    let _ = sched_setaffinity(None, &set);
}
