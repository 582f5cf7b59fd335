//! `net_vhost` and `net_virtio_user` in one process, on ordinary memory, with two queue pairs.

#![cfg(test)]

use plimsoll_dataplane::io::{PacketBuf, TxQueue as _};

mod support;
use support::{filled, frame, open, receive, start, until};

#[test]
fn frames_cross_from_virtio_user_to_vhost_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let (eal, pool) = start(&[]);
    let (vhost_port, mut vhost) = open(
        &eal,
        &pool,
        &format!("net_vhost0,iface={}", path.display()),
        2,
    );
    assert!(!vhost_port.link_up(), "nobody is connected");
    let mut early = vec![filled(&pool, &frame(0, 64))];
    println!("sent without a peer: {}", vhost[0].tx.transmit(&mut early));
    drop(early);

    let device = format!("net_virtio_user0,path={},queue_size=256", path.display());
    let (virtio_port, mut virtio) = open(&eal, &pool, &device, 2);
    until("both links are up", || {
        (vhost_port.link_up() && virtio_port.link_up()).then_some(())
    });
    println!(
        "drivers {} and {}",
        vhost_port.driver(),
        virtio_port.driver()
    );

    for queue in 0..2 {
        let frames: Vec<Vec<u8>> = (0..100)
            .map(|tag| frame(tag, 60 + usize::from(tag)))
            .collect();
        let (mut waiting, mut there) = (Vec::new(), Vec::new());
        waiting.extend(frames.iter().take(32).map(|bytes| filled(&pool, bytes)));
        until("virtio takes the frames", || {
            virtio[queue].tx.transmit(&mut waiting);
            waiting.is_empty().then_some(())
        });
        there.extend(receive(&mut vhost[queue].rx, 32));
        let same = there
            .iter()
            .map(PacketBuf::bytes)
            .eq(frames.iter().take(32).map(Vec::as_slice));
        assert!(same, "queue {queue}");
        until("vhost takes the frames", || {
            vhost[queue].tx.transmit(&mut there);
            there.is_empty().then_some(())
        });
        let back = receive(&mut virtio[queue].rx, 32);
        assert!(
            back.iter()
                .map(PacketBuf::bytes)
                .eq(frames.iter().take(32).map(Vec::as_slice))
        );
    }
    assert_eq!(vhost_port.stats().rx_packets, 64);
    drop((virtio_port, virtio));
    until("the link is down", || (!vhost_port.link_up()).then_some(()));
    drop((vhost_port, vhost));
    assert_eq!(pool.in_use(), 0, "a buffer got lost");
}
