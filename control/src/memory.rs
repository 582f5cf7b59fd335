//! How much memory a configuration takes, and how much there is.
//! It takes none itself: a start that cannot succeed is to fail with numbers, and not by the kernel's hand.

use std::fs;
use std::path::{Path, PathBuf};

use plimsoll_dataplane::session::table_bytes;
use serde::Serialize;

use crate::config::ValidConfig;
use crate::config::valid::Hugepages;

/// What a configuration takes, in bytes. Beside it a process takes some ten megabytes, and some kilobytes for
/// each service and real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Need {
    /// Workers.
    pub workers: u64,
    /// Session tables of one worker.
    pub tables_per_worker_bytes: u64,
    /// Session tables of all workers.
    pub tables_bytes: u64,
    /// Packet buffers (`dataplane.memory.size`).
    pub buffers_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
    /// Whether the tables have side lines.
    #[serde(skip)]
    side_lines: bool,
}

impl Need {
    /// What so many workers take that have room for so many sessions each, with side lines or without, and packet buffers
    /// of so many bytes.
    #[must_use]
    pub fn new(
        workers: usize,
        sessions_per_worker: u64,
        side_lines: bool,
        buffers_bytes: u64,
    ) -> Self {
        let workers = u64::try_from(workers).unwrap_or(u64::MAX);
        let sessions = u32::try_from(sessions_per_worker).unwrap_or(u32::MAX);
        let tables_per_worker_bytes = table_bytes(sessions, side_lines);
        let tables_bytes = tables_per_worker_bytes.saturating_mul(workers);
        Self {
            workers,
            tables_per_worker_bytes,
            tables_bytes,
            buffers_bytes,
            total_bytes: tables_bytes.saturating_add(buffers_bytes),
            side_lines,
        }
    }

    /// What the daemon takes with this configuration on `workers` workers.
    #[must_use]
    pub fn of(valid: &ValidConfig, workers: usize) -> Self {
        let start = valid.start();
        let side_lines = valid.has_side_lines();
        Self::new(
            workers,
            start.sessions_per_worker,
            side_lines,
            start.memory_bytes,
        )
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let workers = match self.workers {
            1 => "1 worker".to_owned(),
            workers => format!("{workers} workers"),
        };
        format!(
            "session tables {} per worker, {} with {workers}; packet buffers {}; {} in all",
            size(self.tables_per_worker_bytes),
            size(self.tables_bytes),
            size(self.buffers_bytes),
            size(self.total_bytes),
        )
    }

    /// Whether the session tables fit into what this machine has left now, and the packet buffers if they are not in
    /// hugepages. `setting` is what the number of sessions is called where it was set.
    ///
    /// # Errors
    /// When they do not, with the numbers and what to do.
    pub fn fits(&self, hugepages: Hugepages, setting: &'static str) -> Result<(), Shortage> {
        let available = Available::here(Path::new("/"));
        let buffers = match hugepages {
            Hugepages::On => 0,
            Hugepages::Auto if available.has_hugepages => 0,
            Hugepages::Auto | Hugepages::Off => self.buffers_bytes,
        };
        self.fits_into(available.bytes, buffers, setting)
    }

    fn fits_into(
        &self,
        available: Option<u64>,
        buffers: u64,
        setting: &'static str,
    ) -> Result<(), Shortage> {
        let needed = self.tables_bytes.saturating_add(buffers);
        let shortage = |available| Shortage {
            need: *self,
            buffers,
            available,
            setting,
        };
        if available.is_some_and(|available| available < needed) {
            return Err(shortage(available));
        }
        // A limit of the process's own address space, or one that only an allocation meets.
        let bytes = usize::try_from(self.tables_bytes).unwrap_or(usize::MAX);
        let mut probe = Vec::<u8>::new();
        let reserved = probe.try_reserve_exact(bytes);
        // The compiler may leave out what nobody uses.
        std::hint::black_box(&mut probe);
        match reserved {
            Ok(()) => Ok(()),
            Err(_) => Err(shortage(None)),
        }
    }
}

/// Memory that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not enough memory: {}, and {}", self.what(), self.why())]
pub struct Shortage {
    need: Need,
    /// Of ordinary memory, for packet buffers.
    buffers: u64,
    /// `None` if the system refuses what there may be.
    available: Option<u64>,
    setting: &'static str,
}

impl Shortage {
    fn what(&self) -> String {
        let need = &self.need;
        let tables = format!(
            "the session tables take {} ({} x {})",
            size(need.tables_bytes),
            need.workers,
            size(need.tables_per_worker_bytes)
        );
        match self.buffers {
            0 => tables,
            buffers => format!("{tables} and packet buffers {}", size(buffers)),
        }
    }

    fn why(&self) -> String {
        match self.available {
            Some(available) => format!(
                "{} are available: {}",
                size(available),
                self.remedy(available)
            ),
            None => format!(
                "the system refuses to reserve that: see `ulimit -v`, systemd's LimitAS= and vm.overcommit_memory, or lower {}",
                self.setting
            ),
        }
    }

