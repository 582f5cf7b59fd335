use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::flow::{Protocol, V4};
use crate::memory::Memory;
use crate::session::proof::Seen;
use crate::session::{Direction, Gone, TcpState};
use crate::verdict::EvictionCause;

const SYN_RECV: State = State::Tcp(TcpState::SynRecv);
const ESTABLISHED: State = State::Tcp(TcpState::Established);
const TIMEOUT_MS: u32 = 50_000;
const REAL: RealId = RealId(7);

fn at(ms: u64) -> Time {
    Time::from_ms(ms)
}

fn key(client: u32, port: u16) -> FlowKey<V4> {
    FlowKey {
        client: V4(client),
        virtual_address: V4(0xc0a8_210c),
        client_port: port,
        virtual_port: 80,
        protocol: Protocol::Tcp,
    }
}

fn table(capacity: u32) -> SessionTable<V4> {
    SessionTable::new(capacity, [1, 2, 3, 4], Memory::HEAP)
}

type Left = Vec<(FlowKey<V4>, Gone)>;

fn enter_template(
    table: &mut SessionTable<V4>,
    client: u32,
    now: u64,
) -> (Result<SessionIndex, TableFull>, Left) {
    let key = key(client, 0);
    let new = NewTemplate {
        key,
        any_protocol: false,
        real: REAL,
        timeout_ms: TIMEOUT_MS,
    };
    let mut left = Left::new();
    let entered = table.insert_template(
        table.hash(&key),
        &new,
        at(now),
        |session: &Session<_>, why| {
            left.push((session.key(), why));
        },
    );
    (entered, left)
}

fn enter(
    table: &mut SessionTable<V4>,
    (client, port): (u32, u16),
    state: State,
    (now, deadline): (u64, u64),
    template: Option<SessionIndex>,
) -> (Result<SessionIndex, TableFull>, Left) {
    let key = key(client, port);
    let new = NewSession {
        template,
        old: table.find_any(table.hash(&key), &key),
        ..NewSession::direct(key, REAL, state, at(deadline))
    };
    let mut left = Left::new();
    let entered = table.insert(
        table.hash(&key),
        &new,
        at(now),
        |session: &Session<_>, why| {
            left.push((session.key(), why));
        },
    );
    (entered, left)
}

fn find(table: &SessionTable<V4>, client: u32, now: u64) -> Option<SessionIndex> {
    let key = key(client, 0);
    table.find_template(table.hash(&key), &key, at(now))
}

fn expire(table: &mut SessionTable<V4>, now: u64) -> usize {
    table.expire(at(now), usize::MAX, |_, _| {})
}

#[test]
fn a_template_and_a_session_from_port_0_are_two_things() {
    let mut table = table(100);
    let key = key(1, 0);
    let template = enter_template(&mut table, 1, 0).0.unwrap();
    assert_eq!(table.find(table.hash(&key), &key, at(0)), None);
    let (session, left) = enter(&mut table, (1, 0), ESTABLISHED, (0, 900), Some(template));
    assert_eq!(left, []);
    assert_eq!(table.find(table.hash(&key), &key, at(0)), session.ok());
    assert_eq!(find(&table, 1, 0), Some(template));
    let hint = table.prefetch_entry(table.hash_and_prefetch(&key, false));
    let hinted = table.at(hint, &key, at(0));
    assert!(
        hinted.is_none() || hinted == session.ok(),
        "never the template"
    );
    assert_eq!(table.len(), 2);
}

#[test]
fn a_template_ends_after_its_timeout_unless_it_is_used_again() {
    let mut table = table(100);
    let template = enter_template(&mut table, 1, 1000).0.unwrap();
    assert_eq!(find(&table, 1, 50_999), Some(template));
    assert_eq!(find(&table, 1, 51_000), None);
    table.restart_template(template, at(40_000));
    assert_eq!(expire(&mut table, 60_000), 0);
    assert_eq!(find(&table, 1, 89_999), Some(template));
    assert_eq!(expire(&mut table, 90_100), 1);
    assert!(table.is_empty());
}

