//! One port's trouble stays on that port: full transmit queues, and links that are down.

use plimsoll_dataplane::id::DeviceId;
use plimsoll_dataplane::testing::{Rig, Sent};
use plimsoll_dataplane::verdict::DropReason;
use plimsoll_dataplane::worker::Command;

use crate::hosts::arp_reply;
use crate::net::*;

/// Frames that wait for room in one transmit queue at most.
const BACKLOG: usize = 1024;

/// A NAT session of each family, with a frame of its client and one of its real server.
fn talking(rig: &mut Rig) -> [(Vec<u8>, Vec<u8>); 2] {
    [(CLIENT, VIP, REALS[0]), (CLIENT6, VIP6, REALS6[0])].map(|(client, vip, real)| {
        for flags in [SYN, ACK] {
            rig.pass(
                WAN,
                &from_wan(client, vip).tcp(4000, 80).flags(flags).build(),
            );
            let answer = from_lan(real, client).tcp(8080, 4000).flags(flags | ACK);
            rig.pass(LAN, &answer.build());
        }
        let ask = from_wan(client, vip).tcp(4000, 80).flags(ACK).build();
        let answer = from_lan(real, client).tcp(8080, 4000).flags(ACK).build();
        (ask, answer)
    })
}

fn link(rig: &mut Rig, port: u16, up: bool) {
    let device = DeviceId::new(port);
    rig.command(0, Command::Link { device, up });
    rig.poll(0);
}

/// A frame in, one poll, and what left; a stuck queue would have `run` go on for ever.
fn step(rig: &mut Rig, port: u16, frame: &[u8]) -> Vec<Sent> {
    rig.inject(0, port, frame);
    rig.poll(0);
    let ports = [WAN, LAN].into_iter();
    let taken = ports.flat_map(|port| {
        let frames = rig.wire(0, port).unwrap().drain();
        frames.into_iter().map(move |frame| (port, frame))
    });
    taken.collect()
}

#[test]
fn a_port_that_takes_nothing_holds_up_no_other() {
    let mut rig = Rig::new(1, &nat());
    let sessions = talking(&mut rig);
    rig.wire(0, LAN).unwrap().set_tx_limit(0);
    for number in 0..BACKLOG + 100 {
        assert_eq!(step(&mut rig, WAN, &sessions[number % 2].0), []);
    }
    assert_eq!(rig.all_drops(), [(DropReason::TxFull, 100)]);
    for (_, answer) in &sessions {
        for _ in 0..2 * BACKLOG {
            let sent = step(&mut rig, LAN, answer);
            assert_eq!((sent.len(), sent[0].0), (1, WAN));
        }
    }
    assert_eq!(rig.all_drops(), [(DropReason::TxFull, 100)]);
    // What waited leaves when there is room, in order.
    rig.wire(0, LAN).unwrap().set_tx_limit(usize::MAX);
    assert_eq!(rig.run().len(), BACKLOG);
    finish(rig);
}

#[test]
fn what_would_leave_by_a_port_without_a_link_is_dropped_at_once_and_counted() {
    let mut rig = Rig::new(1, &nat());
    let sessions = talking(&mut rig);
    let [(ask, answer), (ask6, answer6)] = &sessions;
    // Frames that wait when the link goes are of no use to anybody.
    rig.wire(0, LAN).unwrap().set_tx_limit(0);
    for _ in 0..10 {
        step(&mut rig, WAN, ask);
    }
    link(&mut rig, LAN, false);
    assert_eq!(rig.held(), 0);
    assert_eq!(rig.stats().next().unwrap().lost.value(), 10);
    rig.wire(0, LAN).unwrap().set_tx_limit(usize::MAX);
    // The fast path, the general path, and new sessions.
    let begun = from_wan(CLIENT, VIP).tcp(4001, 80).flags(SYN).build();
    for frame in [ask, ask6, &begun] {
        assert_eq!(rig.pass(WAN, frame), []);
    }
    assert_eq!(rig.all_drops(), [(DropReason::LinkDown, 3)]);
    for frame in [answer, answer6] {
        let sent = rig.pass(LAN, frame);
        assert_eq!((sent.len(), sent[0].0), (1, WAN));
    }
    link(&mut rig, LAN, false);
    link(&mut rig, LAN, true);
    assert_eq!(rig.pass(WAN, ask).len(), 1);
    for _ in 0..2 * BACKLOG {
        assert_eq!(rig.pass(WAN, ask6).len(), 1);
    }
    assert_eq!(rig.all_drops(), [(DropReason::LinkDown, 3)]);
    finish(rig);
}

