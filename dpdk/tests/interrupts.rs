//! Receive interrupts: of `net_vhost`, `net_virtio_user` and `net_tap`, which have them, and of `net_null` and
//! `net_af_packet`, which have none.

#![cfg(test)]

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use plimsoll_dataplane::io::RxQueue as _;
use plimsoll_dpdk::{Eal, Interrupts, Mempool, Port, PortConfig, RxQueue, TxQueue, device};

mod support;
use support::{Queues, Veth, filled, frame, ip, need_root, receive, send, start, unique, until};

/// Longer than any wait here that ends by an interrupt.
const LONG: Duration = Duration::from_secs(5);

#[test]
fn a_frame_wakes_who_waits_for_its_queue() {
    need_root();
    let (eal, pool) = start(&[]);
    drivers_without_interrupts_have_none(&eal, &pool);
    vhost_and_virtio_wake_each_other(&eal, &pool);
    the_kernel_wakes_a_tap(&eal, &pool);
    assert_eq!(pool.in_use(), 0, "a buffer got lost");
}

fn open(eal: &Eal, pool: &Mempool, device: &str, interrupts: bool) -> (Port, Queues) {
    let config = PortConfig {
        rx_descriptors: 64,
        tx_descriptors: 64,
        interrupts,
        ..PortConfig::new("test", device)
    };
    let (port, queues) = Port::open(eal, &config, pool).unwrap_or_else(|error| panic!("{error}"));
    (port, queues.into_iter().next().unwrap())
}

fn drivers_without_interrupts_have_none(eal: &Eal, pool: &Mempool) {
    let _ = eal.take_messages();
    let veth = Veth::new();
    for device in [
        "net_null0,no-rx=1".to_owned(),
        format!("net_af_packet0,iface={}", veth.left),
    ] {
        let (_port, queues) = open(eal, pool, &device, true);
        assert!(queues.rx.interrupt().is_none(), "{device}");
        assert!(Interrupts::of([&queues.rx]).unwrap().is_none(), "{device}");
    }
    assert_eq!(eal.take_messages(), Vec::<String>::new(), "DPDK complains");
}

/// Arms the queue and takes what came before.
fn arm(queue: &mut RxQueue) {
    queue.arm();
    assert_eq!(queue.receive(&mut Vec::new(), 32), 0);
}

/// Nothing is left to be told of.
fn settle(interrupts: &Interrupts) {
    until("it is quiet", || {
        (!interrupts.wait(Duration::from_millis(20)).unwrap()).then_some(())
    });
}

fn vhost_and_virtio_wake_each_other(eal: &Eal, pool: &Mempool) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let vhost_device = format!("net_vhost0,iface={}", path.display());
    let virtio_device = format!("net_virtio_user0,path={},queue_size=256", path.display());

    let (vhost_port, mut vhost) = open(eal, pool, &vhost_device, true);
    // Whoever waits for a vhost was there before its peer.
    let of_vhost = Interrupts::of([&vhost.rx]).unwrap().unwrap();
    arm(&mut vhost.rx);
    for _ in 0..2 {
        let (virtio_port, mut virtio) = open(eal, pool, &virtio_device, true);
        let of_virtio = Interrupts::of([&virtio.rx]).unwrap().unwrap();
        until("both links are up", || {
            (vhost_port.link_up() && virtio_port.link_up()).then_some(())
        });
        for _ in 0..3 {
            cross(pool, &mut virtio.tx, &mut vhost.rx, &of_vhost);
            cross(pool, &mut vhost.tx, &mut virtio.rx, &of_virtio);
        }
        drop((of_virtio, virtio, virtio_port));
        until("the link is down", || (!vhost_port.link_up()).then_some(()));
    }

    let both = Interrupts::of([&vhost.rx, &vhost.rx]);
    assert!(both.is_err(), "a queue is waited for twice");
    drop((of_vhost, vhost, vhost_port));
    let (_port, not_asked) = open(eal, pool, &vhost_device, false);
    assert!(not_asked.rx.interrupt().is_none());
}

/// A frame wakes who waits for the queue while it is armed, and does not while it is not.
fn cross(pool: &Mempool, tx: &mut TxQueue, rx: &mut RxQueue, interrupts: &Interrupts) {
    arm(rx);
    settle(interrupts);
    let started = Instant::now();
    assert!(!interrupts.wait(Duration::from_millis(2)).unwrap());
    assert!(started.elapsed() >= Duration::from_millis(2));
    send(tx, vec![filled(pool, &frame(1, 60))]);
    assert!(interrupts.wait(LONG).unwrap(), "the frame woke nobody");
    assert_eq!(receive(rx, 1).len(), 1);

    rx.disarm();
    settle(interrupts);
    send(tx, vec![filled(pool, &frame(2, 60))]);
    assert!(!interrupts.wait(Duration::from_millis(20)).unwrap());
    assert_eq!(receive(rx, 1).len(), 1);
}

fn the_kernel_wakes_a_tap(eal: &Eal, pool: &Mempool) {
    let name = unique("plmi");
    let mac = [0x02, 0xfc, 0x01, 0x02, 0x03, 0x05];
    let (_port, mut queues) = open(eal, pool, &device::tap(&name, mac), true);
    ip(&format!("addr add 198.51.100.9/24 dev {name}"));
    ip(&format!(
        "neigh add 198.51.100.8 lladdr 02:00:00:00:00:09 dev {name}"
    ));
    let interrupts = Interrupts::of([&queues.rx]).unwrap().unwrap();
    let socket = UdpSocket::bind("198.51.100.9:0").unwrap();
    for _ in 0..3 {
        queues.rx.arm();
        // What the kernel sends by itself, such as neighbour discovery, is of no interest.
        until("it is quiet", || {
            let received = queues.rx.receive(&mut Vec::new(), 32);
            let told = interrupts.wait(Duration::from_millis(20)).unwrap();
            (received == 0 && !told).then_some(())
        });
        socket.send_to(b"ping", "198.51.100.8:7").unwrap();
        assert!(interrupts.wait(LONG).unwrap(), "the datagram woke nobody");
        receive(&mut queues.rx, 1);
        queues.rx.disarm();
    }
}
