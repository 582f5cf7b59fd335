//! What DPDK is started with; nothing here starts it.

use super::*;

fn config(devices: &[&str], extra: &[&str]) -> EalConfig {
    EalConfig {
        program: "plimsolld".to_owned(),
        extra_args: extra.iter().map(|&word| word.to_owned()).collect(),
        devices: devices.iter().map(|&word| word.to_owned()).collect(),
        ..EalConfig::default()
    }
}

fn line(config: &EalConfig, memory: MemoryKind) -> String {
    arguments(config, memory, 256, Some("0-3")).join(" ")
}

#[test]
fn without_a_pci_port_dpdk_does_not_look_at_pci() {
    let line = line(
        &config(&["net_af_packet0,iface=a"], &[]),
        MemoryKind::Ordinary,
    );
    assert_eq!(
        line,
        "plimsolld --no-telemetry --file-prefix=plimsoll --log-level=lib.*:notice \
         --no-huge --no-shconf -m 256 --lcores 0@(0-3) --no-pci --iova-mode=va"
    );
}

#[test]
fn only_the_configured_pci_devices_are_allowed() {
    let line = line(
        &config(&["3b:00.0,mprq_en=1", "net_null0"], &[]),
        MemoryKind::Hugepages,
    );
    assert!(line.ends_with("-a 0000:3b:00.0,mprq_en=1"), "{line}");
    assert!(
        line.contains("--in-memory --single-file-segments") && !line.contains("--no-pci"),
        "{line}"
    );
}

#[test]
fn pci_members_of_a_virtual_device_are_allowed_too() {
    for (device, allowed) in [
        (
            "net_bonding0,mode=4,slave=0000:3b:00.0,slave=3B:00.1",
            "-a 0000:3b:00.0 -a 0000:3b:00.1",
        ),
        (
            "net_failsafe0,dev(0000:84:00.0,x=1),dev(net_tap0)",
            "-a 0000:84:00.0",
        ),
    ] {
        let line = line(&config(&[device], &[]), MemoryKind::Ordinary);
        assert!(line.ends_with(allowed), "{line}");
        assert!(!line.contains("--no-pci"), "{line}");
    }
    for device in [
        "net_tap_wan,iface=wan,mac=02:fc:00:00:00:1f",
        "net_vhost0,iface=/run/3b:00/vhost.0",
    ] {
        let line = line(&config(&[device], &[]), MemoryKind::Ordinary);
        assert!(
            line.contains("--no-pci") && !line.contains(" -a "),
            "{line}"
        );
    }
}

#[test]
fn whoever_allows_pci_devices_himself_gets_them() {
    for words in [&["-a", "0000:3b:00.0"][..], &["--block=0000:3b:00.1"]] {
        let line = line(
            &config(&["net_bonding0,mode=1"], words),
            MemoryKind::Ordinary,
        );
        assert!(!line.contains("--no-pci"), "{line}");
        assert!(line.ends_with(&words.join(" ")), "{line}");
    }
}

#[test]
fn the_users_arguments_replace_ours() {
    let line = line(
        &config(&[], &["--lcores=0@1", "-m", "64"]),
        MemoryKind::Ordinary,
    );
    assert!(line.ends_with("--lcores=0@1 -m 64"), "{line}");
    assert_eq!(line.matches("--lcores").count(), 1);
    assert_eq!(line.matches("-m ").count(), 1);
}

#[test]
fn hugepages_are_used_where_enough_are_free() {
    assert_eq!(
        choose_memory(Memory::Auto, 512, 511).unwrap(),
        MemoryKind::Ordinary
    );
    assert_eq!(
        choose_memory(Memory::Auto, 512, 512).unwrap(),
        MemoryKind::Hugepages
    );
    assert_eq!(
        choose_memory(Memory::NoHuge, 512, 4096).unwrap(),
        MemoryKind::Ordinary
    );
    assert_eq!(
        choose_memory(Memory::Huge, 512, 512).unwrap(),
        MemoryKind::Hugepages
    );
    let error = choose_memory(Memory::Huge, 512, 2).unwrap_err().to_string();
    assert!(
        error.contains("vm.nr_hugepages=256") && error.contains("2 MiB are free"),
        "{error}"
    );
}

#[test]
fn free_hugepages_of_all_sizes_are_added_up() {
    let directory = tempfile::tempdir().unwrap();
    for (size, free) in [("hugepages-2048kB", "3\n"), ("hugepages-1048576kB", "1\n")] {
        fs::create_dir(directory.path().join(size)).unwrap();
        fs::write(directory.path().join(size).join("free_hugepages"), free).unwrap();
    }
    assert_eq!(free_hugepages_mib(directory.path()), 6 + 1024);
    assert_eq!(free_hugepages_mib(Path::new("/nonexistent")), 0);
}

#[test]
fn the_allowed_cpus_are_read() {
    assert_eq!(
        allowed_cpus("Name:\tx\nCpus_allowed_list:\t0-3,5\n"),
        Some("0-3,5")
    );
    assert_eq!(allowed_cpus(""), None);
}

#[test]
fn a_thread_is_not_registered_before_dpdk_runs() {
    assert!(matches!(register_thread(), Err(EalError::Thread(_))));
}
