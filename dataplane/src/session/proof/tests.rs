use super::*;
use crate::flow::{FlowKey, Protocol, V4};
use crate::id::RealId;
use crate::memory::Memory;
use crate::session::{Direction, NewSession, Step};
use crate::spec::forward::ForwardMethod;
use crate::spec::timeouts::Timeouts;

use Direction::{Input, InputOnly, Output};

/// A session of a table, moved on as the pipeline does.
struct Watched {
    table: SessionTable<V4>,
    index: SessionIndex,
    now: Time,
}

impl Watched {
    fn begin(protocol: Protocol, direction: Direction, signal: u8) -> Self {
        let key = FlowKey {
            client: V4(0x0a00_0001),
            virtual_address: V4(0xc0a8_210c),
            client_port: 40_000,
            virtual_port: 80,
            protocol,
        };
        let now = Time::from_ms(STEP_MS * 1000);
        let state = State::first(protocol, direction, signal, false);
        let new = NewSession {
            real_address: (direction == Input).then_some((V4(7), 8080)),
            flags: Flags::of(if direction == Input {
                ForwardMethod::Nat
            } else {
                ForwardMethod::Direct
            }),
            ..NewSession::direct(
                key,
                RealId(1),
                state,
                Timeouts::DEFAULT.deadline(state, now),
            )
        };
        let mut table = SessionTable::new(4, [1, 2, 3, 4], Memory::HEAP);
        let index = table
            .insert(table.hash(&key), &new, now, |_: &_, _| {})
            .expect("room");
        Self { table, index, now }
    }

    /// A packet without data, so many ms after the one before; says whether the session is proven then.
    fn sees(&mut self, direction: Direction, signal: u8, after_ms: u64) -> bool {
        self.sees_packet(direction, signal, false, after_ms)
    }

    /// One with data.
    fn sees_data(&mut self, direction: Direction, signal: u8, after_ms: u64) -> bool {
        self.sees_packet(direction, signal, true, after_ms)
    }

    fn sees_packet(
        &mut self,
        direction: Direction,
        signal: u8,
        has_data: bool,
        after_ms: u64,
    ) -> bool {
        self.now = self.now.plus_ms(after_ms);
        let step = Step {
            direction,
            signal,
            secure: false,
            timeouts: &Timeouts::DEFAULT,
        };
        let before = *self.table.get(self.index);
        let moved = self.table.advance(self.index, step, self.now, || has_data);
        let after = *self.table.get(self.index);
        match moved {
            Some(moved) => assert_eq!(
                (moved.before, moved.after),
                (before.counted(), after.counted())
            ),
            None => {
                assert_eq!(
                    (before.counted(), before.flags()),
                    (after.counted(), after.flags())
                );
                self.assert_nothing_was_missed(before, signal, direction, has_data);
            }
        }
        self.is_proven()
    }

    /// The packet that only put the end off would have told nothing to whoever had looked at it.
    fn assert_nothing_was_missed(
        &mut self,
        before: Session<V4>,
        signal: u8,
        direction: Direction,
        has_data: bool,
    ) {
        let after = *self.table.get(self.index);
        assert_eq!(
            after.deadline(),
            Timeouts::DEFAULT.deadline(after.state(), self.now)
        );
        if before.flags().contains(Flags::PROVEN) {
            return;
        }
        let seen = Seen {
            direction,
            signal,
            has_data,
            after: after.state(),
            timeout_ms: Timeouts::DEFAULT.ms(before.state()),
        };
        *self.table.get_mut(self.index) = before;
        self.table.observe(self.index, seen, self.now);
        assert_eq!(self.table.get(self.index).flags(), before.flags());
        *self.table.get_mut(self.index) = after;
    }

    fn is_proven(&self) -> bool {
        let session = self.table.get(self.index);
        session.flags().contains(Flags::PROVEN)
    }
}

const SYN_ACK: u8 = tcp::SYN | tcp::ACK;
const RST_ACK: u8 = tcp::RST | tcp::ACK;

