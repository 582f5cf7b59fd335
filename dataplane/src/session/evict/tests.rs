use super::*;
use crate::flow::{FlowKey, Protocol, V4};
use crate::id::RealId;
use crate::memory::Memory;
use crate::session::entry::{Flags, Session};
use crate::session::worth::{HANDSHAKE_MS, IDLE_MS, UNPROVEN_MS};
use crate::session::{NewSession, NewTemplate, State, TcpState};
use crate::spec::timeouts::Timeouts;

const NOW: u64 = 10_000_000;

fn key(number: u32) -> FlowKey<V4> {
    FlowKey {
        client: V4(number),
        virtual_address: V4(0xc0a8_210c),
        client_port: 1024,
        virtual_port: 80,
        protocol: Protocol::Tcp,
    }
}

/// Of `owner`, in this state, with its last packet so long ago.
fn session(number: u32, owner: u32, state: TcpState, silent: u64) -> NewSession<V4> {
    let state = State::Tcp(state);
    NewSession::direct(
        key(number),
        RealId(owner),
        state,
        Time::from_ms(NOW - silent + Timeouts::DEFAULT.ms(state)),
    )
}

fn proven(new: NewSession<V4>) -> NewSession<V4> {
    NewSession {
        flags: new.flags | Flags::PROVEN,
        ..new
    }
}

/// Sessions by the owner that their real server stands for.
struct Terms(fn(u32) -> MayEvict, Vec<(FlowKey<V4>, Gone)>);

impl EvictionPolicy<V4> for &mut Terms {
    fn terms(&self, session: &Session<V4>) -> EvictionTerms {
        EvictionTerms {
            timeout_ms: Timeouts::DEFAULT.ms(session.state()),
            may_evict: (self.0)(session.real().0),
        }
    }

    fn left(&mut self, session: &Session<V4>, why: Gone) {
        self.1.push((session.key(), why));
    }
}

fn enter(
    table: &mut SessionTable<V4>,
    new: &NewSession<V4>,
    may_evict: fn(u32) -> MayEvict,
) -> (bool, Vec<(FlowKey<V4>, Gone)>) {
    let mut terms = Terms(may_evict, Vec::new());
    let hash = table.hash(&new.key);
    let old = table.find_any(hash, &new.key);
    let new = NewSession { old, ..*new };
    let entered = table.insert(hash, &new, Time::from_ms(NOW), &mut terms);
    (entered.is_ok(), terms.1)
}

/// Enters the sessions, numbered by their places, into a table that they fill.
fn full(sessions: &[NewSession<V4>]) -> SessionTable<V4> {
    let capacity = u32::try_from(sessions.len()).expect("few");
    let mut table = SessionTable::new(capacity, [1, 2, 3, 4], Memory::HEAP);
    for new in sessions {
        assert_eq!(enter(&mut table, new, |_| MayEvict::Yes), (true, vec![]));
    }
    table
}

const NEW: u32 = 1_000_000;

/// Who leaves for a further session, one after another, until it is refused.
fn order(table: &mut SessionTable<V4>, may_evict: fn(u32) -> MayEvict) -> Vec<u32> {
    let mut leavers = Vec::new();
    for number in NEW.. {
        // What is new is proven, so that it does not leave itself.
        let new = proven(session(number, 0, TcpState::Established, 0));
        let (entered, left) = enter(table, &new, may_evict);
        if !entered {
            assert_eq!(left, []);
            break;
        }
        let evicted = left.iter().filter(|(_, why)| *why != Gone::Replaced);
        leavers.extend(evicted.map(|(key, _)| key.client.0));
    }
    leavers
}

#[test]
fn the_least_worthy_leave_first_and_of_those_the_most_silent() {
    use TcpState::{Established, FinWait, SynRecv, TimeWait};
    let sessions = [
        proven(session(0, 0, Established, 0)),
        proven(session(1, 0, Established, IDLE_MS - 1)),
        proven(session(2, 0, Established, IDLE_MS)),
        proven(session(3, 0, FinWait, 0)),
        session(4, 0, Established, UNPROVEN_MS),
        session(5, 0, SynRecv, HANDSHAKE_MS - 1),
        session(6, 0, SynRecv, HANDSHAKE_MS),
        session(7, 0, SynRecv, HANDSHAKE_MS + 1),
        session(8, 0, TimeWait, 0),
        proven(session(9, 0, TimeWait, 1)),
        session(10, 0, Established, UNPROVEN_MS + 2),
        session(11, 0, Established, UNPROVEN_MS - 1),
        session(12, 0, SynRecv, 2),
        session(13, 0, Established, 1),
    ];
    let leavers = order(&mut full(&sessions), |_| MayEvict::Yes);
    assert_eq!(leavers, [9, 8, 7, 6, 10, 4, 5, 12, 11, 13, 2]);
}

#[test]
fn who_has_more_than_its_share_leaves_sooner_among_equals() {
    let sessions = [
        session(0, 1, TcpState::Established, 50),
        session(1, 2, TcpState::Established, 10),
        session(2, 2, TcpState::Established, 20),
        session(3, 1, TcpState::TimeWait, 0),
    ];
    let may_evict = |owner| {
        if owner == 2 {
            MayEvict::First
        } else {
            MayEvict::Yes
        }
    };
    assert_eq!(order(&mut full(&sessions), may_evict), [3, 2, 1, 0]);
}

