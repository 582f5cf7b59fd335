//! What the table asks, whom it believes, and that it stays small.

use super::*;

const PORT: PortId = PortId::new(0);
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

/// What `learn` let go, and whether the others are to be told.
fn learn(
    table: &mut Neighbours<u32>,
    address: IpAddr,
    claim: Claim,
    create: bool,
    ms: u64,
) -> (Vec<u32>, bool) {
    let learned = table.learn(PORT, address, claim, create, Time::from_ms(ms));
    let released = learned.released.map(|(_, packets)| packets);
    (released.unwrap_or_default(), learned.tell.is_some())
}

/// A neighbour that answered a question at `ms`.
fn reachable(ms: u64) -> Neighbours<u32> {
    let mut table = table();
    table.wait(PORT, address(9), 1, Time::from_ms(ms)).unwrap();
    learn(&mut table, address(9), Claim::answer(MAC), false, ms);
    tick(&mut table, ms);
    table
}

fn state(table: &Neighbours<u32>, address: IpAddr) -> Option<State> {
    let slot = *table.index.get(&(PORT, address))?;
    Some(table.entries[slot].as_ref()?.state)
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
        learn(&mut table, address(9), Claim::answer(MAC), false, 0),
        (vec![1, 2], true)
    );
    assert_eq!(table.lookup(PORT, address(9), now), Some(MAC));
    assert_eq!(table.waiting(), 0);
}

#[test]
fn a_port_that_is_forgotten_takes_its_own_neighbours_and_packets_alone() {
    const OTHER: PortId = PortId::new(1);
    let now = Time::from_ms(0);
    let mut table = table();
    for (port, last, packet) in [
        (PORT, 1, 1),
        (OTHER, 1, 2),
        (PORT, 2, 3),
        (OTHER, 2, 4),
        (PORT, 1, 5),
    ] {
        table.wait(port, address(last), packet, now).unwrap();
    }
    table.learn(OTHER, address(2), Claim::answer(MAC), false, now);
    learn(&mut table, address(2), Claim::answer(MAC), false, 0);
    let mut waited = table.forget(PORT);
    waited.sort_unstable();
    assert_eq!((waited, table.waiting()), (vec![1, 5], 1));
    assert_eq!(table.lookup(PORT, address(2), now), None);
    assert_eq!(table.lookup(OTHER, address(2), now), Some(MAC));
    assert!(table.forget(PORT).is_empty());
    // Their slots are used again.
    table.wait(PORT, address(3), 6, now).unwrap();
    assert_eq!(
        learn(&mut table, address(3), Claim::answer(MAC), false, 0).0,
        [6]
    );
    assert_eq!(table.lookup(OTHER, address(2), now), Some(MAC));
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
        [Request::GiveUp {
            port: PORT,
            address: address(9),
            packets: vec![1],
        }]
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
    let mut table = reachable(0);
    assert_eq!(tick(&mut table, 30_000), []);
    assert_eq!(
        table.lookup(PORT, address(9), Time::from_ms(40_000)),
        Some(MAC)
    );
    assert_eq!(tick(&mut table, 40_000), [ask(Some(MAC))]);
    let (_, news) = learn(&mut table, address(9), Claim::answer(MAC), false, 40_010);
    assert!(news);
    assert_eq!(tick(&mut table, 41_000), []);
}

#[test]
fn a_neighbour_that_falls_silent_is_asked_for_again_by_everybody() {
    let mut table = reachable(0);
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
        learn(&mut table, address(9), Claim::answer(MAC), false, 0),
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
        learn(&mut table, stranger, Claim::unasked(MAC), true, 0);
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
        learn(&mut table, address(last), Claim::unasked(MAC), true, 0);
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
    learn(&mut table, address(9), Claim::unasked(MAC), true, 0);
    tick(&mut table, 30_000);
    tick(&mut table, 600_001);
    assert!(table.index.is_empty());
}

fn stranger(number: usize) -> IpAddr {
    IpAddr::from((0x0b00_0000 + u32::try_from(number).unwrap()).to_be_bytes())
}

#[test]
fn whoever_asked_us_is_known_but_not_confirmed() {
    let mut table = table();
    learn(&mut table, address(9), Claim::unasked(MAC), true, 0);
    assert_eq!(state(&table, address(9)), Some(State::Stale));
    assert_eq!(table.lookup(PORT, address(9), Time::from_ms(1)), Some(MAC));
    assert_eq!(tick(&mut table, 1), [ask(Some(MAC))]);
}