#[test]
fn under_nat_tcp_is_proven_by_the_real_server_alone() {
    let mut session = Watched::begin(Protocol::Tcp, Input, tcp::SYN);
    assert!(!session.sees(Output, SYN_ACK, 1));
    for _ in 0..100 {
        assert!(!session.sees_data(Input, tcp::ACK, STEP_MS), "blind");
        assert!(!session.sees(Output, SYN_ACK, 1), "sent again");
    }
    assert!(session.sees_data(Output, tcp::ACK, 1));
}

#[test]
fn an_acknowledgement_of_what_is_outside_the_window_proves_nothing_at_once() {
    let mut session = Watched::begin(Protocol::Tcp, Input, tcp::SYN);
    session.sees(Output, SYN_ACK, 1);
    // With a wrong checksum: the real server has not taken it.
    assert!(!session.sees(Input, tcp::ACK, 1));
    for _ in 0..100 {
        assert!(!session.sees(Input, tcp::SYN, 1));
        assert!(!session.sees(Output, tcp::ACK, 1), "a challenge");
    }
}

#[test]
fn an_upload_is_proven_by_bare_acknowledgements_over_time() {
    let mut session = Watched::begin(Protocol::Tcp, Input, tcp::SYN);
    session.sees(Output, SYN_ACK, 1);
    let mut proven = Vec::new();
    for _ in 0..4 {
        // The client's packet ends each step.
        assert!(!session.sees_data(Input, tcp::ACK, STEP_MS));
        proven.push(session.sees(Output, tcp::ACK, 1));
    }
    assert_eq!(proven, [false, false, false, true]);
}

#[test]
fn a_real_server_that_goes_on_before_the_client_acknowledges_proves_nothing() {
    // It acknowledges a second SYN outside its window (RFC 9293 section 3.10.7.4).
    let mut session = Watched::begin(Protocol::Tcp, Input, tcp::SYN);
    assert!(!session.sees(Output, SYN_ACK, 1));
    assert!(!session.sees(Input, tcp::SYN, 1));
    assert!(!session.sees_data(Output, tcp::ACK, 1));
    assert!(!session.sees(Input, tcp::ACK, 1));
    assert!(!session.sees(Output, RST_ACK, 1), "what a blind ACK gets");
    assert!(!session.sees_data(Output, tcp::ACK, 1), "it is closed");
}

#[test]
fn data_with_a_fin_proves_as_well() {
    let mut session = Watched::begin(Protocol::Tcp, Input, tcp::SYN);
    session.sees(Output, SYN_ACK, 1);
    session.sees(Input, tcp::ACK, 1);
    assert!(session.sees(Output, tcp::FIN | tcp::ACK, 1));
}

#[test]
fn a_connection_that_begins_anew_in_the_entry_has_to_be_proven_anew() {
    let mut session = Watched::begin(Protocol::Tcp, Input, tcp::SYN);
    session.sees(Output, SYN_ACK, 1);
    session.sees(Input, tcp::ACK, 1);
    assert!(session.sees_data(Output, tcp::ACK, 1));
    assert!(
        session.sees(Input, tcp::SYN, 1),
        "not while it is established"
    );
    assert!(session.sees(Output, tcp::RST, 1));
    assert!(!session.sees(Input, tcp::SYN, 1), "closed, and begun again");
    assert!(
        !session.sees_data(Output, tcp::ACK, 1),
        "the acknowledgement was of the former"
    );
}

#[test]
fn an_association_under_nat_is_proven_by_what_only_its_client_gets() {
    const HEARTBEAT_ACK: u8 = 5;
    for (chunk, proves) in [
        (sctp::COOKIE_ACK, true),
        (sctp::ERROR, false),
        (sctp::ABORT, false),
        (sctp::INIT_ACK, false),
    ] {
        let mut session = Watched::begin(Protocol::Sctp, Input, sctp::INIT);
        assert!(!session.sees(Output, sctp::INIT_ACK, 1));
        assert!(!session.sees(Input, sctp::COOKIE_ECHO, STEP_MS), "blind");
        assert_eq!(session.sees(Output, chunk, 1), proves);
        assert_eq!(session.sees(Input, sctp::DATA, 1), proves);
        assert_eq!(session.sees(Output, HEARTBEAT_ACK, 1), proves);
    }
}

