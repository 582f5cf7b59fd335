//! A port, or a range of ports.
//! Which of them a rule asks for is not known here.

use std::ops::RangeInclusive;

use super::{Leaf, LeafError};

impl Leaf for RangeInclusive<u16> {
    const FORMAT: &'static str = "plimsoll-ports";
    const EXPECTED: &'static str = "a port or a range of ports";
    const EXAMPLE: &'static str = "8000-8010";
    const IS_NUMBER_TOO: bool = true;

    fn parse(text: &str) -> Result<Self, LeafError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(
                LeafError::new(format!("the range `{text}` ends before it begins"))
                    .help(format!("did you mean {last}-{first}?")),
            );
        }
        Ok(first..=last)
    }

    fn print(&self) -> String {
        let (first, last) = (self.start(), self.end());
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    }
}

fn port(text: &str) -> Result<u16, LeafError> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| {
        LeafError::new(format!("`{}` is not a port", text.escape_debug()))
            .help("expected a number from 0 to 65535, or a range such as 8000-8010")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges_are_read_and_written_alike() {
        for (text, first, last) in [
            ("80", 80, 80),
            ("8000-8010", 8000, 8010),
            ("0-65535", 0, u16::MAX),
        ] {
            let ports = RangeInclusive::parse(text).unwrap();
            assert_eq!(ports, first..=last);
            assert_eq!(ports.print(), text);
        }
        assert_eq!(RangeInclusive::parse("80 - 81").unwrap(), 80..=81);
        for text in [
            "", "-", "80-", "-80", "81-80", "65536", "http", "+80", "80-81-82",
        ] {
            assert!(RangeInclusive::parse(text).is_err(), "{text}");
        }
    }
}
