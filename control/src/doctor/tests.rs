//! Machines made of files: what is wrong with each is found, with what mends it, and nothing else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::config;
use crate::report::neighbours::{Neighbours, UnreachableNeighbour};
use crate::report::status::{Count, DropSummary, PortStatus, Status, Use};

const CONFIG: &str = r#"
version: 1
dataplane:
  cpus: [1, 2]
  memory: { hugepages: HUGE, size: 64MiB }
  ports:
    - { name: wan, device: "0000:3b:00.0", addresses: [192.0.2.2/24] }
    - { name: lan, device: "net_af_packet0,iface=eth1", addresses: [10.0.0.2/24] }
services: []
"#;

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn link(root: &Path, path: &str, target: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(&path);
    symlink(target, path).unwrap();
}

const PCI: &str = "sys/bus/pci/devices/0000:3b:00.0";
const POOL: &str = "sys/kernel/mm/hugepages/hugepages-2048kB";
const MODES: &str = "sys/kernel/mm/transparent_hugepage/enabled";
const CPUS: &str = "sys/devices/system/cpu";

/// A machine on which nothing is wrong.
fn machine() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (path, text) in [
        (format!("{POOL}/nr_hugepages"), "32\n"),
        (format!("{POOL}/free_hugepages"), "32\n"),
        (MODES.to_owned(), "always [madvise] never\n"),
        (format!("{CPUS}/online"), "0-3\n"),
        (format!("{CPUS}/isolated"), "1-2\n"),
        (format!("{CPUS}/cpu1/node0/x"), ""),
        (format!("{CPUS}/cpu2/node0/x"), ""),
        (format!("{PCI}/numa_node"), "0\n"),
        ("sys/class/net/eth1/operstate".to_owned(), "up\n"),
        ("sys/class/net/eth1/mtu".to_owned(), "1500\n"),
    ] {
        write(root, &path, text);
    }
    link(root, &format!("{PCI}/driver"), "../../drivers/vfio-pci");
    link(root, &format!("{PCI}/iommu_group"), "../../iommu_groups/7");
    folder
}

fn diagnose(root: &Path, huge: &str, live: Option<&Live>) -> Diagnosis {
    let loaded = config::parse("f", CONFIG.replace("HUGE", huge));
    let loaded = loaded.unwrap_or_else(|errors| panic!("{}", errors.report(false)));
    examine(&Root::new(root), Some(&loaded.valid), live)
}

#[test]
fn a_machine_that_is_prepared_has_nothing_to_mend() {
    let machine = machine();
    let diagnosis = diagnose(machine.path(), "on", None);
    let mut bad = diagnosis.findings.iter();
    assert_eq!(bad.find(|one| one.level >= Level::Warning), None);
    assert!(diagnosis.works);
}

#[test]
fn each_fault_is_found_with_what_mends_it() {
    type Break = fn(&Path);
    let faults: [(&str, Break, Level, &str, &str); 12] = [
        (
            "on",
            |root| write(root, &format!("{POOL}/free_hugepages"), "31"),
            Level::Error,
            "62 MiB",
            "vm.nr_hugepages=32",
        ),
        (
            "auto",
            |root| write(root, &format!("{POOL}/free_hugepages"), "0"),
            Level::Warning,
            "slower",
            "vm.nr_hugepages=32",
        ),
        (
            "on",
            |root| write(root, MODES, "always madvise [never]"),
            Level::Warning,
            "switched off",
            "echo madvise > /sys/",
        ),
        (
            "on",
            |root| write(root, &format!("{CPUS}/online"), "0-1"),
            Level::Error,
            "CPU 2 is not there",
            "dataplane.cpus",
        ),
        (
            "on",
            |root| write(root, &format!("{CPUS}/isolated"), "2"),
            Level::Warning,
            "CPU 1 is not isolated",
            "isolcpus=1 ",
        ),
        (
            "on",
            |root| link(root, &format!("{PCI}/driver"), "../ixgbe"),
            Level::Error,
            "ixgbe",
            "dpdk-devbind.py -b vfio-pci 0000:3b:00.0",
        ),
        (
            "on",
            |root| fs::remove_file(root.join(format!("{PCI}/driver"))).unwrap(),
            Level::Error,
            "no driver",
            "dpdk-devbind.py",
        ),
        (
            "on",
            |root| fs::remove_file(root.join(format!("{PCI}/iommu_group"))).unwrap(),
            Level::Error,
            "no IOMMU",
            "iommu=pt",
        ),
        (
            "on",
            |root| write(root, &format!("{PCI}/numa_node"), "1"),
            Level::Warning,
            "NUMA node 1, and CPU 1,2 is not",
            "node1/cpulist",
        ),
        (
            "on",
            |root| fs::remove_dir_all(root.join(PCI)).unwrap(),
            Level::Error,
            "no PCI device 0000:3b:00.0",
            "dpdk-devbind.py --status",
        ),
        (
            "on",
            |root| write(root, "sys/class/net/eth1/mtu", "1400"),
            Level::Error,
            "1400",
            "ip link set eth1 mtu 1500",
        ),
        (
            "on",
            |root| write(root, "sys/class/net/eth1/operstate", "down"),
            Level::Error,
            "eth1 is down",
            "ip link set eth1 up",
        ),
    ];
    for (huge, fault, level, what, mend) in faults {
        let machine = machine();
        fault(machine.path());
        let diagnosis = diagnose(machine.path(), huge, None);
        let bad = diagnosis.findings.iter();
        let bad: Vec<_> = bad.filter(|one| one.level >= Level::Warning).collect();
        let [one] = bad[..] else {
            panic!("{what}: {bad:?}")
        };
        assert_eq!(one.level, level, "{one:?}");
        assert!(one.what.contains(what), "{what}: {one:?}");
        assert!(one.mend.iter().any(|line| line.contains(mend)), "{one:?}");
        assert_eq!(diagnosis.works, level < Level::Error);
    }
}