#[test]
fn elsewhere_it_takes_packets_over_more_than_three_whole_steps() {
    for (protocol, direction, first, signal) in [
        (Protocol::Udp, Input, 0, 0),
        (Protocol::Udp, InputOnly, 0, 0),
        (Protocol::Tcp, InputOnly, tcp::SYN, tcp::ACK),
        (Protocol::Sctp, InputOnly, sctp::COOKIE_ECHO, sctp::DATA),
    ] {
        let mut burst = Watched::begin(protocol, direction, first);
        for _ in 0..3 * STEP_MS {
            assert!(!burst.sees(direction, signal, 1), "{protocol}");
        }
        assert!(
            !burst.sees(direction, signal, STEP_MS - 1),
            "the end of step 3"
        );
        assert!(burst.sees(direction, signal, 1), "{protocol}");
        let mut slow = Watched::begin(protocol, direction, first);
        let proven = (0..4).map(|_| slow.sees(direction, signal, 10 * STEP_MS));
        assert!(proven.eq([false, false, false, true]), "{protocol}");
    }
}

#[test]
fn what_a_real_server_sends_proves_no_datagrams_and_hides_no_step() {
    let mut session = Watched::begin(Protocol::Udp, Input, 0);
    for _ in 0..1000 {
        assert!(!session.sees(Output, 0, STEP_MS / 2));
    }
    let mut session = Watched::begin(Protocol::Udp, Input, 0);
    let mut proven = Vec::new();
    for _ in 0..4 {
        // It ends each step just before the client sends.
        session.sees(Output, 0, STEP_MS);
        proven.push(session.sees(Input, 0, 1));
    }
    assert_eq!(proven, [false, false, false, true]);
}

#[test]
fn syns_prove_nothing_however_many() {
    let mut session = Watched::begin(Protocol::Tcp, InputOnly, tcp::SYN);
    for _ in 0..20 {
        assert!(!session.sees(InputOnly, tcp::SYN, STEP_MS));
    }
    assert!(!session.sees(InputOnly, tcp::ACK, STEP_MS));
}

proptest::proptest! {
    /// `sees` compares the shortcut with one that looks at every packet.
    #[test]
    fn no_packet_that_proves_something_is_passed_over(
        protocol in proptest::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]),
        one_way: bool,
        packets in proptest::collection::vec((
            proptest::bool::ANY,
            proptest::sample::select(vec![
                0, tcp::SYN, SYN_ACK, tcp::ACK, tcp::FIN | tcp::ACK, tcp::RST,
                sctp::INIT_ACK, sctp::COOKIE_ECHO, sctp::COOKIE_ACK, sctp::ABORT,
            ]),
            proptest::bool::ANY,
            proptest::sample::select(vec![0, 1, STEP_MS / 3, STEP_MS - 1, STEP_MS, 10 * STEP_MS]),
        ), 1..60),
    ) {
        let first = match protocol {
            Protocol::Tcp => tcp::SYN,
            Protocol::Udp => 0,
            Protocol::Sctp => sctp::INIT,
        };
        let from_client = if one_way { InputOnly } else { Input };
        let mut session = Watched::begin(protocol, from_client, first);
        let mut was_proven = false;
        for (answers, signal, has_data, after_ms) in packets {
            let direction = if answers && !one_way { Output } else { from_client };
            let is_proven = session.sees_packet(direction, signal, has_data, after_ms);
            let begun_anew = session.table.get(session.index).state().is_half_open();
            proptest::prop_assert!(is_proven || !was_proven || begun_anew);
            was_proven = is_proven;
        }
    }
}
