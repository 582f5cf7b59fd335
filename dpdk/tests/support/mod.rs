//! What the tests on real devices of DPDK share. Each file in `tests/` is a process of its own, since
//! DPDK starts once in a process; each therefore has one `#[test]`.
#![allow(
    dead_code,
    clippy::cast_possible_truncation,
    reason = "each test file uses its own part of this, and lengths here are small"
)]

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use plimsoll_dataplane::io::{PacketBuf, Pool, QueuePair, RxQueue as _, TxQueue as _};
use plimsoll_dpdk::{
    Eal, EalConfig, Mbuf, Memory, Mempool, Port, PortConfig, RxQueue, TxQueue, device,
};

pub(crate) type Queues = QueuePair<RxQueue, TxQueue>;

/// DPDK on ordinary memory, with a pool for frames of MTU 1500.
pub(crate) fn start(devices: &[&str]) -> (Eal, Mempool) {
    let eal = Eal::init(EalConfig {
        program: "plimsoll-test".to_owned(),
        memory: Memory::NoHuge,
        size_mib: Some(64),
        devices: devices.iter().map(|&device| device.to_owned()).collect(),
        ..EalConfig::default()
    })
    .expect("DPDK does not start");
    let pool = Mempool::new(&eal, "test", 8191, device::data_room(1500)).expect("no pool");
    (eal, pool)
}

/// A port with small rings.
pub(crate) fn open(eal: &Eal, pool: &Mempool, device: &str, queues: u16) -> (Port, Vec<Queues>) {
    let config = PortConfig {
        queues,
        rx_descriptors: 64,
        tx_descriptors: 64,
        ..PortConfig::new("test", device)
    };
    Port::open(eal, &config, pool).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn need_root() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let root = status.lines().any(|line| line.starts_with("Uid:\t0\t"));
    assert!(root, "this test makes network interfaces: run it as root");
}

/// Runs `ip` with these words.
pub(crate) fn ip(words: &str) {
    let output = Command::new("ip")
        .args(words.split(' '))
        .output()
        .expect("ip cannot be run");
    assert!(
        output.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// An interface name of at most 15 bytes that no other process uses.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}{}", std::process::id())
}

/// A pair of interfaces, deleted when this is dropped.
pub(crate) struct Veth {
    pub(crate) left: String,
    pub(crate) right: String,
}

impl Veth {
    pub(crate) fn new() -> Self {
        need_root();
        let (left, right) = (unique("plml"), unique("plmr"));
        ip(&format!("link add {left} type veth peer name {right}"));
        let pair = Self { left, right };
        for name in [&pair.left, &pair.right] {
            // The kernel's own neighbour discovery would be received as well.
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1").unwrap();
        }
        pair
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["link", "del", &self.left])
            .output();
    }
}

/// An Ethernet frame of `len` bytes of the experimental type 0x88b5, whose content is told by `tag`.
pub(crate) fn frame(tag: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
    bytes.extend((bytes.len()..len).map(|at| tag.wrapping_add(at as u8)));
    bytes
}

/// A UDP datagram over IPv4 in an Ethernet frame, with right checksums (UDP's is left out).
pub(crate) fn udp(source_port: u16, payload: usize) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
    let total = (20 + 8 + payload) as u16;
    let mut header = vec![
        0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 198, 51, 100, 1, 198, 51, 100, 2,
    ];
    header[2..4].copy_from_slice(&total.to_be_bytes());
    let mut sum: u32 = header
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    sum = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    bytes.extend(header);
    bytes.extend(source_port.to_be_bytes());
    bytes.extend(9_u16.to_be_bytes());
    bytes.extend((8 + payload as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(std::iter::repeat_n(0x5a, payload));
    bytes
}

/// A buffer with these bytes.
pub(crate) fn filled(pool: &Mempool, bytes: &[u8]) -> Mbuf {
    let mut mbuf = pool.handle().allocate().expect("the pool is exhausted");
    mbuf.set_len(bytes.len()).expect("the buffer is too small");
    mbuf.bytes_mut().copy_from_slice(bytes);
    mbuf
}

/// Sends all frames, within 5 seconds.
pub(crate) fn send(queue: &mut TxQueue, mut frames: Vec<Mbuf>) {
    until("all frames are sent", || {
        queue.transmit(&mut frames);
        frames.is_empty().then_some(())
    });
}

/// Receives `count` frames or more, within 5 seconds.
pub(crate) fn receive(queue: &mut RxQueue, count: usize) -> Vec<Mbuf> {
    let mut frames = Vec::new();
    until("the frames arrive", || {
        queue.receive(&mut frames, 32);
        (frames.len() >= count).then_some(())
    });
    frames
}

/// Waits at most 5 seconds until there is a result.
pub(crate) fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < end, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the UDP checksum of this IPv4 frame without options is complete and right.
pub(crate) fn udp_checksum_is_right(frame: &[u8]) -> bool {
    let (ip, udp) = (&frame[14..34], &frame[34..]);
    let words = |bytes: &[u8]| -> u32 {
        bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)))
            .sum()
    };
    let mut sum = words(&ip[12..20]) + 17 + u32::try_from(udp.len()).unwrap() + words(udp);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum == 0xffff
}
