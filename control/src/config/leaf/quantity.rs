//! Durations ("1h30m", "500ms") and sizes ("512MiB"), always with a unit, and counts ("200k", "1500").
//! No fractions, no rounding: what is printed reads back as the same value.

use std::time::Duration;

use super::{Leaf, LeafError};

const MILLISECONDS: &[(&str, u64)] = &[
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];
const BYTES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl Leaf for Duration {
    const FORMAT: &'static str = "plimsoll-duration";
    const EXPECTED: &'static str = "a duration with its unit";
    const EXAMPLE: &'static str = "1h30m";

    fn parse(text: &str) -> Result<Self, LeafError> {
        let (mut rest, mut total_ms, mut last_unit_ms) = (text, 0u64, u64::MAX);
        if rest.is_empty() {
            return Err(LeafError::new("a duration is empty").help("write for example 15m"));
        }
        while !rest.is_empty() {
            let (number, unit, tail) = split(rest);
            if number.is_empty() {
                return Err(
                    LeafError::new(format!("`{}` is not a duration", text.escape_debug()))
                        .help("a duration is numbers with units: 15m, 500ms, 1h30m"),
                );
            }
            if unit.is_empty() {
                return Err(
                    LeafError::new(format!("`{text}` has no unit")).help(format!(
                        "write {number}s for seconds or {number}m for minutes"
                    )),
                );
            }
            let Some(&(_, unit_ms)) = MILLISECONDS.iter().find(|(name, _)| *name == unit) else {
                return Err(LeafError::new(format!(
                    "`{}` is not a unit of time",
                    unit.trim().escape_debug()
                ))
                .help("the units are d, h, m, s and ms"));
            };
            if unit_ms >= last_unit_ms {
                return Err(
                    LeafError::new(format!("`{text}` has its units out of order"))
                        .help("the larger unit comes first, each once: 1h30m"),
                );
            }
            last_unit_ms = unit_ms;
            total_ms = number
                .parse::<u64>()
                .ok()
                .and_then(|n| n.checked_mul(unit_ms))
                .and_then(|ms| total_ms.checked_add(ms))
                .ok_or_else(|| LeafError::new(format!("`{text}` is too long a time")))?;
            rest = tail;
        }
        Ok(Self::from_millis(total_ms))
    }

    fn print(&self) -> String {
        print_duration(*self)
    }
}

/// A duration as the file writes it, to the millisecond.
pub(crate) fn print_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, unit_ms) in MILLISECONDS {
        let count = rest / unit_ms;
        rest %= unit_ms;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// A number of bytes; 512 MiB unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl Default for ByteSize {
    fn default() -> Self {
        Self(512 << 20)
    }
}

impl Leaf for ByteSize {
    const FORMAT: &'static str = "plimsoll-size";
    const EXPECTED: &'static str = "a size with its unit";
    const EXAMPLE: &'static str = "512MiB";

    fn parse(text: &str) -> Result<Self, LeafError> {
        let (number, unit, tail) = split(text);
        if number.is_empty() || !tail.is_empty() {
            return Err(
                LeafError::new(format!("`{}` is not a size", text.escape_debug()))
                    .help("a size is one whole number with its unit: 512MiB, 1GiB"),
            );
        }
        if unit.is_empty() {
            return Err(LeafError::new(format!("`{text}` has no unit"))
                .help(format!("write {number}MiB for mebibytes")));
        }
        let unit = unit.trim_start();
        let Some(&(_, unit_bytes)) = BYTES.iter().find(|(name, _)| *name == unit) else {
            let near = BYTES.iter().find(|(name, _)| {
                name.get(..1)
                    .is_some_and(|c| unit.to_uppercase().starts_with(c))
            });
            let help = match near {
                Some((name, _)) if *name != "B" => {
                    format!("did you mean {number}{name}? The units are KiB, MiB, GiB and TiB")
                }
                _ => "the units are KiB, MiB, GiB and TiB".to_owned(),
            };
            return Err(
                LeafError::new(format!("`{}` is not a unit of size", unit.escape_debug()))
                    .help(help),
            );
        };
        product(text, number, unit_bytes).map(Self)
    }

    fn print(&self) -> String {
        in_units(self.0, BYTES).unwrap_or_else(|| format!("{}B", self.0))
    }
}

