//! What the table asks, whom it believes, and that it stays small.

use super::*;

const PORT: PortId = PortId(0);
const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

fn table() -> Neighbours<u32> {
    Neighbours::new(RandomState::with_seeds(1, 2, 3, 4))
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn tick(table: &mut Neighbours<u32>, ms: u64) -> Vec<Request<u32>> {
    let mut requests = Vec::new();
    for _ in 0..3 {
        table.tick(Time::from_ms(ms), |request| requests.push(request));
    }
    requests
}

fn ask(known: Option<Mac>) -> Request<u32> {
    Request::Solicit {
        port: PORT,
        address: address(9),
        known,
    }
}

#[test]
fn packets_wait_for_the_answer_and_go_out_in_order() {
    let mut table = table();
    let now = Time::from_ms(0);
    table.wait(PORT, address(9), 1, now).unwrap();
    table.wait(PORT, address(9), 2, now).unwrap();
    assert_eq!(table.lookup(PORT, address(9), now), None);
    assert_eq!(tick(&mut table, 0), [ask(None)]);
    assert_eq!(
        table.learn(PORT, address(9), MAC, false, now),
        (vec![1, 2], true)
    );
    assert_eq!(table.lookup(PORT, address(9), now), Some(MAC));
    assert_eq!(table.waiting(), 0);
}

#[test]
fn three_questions_a_second_apart_then_the_packets_are_given_up() {
    let mut table = table();
    table.wait(PORT, address(9), 1, Time::from_ms(0)).unwrap();
    for ms in [0, 1000, 2000] {
        assert_eq!(tick(&mut table, ms), [ask(None)]);
        assert_eq!(tick(&mut table, ms + 500), []);
    }
    assert_eq!(
        tick(&mut table, 3000),
        [Request::GiveUp { packets: vec![1] }]
    );
    assert_eq!(table.waiting(), 0);
    let refused = table.wait(PORT, address(9), 2, Time::from_ms(3100));
    assert_eq!(refused, Err((2, DropReason::NeighbourUnreachable)));
    tick(&mut table, 4000);
    table
        .wait(PORT, address(9), 3, Time::from_ms(4100))
        .unwrap();
    assert_eq!(tick(&mut table, 4100), [ask(None)]);
}

#[test]
fn an_old_mac_is_used_while_its_owner_is_asked() {
    let mut table = table();
    table.learn(PORT, address(9), MAC, true, Time::from_ms(0));
    assert_eq!(tick(&mut table, 30_000), []);
    assert_eq!(
        table.lookup(PORT, address(9), Time::from_ms(40_000)),
        Some(MAC)
    );
    assert_eq!(tick(&mut table, 40_000), [ask(Some(MAC))]);
    let (_, news) = table.learn(PORT, address(9), MAC, false, Time::from_ms(40_010));
    assert!(news);
    assert_eq!(tick(&mut table, 41_000), []);
}

#[test]
fn a_neighbour_that_falls_silent_is_asked_for_again_by_everybody() {
    let mut table = table();
    table.learn(PORT, address(9), MAC, true, Time::from_ms(0));
    tick(&mut table, 30_000);
    table.lookup(PORT, address(9), Time::from_ms(40_000));
    for ms in [40_000, 41_000, 42_000] {
        assert_eq!(tick(&mut table, ms), [ask(Some(MAC))]);
    }
    assert_eq!(tick(&mut table, 43_000), [ask(None)]);
    assert_eq!(table.lookup(PORT, address(9), Time::from_ms(43_000)), None);
}

#[test]
fn nobody_is_entered_unasked_unless_wanted() {
    let mut table = table();
    assert_eq!(
        table.learn(PORT, address(9), MAC, false, Time::from_ms(0)),
        (vec![], false)
    );
    assert_eq!(table.lookup(PORT, address(9), Time::from_ms(0)), None);
}

#[test]
fn the_queues_and_the_table_are_bounded() {
    let mut table = table();
    let now = Time::from_ms(0);
    for packet in 0..u32::try_from(QUEUE).unwrap() {
        table.wait(PORT, address(9), packet, now).unwrap();
    }
    assert!(table.wait(PORT, address(9), 99, now).is_err());
    for number in 0..u32::try_from(2 * CAPACITY).unwrap() {
        let stranger = IpAddr::from((0x0b00_0000 + number).to_be_bytes());
        table.learn(PORT, stranger, MAC, true, now);
    }
    assert!(table.entries.len() <= CAPACITY && table.index.len() <= CAPACITY);
}

#[test]
fn whoever_comes_while_a_scan_is_under_way_is_not_forgotten() {
    let mut table = table();
    // More entries than one tick looks at; the first two go unanswered and free their slots.
    for last in 1..=2 {
        table
            .wait(PORT, address(last), 0, Time::from_ms(0))
            .unwrap();
    }
    for last in 3..=200 {
        table.learn(PORT, address(last), MAC, true, Time::from_ms(0));
    }
    for ms in [0, 1000, 2000, 3000, 4000] {
        for _ in 0..4 {
            tick(&mut table, ms);
        }
    }
    let mut asked = Vec::new();
    let now = Time::from_ms(30_000);
    table.tick(now, |request| asked.push(request));
    table.wait(PORT, address(201), 7, now).unwrap();
    for _ in 0..8 {
        table.tick(now, |request| asked.push(request));
    }
    assert_eq!(
        asked,
        [Request::Solicit {
            port: PORT,
            address: address(201),
            known: None
        }]
    );
}

#[test]
fn an_unused_neighbour_is_forgotten() {
    let mut table = table();
    table.learn(PORT, address(9), MAC, true, Time::from_ms(0));
    tick(&mut table, 30_000);
    tick(&mut table, 600_001);
    assert!(table.index.is_empty());
}
