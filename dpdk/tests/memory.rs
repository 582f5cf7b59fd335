//! Hugepages where there are enough, ordinary memory where not: packets flow on both.

#![cfg(test)]

use plimsoll_dataplane::io::{RxQueue as _, TxQueue as _};
use plimsoll_dpdk::{Eal, EalConfig, Memory, MemoryKind, Mempool, device};

mod support;
use support::open;

const MIB: u32 = 48;

#[test]
fn memory_is_chosen_by_what_is_there() {
    let config = |memory, size_mib| EalConfig {
        memory,
        size_mib: Some(size_mib),
        ..EalConfig::default()
    };
    let error = Eal::init(config(Memory::Huge, 1 << 20))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("1048576 MiB of hugepages are asked for"),
        "{error}"
    );

    // An error before DPDK is started does not use up the one start.
    let before = free_mib();
    let eal = Eal::init(config(Memory::Auto, MIB)).unwrap_or_else(|error| panic!("{error}"));
    println!("{} MiB of {:?}", eal.memory_mib(), eal.memory_kind());
    match eal.memory_kind() {
        MemoryKind::Hugepages => assert!(free_mib() < before, "no hugepage is in use"),
        MemoryKind::Ordinary => {
            assert!(before < MIB, "{before} MiB of hugepages are free");
            assert_eq!(
                eal.take_messages(),
                Vec::<String>::new(),
                "DPDK has something to say"
            );
        }
    }
    let pool = Mempool::new(&eal, "test", 4095, device::data_room(1500)).unwrap();
    let (port, mut queues) = open(&eal, &pool, "net_null0", 1);
    let mut burst = Vec::new();
    assert_eq!(queues[0].rx.receive(&mut burst, 32), 32);
    assert_eq!(queues[0].tx.transmit(&mut burst), 32);
    drop((port, queues));
    assert_eq!(pool.in_use(), 0, "a buffer got lost");
}

/// Pages of 2 MiB; machines for tests have no others.
fn free_mib() -> u32 {
    std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
        .map_or(0, |text| 2 * text.trim().parse::<u32>().unwrap())
}