    /// How many sessions would fit, with a tenth to spare.
    fn remedy(&self, available: u64) -> String {
        let left = (available / 10 * 9).saturating_sub(self.buffers);
        let (mut fit, mut too_many) = (0, u32::MAX);
        while too_many - fit > 1 {
            let middle = fit + (too_many - fit) / 2;
            if table_bytes(middle, self.need.side_lines).saturating_mul(self.need.workers) <= left {
                fit = middle;
            } else {
                too_many = middle;
            }
        }
        let setting = self.setting;
        // Two digits say enough.
        let digits = 10_u32.pow(fit.checked_ilog10().unwrap_or(0).saturating_sub(1));
        match fit / digits * digits {
            0 => format!("add memory, or lower {setting} and the number of workers"),
            fit => format!("lower {setting} to {fit}, use fewer workers, or add memory"),
        }
    }
}

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Available {
    /// Bytes of ordinary memory that this process may still take; `None` if nobody says.
    bytes: Option<u64>,
    /// Whether there are free hugepages.
    has_hugepages: bool,
}

impl Available {
    /// By the files of the kernel below `root`: what the machine has, and what each control group that this process
    /// is in has left.
    fn here(root: &Path) -> Self {
        let info = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let machine = field("MemAvailable:").map(|kib| kib.saturating_mul(1024));
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let groups = groups.lines().filter_map(|line| left_in_group(root, line));
        Self {
            bytes: groups.chain(machine).min(),
            has_hugepages: field("HugePages_Free:").is_some_and(|free| free > 0),
        }
    }
}

/// What a control group of this process, and those that it is in, have left (cgroups(7)): a line of
/// /proc/self/cgroup is number:controllers:path, and the one of version 2 names no controllers.
fn left_in_group(root: &Path, line: &str) -> Option<u64> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let (mount, limit, usage, cache) = match controllers {
        "" => (
            "sys/fs/cgroup",
            "memory.max",
            "memory.current",
            "inactive_file ",
        ),
        "memory" => (
            "sys/fs/cgroup/memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file ",
        ),
        _ => return None,
    };
    let mount = root.join(mount);
    let folder = mount.join(path.trim_start_matches('/'));
    let left = |folder: &Path| {
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        let stat = read("memory.stat").unwrap_or_default();
        // The kernel drops it before it refuses memory.
        let cache = stat.lines().find_map(|line| line.strip_prefix(cache));
        let cache = cache.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let used = number(usage)?.saturating_sub(cache);
        Some(number(limit)?.saturating_sub(used))
    };
    let up: Vec<PathBuf> = folder.ancestors().map(Path::to_owned).collect();
    let inside = up.iter().take_while(|folder| folder.starts_with(&mount));
    inside.filter_map(|folder| left(folder)).min()
}

/// A size in the largest unit of which there are at least ten, as configurations write it.
fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.iter().find(|(_, shift)| bytes >> shift >= 10);
    match unit {
        Some((name, shift)) => format!("{} {name}", bytes.div_ceil(1 << shift)),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_sessions_are_told_with_a_number_that_fits() {
        let need = Need::new(2, 1 << 20, false, 512 << 20);
        assert_eq!(
            need.fits_into(Some(need.total_bytes), 512 << 20, "x"),
            Ok(())
        );
        let gib = 1 << 30;
        let error = Need::new(4, 100_000_000, true, 512 << 20)
            .fits_into(Some(2 * gib), 512 << 20, "dataplane.sessions")
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("and packet buffers 512 MiB, and 2048 MiB are available"),
            "{text}"
        );
        let (_, fit) = text.split_once("lower dataplane.sessions to ").unwrap();
        let fit: u64 = fit.split(',').next().unwrap().parse().unwrap();
        assert_eq!(
            Need::new(4, fit, true, 0).fits_into(Some(2 * gib - (512 << 20)), 0, "x"),
            Ok(())
        );
        assert!(fit > 100_000, "{fit}");
    }

    #[test]
    fn a_limit_of_the_process_is_told_without_a_number_that_would_not_help() {
        let need = Need::new(1 << 10, 1 << 31, false, 0);
        let refused = need.fits_into(Some(u64::MAX), 0, "dataplane.sessions");
        let told = refused.unwrap_err().to_string();
        assert!(told.contains("ulimit -v"), "{told}");
        assert!(!told.contains("dataplane.sessions to"), "{told}");
        assert!(!told.contains("available"), "{told}");
    }

    #[test]
    fn what_no_machine_has_is_refused_whatever_is_known() {
        let need = Need::new(1 << 20, u64::MAX, false, 0);
        assert!(need.fits_into(None, 0, "x").is_err());
        assert!(
            need.fits_into(Some(0), 0, "x")
                .unwrap_err()
                .to_string()
                .contains("add memory")
        );
    }

    #[test]
    fn the_tightest_limit_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let here = || Available::here(root.path());
        assert_eq!((here().bytes, here().has_hugepages), (None, false));
        write(
            "proc/meminfo",
            "MemTotal: 99 kB\nMemAvailable:    4000 kB\nHugePages_Free:      3\n",
        );
        assert_eq!(
            (here().bytes, here().has_hugepages),
            (Some(4_096_000), true)
        );
        write("proc/self/cgroup", "4:memory:/a\n3:cpu:/\n0::/b/c\n");
        write("sys/fs/cgroup/b/c/memory.max", "max\n");
        write("sys/fs/cgroup/b/c/memory.current", "500000\n");
        assert_eq!(here().bytes, Some(4_096_000));
        write("sys/fs/cgroup/b/memory.max", "3000000\n");
        write("sys/fs/cgroup/b/memory.current", "600000\n");
        write(
            "sys/fs/cgroup/b/memory.stat",
            "anon 5\ninactive_file 100000\n",
        );
        assert_eq!(here().bytes, Some(2_500_000));
        write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000000\n");
        write("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "1\n");
        assert_eq!(here().bytes, Some(999_999));
    }
}