#[test]
fn who_wants_more_than_its_share_gets_what_is_its_own_or_finished() {
    let sessions = [
        session(0, 1, TcpState::Established, 900),
        session(1, 1, TcpState::SynRecv, 900_000),
        session(2, 1, TcpState::TimeWait, 0),
        session(3, 2, TcpState::Established, 0),
        session(4, 3, TcpState::TimeWait, 900),
    ];
    let may_evict = |owner| match owner {
        1 => MayEvict::IfFinished,
        3 => MayEvict::No,
        _ => MayEvict::Yes,
    };
    // The second one's handshake has timed out long ago.
    assert_eq!(order(&mut full(&sessions), may_evict), [1, 2, 3]);
}

#[test]
fn a_full_table_of_any_size_refuses_only_what_is_proven_and_active() {
    for capacity in [1, 2, 20, 31, 32, 33, 64, 1024] {
        let all: Vec<_> = (0..capacity)
            .map(|number| proven(session(number, 0, TcpState::Established, 5)))
            .collect();
        let mut table = full(&all);
        assert_eq!(order(&mut table, |_| MayEvict::Yes), Vec::<u32>::new());
        assert_eq!(table.len(), capacity as usize);
    }
}

#[test]
fn one_that_may_leave_is_found_wherever_it_is_in_seven_buckets() {
    // 6 buckets: three are the key's, and four more are looked at in turn.
    let capacity = 6 * 32 * 7 / 9;
    for lonely in 0..capacity {
        let all: Vec<_> = (0..capacity)
            .map(|number| {
                let new = session(number, 0, TcpState::Established, 0);
                if number == lonely { new } else { proven(new) }
            })
            .collect();
        let mut table = full(&all);
        assert_eq!(table.tags.slots(), 6 * 32);
        let further: Vec<u32> = (0..6)
            .flat_map(|_| {
                table.failed = [None; OWNERS];
                order(&mut table, |_| MayEvict::Yes)
            })
            .collect();
        assert_eq!(further, [lonely]);
    }
}

#[test]
fn a_template_leaves_once_its_sessions_have_and_before_unproven_ones_if_none_was_proven() {
    for (flags, controls, order_of_leaving) in [
        (Flags::EMPTY, true, [9, 0, 1]),
        (Flags::EMPTY, false, [0, 9, 1]),
        (Flags::PROVEN, false, [9, 1, 0]),
    ] {
        let mut table = SessionTable::new(3, [1, 2, 3, 4], Memory::HEAP);
        let template = NewTemplate {
            key: key(0),
            any_protocol: false,
            real: RealId(0),
            timeout_ms: 50_000,
        };
        let now = Time::from_ms(NOW);
        let left = |_: &_, _| panic!("there is room");
        let index = table
            .insert_template(table.hash(&template.key), &template, now, left)
            .unwrap();
        table.get_mut(index).add_flags(flags | Flags::ASSURED);
        let controlled = NewSession {
            template: controls.then_some(index),
            ..session(9, 0, TcpState::Established, UNPROVEN_MS + 20)
        };
        let free = session(1, 0, TcpState::Established, UNPROVEN_MS + 10);
        for new in [controlled, free] {
            assert_eq!(enter(&mut table, &new, |_| MayEvict::Yes), (true, vec![]));
        }
        assert_eq!(order(&mut table, |_| MayEvict::Yes), order_of_leaving);
    }
}

#[test]
fn a_flood_evicts_itself_before_what_is_worth_more_until_it_has_a_quarter_of_both() {
    let open = |number| session(number, 0, TcpState::Established, UNPROVEN_MS - 1);
    let idle = |number| proven(session(number, 0, TcpState::Established, IDLE_MS + 9));
    for worth_more in [open, idle] as [fn(u32) -> NewSession<V4>; 2] {
        let young =
            (4..8).map(|number| session(number, 0, TcpState::SynRecv, u64::from(20 - number)));
        let active = (8..12).map(|number| proven(session(number, 0, TcpState::Established, 0)));
        let all: Vec<_> = (0..4).map(worth_more).chain(young).chain(active).collect();
        let leavers = order(&mut full(&all), |_| MayEvict::Yes);
        assert_eq!(leavers, [4, 5, 6, 0, 7, 1, 2, 3]);
    }
}

#[test]
fn each_step_towards_a_proof_lets_an_open_session_be_silent_for_four_times_as_long() {
    let all = [
        session(0, 0, TcpState::Established, 8_000),
        session(1, 0, TcpState::Established, 4_000),
        session(2, 0, TcpState::Established, 1_100),
        session(3, 0, TcpState::Established, 10),
        session(4, 0, TcpState::Established, 2_400),
    ];
    let mut table = full(&all);
    for (number, steps) in [(0, 2), (1, 1), (4, 1)] {
        let key = key(number);
        let index = table
            .find(table.hash(&key), &key, Time::from_ms(NOW))
            .unwrap();
        let flags = table.get(index).flags().with_steps(steps);
        table.get_mut(index).add_flags(flags);
    }
    assert_eq!(order(&mut table, |_| MayEvict::Yes), [2, 1, 4, 0, 3]);
}