const COUNTS: &[(&str, u64)] = &[("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)];

/// A number of things; a thousand of them is a `k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(pub u64);

impl Leaf for Count {
    const FORMAT: &'static str = "plimsoll-count";
    const EXPECTED: &'static str = "a whole number";
    const EXAMPLE: &'static str = "200k";
    const IS_NUMBER_TOO: bool = true;

    fn parse(text: &str) -> Result<Self, LeafError> {
        let (number, unit, tail) = split(text);
        let units = "write a whole number, with k for thousands or M for millions: 1500, 200k, 2M";
        if number.is_empty() || !tail.is_empty() {
            let message = format!("`{}` is not a whole number", text.escape_debug());
            return Err(LeafError::new(message).help(units));
        }
        let factor = if unit.is_empty() {
            Some(1)
        } else {
            let known = COUNTS.iter().find(|(name, _)| *name == unit);
            known.map(|(_, factor)| *factor)
        };
        let Some(factor) = factor else {
            let message = format!("`{}` is not a multiple", unit.escape_debug());
            return Err(LeafError::new(message).help(units));
        };
        product(text, number, factor).map(Self)
    }

    fn print(&self) -> String {
        in_units(self.0, COUNTS).unwrap_or_else(|| self.0.to_string())
    }
}

/// What `text` says: `number`, in digits, of units of `unit` each.
fn product(text: &str, number: &str, unit: u64) -> Result<u64, LeafError> {
    let number: Option<u64> = number.parse().ok();
    let product = number.and_then(|number| number.checked_mul(unit));
    product.ok_or_else(|| LeafError::new(format!("`{text}` is too large")))
}

/// The value in the largest of `units`, the largest first, of which it is a multiple.
fn in_units(value: u64, units: &[(&str, u64)]) -> Option<String> {
    let (name, unit) = units
        .iter()
        .find(|(_, unit)| value >= *unit && value.is_multiple_of(*unit))?;
    Some(format!("{}{name}", value / unit))
}

/// Leading digits, what follows up to the next digit, and the rest.
fn split(text: &str) -> (&str, &str, &str) {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let (unit, tail) = rest.split_at(
        rest.find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len()),
    );
    (number, unit, tail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(text: &str) -> Option<u128> {
        Duration::parse(text).ok().map(|d| d.as_millis())
    }

    #[test]
    fn a_duration_needs_units_in_falling_order() {
        assert_eq!(ms("15m"), Some(900_000));
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("1h30m"), Some(5_400_000));
        assert_eq!(ms("2d3h4m5s6ms"), Some(183_845_006));
        for bad in [
            "",
            "15",
            "m",
            "30m1h",
            "1m1m",
            "1.5h",
            "-1s",
            "1 h",
            "1min",
            "99999999999999999999s",
            "1s5",
        ] {
            assert_eq!(ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_size_needs_its_unit() {
        let size = |text| ByteSize::parse(text).ok().map(|s| s.0);
        assert_eq!(size("512MiB"), Some(512 << 20));
        assert_eq!(size("1GiB"), Some(1 << 30));
        assert_eq!(size("4 KiB"), Some(4096));
        for bad in [
            "",
            "512",
            "512MB",
            "1.5GiB",
            "MiB",
            "-1MiB",
            "1GiB5",
            "99999999999TiB",
        ] {
            assert_eq!(size(bad), None, "{bad}");
        }
        assert!(
            ByteSize::parse("512MB")
                .unwrap_err()
                .help
                .unwrap()
                .contains("did you mean 512MiB")
        );
    }

    #[test]
    fn a_count_is_a_whole_number_or_a_multiple() {
        let count = |text| Count::parse(text).ok().map(|count| count.0);
        assert_eq!(count("0"), Some(0));
        assert_eq!(count("1500"), Some(1500));
        assert_eq!(count("200k"), Some(200_000));
        assert_eq!(count("2M"), Some(2_000_000));
        for bad in [
            "",
            "k",
            "1.5k",
            "-1",
            "1K",
            "1ki",
            "1 k",
            "1k5",
            "99999999999G",
        ] {
            assert_eq!(count(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(millis: u64, bytes: u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(Duration::parse(&duration.print()), Ok(duration));
            prop_assert_eq!(ByteSize::parse(&ByteSize(bytes).print()), Ok(ByteSize(bytes)));
            prop_assert_eq!(Count::parse(&Count(bytes).print()), Ok(Count(bytes)));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*|[0-9dhmsKMGTiB. ]{0,12}") {
            let _ = Duration::parse(&text);
            let _ = ByteSize::parse(&text);
            let _ = Count::parse(&text);
        }
    }
}
