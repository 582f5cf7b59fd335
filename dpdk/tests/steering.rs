//! Four workers on the queues of `net_ring` ports, where frames are put as a NIC puts them that was told how: what one
//! queue of such a port sends, the same queue receives.

#![cfg(test)]

use std::net::Ipv4Addr;
use std::sync::Arc;

use ahash::RandomState;
use plimsoll_dataplane::flow::{Addresses, Protocol};
use plimsoll_dataplane::id::{DeviceId, PortId};
use plimsoll_dataplane::io::{PacketBuf as _, QueuePair, RxQueue as _};
use plimsoll_dataplane::parse::{Parse, parse};
use plimsoll_dataplane::pipeline::{Config, inboxes};
use plimsoll_dataplane::schedule::Start;
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::snapshot::rcu::Publisher;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::network::{DeviceSpec, Network, PortRole, PortSpec};
use plimsoll_dataplane::spec::scheduler::SchedulerKind;
use plimsoll_dataplane::spec::service::{RealSpec, ServiceSpec};
use plimsoll_dataplane::spec::target::Target;
use plimsoll_dataplane::steering::Steering;
use plimsoll_dataplane::testing::PacketBuilder;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::wire::Mac;
use plimsoll_dataplane::worker::{Resources, Worker, commands};

mod support;
use support::{filled, open, send, start};

const WORKERS: u16 = 4;
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const REAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn spec(forward: ForwardMethod) -> Spec {
    let real = RealSpec::new(REAL.into(), 53, forward);
    let clients = (1..=254).map(|last| (Ipv4Addr::new(192, 0, 2, last).into(), OTHER));
    Spec {
        devices: vec![DeviceSpec {
            steered: true,
            ..DeviceSpec::new(OWN, PortId::new(0))
        }],
        ports: vec![PortSpec {
            name: "ring".into(),
            device: DeviceId::new(0),
            mtu: 1500,
            addresses: vec!["192.0.2.1/24".parse().unwrap()],
            role: PortRole::Network { kernel: None },
        }],
        network: Network {
            neighbours: clients.collect(),
            ..Network::default()
        },
        services: vec![ServiceSpec::new(
            "dns",
            Target::vip(Protocol::Udp, VIP.into(), 53),
            SchedulerKind::Rr,
            vec![real],
        )],
        ..Spec::default()
    }
}

#[test]
fn workers_on_rings_get_their_flows_and_hand_over_at_most_their_answers() {
    let (eal, pool) = start(&[]);
    let (port_in, inside) = open(&eal, &pool, "net_ring0", WORKERS);
    let (port_out, outside) = open(&eal, &pool, "net_ring1", WORKERS);
    let (mut to_workers, receives): (Vec<_>, Vec<_>) =
        inside.into_iter().map(|queue| (queue.tx, queue.rx)).unzip();
    let (sends, mut from_workers): (Vec<_>, Vec<_>) = outside
        .into_iter()
        .map(|queue| (queue.tx, queue.rx))
        .unzip();

    let steering = Arc::new(Steering::usual(WORKERS.into()));
    let mut builder = Builder::new(WORKERS.into(), &RandomState::with_seeds(1, 2, 3, 4));
    let nat = spec(ForwardMethod::Nat);
    let mut publisher = Publisher::new(builder.build(&nat, true));
    let boxes = inboxes(WORKERS.into());
    let mut workers: Vec<_> = receives
        .into_iter()
        .zip(sends)
        .enumerate()
        .map(|(worker, (rx, tx))| {
            let config = Config {
                steering: Some(Arc::clone(&steering)),
                ..Config::new(
                    Start {
                        worker,
                        workers: WORKERS.into(),
                    },
                    4096,
                    [5, 6, 7, 8],
                )
            };
            let resources = Resources {
                queues: vec![QueuePair { rx, tx }],
                pool: pool.handle(),
                reader: publisher.subscribe(),
                commands: commands(),
                inboxes: Arc::clone(&boxes),
            };
            Worker::new(&config, resources)
        })
        .collect();

    // A frame in by the NIC's choice; which queue it left by, and what it was.
    let mut pass = |bytes: &[u8]| {
        let queue = steering.queue_of(&parse(bytes));
        send(&mut to_workers[queue], vec![filled(&pool, bytes)]);
        for _ in 0..2 {
            for worker in &mut workers {
                worker.poll(Time::from_ms(1000));
            }
        }
        let mut left = Vec::new();
        for (place, queue) in from_workers.iter_mut().enumerate() {
            let mut frames = Vec::new();
            queue.receive(&mut frames, 32);
            left.extend(frames.iter().map(|frame| (place, frame.bytes().to_vec())));
        }
        let handed: u64 = workers
            .iter()
            .map(|worker| worker.stats().handed_over.value())
            .sum();
        assert_eq!(left.len(), 1, "frames out");
        let (place, frame) = left.remove(0);
        (queue, place, frame, handed)
    };
    let addresses = |frame: &[u8]| match parse(frame) {
        Parse::Ip(packet) => packet.addresses,
        other => panic!("{other:?}"),
    };
    let mut used = [0_u32; WORKERS as usize];
    let mut crossed = 0;
    for number in 0..400_u16 {
        let client = Ipv4Addr::new(192, 0, 2, 20 + (number % 50) as u8);
        let port = 4000 + number;
        let ask = PacketBuilder::v4(client, VIP).mac(OTHER, OWN);
        let (came, left, frame, handed) = pass(&ask.udp(port, 53).build());
        assert_eq!((came, handed), (left, crossed), "a request is handed over");
        let to_real = Addresses::V4 {
            source: client.into(),
            destination: REAL.into(),
        };
        assert_eq!(addresses(&frame), to_real);
        used[came] += 1;
        let answer = PacketBuilder::v4(REAL, client).mac(OTHER, OWN);
        let (came, left, frame, handed) = pass(&answer.udp(53, port).build());
        crossed += u64::from(came != left);
        assert_eq!(handed, crossed, "an answer goes to its owner at once");
        let to_client = Addresses::V4 {
            source: VIP.into(),
            destination: client.into(),
        };
        assert_eq!(addresses(&frame), to_client);
    }
    assert!(used.iter().all(|flows| *flows > 50), "{used:?}");
    assert!((200..400).contains(&crossed), "{crossed}");
    drop((workers, to_workers, from_workers, port_in, port_out));
    assert_eq!(pool.in_use(), 0, "a buffer got lost");
}