#[test]
fn a_template_whose_time_is_over_waits_for_its_sessions_minute_by_minute() {
    let mut table = table(100);
    let template = enter_template(&mut table, 1, 0).0.unwrap();
    let session = enter(
        &mut table,
        (1, 9),
        ESTABLISHED,
        (0, 900_000),
        Some(template),
    );
    let deadline = |table: &SessionTable<V4>| table.get(template).deadline().as_ms();
    for minutes in 0..3 {
        let over = 50_000 + minutes * 60_000;
        // Between the end and the next reaping it is still the client's.
        assert_eq!(find(&table, 1, over), Some(template));
        assert_eq!(expire(&mut table, over + 100), 0);
        assert_eq!(deadline(&table), over + 60_000);
    }
    assert!(table.remove(session.0.unwrap()).is_some());
    assert_eq!(table.get(template).controls(), 0);
    assert_eq!(
        expire(&mut table, 229_000),
        0,
        "the last session's end is not its own"
    );
    assert_eq!(expire(&mut table, 230_100), 1);
}

#[test]
fn a_jump_in_time_rearms_as_often_as_the_minutes_would_have() {
    let mut table = table(100);
    let template = enter_template(&mut table, 1, 0).0.unwrap();
    let session = enter(
        &mut table,
        (1, 9),
        ESTABLISHED,
        (0, 400_000),
        Some(template),
    );
    assert!(session.0.is_ok());
    // 50, 110, 170, 230, 290 and 350 s with the session, 410 s without.
    while table.is_behind(at(409_000)) {
        expire(&mut table, 409_000);
    }
    assert_eq!(table.len(), 1);
    assert_eq!(table.get(template).deadline(), at(410_000));
    while table.is_behind(at(410_100)) {
        expire(&mut table, 410_100);
    }
    assert!(table.is_empty());
}

#[test]
fn a_restart_after_a_rearming_may_end_it_earlier() {
    let mut table = table(100);
    let template = enter_template(&mut table, 1, 0).0.unwrap();
    let session = enter(&mut table, (1, 9), SYN_RECV, (0, 60_000), Some(template));
    assert!(session.0.is_ok());
    assert_eq!(expire(&mut table, 50_100), 0);
    table.restart_template(template, at(50_200));
    assert_eq!(expire(&mut table, 100_300), 2);
    assert!(table.is_empty());
}

#[test]
fn an_invalid_template_is_found_by_nobody_and_stays_until_its_end() {
    let mut table = table(100);
    let first = enter_template(&mut table, 1, 0).0.unwrap();
    let session = enter(&mut table, (1, 9), SYN_RECV, (0, 20_000), Some(first));
    table.invalidate_template(first);
    assert_eq!(find(&table, 1, 0), None);
    assert_eq!(table.get(first).key().virtual_port, 65535);
    let (second, left) = enter_template(&mut table, 1, 10);
    assert_eq!((second.is_ok(), left), (true, vec![]));
    // Another one may become invalid while the first has not ended.
    table.invalidate_template(second.unwrap());
    assert_eq!(table.len(), 3);
    assert!(table.remove(session.0.unwrap()).is_some());
    assert_eq!(expire(&mut table, 50_200), 2);
    // The port of an invalid one is a port like any other.
    let key = FlowKey {
        virtual_port: 65535,
        ..key(1, 0)
    };
    let third = enter_template(&mut table, 1, 60_000).0.unwrap();
    table.invalidate_template(third);
    assert_eq!(
        table.find_template(table.hash(&key), &key, at(60_000)),
        None
    );
}

