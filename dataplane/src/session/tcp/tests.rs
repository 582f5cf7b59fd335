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
                    from.next(*direction, flags(row[0])),
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
fn rst_beats_syn_beats_fin_beats_ack() {
    for direction in [Direction::Input, Direction::Output, Direction::InputOnly] {
        for from in TcpState::ALL {
            for all in 0..=u8::MAX {
                let strongest = [RST, SYN, FIN, ACK].into_iter().find(|bit| all & bit != 0);
                let expected = match strongest {
                    Some(bit) => from.next(direction, bit),
                    None => TcpState::Close,
                };
                assert_eq!(from.next(direction, all), expected);
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