#[test]
fn a_table_full_of_strangers_has_room_for_whom_packets_wait_for() {
    // Whether they only talked, or answered a question of long ago.
    for claim in [Claim::unasked(MAC), Claim::answer(MAC)] {
        let mut table = reachable(0);
        for number in 0..2 * CAPACITY {
            table.lookup(PORT, address(9), Time::from_ms(1));
            learn(&mut table, stranger(number), claim, true, 1);
        }
        assert_eq!(
            table.lookup(PORT, address(9), Time::from_ms(2)),
            Some(MAC),
            "one in use stays"
        );
        for number in 0..MOST_WAITING as usize {
            let wanted = stranger(100_000 + number);
            table
                .wait(PORT, wanted, 7, Time::from_ms(2))
                .expect("strangers give way");
            learn(&mut table, stranger(200_000 + number), claim, true, 2);
        }
        assert_eq!(table.waiting(), MOST_WAITING as usize);
        assert!(table.entries.len() <= CAPACITY && table.index.len() <= CAPACITY);
    }
}

#[test]
fn a_place_is_found_among_many_in_use() {
    let mut table = table();
    for number in 0..CAPACITY {
        learn(&mut table, stranger(number), Claim::unasked(MAC), true, 0);
        if number != 3000 {
            table.lookup(PORT, stranger(number), Time::from_ms(0));
        }
    }
    let now = Time::from_ms(1);
    table.wait(PORT, address(9), 1, now).unwrap();
    assert_eq!(state(&table, stranger(3000)), None);
    assert!(table.wait(PORT, address(10), 1, now).is_err());
    // Nobody was used for a while.
    table
        .wait(PORT, address(10), 1, Time::from_ms(KEEP_MS))
        .unwrap();
}

#[test]
fn a_flood_is_no_news_to_the_other_workers() {
    let mut table = reachable(0);
    let told = |(_, told): (Vec<u32>, bool)| usize::from(told);
    let mut news = 0;
    for number in 0..1000 {
        let claim = [Claim::unasked(MAC), Claim::answer(MAC)][number % 2];
        news += told(learn(&mut table, stranger(number % 7), claim, true, 10));
    }
    assert_eq!(news, 0, "nobody asked for them");
    for number in 0..1000_u64 {
        let now = Time::from_ms(2000 + number);
        table.lookup(PORT, address(9), now);
        tick(&mut table, 2000 + number);
        let [_, last @ ..] = number.to_be_bytes();
        let mac = Mac([2, last[2], last[3], last[4], last[5], last[6]]);
        let claim = [Claim::unasked(mac), Claim::answer(mac)][usize::from(number % 3 == 0)];
        news += told(learn(&mut table, address(9), claim, false, 2000 + number));
    }
    assert_eq!(news, 1, "once a second");
}

#[test]
fn an_answer_to_another_workers_question_is_passed_on() {
    let mut table = table();
    table.expect(PORT, address(9), Time::from_ms(0));
    assert_eq!(tick(&mut table, 0), []);
    let answer = Claim::answer(MAC);
    assert_eq!(
        learn(&mut table, address(9), answer, false, 1),
        (vec![], true)
    );
    assert_eq!(
        learn(&mut table, address(9), answer, false, 1),
        (vec![], false)
    );
    table.expect(PORT, address(9), Time::from_ms(2));
    assert_eq!(
        learn(&mut table, address(9), answer, false, 3),
        (vec![], true),
        "known here, but asked for there"
    );
    table.expect(PORT, address(10), Time::from_ms(4));
    table.wait(PORT, address(10), 1, Time::from_ms(4)).unwrap();
    assert_eq!(tick(&mut table, 4).len(), 1, "asked for here as well");
    table.expect(PORT, address(11), Time::from_ms(5));
    tick(&mut table, 5 + AWAITED_MS);
    assert_eq!(state(&table, address(11)), None);
}

#[test]
fn flags_of_an_advertisement_are_heeded() {
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 10]);
    let claim = |mac, solicited, overrides| Claim {
        mac,
        solicited,
        overrides,
    };
    let stale = State::Stale;
    let cases = [
        (claim(Some(OTHER), true, false), MAC, stale),
        (claim(Some(OTHER), false, false), MAC, stale),
        (claim(Some(OTHER), false, true), OTHER, stale),
        (claim(Some(OTHER), true, true), OTHER, State::Reachable),
        (claim(Some(MAC), false, false), MAC, State::Reachable),
        (claim(None, false, true), MAC, State::Reachable),
        (claim(None, true, false), MAC, State::Reachable),
    ];
    for (claim, mac, then) in cases {
        let mut table = reachable(0);
        learn(&mut table, address(9), claim, false, 10);
        assert_eq!(state(&table, address(9)), Some(then), "{claim:?}");
        assert_eq!(
            table.lookup(PORT, address(9), Time::from_ms(11)),
            Some(mac),
            "{claim:?}"
        );
    }
    for (claim, then) in [
        (claim(None, true, true), State::Incomplete { tries: 0 }),
        (claim(Some(MAC), true, false), State::Reachable),
        (claim(Some(MAC), false, false), stale),
    ] {
        let mut table = table();
        table.wait(PORT, address(9), 1, Time::from_ms(0)).unwrap();
        learn(&mut table, address(9), claim, false, 10);
        assert_eq!(state(&table, address(9)), Some(then), "{claim:?}");
    }
}
