//! `~SEQ(...)` and `~LST(...)` of keepalived.conf: the values that a line is repeated with.
//! Replaces nothing itself.

/// The parameters' names and values of one repetition.
pub(super) type Round = Vec<(String, String)>;

/// More repetitions than any configuration wants.
const MOST: usize = 1_000_000;

/// The repetitions, and what is to be repeated. An error is a message without its place.
pub(super) fn read(text: &str) -> Result<(Vec<Round>, &str), String> {
    let unreadable = || "this block of values cannot be read".to_owned();
    let (name, rest) = text.split_once('(').ok_or_else(unreadable)?;
    let (inside, rest) = rest.split_once(')').ok_or_else(unreadable)?;
    let rounds = match name.trim() {
        "~SEQ" => numbers(inside, false),
        "~SEQx" => numbers(inside, true),
        "~LST" => list(inside),
        _ => None,
    };
    Ok((rounds.ok_or_else(unreadable)?, rest.trim()))
}

fn numbers(inside: &str, hexadecimal: bool) -> Option<Vec<Round>> {
    let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
    let (name, numbers) = parts.split_first()?;
    let numbers: Vec<i64> = numbers
        .iter()
        .map(|text| number(text))
        .collect::<Option<_>>()?;
    let one = |up: bool| if up { 1 } else { -1 };
    let (first, step, last) = match *numbers.as_slice() {
        [last] => (one(last > 0), one(last > 0), last),
        [first, last] => (first, one(last >= first), last),
        [first, step, last] => (first, step, last),
        _ => return None,
    };
    if step == 0 {
        return None;
    }
    let mut rounds = Vec::new();
    let mut value = first;
    while if step > 0 {
        value <= last
    } else {
        value >= last
    } {
        let text = if hexadecimal {
            format!("{value:x}")
        } else {
            value.to_string()
        };
        rounds.push(vec![((*name).to_owned(), text)]);
        if rounds.len() > MOST {
            return None;
        }
        value = value.checked_add(step)?;
    }
    Some(rounds)
}

/// Decimal, or hexadecimal with `0x`; small enough that no step overflows.
fn number(text: &str) -> Option<i64> {
    let (digits, sign) = match text.strip_prefix('-') {
        Some(digits) => (digits, -1),
        None => (text, 1),
    };
    let number = match digits.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok()?,
        None => digits.parse().ok()?,
    };
    (0..=i64::from(u32::MAX))
        .contains(&number)
        .then_some(sign * number)
}

fn list(inside: &str) -> Option<Vec<Round>> {
    let mut groups = groups(inside)?.into_iter();
    let names = groups.next()?;
    let rounds: Vec<Round> = groups
        .map(|values| {
            let same = values.len() == names.len();
            same.then(|| names.iter().cloned().zip(values).collect())
        })
        .collect::<Option<_>>()?;
    (!rounds.is_empty()).then_some(rounds)
}

/// `a, {b, c}` as `[[a], [b, c]]`.
fn groups(inside: &str) -> Option<Vec<Vec<String>>> {
    let mut groups = Vec::new();
    let mut rest = inside.trim();
    while !rest.is_empty() {
        let (group, after) = match rest.strip_prefix('{') {
            Some(braced) => {
                let (group, after) = braced.split_once('}')?;
                let after = after.trim_start();
                let after = after.strip_prefix(',').or(after.is_empty().then_some(""))?;
                (group.split(',').collect(), after)
            }
            None => match rest.split_once(',') {
                Some((value, after)) => (vec![value], after),
                None => (vec![rest], ""),
            },
        };
        let group: Vec<&str> = group;
        groups.push(group.into_iter().map(|one| one.trim().to_owned()).collect());
        rest = after.trim();
    }
    Some(groups)
}