#[test]
fn a_neighbour_that_another_worker_heard_of_goes_with_its_link_too() {
    let mut spec = nat();
    spec.network
        .neighbours
        .retain(|(it, _)| *it != ip(REALS[0]));
    spec.services.truncate(1);
    spec.services[0].reals.truncate(1);
    let mut rig = Rig::new(2, &spec);
    let segment = |port| from_wan(CLIENT, VIP).tcp(port, 80).flags(SYN).build();
    // One that the other worker owns, and one of this one's.
    let ports = |rig: &mut Rig, worker: usize| {
        let before: Vec<u32> = rig.stats().map(|stats| stats.waiting.value()).collect();
        let owned = (4000..).find(|port| {
            rig.inject(0, WAN, &segment(*port));
            rig.run();
            rig.stats().nth(worker).unwrap().waiting.value() > before[worker]
        });
        owned.unwrap()
    };
    ports(&mut rig, 1);
    // Worker 0 knows of the link, and then hears what worker 1 has learnt before it knew.
    link(&mut rig, LAN, false);
    let answer = arp_reply(mac_of(REALS[0]), REALS[0], LAN_MAC, LAN_ADDRESS);
    rig.inject(1, LAN, &answer);
    rig.run();
    rig.command(
        1,
        Command::Link {
            device: DeviceId::new(LAN),
            up: false,
        },
    );
    rig.run();
    for worker in [0, 1] {
        rig.command(
            worker,
            Command::Link {
                device: DeviceId::new(LAN),
                up: true,
            },
        );
    }
    rig.run();
    ports(&mut rig, 0);
    finish(rig);
}

#[test]
fn a_link_that_stays_down_is_the_only_reason_and_nobody_is_asked_over_it() {
    let mut spec = nat();
    let real = spec
        .network
        .neighbours
        .iter()
        .position(|(it, _)| *it == ip(REALS[0]));
    spec.network.neighbours.remove(real.unwrap());
    spec.services.truncate(1);
    spec.services[0].reals.truncate(1);
    let mut rig = Rig::new(1, &spec);
    let segment = |flags| from_wan(CLIENT, VIP).tcp(4000, 80).flags(flags).build();
    let answer = arp_reply(mac_of(REALS[0]), REALS[0], LAN_MAC, LAN_ADDRESS);
    rig.inject(0, WAN, &segment(SYN));
    let asked = rig.run();
    assert_eq!((asked.len(), asked[0].0), (1, LAN));
    rig.inject(0, LAN, &answer);
    assert_eq!(rig.run().len(), 1);
    link(&mut rig, LAN, false);
    for _ in 0..70 {
        assert_eq!(rig.wait_ms(1000), []);
        assert_eq!(rig.pass(WAN, &segment(ACK)), []);
    }
    assert_eq!(rig.all_drops(), [(DropReason::LinkDown, 70)]);
    assert_eq!(rig.stats().next().unwrap().lost.value(), 0, "requests");
    // Who is behind it when it comes back is asked anew.
    link(&mut rig, LAN, true);
    let asked = rig.pass(WAN, &segment(ACK));
    assert_eq!((asked.len(), asked[0].0), (1, LAN));
    assert_eq!(rig.waiting(), 1);
    // Nobody waits any more for one that is gone.
    link(&mut rig, LAN, false);
    assert_eq!(rig.waiting(), 0);
    assert_eq!(rig.wait_ms(10_000), []);
    assert_eq!(rig.all_drops(), [(DropReason::LinkDown, 71)]);
    link(&mut rig, LAN, true);
    assert_eq!(rig.pass(WAN, &segment(ACK)).len(), 1);
    rig.inject(0, LAN, &answer);
    let expected = to_lan(REALS[0], CLIENT, REALS[0])
        .tcp(4000, 8080)
        .flags(ACK);
    expect(&rig.run(), &[(LAN, expected.build())]);
    finish(rig);
}

#[test]
fn a_kernel_port_that_is_down_is_named_too() {
    let mut rig = Rig::new(1, &with_kernel(Vec::new()));
    link(&mut rig, 2, false);
    let ssh = from_wan(CLIENT, WAN_ADDRESS).tcp(4000, 22).flags(SYN);
    assert_eq!(rig.pass(WAN, &ssh.build()), []);
    assert_eq!(rig.all_drops(), [(DropReason::LinkDown, 1)]);
    finish(rig);
}
