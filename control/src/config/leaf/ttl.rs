//! The TTL of a tunnel's outer header: `inherit`, or a number of hops.
//! What the data plane makes of it is not known here.

use super::{Leaf, LeafError};

/// `tunnel.ttl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TunnelTtl {
    /// The inner packet's.
    #[default]
    Inherit,
    /// So many hops, not 0.
    Hops(u8),
}

impl Leaf for TunnelTtl {
    const FORMAT: &'static str = "plimsoll-tunnel-ttl";
    const EXPECTED: &'static str = "inherit or a number of hops";
    const EXAMPLE: &'static str = "inherit";
    const IS_NUMBER_TOO: bool = true;

    fn parse(text: &str) -> Result<Self, LeafError> {
        if text == "inherit" {
            return Ok(Self::Inherit);
        }
        match text.parse() {
            Ok(hops) if hops > 0 => Ok(Self::Hops(hops)),
            _ => {
                let message = format!("`{}` is not a TTL", text.escape_debug());
                Err(LeafError::new(message).help("write inherit, or hops from 1 to 255"))
            }
        }
    }

    fn print(&self) -> String {
        match self {
            Self::Inherit => "inherit".to_owned(),
            Self::Hops(hops) => hops.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inherit_or_hops_that_lead_somewhere() {
        for (text, value) in [
            ("inherit", Some(TunnelTtl::Inherit)),
            ("1", Some(TunnelTtl::Hops(1))),
            ("255", Some(TunnelTtl::Hops(255))),
            ("0", None),
            ("256", None),
            ("-1", None),
            ("Inherit", None),
            ("", None),
        ] {
            assert_eq!(TunnelTtl::parse(text).ok(), value, "{text}");
        }
        for value in [TunnelTtl::Inherit, TunnelTtl::Hops(64)] {
            assert_eq!(TunnelTtl::parse(&value.print()).unwrap(), value);
        }
    }
}
