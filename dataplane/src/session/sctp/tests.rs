//! Every transition: the tables cell by cell against rules, and associations from end to end.

use super::*;
use Direction::{Input, InputOnly, Output};

const DIRECTIONS: [Direction; 3] = [Input, Output, InputOnly];
const HANDSHAKE: [SctpState; 7] = [I1, IN, CS, CR, CW, CO, CE];
const CLOSING: [SctpState; 3] = [SS, SR, SA];

/// What the tables are to say, told state by state and not as a table.
fn expected(from: SctpState, direction: Direction, chunk: u8) -> SctpState {
    let one_way = direction == InputOnly;
    let from_client = direction != Output;
    match (chunk, from) {
        (sctp::ABORT, I1 | IN | CS | CR | RJ) if !from_client => RJ,
        (sctp::ABORT, _) => CL,

        (sctp::INIT, NO | RJ | CL) if from_client => I1,
        (sctp::INIT, I1 | IN | CS | CR) if from_client => IN,
        (sctp::INIT, NO | RJ | CL | CO | CW | CE) if !from_client => CW,

        (sctp::INIT_ACK, NO | CO | CW) if from_client => CO,
        (sctp::INIT_ACK, NO | I1 | IN | CS) if !from_client => CS,

        (sctp::COOKIE_ECHO, SA) => SA,
        (sctp::COOKIE_ECHO, _) if one_way => ES,
        (sctp::COOKIE_ECHO, ES) => ES,
        (sctp::COOKIE_ECHO, _) if from_client => CR,
        (sctp::COOKIE_ECHO, NO | CO | CW | SS | SR | CL) => CE,

        (sctp::COOKIE_ACK, NO) => ES,
        (sctp::COOKIE_ACK, state) if one_way && HANDSHAKE.contains(&state) => ES,
        (sctp::COOKIE_ACK, CO | CW | CE) if from_client => ES,
        (sctp::COOKIE_ACK, CR) if !from_client => ES,

        (sctp::SHUTDOWN, NO | CR | ES) if from_client => SR,
        (sctp::SHUTDOWN, NO | CR | ES) => SS,

        (sctp::SHUTDOWN_ACK, _) if one_way => CL,
        (sctp::SHUTDOWN_ACK, NO) => CL,
        (sctp::SHUTDOWN_ACK, ES | SS | SR) => SA,

        (sctp::SHUTDOWN_COMPLETE, ES) if one_way => CL,
        (sctp::SHUTDOWN_COMPLETE, NO | SS | SR | SA) => CL,

        (sctp::ERROR, NO) => CL,
        (
            sctp::INIT..=sctp::INIT_ACK
            | sctp::SHUTDOWN..=sctp::COOKIE_ACK
            | sctp::SHUTDOWN_COMPLETE,
            state,
        ) => state,
        (_, NO) => ES,
        (_, state) => state,
    }
}

#[test]
fn every_cell_is_as_its_rule_has_it() {
    let mut cells = 0;
    for direction in DIRECTIONS {
        for from in SctpState::ALL {
            for chunk in 0..=u8::MAX {
                assert_eq!(
                    from.next(direction, chunk).name(),
                    expected(from, direction, chunk).name(),
                    "{direction:?}, chunk {chunk} in {}",
                    from.name()
                );
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 3 * 14 * 256);
}

/// The states that an association goes through.
fn story(steps: &[(Direction, u8)]) -> Vec<&'static str> {
    let mut state = NO;
    let step = |(direction, chunk): &(Direction, u8)| {
        state = state.next(*direction, *chunk);
        state.name()
    };
    steps.iter().map(step).collect()
}

#[test]
fn an_association_that_is_seen_from_both_sides_opens_and_closes() {
    let opened_by_client = [
        (Input, sctp::INIT),
        (Output, sctp::INIT_ACK),
        (Input, sctp::COOKIE_ECHO),
        (Output, sctp::COOKIE_ACK),
        (Input, sctp::DATA),
        (Output, sctp::SACK),
        (Input, sctp::SHUTDOWN),
        (Output, sctp::SHUTDOWN_ACK),
        (Input, sctp::SHUTDOWN_COMPLETE),
    ];
    assert_eq!(
        story(&opened_by_client),
        [
            "INIT1",
            "C-SENT",
            "C-REPLIED",
            "ESTABLISHED",
            "ESTABLISHED",
            "ESTABLISHED",
            "S-RECEIVED",
            "S-ACK-SENT",
            "CLOSED"
        ]
    );
    let opened_by_server = [
        (Output, sctp::INIT),
        (Input, sctp::INIT_ACK),
        (Output, sctp::COOKIE_ECHO),
        (Input, sctp::COOKIE_ACK),
        (Output, sctp::SHUTDOWN),
        (Input, sctp::SHUTDOWN_ACK),
        (Output, sctp::SHUTDOWN_COMPLETE),
    ];
    assert_eq!(
        story(&opened_by_server),
        [
            "C-WAIT",
            "COOKIE",
            "C-ECHOED",
            "ESTABLISHED",
            "S-SENT",
            "S-ACK-SENT",
            "CLOSED"
        ]
    );
}

#[test]
fn an_association_that_is_seen_from_the_client_alone_opens_and_closes() {
    let closed_by_client = [
        (InputOnly, sctp::INIT),
        (InputOnly, sctp::INIT),
        (InputOnly, sctp::COOKIE_ECHO),
        (InputOnly, sctp::SHUTDOWN),
        (InputOnly, sctp::SHUTDOWN_COMPLETE),
        (InputOnly, sctp::INIT),
    ];
    assert_eq!(
        story(&closed_by_client),
        [
            "INIT1",
            "INIT",
            "ESTABLISHED",
            "S-RECEIVED",
            "CLOSED",
            "INIT1"
        ]
    );
    let closed_by_server = [
        (InputOnly, sctp::INIT_ACK),
        (InputOnly, sctp::COOKIE_ACK),
        (InputOnly, sctp::SHUTDOWN_ACK),
    ];
    assert_eq!(
        story(&closed_by_server),
        ["COOKIE", "ESTABLISHED", "CLOSED"]
    );
}

#[test]
fn a_refusal_is_told_apart_from_an_abort() {
    for asked in [I1, IN, CS, CR] {
        assert_eq!(asked.next(Output, sctp::ABORT), RJ);
        assert_eq!(asked.next(Input, sctp::ABORT), CL);
    }
    assert_eq!(ES.next(Output, sctp::ABORT), CL);
    assert_eq!(RJ.next(Input, sctp::INIT), I1);
}

#[test]
fn nothing_opens_an_association_that_closes_but_a_cookie() {
    for direction in DIRECTIONS {
        for from in CLOSING.into_iter().chain([RJ, CL]) {
            for chunk in (0..=u8::MAX).filter(|chunk| *chunk != sctp::COOKIE_ECHO) {
                assert!(!from.next(direction, chunk).is_active());
            }
        }
    }
}

#[test]
fn only_open_associations_are_active() {
    let active: Vec<&str> = SctpState::ALL
        .into_iter()
        .filter(|state| state.is_active())
        .map(SctpState::name)
        .collect();
    assert_eq!(active, ["ESTABLISHED"]);
}

#[test]
fn a_returned_cookie_ends_being_half_open() {
    for direction in DIRECTIONS {
        for from in SctpState::ALL
            .into_iter()
            .filter(|from| !from.is_half_open())
        {
            let after = from.next(direction, sctp::DATA);
            assert!(!after.is_half_open());
        }
    }
    assert!(CS.is_half_open() && !CR.is_half_open() && !CE.is_half_open());
}