#[test]
fn a_template_is_not_removed_from_under_its_sessions() {
    let mut table = table(100);
    let template = enter_template(&mut table, 1, 0).0.unwrap();
    let session = enter(&mut table, (1, 9), SYN_RECV, (0, 900), Some(template));
    assert!(table.remove(template).is_none());
    assert!(table.remove(session.0.unwrap()).is_some());
    assert!(table.remove(template).is_some());
    assert!(table.is_empty());
}

#[test]
fn a_session_assures_its_template() {
    let mut table = table(100);
    let template = enter_template(&mut table, 1, 0).0.unwrap();
    let session = enter(&mut table, (1, 9), SYN_RECV, (0, 900), Some(template));
    let other = enter(&mut table, (2, 9), SYN_RECV, (0, 900), None);
    table.assure(other.0.unwrap());
    assert!(!table.get(template).flags().contains(Flags::ASSURED));
    table.assure(session.0.unwrap());
    assert!(table.get(template).flags().contains(Flags::ASSURED));
}

fn prove(table: &mut SessionTable<V4>, session: &(Result<SessionIndex, TableFull>, Left)) {
    let index = *session.0.as_ref().unwrap();
    table.get_mut(index).add_flags(Flags::PROVEN);
}

#[test]
fn a_full_table_keeps_templates_that_control_sessions() {
    // The home of any key is the whole table.
    let mut table = table(4);
    enter_template(&mut table, 1, 0).0.unwrap();
    let used = enter_template(&mut table, 2, 0).0.unwrap();
    let only = enter(&mut table, (2, 9), ESTABLISHED, (0, 900), Some(used));
    let assured = enter_template(&mut table, 3, 0).0.unwrap();
    let session = enter(&mut table, (3, 9), ESTABLISHED, (0, 900), Some(assured));
    assert_eq!(
        session.1,
        [(key(1, 0), Gone::Evicted(EvictionCause::HalfOpen))]
    );
    assert_eq!(find(&table, 1, 0), None);
    table.assure(*session.0.as_ref().unwrap());
    prove(&mut table, &only);
    prove(&mut table, &session);
    assert_eq!(enter_template(&mut table, 5, 0), (Err(TableFull), vec![]));
    assert_eq!(
        (find(&table, 2, 0), find(&table, 3, 0)),
        (Some(used), Some(assured))
    );
    // Without its session it has to go: being ASSURED is what a blind ACK brings about.
    assert!(table.remove(*session.0.as_ref().unwrap()).is_some());
    let last = enter(&mut table, (4, 9), ESTABLISHED, (0, 900), None);
    prove(&mut table, &last);
    let (entered, left) = enter_template(&mut table, 5, 0);
    assert!(entered.is_ok());
    assert_eq!(left, [(key(3, 0), Gone::Evicted(EvictionCause::HalfOpen))]);
}

#[test]
fn a_session_that_is_proven_proves_its_template() {
    let mut table = table(4);
    let template = enter_template(&mut table, 1, 0).0.unwrap();
    let session = enter(
        &mut table,
        (1, 9),
        ESTABLISHED,
        (0, 900_000),
        Some(template),
    );
    for step in 1..=4 {
        let flags = table.get(template).flags();
        assert!(!flags.contains(Flags::PROVEN));
        let seen = Seen {
            direction: Direction::InputOnly,
            signal: 0x10,
            has_data: false,
            after: ESTABLISHED,
            timeout_ms: 900_000,
        };
        let (index, now) = (*session.0.as_ref().unwrap(), at(step * 10_000));
        table.observe(index, seen, now);
        table.touch(index, ESTABLISHED, now.plus_ms(900_000));
    }
    assert!(table.get(template).flags().contains(Flags::PROVEN));
}

