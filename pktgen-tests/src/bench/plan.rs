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

/// Ties the calling thread to a CPU. A CPU that is not there is not worth ending a run for: the thread stays free then.
pub fn pin(cpu: u16) {
    let mut set = CpuSet::new();
    set.set(usize::from(cpu));
    let _ = sched_setaffinity(None, &set);
}
