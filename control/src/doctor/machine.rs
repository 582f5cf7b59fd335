//! What does not depend on a port: huge pages, transparent huge pages, the workers' CPUs.
//! It reads `/sys` alone.

use super::finding::{Finding, Level, Root};
use crate::config::valid::{Hugepages, Idle, StartConfig};

const POOLS: &str = "sys/kernel/mm/hugepages";
const TRANSPARENT: &str = "sys/kernel/mm/transparent_hugepage/enabled";
const CPUS: &str = "sys/devices/system/cpu";

/// Huge pages for packet buffers. Those of a daemon that runs are not free, and are its own.
pub(super) fn hugepages(root: &Root, start: &StartConfig, is_running: bool) -> Finding {
    const ABOUT: &str = "hugepages";
    let need = start.memory_bytes;
    let which = if is_running {
        "nr_hugepages"
    } else {
        "free_hugepages"
    };
    let mut there = 0_u64;
    for pool in root.names(POOLS) {
        let size = pool.strip_prefix("hugepages-").unwrap_or_default();
        let size = size
            .strip_suffix("kB")
            .and_then(|kib| kib.parse::<u64>().ok());
        let count = root.number(&format!("{POOLS}/{pool}/{which}"));
        let count = count.and_then(|count| u64::try_from(count).ok());
        let bytes = size
            .zip(count)
            .map(|(kib, count)| (kib << 10).saturating_mul(count));
        there = there.saturating_add(bytes.unwrap_or_default());
    }
    let (there_mib, need_mib) = (there >> 20, need.div_ceil(1 << 20));
    let numbers =
        format!("{there_mib} MiB in huge pages, {need_mib} MiB needed for packet buffers");
    let command = format!("sysctl -w vm.nr_hugepages={}", need.div_ceil(2 << 20));
    match start.hugepages {
        Hugepages::Off => Finding::new(
            Level::Ok,
            ABOUT,
            "none are needed: `dataplane.memory.hugepages` is `off`",
        ),
        _ if there >= need => Finding::new(Level::Ok, ABOUT, numbers),
        Hugepages::On => Finding::new(Level::Error, ABOUT, numbers).mend(command),
        Hugepages::Auto => {
            let what =
                format!("{numbers}: ordinary memory is used where they lack, which is slower");
            Finding::new(Level::Warning, ABOUT, what).mend(command)
        }
    }
}

/// Transparent huge pages, in which session tables are.
pub(super) fn transparent(root: &Root) -> Finding {
    const ABOUT: &str = "transparent huge pages";
    match root.read(TRANSPARENT) {
        Some(modes) if modes.contains("[never]") => Finding::new(
            Level::Warning,
            ABOUT,
            "switched off: session tables are in small pages, and each look into them costs more",
        )
        .mend(format!("echo madvise > /{TRANSPARENT}")),
        Some(_) => Finding::new(Level::Ok, ABOUT, "there for session tables"),
        None => Finding::new(Level::Note, ABOUT, "this kernel has none"),
    }
}

/// The workers' CPUs: there, and no other process's.
pub(super) fn cpus(root: &Root, start: &StartConfig) -> Vec<Finding> {
    const ABOUT: &str = "cpus";
    let Some(cpus) = &start.cpus else {
        let what = "`dataplane.cpus` is not set: every CPU but the first has a worker, whatever else runs there";
        return vec![Finding::new(Level::Note, ABOUT, what)];
    };
    let online = list(&root.read(&format!("{CPUS}/online")).unwrap_or_default());
    let isolated = list(&root.read(&format!("{CPUS}/isolated")).unwrap_or_default());
    let lacking = |of: &[u16]| -> Vec<String> {
        let lacking = cpus.iter().filter(|cpu| !of.contains(cpu));
        lacking.map(ToString::to_string).collect()
    };
    let mut findings = Vec::new();
    let missing = lacking(&online);
    if !missing.is_empty() && !online.is_empty() {
        let what = format!("CPU {} is not there, or offline", missing.join(","));
        let by_hand = "# change dataplane.cpus to CPUs of /sys/devices/system/cpu/online";
        findings.push(Finding::new(Level::Error, ABOUT, what).mend(by_hand));
    }
    let shared = lacking(&isolated);
    if shared.is_empty() {
        findings.push(Finding::new(
            Level::Ok,
            ABOUT,
            "all workers' CPUs are isolated",
        ));
    } else if start.idle == Idle::Poll {
        let cpus = shared.join(",");
        let what =
            format!("CPU {cpus} is not isolated: whatever else runs there takes time from packets");
        let by_hand = format!(
            "# add to the kernel's command line, and start again: isolcpus={cpus} nohz_full={cpus} rcu_nocbs={cpus}"
        );
        findings.push(Finding::new(Level::Warning, ABOUT, what).mend(by_hand));
    } else {
        let what = "not all are isolated, which matters less with `idle: sleep`";
        findings.push(Finding::new(Level::Note, ABOUT, what));
    }
    findings
}

/// The NUMA node of a CPU, if the machine has several.
pub(super) fn node(root: &Root, cpu: u16) -> Option<i64> {
    let names = root.names(&format!("{CPUS}/cpu{cpu}"));
    let mut nodes = names.iter().filter_map(|name| name.strip_prefix("node"));
    nodes.find_map(|number| number.parse().ok())
}

/// The numbers of a list as the kernel writes it: `0-3,8`. What makes no sense is left out.
pub(super) fn list(text: &str) -> Vec<u16> {
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
    });
    ranges.flatten().collect()
}