#[test]
fn unused_templates_are_evicted_before_handshakes_although_they_last_longer() {
    let mut table = table(2);
    let handshake = enter(&mut table, (9, 9), SYN_RECV, (0, 60_000), None);
    assert!(handshake.0.is_ok());
    let idle = enter_template(&mut table, 1, 0).0.unwrap();
    table.restart_template(idle, at(2_000));
    let other = enter(&mut table, (2, 9), SYN_RECV, (2_000, 62_000), None);
    assert_eq!(
        other.1,
        [(key(1, 0), Gone::Evicted(EvictionCause::HalfOpen))]
    );
    assert!(
        handshake
            .0
            .is_ok_and(|index| table.get(index).real() == REAL)
    );
}

#[test]
fn a_template_is_not_evicted_for_the_session_that_it_is_to_control() {
    let mut table = table(2);
    let established = enter(&mut table, (9, 9), ESTABLISHED, (0, 900), None);
    prove(&mut table, &established);
    let template = enter_template(&mut table, 1, 0).0.unwrap();
    let session = enter(&mut table, (1, 9), SYN_RECV, (0, 900), Some(template));
    assert_eq!(session, (Err(TableFull), vec![]));
    assert_eq!(
        table.get(template).controls(),
        0,
        "nothing holds it any more"
    );
    let other = enter(&mut table, (2, 9), SYN_RECV, (0, 900), None);
    assert_eq!(
        other.1,
        [(key(1, 0), Gone::Evicted(EvictionCause::HalfOpen))]
    );
}

#[derive(Debug, Clone)]
enum Op {
    /// A client's session, by its template, in a state, for so long.
    Begin(u32, u16, bool, u64),
    Remove(u32, u16),
    Invalidate(u32),
    Advance(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let client = || 0..4_u32;
    prop_oneof![
        6 => (client(), 0..6_u16, any::<bool>(), 0..200_000_u64)
            .prop_map(|(client, port, established, ms)| Op::Begin(client, port, established, ms)),
        2 => (client(), 0..6_u16).prop_map(|(client, port)| Op::Remove(client, port)),
        1 => client().prop_map(Op::Invalidate),
        2 => (0..80_000_u64).prop_map(Op::Advance),
    ]
}

proptest! {
    #[test]
    fn a_template_controls_as_many_sessions_as_know_it(ops in prop::collection::vec(op(), 1..80)) {
        let mut table = table(12);
        let mut now = 0;
        for op in ops {
            match op {
                Op::Begin(client, port, established, ms) => {
                    let template = match find(&table, client, now) {
                        Some(template) => {
                            table.restart_template(template, at(now));
                            Ok(template)
                        }
                        None => enter_template(&mut table, client, now).0,
                    };
                    if let Ok(template) = template {
                        let state = if established { ESTABLISHED } else { SYN_RECV };
                        let times = (now, now + ms);
                        let entered = enter(&mut table, (client, port), state, times, Some(template));
                        if let (Ok(session), true) = (entered.0, established) {
                            table.assure(session);
                        }
                    }
                }
                Op::Remove(client, port) => {
                    let key = key(client, port);
                    if let Some(session) = table.find(table.hash(&key), &key, at(now)) {
                        let _ = table.remove(session);
                    }
                }
                Op::Invalidate(client) => {
                    if let Some(template) = find(&table, client, now) {
                        table.invalidate_template(template);
                    }
                }
                Op::Advance(ms) => {
                    now += ms;
                    while table.is_behind(at(now)) {
                        expire(&mut table, now);
                    }
                }
            }
            let (mut controls, mut known) = (BTreeMap::new(), BTreeMap::new());
            table.scan(0, usize::MAX, |index, session| {
                if session.flags().contains(Flags::TEMPLATE) {
                    controls.insert(index.0, session.controls());
                } else if session.is_controlled() {
                    *known.entry(session.link).or_insert(0_u32) += 1;
                }
            });
            controls.retain(|_, controls| *controls > 0);
            prop_assert_eq!(controls, known);
        }
        now += 10_000_000;
        while table.is_behind(at(now)) {
            expire(&mut table, now);
        }
        prop_assert!(table.is_empty());
    }
}
