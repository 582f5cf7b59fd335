//! Rules of iptables that set a mark: lines of `iptables-save`, or commands.
//! Only what the line itself says is read; how packets get into a chain of one's own is not known.

use super::{Problems, Read, Reading, Token};

/// Reads a line on which `MARK` occurs.
pub(super) fn read(tokens: &[Token<'_>], problems: &mut Problems) -> Read<Reading> {
    let mut reading = Reading::default();
    let mut words = tokens.iter().copied().peekable();
    while let Some(word) = words.next() {
        if word.text == "!" {
            let problem = word.problem("what a packet is not cannot be carried over");
            return Err(Box::new(
                problem.help("expected what it is; write the rest as rules"),
            ));
        }
        if matches!(word.text, "iptables" | "ip6tables" | "sudo") {
            reading.is_v6 = (word.text == "ip6tables").then_some(true).or(reading.is_v6);
            continue;
        }
        if !word.text.starts_with('-') {
            word.not_carried(problems);
            continue;
        }
        let Some(value) = words.next() else {
            return Err(word.problem(format!("`{}` lacks its value", word.text.escape_debug())));
        };
        // A list of addresses or ports: the tokens between commas.
        let mut values = vec![value];
        while words.peek().is_some_and(|next| next.text == ",") {
            words.next();
            values.extend(words.next());
        }
        match word.text {
            "-A" | "-I" | "--append" | "--insert" => {
                if value.text != "PREROUTING" {
                    value.not_carried(problems);
                }
            }
            "-t" | "--table" | "-j" | "--jump" => {}
            // What they load is seen by its own options.
            "-m" | "--match" => {}
            "--comment" => {
                while words.peek().is_some_and(|next| !next.text.starts_with('-')) {
                    words.next();
                }
            }
            "-s" | "--source" | "-d" | "--destination" => {
                let networks = values.into_iter().map(Token::network);
                let networks = networks.collect::<Read<Vec<_>>>()?;
                if matches!(word.text, "-s" | "--source") {
                    reading.from = networks;
                } else {
                    reading.to = networks;
                }
            }
            "-p" | "--protocol" => reading.protocols = vec![value.protocol()?],
            "--dport" | "--dports" | "--destination-port" | "--destination-ports" => {
                let ports = values.into_iter().map(|value| value.ports(':'));
                reading.ports = ports.collect::<Read<_>>()?;
            }
            "--sport" | "--sports" | "--source-port" | "--source-ports" => {
                let ports = values.into_iter().map(|value| value.ports(':'));
                reading.from_ports = ports.collect::<Read<_>>()?;
            }
            "--set-mark" | "--set-xmark" => {
                let (mark, mask) = value.text.split_once('/').unwrap_or((value.text, ALL_BITS));
                if !mask.eq_ignore_ascii_case(ALL_BITS) {
                    return Err(value.problem("a mark of some bits only cannot be carried over"));
                }
                let mark = Token {
                    text: mark,
                    ..value
                };
                reading.mark = Some(mark.mark()?);
            }
            _ => word.not_carried(problems),
        }
    }
    if reading.mark.is_none() {
        let target = tokens.iter().find(|token| token.text == "MARK");
        if let Some(target) = target {
            let problem = target.problem("this line sets no mark");
            return Err(Box::new(problem.help("expected --set-mark or --set-xmark")));
        }
    }
    Ok(reading)
}

const ALL_BITS: &str = "0xffffffff";