#[test]
fn a_machine_that_says_nothing_is_no_reason_to_panic() {
    let empty = tempfile::tempdir().unwrap();
    for huge in ["on", "off", "auto"] {
        let diagnosis = diagnose(empty.path(), huge, None);
        assert!(!diagnosis.works, "there is no device");
    }
    assert_eq!(machine::list("0-3,8,x,5-,\n"), [0, 1, 2, 3, 8]);
    assert_eq!(machine::list(""), Vec::<u16>::new());
    let diagnosis = examine(&Root::new(empty.path()), None, None);
    assert!(diagnosis.works);
}

#[test]
fn what_a_daemon_tells_of_its_neighbourhood_is_judged() {
    let machine = machine();
    // Its own are not free.
    write(machine.path(), &format!("{POOL}/free_hugepages"), "0");
    let port = |name: &str, link_up| PortStatus {
        name: name.to_owned(),
        kernel: false,
        driver: "net_null".to_owned(),
        mac: "02:00:00:00:00:01".to_owned(),
        mtu: 1500,
        link_up,
    };
    let mut live = Live {
        status: Status {
            version: "0.1.0".to_owned(),
            file: "f".to_owned(),
            fingerprint: "0".to_owned(),
            generation: 1,
            uptime_s: 1,
            recent_s: 1,
            sessions: Use {
                used: 0,
                capacity: 1,
            },
            services: 1,
            reals: 1,
            operator_changes: 0,
            drops: DropSummary {
                total: 0,
                recent: 0,
                top: None,
            },
            unreachable_neighbors: 0,
            address_conflicts: Count {
                total: 0,
                recent: 0,
            },
            last_reload: None,
            workers: Vec::new(),
            ports: vec![port("wan", true)],
        },
        neighbours: Neighbours {
            unreachable: Vec::new(),
            neighbors: Vec::new(),
            incomplete: false,
        },
    };
    assert!(diagnose(machine.path(), "on", Some(&live)).works);
    live.status.ports.push(port("lan", false));
    live.status.address_conflicts.total = 3;
    let earlier = diagnose(machine.path(), "on", Some(&live));
    let conflict = earlier.findings.last().unwrap();
    assert_eq!(conflict.level, Level::Warning, "{conflict:?}");
    live.status.address_conflicts.recent = 3;
    let silent = |last: u8, reals: &[&str]| UnreachableNeighbour {
        port: "lan".to_owned(),
        address: [10, 0, 0, last].into(),
        since_s: 12,
        reals: reals.iter().map(|real| (*real).to_owned()).collect(),
    };
    live.neighbours.unreachable = vec![silent(21, &["web/10.0.0.21:80"]), silent(99, &[])];
    let diagnosis = diagnose(machine.path(), "on", Some(&live));
    let bad = diagnosis.findings.iter();
    let bad = bad.filter(|one| one.level >= Level::Warning);
    let bad: Vec<_> = bad.map(|one| (one.level, one.about.as_str())).collect();
    assert_eq!(
        bad,
        [
            (Level::Error, "link lan"),
            (Level::Error, "neighbors"),
            (Level::Warning, "neighbors"),
            (Level::Error, "addresses"),
        ]
    );
    let all = format!("{diagnosis:?}");
    assert!(all.contains("web/10.0.0.21:80") && all.contains("arp_ignore=1"));
}
