//! Buffers, the pool's balance and threads, on `net_null` (an endless source and a sink).

#![cfg(test)]

use std::sync::Arc;
use std::thread;

use plimsoll_dataplane::io::{HEADROOM_BYTES, PacketBuf, Pool, RxQueue as _, TxQueue as _};
use plimsoll_dataplane::steering::Steering;
use plimsoll_dpdk::{
    BurstSource, Eal, EalConfig, EalError, Mbuf, MemoryKind, Mempool, PoolError, Port, PortConfig,
    PortError, device, last_burst, last_frame, register_thread,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

mod support;
use support::{filled, frame, open, start};

#[test]
fn buffers_have_one_owner_and_go_back_to_their_pool() {
    let (eal, pool) = start(&[]);
    assert_eq!(eal.memory_kind(), MemoryKind::Ordinary);
    assert!(eal.version().starts_with("DPDK "), "{}", eal.version());
    assert!(matches!(
        Eal::init(EalConfig::default()),
        Err(EalError::AlreadyStarted)
    ));

    an_exhausted_pool_says_so_and_recovers(&eal);
    a_buffer_behaves_like_a_vector(&pool);
    what_does_not_fit_is_refused_in_words(&eal, &pool);
    frames_are_received_and_sent_on_two_threads(&eal, &pool);
    the_last_burst_is_kept_for_the_message_of_a_crash(&eal, &pool);
    a_port_takes_a_key_and_a_redirection_table_and_tells_them(&eal, &pool);
    a_port_that_is_opened_again_spreads_flows_as_before(&eal, &pool);
    assert_eq!(pool.in_use(), 0, "a buffer got lost");
    assert_eq!(eal.take_messages(), Vec::<String>::new(), "DPDK complains");
}

fn the_last_burst_is_kept_for_the_message_of_a_crash(eal: &Eal, pool: &Mempool) {
    let other_thread = || thread::spawn(last_burst).join().unwrap().1;
    assert_eq!(other_thread(), 0);
    let (port, mut queues) = open(eal, pool, "net_null7,size=70", 1);
    let mut frames = Vec::new();
    assert_eq!(queues[0].rx.receive(&mut frames, 5), 5);
    let source = BurstSource::Queue {
        port: port.id(),
        queue: 0,
    };
    assert_eq!((last_burst(), other_thread()), ((source, 5), 0));
    frames[4].bytes_mut()[66..70].copy_from_slice(b"last");
    let mut bytes = [0; 8];
    assert_eq!(last_frame(4, 64, &mut bytes), (6, 70));
    assert_eq!(&bytes[2..6], b"last");
    assert_eq!(last_frame(4, 70, &mut bytes), (0, 70));
    assert_eq!(last_frame(5, 0, &mut bytes), (0, 0));
    // What is given back keeps its memory.
    drop(frames);
    assert_eq!(last_frame(4, 66, &mut bytes), (4, 70));

    // A queue without frames leaves the burst as it was; another worker's frames take its place.
    let (_port, mut silent) = open(eal, pool, "net_null8,no-rx=1", 1);
    assert_eq!(silent[0].rx.receive(&mut Vec::new(), 32), 0);
    assert_eq!(last_burst(), (source, 5));
    let handed_over = [filled(pool, b"from"), filled(pool, b"another")];
    Mbuf::remember(&handed_over);
    assert_eq!(last_burst(), (BurstSource::Worker, 2));
    assert_eq!(last_frame(1, 0, &mut bytes), (7, 7));
    assert_eq!(&bytes[..7], b"another");
}

fn an_exhausted_pool_says_so_and_recovers(eal: &Eal) {
    let pool = Mempool::new(eal, "small", 63, device::data_room(1500)).unwrap();
    let mut handle = pool.handle();
    let all: Vec<_> = std::iter::from_fn(|| handle.allocate()).collect();
    assert_eq!((all.len(), pool.available()), (63, 0));
    drop(all);
    assert_eq!(pool.available(), 63);

    let error = Mempool::new(eal, "small", 63, 2048).unwrap_err();
    assert!(error.to_string().contains("the name is taken"), "{error}");
    let error = Mempool::new(eal, "huge", 1 << 20, 65000).unwrap_err();
    assert!(
        error.to_string().contains("raise dataplane.memory.size"),
        "{error}"
    );
    assert!(matches!(
        Mempool::new(eal, "tiny", 64, 128),
        Err(PoolError::DataRoom { .. })
    ));
    let _ = eal.take_messages();
}

fn a_port_takes_a_key_and_a_redirection_table_and_tells_them(eal: &Eal, pool: &Mempool) {
    let mut key = [0x5a; 40];
    key[..4].copy_from_slice(&[1, 2, 3, 4]);
    let config = PortConfig {
        queues: 2,
        hash_key: Some(key),
        ..PortConfig::new("hashing", "net_null7")
    };
    let (port, queues) = Port::open(eal, &config, pool).unwrap();
    let hashed = port.hashed().expect("it hashes");
    assert!(hashed.is_by(&key), "{hashed:?}");
    assert!(!hashed.is_by(&[1; 40]));
    let steering = Steering::new(key, hashed.ports, 2);
    assert!(port.spread_over(steering.queues()));
    let odd: Vec<u16> = (0..100).map(|place| place % 2).collect();
    assert!(!port.spread_over(&odd), "no part of its table");
    drop((queues, port));
    // A port with one queue spreads nothing.
    let config = PortConfig {
        queues: 1,
        ..config
    };
    let (port, _queues) = Port::open(eal, &config, pool).unwrap();
    assert_eq!(port.hashed(), None);
}

fn a_port_that_is_opened_again_spreads_flows_as_before(eal: &Eal, pool: &Mempool) {
    let key = [0x5a; 40];
    let config = PortConfig {
        queues: 3,
        hash_key: Some(key),
        ..PortConfig::new("hashing", "net_null7")
    };
    let (mut first, _queues) = Port::open(eal, &config, pool).unwrap();
    assert!(!first.is_steered(), "by nobody yet");
    let steering = Arc::new(Steering::new(key, first.hashed().unwrap().ports, 3));
    assert!(first.steer_by(&steering) && first.is_steered());
    let own = first.queue_entries().unwrap();
    let again = |config: &PortConfig| {
        let config = PortConfig {
            device: device::again(&config.device, 1),
            steering: Some(Arc::clone(&steering)),
            ..config.clone()
        };
        let (port, _queues) = Port::open(eal, &config, pool).unwrap();
        (port.is_steered(), port.queue_entries().unwrap())
    };
    assert_eq!(again(&config), (true, own.clone()));
    // What comes back with another key hashes otherwise, whatever its table says.
    let other = PortConfig {
        hash_key: Some([1; 40]),
        ..config
    };
    assert!(!again(&other).0);
    assert_ne!(again(&other).1, own, "it is not told for nothing");
}

/// The same operations on a buffer and on a plain vector with as much room give the same bytes.
fn a_buffer_behaves_like_a_vector(pool: &Mempool) {
    #[derive(Debug, Clone)]
    enum Step {
        Prepend(usize),
        Trim(usize),
        SetLen(usize),
    }
    let room = pool.data_room();
    let step = prop_oneof![
        (0..200_usize).prop_map(Step::Prepend),
        (0..300_usize).prop_map(Step::Trim),
        (0..2 * room).prop_map(Step::SetLen),
    ];
    let mbuf = pool.handle().allocate().unwrap();
    assert_eq!((mbuf.headroom(), mbuf.bytes().len()), (HEADROOM_BYTES, 0));
    assert_eq!(mbuf.tailroom(), room - HEADROOM_BYTES);
    drop(mbuf);

    let outcome = TestRunner::default().run(&prop::collection::vec(step, 1..40), |steps| {
        let mut mbuf = pool.handle().allocate().unwrap();
        let mut model = Vec::new();
        let mut front = HEADROOM_BYTES;
        for (fill, step) in (0_u8..).zip(steps) {
            match step {
                Step::Prepend(count) => {
                    let fits = count <= front;
                    prop_assert_eq!(mbuf.prepend(count).is_ok(), fits);
                    if fits {
                        front -= count;
                        mbuf.bytes_mut()[..count].fill(fill);
                        model.splice(0..0, std::iter::repeat_n(fill, count));
                    }
                }
                Step::Trim(count) => {
                    mbuf.trim_front(count);
                    front += count.min(model.len());
                    model.drain(..count.min(model.len()));
                }
                Step::SetLen(len) => {
                    let fits = front + len <= room;
                    prop_assert_eq!(mbuf.set_len(len).is_ok(), fits);
                    if fits {
                        let grown = model.len().min(len);
                        mbuf.bytes_mut()[grown..].fill(fill);
                        model.resize(len, fill);
                    }
                }
            }
            prop_assert_eq!(mbuf.bytes(), &model[..]);
            prop_assert_eq!(
                (mbuf.headroom(), mbuf.tailroom()),
                (front, room - front - model.len())
            );
        }
        Ok(())
    });
    outcome.unwrap();
}

fn what_does_not_fit_is_refused_in_words(eal: &Eal, pool: &Mempool) {
    let refused = |config: PortConfig| Port::open(eal, &config, pool).map(|_| ()).unwrap_err();
    let error = refused(PortConfig {
        mtu: 9000,
        ..PortConfig::new("wan", "net_null8")
    });
    assert!(
        matches!(error, PortError::DataRoom { needed: 9150, .. }),
        "{error}"
    );
    let error = refused(PortConfig {
        queues: 2000,
        ..PortConfig::new("wan", "net_null8")
    });
    assert!(
        matches!(error, PortError::TooManyQueues { asked: 2000, .. }),
        "{error}"
    );
    let error = refused(PortConfig {
        queues: 0,
        ..PortConfig::new("wan", "net_null8")
    });
    assert!(matches!(error, PortError::NoQueues { .. }), "{error}");
    for (device, hint) in [
        ("net_nonesuch0", "librte-net-nonesuch"),
        ("0000:ff:1f.7", "dpdk-devbind.py"),
        ("eth0", "begin with their driver's"),
        (
            "net_af_packet9,iface=nonesuch",
            "no network interface `nonesuch`",
        ),
        ("net_af_packet9", "it needs iface=NAME"),
        ("", "neither a PCI address nor"),
    ] {
        let error = refused(PortConfig::new("wan", device)).to_string();
        println!("{error}");
        assert!(
            error.starts_with("port `wan`: ") && error.contains(hint),
            "{error}"
        );
    }
    let _ = eal.take_messages();
}

fn frames_are_received_and_sent_on_two_threads(eal: &Eal, pool: &Mempool) {
    let (port, queues) = open(eal, pool, "net_null0,size=60", 2);
    assert!(port.link_up());
    assert_eq!((port.name(), port.driver()), ("test", "net_null"));
    let taken = Port::open(eal, &PortConfig::new("second", "net_null0"), pool).map(|_| ());
    assert!(matches!(taken, Err(PortError::InUse { .. })), "{taken:?}");

    let sent: usize = thread::scope(|scope| {
        let workers: Vec<_> = queues
            .into_iter()
            .map(|mut queue| {
                scope.spawn(move || {
                    let _registered = register_thread().unwrap();
                    assert!(matches!(register_thread(), Err(EalError::ThreadRegistered)));
                    let mut burst = Vec::with_capacity(32);
                    let mut sent = 0;
                    for _ in 0..1000 {
                        assert_eq!(queue.rx.receive(&mut burst, 32), 32);
                        assert!(burst.iter().all(|mbuf| mbuf.bytes().len() == 60));
                        assert!(burst.iter().all(|mbuf| mbuf.headroom() >= HEADROOM_BYTES));
                        // One is kept back each time: dropping it is the same as sending it.
                        burst.pop();
                        sent += queue.tx.transmit(&mut burst);
                        assert!(burst.is_empty());
                    }
                    assert_eq!(queue.rx.receive(&mut burst, 0), 0);
                    assert_eq!(queue.tx.transmit(&mut burst), 0);
                    sent
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum()
    });
    assert_eq!(sent, 2 * 1000 * 31);
    let stats = port.stats();
    assert_eq!((stats.rx_packets, stats.tx_packets), (64_000, 62_000));
    drop(port);

    // The name is free again, and the queues alone keep a port alive.
    let (port, mut queues) = open(eal, pool, "net_null0,size=60", 1);
    drop(port);
    let mut frames = vec![filled(pool, &frame(1, 64))];
    assert_eq!(queues[0].tx.transmit(&mut frames), 1);
}
