use super::*;

/// The tables as IPVS's reference has them, cell by cell.
const REFERENCE: &str = "\
INPUT        NO ES SS SR FW TW CL CW LA LI SA      OUTPUT       NO ES SS SR FW TW CL CW LA LI SA
 syn         SR ES ES SR SR SR SR SR SR SR SR       syn         SS ES SS SR SS SS SS SS SS LI SR
 fin         CL CW SS TW TW TW CL CW LA LI TW       fin         TW FW SS TW FW TW CL TW LA LI TW
 ack         ES ES SS ES FW TW CL CW CL LI ES       ack         ES ES SS ES FW TW CL CW LA ES ES
 rst         CL CL CL SR CL CL CL CL LA LI SR       rst         CL CL SS CL CL TW CL CL CL CL CL
INPUT_ONLY
 syn         SR ES ES SR SR SR SR SR SR SR SR
 fin         CL FW SS TW FW TW CL CW LA LI TW
 ack         ES ES SS ES FW TW CL CW CL LI ES
 rst         CL CL CL SR CL CL CL CL LA LI CL
";

/// Where the table for defence differs, in the reference's words.
const DIFFERENCES: [(Direction, &str, &str, &str); 15] = [
    (Direction::Input, "syn", "SA", "SA"),
    (Direction::Input, "fin", "SA", "SA"),
    (Direction::Input, "ack", "SR", "SR"),
    (Direction::Input, "ack", "SA", "SA"),
    (Direction::Input, "rst", "SA", "CL"),
    (Direction::Output, "syn", "SR", "SA"),
    (Direction::Output, "syn", "SA", "SA"),
    (Direction::InputOnly, "syn", "NO", "SA"),
    (Direction::InputOnly, "syn", "FW", "SA"),
    (Direction::InputOnly, "syn", "TW", "SA"),
    (Direction::InputOnly, "syn", "CL", "SA"),
    (Direction::InputOnly, "syn", "CW", "SA"),
    (Direction::InputOnly, "syn", "LA", "SA"),
    (Direction::InputOnly, "syn", "LI", "SA"),
    (Direction::InputOnly, "syn", "SA", "SA"),
];

fn state(word: &str) -> TcpState {
    let place = "NO ES SS SR FW TW CL CW LA LI SA"
        .split(' ')
        .position(|name| name == word)
        .expect("a state's short name");
    TcpState::ALL[place]
}

fn flags(word: &str) -> u8 {
    match word {
        "syn" => SYN,
        "fin" => FIN,
        "ack" => ACK,
        "rst" => RST,
        _ => panic!("{word} is no event"),
    }
}

#[test]
fn every_cell_of_the_tables_is_as_the_reference_has_it() {
    let mut directions = Vec::new();
    let mut cells = 0;
    for line in REFERENCE.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if !line.starts_with(' ') {
            directions = words
                .iter()
                .filter_map(|word| match *word {
                    "INPUT" => Some(Direction::Input),
                    "OUTPUT" => Some(Direction::Output),
                    "INPUT_ONLY" => Some(Direction::InputOnly),
                    _ => None,
                })
                .collect();
            continue;
        }
        assert_eq!(words.len(), 12 * directions.len());
        for (direction, row) in directions.iter().zip(words.chunks(12)) {
            for (from, to) in TcpState::ALL.iter().zip(&row[1..]) {
                assert_eq!(
                    from.next(*direction, flags(row[0]), false),
                    state(to),
                    "{direction:?}, {} in {}",
                    row[0],
                    from.name()
                );
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 3 * 4 * 11);
}

#[test]
fn under_defence_only_the_named_cells_differ() {
    for direction in Direction::ALL {
        for event in ["syn", "fin", "ack", "rst"] {
            for from in TcpState::ALL {
                let different = DIFFERENCES.iter().find(|(place, row, column, _)| {
                    (*place, *row, state(column)) == (direction, event, from)
                });
                let expected = match different {
                    Some((.., to)) => state(to),
                    None => from.next(direction, flags(event), false),
                };
                let found = from.next(direction, flags(event), true);
                assert_eq!(found, expected, "{direction:?}, {event} in {}", from.name());
            }
        }
    }
}

#[test]
fn under_defence_the_real_server_is_needed_to_establish() {
    let mut state = TcpState::None;
    for flags in [SYN, ACK, SYN, ACK, FIN | ACK, ACK] {
        state = state.next(Direction::Input, flags, true);
        assert!(state.is_half_open() || state == TcpState::TimeWait);
    }
    let answered = TcpState::SynRecv.next(Direction::Output, SYN | ACK, true);
    assert_eq!(answered, TcpState::SynAck);
    assert_eq!(
        answered.next(Direction::Output, ACK, true),
        TcpState::Established
    );
}

#[test]
fn rst_beats_syn_beats_fin_beats_ack() {
    for direction in Direction::ALL {
        for (from, secure) in TcpState::ALL
            .into_iter()
            .flat_map(|from| [(from, false), (from, true)])
        {
            for all in 0..=u8::MAX {
                let strongest = [RST, SYN, FIN, ACK].into_iter().find(|bit| all & bit != 0);
                let expected = match strongest {
                    Some(bit) => from.next(direction, bit, secure),
                    None => TcpState::Close,
                };
                assert_eq!(from.next(direction, all, secure), expected);
            }
        }
    }
}

#[test]
fn only_handshakes_and_established_connections_are_active() {
    let active: Vec<&str> = TcpState::ALL
        .into_iter()
        .filter(|state| state.is_active())
        .map(TcpState::name)
        .collect();
    assert_eq!(active, ["ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK"]);
}

#[test]
fn an_established_connection_is_not_half_open() {
    assert!(TcpState::SynRecv.is_half_open());
    assert!(!TcpState::Established.is_half_open());
    assert!(!TcpState::FinWait.is_half_open());
}
