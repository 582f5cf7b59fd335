//! The exception path: a TAP with the port's name and MAC, two queues, to and from the kernel.

#![cfg(test)]

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use plimsoll_dataplane::io::{PacketBuf, RxQueue as _};
use plimsoll_dpdk::device;

mod support;
use support::{
    filled, ip, need_root, open, send, start, udp, udp_checksum_is_right, unique, until,
};

const MAC: [u8; 6] = [0x02, 0xfc, 0x01, 0x02, 0x03, 0x04];

#[test]
fn the_kernel_sees_an_interface_with_the_ports_name_and_mac() {
    need_root();
    let name = unique("plmt");
    let sys = format!("/sys/class/net/{name}");
    let (eal, pool) = start(&[]);
    let (port, mut queues) = open(&eal, &pool, &device::tap(&name, MAC), 2);
    assert_eq!((port.driver(), port.mac()), ("net_tap", MAC));
    assert!(!port.capabilities().rss && !port.capabilities().rx_unfinished_checksums);
    assert_eq!(
        fs::read_to_string(format!("{sys}/address")).unwrap().trim(),
        "02:fc:01:02:03:04"
    );
    assert_eq!(
        fs::read_to_string(format!("{sys}/mtu")).unwrap().trim(),
        "1500"
    );
    println!(
        "flags {}",
        fs::read_to_string(format!("{sys}/flags")).unwrap().trim()
    );
    until("the link is up", || port.link_up().then_some(()));

    // From us to a socket of the kernel.
    ip(&format!("addr add 198.51.100.2/24 dev {name}"));
    let socket = UdpSocket::bind("198.51.100.2:9").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    for (source, queue) in (4000..).zip(&mut queues) {
        let mut bytes = udp(source, 30);
        bytes[0..6].copy_from_slice(&MAC);
        send(&mut queue.tx, vec![filled(&pool, &bytes)]);
        let mut buffer = [0; 100];
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(
            (len, from.to_string()),
            (30, format!("198.51.100.1:{source}"))
        );
    }

    // From sockets of the kernel to us, on both queues, with our MAC as the source.
    ip(&format!(
        "neigh add 198.51.100.1 lladdr 02:00:00:00:00:09 dev {name}"
    ));
    for source in 0..64 {
        let socket = UdpSocket::bind(("198.51.100.2", 20_000 + source)).unwrap();
        socket.send_to(b"ping", "198.51.100.1:7").unwrap();
    }
    let mut counts = [0; 2];
    until("all datagrams arrive", || {
        for (queue, count) in queues.iter_mut().zip(&mut counts) {
            let mut frames = Vec::new();
            queue.rx.receive(&mut frames, 32);
            *count += frames
                .iter()
                .map(PacketBuf::bytes)
                .filter(|bytes| bytes.ends_with(b"ping") && bytes[6..12] == MAC)
                .inspect(|bytes| assert!(udp_checksum_is_right(bytes)))
                .count();
        }
        (counts.iter().sum::<usize>() == 64).then_some(())
    });
    println!("datagrams per queue: {counts:?}");
    assert!(counts.iter().all(|&count| count > 0), "{counts:?}");

    drop((port, queues));
    assert!(!Path::new(&sys).exists(), "the interface is left behind");
    assert_eq!(pool.in_use(), 0, "a buffer got lost");
}
