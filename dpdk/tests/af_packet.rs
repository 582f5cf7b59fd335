//! `net_af_packet` on both ends of a veth pair, with two queues, and what it does at its limits.

#![cfg(test)]

use std::collections::BTreeSet;

use plimsoll_dataplane::io::{PacketBuf, RxQueue as _, TxQueue as _};
use plimsoll_dpdk::{Eal, Mempool, Port, PortConfig, PortError};

mod support;
use support::{Queues, Veth, filled, frame, ip, open, send, start, udp, until};

#[test]
fn frames_cross_a_veth_pair_both_ways_on_two_queues() {
    let veth = Veth::new();
    let (eal, pool) = start(&[]);
    a_link_that_is_down_is_switched_on(&eal, &pool, &veth);

    let left = format!("net_af_packet0,iface={}", veth.left);
    let right = format!("net_af_packet1,iface={}", veth.right);
    let (left_port, mut left) = open(&eal, &pool, &left, 2);
    let (right_port, mut right) = open(&eal, &pool, &right, 2);
    assert_eq!(left_port.driver(), "net_af_packet");
    assert_eq!(left_port.capabilities().max_queues, 2);
    assert_ne!(left_port.mac(), right_port.mac());
    until("the link is up", || left_port.link_up().then_some(()));

    // Distinct contents arrive once each, unchanged, whichever queue they come from.
    let frames: Vec<Vec<u8>> = (0..40)
        .map(|tag| frame(tag, 60 + usize::from(tag) * 36))
        .collect();
    send(
        &mut left[1].tx,
        frames.iter().map(|bytes| filled(&pool, bytes)).collect(),
    );
    let arrived = from_both(&mut right, frames.len());
    let bytes = |mbufs: &[plimsoll_dpdk::Mbuf]| -> BTreeSet<Vec<u8>> {
        mbufs.iter().map(|mbuf| mbuf.bytes().to_vec()).collect()
    };
    assert_eq!(arrived.len(), frames.len());
    assert_eq!(bytes(&arrived), frames.iter().cloned().collect());

    // And back: the very buffers that were received are sent again.
    send(&mut right[0].tx, arrived);
    let back = from_both(&mut left, frames.len());
    assert_eq!(bytes(&back), frames.into_iter().collect());
    assert_eq!(
        (left_port.stats().tx_packets, left_port.stats().rx_packets),
        (40, 40)
    );
    drop(back);

    flows_are_spread_over_both_queues(&pool, &mut left, &mut right);
    a_vlan_tag_stays_in_the_frame(&pool, &mut left, &mut right);
    frames_at_the_limit(&pool, &left_port, &mut left, &mut right);
    a_flap(&pool, &left_port, &veth, &mut left, &mut right);

    drop((left_port, left, right_port, right));
    assert_eq!(pool.in_use(), 0, "a buffer got lost");
}

fn a_link_that_is_down_is_switched_on(eal: &Eal, pool: &Mempool, veth: &Veth) {
    let device = format!("net_af_packet9,iface={}", veth.left);
    let (port, queues) = open(eal, pool, &device, 1);
    assert!(!port.link_up(), "the peer is down");
    ip(&format!("link set {} up", veth.right));
    until("the link is up", || port.link_up().then_some(()));
    ip(&format!("link set {} down", veth.left));
    assert!(!port.link_up());
    drop((port, queues));

    let config = PortConfig {
        mtu: 1501,
        ..PortConfig::new("wan", &device)
    };
    let error = Port::open(eal, &config, pool).map(|_| ()).unwrap_err();
    assert!(
        matches!(
            error,
            PortError::Mtu {
                asked: 1501,
                most: 1500,
                ..
            }
        ),
        "{error}"
    );
    // The user's own number of queue pairs stands, and is checked.
    let config = PortConfig {
        queues: 2,
        ..PortConfig::new("wan", &format!("{device},qpairs=1"))
    };
    let error = Port::open(eal, &config, pool).map(|_| ()).unwrap_err();
    assert!(
        matches!(
            error,
            PortError::TooManyQueues {
                asked: 2,
                most: 1,
                ..
            }
        ),
        "{error}"
    );
    // A slot larger than the pool's buffers is refused with the driver's words.
    let config = PortConfig::new(
        "wan",
        &format!("{device},framesz=4096,blocksz=8192,framecnt=64"),
    );
    let error = Port::open(eal, &config, pool)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(error.contains("will not fit in mbuf"), "{error}");
}

fn from_both(queues: &mut [Queues], count: usize) -> Vec<plimsoll_dpdk::Mbuf> {
    let mut frames = Vec::new();
    until("all frames arrive", || {
        for queue in &mut *queues {
            queue.rx.receive(&mut frames, 32);
        }
        (frames.len() >= count).then_some(())
    });
    frames
}

