//! The facts about this machine and this build that figures depend on.
//!
//! Must not fail: what cannot be found out is said to be unknown.

use std::fs;
use std::process::{Command, Stdio};

use serde::Serialize;

/// Where a run took place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Family, model and stepping, since a virtual machine's name may hide them.
    pub cpu_model: String,
    /// CPUs that are online.
    pub cpus: usize,
    /// The caches of the first CPU, such as `L2 1024K`.
    pub caches: Vec<String>,
    /// The hypervisor, if there is one.
    pub hypervisor: Option<String>,
    /// Main memory, in bytes.
    pub memory_bytes: u64,
    /// The kernel's version.
    pub kernel: String,
    /// Reserved pages of 2 MiB.
    pub hugepages: u64,
    /// The mode of transparent huge pages.
    pub transparent_hugepages: String,
    /// The installed DPDK.
    pub dpdk: String,
    /// The installed compiler.
    pub rustc: String,
    /// The commit of the source, `+` where files were changed.
    pub commit: String,
    /// When, in UTC.
    pub date: String,
}

const UNKNOWN: &str = "unknown";

impl Machine {
    /// This one, now.
    #[must_use]
    pub fn here() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let field = |name| field(&cpuinfo, name).unwrap_or(UNKNOWN);
        let meminfo = read("/proc/meminfo");
        let memory_kib = self::field(&meminfo, "MemTotal")
            .and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok());
        let (hypervisor, thp) = (
            read("/sys/hypervisor/type"),
            read("/sys/kernel/mm/transparent_hugepage/enabled"),
        );
        Self {
            cpu: field("model name").to_owned(),
            cpu_model: format!(
                "{} family {} model {} stepping {}",
                field("vendor_id"),
                field("cpu family"),
                field("model"),
                field("stepping")
            ),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            caches: caches(),
            hypervisor: Some(hypervisor.trim())
                .filter(|name| !name.is_empty())
                .or_else(|| {
                    field("flags")
                        .split(' ')
                        .any(|flag| flag == "hypervisor")
                        .then_some("yes")
                })
                .map(str::to_owned),
            memory_bytes: memory_kib.unwrap_or(0) * 1024,
            kernel: or_unknown(read("/proc/sys/kernel/osrelease")),
            hugepages: read("/proc/sys/vm/nr_hugepages")
                .trim()
                .parse()
                .unwrap_or(0),
            transparent_hugepages: chosen(&thp).unwrap_or(UNKNOWN).to_owned(),
            dpdk: output("pkg-config", &["--modversion", "libdpdk"]),
            rustc: output("rustc", &["-V"]),
            commit: commit(),
            date: output("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        }
    }

    /// The most important facts in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} ({}), {} CPUs{}, {}, Linux {}, DPDK {}, commit {}",
            self.cpu,
            self.cpu_model,
            self.cpus,
            if self.hypervisor.is_some() {
                " of a virtual machine"
            } else {
                ""
            },
            self.caches.join(" "),
            self.kernel,
            self.dpdk,
            self.commit
        )
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn or_unknown(text: String) -> String {
    match text.trim() {
        "" => UNKNOWN.to_owned(),
        text => text.to_owned(),
    }
}

/// The value of the first line `name : value`.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

/// The word in brackets.
fn chosen(text: &str) -> Option<&str> {
    text.split_once('[')?
        .1
        .split_once(']')
        .map(|(word, _)| word)
}

fn caches() -> Vec<String> {
    (0..8)
        .map_while(|index| {
            let part = |name: &str| {
                let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}");
                Some(read(&path).trim().to_owned()).filter(|text| !text.is_empty())
            };
            let kind = match part("type")?.as_str() {
                "Data" => "d",
                "Instruction" => "i",
                _ => "",
            };
            Some(format!("L{}{kind} {}", part("level")?, part("size")?))
        })
        .collect()
}

fn commit() -> String {
    let directory = env!("CARGO_MANIFEST_DIR");
    let head = output("git", &["-C", directory, "rev-parse", "--short=12", "HEAD"]);
    let changed = output(
        "git",
        &[
            "-C",
            directory,
            "status",
            "--porcelain",
            "--untracked-files=no",
        ],
    );
    if changed == UNKNOWN {
        head
    } else {
        format!("{head}+")
    }
}

/// What a program prints; unknown if it fails or prints nothing.
fn output(program: &str, words: &[&str]) -> String {
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let text = output
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    or_unknown(text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_found_in_the_kernels_texts() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC: 4\n\nmodel name\t: other\n";
        assert_eq!(field(text, "model name"), Some("AMD EPYC: 4"));
        assert_eq!(field(text, "model"), None);
        assert_eq!(chosen("always [madvise] never\n"), Some("madvise"));
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn what_cannot_be_found_out_is_unknown() {
        assert_eq!(output("/does/not/exist", &[]), UNKNOWN);
        assert_eq!(output("false", &[]), UNKNOWN);
    }
}
