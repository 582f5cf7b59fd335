//! `net_ring`: what a port sends comes back to it in the same buffers, which never have two owners.

#![cfg(test)]

use plimsoll_dataplane::io::{PacketBuf, RxQueue as _, TxQueue as _};

mod support;
use support::{filled, frame, open, start};

#[test]
fn buffers_go_round_a_ring_and_back_to_their_pool() {
    let (eal, pool) = start(&[]);
    let (port, mut queues) = open(&eal, &pool, "net_ring0", 1);
    let queue = &mut queues[0];
    let mut burst = Vec::new();
    for round in 0..200_u8 {
        let length = 60 + usize::from(round) * 7;
        burst.extend((0..32).map(|_| filled(&pool, &frame(round, length))));
        assert_eq!(queue.tx.transmit(&mut burst), 32);
        assert!(burst.is_empty());
        assert_eq!(queue.rx.receive(&mut burst, 32), 32);
        for mbuf in &mut burst {
            assert_eq!(mbuf.bytes(), frame(round, length));
            mbuf.prepend(40).unwrap();
            mbuf.bytes_mut()[..40].fill(0xff);
            mbuf.trim_front(40);
        }
        // Some are given back at once, the others go round once more.
        burst.truncate(usize::from(round % 32));
        let left = burst.len();
        assert_eq!(queue.tx.transmit(&mut burst), left);
        assert_eq!(queue.rx.receive(&mut burst, 32), left);
        burst.clear();
        assert_eq!(pool.in_use(), 0, "a buffer got lost in round {round}");
    }
    // A full ring takes a part of a burst and leaves the rest to its owner.
    let mut more = Vec::new();
    let mut sent = 0;
    loop {
        more.extend((more.len()..32).map(|_| filled(&pool, &frame(1, 60))));
        match queue.tx.transmit(&mut more) {
            32 => sent += 32,
            part => {
                sent += part;
                break;
            }
        }
    }
    assert!(!more.is_empty());
    drop(more);
    assert_eq!(usize::try_from(pool.in_use()), Ok(sent));
    let mut received = 0;
    while queue.rx.receive(&mut burst, 32) > 0 {
        received += burst.len();
        burst.clear();
    }
    assert_eq!(received, sent);
    drop((port, queues));
    assert_eq!(pool.in_use(), 0, "a buffer got lost");
}