fn flows_are_spread_over_both_queues(pool: &Mempool, left: &mut [Queues], right: &mut [Queues]) {
    let flows = 64;
    // Each flow twice: the second frame must come from the same queue.
    let frames = (0..2 * flows)
        .map(|n| filled(pool, &udp(1000 + n % flows, usize::from(n / flows))))
        .collect();
    send(&mut left[0].tx, frames);
    let port = |mbuf: &plimsoll_dpdk::Mbuf| mbuf.bytes()[34..36].to_vec();
    let mut counts = [Vec::new(), Vec::new()];
    until("all frames arrive", || {
        for (queue, frames) in right.iter_mut().zip(&mut counts) {
            queue.rx.receive(frames, 32);
        }
        (counts[0].len() + counts[1].len() >= 2 * usize::from(flows)).then_some(())
    });
    let [first, second] = counts.map(|frames| frames.iter().map(port).collect::<BTreeSet<_>>());
    println!("flows per queue: {} and {}", first.len(), second.len());
    assert!(
        first.len() > 10 && second.len() > 10,
        "{} and {}",
        first.len(),
        second.len()
    );
    assert!(first.is_disjoint(&second), "a flow came from both queues");
}

fn a_vlan_tag_stays_in_the_frame(pool: &Mempool, left: &mut [Queues], right: &mut [Queues]) {
    let mut tagged = frame(7, 80);
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x2a]);
    send(&mut left[0].tx, vec![filled(pool, &tagged)]);
    assert_eq!(from_both(right, 1)[0].bytes(), tagged);
}

/// Measured here so that the words in `device.rs` stay true.
fn frames_at_the_limit(pool: &Mempool, port: &Port, left: &mut [Queues], right: &mut [Queues]) {
    // MTU 1500 with a VLAN tag fits.
    let mut longest = frame(1, 1514);
    longest.splice(12..12, [0x81, 0x00, 0x00, 0x2a]);
    send(&mut left[0].tx, vec![filled(pool, &longest)]);
    assert_eq!(from_both(right, 1)[0].bytes(), longest);

    // The kernel refuses what is longer than its MTU, and nobody hears of it; what is longer than a
    // slot is counted as an error. Either way the buffer is gone, and the queue goes on.
    for len in [1600, 2030] {
        let before = port.stats();
        let mut frames = vec![filled(pool, &frame(2, len)), filled(pool, &frame(3, 64))];
        assert_eq!(left[0].tx.transmit(&mut frames), 2);
        let arrived = from_both(right, 1);
        assert_eq!(arrived.len(), 1);
        assert_eq!(arrived[0].bytes(), frame(3, 64));
        let after = port.stats();
        println!(
            "{len} bytes: tx_packets +{}, tx_errors +{}",
            after.tx_packets - before.tx_packets,
            after.tx_errors - before.tx_errors
        );
        let errors = if len > 2016 { 1 } else { 0 };
        assert_eq!(after.tx_errors - before.tx_errors, errors);
    }
}

/// Sending on an interface that is down does not wait. What the ring still takes is counted as
/// errors, and is sent after all when the interface is back.
fn a_flap(pool: &Mempool, port: &Port, veth: &Veth, left: &mut [Queues], right: &mut [Queues]) {
    let (slots, tries) = (512, 40);
    ip(&format!("link set {} down", veth.left));
    assert!(!port.link_up());
    let before = port.stats();
    let mut taken = 0;
    for _ in 0..tries {
        let mut frames: Vec<_> = (0..32).map(|tag| filled(pool, &frame(tag, 64))).collect();
        taken += left[0].tx.transmit(&mut frames);
        assert!(taken <= slots);
    }
    let after = port.stats();
    assert_eq!(taken, slots);
    assert_eq!(after.tx_packets, before.tx_packets);
    assert_eq!(after.tx_errors - before.tx_errors, slots as u64);

    ip(&format!("link set {} up", veth.left));
    until("the link is up", || port.link_up().then_some(()));
    let mut stale = Vec::new();
    until("the frames of the ring arrive", || {
        left[0]
            .tx
            .transmit(&mut vec![filled(pool, &frame(200, 64))]);
        for queue in &mut *right {
            queue.rx.receive(&mut stale, 32);
        }
        (stale.len() > slots).then_some(())
    });
    send(&mut right[1].tx, vec![filled(pool, &frame(9, 100))]);
    assert_eq!(from_both(left, 1)[0].bytes(), frame(9, 100));
}
