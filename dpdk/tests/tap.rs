//! The exception path: a TAP with the port's name and MAC, two queues, to and from the kernel.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plimsoll_dataplane::io::{PacketBuf, RxQueue as _};
use plimsoll_dpdk::{Eal, Mempool, Port, PortConfig, TxQueue, device};

mod support;
use support::{
    filled, ip, need_root, open, send, start, udp, udp_checksum_is_right, unique, until,
};

const MAC: [u8; 6] = [0x02, 0xfc, 0x01, 0x02, 0x03, 0x04];

/// The next datagram. net_tap has the kernel send a signal for every frame, after which a socket with a timeout does
/// not go on by itself (signal(7)).
fn received(socket: &UdpSocket, buffer: &mut [u8]) -> (usize, SocketAddr) {
    loop {
        match socket.recv_from(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result.unwrap(),
        }
    }
}

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
        let (len, from) = received(&socket, &mut buffer);
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

    one_that_is_too_long_holds_up_nothing(&pool, &mut queues[0].tx, &port, &socket);

    drop((port, queues, socket));
    assert!(!Path::new(&sys).exists(), "the interface is left behind");
    assert_eq!(pool.in_use(), 0, "a buffer got lost");

    more_workers_than_queues_share_them(&eal, &pool);
    assert_eq!(pool.in_use(), 0, "a buffer got lost");
}

/// The driver stops at a frame that is longer than the MTU; what is behind it is sent all the same.
fn one_that_is_too_long_holds_up_nothing(
    pool: &Mempool,
    tx: &mut TxQueue,
    port: &Port,
    socket: &UdpSocket,
) {
    let before = port.stats();
    let frames = [2000, 31].map(|payload| {
        let mut bytes = udp(4000, payload);
        bytes[0..6].copy_from_slice(&MAC);
        filled(pool, &bytes)
    });
    send(tx, frames.into());
    let mut buffer = [0; 100];
    assert_eq!(received(socket, &mut buffer).0, 31);
    assert!(port.stats().tx_errors > before.tx_errors);
    assert_eq!((port.mtu(), port.mtu_is_set()), (1500, true));
}

/// 40 workers at once, each of which sends and takes what the kernel answers, on the few queues that there are.
fn more_workers_than_queues_share_them(eal: &Eal, pool: &Mempool) {
    const WORKERS: u16 = 40;
    const EACH: u16 = 50;
    let name = unique("plms");
    let config = PortConfig {
        queues: WORKERS,
        rx_descriptors: 64,
        tx_descriptors: 64,
        ..PortConfig::new("test", &device::tap(&name, MAC))
    };
    let error = Port::open(eal, &config, pool).unwrap_err().to_string();
    assert!(error.contains("40 queues are needed"), "{error}");
    let config = PortConfig {
        share: true,
        ..config
    };
    let (port, queues) = Port::open(eal, &config, pool).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(queues.len(), usize::from(WORKERS));
    until("the link is up", || port.link_up().then_some(()));
    ip(&format!("addr add 198.51.100.2/24 dev {name}"));
    ip(&format!(
        "neigh add 198.51.100.1 lladdr 02:00:00:00:00:09 dev {name}"
    ));
    let socket = UdpSocket::bind("198.51.100.2:9").unwrap();
    let (sent, arrived) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let all = usize::from(WORKERS) * usize::from(EACH);
    std::thread::scope(|scope| {
        for (worker, mut queue) in (0..).zip(queues) {
            let (sent, arrived) = (&sent, &arrived);
            scope.spawn(move || {
                let mut number = 0;
                until("all answers arrive", || {
                    let mut frames = Vec::new();
                    queue.rx.receive(&mut frames, 32);
                    let answers = frames
                        .iter()
                        .filter(|frame| frame.bytes().ends_with(b"pong"));
                    arrived.fetch_add(answers.count(), Ordering::Relaxed);
                    let arrived = arrived.load(Ordering::Relaxed);
                    // No more under way than the socket has room for.
                    if number < EACH && sent.load(Ordering::Relaxed) < arrived + 64 {
                        sent.fetch_add(1, Ordering::Relaxed);
                        let mut bytes = udp(4000 + worker * EACH + number, 30);
                        bytes[0..6].copy_from_slice(&MAC);
                        send(&mut queue.tx, vec![filled(pool, &bytes)]);
                        number += 1;
                    }
                    (arrived >= all).then_some(())
                });
            });
        }
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut senders = BTreeSet::new();
        for _ in 0..all {
            let (_, from) = received(&socket, &mut [0; 100]);
            assert!(senders.insert(from.port()), "a frame was sent twice");
            // One at a time fits any ring.
            socket.send_to(b"pong", from).unwrap();
        }
    });
    assert_eq!(arrived.into_inner(), all);
}
