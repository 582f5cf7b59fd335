//! How large TCP's segments may be: `auto`, or a number of bytes.
//! What is done with it is not known here.

use plimsoll_dataplane::spec::forward::MssClamp;

use super::{Leaf, LeafError};

/// The least that every end takes (RFC 9293 section 3.7.1).
const LEAST: u16 = 536;
/// What fits into the largest packet.
const MOST: u16 = u16::MAX - 40;

impl Leaf for MssClamp {
    const FORMAT: &'static str = "plimsoll-mss";
    const EXPECTED: &'static str = "auto or a number of bytes";
    const EXAMPLE: &'static str = "auto";
    const IS_NUMBER_TOO: bool = true;

    fn parse(text: &str) -> Result<Self, LeafError> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.parse() {
            Ok(bytes) if (LEAST..=MOST).contains(&bytes) => Ok(Self::Bytes(bytes)),
            _ => {
                let message = format!("`{}` is not a segment size", text.escape_debug());
                let help = format!("write auto, or bytes from {LEAST} to {MOST}");
                Err(LeafError::new(message).help(help))
            }
        }
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_or_a_size_that_tcp_can_have() {
        for (text, value) in [
            ("auto", Some(MssClamp::Auto)),
            ("536", Some(MssClamp::Bytes(536))),
            ("65495", Some(MssClamp::Bytes(65_495))),
            ("535", None),
            ("65496", None),
            ("Auto", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(MssClamp::parse(text).ok(), value, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for value in [MssClamp::Auto, MssClamp::Bytes(1360)] {
            assert_eq!(MssClamp::parse(&value.print()).unwrap(), value);
        }
    }
}
