//! Which CPU runs what: one worker each on the configured ones, the control thread on another.
//! Nothing is started here.

use core_affinity::CoreId;

/// Why the configured CPUs cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CpuError {
    /// The machine does not have it, or this process may not use it.
    #[error(
        "dataplane.cpus: CPU {cpu} is not there, or not for this process, which may use CPU {usable}; \
         change dataplane.cpus, or the CPUs that the service may use (AllowedCPUs=, taskset)"
    )]
    NotUsable {
        /// As configured.
        cpu: usize,
        /// Those that can be used.
        usable: String,
    },
    /// The system does not say.
    #[error("the system does not say which CPUs there are; set dataplane.cpus")]
    Unknown,
}

/// Who runs where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placement {
    /// By worker.
    pub(super) workers: Vec<usize>,
    /// The control thread's own CPU; `None` if the workers have them all.
    pub(super) control: Option<usize>,
}

/// The CPUs that this process may use.
pub(super) fn usable() -> Vec<usize> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    cores.iter().map(|core| core.id).collect()
}

/// Keeps the calling thread on this CPU; says whether the system agreed.
pub(super) fn pin(cpu: usize) -> bool {
    core_affinity::set_for_current(CoreId { id: cpu })
}

/// Who runs where; without configured CPUs every usable one but the first has a worker.
pub(super) fn place(configured: Option<&[u16]>, usable: &[usize]) -> Result<Placement, CpuError> {
    let workers: Vec<usize> = match configured {
        Some(cpus) => cpus.iter().map(|cpu| usize::from(*cpu)).collect(),
        None if usable.len() > 1 => usable.iter().skip(1).copied().collect(),
        None => usable.to_vec(),
    };
    if workers.is_empty() {
        return Err(CpuError::Unknown);
    }
    if let Some(cpu) = workers.iter().find(|cpu| !usable.contains(cpu)) {
        let usable: Vec<String> = usable.iter().map(ToString::to_string).collect();
        return Err(CpuError::NotUsable {
            cpu: *cpu,
            usable: usable.join(", "),
        });
    }
    let control = usable.iter().copied().find(|cpu| !workers.contains(cpu));
    Ok(Placement { workers, control })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_and_the_control_thread_keep_out_of_each_others_way_if_they_can() {
        let on = |configured: Option<&[u16]>, usable: &[usize]| {
            let placement = place(configured, usable).unwrap();
            (placement.workers, placement.control)
        };
        assert_eq!(on(None, &[0, 1, 2]), (vec![1, 2], Some(0)));
        assert_eq!(on(None, &[4]), (vec![4], None));
        assert_eq!(on(Some(&[0]), &[0, 1, 2]), (vec![0], Some(1)));
        assert_eq!(on(Some(&[1, 0]), &[0, 1]), (vec![1, 0], None));
    }

    #[test]
    fn a_cpu_that_is_not_there_is_named() {
        let error = place(Some(&[1, 7]), &[0, 1]).unwrap_err().to_string();
        assert!(error.contains("CPU 7") && error.contains("0, 1"), "{error}");
        assert_eq!(place(None, &[]), Err(CpuError::Unknown));
    }
}
